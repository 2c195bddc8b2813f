//! Many workloads: how each stands, and what is wrong with them by its cause.
//!
//! A sweep may see ten thousand pods, so of each it keeps only what is printed: seven states for the workload, and of a
//! finding the first of its kind, a count and some names.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    human::settled_by,
    model::{
        self, CheckResult, Cluster, Context, Place, Policy, Schema, Status, Step, StepState, Tool,
        Verdict,
    },
    stage::Stage,
};
use crate::doctor::{Examination, Need, State, Target};

/// Workloads that a group of findings names; the rest is counted.
const EXAMPLES: usize = 5;

/// What the doctor found out about many workloads.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(title = "cwii sweep")]
pub struct Sweep {
    /// What this document is.
    pub schema: Schema,
    /// What wrote it.
    pub tool: Tool,
    /// The cluster that was looked at.
    pub context: Cluster,
    /// Counts, verdict and exit code.
    pub summary: SweepSummary,
    /// How long it took, in milliseconds, where that was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// The workloads, worst first.
    pub workloads: Vec<WorkloadRow>,
    /// Failures and warnings by their cause: errors first, what hits most workloads first.
    pub findings: Vec<Group>,
    /// What was asked for and could not be settled, by its reason.
    pub unknown: Vec<Unsettled>,
    /// What was not asked for, by what would settle it.
    pub skipped: Vec<Unsettled>,
}

/// Counts over all workloads.
#[derive(Clone, Copy, Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SweepSummary {
    /// Workloads.
    pub workloads: usize,
    /// Their pods.
    pub pods: usize,
    /// Workloads with a failure.
    pub fail: usize,
    /// Workloads with warnings alone.
    pub warn: usize,
    /// Workloads of which something that was asked for could not be settled, and nothing failed.
    pub inconclusive: usize,
    /// Workloads with nothing wrong.
    pub pass: usize,
    /// All of it in one word.
    pub verdict: Verdict,
    /// The exit code of the process that wrote this.
    pub exit_code: u8,
}

/// How one workload stands.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadRow {
    /// The workload.
    pub target: Place,
    /// Pods of it that were looked at.
    pub pods: usize,
    /// The clouds of its mechanisms, each with the mechanism's name: `aws IRSA`.
    pub mechanisms: Vec<String>,
    /// The way, stage by stage; of several pods the worst state.
    pub path: Vec<Step>,
    /// All of it in one word.
    pub verdict: Verdict,
    /// The codes of its failures and warnings, the root cause first.
    pub codes: Vec<&'static str>,
}

/// One finding that workloads share.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// How many workloads it hits.
    pub count: usize,
    /// Some of them.
    pub examples: Vec<Place>,
    /// The finding, as it is for the first of them.
    pub finding: CheckResult,
}

/// One reason for which something is not known.
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unsettled {
    /// The reason, or what would settle it.
    pub why: String,
    /// The flag that would settle it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settled_by: Option<&'static str>,
    /// The codes.
    pub codes: Vec<&'static str>,
    /// How many workloads it concerns.
    pub count: usize,
}

/// Takes workloads one by one.
#[derive(Debug)]
pub struct SweepBuilder {
    context: Context,
    policy: Policy,
    rows: BTreeMap<Target, Row>,
    groups: BTreeMap<Key, Hit>,
    unknown: BTreeMap<String, Tally>,
    skipped: BTreeMap<String, Tally>,
    inconclusive: bool,
}

#[derive(Debug)]
struct Row {
    /// Its number, in the order of arrival.
    number: usize,
    pods: usize,
    mechanisms: Vec<String>,
    states: [StepState; 7],
    verdict: Verdict,
    codes: Vec<&'static str>,
}

#[derive(Debug, Default)]
struct Tally {
    settled_by: Option<&'static str>,
    codes: BTreeSet<&'static str>,
    workloads: BTreeSet<usize>,
}

/// A finding and the workloads that it hits, by their numbers.
#[derive(Debug)]
struct Hit {
    finding: CheckResult,
    examples: Vec<Place>,
    workloads: BTreeSet<usize>,
}

/// Findings with the same key are one.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Key {
    status: Status,
    code: &'static str,
    provider: Option<&'static str>,
    subject: Option<Place>,
    message: String,
}

