//! HOOK: the admission webhook.

use super::{Entry, error, warning};

pub(super) const ENTRIES: &[Entry] = &[
    error(
        "HOOK01",
        "webhook-not-installed",
        "no webhook is installed that would inject the identity",
    ),
    error(
        "HOOK02",
        "webhook-does-not-select-pod",
        "the webhook is not called for this pod",
    ),
    error(
        "HOOK03",
        "namespace-excluded-by-platform",
        "the platform keeps webhooks away from this namespace",
    ),
    error(
        "HOOK04",
        "webhook-installed-twice",
        "more than one webhook injects the same identity",
    ),
    error(
        "HOOK05",
        "webhook-certificate-untrusted",
        "the API server does not trust the certificate that the webhook serves",
    ),
    error(
        "HOOK06",
        "webhook-without-endpoints",
        "nothing answers behind the webhook's Service",
    ),
    error(
        "HOOK07",
        "webhook-unreachable",
        "the API server does not reach the webhook",
    ),
    error(
        "HOOK08",
        "webhook-settings-unsupported",
        "the webhook is registered with settings that it does not support",
    ),
    warning(
        "HOOK09",
        "webhook-starved",
        "the webhook has too little processor time or memory",
    ),
    warning(
        "HOOK10",
        "webhook-outdated",
        "the webhook is older than a feature that the pod asks it for",
    ),
    error(
        "HOOK11",
        "webhook-decided-to-skip",
        "the webhook was called and left the pod as it was",
    ),
    error(
        "HOOK12",
        "webhook-failed-open",
        "the API server admitted pods without the webhook's answer",
    ),
    warning(
        "HOOK13",
        "failure-policy-unsuitable",
        "the webhook's failure policy does not go with what it is called for",
    ),
    error(
        "HOOK14",
        "audit-log-shows-no-mutation",
        "the audit log shows that the webhook did not change the pod",
    ),
    error(
        "HOOK15",
        "pods-without-their-identity",
        "pods that should carry an identity run without it",
    ),
];
