//! Other programs: finding them, running them, and saying what they said when they fail.

use std::{
    env,
    path::PathBuf,
    process::{Command, Output, exit},
};

use anyhow::{Context, Result, bail};

use crate::static_build;

/// Runs a command to its end and returns its standard output.
///
/// # Errors
///
/// It cannot be started, or it fails; then the error holds the end of what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("`{name}` cannot be started"))?;
    if !output.status.success() {
        bail!(
            "`{name}` failed ({}): {}",
            output.status,
            complaint(&output)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The last lines that a command printed, on one line; standard error where there is any.
pub(crate) fn complaint(output: &Output) -> String {
    let text = if output.stderr.trim_ascii().is_empty() {
        &output.stdout
    } else {
        &output.stderr
    };
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    let tail = &lines[lines.len().saturating_sub(3)..];
    if tail.is_empty() {
        "it printed nothing".into()
    } else {
        tail.join(" / ")
    }
}

/// A program on `PATH`. Folders of version managers' shims are passed over: they start another program first, whose
/// time would be counted.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .filter(|folder| !folder.ends_with("shims"))
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// Runs the same task again, from a build with optimisation, and ends as it does.
///
/// # Errors
///
/// Cargo cannot be started.
pub(crate) fn again_with_optimisation() -> Result<()> {
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(static_build::root()?)
        .args(["run", "--quiet", "--locked", "--release"])
        .args(["--package", "xtask", "--"])
        .args(env::args_os().skip(1))
        .status()
        .context("cargo cannot be started")?;
    exit(status.code().unwrap_or(1));
}
