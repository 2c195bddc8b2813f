//! A NetworkPolicy keeps the pod from GKE's metadata server.
//!
//! ## What it checks
//!
//! The egress rules of the NetworkPolicies that select the pod. With Dataplane V2 (the DaemonSet `anetd` tells) they must let
//! it reach 169.254.169.254 on port 80; without, 169.254.169.252 on port 988, where the node hands the request on. Policies of
//! other kinds (Cilium's, Calico's, FQDN) are not read.
//!
//! ## Why it matters
//!
//! A default-deny policy closes the way to the token along with everything else. The addresses are link-local, so that rules
//! for the cluster's or the internet's ranges do not include them.
//!
//! ## How it looks
//!
//! ```text
//! Compute Engine Metadata server unavailable … timed out
//! ```
//!
//! ## How to fix it
//!
//! Allow egress to the address and port of the cluster's data plane.
//!
//! ## How to verify the fix
//!
//! In the pod, `curl -H 'Metadata-Flavor: Google' http://169.254.169.254/` answers.
//!
//! ## References
//!
//! - Google Cloud, "About the GKE metadata server", network policies:
//!   <https://cloud.google.com/kubernetes-engine/docs/concepts/workload-identity>
//! - Kubernetes, "Network Policies": <https://kubernetes.io/docs/concepts/services-networking/network-policies/>

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::each;
use crate::{
    doctor::{Case, Gap, Need, Object, Outcome, Rule},
    report::{Applicability, Finding},
};

pub(super) const RULE: Rule = Rule::new(
    "GKE07",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::DaemonSets,
        Need::NetworkPolicies,
        Need::Trust,
    ],
    check,
)
.blocked_by(&["GKE06"]);

const DATAPLANE_V2: (Ipv4Addr, i64) = (Ipv4Addr::new(169, 254, 169, 254), 80);
const CLASSIC: (Ipv4Addr, i64) = (Ipv4Addr::new(169, 254, 169, 252), 988);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |_| {
        let pod = case.pod()?;
        let Some(policies) = case.network_policies()? else {
            return Ok(Vec::new());
        };
        let selecting: Vec<_> = policies
            .iter()
            .filter(|policy| restricts_egress(policy) && selects(policy, pod))
            .collect();
        let Some(first) = selecting.first() else {
            return Ok(Vec::new());
        };
        let lets = |(address, port): (Ipv4Addr, i64)| {
            selecting
                .iter()
                .any(|policy| policy.list("/spec/egress").any(|rule| allows(rule, address, port)))
        };
        let v2 = case
            .daemon_sets()
            .ok()
            .flatten()
            .map(|sets| sets.iter().any(|set| set.name() == "anetd"));
        // Where the data plane is not known, one open way is taken for the right one.
        let (blocked, wanted) = match v2 {
            Some(true) => (!lets(DATAPLANE_V2), vec![DATAPLANE_V2]),
            Some(false) => (!lets(CLASSIC), vec![CLASSIC, DATAPLANE_V2]),
            None => (!lets(CLASSIC) && !lets(DATAPLANE_V2), vec![CLASSIC, DATAPLANE_V2]),
        };
        if !blocked {
            return Ok(Vec::new());
        }
        let (address, port) = wanted[0];
        let rules: Vec<Value> = wanted
            .iter()
            .map(|(address, port)| {
                json!({"op": "add", "path": "/spec/egress/-", "value": {
                    "to": [{"ipBlock": {"cidr": format!("{address}/32")}}],
                    "ports": [{"protocol": "TCP", "port": port}],
                }})
            })
            .collect();
        let mut patch = rules;
        if first.get("/spec/egress").is_none() {
            patch.insert(0, json!({"op": "add", "path": "/spec/egress", "value": []}));
        }
        let names: Vec<_> = selecting.iter().map(|policy| policy.name()).collect();
        Ok(vec![
            Finding::new(
                "GKE07",
                format!("no NetworkPolicy lets the pod reach the metadata server at {address}:{port}"),
            )
            .at(first.subject_at("/spec/egress", "`egress`"))
            .evidence("policies that select the pod", names.join(", "))
            .fix("allow egress to the metadata server")
            .command(format!(
                "kubectl -n {} patch networkpolicy {} --type=json -p '{}'",
                case.namespace_name(),
                first.name(),
                Value::Array(patch)
            ))
            .applicable(Applicability::Safe),
        ])
    })
}

fn restricts_egress(policy: &Object) -> bool {
    let mut types = policy.list("/spec/policyTypes").peekable();
    match types.peek() {
        Some(_) => types.any(|kind| kind == "Egress"),
        // Without types a policy is about egress where it has rules for it.
        None => policy.get("/spec/egress").is_some(),
    }
}

