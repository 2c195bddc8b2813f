//! AWS STS: `AssumeRoleWithWebIdentity`, decided on `aws/`, and `GetCallerIdentity` with the credentials it issued.
//!
//! XML and error texts are those of the Query protocol, API version 2011-06-15. Source: STS API reference.

use std::{collections::HashMap, sync::Mutex};

use base64::{Engine, engine::general_purpose::STANDARD};
use cwii_contract::types::RoleArn;
use cwii_token::{DecodeError, Token};
use cwii_trust::{JwksFact, aws};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{
    case::REGION,
    fault::Service,
    issuer::random_uuid,
    keys::fill_random,
    lab::State,
    server::{Received, Reply, lock},
    sigv4,
};

/// Credentials that this lab issued, by access key id.
#[derive(Default)]
pub(crate) struct Issued(Mutex<HashMap<String, Session>>);

/// What one set of credentials stands for.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
    pub(crate) session_token: String,
    pub(crate) expires_at: Timestamp,
    arn: String,
    user_id: String,
    role_arn: String,
}

pub(crate) async fn handle(state: &State, request: &Received) -> Reply {
    if request.method != "POST" && request.method != "GET" {
        return error(
            400,
            "InvalidAction",
            "Could not find operation in the request",
        );
    }
    match request.parameter("Action") {
        Some("AssumeRoleWithWebIdentity") => assume(state, request).await,
        Some("GetCallerIdentity") => identity(state, request),
        Some(action) => error(
            400,
            "InvalidAction",
            &format!("Could not find operation {action} for version 2011-06-15"),
        ),
        None => error(400, "MissingAction", "Missing Action"),
    }
}

/// An error of the Query protocol.
pub(crate) fn error(status: u16, code: &str, message: &str) -> Reply {
    let fault = if status < 500 { "Sender" } else { "Receiver" };
    let (code, message) = (xml(code), xml(message));
    reply(status, |id| {
        format!(
            "<ErrorResponse xmlns=\"{NAMESPACE}\">\n  <Error>\n    <Type>{fault}</Type>\n    <Code>{code}</Code>\n    <Message>{message}</Message>\n  </Error>\n  <RequestId>{id}</RequestId>\n</ErrorResponse>\n"
        )
    })
}

pub(crate) fn outage(status: u16) -> Reply {
    match status {
        429 => error(429, "Throttling", "Rate exceeded"),
        503 => error(503, "ServiceUnavailable", "Service Unavailable"),
        status => error(status, "InternalFailure", "Internal Failure"),
    }
}

/// New credentials for a role session.
pub(crate) fn issue(
    state: &State,
    arn: &str,
    user_id: &str,
    role_arn: &str,
    expires_at: Timestamp,
) -> Result<Session, crate::LabError> {
    let mut id = [0; 16];
    let mut secret = [0; 30];
    let mut token = [0; 300];
    fill_random(&mut id)?;
    fill_random(&mut secret)?;
    fill_random(&mut token)?;
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let letters: String = id
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
        .collect();
    let session = Session {
        access_key_id: format!("ASIA{letters}"),
        secret_access_key: STANDARD.encode(secret),
        session_token: format!("IQoJb3JpZ2luX2Vj{}", STANDARD.encode(token)),
        expires_at,
        arn: arn.to_owned(),
        user_id: user_id.to_owned(),
        role_arn: role_arn.to_owned(),
    };
    state.keep_secret(&session.secret_access_key);
    state.keep_secret(&session.session_token);
    lock(&state.aws.0).insert(session.access_key_id.clone(), session.clone());
    Ok(session)
}

/// The documents under `aws/`. An OIDC provider without `Arn` belongs to the account of `role`.
pub(crate) fn documents(state: &State, role: Option<&RoleArn>) -> Result<aws::Documents, String> {
    // Nothing in a folder means that there is nothing, not that nobody looked.
    let mut documents = aws::Documents {
        providers: Some(Vec::new()),
        associations: Some(Vec::new()),
        ..aws::Documents::default()
    };
    let hints = aws::Hints { role_arn: role };
    for folder in [
        "aws/roles",
        "aws/oidc-providers",
        "aws/pod-identity-associations",
    ] {
        for (name, value) in state.store.folder(folder)? {
            documents
                .add(&value, &hints)
                .map_err(|e| format!("{folder}/{name}.json: {e}"))?;
        }
    }
    Ok(documents)
}

