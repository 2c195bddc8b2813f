//! An annotation changes nothing as things stand.
//!
//! ## What it checks
//!
//! The keys that the webhook's plan calls without effect: a verification of a provider that is not injected, `enforce`
//! without a verification, an identity of a provider that nobody switched on, a container to skip that the pod lacks.
//! Namespaces may hold defaults for pods that ask, and are not reported.
//!
//! ## Why it matters
//!
//! Somebody believes that the pod is verified, or that it has an identity, and nothing is done about either.
//!
//! ## How it looks
//!
//! The webhook answers with a warning, which kubectl prints and most controllers drop.
//!
//! ```text
//! Warning: `cwii.dev/aws-verify-enforce` of ServiceAccount shop/checkout has no effect: `cwii.dev/aws-verify` is not `true`
//! ```
//!
//! ## How to fix it
//!
//! Set the key that the message names, or remove the one without effect.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii plan TYPE/NAME` no longer prints the warning.
//!
//! ## References
//!
//! - Kubernetes, "Dynamic Admission Control", section "Response":
//!   <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#response>

use cwii_contract::message::Cause;

use super::{is_silent, place_of, provider_of};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    report::{Applicability, Finding},
    rules::words::restarted,
};

pub(super) const RULE: Rule = Rule::new(
    "CWII05",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
    ],
    check,
)
.blocked_by(&["CWII03", "CWII06", "CWII07"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let plan = match case.replay()?.plan {
        Ok(plan) => plan,
        Err(_) => return Ok(Outcome::not_applicable("the webhook would refuse the pod")),
    };
    let mut findings = Vec::new();
    for warning in plan
        .warnings
        .iter()
        .filter(|warning| warning.cause == Cause::Ineffective)
    {
        let mut finding = Finding::new("CWII05", warning.as_str())
            .fix("set the key that it waits for, or remove it");
        if let Some((place, key, _)) = place_of(case, warning) {
            finding = finding.at(place.at_annotation(key));
            // The key that is waited for stands in the warning.
            if let Some(waited) = warning
                .as_str()
                .split('`')
                .find(|word| word.starts_with("cwii.dev/") && *word != key)
                && warning.as_str().contains("is not `true`")
            {
                finding = finding
                    .command(place.annotate(&[(waited, "true")], &[]))
                    .applicable(Applicability::Unsafe);
                if place.template.is_none() {
                    finding = restarted(finding, case);
                }
            } else {
                finding = finding
                    .command(place.annotate(&[], &[key]))
                    .applicable(Applicability::Safe);
            }
            if let Some(provider) = provider_of(key) {
                finding = finding.of(provider);
            }
        }
        findings.push(finding);
    }
    if findings.is_empty() && is_silent(case)? {
        return Ok(Outcome::not_applicable("cwii is not asked for"));
    }
    Ok(Outcome::of(findings))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::Outcome, rules::fixture::Fixture};

    #[test]
    fn keys_that_do_something_pass() {
        assert_eq!(Fixture::cwii_gcp_impersonated().decide("CWII05"), Ok(Outcome::Pass));
    }

    #[test]
    fn enforce_without_a_verification_is_named_with_the_key_to_set() {
        let fixture = Fixture::cwii_aws().service_account(|account| {
            let annotations = account["metadata"]["annotations"].as_object_mut().unwrap();
            annotations.remove("cwii.dev/aws-verify");
            annotations.insert("cwii.dev/aws-verify-enforce".into(), json!("true"));
        });
        let Ok(Outcome::Found(findings)) = fixture.decide("CWII05") else {
            panic!()
        };
        assert_eq!(
            findings[0].message,
            "`cwii.dev/aws-verify-enforce` of ServiceAccount shop/checkout has no effect: `cwii.dev/aws-verify` is not \
             `true`"
        );
        assert_eq!(
            findings[0].fix.commands,
            [
                "kubectl -n shop annotate serviceaccount checkout cwii.dev/aws-verify=true --overwrite",
                "kubectl -n shop rollout restart deployment checkout",
            ]
        );
    }

    #[test]
    fn a_client_id_of_a_provider_that_nobody_switched_on_is_named() {
        let fixture = Fixture::plain().service_account(|account| {
            account["metadata"]["annotations"] =
                json!({"cwii.dev/az-client-id": "11111111-2222-3333-4444-555555555555"});
        });
        assert_eq!(
            fixture.messages("CWII05"),
            ["`cwii.dev/az-client-id` of ServiceAccount shop/checkout has no effect: `cwii.dev/az-inject` is not `true`"]
        );
    }

    #[test]
    fn a_workload_without_keys_does_not_concern_it() {
        assert!(matches!(Fixture::plain().decide("CWII05"), Ok(Outcome::NotApplicable(_))));
    }
}
