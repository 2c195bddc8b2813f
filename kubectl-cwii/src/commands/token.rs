//! `kubectl cwii token`: what is in a token, and whether it is what the cloud expects.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use cwii_agent::output::printable;
use cwii_checks::facts::Fact;
use cwii_contract::{
    Provider,
    names::default_audience,
    types::{Subject, shorten_to},
};
use cwii_token::{
    Expectation, Jwks, KeyRules, check_claims, select_key, span::humanize, text::first_difference,
    verify_signature,
};
use cwii_trust::{
    JwksFact, Library,
    judge::{Judgement, Question, Undecided, judge, providers_in},
};
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::{
    cli::Format,
    cluster::Cluster,
    commands::{
        Context,
        trust::{Whom, as_json, clause_lines, undecided_problem},
    },
    document,
    exit::ExitStatus,
    identity::{self, Identity},
    problem::Problem,
    sources::{self, GivenKeys, GivenToken},
    terminal::{Terminal, Tone},
};

/// Read or request service account tokens, and compare them with what the cloud expects.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # Decode the token in a file
  kubectl cwii token decode token.jwt

  # Mint a token of a service account and decode it
  kubectl cwii token request --sa checkout --audience sts.amazonaws.com")]
pub(crate) struct Token {
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
}

#[derive(Debug, Subcommand)]
#[command(subcommand_help_heading = "Available Commands")]
pub(crate) enum TokenCommand {
    Decode(Box<TokenDecode>),
    Request(TokenRequest),
}

/// Show what is in a token, and whether it is what the cloud expects.
///
/// The token comes from a file or from standard input, never from an argument; with --pod or --sa it is minted for that
/// workload. Signatures are never shown. What is shown is UNVERIFIED unless keys are given that verify it. Output formats: human,
/// json, yaml.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # Decode the token in a file
  kubectl cwii token decode token.jwt

  # Decode a token from standard input
  kubectl exec web -- cat /var/run/secrets/cwii.dev/aws/token | kubectl cwii token decode -

  # Mint the token that a pod would present to AWS and compare it with what AWS expects
  kubectl cwii token decode --pod checkout-7d9f --provider aws")]
pub(crate) struct TokenDecode {
    /// File with the token, or - for standard input
    #[arg(value_name = "FILE", conflicts_with_all = ["pod", "sa"], value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,

    /// Mint the token of this pod's service account, bound to the pod
    #[arg(long, value_name = "NAME", conflicts_with = "sa")]
    pub(crate) pod: Option<String>,

    /// Mint the token of this service account
    #[arg(long, value_name = "NAME")]
    pub(crate) sa: Option<String>,

    /// Cloud that the token is for: aws, az or gcp
    #[arg(long, value_name = "PROVIDER")]
    pub(crate) provider: Option<Provider>,

    /// File or URL with the keys to verify the signature with
    #[arg(long, value_name = "FILE|URL", conflicts_with = "verify_with_cluster")]
    pub(crate) jwks: Option<String>,

    /// Verify the signature with the keys of the cluster
    #[arg(id = "verify_with_cluster", long = "cluster-keys")]
    pub(crate) cluster_keys: bool,

    /// File or directory with what the cloud was told (repeatable)
    #[arg(long, value_name = "FILE|DIR", value_hint = ValueHint::AnyPath)]
    pub(crate) trust: Vec<PathBuf>,

    /// Take this moment for now, in RFC 3339
    #[arg(long, value_name = "TIME")]
    pub(crate) now: Option<Timestamp>,

    #[command(flatten)]
    pub(crate) whom: Whom,
}

/// Mint a token of a service account with the TokenRequest API and decode it.
///
/// The token itself is not shown.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # Mint a token for AWS STS and show what is in it
  kubectl cwii token request --sa checkout --audience sts.amazonaws.com -n shop")]
pub(crate) struct TokenRequest {
    /// The service account
    #[arg(long, value_name = "NAME")]
    pub(crate) sa: String,

    /// Audience of the token (repeatable)
    #[arg(long, value_name = "AUDIENCE", required = true)]
    pub(crate) audience: Vec<String>,
}

