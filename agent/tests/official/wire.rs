//! What two clients sent, made comparable: everything counts, except what is named here with its reason.

use std::collections::BTreeMap;

use cwii_lab::{RecordedRequest, Service};
use serde_json::Value;

/// Headers that each client has in its own way.
const OWN_HEADERS: [&str; 11] = [
    "accept",          // one format each, but for container credentials, where it is compared
    "accept-encoding", // what the client can decompress
    "amz-sdk-invocation-id", // a random number
    "amz-sdk-request", // counts the tries
    "connection",      // keep-alive, which HTTP/1.1 means anyway
    "content-length",  // follows from the body, whose parameters are compared
    "user-agent",      // names the client
    "x-amz-date",      // the time of the signature
    "x-amz-user-agent", // names the client
    "x-goog-api-client", // names the client
    "x-ms-client-request-id", // a random number
];

/// One request as lines, so that a difference can be shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Call {
    title: String,
    lines: Vec<String>,
}

/// The exchange that these requests are. Tries that repeat the one before are no difference: how often a client tries
/// is its own affair. Requests to the issuer are left out: the agent alone looks there, after a denial, to tell why.
pub(crate) fn exchange(requests: &[RecordedRequest]) -> Vec<Call> {
    let mut calls: Vec<Call> = requests
        .iter()
        .filter(|request| !request.internal && request.service != Service::Issuer)
        .map(Call::of)
        .collect();
    calls.dedup();
    calls
}

/// How two exchanges differ; empty when they do not.
pub(crate) fn difference(agent: &[Call], client: &[Call]) -> String {
    let mut text = String::new();
    for index in 0..agent.len().max(client.len()) {
        let (ours, theirs) = (agent.get(index), client.get(index));
        if ours == theirs {
            continue;
        }
        let lines = |call: Option<&Call>| call.map(Call::all).unwrap_or_default();
        let (ours, theirs) = (lines(ours), lines(theirs));
        text.push_str(&format!("    request {}\n", index + 1));
        for line in ours.iter().filter(|line| !theirs.contains(line)) {
            text.push_str(&format!("      agent only:  {line}\n"));
        }
        for line in theirs.iter().filter(|line| !ours.contains(line)) {
            text.push_str(&format!("      client only: {line}\n"));
        }
    }
    text
}

impl Call {
    fn of(request: &RecordedRequest) -> Self {
        let mut lines = Vec::new();
        let mut put = |kind: &str, pairs: &[(String, String)]| {
            let mut sorted: Vec<_> = pairs.iter().map(|pair| parameter(kind, pair)).collect();
            sorted.sort();
            lines.extend(sorted);
        };
        put("query", &request.query);
        put("form", &request.form);
        lines.extend(
            request
                .json
                .as_ref()
                .map(|body| format!("json {}", without_nulls(body))),
        );
        lines.extend(headers(request.service, &request.headers));
        Self {
            title: format!("{} {} {}", request.service, request.method, request.path),
            lines,
        }
    }

    fn all(&self) -> Vec<String> {
        std::iter::once(&self.title)
            .chain(&self.lines)
            .cloned()
            .collect()
    }
}

fn parameter(kind: &str, (name, value): &(String, String)) -> String {
    // Made up by the client where no variable gives it: the second of the call, after the client's own prefix.
    let generated = ["botocore-session-", "cwii-verify-"].iter().any(|prefix| {
        value
            .strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    });
    if name == "RoleSessionName" && generated {
        return format!("{kind} {name}=<generated>");
    }
    format!("{kind} {name}={value}")
}

/// In the JSON of Google's APIs a member that is null is a member that is absent (google-auth sends `delegates: null`).
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut kept: Vec<_> = members
                .iter()
                .filter(|(_, member)| !member.is_null())
                .map(|(name, member)| (name.clone(), without_nulls(member)))
                .collect();
            kept.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(kept.into_iter().collect())
        }
        value => value.clone(),
    }
}

fn headers(service: Service, headers: &BTreeMap<String, String>) -> Vec<String> {
    headers
        .iter()
        .filter(|(name, _)| {
            let compared = *name == "accept" && service == Service::PodIdentity;
            compared || !OWN_HEADERS.contains(&name.as_str())
        })
        .map(|(name, value)| format!("header {name}: {}", header(name, value)))
        .collect()
}

fn header(name: &str, value: &str) -> String {
    match name {
        // botocore names the character set, which the form's percent-encoding leaves no room for.
        "content-type" => value
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned(),
        // Credentials that each client got for itself; that they are there, and for what, is compared.
        "x-amz-security-token" => "<its own>".to_owned(),
        "authorization" => match value.split_once(' ') {
            Some(("Bearer", _)) => "Bearer <its own>".to_owned(),
            Some(("AWS4-HMAC-SHA256", fields)) => {
                let scope: Vec<_> = fields
                    .split_once(',')
                    .map_or(fields, |(credential, _)| credential)
                    .split('/')
                    .skip(2)
                    .collect();
                format!("AWS4-HMAC-SHA256 <its own> for {}", scope.join("/"))
            }
            // The ServiceAccount token of EKS Pod Identity, replaced by its hash: the same for both.
            _ => value.to_owned(),
        },
        _ => value.to_owned(),
    }
}
