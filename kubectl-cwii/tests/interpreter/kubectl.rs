//! `kubectl` on the fixture's objects.

use serde_json::{Map, Value, json};

use super::{Command, World, is_cluster_wide, namespace_of, objects_of, place, text, text_of};

impl World {
    pub(super) fn kubectl(&mut self, command: &Command) -> Result<(), String> {
        let namespace = command
            .flag(&["n", "namespace"])
            .unwrap_or("default")
            .to_owned();
        let arguments: Vec<String> = command.arguments().into_iter().map(str::to_owned).collect();
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["annotate", rest @ ..] => self.mark(command, &namespace, "annotations", rest),
            ["label", rest @ ..] => self.mark(command, &namespace, "labels", rest),
            ["patch", rest @ ..] => {
                command.only(&["n", "namespace", "type", "p", "patch"])?;
                let (kind, name, rest) = object_of(rest, command)?;
                nothing_more(rest, command)?;
                self.patch(command, &namespace, kind, &name)
            }
            ["set", "serviceaccount" | "sa", rest @ ..] => {
                command.only(&["n", "namespace"])?;
                let (kind, name, rest) = object_of(rest, command)?;
                let [account] = rest else {
                    return Err(unknown(command));
                };
                let account = (*account).to_owned();
                self.edit_template(kind, &namespace, &name, |spec| {
                    spec["serviceAccountName"] = account.clone().into();
                    if let Some(spec) = spec.as_object_mut() {
                        spec.remove("serviceAccount");
                    }
                })
            }
            ["set", "env", rest @ ..] => self.set_env(command, &namespace, rest),
            ["rollout", "restart", rest @ ..] => {
                command.only(&["n", "namespace"])?;
                let (kind, name, rest) = object_of(rest, command)?;
                nothing_more(rest, command)?;
                if self.find(kind, &namespace, &name).is_none() {
                    // The controller may not be among the manifests, though its pods are.
                    return self.remake_pods(kind, &namespace, &name);
                }
                let now = self.now.to_string();
                self.edit(kind, &namespace, &name, |object| {
                    let annotations =
                        place(object, &["spec", "template", "metadata", "annotations"]);
                    annotations["kubectl.kubernetes.io/restartedAt"] = now.clone().into();
                })?;
                self.remake_pods(kind, &namespace, &name)
            }
            ["delete", rest @ ..] => self.delete(command, &namespace, rest),
            ["create", "serviceaccount" | "sa", name] => {
                command.only(&["n", "namespace"])?;
                self.add(json!({"apiVersion": "v1", "kind": "ServiceAccount",
                    "metadata": {"name": name, "namespace": namespace}}))
            }
            ["create", "namespace" | "ns", name] => self
                .add(json!({"apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}})),
            ["create", "clusterrolebinding", name] => {
                command.only(&["clusterrole", "group", "serviceaccount", "user"])?;
                let group = command.need(&["group"])?;
                self.add(json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
                    "metadata": {"name": name},
                    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": command.need(&["clusterrole"])?},
                    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}]}))
            }
            ["apply" | "replace" | "create"] => {
                command.only(&[
                    "n",
                    "namespace",
                    "f",
                    "filename",
                    "server-side",
                    "force",
                    "force-conflicts",
                ])?;
                let text = match (command.flag(&["f", "filename"]), &command.input) {
                    (Some("-"), Some(text)) => text.clone(),
                    (Some(file), _) => self
                        .files
                        .get(file)
                        .cloned()
                        .ok_or_else(|| format!("no file `{file}` for `{}`", command.text))?,
                    _ => return Err(unknown(command)),
                };
                for object in objects_of(&text)? {
                    self.apply(object, &namespace)?;
                }
                Ok(())
            }
            ["scale", rest @ ..] => {
                command.only(&["n", "namespace", "replicas"])?;
                let (kind, name, _) = object_of(rest, command)?;
                let replicas: i64 = command
                    .need(&["replicas"])?
                    .parse()
                    .map_err(|_| unknown(command))?;
                self.edit(kind, &namespace, &name, |object| {
                    object["spec"]["replicas"] = replicas.into();
                })?;
                self.serve(kind, &namespace, &name, replicas)
            }
            // Looks and changes nothing.
            ["get" | "describe" | "logs" | "top" | "auth", ..]
            | ["rollout", "status" | "history", ..] => Ok(()),
            _ => Err(unknown(command)),
        }
    }

    fn mark(
        &mut self,
        command: &Command,
        namespace: &str,
        member: &'static str,
        words: &[&str],
    ) -> Result<(), String> {
        command.only(&["n", "namespace", "overwrite"])?;
        let (kind, name, pairs) = object_of(words, command)?;
        let overwrite = command.flags.contains_key("overwrite");
        let now = self.now.to_string();
        let index = self.index(kind, namespace, &name)?;
        let marks = place(&mut self.objects[index], &["metadata", member]);
        if !marks.is_object() {
            *marks = json!({});
        }
        if pairs.is_empty() {
            return Err(unknown(command));
        }
        let mut set = Vec::new();
        for pair in pairs {
            match (pair.split_once('='), pair.strip_suffix('-')) {
                (Some((key, value)), _) => {
                    if !overwrite && marks.get(key).is_some_and(|old| old != value) {
                        return Err(format!(
                            "`{key}` has a value already and --overwrite is not given: `{}`",
                            command.text
                        ));
                    }
                    marks[key] = value.into();
                    set.push(key.to_owned());
                }
                (None, Some(key)) => {
                    if let Some(marks) = marks.as_object_mut() {
                        marks.remove(key);
                    }
                }
                _ => return Err(unknown(command)),
            }
        }
        // As the API server writes it down.
        let object = &mut self.objects[index];
        let fields: Map<String, Value> = set
            .iter()
            .map(|key| (format!("f:{key}"), json!({})))
            .collect();
        let manager = format!(
            "kubectl-{}",
            if member == "labels" {
                "label"
            } else {
                "annotate"
            }
        );
        let managed = place(object, &["metadata", "managedFields"]);
        if !managed.is_array() {
            *managed = json!([]);
        }
        if let (Some(managed), false) = (managed.as_array_mut(), set.is_empty()) {
            for entry in managed.iter_mut() {
                if let Some(Value::Object(known)) =
                    entry.pointer_mut(&format!("/fieldsV1/f:metadata/f:{member}"))
                {
                    known.retain(|key, _| !fields.contains_key(key));
                }
            }
            managed.push(json!({"manager": manager, "operation": "Update", "time": now, "fieldsType": "FieldsV1",
                "fieldsV1": {"f:metadata": {format!("f:{member}"): fields}}}));
        }
        Ok(())
    }

    fn patch(
        &mut self,
        command: &Command,
        namespace: &str,
        kind: &'static str,
        name: &str,
    ) -> Result<(), String> {
        let patch: Value = serde_json::from_str(command.need(&["p", "patch"])?)
            .map_err(|error| format!("{error} in `{}`", command.text))?;
        let index = self.index(kind, namespace, name)?;
        let object = &mut self.objects[index];
        let before = object.pointer("/spec/template").cloned();
        match command.flag(&["type"]).unwrap_or("strategic") {
            "json" => {
                let patch: json_patch::Patch = serde_json::from_value(patch)
                    .map_err(|error| format!("{error} in `{}`", command.text))?;
                json_patch::patch(object, &patch)
                    .map_err(|error| format!("{error} in `{}`", command.text))?;
            }
            "merge" => json_patch::merge(object, &patch),
            "strategic" => strategic(object, &patch),
            _ => return Err(unknown(command)),
        }
        if kind == "Pod" {
            // What a pod is made of does not change while it lives.
            return Ok(());
        }
        if before != self.objects[index].pointer("/spec/template").cloned() {
            self.remake_pods(kind, namespace, name)?;
        }
        if kind == "Service" || kind == "Deployment" {
            self.serve_all(namespace);
        }
        Ok(())
    }

    fn set_env(
        &mut self,
        command: &Command,
        namespace: &str,
        words: &[&str],
    ) -> Result<(), String> {
        command.only(&["n", "namespace", "c", "containers"])?;
        let (kind, name, pairs) = object_of(words, command)?;
        let only = command.flag(&["c", "containers"]).map(str::to_owned);
        let pairs: Vec<String> = pairs.iter().map(|pair| (*pair).to_owned()).collect();
        if pairs.is_empty() {
            return Err(unknown(command));
        }
        self.edit_template(kind, namespace, &name, |spec| {
            for list in ["initContainers", "containers"] {
                let containers = spec.get_mut(list).and_then(Value::as_array_mut);
                for container in containers.into_iter().flatten() {
                    let is_meant = match only.as_deref() {
                        None | Some("*") => true,
                        Some(only) => text_of(container, "name") == only,
                    };
                    if !is_meant {
                        continue;
                    }
                    let variables = place(container, &["env"]);
                    if !variables.is_array() {
                        *variables = json!([]);
                    }
                    let Some(variables) = variables.as_array_mut() else {
                        continue;
                    };
                    for pair in &pairs {
                        let (name, value) = match pair.split_once('=') {
                            Some((name, value)) => (name, Some(value)),
                            None => (pair.trim_end_matches('-'), None),
                        };
                        let at = variables.iter().position(|v| text_of(v, "name") == name);
                        match (at, value) {
                            (Some(at), Some(value)) => {
                                variables[at] = json!({"name": name, "value": value});
                            }
                            (None, Some(value)) => {
                                variables.push(json!({"name": name, "value": value}))
                            }
                            (Some(at), None) => {
                                variables.remove(at);
                            }
                            (None, None) => {}
                        }
                    }
                }
            }
        })
    }

    fn delete(&mut self, command: &Command, namespace: &str, words: &[&str]) -> Result<(), String> {
        command.only(&["n", "namespace", "wait", "ignore-not-found"])?;
        let (kind, name, rest) = object_of(words, command)?;
        let mut names = vec![name];
        names.extend(rest.iter().map(|name| (*name).to_owned()));
        for name in names {
            if kind == "Pod" {
                self.remake_pod(namespace, &name)?;
                continue;
            }
            let index = self.index(kind, namespace, &name)?;
            self.objects.remove(index);
        }
        Ok(())
    }

    /// Adds a new object with what the API server gives it.
    fn add(&mut self, mut object: Value) -> Result<(), String> {
        let (kind, name) = (
            text(&object, "/kind").to_owned(),
            text(&object, "/metadata/name").to_owned(),
        );
        let namespace = namespace_of(&object).to_owned();
        if self.find(&kind, &namespace, &name).is_some() {
            return Err(format!("{kind} {namespace}/{name} exists already"));
        }
        object["metadata"]["creationTimestamp"] = self.now.to_string().into();
        object["metadata"]["uid"] =
            format!("7c1f0a52-0000-4000-9000-{:012}", self.objects.len()).into();
        self.objects.push(object);
        Ok(())
    }

    fn apply(&mut self, mut object: Value, namespace: &str) -> Result<(), String> {
        let kind = text(&object, "/kind").to_owned();
        let name = text(&object, "/metadata/name").to_owned();
        if !is_cluster_wide(&kind) && text(&object, "/metadata/namespace").is_empty() {
            object["metadata"]["namespace"] = namespace.into();
        }
        let namespace = namespace_of(&object).to_owned();
        match self.find(&kind, &namespace, &name) {
            Some(index) => {
                let before = self.objects[index].pointer("/spec/template").cloned();
                strategic(&mut self.objects[index], &object);
                if before != self.objects[index].pointer("/spec/template").cloned() {
                    self.remake_pods(&kind, &namespace, &name)?;
                }
                Ok(())
            }
            None => self.add(object),
        }
    }

    fn index(&self, kind: &str, namespace: &str, name: &str) -> Result<usize, String> {
        self.find(kind, namespace, name)
            .ok_or_else(|| format!("there is no {kind} {namespace}/{name}"))
    }

    fn edit(
        &mut self,
        kind: &str,
        namespace: &str,
        name: &str,
        change: impl Fn(&mut Value),
    ) -> Result<(), String> {
        let index = self.index(kind, namespace, name)?;
        change(&mut self.objects[index]);
        Ok(())
    }

    /// Changes a pod template; its pods are made anew, as the controller does by itself.
    fn edit_template(
        &mut self,
        kind: &'static str,
        namespace: &str,
        name: &str,
        change: impl Fn(&mut Value),
    ) -> Result<(), String> {
        if kind == "Pod" {
            return Err("the spec of a pod that runs cannot be changed".into());
        }
        self.edit(kind, namespace, name, |object| {
            let path: &[&str] = if kind == "CronJob" {
                &["spec", "jobTemplate", "spec", "template", "spec"]
            } else {
                &["spec", "template", "spec"]
            };
            change(place(object, path));
        })?;
        self.remake_pods(kind, namespace, name)
    }
}

