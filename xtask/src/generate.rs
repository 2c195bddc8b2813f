//! Files that are generated from the sources, and whether they are what the sources say.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use cwii_checks::output::reference;

use crate::chart;

/// Folders that hold generated files and nothing else.
const OWN_FOLDERS: [&str; 1] = ["docs/checks"];

/// `cargo xtask generate`.
pub(crate) fn run(check: bool) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask has no folder above it")?;
    let files: Vec<(String, String)> = [reference::files(), chart::files()?].concat();
    let mut differs = Vec::new();
    for (path, content) in &files {
        let found = match fs::read_to_string(root.join(path)) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| path.clone()),
        };
        if found.as_ref() == Some(content) {
            continue;
        }
        differs.push(describe(path, found.as_deref(), content));
        if !check {
            let path = root.join(path);
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
            }
            fs::write(&path, content).with_context(|| path.display().to_string())?;
        }
    }
    for path in left_over(root, &files)? {
        differs.push(format!("{}: no source makes it any more", path.display()));
        if !check {
            fs::remove_file(root.join(&path)).with_context(|| path.display().to_string())?;
        }
    }
    if check && !differs.is_empty() {
        bail!(
            "generated files differ from their sources:\n  {}\nhelp: run `cargo xtask generate` and commit what it writes",
            differs.join("\n  ")
        );
    }
    println!(
        "{} generated files, {}",
        files.len(),
        match (differs.len(), check) {
            (0, _) => "all as their sources say".to_owned(),
            (count, _) => format!("{count} written or removed"),
        }
    );
    Ok(())
}

/// The first line that differs.
fn describe(path: &str, found: Option<&str>, expected: &str) -> String {
    let Some(found) = found else {
        return format!("{path}: missing");
    };
    let line = found
        .lines()
        .zip(expected.lines())
        .position(|(found, expected)| found != expected)
        .unwrap_or_else(|| found.lines().count().min(expected.lines().count()));
    format!(
        "{path}:{}: found `{}`, expected `{}`",
        line + 1,
        found.lines().nth(line).unwrap_or_default(),
        expected.lines().nth(line).unwrap_or_default()
    )
}

/// Files in folders of ours that no source makes.
fn left_over(root: &Path, files: &[(String, String)]) -> Result<Vec<PathBuf>> {
    let made: BTreeSet<PathBuf> = files.iter().map(|(path, _)| PathBuf::from(path)).collect();
    let mut left = Vec::new();
    for folder in OWN_FOLDERS {
        let entries = match fs::read_dir(root.join(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).context(folder),
        };
        for entry in entries {
            let path = Path::new(folder).join(entry?.file_name());
            if !made.contains(&path) {
                left.push(path);
            }
        }
    }
    left.sort();
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_names_the_first_line_that_differs() {
        assert_eq!(
            describe("a.md", Some("x\ny\n"), "x\nz\n"),
            "a.md:2: found `y`, expected `z`"
        );
        assert_eq!(
            describe("a.md", Some("x\n"), "x\nz\n"),
            "a.md:2: found ``, expected `z`"
        );
        assert_eq!(describe("a.md", None, "x"), "a.md: missing");
    }
}
