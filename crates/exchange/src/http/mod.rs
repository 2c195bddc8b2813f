//! The one HTTP stack of all clouds: reqwest over rustls with ring, our own roots, names and proxies.
//!
//! HTTP/1.1 only, no redirects, no cookies, bounded answers, one kept connection per host. A redirect is reported, not
//! followed: the credential endpoints of the clouds never redirect, and a token that follows one is a stolen token.
//!
//! The connector layer in [`connect`] counts connections, bounds the time to connect, and lets a caller open the
//! connection to a host before there is anything to send, so that Google's second host costs no extra round trips.

mod ca;
mod connect;
mod dns;
mod problem;
mod proxy;

use std::{
    borrow::Cow,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use cwii_checks::facts::{
    Cause, Input, Note, ServerClock, TransportProblem, TransportProblemKind, Wire,
};
use http::{HeaderMap, header};
use jiff::Timestamp;
use tokio::time::Instant;
use url::Url;

use crate::{Clock, run::Run};

pub use ca::trusted_roots;
pub use dns::{ResolveError, Resolver};

pub(crate) use ca::{OwnVariable, Roots};
pub(crate) use connect::Ahead;
pub(crate) use problem::Trouble;
pub(crate) use proxy::Proxies;

/// Largest answer of a credential endpoint or discovery document that is read, in bytes.
pub(crate) const DOCUMENT_LIMIT: usize = 256 * 1024;
/// Largest key set that is read, in bytes.
pub(crate) const KEYS_LIMIT: usize = 1024 * 1024;
/// How long one try may take, from the first byte out to the last byte in.
pub(crate) const TRY_TIMEOUT: Duration = Duration::from_secs(10);

/// A client for requests that share roots and proxies. Cheap to clone; clones share connections.
#[derive(Clone)]
pub(crate) struct Http {
    client: reqwest::Client,
    proxies: Option<Arc<Proxies>>,
    traffic: Arc<Traffic>,
    clock: Clock,
}

/// An answer, whole. No `Debug`: it may hold credentials.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as text, for an error's message.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}

/// How a client reaches its hosts.
pub(crate) struct Reach {
    /// Trusted certificates; none for plain HTTP on this machine or link.
    pub(crate) roots: Option<Roots>,
    /// Proxies to use; none for credential endpoints on this machine or link, which no proxy may see.
    pub(crate) proxies: Option<Arc<Proxies>>,
    /// Names whose addresses are settled already.
    pub(crate) pinned: Vec<(String, Vec<SocketAddr>)>,
}

impl Http {
    /// Builds a client. The roots' input and notes go into the record.
    pub(crate) fn new(run: &mut Run<'_>, reach: Reach) -> Result<Self, Cause> {
        if let Some(roots) = &reach.roots {
            let Input {
                name,
                value,
                source,
            } = &roots.input;
            run.input(name, value, source);
            for Note { code, text } in &roots.notes {
                run.note(*code, text);
            }
        }
        Self::detached(run.traffic(), run.clock(), reach)
    }

    /// Builds a client outside an exchange's record.
    pub(crate) fn detached(
        traffic: Arc<Traffic>,
        clock: Clock,
        reach: Reach,
    ) -> Result<Self, Cause> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(ca::client_config(reach.roots.map(|r| r.store))?)
            .dns_resolver(Resolver::system(traffic.clone()))
            .connector_layer(connect::ConnectLayer::new(traffic.clone()))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_only()
            .tcp_nodelay(true)
            .user_agent(concat!("cwii/", env!("CARGO_PKG_VERSION")));
        for (name, addresses) in &reach.pinned {
            builder = builder.resolve_to_addrs(name, addresses);
        }
        if let Some(proxies) = reach.proxies.clone() {
            builder = builder.proxy(reqwest::Proxy::custom(move |url| {
                proxies.for_url(url).map(|proxy| proxy.url.clone())
            }));
        }
        let client = builder
            .build()
            .map_err(|e| Cause::Internal(format!("the HTTP client cannot be built: {e}")))?;
        Ok(Self {
            client,
            proxies: reach.proxies,
            traffic,
            clock,
        })
    }

    /// Records the proxy that requests for `url` go through, or that a variable keeps them from.
    pub(crate) fn record_route(&self, run: &mut Run<'_>, url: &Url) {
        let Some(proxies) = &self.proxies else {
            return;
        };
        if let Some(proxy) = proxies.for_url(url) {
            run.input("proxy", proxy.shown(), proxy.source);
        } else if let Some(source) = proxies.bypassed_by(url) {
            run.input("proxy", "none", source);
        }
    }

    /// Sends a request and reads the whole answer, of at most `limit` bytes, whatever its status; a redirect is an error.
    pub(crate) async fn send(
        &self,
        request: http::Request<Bytes>,
        limit: usize,
    ) -> Result<Reply, Trouble> {
        self.send_within(request, limit, TRY_TIMEOUT).await
    }

    /// The same with a time limit of its own for this one try.
    pub(crate) async fn send_within(
        &self,
        request: http::Request<Bytes>,
        limit: usize,
        patience: Duration,
    ) -> Result<Reply, Trouble> {
        let request = reqwest::Request::try_from(request)
            .map_err(|e| Trouble::other("", format!("the request cannot be built: {e}")))?;
        let target = self.target(request.url());
        let _waiting = self.traffic.wait_for(&target);
        let began = Instant::now();
        tracing::debug!(host = %target.host, path = request.url().path(), method = %request.method(), "sending");
        let result =
            match tokio::time::timeout(patience, self.exchange(request, &target, limit)).await {
                Ok(result) => result,
                Err(_) => Err(Trouble {
                    problem: self.traffic.stuck_at(&target),
                    transient: true,
                }),
            };
        match &result {
            Ok(reply) => tracing::debug!(
                host = %target.host,
                status = reply.status,
                bytes = reply.body.len(),
                elapsed = ?began.elapsed(),
                "answered"
            ),
            Err(trouble) => tracing::debug!(
                host = %target.host,
                kind = ?trouble.problem.kind,
                elapsed = ?began.elapsed(),
                "no answer"
            ),
        }
        result
    }

    /// Opens a connection to the host of `url` without sending a request. It always succeeds: where connecting fails,
    /// [`Http::send_on`] connects again and reports why it cannot.
    async fn connect_ahead(&self, url: &Url) -> Ahead {
        let ahead = Ahead::default();
        let request = reqwest::Request::new(http::Method::GET, url.clone());
        // The connector keeps the connection and fails, so the request is never written.
        let _ = ahead.park(self.client.execute(request)).await;
        ahead
    }

    /// Does `first` and opens a connection to the host of `url` meanwhile, for a request that is certain to follow.
    pub(crate) async fn meanwhile<T, E>(
        &self,
        url: &Url,
        first: impl Future<Output = Result<T, E>>,
    ) -> Result<(T, Ahead), E> {
        let mut first = pin!(first);
        let mut connecting = pin!(self.connect_ahead(url));
        let mut ahead = None;
        let done = loop {
            // `first` is polled first: where it fails at once, as over a file that cannot be read, nothing is opened.
            tokio::select! {
                biased;
                result = &mut first => break result?,
                opened = &mut connecting, if ahead.is_none() => ahead = Some(opened),
            }
        };
        let ahead = match ahead {
            Some(ahead) => ahead,
            None => connecting.await,
        };
        Ok((done, ahead))
    }

    /// Sends a request over a connection that was opened ahead, or over a new one.
    pub(crate) async fn send_on(
        &self,
        ahead: &Ahead,
        request: http::Request<Bytes>,
        limit: usize,
    ) -> Result<Reply, Trouble> {
        ahead.take(self.send(request, limit)).await
    }

    async fn exchange(
        &self,
        request: reqwest::Request,
        target: &Target,
        limit: usize,
    ) -> Result<Reply, Trouble> {
        self.traffic.requests.fetch_add(1, Ordering::Relaxed);
        let failed = |error: reqwest::Error| problem::classify(&error, target);
        let mut response = self.client.execute(request).await.map_err(failed)?;
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        self.traffic.saw_date(&headers, (self.clock)());
        if status == 407 {
            return Err(target.trouble(
                TransportProblemKind::Proxy,
                "the proxy wants a user name and password (407)",
            ));
        }
        if (300..400).contains(&status) {
            let to = headers
                .get(header::LOCATION)
                .and_then(|l| l.to_str().ok())
                .map_or("nowhere".into(), cwii_contract::types::shorten);
            return Err(target.trouble(
                TransportProblemKind::Redirect,
                format!("status {status} to {to}; redirects are not followed"),
            ));
        }
        let too_large = || {
            target.trouble(
                TransportProblemKind::TooLarge,
                format!("the answer is larger than {limit} bytes"),
            )
        };
        if response
            .content_length()
            .is_some_and(|length| length > limit as u64)
        {
            return Err(too_large());
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        drop(response);
        // The connection goes back to the pool in a task of its own; without this turn the next request may find the
        // pool empty and open a second connection.
        for _ in 0..POOL_TURNS {
            tokio::task::yield_now().await;
        }
        Ok(Reply {
            status,
            headers,
            body: body.freeze(),
        })
    }

    fn target(&self, url: &Url) -> Target {
        Target {
            host: authority(url),
            proxy: self
                .proxies
                .as_ref()
                .and_then(|p| p.for_url(url))
                .map(proxy::Proxy::shown),
        }
    }
}

/// Host, with the port where it is not the scheme's.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Where a request is going.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    host: String,
    proxy: Option<String>,
}

