//! Calls to the Kubernetes API, each with a result that says why it could not look.
//!
//! Objects stay raw JSON: checks name what they read by pointer, and fields that are newer than this build survive. A
//! list comes in pages and is handed over object by object, so that a sweep keeps what it needs and no more. Every call
//! is recorded; every call ends when the command is to end.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use cwii_checks::facts::{Fact, ServerClock};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::BodyExt as _;
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client as HttpClient,
        connect::{
            Connection, HttpConnector,
            proxy::{SocksV5, Tunnel},
        },
    },
    rt::{TokioExecutor, TokioTimer},
};
use jiff::Timestamp;
use kube::{
    Client, Config,
    client::{Body, ConfigExt as _},
};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{sync::Semaphore, time::Instant};
use tower::{BoxError, ServiceBuilder};

use super::{
    Access, Resource, exec,
    names::Names,
    proxy,
    resource::{self, segment},
    tls::{self, Identity},
};
use crate::{
    cli::{Globals, Limit},
    problem::{Problem, described},
    stop::Stop,
    terminal,
};

/// The API of one cluster.
pub(crate) struct Cluster {
    client: Client,
    access: Access,
    /// The proxy on the way, without its password.
    via: Option<String>,
    /// When the credentials that were sent end, where that is known, and what they are.
    expires: Option<(Timestamp, &'static str)>,
    is_anonymous: bool,
    request_timeout: Limit,
    stop: Stop,
    verbose: bool,
    calls: Mutex<Vec<Call>>,
    clock: Mutex<Option<ServerClock>>,
    /// More at once would be as many connections.
    permits: Semaphore,
}

/// One request as it went.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: String,
    /// None where no answer came.
    pub(crate) status: Option<u16>,
    /// Until the whole answer was there.
    pub(crate) took: Duration,
    /// Size of the answer, bytes.
    pub(crate) bytes: usize,
}

/// Why a call gave nothing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Failure {
    /// There is no such object.
    #[error("it does not exist")]
    Absent,
    /// The permission that is missing, as in `get pods in namespace shop`.
    #[error("missing permission: {0}")]
    Denied(String),
    /// The API server does not know who asks.
    #[error("{0}")]
    Unauthorized(String),
    /// No connection, or it broke.
    #[error("{0}")]
    Unreachable(String),
    /// No answer within `--request-timeout`, or the command was to end.
    #[error("no answer in time")]
    TimedOut,
    /// The API server says no for another reason than missing permission.
    #[error("the API server answered {status} {reason}: {message}")]
    Rejected {
        /// HTTP status.
        status: u16,
        /// Of its `Status`: `Invalid`, `AlreadyExists`.
        reason: String,
        /// Of its `Status`, or the beginning of what it sent instead.
        message: String,
    },
    /// The continuation of a list is too old; with one that goes on, where the API server offers one.
    #[error("the list changed while it was read")]
    Expired {
        /// The continuation to go on with.
        next: Option<String>,
    },
    /// The answer is not what the API documents.
    #[error("the answer of the API server could not be read: {0}")]
    Unreadable(String),
}

impl Failure {
    /// An error for a command that cannot go on; `what` could not be looked at.
    pub(crate) fn into_problem(self, what: &str) -> Problem {
        match self {
            Self::Absent => Problem::new(format!("{what} does not exist")),
            Self::Denied(permission) => Problem::new(format!(
                "{what} could not be looked at: not allowed to {permission}"
            ))
            .help("see what you may do with")
            .help("  kubectl auth can-i --list"),
            Self::Unauthorized(text) => Problem::new(text)
                .help("log in again, or choose another user with --user or --context"),
            Self::Unreachable(text) => Problem::new(text),
            Self::TimedOut => {
                Problem::new(format!("{what} could not be looked at: no answer in time"))
                    .help("wait longer with --request-timeout")
            }
            other => Problem::new(format!("{what} could not be looked at: {other}")),
        }
    }
}

