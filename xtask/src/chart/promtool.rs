//! Prometheus' own tool: whether the alerts parse, and whether they fire when they should.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::helm::tool;
use crate::process;

/// Lets `promtool` check the rules among the objects, and play the cases of `alerts.test.yaml` with them.
pub(super) fn check(objects: &[Value]) -> Result<String> {
    let rule = objects
        .iter()
        .find(|object| object["kind"] == "PrometheusRule")
        .context("no PrometheusRule is rendered")?;
    let promtool = tool("promtool", "CWII_PROMTOOL")?;
    let folder = tempfile::tempdir()?;
    // JSON is YAML.
    let rules = json!({ "groups": rule["spec"]["groups"] }).to_string();
    fs::write(folder.path().join("rules.yaml"), rules)?;
    fs::write(folder.path().join("cases.yaml"), CASES)?;
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&promtool);
        process::output(command.args(arguments).current_dir(folder.path()))
    };
    run(&["check", "rules", "--lint=all", "--lint-fatal", "rules.yaml"])?;
    run(&["test", "rules", "cases.yaml"])?;
    let count = CASES.matches("\n  - name: ").count();
    Ok(format!(
        "promtool accepts the rules, and {count} cases hold"
    ))
}

const CASES: &str = include_str!("alerts.test.yaml");
