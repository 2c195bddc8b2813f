//! The book: building it, and whether what it says holds.
//!
//! Links and anchors are looked at in what mdBook wrote, since that is what is read; commands are run as printed.

mod blocks;
mod diagrams;
mod flags;
mod html;
mod markdown;

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use cwii_contract::{Provider, annotations};

use self::{
    blocks::{Page, Runner},
    flags::Helm,
};
use crate::{process, static_build};

pub(crate) use diagrams::run as diagrams;

/// Pages beside the book whose blocks are run and whose links are followed.
const BESIDE: [&str; 2] = ["README.md", "CONTRIBUTING.md"];

/// `cargo xtask book`: builds it, and with `check` holds it against the programs. `only` names pages to run.
pub(crate) fn run(check: bool, only: &[String]) -> Result<()> {
    let root = static_build::root()?;
    let built = build(&root)?;
    if !check {
        println!("{}", built.join("index.html").display());
        return Ok(());
    }
    let mut problems = Vec::new();
    let book = html::Book::read(&built)?;
    let followed = book.links(&root, &mut problems);
    book.loads(&mut problems)?;
    let codes = book.codes(&mut problems);
    println!(
        "book: {} pages, {followed} links, {codes} codes",
        book.pages()
    );
    let pages = pages(&root)?;
    contents(&root, &pages, &mut problems)?;
    for page in &pages {
        beside(&root, page, &mut problems);
        names(page, &mut problems);
    }
    let helm = tool(&root, "helm").ok();
    parsed(&root, &pages, helm.as_deref(), &mut problems);
    let runner = Runner::new(&root, helm.as_deref())?;
    for page in &pages {
        if !only.is_empty() && !only.iter().any(|name| page.path.ends_with(name.as_str())) {
            continue;
        }
        let ran = runner.run(page, &mut problems)?;
        if ran.blocks + ran.elsewhere > 0 {
            println!(
                "{}: {} blocks ran, {} transcripts compared, {} left to the gate",
                page.path, ran.blocks, ran.compared, ran.elsewhere
            );
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    bail!(
        "{} problems in the documentation:\n  {}",
        problems.len(),
        problems.join("\n  ")
    );
}

/// Builds the book with the mdBook that `MDBOOK` names, or that is on the `PATH`, or that `.ci/tool` makes.
fn build(root: &Path) -> Result<PathBuf> {
    let mdbook = match env::var_os("MDBOOK") {
        Some(path) => PathBuf::from(path),
        None => match process::find("mdbook") {
            Some(path) => path,
            None => tool(root, "mdbook")?,
        },
    };
    let out = static_build::target()?.join("book");
    let output = Command::new(mdbook)
        .arg("build")
        .arg(root.join("docs"))
        .arg("--dest-dir")
        .arg(&out)
        // The program that already runs: cargo inside cargo would build again.
        .env(
            "MDBOOK_PREPROCESSOR__DIAGRAMS__COMMAND",
            format!("{} diagrams", env::current_exe()?.display()),
        )
        .output()
        .context("mdbook cannot be started")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || said.contains("WARN") || said.contains("ERROR") {
        bail!("mdbook: {}", said.trim());
    }
    Ok(out)
}

/// A tool of other projects, built where it is not there yet.
fn tool(root: &Path, name: &str) -> Result<PathBuf> {
    let path = process::output(Command::new(root.join(".ci/tool")).arg(name))?;
    Ok(PathBuf::from(path.trim()))
}

/// Every page, by its path.
fn pages(root: &Path) -> Result<Vec<Page>> {
    let mut paths: Vec<PathBuf> = BESIDE.iter().map(PathBuf::from).collect();
    let mut folders = vec![PathBuf::from("docs/src")];
    while let Some(folder) = folders.pop() {
        for entry in
            fs::read_dir(root.join(&folder)).with_context(|| folder.display().to_string())?
        {
            let path = folder.join(entry?.file_name());
            if root.join(&path).is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            Ok(Page {
                text: fs::read_to_string(root.join(&path))
                    .with_context(|| path.display().to_string())?,
                path: path.display().to_string(),
            })
        })
        .collect()
}

/// Pages that the table of contents does not have are pages that nobody finds.
fn contents(root: &Path, pages: &[Page], problems: &mut Vec<String>) -> Result<()> {
    const CONTENTS: &str = "docs/src/SUMMARY.md";
    let text = fs::read_to_string(root.join(CONTENTS)).context(CONTENTS)?;
    let listed: BTreeSet<String> = markdown::links(&text)
        .into_iter()
        .map(|link| format!("docs/src/{link}"))
        .collect();
    for page in pages {
        let path = &page.path;
        if path.starts_with("docs/src/") && path != CONTENTS && !listed.contains(path) {
            problems.push(format!("{path}: SUMMARY.md does not have it"));
        }
    }
    Ok(())
}

/// Links of the files that are read where they lie.
fn beside(root: &Path, page: &Page, problems: &mut Vec<String>) {
    if page.path.contains('/') {
        return;
    }
    for link in markdown::links(&page.text) {
        let target = link.split('#').next().unwrap_or_default();
        let is_there = link.starts_with("https://") || root.join(target).exists();
        if !is_there {
            problems.push(format!(
                "{}: link `{link}`: there is no such file",
                page.path
            ));
        }
    }
}

/// What stands in examples because it is wrong.
const MISSPELT: [&str; 1] = ["aws-role-anr"];

/// Labels of examples.
const LABELS: [&str; 2] = ["identity", "injector"];

/// What the webhook reads on the Secret of its certificate.
const OF_THE_SECRET: [&str; 1] = ["rotate"];

/// Annotations that a page names are annotations that there are.
fn names(page: &Page, problems: &mut Vec<String>) {
    for (line, text) in page.text.lines().enumerate() {
        for (at, _) in text.match_indices(annotations::PREFIX) {
            let rest = text
                .get(at + annotations::PREFIX.len()..)
                .unwrap_or_default();
            let key: String = rest
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || "-<>*".contains(*c))
                .collect();
            // The prefix alone, a folder in a pod, a pattern.
            let is_path = text.get(..at).is_some_and(|before| before.ends_with('/'));
            let is_pattern = key.is_empty() || key.contains('*') || key.ends_with('-');
            if is_path
                || is_pattern
                || MISSPELT.contains(&key.as_str())
                || LABELS.contains(&key.as_str())
                || OF_THE_SECRET.contains(&key.as_str())
            {
                continue;
            }
            let key = ["<p>", "<provider>"]
                .iter()
                .fold(key, |key, any| key.replace(any, Provider::Aws.as_str()));
            if annotations::find(&format!("{}{key}", annotations::PREFIX)).is_none() {
                problems.push(format!(
                    "{}:{}: there is no annotation `{}{key}`",
                    page.path,
                    line + 1,
                    annotations::PREFIX
                ));
            }
        }
    }
}

/// What is for clusters and clouds goes through the programs' own parsers.
fn parsed(root: &Path, pages: &[Page], helm: Option<&Path>, problems: &mut Vec<String>) {
    let chart = root.join("charts/cwii");
    let helm = Helm {
        program: helm,
        chart: &chart,
    };
    let mut checked = 0;
    for page in pages {
        for fence in markdown::fences(&page.text) {
            if !matches!(fence.language.as_str(), "sh" | "console") {
                continue;
            }
            let (count, found) = flags::check(&fence.content, &helm);
            checked += count;
            problems.extend(
                found
                    .into_iter()
                    .map(|problem| format!("{}:{}: {problem}", page.path, fence.line)),
            );
        }
    }
    println!("book: {checked} command lines parsed");
}