/// A result as the checks take it.
pub(crate) fn fact<T>(result: Result<T, Failure>) -> Fact<T> {
    match result {
        Ok(value) => Fact::Known(value),
        Err(Failure::Absent) => Fact::Absent,
        Err(Failure::Denied(permission)) => Fact::Denied(permission),
        Err(Failure::TimedOut) => Fact::TimedOut,
        Err(Failure::Unauthorized(text) | Failure::Unreachable(text)) => Fact::Unreachable(text),
        Err(
            error @ (Failure::Rejected { .. } | Failure::Expired { .. } | Failure::Unreadable(_)),
        ) => Fact::Unreachable(error.to_string()),
    }
}

/// Which objects of a kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ListOptions<'a> {
    /// None: of all namespaces.
    pub(crate) namespace: Option<&'a str>,
    /// Label selector.
    pub(crate) labels: Option<&'a str>,
    /// Field selector.
    pub(crate) fields: Option<&'a str>,
    /// Metadata alone.
    pub(crate) metadata: bool,
    /// Objects of a page; kubectl's number if none.
    pub(crate) page: Option<usize>,
}

/// A token to be minted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mint<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) service_account: &'a str,
    pub(crate) audiences: &'a [String],
    /// Seconds; the API server's default if none.
    pub(crate) expiration_seconds: Option<u64>,
    /// Name and UID of the pod that the token is bound to.
    pub(crate) pod: Option<(&'a str, &'a str)>,
}

/// A token that was minted.
#[derive(Debug)]
pub(crate) struct Minted {
    pub(crate) token: SecretString,
}

impl Cluster {
    /// A client for what flags and environment name. Runs the credential plugin where there is one; sends nothing.
    ///
    /// # Errors
    ///
    /// A configuration that cannot be used.
    pub(crate) async fn new(access: Access, flags: &Globals, stop: &Stop) -> Result<Self, Problem> {
        let credentials = Credentials::of(&access, stop).await?;
        let tls = tls::config(&access.cluster, credentials.identity.as_ref())?;
        let config = config(&access);
        let variable = |name: &str| std::env::var(name).ok();
        let proxy = proxy::for_server(&access.server, &access.cluster, variable)?;
        let via = proxy.as_ref().map(|proxy| {
            let uri = proxy.uri();
            let port = uri
                .port()
                .map_or_else(String::new, |port| format!(":{port}"));
            // Less the password that its URL may hold.
            format!(
                "{}://{}{port}",
                uri.scheme_str().unwrap_or("http"),
                uri.host().unwrap_or_default()
            )
        });
        let mut http = HttpConnector::new_with_resolver(Names::default());
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = match proxy {
            None => connect(&config, tls, &credentials, http),
            Some(proxy) => {
                let destination = proxy.uri().clone();
                match destination.scheme_str() {
                    Some("socks5" | "socks5h") => {
                        let mut socks = SocksV5::new(destination, http);
                        if let Some((user, password)) = proxy.raw_auth() {
                            socks = socks.with_auth(user.to_owned(), password.to_owned());
                        }
                        connect(&config, tls, &credentials, socks)
                    }
                    Some("https") => {
                        // The proxy is another server than the cluster's: trusted as any other.
                        let own = tls::config(&kube::config::Cluster::default(), None)?;
                        let https = HttpsConnectorBuilder::new()
                            .with_tls_config(own)
                            .https_or_http()
                            .enable_http1()
                            .wrap_connector(http);
                        let mut tunnel = Tunnel::new(destination, https);
                        if let Some(authorization) = proxy.basic_auth() {
                            tunnel = tunnel.with_auth(authorization.clone());
                        }
                        connect(&config, tls, &credentials, tunnel)
                    }
                    _ => {
                        let mut tunnel = Tunnel::new(destination, http);
                        if let Some(authorization) = proxy.basic_auth() {
                            tunnel = tunnel.with_auth(authorization.clone());
                        }
                        connect(&config, tls, &credentials, tunnel)
                    }
                }
            }
        }?;
        Ok(Self {
            client,
            access,
            via,
            expires: credentials.expires,
            is_anonymous: credentials.authorization.is_none() && credentials.identity.is_none(),
            request_timeout: flags.request_timeout,
            stop: stop.clone(),
            verbose: flags.verbosity >= VERBOSITY_OF_REQUESTS,
            calls: Mutex::default(),
            clock: Mutex::default(),
            permits: Semaphore::new(MAX_REQUESTS),
        })
    }

