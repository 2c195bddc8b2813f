//! Words and commands that rules of all groups share.

use cwii_token::span;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    doctor::{Case, Object},
    facts::Fact,
    report::{Finding, Subject},
};

/// An object that people edit, or the pod template in one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// The object.
    pub(super) object: &'a Object,
    /// JSON pointer to the template, where it is that which is meant.
    pub(super) template: Option<&'static str>,
}

/// The command that makes the workload's pods anew; none where nothing would make others in their stead.
pub(super) fn restart(case: &Case<'_>) -> Option<String> {
    let namespace = case.namespace_name();
    let owners = case.owners();
    let rolled_out = owners.iter().rev().find(|owner| {
        owner.api_version.starts_with("apps/")
            && ["Deployment", "StatefulSet", "DaemonSet"].contains(&owner.kind.as_str())
    });
    if let Some(owner) = rolled_out {
        return Some(format!(
            "kubectl -n {namespace} rollout restart {} {}",
            owner.kind.to_lowercase(),
            quote(&owner.name)
        ));
    }
    let replaced = owners
        .iter()
        .any(|owner| ["ReplicaSet", "ReplicationController", "Job"].contains(&owner.kind.as_str()));
    let pod = case.pod().ok()?;
    replaced.then(|| format!("kubectl -n {namespace} delete pod {}", quote(pod.name())))
}

/// Adds what makes the pods anew. A workload that does not run yet needs nothing.
pub(super) fn restarted(finding: Finding, case: &Case<'_>) -> Finding {
    if case.is_template() {
        return finding;
    }
    match restart(case) {
        Some(command) => finding.command(command),
        None => finding.evidence(
            "restart",
            "nothing replaces this pod: delete it and create it again",
        ),
    }
}

/// `3 d 2 h ago`.
pub(super) fn ago(case: &Case<'_>, at: Timestamp) -> String {
    format!("{} ago", span::humanize(case.now().duration_since(at)))
}

/// Adds who set a field, and when, where `managedFields` tell.
pub(super) fn set_by(finding: Finding, case: &Case<'_>, object: &Object, path: &[&str]) -> Finding {
    match object.manager(path) {
        Some(manager) => {
            let when = manager
                .at
                .map(|at| format!(", {}", ago(case, at)))
                .unwrap_or_default();
            finding.evidence("set by", format!("field manager `{}`{when}", manager.name))
        }
        None => finding,
    }
}