pub(crate) async fn run(arguments: &Token, context: &mut Context) -> anyhow::Result<ExitStatus> {
    match &arguments.command {
        TokenCommand::Decode(arguments) => decode(arguments, context).await,
        TokenCommand::Request(arguments) => request(arguments, context).await,
    }
}

async fn decode(arguments: &TokenDecode, context: &mut Context) -> anyhow::Result<ExitStatus> {
    let format = context.format(FORMATS)?;
    let library = sources::trust(&arguments.trust, &mut context.terminal)?;
    let mut expected = Expected::default();
    let mut keys = match &arguments.jwks {
        Some(source) => Some(sources::keys(source, context.globals.request_timeout).await?),
        None => None,
    };
    let minted = arguments.pod.is_some() || arguments.sa.is_some();
    let cluster = if minted || arguments.cluster_keys {
        Some(context.connect().await?)
    } else {
        None
    };
    let given = match (&arguments.file, &cluster) {
        (_, Some(cluster)) if minted => {
            let namespace = cluster.access().namespace.clone();
            let workload = match (&arguments.pod, &arguments.sa) {
                (Some(pod), _) => Identity::of_pod(cluster, &namespace, pod).await?,
                (None, sa) => {
                    let sa = sa.as_deref().unwrap_or("default");
                    Identity::of_service_account(cluster, &namespace, sa).await?
                }
            };
            let provider = provider_of(arguments.provider, &workload)?;
            let (audience, source) = workload.audience(provider)?;
            expected.audience = Some((audience.clone(), source));
            expected.subject = Some((
                workload.subject.to_string(),
                "the service account".to_owned(),
            ));
            if let Fact::Known(discovery) = identity::discovery(cluster).await {
                expected.issuer = Some((
                    discovery.issuer,
                    "the cluster's discovery document".to_owned(),
                ));
            }
            let token = workload.mint(cluster, &audience).await?;
            let source = match &workload.pod {
                Some((name, _)) => format!("minted for pod {name}"),
                None => "minted".to_owned(),
            };
            sources::from_text(token.expose_secret(), source)
        }
        (Some(file), _) => sources::token(file)?,
        (None, _) => {
            return Err(Problem::new(
                "expected a file with a token, `-`, --pod or --sa, found none of them",
            )
            .help("pipe the token in: kubectl cwii token decode - < token.jwt")
            .into());
        }
    };
    if let Some(provider) = arguments.provider.filter(|_| expected.audience.is_none())
        && let Some(audience) = default_audience(provider)
    {
        expected.audience = Some((
            audience.to_owned(),
            format!("the default of {}", provider.display_name()),
        ));
    }
    if let Some(cluster) = cluster.as_ref().filter(|_| arguments.cluster_keys) {
        keys = Some(cluster_keys(cluster).await);
    }
    if let Some(discovery) = library.discovery().filter(|_| expected.issuer.is_none()) {
        expected.issuer = Some((
            discovery.issuer.clone(),
            "the discovery document".to_owned(),
        ));
    }
    if let Some(surroundings) = &given.surroundings {
        context.terminal.note(&format!(
            "{}: {surroundings}; clouds are sent a token file as it stands and refuse such a one",
            given.source
        ));
    }
    let report = Report::new(
        &given,
        keys,
        &expected,
        &library,
        arguments.provider,
        &arguments.whom,
        arguments.now.unwrap_or_else(Timestamp::now),
    )?;
    report.print(format, context)
}

async fn request(arguments: &TokenRequest, context: &mut Context) -> anyhow::Result<ExitStatus> {
    let format = context.format(FORMATS)?;
    let cluster = context.connect().await?;
    let namespace = &cluster.access().namespace;
    let subject: Subject = format!("system:serviceaccount:{namespace}:{}", arguments.sa)
        .parse()
        .map_err(|error| Problem::new(format!("{error}")))?;
    let token = identity::mint(&cluster, &subject, &arguments.audience, None).await?;
    let given = sources::from_text(token.expose_secret(), "minted".to_owned());
    let expected = Expected {
        subject: Some((subject.to_string(), "the service account".to_owned())),
        audience: arguments
            .audience
            .first()
            .map(|audience| (audience.clone(), "--audience".to_owned())),
        issuer: None,
    };
    let report = Report::new(
        &given,
        Some(cluster_keys(&cluster).await),
        &expected,
        &Library::default(),
        None,
        &Whom::default(),
        Timestamp::now(),
    )?;
    report.print(format, context)
}

