//! The discovery document of an issuer (OpenID Connect Discovery 1.0, section 3), from which clouds learn where the keys
//! are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cwii_contract::types::shorten;
use serde_json::{Map, Value};
use url::{Host, Url};

use crate::{Algorithm, DocumentError, document, text, words};

/// A discovery document. Lists are empty where the document has none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Discovery {
    /// `issuer`, which must be the URL that the document was asked under.
    pub issuer: String,
    /// `jwks_uri`, where the key set is.
    pub jwks_uri: String,
    /// `response_types_supported`; kube-apiserver says `id_token`.
    pub response_types: Vec<String>,
    /// `subject_types_supported`; kube-apiserver says `public`.
    pub subject_types: Vec<String>,
    /// `id_token_signing_alg_values_supported`.
    pub signing_algorithms: Vec<String>,
    /// All members.
    pub members: Map<String, Value>,
}

impl Discovery {
    /// Parses a document.
    ///
    /// # Errors
    ///
    /// If the bytes are not a JSON object with strings in `issuer` and `jwks_uri`; the error says what they look like.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        const EXPECTED: &str = "a discovery document";
        let members = document::parse_object(bytes, EXPECTED)?;
        let text = |member: &'static str| match members.get(member) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Err(DocumentError::WrongType {
                expected: EXPECTED,
                member: member.to_owned(),
                expected_type: "a string",
                found: document::type_name(other),
            }),
            None => Err(document::missing(&members, EXPECTED, member)),
        };
        let list = |member: &str| -> Vec<String> {
            let values = members.get(member).and_then(Value::as_array);
            let texts = values.into_iter().flatten().filter_map(Value::as_str);
            texts.map(str::to_owned).collect()
        };
        Ok(Self {
            issuer: text("issuer")?,
            jwks_uri: text("jwks_uri")?,
            response_types: list("response_types_supported"),
            subject_types: list("subject_types_supported"),
            signing_algorithms: list("id_token_signing_alg_values_supported"),
            members,
        })
    }

    /// What keeps a cloud from using the document for tokens of this issuer, in the order of the document's members.
    #[must_use]
    pub fn flaws(&self, expected_issuer: &str) -> Vec<DiscoveryFlaw> {
        let mut flaws = Vec::new();
        if let Some(difference) = text::first_difference(&self.issuer, expected_issuer) {
            flaws.push(DiscoveryFlaw::Issuer {
                found: self.issuer.clone(),
                expected: expected_issuer.to_owned(),
                difference,
            });
        }
        match Url::parse(&self.jwks_uri) {
            Err(error) => flaws.push(DiscoveryFlaw::JwksUriInvalid {
                found: self.jwks_uri.clone(),
                detail: error.to_string(),
            }),
            Ok(url) => {
                if url.scheme() != "https" {
                    flaws.push(DiscoveryFlaw::JwksUriNotHttps {
                        found: self.jwks_uri.clone(),
                    });
                }
                if let Some((host, reason)) = url
                    .host_str()
                    .and_then(|host| Some((host, private_host(host)?)))
                {
                    flaws.push(DiscoveryFlaw::JwksUriPrivate {
                        host: host.to_owned(),
                        reason,
                    });
                }
            }
        }
        if self.response_types.is_empty() {
            flaws.push(DiscoveryFlaw::Missing {
                member: "response_types_supported",
                expected: "[\"id_token\"]",
            });
        }
        if self.subject_types.is_empty() {
            flaws.push(DiscoveryFlaw::Missing {
                member: "subject_types_supported",
                expected: "[\"public\"]",
            });
        }
        if self.signing_algorithms.is_empty() {
            flaws.push(DiscoveryFlaw::Missing {
                member: "id_token_signing_alg_values_supported",
                expected: "[\"RS256\"]",
            });
        } else if !self
            .signing_algorithms
            .iter()
            .any(|name| Algorithm::from_name(name).is_some())
        {
            flaws.push(DiscoveryFlaw::NoUsableAlgorithm {
                found: self.signing_algorithms.clone(),
            });
        }
        flaws
    }
}

