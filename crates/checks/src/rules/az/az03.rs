//! No federated identity credential of the application or managed identity has the token's issuer.
//!
//! ## What it checks
//!
//! That one of the credentials has `issuer` equal to `iss` of the workload's token, letter for letter, and that there is any
//! credential at all. Credentials with an expression instead of a subject do not work for issuers of clusters.
//!
//! ## Why it matters
//!
//! Entra compares the issuer as a text. AKS issuers end in a slash, most self-hosted ones do not; a cluster that was made
//! anew has another issuer, and the credential still names the old one.
//!
//! ## How it looks
//!
//! ```text
//! AADSTS700211: No matching federated identity record found for presented assertion issuer 'https://…'.
//! AADSTS70025: The client '…' has no configured federated identity credentials.
//! ```
//!
//! ## How to fix it
//!
//! Correct the credential where only its spelling is wrong; otherwise give this cluster's ServiceAccount a credential of its
//! own. New credentials take some minutes to spread.
//!
//! ## How to verify the fix
//!
//! `az identity federated-credential list` (or `az ad app federated-credential list`) shows the issuer that `kubectl get --raw
//! /.well-known/openid-configuration` names.
//!
//! ## References
//!
//! - Microsoft, "Important considerations and restrictions for federated identity credentials":
//!   <https://learn.microsoft.com/entra/workload-id/workload-identity-federation-considerations>
//! - Azure Workload Identity, "Troubleshooting":
//!   <https://azure.github.io/azure-workload-identity/docs/troubleshooting.html>

use cwii_trust::entra::Reason;

use super::{assertion_findings, each, origin};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    report::Finding,
};

pub(super) const RULE: Rule =
    Rule::new("AZ03", super::ASSERTION, check).blocked_by(&["AZ01", "TOK06", "ISS01"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |mechanism| {
        assertion_findings(case, mechanism, "AZ03", |assertion, fault| {
            let (issuer, subject, _) = assertion.claims();
            let client = &assertion.application.client_id;
            let message = match &fault.reason {
                Reason::NoCredentials => {
                    format!("`{client}` has no federated identity credential")
                }
                Reason::IssuedByEntra => "the token is one of Entra's own".to_owned(),
                Reason::ExpressionNotAllowedForIssuer | Reason::ExpressionNotAllowedForIdentity => {
                    format!("the credential of `{client}` has an expression, which never matches a cluster's token")
                }
                Reason::ExpressionInvalid { problem } => {
                    format!("the expression of the credential does not parse: {problem}")
                }
                _ => format!("no credential of `{client}` has the token's issuer"),
            };
            let finding = Finding::new("AZ03", message)
                .evidence_from("token's issuer", issuer, origin(&assertion.token))
                .evidence("token's subject", subject);
            assertion.mended(finding, &fault.repair, case)
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::{Gap, Need, Outcome},
        facts::Fact,
        rules::fixture::Fixture,
    };

    #[test]
    fn the_same_issuer_passes() {
        assert_eq!(Fixture::aks().decide("AZ03"), Ok(Outcome::Pass));
        assert_eq!(Fixture::azure_by_hand().decide("AZ03"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_missing_slash_is_corrected_in_place() {
        let fixture = Fixture::aks().document("credentials.json", |list| {
            let issuer = list[0]["issuer"].as_str().unwrap().trim_end_matches('/').to_owned();
            list[0]["issuer"] = issuer.into();
        });
        let Ok(Outcome::Found(findings)) = fixture.decide("AZ03") else {
            panic!()
        };
        let comparison = findings[0].comparison.as_ref().unwrap();
        assert_eq!(format!("{}/", comparison.found), comparison.expected);
        assert!(findings[0].provider_error.as_ref().unwrap().starts_with("Entra will answer: AADSTS700211: "), "{:?}", findings[0].provider_error);
        assert_eq!(
            findings[0].fix.commands,
            ["az identity federated-credential update --name prod-checkout --identity-name checkout -g shop-rg --issuer https://westeurope.oic.prod-aks.azure.com/22222222-0000-4000-8000-000000000002/33333333-0000-4000-8000-000000000003/ --subject system:serviceaccount:shop:checkout --audiences api://AzureADTokenExchange"]
        );
    }

    #[test]
    fn another_clusters_credential_stays_and_ours_is_made() {
        let fixture = Fixture::azure_by_hand().document("credentials.json", |list| {
            list[0]["issuer"] = "https://oidc.example.com/old".into();
        });
        let Ok(Outcome::Found(findings)) = fixture.decide("AZ03") else {
            panic!()
        };
        assert!(findings[0].fix.commands[0].starts_with(
            "az ad app federated-credential create --id 11111111-2222-4333-8444-555555555555 --parameters '{"
        ));
        assert_eq!(fixture.decide("AZ05"), Err(Gap::Unknown(Need::Trust, findings[0].provider_error.clone().unwrap())));
    }

    #[test]
    fn an_empty_list_is_no_credential_and_no_list_is_unknown() {
        let fixture =
            Fixture::azure_by_hand().document("credentials.json", |list| *list = json!([]));
        // An empty list has no shape to tell it by, so the application's own document says it.
        assert!(matches!(fixture.decide("AZ03"), Ok(Outcome::Found(_)) | Err(Gap::Unknown(..))));
        let fixture = Fixture::aks().without_document("credentials");
        let Err(Gap::Unknown(Need::Trust, why)) = fixture.decide("AZ03") else {
            panic!()
        };
        assert!(why.contains("az identity federated-credential list"));
        let fixture = Fixture::aks().with(|facts| facts.trust = Fact::NotCollected);
        assert!(matches!(fixture.decide("AZ03"), Err(Gap::NotLookedAt(..))));
    }
}
