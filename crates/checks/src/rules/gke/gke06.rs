//! The pod runs on the host's network, where GKE's metadata server does not answer it.
//!
//! ## What it checks
//!
//! `hostNetwork: true` on a pod that is to have an identity of its own from GKE.
//!
//! ## Why it matters
//!
//! Requests from the node's own network go to the metadata server of Compute Engine. Such a pod is the node as far as Google
//! can tell: it gets the node's service account, not its own.
//!
//! ## How it looks
//!
//! Nothing fails in the exchange. Calls are made as the node's service account.
//!
//! ## How to fix it
//!
//! Take `hostNetwork` away. A pod that needs it can federate with a projected token instead.
//!
//! ## How to verify the fix
//!
//! In the pod, `curl -H 'Metadata-Flavor: Google'
//! http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/email` prints the service account of the
//! annotation.
//!
//! ## References
//!
//! - Google Cloud, "About Workload Identity Federation for GKE", restrictions:
//!   <https://cloud.google.com/kubernetes-engine/docs/concepts/workload-identity>

use super::{CLUSTER, each};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    report::{Applicability, Finding},
    rules::federation::{template_prefix, workload},
};

pub(super) const RULE: Rule = Rule::new("GKE06", CLUSTER, check);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |_| {
        let pod = case.pod()?;
        if pod.get("/spec/hostNetwork") != Some(&true.into()) {
            return Ok(Vec::new());
        }
        let path = format!("{}/spec/hostNetwork", template_prefix(case));
        let patch = serde_json::json!([{"op": "remove", "path": path}]);
        Ok(vec![
            Finding::new(
                "GKE06",
                "the pod runs on the host's network and gets the node's identity",
            )
            .at(pod.subject_at("/spec/hostNetwork", "`hostNetwork`"))
            .fix("take the pod off the host's network")
            .command(format!(
                "kubectl -n {} patch {} --type=json -p '{patch}'",
                case.namespace_name(),
                workload(case).replace('/', " ")
            ))
            .applicable(Applicability::Unsafe),
        ])
    })
}

#[cfg(test)]
mod tests {
    use crate::{doctor::Outcome, rules::fixture::Fixture};

    #[test]
    fn a_pod_on_its_own_network_passes_and_one_on_the_hosts_fails() {
        assert_eq!(Fixture::gke().decide("GKE06"), Ok(Outcome::Pass));
        let fixture = Fixture::gke_direct().pod(|pod| pod["spec"]["hostNetwork"] = true.into());
        assert_eq!(
            fixture.messages("GKE06"),
            ["the pod runs on the host's network and gets the node's identity"]
        );
        let elsewhere = Fixture::gcp().pod(|pod| pod["spec"]["hostNetwork"] = true.into());
        assert!(matches!(elsewhere.decide("GKE06"), Ok(Outcome::NotApplicable(_))));
    }
}
