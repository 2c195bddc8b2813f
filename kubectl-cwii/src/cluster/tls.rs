//! Whom to take for the API server, with which certificate to answer it, and what a failure means.

use std::{error::Error, fs, io, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cwii_exchange::ResolveError;
use jiff::Timestamp;
use kube::config::{AuthInfo, Cluster};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error as RustlsError,
    RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _};
use secrecy::{ExposeSecret as _, SecretString};

use super::Access;
use crate::problem::{Problem, described};

/// A client certificate.
pub(super) struct Identity {
    /// Certificate and what leads to its authority, PEM.
    pub(super) certificate: Vec<u8>,
    /// Its key, PEM.
    pub(super) key: SecretString,
}

impl Identity {
    /// What the kubeconfig or the flags name.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, data that is no base64, or one without the other.
    pub(super) fn of(user: &AuthInfo) -> Result<Option<Self>, Problem> {
        let certificate = material(
            "client-certificate",
            user.client_certificate_data.as_deref(),
            user.client_certificate.as_deref(),
        )?;
        let key = material(
            "client-key",
            user.client_key_data
                .as_ref()
                .map(SecretString::expose_secret),
            user.client_key.as_deref(),
        )?;
        match (certificate, key) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => {
                let key = String::from_utf8(key)
                    .map_err(|_| Problem::new("`client-key` is not a private key in PEM"))?;
                Ok(Some(Self {
                    certificate,
                    key: key.into(),
                }))
            }
            (Some(_), None) => Err(Problem::new(
                "there is a client certificate, but no `client-key`",
            )),
            (None, Some(_)) => Err(Problem::new(
                "there is a client key, but no `client-certificate`",
            )),
        }
    }

    /// When the certificate ends.
    pub(super) fn expires(&self) -> Option<Timestamp> {
        let der = CertificateDer::from_pem_slice(&self.certificate).ok()?;
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).ok()?;
        Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
    }
}

/// The TLS configuration for a cluster.
///
/// # Errors
///
/// Certificates or keys that cannot be read or used.
pub(super) fn config(
    cluster: &Cluster,
    identity: Option<&Identity>,
) -> Result<ClientConfig, Problem> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| Problem::new(format!("TLS cannot be set up: {error}")))?;
    let builder = if cluster.insecure_skip_tls_verify == Some(true) {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider())))
    } else {
        builder.with_root_certificates(roots(cluster)?)
    };
    let Some(identity) = identity else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = CertificateDer::pem_slice_iter(&identity.certificate)
        .collect::<Result<Vec<_>, _>>()
        .ok()
        .filter(|chain| !chain.is_empty())
        .ok_or_else(|| Problem::new("`client-certificate` is not a certificate in PEM"))?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.expose_secret().as_bytes())
        .map_err(|_| Problem::new("`client-key` is not a private key in PEM"))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| {
        Problem::new(format!(
            "client certificate and key cannot be used: {error}"
        ))
    })
}

fn roots(cluster: &Cluster) -> Result<RootCertStore, Problem> {
    let authority = material(
        "certificate-authority",
        cluster.certificate_authority_data.as_deref(),
        cluster.certificate_authority.as_deref(),
    )?;
    let Some(pem) = authority else {
        let env = std::env::vars().collect();
        return cwii_exchange::trusted_roots(&env)
            .map_err(|problem| Problem::new(format!("`{}`: {}", problem.name, problem.problem)));
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem).flatten() {
        // One that cannot be read is none that could have signed anything.
        let _ = roots.add(certificate);
    }
    if roots.is_empty() {
        return Err(Problem::new(
            "`certificate-authority` holds no certificate in PEM",
        ));
    }
    Ok(roots)
}

