//! An interpreter of the commands that the doctor prints, on a fixture's files instead of a cluster and clouds.
//!
//! It knows the few commands that fixes consist of and does with them what they do: an annotation is set, a trust policy is
//! replaced, a restarted Deployment has new pods made from its template and injected by the webhooks that the fixture has. A
//! command that it does not know is an error, so that no fix can pass by being ignored.

mod clouds;
mod kubectl;
mod shell;
mod webhooks;

use std::{collections::BTreeMap, fs, path::Path};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

pub(crate) use shell::Command;

/// A fixture's cluster and clouds.
#[derive(Clone, Debug)]
pub(crate) struct World {
    /// Kubernetes objects.
    pub(crate) objects: Vec<Value>,
    /// Trust documents by file name.
    pub(crate) trust: BTreeMap<String, Value>,
    /// Files that commands wrote, for the commands after them.
    pub(crate) files: BTreeMap<String, String>,
    /// The moment; each command takes a while.
    pub(crate) now: Timestamp,
}

impl World {
    /// Reads `manifests.yaml` and `trust/` of a directory.
    pub(crate) fn read(dir: &Path, now: Timestamp) -> Result<Self, String> {
        let manifests = dir.join("manifests.yaml");
        let text = fs::read_to_string(&manifests)
            .map_err(|error| format!("{}: {error}", manifests.display()))?;
        let mut world = Self {
            objects: objects_of(&text)?,
            trust: BTreeMap::new(),
            files: BTreeMap::new(),
            now,
        };
        world.read_trust(&dir.join("trust"))?;
        Ok(world)
    }

    /// Lays the files of a directory over it: those of the same name are replaced.
    pub(crate) fn lay_over(&mut self, dir: &Path) -> Result<(), String> {
        let manifests = dir.join("manifests.yaml");
        if manifests.exists() {
            let text = fs::read_to_string(&manifests).map_err(|error| error.to_string())?;
            self.objects = objects_of(&text)?;
        }
        self.read_trust(&dir.join("trust"))
    }

    fn read_trust(&mut self, dir: &Path) -> Result<(), String> {
        if !dir.exists() {
            return Ok(());
        }
        for entry in fs::read_dir(dir).map_err(|error| error.to_string())? {
            let path = entry.map_err(|error| error.to_string())?.path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path)
                .map_err(|error| format!("{}: {error}", path.display()))?;
            let value = serde_json::from_str(&text)
                .map_err(|error| format!("{}: {error}", path.display()))?;
            self.trust.insert(name, value);
        }
        Ok(())
    }

    /// Writes it as a directory of the same form.
    pub(crate) fn write(&self, dir: &Path) {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": self.objects});
        fs::write(dir.join("manifests.yaml"), pretty(&list)).unwrap();
        // An empty directory would be documents that were given and lack everything.
        if self.trust.is_empty() {
            return;
        }
        let trust = dir.join("trust");
        fs::create_dir_all(&trust).unwrap();
        for (name, value) in &self.trust {
            fs::write(trust.join(name), pretty(value)).unwrap();
        }
    }

    /// Does what a command does.
    pub(crate) fn run(&mut self, text: &str) -> Result<(), String> {
        for command in shell::commands(text)? {
            self.now += SignedDuration::from_secs(5);
            match command.program() {
                "kubectl" => self.kubectl(&command)?,
                "aws" => self.aws(&command)?,
                "gcloud" => self.gcloud(&command)?,
                "az" => self.az(&command)?,
                "cat" => {
                    let (Some(file), Some(text)) = (&command.writes, &command.input) else {
                        return Err(format!("`cat` that writes no file: {text}"));
                    };
                    self.files.insert(file.clone(), text.clone());
                }
                other => return Err(format!("the interpreter knows no `{other}`: {text}")),
            }
        }
        Ok(())
    }

    /// Index of an object; the namespace of a cluster-wide one is none of its.
    fn find(&self, kind: &str, namespace: &str, name: &str) -> Option<usize> {
        self.objects.iter().position(|object| {
            text(object, "/kind") == kind
                && text(object, "/metadata/name") == name
                && (is_cluster_wide(kind) || namespace_of(object) == namespace)
        })
    }

    fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<&Value> {
        self.find(kind, namespace, name)
            .map(|index| &self.objects[index])
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

/// The objects of a manifest.
fn objects_of(text: &str) -> Result<Vec<Value>, String> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| format!("manifest: {error}"))?;
    let mut objects = Vec::new();
    for document in documents {
        match document.get("items").and_then(Value::as_array) {
            Some(items) if text_of(&document, "kind").ends_with("List") => {
                objects.extend(items.iter().cloned());
            }
            _ if document.is_null() => {}
            _ => objects.push(document),
        }
    }
    Ok(objects)
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn text_of<'v>(value: &'v Value, member: &str) -> &'v str {
    value
        .get(member)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn namespace_of(object: &Value) -> &str {
    match text(object, "/metadata/namespace") {
        "" => "default",
        namespace => namespace,
    }
}

fn is_cluster_wide(kind: &str) -> bool {
    matches!(
        kind,
        "Namespace"
            | "Node"
            | "MutatingWebhookConfiguration"
            | "ClusterRole"
            | "ClusterRoleBinding"
            | "CustomResourceDefinition"
    )
}

/// The place in a value, made of empty objects where there is nothing yet.
fn place<'v>(value: &'v mut Value, path: &[&str]) -> &'v mut Value {
    let mut at = value;
    for member in path {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[*member];
    }
    at
}
