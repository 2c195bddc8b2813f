//! The provider does not allow the token's audience.
//!
//! ## What it checks
//!
//! That `aud` of the token is one of `oidc.allowedAudiences` of the provider. An empty list allows the provider's own full
//! name, with and without `https:` in front; a list that is not empty replaces these two.
//!
//! ## Why it matters
//!
//! The audience is asked for in the pod, the list stands at Google, and nothing compares them before the first exchange. Who
//! adds an audience for one more kind of client takes the default away from all others.
//!
//! ## How it looks
//!
//! ```text
//! Error code invalid_grant: The audience in ID Token [https://kubernetes.default.svc] does not match the expected audience.
//! ```
//!
//! ## How to fix it
//!
//! Add the token's audience to the list, with those that are there already; or have the token made for one of them.
//!
//! ## How to verify the fix
//!
//! `gcloud iam workload-identity-pools providers describe … --format='value(oidc.allowedAudiences)'` shows it.
//!
//! ## References
//!
//! - Google Cloud, "REST Resource: projects.locations.workloadIdentityPools.providers", `Oidc.allowedAudiences`:
//!   <https://cloud.google.com/iam/docs/reference/rest/v1/projects.locations.workloadIdentityPools.providers>
//! - Google Cloud, "Troubleshoot Workload Identity Federation":
//!   <https://cloud.google.com/iam/docs/troubleshooting-workload-identity-federation>

use cwii_trust::google::Reason;

use super::{each, exchange_findings, origin, update_provider};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    report::{Applicability, Finding},
};

pub(super) const RULE: Rule =
    Rule::new("GCP04", super::EXCHANGE, check).blocked_by(&["GCP01", "GCP02", "TOK03"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |mechanism| {
        exchange_findings(case, mechanism, "GCP04", |exchange, fault| {
            let audiences = exchange.token.token.claims.audiences().join(", ");
            let name = exchange.provider.to_string();
            let mut allowed = exchange
                .document()
                .map(|provider| provider.allowed_audiences.clone())
                .unwrap_or_default();
            let listed = match allowed.as_slice() {
                [] => format!("{name} (the default)"),
                some => some.join(", "),
            };
            if allowed.is_empty() {
                allowed.push(name);
            }
            allowed.extend(
                exchange
                    .token
                    .token
                    .claims
                    .audiences()
                    .first()
                    .map(|audience| (*audience).to_owned()),
            );
            let mut finding = Finding::new(
                "GCP04",
                format!("the provider does not allow the token's audience `{audiences}`"),
            )
            .evidence_from("token's audience", &audiences, origin(&exchange.token))
            .evidence("allowed audiences", &listed)
            .fix("allow the token's audience, beside those that are allowed already")
            .command(update_provider(
                &exchange.provider,
                "--allowed-audiences",
                &allowed.join(","),
            ))
            .applicable(Applicability::Unsafe);
            if let Some(provider) = exchange.document()
                && let [only] = provider.allowed_audiences.as_slice()
            {
                finding = finding.compared(only, &audiences);
            }
            if matches!(
                fault.reason,
                Reason::AudienceNotAllowed {
                    default_replaced: true
                }
            ) {
                finding = finding.evidence(
                    "note",
                    "the default audience counts only while no other one is allowed",
                );
            }
            finding
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::Outcome, rules::fixture::Fixture};

    #[test]
    fn the_default_audience_passes() {
        assert_eq!(Fixture::gcp().decide("GCP04"), Ok(Outcome::Pass));
        assert_eq!(
            Fixture::google_federation().decide("GCP04"),
            Ok(Outcome::Pass)
        );
    }

    #[test]
    fn a_list_replaces_the_default() {
        let fixture = Fixture::gcp().google_provider(|provider| {
            provider["oidc"]["allowedAudiences"] = json!(["sts.googleapis.com"]);
        });
        let Ok(Outcome::Found(findings)) = fixture.decide("GCP04") else {
            panic!()
        };
        assert!(findings[0].evidence.iter().any(|e| e.label == "note"));
        assert_eq!(
            findings[0].fix.commands,
            ["gcloud iam workload-identity-pools providers update-oidc prod --workload-identity-pool=clusters --location=global --project=123456789012 --allowed-audiences=sts.googleapis.com,//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/clusters/providers/prod"]
        );
    }

    #[test]
    fn a_custom_audience_must_be_listed() {
        let fixture = Fixture::google_federation().google_provider(|provider| {
            provider["oidc"].as_object_mut().unwrap().remove("allowedAudiences");
        });
        assert_eq!(
            fixture.messages("GCP04"),
            ["the provider does not allow the token's audience `sts.googleapis.com`"]
        );
    }
}
