//! Pods made anew, and what the webhooks of the fixture inject into them.
//!
//! cwii's injection is cwii's own plan and patch. The clouds' webhooks are simulated as their documentation describes them:
//! - EKS, IRSA: "Configure Pods to use a Kubernetes service account"
//!   (<https://docs.aws.amazon.com/eks/latest/userguide/pod-configuration.html>).
//! - EKS Pod Identity: "Understand how EKS Pod Identity works"
//!   (<https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html>); a ServiceAccount with an association gets
//!   this and not IRSA.
//! - Azure: "Mutating Admission Webhook"
//!   (<https://azure.github.io/azure-workload-identity/docs/installation/mutating-admission-webhook.html>).
//! - Google: the README of the federation webhook; `credentials.json` is an annotation of the pod, projected into it.
//!
//! A new pod keeps the name of the old one, so that a case's target stays what it is. Events about the old pod and its
//! ReplicaSet are gone with them: in a cluster the new ones bear other names.

use cwii_contract::{
    Layer, ObjectRef, Pod, Settings, WorkloadKind, pod::OwnerReference, scope::Keys,
};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::{World, namespace_of, place, text, text_of};

impl World {
    /// Makes the pods of a controller anew.
    pub(super) fn remake_pods(
        &mut self,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<(), String> {
        let names: Vec<String> = self
            .objects
            .iter()
            .filter(|object| text(object, "/kind") == "Pod" && namespace_of(object) == namespace)
            .filter(|pod| {
                self.owners(pod)
                    .iter()
                    .any(|owner| owner.0 == kind && owner.1 == name)
            })
            .map(|pod| text(pod, "/metadata/name").to_owned())
            .collect();
        for pod in names {
            self.remake_pod(namespace, &pod)?;
        }
        self.serve_all(namespace);
        Ok(())
    }

    /// Makes a pod anew: from its controller's template, or, where that is not among the manifests, as whoever made it would
    /// make it again.
    pub(super) fn remake_pod(&mut self, namespace: &str, name: &str) -> Result<(), String> {
        let index = self
            .find("Pod", namespace, name)
            .ok_or_else(|| format!("there is no pod {namespace}/{name}"))?;
        let old = self.objects[index].clone();
        let owners = self.owners(&old);
        let template = owners.iter().rev().find_map(|(kind, name)| {
            let owner = self.get(kind, namespace, name)?;
            let pointer = if kind == "CronJob" {
                "/spec/jobTemplate/spec/template"
            } else {
                "/spec/template"
            };
            owner.pointer(pointer).cloned()
        });
        let now = self.now.to_string();
        for (kind, name) in &owners {
            if kind == "ReplicaSet"
                && let (Some(index), Some(template)) = (self.find(kind, namespace, name), &template)
            {
                let set = &mut self.objects[index];
                set["spec"]["template"] = template.clone();
                set["metadata"]["creationTimestamp"] = now.clone().into();
            }
        }
        let about = |event: &Value| {
            let (kind, of) = (
                text(event, "/involvedObject/kind"),
                text(event, "/involvedObject/name"),
            );
            namespace_of(event) == namespace
                && (kind == "Pod" && of == name
                    || owners
                        .iter()
                        .any(|(owner, name)| owner == "ReplicaSet" && kind == owner && of == name))
        };
        let mut pod = match template {
            Some(template) => {
                let mut metadata = template
                    .get("metadata")
                    .cloned()
                    .unwrap_or_else(|| json!({}));
                for member in ["name", "namespace", "ownerReferences", "generateName"] {
                    if let Some(value) = old["metadata"].get(member) {
                        metadata[member] = value.clone();
                    }
                }
                // Controllers number their pods by labels.
                for (key, value) in old["metadata"]["labels"].as_object().into_iter().flatten() {
                    if key.ends_with("-hash")
                        || key.contains("controller-uid")
                        || key.contains("pod-name")
                    {
                        place(&mut metadata, &["labels"])[key.as_str()] = value.clone();
                    }
                }
                json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
            }
            None => cleaned(&old),
        };
        pod["metadata"]["creationTimestamp"] = now.clone().into();
        pod["metadata"]["uid"] = format!(
            "7c1f0a52-0000-4000-a000-{:012}",
            self.now.as_second() % 1_000_000_000_000
        )
        .into();
        if let Some(node) = old.pointer("/spec/nodeName") {
            pod["spec"]["nodeName"] = node.clone();
        }
        self.inject(&mut pod, &old)?;
        pod["status"] = running(&pod, &now);
        self.objects
            .retain(|object| text(object, "/kind") != "Event" || !about(object));
        let index = self
            .find("Pod", namespace, name)
            .ok_or_else(|| format!("there is no pod {namespace}/{name}"))?;
        self.objects[index] = pod.clone();
        self.renew_claims(&pod);
        Ok(())
    }

    /// The controllers above a pod, as kind and name.
    fn owners(&self, pod: &Value) -> Vec<(String, String)> {
        let namespace = namespace_of(pod).to_owned();
        let mut owners = Vec::new();
        let mut at = pod.clone();
        for _ in 0..4 {
            let Some(reference) = controller(&at) else {
                break;
            };
            owners.push(reference.clone());
            match self.get(&reference.0, &namespace, &reference.1) {
                Some(owner) => at = owner.clone(),
                None => {
                    let hash = text(pod, "/metadata/labels/pod-template-hash");
                    if reference.0 == "ReplicaSet"
                        && let Some(name) = reference.1.strip_suffix(&format!("-{hash}"))
                    {
                        owners.push(("Deployment".into(), name.to_owned()));
                    }
                    break;
                }
            }
        }
        owners
    }

    fn inject(&self, pod: &mut Value, old: &Value) -> Result<(), String> {
        let namespace = namespace_of(pod).to_owned();
        let account_name = match text(pod, "/spec/serviceAccountName") {
            "" => "default",
            name => name,
        }
        .to_owned();
        let account = self
            .get("ServiceAccount", &namespace, &account_name)
            .cloned()
            .unwrap_or_else(|| json!({}));
        let names: Vec<String> = self
            .objects
            .iter()
            .filter(|object| text(object, "/kind") == "MutatingWebhookConfiguration")
            .flat_map(|object| object["webhooks"].as_array().cloned().unwrap_or_default())
            .map(|webhook| text_of(&webhook, "name").to_owned())
            .collect();
        // Without any configuration among the manifests all webhooks are taken to be there.
        let has = |part: &str| names.is_empty() || names.iter().any(|name| name.contains(part));
        let is_cwii = has("cwii.dev") && self.inject_cwii(pod, &namespace, &account)?;
        if is_cwii {
            return Ok(());
        }
        let annotation = |key: &str| {
            account
                .pointer("/metadata/annotations")
                .and_then(|annotations| annotations.get(key))
                .and_then(Value::as_str)
        };
        let association = self.trust.values().any(|document| {
            let of = |one: &Value| {
                text_of(one, "namespace") == namespace
                    && text_of(one, "serviceAccount") == account_name
            };
            document.get("association").is_some_and(of)
                || document["associations"]
                    .as_array()
                    .is_some_and(|list| list.iter().any(of))
        });
        if association {
            self.inject_pod_identity(pod, old);
        } else if let Some(role) = annotation("eks.amazonaws.com/role-arn")
            && (has("iam-for-pods") || has("pod-identity"))
        {
            let audience = annotation("eks.amazonaws.com/audience").unwrap_or("sts.amazonaws.com");
            let expiry = annotation("eks.amazonaws.com/token-expiration")
                .and_then(|text| text.parse::<i64>().ok())
                .unwrap_or(86400);
            let mut variables = vec![];
            if annotation("eks.amazonaws.com/sts-regional-endpoints") != Some("false") {
                variables.push(("AWS_STS_REGIONAL_ENDPOINTS", "regional".to_owned()));
            }
            let region = self.region(old);
            variables.push(("AWS_DEFAULT_REGION", region.clone()));
            variables.push(("AWS_REGION", region));
            variables.push(("AWS_ROLE_ARN", role.to_owned()));
            variables.push((
                "AWS_WEB_IDENTITY_TOKEN_FILE",
                "/var/run/secrets/eks.amazonaws.com/serviceaccount/token".to_owned(),
            ));
            let skip = skipped(pod, "eks.amazonaws.com/skip-containers", ',');
            add(pod, &variables, &skip);
            mount(
                pod,
                (
                    "aws-iam-token",
                    "/var/run/secrets/eks.amazonaws.com/serviceaccount",
                ),
                token(audience, expiry, "token"),
                &skip,
            );
        }
        if text(pod, "/metadata/labels/azure.workload.identity~1use") == "true"
            && has("azure-workload-identity")
        {
            let tenant = annotation("azure.workload.identity/tenant-id")
                .map(str::to_owned)
                .or_else(|| self.tenant(old))
                .unwrap_or_default();
            let variables = [
                (
                    "AZURE_CLIENT_ID",
                    annotation("azure.workload.identity/client-id")
                        .unwrap_or_default()
                        .to_owned(),
                ),
                ("AZURE_TENANT_ID", tenant),
                (
                    "AZURE_FEDERATED_TOKEN_FILE",
                    "/var/run/secrets/azure/tokens/azure-identity-token".to_owned(),
                ),
                (
                    "AZURE_AUTHORITY_HOST",
                    variable(old, "AZURE_AUTHORITY_HOST")
                        .unwrap_or_else(|| "https://login.microsoftonline.com/".to_owned()),
                ),
            ];
            let expiry = annotation("azure.workload.identity/service-account-token-expiration")
                .and_then(|text| text.parse::<i64>().ok())
                .unwrap_or(3600);
            let skip = skipped(pod, "azure.workload.identity/skip-containers", ';');
            add(pod, &variables, &skip);
            mount(
                pod,
                ("azure-identity-token", "/var/run/secrets/azure/tokens"),
                token("api://AzureADTokenExchange", expiry, "azure-identity-token"),
                &skip,
            );
        }
        if let Some(provider) = annotation("cloud.google.com/workload-identity-provider")
            && has("gcp-workload-identity-federation")
        {
            let default = format!("https://iam.googleapis.com/{provider}");
            let audience = annotation("cloud.google.com/audience")
                .unwrap_or(&default)
                .to_owned();
            let email = annotation("cloud.google.com/service-account-email").unwrap_or_default();
            let file = "/var/run/secrets/workload-identity/federation.json";
            let mut credentials = json!({
                "type": "external_account",
                "audience": format!("//iam.googleapis.com/{provider}"),
                "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
                "token_url": "https://sts.googleapis.com/v1/token",
                "credential_source": {"file": "/var/run/secrets/sts.googleapis.com/serviceaccount/token", "format": {"type": "text"}},
            });
            if !email.is_empty() {
                credentials["service_account_impersonation_url"] = format!(
                    "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{email}:generateAccessToken"
                )
                .into();
            }
            place(pod, &["metadata", "annotations"])["cloud.google.com/external-credentials-json"] =
                credentials.to_string().into();
            let variables = [
                ("GOOGLE_APPLICATION_CREDENTIALS", file.to_owned()),
                ("CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE", file.to_owned()),
            ];
            let skip = skipped(pod, "cloud.google.com/skip-containers", ',');
            add(pod, &variables, &skip);
            mount(
                pod,
                (
                    "gcp-iam-token",
                    "/var/run/secrets/sts.googleapis.com/serviceaccount",
                ),
                token(&audience, 86400, "token"),
                &skip,
            );
            mount(
                pod,
                (
                    "external-credential-config",
                    "/var/run/secrets/workload-identity",
                ),
                json!({"downwardAPI": {"items": [{"path": "federation.json", "fieldRef": {"fieldPath":
                    "metadata.annotations['cloud.google.com/external-credentials-json']"}}]}}),
                &skip,
            );
        }
        Ok(())
    }

    /// What cwii's webhook would do; whether it did anything.
    fn inject_cwii(
        &self,
        pod: &mut Value,
        namespace: &str,
        account: &Value,
    ) -> Result<bool, String> {
        let parsed = Pod::deserialize(&*pod).map_err(|error| error.to_string())?;
        let mut layers = vec![Layer {
            object: parsed.object(namespace),
            keys: parsed.keys(),
        }];
        let owners = self.owners(pod);
        let has_deployment = owners.iter().any(|(kind, _)| kind == "Deployment");
        for (kind, name) in &owners {
            let Some(owner) = self.get(kind, namespace, name) else {
                continue;
            };
            let reference: OwnerReference = serde_json::from_value(json!({
                "apiVersion": text(owner, "/apiVersion"), "kind": kind, "name": name, "uid": "", "controller": true,
            }))
            .map_err(|error| error.to_string())?;
            let Some(known) = WorkloadKind::of(&reference) else {
                continue;
            };
            if known != WorkloadKind::ReplicaSet || !has_deployment {
                layers.push(Layer {
                    object: ObjectRef::workload(kind.clone(), namespace, name),
                    keys: keys(owner),
                });
            }
        }
        if account.get("metadata").is_some() {
            layers.push(Layer {
                object: ObjectRef::service_account(namespace, text(account, "/metadata/name")),
                keys: keys(account),
            });
        }
        if let Some(object) = self.get("Namespace", "", namespace) {
            layers.push(Layer {
                object: ObjectRef::namespace(namespace),
                keys: keys(object),
            });
        }
        let plan = match cwii_contract::plan(&parsed, &layers, &self.settings()?) {
            Ok(plan) => plan,
            Err(denial) => return Err(format!("cwii denies the new pod: {denial}")),
        };
        if !plan.injects() {
            return Ok(false);
        }
        let bytes = cwii_contract::patch(&parsed, &plan)
            .to_json()
            .map_err(|error| error.to_string())?;
        let patch: json_patch::Patch =
            serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        json_patch::patch(pod, &patch).map_err(|error| error.to_string())?;
        Ok(true)
    }

    /// The settings of the webhook that the fixture deploys.
    fn settings(&self) -> Result<Settings, String> {
        let container = self
            .objects
            .iter()
            .filter(|object| text(object, "/kind") == "Deployment")
            .flat_map(|object| {
                object
                    .pointer("/spec/template/spec/containers")
                    .and_then(Value::as_array)
                    .cloned()
                    .unwrap_or_default()
            })
            .find(|container| text_of(container, "image").contains("cwii-webhook"));
        let version = env!("CARGO_PKG_VERSION");
        match container {
            Some(container) => cwii_contract::deployed(&container, version)
                .map(|deployed| deployed.settings)
                .map_err(|error| error.to_string()),
            None => Settings::new(version).map_err(|error| error.to_string()),
        }
    }

    fn inject_pod_identity(&self, pod: &mut Value, old: &Value) {
        let region = self.region(old);
        let base = "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount";
        let variables = [
            ("AWS_STS_REGIONAL_ENDPOINTS", "regional".to_owned()),
            ("AWS_DEFAULT_REGION", region.clone()),
            ("AWS_REGION", region),
            (
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "http://169.254.170.23/v1/credentials".to_owned(),
            ),
            (
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                format!("{base}/eks-pod-identity-token"),
            ),
        ];
        let skip = skipped(pod, "eks.amazonaws.com/skip-containers", ',');
        add(pod, &variables, &skip);
        mount(
            pod,
            ("eks-pod-identity-token", base),
            token("pods.eks.amazonaws.com", 86400, "eks-pod-identity-token"),
            &skip,
        );
    }

    /// The region of the cluster: what the old pod was told, or what its issuer says.
    fn region(&self, old: &Value) -> String {
        variable(old, "AWS_REGION")
            .or_else(|| {
                self.trust.values().find_map(|document| {
                    let text = document.to_string();
                    let (_, rest) = text.split_once("oidc.eks.")?;
                    rest.split('.').next().map(str::to_owned)
                })
            })
            .unwrap_or_else(|| "eu-central-1".to_owned())
    }

    fn tenant(&self, old: &Value) -> Option<String> {
        variable(old, "AZURE_TENANT_ID")
            .or_else(|| {
                self.objects
                    .iter()
                    .map(|object| text(object, "/data/AZURE_TENANT_ID"))
                    .find(|tenant| !tenant.is_empty())
                    .map(str::to_owned)
            })
            .or_else(|| {
                // AKS' webhook knows the cluster's tenant.
                let aks = |document: &Value| text(document, "/identity/tenantId").to_owned();
                self.trust
                    .values()
                    .map(aks)
                    .find(|tenant| !tenant.is_empty())
            })
    }

    /// The token of a new pod is new as well: what was written down of the old one's claims is what the new one's are.
    fn renew_claims(&mut self, pod: &Value) {
        let (namespace, account) = (
            namespace_of(pod).to_owned(),
            match text(pod, "/spec/serviceAccountName") {
                "" => "default".to_owned(),
                name => name.to_owned(),
            },
        );
        let of_cluster = |part: &'static str| {
            self.trust
                .iter()
                .filter(move |(name, document)| {
                    !name.contains("published") && document.get(part).is_some()
                })
                .map(|(_, document)| document)
                .next()
        };
        let issuer = of_cluster("jwks_uri").map(|document| text_of(document, "issuer").to_owned());
        let kid =
            of_cluster("keys").and_then(|document| match document["keys"].as_array()?.as_slice() {
                [only] => Some(text_of(only, "kid").to_owned()),
                _ => None,
            });
        let audiences: Vec<String> = pod["spec"]["volumes"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|volume| {
                volume["projected"]["sources"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default()
            })
            .filter_map(|source| {
                source
                    .pointer("/serviceAccountToken/audience")?
                    .as_str()
                    .map(str::to_owned)
            })
            .collect();
        let now = self.now.as_second();
        let name = text(pod, "/metadata/name").to_owned();
        let is_alone = self
            .trust
            .keys()
            .filter(|name| name.ends_with("claims.json"))
            .count()
            == 1;
        for (file, claims) in &mut self.trust {
            if !file.ends_with("claims.json") {
                continue;
            }
            let subject = format!("system:serviceaccount:{namespace}:{account}");
            if !is_alone && text_of(claims, "sub") != subject {
                continue;
            }
            let time = |member: &str| claims[member].as_i64();
            let length = match (time("exp"), time("iat")) {
                (Some(exp), Some(iat)) if exp > iat => exp - iat,
                _ => 3600,
            };
            for (member, value) in [("iat", now), ("nbf", now), ("exp", now + length)] {
                claims[member] = value.into();
            }
            claims["sub"] = subject.into();
            if let Some(issuer) = &issuer {
                claims["iss"] = issuer.clone().into();
            }
            if let (Some(kid), Some(known)) = (&kid, claims.get_mut("kid")) {
                *known = kid.clone().into();
            }
            match audiences.as_slice() {
                [] => {}
                [only] => claims["aud"] = json!([only]),
                several => {
                    let old = claims["aud"].to_string();
                    let near = several.iter().find(|audience| {
                        old.contains(audience.as_str())
                            || [
                                "sts.amazonaws",
                                "pods.eks",
                                "iam.googleapis",
                                "AzureADTokenExchange",
                            ]
                            .iter()
                            .any(|part| old.contains(part) && audience.contains(part))
                    });
                    if let Some(audience) = near {
                        claims["aud"] = json!([audience]);
                    }
                }
            }
            if let Some(kubernetes) = claims.get_mut("kubernetes.io") {
                kubernetes["namespace"] = namespace.clone().into();
                kubernetes["serviceaccount"]["name"] = account.clone().into();
                if kubernetes.get("pod").is_some() {
                    kubernetes["pod"] = json!({"name": name, "uid": text(pod, "/metadata/uid")});
                }
                if kubernetes.get("warnafter").is_some() {
                    kubernetes["warnafter"] = (now + 3607).into();
                }
            }
        }
    }

    /// A Deployment of some replicas is served: it has that many pods, ready.
    pub(super) fn serve(
        &mut self,
        kind: &str,
        namespace: &str,
        name: &str,
        replicas: i64,
    ) -> Result<(), String> {
        let Some(owner) = self.get(kind, namespace, name).cloned() else {
            return Err(format!("there is no {kind} {namespace}/{name}"));
        };
        let is_its = |world: &Self, object: &Value| {
            text(object, "/kind") == "Pod"
                && namespace_of(object) == namespace
                && world
                    .owners(object)
                    .iter()
                    .any(|owner| owner.0 == kind && owner.1 == name)
        };
        let have = self
            .objects
            .iter()
            .filter(|object| is_its(self, object))
            .count();
        let template = owner.pointer("/spec/template").cloned().unwrap_or_default();
        for number in have..usize::try_from(replicas).unwrap_or_default() {
            let mut metadata = template
                .get("metadata")
                .cloned()
                .unwrap_or_else(|| json!({}));
            metadata["name"] = format!("{name}-5c9d7f6b8-{number:05}").into();
            metadata["namespace"] = namespace.into();
            metadata["creationTimestamp"] = self.now.to_string().into();
            metadata["uid"] = format!("7c1f0a52-0000-4000-b000-{number:012}").into();
            place(&mut metadata, &["labels"])["pod-template-hash"] = "5c9d7f6b8".into();
            metadata["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet",
                "name": format!("{name}-5c9d7f6b8"), "uid": "7c1f0a52-0000-4000-b001-000000000001", "controller": true}]);
            let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]});
            pod["status"] = running(&pod, &self.now.to_string());
            self.objects.push(pod);
        }
        if let Some(index) = self.find(kind, namespace, name)
            && self.objects[index].get("status").is_some()
        {
            self.objects[index]["status"] = json!({"replicas": replicas, "readyReplicas": replicas,
                "availableReplicas": replicas, "updatedReplicas": replicas});
        }
        self.serve_all(namespace);
        Ok(())
    }

    /// The EndpointSlices of a namespace follow its Services and pods, as the controller of EndpointSlices keeps them.
    pub(super) fn serve_all(&mut self, namespace: &str) {
        let services: Vec<Value> = self
            .objects
            .iter()
            .filter(|object| {
                text(object, "/kind") == "Service" && namespace_of(object) == namespace
            })
            .cloned()
            .collect();
        for service in services {
            let Some(selector) = service.pointer("/spec/selector").and_then(Value::as_object)
            else {
                continue;
            };
            let endpoints: Vec<Value> = self
                .objects
                .iter()
                .filter(|object| text(object, "/kind") == "Pod" && namespace_of(object) == namespace)
                .filter(|pod| {
                    selector
                        .iter()
                        .all(|(key, value)| pod["metadata"]["labels"].get(key) == Some(value))
                })
                .enumerate()
                .map(|(number, pod)| {
                    let ready = pod["status"]["conditions"]
                        .as_array()
                        .is_none_or(|conditions| {
                            conditions
                                .iter()
                                .all(|c| text_of(c, "type") != "Ready" || text_of(c, "status") == "True")
                        });
                    json!({"addresses": [format!("10.1.0.{}", number + 10)],
                        "conditions": {"ready": ready, "serving": ready, "terminating": false},
                        "targetRef": {"kind": "Pod", "namespace": namespace, "name": text(pod, "/metadata/name")}})
                })
                .collect();
            let name = text(&service, "/metadata/name").to_owned();
            for slice in &mut self.objects {
                if text(slice, "/kind") == "EndpointSlice"
                    && namespace_of(slice) == namespace
                    && text(slice, "/metadata/labels/kubernetes.io~1service-name") == name
                {
                    // A fixture without the pods themselves keeps what it says.
                    if !endpoints.is_empty() {
                        slice["endpoints"] = endpoints.clone().into();
                    }
                    if let Some(ports) = service["spec"]["ports"].as_array() {
                        let ports: Vec<Value> = ports
                            .iter()
                            .map(|port| {
                                let target = match &port["targetPort"] {
                                    Value::Number(number) => Value::Number(number.clone()),
                                    _ => slice["ports"][0]["port"].clone(),
                                };
                                json!({"name": port["name"], "port": target, "protocol": "TCP"})
                            })
                            .collect();
                        slice["ports"] = ports.into();
                    }
                }
            }
        }
    }
}