/// What is written in the kubeconfig, in base64, or in a file that it names.
fn material(
    member: &str,
    data: Option<&str>,
    file: Option<&str>,
) -> Result<Option<Vec<u8>>, Problem> {
    let is_some = |text: &&str| !text.is_empty();
    match (data.filter(is_some), file.filter(is_some)) {
        (Some(data), _) => STANDARD
            .decode(data.split_ascii_whitespace().collect::<String>())
            .map(Some)
            .map_err(|_| Problem::new(format!("`{member}-data` is not base64"))),
        (None, Some(path)) => fs::read(path).map(Some).map_err(|error| {
            Problem::new(format!(
                "`{member}` names `{path}`, which could not be read: {}",
                described(&error)
            ))
        }),
        (None, None) => Ok(None),
    }
}

/// Takes every server for the API server, as `--insecure-skip-tls-verify` asks for.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Why the API server could not be reached, in words. No word of it comes from the other side, names of certificates
/// excepted.
pub(super) fn unreachable(
    error: &(dyn Error + 'static),
    access: &Access,
    expired: Option<&str>,
) -> String {
    let server = &access.server;
    let host = server.host().unwrap_or_default();
    let at = access.server_text();
    if let Some(tls) = find::<RustlsError>(error) {
        return match tls {
            RustlsError::InvalidCertificate(problem) => certificate(problem, &at, host, access),
            RustlsError::AlertReceived(alert) => match alert {
                AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::BadCertificate
                | AlertDescription::UnknownCA
                | AlertDescription::CertificateRequired
                | AlertDescription::AccessDenied => {
                    let why =
                        expired.map_or_else(|| format!("TLS alert `{alert:?}`"), str::to_owned);
                    format!("the API server at {at} does not accept the client certificate: {why}")
                }
                _ => {
                    format!("the API server at {at} refuses the TLS connection (alert `{alert:?}`)")
                }
            },
            RustlsError::InvalidMessage(_) => {
                format!("the server at {at} does not speak TLS")
            }
            other => format!("no TLS connection to the API server at {at}: {other}"),
        };
    }
    if let Some(unresolved) = chain(error).find_map(|link| link.downcast_ref::<ResolveError>()) {
        return format!("the name `{host}` of the API server does not resolve: {unresolved}");
    }
    if let Some(io) = find_io(error) {
        return match io.kind() {
            io::ErrorKind::ConnectionRefused => {
                format!("the API server at {at} refuses the connection: nobody listens there")
            }
            io::ErrorKind::TimedOut => format!("the API server at {at} does not answer"),
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::BrokenPipe => {
                format!("the API server at {at} broke the connection")
            }
            _ => format!(
                "the API server at {at} could not be reached: {}",
                described(io)
            ),
        };
    }
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    format!("the API server at {at} could not be reached: {deepest}")
}

fn certificate(problem: &CertificateError, at: &str, host: &str, access: &Access) -> String {
    let cluster = &access.cluster;
    let trusted = if cluster.certificate_authority_data.is_some() {
        "`certificate-authority-data`".to_owned()
    } else if let Some(file) = &cluster.certificate_authority {
        format!("`{file}`")
    } else {
        "this machine".to_owned()
    };
    match problem {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "the certificate of {at} is not signed by an authority of {trusted}: another cluster, a changed authority, \
             or somebody in between"
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            let name = cluster.tls_server_name.as_deref().unwrap_or(host);
            format!("the certificate of {at} is not valid for the name `{name}`")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the certificate of {at} has expired, by the clock of this machine")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the certificate of {at} is not valid yet, by the clock of this machine")
        }
        other => format!("the certificate of {at} is not accepted: {other}"),
    }
}

/// The first error of a type in a chain, those inside of I/O errors included.
fn find<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    chain(error).find_map(|link| link.downcast_ref::<T>())
}

/// The innermost I/O error.
fn find_io<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e io::Error> {
    chain(error)
        .filter_map(|link| link.downcast_ref::<io::Error>())
        .last()
}

fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&link| {
        match link
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => link.source(),
        }
    })
}
