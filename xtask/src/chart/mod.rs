//! `cargo xtask chart`: the chart, what is generated for it, and whether it holds what it promises.
//!
//! The values have one description ([`values`]); what can be generated of it is. Everything else is judged by Helm itself,
//! over a grid of values: [`check`] says what has to hold of everything rendered, [`refusals`] what Helm has to refuse, and
//! [`alerts`] whether alerts and dashboard ask for what the webhook says. What the API server has to say is asked in
//! `e2e/tests/e2e/chart.rs`.

mod alerts;
mod check;
mod files;
mod helm;
mod promtool;
mod refusals;
mod values;

use std::{collections::BTreeSet, fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::static_build;
use helm::Helm;

pub(crate) use files::files;

/// `cargo xtask chart`.
pub(crate) fn run(check: bool) -> Result<()> {
    let helm = Helm::find()?;
    println!("Helm {}", helm.version()?);
    let mut problems = Vec::new();
    let samples = alerts::samples();
    for (name, path) in grid()? {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let values: Value = serde_saphyr::from_str(&text).with_context(|| name.clone())?;
        let objects = helm
            .objects(&path, &[])
            .with_context(|| format!("values {name}"))?;
        let kinds: BTreeSet<&str> = objects.iter().map(|o| check::text(o, "/kind")).collect();
        println!("  {name}: {} objects, {} kinds", objects.len(), kinds.len());
        if !check {
            continue;
        }
        helm.lint(&path).with_context(|| format!("values {name}"))?;
        let mut wrong = check::problems(&values, &objects);
        if wrong.is_empty() {
            wrong.extend(check::blind_spots(&values, &objects));
        }
        let (expressions, unknown) = alerts::unknown(&objects, &samples)?;
        wrong.extend(unknown);
        if expressions > 0 {
            println!(
                "    {expressions} expressions, {} metrics known",
                samples.len()
            );
            println!("    {}", promtool::check(&objects)?);
        }
        problems.extend(
            wrong
                .into_iter()
                .map(|problem| format!("{name}: {problem}")),
        );
    }
    if !check {
        return Ok(());
    }
    if !problems.is_empty() {
        bail!(
            "the chart breaks its promises:\n  {}",
            problems.join("\n  ")
        );
    }
    let refused = refusals::check(&helm, &files::accepted()?)?;
    println!("  {refused} wrong values, each refused by Helm with its path");
    let too_old = helm.objects(&grid()?[0].1, &["--kube-version", "1.32.9"]);
    if too_old.is_ok() {
        bail!("Helm installs on Kubernetes 1.32, which is not supported");
    }
    Ok(())
}

/// Names and paths of the files in `grid/`, sorted.
fn grid() -> Result<Vec<(String, PathBuf)>> {
    let folder = static_build::root()?.join(GRID);
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default();
        files.push((name.to_string_lossy().into_owned(), path));
    }
    files.sort();
    Ok(files)
}

const GRID: &str = "xtask/src/chart/grid";
