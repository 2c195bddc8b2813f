//! Entra ID: client credentials with a federated token (AKS workload identity and any OIDC issuer).
//!
//! The variables are those that `WorkloadIdentityCredential` of the Azure SDKs reads; the scope is that of the cloud's
//! resource manager, so authority and scope always belong to the same cloud.

mod authority;
mod token_proxy;

use std::collections::BTreeMap;

use bytes::Bytes;
use cwii_checks::facts::{Answer, Cause, ConfigurationProblemKind, Identity, Mechanism, Step};
use cwii_contract::{
    Provider,
    env::{AZURE_AUTHORITY_HOST, AZURE_CLIENT_ID, AZURE_FEDERATED_TOKEN_FILE, AZURE_TENANT_ID},
    types::{ClientId, TenantId},
};
use http::header;
use ring::rand::{SecureRandom as _, SystemRandom};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use url::{Url, form_urlencoded};

use crate::{
    answer::answer,
    endpoints,
    http::{DOCUMENT_LIMIT, Http, Proxies, Reach, Reply, Roots, Trouble, authority as host_of},
    retry::{Failed, attempt, retry_after},
    run::{ENVIRONMENT, Run, misconfigured},
    token_file,
};
use authority::Authority;
use token_proxy::TokenProxy;

/// Runs the exchange.
pub(crate) async fn exchange(run: &mut Run<'_>) -> Result<Identity, Cause> {
    run.mechanism = Some(Mechanism::EntraFederatedCredential);
    let inputs = Inputs::read(run)?;
    note_other_credentials(run);
    let token_proxy = TokenProxy::find(run.env)?;
    let (endpoint, http) = match &token_proxy {
        Some(proxy) => proxy.client(run, &inputs.tenant).await?,
        None => {
            let endpoint = inputs.authority.token_endpoint(inputs.tenant.as_str())?;
            run.input("endpoint", endpoint.as_str(), "authority");
            let roots = Roots::load(Provider::Az, run.env, None).map_err(Cause::Configuration)?;
            let proxies = Proxies::from_env(run.env).map_err(Cause::Configuration)?;
            let reach = Reach {
                roots: Some(roots),
                proxies: Some(proxies.into()),
                pinned: Vec::new(),
            };
            let http = Http::new(run, reach)?;
            http.record_route(run, &endpoint);
            (endpoint, http)
        }
    };
    let host_header = token_proxy.as_ref().map(TokenProxy::host_header);
    let request_id = uuid()?;
    attempt(run, Step::EntraToken, async |run| {
        let token = token_file::read_jwt(run, &inputs.token_file)
            .inspect_err(|_| run.step = Step::TokenFile)?;
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("client_assertion", token.expose_secret())
            .append_pair(
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            )
            .append_pair("client_id", inputs.client.as_str())
            .append_pair("grant_type", "client_credentials")
            .append_pair("scope", inputs.authority.scope)
            .finish();
        let mut request = http::Request::post(endpoint.as_str())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .header("x-ms-client-request-id", &request_id);
        if let Some(host) = &host_header {
            request = request.header(header::HOST, host);
        }
        let request = request
            .body(Bytes::from(body))
            .map_err(|e| Cause::Internal(format!("the request cannot be built: {e}")))?;
        let reply = http.send(request, DOCUMENT_LIMIT).await?;
        if reply.status != 200 {
            let wait = reply
                .header("retry-after")
                .and_then(|value| retry_after(value, (run.options.clock)()));
            return Err(Failed::answer(refusal(&reply), wait));
        }
        identity(&reply, &inputs, &host_of(&endpoint))
    })
    .await
}

/// The variables, checked.
struct Inputs {
    tenant: TenantId,
    client: ClientId,
    token_file: String,
    authority: Authority,
}

