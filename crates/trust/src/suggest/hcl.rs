//! As much of Terraform's language as suggestions are written in.
//! Source: Terraform documentation, "Configuration Language", syntax and strings.

use std::fmt::Write as _;

use serde_json::Value;

/// A block: `resource "aws_iam_role" "checkout" { … }`.
pub(super) struct Block {
    head: String,
    body: Vec<(String, Item)>,
}

enum Item {
    /// An expression, as it is to stand there.
    Expression(String),
    /// A block inside.
    Block(Block),
}

impl Block {
    pub(super) fn new(kind: &str, labels: &[&str]) -> Self {
        let mut head = kind.to_owned();
        for label in labels {
            head.push_str(&format!(" {}", text(label)));
        }
        Self {
            head,
            body: Vec::new(),
        }
    }

    pub(super) fn set(self, name: &str, value: &str) -> Self {
        self.raw(name, text(value))
    }

    pub(super) fn list(self, name: &str, values: &[&str]) -> Self {
        let values: Vec<String> = values.iter().map(|value| text(value)).collect();
        self.raw(name, format!("[{}]", values.join(", ")))
    }

    /// A reference, or another expression.
    pub(super) fn raw(mut self, name: &str, expression: impl Into<String>) -> Self {
        self.body
            .push((name.to_owned(), Item::Expression(expression.into())));
        self
    }

    /// JSON as it stands, for an attribute that wants it as text.
    pub(super) fn json(self, name: &str, document: &Value) -> Self {
        let mut lines = String::from("<<-JSON\n");
        for line in format!("{document:#}").lines() {
            let _ = writeln!(lines, "    {}", literal(line));
        }
        lines.push_str("  JSON");
        self.raw(name, lines)
    }

    pub(super) fn block(mut self, block: Self) -> Self {
        self.body.push((String::new(), Item::Block(block)));
        self
    }

    fn print(&self, indent: usize, out: &mut String) {
        let pad = " ".repeat(indent);
        let _ = writeln!(out, "{pad}{} {{", self.head);
        let width = self
            .body
            .iter()
            .map(|(name, _)| name.len())
            .max()
            .unwrap_or_default();
        for (name, item) in &self.body {
            match item {
                Item::Expression(expression) => {
                    let _ = writeln!(out, "{pad}  {name:width$} = {expression}");
                }
                Item::Block(block) => block.print(indent + 2, out),
            }
        }
        let _ = writeln!(out, "{pad}}}");
    }
}

/// Blocks with an empty line in between.
pub(super) fn file(blocks: &[Block]) -> String {
    let blocks: Vec<String> = blocks
        .iter()
        .map(|block| {
            let mut text = String::new();
            block.print(0, &mut text);
            text
        })
        .collect();
    blocks.join("\n")
}

/// A quoted string in which nothing is interpolated.
pub(super) fn text(value: &str) -> String {
    let mut out = String::from("\"");
    for c in literal(value).chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A label: letters, digits, `_` and `-`, beginning with a letter or `_`.
pub(super) fn label(name: &str) -> String {
    let label: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    if label.starts_with(|c: char| c.is_ascii_alphabetic()) {
        label
    } else {
        format!("_{label}")
    }
}

fn literal(value: &str) -> String {
    value.replace("${", "$${").replace("%{", "%%{")
}
