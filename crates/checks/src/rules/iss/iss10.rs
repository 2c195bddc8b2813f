//! The key that signs the cluster's tokens is not among the keys that the issuer publishes.
//!
//! ## What it checks
//!
//! With a token that `--probe` has minted: that the published JWKS has a key of its `kid`, and that the signature is of that key.
//! Without one: that each key of the API server's own JWKS is published under its `kid`.
//!
//! ## Why it matters
//!
//! The documents in storage are a copy. When the cluster is rebuilt or its signing key replaced, tokens carry a `kid` that nobody
//! published, and every cloud refuses all of them at once.
//!
//! ## How it looks
//!
//! ```text
//! InvalidIdentityToken: Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements
//! invalid_grant: Unable to verify the ID Token signature.
//! ```
//!
//! ## How to fix it
//!
//! Publish the cluster's current JWKS, together with the keys that tokens in use are still signed with. Clouds that cache keys
//! take minutes to see it.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii issuer check` compares the keys of both sides.
//!
//! ## References
//!
//! - Kubernetes, "Service account issuer discovery":
//!   <https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery>
//! - Microsoft, "Workload identity federation", signing key roll over:
//!   <https://learn.microsoft.com/entra/workload-id/workload-identity-federation-considerations>

use cwii_contract::Provider;
use cwii_token::{Jwks, KeyError, KeyRules, select_key, verify_signature};

use super::{document, of_published, unread, upload};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule, TokenOrigin, known, not_collected},
    facts::Fact,
    report::Finding,
};

