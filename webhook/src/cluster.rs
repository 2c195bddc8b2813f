//! The calls to the Kubernetes API: lists and watches of metadata, single reads, applying a ConfigMap, and the two
//! objects of a shared certificate.
//!
//! kube gives configuration, credentials and their renewal. Bodies are read here: an object is reduced to what is kept
//! while its bytes are parsed, so a list of fifty thousand ServiceAccounts is never there as fifty thousand objects.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use kube::{
    Client, Config,
    client::{Body, ConfigExt as _},
};
use rustls_pki_types::ServerName;
use serde::Deserialize;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout_at},
};
use tower::{BoxError, ServiceBuilder};

use crate::{
    credentials::{self, CredentialsError, Token},
    dns::Resolver,
    kind::{Kind, segment},
    object::{Keep, Object, Page, RawObject},
};

/// The Kubernetes API as the webhook uses it.
pub struct Cluster {
    client: Client,
    native_annotations: bool,
    /// A burst of pods whose objects were not seen yet must not become as many connections.
    reads: Semaphore,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// The API server answered, and not with what was asked for.
    #[error("the API server answered {}: {message}", .status.as_u16())]
    Status {
        /// HTTP status.
        status: StatusCode,
        /// The message of its `Status`, or the beginning of what it sent instead.
        message: String,
    },
    /// It could not be reached, or the connection broke.
    #[error("the API server could not be reached: {0}")]
    Unreachable(String),
    /// It did not answer in time.
    #[error("no answer of the API server within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// What it sent is not what the API documents.
    #[error("the answer of the API server could not be read: {0}")]
    Unreadable(String),
}

impl ClusterError {
    /// The API server's answer, where it gave one.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the same call may succeed a moment later.
    fn is_transient(&self) -> bool {
        match self {
            Self::Status { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::Unreachable(_) | Self::Timeout(_) => true,
            Self::Unreadable(_) => false,
        }
    }
}

impl Cluster {
    /// A client for the cluster that `config` names. `native_annotations`: keep those of the clouds' own webhooks too.
    ///
    /// # Errors
    ///
    /// Credentials or certificates of the configuration that cannot be used.
    pub fn new(config: &Config, native_annotations: bool) -> Result<Self, CredentialsError> {
        let mut http = HttpConnector::new_with_resolver(Resolver::default());
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        // A peer that is gone without a word is noticed also where nothing is sent, as on a watch.
        http.set_keepalive(Some(TCP_KEEPALIVE));
        http.set_keepalive_interval(Some(TCP_KEEPALIVE_INTERVAL));
        http.set_keepalive_retries(Some(3));
        let tls = HttpsConnectorBuilder::new()
            .with_tls_config(credentials::tls(config)?)
            .https_or_http();
        let connector = match &config.tls_server_name {
            Some(name) => {
                let name = ServerName::try_from(name.clone())
                    .map_err(|error| CredentialsError::Certificates(error.to_string()))?;
                tls.with_server_name_resolver(FixedServerNameResolver::new(name))
            }
            None => tls,
        }
        .enable_http1()
        .wrap_connector(http);
        let token = Arc::new(Token::of(config)?);
        let http: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .build(connector);
        let headers = config
            .extra_headers_layer()
            .map_err(|error| CredentialsError::Certificates(error.to_string()))?;
        let service = ServiceBuilder::new()
            .layer(config.base_uri_layer())
            .layer(headers)
            .map_request(move |mut request: Request<Body>| {
                if let Some(token) = token.header() {
                    request.headers_mut().insert(header::AUTHORIZATION, token);
                }
                request
            })
            .map_err(BoxError::from)
            .service(http);
        Ok(Self {
            native_annotations,
            client: Client::new(service, config.default_namespace.clone()),
            reads: Semaphore::new(MAX_READS),
        })
    }

