//! Looks for containers whose SDK goes on to the node's role because it finds no credentials of its own.
//!
//! ## What it checks
//!
//! A pod that asks for a role and whose containers have none of it (no web identity, no Pod Identity, no keys), on an EC2
//! instance, where nothing turns the instance metadata service off. Whether it answers depends on the hop limit, which is not
//! seen from here; a pod on the host's network always reaches it. Pods on Fargate have none.
//!
//! ## Why it matters
//!
//! SDKs end with the instance metadata service. What was meant to be one narrow role silently becomes the node's, with
//! permissions that nobody gave to the workload, or calls fail for a role that nobody recognises. The cause is why the identity
//! is not in the pod, which other checks tell.
//!
//! ## How it looks
//!
//! ```text
//! AccessDenied: User: arn:aws:sts::111122223333:assumed-role/NodeInstanceRole/i-0123456789abcdef0 is not authorized
//! ```
//!
//! ## How to fix it
//!
//! Mend what keeps the identity from the pod. Beside that limit the metadata service to one hop, so that a fault like this one
//! fails instead of becoming somebody else.
//!
//! ## How to verify the fix
//!
//! `aws sts get-caller-identity` in the container names the expected role.
//!
//! ## References
//!
//! - Amazon EC2, "Use the Instance Metadata Service to access instance metadata":
//!   <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html>
//! - Amazon EKS best practices, "Identity and Access Management", restrict access to the instance profile:
//!   <https://docs.aws.amazon.com/eks/latest/best-practices/identity-and-access-management.html>

use cwii_contract::{Provider, env};

use super::restarted;
use crate::{
    doctor::{Case, Container, Gap, Need, Outcome, Rule},
    report::Finding,
};

pub(super) const RULE: Rule = Rule::new(
    "AWS20",
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
.blocked_by(&[
    "POD01", "POD02", "POD03", "POD04", "POD05", "POD06", "POD08", "POD10", "POD11", "POD15", "POD21", "CWII01",
    "CWII06", "CWII07", "HOOK01", "HOOK02", "HOOK04", "HOOK05", "HOOK06", "HOOK08",
    "HOOK12", "HOOK13", "EPI05",
    "EPI06",
]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let asked: Vec<_> = case
        .mechanisms()
        .iter()
        .filter(|mechanism| mechanism.provider == Provider::Aws)
        .collect();
    if asked.is_empty() {
        return Ok(Outcome::not_applicable("the pod asks for nothing of AWS"));
    }
    if case.is_template() {
        return Ok(Outcome::not_applicable("nothing runs yet"));
    }
    let pod = case.pod()?;
    // Containers that were left out on purpose are another matter.
    if asked.iter().any(|mechanism| mechanism.injected) {
        return Ok(Outcome::Pass);
    }
    let bare: Vec<Container<'_>> = pod
        .containers()
        .filter(|container| container.list == "containers" && falls_through(container))
        .collect();
    if bare.is_empty() {
        return Ok(Outcome::Pass);
    }
    let Some(node) = case.node()? else {
        return Ok(Outcome::not_applicable("the pod is on no node"));
    };
    let is_ec2 = node
        .text("/spec/providerID")
        .is_some_and(|id| id.starts_with("aws://") && id.contains("/i-"));
    if !is_ec2 {
        return Ok(Outcome::not_applicable(
            "the node is no EC2 instance, so there is no role of its own to fall back to",
        ));
    }
    let names: Vec<String> = bare.iter().map(|c| format!("`{}`", c.name())).collect();
    let on_host = pod.get("/spec/hostNetwork").and_then(|flag| flag.as_bool()) == Some(true);
    let finding = Finding::new(
        "AWS20",
        if on_host {
            "without an identity of its own the pod takes the node's role: it is on the host's network"
        } else {
            "without an identity of its own the pod takes the node's role where the hop limit lets it"
        },
    )
    .warning()
    .of(Provider::Aws)
    .at(pod.subject())
    .evidence("containers", names.join(", "))
    .evidence("node", node.name())
    .fix("mend what keeps the identity from the pod, and limit the instance metadata service to one hop");
    Ok(Outcome::Found(vec![restarted(finding, case)]))
}

/// Whether an SDK in it finds nothing before the instance metadata service.
fn falls_through(container: &Container<'_>) -> bool {
    let found_first = [
        env::AWS_WEB_IDENTITY_TOKEN_FILE,
        env::AWS_CONTAINER_CREDENTIALS_FULL_URI,
        env::AWS_CONTAINER_CREDENTIALS_RELATIVE_URI,
        env::AWS_ACCESS_KEY_ID,
        "AWS_PROFILE",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
    ];
    let off = container
        .variable("AWS_EC2_METADATA_DISABLED")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"));
    // What comes from a ConfigMap or Secret may be any of them.
    !off && container.elements("envFrom").next().is_none()
        && !found_first.iter().any(|name| container.has_variable(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        catalogue::Severity,
        doctor::Outcome,
        rules::fixture::{Fixture, edit},
    };

    fn missed() -> Fixture {
        Fixture::irsa()
            .pod(|pod| {
                pod["spec"]["volumes"] = json!([]);
                pod["spec"]["containers"][0]["env"] = json!([]);
                pod["spec"]["containers"][0]["volumeMounts"] = json!([]);
            })
            .with(|facts| {
                edit(&mut facts.node, |node| {
                    node["spec"] = json!({"providerID": "aws:///eu-central-1a/i-0123456789abcdef0"});
                });
            })
    }

    #[test]
    fn an_injected_pod_passes() {
        assert_eq!(Fixture::irsa().decide("AWS20"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_pod_that_was_missed_falls_back_to_its_node() {
        let findings = missed().findings("AWS20");
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].severity(), Severity::Warning);
        let on_host = missed().pod(|pod| pod["spec"]["hostNetwork"] = json!(true));
        assert!(on_host.messages("AWS20")[0].ends_with("it is on the host's network"));
    }

    #[test]
    fn where_there_is_no_metadata_service_nothing_falls_back() {
        let elsewhere = missed().with(|facts| {
            edit(&mut facts.node, |node| node["spec"]["providerID"] = json!("kind://docker/kind/kind-worker"));
        });
        assert!(matches!(elsewhere.decide("AWS20"), Ok(Outcome::NotApplicable(_))));
        let off = missed().pod(|pod| {
            pod["spec"]["containers"][0]["env"] = json!([{"name": "AWS_EC2_METADATA_DISABLED", "value": "true"}]);
        });
        assert_eq!(off.decide("AWS20"), Ok(Outcome::Pass));
    }
}
