//! What holds of everything that the chart renders, whatever the values.

use std::collections::{BTreeMap, BTreeSet};

use cwii_contract::{deployed, image::Image};
use cwii_webhook::{Options, kind::Kind};
use serde_json::{Value, json};

use super::helm::{NAMESPACE, RELEASE};

/// Objects of one rendering, and what is wrong with them.
pub(super) struct Rendering<'a> {
    values: &'a Value,
    objects: &'a [Value],
    problems: Vec<String>,
}

/// What is wrong with what these values render to.
pub(super) fn problems(values: &Value, objects: &[Value]) -> Vec<String> {
    let mut rendering = Rendering {
        values,
        objects,
        problems: Vec::new(),
    };
    rendering.identities();
    rendering.labels();
    rendering.pods();
    rendering.selectors();
    rendering.references();
    rendering.registration();
    rendering.arguments();
    rendering.rights();
    rendering.problems
}

/// What could be wrong with a rendering, and would not be noticed. A check that cannot fail proves nothing.
pub(super) fn blind_spots(values: &Value, objects: &[Value]) -> Vec<String> {
    const POD: &str = "/spec/template/spec";
    const CONTAINER: &str = "/spec/template/spec/containers/0";
    const WEBHOOK: &str = "/webhooks/0";
    let cases = [
        (
            "Deployment",
            POD,
            "/securityContext/runAsNonRoot",
            json!(false),
        ),
        ("Deployment", POD, "/securityContext/runAsUser", json!(0)),
        ("Deployment", POD, "/serviceAccountName", json!("default")),
        (
            "Deployment",
            CONTAINER,
            "/securityContext/readOnlyRootFilesystem",
            json!(false),
        ),
        (
            "Deployment",
            CONTAINER,
            "/securityContext/capabilities/add",
            json!(["NET_ADMIN"]),
        ),
        (
            "Deployment",
            CONTAINER,
            "/resources/limits/cpu",
            json!("100m"),
        ),
        (
            "Deployment",
            CONTAINER,
            "/image",
            json!("cwii-webhook:latest"),
        ),
        (
            "Deployment",
            CONTAINER,
            "/args/0",
            json!("--no-such-flag=1"),
        ),
        ("Deployment", CONTAINER, "/ports/0/name", json!("other")),
        (
            "Deployment",
            "/spec/selector",
            "/matchLabels/more",
            json!("x"),
        ),
        ("Deployment", "/metadata", "/namespace", json!("default")),
        ("Service", "/metadata", "/labels/helm.sh~1chart", json!("x")),
        (
            "Service",
            "/spec/selector",
            "/app.kubernetes.io~1component",
            json!("x"),
        ),
        ("Service", "/spec/ports/0", "/port", json!(80)),
        ("ClusterRole", "/rules/0", "/verbs", json!(["get"])),
        ("ClusterRole", "/rules/0", "/verbs/3", json!("delete")),
        ("ClusterRole", "/rules/0", "/resources/3", json!("secrets")),
        ("ClusterRoleBinding", "/roleRef", "/name", json!("x")),
        ("ClusterRoleBinding", "/subjects/0", "/name", json!("x")),
        (
            "MutatingWebhookConfiguration",
            WEBHOOK,
            "/clientConfig/service/name",
            json!("x"),
        ),
        (
            "MutatingWebhookConfiguration",
            WEBHOOK,
            "/reinvocationPolicy",
            json!("Never"),
        ),
        (
            "MutatingWebhookConfiguration",
            WEBHOOK,
            "/sideEffects",
            json!("Some"),
        ),
        (
            "MutatingWebhookConfiguration",
            WEBHOOK,
            "/failurePolicy",
            json!("x"),
        ),
        (
            "MutatingWebhookConfiguration",
            WEBHOOK,
            "/namespaceSelector/matchExpressions/0/values",
            json!(["kube-system"]),
        ),
    ];
    let mut unseen = Vec::new();
    for (kind, start, rest, wrong) in cases {
        let mut altered = objects.to_vec();
        let Some(part) = altered
            .iter_mut()
            .find(|object| text(object, "/kind") == kind)
            .and_then(|object| object.pointer_mut(start))
        else {
            unseen.push(format!("no {kind} has {start}"));
            continue;
        };
        set(part, rest, wrong);
        if problems(values, &altered).is_empty() {
            unseen.push(format!("another {kind} {start}{rest} is not noticed"));
        }
    }
    // Nobody's `caBundle`, or somebody else's.
    let mut altered = objects.to_vec();
    for object in &mut altered {
        if text(object, "/kind") == "MutatingWebhookConfiguration"
            && let Some(config) = object.pointer_mut("/webhooks/0/clientConfig")
            && let Some(config) = config.as_object_mut()
            && config.remove("caBundle").is_none()
        {
            config.insert("caBundle".into(), json!("Cg=="));
        }
    }
    if problems(values, &altered).is_empty() {
        unseen.push("another `caBundle` is not noticed".to_owned());
    }
    unseen
}

