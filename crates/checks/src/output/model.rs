//! The report on one workload: what JSON carries and every other format is drawn from.
//!
//! Versioned, and it only grows: members are added, none changes its meaning or goes away within a major version. The
//! published JSON Schema is generated from these types.

use std::{collections::BTreeMap, time::Duration};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::stage::Stage;
use crate::{
    catalogue::{Entry, Severity},
    doctor::{self, Examination, Need, State, Target, rule},
    report::{self, Finding},
};

/// Where the documentation of codes lies, from the root of the project.
pub(super) const DOCUMENTATION: &str = "docs/src/checks";

/// Where the documentation of a code is read: an address, since whoever reads a report need not have the sources.
pub(super) fn address(code: &str) -> String {
    format!(
        "{}/blob/main/{DOCUMENTATION}/{code}.md",
        env!("CARGO_PKG_REPOSITORY")
    )
}

/// What a report says of its surroundings.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Context {
    /// Version of the tool.
    pub tool_version: String,
    /// Name of the kubeconfig context; none where no cluster was looked at.
    pub kube_context: Option<String>,
    /// Version of the API server, `v1.34.2`.
    pub server_version: Option<String>,
    /// How long it took, where that was measured. Without it a report is the same every time.
    pub elapsed: Option<Duration>,
}

/// What makes the exit code.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Policy {
    /// The least severity that makes it 1.
    pub fail_on: Severity,
    /// Whether it stays 0 although something that was asked for could not be settled.
    pub allow_unknown: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            fail_on: Severity::Error,
            allow_unknown: false,
        }
    }
}

/// What the doctor found out about one workload.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(title = "cwii report")]
pub struct Report {
    /// What this document is.
    pub schema: Schema,
    /// What wrote it.
    pub tool: Tool,
    /// What was asked about.
    pub target: Place,
    /// The cluster that was looked at.
    pub context: Cluster,
    /// The ways to a cloud that the workload has or asks for.
    pub mechanisms: Vec<Mechanism>,
    /// The way from the pod to the cloud, stage by stage.
    pub path: Vec<Step>,
    /// Counts, verdict and exit code.
    pub summary: Summary,
    /// How long it took, in milliseconds, where that was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// At least one for each code of the catalogue: the root cause first, then other failures, warnings, unknown, skipped,
    /// passed, not applicable.
    pub results: Vec<CheckResult>,
}

/// Name and version of a document's schema.
#[derive(Clone, Copy, Debug, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Schema {
    /// `cwii.report` or `cwii.sweep`.
    pub name: &'static str,
    /// Major and minor version. A minor one adds members.
    pub version: &'static str,
}

/// The program that wrote a document.
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Tool {
    /// Name.
    pub name: &'static str,
    /// Version.
    pub version: String,
}

/// An object, or a place in one.
#[derive(Clone, Debug, Default, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// `Pod`, `ServiceAccount`; for a document its kind in the cloud's words.
    pub kind: String,
    /// Namespace, for what has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// JSON pointer (RFC 6901) into it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// What stands there, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// The file that it was read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line in that file, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

/// The cluster that was looked at. Without members: none was.
#[derive(Clone, Debug, Default, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// Name of the kubeconfig context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Version of the API server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_version: Option<String>,
}

/// A way to a cloud.
#[derive(Clone, Debug, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mechanism {
    /// The family, as people call it: `cwii`, `IRSA`, `EKS Pod Identity`.
    pub name: String,
    /// The cloud: `aws`, `az` or `gcp`.
    pub provider: String,
    /// Whether the pod shows any of it.
    pub injected: bool,
    /// What asks for it; absent where only the pod shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<Place>,
}

/// One stage of the way, and how it stands.
#[derive(Clone, Copy, Debug, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Step {
    /// The stage.
    pub stage: Stage,
    /// How it stands.
    pub state: StepState,
}

