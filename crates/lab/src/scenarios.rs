//! Workloads with a story: what somebody did, what differs because of it, and how it ends.

use std::sync::LazyLock;

use cwii_contract::{Outcome, Provider};
use jiff::SignedDuration;
use serde_json::json;

use crate::{
    case::{Case, Mechanism, TokenFile},
    documents::Document,
    keys::KeyName,
};

/// One workload with its story.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Stable name, kebab-case.
    pub name: &'static str,
    /// One line.
    pub title: &'static str,
    /// Whether the tour plays it.
    pub tour: bool,
    /// What somebody did and what they meant by it, in two sentences.
    pub story: &'static str,
    /// How the workload differs from one that works; for those that work, what they show.
    pub difference: &'static str,
    /// How a verification ends.
    pub outcome: Outcome,
    /// The provider's code; none where the provider is not asked, grants, or has no codes (GKE's metadata server).
    pub provider_code: Option<&'static str>,
    /// Code of the catalogue for the cause, as somebody finds it who has the trust documents too.
    pub check: Option<&'static str>,
    /// Code of the catalogue for what can be told from token, clock, published keys and the provider's answer alone.
    pub agent_check: Option<&'static str>,
    /// The workload.
    pub case: Case,
}

impl Scenario {
    /// The cloud that it leads to.
    #[must_use]
    pub fn provider(&self) -> Provider {
        self.case.mechanism.provider()
    }

    /// Whether it works.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.outcome == Outcome::Verified
    }
}

/// All scenarios, those of the tour first, in the order in which the tour plays them.
#[must_use]
pub fn scenarios() -> &'static [Scenario] {
    static ALL: LazyLock<Vec<Scenario>> = LazyLock::new(|| {
        let mut all = tour();
        all.extend(more());
        all
    });
    &ALL
}

