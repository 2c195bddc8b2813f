//! The value of a `cwii.dev/` annotation is not one that is allowed.
//!
//! ## What it checks
//!
//! Every value of the four scopes as the webhook reads it: booleans, numbers, words, role ARNs, regions, session names,
//! client and tenant ids, e-mail addresses, providers, URLs, images. Lifetimes out of range are POD20's.
//!
//! ## Why it matters
//!
//! A value that would inject something wrong refuses the pod: with it, no pod of the workload starts any more. A boolean or
//! number that does not parse counts as unset, so that `yes` switches nothing on. Where the value would not take effect
//! anyway it is a warning.
//!
//! ## How it looks
//!
//! ```text
//! admission webhook "mutate.cwii.dev" denied the request: `cwii.dev/aws-role-arn` of ServiceAccount shop/checkout is `checkout`: expected …
//! ```
//!
//! ## How to fix it
//!
//! Write one of the allowed values.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii plan TYPE/NAME` shows the value as it is read, and new pods start.
//!
//! ## References
//!
//! - AWS, "Identify AWS resources with Amazon Resource Names (ARNs)":
//!   <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>
//! - Microsoft, "Service account labels and annotations":
//!   <https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html>

use cwii_contract::{
    Denial,
    annotations::{self, ValueKind},
    message::Cause,
};

use super::{is_silent, place_of, provider_of};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    report::{Applicability, Finding},
    rules::words::{Place, restarted, set_by},
};