    /// How the cluster is reached.
    pub(crate) fn access(&self) -> &Access {
        &self.access
    }

    /// The requests so far, in the order in which they ended.
    pub(crate) fn calls(&self) -> Vec<Call> {
        lock(&self.calls).clone()
    }

    /// The API server's clock, by the last answer.
    pub(crate) fn clock(&self) -> Option<ServerClock> {
        *lock(&self.clock)
    }

    /// One object; `namespace` is not looked at where the kind has none.
    ///
    /// # Errors
    ///
    /// Every [`Failure`].
    pub(crate) async fn get(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Value, Failure> {
        let path = resource.object_path(Some(namespace), name);
        let permission = || permission("get", resource, "", Some(namespace));
        let body = self
            .call(Method::GET, &path, JSON, None, permission)
            .await?;
        parse(&body)
    }

    /// The metadata of one object, in an object as it is whole.
    ///
    /// # Errors
    ///
    /// Every [`Failure`].
    pub(crate) async fn get_metadata(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Value, Failure> {
        let path = resource.object_path(Some(namespace), name);
        let permission = || permission("get", resource, "", Some(namespace));
        let body = self
            .call(Method::GET, &path, METADATA, None, permission)
            .await?;
        let mut object: Value = parse(&body)?;
        identify(&mut object, resource);
        Ok(object)
    }

    /// All objects that the options choose, whole and with `apiVersion` and `kind`, which lists leave out.
    ///
    /// # Errors
    ///
    /// Every [`Failure`].
    pub(crate) async fn list(
        &self,
        resource: &Resource,
        options: ListOptions<'_>,
    ) -> Result<Vec<Value>, Failure> {
        let mut objects = Vec::new();
        self.each(resource, options, |mut object: Value| {
            identify(&mut object, resource);
            objects.push(object);
        })
        .await?;
        Ok(objects)
    }

    /// Hands over the objects that the options choose, one by one and as what `T` reads of them; a page of them is in
    /// memory at a time. Gives the number of pages.
    ///
    /// # Errors
    ///
    /// Every [`Failure`]; objects of earlier pages have been handed over.
    pub(crate) async fn each<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        options: ListOptions<'_>,
        mut each: impl FnMut(T),
    ) -> Result<usize, Failure> {
        let mut query = format!("limit={}", options.page.unwrap_or(PAGE_SIZE));
        for (name, selector) in [
            ("labelSelector", options.labels),
            ("fieldSelector", options.fields),
        ] {
            if let Some(selector) = selector {
                query.push_str(&format!("&{name}={}", segment(selector)));
            }
        }
        let base = resource.path(options.namespace);
        let accept = if options.metadata {
            METADATA_LIST
        } else {
            JSON
        };
        let permission = || permission("list", resource, "", options.namespace);
        let mut next: Option<String> = None;
        let mut pages = 0;
        loop {
            let path = match &next {
                Some(token) => format!("{base}?{query}&continue={}", segment(token)),
                None => format!("{base}?{query}"),
            };
            let body = match self
                .call(Method::GET, &path, accept, None, permission)
                .await
            {
                // The snapshot is gone; the API server offers to go on with a newer one.
                Err(Failure::Expired { next: Some(offer) }) if next.as_ref() != Some(&offer) => {
                    next = Some(offer);
                    continue;
                }
                result => result?,
            };
            let page: Page<T> = parse(&body)?;
            pages += 1;
            for item in page.items.unwrap_or_default() {
                each(item);
            }
            next = page.metadata.next.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(pages);
            }
        }
    }

