//! The token in the pod lives longer or shorter than the pod asks for.
//!
//! ## What it checks
//!
//! `exp` less `iat` of the token in the pod against `expirationSeconds` of its volume (3600 where none is given).
//!
//! ## Why it matters
//!
//! The API server cuts lifetimes to its `--service-account-max-token-expiration`, and stretches some tokens of its own
//! audience to a year. An application that renews by the lifetime that somebody configured then renews too late.
//!
//! ## How it looks
//!
//! The application uses a token for longer than it is valid and gets `ExpiredTokenException` or `AADSTS700024` now and then.
//!
//! ## How to fix it
//!
//! Let the SDK read the file each time, or renew by `exp`. Ask for a lifetime that the API server grants.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii token decode --pod NAME` shows the lifetime in force.
//!
//! ## References
//!
//! - Kubernetes, "kube-apiserver", `--service-account-max-token-expiration`:
//!   <https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/>

use cwii_token::span::humanize;
use jiff::SignedDuration;

use super::{NEEDS, NO_TOKEN, claim, found, presents};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    report::Finding,
    rules::federation::each,
};

pub(super) const RULE: Rule = Rule::new("TOK08", NEEDS, check);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, presents, NO_TOKEN, |mechanism| {
        let view = found(case, mechanism)?;
        let Some((token, lifetime)) = mechanism.token.as_ref().zip(view.token.claims.lifetime())
        else {
            return Ok(Vec::new());
        };
        let asked = SignedDuration::from_secs(token.source.expiration_seconds.unwrap_or(3600));
        // API servers add a few seconds to what they are asked for, so that a default token can be told.
        if (lifetime - asked).abs() <= SignedDuration::from_secs(60) {
            return Ok(Vec::new());
        }
        Ok(vec![
            Finding::new(
                "TOK08",
                format!(
                    "the token lives for {}, and the pod asks for {}",
                    humanize(lifetime),
                    humanize(asked)
                ),
            )
            .of(mechanism.provider)
            .at(claim(&view, "exp"))
            .compared(lifetime.as_secs().to_string(), asked.as_secs().to_string())
            .fix("renew by the token's `exp`, and ask for a lifetime that the API server grants"),
        ])
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{catalogue::Severity, doctor::Outcome, rules::fixture::Fixture};

    #[test]
    fn the_lifetime_that_was_asked_for_passes() {
        assert_eq!(
            Fixture::cwii_aws().in_pod(json!({})).decide("TOK08"),
            Ok(Outcome::Pass)
        );
    }

    #[test]
    fn another_lifetime_is_a_warning() {
        let now = 1_795_348_800;
        let fixture = Fixture::cwii_aws().in_pod(json!({"iat": now, "exp": now + 86_400}));
        assert_eq!(
            fixture.messages("TOK08"),
            ["the token lives for 1 d, and the pod asks for 1 h"]
        );
        assert_eq!(fixture.severities("TOK08"), [Severity::Warning]);
    }
}