/// How a stage stands.
#[derive(Clone, Copy, Debug, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum StepState {
    /// It concerns none of the workload's mechanisms.
    NotApplicable,
    /// All that belongs to it was looked at and is as it should be.
    Pass,
    /// What was looked at is as it should be; some of it was not asked for.
    Partial,
    /// Not asked for.
    Skipped,
    /// Asked for, but it could not be settled.
    Unknown,
    /// A warning, and no failure.
    Warn,
    /// A failure.
    Fail,
}

/// Counts, verdict and exit code.
#[derive(Clone, Copy, Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Failures.
    pub fail: usize,
    /// Warnings.
    pub warn: usize,
    /// What was asked for and could not be settled, or is hidden by a failure.
    pub unknown: usize,
    /// What was not asked for.
    pub skipped: usize,
    /// What is as it should be.
    pub pass: usize,
    /// What does not concern the workload.
    pub not_applicable: usize,
    /// All of it in one word.
    pub verdict: Verdict,
    /// The exit code of the process that wrote this: 0 clean, 1 findings, 2 nothing could be evaluated, 3 inconclusive, 124
    /// out of time, 130 interrupted.
    pub exit_code: u8,
}

/// A report in one word. The exit code follows from it and from what the user lets pass.
#[derive(Clone, Copy, Debug, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Nothing is wrong.
    Pass,
    /// Warnings alone.
    Warn,
    /// Nothing failed, but something that was asked for could not be settled.
    Inconclusive,
    /// Something failed.
    Fail,
}

/// What one code came to, once.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckResult {
    /// The code, `TOK03`.
    pub code: &'static str,
    /// Its name, `audience-mismatch`.
    pub name: &'static str,
    /// What it came to.
    pub status: Status,
    /// How much it matters: the code's severity, or that of this finding where it is a lesser case.
    pub severity: Level,
    /// The stage of the way that it belongs to.
    pub stage: Stage,
    /// The cloud that it concerns: `aws`, `az` or `gcp`; absent where it concerns all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<&'static str>,
    /// What is wrong, or why it is not known, not looked at, fine or of no concern.
    pub message: String,
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Place>,
    /// What is there and what should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    /// What shows it.
    pub evidence: Vec<Evidence>,
    /// What the cloud answers because of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_error: Option<String>,
    /// What mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<Fix>,
    /// The codes whose failure hides it.
    pub blocked_by: Vec<&'static str>,
    /// What could not be read, or was not, where that is the reason: `backends`, `trust`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub need: Option<String>,
    /// The flag that would settle it, `--trust`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settled_by: Option<&'static str>,
    /// Address of the code's documentation.
    pub url: String,
}

/// What a code came to.
#[derive(Clone, Copy, Debug, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// Wrong, and an error.
    Fail,
    /// Wrong, and a warning.
    Warn,
    /// Asked for, but it could not be settled.
    Unknown,
    /// Not asked for.
    Skipped,
    /// As it should be.
    Pass,
    /// It does not concern this workload.
    NotApplicable,
}

/// How much a code matters.
#[derive(Clone, Copy, Debug, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The exchange fails now or at the next start, or admits somebody it must not.
    Error,
    /// Worth knowing; nothing fails because of it alone.
    Warning,
}

/// Both sides of a comparison.
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Comparison {
    /// What is there.
    pub found: String,
    /// What should be.
    pub expected: String,
}

/// One observation.
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Evidence {
    /// What was looked at.
    pub label: &'static str,
    /// What was seen.
    pub value: String,
    /// Where it was seen, where that is not obvious.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// What mends a finding.
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Fix {
    /// Whether the commands can be pasted as they are.
    pub applicability: Applicability,
    /// What to do, one sentence.
    pub summary: String,
    /// Commands to paste.
    pub commands: Vec<String>,
    /// The JSON patch (RFC 6902) that a `kubectl patch` among them carries, for programs.
    pub patch: Option<Value>,
}

/// How far a fix may be applied without thinking.
#[derive(Clone, Copy, Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Applicability {
    /// Paste it: it changes what is wrong and nothing else.
    Safe,
    /// It works, but others may depend on what it changes.
    Unsafe,
    /// To read: something has to be filled in or decided.
    Display,
}

