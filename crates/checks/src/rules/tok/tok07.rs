//! The token is bound to a ServiceAccount or pod that no longer exists.
//!
//! ## What it checks
//!
//! The unique ids in the claim `kubernetes.io` of the token in the pod against those of the live ServiceAccount and pod.
//!
//! ## Why it matters
//!
//! A ServiceAccount that was deleted and created again under its name is another one to the API server. Tokens of the old one
//! are refused by the cluster, and the kubelet cannot renew them, while clouds, which verify without asking the cluster, accept
//! them until they run out. The workload then fails hours later.
//!
//! ## How it looks
//!
//! ```text
//! MountVolume.SetUp failed for volume "cwii-aws-token" : failed to fetch token: the UID in the bound object reference does not match the UID in record
//! ```
//!
//! ## How to fix it
//!
//! Restart the workload.
//!
//! ## How to verify the fix
//!
//! The uid in `kubectl cwii token decode --pod NAME` is the one in `kubectl -n NAMESPACE get serviceaccount NAME -o yaml`.
//!
//! ## References
//!
//! - Kubernetes, "Bound service account tokens":
//!   <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens>

use super::{NEEDS, NO_TOKEN, claim, found, presents};
use crate::{
    doctor::{Case, Gap, Object, Outcome, Rule},
    report::{Applicability, Finding},
    rules::{federation::each, words::restarted},
};

pub(super) const RULE: Rule = Rule::new("TOK07", NEEDS, check).blocked_by(&["TOK06"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, presents, NO_TOKEN, |mechanism| {
        let view = found(case, mechanism)?;
        let Some(kubernetes) = view.token.claims.kubernetes() else {
            return Ok(Vec::new());
        };
        let bound = [
            ("ServiceAccount", kubernetes.service_account, case.service_account()?),
            ("pod", kubernetes.pod, Some(case.pod()?)),
        ];
        let mut findings = Vec::new();
        for (what, reference, object) in bound {
            let uid = reference.as_ref().and_then(|reference| reference.uid.as_deref());
            let live = object.and_then(Object::uid);
            if let (Some(uid), Some(live), Some(object)) = (uid, live, object)
                && uid != live
            {
                findings.push(restarted(
                    Finding::new(
                        "TOK07",
                        format!("the token belongs to a {what} `{}` that was replaced since", object.name()),
                    )
                    .of(mechanism.provider)
                    .at(claim(&view, "kubernetes.io"))
                    .compared(uid, live)
                    .fix("restart the workload, so that it gets a token of the present one")
                    .applicable(Applicability::Safe),
                    case,
                ));
            }
        }
        Ok(findings)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::Outcome, rules::fixture::Fixture};

    #[test]
    fn the_live_objects_pass() {
        assert_eq!(
            Fixture::cwii_aws().in_pod(json!({})).decide("TOK07"),
            Ok(Outcome::Pass)
        );
    }

    #[test]
    fn an_account_that_was_created_again_is_named() {
        let fixture = Fixture::cwii_aws().in_pod(json!({"kubernetes.io": {
            "namespace": "shop",
            "serviceaccount": {"name": "checkout", "uid": "7c1f0a52-0000-4000-8000-00000000dead"},
        }}));
        assert_eq!(
            fixture.messages("TOK07"),
            ["the token belongs to a ServiceAccount `checkout` that was replaced since"]
        );
    }
}
