//! The corpus: real-world failures and healthy workloads, each a directory with manifests, trust documents and claims.
//!
//! For each the doctor must name the root cause first, nothing that is not a fault in itself, end with the right exit code,
//! and be content after the printed fix was applied to the fixture by [`interpreter`].

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test of the process"
)]

mod interpreter;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use interpreter::World;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;

/// `case.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What somebody did, in one sentence.
    title: String,
    /// Where it was reported.
    #[serde(default)]
    source: String,
    target: String,
    namespace: String,
    now: Timestamp,
    /// The code of the first finding; empty for a healthy workload.
    root: String,
    /// Other codes that are faults in themselves.
    #[serde(default)]
    also: Vec<String>,
    exit: i32,
    /// `commands` or `overlay`.
    #[serde(default = "commands")]
    fixed: String,
    /// Why commands cannot express the fix.
    #[serde(default)]
    why: String,
}

fn commands() -> String {
    "commands".into()
}

/// What the doctor said.
struct Said {
    exit: i32,
    /// Code and message of each finding, in order.
    findings: Vec<(String, String)>,
    /// Codes that are unknown, with the reason.
    unknown: Vec<(String, String)>,
    commands: Vec<String>,
}

#[test]
fn every_workload_gets_its_root_cause_and_the_printed_fix_mends_it() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    // One directory alone, while somebody works on it: CWII_CORPUS=aws04 cargo test --test corpus
    let only = std::env::var("CWII_CORPUS").unwrap_or_default();
    let mut directories: Vec<PathBuf> = fs::read_dir(&corpus)
        .map(|entries| entries.map(|entry| entry.unwrap().path()).collect())
        .unwrap_or_default();
    directories.retain(|dir| dir.is_dir() && name_of(dir).contains(&only));
    directories.sort();
    let mut faults = Vec::new();
    let mut groups: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for dir in &directories {
        let mut problems = Vec::new();
        match examine(dir, &mut problems) {
            Ok(root) => {
                let group = match root.as_str() {
                    "" => "healthy".to_owned(),
                    code => code
                        .trim_end_matches(|c: char| c.is_ascii_digit())
                        .to_owned(),
                };
                let counts = groups.entry(group).or_default();
                counts.0 += 1;
                counts.1 += usize::from(!problems.is_empty());
            }
            Err(problem) => problems.push(problem),
        }
        if !problems.is_empty() {
            faults.push(format!("{}\n    {}", name_of(dir), problems.join("\n    ")));
        }
    }
    println!("{:<10} {:>5} {:>7}", "group", "cases", "faulty");
    for (group, (cases, faulty)) in &groups {
        println!("{group:<10} {cases:>5} {faulty:>7}");
    }
    let healthy = groups.get("healthy").map_or(0, |counts| counts.0);
    let failures = directories.len() - healthy;
    println!("{failures} failures, {healthy} healthy");
    assert!(
        faults.is_empty(),
        "{} of {} directories:\n{}",
        faults.len(),
        directories.len(),
        faults.join("\n")
    );
    if only.is_empty() {
        assert!(failures >= 60, "{failures} failures, expected at least 60");
        assert!(
            healthy >= 15,
            "{healthy} healthy workloads, expected at least 15"
        );
    }
}

