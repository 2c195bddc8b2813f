//! What was learnt before any check runs: facts that carry their own failure.
//!
//! The exchange crate fills these in, checks read them. Nothing here holds a secret in readable form.

use std::{collections::BTreeMap, net::IpAddr};

use cwii_contract::Provider;
use cwii_token::{DecodeError, Discovery, Jwks, Token};
use jiff::Timestamp;

/// Something that was looked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact<T> {
    /// Found.
    Known(T),
    /// Looked for and not there (a 404, no such object).
    Absent,
    /// Not allowed to look.
    Denied(String),
    /// Could not be reached; the text says how.
    Unreachable(String),
    /// No answer in time.
    TimedOut,
    /// Found, but not what it should be; the text says what is wrong.
    Invalid(String),
    /// Nobody asked.
    NotCollected,
}

/// A way from a pod to credentials.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Mechanism {
    /// `AssumeRoleWithWebIdentity` with a token file (IRSA, cwii).
    AwsWebIdentity,
    /// A credentials endpoint for containers (EKS Pod Identity, ECS).
    AwsContainerCredentials,
    /// Google STS with an `external_account` document.
    GoogleExternalAccount,
    /// The metadata server (GKE Workload Identity).
    GoogleMetadataServer,
    /// Entra client credentials with a federated token.
    EntraFederatedCredential,
}

/// The step of a mechanism at which it ended.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Step {
    /// Reading variables, profiles and documents.
    Configuration,
    /// Reading the token file.
    TokenFile,
    /// AWS STS, the exchange itself.
    AssumeRoleWithWebIdentity,
    /// AWS STS, with the new credentials.
    GetCallerIdentity,
    /// The container credentials endpoint.
    ContainerCredentials,
    /// Google STS.
    GoogleTokenExchange,
    /// Google IAM credentials, `generateAccessToken`.
    GoogleImpersonation,
    /// The metadata server.
    GoogleMetadata,
    /// Entra's token endpoint.
    EntraToken,
}

/// One verification's exchange, whole: what went in, what came out, what was seen on the way.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The cloud that was asked for.
    pub provider: Provider,
    /// The mechanism that the inputs chose; none when they choose none.
    pub mechanism: Option<Mechanism>,
    /// Values that decided, in the order in which they were read. Never a secret.
    pub inputs: Vec<Input>,
    /// The token that was presented last, when a file was read.
    pub token: Option<PresentedToken>,
    /// Who the cloud says we are, or where it ended.
    pub result: Result<Identity, Failure>,
    /// Clock of the server: its `Date` header, and our clock when the header arrived.
    pub server_clock: Option<ServerClock>,
    /// What else a person should know although the exchange itself may have worked.
    pub notes: Vec<Note>,
    /// What went over the wire.
    pub wire: Wire,
}

/// One value that decided something.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Input {
    /// Name: `role`, `token file`, `endpoint`, `region`, `session name`, `audience`, `tenant`, `client`, `CA`, `proxy`, …
    pub name: &'static str,
    /// The value in force.
    pub value: String,
    /// Where it came from: `AWS_ROLE_ARN`, `profile default of ~/.aws/config`, `default`.
    pub source: String,
}

/// A token file as it was read.
#[derive(Clone, Debug)]
pub struct PresentedToken {
    /// Path of the file; empty when the token came from a variable.
    pub path: String,
    /// Size of the file, bytes.
    pub bytes: u64,
    /// The token, decoded, or why it is none. Surrounding white space is an error here although it is sent as it stands.
    pub token: Result<Token, DecodeError>,
    /// The token that is left when white space and quotes around it are removed, where that made the difference.
    pub trimmed: Option<Token>,
}

/// Who the cloud says we are.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Identity {
    /// What goes to standard output, in this order: for AWS `UserId`, `Account`, `Arn`.
    pub members: Vec<(&'static str, serde_json::Value)>,
    /// More that the cloud said, for people: provider, subject, audience, expiry, request id. Never a secret.
    pub details: BTreeMap<&'static str, String>,
}

/// Where and why an exchange ended without an identity.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// The step that failed.
    pub step: Step,
    /// What happened.
    pub cause: Cause,
    /// How many times the step was tried.
    pub attempts: u32,
}

/// What happened, by who is at fault.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Cause {
    /// The configuration is missing or invalid; nothing was sent.
    Configuration(ConfigurationProblem),
    /// The token file cannot be used; nothing was sent.
    Token(TokenProblem),
    /// The provider answered with an error.
    Answer(Answer),
    /// The provider did not answer.
    Transport(TransportProblem),
    /// The deadline of the whole verification passed.
    Deadline {
        /// The deadline, in milliseconds.
        after_ms: u64,
        /// The last thing that went wrong before, if anything did.
        last: Option<Box<Cause>>,
    },
    /// A defect of ours.
    Internal(String),
}

/// A value of the configuration that is missing or invalid.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigurationProblem {
    /// The variable, member or flag at fault: `AWS_ROLE_ARN`, `token_url`.
    pub name: String,
    /// Where it was found or looked for: `environment`, `profile default`, a path.
    pub source: String,
    /// What is wrong, with what was expected and what was found.
    pub problem: String,
    /// What kind of problem it is.
    pub kind: ConfigurationProblemKind,
}

