//! The token is signed with an algorithm that the cloud does not accept.
//!
//! ## What it checks
//!
//! The algorithm of a minted token, or else the types of the cluster's keys, against what the cloud reads: AWS RS256 to RS512 and
//! ES256 to ES512, Google RS256 and ES256, Entra RS256.
//!
//! ## Why it matters
//!
//! kube-apiserver signs with whatever key it is given, an elliptic one included, and the cluster works. A cloud that does not
//! know the algorithm refuses the token before it looks for the key.
//!
//! ## How it looks
//!
//! ```text
//! AADSTS50027: JWT token is invalid or malformed.
//! ```
//!
//! ## How to fix it
//!
//! Sign with an RSA key of at least 2048 bits: add it with `--service-account-key-file` everywhere first, publish it, then switch
//! `--service-account-signing-key-file`.
//!
//! ## How to verify the fix
//!
//! `kubectl -n NAMESPACE create token NAME --audience AUDIENCE | kubectl cwii token decode -` shows `RS256`.
//!
//! ## References
//!
//! - Google, "Workload Identity Federation with other identity providers", requirements:
//!   <https://cloud.google.com/iam/docs/workload-identity-federation-with-other-providers>
//! - Microsoft, "Workload identity federation", supported signing algorithm:
//!   <https://learn.microsoft.com/entra/workload-id/workload-identity-federation-considerations>

use cwii_contract::Provider;
use cwii_token::{Algorithm, Jwks, KeyRules};

use super::{NEEDS, NO_TOKEN, claim, presents, reader};
use crate::{
    doctor::{Case, Gap, Outcome, Rule, TokenOrigin},
    report::Finding,
    rules::federation::each,
};

pub(super) const RULE: Rule = Rule::new("TOK12", NEEDS, check).blocked_by(&["TOK06"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, presents, NO_TOKEN, |mechanism| {
        let rules = match mechanism.provider {
            Provider::Aws => KeyRules::Aws,
            Provider::Gcp => KeyRules::Google,
            Provider::Az => KeyRules::Entra,
        };
        let view = case.token(mechanism).ok();
        let minted = view.filter(|view| view.origin == TokenOrigin::Minted);
        let algorithms = match &minted {
            Some(view) => view.token.header.alg.clone().into_iter().collect(),
            None => match case.jwks()? {
                Some(jwks) => of_keys(jwks),
                None => Vec::new(),
            },
        };
        let accepted = |name: &String| {
            Algorithm::from_name(name)
                .is_some_and(|algorithm| rules.algorithms().contains(&algorithm))
        };
        // While keys are being replaced one that will do is enough to go on.
        if algorithms.is_empty() || algorithms.iter().any(accepted) {
            return Ok(Vec::new());
        }
        let names: Vec<_> = rules.algorithms().iter().map(|a| a.as_str()).collect();
        let mut finding = Finding::new(
            "TOK12",
            format!(
                "tokens are signed with {}, which {} does not accept",
                algorithms.join(" and "),
                reader(mechanism.provider)
            ),
        )
        .of(mechanism.provider)
        .compared(algorithms.join(", "), names.join(", "));
        if let Some(view) = &minted {
            finding = finding.at(claim(view, "alg"));
        }
        Ok(vec![finding.fix(
            "sign ServiceAccount tokens with an RSA key (kube-apiserver --service-account-signing-key-file), once it is published",
        )])
    })
}

/// The algorithms of the keys: what kube-apiserver says of each.
fn of_keys(jwks: &Jwks) -> Vec<String> {
    let mut names: Vec<String> = jwks.keys.iter().filter_map(|key| key.alg.clone()).collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use crate::{
        doctor::{Gap, Need, Outcome},
        facts::Fact,
        rules::fixture::{Fixture, token::jwks},
    };

    const ES384: &str = r#"{"keys": [{"use": "sig", "kty": "EC", "kid": "a", "alg": "ES384", "crv": "P-384", "x": "", "y": ""}]}"#;

    #[test]
    fn an_rsa_key_passes_everywhere() {
        for fixture in [Fixture::cwii_aws(), Fixture::cwii_az(), Fixture::gcp()] {
            assert_eq!(fixture.issued().decide("TOK12"), Ok(Outcome::Pass));
        }
        assert_eq!(Fixture::cwii_aws().signed().decide("TOK12"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_key_that_only_some_accept_is_named_for_the_others() {
        let with = |fixture: Fixture| {
            fixture
                .issued()
                .with(|facts| facts.jwks = Fact::Known(jwks(ES384)))
        };
        assert_eq!(with(Fixture::cwii_aws()).decide("TOK12"), Ok(Outcome::Pass));
        assert_eq!(
            with(Fixture::cwii_az()).messages("TOK12"),
            ["tokens are signed with ES384, which Entra does not accept"]
        );
        assert_eq!(with(Fixture::gcp()).messages("TOK12").len(), 1);
    }

    #[test]
    fn without_keys_nobody_looked() {
        assert!(matches!(
            Fixture::cwii_aws().decide("TOK12"),
            Err(Gap::NotLookedAt(Need::Jwks, _))
        ));
    }
}
