//! Objects of the Kubernetes API as raw JSON, and the few ways in which rules look at them.
//!
//! Raw, because a rule must see fields that are newer than any client library of ours.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde_json::Value;

use crate::report::Subject;

/// An object, shared and cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    value: Arc<Value>,
    origin: Option<Arc<Origin>>,
}

/// The place of an object in a file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Origin {
    /// The file as the user named it; `-` for standard input.
    pub file: String,
    /// Line of each JSON pointer, from 1; at least the object's own, under the empty pointer.
    pub lines: BTreeMap<String, u32>,
}

/// Who set a field, from `metadata.managedFields`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Manager {
    /// The field manager's name, `helm`.
    pub name: String,
    /// When it wrote last. All its fields share this time, so it is the latest at which the field was set.
    pub at: Option<Timestamp>,
}

/// A container of a pod.
#[derive(Clone, Copy, Debug)]
pub struct Container<'a> {
    /// `containers`, `initContainers` or `ephemeralContainers`.
    pub list: &'static str,
    /// Its place in that list.
    pub index: usize,
    /// The pointer prefix of the pod's spec: `/spec` for a pod.
    spec: &'static str,
    /// The container.
    pub value: &'a Value,
}

/// A projected ServiceAccount token in a pod's volumes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProjectedToken {
    /// Name of the volume.
    pub volume: String,
    /// JSON pointer to the `serviceAccountToken` source.
    pub pointer: String,
    /// Path of the file in the volume.
    pub path: String,
    /// `audience`; none means the API server's own.
    pub audience: Option<String>,
    /// `expirationSeconds`, seconds; the API's default is 3600.
    pub expiration_seconds: Option<i64>,
}

impl Object {
    /// An object of a live cluster.
    #[must_use]
    pub fn new(value: Value) -> Self {
        Self {
            value: Arc::new(value),
            origin: None,
        }
    }

    /// An object of a file.
    #[must_use]
    pub fn from_file(value: Value, origin: Origin) -> Self {
        Self {
            value: Arc::new(value),
            origin: Some(Arc::new(origin)),
        }
    }

    /// The same place in a file, with another content: a pod that stands for its template.
    #[must_use]
    pub fn with_value(&self, value: Value) -> Self {
        Self {
            value: Arc::new(value),
            origin: self.origin.clone(),
        }
    }

