//! One page of HTML that holds all it needs: it loads nothing, runs nothing, and can be mailed.
//!
//! The path is drawn as SVG. States have words and shapes besides colours. A content security policy forbids every load and
//! every script, whatever an annotation may have brought in.

use std::fmt::Write as _;

use super::{
    human::{difference_words, full_name, mechanisms, object, plural, seconds, unsettled, word},
    model::{CheckResult, Cluster, Place, Report, Status, Step, StepState},
    stage::Stage,
    sweep::{Group, Sweep, Unsettled},
    text::Style,
};

/// One workload.
pub(super) fn report(report: &Report, style: &Style) -> String {
    let title = full_name(&report.target);
    let mut body = String::new();
    let mut about = vec![mechanisms(&report.mechanisms)];
    about.extend(cluster(&report.context));
    head(&mut body, &title, &about, style);
    body.push_str(&path(&report.path));
    let summary = &report.summary;
    chips(
        &mut body,
        &[
            ("fail", summary.fail, noun(summary.fail, "error", "errors")),
            (
                "warn",
                summary.warn,
                noun(summary.warn, "warning", "warnings"),
            ),
            ("unknown", summary.unknown, "unknown"),
            ("pass", summary.pass, "passed"),
            ("skipped", summary.skipped, "not looked at"),
            ("na", summary.not_applicable, "not applicable"),
        ],
        report.duration_ms,
    );
    for result in report.findings() {
        finding(&mut body, result, None, style);
    }
    unsettled_list(
        &mut body,
        &unsettled(report, Status::Unknown),
        &unsettled(report, Status::Skipped),
        style,
    );
    results(&mut body, &report.results, style);
    foot(&mut body, &report.tool.version, style);
    page(&title, &body, style)
}

/// Many workloads.
pub(super) fn sweep(sweep: &Sweep, style: &Style) -> String {
    let title = plural(sweep.summary.workloads, "workload");
    let mut body = String::new();
    let mut about = vec![plural(sweep.summary.pods, "pod")];
    about.extend(cluster(&sweep.context));
    head(&mut body, &title, &about, style);
    let summary = &sweep.summary;
    chips(
        &mut body,
        &[
            ("fail", summary.fail, "failing"),
            ("warn", summary.warn, "with warnings"),
            ("unknown", summary.inconclusive, "not settled"),
            ("pass", summary.pass, "clean"),
        ],
        sweep.duration_ms,
    );
    for group in &sweep.findings {
        finding(&mut body, &group.finding, Some(group), style);
    }
    unsettled_list(&mut body, &sweep.unknown, &sweep.skipped, style);
    body.push_str("<section><h2>Workloads, worst first</h2><div class=\"scroll\"><table><thead><tr><th scope=\"col\">Workload</th>");
    for stage in Stage::ALL {
        let _ = write!(body, "<th scope=\"col\">{}</th>", stage.name());
    }
    body.push_str("<th scope=\"col\">Findings</th></tr></thead><tbody>\n");
    for row in &sweep.workloads {
        let _ = write!(
            body,
            "<tr><th scope=\"row\">{}</th>",
            text(&full_name(&row.target), style)
        );
        for step in &row.path {
            let _ = write!(
                body,
                "<td class=\"{}\">{}</td>",
                class(step.state),
                word(step.state)
            );
        }
        let _ = writeln!(body, "<td>{}</td></tr>", row.codes.join(" "));
    }
    body.push_str("</tbody></table></div></section>\n");
    foot(&mut body, &sweep.tool.version, style);
    page(&title, &body, style)
}

fn page(title: &str, body: &str, style: &Style) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{} · cwii doctor</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        plain(title, style)
    )
}

fn head(out: &mut String, title: &str, about: &[String], style: &Style) {
    let about: Vec<_> = about.iter().map(|part| text(part, style)).collect();
    let _ = writeln!(
        out,
        "<header><h1>{}</h1><p>{}</p></header>",
        text(title, style),
        about.join(" · ")
    );
}

fn foot(out: &mut String, version: &str, style: &Style) {
    let _ = writeln!(
        out,
        "<footer>kubectl cwii doctor {}</footer>",
        text(version, style)
    );
}

