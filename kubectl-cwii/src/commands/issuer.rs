//! `kubectl cwii issuer`: discovery, keys and reachability of the cluster's issuer.

use clap::{Args, Subcommand, ValueHint};
use cwii_agent::output::printable;
use cwii_checks::facts::{
    DocumentAnswer, Fact, Issuer as PublishedIssuer, IssuerSeen, TransportProblem,
    TransportProblemKind,
};
use cwii_contract::{Provider, types::IssuerUrl};
use cwii_token::{
    Discovery, DiscoveryFlaw, Jwk, Jwks, JwksFlawKind, private_host, text::first_difference,
};
use serde::Serialize;
use serde_json::json;

use crate::{
    cli::Format,
    cluster::Cluster,
    commands::Context,
    document,
    exit::ExitStatus,
    identity,
    problem::Problem,
    sources,
    terminal::{Terminal, Tone},
};

/// Check the issuer of the cluster's tokens as clouds see it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # Compare what the cluster says of its issuer with what the issuer publishes
  kubectl cwii issuer check")]
pub(crate) struct Issuer {
    #[command(subcommand)]
    pub(crate) command: IssuerCommand,
}

#[derive(Debug, Subcommand)]
#[command(subcommand_help_heading = "Available Commands")]
pub(crate) enum IssuerCommand {
    Check(IssuerCheck),
}

/// Check discovery document, keys and reachability of an issuer, from the cluster and from outside.
///
/// From outside means over public https from where this command runs, through its proxies. Redirects are not followed, as
/// clouds do not. With a URL no cluster is asked. Output formats: human, json, yaml.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # Compare what the cluster says of its issuer with what the issuer publishes
  kubectl cwii issuer check

  # Check an issuer by its URL, with no cluster
  kubectl cwii issuer check https://oidc.example.com/prod")]
pub(crate) struct IssuerCheck {
    /// The issuer; the cluster's if omitted
    #[arg(value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) url: Option<String>,
}

pub(crate) async fn run(arguments: &Issuer, context: &mut Context) -> anyhow::Result<ExitStatus> {
    let IssuerCommand::Check(arguments) = &arguments.command;
    let format = context.format(&[Format::Human, Format::Json, Format::Yaml])?;
    let (url, inside) = match &arguments.url {
        Some(url) => (url.clone(), None),
        None => {
            let cluster = context.connect().await?;
            context
                .terminal
                .progress("asking the cluster for its issuer");
            let inside = Inside::of(&cluster).await;
            match &inside.discovery {
                Fact::Known(discovery) => (discovery.issuer.clone(), Some(inside)),
                fact => {
                    let why = sources::describe(fact);
                    return Err(Problem::new(format!(
                        "the cluster's discovery document could not be read: {why}"
                    ))
                    .help("check an issuer by its URL:")
                    .help("  kubectl cwii issuer check URL")
                    .into());
                }
            }
        }
    };
    context.terminal.progress("fetching the issuer's documents");
    let options = sources::options(context.globals.request_timeout);
    let environment = sources::environment();
    let published = tokio::select! {
        published = cwii_exchange::issuer(&url, &environment, &options, Provider::Az) => published,
        // What is known of it then is that it did not answer in time.
        _ = context.stop.wait() => PublishedIssuer {
            url: url.clone(),
            discovery_url: url
                .parse::<IssuerUrl>()
                .map_or_else(|_| String::new(), |issuer| issuer.discovery_url()),
            discovery: Fact::TimedOut,
            jwks_url: None,
            jwks: Fact::NotCollected,
            seen: IssuerSeen::default(),
        },
    };
    let report = Report::new(&url, inside.as_ref(), &published);
    let text = match format {
        Format::Json => document::json(&report.json())?,
        Format::Yaml => document::yaml(&report.json())?,
        _ => report.human(&context.terminal),
    };
    context.terminal.line(text.trim_end());
    Ok(context.stop.or(report.status()))
}

/// What the cluster says of itself.
struct Inside {
    discovery: Fact<Discovery>,
    jwks: Fact<Jwks>,
}

impl Inside {
    async fn of(cluster: &Cluster) -> Self {
        let (discovery, jwks) =
            tokio::join!(identity::discovery(cluster), cluster.raw("/openid/v1/jwks"));
        Self {
            discovery,
            jwks: identity::read(jwks, |bytes| {
                Jwks::parse(bytes).map_err(|error| error.to_string())
            }),
        }
    }
}

