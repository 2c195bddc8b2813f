//! Helm: where it is, and what it makes of the chart.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::files::CHART;
use crate::{process, static_build};

/// Helm and the chart.
pub(super) struct Helm {
    binary: PathBuf,
    chart: PathBuf,
}

impl Helm {
    /// As `CWII_HELM` says, else on `PATH`, else built by `.ci/tool`.
    pub(super) fn find() -> Result<Self> {
        Ok(Self {
            binary: tool("helm", "CWII_HELM")?,
            chart: static_build::root()?.join(CHART),
        })
    }

    /// Its version.
    pub(super) fn version(&self) -> Result<String> {
        let version = process::output(Command::new(&self.binary).args(["version", "--short"]))?;
        Ok(version.trim().to_owned())
    }

    /// `helm lint --strict`.
    pub(super) fn lint(&self, values: &Path) -> Result<()> {
        let mut command = Command::new(&self.binary);
        command
            .args(["lint", "--strict", "--quiet"])
            .arg(&self.chart);
        process::output(command.arg("--values").arg(values)).map(drop)
    }

    /// The objects that `helm template` prints, hooks included.
    pub(super) fn objects(&self, values: &Path, further: &[&str]) -> Result<Vec<Value>> {
        let text = process::output(&mut self.template(values, further))?;
        let mut objects = Vec::new();
        for document in
            serde_saphyr::from_multiple::<Value>(&text).context("what Helm printed is no YAML")?
        {
            if !document.is_null() {
                objects.push(document);
            }
        }
        if objects.is_empty() {
            bail!("Helm printed no object");
        }
        Ok(objects)
    }

    /// What Helm says against values, which it has to refuse.
    pub(super) fn refusal(&self, values: &Value) -> Result<String> {
        let file = tempfile::Builder::new().suffix(".json").tempfile()?;
        fs::write(file.path(), values.to_string())?;
        let output = self.template(file.path(), &[]).output()?;
        if output.status.success() {
            bail!("Helm accepts {values}");
        }
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn template(&self, values: &Path, further: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("template").arg(RELEASE).arg(&self.chart);
        command
            .args(["--namespace", NAMESPACE, "--values"])
            .arg(values)
            .args(further)
            .env_remove("KUBECONFIG");
        command
    }
}

/// A program that is not ours: from a variable, from `PATH`, or from `.ci/tool`, which builds it.
pub(super) fn tool(name: &str, variable: &str) -> Result<PathBuf> {
    if let Some(path) = env::var_os(variable).filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    if let Some(path) = process::find(name) {
        return Ok(path);
    }
    let script = static_build::root()?.join(".ci/tool");
    let path = process::output(Command::new(script).arg(name))
        .with_context(|| format!("no `{name}`: neither {variable} nor PATH has it"))?;
    Ok(PathBuf::from(path.trim()))
}

/// As the documentation installs it.
pub(super) const RELEASE: &str = "cwii";
pub(super) const NAMESPACE: &str = "cwii-system";
