//! The application is disabled in the tenant, or has no service principal there.
//!
//! ## What it checks
//!
//! `accountEnabled` of the application's service principal, where service principals were given. Conditional access for
//! workload identities shows only in Entra's answer.
//!
//! ## Why it matters
//!
//! An application signs in through its service principal. One that an administrator disabled, or that was never made in this
//! tenant, keeps the whole workload out whatever its credentials say.
//!
//! ## How it looks
//!
//! ```text
//! AADSTS7000112: Application '…' is disabled.
//! AADSTS7000229: The client application … is missing service principal in the tenant ….
//! AADSTS53003: Access has been blocked by Conditional Access policies.
//! ```
//!
//! ## How to fix it
//!
//! Enable the service principal, or make it with `az ad sp create --id CLIENT-ID`.
//!
//! ## How to verify the fix
//!
//! `az ad sp show --id CLIENT-ID --query accountEnabled` prints `true`.
//!
//! ## References
//!
//! - Microsoft, "Disable user sign-in for an application":
//!   <https://learn.microsoft.com/entra/identity/enterprise-apps/disable-user-sign-in-portal>
//! - Microsoft, "Conditional Access for workload identities":
//!   <https://learn.microsoft.com/entra/identity/conditional-access/workload-identity>

use cwii_trust::entra::Reason;

use super::{assertion_findings, each};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    report::{Applicability, Finding},
};

pub(super) const RULE: Rule = Rule::new("AZ11", super::ASSERTION, check).blocked_by(&["AZ01"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |mechanism| {
        let library = case.trust()?;
        if library.entra(None).service_principals.is_none() {
            let id = mechanism
                .client_id
                .as_ref()
                .map_or("CLIENT-ID", |given| given.value.as_str());
            // Seldom the cause, so that nobody is held up for want of it.
            return Err(Gap::NotLookedAt(
                Need::Trust,
                format!("the service principal is not among the trust documents; `az ad sp show --id {id}` prints it"),
            ));
        }
        assertion_findings(case, mechanism, "AZ11", |assertion, fault| {
            let id = &assertion.application.client_id;
            match fault.reason {
                Reason::ClientDisabled => {
                    Finding::new("AZ11", format!("the service principal of `{id}` is disabled"))
                        .fix("enable it, if nobody disabled it on purpose")
                        .command(format!("az ad sp update --id {id} --set accountEnabled=true"))
                        .applicable(Applicability::Unsafe)
                }
                _ => Finding::new("AZ11", format!("`{id}` has no service principal in the tenant"))
                    .fix("make the application's service principal")
                    .command(format!("az ad sp create --id {id}"))
                    .applicable(Applicability::Safe),
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::{Gap, Outcome},
        rules::fixture::{Fixture, trust},
    };

    fn with(enabled: bool) -> Fixture {
        Fixture::azure_by_hand().with(|facts| {
            trust(facts, "sp.json", json!({
                "appId": "11111111-2222-4333-8444-555555555555", "accountEnabled": enabled,
                "servicePrincipalType": "Application", "id": "44444444-0000-4000-8000-000000000004",
            }));
        })
    }

    #[test]
    fn an_enabled_one_passes_and_a_disabled_one_fails() {
        assert_eq!(with(true).decide("AZ11"), Ok(Outcome::Pass));
        assert_eq!(
            with(false).messages("AZ11"),
            ["the service principal of `11111111-2222-4333-8444-555555555555` is disabled"]
        );
        assert_eq!(with(false).decide("AZ03"), Ok(Outcome::Pass));
    }

    #[test]
    fn without_the_document_nobody_looked() {
        assert!(matches!(Fixture::aks().decide("AZ11"), Err(Gap::NotLookedAt(..))));
    }
}
