//! NET: the network.

use super::{Entry, error, warning};

pub(super) const ENTRIES: &[Entry] = &[
    error(
        "NET01",
        "name-does-not-resolve",
        "the cloud's name does not resolve in this pod",
    ),
    error(
        "NET02",
        "endpoint-unreachable",
        "the cloud's endpoint cannot be reached from this pod",
    ),
    warning(
        "NET03",
        "private-endpoint-policy",
        "the cloud is reached through a private endpoint with a policy of its own",
    ),
    error(
        "NET04",
        "tls-not-trusted",
        "the TLS connection is not trusted",
    ),
    error("NET05", "proxy-fails", "the proxy refuses or fails"),
    error(
        "NET06",
        "egress-denied",
        "no NetworkPolicy lets the pod reach the cloud",
    ),
    error(
        "NET07",
        "mesh-blocks-egress",
        "the service mesh knows no way to the cloud",
    ),
    error(
        "NET08",
        "address-family-blackhole",
        "an address family leads nowhere from this pod",
    ),
    error(
        "NET09",
        "node-metadata-reachable",
        "the node's metadata service answers the pod with the node's identity",
    ),
];
