//! GKE's metadata server, the webhook for federation from other clusters, and federation by hand.
//!
//! Sources: Google, "Authenticate to Google Cloud APIs from GKE workloads"
//! (<https://cloud.google.com/kubernetes-engine/docs/how-to/workload-identity>), and the README of
//! gcp-workload-identity-federation-webhook
//! (<https://github.com/pfnet-research/gcp-workload-identity-federation-webhook>) for annotations, volumes and paths.

use cwii_contract::{Provider, env};

use super::{Given, Mechanism, MechanismKind, token_at};
use crate::{
    doctor::{facts::Facts, object::Object},
    facts::Fact,
};

/// The annotation that binds a ServiceAccount to one of Google's on GKE.
pub(crate) const GKE_SERVICE_ACCOUNT: &str = "iam.gke.io/gcp-service-account";
/// The label of a node whose pods reach the metadata server of GKE, which a pod may select.
pub(crate) const GKE_METADATA_SERVER: &str = "iam.gke.io/gke-metadata-server-enabled";
/// The annotation that names a provider to the federation webhook.
pub(crate) const PROVIDER: &str = "cloud.google.com/workload-identity-provider";
/// The annotation that names a service account to it.
pub(crate) const SERVICE_ACCOUNT: &str = "cloud.google.com/service-account-email";
/// The annotation that names the token's audience to it.
pub(crate) const AUDIENCE: &str = "cloud.google.com/audience";
/// The annotation of a pod that it keeps the credentials document in, in its mode `direct`.
pub(crate) const CREDENTIALS: &str = "cloud.google.com/external-credentials-json";
/// Its default audience.
pub(crate) const STS: &str = "sts.googleapis.com";
/// Where it puts the token.
pub(crate) const TOKEN_FILE: &str = "/var/run/secrets/sts.googleapis.com/serviceaccount/token";

pub(super) fn detect(facts: &Facts, pod: &Object) -> Vec<Mechanism> {
    [gke(facts, pod), federation(facts, pod), manual(pod)]
        .into_iter()
        .flatten()
        .collect()
}

pub(super) fn of_variables(mechanism: &mut Mechanism, _pod: &Object) {
    // What the pod is to be stands in credentials.json, which is no part of the pod.
    mechanism.google_provider = mechanism.audience.clone();
}

/// A pod is one that GKE serves if its ServiceAccount says so, or if it asks for a node with the metadata server, as Google's
/// instructions have it. That alone makes a direct principal: a pod on any GKE node has one, wanted or not.
fn gke(facts: &Facts, pod: &Object) -> Option<Mechanism> {
    let asked = match &facts.service_account {
        Fact::Known(account) => Given::annotation(account, GKE_SERVICE_ACCOUNT),
        _ => None,
    };
    let selected = pod
        .get("/spec/nodeSelector")
        .and_then(|labels| labels.get(GKE_METADATA_SERVER))
        .map(|_| {
            pod.subject_at(
                &format!(
                    "/spec/nodeSelector/{}",
                    crate::doctor::escape(GKE_METADATA_SERVER)
                ),
                format!("node selector `{GKE_METADATA_SERVER}`"),
            )
        });
    // A chart may carry the annotations of several platforms.
    if let Fact::Known(node) = &facts.node
        && elsewhere(node)
    {
        return None;
    }
    let asked_by = asked
        .as_ref()
        .and_then(|given| given.subject.clone())
        .or(selected)?;
    Some(Mechanism {
        asked_by: Some(asked_by),
        injected: false,
        google_service_account: asked,
        ..Mechanism::new(MechanismKind::GkeMetadata, Provider::Gcp)
    })
}

/// Whether a node is another cloud's.
fn elsewhere(node: &Object) -> bool {
    ["aws:", "azure:"].iter().any(|scheme| {
        node.text("/spec/providerID")
            .is_some_and(|id| id.starts_with(scheme))
    }) || [
        "eks.amazonaws.com/nodegroup",
        "eks.amazonaws.com/compute-type",
        "kubernetes.azure.com/cluster",
    ]
    .iter()
    .any(|label| node.label(label).is_some())
}

fn federation(facts: &Facts, pod: &Object) -> Option<Mechanism> {
    let account = match &facts.service_account {
        Fact::Known(account) => Some(account),
        _ => None,
    };
    let given = |key: &str| account.and_then(|account| Given::annotation(account, key));
    let token = token_at(pod, "gcp-iam-token", Some(TOKEN_FILE));
    // The init container `gcloud-setup` keeps what the annotations said when the pod was made.
    let provider =
        given(PROVIDER).or_else(|| Given::variable(pod, "GCP_WORKLOAD_IDENTITY_PROVIDER"))?;
    Some(Mechanism {
        asked_by: provider.subject.clone(),
        injected: token.is_some(),
        audience: given(AUDIENCE).or_else(|| Some(Given::default(STS))),
        google_service_account: given(SERVICE_ACCOUNT)
            .or_else(|| Given::variable(pod, "GCP_SERVICE_ACCOUNT")),
        google_provider: Some(provider),
        token,
        ..Mechanism::new(MechanismKind::GoogleFederation, Provider::Gcp)
    })
}

fn manual(pod: &Object) -> Option<Mechanism> {
    let path = Given::variable(pod, env::GOOGLE_APPLICATION_CREDENTIALS)?;
    let token = pod.projected_tokens().into_iter().find(|token| {
        token
            .audience
            .as_deref()
            .is_some_and(|audience| audience.contains("googleapis.com"))
            && !["gcp-iam-token", "cwii-gcp-token"].contains(&token.volume.as_str())
    })?;
    let audience = token.audience.clone().map(|value| Given {
        value,
        subject: Some(pod.subject_at(
            &format!("{}/audience", token.pointer),
            format!("audience of the token in volume `{}`", token.volume),
        )),
    });
    Some(Mechanism {
        asked_by: path.subject,
        injected: true,
        google_provider: audience
            .clone()
            .filter(|given| given.value.contains("iam.googleapis.com/")),
        audience,
        token: token_at(pod, &token.volume, None),
        ..Mechanism::new(MechanismKind::Manual, Provider::Gcp)
    })
}
