//! SARIF 2.1.0 (OASIS, "Static Analysis Results Interchange Format"), for code scanning.
//!
//! Results are failures and warnings. What could not be settled is a notification of the run: it is a condition of the
//! looking, not of what was looked at.

use serde_json::{Value, json};

use super::{
    human::{affected, full_name, object},
    machine,
    model::{CheckResult, Level, Place, Report, Status, Tool, address},
    sweep::{Group, Sweep},
    text::Style,
};
use crate::{
    catalogue::{self, Entry},
    doctor::rule,
};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// One workload.
pub(super) fn report(report: &Report) -> String {
    let results = report
        .findings()
        .map(|result| self::result(result, &report.target, None))
        .collect();
    let notes = report
        .of_status(Status::Unknown)
        .map(|result| notification(result.code, &result.message))
        .collect();
    log(&report.tool, results, notes, report.summary.exit_code)
}

/// Many workloads: a result for each cause.
pub(super) fn sweep(sweep: &Sweep) -> String {
    let results = sweep
        .findings
        .iter()
        .filter_map(|group| {
            let target = group.examples.first()?;
            Some(result(&group.finding, target, Some(group)))
        })
        .collect();
    let notes = sweep
        .unknown
        .iter()
        .flat_map(|one| one.codes.iter().map(|code| notification(code, &one.why)))
        .collect();
    log(&sweep.tool, results, notes, sweep.summary.exit_code)
}

fn log(tool: &Tool, results: Vec<Value>, notes: Vec<Value>, exit_code: u8) -> String {
    let rules: Vec<_> = catalogue::entries().map(descriptor).collect();
    machine::json(&json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": tool.name,
                "version": tool.version,
                "rules": rules,
            }},
            "invocations": [{
                "executionSuccessful": true,
                "exitCode": exit_code,
                "toolExecutionNotifications": notes,
            }],
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    }))
}

/// A rule: the catalogue's entry and its documentation.
fn descriptor(entry: &Entry) -> Value {
    let mut descriptor = json!({
        "id": entry.code,
        "helpUri": address(entry.code),
        "name": entry.name,
        "shortDescription": {"text": entry.title},
        "defaultConfiguration": {"level": Level::from(entry.severity)},
    });
    if let Some(documentation) = rule(entry.code).map(|rule| rule.documentation()) {
        let fix = documentation.section("How to fix it").unwrap_or_default();
        descriptor["fullDescription"] = json!({"text": documentation.summary()});
        descriptor["help"] = json!({
            "text": format!("{}\n\n{fix}", documentation.summary()),
            "markdown": documentation.markdown(),
        });
    }
    descriptor["properties"] = json!({"tags": [entry.group(), "workload-identity"]});
    descriptor
}

fn result(result: &CheckResult, target: &Place, group: Option<&Group>) -> Value {
    let index = catalogue::entries().position(|entry| entry.code == result.code);
    let place = result.subject.as_ref().unwrap_or(target);
    let mut fingerprint = format!("{}/{}", result.code, full_name(place));
    if let Some(pointer) = &place.pointer {
        fingerprint.push_str(pointer);
    }
    let mut value = json!({
        "ruleId": result.code,
        "ruleIndex": index,
        "kind": "fail",
        "level": result.severity,
        "message": {"text": text(result, group)},
        "locations": [location(place)],
        "partialFingerprints": {"cwii/v1": fingerprint},
    });
    value["properties"] = json!({
        "stage": result.stage,
        "target": target,
        "comparison": result.comparison,
        "fix": result.fix,
    });
    value
}

/// Message, evidence, the cloud's answer and the fix, a line each.
fn text(result: &CheckResult, group: Option<&Group>) -> String {
    let mut lines = vec![result.message.clone()];
    if let Some(comparison) = &result.comparison {
        lines.push(format!(
            "found `{}`, expected `{}`",
            comparison.found, comparison.expected
        ));
    }
    if let Some(group) = group.filter(|group| group.count > 1) {
        lines.push(affected(group, &Style::default()));
    }
    for evidence in &result.evidence {
        let source = evidence.source.iter().map(|source| format!(" ({source})"));
        let line = format!("{}: {}", evidence.label, evidence.value);
        lines.push(source.fold(line, |line, source| line + &source));
    }
    lines.extend(result.provider_error.clone());
    if let Some(fix) = &result.fix {
        lines.push(format!("help: {}", fix.summary));
        lines.extend(fix.commands.iter().map(|command| format!("  {command}")));
    }
    lines.join("\n")
}

/// The object, and the file and line where it was read from one.
fn location(place: &Place) -> Value {
    let mut location = json!({
        "logicalLocations": [{
            "name": place.name,
            "fullyQualifiedName": match &place.pointer {
                Some(pointer) => format!("{}{pointer}", full_name(place)),
                None => full_name(place),
            },
            "kind": "object",
        }],
        "message": {"text": match &place.what {
            Some(what) => format!("{} of {}", what, object(place)),
            None => object(place),
        }},
    });
    // Standard input has no address.
    if let Some(file) = place.file.as_ref().filter(|file| *file != "-") {
        location["physicalLocation"] = json!({"artifactLocation": {"uri": uri(file)}});
        if let Some(line) = place.line {
            location["physicalLocation"]["region"] = json!({"startLine": line});
        }
    }
    location
}

fn notification(code: &str, why: &str) -> Value {
    json!({
        "level": "note",
        "message": {"text": why},
        "associatedRule": {"id": code},
    })
}

/// A path as a relative reference, or as a file URL where it is absolute (RFC 3986).
fn uri(path: &str) -> String {
    let mut out = String::new();
    if path.starts_with('/') {
        out.push_str("file://");
    }
    for byte in path.trim_start_matches("./").bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
