//! The certificate that replicas share: reads the Secret and the MutatingWebhookConfiguration, takes the steps that
//! [`crate::rotation`] decides on, and hands over what is to be served.
//!
//! Always the configuration first and then the Secret, and every write names the version that it is for. So a bundle
//! is never written from a Secret older than the one that the bundle in place was written from.
//!
//! Polled, not watched: two small reads every ten seconds need no right to watch, and a certificate lives for months.
//! While the API server is away, what is served is served on.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json, value::RawValue};
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use crate::{
    cluster::{Cluster, ClusterError, FIELD_MANAGER},
    kind::segment,
    log::printable,
    metrics::Metrics,
    pair::{Judged, Pair, Unusable, authorities},
    rotation::{self, Authority, Phase, Reason, Seconds, Shared, Slot, Step, View},
    tls::{SharedCertificate, Tls},
    watch::random_part,
};

/// Keeps the shared certificate of one replica, for ever.
pub async fn keep(
    options: SharedCertificate,
    cluster: Arc<Cluster>,
    tls: Arc<Tls>,
    metrics: Arc<Metrics>,
) {
    let period = (options.overlap / 10).clamp(SHORTEST_PERIOD, LONGEST_PERIOD);
    let mut keeper = Keeper {
        options,
        cluster,
        tls,
        metrics,
        serving: None,
        agreed: false,
        told: String::new(),
        problem: None,
    };
    keeper.metrics.set_rotation(Phase::Waiting);
    loop {
        let result = keeper.look().await;
        keeper.report(result.err());
        let pause = match keeper.tls.unready() {
            Some(_) => period.min(UNREADY_PERIOD),
            None => period,
        };
        // Replicas that were started together shall not ask together for ever.
        sleep(pause.mul_f64(0.8) + random_part(pause.mul_f64(0.4))).await;
    }
}

struct Keeper {
    options: SharedCertificate,
    cluster: Arc<Cluster>,
    tls: Arc<Tls>,
    metrics: Arc<Metrics>,
    /// What new connections are served with.
    serving: Option<Judged>,
    /// Whether the bundle was ever seen to trust what is served: who finds it otherwise then finds a change.
    agreed: bool,
    /// The version of the configuration whose change by somebody else was told.
    told: String,
    /// What went wrong the last time, so that it is told once.
    problem: Option<(&'static str, Option<StatusCode>)>,
}

/// Why a look at the cluster, or a step, came to nothing.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("there is no such Secret")]
    NoSecret,
    #[error("{0}")]
    Secret(ClusterError),
    #[error("there is no such MutatingWebhookConfiguration, or it has no webhook")]
    NoConfiguration,
    #[error("{0}")]
    Configuration(ClusterError),
    #[error("no certificate could be made: {0}")]
    Make(#[from] rcgen::Error),
}

impl Problem {
    /// Which object it is about, and the API server's answer: what makes it another problem.
    fn kind(&self) -> (&'static str, Option<StatusCode>) {
        match self {
            Self::NoSecret => ("Secret", Some(StatusCode::NOT_FOUND)),
            Self::Secret(error) => ("Secret", error.status()),
            Self::NoConfiguration => ("MutatingWebhookConfiguration", Some(StatusCode::NOT_FOUND)),
            Self::Configuration(error) => ("MutatingWebhookConfiguration", error.status()),
            Self::Make(_) => ("certificate", None),
        }
    }
}

/// What is in the cluster.
struct Look {
    secret: Secret,
    configuration: Configuration,
    now: Seconds,
}

impl Keeper {
    /// Looks, and takes steps until there is none to take.
    async fn look(&mut self) -> Result<(), Problem> {
        for _ in 0..MOST_STEPS {
            let look = self.read().await?;
            let bundles = look.configuration.bundles();
            self.serve(&look, &bundles);
            let step = rotation::next(self.view(&look, &bundles));
            if step == Step::Rest {
                self.agreed |= !bundles.is_empty();
                return match bundles.is_empty() {
                    true => Err(Problem::NoConfiguration),
                    false => Ok(()),
                };
            }
            self.tell_overwritten(&look.configuration);
            // These take the bundle for a record of what was, which it is only if it has not changed meanwhile.
            if let Step::Fill(_) | Step::Restore(_) | Step::Keep(_) = step
                && self.read_configuration().await?.version != look.configuration.version
            {
                continue;
            }
            match self.take(&step, &look).await {
                Ok(()) => self.tell(&step, &look),
                // Another replica, or somebody else, was faster.
                Err(Problem::Secret(error) | Problem::Configuration(error))
                    if error.status() == Some(StatusCode::CONFLICT) => {}
                Err(problem) => return Err(problem),
            }
        }
        Ok(())
    }

