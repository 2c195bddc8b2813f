//! What was learnt of one workload, and what had to be read for it.

use std::collections::BTreeMap;

use cwii_contract::Settings;
use cwii_token::{Claims, Discovery, Jwks, Token};
use cwii_trust::Library;
use jiff::Timestamp;

use super::object::Object;
use crate::facts::{Fact, Issuer, ServerClock};

/// Everything that rules may look at. A collector fills in what it was asked for and leaves the rest [`Fact::NotCollected`].
///
/// [`Fact::Denied`] holds the permission that was missing as a sentence's part: `get pods in namespace shop`.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What was asked about.
    pub target: Target,
    /// The moment of the diagnosis.
    pub now: Timestamp,
    /// The pod: a live one, or, for a workload that has none, one made from its template.
    pub pod: Fact<Object>,
    /// Whether `pod` was made from a template: what webhooks and kubelet add is not in it, and is not missing either.
    pub from_template: bool,
    /// Whether `pod` comes from files: nothing runs yet.
    pub from_files: bool,
    /// The controllers above the pod, the nearest first.
    pub owners: Vec<Owner>,
    /// The pod's ServiceAccount.
    pub service_account: Fact<Object>,
    /// The pod's namespace.
    pub namespace: Fact<Object>,
    /// The ServiceAccounts of the namespace.
    pub service_accounts: Fact<Vec<Object>>,
    /// Other objects of the namespace that came with `-f`: Services, ConfigMaps, Secrets, whatever a person may have put a key on.
    pub others: Fact<Vec<Object>>,
    /// Events about the pod and its owners.
    pub events: Fact<Vec<Object>>,
    /// MutatingWebhookConfigurations.
    pub webhooks: Fact<Vec<Object>>,
    /// What stands behind the webhooks that have a Service, by `namespace/name` of the Service.
    pub backends: Fact<BTreeMap<String, Backend>>,
    /// The settings of the cwii webhook, from the arguments and variables of its Deployment.
    pub webhook_settings: Fact<Settings>,
    /// `gitVersion` of the API server, `v1.34.2`.
    pub version: Fact<String>,
    /// Names of the API groups that the cluster serves.
    pub api_groups: Fact<Vec<String>>,
    /// The API server's discovery document.
    pub discovery: Fact<Discovery>,
    /// The API server's keys.
    pub jwks: Fact<Jwks>,
    /// The API server's clock.
    pub clock: Fact<ServerClock>,
    /// The pod's node.
    pub node: Fact<Object>,
    /// DaemonSets of the cluster.
    pub daemon_sets: Fact<Vec<Object>>,
    /// NetworkPolicies of the namespace.
    pub network_policies: Fact<Vec<Object>>,
    /// ConfigMaps that the pod's containers take variables or files from.
    pub config_maps: Fact<Vec<Object>>,
    /// ResourceQuotas and LimitRanges of the namespace.
    pub quotas: Fact<Vec<Object>>,
    /// Tokens minted for the pod's ServiceAccount, by audience (`--probe`).
    pub tokens: Fact<BTreeMap<String, Fact<Token>>>,
    /// The claims of the token in the pod, as somebody wrote them down (`*.claims.json`).
    pub claims: Fact<Vec<Claims>>,
    /// The pod as the API server would admit a copy of it now (`--probe`).
    pub dry_run: Fact<Object>,
    /// The API server's metrics, Prometheus text (`--probe`).
    pub metrics: Fact<String>,
    /// The issuer as it is published (`--probe`, or documents).
    pub published: Fact<Issuer>,
    /// Trust documents (`--trust`, or the ConfigMap `cwii-trust`).
    pub trust: Fact<Library>,
}

/// What was asked about.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Target {
    /// `Pod`, `Deployment`.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// A controller above the pod.
#[derive(Clone, Debug)]
pub struct Owner {
    /// `apiVersion` of the reference.
    pub api_version: String,
    /// `kind` of the reference.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The object.
    pub object: Fact<Object>,
}

/// What stands behind a webhook's Service.
#[derive(Clone, Debug)]
pub struct Backend {
    /// The Service.
    pub service: Fact<Object>,
    /// Its EndpointSlices.
    pub endpoint_slices: Fact<Vec<Object>>,
    /// The pods that its selector picks.
    pub pods: Fact<Vec<Object>>,
    /// The Deployments of its namespace that make such pods.
    pub deployments: Fact<Vec<Object>>,
    /// `tls.crt` of the Secret that its pods serve with, PEM. The key is never read into anything.
    pub certificate: Fact<String>,
}

