//! Endpoints that a token must not be sent to unless somebody says so.
//!
//! A credentials document or an authority variable decides where the ServiceAccount token goes. Who can change it can have
//! the token delivered to himself, so a host outside the provider's own domains is refused unless `--allow-endpoint`
//! names it.

use url::Url;

use crate::{Options, http};

/// Whether a caller allowed this endpoint by `HOST`, any port, or `HOST:PORT`.
pub(crate) fn is_allowed(options: &Options, url: &Url) -> bool {
    let Some(host) = url.host_str() else {
        return false;
    };
    options.allow_endpoints.iter().any(|entry| {
        let entry = entry.trim();
        let with_port = url
            .port_or_known_default()
            .map(|port| format!("{host}:{port}"))
            .unwrap_or_default();
        entry.eq_ignore_ascii_case(host)
            || entry.eq_ignore_ascii_case(host.trim_matches(['[', ']']))
            || entry.eq_ignore_ascii_case(&with_port)
    })
}

/// Whether a host is a domain or below it.
pub(crate) fn is_within(host: &str, domain: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let domain = domain.to_ascii_lowercase();
    host.strip_suffix(&domain)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// What to tell somebody whose endpoint was refused.
pub(crate) fn refusal(url: &Url, expected: &str) -> String {
    format!(
        "expected {expected}, found `{}`, and no `--allow-endpoint {}` allows it",
        http::authority(url),
        http::authority(url)
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_endpoint_is_allowed_by_host_or_by_host_and_port() {
        let mut options = Options::new(Duration::ZERO, jiff::Timestamp::default);
        for (entry, url, allowed) in [
            ("localhost", "https://localhost:8443/x", true),
            ("localhost:8443", "https://localhost:8443/x", true),
            ("localhost:8444", "https://localhost:8443/x", false),
            ("LOCALHOST", "https://localhost/", true),
            ("localhost:443", "https://localhost/", true),
            ("host", "https://localhost/", false),
            ("[::1]:8443", "https://[::1]:8443/", true),
            ("::1", "https://[::1]:8443/", true),
            ("", "https://localhost/", false),
        ] {
            options.allow_endpoints = vec![entry.into()];
            assert_eq!(
                is_allowed(&options, &url.parse().unwrap()),
                allowed,
                "{entry} {url}"
            );
        }
    }

    #[test]
    fn a_domain_contains_itself_and_what_is_below() {
        assert!(is_within("sts.googleapis.com", "googleapis.com"));
        assert!(is_within("STS.EU.rep.googleapis.com.", "googleapis.com"));
        assert!(is_within("googleapis.com", "googleapis.com"));
        assert!(!is_within("evilgoogleapis.com", "googleapis.com"));
        assert!(!is_within("googleapis.com.evil.example", "googleapis.com"));
    }
}