fn tour() -> Vec<Scenario> {
    use Mechanism::{AwsPodIdentity, AwsWebIdentity, EntraFederated, GoogleImpersonated};
    let mut tour = vec![
        works(
            Case::new("hello-aws", AwsWebIdentity),
            "a role on AWS, assumed with the pod's own token",
            "A team gives its checkout service a role and lets exactly that ServiceAccount assume it. Nobody stored a key anywhere.",
            "one role, one OIDC provider, one subject, one audience",
        ),
        works(
            Case::new("hello-google", GoogleImpersonated),
            "a service account on Google Cloud, impersonated",
            "The same service writes to a bucket on Google Cloud. Its token becomes a federated one, and that becomes the service account's.",
            "one pool, one provider, one binding of roles/iam.workloadIdentityUser",
        ),
        works(
            Case::new("hello-entra", EntraFederated),
            "an application in Entra ID, signed in by its federated credential",
            "The billing job reads a vault on Azure. Its application has a federated credential where others have a client secret.",
            "one application, one credential: issuer, subject, audience",
        )
        .of("billing", "invoices"),
        breaks(
            Case::new("aws-wrong-namespace", AwsWebIdentity).set(
                Document::AwsRole,
                SUBJECT_CONDITION,
                json!("system:serviceaccount:shop-staging:checkout"),
            ),
            "the role trusts another namespace",
            "Somebody copied the staging role for production and changed its permissions. The trust policy still names the staging namespace.",
            "`:sub` in the trust policy says `shop-staging` where the token says `shop`",
            ("AccessDenied", "AWS05", "AWS05"),
        ),
        breaks(
            Case::new("aws-audience-not-listed", AwsWebIdentity).set(
                Document::AwsOidcProvider,
                "/ClientIDList",
                json!(["https://kubernetes.default.svc"]),
            ),
            "the OIDC provider does not list the audience",
            "The provider was created by hand with the audience that kubectl printed for an ordinary token. Pods ask with the one that AWS documents.",
            "ClientIDList holds `https://kubernetes.default.svc`, the token's `aud` is `sts.amazonaws.com`",
            ("InvalidIdentityToken", "AWS03", "AWS03"),
        ),
        breaks(
            Case::new("aws-key-not-published", AwsWebIdentity)
                .token(|t| t.key = KeyName::RsaNext),
            "the cluster signs with a key that nobody published",
            "An upgrade gave the control plane a new signing key. The copy of the key set in the public bucket is still the old one.",
            "the token's `kid` is not in the published JWKS",
            ("InvalidIdentityToken", "ISS10", "ISS10"),
        ),
        breaks(
            Case::new("aws-copied-token", AwsWebIdentity)
                .file(TokenFile::Copied)
                .token(|t| t.issued = SignedDuration::from_hours(-3)),
            "a token that was copied once and never renewed",
            "An entrypoint script copies the token into the application's folder when the container starts. The kubelet renews its own file, and nobody renews the copy.",
            "the token expired two hours ago, and the file is no projected volume",
            ("ExpiredTokenException", "TOK09", "TOK09"),
        ),
        breaks(
            Case::new("eks-no-tag-session", AwsPodIdentity).set(
                Document::AwsRole,
                "/Role/AssumeRolePolicyDocument/Statement/0/Action",
                json!("sts:AssumeRole"),
            ),
            "EKS Pod Identity may assume the role but not tag the session",
            "A role was moved from IRSA to EKS Pod Identity, and its principal was changed to the new service. The second action that the service needs was left out.",
            "the trust policy allows `sts:AssumeRole` without `sts:TagSession`",
            ("AccessDeniedException", "EPI04", "EPI04"),
        ),
        breaks(
            Case::new("google-condition-false", GoogleImpersonated).set(
                Document::GoogleProvider,
                "/attributeCondition",
                json!("attribute.namespace == 'production'"),
            ),
            "the provider's condition does not hold",
            "The platform team restricted the pool to the namespace called production. This workload lives in one called shop.",
            "the attribute condition asks for another namespace",
            ("unauthorized_client", "GCP05", "GCP05"),
        ),
        breaks(
            Case::new("google-no-binding", GoogleImpersonated).set(
                Document::GoogleServiceAccountPolicy,
                "/bindings",
                json!([]),
            ),
            "nobody may impersonate the service account",
            "Pool and provider are right and the token is exchanged. The binding on the service account was made in another project and never here.",
            "the service account's policy has no roles/iam.workloadIdentityUser",
            ("PERMISSION_DENIED", "GCP07", "GCP07"),
        ),
        breaks(
            Case::new("entra-issuer-slash", EntraFederated)
                .issuer_ends_in_slash()
                .set(Document::EntraFederatedCredentials, "/0/issuer", json!("{{ISSUER_BASE}}")),
            "a slash at the end of the issuer",
            "The issuer of an AKS cluster ends in a slash. Whoever typed it into the federated credential thought that it did not matter.",
            "the credential's issuer lacks the `/` that the token's `iss` ends in",
            ("AADSTS700211", "AZ03", "AZ03"),
        ),
        breaks(
            Case::new("entra-subject-case", EntraFederated).set(
                Document::EntraFederatedCredentials,
                "/0/subject",
                json!("system:serviceaccount:Shop:Checkout"),
            ),
            "upper case in the credential's subject",
            "The credential was filled in from a spreadsheet that capitalises names. It worked until Entra began to compare letter for letter.",
            "the credential's subject differs from the token's in case alone",
            ("AADSTS7002138", "AZ05", "AZ05"),
        ),
    ];
    for scenario in &mut tour {
        scenario.tour = true;
    }
    tour
}

