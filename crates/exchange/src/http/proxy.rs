//! Which proxy a request goes through, by the variables that curl, requests and Go agree on.
//!
//! `https_proxy` and `HTTPS_PROXY` serve https URLs, `http_proxy` and `HTTP_PROXY` http URLs, `all_proxy` and `ALL_PROXY`
//! both; the lower-case name wins, and set but empty means none (curl, requests). `HTTP_PROXY` is ignored where
//! `REQUEST_METHOD` is set (CVE-2016-5385). Entries of `NO_PROXY` are separated by commas or blanks and are `*`, an
//! address, a network in CIDR notation, or a domain, which stands for itself and everything below it, with or without a
//! dot in front; `:PORT` restricts an entry to that port. reqwest's own reading knows no ports, so this is ours.

use std::net::IpAddr;

use cwii_checks::facts::{ConfigurationProblem, ConfigurationProblemKind};
use url::{Host, Url};

use crate::{Env, run::ENVIRONMENT};

/// The proxies of an environment.
#[derive(Debug, Default)]
pub(crate) struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    exceptions: Vec<Exception>,
    exceptions_source: &'static str,
}

/// One proxy.
#[derive(Clone)]
pub(crate) struct Proxy {
    /// Its URL; may hold a user name and password.
    pub(super) url: Url,
    /// The variable that names it.
    pub(super) source: &'static str,
}

impl Proxy {
    /// Its URL without credentials.
    pub(super) fn shown(&self) -> String {
        format!("{}://{}", self.url.scheme(), super::authority(&self.url))
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.shown(), self.source)
    }
}

impl Proxies {
    /// Reads the variables.
    ///
    /// # Errors
    ///
    /// A variable that holds no URL of a proxy that we can speak to.
    pub(crate) fn from_env(env: &Env) -> Result<Self, ConfigurationProblem> {
        let all = variable(env, &["all_proxy", "ALL_PROXY"]);
        let https = variable(env, &["https_proxy", "HTTPS_PROXY"]).or(all);
        let names: &[&'static str] = if env.get("REQUEST_METHOD").is_some() {
            &["http_proxy"]
        } else {
            &["http_proxy", "HTTP_PROXY"]
        };
        let http = variable(env, names).or(all);
        let (exceptions, exceptions_source) = match variable(env, &["no_proxy", "NO_PROXY"]) {
            Some((source, list)) => (
                list.split([',', ' ', '\t', '\n'])
                    .filter(|e| !e.is_empty())
                    .map(Exception::parse)
                    .collect(),
                source,
            ),
            None => (Vec::new(), ""),
        };
        Ok(Self {
            http: http.map(parse).transpose()?.flatten(),
            https: https.map(parse).transpose()?.flatten(),
            exceptions,
            exceptions_source,
        })
    }

    /// The proxy for a URL.
    pub(crate) fn for_url(&self, url: &Url) -> Option<&Proxy> {
        self.configured(url).filter(|_| !self.excepted(url))
    }

    /// The variable that names the proxy for a URL.
    pub(crate) fn source_for(&self, url: &Url) -> Option<&'static str> {
        self.for_url(url).map(|proxy| proxy.source)
    }

    /// The variable that keeps a URL away from the proxy that there is.
    pub(crate) fn bypassed_by(&self, url: &Url) -> Option<&'static str> {
        (self.configured(url).is_some() && self.excepted(url)).then_some(self.exceptions_source)
    }

    fn configured(&self, url: &Url) -> Option<&Proxy> {
        match url.scheme() {
            "https" => self.https.as_ref(),
            "http" => self.http.as_ref(),
            _ => None,
        }
    }

    fn excepted(&self, url: &Url) -> bool {
        let Some(host) = url.host() else {
            return false;
        };
        let port = url.port_or_known_default();
        self.exceptions.iter().any(|e| e.covers(&host, port))
    }
}

/// The first of these variables that is set: its name and value.
fn variable<'e>(env: &'e Env, names: &[&'static str]) -> Option<(&'static str, &'e str)> {
    names
        .iter()
        .find_map(|name| env.get(name).map(|value| (*name, value.trim())))
}

fn parse((name, value): (&'static str, &str)) -> Result<Option<Proxy>, ConfigurationProblem> {
    if value.is_empty() {
        return Ok(None);
    }
    // The value may hold a password, so no error repeats it.
    let problem = |problem: String| ConfigurationProblem {
        name: name.into(),
        source: ENVIRONMENT.into(),
        problem,
        kind: ConfigurationProblemKind::Invalid,
    };
    let url = if value.contains("://") {
        Url::parse(value)
    } else {
        Url::parse(&format!("http://{value}"))
    }
    .map_err(|e| {
        problem(format!(
            "expected the URL of a proxy, found text that is none: {e}"
        ))
    })?;
    match url.scheme() {
        "http" | "https" => Ok(Some(Proxy { url, source: name })),
        other => Err(problem(format!(
            "expected an http or https proxy, found `{other}`, which is not supported"
        ))),
    }
}

#[derive(Debug, Eq, PartialEq)]
struct Exception {
    what: What,
    port: Option<u16>,
}

#[derive(Debug, Eq, PartialEq)]
enum What {
    Everything,
    Network(IpAddr, u8),
    Domain(String),
}

impl Exception {
    fn parse(entry: &str) -> Self {
        if let Some(network) = network(entry) {
            return Self {
                what: network,
                port: None,
            };
        }
        let (name, port) = match entry.rsplit_once(':') {
            Some((name, port)) => match port.parse() {
                Ok(port) => (name, Some(port)),
                Err(_) => (entry, None),
            },
            None => (entry, None),
        };
        let what = if name == "*" {
            What::Everything
        } else {
            network(name).unwrap_or_else(|| {
                let domain = name.strip_prefix('*').unwrap_or(name);
                What::Domain(domain.trim_matches('.').to_ascii_lowercase())
            })
        };
        Self { what, port }
    }

    fn covers(&self, host: &Host<&str>, port: Option<u16>) -> bool {
        if self.port.is_some() && self.port != port {
            return false;
        }
        match (&self.what, host) {
            (What::Everything, _) => true,
            (What::Domain(domain), Host::Domain(name)) => {
                let name = name.trim_end_matches('.').to_ascii_lowercase();
                !domain.is_empty()
                    && name
                        .strip_suffix(domain.as_str())
                        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            (What::Network(network, bits), Host::Ipv4(address)) => {
                contains(*network, *bits, (*address).into())
            }
            (What::Network(network, bits), Host::Ipv6(address)) => {
                contains(*network, *bits, (*address).into())
            }
            _ => false,
        }
    }
}

/// An address, bare or in brackets, or a network.
fn network(text: &str) -> Option<What> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address
        .strip_prefix('[')
        .and_then(|a| a.strip_suffix(']'))
        .unwrap_or(address)
        .parse()
        .ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        Some(bits) => bits.parse().ok().filter(|b| *b <= longest)?,
        None => longest,
    };
    Some(What::Network(address, bits))
}