    /// What stands at a path, as it is: `/openid/v1/jwks`, `/metrics`.
    ///
    /// # Errors
    ///
    /// Every [`Failure`].
    pub(crate) async fn raw(&self, path: &str) -> Result<Bytes, Failure> {
        let permission = || format!("get {path}");
        self.call(Method::GET, path, "application/json, */*", None, permission)
            .await
    }

    /// The API server's version: `gitVersion`.
    ///
    /// # Errors
    ///
    /// Every [`Failure`].
    pub(crate) async fn version(&self) -> Result<String, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            git_version: String,
        }
        parse::<Version>(&self.raw("/version").await?).map(|version| version.git_version)
    }

    /// Creates an object, or with `dry_run` asks what creating it would come to.
    ///
    /// # Errors
    ///
    /// Every [`Failure`].
    pub(crate) async fn create(
        &self,
        resource: &Resource,
        namespace: &str,
        object: &Value,
        dry_run: bool,
    ) -> Result<Value, Failure> {
        let mut path = format!(
            "{}?fieldManager={FIELD_MANAGER}",
            resource.path(Some(namespace))
        );
        if dry_run {
            path.push_str("&dryRun=All");
        }
        let permission = || permission("create", resource, "", Some(namespace));
        let body = self
            .call(Method::POST, &path, JSON, Some(object), permission)
            .await?;
        parse(&body)
    }

    /// Creates an object and goes on although the command is to end: who creates something must learn its name to delete it.
    ///
    /// # Errors
    ///
    /// Every [`Failure`].
    pub(crate) async fn create_whole(
        &self,
        resource: &Resource,
        namespace: &str,
        object: &Value,
    ) -> Result<Value, Failure> {
        if self.stop.reason().is_some() {
            return Err(Failure::TimedOut);
        }
        let path = format!(
            "{}?fieldManager={FIELD_MANAGER}",
            resource.path(Some(namespace))
        );
        let permission = || permission("create", resource, "", Some(namespace));
        let body = self
            .send(Method::POST, &path, JSON, Some(object), &permission)
            .await?;
        parse(&body)
    }

    /// Makes an object what the document says, by server-side apply.
    ///
    /// # Errors
    ///
    /// Every [`Failure`].
    pub(crate) async fn apply(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        object: &Value,
    ) -> Result<Value, Failure> {
        let path = format!(
            "{}?fieldManager={FIELD_MANAGER}&force=true",
            resource.object_path(Some(namespace), name)
        );
        let permission = || permission("patch", resource, "", Some(namespace));
        let body = self
            .call(Method::PATCH, &path, JSON, Some(object), permission)
            .await?;
        parse(&body)
    }

    /// Deletes an object at once. Works also after the command was asked to end, since it cleans up; waits a few seconds
    /// at most then.
    ///
    /// # Errors
    ///
    /// Every [`Failure`].
    pub(crate) async fn delete(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<(), Failure> {
        let path = resource.object_path(Some(namespace), name);
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "gracePeriodSeconds": 0,
            "propagationPolicy": "Background",
        });
        let permission = || permission("delete", resource, "", Some(namespace));
        let sent = self.send(Method::DELETE, &path, JSON, Some(&options), &permission);
        match tokio::time::timeout(CLEANUP_TIMEOUT, sent).await {
            Ok(result) => result.map(drop),
            Err(_) => Err(Failure::TimedOut),
        }
    }

    /// Mints a token of a ServiceAccount by the TokenRequest API.
    ///
    /// # Errors
    ///
    /// Every [`Failure`].
    pub(crate) async fn mint(&self, mint: Mint<'_>) -> Result<Minted, Failure> {
        #[derive(Deserialize)]
        struct TokenRequest {
            status: Status,
        }
        #[derive(Deserialize)]
        struct Status {
            token: SecretString,
        }
        let mut spec = json!({ "audiences": mint.audiences });
        if let Some(seconds) = mint.expiration_seconds {
            spec["expirationSeconds"] = seconds.into();
        }
        if let Some((name, uid)) = mint.pod {
            spec["boundObjectRef"] =
                json!({ "apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid });
        }
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": spec,
        });
        let path = format!(
            "{}/token",
            resource::SERVICE_ACCOUNT.object_path(Some(mint.namespace), mint.service_account)
        );
        let permission = || {
            permission(
                "create",
                resource::SERVICE_ACCOUNT,
                "/token",
                Some(mint.namespace),
            )
        };
        let body = self
            .call(Method::POST, &path, JSON, Some(&request), permission)
            .await?;
        let answer: TokenRequest = parse(&body)?;
        Ok(Minted {
            token: answer.status.token,
        })
    }

    /// One call, ended when the command is to end, and again where the API server says that it is busy.
    async fn call(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<&Value>,
        permission: impl Fn() -> String,
    ) -> Result<Bytes, Failure> {
        let mut tries = 1;
        loop {
            let result = tokio::select! {
                biased;
                _ = self.stop.wait() => return Err(Failure::TimedOut),
                result = self.send(method.clone(), path, accept, body, &permission) => result,
            };
            match result {
                Err(Failure::Rejected { status: 429, .. }) if tries < MAX_TRIES => {
                    tries += 1;
                    tokio::select! {
                        _ = self.stop.wait() => return Err(Failure::TimedOut),
                        () = tokio::time::sleep(BUSY_PAUSE) => {}
                    }
                }
                result => return result,
            }
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<&Value>,
        permission: &(impl Fn() -> String + ?Sized),
    ) -> Result<Bytes, Failure> {
        let _permit = self.permits.acquire().await;
        let begin = Instant::now();
        let answered = match self.request_timeout.0 {
            Some(limit) => {
                tokio::time::timeout(limit, self.exchange(&method, path, accept, body)).await
            }
            None => Ok(self.exchange(&method, path, accept, body).await),
        };
        let call = Call {
            method,
            path: path.to_owned(),
            status: match &answered {
                Ok(Ok((status, _))) => Some(status.as_u16()),
                _ => None,
            },
            took: begin.elapsed(),
            bytes: match &answered {
                Ok(Ok((_, body))) => body.len(),
                _ => 0,
            },
        };
        if self.verbose {
            terminal::log(&call.line(&self.access.server_text()));
        }
        lock(&self.calls).push(call);
        let (status, body) = answered.map_err(|_| Failure::TimedOut)??;
        if status.is_success() {
            return Ok(body);
        }
        let answer = StatusMessage::of(&body);
        Err(match status {
            StatusCode::NOT_FOUND => Failure::Absent,
            StatusCode::UNAUTHORIZED => Failure::Unauthorized(self.unauthorized()),
            // Admission says 403 as well, but then it is not a matter of permission.
            StatusCode::FORBIDDEN if answer.is_about_permission() => {
                Failure::Denied(answer.impersonation().unwrap_or_else(permission))
            }
            StatusCode::GONE => Failure::Expired {
                next: answer.metadata.next,
            },
            _ => Failure::Rejected {
                status: status.as_u16(),
                reason: answer.reason,
                message: answer.message,
            },
        })
    }

    async fn exchange(
        &self,
        method: &Method,
        path: &str,
        accept: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::ACCEPT, accept)
            .header(header::USER_AGENT, USER_AGENT);
        if body.is_some() {
            let kind = match *method {
                // JSON is YAML.
                Method::PATCH => "application/apply-patch+yaml",
                _ => JSON,
            };
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let body = body.map_or_else(Body::empty, |body| {
            Body::from(body.to_string().into_bytes())
        });
        let request = request
            .body(body)
            .map_err(|error| Failure::Unreadable(error.to_string()))?;
        let unreachable = |error: &(dyn std::error::Error + 'static)| {
            let text = tls::unreachable(error, &self.access, self.expired().as_deref());
            Failure::Unreachable(match &self.via {
                Some(proxy) => format!("{text} (through the proxy {proxy})"),
                None => text,
            })
        };
        let response = self
            .client
            .send(request)
            .await
            .map_err(|error| unreachable(&error))?;
        self.read_clock(&response);
        let status = response.status();
        let mut body = response.into_body();
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| unreachable(&error))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if whole.len() + data.len() > MAX_BODY_BYTES {
                return Err(Failure::Unreadable(format!(
                    "it exceeds {MAX_BODY_BYTES} bytes"
                )));
            }
            whole.extend_from_slice(&data);
        }
        Ok((status, whole.freeze()))
    }

    fn read_clock(&self, response: &Response<Body>) {
        let local = Timestamp::now();
        let server = response
            .headers()
            .get(header::DATE)
            .and_then(|date| date.to_str().ok())
            .and_then(|date| httpdate::parse_http_date(date).ok())
            .and_then(|date| Timestamp::try_from(date).ok());
        if let Some(server) = server {
            *lock(&self.clock) = Some(ServerClock { server, local });
        }
    }

    /// Which credentials have expired, if they have.
    fn expired(&self) -> Option<String> {
        let (end, what) = self.expires?;
        (end <= Timestamp::now()).then(|| format!("{what} expired at {end}"))
    }

    /// Why the API server may not know who asks.
    fn unauthorized(&self) -> String {
        let who = match &self.access.user_name {
            Some(name) => format!("the credentials of user `{name}`"),
            None => "the credentials".to_owned(),
        };
        let at = self.access.server_text();
        let text = format!("the API server at {at} does not accept {who} (401 Unauthorized)");
        match self.expired() {
            Some(expired) => format!("{text}: {expired}"),
            None if self.access.server.scheme_str() == Some("http") => {
                format!("{text}: none are sent over plain HTTP")
            }
            None if self.is_anonymous => {
                format!("{text}: there are none in {}", self.access.source)
            }
            _ => text,
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("server", &self.access.server)
            .finish_non_exhaustive()
    }
}