/// What is wrong with a discovery document.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoveryFlaw {
    /// The document is of another issuer, if only by a slash.
    #[error("`issuer` {}: expected `{}`, found `{}`", difference.describe(), shorten(expected), shorten(found))]
    Issuer {
        /// The document's issuer.
        found: String,
        /// The issuer that it was looked up for.
        expected: String,
        /// Where they differ.
        difference: text::Difference,
    },
    /// `jwks_uri` is not a URL.
    #[error("`jwks_uri` is not a URL ({detail}), found `{}`", shorten(found))]
    JwksUriInvalid {
        /// The value.
        found: String,
        /// The parser's reason.
        detail: String,
    },
    /// `jwks_uri` is not https.
    #[error("expected an https URL in `jwks_uri`, found `{}`", shorten(found))]
    JwksUriNotHttps {
        /// The value.
        found: String,
    },
    /// `jwks_uri` has a host that clouds cannot reach.
    #[error(
        "expected a public host in `jwks_uri`, found `{}`, {reason}",
        shorten(host)
    )]
    JwksUriPrivate {
        /// The host.
        host: String,
        /// Why it is not public.
        reason: &'static str,
    },
    /// A list that the standard requires is absent or empty.
    #[error("has no `{member}`, expected something like {expected}")]
    Missing {
        /// The member.
        member: &'static str,
        /// What kube-apiserver has there.
        expected: &'static str,
    },
    /// None of the signing algorithms is one that a cloud accepts.
    #[error(
        "expected one of {} among `id_token_signing_alg_values_supported`, found {}",
        words::one_of(Algorithm::ALL),
        words::list(found)
    )]
    NoUsableAlgorithm {
        /// The algorithms.
        found: Vec<String>,
    },
}

/// Why a host of a URL is not reachable from the internet, judged by its text alone; none if nothing speaks against it.
#[must_use]
pub fn private_host(host: &str) -> Option<&'static str> {
    match Host::parse(host).ok()? {
        Host::Ipv4(address) => private_address(address.into()),
        Host::Ipv6(address) => private_address(address.into()),
        Host::Domain(name) => private_name(name.trim_end_matches('.')),
    }
}

fn private_name(name: &str) -> Option<&'static str> {
    let under = |suffix: &str| name.strip_suffix(suffix).is_some_and(|s| s.ends_with('.'));
    if name == "localhost" || under("localhost") {
        Some("a name for the machine itself")
    } else if name.starts_with("kubernetes.default") || under("svc") || under("svc.cluster.local") {
        Some("a name inside the cluster")
    } else if under("internal") || under("local") {
        Some("a name inside a private network")
    } else if !name.contains('.') {
        Some("a name without a domain")
    } else {
        None
    }
}

fn private_address(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(v4) if v4.is_loopback() || v4.is_unspecified() => Some("a loopback address"),
        IpAddr::V6(v6) if v6.is_loopback() || v6.is_unspecified() => Some("a loopback address"),
        IpAddr::V4(v4) if v4.is_link_local() => Some("a link-local address"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("a link-local address"),
        IpAddr::V4(v4) if v4.is_private() || is_carrier_grade(v4) => Some("a private address"),
        IpAddr::V6(v6) if is_unique_local(v6) => Some("a private address"),
        _ => None,
    }
}

/// 100.64.0.0/10 (RFC 6598), which some clouds hand to control planes.
fn is_carrier_grade(v4: Ipv4Addr) -> bool {
    let [first, second, ..] = v4.octets();
    first == 100 && second & 0xc0 == 64
}

