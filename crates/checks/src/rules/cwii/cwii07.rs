//! A provider is asked for, and cwii's webhook cannot inject it.
//!
//! ## What it checks
//!
//! That a provider which is switched on has all that it needs at some scope or in the webhook's flags: client and tenant
//! for Entra ID, an audience for Google Cloud; and that the webhook has the provider switched on as a whole.
//!
//! ## Why it matters
//!
//! The webhook admits such a pod without the identity, because an identity is no reason to refuse a pod. Nothing fails
//! until the application asks the cloud for something.
//!
//! ## How it looks
//!
//! ```text
//! Warning: Entra ID is not injected, though `cwii.dev/az-inject` of Namespace shop asks for it: `cwii.dev/az-tenant-id` is not set
//! ```
//!
//! ## How to fix it
//!
//! Set the missing key on the ServiceAccount (or wider, on the namespace), or the webhook's flag for the whole cluster.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii plan TYPE/NAME` lists the provider; new pods carry it in `cwii.dev/injected`.
//!
//! ## References
//!
//! - Microsoft, "Service account labels and annotations":
//!   <https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html>
//! - Google Cloud, "Workload Identity Federation": <https://cloud.google.com/iam/docs/workload-identity-federation>

use cwii_contract::{Warning, message::Cause, settings::flag};

use super::{is_silent, place_of, provider_of};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    report::{Applicability, Finding},
    rules::words::{Place, restarted},
};

pub(super) const RULE: Rule = Rule::new(
    "CWII07",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
    ],
    check,
)
.blocked_by(&["POD01", "POD02", "POD05", "POD06", "CWII06"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let plan = match case.replay()?.plan {
        Ok(plan) => plan,
        Err(_) => return Ok(Outcome::not_applicable("the webhook would refuse the pod")),
    };
    let findings: Vec<_> = plan
        .warnings
        .iter()
        .filter(|warning| match warning.cause {
            // An audience that names no provider is there, if wrong: GCP01.
            Cause::Missing => !warning.as_str().contains("names no pool provider"),
            Cause::SwitchedOff => true,
            _ => false,
        })
        .map(|warning| finding(case, warning))
        .collect();
    if findings.is_empty() && is_silent(case)? {
        return Ok(Outcome::not_applicable("cwii is not asked for"));
    }
    Ok(Outcome::of(findings))
}

fn finding(case: &Case<'_>, warning: &Warning) -> Finding {
    let mut finding = Finding::new("CWII07", warning.as_str());
    let place = place_of(case, warning);
    let provider = place.and_then(|(_, key, _)| provider_of(key));
    if let Some((place, key, _)) = place {
        finding = finding.at(place.at_annotation(key));
    }
    if let Some(provider) = provider {
        finding = finding.of(provider);
    }
    if warning.cause == Cause::SwitchedOff {
        return match provider {
            Some(provider) if warning.as_str().contains(flag::enabled(provider)) => finding.fix(format!(
                "set `{}` of the webhook to `true`, or remove the annotation",
                flag::enabled(provider)
            )),
            // Something else takes its place.
            _ => finding
                .warning()
                .fix(format!("set `{}` of the webhook, or remove the annotation", flag::CONFIG_MAP_DELIVERY)),
        };
    }
    // All keys that the warning names but the one that asks.
    let asks = place.map(|(_, key, _)| key);
    let missing: Vec<&str> = warning
        .as_str()
        .split('`')
        .filter(|word| word.starts_with("cwii.dev/") && Some(*word) != asks)
        .collect();
    let keys: Vec<String> = missing.iter().map(|key| format!("`{key}`")).collect();
    let summary = format!("set {} on the ServiceAccount", keys.join(" and "));
    // What only a person knows, unless the variables or a cloud's own annotations tell.
    let known: Option<Vec<(&str, String)>> = missing
        .iter()
        .map(|key| Some((*key, value_elsewhere(case, key)?)))
        .collect();
    match (known, case.service_account()) {
        (Some(known), Ok(Some(account))) if !known.is_empty() => {
            let set: Vec<(&str, &str)> = known
                .iter()
                .map(|(key, value)| (*key, value.as_str()))
                .collect();
            restarted(
                finding
                    .fix(summary)
                    .command(Place::of(account).annotate(&set, &[]))
                    .applicable(Applicability::Unsafe),
                case,
            )
        }
        _ => finding.fix(summary),
    }
}

/// The value of a key as the cloud's own webhook has it on the ServiceAccount.
fn value_elsewhere(case: &Case<'_>, key: &str) -> Option<String> {
    let account = case.service_account().ok()??;
    let native = match key {
        "cwii.dev/az-client-id" => "azure.workload.identity/client-id",
        "cwii.dev/az-tenant-id" => "azure.workload.identity/tenant-id",
        "cwii.dev/aws-role-arn" => "eks.amazonaws.com/role-arn",
        "cwii.dev/gcp-audience" => {
            let provider = account.annotation("cloud.google.com/workload-identity-provider")?;
            return Some(format!(
                "//iam.googleapis.com/{}",
                provider.trim_start_matches("//iam.googleapis.com/")
            ));
        }
        _ => return None,
    };
    account.annotation(native).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::Outcome, facts::Fact, rules::fixture::{Fixture, cwii::{CLIENT, TENANT}}};

    #[test]
    fn a_provider_with_all_that_it_needs_passes() {
        assert_eq!(Fixture::cwii_all().decide("CWII07"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_tenant_that_nobody_set_is_named() {
        let fixture = Fixture::plain().service_account(|account| {
            account["metadata"]["annotations"] =
                json!({"cwii.dev/az-inject": "true", "cwii.dev/az-client-id": CLIENT});
        });
        let Ok(Outcome::Found(findings)) = fixture.decide("CWII07") else {
            panic!()
        };
        assert_eq!(
            findings[0].message,
            "Entra ID is not injected, though `cwii.dev/az-inject` of ServiceAccount shop/checkout asks for it: \
             `cwii.dev/az-tenant-id` is not set"
        );
        assert_eq!(
            findings[0].fix.summary,
            "set `cwii.dev/az-tenant-id` on the ServiceAccount"
        );
        assert!(findings[0].fix.commands.is_empty());
    }

    #[test]
    fn a_tenant_that_azures_own_annotation_has_makes_a_command() {
        let fixture = Fixture::plain().service_account(|account| {
            account["metadata"]["annotations"] = json!({"cwii.dev/az-inject": "true", "cwii.dev/az-client-id": CLIENT,
                "azure.workload.identity/tenant-id": TENANT});
        });
        let Ok(Outcome::Found(findings)) = fixture.decide("CWII07") else {
            panic!()
        };
        assert_eq!(
            findings[0].fix.commands[0],
            format!("kubectl -n shop annotate serviceaccount checkout cwii.dev/az-tenant-id={TENANT} --overwrite")
        );
    }

    #[test]
    fn a_provider_that_the_server_has_switched_off_is_named_with_the_flag() {
        let fixture = Fixture::cwii_aws().with(|facts| {
            if let Fact::Known(settings) = &mut facts.webhook_settings {
                settings.enabled[cwii_contract::Provider::Aws] = false;
            }
        });
        assert_eq!(
            fixture.messages("CWII07"),
            ["AWS is not injected, though `cwii.dev/aws-role-arn` of ServiceAccount shop/checkout asks for it: \
              `--aws-enabled` of the webhook is `false`"]
        );
    }

    #[test]
    fn a_workload_without_keys_does_not_concern_it() {
        assert!(matches!(Fixture::plain().decide("CWII07"), Ok(Outcome::NotApplicable(_))));
    }
}
