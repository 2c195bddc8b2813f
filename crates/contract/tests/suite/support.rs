//! From JSON to a patched pod, as a webhook goes about it.

use std::{collections::BTreeMap, path::PathBuf};

use cwii_contract::{
    Denial, Keys, Layer, ObjectRef, Pod, Provider, Settings, Warning, patch, plan, spec::EnvVar,
};
use serde_json::{Map, Value};

/// The version of the webhook in all tests.
pub(crate) const VERSION: &str = "0.1.0";

/// What a webhook answers to one pod.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) pod: Value,
    pub(crate) patch: Vec<u8>,
    pub(crate) warnings: Vec<String>,
    pub(crate) config_maps: Vec<Value>,
    pub(crate) plan: cwii_contract::Plan,
}

/// What the scopes beside the pod say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scopes {
    pub(crate) workload: Vec<(String, String, Map<String, Value>)>,
    pub(crate) service_account: Map<String, Value>,
    pub(crate) namespace: Map<String, Value>,
}

impl Scopes {
    pub(crate) fn from_json(json: &Value) -> Self {
        let annotations = |value: &Value| value.as_object().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            workload: json["workload"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|w| {
                    (
                        text(&w["kind"]),
                        text(&w["name"]),
                        annotations(&w["annotations"]),
                    )
                })
                .collect(),
            service_account: annotations(&json["serviceAccount"]),
            namespace: annotations(&json["namespace"]),
        }
    }

    /// The scopes with these annotations on the ServiceAccount.
    pub(crate) fn service_account(annotations: &Value) -> Self {
        Self {
            service_account: annotations.as_object().unwrap().clone(),
            ..Self::default()
        }
    }
}

pub(crate) fn keys(annotations: &Map<String, Value>) -> Keys {
    Keys::from_annotations(
        annotations
            .iter()
            .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))),
    )
}

pub(crate) fn layers(pod: &Pod, scopes: &Scopes) -> Vec<Layer> {
    const NAMESPACE: &str = "apps";
    let mut layers = vec![Layer {
        object: pod.object(NAMESPACE),
        keys: pod.keys(),
    }];
    for (kind, name, annotations) in &scopes.workload {
        layers.push(Layer {
            object: ObjectRef::workload(kind.clone(), NAMESPACE, name),
            keys: keys(annotations),
        });
    }
    layers.push(Layer {
        object: ObjectRef::service_account(NAMESPACE, pod.service_account_name()),
        keys: keys(&scopes.service_account),
    });
    layers.push(Layer {
        object: ObjectRef::namespace(NAMESPACE),
        keys: keys(&scopes.namespace),
    });
    layers
}

/// Admits a pod. The patch is applied by a library that we did not write.
pub(crate) fn admit(pod: &Value, scopes: &Scopes, settings: &Settings) -> Result<Answer, Denial> {
    let raw = serde_json::to_vec(pod).unwrap();
    let read: Pod = serde_json::from_slice(&raw).unwrap();
    let plan = plan(&read, &layers(&read, scopes), settings)?;
    let patch = patch(&read, &plan);
    let json = patch.to_json().unwrap();
    let operations: json_patch::Patch = serde_json::from_slice(&json).unwrap();
    assert!(
        operations
            .0
            .iter()
            .all(|operation| matches!(operation, json_patch::PatchOperation::Add(_))),
        "only additions"
    );
    let mut patched = pod.clone();
    json_patch::patch(&mut patched, &operations).unwrap();
    let mut warnings = plan.warnings.clone();
    warnings.extend(patch.warnings.iter().cloned());
    assert!(
        warnings
            .iter()
            .all(|warning| warning.as_str().chars().count() <= 256)
    );
    Ok(Answer {
        pod: patched,
        patch: json,
        warnings: Warning::limit(warnings),
        config_maps: plan
            .config_maps()
            .iter()
            .map(|config_map| config_map.manifest("apps"))
            .collect(),
        plan,
    })
}

pub(crate) fn settings() -> Settings {
    Settings::new(VERSION).unwrap()
}

/// The settings of a fixture.
pub(crate) fn settings_from_json(json: &Value) -> Settings {
    let mut settings = settings();
    for (name, value) in json.as_object().into_iter().flatten() {
        let text = || value.as_str().unwrap();
        let per_provider = || {
            value
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| (name.parse::<Provider>().unwrap(), value))
        };
        match name.as_str() {
            "enabled" => {
                for (provider, value) in per_provider() {
                    settings.enabled[provider] = value.as_bool().unwrap();
                }
            }
            "verifyImage" => {
                for (provider, value) in per_provider() {
                    settings.verify_image[provider] =
                        Some(value.as_str().unwrap().parse().unwrap());
                }
            }
            "nativeAnnotations" => settings.native_annotations = value.as_bool().unwrap(),
            "configMapDelivery" => settings.config_map_delivery = value.as_bool().unwrap(),
            "verifyImageAllow" => {
                settings.verify_image_allow = value
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|pattern| pattern.as_str().unwrap().parse().unwrap())
                    .collect();
            }
            "azDefaultTenantId" => settings.az_default_tenant_id = Some(text().parse().unwrap()),
            "azDefaultAuthorityHost" => {
                settings.az_default_authority_host = Some(text().parse().unwrap());
            }
            "gcpDefaultAudience" => settings.gcp_default_audience = Some(text().to_owned()),
            "verifyEnv" => {
                settings.verify_env = value
                    .as_object()
                    .unwrap()
                    .iter()
                    .map(|(name, value)| {
                        EnvVar::literal(name.clone(), value.as_str().unwrap().to_owned())
                    })
                    .collect();
            }
            other => panic!("unknown setting {other}"),
        }
    }
    settings
}

/// One directory of `tests/golden`.
#[derive(Debug)]
pub(crate) struct Fixture {
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
    pub(crate) pod: Value,
    pub(crate) scopes: Scopes,
    pub(crate) settings: Settings,
}

pub(crate) fn fixtures() -> BTreeMap<String, Fixture> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut fixtures = BTreeMap::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let directory = entry.unwrap().path();
        if !directory.is_dir() {
            continue;
        }
        let name = directory.file_name().unwrap().to_str().unwrap().to_owned();
        let json = |file: &str| -> Option<Value> {
            let text = std::fs::read_to_string(directory.join(file)).ok()?;
            Some(serde_json::from_str(&text).unwrap())
        };
        let fixture = Fixture {
            pod: json("pod.json").unwrap(),
            scopes: Scopes::from_json(&json("scopes.json").unwrap_or_default()),
            settings: settings_from_json(&json("settings.json").unwrap_or_default()),
            name: name.clone(),
            directory,
        };
        fixtures.insert(name, fixture);
    }
    assert!(fixtures.len() > 40);
    fixtures
}
