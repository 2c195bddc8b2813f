//! Connections: accepting them, bounding what they may take, and ending them without losing a request.
//!
//! axum's own server knows neither TLS nor when to say goodbye. The API server keeps connections open (HTTP/2 above
//! all), so an orderly end needs `connection: close` or GOAWAY, sent while there is still somebody to answer the
//! requests that are on their way.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body};
use futures_util::FutureExt as _;
use http::{HeaderValue, Request, Response, Version, header};
use hyper::{
    body::Incoming,
    rt::{Read, Write},
    server::conn::{http1, http2},
    service::{Service, service_fn},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::AlertDescription;
use tokio::{
    io::BufReader,
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;
use tower::Service as _;
use tracing::{debug, warn};

use crate::{
    metrics::{HandshakeFailure, Metrics},
    tls::{self, Tls},
};

/// How far the end of the process is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Phase {
    /// Requests are served, and clients may stay.
    Serving,
    /// Requests are served, not ready any more: clients are asked to go elsewhere.
    Leaving,
    /// No new connections; requests that have begun are finished.
    Closing,
}

/// The names of a client's certificate, as an extension of each of its requests; absent without a certificate.
#[derive(Clone, Debug)]
pub struct ClientNames(pub Arc<[String]>);

/// Opens a listening socket. Where a machine has no IPv6, `[::]` stands for every IPv4 address.
///
/// # Errors
///
/// What the system says.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let open = |address: SocketAddr| {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    match open(address) {
        Err(error)
            if address.is_ipv6()
                && address.ip().is_unspecified()
                && error.kind() != io::ErrorKind::AddrInUse =>
        {
            open((Ipv4Addr::UNSPECIFIED, address.port()).into()).map_err(|_| error)
        }
        result => result,
    }
}

/// Serves a router until the phase is closing, and then until the last connection has ended.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Secured>,
    router: Router,
    phase: watch::Receiver<Phase>,
) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Every connection holds a sender: when all are gone, so are the connections.
    let (alive, mut ended) = mpsc::channel::<()>(1);
    let start = |stream: TcpStream, slot: OwnedSemaphorePermit| {
        let connection = Connection {
            router: router.clone(),
            phase: phase.clone(),
        };
        let (tls, alive) = (tls.clone(), alive.clone());
        tokio::spawn(async move {
            connection.run(stream, tls).await;
            drop((slot, alive));
        });
    };
    let mut until_closing = phase.clone();
    loop {
        let accepted = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (listener.accept().await, slot)
        };
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            _ = until_closing.wait_for(|phase| *phase == Phase::Closing) => break,
        };
        match accepted {
            (Ok((stream, _)), Ok(slot)) => start(stream, slot),
            (Err(error), _) => {
                // Out of file descriptors, as a rule: waiting lets some go.
                warn!(error = %error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
            // Closed never: the semaphore lives as long as this function.
            (_, Err(_)) => break,
        }
    }
    // Who has connected already is served: the system would reset what nobody accepts.
    while let (Some(Ok((stream, _))), Ok(slot)) = (
        listener.accept().now_or_never(),
        Arc::clone(&slots).try_acquire_owned(),
    ) {
        start(stream, slot);
    }
    drop(listener);
    drop(alive);
    ended.recv().await;
}

/// What a port with TLS needs.
#[derive(Clone, Debug)]
pub struct Secured {
    /// The certificate.
    pub tls: Arc<Tls>,
    /// Where handshakes that fail are counted.
    pub metrics: Arc<Metrics>,
}

struct Connection {
    router: Router,
    phase: watch::Receiver<Phase>,
}

/// What the requests of a connection share.
struct Shared {
    router: Router,
    phase: watch::Receiver<Phase>,
    client: Option<ClientNames>,
    requests: AtomicU64,
    in_flight: AtomicU32,
}

