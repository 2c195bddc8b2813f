//! The part of the Kubernetes API that the webhook uses: lists in pages, watches, single objects, server-side apply.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};

type Body = BoxBody<Bytes, Infallible>;

pub(crate) struct FakeApi {
    pub(crate) url: http::Uri,
    state: Arc<Mutex<State>>,
    lists: watch::Sender<bool>,
    reads: watch::Sender<bool>,
}

/// Whether lists and single calls are answered, or wait.
#[derive(Clone)]
struct Gates {
    lists: watch::Receiver<bool>,
    reads: watch::Receiver<bool>,
}

#[derive(Default)]
struct State {
    /// By path of the object: `/api/v1/namespaces/apps/serviceaccounts/reports`.
    objects: BTreeMap<String, Value>,
    version: u64,
    watchers: Vec<(String, mpsc::UnboundedSender<Bytes>)>,
    /// `GET /api/v1/...` and so on, without queries; lists and watches as `LIST` and `WATCH`.
    calls: Vec<String>,
    applied: Vec<Value>,
    mode: Mode,
    forbidden: Option<String>,
    page: usize,
    /// The list whose next watch is told that its version is gone.
    expired: Option<String>,
}

#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) enum Mode {
    #[default]
    Up,
    /// 503 to everything, and no connection that lasts.
    Down,
}

impl FakeApi {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (lists, lists_open) = watch::channel(true);
        let (reads, reads_open) = watch::channel(true);
        let gates = Gates {
            lists: lists_open,
            reads: reads_open,
        };
        let state = Arc::new(Mutex::new(State {
            page: 500,
            ..State::default()
        }));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, gates) = (Arc::clone(&shared), gates.clone());
                let service = service_fn(move |request| {
                    let (state, gates) = (Arc::clone(&state), gates.clone());
                    async move { Ok::<_, Infallible>(answer(&state, gates, request).await) }
                });
                tokio::spawn(async move {
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        let api = Self {
            url: url.parse().unwrap(),
            state,
            lists,
            reads,
        };
        api.put("/api/v1/namespaces/apps", json!({}));
        api.put("/api/v1/namespaces/apps/serviceaccounts/reports", json!({}));
        api
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Creates an object or changes its annotations.
    pub(crate) fn put(&self, path: &str, annotations: Value) {
        self.put_owned(path, "", annotations, None);
    }

    pub(crate) fn put_owned(
        &self,
        path: &str,
        uid: &str,
        annotations: Value,
        owner: Option<Value>,
    ) {
        let mut state = self.state();
        state.version += 1;
        let mut metadata = json!({
            "name": path.rsplit('/').next(), "uid": uid, "annotations": annotations,
            "resourceVersion": state.version.to_string(),
        });
        if let Some((_, rest)) = path.split_once("/namespaces/")
            && let Some((namespace, _)) = rest.split_once('/')
        {
            metadata["namespace"] = namespace.into();
        }
        if let Some(owner) = owner {
            metadata["ownerReferences"] = json!([owner]);
        }
        let object = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata});
        let known = state.objects.insert(path.into(), object.clone()).is_some();
        state.tell(path, if known { "MODIFIED" } else { "ADDED" }, &object);
    }

    pub(crate) fn delete(&self, path: &str) {
        let mut state = self.state();
        if let Some(object) = state.objects.remove(path) {
            state.version += 1;
            state.tell(path, "DELETED", &object);
        }
    }

    /// Creates or deletes without telling the watches.
    pub(crate) fn put_quietly(&self, path: &str, annotations: Value) {
        let watchers = std::mem::take(&mut self.state().watchers);
        self.put(path, annotations);
        self.state().watchers = watchers;
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        let mut state = self.state();
        state.mode = mode;
        if mode == Mode::Down {
            state.watchers.clear();
        }
    }

    /// Ends the watch of a list, `/api/v1/serviceaccounts`; the next one is told that its version is gone.
    pub(crate) fn expire(&self, list: &str) {
        let mut state = self.state();
        state.expired = Some(list.into());
        state.watchers.retain(|(watched, _)| watched != list);
    }

    /// Lists of this plural are forbidden.
    pub(crate) fn forbid(&self, plural: Option<&str>) {
        self.state().forbidden = plural.map(str::to_owned);
    }

    pub(crate) fn set_page(&self, objects: usize) {
        self.state().page = objects;
    }

    /// Lists wait until they are let go.
    pub(crate) fn hold_lists(&self, hold: bool) {
        self.lists.send_replace(!hold);
    }

    /// Single reads and writes wait until they are let go.
    pub(crate) fn hold_reads(&self, hold: bool) {
        self.reads.send_replace(!hold);
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    /// Single reads and writes: what an admission may cost.
    pub(crate) fn live_calls(&self) -> Vec<String> {
        let mut calls = self.calls();
        calls.retain(|call| !call.starts_with("LIST") && !call.starts_with("WATCH"));
        calls
    }

    /// How many watches are open.
    pub(crate) fn watches(&self) -> usize {
        self.state().watchers.len()
    }

    pub(crate) fn applied(&self) -> Vec<Value> {
        self.state().applied.clone()
    }
}

