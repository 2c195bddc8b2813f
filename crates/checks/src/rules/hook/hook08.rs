//! The webhook is registered with settings that it, or the API server, does not support.
//!
//! ## What it checks
//!
//! `admissionReviewVersions` has a version that the webhook reads: `v1` for cwii; `v1` or `v1beta1` for the others, which
//! read what they are sent. `sideEffects` is `None` or `NoneOnDryRun`, and `timeoutSeconds` at most 10.
//!
//! ## Why it matters
//!
//! The API server sends the first version of the list that it knows itself, and rejects an answer in another. Since
//! Kubernetes 1.22 the field is required, and configurations written for older clusters have old versions in it or were
//! lost in the upgrade. A webhook that may have side effects is not called on a dry run, and the dry run fails. A long
//! timeout makes every pod of the cluster wait when the webhook does not answer.
//!
//! ## How it looks
//!
//! ```text
//! failed calling webhook "mutate.cwii.dev": expected webhook response of admission.k8s.io/v1beta1, Kind=AdmissionReview, got …
//! ```
//!
//! ## How to fix it
//!
//! Apply the chart of the webhook's own version again, or patch the field.
//!
//! ## How to verify the fix
//!
//! `kubectl get mutatingwebhookconfiguration NAME -o yaml` has the values; a new pod has the variables.
//!
//! ## References
//!
//! - Kubernetes, "Dynamic Admission Control", "Webhook request and response":
//!   <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#webhook-request-and-response>
//! - Kubernetes, "Deprecated API Migration Guide", v1.22:
//!   <https://kubernetes.io/docs/reference/using-api/deprecation-guide/#webhook-resources-v122>

use serde_json::{Value, json};

use super::each;
use crate::{
    doctor::{Case, Gap, MechanismKind, Need, Outcome, Rule},
    report::{Applicability, Finding},
};

pub(super) const RULE: Rule = Rule::new(
    "HOOK08",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
        Need::Webhooks,
    ],
    check,
);

/// The most that Kubernetes takes for good practice; it is the default as well.
const TIMEOUT_SECONDS: i64 = 10;

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |wish, webhook| {
        let mut findings = Vec::new();
        let found = |pointer: &str, what: &str, message: String| {
            Finding::new("HOOK08", message)
                .of(wish.mechanism.provider)
                .at(webhook.subject(pointer, what))
        };
        let versions: Vec<&str> = webhook
            .value
            .get("admissionReviewVersions")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let reads: &[&str] = if wish.mechanism.kind == MechanismKind::Cwii {
            &["v1"]
        } else {
            &["v1", "v1beta1"]
        };
        // The API server takes the first that it knows, and it knows both.
        let sent = versions
            .iter()
            .copied()
            .find(|version| ["v1", "v1beta1"].contains(version));
        if !sent.is_some_and(|sent| reads.contains(&sent)) {
            let path = webhook.pointer("/admissionReviewVersions");
            findings.push(
                found(
                    "/admissionReviewVersions",
                    "`admissionReviewVersions`",
                    format!(
                        "webhook `{}` is sent a version of AdmissionReview that it does not read",
                        webhook.name()
                    ),
                )
                .compared(versions.join(", "), reads.join(", "))
                .fix("register the versions that the webhook reads")
                .command(webhook.patch(&json!([{"op": "add", "path": path, "value": reads}])))
                .applicable(Applicability::Safe),
            );
        }
        let side_effects = webhook.text("/sideEffects").unwrap_or("Unknown");
        if !["None", "NoneOnDryRun"].contains(&side_effects) {
            let path = webhook.pointer("/sideEffects");
            findings.push(
                found(
                    "/sideEffects",
                    "`sideEffects`",
                    format!(
                        "webhook `{}` is not called on a dry run, which then fails",
                        webhook.name()
                    ),
                )
                .compared(side_effects, "None")
                .fix("say that the webhook has no side effects")
                .command(webhook.patch(&json!([{"op": "add", "path": path, "value": "None"}])))
                .applicable(Applicability::Safe)
                .warning(),
            );
        }
        let timeout = webhook
            .value
            .get("timeoutSeconds")
            .and_then(Value::as_i64)
            .unwrap_or(TIMEOUT_SECONDS);
        if timeout > TIMEOUT_SECONDS {
            let path = webhook.pointer("/timeoutSeconds");
            findings.push(
                found(
                    "/timeoutSeconds",
                    "`timeoutSeconds`",
                    format!(
                        "every pod waits {timeout} s for webhook `{}` when it does not answer",
                        webhook.name()
                    ),
                )
                .compared(timeout.to_string(), TIMEOUT_SECONDS.to_string())
                .fix("wait 10 seconds at most")
                .command(webhook.patch(&json!([{"op": "add", "path": path, "value": TIMEOUT_SECONDS}])))
                .applicable(Applicability::Safe)
                .warning(),
            );
        }
        Ok(Some(findings))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        catalogue::Severity,
        doctor::Outcome,
        rules::fixture::Fixture,
    };

    #[test]
    fn what_the_charts_register_passes() {
        assert_eq!(Fixture::wanting().decide("HOOK08"), Ok(Outcome::Pass));
        assert_eq!(Fixture::irsa().decide("HOOK08"), Ok(Outcome::Pass));
        let both = Fixture::wanting().webhook("cwii", |webhook| {
            webhook["admissionReviewVersions"] = json!(["v1", "v1beta1"]);
        });
        assert_eq!(both.decide("HOOK08"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_version_that_cwii_does_not_read_is_an_error() {
        for versions in [json!(["v1beta1"]), json!(["v1beta1", "v1"]), json!([])] {
            let fixture = Fixture::wanting()
                .webhook("cwii", |webhook| webhook["admissionReviewVersions"] = versions);
            assert_eq!(
                fixture.messages("HOOK08"),
                ["webhook `mutate.cwii.dev` is sent a version of AdmissionReview that it does not read"]
            );
            assert_eq!(fixture.severities("HOOK08"), [Severity::Error]);
        }
    }

    #[test]
    fn side_effects_and_a_long_timeout_are_warnings() {
        let fixture = Fixture::wanting().webhook("cwii", |webhook| {
            webhook["sideEffects"] = json!("Some");
            webhook["timeoutSeconds"] = json!(30);
        });
        assert_eq!(
            fixture.severities("HOOK08"),
            [Severity::Warning, Severity::Warning]
        );
    }
}
