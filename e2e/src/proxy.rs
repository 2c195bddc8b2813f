//! What stands between a webhook and others: a proxy before the API server, and a balancer before several replicas.
//!
//! The proxy ends TLS, so it tells a list from a read, counts what is asked, and makes lists slow or all of it fail,
//! as an API server does that is overloaded or gone. The balancer stands for a Service: it leads to replicas that are
//! ready, learns late that they are or are not, and leaves the connections alone that it made before.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use bytes::Bytes;
use futures_util::{Stream, stream};
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::{AUTHORIZATION, HOST},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustls::{ServerConfig, crypto::ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use crate::{api::http_client, control_plane::ControlPlane};

/// How the proxy behaves.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Way {
    /// As if it were not there.
    #[default]
    Open,
    /// Every connection is closed, old and new.
    Refused,
    /// Connections are taken and stay, and nothing comes back any more.
    Silent,
}

/// A proxy before the API server. It ends when it is dropped.
pub struct ApiProxy {
    /// `https://127.0.0.1:PORT`.
    pub url: String,
    state: Arc<State>,
    way: watch::Sender<Way>,
    task: JoinHandle<()>,
}

struct State {
    upstream: String,
    http: reqwest::Client,
    way: watch::Receiver<Way>,
    requests: Mutex<Vec<String>>,
    slow_lists: Mutex<Duration>,
    slow_watches: Mutex<Duration>,
}

impl ApiProxy {
    /// Starts one on the caller's event loop.
    ///
    /// # Errors
    ///
    /// No port, or no certificate.
    pub async fn start(plane: &ControlPlane) -> Result<Self> {
        let (way, seen) = watch::channel(Way::Open);
        let state = Arc::new(State {
            upstream: plane.url.clone(),
            http: http_client(Some(&plane.authority.certificate), None, None)?,
            way: seen,
            requests: Mutex::default(),
            slow_lists: Mutex::default(),
            slow_watches: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("https://{}", listener.local_addr()?);
        let acceptor = acceptor(plane)?;
        let task = tokio::spawn(accept(listener, acceptor, Arc::clone(&state)));
        Ok(Self {
            url,
            state,
            way,
            task,
        })
    }

    /// Changes how it behaves, for connections that there are as well.
    pub fn set(&self, way: Way) {
        // The proxy itself listens for as long as it lives.
        let _ = self.way.send(way);
    }

    /// Makes every page of a list of a whole resource wait before it begins.
    pub fn slow_lists(&self, by: Duration) {
        *lock(&self.state.slow_lists) = by;
    }

    /// Makes everything that a watch tells arrive late.
    pub fn slow_watches(&self, by: Duration) {
        *lock(&self.state.slow_watches) = by;
    }

    /// What was asked so far, `GET /api/v1/namespaces/shop?x=y`, watches and lists among it.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        lock(&self.state.requests).clone()
    }

    /// How many requests there were so far for something else than to go on watching: a watch ends by itself now and
    /// then, and is begun again.
    #[must_use]
    pub fn reads(&self) -> usize {
        let requests = lock(&self.state.requests);
        requests.iter().filter(|r| !r.contains("watch=")).count()
    }
}

impl Drop for ApiProxy {
    fn drop(&mut self) {
        self.set(Way::Refused);
        self.task.abort();
    }
}

/// TLS on loopback under the control plane's authority, for HTTP/1.1.
pub(crate) fn acceptor(plane: &ControlPlane) -> Result<TlsAcceptor> {
    let identity = plane.authority.server(&[])?;
    let mut tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(
                identity.certificate.as_bytes(),
            )?],
            PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?,
        )?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(tls)))
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<State>) {
    while let Ok((tcp, _)) = listener.accept().await {
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let mut way = state.way.clone();
            let serve = async {
                let _ = tcp.set_nodelay(true);
                let Ok(stream) = acceptor.accept(tcp).await else {
                    return;
                };
                let service = service_fn(|request| forward(Arc::clone(&state), request));
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            };
            tokio::select! {
                () = serve => {}
                _ = way.wait_for(|way| *way == Way::Refused) => {}
            }
        });
    }
}

type Answer = Response<UnsyncBoxBody<Bytes, reqwest::Error>>;

async fn forward(state: Arc<State>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let path = request
        .uri()
        .path_and_query()
        .map(|p| p.as_str().to_owned())
        .unwrap_or_default();
    lock(&state.requests).push(format!("{} {path}", request.method()));
    let delay = *lock(&state.slow_lists);
    if is_list(&path) && !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    unless_silent(state.way.clone()).await;
    let (head, body) = request.into_parts();
    let answer = async {
        let body = body.collect().await.ok()?.to_bytes();
        let mut upstream = state
            .http
            .request(head.method, format!("{}{path}", state.upstream))
            .body(body);
        for (name, value) in &head.headers {
            if name != HOST {
                upstream = upstream.header(name, value);
            }
        }
        debug_assert!(head.headers.contains_key(AUTHORIZATION));
        upstream.send().await.ok()
    };
    let Some(upstream) = answer.await else {
        let mut answer = Response::new(UnsyncBoxBody::default());
        *answer.status_mut() = StatusCode::BAD_GATEWAY;
        return Ok(answer);
    };
    let mut answer = Response::builder().status(upstream.status());
    for (name, value) in upstream.headers() {
        // The body is sent anew, in pieces.
        if name != "transfer-encoding" && name != "content-length" {
            answer = answer.header(name, value);
        }
    }
    let body = StreamBody::new(pieces(upstream, state, path.contains("watch=")));
    Ok(answer.body(UnsyncBoxBody::new(body)).unwrap_or_default())
}

