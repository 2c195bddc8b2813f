//! Azure workload identity, of AKS or installed by hand.
//!
//! Sources: Azure Workload Identity, "Service Account Labels and Annotations"
//! (<https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html>) and
//! "Mutating Admission Webhook"
//! (<https://azure.github.io/azure-workload-identity/docs/installation/mutating-admission-webhook.html>).

use cwii_contract::{Provider, env};

use super::{Given, Mechanism, MechanismKind, PodToken, token_at};
use crate::{
    doctor::{facts::Facts, object::Object},
    facts::Fact,
};

/// The label of a pod that asks for injection.
pub(crate) const USE: &str = "azure.workload.identity/use";
/// The annotation of a ServiceAccount with the client id.
pub(crate) const CLIENT_ID: &str = "azure.workload.identity/client-id";
/// The annotation of a ServiceAccount with the tenant.
pub(crate) const TENANT_ID: &str = "azure.workload.identity/tenant-id";
/// The annotation of a pod that asks for the proxy that stands in for the instance metadata service.
pub(crate) const PROXY_SIDECAR: &str = "azure.workload.identity/inject-proxy-sidecar";
/// The audience that Entra wants.
pub(crate) const AUDIENCE: &str = "api://AzureADTokenExchange";
/// Where all webhooks before 1.6 put the token.
pub(crate) const CLASSIC_TOKEN_FILE: &str = "/var/run/secrets/azure/tokens/azure-identity-token";
/// Below this the webhook puts tokens, whatever its version.
pub(crate) const TOKEN_DIRECTORY: &str = "/var/run/secrets/azure/";

pub(super) fn detect(facts: &Facts, pod: &Object) -> Vec<Mechanism> {
    [webhook(facts, pod), manual(pod)]
        .into_iter()
        .flatten()
        .collect()
}

pub(super) fn of_variables(mechanism: &mut Mechanism, pod: &Object) {
    mechanism.client_id = Given::variable(pod, env::AZURE_CLIENT_ID);
    mechanism.tenant_id = Given::variable(pod, env::AZURE_TENANT_ID);
}

fn webhook(facts: &Facts, pod: &Object) -> Option<Mechanism> {
    let account = match &facts.service_account {
        Fact::Known(account) => Some(account),
        _ => None,
    };
    let label = pod.label(USE).map(|_| pod.subject_label(USE));
    let client_id = account.and_then(|account| Given::annotation(account, CLIENT_ID));
    let token = injected_token(pod);
    if label.is_none() && client_id.is_none() && token.is_none() {
        return None;
    }
    let mut mechanism = Mechanism {
        asked_by: label.or_else(|| client_id.as_ref().and_then(|given| given.subject.clone())),
        injected: token.is_some(),
        audience: Some(Given::default(AUDIENCE)),
        token,
        ..Mechanism::new(MechanismKind::AzureWorkloadIdentity, Provider::Az)
    };
    of_variables(&mut mechanism, pod);
    mechanism.client_id = client_id.or(mechanism.client_id);
    mechanism.tenant_id = account
        .and_then(|account| Given::annotation(account, TENANT_ID))
        .or(mechanism.tenant_id);
    Some(mechanism)
}

/// The webhook's token: volume `azure-identity-token`, or since 1.6 one whose name ends in a hash of the pod's, below a
/// directory that is the webhook's own either way.
fn injected_token(pod: &Object) -> Option<PodToken> {
    token_at(pod, "azure-identity-token", Some(CLASSIC_TOKEN_FILE)).or_else(|| {
        pod.projected_tokens()
            .into_iter()
            .filter(|source| {
                source
                    .volume
                    .starts_with("azure-workload-identity-reserved")
            })
            .find_map(|source| token_at(pod, &source.volume, None))
    })
}

fn manual(pod: &Object) -> Option<Mechanism> {
    let path = Given::variable(pod, env::AZURE_FEDERATED_TOKEN_FILE)?;
    if injected_token(pod).is_some() || path.value.starts_with("/var/run/secrets/cwii.dev/") {
        return None;
    }
    let mut mechanism = Mechanism {
        asked_by: path.subject,
        injected: true,
        audience: Some(Given::default(AUDIENCE)),
        token: token_at(pod, "", Some(&path.value)),
        ..Mechanism::new(MechanismKind::Manual, Provider::Az)
    };
    of_variables(&mut mechanism, pod);
    Some(mechanism)
}
