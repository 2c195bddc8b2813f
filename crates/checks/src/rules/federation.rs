//! What the rules of all clouds share about mechanisms and trust documents.

use cwii_contract::Provider;
use cwii_trust::{Clause, CloudError, Library, library::Shape};

use crate::{
    doctor::{Case, Gap, Mechanism, Need, Object, Outcome},
    report::{Finding, Subject},
};

/// Asks one question of every mechanism that it concerns.
///
/// What is wrong with one mechanism is said although another could not be looked at; that a workload has none is only said
/// where its ServiceAccount, which may ask for one, was read.
pub(super) fn each<'a>(
    case: &Case<'a>,
    concerns: impl Fn(&Mechanism) -> bool,
    otherwise: &str,
    mut judge: impl FnMut(&'a Mechanism) -> Result<Vec<Finding>, Gap>,
) -> Result<Outcome, Gap> {
    case.pod()?;
    let mut found = Vec::new();
    let (mut gap, mut any) = (None, false);
    for mechanism in case.mechanisms().iter().filter(|one| concerns(one)) {
        any = true;
        match judge(mechanism) {
            Ok(findings) => found.extend(findings),
            Err(missing) => {
                // One that somebody asked for and did not get says more than one that nobody asked for.
                let worse = matches!(missing, Gap::Unknown(..));
                if gap.is_none() || worse {
                    gap = Some(missing);
                }
            }
        }
    }
    if !any {
        case.service_account()?;
        return Ok(Outcome::not_applicable(otherwise));
    }
    match gap {
        Some(gap) if found.is_empty() => Err(gap),
        _ => Ok(Outcome::of(found)),
    }
}

/// A document that a mechanism needs and that was not among those given.
pub(super) fn missing(what: impl std::fmt::Display, command: impl std::fmt::Display) -> Gap {
    Gap::Unknown(
        Need::Trust,
        format!("{what} is not among the trust documents; `{command}` prints it"),
    )
}

/// A place in a trust document.
pub(super) fn document(
    library: &Library,
    shapes: &[Shape],
    kind: &str,
    name: impl Into<String>,
    clause: &Clause,
) -> Subject {
    Subject {
        kind: kind.to_owned(),
        name: name.into(),
        pointer: Some(clause.pointer.clone()),
        what: Some(format!("`{}`", clause.rule)),
        file: library.file_of(shapes).map(str::to_owned),
        ..Subject::default()
    }
}

/// What the cloud says, with its code.
pub(super) fn answer(cloud: &str, error: &CloudError) -> String {
    if error.code.is_empty() || cloud == "Entra" {
        format!("{cloud} will answer: {}", error.message)
    } else {
        format!("{cloud} will answer: {}: {}", error.code, error.message)
    }
}

/// Who set an annotation and when, if the API server knows.
pub(super) fn set_by(finding: Finding, case: &Case<'_>, object: &Object, key: &str) -> Finding {
    let Some(manager) = object.annotation_manager(key) else {
        return finding;
    };
    let age = manager.at.map(|at| {
        let span = case.now().duration_since(at);
        format!(", {} ago", cwii_token::span::humanize(span))
    });
    finding.evidence(
        "set by",
        format!(
            "field manager `{}`{}",
            manager.name,
            age.unwrap_or_default()
        ),
    )
}

/// An argument of a command as a shell takes it.
pub(super) fn quote(argument: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@=,+%".contains(&b);
    if !argument.is_empty() && argument.bytes().all(plain) {
        return argument.to_owned();
    }
    if argument.contains('\'') && !argument.contains(['"', '$', '`', '\\', '!']) {
        return format!("\"{argument}\"");
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

/// The command that makes the pod anew, so that it takes what was changed above it; in words where there is none.
pub(super) fn restart(case: &Case<'_>) -> String {
    let namespace = case.namespace_name();
    match case.top_owner() {
        Some(owner) if ["Deployment", "StatefulSet", "DaemonSet"].contains(&&*owner.kind) => {
            format!(
                "kubectl -n {namespace} rollout restart {} {}",
                owner.kind.to_lowercase(),
                owner.name
            )
        }
        _ => {
            let name = case.pod().map_or("NAME", Object::name);
            format!("kubectl -n {namespace} delete pod {name}")
        }
    }
}

/// The workload that a person edits, as kubectl names it: `deployment/checkout`, or the pod.
pub(super) fn workload(case: &Case<'_>) -> String {
    match case.top_owner() {
        Some(owner) => format!("{}/{}", owner.kind.to_lowercase(), owner.name),
        None => format!("pod/{}", case.pod().map_or("NAME", Object::name)),
    }
}

/// The pointer to the pod's spec in the workload that a person edits.
pub(super) fn template_prefix(case: &Case<'_>) -> &'static str {
    match case.top_owner() {
        Some(owner) if owner.kind == "CronJob" => "/spec/jobTemplate/spec/template",
        Some(_) => "/spec/template",
        None => "",
    }
}

/// Whether a mechanism is of a cloud and exchanges a web token there.
pub(super) fn exchanges(provider: Provider) -> impl Fn(&Mechanism) -> bool {
    move |mechanism| mechanism.provider == provider && mechanism.kind.presents_token()
}

/// The commands that give an annotation another value, on whatever object it stands, and make new pods take it.
pub(super) fn annotate(case: &Case<'_>, subject: &Subject, key: &str, value: &str) -> Vec<String> {
    let namespace = case.namespace_name();
    let setting = quote(&format!("{key}={value}"));
    let kind = subject.kind.to_lowercase();
    let mut commands = match (&*subject.kind, case.top_owner()) {
        ("Namespace", _) => vec![format!(
            "kubectl annotate namespace {} {setting} --overwrite",
            subject.name
        )],
        ("Pod", Some(owner)) => {
            let path = format!(
                "{}/metadata/annotations/{}",
                template_prefix(case),
                crate::doctor::escape(key)
            );
            let patch = serde_json::json!([{"op": "add", "path": path, "value": value}]);
            // The workload makes new pods of itself.
            return vec![format!(
                "kubectl -n {namespace} patch {} {} --type=json -p {}",
                owner.kind.to_lowercase(),
                owner.name,
                quote(&patch.to_string())
            )];
        }
        _ => vec![format!(
            "kubectl -n {namespace} annotate {kind} {} {setting} --overwrite",
            subject.name
        )],
    };
    commands.push(restart(case));
    commands
}

/// Adds commands to a finding.
pub(super) fn with_commands(
    finding: Finding,
    commands: impl IntoIterator<Item = String>,
) -> Finding {
    commands.into_iter().fold(finding, Finding::command)
}
