//! Whom TLS trusts: the certificates that the client being replaced would trust, and which variable said so.
//!
//! A variable replaces the roots, as it does in every client. The order is the cloud's own variable, then
//! `REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE`, `SSL_CERT_FILE` with `SSL_CERT_DIR`, then the system's store, then Mozilla's
//! roots that are compiled in, which are only touched when nothing else is there.

use std::sync::Arc;

use cwii_checks::facts::{Cause, ConfigurationProblem, ConfigurationProblemKind, Input, Note};
use cwii_contract::Provider;
use rustls::{ClientConfig, RootCertStore, client::Resumption, crypto::ring};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use crate::{
    Env,
    files::{self, FileError},
    run::ENVIRONMENT,
};

/// Trusted certificates, and where they came from.
pub(crate) struct Roots {
    pub(super) store: RootCertStore,
    pub(super) input: Input,
    pub(super) notes: Vec<Note>,
}

/// A setting of one cloud's client that comes before the common variables.
pub(crate) struct OwnVariable {
    /// Its name: `AWS_CA_BUNDLE`, `ca_bundle`.
    pub(crate) name: String,
    /// Where it stands: `environment`, `profile default`.
    pub(crate) source: String,
    /// The path.
    pub(crate) path: String,
}

impl Roots {
    /// Loads what a client of this cloud would trust.
    ///
    /// # Errors
    ///
    /// A variable names a file that cannot be read or holds no certificate.
    pub(crate) fn load(
        provider: Provider,
        env: &Env,
        own: Option<OwnVariable>,
    ) -> Result<Self, ConfigurationProblem> {
        if let Some(own) = own {
            return Self::from_paths(provider, &own.name, &own.source, &[&own.path]);
        }
        for name in ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"] {
            if let Some(path) = env.non_empty(name) {
                return Self::from_paths(provider, name, ENVIRONMENT, &[path]);
            }
        }
        let file = env.non_empty("SSL_CERT_FILE");
        let directory = env.non_empty("SSL_CERT_DIR");
        let name = match (file, directory) {
            (Some(_), Some(_)) => "SSL_CERT_FILE and SSL_CERT_DIR",
            (None, Some(_)) => "SSL_CERT_DIR",
            _ => "SSL_CERT_FILE",
        };
        // OpenSSL separates directories with colons.
        let directories = directory.into_iter().flat_map(|d| d.split(':'));
        let paths: Vec<&str> = file.into_iter().chain(directories).collect();
        if !paths.is_empty() {
            return Self::from_paths(provider, name, ENVIRONMENT, &paths);
        }
        Ok(Self::system().unwrap_or_else(Self::compiled_in))
    }

    /// Loads certificates that a variable holds itself.
    ///
    /// # Errors
    ///
    /// The text holds no certificate.
    pub(crate) fn from_pem(name: &str, pem: &str) -> Result<Self, ConfigurationProblem> {
        let mut store = RootCertStore::empty();
        add_pem(&mut store, pem.as_bytes());
        if store.is_empty() {
            return Err(ConfigurationProblem {
                name: name.to_owned(),
                source: ENVIRONMENT.to_owned(),
                problem: "certificates in PEM form are expected, none was found".to_owned(),
                kind: ConfigurationProblemKind::Invalid,
            });
        }
        Ok(Self {
            input: Input {
                name: "CA",
                value: format!("{} certificates", store.len()),
                source: name.to_owned(),
            },
            store,
            notes: Vec::new(),
        })
    }

    fn from_paths(
        provider: Provider,
        name: &str,
        source: &str,
        paths: &[&str],
    ) -> Result<Self, ConfigurationProblem> {
        let shown = paths.join(", ");
        let problem = |kind, problem: String| ConfigurationProblem {
            name: name.to_owned(),
            source: source.to_owned(),
            problem,
            kind,
        };
        let mut store = RootCertStore::empty();
        for path in paths {
            add(&mut store, path).map_err(|e| {
                problem(
                    ConfigurationProblemKind::Unreadable,
                    format!(
                        "certificates are expected at `{path}`: {}",
                        e.describe(path)
                    ),
                )
            })?;
        }
        if store.is_empty() {
            return Err(problem(
                ConfigurationProblemKind::Invalid,
                format!("certificates in PEM form are expected at `{shown}`, none was found"),
            ));
        }
        let origin = if source == ENVIRONMENT { name } else { source };
        Ok(Self {
            store,
            input: Input {
                name: "CA",
                value: shown,
                source: origin.to_owned(),
            },
            notes: blind_clients(provider, name)
                .map(|who| Note {
                    code: None,
                    text: format!("{name} is not read by {who}: there TLS would use other roots"),
                })
                .into_iter()
                .collect(),
        })
    }

    fn system() -> Option<Self> {
        SYSTEM_STORES.into_iter().find_map(|path| {
            let mut store = RootCertStore::empty();
            add(&mut store, path).ok()?;
            (!store.is_empty()).then(|| Self {
                store,
                input: Input {
                    name: "CA",
                    value: path.into(),
                    source: "system".into(),
                },
                notes: Vec::new(),
            })
        })
    }

    fn compiled_in() -> Self {
        Self {
            store: RootCertStore {
                roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
            },
            input: Input {
                name: "CA",
                value: "Mozilla's roots".into(),
                source: "compiled in".into(),
            },
            notes: Vec::new(),
        }
    }
}

