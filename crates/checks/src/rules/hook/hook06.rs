//! The webhook is registered, and nothing answers behind its Service.
//!
//! ## What it checks
//!
//! For webhooks with a Service: that the Service exists and has the port that the webhook names (443 if none), that its
//! EndpointSlices have at least one ready endpoint, and, where there is none, why: its selector picks no pod, the Deployment
//! has no replicas, or the pods are not ready. Webhooks reached by URL have no Service.
//!
//! ## Why it matters
//!
//! With `failurePolicy: Ignore` pods are admitted without their identity for as long as nobody answers: while nodes are
//! replaced, after a scale to zero, when the webhook itself cannot be scheduled. With `Fail` no pod is created, and the
//! controller that wanted it keeps the reason.
//!
//! ## How it looks
//!
//! ```text
//! failed calling webhook "mutation.azure-workload-identity.io": failed to call webhook: Post "https://azure-wi-webhook-webhook-service.kube-system.svc:443/mutate-v1-pod?timeout=10s": no endpoints available for service "azure-wi-webhook-webhook-service"
//! ```
//!
//! ## How to fix it
//!
//! Bring the webhook's pods up: scale the Deployment, correct the Service's selector or port, look at why the pods are not
//! ready. Two replicas and a PodDisruptionBudget keep it answering while nodes come and go. Then restart what was created
//! meanwhile.
//!
//! ## How to verify the fix
//!
//! `kubectl -n NAMESPACE get endpointslices -l kubernetes.io/service-name=SERVICE` shows ready endpoints.
//!
//! ## References
//!
//! - Kubernetes, "EndpointSlices": <https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/>
//! - Kubernetes, "Debug Services": <https://kubernetes.io/docs/tasks/debug/debug-application/debug-service/>

use serde_json::{Value, json};

use super::{
    each,
    failure::{self, Reason},
    shell,
    webhook::{Service, Webhook, Wish},
};
use crate::{
    doctor::{Backend, Case, Gap, Need, Object, Outcome, Rule, known, not_collected},
    facts::Fact,
    report::{Applicability, Finding},
};

pub(super) const RULE: Rule = Rule::new(
    "HOOK06",
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
        Need::Events,
    ],
    check,
);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |wish, webhook| {
        let Some(service) = webhook.service() else {
            return Ok(None);
        };
        match behind(case, wish, webhook, &service) {
            Ok(finding) => Ok(Some(finding.into_iter().collect())),
            Err(gap) => match failure::latest(case, wish, webhook, Reason::Endpoints)? {
                Some(event) => Ok(Some(vec![failure::quoted(
                    Finding::new(
                        "HOOK06",
                        format!("the API server found nobody behind Service {service}"),
                    )
                    .of(wish.mechanism.provider)
                    .at(webhook.subject("/clientConfig/service", "`service`"))
                    .fix("bring the webhook's pods up"),
                    event,
                )])),
                None => Err(gap),
            },
        }
    })
}

fn behind(
    case: &Case<'_>,
    wish: &Wish<'_>,
    webhook: &Webhook<'_>,
    named: &Service<'_>,
) -> Result<Option<Finding>, Gap> {
    let backends = case
        .backends()?
        .ok_or_else(|| not_collected(Need::Backends))?;
    let backend = backends
        .get(&named.to_string())
        .ok_or_else(|| not_collected(Need::Backends))?;
    let found = |message: String| Finding::new("HOOK06", message).of(wish.mechanism.provider);
    let Some(service) = known(&backend.service, Need::Backends)? else {
        return Ok(Some(
            found(format!(
                "Service {named}, which webhook `{}` is reached through, does not exist",
                webhook.name()
            ))
            .at(webhook.subject("/clientConfig/service", "`service`"))
            .fix(wish.family.install),
        ));
    };
    let ports: Vec<i64> = service
        .list("/spec/ports")
        .filter_map(|port| port.get("port")?.as_i64())
        .collect();
    if !ports.contains(&named.port) {
        let finding = found(format!(
            "Service {named} has no port {}, which webhook `{}` is called on",
            named.port,
            webhook.name()
        ))
        .at(webhook.subject("/clientConfig/service", "`service`"))
        .evidence_from("ports", list(&ports), format!("service {named}"));
        let path = webhook.pointer("/clientConfig/service/port");
        return Ok(Some(match ports.as_slice() {
            [only] => finding
                .fix("name the Service's port in the webhook")
                .command(webhook.patch(&json!([{"op": "add", "path": path, "value": only}])))
                .applicable(Applicability::Unsafe),
            _ => finding.fix("name one of the Service's ports in the webhook"),
        }));
    }
    let slices = known(&backend.endpoint_slices, Need::Backends)?
        .ok_or_else(|| not_collected(Need::Backends))?;
    let endpoints: Vec<&Value> = slices
        .iter()
        .flat_map(|slice| slice.list("/endpoints"))
        .collect();
    // Absent means ready (EndpointConditions of the API).
    let ready = |endpoint: &&&Value| {
        endpoint
            .pointer("/conditions/ready")
            .and_then(Value::as_bool)
            .unwrap_or(true)
    };
    if endpoints.iter().filter(ready).count() > 0 {
        return Ok(None);
    }
    let finding = found(format!("Service {named} has no ready endpoint"))
        .at(service.subject())
        .evidence(
            "endpoints",
            match endpoints.len() {
                0 => "none".to_owned(),
                count => format!("{count}, none of them ready"),
            },
        );
    Ok(Some(explained(finding, backend, service, named)))
}

