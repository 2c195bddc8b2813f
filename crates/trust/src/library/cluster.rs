//! Descriptions of clusters: whether the platform's own workload identity is on, and under which issuer.

use serde_json::{Map, Value, json};

use super::Shape;
use crate::{
    DocumentError,
    document::{Node, terraform_resources},
};

/// A managed cluster as its platform describes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ClusterDescription {
    /// `gcloud container clusters describe`.
    Gke(GkeCluster),
    /// `az aks show`.
    Aks(AksCluster),
    /// `aws eks describe-cluster`.
    Eks(EksCluster),
}

impl ClusterDescription {
    /// The cluster's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Gke(cluster) => &cluster.name,
            Self::Aks(cluster) => &cluster.name,
            Self::Eks(cluster) => &cluster.name,
        }
    }

    /// The file that it comes from.
    #[must_use]
    pub fn file(&self) -> &str {
        match self {
            Self::Gke(cluster) => &cluster.file,
            Self::Aks(cluster) => &cluster.file,
            Self::Eks(cluster) => &cluster.file,
        }
    }
}

/// A GKE cluster. Source: Kubernetes Engine API v1, `projects.locations.clusters`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct GkeCluster {
    /// The file that it comes from.
    pub file: String,
    /// `name`.
    pub name: String,
    /// The project's id, from `selfLink`.
    pub project: Option<String>,
    /// `location`: a region or a zone.
    pub location: Option<String>,
    /// `workloadIdentityConfig.workloadPool`: `PROJECT.svc.id.goog`; none where Workload Identity is off.
    pub workload_pool: Option<String>,
    /// `autopilot.enabled`, where Workload Identity is always on and node pools are not shown.
    pub autopilot: bool,
    /// `nodePools`.
    pub node_pools: Vec<GkeNodePool>,
}

/// A node pool of a GKE cluster.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct GkeNodePool {
    /// `name`.
    pub name: String,
    /// `config.workloadMetadataConfig.mode`: `GKE_METADATA` where pods reach the metadata server of Workload Identity,
    /// `GCE_METADATA` where they reach the node's.
    pub metadata_mode: Option<String>,
}

/// An AKS cluster. Source: Azure Resource Manager, `Microsoft.ContainerService/managedClusters`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AksCluster {
    /// The file that it comes from.
    pub file: String,
    /// `name`.
    pub name: String,
    /// `resourceGroup`.
    pub resource_group: Option<String>,
    /// `oidcIssuerProfile.enabled`; off where it is not shown.
    pub oidc_issuer_enabled: bool,
    /// `oidcIssuerProfile.issuerUrl`.
    pub issuer_url: Option<String>,
    /// `securityProfile.workloadIdentity.enabled`; off where it is not shown.
    pub workload_identity_enabled: bool,
    /// `provisioningState`: `Succeeded`, `RotatingServiceAccountSigningKeys`, …
    pub provisioning_state: Option<String>,
}

/// An EKS cluster. Source: EKS API, `Cluster`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EksCluster {
    /// The file that it comes from.
    pub file: String,
    /// `name`.
    pub name: String,
    /// `arn`.
    pub arn: Option<String>,
    /// `identity.oidc.issuer`.
    pub issuer: Option<String>,
}

/// Reads clusters, and what is to be kept of the document: descriptions hold certificates and, of old clusters, keys.
pub(super) fn read(
    shape: Shape,
    file: &str,
    document: &Value,
) -> Result<(Vec<ClusterDescription>, Value), DocumentError> {
    let root = Node::root("cluster description", document);
    let mut clusters = Vec::new();
    let mut kept = Vec::new();
    for node in root.one_or_many() {
        let (cluster, value) = match shape {
            Shape::GkeCluster => gke(file, &node)?,
            Shape::AksCluster => aks(file, &node)?,
            _ => eks(file, &node)?,
        };
        clusters.push(cluster);
        kept.push(value);
    }
    let kept = match (document.is_array(), kept.pop()) {
        (false, Some(only)) => only,
        (_, last) => {
            kept.extend(last);
            Value::Array(kept)
        }
    };
    Ok((clusters, kept))
}