/// The certificates that programs without a setting of their own trust, as Go's `crypto/x509` has it: `SSL_CERT_FILE` and
/// `SSL_CERT_DIR`, else the system's store, else Mozilla's roots.
///
/// # Errors
///
/// A variable names a file that cannot be read or holds no certificate.
pub fn trusted_roots(env: &Env) -> Result<RootCertStore, ConfigurationProblem> {
    for (name, separator) in [("SSL_CERT_FILE", None), ("SSL_CERT_DIR", Some(':'))] {
        let Some(value) = env.non_empty(name) else {
            continue;
        };
        let problem = |kind, problem: String| ConfigurationProblem {
            name: name.to_owned(),
            source: ENVIRONMENT.to_owned(),
            problem,
            kind,
        };
        let mut store = RootCertStore::empty();
        let paths: Vec<&str> = match separator {
            Some(separator) => value.split(separator).collect(),
            None => vec![value],
        };
        for path in paths {
            add(&mut store, path)
                .map_err(|e| problem(ConfigurationProblemKind::Unreadable, e.describe(path)))?;
        }
        if store.is_empty() {
            return Err(problem(
                ConfigurationProblemKind::Invalid,
                format!("certificates in PEM form are expected at `{value}`, none was found"),
            ));
        }
        return Ok(store);
    }
    Ok(Roots::system().unwrap_or_else(Roots::compiled_in).store)
}

/// The TLS configuration of a client that trusts these roots; none trusts nobody, for plain HTTP.
pub(super) fn client_config(roots: Option<RootCertStore>) -> Result<ClientConfig, Cause> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| Cause::Internal(format!("TLS cannot be set up: {e}")))?
        .with_root_certificates(roots.unwrap_or_else(RootCertStore::empty))
        .with_no_client_auth();
    // A handful of hosts, and a few tries: the default keeps room for hundreds.
    config.resumption = Resumption::in_memory_sessions(8);
    Ok(config)
}

/// Which other clients of this cloud do not see a variable. Verified runs of the clients, see their documentation.
fn blind_clients(provider: Provider, name: &str) -> Option<&'static str> {
    match (name, provider) {
        ("REQUESTS_CA_BUNDLE", _) => Some("the Go and Rust SDKs"),
        ("CURL_CA_BUNDLE", Provider::Aws) => Some("the AWS CLI, boto3, and the Go and Rust SDKs"),
        ("CURL_CA_BUNDLE", Provider::Az) => {
            Some("azure-identity for Python, and the Go and Rust SDKs")
        }
        ("CURL_CA_BUNDLE", Provider::Gcp) => Some("the Go and Rust SDKs"),
        ("SSL_CERT_FILE" | "SSL_CERT_DIR" | "SSL_CERT_FILE and SSL_CERT_DIR", Provider::Aws) => {
            Some("the AWS CLI and boto3")
        }
        ("SSL_CERT_FILE" | "SSL_CERT_DIR" | "SSL_CERT_FILE and SSL_CERT_DIR", Provider::Az) => {
            Some("azure-identity for Python and the az CLI")
        }
        ("SSL_CERT_FILE" | "SSL_CERT_DIR" | "SSL_CERT_FILE and SSL_CERT_DIR", Provider::Gcp) => {
            Some("google-auth for Python and gcloud")
        }
        ("CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", _) => Some("the client libraries, only by gcloud"),
        _ => None,
    }
}

