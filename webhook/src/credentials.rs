//! Who the webhook is to the API server, and whom it takes for one.
//!
//! kube's own layers know more ways: credential plugins, cloud providers' token commands, and with them JSONPath and
//! regular expressions, a tenth of the whole file for what no pod uses. A pod has a token in a file and an authority in
//! another, both of which change; a kubeconfig has a certificate or a token. Anything else is refused in words.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;
use kube::Config;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error as RustlsError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;
use tracing::warn;

use crate::log::printable;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// A way to authenticate that needs programs or providers.
    #[error(
        "the kubeconfig's user has `{0}`, expected a client certificate, a `token` or a `tokenFile`"
    )]
    Unsupported(&'static str),
    /// The server's certificate would not be verified.
    #[error("the kubeconfig has `insecure-skip-tls-verify`, expected a `certificate-authority`")]
    Insecure,
    /// A file cannot be read.
    #[error("`{path}` could not be read: {error}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A member is not what it should be.
    #[error("the kubeconfig's `{member}` is not {expected}")]
    Content {
        /// The member.
        member: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// Certificates or keys cannot be used.
    #[error("the cluster's certificates cannot be used: {0}")]
    Certificates(String),
}

/// How to verify the API server, and with which certificate to answer it.
///
/// # Errors
///
/// Certificates or keys that cannot be read or used.
pub(crate) fn tls(config: &Config) -> Result<ClientConfig, CredentialsError> {
    if config.accept_invalid_certs {
        return Err(CredentialsError::Insecure);
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(certificates)?;
    let builder = match &config.root_cert {
        Some(authorities) => {
            let verifier = Authorities {
                file: config.root_cert_file.clone(),
                current: RwLock::new(Current {
                    verifier: verifier(authorities.iter().map(Vec::as_slice))?,
                    at: Instant::now(),
                }),
            };
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
        }
        // Every certificate is refused.
        None => builder.with_root_certificates(RootCertStore::empty()),
    };
    let user = &config.auth_info;
    let certificate = material(
        "client-certificate-data",
        user.client_certificate_data.as_deref(),
        user.client_certificate.as_deref(),
    )?;
    let key = material(
        "client-key-data",
        user.client_key_data
            .as_ref()
            .map(SecretString::expose_secret),
        user.client_key.as_deref(),
    )?;
    let (Some(certificate), Some(key)) = (certificate, key) else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = CertificateDer::pem_slice_iter(&certificate)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| content("client-certificate-data", "a certificate in PEM"))?;
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|_| content("client-key-data", "a private key in PEM"))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(certificates)
}

/// The bearer token of requests, where there is one.
pub(crate) enum Token {
    /// A client certificate stands for it, or nothing does.
    None,
    /// Written in the kubeconfig.
    Fixed(HeaderValue),
    /// In a file that the kubelet renews.
    File {
        /// The file.
        path: PathBuf,
        /// What it held, and when.
        read: Mutex<Option<(HeaderValue, Instant)>>,
    },
}

impl Token {
    /// The token that a configuration names.
    ///
    /// # Errors
    ///
    /// Another way to authenticate, or a token that is none.
    pub(crate) fn of(config: &Config) -> Result<Self, CredentialsError> {
        let user = &config.auth_info;
        if let Some(token) = &user.token {
            let header = bearer(token.expose_secret());
            return header
                .map(Self::Fixed)
                .ok_or(content("token", "a token on one line"));
        }
        if let Some(path) = &user.token_file {
            return Ok(Self::File {
                path: path.into(),
                read: Mutex::new(None),
            });
        }
        let unsupported = [
            ("exec", user.exec.is_some()),
            ("auth-provider", user.auth_provider.is_some()),
            ("username", user.username.is_some()),
        ];
        match unsupported.into_iter().find(|(_, present)| *present) {
            Some((member, _)) => Err(CredentialsError::Unsupported(member)),
            None => Ok(Self::None),
        }
    }

    /// The value of `Authorization`. A file is read again after a minute, well before the kubelet's renewed token is
    /// needed; while it cannot be read, the last token is used.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        match self {
            Self::None => None,
            Self::Fixed(header) => Some(header.clone()),
            Self::File { path, read } => {
                let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some((header, at)) = &*read
                    && at.elapsed() < REREAD
                {
                    return Some(header.clone());
                }
                match fs::read_to_string(path) {
                    Ok(text) => {
                        if let Some(header) = bearer(&text) {
                            *read = Some((header, Instant::now()));
                        }
                    }
                    Err(error) => warn!(
                        file = printable(&path.to_string_lossy()),
                        error = %error,
                        "the token for the API server could not be read"
                    ),
                }
                read.as_ref().map(|(header, _)| header.clone())
            }
        }
    }
}