fn cluster(context: &Cluster) -> Vec<String> {
    let name = context.name.as_ref().map(|name| format!("context {name}"));
    let version = &context.server_version;
    let version = version
        .as_ref()
        .map(|version| format!("Kubernetes {version}"));
    let parts: Vec<_> = name.into_iter().chain(version).collect();
    if parts.is_empty() {
        vec!["no cluster".to_owned()]
    } else {
        parts
    }
}

/// Seven stations on a line; the line is broken where the chain is.
fn path(steps: &[Step]) -> String {
    const STEP: usize = 120;
    let states: Vec<_> = steps
        .iter()
        .map(|step| format!("{}: {}", step.stage.name(), spoken(step.state)))
        .collect();
    let mut out = format!(
        "<svg class=\"path\" viewBox=\"0 0 {} 96\" role=\"img\" aria-label=\"{}\">\n",
        STEP * steps.len(),
        states.join(", ")
    );
    for (index, pair) in steps.windows(2).enumerate() {
        let broken = [pair[0].state, pair[1].state].contains(&StepState::Fail);
        let class = if broken { "link broken" } else { "link" };
        let start = STEP * index + STEP / 2 + 24;
        let _ = writeln!(
            out,
            "<line class=\"{class}\" x1=\"{start}\" y1=\"36\" x2=\"{}\" y2=\"36\"/>",
            start + STEP - 48
        );
    }
    for (index, step) in steps.iter().enumerate() {
        let x = STEP * index + STEP / 2;
        let class = class(step.state);
        let shape = match step.state {
            StepState::Fail => format!(
                "<rect class=\"{class}\" x=\"{}\" y=\"16\" width=\"40\" height=\"40\" rx=\"4\"/>",
                x - 20
            ),
            _ => format!("<circle class=\"{class}\" cx=\"{x}\" cy=\"36\" r=\"21\"/>"),
        };
        let _ = writeln!(
            out,
            "{shape}<text class=\"state\" x=\"{x}\" y=\"41\">{}</text><text class=\"name\" x=\"{x}\" y=\"84\">{}</text>",
            word(step.state),
            step.stage.name()
        );
    }
    out.push_str("</svg>\n");
    out
}

fn chips(out: &mut String, counts: &[(&str, usize, &str)], milliseconds: Option<u64>) {
    out.push_str("<p class=\"counts\">");
    for (class, count, what) in counts {
        if *count > 0 || matches!(*class, "fail") {
            let class = if *count == 0 { "pass" } else { class };
            let _ = write!(out, "<span class=\"chip {class}\">{count} {what}</span> ");
        }
    }
    if let Some(milliseconds) = milliseconds {
        let _ = write!(
            out,
            "<span class=\"chip na\">{}</span>",
            seconds(milliseconds)
        );
    }
    out.push_str("</p>\n");
}

fn finding(out: &mut String, result: &CheckResult, group: Option<&Group>, style: &Style) {
    let (word, class) = match result.status {
        Status::Warn => ("warning", "warn"),
        _ => ("error", "fail"),
    };
    let _ = writeln!(
        out,
        "<article class=\"{class}\"><h2><span class=\"chip {class}\">{word} {}</span> {}</h2>",
        result.code,
        text(&result.message, style)
    );
    if let Some(subject) = &result.subject {
        let _ = writeln!(out, "<p class=\"place\">{}</p>", place(subject, style));
    }
    if let Some(comparison) = &result.comparison {
        let words = difference_words(comparison).unwrap_or_default();
        let _ = writeln!(
            out,
            "<dl class=\"values\"><dt>found</dt><dd><code>{}</code> <span class=\"hint\">{words}</span></dd><dt>expected</dt><dd><code>{}</code></dd></dl>",
            marked(&comparison.found, &comparison.expected, style),
            marked(&comparison.expected, &comparison.found, style)
        );
    }
    let mut notes = Vec::new();
    if let Some(group) = group.filter(|group| group.count > 1) {
        notes.push(text(&super::human::affected(group, style), style));
    }
    for evidence in &result.evidence {
        let mut note = format!(
            "{}: {}",
            text(evidence.label, style),
            text(&evidence.value, style)
        );
        if let Some(source) = &evidence.source {
            let _ = write!(note, " <span class=\"hint\">{}</span>", text(source, style));
        }
        notes.push(note);
    }
    if let Some(answer) = &result.provider_error {
        notes.push(text(answer, style));
    }
    if !notes.is_empty() {
        let _ = writeln!(out, "<ul><li>{}</li></ul>", notes.join("</li><li>"));
    }
    if let Some(fix) = &result.fix {
        let _ = writeln!(
            out,
            "<p class=\"help\"><strong>Fix:</strong> {}</p>",
            text(&fix.summary, style)
        );
        if !fix.commands.is_empty() {
            let commands: Vec<_> = fix.commands.iter().map(|one| plain(one, style)).collect();
            let _ = writeln!(out, "<pre>{}</pre>", commands.join("\n"));
        }
    }
    let _ = writeln!(
        out,
        "<p class=\"hint\">More: <code>kubectl cwii explain {}</code></p></article>",
        result.code
    );
}

