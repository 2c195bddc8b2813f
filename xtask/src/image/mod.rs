//! The images: assembled by buildah from static files, read back, and run as a kubelet would run them.
//!
//! The Dockerfiles in `images/` build from source as well, which needs their builder image from a registry. What is
//! assembled here is the very same final stage, since a folder of binaries takes the place of their stage `binary`.

mod confined;
mod elf;
mod layout;
mod replaced;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use clap::{Args, builder::PossibleValuesParser};
use comfy_table::{Cell, CellAlignment, Table, presets};
use jiff::Timestamp;
use tempfile::TempDir;

use self::{
    layout::{Image, Index},
    replaced::REPLACED,
};
use crate::{
    agent::AGENT,
    empty_root,
    process::output,
    static_build::{StaticBuild, root},
    webhook::WEBHOOK,
};

/// Arguments of `cargo xtask image`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Only these, instead of all
    #[arg(value_name = "IMAGE", value_parser = PossibleValuesParser::new(OURS.map(|ours| ours.build.name)))]
    only: Vec<String>,

    /// Fail when an image does not come out twice the same, is too large, holds or says anything else than it should, or
    /// does not run confined
    #[arg(long)]
    check: bool,

    /// Take the files from FOLDER/amd64 and FOLDER/arm64, those that are there, instead of building them for this machine
    #[arg(long, value_name = "FOLDER")]
    binaries: Option<PathBuf>,
}

/// `cargo xtask image`.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let commit = Commit::read()?;
    let chosen = OURS.iter().filter(|ours| {
        arguments.only.is_empty() || arguments.only.iter().any(|name| name == ours.build.name)
    });
    let target = root()?.join("target/images");
    let ours = target.join("binaries");
    if arguments.binaries.is_none() && ours.exists() {
        fs::remove_dir_all(&ours)?;
    }
    let binaries = arguments.binaries.as_deref().unwrap_or(&ours);
    let mut table = table(&[
        "image",
        "platform",
        "compressed",
        "unpacked",
        "files",
        "user",
        "digest",
    ]);
    let mut agent_bytes = None;
    for ours in chosen {
        let name = ours.build.name;
        if arguments.binaries.is_none() {
            staged(&ours.build, binaries)?;
        }
        let index = assemble(name, binaries, &commit, &target.join(name))?;
        if arguments.check {
            ours.check(&index, binaries, &commit)?;
            let again = tempfile::tempdir()?;
            let second = assemble(name, binaries, &commit, &again.path().join(name))?;
            ensure!(
                index.digest == second.digest,
                "expected the same digest of {name} twice, found {} and {}",
                index.digest,
                second.digest
            );
            confined::check(name, &index, ours.runs)?;
            if let Some(image) = index.here().filter(|_| name == AGENT.name) {
                let folder = tempfile::tempdir()?;
                image.unpack(folder.path())?;
                empty_root::check(&folder.path().join(name))?;
            }
        }
        for image in &index.images {
            if name == AGENT.name {
                agent_bytes.get_or_insert(image.unpacked());
            }
            table.add_row([
                Cell::new(name),
                Cell::new(&image.platform.architecture),
                bytes(image.compressed()),
                bytes(image.unpacked()),
                Cell::new(image.entries().count()).set_alignment(CellAlignment::Right),
                Cell::new(&image.config.user),
                Cell::new(&index.digest),
            ]);
        }
    }
    println!("\n{table}\n\nOCI layouts: {}/IMAGE", target.display());
    if let Some(agent) = agent_bytes {
        println!("\n{}", comparison(agent));
    }
    Ok(())
}

/// One of our images.
struct Ours {
    build: StaticBuild,
    /// Most bytes that a node downloads.
    max_compressed: u64,
    /// What it says when it runs.
    runs: &'static [confined::Run],
}

