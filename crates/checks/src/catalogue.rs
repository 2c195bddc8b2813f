//! The codes of the catalogue. Codes are never renumbered or reused.
//!
//! Here stand the entries that the agent can reach; each states the bad thing in its name.

/// How much a finding matters. It belongs to the code, not to the message.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// Worth knowing; nothing fails because of it alone.
    Warning,
    /// The exchange fails now or at the next start, or admits somebody it must not.
    Error,
}

/// One code.
#[derive(Debug, Eq, PartialEq)]
pub struct Entry {
    /// Group and two digits, `AWS05`.
    pub code: &'static str,
    /// The bad thing, kebab-case.
    pub name: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// The headline, without the particulars of a case.
    pub title: &'static str,
}

/// The entry of a code or name.
#[must_use]
pub fn find(code_or_name: &str) -> Option<&'static Entry> {
    CATALOGUE
        .iter()
        .find(|e| e.code == code_or_name || e.name == code_or_name)
}

const fn error(code: &'static str, name: &'static str, title: &'static str) -> Entry {
    Entry {
        code,
        name,
        severity: Severity::Error,
        title,
    }
}

const fn warning(code: &'static str, name: &'static str, title: &'static str) -> Entry {
    Entry {
        code,
        name,
        severity: Severity::Warning,
        title,
    }
}

/// All entries, by code.
pub const CATALOGUE: &[Entry] = &[
    warning(
        "AKS07",
        "identity-binding-half-configured",
        "the token proxy of an AKS identity binding is half configured",
    ),
    error(
        "APP01",
        "static-credentials-shadow-federation",
        "static credentials win over federation in the SDKs",
    ),
    warning(
        "APP02",
        "two-mechanisms-of-one-cloud",
        "two mechanisms of one cloud are configured",
    ),
    warning(
        "APP06",
        "surprising-override",
        "a variable changes what the SDKs do",
    ),
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
        "AWS05",
        "trust-policy-mismatch",
        "the role's trust policy does not admit the token, or the role does not exist",
    ),
    error(
        "AWS09",
        "action-not-allowed",
        "the trust policy does not allow the action",
    ),
    error("AWS10", "role-arn-invalid", "the role ARN is not one"),
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
    error("AWS19", "exchange-refused", "STS refuses the exchange"),
    error(
        "AWS20",
        "credentials-of-somebody-else",
        "the credentials are not those of the expected role",
    ),
    error(
        "AZ01",
        "client-id-unknown",
        "no application has this client id in the tenant",
    ),
    error(
        "AZ02",
        "tenant-unknown",
        "the tenant does not exist, or is not the identity's",
    ),
    error(
        "AZ03",
        "credential-issuer-differs",
        "no federated identity credential has the token's issuer",
    ),
    error(
        "AZ04",
        "credential-audience-differs",
        "no federated identity credential has the token's audience",
    ),
    error(
        "AZ05",
        "credential-subject-differs",
        "no federated identity credential has the token's subject",
    ),
    error(
        "AZ06",
        "credential-too-new",
        "the federated identity credential may not have spread yet",
    ),
    error(
        "AZ08",
        "wrong-cloud",
        "authority and tenant belong to different clouds",
    ),
    error(
        "AZ09",
        "azure-variables-incomplete",
        "not all of the AZURE_* variables are set",
    ),
    error(
        "AZ10",
        "client-secret-shadows-federation",
        "a client secret or certificate in the environment wins over federation",
    ),
    error(
        "AZ11",
        "sign-in-blocked",
        "the tenant's policy or the application's state blocks the sign-in",
    ),
    error(
        "AZ13",
        "scope-invalid",
        "the scope or resource is not one of this cloud",
    ),
    error(
        "AZ14",
        "issuer-unreachable-for-entra",
        "Entra cannot read the issuer's documents",
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
        "GCP15",
        "token-lifetime-out-of-range",
        "the requested token lifetime is out of range",
    ),
    error(
        "GKE04",
        "gke-annotation-wrong",
        "the annotation does not name a Google service account",
    ),
    error(
        "GKE05",
        "gke-binding-missing",
        "the Kubernetes ServiceAccount may not impersonate the Google service account",
    ),
    error(
        "GKE08",
        "metadata-server-not-ready",
        "the metadata server does not answer",
    ),
    error(
        "ISS01",
        "issuer-not-federatable",
        "the issuer is a name that no cloud can reach",
    ),
    error(
        "ISS03",
        "issuer-spelled-differently",
        "the issuer is not spelled the same everywhere",
    ),
    error(
        "ISS05",
        "issuer-unreachable",
        "the issuer cannot be reached",
    ),
    error(
        "ISS06",
        "discovery-document-invalid",
        "the issuer's discovery document is not what the clouds expect",
    ),
    error(
        "ISS08",
        "issuer-certificate-untrusted",
        "the issuer's TLS certificate is not trusted",
    ),
    error(
        "ISS10",
        "signing-key-not-published",
        "the key that signed the token is not in the published JWKS",
    ),
    error(
        "ISS14",
        "jwks-invalid",
        "the published JWKS is not what the clouds accept",
    ),
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
    error(
        "NET04",
        "tls-not-trusted",
        "the TLS connection is not trusted",
    ),
    error("NET05", "proxy-fails", "the proxy refuses or fails"),
    error(
        "POD10",
        "injection-incomplete",
        "variables, token or document are not in the container",
    ),
    error(
        "POD13",
        "token-not-readable",
        "this user may not read the token file",
    ),
    error(
        "TOK01",
        "token-unusable",
        "the token file is missing or does not hold a token",
    ),
    error(
        "TOK03",
        "audience-mismatch",
        "the token's audience is not what the cloud expects",
    ),
    error(
        "TOK04",
        "subject-unexpected",
        "the token\'s subject is not that of a ServiceAccount",
    ),
    error(
        "TOK05",
        "clocks-differ",
        "the clocks differ by more than the cloud tolerates",
    ),
    error(
        "TOK06",
        "token-of-another-issuer",
        "the token comes from an issuer that does not belong here",
    ),
    error(
        "TOK09",
        "token-stale",
        "the token is older than it should be: nobody refreshes it",
    ),
    error(
        "TOK12",
        "algorithm-unsupported",
        "the cloud does not accept the token's signature algorithm",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_unique_sorted_and_well_formed() {
        assert!(
            CATALOGUE.windows(2).all(|w| w[0].code < w[1].code),
            "sorted and unique by code"
        );
        let mut names: Vec<_> = CATALOGUE.iter().map(|e| e.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|w| w[0] != w[1]), "unique by name");
        for entry in CATALOGUE {
            assert!(
                entry.code.len() == 5 || entry.code.len() == 4,
                "{}",
                entry.code
            );
            assert!(
                entry
                    .name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{}",
                entry.name
            );
            assert!(!entry.title.ends_with('.'), "{}", entry.code);
        }
    }
}
