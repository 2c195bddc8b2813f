//! Accepting, counting, recording, failing on purpose, answering.
//!
//! One listener per service (and one per pod for the GKE metadata server, which tells pods apart by where they call
//! from). Everything below a request lives here, so the services themselves are functions from a request to a reply.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::{
    Request, Response,
    body::{Body, Frame, Incoming, SizeHint},
    header::{CONNECTION, CONTENT_TYPE, DATE, HeaderName, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::Instant,
};

use crate::{
    LabError,
    fault::{FaultKind, Service},
    lab::State,
    record::{self, RecordedRequest},
};

/// A request as a service sees it.
pub(crate) struct Received {
    pub(crate) service: Service,
    /// For a metadata server the pod that it serves.
    pub(crate) pod: Option<Arc<str>>,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) raw_query: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) form: Vec<(String, String)>,
    pub(crate) json: Option<Value>,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) body: Bytes,
    /// The service's clock, shifted where a fault shifts it.
    pub(crate) now: Timestamp,
    /// Whether the service must not look at newly published keys.
    pub(crate) stale_jwks: bool,
}

impl Received {
    /// A form parameter; of several the first.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.form
            .iter()
            .chain(&self.query)
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// A header that is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }
}

/// An answer. It has no `Debug`: its body may hold credentials.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn new(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json; charset=utf-8", body.to_string())
    }

    pub(crate) fn text(status: u16, body: impl Into<String>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", body.into())
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A listener of the lab, and what stands behind it.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) service: Service,
    pub(crate) pod: Option<Arc<str>>,
}

/// Binds a port on 127.0.0.1, and the same port on ::1 where the machine has it.
pub(crate) fn bind() -> Result<(u16, Vec<StdListener>), LabError> {
    let v4 =
        StdListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).map_err(LabError::Bind)?;
    let port = v4.local_addr().map_err(LabError::Bind)?.port();
    let mut listeners = vec![v4];
    listeners.extend(StdListener::bind(SocketAddr::from((
        Ipv6Addr::LOCALHOST,
        port,
    ))));
    for listener in &listeners {
        listener.set_nonblocking(true).map_err(LabError::Bind)?;
    }
    Ok((port, listeners))
}

/// Accepts for as long as the runtime lives.
pub(crate) async fn serve(state: Arc<State>, listener: StdListener, door: Door) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(Arc::clone(&state), stream, door.clone()));
            }
            // Out of file descriptors, or a client that left before it was accepted: both pass.
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

async fn connection(state: Arc<State>, stream: TcpStream, door: Door) {
    // Without it the second write of an answer waits for the client's delayed acknowledgement, 40 ms.
    let _ = stream.set_nodelay(true);
    let meter = state.records.connect(door.service);
    let mut rtt = None;
    let mut certificate = None;
    for fault in state.strike(door.service, true) {
        match fault {
            FaultKind::HangConnect => std::future::pending::<()>().await,
            FaultKind::RoundTrip(time) => rtt = Some(time),
            FaultKind::Certificate(wrong) => certificate = Some(wrong),
            _ => {}
        }
    }
    let tcp = Metered {
        tcp: stream,
        meter: Arc::clone(&meter),
        answering: false,
    };
    match rtt {
        None => secured(state, tcp, door, certificate, meter).await,
        Some(rtt) => {
            wait_until(Instant::now() + rtt).await;
            let (near, far) = tokio::io::duplex(64 * 1024);
            tokio::spawn(delay(tcp, far, rtt));
            secured(state, near, door, certificate, meter).await;
        }
    }
}

async fn secured<S>(
    state: Arc<State>,
    stream: S,
    door: Door,
    certificate: Option<crate::fault::Certificate>,
    meter: Arc<Meter>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if door.service.is_tls() {
        let accepted = state.tls.acceptor(certificate).accept(stream).await;
        if let Ok(stream) = accepted {
            meter.established();
            http(state, stream, door, meter).await;
        }
    } else {
        meter.established();
        http(state, stream, door, meter).await;
    }
}

async fn http<S>(state: Arc<State>, stream: S, door: Door, meter: Arc<Meter>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = TokioIo::new(Substituted {
        stream,
        meter: Arc::clone(&meter),
        rest: None,
    });
    let service = service_fn(|request| {
        let state = Arc::clone(&state);
        let door = door.clone();
        let meter = Arc::clone(&meter);
        async move { answer(state, door, meter, request).await }
    });
    // Not vectored: hyper then puts head and body into one buffer, hence one write, one TLS record, one segment.
    let _ = http1::Builder::new()
        .writev(false)
        .auto_date_header(false)
        .serve_connection(stream, service)
        .await;
}

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("a fault ends the connection")]
struct Broken;