/// Why there is no endpoint, as far as what is known tells.
fn explained(finding: Finding, backend: &Backend, service: &Object, named: &Service<'_>) -> Finding {
    let namespace = shell(named.namespace);
    let deployments: &[Object] = match &backend.deployments {
        Fact::Known(deployments) => deployments,
        _ => &[],
    };
    if let Some(stopped) = deployments
        .iter()
        .find(|deployment| deployment.get("/spec/replicas").and_then(Value::as_i64) == Some(0))
    {
        return finding
            .evidence_from("replicas", "0", format!("deployment {}", stopped.name()))
            .fix("scale the webhook's Deployment up, then restart what was created meanwhile")
            .command(format!(
                "kubectl -n {namespace} scale deployment {} --replicas=2",
                shell(stopped.name())
            ))
            .applicable(Applicability::Safe);
    }
    let selector: Vec<String> = service
        .get("/spec/selector")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    let Fact::Known(pods) = &backend.pods else {
        return finding.fix("bring the webhook's pods up, then restart what was created meanwhile");
    };
    if pods.is_empty() {
        return finding
            .evidence_from(
                "selector",
                format!("{} picks no pod", selector.join(",")),
                format!("service {named}"),
            )
            .fix("make the Service's selector fit the labels of the webhook's pods, or bring these up");
    }
    let mut finding = finding;
    for pod in pods {
        finding = finding.evidence_from("pod", state(pod), pod.name());
    }
    finding
        .fix("see why the webhook's pods are not ready")
        .command(format!(
            "kubectl -n {namespace} describe pods -l {}",
            shell(&selector.join(","))
        ))
}

/// What a pod that is not ready waits for.
fn state(pod: &Object) -> String {
    let reason = pod
        .list("/status/containerStatuses")
        .chain(pod.list("/status/initContainerStatuses"))
        .find_map(|status| {
            status
                .pointer("/state/waiting/reason")
                .or_else(|| status.pointer("/state/terminated/reason"))?
                .as_str()
        });
    let unscheduled = pod
        .list("/status/conditions")
        .find(|condition| {
            condition.get("type").and_then(Value::as_str) == Some("PodScheduled")
                && condition.get("status").and_then(Value::as_str) == Some("False")
        })
        .and_then(|condition| condition.get("message")?.as_str());
    let phase = pod.text("/status/phase").unwrap_or("Unknown");
    match (reason, unscheduled) {
        (Some(reason), _) => format!("{phase}, {reason}"),
        (None, Some(message)) => format!("{phase}, {message}"),
        (None, None) => format!("{phase}, not ready"),
    }
}