async fn assume(state: &State, request: &Received) -> Reply {
    let mut missing = Vec::new();
    let mut parameter = |name: &'static str, shown: &str| {
        request.parameter(name).unwrap_or_else(|| {
            missing.push(format!(
                "Value null at '{shown}' failed to satisfy constraint: Member must not be null"
            ));
            ""
        })
    };
    let role_text = parameter("RoleArn", "roleArn");
    let session_name = parameter("RoleSessionName", "roleSessionName");
    let token_text = parameter("WebIdentityToken", "webIdentityToken");
    if !missing.is_empty() {
        let count = missing.len();
        let noun = if count == 1 { "error" } else { "errors" };
        return error(
            400,
            "ValidationError",
            &format!("{count} validation {noun} detected: {}", missing.join("; ")),
        );
    }
    let operation = Some("AssumeRoleWithWebIdentity");
    if let Some(reply) = state.forced_for(Service::AwsSts, operation, role_text, request.now) {
        return reply;
    }
    let role: Option<RoleArn> = role_text.parse().ok();
    if let Some(reply) = session_policy(request).or_else(|| region(state, role.as_ref(), request)) {
        return reply;
    }
    let documents = match documents(state, role.as_ref()) {
        Ok(documents) => documents,
        Err(problem) => return state.broken(Service::AwsSts, &problem, request.now),
    };
    let token = Token::decode(token_text);
    let keys = keys(state, request, &token, role.as_ref(), &documents).await;
    let fact = match &keys {
        Ok(keys) => JwksFact::Known(keys),
        Err(NoKeys::Thumbprint) => JwksFact::Unavailable("thumbprint"),
        Err(NoKeys::Unavailable(why)) => JwksFact::Unavailable(why),
    };
    let mut asked = aws::Request::new(token.as_ref(), fact, role_text, session_name, request.now);
    asked.duration_seconds = match request.parameter("DurationSeconds").map(str::parse) {
        Some(Ok(seconds)) => Some(seconds),
        Some(Err(_)) => return error(400, "MalformedInput", "Invalid Argument"),
        None => None,
    };
    asked.provider_id = request.parameter("ProviderId");
    asked.region = Some(REGION);
    match aws::evaluate(&asked, &documents).result {
        Ok(session) => granted(state, &session, request.now),
        Err(denial) => {
            // Before STS can read keys it has to trust the connection; the evaluator knows no connections.
            if denial.error.row == "A5" && matches!(keys, Err(NoKeys::Thumbprint)) {
                return error(
                    400,
                    "InvalidIdentityToken",
                    "OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint",
                );
            }
            error(
                denial.error.http_status,
                &denial.error.code,
                &denial.error.message,
            )
        }
    }
}

enum NoKeys {
    Unavailable(String),
    /// The issuer's certificate is not the one that the provider names.
    Thumbprint,
}

/// The issuer's keys, fetched only for an issuer that is registered in the role's account: STS asks no strangers.
async fn keys(
    state: &State,
    request: &Received,
    token: &Result<Token, DecodeError>,
    role: Option<&RoleArn>,
    documents: &aws::Documents,
) -> Result<std::sync::Arc<cwii_token::Jwks>, NoKeys> {
    let unregistered = || NoKeys::Unavailable("the issuer is not registered".to_owned());
    let token = token.as_ref().map_err(|_| unregistered())?;
    let (Some(issuer), Some(role)) = (token.claims.issuer(), role) else {
        return Err(unregistered());
    };
    let url = issuer.strip_prefix("https://").ok_or_else(unregistered)?;
    let arn = format!(
        "arn:{}:iam::{}:oidc-provider/{url}",
        role.partition(),
        role.account()
    );
    let provider = documents
        .providers
        .iter()
        .flatten()
        .find(|p| p.arn == arn)
        .ok_or_else(unregistered)?;
    if !provider.thumbprints.is_empty()
        && !provider
            .thumbprints
            .iter()
            .any(|t| t.eq_ignore_ascii_case(state.thumbprint()))
    {
        return Err(NoKeys::Thumbprint);
    }
    state
        .fetcher
        .keys(
            Service::AwsSts,
            issuer,
            token.header.kid.as_deref(),
            request.stale_jwks,
        )
        .await
        .map_err(NoKeys::Unavailable)
}

