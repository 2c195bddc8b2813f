//! The life of the process: start, serve, leave.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use kube::{
    Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::{
    sync::watch as channel,
    time::{Instant, sleep, timeout},
};
use tracing::{info, warn};

use crate::{
    app::{App, Parts},
    cli::{Options, VERSION},
    cluster::Cluster,
    log::Dropped,
    metrics::Metrics,
    server::{self, Phase, Secured},
    share,
    tls::{Tls, TlsError},
    watch::Caches,
};

/// Why the process could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration for the cluster cannot be read or used.
    #[error("no way to reach the cluster: {0}")]
    Cluster(String),
    /// The certificate that was to be made could not be.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address cannot be listened on.
    #[error("{flag} {address} cannot be listened on: {error}")]
    Listen {
        /// The flag that names it.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
}

/// Serves until `end` is there, and then for as long as the options say.
///
/// # Errors
///
/// The process could not start. Once it serves, nothing but its end ends it.
pub async fn run(
    options: Options,
    dropped_lines: Dropped,
    end: impl Future<Output = &'static str>,
) -> Result<(), StartError> {
    let config = cluster_config(options.kubeconfig.as_ref()).await?;
    let cluster = Cluster::new(&config, options.settings.native_annotations)
        .map_err(|e| StartError::Cluster(e.to_string()))?;
    let cluster = Arc::new(cluster);
    let metrics = Arc::new(Metrics::new(VERSION));
    let client_ca = options.client.as_ref().map(|client| client.ca.clone());
    let tls = Arc::new(Tls::start(options.certificate, client_ca, &metrics)?);
    let caches = Arc::new(Caches::new());
    let (phase, watched_phase) = channel::channel(Phase::Serving);
    let app = App::new(Parts {
        settings: options.settings,
        lookup_timeout: options.lookup_timeout,
        client_names: options.client.map(|client| client.names),
        cluster: Arc::clone(&cluster),
        caches: Arc::clone(&caches),
        tls: Arc::clone(&tls),
        metrics: Arc::clone(&metrics),
        dropped_lines,
        phase: watched_phase.clone(),
    });

    let listen = |flag: &'static str, address: SocketAddr| {
        let listener = server::listen(address);
        listener.map_err(|error| StartError::Listen {
            flag,
            address,
            error,
        })
    };
    let https = listen("--listen", options.listen)?;
    let http = listen("--metrics-listen", options.metrics_listen)?;
    let local = |listener: &tokio::net::TcpListener| {
        listener
            .local_addr()
            .map(|address| address.to_string())
            .unwrap_or_default()
    };
    info!(
        version = VERSION,
        https = local(&https),
        http = local(&http),
        cluster = config.cluster_url.to_string(),
        "listening"
    );

    caches.start(&cluster);
    let reload = tokio::spawn({
        let (tls, metrics) = (Arc::clone(&tls), Arc::clone(&metrics));
        let cluster = Arc::clone(&cluster);
        async move {
            match tls.shared().cloned() {
                Some(shared) => share::keep(shared, cluster, tls, metrics).await,
                None => tls.keep(&metrics).await,
            }
        }
    });
    let tell_ready = tokio::spawn(tell_ready(Arc::clone(&app)));
    let serving = tokio::spawn(server::serve(
        https,
        Some(Secured { tls, metrics }),
        app.router(),
        watched_phase.clone(),
    ));
    let serving_metrics = tokio::spawn(server::serve(
        http,
        None,
        app.metrics_router(),
        watched_phase,
    ));

    let signal = end.await;
    tell_ready.abort();
    // Readiness fails from here on. Whoever has not heard of it is served as before, but asked to go.
    phase.send_replace(Phase::Leaving);
    info!(
        signal,
        grace_period_s = options.grace_period.as_secs_f64(),
        "leaving"
    );
    sleep(options.grace_period).await;
    phase.send_replace(Phase::Closing);
    let both = async {
        let _ = tokio::join!(serving, serving_metrics);
    };
    match timeout(options.drain_timeout, both).await {
        Ok(()) => info!("all requests are answered"),
        Err(_) => warn!("connections that had not ended are cut"),
    }
    reload.abort();
    Ok(())
}

async fn tell_ready(app: Arc<App>) {
    let begin = Instant::now();
    while app.unready().is_some() {
        sleep(READY_POLL).await;
    }
    info!(after_s = begin.elapsed().as_secs_f64(), "ready");
}

/// As `--kubeconfig` says, else as a pod in the cluster, else as the machine's kubeconfig says.
async fn cluster_config(kubeconfig: Option<&PathBuf>) -> Result<Config, StartError> {
    let problem = |error: &dyn std::error::Error| {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            let cause = error.to_string();
            if !text.contains(&cause) {
                text = format!("{text}: {cause}");
            }
            source = error.source();
        }
        StartError::Cluster(text)
    };
    let options = KubeConfigOptions::default();
    match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).map_err(|e| problem(&e))?;
            Config::from_custom_kubeconfig(file, &options)
                .await
                .map_err(|e| problem(&e))
        }
        None if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() => {
            Config::incluster().map_err(|e| problem(&e))
        }
        None => Config::from_kubeconfig(&options)
            .await
            .map_err(|e| problem(&e)),
    }
}

const READY_POLL: Duration = Duration::from_millis(50);