async fn answer(
    state: Arc<State>,
    door: Door,
    meter: Arc<Meter>,
    request: Request<Incoming>,
) -> Result<Response<Payload>, Broken> {
    let (head, body) = request.into_parts();
    // A body that breaks off is a client that left; one beyond the limit is refused below.
    let body = match Limited::new(body, MAX_REQUEST_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Err(Broken),
    };
    let faults = state.strike(door.service, false);
    let shift = faults
        .iter()
        .find_map(|f| match f {
            FaultKind::ClockShift(shift) => Some(*shift),
            _ => None,
        })
        .unwrap_or(SignedDuration::ZERO);
    let now = state
        .now()
        .checked_add(shift)
        .unwrap_or_else(|_| state.now());
    let received = receive(
        &door,
        head,
        body,
        now,
        faults.contains(&FaultKind::StaleJwks),
    );
    let record = state.records.request(&received, &meter);

    let mut finish = Finish::Whole;
    let mut override_reply = None;
    for fault in faults {
        match fault {
            FaultKind::Latency(time) => tokio::time::sleep(time).await,
            FaultKind::Hang => std::future::pending::<()>().await,
            FaultKind::Reset => {
                meter.reset.store(true, Ordering::Relaxed);
                return Err(Broken);
            }
            FaultKind::Garbage => {
                meter.substitute();
                finish = Finish::Close;
            }
            FaultKind::HangBody => finish = Finish::Stall,
            FaultKind::Truncated => finish = Finish::Cut,
            FaultKind::Status {
                status,
                retry_after,
            } => {
                let mut reply = state.outage(door.service, status, now);
                if let Some(seconds) = retry_after {
                    reply = reply.with("retry-after", seconds.to_string());
                }
                override_reply = Some(reply);
            }
            FaultKind::Oversized(bytes) => {
                override_reply = Some(Reply::new(200, "application/json", vec![b' '; bytes]));
            }
            FaultKind::WrongContent => {
                override_reply = Some(Reply::json(200, &serde_json::json!({"hello": "world"})));
            }
            FaultKind::HtmlPage => {
                override_reply = Some(Reply::new(200, "text/html; charset=utf-8", HTML_LOGIN));
            }
            FaultKind::HtmlError => {
                override_reply = Some(Reply::new(502, "text/html; charset=utf-8", HTML_GATEWAY));
            }
            FaultKind::Redirect(status) => {
                let location = format!("{}{}", state.endpoints().trap, received.path);
                override_reply = Some(Reply::text(status, "").with(LOCATION_NAME, location));
            }
            FaultKind::Answer(forced) => {
                override_reply = Some(state.forced(door.service, &forced, now));
            }
            FaultKind::StaleJwks
            | FaultKind::ClockShift(_)
            | FaultKind::RoundTrip(_)
            | FaultKind::HangConnect
            | FaultKind::Certificate(_) => {}
        }
    }
    let reply = match override_reply {
        Some(reply) => reply,
        None => state.handle(&received).await,
    };
    state.records.answered(record, reply.status);
    meter.requests.fetch_add(1, Ordering::Relaxed);
    Ok(response(reply, now, finish))
}

fn receive(
    door: &Door,
    head: http::request::Parts,
    body: Bytes,
    now: Timestamp,
    stale_jwks: bool,
) -> Received {
    let raw_query = head.uri.query().unwrap_or_default().to_owned();
    let content_type = head
        .headers
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let form = if content_type.starts_with("application/x-www-form-urlencoded") {
        pairs(&body)
    } else {
        Vec::new()
    };
    let json = content_type
        .starts_with("application/json")
        .then(|| serde_json::from_slice(&body).ok())
        .flatten();
    Received {
        service: door.service,
        pod: door.pod.clone(),
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: pairs(raw_query.as_bytes()),
        raw_query,
        form,
        json,
        headers: head.headers,
        body,
        now,
        stale_jwks,
    }
}

fn pairs(text: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text)
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}