    async fn read(&self) -> Result<Look, Problem> {
        let configuration = self.read_configuration().await?;
        let (body, now) = self
            .cluster
            .get(&self.secret_path(), Instant::now() + DEADLINE)
            .await
            .map_err(quiet)?
            .ok_or(Problem::NoSecret)?;
        let secret = Secret::parse(&body, &self.options.names, now).map_err(quiet)?;
        Ok(Look {
            secret,
            configuration,
            now,
        })
    }

    async fn read_configuration(&self) -> Result<Configuration, Problem> {
        self.cluster
            .get(&self.configuration_path(), Instant::now() + DEADLINE)
            .await
            .and_then(|found| match found {
                Some((body, _)) => Configuration::parse(&body),
                None => Ok(Configuration::default()),
            })
            .map_err(Problem::Configuration)
    }

    fn view<'a>(&'a self, look: &'a Look, bundles: &'a [Vec<Authority>]) -> View<'a> {
        View {
            shared: &look.secret.shared,
            bundles,
            written: look.configuration.written(),
            serving: self.serving.as_ref().map(|judged| &judged.certificate),
            now: look.now,
            overlap: i64::try_from(self.options.overlap.as_secs()).unwrap_or(i64::MAX),
        }
    }

    /// Serves what is to be served, and notes what was seen.
    fn serve(&mut self, look: &Look, bundles: &[Vec<Authority>]) {
        let current = look.secret.current.as_ref();
        let switches = rotation::switches(self.view(look, bundles));
        let pair = match current.filter(|_| switches) {
            Some(current) => Some(current),
            // It was loaded already; the authorities of clients may be others by now.
            None => self.serving.as_ref(),
        };
        if let Some(judged) = pair {
            self.tls.offer(&judged.pair, &self.metrics);
        }
        if let Some(current) = current
            && self.tls.serves(&current.leaf)
        {
            self.serving = Some(current.clone());
        }
        let serving = self.serving.as_ref().map(|judged| &judged.certificate);
        let trusted = serving.is_some_and(|s| rotation::trusted(bundles, &s.authority));
        if rotation::is_ready(self.view(look, bundles)) {
            self.tls.set_trusted();
        }
        self.metrics.set_rotation(look.secret.shared.phase());
        self.metrics.set_certificate_check(look.now, trusted);
    }

    async fn take(&self, step: &Step, look: &Look) -> Result<(), Problem> {
        let secret = &look.secret;
        let mut change = Change::default();
        match step {
            Step::Rest => return Ok(()),
            Step::Publish(bundle) => return self.publish(bundle, &look.configuration).await,
            Step::Fill(others) => {
                let pair = self.make(&self.options.names, look.now)?;
                change.pair(&CURRENT, Some(&pair));
                change.pair(&NEXT, None);
                change.previous(others, look.now);
                change.annotation(ROTATE, None);
            }
            Step::Restore(others) => {
                change.pair(&CURRENT, self.serving.as_ref().map(|judged| &judged.pair));
                change.pair(&NEXT, None);
                change.previous(others, look.now);
            }
            Step::Keep(others) => {
                let all = secret.shared.previous.iter().chain(others);
                change.previous(all, look.now);
            }
            Step::Stage(reason) => {
                let mut names = self.options.names.clone();
                // While one Deployment replaces another, replicas ask for different names. One certificate for all of
                // them ends that; the next one will be for those alone that are asked for then.
                if *reason == Reason::Names
                    && let Some(current) = &secret.current
                {
                    let known: BTreeSet<_> = names.iter().cloned().collect();
                    let more = current.names.iter().filter(|name| !known.contains(*name));
                    names.extend(more.cloned());
                }
                let pair = self.make(&names, look.now)?;
                change.pair(&NEXT, Some(&pair));
                change.annotation(PUBLISHED, None);
                change.annotation(ROTATE, None);
            }
            Step::Discard => {
                change.pair(&NEXT, None);
                change.annotation(PUBLISHED, None);
            }
            Step::Unmark => change.annotation(PUBLISHED, None),
            Step::Mark => change.annotation(PUBLISHED, Some(look.now)),
            Step::Promote => {
                change.pair(&CURRENT, secret.next.as_ref().map(|judged| &judged.pair));
                change.pair(&NEXT, None);
                change.annotation(PUBLISHED, None);
                let old = secret.current.as_ref().map(|j| &j.certificate.authority);
                let all = secret.shared.previous.iter().chain(old);
                change.previous(all, look.now);
            }
            Step::MarkReplaced => change.annotation(REPLACED, Some(look.now)),
            Step::Drop => change.previous([], look.now),
        }
        let path = format!("{}?fieldManager={FIELD_MANAGER}", self.secret_path());
        let body = change.patch(&secret.version);
        let deadline = Instant::now() + DEADLINE;
        self.cluster
            .patch(&path, MERGE_PATCH, body, deadline)
            .await
            .map_err(quiet)
    }

    /// Server-side apply of `caBundle` alone. The version keeps it from adding a webhook that is gone.
    async fn publish(
        &self,
        bundle: &[Authority],
        configuration: &Configuration,
    ) -> Result<(), Problem> {
        let bundle = STANDARD.encode(to_pem(bundle));
        let webhooks = configuration
            .webhooks
            .iter()
            .map(|webhook| json!({ "name": webhook.name, "clientConfig": { "caBundle": bundle } }));
        let document = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {
                "name": self.options.configuration,
                "resourceVersion": configuration.version,
            },
            "webhooks": webhooks.collect::<Vec<_>>(),
        });
        let path = format!(
            "{}?fieldManager={FIELD_MANAGER}&force=true",
            self.configuration_path()
        );
        let body = Bytes::from(document.to_string());
        let deadline = Instant::now() + DEADLINE;
        self.cluster
            .patch(&path, APPLY_PATCH, body, deadline)
            .await
            .map_err(Problem::Configuration)
    }

    fn make(&self, names: &[String], now: Seconds) -> Result<Pair, rcgen::Error> {
        let now = Duration::from_secs(u64::try_from(now).unwrap_or_default());
        Pair::make(names, SystemTime::UNIX_EPOCH + now, self.options.lifetime)
    }

    /// One line for each step that was taken.
    fn tell(&mut self, step: &Step, look: &Look) {
        let (namespace, name) = &self.options.secret;
        let secret = format!("{namespace}/{name}");
        let configuration = &self.options.configuration;
        let overlap_s = self.options.overlap.as_secs_f64();
        match step {
            Step::Rest | Step::MarkReplaced => {}
            Step::Fill(others) => {
                self.metrics.count_certificate_made();
                info!(
                    secret,
                    found = look.secret.unusable.as_ref().map(ToString::to_string),
                    still_trusted = others.len(),
                    "a certificate was made and written to the Secret"
                );
            }
            Step::Restore(others) => warn!(
                secret,
                found = look.secret.unusable.as_ref().map(ToString::to_string),
                still_trusted = others.len(),
                "the Secret had lost the certificate; what is served was written back"
            ),
            Step::Keep(others) => warn!(
                secret,
                configuration,
                still_trusted = others.len(),
                overlap_s,
                "the caBundle trusts what the Secret does not account for; that stays for an overlap"
            ),
            Step::Stage(reason) => {
                self.metrics.count_certificate_made();
                info!(
                    secret,
                    reason = reason.as_str(),
                    "the next certificate was made"
                );
            }
            Step::Discard => warn!(
                secret,
                "the Secret's next certificate cannot be served and was removed"
            ),
            Step::Publish(bundle) => info!(
                configuration,
                authorities = bundle.len(),
                "the caBundle was written"
            ),
            Step::Unmark => warn!(
                configuration,
                "the caBundle lost the next certificate's authority; the overlap begins again"
            ),
            Step::Mark => info!(
                configuration,
                overlap_s, "the caBundle trusts the next certificate; the overlap begins"
            ),
            Step::Promote => info!(
                secret,
                overlap_s, "the next certificate is the current one; replicas switch to it"
            ),
            Step::Drop => info!(
                secret,
                "the previous certificate's authority is trusted no more"
            ),
        }
    }

    /// Tells when somebody else has changed the bundle, once for each change.
    fn tell_overwritten(&mut self, configuration: &Configuration) {
        if self.agreed && configuration.written().is_none() && self.told != configuration.version {
            self.told.clone_from(&configuration.version);
            self.metrics.count_bundle_overwritten();
            warn!(
                configuration = self.options.configuration,
                by = printable(configuration.last_writer()),
                "somebody else has changed the caBundle; it is put back"
            );
        }
    }

    /// Tells a problem when it begins, and when it is over.
    fn report(&mut self, problem: Option<Problem>) {
        let Some(problem) = problem else {
            if self.problem.take().is_some() {
                info!("Secret and MutatingWebhookConfiguration can be kept again");
            }
            return;
        };
        let kind = problem.kind();
        if self.problem.replace(kind) == Some(kind) {
            return;
        }
        let (object, status) = kind;
        let (namespace, name) = &self.options.secret;
        let name = match object {
            "Secret" => format!("{namespace}/{name}"),
            _ => self.options.configuration.clone(),
        };
        let serving = self.serving.is_some();
        let error = printable(&problem.to_string());
        match status {
            Some(StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED) => error!(
                object,
                name,
                error,
                serving,
                "not allowed: the webhook needs `get` and `patch` on this object"
            ),
            _ => warn!(
                object,
                name,
                error,
                serving,
                "the shared certificate cannot be kept; what is served is served on, and this is tried again"
            ),
        }
    }

    fn secret_path(&self) -> String {
        let (namespace, name) = &self.options.secret;
        format!(
            "/api/v1/namespaces/{}/secrets/{}",
            segment(namespace),
            segment(name)
        )
    }

    fn configuration_path(&self) -> String {
        format!(
            "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{}",
            segment(&self.options.configuration)
        )
    }
}

