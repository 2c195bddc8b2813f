//! The annotation `iam.gke.io/gcp-service-account` does not name a service account.
//!
//! ## What it checks
//!
//! That the value is the e-mail of a service account, `NAME@PROJECT.iam.gserviceaccount.com` or one of Google's default
//! accounts; and that a key which only looks like the annotation's is not there in its stead.
//!
//! ## Why it matters
//!
//! GKE accepts any text. The metadata server asks IAM for a token of whatever stands there, and passes the refusal on.
//!
//! ## How it looks
//!
//! ```text
//! Unable to generate access token; IAM returned 404 Not Found: Not found; Gaia id not found for email …
//! ```
//!
//! ## How to fix it
//!
//! Annotate the ServiceAccount with the e-mail that `gcloud iam service-accounts list` prints. To use the workload's own
//! principal instead, remove the annotation.
//!
//! ## How to verify the fix
//!
//! In the pod, `curl -H 'Metadata-Flavor: Google'
//! http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/email` prints the e-mail.
//!
//! ## References
//!
//! - Google Cloud, "Authenticate to Google Cloud APIs from GKE workloads":
//!   <https://cloud.google.com/kubernetes-engine/docs/how-to/workload-identity>

use cwii_contract::types::ServiceAccountEmail;

use super::{CLUSTER, each};
use crate::{
    doctor::{Case, Gap, Outcome, Rule, google::GKE_SERVICE_ACCOUNT},
    report::{Applicability, Finding},
    rules::federation::{annotate, set_by, with_commands},
};

pub(super) const RULE: Rule = Rule::new("GKE04", CLUSTER, check).blocked_by(&["POD08"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |mechanism| {
        let (Some(given), Some(account)) =
            (&mechanism.google_service_account, case.service_account()?)
        else {
            return Ok(Vec::new());
        };
        let value = given.value.as_str();
        if is_account(value) {
            return Ok(Vec::new());
        }
        // What people write instead: white space, a member, a resource name.
        let bare = value
            .trim()
            .trim_start_matches("serviceAccount:")
            .rsplit('/')
            .next()
            .unwrap_or_default();
        let right = is_account(bare).then_some(bare);
        let mut finding = Finding::new(
            "GKE04",
            format!("`{value}` is not the e-mail of a Google service account"),
        )
        .at(account.subject_annotation(GKE_SERVICE_ACCOUNT))
        .evidence("expected", "NAME@PROJECT.iam.gserviceaccount.com")
        .answered(format!(
            "the metadata server will answer: Unable to generate access token; IAM returned 404 Not Found: Not found; Gaia id not found for email {value}"
        ))
        .fix("annotate the ServiceAccount with the e-mail of a service account");
        if let Some(right) = right {
            finding = finding.compared(value, right);
        }
        finding = set_by(finding, case, account, GKE_SERVICE_ACCOUNT);
        let commands = annotate(
            case,
            &account.subject(),
            GKE_SERVICE_ACCOUNT,
            right.unwrap_or("NAME@PROJECT.iam.gserviceaccount.com"),
        );
        Ok(vec![with_commands(finding, commands).applicable(
            if right.is_some() {
                Applicability::Safe
            } else {
                Applicability::Display
            },
        )])
    })
}

fn is_account(value: &str) -> bool {
    let google = [".gserviceaccount.com", "@appspot.gserviceaccount.com"];
    value.parse::<ServiceAccountEmail>().is_ok() && google.iter().any(|end| value.ends_with(end))
}

#[cfg(test)]
mod tests {
    use crate::{doctor::Outcome, rules::fixture::Fixture};

    fn annotated(value: &str) -> Fixture {
        Fixture::gke().service_account(|account| {
            account["metadata"]["annotations"]["iam.gke.io/gcp-service-account"] = value.into();
        })
    }

    #[test]
    fn e_mails_of_all_kinds_and_a_direct_principal_pass() {
        assert_eq!(Fixture::gke().decide("GKE04"), Ok(Outcome::Pass));
        assert_eq!(Fixture::gke_direct().decide("GKE04"), Ok(Outcome::Pass));
        for email in [
            "123456789012-compute@developer.gserviceaccount.com",
            "shop-prod@appspot.gserviceaccount.com",
        ] {
            assert_eq!(annotated(email).decide("GKE04"), Ok(Outcome::Pass));
        }
    }

    #[test]
    fn a_name_alone_and_a_member_are_no_e_mails() {
        assert_eq!(annotated("checkout").messages("GKE04").len(), 1);
        let fixture = annotated("serviceAccount:checkout@shop-prod.iam.gserviceaccount.com");
        let Ok(Outcome::Found(findings)) = fixture.decide("GKE04") else {
            panic!()
        };
        assert_eq!(
            findings[0].fix.commands[0],
            "kubectl -n shop annotate serviceaccount checkout iam.gke.io/gcp-service-account=checkout@shop-prod.iam.gserviceaccount.com --overwrite"
        );
        assert_eq!(
            annotated("checkout@shop-prod.iam.googleapis.com").messages("GKE04").len(),
            1
        );
    }
}