fn more() -> Vec<Scenario> {
    use Mechanism::{AwsPodIdentity, AwsWebIdentity, EntraFederated, GkeMetadata, GoogleDirect};
    vec![
        works(
            Case::new("hello-pod-identity", AwsPodIdentity),
            "EKS Pod Identity",
            "A cluster on EKS associates the ServiceAccount with a role. The agent on the node hands out the role's credentials.",
            "one association, one role that trusts pods.eks.amazonaws.com",
        ),
        works(
            Case::new("hello-google-direct", GoogleDirect),
            "a federated token on Google Cloud, used directly",
            "Permissions are granted to the workload itself, not to a service account. The federated token is all that it needs.",
            "one pool, one provider, no impersonation",
        ),
        works(
            Case::new("hello-gke", GkeMetadata),
            "Workload Identity Federation for GKE",
            "A pod on GKE asks the metadata server, as it would on a virtual machine. The server knows which ServiceAccount asks.",
            "an annotation on the ServiceAccount and a binding on the service account",
        ),
        works(
            Case::new("hello-aws-p256", AwsWebIdentity)
                .published([KeyName::P256])
                .token(|t| t.key = KeyName::P256),
            "a cluster that signs with an elliptic curve",
            "A new cluster was set up with an ECDSA key for its ServiceAccounts. AWS takes it as it takes RSA.",
            "ES256 in place of RS256",
        ),
        breaks(
            Case::new("aws-condition-key-slash", AwsWebIdentity).set(
                Document::AwsRole,
                "/Role/AssumeRolePolicyDocument/Statement/0/Condition",
                json!({ "StringEquals": {
                    "{{ISSUER_HOST}}/:aud": "{{AUDIENCE}}",
                    "{{ISSUER_HOST}}/:sub": "{{SUBJECT}}",
                } }),
            ),
            "a slash in the condition's key",
            "The condition's keys were built from a variable that ends in a slash. No token ever has keys of that name.",
            "`ISSUER/:sub` where the key is `ISSUER:sub`",
            ("AccessDenied", "AWS06", "AWS05"),
        ),
        breaks(
            Case::new("aws-old-cluster", AwsWebIdentity).set(
                Document::AwsRole,
                "/Role/AssumeRolePolicyDocument/Statement/0/Principal/Federated",
                json!("arn:aws:iam::{{ACCOUNT}}:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF"),
            ),
            "the role trusts the cluster before this one",
            "The cluster was rebuilt, and with it the issuer got a new name. The roles still name the old one.",
            "Principal.Federated is the OIDC provider of another cluster",
            ("AccessDenied", "AWS04", "AWS05"),
        ),
        breaks(
            Case::new("aws-wildcard-in-equals", AwsWebIdentity).set(
                Document::AwsRole,
                SUBJECT_CONDITION,
                json!("system:serviceaccount:shop:*"),
            ),
            "a wildcard where text is compared",
            "Every ServiceAccount of the namespace should do, so the subject ends in an asterisk. StringEquals takes the asterisk for a letter.",
            "`*` under StringEquals, not StringLike",
            ("AccessDenied", "AWS07", "AWS05"),
        ),
        breaks(
            Case::new("aws-wrong-action", AwsWebIdentity).set(
                Document::AwsRole,
                "/Role/AssumeRolePolicyDocument/Statement/0/Action",
                json!("sts:AssumeRole"),
            ),
            "the wrong action in the trust policy",
            "The statement was copied from a role that other roles assume. A token asks for another action.",
            "`sts:AssumeRole` where `sts:AssumeRoleWithWebIdentity` is needed",
            ("AccessDenied", "AWS09", "AWS05"),
        ),
        breaks(
            Case::new("aws-role-missing", AwsWebIdentity).without(Document::AwsRole),
            "the role does not exist",
            "The role was deleted in a clean-up, the annotation stayed. AWS does not say so: it says what it says to everybody.",
            "no such role in the account",
            ("AccessDenied", "AWS11", "AWS05"),
        ),
        breaks(
            Case::new("aws-provider-elsewhere", AwsWebIdentity).set(
                Document::AwsOidcProvider,
                "/Arn",
                json!("arn:aws:iam::444455556666:oidc-provider/{{ISSUER_HOST}}"),
            ),
            "the OIDC provider is in another account",
            "The cluster's account has the provider, the role lives in the application's. A role is only ever asked for a provider of its own account.",
            "no provider for this issuer in the role's account",
            ("InvalidIdentityToken", "AWS01", "AWS01"),
        ),
        breaks(
            Case::new("aws-clock-ahead", AwsWebIdentity)
                .token(|t| t.issued = SignedDuration::from_mins(20)),
            "the control plane's clock is fast",
            "Time synchronisation failed on the control plane and nobody noticed. Its tokens come from twenty minutes ahead.",
            "`iat` lies twenty minutes in the future; AWS allows five",
            ("InvalidIdentityToken", "TOK05", "TOK05"),
        ),
        breaks(
            Case::new("aws-token-newline", AwsWebIdentity).file(TokenFile::Newline),
            "a newline after the token",
            "A script writes the token with echo. The official clients send what is in the file.",
            "one byte after the signature",
            ("InvalidIdentityToken", "TOK01", "TOK01"),
        ),
        invalid(
            Case::new("aws-placeholder", AwsWebIdentity)
                .env("AWS_ROLE_ARN", "arn:aws:iam::${ACCOUNT_ID}:role/checkout"),
            "a placeholder in the role's ARN",
            "The manifest was applied without the tool that fills in variables. The annotation holds the template's text.",
            "the ARN contains `${ACCOUNT_ID}`",
            "AWS10",
        ),
        invalid(
            Case::new("aws-no-token", AwsWebIdentity).file(TokenFile::Missing),
            "no token file",
            "The pod is older than the annotation on its ServiceAccount, and the variables were set by hand. No volume was ever mounted.",
            "AWS_WEB_IDENTITY_TOKEN_FILE names a file that is not there",
            "TOK01",
        ),
        Scenario {
            outcome: Outcome::Unreachable,
            ..breaks(
                Case::new("aws-sts-refused", AwsWebIdentity)
                    .env("AWS_ENDPOINT_URL_STS", CLOSED_HTTPS),
                "nobody listens at the endpoint",
                "An endpoint override points at a VPC endpoint that is gone. Nothing answers there.",
                "connection refused",
                ("", "NET02", "NET02"),
            )
        },
        breaks(
            Case::new("eks-no-association", AwsPodIdentity)
                .without(Document::AwsPodIdentityAssociation),
            "no pod identity association",
            "The association was made for the namespace that the service moved out of. EKS knows nothing of the new one.",
            "no association for this namespace and ServiceAccount",
            ("ResourceNotFoundException", "EPI03", "EPI03"),
        ),
        breaks(
            Case::new("google-audience", GoogleDirect).set(
                Document::GoogleProvider,
                "/oidc/allowedAudiences",
                json!(["https://vault.example.com"]),
            ),
            "the provider allows another audience",
            "Somebody allowed an audience for a second tool and did not know that this switches the default off. Pods still ask with the default.",
            "allowedAudiences does not hold the token's `aud`",
            ("invalid_grant", "GCP04", "GCP04"),
        ),
        breaks(
            Case::new("google-issuer-slash", GoogleDirect).set(
                Document::GoogleProvider,
                "/oidc/issuerUri",
                json!("{{ISSUER}}/"),
            ),
            "a slash at the end of the provider's issuer",
            "The issuer was pasted from a browser. The browser had added a slash.",
            "`issuerUri` ends in a slash that the token's `iss` lacks",
            ("invalid_grant", "GCP03", "GCP03"),
        ),
        breaks(
            Case::new("google-pool-disabled", GoogleDirect).set(
                Document::GoogleWorkloadIdentityPool,
                "/disabled",
                json!(true),
            ),
            "the pool is disabled",
            "The pool was switched off during an incident. Nobody switched it on again.",
            "`disabled` is true",
            ("invalid_target", "GCP02", "GCP02"),
        ),
        breaks(
            Case::new("google-long-subject", GoogleDirect).of(
                "team-payments-reconciliation-production-europe-west-primary",
                "settlement-reconciliation-worker-service-account",
            ),
            "a subject of more than 127 bytes",
            "Names of namespace and ServiceAccount follow a scheme that leaves nothing unsaid. Together they are longer than Google allows.",
            "the mapped google.subject is too long",
            ("invalid_request", "GCP06", "GCP06"),
        ),
        breaks(
            Case::new("gke-no-binding", GkeMetadata).set(
                Document::GoogleServiceAccountPolicy,
                "/bindings/0/members",
                json!(["serviceAccount:{{PROJECT}}.svc.id.goog[checkout/shop]"]),
            ),
            "namespace and ServiceAccount the wrong way round",
            "The binding's member was typed by hand. Namespace and ServiceAccount stand in each other's place.",
            "the member is `[checkout/shop]`, the pod is `[shop/checkout]`",
            ("", "GKE05", "GKE05"),
        ),
        breaks(
            Case::new("entra-audience", EntraFederated).set(
                Document::EntraFederatedCredentials,
                "/0/audiences",
                json!(["api://AzureADTokenExchangeUSGov"]),
            ),
            "the audience of another cloud",
            "The credential was exported from the government cloud. Its audience came with it.",
            "the credential's audience is not the token's",
            ("AADSTS700212", "AZ04", "AZ04"),
        ),
        breaks(
            Case::new("entra-wrong-namespace", EntraFederated).set(
                Document::EntraFederatedCredentials,
                "/0/subject",
                json!("system:serviceaccount:default:checkout"),
            ),
            "the credential names another namespace",
            "The portal's form was filled in with the namespace of the tutorial. The workload runs elsewhere.",
            "the credential's subject says `default`",
            ("AADSTS700213", "AZ05", "AZ05"),
        ),
        breaks(
            Case::new("entra-no-credential", EntraFederated)
                .change(crate::Change::Write(Document::EntraFederatedCredentials, json!([]))),
            "the application has no federated credential",
            "The credential was added to the managed identity. The pod signs in as the application.",
            "the list of credentials is empty",
            ("AADSTS70025", "AZ03", "AZ03"),
        ),
        breaks(
            Case::new("entra-unknown-tenant", EntraFederated)
                .env("AZURE_TENANT_ID", "99999999-9999-4999-8999-999999999999"),
            "a tenant that does not exist",
            "The tenant's id was taken from another environment's settings. Entra does not know it here.",
            "AZURE_TENANT_ID is nobody's",
            ("AADSTS90002", "AZ02", "AZ02"),
        ),
        breaks(
            Case::new("entra-expired", EntraFederated)
                .token(|t| t.issued = SignedDuration::from_hours(-2)),
            "an expired assertion",
            "A long job read its token once, at the start. Two hours later it asks for the next access token with it.",
            "the token expired an hour ago",
            ("AADSTS700024", "TOK09", "TOK09"),
        ),
    ]
}

