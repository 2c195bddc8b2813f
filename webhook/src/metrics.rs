//! What Prometheus reads.

use std::{
    fmt,
    sync::atomic::{AtomicI64, AtomicU64},
    time::Duration,
};

use cwii_contract::Provider;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeMetric, text::encode},
    metrics::{
        MetricType, counter::Counter, family::Family, gauge::Gauge, histogram::Histogram,
        info::Info,
    },
    registry::{Metric, Registry},
};

use crate::{kind::Kind, log::Dropped, rotation::Phase, watch::Caches};

/// All metrics of the process.
pub struct Metrics {
    registry: Described,
    requests: Family<Request, Counter>,
    injections: Family<Injection, Counter>,
    duration: Histogram,
    live_reads: Family<LiveRead, Counter>,
    objects: Family<KindLabel, Gauge>,
    age: Family<KindLabel, Gauge<f64, AtomicU64>>,
    synced: Family<KindLabel, Gauge>,
    expiry: Gauge<i64, AtomicI64>,
    reloads: Family<Reload, Counter>,
    rotation: Family<RotationLabel, Gauge>,
    certificate_check: Gauge<i64, AtomicI64>,
    bundle_mismatch: Gauge,
    bundle_overwritten: Counter,
    certificates_made: Counter,
    handshakes: Family<Handshake, Counter>,
    dropped_lines: Counter,
}

/// What there is to say about one metric.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Description {
    /// Its name, as Prometheus has it.
    pub name: String,
    /// `counter`, `gauge`, `histogram` or `info`.
    pub kind: &'static str,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it counts, one sentence without a period.
    pub help: &'static str,
}

/// A registry that keeps what it was told.
struct Described {
    prefix: &'static str,
    registry: Registry,
    descriptions: Vec<Description>,
}

impl Described {
    fn new(prefix: &'static str) -> Self {
        Self {
            prefix,
            registry: Registry::with_prefix(prefix),
            descriptions: Vec::new(),
        }
    }

    fn register(
        &mut self,
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        metric: impl Metric,
    ) {
        // The suffixes of OpenMetrics' text format, which are part of a series' name.
        let (kind, suffix) = match EncodeMetric::metric_type(&metric) {
            MetricType::Counter => ("counter", "_total"),
            MetricType::Gauge => ("gauge", ""),
            MetricType::Histogram => ("histogram", ""),
            MetricType::Info => ("info", "_info"),
            _ => ("unknown", ""),
        };
        self.descriptions.push(Description {
            name: format!("{}_{name}{suffix}", self.prefix),
            kind,
            labels,
            help,
        });
        self.registry.register(name, help, metric);
    }
}

/// Why a TLS handshake failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HandshakeFailure {
    /// The client does not trust the certificate: the `caBundle` of the configuration and what is served differ.
    CertificateRefused,
    /// It was not completed in time.
    Timeout,
    /// Anything else, such as a port scan.
    Other,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct Request {
    /// `injected`, `passed`, `denied`, `failed` (the webhook could not answer), `rejected` (not an admission review of a
    /// pod) or `panicked`.
    pub outcome: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// How a live read ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReadResult {
    /// The object is there.
    Found,
    /// There is no such object.
    NotFound,
    /// It could not be read.
    Error,
}

#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Injection {
    provider: &'static str,
}

#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct LiveRead {
    kind: &'static str,
    result: &'static str,
}

#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Reload {
    result: &'static str,
}

#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RotationLabel {
    phase: &'static str,
}

#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Handshake {
    reason: &'static str,
}