/// A strategic merge patch, as far as manifests of workloads need it: lists of things with names are merged by name.
fn strategic(value: &mut Value, patch: &Value) {
    match (value, patch) {
        (Value::Object(members), Value::Object(patch)) => {
            for (key, patch) in patch {
                if patch.is_null() {
                    members.remove(key);
                } else {
                    strategic(members.entry(key.as_str()).or_insert(Value::Null), patch);
                }
            }
        }
        (Value::Array(elements), Value::Array(patch))
            if patch.iter().all(|element| element.get("name").is_some()) =>
        {
            for patch in patch {
                let name = text_of(patch, "name");
                match elements
                    .iter_mut()
                    .find(|element| text_of(element, "name") == name)
                {
                    Some(element) => strategic(element, patch),
                    None => elements.push(patch.clone()),
                }
            }
        }
        (value, patch) => *value = patch.clone(),
    }
}

/// Kind and name of `KIND NAME …` or `KIND/NAME …`.
fn object_of<'w>(
    words: &'w [&'w str],
    command: &Command,
) -> Result<(&'static str, String, &'w [&'w str]), String> {
    let (kind, name, rest) = match words {
        [first, rest @ ..] if first.contains('/') => {
            let (kind, name) = first.split_once('/').unwrap_or((first, ""));
            (kind, name, rest)
        }
        [kind, name, rest @ ..] => (*kind, *name, rest),
        _ => return Err(unknown(command)),
    };
    let kind = kind.split('.').next().unwrap_or(kind).to_ascii_lowercase();
    let known = KINDS
        .iter()
        .find(|(_, names)| names.contains(&kind.as_str()))
        .ok_or_else(|| unknown(command))?;
    Ok((known.0, name.to_owned(), rest))
}

fn nothing_more(rest: &[&str], command: &Command) -> Result<(), String> {
    if rest.is_empty() {
        Ok(())
    } else {
        Err(unknown(command))
    }
}

fn unknown(command: &Command) -> String {
    format!("the interpreter does not know `{}`", command.text)
}

const KINDS: &[(&str, &[&str])] = &[
    ("Pod", &["pod", "pods", "po"]),
    (
        "ServiceAccount",
        &["serviceaccount", "serviceaccounts", "sa"],
    ),
    ("Namespace", &["namespace", "namespaces", "ns"]),
    ("Deployment", &["deployment", "deployments", "deploy"]),
    ("ReplicaSet", &["replicaset", "replicasets", "rs"]),
    ("StatefulSet", &["statefulset", "statefulsets", "sts"]),
    ("DaemonSet", &["daemonset", "daemonsets", "ds"]),
    ("Job", &["job", "jobs"]),
    ("CronJob", &["cronjob", "cronjobs", "cj"]),
    ("Service", &["service", "services", "svc"]),
    ("ConfigMap", &["configmap", "configmaps", "cm"]),
    ("Secret", &["secret", "secrets"]),
    ("Node", &["node", "nodes", "no"]),
    (
        "NetworkPolicy",
        &["networkpolicy", "networkpolicies", "netpol"],
    ),
    (
        "ResourceQuota",
        &["resourcequota", "resourcequotas", "quota"],
    ),
    ("LimitRange", &["limitrange", "limitranges", "limits"]),
    (
        "MutatingWebhookConfiguration",
        &[
            "mutatingwebhookconfiguration",
            "mutatingwebhookconfigurations",
        ],
    ),
    (
        "ClusterRoleBinding",
        &["clusterrolebinding", "clusterrolebindings"],
    ),
];
