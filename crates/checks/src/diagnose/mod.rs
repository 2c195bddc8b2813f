//! From an exchange to its cause.
//!
//! The provider's text is evidence, not the verdict: several causes share one text, and texts change. So where the
//! provider had not yet accepted the token, the cause is looked for in the token, the clocks and the published keys
//! first, and only then read off the error table.

mod aws;
mod entra;
mod google;

use cwii_contract::{
    Provider, VerifyExit, names,
    types::{shorten, shorten_to},
};
use cwii_token::{
    Claims, KeyError, KeyRules, SignatureError, Token, select_key, span, text, verify_signature,
};
use jiff::{SignedDuration, Timestamp};

use crate::{
    errors::{self, Row, Stage},
    facts::{
        Answer, Cause, ConfigurationProblem, ConfigurationProblemKind, Exchange, Fact, Failure,
        Issuer, Mechanism, Step, TokenProblem, TokenProblemKind, TransportProblem,
        TransportProblemKind,
    },
    report::{Evidence, Finding},
};

/// What became of a verification.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnosis {
    /// What an enforcing run ends with.
    pub exit: VerifyExit,
    /// The row of the error table that the provider's answer met, or the client's own failure stands for.
    pub row: Option<&'static str>,
    /// The cause; none when the exchange worked.
    pub cause: Option<Finding>,
    /// Who said what, when: issuer, subject, audience, expiry and clocks, for failures.
    pub evidence: Vec<Evidence>,
    /// Findings beside the cause, warnings mostly.
    pub also: Vec<Finding>,
}

/// Whether the issuer's documents can add to the diagnosis: a web token was presented and not accepted.
#[must_use]
pub fn needs_issuer(exchange: &Exchange) -> Option<&str> {
    let Err(failure) = &exchange.result else {
        return None;
    };
    let answer = answered(&failure.cause)?;
    if matches!(
        exchange.mechanism,
        Some(Mechanism::AwsContainerCredentials | Mechanism::GoogleMetadataServer)
    ) {
        return None;
    }
    let stage = errors::classify(failure.step, answer)
        .row
        .map_or(Stage::Token, |row| row.stage);
    if stage != Stage::Token {
        return None;
    }
    token(exchange)?.claims.issuer()
}

/// Names the cause of an exchange that failed, and what is worth saying beside it.
///
/// `issuer` is the issuer's documents where [`needs_issuer`] asked for them; `now` is the local clock.
#[must_use]
pub fn diagnose(exchange: &Exchange, issuer: Option<&Issuer>, now: Timestamp) -> Diagnosis {
    let also = exchange
        .notes
        .iter()
        .map(|note| match note.code {
            Some(code) => Finding::new(code, note.text.clone()),
            None => Finding::passing(note.text.clone()),
        })
        .collect();
    let failure = match &exchange.result {
        Ok(_) => {
            return Diagnosis {
                exit: VerifyExit::Verified,
                row: None,
                cause: None,
                evidence: Vec::new(),
                also,
            };
        }
        Err(failure) => failure,
    };
    let case = Case {
        exchange,
        issuer,
        clock: Clock::new(exchange, now),
        cloud: Cloud::of(exchange.provider),
    };
    let (exit, row, cause) = case.cause_of(failure.step, &failure.cause);
    Diagnosis {
        exit,
        row,
        cause: Some(cause),
        evidence: case.evidence(failure),
        also,
    }
}

/// The server's clock where it is known, ours otherwise.
#[derive(Clone, Copy)]
struct Clock {
    /// Local time.
    local: Timestamp,
    /// Server less local; none where no answer had a `Date`.
    skew: Option<SignedDuration>,
}

impl Clock {
    fn new(exchange: &Exchange, now: Timestamp) -> Self {
        let skew = exchange
            .server_clock
            .map(|clock| clock.server.duration_since(clock.local));
        Self { local: now, skew }
    }

    fn server(self) -> Timestamp {
        self.local
            .checked_add(self.skew.unwrap_or(SignedDuration::ZERO))
            .unwrap_or(self.local)
    }
}

