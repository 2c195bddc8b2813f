//! EPI: EKS Pod Identity.

use super::{Entry, error};

pub(super) const ENTRIES: &[Entry] = &[
    error(
        "EPI01",
        "pod-identity-agent-missing",
        "no EKS Pod Identity Agent runs on the pod's node",
    ),
    error(
        "EPI02",
        "pod-identity-not-on-this-node",
        "EKS Pod Identity does not exist on this kind of node",
    ),
    error(
        "EPI03",
        "association-missing",
        "no pod identity association exists for the ServiceAccount",
    ),
    error(
        "EPI04",
        "trust-lacks-pod-identity",
        "the role's trust policy does not admit EKS Pod Identity",
    ),
    error(
        "EPI05",
        "pod-identity-not-injected",
        "the Pod Identity variables or token are not in the pod",
    ),
    error(
        "EPI06",
        "pod-younger-than-association-spread",
        "the pod was created before the association had spread",
    ),
    error(
        "EPI07",
        "web-identity-wins-over-pod-identity",
        "web identity comes before Pod Identity in the SDK chain",
    ),
    error(
        "EPI08",
        "agent-not-authorized",
        "the Pod Identity agent itself may not assume roles for pods",
    ),
    error(
        "EPI09",
        "pod-identity-agent-unreachable",
        "the Pod Identity agent does not answer on this node",
    ),
    error(
        "EPI10",
        "pod-identity-behind-proxy",
        "a proxy stands between the pod and the Pod Identity agent",
    ),
    error(
        "EPI11",
        "pod-identity-agent-blocked",
        "a NetworkPolicy keeps the pod from the EKS Pod Identity Agent",
    ),
    error(
        "EPI12",
        "eks-auth-endpoint-missing",
        "a private cluster has no way to EKS Auth",
    ),
    error(
        "EPI13",
        "pod-identity-agent-throttled",
        "the Pod Identity agent is throttled or failing",
    ),
    error(
        "EPI14",
        "pod-identity-on-host-network",
        "a pod on the host's network asks for Pod Identity",
    ),
    error(
        "EPI15",
        "sdk-refuses-pod-identity-host",
        "the SDK is too old for the Pod Identity endpoint",
    ),
    error(
        "EPI16",
        "target-role-refuses-session-tags",
        "the target role does not admit the associated role with its session tags",
    ),
];