/// Sets what a pointer leads to, and makes the last step where it is not there.
fn set(value: &mut Value, pointer: &str, to: Value) {
    let (parent, last) = pointer.rsplit_once('/').unwrap_or_default();
    let last = last.replace("~1", "/");
    match value.pointer_mut(parent) {
        Some(Value::Array(list)) => match last.parse::<usize>() {
            Ok(index) if index < list.len() => list[index] = to,
            _ => list.push(to),
        },
        Some(Value::Object(map)) => {
            map.insert(last, to);
        }
        _ => {}
    }
}

impl<'a> Rendering<'a> {
    /// No two objects are one, and each stands in the release's namespace if in any.
    fn identities(&mut self) {
        let mut seen = BTreeSet::new();
        for object in self.objects {
            let name = title(object);
            let namespace = text(object, "/metadata/namespace");
            let is_clusters = CLUSTER_KINDS.contains(&text(object, "/kind"));
            if is_clusters != namespace.is_empty() || !(is_clusters || namespace == NAMESPACE) {
                self.problems
                    .push(format!("{name}: namespace `{namespace}`"));
            }
            if !seen.insert(name.clone()) {
                self.problems.push(format!("{name} is there twice"));
            }
        }
    }

    fn labels(&mut self) {
        for object in self.objects {
            for (label, expected) in [
                ("app.kubernetes.io/name", "cwii"),
                ("app.kubernetes.io/instance", RELEASE),
                ("app.kubernetes.io/version", env!("CARGO_PKG_VERSION")),
                ("app.kubernetes.io/managed-by", "Helm"),
                ("helm.sh/chart", concat!("cwii-", env!("CARGO_PKG_VERSION"))),
            ] {
                if object["metadata"]["labels"][label] != expected {
                    self.problems.push(format!(
                        "{}: label `{label}` is not `{expected}`",
                        title(object)
                    ));
                }
            }
        }
    }

    /// `restricted`, no CPU limit, one version of each image, and none from elsewhere where there is a mirror.
    fn pods(&mut self) {
        let mirror = text(self.values, "/image/registry").to_owned();
        for (owner, spec) in self.pod_specs() {
            let mut is = |holds: bool, what: &str| {
                if !holds {
                    self.problems.push(format!("{owner}: {what}"));
                }
            };
            let pod = &spec["securityContext"];
            is(pod["runAsNonRoot"] == true, "may run as root");
            is(
                pod["seccompProfile"]["type"] == "RuntimeDefault",
                "no seccomp profile",
            );
            let user = match self.values.get("runAsUser") {
                Some(Value::Null) => Value::Null,
                _ => json!(cwii_contract::names::NON_ROOT_USER),
            };
            is(pod["runAsUser"] == user, "runs as another user");
            for container in each(&spec["containers"]) {
                let security = &container["securityContext"];
                is(
                    security["allowPrivilegeEscalation"] == false,
                    "may gain privileges",
                );
                is(
                    security["readOnlyRootFilesystem"] == true,
                    "its root can be written",
                );
                is(
                    security["capabilities"] == json!({ "drop": ["ALL"] }),
                    "has capabilities",
                );
                let resources = &container["resources"];
                is(resources["limits"]["cpu"].is_null(), "has a CPU limit");
                for amount in ["/limits/memory", "/requests/memory", "/requests/cpu"] {
                    is(resources.pointer(amount).is_some(), amount);
                }
                let images = std::iter::once(text(container, "/image")).chain(
                    each(&container["args"])
                        .filter_map(Value::as_str)
                        .filter_map(|argument| argument.split_once("-image="))
                        .map(|(_, image)| image),
                );
                for image in images {
                    let pinned = image.parse::<Image>().is_ok_and(|image| image.is_pinned());
                    is(pinned, &format!("image `{image}` is not one version"));
                    if !mirror.is_empty() {
                        let inside = image.starts_with(&format!("{mirror}/"));
                        is(inside, &format!("image `{image}` is not the mirror's"));
                        is(image.contains("@sha256:"), &format!("`{image}`: no digest"));
                    }
                }
            }
        }
    }

