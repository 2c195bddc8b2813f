//! The token lifetime that is asked for is not allowed.
//!
//! ## What it checks
//!
//! The lifetime in the annotations of cwii, EKS, Azure and Google's webhook, and `expirationSeconds` of token volumes in the
//! template: a whole number of seconds, at least 600, at most 86400, for Azure's webhook at least 3600.
//!
//! ## Why it matters
//!
//! The API server refuses a pod whose token is to live for less than ten minutes. EKS passes over a value that it cannot read;
//! Azure's webhook refuses the pod; cwii cuts a number to its bounds, with a warning.
//!
//! ## How it looks
//!
//! ```text
//! spec.volumes[0].projected.sources[0].expirationSeconds: Invalid value: 300: may not specify a duration less than 10 minutes
//! ```
//!
//! ## How to fix it
//!
//! Set a number of seconds within the bounds; 3600 is right for most.
//!
//! ## How to verify the fix
//!
//! New pods start, and the volume's `expirationSeconds` is the number.
//!
//! ## References
//!
//! - Kubernetes, "Configure Service Accounts for Pods":
//!   <https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/>
//! - Microsoft, "Service account labels and annotations":
//!   <https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html>

use cwii_contract::Provider;
use serde_json::json;

use super::annotations_of;
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    report::{Applicability, Finding},
    rules::words::{Place, patch, restarted},
};

pub(super) const RULE: Rule = Rule::new(
    "POD20",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
    ],
    check,
)
.blocked_by(&["POD08"]);

/// Key, cloud, least, most, what happens to any other value.
const KEYS: [(&str, Provider, i64, i64, &str); 6] = [
    ("eks.amazonaws.com/token-expiration", Provider::Aws, 600, 86_400, "EKS does not use it"),
    (
        "azure.workload.identity/service-account-token-expiration",
        Provider::Az,
        3_600,
        86_400,
        "Azure's webhook refuses the pod",
    ),
    ("cloud.google.com/token-expiration", Provider::Gcp, 600, 86_400, "the API server or Google's webhook refuses the pod"),
    ("cwii.dev/aws-token-expiration", Provider::Aws, 600, 86_400, "cwii cuts it to the nearest bound"),
    ("cwii.dev/az-token-expiration", Provider::Az, 600, 86_400, "cwii cuts it to the nearest bound"),
    ("cwii.dev/gcp-token-expiration", Provider::Gcp, 600, 86_400, "cwii cuts it to the nearest bound"),
];

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    case.pod()?;
    case.service_account()?;
    case.namespace()?;
    let mut findings = Vec::new();
    for (place, key, value) in annotations_of(case) {
        let Some((key, provider, least, most, consequence)) = KEYS.iter().find(|(known, ..)| *known == key) else {
            continue;
        };
        let number = value.trim().parse::<i64>().ok();
        let is_ours = key.starts_with("cwii.dev/");
        if number.is_some_and(|number| (*least..=*most).contains(&number)) {
            continue;
        }
        // What is no number is CWII06's, and empty counts as unset.
        if is_ours && (number.is_none() || value.trim().is_empty()) {
            continue;
        }
        let wanted = number.map_or(3_600, |number| number.clamp(*least, *most)).to_string();
        let mut finding = Finding::new(
            "POD20",
            format!("`{key}` is `{value}`, expected a whole number of seconds from {least} to {most}: {consequence}"),
        )
        .of(*provider)
        .at(place.at_annotation(key))
        .compared(value, wanted.clone())
        .fix("set a lifetime within the bounds")
        .command(place.annotate(&[(key, &wanted)], &[]))
        .applicable(Applicability::Safe);
        // A value that is cut or passed over breaks nothing.
        if is_ours || *provider == Provider::Aws {
            finding = finding.warning();
        }
        findings.push(restarted(finding, case));
    }
    findings.extend(of_volumes(case));
    Ok(Outcome::of(findings))
}

/// Volumes that somebody wrote into the template.
fn of_volumes(case: &Case<'_>) -> Vec<Finding> {
    let Some(Place {
        object,
        template: Some(template),
    }) = Place::of_pod(case)
    else {
        return Vec::new();
    };
    let Some(pod) = object.template_pod() else {
        return Vec::new();
    };
    pod.projected_tokens()
        .into_iter()
        .filter_map(|token| {
            let seconds = token.expiration_seconds.filter(|seconds| *seconds < 600)?;
            let pointer = format!(
                "{template}{}/expirationSeconds",
                token.pointer
            );
            Some(
                Finding::new(
                    "POD20",
                    format!("volume `{}` asks for a token of {seconds} s, and the API server gives none below 600 s", token.volume),
                )
                .at(object.subject_at(&pointer, format!("`expirationSeconds` of volume `{}`", token.volume)))
                .answered("may not specify a duration less than 10 minutes")
                .compared(seconds.to_string(), "600")
                .fix("ask for 600 seconds or more")
                .command(patch(object, &json!([{"op": "replace", "path": pointer, "value": 3600}])))
                .applicable(Applicability::Safe),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        Severity,
        doctor::Outcome,
        report::Finding,
        rules::fixture::{Fixture, edit},
    };

    fn on_account(key: &str, value: &str) -> Fixture {
        Fixture::plain().service_account(|account| account["metadata"]["annotations"] = json!({key: value}))
    }

    fn found(fixture: &Fixture) -> Finding {
        match fixture.decide("POD20") {
            Ok(Outcome::Found(mut findings)) if findings.len() == 1 => findings.remove(0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lifetimes_within_the_bounds_pass() {
        assert_eq!(Fixture::cwii_all().decide("POD20"), Ok(Outcome::Pass));
        let azure = on_account("azure.workload.identity/service-account-token-expiration", "86400");
        assert_eq!(azure.decide("POD20"), Ok(Outcome::Pass));
    }

    #[test]
    fn azure_wants_an_hour_at_least_and_refuses_the_pod() {
        let finding = found(&on_account("azure.workload.identity/service-account-token-expiration", "600"));
        assert_eq!(
            finding.message,
            "`azure.workload.identity/service-account-token-expiration` is `600`, expected a whole number of seconds from \
             3600 to 86400: Azure's webhook refuses the pod"
        );
        assert_eq!(finding.severity(), Severity::Error);
    }

    #[test]
    fn a_value_that_is_cut_or_passed_over_is_a_warning() {
        for (key, value) in [("eks.amazonaws.com/token-expiration", "1h"), ("cwii.dev/aws-token-expiration", "60")] {
            assert_eq!(found(&on_account(key, value)).severity(), Severity::Warning, "{key}");
        }
    }

    #[test]
    fn a_volume_of_the_template_below_ten_minutes_is_found() {
        let fixture = Fixture::plain().with(|facts| {
            edit(&mut facts.owners[1].object, |object| {
                object["spec"]["template"]["spec"]["volumes"] = json!([{"name": "t", "projected": {"sources": [
                    {"serviceAccountToken": {"audience": "a", "path": "token", "expirationSeconds": 300}}]}}]);
            });
        });
        assert_eq!(
            found(&fixture).message,
            "volume `t` asks for a token of 300 s, and the API server gives none below 600 s"
        );
    }
}
