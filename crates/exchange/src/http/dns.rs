//! Names to addresses without glibc, whose resolver wants shared objects that a static binary in an empty root has not.
//!
//! `/etc/hosts` first, then `localhost` (RFC 6761, section 6.3: it needs no file), then the name servers, search list and
//! `ndots` of `/etc/resolv.conf`, as the application in the same pod would see them. There is no fallback to anybody's
//! public resolver: without a name server the error says so.
//!
//! Where programs are not static, on macOS and Windows, the system is asked instead of `/etc/resolv.conf`: it knows of
//! name servers per domain, which that file has no words for.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};
#[cfg(target_os = "linux")]
use std::{sync::OnceLock, time::Duration};

#[cfg(target_os = "linux")]
use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{NetError, runtime::TokioRuntimeProvider},
    system_conf::parse_resolv_conf,
};

use super::{Traffic, connect::Gauge};
use crate::files;

/// Resolves names as the exchanges do. Cheap to clone.
#[derive(Clone)]
pub struct Resolver(Arc<Inner>);

struct Inner {
    hosts: PathBuf,
    traffic: Arc<Traffic>,
    #[cfg(target_os = "linux")]
    resolv_conf: PathBuf,
    #[cfg(target_os = "linux")]
    name_servers: OnceLock<Result<TokioResolver, String>>,
}

impl Default for Resolver {
    fn default() -> Self {
        Self::system(Arc::default())
    }
}

impl Resolver {
    /// The resolver of this machine, or pod. Files are read when the first name needs them.
    #[cfg(target_os = "linux")]
    pub(crate) fn system(traffic: Arc<Traffic>) -> Self {
        Self::with_files(traffic, "/etc/hosts".into(), "/etc/resolv.conf".into())
    }

    /// The resolver of this machine.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn system(traffic: Arc<Traffic>) -> Self {
        Self(Arc::new(Inner {
            hosts: "/etc/hosts".into(),
            traffic,
        }))
    }

    #[cfg(target_os = "linux")]
    fn with_files(traffic: Arc<Traffic>, hosts: PathBuf, resolv_conf: PathBuf) -> Self {
        Self(Arc::new(Inner {
            hosts,
            resolv_conf,
            traffic,
            name_servers: OnceLock::new(),
        }))
    }

    /// All addresses of a name, IPv4 before IPv6; connecting races the families (RFC 8305).
    ///
    /// # Errors
    ///
    /// It has none, or that could not be found out.
    pub async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse() {
            return Ok(vec![address]);
        }
        let listed = self.listed(name);
        if !listed.is_empty() {
            return Ok(listed);
        }
        if is_localhost(name) {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let addresses = self.asked(name).await?;
        if addresses.is_empty() {
            return Err(ResolveError {
                detail: format!("`{name}` has no address"),
                transient: true,
            });
        }
        Ok(addresses)
    }

    /// What the name servers say.
    #[cfg(target_os = "linux")]
    async fn asked(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let resolver = self
            .0
            .name_servers
            .get_or_init(|| self.name_servers())
            .as_ref()
            .map_err(|problem| ResolveError {
                detail: format!("`{name}` cannot be resolved: {problem}"),
                transient: false,
            })?;
        let _resolving = Gauge::of(&self.0.traffic.resolving);
        let found = resolver.lookup_ip(name).await.map_err(|error| {
            let detail = if error.is_nx_domain() {
                format!("`{name}` does not exist (NXDOMAIN)")
            } else if error.is_no_records_found() {
                format!("`{name}` has no address")
            } else if matches!(error, NetError::Timeout) {
                format!("`{name}` cannot be resolved: no answer of the name server in time")
            } else {
                format!("`{name}` cannot be resolved: {error}")
            };
            ResolveError {
                detail,
                transient: !error.is_nx_domain(),
            }
        })?;
        Ok(found.iter().collect())
    }

    /// What the system says; it does not tell a name that does not exist from one that it could not ask for.
    #[cfg(not(target_os = "linux"))]
    async fn asked(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let _resolving = Gauge::of(&self.0.traffic.resolving);
        let found = tokio::net::lookup_host((name, 0))
            .await
            .map_err(|error| ResolveError {
                detail: format!("`{name}` cannot be resolved: {error}"),
                transient: true,
            })?;
        let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
        addresses.sort_by_key(IpAddr::is_ipv6);
        addresses.dedup();
        Ok(addresses)
    }

    /// Addresses in the hosts file.
    fn listed(&self, name: &str) -> Vec<IpAddr> {
        let Ok(bytes) = files::read(&self.0.hosts.to_string_lossy(), HOSTS_LIMIT) else {
            return Vec::new();
        };
        let name = name.trim_end_matches('.');
        String::from_utf8_lossy(&bytes)
            .lines()
            .filter_map(|line| {
                let mut words = line.split('#').next()?.split_whitespace();
                let address = words.next()?.parse().ok()?;
                words
                    .any(|word| word.trim_end_matches('.').eq_ignore_ascii_case(name))
                    .then_some(address)
            })
            .collect()
    }

    #[cfg(target_os = "linux")]
    fn name_servers(&self) -> Result<TokioResolver, String> {
        let path = self.0.resolv_conf.display().to_string();
        let bytes = files::read(&path, HOSTS_LIMIT)
            .map_err(|e| format!("no name server is known, `{path}`: {}", e.describe(&path)))?;
        let (config, options) = parse_resolv_conf(bytes)
            .map_err(|_| format!("no name server is known: `{path}` names none"))?;
        build(config, options)
    }
}

