//! Whether the archives are what they should be. Where somebody else can judge, they do: mandoc, bash, sha256sum, Krew's
//! own validator, and Krew, which installs the plugin for a kubectl that then runs it.

use std::{
    collections::BTreeMap,
    env, fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{CHECKSUMS, PLUGIN, Release, Target, krew};
use crate::process;

pub(super) fn run(release: &Release, files: &BTreeMap<String, Vec<u8>>, out: &Path) -> Result<()> {
    ensure!(
        &release.files()? == files,
        "the same binaries gave other archives the second time"
    );
    process::output(
        Command::new("sha256sum")
            .args(["--check", "--strict", CHECKSUMS])
            .current_dir(out),
    )?;
    let host = super::host()?;
    for target in &release.targets {
        for program in target.programs() {
            let name = release.archive_name(program, target);
            let scratch = tempfile::tempdir()?;
            unpack(&out.join(&name), scratch.path()).with_context(|| name.clone())?;
            contents(release, program.name, target, scratch.path())
                .with_context(|| name.clone())?;
            if target.triple == host {
                runs(release, program.name, scratch.path())?;
            }
        }
    }
    manifest(&release.root, out)?;
    if let Some(target) = release.targets.iter().find(|target| target.triple == host) {
        let plugin = target.programs().find(|program| program.name == PLUGIN);
        let archive = release.archive_name(plugin.context("no plugin")?, target);
        install(release, &out.join(krew::MANIFEST), &out.join(archive))?;
    }
    Ok(())
}

/// With the programs that a person would use.
fn unpack(archive: &Path, into: &Path) -> Result<()> {
    if archive.extension().is_some_and(|kind| kind == "zip") {
        let mut zip = zip::ZipArchive::new(fs::File::open(archive)?)?;
        for index in 0..zip.len() {
            let mut file = zip.by_index(index)?;
            let name = file.enclosed_name().context("a name leads outside")?;
            let path = into.join(name);
            fs::create_dir_all(path.parent().context("no folder")?)?;
            let mut content = Vec::new();
            file.read_to_end(&mut content)?;
            fs::write(path, content)?;
        }
        return Ok(());
    }
    let listing = process::output(
        Command::new("tar")
            .args(["--list", "--verbose", "--numeric-owner", "--file"])
            .arg(archive),
    )?;
    let names: Vec<_> = listing
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    ensure!(names.is_sorted(), "not sorted: {names:?}");
    for line in listing.lines() {
        ensure!(
            (line.starts_with("-rwxr-xr-x 0/0 ") || line.starts_with("-rw-r--r-- 0/0 "))
                && !line.contains(".."),
            "expected regular files of nobody in particular, found `{line}`"
        );
    }
    process::output(
        Command::new("tar")
            .arg("--extract")
            .arg("--file")
            .arg(archive)
            .arg("--directory")
            .arg(into),
    )?;
    Ok(())
}

fn contents(release: &Release, program: &str, target: &Target, folder: &Path) -> Result<()> {
    ensure!(
        fs::read(folder.join("LICENSE"))? == fs::read(release.root.join("LICENSE"))?,
        "another LICENSE"
    );
    let notices = fs::read_to_string(folder.join("THIRD-PARTY-LICENSES.txt"))?;
    // One that is in all of them, by its own words.
    for text in ["rustls ", "Permission is hereby granted", "Apache License"] {
        ensure!(notices.contains(text), "`{text}` is not in the notices");
    }
    ensure!(
        notices.contains("GNU LESSER GENERAL PUBLIC LICENSE") == (target.os == "linux"),
        "the C library is linked in on Linux, and nowhere else"
    );
    let pages: Vec<PathBuf> = fs::read_dir(folder.join("man/man1"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    ensure!(
        pages.contains(&folder.join(format!("man/man1/{program}.1"))),
        "no page for {program}"
    );
    process::output(
        Command::new("mandoc")
            .args(["-T", "lint", "-W", "warning"])
            .args(&pages),
    )?;
    if program == PLUGIN {
        process::output(
            Command::new("bash")
                .arg("-n")
                .arg(folder.join("completions/cwii.bash")),
        )?;
        ensure!(folder.join("README.md").is_file(), "no README.md");
    }
    let binary = folder.join(format!("{program}{}", target.suffix()));
    let kind = process::output(Command::new("file").arg("--brief").arg(&binary))?;
    let expected: &[&str] = match (target.os, target.arch) {
        ("linux", "amd64") => &["ELF 64-bit", "x86-64", "static-pie"],
        ("linux", _) => &["ELF 64-bit", "ARM aarch64", "static-pie"],
        ("darwin", "amd64") => &["Mach-O 64-bit", "x86_64"],
        ("darwin", _) => &["Mach-O 64-bit", "arm64"],
        _ => &["PE32+ executable", "x86-64"],
    };
    for word in expected {
        ensure!(
            kind.contains(word),
            "{program} for {}: expected `{word}`, `file` says: {kind}",
            target.triple
        );
    }
    Ok(())
}

fn runs(release: &Release, program: &str, folder: &Path) -> Result<()> {
    let argument = if program == PLUGIN {
        "version"
    } else {
        "--version"
    };
    let said = process::output(Command::new(folder.join(program)).arg(argument))?;
    ensure!(
        said.contains(release.version),
        "{program} says it is {said}, expected {}",
        release.version
    );
    Ok(())
}

/// Krew's rules, by Krew's validator, which looks at the file's name as well.
fn manifest(root: &Path, out: &Path) -> Result<()> {
    process::output(
        Command::new(tool(root, "validate-krew-manifest")?)
            .arg("-skip-install")
            .arg("-manifest")
            .arg(out.join(krew::MANIFEST)),
    )?;
    println!("{}: Krew's validator accepts it", krew::MANIFEST);
    Ok(())
}

/// As a user would, but for the download.
fn install(release: &Release, manifest: &Path, archive: &Path) -> Result<()> {
    let krew = tool(&release.root, "krew")?;
    let home = tempfile::tempdir()?;
    let bin = home.path().join("krew/bin");
    let path = {
        let mut folders = vec![bin.clone()];
        folders.extend(env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from));
        folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        env::join_paths(folders)?
    };
    let command = |program: &Path| {
        let mut command = Command::new(program);
        command
            .env("HOME", home.path())
            .env("KREW_ROOT", home.path().join("krew"))
            .env("KREW_NO_UPGRADE_CHECK", "1")
            .env("PATH", &path)
            .env_remove("KUBECONFIG");
        command
    };
    // Krew wants to see a clone of its index before it does anything, and asks it nothing when given a manifest.
    process::output(
        Command::new("git")
            .args(["init", "--quiet"])
            .arg(home.path().join("krew/index/default")),
    )?;
    process::output(
        command(&krew)
            .arg("install")
            .arg("--manifest")
            .arg(manifest)
            .arg("--archive")
            .arg(archive),
    )?;
    let kubectl = Path::new("kubectl");
    let version = process::output(command(kubectl).args(["cwii", "version"]))?;
    ensure!(
        version.contains(release.version),
        "kubectl cwii version says {version}"
    );
    let listed = process::output(command(kubectl).args(["plugin", "list"]))?;
    ensure!(
        listed.contains("kubectl-cwii"),
        "kubectl does not list the plugin: {listed}"
    );
    process::output(command(kubectl).args(["cwii", "completion", "install"]))?;
    let completed = process::output(command(kubectl).args(["__complete", "cwii", "doc"]))?;
    ensure!(
        completed.lines().any(|line| line.starts_with("doctor\t")),
        "kubectl completes `cwii doc` to {completed}"
    );
    let store = home.path().join("krew/store/cwii");
    let installed = process::output(Command::new("find").arg(&store).args(["-name", "LICENSE"]))?;
    ensure!(!installed.trim().is_empty(), "Krew installed no LICENSE");
    process::output(command(&krew).args(["uninstall", "cwii"]))?;
    let left: Vec<_> = fs::read_dir(&bin)?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<Result<_>>()?;
    ensure!(
        left == ["kubectl_complete-cwii"],
        "after uninstalling only what the caveats name is left, found {left:?}"
    );
    println!("krew installs it, kubectl runs and completes it, krew removes it");
    Ok(())
}

fn tool(root: &Path, name: &str) -> Result<PathBuf> {
    let path = process::output(Command::new(root.join(".ci/tool")).arg(name))?;
    if path.trim().is_empty() {
        bail!("`.ci/tool {name}` names no file");
    }
    Ok(path.trim().into())
}