fn contains(network: IpAddr, bits: u8, address: IpAddr) -> bool {
    fn bits_of(address: IpAddr) -> u128 {
        match address {
            IpAddr::V4(v4) => u128::from(u32::from(v4)) << 96,
            IpAddr::V6(v6) => u128::from(v6),
        }
    }
    let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
    network.is_ipv4() == address.is_ipv4() && bits_of(network) & mask == bits_of(address) & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::from_env(&variables.iter().copied().collect()).unwrap()
    }

    fn used(variables: &[(&str, &str)], url: &str) -> Option<String> {
        proxies(variables)
            .for_url(&url.parse().unwrap())
            .map(Proxy::shown)
    }

    #[test]
    fn the_lower_case_variable_wins_and_empty_means_none() {
        let upper = ("HTTPS_PROXY", "http://upper:3128");
        let url = "https://sts.amazonaws.com/";
        assert_eq!(used(&[upper], url).unwrap(), "http://upper:3128");
        assert_eq!(
            used(&[upper, ("https_proxy", "lower:3128")], url).unwrap(),
            "http://lower:3128"
        );
        assert_eq!(used(&[upper, ("https_proxy", "")], url), None);
        assert_eq!(
            used(&[("all_proxy", "http://all:1")], url).unwrap(),
            "http://all:1"
        );
        assert_eq!(used(&[("HTTP_PROXY", "http://plain:1")], url), None);
        assert_eq!(
            used(&[("HTTP_PROXY", "http://plain:1")], "http://x/").unwrap(),
            "http://plain:1"
        );
        assert_eq!(
            used(
                &[("HTTP_PROXY", "http://plain:1"), ("REQUEST_METHOD", "GET")],
                "http://x/"
            ),
            None
        );
    }

    #[test]
    fn no_proxy_knows_names_networks_ports_and_everything() {
        for (no_proxy, url, direct) in [
            ("amazonaws.com", "https://sts.amazonaws.com/", true),
            (".amazonaws.com", "https://sts.amazonaws.com/", true),
            (".amazonaws.com", "https://amazonaws.com/", true),
            ("*.amazonaws.com", "https://sts.amazonaws.com/", true),
            ("amazonaws.com", "https://notamazonaws.com/", false),
            ("AMAZONAWS.com", "https://STS.amazonaws.COM./", true),
            ("x, sts.amazonaws.com", "https://sts.amazonaws.com/", true),
            ("x sts.amazonaws.com", "https://sts.amazonaws.com/", true),
            ("sts.amazonaws.com:443", "https://sts.amazonaws.com/", true),
            (
                "sts.amazonaws.com:8443",
                "https://sts.amazonaws.com/",
                false,
            ),
            (
                "sts.amazonaws.com:8443",
                "https://sts.amazonaws.com:8443/",
                true,
            ),
            ("*", "https://sts.amazonaws.com/", true),
            ("", "https://sts.amazonaws.com/", false),
            (",", "https://sts.amazonaws.com/", false),
            ("10.0.0.0/8", "https://10.20.30.40/", true),
            ("10.0.0.0/8", "https://11.0.0.1/", false),
            ("0.0.0.0/0", "https://11.0.0.1/", true),
            ("10.0.0.1", "https://10.0.0.1/", true),
            ("10.0.0.1:8443", "https://10.0.0.1/", false),
            ("fd00:ec2::23", "https://[fd00:ec2::23]/", true),
            ("[fd00:ec2::23]", "https://[fd00:ec2::23]/", true),
            ("fd00::/8", "https://[fd00:ec2::23]/", true),
            ("[::1]:443", "https://[::1]/", true),
            ("[::1]:80", "https://[::1]/", false),
            ("10.0.0.0/33", "https://10.0.0.1/", false),
        ] {
            let variables = [("https_proxy", "http://proxy:3128"), ("no_proxy", no_proxy)];
            assert_eq!(
                used(&variables, url).is_none(),
                direct,
                "{no_proxy:?} {url}"
            );
        }
    }

    #[test]
    fn credentials_of_a_proxy_are_never_shown() {
        let proxies = proxies(&[("HTTPS_PROXY", "http://user:hunter2@proxy:3128")]);
        assert!(!format!("{proxies:?}").contains("hunter2"));
        for value in ["http://user:hunter2@", "socks5://user:hunter2@proxy:1080"] {
            let error =
                Proxies::from_env(&[("HTTPS_PROXY", value)].into_iter().collect()).unwrap_err();
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
