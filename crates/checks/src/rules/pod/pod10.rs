//! Variables, token or document are not in a container that should have them.
//!
//! ## What it checks
//!
//! For each mechanism and each container of the template that is not on the mechanism's skip list: that the variables are
//! set, and that the file which a variable names lies inside a mount of the same container, in a volume that has it. This
//! holds for cwii, IRSA, EKS Pod Identity, Google's federation webhook, Azure workload identity, and for wiring that somebody
//! wrote by hand.
//!
//! ## Why it matters
//!
//! The variable, the mount and the volume are three places that have to agree. Charts and hand-made pods often have one or
//! two of them, or a path that moved.
//!
//! ## How it looks
//!
//! ```text
//! [Errno 2] No such file or directory: '/var/run/secrets/eks.amazonaws.com/serviceaccount/token'
//! ```
//!
//! ## How to fix it
//!
//! Restart the workload where a webhook should have injected it. Where it is written by hand, mount the volume at the
//! directory of the path.
//!
//! ## How to verify the fix
//!
//! `kubectl exec POD -- ls -l PATH` shows the file.
//!
//! ## References
//!
//! - Kubernetes, "Projected Volumes", section "serviceAccountToken":
//!   <https://kubernetes.io/docs/concepts/storage/projected-volumes/#serviceaccounttoken>
//! - AWS, "Configure Pods to use a Kubernetes service account":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/pod-configuration.html>

use cwii_contract::Provider;

use super::{is_helper, is_of_template, needs_webhook, shows, skipped, variables};
use crate::{
    doctor::{
        Case, Container, Gap, Mechanism, MechanismKind, Need, Object, Outcome, Rule,
        variable_subject,
    },
    report::{Applicability, Finding},
    rules::words::restarted,
};

pub(super) const RULE: Rule = Rule::new(
    "POD10",
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
    "AKS01", "AKS02", "POD01", "POD02", "POD03", "POD04", "POD05", "POD06", "POD07", "POD08", "POD11", "POD14", "POD15",
    "POD19", "EPI05", "CWII01", "CWII06", "CWII07", "HOOK01", "HOOK02", "HOOK03", "HOOK05", "HOOK06", "HOOK07",
    "HOOK08", "HOOK12", "AKS01",
]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let pod = case.pod()?;
    let mechanisms: Vec<_> = case
        .mechanisms()
        .iter()
        .filter(|mechanism| mechanism.kind != MechanismKind::GkeMetadata)
        .filter(|mechanism| !case.is_template() || mechanism.kind == MechanismKind::Manual)
        .collect();
    if mechanisms.is_empty() {
        return Ok(Outcome::not_applicable("nothing is to be in the pod"));
    }
    let template = case.template();
    let mut findings = Vec::new();
    for mechanism in mechanisms {
        if needs_webhook(mechanism) && !shows(pod, mechanism) {
            // What an association alone asks for is EPI05's.
            if let Some(asked_by) = &mechanism.asked_by {
                let what = asked_by.what.clone().unwrap_or_default();
                findings.push(restarted(
                    Finding::new(
                        "POD10",
                        format!(
                            "nothing of {} is in the pod, though {what} of {} `{}` asks for it",
                            mechanism.kind.name(),
                            asked_by.kind,
                            asked_by.name
                        ),
                    )
                    .of(mechanism.provider)
                    .at(pod.subject())
                    .fix("restart the workload; if new pods lack it too, look at the webhook")
                    .applicable(Applicability::Safe),
                    case,
                ));
            }
            continue;
        }
        let skip = skipped(case, pod, mechanism);
        for container in pod.containers() {
            if is_helper(&container)
                || skip.iter().any(|name| name == container.name())
                || !is_of_template(template.as_ref(), &container)
            {
                continue;
            }
            findings.extend(missing(case, pod, mechanism, &container));
        }
    }
    Ok(Outcome::of(findings))
}