impl State {
    fn tell(&mut self, path: &str, kind: &str, object: &Value) {
        let mut line = json!({"type": kind, "object": object}).to_string();
        line.push('\n');
        let line = Bytes::from(line);
        self.watchers
            .retain(|(plural, sender)| !is_of(path, plural) || sender.send(line.clone()).is_ok());
    }
}

/// Whether an object's path belongs to a list's: `/apis/apps/v1/deployments`.
fn is_of(object: &str, list: &str) -> bool {
    let (api, plural) = list.rsplit_once('/').unwrap();
    let Some(rest) = object.strip_prefix(api) else {
        return false;
    };
    let parts: Vec<&str> = rest.trim_start_matches('/').split('/').collect();
    match parts.as_slice() {
        ["namespaces", _] => plural == "namespaces",
        ["namespaces", _, kind, _] => *kind == plural,
        _ => false,
    }
}

async fn answer(
    state: &Mutex<State>,
    mut gates: Gates,
    request: Request<Incoming>,
) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let query: BTreeMap<String, String> = request
        .uri()
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.into(), value.into()))
        .collect();
    let is_list = [
        "namespaces",
        "serviceaccounts",
        "deployments",
        "statefulsets",
        "daemonsets",
        "replicationcontrollers",
        "jobs",
        "cronjobs",
    ]
    .contains(&path.rsplit('/').next().unwrap());
    let is_watch = query.contains_key("watch");
    let verb = match (is_watch, is_list) {
        (true, _) => "WATCH",
        (_, true) => "LIST",
        _ => request.method().as_str(),
    };
    let (mode, forbidden) = {
        let mut state = state.lock().unwrap();
        state.calls.push(format!("{verb} {path}"));
        (state.mode, state.forbidden.clone())
    };
    if mode == Mode::Down {
        return failure(StatusCode::SERVICE_UNAVAILABLE, "the fake API is down");
    }
    if forbidden.is_some_and(|plural| path.ends_with(&plural)) {
        return failure(StatusCode::FORBIDDEN, "it is forbidden");
    }
    let accept = request.headers()[http::header::ACCEPT]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(accept.contains("as=PartialObjectMetadata"), "{accept}");
    if is_watch {
        let mut state = state.lock().unwrap();
        if state.expired.take_if(|list| *list == path).is_some() {
            return failure(StatusCode::GONE, "too old resource version");
        }
        let since: u64 = query["resourceVersion"].parse().unwrap();
        let (sender, mut lines) = mpsc::unbounded_channel::<Bytes>();
        for (_, object) in state.objects.iter().filter(|(at, _)| is_of(at, &path)) {
            let version = object["metadata"]["resourceVersion"].as_str().unwrap();
            if version.parse::<u64>().unwrap() > since {
                let line = json!({"type": "ADDED", "object": object});
                sender.send(format!("{line}\n").into()).unwrap();
            }
        }
        state.watchers.push((path, sender));
        let stream = futures_util::stream::poll_fn(move |context| {
            lines
                .poll_recv(context)
                .map(|line| line.map(|line| Ok(Frame::data(line))))
        });
        return Response::new(StreamBody::new(stream).boxed());
    }
    if is_list {
        let _ = gates.lists.wait_for(|open| *open).await;
        let state = state.lock().unwrap();
        let from: usize = query.get("continue").map_or(0, |at| at.parse().unwrap());
        let all: Vec<&Value> = state
            .objects
            .iter()
            .filter(|(at, _)| is_of(at, &path))
            .map(|(_, object)| object)
            .collect();
        let end = (from + state.page).min(all.len());
        let next = if end < all.len() {
            end.to_string()
        } else {
            String::new()
        };
        return document(&json!({
            "kind": "PartialObjectMetadataList",
            "metadata": {"resourceVersion": state.version.to_string(), "continue": next},
            // As the real one does it where there is nothing.
            "items": if all.is_empty() { Value::Null } else { json!(all[from..end]) },
        }));
    }
    let _ = gates.reads.wait_for(|open| *open).await;
    if verb == "PATCH" {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let manifest: Value = serde_json::from_slice(&body).unwrap();
        let mut state = state.lock().unwrap();
        let query: Vec<String> = query.into_iter().map(|(k, v)| format!("{k}={v}")).collect();
        state
            .applied
            .push(json!({"query": query.join("&"), "manifest": manifest}));
        return document(&manifest);
    }
    match state.lock().unwrap().objects.get(&path) {
        Some(object) => document(object),
        None => failure(StatusCode::NOT_FOUND, "not found"),
    }
}

fn document(value: &Value) -> Response<Body> {
    Response::new(Full::from(value.to_string()).boxed())
}

fn failure(status: StatusCode, message: &str) -> Response<Body> {
    let value =
        json!({"kind": "Status", "status": "Failure", "message": message, "code": status.as_u16()});
    let mut response = document(&value);
    *response.status_mut() = status;
    response
}