/// The cloud that was named, or the only one that the workload asks.
fn provider_of(named: Option<Provider>, workload: &Identity) -> Result<Provider, Problem> {
    if let Some(provider) = named {
        return Ok(provider);
    }
    let mut providers: Vec<Provider> = workload
        .mechanisms
        .iter()
        .map(|mechanism| mechanism.provider)
        .collect();
    providers.dedup();
    match providers.as_slice() {
        [only] => Ok(*only),
        [] => Err(Problem::new(
            "expected a cloud, found no annotation of the workload that asks for one",
        )
        .help("name it with --provider aws, az or gcp")),
        several => {
            let names: Vec<&str> = several.iter().map(|provider| provider.as_str()).collect();
            Err(Problem::new(format!(
                "expected one cloud, found that the workload asks for {}",
                names.join(" and ")
            ))
            .help("choose with --provider"))
        }
    }
}

/// The keys of the cluster.
pub(crate) async fn cluster_keys(cluster: &Cluster) -> GivenKeys {
    let found = cluster.raw("/openid/v1/jwks").await;
    match identity::read(found, |bytes| {
        Jwks::parse(bytes).map_err(|error| error.to_string())
    }) {
        Fact::Known(jwks) => GivenKeys::Known(jwks, "the cluster".to_owned()),
        fact => GivenKeys::Unavailable(format!("the cluster's keys: {}", sources::describe(&fact))),
    }
}

/// What a token should say, each with who says so.
#[derive(Debug, Default)]
struct Expected {
    issuer: Option<(String, String)>,
    audience: Option<(String, String)>,
    subject: Option<(String, String)>,
}

/// Whether the signature is somebody's.
enum Verification {
    /// Nobody looked; why.
    Unverified(String),
    /// It is that of a key of this set.
    Verified(String),
    /// It is not; whose set, and why.
    Failed(String, String),
}

/// A token, taken apart.
struct Report<'a> {
    given: &'a GivenToken,
    token: &'a cwii_token::Token,
    verification: Verification,
    /// Whether something that was asked for could not be had.
    inconclusive: bool,
    comparisons: Vec<Comparison>,
    problems: Vec<String>,
    judgements: Vec<(Provider, Result<Judgement, Undecided>)>,
    now: Timestamp,
}

struct Comparison {
    claim: &'static str,
    expected: String,
    found: Vec<String>,
    source: String,
}

impl Comparison {
    /// The check of the catalogue that explains a difference.
    fn code(&self) -> &'static str {
        match self.claim {
            "aud" => "TOK03",
            "sub" => "TOK04",
            _ => "TOK06",
        }
    }

    fn agrees(&self) -> bool {
        self.found.contains(&self.expected)
    }

    fn difference(&self) -> Option<String> {
        match self.found.as_slice() {
            _ if self.agrees() => None,
            [only] => Some(first_difference(only, &self.expected)?.describe()),
            [] => Some("is not there".to_owned()),
            several => Some(format!("is none of the {} audiences", several.len())),
        }
    }
}

