//! What of other people is in a program: their licences, which want to travel with it, and a bill of materials.
//!
//! Cargo itself says which packages are in the program for a target, as it does when it builds: no procedural macro, no
//! build script, no test. Whether the licences are ones that we accept is cargo-deny's business.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use crate::process;

/// A package of a registry that is in a program.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Package {
    name: String,
    version: String,
    /// SPDX expression.
    license: String,
    repository: String,
    folder: PathBuf,
}

/// Folders by name and version.
pub(super) type Folders = BTreeMap<(String, String), PathBuf>;

/// The packages of registries that are in a program for a target, sorted.
pub(super) fn shipped(
    root: &Path,
    program: &str,
    triple: &str,
    folders: &Folders,
) -> Result<Vec<Package>> {
    let tree = process::output(
        Command::new("cargo")
            .current_dir(root)
            .args(["tree", "--locked", "--package", program, "--target", triple])
            .args(["--edges", "normal,no-proc-macro", "--prefix", "none"])
            .args(["--format", "{p}|{l}|{r}"]),
    )?;
    let mut packages = BTreeSet::new();
    for line in tree.lines() {
        let mut parts = line.trim_end_matches(" (*)").split('|');
        let (Some(package), Some(license), Some(repository)) =
            (parts.next(), parts.next(), parts.next())
        else {
            bail!("`cargo tree` printed `{line}`");
        };
        let mut words = package.split(' ');
        let (Some(name), Some(version)) = (words.next(), words.next()) else {
            bail!("`cargo tree` printed `{line}`");
        };
        let version = version.trim_start_matches('v');
        let Some(folder) = folders.get(&(name.to_owned(), version.to_owned())) else {
            continue; // Ours.
        };
        ensure!(!license.is_empty(), "{name} {version} states no licence");
        packages.insert(Package {
            name: name.to_owned(),
            version: version.to_owned(),
            license: license.to_owned(),
            repository: repository.trim_end_matches(" (*)").to_owned(),
            folder: folder.clone(),
        });
    }
    ensure!(!packages.is_empty(), "{program} is made of nothing");
    Ok(packages.into_iter().collect())
}

/// Where the sources of the packages of registries are that anything here wants for a target.
pub(super) fn folders(root: &Path, triple: &str) -> Result<Folders> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Manifest>,
    }
    #[derive(Deserialize)]
    struct Manifest {
        name: String,
        version: String,
        source: Option<String>,
        manifest_path: PathBuf,
    }
    let text = process::output(
        Command::new("cargo")
            .current_dir(root)
            .args(["metadata", "--locked", "--format-version", "1"])
            .args(["--filter-platform", triple]),
    )?;
    let metadata: Metadata = serde_json::from_str(&text).context("`cargo metadata`")?;
    let foreign = metadata.packages.into_iter().filter(|p| p.source.is_some());
    Ok(foreign
        .filter_map(|p| Some(((p.name, p.version), p.manifest_path.parent()?.to_owned())))
        .collect())
}

/// The list, then each text once, under the packages that carry it.
pub(super) fn text(
    program: &str,
    version: &str,
    os: &str,
    packages: &[Package],
) -> Result<Vec<u8>> {
    let mut out = format!(
        "{program} {version} is licensed under the Apache License 2.0, see LICENSE. It contains the packages below, the\n\
         standard library of Rust, see RUST-STANDARD-LIBRARY.html{}.\n\n",
        match os {
            "linux" =>
                ",\nand, linked in, the GNU C Library, under the LGPL 2.1 or later, whose text is the last one here. It is \
                        unmodified;\nthe sources of this program and how it is linked are in its repository, so that it can be \
                        linked with another one",
            "windows" =>
                ",\nand start-up code of mingw-w64 and GCC under their permissive terms and the GCC Runtime Library \
                          Exception",
            _ => "",
        }
    );
    for package in packages {
        out.push_str(&format!(
            "{} {}  {}  {}\n",
            package.name, package.version, package.license, package.repository
        ));
    }
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages {
        for text in package.texts()? {
            let carriers = texts.entry(text).or_default();
            carriers.push(format!("{} {}", package.name, package.version));
        }
    }
    let mut texts: Vec<_> = texts.into_iter().map(|(text, by)| (by, text)).collect();
    texts.sort();
    if os == "linux" {
        let path = Path::new("/usr/share/common-licenses/LGPL-2.1");
        let text = fs::read_to_string(path)
            .with_context(|| format!("{}, of Debian's base-files", path.display()))?;
        texts.push((vec!["the GNU C Library".to_owned()], clean(&text)));
    }
    for (carriers, text) in texts {
        let rule = "-".repeat(80);
        out.push_str(&format!(
            "\n{rule}\n{}\n{rule}\n\n{text}\n",
            carriers.join(", ")
        ));
    }
    Ok(out.into_bytes())
}

