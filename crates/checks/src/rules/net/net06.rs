//! The namespace's NetworkPolicies leave the pod no way to the cloud.
//!
//! ## What it checks
//!
//! Whether NetworkPolicies select the pod for egress, and if so, whether any of them allows DNS (port 53) and any allows port
//! 443 to addresses outside of the cluster. A pod that speaks through a proxy needs only the proxy. Policies of Cilium, Calico
//! or the cloud are not read; link-local addresses are looked at by EPI11 and GKE07.
//!
//! ## Why it matters
//!
//! Policies add up to what is allowed. As soon as one selects a pod for egress, everything is denied that none allows, and
//! denied packets are dropped: the exchange does not fail, it hangs.
//!
//! ## How it looks
//!
//! ```text
//! Connect timeout on endpoint URL: "https://sts.eu-central-1.amazonaws.com/"
//! ```
//!
//! ## How to fix it
//!
//! Add a policy that allows DNS and port 443.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii verify TYPE/NAME --provider P` reaches the endpoint. It runs with the pod's ServiceAccount; a policy selects
//! by labels, so give it the pod's.
//!
//! ## References
//!
//! - Kubernetes, "Network Policies": <https://kubernetes.io/docs/concepts/services-networking/network-policies/>

use serde_json::{Value, json};

use crate::{
    doctor::{Case, Gap, Need, Object, Outcome, Rule},
    report::{Applicability, Finding},
    rules::words::patch,
};