    /// One object's metadata; none where there is no such object. What is transient is tried again until the deadline.
    ///
    /// # Errors
    ///
    /// The last failure before the deadline, or the first that would not go away.
    pub async fn read(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        deadline: Instant,
    ) -> Result<Option<Object>, ClusterError> {
        let path = kind.object_path(namespace, name);
        let call = || async {
            let _permit = self.reads.acquire().await;
            let request = get(&path, METADATA)?;
            match self.whole(request, MAX_OBJECT_BYTES).await {
                Ok(body) => serde_json::from_slice::<RawObject<'_>>(&body)
                    .map(|raw| {
                        Some(raw.metadata.object(Keep {
                            identity: true,
                            owner: true,
                            native: self.native_annotations,
                        }))
                    })
                    .map_err(unreadable),
                Err(ClusterError::Status { status, .. }) if status == StatusCode::NOT_FOUND => {
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        };
        until(deadline, call).await
    }

    /// Creates a ConfigMap, or makes it what it should be: server-side apply, as its only owner.
    ///
    /// # Errors
    ///
    /// The last failure before the deadline, or the first that would not go away.
    pub async fn apply_config_map(
        &self,
        namespace: &str,
        name: &str,
        document: &serde_json::Value,
        deadline: Instant,
    ) -> Result<(), ClusterError> {
        let path = format!(
            "/api/v1/namespaces/{}/configmaps/{}?fieldManager={FIELD_MANAGER}&force=true",
            segment(namespace),
            segment(name)
        );
        // JSON is YAML.
        let body = Bytes::from(document.to_string());
        let call = || async {
            let request = Request::builder()
                .method(Method::PATCH)
                .uri(&path)
                .header(header::CONTENT_TYPE, "application/apply-patch+yaml")
                .header(header::ACCEPT, METADATA)
                .body(Body::from(body.clone()))
                .map_err(unreadable)?;
            self.whole(request, MAX_OBJECT_BYTES).await.map(drop)
        };
        until(deadline, call).await
    }

    /// A whole object, and the API server's clock, seconds after 1970. None where there is no such object. What is
    /// transient is tried again until the deadline.
    ///
    /// # Errors
    ///
    /// The last failure before the deadline, or the first that would not go away.
    pub(crate) async fn get(
        &self,
        path: &str,
        deadline: Instant,
    ) -> Result<Option<(Bytes, i64)>, ClusterError> {
        let call = || async {
            match self.send(get(path, JSON)?).await {
                Ok(response) => {
                    let now = date(&response);
                    let body = collect(response.into_body(), MAX_OBJECT_BYTES).await?;
                    Ok(Some((body, now)))
                }
                Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => Ok(None),
                Err(error) => Err(error),
            }
        };
        until(deadline, call).await
    }

    /// Patches an object, once: a patch that names the version that it is for may have been made although no answer
    /// came, and then a second attempt would be told of a conflict with the first.
    ///
    /// # Errors
    ///
    /// Every failure; status 409 where the object has changed.
    pub(crate) async fn patch(
        &self,
        path: &str,
        content_type: &'static str,
        body: Bytes,
        deadline: Instant,
    ) -> Result<(), ClusterError> {
        let request = Request::builder()
            .method(Method::PATCH)
            .uri(path)
            .header(header::CONTENT_TYPE, content_type)
            .header(header::ACCEPT, METADATA)
            .body(Body::from(body))
            .map_err(unreadable)?;
        let begin = Instant::now();
        timeout_at(deadline, self.whole(request, MAX_OBJECT_BYTES))
            .await
            .map_err(|_| ClusterError::Timeout(begin.elapsed()))?
            .map(drop)
    }

    /// One page of all objects of a kind, handed over one by one.
    ///
    /// # Errors
    ///
    /// Every failure; status 410 where the continuation has expired.
    pub(crate) async fn page(
        &self,
        kind: Kind,
        next: &str,
        mut each: impl FnMut(Object),
    ) -> Result<PageEnd, ClusterError> {
        let mut path = format!("{}?limit={PAGE_SIZE}", kind.list_path());
        if !next.is_empty() {
            path.push_str("&continue=");
            path.push_str(&segment(next));
        }
        let deadline = Instant::now() + PAGE_TIMEOUT;
        let body = timeout_at(
            deadline,
            self.whole(get(&path, METADATA_LIST)?, MAX_PAGE_BYTES),
        )
        .await
        .map_err(|_| ClusterError::Timeout(PAGE_TIMEOUT))??;
        let page: Page<'_> = serde_json::from_slice(&body).map_err(unreadable)?;
        for item in page.items.unwrap_or_default() {
            each(item.metadata.object(self.keep(kind)));
        }
        Ok(PageEnd {
            resource_version: page.metadata.resource_version,
            next: page.metadata.next,
        })
    }

    /// Begins to watch all objects of a kind after a resource version.
    ///
    /// # Errors
    ///
    /// Every failure; status 410 where the version is too old.
    pub(crate) async fn watch(
        &self,
        kind: Kind,
        resource_version: &str,
        lasting: Duration,
    ) -> Result<Lines, ClusterError> {
        let path = format!(
            "{}?watch=true&allowWatchBookmarks=true&resourceVersion={}&timeoutSeconds={}",
            kind.list_path(),
            segment(resource_version),
            lasting.as_secs()
        );
        let sent = timeout_at(
            Instant::now() + PAGE_TIMEOUT,
            self.send(get(&path, METADATA)?),
        );
        let response = sent
            .await
            .map_err(|_| ClusterError::Timeout(PAGE_TIMEOUT))??;
        Ok(Lines {
            body: response.into_body(),
            buffer: BytesMut::new(),
            searched: 0,
        })
    }

    /// What the watch of a kind keeps of its objects.
    pub(crate) fn keep(&self, kind: Kind) -> Keep {
        Keep {
            identity: kind.is_owner(),
            owner: kind.has_owner(),
            native: self.native_annotations,
        }
    }

    async fn whole(&self, request: Request<Body>, limit: usize) -> Result<Bytes, ClusterError> {
        collect(self.send(request).await?.into_body(), limit).await
    }

    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, ClusterError> {
        let response = self.client.send(request).await.map_err(unreachable)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = collect(response.into_body(), MAX_OBJECT_BYTES).await;
        Err(ClusterError::Status {
            status,
            message: status_message(&body.unwrap_or_default()),
        })
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

/// Where a page ended.
pub(crate) struct PageEnd {
    pub(crate) resource_version: String,
    /// Token of the next page; empty after the last.
    pub(crate) next: String,
}

/// The lines of a watch.
pub(crate) struct Lines {
    body: Body,
    buffer: BytesMut,
    /// How much of the buffer holds no line end.
    searched: usize,
}

impl Lines {
    /// The next line; none where the stream has ended. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ClusterError> {
        loop {
            if let Some(end) = self.buffer[self.searched..]
                .iter()
                .position(|b| *b == b'\n')
            {
                let mut line = self.buffer.split_to(self.searched + end + 1);
                line.truncate(line.len() - 1);
                self.searched = 0;
                if line.is_empty() {
                    continue;
                }
                return Ok(Some(line.freeze()));
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > MAX_PAGE_BYTES {
                return Err(ClusterError::Unreadable(format!(
                    "a line of the watch exceeds {MAX_PAGE_BYTES} bytes"
                )));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(unreachable(error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

/// Calls until the call succeeds, fails for good, or the deadline has come. One attempt gets half of the time that is
/// left at most: a connection that died unnoticed must not cost all of it.
async fn until<T, F>(deadline: Instant, mut call: impl FnMut() -> F) -> Result<T, ClusterError>
where
    F: Future<Output = Result<T, ClusterError>>,
{
    let begin = Instant::now();
    let mut pause = FIRST_PAUSE;
    let mut last = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let attempt = Instant::now() + (left / 2).max(LEAST_ATTEMPT).min(left);
        let result = timeout_at(attempt, call())
            .await
            .unwrap_or_else(|_| Err(ClusterError::Timeout(begin.elapsed())));
        match result {
            Err(error) if error.is_transient() => {
                if Instant::now() + pause >= deadline {
                    // "No answer in time" hides why an earlier attempt failed.
                    return Err(match (error, last) {
                        (ClusterError::Timeout(_), Some(earlier)) => earlier,
                        (error, _) => error,
                    });
                }
                last = Some(error);
                sleep(pause).await;
                pause *= 2;
            }
            result => return result,
        }
    }
}

async fn collect(mut body: Body, limit: usize) -> Result<Bytes, ClusterError> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(unreachable)?.into_data() else {
            continue;
        };
        if whole.len() + data.len() > limit {
            return Err(ClusterError::Unreadable(format!(
                "it exceeds {limit} bytes"
            )));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

fn get(path: &str, accept: &str) -> Result<Request<Body>, ClusterError> {
    Request::get(path)
        .header(header::ACCEPT, accept)
        .body(Body::empty())
        .map_err(unreadable)
}

/// When an answer was given, by the clock of who gave it; by ours where it does not say.
fn date<T>(response: &Response<T>) -> i64 {
    let told = response
        .headers()
        .get(header::DATE)
        .and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    told.unwrap_or_else(SystemTime::now)
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or_default()
}

/// The message of a `Status`, or the beginning of whatever else was sent.
fn status_message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Status {
        message: String,
    }
    let text = serde_json::from_slice::<Status>(body).map_or_else(
        |_| String::from_utf8_lossy(body).into_owned(),
        |s| s.message,
    );
    cwii_contract::types::shorten_to(text.trim(), 240)
}

fn unreadable(error: impl fmt::Display) -> ClusterError {
    ClusterError::Unreadable(error.to_string())
}

/// The innermost cause is what tells something: the outer ones say "client error (Connect)".
fn unreachable(error: impl Into<BoxError>) -> ClusterError {
    let error = error.into();
    let mut cause: &dyn std::error::Error = &*error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    ClusterError::Unreachable(cwii_contract::types::shorten_to(&cause.to_string(), 240))
}

const JSON: &str = "application/json";
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
/// Who owns the fields that the webhook applies.
pub(crate) const FIELD_MANAGER: &str = "cwii-webhook";
/// Half of what client-go asks for: a page is the largest thing that is in memory whole.
const PAGE_SIZE: usize = 250;
const PAGE_TIMEOUT: Duration = Duration::from_secs(60);
/// Five hundred objects of the largest size that etcd stores would be more, but not metadata.
const MAX_PAGE_BYTES: usize = 64 * 1024 * 1024;
const MAX_OBJECT_BYTES: usize = 4 * 1024 * 1024;
const MAX_READS: usize = 64;
const MAX_IDLE_CONNECTIONS: usize = 16;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);
const TCP_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LEAST_ATTEMPT: Duration = Duration::from_millis(100);
