//! Commands that change what a mechanism was given, wherever that stands.

use crate::{doctor::Case, report::Subject, rules::words::quote};

/// The command that gives an annotation another value, where it stands on an object that can be annotated in place. An
/// annotation of a pod stands in its controller's template.
pub(in crate::rules) fn annotate(
    case: &Case<'_>,
    subject: &Subject,
    value: &str,
) -> Option<String> {
    let pointer = subject.pointer.as_deref()?;
    let key = pointer
        .strip_prefix("/metadata/annotations/")?
        .replace("~1", "/")
        .replace("~0", "~");
    let kind = subject.kind.to_ascii_lowercase();
    let name = quote(&subject.name);
    let pair = quote(&format!("{key}={value}"));
    let namespace = quote(case.namespace_name());
    Some(match (kind.as_str(), case.top_owner()) {
        ("namespace", _) => format!("kubectl annotate namespace {name} {pair} --overwrite"),
        ("pod", Some(owner)) => {
            let patch = serde_json::json!([{
                "op": "replace",
                "path": format!("/spec/template{pointer}"),
                "value": value,
            }]);
            format!(
                "kubectl -n {namespace} patch {} {} --type=json -p {}",
                owner.kind.to_ascii_lowercase(),
                quote(&owner.name),
                quote(&patch.to_string())
            )
        }
        _ => format!("kubectl -n {namespace} annotate {kind} {name} {pair} --overwrite"),
    })
}

/// The command that sets or, without a value, removes a variable in the controller's template; only where that has it, for
/// what a webhook adds is not there.
pub(in crate::rules) fn set_variable(
    case: &Case<'_>,
    name: &str,
    value: Option<&str>,
) -> Option<String> {
    let owner = case.top_owner()?;
    let kind = owner.kind.to_ascii_lowercase();
    let word = match value {
        Some(value) => quote(&format!("{name}={value}")),
        None => format!("{name}-"),
    };
    Some(format!(
        "kubectl -n {} set env {kind}/{} {word}",
        quote(case.namespace_name()),
        quote(&owner.name)
    ))
}