pub(super) const RULE: Rule = Rule::new(
    "NET06",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
        Need::NetworkPolicies,
    ],
    check,
);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let pod = case.pod()?;
    if !case.mechanisms().iter().any(|mechanism| mechanism.kind.presents_token()) {
        return Ok(Outcome::not_applicable("no token is exchanged with a cloud"));
    }
    if pod.get("/spec/hostNetwork").and_then(Value::as_bool) == Some(true) {
        return Ok(Outcome::not_applicable("policies do not hold for the host's network"));
    }
    let policies: Vec<&Object> = case
        .network_policies()?
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .filter(|policy| is_egress(policy) && selects(policy.get("/spec/podSelector"), pod))
        .collect();
    let Some(first) = policies.first() else {
        return Ok(Outcome::Pass);
    };
    let names: Vec<&str> = policies.iter().map(|policy| policy.name()).collect();
    let rules: Vec<&Value> = policies
        .iter()
        .flat_map(|policy| policy.list("/spec/egress"))
        .collect();
    let has_proxy = pod.containers().any(|container| {
        ["HTTPS_PROXY", "https_proxy"].iter().any(|name| container.has_variable(name))
    });
    let dns = rules.iter().any(|rule| allows_port(rule, 53));
    let https = has_proxy || rules.iter().any(|rule| allows_port(rule, 443) && reaches_outside(rule));
    let lacking: Vec<&str> = [(dns, "DNS on port 53"), (https, "port 443 outside of the cluster")]
        .into_iter()
        .filter(|(allowed, _)| !allowed)
        .map(|(_, what)| what)
        .collect();
    if lacking.is_empty() {
        return Ok(Outcome::Pass);
    }
    let mut missing = Vec::new();
    if !dns {
        missing.push(json!({"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}));
    }
    if !https {
        missing.push(json!({"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}, {"ipBlock": {"cidr": "::/0"}}],
            "ports": [{"protocol": "TCP", "port": 443}]}));
    }
    let has_list = first.get("/spec/egress").is_some_and(Value::is_array);
    let operations: Vec<Value> = if has_list {
        missing
            .into_iter()
            .map(|rule| json!({"op": "add", "path": "/spec/egress/-", "value": rule}))
            .collect()
    } else {
        vec![json!({"op": "add", "path": "/spec/egress", "value": missing})]
    };
    Ok(Outcome::Found(vec![
        Finding::new(
            "NET06",
            format!("the pod's NetworkPolicies do not allow {}", lacking.join(" nor ")),
        )
        .at(first.subject_at("/spec/egress", "`egress`"))
        .evidence("policies", names.join(", "))
        .fix("allow DNS and port 443 in a policy that selects the pod")
        .command(patch(first, &Value::Array(operations)))
        .applicable(Applicability::Unsafe),
    ]))
}

/// `policyTypes`, or what the API server makes of its absence.
fn is_egress(policy: &Object) -> bool {
    match policy.get("/spec/policyTypes").and_then(Value::as_array) {
        Some(types) => types.iter().any(|found| found == "Egress"),
        None => policy.get("/spec/egress").is_some(),
    }
}

/// Whether a label selector picks the pod.
fn selects(selector: Option<&Value>, pod: &Object) -> bool {
    let Some(selector) = selector else { return true };
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    let by_label = labels
        .into_iter()
        .flatten()
        .all(|(key, value)| pod.label(key) == value.as_str());
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    by_label
        && expressions.into_iter().flatten().all(|expression| {
            let key = expression.get("key").and_then(Value::as_str).unwrap_or_default();
            let values = || {
                expression
                    .get("values")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
            };
            let found = pod.label(key);
            match expression.get("operator").and_then(Value::as_str) {
                Some("In") => found.is_some_and(|found| values().any(|value| value == found)),
                Some("NotIn") => found.is_none_or(|found| values().all(|value| value != found)),
                Some("Exists") => found.is_some(),
                Some("DoesNotExist") => found.is_none(),
                _ => false,
            }
        })
}

fn allows_port(rule: &Value, wanted: i64) -> bool {
    let Some(ports) = rule.get("ports").and_then(Value::as_array).filter(|ports| !ports.is_empty()) else {
        return true;
    };
    ports.iter().any(|port| {
        let end = port.get("endPort").and_then(Value::as_i64);
        match port.get("port") {
            None => true,
            // A named port is one of the peer's containers.
            Some(Value::String(name)) => (wanted == 53 && name.contains("dns")) || (wanted == 443 && name == "https"),
            Some(number) => number
                .as_i64()
                .is_some_and(|from| from == wanted || end.is_some_and(|end| (from..=end).contains(&wanted))),
        }
    })
}

/// A private block may hold a private endpoint of the cloud, so that every block counts.
fn reaches_outside(rule: &Value) -> bool {
    let Some(peers) = rule.get("to").and_then(Value::as_array).filter(|peers| !peers.is_empty()) else {
        return true;
    };
    peers.iter().any(|peer| peer.get("ipBlock").is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{
        doctor::{Object, Outcome},
        facts::Fact,
        rules::fixture::Fixture,
    };

    fn with(spec: Value) -> Fixture {
        Fixture::irsa().with(|facts| {
            facts.network_policies = Fact::Known(vec![Object::new(json!({"apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy", "metadata": {"name": "egress", "namespace": "shop"}, "spec": spec}))]);
        })
    }

    #[test]
    fn no_policy_of_the_pod_allows_everything() {
        assert_eq!(Fixture::irsa().decide("NET06"), Ok(Outcome::Pass));
        let of_others = with(json!({"podSelector": {"matchLabels": {"app": "other"}}, "policyTypes": ["Egress"]}));
        assert_eq!(of_others.decide("NET06"), Ok(Outcome::Pass));
        let ingress = with(json!({"podSelector": {}, "policyTypes": ["Ingress"]}));
        assert_eq!(ingress.decide("NET06"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_default_deny_is_found() {
        assert_eq!(
            with(json!({"podSelector": {}, "policyTypes": ["Egress"]})).messages("NET06"),
            ["the pod's NetworkPolicies do not allow DNS on port 53 nor port 443 outside of the cluster"]
        );
    }

    #[test]
    fn dns_and_the_cluster_alone_do_not_reach_the_cloud() {
        let fixture = with(json!({"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["checkout"]}]},
            "policyTypes": ["Egress"], "egress": [
                {"ports": [{"port": 53, "protocol": "UDP"}]},
                {"to": [{"namespaceSelector": {}}]}]}));
        assert_eq!(
            fixture.messages("NET06"),
            ["the pod's NetworkPolicies do not allow port 443 outside of the cluster"]
        );
    }

    #[test]
    fn port_443_to_a_block_and_dns_are_enough() {
        let fixture = with(json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [
            {"ports": [{"port": 53, "protocol": "UDP"}]},
            {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 440, "endPort": 450}]}]}));
        assert_eq!(fixture.decide("NET06"), Ok(Outcome::Pass));
    }

    #[test]
    fn policies_that_may_not_be_read_leave_it_open() {
        let fixture = Fixture::irsa().with(|facts| facts.network_policies = Fact::TimedOut);
        assert!(fixture.decide("NET06").is_err());
    }
}