/// What one cloud does its own way; a module per cloud.
struct Cloud {
    /// Clock difference that it tolerates, seconds.
    leeway_seconds: i64,
    /// Which algorithms it accepts, and how it picks the key.
    keys: KeyRules,
    /// Rows for which the token's audience may be a misspelt default.
    audience_rows: &'static [&'static str],
    /// Rows for which an issuer that no cloud can reach is the cause.
    issuer_rows: &'static [&'static str],
    /// Rows for which the issuer's documents could not be read.
    fetch_rows: &'static [&'static str],
    /// A cause that only this cloud has, looked for in a token that was not accepted.
    own: fn(&Case<'_>, Step) -> Option<Finding>,
    /// What a row means for this workload, where that is more than the row says.
    refine: fn(&Case<'_>, &Row) -> Option<Finding>,
    /// Adds this workload's values to a row's finding.
    particulars: fn(&Case<'_>, &Row, Finding) -> Finding,
    /// Code and row of a configuration problem.
    configuration: fn(&ConfigurationProblem) -> Option<Coded>,
    /// What no answer means at a service that only this cloud has, and the row of any transport problem.
    transport: fn(Step, &TransportProblem) -> Unanswered,
}

/// A code of the catalogue, and the row of the error table that stands for it.
struct Coded {
    code: &'static str,
    row: Option<&'static str>,
}

/// A cloud's own finding where no answer came, and the row of the error table that stands for it.
#[derive(Default)]
struct Unanswered {
    finding: Option<Finding>,
    row: Option<&'static str>,
}

impl Cloud {
    const fn of(provider: Provider) -> &'static Self {
        match provider {
            Provider::Aws => &aws::CLOUD,
            Provider::Az => &entra::CLOUD,
            Provider::Gcp => &google::CLOUD,
        }
    }
}

struct Case<'a> {
    exchange: &'a Exchange,
    issuer: Option<&'a Issuer>,
    clock: Clock,
    cloud: &'static Cloud,
}