pub(super) const RULE: Rule = Rule::new(
    "CWII06",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
    ],
    check,
)
.blocked_by(&["POD08", "AWS10", "AZ01", "AZ02", "GCP01"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let unread = case.plan().err();
    let plan = match (case.known()?.1, &unread) {
        (Ok(plan), _) => plan,
        (Err(denial), None) => return Ok(Outcome::Found(vec![denied(case, &denial)])),
        // Whoever could not be read may have switched the provider off.
        (Err(_), Some(gap)) => return Err(gap.clone()),
    };
    let mut findings = Vec::new();
    for warning in plan
        .warnings
        .iter()
        .filter(|warning| warning.cause == Cause::InvalidValue)
    {
        let mut finding = Finding::new("CWII06", warning.as_str())
            .fix("write an allowed value");
        // What would be refused, if it took effect.
        if !warning.as_str().ends_with("counts as unset") {
            finding = finding.warning();
        }
        if let Some((place, key, value)) = place_of(case, warning) {
            finding = set_by(
                finding.at(place.at_annotation(key)).evidence("value", value),
                case,
                place.object,
                &place.path("annotations", key),
            );
            if let Some(meant) = meant(key, value) {
                finding = finding
                    .command(place.annotate(&[(key, meant)], &[]))
                    .applicable(Applicability::Unsafe);
                finding = restarted(finding, case);
            }
            if let Some(provider) = provider_of(key) {
                finding = finding.of(provider);
            }
        }
        findings.push(finding);
    }
    if findings.is_empty() && unread.is_none() && is_silent(case)? {
        return Ok(Outcome::not_applicable("cwii is not asked for"));
    }
    Outcome::despite(findings, unread)
}

fn denied(case: &Case<'_>, denial: &Denial) -> Finding {
    let mut finding = Finding::new("CWII06", denial.to_string())
        .evidence("value", denial.value.clone())
        .evidence("allowed", denial.allowed.clone())
        .answered(format!(
            "admission webhook \"mutate.cwii.dev\" denied the request: {denial}"
        ))
        .fix(format!("set `{}` to {}", denial.key, denial.allowed));
    let place = if denial.object.kind == "Pod" {
        Place::of_pod(case)
    } else {
        Place::all(case).into_iter().find(|place| {
            place.template.is_none()
                && place.object.kind() == denial.object.kind
                && place.object.name() == denial.object.name
        })
    };
    if let Some(place) = place {
        finding = set_by(
            finding.at(place.at_annotation(&denial.key)),
            case,
            place.object,
            &place.path("annotations", &denial.key),
        );
        if let Some(meant) = meant(&denial.key, &denial.value) {
            finding = restarted(
                finding
                    .command(place.annotate(&[(&denial.key, meant)], &[]))
                    .applicable(Applicability::Unsafe),
                case,
            );
        }
    }
    match provider_of(&denial.key) {
        Some(provider) => finding.of(provider),
        None => finding,
    }
}

/// What somebody who wrote this meant, where that is plain.
fn meant<'a>(key: &str, value: &'a str) -> Option<&'a str> {
    let (row, _) = annotations::find(key)?;
    let value = value.trim();
    match row.kind {
        ValueKind::Bool => match value.to_ascii_lowercase().as_str() {
            "yes" | "y" | "on" | "1" | "enabled" | "enable" => Some("true"),
            "no" | "n" | "off" | "0" | "disabled" | "disable" => Some("false"),
            _ => None,
        },
        ValueKind::Seconds { .. } => {
            let digits = value.trim_end_matches(|c: char| !c.is_ascii_digit());
            let is_seconds = ["s", "sec", "seconds"].contains(&value[digits.len()..].trim());
            (is_seconds && !digits.is_empty()).then_some(digits)
        }
        ValueKind::Word(words) => {
            let normal = |text: &str| text.to_ascii_lowercase().replace(['_', '-', ' '], "");
            words
                .iter()
                .copied()
                .find(|word| normal(word) == normal(value))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{Severity, doctor::Outcome, report::Finding, rules::fixture::Fixture};

    fn with(key: &str, value: &str) -> Fixture {
        Fixture::cwii_aws().service_account(|account| {
            account["metadata"]["annotations"][key] = json!(value);
        })
    }

    fn found(fixture: &Fixture) -> Finding {
        match fixture.decide("CWII06") {
            Ok(Outcome::Found(mut findings)) if findings.len() == 1 => findings.remove(0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn allowed_values_pass() {
        for fixture in [Fixture::cwii_all(), with("cwii.dev/aws-verify", " TRUE ")] {
            assert_eq!(fixture.decide("CWII06"), Ok(Outcome::Pass));
        }
    }

    #[test]
    fn a_boolean_that_is_none_counts_as_unset_and_is_mended() {
        let finding = found(&with("cwii.dev/aws-verify", "yes"));
        assert_eq!(
            finding.message,
            "`cwii.dev/aws-verify` of ServiceAccount shop/checkout is `yes`: expected `true` or `false`; it counts as unset"
        );
        assert_eq!(finding.severity(), Severity::Error);
        assert_eq!(
            finding.fix.commands,
            [
                "kubectl -n shop annotate serviceaccount checkout cwii.dev/aws-verify=true --overwrite",
                "kubectl -n shop rollout restart deployment checkout",
            ]
        );
    }

    #[test]
    fn a_role_that_is_none_refuses_the_pod() {
        let finding = found(&with("cwii.dev/aws-role-arn", "checkout"));
        assert!(finding.message.starts_with(
            "`cwii.dev/aws-role-arn` of ServiceAccount shop/checkout is `checkout`: expected "
        ));
        assert!(finding.provider_error.unwrap().contains("denied the request"));
        assert_eq!(finding.provider, Some(cwii_contract::Provider::Aws));
    }

    #[test]
    fn a_value_that_would_not_take_effect_is_a_warning() {
        assert_eq!(
            found(&with("cwii.dev/az-client-id", "abc")).severity(),
            Severity::Warning
        );
    }

    #[test]
    fn seconds_with_a_unit_are_read_as_seconds() {
        let finding = found(&with("cwii.dev/aws-token-expiration", "3600s"));
        assert!(finding.fix.commands[0].ends_with("cwii.dev/aws-token-expiration=3600 --overwrite"));
    }

    #[test]
    fn a_workload_without_keys_does_not_concern_it() {
        assert!(matches!(Fixture::irsa().decide("CWII06"), Ok(Outcome::NotApplicable(_))));
    }
}
