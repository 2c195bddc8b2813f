//! From an exchange to its cause.
//!
//! The provider's text is evidence, not the verdict: several causes share one text, and texts change. So where the
//! provider had not yet accepted the token, the cause is looked for in the token, the clocks and the published keys
//! first, and only then read off the error table.

use cwii_contract::{Provider, VerifyExit, types::shorten};
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

struct Case<'a> {
    exchange: &'a Exchange,
    issuer: Option<&'a Issuer>,
    clock: Clock,
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
            self.from_token(step)
        } else {
            None
        };
        let finding = computed.unwrap_or_else(|| match classified.row {
            Some(row) => self.from_row(row, step),
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
    fn from_token(&self, step: Step) -> Option<Finding> {
        match step {
            Step::GoogleMetadata => None,
            Step::ContainerCredentials => self.malformed().or_else(|| self.pod_identity_audience()),
            _ => self
                .malformed()
                .or_else(|| self.unsupported_algorithm())
                .or_else(|| self.times())
                .or_else(|| self.subject())
                .or_else(|| self.several_audiences())
                .or_else(|| self.keys()),
        }
    }

    fn pod_identity_audience(&self) -> Option<Finding> {
        let audiences = token(self.exchange)?.claims.audiences();
        (audiences != [POD_IDENTITY_AUDIENCE]).then(|| {
            Finding::new(
                "TOK03",
                format!(
                    "the token's audience is {}, expected `{POD_IDENTITY_AUDIENCE}`",
                    quoted(&audiences)
                ),
            )
            .evidence("token file", self.token_path())
            .fix(
                "point AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE at the token that EKS projects for \
                 Pod Identity",
            )
        })
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
        let supported: &[&str] = match self.exchange.provider {
            Provider::Aws => &["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"],
            Provider::Gcp => &["RS256", "ES256"],
            Provider::Az => &["RS256"],
        };
        (!supported.contains(&alg)).then(|| {
            Finding::new(
                "TOK12",
                format!("the token is signed with {}, which {} does not accept", shorten(alg), self.cloud()),
            )
            .evidence("accepted", supported.join(", "))
            .fix("sign ServiceAccount tokens with an RSA key (kube-apiserver --service-account-signing-key-file)")
        })
    }

    fn times(&self) -> Option<Finding> {
        let claims = &token(self.exchange)?.claims;
        let leeway = SignedDuration::from_secs(match self.exchange.provider {
            Provider::Aws | Provider::Az => 300,
            Provider::Gcp => 60,
        });
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
                        self.cloud()
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
                    self.cloud()
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

    fn several_audiences(&self) -> Option<Finding> {
        let claims = &token(self.exchange)?.claims;
        let audiences = claims.audiences();
        (self.exchange.provider == Provider::Aws
            && audiences.len() > 1
            && claims.authorized_party().is_none())
        .then(|| {
            Finding::new(
                "TOK03",
                "the token has more than one audience, which STS accepts only with an `azp` claim",
            )
            .evidence("audience", quoted(&audiences))
            .fix("project the token for one audience")
        })
    }

    fn keys(&self) -> Option<Finding> {
        let token = token(self.exchange)?;
        let issuer = self.issuer?;
        let iss = token.claims.issuer()?;
        let provider = self.exchange.provider;
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
        let rules = match provider {
            Provider::Aws => KeyRules::Aws,
            Provider::Gcp => KeyRules::Google,
            Provider::Az => KeyRules::Entra,
        };
        let publish = "publish the cluster's current JWKS at the issuer before tokens are signed with a new key";
        let command = "kubectl get --raw /openid/v1/jwks > jwks.json";
        let kid = token
            .header
            .kid
            .as_deref()
            .map_or_else(|| "none".into(), shorten);
        match &issuer.jwks {
            Fact::Known(jwks) => match select_key(&token.header, jwks, rules) {
                Err(error) => {
                    let (code, message) = match &error {
                        KeyError::Unknown { .. } | KeyError::NoKid { .. } => {
                            ("ISS10", format!("no published key fits the token: {error}"))
                        }
                        _ => (
                            "ISS14",
                            format!("{} cannot use the published key: {error}", self.cloud()),
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
    fn from_row(&self, row: &'static Row, step: Step) -> Finding {
        let claims = token(self.exchange).map(|t| &t.claims);
        let iss = claims.and_then(Claims::issuer).unwrap_or("ISSUER");
        let sub = claims.and_then(Claims::subject).unwrap_or("SUBJECT");
        let aud = claims
            .and_then(|c| c.audiences().first().copied())
            .unwrap_or("AUDIENCE");
        let (mut code, mut meaning, mut fix) =
            (row.code, row.meaning.to_owned(), row.fix.to_owned());

        // The audience is the token's own fault where it is not even the cloud's default spelling.
        if matches!(row.id, "A3" | "A4" | "700212" | "7002121")
            && let Some(expected) = cwii_contract::names::default_audience(self.exchange.provider)
            && let Some(difference) = text::first_difference(aud, expected)
            && near(aud, expected)
        {
            code = Some("TOK03");
            meaning = format!(
                "the token's audience is `{}`, expected `{expected}`: {}",
                shorten(aud),
                difference.describe()
            );
            fix = "correct the audience of the projected token and restart the workload".into();
        }
        // No cloud can reach an issuer of these names.
        if matches!(
            row.id,
            "A2" | "A5" | "A19" | "G4" | "G6" | "700211" | "90061" | "70021"
        ) && let Some(reason) = unreachable_issuer(iss)
        {
            code = Some("ISS01");
            meaning = format!("the token's issuer is {reason}, which no cloud can reach");
            fix = "set kube-apiserver's --service-account-issuer to a public https URL, as the first of several where tokens of the old one are still about".into();
        } else if matches!(row.id, "A5" | "A19" | "G6" | "90061")
            && let Some(issuer) = self.issuer
            && let Some((issuer_code, problem)) = issuer_problem(issuer)
        {
            code = Some(issuer_code);
            meaning = format!(
                "{} from this pod either: {problem}",
                "the issuer's documents cannot be read"
            );
        }
        if row.id == "G16"
            && let Some(expires) = claims.and_then(Claims::expires_at)
            && expires.duration_since(self.clock.server()) < SignedDuration::from_secs(10)
        {
            code = Some("TOK09");
            meaning =
                "Google fails on a token that expires within seconds, and nobody has replaced it"
                    .into();
            fix = "mount the projected token volume itself, without `subPath`: the kubelet replaces the file in it".into();
        }
        if row.id == "G10" && sub.len() > 127 {
            code = Some("GCP06");
        }

        let mut finding = match code {
            Some(code) => Finding::new(code, meaning),
            None => Finding::passing(meaning),
        }
        .fix(fix);
        let role = self
            .input("role")
            .unwrap_or("arn:aws:iam::ACCOUNT:role/ROLE");
        let role_name = role.rsplit('/').next().unwrap_or_default();
        let host_path = iss.trim_start_matches("https://");
        finding = match (self.exchange.provider, row.id) {
            (Provider::Aws, "A1") => finding
                .evidence("role", role)
                .evidence("principal", format!("{}:oidc-provider/{host_path}", role.rsplit_once(':').map_or("", |(head, _)| head)))
                .evidence("conditions", format!("{host_path}:aud = {aud}, {host_path}:sub = {sub}"))
                .command(format!("aws iam get-role --role-name {} --query Role.AssumeRolePolicyDocument", shell(role_name))),
            (Provider::Aws, "A2") => finding
                .evidence("account", role.split(':').nth(4).unwrap_or_default())
                .command(format!("aws iam create-open-id-connect-provider --url {} --client-id-list {}", shell(iss), shell(aud))),
            (Provider::Aws, "A3" | "A4") if code == Some("AWS03") => finding.command(format!(
                "aws iam add-client-id-to-open-id-connect-provider --open-id-connect-provider-arn {} --client-id {}",
                shell(&format!("{}:oidc-provider/{host_path}", role.rsplit_once(':').map_or("", |(head, _)| head))),
                shell(aud)
            )),
            (Provider::Gcp, "G17") => self.grant(finding, sub),
            (Provider::Gcp, "G3" | "G4" | "G8" | "G2") => match self.input("audience").and_then(|a| a.parse::<cwii_contract::types::PoolProvider>().ok()) {
                Some(p) => finding.command(format!(
                    "gcloud iam workload-identity-pools providers describe {} --location global --workload-identity-pool {} --project {} --format json",
                    p.provider(), p.pool(), p.project_number()
                )),
                None => finding,
            },
            (Provider::Az, "70021" | "700211" | "700212" | "7002121" | "700213" | "7002138" | "70025") => {
                let client = self.input("client").unwrap_or("CLIENT-ID");
                finding
                    .command(format!("az ad app federated-credential list --id {}", shell(client)))
                    .command(format!(
                        "az ad app federated-credential create --id {} --parameters '{}'",
                        shell(client),
                        serde_json::json!({"name": "cwii", "issuer": iss, "subject": sub, "audiences": [aud]}).to_string().replace('\'', "'\\''")
                    ))
            }
            _ => finding,
        };
        if step == Step::GoogleTokenExchange && row.id == "G9" {
            finding = finding.evidence("subject", format!("{} bytes", sub.len()));
        }
        finding
    }

    fn grant(&self, finding: Finding, sub: &str) -> Finding {
        let provider = self
            .input("audience")
            .and_then(|a| a.parse::<cwii_contract::types::PoolProvider>().ok());
        let (Some(provider), Some(email)) = (provider, self.input("service account")) else {
            return finding;
        };
        let member = format!(
            "principal://iam.googleapis.com/{}/subject/{sub}",
            provider.pool_resource()
        );
        finding
            .evidence("service account", email)
            .evidence("principal", format!("{member} (if google.subject is mapped from assertion.sub)"))
            .command(format!(
                "gcloud iam service-accounts add-iam-policy-binding {} --role roles/iam.workloadIdentityUser --member {}",
                shell(email),
                shell(&member)
            ))
    }

    fn configuration(&self, problem: &ConfigurationProblem) -> Verdict {
        use ConfigurationProblemKind as Kind;
        let code = match (self.exchange.provider, problem.kind) {
            (_, Kind::NothingConfigured) => "POD10",
            (Provider::Az, Kind::Missing) => "AZ09",
            (Provider::Gcp, Kind::Unreadable) => "GCP10",
            (_, Kind::Missing | Kind::Unreadable) => "POD10",
            (Provider::Aws, Kind::PartitionMismatch) => "AWS10",
            (Provider::Gcp, Kind::ForeignEndpoint) => "GCP10",
            (Provider::Az, Kind::ForeignEndpoint) => "AZ08",
            (Provider::Aws, Kind::ForeignEndpoint) => "NET02",
            (_, Kind::ForbiddenHost) => "EPI05",
            (Provider::Aws, _) if problem.name.to_lowercase().contains("session") => "AWS15",
            (Provider::Aws, _) if problem.name.to_lowercase().contains("role") => "AWS10",
            (Provider::Az, _) if problem.name.contains("TENANT") => "AZ02",
            (Provider::Az, _) if problem.name.contains("CLIENT_ID") => "AZ01",
            (Provider::Az, _) if problem.name.contains("AUTHORITY") => "AZ08",
            (Provider::Gcp, _) if problem.name == "audience" => "GCP01",
            (Provider::Gcp, _) => "GCP10",
            _ if problem.name.contains("CA_BUNDLE") || problem.name.contains("SSL_CERT") => "NET04",
            _ if problem.name.to_lowercase().contains("proxy") => "NET05",
            _ => "NET02",
        };
        let row = match (self.exchange.provider, problem.kind) {
            (Provider::Gcp, Kind::NothingConfigured) => Some("G28"),
            (Provider::Gcp, Kind::Unreadable | Kind::Invalid) => Some("G29"),
            _ => None,
        };
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
        let (code, row, message, fix) = match (step, problem.kind) {
            (
                Step::ContainerCredentials,
                Kind::Refused | Kind::ConnectTimeout | Kind::ReadTimeout | Kind::Other,
            ) => (
                "EPI09",
                Some("P5"),
                format!("the Pod Identity agent does not answer at {host}"),
                "install the eks-pod-identity-agent add-on on this node, and let network policies allow 169.254.170.23:80",
            ),
            (
                Step::GoogleMetadata,
                Kind::Refused | Kind::ConnectTimeout | Kind::ReadTimeout | Kind::Dns | Kind::Other,
            ) => (
                "GKE08",
                Some("G31"),
                format!("the metadata server does not answer at {host}"),
                "run the pod on a node pool with GKE_METADATA and without hostNetwork, and let network policies allow the metadata server",
            ),
            (_, Kind::Dns) => (
                "NET01",
                None,
                format!("the name {host} does not resolve in this pod"),
                "let the pod reach the cluster's DNS, and DNS the name",
            ),
            (_, Kind::Refused) => (
                "NET02",
                None,
                format!("nobody listens at {host}"),
                "correct the endpoint, or the address that the name resolves to",
            ),
            (_, Kind::ConnectTimeout) => (
                "NET02",
                None,
                format!("no connection to {host} in time"),
                "allow egress to this host on port 443: NetworkPolicy, NAT, firewall, or a private endpoint",
            ),
            (_, Kind::ReadTimeout) => (
                "NET02",
                None,
                format!("{host} was reached but did not answer in time"),
                "look for a slow proxy or firewall between the pod and the endpoint",
            ),
            (_, Kind::Certificate) => (
                "NET04",
                None,
                format!("the certificate of {host} is not trusted"),
                "mount the CA of the proxy or private endpoint and name it in the cloud's CA variable, or set the clock of this node",
            ),
            (_, Kind::Tls) => (
                "NET04",
                None,
                format!("TLS with {host} fails"),
                "look for a proxy or firewall that interferes with TLS",
            ),
            (_, Kind::Proxy) => (
                "NET05",
                None,
                format!("the proxy does not let the pod reach {host}"),
                "allow the host in the proxy, or name it in NO_PROXY",
            ),
            (_, Kind::Broken) => (
                "NET02",
                None,
                format!("the connection to {host} breaks off"),
                "look for a firewall or proxy that resets connections",
            ),
            (_, Kind::Garbage) => (
                "NET02",
                None,
                format!("{host} answers with something that is not {}", self.cloud()),
                "see whether a proxy, captive portal or another service answers in its place",
            ),
            (_, Kind::TooLarge) => (
                "NET02",
                None,
                format!("{host} answers with more than {} ever does", self.cloud()),
                "see whether a proxy, captive portal or another service answers in its place",
            ),
            (_, Kind::Redirect) => (
                "NET02",
                None,
                format!(
                    "{host} redirects, which is not followed: a redirected token is a stolen token"
                ),
                "correct the endpoint",
            ),
            (_, Kind::Other) => (
                "NET02",
                None,
                format!("{host} cannot be reached"),
                "allow egress to this host on port 443: NetworkPolicy, NAT, firewall, or a private endpoint",
            ),
        };
        let row = row.or(match (self.exchange.provider, problem.kind) {
            (Provider::Aws, Kind::Certificate | Kind::Tls) => Some("A32"),
            (Provider::Aws, _) => Some("A31"),
            _ => None,
        });
        let mut finding = Finding::new(code, message)
            .evidence("detail", shorten_detail(&problem.detail))
            .fix(fix);
        if let Some(proxy) = &problem.proxy {
            finding = finding.evidence("proxy", proxy.clone());
        }
        if let Some(ca) = self.input("CA")
            && matches!(problem.kind, Kind::Certificate)
        {
            finding = finding.evidence("CA", ca);
        }
        (VerifyExit::Unreachable, row, finding)
    }

    fn evidence(&self, failure: &Failure) -> Vec<Evidence> {
        let mut lines = Vec::new();
        let mut line = |label, value: String| lines.push(Evidence { label, value });
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
                    format!("{} and this node agree", self.cloud())
                }
                Some(skew) => format!(
                    "{} is {} {} this node",
                    self.cloud(),
                    span::humanize(skew.abs()),
                    if skew.is_positive() {
                        "ahead of"
                    } else {
                        "behind"
                    }
                ),
                None => format!("{}'s is not known: no answer carried a date", self.cloud()),
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

    fn endpoint(&self) -> &str {
        self.input("endpoint").unwrap_or("the endpoint")
    }

    fn token_path(&self) -> String {
        self.exchange
            .token
            .as_ref()
            .map_or_else(String::new, |t| t.path.clone())
    }

    fn cloud(&self) -> &'static str {
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

/// Audience of the tokens that EKS projects for Pod Identity.
const POD_IDENTITY_AUDIENCE: &str = "pods.eks.amazonaws.com";

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

fn shorten_detail(text: &str) -> String {
    let mut out: String = text
        .chars()
        .take(300)
        .flat_map(char::escape_debug)
        .collect();
    out = out.replace("\\\"", "\"").replace("\\'", "'");
    out
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
