//! The proxy on the way to the API server: the cluster's `proxy-url`, else the variables that Go reads.
//!
//! kube compares the proxy's own address with `NO_PROXY`; client-go compares the server's, and a `proxy-url` needs no
//! leave of the environment.

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use kube::config::Cluster;

use crate::problem::Problem;

/// The proxy for a server, if there is one.
///
/// # Errors
///
/// A proxy that nobody could speak to. Its URL may hold a password and is not repeated.
pub(super) fn for_server(
    server: &Uri,
    cluster: &Cluster,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Intercept>, Problem> {
    let (matcher, source) = match cluster.proxy_url.as_deref().filter(|url| !url.is_empty()) {
        Some(url) => (
            Matcher::builder().all(url).build(),
            "the cluster's `proxy-url`",
        ),
        None => {
            let host = server.host().unwrap_or_default();
            let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            if host == "localhost" || address.is_ok_and(|address| address.is_loopback()) {
                return Ok(None);
            }
            let of = |names: [&str; 2]| {
                names
                    .into_iter()
                    .find_map(|name| variable(name).filter(|value| !value.is_empty()))
                    .unwrap_or_default()
            };
            let matcher = Matcher::builder()
                .https(of(["HTTPS_PROXY", "https_proxy"]))
                .http(of(["HTTP_PROXY", "http_proxy"]))
                .no(of(["NO_PROXY", "no_proxy"]))
                .build();
            (matcher, "HTTPS_PROXY or HTTP_PROXY")
        }
    };
    let Some(proxy) = matcher.intercept(server) else {
        if cluster
            .proxy_url
            .as_deref()
            .is_some_and(|url| !url.is_empty())
        {
            return Err(Problem::new(format!("{source} is no URL of a proxy")));
        }
        return Ok(None);
    };
    match proxy.uri().scheme_str() {
        Some("http" | "https" | "socks5" | "socks5h") => Ok(Some(proxy)),
        other => Err(Problem::new(format!(
            "{source} has the scheme `{}`, expected `http`, `https` or `socks5`",
            other.unwrap_or_default()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(server: &str, url: Option<&str>, variables: &[(&str, &str)]) -> Option<String> {
        let cluster = Cluster {
            proxy_url: url.map(str::to_owned),
            ..Cluster::default()
        };
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        for_server(&server.parse().unwrap(), &cluster, variable)
            .unwrap()
            .map(|proxy| proxy.uri().to_string())
    }

    const SERVER: &str = "https://k8s.example.com:6443";

    #[test]
    fn the_clusters_own_proxy_comes_first_and_asks_nobody() {
        let variables = [("HTTPS_PROXY", "http://env:1"), ("NO_PROXY", "*")];
        assert_eq!(
            proxy(SERVER, Some("http://own:2"), &variables).unwrap(),
            "http://own:2/"
        );
        assert_eq!(
            proxy("https://127.0.0.1:1", Some("http://own:2"), &[]).unwrap(),
            "http://own:2/"
        );
        assert_eq!(proxy(SERVER, None, &variables), None);
        assert_eq!(
            proxy(SERVER, None, &variables[..1]).unwrap(),
            "http://env:1/"
        );
        assert_eq!(proxy(SERVER, None, &[("http_proxy", "http://env:1")]), None);
    }

    #[test]
    fn exceptions_are_the_servers_name_and_not_the_proxys() {
        let except = |list| [("https_proxy", "http://proxy.local:1"), ("no_proxy", list)];
        assert_eq!(proxy(SERVER, None, &except("example.com")), None);
        assert!(proxy(SERVER, None, &except("proxy.local")).is_some());
        assert_eq!(proxy("https://10.1.2.3", None, &except("10.0.0.0/8")), None);
        assert_eq!(proxy("https://127.0.0.1:6443", None, &except("")), None);
        assert_eq!(proxy("https://localhost", None, &except("")), None);
    }
}
