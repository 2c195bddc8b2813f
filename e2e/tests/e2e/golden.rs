//! The contract's golden fixtures on the real API server: accepted where Pod Security `restricted` is enforced and a
//! ResourceQuota counts, and stored as they are written down.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use cwii_contract::{Keys, Layer, ObjectRef, Pod, Settings, differences, plan};
use cwii_e2e::{Api, ControlPlane, FailurePolicy, Object, Replica, Webhook, control_plane};
use serde_json::{Value, json};

use crate::support::{names, service_account};

#[tokio::test(flavor = "multi_thread")]
async fn every_golden_pod_is_accepted_and_stored_as_written_down() {
    let Some(plane) = control_plane().await else {
        return;
    };
    let api = plane.api().unwrap();
    let mut webhooks: BTreeMap<String, (Webhook, Replica)> = BTreeMap::new();
    let mut wrong = Vec::new();
    let fixtures = fixtures();
    assert!(fixtures.len() >= 40, "{}", fixtures.len());
    for fixture in &fixtures {
        let count = webhooks.len();
        let settings = fixture.settings.to_string();
        if !webhooks.contains_key(&settings) {
            let started = start(plane, &format!("golden-{count}"), &fixture.settings).await;
            webhooks.insert(settings.clone(), started);
        }
        let label = webhooks[&settings].0.label();
        let stage = Stage::set(plane, &api, fixture, label).await;
        wrong.extend(
            stage
                .check()
                .await
                .into_iter()
                .map(|problem| format!("{}: {problem}", fixture.name)),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// One folder of the contract's `tests/golden`.
struct Fixture {
    name: String,
    folder: PathBuf,
    pod: Value,
    scopes: Value,
    settings: Value,
    patched: Value,
    warnings: Vec<String>,
}

fn fixtures() -> Vec<Fixture> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/contract/tests/golden");
    let mut fixtures: Vec<Fixture> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|folder| Fixture {
            name: folder.file_name().unwrap().to_string_lossy().into_owned(),
            pod: read(&folder, "pod.json"),
            scopes: read(&folder, "scopes.json"),
            settings: read(&folder, "settings.json"),
            patched: read(&folder, "patched.json"),
            warnings: fs::read_to_string(folder.join("warnings.txt"))
                .unwrap_or_default()
                .lines()
                .map(str::to_owned)
                .collect(),
            folder,
        })
        .collect();
    fixtures.sort_by(|a, b| a.name.cmp(&b.name));
    fixtures
}

fn read(folder: &Path, file: &str) -> Value {
    match fs::read(folder.join(file)) {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap(),
        Err(_) => Value::Null,
    }
}

/// A webhook with the flags that a fixture's settings are.
async fn start(plane: &'static ControlPlane, name: &str, settings: &Value) -> (Webhook, Replica) {
    let mut webhook = Webhook::new(plane, name, &plane.url).await.unwrap();
    for (setting, value) in settings.as_object().into_iter().flatten() {
        let by_name = |flag: &str| -> Vec<String> {
            let members = value.as_object().unwrap().iter();
            members
                .map(|(name, v)| flag.replace("{}", name) + &text(v))
                .collect()
        };
        let flags = match setting.as_str() {
            "enabled" => by_name("--{}-enabled="),
            "verifyImage" => by_name("--{}-verify-image="),
            "verifyEnv" => by_name("--verify-env={}="),
            "nativeAnnotations" => vec![format!("--native-annotations={value}")],
            "verifyImageAllow" => {
                let patterns: Vec<String> = value.as_array().unwrap().iter().map(text).collect();
                vec![format!("--verify-image-allow={}", patterns.join(","))]
            }
            "azDefaultTenantId" => vec![format!("--az-default-tenant-id={}", text(value))],
            "azDefaultAuthorityHost" => {
                vec![format!("--az-default-authority-host={}", text(value))]
            }
            "gcpDefaultAudience" => vec![format!("--gcp-default-audience={}", text(value))],
            "configMapDelivery" => {
                webhook = webhook.with_config_maps().await.unwrap();
                Vec::new()
            }
            other => panic!("no flag is known for the setting {other}"),
        };
        webhook = webhook.with(flags);
    }
    // A fixture that switches AWS off is asked for all the same.
    let mut replica = webhook.start().unwrap();
    replica.ready().await.unwrap();
    webhook
        .register(replica.address, FailurePolicy::Fail)
        .await
        .unwrap();
    webhook.is_registered().await.unwrap();
    (webhook, replica)
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// A fixture in a namespace of its own, with everything around its pod.
struct Stage<'a> {
    api: &'a Api,
    fixture: &'a Fixture,
    namespace: String,
    pod: Value,
}

impl<'a> Stage<'a> {
    async fn set(plane: &ControlPlane, api: &'a Api, fixture: &'a Fixture, label: Value) -> Self {
        let namespace = format!("golden-{}", fixture.name);
        // The only level that lets a pod use the node's network is `privileged`.
        let level = if fixture.pod["spec"]["hostNetwork"] == true {
            "privileged"
        } else {
            "restricted"
        };
        let mut labels = label;
        labels["pod-security.kubernetes.io/enforce"] = level.into();
        plane
            .namespace(api, &namespace, labels, fixture.scopes["namespace"].clone())
            .await
            .unwrap();
        plane.quota(api, &namespace).await.unwrap();
        let mut stage = Self {
            api,
            fixture,
            pod: fixture.pod.clone(),
            namespace,
        };
        let account = fixture.pod["spec"]["serviceAccountName"].as_str().unwrap();
        let annotations = fixture.scopes["serviceAccount"].clone();
        api.create(&service_account(&stage.namespace, account, annotations))
            .await
            .unwrap();
        stage.pod["metadata"]["namespace"] = stage.namespace.clone().into();
        stage.own().await;
        stage
    }

    /// Makes the workloads that own the pod. Their own controllers have no reason to make pods of them.
    async fn own(&mut self) {
        let Some(owner) = self.pod["metadata"]["ownerReferences"].get(0).cloned() else {
            return;
        };
        let mut chain: Vec<Value> = self.fixture.scopes["workload"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        if chain.first().map(|w| &w["kind"]) != Some(&owner["kind"]) {
            chain.insert(0, owner);
        }
        let mut reference = Value::Null;
        for workload in chain.iter().rev() {
            let manifest = idle(workload, &self.namespace, &reference);
            let made = self.api.create(&manifest).await.unwrap();
            reference = json!([{
                "apiVersion": made["apiVersion"],
                "kind": made["kind"],
                "name": made["metadata"]["name"],
                "uid": made["metadata"]["uid"],
                "controller": true,
                "blockOwnerDeletion": true,
            }]);
        }
        self.pod["metadata"]["ownerReferences"] = reference;
    }

    /// What is not as it is written down.
    async fn check(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let dry = self.api.create_with(&self.pod, "dryRun=All").await;
        match &dry {
            Ok(dry) => wrong.extend(self.differs(dry, "dry run ")),
            Err(error) => return vec![format!("dry run: {error}")],
        }
        if !self.config_maps().await.is_empty() {
            wrong.push("a dry run wrote a ConfigMap".to_owned());
        }
        let (stored, warnings) = match self.api.create_and_listen(&self.pod, "").await {
            Ok(answer) => answer,
            Err(error) => return vec![error.to_string()],
        };
        wrong.extend(self.differs(&stored, ""));
        let said: Vec<String> = warnings
            .iter()
            .map(|w| w.replace(&self.namespace, NAMESPACE))
            .collect();
        if said != self.fixture.warnings {
            wrong.push(format!(
                "warnings: expected {:#?}, found {said:#?}",
                self.fixture.warnings
            ));
        }
        wrong.extend(self.doctor_sees_what_the_fixture_says(&stored));
        let expected = read(&self.fixture.folder, "config-maps.json");
        for (n, expected) in expected.as_array().into_iter().flatten().enumerate() {
            let found = self.config_maps().await;
            for member in ["data", "immutable"] {
                missing(
                    &expected[member],
                    &found.get(n).unwrap_or(&Value::Null)[member],
                    &format!("ConfigMap {n} {member}"),
                    &mut wrong,
                );
            }
        }
        wrong
    }

    fn differs(&self, found: &Value, when: &str) -> Vec<String> {
        let mut expected = self.fixture.patched.clone();
        let mut found = found.clone();
        for pod in [&mut expected, &mut found] {
            // Where it is and whose it is are the test's own; names are made of `generateName` by the server.
            for name in ["namespace", "ownerReferences"] {
                pod["metadata"].as_object_mut().unwrap().shift_remove(name);
            }
        }
        without_api_access(&mut found);
        let mut wrong = Vec::new();
        missing(&expected, &found, when, &mut wrong);
        for list in ["volumes", "initContainers", "containers"] {
            if names(&expected, list) != names(&found, list) {
                wrong.push(format!(
                    "{when}{list}: expected {:?}, found {:?}",
                    names(&expected, list),
                    names(&found, list)
                ));
            }
        }
        wrong
    }

    /// The differences between plan and pod, which the doctor replays, are among those that the fixture has:
    /// nothing that the API server added or defaulted is one.
    fn doctor_sees_what_the_fixture_says(&self, stored: &Value) -> Vec<String> {
        // The settings are the contract's own defaults.
        if !self.fixture.settings.is_null() {
            return Vec::new();
        }
        let pod: Pod = serde_json::from_value(self.fixture.pod.clone()).unwrap();
        let keys = |annotations: &Value| {
            let map = annotations.as_object().cloned().unwrap_or_default();
            Keys::from_annotations(
                map.iter()
                    .filter_map(|(k, v)| Some((k.as_str(), v.as_str()?))),
            )
        };
        let scopes = &self.fixture.scopes;
        let mut layers = vec![Layer {
            object: pod.object(NAMESPACE),
            keys: pod.keys(),
        }];
        for workload in scopes["workload"].as_array().into_iter().flatten() {
            layers.push(Layer {
                object: ObjectRef::workload(
                    text(&workload["kind"]),
                    NAMESPACE,
                    &text(&workload["name"]),
                ),
                keys: keys(&workload["annotations"]),
            });
        }
        layers.push(Layer {
            object: ObjectRef::service_account(NAMESPACE, pod.service_account_name()),
            keys: keys(&scopes["serviceAccount"]),
        });
        layers.push(Layer {
            object: ObjectRef::namespace(NAMESPACE),
            keys: keys(&scopes["namespace"]),
        });
        let settings = Settings::new("0.1.0").unwrap();
        let plan = plan(&pod, &layers, &settings).unwrap();
        let pointers = |pod: &Value| -> BTreeSet<String> {
            let found = differences(pod, &plan);
            found.iter().map(|d| d.pointer.clone()).collect()
        };
        let (written, live) = (pointers(&self.fixture.patched), pointers(stored));
        // A default may happen to be what the plan wants.
        let more: Vec<_> = live.difference(&written).collect();
        if more.is_empty() {
            return Vec::new();
        }
        vec![format!("differences that the plan has not: {more:?}")]
    }

    async fn config_maps(&self) -> Vec<Value> {
        let all = Object::new("v1", "ConfigMap", &self.namespace, "");
        let query = "labelSelector=app.kubernetes.io%2Fmanaged-by%3Dcwii";
        self.api.list(&all, query).await.unwrap()
    }
}

/// A workload that makes no pods by itself.
fn idle(workload: &Value, namespace: &str, owner: &Value) -> Value {
    let labels = json!({ "fixture": "idle" });
    let batch = ["Job", "CronJob"].contains(&workload["kind"].as_str().unwrap());
    let template = json!({
        "metadata": { "labels": labels },
        "spec": {
            "nodeSelector": { "fixture": "idle" },
            "restartPolicy": if batch { "Never" } else { "Always" },
            "containers": [{ "name": "app", "image": "app" }],
        },
    });
    let matching = json!({ "matchLabels": labels });
    let job = json!({ "suspend": true, "template": template });
    let (api_version, spec) = match workload["kind"].as_str().unwrap() {
        "Job" => ("batch/v1", job),
        "CronJob" => (
            "batch/v1",
            json!({ "schedule": "0 0 1 1 *", "suspend": true, "jobTemplate": { "spec": job } }),
        ),
        "DaemonSet" => (
            "apps/v1",
            json!({ "selector": matching, "template": template }),
        ),
        "ReplicationController" => (
            "v1",
            json!({ "replicas": 0, "selector": labels, "template": template }),
        ),
        "StatefulSet" => (
            "apps/v1",
            json!({ "replicas": 0, "serviceName": "x", "selector": matching, "template": template }),
        ),
        _ => (
            "apps/v1",
            json!({ "replicas": 0, "selector": matching, "template": template }),
        ),
    };
    json!({
        "apiVersion": api_version,
        "kind": workload["kind"],
        "metadata": {
            "name": workload["name"],
            "namespace": namespace,
            // Otherwise a Deployment would let go of its ReplicaSet.
            "labels": labels,
            "annotations": workload["annotations"],
            "ownerReferences": owner,
        },
        "spec": spec,
    })
}

/// Removes what the API server's own ServiceAccount admission mounts.
fn without_api_access(pod: &mut Value) {
    let spec = &mut pod["spec"];
    let is_ours = |item: &Value| !text(&item["name"]).starts_with("kube-api-access-");
    if let Some(volumes) = spec["volumes"].as_array_mut() {
        volumes.retain(is_ours);
    }
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            if let Some(mounts) = container["volumeMounts"].as_array_mut() {
                mounts.retain(is_ours);
            }
        }
    }
}

/// What is expected and not found: every member of an object, every item of a list in its place, and no item more.
/// Members that the API server adds do not matter; empty ones it leaves out.
fn missing(expected: &Value, found: &Value, at: &str, wrong: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(members), _) if found.is_object() || members.is_empty() => {
            for (name, value) in members {
                missing(value, &found[name], &format!("{at}/{name}"), wrong);
            }
        }
        (Value::Array(items), _) if found.is_array() || items.is_empty() => {
            let there = found.as_array().map_or(&[][..], Vec::as_slice);
            if items.len() != there.len() {
                wrong.push(format!(
                    "{at}: expected {} items, found {}: {found}",
                    items.len(),
                    there.len()
                ));
            }
            for (n, (expected, found)) in items.iter().zip(there).enumerate() {
                missing(expected, found, &format!("{at}/{n}"), wrong);
            }
        }
        (Value::Null, _) => {}
        _ if expected == found => {}
        _ => wrong.push(format!("{at}: expected {expected}, found {found}")),
    }
}

/// Where the fixtures are written down.
const NAMESPACE: &str = "apps";
