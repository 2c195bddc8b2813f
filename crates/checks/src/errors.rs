//! The error table: what a provider's answer means, as data.
//!
//! Providers change their texts, and Microsoft says that even its numbers may change, so a row matches on step, code,
//! status and a piece of the text, the most telling first, and the raw answer is always printed beside the meaning.
//! Where token, clock or the published keys tell more than the text, [`crate::diagnose()`] goes by them.

use crate::facts::{Answer, Step};

/// What an answer means for the exit code and for another try.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    /// The cloud said no. Asking again gives the same answer.
    Denied,
    /// The cloud could not decide now: throttled, overloaded, its own dependency away.
    Transient,
}

/// How far the cloud got with the token before it answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// It had not accepted the token: token, clock and keys can be the cause, whatever the text says.
    Token,
    /// The token was fine; what is compared with it, or what comes after, is the cause.
    Trust,
    /// The request never got as far as the token.
    Request,
}

/// One row: an answer and its meaning.
#[derive(Debug, Eq, PartialEq)]
pub struct Row {
    /// Number of the row, such as `A1`; for Entra the AADSTS number.
    pub id: &'static str,
    /// Steps at which it is met.
    pub steps: &'static [Step],
    /// HTTP statuses; empty: any.
    pub statuses: &'static [u16],
    /// Codes of the provider; empty: any.
    pub codes: &'static [&'static str],
    /// Pieces of the text, lower case, of which one must be there; empty: any.
    pub texts: &'static [&'static str],
    /// What it means for exit code and retries.
    pub class: Class,
    /// How far the token got.
    pub stage: Stage,
    /// The code of the catalogue unless facts tell a better one; none for passing trouble.
    pub code: Option<&'static str>,
    /// The meaning, one sentence without a period.
    pub meaning: &'static str,
    /// What to do.
    pub fix: &'static str,
}

/// What is known of an answer at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Classified {
    /// The row that matched.
    pub row: Option<&'static Row>,
    /// Whether another try may give another answer.
    pub transient: bool,
    /// Whether a trust object made within the last minutes gives this answer until it has spread.
    pub propagating: bool,
}

/// Finds the row of an answer. An answer that no row knows is transient by its status (408, 429, 5xx), else a denial.
#[must_use]
pub fn classify(step: Step, answer: &Answer) -> Classified {
    let text = answer.message.to_lowercase();
    let row = ROWS.iter().find(|row| {
        row.steps.contains(&step)
            && (row.statuses.is_empty() || row.statuses.contains(&answer.status))
            && (row.codes.is_empty()
                || answer
                    .code
                    .as_deref()
                    .is_some_and(|c| row.codes.contains(&c)))
            && (row.texts.is_empty() || row.texts.iter().any(|t| text.contains(t)))
    });
    let transient = match row {
        Some(row) => row.class == Class::Transient,
        None => matches!(answer.status, 408 | 429 | 500..),
    };
    Classified {
        row,
        transient,
        propagating: row.is_some_and(|r| {
            [
                "A1", "A2", "G17", "70021", "700211", "700212", "700213", "70025",
            ]
            .contains(&r.id)
        }),
    }
}

/// The row with this number.
#[must_use]
pub fn row(id: &str) -> Option<&'static Row> {
    ROWS.iter().find(|r| r.id == id)
}

const STS: &[Step] = &[Step::AssumeRoleWithWebIdentity];
const STS_ANY: &[Step] = &[Step::AssumeRoleWithWebIdentity, Step::GetCallerIdentity];
const CALLER: &[Step] = &[Step::GetCallerIdentity];
const POD_IDENTITY: &[Step] = &[Step::ContainerCredentials];
const GOOGLE_STS: &[Step] = &[Step::GoogleTokenExchange];
const GOOGLE_IAM: &[Step] = &[Step::GoogleImpersonation];
const GOOGLE_ANY: &[Step] = &[Step::GoogleTokenExchange, Step::GoogleImpersonation];
const METADATA: &[Step] = &[Step::GoogleMetadata];
const ENTRA: &[Step] = &[Step::EntraToken];