    /// Whatever selects the webhook's pods selects them, and what selects its Service selects that.
    fn selectors(&mut self) {
        let deployment = self.one("Deployment");
        let selector = deployment["spec"]["selector"]["matchLabels"].clone();
        let carries = |labels: &Value| {
            selector.as_object().is_some_and(|selector| {
                !selector.is_empty() && selector.iter().all(|(key, value)| labels[key] == *value)
            })
        };
        let mut wrong = Vec::new();
        if !carries(&deployment["spec"]["template"]["metadata"]["labels"]) {
            wrong.push("the Deployment's pods".to_owned());
        }
        if !carries(&self.one("Service")["metadata"]["labels"]) {
            wrong.push("the Service's labels".to_owned());
        }
        for (kind, pointer) in [
            ("Service", "/spec/selector"),
            ("PodDisruptionBudget", "/spec/selector/matchLabels"),
            ("NetworkPolicy", "/spec/podSelector/matchLabels"),
            ("ServiceMonitor", "/spec/selector/matchLabels"),
        ] {
            for object in self.of(kind) {
                if object.pointer(pointer) != Some(&selector) {
                    wrong.push(title(object));
                }
            }
        }
        let template = &deployment["spec"]["template"]["spec"];
        for spread in each(&template["topologySpreadConstraints"]) {
            if spread["labelSelector"]["matchLabels"] != selector {
                wrong.push("the topology spread".to_owned());
            }
        }
        self.problems.extend(
            wrong
                .into_iter()
                .map(|what| format!("{what}: another selector than the Deployment's")),
        );
    }

    /// Every name that an object calls another by is that object's.
    fn references(&mut self) {
        let names: BTreeSet<String> = self.objects.iter().map(title).collect();
        let mut missing = Vec::new();
        let mut needs = |who: &Value, kind: &str, name: &str| {
            let title = format!("{kind} {name}");
            if !names.contains(&title) {
                missing.push(format!(
                    "{} names {title}, which is not there",
                    self::title(who)
                ));
            }
        };
        for kind in ["RoleBinding", "ClusterRoleBinding"] {
            for binding in self.of(kind) {
                let role = &binding["roleRef"];
                needs(binding, text(role, "/kind"), text(role, "/name"));
                for subject in each(&binding["subjects"]) {
                    needs(binding, text(subject, "/kind"), text(subject, "/name"));
                }
            }
        }
        let registration = self.one("MutatingWebhookConfiguration");
        let service = &registration["webhooks"][0]["clientConfig"]["service"];
        needs(registration, "Service", text(service, "/name"));
        for (_, spec) in self.pod_specs() {
            let account = text(spec, "/serviceAccountName");
            needs(registration, "ServiceAccount", account);
        }
        let deployment = self.one("Deployment");
        let ports: BTreeSet<&str> = each(&deployment["spec"]["template"]["spec"]["containers"])
            .flat_map(|container| each(&container["ports"]))
            .map(|port| text(port, "/name"))
            .collect();
        let service = self.one("Service");
        for port in each(&service["spec"]["ports"]) {
            let target = text(port, "/targetPort");
            if !ports.contains(target) {
                missing.push(format!("the Service leads to port `{target}`"));
            }
        }
        let asked = &registration["webhooks"][0]["clientConfig"]["service"]["port"];
        if !each(&service["spec"]["ports"]).any(|port| port["port"] == *asked) {
            missing.push(format!("the API server asks at port {asked}"));
        }
        let volumes = &deployment["spec"]["template"]["spec"]["volumes"];
        for volume in each(volumes) {
            let secret = text(volume, "/secret/secretName");
            let made = self
                .of("Certificate")
                .any(|certificate| text(certificate, "/spec/secretName") == secret);
            let given = secret == text(self.values, "/certificates/existing/secretName");
            if !secret.is_empty() && !made && !given {
                missing.push(format!("nobody makes Secret {secret}"));
            }
        }
        self.problems.extend(missing);
    }

