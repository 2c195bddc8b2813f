//! Every row of the clouds' error catalogue, with a way to meet it.
//!
//! A row is provoked by a real decision wherever a document, a token or an environment can bring it about. Where the
//! state behind it has no document (a service control policy, a tenant's policy, throttling, a text that the cloud has
//! since changed), the answer is forced, and the row says so. A few errors only meet whoever writes a configuration:
//! they say why no exchange can provoke them.

use std::sync::LazyLock;

use cwii_contract::{Provider, VerifyExit};
use jiff::SignedDuration;
use serde_json::json;

use crate::{
    case::{Case, Mechanism, TokenFile},
    documents::{Change, Document},
    fault::{ForcedAnswer, Service},
    keys::KeyName,
    scenarios::{CLOSED_HTTPS, SUBJECT_CONDITION},
};

/// One way to meet one row. A row with several causes stands several times.
#[derive(Clone, Debug)]
pub struct Row {
    /// Row of the catalogue: `A1`, `P3`, `G17`, or the number of an AADSTS code.
    pub id: &'static str,
    /// The cloud that it belongs to.
    pub provider: Provider,
    /// What is wrong, in a few words.
    pub title: &'static str,
    /// How it is provoked.
    pub provocation: Provocation,
    /// What the cloud answers to whoever sends what is in the workload; none where it is not asked or cannot answer.
    pub answer: Option<CloudAnswer>,
    /// How an enforcing verification ends. A value that the agent can tell to be wrong is never sent, so the answer
    /// above is then for other clients.
    pub exit: VerifyExit,
    /// Code of the catalogue for what can be told from token, clock, published keys and answer.
    pub check: Option<&'static str>,
}

/// How a row is provoked.
#[derive(Clone, Debug)]
pub enum Provocation {
    /// By a document of the cloud or of the issuer.
    Document(Box<Case>),
    /// By the token or its file.
    Token(Box<Case>),
    /// By the workload's environment.
    Environment(Box<Case>),
    /// By an answer in place of a decision.
    Forced(Box<Case>),
    /// Not at all; the text says why.
    Impossible(&'static str),
}

/// An answer of a cloud.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CloudAnswer {
    /// HTTP status.
    pub status: u16,
    /// Code as the exchange reports it: `AccessDenied`, `invalid_grant`, `PERMISSION_DENIED`, `AADSTS700213`; empty where
    /// the answer has none.
    pub code: &'static str,
    /// Part of the text.
    pub text: &'static str,
}

impl Row {
    /// The workload that provokes it; none where no exchange can.
    #[must_use]
    pub fn case(&self) -> Option<&Case> {
        match &self.provocation {
            Provocation::Document(case)
            | Provocation::Token(case)
            | Provocation::Environment(case)
            | Provocation::Forced(case) => Some(case),
            Provocation::Impossible(_) => None,
        }
    }

    /// Whether the cloud decides it, rather than being told to.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        !matches!(
            self.provocation,
            Provocation::Forced(_) | Provocation::Impossible(_)
        )
    }

    /// The same answer, but the agent ends otherwise.
    fn exit(mut self, exit: VerifyExit) -> Self {
        self.exit = exit;
        self
    }

    /// The agent finds it before it asks anybody.
    fn found_before_asking(self) -> Self {
        let exit = match self.provocation {
            Provocation::Token(_) => VerifyExit::Token,
            _ => VerifyExit::Configuration,
        };
        self.exit(exit)
    }
}

/// All rows, in the order of the catalogue.
#[must_use]
pub fn rows() -> &'static [Row] {
    static ALL: LazyLock<Vec<Row>> = LazyLock::new(|| {
        let mut all = aws();
        all.extend(pod_identity());
        all.extend(google());
        all.extend(entra());
        all
    });
    &ALL
}

