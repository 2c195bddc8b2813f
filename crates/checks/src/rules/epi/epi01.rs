//! Looks for the EKS Pod Identity Agent on the pod's node.
//!
//! ## What it checks
//!
//! The DaemonSet `eks-pod-identity-agent` exists, has ready pods, and tolerates the taints of the pod's node. Nodes of EKS Auto Mode
//! have the agent built in.
//!
//! ## Why it matters
//!
//! EKS sets the variables whether the agent is installed or not. Without one on the node nobody answers at the address that they
//! name.
//!
//! ## How it looks
//!
//! ```text
//! Error when retrieving credentials from container-role: Error retrieving metadata: … ConnectTimeoutError … 169.254.170.23
//! ```
//!
//! ## How to fix it
//!
//! Install the add-on, or let its pods tolerate the node's taint through the add-on's configuration values.
//!
//! ## How to verify the fix
//!
//! `kubectl -n kube-system get pods -l app.kubernetes.io/name=eks-pod-identity-agent -o wide` shows one on the pod's node.
//!
//! ## References
//!
//! - Amazon EKS, "Set up the Amazon EKS Pod Identity Agent":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-agent-setup.html>
//! - Amazon EKS, "Learn how EKS Pod Identity grants pods access to AWS services":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/pod-identities.html>

use cwii_contract::Provider;
use serde_json::Value;

use super::{NONE, association, pod_identity};
use crate::{
    doctor::{Case, Gap, Need, Object, Outcome, Rule, aws as mechanism},
    report::{Applicability, Finding, Subject},
    rules::words::quote,
};

pub(super) const RULE: Rule = Rule::new(
    "EPI01",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
        Need::DaemonSets,
    ],
    check,
)
.blocked_by(&["EPI02"]);

const AGENT: &str = "eks-pod-identity-agent";

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    if pod_identity(case).is_none() {
        return Ok(Outcome::not_applicable(NONE));
    }
    let node = match case.node() {
        Ok(node) => node,
        // The DaemonSet tells without it, only not as much.
        Err(Gap::NotLookedAt(..)) => None,
        Err(gap) => return Err(gap),
    };
    if node.is_some_and(|node| node.label("eks.amazonaws.com/compute-type") == Some("auto")) {
        return Ok(Outcome::not_applicable("nodes of EKS Auto Mode have the agent built in"));
    }
    let agent = case
        .daemon_sets()?
        .into_iter()
        .flatten()
        .find(|set| set.name() == AGENT || set.label("app.kubernetes.io/name") == Some(AGENT));
    let Some(agent) = agent else {
        let cluster = mechanism::eks_cluster(case.look(Need::Trust))
            .map(|cluster| cluster.name.clone())
            .or(association(case)?.map(|association| association.cluster_name));
        return Ok(Outcome::Found(vec![
            Finding::new("EPI01", "the cluster has no EKS Pod Identity Agent")
                .of(Provider::Aws)
                .at(Subject {
                    kind: "DaemonSet".into(),
                    namespace: Some("kube-system".into()),
                    name: AGENT.into(),
                    ..Subject::default()
                })
                .fix("install the add-on")
                .command(format!(
                    "aws eks create-addon --cluster-name {} --addon-name {AGENT}",
                    quote(cluster.as_deref().unwrap_or("CLUSTER"))
                ))
                .applicable(match cluster {
                    Some(_) => Applicability::Unsafe,
                    None => Applicability::Display,
                }),
        ]));
    };
    let count = |member: &str| agent.get(&format!("/status/{member}")).and_then(Value::as_i64);
    let finding = |message: String| {
        Finding::new("EPI01", message)
            .of(Provider::Aws)
            .at(agent.subject())
    };
    if let (Some(desired @ 1..), Some(0)) = (count("desiredNumberScheduled"), count("numberReady")) {
        return Ok(Outcome::Found(vec![
            finding(format!("none of {desired} pods of the EKS Pod Identity Agent is ready"))
                .fix("see why the agent's pods do not start; it needs IPv6 on the node unless that is turned off")
                .command(format!("kubectl -n kube-system describe daemonset {AGENT}")),
        ]));
    }
    let Some((node, taint)) = node.and_then(|node| Some((node, untolerated(agent, node)?))) else {
        return Ok(Outcome::Pass);
    };
    Ok(Outcome::Found(vec![
        finding(format!(
            "the EKS Pod Identity Agent does not tolerate the taint `{taint}` of node `{}`",
            node.name()
        ))
        .evidence("node", node.name())
        .fix("let the agent's pods tolerate every taint, through the add-on's configuration values")
        .command(format!(
            "aws eks update-addon --cluster-name CLUSTER --addon-name {AGENT} --configuration-values \
             '{{\"tolerations\":[{{\"operator\":\"Exists\"}}]}}'"
        )),
    ]))
}

