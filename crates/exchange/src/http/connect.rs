//! What happens around opening a connection: counting, a time limit, and connections that are opened ahead.
//!
//! reqwest has no call that only connects. Its connector layer makes one possible: a request is started under
//! [`Ahead::park`], the layer lets the inner connector resolve, connect and shake hands, keeps the connection and fails,
//! so nothing is written. The next request under [`Ahead::take`] is given that connection. The alternative was a pool of
//! our own over hyper, which would do again what reqwest does for proxies, tunnels and TLS.

use std::{
    any::Any,
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tower_layer::Layer;
use tower_service::Service;

use super::Traffic;

/// How long names, TCP and TLS may take together; the AWS SDK for Rust gives as long.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_millis(3100);

/// A connection that is kept for a request that comes later, or none.
#[derive(Clone, Default)]
pub(crate) struct Ahead(Arc<Mutex<Option<Connection>>>);

impl Ahead {
    /// Runs a request that only connects.
    pub(super) async fn park<F: Future>(&self, request: F) -> F::Output {
        MODE.scope(Mode::Park(self.clone()), request).await
    }

    /// Runs a request that uses the kept connection, if it has to connect at all.
    pub(super) async fn take<F: Future>(&self, request: F) -> F::Output {
        MODE.scope(Mode::Take(self.clone()), request).await
    }

    fn put(&self, connection: Option<Connection>) -> Option<Connection> {
        std::mem::replace(
            &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner),
            connection,
        )
    }
}

/// reqwest's connection; its type cannot be named.
type Connection = Box<dyn Any + Send>;

#[derive(Clone)]
enum Mode {
    Park(Ahead),
    Take(Ahead),
}

tokio::task_local! {
    static MODE: Mode;
}

/// The layer that reqwest puts around its connector.
#[derive(Clone)]
pub(super) struct ConnectLayer {
    traffic: Arc<Traffic>,
}

impl ConnectLayer {
    pub(super) fn new(traffic: Arc<Traffic>) -> Self {
        Self { traffic }
    }
}

impl<S> Layer<S> for ConnectLayer {
    type Service = Connect<S>;

    fn layer(&self, inner: S) -> Connect<S> {
        Connect {
            inner,
            traffic: self.traffic.clone(),
        }
    }
}

/// The connector with the layer around it.
#[derive(Clone)]
pub(super) struct Connect<S> {
    inner: S,
    traffic: Arc<Traffic>,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl<S, T> Service<T> for Connect<S>
where
    S: Service<T, Error = BoxError>,
    S::Response: Send + 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: T) -> Self::Future {
        let mode = MODE.try_with(Mode::clone).ok();
        if let Some(Mode::Take(ahead)) = &mode
            && let Some(kept) = ahead.put(None)
            && let Ok(connection) = kept.downcast::<S::Response>()
        {
            return Box::pin(std::future::ready(Ok(*connection)));
        }
        let connecting = self.inner.call(target);
        let traffic = self.traffic.clone();
        Box::pin(async move {
            // Nobody waits for a connection that is opened ahead.
            let ahead = matches!(mode, Some(Mode::Park(_)));
            let under_way = (!ahead).then(|| Gauge::of(&traffic.connecting));
            let connection = match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
                Ok(connection) => connection?,
                Err(_) => {
                    return Err(Box::new(ConnectTimeout {
                        resolving: traffic.resolving.load(Ordering::Relaxed) > 0,
                    }) as BoxError);
                }
            };
            drop(under_way);
            traffic.connections.fetch_add(1, Ordering::Relaxed);
            if let Some(Mode::Park(ahead)) = mode {
                ahead.put(Some(Box::new(connection)));
                return Err(Box::new(Parked) as BoxError);
            }
            Ok(connection)
        })
    }
}

/// Connecting took too long.
#[derive(Debug)]
pub(super) struct ConnectTimeout {
    /// The name server had not answered by then.
    pub(super) resolving: bool,
}

impl fmt::Display for ConnectTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.resolving {
            "no answer of the name server"
        } else {
            "no connection"
        };
        write!(f, "{what} within {} ms", CONNECT_TIMEOUT.as_millis())
    }
}

impl std::error::Error for ConnectTimeout {}

/// The connection is kept for later; nothing is wrong.
#[derive(Debug)]
struct Parked;

impl fmt::Display for Parked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is kept for a later request")
    }
}

impl std::error::Error for Parked {}

/// One more of something for as long as it lives.
pub(super) struct Gauge<'a>(&'a AtomicU32);

impl<'a> Gauge<'a> {
    pub(super) fn of(counter: &'a AtomicU32) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
