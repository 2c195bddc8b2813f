//! One rule for each code: what it needs, what stands before it, how it decides, and what there is to say about it.

use super::{
    case::{Case, Gap},
    facts::Need,
};
use crate::{
    catalogue::{self, Entry},
    report::Finding,
};

/// What a rule came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// As it should be.
    Pass,
    /// It does not concern this workload; the text says why.
    NotApplicable(String),
    /// What is wrong, at least one.
    Found(Vec<Finding>),
}

impl Outcome {
    /// Not applicable, for this reason.
    #[must_use]
    pub fn not_applicable(why: impl Into<String>) -> Self {
        Self::NotApplicable(why.into())
    }

    /// What was found, or a pass if that is nothing.
    #[must_use]
    pub fn of(findings: Vec<Finding>) -> Self {
        if findings.is_empty() {
            Self::Pass
        } else {
            Self::Found(findings)
        }
    }

    /// What was found in what could be looked at. A pass takes all of it; a finding does not.
    ///
    /// # Errors
    ///
    /// Nothing was found, and something could not be looked at.
    pub fn despite(findings: Vec<Finding>, unread: Option<Gap>) -> Result<Self, Gap> {
        match unread {
            Some(gap) if findings.is_empty() => Err(gap),
            _ => Ok(Self::of(findings)),
        }
    }
}

/// Where a code is settled that no rule of the doctor settles.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Elsewhere {
    /// By the agent, inside a pod.
    InPod,
    /// With credentials of the cloud, which the doctor has none of.
    CloudCredentials,
    /// By another command of `kubectl cwii`.
    Command(&'static str),
}

/// One code's rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The code.
    pub code: &'static str,
    /// The facts that it looks at, exactly.
    pub needs: &'static [Need],
    /// Codes whose failure makes what this one finds a consequence.
    pub blocked_by: &'static [&'static str],
    pub(crate) decide: Decide,
    pub(crate) source: &'static str,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Decide {
    Here(fn(&Case<'_>) -> Result<Outcome, Gap>),
    Elsewhere(Elsewhere),
}

/// A rule's documentation: the head of its source file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Documentation(&'static str);

impl Rule {
    pub(crate) const fn new(
        code: &'static str,
        needs: &'static [Need],
        decide: fn(&Case<'_>) -> Result<Outcome, Gap>,
    ) -> Self {
        Self {
            code,
            needs,
            blocked_by: &[],
            decide: Decide::Here(decide),
            source: "",
        }
    }

    pub(crate) const fn elsewhere(code: &'static str, place: Elsewhere) -> Self {
        Self {
            code,
            needs: &[],
            blocked_by: &[],
            decide: Decide::Elsewhere(place),
            source: "",
        }
    }

    pub(crate) const fn blocked_by(mut self, codes: &'static [&'static str]) -> Self {
        self.blocked_by = codes;
        self
    }

    pub(crate) const fn documented(mut self, source: &'static str) -> Self {
        self.source = source;
        self
    }

    /// Its entry in the catalogue.
    #[must_use]
    pub fn entry(&self) -> Option<&'static Entry> {
        catalogue::find(self.code)
    }

    /// Decides; none where it is settled elsewhere.
    #[must_use]
    pub fn run(&self, case: &Case<'_>) -> Option<Result<Outcome, Gap>> {
        match self.decide {
            Decide::Here(decide) => Some(decide(case)),
            Decide::Elsewhere(_) => None,
        }
    }

    /// Where else it is settled, if the doctor does not settle it.
    #[must_use]
    pub fn settled_elsewhere(&self) -> Option<Elsewhere> {
        match self.decide {
            Decide::Elsewhere(place) => Some(place),
            Decide::Here(_) => None,
        }
    }

    /// What there is to say about it.
    #[must_use]
    pub fn documentation(&self) -> Documentation {
        Documentation(self.source)
    }
}

impl Documentation {
    /// The text in Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        self.0
            .lines()
            .map_while(|line| line.strip_prefix("//!"))
            .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line)))
            .collect()
    }

    /// The first paragraph, on one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let text = self.markdown();
        let paragraph: Vec<_> = text
            .lines()
            .take_while(|line| !line.trim().is_empty())
            .collect();
        paragraph.join(" ")
    }

    /// One section, by its heading: `How to fix it`.
    #[must_use]
    pub fn section(&self, heading: &str) -> Option<String> {
        let text = self.markdown();
        let mut lines = text
            .lines()
            .skip_while(|line| line.strip_prefix("## ") != Some(heading));
        lines.next()?;
        let body: Vec<_> = lines.take_while(|line| !line.starts_with("## ")).collect();
        Some(body.join("\n").trim().to_owned())
    }

    /// The headings that every documentation has, in this order.
    pub const SECTIONS: [&'static str; 6] = [
        "What it checks",
        "Why it matters",
        "How it looks",
        "How to fix it",
        "How to verify the fix",
        "References",
    ];
}

/// All rules, in the catalogue's order.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    crate::rules::GROUPS.iter().copied().flatten()
}

/// The rule of a code.
#[must_use]
pub fn rule(code: &str) -> Option<&'static Rule> {
    rules().find(|rule| rule.code == code)
}
