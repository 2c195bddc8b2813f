//! The throw-away certificate authority of one lab.
//!
//! Its key lives in memory and dies with the lab; only the certificate is written, for clients to trust. A second
//! authority, which nobody trusts, and two leaves that are wrong in other ways serve the certificate faults.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use ring::digest;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{self, CryptoProvider},
    server::NoServerSessionStorage,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use crate::{LabError, fault::Certificate};

/// The authority, and an acceptor for every certificate that a server can show.
pub(crate) struct Tls {
    /// Certificate of the authority, PEM.
    pub(crate) ca_pem: String,
    /// Certificate of the authority that nobody trusts, PEM.
    pub(crate) other_ca_pem: String,
    ca_der: CertificateDer<'static>,
    good: TlsAcceptor,
    untrusted: TlsAcceptor,
    expired: TlsAcceptor,
    other_name: TlsAcceptor,
}

impl Tls {
    /// `extra_names` stand in the certificate beside loopback's.
    pub(crate) fn generate(extra_names: &[String]) -> Result<Self, LabError> {
        let mut names = LOOPBACK_NAMES.to_vec();
        names.extend(extra_names.iter().map(String::as_str));
        let ca = Authority::generate("cwii lab throw-away CA")?;
        let stranger = Authority::generate("a CA that nobody trusts")?;
        Ok(Self {
            good: ca.acceptor(&names, CURRENT_YEARS)?,
            untrusted: stranger.acceptor(&LOOPBACK_NAMES, CURRENT_YEARS)?,
            expired: ca.acceptor(&LOOPBACK_NAMES, PAST_YEARS)?,
            other_name: ca.acceptor(&["other.cwii-lab.invalid"], CURRENT_YEARS)?,
            ca_pem: ca.pem,
            other_ca_pem: stranger.pem,
            ca_der: ca.der,
        })
    }

    pub(crate) fn acceptor(&self, certificate: Option<Certificate>) -> TlsAcceptor {
        match certificate {
            None => &self.good,
            Some(Certificate::Untrusted) => &self.untrusted,
            Some(Certificate::Expired) => &self.expired,
            Some(Certificate::OtherName) => &self.other_name,
        }
        .clone()
    }

    /// SHA-1 of the authority's certificate, as a ThumbprintList of AWS holds it.
    pub(crate) fn thumbprint(&self) -> String {
        let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &self.ca_der);
        digest.as_ref().iter().map(|b| format!("{b:02x}")).collect()
    }

    /// What the emulated clouds use to fetch keys: they trust this lab and nobody else.
    pub(crate) fn client_config(&self) -> Result<ClientConfig, LabError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca_der.clone())?;
        Ok(ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth())
    }
}

struct Authority {
    pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn generate(name: &str) -> Result<Self, LabError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_years(&mut params, CURRENT_YEARS);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        })
    }

    fn acceptor(&self, names: &[&str], years: Years) -> Result<TlsAcceptor, LabError> {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params
            .distinguished_name
            .push(DnType::CommonName, "cwii lab");
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        set_years(&mut params, years);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )?;
        // No resumption: every connection is counted with its whole handshake, and no ticket is written between the
        // client's last handshake message and its request, which would look like a round trip.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(crypto::ring::default_provider())
}

fn set_years(params: &mut CertificateParams, (first, last): Years) {
    params.not_before = date_time_ymd(first, 1, 1);
    params.not_after = date_time_ymd(last, 12, 31);
}

type Years = (i32, i32);

const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
const CURRENT_YEARS: Years = (2020, 2099);
const PAST_YEARS: Years = (2020, 2021);
