//! Google STS and Google IAM credentials, decided on `gcp/`.
//!
//! Source: Google Cloud documentation, "Security Token Service API", `v1.token`, and "IAM Service Account Credentials
//! API", `projects.serviceAccounts.generateAccessToken`.

use std::{collections::HashMap, sync::Mutex};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cwii_token::Token;
use cwii_trust::{JwksFact, google as trust};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    LabError,
    fault::Service,
    keys::fill_random,
    lab::State,
    server::{Received, Reply, lock},
};

/// Federated tokens that this lab issued.
#[derive(Default)]
pub(crate) struct Issued(Mutex<HashMap<String, Grant>>);

/// What a federated token stands for.
#[derive(Clone)]
struct Grant {
    principal: trust::Principal,
    scopes: Vec<String>,
    expires_at: Timestamp,
}

pub(crate) async fn handle_sts(state: &State, request: &Received) -> Reply {
    if request.path != "/v1/token" {
        return not_found();
    }
    if request.method != "POST" {
        return sts_error(405, "invalid_request", "Method not allowed.");
    }
    let parameters = match Parameters::read(request) {
        Ok(parameters) => parameters,
        Err(reply) => return reply,
    };
    if let Some(reply) =
        state.forced_for(Service::GoogleSts, None, &parameters.audience, request.now)
    {
        return reply;
    }
    let documents = match documents(state) {
        Ok(documents) => documents,
        Err(problem) => return state.broken(Service::GoogleSts, &problem, request.now),
    };
    let token = Token::decode(&parameters.subject_token);
    let keys = keys(state, request, &token, &parameters.audience, &documents).await;
    let asked = trust::Request {
        token: token.as_ref(),
        jwks: match &keys {
            Ok(keys) => JwksFact::Known(keys),
            Err(why) => JwksFact::Unavailable(why),
        },
        audience: &parameters.audience,
        now: request.now,
    };
    match trust::evaluate_exchange(&asked, &documents).result {
        Ok(federated) => federate(state, request, &parameters, federated),
        Err(denial) => sts_error(
            denial.error.http_status,
            &denial.error.code,
            &denial.error.message,
        ),
    }
}

/// An OAuth error.
pub(crate) fn sts_error(status: u16, code: &str, description: &str) -> Reply {
    Reply::json(
        status,
        &json!({ "error": code, "error_description": description }),
    )
}

pub(crate) fn sts_outage(status: u16) -> Reply {
    match status {
        429 => sts_error(
            429,
            "quota_exceeded",
            "The request was throttled due to rate limit: sts.googleapis.com/requests. Please retry after a few seconds.",
        ),
        503 => sts_error(
            503,
            "temporarily_unavailable",
            "The service is currently unavailable.",
        ),
        status => sts_error(status, "server_error", "Internal error encountered."),
    }
}