/// The body of an answer as it arrives, or later, for as long as the way is open.
fn pieces(
    response: reqwest::Response,
    state: Arc<State>,
    is_watch: bool,
) -> impl Stream<Item = Result<Frame<Bytes>, reqwest::Error>> {
    stream::unfold((response, state), move |(mut response, state)| async move {
        let piece = response.chunk().await.transpose()?;
        let late = *lock(&state.slow_watches);
        if is_watch && !late.is_zero() {
            tokio::time::sleep(late).await;
        }
        unless_silent(state.way.clone()).await;
        Some((piece.map(Frame::data), (response, state)))
    })
}

async fn unless_silent(mut way: watch::Receiver<Way>) {
    let open = pin!(way.wait_for(|way| *way != Way::Silent));
    let _ = open.await;
}

/// Whether all objects of a kind are asked for, as a list or as the beginning of a watch.
fn is_list(path: &str) -> bool {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let depth = if path.starts_with("/apis/") { 4 } else { 3 };
    let goes_on = query.contains("watch=") && !query.contains("sendInitialEvents=true");
    path.split('/').skip(1).count() == depth && !goes_on
}

/// A balancer before replicas. It ends when it is dropped; connections that it made live on until an end closes them.
pub struct Balancer {
    /// `127.0.0.1:PORT`.
    pub address: SocketAddr,
    endpoints: Arc<Mutex<Vec<SocketAddr>>>,
    lag: Duration,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Balancer {
    /// Starts one on the caller's event loop. It learns `lag` late whether a replica is ready.
    ///
    /// # Errors
    ///
    /// No port.
    pub async fn start(lag: Duration) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let endpoints = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(balance(listener, Arc::clone(&endpoints)));
        Ok(Self {
            address,
            endpoints,
            lag,
            tasks: Mutex::new(vec![task]),
        })
    }

    /// Leads to a replica while its readiness probe, an http URL, says that it is ready.
    pub fn follow(&self, replica: SocketAddr, probe: String) {
        let endpoints = Arc::clone(&self.endpoints);
        let lag = self.lag;
        let http = http_client(None, None, Some(PROBE_TIMEOUT));
        let task = tokio::spawn(async move {
            let Ok(http) = http else {
                return;
            };
            let mut known = false;
            loop {
                let ready = match http.get(&probe).send().await {
                    Ok(answer) => answer.status().is_success(),
                    Err(_) => false,
                };
                if ready != known {
                    known = ready;
                    tokio::time::sleep(lag).await;
                    let mut endpoints = lock(&endpoints);
                    endpoints.retain(|e| *e != replica);
                    if ready {
                        endpoints.push(replica);
                    }
                }
                tokio::time::sleep(PROBE_PERIOD).await;
            }
        });
        lock(&self.tasks).push(task);
    }

    /// The replicas that it leads to now.
    #[must_use]
    pub fn endpoints(&self) -> Vec<SocketAddr> {
        lock(&self.endpoints).clone()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        for task in lock(&self.tasks).iter() {
            task.abort();
        }
    }
}

async fn balance(listener: TcpListener, endpoints: Arc<Mutex<Vec<SocketAddr>>>) {
    let turn = AtomicUsize::new(0);
    while let Ok((mut client, _)) = listener.accept().await {
        let turn = turn.fetch_add(1, Ordering::Relaxed);
        let endpoint = {
            let endpoints = lock(&endpoints);
            (!endpoints.is_empty()).then(|| endpoints[turn % endpoints.len()])
        };
        // Without an endpoint the connection is closed, as a Service without endpoints refuses it.
        if let Some(endpoint) = endpoint {
            tokio::spawn(async move {
                if let Ok(mut replica) = TcpStream::connect(endpoint).await {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut replica).await;
                }
            });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const PROBE_PERIOD: Duration = Duration::from_millis(100);
/// The kubelet's default.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_told_from_a_read_and_from_a_watch_that_goes_on() {
        for (path, list) in [
            ("/api/v1/serviceaccounts", true),
            ("/api/v1/serviceaccounts?limit=500", true),
            (
                "/api/v1/serviceaccounts?watch=true&resourceVersion=7",
                false,
            ),
            (
                "/apis/apps/v1/deployments?watch=true&sendInitialEvents=true",
                true,
            ),
            ("/api/v1/namespaces", true),
            ("/api/v1/namespaces/shop", false),
            ("/api/v1/namespaces/shop/serviceaccounts/web", false),
            ("/apis/apps/v1/namespaces/shop/deployments/web", false),
        ] {
            assert_eq!(is_list(path), list, "{path}");
        }
    }
}