type Verdict = (VerifyExit, Option<&'static str>, Finding);

impl Case<'_> {
    fn cause_of(&self, step: Step, cause: &Cause) -> Verdict {
        match cause {
            Cause::Configuration(problem) => self.configuration(problem),
            Cause::Token(problem) => (
                VerifyExit::Token,
                token_row(problem.kind),
                token_file(problem),
            ),
            Cause::Answer(answer) => self.answer(step, answer),
            Cause::Transport(problem) => self.transport(step, problem),
            Cause::Deadline { after_ms, last } => {
                let seconds = span::humanize(SignedDuration::from_millis(
                    i64::try_from(*after_ms).unwrap_or(i64::MAX),
                ));
                match last {
                    Some(last) => {
                        let (_, row, finding) = self.cause_of(step, last);
                        (VerifyExit::Unreachable, row, finding.evidence("deadline", format!("{seconds} passed")))
                    }
                    None => (
                        VerifyExit::Unreachable,
                        None,
                        Finding::new("NET02", format!("{} did not answer within {seconds}", self.endpoint()))
                            .fix("let the pod reach the endpoint on port 443, or give the verification more time"),
                    ),
                }
            }
            Cause::Internal(message) => (
                VerifyExit::Internal,
                None,
                Finding::passing(format!("the agent failed: {message}"))
                    .fix("report this with the lines above"),
            ),
        }
    }

    fn answer(&self, step: Step, answer: &Answer) -> Verdict {
        let classified = errors::classify(step, answer);
        let exit = if classified.transient {
            VerifyExit::Unreachable
        } else {
            VerifyExit::Denied
        };
        let stage = classified.row.map_or(Stage::Token, |row| row.stage);
        let computed = if stage == Stage::Token {
            self.by_token(step)
        } else {
            None
        };
        let finding = computed.unwrap_or_else(|| match classified.row {
            Some(row) => self.by_row(row),
            None => Finding::passing(format!(
                "{} answered {} with a code that the error table does not know",
                self.exchange.provider.display_name(),
                answer.status
            ))
            .fix("compare issuer, subject and audience below with what is configured in the cloud"),
        });
        (exit, classified.row.map(|row| row.id), finding)
    }

    /// The cause as token, clocks and published keys tell it, in the order in which the clouds check.
    fn by_token(&self, step: Step) -> Option<Finding> {
        let of_web_token = !matches!(step, Step::ContainerCredentials | Step::GoogleMetadata);
        let web = |check: fn(&Self) -> Option<Finding>| of_web_token.then(|| check(self)).flatten();
        self.malformed()
            .or_else(|| web(Self::unsupported_algorithm))
            .or_else(|| web(Self::times))
            .or_else(|| web(Self::subject))
            .or_else(|| (self.cloud.own)(self, step))
            .or_else(|| web(Self::keys))
    }

    fn subject(&self) -> Option<Finding> {
        let claims = &token(self.exchange)?.claims;
        claims.subject().is_none().then(|| {
            let found = match claims.members.get("sub") {
                None => "none".to_owned(),
                Some(value) => shorten(&value.to_string()),
            };
            Finding::new("TOK04", "the token has no subject that is a text")
                .evidence("sub", found)
                .fix("use a token that the API server signed")
        })
    }

    fn malformed(&self) -> Option<Finding> {
        let presented = self.exchange.token.as_ref()?;
        let error = presented.token.as_ref().err()?;
        Some(
            Finding::new("TOK01", format!("what was sent is not the bare token: {error}"))
                .evidence("token file", presented.path.clone())
                .fix("mount the projected token volume itself: a copied or templated file gains characters that the cloud does not accept"),
        )
    }

    fn unsupported_algorithm(&self) -> Option<Finding> {
        let alg = token(self.exchange)?.header.alg.as_deref()?;
        let supported: Vec<&str> = self
            .cloud
            .keys
            .algorithms()
            .iter()
            .map(|a| a.as_str())
            .collect();
        (!supported.contains(&alg)).then(|| {
            Finding::new(
                "TOK12",
                format!("the token is signed with {}, which {} does not accept", shorten(alg), self.who()),
            )
            .evidence("accepted", supported.join(", "))
            .fix("sign ServiceAccount tokens with an RSA key (kube-apiserver --service-account-signing-key-file)")
        })
    }

    fn times(&self) -> Option<Finding> {
        let claims = &token(self.exchange)?.claims;
        let leeway = SignedDuration::from_secs(self.cloud.leeway_seconds);
        let server = self.clock.server();
        if let Some(from) = [claims.issued_at(), claims.not_before()]
            .into_iter()
            .flatten()
            .max()
            && from.duration_since(server) > leeway
        {
            return Some(
                Finding::new(
                    "TOK05",
                    format!(
                        "the token is valid from {} after {}'s clock: the control plane's clock is ahead",
                        span::humanize(from.duration_since(server)),
                        self.who()
                    ),
                )
                .evidence("tolerated", span::humanize(leeway))
                .fix("set the clock of the control plane that signs the tokens (NTP)"),
            );
        }
        let expires = claims.expires_at()?;
        if server.duration_since(expires) <= leeway {
            return None;
        }
        let ago = span::humanize(server.duration_since(expires));
        Some(if self.clock.local < expires {
            Finding::new(
                "TOK05",
                format!(
                    "the token expired {ago} ago by {}'s clock, but not by the clock of this node",
                    self.who()
                ),
            )
            .evidence("tolerated", span::humanize(leeway))
            .fix("set the clock of this node and of the control plane (NTP)")
        } else {
            Finding::new("TOK09", format!("the token expired {ago} ago and nobody has replaced it"))
                .evidence("token file", self.token_path())
                .fix("mount the projected token volume itself, without `subPath`: the kubelet replaces the file in it, a copy is never renewed")
        })
    }

    fn keys(&self) -> Option<Finding> {
        let token = token(self.exchange)?;
        let issuer = self.issuer?;
        let iss = token.claims.issuer()?;
        if let Fact::Known(discovery) = &issuer.discovery
            && discovery.issuer != iss
        {
            let difference = text::first_difference(&discovery.issuer, iss)
                .map(|d| d.describe())
                .unwrap_or_default();
            return Some(
                Finding::new("ISS03", "the issuer's discovery document names another issuer than the token")
                    .evidence("token", iss)
                    .evidence("document", shorten(&discovery.issuer))
                    .evidence("difference", difference)
                    .fix("publish the discovery document with `issuer` exactly as kube-apiserver's --service-account-issuer has it"),
            );
        }
        let publish = "publish the cluster's current JWKS at the issuer before tokens are signed with a new key";
        let command = "kubectl get --raw /openid/v1/jwks > jwks.json";
        let kid = token
            .header
            .kid
            .as_deref()
            .map_or_else(|| "none".into(), shorten);
        match &issuer.jwks {
            Fact::Known(jwks) => match select_key(&token.header, jwks, self.cloud.keys) {
                Err(error) => {
                    let (code, message) = match &error {
                        KeyError::Unknown { .. } | KeyError::NoKid { .. } => {
                            ("ISS10", format!("no published key fits the token: {error}"))
                        }
                        _ => (
                            "ISS14",
                            format!("{} cannot use the published key: {error}", self.who()),
                        ),
                    };
                    let published: Vec<&str> =
                        jwks.keys.iter().filter_map(|k| k.kid.as_deref()).collect();
                    Some(
                        Finding::new(code, message)
                            .evidence("key id", kid)
                            .evidence("published", quoted(&published))
                            .evidence("JWKS", issuer.jwks_url.clone().unwrap_or_default())
                            .fix(publish)
                            .command(command),
                    )
                }
                Ok(key) => verify_signature(token, key).err().map(|error| match error {
                    SignatureError::Critical => {
                        Finding::new("TOK01", format!("no cloud reads this token: {error}"))
                            .fix("use a token that the API server signed")
                    }
                    _ => Finding::new(
                        "ISS10",
                        format!(
                            "the token's signature does not fit the key published under its key \
                             id: {error}"
                        ),
                    )
                    .evidence("key id", kid)
                    .evidence("JWKS", issuer.jwks_url.clone().unwrap_or_default())
                    .fix(publish)
                    .command(command),
                }),
            },
            Fact::Invalid(problem) => Some(
                Finding::new("ISS14", format!("the published JWKS is not one: {problem}"))
                    .evidence("JWKS", issuer.jwks_url.clone().unwrap_or_default())
                    .fix(publish)
                    .command(command),
            ),
            _ => None,
        }
    }

    /// The cause as the row tells it, with this workload's values in its evidence and fix.
    fn by_row(&self, row: &'static Row) -> Finding {
        let finding = self
            .misspelt_audience(row)
            .or_else(|| self.issuer_of_row(row))
            .or_else(|| (self.cloud.refine)(self, row))
            .unwrap_or_else(|| {
                let finding = match row.code {
                    Some(code) => Finding::new(code, row.meaning),
                    None => Finding::passing(row.meaning),
                };
                finding.fix(row.fix)
            });
        (self.cloud.particulars)(self, row, finding)
    }

    /// The audience is the token's own fault where it is a slip of the pen away from the cloud's default.
    fn misspelt_audience(&self, row: &Row) -> Option<Finding> {
        let expected = names::default_audience(self.exchange.provider)?;
        let found = self.audience()?;
        let difference = text::first_difference(found, expected)?;
        (self.cloud.audience_rows.contains(&row.id) && near(found, expected)).then(|| {
            let found = shorten(found);
            Finding::new(
                "TOK03",
                format!(
                    "the token's audience is `{found}`, expected `{expected}`: {}",
                    difference.describe()
                ),
            )
            .fix("correct the audience of the projected token and restart the workload")
        })
    }

    /// An issuer that no cloud can reach by its name, or whose documents are not there.
    fn issuer_of_row(&self, row: &Row) -> Option<Finding> {
        if self.cloud.issuer_rows.contains(&row.id)
            && let Some(reason) = unreachable_issuer(self.issuer_url()?)
        {
            return Some(
                Finding::new("ISS01", format!("the token's issuer is {reason}, which no cloud can reach")).fix(
                    "set kube-apiserver's --service-account-issuer to a public https URL, as the first of several where tokens of the old one are still about",
                ),
            );
        }
        if !self.cloud.fetch_rows.contains(&row.id) {
            return None;
        }
        let (code, problem) = issuer_problem(self.issuer?)?;
        Some(
            Finding::new(
                code,
                format!("the issuer's documents cannot be read from this pod either: {problem}"),
            )
            .fix(row.fix),
        )
    }

    fn configuration(&self, problem: &ConfigurationProblem) -> Verdict {
        use ConfigurationProblemKind as Kind;
        let name = problem.name.to_lowercase();
        let Coded { code, row } = (self.cloud.configuration)(problem).unwrap_or(Coded {
            code: match problem.kind {
                _ if ["ca_bundle", "ssl_cert", "ca_certs"]
                    .iter()
                    .any(|part| name.contains(part)) =>
                {
                    "NET04"
                }
                _ if name.contains("proxy") => "NET05",
                Kind::NothingConfigured | Kind::Missing | Kind::Unreadable => "POD10",
                Kind::ForbiddenHost => "EPI05",
                Kind::PartitionMismatch | Kind::ForeignEndpoint | Kind::Invalid => "NET02",
            },
            row: None,
        });
        let fix = match problem.kind {
            Kind::NothingConfigured => format!(
                "annotate the workload for {} and restart it, so that the webhook injects variables and token",
                self.exchange.provider
            ),
            Kind::Missing => format!("set `{}`; the webhook does so from the workload's annotations", problem.name),
            Kind::ForeignEndpoint => {
                "correct the endpoint, or allow its host with --allow-endpoint where it is yours: whoever runs it receives the token".into()
            }
            Kind::PartitionMismatch => "use a region of the role's partition, or the role of the region's".into(),
            Kind::ForbiddenHost => "use the address that EKS injects: http://169.254.170.23/v1/credentials".into(),
            Kind::Unreadable => "mount the file where the variable points, readable for this user".into(),
            Kind::Invalid => format!("correct `{}`", problem.name),
        };
        let finding = Finding::new(code, problem.problem.clone())
            .evidence("setting", problem.name.clone())
            .evidence("found in", problem.source.clone())
            .fix(fix);
        (VerifyExit::Configuration, row, finding)
    }

    fn transport(&self, step: Step, problem: &TransportProblem) -> Verdict {
        use TransportProblemKind as Kind;
        let host = shorten(&problem.host);
        let (code, message, fix) = match problem.kind {
            Kind::Dns => (
                "NET01",
                format!("the name {host} does not resolve in this pod"),
                "let the pod reach the cluster's DNS, and DNS the name",
            ),
            Kind::Refused => (
                "NET02",
                format!("nobody listens at {host}"),
                "correct the endpoint, or the address that the name resolves to",
            ),
            Kind::ConnectTimeout => (
                "NET02",
                format!("no connection to {host} in time"),
                "allow egress to this host on port 443: NetworkPolicy, NAT, firewall, or a private endpoint",
            ),
            Kind::ReadTimeout => (
                "NET02",
                format!("{host} was reached but did not answer in time"),
                "look for a slow proxy or firewall between the pod and the endpoint",
            ),
            Kind::Certificate => (
                "NET04",
                format!("the certificate of {host} is not trusted"),
                "mount the CA of the proxy or private endpoint and name it in the cloud's CA variable, or set the clock of this node",
            ),
            Kind::Tls => (
                "NET04",
                format!("TLS with {host} fails"),
                "look for a proxy or firewall that interferes with TLS",
            ),
            Kind::Proxy => (
                "NET05",
                format!("the proxy does not let the pod reach {host}"),
                "allow the host in the proxy, or name it in NO_PROXY",
            ),
            Kind::Broken => (
                "NET02",
                format!("the connection to {host} breaks off"),
                "look for a firewall or proxy that resets connections",
            ),
            Kind::Garbage => (
                "NET02",
                format!("{host} answers with something that is not {}", self.who()),
                "see whether a proxy, captive portal or another service answers in its place",
            ),
            Kind::TooLarge => (
                "NET02",
                format!("{host} answers with more than {} ever does", self.who()),
                "see whether a proxy, captive portal or another service answers in its place",
            ),
            Kind::Redirect => (
                "NET02",
                format!(
                    "{host} redirects, which is not followed: a redirected token is a stolen token"
                ),
                "correct the endpoint",
            ),
            Kind::Other => (
                "NET02",
                format!("{host} cannot be reached"),
                "allow egress to this host on port 443: NetworkPolicy, NAT, firewall, or a private endpoint",
            ),
        };
        let unanswered = (self.cloud.transport)(step, problem);
        let mut finding = unanswered
            .finding
            .unwrap_or_else(|| Finding::new(code, message).fix(fix))
            .evidence("detail", shorten_to(&problem.detail, 300));
        if let Some(proxy) = &problem.proxy {
            finding = finding.evidence("proxy", proxy.clone());
        }
        if let Some(ca) = self.input("CA")
            && matches!(problem.kind, Kind::Certificate)
        {
            finding = finding.evidence("CA", ca);
        }
        (VerifyExit::Unreachable, unanswered.row, finding)
    }

    fn evidence(&self, failure: &Failure) -> Vec<Evidence> {
        let mut lines = Vec::new();
        let mut line = |label, value: String| {
            lines.push(Evidence {
                label,
                value,
                source: None,
            })
        };
        if let Some(presented) = &self.exchange.token {
            let token = presented.token.as_ref().ok().or(presented.trimmed.as_ref());
            if let Some(token) = token {
                let claims = &token.claims;
                line(
                    "issuer",
                    claims.issuer().map_or_else(|| "none".into(), shorten),
                );
                line(
                    "subject",
                    claims.subject().map_or_else(|| "none".into(), shorten),
                );
                line("audience", quoted(&claims.audiences()));
                if let Some(expires) = claims.expires_at() {
                    let age = claims.issued_at().map_or_else(String::new, |issued| {
                        format!(
                            ", issued {}",
                            relative(self.clock.local.duration_since(issued))
                        )
                    });
                    line(
                        "expiry",
                        format!(
                            "{} ({}{age})",
                            expires,
                            expiry(self.clock.local.duration_since(expires))
                        ),
                    );
                }
                line(
                    "token",
                    format!(
                        "SHA-256 {}…, key id {}",
                        token.fingerprint(),
                        token
                            .header
                            .kid
                            .as_deref()
                            .map_or_else(|| "none".into(), shorten)
                    ),
                );
            }
        }
        if self.clock.skew.is_some() || answered(&failure.cause).is_some() {
            let cloud = match self.clock.skew {
                Some(skew) if skew.abs() < SignedDuration::from_secs(2) => {
                    format!("{} and this node agree", self.who())
                }
                Some(skew) => format!(
                    "{} is {} {} this node",
                    self.who(),
                    span::humanize(skew.abs()),
                    if skew.is_positive() {
                        "ahead of"
                    } else {
                        "behind"
                    }
                ),
                None => format!("{}'s is not known: no answer carried a date", self.who()),
            };
            line("clocks", cloud);
        }
        if failure.attempts > 1 {
            line("attempts", failure.attempts.to_string());
        }
        lines
    }

    fn input(&self, name: &str) -> Option<&str> {
        self.exchange
            .inputs
            .iter()
            .find(|i| i.name == name)
            .map(|i| i.value.as_str())
    }

    fn claims(&self) -> Option<&Claims> {
        token(self.exchange).map(|token| &token.claims)
    }

    fn issuer_url(&self) -> Option<&str> {
        self.claims()?.issuer()
    }

    fn subject_text(&self) -> Option<&str> {
        self.claims()?.subject()
    }

    fn audience(&self) -> Option<&str> {
        self.claims()?.audiences().first().copied()
    }

    fn endpoint(&self) -> &str {
        self.input("endpoint").unwrap_or("the endpoint")
    }

    fn token_path(&self) -> String {
        self.exchange
            .token
            .as_ref()
            .map_or_else(String::new, |t| t.path.clone())
    }

    fn who(&self) -> &'static str {
        match self.exchange.mechanism {
            Some(Mechanism::AwsWebIdentity) => "AWS STS",
            Some(Mechanism::AwsContainerCredentials) => "the Pod Identity agent",
            Some(Mechanism::GoogleExternalAccount) => "Google STS",
            Some(Mechanism::GoogleMetadataServer) => "the metadata server",
            Some(Mechanism::EntraFederatedCredential) => "Entra ID",
            None => self.exchange.provider.display_name(),
        }
    }
}

