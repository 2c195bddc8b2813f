//! Machine-readable documents.

use cwii_agent::output::printable;
use serde::Serialize;

/// One JSON document, indented, without a line end after it. What a terminal would obey is escaped, which changes no value.
///
/// # Errors
///
/// A value that JSON cannot hold.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(escaped(&serde_json::to_string_pretty(value)?))
}

/// One YAML document, without a line end after it.
///
/// # Errors
///
/// A value that YAML cannot hold.
pub(crate) fn yaml(value: &impl Serialize) -> anyhow::Result<String> {
    // Through JSON, so that both hold the same members in the same order.
    let value = serde_json::to_value(value)?;
    let text = serde_saphyr::to_string(&value)?;
    if text.chars().any(is_obeyed) {
        // JSON is YAML, and can escape anything.
        return json(&value);
    }
    Ok(text.trim_end().to_owned())
}

/// JSON with every character escaped that could change what a terminal shows. They stand in strings only.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if is_obeyed(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            text.push(c);
        }
    }
    text
}

fn is_obeyed(c: char) -> bool {
    c != '\n' && printable(c.encode_utf8(&mut [0; 4])).len() != c.len_utf8()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped_and_the_value_stays() {
        let value = serde_json::json!({ "a": "\u{1b}[1m\u{9b}\u{202e}é\n\u{e0001}" });
        for text in [json(&value).unwrap(), yaml(&value).unwrap()] {
            assert!(!text.chars().any(is_obeyed), "{text:?}");
            let back: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
            assert_eq!(back, value);
        }
        assert_eq!(yaml(&serde_json::json!({ "a": "b" })).unwrap(), "a: b");
    }
}
