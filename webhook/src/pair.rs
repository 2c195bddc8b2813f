//! A certificate with its key and its authority: how it is made, and how one that was made elsewhere is judged.
//!
//! Judged as the API server will judge it, by the same rules of path validation, at the API server's time. So what is
//! served is never worse than what it replaces.

use std::{
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::{
    Error as RustlsError, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::{CryptoProvider, ring},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _};
use secrecy::{ExposeSecret as _, SecretString};
use x509_parser::{extensions::GeneralName, prelude::*};

use crate::rotation::{Authority, Certificate, Seconds};

/// A certificate, its key and its authority, all PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: SecretString,
    pub(crate) ca: String,
}

/// A pair that was judged.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    pub(crate) pair: Pair,
    /// What a rotation goes by.
    pub(crate) certificate: Certificate,
    /// DER of the certificate itself.
    pub(crate) leaf: CertificateDer<'static>,
    /// DNS names and IP addresses that it is for.
    pub(crate) names: Vec<String>,
}

/// Why a pair cannot be served. Never says what it holds.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("`{0}` is no {1} in PEM")]
    Content(&'static str, &'static str),
    #[error("`{0}` is empty or missing")]
    Missing(&'static str),
    #[error("the key does not fit the certificate, or is of a kind that cannot be used")]
    Key,
    #[error("the certificate is for no name")]
    NoName,
    #[error("the certificate is not valid under its authority: {0}")]
    Chain(RustlsError),
}

impl Pair {
    /// Makes one, and an authority for it alone whose key is gone afterwards. Both ECDSA P-256.
    pub(crate) fn make(
        names: &[String],
        issued: SystemTime,
        lifetime: Duration,
    ) -> Result<Self, rcgen::Error> {
        let set_validity = |params: &mut CertificateParams| {
            params.not_before = (issued - BACKDATED).into();
            params.not_after = (issued + lifetime).into();
        };
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "cwii-webhook authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        set_validity(&mut params);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let ca = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);

        let mut params = CertificateParams::new(names.to_vec())?;
        params
            .distinguished_name
            .push(DnType::CommonName, "cwii-webhook");
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        set_validity(&mut params);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        Ok(Self {
            certificate: params.signed_by(&key, &issuer)?.pem(),
            key: key.serialize_pem().into(),
            ca,
        })
    }

    /// Whether it can be served, at `now`, for which of the names that are asked for. An expired one is told by its
    /// times alone.
    pub(crate) fn judge(self, asked: &[String], now: Seconds) -> Result<Judged, Unusable> {
        let certificate = || Unusable::Content("tls.crt", "certificate");
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| certificate())?;
        let leaf = chain.first().cloned().ok_or_else(certificate)?;
        let (_, parsed) = X509Certificate::from_der(&leaf).map_err(|_| certificate())?;
        let key = PrivateKeyDer::from_pem_slice(self.key.expose_secret().as_bytes())
            .map_err(|_| Unusable::Content("tls.key", "private key"))?;
        CertifiedKey::from_der(chain.clone(), key, &provider()).map_err(|_| Unusable::Key)?;
        let authority = authorities(&self.ca)
            .into_iter()
            .flatten()
            .next()
            .ok_or(Unusable::Content("ca.crt", "certificate"))?;
        let names = alternative_names(&parsed);
        let own = names.first().ok_or(Unusable::NoName)?;
        let validity = parsed.validity();
        let expires = validity.not_after.timestamp().min(authority.expires);

        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from(authority.der.clone());
        roots.add(root).map_err(Unusable::Chain)?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| Unusable::Chain(RustlsError::General(error.to_string())))?;
        let at = u64::try_from(now.min(expires)).unwrap_or_default();
        let at = UnixTime::since_unix_epoch(Duration::from_secs(at));
        let name = ServerName::try_from(own.clone()).map_err(|_| Unusable::NoName)?;
        verifier
            .verify_server_cert(&leaf, &chain[1..], &name, &[], at)
            .map_err(Unusable::Chain)?;
        let covers = asked.iter().all(|name| {
            names
                .iter()
                .any(|own| normal(own).eq_ignore_ascii_case(&normal(name)))
        });
        // One that was made elsewhere may not even last that long.
        let begins = validity.not_before.timestamp();
        let backdated = i64::try_from(BACKDATED.as_secs()).unwrap_or_default();
        let issued = Some(begins + backdated).filter(|issued| *issued < expires);
        Ok(Judged {
            certificate: Certificate {
                authority,
                issued: issued.unwrap_or(begins),
                expires,
                covers,
            },
            leaf,
            names,
            pair: self,
        })
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").finish_non_exhaustive()
    }
}