fn gke(file: &str, node: &Node<'_>) -> Result<(ClusterDescription, Value), DocumentError> {
    let workload_pool = node
        .get(&["workloadIdentityConfig"])
        .map(|config| config.optional_text(&["workloadPool"]))
        .transpose()?
        .flatten()
        .filter(|pool| !pool.is_empty());
    let self_link = node.optional_text(&["selfLink"])?;
    let project = self_link
        .as_deref()
        .and_then(|link| link.split_once("/projects/"))
        .and_then(|(_, rest)| rest.split('/').next())
        .map(str::to_owned);
    let mut node_pools = Vec::new();
    for pool in node.get(&["nodePools"]).iter().flat_map(Node::one_or_many) {
        let mode = pool
            .get(&["config"])
            .and_then(|config| config.get(&["workloadMetadataConfig"]))
            .map(|config| config.optional_text(&["mode"]))
            .transpose()?
            .flatten();
        node_pools.push(GkeNodePool {
            name: pool.required_text(&["name"])?,
            metadata_mode: mode,
        });
    }
    let cluster = GkeCluster {
        file: file.to_owned(),
        name: node.required_text(&["name"])?,
        project,
        location: node.optional_text(&["location", "zone"])?,
        workload_pool,
        autopilot: node
            .get(&["autopilot"])
            .map(|autopilot| autopilot.optional_bool(&["enabled"]))
            .transpose()?
            .flatten()
            .unwrap_or(false),
        node_pools,
    };
    let mut kept = members(node, &["name", "location", "zone", "selfLink", "autopilot"]);
    if let Some(pool) = &cluster.workload_pool {
        kept.insert(
            "workloadIdentityConfig".to_owned(),
            json!({ "workloadPool": pool }),
        );
    }
    let pools = cluster
        .node_pools
        .iter()
        .map(|pool| match &pool.metadata_mode {
            Some(mode) => json!({
                "name": pool.name,
                "config": { "workloadMetadataConfig": { "mode": mode } },
            }),
            None => json!({ "name": pool.name }),
        });
    kept.insert("nodePools".to_owned(), pools.collect());
    Ok((ClusterDescription::Gke(cluster), Value::Object(kept)))
}

fn aks(file: &str, node: &Node<'_>) -> Result<(ClusterDescription, Value), DocumentError> {
    // Resource Manager nests what the CLI flattens.
    let inner = node.get(&["properties"]).unwrap_or_else(|| node.clone());
    let issuer = inner.get(&["oidcIssuerProfile"]);
    let flag = |node: Option<Node<'_>>| -> Result<bool, DocumentError> {
        Ok(node
            .map(|node| node.optional_bool(&["enabled"]))
            .transpose()?
            .flatten()
            .unwrap_or(false))
    };
    let issuer_url = issuer
        .as_ref()
        .map(|issuer| issuer.optional_text(&["issuerUrl", "issuerURL"]))
        .transpose()?
        .flatten()
        .filter(|url| !url.is_empty());
    let cluster = AksCluster {
        file: file.to_owned(),
        name: node.required_text(&["name"])?,
        resource_group: node.optional_text(&["resourceGroup"])?,
        oidc_issuer_enabled: flag(issuer)?,
        issuer_url,
        workload_identity_enabled: flag(
            inner
                .get(&["securityProfile"])
                .and_then(|profile| profile.get(&["workloadIdentity"])),
        )?,
        provisioning_state: inner.optional_text(&["provisioningState"])?,
    };
    let mut kept = members(node, &["name", "resourceGroup", "type"]);
    kept.insert(
        "oidcIssuerProfile".to_owned(),
        json!({ "enabled": cluster.oidc_issuer_enabled, "issuerUrl": cluster.issuer_url }),
    );
    kept.insert(
        "securityProfile".to_owned(),
        json!({ "workloadIdentity": { "enabled": cluster.workload_identity_enabled } }),
    );
    if let Some(state) = &cluster.provisioning_state {
        kept.insert("provisioningState".to_owned(), json!(state));
    }
    Ok((ClusterDescription::Aks(cluster), Value::Object(kept)))
}

