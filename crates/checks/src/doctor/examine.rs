//! All rules on one workload, and the root cause first.
//!
//! Rules are pure, so each runs whatever became of the others; what a failed rule explains is taken back afterwards. A
//! rule that passes in spite of a failure before it has seen what it needed, and keeps its verdict.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use super::{
    case::{Case, Gap},
    facts::{Facts, Need},
    mechanism::{self, Mechanism},
    rule::{Decide, Elsewhere, Outcome, Rule, rules},
};
use crate::{
    catalogue::{Entry, Severity},
    report::Finding,
};

/// What all rules came to.
#[derive(Clone, Debug)]
pub struct Examination {
    /// The mechanisms that the workload has or asks for.
    pub mechanisms: Vec<Mechanism>,
    /// At least one verdict for each code: the root cause first, then other failures, warnings, unknown, skipped, passed,
    /// not applicable; the catalogue's order within each.
    pub verdicts: Vec<Verdict>,
}

/// What one rule came to, once.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The code's entry.
    pub entry: &'static Entry,
    /// The state.
    pub state: State,
}

/// The state of a code on a workload.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Something is wrong and it is an error.
    Fail(Box<Finding>),
    /// Something is wrong and it is a warning.
    Warn(Box<Finding>),
    /// Asked for, but it could not be settled.
    Unknown {
        /// Why, and what would settle it.
        why: String,
        /// What could not be read, where that is the reason.
        need: Option<Need>,
        /// The codes whose failure hides it.
        blocked_by: Vec<&'static str>,
    },
    /// Not asked for.
    Skipped {
        /// What would settle it.
        why: String,
        /// What was not read, where that is the reason.
        need: Option<Need>,
    },
    /// As it should be.
    Pass,
    /// It does not concern this workload.
    NotApplicable(String),
}

/// The rules with their entries, looked up once: a sweep examines thousands.
static RULES: LazyLock<Vec<(&'static Rule, &'static Entry)>> = LazyLock::new(|| {
    rules()
        .filter_map(|rule| Some((rule, rule.entry()?)))
        .collect()
});

/// The place of each code in the catalogue's order.
static ORDER: LazyLock<BTreeMap<&'static str, usize>> = LazyLock::new(|| {
    RULES
        .iter()
        .enumerate()
        .map(|(index, (_, entry))| (entry.code, index))
        .collect()
});

/// Runs all rules.
#[must_use]
pub fn examine(facts: &Facts) -> Examination {
    let mechanisms = mechanism::detect(facts);
    let mut outcomes: BTreeMap<&'static str, Result<Outcome, Gap>> = BTreeMap::new();
    let mut verdicts = Vec::new();
    for (rule, entry) in RULES.iter() {
        match rule.decide {
            Decide::Here(decide) => {
                outcomes.insert(entry.code, decide(&Case::new(facts, &mechanisms)));
            }
            Decide::Elsewhere(place) => verdicts.push(Verdict {
                entry,
                state: State::Skipped {
                    why: place.describe(),
                    need: None,
                },
            }),
        }
    }
    for (rule, entry) in RULES.iter() {
        let Some(outcome) = outcomes.get(entry.code) else {
            continue;
        };
        let states = match outcome {
            Ok(Outcome::Pass) => vec![State::Pass],
            Ok(Outcome::NotApplicable(why)) => vec![State::NotApplicable(why.clone())],
            Ok(Outcome::Found(findings)) => found(rule, findings, &outcomes),
            Err(Gap::Unknown(need, why)) => {
                let blocked_by = blockers(rule, None, &outcomes);
                vec![State::Unknown {
                    why: why.clone(),
                    need: Some(*need),
                    blocked_by,
                }]
            }
            Err(Gap::NotLookedAt(need, why)) => vec![State::Skipped {
                why: why.clone(),
                need: Some(*need),
            }],
        };
        verdicts.extend(states.into_iter().map(|state| Verdict { entry, state }));
    }
    verdicts.sort_by_key(|verdict| (verdict.state.rank(), ORDER.get(verdict.entry.code).copied()));
    Examination {
        mechanisms,
        verdicts,
    }
}

impl Examination {
    /// The findings, the root cause first.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.verdicts
            .iter()
            .filter_map(|verdict| match &verdict.state {
                State::Fail(finding) | State::Warn(finding) => Some(&**finding),
                _ => None,
            })
    }
}

impl State {
    /// The order of a report.
    fn rank(&self) -> u8 {
        match self {
            Self::Fail(_) => 0,
            Self::Warn(_) => 1,
            Self::Unknown { .. } => 2,
            Self::Skipped { .. } => 3,
            Self::Pass => 4,
            Self::NotApplicable(_) => 5,
        }
    }
}

impl Elsewhere {
    /// What would settle it.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::InPod => {
                "only seen from inside a pod: the verify container or `kubectl cwii verify` shows it".into()
            }
            Self::CloudCredentials => "only seen with credentials of the cloud".into(),
            Self::Command(command) => format!("`kubectl cwii {command}` shows it"),
        }
    }
}

/// The states of what a rule found: findings that nothing explains, and one unknown for those that something does.
fn found(
    rule: &Rule,
    findings: &[Finding],
    outcomes: &BTreeMap<&'static str, Result<Outcome, Gap>>,
) -> Vec<State> {
    let mut states = Vec::new();
    let mut hidden = BTreeSet::new();
    for finding in findings {
        let blocked_by = blockers(rule, Some(finding), outcomes);
        if !blocked_by.is_empty() {
            hidden.extend(blocked_by);
            continue;
        }
        states.push(match finding.severity() {
            Severity::Error => State::Fail(Box::new(finding.clone())),
            Severity::Warning => State::Warn(Box::new(finding.clone())),
        });
    }
    if states.is_empty() {
        let blocked_by: Vec<_> = hidden.into_iter().collect();
        states.push(State::Unknown {
            why: format!("blocked by {}", blocked_by.join(", ")),
            need: None,
            blocked_by,
        });
    }
    states
}

/// The codes before this one that found something about the same cloud.
fn blockers(
    rule: &Rule,
    finding: Option<&Finding>,
    outcomes: &BTreeMap<&'static str, Result<Outcome, Gap>>,
) -> Vec<&'static str> {
    let provider = finding.and_then(|finding| finding.provider);
    rule.blocked_by
        .iter()
        .copied()
        .filter(|code| {
            let Some(Ok(Outcome::Found(parents))) = outcomes.get(code) else {
                return false;
            };
            parents.iter().any(|parent| {
                // A warning explains nothing that fails.
                (parent.severity() == Severity::Error
                    || finding.is_some_and(|finding| finding.severity() == Severity::Warning))
                    && (parent.provider.is_none()
                        || provider.is_none()
                        || parent.provider == provider)
            })
        })
        .collect()
}