impl<'a> Report<'a> {
    fn new(
        given: &'a GivenToken,
        keys: Option<GivenKeys>,
        expected: &Expected,
        library: &Library,
        provider: Option<Provider>,
        whom: &Whom,
        now: Timestamp,
    ) -> Result<Self, Problem> {
        let token = given.decoded()?;
        let mut inconclusive = false;
        let own_keys = library
            .published_jwks()
            .map(|jwks| (jwks, "the published keys of the documents"))
            .or_else(|| {
                library
                    .cluster_jwks()
                    .map(|jwks| (jwks, "the cluster's keys of the documents"))
            });
        let verification = match (&keys, own_keys) {
            (Some(GivenKeys::Known(jwks, source)), _) => verified(token, jwks, source),
            (Some(GivenKeys::Unavailable(text)), _) => {
                inconclusive = true;
                Verification::Unverified(text.clone())
            }
            (None, Some((jwks, source))) => verified(token, jwks, source),
            (None, None) => Verification::Unverified("no keys were given".to_owned()),
        };
        let claims = &token.claims;
        let mut comparisons = Vec::new();
        for (claim, found, expected) in [
            (
                "iss",
                claims.issuer().into_iter().collect::<Vec<_>>(),
                &expected.issuer,
            ),
            (
                "sub",
                claims.subject().into_iter().collect(),
                &expected.subject,
            ),
            ("aud", claims.audiences(), &expected.audience),
        ] {
            if let Some((expected, source)) = expected {
                comparisons.push(Comparison {
                    claim,
                    expected: expected.clone(),
                    found: found.into_iter().map(str::to_owned).collect(),
                    source: source.clone(),
                });
            }
        }
        let expectation = Expectation {
            issuer: None,
            audience: None,
            subject: None,
            now,
            leeway: SignedDuration::ZERO,
        };
        let problems = check_claims(claims, &expectation)
            .iter()
            .map(ToString::to_string)
            .collect();
        let jwks = match (&keys, own_keys) {
            (Some(GivenKeys::Known(jwks, _)), _) => JwksFact::Known(jwks),
            (None, Some((jwks, _))) => JwksFact::Known(jwks),
            _ => JwksFact::NotCollected,
        };
        let providers = match provider {
            Some(provider) if !library.is_empty() => vec![provider],
            _ => providers_in(library),
        };
        let judgements = providers
            .into_iter()
            .map(|provider| {
                let mut question = Question::new(Ok(token), jwks, now);
                whom.ask(&mut question);
                question.provider = Some(provider);
                (provider, judge(library, &question))
            })
            .collect();
        Ok(Self {
            given,
            token,
            verification,
            inconclusive,
            comparisons,
            problems,
            judgements,
            now,
        })
    }

    fn print(&self, format: Format, context: &mut Context) -> anyhow::Result<ExitStatus> {
        let text = match format {
            Format::Json => document::json(&self.json())?,
            Format::Yaml => document::yaml(&self.json())?,
            _ => self.human(&context.terminal),
        };
        context.terminal.line(text.trim_end());
        for (provider, judgement) in &self.judgements {
            if let Err(undecided) = judgement {
                let problem = undecided_problem(undecided);
                context.terminal.note(&format!(
                    "{}: {problem}; {}",
                    provider.display_name(),
                    problem.lines().join(" ")
                ));
            }
        }
        Ok(context.stop.or(self.status()))
    }

    fn status(&self) -> ExitStatus {
        let refused = self
            .judgements
            .iter()
            .any(|(_, judgement)| judgement.as_ref().is_ok_and(|j| !j.allowed()));
        let undecided = self
            .judgements
            .iter()
            .any(|(_, judgement)| judgement.is_err());
        if refused
            || !self.problems.is_empty()
            || self.comparisons.iter().any(|c| !c.agrees())
            || matches!(self.verification, Verification::Failed(..))
        {
            ExitStatus::Findings
        } else if self.inconclusive || undecided {
            ExitStatus::Inconclusive
        } else {
            ExitStatus::Success
        }
    }

    fn json(&self) -> Value {
        let claims = &self.token.claims;
        let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
        let (status, detail, by) = match &self.verification {
            Verification::Unverified(why) => ("UNVERIFIED", Some(why), None),
            Verification::Verified(by) => ("verified", None, Some(by)),
            Verification::Failed(by, why) => ("failed", Some(why), Some(by)),
        };
        let bound: Vec<Value> = self
            .bound()
            .into_iter()
            .map(|(kind, name, uid)| json!({ "kind": kind, "name": name, "uid": uid }))
            .collect();
        let comparisons: Vec<Value> = self
            .comparisons
            .iter()
            .map(|comparison| {
                json!({
                    "claim": comparison.claim,
                    "expected": comparison.expected,
                    "found": comparison.found,
                    "agrees": comparison.agrees(),
                    "difference": comparison.difference(),
                    "code": comparison.code(),
                    "source": comparison.source,
                })
            })
            .collect();
        let trust: Vec<Value> = self
            .judgements
            .iter()
            .map(|(provider, judgement)| {
                let mut value = match judgement {
                    Ok(judgement) => as_json(judgement),
                    Err(undecided) => json!({ "undecided": undecided.to_string() }),
                };
                value["provider"] = json!(provider.as_str());
                if let Ok(judgement) = judgement {
                    value["target"] = json!(judgement.target);
                }
                value
            })
            .collect();
        json!({
            "schema": { "name": "cwii.token", "version": "1.0" },
            "source": self.given.source,
            "verification": { "status": status, "by": by, "detail": detail },
            "header": self.token.header.members,
            "claims": claims.members,
            "times": {
                "now": self.now.to_string(),
                "issuedAt": time(claims.issued_at()),
                "notBefore": time(claims.not_before()),
                "expiresAt": time(claims.expires_at()),
                "lifetimeSeconds": claims.lifetime().map(|lifetime| lifetime.as_secs()),
            },
            "boundTo": bound,
            "sha256Prefix": self.token.fingerprint(),
            "problems": self.problems,
            "comparisons": comparisons,
            "trust": trust,
            "exitCode": self.status().code(),
        })
    }