fn token(exchange: &Exchange) -> Option<&Token> {
    exchange.token.as_ref()?.token.as_ref().ok()
}

fn answered(cause: &Cause) -> Option<&Answer> {
    match cause {
        Cause::Answer(answer) => Some(answer),
        Cause::Deadline {
            last: Some(last), ..
        } => answered(last),
        _ => None,
    }
}

fn token_file(problem: &TokenProblem) -> Finding {
    let (code, fix) = match problem.kind {
        TokenProblemKind::Missing | TokenProblemKind::NotAFile => (
            "TOK01",
            "mount the projected token volume where the variable points; the webhook does so for \
             annotated workloads",
        ),
        TokenProblemKind::OtherFormat => (
            "GCP10",
            "name the member that holds the token in `credential_source.format`, or make it a text \
             file",
        ),
        TokenProblemKind::Forbidden => (
            "POD13",
            "run every container of the pod as one user, or set fsGroup, so that the kubelet makes the file readable",
        ),
        _ => (
            "TOK01",
            "mount the projected token volume itself and leave its file as it is",
        ),
    };
    Finding::new(
        code,
        format!("the token file cannot be used: {}", problem.problem),
    )
    .evidence("token file", problem.path.clone())
    .fix(fix)
}

fn token_row(kind: TokenProblemKind) -> Option<&'static str> {
    matches!(
        kind,
        TokenProblemKind::Missing | TokenProblemKind::Forbidden
    )
    .then_some("A34")
}