/// The first piece that a container lacks.
fn missing(
    case: &Case<'_>,
    pod: &Object,
    mechanism: &Mechanism,
    container: &Container<'_>,
) -> Option<Finding> {
    let wanted = variables(mechanism);
    let name = container.name();
    let kind = mechanism.kind.name();
    let is_manual = mechanism.kind == MechanismKind::Manual;
    let file = *wanted.first()?;
    // By hand a person chooses the containers.
    if is_manual && !container.has_variable(file) {
        return None;
    }
    // One that has some of Azure's variables and lacks others is AZ09's.
    if mechanism.provider == Provider::Az
        && !container.has_variable(file)
        && wanted.iter().any(|name| container.has_variable(name))
    {
        return None;
    }
    let wanted = match mechanism.provider {
        Provider::Az => &wanted[..1],
        _ => wanted,
    };
    let lacking = wanted.iter().find(|name| !container.has_variable(name));
    if let Some(lacking) = lacking {
        return Some(restarted(
            Finding::new(
                "POD10",
                format!("container `{name}` has no variable `{lacking}`, which {kind} gives"),
            )
            .of(mechanism.provider)
            .at(variable_subject(pod, container, lacking))
            .fix("restart the workload; if new pods lack it too, something takes it away after the webhook")
            .applicable(Applicability::Safe),
            case,
        ));
    }
    let path = container.variable(file)?;
    if path.is_empty() || !path.starts_with('/') {
        return None;
    }
    // A document of the application's own may be in its image.
    if mechanism.provider == Provider::Gcp && !path.starts_with("/var/run/secrets/") {
        return None;
    }
    // What lies in the volume under that name is TOK10's.
    if is_mounted(container, path) {
        return None;
    }
    let finding = Finding::new(
        "POD10",
        format!("`{file}` of container `{name}` is `{path}`, and no volume is mounted there"),
    )
        .of(mechanism.provider)
        .at(variable_subject(pod, container, file))
        .evidence("mounts", mounts(container))
        .fix("mount the volume with the file at that directory");
    Some(if is_manual {
        finding
    } else {
        restarted(finding, case)
    })
}

/// Whether a path lies inside a mount of the container.
fn is_mounted(container: &Container<'_>, path: &str) -> bool {
    container
        .elements("volumeMounts")
        .filter_map(|mount| mount.get("mountPath")?.as_str())
        .any(|at| {
            path.strip_prefix(at.trim_end_matches('/'))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
}

fn mounts(container: &Container<'_>) -> String {
    let paths: Vec<&str> = container
        .elements("volumeMounts")
        .filter_map(|mount| mount.get("mountPath")?.as_str())
        .collect();
    if paths.is_empty() {
        "none".into()
    } else {
        paths.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::Outcome, rules::fixture::{Fixture, edit}};

    #[test]
    fn a_whole_injection_passes() {
        for fixture in [Fixture::irsa(), Fixture::cwii_all(), Fixture::cwii_gcp_impersonated()] {
            assert_eq!(fixture.decide("POD10"), Ok(Outcome::Pass));
        }
    }

    #[test]
    fn an_injection_that_is_not_there_at_all_is_told_with_what_asks_for_it() {
        let mut fixture = Fixture::irsa();
        fixture.facts.pod = Fixture::plain().facts.pod;
        assert_eq!(
            fixture.messages("POD10"),
            ["nothing of IRSA is in the pod, though annotation `eks.amazonaws.com/role-arn` of ServiceAccount `checkout` \
              asks for it"]
        );
    }

    #[test]
    fn a_variable_that_is_gone_is_named() {
        let fixture = Fixture::irsa().pod(|pod| {
            let env = pod["spec"]["containers"][0]["env"].as_array_mut().unwrap();
            env.retain(|variable| variable["name"] != "AWS_ROLE_ARN");
        });
        assert_eq!(
            fixture.messages("POD10"),
            ["container `app` has no variable `AWS_ROLE_ARN`, which IRSA gives"]
        );
    }

    #[test]
    fn a_path_outside_of_every_mount_is_named() {
        let fixture = Fixture::irsa().pod(|pod| pod["spec"]["containers"][0]["volumeMounts"] = json!([]));
        assert_eq!(
            fixture.messages("POD10"),
            ["`AWS_WEB_IDENTITY_TOKEN_FILE` of container `app` is \
              `/var/run/secrets/eks.amazonaws.com/serviceaccount/token`, and no volume is mounted there"]
        );
    }

    #[test]
    fn containers_on_the_skip_list_and_those_that_came_later_are_left_alone() {
        let second = json!({"name": "worker", "image": "x"});
        let fixture = Fixture::irsa()
            .pod(|pod| {
                pod["metadata"]["annotations"] = json!({"eks.amazonaws.com/skip-containers": "worker"});
                let containers = pod["spec"]["containers"].as_array_mut().unwrap();
                containers.push(second.clone());
                containers.push(json!({"name": "vault-agent", "image": "x"}));
            })
            .with(|facts| {
                for owner in &mut facts.owners {
                    edit(&mut owner.object, |object| {
                        object["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().push(second.clone());
                    });
                }
            });
        assert_eq!(fixture.decide("POD10"), Ok(Outcome::Pass));
        let listed = fixture.pod(|pod| pod["metadata"]["annotations"] = json!({}));
        assert_eq!(
            listed.messages("POD10"),
            ["container `worker` has no variable `AWS_WEB_IDENTITY_TOKEN_FILE`, which IRSA gives"]
        );
    }
}
