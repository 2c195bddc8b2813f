//! New tokens come from another issuer than the one that the cluster advertises.
//!
//! ## What it checks
//!
//! `iss` of a token that `--probe` has minted against `issuer` of the API server's discovery document.
//!
//! ## Why it matters
//!
//! kube-apiserver takes several `--service-account-issuer`: the first signs, all are accepted, and the discovery document names
//! the first. Where control planes are upgraded one by one, or their flags differ in order, some sign with an issuer that nobody
//! registered with the cloud.
//!
//! ## How it looks
//!
//! The same workload works in one attempt and not in the next, or stops working after an upgrade:
//!
//! ```text
//! InvalidIdentityToken: No OpenIDConnect provider found in your account for https://…
//! ```
//!
//! ## How to fix it
//!
//! Put the public issuer first in the flags of every control plane.
//!
//! ## How to verify the fix
//!
//! `kubectl -n NAMESPACE create token NAME | kubectl cwii token decode -` shows the public issuer, each time.
//!
//! ## References
//!
//! - Kubernetes, "kube-apiserver", `--service-account-issuer`:
//!   <https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/>

use super::{NO_TOKEN, presenting};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule, TOKEN, TokenOrigin, known, not_collected},
    report::{Finding, Subject},
};

pub(super) const RULE: Rule = Rule::new(
    "ISS02",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
        Need::Tokens,
        Need::Claims,
        Need::Discovery,
        Need::Jwks,
    ],
    check,
);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let presenting = presenting(case)?;
    if presenting.is_empty() {
        return Ok(Outcome::not_applicable(NO_TOKEN));
    }
    for need in TOKEN {
        case.look(*need);
    }
    known(&case.look(Need::Tokens).tokens, Need::Tokens)?;
    let mut any = false;
    for mechanism in presenting {
        let Ok(view) = case.token(mechanism) else {
            continue;
        };
        if view.origin != TokenOrigin::Minted {
            continue;
        }
        any = true;
        let Some(discovery) = case.discovery()? else {
            continue;
        };
        let iss = view.token.claims.issuer().unwrap_or_default();
        if iss != discovery.issuer {
            return Ok(Outcome::Found(vec![
                Finding::new("ISS02", "new tokens come from another issuer than the cluster advertises")
                    .at(Subject {
                        kind: "Token".into(),
                        name: "minted now".into(),
                        pointer: Some("/iss".into()),
                        what: Some("claim `iss`".into()),
                        ..Subject::default()
                    })
                    .compared(iss, &discovery.issuer)
                    .fix("put the public issuer first among --service-account-issuer of every kube-apiserver"),
            ]));
        }
    }
    if any {
        Ok(Outcome::Pass)
    } else {
        Err(not_collected(Need::Tokens))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::{Gap, Need, Outcome},
        rules::fixture::Fixture,
    };

    #[test]
    fn the_advertised_issuer_passes() {
        assert_eq!(
            Fixture::cwii_aws().minted(json!({})).decide("ISS02"),
            Ok(Outcome::Pass)
        );
    }

    #[test]
    fn another_issuer_is_compared() {
        let fixture = Fixture::cwii_aws()
            .minted(json!({"iss": "https://kubernetes.default.svc.cluster.local"}));
        assert_eq!(
            fixture.messages("ISS02"),
            ["new tokens come from another issuer than the cluster advertises"]
        );
    }

    #[test]
    fn without_a_minted_token_nobody_looked() {
        for fixture in [
            Fixture::cwii_aws().issued(),
            Fixture::cwii_aws().in_pod(json!({})),
        ] {
            assert!(matches!(
                fixture.decide("ISS02"),
                Err(Gap::NotLookedAt(Need::Tokens, _))
            ));
        }
    }
}
