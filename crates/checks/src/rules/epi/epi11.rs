//! Evaluates the namespace's NetworkPolicies for the way to the EKS Pod Identity Agent.
//!
//! ## What it checks
//!
//! Where a NetworkPolicy limits the pod's egress, one of its rules must let TCP port 80 of the agent's address pass:
//! `169.254.170.23`, or `fd00:ec2::23` on nodes with IPv6. Kubernetes leaves it to the network plug-in whether traffic to the pod's own
//! node is limited at all, so it is a warning.
//!
//! ## Why it matters
//!
//! A namespace with a default that denies egress usually gets exceptions for DNS and the internet, and nobody thinks of a
//! link-local address. Cilium takes the agent for the entity `host`, which no address range in a NetworkPolicy matches; it needs
//! a policy of its own kind.
//!
//! ## How it looks
//!
//! ```text
//! Error when retrieving credentials from container-role: Error retrieving metadata: … Connect timeout … 169.254.170.23
//! ```
//!
//! ## How to fix it
//!
//! Allow egress to `169.254.170.23/32` and `fd00:ec2::23/128`, TCP port 80.
//!
//! ## How to verify the fix
//!
//! `aws sts get-caller-identity` in the container names the association's role.
//!
//! ## References
//!
//! - Kubernetes, "Network Policies": <https://kubernetes.io/docs/concepts/services-networking/network-policies/>
//! - Amazon EKS, "Learn how EKS Pod Identity grants pods access to AWS services", considerations:
//!   <https://docs.aws.amazon.com/eks/latest/userguide/pod-identities.html>

use std::net::IpAddr;

use cwii_contract::{Provider, env};
use serde_json::Value;

use super::{NONE, epi10::in_network, pod_identity};
use crate::{
    doctor::{Case, Gap, Need, Object, Outcome, Rule, aws as mechanism},
    report::Finding,
};

pub(super) const RULE: Rule = Rule::new(
    "EPI11",
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
    if pod_identity(case).is_none() {
        return Ok(Outcome::not_applicable(NONE));
    }
    let pod = case.pod()?;
    let is_ipv6 = pod
        .containers()
        .filter_map(|container| container.variable(env::AWS_CONTAINER_CREDENTIALS_FULL_URI))
        .any(|endpoint| endpoint.contains(mechanism::POD_IDENTITY_IPV6));
    let text = if is_ipv6 { "fd00:ec2::23" } else { mechanism::POD_IDENTITY_IPV4 };
    let Ok(address) = text.parse::<IpAddr>() else {
        return Ok(Outcome::Pass);
    };
    let limiting: Vec<&Object> = case
        .network_policies()?
        .into_iter()
        .flatten()
        .filter(|policy| limits_egress(policy) && selects(policy.get("/spec/podSelector"), pod))
        .collect();
    let lets_pass = |policy: &&Object| {
        policy
            .list("/spec/egress")
            .any(|rule| reaches(rule, address) && has_port(rule))
    };
    let Some(first) = limiting.first() else {
        return Ok(Outcome::Pass);
    };
    if limiting.iter().any(lets_pass) {
        return Ok(Outcome::Pass);
    }
    let names: Vec<&str> = limiting.iter().map(|policy| policy.name()).collect();
    Ok(Outcome::Found(vec![
        Finding::new(
            "EPI11",
            format!("no NetworkPolicy lets the pod reach the EKS Pod Identity Agent at {text}, port 80"),
        )
        .warning()
        .of(Provider::Aws)
        .at(first.subject_at("/spec/egress", "`egress`"))
        .evidence("policies", names.join(", "))
        .fix("allow egress to 169.254.170.23/32 and fd00:ec2::23/128, TCP port 80"),
    ]))
}

fn limits_egress(policy: &Object) -> bool {
    let named = policy
        .list("/spec/policyTypes")
        .any(|kind| kind.as_str() == Some("Egress"));
    // Without types a policy with rules for egress has that type as well.
    named || policy.get("/spec/policyTypes").is_none() && policy.get("/spec/egress").is_some()
}

