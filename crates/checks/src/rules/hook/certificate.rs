//! Certificates of webhooks: what is in them, and whether the API server would trust them.

use std::time::Duration;

use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime, pem::PemObject as _};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::{extensions::GeneralName, prelude::*};

/// What matters of a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Certificate {
    /// Subject, `CN=…`.
    pub(super) subject: String,
    /// Issuer, `CN=…`.
    pub(super) issuer: String,
    /// DNS names among its alternative names.
    pub(super) names: Vec<String>,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

/// Whether a chain leads to an authority.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Trust {
    Trusted,
    /// It does not.
    Untrusted,
    /// It cannot be told here; the text says why.
    Open(String),
}

/// All certificates of a PEM text.
pub(super) fn of_pem(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).flatten().collect()
}

/// Reads a certificate; none if it is not one.
pub(super) fn read(der: &CertificateDer<'_>) -> Option<Certificate> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let time = |time: ASN1Time| Timestamp::from_second(time.timestamp()).ok();
    let names = parsed
        .subject_alternative_name()
        .ok()
        .flatten()
        .map(|extension| {
            extension
                .value
                .general_names
                .iter()
                .filter_map(|name| match name {
                    GeneralName::DNSName(name) => Some((*name).to_owned()),
                    _ => None,
                })
                .collect()
        })
        .unwrap_or_default();
    Some(Certificate {
        subject: parsed.subject().to_string(),
        issuer: parsed.issuer().to_string(),
        names,
        not_before: time(parsed.validity().not_before)?,
        not_after: time(parsed.validity().not_after)?,
    })
}

impl Certificate {
    /// Whether it is for a DNS name; a wildcard stands for one label (RFC 6125, section 6.4.3).
    pub(super) fn is_for(&self, name: &str) -> bool {
        self.names.iter().any(|own| {
            own.eq_ignore_ascii_case(name)
                || own
                    .strip_prefix("*.")
                    .zip(name.split_once('.'))
                    .is_some_and(|(own, (_, rest))| own.eq_ignore_ascii_case(rest))
        })
    }
}

/// Whether a served chain, the leaf first, leads to one of these authorities.
pub(super) fn trust(
    chain: &[CertificateDer<'_>],
    authorities: &[CertificateDer<'_>],
    now: Timestamp,
) -> Trust {
    let Some((leaf, intermediates)) = chain.split_first() else {
        return Trust::Open("nothing is served".into());
    };
    // As Go does: what is trusted itself needs no authority.
    if authorities.contains(leaf) {
        return Trust::Trusted;
    }
    let anchors: Vec<TrustAnchor<'_>> = authorities
        .iter()
        .filter_map(|authority| anchor_from_trusted_cert(authority).ok())
        .collect();
    let leaf = match EndEntityCert::try_from(leaf) {
        Ok(leaf) => leaf,
        Err(error) => return Trust::Open(error.to_string()),
    };
    let since = Duration::from_secs(u64::try_from(now.as_second()).unwrap_or_default());
    match leaf.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        intermediates,
        UnixTime::since_unix_epoch(since),
        KeyUsage::server_auth(),
        None,
        None,
    ) {
        Ok(_) => Trust::Trusted,
        Err(
            webpki::Error::UnknownIssuer
            | webpki::Error::InvalidSignatureForPublicKey
            | webpki::Error::CertExpired { .. },
        ) => Trust::Untrusted,
        Err(error) => Trust::Open(error.to_string()),
    }
}
