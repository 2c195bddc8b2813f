//! The paths that are served, and the course of one admission.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use bytes::Bytes;
use cwii_contract::{Pod, Settings, Warning, patch, plan, types::shorten};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tracing::{Level, debug, error, info, warn};

use crate::{
    cluster::Cluster,
    delivery::Delivery,
    log::{self, printable},
    lookup::Lookup,
    metrics::{self, Metrics},
    review::{self, Answer, Rejection},
    server::{ClientNames, Phase},
    tls::Tls,
    watch::Caches,
};

/// What the handlers share.
#[derive(Debug)]
pub struct App {
    parts: Parts,
    lookup: Lookup,
    delivery: Delivery,
}

/// What an [`App`] is made of.
#[derive(Debug)]
pub struct Parts {
    /// What the operator decided.
    pub settings: Settings,
    /// How long objects that no cache has seen may be looked for.
    pub lookup_timeout: Duration,
    /// Names of which a client's certificate must carry one; empty: any certificate. None: no certificate is asked for.
    pub client_names: Option<Vec<String>>,
    /// The Kubernetes API.
    pub cluster: Arc<Cluster>,
    /// What the watches have seen.
    pub caches: Arc<Caches>,
    /// The certificate.
    pub tls: Arc<Tls>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Count of log lines that were dropped.
    pub dropped_lines: log::Dropped,
    /// How far the end of the process is.
    pub phase: watch::Receiver<Phase>,
}

impl App {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            lookup: Lookup::new(
                Arc::clone(&parts.caches),
                Arc::clone(&parts.cluster),
                Arc::clone(&parts.metrics),
            ),
            delivery: Delivery::new(Arc::clone(&parts.cluster)),
            parts,
        })
    }

    /// The paths of the https port.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/mutate", post(mutate))
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .fallback(not_found)
            .method_not_allowed_fallback(wrong_method)
            .with_state(Arc::clone(self))
    }

    /// The paths of the metrics port. The probes are there too, for where the https port asks for client certificates
    /// that a kubelet does not have, and for a certificate that is not there yet.
    pub fn metrics_router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/metrics", get(metrics_page))
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .fallback(not_found)
            .method_not_allowed_fallback(wrong_method)
            .with_state(Arc::clone(self))
    }

    /// Why the process is not ready; none when it is.
    #[must_use]
    pub fn unready(&self) -> Option<String> {
        if *self.parts.phase.borrow() > Phase::Serving {
            return Some("the process is ending".into());
        }
        if let Some(why) = self.parts.tls.unready() {
            return Some(why);
        }
        let kind = self.parts.caches.waiting_for()?;
        Some(format!("the first list of {} is not complete", kind.name()))
    }

    /// Answers one request to `/mutate`.
    async fn answer(&self, request: Request, begin: Instant) -> Result<Done, Failure> {
        let (parts, body) = request.into_parts();
        self.check_client(parts.extensions.get::<ClientNames>())?;
        check_content_type(&parts.headers)?;
        let body = read(body, &parts.headers).await?;
        self.review(&body, begin, begin + self.budget(&parts.uri))
            .await
    }

    async fn review(
        &self,
        body: &[u8],
        begin: Instant,
        deadline: Instant,
    ) -> Result<Done, Failure> {
        let request = review::Request::parse(body)?;
        let mut record = Record {
            uid: &request.uid,
            pod: None,
            dry_run: false,
            injected: None,
            begin,
        };
        let Some(pod) = &request.pod else {
            return Ok(record.pass(Level::DEBUG, "operation", &Answer::default()));
        };
        let namespace = match (&*request.namespace, pod.namespace()) {
            ("", None | Some("")) => {
                let text = "expected the pod's namespace in `request.namespace`, found none";
                return Err(bad_request("namespace", text.into()).into());
            }
            ("", Some(namespace)) => namespace,
            (namespace, _) => namespace,
        };
        record.pod = Some((namespace, pod));
        record.dry_run = request.dry_run;

        let layers = match self.lookup.layers(namespace, pod, deadline).await {
            Ok(layers) => layers,
            Err(error) => return Err(record.fail("lookup", error.to_string())),
        };
        if layers.is_empty() {
            return Ok(record.pass(Level::DEBUG, "nothing_requested", &Answer::default()));
        }
        let mut planned = match plan(pod, &layers, &self.parts.settings) {
            Ok(planned) => planned,
            Err(denial) => return Ok(record.deny(denial.to_string())),
        };
        if self.parts.settings.config_map_delivery && !request.dry_run {
            for config_map in planned.config_maps() {
                if let Err(error) = self.delivery.ensure(namespace, config_map, deadline).await {
                    return Err(record.fail("config_map", error.to_string()));
                }
            }
        }
        let mut warnings = std::mem::take(&mut planned.warnings);
        let patch = patch(pod, &planned);
        warnings.extend(patch.warnings.iter().cloned());
        let mut answer = Answer {
            warnings: Warning::limit(warnings),
            ..Answer::default()
        };
        if patch.operations.is_empty() {
            let reason = if planned.injects() {
                "unchanged"
            } else {
                "not_activated"
            };
            answer.audit = vec![("decision", format!("{PASSED}: {reason}"))];
            // Who asked for something and did not get it finds that without raising the level.
            let level = if answer.warnings.is_empty() {
                Level::DEBUG
            } else {
                Level::INFO
            };
            return Ok(record.pass(level, reason, &answer));
        }
        for provider in &patch.injected {
            self.parts.metrics.injection(*provider);
        }
        answer.patch = match patch.to_json() {
            Ok(json) => Some(json),
            Err(error) => {
                return Err(record.fail("patch", format!("no patch could be made: {error}")));
            }
        };
        let injected = planned.injected();
        answer.audit = vec![
            ("decision", format!("{INJECTED}: requested")),
            ("injected", injected.clone()),
        ];
        record.injected = Some(injected);
        Ok(record.done(Level::INFO, INJECTED, "requested", &answer))
    }

    /// The API server says how long it will wait. What is looked for live must be found, or given up and said so,
    /// before it hangs up.
    fn budget(&self, uri: &Uri) -> Duration {
        let waits = uri
            .query()
            .into_iter()
            .flat_map(|query| query.split('&'))
            .find_map(|pair| crate::cli::duration(pair.strip_prefix("timeout=")?).ok());
        waits.map_or(self.parts.lookup_timeout, |waits| {
            self.parts.lookup_timeout.min(waits.mul_f64(0.8))
        })
    }

    fn check_client(&self, client: Option<&ClientNames>) -> Result<(), Rejection> {
        let Some(allowed) = &self.parts.client_names else {
            return Ok(());
        };
        let Some(ClientNames(names)) = client else {
            return Err(Rejection::new(
                StatusCode::UNAUTHORIZED,
                "client_certificate",
                "expected a client certificate, found none",
            ));
        };
        if allowed.is_empty() || names.iter().any(|name| allowed.contains(name)) {
            return Ok(());
        }
        let names: Vec<_> = names
            .iter()
            .map(|name| format!("`{}`", shorten(name)))
            .collect();
        Err(Rejection::new(
            StatusCode::FORBIDDEN,
            "client_certificate",
            format!(
                "expected a client certificate for one of the names that --client-name lists, found one for {}",
                names.join(", ")
            ),
        ))
    }
}