/// One row of the catalogue, settled or not.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Row {
    code: &'static str,
    status: Status,
    message: String,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
enum Status {
    Fail,
    Warn,
    Unknown,
    Skipped,
    Pass,
}

/// A key, by where it was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Key {
    kid: Option<String>,
    kty: Option<String>,
    /// None where the cluster was not asked, or did not say.
    in_cluster: Option<bool>,
    /// None where nothing could be fetched.
    published: Option<bool>,
}

#[derive(Debug)]
struct Report {
    issuer: String,
    discovery_url: String,
    jwks_url: Option<String>,
    rows: Vec<Row>,
    keys: Vec<Key>,
}

impl Report {
    fn new(url: &str, inside: Option<&Inside>, published: &PublishedIssuer) -> Self {
        let mut report = Self {
            issuer: url.to_owned(),
            discovery_url: published.discovery_url.clone(),
            jwks_url: published.jwks_url.clone(),
            rows: Vec::new(),
            keys: Vec::new(),
        };
        report.url(url);
        report.reachability(published);
        report.documents(url, published);
        report.keys(inside, published);
        report.rows.sort_by_key(|row| row.code);
        report
    }

    fn row(&mut self, code: &'static str, status: Status, message: impl Into<String>) {
        self.rows.push(Row {
            code,
            status,
            message: message.into(),
        });
    }

    /// ISS01 and ISS04: the URL itself.
    fn url(&mut self, url: &str) {
        let parsed = url::Url::parse(url);
        let host = parsed
            .as_ref()
            .ok()
            .and_then(|url| url.host_str().map(str::to_owned));
        match host
            .as_deref()
            .and_then(|host| Some((host, private_host(host)?)))
        {
            Some((host, reason)) => self.row(
                "ISS01",
                Status::Fail,
                format!("clouds cannot reach `{host}`: it is {reason}"),
            ),
            None if host.is_some() => {
                self.row("ISS01", Status::Pass, "the issuer's host could be public");
            }
            None => self.row("ISS01", Status::Unknown, "the issuer's URL names no host"),
        }
        let port = parsed.as_ref().ok().and_then(url::Url::port);
        match (url.parse::<IssuerUrl>(), port) {
            (Err(error), _) => self.row("ISS04", Status::Fail, error.to_string()),
            (Ok(_), Some(port)) => self.row(
                "ISS04",
                Status::Fail,
                format!("expected no port, found `:{port}`: AWS takes issuers on 443 alone"),
            ),
            (Ok(_), None) => self.row(
                "ISS04",
                Status::Pass,
                "https, without port, query and fragment",
            ),
        }
    }

    /// ISS05, ISS07 and ISS08: whether anything answers, to anybody, with a certificate that is trusted.
    fn reachability(&mut self, published: &PublishedIssuer) {
        let seen = &published.seen;
        let problem = seen.trouble.as_ref().or(seen.jwks_trouble.as_ref());
        let answered = seen.discovery.is_some() || seen.jwks.is_some();
        // A host that is an address is ISS01's.
        let _private: Vec<String> = seen
            .addresses
            .iter()
            .map(ToString::to_string)
            .filter(|address| {
                private_host(address).is_some() && !self.issuer.contains(address.as_str())
            })
            .collect();
        match problem {
            Some(problem) if is_of_certificate(problem) => {
                self.row("ISS05", Status::Pass, format!("`{}` answers", problem.host));
                self.row(
                    "ISS08",
                    Status::Fail,
                    format!(
                        "the certificate of `{}` is not trusted: {}",
                        problem.host, problem.detail
                    ),
                );
            }
            Some(problem) if is_of_connection(problem) => {
                self.row(
                    "ISS05",
                    Status::Fail,
                    format!("{}: {}", unreachable_words(problem), problem.detail),
                );
                self.row(
                    "ISS08",
                    Status::Unknown,
                    "no certificate was seen (blocked by ISS05)",
                );
            }
            _ if answered || problem.is_some() => {
                self.row(
                    "ISS05",
                    Status::Pass,
                    "the name resolves and the host answers",
                );
                self.row("ISS08", Status::Pass, "the certificate is trusted here");
            }
            _ => {
                let why = sources::describe(&published.discovery);
                let status = if matches!(published.discovery, Fact::Invalid(_)) {
                    Status::Unknown
                } else {
                    Status::Fail
                };
                self.row("ISS05", status, format!("no answer: {why}"));
                self.row("ISS08", Status::Unknown, "no certificate was seen");
            }
        }
        match (&published.discovery, &published.jwks) {
            (Fact::Denied(text), _) => self.row(
                "ISS07",
                Status::Fail,
                format!("the discovery document is not for everybody: {text}"),
            ),
            (_, Fact::Denied(text)) => self.row(
                "ISS07",
                Status::Fail,
                format!("the keys are not for everybody: {text}"),
            ),
            (Fact::Known(_), _) => {
                self.row(
                    "ISS07",
                    Status::Pass,
                    "the documents are served to everybody",
                );
            }
            _ => self.row("ISS07", Status::Unknown, "no document was served"),
        }
    }

