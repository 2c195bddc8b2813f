//! How the emulated clouds come by an issuer's keys: over TLS, as the real ones do, with a cache of their own each.
//!
//! They reach loopback and nothing else. A document that names another host gets the answer that an unreachable issuer
//! gets, so that a lab never asks the internet about anything.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use cwii_token::{Discovery, Jwks};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::ClientConfig;
use url::{Host, Url};

use crate::{LabError, fault::Service, server::lock};

/// By this the recorded requests of the clouds are told from those of clients.
pub(crate) const USER_AGENT: &str = "cwii-lab-cloud";

/// The clouds' view of issuers.
pub(crate) struct Fetcher {
    client: reqwest::Client,
    cache: Mutex<HashMap<(Service, String), Entry>>,
}

struct Entry {
    /// What was fetched first; the only set there is while keys are stale.
    first: Arc<Jwks>,
    latest: Arc<Jwks>,
    at: Instant,
}

impl Fetcher {
    pub(crate) fn new(tls: ClientConfig) -> Result<Self, LabError> {
        Ok(Self {
            client: reqwest::Client::builder()
                .tls_backend_preconfigured(tls)
                .dns_resolver(Arc::new(LoopbackOnly))
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .timeout(FETCH_TIMEOUT)
                .user_agent(USER_AGENT)
                .build()
                .map_err(|e| LabError::Client(e.to_string()))?,
            cache: Mutex::default(),
        })
    }

    /// Forgets what was fetched, the first sets included.
    pub(crate) fn forget(&self) {
        lock(&self.cache).clear();
    }

    /// The keys of an issuer as `cloud` knows them, fetched unless it has them. An unknown `kid` is a reason to fetch
    /// again, as for the real clouds.
    pub(crate) async fn keys(
        &self,
        cloud: Service,
        issuer: &str,
        kid: Option<&str>,
        stale: bool,
    ) -> Result<Arc<Jwks>, String> {
        let key = (cloud, issuer.to_owned());
        if let Some(entry) = lock(&self.cache).get(&key) {
            if stale {
                return Ok(Arc::clone(&entry.first));
            }
            let knows = kid.is_none_or(|kid| {
                entry
                    .latest
                    .keys
                    .iter()
                    .any(|k| k.kid.as_deref() == Some(kid))
            });
            if knows && entry.at.elapsed() < CACHE_TIME {
                return Ok(Arc::clone(&entry.latest));
            }
        }
        let fetched = Arc::new(self.fetch(issuer).await?);
        lock(&self.cache)
            .entry(key)
            .and_modify(|entry| {
                entry.latest = Arc::clone(&fetched);
                entry.at = Instant::now();
            })
            .or_insert_with(|| Entry {
                first: Arc::clone(&fetched),
                latest: Arc::clone(&fetched),
                at: Instant::now(),
            });
        Ok(fetched)
    }

    async fn fetch(&self, issuer: &str) -> Result<Jwks, String> {
        // OpenID Connect Discovery 1.0, section 4.1: a slash at the end is removed first.
        let url = format!(
            "{}/.well-known/openid-configuration",
            issuer.trim_end_matches('/')
        );
        let discovery = Discovery::parse(&self.get(&url).await?)
            .map_err(|e| format!("the discovery document at {url}: {e}"))?;
        let keys = self.get(&discovery.jwks_uri).await?;
        Jwks::parse(&keys).map_err(|e| format!("the keys at {}: {e}", discovery.jwks_uri))
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        let parsed = Url::parse(url).map_err(|e| format!("`{url}` is no URL: {e}"))?;
        if parsed.scheme() != "https" {
            return Err(format!("{url} is not https"));
        }
        let loopback = match parsed.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            // The resolver knows one name.
            _ => true,
        };
        if !loopback {
            return Err(format!("{url} cannot be reached from the internet"));
        }
        let mut response = self
            .client
            .get(parsed)
            .send()
            .await
            .map_err(|e| format!("{url}: {}", innermost(&e)))?;
        if response.status() != http::StatusCode::OK {
            return Err(format!("{url} answers HTTP {}", response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|e| format!("{url}: {}", innermost(&e)))?
        {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_DOCUMENT {
                return Err(format!("{url} answers more than {MAX_DOCUMENT} bytes"));
            }
        }
        Ok(body)
    }
}

/// The last cause, which is the one that says something.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

struct LoopbackOnly;

impl Resolve for LoopbackOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let known = name.as_str().eq_ignore_ascii_case("localhost");
        Box::pin(async move {
            if known {
                let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
                Ok(Box::new(std::iter::once(address)) as Addrs)
            } else {
                Err("no such host".into())
            }
        })
    }
}

/// AWS gives up on an issuer after about five seconds.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Hours at the real clouds; here an edit shows at once to a person, and a burst of requests still fetches once.
const CACHE_TIME: Duration = Duration::from_secs(2);
const MAX_DOCUMENT: usize = 1024 * 1024;