/// What the toolchain says of its standard library, as it says it.
pub(super) fn standard_library() -> Result<Vec<u8>> {
    let path = toolchain_documents()?.join("COPYRIGHT-library.html");
    fs::read(&path).with_context(|| path.display().to_string())
}

/// A bill of materials, CycloneDX 1.5 (<https://cyclonedx.org/docs/1.5/json/>).
pub(super) fn bill(
    program: &str,
    version: &str,
    time: u64,
    packages: &[Package],
) -> Result<Vec<u8>> {
    let reference = |name: &str, version: &str| format!("pkg:cargo/{name}@{version}");
    let components: Vec<_> = packages
        .iter()
        .map(|package| {
            json!({
                "type": "library",
                "bom-ref": reference(&package.name, &package.version),
                "name": package.name,
                "version": package.version,
                // Cargo took a slash for OR once, and still does.
                "licenses": [{"expression": package.license.replace('/', " OR ")}],
                "purl": reference(&package.name, &package.version),
            })
        })
        .collect();
    let bill = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": Timestamp::from_second(i64::try_from(time)?)?.to_string(),
            "component": {
                "type": "application",
                "bom-ref": reference(program, version),
                "name": program,
                "version": version,
                "licenses": [{"expression": env!("CARGO_PKG_LICENSE")}],
                "purl": reference(program, version),
            },
        },
        "components": components,
    });
    Ok((serde_json::to_string_pretty(&bill)? + "\n").into_bytes())
}

impl Package {
    /// The licences and notices that the package carries, or what stands for them where it forgot to.
    fn texts(&self) -> Result<Vec<String>> {
        let mut texts = Vec::new();
        let mut names: Vec<_> = fs::read_dir(&self.folder)
            .with_context(|| self.folder.display().to_string())?
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .filter(|entry| entry.path().is_file())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| {
                let name = name.to_ascii_lowercase();
                LICENSE_FILES.iter().any(|prefix| name.starts_with(prefix))
            })
            .collect();
        names.sort();
        for name in names {
            let bytes = fs::read(self.folder.join(name))?;
            texts.push(clean(&String::from_utf8_lossy(&bytes)));
        }
        if !texts.is_empty() {
            return Ok(texts);
        }
        let documents = toolchain_documents()?.join("licenses");
        let read = |name: &str| {
            let path = documents.join(name);
            fs::read_to_string(&path).with_context(|| path.display().to_string())
        };
        if self.license.contains("Apache-2.0") {
            return Ok(vec![clean(&read("Apache-2.0.txt")?)]);
        }
        let holder = HOLDERS.iter().find(|(name, _)| *name == self.name);
        match holder {
            Some((_, holder)) if self.license == "MIT" => {
                let text = read("MIT.txt")?;
                let (_, terms) = text
                    .split_once("Permission is hereby granted")
                    .context("MIT.txt has changed")?;
                Ok(vec![clean(&format!(
                    "MIT License\n\n{holder}\n\nPermission is hereby granted{terms}"
                ))])
            }
            _ => bail!(
                "{} {} ({}) carries no licence: find its copyright line in {} and add it to HOLDERS",
                self.name,
                self.version,
                self.license,
                self.repository
            ),
        }
    }
}

/// The toolchain's own texts; they come with rustc.
fn toolchain_documents() -> Result<PathBuf> {
    let root = process::output(Command::new("rustc").args(["--print", "sysroot"]))?;
    Ok(Path::new(root.trim()).join("share/doc/rust"))
}

/// Without the differences that nobody sees.
fn clean(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim_matches('\n').to_owned()
}

const LICENSE_FILES: [&str; 6] = [
    "licen",
    "copying",
    "copyright",
    "notice",
    "unlicense",
    "patents",
];

/// Whose the packages are that carry no text, as the repositories that they name say.
const HOLDERS: [(&str, &str); 3] = [
    ("base64-simd", "Copyright (c) 2021 Nugine"),
    ("cel", "Copyright (c) 2022 Tom Forbes and Contributors"),
    ("vsimd", "Copyright (c) 2021 Nugine"),
];
