//! The issuer as the clouds would see it: discovery document and keys, from where the tool runs.
//!
//! It is asked for only after a failure, so it must be quick: the document and the place where kube-apiserver serves its
//! keys are fetched at the same time, and only where the document names another place a third request follows.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use cwii_checks::facts::{
    Cause, DocumentAnswer, Fact, Issuer, IssuerSeen, TransportProblem, TransportProblemKind,
};
use cwii_contract::{
    Provider,
    types::{IssuerUrl, shorten},
};
use cwii_token::{Discovery, Jwks};
use http::header;
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::{
    Env, Options,
    http::{DOCUMENT_LIMIT, Http, KEYS_LIMIT, Proxies, Reach, Reply, Resolver, Roots, Trouble},
};

/// Fetches discovery document and keys of an issuer, within `options.timeout`.
///
/// It never fails otherwise: each fact carries its own failure. Certificates and proxies are those of the provider's
/// exchange.
pub async fn issuer(issuer_url: &str, env: &Env, options: &Options, provider: Provider) -> Issuer {
    let mut issuer = Issuer {
        url: issuer_url.to_owned(),
        discovery_url: String::new(),
        discovery: Fact::NotCollected,
        jwks_url: None,
        jwks: Fact::NotCollected,
        seen: IssuerSeen::default(),
    };
    let parsed: IssuerUrl = match issuer_url.parse() {
        Ok(parsed) => parsed,
        Err(error) => {
            issuer.discovery = Fact::Invalid(error.to_string());
            return issuer;
        }
    };
    issuer.discovery_url = parsed.discovery_url();
    let http = match client(env, options, provider) {
        Ok(http) => http,
        Err(problem) => {
            issuer.discovery = Fact::Unreachable(problem);
            return issuer;
        }
    };
    let fetch = Fetch {
        http,
        deadline: Instant::now() + options.timeout,
    };
    let usual = format!("{}/openid/v1/jwks", issuer_url.trim_end_matches('/'));
    let (discovery, guessed, addresses) = tokio::join!(
        fetch.get(&issuer.discovery_url, DOCUMENT_LIMIT, Discovery::parse),
        fetch.get(&usual, KEYS_LIMIT, Jwks::parse),
        fetch.addresses(&issuer.discovery_url),
    );
    issuer.seen.addresses = addresses;
    let jwks = match &discovery.fact {
        Fact::Known(document) if same(&document.jwks_uri, &usual) => Some((usual, guessed)),
        Fact::Known(document) => Some((
            document.jwks_uri.clone(),
            fetch.get(&document.jwks_uri, KEYS_LIMIT, Jwks::parse).await,
        )),
        // Without the document nobody said that the keys are there; only finding them tells anything.
        _ => matches!(guessed.fact, Fact::Known(_)).then_some((usual, guessed)),
    };
    if let Some((url, jwks)) = jwks {
        issuer.jwks_url = Some(url);
        issuer.jwks = jwks.fact;
        issuer.seen.jwks = jwks.answer;
        issuer.seen.jwks_trouble = jwks.trouble;
    }
    issuer.discovery = discovery.fact;
    issuer.seen.discovery = discovery.answer;
    issuer.seen.trouble = discovery.trouble;
    issuer
}

/// Fetches a key set from an https URL, within `options.timeout`. The fact carries its own failure.
pub async fn jwks(url: &str, env: &Env, options: &Options) -> Fact<Jwks> {
    let http = match client(env, options, Provider::Az) {
        Ok(http) => http,
        Err(problem) => return Fact::Unreachable(problem),
    };
    let fetch = Fetch {
        http,
        deadline: Instant::now() + options.timeout,
    };
    fetch.get(url, KEYS_LIMIT, Jwks::parse).await.fact
}

fn client(env: &Env, options: &Options, provider: Provider) -> Result<Http, String> {
    // The variables of one cloud's command line say nothing about the issuer, save the bundle that its SDK trusts.
    let own = match provider {
        Provider::Aws => env.non_empty("AWS_CA_BUNDLE"),
        Provider::Gcp => env.non_empty("CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE"),
        Provider::Az => None,
    };
    let own = own.map(|path| crate::http::OwnVariable {
        name: "CA".into(),
        source: crate::run::ENVIRONMENT.into(),
        path: path.into(),
    });
    let reach = Reach {
        roots: Some(Roots::load(provider, env, own).map_err(|p| p.problem)?),
        proxies: Some(Arc::new(Proxies::from_env(env).map_err(|p| p.problem)?)),
        pinned: Vec::new(),
    };
    Http::detached(Arc::default(), options.clock.clone(), reach).map_err(|cause| match cause {
        Cause::Internal(text) => text,
        other => format!("{other:?}"),
    })
}

