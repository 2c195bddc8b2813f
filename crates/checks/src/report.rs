//! A finding as every renderer takes it.

use crate::catalogue::{Entry, Severity};

/// Something that is wrong, with what shows it and what mends it.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The entry of the catalogue; none for a passing trouble that no setting causes (throttling, an outage).
    pub entry: Option<&'static Entry>,
    /// What is wrong, one sentence without a period, and no fix in it.
    pub message: String,
    /// What shows it.
    pub evidence: Vec<Evidence>,
    /// What mends it.
    pub fix: Fix,
}

/// One observation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Evidence {
    /// What was looked at, one or two words.
    pub label: &'static str,
    /// What was seen.
    pub value: String,
}

/// What mends a finding.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Fix {
    /// What to do, one sentence.
    pub summary: String,
    /// Commands to paste, with this workload's values filled in.
    pub commands: Vec<String>,
}

impl Finding {
    /// A finding of one code. The code is one that the catalogue has; a test over all of them says so.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            entry: crate::catalogue::find(code),
            message: message.into(),
            evidence: Vec::new(),
            fix: Fix::default(),
        }
    }

    /// A trouble that no setting of the workload causes.
    #[must_use]
    pub fn passing(message: impl Into<String>) -> Self {
        Self {
            entry: None,
            message: message.into(),
            evidence: Vec::new(),
            fix: Fix::default(),
        }
    }

    /// Adds an observation.
    #[must_use]
    pub fn evidence(mut self, label: &'static str, value: impl Into<String>) -> Self {
        self.evidence.push(Evidence {
            label,
            value: value.into(),
        });
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

    /// The code, such as `AWS05`.
    #[must_use]
    pub fn code(&self) -> Option<&'static str> {
        self.entry.map(|e| e.code)
    }

    /// How much it matters.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.entry.map_or(Severity::Error, |e| e.severity)
    }
}
