//! The provider's issuer is not the issuer of the token.
//!
//! ## What it checks
//!
//! That `oidc.issuerUri` of the provider is `iss` of the workload's token, byte for byte.
//!
//! ## Why it matters
//!
//! Google compares the two as texts: a trailing slash, a port or another case makes another issuer. After a cluster was made
//! anew its issuer often is another one, and the provider still names the old cluster's.
//!
//! ## How it looks
//!
//! ```text
//! Error code invalid_grant: The issuer in ID Token https://… does not match the expected one in config: https://…
//! ```
//!
//! ## How to fix it
//!
//! Set the provider's issuer to the token's. Where the provider serves another cluster that is still there, make a provider
//! for this one instead; a pool has room for many.
//!
//! ## How to verify the fix
//!
//! `gcloud iam workload-identity-pools providers describe … --format='value(oidc.issuerUri)'` prints the issuer that
//! `kubectl get --raw /.well-known/openid-configuration` names.
//!
//! ## References
//!
//! - Google Cloud, "Troubleshoot Workload Identity Federation":
//!   <https://cloud.google.com/iam/docs/troubleshooting-workload-identity-federation>
//! - Google Cloud, "Configure Workload Identity Federation with Kubernetes":
//!   <https://cloud.google.com/iam/docs/workload-identity-federation-with-kubernetes>

use super::{each, exchange_findings, origin, update_provider};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    report::{Applicability, Finding},
};

pub(super) const RULE: Rule =
    Rule::new("GCP03", super::EXCHANGE, check).blocked_by(&["GCP01", "GCP02", "TOK06", "ISS01"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |mechanism| {
        exchange_findings(case, mechanism, "GCP03", |exchange, _| {
            let issuer = exchange.token.token.claims.issuer().unwrap_or_default();
            let configured = exchange
                .document()
                .map_or("", |provider| provider.issuer_uri.as_str());
            let bare = |text: &str| text.trim_end_matches('/').to_ascii_lowercase();
            let finding = Finding::new("GCP03", "the provider's issuer is not the token's")
                .evidence_from("token's issuer", issuer, origin(&exchange.token))
                .compared(configured, issuer)
                .fix("set the provider's issuer to the token's")
                .command(update_provider(&exchange.provider, "--issuer-uri", issuer));
            let slip = bare(issuer) == bare(configured);
            finding.applicable(if slip {
                Applicability::Safe
            } else {
                Applicability::Unsafe
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use crate::{doctor::Outcome, rules::fixture::Fixture};

    #[test]
    fn the_same_issuer_passes() {
        assert_eq!(Fixture::gcp().decide("GCP03"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_trailing_slash_is_another_issuer() {
        let fixture = Fixture::gcp().google_provider(|provider| {
            provider["oidc"]["issuerUri"] = "https://oidc.example.com/prod/".into();
        });
        let Ok(Outcome::Found(findings)) = fixture.decide("GCP03") else {
            panic!()
        };
        let comparison = findings[0].comparison.as_ref().unwrap();
        assert_eq!(comparison.found, "https://oidc.example.com/prod/");
        assert_eq!(comparison.expected, "https://oidc.example.com/prod");
        assert_eq!(
            findings[0].fix.commands,
            ["gcloud iam workload-identity-pools providers update-oidc prod --workload-identity-pool=clusters --location=global --project=123456789012 --issuer-uri=https://oidc.example.com/prod"]
        );
        assert_eq!(
            findings[0].provider_error.as_deref(),
            Some("Google will answer: invalid_grant: The issuer in ID Token https://oidc.example.com/prod does not match the expected one in config: https://oidc.example.com/prod/")
        );
    }

    #[test]
    fn an_issuer_that_differs_does_not_hide_an_audience_that_does() {
        let fixture = Fixture::gcp().google_provider(|provider| {
            provider["oidc"]["issuerUri"] = "https://oidc.example.com/old".into();
            provider["oidc"]["allowedAudiences"] = serde_json::json!(["somebody-else"]);
        });
        assert_eq!(fixture.messages("GCP03").len(), 1);
        assert_eq!(fixture.messages("GCP04").len(), 1);
    }
}
