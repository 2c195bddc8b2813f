//! Events say why the pod is not created or not started.
//!
//! ## What it checks
//!
//! Warnings about the pod and about its controllers: `FailedCreate` of a ReplicaSet or Job that is newer than the pod, and
//! `FailedMount` of a pod that does not run. They are quoted as they stand.
//!
//! ## Why it matters
//!
//! A pod that an admission webhook, a quota or a missing ServiceAccount refuses does not exist, so that there is nothing to
//! describe. The reason stands on the ReplicaSet or Job, where few look.
//!
//! ## How it looks
//!
//! ```text
//! Error creating: Internal error occurred: failed calling webhook "mutate.cwii.dev": failed to call webhook: Post "https://cwii-webhook.cwii-system.svc:443/mutate?timeout=5s": no endpoints available for service "cwii-webhook"
//! ```
//!
//! ## How to fix it
//!
//! What the quoted text says. The controller tries again by itself, after a while.
//!
//! ## How to verify the fix
//!
//! `kubectl get events --field-selector reason=FailedCreate` shows no new ones, and pods appear.
//!
//! ## References
//!
//! - Kubernetes, "Debug Pods": <https://kubernetes.io/docs/tasks/debug/debug-application/debug-pods/>
//! - Kubernetes, "Dynamic Admission Control", section "Failure policy":
//!   <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#failure-policy>

use cwii_contract::types::shorten_to;
use jiff::{SignedDuration, Timestamp};

use crate::{
    doctor::{Case, Gap, Need, Object, Outcome, Rule},
    report::Finding,
    rules::words::ago,
};

pub(super) const RULE: Rule = Rule::new("POD21", &[Need::Pod, Need::Owners, Need::Events], check)
    .blocked_by(&[
        "POD02", "POD14", "POD17", "POD20", "CWII06", "HOOK05", "HOOK06", "HOOK07", "HOOK08",
    ]);

/// Events live for an hour unless the API server is told otherwise.
const RECENT: SignedDuration = SignedDuration::from_hours(1);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let pod = case.pod()?;
    let events = case.events()?.map(Vec::as_slice).unwrap_or_default();
    let is_running = pod.text("/status/phase") == Some("Running");
    let mut findings: Vec<(Timestamp, Finding)> = Vec::new();
    for event in events {
        let reason = event.text("/reason").unwrap_or_default();
        let (kind, name) = about(event);
        let at = last_seen(event).unwrap_or(case.now());
        if case.now().duration_since(at) > RECENT {
            continue;
        }
        let is_of_pod = kind == "Pod" && name == pod.name() && !case.is_template();
        let concerns = match reason {
            "FailedMount" | "FailedAttachVolume" => is_of_pod && !is_running,
            "FailedCreate" => {
                case.owners().iter().any(|owner| {
                    let is_it = owner.kind == kind && owner.name == name;
                    is_it || (case.is_template() && is_between(&owner.kind, &owner.name, kind, name))
                }) && (case.is_template() || pod.created().is_none_or(|created| at > created))
            }
            _ => false,
        };
        if !concerns {
            continue;
        }
        let message = event
            .text("/message")
            .or_else(|| event.text("/note"))
            .unwrap_or_default();
        let mut finding = Finding::new(
            "POD21",
            format!("{reason} of {kind} `{name}`: {}", shorten_to(message.trim(), 400)),
        )
        .at(event.subject())
        .evidence("last seen", ago(case, at))
        .fix(help(message));
        if let Some(count) = event.get("/count").and_then(serde_json::Value::as_i64) {
            finding = finding.evidence("count", count.to_string());
        }
        findings.push((at, finding));
    }
    // Of several that say the same of one object the latest is enough.
    findings.sort_by_key(|(at, finding)| (std::cmp::Reverse(*at), finding.message.clone()));
    let mut seen = Vec::new();
    findings.retain(|(_, finding)| {
        let is_new = !seen.contains(&finding.message);
        seen.push(finding.message.clone());
        is_new
    });
    Ok(Outcome::of(
        findings.into_iter().take(3).map(|(_, finding)| finding).collect(),
    ))
}

fn about(event: &Object) -> (&str, &str) {
    let text = |member: &str| {
        event
            .text(&format!("/involvedObject/{member}"))
            .or_else(|| event.text(&format!("/regarding/{member}")))
            .unwrap_or_default()
    };
    (text("kind"), text("name"))
}