fn response(reply: Reply, now: Timestamp, finish: Finish) -> Response<Payload> {
    let mut response = Response::new(Payload {
        left: reply.body,
        finish,
        sent: false,
        flushed: false,
    });
    *response.status_mut() =
        http::StatusCode::from_u16(reply.status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(now.into())) {
        headers.insert(DATE, date);
    }
    for (name, value) in reply.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    if finish == Finish::Close {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// How an answer's body ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Finish {
    Whole,
    /// Whole, and the connection with it.
    Close,
    /// Half of it, then nothing.
    Stall,
    /// Half of it, then the connection is closed.
    Cut,
}

struct Payload {
    left: Bytes,
    finish: Finish,
    sent: bool,
    flushed: bool,
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match (self.finish, self.sent) {
            (Finish::Stall, true) => Poll::Pending,
            // Once more around, so that what there is goes out before the end does.
            (Finish::Cut, true) if !self.flushed => {
                self.flushed = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            (Finish::Cut, true) => Poll::Ready(Some(Err(Broken))),
            (_, true) => Poll::Ready(None),
            (finish, false) => {
                self.sent = true;
                let half = self.left.len() / 2;
                if matches!(finish, Finish::Stall | Finish::Cut) {
                    self.left.truncate(half);
                }
                let part = std::mem::take(&mut self.left);
                Poll::Ready((!part.is_empty()).then(|| Ok(Frame::data(part))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.finish != Finish::Stall
            && self.finish != Finish::Cut
            && (self.sent || self.left.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        // Before anything was sent: the length that the head announces, halved or not.
        SizeHint::with_exact(self.left.len() as u64)
    }
}

/// Counts of one connection, and the faults that concern its bytes.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) id: u64,
    pub(crate) service: Service,
    pub(crate) requests: AtomicU32,
    pub(crate) handshake: AtomicU32,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) internal: AtomicBool,
    established: AtomicBool,
    reset: AtomicBool,
    garbage: AtomicBool,
}

impl Meter {
    pub(crate) fn new(id: u64, service: Service) -> Self {
        Self {
            id,
            service,
            requests: AtomicU32::new(0),
            handshake: AtomicU32::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            internal: AtomicBool::new(false),
            established: AtomicBool::new(false),
            reset: AtomicBool::new(false),
            garbage: AtomicBool::new(false),
        }
    }

    fn established(&self) {
        self.established.store(true, Ordering::Relaxed);
    }

    fn substitute(&self) {
        self.garbage.store(true, Ordering::Relaxed);
    }
}

/// The socket, counted.
struct Metered {
    tcp: TcpStream,
    meter: Arc<Meter>,
    /// Whether the last bytes went out: the next ones in begin a new round.
    answering: bool,
}

impl Drop for Metered {
    fn drop(&mut self) {
        if self.meter.reset.load(Ordering::Relaxed) {
            // Closing then sends RST instead of FIN.
            let _ = self.tcp.set_zero_linger();
        }
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(cx, buf))?;
        let read = buf.filled().len() - before;
        if read > 0 {
            self.answering = false;
            self.meter
                .bytes_in
                .fetch_add(read as u64, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.tcp).poll_write(cx, buf))?;
        self.meter
            .bytes_out
            .fetch_add(written as u64, Ordering::Relaxed);
        if !self.answering && !self.meter.established.load(Ordering::Relaxed) {
            self.meter.handshake.fetch_add(1, Ordering::Relaxed);
        }
        self.answering = true;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// Moves bytes between the socket and the server, what the server sends one round trip late.
async fn delay(tcp: Metered, far: tokio::io::DuplexStream, rtt: Duration) {
    let meter = Arc::clone(&tcp.meter);
    let (mut from_client, mut to_client) = tokio::io::split(tcp);
    let (mut from_server, mut to_server) = tokio::io::split(far);
    let (queue, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    let inbound = async {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
        let _ = to_server.shutdown().await;
    };
    let stamping = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            match from_server.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(n) => {
                    let chunk = (Instant::now() + rtt, buffer[..n].to_vec());
                    if queue.send(chunk).await.is_err() {
                        break;
                    }
                }
            }
        }
        drop(queue);
    };
    let outbound = async {
        while let Some((when, chunk)) = due.recv().await {
            wait_until(when).await;
            if to_client.write_all(&chunk).await.is_err() {
                break;
            }
        }
        // After a FIN a reset would look like an orderly end.
        if !meter.reset.load(Ordering::Relaxed) {
            let _ = to_client.shutdown().await;
        }
    };
    // When the server is done the connection is, whatever the client still does.
    tokio::select! {
        ((), ()) = async { tokio::join!(stamping, outbound) } => {}
        () = async { inbound.await; std::future::pending().await } => {}
    }
}

/// Waits to the tenth of a millisecond. The event loop's timer counts whole milliseconds and errs on the late side, which
/// would add up over a handful of round trips to more than what is being measured.
async fn wait_until(when: Instant) {
    if let Some(early) = when.checked_sub(Duration::from_millis(2)) {
        tokio::time::sleep_until(early).await;
    }
    while Instant::now() < when {
        tokio::task::yield_now().await;
    }
}

/// Writes bytes that are not HTTP in place of an answer, where a fault asks for it.
struct Substituted<S> {
    stream: S,
    meter: Arc<Meter>,
    /// What is left of the substitute, once begun.
    rest: Option<&'static [u8]>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Substituted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Substituted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.meter.garbage.load(Ordering::Relaxed) {
            return Pin::new(&mut self.stream).poll_write(cx, buf);
        }
        loop {
            let rest = self.rest.unwrap_or(NOT_HTTP);
            if rest.is_empty() {
                return Poll::Ready(Ok(buf.len()));
            }
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
            self.rest = Some(&rest[written..]);
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Everything that was received.
#[derive(Default)]
pub(crate) struct Records {
    requests: Mutex<Vec<RecordedRequest>>,
    connections: Mutex<Vec<Arc<Meter>>>,
}

impl Records {
    fn connect(&self, service: Service) -> Arc<Meter> {
        let mut connections = lock(&self.connections);
        let meter = Arc::new(Meter::new(connections.len() as u64, service));
        connections.push(Arc::clone(&meter));
        meter
    }

    fn request(&self, received: &Received, meter: &Meter) -> usize {
        let internal = received
            .header("user-agent")
            .is_some_and(|agent| agent == crate::jwks::USER_AGENT);
        if internal {
            meter.internal.store(true, Ordering::Relaxed);
        }
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in &received.headers {
            let value = record::header(name.as_str(), &String::from_utf8_lossy(value.as_bytes()));
            headers
                .entry(name.as_str().to_owned())
                .and_modify(|all| {
                    all.push_str(", ");
                    all.push_str(&value);
                })
                .or_insert(value);
        }
        let mut requests = lock(&self.requests);
        let sequence = requests.len();
        requests.push(RecordedRequest {
            service: received.service,
            connection: meter.id,
            sequence: sequence as u64,
            method: received.method.clone(),
            path: record::path(&received.path),
            query: received.query.iter().map(record::parameter).collect(),
            form: received.form.iter().map(record::parameter).collect(),
            json: received.json.as_ref().map(record::document),
            headers,
            status: None,
            internal,
        });
        sequence
    }

    fn answered(&self, index: usize, status: u16) {
        if let Some(record) = lock(&self.requests).get_mut(index) {
            record.status = Some(status);
        }
    }

    pub(crate) fn requests(&self) -> Vec<RecordedRequest> {
        lock(&self.requests).clone()
    }

    pub(crate) fn connections(&self) -> Vec<record::Connection> {
        lock(&self.connections)
            .iter()
            .map(|meter| {
                let requests = meter.requests.load(Ordering::Relaxed);
                record::Connection {
                    id: meter.id,
                    service: meter.service,
                    requests,
                    round_trips: 1 + meter.handshake.load(Ordering::Relaxed) + requests,
                    bytes_in: meter.bytes_in.load(Ordering::Relaxed),
                    bytes_out: meter.bytes_out.load(Ordering::Relaxed),
                    internal: meter.internal.load(Ordering::Relaxed),
                }
            })
            .collect()
    }
}

/// A mutex whose content is good even if a holder panicked: every change under it is a single step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The services' own texts for an outage; what has no shape of its own is plain text.
pub(crate) fn plain_outage(status: u16) -> Reply {
    Reply::text(
        status,
        match status {
            429 => "Too Many Requests",
            500 => "Internal Server Error",
            502 => "Bad Gateway",
            503 => "Service Unavailable",
            504 => "Gateway Timeout",
            _ => "error",
        },
    )
}

const MAX_REQUEST_BODY: usize = 4 * 1024 * 1024;
const LOCATION_NAME: &str = "location";
const NOT_HTTP: &[u8] = b"\x00\x01\x02 this is not HTTP \xff\xfe\r\n\r\n";
const HTML_LOGIN: &str = "<!DOCTYPE html><html><head><title>Sign in</title></head><body><form action=\"/login\">Sign in to the guest network.</form></body></html>\n";
const HTML_GATEWAY: &str = "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>\n";