/// The Secret, as far as it matters.
struct Secret {
    version: String,
    shared: Shared,
    current: Option<Judged>,
    next: Option<Judged>,
    /// Why the current certificate cannot be served.
    unusable: Option<Unusable>,
}

impl Secret {
    fn parse(body: &[u8], names: &[String], now: Seconds) -> Result<Self, ClusterError> {
        #[derive(Deserialize)]
        struct Raw {
            metadata: Metadata,
            data: Option<BTreeMap<String, String>>,
        }
        let raw: Raw = parse(body)?;
        let data = raw.data.unwrap_or_default();
        let annotations = raw.metadata.annotations.unwrap_or_default();
        let time = |name: &str| {
            let at: jiff::Timestamp = annotations.get(name)?.parse().ok()?;
            Some(at.as_second())
        };
        let (current_slot, current) = slot(&data, &CURRENT, names, now);
        let (next_slot, next) = slot(&data, &NEXT, names, now);
        let (current, unusable) = match current {
            Some(Ok(judged)) => (Some(judged), None),
            Some(Err(why)) => (None, Some(why)),
            None => (None, None),
        };
        let previous = text(&data, PREVIOUS).and_then(|pem| authorities(pem.expose_secret()));
        Ok(Self {
            version: raw.metadata.resource_version,
            shared: Shared {
                current: current_slot,
                next: next_slot,
                previous: previous.unwrap_or_default(),
                published: time(PUBLISHED),
                replaced: time(REPLACED),
                asked: annotations.contains_key(ROTATE),
            },
            current,
            next: next.and_then(Result::ok),
            unusable,
        })
    }
}

