//! Entra's token endpoint, decided on `entra/`, and what official clients ask before they ask for a token.
//!
//! Source: Microsoft identity platform documentation, "OAuth 2.0 client credentials flow", "Microsoft Entra
//! authentication and authorization error codes".

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cwii_token::Token;
use cwii_trust::{JwksFact, entra as trust};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    case::TENANT,
    fault::Service,
    issuer::{random_uuid, uuid_of},
    keys::fill_random,
    lab::State,
    server::{Received, Reply},
};

/// Where the tenants are listed.
pub(crate) const TENANTS: &str = "entra/tenants.json";

/// The tenants that there are unless somebody edits the file.
pub(crate) fn tenants() -> Value {
    json!([
        {
            "tenantId": TENANT,
            "displayName": "Lab",
            "defaultDomain": "lab.onmicrosoft.com",
        },
        {
            "tenantId": OTHER_TENANT,
            "displayName": "Another tenant",
            "defaultDomain": "other.onmicrosoft.com",
        },
    ])
}

pub(crate) async fn handle(state: &State, request: &Received) -> Reply {
    let parts: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
    let reply = match (request.method.as_str(), parts.as_slice()) {
        ("POST", [tenant, "oauth2", "v2.0", "token"]) => token(state, request, tenant).await,
        ("GET", [tenant, "v2.0", ".well-known", "openid-configuration"]) => {
            configuration(state, request, tenant)
        }
        ("GET", ["common", "discovery", "instance"]) => instance(state, request),
        _ => Reply::text(404, ""),
    };
    let id = random_uuid().unwrap_or_default();
    let reply = reply
        .with("x-ms-request-id", id)
        .with("cache-control", "no-store, no-cache");
    match request.header("client-request-id") {
        Some(id) => {
            let id = id.to_owned();
            reply.with("client-request-id", id)
        }
        None => reply,
    }
}

/// An error of Entra. `description` begins with `AADSTS` and the number.
pub(crate) fn error(
    status: u16,
    code: &str,
    number: &str,
    description: &str,
    now: Timestamp,
) -> Reply {
    let trace = random_uuid().unwrap_or_default();
    let correlation = random_uuid().unwrap_or_default();
    let stamp = now
        .to_zoned(jiff::tz::TimeZone::UTC)
        .strftime("%Y-%m-%d %H:%M:%SZ")
        .to_string();
    let number: i64 = number.parse().unwrap_or_default();
    Reply::json(
        status,
        &json!({
            "error": code,
            "error_description": format!(
                "{description}\r\nTrace ID: {trace}\r\nCorrelation ID: {correlation}\r\nTimestamp: {stamp}"
            ),
            "error_codes": [number],
            "timestamp": stamp,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": format!("https://login.microsoftonline.com/error?code={number}"),
        }),
    )
}

pub(crate) fn outage(status: u16, now: Timestamp) -> Reply {
    match status {
        429 => error(
            429,
            "temporarily_unavailable",
            "90055",
            "AADSTS90055: The request was throttled due to too many requests.",
            now,
        ),
        status => error(
            status,
            "temporarily_unavailable",
            "90033",
            "AADSTS90033: A transient error has occurred. Please try again.",
            now,
        ),
    }
}

async fn token(state: &State, request: &Received, tenant: &str) -> Reply {
    let tenant = percent_encoding::percent_decode_str(tenant).decode_utf8_lossy();
    let client = request.parameter("client_id").unwrap_or_default();
    if let Some(reply) = state.forced_for(Service::Entra, None, client, request.now) {
        return reply;
    }
    let grant = request.parameter("grant_type").unwrap_or_default();
    if grant.is_empty() {
        return error(
            400,
            "invalid_request",
            "900144",
            "AADSTS900144: The request body must contain the following parameter: 'grant_type'.",
            request.now,
        );
    }
    if grant != "client_credentials" {
        return error(
            400,
            "unsupported_grant_type",
            "70003",
            &format!("AADSTS70003: The app requested an unsupported grant type '{grant}'."),
            request.now,
        );
    }
    let documents = match documents(state) {
        Ok(documents) => documents,
        Err(problem) => return state.broken(Service::Entra, &problem, request.now),
    };
    let assertion = request.parameter("client_assertion").unwrap_or_default();
    let decoded = (!assertion.is_empty()
        && request.parameter("client_assertion_type") == Some(ASSERTION_TYPE))
    .then(|| Token::decode(assertion));
    let keys = match &decoded {
        Some(Ok(token)) => keys(state, request, token, client, &documents).await,
        _ => Err("no assertion".to_owned()),
    };
    let asked = trust::Request {
        token: decoded.as_ref().map(Result::as_ref),
        jwks: match &keys {
            Ok(keys) => JwksFact::Known(keys),
            Err(why) => JwksFact::Unavailable(why),
        },
        tenant: &tenant,
        client_id: client,
        scope: request.parameter("scope"),
        now: request.now,
    };
    match trust::evaluate(&asked, &documents).result {
        Ok(granted) => issue(state, request, &granted),
        Err(denial) => error(
            denial.error.http_status,
            &denial.error.code,
            denial.error.row,
            &denial.error.message,
            request.now,
        ),
    }
}