    /// ISS03, ISS06 and ISS09: the discovery document.
    fn documents(&mut self, url: &str, published: &PublishedIssuer) {
        let issuer = published;
        let Fact::Known(discovery) = &issuer.discovery else {
            let blocked = published
                .seen
                .trouble
                .as_ref()
                .is_some_and(|p| is_of_connection(p) || is_of_certificate(p));
            let why = sources::describe(&issuer.discovery);
            match &issuer.discovery {
                Fact::Absent | Fact::Invalid(_) if !blocked => self.row(
                    "ISS06",
                    Status::Fail,
                    format!("`{}`: {why}", issuer.discovery_url),
                ),
                _ => self.row(
                    "ISS06",
                    Status::Unknown,
                    format!("no discovery document to look at: {why}"),
                ),
            }
            self.row(
                "ISS03",
                Status::Unknown,
                "no discovery document to compare with",
            );
            return;
        };
        match first_difference(&discovery.issuer, url) {
            None => self.row("ISS03", Status::Pass, "the document's issuer is the issuer"),
            Some(difference) => self.row(
                "ISS03",
                Status::Fail,
                format!(
                    "`issuer` of the discovery document {}: expected `{url}`, found `{}`",
                    difference.describe(),
                    discovery.issuer
                ),
            ),
        }
        let flaws: Vec<String> = discovery
            .flaws(url)
            .iter()
            .filter(|flaw| !matches!(flaw, DiscoveryFlaw::Issuer { .. }))
            .map(ToString::to_string)
            .collect();
        let keys = match &issuer.jwks {
            Fact::Known(_) | Fact::Denied(_) | Fact::NotCollected => None,
            fact => Some(format!(
                "`{}`: {}",
                discovery.jwks_uri,
                sources::describe(fact)
            )),
        };
        if flaws.is_empty() && keys.is_none() {
            self.row("ISS06", Status::Pass, "the discovery document is complete");
        }
        for flaw in flaws.into_iter().chain(keys) {
            self.row("ISS06", Status::Fail, flaw);
        }
        let headers: Vec<String> = [
            ("discovery document", &published.seen.discovery),
            ("key set", &published.seen.jwks),
        ]
        .into_iter()
        .filter_map(|(what, answer)| odd_headers(what, answer.as_ref()?))
        .collect();
        if headers.is_empty() {
            self.row(
                "ISS09",
                Status::Pass,
                "content types and caching are as they should be",
            );
        }
        for header in headers {
            self.row("ISS09", Status::Warn, header);
        }
    }

