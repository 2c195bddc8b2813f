//! The proxy sidecar was asked for, and cannot work in this pod.
//!
//! ## What it checks
//!
//! The annotation `azure.workload.identity/inject-proxy-sidecar` on a pod on the host's network, or in a namespace whose Pod
//! Security level (`baseline`, `restricted`) refuses the init container that changes the pod's routes.
//!
//! ## Why it matters
//!
//! The sidecar answers requests for the instance metadata service in the pod's own network, after an init container with
//! `NET_ADMIN` has turned them there. On the host's network it would turn those of the whole node, and where the capability
//! is refused the pod is not created at all.
//!
//! ## How it looks
//!
//! ```text
//! violates PodSecurity "baseline:latest": non-default capabilities (container "azwi-proxy-init" must not include "NET_ADMIN", "NET_RAW" in securityContext.capabilities.add)
//! ```
//!
//! ## How to fix it
//!
//! Use an SDK that knows workload identity, and remove the annotation. The sidecar is meant for the time of migration.
//!
//! ## How to verify the fix
//!
//! The new pod has no container `azwi-proxy`.
//!
//! ## References
//!
//! - Microsoft, "Migrate from pod managed-identity to workload identity":
//!   <https://learn.microsoft.com/azure/aks/workload-identity-migrate-from-pod-identity>
//! - Kubernetes, "Pod Security Standards": <https://kubernetes.io/docs/concepts/security/pod-security-standards/>

use serde_json::json;

use super::{CLUSTER, each};
use crate::{
    doctor::{Case, Gap, Outcome, Rule, azure::PROXY_SIDECAR},
    report::{Applicability, Finding},
    rules::federation::{quote, template_prefix, workload},
};

pub(super) const RULE: Rule = Rule::new("AKS08", CLUSTER, check);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |_| {
        let pod = case.pod()?;
        if pod.annotation(PROXY_SIDECAR) != Some("true") {
            return Ok(Vec::new());
        }
        let on_host = pod.get("/spec/hostNetwork") == Some(&true.into());
        let level = case
            .namespace()?
            .and_then(|namespace| namespace.label("pod-security.kubernetes.io/enforce"))
            .filter(|level| ["baseline", "restricted"].contains(level));
        let message = match (on_host, level) {
            (true, _) => "the proxy sidecar does not work on the host's network".to_owned(),
            (false, Some(level)) => format!(
                "the namespace's Pod Security level `{level}` refuses the proxy sidecar's init container"
            ),
            (false, None) => return Ok(Vec::new()),
        };
        let key = crate::doctor::escape(PROXY_SIDECAR);
        let path = format!("{}/metadata/annotations/{key}", template_prefix(case));
        let patch = json!([{"op": "remove", "path": path}]).to_string();
        Ok(vec![
            Finding::new("AKS08", message)
                .at(pod.subject_annotation(PROXY_SIDECAR))
                .fix("use an SDK that knows workload identity, and remove the annotation")
                .command(format!(
                    "kubectl -n {} patch {} --type=json -p {}",
                    case.namespace_name(),
                    workload(case).replace('/', " "),
                    quote(&patch)
                ))
                .applicable(Applicability::Unsafe),
        ])
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        doctor::Outcome,
        rules::fixture::{Fixture, edit},
    };

    fn asked() -> Fixture {
        Fixture::aks().pod(|pod| {
            pod["metadata"]["annotations"]["azure.workload.identity/inject-proxy-sidecar"] = "true".into();
        })
    }

    #[test]
    fn no_sidecar_and_one_that_can_work_pass() {
        assert_eq!(Fixture::aks().decide("AKS08"), Ok(Outcome::Pass));
        assert_eq!(asked().decide("AKS08"), Ok(Outcome::Pass));
    }

    #[test]
    fn the_hosts_network_and_pod_security_are_named() {
        let fixture = asked().pod(|pod| pod["spec"]["hostNetwork"] = true.into());
        assert_eq!(
            fixture.messages("AKS08"),
            ["the proxy sidecar does not work on the host's network"]
        );
        let fixture = asked().with(|facts| {
            edit(&mut facts.namespace, |namespace| {
                namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = "restricted".into();
            });
        });
        assert_eq!(fixture.messages("AKS08").len(), 1);
    }
}
