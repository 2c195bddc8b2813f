//! Reads the session name that the pod gives to STS.
//!
//! ## What it checks
//!
//! `AWS_ROLE_SESSION_NAME` of every container with a web identity must have 2 to 64 letters, digits or any of `_+=,.@-`. A name
//! that is taken from the pod's own fields (`metadata.name` and the like) is filled in.
//!
//! ## Why it matters
//!
//! The pod's name is a good session name until a Deployment's is so long that with its two suffixes it passes 64 characters. A
//! name with a colon or slash is refused as well.
//!
//! ## How it looks
//!
//! ```text
//! ValidationError: 1 validation error detected: Value '…' at 'roleSessionName' failed to satisfy constraint: Member must have length less than or equal to 64
//! ```
//!
//! ## How to fix it
//!
//! Set a shorter name without other characters, or take the variable away: every SDK makes a name of its own.
//!
//! ## How to verify the fix
//!
//! The session's name shows in `aws sts get-caller-identity`, after the last slash of `Arn`.
//!
//! ## References
//!
//! - AWS STS, "AssumeRoleWithWebIdentity", `RoleSessionName`:
//!   <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>

use cwii_contract::{Provider, env, types::RoleSessionName};
use serde_json::Value;

use super::{NO_WEB_IDENTITY, annotate, restarted, set_variable, web_identities};
use crate::{
    doctor::{Case, Container, Gap, MechanismKind, Need, Object, Outcome, Rule, variable_subject},
    report::{Applicability, Finding},
};

pub(super) const RULE: Rule = Rule::new(
    "AWS15",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
    ],
    check,
)
.blocked_by(&["POD08"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let mechanisms = web_identities(case);
    if mechanisms.is_empty() {
        return Ok(Outcome::not_applicable(NO_WEB_IDENTITY));
    }
    let pod = case.pod()?;
    let asked = mechanisms
        .iter()
        .filter(|mechanism| mechanism.kind == MechanismKind::Cwii)
        .find_map(|mechanism| mechanism.session_name.as_ref()?.subject.clone());
    let mut findings = Vec::new();
    for container in pod.containers() {
        let Some(name) = session_name(case, pod, &container) else {
            continue;
        };
        let Err(error) = name.parse::<RoleSessionName>() else {
            continue;
        };
        let finding = Finding::new("AWS15", error.to_string())
            .of(Provider::Aws)
            .at(variable_subject(pod, &container, env::AWS_ROLE_SESSION_NAME))
            .evidence("length", name.chars().count().to_string())
            .answered(
                "AWS will answer: ValidationError: 1 validation error detected: Value at 'roleSessionName' failed to \
                 satisfy constraint",
            )
            .fix("take the session name away, or set a shorter one of letters and digits")
            .applicable(Applicability::Unsafe);
        let short: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "_+=,.@-".contains(c) { c } else { '-' })
            .take(64)
            .collect();
        let command = match &asked {
            Some(subject) => annotate(case, subject, &short),
            None => set_variable(case, env::AWS_ROLE_SESSION_NAME, None),
        };
        let finding = match command {
            Some(command) => restarted(finding.command(command), case),
            None => finding,
        };
        // All containers have it from one place.
        if findings.is_empty() {
            findings.push(finding);
        }
    }
    Ok(Outcome::of(findings))
}

/// The session name of a container, with fields of the pod filled in; none where it is not set or comes from elsewhere.
fn session_name(case: &Case<'_>, pod: &Object, container: &Container<'_>) -> Option<String> {
    let (_, _, element) = container
        .variables()
        .filter(|(_, name, _)| *name == env::AWS_ROLE_SESSION_NAME)
        .last()?;
    if let Some(value) = element.get("value").and_then(Value::as_str) {
        // References to other variables are filled in by the kubelet; nothing is said about them here.
        return (!value.is_empty() && !value.contains("$(")).then(|| value.to_owned());
    }
    let field = element.pointer("/valueFrom/fieldRef/fieldPath")?.as_str()?;
    let text = match field {
        "metadata.name" if case.is_template() => return None,
        "metadata.name" => pod.name(),
        "metadata.namespace" => case.namespace_name(),
        "metadata.uid" => pod.uid()?,
        "spec.serviceAccountName" => pod.text("/spec/serviceAccountName")?,
        "spec.nodeName" => pod.text("/spec/nodeName")?,
        _ => return None,
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{doctor::Outcome, rules::fixture::Fixture};

    fn with_name(variable: Value) -> Fixture {
        Fixture::irsa().pod(|pod| {
            pod["spec"]["containers"][0]["env"].as_array_mut().unwrap().push(variable);
        })
    }

    #[test]
    fn no_name_and_the_names_of_pods_pass() {
        assert_eq!(Fixture::irsa().decide("AWS15"), Ok(Outcome::Pass));
        let of_pod = with_name(json!({"name": "AWS_ROLE_SESSION_NAME",
            "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}));
        assert_eq!(of_pod.decide("AWS15"), Ok(Outcome::Pass));
        let reference = with_name(json!({"name": "AWS_ROLE_SESSION_NAME", "value": "$(NAMESPACE):$(NAME)"}));
        assert_eq!(reference.decide("AWS15"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_long_pod_name_and_a_colon_are_told() {
        let long = "checkout-with-a-name-that-somebody-made-very-long-7d9f8b6c5-x2x4zabcd";
        let of_pod = with_name(json!({"name": "AWS_ROLE_SESSION_NAME",
            "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}))
        .pod(|pod| pod["metadata"]["name"] = json!(long));
        let finding = of_pod.findings("AWS15").remove(0);
        assert!(finding.message.starts_with(&format!("`{}", &long[..20])), "{}", finding.message);
        assert_eq!(
            finding.fix.commands,
            [
                "kubectl -n shop set env deployment/checkout AWS_ROLE_SESSION_NAME-",
                "kubectl -n shop rollout restart deployment checkout",
            ]
        );
        let colon = with_name(json!({"name": "AWS_ROLE_SESSION_NAME", "value": "shop:checkout"}));
        assert_eq!(colon.findings("AWS15").len(), 1);
    }
}
