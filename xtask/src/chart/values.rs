//! The chart's values: names, types, meaning and defaults, in one description.
//!
//! `values.yaml`, `values.schema.json` and the reference page are made of it. A first paragraph says what a value is for;
//! defaults that the programs have as well are taken from them, so that chart and program cannot differ.

use std::{borrow::Cow, collections::BTreeMap};

use cwii_contract::{
    names::{self, AGENT_RESOURCES},
    settings::Delivery,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Map, Value};

/// Values of the chart.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Values {
    /// Start of the names of all objects, instead of the release's name.
    #[schemars(regex(pattern = r"^([a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?)?$"))]
    name_override: String,
    image: Image,
    agent: Agent,
    providers: Providers,
    /// Let the webhook write ConfigMaps with Google's credentials document into the namespaces of pods, where pods or
    /// `providers.gcp.defaultDelivery` ask for it. Grants the right to create and patch ConfigMaps in all namespaces.
    config_map_delivery: bool,
    /// Read the annotations of the clouds' own webhooks (EKS, GKE, AKS) where a key of `cwii.dev` is not set.
    native_annotations: bool,
    /// Images that `cwii.dev/<p>-verify-image` may name: `*` stands for anything but `/`, `**` for anything. Empty: any
    /// image.
    verify_image_allow: Vec<String>,
    /// Further variables of verify containers, such as `HTTPS_PROXY`.
    verify_env: BTreeMap<String, String>,
    webhook: Webhook,
    certificates: Certificates,
    client_certificate: ClientCertificate,
    /// Pods of the webhook. With one, pods that are created while it is replaced or its node is drained meet
    /// `webhook.failurePolicy`.
    #[schemars(range(min = 1))]
    replicas: u32,
    /// Requests and limits of the webhook's container. Measured under load: 13 MB resident with 1,000 ServiceAccounts in
    /// the cluster, 32 MB with 50,000. Without a CPU limit, because pods are admitted in bursts.
    resources: Resources,
    /// User and group of the pods' processes. `null`: the platform chooses, as OpenShift does.
    #[schemars(range(min = 1))]
    run_as_user: Option<i64>,
    pod_disruption_budget: PodDisruptionBudget,
    topology_spread: TopologySpread,
    /// Priority class of the webhook's pods. With `webhook.failurePolicy: Fail` choose one that outranks what it admits,
    /// such as `system-cluster-critical`.
    priority_class_name: String,
    /// Labels of nodes that may run the webhook.
    node_selector: BTreeMap<String, String>,
    /// Taints that the webhook tolerates.
    tolerations: Vec<Toleration>,
    /// Affinity of the webhook's pods, as the Kubernetes API has it.
    affinity: Map<String, Value>,
    /// Further annotations of the webhook's pods.
    pod_annotations: BTreeMap<String, String>,
    /// Further labels of the webhook's pods.
    pod_labels: BTreeMap<String, String>,
    network_policy: NetworkPolicy,
    monitoring: Monitoring,
    /// Least severity that the webhook logs.
    #[schemars(extend("enum" = choices("log-level")))]
    log_level: String,
    /// Shape of the webhook's log lines.
    #[schemars(extend("enum" = choices("log-format")))]
    log_format: String,
    /// Further arguments of the webhook, such as `--lookup-timeout=1s`; `cwii-webhook --help` lists them.
    extra_args: Vec<String>,
    test: Test,
}

/// Image of the webhook, and where all images come from.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Image {
    /// Registry of a mirror, with a path where it has one, such as `registry.example.com/ghcr`. It takes the place of the
    /// registry that a repository below names, and is put before verify images that name none.
    #[schemars(regex(pattern = r"^([A-Za-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*/?)?$"))]
    registry: String,
    /// Repository of the webhook's image.
    #[schemars(regex(pattern = REPOSITORY))]
    repository: String,
    /// Tag; empty: the chart's `appVersion`.
    #[schemars(regex(pattern = TAG))]
    tag: String,
    /// Digest, which wins over the tag.
    #[schemars(regex(pattern = DIGEST))]
    digest: String,
    /// When nodes pull the images of the webhook and of `helm test`.
    #[schemars(extend("enum" = ["Always", "IfNotPresent", "Never"]))]
    pull_policy: String,
    /// Secrets of the release's namespace with which nodes pull these images. Injected containers are pulled with what the
    /// pods' own namespaces have.
    pull_secrets: Vec<Named>,
}

