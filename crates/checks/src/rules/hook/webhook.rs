//! Which webhook belongs to which mechanism, and what its registration says.
//!
//! Names come from what the vendors publish: AWS re:Post, "How do I troubleshoot IRSA errors in Amazon EKS?"
//! (<https://repost.aws/knowledge-center/eks-troubleshoot-irsa-errors>) shows EKS' own registration; the README of
//! amazon-eks-pod-identity-webhook that of a webhook installed by hand; "Mutating Admission Webhook" of Azure Workload
//! Identity (<https://azure.github.io/azure-workload-identity/docs/installation/mutating-admission-webhook.html>) and the
//! charts of the others theirs. OpenShift registers the same webhooks under names of its own.

use std::fmt;

use serde_json::Value;

use crate::{
    doctor::{Case, Gap, Mechanism, MechanismKind, Need, Object, not_collected},
    report::Subject,
};

/// Webhooks that inject the same thing.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Family {
    /// What people call it.
    pub(super) name: &'static str,
    /// The mechanisms that it injects.
    kinds: &'static [MechanismKind],
    /// Names of webhooks, which tell the family whatever the configuration is called.
    webhooks: &'static [&'static str],
    /// Names of the configuration and of the Service.
    names: &'static [&'static str],
    /// The same where a release's name stands before it.
    endings: &'static [&'static str],
    /// How it comes into a cluster.
    pub(super) install: &'static str,
}

/// A mechanism that needs a webhook.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a> {
    pub(super) mechanism: &'a Mechanism,
    pub(super) family: &'static Family,
}

/// One webhook of a MutatingWebhookConfiguration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Webhook<'a> {
    pub(super) configuration: &'a Object,
    pub(super) index: usize,
    pub(super) value: &'a Value,
}

/// The Service behind a webhook.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Service<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) port: i64,
}

const FAMILIES: &[Family] = &[
    Family {
        name: "cwii's webhook",
        kinds: &[MechanismKind::Cwii],
        webhooks: &["mutate.cwii.dev"],
        names: &["cwii", "cwii-webhook"],
        endings: &[],
        install: "install cwii in the cluster: its chart registers MutatingWebhookConfiguration `cwii`",
    },
    Family {
        name: "the EKS pod identity webhook",
        kinds: &[MechanismKind::Irsa, MechanismKind::EksPodIdentity],
        webhooks: &[
            "iam-for-pods.amazonaws.com",
            "pod-identity-webhook.amazonaws.com",
        ],
        names: &[
            "pod-identity-webhook",
            "aws-pod-identity-webhook",
            "amazon-eks-pod-identity-webhook",
        ],
        endings: &[],
        install: "on EKS, register the control plane's webhook again as AWS re:Post describes it (https://repost.aws/knowledge-center/eks-troubleshoot-irsa-errors); elsewhere install amazon-eks-pod-identity-webhook",
    },
    Family {
        name: "the Azure workload identity webhook",
        kinds: &[MechanismKind::AzureWorkloadIdentity],
        webhooks: &[
            "mutation.azure-workload-identity.io",
            "pod-identity-webhook.azure.mutate.io",
        ],
        names: &[
            "azure-wi-webhook-mutating-webhook-configuration",
            "azure-wi-webhook-webhook-service",
        ],
        endings: &[],
        install: "on AKS, `az aks update --enable-oidc-issuer --enable-workload-identity` installs it; elsewhere install the chart workload-identity-webhook",
    },
    Family {
        name: "the Google federation webhook",
        kinds: &[MechanismKind::GoogleFederation],
        // `mpod.kb.io` of the published chart is what many webhooks are called, so the other names tell.
        webhooks: &["pod-identity-webhook.gcp.mutate.io"],
        names: &["gcp-workload-identity-federation-webhook"],
        endings: &[
            "gcp-workload-identity-federation-webhook-mutating-webhook-configuration",
            "gcp-workload-identity-federation-webhook-webhook-service",
        ],
        install: "install the chart gcp-workload-identity-federation-webhook",
    },
];

/// The pod's mechanisms that a webhook injects. What is there and nobody asks for needs none.
pub(super) fn wishes<'a>(case: &Case<'a>) -> Vec<Wish<'a>> {
    case.mechanisms()
        .iter()
        .filter(|mechanism| {
            mechanism.asked_by.is_some() || mechanism.kind == MechanismKind::EksPodIdentity
        })
        .filter_map(|mechanism| {
            let family = FAMILIES
                .iter()
                .find(|family| family.kinds.contains(&mechanism.kind))?;
            Some(Wish { mechanism, family })
        })
        .collect()
}

/// All webhooks of a family.
pub(super) fn of<'a>(case: &Case<'a>, family: &Family) -> Result<Vec<Webhook<'a>>, Gap> {
    let configurations = case
        .webhooks()?
        .ok_or_else(|| not_collected(Need::Webhooks))?;
    Ok(configurations
        .iter()
        .flat_map(|configuration| {
            configuration
                .list("/webhooks")
                .enumerate()
                .map(move |(index, value)| Webhook {
                    configuration,
                    index,
                    value,
                })
        })
        .filter(|webhook| webhook.family() == Some(family))
        .collect())
}

impl Wish<'_> {
    /// Whether the pod lacks what the webhook injects.
    pub(super) fn lacking(&self) -> bool {
        !self.mechanism.injected
    }
}

impl<'a> Webhook<'a> {
    fn family(&self) -> Option<&'static Family> {
        let by_name = FAMILIES
            .iter()
            .find(|family| family.webhooks.contains(&self.name()));
        let by_others = || {
            let service = self.service().map(|service| service.name);
            let known = [Some(self.configuration.name()), service];
            FAMILIES.iter().find(|family| {
                known.into_iter().flatten().any(|name| {
                    family.names.contains(&name)
                        || family.endings.iter().any(|ending| name.ends_with(ending))
                })
            })
        };
        by_name.or_else(by_others)
    }

    /// Its name.
    pub(super) fn name(&self) -> &'a str {
        self.text("/name").unwrap_or_default()
    }

    /// The text that a pointer into the webhook leads to.
    pub(super) fn text(&self, pointer: &str) -> Option<&'a str> {
        self.value.pointer(pointer)?.as_str()
    }

    /// A pointer into the configuration.
    pub(super) fn pointer(&self, pointer: &str) -> String {
        format!("/webhooks/{}{pointer}", self.index)
    }

    /// A place in it.
    pub(super) fn subject(&self, pointer: &str, what: &str) -> Subject {
        self.configuration.subject_at(
            &self.pointer(pointer),
            format!("{what} of webhook `{}`", self.name()),
        )
    }

    /// The Service that it is reached through; none for one reached by URL.
    pub(super) fn service(&self) -> Option<Service<'a>> {
        let service = self.value.pointer("/clientConfig/service")?;
        Some(Service {
            namespace: service.get("namespace")?.as_str()?,
            name: service.get("name")?.as_str()?,
            port: service.get("port").and_then(Value::as_i64).unwrap_or(443),
        })
    }

    /// What happens when it does not answer; the API's default is `Fail`.
    pub(super) fn fails_closed(&self) -> bool {
        self.text("/failurePolicy") != Some("Ignore")
    }

    /// A command that changes it.
    pub(super) fn patch(&self, operations: &Value) -> String {
        format!(
            "kubectl patch mutatingwebhookconfiguration {} --type=json -p {}",
            super::shell(self.configuration.name()),
            super::shell(&operations.to_string())
        )
    }
}

impl fmt::Display for Service<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