impl Report {
    /// The report of an examination.
    #[must_use]
    pub fn new(
        target: &Target,
        examination: &Examination,
        context: &Context,
        policy: Policy,
    ) -> Self {
        let results: Vec<_> = examination.verdicts.iter().map(CheckResult::new).collect();
        Self {
            schema: Schema {
                name: "cwii.report",
                version: "1.0",
            },
            tool: Tool::new(context),
            target: Place::of(target),
            context: Cluster::new(context),
            mechanisms: mechanisms(examination),
            path: path(&seen(examination)),
            summary: Summary::new(&results, policy),
            duration_ms: milliseconds(context),
            results,
        }
    }

    /// The report of a run that ended in another way than by its findings: out of time, interrupted, nothing to evaluate.
    #[must_use]
    pub fn ended_with(mut self, exit_code: u8) -> Self {
        self.summary.exit_code = exit_code;
        self
    }

    /// The results of one status, in their order.
    pub fn of_status(&self, status: Status) -> impl Iterator<Item = &CheckResult> {
        self.results
            .iter()
            .filter(move |result| result.status == status)
    }

    /// Failures and warnings, the root cause first.
    pub fn findings(&self) -> impl Iterator<Item = &CheckResult> {
        self.results
            .iter()
            .filter(|result| matches!(result.status, Status::Fail | Status::Warn))
    }
}

impl CheckResult {
    pub(super) fn new(verdict: &doctor::Verdict) -> Self {
        let entry = verdict.entry;
        match &verdict.state {
            State::Fail(finding) => Self::found(entry, finding, Status::Fail),
            State::Warn(finding) => Self::found(entry, finding, Status::Warn),
            State::Unknown {
                why,
                need,
                blocked_by,
            } => Self {
                blocked_by: blocked_by.clone(),
                ..Self::without_finding(entry, Status::Unknown, why.clone(), *need)
            },
            State::Skipped { why, need } => {
                Self::without_finding(entry, Status::Skipped, why.clone(), *need)
            }
            State::Pass => Self::without_finding(entry, Status::Pass, looked_at(entry), None),
            State::NotApplicable(why) => {
                Self::without_finding(entry, Status::NotApplicable, why.clone(), None)
            }
        }
    }

    fn found(entry: &'static Entry, finding: &Finding, status: Status) -> Self {
        Self {
            severity: finding.severity().into(),
            provider: finding.provider.map(cwii_contract::Provider::as_str),
            subject: finding.subject.as_ref().map(Place::from),
            comparison: finding.comparison.as_ref().map(|both| Comparison {
                found: both.found.clone(),
                expected: both.expected.clone(),
            }),
            evidence: finding
                .evidence
                .iter()
                .map(|one| Evidence {
                    label: one.label,
                    value: one.value.clone(),
                    source: one.source.clone(),
                })
                .collect(),
            provider_error: finding.provider_error.clone(),
            fix: Fix::new(&finding.fix),
            ..Self::without_finding(entry, status, finding.message.clone(), None)
        }
    }

    fn without_finding(
        entry: &'static Entry,
        status: Status,
        message: String,
        need: Option<Need>,
    ) -> Self {
        Self {
            code: entry.code,
            name: entry.name,
            status,
            severity: entry.severity.into(),
            stage: Stage::of(entry.code),
            provider: None,
            message,
            subject: None,
            comparison: None,
            evidence: Vec::new(),
            provider_error: None,
            fix: None,
            blocked_by: Vec::new(),
            need: need.map(name_of),
            settled_by: need
                .filter(|_| status == Status::Skipped)
                .and_then(Need::flag),
            url: address(entry.code),
        }
    }

    /// Whether something that was asked for could not be had, as opposed to hidden by a failure that is reported.
    pub(super) fn is_inconclusive(&self) -> bool {
        self.status == Status::Unknown && self.need.is_some()
    }
}

