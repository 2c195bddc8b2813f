//! A finding as every renderer takes it.

use cwii_contract::Provider;

use crate::catalogue::{Entry, Severity};

/// Something that is wrong, with what shows it and what mends it.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The entry of the catalogue; none for a passing trouble that no setting causes (throttling, an outage).
    pub entry: Option<&'static Entry>,
    /// How much it matters: the code's severity, unless the catalogue lets a case be a lesser one.
    pub severity: Severity,
    /// The cloud that it concerns; none where it concerns all.
    pub provider: Option<Provider>,
    /// What is wrong, one sentence without a period, and no fix in it.
    pub message: String,
    /// Where it is.
    pub subject: Option<Subject>,
    /// The value there and the one that was expected, whole, so that a renderer can mark where they part.
    pub comparison: Option<Comparison>,
    /// What shows it.
    pub evidence: Vec<Evidence>,
    /// What the cloud answers because of it, so that people can match it with their logs.
    pub provider_error: Option<String>,
    /// What mends it.
    pub fix: Fix,
}

/// A place in an object of the cluster, or in a document.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Subject {
    /// `Pod`, `ServiceAccount`, `MutatingWebhookConfiguration`; for a document its kind in the cloud's words.
    pub kind: String,
    /// Namespace, for what has one.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// JSON pointer (RFC 6901) into it.
    pub pointer: Option<String>,
    /// What stands there, for people: ``annotation `cwii.dev/aws-audience` ``.
    pub what: Option<String>,
    /// The file that it was read from.
    pub file: Option<String>,
    /// Line in that file, from 1.
    pub line: Option<u32>,
}

/// Both sides of a comparison.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Comparison {
    /// What is there.
    pub found: String,
    /// What should be.
    pub expected: String,
}

/// One observation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Evidence {
    /// What was looked at, one or two words.
    pub label: &'static str,
    /// What was seen.
    pub value: String,
    /// Where it was seen, where that is not obvious.
    pub source: Option<String>,
}

/// What mends a finding.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Fix {
    /// What to do, one sentence.
    pub summary: String,
    /// Commands to paste, with this workload's values filled in.
    pub commands: Vec<String>,
    /// Whether they can be pasted as they are.
    pub applicability: Applicability,
}

/// How far a fix may be applied without thinking.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Applicability {
    /// Paste it: it changes what is wrong and nothing else.
    Safe,
    /// It works, but others may depend on what it changes.
    Unsafe,
    /// To read: something has to be filled in or decided.
    #[default]
    Display,
}

impl Finding {
    /// A finding of one code. The code is one that the catalogue has; a test over all of them says so.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        let entry = crate::catalogue::find(code);
        Self {
            entry,
            severity: entry.map_or(Severity::Error, |entry| entry.severity),
            ..Self::passing(message)
        }
    }

    /// A trouble that no setting of the workload causes.
    #[must_use]
    pub fn passing(message: impl Into<String>) -> Self {
        Self {
            entry: None,
            severity: Severity::Error,
            provider: None,
            message: message.into(),
            subject: None,
            comparison: None,
            evidence: Vec::new(),
            provider_error: None,
            fix: Fix::default(),
        }
    }

    /// A lesser case of a code that is an error otherwise.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Says which cloud it concerns.
    #[must_use]
    pub fn of(mut self, provider: Provider) -> Self {
        self.provider = Some(provider);
        self
    }

    /// Says where it is.
    #[must_use]
    pub fn at(mut self, subject: Subject) -> Self {
        self.subject = Some(subject);
        self
    }

    /// Says what is there and what should be.
    #[must_use]
    pub fn compared(mut self, found: impl Into<String>, expected: impl Into<String>) -> Self {
        self.comparison = Some(Comparison {
            found: found.into(),
            expected: expected.into(),
        });
        self
    }

    /// Adds an observation.
    #[must_use]
    pub fn evidence(mut self, label: &'static str, value: impl Into<String>) -> Self {
        self.evidence.push(Evidence {
            label,
            value: value.into(),
            source: None,
        });
        self
    }

    /// Adds an observation with the place where it was made.
    #[must_use]
    pub fn evidence_from(
        mut self,
        label: &'static str,
        value: impl Into<String>,
        source: impl Into<String>,
    ) -> Self {
        self.evidence.push(Evidence {
            label,
            value: value.into(),
            source: Some(source.into()),
        });
        self
    }

    /// Says what the cloud answers because of it, its lines as one.
    #[must_use]
    pub fn answered(mut self, text: impl Into<String>) -> Self {
        let text = text.into();
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        self.provider_error = Some(lines.collect::<Vec<_>>().join(" "));
        self
    }

    /// Sets what to do.
    #[must_use]
    pub fn fix(mut self, summary: impl Into<String>) -> Self {
        self.fix.summary = summary.into();
        self
    }

    /// Adds a command to paste.
    #[must_use]
    pub fn command(mut self, command: impl Into<String>) -> Self {
        self.fix.commands.push(command.into());
        self
    }

    /// Says how far the fix may be applied without thinking.
    #[must_use]
    pub fn applicable(mut self, applicability: Applicability) -> Self {
        self.fix.applicability = applicability;
        self
    }

    /// The code, such as `AWS05`.
    #[must_use]
    pub fn code(&self) -> Option<&'static str> {
        self.entry.map(|e| e.code)
    }

    /// How much it matters.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.severity
    }
}
