//! A stand-in for kube-apiserver: lists in pages, watches, lists by watching, and gets, of metadata alone, over TLS.
//!
//! It serves a cluster of any size out of [`objects`], counts what it is asked for, and can declare every watch expired,
//! as a real one does when it has compacted its history. Source: Kubernetes API concepts, "Efficient detection of changes"
//! and "Retrieving large results sets in chunks".

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context as TaskContext, Poll},
    thread,
};

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use hyper::{
    body::{Body, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};
use tokio_rustls::TlsAcceptor;

use super::{
    http::Version,
    objects::{self, Kind},
    tls::Certificate,
};

/// A running fake; it ends when this is dropped.
pub(crate) struct Cluster {
    address: SocketAddr,
    certificate_pem: String,
    state: Arc<State>,
    _stop: oneshot::Sender<()>,
}

/// What it has been asked for since it started.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Asked {
    /// Complete lists, by kind: the last page was served, or the initial events of a watch.
    pub(crate) lists: BTreeMap<Kind, u64>,
    /// Watches that are open.
    pub(crate) watches: usize,
    /// Single objects.
    pub(crate) gets: u64,
    /// Anything else; the last of them is kept.
    pub(crate) other: Option<String>,
}

struct State {
    service_accounts: usize,
    workloads: bool,
    asked: Mutex<Asked>,
    watches: Mutex<Vec<mpsc::UnboundedSender<Bytes>>>,
}

impl Cluster {
    /// Starts one with so many ServiceAccounts, and with the workloads and namespaces that go with them.
    pub(crate) fn start(service_accounts: usize, workloads: bool) -> Result<Self> {
        let certificate = Certificate::generate()?;
        let acceptor = TlsAcceptor::from(certificate.server(Version::One)?);
        let state = Arc::new(State {
            service_accounts,
            workloads,
            asked: Mutex::default(),
            watches: Mutex::default(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&state);
        thread::Builder::new()
            .name("fake-apiserver".into())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = serve(listener, acceptor, served) => {}
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(Self {
            address,
            certificate_pem: certificate.certificate_pem,
            state,
            _stop: stop,
        })
    }

    /// Writes a kubeconfig for it.
    pub(crate) fn write_kubeconfig(&self, path: &Path) -> Result<()> {
        let ca = BASE64_STANDARD.encode(&self.certificate_pem);
        let server = format!("https://{}", self.address);
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "load", "cluster": {"server": server, "certificate-authority-data": ca}}],
            "users": [{"name": "load", "user": {"token": "nobody-checks-it"}}],
            "contexts": [{"name": "load", "context": {"cluster": "load", "user": "load"}}],
            "current-context": "load"
        });
        fs::write(path, config.to_string()).with_context(|| path.display().to_string())
    }

    /// What it has been asked for.
    pub(crate) fn asked(&self) -> Asked {
        let mut asked = lock(&self.state.asked).clone();
        asked.watches = lock(&self.state.watches)
            .iter()
            .filter(|watch| !watch.is_closed())
            .count();
        asked
    }

    /// How many objects it has, of all kinds.
    pub(crate) fn objects(&self) -> usize {
        Kind::ALL.iter().map(|kind| self.state.count(*kind)).sum()
    }

    /// Ends every watch with 410 Gone, so that everything is listed again.
    pub(crate) fn expire_watches(&self) {
        let gone =
            json!({"type": "ERROR", "object": status(410, "Expired", "too old resource version")});
        let gone = Bytes::from(format!("{gone}\n"));
        for watch in lock(&self.state.watches).drain(..) {
            // One that has gone already needs no telling.
            let _ = watch.send(gone.clone());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<State>) {
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            continue;
        };
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(socket).await else {
                return;
            };
            let service = service_fn(move |request| {
                let answer = state.answer(&request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new());
            // A client that hangs up is no error here.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

impl State {
    fn count(&self, kind: Kind) -> usize {
        kind.count(self.service_accounts, self.workloads)
    }

    fn object(&self, kind: Kind, index: usize) -> Value {
        objects::object(kind, index, self.count(Kind::Namespace))
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Answer> {
        let path = request.uri().path();
        let query: BTreeMap<&str, &str> = request
            .uri()
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .collect();
        if request.method() == Method::GET {
            if let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.path() == path) {
                return if matches!(query.get("watch"), Some(&("true" | "1"))) {
                    self.watch(kind, query.contains_key("sendInitialEvents"))
                } else {
                    self.list(kind, &query)
                };
            }
            lock(&self.asked).gets += 1;
        } else {
            lock(&self.asked).other = Some(format!("{} {path}", request.method()));
        }
        json_answer(StatusCode::NOT_FOUND, &status(404, "NotFound", "not found"))
    }

    fn list(&self, kind: Kind, query: &BTreeMap<&str, &str>) -> Response<Answer> {
        let number = |name| query.get(name).and_then(|value| value.parse().ok());
        let count = self.count(kind);
        let start = number("continue").unwrap_or(0).min(count);
        let end = count.min(start + number("limit").unwrap_or(count));
        let items: Vec<Value> = (start..end).map(|index| self.object(kind, index)).collect();
        let mut metadata = json!({"resourceVersion": RESOURCE_VERSION});
        if end < count {
            metadata["continue"] = end.to_string().into();
            metadata["remainingItemCount"] = (count - end).into();
        } else {
            *lock(&self.asked).lists.entry(kind).or_default() += 1;
        }
        // As a real one does.
        let items = (!items.is_empty()).then_some(items);
        let list = json!({
            "kind": "PartialObjectMetadataList",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "items": items
        });
        json_answer(StatusCode::OK, &list)
    }

    fn watch(&self, kind: Kind, initial: bool) -> Response<Answer> {
        let (sender, events) = mpsc::unbounded_channel();
        lock(&self.watches).push(sender);
        let mut backlog = None;
        if initial {
            *lock(&self.asked).lists.entry(kind).or_default() += 1;
            let end = json!({"type": "BOOKMARK", "object": {
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": {
                    "resourceVersion": RESOURCE_VERSION, "creationTimestamp": null,
                    "annotations": {"k8s.io/initial-events-end": "true"}
                }
            }});
            let (count, namespaces) = (self.count(kind), self.count(Kind::Namespace));
            let added = (0..count).map(move |index| {
                json!({"type": "ADDED", "object": objects::object(kind, index, namespaces)})
            });
            let lines = added
                .chain([end])
                .map(|event| Bytes::from(format!("{event}\n")));
            backlog = Some(Box::new(lines) as Box<dyn Iterator<Item = Bytes> + Send>);
        }
        let body = Answer::Watch { backlog, events };
        let mut response = Response::new(body);
        content_type(&mut response);
        response
    }
}

/// A body: a document, or the lines of a watch as they come.
enum Answer {
    Document(Option<Bytes>),
    Watch {
        backlog: Option<Box<dyn Iterator<Item = Bytes> + Send>>,
        events: mpsc::UnboundedReceiver<Bytes>,
    },
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let line = match self.get_mut() {
            Self::Document(document) => Poll::Ready(document.take()),
            Self::Watch { backlog, events } => match backlog.as_mut().and_then(Iterator::next) {
                Some(line) => Poll::Ready(Some(line)),
                None => {
                    *backlog = None;
                    events.poll_recv(context)
                }
            },
        };
        line.map(|line| line.map(|line| Ok(Frame::data(line))))
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Document(document) => hyper::body::SizeHint::with_exact(
                document.as_ref().map_or(0, |bytes| bytes.len() as u64),
            ),
            Self::Watch { .. } => hyper::body::SizeHint::default(),
        }
    }
}