/// What is injected into pods.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Agent {
    /// Image of injected containers that write credentials or verify.
    image: OtherImage,
    resources: AgentResources,
}

/// An image beside the webhook's.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OtherImage {
    /// Repository of the image.
    #[schemars(regex(pattern = REPOSITORY))]
    repository: String,
    /// Tag, never `latest`; empty: the chart's `appVersion`.
    #[schemars(regex(pattern = TAG))]
    tag: String,
    /// Digest, which wins over the tag.
    #[schemars(regex(pattern = DIGEST))]
    digest: String,
}

/// Requests and limits of injected containers that run the agent.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AgentResources {
    /// What is set aside.
    requests: AgentResourceList,
    /// What is the most.
    limits: AgentResourceList,
}

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AgentResourceList {
    /// Processors.
    cpu: Quantity,
    /// Memory.
    memory: Quantity,
}

/// The clouds.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Providers {
    aws: Aws,
    az: Az,
    gcp: Gcp,
}

/// AWS.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Aws {
    /// Inject AWS where pods ask for it.
    enabled: bool,
    /// Image of the verify container where no `cwii.dev/aws-verify-image` is set; empty: the agent's. An image of the cloud's
    /// CLI is run with the CLI.
    verify_image: String,
    /// Region where no `cwii.dev/aws-region` is set.
    default_region: String,
}

/// Entra ID.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Az {
    /// Inject Entra ID where pods ask for it.
    enabled: bool,
    /// Image of the verify container where no `cwii.dev/az-verify-image` is set; empty: the agent's. An image of the cloud's
    /// CLI is run with the CLI.
    verify_image: String,
    /// Tenant where no `cwii.dev/az-tenant-id` is set, a UUID or a domain.
    default_tenant_id: String,
    /// Entra authority where no `cwii.dev/az-authority-host` is set. Recommended: azure-identity for Python takes the
    /// federated token only where one is set.
    #[schemars(regex(pattern = r"^(https://.*)?$"))]
    default_authority_host: String,
}

/// Google Cloud.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Gcp {
    /// Inject Google Cloud where pods ask for it.
    enabled: bool,
    /// Image of the verify container where no `cwii.dev/gcp-verify-image` is set; empty: the agent's. An image of the cloud's
    /// CLI is run with the CLI.
    verify_image: String,
    /// Audience of tokens where no `cwii.dev/gcp-audience` is set.
    default_audience: String,
    /// How credentials.json reaches a pod where no `cwii.dev/gcp-delivery` is set. `config-map` wants `configMapDelivery`.
    #[schemars(extend("enum" = Delivery::WORDS))]
    default_delivery: String,
}

/// How the API server asks the webhook.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Webhook {
    /// What becomes of a pod when the webhook does not answer: `Ignore` admits it without an identity, `Fail` refuses it.
    #[schemars(extend("enum" = ["Ignore", "Fail"]))]
    failure_policy: String,
    /// How long the API server waits.
    #[schemars(range(min = 1, max = 10))]
    timeout_seconds: u32,
    /// Namespaces whose pods the webhook is asked about. Empty: all but the excluded ones. With `matchLabels:
    /// {cwii.dev/enabled: "true"}` namespaces have to opt in by that label.
    namespace_selector: LabelSelector,
    /// Pods that the webhook is asked about, by their labels. Empty: all.
    object_selector: LabelSelector,
    /// Namespaces whose pods the webhook is not asked about. The release's own is always among them.
    excluded_namespaces: Vec<String>,
    /// Further CEL conditions on the admission request that all have to hold.
    match_conditions: Vec<MatchCondition>,
    /// Annotations of the MutatingWebhookConfiguration, such as `admissions.enforcer/disabled: "true"` on AKS.
    annotations: BTreeMap<String, String>,
}

