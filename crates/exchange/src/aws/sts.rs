//! STS through the vendor's client, over our HTTP stack.
//!
//! aws-sdk-sts serialises, signs and parses; the request goes through [`Http`], so roots, proxies, names, limits and
//! counters are the same for every cloud. Its own retries and timeouts are off: the policy in [`crate::retry`] is the
//! only one.

use std::{collections::BTreeMap, fmt, time::SystemTime};

use aws_credential_types::Credentials;
use aws_sdk_sts::{
    Client,
    config::{
        BehaviorVersion, IdentityCache, Region, StalledStreamProtectionConfig,
        endpoint::{Endpoint, EndpointFuture, Params, ResolveEndpoint},
        retry::RetryConfig,
        timeout::TimeoutConfig,
    },
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId as _,
};
use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use cwii_checks::facts::{Cause, Identity};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::endpoint::StsEndpoint;
use crate::{
    Clock,
    answer::answer,
    http::{Ahead, DOCUMENT_LIMIT, Http, Trouble, authority},
    retry::{Failed, retry_after},
};

/// A client for one endpoint.
pub(crate) struct Sts {
    config: aws_sdk_sts::Config,
    host: String,
    clock: Clock,
}

/// What `AssumeRoleWithWebIdentity` gave.
pub(crate) struct Assumed {
    pub(crate) credentials: Credentials,
    pub(crate) details: BTreeMap<&'static str, String>,
}

impl Sts {
    /// `ahead` is a connection to the endpoint that is open already, or none.
    pub(crate) fn new(http: Http, ahead: Ahead, endpoint: &StsEndpoint, clock: Clock) -> Self {
        let config = aws_sdk_sts::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(endpoint.signing_region.clone()))
            .endpoint_resolver(Fixed(
                endpoint.url.as_str().trim_end_matches('/').to_owned(),
            ))
            .http_client(Adapter { http, ahead })
            .time_source(Time(clock.clone()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .identity_cache(IdentityCache::no_cache())
            .build();
        Self {
            config,
            host: authority(&endpoint.url),
            clock,
        }
    }

    /// Exchanges a token for credentials of a role. Unsigned.
    pub(crate) async fn assume_role_with_web_identity(
        &self,
        role: &str,
        session_name: &str,
        token: &SecretString,
    ) -> Result<Assumed, Failed> {
        let output = Client::from_conf(self.config.clone())
            .assume_role_with_web_identity()
            .role_arn(role)
            .role_session_name(session_name)
            .web_identity_token(token.expose_secret())
            .send()
            .await
            .map_err(|e| self.failed(e))?;
        let Some(credentials) = output.credentials() else {
            return Err(Trouble::garbage(&self.host, "the answer holds no credentials").into());
        };
        let mut details = BTreeMap::new();
        let mut detail = |name, value: Option<&str>| {
            if let Some(value) = value.filter(|v| !v.is_empty()) {
                details.insert(name, value.to_owned());
            }
        };
        detail("provider", output.provider());
        detail("audience", output.audience());
        detail("subject", output.subject_from_web_identity_token());
        detail("source identity", output.source_identity());
        detail("request id", output.request_id());
        if let Some(user) = output.assumed_role_user() {
            detail("assumed role id", Some(user.assumed_role_id()));
        }
        detail("expiration", Some(&credentials.expiration().to_string()));
        detail("access key id", Some(&masked(credentials.access_key_id())));
        Ok(Assumed {
            credentials: Credentials::new(
                credentials.access_key_id(),
                credentials.secret_access_key(),
                Some(credentials.session_token().to_owned()),
                None,
                "AssumeRoleWithWebIdentity",
            ),
            details,
        })
    }

    /// Who these credentials are. Signed with them.
    pub(crate) async fn get_caller_identity(
        &self,
        credentials: Credentials,
    ) -> Result<Identity, Failed> {
        let mut config = self.config.to_builder();
        config.set_credentials_provider(Some(
            aws_credential_types::provider::SharedCredentialsProvider::new(credentials),
        ));
        let output = Client::from_conf(config.build())
            .get_caller_identity()
            .send()
            .await
            .map_err(|e| self.failed(e))?;
        let member = |name, value: Option<&str>| match value {
            Some(value) => Ok((name, Value::from(value))),
            None => Err(Failed::from(Trouble::garbage(
                &self.host,
                format!("the answer to GetCallerIdentity holds no `{name}`"),
            ))),
        };
        Ok(Identity {
            members: vec![
                member("UserId", output.user_id())?,
                member("Account", output.account())?,
                member("Arn", output.arn())?,
            ],
            details: BTreeMap::new(),
        })
    }

    /// Takes the SDK's error apart.
    fn failed<E>(&self, error: SdkError<E, HttpResponse>) -> Failed
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let (metadata, raw) = match &error {
            SdkError::DispatchFailure(failure) => {
                return failure
                    .as_connector_error()
                    .and_then(|e| std::error::Error::source(e)?.downcast_ref::<Trouble>())
                    .cloned()
                    .unwrap_or_else(|| Trouble::other(&self.host, "the request was not sent"))
                    .into();
            }
            SdkError::ServiceError(service) => (Some(service.err().meta()), service.raw()),
            SdkError::ResponseError(response) => (None, response.raw()),
            // Texts of the other errors may hold the request.
            SdkError::ConstructionFailure(_) => {
                return Cause::Internal("the request to STS cannot be built".into()).into();
            }
            _ => return Cause::Internal("the STS client failed without an answer".into()).into(),
        };
        let status = raw.status().as_u16();
        if raw.status().is_success() {
            return Trouble::garbage(&self.host, "the answer is not the document that STS sends")
                .into();
        }
        let text = String::from_utf8_lossy(raw.body().bytes().unwrap_or_default());
        let answer = answer(
            status,
            metadata.and_then(|m| m.code()),
            metadata.and_then(|m| m.message()).unwrap_or(&text),
            // The header has it; a body alone may come from something between us and STS that passes errors on.
            error.request_id().or_else(|| element(&text, "RequestId")),
        );
        let wait = raw
            .headers()
            .get("retry-after")
            .and_then(|value| retry_after(value, (self.clock)()));
        Failed::answer(answer, wait)
    }
}