struct Fetch {
    http: Http,
    deadline: Instant,
}

/// A document, and how its answer came, or why none did.
struct Fetched<T> {
    fact: Fact<T>,
    answer: Option<DocumentAnswer>,
    trouble: Option<TransportProblem>,
}

impl<T> Fetched<T> {
    fn nothing(fact: Fact<T>) -> Self {
        Self {
            fact,
            answer: None,
            trouble: None,
        }
    }
}

impl Fetch {
    /// The addresses of a URL's host; none where it has none, of which the request to it tells more.
    async fn addresses(&self, url: &str) -> Vec<IpAddr> {
        let host = Url::parse(url)
            .ok()
            .and_then(|url| url.host_str().map(str::to_owned));
        let Some(host) = host else {
            return Vec::new();
        };
        let resolver = Resolver::system(Arc::default());
        match timeout_at(self.deadline, resolver.lookup(&host)).await {
            Ok(Ok(addresses)) => addresses,
            _ => Vec::new(),
        }
    }

    async fn get<T, E: ToString>(
        &self,
        url: &str,
        limit: usize,
        parse: impl Fn(&[u8]) -> Result<T, E>,
    ) -> Fetched<T> {
        let invalid = |text: String| Fetched::nothing(Fact::Invalid(text));
        match Url::parse(url) {
            Ok(url) if url.scheme() == "https" => {}
            Ok(_) => return invalid(format!("`{}` is not an https URL", shorten(url))),
            Err(error) => return invalid(format!("`{}` is no URL: {error}", shorten(url))),
        }
        for last in [false, true] {
            let request = http::Request::get(url)
                .header(header::ACCEPT, "application/json")
                .body(Bytes::new());
            let request = match request {
                Ok(request) => request,
                Err(error) => {
                    return invalid(format!("`{}` is no URL: {error}", shorten(url)));
                }
            };
            let sent = timeout_at(self.deadline, self.http.send(request, limit));
            match sent.await {
                Err(_) => break,
                Ok(Err(trouble)) if trouble.transient && !last => {}
                Ok(Err(trouble)) => {
                    return Fetched {
                        trouble: Some(trouble.problem.clone()),
                        ..Fetched::nothing(fact(trouble))
                    };
                }
                Ok(Ok(reply)) if reply.status >= 500 && !last => {}
                Ok(Ok(reply)) => {
                    let fact = match reply.status {
                        200 => parse(&reply.body).map_or_else(
                            |error| Fact::Invalid(describe(&reply.body, &error.to_string())),
                            Fact::Known,
                        ),
                        404 | 410 => Fact::Absent,
                        status @ (401 | 403) => Fact::Denied(format!("status {status}")),
                        status @ 500.. => Fact::Unreachable(format!("status {status}")),
                        status => Fact::Invalid(format!("status {status}, expected 200")),
                    };
                    return Fetched {
                        answer: Some(answer(&reply)),
                        ..Fetched::nothing(fact)
                    };
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        Fetched::nothing(Fact::TimedOut)
    }
}

fn answer(reply: &Reply) -> DocumentAnswer {
    let header = |name: &str| reply.header(name).map(str::to_owned);
    DocumentAnswer {
        status: reply.status,
        content_type: header("content-type"),
        cache_control: header("cache-control"),
        location: header("location"),
        bytes: reply.body.len() as u64,
        from_api_server: reply.header("x-kubernetes-pf-flowschema-uid").is_some()
            || reply.header("audit-id").is_some(),
    }
}

fn fact<T>(trouble: Trouble) -> Fact<T> {
    let detail = trouble.problem.detail;
    match trouble.problem.kind {
        TransportProblemKind::ConnectTimeout | TransportProblemKind::ReadTimeout => Fact::TimedOut,
        TransportProblemKind::Redirect
        | TransportProblemKind::TooLarge
        | TransportProblemKind::Garbage => Fact::Invalid(detail),
        _ => Fact::Unreachable(detail),
    }
}

fn describe(body: &[u8], error: &str) -> String {
    let start = body.trim_ascii_start();
    if start.starts_with(b"<") {
        format!("an HTML page, expected JSON: {error}")
    } else {
        error.to_owned()
    }
}

fn same(one: &str, other: &str) -> bool {
    match (Url::parse(one), Url::parse(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// Before the one further try.
const PAUSE: Duration = Duration::from_millis(200);