fn aws() -> Vec<Row> {
    let case = |name| Case::new(name, Mechanism::AwsWebIdentity);
    let denied = |text| answer(403, "AccessDenied", text);
    let invalid = |text| answer(400, "InvalidIdentityToken", text);
    let sts = |name, status, code, text| {
        forced_case(case(name), Service::AwsSts, status, code, text, None)
    };
    vec![
        row("A1", "the trust policy does not match", denied("Not authorized to perform sts:AssumeRoleWithWebIdentity"), "AWS05",
            document(case("row-a1-subject").set(Document::AwsRole, SUBJECT_CONDITION, json!("system:serviceaccount:shop:other")))),
        row("A1", "the role does not exist", denied("Not authorized to perform sts:AssumeRoleWithWebIdentity"), "AWS05",
            document(case("row-a1-role").without(Document::AwsRole))),
        row("A1", "an explicit Deny", denied("Not authorized to perform sts:AssumeRoleWithWebIdentity"), "AWS05",
            document(case("row-a1-deny").set(Document::AwsRole, "/Role/AssumeRolePolicyDocument/Statement/-", json!({
                "Effect": "Deny", "Principal": "*", "Action": "sts:*",
            })))),
        row("A1", "a service control policy", denied("Not authorized to perform sts:AssumeRoleWithWebIdentity"), "AWS05",
            sts("row-a1-scp", 403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")),
        row("A2", "no OIDC provider for the issuer", invalid("No OpenIDConnect provider found in your account for https://localhost:"), "AWS01",
            document(case("row-a2-provider").without(Document::AwsOidcProvider))),
        row("A3", "the audience is not in ClientIDList", invalid("could not be validated"), "AWS03",
            document(case("row-a3-audience").set(Document::AwsOidcProvider, "/ClientIDList", json!(["other"])))),
        row("A3", "a bad signature under a known kid", invalid("could not be validated"), "ISS10",
            token(case("row-a3-signature").token(|t| t.damaged = true))),
        row("A3", "another key under the same kid", invalid("could not be validated"), "ISS10",
            token(case("row-a3-key").token(|t| { t.key = KeyName::RsaNext; t.kid_of = Some(KeyName::Rsa); }))),
        row("A3", "a key with key_ops", invalid("could not be validated"), "ISS14",
            document(case("row-a3-key-ops").set(Document::Jwks, "/keys/0/key_ops", json!(["verify"])))),
        row("A4", "the older text for an audience that is not registered", invalid("Incorrect token audience"), "AWS03",
            sts("row-a4-audience", 400, "InvalidIdentityToken", "Incorrect token audience")),
        row("A5", "the kid is not published", invalid("Couldn't retrieve verification key"), "ISS10",
            token(case("row-a5-kid").token(|t| t.key = KeyName::RsaNext))),
        row("A5", "no discovery document", invalid("Couldn't retrieve verification key"), "ISS06",
            document(case("row-a5-discovery").without(Document::Discovery))),
        row("A5", "a discovery document that is no JSON", invalid("Couldn't retrieve verification key"), "ISS06",
            document(case("row-a5-html").change(Change::Text(Document::Discovery, "<html>Moved</html>")))),
        row("A5", "a key for encryption", invalid("Couldn't retrieve verification key"), "ISS14",
            document(case("row-a5-use").set(Document::Jwks, "/keys/0/use", json!("enc")))),
        row("A6", "the thumbprint of another authority", invalid("OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint"), "AWS02",
            document(case("row-a6-thumbprint").set(Document::AwsOidcProvider, "/ThumbprintList", json!(["9e99a48a9960b14926bb7f3b02e22da2b0ab7280"])))),
        row("A7", "no JWT", invalid("The ID Token provided is not a valid JWT."), "TOK01",
            token(case("row-a7-opaque").file(TokenFile::Text("opaque-access-token")))).found_before_asking(),
        row("A7", "a newline after the token", invalid("The ID Token provided is not a valid JWT."), "TOK01",
            token(case("row-a7-newline").file(TokenFile::Newline))),
        row("A7", "a critical header", invalid("The ID Token provided is not a valid JWT."), "TOK01",
            token(case("row-a7-crit").token(|t| t.header_member("crit", json!(["exp"]))))),
        row("A8", "a claim is missing", invalid("Missing a required claim: iat"), "TOK01",
            token(case("row-a8-iat").token(|t| t.claim("iat", None)))),
        row("A8", "the subject is missing", invalid("Missing a required claim: sub"), "TOK04",
            token(case("row-a8-sub").token(|t| t.claim("sub", None)))),
        row("A9", "an empty list of audiences", invalid("Claim is not allowed to be empty: aud"), "TOK03",
            token(case("row-a9-audience").token(|t| t.audiences = Vec::new()))),
        row("A10", "two audiences", invalid("Token audience contains more than one audience while authorized party is not present"), "TOK03",
            token(case("row-a10-audiences").token(|t| t.audiences.push("second".into())))),
        row("A11", "issued in the future", invalid("Token issued in the future: "), "TOK05",
            token(case("row-a11-issued").token(|t| t.issued = SignedDuration::from_hours(1)))),
        row("A12", "not yet valid", invalid("Token not yet valid: current date/time"), "TOK05",
            token(case("row-a12-not-before").token(|t| t.not_before = Some(SignedDuration::from_hours(1))))),
        row("A13", "a time with a fraction", invalid("Invalid timestamp in token claims."), "TOK01",
            token(case("row-a13-fraction").token(|t| t.claim("iat", json!(1_767_225_600.5))))),
        row("A14", "session tags in another form", invalid("principal_tags passed in claim is not in correct format."), "TOK01",
            token(case("row-a14-tags").token(|t| t.claim("https://aws.amazon.com/tags", json!({ "principal_tags": { "team": "shop" } }))))),
        row("A15", "ProviderId along with an OIDC token", invalid("Provided Token is not a Login With Amazon token"), "AWS19",
            sts("row-a15-provider-id", 400, "InvalidIdentityToken", "Provided Token is not a Login With Amazon token")),
        row("A15b", "the roles claim lacks the role", invalid("The target role ARN is not present in the roles claim of the identity token"), "AWS19",
            token(case("row-a15b-role").token(|t| t.claim(ROLES_CLAIM, json!(["arn:aws:iam::111122223333:role/other"]))))),
        row("A15b", "the roles claim has no role", invalid("The roles claim contains no valid role ARNs"), "AWS19",
            token(case("row-a15b-none").token(|t| t.claim(ROLES_CLAIM, json!(["*"]))))),
        row("A15c", "the roles claim is a number", invalid("The roles claim is not in a supported format"), "AWS19",
            token(case("row-a15c-number").token(|t| t.claim(ROLES_CLAIM, json!(7))))),
        row("A16", "expired", answer(400, "ExpiredTokenException", "Token expired: current date/time"), "TOK09",
            token(case("row-a16-expired").token(|t| t.issued = SignedDuration::from_hours(-2)))),
        row("A17", "too old", answer(400, "ExpiredTokenException", "Token too old: "), "TOK09",
            sts("row-a17-old", 400, "ExpiredTokenException", "Token too old: 31536000")),
        row("A18", "the identity provider rejected the claim", answer(403, "IDPRejectedClaim", "400 Bad Request"), "AWS19",
            sts("row-a18-rejected", 403, "IDPRejectedClaim", "graph.facebook.com: HTTP response error: 400 Bad Request")),
        row("A19", "the issuer could not be reached", answer(400, "IDPCommunicationError", "could not be reached"), "ISS05",
            sts("row-a19-issuer", 400, "IDPCommunicationError", "The identity provider (IDP) that was asked to verify the incoming identity token could not be reached."))
            .exit(VerifyExit::Unreachable),
        row("A20", "a session policy that is none", answer(400, "MalformedPolicyDocument", "not in the valid JSON format"), "AWS19",
            sts("row-a20-policy", 400, "MalformedPolicyDocument", "The policy is not in the valid JSON format.")),
        row("A21", "session policies and tags too large", answer(400, "PackedPolicyTooLarge", "too large for session"), "AWS19",
            sts("row-a21-packed", 400, "PackedPolicyTooLarge", "Serialized token too large for session")),
        row("A22", "STS is off in the region", answer(403, "RegionDisabledException", "STS is not activated in this region for account:222233334444"), "AWS13",
            document(case("row-a22-region").account("222233334444").set(Document::AwsAccount, "/DisabledRegions", json!(["{{REGION}}"])))),
        row("A23", "no ARN of a role", answer(400, "ValidationError", "Request ARN is invalid"), "AWS10",
            environment(case("row-a23-arn").env("AWS_ROLE_ARN", "arn:aws:iam::111122223333:instance-profile/checkout")))
            .found_before_asking(),
        row("A24", "no session name", answer(400, "ValidationError", "at 'roleSessionName' failed to satisfy constraint"), "AWS15",
            environment(case("row-a24-session").env("AWS_ROLE_SESSION_NAME", "shop/checkout")))
            .found_before_asking(),
        row("A25", "a session longer than the role allows", answer(400, "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."), "AWS14",
            sts("row-a25-duration", 400, "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")),
        row("A26", "more than 20000 characters", answer(400, "ValidationError", "at 'webIdentityToken' failed to satisfy constraint: Member must have length less than or equal to 20000"), "TOK01",
            token(case("row-a26-length").token(|t| t.claim("groups", json!(vec!["a-group-with-a-long-name"; 800]))))),
        row("A27", "throttled", answer(400, "Throttling", "Rate exceeded"), None,
            sts("row-a27-throttled", 400, "Throttling", "Rate exceeded")).exit(VerifyExit::Unreachable),
        row("A28", "the subject is null", answer(500, "InternalFailure", "Unknown error validating third-party token"), "TOK04",
            token(case("row-a28-null").token(|t| t.claim("sub", json!(null))))).exit(VerifyExit::Unreachable),
        row("A28", "out of service", answer(503, "ServiceUnavailable", "Service Unavailable"), None,
            sts("row-a28-service", 503, "ServiceUnavailable", "Service Unavailable")).exit(VerifyExit::Unreachable),
        row("A29", "the credentials are not known to the endpoint", answer(403, "InvalidClientTokenId", "The security token included in the request is invalid."), "AWS20",
            Provocation::Forced(Box::new(
                case("row-a29-token")
                    .forced(Service::AwsSts, forced_answer(403, "InvalidClientTokenId", "The security token included in the request is invalid.", None))
                    .at("GetCallerIdentity"),
            ))),
        row("A30", "session tags without sts:TagSession", denied("is not authorized to perform: sts:TagSession"), "AWS09",
            token(case("row-a30-tags").token(|t| t.claim("https://aws.amazon.com/tags", json!({ "principal_tags": { "team": ["shop"] } }))))),
        row("A31", "nobody listens at the endpoint", None, "NET02",
            environment(case("row-a31-refused").env("AWS_ENDPOINT_URL_STS", CLOSED_HTTPS)))
            .exit(VerifyExit::Unreachable),
        row("A31", "the endpoint's name does not resolve", None, "NET01",
            environment(case("row-a31-name").env("AWS_ENDPOINT_URL_STS", "https://sts.cwii-lab.invalid")))
            .exit(VerifyExit::Unreachable),
        row("A32", "the endpoint's authority is not trusted", None, "NET04",
            environment(other_authority(case("row-a32-authority"))))
            .exit(VerifyExit::Unreachable),
        // Not an error of the exchange: the global endpoint is asked, as botocore does. The CLI wants a region.
        row("A33", "no region", None, "AWS12",
            environment(case("row-a33-region").env("AWS_REGION", None).env("AWS_DEFAULT_REGION", None)))
            .exit(VerifyExit::Verified),
        row("A34", "no token file", None, "TOK01",
            token(case("row-a34-missing").file(TokenFile::Missing))).exit(VerifyExit::Token),
    ]
}

fn pod_identity() -> Vec<Row> {
    let case = |name| Case::new(name, Mechanism::AwsPodIdentity);
    let agent = |name, status, code, text| {
        forced_case(case(name), Service::PodIdentity, status, code, text, None)
    };
    vec![
        row(
            "P1",
            "the role's trust lacks sts:TagSession",
            answer(
                400,
                "AccessDeniedException",
                "EKS does not have permissions to assume the associated role",
            ),
            "EPI04",
            document(case("row-p1-trust").set(
                Document::AwsRole,
                "/Role/AssumeRolePolicyDocument/Statement/0/Action",
                json!("sts:AssumeRole"),
            )),
        ),
        row(
            "P1",
            "the role trusts another service",
            answer(
                400,
                "AccessDeniedException",
                "EKS does not have permissions to assume the associated role",
            ),
            "EPI04",
            document(case("row-p1-principal").set(
                Document::AwsRole,
                "/Role/AssumeRolePolicyDocument/Statement/0/Principal",
                json!({ "Service": "ec2.amazonaws.com" }),
            )),
        ),
        row(
            "P2",
            "no association",
            answer(
                404,
                "ResourceNotFoundException",
                "(ResourceNotFoundException)",
            ),
            "EPI03",
            document(case("row-p2-association").without(Document::AwsPodIdentityAssociation)),
        ),
        row(
            "P3",
            "a token for another audience",
            answer(
                400,
                "",
                "Service account token failed basic claim validations",
            ),
            "TOK03",
            token(
                case("row-p3-audience").token(|t| t.audiences = vec!["sts.amazonaws.com".into()]),
            ),
        ),
        row(
            "P3",
            "no JWT",
            answer(400, "", "Service account token cannot be parsed"),
            "TOK01",
            token(case("row-p3-opaque").file(TokenFile::Text("opaque"))),
        ),
        row(
            "P3",
            "an empty token",
            answer(400, "", "Service account token cannot be empty"),
            "TOK01",
            token(case("row-p3-empty").file(TokenFile::Empty)),
        )
        .found_before_asking(),
        row(
            "P4",
            "called by a name",
            answer(
                403,
                "",
                "Access Denied. Called agent through invalid address",
            ),
            "EPI10",
            environment(case("row-p4-address").env(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "http://localhost:{{POD_IDENTITY_PORT}}/v1/credentials",
            )),
        ),
        row(
            "P5",
            "no agent on the node",
            None,
            "EPI09",
            environment(case("row-p5-refused").env(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "http://127.0.0.1:1/v1/credentials",
            )),
        )
        .exit(VerifyExit::Unreachable),
        row(
            "P6",
            "EKS throttles",
            answer(429, "ThrottlingException", "Too Many Requests"),
            "EPI13",
            agent(
                "row-p6-throttled",
                429,
                "ThrottlingException",
                "Too Many Requests",
            ),
        )
        .exit(VerifyExit::Unreachable),
        row(
            "P7",
            "EKS fails on its side",
            answer(503, "ServiceUnavailableException", "try again"),
            "EPI13",
            agent(
                "row-p7-unavailable",
                503,
                "ServiceUnavailableException",
                "try again",
            ),
        )
        .exit(VerifyExit::Unreachable),
        row(
            "P8",
            "the node may not ask for credentials",
            answer(
                400,
                "AccessDeniedException",
                "eks-auth:AssumeRoleForPodIdentity",
            ),
            "EPI08",
            agent(
                "row-p8-node",
                400,
                "AccessDeniedException",
                "User is not authorized to perform: eks-auth:AssumeRoleForPodIdentity",
            ),
        ),
    ]
}

fn google() -> Vec<Row> {
    let direct = |name| Case::new(name, Mechanism::GoogleDirect);
    let impersonated = |name| Case::new(name, Mechanism::GoogleImpersonated);
    let gke = |name| Case::new(name, Mechanism::GkeMetadata);
    let grant = |text| answer(400, "invalid_grant", text);
    let denied = |text| answer(403, "PERMISSION_DENIED", text);
    let sts = |name, status, code, text| {
        forced_case(direct(name), Service::GoogleSts, status, code, text, None)
    };
    let iam = |name, status, code, text, reason| {
        forced_case(
            impersonated(name),
            Service::GoogleIam,
            status,
            code,
            text,
            Some(reason),
        )
    };
    vec![
        row("G1", "the audience names the project by its id", answer(400, "invalid_request", "Invalid value for \"audience\""), "GCP01",
            environment(direct("row-g1-audience").credentials("/audience", json!("//iam.googleapis.com/projects/{{PROJECT}}/locations/global/workloadIdentityPools/{{POOL}}/providers/{{PROVIDER}}")))),
        row("G2", "the pool is disabled", answer(400, "invalid_target", "The target service indicated by the \"audience\" parameters is invalid."), "GCP02",
            document(direct("row-g2-pool").set(Document::GoogleWorkloadIdentityPool, "/disabled", json!(true)))),
        row("G2", "the provider is deleted", answer(400, "invalid_target", "The target service indicated by the \"audience\" parameters is invalid."), "GCP02",
            document(direct("row-g2-provider").set(Document::GoogleProvider, "/state", json!("DELETED")))),
        row("G3", "the audience is not allowed", grant("The audience in ID Token ["), "GCP04",
            document(direct("row-g3-audience").set(Document::GoogleProvider, "/oidc/allowedAudiences", json!(["other"])))),
        row("G4", "the provider has another issuer", grant("does not match the expected one"), "GCP03",
            document(direct("row-g4-issuer").set(Document::GoogleProvider, "/oidc/issuerUri", json!("{{ISSUER}}/")))),
        row("G5", "expired", grant("is stale to sign-in."), "TOK09",
            token(direct("row-g5-expired").token(|t| t.issued = SignedDuration::from_hours(-2)))),
        row("G6", "the kid is not published", grant("Error connecting to the given credential's issuer."), "ISS10",
            token(direct("row-g6-kid").token(|t| t.key = KeyName::RsaNext))),
        row("G6", "no discovery document", grant("Error connecting to the given credential's issuer."), "ISS06",
            document(direct("row-g6-discovery").without(Document::Discovery))),
        row("G7", "another key under the same kid", grant("Unable to verify the ID Token signature."), "ISS10",
            token(direct("row-g7-signature").token(|t| { t.key = KeyName::RsaNext; t.kid_of = Some(KeyName::Rsa); }))),
        row("G8", "the attribute condition is false", answer(400, "unauthorized_client", "The given credential is rejected by the attribute condition."), "GCP05",
            document(direct("row-g8-condition").set(Document::GoogleProvider, "/attributeCondition", json!("assertion.sub == 'nobody'")))),
        row("G9", "a subject of more than 127 bytes", answer(400, "invalid_request", "exceeds the 127 bytes limit"), "GCP06",
            document(direct("row-g9-subject").of(
                "a-namespace-with-a-name-as-long-as-kubernetes-lets-anybody-have",
                "a-service-account-with-a-name-that-is-not-short-either",
            ))),
        row("G10", "the mapping finds no subject", answer(400, "invalid_grant", "Could not obtain a value for google.subject from the given credential."), "GCP05",
            document(direct("row-g10-mapping").set(Document::GoogleProvider, "/attributeMapping/google.subject", json!("assertion.email")))),
        impossible("G11", Provider::Gcp, "keys that cannot be uploaded", "IAM refuses them when the provider is written, so no exchange meets them"),
        impossible("G12", Provider::Gcp, "an issuer without https", "IAM refuses it when the provider is written, so no exchange meets it"),
        row("G13", "a scope that is none", answer(400, "invalid_scope", "is not a valid scope"), "GCP12",
            sts("row-g13-scope", 400, "invalid_scope", "\"cloud-platform\" is not a valid scope.")),
        row("G14", "a request of another type", answer(400, "unsupported_grant_type", "Invalid grant_type"), "GCP10",
            sts("row-g14-grant-type", 400, "unsupported_grant_type", "Invalid grant_type.")),
        row("G14", "a request that lacks a field", answer(400, "invalid_request", "Missing required field"), "GCP10",
            sts("row-g14-field", 400, "invalid_request", "Missing required field: subject_token_type")),
        row("G15", "throttled", answer(429, "quota_exceeded", "The request was throttled due to rate limit"), None,
            sts("row-g15-throttled", 429, "quota_exceeded", "The request was throttled due to rate limit: sts.googleapis.com/requests. Please retry after a few seconds."))
            .exit(VerifyExit::Unreachable),
        row("G16", "a token with a second left", answer(500, "server_error", ""), "TOK09",
            token(direct("row-g16-second").token(|t| t.expires = Some(SignedDuration::from_secs(1)))))
            .exit(VerifyExit::Unreachable),
        row("G17", "nobody may impersonate", denied("Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist)."), "GCP07",
            document(impersonated("row-g17-binding").set(Document::GoogleServiceAccountPolicy, "/bindings", json!([])))),
        row("G18", "the API is off", denied("IAM Service Account Credentials API has not been used in project 987654321098 before or it is disabled."), "GCP09",
            document(impersonated("row-g18-service").project("other-project", "987654321098")
                .unset(Document::GoogleServices, "/2"))),
        row("G19", "no such service account", answer(404, "NOT_FOUND", "Not found; Gaia id not found for email row-g19-account@"), "GCP08",
            document(impersonated("row-g19-account").without(Document::GoogleServiceAccountPolicy))),
        row("G20", "a lifetime of more than an hour", answer(400, "INVALID_ARGUMENT", "can not have lifetimes of more than 1 hour"), "GCP15",
            environment(impersonated("row-g20-lifetime").credentials("/service_account_impersonation", json!({ "token_lifetime_seconds": 7200 })))),
        row("G21", "the federated token has another scope", denied("Request had insufficient authentication scopes."), "GCP12",
            iam("row-g21-scope", 403, "PERMISSION_DENIED", "Request had insufficient authentication scopes.", "ACCESS_TOKEN_SCOPE_INSUFFICIENT")),
        row("G22", "a federated token is not taken", answer(401, "UNAUTHENTICATED", "Request had invalid authentication credentials."), "GCP13",
            iam("row-g22-token", 401, "UNAUTHENTICATED", "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.", "ACCESS_TOKEN_TYPE_UNSUPPORTED")),
        impossible("G23", Provider::Gcp, "a permission is missing on the target", "the target's API answers this, and an exchange asks none"),
        impossible("G24", Provider::Gcp, "an organisation policy on issuers", "IAM refuses the provider when it is written, so no exchange meets it"),
        row("G25", "a service perimeter", answer(403, "PERMISSION_DENIED", "Request is prohibited by organization's policy."), "GCP09",
            iam("row-g25-perimeter", 403, "PERMISSION_DENIED", "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: lab", "SECURITY_POLICY_VIOLATED")),
        row("G26", "GKE: nobody may impersonate", answer(403, "", "Unable to generate access token; IAM returned 403 Forbidden"), "GKE05",
            document(gke("row-g26-binding").set(Document::GoogleServiceAccountPolicy, "/bindings", json!([])))),
        row("G27", "GKE: no such service account", answer(404, "", "Unable to generate access token; IAM returned 404 Not Found: Not found; Gaia id not found for email"), "GKE04",
            document(gke("row-g27-account").without(Document::GoogleServiceAccountPolicy))),
        row("G28", "nothing is configured", None, "POD10",
            environment(direct("row-g28-nothing")
                .env("GOOGLE_APPLICATION_CREDENTIALS", None)
                .env("CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE", None)
                .env("GCE_METADATA_HOST", "127.0.0.1:1")
                .env("GCE_METADATA_IP", "127.0.0.1:1")
                .env("NO_GCE_CHECK", "true")))
            .exit(VerifyExit::Configuration),
        row("G29", "no credentials document", None, "GCP10",
            environment(direct("row-g29-missing").env("GOOGLE_APPLICATION_CREDENTIALS", "{{DIR}}/nothing.json")))
            .exit(VerifyExit::Configuration),
        row("G29", "a credentials document of another type", None, "GCP10",
            environment(direct("row-g29-type").credentials("/type", json!("authorized_user"))))
            .exit(VerifyExit::Configuration),
        row("G30", "the token's member is not in the file", None, "GCP10",
            environment(direct("row-g30-field").file(TokenFile::Json)
                .credentials("/credential_source/format/subject_token_field_name", json!("id_token"))))
            .exit(VerifyExit::Token),
        row("G31", "no metadata server", None, "GKE08",
            environment(gke("row-g31-refused")
                .env("GCE_METADATA_HOST", "127.0.0.1:1")
                .env("GCE_METADATA_ROOT", "127.0.0.1:1")
                .env("GCE_METADATA_IP", "127.0.0.1:1")))
            .exit(VerifyExit::Unreachable),
    ]
}

fn entra() -> Vec<Row> {
    let case = |name| Case::new(name, Mechanism::EntraFederated);
    let client = |status, code, text| answer(status, code, text);
    let mut rows = vec![
        row("700211", "another issuer", client(401, "AADSTS700211", "No matching federated identity record found for presented assertion issuer"), "AZ03",
            document(case("row-700211-issuer").set(Document::EntraFederatedCredentials, "/0/issuer", json!("{{ISSUER}}/")))),
        row("700212", "another audience", client(401, "AADSTS700212", "presented assertion audience"), "AZ04",
            document(case("row-700212-audience").set(Document::EntraFederatedCredentials, "/0/audiences", json!(["api://AzureADTokenExchangeChina"])))),
        row("700213", "another subject", client(401, "AADSTS700213", "presented assertion subject"), "AZ05",
            document(case("row-700213-subject").set(Document::EntraFederatedCredentials, "/0/subject", json!("system:serviceaccount:shop:other")))),
        row("7002131", "an expression that does not match", client(401, "AADSTS7002131", "AADSTS7002131"), "AZ05",
            token(expression(case("row-7002131-expression"), json!("claims['sub'] matches 'repo:other/*'")))),
        row("7002138", "the subject in another case", client(401, "AADSTS7002138", "The subject matches with case-insensitive comparison, but not with case-sensitive comparison."), "AZ05",
            document(case("row-7002138-case").set(Document::EntraFederatedCredentials, "/0/subject", json!("system:serviceaccount:Shop:checkout")))),
        row("700222", "a token of Entra itself", client(401, "AADSTS700222", "AADSTS700222"), "TOK06",
            token(case("row-700222-entra").token(|t| t.claim("iss", json!("https://login.microsoftonline.com/aaaabbbb-0000-cccc-1111-dddd2222eeee/v2.0"))))),
        row("7002241", "an expression for an issuer that may not have one", client(401, "AADSTS7002241", "AADSTS7002241"), "AZ05",
            document(case("row-7002241-issuer")
                .unset(Document::EntraFederatedCredentials, "/0/subject")
                .set(Document::EntraFederatedCredentials, "/0/claimsMatchingExpression", json!({ "value": "claims['sub'] matches 'system:serviceaccount:shop:*'", "languageVersion": 1 })))),
        row("700233", "an expression that cannot be read", client(401, "AADSTS700233", "AADSTS700233"), "AZ05",
            token(expression(case("row-700233-expression"), json!("claims['sub'] similar to 'repo:x'")))),
        row("700235", "an expression on a managed identity", client(401, "AADSTS700235", "AADSTS700235"), "AZ05",
            token(expression(case("row-700235-identity"), json!("claims['sub'] matches 'repo:lab/*'"))
                .change(Change::Write(Document::EntraApplication, json!({ "clientId": "{{CLIENT_ID}}", "name": "{{CASE}}", "type": "Microsoft.ManagedIdentity/userAssignedIdentities" }))))),
        row("70025", "no credential", client(401, "AADSTS70025", "has no configured federated identity credentials."), "AZ03",
            document(case("row-70025-credential").change(Change::Write(Document::EntraFederatedCredentials, json!([]))))),
        row("700016", "no such application", client(400, "AADSTS700016", "was not found in the directory"), "AZ01",
            document(case("row-700016-client").without(Document::EntraApplication).without(Document::EntraFederatedCredentials).without(Document::EntraServicePrincipal))),
        row("7000229", "no service principal in the tenant", client(401, "AADSTS7000229", "is missing service principal in the tenant"), "AZ02",
            document(case("row-7000229-principal").without(Document::EntraServicePrincipal))),
        row("7000112", "the application is disabled", client(401, "AADSTS7000112", "is disabled."), "AZ11",
            document(case("row-7000112-disabled").set(Document::EntraServicePrincipal, "/accountEnabled", json!(false)))),
        row("90002", "no such tenant", client(400, "AADSTS90002", "not found."), "AZ02",
            environment(case("row-90002-tenant").env("AZURE_TENANT_ID", "99999999-9999-4999-8999-999999999999"))),
        row("900023", "a tenant that is neither domain nor id", client(400, "AADSTS900023", "is neither a valid DNS name, nor a valid external domain."), "AZ02",
            environment(case("row-900023-tenant").env("AZURE_TENANT_ID", "${TENANT_ID}"))).found_before_asking(),
        row("900144", "the client id is empty", client(400, "AADSTS900144", "The request body must contain the following parameter: 'client_id'"), "AZ09",
            environment(case("row-900144-client").env("AZURE_CLIENT_ID", ""))).found_before_asking(),
        row("7000218", "an empty token file", client(401, "AADSTS7000218", "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."), "TOK01",
            token(case("row-7000218-empty").file(TokenFile::Empty))).found_before_asking(),
        row("50027", "a truncated token", client(400, "AADSTS50027", "JWT token is invalid or malformed."), "TOK01",
            token(case("row-50027-truncated").file(TokenFile::Text("eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4I")))).found_before_asking(),
        row("50027", "quotes around the token", client(400, "AADSTS50027", "JWT token is invalid or malformed."), "TOK01",
            token(case("row-50027-quoted").file(TokenFile::Quoted))),
        row("5002727", "a header of another type", client(401, "AADSTS5002727", "Invalid JWT header type specified"), "TOK01",
            token(case("row-5002727-type").token(|t| t.header_member("typ", json!("at+jwt"))))),
        row("700024", "expired", client(401, "AADSTS700024", "Client assertion is not within its valid time range."), "TOK09",
            token(case("row-700024-expired").token(|t| t.issued = SignedDuration::from_hours(-2)))),
        row("700024", "not yet valid", client(401, "AADSTS700024", "Client assertion is not within its valid time range."), "TOK05",
            token(case("row-700024-future").token(|t| t.issued = SignedDuration::from_mins(30)))),
        row("700027", "the kid is not published", client(401, "AADSTS700027", "AADSTS700027"), "ISS10",
            token(case("row-700027-kid").token(|t| t.key = KeyName::RsaNext))),
        row("700027", "a bad signature", client(401, "AADSTS700027", "AADSTS700027"), "ISS10",
            token(case("row-700027-signature").token(|t| t.damaged = true))),
        row("90061", "no discovery document", client(400, "AADSTS90061", "AADSTS90061"), "ISS06",
            document(case("row-90061-discovery").without(Document::Discovery))),
    ];
    rows.extend(
        FORCED_ENTRA
            .iter()
            .map(|&(number, name, status, error, text, exit, check)| Row {
                id: number,
                provider: Provider::Az,
                title: "a state of the tenant or of Entra that no document expresses",
                answer: answer(status, aadsts(number), text),
                exit,
                check,
                provocation: forced_case(
                    case(name),
                    Service::Entra,
                    status,
                    number,
                    text,
                    Some(error),
                ),
            }),
    );
    rows.push(impossible(
        "FIC",
        Provider::Az,
        "limits of federated credentials: 20 of them, duplicates, 600 characters, one audience, concurrent writes",
        "Graph refuses them when a credential is written, so no exchange meets them",
    ));
    rows
}

/// Number, name of the case, HTTP status, OAuth error, text, exit, code of the catalogue.
type ForcedEntra = (
    &'static str,
    &'static str,
    u16,
    &'static str,
    &'static str,
    VerifyExit,
    Option<&'static str>,
);

const FORCED_ENTRA: &[ForcedEntra] = {
    use VerifyExit::{Denied, Unreachable};
    &[
        (
            "70021",
            "row-70021",
            401,
            "invalid_client",
            "No matching federated identity record found for presented assertion. Assertion Issuer: 'I'. Assertion Subject: 'S'. Assertion Audience: 'A'.",
            Denied,
            Some("AZ03"),
        ),
        (
            "7002121",
            "row-7002121",
            401,
            "invalid_client",
            "No matching federated identity record found for presented assertion audience 'A'.",
            Denied,
            Some("AZ04"),
        ),
        (
            "700223",
            "row-700223",
            400,
            "unauthorized_client",
            "Workload identity federation is disabled by a policy of the tenant.",
            Denied,
            Some("AZ11"),
        ),
        (
            "700238",
            "row-700238",
            400,
            "unauthorized_client",
            "Workload identity federation is constrained by a policy of the tenant.",
            Denied,
            Some("AZ11"),
        ),
        (
            "7002381",
            "row-7002381",
            401,
            "invalid_client",
            "Federated identity credentials issued by 'I' for applications or managed identities registered in this tenant must contain the enterprise claim with value 'x' but actual value is ''.",
            Denied,
            Some("AZ11"),
        ),
        (
            "700234",
            "row-700234",
            400,
            "invalid_request",
            "The expression of the federated identity credential could not be evaluated.",
            Denied,
            Some("AZ05"),
        ),
        (
            "700236",
            "row-700236",
            400,
            "invalid_request",
            "Entra issuer is not allowed for this federated identity credential.",
            Denied,
            Some("AZ05"),
        ),
        (
            "700237",
            "row-700237",
            400,
            "invalid_request",
            "Expression is not allowed for this federated identity credential.",
            Denied,
            Some("AZ05"),
        ),
        (
            "700226",
            "row-700226",
            400,
            "invalid_request",
            "Only tokens of managed identities are accepted.",
            Denied,
            Some("AZ11"),
        ),
        (
            "7000226",
            "row-7000226",
            400,
            "invalid_request",
            "The application has no policy for federated identity credentials.",
            Denied,
            Some("AZ11"),
        ),
        (
            "700227",
            "row-700227",
            400,
            "invalid_request",
            "The audience of the token is forbidden.",
            Denied,
            Some("AZ04"),
        ),
        (
            "900382",
            "row-900382",
            400,
            "invalid_request",
            "Confidential Client is not supported in Cross Cloud request.",
            Denied,
            Some("AZ08"),
        ),
        (
            "900439",
            "row-900439",
            400,
            "invalid_request",
            "USGClientNotSupportedOnPublicEndpoint",
            Denied,
            Some("AZ08"),
        ),
        (
            "900440",
            "row-900440",
            400,
            "invalid_request",
            "PublicClientNotSupportedOnUSGEndpoint",
            Denied,
            Some("AZ08"),
        ),
        (
            "500011",
            "row-500011",
            400,
            "invalid_resource",
            "The resource principal named https://management.azure.com was not found in the tenant named Lab.",
            Denied,
            Some("AZ13"),
        ),
        (
            "1002012",
            "row-1002012",
            400,
            "invalid_scope",
            "The provided value for scope https://management.azure.com is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).",
            Denied,
            Some("AZ13"),
        ),
        (
            "70011",
            "row-70011",
            400,
            "invalid_scope",
            "The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' is not valid.",
            Denied,
            Some("AZ13"),
        ),
        (
            "28002",
            "row-28002",
            400,
            "invalid_scope",
            "Provided value for the input parameter scope is not valid when requesting an access token.",
            Denied,
            Some("AZ13"),
        ),
        (
            "700021",
            "row-700021",
            401,
            "invalid_client",
            "Client assertion application identifier doesn't match 'client_id' parameter.",
            Denied,
            Some("AZ03"),
        ),
        (
            "50166",
            "row-50166",
            400,
            "invalid_request",
            "Request to External OIDC endpoint failed.",
            Denied,
            Some("AZ14"),
        ),
        (
            "501661",
            "row-501661",
            400,
            "invalid_request",
            "Request to External OIDC endpoint failed.",
            Denied,
            Some("AZ14"),
        ),
        (
            "50013",
            "row-50013",
            400,
            "invalid_grant",
            "Assertion failed signature validation.",
            Denied,
            Some("ISS10"),
        ),
        (
            "500133",
            "row-500133",
            400,
            "invalid_grant",
            "Assertion is not within its valid time range.",
            Denied,
            Some("TOK05"),
        ),
        (
            "7000215",
            "row-7000215",
            401,
            "invalid_client",
            "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID.",
            Denied,
            Some("AZ10"),
        ),
        (
            "7000222",
            "row-7000222",
            401,
            "invalid_client",
            "The provided client secret keys for app are expired.",
            Denied,
            Some("AZ10"),
        ),
        (
            "53003",
            "row-53003",
            400,
            "interaction_required",
            "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.",
            Denied,
            Some("AZ11"),
        ),
        (
            "530032",
            "row-530032",
            400,
            "interaction_required",
            "Blocked by Conditional Access on the tenant.",
            Denied,
            Some("AZ11"),
        ),
        (
            "53005",
            "row-53005",
            400,
            "interaction_required",
            "Application needs to enforce Intune protection policies.",
            Denied,
            Some("AZ11"),
        ),
        (
            "500021",
            "row-500021",
            400,
            "invalid_request",
            "Access to the tenant is denied.",
            Denied,
            Some("AZ11"),
        ),
        (
            "500022",
            "row-500022",
            400,
            "invalid_request",
            "Access to the tenant is denied: the tenant restriction header is not valid.",
            Denied,
            Some("AZ11"),
        ),
        (
            "5000224",
            "row-5000224",
            400,
            "invalid_request",
            "We are sorry, this resource is not available. If you are seeing this message by mistake, please contact Microsoft support.",
            Denied,
            Some("AZ11"),
        ),
        (
            "5000225",
            "row-5000225",
            400,
            "invalid_request",
            "This tenant has been blocked due to inactivity.",
            Denied,
            Some("AZ11"),
        ),
        (
            "5000229",
            "row-5000229",
            400,
            "invalid_request",
            "This tenant has been blocked.",
            Denied,
            Some("AZ11"),
        ),
        (
            "50020",
            "row-50020",
            400,
            "invalid_request",
            "The user account does not exist in the tenant.",
            Denied,
            Some("AZ02"),
        ),
        (
            "50034",
            "row-50034",
            400,
            "invalid_grant",
            "The user account does not exist in the directory.",
            Denied,
            Some("AZ02"),
        ),
        (
            "50196",
            "row-50196",
            400,
            "invalid_request",
            "The server terminated an operation because it encountered a client request loop.",
            Unreachable,
            None,
        ),
        (
            "500531",
            "row-500531",
            400,
            "temporarily_unavailable",
            "A transient error has occurred.",
            Unreachable,
            None,
        ),
        (
            "90033",
            "row-90033",
            503,
            "temporarily_unavailable",
            "A transient error has occurred. Please try again.",
            Unreachable,
            None,
        ),
        (
            "90055",
            "row-90055",
            429,
            "temporarily_unavailable",
            "The request was throttled due to too many requests.",
            Unreachable,
            None,
        ),
    ]
};

/// A GitHub workflow's token and a flexible credential for it: expressions are for GitHub and a few more.
fn expression(case: Case, expression: serde_json::Value) -> Case {
    case.token(|t| {
        t.claim("iss", json!("https://token.actions.githubusercontent.com"));
        t.claim("sub", json!("repo:lab/shop:ref:refs/heads/main"));
    })
    .unset(Document::EntraFederatedCredentials, "/0/subject")
    .set(
        Document::EntraFederatedCredentials,
        "/0/issuer",
        json!("https://token.actions.githubusercontent.com"),
    )
    .set(
        Document::EntraFederatedCredentials,
        "/0/claimsMatchingExpression",
        json!({ "value": expression, "languageVersion": 1 }),
    )
}

/// The workload trusts an authority that did not sign the servers' certificates.
fn other_authority(case: Case) -> Case {
    [
        "AWS_CA_BUNDLE",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "SSL_CERT_FILE",
    ]
    .into_iter()
    .fold(case, |case, name| case.env(name, "{{OTHER_CA_FILE}}"))
}

fn row(
    id: &'static str,
    title: &'static str,
    answer: Option<CloudAnswer>,
    check: impl Into<Option<&'static str>>,
    provocation: Provocation,
) -> Row {
    let mut row = Row {
        id,
        provider: Provider::Aws,
        title,
        provocation,
        answer,
        exit: VerifyExit::Denied,
        check: check.into(),
    };
    if let Some(case) = row.case() {
        row.provider = case.mechanism.provider();
    }
    row
}

fn impossible(id: &'static str, provider: Provider, title: &'static str, why: &'static str) -> Row {
    Row {
        id,
        provider,
        title,
        provocation: Provocation::Impossible(why),
        answer: None,
        exit: VerifyExit::Verified,
        check: None,
    }
}

/// An option, since some rows have none.
const fn answer(status: u16, code: &'static str, text: &'static str) -> Option<CloudAnswer> {
    Some(CloudAnswer { status, code, text })
}

fn document(case: Case) -> Provocation {
    Provocation::Document(Box::new(case))
}

fn token(case: Case) -> Provocation {
    Provocation::Token(Box::new(case))
}

fn environment(case: Case) -> Provocation {
    Provocation::Environment(Box::new(case))
}

fn forced_case(
    case: Case,
    service: Service,
    status: u16,
    code: &str,
    text: &str,
    detail: Option<&str>,
) -> Provocation {
    Provocation::Forced(Box::new(
        case.forced(service, forced_answer(status, code, text, detail)),
    ))
}

fn forced_answer(status: u16, code: &str, message: &str, detail: Option<&str>) -> ForcedAnswer {
    ForcedAnswer {
        status,
        code: code.to_owned(),
        message: message.to_owned(),
        detail: detail.map(str::to_owned),
    }
}

/// `AADSTS` and a number, for the numbers of the forced table.
fn aadsts(number: &'static str) -> &'static str {
    static CODES: LazyLock<std::collections::BTreeMap<&'static str, String>> =
        LazyLock::new(|| {
            FORCED_ENTRA
                .iter()
                .map(|row| (row.0, format!("AADSTS{}", row.0)))
                .collect()
        });
    CODES.get(number).map_or("", String::as_str)
}

const ROLES_CLAIM: &str = "https://aws.amazon.com/roles";