impl Ours {
    /// Everything that can be seen without running it.
    fn check(&self, index: &Index, binaries: &Path, commit: &Commit) -> Result<()> {
        let name = self.build.name;
        ensure!(
            index.reference == VERSION,
            "expected the reference {VERSION}, found `{}`",
            index.reference
        );
        for image in &index.images {
            let binary = binaries.join(&image.platform.architecture).join(name);
            let binary = fs::read(&binary).with_context(|| binary.display().to_string())?;
            let labels = labels(name, commit)?;
            let complaints = self.complaints(image, &binary, &labels, commit.epoch);
            ensure!(
                complaints.is_empty(),
                "{name} for {}: {}",
                image.platform.architecture,
                complaints.join("; ")
            );
        }
        Ok(())
    }

    /// What is not as it should be in one image.
    fn complaints(
        &self,
        image: &Image,
        binary: &[u8],
        labels: &BTreeMap<String, String>,
        epoch: i64,
    ) -> Vec<String> {
        let name = self.build.name;
        let config = &image.config;
        let mut complaints = Vec::new();
        let mut expect = |what: &str, expected: &str, found: &str| {
            if expected != found {
                complaints.push(format!("expected {what} `{expected}`, found `{found}`"));
            }
        };
        expect("the operating system", "linux", &image.platform.os);
        expect("the user", "65532:65532", &config.user);
        expect(
            "the entry point",
            &format!("/{name}"),
            &config.entrypoint.join(" "),
        );
        expect("the command", "", &config.cmd.join(" "));
        expect("the environment", PATH, &config.env.join(" "));
        expect("the stop signal", "", &config.stop_signal);
        expect("no volumes", "{}", &format!("{:?}", config.volumes));
        expect("no ports", "{}", &format!("{:?}", config.exposed_ports));
        expect("the time", &labels[&label("created")], &image.created);
        expect(
            "the labels",
            &format!("{labels:?}"),
            &format!("{:?}", config.labels),
        );
        // Both spellings start a process in the root directory.
        expect("the folder", "", config.working_dir.trim_start_matches('/'));

        let entries: Vec<_> = image.entries().collect();
        let paths: Vec<&str> = entries.iter().map(|entry| &*entry.path).collect();
        expect("nothing but the file", name, &paths.join(" "));
        for entry in entries {
            expect("an ordinary file", "true", &entry.file.to_string());
            expect("the mode", "555", &format!("{:o}", entry.mode & 0o7777));
            expect("the owner", "(0, 0)", &format!("{:?}", entry.owner));
            expect(
                "the file's time",
                &epoch.to_string(),
                &entry.modified.to_string(),
            );
            let elf = elf::read(&entry.content);
            expect(
                "a binary for",
                &image.platform.architecture,
                elf.map_or("none", |elf| elf.architecture),
            );
            expect(
                "a static binary",
                "true",
                &elf.is_some_and(|elf| elf.is_static).to_string(),
            );
            expect(
                "no folder of this machine",
                "",
                &folders_in(&entry.content).join(" "),
            );
            expect(
                "the binary",
                &layout::digest(binary),
                &layout::digest(&entry.content),
            );
        }
        if image.compressed() > self.max_compressed {
            complaints.push(format!(
                "{} bytes compressed, expected at most {}",
                image.compressed(),
                self.max_compressed
            ));
        }
        complaints
    }
}

/// What a build must not depend on, where a file names it: the checkout, and cargo's home.
fn folders_in(content: &[u8]) -> Vec<String> {
    let home = env::var("HOME").map(|home| format!("{home}/.cargo"));
    let folders = [
        root().ok().map(|root| root.display().to_string()),
        env::var("CARGO_HOME").or(home).ok(),
    ];
    let named = |folder: &String| {
        content
            .windows(folder.len())
            .any(|part| part == folder.as_bytes())
    };
    folders.into_iter().flatten().filter(named).collect()
}

