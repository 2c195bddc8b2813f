//! JSON, JSON lines and YAML: the model as it is, nothing left out.
//!
//! Values keep every character. What a terminal would obey is written with the format's own escapes, so that a document can
//! be looked at safely and still reads back to the same text.

use cwii_token::text::is_printable;
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap as _, SerializeSeq as _},
};
use serde_json::Value;
use serde_saphyr::DoubleQuoted;

use super::{
    model::{CheckResult, Cluster, Mechanism, Place, Report, Schema, Step, Summary, Tool},
    sweep::{Group, Sweep, SweepSummary, Unsettled, WorkloadRow},
};

/// One JSON document, indented.
pub(super) fn json(value: &impl Serialize) -> String {
    let mut out = json_text(serde_json::to_string_pretty(value));
    out.push('\n');
    out
}

/// One YAML document, with the members of the JSON one.
pub(super) fn yaml(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    let text = serde_saphyr::to_string(&Quoted(&value)).unwrap_or_default();
    // Only double-quoted texts hold such characters.
    escaped(&text, |c, out| {
        let code = u32::from(c);
        if code > 0xffff {
            out.push_str(&format!("\\U{code:08X}"));
        } else {
            out.push_str(&format!("\\u{code:04X}"));
        }
    })
}

/// One workload as JSON lines: what it is about, each result, the summary.
pub(super) fn report_lines(report: &Report) -> String {
    let head = Line::Report {
        schema: report.schema,
        tool: &report.tool,
        target: &report.target,
        context: &report.context,
        mechanisms: &report.mechanisms,
        path: &report.path,
    };
    let end = Line::Summary {
        summary: &report.summary,
        duration_ms: report.duration_ms,
    };
    std::iter::once(head)
        .chain(report.results.iter().map(Line::Result))
        .chain([end])
        .map(|line| json_line(&line))
        .collect()
}

/// Many workloads as JSON lines: each of them, the findings by cause, what is not known, the summary.
pub(super) fn sweep_lines(sweep: &Sweep) -> String {
    let head = Line::Sweep {
        schema: sweep.schema,
        tool: &sweep.tool,
        context: &sweep.context,
    };
    let end = Line::SweepSummary {
        summary: &sweep.summary,
        duration_ms: sweep.duration_ms,
    };
    std::iter::once(head)
        .chain(sweep.workloads.iter().map(Line::Workload))
        .chain(sweep.findings.iter().map(Line::Finding))
        .chain(sweep.unknown.iter().map(Line::Unknown))
        .chain(sweep.skipped.iter().map(Line::Skipped))
        .chain([end])
        .map(|line| json_line(&line))
        .collect()
}

/// One line of `jsonl`; `type` says what it is.
#[derive(Serialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
enum Line<'a> {
    Report {
        schema: Schema,
        tool: &'a Tool,
        target: &'a Place,
        context: &'a Cluster,
        mechanisms: &'a [Mechanism],
        path: &'a [Step],
    },
    Result(&'a CheckResult),
    Summary {
        #[serde(flatten)]
        summary: &'a Summary,
        #[serde(skip_serializing_if = "Option::is_none")]
        duration_ms: Option<u64>,
    },
    Sweep {
        schema: Schema,
        tool: &'a Tool,
        context: &'a Cluster,
    },
    Workload(&'a WorkloadRow),
    Finding(&'a Group),
    Unknown(&'a Unsettled),
    Skipped(&'a Unsettled),
    #[serde(rename = "summary")]
    SweepSummary {
        #[serde(flatten)]
        summary: &'a SweepSummary,
        #[serde(skip_serializing_if = "Option::is_none")]
        duration_ms: Option<u64>,
    },
}

fn json_line(line: &Line<'_>) -> String {
    let mut out = json_text(serde_json::to_string(line));
    out.push('\n');
    out
}

/// The model has texts for keys and no numbers beyond JSON's, so it always is a document.
fn json_text(written: serde_json::Result<String>) -> String {
    escaped(&written.unwrap_or_default(), |c, out| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            out.push_str(&format!("\\u{unit:04x}"));
        }
    })
}

/// Replaces what a terminal would obey; line ends are the document's own by now.
fn escaped(text: &str, escape: impl Fn(char, &mut String)) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\n' || is_printable(c) {
            out.push(c);
        } else {
            escape(c, &mut out);
        }
    }
    out
}

/// A JSON value for YAML, with double quotes around what needs escapes.
struct Quoted<'a>(&'a Value);

impl Serialize for Quoted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(elements) => {
                let mut list = serializer.serialize_seq(Some(elements.len()))?;
                for element in elements {
                    list.serialize_element(&Self(element))?;
                }
                list.end()
            }
            Value::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (key, value) in members {
                    map.serialize_entry(key, &Self(value))?;
                }
                map.end()
            }
            Value::String(text) if !text.chars().all(is_printable) => {
                DoubleQuoted(text.as_str()).serialize(serializer)
            }
            other => other.serialize(serializer),
        }
    }
}