impl Connection {
    async fn run(self, stream: TcpStream, secured: Option<Secured>) {
        // A response is one small write: nothing to gather.
        let _ = stream.set_nodelay(true);
        let Some(Secured { tls, metrics }) = secured else {
            return self.http1(TokioIo::new(stream), None).await;
        };
        let Some(config) = tls.config() else {
            debug!("a connection was closed: there is no certificate yet");
            return;
        };
        // rustls reads four kilobytes at a time, and a review is a little larger: one call in place of two.
        let stream = BufReader::with_capacity(READ_BUFFER, stream);
        let accept = TlsAcceptor::from(config).accept(stream);
        let stream = match timeout(HANDSHAKE_TIMEOUT, accept).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let refused = refuses_certificate(&error);
                if refused {
                    warn!(
                        error = %error,
                        "a client does not trust the certificate: compare it with the caBundle of the MutatingWebhookConfiguration"
                    );
                    metrics.handshake_failed(HandshakeFailure::CertificateRefused);
                } else {
                    // Port scans and clients that went away: told where somebody looks for it.
                    debug!(error = %error, "a TLS handshake failed");
                    metrics.handshake_failed(HandshakeFailure::Other);
                }
                return;
            }
            Err(_) => {
                debug!("a TLS handshake took too long");
                metrics.handshake_failed(HandshakeFailure::Timeout);
                return;
            }
        };
        let (_, session) = stream.get_ref();
        let client = session
            .peer_certificates()
            .and_then(<[_]>::first)
            .map(|leaf| ClientNames(tls::names(leaf).into()));
        if session.alpn_protocol() == Some(b"h2") {
            self.http2(TokioIo::new(stream), client).await;
        } else {
            self.http1(TokioIo::new(stream), client).await;
        }
    }

    fn shared(&self, client: Option<ClientNames>) -> Arc<Shared> {
        Arc::new(Shared {
            router: self.router.clone(),
            phase: self.phase.clone(),
            client,
            requests: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
        })
    }

    async fn http1(
        self,
        io: impl Read + Write + Unpin + Send + 'static,
        client: Option<ClientNames>,
    ) {
        let shared = self.shared(client);
        let mut builder = http1::Builder::new();
        // Idle and slow clients are bounded for both protocols alike, below; a timer per request would cost more.
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_buf_size(HTTP1_BUFFER);
        let connection = builder.serve_connection(io, service(&shared));
        self.drive(connection, &shared, false).await;
    }

    async fn http2(
        self,
        io: impl Read + Write + Unpin + Send + 'static,
        client: Option<ClientNames>,
    ) {
        let shared = self.shared(client);
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(Some(HTTP2_PING_INTERVAL))
            .keep_alive_timeout(HTTP2_PING_TIMEOUT)
            .max_concurrent_streams(HTTP2_STREAMS)
            .initial_stream_window_size(HTTP2_WINDOW)
            .initial_connection_window_size(HTTP2_WINDOW);
        let connection = builder.serve_connection(io, service(&shared));
        self.drive(connection, &shared, true).await;
    }

    /// Runs the connection until it ends, is idle for too long, or the process does. `announces`: a goodbye still lets
    /// requests in that are on their way, as GOAWAY does.
    async fn drive(mut self, connection: impl Graceful, shared: &Shared, announces: bool) {
        let mut connection = pin!(connection);
        let mut seen = 0;
        let mut deadline = Instant::now() + FIRST_REQUEST_TIMEOUT;
        let mut closing = false;
        loop {
            tokio::select! {
                biased;
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        debug!(error = %error, "a connection broke");
                    }
                    return;
                }
                _ = self.phase.wait_for(|phase| *phase == Phase::Closing), if !closing => {
                    closing = true;
                    if announces || shared.requests.load(Ordering::Relaxed) > 0 {
                        connection.as_mut().goodbye();
                    } else {
                        // A first request may be on its way, and its answer ends the connection.
                        deadline = deadline.min(Instant::now() + LAST_REQUEST_TIMEOUT);
                    }
                }
                () = sleep_until(deadline) => {
                    let requests = shared.requests.load(Ordering::Relaxed);
                    let busy = shared.in_flight.load(Ordering::Relaxed) > 0;
                    if busy || requests > seen {
                        seen = requests;
                        deadline = Instant::now() + IDLE_TIMEOUT;
                    } else if closing {
                        // It was told, and it had time.
                        return;
                    } else {
                        closing = true;
                        deadline = Instant::now() + GOODBYE_TIMEOUT;
                        connection.as_mut().goodbye();
                    }
                }
            }
        }
    }
}

/// The router, with what it cannot know: the client's names, and that the process is leaving.
fn service(
    connection: &Arc<Shared>,
) -> impl Service<
    Request<Incoming>,
    Response = Response<Body>,
    Error = Infallible,
    Future = impl Future<Output = Result<Response<Body>, Infallible>> + Send + 'static + use<>,
> + Send
+ use<> {
    let connection = Arc::clone(connection);
    service_fn(move |mut request: Request<Incoming>| {
        let begun = InFlight::begin(&connection);
        if let Some(client) = &connection.client {
            request.extensions_mut().insert(client.clone());
        }
        let version = request.version();
        async move {
            let mut router = begun.0.router.clone();
            let mut response = router.call(request).await?;
            if version <= Version::HTTP_11 && *begun.0.phase.borrow() >= Phase::Leaving {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            Ok(response)
        }
    })
}

/// Counts a request while it is there, also when its connection is dropped.
struct InFlight(Arc<Shared>);

impl InFlight {
    fn begin(connection: &Arc<Shared>) -> Self {
        connection.requests.fetch_add(1, Ordering::Relaxed);
        connection.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(connection))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the connections of both protocols can do.
trait Graceful: Future<Output = hyper::Result<()>> {
    /// Finish what has begun, and tell the peer not to begin more.
    fn goodbye(self: Pin<&mut Self>);
}

impl<I, S> Graceful for http1::Connection<I, S>
where
    I: Read + Write + Unpin + 'static,
    S: hyper::service::HttpService<Incoming, ResBody = Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn goodbye(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S> Graceful for http2::Connection<I, S, TokioExecutor>
where
    I: Read + Write + Unpin + 'static,
    S: hyper::service::HttpService<Incoming, ResBody = Body>,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn goodbye(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Whether a handshake failed because the client found fault with our certificate.
fn refuses_certificate(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|e| e.downcast_ref());
    matches!(
        error,
        Some(rustls::Error::AlertReceived(
            AlertDescription::BadCertificate
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                // Another authority of the same name: its key does not fit the signature.
                | AlertDescription::DecryptError
                | AlertDescription::UnknownCA
                | AlertDescription::UnsupportedCertificate
        ))
    )
}

const BACKLOG: u32 = 1024;
/// An API server opens a handful. This is for those that do not behave.
const MAX_CONNECTIONS: usize = 4096;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than client-go keeps an idle connection (90 seconds), so that it is the client who closes as a rule.
const IDLE_TIMEOUT: Duration = Duration::from_secs(180);
const LAST_REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(5);
const READ_BUFFER: usize = 8 * 1024;
const HTTP1_BUFFER: usize = 64 * 1024;
const HTTP2_STREAMS: u32 = 250;
const HTTP2_WINDOW: u32 = 1024 * 1024;
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(60);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(20);