/// The labels of an image, those that its Dockerfile has and those that depend on the commit.
fn labels(name: &str, commit: &Commit) -> Result<BTreeMap<String, String>> {
    let description = description(name)?;
    let fixed = [
        ("title", name),
        ("description", &description),
        ("source", env!("CARGO_PKG_REPOSITORY")),
        ("version", VERSION),
        ("licenses", env!("CARGO_PKG_LICENSE")),
    ];
    let fixed = fixed.map(|(key, value)| (label(key), value.to_owned()));
    Ok(fixed.into_iter().chain(commit.labels()?).collect())
}

/// What a package says of itself; its image says the same.
fn description(name: &str) -> Result<String> {
    let path = root()?.join(folder(name)).join("Cargo.toml");
    let manifest = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let line = manifest.lines().find_map(|line| {
        let value = line.strip_prefix("description = \"")?;
        value.strip_suffix('"')
    });
    Ok(line.context("the package has no description")?.to_owned())
}

/// The folder of a package, and of its Dockerfile under `images/`.
fn folder(name: &str) -> &str {
    name.strip_prefix("cwii-").unwrap_or(name)
}

/// Which sources an image was made of, and when.
struct Commit {
    revision: String,
    /// Seconds since 1970: the time of everything in the image.
    epoch: i64,
}

impl Commit {
    fn read() -> Result<Self> {
        let git = |arguments: &[&str]| -> Result<String> {
            let text = output(Command::new("git").current_dir(root()?).args(arguments))?;
            Ok(text.trim().to_owned())
        };
        // https://reproducible-builds.org/docs/source-date-epoch/
        let epoch = match env::var("SOURCE_DATE_EPOCH") {
            Ok(epoch) => epoch,
            Err(_) => git(&["log", "-1", "--format=%ct"])?,
        };
        Ok(Self {
            // A tag would be found otherwise, and a change that is in no commit is told.
            revision: git(&[
                "describe",
                "--always",
                "--abbrev=40",
                "--dirty",
                "--exclude=*",
            ])?,
            epoch: epoch
                .parse()
                .with_context(|| format!("expected seconds since 1970, found `{epoch}`"))?,
        })
    }

    fn created(&self) -> Result<String> {
        Ok(Timestamp::from_second(self.epoch)?.to_string())
    }

    fn labels(&self) -> Result<[(String, String); 2]> {
        Ok([
            (label("created"), self.created()?),
            (label("revision"), self.revision.clone()),
        ])
    }
}

/// A label of <https://github.com/opencontainers/image-spec/blob/main/annotations.md>.
fn label(key: &str) -> String {
    format!("org.opencontainers.image.{key}")
}

/// The architecture of this machine, in Go's words.
fn here() -> &'static str {
    match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Builds a file for this machine and puts it where a build context wants it.
fn staged(build: &StaticBuild, binaries: &Path) -> Result<()> {
    let architecture = here();
    ensure!(
        ARCHITECTURES.contains(&architecture),
        "images are made for {}, this is {architecture}",
        ARCHITECTURES.join(" and ")
    );
    let path = build.build()?;
    let folder = binaries.join(architecture);
    fs::create_dir_all(&folder)?;
    fs::copy(path, folder.join(build.name))?;
    Ok(())
}