    fn human(&self, terminal: &Terminal) -> String {
        let mut out = String::new();
        let heading = |text: &str| terminal.paint(Tone::Strong, text);
        let verification = match &self.verification {
            Verification::Unverified(why) => format!(
                "{}: {}",
                terminal.paint(Tone::Warning, "UNVERIFIED"),
                printable(why)
            ),
            Verification::Verified(by) => format!(
                "{} with a key of {}",
                terminal.paint(Tone::Good, "verified"),
                printable(by)
            ),
            Verification::Failed(by, why) => format!(
                "{} with the keys of {}: {}",
                terminal.paint(Tone::Bad, "NOT VERIFIED"),
                printable(by),
                printable(why)
            ),
        };
        out.push_str(&format!("{}  {verification}\n", heading("signature")));
        out.push_str(&format!(
            "           not shown; SHA-256 of the token begins with {}\n",
            self.token.fingerprint()
        ));

        out.push_str(&format!("\n{}\n", heading("header")));
        for (name, value) in &self.token.header.members {
            line(&mut out, name, &text_of(value));
        }

        out.push_str(&format!("\n{}\n", heading("claims")));
        let claims = &self.token.claims;
        for (name, value) in &claims.members {
            match (name.as_str(), value) {
                ("kubernetes.io", Value::Object(_)) => {}
                ("iat" | "nbf" | "exp", _) => line(&mut out, name, &self.time(name, value)),
                ("aud", Value::Array(items)) if items.iter().all(Value::is_string) => {
                    for item in items {
                        line(&mut out, name, &text_of(item));
                    }
                }
                _ => line(&mut out, name, &text_of(value)),
            }
        }
        if let Some(lifetime) = claims.lifetime() {
            line(&mut out, "lifetime", &humanize(lifetime));
        }
        let bound = self.bound();
        if !bound.is_empty() {
            out.push_str(&format!("\n{}\n", heading("bound to")));
            for (kind, name, uid) in bound {
                let uid = uid.map(|uid| format!(", uid {uid}")).unwrap_or_default();
                line(&mut out, kind, &format!("{name}{uid}"));
            }
            if claims.kubernetes().is_some_and(|k| k.pod.is_some()) {
                out.push_str(
                    "  deleting the pod ends the token for the API server alone; clouds take it until it expires\n",
                );
            }
        }
        if !self.problems.is_empty() {
            out.push_str(&format!("\n{}\n", heading("problems")));
            for problem in &self.problems {
                out.push_str(&format!(
                    "  {} {}\n",
                    terminal.paint(Tone::Bad, "error:"),
                    printable(problem)
                ));
            }
        }
        if !self.comparisons.is_empty() {
            out.push_str(&format!("\n{}\n", heading("expected")));
            for comparison in &self.comparisons {
                self.comparison(comparison, terminal, &mut out);
            }
        }
        for (provider, judgement) in &self.judgements {
            let Ok(judgement) = judgement else {
                continue;
            };
            out.push_str(&format!(
                "\n{}\n",
                heading(&format!("trust of {}", provider.display_name()))
            ));
            let verdict = match &judgement.error {
                None => terminal.paint(Tone::Good, "accepted"),
                Some(_) => terminal.paint(Tone::Bad, "refused"),
            };
            out.push_str(&format!("  {verdict}: {}\n", printable(&judgement.target)));
            if let Some(error) = &judgement.error {
                out.push_str(&format!(
                    "  {}\n",
                    printable(&format!("{}: {}", error.code, error.message))
                ));
                clause_lines(&judgement.decided_by, terminal, &mut out);
            }
        }
        let mut codes: Vec<&str> = self
            .comparisons
            .iter()
            .filter(|comparison| !comparison.agrees())
            .map(Comparison::code)
            .chain(
                self.judgements
                    .iter()
                    .filter_map(|(_, judgement)| judgement.as_ref().ok()?.check),
            )
            .collect();
        if !self.problems.is_empty() {
            codes.push("TOK05");
        }
        codes.sort_unstable();
        codes.dedup();
        for (index, code) in codes.iter().enumerate() {
            let lead = if index == 0 {
                format!("\n{}", terminal.paint(Tone::Strong, "help:"))
            } else {
                "     ".to_owned()
            };
            out.push_str(&format!("{lead} kubectl cwii explain {code}\n"));
        }
        out
    }