fn reaches(rule: &Value, address: IpAddr) -> bool {
    let Some(to) = rule.get("to").and_then(Value::as_array).filter(|to| !to.is_empty()) else {
        return true;
    };
    to.iter().filter_map(|peer| peer.get("ipBlock")).any(|block| {
        let cidr = block.get("cidr").and_then(Value::as_str).unwrap_or_default();
        let excepted = block
            .get("except")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .any(|except| in_network(except, address));
        in_network(cidr, address) && !excepted
    })
}

fn has_port(rule: &Value) -> bool {
    let Some(ports) = rule.get("ports").and_then(Value::as_array).filter(|p| !p.is_empty()) else {
        return true;
    };
    ports.iter().any(|port| {
        let is_tcp = port
            .get("protocol")
            .and_then(Value::as_str)
            .is_none_or(|protocol| protocol == "TCP");
        let first = port.get("port").and_then(Value::as_i64);
        let last = port.get("endPort").and_then(Value::as_i64).or(first);
        let in_range = match (first, last) {
            (Some(first), Some(last)) => (first..=last).contains(&80),
            // No port is every port; a named one is a container's, which the node's agent has none of.
            _ => port.get("port").is_none(),
        };
        is_tcp && in_range
    })
}

/// Whether a label selector picks the pod. One that is empty picks all.
fn selects(selector: Option<&Value>, pod: &Object) -> bool {
    let Some(selector) = selector else {
        return true;
    };
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    let by_label = labels
        .into_iter()
        .flatten()
        .all(|(key, value)| pod.label(key) == value.as_str());
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    by_label
        && expressions.into_iter().flatten().all(|expression| {
            let key = expression.get("key").and_then(Value::as_str).unwrap_or_default();
            let found = pod.label(key);
            let among = expression
                .get("values")
                .and_then(Value::as_array)
                .is_some_and(|values| values.iter().any(|value| found.is_some() && value.as_str() == found));
            match expression.get("operator").and_then(Value::as_str) {
                Some("In") => among,
                Some("NotIn") => !among,
                Some("Exists") => found.is_some(),
                Some("DoesNotExist") => found.is_none(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{
        doctor::{Object, Outcome},
        facts::Fact,
        rules::fixture::{Fixture, Trusted},
    };

    fn with_policy(spec: Value) -> Trusted {
        Fixture::pod_identity().with(|fixture| {
            fixture.with(|facts| {
                facts.network_policies = Fact::Known(vec![Object::new(json!({"kind": "NetworkPolicy",
                    "metadata": {"name": "egress", "namespace": "shop"}, "spec": spec}))]);
            })
        })
    }

    #[test]
    fn no_policy_and_policies_that_let_it_pass_are_well() {
        assert_eq!(Fixture::pod_identity().decide("EPI11"), Ok(Outcome::Pass));
        for spec in [
            json!({"podSelector": {}, "policyTypes": ["Ingress"]}),
            json!({"podSelector": {"matchLabels": {"app": "other"}}, "policyTypes": ["Egress"]}),
            json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]}),
            json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [
                {"to": [{"ipBlock": {"cidr": "169.254.170.23/32"}}], "ports": [{"port": 80}]}]}),
            json!({"podSelector": {}, "egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]}),
        ] {
            assert_eq!(with_policy(spec.clone()).decide("EPI11"), Ok(Outcome::Pass), "{spec}");
        }
    }

    #[test]
    fn a_policy_without_the_agents_address_is_a_warning() {
        for spec in [
            json!({"podSelector": {}, "policyTypes": ["Egress"]}),
            json!({"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["checkout"]}]},
                "policyTypes": ["Egress"], "egress": [{"ports": [{"port": 443, "protocol": "TCP"}]}]}),
            json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [
                {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}}]}]}),
        ] {
            assert_eq!(with_policy(spec.clone()).messages("EPI11").len(), 1, "{spec}");
        }
    }
}
