//! The lab's scenarios as manifests and trust documents, so that `doctor -f` tells the same story as the tour.
//!
//! Everything in them is what a person would have at hand: the objects of the cluster with what cwii injected and what its
//! verify container said, the documents that the clouds' command lines print, the keys that cluster and issuer serve, and
//! the claims of the token. The loopback addresses of the lab become names that could be public, since no cloud would take
//! the others.

use std::{fs, path::Path};

use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cwii_agent::Verification;
use cwii_contract::{Layer, ObjectRef, Pod, Provider, Settings, patch, plan, scope::Keys};
use cwii_lab::{Document, Lab, Mechanism, Scenario, Workload};
use jiff::SignedDuration;
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use crate::document;

/// Writes a scenario into a folder of its name; `verification` is what the agent said of it.
///
/// # Errors
///
/// The folder cannot be written.
pub(crate) fn write(
    lab: &Lab,
    scenario: &Scenario,
    workload: &Workload,
    verification: &Verification,
    dir: &Path,
) -> anyhow::Result<()> {
    let dir = dir.join(scenario.name);
    let trust = dir.join("trust");
    fs::create_dir_all(&trust).with_context(|| format!("{} cannot be made", trust.display()))?;
    let public = Public::of(lab);
    let put = |path: &Path, text: &str| {
        fs::write(path, public.text(text))
            .with_context(|| format!("{} cannot be written", path.display()))
    };
    let claims = claims(lab, scenario)?;
    let objects = objects(lab, scenario, workload, verification, &claims)?;
    let documents = objects
        .iter()
        .map(document::yaml)
        .collect::<anyhow::Result<Vec<_>>>()?;
    let head = format!("# {}\n", scenario.title);
    put(
        &dir.join("manifests.yaml"),
        &format!("{head}{}\n", documents.join("\n---\n")),
    )?;
    for (name, value) in trust_documents(lab, scenario, workload, claims)? {
        put(&trust.join(name), &format!("{value:#}\n"))?;
    }
    Ok(())
}

/// Names in place of addresses on loopback.
struct Public(Vec<(String, &'static str)>);

impl Public {
    fn of(lab: &Lab) -> Self {
        let endpoint = lab.endpoints();
        let hosts = [
            (&endpoint.issuer, "oidc.example.com"),
            (&endpoint.sts, "sts.us-east-1.amazonaws.com"),
            (&endpoint.google_sts, "sts.googleapis.com"),
            (&endpoint.google_iam, "iamcredentials.googleapis.com"),
            (&endpoint.entra, "login.microsoftonline.com"),
        ];
        Self(
            hosts
                .into_iter()
                .map(|(url, public)| {
                    let host = url.split_once("://").map_or(url.as_str(), |(_, host)| host);
                    (host.to_owned(), public)
                })
                .collect(),
        )
    }

    fn text(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (host, public)| {
            text.replace(host, public)
        })
    }
}

fn objects(
    lab: &Lab,
    scenario: &Scenario,
    workload: &Workload,
    verification: &Verification,
    claims: &Value,
) -> anyhow::Result<Vec<Value>> {
    let (namespace, account) = (scenario.case.namespace, scenario.case.service_account);
    let before = (lab.now() - SignedDuration::from_hours(48)).to_string();
    let since = (lab.now() - SignedDuration::from_hours(4)).to_string();
    let template = json!({
        "metadata": {"labels": {"app": account}},
        "spec": {"serviceAccountName": account,
            "containers": [{"name": "app", "image": "registry.example.com/app:1.4.2"}]},
    });
    // The pod that the token is bound to, as TokenRequest has it.
    let bound = |member: &str| claims["kubernetes.io"]["pod"][member].as_str();
    let name = bound("name").map_or_else(|| format!("{account}-6d5f9c7b8-x2x4q"), str::to_owned);
    let uid = bound("uid").unwrap_or("7c1f0a52-0000-4000-8000-000000000001");
    let set = name.rsplit_once('-').map_or("", |(set, _)| set);
    let hash = set.rsplit_once('-').map_or("", |(_, hash)| hash);
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": namespace, "creationTimestamp": since,
            "uid": uid,
            "labels": {"app": account, "pod-template-hash": hash},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": set, "controller": true,
                "uid": "7c1f0a52-0000-4000-8000-000000000002"}],
        },
        "spec": template["spec"],
    });
    pod["spec"]["nodeName"] = "node-1".into();
    let mut objects = vec![json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": namespace, "labels": {"kubernetes.io/metadata.name": namespace}, "creationTimestamp": before},
    })];
    let annotations = annotations(workload);
    objects.push(json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": account, "namespace": namespace, "creationTimestamp": before, "annotations": annotations},
    }));
    for (kind, name) in [("Deployment", account), ("ReplicaSet", set)] {
        let mut object = json!({
            "apiVersion": "apps/v1", "kind": kind,
            "metadata": {"name": name, "namespace": namespace, "creationTimestamp": before},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": account}}, "template": template},
        });
        if kind == "ReplicaSet" {
            object["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": account,
                "controller": true, "uid": "7c1f0a52-0000-4000-8000-000000000004"}]);
        }
        objects.push(object);
    }
    match workload.mechanism {
        Mechanism::GkeMetadata => objects.push(json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "node-1", "labels": {"kubernetes.io/os": "linux",
                "iam.gke.io/gke-metadata-server-enabled": "true"}},
        })),
        Mechanism::AwsPodIdentity => pod_identity(&mut pod, workload),
        _ if is_native(workload) => web_identity(&mut pod, workload),
        _ => inject(&mut pod, namespace, account, &annotations)?,
    }
    pod["status"] = status(&pod, verification, &since);
    objects.push(pod);
    Ok(objects)
}

