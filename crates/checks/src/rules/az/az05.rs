//! No federated identity credential of the token's issuer has its subject.
//!
//! ## What it checks
//!
//! That one of the credentials with the token's issuer has `subject` equal to
//! `system:serviceaccount:NAMESPACE:SERVICEACCOUNT`, letter for letter.
//!
//! ## Why it matters
//!
//! Entra compares the whole subject with upper and lower case, takes no wildcards, and trims nothing. Since 2024 a difference
//! in case alone is refused too, with a number of its own.
//!
//! ## How it looks
//!
//! ```text
//! AADSTS700213: No matching federated identity record found for presented assertion subject 'system:serviceaccount:shop:checkout'.
//! AADSTS7002138: … The subject matches with case-insensitive comparison, but not with case-sensitive comparison.
//! ```
//!
//! ## How to fix it
//!
//! Correct the subject where it names nobody else; a credential of another ServiceAccount stays, and this one gets its own.
//!
//! ## How to verify the fix
//!
//! `az identity federated-credential list` (or `az ad app federated-credential list`) shows the subject.
//!
//! ## References
//!
//! - Microsoft, "Important considerations and restrictions for federated identity credentials":
//!   <https://learn.microsoft.com/entra/workload-id/workload-identity-federation-considerations>
//! - Azure Workload Identity, "Federated Identity Credential":
//!   <https://azure.github.io/azure-workload-identity/docs/topics/federated-identity-credential.html>

use cwii_trust::entra::Reason;

use super::{assertion_findings, each, origin};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    report::Finding,
};

pub(super) const RULE: Rule =
    Rule::new("AZ05", super::ASSERTION, check).blocked_by(&["AZ01", "AZ03", "TOK06"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |mechanism| {
        assertion_findings(case, mechanism, "AZ05", |assertion, fault| {
            let (issuer, subject, _) = assertion.claims();
            let message = match fault.reason {
                Reason::SubjectCaseMismatch => {
                    "the credential's subject differs from the token's in upper and lower case"
                }
                _ => "no credential of the token's issuer has its subject",
            };
            let finding = Finding::new("AZ05", message)
                .evidence_from("token's subject", subject, origin(&assertion.token))
                .evidence("token's issuer", issuer);
            assertion.mended(finding, &fault.repair, case)
        })
    })
}

#[cfg(test)]
mod tests {
    use crate::{doctor::Outcome, rules::fixture::Fixture};

    fn subject(subject: &str) -> Fixture {
        Fixture::aks().document("credentials.json", |list| list[0]["subject"] = subject.into())
    }

    fn command(fixture: &Fixture) -> String {
        match fixture.decide("AZ05") {
            Ok(Outcome::Found(findings)) => findings[0].fix.commands[0].clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_same_subject_passes() {
        assert_eq!(Fixture::aks().decide("AZ05"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_difference_in_case_has_its_own_number_and_is_corrected_in_place() {
        let fixture = subject("system:serviceaccount:Shop:checkout");
        let Ok(Outcome::Found(findings)) = fixture.decide("AZ05") else {
            panic!()
        };
        assert!(findings[0].provider_error.as_ref().unwrap().contains("case-sensitive"));
        assert!(command(&fixture).contains("update --name prod-checkout"));
    }

    #[test]
    fn another_workloads_credential_stays_and_nonsense_is_corrected() {
        assert!(command(&subject("system:serviceaccount:shop:billing")).contains("create --name shop-checkout"));
        assert!(command(&subject("shop:checkout")).contains("update --name prod-checkout"));
    }
}