/// Kinds of configuration problems that checks tell apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ConfigurationProblemKind {
    /// Nothing of the provider is configured.
    NothingConfigured,
    /// A value is missing that the others need.
    Missing,
    /// A value does not parse.
    Invalid,
    /// A file other than the token cannot be read.
    Unreadable,
    /// The role's partition is not the endpoint's.
    PartitionMismatch,
    /// An endpoint outside the provider's own domains, not allowed by a flag.
    ForeignEndpoint,
    /// A container credentials host that the SDKs refuse.
    ForbiddenHost,
}

/// Why a token file cannot be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenProblem {
    /// Path of the file.
    pub path: String,
    /// What is wrong, with what was expected and what was found; never the content.
    pub problem: String,
    /// What kind of problem it is.
    pub kind: TokenProblemKind,
}

/// Kinds of token file problems that checks tell apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TokenProblemKind {
    /// No such file.
    Missing,
    /// The file may not be read by this user.
    Forbidden,
    /// A directory, or another thing that is no file.
    NotAFile,
    /// Nothing in it.
    Empty,
    /// More than any provider accepts.
    TooLarge,
    /// Not text.
    Binary,
    /// Text, but no JWT.
    Malformed,
    /// Not in the form that the credentials document declares, or without the member that it names.
    OtherFormat,
    /// Reading failed in another way.
    Unreadable,
}

/// An error that a provider answered with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The provider's code: `AccessDenied`, `invalid_grant`, `AADSTS700213`; none where the answer has no such thing.
    pub code: Option<String>,
    /// The provider's text, raw, at most 4096 bytes; after that of a Google API the reason of its `ErrorInfo` in
    /// parentheses. Control characters are escaped when it is printed, not here.
    pub message: String,
    /// The provider's id of the request.
    pub request_id: Option<String>,
}

/// Why no answer came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TransportProblem {
    /// The host, with its port where it is not the scheme's.
    pub host: String,
    /// What kind of problem it is.
    pub kind: TransportProblemKind,
    /// The text of the layer that failed.
    pub detail: String,
    /// The proxy that was used, without credentials.
    pub proxy: Option<String>,
}

/// Kinds of transport problems that checks tell apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TransportProblemKind {
    /// The name does not resolve.
    Dns,
    /// Nobody listens.
    Refused,
    /// No answer in time while connecting.
    ConnectTimeout,
    /// No answer in time after connecting.
    ReadTimeout,
    /// The certificate is not trusted, or does not fit the name.
    Certificate,
    /// TLS failed in another way.
    Tls,
    /// The proxy refused or failed.
    Proxy,
    /// The connection broke: reset, or closed in the middle of an answer.
    Broken,
    /// An answer that is not what the protocol says: not HTTP, not the expected document, cut off.
    Garbage,
    /// An answer beyond the size limit.
    TooLarge,
    /// A redirect, which is never followed.
    Redirect,
    /// Anything else.
    Other,
}

/// The server's clock, once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ServerClock {
    /// The `Date` header.
    pub server: Timestamp,
    /// Our clock when it arrived.
    pub local: Timestamp,
}

/// Something worth saying beside the verdict.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Note {
    /// A code of the catalogue, where one fits: `AWS12`, `APP01`, `EPI07`.
    pub code: Option<&'static str>,
    /// One sentence.
    pub text: String,
}

/// What went over the wire.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Wire {
    /// Connections opened.
    pub connections: u32,
    /// Requests sent, retries included.
    pub requests: u32,
}

/// The issuer as seen from where the tool runs.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// The issuer that was asked for.
    pub url: String,
    /// Where the discovery document was looked for.
    pub discovery_url: String,
    /// The discovery document.
    pub discovery: Fact<Discovery>,
    /// Where the keys were looked for.
    pub jwks_url: Option<String>,
    /// The published keys.
    pub jwks: Fact<Jwks>,
    /// What else was seen on the way; nothing where only documents were given.
    pub seen: IssuerSeen,
}

/// What shows of a published issuer beside its two documents.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IssuerSeen {
    /// The answer to the request for the discovery document, whatever it was.
    pub discovery: Option<DocumentAnswer>,
    /// The answer to the request for the keys.
    pub jwks: Option<DocumentAnswer>,
    /// Why the discovery document's server gave no answer, where it gave none.
    pub trouble: Option<TransportProblem>,
    /// The same for the keys' server.
    pub jwks_trouble: Option<TransportProblem>,
    /// The addresses of the issuer's host.
    pub addresses: Vec<IpAddr>,
    /// When the certificate that the issuer served expires.
    pub certificate_expires: Option<Timestamp>,
}

/// An HTTP answer with a document, or without.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DocumentAnswer {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// `Location` of a redirect.
    pub location: Option<String>,
    /// Size of the body, bytes.
    pub bytes: u64,
    /// Whether an API server answered: it sends `X-Kubernetes-Pf-Flowschema-Uid` or `Audit-Id`.
    pub from_api_server: bool,
}
