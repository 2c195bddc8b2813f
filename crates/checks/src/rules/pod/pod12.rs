//! A container that was added after the injection has no identity.
//!
//! ## What it checks
//!
//! For a pod that a webhook injected: containers that the template does not have, and that lack the variables which the others
//! got. Proxies of service meshes, which ask no cloud, and containers on the skip list are not meant.
//!
//! ## Why it matters
//!
//! Webhooks run one after the other. A container that a later one adds is seen by an earlier one only if that one asks to be
//! called again.
//!
//! ## How it looks
//!
//! The sidecar that uploads logs or fetches secrets finds no credentials; the application beside it does.
//!
//! ## How to fix it
//!
//! Set `reinvocationPolicy: IfNeeded` on the identity webhook, or put the container on the skip list if it needs no identity.
//!
//! ## How to verify the fix
//!
//! The container of a new pod has the variables.
//!
//! ## References
//!
//! - Kubernetes, "Dynamic Admission Control", section "Reinvocation policy":
//!   <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#reinvocation-policy>

use super::{is_helper, is_of_template, needs_webhook, shows, skipped, variables};
use crate::{
    doctor::{Case, Gap, MECHANISMS, Outcome, Rule},
    report::Finding,
};

pub(super) const RULE: Rule = Rule::new("POD12", MECHANISMS, check).blocked_by(&["POD03", "POD10", "CWII01"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let pod = case.pod()?;
    let template = case.template();
    if case.is_template() || template.is_none() {
        return Ok(Outcome::not_applicable("there is no template to compare a pod with"));
    }
    let mut findings = Vec::new();
    for mechanism in case.mechanisms().iter().filter(|mechanism| needs_webhook(mechanism)) {
        if !shows(pod, mechanism) {
            continue;
        }
        let skip = skipped(case, pod, mechanism);
        let Some(variable) = variables(mechanism).first() else {
            continue;
        };
        for container in pod.containers() {
            if is_helper(&container)
                || is_of_template(template.as_ref(), &container)
                || skip.iter().any(|name| name == container.name())
                || container.has_variable(variable)
            {
                continue;
            }
            findings.push(
                Finding::new(
                    "POD12",
                    format!(
                        "container `{}` was added by another webhook and has nothing of {}",
                        container.name(),
                        mechanism.kind.name()
                    ),
                )
                .of(mechanism.provider)
                .at(pod.subject_at(&container.pointer(), format!("container `{}`", container.name())))
                .fix("set `reinvocationPolicy: IfNeeded` on the identity webhook, or put the container on its skip list"),
            );
        }
    }
    Ok(Outcome::of(findings))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::Outcome, rules::fixture::Fixture};

    fn beside(fixture: Fixture, name: &str) -> Fixture {
        fixture.pod(|pod| {
            pod["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": name, "image": "x"}));
        })
    }

    #[test]
    fn proxies_of_a_mesh_need_no_identity() {
        for fixture in [Fixture::irsa(), Fixture::cwii_all(), beside(Fixture::irsa(), "istio-proxy")] {
            assert_eq!(fixture.decide("POD12"), Ok(Outcome::Pass));
        }
    }

    // azure-workload-identity#791
    #[test]
    fn another_sidecar_that_came_later_is_found() {
        assert_eq!(
            beside(Fixture::irsa(), "vault-agent").messages("POD12"),
            ["container `vault-agent` was added by another webhook and has nothing of IRSA"]
        );
    }

    #[test]
    fn a_bare_pod_has_nothing_to_compare_with() {
        let bare = beside(Fixture::irsa(), "daprd").with(|facts| facts.owners.clear());
        assert!(matches!(bare.decide("POD12"), Ok(Outcome::NotApplicable(_))));
    }
}