/// One thing that rules may need. From the declared needs of all rules come the reads of a diagnosis, the Role that
/// `--print-rbac` prints, and the permission that an `unknown` names.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
#[expect(missing_docs, reason = "each is the field of `Facts` of the same name")]
pub enum Need {
    Pod,
    Owners,
    ServiceAccount,
    Namespace,
    ServiceAccounts,
    Others,
    Events,
    Webhooks,
    Backends,
    WebhookSettings,
    Version,
    ApiGroups,
    Discovery,
    Jwks,
    Clock,
    Node,
    DaemonSets,
    NetworkPolicies,
    ConfigMaps,
    Quotas,
    Tokens,
    Claims,
    DryRun,
    Metrics,
    Published,
    Trust,
}

/// One rule of a Role or ClusterRole.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Permission {
    /// API group; empty for the core.
    pub group: &'static str,
    /// Resource, with a subresource after a slash; for a path that is no resource the path, which begins with a slash.
    pub resource: &'static str,
    /// Verb.
    pub verb: &'static str,
    /// Where it is needed: the workload's namespace, the webhook's namespace, or the whole cluster.
    pub place: Place,
    /// Name of the one object, where only one is needed.
    pub name: Option<&'static str>,
}

/// Where a permission is needed.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Place {
    /// The namespace of the workload.
    Workload,
    /// The namespaces of the webhooks' Services.
    Webhook,
    /// Where cwii is installed.
    System,
    /// The whole cluster.
    Cluster,
}

impl Facts {
    /// Facts of which nothing is known yet.
    #[must_use]
    pub fn new(target: Target, now: Timestamp) -> Self {
        Self {
            target,
            now,
            pod: Fact::NotCollected,
            from_template: false,
            from_files: false,
            owners: Vec::new(),
            service_account: Fact::NotCollected,
            namespace: Fact::NotCollected,
            service_accounts: Fact::NotCollected,
            others: Fact::NotCollected,
            events: Fact::NotCollected,
            webhooks: Fact::NotCollected,
            backends: Fact::NotCollected,
            webhook_settings: Fact::NotCollected,
            version: Fact::NotCollected,
            api_groups: Fact::NotCollected,
            discovery: Fact::NotCollected,
            jwks: Fact::NotCollected,
            clock: Fact::NotCollected,
            node: Fact::NotCollected,
            daemon_sets: Fact::NotCollected,
            network_policies: Fact::NotCollected,
            config_maps: Fact::NotCollected,
            quotas: Fact::NotCollected,
            tokens: Fact::NotCollected,
            claims: Fact::NotCollected,
            dry_run: Fact::NotCollected,
            metrics: Fact::NotCollected,
            published: Fact::NotCollected,
            trust: Fact::NotCollected,
        }
    }
}

impl Need {
    /// All of them.
    pub const ALL: [Self; 26] = [
        Self::Pod,
        Self::Owners,
        Self::ServiceAccount,
        Self::Namespace,
        Self::ServiceAccounts,
        Self::Others,
        Self::Events,
        Self::Webhooks,
        Self::Backends,
        Self::WebhookSettings,
        Self::Version,
        Self::ApiGroups,
        Self::Discovery,
        Self::Jwks,
        Self::Clock,
        Self::Node,
        Self::DaemonSets,
        Self::NetworkPolicies,
        Self::ConfigMaps,
        Self::Quotas,
        Self::Tokens,
        Self::Claims,
        Self::DryRun,
        Self::Metrics,
        Self::Published,
        Self::Trust,
    ];