impl Scenario {
    fn of(mut self, namespace: &'static str, service_account: &'static str) -> Self {
        self.case = self.case.of(namespace, service_account);
        self
    }
}

fn works(
    case: Case,
    title: &'static str,
    story: &'static str,
    difference: &'static str,
) -> Scenario {
    Scenario {
        name: case.name,
        title,
        tour: false,
        story,
        difference,
        outcome: Outcome::Verified,
        provider_code: None,
        check: None,
        agent_check: None,
        case,
    }
}

fn breaks(
    case: Case,
    title: &'static str,
    story: &'static str,
    difference: &'static str,
    (provider_code, check, agent_check): (&'static str, &'static str, &'static str),
) -> Scenario {
    Scenario {
        outcome: Outcome::Denied,
        provider_code: (!provider_code.is_empty()).then_some(provider_code),
        check: Some(check),
        agent_check: Some(agent_check),
        ..works(case, title, story, difference)
    }
}

fn invalid(
    case: Case,
    title: &'static str,
    story: &'static str,
    difference: &'static str,
    check: &'static str,
) -> Scenario {
    Scenario {
        outcome: Outcome::Invalid,
        check: Some(check),
        agent_check: Some(check),
        ..works(case, title, story, difference)
    }
}

/// Where `:sub` stands in the role's trust policy as the lab writes it.
pub(crate) const SUBJECT_CONDITION: &str =
    "/Role/AssumeRolePolicyDocument/Statement/0/Condition/StringEquals/{{ISSUER_HOST}}:sub";
/// A port that nothing listens on: below 1024, and no service of this century's.
pub(crate) const CLOSED_HTTPS: &str = "https://localhost:1";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_kebab_case_and_fit_every_cloud() {
        let mut seen = BTreeSet::new();
        for scenario in scenarios() {
            let name = scenario.name;
            assert!(seen.insert(name), "{name} twice");
            assert!(
                (6..=30).contains(&name.len())
                    && name
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{name}"
            );
        }
    }

    #[test]
    fn the_tour_has_about_ten_and_something_of_every_cloud_that_works() {
        let tour: Vec<_> = scenarios().iter().filter(|s| s.tour).collect();
        assert!((8..=12).contains(&tour.len()));
        for provider in Provider::ALL {
            assert!(
                tour.iter()
                    .any(|s| s.provider() == provider && s.is_healthy())
            );
            assert!(
                tour.iter()
                    .any(|s| s.provider() == provider && !s.is_healthy())
            );
        }
    }
}