fn add_pem(store: &mut RootCertStore, pem: &[u8]) {
    for certificate in CertificateDer::pem_slice_iter(pem).flatten() {
        let _ = store.add(certificate);
    }
}

/// Adds the certificates of a PEM file, or of all files of a directory. What does not parse is passed over.
fn add(store: &mut RootCertStore, path: &str) -> Result<(), FileError> {
    match files::read(path, BUNDLE_LIMIT) {
        Ok(bytes) => {
            add_pem(store, &bytes);
            Ok(())
        }
        Err(FileError::Directory) => {
            let entries = std::fs::read_dir(path).map_err(|e| FileError::Other(e.kind()))?;
            for entry in entries.flatten() {
                if let Some(file) = entry.path().to_str()
                    && let Ok(bytes) = files::read(file, BUNDLE_LIMIT)
                {
                    add_pem(store, &bytes);
                }
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Where distributions keep their bundle: Debian and Alpine, Fedora, openSUSE, OpenELEC, RHEL, Alpine's LibreSSL.
/// The list of Go's `crypto/x509`.
const SYSTEM_STORES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Mozilla's bundle has a quarter of a megabyte.
const BUNDLE_LIMIT: u64 = 8 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn pem() -> String {
        rcgen::generate_simple_self_signed(["localhost".to_owned()])
            .unwrap()
            .cert
            .pem()
    }

    fn load(
        provider: Provider,
        variables: &[(&str, &str)],
        own: Option<&str>,
    ) -> Result<Roots, ConfigurationProblem> {
        let own = own.map(|path| OwnVariable {
            name: "AWS_CA_BUNDLE".into(),
            source: ENVIRONMENT.into(),
            path: path.into(),
        });
        Roots::load(provider, &variables.iter().copied().collect(), own)
    }

    #[test]
    fn the_first_variable_of_the_order_replaces_all_roots() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| {
            let path = dir.path().join(name);
            fs::write(&path, pem()).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (own, requests, curl, ssl) = (path("own"), path("requests"), path("curl"), path("ssl"));
        let all = [
            ("REQUESTS_CA_BUNDLE", requests.as_str()),
            ("CURL_CA_BUNDLE", curl.as_str()),
            ("SSL_CERT_FILE", ssl.as_str()),
        ];
        for (own, rest, expected) in [
            (Some(own.as_str()), 0, "AWS_CA_BUNDLE"),
            (None, 0, "REQUESTS_CA_BUNDLE"),
            (None, 1, "CURL_CA_BUNDLE"),
            (None, 2, "SSL_CERT_FILE"),
        ] {
            let roots = load(Provider::Aws, &all[rest..], own).ok().unwrap();
            assert_eq!(roots.input.source, expected);
            assert_eq!(roots.store.len(), 1);
        }
    }

    #[test]
    fn a_directory_of_certificates_is_read_whole() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.pem"), pem()).unwrap();
        fs::write(dir.path().join("b.pem"), pem() + &pem()).unwrap();
        fs::write(dir.path().join("README"), "no certificate").unwrap();
        let path = dir.path().to_str().unwrap();
        let roots = load(Provider::Gcp, &[("SSL_CERT_DIR", path)], None)
            .ok()
            .unwrap();
        assert_eq!(roots.store.len(), 3);
    }

    #[test]
    fn a_bundle_that_cannot_be_used_names_variable_and_path() {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty.pem");
        fs::write(&empty, "").unwrap();
        let empty = empty.to_str().unwrap();
        for (path, kind) in [
            ("/nonexistent/ca.pem", ConfigurationProblemKind::Unreadable),
            (empty, ConfigurationProblemKind::Invalid),
        ] {
            let problem = load(Provider::Az, &[("REQUESTS_CA_BUNDLE", path)], None)
                .err()
                .unwrap();
            assert_eq!(problem.name, "REQUESTS_CA_BUNDLE");
            assert_eq!(problem.kind, kind);
            assert!(problem.problem.contains(path), "{}", problem.problem);
        }
    }

    #[test]
    fn a_variable_that_other_clients_do_not_read_is_noted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        fs::write(&path, pem()).unwrap();
        let path = path.to_str().unwrap();
        let roots = load(Provider::Aws, &[("SSL_CERT_FILE", path)], None)
            .ok()
            .unwrap();
        assert!(roots.notes[0].text.contains("boto3"));
        assert!(
            load(Provider::Aws, &[], Some(path))
                .ok()
                .unwrap()
                .notes
                .is_empty()
        );
    }
}