/// An answer with what is counted.
struct Done {
    body: Vec<u8>,
    label: metrics::Request,
}

/// What is logged of an admission. Text from outside is made printable only if the line is written.
struct Record<'a> {
    uid: &'a str,
    pod: Option<(&'a str, &'a Pod)>,
    dry_run: bool,
    injected: Option<String>,
    begin: Instant,
}

impl Record<'_> {
    fn pass(&self, level: Level, reason: &'static str, answer: &Answer) -> Done {
        self.done(level, PASSED, reason, answer)
    }

    fn deny(&self, message: String) -> Done {
        let answer = Answer {
            audit: vec![("decision", format!("{DENIED}: invalid_value"))],
            denial: Some(message),
            ..Answer::default()
        };
        self.done(Level::WARN, DENIED, "invalid_value", &answer)
    }

    fn fail(&self, reason: &'static str, text: String) -> Failure {
        self.log(Level::WARN, FAILED, reason, 0, Some(&text));
        Failure::Unanswerable { reason, text }
    }

    fn done(
        &self,
        level: Level,
        outcome: &'static str,
        reason: &'static str,
        answer: &Answer,
    ) -> Done {
        let warnings = answer.warnings.len();
        self.log(level, outcome, reason, warnings, answer.denial.as_deref());
        if tracing::enabled!(Level::DEBUG) {
            for warning in &answer.warnings {
                debug!(
                    uid = printable(self.uid),
                    warning = printable(warning),
                    "warning"
                );
            }
        }
        Done {
            body: answer.to_json(self.uid),
            label: label(outcome, reason),
        }
    }

    fn log(
        &self,
        level: Level,
        outcome: &'static str,
        reason: &'static str,
        warnings: usize,
        error: Option<&str>,
    ) {
        macro_rules! line {
            ($at:ident) => {
                $at!(
                    uid = printable(self.uid),
                    namespace = self.pod.map(|(namespace, _)| printable(namespace)),
                    pod = self
                        .pod
                        .map(|(namespace, pod)| printable(&pod.object(namespace).name)),
                    outcome,
                    reason,
                    injected = self.injected,
                    warnings,
                    dry_run = self.dry_run,
                    error = error.map(printable),
                    took_ms = millis(self.begin),
                    "admission"
                )
            };
        }
        // A level belongs to a place in the code.
        match level {
            Level::DEBUG => line!(debug),
            Level::INFO => line!(info),
            _ => line!(warn),
        }
    }
}

