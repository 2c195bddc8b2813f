//! The name of the workload identity pool provider is not the full resource name that Google's STS takes.
//!
//! ## What it checks
//!
//! That what becomes `audience` of the credentials document is
//! `//iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER`: the project by its
//! number, not its id; no `https:` in front; for `cloud.google.com/workload-identity-provider` without
//! `//iam.googleapis.com/`, which its webhook puts in front itself.
//!
//! ## Why it matters
//!
//! The name is the first thing that Google reads. It accepts no other spelling, and the webhooks that pass it on accept any
//! text, so that the mistake shows only when the application makes its first call.
//!
//! ## How it looks
//!
//! ```text
//! Error code invalid_request: Invalid value for "audience". This value should be the full resource name of the Identity Provider.
//! ```
//!
//! ## How to fix it
//!
//! Take the name from `gcloud iam workload-identity-pools providers describe PROVIDER --workload-identity-pool=POOL
//! --location=global --format='value(name)'`, which has the project's number, set it where the finding says, and restart the
//! workload.
//!
//! ## How to verify the fix
//!
//! Run the doctor again; `kubectl cwii verify` exchanges a token.
//!
//! ## References
//!
//! - Google Cloud, "Method: token": <https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token>
//! - Google Cloud, "Configure Workload Identity Federation with Kubernetes":
//!   <https://cloud.google.com/iam/docs/workload-identity-federation-with-kubernetes>

use cwii_contract::{Provider, types::PoolProvider};
use cwii_trust::Library;

use super::{each, provider_key, provider_name};
use crate::{
    doctor::{Case, Gap, MechanismKind, Need, Outcome, Rule},
    report::{Applicability, Finding},
    rules::federation::{annotate, with_commands},
};

pub(super) const RULE: Rule = Rule::new(
    "GCP01",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
        Need::ConfigMaps,
        Need::Others,
    ],
    check,
)
.blocked_by(&["POD08", "CWII06"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |mechanism| {
        let Some((given, parsed)) = provider_name(case, mechanism)? else {
            return Ok(Vec::new());
        };
        let Err(error) = parsed else {
            return Ok(Vec::new());
        };
        let wants_prefix = mechanism.kind != MechanismKind::GoogleFederation;
        let right = corrected(&given.value, case.trust().ok(), wants_prefix);
        let key = provider_key(mechanism, &given);
        let mut finding = Finding::new(
            "GCP01",
            format!("`{}` is not the full name of a workload identity pool provider", given.value),
        )
        .of(Provider::Gcp)
        .evidence("expected", error.allowed())
        .answered(
            "Google will answer: invalid_request: Invalid value for \"audience\". This value should be the full resource name of the Identity Provider.",
        )
        .fix("name the provider by the number of its project, as `providers describe` prints it");
        if let Some(right) = &right {
            finding = finding.compared(&given.value, right);
        }
        let Some(subject) = given.subject else {
            return Ok(vec![finding]);
        };
        let placeholder = if wants_prefix {
            "//iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER"
        } else {
            "projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER"
        };
        if subject.pointer.as_deref().is_some_and(|pointer| pointer.starts_with("/metadata/annotations/")) {
            let value = right.as_deref().unwrap_or(placeholder);
            finding = with_commands(finding, annotate(case, &subject, key, value)).applicable(
                match right {
                    Some(_) => Applicability::Safe,
                    None => Applicability::Display,
                },
            );
        }
        Ok(vec![finding.at(subject)])
    })
}

/// The name as it should be, where that can be told: from the text itself, or from the one provider that has the same end.
fn corrected(value: &str, library: Option<&Library>, prefix: bool) -> Option<String> {
    let start = value.find("projects/")?;
    let resource = &value[start..];
    let full = format!("//iam.googleapis.com/{resource}");
    let provider: PoolProvider = match full.parse() {
        Ok(provider) => provider,
        Err(_) => {
            let end = resource.split_once("/locations/")?.1;
            let mut known = library?
                .google(None)
                .providers
                .into_iter()
                .map(|known| known.name)
                .filter(|name| {
                    name.resource().split_once("/locations/").map(|(_, rest)| rest.to_owned())
                        .is_some_and(|rest| rest == end)
                });
            let only = known.next()?;
            if known.next().is_some() {
                return None;
            }
            only
        }
    };
    Some(if prefix {
        provider.to_string()
    } else {
        provider.resource()
    })
}

#[cfg(test)]
mod tests {
    use crate::{doctor::Outcome, rules::fixture::Fixture};

    #[test]
    fn the_full_name_passes() {
        for fixture in [Fixture::gcp(), Fixture::google_federation(), Fixture::google_by_hand()] {
            assert_eq!(fixture.decide("GCP01"), Ok(Outcome::Pass));
        }
    }

    #[test]
    fn a_project_id_is_corrected_from_the_documents() {
        let fixture = Fixture::gcp().service_account(|account| {
            account["metadata"]["annotations"]["cwii.dev/gcp-audience"] =
                "//iam.googleapis.com/projects/shop-prod/locations/global/workloadIdentityPools/clusters/providers/prod"
                    .into();
        });
        let Ok(Outcome::Found(findings)) = fixture.decide("GCP01") else {
            panic!()
        };
        assert_eq!(
            findings[0].comparison.as_ref().unwrap().expected,
            "//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/clusters/providers/prod"
        );
        assert_eq!(findings[0].fix.commands.len(), 2);
    }

    #[test]
    fn the_other_webhook_wants_the_name_without_its_host() {
        let fixture = Fixture::google_federation().service_account(|account| {
            let key = "cloud.google.com/workload-identity-provider";
            let name = account["metadata"]["annotations"][key].as_str().unwrap().to_owned();
            account["metadata"]["annotations"][key] = format!("//iam.googleapis.com/{name}").into();
        });
        assert_eq!(fixture.messages("GCP01").len(), 1);
    }

    #[test]
    fn a_workload_without_google_is_none_of_its_business() {
        assert!(matches!(
            Fixture::plain().decide("GCP01"),
            Ok(Outcome::NotApplicable(_))
        ));
    }
}