/// Whether something stands between a workload without pods and the pods that it cannot make.
fn is_between(owner_kind: &str, owner: &str, kind: &str, name: &str) -> bool {
    matches!((owner_kind, kind), ("Deployment", "ReplicaSet") | ("CronJob", "Job"))
        && name.strip_prefix(owner).is_some_and(|rest| rest.starts_with('-'))
}

fn last_seen(event: &Object) -> Option<Timestamp> {
    ["/series/lastObservedTime", "/lastTimestamp", "/deprecatedLastTimestamp", "/eventTime", "/metadata/creationTimestamp"]
        .into_iter()
        .find_map(|pointer| event.text(pointer)?.parse().ok())
}

/// What the text asks for, by the words that the API server and the kubelet use.
fn help(message: &str) -> &'static str {
    let has = |text: &str| message.contains(text);
    if has("failed calling webhook") {
        if has("x509") {
            "mend the webhook's certificate or its `caBundle`"
        } else if has("no endpoints available") {
            "bring the webhook's pods up"
        } else {
            "let the API server reach the webhook: firewall, network policy, or a webhook that is too slow"
        }
    } else if has("denied the request") {
        "correct what the webhook names"
    } else if has("serviceaccount") && has("not found") {
        "create the ServiceAccount"
    } else if has("exceeded quota") || has("usage per Container") {
        "raise the quota or the limits, or lower the resources of injected containers"
    } else if has("violates PodSecurity") {
        "give the containers the security context that the namespace asks for"
    } else if has("expirationSeconds") || has("expiration") {
        "ask for a token lifetime that the API server allows"
    } else if has("configmap") && has("not found") {
        "create the ConfigMap, or let the webhook write it again by starting a new pod"
    } else {
        "mend what the text names"
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

    fn event(reason: &str, kind: &str, name: &str, time: &str, message: &str) -> Object {
        Object::new(json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "shop"},
            "type": "Warning", "reason": reason, "message": message, "count": 7, "lastTimestamp": time,
            "involvedObject": {"kind": kind, "name": name}}))
    }

    fn with(events: Vec<Object>) -> Fixture {
        Fixture::plain().with(|facts| facts.events = Fact::Known(events))
    }

    const WEBHOOK: &str = "Error creating: Internal error occurred: failed calling webhook \"mutate.cwii.dev\": no endpoints \
                           available for service \"cwii-webhook\"";

    #[test]
    fn no_events_pass() {
        assert_eq!(with(Vec::new()).decide("POD21"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_replica_set_that_cannot_create_pods_is_quoted() {
        let fixture = with(vec![event("FailedCreate", "ReplicaSet", "checkout-7d9f8b6c5", "2026-11-22T11:50:00Z", WEBHOOK)]);
        let Ok(Outcome::Found(findings)) = fixture.decide("POD21") else {
            panic!()
        };
        assert_eq!(
            findings[0].message,
            format!("FailedCreate of ReplicaSet `checkout-7d9f8b6c5`: {WEBHOOK}")
        );
        assert_eq!(findings[0].fix.summary, "bring the webhook's pods up");
    }

    #[test]
    fn what_was_before_the_pod_is_over() {
        let fixture = with(vec![event("FailedCreate", "ReplicaSet", "checkout-7d9f8b6c5", "2026-11-22T09:59:00Z", WEBHOOK)]);
        assert_eq!(fixture.decide("POD21"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_mount_that_failed_matters_while_the_pod_does_not_run() {
        let failed = event("FailedMount", "Pod", "checkout-7d9f8b6c5-x2x4z", "2026-11-22T11:59:00Z",
            "MountVolume.SetUp failed for volume \"cwii-gcp-creds\" : configmap \"cwii-gcp-creds-0123456789ab\" not found");
        assert_eq!(with(vec![failed.clone()]).decide("POD21"), Ok(Outcome::Pass));
        let pending = with(vec![failed]).pod(|pod| pod["status"] = json!({"phase": "Pending"}));
        assert_eq!(pending.messages("POD21").len(), 1);
    }

    #[test]
    fn a_workload_without_pods_is_told_by_its_replica_sets() {
        let fixture = with(vec![event("FailedCreate", "ReplicaSet", "checkout-5c9", "2026-11-22T11:50:00Z", WEBHOOK)])
            .with(|facts| {
                facts.from_template = true;
                facts.owners.remove(0);
            });
        assert_eq!(fixture.messages("POD21").len(), 1);
    }

    #[test]
    fn events_of_others_do_not_matter() {
        let fixture = with(vec![event("FailedCreate", "ReplicaSet", "other", "2026-11-22T11:50:00Z", WEBHOOK)]);
        assert_eq!(fixture.decide("POD21"), Ok(Outcome::Pass));
    }
}
