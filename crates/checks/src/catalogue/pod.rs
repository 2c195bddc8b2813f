//! POD: pod, ServiceAccount and namespace.

use super::{Entry, error, warning};

pub(super) const ENTRIES: &[Entry] = &[
    error(
        "POD01",
        "other-service-account",
        "the pod does not run as the ServiceAccount that carries the configuration",
    ),
    error(
        "POD02",
        "service-account-missing-in-namespace",
        "the pod's ServiceAccount does not exist",
    ),
    error(
        "POD03",
        "pod-older-than-its-configuration",
        "the pod is older than what asks for its identity",
    ),
    error(
        "POD04",
        "admission-differs-today",
        "a pod like this one would be admitted otherwise today",
    ),
    error(
        "POD05",
        "key-misspelt",
        "an annotation or label is nearly one that is read",
    ),
    error(
        "POD06",
        "annotation-on-wrong-object",
        "an annotation stands where nobody reads it",
    ),
    error(
        "POD07",
        "azure-label-not-on-pod",
        "the pod lacks the label that Azure's webhook selects by",
    ),
    error(
        "POD08",
        "value-with-junk",
        "a value carries characters that do not belong to it",
    ),
    error(
        "POD09",
        "template-owned-by-operator",
        "an operator writes the pod template over",
    ),
    error(
        "POD10",
        "injection-incomplete",
        "variables, token or document are not in the container",
    ),
    error(
        "POD11",
        "skip-list-malformed",
        "a list of containers to skip does not say what it seems to say",
    ),
    warning(
        "POD12",
        "container-added-after-injection",
        "a container that came after the injection has no identity",
    ),
    error(
        "POD13",
        "token-not-readable",
        "this user may not read the token file",
    ),
    error(
        "POD14",
        "token-mount-conflicts",
        "the token's mount is doubled, or never refreshed",
    ),
    error(
        "POD15",
        "fields-lost-in-admission",
        "the pod lacks fields that its template has",
    ),
    error(
        "POD16",
        "init-container-before-mesh",
        "an init container needs the cloud before the mesh's proxy runs",
    ),
    error(
        "POD17",
        "injected-container-inadmissible",
        "a policy or quota of the namespace refuses an injected container",
    ),
    error(
        "POD18",
        "host-network-identity",
        "a pod on the host's network gets the node's identity",
    ),
    error(
        "POD19",
        "windows-not-declared",
        "the pod runs on Windows and does not say so where webhooks look",
    ),
    error(
        "POD20",
        "requested-lifetime-out-of-range",
        "the token lifetime that is asked for is not allowed",
    ),
    error(
        "POD21",
        "pod-cannot-start",
        "events say why the pod is not created or not started",
    ),
    warning(
        "POD22",
        "ephemeral-container-without-identity",
        "a debug container has no identity",
    ),
];