impl SweepBuilder {
    /// A sweep of nothing yet.
    #[must_use]
    pub fn new(context: Context, policy: Policy) -> Self {
        Self {
            context,
            policy,
            rows: BTreeMap::new(),
            groups: BTreeMap::new(),
            unknown: BTreeMap::new(),
            skipped: BTreeMap::new(),
            inconclusive: false,
        }
    }

    /// Adds what was found out about one pod. `workload` is what it is listed as: the pod's topmost controller, or the pod
    /// itself. Pods of the same workload share a row.
    pub fn add(&mut self, workload: &Target, pod: &Target, examination: &Examination) {
        let seen = model::seen(examination);
        let count = |status| {
            let states = examination.verdicts.iter();
            states.filter(|v| Status::of(&v.state) == status).count()
        };
        let inconclusive = examination
            .verdicts
            .iter()
            .any(|verdict| matches!(verdict.state, State::Unknown { need: Some(_), .. }));
        self.inconclusive |= inconclusive;
        let verdict = model::verdict(count(Status::Fail), count(Status::Warn), inconclusive);
        let number = self.rows.len();
        let row = self.rows.entry(workload.clone()).or_insert_with(|| Row {
            number,
            pods: 0,
            mechanisms: Vec::new(),
            states: [StepState::NotApplicable; 7],
            verdict: Verdict::Pass,
            codes: Vec::new(),
        });
        row.pods += 1;
        row.verdict = row.verdict.max(verdict);
        for (state, step) in row.states.iter_mut().zip(model::path(&seen)) {
            *state = (*state).max(step.state);
        }
        for mechanism in &examination.mechanisms {
            let name = format!("{} {}", mechanism.provider, mechanism.kind.name());
            if !row.mechanisms.contains(&name) {
                row.mechanisms.push(name);
            }
        }
        for verdict in &examination.verdicts {
            let code = verdict.entry.code;
            match &verdict.state {
                State::Fail(_) | State::Warn(_) => {
                    if !row.codes.contains(&code) {
                        row.codes.push(code);
                    }
                    let result = CheckResult::new(verdict);
                    let hit = self
                        .groups
                        .entry(Key::new(&result, workload, pod))
                        .or_insert_with(|| Hit {
                            finding: result,
                            examples: Vec::new(),
                            workloads: BTreeSet::new(),
                        });
                    if hit.workloads.insert(row.number) && hit.examples.len() < EXAMPLES {
                        hit.examples.push(Place::of(workload));
                    }
                }
                State::Unknown {
                    why,
                    need,
                    blocked_by,
                } => {
                    let why = if need.is_some() || blocked_by.is_empty() {
                        neutral(why, workload, pod)
                    } else {
                        format!("blocked by {}", blocked_by.join(", "))
                    };
                    let tally = self.unknown.entry(why).or_default();
                    tally.codes.insert(code);
                    tally.workloads.insert(row.number);
                }
                State::Skipped { why, need } => {
                    let flag = need.and_then(Need::flag);
                    let why = match flag {
                        Some(flag) => settled_by(flag, why),
                        None => neutral(why, workload, pod),
                    };
                    let tally = self.skipped.entry(why).or_default();
                    tally.settled_by = flag;
                    tally.codes.insert(code);
                    tally.workloads.insert(row.number);
                }
                State::Pass | State::NotApplicable(_) => {}
            }
        }
    }

    /// Says that the pod that was added last for this workload stands for so many that are the same; for none where it was
    /// made from a template.
    pub fn stands_for(&mut self, workload: &Target, pods: usize) {
        if let Some(row) = self.rows.get_mut(workload) {
            row.pods = row.pods.saturating_sub(1) + pods;
        }
    }

    /// How long it took.
    pub fn took(&mut self, elapsed: std::time::Duration) {
        self.context.elapsed = Some(elapsed);
    }