impl Inputs {
    fn read(run: &mut Run<'_>) -> Result<Self, Cause> {
        let required = [AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_FEDERATED_TOKEN_FILE];
        let missing: Vec<&str> = required
            .into_iter()
            .filter(|name| run.env.non_empty(name).is_none())
            .collect();
        if missing.len() == required.len() {
            return Err(misconfigured(
                ConfigurationProblemKind::NothingConfigured,
                AZURE_CLIENT_ID,
                ENVIRONMENT,
                format!(
                    "nothing is configured: none of {} is set",
                    required.join(", ")
                ),
            ));
        }
        if let Some(first) = missing.first() {
            return Err(misconfigured(
                ConfigurationProblemKind::Missing,
                *first,
                ENVIRONMENT,
                format!(
                    "{} of {} is not set: all three are needed",
                    missing.join(", "),
                    required.join(", ")
                ),
            ));
        }
        let value = |name| run.env.non_empty(name).unwrap_or_default().to_owned();
        let (tenant, client, token_file) = (
            value(AZURE_TENANT_ID),
            value(AZURE_CLIENT_ID),
            value(AZURE_FEDERATED_TOKEN_FILE),
        );
        run.input("tenant", &tenant, AZURE_TENANT_ID);
        run.input("client", &client, AZURE_CLIENT_ID);
        run.input("token file", &token_file, AZURE_FEDERATED_TOKEN_FILE);
        let invalid = |name: &str, problem: String| {
            misconfigured(
                ConfigurationProblemKind::Invalid,
                name,
                ENVIRONMENT,
                problem,
            )
        };
        let tenant = tenant
            .parse()
            .map_err(|e: cwii_contract::types::ParseError| {
                invalid(AZURE_TENANT_ID, e.to_string())
            })?;
        let client = client
            .parse()
            .map_err(|e: cwii_contract::types::ParseError| {
                invalid(AZURE_CLIENT_ID, e.to_string())
            })?;
        let authority = Authority::find(run.env)?;
        let source = match run.env.trimmed(AZURE_AUTHORITY_HOST) {
            Some(_) => AZURE_AUTHORITY_HOST,
            None => "default",
        };
        run.input("authority", authority.shown(), source);
        run.input("cloud", authority.cloud, "authority");
        run.input("scope", authority.scope, "cloud");
        note_authority(run, &authority);
        if !authority.known && !endpoints::is_allowed(run.options, &authority.url) {
            return Err(misconfigured(
                ConfigurationProblemKind::ForeignEndpoint,
                AZURE_AUTHORITY_HOST,
                ENVIRONMENT,
                endpoints::refusal(&authority.url, "the authority of a Microsoft cloud"),
            ));
        }
        Ok(Self {
            tenant,
            client,
            token_file,
            authority,
        })
    }
}

fn note_authority(run: &mut Run<'_>, authority: &Authority) {
    let Some(text) = run.env.trimmed(AZURE_AUTHORITY_HOST) else {
        run.note(
            Some("AZ09"),
            format!(
                "{AZURE_AUTHORITY_HOST} is not set: the default is used here, but azure-identity for \
                 Python takes the workload identity path inside ManagedIdentityCredential only when \
                 it is set"
            ),
        );
        return;
    };
    if !text.contains("://") {
        // Python's urlparse takes what stands before the port for a scheme.
        let python = if authority.url.port().is_some() {
            "refuses it with a port"
        } else {
            "takes it"
        };
        run.note(
            None,
            format!(
                "{AZURE_AUTHORITY_HOST} is a bare host: the SDK for Python {python}, the SDK for Rust \
                 wants `{}`",
                authority.shown()
            ),
        );
    }
    if authority.cloud != "AzureCloud" {
        run.note(
            None,
            format!("the az CLI ignores {AZURE_AUTHORITY_HOST} and goes by `az cloud set`"),
        );
    }
    if !authority.known {
        run.note(
            None,
            "SDKs built on MSAL (Go, .NET, Java) first ask Microsoft's public cloud about an \
             authority that they do not know",
        );
    }
}

/// What comes before workload identity in `DefaultAzureCredential`.
fn note_other_credentials(run: &mut Run<'_>) {
    for name in [
        "AZURE_CLIENT_SECRET",
        "AZURE_CLIENT_CERTIFICATE_PATH",
        "AZURE_USERNAME",
    ] {
        if run.env.non_empty(name).is_some() {
            run.note(
                Some("AZ10"),
                format!(
                    "{name} is set as well: DefaultAzureCredential tries EnvironmentCredential first, \
                     and the federated token is not used"
                ),
            );
        }
    }
}

