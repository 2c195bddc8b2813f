//! What a release hands out: archives of the programs, their checksums, bills of materials, and Krew's manifest.
//!
//! Binaries may come from several machines, since nobody links for macOS on Linux; the archives are made in one place,
//! from what lies in `target/package/bin/TARGET`, so that one machine decides on names, times and owners. The same
//! binaries and the same commit give the same bytes.

mod archive;
mod check;
mod krew;
mod man;
mod notices;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::{process, static_build};

/// What `cargo xtask package` is asked for.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Build for this target (repeatable); without it for this machine's
    #[arg(long, value_name = "TRIPLE", value_parser = target)]
    target: Vec<&'static Target>,

    /// Build and make no archives, which another machine will do
    #[arg(long, conflicts_with = "assemble")]
    build: bool,

    /// Build nothing, and make the archives of all platforms from binaries in target/package/bin; one that is missing is
    /// an error
    #[arg(long, conflicts_with = "target")]
    assemble: bool,

    /// Fail when an archive is not what it should be, a man page is malformed, or Krew cannot install the plugin
    #[arg(long, conflicts_with = "build")]
    check: bool,
}

/// `cargo xtask package`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let root = static_build::root()?;
    let binaries = root.join("target/package/bin");
    let out = root.join("target/package/dist");
    let targets: Vec<&Target> = if options.assemble {
        TARGETS.iter().collect()
    } else if options.target.is_empty() {
        vec![target(&host()?).map_err(anyhow::Error::msg)?]
    } else {
        options.target.clone()
    };
    if !options.assemble {
        for target in &targets {
            for program in target.programs() {
                program.build(target, &binaries)?;
            }
        }
    }
    if options.build {
        return Ok(());
    }
    let release = Release::new(&root, binaries, targets)?;
    let files = release.files()?;
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| out.display().to_string())?;
    }
    fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    for (name, content) in &files {
        fs::write(out.join(name), content).with_context(|| name.clone())?;
    }
    print!("{}", text(&files, CHECKSUMS)?);
    println!("{}", out.display());
    if options.check {
        check::run(&release, &files, &out)?;
    }
    Ok(())
}

/// A platform of the release.
#[derive(Debug, Eq, PartialEq)]
struct Target {
    triple: &'static str,
    /// As Go, kubectl and Krew call it.
    os: &'static str,
    arch: &'static str,
}

const TARGETS: [Target; 5] = [
    Target::new("x86_64-unknown-linux-gnu", "linux", "amd64"),
    Target::new("aarch64-unknown-linux-gnu", "linux", "arm64"),
    Target::new("x86_64-apple-darwin", "darwin", "amd64"),
    Target::new("aarch64-apple-darwin", "darwin", "arm64"),
    Target::new("x86_64-pc-windows-gnu", "windows", "amd64"),
];

impl Target {
    const fn new(triple: &'static str, os: &'static str, arch: &'static str) -> Self {
        Self { triple, os, arch }
    }

    fn suffix(&self) -> &'static str {
        if self.os == "windows" { ".exe" } else { "" }
    }

    /// Agent and webhook run in pods; the plugin runs where people sit.
    fn programs(&self) -> impl Iterator<Item = &'static Program> {
        let in_pods = self.os == "linux";
        PROGRAMS
            .iter()
            .filter(move |program| in_pods || program.name == PLUGIN)
    }
}

fn target(triple: &str) -> Result<&'static Target, String> {
    TARGETS
        .iter()
        .find(|target| target.triple == triple)
        .ok_or_else(|| {
            let known: Vec<_> = TARGETS.iter().map(|target| target.triple).collect();
            format!(
                "no release is made for it, expected one of {}",
                known.join(", ")
            )
        })
}

/// A program of the release: package and binary are called alike.
#[derive(Debug)]
struct Program {
    name: &'static str,
    command: fn() -> clap::Command,
}

const PLUGIN: &str = "kubectl-cwii";

const PROGRAMS: [Program; 3] = [
    Program {
        name: "cwii-agent",
        command: <cwii_agent::cli::Cli as clap::CommandFactory>::command,
    },
    Program {
        name: "cwii-webhook",
        command: cwii_webhook::cli::command,
    },
    Program {
        name: PLUGIN,
        command: kubectl_cwii::command,
    },
];

impl Program {
    /// Builds it and puts it where the archives are made from.
    fn build(&self, target: &Target, binaries: &Path) -> Result<()> {
        let root = static_build::root()?;
        let folder = binaries.join(target.triple);
        let file = folder.join(format!("{}{}", self.name, target.suffix()));
        if target.os == "linux" {
            let built = process::output(
                Command::new(root.join("images/build")).args([self.name, target.triple]),
            )?;
            fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
            fs::copy(built.trim(), &file).with_context(|| built.trim().to_owned())?;
        } else {
            process::output(Command::new(root.join(".ci/plugin")).arg(target.triple))?;
        }
        println!("{}", file.display());
        Ok(())
    }
}

/// One release, of some platforms.
struct Release {
    root: PathBuf,
    binaries: PathBuf,
    targets: Vec<&'static Target>,
    /// Without `v`.
    version: &'static str,
    /// The time that everything in it bears, seconds since 1970: `SOURCE_DATE_EPOCH`
    /// (<https://reproducible-builds.org/specs/source-date-epoch/>), else that of the commit.
    time: u64,
}

