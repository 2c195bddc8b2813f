//! EPI: EKS Pod Identity.

use super::{Entry, error, warning};

pub(super) const ENTRIES: &[Entry] = &[
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
    warning(
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
        "EPI13",
        "pod-identity-agent-throttled",
        "the Pod Identity agent is throttled or failing",
    ),
];