/// What one place of the Secret holds.
fn slot(
    data: &BTreeMap<String, String>,
    keys: &Keys,
    names: &[String],
    now: Seconds,
) -> (Slot, Option<Result<Judged, Unusable>>) {
    let member = |key| text(data, key);
    let pair = match (
        member(keys.certificate),
        member(keys.key),
        member(keys.authority),
    ) {
        (None, None, None) => return (Slot::Empty, None),
        (Some(certificate), Some(key), Some(ca)) => Ok(Pair {
            certificate: certificate.expose_secret().to_owned(),
            key,
            ca: ca.expose_secret().to_owned(),
        }),
        (None, ..) => Err(Unusable::Missing(keys.certificate)),
        (_, None, _) => Err(Unusable::Missing(keys.key)),
        (.., None) => Err(Unusable::Missing(keys.authority)),
    };
    match pair.and_then(|pair| pair.judge(names, now)) {
        Ok(judged) => (Slot::Holds(judged.certificate.clone()), Some(Ok(judged))),
        Err(why) => (Slot::Unusable, Some(Err(why))),
    }
}

/// A member of the Secret; none where it is missing or empty. What is no text comes out as something unusable.
fn text(data: &BTreeMap<String, String>, key: &str) -> Option<SecretString> {
    let encoded = data.get(key)?;
    let bytes = STANDARD.decode(encoded).unwrap_or_default();
    (!encoded.is_empty()).then(|| String::from_utf8(bytes).unwrap_or_default().into())
}