impl Call {
    /// As a line of log: `GET https://…/api/v1/pods 200 in 12 ms, 345 bytes`.
    fn line(&self, server: &str) -> String {
        let ms = self.took.as_millis();
        let end = match self.status {
            Some(status) => format!("{status} in {ms} ms, {} bytes", self.bytes),
            None => format!("no answer after {ms} ms"),
        };
        format!("{} {server}{} {end}", self.method, self.path)
    }
}

/// Who asks.
struct Credentials {
    authorization: Option<HeaderValue>,
    identity: Option<Identity>,
    expires: Option<(Timestamp, &'static str)>,
}

impl Credentials {
    /// What the kubeconfig's user has. Where it has several, client-go's order decides: a token from a file, a token, a
    /// name with a password; a credential plugin where there is none of them and no certificate.
    async fn of(access: &Access, stop: &Stop) -> Result<Self, Problem> {
        // As client-go: nobody's secret goes over the wire in plain text.
        if access.server.scheme_str() == Some("http") {
            return Ok(Self {
                authorization: None,
                identity: None,
                expires: None,
            });
        }
        let user = &access.user;
        let name = access.user_name.as_deref().unwrap_or_default();
        let mut identity = Identity::of(user)?;
        let mut expires = identity
            .as_ref()
            .and_then(Identity::expires)
            .map(|end| (end, "the client certificate"));
        let secret = |secret: &Option<SecretString>| {
            secret
                .clone()
                .filter(|secret| !secret.expose_secret().is_empty())
        };
        let mut token = secret(&user.token);
        if let Some(path) = user.token_file.as_deref().filter(|path| !path.is_empty()) {
            match std::fs::read_to_string(path) {
                Ok(text) if !text.trim().is_empty() => token = Some(text.into()),
                _ if token.is_some() => {}
                Ok(_) => {
                    return Err(Problem::new(format!(
                        "`tokenFile` names `{path}`, which is empty"
                    )));
                }
                Err(error) => {
                    return Err(Problem::new(format!(
                        "`tokenFile` names `{path}`, which could not be read: {}",
                        described(&error)
                    )));
                }
            }
        }
        if token.is_none()
            && let Some(provider) = &user.auth_provider
        {
            // The only one that client-go still has. It is not renewed here: that would write into the kubeconfig.
            token = Some(provider)
                .filter(|provider| provider.name == "oidc")
                .and_then(|provider| provider.config.get("id-token"))
                .map(|token| token.clone().into());
            if token.is_none() {
                return Err(Problem::new(format!(
                    "the `auth-provider` `{}` of user `{name}` is not known, expected `exec`, a token or a certificate",
                    provider.name
                )));
            }
        }
        if let Some(token) = &token
            && let Some(end) = token_end(token.expose_secret())
        {
            expires = Some((end, "the token"));
        }
        let password = secret(&user.password);
        let mut authorization = match (&token, &user.username, &password) {
            (Some(token), ..) => Some(bearer(token)?),
            (None, Some(user), Some(password)) if !user.is_empty() => Some(basic(user, password)?),
            _ => None,
        };
        if authorization.is_none()
            && identity.is_none()
            && let Some(exec) = &user.exec
        {
            let server = access.server.to_string();
            let server = server.trim_end_matches('/');
            let given = exec::credentials(exec, &access.cluster, server, name, stop).await?;
            authorization = given.token.as_ref().map(bearer).transpose()?;
            identity = given.identity.map(|(certificate, key)| Identity {
                certificate: certificate.into_bytes(),
                key,
            });
            expires = given
                .expires
                .map(|end| (end, "what the credential plugin gave"));
        }
        Ok(Self {
            authorization,
            identity,
            expires,
        })
    }
}

fn bearer(token: &SecretString) -> Result<HeaderValue, Problem> {
    authorization(&format!("Bearer {}", token.expose_secret().trim()))
        .ok_or_else(|| Problem::new("the token of the kubeconfig's user is not on one line"))
}

fn basic(user: &str, password: &SecretString) -> Result<HeaderValue, Problem> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let pair = STANDARD.encode(format!("{user}:{}", password.expose_secret()));
    authorization(&format!("Basic {pair}"))
        .ok_or_else(|| Problem::new("user name and password cannot be sent"))
}