    fn registration(&mut self) {
        let registration = self.one("MutatingWebhookConfiguration").clone();
        let mut is = |holds: bool, what: &str| {
            if !holds {
                self.problems.push(format!("the registration {what}"));
            }
        };
        let webhooks: Vec<&Value> = each(&registration["webhooks"]).collect();
        is(webhooks.len() == 1, "has not one webhook");
        let webhook = webhooks.first().copied().unwrap_or(&Value::Null);
        is(webhook["name"] == "mutate.cwii.dev", "has another name");
        is(
            webhook["reinvocationPolicy"] == "IfNeeded",
            "is not asked again",
        );
        let config_maps = self.values["configMapDelivery"] == true;
        let side_effects = if config_maps { "NoneOnDryRun" } else { "None" };
        is(webhook["sideEffects"] == side_effects, "hides side effects");
        let policy = self.values.pointer("/webhook/failurePolicy");
        let policy = policy.and_then(Value::as_str).unwrap_or("Ignore");
        is(
            webhook["failurePolicy"] == policy,
            "has another failurePolicy",
        );
        let given = text(self.values, "/certificates/existing/caBundle");
        let bundle = webhook["clientConfig"].get("caBundle");
        is(
            bundle.is_some() != given.is_empty(),
            "has a `caBundle` that others write, or lacks the given one",
        );
        let by_cert_manager = text(self.values, "/certificates/mode") == "cert-manager";
        let inject = &registration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"];
        is(
            inject.is_string() == by_cert_manager,
            "does not say whose `caBundle` it gets",
        );
        let excluded: Vec<&str> = each(&webhook["namespaceSelector"]["matchExpressions"])
            .filter(|e| e["key"] == "kubernetes.io/metadata.name" && e["operator"] == "NotIn")
            .flat_map(|e| each(&e["values"]))
            .filter_map(Value::as_str)
            .collect();
        for namespace in [NAMESPACE, "kube-system", "kube-node-lease"] {
            is(
                excluded.contains(&namespace),
                &format!("does not leave out {namespace}"),
            );
        }
    }

    /// The webhook itself accepts its arguments, and who reads them from the Deployment reads the same.
    fn arguments(&mut self) {
        let deployment = self.one("Deployment").clone();
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let arguments: Vec<&str> = each(&container["args"]).filter_map(Value::as_str).collect();
        let options = match Options::parse(std::iter::once("cwii-webhook").chain(arguments)) {
            Ok(options) => options,
            Err(error) => {
                self.problems
                    .push(format!("the webhook refuses its arguments: {error}"));
                return;
            }
        };
        match deployed(container, env!("CARGO_PKG_VERSION")) {
            Ok(read) if !read.unread.is_empty() => self
                .problems
                .push(format!("the doctor cannot read {:?}", read.unread)),
            Ok(mut read) => {
                // The image says which version runs; here it is not that image's webhook that is asked.
                read.settings.version.clone_from(&options.settings.version);
                if read.settings != options.settings {
                    self.problems.push(format!(
                        "the doctor reads {:?} where the webhook reads {:?}",
                        read.settings, options.settings
                    ));
                }
            }
            Err(error) => self
                .problems
                .push(format!("the doctor cannot read it: {error}")),
        }
        let settings = &options.settings;
        for (provider, enabled) in settings.enabled.iter() {
            let asked = self
                .values
                .pointer(&format!("/providers/{provider}/enabled"));
            if *enabled != (asked != Some(&Value::Bool(false))) {
                self.problems
                    .push(format!("`providers.{provider}.enabled` has no effect"));
            }
        }
        if let Some(variables) = self.values["verifyEnv"].as_object() {
            let got: BTreeMap<String, Value> = settings
                .verify_env
                .iter()
                .filter_map(|variable| serde_json::to_value(variable).ok())
                .map(|v| (text(&v, "/name").to_owned(), v["value"].clone()))
                .collect();
            for (name, value) in variables {
                if got.get(name) != Some(value) {
                    self.problems
                        .push(format!("`verifyEnv.{name}` has no effect"));
                }
            }
        }
    }

