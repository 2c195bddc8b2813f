//! What is generated of the values' description: `values.yaml`, its schema, the reference page, and `Chart.yaml`.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::values::Values;

/// Paths below the workspace's root, and contents.
pub(crate) fn files() -> Result<Vec<(String, String)>> {
    let schema = accepted()?;
    Ok(vec![
        (format!("{CHART}/Chart.yaml"), chart()),
        (format!("{CHART}/values.yaml"), values_yaml(&schema)),
        (
            format!("{CHART}/values.schema.json"),
            format!("{:#}\n", with_global(schema.clone())),
        ),
        (REFERENCE.into(), reference(&schema)),
    ])
}

/// The schema of the values.
pub(super) fn accepted() -> Result<Value> {
    schema(&serde_json::to_value(Values::default())?)
}

/// The chart's folder.
pub(crate) const CHART: &str = "charts/cwii";

fn chart() -> String {
    format!(
        "{GENERATED}
apiVersion: v2
name: cwii
description: Injects workload identity federation for AWS, Google Cloud and Entra ID into pods, and verifies it.
type: application
version: {VERSION}
appVersion: {VERSION}
kubeVersion: \">=1.33.0-0\"
home: {HOME}
sources:
  - {HOME}
keywords: [workload identity, federation, irsa, admission webhook, aws, azure, gcp]
annotations:
  artifacthub.io/license: {LICENSE}
"
    )
}

/// JSON Schema, draft 7, which all versions of Helm know. Everything is refused that is not described, and each default is
/// in it.
fn schema(defaults: &Value) -> Result<Value> {
    let settings = SchemaSettings::draft07().with(|s| s.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<Values>();
    let mut schema = schema.to_value();
    let root = schema.as_object_mut().context("the schema is no object")?;
    root.insert("title".into(), "Values of the chart cwii".into());
    tidy(&mut schema, Some(defaults), false);
    Ok(schema)
}

/// Puts the default in, takes out what Helm has no use for, and joins the lines of descriptions.
///
/// Members of the chart's own objects are not required: whoever sets one to null takes it out.
fn tidy(schema: &mut Value, default: Option<&Value>, is_item: bool) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    object.remove("format");
    if let Some(Value::String(text)) = object.get_mut("description") {
        *text = text.replace('\n', " ");
    }
    if !is_item {
        object.remove("required");
    }
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        for (name, property) in properties {
            tidy(property, default.and_then(|d| d.get(name)), is_item);
        }
    } else if let Some(default) = default {
        object.insert("default".into(), default.clone());
    }
    if let Some(items) = object.get_mut("items") {
        tidy(items, None, true);
    }
    if let Some(values) = object.get_mut("additionalProperties") {
        tidy(values, None, true);
    }
}

/// Helm gives every chart that another one depends on a `global`.
fn with_global(mut schema: Value) -> Value {
    schema["properties"]["global"] = json!({
        "description": "Values that Helm hands to every chart of which another one is made; not read.",
        "type": "object",
    });
    schema
}

fn values_yaml(schema: &Value) -> String {
    let mut out = format!("# yaml-language-server: $schema=values.schema.json\n{GENERATED}\n");
    for (name, property) in members(schema) {
        out.push('\n');
        yaml(&mut out, name, property, 0);
    }
    out
}

fn yaml(out: &mut String, name: &str, schema: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    for line in wrap(&description(schema), 100 - indent.len()) {
        let _ = writeln!(out, "{indent}# {line}");
    }
    if schema.get("properties").is_some() {
        let _ = writeln!(out, "{indent}{name}:");
        for (name, property) in members(schema) {
            yaml(out, name, property, depth + 1);
        }
    } else {
        value(out, name, &schema["default"], depth);
    }
}

/// A key and its value; lists and maps one member per line.
fn value(out: &mut String, name: &str, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(map) if !map.is_empty() => {
            let _ = writeln!(out, "{indent}{name}:");
            for (key, value) in map {
                self::value(out, &scalar(&Value::String(key.clone())), value, depth + 1);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            let _ = writeln!(out, "{indent}{name}:");
            for item in list {
                let _ = writeln!(out, "{indent}  - {}", scalar(item));
            }
        }
        _ => {
            let _ = writeln!(out, "{indent}{name}: {}", scalar(value));
        }
    }
}