#[cfg(target_os = "linux")]
fn build(config: ResolverConfig, mut options: ResolverOpts) -> Result<TokioResolver, String> {
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Never;
    options.cache_size = 16;
    // A lost datagram must not cost the whole time to connect.
    options.timeout = options.timeout.min(Duration::from_secs(1));
    options.attempts = options.attempts.max(2);
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options)
        .build()
        .map_err(|e| format!("the resolver cannot be set up: {e}"))
}

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let addresses = resolver.lookup(name.as_str()).await?;
            let addresses: reqwest::dns::Addrs =
                Box::new(addresses.into_iter().map(|ip| SocketAddr::new(ip, 0)));
            Ok(addresses)
        })
    }
}

/// A name has no address.
#[derive(Clone, Debug)]
pub struct ResolveError {
    pub(crate) detail: String,
    pub(crate) transient: bool,
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for ResolveError {}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// Nobody's hosts file is as large.
const HOSTS_LIMIT: u64 = 1024 * 1024;

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::fs;

    use super::*;

    fn resolver(hosts: &str, resolv_conf: Option<&str>) -> (tempfile::TempDir, Resolver) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("hosts"), hosts).unwrap();
        if let Some(text) = resolv_conf {
            fs::write(dir.path().join("resolv.conf"), text).unwrap();
        }
        let resolver = Resolver::with_files(
            Arc::default(),
            dir.path().join("hosts"),
            dir.path().join("resolv.conf"),
        );
        (dir, resolver)
    }

    async fn lookup(resolver: &Resolver, name: &str) -> Result<Vec<String>, String> {
        resolver
            .lookup(name)
            .await
            .map(|found| found.iter().map(ToString::to_string).collect())
            .map_err(|e| e.to_string())
    }

    #[tokio::test]
    async fn the_hosts_file_is_honoured_for_both_families_and_any_case() {
        let (_dir, resolver) = resolver(
            "# comment\n10.0.0.7 STS.example.com sts # tail\n2001:db8::7\tsts.example.com.\nbroken line\n",
            None,
        );
        assert_eq!(
            lookup(&resolver, "sts.Example.com").await.unwrap(),
            ["10.0.0.7", "2001:db8::7"]
        );
        assert_eq!(lookup(&resolver, "sts").await.unwrap(), ["10.0.0.7"]);
    }

    #[tokio::test]
    async fn localhost_and_literal_addresses_need_no_file() {
        let resolver = Resolver::with_files(
            Arc::default(),
            "/nonexistent/hosts".into(),
            "/nonexistent/resolv.conf".into(),
        );
        for name in ["localhost", "LOCALHOST.", "a.localhost"] {
            assert_eq!(lookup(&resolver, name).await.unwrap(), ["127.0.0.1", "::1"]);
        }
        assert_eq!(lookup(&resolver, "[::1]").await.unwrap(), ["::1"]);
        assert_eq!(lookup(&resolver, "192.0.2.1").await.unwrap(), ["192.0.2.1"]);
    }

    #[tokio::test]
    async fn without_a_name_server_the_error_says_so() {
        let (_dir, missing) = resolver("", None);
        let error = lookup(&missing, "sts.amazonaws.com").await.unwrap_err();
        assert!(error.contains("no name server is known"), "{error}");
        let (_dir, empty) = resolver("", Some("search example.com\noptions ndots:5\n"));
        let error = lookup(&empty, "sts.amazonaws.com").await.unwrap_err();
        assert!(error.contains("names none"), "{error}");
    }

    #[tokio::test]
    async fn a_name_server_is_asked_for_both_families_and_told_from_silence() {
        let server = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, from)) = server.recv_from(&mut query).await {
                if let Some(answer) = answer(&query[..length]) {
                    server.send_to(&answer, from).await.unwrap();
                }
            }
        });
        let (mut config, options) = parse_resolv_conf("nameserver 127.0.0.1\n").unwrap();
        let mut servers = config.name_servers().to_vec();
        for connection in servers.iter_mut().flat_map(|s| &mut s.connections) {
            connection.port = port;
        }
        config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let (_dir, resolver) = resolver("", None);
        let built = build(config, options).unwrap();
        assert!(resolver.0.name_servers.set(Ok(built)).is_ok());
        assert_eq!(
            lookup(&resolver, "sts.example.com").await.unwrap(),
            ["192.0.2.9"]
        );
        let error = lookup(&resolver, "gone.example.com").await.unwrap_err();
        assert!(error.contains("NXDOMAIN"), "{error}");
        let error = lookup(&resolver, "silent.example.com").await.unwrap_err();
        assert!(error.contains("in time"), "{error}");
    }

    /// 192.0.2.9 for A queries and nothing for others; no such name for `gone`, silence for `silent`.
    fn answer(query: &[u8]) -> Option<Vec<u8>> {
        let end = 12 + query[12..].iter().position(|b| *b == 0)? + 5;
        let mut answer = query[..end].to_vec();
        answer[2] |= 0x80;
        answer[3] = 0;
        answer[6..12].fill(0);
        match &query[13..17] {
            b"gone" => answer[3] = 3,
            b"sile" => return None,
            _ if query[end - 3] == 1 => {
                answer[7] = 1;
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 9]);
            }
            _ => {}
        }
        Some(answer)
    }
}