    /// It may look at what it watches, and write nothing but what it has to.
    fn rights(&mut self) {
        let rules: Vec<(&str, &Value)> = ["Role", "ClusterRole"]
            .iter()
            .flat_map(|kind| self.of(kind).map(move |role| (*kind, role)))
            .flat_map(|(kind, role)| each(&role["rules"]).map(move |rule| (kind, rule)))
            .collect();
        let mut problems = Vec::new();
        for kind in Kind::WATCHED {
            let path = kind.list_path();
            let (api, resource) = path.rsplit_once('/').unwrap_or_default();
            let group = match api.trim_start_matches('/').split('/').collect::<Vec<_>>()[..] {
                ["apis", group, _] => group,
                _ => "",
            };
            let covered = rules.iter().any(|(role, rule)| {
                *role == "ClusterRole"
                    && contains(&rule["apiGroups"], group)
                    && contains(&rule["resources"], resource)
                    && ["get", "list", "watch"]
                        .iter()
                        .all(|verb| contains(&rule["verbs"], verb))
            });
            if !covered {
                problems.push(format!("no right to watch {path}"));
            }
        }
        for (role, rule) in &rules {
            let writes = each(&rule["verbs"])
                .filter_map(Value::as_str)
                .any(|verb| !["get", "list", "watch"].contains(&verb));
            let named = rule["resourceNames"]
                .as_array()
                .is_some_and(|n| n.len() == 1);
            let resources = each(&rule["resources"]).filter_map(Value::as_str);
            let resources: Vec<&str> = resources.collect();
            let own = match resources[..] {
                ["secrets"] => named && *role == "Role",
                ["mutatingwebhookconfigurations"] => named,
                ["configmaps"] => self.values["configMapDelivery"] == true,
                _ => false,
            };
            if writes && !own {
                problems.push(format!("may write {resources:?}"));
            }
            // Who may read Secrets reads all of their namespace.
            if resources.contains(&"secrets") && !own {
                problems.push("may read Secrets".to_owned());
            }
            if contains(&rule["verbs"], "*") || resources.contains(&"*") {
                problems.push("may do anything with something".to_owned());
            }
        }
        self.problems.extend(problems);
    }

    fn pod_specs(&self) -> Vec<(String, &'a Value)> {
        self.objects
            .iter()
            .filter_map(|object| match text(object, "/kind") {
                "Deployment" => Some((title(object), &object["spec"]["template"]["spec"])),
                "Pod" => Some((title(object), &object["spec"])),
                _ => None,
            })
            .collect()
    }

    fn of<'b>(&self, kind: &'b str) -> impl Iterator<Item = &'a Value> + use<'a, 'b> {
        self.objects
            .iter()
            .filter(move |object| text(object, "/kind") == kind)
    }

    /// The one object of a kind; null where there is none, which then lacks everything.
    fn one(&self, kind: &str) -> &'a Value {
        self.of(kind).next().unwrap_or(&Value::Null)
    }
}

/// Kind and name.
pub(super) fn title(object: &Value) -> String {
    format!(
        "{} {}",
        text(object, "/kind"),
        text(object, "/metadata/name")
    )
}

pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn each(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn contains(list: &Value, text: &str) -> bool {
    each(list).any(|member| member == text)
}

const CLUSTER_KINDS: [&str; 3] = [
    "ClusterRole",
    "ClusterRoleBinding",
    "MutatingWebhookConfiguration",
];
