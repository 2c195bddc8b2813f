//! The federated identity credential of the token's issuer and subject has another audience.
//!
//! ## What it checks
//!
//! That `audiences` of the credential, which has exactly one, is the token's `aud`.
//!
//! ## Why it matters
//!
//! The usual audience is `api://AzureADTokenExchange`; the documentation of sovereign clouds names others. For a cluster's
//! tokens any text will do, as long as pod and credential have the same.
//!
//! ## How it looks
//!
//! ```text
//! AADSTS700212: No matching federated identity record found for presented assertion audience '…'.
//! ```
//!
//! ## How to fix it
//!
//! Set the credential's audience to the token's. A second credential does not help: issuer and subject may stand together only
//! once.
//!
//! ## How to verify the fix
//!
//! `az identity federated-credential list` (or `az ad app federated-credential list`) shows the audience.
//!
//! ## References
//!
//! - Microsoft, "Important considerations and restrictions for federated identity credentials":
//!   <https://learn.microsoft.com/entra/workload-id/workload-identity-federation-considerations>
//! - Microsoft, "Configure an app to trust an external identity provider":
//!   <https://learn.microsoft.com/entra/workload-id/workload-identity-federation-create-trust>

use super::{assertion_findings, each, origin};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    report::Finding,
};

pub(super) const RULE: Rule =
    Rule::new("AZ04", super::ASSERTION, check).blocked_by(&["AZ01", "AZ03", "AZ05", "TOK03"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |mechanism| {
        assertion_findings(case, mechanism, "AZ04", |assertion, fault| {
            let (_, _, audience) = assertion.claims();
            let finding = Finding::new("AZ04", "the credential has another audience than the token")
                .evidence_from("token's audience", audience, origin(&assertion.token));
            assertion.mended(finding, &fault.repair, case)
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::Outcome, rules::fixture::Fixture};

    #[test]
    fn the_same_audience_passes() {
        assert_eq!(Fixture::aks().decide("AZ04"), Ok(Outcome::Pass));
    }

    #[test]
    fn another_one_is_corrected_in_the_credential() {
        let fixture = Fixture::aks().document("credentials.json", |list| {
            list[0]["audiences"] = json!(["api://AzureADTokenExchangeChina"]);
        });
        let Ok(Outcome::Found(findings)) = fixture.decide("AZ04") else {
            panic!()
        };
        assert!(findings[0].fix.commands[0].contains("federated-credential update --name prod-checkout"));
        assert!(findings[0].fix.commands[0].ends_with("--audiences api://AzureADTokenExchange"));
    }

    #[test]
    fn a_slip_in_the_issuer_does_not_hide_it() {
        let fixture = Fixture::aks().document("credentials.json", |list| {
            let issuer = list[0]["issuer"].as_str().unwrap().trim_end_matches('/').to_owned();
            list[0]["issuer"] = issuer.into();
            list[0]["audiences"] = json!(["sts.amazonaws.com"]);
        });
        assert_eq!(fixture.messages("AZ03").len(), 1);
        assert_eq!(fixture.messages("AZ04").len(), 1);
    }
}