pub(super) const RULE: Rule = Rule::new(
    "ISS10",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
        Need::Published,
        Need::Tokens,
        Need::Claims,
        Need::Discovery,
        Need::Jwks,
    ],
    check,
)
.blocked_by(&["TOK06", "ISS01", "ISS02", "ISS05", "ISS06", "ISS07", "ISS08"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    of_published(case, |issuer, fetching| {
        let published = match &issuer.jwks {
            // ISS14 and ISS06 say what is wrong with it.
            Fact::Invalid(_) | Fact::Absent | Fact::Denied(_) => {
                return Err(Gap::Unknown(
                    Need::Published,
                    "the published JWKS cannot be read".into(),
                ));
            }
            fact => known(fact, Need::Published)?.ok_or_else(|| not_collected(Need::Published))?,
        };
        let url = issuer.jwks_url.as_deref();
        let found = |message: String| {
            let kids: Vec<_> = published
                .keys
                .iter()
                .filter_map(|key| key.kid.as_deref())
                .map(|kid| format!("`{kid}`"))
                .collect();
            upload(
                Finding::new("ISS10", message)
                    .at(document("JWKS", url.unwrap_or(&issuer.url)))
                    .evidence(
                        "published",
                        if kids.is_empty() { "none".into() } else { kids.join(", ") },
                    )
                    .answered(unread(fetching))
                    .fix("publish the cluster's current keys, together with those that tokens in use are still signed with"),
                url,
            )
        };
        // A token tells the key that signs now; the keys of the cluster may hold one that signs no more. Of a documented one
        // there is no signature to check.
        for mechanism in fetching {
            let Ok(view) = case.token(mechanism) else {
                continue;
            };
            let what = match view.origin {
                TokenOrigin::Minted => "a new token",
                TokenOrigin::Documented => "the pod's token",
                TokenOrigin::Foretold => continue,
            };
            let rules = match mechanism.provider {
                Provider::Aws => KeyRules::Aws,
                Provider::Gcp => KeyRules::Google,
                Provider::Az => KeyRules::Entra,
            };
            return Ok(match select_key(&view.token.header, published, rules) {
                Err(KeyError::Unknown { kid, .. }) => vec![
                    found(format!("no published key has the key id `{kid}` of {what}"))
                        .evidence("key id", kid),
                ],
                Err(error @ KeyError::NoKid { .. }) => {
                    // Which key signed it was not written down.
                    if view.origin == TokenOrigin::Documented {
                        continue;
                    }
                    vec![found(format!("no published key fits {what}: {error}"))]
                }
                // A key that is there and cannot be used is ISS14 or TOK12.
                Err(_) => Vec::new(),
                Ok(_) if view.origin == TokenOrigin::Documented => Vec::new(),
                Ok(key) => verify_signature(&view.token, key)
                    .err()
                    .map(|error| {
                        found(format!(
                            "the published key `{}` did not sign {what}: {error}",
                            key.kid.as_deref().unwrap_or_default()
                        ))
                    })
                    .into_iter()
                    .collect(),
            });
        }
        let cluster = case
            .jwks()?
            .ok_or_else(|| not_collected(Need::Jwks))?;
        let missing = missing(cluster, published);
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        // With one of several keys published that one may be the key that signs: ISS12 warns of the others.
        if missing.len() < cluster.keys.len() {
            return Ok(Vec::new());
        }
        let kids: Vec<_> = missing.iter().map(|kid| format!("`{kid}`")).collect();
        Ok(vec![
            found(format!(
                "none of the cluster's keys is published: {}",
                kids.join(", ")
            )),
        ])
    })
}

/// The key ids of the cluster that are not published.
pub(super) fn missing<'j>(cluster: &'j Jwks, published: &Jwks) -> Vec<&'j str> {
    cluster
        .keys
        .iter()
        .filter_map(|key| key.kid.as_deref())
        .filter(|kid| {
            !published
                .keys
                .iter()
                .any(|key| key.kid.as_deref() == Some(kid))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::{Gap, Need, Outcome},
        facts::Fact,
        rules::fixture::{
            Fixture,
            token::{CLUSTER_JWKS, OTHER_JWKS, jwks},
        },
    };

    fn publishing(text: &'static str) -> impl FnOnce(&mut crate::facts::Issuer) {
        move |issuer| issuer.jwks = Fact::Known(jwks(text))
    }

    #[test]
    fn a_signature_of_a_published_key_passes() {
        assert_eq!(
            Fixture::cwii_aws().signed().published().decide("ISS10"),
            Ok(Outcome::Pass)
        );
        assert_eq!(Fixture::irsa().published().decide("ISS10"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_key_that_is_not_published_is_named_from_a_token_and_without() {
        let minted = Fixture::cwii_aws().signed().publishing(publishing(OTHER_JWKS));
        assert_eq!(
            minted.messages("ISS10"),
            [
                "no published key has the key id `3I-JQ-VI6-W3UzDEbSU2C6zDnVURloYlZdDGW-E7so4` of a new token"
            ]
        );
        let foretold = Fixture::irsa().publishing(publishing(OTHER_JWKS));
        assert_eq!(
            foretold.messages("ISS10"),
            [
                "none of the cluster's keys is published: `3I-JQ-VI6-W3UzDEbSU2C6zDnVURloYlZdDGW-E7so4`"
            ]
        );
    }

    #[test]
    fn another_key_under_the_same_id_is_found_by_the_signature() {
        let other = OTHER_JWKS.replace(
            "BYgYOQDt99yHYQ9EQD6chOEN0IWj1tkcfd52dqXWBZc",
            "3I-JQ-VI6-W3UzDEbSU2C6zDnVURloYlZdDGW-E7so4",
        );
        let fixture = Fixture::cwii_aws()
            .signed()
            .publishing(move |issuer| issuer.jwks = Fact::Known(jwks(&other)));
        assert!(fixture.messages("ISS10")[0].contains("did not sign a new token"));
    }

    #[test]
    fn without_a_published_set_nobody_looked() {
        let fixture = Fixture::irsa().publishing(|issuer| issuer.jwks = Fact::NotCollected);
        assert!(matches!(
            fixture.decide("ISS10"),
            Err(Gap::NotLookedAt(Need::Published, _))
        ));
        let uploaded = Fixture::gcp()
            .google_provider(|provider| provider["oidc"]["jwksJson"] = json!(CLUSTER_JWKS))
            .publishing(publishing(OTHER_JWKS));
        assert!(matches!(
            uploaded.decide("ISS10"),
            Ok(Outcome::NotApplicable(_))
        ));
    }
}
