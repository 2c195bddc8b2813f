//! The token file is missing, or what is in it is not a token that a cloud reads.
//!
//! ## What it checks
//!
//! Of a token that `--probe` has minted: that its header names an algorithm and a key. Whether the file in the pod exists, is
//! readable and holds the bare token shows only inside; the verify container looks at it.
//!
//! ## Why it matters
//!
//! SDKs send the file as it stands. A newline, a quote or the text of an unfilled template goes along and makes the token
//! something else, and the cloud's answer does not say so.
//!
//! ## How it looks
//!
//! ```text
//! An error occurred (InvalidIdentityToken) when calling the AssumeRoleWithWebIdentity operation: The ID Token provided is not a valid JWT
//! ```
//!
//! ## How to fix it
//!
//! Mount the projected volume itself instead of a copy of the file. Where the kubelet has not written it, restart the pod.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii verify TYPE/NAME` reads the file inside a pod and says what is in it.
//!
//! ## References
//!
//! - Kubernetes, "ServiceAccount token volume projection":
//!   <https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#serviceaccount-token-volume-projection>

use super::{NEEDS, NO_TOKEN, claim, presents, real};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    report::Finding,
    rules::federation::each,
};

pub(super) const RULE: Rule = Rule::new("TOK01", NEEDS, check);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, presents, NO_TOKEN, |mechanism| {
        let view = real(case, mechanism)?;
        let header = &view.token.header;
        // What was written down is claims alone.
        let missing = match (&header.alg, &header.kid) {
            (None, _) => "alg",
            (_, None) if view.origin == crate::doctor::TokenOrigin::Minted => "kid",
            _ => return Ok(Vec::new()),
        };
        Ok(vec![
            Finding::new(
                "TOK01",
                format!("the header of the token has no `{missing}`, which every cloud wants"),
            )
            .of(mechanism.provider)
            .at(claim(&view, missing))
            .fix("see with which key the API server signs (kube-apiserver --service-account-signing-key-file)"),
        ])
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
    fn a_minted_token_with_algorithm_and_key_passes() {
        assert_eq!(
            Fixture::cwii_aws().minted(json!({})).decide("TOK01"),
            Ok(Outcome::Pass)
        );
    }

    #[test]
    fn a_minted_token_without_a_key_is_named() {
        let fixture = Fixture::cwii_aws().minted(json!({"kid": null}));
        assert_eq!(
            fixture.messages("TOK01"),
            ["the header of the token has no `kid`, which every cloud wants"]
        );
    }

    #[test]
    fn without_a_probe_nobody_looked() {
        assert!(matches!(
            Fixture::cwii_aws().issued().decide("TOK01"),
            Err(Gap::NotLookedAt(Need::Tokens, _))
        ));
        assert!(matches!(
            Fixture::plain().decide("TOK01"),
            Ok(Outcome::NotApplicable(_))
        ));
    }
}
