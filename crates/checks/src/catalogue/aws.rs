//! AWS: AWS federation.

use super::{Entry, error, warning};

pub(super) const ENTRIES: &[Entry] = &[
    error(
        "AWS01",
        "oidc-provider-missing",
        "the role's account has no IAM OIDC provider for the token's issuer",
    ),
    warning(
        "AWS02",
        "thumbprint-mismatch",
        "the issuer's certificate does not match the provider's thumbprint",
    ),
    error(
        "AWS03",
        "audience-not-registered",
        "the token's audience is not a client id of the IAM OIDC provider",
    ),
    error(
        "AWS04",
        "trust-names-another-provider",
        "the role's trust policy names another OIDC provider than the token's",
    ),
    error(
        "AWS05",
        "trust-policy-mismatch",
        "the role's trust policy does not admit the token, or the role does not exist",
    ),
    error(
        "AWS06",
        "condition-key-unknown",
        "the trust policy asks for a condition key that no token of the issuer has",
    ),
    error(
        "AWS07",
        "wildcard-taken-literally",
        "the trust policy has a wildcard where it is a letter like any other",
    ),
    error(
        "AWS08",
        "any-service-account-admitted",
        "the trust policy lets any ServiceAccount of the cluster assume the role",
    ),
    error(
        "AWS09",
        "action-not-allowed",
        "the trust policy does not allow the action",
    ),
    error("AWS10", "role-arn-invalid", "the role ARN is not one"),
    error("AWS11", "role-missing", "the role does not exist"),
    warning(
        "AWS12",
        "region-ambiguous",
        "not every SDK in the pod finds the region or the same endpoint",
    ),
    error(
        "AWS13",
        "sts-region-disabled",
        "STS is not activated in this region for the account",
    ),
    error(
        "AWS14",
        "session-duration-too-long",
        "the session is longer than the role allows",
    ),
    error(
        "AWS15",
        "session-name-invalid",
        "the role session name is not one",
    ),
    error(
        "AWS16",
        "denied-by-organization",
        "a policy above the role denies the call",
    ),
    warning(
        "AWS17",
        "action-not-permitted",
        "the role's permissions do not cover an action that the workload needs",
    ),
    warning(
        "AWS18",
        "refused-exchanges-recorded",
        "CloudTrail has refused exchanges of this ServiceAccount",
    ),
    error("AWS19", "exchange-refused", "STS refuses the exchange"),
    error(
        "AWS20",
        "credentials-of-somebody-else",
        "the credentials are not those of the expected role",
    ),
    warning(
        "AWS21",
        "metadata-intercepted",
        "kube2iam or kiam still stands between pods and credentials",
    ),
    error(
        "AWS22",
        "chained-role-refused",
        "a role further on in the chain does not admit the one before it",
    ),
];
