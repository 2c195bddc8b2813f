//! The webhook's pods are short of processor time or memory.
//!
//! ## What it checks
//!
//! Of the Deployment and the pods behind the webhook's Service: containers whose last end was `OOMKilled`, and limits on
//! processor time below 200m for webhooks other than cwii's.
//!
//! ## Why it matters
//!
//! A webhook is asked in bursts: a node drained, a large Deployment rolled out. A tight limit throttles it in exactly that
//! moment, the API server gives up waiting, and with `failurePolicy: Ignore` some of the burst's pods come up without their
//! identity. A webhook that keeps every ServiceAccount in memory grows with the cluster until it is killed.
//!
//! ## How it looks
//!
//! Some pods of a rollout lack the variables, others of the same rollout have them. The webhook's pods have restarts.
//!
//! ## How to fix it
//!
//! Take the limit on processor time away and leave the request; raise the memory limit. A certificate with an ECDSA key costs
//! a fraction of an RSA key's handshake.
//!
//! ## How to verify the fix
//!
//! `kubectl -n NAMESPACE get pods` shows no further restarts during the next rollout.
//!
//! ## References
//!
//! - Kubernetes, "Resource Management for Pods and Containers":
//!   <https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/>

use serde_json::Value;

use super::{each, shell};
use crate::{
    doctor::{Case, Gap, MechanismKind, Need, Object, Outcome, Rule, known, not_collected},
    report::Finding,
};

pub(super) const RULE: Rule = Rule::new(
    "HOOK09",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
        Need::Webhooks,
        Need::Backends,
    ],
    check,
);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |wish, webhook| {
        let Some(service) = webhook.service() else {
            return Ok(None);
        };
        let backend = case
            .backends()?
            .and_then(|backends| backends.get(&service.to_string()))
            .ok_or_else(|| not_collected(Need::Backends))?;
        let pods = known(&backend.pods, Need::Backends)?.ok_or_else(|| not_collected(Need::Backends))?;
        let namespace = shell(service.namespace);
        let mut findings: Vec<Finding> = pods
            .iter()
            .filter_map(|pod| killed(pod).map(|container| (pod, container)))
            .map(|(pod, container)| {
                Finding::new(
                    "HOOK09",
                    format!(
                        "container `{container}` behind webhook `{}` was killed for want of memory",
                        webhook.name()
                    ),
                )
                .of(wish.mechanism.provider)
                .at(pod.subject())
                .evidence("last end", "OOMKilled")
                .fix("raise the memory limit of the webhook")
                .command(format!(
                    "kubectl -n {namespace} describe pod {}",
                    shell(pod.name())
                ))
            })
            .collect();
        // cwii's own limits were measured with it.
        if wish.mechanism.kind != MechanismKind::Cwii {
            for pod in pods {
                findings.extend(throttled(pod).map(|(pointer, container, limit)| {
                    Finding::new(
                        "HOOK09",
                        format!(
                            "container `{container}` behind webhook `{}` may use {limit} of a processor at most",
                            webhook.name()
                        ),
                    )
                    .of(wish.mechanism.provider)
                    .at(pod.subject_at(&pointer, "limit on processor time"))
                    .compared(limit, "none, or at least 200m")
                    .fix("take the limit on processor time away")
                }));
                if !findings.is_empty() {
                    break;
                }
            }
        }
        Ok(Some(findings))
    })
}

fn killed(pod: &Object) -> Option<&str> {
    pod.list("/status/containerStatuses").find_map(|status| {
        ["/lastState", "/state"]
            .iter()
            .any(|state| {
                status
                    .pointer(&format!("{state}/terminated/reason"))
                    .and_then(Value::as_str)
                    == Some("OOMKilled")
            })
            .then(|| status.get("name").and_then(Value::as_str).unwrap_or_default())
    })
}

fn throttled(pod: &Object) -> Option<(String, String, String)> {
    pod.containers().find_map(|container| {
        let limit = container.value.pointer("/resources/limits/cpu")?.as_str()?;
        (millis(limit)? < 200.0).then(|| {
            (
                format!("{}/resources/limits/cpu", container.pointer()),
                container.name().to_owned(),
                limit.to_owned(),
            )
        })
    })
}

/// Thousandths of a processor, of `100m` or `0.1`.
fn millis(quantity: &str) -> Option<f64> {
    match quantity.strip_suffix('m') {
        Some(millis) => millis.parse().ok(),
        None => quantity.parse::<f64>().ok().map(|whole| whole * 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::{Object, Outcome},
        facts::Fact,
        rules::fixture::Fixture,
    };

    fn of_pod(pod: serde_json::Value) -> Fixture {
        Fixture::wanting()
            .backend(|backend| backend.pods = Fact::Known(vec![Object::new(pod.clone())]))
    }

    #[test]
    fn a_webhook_that_lives_well_passes() {
        assert_eq!(Fixture::wanting().decide("HOOK09"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_killed_container_is_a_warning() {
        let fixture = of_pod(json!({
            "kind": "Pod", "metadata": {"name": "cwii-webhook-1", "namespace": "cwii-system"},
            "status": {"containerStatuses": [
                {"name": "webhook", "lastState": {"terminated": {"reason": "OOMKilled"}}}]},
        }));
        assert_eq!(
            fixture.messages("HOOK09"),
            ["container `webhook` behind webhook `mutate.cwii.dev` was killed for want of memory"]
        );
    }

    #[test]
    fn a_tight_limit_of_another_webhook_is_a_warning() {
        let fixture = Fixture::azure_wanting().backend(|backend| {
            backend.pods = Fact::Known(vec![Object::new(json!({
                "kind": "Pod", "metadata": {"name": "wi-1", "namespace": "kube-system"},
                "spec": {"containers": [{"name": "manager", "resources": {"limits": {"cpu": "100m"}}}]},
            }))]);
        });
        assert_eq!(
            fixture.messages("HOOK09"),
            [
                "container `manager` behind webhook `mutation.azure-workload-identity.io` may use 100m of a processor at most"
            ]
        );
    }
}