/// The text of an XML element without attributes.
fn element<'t>(xml: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.trim()).filter(|t| !t.is_empty())
}

/// An access key id with its middle hidden. The id is no secret, but people treat it as one.
pub(crate) fn masked(id: &str) -> String {
    match (
        id.get(..4),
        id.len().checked_sub(4).and_then(|i| id.get(i..)),
    ) {
        (Some(head), Some(tail)) if id.len() >= 12 => format!("{head}…{tail}"),
        _ => "…".into(),
    }
}

/// One endpoint, whatever is asked.
#[derive(Debug)]
struct Fixed(String);

impl ResolveEndpoint for Fixed {
    fn resolve_endpoint<'a>(&'a self, _: &'a Params) -> EndpointFuture<'a> {
        EndpointFuture::ready(Ok(Endpoint::builder().url(self.0.clone()).build()))
    }
}

/// The caller's clock, for signatures.
struct Time(Clock);

impl TimeSource for Time {
    fn now(&self) -> SystemTime {
        SystemTime::from((self.0)())
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time")
    }
}

/// Our HTTP stack in the shape that the SDK wants.
#[derive(Clone)]
struct Adapter {
    http: Http,
    ahead: Ahead,
}

impl fmt::Debug for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Adapter")
    }
}

impl HttpClient for Adapter {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Adapter {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Self { http, ahead } = self.clone();
        HttpConnectorFuture::new(async move {
            let request = request
                .try_into_http1x()
                .map_err(|e| ConnectorError::user(e.into()))?
                .map(|body| Bytes::copy_from_slice(body.bytes().unwrap_or_default()));
            let reply = http
                .send_on(&ahead, request, DOCUMENT_LIMIT)
                .await
                .map_err(|trouble| ConnectorError::io(trouble.into()))?;
            let mut response = http::Response::new(SdkBody::from(reply.body));
            *response.status_mut() = http::StatusCode::from_u16(reply.status)
                .map_err(|e| ConnectorError::other(e.into(), None))?;
            *response.headers_mut() = reply.headers;
            HttpResponse::try_from(response).map_err(|e| ConnectorError::other(e.into(), None))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_key_id_shows_its_ends_only() {
        assert_eq!(masked("ASIAABCDEFGHIJKLMNOP"), "ASIA…MNOP");
        assert_eq!(masked("short"), "…");
        assert_eq!(masked(""), "…");
    }
}
