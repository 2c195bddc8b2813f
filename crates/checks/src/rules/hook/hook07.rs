//! The API server cannot reach the webhook's pods.
//!
//! ## What it checks
//!
//! Events of the pod and its controllers about a failed call of the webhook that ended in a timeout, a refused or broken
//! connection, or `EOF`. Certificates are HOOK05, missing endpoints HOOK06.
//!
//! ## Why it matters
//!
//! The call comes from the control plane, which in managed clusters stands outside the cluster's network. A firewall that
//! lets it reach the kubelets only, an overlay network that it has no route into, or a NetworkPolicy on the webhook's
//! namespace stops it, although every pod can reach the Service.
//!
//! ## How it looks
//!
//! ```text
//! failed calling webhook "mutate.cwii.dev": failed to call webhook: Post "https://cwii-webhook.cwii-system.svc:443/mutate?timeout=10s": context deadline exceeded
//! ```
//!
//! ## How to fix it
//!
//! Let the control plane reach the port that the webhook's pods listen on (the Service's `targetPort`). On private GKE
//! clusters this is a firewall rule from the control plane's range. With an overlay network on EKS the pods need
//! `hostNetwork: true`. A NetworkPolicy of the webhook's namespace has to admit the port from everywhere.
//!
//! ## How to verify the fix
//!
//! `kubectl -n NAMESPACE run probe --image=registry.k8s.io/pause --dry-run=server` ends quickly, and no further events come.
//!
//! ## References
//!
//! - Google, "Add firewall rules for specific use cases":
//!   <https://cloud.google.com/kubernetes-engine/docs/how-to/private-clusters#add_firewall_rules>
//! - Kubernetes, "Dynamic Admission Control", "Availability":
//!   <https://kubernetes.io/docs/concepts/cluster-administration/admission-webhooks-good-practices/>

use super::{
    each,
    failure::{self, Reason},
};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    facts::Fact,
    report::Finding,
};

pub(super) const RULE: Rule = Rule::new(
    "HOOK07",
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
)
// A webhook whose pods are away refuses connections as well.
.blocked_by(&["HOOK05", "HOOK06"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |wish, webhook| {
        let Some(event) = failure::latest(case, wish, webhook, Reason::Network)? else {
            // Without events nothing was seen to go wrong; whether it would is not known.
            return match case.events()? {
                Some(_) => Ok(Some(Vec::new())),
                None => Ok(None),
            };
        };
        let mut finding = failure::quoted(
            Finding::new(
                "HOOK07",
                format!(
                    "the API server does not reach webhook `{}` in time",
                    webhook.name()
                ),
            )
            .of(wish.mechanism.provider)
            .at(webhook.subject("/clientConfig", "`clientConfig`")),
            event,
        );
        if let Some(service) = webhook.service() {
            let backend = match &case.look(Need::Backends).backends {
                Fact::Known(backends) => backends.get(&service.to_string()),
                _ => None,
            };
            if let Some(Fact::Known(object)) = backend.map(|backend| &backend.service) {
                let target = object
                    .list("/spec/ports")
                    .find(|port| port.get("port").and_then(serde_json::Value::as_i64) == Some(service.port))
                    .and_then(|port| port.get("targetPort"));
                if let Some(target) = target {
                    finding = finding.evidence_from(
                        "target port",
                        target.to_string().trim_matches('"'),
                        format!("service {service}"),
                    );
                }
            }
        }
        Ok(Some(vec![finding.fix(
            "let the control plane reach the port that the webhook's pods listen on: firewall, NetworkPolicy, or `hostNetwork` where the pod network is closed to it",
        )]))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::{Object, Outcome},
        facts::Fact,
        rules::fixture::Fixture,
    };

    fn told(message: &str) -> Fixture {
        let message = format!("Error creating: Internal error occurred: {message}");
        Fixture::wanting().with(|facts| {
            facts.events = Fact::Known(vec![Object::new(json!({
                "kind": "Event", "involvedObject": {"kind": "ReplicaSet", "name": "checkout-7d9f8b6c5"},
                "lastTimestamp": "2026-11-22T11:59:00Z", "message": message,
            }))]);
        })
    }

    #[test]
    fn without_such_events_it_passes() {
        assert_eq!(Fixture::wanting().decide("HOOK07"), Ok(Outcome::Pass));
        assert_eq!(
            told("failed calling webhook \"other.example.com\": context deadline exceeded")
                .decide("HOOK07"),
            Ok(Outcome::Pass)
        );
    }

    #[test]
    fn a_timeout_is_quoted_with_the_port_to_open() {
        let fixture = told(
            "failed calling webhook \"mutate.cwii.dev\": failed to call webhook: Post \"https://cwii-webhook.cwii-system.svc:443/mutate?timeout=10s\": context deadline exceeded",
        );
        assert_eq!(
            fixture.messages("HOOK07"),
            ["the API server does not reach webhook `mutate.cwii.dev` in time"]
        );
        let Ok(Outcome::Found(findings)) = fixture.decide("HOOK07") else {
            panic!("nothing found");
        };
        assert_eq!(findings[0].evidence[1].value, "https");
    }
}
