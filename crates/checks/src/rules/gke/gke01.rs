//! The cluster has no workload pool: Workload Identity Federation for GKE is switched off.
//!
//! ## What it checks
//!
//! `workloadIdentityConfig.workloadPool` in the cluster's description. A node that runs the metadata server shows without it
//! that the pool is there.
//!
//! ## Why it matters
//!
//! Without a pool an annotation on a ServiceAccount does nothing: pods get the identity of their node, with whatever that may
//! do.
//!
//! ## How it looks
//!
//! Calls are made as the node's service account, often `PROJECT_NUMBER-compute@developer.gserviceaccount.com`, and denied or,
//! worse, allowed.
//!
//! ## How to fix it
//!
//! `gcloud container clusters update CLUSTER --workload-pool=PROJECT.svc.id.goog`, then the node pools with
//! `--workload-metadata=GKE_METADATA`. Autopilot clusters have it always.
//!
//! ## How to verify the fix
//!
//! `gcloud container clusters describe CLUSTER --format='value(workloadIdentityConfig.workloadPool)'` prints the pool.
//!
//! ## References
//!
//! - Google Cloud, "Authenticate to Google Cloud APIs from GKE workloads":
//!   <https://cloud.google.com/kubernetes-engine/docs/how-to/workload-identity>

use super::{CLUSTER, clusters, each, has_metadata_server};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    report::{Applicability, Finding, Subject},
    rules::federation::missing,
};

pub(super) const RULE: Rule = Rule::new("GKE01", CLUSTER, check);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |_| {
        // Nodes get the metadata server only in a cluster with a pool.
        if case.node().ok().flatten().is_some_and(has_metadata_server) {
            return Ok(Vec::new());
        }
        case.trust()?;
        let described: Vec<_> = clusters(case).collect();
        if described.is_empty() {
            return Err(missing(
                "the cluster's description",
                "gcloud container clusters describe CLUSTER --location=LOCATION --format=json",
            ));
        }
        // Which of several is this one is not told; one that is on will do.
        if described
            .iter()
            .any(|cluster| cluster.autopilot || cluster.workload_pool.is_some())
        {
            return Ok(Vec::new());
        }
        Ok(described
            .into_iter()
            .take(1)
            .map(|cluster| {
                let project = cluster.project.as_deref().unwrap_or("PROJECT");
                let location = cluster.location.as_deref().unwrap_or("LOCATION");
                let name = &cluster.name;
                Finding::new("GKE01", format!("the cluster `{name}` has no workload pool"))
                    .at(Subject {
                        kind: "Cluster".into(),
                        name: name.clone(),
                        pointer: Some("/workloadIdentityConfig/workloadPool".into()),
                        what: Some("`workloadPool`".into()),
                        file: Some(cluster.file.clone()),
                        ..Subject::default()
                    })
                    .fix("switch Workload Identity Federation for GKE on, then move the node pools to it")
                    .command(format!(
                        "gcloud container clusters update {name} --location={location} --project={project} --workload-pool={project}.svc.id.goog"
                    ))
                    .applicable(Applicability::Unsafe)
            })
            .collect())
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        doctor::{Gap, Outcome},
        rules::fixture::{Fixture, edit},
    };

    fn on_a_plain_node() -> Fixture {
        Fixture::gke().with(|facts| {
            edit(&mut facts.node, |node| {
                node["metadata"]["labels"]
                    .as_object_mut()
                    .unwrap()
                    .remove("iam.gke.io/gke-metadata-server-enabled");
            });
        })
    }

    #[test]
    fn a_pool_or_a_node_that_shows_it_passes() {
        assert_eq!(Fixture::gke().decide("GKE01"), Ok(Outcome::Pass));
        assert_eq!(on_a_plain_node().decide("GKE01"), Ok(Outcome::Pass));
        assert!(matches!(Fixture::plain().decide("GKE01"), Ok(Outcome::NotApplicable(_))));
    }

    #[test]
    fn a_cluster_without_a_pool_fails_and_none_at_all_is_unknown() {
        let fixture = on_a_plain_node().document("cluster.json", |cluster| {
            cluster.as_object_mut().unwrap().remove("workloadIdentityConfig");
        });
        assert_eq!(fixture.messages("GKE01"), ["the cluster `prod` has no workload pool"]);
        assert!(matches!(
            on_a_plain_node().without_document("cluster").decide("GKE01"),
            Err(Gap::Unknown(..))
        ));
    }
}