    /// The whole.
    #[must_use]
    pub fn finish(self) -> Sweep {
        let count = |verdict| {
            self.rows
                .values()
                .filter(|row| row.verdict == verdict)
                .count()
        };
        let (fail, warn) = (count(Verdict::Fail), count(Verdict::Warn));
        // A workload may have warnings beside what is not known of it.
        let warned = self
            .groups
            .values()
            .filter(|group| group.finding.status == Status::Warn)
            .count();
        let summary = SweepSummary {
            workloads: self.rows.len(),
            pods: self.rows.values().map(|row| row.pods).sum(),
            fail,
            warn,
            inconclusive: count(Verdict::Inconclusive),
            pass: count(Verdict::Pass),
            verdict: model::verdict(fail, warned, self.inconclusive),
            exit_code: model::exit_code(fail, warned, self.inconclusive, self.policy),
        };
        let mut workloads: Vec<_> = self
            .rows
            .into_iter()
            .map(|(target, row)| WorkloadRow {
                target: Place::of(&target),
                pods: row.pods,
                mechanisms: row.mechanisms,
                path: Stage::ALL
                    .into_iter()
                    .zip(row.states)
                    .map(|(stage, state)| Step { stage, state })
                    .collect(),
                verdict: row.verdict,
                codes: row.codes,
            })
            .collect();
        // Stable: by namespace, kind and name within a rank.
        workloads.sort_by(|a, b| {
            b.verdict
                .cmp(&a.verdict)
                .then_with(|| first_failure(a).cmp(&first_failure(b)))
                .then_with(|| a.target.namespace.cmp(&b.target.namespace))
                .then_with(|| a.target.name.cmp(&b.target.name))
        });
        let mut findings: Vec<_> = self
            .groups
            .into_values()
            .map(|hit| Group {
                count: hit.workloads.len(),
                examples: hit.examples,
                finding: hit.finding,
            })
            .collect();
        findings.sort_by(|a, b| {
            a.finding
                .status
                .cmp(&b.finding.status)
                .then_with(|| b.count.cmp(&a.count))
        });
        Sweep {
            schema: Schema {
                name: "cwii.sweep",
                version: "1.0",
            },
            tool: Tool::new(&self.context),
            context: Cluster::new(&self.context),
            summary,
            duration_ms: model::milliseconds(&self.context),
            workloads,
            findings,
            unknown: unsettled(self.unknown),
            skipped: unsettled(self.skipped),
        }
    }
}

impl Sweep {
    /// The sweep of a run that ended in another way than by its findings: out of time, interrupted.
    #[must_use]
    pub fn ended_with(mut self, exit_code: u8) -> Self {
        self.summary.exit_code = exit_code;
        self
    }
}

impl Key {
    fn new(result: &CheckResult, workload: &Target, pod: &Target) -> Self {
        let subject = result.subject.as_ref().map(|subject| {
            let its_own = subject.namespace.as_deref() == Some(pod.namespace.as_str())
                && (subject.kind == pod.kind && subject.name == pod.name
                    || subject.kind == workload.kind && subject.name == workload.name);
            // The same fault in pods of one making is one fault; the same in a ServiceAccount is one for all its pods.
            Place {
                kind: subject.kind.clone(),
                namespace: subject.namespace.clone(),
                name: if its_own {
                    workload.name.clone()
                } else {
                    subject.name.clone()
                },
                pointer: subject.pointer.clone(),
                file: subject.file.clone(),
                line: subject.line,
                what: None,
            }
        });
        // A fault of an object that workloads share is told by its place; one that stands in the pod itself by its words.
        let shared = subject
            .as_ref()
            .is_some_and(|subject| subject.kind != pod.kind && subject.kind != workload.kind);
        Self {
            status: result.status,
            code: result.code,
            provider: result.provider,
            message: if shared {
                String::new()
            } else {
                neutral(&result.message, workload, pod)
            },
            subject,
        }
    }
}

/// A text without the names of one workload.
fn neutral(text: &str, workload: &Target, pod: &Target) -> String {
    let mut text = text.to_owned();
    for name in [&pod.name, &workload.name] {
        // Short names are parts of other words.
        if name.len() > 3 && text.contains(name.as_str()) {
            text = text.replace(name.as_str(), "…");
        }
    }
    text
}

/// The place of the first stage that fails; those without one last.
fn first_failure(row: &WorkloadRow) -> usize {
    row.path
        .iter()
        .position(|step| step.state == StepState::Fail)
        .unwrap_or(usize::MAX)
}

fn unsettled(tallies: BTreeMap<String, Tally>) -> Vec<Unsettled> {
    let mut all: Vec<_> = tallies
        .into_iter()
        .map(|(why, tally)| Unsettled {
            why,
            settled_by: tally.settled_by,
            codes: tally.codes.into_iter().collect(),
            count: tally.workloads.len(),
        })
        .collect();
    all.sort_by_key(|one| std::cmp::Reverse(one.count));
    all
}