/// Verifies against the authorities of a configuration, which in a pod are in a file that changes when they do.
#[derive(Debug)]
struct Authorities {
    file: Option<PathBuf>,
    current: RwLock<Current>,
}

#[derive(Clone, Debug)]
struct Current {
    verifier: Arc<WebPkiServerVerifier>,
    at: Instant,
}

impl Authorities {
    fn current(&self) -> Arc<WebPkiServerVerifier> {
        let current = self
            .current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Some(file) = self
            .file
            .as_ref()
            .filter(|_| current.at.elapsed() >= REREAD)
        else {
            return current.verifier;
        };
        let read = || {
            let pem = read(file)?;
            let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem).flatten().collect();
            verifier(certificates.iter().map(AsRef::as_ref))
        };
        let verifier = read().unwrap_or_else(|error| {
            warn!(
                error = printable(&error.to_string()),
                "the authorities of the API server could not be read; the last ones stay"
            );
            current.verifier
        });
        let at = Instant::now();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Current {
            verifier: Arc::clone(&verifier),
            at,
        };
        verifier
    }
}

impl ServerCertVerifier for Authorities {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        self.current()
            .verify_server_cert(leaf, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        self.current()
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        self.current()
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.current().supported_verify_schemes()
    }
}

fn verifier<'a>(
    authorities: impl Iterator<Item = &'a [u8]>,
) -> Result<Arc<WebPkiServerVerifier>, CredentialsError> {
    let mut roots = RootCertStore::empty();
    for der in authorities {
        roots
            .add(CertificateDer::from(der.to_vec()))
            .map_err(certificates)?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| CredentialsError::Certificates(error.to_string()))
}

/// What is written in the kubeconfig, in base64, or in a file that it names.
fn material(
    member: &'static str,
    data: Option<&str>,
    file: Option<&str>,
) -> Result<Option<Vec<u8>>, CredentialsError> {
    match (data, file) {
        (Some(data), _) => STANDARD
            .decode(data)
            .map(Some)
            .map_err(|_| content(member, "base64")),
        (None, Some(path)) => read(Path::new(path)).map(Some),
        (None, None) => Ok(None),
    }
}

fn bearer(token: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(&format!("Bearer {}", token.trim())).ok()?;
    header.set_sensitive(true);
    Some(header)
}

fn read(path: &Path) -> Result<Vec<u8>, CredentialsError> {
    fs::read(path).map_err(|error| CredentialsError::Read {
        path: path.to_owned(),
        error,
    })
}

fn content(member: &'static str, expected: &'static str) -> CredentialsError {
    CredentialsError::Content { member, expected }
}

fn certificates(error: RustlsError) -> CredentialsError {
    CredentialsError::Certificates(error.to_string())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// What client-go does with both files.
const REREAD: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use kube::config::{AuthInfo, ExecConfig};

    use super::*;

    fn config(auth_info: AuthInfo) -> Config {
        let mut config = Config::new("https://127.0.0.1:6443".parse().unwrap());
        config.auth_info = auth_info;
        config
    }

    fn text(header: Option<HeaderValue>) -> String {
        header.unwrap().to_str().unwrap().to_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_file_is_read_again_and_its_last_content_holds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let token = Token::of(&config(AuthInfo {
            token_file: Some(path.to_str().unwrap().into()),
            ..AuthInfo::default()
        }))
        .unwrap();
        assert!(token.header().is_none());
        fs::write(&path, "one\n").unwrap();
        assert_eq!(text(token.header()), "Bearer one");
        fs::write(&path, "two").unwrap();
        assert_eq!(text(token.header()), "Bearer one");
        tokio::time::advance(REREAD).await;
        assert_eq!(text(token.header()), "Bearer two");
        fs::remove_file(&path).unwrap();
        tokio::time::advance(REREAD).await;
        assert_eq!(text(token.header()), "Bearer two");
        assert!(token.header().unwrap().is_sensitive());
    }

    #[test]
    fn what_a_pod_never_uses_is_refused_in_words() {
        let exec = AuthInfo {
            exec: serde_json::from_str::<ExecConfig>(r#"{"command":"aws"}"#).ok(),
            ..AuthInfo::default()
        };
        assert_eq!(
            Token::of(&config(exec)).err().unwrap().to_string(),
            "the kubeconfig's user has `exec`, expected a client certificate, a `token` or a `tokenFile`"
        );
        let mut insecure = config(AuthInfo::default());
        insecure.accept_invalid_certs = true;
        assert!(matches!(tls(&insecure), Err(CredentialsError::Insecure)));
        let broken = AuthInfo {
            client_certificate_data: Some("?".into()),
            ..AuthInfo::default()
        };
        assert_eq!(
            tls(&config(broken)).err().unwrap().to_string(),
            "the kubeconfig's `client-certificate-data` is not base64"
        );
    }
}