fn controller(object: &Value) -> Option<(String, String)> {
    let reference = object
        .pointer("/metadata/ownerReferences")?
        .as_array()?
        .iter()
        .find(|reference| reference["controller"] == true)?;
    Some((
        text_of(reference, "kind").to_owned(),
        text_of(reference, "name").to_owned(),
    ))
}

fn keys(object: &Value) -> Keys {
    Keys::from_annotations(
        object
            .pointer("/metadata/annotations")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))),
    )
}

/// A pod as its maker would make it again: without what an API server, a scheduler and webhooks gave it.
fn cleaned(old: &Value) -> Value {
    let is_injected = |name: &str| {
        name.starts_with("cwii-")
            || name.starts_with("kube-api-access-")
            || name.starts_with("azure-workload-identity-reserved")
            || INJECTED_VOLUMES.contains(&name)
    };
    let mut pod = old.clone();
    let injected: Vec<String> = pod["spec"]["volumes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|volume| text_of(volume, "name").to_owned())
        .filter(|name| is_injected(name))
        .collect();
    for list in ["initContainers", "containers"] {
        let Some(containers) = pod["spec"].get_mut(list).and_then(Value::as_array_mut) else {
            continue;
        };
        containers.retain(|container| !text_of(container, "name").starts_with("cwii-"));
        for container in containers {
            if let Some(mounts) = container
                .get_mut("volumeMounts")
                .and_then(Value::as_array_mut)
            {
                mounts.retain(|mount| !is_injected(text_of(mount, "name")));
            }
            if let (Some(variables), false) = (
                container.get_mut("env").and_then(Value::as_array_mut),
                injected.is_empty(),
            ) {
                variables
                    .retain(|variable| !INJECTED_VARIABLES.contains(&text_of(variable, "name")));
            }
        }
    }
    if let Some(volumes) = pod["spec"].get_mut("volumes").and_then(Value::as_array_mut) {
        volumes.retain(|volume| !is_injected(text_of(volume, "name")));
    }
    if let Some(annotations) = pod["metadata"]
        .get_mut("annotations")
        .and_then(Value::as_object_mut)
    {
        for key in [
            "cwii.dev/injected",
            "cwii.dev/webhook-version",
            "cloud.google.com/external-credentials-json",
        ] {
            annotations.remove(key);
        }
    }
    if let Some(pod) = pod.as_object_mut() {
        pod.remove("status");
    }
    pod
}

/// The status of a pod that runs: verifications succeeded, containers are ready.
fn running(pod: &Value, now: &str) -> Value {
    let statuses = |list: &str, state: Value| -> Vec<Value> {
        pod["spec"][list]
            .as_array()
            .into_iter()
            .flatten()
            .map(|container| {
                json!({"name": text_of(container, "name"), "image": text_of(container, "image"), "imageID": "",
                    "ready": true, "restartCount": 0, "state": state})
            })
            .collect()
    };
    let mut status = json!({
        "phase": "Running", "startTime": now,
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}],
        "containerStatuses": statuses("containers", json!({"running": {"startedAt": now}})),
    });
    let ended = statuses(
        "initContainers",
        json!({"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}}),
    );
    if !ended.is_empty() {
        status["initContainerStatuses"] = ended.into();
    }
    status
}

fn token(audience: &str, expiry: i64, path: &str) -> Value {
    json!({"projected": {"defaultMode": 420, "sources": [{"serviceAccountToken":
        {"audience": audience, "expirationSeconds": expiry, "path": path}}]}})
}

/// Adds variables where the container does not set them itself.
fn add(pod: &mut Value, variables: &[(&str, String)], skip: &[String]) {
    each_container(pod, skip, |container| {
        let list = place(container, &["env"]);
        if !list.is_array() {
            *list = json!([]);
        }
        if let Some(list) = list.as_array_mut() {
            for (name, value) in variables {
                if !list.iter().any(|known| text_of(known, "name") == *name) {
                    list.push(json!({"name": name, "value": value}));
                }
            }
        }
    });
}

/// Adds a volume and its mounts.
fn mount(pod: &mut Value, (name, path): (&str, &str), source: Value, skip: &[String]) {
    let mut volume = source;
    volume["name"] = name.into();
    let volumes = place(pod, &["spec", "volumes"]);
    if !volumes.is_array() {
        *volumes = json!([]);
    }
    if let Some(volumes) = volumes.as_array_mut()
        && !volumes.iter().any(|known| text_of(known, "name") == name)
    {
        volumes.push(volume);
    }
    each_container(pod, skip, |container| {
        let mounts = place(container, &["volumeMounts"]);
        if !mounts.is_array() {
            *mounts = json!([]);
        }
        if let Some(mounts) = mounts.as_array_mut()
            && !mounts
                .iter()
                .any(|known| text_of(known, "mountPath") == path)
        {
            mounts.push(json!({"name": name, "mountPath": path, "readOnly": true}));
        }
    });
}

fn each_container(pod: &mut Value, skip: &[String], change: impl Fn(&mut Value)) {
    for list in ["initContainers", "containers"] {
        let containers = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            if !skip.iter().any(|name| name == text_of(container, "name")) {
                change(container);
            }
        }
    }
}

fn skipped(pod: &Value, key: &str, separator: char) -> Vec<String> {
    pod["metadata"]["annotations"]
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .split(separator)
        .map(str::to_owned)
        .collect()
}

/// The literal value of a variable in any container.
fn variable(pod: &Value, name: &str) -> Option<String> {
    pod["spec"]["containers"]
        .as_array()?
        .iter()
        .flat_map(|container| container["env"].as_array().cloned().unwrap_or_default())
        .find(|variable| text_of(variable, "name") == name)
        .and_then(|variable| variable["value"].as_str().map(str::to_owned))
}

const INJECTED_VOLUMES: &[&str] = &[
    "aws-iam-token",
    "eks-pod-identity-token",
    "azure-identity-token",
    "gcp-iam-token",
    "external-credential-config",
];

const INJECTED_VARIABLES: &[&str] = &[
    "AWS_STS_REGIONAL_ENDPOINTS",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AZURE_CLIENT_ID",
    "AZURE_TENANT_ID",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_AUTHORITY_HOST",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE",
];