/// Assembles an image for every architecture that there is a file for, and reads what came out.
fn assemble(name: &str, binaries: &Path, commit: &Commit, layout: &Path) -> Result<Index> {
    let binaries = fs::canonicalize(binaries).with_context(|| binaries.display().to_string())?;
    let there = ARCHITECTURES
        .iter()
        .filter(|architecture| binaries.join(architecture).join(name).is_file());
    // A store of its own, without a driver that the machine may lack, so that nothing stays behind.
    let store = tempfile::tempdir()?;
    let buildah = || buildah(&store);
    let mut found = false;
    // One after the other: of those that run at once the fastest would come first in the index.
    for architecture in there {
        found = true;
        let mut build = buildah();
        build
            .current_dir(root()?)
            .args([
                "build",
                "--quiet",
                "--format=oci",
                "--layers=false",
                "--identity-label=false",
            ])
            .arg(format!("--timestamp={}", commit.epoch))
            .arg(format!("--platform=linux/{architecture}"))
            .arg(format!("--manifest={name}"))
            .arg(format!("--build-context=binary={}", binaries.display()))
            .arg(format!("--file=images/{}/Dockerfile", folder(name)));
        for (key, value) in commit.labels()? {
            build.arg(format!("--label={key}={value}"));
        }
        output(build.arg("."))?;
    }
    ensure!(
        found,
        "expected {name} in {}/amd64 or {}/arm64",
        binaries.display(),
        binaries.display()
    );
    if layout.exists() {
        fs::remove_dir_all(layout)?;
    }
    fs::create_dir_all(layout.parent().context("the layout has no folder")?)?;
    output(
        buildah()
            .args(["manifest", "push", "--quiet", "--all", name])
            .arg(format!("oci:{}:{VERSION}", layout.display())),
    )?;
    layout::read(layout)
}

fn buildah(store: &TempDir) -> Command {
    let mut command = Command::new("buildah");
    command
        .arg("--storage-driver=vfs")
        .arg("--root")
        .arg(store.path().join("root"))
        .arg("--runroot")
        .arg(store.path().join("run"))
        .env("TMPDIR", store.path())
        // Newer versions read it, and then refuse `--timestamp`, which all know.
        .env_remove("SOURCE_DATE_EPOCH");
    command
}

/// The agent beside the images whose place it takes.
fn comparison(agent: u64) -> String {
    let mut rows = table(&["on a node", "MB", "x agent", "said by", "on"]);
    let megabytes = |bytes: u64| format!("{:.1}", bytes as f64 / 1e6);
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    rows.add_row([
        Cell::new(AGENT.name),
        right(megabytes(agent)),
        right("1".into()),
        Cell::new("this build"),
        Cell::new(""),
    ]);
    for other in &REPLACED {
        let times = other.megabytes as f64 * 1e6 / agent as f64;
        rows.add_row([
            Cell::new(other.image),
            right(format!("{}.0", other.megabytes)),
            right(format!("{times:.0}")),
            Cell::new(other.by),
            Cell::new(other.on),
        ]);
    }
    let sources = REPLACED.map(|other| format!("{}: {}", other.image, other.source));
    format!("{rows}\n{}", sources.join("\n"))
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table
}

fn bytes(count: u64) -> Cell {
    Cell::new(count).set_alignment(CellAlignment::Right)
}

/// All images, by their final stage the same.
const OURS: [Ours; 3] = [
    Ours {
        build: AGENT,
        max_compressed: 3_000_000,
        runs: &confined::AGENT,
    },
    Ours {
        build: WEBHOOK,
        max_compressed: 6_000_000,
        runs: &confined::WEBHOOK,
    },
    Ours {
        build: StaticBuild {
            name: "kubectl-cwii",
            max_bytes: 30_000_000,
            max_gzipped: None,
        },
        max_compressed: 12_000_000,
        runs: &confined::PLUGIN,
    },
];
const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];
/// Packages share one version.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// What builders set where an image says nothing of its environment.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[cfg(test)]
mod tests {
    use super::{
        layout::{Config, Entry, Layer, Platform},
        *,
    };

    #[test]
    fn an_image_as_it_should_be_draws_no_complaint() {
        assert_eq!(complaints(|_| ()), Vec::<String>::new());
    }