fn selects(policy: &Object, pod: &Object) -> bool {
    let Some(selector) = policy.get("/spec/podSelector") else {
        return false;
    };
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    let matches = labels
        .into_iter()
        .flatten()
        .all(|(key, value)| pod.label(key) == value.as_str());
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    matches
        && expressions.into_iter().flatten().all(|expression| {
            let text = |member: &str| expression.get(member).and_then(Value::as_str);
            let Some(key) = text("key") else { return false };
            let label = pod.label(key);
            let listed = expression
                .get("values")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .any(|value| value.as_str() == label && label.is_some());
            match text("operator") {
                Some("In") => listed,
                Some("NotIn") => !listed,
                Some("Exists") => label.is_some(),
                Some("DoesNotExist") => label.is_none(),
                _ => false,
            }
        })
}

/// Whether an egress rule lets a pod reach an address outside the cluster.
fn allows(rule: &Value, address: Ipv4Addr, port: i64) -> bool {
    let list = |member: &str| rule.get(member).and_then(Value::as_array);
    let to = list("to").is_none_or(|peers| {
        peers.is_empty()
            || peers.iter().any(|peer| {
                peer.pointer("/ipBlock/cidr")
                    .and_then(Value::as_str)
                    .is_some_and(|cidr| within(cidr, address))
                    && !peer
                        .pointer("/ipBlock/except")
                        .and_then(Value::as_array)
                        .into_iter()
                        .flatten()
                        .filter_map(Value::as_str)
                        .any(|cidr| within(cidr, address))
            })
    });
    let ports = list("ports").is_none_or(|ports| {
        ports.is_empty()
            || ports.iter().any(|one| {
                let tcp = one.get("protocol").and_then(Value::as_str).unwrap_or("TCP") == "TCP";
                let number = one.get("port").and_then(Value::as_i64);
                let end = one.get("endPort").and_then(Value::as_i64);
                let fits = match number {
                    Some(first) => (first..=end.unwrap_or(first)).contains(&port),
                    None => one.get("port").is_none(),
                };
                tcp && fits
            })
    });
    to && ports
}

fn within(cidr: &str, address: Ipv4Addr) -> bool {
    let Some((network, bits)) = cidr.split_once('/') else {
        return false;
    };
    let (Ok(network), Ok(bits)) = (network.parse::<Ipv4Addr>(), bits.parse::<u32>()) else {
        return false;
    };
    let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits)).unwrap_or(0);
    bits <= 32 && u32::from(network) & mask == u32::from(address) & mask
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{
        doctor::{Object, Outcome},
        facts::Fact,
        rules::fixture::Fixture,
    };

    fn with(egress: Value, v2: bool) -> Fixture {
        Fixture::gke().with(|facts| {
            facts.network_policies = Fact::Known(vec![Object::new(json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                "metadata": {"name": "default-deny", "namespace": "shop"},
                "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "egress": egress},
            }))]);
            if v2 && let Fact::Known(sets) = &mut facts.daemon_sets {
                sets.push(Object::new(json!({
                    "kind": "DaemonSet", "metadata": {"name": "anetd", "namespace": "kube-system"},
                })));
            }
        })
    }

    fn to(cidr: &str, port: i64) -> Value {
        json!([{"to": [{"ipBlock": {"cidr": cidr}}], "ports": [{"protocol": "TCP", "port": port}]}])
    }

    #[test]
    fn without_policies_and_with_the_documented_rules_it_passes() {
        assert_eq!(Fixture::gke().decide("GKE07"), Ok(Outcome::Pass));
        assert_eq!(with(to("169.254.169.252/32", 988), false).decide("GKE07"), Ok(Outcome::Pass));
        assert_eq!(with(to("169.254.169.254/32", 80), true).decide("GKE07"), Ok(Outcome::Pass));
        assert_eq!(with(json!([{}]), true).decide("GKE07"), Ok(Outcome::Pass));
        assert_eq!(
            with(json!([{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]), true).decide("GKE07"),
            Ok(Outcome::Pass)
        );
    }

    #[test]
    fn default_deny_and_an_exception_for_link_local_addresses_block() {
        assert_eq!(
            with(json!([]), true).messages("GKE07"),
            ["no NetworkPolicy lets the pod reach the metadata server at 169.254.169.254:80"]
        );
        let except = json!([{"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}}]}]);
        assert_eq!(with(except, true).messages("GKE07").len(), 1);
        assert_eq!(with(to("169.254.169.254/32", 80), false).messages("GKE07").len(), 1);
    }

    #[test]
    fn a_policy_for_other_pods_does_not_count() {
        let fixture = with(json!([]), true).with(|facts| {
            if let Fact::Known(policies) = &mut facts.network_policies {
                let mut policy = policies[0].value().clone();
                policy["spec"]["podSelector"] = json!({"matchLabels": {"app": "billing"}});
                policies[0] = Object::new(policy);
            }
        });
        assert_eq!(fixture.decide("GKE07"), Ok(Outcome::Pass));
    }
}
