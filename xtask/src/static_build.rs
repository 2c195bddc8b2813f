//! A binary of this workspace as one static file: `images/build` makes it, here is what is asserted of it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::process;

/// A binary, and how large it may be.
pub(crate) struct StaticBuild {
    /// The package and the binary in it.
    pub(crate) name: &'static str,
    /// Largest size, bytes.
    pub(crate) max_bytes: u64,
    /// Largest size after `gzip -9`, bytes.
    pub(crate) max_gzipped: Option<u64>,
}

impl StaticBuild {
    /// Builds it for this machine and says where it is.
    pub(crate) fn build(&self) -> Result<PathBuf> {
        let root = root()?;
        let output = Command::new(root.join("images/build"))
            .current_dir(&root)
            .arg(self.name)
            .stderr(Stdio::inherit())
            .output()
            .context("`images/build` cannot be started")?;
        ensure!(output.status.success(), "{} does not build", self.name);
        Ok(String::from_utf8(output.stdout)?.trim().into())
    }

    /// Prints size and linkage of the built file; with `check` fails when it is not static or too large.
    pub(crate) fn inspect(&self, path: &Path, check: bool) -> Result<()> {
        let bytes = fs::metadata(path)?.len();
        let gzipped = gzipped(path)?;
        let kind = process::output(Command::new("file").arg("--brief").arg(path))?;
        let libraries = libraries(path)?;
        let limit = |max: u64| format!("  (at most {max})");
        println!("{}", path.display());
        println!("size     {bytes:>9} bytes{}", limit(self.max_bytes));
        println!(
            "gzip -9  {gzipped:>9} bytes{}",
            self.max_gzipped.map(limit).unwrap_or_default()
        );
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
            bytes <= self.max_bytes,
            "{} has {bytes} bytes, expected at most {}",
            self.name,
            self.max_bytes
        );
        if let Some(max) = self.max_gzipped {
            ensure!(
                gzipped <= max,
                "{} has {gzipped} bytes gzipped, expected at most {max}",
                self.name
            );
        }
        Ok(())
    }
}

/// The folder of the workspace.
pub(crate) fn root() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    Ok(root.context("xtask has no parent folder")?.to_owned())
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> Result<PathBuf> {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(path) => Ok(PathBuf::from(path)),
        None => Ok(root()?.join("target")),
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
