//! The webhook in this process, on free loopback ports.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cwii_contract::Settings;
use cwii_webhook::{
    app::{App, Parts},
    cluster::Cluster,
    kind::Kind,
    log::Dropped,
    metrics::Metrics,
    server::{self, Phase, Secured},
    tls::{CertificateSource, Tls},
    watch::Caches,
};
use kube::Config;
use serde_json::Value;
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use super::{
    api::FakeApi,
    client::{Alpn, Client},
};

pub(crate) struct Webhook {
    pub(crate) tls: Arc<Tls>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) https: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) ca: String,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) serving: JoinHandle<()>,
    caches: Arc<Caches>,
    cluster: Arc<Cluster>,
    _dir: tempfile::TempDir,
}

/// What a test may want otherwise.
pub(crate) struct Setup {
    pub(crate) settings: Settings,
    pub(crate) lookup_timeout: Duration,
    pub(crate) client_ca: Option<String>,
    pub(crate) client_names: Vec<String>,
    pub(crate) certificate: Option<CertificateSource>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            settings: Settings::new("0.1.0").unwrap(),
            lookup_timeout: Duration::from_secs(20),
            client_ca: None,
            client_names: Vec::new(),
            certificate: None,
        }
    }
}

impl Webhook {
    /// Serves, with watches running and in sync.
    pub(crate) async fn synced(api: &FakeApi) -> Self {
        let webhook = Self::cold(api, Setup::default()).await;
        webhook.watch(api).await;
        webhook
    }

    /// Serves without watches: nothing was seen.
    pub(crate) async fn cold(api: &FakeApi, setup: Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca_path = dir.path().join("ca.pem");
        let metrics = Arc::new(Metrics::new("0.1.0"));
        let source = setup.certificate.unwrap_or(CertificateSource::SelfSigned {
            names: vec!["localhost".into(), "127.0.0.1".into()],
            ca_out: Some(ca_path.clone()),
        });
        let client_ca = setup.client_ca.map(|pem| {
            let path = dir.path().join("client-ca.pem");
            std::fs::write(&path, pem).unwrap();
            path
        });
        let client_names = client_ca.as_ref().map(|_| setup.client_names);
        let tls = Arc::new(Tls::start(source, client_ca, &metrics).unwrap());
        let cluster = Arc::new(
            Cluster::new(
                &Config::new(api.url.clone()),
                setup.settings.native_annotations,
            )
            .unwrap(),
        );
        let caches = Arc::new(Caches::new());
        let (phase, watched) = watch::channel(Phase::Serving);
        let app = App::new(Parts {
            settings: setup.settings,
            lookup_timeout: setup.lookup_timeout,
            client_names,
            cluster: Arc::clone(&cluster),
            caches: Arc::clone(&caches),
            tls: Arc::clone(&tls),
            metrics: Arc::clone(&metrics),
            dropped_lines: Dropped::default(),
            phase: watched.clone(),
        });
        let any = "127.0.0.1:0".parse().unwrap();
        let (https, http) = (server::listen(any).unwrap(), server::listen(any).unwrap());
        let addresses = (https.local_addr().unwrap(), http.local_addr().unwrap());
        let serving = tokio::spawn(server::serve(
            https,
            Some(Secured {
                tls: Arc::clone(&tls),
                metrics: Arc::clone(&metrics),
            }),
            app.router(),
            watched.clone(),
        ));
        tokio::spawn(server::serve(http, None, app.metrics_router(), watched));
        Self {
            tls,
            metrics,
            https: addresses.0,
            http: addresses.1,
            ca: std::fs::read_to_string(ca_path).unwrap_or_default(),
            phase,
            serving,
            caches,
            cluster,
            _dir: dir,
        }
    }

    /// Starts the watches and waits until all are in sync and open.
    pub(crate) async fn watch(&self, api: &FakeApi) {
        let open = api.watches() + Kind::WATCHED.len();
        self.start_watches();
        self.until(|| self.caches.waiting_for().is_none() && api.watches() >= open)
            .await;
    }

    pub(crate) fn start_watches(&self) {
        self.caches.start(&self.cluster);
    }

    /// Waits for a condition that something in this process brings about.
    pub(crate) async fn until(&self, condition: impl Fn() -> bool) {
        let poll = async {
            while !condition() {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(60), poll).await.unwrap();
    }

    pub(crate) fn caches(&self) -> &Caches {
        &self.caches
    }

    /// The metrics page.
    pub(crate) async fn page(&self) -> String {
        let mut client = Client::plain(self.http).await;
        let reply = client.get("/metrics").await;
        assert_eq!(reply.status, http::StatusCode::OK);
        reply.text().to_owned()
    }

    /// The value of one line of the metrics page.
    pub(crate) async fn metric(&self, name: &str) -> Option<f64> {
        let page = self.page().await;
        let line = page.lines().find(|line| line.starts_with(name))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.https, &self.ca, Alpn::Http1).await
    }
}

/// The patch of an admission.
pub(crate) fn patch(response: &Value) -> Option<Vec<Value>> {
    let patch = response["patch"].as_str()?;
    assert_eq!(response["patchType"], "JSONPatch");
    Some(serde_json::from_slice(&STANDARD.decode(patch).unwrap()).unwrap())
}

/// The role that a patch sets, wherever.
pub(crate) fn role(response: &Value) -> Option<String> {
    let patch = serde_json::to_string(&patch(response)?).unwrap();
    let after = patch.split("\"AWS_ROLE_ARN\",\"value\":\"").nth(1)?;
    Some(after.split('"').next()?.to_owned())
}