/// A word of a shell's command line.
pub(super) fn quote(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_./:@=+,-%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// `kubectl -n shop patch deployment checkout --type=json -p '[…]'`.
pub(super) fn patch(object: &Object, operations: &Value) -> String {
    format!(
        "{} patch {} --type=json -p {}",
        kubectl(object),
        named(object),
        quote(&operations.to_string())
    )
}

/// `kubectl -n shop`, or `kubectl` for what has no namespace.
pub(super) fn kubectl(object: &Object) -> String {
    match object.namespace() {
        Some(namespace) => format!("kubectl -n {namespace}"),
        None => "kubectl".to_owned(),
    }
}

/// `deployment checkout`.
pub(super) fn named(object: &Object) -> String {
    format!("{} {}", object.kind().to_lowercase(), quote(object.name()))
}

impl<'a> Place<'a> {
    /// The object itself.
    pub(super) fn of(object: &'a Object) -> Self {
        Self {
            object,
            template: None,
        }
    }

    /// Where what a pod says of itself is written: the template of its topmost controller, or the pod where it has none.
    pub(super) fn of_pod(case: &Case<'a>) -> Option<Self> {
        let template = case.owners().iter().rev().find_map(|owner| {
            let Fact::Known(object) = &owner.object else {
                return None;
            };
            Some(Self {
                object,
                template: Some(object.template_pointer()?),
            })
        });
        template.or_else(|| {
            // A controller that could not be read still writes its pods over.
            case.owners()
                .is_empty()
                .then(|| case.pod().ok().map(Self::of))
                .flatten()
        })
    }

    /// All places that a person may have put a key for this workload, from the pod outwards.
    pub(super) fn all(case: &Case<'a>) -> Vec<Self> {
        let mut places: Vec<Self> = Self::of_pod(case).into_iter().collect();
        for owner in case.owners() {
            if let Fact::Known(object) = &owner.object
                && owner.kind != "ReplicaSet"
            {
                places.push(Self::of(object));
            }
        }
        if let Ok(Some(account)) = case.service_account() {
            places.push(Self::of(account));
        }
        if let Ok(Some(namespace)) = case.namespace() {
            places.push(Self::of(namespace));
        }
        places
    }

    fn map(&self, member: &str) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
        let pointer = format!("{}/metadata/{member}", self.prefix());
        self.object
            .get(&pointer)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.as_str(), value))
    }

    /// Annotations that are texts.
    pub(super) fn annotations(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.map("annotations")
            .filter_map(|(key, value)| Some((key, value.as_str()?)))
    }

    /// Labels, whatever their values.
    pub(super) fn labels(&self) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
        self.map("labels")
    }

    /// One annotation.
    pub(super) fn annotation(&self, key: &str) -> Option<&'a str> {
        self.annotations()
            .find(|(found, _)| *found == key)
            .map(|(_, value)| value)
    }

    /// Kind and name, for people: `pod template of Deployment `checkout``.
    pub(super) fn describe(&self) -> String {
        let whole = format!("{} `{}`", self.object.kind(), self.object.name());
        match self.template {
            Some(_) => format!("the pod template of {whole}"),
            None => whole,
        }
    }

    /// Kind of what carries the key: `Pod` for a template.
    pub(super) fn kind(&self) -> &'a str {
        match self.template {
            Some(_) => "Pod",
            None => self.object.kind(),
        }
    }

    /// An annotation as the place of a finding.
    pub(super) fn at_annotation(&self, key: &str) -> Subject {
        self.at("annotations", "annotation", key)
    }

    /// A label as the place of a finding.
    pub(super) fn at_label(&self, key: &str) -> Subject {
        self.at("labels", "label", key)
    }

    fn at(&self, member: &str, what: &str, key: &str) -> Subject {
        let of = self.template.map_or("", |_| " of the pod template");
        self.object.subject_at(
            &format!("{}/metadata/{member}/{}", self.prefix(), escape(key)),
            format!("{what} `{key}`{of}"),
        )
    }

    /// The members that lead to an annotation, for `managedFields`.
    pub(super) fn path<'k>(&self, member: &'k str, key: &'k str) -> Vec<&'k str> {
        let mut path: Vec<&'k str> = match self.template {
            Some("/spec/template") => vec!["spec", "template"],
            Some(_) => vec!["spec", "jobTemplate", "spec", "template"],
            None => Vec::new(),
        };
        path.extend(["metadata", member, key]);
        path
    }

    /// The command that sets annotations and takes others away.
    pub(super) fn annotate(&self, set: &[(&str, &str)], remove: &[&str]) -> String {
        self.write("annotations", "annotate", set, remove)
    }

    /// The command that sets labels and takes others away.
    pub(super) fn label(&self, set: &[(&str, &str)], remove: &[&str]) -> String {
        self.write("labels", "label", set, remove)
    }

    fn write(&self, member: &str, verb: &str, set: &[(&str, &str)], remove: &[&str]) -> String {
        if self.template.is_none() {
            let mut words: Vec<String> = set
                .iter()
                .map(|(key, value)| quote(&format!("{key}={value}")))
                .collect();
            words.extend(remove.iter().map(|key| quote(&format!("{key}-"))));
            let overwrite = if set.is_empty() { "" } else { " --overwrite" };
            return format!(
                "{} {verb} {} {}{overwrite}",
                kubectl(self.object),
                named(self.object),
                words.join(" ")
            );
        }
        let map = format!("{}/metadata/{member}", self.prefix());
        let mut operations = Vec::new();
        if !set.is_empty() && self.object.get(&map).is_none() {
            if self
                .object
                .get(&format!("{}/metadata", self.prefix()))
                .is_none()
            {
                operations.push(json!({"op": "add", "path": format!("{}/metadata", self.prefix()), "value": {}}));
            }
            operations.push(json!({"op": "add", "path": map, "value": {}}));
        }
        for (key, value) in set {
            operations.push(
                json!({"op": "add", "path": format!("{map}/{}", escape(key)), "value": value}),
            );
        }
        for key in remove {
            operations.push(json!({"op": "remove", "path": format!("{map}/{}", escape(key))}));
        }
        patch(self.object, &Value::Array(operations))
    }

    fn prefix(&self) -> &'static str {
        self.template.unwrap_or_default()
    }
}

fn escape(member: &str) -> String {
    member.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_only_where_a_shell_would_split_it() {
        assert_eq!(
            quote("cwii.dev/aws-inject=true"),
            "cwii.dev/aws-inject=true"
        );
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn a_template_is_patched_and_an_object_annotated() {
        let deployment = Object::new(
            json!({"kind": "Deployment", "metadata": {"name": "a", "namespace": "n"},
            "spec": {"template": {"spec": {}}}}),
        );
        let template = Place {
            object: &deployment,
            template: deployment.template_pointer(),
        };
        assert_eq!(
            template.annotate(&[("k/x", "v")], &[]),
            "kubectl -n n patch deployment a --type=json -p '[{\"op\":\"add\",\"path\":\"/spec/template/metadata\",\
             \"value\":{}},{\"op\":\"add\",\"path\":\"/spec/template/metadata/annotations\",\"value\":{}},\
             {\"op\":\"add\",\"path\":\"/spec/template/metadata/annotations/k~1x\",\"value\":\"v\"}]'"
        );
        assert_eq!(
            Place::of(&deployment).annotate(&[("k/x", "v")], &["y"]),
            "kubectl -n n annotate deployment a k/x=v y- --overwrite"
        );
    }
}