fn authorization(text: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// When a token ends, if it is a JWT that says so.
fn token_end(token: &str) -> Option<Timestamp> {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let payload = token.trim().split('.').nth(1)?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    Timestamp::from_second(claims["exp"].as_i64()?).ok()
}

/// The part of the configuration that kube's layers read: where to, and as whom besides.
fn config(access: &Access) -> Config {
    let mut config = Config::new(access.server.clone());
    config.default_namespace.clone_from(&access.namespace);
    config
        .auth_info
        .impersonate
        .clone_from(&access.user.impersonate);
    config
        .auth_info
        .impersonate_uid
        .clone_from(&access.user.impersonate_uid);
    config
        .auth_info
        .impersonate_groups
        .clone_from(&access.user.impersonate_groups);
    config
        .auth_info
        .impersonate_user_extra
        .clone_from(&access.user.impersonate_user_extra);
    config.tls_server_name = access
        .cluster
        .tls_server_name
        .clone()
        .filter(|name| !name.is_empty());
    config
}

/// A client over a connector that reaches the server, or a proxy on the way to it.
fn connect<C>(
    config: &Config,
    tls: ClientConfig,
    credentials: &Credentials,
    connector: C,
) -> Result<Client, Problem>
where
    C: tower::Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Connection + hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
{
    let tls = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http();
    let connector = match &config.tls_server_name {
        Some(name) => {
            let name = ServerName::try_from(name.clone()).map_err(|_| {
                Problem::new(format!(
                    "`tls-server-name` `{name}` is no DNS name and no address"
                ))
            })?;
            tls.with_server_name_resolver(FixedServerNameResolver::new(name))
        }
        None => tls,
    }
    .enable_http1()
    .wrap_connector(connector);
    let http: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .build(connector);
    let headers = config
        .extra_headers_layer()
        .map_err(|_| Problem::new("who is to be impersonated cannot be sent in a header"))?;
    let authorization = credentials.authorization.clone();
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(headers)
        .map_request(move |mut request: Request<Body>| {
            if let Some(authorization) = &authorization {
                request
                    .headers_mut()
                    .insert(header::AUTHORIZATION, authorization.clone());
            }
            request
        })
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace.clone()))
}