/// A label selector. Empty: all.
#[derive(Default, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LabelSelector {
    /// Labels that have to be there.
    match_labels: BTreeMap<String, String>,
    /// Conditions that have to hold.
    match_expressions: Vec<Requirement>,
}

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Requirement {
    key: String,
    #[schemars(extend("enum" = ["In", "NotIn", "Exists", "DoesNotExist"]))]
    operator: String,
    #[serde(default)]
    values: Vec<String>,
}

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MatchCondition {
    name: String,
    expression: String,
}

/// How the API server knows the webhook.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Certificates {
    /// Who makes the webhook's certificate: the webhook itself, cert-manager, or you. On an installed release it is changed
    /// with `helm upgrade --force-conflicts`, because another one writes `caBundle` from then on.
    #[schemars(extend("enum" = ["self-signed", "cert-manager", "existing"]))]
    mode: String,
    /// How long a certificate is valid; a new one is made after two thirds of it. Not for `existing`.
    #[schemars(regex(pattern = r"^[1-9][0-9]*(s|m|h)$"))]
    lifetime: String,
    /// With `self-signed`: how long old and new certificate are both trusted before the switch, and after it.
    #[schemars(regex(pattern = DURATION))]
    overlap: String,
    cert_manager: CertManager,
    existing: Existing,
}

/// With `cert-manager`.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CertManager {
    issuer_ref: IssuerRef,
}

/// The issuer to ask, which must be one whose `ca.crt` cert-manager knows.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct IssuerRef {
    /// Name; empty: the chart makes an authority for this release alone.
    name: String,
    /// Kind, such as `ClusterIssuer`.
    kind: String,
    /// API group.
    group: String,
}

/// With `existing`.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Existing {
    /// Secret with `tls.crt` and `tls.key`, for `<name>-webhook.<namespace>.svc`; empty: `<name>-webhook-tls`.
    secret_name: String,
    /// Authority of that certificate, PEM. Empty: somebody else writes `caBundle` into the MutatingWebhookConfiguration.
    #[schemars(regex(pattern = r"^\s*(-----BEGIN CERTIFICATE-----[\s\S]*)?$"))]
    ca_bundle: String,
}

/// Answer admissions only to clients that show a certificate. The API server shows one where its admission configuration
/// says so.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ClientCertificate {
    /// ConfigMap of the release's namespace with the authorities that sign client certificates; empty: none is asked for.
    config_map: String,
    /// Key in it, PEM.
    key: String,
    /// Common names or DNS names, of which the certificate must carry one. Empty: any certificate.
    names: Vec<String>,
}

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Resources {
    /// What is set aside.
    requests: BTreeMap<String, Quantity>,
    /// What is the most.
    limits: BTreeMap<String, Quantity>,
}

/// How many of the webhook's pods a drain may take at once.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PodDisruptionBudget {
    /// Create the PodDisruptionBudget.
    enabled: bool,
    /// A number or a percentage.
    max_unavailable: IntOrPercent,
}

/// How the webhook's pods are spread.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TopologySpread {
    /// Labels of nodes over whose values the pods are spread.
    keys: Vec<String>,
    /// What to do where they cannot be.
    #[schemars(extend("enum" = ["ScheduleAnyway", "DoNotSchedule"]))]
    when_unsatisfiable: String,
}

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Toleration {
    #[serde(default)]
    key: String,
    #[serde(default)]
    #[schemars(extend("enum" = ["Exists", "Equal", "Lt", "Gt"]))]
    operator: String,
    #[serde(default)]
    value: String,
    #[serde(default)]
    #[schemars(extend("enum" = ["", "NoSchedule", "PreferNoSchedule", "NoExecute"]))]
    effect: String,
    #[serde(default)]
    toleration_seconds: Option<i64>,
}

/// A NetworkPolicy around the webhook: in to its two ports, out to DNS and the API server. Where another one lets nothing
/// out of the namespace, `helm test` needs a way to the API server, too.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NetworkPolicy {
    /// Create the NetworkPolicy.
    enabled: bool,
    /// Who may ask for admissions, as NetworkPolicy peers. Empty: anybody, because where the API server's connections come
    /// from differs between clusters.
    admission_from: Vec<Map<String, Value>>,
    /// Who may read metrics, as NetworkPolicy peers. Empty: anybody.
    metrics_from: Vec<Map<String, Value>>,
    /// Where the API server is, as NetworkPolicy peers. Empty: anywhere.
    api_server_at: Vec<Map<String, Value>>,
    /// Ports of the API server, behind its Service.
    api_server_ports: Vec<u16>,
}

