//! The API server does not mint the token that the pod's volume asks for.
//!
//! ## What it checks
//!
//! With `--probe`, a TokenRequest for the pod's ServiceAccount with the audience of its projected volume, bound to the pod: what
//! the kubelet does for it. That the person who runs the doctor may not ask is unknown, not a finding.
//!
//! ## Why it matters
//!
//! The kubelet asks again before a token runs out. A request that the API server or an admission plugin refuses leaves new
//! pods in `ContainerCreating`, and old ones with a token that runs out.
//!
//! ## How it looks
//!
//! ```text
//! MountVolume.SetUp failed for volume "cwii-aws-token" : failed to fetch token: serviceaccounts "checkout" is forbidden: …
//! ```
//!
//! ## How to fix it
//!
//! The API server's words say what it objects to: a lifetime below 600 seconds, an audience that a policy does not allow, a
//! ServiceAccount or pod that is gone.
//!
//! ## How to verify the fix
//!
//! `kubectl -n NAMESPACE create token NAME --audience AUDIENCE` prints a token.
//!
//! ## References
//!
//! - Kubernetes API, "TokenRequest":
//!   <https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/>

use super::NO_TOKEN;
use crate::{
    doctor::{Case, Gap, Mechanism, Need, Outcome, Rule, known, not_collected},
    facts::Fact,
    report::Finding,
    rules::{federation::each, words::quote},
};

pub(super) const RULE: Rule = Rule::new(
    "TOK02",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
        Need::Tokens,
    ],
    check,
)
.blocked_by(&["POD02", "POD20"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let projects = |mechanism: &Mechanism| {
        mechanism
            .token
            .as_ref()
            .is_some_and(|token| token.audience.is_some())
    };
    each(case, projects, NO_TOKEN, |mechanism| {
        let Some(token) = &mechanism.token else {
            return Ok(Vec::new());
        };
        let audience = token.audience.as_deref().unwrap_or_default();
        let minted = known(&case.look(Need::Tokens).tokens, Need::Tokens)?
            .and_then(|tokens| tokens.get(audience))
            .ok_or_else(|| not_collected(Need::Tokens))?;
        let Fact::Invalid(why) = minted else {
            return match known(minted, Need::Tokens)? {
                Some(_) => Ok(Vec::new()),
                None => Err(Gap::Unknown(
                    Need::Tokens,
                    "the API server knows no such ServiceAccount or pod".into(),
                )),
            };
        };
        let account = case.service_account_name()?;
        Ok(vec![
            Finding::new(
                "TOK02",
                format!("the API server mints no token for audience `{audience}`"),
            )
            .of(mechanism.provider)
            .at(case.pod()?.subject_at(
                &token.source.pointer,
                format!("token in volume `{}`", token.source.volume),
            ))
            .evidence_from("answer", why, "TokenRequest")
            .fix("correct what the API server objects to")
            .command(format!(
                "kubectl -n {} create token {} --audience {}",
                case.namespace_name(),
                quote(account),
                quote(audience)
            )),
        ])
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

    fn answering(answer: Fact<cwii_token::Token>) -> Fixture {
        Fixture::cwii_aws().with(|facts| {
            facts.tokens = Fact::Known([("sts.amazonaws.com".to_owned(), answer)].into());
        })
    }

    #[test]
    fn a_token_that_was_minted_passes() {
        assert_eq!(
            Fixture::cwii_aws().minted(json!({})).decide("TOK02"),
            Ok(Outcome::Pass)
        );
    }

    #[test]
    fn a_refusal_is_quoted() {
        let fixture = answering(Fact::Invalid(
            "spec.expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes".into(),
        ));
        assert_eq!(
            fixture.messages("TOK02"),
            ["the API server mints no token for audience `sts.amazonaws.com`"]
        );
    }

    #[test]
    fn not_being_allowed_to_ask_is_unknown_and_not_asking_is_skipped() {
        let denied = answering(Fact::Denied(
            "create serviceaccounts/token in namespace shop".into(),
        ));
        assert!(matches!(
            denied.decide("TOK02"),
            Err(Gap::Unknown(Need::Tokens, why)) if why.contains("serviceaccounts/token")
        ));
        assert!(matches!(
            Fixture::cwii_aws().decide("TOK02"),
            Err(Gap::NotLookedAt(Need::Tokens, _))
        ));
    }
}