/// All that differs from what the case says; gives its root cause.
fn examine(dir: &Path, problems: &mut Vec<String>) -> Result<String, String> {
    let text =
        fs::read_to_string(dir.join("case.toml")).map_err(|error| format!("case.toml: {error}"))?;
    let case: Case = toml::from_str(&text).map_err(|error| format!("case.toml: {error}"))?;
    if case.title.is_empty() {
        problems.push("case.toml: no title".into());
    }
    if case.fixed == "overlay" && case.why.is_empty() {
        problems.push("case.toml: `fixed = \"overlay\"` without `why`".into());
    }
    let before = doctor(dir, &case, case.now, problems)?;
    let expected: BTreeSet<&str> = case
        .also
        .iter()
        .map(String::as_str)
        .chain((!case.root.is_empty()).then_some(case.root.as_str()))
        .collect();
    let found: BTreeSet<&str> = before
        .findings
        .iter()
        .map(|(code, _)| code.as_str())
        .collect();
    let first = before
        .findings
        .first()
        .map_or("", |(code, _)| code.as_str());
    if first != case.root {
        problems.push(format!(
            "first finding: {}, expected {}",
            or_none(first),
            or_none(&case.root)
        ));
    }
    for (code, message) in &before.findings {
        if !expected.contains(code.as_str()) {
            problems.push(format!("unexpected {code}: {message}"));
        }
    }
    for code in expected.difference(&found) {
        problems.push(format!("missing {code}"));
    }
    if before.exit != case.exit {
        problems.push(format!("exit {}, expected {}", before.exit, case.exit));
        for (code, why) in &before.unknown {
            problems.push(format!("  unknown {code}: {why}"));
        }
    }
    if case.root.is_empty() {
        return Ok(case.root);
    }
    let mut world = World::read(dir, case.now)?;
    match case.fixed.as_str() {
        "overlay" => world.lay_over(&dir.join("fixed"))?,
        "commands" => {
            if before.commands.is_empty() {
                problems.push("no command is printed".into());
            }
            let mut done = BTreeSet::new();
            for command in &before.commands {
                // Two findings may have one fix.
                if !done.insert(command) {
                    continue;
                }
                if let Err(problem) = world.run(command) {
                    problems.push(format!("`{}`: {problem}", command.replace('\n', "⏎")));
                }
            }
        }
        other => problems.push(format!(
            "case.toml: `fixed = \"{other}\"`, expected `commands` or `overlay`"
        )),
    }
    let mended = tempfile::tempdir().unwrap();
    world.write(mended.path());
    let now = world.now + SignedDuration::from_secs(60);
    let after = doctor(mended.path(), &case, now, problems)?;
    for (code, message) in &after.findings {
        problems.push(format!("after the fix {code}: {message}"));
    }
    if after.exit != 0 && after.findings.is_empty() {
        problems.push(format!("after the fix: exit {}", after.exit));
        for (code, why) in &after.unknown {
            problems.push(format!("  unknown {code}: {why}"));
        }
    }
    if !problems.is_empty()
        && let Some(kept) = std::env::var_os("CWII_CORPUS_KEEP")
    {
        let kept = Path::new(&kept).join(name_of(dir));
        fs::create_dir_all(&kept).unwrap();
        world.write(&kept);
    }
    let _ = case.source;
    Ok(case.root)
}

/// Runs the doctor on a directory.
fn doctor(
    dir: &Path,
    case: &Case,
    now: Timestamp,
    problems: &mut Vec<String>,
) -> Result<Said, String> {
    let run = |format: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-cwii"));
        command
            .env_remove("KUBECONFIG")
            .args(["doctor", &case.target, "-n", &case.namespace, "--local"])
            .args([
                "-f",
                "manifests.yaml",
                "--now",
                &now.to_string(),
                "-o",
                format,
            ])
            .current_dir(dir);
        if dir.join("trust").exists() {
            command.args(["--trust", "trust"]);
        }
        let output = command.output().unwrap();
        (
            output.status.code().unwrap_or(-1),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (exit, json, error) = run("json");
    let report: Value = serde_json::from_str(&json)
        .map_err(|_| format!("exit {exit} and no JSON: {}", error.trim()))?;
    if report["summary"]["exitCode"] != exit {
        problems.push(format!(
            "exit {exit}, and the JSON says {}",
            report["summary"]["exitCode"]
        ));
    }
    let (human_exit, human, _) = run("human");
    if human.trim().is_empty() || human_exit != exit {
        problems.push(format!(
            "for people: exit {human_exit}, {} bytes",
            human.len()
        ));
    }
    if json.contains("eyJ") {
        problems.push("a token in the output".into());
    }
    let mut said = Said {
        exit,
        findings: Vec::new(),
        unknown: Vec::new(),
        commands: Vec::new(),
    };
    for result in report["results"].as_array().into_iter().flatten() {
        let text = |member: &str| result[member].as_str().unwrap_or_default().to_owned();
        match result["status"].as_str() {
            Some("fail" | "warn") => {
                said.findings.push((text("code"), text("message")));
                said.commands.extend(
                    result["fix"]["commands"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .filter_map(|command| command.as_str().map(str::to_owned)),
                );
            }
            Some("unknown") => said.unknown.push((text("code"), text("message"))),
            _ => {}
        }
    }
    Ok(said)
}

fn or_none(code: &str) -> &str {
    if code.is_empty() { "none" } else { code }
}

fn name_of(dir: &Path) -> String {
    dir.file_name().unwrap().to_string_lossy().into_owned()
}