/// fc00::/7 (RFC 4193).
fn is_unique_local(v6: Ipv6Addr) -> bool {
    v6.segments()[0] & 0xfe00 == 0xfc00
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://issuer.example.com/c";

    /// What kube-apiserver serves, with changes; `null` removes a member.
    fn flaws(changes: &Value) -> Vec<String> {
        let mut document = json!({
            "issuer": ISSUER,
            "jwks_uri": "https://issuer.example.com/c/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"]
        });
        for (name, value) in changes.as_object().into_iter().flatten() {
            document[name] = value.clone();
        }
        let discovery = Discovery::parse(document.to_string().as_bytes()).unwrap();
        discovery
            .flaws(ISSUER)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn what_kube_apiserver_serves_has_no_flaw() {
        assert_eq!(flaws(&json!({})), [""; 0]);
        assert_eq!(
            flaws(&json!({"id_token_signing_alg_values_supported": ["ML-DSA-65", "ES512"]})),
            [""; 0]
        );
    }

    #[test]
    fn each_flaw_is_named() {
        for (changes, expected) in [
            (
                json!({"issuer": "https://issuer.example.com/c/"}),
                "`issuer` has a trailing slash too many: expected `https://issuer.example.com/c`, found `https://issuer.example.com/c/`",
            ),
            (
                json!({"jwks_uri": "/openid/v1/jwks"}),
                "`jwks_uri` is not a URL (relative URL without a base), found `/openid/v1/jwks`",
            ),
            (
                json!({"jwks_uri": "http://issuer.example.com/jwks"}),
                "expected an https URL in `jwks_uri`, found `http://issuer.example.com/jwks`",
            ),
            (
                json!({"jwks_uri": "https://10.0.0.1:6443/openid/v1/jwks"}),
                "expected a public host in `jwks_uri`, found `10.0.0.1`, a private address",
            ),
            (
                json!({"jwks_uri": "https://[fd00::1]/openid/v1/jwks"}),
                "expected a public host in `jwks_uri`, found `[fd00::1]`, a private address",
            ),
            (
                json!({"response_types_supported": null}),
                "has no `response_types_supported`, expected something like [\"id_token\"]",
            ),
            (
                json!({"subject_types_supported": []}),
                "has no `subject_types_supported`, expected something like [\"public\"]",
            ),
            (
                json!({"id_token_signing_alg_values_supported": "RS256"}),
                "has no `id_token_signing_alg_values_supported`, expected something like [\"RS256\"]",
            ),
            (
                json!({"id_token_signing_alg_values_supported": ["ML-DSA-65", "EdDSA"]}),
                "expected one of `RS256`, `RS384`, `RS512`, `ES256`, `ES384` or `ES512` among `id_token_signing_alg_values_supported`, found `ML-DSA-65`, `EdDSA`",
            ),
        ] {
            assert_eq!(flaws(&changes), [expected]);
        }
    }

    #[test]
    fn hosts_that_the_internet_cannot_reach_are_known() {
        for host in [
            "10.255.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.8.9.1",
            "0.0.0.0",
            "169.254.169.254",
            "[::1]",
            "[::ffff:10.0.0.1]",
            "[fe80::1]",
            "[fc00::1]",
            "[fdff::1]",
            "localhost",
            "a.localhost",
            "issuer",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.example.org",
            "KUBERNETES.default.svc",
            "api.kube-system.svc",
            "api.kube-system.svc.cluster.local",
            "api.kube-system.svc.cluster.local.",
            "ip-10-0-0-1.eu-central-1.compute.internal",
            "printer.local",
        ] {
            assert!(private_host(host).is_some(), "{host}");
        }
        for host in [
            "11.0.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.169.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "[2001:db8::1]",
            "issuer.example.com",
            "issuer.example.com.",
            "internal.example.com",
            "notinternal",
            "xlocal.example",
            "kubernetes.example.com",
            "oidc.eks.eu-central-1.amazonaws.com",
        ] {
            let expected = (host == "notinternal").then_some("a name without a domain");
            assert_eq!(private_host(host), expected, "{host}");
        }
    }

    #[test]
    fn what_is_no_discovery_document_is_named() {
        for (document, expected) in [
            (
                "{\"keys\":[]}",
                "expected a discovery document, found a JWKS without `issuer`",
            ),
            (
                "{\"issuer\":\"https://i\"}",
                "expected a discovery document, found one without `jwks_uri`",
            ),
            (
                "{\"issuer\":[],\"jwks_uri\":\"\"}",
                "a discovery document has a string in `issuer`, found an array",
            ),
            (
                "<html>",
                "expected a discovery document, found an HTML page",
            ),
        ] {
            let error = Discovery::parse(document.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
