//! The token's subject is not that of the pod's ServiceAccount.
//!
//! ## What it checks
//!
//! `sub` of a token that was minted or found in the pod: `system:serviceaccount:NAMESPACE:NAME` of the pod's namespace and
//! ServiceAccount. Its length, which matters to Google alone, is GCP06.
//!
//! ## Why it matters
//!
//! Every cloud's trust names the subject, byte for byte. A virtual cluster that lets the host make its tokens, or a token that
//! was copied from another workload, has another one.
//!
//! ## How it looks
//!
//! ```text
//! AADSTS700213: No matching federated identity record found for presented assertion subject 'system:serviceaccount:vcluster-team-a:checkout-x-shop-x-team-a'
//! ```
//!
//! ## How to fix it
//!
//! Use the projected token of the workload itself. Where a virtual cluster rewrites ServiceAccounts, let it sign tokens with an
//! issuer of its own, or trust the name that the host gives.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii token decode --pod NAME --provider PROVIDER` shows `sub` as expected.
//!
//! ## References
//!
//! - Kubernetes, "Service account tokens", claims:
//!   <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/>

use super::{NEEDS, NO_TOKEN, claim, presents, real};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    report::Finding,
    rules::federation::each,
};

pub(super) const RULE: Rule = Rule::new("TOK04", NEEDS, check).blocked_by(&["TOK06"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, presents, NO_TOKEN, |mechanism| {
        let view = real(case, mechanism)?;
        let expected = case.subject()?;
        let found = view.token.claims.subject().unwrap_or_default();
        if found == expected {
            return Ok(Vec::new());
        }
        Ok(vec![
            Finding::new("TOK04", "the token's subject is not the pod's ServiceAccount")
                .of(mechanism.provider)
                .at(claim(&view, "sub"))
                .compared(found, expected)
                .fix("use the projected token of this workload, or trust the subject that it has"),
        ])
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::Outcome, rules::fixture::Fixture};

    #[test]
    fn the_pods_own_subject_passes() {
        assert_eq!(
            Fixture::cwii_aws().in_pod(json!({})).decide("TOK04"),
            Ok(Outcome::Pass)
        );
    }

    #[test]
    fn another_subject_is_compared() {
        let fixture = Fixture::cwii_aws().minted(json!({"sub": "system:serviceaccount:host:x"}));
        assert_eq!(
            fixture.messages("TOK04"),
            ["the token's subject is not the pod's ServiceAccount"]
        );
    }

    #[test]
    fn a_token_that_is_only_foretold_shows_nothing() {
        assert!(Fixture::cwii_aws().issued().decide("TOK04").is_err());
    }
}