/// What a list answers.
#[derive(Deserialize)]
struct Page<T> {
    #[serde(default)]
    metadata: PageMetadata,
    // Required by a derive that does not see through `Option`.
    #[serde(bound(deserialize = "T: Deserialize<'de>"))]
    items: Option<Vec<T>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PageMetadata {
    #[serde(rename = "continue")]
    next: Option<String>,
}

/// The API server's `Status`, where it says no.
#[derive(Default, Deserialize)]
#[serde(default)]
struct StatusMessage {
    message: String,
    reason: String,
    metadata: PageMetadata,
}

impl StatusMessage {
    fn of(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_else(|_| {
            let text = String::from_utf8_lossy(body);
            Self {
                message: cwii_contract::types::shorten_to(text.trim(), 240),
                ..Self::default()
            }
        })
    }

    /// The permission to act as somebody, where that is what is missing: `impersonate users`. The API server says
    /// `cannot impersonate resource "users"`, or with constrained impersonation (KEP-5284)
    /// `cannot impersonate-on:user-info:list resource "pods"`.
    fn impersonation(&self) -> Option<String> {
        let (_, rest) = self.message.split_once(" cannot impersonate")?;
        let resource = rest
            .strip_prefix(" resource \"")
            .and_then(|rest| rest.split_once('"'))
            .map_or("users", |(resource, _)| resource);
        let is_name = |c: char| c.is_ascii_lowercase() || c == '/';
        let named = resource.chars().all(is_name);
        named.then(|| format!("impersonate {resource}"))
    }