fn noun(count: usize, one: &'static str, many: &'static str) -> &'static str {
    if count == 1 { one } else { many }
}

/// A value with the part from the first difference on marked.
fn marked(value: &str, other: &str, style: &Style) -> String {
    let html = |part: &str| escape(&style.exactly(part));
    match cwii_token::text::first_difference(value, other) {
        None => html(value),
        Some(difference) => {
            let (same, differs) = value.split_at(difference.offset);
            format!("{}<mark>{}</mark>", html(same), html(differs))
        }
    }
}

fn place(place: &Place, style: &Style) -> String {
    let mut out = String::new();
    if let Some(file) = &place.file {
        let line = place.line.map(|line| format!(":{line}"));
        let _ = write!(
            out,
            "<code>{}{}</code> ",
            text(file, style),
            line.unwrap_or_default()
        );
    }
    out.push_str(&text(&object(place), style));
    if let Some(what) = place.what.as_ref().or(place.pointer.as_ref()) {
        let _ = write!(out, ", {}", text(&what.replace('`', ""), style));
    }
    out
}

fn unsettled_list(out: &mut String, unknown: &[Unsettled], skipped: &[Unsettled], style: &Style) {
    if unknown.is_empty() && skipped.is_empty() {
        return;
    }
    out.push_str("<section><h2>Not known</h2><ul>\n");
    for one in unknown {
        let _ = writeln!(
            out,
            "<li><span class=\"chip unknown\">unknown</span> {}: {}</li>",
            one.codes.join(", "),
            text(&one.why, style)
        );
    }
    for one in skipped {
        let _ = writeln!(
            out,
            "<li><span class=\"chip skipped\">not looked at</span> {}, {}</li>",
            plural(one.codes.len(), "check"),
            text(&one.why, style)
        );
    }
    out.push_str("</ul></section>\n");
}

fn results(out: &mut String, results: &[CheckResult], style: &Style) {
    out.push_str("<details><summary>All results</summary><div class=\"scroll\"><table><thead><tr><th scope=\"col\">Code</th><th scope=\"col\">State</th><th scope=\"col\">Stage</th><th scope=\"col\">Check</th><th scope=\"col\">Reason</th></tr></thead><tbody>\n");
    for result in results {
        let (class, state) = match result.status {
            Status::Fail => ("fail", "FAIL"),
            Status::Warn => ("warn", "warn"),
            Status::Unknown => ("unknown", "unknown"),
            Status::Skipped => ("skipped", "not looked at"),
            Status::Pass => ("pass", "ok"),
            Status::NotApplicable => ("na", "not applicable"),
        };
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td class=\"{class}\">{state}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            result.code,
            result.stage.name(),
            result.name,
            text(&result.message, style)
        );
    }
    out.push_str("</tbody></table></div></details>\n");
}

fn class(state: StepState) -> &'static str {
    match state {
        StepState::Fail => "fail",
        StepState::Warn => "warn",
        StepState::Unknown => "unknown",
        StepState::Pass | StepState::Partial => "pass",
        StepState::Skipped => "skipped",
        StepState::NotApplicable => "na",
    }
}

