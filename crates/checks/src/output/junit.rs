//! JUnit XML, the dialect that CI systems read: a test case for each code, or for each workload of a sweep.

use std::collections::BTreeMap;

use quick_xml::{
    Writer,
    events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event},
};

use super::{
    human::{affected, full_name, object},
    model::{CheckResult, Report, Status, Verdict},
    sweep::{Group, Sweep, WorkloadRow},
    text::Style,
};

/// One workload.
pub(super) fn report(report: &Report, style: &Style) -> String {
    let cases = report
        .results
        .iter()
        .map(|result| Case::of_result(result, style))
        .collect();
    suite(
        &style.show(&full_name(&report.target)),
        cases,
        report.duration_ms,
    )
}

/// Many workloads.
pub(super) fn sweep(sweep: &Sweep, style: &Style) -> String {
    let causes: BTreeMap<&str, &Group> = sweep
        .findings
        .iter()
        .rev()
        .map(|group| (group.finding.code, group))
        .collect();
    let cases = sweep
        .workloads
        .iter()
        .map(|row| Case::of_row(row, &causes, style))
        .collect();
    suite("kubectl cwii doctor", cases, sweep.duration_ms)
}

struct Case {
    class: String,
    name: String,
    /// `failure`, `error` or `skipped`, with message and text.
    children: Vec<(&'static str, String, String)>,
    output: Option<String>,
}

impl Case {
    fn of_result(result: &CheckResult, style: &Style) -> Self {
        let message = style.show(&result.message);
        let mut case = Self {
            class: format!("cwii.{}", result.stage.name()),
            name: format!("{} {}", result.code, result.name),
            children: Vec::new(),
            output: None,
        };
        match result.status {
            Status::Fail => case
                .children
                .push(("failure", message, text(result, None, style))),
            // JUnit has no warnings: a case that passed and has something to say.
            Status::Warn => case.output = Some(format!("warning: {}", text(result, None, style))),
            Status::Unknown if result.is_inconclusive() => {
                case.children.push(("error", message, String::new()));
            }
            Status::Unknown | Status::Skipped | Status::NotApplicable => {
                case.children.push(("skipped", message, String::new()));
            }
            Status::Pass => {}
        }
        case
    }

    fn of_row(row: &WorkloadRow, causes: &BTreeMap<&str, &Group>, style: &Style) -> Self {
        let mut case = Self {
            class: style.show(row.target.namespace.as_deref().unwrap_or("cwii")),
            name: style.show(&object(&row.target)),
            children: Vec::new(),
            output: None,
        };
        let mut warnings = Vec::new();
        for group in row.codes.iter().filter_map(|code| causes.get(code)) {
            let message = format!(
                "{}: {}",
                group.finding.code,
                style.show(&group.finding.message)
            );
            let text = text(&group.finding, Some(group), style);
            match group.finding.status {
                Status::Warn => warnings.push(format!("warning: {message}\n{text}")),
                _ => case.children.push(("failure", message, text)),
            }
        }
        if !warnings.is_empty() {
            case.output = Some(warnings.join("\n\n"));
        }
        if row.verdict == Verdict::Inconclusive {
            let message = "something that was asked for could not be settled".to_owned();
            case.children.push(("error", message, String::new()));
        }
        case
    }
}

/// What stands in the element: place, values, evidence and fix, a line each.
fn text(result: &CheckResult, group: Option<&Group>, style: &Style) -> String {
    let mut lines = vec![style.show(&result.message)];
    if let Some(subject) = &result.subject {
        let file = subject.file.as_ref().map(|file| style.show(file));
        let line = subject.line.map(|line| format!(":{line}"));
        let what = subject.what.as_ref().map(|what| style.show(what));
        lines.push(format!(
            "at {}{} {} {}",
            file.unwrap_or_default(),
            line.unwrap_or_default(),
            style.show(&full_name(subject)),
            what.unwrap_or_default()
        ));
    }
    if let Some(comparison) = &result.comparison {
        lines.push(format!("found:    {}", style.exactly(&comparison.found)));
        lines.push(format!("expected: {}", style.exactly(&comparison.expected)));
    }
    if let Some(group) = group {
        lines.push(affected(group, style));
    }
    for evidence in &result.evidence {
        lines.push(format!(
            "{}: {}",
            style.show(evidence.label),
            style.show(&evidence.value)
        ));
    }
    lines.extend(
        result
            .provider_error
            .iter()
            .map(|answer| style.show(answer)),
    );
    if let Some(fix) = &result.fix {
        lines.push(format!("help: {}", style.show(&fix.summary)));
        lines.extend(
            fix.commands
                .iter()
                .map(|command| format!("  {}", style.show(command))),
        );
    }
    lines.join("\n")
}

fn suite(name: &str, cases: Vec<Case>, milliseconds: Option<u64>) -> String {
    let mut out = Vec::new();
    // Into memory, which does not fail.
    let written = write(
        &mut Writer::new_with_indent(&mut out, b' ', 2),
        name,
        &cases,
        milliseconds,
    );
    debug_assert!(written.is_ok());
    let mut text = String::from_utf8(out).unwrap_or_default();
    text.push('\n');
    text
}

fn write(
    writer: &mut Writer<&mut Vec<u8>>,
    name: &str,
    cases: &[Case],
    milliseconds: Option<u64>,
) -> std::io::Result<()> {
    let count = |kind: &str| {
        cases
            .iter()
            .filter(|case| case.children.iter().any(|(child, ..)| *child == kind))
            .count()
            .to_string()
    };
    let tests = cases.len().to_string();
    let (failures, errors, skipped) = (count("failure"), count("error"), count("skipped"));
    // Without a measurement the attribute says zero: the public schema wants one.
    let time = milliseconds.unwrap_or(0);
    let time = format!("{}.{:03}", time / 1000, time % 1000);
    let totals = [
        ("name", name),
        ("tests", &tests),
        ("failures", &failures),
        ("errors", &errors),
        ("time", &time),
    ];
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let suites = BytesStart::new("testsuites").with_attributes(totals);
    writer.write_event(Event::Start(suites))?;
    let suite = BytesStart::new("testsuite")
        .with_attributes(totals)
        .with_attributes([("skipped", skipped.as_str())]);
    writer.write_event(Event::Start(suite))?;
    for case in cases {
        let element = BytesStart::new("testcase").with_attributes([
            ("classname", case.class.as_str()),
            ("name", case.name.as_str()),
            ("time", "0"),
        ]);
        if case.children.is_empty() && case.output.is_none() {
            writer.write_event(Event::Empty(element))?;
            continue;
        }
        writer.write_event(Event::Start(element))?;
        for (kind, message, text) in &case.children {
            let child = BytesStart::new(*kind).with_attributes([("message", message.as_str())]);
            leaf(writer, child, text)?;
        }
        if let Some(output) = &case.output {
            leaf(writer, BytesStart::new("system-out"), output)?;
        }
        writer.write_event(Event::End(BytesEnd::new("testcase")))?;
    }
    writer.write_event(Event::End(BytesEnd::new("testsuite")))?;
    writer.write_event(Event::End(BytesEnd::new("testsuites")))
}

fn leaf(
    writer: &mut Writer<&mut Vec<u8>>,
    element: BytesStart<'_>,
    text: &str,
) -> std::io::Result<()> {
    if text.is_empty() {
        return writer.write_event(Event::Empty(element));
    }
    let end = element.to_end().into_owned();
    writer.write_event(Event::Start(element))?;
    writer.write_event(Event::Text(BytesText::new(text)))?;
    writer.write_event(Event::End(end))
}
