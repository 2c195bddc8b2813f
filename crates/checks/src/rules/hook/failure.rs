//! What the API server said about a webhook that it could not call, as events keep it.

use serde_json::Value;

use super::webhook::{Webhook, Wish};
use crate::{
    doctor::{Case, Gap, Object},
    report::Finding,
};

/// Why a call failed, by what has to be looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reason {
    /// The certificate.
    Certificate,
    /// Nobody behind the Service.
    Endpoints,
    /// The way there.
    Network,
}

/// The latest event about a failed call of this webhook for this reason. Of a pod that has its injection events tell
/// nothing: a later attempt worked.
pub(super) fn latest<'a>(
    case: &Case<'a>,
    wish: &Wish<'_>,
    webhook: &Webhook<'_>,
    reason: Reason,
) -> Result<Option<&'a Object>, Gap> {
    if !wish.lacking() {
        return Ok(None);
    }
    let Some(events) = case.events()? else {
        return Ok(None);
    };
    let called = format!("failed calling webhook \"{}\"", webhook.name());
    Ok(events
        .iter()
        .filter(|event| {
            let message = message(event);
            message.contains(&called) && of(message) == Some(reason)
        })
        .max_by_key(|event| time(event).map(str::to_owned)))
}

/// Adds an event to a finding.
pub(super) fn quoted(finding: Finding, event: &Object) -> Finding {
    let about = |member: &str| {
        event
            .text(&format!("/involvedObject/{member}"))
            .or_else(|| event.text(&format!("/regarding/{member}")))
            .unwrap_or_default()
    };
    finding.evidence_from(
        "event",
        message(event),
        format!(
            "{} {}{}",
            about("kind").to_lowercase(),
            about("name"),
            time(event).map_or_else(String::new, |time| format!(" at {time}"))
        ),
    )
}

fn message(event: &Object) -> &str {
    event
        .text("/message")
        .or_else(|| event.text("/note"))
        .unwrap_or_default()
}

/// RFC 3339, so that texts compare as times do.
fn time(event: &Object) -> Option<&str> {
    [
        "/series/lastObservedTime",
        "/lastTimestamp",
        "/deprecatedLastTimestamp",
        "/eventTime",
    ]
    .into_iter()
    .find_map(|pointer| event.get(pointer).and_then(Value::as_str))
}

fn of(message: &str) -> Option<Reason> {
    let has = |parts: &[&str]| parts.iter().any(|part| message.contains(part));
    if has(&["x509:", "tls: failed to verify certificate"]) {
        Some(Reason::Certificate)
    } else if has(&["no endpoints available for service", "not found"]) {
        Some(Reason::Endpoints)
    } else if has(&[
        "context deadline exceeded",
        "Client.Timeout exceeded",
        "i/o timeout",
        "EOF",
        "connection refused",
        "connection reset by peer",
        "no route to host",
    ]) {
        Some(Reason::Network)
    } else {
        None
    }
}