/// Why no cloud can reach the issuer, by its name alone.
fn unreachable_issuer(issuer: &str) -> Option<&'static str> {
    let rest = issuer.strip_prefix("https://").unwrap_or(issuer);
    let host = rest.split(['/', ':']).next().unwrap_or_default();
    if host == "kubernetes.default" || host.starts_with("kubernetes.default.svc") {
        Some("the API server's in-cluster name")
    } else if host.ends_with(".cluster.local")
        || host.ends_with(".svc")
        || host.ends_with(".internal")
        || host.ends_with(".local")
    {
        Some("a name that exists only inside the cluster's network")
    } else if host.parse::<std::net::IpAddr>().is_ok() || rest.starts_with('[') {
        Some("an IP address")
    } else {
        None
    }
}

fn issuer_problem(issuer: &Issuer) -> Option<(&'static str, String)> {
    fn problem<T>(fact: &Fact<T>, url: &str) -> Option<(&'static str, String)> {
        Some(match fact {
            Fact::Absent => ("ISS06", format!("{url} is not found (404)")),
            Fact::Denied(text) => ("ISS06", format!("{url} wants credentials ({text})")),
            Fact::Unreachable(text) => ("ISS05", format!("{url}: {text}")),
            Fact::TimedOut => ("ISS05", format!("{url} did not answer in time")),
            Fact::Invalid(text) => ("ISS06", format!("{url}: {text}")),
            Fact::Known(_) | Fact::NotCollected => return None,
        })
    }
    problem(&issuer.discovery, &issuer.discovery_url).or_else(|| {
        problem(
            &issuer.jwks,
            issuer.jwks_url.as_deref().unwrap_or("the JWKS"),
        )
    })
}

/// Whether one text is a slip of the pen away from the other, rather than another value on purpose.
fn near(found: &str, expected: &str) -> bool {
    let plain = |s: &str| {
        s.trim()
            .trim_matches(['"', '\'', '/'])
            .trim_start_matches("https://")
            .to_lowercase()
    };
    plain(found) == plain(expected)
}

fn quoted(values: &[&str]) -> String {
    if values.is_empty() {
        return "none".into();
    }
    values
        .iter()
        .map(|v| shorten(v))
        .collect::<Vec<_>>()
        .join(", ")
}

fn relative(since: SignedDuration) -> String {
    if since.is_negative() {
        format!("{} in the future", span::humanize(since.abs()))
    } else {
        format!("{} ago", span::humanize(since))
    }
}

fn expiry(since: SignedDuration) -> String {
    if since.is_negative() {
        format!("in {}", span::humanize(since.abs()))
    } else {
        format!("{} ago", span::humanize(since))
    }
}

/// A value as one word of a shell command.
fn shell(value: &str) -> String {
    if !value.is_empty()
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_./:@=+,".contains(&b))
    {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', "'\\''"))
    }
}
