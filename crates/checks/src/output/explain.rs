//! Explanations for people and for machines.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    machine,
    model::{Level, Schema},
    reference::Check,
    stage::Stage,
    text::{Style, Tone},
};
use crate::{catalogue::Entry, doctor::rule, explain::Meaning};

/// An explanation as a document.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[schemars(title = "cwii explanation")]
pub struct Explained {
    /// What this document is.
    pub schema: Schema,
    /// What the errors mean; empty where a code was asked about.
    pub errors: Vec<ExplainedError>,
    /// The codes, with their documentation in Markdown.
    pub checks: Vec<ExplainedCheck>,
}

/// What one error means.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
pub struct ExplainedError {
    /// Who says it.
    pub source: &'static str,
    /// The line that it was recognised by.
    pub line: String,
    /// The meaning.
    pub meaning: String,
    /// What to do.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub fix: &'static str,
    /// The codes to look at, the likeliest first.
    pub codes: Vec<&'static str>,
}

/// One code and its documentation.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
pub struct ExplainedCheck {
    /// The code as the catalogue has it.
    #[serde(flatten)]
    pub check: Check,
    /// Markdown.
    pub documentation: String,
}

impl Explained {
    /// The document for errors, or for codes.
    #[must_use]
    pub fn new(errors: &[Meaning], checks: &[&'static Entry]) -> Self {
        Self {
            schema: Schema {
                name: "cwii.explanation",
                version: "1.0",
            },
            errors: errors
                .iter()
                .map(|meaning| ExplainedError {
                    source: meaning.source,
                    line: meaning.line.clone(),
                    meaning: meaning.meaning.clone(),
                    fix: meaning.fix,
                    codes: meaning.codes.iter().map(|entry| entry.code).collect(),
                })
                .collect(),
            checks: checks
                .iter()
                .map(|entry| ExplainedCheck {
                    check: Check::new(entry),
                    documentation: rule(entry.code)
                        .map(|rule| rule.documentation().markdown())
                        .unwrap_or_default(),
                })
                .collect(),
        }
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> String {
        machine::json(self)
    }

    /// As YAML.
    #[must_use]
    pub fn yaml(&self) -> String {
        machine::yaml(self)
    }
}

/// The documentation of a code on a terminal.
#[must_use]
pub fn check(entry: &Entry, style: &Style) -> String {
    let mut out = String::new();
    let head = format!(
        "{}[{}]: {}",
        Level::from(entry.severity).name(),
        entry.code,
        style.show(entry.title)
    );
    for line in style.wrap("", &head, "  ") {
        let _ = writeln!(out, "{}", style.paint(Tone::Strong, &line));
    }
    let about = format!(
        "{}{}stage {}",
        entry.name,
        style.dot(),
        Stage::of(entry.code).name()
    );
    let _ = writeln!(out, "{}\n", style.paint(Tone::Faint, &about));
    if let Some(rule) = rule(entry.code) {
        out.push_str(markdown(&rule.documentation().markdown(), style).trim_end());
        out.push('\n');
    }
    out
}

/// What errors mean, on a terminal.
#[must_use]
pub fn meanings(meanings: &[Meaning], style: &Style) -> String {
    let mut out = String::new();
    for (index, meaning) in meanings.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        let source = format!("{} says:", meaning.source);
        let _ = writeln!(out, "{}", style.paint(Tone::Strong, &source));
        // The raw text always: numbers and words of the clouds may change.
        for line in style.wrap("  | ", &style.show(&meaning.line), "  | ") {
            let _ = writeln!(out, "{line}");
        }
        for line in style.wrap("  = ", &style.show(&meaning.meaning), "    ") {
            let _ = writeln!(out, "{line}");
        }
        if !meaning.fix.is_empty() {
            for line in style.wrap("help: ", &style.show(meaning.fix), "      ") {
                let _ = writeln!(out, "{line}");
            }
        }
        if meaning.codes.is_empty() {
            let _ = writeln!(out, "  no setting causes it");
            continue;
        }
        let _ = writeln!(out, "look at:");
        for entry in &meaning.codes {
            let lead = format!("  {:<6}  ", entry.code);
            for line in style.wrap(&lead, &style.show(entry.title), "          ") {
                let _ = writeln!(out, "{line}");
            }
        }
        if let Some(entry) = meaning.codes.first() {
            let more = format!("  more: kubectl cwii explain {}", entry.code);
            let _ = writeln!(out, "{}", style.paint(Tone::Faint, &more));
        }
    }
    out
}

/// Markdown laid out for a terminal: paragraphs and lists wrapped, headings set off, code as it stands.
fn markdown(text: &str, style: &Style) -> String {
    let mut out = String::new();
    let mut paragraph = String::new();
    let mut lead = "";
    let mut fenced = false;
    let flush = |out: &mut String, paragraph: &mut String, lead: &str| {
        if !paragraph.is_empty() {
            let indent = " ".repeat(lead.len());
            for line in style.wrap(lead, &style.show(paragraph), &indent) {
                let _ = writeln!(out, "{line}");
            }
            paragraph.clear();
        }
    };
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.starts_with("```") {
            flush(&mut out, &mut paragraph, lead);
            fenced = !fenced;
        } else if fenced || trimmed.starts_with('|') {
            flush(&mut out, &mut paragraph, lead);
            let indent = if fenced { "    " } else { "" };
            let _ = writeln!(
                out,
                "{}",
                format!("{indent}{}", style.show(line)).trim_end()
            );
        } else if trimmed.is_empty() {
            flush(&mut out, &mut paragraph, lead);
            lead = "";
            if !out.ends_with("\n\n") {
                out.push('\n');
            }
        } else if let Some(heading) = trimmed.strip_prefix("## ") {
            flush(&mut out, &mut paragraph, lead);
            let _ = writeln!(out, "{}", style.paint(Tone::Strong, &style.show(heading)));
        } else if let Some(item) = line.strip_prefix("- ") {
            flush(&mut out, &mut paragraph, lead);
            lead = "- ";
            paragraph.push_str(item);
        } else {
            if !paragraph.is_empty() {
                paragraph.push(' ');
            }
            paragraph.push_str(trimmed);
        }
    }
    flush(&mut out, &mut paragraph, lead);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{catalogue, explain::Explanation, output::text::width};