    fn comparison(&self, comparison: &Comparison, terminal: &Terminal, out: &mut String) {
        let source = printable(&comparison.source);
        let expected = printable(&comparison.expected);
        match comparison.difference() {
            None => {
                let ok = terminal.paint(Tone::Good, "ok");
                out.push_str(&format!(
                    "  {:<4} {ok}  {expected}  ({source})\n",
                    comparison.claim
                ));
            }
            Some(difference) => {
                let bad = terminal.paint(Tone::Bad, "differs");
                out.push_str(&format!(
                    "  {:<4} {bad}: {}\n",
                    comparison.claim,
                    printable(&difference)
                ));
                out.push_str(&format!("       expected  {expected}  ({source})\n"));
                out.push_str(&format!(
                    "       found     {}\n",
                    printable(&comparison.found.join(", "))
                ));
            }
        }
    }

    /// What the token ends with, besides its time.
    fn bound(&self) -> Vec<(&'static str, String, Option<String>)> {
        let Some(kubernetes) = self.token.claims.kubernetes() else {
            return Vec::new();
        };
        let namespace = kubernetes.namespace.clone().unwrap_or_default();
        let named = |name: String| format!("{namespace}/{name}");
        let mut bound = Vec::new();
        for (kind, reference, namespaced) in [
            ("ServiceAccount", kubernetes.service_account, true),
            ("Pod", kubernetes.pod, true),
            ("Node", kubernetes.node, false),
            ("Secret", kubernetes.secret, true),
        ] {
            if let Some(reference) = reference {
                let name = if namespaced {
                    named(reference.name)
                } else {
                    reference.name
                };
                bound.push((kind, name, reference.uid));
            }
        }
        bound
    }

    /// A time in words: `2026-11-21T12:00:00Z, 1 h 4 m ago`.
    fn time(&self, name: &str, value: &Value) -> String {
        let claims = &self.token.claims;
        let at = match name {
            "iat" => claims.issued_at(),
            "nbf" => claims.not_before(),
            _ => claims.expires_at(),
        };
        let Some(at) = at else {
            return format!("{} (not a time)", text_of(value));
        };
        let span = at.duration_since(self.now);
        if span.is_negative() {
            format!("{at}, {} ago", humanize(span))
        } else {
            format!("{at}, in {}", humanize(span))
        }
    }
}

fn verified(token: &cwii_token::Token, jwks: &Jwks, source: &str) -> Verification {
    let result = select_key(&token.header, jwks, KeyRules::Kubernetes)
        .map_err(|error| error.to_string())
        .and_then(|key| verify_signature(token, key).map_err(|error| error.to_string()));
    match result {
        Ok(()) => Verification::Verified(source.to_owned()),
        Err(why) => Verification::Failed(source.to_owned(), why),
    }
}

fn line(out: &mut String, name: &str, value: &str) {
    out.push_str(&format!(
        "  {:<14}  {}\n",
        printable(name),
        printable(value)
    ));
}

/// A value for people, of a bounded length: a claim may be megabytes.
fn text_of(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    shorten_to(&text, MAX_SHOWN)
}

const FORMATS: &[Format] = &[Format::Human, Format::Json, Format::Yaml];
const MAX_SHOWN: usize = 400;
