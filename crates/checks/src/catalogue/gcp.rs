//! GCP: federation with Google Cloud.

use super::{Entry, error, warning};

pub(super) const ENTRIES: &[Entry] = &[
    error(
        "GCP01",
        "provider-name-invalid",
        "the audience is not the full name of a workload identity pool provider",
    ),
    error(
        "GCP02",
        "provider-missing-or-disabled",
        "pool or provider are missing, disabled or deleted",
    ),
    error(
        "GCP03",
        "provider-issuer-differs",
        "the provider's issuer is not the token's",
    ),
    error(
        "GCP04",
        "audience-not-allowed",
        "the provider does not allow the token's audience",
    ),
    error(
        "GCP05",
        "condition-rejects",
        "the provider's attribute mapping or condition rejects the token",
    ),
    error(
        "GCP06",
        "subject-too-long",
        "the mapped subject is longer than 127 bytes",
    ),
    error(
        "GCP07",
        "impersonation-not-granted",
        "the principal may not impersonate the service account",
    ),
    error(
        "GCP08",
        "service-account-missing",
        "the service account does not exist or is disabled",
    ),
    error(
        "GCP09",
        "api-or-policy-blocks",
        "an API is disabled, or an organization policy blocks the call",
    ),
    error(
        "GCP10",
        "credentials-document-invalid",
        "the credentials document is missing or cannot be followed",
    ),
    warning(
        "GCP11",
        "credentials-conflict",
        "the application's own Google credentials conflict with the injected ones",
    ),
    error(
        "GCP12",
        "exchange-request-invalid",
        "Google STS does not accept the request",
    ),
    error(
        "GCP13",
        "principal-not-granted",
        "the federated principal has no access to the resource, or the product does not accept it",
    ),
    error(
        "GCP14",
        "uploaded-keys-outdated",
        "the keys that were uploaded to the provider are not the cluster's",
    ),
    error(
        "GCP15",
        "token-lifetime-out-of-range",
        "the requested token lifetime is out of range",
    ),
];
