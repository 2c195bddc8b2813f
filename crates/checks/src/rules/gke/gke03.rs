//! The DaemonSet of GKE's metadata server is not running on every node.
//!
//! ## What it checks
//!
//! `gke-metadata-server` in `kube-system`: that it is there, and ready on as many nodes as it should be.
//!
//! ## Why it matters
//!
//! Each node has its own; where it is down no pod of the node gets a token, while all others do.
//!
//! ## How it looks
//!
//! ```text
//! compute: Received 500 … dial tcp 169.254.169.254:80: connect: connection refused
//! ```
//!
//! ## How to fix it
//!
//! Look at the logs of the pod that is not ready; deleting it makes it anew.
//!
//! ## How to verify the fix
//!
//! `kubectl -n kube-system get daemonset gke-metadata-server` shows as many ready as desired.
//!
//! ## References
//!
//! - Google Cloud, "Troubleshoot authentication in GKE":
//!   <https://cloud.google.com/kubernetes-engine/docs/troubleshooting/authentication>

use super::each;
use crate::{
    doctor::{Case, Gap, Need, Object, Outcome, Rule},
    report::Finding,
};

pub(super) const RULE: Rule = Rule::new(
    "GKE03",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::DaemonSets,
        Need::Trust,
    ],
    check,
)
.blocked_by(&["GKE01", "GKE02"]);

const NAME: &str = "gke-metadata-server";

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |_| {
        let Some(sets) = case.daemon_sets()? else {
            return Ok(Vec::new());
        };
        let Some(server) = sets.iter().find(|set| is_server(set)) else {
            // Whoever may not see `kube-system`, or gave some manifests only, does not see it.
            return if sets.iter().any(|set| set.namespace() == Some("kube-system")) {
                Ok(vec![
                    Finding::new("GKE03", format!("`kube-system` has no DaemonSet `{NAME}`"))
                        .fix("switch Workload Identity Federation for GKE on, and update the node pools"),
                ])
            } else {
                Err(Gap::NotLookedAt(
                    Need::DaemonSets,
                    format!("the DaemonSet `{NAME}` of `kube-system` was not seen"),
                ))
            };
        };
        let number = |pointer: &str| server.get(pointer).and_then(serde_json::Value::as_i64);
        let (Some(desired), ready) = (
            number("/status/desiredNumberScheduled"),
            number("/status/numberReady").unwrap_or(0),
        ) else {
            return Ok(Vec::new());
        };
        if ready >= desired {
            return Ok(Vec::new());
        }
        let finding = Finding::new(
            "GKE03",
            format!("the metadata server is ready on {ready} of {desired} nodes"),
        )
        .at(server.subject())
        .fix("look at the logs of those that are not ready")
        .command(format!(
            "kubectl -n kube-system get pods -l k8s-app={NAME} -o wide"
        ))
        .command(format!(
            "kubectl -n kube-system logs -l k8s-app={NAME} --tail=50"
        ));
        // Whether the pod's own node is among them is not seen here.
        Ok(vec![if ready == 0 { finding } else { finding.warning() }])
    })
}

fn is_server(set: &Object) -> bool {
    set.namespace() == Some("kube-system") && set.name() == NAME
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        catalogue::Severity,
        doctor::{Object, Outcome},
        facts::Fact,
        rules::fixture::Fixture,
    };

    fn ready(number: i64) -> Fixture {
        Fixture::gke().with(|facts| {
            facts.daemon_sets = Fact::Known(vec![Object::new(json!({
                "kind": "DaemonSet", "metadata": {"name": "gke-metadata-server", "namespace": "kube-system"},
                "status": {"desiredNumberScheduled": 3, "numberReady": number},
            }))]);
        })
    }

    #[test]
    fn all_ready_pass() {
        assert_eq!(Fixture::gke().decide("GKE03"), Ok(Outcome::Pass));
    }

    #[test]
    fn none_is_an_error_and_some_a_warning() {
        let severity = |number| match ready(number).decide("GKE03") {
            Ok(Outcome::Found(findings)) => findings[0].severity(),
            other => panic!("{other:?}"),
        };
        assert_eq!(severity(0), Severity::Error);
        assert_eq!(severity(2), Severity::Warning);
    }
}
