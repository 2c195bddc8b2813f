//! The server's certificate, from files that may change at any time or made at start, and who a client proved to be.
//!
//! Files are compared by content, not watched: Kubernetes swaps a symbolic link to a directory, cert-manager rewrites
//! files in place, and both look the same to somebody who reads them every few seconds. A pair that cannot be used
//! leaves the one in use alone. New connections get the new certificate; existing ones live on.

use std::{
    fs,
    hash::{BuildHasher as _, RandomState},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    server::{
        NoClientAuth, NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier,
    },
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use secrecy::ExposeSecret as _;
use tracing::{error, info};
use x509_parser::{extensions::GeneralName, prelude::*};

use crate::{log::printable, metrics::Metrics, pair::Pair};

/// Where the certificate comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CertificateSource {
    /// PEM files.
    Files {
        /// The certificate and what leads to its issuer.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
    /// Made at start, by an authority made at start, both ECDSA P-256.
    SelfSigned {
        /// DNS names and IP addresses that it is for.
        names: Vec<String>,
        /// Where the authority's certificate is written, for clients to trust.
        ca_out: Option<PathBuf>,
    },
    /// Made by whichever replica finds that one is needed, and shared by all: see [`crate::rotation`].
    Shared(SharedCertificate),
}

/// How replicas share a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SharedCertificate {
    /// DNS names and IP addresses that it is for.
    pub names: Vec<String>,
    /// Namespace and name of the Secret that holds it.
    pub secret: (String, String),
    /// Name of the MutatingWebhookConfiguration whose `caBundle` is kept.
    pub configuration: String,
    /// How long a certificate is valid. It is replaced after two thirds of that.
    pub lifetime: Duration,
    /// How long the bundle holds old and new, before the switch and after it.
    pub overlap: Duration,
}