/// The MutatingWebhookConfiguration, as far as it matters. Without webhooks where there is none.
#[derive(Default)]
struct Configuration {
    version: String,
    webhooks: Vec<Webhook>,
    managers: Vec<Manager>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Webhook {
    name: String,
    client_config: ClientConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientConfig {
    ca_bundle: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "resourceVersion")]
    resource_version: String,
    annotations: Option<BTreeMap<String, String>>,
    #[serde(rename = "managedFields", default)]
    managers: Vec<Manager>,
}

/// Who owns which fields: <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>.
#[derive(Deserialize)]
struct Manager {
    #[serde(default)]
    manager: String,
    #[serde(default)]
    time: String,
    #[serde(rename = "fieldsV1")]
    fields: Option<Box<RawValue>>,
}

impl Manager {
    fn owns_bundle(&self) -> bool {
        let fields = self.fields.as_ref();
        fields.is_some_and(|fields| fields.get().contains("\"f:caBundle\""))
    }
}

impl Configuration {
    fn parse(body: &[u8]) -> Result<Self, ClusterError> {
        #[derive(Deserialize)]
        struct Raw {
            metadata: Metadata,
            webhooks: Option<Vec<Webhook>>,
        }
        let raw: Raw = parse(body)?;
        Ok(Self {
            version: raw.metadata.resource_version,
            webhooks: raw.webhooks.unwrap_or_default(),
            managers: raw.metadata.managers,
        })
    }

    /// What each webhook trusts; nothing where that is no bundle.
    fn bundles(&self) -> Vec<Vec<Authority>> {
        let bundle = |webhook: &Webhook| {
            let pem = STANDARD.decode(webhook.client_config.ca_bundle.as_ref()?);
            authorities(&String::from_utf8(pem.ok()?).ok()?)
        };
        self.webhooks
            .iter()
            .map(|webhook| bundle(webhook).unwrap_or_default())
            .collect()
    }