/// Plain where YAML reads a plain text as that text, else as JSON, which is YAML.
fn scalar(value: &Value) -> String {
    let is_word = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
            && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
                .contains(&text.to_ascii_lowercase().as_str())
    };
    let is_amount = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_digit())
            && text.ends_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(|c| c.is_ascii_alphanumeric())
            && !text.contains(['e', 'E', 'x', 'o', 'b'])
    };
    match value {
        Value::String(text) if is_word(text) || is_amount(text) => text.clone(),
        other => other.to_string(),
    }
}

fn reference(schema: &Value) -> String {
    let mut out = format!(
        "# Chart values\n\nOf the chart `oci://ghcr.io/cwii-dev/charts/cwii`, version {VERSION}. A key that is not here, or a \
         value of another type, is refused by Helm before anything is rendered. Generated from the sources by `cargo xtask \
         generate`.\n"
    );
    let mut general = String::new();
    let mut sections = String::new();
    for (name, property) in members(schema) {
        if property.get("properties").is_some() {
            let _ = write!(
                sections,
                "\n## `{name}`\n\n{}\n\n{HEAD}",
                cell(&description(property))
            );
            rows(&mut sections, name, property);
        } else {
            rows(&mut general, name, property);
        }
    }
    let _ = write!(out, "\n## General\n\n{HEAD}{general}{sections}");
    out
}

fn rows(out: &mut String, path: &str, schema: &Value) {
    if schema.get("properties").is_some() {
        for (name, property) in members(schema) {
            rows(out, &format!("{path}.{name}"), property);
        }
        return;
    }
    let _ = writeln!(
        out,
        "| `{path}` | {} | {} | {} |",
        kind(schema),
        match &schema["default"] {
            Value::String(text) if text.is_empty() => String::new(),
            default => format!("`{}`", scalar(default)),
        },
        cell(&description(schema))
    );
}

/// The type, in words.
fn kind(schema: &Value) -> String {
    let types: Vec<&str> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        Value::String(kind) => vec![kind],
        _ => Vec::new(),
    };
    let word = |kind: &str| match kind {
        "array" => match schema["items"]["type"].as_str() {
            Some("string") => "list of strings",
            Some("integer") => "list of integers",
            _ => "list of objects",
        },
        "object" if schema["additionalProperties"]["type"] == "string" => "map of strings",
        "object" => "object",
        "string" => "string",
        "boolean" => "boolean",
        "integer" => "integer",
        "number" => "number",
        _ => "null",
    };
    types.into_iter().map(word).collect::<Vec<_>>().join(" or ")
}

/// What a value is for, and what it may be.
fn description(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    let Some(choices) = schema["enum"].as_array() else {
        return text.to_owned();
    };
    let choices: Vec<String> = choices
        .iter()
        .filter_map(Value::as_str)
        .map(|choice| format!("`{choice}`"))
        .collect();
    format!("{text} One of {}.", choices.join(", "))
}

fn members(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    schema["properties"].as_object().unwrap_or(&NONE).iter()
}

/// Text in a table: `|` ends a cell, and `<p>` would be markup outside of code.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

const REFERENCE: &str = "docs/src/reference/chart-values.md";
const GENERATED: &str = "# Generated by `cargo xtask generate` from xtask/src/chart.";
const HEAD: &str = "| value | type | default | meaning |\n|---|---|---|---|\n";
const VERSION: &str = env!("CARGO_PKG_VERSION");
const HOME: &str = env!("CARGO_PKG_REPOSITORY");
const LICENSE: &str = env!("CARGO_PKG_LICENSE");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_values_yaml_says_is_what_the_description_says() {
        let defaults = serde_json::to_value(Values::default()).unwrap();
        let text = values_yaml(&schema(&defaults).unwrap());
        let read: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read, defaults);
    }

    #[test]
    fn every_value_is_described_and_nothing_else_is_accepted() {
        fn walk(path: &str, schema: &Value) {
            if schema.get("properties").is_some() {
                assert_eq!(schema["additionalProperties"], false, "{path}");
            }
            for (name, property) in members(schema) {
                let path = format!("{path}.{name}");
                assert!(!description(property).is_empty(), "{path}");
                walk(&path, property);
            }
        }
        let defaults = serde_json::to_value(Values::default()).unwrap();
        walk("", &schema(&defaults).unwrap());
    }
}
