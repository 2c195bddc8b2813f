//! The agent as one static file: how it is built, and what is asserted of it.
//!
//! `crt-static` makes the stock toolchain link glibc in. The target has to be named for it: otherwise the flag would
//! reach build scripts and procedural macros as well, and the latter cannot be static.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{empty_root, process};

/// `cargo xtask agent`.
pub(crate) fn run(check: bool) -> Result<()> {
    let path = build()?;
    let bytes = fs::metadata(&path)?.len();
    let gzipped = gzipped(&path)?;
    let kind = process::output(Command::new("file").arg("--brief").arg(&path))?;
    let libraries = libraries(&path)?;
    println!("{}", path.display());
    println!("size     {:>9} bytes  (at most {MAX_BYTES})", bytes);
    println!("gzip -9  {:>9} bytes  (at most {MAX_GZIPPED})", gzipped);
    println!("file     {}", kind.trim());
    println!("ldd      {libraries}");
    if !check {
        return Ok(());
    }
    ensure!(
        kind.contains("static-pie"),
        "expected a static-pie executable, `file` says: {kind}"
    );
    ensure!(
        libraries == "statically linked",
        "expected a statically linked executable, `ldd` says: {libraries}"
    );
    ensure!(
        bytes <= MAX_BYTES,
        "the agent has {bytes} bytes, expected at most {MAX_BYTES}"
    );
    ensure!(
        gzipped <= MAX_GZIPPED,
        "the agent has {gzipped} bytes gzipped, expected at most {MAX_GZIPPED}"
    );
    empty_root::check(&path)
}

/// Builds the static agent and says where it is.
pub(crate) fn build() -> Result<PathBuf> {
    let root = root()?;
    let target = host_target()?;
    // A folder of its own, so that this build and those of an editor or test do not wait for each other.
    let folder = root.join("target/static");
    let inherited = std::env::var("RUSTFLAGS").unwrap_or_default();
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(&root)
        .args(["build", "--locked", "--quiet", "--profile", "agent"])
        .args([
            "--package",
            "cwii-agent",
            "--bin",
            "cwii-agent",
            "--target",
            &target,
        ])
        .arg("--target-dir")
        .arg(&folder)
        .env("RUSTFLAGS", [inherited.as_str(), FLAGS].join(" ").trim())
        .status()
        .context("cargo cannot be started")?;
    ensure!(status.success(), "the agent does not build");
    Ok(folder.join(target).join("agent/cwii-agent"))
}

/// The folder of the workspace.
pub(crate) fn root() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    Ok(root.context("xtask has no parent folder")?.to_owned())
}

fn host_target() -> Result<String> {
    let version = process::output(Command::new("rustc").arg("-vV").current_dir(root()?))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    match host {
        Some(host) if host.contains("-linux-") => Ok(host.to_owned()),
        Some(host) => bail!("the static agent is built on Linux, this is {host}"),
        None => bail!("`rustc -vV` names no host"),
    }
}

fn gzipped(path: &Path) -> Result<u64> {
    let output = Command::new("gzip")
        .args(["-9", "--no-name", "--stdout"])
        .arg(path)
        .output()
        .context("`gzip` cannot be started")?;
    ensure!(
        output.status.success(),
        "`gzip` failed: {}",
        process::complaint(&output)
    );
    Ok(output.stdout.len() as u64)
}

/// What `ldd` says; it fails for some static files, and says so in other words.
fn libraries(path: &Path) -> Result<String> {
    let output = Command::new("ldd")
        .arg(path)
        .env("LC_ALL", "C")
        .output()
        .context("`ldd` cannot be started")?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().map(str::trim).collect::<Vec<_>>().join(", "))
}

/// The crate getrandom looks its system call up with `dlsym`, which finds nothing in a static file, and then wants
/// `/dev/urandom`, which an empty root directory lacks. Linked directly the call is always there.
const FLAGS: &str = r#"-C target-feature=+crt-static --cfg getrandom_backend="linux_getrandom""#;
const MAX_BYTES: u64 = 6_000_000;
const MAX_GZIPPED: u64 = 2_800_000;
