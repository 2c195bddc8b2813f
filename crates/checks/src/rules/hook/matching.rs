//! Whether the API server calls a webhook for this pod, and which clause says that it does not.
//!
//! Source: Kubernetes, "Dynamic Admission Control", "Matching requests"
//! (<https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#matching-requests-rules>).

use std::collections::BTreeMap;

use cwii_trust::google::cel;
use serde_json::{Value, json};

use super::{shell, webhook::Webhook};
use crate::doctor::{Case, Gap, Need};

/// A clause that keeps a webhook away from a pod.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Clause {
    /// What kind of clause it is, and its place in the webhook.
    pub(super) kind: Kind,
    pub(super) pointer: String,
    /// The clause, as it would be written for kubectl.
    pub(super) text: String,
    /// What the pod or its namespace has in its place.
    pub(super) found: String,
    /// What would satisfy it: the label's value, or none for no such label.
    mend: Option<(String, Option<String>)>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Rules,
    Namespace,
    Object,
    Condition,
}

/// Label of every namespace with its own name, set by the API server.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Everything that keeps the webhook away from the pod. Nothing if it is called.
pub(super) fn excluding(case: &Case<'_>, webhook: &Webhook<'_>) -> Result<Vec<Clause>, Gap> {
    if let Some(clause) = rules(webhook) {
        return Ok(vec![clause]);
    }
    let mut clauses = namespace(case, webhook)?;
    clauses.extend(object(case, webhook)?);
    if clauses.is_empty() {
        clauses.extend(conditions(case, webhook)?);
    }
    Ok(clauses)
}

impl Clause {
    /// The label of a selector.
    pub(super) fn label(&self) -> Option<&str> {
        self.mend.as_ref().map(|(label, _)| label.as_str())
    }

    /// The command that satisfies it, where a label of namespace or pod template does.
    pub(super) fn command(&self, case: &Case<'_>) -> Option<String> {
        let (label, value) = self.mend.as_ref()?;
        if label == NAME_LABEL {
            return None;
        }
        let namespace = shell(case.namespace_name());
        let pair = match value {
            Some(value) => format!("{} --overwrite", shell(&format!("{label}={value}"))),
            None => format!("{}-", shell(label)),
        };
        match (self.kind, case.top_owner()) {
            (Kind::Namespace, _) => Some(format!("kubectl label namespace {namespace} {pair}")),
            (Kind::Object, Some(owner)) => {
                let path = format!(
                    "/spec/template/metadata/labels/{}",
                    label.replace('~', "~0").replace('/', "~1")
                );
                let operation = match value {
                    Some(value) => json!([{"op": "add", "path": path, "value": value}]),
                    None => json!([{"op": "remove", "path": path}]),
                };
                Some(format!(
                    "kubectl -n {namespace} patch {} {} --type=json -p {}",
                    owner.kind.to_lowercase(),
                    shell(&owner.name),
                    shell(&operation.to_string())
                ))
            }
            _ => None,
        }
    }
}

fn rules(webhook: &Webhook<'_>) -> Option<Clause> {
    let rules: Vec<_> = webhook
        .value
        .get("rules")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .collect();
    let has = |rule: &Value, member: &str, wanted: &[&str]| {
        rule.get(member)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .any(|one| wanted.contains(&one))
    };
    let matches = |rule: &&&Value| {
        has(rule, "operations", &["CREATE", "*"])
            && has(rule, "apiGroups", &["", "*"])
            && has(rule, "apiVersions", &["v1", "*"])
            && has(rule, "resources", &["pods", "*", "*/*"])
            && rule
                .get("scope")
                .and_then(Value::as_str)
                .is_none_or(|scope| scope != "Cluster")
    };
    if rules.iter().any(|rule| matches(&rule)) {
        return None;
    }
    Some(Clause {
        kind: Kind::Rules,
        pointer: webhook.pointer("/rules"),
        text: "`rules`".into(),
        found: "no rule is for CREATE of pods".into(),
        mend: None,
    })
}

fn namespace(case: &Case<'_>, webhook: &Webhook<'_>) -> Result<Vec<Clause>, Gap> {
    let Some(selector) = webhook.value.get("namespaceSelector") else {
        return Ok(Vec::new());
    };
    let name = (NAME_LABEL, case.namespace_name());
    let labels: BTreeMap<&str, &str> = if keys(selector).iter().all(|key| *key == NAME_LABEL) {
        [name].into()
    } else {
        match case.namespace()? {
            Some(object) => object.labels().chain([name]).collect(),
            None => [name].into(),
        }
    };
    unmet(
        selector,
        &labels,
        Kind::Namespace,
        &webhook.pointer("/namespaceSelector"),
    )
}

fn object(case: &Case<'_>, webhook: &Webhook<'_>) -> Result<Vec<Clause>, Gap> {
    let Some(selector) = webhook.value.get("objectSelector") else {
        return Ok(Vec::new());
    };
    unmet(
        selector,
        &case.pod()?.labels().collect(),
        Kind::Object,
        &webhook.pointer("/objectSelector"),
    )
}

