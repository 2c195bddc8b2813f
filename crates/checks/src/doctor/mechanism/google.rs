//! GKE's metadata server and Google's federation webhook.
//!
//! Sources: Google, "Authenticate to Google Cloud APIs from GKE workloads"
//! (<https://cloud.google.com/kubernetes-engine/docs/how-to/workload-identity>) and the README of Google's
//! workload-identity-federation-webhook for the annotations.

use cwii_contract::{Provider, env};

use super::{Given, Mechanism, MechanismKind, token_at};
use crate::{
    doctor::{facts::Facts, object::Object},
    facts::Fact,
};

/// The annotation that binds a ServiceAccount to one of Google's on GKE.
pub(crate) const GKE_SERVICE_ACCOUNT: &str = "iam.gke.io/gcp-service-account";
/// The annotation that names a provider to Google's webhook.
pub(crate) const PROVIDER: &str = "cloud.google.com/workload-identity-provider";
/// The annotation that names a service account to it.
pub(crate) const SERVICE_ACCOUNT: &str = "cloud.google.com/service-account-email";
/// The annotation that names the token's audience to it.
pub(crate) const AUDIENCE: &str = "cloud.google.com/audience";

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

fn gke(facts: &Facts, _pod: &Object) -> Option<Mechanism> {
    let Fact::Known(account) = &facts.service_account else {
        return None;
    };
    let asked = Given::annotation(account, GKE_SERVICE_ACCOUNT)?;
    Some(Mechanism {
        asked_by: asked.subject.clone(),
        injected: false,
        google_service_account: Some(asked),
        ..Mechanism::new(MechanismKind::GkeMetadata, Provider::Gcp)
    })
}

fn federation(facts: &Facts, pod: &Object) -> Option<Mechanism> {
    let account = match &facts.service_account {
        Fact::Known(account) => Some(account),
        _ => None,
    };
    let given = |key: &str| {
        Given::annotation(pod, key)
            .or_else(|| account.and_then(|account| Given::annotation(account, key)))
    };
    let provider = given(PROVIDER)?;
    let token = token_at(pod, "gcp-iam-token", None);
    Some(Mechanism {
        asked_by: provider.subject.clone(),
        injected: token.is_some(),
        audience: given(AUDIENCE).or_else(|| {
            Some(Given {
                value: format!(
                    "//iam.googleapis.com/{}",
                    provider.value.trim_start_matches('/')
                ),
                subject: provider.subject.clone(),
            })
        }),
        google_service_account: given(SERVICE_ACCOUNT),
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
            .is_some_and(|audience| audience.contains("iam.googleapis.com/projects/"))
            && !["gcp-iam-token", "cwii-gcp-token"].contains(&token.volume.as_str())
    })?;
    let audience = token.audience.clone().map(Given::default);
    Some(Mechanism {
        asked_by: path.subject,
        injected: true,
        google_provider: audience.clone(),
        audience,
        token: token_at(pod, &token.volume, None),
        ..Mechanism::new(MechanismKind::Manual, Provider::Gcp)
    })
}
