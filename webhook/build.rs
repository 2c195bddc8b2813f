//! Link arguments of the static file.
#![allow(
    clippy::disallowed_methods,
    reason = "cargo tells a build script of the target in variables"
)]

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let has = |variable: &str, value: &str| {
        std::env::var(variable).is_ok_and(|all| all.split(',').any(|one| one == value))
    };
    // Relocations of a static-pie file take 400 kB unless packed. glibc applies packed ones since 2.36, and in a static
    // file it is its own; elsewhere the one of the machine decides, so it is left alone.
    if has("CARGO_CFG_TARGET_FEATURE", "crt-static")
        && has("CARGO_CFG_TARGET_OS", "linux")
        && has("CARGO_CFG_TARGET_ENV", "gnu")
    {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