/// What the token of the pod says.
fn claims(lab: &Lab, scenario: &Scenario) -> anyhow::Result<Value> {
    let token = lab.mint(&lab.token_spec(&scenario.case))?;
    let payload = token.split('.').nth(1).unwrap_or_default();
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload)?)?)
}

/// Whether AWS's own webhook injects: it takes any text for a role, and cwii would deny the pod.
fn is_native(workload: &Workload) -> bool {
    workload.mechanism == Mechanism::AwsWebIdentity
        && variable(workload, "AWS_ROLE_ARN").contains("${")
}

fn variable<'w>(workload: &'w Workload, name: &str) -> &'w str {
    workload.env.get(name).map_or("", String::as_str)
}

/// What the ServiceAccount asks with.
fn annotations(workload: &Workload) -> Map<String, Value> {
    let names = &workload.names;
    let own = |key: &str, value: &str| (format!("cwii.dev/{key}"), Value::from(value));
    let pairs = match workload.mechanism {
        Mechanism::AwsWebIdentity if is_native(workload) => vec![(
            "eks.amazonaws.com/role-arn".to_owned(),
            variable(workload, "AWS_ROLE_ARN").into(),
        )],
        Mechanism::AwsWebIdentity => vec![
            own("aws-inject", "true"),
            own("aws-role-arn", variable(workload, "AWS_ROLE_ARN")),
            own("aws-region", names.get("REGION")),
            own("aws-verify", "true"),
        ],
        Mechanism::AwsPodIdentity => Vec::new(),
        Mechanism::GoogleDirect => vec![
            own("gcp-inject", "true"),
            own("gcp-audience", names.get("AUDIENCE")),
            own("gcp-verify", "true"),
        ],
        Mechanism::GoogleImpersonated => vec![
            own("gcp-inject", "true"),
            own("gcp-audience", names.get("AUDIENCE")),
            own("gcp-service-account", names.get("GSA")),
            own("gcp-verify", "true"),
        ],
        Mechanism::GkeMetadata => vec![(
            "iam.gke.io/gcp-service-account".to_owned(),
            names.get("GSA").into(),
        )],
        Mechanism::EntraFederated => vec![
            own("az-inject", "true"),
            own("az-client-id", variable(workload, "AZURE_CLIENT_ID")),
            own("az-tenant-id", variable(workload, "AZURE_TENANT_ID")),
            own("az-authority-host", "https://login.microsoftonline.com/"),
            own("az-verify", "true"),
        ],
    };
    pairs.into_iter().collect()
}