fn eks(file: &str, node: &Node<'_>) -> Result<(ClusterDescription, Value), DocumentError> {
    let inner = node.get(&["cluster"]).unwrap_or_else(|| node.clone());
    let issuer = inner
        .get(&["identity"])
        .and_then(|identity| identity.get(&["oidc"]))
        .map(|oidc| oidc.optional_text(&["issuer"]))
        .transpose()?
        .flatten();
    let cluster = EksCluster {
        file: file.to_owned(),
        name: inner.required_text(&["name"])?,
        arn: inner.optional_text(&["arn"])?,
        issuer,
    };
    let mut kept = members(&inner, &["name", "arn"]);
    kept.insert(
        "identity".to_owned(),
        json!({ "oidc": { "issuer": cluster.issuer } }),
    );
    Ok((
        ClusterDescription::Eks(cluster),
        json!({ "cluster": Value::Object(kept) }),
    ))
}

/// Clusters among Terraform's resources. Attributes that a plan does not know yet count as not shown, so such a cluster is
/// left out.
pub(super) fn read_terraform(
    file: &str,
    document: &Value,
) -> Result<Vec<ClusterDescription>, DocumentError> {
    let root = Node::root("cluster description", document);
    let mut clusters = Vec::new();
    for resource in terraform_resources(&root).unwrap_or_default() {
        let values = &resource.values;
        let Some(name) = values.optional_text(&["name"])? else {
            continue;
        };
        let file = file.to_owned();
        match resource.kind {
            "google_container_cluster" => {
                let workload_pool = values
                    .block(&["workload_identity_config"])
                    .map(|config| config.optional_text(&["workload_pool"]))
                    .transpose()?
                    .flatten();
                clusters.push(ClusterDescription::Gke(GkeCluster {
                    file,
                    name,
                    project: values.optional_text(&["project"])?,
                    location: values.optional_text(&["location"])?,
                    workload_pool,
                    autopilot: values
                        .optional_bool(&["enable_autopilot"])?
                        .unwrap_or(false),
                    node_pools: Vec::new(),
                }));
            }
            "azurerm_kubernetes_cluster" => {
                clusters.push(ClusterDescription::Aks(AksCluster {
                    file,
                    name,
                    resource_group: values.optional_text(&["resource_group_name"])?,
                    oidc_issuer_enabled: values
                        .optional_bool(&["oidc_issuer_enabled"])?
                        .unwrap_or(false),
                    issuer_url: values
                        .optional_text(&["oidc_issuer_url"])?
                        .filter(|url| !url.is_empty()),
                    workload_identity_enabled: values
                        .optional_bool(&["workload_identity_enabled"])?
                        .unwrap_or(false),
                    provisioning_state: None,
                }));
            }
            "aws_eks_cluster" => {
                let issuer = values
                    .block(&["identity"])
                    .and_then(|identity| identity.block(&["oidc"]))
                    .map(|oidc| oidc.optional_text(&["issuer"]))
                    .transpose()?
                    .flatten();
                clusters.push(ClusterDescription::Eks(EksCluster {
                    file,
                    name,
                    arn: values.optional_text(&["arn"])?,
                    issuer,
                }));
            }
            _ => {}
        }
    }
    Ok(clusters)
}

fn members(node: &Node<'_>, names: &[&str]) -> Map<String, Value> {
    names
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), node.get(&[name])?.value.clone())))
        .collect()
}