    /// The whole object.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Where it was read from, for objects of files.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_deref()
    }

    /// What a JSON pointer leads to.
    #[must_use]
    pub fn get(&self, pointer: &str) -> Option<&Value> {
        self.value.pointer(pointer)
    }

    /// The text that a JSON pointer leads to.
    #[must_use]
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.get(pointer)?.as_str()
    }

    /// The elements of the array that a JSON pointer leads to; none where there is no array.
    pub fn list(&self, pointer: &str) -> impl Iterator<Item = &Value> {
        self.get(pointer)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    }

    /// `kind`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.text("/kind").unwrap_or_default()
    }

    /// `apiVersion`.
    #[must_use]
    pub fn api_version(&self) -> &str {
        self.text("/apiVersion").unwrap_or_default()
    }

    /// `metadata.name`; for a pod that has none yet its `generateName`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text("/metadata/name")
            .or_else(|| self.text("/metadata/generateName"))
            .unwrap_or_default()
    }

    /// `metadata.namespace`.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.text("/metadata/namespace")
    }

    /// `metadata.uid`.
    #[must_use]
    pub fn uid(&self) -> Option<&str> {
        self.text("/metadata/uid")
    }

    /// `metadata.creationTimestamp`.
    #[must_use]
    pub fn created(&self) -> Option<Timestamp> {
        self.text("/metadata/creationTimestamp")?.parse().ok()
    }

    /// Annotations that are texts.
    pub fn annotations(&self) -> impl Iterator<Item = (&str, &str)> {
        texts(self.get("/metadata/annotations"))
    }

    /// One annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.get("/metadata/annotations")?.get(key)?.as_str()
    }

    /// Labels that are texts.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        texts(self.get("/metadata/labels"))
    }

    /// One label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.get("/metadata/labels")?.get(key)?.as_str()
    }

    /// Who set a field last; `path` are the members that lead to it: `["metadata", "annotations", "cwii.dev/aws-audience"]`.
    #[must_use]
    pub fn manager(&self, path: &[&str]) -> Option<Manager> {
        self.list("/metadata/managedFields")
            .filter(|entry| {
                let mut node = entry.get("fieldsV1");
                for member in path {
                    node = node.and_then(|node| node.get(format!("f:{member}")));
                }
                node.is_some()
            })
            .map(|entry| Manager {
                name: entry
                    .get("manager")
                    .and_then(Value::as_str)
                    .unwrap_or("unknown")
                    .to_owned(),
                at: entry
                    .get("time")
                    .and_then(Value::as_str)
                    .and_then(|time| time.parse().ok()),
            })
            .max_by_key(|manager| manager.at)
    }

    /// Who set an annotation last.
    #[must_use]
    pub fn annotation_manager(&self, key: &str) -> Option<Manager> {
        self.manager(&["metadata", "annotations", key])
    }

    /// The object as the place of a finding.
    #[must_use]
    pub fn subject(&self) -> Subject {
        Subject {
            kind: self.kind().to_owned(),
            namespace: self.namespace().map(str::to_owned),
            name: self.name().to_owned(),
            file: self.origin().map(|origin| origin.file.clone()),
            line: self.line(""),
            ..Subject::default()
        }
    }

    /// A place in the object; `what` names it for people.
    #[must_use]
    pub fn subject_at(&self, pointer: &str, what: impl Into<String>) -> Subject {
        Subject {
            pointer: Some(pointer.to_owned()),
            what: Some(what.into()),
            line: self.line(pointer),
            ..self.subject()
        }
    }

    /// An annotation as the place of a finding.
    #[must_use]
    pub fn subject_annotation(&self, key: &str) -> Subject {
        self.subject_at(
            &format!("/metadata/annotations/{}", escape(key)),
            format!("annotation `{key}`"),
        )
    }

    /// A label as the place of a finding.
    #[must_use]
    pub fn subject_label(&self, key: &str) -> Subject {
        self.subject_at(
            &format!("/metadata/labels/{}", escape(key)),
            format!("label `{key}`"),
        )
    }

    /// The containers of a pod: its own init containers, containers and ephemeral ones, in this order.
    pub fn containers(&self) -> impl Iterator<Item = Container<'_>> {
        ["initContainers", "containers", "ephemeralContainers"]
            .into_iter()
            .flat_map(move |list| {
                self.list(&format!("/spec/{list}"))
                    .enumerate()
                    .map(move |(index, value)| Container {
                        list,
                        index,
                        spec: "/spec",
                        value,
                    })
                    .collect::<Vec<_>>()
            })
    }

    /// The projected ServiceAccount tokens among a pod's volumes.
    #[must_use]
    pub fn projected_tokens(&self) -> Vec<ProjectedToken> {
        let mut tokens = Vec::new();
        for (index, volume) in self.list("/spec/volumes").enumerate() {
            let sources = volume
                .pointer("/projected/sources")
                .and_then(Value::as_array);
            for (source, token) in sources
                .into_iter()
                .flatten()
                .enumerate()
                .filter_map(|(at, source)| Some((at, source.get("serviceAccountToken")?)))
            {
                let text = |member: &str| token.get(member)?.as_str().map(str::to_owned);
                tokens.push(ProjectedToken {
                    volume: volume
                        .get("name")
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                        .to_owned(),
                    pointer: format!(
                        "/spec/volumes/{index}/projected/sources/{source}/serviceAccountToken"
                    ),
                    path: text("path").unwrap_or_default(),
                    audience: text("audience"),
                    expiration_seconds: token.get("expirationSeconds").and_then(Value::as_i64),
                });
            }
        }
        tokens
    }

    /// JSON pointer to the pod template in a workload; none where there is none.
    #[must_use]
    pub fn template_pointer(&self) -> Option<&'static str> {
        ["/spec/template", "/spec/jobTemplate/spec/template"]
            .into_iter()
            .find(|pointer| {
                self.get(pointer)
                    .is_some_and(|template| template.get("spec").is_some())
            })
    }

    /// A pod as a workload's template makes it, before anybody changes it. Pointers into it are pointers into the template.
    #[must_use]
    pub fn template_pod(&self) -> Option<Self> {
        let template = self.get(self.template_pointer()?)?;
        let mut metadata = template
            .get("metadata")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        metadata.insert("generateName".into(), format!("{}-", self.name()).into());
        if let Some(namespace) = self.namespace() {
            metadata.insert("namespace".into(), namespace.into());
        }
        Some(Self::new(serde_json::json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": template.get("spec"),
        })))
    }

    /// Line of a pointer, or of the nearest place above it that has one.
    fn line(&self, pointer: &str) -> Option<u32> {
        let lines = &self.origin()?.lines;
        let mut at = pointer;
        loop {
            if let Some(line) = lines.get(at) {
                return Some(*line);
            }
            at = &at[..at.rfind('/')?];
        }
    }
}

