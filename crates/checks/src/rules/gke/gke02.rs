//! The pod runs on a node without GKE's metadata server.
//!
//! ## What it checks
//!
//! The label `iam.gke.io/gke-metadata-server-enabled=true`, which GKE gives to nodes of pools with `GKE_METADATA`. Autopilot's
//! nodes are all of that kind.
//!
//! ## Why it matters
//!
//! Switching Workload Identity on for a cluster does not change the node pools that exist. Until they are updated their pods
//! get the node's identity, and whether a workload works depends on where it is scheduled.
//!
//! ## How it looks
//!
//! The same pod works on one node and is denied on another, as the Compute Engine service account of the node.
//!
//! ## How to fix it
//!
//! Update the node pool, which makes its nodes anew, or select nodes that have the label until that is done.
//!
//! ## How to verify the fix
//!
//! `kubectl get nodes -L iam.gke.io/gke-metadata-server-enabled` shows `true` for the pod's node.
//!
//! ## References
//!
//! - Google Cloud, "Authenticate to Google Cloud APIs from GKE workloads", updating node pools:
//!   <https://cloud.google.com/kubernetes-engine/docs/how-to/workload-identity>

use super::{CLUSTER, clusters, each, has_metadata_server};
use crate::{
    doctor::{Case, Gap, Outcome, Rule, google::GKE_METADATA_SERVER},
    report::{Applicability, Finding},
    rules::federation::{template_prefix, workload},
};

pub(super) const RULE: Rule = Rule::new("GKE02", CLUSTER, check).blocked_by(&["GKE01"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |_| {
        // A pod that is not scheduled yet has no node to be wrong.
        let Some(node) = case.node()? else {
            return Ok(Vec::new());
        };
        if has_metadata_server(node) || clusters(case).any(|cluster| cluster.autopilot) {
            return Ok(Vec::new());
        }
        let pool = node.label("cloud.google.com/gke-nodepool");
        let Some(pool) = pool else {
            return Ok(vec![
                Finding::new("GKE02", format!("the node `{}` is not one of GKE's, so nobody serves metadata to the pod", node.name()))
                    .at(node.subject())
                    .fix("federate with a provider of this cluster's issuer instead of the annotation of GKE"),
            ]);
        };
        let described = clusters(case).next();
        let (cluster, location) = match described {
            Some(cluster) => (
                cluster.name.as_str(),
                cluster.location.as_deref().unwrap_or("LOCATION"),
            ),
            None => ("CLUSTER", "LOCATION"),
        };
        let path = format!("{}/spec/nodeSelector", template_prefix(case));
        let patch = serde_json::json!([{"op": "add", "path": path, "value": {GKE_METADATA_SERVER: "true"}}]);
        let target = workload(case).replace('/', " ");
        Ok(vec![
            Finding::new(
                "GKE02",
                format!("the node pool `{pool}` does not run the metadata server of GKE"),
            )
            .at(node.subject_label(GKE_METADATA_SERVER))
            .evidence("node", node.name())
            .fix("update the node pool, which makes its nodes anew; or select other nodes")
            .command(format!(
                "gcloud container node-pools update {pool} --cluster={cluster} --location={location} --workload-metadata=GKE_METADATA"
            ))
            .command(format!(
                "kubectl -n {} patch {target} --type=json -p '{patch}'",
                case.namespace_name()
            ))
            .applicable(if described.is_some() {
                Applicability::Unsafe
            } else {
                Applicability::Display
            }),
        ])
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        doctor::Outcome,
        rules::fixture::{Fixture, edit},
    };

    #[test]
    fn a_node_with_the_metadata_server_passes() {
        assert_eq!(Fixture::gke().decide("GKE02"), Ok(Outcome::Pass));
        let fixture = Fixture::gke().with(|facts| {
            edit(&mut facts.node, |node| {
                node["metadata"]["name"] = "gk3-prod-pool-1".into();
                node["metadata"]["labels"] = serde_json::json!({});
            });
        });
        assert_eq!(fixture.decide("GKE02"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_pool_that_was_not_updated_is_named() {
        let fixture = Fixture::gke().with(|facts| {
            edit(&mut facts.node, |node| {
                node["metadata"]["labels"]["iam.gke.io/gke-metadata-server-enabled"] = "false".into();
            });
        });
        assert_eq!(
            fixture.messages("GKE02"),
            ["the node pool `default` does not run the metadata server of GKE"]
        );
    }
}