macro_rules! rows {
    ($($id:literal $steps:ident [$($status:literal)*] [$($code:literal)*] [$($text:literal)*] $class:ident $stage:ident $finding:expr, $meaning:literal, $fix:literal;)*) => {
        /// All rows, the more telling before the more general.
        pub const ROWS: &[Row] = &[$(Row {
            id: $id,
            steps: $steps,
            statuses: &[$($status),*],
            codes: &[$($code),*],
            texts: &[$($text),*],
            class: Class::$class,
            stage: Stage::$stage,
            code: $finding,
            meaning: $meaning,
            fix: $fix,
        }),*];
    };
}

rows! {
    // AWS STS. Source: STS API reference, "Errors"; recorded answers.
    "A30" STS [403] ["AccessDenied"] ["sts:tagsession"] Denied Trust Some("AWS09"),
        "the token asks for session tags and the role's trust policy does not allow `sts:TagSession`",
        "allow `sts:TagSession` beside `sts:AssumeRoleWithWebIdentity` in the role's trust policy";
    "A1" STS [] ["AccessDenied" "AccessDeniedException"] [] Denied Trust Some("AWS05"),
        "STS accepted the token itself, but the role's trust policy does not admit it, or there is no such role",
        "compare the trust policy's principal and conditions with the issuer, subject and audience of the token";
    "A2" STS [] ["InvalidIdentityToken"] ["no openidconnect provider found"] Denied Token Some("AWS01"),
        "the role's account has no IAM OIDC provider whose URL is exactly the token's issuer",
        "create the IAM OIDC provider in the role's account, with the issuer spelled as in the token";
    "A4" STS [] ["InvalidIdentityToken"] ["incorrect token audience"] Denied Token Some("AWS03"),
        "the token's audience is not among the client ids of the IAM OIDC provider",
        "add the audience to the provider's client ids, or have the token minted for a registered one";
    "A5" STS [] ["InvalidIdentityToken"] ["couldn't retrieve verification key" "could not be retrieved"] Denied Token Some("ISS05"),
        "STS could not fetch the issuer's documents, or the token's key is not among the published keys",
        "make discovery document and JWKS readable from the internet, with the key that signs now in the JWKS";
    "A6" STS [] ["InvalidIdentityToken"] ["thumbprint"] Denied Token Some("AWS02"),
        "the issuer's certificate does not match a thumbprint of the IAM OIDC provider",
        "update the provider's thumbprint list, or serve the issuer with a public CA";
    "A15" STS [] ["InvalidIdentityToken"] ["login with amazon"] Denied Request Some("AWS19"),
        "the request named an OAuth provider for an OIDC token",
        "send no ProviderId with an OIDC token";
    "A7" STS [] ["InvalidIdentityToken"] ["not a valid jwt"] Denied Token Some("TOK01"),
        "what was sent is not a JWT that STS can read",
        "mount the projected token volume itself and pass its file unchanged";
    "A8" STS [] ["InvalidIdentityToken"] ["missing a required claim"] Denied Token Some("TOK01"),
        "the token lacks a claim that STS requires",
        "use a projected ServiceAccount token; it carries iss, sub, aud, iat and exp";
    "A9" STS [] ["InvalidIdentityToken"] ["not allowed to be empty"] Denied Token Some("TOK03"),
        "the token's audience is empty",
        "set the audience of the projected token";
    "A10" STS [] ["InvalidIdentityToken"] ["more than one audience"] Denied Token Some("TOK03"),
        "the token has more than one audience and no `azp`, which STS refuses",
        "mint the token for one audience";
    "A11" STS [] ["InvalidIdentityToken"] ["issued in the future"] Denied Token Some("TOK05"),
        "the token was issued in the future by the clock of STS",
        "set the clock of the control plane that signs the tokens (NTP)";
    "A12" STS [] ["InvalidIdentityToken"] ["not yet valid"] Denied Token Some("TOK05"),
        "the token is not valid yet by the clock of STS",
        "set the clock of the control plane that signs the tokens (NTP)";
    "A13" STS [] ["InvalidIdentityToken"] ["invalid timestamp"] Denied Token Some("TOK01"),
        "a time in the token is not a whole number of seconds",
        "use a token that the API server signed";
    "A14" STS [] ["InvalidIdentityToken"] ["principal_tags"] Denied Token Some("TOK01"),
        "the session tags in the token are not in the form that STS wants",
        "make every session tag in the token an array with one value";
    "A15b" STS [] ["InvalidIdentityToken"] ["not present in the roles claim" "no valid role arns"] Denied Token Some("AWS19"),
        "the token lists the roles that it may assume, and this role is not among them",
        "add the exact role ARN to the `https://aws.amazon.com/roles` claim, or drop the claim";
    "A15c" STS [] ["InvalidIdentityToken"] ["roles claim is not in a supported format"] Denied Token Some("AWS19"),
        "the roles claim of the token is neither a list nor a text",
        "make the `https://aws.amazon.com/roles` claim an array of role ARNs";
    "A3" STS [] ["InvalidIdentityToken"] [] Denied Token Some("AWS03"),
        "STS could not validate the token: its audience is not a client id of the provider, or its signature does not fit the published key",
        "compare the token's audience with the provider's client ids, and its key with the published JWKS";
    "A17" STS [] ["ExpiredTokenException" "ExpiredToken"] ["too old"] Denied Token Some("TOK09"),
        "the token was issued too long ago",
        "mount the projected token volume and read the file again before each exchange";
    "A16" STS [] ["ExpiredTokenException" "ExpiredToken"] [] Denied Token Some("TOK09"),
        "the token has expired by the clock of STS",
        "mount the projected token volume and read the file again before each exchange";
    "A18" STS [] ["IDPRejectedClaim"] [] Denied Token Some("AWS19"),
        "the identity provider itself rejected the token",
        "use an IAM OIDC provider of your own instead of a built-in provider";
    "A19" STS [] ["IDPCommunicationError" "IDPCommunicationErrorException"] [] Transient Token Some("ISS05"),
        "STS could not reach the issuer just now",
        "see that the issuer answers from the internet within a few seconds";
    "A20" STS [] ["MalformedPolicyDocument" "MalformedPolicyDocumentException"] [] Denied Request Some("AWS19"),
        "the session policy is malformed",
        "send no session policy, or a valid one";
    "A21" STS [] ["PackedPolicyTooLarge" "PackedPolicyTooLargeException"] [] Denied Request Some("AWS19"),
        "session policies and tags are larger than STS allows",
        "send fewer session tags";
    "A22" STS_ANY [] ["RegionDisabledException"] [] Denied Request Some("AWS13"),
        "STS is not activated in this region for the account",
        "activate STS for the region in the account's settings, or use a region that is active";
    "A24" STS [] ["ValidationError"] ["rolesessionname"] Denied Request Some("AWS15"),
        "STS does not accept the session name",
        "set AWS_ROLE_SESSION_NAME to 2 to 64 letters, digits or any of _+=,.@-";
    "A26" STS [] ["ValidationError"] ["webidentitytoken"] Denied Request Some("TOK01"),
        "the token is longer or shorter than STS accepts (4 to 20000 characters)",
        "use a projected ServiceAccount token; it is about 1200 characters long";
    "A25" STS [] ["ValidationError"] ["durationseconds" "maxsessionduration"] Denied Request Some("AWS14"),
        "the requested session is longer than the role allows",
        "ask for a shorter session or raise the role's MaxSessionDuration";
    "A23" STS [] ["ValidationError"] [] Denied Request Some("AWS10"),
        "STS does not accept the role ARN",
        "set AWS_ROLE_ARN to the role's ARN, arn:aws:iam::ACCOUNT:role/NAME";
    "A27" STS_ANY [] ["Throttling" "ThrottlingException" "ThrottledException" "RequestLimitExceeded" "TooManyRequestsException" "SlowDown"] [] Transient Request None,
        "STS throttles the account",
        "use the regional endpoint and let SDKs keep their credentials; try again later";
    "A27" STS_ANY [429] [] [] Transient Request None,
        "STS throttles the account",
        "use the regional endpoint and let SDKs keep their credentials; try again later";
    "A28" STS_ANY [500 502 503 504] [] [] Transient Token None,
        "STS failed on its side",
        "try again later; where it repeats, look at the token's claims";
    "A29" STS_ANY [] ["InvalidClientTokenId" "SignatureDoesNotMatch" "MissingAuthenticationToken" "MissingAuthenticationTokenException" "UnrecognizedClientException" "IncompleteSignature"] [] Denied Request Some("AWS20"),
        "STS does not know the credentials: the request reached another partition, an emulator, or was signed with other keys",
        "unset AWS_ACCESS_KEY_ID and compare the endpoint with the role's partition";
    "A30" CALLER [] ["AccessDenied"] [] Denied Trust Some("AWS16"),
        "the call with the new credentials is denied, which only a policy above the role can do",
        "look at the organization's service and resource control policies and at the VPC endpoint's policy";

    // EKS Pod Identity agent. Source: eks-pod-identity-agent; EKS Auth API reference.
    "P1" POD_IDENTITY [] [] ["does not have permissions to assume the associated role" "unauthorized exception"] Denied Trust Some("EPI04"),
        "EKS may not assume the associated role: its trust policy does not admit pods.eks.amazonaws.com with `sts:AssumeRole` and `sts:TagSession`",
        "let the role trust pods.eks.amazonaws.com for both actions";
    "P2" POD_IDENTITY [] ["ResourceNotFoundException"] [] Denied Trust Some("EPI03"),
        "no pod identity association exists for this ServiceAccount in this cluster",
        "create the association and restart the pod";
    "P2" POD_IDENTITY [404] [] [] Denied Trust Some("EPI03"),
        "no pod identity association exists for this ServiceAccount in this cluster",
        "create the association and restart the pod";
    "P3" POD_IDENTITY [] [] ["service account token cannot be empty" "cannot be parsed" "failed basic claim validations"] Denied Token Some("EPI05"),
        "the agent got no token for pods.eks.amazonaws.com",
        "point AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE at the token that EKS projects";
    "P3" POD_IDENTITY [] ["InvalidTokenException" "ExpiredTokenException"] [] Denied Token Some("EPI05"),
        "EKS does not accept the pod's token",
        "restart the pod so that it gets a new token";
    "P4" POD_IDENTITY [403] [] ["invalid address"] Denied Request Some("EPI10"),
        "the request reached the agent under another address than its own",
        "let no proxy stand between: NO_PROXY=169.254.170.23,[fd00:ec2::23]";
    "P6" POD_IDENTITY [429] [] [] Transient Request Some("EPI13"),
        "the agent throttles",
        "let SDKs keep their credentials; try again later";
    "P6" POD_IDENTITY [] ["ThrottlingException"] [] Transient Request Some("EPI13"),
        "EKS throttles the agent",
        "let SDKs keep their credentials; try again later";
    "P7" POD_IDENTITY [500 502 503 504] [] [] Transient Request Some("EPI13"),
        "the agent, or EKS behind it, failed on its side",
        "look at the agent's log on this node";
    "P8" POD_IDENTITY [] ["AccessDeniedException"] [] Denied Request Some("EPI08"),
        "the agent itself may not ask EKS for credentials",
        "attach AmazonEKSWorkerNodePolicy, or eks-auth:AssumeRoleForPodIdentity, to the node's role";

    // Google STS. Source: "Troubleshoot workload identity federation"; recorded answers.
    "G1" GOOGLE_STS [] ["invalid_request"] ["invalid value for \"audience\""] Denied Request Some("GCP01"),
        "the audience of the credentials document is not the full name of a workload identity pool provider",
        "use //iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER";
    "G9" GOOGLE_STS [] [] ["exceeds the 127 bytes limit"] Denied Trust Some("GCP06"),
        "the mapped google.subject is longer than 127 bytes",
        "map a shorter subject, such as namespace and ServiceAccount name alone";
    "G10" GOOGLE_STS [] [] ["could not obtain a value for google.subject"] Denied Trust Some("GCP05"),
        "the provider's attribute mapping gives no value for this token",
        "map google.subject from a claim that the token has, assertion.sub";
    "G2" GOOGLE_STS [] ["invalid_target"] [] Denied Request Some("GCP02"),
        "the workload identity pool or provider does not exist, is disabled, or is deleted",
        "look at state and disabled of pool and provider";
    "G3" GOOGLE_STS [] [] ["the audience in id token"] Denied Token Some("GCP04"),
        "the provider does not allow the token's audience",
        "add the audience to the provider's allowed audiences, or have the token minted for an allowed one";
    "G4" GOOGLE_STS [] [] ["the issuer in id token"] Denied Token Some("GCP03"),
        "the provider is configured with another issuer than the token's",
        "set the provider's issuer to the token's, byte for byte";
    "G5" GOOGLE_STS [] [] ["is stale to sign-in"] Denied Token Some("TOK09"),
        "the token is expired, or was issued too long ago or in the future, by Google's clock",
        "mount the projected token volume and read the file again before each exchange";
    "G6" GOOGLE_STS [] [] ["error connecting to the given credential's issuer"] Denied Token Some("ISS05"),
        "Google could not fetch the issuer's keys, or the token's key is not among them",
        "make the issuer readable from the internet, or upload the cluster's JWKS to the provider";
    "G7" GOOGLE_STS [] [] ["unable to verify the id token signature"] Denied Token Some("ISS10"),
        "the token's signature does not fit the key that Google has under its key id",
        "publish the cluster's current JWKS, or upload it to the provider again";
    "G8" GOOGLE_STS [] [] ["rejected by the attribute condition"] Denied Trust Some("GCP05"),
        "the provider's attribute condition is false for this token, or fails on it",
        "evaluate the provider's attribute condition with the token's claims";
    "G25" GOOGLE_ANY [403] [] ["prohibited by organization's policy" "vpcservicecontrols"] Denied Request Some("GCP09"),
        "a service perimeter blocks the call",
        "allow the call in the perimeter's ingress rules";
    "G13" GOOGLE_STS [] ["invalid_scope"] [] Denied Request Some("GCP12"),
        "Google does not know the scope",
        "ask for https://www.googleapis.com/auth/cloud-platform";
    "G14" GOOGLE_STS [] ["unsupported_grant_type" "unsupported_token_type"] [] Denied Request Some("GCP10"),
        "Google does not accept the request that the credentials document leads to",
        "write the credentials document again";
    "G15" GOOGLE_ANY [429] [] [] Transient Request None,
        "Google throttles the project",
        "let SDKs keep their tokens; try again later";
    "G15" GOOGLE_STS [] ["quota_exceeded"] [] Transient Request None,
        "Google throttles the project",
        "let SDKs keep their tokens; try again later";
    "G16" GOOGLE_ANY [500 502 503 504] [] [] Transient Token None,
        "Google failed on its side",
        "try again later; a token in its last seconds gives this answer too";
    "G14" GOOGLE_STS [] ["invalid_request"] [] Denied Request Some("GCP10"),
        "Google does not accept the request that the credentials document leads to",
        "write the credentials document again";
    "G18" GOOGLE_ANY [403] [] ["has not been used in project" "service_disabled" "it is disabled"] Denied Trust Some("GCP09"),
        "the IAM Service Account Credentials API is disabled in the project",
        "enable iamcredentials.googleapis.com in the service account's project";
    "G21" GOOGLE_IAM [403] [] ["insufficient authentication scopes"] Denied Trust Some("GCP12"),
        "the federated token was not issued for the scope that impersonation needs",
        "exchange for https://www.googleapis.com/auth/iam or cloud-platform";
    "G17" GOOGLE_IAM [403] [] ["iam.serviceaccounts.getaccesstoken"] Denied Trust Some("GCP07"),
        "Google accepted the token, but its principal may not impersonate the service account",
        "grant roles/iam.workloadIdentityUser on the service account to this principal";
    "G23" GOOGLE_IAM [403] [] [] Denied Trust Some("GCP13"),
        "Google accepted the token, but denies its principal the call",
        "grant the principal the role on the resource";
    "G19" GOOGLE_IAM [404] [] [] Denied Trust Some("GCP08"),
        "the service account to impersonate does not exist",
        "correct the e-mail of the service account";
    "G20" GOOGLE_IAM [400] [] ["lifetime"] Denied Trust Some("GCP15"),
        "the requested token lifetime is out of range",
        "set token_lifetime_seconds to 600 to 3600";
    "G22" GOOGLE_IAM [401] [] [] Denied Trust Some("GCP13"),
        "the API does not accept the federated token",
        "impersonate a service account where the product does not take federated principals";

    // GKE metadata server. Source: GKE documentation, "Troubleshoot authentication issues".
    "G27" METADATA [404] [] ["gaia id not found" "not found"] Denied Trust Some("GKE04"),
        "the Google service account of the annotation does not exist",
        "correct iam.gke.io/gcp-service-account on the Kubernetes ServiceAccount";
    "G26" METADATA [403] [] [] Denied Trust Some("GKE05"),
        "the Kubernetes ServiceAccount may not impersonate the Google service account of its annotation",
        "grant roles/iam.workloadIdentityUser on the service account to PROJECT.svc.id.goog[NAMESPACE/NAME]";
    "G31" METADATA [408 429 500 502 503 504] [] [] Transient Request Some("GKE08"),
        "the metadata server is not ready or overloaded",
        "look at gke-metadata-server on this node";

    // Entra ID. Source: "Microsoft Entra authentication and authorization error codes".
    "7002138" ENTRA [] ["AADSTS7002138"] [] Denied Trust Some("AZ05"),
        "the federated identity credential's subject differs from the token's in upper and lower case",
        "create the credential again with the subject in exactly the token's case";
    "7002381" ENTRA [] ["AADSTS7002381"] [] Denied Trust Some("AZ11"),
        "a policy of the tenant wants a claim that the token does not carry",
        "ask the tenant's administrator about the policy on federated credentials";
    "700211" ENTRA [] ["AADSTS700211"] [] Denied Trust Some("AZ03"),
        "no federated identity credential of the application has the token's issuer",
        "set the credential's issuer to the token's, byte for byte, trailing slash included";
    "7002121" ENTRA [] ["AADSTS7002121"] [] Denied Trust Some("AZ04"),
        "no federated identity credential of the application has the token's audience",
        "make the credential's audience and the token's the same";
    "700212" ENTRA [] ["AADSTS700212"] [] Denied Trust Some("AZ04"),
        "no federated identity credential of the application has the token's audience",
        "make the credential's audience and the token's the same";
    "7002131" ENTRA [] ["AADSTS7002131"] [] Denied Trust Some("AZ05"),
        "no expression of the application's federated identity credentials matches the token's subject",
        "use a credential with an exact subject; expressions are not for Kubernetes issuers";
    "700213" ENTRA [] ["AADSTS700213"] [] Denied Trust Some("AZ05"),
        "no federated identity credential of the application has the token's subject",
        "set the credential's subject to the token's, exactly";
    "70021" ENTRA [] ["AADSTS70021"] [] Denied Trust Some("AZ03"),
        "no federated identity credential of the application has this issuer, subject and audience",
        "compare the three values with the credentials; a new credential takes some minutes to spread";
    "700222" ENTRA [] ["AADSTS700222"] [] Denied Trust Some("TOK06"),
        "the token was issued by Entra itself, which does not federate with itself",
        "use the token of the Kubernetes ServiceAccount";
    "700223" ENTRA [] ["AADSTS700223" "AADSTS700238"] [] Denied Trust Some("AZ11"),
        "the tenant's policy forbids or restricts workload identity federation",
        "ask the tenant's administrator about the policy on federated credentials";
    "7002241" ENTRA [] ["AADSTS7002241" "AADSTS700233" "AADSTS700234" "AADSTS700235" "AADSTS700236" "AADSTS700237"] [] Denied Trust Some("AZ05"),
        "the federated identity credential matches by an expression, which does not work for this issuer or identity",
        "use a credential with an exact subject; expressions are not for Kubernetes issuers";
    "700227" ENTRA [] ["AADSTS700227"] [] Denied Trust Some("AZ04"),
        "Entra does not take federated tokens with this audience",
        "make the credential's audience and the token's the one that is recommended for this cloud";
    "700226" ENTRA [] ["AADSTS700226" "AADSTS7000226"] [] Denied Trust Some("AZ11"),
        "the application accepts federated tokens only under a special policy",
        "look at the application's policies, or use an identity of its own";
    "70025" ENTRA [] ["AADSTS70025"] [] Denied Trust Some("AZ03"),
        "the application has no federated identity credential at all",
        "create the credential on the identity that the client id names";
    "7000229" ENTRA [] ["AADSTS7000229"] [] Denied Request Some("AZ02"),
        "the application has no service principal in this tenant",
        "create the service principal in the tenant, or correct the tenant";
    "700016" ENTRA [] ["AADSTS700016"] [] Denied Request Some("AZ01"),
        "the tenant knows no application with this client id",
        "set the client id (not the object id) of an application or identity of this tenant";
    "7000112" ENTRA [] ["AADSTS7000112"] [] Denied Request Some("AZ11"),
        "the application is disabled",
        "enable sign-in for the service principal";
    "90002" ENTRA [] ["AADSTS90002"] [] Denied Request Some("AZ02"),
        "this cloud knows no such tenant",
        "correct the tenant id, or the authority host where the tenant lives in another cloud";
    "900023" ENTRA [] ["AADSTS900023"] [] Denied Request Some("AZ02"),
        "the tenant is neither an id nor a domain",
        "set the tenant's id";
    "900382" ENTRA [] ["AADSTS900382" "AADSTS900439" "AADSTS900440"] [] Denied Request Some("AZ08"),
        "authority and tenant belong to different clouds",
        "set AZURE_AUTHORITY_HOST to the authority of the tenant's cloud";
    "500011" ENTRA [] ["AADSTS500011"] [] Denied Trust Some("AZ13"),
        "the tenant does not know the resource of the scope",
        "ask for the resource of this cloud";
    "1002012" ENTRA [] ["AADSTS1002012" "AADSTS70011" "AADSTS28002"] [] Denied Request Some("AZ13"),
        "the scope is not in the form RESOURCE/.default",
        "ask for RESOURCE/.default";
    "900144" ENTRA [] ["AADSTS900144"] [] Denied Request Some("AZ09"),
        "the request lacks a parameter, so a variable is empty",
        "set all of AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_FEDERATED_TOKEN_FILE";
    "7000218" ENTRA [] ["AADSTS7000218"] [] Denied Request Some("TOK01"),
        "the request carried no assertion, so the token file is empty",
        "mount the projected token volume itself and pass its file unchanged";
    "50027" ENTRA [] ["AADSTS50027" "AADSTS5002727"] [] Denied Token Some("TOK01"),
        "what was sent is not a JWT that Entra can read",
        "mount the projected token volume itself and pass its file unchanged";
    "700024" ENTRA [] ["AADSTS700024"] [] Denied Token Some("TOK05"),
        "the token is outside its time by Entra's clock",
        "mount the projected token volume and read the file again before each exchange";
    "700027" ENTRA [] ["AADSTS700027"] [] Denied Token Some("ISS10"),
        "the token's signature does not fit a key that the issuer publishes",
        "publish the cluster's current JWKS; Entra keeps the old one for a while";
    "700021" ENTRA [] ["AADSTS700021"] [] Denied Trust Some("AZ03"),
        "Entra took the token for the application's own assertion",
        "compare the token's issuer with the client id and the federated identity credential";
    "90061" ENTRA [] ["AADSTS90061" "AADSTS50166" "AADSTS501661"] [] Denied Token Some("AZ14"),
        "Entra could not fetch the issuer's documents",
        "make discovery document and JWKS readable from the internet";
    "500133" ENTRA [] ["AADSTS500133"] [] Denied Token Some("TOK05"),
        "the token is outside its time by Entra's clock",
        "mount the projected token volume and read the file again before each exchange";
    "50013" ENTRA [] ["AADSTS50013"] [] Denied Token Some("ISS10"),
        "Entra could not validate the token's signature",
        "publish the cluster's current JWKS; Entra keeps the old one for a while";
    "7000215" ENTRA [] ["AADSTS7000215" "AADSTS7000222"] [] Denied Request Some("AZ10"),
        "a client secret was sent, and it is wrong or expired",
        "unset AZURE_CLIENT_SECRET so that the SDKs use the federated token";
    "53003" ENTRA [] ["AADSTS53003" "AADSTS530032" "AADSTS53005"] [] Denied Trust Some("AZ11"),
        "Conditional Access blocks the sign-in",
        "exclude the service principal from the policy, or allow the cluster's addresses";
    "500021" ENTRA [] ["AADSTS500021" "AADSTS500022" "AADSTS5000224" "AADSTS5000225" "AADSTS5000229"] [] Denied Request Some("AZ11"),
        "the tenant is blocked, deactivated or restricted",
        "ask the tenant's administrator";
    "50020" ENTRA [] ["AADSTS50020" "AADSTS50034"] [] Denied Request Some("AZ02"),
        "the identity does not belong to this tenant",
        "correct tenant or client id";
    "50196" ENTRA [] ["AADSTS50196" "AADSTS500531" "AADSTS90033" "AADSTS90055"] [] Transient Request None,
        "Entra is busy or throttles the client",
        "let SDKs keep their tokens; try again later";
    "90033" ENTRA [408 429 500 502 503 504] [] [] Transient Request None,
        "Entra is busy or throttles the client",
        "let SDKs keep their tokens; try again later";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;

    fn answer(status: u16, code: Option<&str>, message: &str) -> Answer {
        Answer {
            status,
            code: code.map(str::to_owned),
            message: message.to_owned(),
            request_id: None,
        }
    }

    #[test]
    fn every_row_names_a_code_of_the_catalogue() {
        for row in ROWS {
            if let Some(code) = row.code {
                assert!(catalogue::find(code).is_some(), "{}: {code}", row.id);
            }
            assert!(
                row.texts.iter().all(|t| *t == t.to_lowercase()),
                "{}",
                row.id
            );
            assert!(
                !row.meaning.ends_with('.') && !row.fix.ends_with('.'),
                "{}",
                row.id
            );
        }
    }

    #[test]
    fn every_row_can_be_reached_by_an_answer_of_its_own() {
        for row in ROWS {
            let status = row.statuses.first().copied().unwrap_or(400);
            let found = classify(
                row.steps[0],
                &answer(
                    status,
                    row.codes.first().copied(),
                    row.texts.first().copied().unwrap_or("x"),
                ),
            );
            assert_eq!(found.row.map(|r| r.id), Some(row.id), "{:?}", row.meaning);
        }
    }

    #[test]
    fn a_code_without_a_row_is_a_denial_and_a_server_error_is_not() {
        let denied = classify(Step::EntraToken, &answer(400, Some("AADSTS999999"), "new"));
        assert!(denied.row.is_none() && !denied.transient);
        assert!(classify(Step::GoogleTokenExchange, &answer(599, None, "")).transient);
        assert!(classify(Step::EntraToken, &answer(429, None, "")).transient);
    }

    #[test]
    fn the_generic_text_of_aws_does_not_swallow_the_telling_ones() {
        let id = |text: &str| {
            classify(
                Step::AssumeRoleWithWebIdentity,
                &answer(400, Some("InvalidIdentityToken"), text),
            )
            .row
            .map(|r| r.id)
        };
        assert_eq!(
            id("No OpenIDConnect provider found in your account for https://x"),
            Some("A2")
        );
        assert_eq!(
            id("The web identity token provided could not be validated."),
            Some("A3")
        );
        assert_eq!(
            id("Couldn't retrieve verification key from your identity provider,  please"),
            Some("A5")
        );
    }
}