fn granted(state: &State, session: &aws::Session, now: Timestamp) -> Reply {
    let lifetime = SignedDuration::from_secs(session.duration_seconds);
    let expires_at = now.checked_add(lifetime).unwrap_or(now);
    let user_id = session.assumed_role_id.clone().unwrap_or_default();
    let role_arn = session.role_arn.as_str();
    let issued = match issue(
        state,
        &session.assumed_role_arn,
        &user_id,
        role_arn,
        expires_at,
    ) {
        Ok(issued) => issued,
        Err(problem) => return state.broken(Service::AwsSts, &problem.to_string(), now),
    };
    let source_identity = session
        .source_identity
        .as_ref()
        .map_or_else(String::new, |s| {
            format!("    <SourceIdentity>{}</SourceIdentity>\n", xml(s))
        });
    reply(200, |id| {
        format!(
            "<AssumeRoleWithWebIdentityResponse xmlns=\"{NAMESPACE}\">\n  <AssumeRoleWithWebIdentityResult>\n    <SubjectFromWebIdentityToken>{subject}</SubjectFromWebIdentityToken>\n    <Audience>{audience}</Audience>\n    <AssumedRoleUser>\n      <AssumedRoleId>{user_id}</AssumedRoleId>\n      <Arn>{arn}</Arn>\n    </AssumedRoleUser>\n    <Credentials>\n      <AccessKeyId>{key}</AccessKeyId>\n      <SecretAccessKey>{secret}</SecretAccessKey>\n      <SessionToken>{token}</SessionToken>\n      <Expiration>{expiration}</Expiration>\n    </Credentials>\n    <Provider>{provider}</Provider>\n{source_identity}  </AssumeRoleWithWebIdentityResult>\n  <ResponseMetadata>\n    <RequestId>{id}</RequestId>\n  </ResponseMetadata>\n</AssumeRoleWithWebIdentityResponse>\n",
            subject = xml(&session.subject),
            audience = xml(&session.audience),
            user_id = xml(&user_id),
            arn = xml(&session.assumed_role_arn),
            key = issued.access_key_id,
            secret = issued.secret_access_key,
            token = issued.session_token,
            expiration = whole_seconds(expires_at),
            provider = xml(&session.provider),
        )
    })
}

fn identity(state: &State, request: &Received) -> Reply {
    let find = |id: &str| lock(&state.aws.0).get(id).cloned();
    let session = match sigv4::verify(request, find) {
        Ok(session) => session,
        Err(refusal) => return error(403, refusal.code, &refusal.message),
    };
    let operation = Some("GetCallerIdentity");
    let role = &session.role_arn;
    if let Some(reply) = state.forced_for(Service::AwsSts, operation, role, request.now) {
        return reply;
    }
    let account = session.arn.split(':').nth(4).unwrap_or_default().to_owned();
    reply(200, |id| {
        format!(
            "<GetCallerIdentityResponse xmlns=\"{NAMESPACE}\">\n  <GetCallerIdentityResult>\n    <Arn>{}</Arn>\n    <UserId>{}</UserId>\n    <Account>{account}</Account>\n  </GetCallerIdentityResult>\n  <ResponseMetadata>\n    <RequestId>{id}</RequestId>\n  </ResponseMetadata>\n</GetCallerIdentityResponse>\n",
            xml(&session.arn),
            xml(&session.user_id),
        )
    })
}

/// A session policy, which the agent never sends, is at least checked for being one.
fn session_policy(request: &Received) -> Option<Reply> {
    let policy = request.parameter("Policy")?;
    if policy.len() > MAX_SESSION_POLICY {
        return Some(error(
            400,
            "PackedPolicyTooLarge",
            "Serialized token too large for session",
        ));
    }
    let has_statement =
        serde_json::from_str::<Value>(policy).is_ok_and(|value| value.get("Statement").is_some());
    (!has_statement).then(|| {
        error(
            400,
            "MalformedPolicyDocument",
            "The policy is not in the valid JSON format.",
        )
    })
}

/// Whether the account has switched STS off in the region that this STS stands in.
fn region(state: &State, role: Option<&RoleArn>, request: &Received) -> Option<Reply> {
    let account = role?.account();
    let settings = match state
        .store
        .document(&format!("aws/accounts/{account}.json"))
    {
        Ok(settings) => settings?,
        Err(problem) => return Some(state.broken(Service::AwsSts, &problem, request.now)),
    };
    let disabled = settings
        .get("DisabledRegions")
        .and_then(Value::as_array)
        .is_some_and(|regions| regions.iter().any(|r| r.as_str() == Some(REGION)));
    disabled.then(|| {
        error(
            403,
            "RegionDisabledException",
            &format!(
                "STS is not activated in this region for account:{account}. Your account administrator can activate STS in this region using the IAM Console."
            ),
        )
    })
}

fn reply(status: u16, body: impl FnOnce(&str) -> String) -> Reply {
    let id = random_uuid().unwrap_or_default();
    Reply::new(status, "text/xml", body(&id)).with("x-amzn-requestid", id)
}

/// RFC 3339 without fractions of a second, as STS prints times.
fn whole_seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second())
        .unwrap_or(time)
        .to_string()
}

fn xml(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
/// STS API: the plain text of a session policy has at most 2048 characters.
const MAX_SESSION_POLICY: usize = 2048;
