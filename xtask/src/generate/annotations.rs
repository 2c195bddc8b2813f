//! The annotations, from the contract's own table.

use std::fmt::Write as _;

use cwii_contract::{
    Provider,
    annotations::{ANNOTATIONS, Annotation, ValueKind},
    names,
};

use super::cell;

/// What the reader sets, what the webhook writes, and the keys of the clouds' own webhooks.
pub(super) fn keys() -> String {
    let mut out = String::from("| key | value | default | meaning |\n|---|---|---|---|\n");
    for row in inputs() {
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} |",
            row.key,
            value(row.kind),
            default(row),
            cell(row.meaning)
        );
    }
    out
}

/// What the webhook writes.
pub(super) fn outputs() -> String {
    let mut out = String::from("| key | meaning |\n|---|---|\n");
    for row in ANNOTATIONS
        .iter()
        .filter(|row| row.kind == ValueKind::Output)
    {
        let _ = writeln!(out, "| `{}` | {} |", row.key, cell(row.meaning));
    }
    out
}

/// The keys of the clouds' own webhooks.
pub(super) fn native() -> String {
    let mut out = String::from("| key of the cloud's own webhook | read as |\n|---|---|\n");
    for row in ANNOTATIONS {
        for (provider, native) in row.native {
            let _ = writeln!(out, "| `{native}` | `{}` |", row.full_key(*provider));
        }
    }
    out
}

fn inputs() -> impl Iterator<Item = &'static Annotation> {
    ANNOTATIONS
        .iter()
        .filter(|row| row.kind != ValueKind::Output)
}

fn value(kind: ValueKind) -> String {
    match kind {
        ValueKind::Bool => "`true`, `false`".into(),
        ValueKind::Seconds { least, most } => format!("seconds, {least} to {most}"),
        ValueKind::Word(words) => words
            .iter()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(", "),
        ValueKind::Names => "names, separated by commas".into(),
        _ => "text".into(),
    }
}

/// The value, or the flags of the webhook that decide; both where a flag has the last word.
fn default(row: &Annotation) -> String {
    let mut defaults: Vec<String> = row.default.map(|v| format!("`{v}`")).into_iter().collect();
    if row.is_per_provider() && row.key == cwii_contract::annotations::AUDIENCE.key {
        for provider in Provider::ALL {
            if let Some(audience) = names::default_audience(provider) {
                defaults.push(format!("{}: `{audience}`", provider.as_str()));
            }
        }
    }
    for (provider, flag) in row.flags {
        defaults.push(if row.is_per_provider() {
            format!("{}: the webhook's `{flag}`", provider.as_str())
        } else {
            format!("the webhook's `{flag}`")
        });
    }
    if row.flags.is_empty() || defaults.len() > 1 || row.default.is_some() {
        defaults.join("; ")
    } else {
        format!("{}, else none", defaults.join("; "))
    }
}
