//! GKE workload identity.

use cwii_contract::Provider;
use cwii_trust::{
    google::{Documents, Principal, evaluate_gke},
    library::{ClusterDescription, GkeCluster},
};

use super::{
    federation::missing,
    gcp::{Impersonated, get_policy, impersonate},
};
use crate::{
    doctor::{Case, Gap, Mechanism, MechanismKind, Need, Object, Outcome},
    report::Finding,
};

group! { gke01 gke02 gke03 gke04 gke05 gke06 gke07 gke08 gke09 gke10 }

/// Asks a question of a workload that gets its identity from GKE's metadata server.
fn each<'a>(
    case: &Case<'a>,
    mut judge: impl FnMut(&'a Mechanism) -> Result<Vec<Finding>, Gap>,
) -> Result<Outcome, Gap> {
    super::federation::each(
        case,
        |mechanism| mechanism.kind == MechanismKind::GkeMetadata,
        "the workload does not use GKE's metadata server",
        |mechanism| {
            let found = judge(mechanism)?;
            Ok(found
                .into_iter()
                .map(|finding| finding.of(Provider::Gcp))
                .collect())
        },
    )
}

/// The project of the cluster: its workload pool is named after it.
fn project(case: &Case<'_>) -> Result<Option<String>, Gap> {
    let described = clusters(case)
        .filter_map(|cluster| cluster.workload_pool.as_deref())
        .filter_map(|pool| pool.strip_suffix(".svc.id.goog"))
        .map(str::to_owned)
        .next();
    if described.is_some() {
        return Ok(described);
    }
    let of_node = case.node().ok().flatten().and_then(|node| {
        let id = node.text("/spec/providerID")?.strip_prefix("gce://")?;
        id.split('/').next().map(str::to_owned)
    });
    if of_node.is_some() {
        return Ok(of_node);
    }
    Ok(case.discovery()?.and_then(|discovery| {
        let rest = discovery
            .issuer
            .strip_prefix("https://container.googleapis.com/v1/projects/")?;
        rest.split('/').next().map(str::to_owned)
    }))
}

/// The GKE clusters among the documents: that of the workload's, where it can be told, else all.
fn clusters<'a>(case: &Case<'a>) -> impl Iterator<Item = &'a GkeCluster> {
    case.trust()
        .ok()
        .map(|library| library.clusters())
        .unwrap_or_default()
        .iter()
        .filter_map(|cluster| match cluster {
            ClusterDescription::Gke(cluster) => Some(cluster),
            _ => None,
        })
}

/// Whether the node is one of Autopilot's, where every node has the metadata server.
fn is_autopilot(node: &Object) -> bool {
    node.name().starts_with("gk3-")
}

/// Whether a node's pods reach the metadata server of GKE.
fn has_metadata_server(node: &Object) -> bool {
    is_autopilot(node) || node.label(crate::doctor::google::GKE_METADATA_SERVER) == Some("true")
}

/// Asks what the metadata server would say; none for a direct principal.
fn impersonation<'a>(
    case: &Case<'a>,
    mechanism: &Mechanism,
) -> Result<Option<Impersonated<'a>>, Gap> {
    let library = case.trust()?;
    let Some(account) = &mechanism.google_service_account else {
        return Ok(None);
    };
    let email = account.value.clone();
    if !library.has_service_account_policy(&email) {
        return Err(missing(
            format!("the allow policy of `{email}`"),
            get_policy(&email),
        ));
    }
    let Some(project) = project(case)? else {
        return Err(Gap::Unknown(
            Need::Trust,
            "the cluster's project is not known; `gcloud container clusters describe CLUSTER --location=LOCATION --format=json` names its workload pool".into(),
        ));
    };
    let mut documents = library.google(Some(&email));
    let number = project_number(&documents, &email, &project);
    let principal = Principal::gke(
        &project,
        number.as_deref(),
        case.namespace_name(),
        case.service_account_name()?,
    );
    let (faults, lints) = impersonate(&principal, &email, &mut documents, case, evaluate_gke);
    Ok(Some(Impersonated {
        library,
        email,
        principal,
        faults,
        lints,
    }))
}

/// The number of the cluster's project, from a member that names its pool: ids of projects are unique, so whoever wrote the
/// member meant this one.
fn project_number(documents: &Documents, email: &str, project: &str) -> Option<String> {
    let pool = format!("/locations/global/workloadIdentityPools/{project}.svc.id.goog/");
    documents
        .policies
        .get(email)?
        .bindings
        .iter()
        .flat_map(|binding| &binding.members)
        .find_map(|member| {
            let (before, _) = member.text.split_once(&pool)?;
            let number = before.rsplit('/').next()?;
            number
                .bytes()
                .all(|b| b.is_ascii_digit())
                .then(|| number.to_owned())
        })
}

/// What the rules need that look at the cluster.
const CLUSTER: &[Need] = &[
    Need::Pod,
    Need::Owners,
    Need::ServiceAccount,
    Need::Namespace,
    Need::WebhookSettings,
    Need::Node,
    Need::Trust,
];

/// What the rules need that ask the policy.
const POLICY: &[Need] = &[
    Need::Pod,
    Need::Owners,
    Need::ServiceAccount,
    Need::Namespace,
    Need::WebhookSettings,
    Need::Node,
    Need::Discovery,
    Need::Trust,
];
