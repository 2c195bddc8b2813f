//! Annotations of GitHub's workflows.
//!
//! Source: GitHub documentation, "Workflow commands for GitHub Actions",
//! <https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions>. A command is one line, so line ends
//! are written `%0A`; what else a runner would read as a command is escaped with it.

use super::{
    human::{affected, full_name, plural},
    model::{CheckResult, Place, Report, Status},
    sweep::{Group, Sweep},
    text::Style,
};

/// One workload.
pub(super) fn report(report: &Report, style: &Style) -> String {
    let mut out: String = report
        .findings()
        .map(|result| command(result, &report.target, None, style))
        .collect();
    let summary = &report.summary;
    out.push_str(&notice(
        &full_name(&report.target),
        &format!(
            "{}, {}, {} passed, {} unknown, {} not looked at",
            plural(summary.fail, "error"),
            plural(summary.warn, "warning"),
            summary.pass,
            summary.unknown,
            summary.skipped
        ),
        style,
    ));
    out
}

/// Many workloads: an annotation for each cause.
pub(super) fn sweep(sweep: &Sweep, style: &Style) -> String {
    let mut out = String::new();
    for group in &sweep.findings {
        if let Some(target) = group.examples.first() {
            out.push_str(&command(&group.finding, target, Some(group), style));
        }
    }
    let summary = &sweep.summary;
    out.push_str(&notice(
        &plural(summary.workloads, "workload"),
        &format!(
            "{} failing, {} with warnings, {} not settled, {} clean",
            summary.fail, summary.warn, summary.inconclusive, summary.pass
        ),
        style,
    ));
    out
}

fn command(result: &CheckResult, target: &Place, group: Option<&Group>, style: &Style) -> String {
    let word = match result.status {
        Status::Warn => "warning",
        _ => "error",
    };
    let place = result.subject.as_ref().unwrap_or(target);
    let mut properties = Vec::new();
    if let Some(file) = place.file.as_ref().filter(|file| *file != "-") {
        properties.push(format!("file={}", property(&style.show(file))));
        properties.extend(place.line.map(|line| format!("line={line}")));
    }
    let title = format!("{} {}", result.code, full_name(target));
    properties.push(format!("title={}", property(&style.show(&title))));
    let mut lines = vec![style.show(&result.message)];
    if let Some(comparison) = &result.comparison {
        lines.push(format!(
            "found `{}`, expected `{}`",
            style.exactly(&comparison.found),
            style.exactly(&comparison.expected)
        ));
    }
    if let Some(group) = group.filter(|group| group.count > 1) {
        lines.push(affected(group, style));
    }
    if let Some(fix) = &result.fix {
        lines.push(format!("help: {}", style.show(&fix.summary)));
        lines.extend(fix.commands.iter().map(|command| style.show(command)));
    }
    let message: Vec<_> = lines.iter().map(|line| data(line)).collect();
    format!(
        "::{word} {}::{}\n",
        properties.join(","),
        message.join("%0A")
    )
}

fn notice(title: &str, text: &str, style: &Style) -> String {
    format!(
        "::notice title={}::{}\n",
        property(&style.show(title)),
        data(&style.show(text))
    )
}

/// The text of a command.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// The value of a command's property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
