//! Krew's manifest: what a person writes, in `plugins/cwii.yaml`, and what only a release knows, added to it.

use std::{collections::BTreeMap, fmt::Write as _, fs};

use anyhow::{Context as _, Result, ensure};

use super::{PLUGIN, PROGRAMS, Release, sha256};

/// The manifest of this release: version, and address and checksum of each archive that was made.
pub(super) fn manifest(release: &Release, files: &BTreeMap<String, Vec<u8>>) -> Result<String> {
    let path = release.root.join("plugins").join(MANIFEST);
    let written = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut text: String = written
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| [line, "\n"])
        .collect();
    let home = written
        .lines()
        .find_map(|line| line.strip_prefix("  homepage: "))
        .context("plugins/cwii.yaml names no homepage")?;
    ensure!(
        home == env!("CARGO_PKG_REPOSITORY"),
        "plugins/cwii.yaml names {home}, Cargo.toml {}",
        env!("CARGO_PKG_REPOSITORY")
    );
    let plugin = PROGRAMS
        .iter()
        .find(|program| program.name == PLUGIN)
        .context("no plugin")?;
    writeln!(text, "  version: v{}\n  platforms:", release.version)?;
    for target in &release.targets {
        let archive = release.archive_name(plugin, target);
        let content = files
            .get(&archive)
            .with_context(|| format!("no {archive}"))?;
        writeln!(
            text,
            "    - selector:\n        matchLabels:\n          os: {}\n          arch: {}\n      uri: {home}/releases/download/v{}/{archive}\n      sha256: {}\n      bin: {PLUGIN}{}",
            target.os,
            target.arch,
            release.version,
            sha256(content),
            target.suffix(),
        )?;
    }
    Ok(text)
}

pub(super) const MANIFEST: &str = "cwii.yaml";