/// A taint that keeps the agent's pods from the node.
fn untolerated(agent: &Object, node: &Object) -> Option<String> {
    let text = |value: &Value, member: &str| {
        value
            .get(member)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    node.list("/spec/taints")
        .filter(|taint| {
            let key = text(taint, "key");
            // What a DaemonSet's controller makes its pods tolerate by itself.
            ["NoSchedule", "NoExecute"].contains(&text(taint, "effect").as_str())
                && !key.starts_with("node.kubernetes.io/")
        })
        .find(|taint| {
            !agent.list("/spec/template/spec/tolerations").any(|toleration| {
                let effect = text(toleration, "effect");
                let key = text(toleration, "key");
                let exists = text(toleration, "operator") == "Exists";
                (effect.is_empty() || effect == text(taint, "effect"))
                    && (key == text(taint, "key") || key.is_empty() && exists)
                    && (exists || text(toleration, "value") == text(taint, "value"))
            })
        })
        .map(|taint| format!("{}={}:{}", text(taint, "key"), text(taint, "value"), text(taint, "effect")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::{Object, Outcome},
        facts::Fact,
        rules::fixture::{Fixture, edit},
    };

    #[test]
    fn an_agent_with_ready_pods_passes() {
        assert_eq!(Fixture::pod_identity().decide("EPI01"), Ok(Outcome::Pass));
        assert!(matches!(Fixture::irsa().decide("EPI01"), Ok(Outcome::NotApplicable(_))));
    }

    #[test]
    fn a_cluster_without_agent_is_told_except_in_auto_mode() {
        let without = Fixture::pod_identity()
            .with(|fixture| fixture.with(|facts| facts.daemon_sets = Fact::Known(Vec::new())));
        let finding = without.findings("EPI01").remove(0);
        assert_eq!(
            finding.fix.commands,
            ["aws eks create-addon --cluster-name prod --addon-name eks-pod-identity-agent"]
        );
        let auto = without.with(|fixture| {
            fixture.with(|facts| {
                edit(&mut facts.node, |node| {
                    node["metadata"]["labels"]["eks.amazonaws.com/compute-type"] = json!("auto");
                });
            })
        });
        assert!(matches!(auto.decide("EPI01"), Ok(Outcome::NotApplicable(_))));
    }

    #[test]
    fn an_agent_that_is_not_ready_or_does_not_tolerate_the_node_is_told() {
        let agent = |tolerations: serde_json::Value, ready: i64| {
            Fixture::pod_identity().with(|fixture| {
                fixture.with(|facts| {
                    facts.daemon_sets = Fact::Known(vec![Object::new(json!({"kind": "DaemonSet",
                        "metadata": {"name": "eks-pod-identity-agent", "namespace": "kube-system"},
                        "spec": {"template": {"spec": {"tolerations": tolerations}}},
                        "status": {"desiredNumberScheduled": 3, "numberReady": ready}}))]);
                    edit(&mut facts.node, |node| {
                        node["spec"]["taints"] =
                            json!([{"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}]);
                    });
                })
            })
        };
        assert!(agent(json!([{"operator": "Exists"}]), 0).messages("EPI01")[0].starts_with("none of 3 pods"));
        assert!(agent(json!([]), 3).messages("EPI01")[0].contains("`dedicated=gpu:NoSchedule`"));
        for tolerated in [
            json!([{"operator": "Exists"}]),
            json!([{"key": "dedicated", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"}]),
        ] {
            assert_eq!(agent(tolerated, 3).decide("EPI01"), Ok(Outcome::Pass));
        }
    }
}
