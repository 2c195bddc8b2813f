//! The service account that the workload impersonates is disabled, or the member that let it was deleted.
//!
//! ## What it checks
//!
//! `disabled` in the service account's description, where one was given, and members of its allow policy that begin with
//! `deleted:`.
//!
//! ## Why it matters
//!
//! IAM answers as it does for a missing binding. A binding for an account that was deleted and made anew under the same name
//! belongs to the old one: IAM keeps it as `deleted:…?uid=…`, and it never applies to the new one.
//!
//! ## How it looks
//!
//! ```text
//! 403 PERMISSION_DENIED: Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).
//! ```
//!
//! ## How to fix it
//!
//! Enable the service account, or bind the member again.
//!
//! ## How to verify the fix
//!
//! `gcloud iam service-accounts describe EMAIL` shows no `disabled: true`, and the policy no member that begins with
//! `deleted:`.
//!
//! ## References
//!
//! - Google Cloud, "Disable and enable service accounts":
//!   <https://cloud.google.com/iam/docs/service-accounts-disable-enable>
//! - Google Cloud, "Policies with deleted principals":
//!   <https://cloud.google.com/iam/docs/allow-policies#deleted-principals>

use cwii_contract::Provider;
use cwii_trust::{Shape, google::Reason};

use super::{add_binding, each, impersonation, project_of};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    report::{Applicability, Finding},
    rules::federation::document,
};

pub(super) const RULE: Rule = Rule::new("GCP08", super::EXCHANGE, check).blocked_by(&[
    "GCP01", "GCP02", "GCP03", "GCP04", "GCP05", "GCP06", "TOK03",
]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |mechanism| {
        let Some(asked) = impersonation(case, mechanism)? else {
            return Ok(Vec::new());
        };
        let email = &asked.email;
        let project = project_of(email)
            .map(|project| format!(" --project={project}"))
            .unwrap_or_default();
        Ok(asked
            .faults
            .iter()
            .filter(|fault| fault.reason.check() == Some("GCP08"))
            .map(|fault| {
                let (finding, shape) = if matches!(fault.reason, Reason::MemberDeleted) {
                    let member = asked.principal.identifier();
                    (
                        Finding::new(
                            "GCP08",
                            format!("the member that may impersonate `{email}` was deleted"),
                        )
                        .evidence("principal", &member)
                        .fix("bind the workload again")
                        .command(add_binding(email, &member))
                        .applicable(Applicability::Safe),
                        Shape::GoogleIamPolicy,
                    )
                } else {
                    (
                        Finding::new("GCP08", format!("the service account `{email}` is disabled"))
                            .fix("enable it, if nobody disabled it on purpose")
                            .command(format!("gcloud iam service-accounts enable {email}{project}"))
                            .applicable(Applicability::Unsafe),
                        Shape::GoogleServiceAccount,
                    )
                };
                finding
                    .of(Provider::Gcp)
                    .at(document(asked.library, &[shape], "ServiceAccount", email, &fault.clause))
                    .answered(&fault.answer)
            })
            .collect())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::Outcome,
        rules::fixture::{Fixture, trust},
    };

    #[test]
    fn an_enabled_account_passes() {
        assert_eq!(Fixture::google_federation().decide("GCP08"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_disabled_account_is_told_from_a_missing_binding() {
        let fixture = Fixture::google_federation().with(|facts| {
            trust(facts, "account.json", json!({
                "email": "checkout@shop-prod.iam.gserviceaccount.com", "disabled": true,
                "name": "projects/shop-prod/serviceAccounts/checkout@shop-prod.iam.gserviceaccount.com",
                "projectId": "shop-prod", "uniqueId": "100000000000000000001",
            }));
        });
        assert_eq!(
            fixture.messages("GCP08"),
            ["the service account `checkout@shop-prod.iam.gserviceaccount.com` is disabled"]
        );
        assert_eq!(fixture.decide("GCP07"), Ok(Outcome::Pass));
    }
}