impl Summary {
    fn new(results: &[CheckResult], policy: Policy) -> Self {
        let mut counts = BTreeMap::new();
        for result in results {
            *counts.entry(result.status).or_insert(0) += 1;
        }
        let count = |status| counts.get(&status).copied().unwrap_or(0);
        let inconclusive = results.iter().any(CheckResult::is_inconclusive);
        let verdict = verdict(count(Status::Fail), count(Status::Warn), inconclusive);
        Self {
            fail: count(Status::Fail),
            warn: count(Status::Warn),
            unknown: count(Status::Unknown),
            skipped: count(Status::Skipped),
            pass: count(Status::Pass),
            not_applicable: count(Status::NotApplicable),
            verdict,
            exit_code: exit_code(
                count(Status::Fail),
                count(Status::Warn),
                inconclusive,
                policy,
            ),
        }
    }
}

pub(super) fn verdict(fail: usize, warn: usize, inconclusive: bool) -> Verdict {
    match (fail, warn, inconclusive) {
        (1.., _, _) => Verdict::Fail,
        (_, _, true) => Verdict::Inconclusive,
        (_, 1.., _) => Verdict::Warn,
        _ => Verdict::Pass,
    }
}

/// A failure beats what is not known.
pub(super) fn exit_code(fail: usize, warn: usize, inconclusive: bool, policy: Policy) -> u8 {
    if fail > 0 || warn > 0 && policy.fail_on == Severity::Warning {
        1
    } else if inconclusive && !policy.allow_unknown {
        3
    } else {
        0
    }
}

/// Codes whose pass is an exchange that worked. Nothing less makes the last stage one that is as it should be.
const EXCHANGED: [&str; 2] = ["CWII04", "AWS19"];

/// As much of a verdict as the path is drawn from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    code: &'static str,
    stage: Stage,
    status: Status,
    need: Option<Need>,
}

pub(super) fn seen(examination: &Examination) -> Vec<Seen> {
    examination
        .verdicts
        .iter()
        .map(|verdict| Seen {
            code: verdict.entry.code,
            stage: Stage::of(verdict.entry.code),
            status: Status::of(&verdict.state),
            need: match &verdict.state {
                State::Unknown { need, .. } | State::Skipped { need, .. } => *need,
                _ => None,
            },
        })
        .collect()
}

pub(super) fn path(seen: &[Seen]) -> Vec<Step> {
    Stage::ALL
        .into_iter()
        .map(|stage| Step {
            stage,
            state: state_of(stage, seen),
        })
        .collect()
}

fn state_of(stage: Stage, seen: &[Seen]) -> StepState {
    let of_stage = || seen.iter().filter(move |one| one.stage == stage);
    let any = |status| of_stage().any(|one| one.status == status);
    if any(Status::Fail) {
        return StepState::Fail;
    }
    if any(Status::Warn) {
        return StepState::Warn;
    }
    if any(Status::Unknown) {
        return StepState::Unknown;
    }
    let skipped = || of_stage().filter(|one| one.status == Status::Skipped);
    // What the cloud was told decides this stage; the rest of it is beside the point.
    let unseen = stage == Stage::Trust && skipped().any(|one| one.need == Some(Need::Trust));
    let passed = of_stage().any(|one| {
        one.status == Status::Pass && (stage != Stage::Exchange || EXCHANGED.contains(&one.code))
    });
    let asked_for_too_little = skipped().any(|one| one.need.and_then(Need::flag).is_some());
    match (passed && !unseen, asked_for_too_little) {
        (true, false) => StepState::Pass,
        (true, true) => StepState::Partial,
        (false, _) if any(Status::Skipped) || any(Status::Pass) => StepState::Skipped,
        (false, _) => StepState::NotApplicable,
    }
}

pub(super) fn mechanisms(examination: &Examination) -> Vec<Mechanism> {
    examination
        .mechanisms
        .iter()
        .map(|mechanism| Mechanism {
            name: mechanism.kind.name().to_owned(),
            provider: mechanism.provider.as_str().to_owned(),
            injected: mechanism.injected,
            asked_by: mechanism.asked_by.as_ref().map(Place::from),
        })
        .collect()
}

