//! The pod has an ephemeral container, which has no identity.
//!
//! ## What it checks
//!
//! Whether a pod with an identity has containers that `kubectl debug` added.
//!
//! ## Why it matters
//!
//! Webhooks are called when a pod is created, not when it gets a debug container, and a debug container gets the mounts only
//! that it names itself. What is tried in it says nothing about the application's identity.
//!
//! ## How it looks
//!
//! `aws sts get-caller-identity` in the debug container shows the node's role, in the application the right one.
//!
//! ## How to fix it
//!
//! Use `kubectl cwii verify`, which runs a pod of the same ServiceAccount with the injection.
//!
//! ## How to verify the fix
//!
//! Its result names the identity.
//!
//! ## References
//!
//! - Kubernetes, "Ephemeral Containers": <https://kubernetes.io/docs/concepts/workloads/pods/ephemeral-containers/>

use super::{shows, variables};
use crate::{
    doctor::{Case, Gap, MECHANISMS, MechanismKind, Outcome, Rule},
    report::Finding,
};

pub(super) const RULE: Rule = Rule::new("POD22", MECHANISMS, check);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let pod = case.pod()?;
    let mut findings = Vec::new();
    for mechanism in case.mechanisms() {
        if mechanism.kind == MechanismKind::GkeMetadata || !shows(pod, mechanism) {
            continue;
        }
        let Some(variable) = variables(mechanism).first() else {
            continue;
        };
        let bare = pod
            .containers()
            .find(|container| container.list == "ephemeralContainers" && !container.has_variable(variable));
        let Some(container) = bare else { continue };
        findings.push(
            Finding::new(
                "POD22",
                format!(
                    "ephemeral container `{}` has nothing of {}: what is tried in it is not the application's identity",
                    container.name(),
                    mechanism.kind.name()
                ),
            )
            .of(mechanism.provider)
            .at(pod.subject_at(&container.pointer(), format!("ephemeral container `{}`", container.name())))
            .fix("try the exchange with `kubectl cwii verify`, which runs a pod that is injected"),
        );
    }
    Ok(Outcome::of(findings))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::Outcome, rules::fixture::Fixture};

    #[test]
    fn a_pod_without_debug_containers_passes() {
        for fixture in [Fixture::plain(), Fixture::irsa(), Fixture::cwii_all()] {
            assert_eq!(fixture.decide("POD22"), Ok(Outcome::Pass));
        }
    }

    #[test]
    fn a_debug_container_without_an_identity_is_named() {
        let fixture = Fixture::irsa().pod(|pod| {
            pod["spec"]["ephemeralContainers"] = json!([{"name": "debugger-x", "image": "busybox"}]);
        });
        assert_eq!(
            fixture.messages("POD22"),
            ["ephemeral container `debugger-x` has nothing of IRSA: what is tried in it is not the application's identity"]
        );
    }
}