fn identity(reply: &Reply, inputs: &Inputs, host: &str) -> Result<Identity, Failed> {
    let garbage = |detail: &str| Failed::from(Trouble::garbage(host, detail));
    let Ok(body @ Value::Object(_)) = serde_json::from_slice::<Value>(&reply.body) else {
        return Err(garbage("the answer is not a JSON object"));
    };
    let Some(token) = body["access_token"].as_str().filter(|t| !t.is_empty()) else {
        return Err(garbage("the answer holds no `access_token`"));
    };
    let seconds = |name: &str| {
        let value = &body[name];
        value
            .as_i64()
            .or_else(|| value.as_str().and_then(|text| text.parse().ok()))
    };
    let mut details = BTreeMap::from([("access token", format!("{} bytes", token.len()))]);
    if let Some(id) = reply.header("x-ms-request-id") {
        details.insert("request id", id.to_owned());
    }
    Ok(Identity {
        members: vec![
            ("tenantId", inputs.tenant.as_str().into()),
            ("clientId", inputs.client.as_str().into()),
            ("cloud", inputs.authority.cloud.into()),
            ("scope", inputs.authority.scope.into()),
            (
                "tokenType",
                body["token_type"].as_str().unwrap_or("Bearer").into(),
            ),
            ("expiresIn", seconds("expires_in").into()),
        ],
        details,
    })
}

/// The error in an answer. Microsoft asks not to depend on status or `error`; the number is in `error_codes`, else in
/// the text.
fn refusal(reply: &Reply) -> Answer {
    let text = reply.text();
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    let message = body["error_description"].as_str().unwrap_or(&text);
    let code = body["error_codes"][0]
        .as_i64()
        .map(|number| format!("AADSTS{number}"))
        .or_else(|| number_in(message))
        .or_else(|| body["error"].as_str().map(str::to_owned));
    answer(
        reply.status,
        code.as_deref(),
        message,
        body["trace_id"]
            .as_str()
            .or_else(|| reply.header("x-ms-request-id")),
    )
}

/// The first `AADSTS` with digits behind it.
fn number_in(text: &str) -> Option<String> {
    text.split("AADSTS").skip(1).find_map(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        (!digits.is_empty()).then(|| format!("AADSTS{digits}"))
    })
}

/// A random id for Microsoft's support to find the request by (RFC 9562, version 4).
fn uuid() -> Result<String, Cause> {
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Cause::Internal("there is no randomness".into()))?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut id = String::with_capacity(36);
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            id.push('-');
        }
        id.push_str(&format!("{byte:02x}"));
    }
    Ok(id)
}

/// The token endpoint below a base URL.
fn token_endpoint(base: &Url, tenant: &str) -> Result<Url, Cause> {
    let text = format!(
        "{}/{tenant}/oauth2/v2.0/token",
        base.as_str().trim_end_matches('/')
    );
    Url::parse(&text).map_err(|e| Cause::Internal(format!("`{text}` is no URL: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str) -> Answer {
        refusal(&Reply {
            status: 401,
            headers: http::HeaderMap::new(),
            body: body.to_owned().into(),
        })
    }

    #[test]
    fn the_number_is_taken_from_error_codes_then_from_the_text() {
        for (body, code) in [
            (
                r#"{"error":"invalid_client","error_description":"AADSTS1: x","error_codes":[700213]}"#,
                "AADSTS700213",
            ),
            (
                r#"{"error":"invalid_client","error_description":"see AADSTS, AADSTS700211: no"}"#,
                "AADSTS700211",
            ),
            (
                r#"{"error":"invalid_client","error_description":"AADSTS70021: x","error_codes":[]}"#,
                "AADSTS70021",
            ),
            (
                r#"{"error":"temporarily_unavailable"}"#,
                "temporarily_unavailable",
            ),
            ("<html>AADSTS90033</html>", "AADSTS90033"),
        ] {
            assert_eq!(answer(body).code.as_deref(), Some(code), "{body}");
        }
        assert_eq!(answer("gateway").code, None);
    }

    #[test]
    fn a_request_id_is_a_uuid_of_version_4() {
        let id = uuid().unwrap();
        assert!(id.parse::<ClientId>().is_ok(), "{id}");
        assert_eq!(id.as_bytes()[14], b'4');
    }
}