pub(crate) fn handle_iam(state: &State, request: &Received) -> Reply {
    let Some(email) = request
        .path
        .strip_prefix("/v1/projects/-/serviceAccounts/")
        .and_then(|rest| rest.strip_suffix(":generateAccessToken"))
    else {
        return not_found();
    };
    let email = percent_encoding::percent_decode_str(email).decode_utf8_lossy();
    if request.method != "POST" {
        return iam_error(405, "INVALID_ARGUMENT", "Method not allowed.", None);
    }
    if let Some(reply) = state.forced_for(Service::GoogleIam, None, &email, request.now) {
        return reply;
    }
    let grant = request
        .header("authorization")
        .and_then(|value| value.strip_prefix("Bearer "))
        .and_then(|token| lock(&state.google.0).get(token).cloned())
        .filter(|grant| request.now < grant.expires_at);
    let Some(grant) = grant else {
        return iam_error(
            401,
            "UNAUTHENTICATED",
            "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
            Some(&error_info("ACCESS_TOKEN_TYPE_UNSUPPORTED")),
        );
    };
    if !grant
        .scopes
        .iter()
        .any(|s| s == SCOPE_IAM || s == SCOPE_CLOUD_PLATFORM)
    {
        return iam_error(
            403,
            "PERMISSION_DENIED",
            "Request had insufficient authentication scopes.",
            Some(&error_info("ACCESS_TOKEN_SCOPE_INSUFFICIENT")),
        );
    }
    let body = request.json.clone().unwrap_or(Value::Null);
    let scopes: Vec<&str> = body
        .get("scope")
        .and_then(Value::as_array)
        .map(|list| list.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    if scopes.is_empty() {
        return iam_error(
            400,
            "INVALID_ARGUMENT",
            "Request contains an invalid argument: scope is required.",
            None,
        );
    }
    let lifetime = match body.get("lifetime") {
        None | Some(Value::Null) => None,
        Some(value) => match seconds(value) {
            Some(seconds) => Some(seconds),
            None => {
                return iam_error(
                    400,
                    "INVALID_ARGUMENT",
                    "Invalid value at 'lifetime' (type.googleapis.com/google.protobuf.Duration)",
                    None,
                );
            }
        },
    };
    match impersonate(state, request, &grant.principal, &email, lifetime) {
        Ok((token, expires_at)) => Reply::json(
            200,
            &json!({
                "accessToken": token,
                "expireTime": Timestamp::from_second(expires_at.as_second()).unwrap_or(expires_at).to_string(),
            }),
        ),
        Err(reply) => *reply,
    }
}

/// An error of a Google API.
pub(crate) fn iam_error(status: u16, code: &str, message: &str, details: Option<&Value>) -> Reply {
    let mut error = json!({ "code": status, "message": message, "status": code });
    if let Some(details) = details {
        error["details"] = details.clone();
    }
    Reply::json(status, &json!({ "error": error }))
}

/// `details` of a Google API's error that has nothing more than a reason.
pub(crate) fn error_info(reason: &str) -> Value {
    json!([{
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "googleapis.com",
        "metadata": { "service": "iamcredentials.googleapis.com" },
    }])
}

pub(crate) fn iam_outage(status: u16) -> Reply {
    match status {
        429 => iam_error(
            429,
            "RESOURCE_EXHAUSTED",
            "Quota exceeded for quota metric 'Generate credentials request' and limit 'Generate credentials request per minute' of service 'iamcredentials.googleapis.com'.",
            Some(&error_info("RATE_LIMIT_EXCEEDED")),
        ),
        503 => iam_error(
            503,
            "UNAVAILABLE",
            "The service is currently unavailable.",
            None,
        ),
        status => iam_error(status, "INTERNAL", "Internal error encountered.", None),
    }
}

/// The documents under `gcp/`; a policy belongs to the service account that its file is named after.
pub(crate) fn documents(state: &State) -> Result<trust::Documents, String> {
    let mut documents = trust::Documents::default();
    for folder in ["gcp/pools", "gcp/providers", "gcp/service-accounts"] {
        for (name, value) in state.store.folder(folder)? {
            let hints = trust::Hints {
                service_account: (folder == "gcp/service-accounts").then_some(name.as_str()),
            };
            documents
                .add(&value, &hints)
                .map_err(|e| format!("{folder}/{name}.json: {e}"))?;
        }
    }
    Ok(documents)
}

/// The documents with the services of the service account's project: there the caller of the API is looked at.
pub(crate) fn documents_for(state: &State, email: &str) -> Result<trust::Documents, String> {
    let mut documents = documents(state)?;
    let project = email
        .split_once('@')
        .and_then(|(_, domain)| domain.split('.').next())
        .unwrap_or_default();
    // A name that could leave the folder is no project.
    if project
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    {
        let path = format!("gcp/services/{project}.json");
        if let Some(services) = state.store.document(&path)? {
            documents
                .add(&services, &trust::Hints::default())
                .map_err(|e| format!("{path}: {e}"))?;
        }
    }
    Ok(documents)
}

/// A new access token; remembered as a secret.
pub(crate) fn access_token(state: &State, prefix: &str) -> Result<String, LabError> {
    let mut random = [0; 150];
    fill_random(&mut random)?;
    let token = format!("ya29.{prefix}.{}", URL_SAFE_NO_PAD.encode(random));
    state.keep_secret(&token);
    Ok(token)
}

struct Parameters {
    audience: String,
    subject_token: String,
    scopes: Vec<String>,
}

impl Parameters {
    fn read(request: &Received) -> Result<Self, Reply> {
        let get = |snake: &str, camel: &str| {
            request.parameter(snake).map(str::to_owned).or_else(|| {
                match request.json.as_ref()?.get(camel)? {
                    Value::String(text) => Some(text.clone()),
                    _ => None,
                }
            })
        };
        let required = |snake: &str, camel: &str| {
            get(snake, camel).filter(|v| !v.is_empty()).ok_or_else(|| {
                sts_error(
                    400,
                    "invalid_request",
                    &format!("Missing required field: {snake}"),
                )
            })
        };
        let grant_type = required("grant_type", "grantType")?;
        if grant_type != "urn:ietf:params:oauth:grant-type:token-exchange" {
            return Err(sts_error(
                400,
                "unsupported_grant_type",
                "Invalid grant_type. Supported value: urn:ietf:params:oauth:grant-type:token-exchange",
            ));
        }
        let requested = required("requested_token_type", "requestedTokenType")?;
        if requested != ACCESS_TOKEN_TYPE {
            return Err(sts_error(
                400,
                "invalid_request",
                "Invalid requested_token_type. Supported value: urn:ietf:params:oauth:token-type:access_token",
            ));
        }
        let subject_token = required("subject_token", "subjectToken")?;
        let subject_type = required("subject_token_type", "subjectTokenType")?;
        if ![
            "urn:ietf:params:oauth:token-type:jwt",
            "urn:ietf:params:oauth:token-type:id_token",
        ]
        .contains(&subject_type.as_str())
        {
            return Err(sts_error(
                400,
                "invalid_request",
                "Invalid subject_token_type.",
            ));
        }
        let audience = required("audience", "audience")?;
        let scopes: Vec<String> = get("scope", "scope")
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        if let Some(wrong) = scopes.iter().find(|s| {
            !s.starts_with("https://") && !["openid", "email", "profile"].contains(&s.as_str())
        }) {
            return Err(sts_error(
                400,
                "invalid_scope",
                &format!("\"{wrong}\" is not a valid scope."),
            ));
        }
        Ok(Self {
            audience,
            subject_token,
            scopes,
        })
    }
}

/// The issuer's keys, fetched only for the provider's own issuer and only where no keys were uploaded.
async fn keys(
    state: &State,
    request: &Received,
    token: &Result<Token, cwii_token::DecodeError>,
    audience: &str,
    documents: &trust::Documents,
) -> Result<std::sync::Arc<cwii_token::Jwks>, String> {
    let token = token.as_ref().map_err(|_| "no token".to_owned())?;
    let issuer = token.claims.issuer().unwrap_or_default();
    let registered = audience
        .parse()
        .ok()
        .and_then(|name| documents.provider(&name))
        .is_some_and(|p| p.issuer_uri == issuer);
    if !registered {
        return Err("the issuer is not the provider's".to_owned());
    }
    state
        .fetcher
        .keys(
            Service::GoogleSts,
            issuer,
            token.header.kid.as_deref(),
            request.stale_jwks,
        )
        .await
}

fn federate(
    state: &State,
    request: &Received,
    parameters: &Parameters,
    federated: trust::Federated,
) -> Reply {
    let lifetime = SignedDuration::from_secs(federated.expires_in_seconds);
    let token = match access_token(state, "d") {
        Ok(token) => token,
        Err(problem) => {
            return state.broken(Service::GoogleSts, &problem.to_string(), request.now);
        }
    };
    lock(&state.google.0).insert(
        token.clone(),
        Grant {
            principal: federated.principal,
            scopes: parameters.scopes.clone(),
            expires_at: request.now.checked_add(lifetime).unwrap_or(request.now),
        },
    );
    Reply::json(
        200,
        &json!({
            "access_token": token,
            "issued_token_type": ACCESS_TOKEN_TYPE,
            "token_type": "Bearer",
            "expires_in": federated.expires_in_seconds.min(3599),
        }),
    )
}

fn impersonate(
    state: &State,
    request: &Received,
    principal: &trust::Principal,
    email: &str,
    lifetime_seconds: Option<i64>,
) -> Result<(String, Timestamp), Box<Reply>> {
    let broken =
        |problem: String| Box::new(state.broken(Service::GoogleIam, &problem, request.now));
    let documents = documents_for(state, email).map_err(broken)?;
    let asked = trust::Impersonation {
        principal,
        service_account: email,
        lifetime_seconds,
        now: request.now,
    };
    match trust::evaluate_impersonation(&asked, &documents).result {
        Ok(granted) => {
            let lifetime = SignedDuration::from_secs(granted.lifetime_seconds);
            let token = access_token(state, "c").map_err(|e| broken(e.to_string()))?;
            Ok((
                token,
                request.now.checked_add(lifetime).unwrap_or(request.now),
            ))
        }
        Err(denial) => Err(Box::new(iam_error(
            denial.error.http_status,
            &denial.error.code,
            &denial.error.message,
            denial.error.details.as_ref(),
        ))),
    }
}

/// Seconds of a protobuf duration in JSON, `3600s`.
fn seconds(value: &Value) -> Option<i64> {
    value.as_str()?.strip_suffix('s')?.parse().ok()
}

fn not_found() -> Reply {
    Reply::new(
        404,
        "text/html; charset=UTF-8",
        "<!DOCTYPE html>\n<html lang=en>\n<title>Error 404 (Not Found)!!1</title>\n<p><b>404.</b> <ins>That’s an error.</ins>\n",
    )
}

const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";
const SCOPE_IAM: &str = "https://www.googleapis.com/auth/iam";
const SCOPE_CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";
