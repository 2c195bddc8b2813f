//! The Kubernetes ServiceAccount may not impersonate the Google service account that its annotation names.
//!
//! ## What it checks
//!
//! That the allow policy of the service account gives `roles/iam.workloadIdentityUser` to
//! `serviceAccount:PROJECT.svc.id.goog[NAMESPACE/SERVICEACCOUNT]`, or to a `principal://` or `principalSet://` that includes
//! it. PROJECT is the project of the cluster, not of the service account; the namespace comes first.
//!
//! ## Why it matters
//!
//! The annotation alone gives nothing. A member of another project's pool, or with namespace and name the wrong way round, is
//! accepted when it is written and never matches.
//!
//! ## How it looks
//!
//! ```text
//! Unable to generate access token; IAM returned 403 Forbidden: Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).
//! This error could be caused by a missing IAM policy binding on the target IAM service account.
//! ```
//!
//! ## How to fix it
//!
//! Add the binding that the finding prints. It takes effect after a minute or two.
//!
//! ## How to verify the fix
//!
//! `gcloud iam service-accounts get-iam-policy EMAIL` lists the member; in the pod the metadata server gives a token.
//!
//! ## References
//!
//! - Google Cloud, "Authenticate to Google Cloud APIs from GKE workloads":
//!   <https://cloud.google.com/kubernetes-engine/docs/how-to/workload-identity>
//! - Google Cloud, "Principal identifiers": <https://cloud.google.com/iam/docs/principal-identifiers>

use super::{POLICY, each, impersonation};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    rules::gcp::policy_finding,
};

pub(super) const RULE: Rule = Rule::new("GKE05", POLICY, check).blocked_by(&["GKE01", "GKE04", "POD01"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |mechanism| {
        let Some(asked) = impersonation(case, mechanism)? else {
            return Ok(Vec::new());
        };
        // On GKE every row of an allow policy is this code's: GCP07 to GCP09 speak of federation.
        Ok(asked
            .faults
            .iter()
            .map(|fault| policy_finding("GKE05", &asked, fault))
            .collect())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::{Gap, Outcome},
        facts::Fact,
        rules::fixture::Fixture,
    };

    fn member(member: &str) -> Fixture {
        Fixture::gke().google_policy(|policy| policy["bindings"][0]["members"] = json!([member]))
    }

    #[test]
    fn both_spellings_of_the_member_pass_and_a_direct_principal_needs_none() {
        assert_eq!(Fixture::gke().decide("GKE05"), Ok(Outcome::Pass));
        assert_eq!(Fixture::gke_direct().decide("GKE05"), Ok(Outcome::Pass));
        let new = "principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/shop-prod.svc.id.goog/subject/ns/shop/sa/checkout";
        assert_eq!(member(new).decide("GKE05"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_member_the_wrong_way_round_is_marked() {
        let fixture = member("serviceAccount:shop-prod.svc.id.goog[checkout/shop]");
        let Ok(Outcome::Found(findings)) = fixture.decide("GKE05") else {
            panic!()
        };
        assert!(findings[0].message.contains("the wrong way round"));
        assert_eq!(
            findings[0].fix.commands,
            ["gcloud iam service-accounts add-iam-policy-binding checkout@shop-prod.iam.gserviceaccount.com --project=shop-prod --role=roles/iam.workloadIdentityUser --member='serviceAccount:shop-prod.svc.id.goog[shop/checkout]'"]
        );
        assert!(findings[0].provider_error.as_ref().unwrap().contains("IAM returned 403 Forbidden"));
    }

    #[test]
    fn the_clusters_project_counts_and_not_the_accounts() {
        let fixture = member("serviceAccount:identities.svc.id.goog[shop/checkout]");
        assert_eq!(
            fixture.messages("GKE05"),
            ["the member on `checkout@shop-prod.iam.gserviceaccount.com` is of another project than the cluster's"]
        );
    }

    #[test]
    fn without_the_policy_it_is_unknown_and_the_issuer_tells_the_project() {
        assert!(matches!(
            Fixture::gke().without_document("policy").decide("GKE05"),
            Err(Gap::Unknown(..))
        ));
        let fixture = Fixture::gke().without_document("cluster").with(|facts| facts.node = Fact::Absent);
        assert_eq!(fixture.decide("GKE05"), Ok(Outcome::Pass));
    }
}