    /// ISS10, ISS12 and ISS14: the keys.
    fn keys(&mut self, inside: Option<&Inside>, published: &PublishedIssuer) {
        let outside = match &published.jwks {
            Fact::Known(jwks) => Some(jwks),
            _ => None,
        };
        let within = inside.map(|inside| &inside.jwks);
        let cluster = match within {
            Some(Fact::Known(jwks)) => Some(jwks),
            _ => None,
        };
        self.keys = compared(cluster, outside);
        match outside {
            None => self.row("ISS14", Status::Unknown, "no published keys to look at"),
            Some(jwks) => {
                let flaws = jwks.hygiene();
                if flaws.is_empty() {
                    self.row(
                        "ISS14",
                        Status::Pass,
                        match jwks.keys.len() {
                            1 => "the one published key is sound".to_owned(),
                            count => format!("{count} published keys are sound"),
                        },
                    );
                }
                for flaw in flaws {
                    // This one matters for keys that are uploaded to Google, and for nothing else.
                    let status = match flaw.kind {
                        JwksFlawKind::Certificate { .. } => Status::Warn,
                        _ => Status::Fail,
                    };
                    self.row("ISS14", status, flaw.to_string());
                }
            }
        }
        match (within, cluster, outside) {
            (None, ..) => {
                let why = "the cluster was not asked: leave the URL out to compare its keys";
                self.row("ISS10", Status::Skipped, why);
                self.row("ISS12", Status::Skipped, why);
            }
            (Some(fact), None, _) => {
                let why = format!("the cluster's keys: {}", sources::describe(fact));
                self.row("ISS10", Status::Unknown, why.clone());
                self.row("ISS12", Status::Unknown, why);
            }
            (_, _, None) => {
                self.row(
                    "ISS10",
                    Status::Unknown,
                    "no published keys to compare with",
                );
                self.row(
                    "ISS12",
                    Status::Unknown,
                    "no published keys to compare with",
                );
            }
            (_, Some(_), Some(_)) => {
                let missing: Vec<String> = self
                    .keys
                    .iter()
                    .filter(|key| key.in_cluster == Some(true) && key.published == Some(false))
                    .map(|key| format!("`{}`", key.kid.as_deref().unwrap_or("without kid")))
                    .collect();
                let any = self
                    .keys
                    .iter()
                    .any(|key| key.in_cluster == Some(true) && key.published == Some(true));
                if missing.is_empty() {
                    self.row(
                        "ISS10",
                        Status::Pass,
                        "every key of the cluster is published",
                    );
                    self.row(
                        "ISS12",
                        Status::Pass,
                        "every key of the cluster is published",
                    );
                } else if any {
                    self.row(
                        "ISS10",
                        Status::Unknown,
                        "some keys of the cluster are not published; a token would tell which one signs",
                    );
                    self.row(
                        "ISS12",
                        Status::Warn,
                        format!(
                            "keys of the cluster that are not published: {}",
                            missing.join(", ")
                        ),
                    );
                } else {
                    self.row(
                        "ISS10",
                        Status::Fail,
                        format!("no key of the cluster is published: {}", missing.join(", ")),
                    );
                    self.row("ISS12", Status::Unknown, "blocked by ISS10");
                }
            }
        }
    }

    fn status(&self) -> ExitStatus {
        let has = |status: Status| self.rows.iter().any(|row| row.status == status);
        if has(Status::Fail) {
            ExitStatus::Findings
        } else if has(Status::Unknown) {
            ExitStatus::Inconclusive
        } else {
            ExitStatus::Success
        }
    }

    fn json(&self) -> serde_json::Value {
        let count = |status: Status| self.rows.iter().filter(|row| row.status == status).count();
        json!({
            "schema": { "name": "cwii.issuer", "version": "1.0" },
            "issuer": self.issuer,
            "discoveryUrl": self.discovery_url,
            "jwksUrl": self.jwks_url,
            "results": self.rows,
            "keys": self.keys,
            "summary": {
                "fail": count(Status::Fail),
                "warn": count(Status::Warn),
                "unknown": count(Status::Unknown),
                "skipped": count(Status::Skipped),
                "pass": count(Status::Pass),
                "exitCode": self.status().code(),
            },
        })
    }

    fn human(&self, terminal: &Terminal) -> String {
        let mut out = format!(
            "{} {}\n",
            terminal.paint(Tone::Strong, "issuer"),
            printable(&self.issuer)
        );
        if !self.discovery_url.is_empty() {
            out.push_str(&format!(
                "  discovery  {}\n",
                printable(&self.discovery_url)
            ));
        }
        if let Some(url) = &self.jwks_url {
            out.push_str(&format!("  keys       {}\n", printable(url)));
        }
        out.push('\n');
        for row in &self.rows {
            let (word, tone) = match row.status {
                Status::Fail => ("FAIL", Tone::Bad),
                Status::Warn => ("warn", Tone::Warning),
                Status::Unknown => ("?", Tone::Warning),
                Status::Skipped => ("-", Tone::Faint),
                Status::Pass => ("ok", Tone::Good),
            };
            out.push_str(&format!(
                "{}  {}  {}\n",
                row.code,
                terminal.paint(tone, &format!("{word:<4}")),
                printable(&row.message)
            ));
        }
        if !self.keys.is_empty() {
            out.push_str(&format!("\n{}\n", terminal.paint(Tone::Strong, "keys")));
            for key in &self.keys {
                let word = |found: Option<bool>| match found {
                    Some(true) => "yes",
                    Some(false) => "no",
                    None => "?",
                };
                out.push_str(&format!(
                    "  {}  {}  in the cluster: {}  published: {}\n",
                    printable(key.kid.as_deref().unwrap_or("(no kid)")),
                    printable(key.kty.as_deref().unwrap_or("(no kty)")),
                    word(key.in_cluster),
                    word(key.published),
                ));
            }
        }
        let worst = self
            .rows
            .iter()
            .find(|row| row.status == Status::Fail)
            .or_else(|| self.rows.iter().find(|row| row.status == Status::Warn));
        if let Some(row) = worst {
            out.push_str(&format!(
                "\n{} kubectl cwii explain {}\n",
                terminal.paint(Tone::Strong, "help:"),
                row.code
            ));
        }
        out
    }
}

