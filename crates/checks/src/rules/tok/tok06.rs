//! The token was made by another cluster, or for another workload, than the doctor looks at.
//!
//! ## What it checks
//!
//! `iss` of the token in the pod against the issuer in the API server's discovery document, and the namespace and ServiceAccount
//! in its claim `kubernetes.io` against the pod's. A difference of a slash or of case is ISS03.
//!
//! ## Why it matters
//!
//! In a virtual cluster, in a hosted control plane, or where a token file is synchronised from elsewhere, the token that a cloud
//! sees may be one of the host cluster: with another issuer, and with names that the host gave. Trust that was set up for the
//! inner cluster then never matches.
//!
//! ## How it looks
//!
//! ```text
//! InvalidIdentityToken: No OpenIDConnect provider found in your account for https://kubernetes.default.svc.cluster.local
//! ```
//!
//! ## How to fix it
//!
//! Find out which cluster makes the tokens, and set trust up for its issuer and its names; or have the inner cluster's own API
//! server make them.
//!
//! ## How to verify the fix
//!
//! `iss` of `kubectl cwii token decode --pod NAME` is the `issuer` that
//! `kubectl get --raw /.well-known/openid-configuration` shows.
//!
//! ## References
//!
//! - Kubernetes, "Service account issuer discovery":
//!   <https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery>

use super::{NEEDS, NO_TOKEN, claim, found, presents};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    report::Finding,
    rules::{federation::each, iss::near},
};

pub(super) const RULE: Rule = Rule::new("TOK06", NEEDS, check);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, presents, NO_TOKEN, |mechanism| {
        let view = found(case, mechanism)?;
        let claims = &view.token.claims;
        let mut findings = Vec::new();
        if let (Some(iss), Some(discovery)) = (claims.issuer(), case.discovery()?)
            && iss != discovery.issuer
            && !near(iss, &discovery.issuer)
        {
            findings.push(
                Finding::new("TOK06", "the token comes from another cluster's issuer")
                    .of(mechanism.provider)
                    .at(claim(&view, "iss"))
                    .compared(iss, &discovery.issuer)
                    .fix("set trust up for the issuer of the cluster that makes the tokens, or have this one make them"),
            );
        }
        let Some(kubernetes) = claims.kubernetes() else {
            return Ok(findings);
        };
        let account = kubernetes.service_account.map(|account| account.name);
        let whose = format!(
            "{}/{}",
            kubernetes.namespace.as_deref().unwrap_or_default(),
            account.as_deref().unwrap_or_default()
        );
        let expected = format!("{}/{}", case.namespace_name(), case.service_account_name()?);
        if findings.is_empty() && kubernetes.namespace.is_some() && account.is_some() && whose != expected {
            findings.push(
                Finding::new("TOK06", "the token was made for another ServiceAccount")
                    .of(mechanism.provider)
                    .at(claim(&view, "kubernetes.io"))
                    .compared(whose, expected)
                    .fix("use the projected token of this workload"),
            );
        }
        Ok(findings)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::{Gap, Need, Outcome},
        rules::fixture::Fixture,
    };

    #[test]
    fn a_token_of_this_cluster_passes() {
        assert_eq!(
            Fixture::cwii_aws().in_pod(json!({})).decide("TOK06"),
            Ok(Outcome::Pass)
        );
    }

    #[test]
    fn another_issuer_is_compared_and_a_slash_is_not_another() {
        let fixture = Fixture::cwii_aws()
            .in_pod(json!({"iss": "https://kubernetes.default.svc.cluster.local"}));
        assert_eq!(
            fixture.messages("TOK06"),
            ["the token comes from another cluster's issuer"]
        );
        let fixture = Fixture::cwii_aws().in_pod(json!({"iss": "https://oidc.example.com/prod/"}));
        assert_eq!(fixture.decide("TOK06"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_token_for_another_account_is_named() {
        let fixture = Fixture::cwii_aws().in_pod(json!({"kubernetes.io":
            {"namespace": "host", "serviceaccount": {"name": "checkout-x-shop"}}}));
        assert_eq!(
            fixture.messages("TOK06"),
            ["the token was made for another ServiceAccount"]
        );
    }

    #[test]
    fn without_the_pods_token_nobody_looked() {
        assert!(matches!(
            Fixture::cwii_aws().issued().decide("TOK06"),
            Err(Gap::NotLookedAt(Need::Claims, _))
        ));
    }
}