impl Release {
    fn new(root: &Path, binaries: PathBuf, targets: Vec<&'static Target>) -> Result<Self> {
        let time = match std::env::var("SOURCE_DATE_EPOCH") {
            Ok(time) => time,
            Err(_) => process::output(Command::new("git").current_dir(root).args([
                "log",
                "-1",
                "--format=%ct",
            ]))?,
        };
        Ok(Self {
            root: root.to_owned(),
            binaries,
            targets,
            version: env!("CARGO_PKG_VERSION"),
            time: time
                .trim()
                .parse()
                .with_context(|| format!("`{}` is no number of seconds", time.trim()))?,
        })
    }

    /// Every file of the release by its name.
    fn files(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let mut files = BTreeMap::new();
        for target in &self.targets {
            let folders = notices::folders(&self.root, target.triple)?;
            for program in target.programs() {
                let shipped = notices::shipped(&self.root, program.name, target.triple, &folders)?;
                let name = self.archive_name(program, target);
                let content = self.archive(program, target, &shipped)?;
                files.insert(
                    self.bill_name(program, target),
                    notices::bill(program.name, self.version, self.time, &shipped)?,
                );
                files.insert(name, content);
            }
        }
        let manifest = krew::manifest(self, &files)?;
        files.insert(krew::MANIFEST.to_owned(), manifest.into_bytes());
        let sums: String = files
            .iter()
            .map(|(name, content)| format!("{}  {name}\n", sha256(content)))
            .collect();
        files.insert(CHECKSUMS.to_owned(), sums.into_bytes());
        Ok(files)
    }

    fn archive_name(&self, program: &Program, target: &Target) -> String {
        let kind = if target.os == "windows" {
            "zip"
        } else {
            "tar.gz"
        };
        format!("{}.{kind}", self.stem(program, target))
    }

    fn bill_name(&self, program: &Program, target: &Target) -> String {
        format!("{}.cdx.json", self.stem(program, target))
    }

    fn stem(&self, program: &Program, target: &Target) -> String {
        format!(
            "{}_v{}_{}_{}",
            program.name, self.version, target.os, target.arch
        )
    }

    fn archive(
        &self,
        program: &Program,
        target: &Target,
        shipped: &[notices::Package],
    ) -> Result<Vec<u8>> {
        let binary = format!("{}{}", program.name, target.suffix());
        let path = self.binaries.join(target.triple).join(&binary);
        let content = fs::read(&path).with_context(|| {
            format!(
                "{} for {} is not built: {}",
                program.name,
                target.triple,
                path.display()
            )
        })?;
        let license = fs::read(self.root.join("LICENSE")).context("LICENSE")?;
        let mut entries = vec![
            archive::Entry::program(&binary, content),
            archive::Entry::text("LICENSE", license),
            archive::Entry::text("RUST-STANDARD-LIBRARY.html", notices::standard_library()?),
            archive::Entry::text(
                "THIRD-PARTY-LICENSES.txt",
                notices::text(program.name, self.version, target.os, shipped)?,
            ),
        ];
        for (name, page) in man::pages(program, self)? {
            entries.push(archive::Entry::text(&format!("man/man1/{name}"), page));
        }
        if program.name == PLUGIN {
            let readme =
                fs::read(self.root.join("plugins/README.md")).context("plugins/README.md")?;
            entries.push(archive::Entry::text("README.md", readme));
            for (name, script) in kubectl_cwii::completion_scripts() {
                entries.push(archive::Entry::text(
                    &format!("completions/{name}"),
                    script.into_bytes(),
                ));
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        if target.os == "windows" {
            archive::zip(&entries, self.time)
        } else {
            archive::tar_gz(&entries, self.time)
        }
    }
}

/// This machine, as the compiler calls it.
fn host() -> Result<String> {
    let version = process::output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.to_owned())
}

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn text<'f>(files: &'f BTreeMap<String, Vec<u8>>, name: &str) -> Result<&'f str> {
    let content = files.get(name).with_context(|| format!("no {name}"))?;
    Ok(std::str::from_utf8(content)?)
}

const CHECKSUMS: &str = "checksums.txt";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shipped_is_what_cargo_deny_looks_at() {
        let deny = fs::read_to_string(static_build::root().unwrap().join("deny.toml")).unwrap();
        let list = deny
            .lines()
            .find_map(|line| line.strip_prefix("targets = "))
            .unwrap();
        let looked_at: Vec<String> = serde_json::from_str(list).unwrap();
        assert_eq!(looked_at, TARGETS.map(|target| target.triple));
    }

    #[test]
    fn the_programs_are_built_where_people_and_pods_run() {
        let programs = |triple| -> Vec<_> {
            let target = target(triple).unwrap();
            target.programs().map(|program| program.name).collect()
        };
        assert_eq!(
            programs("aarch64-unknown-linux-gnu"),
            ["cwii-agent", "cwii-webhook", "kubectl-cwii"]
        );
        assert_eq!(programs("x86_64-pc-windows-gnu"), ["kubectl-cwii"]);
        assert!(
            target("riscv64gc-unknown-linux-gnu")
                .unwrap_err()
                .contains("expected one of")
        );
    }
}