/// For the Prometheus operator and Grafana.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Monitoring {
    service_monitor: ServiceMonitor,
    prometheus_rule: PrometheusRule,
    dashboard: Dashboard,
}

/// Scrape the webhook.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ServiceMonitor {
    /// Create the ServiceMonitor.
    enabled: bool,
    /// Further labels, by which a Prometheus selects it.
    labels: BTreeMap<String, String>,
    /// How often.
    #[schemars(regex(pattern = r"^[1-9][0-9]*(ms|s|m)$"))]
    interval: String,
}

/// Alerts.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PrometheusRule {
    /// Create the PrometheusRule.
    enabled: bool,
    /// Further labels, by which a Prometheus selects it.
    labels: BTreeMap<String, String>,
    /// Further labels of each alert, by which Alertmanager routes it.
    alert_labels: BTreeMap<String, String>,
}

/// Grafana dashboard, in a ConfigMap.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Dashboard {
    /// Create the ConfigMap.
    enabled: bool,
    /// Labels by which Grafana's sidecar selects it.
    labels: BTreeMap<String, String>,
    /// Annotations, such as the folder that the sidecar puts it in.
    annotations: BTreeMap<String, String>,
}

/// What `helm test` runs: the doctor, on this installation.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Test {
    /// Image of the doctor.
    image: OtherImage,
}

/// Reference to an object of the release's namespace.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Named {
    name: String,
}

/// An amount as Kubernetes writes it.
#[derive(Serialize)]
struct Quantity(&'static str);

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number"], "pattern": QUANTITY })
    }
}

/// A number or a percentage.
#[derive(Serialize)]
struct IntOrPercent(u32);

impl JsonSchema for IntOrPercent {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "number or percentage".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["integer", "string"], "minimum": 0, "pattern": "^[0-9]+%$" })
    }
}