    /// The authorizer says `User "x" cannot get resource …`; admission plugins and webhooks have words of their own.
    fn is_about_permission(&self) -> bool {
        self.reason.is_empty() || self.message.contains(" cannot ")
    }
}

/// The permission as people say it: `get pods in namespace shop`.
fn permission(
    verb: &str,
    resource: &Resource,
    subresource: &str,
    namespace: Option<&str>,
) -> String {
    let what = format!("{verb} {}{subresource}", resource.qualified());
    match namespace {
        _ if !resource.namespaced => what,
        Some(namespace) => format!("{what} in namespace {namespace}"),
        None => format!("{what} in all namespaces"),
    }
}

/// Lists leave out what their items are, and metadata says that it is metadata.
pub(crate) fn identify(object: &mut Value, resource: &Resource) {
    if let Some(object) = object.as_object_mut() {
        object.insert("apiVersion".into(), resource.api_version().into());
        object.insert("kind".into(), resource.kind.into());
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    // serde's words would repeat what was sent; its place is enough.
    serde_json::from_slice(body).map_err(|error| {
        Failure::Unreadable(format!(
            "it is not what the API documents, at line {}, column {}",
            error.line(),
            error.column()
        ))
    })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const JSON: &str = "application/json";
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
const USER_AGENT: &str = concat!("kubectl-cwii/", env!("CARGO_PKG_VERSION"));
const FIELD_MANAGER: &str = "kubectl-cwii";
/// As kubectl.
const PAGE_SIZE: usize = 500;
const MAX_REQUESTS: usize = 16;
const MAX_BODY_BYTES: usize = 256 * 1024 * 1024;
const MAX_TRIES: u32 = 4;
const BUSY_PAUSE: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(5);
/// As kubectl's `-v 6`.
const VERBOSITY_OF_REQUESTS: u8 = 6;