fn json_answer(status: StatusCode, document: &Value) -> Response<Answer> {
    let mut response = Response::new(Answer::Document(Some(document.to_string().into())));
    *response.status_mut() = status;
    content_type(&mut response);
    response
}

fn content_type(response: &mut Response<Answer>) {
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {},
        "status": "Failure", "message": message, "reason": reason, "code": code
    })
}

/// Of every list; nothing ever changes.
const RESOURCE_VERSION: &str = "1000000";

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        time::{Duration, Instant},
    };

    use super::*;
    use crate::load::client;

    fn get(cluster: &Cluster, path: &str) -> (u16, String) {
        let certificate = Certificate {
            certificate_pem: cluster.certificate_pem.clone(),
            key_pem: String::new(),
        };
        let tls = certificate.client(Version::One).unwrap();
        let (status, body) = client::ask(cluster.address, Some(&tls), path, None).unwrap();
        (status, String::from_utf8(body).unwrap())
    }

    #[test]
    fn pages_hold_every_object_once() {
        let cluster = Cluster::start(1234, true).unwrap();
        let mut names = BTreeSet::new();
        let mut next = String::new();
        let mut pages = 0;
        loop {
            assert!(!cluster.asked().lists.contains_key(&Kind::ServiceAccount));
            let (status, page) = get(
                &cluster,
                &format!("/api/v1/serviceaccounts?limit=500{next}"),
            );
            assert_eq!(status, 200);
            let page: Value = serde_json::from_str(&page).unwrap();
            for item in page["items"].as_array().unwrap() {
                assert!(names.insert(item["metadata"]["name"].to_string()));
            }
            pages += 1;
            match page["metadata"]["continue"].as_str() {
                Some(token) => next = format!("&continue={token}"),
                None => break,
            }
        }
        assert_eq!((pages, names.len()), (3, 1234));
        assert_eq!(cluster.asked().lists[&Kind::ServiceAccount], 1);
        assert_eq!(cluster.asked().gets, 0);
    }

    #[test]
    fn what_nobody_has_created_is_not_found_and_counted() {
        let cluster = Cluster::start(10, true).unwrap();
        let (status, body) = get(&cluster, "/api/v1/namespaces/shop/serviceaccounts/absent");
        assert_eq!(status, 404);
        assert!(body.contains("NotFound"));
        assert_eq!(cluster.asked().gets, 1);
    }

    #[test]
    fn a_watch_lists_when_asked_to_and_ends_when_it_expires() {
        let cluster = Cluster::start(10, true).unwrap();
        let expire = || {
            let limit = Instant::now() + Duration::from_secs(5);
            while cluster.asked().watches == 0 && Instant::now() < limit {
                thread::yield_now();
            }
            cluster.expire_watches();
        };
        let events = thread::scope(|scope| {
            scope.spawn(expire);
            get(
                &cluster,
                "/apis/apps/v1/deployments?watch=true&sendInitialEvents=true",
            )
        })
        .1;
        assert_eq!(events.matches(r#"{"type":"ADDED""#).count(), 5);
        assert!(events.contains("k8s.io/initial-events-end"));
        assert!(events.contains(r#""code":410"#));
        assert_eq!(cluster.asked().watches, 0);
    }
}
