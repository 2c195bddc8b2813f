//! AWS STS and EKS Pod Identity.

use crate::{errors::Row, facts::Step};

table! {
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
}

const STS: &[Step] = &[Step::AssumeRoleWithWebIdentity];
const STS_ANY: &[Step] = &[Step::AssumeRoleWithWebIdentity, Step::GetCallerIdentity];
const CALLER: &[Step] = &[Step::GetCallerIdentity];
const POD_IDENTITY: &[Step] = &[Step::ContainerCredentials];

/// Rows that a trust object of the last minutes gives too, until it has spread.
pub(super) const SPREADING: &[&str] = &["A1", "A2"];