fn spoken(state: StepState) -> &'static str {
    match state {
        StepState::Fail => "failed",
        StepState::Warn => "warning",
        StepState::Unknown => "unknown",
        StepState::Pass => "ok",
        StepState::Partial => "ok as far as looked at",
        StepState::Skipped => "not looked at",
        StepState::NotApplicable => "not applicable",
    }
}

/// Text from outside: made visible, then made harmless to HTML; what stands in backticks becomes code.
fn text(text: &str, style: &Style) -> String {
    let escaped = escape(&style.show(text));
    let pieces: Vec<_> = escaped.split('`').collect();
    if pieces.len() % 2 == 0 {
        return escaped;
    }
    pieces
        .iter()
        .enumerate()
        .map(|(index, piece)| match index % 2 {
            0 => (*piece).to_owned(),
            _ => format!("<code>{piece}</code>"),
        })
        .collect()
}

/// The same where no element may stand: titles, attributes, commands.
fn plain(text: &str, style: &Style) -> String {
    escape(&style.show(text))
}

fn escape(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

const CSS: &str = "
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--soft:#57606a;--card:#f6f8fa;--line:#d0d7de;--fail:#cf222e;--warn:#9a6700;--pass:#1a7f37;--unknown:#6639ba;--none:#6e7781;--mark:#ffd7d5}
@media (prefers-color-scheme:dark){:root{--bg:#0d1117;--fg:#e6edf3;--soft:#9198a1;--card:#161b22;--line:#30363d;--fail:#ff7b72;--warn:#d29922;--pass:#3fb950;--unknown:#bc8cff;--none:#8b949e;--mark:#67060c}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--fg);font:16px/1.5 system-ui,sans-serif}
main{max-width:60rem;margin:0 auto;padding:1.5rem}
h1{font-size:1.5rem;margin:0;overflow-wrap:anywhere}
h2{font-size:1.05rem;margin:0 0 .5rem;overflow-wrap:anywhere}
header p,footer,.hint{color:var(--soft)}
header p{margin:.25rem 0 0}
footer{margin-top:2rem;font-size:.85rem}
code,pre{font-family:ui-monospace,monospace;font-size:.9em}
code{overflow-wrap:anywhere}
pre{background:var(--bg);border:1px solid var(--line);border-radius:6px;padding:.75rem;white-space:pre-wrap;overflow-wrap:anywhere;margin:.5rem 0}
mark{background:var(--mark);color:inherit;border-bottom:2px solid var(--fail)}
.path{display:block;width:100%;height:auto;margin:1.5rem 0 1rem}
.path text{text-anchor:middle;fill:var(--fg);font:600 15px system-ui,sans-serif}
.path text.state{fill:var(--bg);font-size:13px}
.path .link{stroke:var(--line);stroke-width:4}
.path .broken{stroke:var(--fail);stroke-dasharray:6 6}
svg .fail{fill:var(--fail)}svg .warn{fill:var(--warn)}svg .pass{fill:var(--pass)}svg .unknown{fill:var(--unknown)}svg .skipped,svg .na{fill:var(--none)}
.chip{display:inline-block;border:1px solid currentColor;border-radius:1rem;padding:0 .6rem;font-size:.85rem;white-space:nowrap}
.chip.fail,td.fail{color:var(--fail)}.chip.warn,td.warn{color:var(--warn)}.chip.pass,td.pass{color:var(--pass)}.chip.unknown,td.unknown{color:var(--unknown)}.chip.skipped,.chip.na,td.skipped,td.na{color:var(--soft)}
td.fail{font-weight:700}
article,section{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:1rem;margin:1rem 0}
article.fail{border-left:6px solid var(--fail)}article.warn{border-left:6px solid var(--warn)}
.place{margin:.25rem 0;font-family:ui-monospace,monospace;font-size:.9rem;overflow-wrap:anywhere}
.values{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1rem;margin:.5rem 0}
.values dd{margin:0}.values dt{color:var(--soft)}
ul{margin:.5rem 0;padding-left:1.25rem}li{overflow-wrap:anywhere}
.help{margin:.5rem 0}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;padding:.25rem .5rem;border-bottom:1px solid var(--line);vertical-align:top}
thead th{color:var(--soft)}
details summary{cursor:pointer;padding:.5rem 0}
";