pub(super) fn milliseconds(context: &Context) -> Option<u64> {
    context
        .elapsed
        .map(|elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}

impl Tool {
    pub(super) fn new(context: &Context) -> Self {
        Self {
            name: "kubectl-cwii",
            version: context.tool_version.clone(),
        }
    }
}

impl Cluster {
    pub(super) fn new(context: &Context) -> Self {
        Self {
            name: context.kube_context.clone(),
            server_version: context.server_version.clone(),
        }
    }
}

impl Place {
    pub(super) fn of(target: &Target) -> Self {
        Self {
            kind: target.kind.clone(),
            namespace: Some(target.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            name: target.name.clone(),
            ..Self::default()
        }
    }
}

impl From<&report::Subject> for Place {
    fn from(subject: &report::Subject) -> Self {
        Self {
            kind: subject.kind.clone(),
            namespace: subject.namespace.clone(),
            name: subject.name.clone(),
            pointer: subject.pointer.clone(),
            what: subject.what.clone(),
            file: subject.file.clone(),
            line: subject.line,
        }
    }
}

impl Fix {
    fn new(fix: &report::Fix) -> Option<Self> {
        (!fix.summary.is_empty() || !fix.commands.is_empty()).then(|| Self {
            applicability: match fix.applicability {
                report::Applicability::Safe => Applicability::Safe,
                report::Applicability::Unsafe => Applicability::Unsafe,
                report::Applicability::Display => Applicability::Display,
            },
            summary: fix.summary.clone(),
            commands: fix.commands.clone(),
            patch: fix.commands.iter().find_map(|command| patch(command)),
        })
    }
}

impl Status {
    pub(super) fn of(state: &State) -> Self {
        match state {
            State::Fail(_) => Self::Fail,
            State::Warn(_) => Self::Warn,
            State::Unknown { .. } => Self::Unknown,
            State::Skipped { .. } => Self::Skipped,
            State::Pass => Self::Pass,
            State::NotApplicable(_) => Self::NotApplicable,
        }
    }
}

impl From<Severity> for Level {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Error => Self::Error,
            Severity::Warning => Self::Warning,
        }
    }
}

impl Level {
    /// `error` or `warning`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// The document of `kubectl patch … --type=json -p '[…]'`.
fn patch(command: &str) -> Option<Value> {
    let (head, rest) = command.split_once('\'')?;
    let is_patch = head.starts_with("kubectl ")
        && head.contains(" patch ")
        && head.contains("--type=json")
        && head.trim_end().ends_with("-p");
    let document = rest.strip_suffix('\'')?;
    is_patch
        .then(|| serde_json::from_str(document).ok())
        .flatten()
}

/// Why a rule passed: what it looked at.
fn looked_at(entry: &Entry) -> String {
    let needs: Vec<_> = rule(entry.code)
        .map(|rule| rule.needs)
        .unwrap_or_default()
        .iter()
        .map(|need| need.describe())
        .collect();
    match needs.as_slice() {
        [] => "nothing found".to_owned(),
        [only] => format!("nothing found in {only}"),
        [first @ .., last] => format!("nothing found in {} and {last}", first.join(", ")),
    }
}

/// A need as JSON names it: `webhookSettings`.
fn name_of(need: Need) -> String {
    let name = format!("{need:?}");
    let mut letters = name.chars();
    letters
        .next()
        .map(|first| first.to_ascii_lowercase().to_string() + letters.as_str())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patch_of_a_command_is_there_for_programs() {
        let command = r#"kubectl -n shop patch deployment a --type=json -p '[{"op":"remove","path":"/spec/x"}]'"#;
        assert_eq!(
            patch(command),
            Some(serde_json::json!([{"op": "remove", "path": "/spec/x"}]))
        );
        for other in [
            "kubectl -n shop annotate serviceaccount a b='c'",
            "kubectl -n shop patch deployment a --type=merge -p '{}'",
            "aws iam update-assume-role-policy --role-name a --policy-document '{}'",
            "kubectl patch a --type=json -p 'x'",
        ] {
            assert_eq!(patch(other), None, "{other}");
        }
    }
}
