//! The pod runs on Windows and does not say so where webhooks look.
//!
//! ## What it checks
//!
//! A pod on a Windows node, or with `spec.os.name: windows`, that an identity webhook took for a Linux pod: cwii's init
//! containers are in it, or EKS gave it although no `nodeSelector` names the system.
//!
//! ## Why it matters
//!
//! A webhook sees the pod before it has a node. EKS goes by the `nodeSelector` alone; cwii also by `spec.os.name` and by
//! required node affinity. Where none of them says Windows, the pod gets Linux paths and Linux containers.
//!
//! ## How it looks
//!
//! ```text
//! no matching manifest for windows/amd64 in the manifest list entries
//! ```
//!
//! ## How to fix it
//!
//! Set `nodeSelector: {kubernetes.io/os: windows}` in the pod template.
//!
//! ## How to verify the fix
//!
//! A new pod has no init containers of cwii, and the token's path exists in it.
//!
//! ## References
//!
//! - Kubernetes, "Guide for Running Windows Containers in Kubernetes":
//!   <https://kubernetes.io/docs/concepts/windows/user-guide/>

use cwii_contract::{Provider, names};
use serde_json::{Value, json};

use crate::{
    doctor::{Case, Gap, MECHANISMS, MechanismKind, Outcome, Rule},
    report::{Applicability, Finding},
    rules::words::{Place, patch},
};

pub(super) const RULE: Rule = Rule::new("POD19", MECHANISMS, check);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    const WINDOWS: &str = "windows";
    const OS: &str = "kubernetes.io/os";
    let pod = case.pod()?;
    let selector = pod
        .get("/spec/nodeSelector")
        .and_then(|selector| selector.get(OS))
        .and_then(Value::as_str);
    let declared = pod.text("/spec/os/name") == Some(WINDOWS);
    let on_node = matches!(case.node(), Ok(Some(node)) if node.label(OS) == Some(WINDOWS));
    if !declared && !on_node {
        return Ok(Outcome::not_applicable("the pod does not run on Windows"));
    }
    if selector == Some(WINDOWS) {
        return Ok(Outcome::Pass);
    }
    let has_init = pod.containers().any(|container| {
        container.is_init()
            && (container.name() == names::GCP_CREDENTIALS_WRITER
                || Provider::ALL
                    .iter()
                    .any(|provider| container.name() == names::verify_container(*provider)))
    });
    let findings = case
        .mechanisms()
        .iter()
        .filter(|mechanism| match mechanism.kind {
            MechanismKind::Cwii => has_init,
            MechanismKind::Irsa => mechanism.injected,
            _ => false,
        })
        .map(|mechanism| {
            let finding = Finding::new(
                "POD19",
                format!(
                    "the pod runs on Windows, and {} took it for a Linux pod: `nodeSelector` does not name the system",
                    mechanism.kind.name()
                ),
            )
            .of(mechanism.provider)
            .at(pod.subject_at("/spec/nodeSelector", "`nodeSelector`"))
            .fix("set `nodeSelector: {kubernetes.io/os: windows}` in the pod template");
            match Place::of_pod(case) {
                Some(Place {
                    object,
                    template: Some(template),
                }) => {
                    let path = format!("{template}/spec/nodeSelector");
                    let operations = if object.get(&path).is_some() {
                        json!([{"op": "add", "path": format!("{path}/kubernetes.io~1os"), "value": WINDOWS}])
                    } else {
                        json!([{"op": "add", "path": path, "value": {OS: WINDOWS}}])
                    };
                    finding
                        .command(patch(object, &operations))
                        .applicable(Applicability::Safe)
                }
                _ => finding,
            }
        })
        .collect();
    Ok(Outcome::of(findings))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::Outcome, rules::fixture::{Fixture, edit}};

    fn on_windows(fixture: Fixture) -> Fixture {
        fixture.with(|facts| {
            edit(&mut facts.node, |node| node["metadata"]["labels"]["kubernetes.io/os"] = json!("windows"));
        })
    }

    #[test]
    fn a_pod_that_selects_windows_passes() {
        let fixture = on_windows(Fixture::irsa())
            .pod(|pod| pod["spec"]["nodeSelector"] = json!({"kubernetes.io/os": "windows"}));
        assert_eq!(fixture.decide("POD19"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_pod_that_landed_on_windows_with_init_containers_of_linux_is_found() {
        let fixture = on_windows(Fixture::cwii_aws());
        assert_eq!(
            fixture.messages("POD19"),
            ["the pod runs on Windows, and cwii took it for a Linux pod: `nodeSelector` does not name the system"]
        );
    }

    #[test]
    fn a_linux_pod_does_not_concern_it() {
        assert!(matches!(Fixture::irsa().decide("POD19"), Ok(Outcome::NotApplicable(_))));
    }
}
