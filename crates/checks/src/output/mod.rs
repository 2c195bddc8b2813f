//! What the doctor says: one model, many renderers.
//!
//! A [`Report`] holds what all rules came to on one workload, a [`Sweep`] what they came to on many. The exit code is settled
//! in the model, before a format is chosen, so it is the same in all of them. Renderers are pure: a document and a style in,
//! one text out. Whatever came from a cluster, a token or a document is escaped where it is written, so a renderer can be
//! handed anything.

pub mod explain;
mod github;
mod html;
mod human;
mod junit;
mod machine;
mod model;
pub mod reference;
mod sarif;
mod stage;
mod sweep;
mod text;

pub use model::{
    Applicability, CheckResult, Cluster, Comparison, Context, Evidence, Fix, Level, Mechanism,
    Place, Policy, Report, Schema, Status, Step, StepState, Summary, Tool, Verdict,
};
pub use stage::Stage;
pub use sweep::{Group, Sweep, SweepBuilder, SweepSummary, Unsettled, WorkloadRow};
pub use text::Style;

use human::Amount;

/// The shapes of output.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// For people: the path, findings, counts.
    Human,
    /// For people, with every result.
    Wide,
    /// For people, failures alone.
    Short,
    /// `TYPE/NAME` of what has findings.
    Name,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
    /// One JSON document per line.
    Jsonl,
    /// SARIF 2.1.0.
    Sarif,
    /// JUnit XML.
    Junit,
    /// Annotations of GitHub's workflows.
    Github,
    /// One page of HTML.
    Html,
}

/// What is rendered.
#[derive(Clone, Copy, Debug)]
pub enum Document<'a> {
    /// One workload.
    Report(&'a Report),
    /// Many.
    Sweep(&'a Sweep),
}

impl Document<'_> {
    /// The exit code of a process that writes this, whatever the format.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Report(report) => report.summary.exit_code,
            Self::Sweep(sweep) => sweep.summary.exit_code,
        }
    }

    /// The whole output, with a line end after its last line.
    #[must_use]
    pub fn render(&self, format: Format, style: &Style) -> String {
        match (*self, format) {
            (Self::Report(report), Format::Human) => human::report(report, style, Amount::Normal),
            (Self::Report(report), Format::Wide) => human::report(report, style, Amount::Wide),
            (Self::Report(report), Format::Short) => human::report(report, style, Amount::Short),
            (Self::Sweep(sweep), Format::Human) => human::sweep(sweep, style, Amount::Normal),
            (Self::Sweep(sweep), Format::Wide) => human::sweep(sweep, style, Amount::Wide),
            (Self::Sweep(sweep), Format::Short) => human::sweep(sweep, style, Amount::Short),
            (Self::Report(report), Format::Name) => {
                let found = report.findings().next().map(|_| &report.target);
                human::names(found.into_iter(), style)
            }
            (Self::Sweep(sweep), Format::Name) => {
                let found = sweep.workloads.iter().filter(|row| !row.codes.is_empty());
                human::names(found.map(|row| &row.target), style)
            }
            (Self::Report(report), Format::Json) => machine::json(report),
            (Self::Sweep(sweep), Format::Json) => machine::json(sweep),
            (Self::Report(report), Format::Yaml) => machine::yaml(report),
            (Self::Sweep(sweep), Format::Yaml) => machine::yaml(sweep),
            (Self::Report(report), Format::Jsonl) => machine::report_lines(report),
            (Self::Sweep(sweep), Format::Jsonl) => machine::sweep_lines(sweep),
            (Self::Report(report), Format::Sarif) => sarif::report(report),
            (Self::Sweep(sweep), Format::Sarif) => sarif::sweep(sweep),
            (Self::Report(report), Format::Junit) => junit::report(report, style),
            (Self::Sweep(sweep), Format::Junit) => junit::sweep(sweep, style),
            (Self::Report(report), Format::Github) => github::report(report, style),
            (Self::Sweep(sweep), Format::Github) => github::sweep(sweep, style),
            (Self::Report(report), Format::Html) => html::report(report, style),
            (Self::Sweep(sweep), Format::Html) => html::sweep(sweep, style),
        }
    }
}

#[cfg(test)]
mod tests;