/// The issuer's keys, fetched only where one of the client's credentials names the issuer.
async fn keys(
    state: &State,
    request: &Received,
    token: &Token,
    client: &str,
    documents: &trust::Documents,
) -> Result<std::sync::Arc<cwii_token::Jwks>, String> {
    let issuer = token.claims.issuer().unwrap_or_default();
    let registered = documents
        .applications
        .iter()
        .filter(|a| a.client_id.eq_ignore_ascii_case(client))
        .flat_map(|a| &a.credentials)
        .any(|c| c.issuer == issuer);
    if !registered {
        return Err("the issuer is not that of a credential".to_owned());
    }
    state
        .fetcher
        .keys(
            Service::Entra,
            issuer,
            token.header.kid.as_deref(),
            request.stale_jwks,
        )
        .await
}

/// The documents under `entra/`; a list of credentials belongs to the client that its file is named after.
fn documents(state: &State) -> Result<trust::Documents, String> {
    // Nothing in a folder means that there is nothing, not that nobody looked.
    let mut documents = trust::Documents {
        tenants: Some(Vec::new()),
        service_principals: Some(Vec::new()),
        ..trust::Documents::default()
    };
    if let Some(tenants) = state.store.document(TENANTS)? {
        documents
            .add(&tenants, &trust::Hints::default())
            .map_err(|e| format!("{TENANTS}: {e}"))?;
    }
    // Owners first: a list of credentials does not say whether it is an application's or a managed identity's.
    for folder in [
        "entra/applications",
        "entra/service-principals",
        "entra/credentials",
    ] {
        for (name, value) in state.store.folder(folder)? {
            let hints = trust::Hints {
                client_id: Some(&name),
                ..trust::Hints::default()
            };
            documents
                .add(&value, &hints)
                .map_err(|e| format!("{folder}/{name}.json: {e}"))?;
        }
    }
    Ok(documents)
}

/// An access token in Entra's shape. Nobody but the resource can verify it, so its signature is random.
fn issue(state: &State, request: &Received, granted: &trust::Granted) -> Reply {
    let mut signature = [0; 256];
    if let Err(problem) = fill_random(&mut signature) {
        return state.broken(Service::Entra, &problem.to_string(), request.now);
    }
    let audience = request
        .parameter("scope")
        .and_then(|s| s.strip_suffix("/.default"))
        .unwrap_or_default();
    let now = request.now.as_second();
    let header = json!({ "typ": "JWT", "alg": "RS256", "kid": "lab" });
    let claims = json!({
        "aud": audience,
        "iss": format!("https://sts.windows.net/{}/", granted.tenant),
        "iat": now,
        "nbf": now,
        "exp": now + LIFETIME_SECONDS,
        "appid": granted.client_id,
        "idtyp": "app",
        "oid": uuid_of(&format!("object {}", granted.credential)),
        "tid": granted.tenant,
        "ver": "1.0",
    });
    let signature = URL_SAFE_NO_PAD.encode(signature);
    state.keep_secret(&signature);
    let token = format!(
        "{}.{}.{signature}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    Reply::json(
        200,
        &json!({
            "token_type": "Bearer",
            "expires_in": LIFETIME_SECONDS - 1,
            "ext_expires_in": LIFETIME_SECONDS - 1,
            "access_token": token,
        }),
    )
}

fn configuration(state: &State, request: &Received, tenant: &str) -> Reply {
    let tenants = match documents(state) {
        Ok(documents) => documents.tenants.unwrap_or_default(),
        Err(problem) => return state.broken(Service::Entra, &problem, request.now),
    };
    let known = ["common", "organizations"].contains(&tenant)
        || tenants.iter().any(|t| {
            t.id.eq_ignore_ascii_case(tenant)
                || t.domains.iter().any(|d| d.eq_ignore_ascii_case(tenant))
        });
    if !known {
        return error(
            400,
            "invalid_tenant",
            "90002",
            &format!(
                "AADSTS90002: Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant."
            ),
            request.now,
        );
    }
    let base = &state.endpoints().entra;
    Reply::json(
        200,
        &json!({
            "token_endpoint": format!("{base}/{tenant}/oauth2/v2.0/token"),
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "jwks_uri": format!("{base}/{tenant}/discovery/v2.0/keys"),
            "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "issuer": format!("{base}/{tenant}/v2.0"),
            "authorization_endpoint": format!("{base}/{tenant}/oauth2/v2.0/authorize"),
            "device_authorization_endpoint": format!("{base}/{tenant}/oauth2/v2.0/devicecode"),
            "tenant_region_scope": "EU",
        }),
    )
}

fn instance(state: &State, request: &Received) -> Reply {
    let base = &state.endpoints().entra;
    let host = base.trim_start_matches("https://");
    let tenant = request
        .parameter("authorization_endpoint")
        .and_then(|url| url::Url::parse(url).ok())
        .and_then(|url| url.path_segments()?.next().map(str::to_owned))
        .unwrap_or_else(|| "common".to_owned());
    Reply::json(
        200,
        &json!({
            "tenant_discovery_endpoint": format!("{base}/{tenant}/v2.0/.well-known/openid-configuration"),
            "api-version": "1.1",
            "metadata": [{
                "preferred_network": host,
                "preferred_cache": host,
                "aliases": [host, "localhost"],
            }],
        }),
    )
}

/// A second tenant: right id, wrong directory.
pub(crate) const OTHER_TENANT: &str = "bbbbcccc-1111-dddd-2222-eeee3333ffff";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// What Entra gives to service principals that support continuous access evaluation.
const LIFETIME_SECONDS: i64 = 86_400;