impl Handshake {
    fn new(failure: HandshakeFailure) -> Self {
        Self {
            reason: match failure {
                HandshakeFailure::CertificateRefused => "certificate_refused",
                HandshakeFailure::Timeout => "timeout",
                HandshakeFailure::Other => "other",
            },
        }
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Build {
    version: String,
}

impl Metrics {
    /// Metrics of a process of this version.
    #[must_use]
    pub fn new(version: &str) -> Self {
        let mut registry = Described::new("cwii_webhook");
        let new = Self {
            requests: Family::default(),
            injections: Family::default(),
            duration: Histogram::new(BUCKETS),
            live_reads: Family::default(),
            objects: Family::default(),
            age: Family::default(),
            synced: Family::default(),
            expiry: Gauge::default(),
            reloads: Family::default(),
            rotation: Family::default(),
            certificate_check: Gauge::default(),
            bundle_mismatch: Gauge::default(),
            bundle_overwritten: Counter::default(),
            certificates_made: Counter::default(),
            handshakes: Family::default(),
            dropped_lines: Counter::default(),
            registry: Described::new(""),
        };
        // A counter that appears with its first increment hides that increment from `rate()`.
        for provider in Provider::ALL {
            let provider = provider.as_str();
            let _ = new.injections.get_or_create(&Injection { provider });
        }
        for result in ["success", "failure"] {
            let _ = new.reloads.get_or_create(&Reload { result });
        }
        for failure in [
            HandshakeFailure::CertificateRefused,
            HandshakeFailure::Timeout,
            HandshakeFailure::Other,
        ] {
            let _ = new.handshakes.get_or_create(&Handshake::new(failure));
        }
        for kind in Kind::WATCHED {
            for result in [ReadResult::Found, ReadResult::NotFound, ReadResult::Error] {
                let _ = new.live_reads.get_or_create(&LiveRead::new(kind, result));
            }
        }
        registry.register(
            "requests",
            &["outcome", "reason"],
            "Requests to /mutate by how they ended and why",
            new.requests.clone(),
        );
        registry.register(
            "injections",
            &["provider"],
            "Pods into which a provider was injected",
            new.injections.clone(),
        );
        registry.register(
            "request_duration_seconds",
            &[],
            "Time from the first byte of a request to /mutate that was read until its answer was ready",
            new.duration.clone(),
        );
        registry.register(
            "live_reads",
            &["kind", "result"],
            "Objects that the watches had not seen and that were read from the API server",
            new.live_reads.clone(),
        );
        registry.register(
            "cache_objects",
            &["kind"],
            "Objects seen by a watch",
            new.objects.clone(),
        );
        registry.register(
            "cache_age_seconds",
            &["kind"],
            "Time since the API server last said something on a watch; bookmarks come about every minute",
            new.age.clone(),
        );
        registry.register(
            "cache_synced",
            &["kind"],
            "1 when a kind was listed whole, else 0",
            new.synced.clone(),
        );
        registry.register(
            "tls_handshake_failures",
            &["reason"],
            "TLS handshakes that failed; certificate_refused: the API server does not trust what is served",
            new.handshakes.clone(),
        );
        registry.register(
            "certificate_expiry_timestamp_seconds",
            &[],
            "When the served certificate expires, seconds since 1970; 0 while there is none",
            new.expiry.clone(),
        );
        registry.register(
            "certificate_reloads",
            &["result"],
            "Certificate files that were loaded, at start and after each change",
            new.reloads.clone(),
        );
        registry.register(
            "certificate_rotation",
            &["phase"],
            "1 for the phase that the certificate of --tls-secret is in, else 0: waiting (there is none), steady, before_switch, after_switch",
            new.rotation.clone(),
        );
        registry.register(
            "certificate_check_timestamp_seconds",
            &[],
            "When the Secret and the configuration of --tls-secret were last read, seconds since 1970; 0 without it, or before the first time",
            new.certificate_check.clone(),
        );
        registry.register(
            "certificate_bundle_mismatch",
            &[],
            "1 when the configuration's caBundle, as last read, does not trust the certificate that --tls-secret serves, else 0",
            new.bundle_mismatch.clone(),
        );
        registry.register(
            "certificate_bundle_overwritten",
            &[],
            "How often this replica found that somebody else had changed the caBundle",
            new.bundle_overwritten.clone(),
        );
        registry.register(
            "certificates_made",
            &[],
            "Certificates that this replica made for --tls-secret",
            new.certificates_made.clone(),
        );
        registry.register(
            "log_lines_dropped",
            &[],
            "Log lines that nobody read in time",
            new.dropped_lines.clone(),
        );
        registry.register(
            "build",
            &["version"],
            "Version of the webhook",
            Info::new(Build {
                version: version.to_owned(),
            }),
        );
        Self { registry, ..new }
    }

    /// What there is.
    #[must_use]
    pub fn descriptions(&self) -> &[Description] {
        &self.registry.descriptions
    }

    /// Counts a request to `/mutate` and the time that it took.
    pub fn request(&self, request: Request, took: Duration) {
        self.requests.get_or_create(&request).inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// Counts the injection of a provider into a pod.
    pub fn injection(&self, provider: Provider) {
        let provider = provider.as_str();
        self.injections.get_or_create(&Injection { provider }).inc();
    }

    /// Counts a TLS handshake that failed.
    pub fn handshake_failed(&self, failure: HandshakeFailure) {
        self.handshakes
            .get_or_create(&Handshake::new(failure))
            .inc();
    }

    /// Counts a live read.
    pub fn live_read(&self, kind: Kind, result: ReadResult) {
        self.live_reads
            .get_or_create(&LiveRead::new(kind, result))
            .inc();
    }

    /// Sets when the served certificate expires, in seconds since 1970.
    pub fn set_certificate_expiry(&self, timestamp: i64) {
        self.expiry.set(timestamp);
    }

    /// Counts an attempt to load the certificate.
    pub fn count_certificate_reload(&self, success: bool) {
        self.reloads.get_or_create(&Reload::new(success)).inc();
    }

    /// How many attempts to load the certificate ended so.
    #[must_use]
    pub fn certificate_reloads(&self, success: bool) -> u64 {
        self.reloads.get_or_create(&Reload::new(success)).get()
    }

    /// Sets which phase the shared certificate is in.
    pub fn set_rotation(&self, phase: Phase) {
        for each in Phase::ALL {
            let label = RotationLabel {
                phase: each.as_str(),
            };
            let gauge = self.rotation.get_or_create(&label);
            gauge.set(i64::from(each == phase));
        }
    }

    /// Sets when the shared certificate was last looked at, in seconds since 1970, and whether what is served is trusted.
    pub fn set_certificate_check(&self, timestamp: i64, trusted: bool) {
        self.certificate_check.set(timestamp);
        self.bundle_mismatch.set(i64::from(!trusted));
    }

    /// Counts a bundle that somebody else has changed.
    pub fn count_bundle_overwritten(&self) {
        self.bundle_overwritten.inc();
    }

    /// Counts a certificate that was made to be shared.
    pub fn count_certificate_made(&self) {
        self.certificates_made.inc();
    }

    /// The page, in OpenMetrics text.
    #[must_use]
    pub fn page(&self, caches: &Caches, dropped_lines: &Dropped) -> String {
        for cache in caches.iter() {
            let label = KindLabel {
                kind: cache.kind.name(),
            };
            let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
            self.objects
                .get_or_create(&label)
                .set(count(cache.store.len()));
            self.synced
                .get_or_create(&label)
                .set(i64::from(cache.is_synced()));
            if let Some(age) = cache.age() {
                self.age.get_or_create(&label).set(age.as_secs_f64());
            }
        }
        let untold = dropped_lines
            .count()
            .saturating_sub(self.dropped_lines.get());
        self.dropped_lines.inc_by(untold);
        let mut page = String::new();
        // Writing into a string does not fail.
        let _ = encode(&mut page, &self.registry.registry);
        page
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl LiveRead {
    fn new(kind: Kind, result: ReadResult) -> Self {
        Self {
            kind: kind.name(),
            result: match result {
                ReadResult::Found => "found",
                ReadResult::NotFound => "not_found",
                ReadResult::Error => "error",
            },
        }
    }
}

impl Reload {
    fn new(success: bool) -> Self {
        Self {
            result: if success { "success" } else { "failure" },
        }
    }
}

/// Content type of the page.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Seconds. From a tenth of a millisecond, where most requests end, to the longest time an API server waits.
const BUCKETS: [f64; 16] = [
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
    30.0,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_is_described_with_its_kind_and_labels() {
        let metrics = Metrics::new("1.2.3");
        let request = Request {
            outcome: "passed",
            reason: "not_asked_for",
        };
        metrics.request(request, Duration::from_millis(1));
        let mut page = String::new();
        encode(&mut page, &metrics.registry.registry).unwrap();
        let mut kind = "";
        let mut seen = 0;
        for line in page.lines() {
            if let Some(typed) = line.strip_prefix("# TYPE ") {
                kind = typed.split_once(' ').unwrap().1;
            }
            if line.starts_with('#') {
                continue;
            }
            let (series, _) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let name = ["_bucket", "_sum", "_count"]
                .iter()
                .filter(|_| kind == "histogram")
                .fold(name, |name, suffix| name.trim_end_matches(suffix));
            let mut labels: Vec<&str> = labels
                .split(',')
                .filter_map(|label| Some(label.split_once('=')?.0))
                .filter(|label| *label != "le")
                .collect();
            labels.sort_unstable();
            let described = metrics
                .descriptions()
                .iter()
                .find(|described| described.name == name)
                .unwrap_or_else(|| panic!("{line}"));
            assert_eq!(described.kind, kind, "{line}");
            let mut expected = described.labels.to_vec();
            expected.sort_unstable();
            assert_eq!(labels, expected, "{line}");
            seen += 1;
        }
        assert!(seen > metrics.descriptions().len(), "{page}");
    }
}