impl Default for Values {
    fn default() -> Self {
        let text = String::new;
        Self {
            name_override: text(),
            image: Image {
                registry: text(),
                repository: WEBHOOK_REPOSITORY.into(),
                tag: text(),
                digest: text(),
                pull_policy: names::IMAGE_PULL_POLICY.into(),
                pull_secrets: Vec::new(),
            },
            agent: Agent {
                image: OtherImage::of(names::AGENT_REPOSITORY),
                resources: AgentResources {
                    requests: AgentResourceList {
                        cpu: Quantity(AGENT_RESOURCES.cpu_request),
                        memory: Quantity(AGENT_RESOURCES.memory_request),
                    },
                    limits: AgentResourceList {
                        cpu: Quantity(AGENT_RESOURCES.cpu_limit),
                        memory: Quantity(AGENT_RESOURCES.memory_limit),
                    },
                },
            },
            providers: Providers {
                aws: Aws {
                    enabled: is("aws-enabled"),
                    verify_image: flag("aws-verify-image"),
                    default_region: flag("aws-default-region"),
                },
                az: Az {
                    enabled: is("az-enabled"),
                    verify_image: flag("az-verify-image"),
                    default_tenant_id: flag("az-default-tenant-id"),
                    default_authority_host: flag("az-default-authority-host"),
                },
                gcp: Gcp {
                    enabled: is("gcp-enabled"),
                    verify_image: flag("gcp-verify-image"),
                    default_audience: flag("gcp-default-audience"),
                    default_delivery: flag("gcp-default-delivery"),
                },
            },
            config_map_delivery: is("config-map-delivery"),
            native_annotations: is("native-annotations"),
            verify_image_allow: Vec::new(),
            verify_env: BTreeMap::new(),
            webhook: Webhook {
                failure_policy: "Ignore".into(),
                timeout_seconds: 5,
                namespace_selector: LabelSelector::default(),
                object_selector: LabelSelector::default(),
                excluded_namespaces: vec!["kube-system".into(), "kube-node-lease".into()],
                match_conditions: Vec::new(),
                annotations: BTreeMap::new(),
            },
            certificates: Certificates {
                mode: "self-signed".into(),
                lifetime: flag("tls-lifetime"),
                overlap: flag("tls-overlap"),
                cert_manager: CertManager {
                    issuer_ref: IssuerRef {
                        name: text(),
                        kind: "Issuer".into(),
                        group: "cert-manager.io".into(),
                    },
                },
                existing: Existing {
                    secret_name: text(),
                    ca_bundle: text(),
                },
            },
            client_certificate: ClientCertificate {
                config_map: text(),
                key: "ca.crt".into(),
                names: Vec::new(),
            },
            replicas: 2,
            resources: Resources {
                requests: [
                    ("cpu".into(), Quantity("50m")),
                    ("memory".into(), Quantity("48Mi")),
                ]
                .into(),
                limits: [("memory".into(), Quantity("128Mi"))].into(),
            },
            run_as_user: Some(names::NON_ROOT_USER),
            pod_disruption_budget: PodDisruptionBudget {
                enabled: true,
                max_unavailable: IntOrPercent(1),
            },
            topology_spread: TopologySpread {
                keys: vec![
                    "kubernetes.io/hostname".into(),
                    "topology.kubernetes.io/zone".into(),
                ],
                when_unsatisfiable: "ScheduleAnyway".into(),
            },
            priority_class_name: text(),
            node_selector: [("kubernetes.io/os".into(), "linux".into())].into(),
            tolerations: Vec::new(),
            affinity: Map::new(),
            pod_annotations: BTreeMap::new(),
            pod_labels: BTreeMap::new(),
            network_policy: NetworkPolicy {
                enabled: false,
                admission_from: Vec::new(),
                metrics_from: Vec::new(),
                api_server_at: Vec::new(),
                api_server_ports: vec![443, 6443],
            },
            monitoring: Monitoring {
                service_monitor: ServiceMonitor {
                    enabled: false,
                    labels: BTreeMap::new(),
                    interval: "30s".into(),
                },
                prometheus_rule: PrometheusRule {
                    enabled: false,
                    labels: BTreeMap::new(),
                    alert_labels: BTreeMap::new(),
                },
                dashboard: Dashboard {
                    enabled: false,
                    labels: [("grafana_dashboard".into(), "1".into())].into(),
                    annotations: BTreeMap::new(),
                },
            },
            log_level: flag("log-level"),
            log_format: flag("log-format"),
            extra_args: Vec::new(),
            test: Test {
                image: OtherImage::of(PLUGIN_REPOSITORY),
            },
        }
    }
}

impl OtherImage {
    fn of(repository: &str) -> Self {
        Self {
            repository: repository.into(),
            tag: String::new(),
            digest: String::new(),
        }
    }
}

/// The default of a flag of the webhook; empty where it has none.
fn flag(name: &str) -> String {
    argument(name)
        .get_default_values()
        .first()
        .map(|value| value.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn is(name: &str) -> bool {
    flag(name) == "true"
}

/// What a flag of the webhook may be.
fn choices(name: &str) -> Vec<String> {
    argument(name)
        .get_possible_values()
        .iter()
        .map(|value| value.get_name().to_owned())
        .collect()
}

#[expect(
    clippy::panic,
    reason = "a value of the chart whose flag is gone has to be noticed, and generating is the moment"
)]
fn argument(name: &str) -> clap::Arg {
    cwii_webhook::cli::command()
        .get_arguments()
        .find(|argument| argument.get_long() == Some(name))
        .unwrap_or_else(|| panic!("cwii-webhook has no flag `--{name}`"))
        .clone()
}

const WEBHOOK_REPOSITORY: &str = "ghcr.io/cwii-dev/cwii-webhook";
const PLUGIN_REPOSITORY: &str = "ghcr.io/cwii-dev/kubectl-cwii";

const REPOSITORY: &str = r"^([A-Za-z0-9.-]+(:[0-9]+)?/)?[a-z0-9][a-z0-9._/-]*$";
const TAG: &str = r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$";
const DIGEST: &str = r"^(sha256:[0-9a-f]{64})?$";
const QUANTITY: &str = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$";
const DURATION: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$";