/// What cwii's webhook makes of the pod.
fn inject(
    pod: &mut Value,
    namespace: &str,
    account: &str,
    annotations: &Map<String, Value>,
) -> anyhow::Result<()> {
    let parsed = Pod::deserialize(&*pod)?;
    let texts = annotations
        .iter()
        .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)));
    let layers = [
        Layer {
            object: parsed.object(namespace),
            keys: parsed.keys(),
        },
        Layer {
            object: ObjectRef::service_account(namespace, account),
            keys: Keys::from_annotations(texts),
        },
    ];
    let settings = Settings::new(env!("CARGO_PKG_VERSION"))?;
    let plan = match plan(&parsed, &layers, &settings) {
        Ok(plan) => plan,
        Err(denial) => bail!("cwii denies the pod: {denial}"),
    };
    let operations: json_patch::Patch = serde_json::from_slice(&patch(&parsed, &plan).to_json()?)?;
    json_patch::patch(pod, &operations)?;
    Ok(())
}

/// What EKS injects for an association.
fn pod_identity(pod: &mut Value, workload: &Workload) {
    let base = "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount";
    let region = workload.names.get("REGION");
    add(
        pod,
        &json!([
            {"name": "AWS_STS_REGIONAL_ENDPOINTS", "value": "regional"},
            {"name": "AWS_DEFAULT_REGION", "value": region},
            {"name": "AWS_REGION", "value": region},
            {"name": "AWS_CONTAINER_CREDENTIALS_FULL_URI", "value": "http://169.254.170.23/v1/credentials"},
            {"name": "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "value": format!("{base}/eks-pod-identity-token")},
        ]),
        "eks-pod-identity-token",
        base,
        &json!({"audience": "pods.eks.amazonaws.com", "expirationSeconds": 86400, "path": "eks-pod-identity-token"}),
    );
}

/// What EKS injects for a role.
fn web_identity(pod: &mut Value, workload: &Workload) {
    let base = "/var/run/secrets/eks.amazonaws.com/serviceaccount";
    let region = workload.names.get("REGION");
    add(
        pod,
        &json!([
            {"name": "AWS_STS_REGIONAL_ENDPOINTS", "value": "regional"},
            {"name": "AWS_DEFAULT_REGION", "value": region},
            {"name": "AWS_REGION", "value": region},
            {"name": "AWS_ROLE_ARN", "value": variable(workload, "AWS_ROLE_ARN")},
            {"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": format!("{base}/token")},
        ]),
        "aws-iam-token",
        base,
        &json!({"audience": "sts.amazonaws.com", "expirationSeconds": 86400, "path": "token"}),
    );
}

fn add(pod: &mut Value, variables: &Value, volume: &str, path: &str, token: &Value) {
    pod["spec"]["containers"][0]["env"] = variables.clone();
    pod["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": volume, "mountPath": path, "readOnly": true}]);
    pod["spec"]["volumes"] = json!([{"name": volume,
        "projected": {"defaultMode": 420, "sources": [{"serviceAccountToken": token}]}}]);
}

/// A pod that runs, with what its verify container said.
fn status(pod: &Value, verification: &Verification, since: &str) -> Value {
    let ended = |container: &Value| {
        let name = container["name"].as_str().unwrap_or_default();
        let mut terminated =
            json!({"exitCode": 0, "reason": "Completed", "startedAt": since, "finishedAt": since});
        if name.ends_with("-verify") {
            // Without enforce the container ends with 0 whatever it found.
            terminated["message"] = verification.termination_message().into();
        }
        json!({"name": name, "ready": true, "restartCount": 0, "state": {"terminated": terminated}})
    };
    let inits = pod["spec"]["initContainers"]
        .as_array()
        .into_iter()
        .flatten();
    let mut status = json!({
        "phase": "Running", "startTime": since,
        "containerStatuses": [{"name": "app", "ready": true, "restartCount": 0, "state": {"running": {"startedAt": since}}}],
    });
    let inits: Vec<_> = inits.map(ended).collect();
    if !inits.is_empty() {
        status["initContainerStatuses"] = inits.into();
    }
    status
}

