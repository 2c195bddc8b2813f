//! The IAM Service Account Credentials API is not enabled in the service account's project.
//!
//! ## What it checks
//!
//! That `iamcredentials.googleapis.com` is among the enabled services of the project, where their list was given. Only
//! impersonation needs it.
//!
//! ## Why it matters
//!
//! Without the API nobody gets a token of the account, whatever the policies say. Organization policies that forbid an issuer
//! (`constraints/iam.workloadIdentityPoolProviders`) show when the provider is written, and service perimeters only in the
//! answer of Google; the doctor sees neither.
//!
//! ## How it looks
//!
//! ```text
//! 403 PERMISSION_DENIED: IAM Service Account Credentials API has not been used in project 123456789012 before or it is disabled.
//! ```
//!
//! ## How to fix it
//!
//! `gcloud services enable iamcredentials.googleapis.com` in the project of the service account; it takes some minutes.
//!
//! ## How to verify the fix
//!
//! `gcloud services list --enabled --project=PROJECT` lists it.
//!
//! ## References
//!
//! - Google Cloud, "Enable and disable services": <https://cloud.google.com/service-usage/docs/enable-disable>
//! - Google Cloud, "Create short-lived credentials for a service account":
//!   <https://cloud.google.com/iam/docs/create-short-lived-credentials-direct>

use cwii_contract::Provider;
use cwii_trust::Shape;

use super::{each, impersonation, project_of, service_account};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    report::{Applicability, Finding},
    rules::federation::document,
};

pub(super) const RULE: Rule = Rule::new("GCP09", super::EXCHANGE, check).blocked_by(&[
    "GCP01", "GCP02", "GCP03", "GCP04", "GCP05", "GCP06", "TOK03",
]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |mechanism| {
        let library = case.trust()?;
        let Some(account) = service_account(case, mechanism)? else {
            return Ok(Vec::new());
        };
        let project = project_of(&account.value).unwrap_or("PROJECT");
        if library.google(None).services.is_none() {
            // Seldom the cause, so that nobody is held up for want of it.
            return Err(Gap::NotLookedAt(
                Need::Trust,
                format!(
                    "the enabled services of project `{project}` are not among the trust documents; `gcloud services list --enabled --project={project} --format=json` prints them"
                ),
            ));
        }
        let Some(asked) = impersonation(case, mechanism)? else {
            return Ok(Vec::new());
        };
        Ok(asked
            .faults
            .iter()
            .filter(|fault| fault.reason.check() == Some("GCP09"))
            .map(|fault| {
                Finding::new(
                    "GCP09",
                    format!("`iamcredentials.googleapis.com` is not enabled in project `{project}`"),
                )
                .of(Provider::Gcp)
                .at(document(library, &[Shape::GoogleServices], "Services", project, &fault.clause))
                .answered(&fault.answer)
                .fix("enable the API in the service account's project")
                .command(format!(
                    "gcloud services enable iamcredentials.googleapis.com --project={project}"
                ))
                .applicable(Applicability::Safe)
            })
            .collect())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::{Gap, Need, Outcome},
        rules::fixture::{Fixture, trust},
    };

    fn with(services: serde_json::Value) -> Fixture {
        Fixture::google_federation().with(|facts| trust(facts, "services.json", services))
    }

    fn service(name: &str) -> serde_json::Value {
        json!({"config": {"name": name}, "parent": "projects/123456789012", "state": "ENABLED",
            "name": format!("projects/123456789012/services/{name}")})
    }

    #[test]
    fn an_enabled_api_passes() {
        let fixture = with(json!([service("iamcredentials.googleapis.com"), service("sts.googleapis.com")]));
        assert_eq!(fixture.decide("GCP09"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_list_without_it_fails() {
        assert_eq!(
            with(json!([service("sts.googleapis.com")])).messages("GCP09"),
            ["`iamcredentials.googleapis.com` is not enabled in project `shop-prod`"]
        );
    }

    #[test]
    fn without_a_list_nobody_looked() {
        assert!(matches!(
            Fixture::google_federation().decide("GCP09"),
            Err(Gap::NotLookedAt(Need::Trust, _))
        ));
    }
}