fn list(ports: &[i64]) -> String {
    if ports.is_empty() {
        return "none".into();
    }
    ports.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::{Gap, Need, Object, Outcome},
        facts::Fact,
        rules::fixture::{Fixture, edit},
    };

    fn unready() -> Fixture {
        Fixture::wanting().backend(|backend| {
            backend.endpoint_slices = Fact::Known(vec![Object::new(json!({
                "kind": "EndpointSlice",
                "endpoints": [{"addresses": ["10.1.2.3"], "conditions": {"ready": false}}],
            }))]);
        })
    }

    fn evidence(fixture: &Fixture) -> Vec<String> {
        match fixture.decide("HOOK06") {
            Ok(Outcome::Found(findings)) => {
                findings[0].evidence.iter().map(|e| e.value.clone()).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_service_with_a_ready_endpoint_passes() {
        assert_eq!(Fixture::wanting().decide("HOOK06"), Ok(Outcome::Pass));
        let fixture = Fixture::wanting().backend(|backend| {
            backend.endpoint_slices = Fact::Known(vec![Object::new(
                json!({"kind": "EndpointSlice", "endpoints": [{"addresses": ["10.1.2.3"]}]}),
            )]);
        });
        assert_eq!(fixture.decide("HOOK06"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_webhook_reached_by_url_has_no_service() {
        assert!(matches!(
            Fixture::irsa().decide("HOOK06"),
            Ok(Outcome::NotApplicable(_))
        ));
    }

    #[test]
    fn a_service_that_does_not_exist_is_named() {
        let fixture = Fixture::wanting().backend(|backend| backend.service = Fact::Absent);
        assert_eq!(
            fixture.messages("HOOK06"),
            [
                "Service cwii-system/cwii-webhook, which webhook `mutate.cwii.dev` is reached through, does not exist"
            ]
        );
    }

    #[test]
    fn a_port_that_the_service_does_not_have_is_corrected_in_the_webhook() {
        let fixture = Fixture::wanting().backend(|backend| {
            edit(&mut backend.service, |service| {
                service["spec"]["ports"][0]["port"] = json!(8443);
            });
        });
        let Ok(Outcome::Found(findings)) = fixture.decide("HOOK06") else {
            panic!("nothing found");
        };
        assert_eq!(
            findings[0].fix.commands,
            [
                r#"kubectl patch mutatingwebhookconfiguration cwii --type=json -p '[{"op":"add","path":"/webhooks/0/clientConfig/service/port","value":8443}]'"#,
                "kubectl -n shop rollout restart deployment checkout",
            ]
        );
    }

    #[test]
    fn without_a_ready_endpoint_the_reason_is_looked_for() {
        assert_eq!(
            unready().messages("HOOK06"),
            ["Service cwii-system/cwii-webhook has no ready endpoint"]
        );
        let crashing = unready().backend(|backend| {
            backend.pods = Fact::Known(vec![Object::new(json!({
                "kind": "Pod", "metadata": {"name": "cwii-webhook-1", "namespace": "cwii-system"},
                "status": {"phase": "Running",
                    "containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]},
            }))]);
        });
        assert_eq!(
            evidence(&crashing),
            ["1, none of them ready", "Running, CrashLoopBackOff"]
        );
        let nobody = unready().backend(|backend| {
            backend.pods = Fact::Known(Vec::new());
        });
        assert_eq!(
            evidence(&nobody)[1],
            "app.kubernetes.io/name=cwii-webhook picks no pod"
        );
        let stopped = unready().backend(|backend| {
            backend.deployments = Fact::Known(vec![Object::new(
                json!({"kind": "Deployment", "metadata": {"name": "cwii-webhook"}, "spec": {"replicas": 0}}),
            )]);
        });
        let Ok(Outcome::Found(findings)) = stopped.decide("HOOK06") else {
            panic!("nothing found");
        };
        assert_eq!(
            findings[0].fix.commands,
            [
                "kubectl -n cwii-system scale deployment cwii-webhook --replicas=2",
                "kubectl -n shop rollout restart deployment checkout",
            ]
        );
    }

    #[test]
    fn what_cannot_be_read_is_unknown_unless_an_event_tells() {
        let denied = Fixture::wanting()
            .with(|facts| facts.backends = Fact::Denied("get services in namespace cwii-system".into()));
        assert!(matches!(
            denied.decide("HOOK06"),
            Err(Gap::Unknown(Need::Backends, _))
        ));
        let told = denied.with(|facts| {
            facts.events = Fact::Known(vec![Object::new(json!({
                "kind": "Event", "involvedObject": {"kind": "ReplicaSet", "name": "checkout-7d9f8b6c5"},
                "message": "Error creating: Internal error occurred: failed calling webhook \"mutate.cwii.dev\": failed to call webhook: Post \"https://cwii-webhook.cwii-system.svc:443/mutate\": no endpoints available for service \"cwii-webhook\"",
            }))]);
        });
        assert_eq!(
            told.messages("HOOK06"),
            ["the API server found nobody behind Service cwii-system/cwii-webhook"]
        );
    }
}
