//! Google STS, and the impersonation of a service account after it.
//!
//! OAuth 2.0 Token Exchange (RFC 8693) at `token_url`, then `generateAccessToken` where the document impersonates. Both
//! URLs come from a document that others can write, so both must lie within the universe domain, or be allowed by name.
//! While the first exchange is in flight the connection for the second is opened: four round trips instead of six.

use bytes::Bytes;
use cwii_checks::facts::{Cause, ConfigurationProblemKind, Identity, Step, TokenProblemKind};
use cwii_contract::{
    ExternalAccount,
    external_account::{DEFAULT_UNIVERSE_DOMAIN, SUBJECT_TOKEN_TYPE_JWT, SubjectTokenFile},
    types::shorten,
};
use http::{HeaderValue, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use super::{CLOUD_PLATFORM, Details, client, refusal, seconds, size_of};
use crate::{
    endpoints,
    http::{Ahead, DOCUMENT_LIMIT, Http, Reply, Trouble, authority},
    retry::{Failed, attempt, retry_after},
    run::{Run, misconfigured},
    token_file,
};

/// Exchanges the subject token, and impersonates where the document says so.
pub(super) async fn exchange(
    run: &mut Run<'_>,
    account: &ExternalAccount,
) -> Result<Identity, Cause> {
    record(run, account);
    check_host(run, account, "token_url", &account.token_url)?;
    if let Some(url) = &account.impersonation_url {
        check_host(run, account, "service_account_impersonation_url", url)?;
    }
    let http = client(run)?;
    http.record_route(run, &account.token_url);
    let Some(url) = &account.impersonation_url else {
        let federated = federate(run, &http, account, CLOUD_PLATFORM).await?;
        return Ok(direct_identity(run, account, &federated));
    };
    if authority(url) != authority(&account.token_url) {
        http.record_route(run, url);
    }
    let (federated, ahead) = federate_and_connect(run, &http, account, url).await?;
    let email = account.service_account().unwrap_or_default();
    impersonate(run, &http, account, url, email, &federated, &ahead).await
}

fn record(run: &mut Run<'_>, account: &ExternalAccount) {
    const DOCUMENT: &str = "credentials document";
    run.input("audience", &account.audience, DOCUMENT);
    if let Err(error) = account.pool_provider() {
        run.note(Some("GCP01"), error.to_string());
    }
    run.input("token file", &account.source.file, DOCUMENT);
    run.input("endpoint", account.token_url.as_str(), DOCUMENT);
    if let Some(email) = account.service_account() {
        run.input("service account", email, DOCUMENT);
    }
    if let Some(url) = &account.impersonation_url {
        run.input("impersonation URL", url.as_str(), DOCUMENT);
    }
    if let Some(seconds) = account.token_lifetime_seconds {
        run.input("token lifetime", format!("{seconds} s"), DOCUMENT);
    }
    if let Some(project) = &account.quota_project_id {
        run.input("quota project", project, DOCUMENT);
    }
    if account.universe_domain != DEFAULT_UNIVERSE_DOMAIN {
        run.input("universe domain", &account.universe_domain, DOCUMENT);
        run.note(
            None,
            format!(
                "the credentials document itself names the universe `{}` that its endpoints are \
                 checked against",
                account.universe_domain
            ),
        );
    }
    if !account.unknown_members.is_empty() {
        run.note(
            Some("GCP10"),
            format!(
                "the credentials document has members that nothing reads: {}",
                account
                    .unknown_members
                    .iter()
                    .map(|name| shorten(name))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        );
    }
}

fn check_host(
    run: &Run<'_>,
    account: &ExternalAccount,
    member: &str,
    url: &Url,
) -> Result<(), Cause> {
    let host = url.host_str().unwrap_or_default();
    if endpoints::is_within(host, &account.universe_domain)
        || endpoints::is_allowed(run.options, url)
    {
        return Ok(());
    }
    Err(misconfigured(
        ConfigurationProblemKind::ForeignEndpoint,
        member,
        "credentials document",
        endpoints::refusal(url, &format!("a host within `{}`", account.universe_domain)),
    ))
}

/// What Google STS gave.
struct Federated {
    access_token: SecretString,
    token_type: String,
    expires_in: Option<i64>,
    details: Details,
}

/// The first exchange, with the connection for the second opened meanwhile. A failure does not wait for it.
async fn federate_and_connect(
    run: &mut Run<'_>,
    http: &Http,
    account: &ExternalAccount,
    next: &Url,
) -> Result<(Federated, Ahead), Cause> {
    if authority(next) == authority(&account.token_url) {
        let federated = federate(run, http, account, IAM_SCOPE).await?;
        return Ok((federated, Ahead::default()));
    }
    http.meanwhile(next, federate(run, http, account, IAM_SCOPE))
        .await
}

async fn federate(
    run: &mut Run<'_>,
    http: &Http,
    account: &ExternalAccount,
    scope: &str,
) -> Result<Federated, Cause> {
    attempt(run, Step::GoogleTokenExchange, async |run| {
        let token =
            subject_token(run, &account.source).inspect_err(|_| run.step = Step::TokenFile)?;
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair(
                "grant_type",
                "urn:ietf:params:oauth:grant-type:token-exchange",
            )
            .append_pair("audience", &account.audience)
            .append_pair("scope", scope)
            .append_pair(
                "requested_token_type",
                "urn:ietf:params:oauth:token-type:access_token",
            )
            .append_pair("subject_token", token.expose_secret())
            .append_pair("subject_token_type", SUBJECT_TOKEN_TYPE_JWT)
            .finish();
        let request = http::Request::post(account.token_url.as_str())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .body(Bytes::from(body))
            .map_err(|e| Cause::Internal(format!("the request cannot be built: {e}")))?;
        let reply = http.send(request, DOCUMENT_LIMIT).await?;
        if reply.status != 200 {
            return Err(refused(run, &reply));
        }
        let body = object(&reply, &account.token_url)?;
        let Some(access_token) = body["access_token"].as_str().filter(|t| !t.is_empty()) else {
            return Err(Trouble::garbage(
                authority(&account.token_url),
                "the answer holds no `access_token`",
            )
            .into());
        };
        let mut details = Details::from([("federated token", size_of(access_token))]);
        if let Some(kind) = body["issued_token_type"].as_str() {
            details.insert("issued token type", shorten(kind));
        }
        Ok(Federated {
            access_token: access_token.into(),
            token_type: body["token_type"].as_str().unwrap_or("Bearer").to_owned(),
            expires_in: seconds(&body["expires_in"]),
            details,
        })
    })
    .await
}

async fn impersonate(
    run: &mut Run<'_>,
    http: &Http,
    account: &ExternalAccount,
    url: &Url,
    email: &str,
    federated: &Federated,
    ahead: &Ahead,
) -> Result<Identity, Cause> {
    let lifetime = account
        .token_lifetime_seconds
        .unwrap_or(DEFAULT_LIFETIME_SECONDS);
    let body = json!({
        "delegates": null,
        "scope": [CLOUD_PLATFORM],
        "lifetime": format!("{lifetime}s"),
    })
    .to_string();
    let mut bearer = HeaderValue::from_str(&format!(
        "Bearer {}",
        federated.access_token.expose_secret()
    ))
    .map_err(|_| {
        Cause::Transport(
            Trouble::garbage(
                authority(&account.token_url),
                "the access token holds characters that a header must not have",
            )
            .problem,
        )
    })?;
    bearer.set_sensitive(true);
    attempt(run, Step::GoogleImpersonation, async |run| {
        let request = http::Request::post(url.as_str())
            .header(header::AUTHORIZATION, bearer.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .body(Bytes::from(body.clone()))
            .map_err(|e| Cause::Internal(format!("the request cannot be built: {e}")))?;
        let reply = http.send_on(ahead, request, DOCUMENT_LIMIT).await?;
        if reply.status != 200 {
            return Err(refused(run, &reply));
        }
        let body = object(&reply, url)?;
        let (Some(token), Some(expires)) =
            (body["accessToken"].as_str(), body["expireTime"].as_str())
        else {
            return Err(Trouble::garbage(
                authority(url),
                "the answer holds no `accessToken` or no `expireTime`",
            )
            .into());
        };
        let mut details = federated.details.clone();
        details.insert("access token", size_of(token));
        details.insert("expiration", expires.to_owned());
        details.extend(presented(run));
        Ok(Identity {
            members: vec![
                ("type", "impersonated".into()),
                ("principal", email.into()),
                ("audience", account.audience.clone().into()),
                ("scope", CLOUD_PLATFORM.into()),
                ("tokenType", "Bearer".into()),
                ("expireTime", expires.into()),
            ],
            details,
        })
    })
    .await
}

fn direct_identity(run: &Run<'_>, account: &ExternalAccount, federated: &Federated) -> Identity {
    let subject = presented(run).remove("subject");
    // With the mapping that Google's guide gives, google.subject is the token's; another mapping is not visible here.
    let principal = match (account.pool_provider(), &subject) {
        (Ok(provider), Some(subject)) => Value::from(format!(
            "principal://iam.googleapis.com/{}/subject/{subject}",
            provider.pool_resource()
        )),
        _ => Value::Null,
    };
    let mut details = federated.details.clone();
    details.extend(presented(run));
    if !principal.is_null() {
        details.insert(
            "principal",
            "as the mapping google.subject = assertion.sub makes it".into(),
        );
    }
    Identity {
        members: vec![
            ("type", "direct".into()),
            ("principal", principal),
            ("audience", account.audience.clone().into()),
            ("scope", CLOUD_PLATFORM.into()),
            ("tokenType", federated.token_type.clone().into()),
            ("expiresIn", federated.expires_in.into()),
        ],
        details,
    }
}

/// What the presented token says of itself.
fn presented(run: &Run<'_>) -> Details {
    let mut details = Details::new();
    let presented = run.token.as_ref();
    if let Some(token) = presented.and_then(|p| p.token.as_ref().ok().or(p.trimmed.as_ref())) {
        for (name, value) in [
            ("subject", token.claims.subject()),
            ("issuer", token.claims.issuer()),
        ] {
            if let Some(value) = value {
                details.insert(name, value.to_owned());
            }
        }
    }
    details
}

/// The subject token: the file, or a member of the JSON object in it.
fn subject_token(run: &mut Run<'_>, source: &SubjectTokenFile) -> Result<SecretString, Cause> {
    let Some(field) = &source.json_field else {
        return token_file::read_jwt(run, &source.file);
    };
    let text = token_file::read(&source.file)?;
    let malformed =
        |problem: String| token_file::problem(&source.file, TokenProblemKind::OtherFormat, problem);
    let value: Value = serde_json::from_str(text.expose_secret()).map_err(|_| {
        malformed("the credentials document says that it is JSON, and it is not".into())
    })?;
    let token = value[field.as_str()].as_str().ok_or_else(|| {
        malformed(format!(
            "expected the token in its member `{}`, and there is no such text",
            shorten(field)
        ))
    })?;
    token_file::present_jwt(run, &source.file, token.into())
}

fn refused(run: &Run<'_>, reply: &Reply) -> Failed {
    let wait = reply
        .header("retry-after")
        .and_then(|value| retry_after(value, (run.options.clock)()));
    Failed::answer(refusal(reply), wait)
}

fn object(reply: &Reply, url: &Url) -> Result<Value, Failed> {
    match serde_json::from_slice(&reply.body) {
        Ok(value @ Value::Object(_)) => Ok(value),
        _ => Err(Trouble::garbage(authority(url), "the answer is not a JSON object").into()),
    }
}

/// The scope that impersonation needs; google-auth for Python and Rust ask for it.
const IAM_SCOPE: &str = "https://www.googleapis.com/auth/iam";

/// Lifetime of an impersonated token unless the document sets it, seconds.
const DEFAULT_LIFETIME_SECONDS: i64 = 3600;