/// Why there is no certificate, or no new one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("`{path}` could not be read: {error}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file cannot be written.
    #[error("`{path}` could not be written: {error}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file does not hold what it should.
    #[error("`{path}` holds no {expected}", path = path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        expected: &'static str,
    },
    /// Certificate and key do not belong together, or the key is of a kind that cannot be used.
    #[error("certificate and key cannot be used: {0}")]
    Pair(#[from] rustls::Error),
    /// The authorities of clients cannot be used.
    #[error("the client authorities cannot be used: {0}")]
    ClientAuthorities(#[from] rustls::server::VerifierBuilderError),
    /// A certificate for these names would not be valid for them.
    #[error("no certificate can be for `{0}`, expected DNS names and IP addresses")]
    Names(String),
    /// A certificate could not be made.
    #[error("no certificate could be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// What new connections are served with.
#[derive(Debug)]
pub struct Tls {
    source: CertificateSource,
    client_ca: Option<PathBuf>,
    current: RwLock<Option<Current>>,
    /// Why it must not be used yet although it is loaded; none where nobody has to say so.
    untrusted: Mutex<Option<String>>,
    /// What the files held when they were last looked at, or why they could not be read, as a hash: each content is tried
    /// once, each failure told once, and no second copy of the key is kept.
    seen: Mutex<Option<u64>>,
    hasher: RandomState,
}

#[derive(Clone, Debug)]
struct Current {
    config: Arc<ServerConfig>,
    leaf: CertificateDer<'static>,
    /// Seconds after 1970 at which the leaf expires.
    not_after: i64,
}

/// What the files hold; a private key among it.
#[derive(Hash)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Tls {
    /// Loads or makes the certificate. Where files cannot be used yet there is none, and the reason is logged: they
    /// often come after the pod.
    ///
    /// # Errors
    ///
    /// A certificate that was to be made could not be, or its authority not be written.
    pub fn start(
        source: CertificateSource,
        client_ca: Option<PathBuf>,
        metrics: &Metrics,
    ) -> Result<Self, TlsError> {
        let untrusted = match &source {
            CertificateSource::Shared(shared) => Some(format!(
                "MutatingWebhookConfiguration `{}` has not trusted the certificate yet",
                shared.configuration
            )),
            _ => None,
        };
        let tls = Self {
            source,
            client_ca,
            current: RwLock::new(None),
            untrusted: Mutex::new(untrusted),
            seen: Mutex::new(None),
            hasher: RandomState::new(),
        };
        match &tls.source {
            CertificateSource::SelfSigned { names, ca_out } => {
                let made = Pair::make(names, SystemTime::now(), A_YEAR)?;
                if let Some(path) = ca_out {
                    fs::write(path, &made.ca).map_err(|error| TlsError::Write {
                        path: path.clone(),
                        error,
                    })?;
                }
                let current = tls.load(&tls.contents(&made)?)?;
                tls.set(current, metrics);
            }
            CertificateSource::Files { .. } => tls.reload(metrics),
            // It comes with the first look at the cluster. Names that no certificate can be for are told now.
            CertificateSource::Shared(shared) => {
                let now = SystemTime::now();
                let tried = Pair::make(&shared.names, now, shared.lifetime)?;
                let now = now.duration_since(SystemTime::UNIX_EPOCH);
                let now = now.ok().and_then(|now| i64::try_from(now.as_secs()).ok());
                let judged = tried.judge(&shared.names, now.unwrap_or_default());
                if !judged.is_ok_and(|judged| judged.certificate.covers) {
                    return Err(TlsError::Names(shared.names.join(",")));
                }
            }
        }
        Ok(tls)
    }

    /// Why requests must not be sent here yet; none when they may.
    #[must_use]
    pub fn unready(&self) -> Option<String> {
        if self.config().is_none() {
            return Some("no certificate is loaded".into());
        }
        lock(&self.untrusted).clone()
    }

    /// What is served is trusted, or was once: from now on nothing but its loss makes the process unready.
    pub(crate) fn set_trusted(&self) {
        *lock(&self.untrusted) = None;
    }

    /// How replicas share a certificate, where they do.
    #[must_use]
    pub fn shared(&self) -> Option<&SharedCertificate> {
        match &self.source {
            CertificateSource::Shared(shared) => Some(shared),
            _ => None,
        }
    }

    /// Whether new connections are served with this certificate.
    pub(crate) fn serves(&self, leaf: &CertificateDer<'_>) -> bool {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().is_some_and(|c| c.leaf == *leaf)
    }

    /// Loads a pair, unless the same was tried already with the same client authorities. One that cannot be used leaves
    /// the one in use alone.
    pub(crate) fn offer(&self, pair: &Pair, metrics: &Metrics) {
        self.try_contents(self.contents(pair), metrics);
    }

    fn contents(&self, pair: &Pair) -> Result<Contents, TlsError> {
        Ok(Contents {
            certificate: pair.certificate.clone().into_bytes(),
            key: pair.key.expose_secret().as_bytes().to_vec(),
            client_ca: self.client_ca.as_deref().map(read).transpose()?,
        })
    }

    /// What to serve a new connection with; none while there is no certificate.
    #[must_use]
    pub fn config(&self) -> Option<Arc<ServerConfig>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().map(|c| Arc::clone(&c.config))
    }

    /// Reloads whenever the files have changed, for ever.
    pub async fn keep(&self, metrics: &Metrics) {
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            self.reload(metrics);
        }
    }

    /// Loads the files if they have changed since they were last looked at.
    pub fn reload(&self, metrics: &Metrics) {
        let CertificateSource::Files { certificate, key } = &self.source else {
            return;
        };
        let contents = || -> Result<Contents, TlsError> {
            Ok(Contents {
                certificate: read(certificate)?,
                key: read(key)?,
                client_ca: self.client_ca.as_deref().map(read).transpose()?,
            })
        };
        self.try_contents(contents(), metrics);
    }

    fn try_contents(&self, contents: Result<Contents, TlsError>, metrics: &Metrics) {
        let hash = self
            .hasher
            .hash_one(contents.as_ref().map_err(ToString::to_string));
        if lock(&self.seen).replace(hash) == Some(hash) {
            return;
        }
        let loaded = contents.and_then(|contents| self.load(&contents));
        match loaded {
            Ok(current) => {
                self.set(current, metrics);
                metrics.count_certificate_reload(true);
            }
            Err(problem) => {
                metrics.count_certificate_reload(false);
                error!(
                    error = printable(&problem.to_string()),
                    serving = self.config().is_some(),
                    "the certificate was not loaded; the one in use, if any, stays"
                );
            }
        }
    }

    fn set(&self, current: Current, metrics: &Metrics) {
        metrics.set_certificate_expiry(current.not_after);
        info!(
            expires = jiff::Timestamp::from_second(current.not_after)
                .map(|t| t.to_string())
                .unwrap_or_default(),
            "certificate loaded"
        );
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(current);
    }

    fn load(&self, contents: &Contents) -> Result<Current, TlsError> {
        let (certificate_path, key_path) = match &self.source {
            CertificateSource::Files { certificate, key } => (certificate.clone(), key.clone()),
            _ => ("tls.crt".into(), "tls.key".into()),
        };
        let no_certificate = |path: &Path| TlsError::Content {
            path: path.to_owned(),
            expected: "certificate in PEM",
        };
        let chain = CertificateDer::pem_slice_iter(&contents.certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| no_certificate(&certificate_path))?;
        let leaf = chain
            .first()
            .ok_or_else(|| no_certificate(&certificate_path))?;
        let (_, parsed) =
            X509Certificate::from_der(leaf).map_err(|_| no_certificate(&certificate_path))?;
        let not_after = parsed.validity().not_after.timestamp();
        let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(|_| TlsError::Content {
            path: key_path,
            expected: "private key in PEM",
        })?;
        let verifier: Arc<dyn ClientCertVerifier> = match (&self.client_ca, &contents.client_ca) {
            (Some(path), Some(pem)) => {
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    let certificate = certificate.map_err(|_| no_certificate(path))?;
                    roots.add(certificate)?;
                }
                if roots.is_empty() {
                    return Err(no_certificate(path));
                }
                // Probes come without a certificate; `/mutate` asks for one itself.
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
                    .allow_unauthenticated()
                    .build()?
            }
            _ => Arc::new(NoClientAuth),
        };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // client-go keeps no TLS sessions: a ticket would be time and bytes on every handshake for nobody.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Current {
            config: Arc::new(config),
            leaf: leaf.clone(),
            not_after,
        })
    }
}

/// The names that a client's certificate carries: common name, DNS names, and nothing else.
#[must_use]
pub fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let common = parsed
        .subject()
        .iter_common_name()
        .filter_map(|name| name.as_str().ok());
    let alternative = parsed.subject_alternative_name().ok().flatten();
    let dns = alternative
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(*name),
            _ => None,
        });
    common.chain(dns).map(str::to_owned).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| TlsError::Read {
        path: path.to_owned(),
        error,
    })
}

/// The kubelet takes up to a minute to bring a Secret's new content; two seconds more are nothing.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// And a day, for a certificate that the process makes for itself; it makes another at its next start.
const A_YEAR: Duration = Duration::from_secs(366 * 24 * 60 * 60);