    #[test]
    fn the_documentation_is_wrapped_and_keeps_its_code() {
        let style = Style {
            width: 60,
            ..Style::default()
        };
        let text = markdown(
            "A first paragraph\nthat goes on for more than one line of this narrow page.\n\n## How it looks\n\n```text\nleft   alone\n```\n\n- an item that is longer than the page is wide, so it is wrapped\n- another\n",
            &style,
        );
        assert_eq!(
            text,
            "\
A first paragraph that goes on for more than one line of
this narrow page.

How it looks

    left   alone

- an item that is longer than the page is wide, so it is
  wrapped
- another
"
        );
    }

    #[test]
    fn every_code_can_be_explained_within_the_page() {
        let style = Style::default();
        for entry in catalogue::entries() {
            let text = check(entry, &style);
            assert!(text.contains(entry.name), "{}", entry.code);
            for line in text.lines() {
                // Code and addresses stand as they are: what cannot be broken stays whole.
                assert!(
                    width(line) <= 100
                        || line.starts_with("    ")
                        || !line.trim().trim_start_matches("- ").contains(' '),
                    "{}: {line}",
                    entry.code
                );
            }
        }
    }

    #[test]
    fn an_error_is_shown_with_its_own_words_escaped() {
        let Explanation::Errors(found) =
            crate::explain::explain("AADSTS700213: No match \u{1b}[31mred")
        else {
            panic!("an error");
        };
        let text = meanings(&found, &Style::default());
        assert!(
            text.contains("  | AADSTS700213: No match \\u{1b}[31mred\n"),
            "{text}"
        );
        assert!(text.contains("  AZ05    "), "{text}");
        let document = Explained::new(&found, &[]);
        assert_eq!(document.errors[0].codes[0], "AZ05");
        let schema =
            jsonschema::validator_for(schemars::schema_for!(Explained).as_value()).unwrap();
        assert!(schema.is_valid(&serde_json::from_str(&document.json()).unwrap()));
    }
}