/// Keys by what they are: the same `kid` with another modulus is another key.
fn compared(cluster: Option<&Jwks>, published: Option<&Jwks>) -> Vec<Key> {
    let holds = |jwks: Option<&Jwks>, key: &Jwk| {
        jwks.map(|jwks| jwks.keys.iter().any(|other| is_same(other, key)))
    };
    let mut seen: Vec<&Jwk> = Vec::new();
    for key in cluster
        .into_iter()
        .chain(published)
        .flat_map(|jwks| &jwks.keys)
    {
        if !seen.iter().any(|known| is_same(known, key)) {
            seen.push(key);
        }
    }
    seen.into_iter()
        .take(MAX_KEYS)
        .map(|key| Key {
            kid: key.kid.clone(),
            kty: key.kty.clone(),
            in_cluster: holds(cluster, key),
            published: holds(published, key),
        })
        .collect()
}

fn is_same(one: &Jwk, other: &Jwk) -> bool {
    let material =
        |key: &Jwk| ["n", "e", "crv", "x", "y"].map(|name| key.members.get(name).cloned());
    one.kid == other.kid && one.kty == other.kty && material(one) == material(other)
}

fn is_of_certificate(problem: &TransportProblem) -> bool {
    matches!(
        problem.kind,
        TransportProblemKind::Certificate | TransportProblemKind::Tls
    )
}

fn is_of_connection(problem: &TransportProblem) -> bool {
    !is_of_certificate(problem)
        && !matches!(
            problem.kind,
            TransportProblemKind::Redirect
                | TransportProblemKind::TooLarge
                | TransportProblemKind::Garbage
        )
}

fn unreachable_words(problem: &TransportProblem) -> String {
    let host = &problem.host;
    match problem.kind {
        TransportProblemKind::Dns => format!("`{host}` does not resolve"),
        TransportProblemKind::Refused => format!("`{host}` refuses connections"),
        TransportProblemKind::ConnectTimeout => format!("no connection to `{host}` in time"),
        TransportProblemKind::ReadTimeout => format!("no answer of `{host}` in time"),
        TransportProblemKind::Proxy => format!("the proxy on the way to `{host}` fails"),
        TransportProblemKind::Broken => format!("the connection to `{host}` broke"),
        _ => format!("`{host}` cannot be reached"),
    }
}

/// What is odd about the headers of an answer.
fn odd_headers(what: &str, seen: &DocumentAnswer) -> Option<String> {
    if seen.status != 200 {
        return None;
    }
    match seen.content_type.as_deref() {
        None => Some(format!("the {what} has no `Content-Type`, expected JSON's")),
        Some(found) if !found.contains("json") => Some(format!(
            "the {what} has `Content-Type: {found}`, expected JSON's"
        )),
        Some(_) => {
            let age = max_age(seen.cache_control.as_deref()?)?;
            (age > MAX_AGE_SECONDS).then(|| {
                format!(
                    "the {what} may be cached for {age} s: after a rotation, keys stay unknown as long"
                )
            })
        }
    }
}

fn max_age(cache_control: &str) -> Option<u64> {
    cache_control
        .split(',')
        .find_map(|part| part.trim().strip_prefix("max-age="))?
        .trim_matches('"')
        .parse()
        .ok()
}

/// A day. kube-apiserver itself says an hour.
const MAX_AGE_SECONDS: u64 = 86_400;
/// More are counted by ISS14 and not worth a line each.
const MAX_KEYS: usize = 200;
