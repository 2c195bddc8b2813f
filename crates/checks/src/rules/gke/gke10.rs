//! Other clusters share the workload pool, and with it this workload's identity.
//!
//! ## What it checks
//!
//! Whether the documents describe several GKE clusters with the same workload pool.
//!
//! ## Why it matters
//!
//! All clusters of a project share one pool, and the pool does not tell them apart: whoever may create the same namespace and
//! ServiceAccount in any of them has the same identity. Between clusters of different trust that is a way around every
//! policy.
//!
//! ## How it looks
//!
//! Nothing fails.
//!
//! ## How to fix it
//!
//! Put clusters of different trust into different projects, or give their workloads different namespaces and let only trusted
//! people create these.
//!
//! ## How to verify the fix
//!
//! The clusters' `workloadIdentityConfig.workloadPool` differ.
//!
//! ## References
//!
//! - Google Cloud, "About Workload Identity Federation for GKE", identity sameness:
//!   <https://cloud.google.com/kubernetes-engine/docs/concepts/workload-identity>

use super::{CLUSTER, clusters, each};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    report::{Finding, Subject},
};

pub(super) const RULE: Rule = Rule::new("GKE10", CLUSTER, check);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |_| {
        case.trust()?;
        let described: Vec<_> = clusters(case).collect();
        let Some((first, pool)) = described
            .iter()
            .find_map(|cluster| Some((cluster, cluster.workload_pool.as_deref()?)))
        else {
            return Err(Gap::NotLookedAt(
                Need::Trust,
                "no cluster's description is among the trust documents; `gcloud container clusters list --format=json` prints all of a project".into(),
            ));
        };
        let sharing: Vec<_> = described
            .iter()
            .filter(|cluster| cluster.workload_pool.as_deref() == Some(pool))
            .map(|cluster| cluster.name.as_str())
            .collect();
        if sharing.len() < 2 {
            return Ok(Vec::new());
        }
        Ok(vec![
            Finding::new(
                "GKE10",
                format!("{} clusters share the workload pool `{pool}`, and this identity", sharing.len()),
            )
            .at(Subject {
                kind: "Cluster".into(),
                name: first.name.clone(),
                pointer: Some("/workloadIdentityConfig/workloadPool".into()),
                what: Some("`workloadPool`".into()),
                file: Some(first.file.clone()),
                ..Subject::default()
            })
            .evidence("clusters", sharing.join(", "))
            .evidence(
                "shared by",
                format!(
                    "ServiceAccount `{}` of namespace `{}` in each of them",
                    case.service_account_name()?,
                    case.namespace_name()
                ),
            )
            .fix("put clusters of different trust into different projects"),
        ])
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::Outcome,
        rules::fixture::{Fixture, trust},
    };

    #[test]
    fn one_cluster_passes_and_two_of_one_pool_are_a_warning() {
        assert_eq!(Fixture::gke().decide("GKE10"), Ok(Outcome::Pass));
        let fixture = Fixture::gke().with(|facts| {
            trust(facts, "staging.json", json!({
                "name": "staging", "location": "europe-west1",
                "selfLink": "https://container.googleapis.com/v1/projects/shop-prod/locations/europe-west1/clusters/staging",
                "workloadIdentityConfig": {"workloadPool": "shop-prod.svc.id.goog"},
                "nodePools": [],
            }));
        });
        assert_eq!(fixture.messages("GKE10").len(), 1);
    }
}
