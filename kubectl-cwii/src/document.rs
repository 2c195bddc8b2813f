//! Machine-readable documents.

use serde::Serialize;

/// One JSON document, indented, without a line end after it.
///
/// # Errors
///
/// A value that JSON cannot hold.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)?)
}

/// One YAML document, without a line end after it.
///
/// # Errors
///
/// A value that YAML cannot hold.
pub(crate) fn yaml(value: &impl Serialize) -> anyhow::Result<String> {
    // Through JSON, so that both hold the same members in the same order.
    let value = serde_json::to_value(value)?;
    Ok(serde_saphyr::to_string(&value)?.trim_end().to_owned())
}
