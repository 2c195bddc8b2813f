//! The published JWKS lacks a key that the cluster has.
//!
//! ## What it checks
//!
//! The API server's own JWKS less the published one. Keys that only the published set has are as they should be: they were in use,
//! and tokens of theirs may still be.
//!
//! ## Why it matters
//!
//! A key that the cluster already has and nobody published is about to sign, or signs already on another control plane. Publishing
//! comes first in a rotation, by more than caches keep the old set.
//!
//! ## How it looks
//!
//! Nothing fails yet.
//!
//! ## How to fix it
//!
//! Publish the cluster's JWKS, and keep the old keys in it for as long as the longest token lives.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii issuer check` finds the same keys on both sides.
//!
//! ## References
//!
//! - Kubernetes, "Service account issuer discovery":
//!   <https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery>

use super::{document, iss10::missing, of_published, upload};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule, known, not_collected},
    report::Finding,
};

pub(super) const RULE: Rule = Rule::new(
    "ISS12",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
        Need::Published,
        Need::Jwks,
    ],
    check,
)
.blocked_by(&["ISS10", "ISS01", "ISS05", "ISS06", "ISS08"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    of_published(case, |issuer, _| {
        let published = known(&issuer.jwks, Need::Published)?
            .ok_or_else(|| not_collected(Need::Published))?;
        let cluster = case.jwks()?.ok_or_else(|| not_collected(Need::Jwks))?;
        let missing = missing(cluster, published);
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let kids: Vec<_> = missing.iter().map(|kid| format!("`{kid}`")).collect();
        let url = issuer.jwks_url.as_deref();
        Ok(vec![upload(
            Finding::new(
                "ISS12",
                format!(
                    "{} of the cluster's {} keys {} not published: {}",
                    missing.len(),
                    cluster.keys.len(),
                    if missing.len() == 1 { "is" } else { "are" },
                    kids.join(", ")
                ),
            )
            .at(document("JWKS", url.unwrap_or(&issuer.url)))
            .fix("publish all of the cluster's keys before they sign, and keep the old ones"),
            url,
        )])
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        catalogue::Severity,
        doctor::{Outcome, State},
        facts::Fact,
        rules::fixture::{
            Fixture,
            token::{CLUSTER_JWKS, OTHER_JWKS, jwks},
        },
    };

    fn rotating() -> Fixture {
        Fixture::irsa().published().with(|facts| {
            let mut both = jwks(CLUSTER_JWKS);
            both.keys.extend(jwks(OTHER_JWKS).keys);
            facts.jwks = Fact::Known(both);
        })
    }

    #[test]
    fn keys_that_only_the_published_set_has_pass() {
        assert_eq!(Fixture::irsa().published().decide("ISS12"), Ok(Outcome::Pass));
        let fixture = Fixture::irsa().publishing(|issuer| {
            let mut both = jwks(CLUSTER_JWKS);
            both.keys.extend(jwks(OTHER_JWKS).keys);
            issuer.jwks = Fact::Known(both);
        });
        assert_eq!(fixture.decide("ISS12"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_key_that_is_to_come_is_a_warning() {
        assert_eq!(
            rotating().messages("ISS12"),
            [
                "1 of the cluster's 2 keys is not published: `BYgYOQDt99yHYQ9EQD6chOEN0IWj1tkcfd52dqXWBZc`"
            ]
        );
        assert_eq!(rotating().severities("ISS12"), [Severity::Warning]);
        assert_eq!(rotating().decide("ISS10"), Ok(Outcome::Pass));
    }

    #[test]
    fn with_none_published_it_is_a_consequence() {
        let fixture = Fixture::irsa().publishing(|issuer| issuer.jwks = Fact::Known(jwks(OTHER_JWKS)));
        assert!(fixture.examine().verdicts.iter().any(|verdict| {
            verdict.entry.code == "ISS12"
                && matches!(&verdict.state, State::Unknown { blocked_by, .. } if blocked_by == &["ISS10"])
        }));
    }
}