/// A request without an admission as its answer.
enum Failure {
    /// The request is at fault.
    Rejected(Rejection),
    /// We are: the API server shall do what failurePolicy says.
    Unanswerable { reason: &'static str, text: String },
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

async fn mutate(State(app): State<Arc<App>>, request: Request) -> Response {
    let begin = Instant::now();
    let (label, response) = respond(app.answer(request, begin)).await;
    app.parts.metrics.request(label, begin.elapsed());
    response
}

/// An answer, or what stands for it. A panic is a defect of ours and ends this request alone.
async fn respond(
    answer: impl Future<Output = Result<Done, Failure>>,
) -> (metrics::Request, Response) {
    match AssertUnwindSafe(answer).catch_unwind().await {
        Ok(Ok(done)) => (done.label, json(done.body)),
        Ok(Err(Failure::Rejected(rejection))) => {
            warn!(
                outcome = REJECTED,
                reason = rejection.reason,
                error = printable(&rejection.text),
                "admission"
            );
            let label = label(REJECTED, rejection.reason);
            (label, text(rejection.status, rejection.text))
        }
        Ok(Err(Failure::Unanswerable { reason, text: why })) => {
            (label(FAILED, reason), text(UNANSWERABLE, why))
        }
        Err(panic) => {
            let why = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            error!(
                outcome = PANICKED,
                reason = "panic",
                error = printable(&why),
                "admission"
            );
            let why = "a defect of cwii-webhook: its log says more".into();
            (
                label(PANICKED, "panic"),
                text(StatusCode::INTERNAL_SERVER_ERROR, why),
            )
        }
    }
}

async fn healthz() -> Response {
    text(StatusCode::OK, "ok".into())
}

async fn readyz(State(app): State<Arc<App>>) -> Response {
    match app.unready() {
        None => text(StatusCode::OK, "ok".into()),
        Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}")),
    }
}

async fn metrics_page(State(app): State<Arc<App>>) -> Response {
    let page = app
        .parts
        .metrics
        .page(&app.parts.caches, &app.parts.dropped_lines);
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], page).into_response()
}

async fn not_found(uri: Uri) -> Response {
    let why = format!("there is nothing at `{}`", shorten(uri.path()));
    text(StatusCode::NOT_FOUND, why)
}

async fn wrong_method(request: Request) -> Response {
    let why = format!(
        "`{}` does not accept {}",
        shorten(request.uri().path()),
        shorten(request.method().as_str())
    );
    text(StatusCode::METHOD_NOT_ALLOWED, why)
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Rejection> {
    let found = headers
        .get(header::CONTENT_TYPE)
        .map(|value| value.to_str().unwrap_or("something unreadable"));
    let essence = found
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    if essence.trim().eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Rejection::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "content_type",
        match found {
            Some(found) => format!(
                "expected content type `application/json`, found `{}`",
                shorten(found)
            ),
            None => "expected content type `application/json`, found none".into(),
        },
    ))
}

async fn read(body: Body, headers: &HeaderMap) -> Result<Bytes, Rejection> {
    let too_large = || {
        Rejection::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!("expected at most {MAX_BODY_BYTES} bytes, found more"),
        )
    };
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > MAX_BODY_BYTES as u64) {
        return Err(too_large());
    }
    let whole = timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY_BYTES).collect()).await;
    match whole {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(bad_request(
            "body",
            format!("the body could not be read: {error}"),
        )),
        Err(_) => Err(Rejection::new(
            StatusCode::REQUEST_TIMEOUT,
            "body",
            format!("expected the body within {} s", BODY_TIMEOUT.as_secs()),
        )),
    }
}

fn bad_request(reason: &'static str, text: String) -> Rejection {
    Rejection::new(StatusCode::BAD_REQUEST, reason, text)
}

fn json(body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

fn text(status: StatusCode, text: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, printable(&text) + "\n").into_response()
}

fn label(outcome: &'static str, reason: &'static str) -> metrics::Request {
    metrics::Request { outcome, reason }
}

/// Milliseconds with three digits.
fn millis(begin: Instant) -> f64 {
    (begin.elapsed().as_secs_f64() * 1_000_000.0).round() / 1000.0
}

const INJECTED: &str = "injected";
const PASSED: &str = "passed";
const DENIED: &str = "denied";
const FAILED: &str = "failed";
const REJECTED: &str = "rejected";
const PANICKED: &str = "panicked";

/// The API server repeats the body of this one to the person who made the request, which of 503 it does not.
const UNANSWERABLE: StatusCode = StatusCode::BAD_GATEWAY;
/// etcd takes 1.5 MiB of an object, and a review carries it twice at most.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;
/// The longest time that an API server waits for a webhook is 30 seconds.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_an_answer() {
        let (label, response) = respond(async { panic!("oh\nno") }).await;
        assert_eq!((label.outcome, label.reason), ("panicked", "panic"));
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[test]
    fn only_json_is_accepted_whatever_its_parameters() {
        let check = |value: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
            }
            check_content_type(&headers).map_err(|r| r.text)
        };
        assert_eq!(check(Some("application/json")), Ok(()));
        assert_eq!(check(Some("Application/JSON; charset=utf-8")), Ok(()));
        assert_eq!(
            check(Some("application/yaml")).unwrap_err(),
            "expected content type `application/json`, found `application/yaml`"
        );
        assert!(check(None).unwrap_err().ends_with("found none"));
        assert!(check(Some("application/jsonp")).is_err());
    }
}