    /// When a replica last wrote the bundle; none where somebody else did since, who then took it over.
    fn written(&self) -> Option<Seconds> {
        let mut managers = self.managers.iter();
        let ours = managers.find(|m| m.manager == FIELD_MANAGER && m.owns_bundle())?;
        let at: jiff::Timestamp = ours.time.parse().ok()?;
        Some(at.as_second())
    }

    /// Who has the bundle, or, where nobody has one, who of all others wrote last.
    fn last_writer(&self) -> &str {
        let others = self.managers.iter().filter(|m| m.manager != FIELD_MANAGER);
        // RFC 3339 in UTC: order of letters is order in time.
        others
            .max_by_key(|m| (m.owns_bundle(), &m.time))
            .map_or("unknown", |m| &m.manager)
    }
}

/// What a step changes in the Secret; nothing else is touched.
#[derive(Default)]
struct Change {
    data: Map<String, Value>,
    annotations: Map<String, Value>,
}

impl Change {
    fn pair(&mut self, keys: &Keys, pair: Option<&Pair>) {
        let members = [
            (keys.certificate, pair.map(|p| p.certificate.as_str())),
            (keys.key, pair.map(|p| p.key.expose_secret())),
            (keys.authority, pair.map(|p| p.ca.as_str())),
        ];
        for (key, text) in members {
            self.member(key, text);
        }
        if *keys == NEXT && pair.is_none() {
            self.annotation(PUBLISHED, None);
        }
    }

    fn previous<'a>(&mut self, all: impl IntoIterator<Item = &'a Authority>, now: Seconds) {
        let mut authorities: Vec<Authority> = Vec::new();
        for authority in all {
            if authority.expires > now && !authorities.contains(authority) {
                authorities.push(authority.clone());
            }
        }
        let pem = (!authorities.is_empty()).then(|| to_pem(&authorities));
        self.member(PREVIOUS, pem.as_deref());
        self.annotation(REPLACED, pem.is_some().then_some(now));
    }

    fn member(&mut self, key: &str, text: Option<&str>) {
        let value = text.map_or(Value::Null, |text| STANDARD.encode(text).into());
        self.data.insert(key.to_owned(), value);
    }

    fn annotation(&mut self, name: &str, at: Option<Seconds>) {
        let at = at.and_then(|at| jiff::Timestamp::from_second(at).ok());
        let value = at.map_or(Value::Null, |at| at.to_string().into());
        self.annotations.insert(name.to_owned(), value);
    }

    /// A merge patch (RFC 7396) for one version of the Secret.
    fn patch(self, version: &str) -> Bytes {
        let mut patch = json!({
            "metadata": { "resourceVersion": version, "annotations": self.annotations },
        });
        if !self.data.is_empty() {
            patch["data"] = self.data.into();
        }
        Bytes::from(patch.to_string())
    }
}

/// Where a pair is in the Secret.
#[derive(Eq, PartialEq)]
struct Keys {
    certificate: &'static str,
    key: &'static str,
    authority: &'static str,
}

const CURRENT: Keys = Keys {
    certificate: "tls.crt",
    key: "tls.key",
    authority: "ca.crt",
};
const NEXT: Keys = Keys {
    certificate: "next-tls.crt",
    key: "next-tls.key",
    authority: "next-ca.crt",
};
const PREVIOUS: &str = "previous-ca.crt";

/// Certificates in PEM (RFC 7468).
fn to_pem(authorities: &[Authority]) -> String {
    let mut pem = String::new();
    for authority in authorities {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = STANDARD.encode(&authority.der);
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(64));
            // Writing into a string does not fail.
            let _ = writeln!(pem, "{line}");
            rest = after;
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
}

/// An object of the API. What cannot be read is not quoted: it may be a key.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ClusterError> {
    serde_json::from_slice(body).map_err(|error| {
        ClusterError::Unreadable(format!(
            "no such object at line {}, column {}",
            error.line(),
            error.column()
        ))
    })
}

