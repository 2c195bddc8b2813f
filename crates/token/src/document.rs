//! JSON documents that an issuer publishes, and the usual things that are served in their place.

use cwii_contract::types::shorten;
use serde_json::{Map, Value};

/// Why bytes are not the document that they should be: a key set or a discovery document.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// Nothing at all.
    #[error("expected {expected}, found nothing")]
    Empty {
        /// The document that was expected: `a JWKS`.
        expected: &'static str,
    },
    /// Something else than JSON.
    #[error("expected {expected}, found {found}")]
    NotJson {
        /// The document that was expected.
        expected: &'static str,
        /// What it looks like: `an HTML page`, `an XML document (AccessDenied)`.
        found: String,
    },
    /// JSON, but not an object.
    #[error("expected {expected}, found {found}")]
    NotAnObject {
        /// The document that was expected.
        expected: &'static str,
        /// The type found: `an array`.
        found: &'static str,
    },
    /// An object without a member that makes it the expected document.
    #[error("expected {expected}, found {found} without `{member}`")]
    MissingMember {
        /// The document that was expected.
        expected: &'static str,
        /// The member that is missing.
        member: &'static str,
        /// What the object looks like: `a discovery document`, or its members.
        found: String,
    },
    /// A member of another type.
    #[error("{expected} has {expected_type} in `{member}`, found {found}")]
    WrongType {
        /// The document that was expected.
        expected: &'static str,
        /// Where: `keys`, `keys[3]`.
        member: String,
        /// The type expected there: `an array`.
        expected_type: &'static str,
        /// The type found: `an object`.
        found: &'static str,
    },
}

/// Parses an object, or says what was found in its place.
pub(crate) fn parse_object(
    bytes: &[u8],
    expected: &'static str,
) -> Result<Map<String, Value>, DocumentError> {
    if bytes.trim_ascii().is_empty() {
        return Err(DocumentError::Empty { expected });
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(other) => Err(DocumentError::NotAnObject {
            expected,
            found: type_name(&other),
        }),
        Err(error) => Err(DocumentError::NotJson {
            expected,
            found: describe(bytes, &error),
        }),
    }
}

/// An error for an object that lacks what makes it the expected document.
pub(crate) fn missing(
    members: &Map<String, Value>,
    expected: &'static str,
    member: &'static str,
) -> DocumentError {
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let found = if members.contains_key("jwks_uri") || members.contains_key("issuer") {
        "a discovery document".to_owned()
    } else if members.contains_key("kty") {
        "a single JSON Web Key".to_owned()
    } else if members.contains_key("keys") {
        "a JWKS".to_owned()
    } else if text("kind") == Some("Status") {
        format!(
            "a Kubernetes `Status` ({})",
            shorten(text("message").or(text("reason")).unwrap_or("no message"))
        )
    } else if members.is_empty() {
        "an empty object".to_owned()
    } else {
        let names: Vec<String> = members
            .keys()
            .take(5)
            .map(|name| format!("`{}`", shorten(name)))
            .collect();
        format!("an object of {}", names.join(", "))
    };
    DocumentError::MissingMember {
        expected,
        member,
        found: if found == expected {
            "one".to_owned()
        } else {
            found
        },
    }
}

/// The JSON type of a value, with its article.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn describe(bytes: &[u8], error: &serde_json::Error) -> String {
    let without_mark = bytes.strip_prefix(b"\xef\xbb\xbf");
    let start = without_mark.unwrap_or(bytes).trim_ascii_start();
    let start = &start[..start.len().min(2048)];
    let text = String::from_utf8_lossy(start);
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("<!doctype html") || lower.starts_with("<html") {
        "an HTML page".to_owned()
    } else if text.starts_with('<') {
        // Object stores answer so; their code is the most telling word of it.
        match between(&text, "<Code>", "</Code>") {
            Some(code) => format!("an XML document ({})", shorten(code)),
            None => "an XML document".to_owned(),
        }
    } else if text.starts_with("-----BEGIN") {
        "a PEM file".to_owned()
    } else if start.starts_with(&[0x1f, 0x8b]) {
        "gzip data".to_owned()
    } else if without_mark.is_some() {
        "JSON behind a byte order mark".to_owned()
    } else if std::str::from_utf8(bytes).is_err() {
        "bytes that are not UTF-8".to_owned()
    } else if error.is_eof() {
        format!("JSON that is cut off ({error})")
    } else {
        format!("text that is not JSON ({error})")
    }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    Some(text.split_once(start)?.1.split_once(end)?.0)
}
