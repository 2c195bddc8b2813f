//! The token in the pod is older than it should be: nobody refreshes it.
//!
//! ## What it checks
//!
//! The age of the token in the pod. The kubelet replaces a projected token when 80 % of its life have passed, or after 24 hours,
//! whichever comes first; five minutes are allowed for it.
//!
//! ## Why it matters
//!
//! A token that is not renewed works until it runs out, for Google for 24 hours at most. The cause is a kubelet that hangs or
//! cannot reach the API server, a file that is a copy of the projected one, or a mount with `subPath`, which never changes.
//!
//! ## How it looks
//!
//! ```text
//! invalid_grant: ID Token issued at 1795000000 is stale to sign-in.
//! ExpiredTokenException: Token expired: current date/time 1795003600 must be before the expiration date/time 1795000000
//! ```
//!
//! ## How to fix it
//!
//! Look at the kubelet of the node. Mount the projected volume itself, as a directory. Restarting the pod gives it a new token
//! meanwhile.
//!
//! ## How to verify the fix
//!
//! `iat` in `kubectl cwii token decode --pod NAME` moves on within a token's life.
//!
//! ## References
//!
//! - Kubernetes, "ServiceAccount token volume projection":
//!   <https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#serviceaccount-token-volume-projection>

use cwii_token::span::humanize;
use jiff::SignedDuration;

use super::{NEEDS, NO_TOKEN, claim, found, presents};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    report::Finding,
    rules::{
        federation::each,
        words::{quote, restarted},
    },
};

pub(super) const RULE: Rule =
    Rule::new("TOK09", NEEDS, check).blocked_by(&["POD14", "TOK06", "TOK07", "TOK10"]);

/// What the kubelet is allowed beyond its own times.
const GRACE: SignedDuration = SignedDuration::from_secs(300);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, presents, NO_TOKEN, |mechanism| {
        let view = found(case, mechanism)?;
        let claims = &view.token.claims;
        let Some((issued, lifetime)) = claims.issued_at().zip(claims.lifetime()) else {
            return Ok(Vec::new());
        };
        let age = case.now().duration_since(issued);
        let renewed = (lifetime * 4 / 5).min(SignedDuration::from_hours(24)) + GRACE;
        if age <= renewed {
            return Ok(Vec::new());
        }
        let node = claims
            .kubernetes()
            .and_then(|kubernetes| kubernetes.node)
            .map(|node| node.name)
            .or_else(|| Some(case.pod().ok()?.text("/spec/nodeName")?.to_owned()));
        let mut finding = Finding::new(
            "TOK09",
            format!(
                "the token was issued {} ago, and lives for {}: nobody refreshes it",
                humanize(age),
                humanize(lifetime)
            ),
        )
        .of(mechanism.provider)
        .at(claim(&view, "iat"))
        .evidence("issued", issued.to_string());
        if let Some(expiry) = claims.expires_at() {
            finding = finding.evidence("expires", expiry.to_string());
        }
        finding = finding.fix("restart the workload for a new token, and see why the kubelet does not renew it");
        if let Some(node) = node {
            finding = finding
                .evidence("node", &node)
                .command(format!("kubectl describe node {}", quote(&node)));
        }
        Ok(vec![restarted(finding, case)])
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::{Gap, Need, Outcome},
        rules::fixture::Fixture,
    };

    const NOW: i64 = 1_795_348_800;

    fn aged(age: i64, lifetime: i64) -> Fixture {
        Fixture::cwii_aws()
            .in_pod(json!({"iat": NOW - age, "nbf": NOW - age, "exp": NOW - age + lifetime}))
    }

    #[test]
    fn a_token_within_the_kubelets_times_passes() {
        for (age, lifetime) in [(0, 3600), (2880, 3600), (3100, 3600), (86_400, 172_800)] {
            assert_eq!(aged(age, lifetime).decide("TOK09"), Ok(Outcome::Pass), "{age}");
        }
    }

    #[test]
    fn an_older_one_is_named_with_its_node() {
        for (age, lifetime) in [(3300, 3600), (7200, 3600), (90_000, 172_800)] {
            assert_eq!(aged(age, lifetime).messages("TOK09").len(), 1, "{age}");
        }
        let finding = &aged(7200, 3600).findings("TOK09")[0];
        assert_eq!(
            finding.message,
            "the token was issued 2 h ago, and lives for 1 h: nobody refreshes it"
        );
        assert_eq!(
            finding.fix.commands,
            [
                "kubectl describe node node-1",
                "kubectl -n shop rollout restart deployment checkout",
            ]
        );
    }

    #[test]
    fn without_the_pods_token_nobody_looked() {
        assert!(matches!(
            Fixture::cwii_aws().minted(json!({})).decide("TOK09"),
            Err(Gap::NotLookedAt(Need::Claims, _))
        ));
    }
}