/// An answer about the Secret. One that finds fault with what was sent may quote it.
fn quiet(error: ClusterError) -> Problem {
    Problem::Secret(match error {
        ClusterError::Status { status, .. } if status == StatusCode::BAD_REQUEST => {
            ClusterError::Status {
                status,
                message: "its text is not shown, it may quote the Secret".into(),
            }
        }
        error => error,
    })
}

/// When the bundle was first seen with the next authority in it.
const PUBLISHED: &str = "cwii.dev/next-published-at";
/// When authorities were last added to [`PREVIOUS`].
const REPLACED: &str = "cwii.dev/previous-replaced-at";
/// Whoever sets it asks for another certificate. It is removed when that is made.
const ROTATE: &str = "cwii.dev/rotate";

const MERGE_PATCH: &str = "application/merge-patch+json";
const APPLY_PATCH: &str = "application/apply-patch+yaml";
/// A whole rotation without overlap would be six.
const MOST_STEPS: usize = 8;
const DEADLINE: Duration = Duration::from_secs(10);
const LONGEST_PERIOD: Duration = Duration::from_secs(10);
const SHORTEST_PERIOD: Duration = Duration::from_millis(200);
const UNREADY_PERIOD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Seconds = 1_800_000_000;

    fn pair() -> Pair {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW.unsigned_abs());
        Pair::make(&names(), now, Duration::from_secs(3600)).unwrap()
    }

    fn names() -> Vec<String> {
        vec!["webhook.ns.svc".into()]
    }

    /// What a merge patch makes of a Secret.
    fn patched(mut secret: Value, change: Change) -> Value {
        let patch: Value = serde_json::from_slice(&change.patch("7")).unwrap();
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        for (at, members) in [
            ("/data", patch.get("data")),
            (
                "/metadata/annotations",
                patch.pointer("/metadata/annotations"),
            ),
        ] {
            let target = secret.pointer_mut(at).unwrap().as_object_mut().unwrap();
            for (key, value) in members.into_iter().filter_map(Value::as_object).flatten() {
                match value {
                    Value::Null => drop(target.remove(key)),
                    value => drop(target.insert(key.clone(), value.clone())),
                }
            }
        }
        secret
    }

    fn parsed(secret: &Value) -> Secret {
        Secret::parse(secret.to_string().as_bytes(), &names(), NOW)
            .map_err(|e| e.to_string())
            .unwrap_or_else(|e| panic!("{e}"))
    }

    fn empty() -> Value {
        json!({
            "metadata": { "resourceVersion": "7", "annotations": { "mine": "stays" } },
            "data": { "mine": "c3RheXM=" },
        })
    }

    #[test]
    fn what_is_written_is_read_and_what_is_not_ours_stays() {
        let (current, next) = (pair(), pair());
        let old = authorities(&pair().ca).unwrap();
        let mut change = Change::default();
        change.pair(&CURRENT, Some(&current));
        change.pair(&NEXT, Some(&next));
        change.previous(&old, NOW);
        change.annotation(PUBLISHED, Some(NOW - 9));
        let secret = patched(empty(), change);
        let read = parsed(&secret);
        assert_eq!(read.shared.previous, old);
        assert_eq!(read.shared.published, Some(NOW - 9));
        assert_eq!(read.shared.replaced, Some(NOW));
        assert_eq!(read.shared.phase(), Phase::BeforeSwitch);
        assert_eq!(read.current.unwrap().pair.certificate, current.certificate);
        assert_eq!(read.next.unwrap().pair.certificate, next.certificate);

        let mut change = Change::default();
        change.pair(&CURRENT, None);
        change.pair(&NEXT, None);
        change.previous([], NOW);
        assert_eq!(patched(secret, change), empty());
    }

    #[test]
    fn an_authority_that_has_expired_is_not_kept() {
        let mut change = Change::default();
        let old = authorities(&pair().ca).unwrap();
        change.previous(&old, NOW + 3600);
        assert_eq!(patched(empty(), change), empty());
    }

    #[test]
    fn a_secret_that_is_incomplete_or_no_text_is_unusable_and_says_why() {
        let pair = pair();
        for (key, value, why) in [
            ("tls.key", Value::Null, "`tls.key` is empty or missing"),
            ("ca.crt", "".into(), "`ca.crt` is empty or missing"),
            (
                "tls.crt",
                "////".into(),
                "`tls.crt` is no certificate in PEM",
            ),
            ("tls.crt", "?".into(), "`tls.crt` is no certificate in PEM"),
        ] {
            let mut change = Change::default();
            change.pair(&CURRENT, Some(&pair));
            let mut secret = patched(empty(), change);
            secret["data"][key] = value;
            if secret["data"][key].is_null() {
                secret["data"].as_object_mut().unwrap().remove(key);
            }
            let read = parsed(&secret);
            assert_eq!(read.shared.current, Slot::Unusable);
            assert_eq!(read.unusable.unwrap().to_string(), why);
        }
        assert_eq!(parsed(&empty()).shared, Shared::default());
    }

    #[test]
    fn a_secret_that_cannot_be_read_is_not_quoted() {
        let body = br#"{"metadata": {"resourceVersion": "7"}, "data": {"tls.key": ["c2VjcmV0"]}}"#;
        let error = Secret::parse(body, &names(), NOW)
            .err()
            .unwrap()
            .to_string();
        assert!(!error.contains("c2VjcmV0"), "{error}");
        let refused = quiet(ClusterError::Status {
            status: StatusCode::BAD_REQUEST,
            message: "c2VjcmV0".into(),
        });
        assert!(!refused.to_string().contains("c2VjcmV0"), "{refused}");
    }

    #[test]
    fn a_configuration_tells_what_it_trusts_and_who_wrote_that() {
        let ca = pair().ca;
        let fields =
            json!({ "f:webhooks": { "k:{}": { "f:clientConfig": { "f:caBundle": {} } } } });
        let managed = |manager: &str, time: &str, fields: &Value| json!({ "manager": manager, "time": time, "fieldsV1": fields });
        let configuration = |bundle: Value, managers: Value| {
            let document = json!({
                "metadata": { "resourceVersion": "3", "managedFields": managers },
                "webhooks": [
                    { "name": "a", "clientConfig": { "service": {}, "caBundle": bundle } },
                    { "name": "b", "clientConfig": { "url": "https://b" } },
                ],
            });
            Configuration::parse(document.to_string().as_bytes())
                .map_err(|e| e.to_string())
                .unwrap()
        };
        let ours = managed("cwii-webhook", "2027-01-15T08:00:00Z", &fields);
        let helm = managed("helm", "2027-01-15T09:00:00Z", &json!({ "f:webhooks": {} }));
        let found = configuration(STANDARD.encode(&ca).into(), json!([ours, helm]));
        assert_eq!(found.bundles(), [authorities(&ca).unwrap(), Vec::new()]);
        assert_eq!(found.written(), Some(NOW));

        // Whoever changes the bundle takes it over, and our entry with it.
        let argo = managed("argocd", "2027-01-15T08:30:00Z", &fields);
        let found = configuration("?".into(), json!([helm, argo]));
        assert_eq!(found.bundles(), [Vec::new(), Vec::new()]);
        assert_eq!(found.written(), None);
        assert_eq!(found.last_writer(), "argocd");
        assert_eq!(
            configuration(Value::Null, json!([helm])).last_writer(),
            "helm"
        );
    }

    #[test]
    fn a_bundle_is_pem_as_others_write_it() {
        let ca = pair().ca;
        let authorities = authorities(&ca).unwrap();
        assert_eq!(to_pem(&authorities), ca.replace("\r\n", "\n"));
    }
}
