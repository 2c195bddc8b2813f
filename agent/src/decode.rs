//! `token decode`: what a token says, unverified and without its signature.

use std::fmt::Write as _;

use cwii_token::{Token, span};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::output::printable;

/// A decoded token for people. Times are told in words, relative to `now`.
#[must_use]
pub fn text(token: &Token, now: Timestamp) -> String {
    let mut out = String::from(
        "UNVERIFIED: decoded only, the signature was not checked and is not shown\n\nheader\n",
    );
    for (name, value) in &token.header.members {
        member(&mut out, name, value, None);
    }
    out.push_str("claims\n");
    for (name, value) in &token.claims.members {
        let time = matches!(name.as_str(), "exp" | "iat" | "nbf")
            .then(|| value.as_i64())
            .flatten()
            .and_then(|seconds| Timestamp::from_second(seconds).ok());
        let words = time.map(|at| {
            let since = now.duration_since(at);
            let distance = span::humanize(since.abs());
            let words = if since.is_negative() {
                format!("in {distance}")
            } else {
                format!("{distance} ago")
            };
            format!("{at}, {words}")
        });
        member(&mut out, name, value, words);
    }
    let _ = writeln!(out, "fingerprint\n  SHA-256 {}…", token.fingerprint());
    out
}

/// A decoded token as one JSON document.
#[must_use]
pub fn json(token: &Token) -> Value {
    json!({
        "verified": false,
        "header": token.header.members,
        "claims": token.claims.members,
        "fingerprint": token.fingerprint(),
    })
}

fn member(out: &mut String, name: &str, value: &Value, words: Option<String>) {
    let value = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    let _ = write!(out, "  {:<14}  {}", printable(name), printable(&value));
    if let Some(words) = words {
        let _ = write!(out, " ({words})");
    }
    out.push('\n');
}
