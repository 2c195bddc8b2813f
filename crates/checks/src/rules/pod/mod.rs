//! Pod, ServiceAccount and namespace.

use cwii_contract::{Provider, env};

use super::{cwii, words::Place};
use crate::doctor::{Case, Container, Mechanism, MechanismKind, Object, token_at};

mod keys;

group! {
    pod01 pod02 pod03 pod04 pod05 pod06 pod07 pod08 pod09 pod10 pod11 pod12 pod13 pod14 pod15 pod16 pod17 pod18 pod19
    pod20 pod21 pod22
}

/// Whether a webhook has to have been at a pod for this mechanism.
fn needs_webhook(mechanism: &Mechanism) -> bool {
    use MechanismKind::{AzureWorkloadIdentity, Cwii, EksPodIdentity, GoogleFederation, Irsa};
    matches!(
        mechanism.kind,
        Cwii | Irsa | EksPodIdentity | GoogleFederation | AzureWorkloadIdentity
    )
}

/// Whether a pod shows that this mechanism's webhook was there.
fn shows(pod: &Object, mechanism: &Mechanism) -> bool {
    let any = |name: &str, part: &str| {
        pod.containers().any(|container| {
            container
                .variable(name)
                .is_some_and(|value| value.contains(part))
        })
    };
    match mechanism.kind {
        MechanismKind::Cwii => cwii::is_injected(pod, mechanism.provider),
        MechanismKind::Irsa => {
            token_at(pod, "aws-iam-token", None).is_some()
                || any(env::AWS_WEB_IDENTITY_TOKEN_FILE, "eks.amazonaws.com")
        }
        MechanismKind::EksPodIdentity => any(env::AWS_CONTAINER_CREDENTIALS_FULL_URI, "http"),
        MechanismKind::GoogleFederation => token_at(pod, "gcp-iam-token", None).is_some(),
        MechanismKind::AzureWorkloadIdentity => {
            token_at(pod, "azure-identity-token", None).is_some()
                || any(env::AZURE_FEDERATED_TOKEN_FILE, "/azure/")
        }
        MechanismKind::GkeMetadata | MechanismKind::Manual => true,
    }
}

/// The variables that a mechanism gives a container, the one that names a file first.
fn variables(mechanism: &Mechanism) -> &'static [&'static str] {
    match (mechanism.kind, mechanism.provider) {
        (MechanismKind::GkeMetadata, _) => &[],
        (MechanismKind::EksPodIdentity, _) => &[
            env::AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE,
            env::AWS_CONTAINER_CREDENTIALS_FULL_URI,
        ],
        // The rest may stand in a profile.
        (MechanismKind::Manual, Provider::Aws) => &[env::AWS_WEB_IDENTITY_TOKEN_FILE],
        (MechanismKind::Manual, Provider::Az) => &[env::AZURE_FEDERATED_TOKEN_FILE],
        (_, Provider::Aws) => &[env::AWS_WEB_IDENTITY_TOKEN_FILE, env::AWS_ROLE_ARN],
        (_, Provider::Az) => &[
            env::AZURE_FEDERATED_TOKEN_FILE,
            env::AZURE_CLIENT_ID,
            env::AZURE_TENANT_ID,
        ],
        (_, Provider::Gcp) => &[env::GOOGLE_APPLICATION_CREDENTIALS],
    }
}

/// A list of containers to skip, by whom it is read.
struct SkipList {
    key: &'static str,
    separator: char,
    /// Whether white space around a name is taken away.
    trims: bool,
}

const SKIP_LISTS: [SkipList; 4] = [
    SkipList {
        key: "eks.amazonaws.com/skip-containers",
        separator: ',',
        trims: false,
    },
    SkipList {
        key: "azure.workload.identity/skip-containers",
        separator: ';',
        trims: true,
    },
    SkipList {
        key: "cloud.google.com/skip-containers",
        separator: ',',
        trims: true,
    },
    SkipList {
        key: "cwii.dev/skip-containers",
        separator: ',',
        trims: true,
    },
];

impl SkipList {
    fn of(mechanism: &Mechanism) -> Option<&'static Self> {
        let key = match mechanism.kind {
            MechanismKind::Irsa | MechanismKind::EksPodIdentity => SKIP_LISTS[0].key,
            MechanismKind::AzureWorkloadIdentity => SKIP_LISTS[1].key,
            MechanismKind::GoogleFederation => SKIP_LISTS[2].key,
            MechanismKind::Cwii => SKIP_LISTS[3].key,
            MechanismKind::GkeMetadata | MechanismKind::Manual => return None,
        };
        SKIP_LISTS.iter().find(|list| list.key == key)
    }

    /// The names in it, as its reader takes them.
    fn names<'v>(&self, value: &'v str) -> Vec<&'v str> {
        value
            .split(self.separator)
            .map(|name| if self.trims { name.trim() } else { name })
            .filter(|name| !name.is_empty())
            .collect()
    }
}

/// The containers that a mechanism is to give nothing.
fn skipped(case: &Case<'_>, pod: &Object, mechanism: &Mechanism) -> Vec<String> {
    if mechanism.kind == MechanismKind::Cwii {
        return match case.plan() {
            Ok(Ok(plan)) => plan
                .skip_containers
                .map(|setting| setting.value)
                .unwrap_or_default(),
            _ => Vec::new(),
        };
    }
    let Some(list) = SkipList::of(mechanism) else {
        return Vec::new();
    };
    pod.annotation(list.key)
        .map(|value| list.names(value).into_iter().map(str::to_owned).collect())
        .unwrap_or_default()
}

/// Containers that work for the pod and never ask a cloud, and those that bring their own wiring.
fn is_helper(container: &Container<'_>) -> bool {
    const HELPERS: &[&str] = &[
        "istio-proxy",
        "istio-init",
        "istio-validation",
        "linkerd-proxy",
        "linkerd-init",
        "linkerd-network-validator",
        "azwi-proxy",
        "azwi-proxy-init",
        "gcloud-setup",
    ];
    container.list == "ephemeralContainers"
        || HELPERS.contains(&container.name())
        || container.name() == cwii_contract::names::GCP_CREDENTIALS_WRITER
        || Provider::ALL
            .iter()
            .any(|provider| container.name() == cwii_contract::names::verify_container(*provider))
}

/// Whether the template has a container of this name; all are of the template where there is none.
fn is_of_template(template: Option<&Object>, container: &Container<'_>) -> bool {
    template.is_none_or(|template| {
        template
            .containers()
            .any(|other| other.name() == container.name())
    })
}

/// `cwii.dev/` or a key of a cloud's webhook on any of the workload's objects, with its value.
fn annotations_of<'a>(case: &Case<'a>) -> Vec<(Place<'a>, &'a str, &'a str)> {
    Place::all(case)
        .into_iter()
        .flat_map(|place| {
            place
                .annotations()
                .map(move |(key, value)| (place, key, value))
        })
        .collect()
}
