//! AKS: AKS workload identity.

use super::{Entry, error, warning};

pub(super) const ENTRIES: &[Entry] = &[
    error(
        "AKS01",
        "aks-workload-identity-off",
        "the cluster's OIDC issuer or workload identity is switched off",
    ),
    error(
        "AKS02",
        "two-azure-webhooks",
        "two webhooks of Azure workload identity inject into the same pods",
    ),
    error(
        "AKS03",
        "aks-issuer-broken",
        "the cluster's issuer URL does not serve its documents",
    ),
    warning(
        "AKS04",
        "signing-keys-rotating",
        "the cluster's signing keys are being rotated",
    ),
    error(
        "AKS05",
        "old-token-path",
        "the application reads the token where the webhook no longer puts it",
    ),
    error(
        "AKS06",
        "pod-identity-still-intercepts",
        "AAD Pod Identity still intercepts the workload's requests",
    ),
    warning(
        "AKS07",
        "identity-binding-half-configured",
        "the token proxy of an AKS identity binding is half configured",
    ),
    error(
        "AKS08",
        "proxy-sidecar-ineffective",
        "the proxy sidecar cannot work in this pod",
    ),
];