    /// What it takes to read this in a live cluster. A need without permissions is read from files, or is public.
    #[must_use]
    pub fn permissions(self) -> &'static [Permission] {
        use Place::{Cluster, System, Webhook, Workload};
        const fn p(
            group: &'static str,
            resource: &'static str,
            verb: &'static str,
            place: Place,
        ) -> Permission {
            Permission {
                group,
                resource,
                verb,
                place,
                name: None,
            }
        }
        const ADMISSION: &str = "admissionregistration.k8s.io";
        match self {
            Self::Pod => {
                const {
                    &[
                        p("", "pods", "get", Workload),
                        p("", "pods", "list", Workload),
                    ]
                }
            }
            Self::Owners => {
                const {
                    &[
                        p("apps", "deployments", "get", Workload),
                        p("apps", "replicasets", "get", Workload),
                        p("apps", "statefulsets", "get", Workload),
                        p("apps", "daemonsets", "get", Workload),
                        p("", "replicationcontrollers", "get", Workload),
                        p("batch", "jobs", "get", Workload),
                        p("batch", "cronjobs", "get", Workload),
                    ]
                }
            }
            Self::ServiceAccount => const { &[p("", "serviceaccounts", "get", Workload)] },
            Self::Namespace => const { &[p("", "namespaces", "get", Cluster)] },
            Self::ServiceAccounts => const { &[p("", "serviceaccounts", "list", Workload)] },
            Self::Events => const { &[p("", "events", "list", Workload)] },
            Self::Webhooks => {
                const {
                    &[p(
                        ADMISSION,
                        "mutatingwebhookconfigurations",
                        "list",
                        Cluster,
                    )]
                }
            }
            Self::Backends => {
                const {
                    &[
                        p("", "services", "get", Webhook),
                        p("discovery.k8s.io", "endpointslices", "list", Webhook),
                        p("", "pods", "list", Webhook),
                        p("apps", "deployments", "list", Webhook),
                        p("", "secrets", "get", Webhook),
                    ]
                }
            }
            Self::WebhookSettings => const { &[p("apps", "deployments", "list", Webhook)] },
            Self::Version => const { &[p("", "/version", "get", Cluster)] },
            Self::ApiGroups => const { &[p("", "/apis", "get", Cluster)] },
            Self::Discovery => {
                const { &[p("", "/.well-known/openid-configuration", "get", Cluster)] }
            }
            Self::Jwks => const { &[p("", "/openid/v1/jwks", "get", Cluster)] },
            Self::Node => const { &[p("", "nodes", "get", Cluster)] },
            Self::DaemonSets => const { &[p("apps", "daemonsets", "list", Cluster)] },
            Self::NetworkPolicies => {
                const { &[p("networking.k8s.io", "networkpolicies", "list", Workload)] }
            }
            Self::ConfigMaps => const { &[p("", "configmaps", "get", Workload)] },
            Self::Quotas => {
                const {
                    &[
                        p("", "resourcequotas", "list", Workload),
                        p("", "limitranges", "list", Workload),
                    ]
                }
            }
            Self::Tokens => const { &[p("", "serviceaccounts/token", "create", Workload)] },
            Self::DryRun => const { &[p("", "pods", "create", Workload)] },
            Self::Metrics => const { &[p("", "/metrics", "get", Cluster)] },
            Self::Trust => {
                const {
                    &[Permission {
                        group: "",
                        resource: "configmaps",
                        verb: "get",
                        place: System,
                        name: Some("cwii-trust"),
                    }]
                }
            }
            Self::Others | Self::Clock | Self::Claims | Self::Published => &[],
        }
    }

    /// The flag that asks for it, where it is not read unless asked for.
    #[must_use]
    pub fn flag(self) -> Option<&'static str> {
        match self {
            Self::Tokens | Self::DryRun | Self::Metrics | Self::Published => Some("--probe"),
            Self::Trust | Self::Claims => Some("--trust"),
            Self::Others => Some("-f"),
            _ => None,
        }
    }

    /// What it is, for people.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Pod => "the pod",
            Self::Owners => "the pod's controllers",
            Self::ServiceAccount => "the ServiceAccount",
            Self::Namespace => "the namespace",
            Self::ServiceAccounts => "the namespace's ServiceAccounts",
            Self::Others => "other manifests",
            Self::Events => "events",
            Self::Webhooks => "the MutatingWebhookConfigurations",
            Self::Backends => "what stands behind the webhooks",
            Self::WebhookSettings => "the webhook's flags",
            Self::Version => "the API server's version",
            Self::ApiGroups => "the cluster's API groups",
            Self::Discovery => "the API server's discovery document",
            Self::Jwks => "the API server's keys",
            Self::Clock => "the API server's clock",
            Self::Node => "the node",
            Self::DaemonSets => "the cluster's DaemonSets",
            Self::NetworkPolicies => "the namespace's NetworkPolicies",
            Self::ConfigMaps => "the ConfigMaps that the pod uses",
            Self::Quotas => "the namespace's ResourceQuotas and LimitRanges",
            Self::Tokens => "a token of the ServiceAccount",
            Self::Claims => "the claims of the token in the pod",
            Self::DryRun => "a dry run of the pod's admission",
            Self::Metrics => "the API server's metrics",
            Self::Published => "the published issuer",
            Self::Trust => "trust documents",
        }
    }
}