/// The documents by the names of their files.
fn trust_documents(
    lab: &Lab,
    scenario: &Scenario,
    workload: &Workload,
    mut claims: Value,
) -> anyhow::Result<Vec<(String, Value)>> {
    let names = &workload.names;
    let mut found = Vec::new();
    for (document, name) in [
        (Document::Discovery, "discovery.json".to_owned()),
        (Document::Jwks, "published-jwks.json".to_owned()),
        (
            Document::AwsRole,
            format!("role-{}.json", names.get("ROLE_NAME")),
        ),
        (Document::AwsOidcProvider, "oidc-provider.json".to_owned()),
        (
            Document::AwsPodIdentityAssociation,
            "pod-identity-association.json".to_owned(),
        ),
        (Document::GoogleWorkloadIdentityPool, "pool.json".to_owned()),
        (Document::GoogleProvider, "provider.json".to_owned()),
        (
            Document::GoogleServiceAccountPolicy,
            format!("policy-{}.json", names.get("GSA")),
        ),
        (Document::GoogleServices, "services.json".to_owned()),
        (
            Document::EntraApplication,
            format!("application-{}.json", names.get("CLIENT_ID")),
        ),
        (
            Document::EntraFederatedCredentials,
            format!("federated-credentials-{}.json", names.get("CLIENT_ID")),
        ),
        (
            Document::EntraServicePrincipal,
            format!("service-principal-{}.json", names.get("CLIENT_ID")),
        ),
    ] {
        let path = lab.document_file(&scenario.case, document);
        let is_shared_only =
            document == Document::GoogleServices && workload.provider != Provider::Gcp;
        if let (Ok(text), false) = (fs::read_to_string(&path), is_shared_only) {
            let value = serde_json::from_str(&text)
                .with_context(|| format!("{} is not JSON", path.display()))?;
            found.push((name, value));
        }
    }
    let has = |name: &str, found: &[(String, Value)]| found.iter().any(|(file, _)| file == name);
    match workload.mechanism {
        // What an account has beside: nothing more.
        Mechanism::AwsWebIdentity => {
            let arn = |value: &Value| value["Arn"].as_str().map(str::to_owned);
            let in_account: Vec<_> = found
                .iter()
                .filter(|(file, _)| file == "oidc-provider.json")
                .filter_map(|(_, value)| arn(value))
                .filter(|arn| arn.contains(&format!("::{}:", scenario.case.account)))
                .map(|arn| json!({ "Arn": arn }))
                .collect();
            found.push((
                "oidc-providers.json".to_owned(),
                json!({"OpenIDConnectProviderList": in_account}),
            ));
        }
        Mechanism::AwsPodIdentity if !has("pod-identity-association.json", &found) => {
            found.push((
                "pod-identity-associations.json".to_owned(),
                json!({"associations": []}),
            ));
        }
        Mechanism::GkeMetadata => {
            let project = names.get("PROJECT");
            found.push((
                "cluster.json".to_owned(),
                json!({
                    "name": scenario.case.cluster, "location": "europe-west1",
                    "selfLink": format!("https://container.googleapis.com/v1/projects/{project}/locations/europe-west1/clusters/{}", scenario.case.cluster),
                    "workloadIdentityConfig": {"workloadPool": format!("{project}.svc.id.goog")},
                    "nodePools": [{"name": "default-pool", "config": {"workloadMetadataConfig": {"mode": "GKE_METADATA"}}}],
                }),
            ));
        }
        _ => {}
    }
    let spec = lab.token_spec(&scenario.case);
    let key = lab.jwk(spec.key)?;
    let kid = key["kid"].clone();
    let mut keys = vec![key];
    // The cluster serves what it published once, too.
    if let Some((_, published)) = found.iter().find(|(file, _)| file == "published-jwks.json") {
        let others = published["keys"].as_array().into_iter().flatten();
        keys.extend(others.filter(|other| other["kid"] != kid).cloned());
    }
    found.push(("cluster-jwks.json".to_owned(), json!({ "keys": keys })));
    if workload.mechanism != Mechanism::GkeMetadata {
        claims["kid"] = kid;
        found.push(("token.claims.json".to_owned(), claims));
    }
    Ok(found)
}