impl<'a> Container<'a> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.value
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// Whether it runs before the pod's containers and ends (a native sidecar is an init container that does not end).
    #[must_use]
    pub fn is_init(&self) -> bool {
        self.list == "initContainers"
    }

    /// JSON pointer to it.
    #[must_use]
    pub fn pointer(&self) -> String {
        format!("{}/{}/{}", self.spec, self.list, self.index)
    }

    /// Its variables: place in the list, name, element.
    pub fn variables(&self) -> impl Iterator<Item = (usize, &'a str, &'a Value)> {
        self.elements("env")
            .enumerate()
            .filter_map(|(index, element)| Some((index, element.get("name")?.as_str()?, element)))
    }

    /// The literal value of a variable; none where it is not set or comes from elsewhere.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&'a str> {
        // The last of several wins in the kubelet.
        self.variables()
            .filter(|(_, found, _)| *found == name)
            .last()
            .and_then(|(_, _, element)| element.get("value")?.as_str())
    }

    /// Whether a variable is set in any way (`value` or `valueFrom`).
    #[must_use]
    pub fn has_variable(&self, name: &str) -> bool {
        self.variables().any(|(_, found, _)| found == name)
    }

    /// JSON pointer to a variable, or to where it would be added.
    #[must_use]
    pub fn variable_pointer(&self, name: &str) -> String {
        let index = self
            .variables()
            .filter(|(_, found, _)| *found == name)
            .last()
            .map_or_else(|| "-".to_owned(), |(index, _, _)| index.to_string());
        format!("{}/env/{index}", self.pointer())
    }

    /// The elements of one of its arrays: `volumeMounts`, `envFrom`, `args`.
    pub fn elements(&self, member: &str) -> impl Iterator<Item = &'a Value> {
        self.value
            .get(member)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    }

    /// Where a volume is mounted in it.
    pub fn mount_paths(&self, volume: &str) -> impl Iterator<Item = &'a str> {
        self.elements("volumeMounts")
            .filter(move |mount| mount.get("name").and_then(Value::as_str) == Some(volume))
            .filter_map(|mount| mount.get("mountPath")?.as_str())
    }
}

/// One member of a JSON pointer.
#[must_use]
pub(crate) fn escape(member: &str) -> String {
    member.replace('~', "~0").replace('/', "~1")
}

fn texts(map: Option<&Value>) -> impl Iterator<Item = (&str, &str)> {
    map.and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
}