/// The certificates of a bundle; none where it is not one.
pub(crate) fn authorities(pem: &str) -> Option<Vec<Authority>> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .map(|certificate| {
            let der = certificate.ok()?;
            let (_, parsed) = X509Certificate::from_der(&der).ok()?;
            let expires = parsed.validity().not_after.timestamp();
            Some(Authority {
                der: der.to_vec(),
                expires,
            })
        })
        .collect()
}

/// DNS names and IP addresses of a certificate.
fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let names = extension
        .iter()
        .flat_map(|extension| &extension.value.general_names);
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
                Ok(v4) => Some(IpAddr::from(v4).to_string()),
                Err(_) => <[u8; 16]>::try_from(*bytes)
                    .ok()
                    .map(|v6| IpAddr::from(v6).to_string()),
            },
            _ => None,
        })
        .collect()
}

/// An address in its one spelling; anything else as it is.
fn normal(name: &str) -> String {
    name.parse::<IpAddr>()
        .map_or_else(|_| name.to_owned(), |address| address.to_string())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// From a day before it was made, for clocks that are behind.
const BACKDATED: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const HOUR: Duration = Duration::from_secs(3600);

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn made() -> Pair {
        let issued = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        Pair::make(
            &names(&["webhook.ns.svc", "127.0.0.1", "::1"]),
            issued,
            HOUR,
        )
        .unwrap()
    }

    fn judge(pair: Pair, now: u64) -> Result<Judged, String> {
        pair.judge(&names(&["webhook.ns.svc"]), i64::try_from(now).unwrap())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_made_is_found_good_from_a_day_before_until_its_end() {
        for now in [NOW - 86_399, NOW, NOW + 3600] {
            let judged = judge(made(), now).unwrap();
            assert_eq!(judged.certificate.issued, NOW as i64);
            assert_eq!(judged.certificate.expires, NOW as i64 + 3600);
            assert!(judged.certificate.covers);
        }
        let early = judge(made(), NOW - 86_401).unwrap_err();
        assert!(early.contains("not valid under its authority"), "{early}");
        // Its times tell that an expired one has expired.
        let late = judge(made(), NOW + 86_400).unwrap();
        assert_eq!(late.certificate.expires, NOW as i64 + 3600);
    }

    #[test]
    fn it_covers_names_and_addresses_however_they_are_spelt() {
        let now = i64::try_from(NOW).unwrap();
        for (asked, covers) in [
            (
                &["Webhook.NS.svc", "0:0:0:0:0:0:0:1", "127.0.0.1"][..],
                true,
            ),
            (&["webhook.ns.svc", "other.ns.svc"], false),
            (&["127.0.0.2"], false),
            (&["ns.svc"], false),
        ] {
            let judged = made().judge(&names(asked), now).unwrap();
            assert_eq!(judged.certificate.covers, covers, "{asked:?}");
        }
    }

    #[test]
    fn what_does_not_belong_together_is_refused_and_never_quoted() {
        let (one, other) = (made(), made());
        let key = one.key.expose_secret().to_owned();
        let with = |change: fn(&mut Pair, &Pair)| {
            let mut pair = one.clone();
            change(&mut pair, &other);
            judge(pair, NOW).unwrap_err()
        };
        let texts = [
            with(|pair, other| pair.key = other.key.clone()),
            with(|pair, other| pair.ca = other.ca.clone()),
            with(|pair, _| pair.ca = pair.certificate.clone()),
            with(|pair, _| pair.ca = "hello".into()),
            with(|pair, _| pair.certificate = "hello".into()),
            with(|pair, _| pair.key = pair.certificate.clone().into()),
        ];
        let quoted = key.lines().nth(1).unwrap();
        for text in &texts {
            assert!(!text.contains(quoted) && !text.contains("BEGIN"), "{text}");
        }
        assert_eq!(
            texts[0],
            "the key does not fit the certificate, or is of a kind that cannot be used"
        );
        assert_eq!(texts[3], "`ca.crt` is no certificate in PEM");
        assert!(!format!("{one:?}").contains(quoted));
    }

    #[test]
    fn an_authority_vouches_for_one_certificate_and_its_key_is_nowhere() {
        let (one, other) = (made(), made());
        assert_ne!(one.ca, other.ca);
        let keys = one.key.expose_secret().matches("PRIVATE KEY").count();
        assert_eq!(keys, 2, "the beginning and the end of one key");
        assert!(!one.ca.contains("PRIVATE") && !one.certificate.contains("PRIVATE"));
    }
}
