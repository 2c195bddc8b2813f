//! AKS workload identity.

use cwii_contract::Provider;
use cwii_trust::library::{AksCluster, ClusterDescription};

use crate::{
    doctor::{Case, Gap, Mechanism, MechanismKind, Need, Outcome},
    report::{Finding, Subject},
};

group! { aks01 aks02 aks03 aks04 aks05 aks06 aks07 aks08 }

/// Asks a question of a workload that Azure's webhook injects into, or should.
fn each<'a>(
    case: &Case<'a>,
    mut judge: impl FnMut(&'a Mechanism) -> Result<Vec<Finding>, Gap>,
) -> Result<Outcome, Gap> {
    super::federation::each(
        case,
        |mechanism| mechanism.kind == MechanismKind::AzureWorkloadIdentity,
        "the workload does not use the webhook of Azure workload identity",
        |mechanism| {
            let found = judge(mechanism)?;
            Ok(found
                .into_iter()
                .map(|finding| finding.of(Provider::Az))
                .collect())
        },
    )
}

/// The AKS clusters among the documents.
fn clusters<'a>(case: &Case<'a>) -> Result<Vec<&'a AksCluster>, Gap> {
    Ok(case
        .trust()?
        .clusters()
        .iter()
        .filter_map(|cluster| match cluster {
            ClusterDescription::Aks(cluster) => Some(cluster),
            _ => None,
        })
        .collect())
}

/// Whether the pod's node is one of AKS's; none where the node was not seen.
fn is_aks(case: &Case<'_>) -> Option<bool> {
    let node = case.node().ok().flatten()?;
    Some(node.label("kubernetes.azure.com/cluster").is_some())
}

fn cluster_subject(cluster: &AksCluster, pointer: &str) -> Subject {
    Subject {
        kind: "ManagedCluster".into(),
        name: cluster.name.clone(),
        pointer: Some(pointer.to_owned()),
        file: Some(cluster.file.clone()),
        ..Subject::default()
    }
}

/// What the rules need that look at the cluster.
const CLUSTER: &[Need] = crate::doctor::MECHANISMS;
