//! What the servers received: requests and connections, kept in memory for tests to compare.
//!
//! A secret is replaced before it is stored, by its length and the beginning of its SHA-256: two requests that carried
//! the same token compare equal, and no way of printing a record can leak one.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::fault::Service;

/// A request that a service received, faults or not.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct RecordedRequest {
    /// The service.
    pub service: Service,
    /// Number of the connection that it came on; unique within the lab.
    pub connection: u64,
    /// Number of the request, in order of arrival over all services, from 0.
    pub sequence: u64,
    /// HTTP method.
    pub method: String,
    /// Path, percent-encoded as received, without the query.
    pub path: String,
    /// Query parameters, decoded, in order.
    pub query: Vec<(String, String)>,
    /// Form parameters of the body, decoded, in order; empty when the body is no form.
    pub form: Vec<(String, String)>,
    /// The body when it is JSON.
    pub json: Option<Value>,
    /// Headers in order of name, a repeated one joined by `, `.
    pub headers: BTreeMap<String, String>,
    /// Status of the answer; none when a fault kept it back.
    pub status: Option<u16>,
    /// Whether an emulated cloud asked (for keys), not a client.
    pub internal: bool,
}

/// A connection that a service accepted.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Connection {
    /// Number of the connection; unique within the lab.
    pub id: u64,
    /// The service.
    pub service: Service,
    /// Requests that were answered.
    pub requests: u32,
    /// Times the server had to wait for the client and answer it: one for TCP, one for each round of the TLS
    /// handshake, one for each answered request.
    pub round_trips: u32,
    /// Bytes received, TLS included.
    pub bytes_in: u64,
    /// Bytes sent, TLS included.
    pub bytes_out: u64,
    /// Whether an emulated cloud connected (for keys), not a client.
    pub internal: bool,
}

/// What a secret is replaced by: its length in bytes and the first 12 hex digits of its SHA-256.
#[must_use]
pub fn redact(secret: &str) -> String {
    let digest = Sha256::digest(secret.as_bytes());
    let hex: String = digest[..6].iter().map(|b| format!("{b:02x}")).collect();
    format!("[{} bytes, sha256 {hex}]", secret.len())
}

/// Replaces the value of a parameter that holds a secret.
pub(crate) fn parameter((name, value): &(String, String)) -> (String, String) {
    const SECRET: [&str; 7] = [
        "WebIdentityToken",
        "subject_token",
        "actor_token",
        "client_assertion",
        "client_secret",
        "assertion",
        "X-Amz-Security-Token",
    ];
    let value = if SECRET.contains(&name.as_str()) || looks_like_a_token(value) {
        redact(value)
    } else {
        value.clone()
    };
    (name.clone(), value)
}

/// Replaces the value of a header that holds a secret.
pub(crate) fn header(name: &str, value: &str) -> String {
    match name {
        "authorization" => match value.split_once(' ') {
            // The signature of a signed request proves possession and is good for minutes: hidden as well.
            Some((scheme @ "AWS4-HMAC-SHA256", rest)) => match rest.split_once("Signature=") {
                Some((fields, signature)) => {
                    format!("{scheme} {fields}Signature={}", redact(signature))
                }
                None => format!("{scheme} {}", redact(rest)),
            },
            Some((scheme @ ("Bearer" | "Basic"), rest)) => format!("{scheme} {}", redact(rest)),
            _ => redact(value),
        },
        "x-amz-security-token" | "cookie" | "proxy-authorization" => redact(value),
        _ if looks_like_a_token(value) => redact(value),
        _ => value.to_owned(),
    }
}

/// Replaces every string of a document that looks like a token or sits where one belongs.
pub(crate) fn document(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| match member {
                Value::String(text) => {
                    let (name, text) = parameter(&(name.clone(), text.clone()));
                    (name, Value::String(text))
                }
                member => (name.clone(), document(member)),
            })
            .collect(),
        Value::Array(items) => items.iter().map(document).collect(),
        Value::String(text) if looks_like_a_token(text) => Value::String(redact(text)),
        value => value.clone(),
    }
}

/// The path, in case somebody put a token there.
pub(crate) fn path(path: &str) -> String {
    if looks_like_a_token(path) {
        redact(path)
    } else {
        path.to_owned()
    }
}

fn looks_like_a_token(text: &str) -> bool {
    text.contains("eyJ") || text.contains("ya29.")
}

impl Serialize for Service {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_same_secret_is_replaced_by_the_same_text_and_a_newline_shows() {
        assert_eq!(redact("abc"), redact("abc"));
        assert_ne!(redact("abc"), redact("abc\n"));
        assert_eq!(redact("abc"), "[3 bytes, sha256 ba7816bf8f01]");
    }

    #[test]
    fn a_signed_request_keeps_its_scope_and_loses_its_signature() {
        let shown = header(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=ASIA/20260101/us-east-1/sts/aws4_request, SignedHeaders=host, Signature=abc",
        );
        assert!(shown.contains("Credential=ASIA/20260101"));
        assert!(shown.ends_with(&redact("abc")));
    }

    #[test]
    fn tokens_are_replaced_wherever_they_stand() {
        let shown = document(&json!({"subject_token": "x", "a": ["eyJhbGciOi"], "scope": "s"}));
        assert_eq!(
            shown,
            json!({"subject_token": redact("x"), "a": [redact("eyJhbGciOi")], "scope": "s"})
        );
        assert!(header("authorization", "eyJx.y.z").starts_with('['));
        assert!(header("authorization", "Bearer ya29.x").starts_with("Bearer ["));
    }
}
