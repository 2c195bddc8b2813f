//! Whether alerts and dashboard ask for what the webhook says: names of metrics and of their labels.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use cwii_contract::Provider;
use cwii_webhook::{
    kind::Kind,
    log::Dropped,
    metrics::{HandshakeFailure, Metrics, ReadResult, Request},
    rotation::Phase,
    watch::Caches,
};
use serde_json::Value;
use std::time::Duration;

/// Names of samples with their labels.
pub(super) type Samples = BTreeMap<String, BTreeSet<String>>;

/// What the webhook says, after everything has happened once.
pub(super) fn samples() -> Samples {
    let metrics = Metrics::new("0");
    let request = Request {
        outcome: "passed",
        reason: "nothing_requested",
    };
    metrics.request(request, Duration::from_millis(1));
    metrics.injection(Provider::Aws);
    metrics.handshake_failed(HandshakeFailure::Other);
    metrics.live_read(Kind::ServiceAccount, ReadResult::Found);
    metrics.set_certificate_expiry(1);
    metrics.count_certificate_reload(true);
    metrics.set_rotation(Phase::ALL[0]);
    metrics.set_certificate_check(1, true);
    let caches = Caches::new();
    let mut samples = Samples::new();
    for line in metrics.page(&caches, &Dropped::default()).lines() {
        let Some((series, _)) = line.rsplit_once(' ').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.trim_end_matches('}').split(',');
        samples.entry(name.to_owned()).or_default().extend(
            labels
                .filter_map(|label| label.split_once('='))
                .map(|(name, _)| name.to_owned()),
        );
    }
    // Has no value before the API server has said something.
    let kinds = samples.get("cwii_webhook_cache_synced").cloned();
    samples.insert(
        "cwii_webhook_cache_age_seconds".into(),
        kinds.unwrap_or_default(),
    );
    for (name, labels) in OF_THE_API_SERVER {
        let labels = labels.iter().map(|&label| label.to_owned()).collect();
        samples.insert((*name).to_owned(), labels);
    }
    samples
}

/// What the alerts of a PrometheusRule and the panels of a dashboard ask for that nobody says.
pub(super) fn unknown(objects: &[Value], samples: &Samples) -> Result<(usize, Vec<String>)> {
    let mut expressions = Vec::new();
    for object in objects {
        for rule in object["spec"]["groups"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|group| group["rules"].as_array().into_iter().flatten())
        {
            let name = rule["alert"].as_str().unwrap_or_default().to_owned();
            expressions.push((name, rule["expr"].as_str().unwrap_or_default().to_owned()));
        }
        if let Some(dashboard) = object.pointer("/data/cwii.json").and_then(Value::as_str) {
            let dashboard: Value =
                serde_json::from_str(dashboard).context("the dashboard is no JSON")?;
            for panel in dashboard["panels"].as_array().into_iter().flatten() {
                for target in panel["targets"].as_array().into_iter().flatten() {
                    let title = panel["title"].as_str().unwrap_or_default().to_owned();
                    let expression = target["expr"].as_str().unwrap_or_default();
                    expressions.push((title, expression.to_owned()));
                }
            }
        }
    }
    let mut unknown = Vec::new();
    for (who, expression) in &expressions {
        let mut seen = 0;
        for (name, labels) in selectors(expression) {
            seen += 1;
            let Some(known) = samples.get(&name) else {
                unknown.push(format!("`{who}` asks for `{name}`, which nobody says"));
                continue;
            };
            for label in labels {
                if !known.contains(&label) && !OF_THE_TARGET.contains(&label.as_str()) {
                    unknown.push(format!("`{who}`: `{name}` has no label `{label}`"));
                }
            }
        }
        if seen == 0 {
            unknown.push(format!("`{who}` asks for nothing: `{expression}`"));
        }
    }
    Ok((expressions.len(), unknown))
}

/// Metrics in an expression with the labels that they are selected by.
fn selectors(expression: &str) -> Vec<(String, Vec<String>)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '"') {
        rest = &rest[start..];
        if let Some(text) = rest.strip_prefix('"') {
            rest = text.split_once('"').map_or("", |(_, after)| after);
            continue;
        }
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        rest = after;
        if !(name.starts_with("cwii_") || name.starts_with("apiserver_")) {
            continue;
        }
        let mut labels = Vec::new();
        if let Some((inside, after)) = rest.strip_prefix('{').and_then(closed) {
            labels = inside
                .split('"')
                .step_by(2)
                .map(|text| text.trim_matches(|c: char| !is_name(c)).to_owned())
                .filter(|text| !text.is_empty())
                .collect();
            rest = after;
        }
        found.push((name.to_owned(), labels));
    }
    found
}

/// What stands before the brace that ends a selector, and after it.
fn closed(text: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '}' if !quoted => return Some((&text[..at], &text[at + 1..])),
            _ => {}
        }
    }
    None
}

/// What Prometheus adds to every sample of a target.
const OF_THE_TARGET: [&str; 3] = ["job", "namespace", "pod"];

/// The API server's own; a test against the real one makes it say them.
const OF_THE_API_SERVER: &[(&str, &[&str])] = &[
    (
        "apiserver_admission_webhook_admission_duration_seconds_bucket",
        &["name", "type", "operation", "rejected", "le"],
    ),
    (
        "apiserver_admission_webhook_fail_open_count",
        &["name", "type"],
    ),
    (
        "apiserver_admission_webhook_rejection_count",
        &["name", "type", "operation", "error_type", "rejection_code"],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_and_their_labels_are_found_in_an_expression() {
        assert_eq!(
            selectors(
                r#"sum by (le) (rate(cwii_a_bucket{job="x}",kind=~"a|b"}[5m])) > on() cwii_b"#
            ),
            [
                (
                    "cwii_a_bucket".to_owned(),
                    vec!["job".to_owned(), "kind".to_owned()]
                ),
                ("cwii_b".to_owned(), vec![]),
            ]
        );
    }

    #[test]
    fn a_metric_that_the_webhook_does_not_have_is_found() {
        let rule = |expr: &str| serde_json::json!({ "spec": { "groups": [{ "rules": [{ "alert": "A", "expr": expr }] }] } });
        let samples = samples();
        for (expr, problems) in [
            ("cwii_webhook_build_info", 0),
            ("cwii_webhook_builds", 1),
            (r#"cwii_webhook_requests_total{outcom="failed"}"#, 1),
            ("vector(1)", 1),
        ] {
            let (_, unknown) = unknown(&[rule(expr)], &samples).unwrap();
            assert_eq!(unknown.len(), problems, "{expr}: {unknown:?}");
        }
    }
}