    #[test]
    fn every_departure_draws_a_complaint_that_names_it() {
        type Change = fn(&mut Image);
        let cases: [(&str, Change); 17] = [
            ("the user", |image| image.config.user = "0:0".into()),
            ("the entry point", |image| {
                image.config.entrypoint = vec!["/bin/sh".into()]
            }),
            ("the command", |image| {
                image.config.cmd = vec!["--help".into()]
            }),
            ("the environment", |image| {
                image.config.env.push("A=b".into())
            }),
            ("no volumes", |image| {
                drop(image.config.volumes.insert("/v".into(), ().into()))
            }),
            ("no ports", |image| {
                drop(image.config.exposed_ports.insert("1/tcp".into(), ().into()))
            }),
            ("the time", |image| {
                image.created = "2026-11-22T00:00:01Z".into()
            }),
            ("the labels", |image| {
                drop(image.config.labels.remove(&label("revision")))
            }),
            ("the folder", |image| {
                image.config.working_dir = "/tmp".into()
            }),
            ("nothing but the file", |image| {
                let mut other = image.layers[0].entries[0].clone();
                other.path = "etc/passwd".into();
                image.layers[0].entries.push(other);
            }),
            ("the mode", |image| image.layers[0].entries[0].mode = 0o4555),
            ("the owner", |image| {
                image.layers[0].entries[0].owner = (0, 65_532)
            }),
            ("the file's time", |image| {
                image.layers[0].entries[0].modified += 1
            }),
            ("the binary", |image| {
                image.layers[0].entries[0].content.push(0)
            }),
            ("a binary for", |image| {
                image.platform.architecture = "arm64".into()
            }),
            ("a static binary", |image| {
                image.layers[0].entries[0].content = elf::sample(62, &[1, 3]);
            }),
            ("no folder of this machine", |image| {
                let root = root().unwrap().display().to_string();
                image.layers[0].entries[0].content.extend(root.into_bytes());
            }),
        ];
        for (part, change) in cases {
            let found = complaints(change);
            assert!(
                found
                    .iter()
                    .any(|line| line.starts_with(&format!("expected {part} "))),
                "{part}: {found:?}"
            );
        }
    }

    #[test]
    fn an_image_that_is_too_large_is_told_by_its_bytes() {
        let found = complaints(|image| image.layers[0].compressed = 3_000_001);
        assert_eq!(
            found,
            ["3000001 bytes compressed, expected at most 3000000"]
        );
    }

    #[test]
    fn the_dockerfiles_name_the_version_and_the_toolchain_of_the_workspace() {
        let root = root().unwrap();
        let toolchain = fs::read_to_string(root.join("rust-toolchain.toml")).unwrap();
        let channel = toolchain
            .lines()
            .find_map(|line| line.strip_prefix("channel = "));
        let builder = format!(
            "ARG BUILDER=docker.io/library/rust:{}-",
            channel.unwrap().trim_matches('"')
        );
        for ours in &OURS {
            let path = root
                .join("images")
                .join(folder(ours.build.name))
                .join("Dockerfile");
            let text = fs::read_to_string(&path).unwrap();
            for part in [&*builder, &format!("{}=\"{VERSION}\"", label("version"))] {
                assert!(
                    text.contains(part),
                    "expected `{part}` in {}",
                    path.display()
                );
            }
        }
    }

    /// What is said of an agent's image that was changed.
    fn complaints(change: impl FnOnce(&mut Image)) -> Vec<String> {
        let commit = Commit {
            revision: "0123".into(),
            epoch: 1_795_305_600,
        };
        let labels = labels(AGENT.name, &commit).unwrap();
        let mut image = Image {
            platform: Platform {
                os: "linux".into(),
                architecture: "amd64".into(),
                variant: None,
            },
            created: commit.created().unwrap(),
            config: Config {
                user: "65532:65532".into(),
                env: vec![PATH.into()],
                entrypoint: vec!["/cwii-agent".into()],
                labels: labels.clone(),
                ..Config::default()
            },
            layers: vec![Layer {
                compressed: 3_000_000,
                entries: vec![Entry {
                    path: AGENT.name.into(),
                    file: true,
                    mode: 0o555,
                    owner: (0, 0),
                    modified: 1_795_305_600,
                    content: elf::sample(62, &[1]),
                }],
            }],
        };
        change(&mut image);
        OURS[0].complaints(&image, &elf::sample(62, &[1]), &labels, commit.epoch)
    }
}