/// The labels that a selector speaks of.
fn keys(selector: &Value) -> Vec<&str> {
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    labels
        .into_iter()
        .flatten()
        .map(|(key, _)| key.as_str())
        .chain(
            expressions
                .into_iter()
                .flatten()
                .filter_map(|expression| expression.get("key")?.as_str()),
        )
        .collect()
}

/// The requirements of a label selector that these labels do not meet.
fn unmet(
    selector: &Value,
    labels: &BTreeMap<&str, &str>,
    kind: Kind,
    pointer: &str,
) -> Result<Vec<Clause>, Gap> {
    let mut clauses = Vec::new();
    let found = |key: &str| match labels.get(key) {
        Some(value) => format!("`{key}={value}`"),
        None => format!("no label `{key}`"),
    };
    let exact = selector.get("matchLabels").and_then(Value::as_object);
    for (key, value) in exact.into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        if labels.get(key.as_str()) != Some(&value) {
            clauses.push(Clause {
                kind,
                pointer: format!("{pointer}/matchLabels"),
                text: format!("`{key}={value}`"),
                found: found(key),
                mend: Some((key.clone(), Some(value.to_owned()))),
            });
        }
    }
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    for (index, expression) in expressions.into_iter().flatten().enumerate() {
        let text = |member: &str| expression.get(member).and_then(Value::as_str);
        let key = text("key").unwrap_or_default();
        let values: Vec<_> = expression
            .get("values")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let list = values.join(", ");
        let has = labels.get(key);
        let (met, text, value) = match text("operator") {
            Some("In") => (
                has.is_some_and(|value| values.contains(value)),
                format!("`{key} in ({list})`"),
                values.first().map(|value| (*value).to_owned()),
            ),
            Some("NotIn") => (
                has.is_none_or(|value| !values.contains(value)),
                format!("`{key} notin ({list})`"),
                None,
            ),
            Some("Exists") => (has.is_some(), format!("`{key}`"), Some(String::new())),
            Some("DoesNotExist") => (has.is_none(), format!("`!{key}`"), None),
            other => {
                return Err(Gap::Unknown(
                    Need::Webhooks,
                    format!(
                        "a selector has operator `{}`, which this version does not know",
                        other.unwrap_or_default()
                    ),
                ));
            }
        };
        if !met {
            clauses.push(Clause {
                kind,
                pointer: format!("{pointer}/matchExpressions/{index}"),
                text,
                found: found(key),
                mend: Some((key.to_owned(), value)),
            });
        }
    }
    Ok(clauses)
}

/// The first match condition that is false. One that cannot be evaluated leaves it open, unless another is false.
fn conditions(case: &Case<'_>, webhook: &Webhook<'_>) -> Result<Option<Clause>, Gap> {
    let conditions = webhook
        .value
        .get("matchConditions")
        .and_then(Value::as_array);
    let mut open = None;
    for (index, condition) in conditions.into_iter().flatten().enumerate() {
        let text = |member: &str| condition.get(member).and_then(Value::as_str);
        let expression = text("expression").unwrap_or_default();
        let name = text("name").unwrap_or_default();
        match evaluate(case, expression)? {
            Ok(true) => {}
            Ok(false) => {
                return Ok(Some(Clause {
                    kind: Kind::Condition,
                    pointer: webhook.pointer(&format!("/matchConditions/{index}")),
                    text: format!("match condition `{name}`: `{expression}`"),
                    found: "false for this pod".into(),
                    mend: None,
                }));
            }
            Err(why) => {
                open = open.or(Some(format!(
                    "match condition `{name}` of webhook `{}` cannot be evaluated here ({why}): `{expression}`",
                    webhook.name()
                )));
            }
        }
    }
    match open {
        Some(why) => Err(Gap::Unknown(Need::Webhooks, why)),
        None => Ok(None),
    }
}

/// The value of a condition; the inner error says why it cannot be told.
fn evaluate(case: &Case<'_>, expression: &str) -> Result<Result<bool, String>, Gap> {
    // Who makes the request, and what else belongs to one request alone, is not known afterwards. `has()` of it would be
    // false instead of failing, so the text decides.
    let unknown = [
        "authorizer",
        "oldObject",
        "userInfo",
        "request.uid",
        "request.options",
        "request.name",
    ];
    let text = expression.replace("request.namespace", "");
    if let Some(part) = unknown.iter().find(|part| text.contains(**part)) {
        return Ok(Err(format!("`{part}` is known to the API server alone")));
    }
    let pod = case.pod()?;
    let resource = json!({"group": "", "version": "v1", "resource": "pods"});
    let kind = json!({"group": "", "version": "v1", "kind": "Pod"});
    let request = json!({
        "kind": kind, "requestKind": kind,
        "resource": resource, "requestResource": resource,
        "subResource": "", "requestSubResource": "",
        "namespace": case.namespace_name(),
        "operation": "CREATE",
        "dryRun": false,
    });
    Ok(
        match cel::evaluate(
            expression,
            &[("object", pod.value()), ("request", &request)],
        ) {
            Ok(Value::Bool(value)) => Ok(value),
            Ok(_) => Err("it is neither true nor false".into()),
            Err(error) => Err(error.to_string()),
        },
    )
}