impl Target {
    fn problem(&self, kind: TransportProblemKind, detail: impl Into<String>) -> TransportProblem {
        TransportProblem {
            host: self.host.clone(),
            kind,
            detail: detail.into(),
            proxy: self.proxy.clone(),
        }
    }

    fn trouble(&self, kind: TransportProblemKind, detail: impl Into<String>) -> Trouble {
        Trouble {
            problem: self.problem(kind, detail),
            transient: false,
        }
    }
}

/// What went over the wire in one exchange, over all its clients, and what is being waited for now.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    connections: AtomicU32,
    requests: AtomicU32,
    /// Connections being opened now, and names being resolved for them.
    connecting: AtomicU32,
    resolving: AtomicU32,
    waiting: Mutex<Option<Target>>,
    server_clock: Mutex<Option<ServerClock>>,
}

impl Traffic {
    pub(crate) fn wire(&self) -> Wire {
        Wire {
            connections: self.connections.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn server_clock(&self) -> Option<ServerClock> {
        *self
            .server_clock
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// What a request that is under way waits for, as the problem that it would be if no more time were left.
    pub(crate) fn waiting_for(&self) -> Option<TransportProblem> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.as_ref().map(|target| self.stuck_at(target))
    }

    fn stuck_at(&self, target: &Target) -> TransportProblem {
        if self.resolving.load(Ordering::Relaxed) > 0 {
            target.problem(
                TransportProblemKind::Dns,
                "no answer of the name server in time",
            )
        } else if self.connecting.load(Ordering::Relaxed) > 0 {
            target.problem(
                TransportProblemKind::ConnectTimeout,
                "no connection in time",
            )
        } else {
            target.problem(TransportProblemKind::ReadTimeout, "no answer in time")
        }
    }

    fn wait_for<'a>(&'a self, target: &Target) -> Waiting<'a> {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(target.clone());
        Waiting(self)
    }

    fn saw_date(&self, headers: &HeaderMap, local: Timestamp) {
        let date = headers
            .get(header::DATE)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| httpdate::parse_http_date(v).ok())
            .and_then(|t| Timestamp::try_from(t).ok());
        if let Some(server) = date {
            *self
                .server_clock
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(ServerClock { server, local });
        }
    }
}

struct Waiting<'a>(&'a Traffic);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        *self
            .0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Turns given to the runtime after an answer. On a runtime of one thread that is enough for hyper to hand the connection
/// back; with more threads it is so nearly always, and costs a second connection where it is not.
const POOL_TURNS: usize = 4;
