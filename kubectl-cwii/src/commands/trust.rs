//! `kubectl cwii trust`: would the cloud accept a token, and what should it be told.

use std::{path::PathBuf, str::FromStr};

use clap::{Args, Subcommand, ValueHint};
use cwii_agent::output::printable;
use cwii_checks::doctor::{Given, Mechanism};
use cwii_contract::{
    Provider,
    names::default_audience,
    types::{ClientId, IssuerUrl, PoolProvider, RoleArn, ServiceAccountEmail, Subject},
};
use cwii_token::text::first_difference;
use cwii_trust::{
    Clause, JwksFact, Library, aws,
    judge::{Judgement, Missing, Question, Undecided, judge, providers_in},
    suggest::{
        self, CredentialOwner, FederatedTrust, GkeTrust, PodIdentityTrust, PoolTrust, Suggestion,
        WebIdentityTrust,
    },
};
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::{
    cli::Format,
    cluster::{Access, Failure, config::Environment, resource::CONFIG_MAP},
    commands::{Context, token},
    document,
    exit::ExitStatus,
    identity::{self, Identity},
    problem::Problem,
    sources::{self, GivenKeys},
    terminal::{Terminal, Tone},
};

/// Decide as the cloud does whether it would accept a token, and say what the cloud should be told.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # Would this role accept this token?
  kubectl cwii trust check --token token.jwt --jwks jwks.json --trust role.json

  # The smallest trust that admits exactly this service account
  kubectl cwii trust suggest checkout --provider aws -n shop")]
pub(crate) struct Trust {
    #[command(subcommand)]
    pub(crate) command: TrustCommand,
}

#[derive(Debug, Subcommand)]
#[command(subcommand_help_heading = "Available Commands")]
pub(crate) enum TrustCommand {
    Check(Box<TrustCheck>),
    Suggest(Box<TrustSuggest>),
    Store(TrustStore),
}

/// Decide whether the cloud would accept a token, and say which clause decides.
///
/// The verdict comes from the documents, the keys and the token; no cloud is asked. The exit status is 0 when the cloud would
/// accept the token and 1 when it would not. Output formats: human, json, yaml.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # Would this role accept this token?
  kubectl cwii trust check --token token.jwt --jwks jwks.json --trust role.json

  # Would it accept the token of this service account, minted now?
  kubectl cwii trust check --sa checkout --trust trust/ -n shop

  # Would it have accepted it at that moment?
  kubectl cwii trust check --token token.jwt --trust trust/ --now 2026-11-21T12:00:00Z -o json")]
pub(crate) struct TrustCheck {
    /// File with the token, or - for standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, required_unless_present = "sa")]
    pub(crate) token: Option<PathBuf>,

    /// Mint the token of this service account instead
    #[arg(long, value_name = "NAME", conflicts_with = "token")]
    pub(crate) sa: Option<String>,

    /// Cloud that the token is for: aws, az or gcp
    #[arg(long, value_name = "PROVIDER")]
    pub(crate) provider: Option<Provider>,

    /// File or URL with the keys that the issuer publishes
    #[arg(long, value_name = "FILE|URL")]
    pub(crate) jwks: Option<String>,

    /// File or directory with what the cloud was told (repeatable)
    #[arg(long, value_name = "FILE|DIR", value_hint = ValueHint::AnyPath, required = true)]
    pub(crate) trust: Vec<PathBuf>,

    /// Take this moment for now, in RFC 3339
    #[arg(long, value_name = "TIME")]
    pub(crate) now: Option<Timestamp>,

    /// Session name of the exchange with AWS STS
    #[arg(long, value_name = "NAME")]
    pub(crate) session_name: Option<String>,

    #[command(flatten)]
    pub(crate) whom: Whom,
}

/// Whom the cloud would be asked for, where documents do not tell.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Whom {
    /// AWS: the role, where the documents are of several
    #[arg(long, value_name = "ARN")]
    pub(crate) role_arn: Option<RoleArn>,

    /// EKS Pod Identity: the ARN of the cluster
    #[arg(long, value_name = "ARN")]
    pub(crate) cluster_arn: Option<String>,

    /// Google: the workload identity pool provider, where the documents are of several
    #[arg(long, value_name = "RESOURCE")]
    pub(crate) pool_provider: Option<PoolProvider>,

    /// Google: e-mail address of the service account to impersonate
    #[arg(long, value_name = "EMAIL")]
    pub(crate) google_service_account: Option<ServiceAccountEmail>,

    /// Entra: the application or managed identity, where the documents are of several
    #[arg(long, value_name = "UUID")]
    pub(crate) client_id: Option<ClientId>,

    /// Entra: the tenant
    #[arg(long, value_name = "UUID")]
    pub(crate) tenant_id: Option<String>,
}

impl Whom {
    /// Takes from a workload what no flag says. A value that is none of its kind stays out: it is named where it matters.
    fn complete(&mut self, mechanism: Option<&Mechanism>) {
        let Some(mechanism) = mechanism else {
            return;
        };
        fill(&mut self.role_arn, &mechanism.role);
        fill(&mut self.pool_provider, &mechanism.google_provider);
        fill(
            &mut self.google_service_account,
            &mechanism.google_service_account,
        );
        fill(&mut self.client_id, &mechanism.client_id);
        fill(&mut self.tenant_id, &mechanism.tenant_id);
    }

    pub(crate) fn ask<'a>(&'a self, question: &mut Question<'a>) {
        question.role_arn = self.role_arn.as_ref();
        question.cluster_arn = self.cluster_arn.as_deref();
        question.pool_provider = self.pool_provider.as_ref();
        question.service_account = self
            .google_service_account
            .as_ref()
            .map(ServiceAccountEmail::as_str);
        question.client_id = self.client_id.as_ref().map(ClientId::as_str);
        question.tenant = self.tenant_id.as_deref();
    }
}

fn fill<T: FromStr>(place: &mut Option<T>, given: &Option<Given>) {
    if let (None, Some(given)) = (&place, given) {
        *place = given.value.trim().parse().ok();
    }
}

/// Print the smallest trust that admits exactly a service account.
///
/// As JSON, as commands of the cloud's command line, and as Terraform. What neither the service account's annotations nor the
/// cluster tell is named by flags; with all of them no cluster is asked. Output formats: human, json, yaml.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # For AWS: trust policy, CLI commands and Terraform
  kubectl cwii trust suggest checkout --provider aws -n shop

  # The same with no cluster
  kubectl cwii trust suggest checkout --provider aws -n shop --issuer https://oidc.example.com/prod \\
    --role-arn arn:aws:iam::111122223333:role/checkout

  # For EKS Pod Identity
  kubectl cwii trust suggest checkout --provider aws -n shop --native --cluster-name prod \\
    --role-arn arn:aws:iam::111122223333:role/checkout")]
pub(crate) struct TrustSuggest {
    /// The service account
    #[arg(value_name = "SERVICEACCOUNT")]
    pub(crate) sa: String,

    /// The cloud: aws, az or gcp
    #[arg(long, value_name = "PROVIDER")]
    pub(crate) provider: Provider,

    /// The issuer of the cluster's tokens; what the cluster says if omitted
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) issuer: Option<IssuerUrl>,

    /// Audience of the tokens; the effective one if omitted
    #[arg(long, value_name = "AUDIENCE")]
    pub(crate) audience: Option<String>,

    /// By the platform's own mechanism: EKS Pod Identity, GKE workload identity
    #[arg(long)]
    pub(crate) native: bool,

    /// EKS Pod Identity: the name of the cluster
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster_name: Option<String>,

    /// GKE workload identity: the id of the cluster's project
    #[arg(long, value_name = "ID")]
    pub(crate) project: Option<String>,

    /// GKE workload identity: the number of the cluster's project
    #[arg(long, value_name = "NUMBER")]
    pub(crate) project_number: Option<String>,

    /// Entra: the managed identity that has the client id
    #[arg(long, value_name = "NAME", requires = "resource_group")]
    pub(crate) identity_name: Option<String>,

    /// Entra: the managed identity's resource group
    #[arg(long, value_name = "NAME", requires = "identity_name")]
    pub(crate) resource_group: Option<String>,

    /// File or directory with what the cloud was told already (repeatable)
    #[arg(long, value_name = "FILE|DIR", value_hint = ValueHint::AnyPath)]
    pub(crate) trust: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) whom: Whom,
}

/// Keep trust documents in the cluster, for people without rights in the cloud.
///
/// Writes the ConfigMap cwii-trust in the namespace cwii-system, which doctor reads. It replaces what was stored before. Documents
/// hold no secrets, and one that does is refused. Output formats: human, json, yaml.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # Store the documents of a directory
  kubectl cwii trust store --trust trust/

  # See first what would be stored
  kubectl cwii trust store --trust trust/ --dry-run")]
pub(crate) struct TrustStore {
    /// File or directory with what the cloud was told (repeatable)
    #[arg(long, value_name = "FILE|DIR", value_hint = ValueHint::AnyPath, required = true)]
    pub(crate) trust: Vec<PathBuf>,

    /// Print the ConfigMap instead of writing it; no cluster is asked
    #[arg(long)]
    pub(crate) dry_run: bool,
}

pub(crate) async fn run(arguments: &Trust, context: &mut Context) -> anyhow::Result<ExitStatus> {
    match &arguments.command {
        TrustCommand::Check(arguments) => check(arguments, context).await,
        TrustCommand::Suggest(arguments) => suggest(arguments, context).await,
        TrustCommand::Store(arguments) => store(arguments, context).await,
    }
}

async fn check(arguments: &TrustCheck, context: &mut Context) -> anyhow::Result<ExitStatus> {
    let format = context.format(&[Format::Human, Format::Json, Format::Yaml])?;
    let library = sources::trust(&arguments.trust, &mut context.terminal)?;
    let mut whom = arguments.whom.clone();
    let mut provider = arguments.provider;
    let mut keys = match &arguments.jwks {
        Some(source) => Some(sources::keys(source, context.globals.request_timeout).await?),
        None => None,
    };
    let given = match &arguments.token {
        Some(path) => sources::token(path)?,
        None => {
            let cluster = context.connect().await?;
            let namespace = cluster.access().namespace.clone();
            let account = arguments.sa.as_deref().unwrap_or("default");
            let workload = Identity::of_service_account(&cluster, &namespace, account).await?;
            let cloud = match provider {
                Some(provider) => provider,
                None => cloud_of(&workload, &library)?,
            };
            provider = Some(cloud);
            whom.complete(workload.mechanism(Some(cloud)));
            let (audience, _) = workload.audience(cloud)?;
            let token = workload.mint(&cluster, &audience).await?;
            if keys.is_none()
                && library.published_jwks().is_none()
                && library.cluster_jwks().is_none()
            {
                keys = Some(token::cluster_keys(&cluster).await);
            }
            sources::from_text(token.expose_secret(), "minted".to_owned())
        }
    };
    if let Some(surroundings) = &given.surroundings {
        context.terminal.note(&format!(
            "{}: {surroundings}; the token inside is judged",
            given.source
        ));
    }
    let unavailable = match &keys {
        Some(GivenKeys::Unavailable(text)) => {
            context
                .terminal
                .note(&format!("the keys could not be fetched: {text}"));
            true
        }
        _ => false,
    };
    let jwks = match (&keys, library.published_jwks(), library.cluster_jwks()) {
        (Some(GivenKeys::Known(jwks, _)), ..) => JwksFact::Known(jwks),
        (Some(GivenKeys::Unavailable(_)), ..) => JwksFact::NotCollected,
        (None, Some(jwks), _) | (None, None, Some(jwks)) => JwksFact::Known(jwks),
        (None, None, None) => JwksFact::NotCollected,
    };
    let now = arguments.now.unwrap_or_else(Timestamp::now);
    let mut question = Question::new(given.token.as_ref(), jwks, now);
    question.provider = provider;
    question.session_name = arguments.session_name.as_deref();
    whom.ask(&mut question);
    let judgement =
        judge(&library, &question).map_err(|undecided| undecided_problem(&undecided))?;
    let text = match format {
        Format::Json => document::json(&as_json(&judgement))?,
        Format::Yaml => document::yaml(&as_json(&judgement))?,
        _ => human(&judgement, &library, &context.terminal),
    };
    context.terminal.line(text.trim_end());
    let status = match (judgement.allowed(), unavailable) {
        (false, _) => ExitStatus::Findings,
        (true, true) => ExitStatus::Inconclusive,
        (true, false) => ExitStatus::Success,
    };
    Ok(context.stop.or(status))
}

/// The cloud that the documents are of, or the only one that the workload asks.
fn cloud_of(workload: &Identity, library: &Library) -> Result<Provider, Problem> {
    let asked: Vec<Provider> = Provider::ALL
        .into_iter()
        .filter(|provider| workload.mechanism(Some(*provider)).is_some())
        .collect();
    let given = providers_in(library);
    match (given.as_slice(), asked.as_slice()) {
        ([only], _) | (_, [only]) => Ok(*only),
        _ => Err(undecided_problem(&Undecided {
            missing: Missing::Provider,
            candidates: given.iter().map(ToString::to_string).collect(),
        })),
    }
}

/// What is missing, and the flag that says it.
pub(crate) fn undecided_problem(undecided: &Undecided) -> Problem {
    let problem = Problem::new(undecided.to_string());
    match undecided.missing {
        Missing::Provider => problem.help("name the cloud with --provider aws, az or gcp"),
        Missing::Role => problem.help("name the role with --role-arn"),
        Missing::ClusterArn => problem.help("name the cluster with --cluster-arn"),
        Missing::PoolProvider => problem.help("name the provider with --pool-provider"),
        Missing::ClientId => {
            problem.help("name the application or managed identity with --client-id")
        }
        _ => problem.help("add the cluster's description to the documents"),
    }
}

/// The documented shape: `{"allowed", "error": {"code", "message"}, "decidedBy"}`.
pub(crate) fn as_json(judgement: &Judgement) -> Value {
    json!({
        "allowed": judgement.allowed(),
        "error": judgement.error.as_ref().map(|error| json!({
            "code": error.code,
            "message": error.message,
        })),
        "decidedBy": clause_json(&judgement.decided_by),
    })
}

pub(crate) fn clause_json(clause: &Clause) -> Value {
    let mut value = json!({
        "document": clause.document,
        "pointer": clause.pointer,
        "rule": clause.rule,
    });
    if let Some(comparison) = &clause.comparison {
        value["expected"] = json!(comparison.expected);
        value["found"] = json!(comparison.found);
    }
    value
}

fn human(judgement: &Judgement, library: &Library, terminal: &Terminal) -> String {
    let mut out = String::new();
    let cloud = judgement.provider.display_name();
    match &judgement.error {
        None => {
            out.push_str(&terminal.paint(Tone::Good, "accepted"));
            out.push_str(&format!(" by {cloud}: {}\n", printable(&judgement.target)));
        }
        Some(error) => {
            out.push_str(&terminal.paint(Tone::Bad, "refused"));
            out.push_str(&format!(
                " by {cloud}: {}\n\n",
                printable(&judgement.target)
            ));
            let code = if error.code.is_empty() {
                String::new()
            } else {
                format!("{}: ", error.code)
            };
            out.push_str(&format!(
                "  {}\n",
                printable(&format!("{code}{}", error.message))
            ));
        }
    }
    out.push_str("\ndecided by\n");
    clause_lines(&judgement.decided_by, terminal, &mut out);
    if let Some(file) = file_of(&judgement.decided_by, library) {
        out.push_str(&format!("    in        {}\n", printable(file)));
    }
    if !judgement.others.is_empty() {
        out.push_str("\nwould have to change as well\n");
        for other in &judgement.others {
            clause_lines(other, terminal, &mut out);
        }
    }
    if !judgement.remarks.is_empty() {
        out.push_str("\nworth knowing\n");
        for (code, clause) in &judgement.remarks {
            clause_lines(clause, terminal, &mut out);
            if let Some(code) = code {
                out.push_str(&format!("    see       kubectl cwii explain {code}\n"));
            }
        }
    }
    if let Some(code) = judgement.check {
        out.push_str(&format!(
            "\n{} kubectl cwii explain {code}\n",
            terminal.paint(Tone::Strong, "help:")
        ));
    }
    out
}

/// A clause and what it compared, the first character that differs marked.
pub(crate) fn clause_lines(clause: &Clause, terminal: &Terminal, out: &mut String) {
    out.push_str(&format!(
        "  {} of the {}\n",
        terminal.paint(Tone::Strong, &printable(&clause.rule)),
        printable(&clause.document)
    ));
    if !clause.pointer.is_empty() {
        out.push_str(&format!("    at        {}\n", printable(&clause.pointer)));
    }
    if let Some(comparison) = &clause.comparison {
        out.push_str(&format!(
            "    expected  {}\n",
            printable(&comparison.expected)
        ));
        out.push_str(&format!("    found     {}\n", printable(&comparison.found)));
        if let Some(difference) = first_difference(&comparison.found, &comparison.expected)
            && !comparison.expected.contains(" or ")
            && !comparison.found.starts_with('(')
        {
            out.push_str(&format!(
                "              {}\n",
                printable(&difference.describe())
            ));
        }
    }
}

/// The file that a clause stands in, where it can be told.
fn file_of<'a>(clause: &Clause, library: &'a Library) -> Option<&'a str> {
    use cwii_trust::Shape;
    let shapes: &[Shape] = if clause.document.starts_with("trust policy") {
        &[
            Shape::AwsRole,
            Shape::AwsRoleList,
            Shape::AwsTrustPolicy,
            Shape::Terraform,
        ]
    } else if clause.document.starts_with("provider arn:") {
        &[
            Shape::AwsOidcProvider,
            Shape::AwsOidcProviderList,
            Shape::Terraform,
        ]
    } else {
        return None;
    };
    library.file_of(shapes)
}

async fn suggest(arguments: &TrustSuggest, context: &mut Context) -> anyhow::Result<ExitStatus> {
    let format = context.format(&[Format::Human, Format::Json, Format::Yaml])?;
    let library = sources::trust(&arguments.trust, &mut context.terminal)?;
    let mut told = Told {
        issuer: arguments.issuer.clone(),
        audience: arguments.audience.clone(),
        whom: arguments.whom.clone(),
    };
    let cluster = if told.suffices(arguments) {
        None
    } else {
        Some(context.connect().await?)
    };
    let namespace = match (&context.globals.namespace, &cluster) {
        (Some(namespace), _) => namespace.clone(),
        (None, Some(cluster)) => cluster.access().namespace.clone(),
        (None, None) => Access::load(&context.globals, &Environment::of_process())
            .map_or_else(|_| "default".to_owned(), |access| access.namespace),
    };
    let subject: Subject = format!("system:serviceaccount:{namespace}:{}", arguments.sa)
        .parse()
        .map_err(|error| Problem::new(format!("{error}")))?;
    if let Some(cluster) = &cluster {
        let workload = Identity::of_service_account(cluster, &namespace, &arguments.sa).await?;
        let mechanism = workload.mechanism(Some(arguments.provider));
        told.whom.complete(mechanism);
        if told.audience.is_none() {
            told.audience = mechanism
                .and_then(|mechanism| mechanism.audience.as_ref())
                .map(|audience| audience.value.clone());
        }
        if told.issuer.is_none() && !arguments.native {
            told.issuer = Some(identity::issuer(cluster).await?);
        }
    }
    let suggestion = suggestion(arguments, &told, &subject, &library)?;
    let text = match format {
        Format::Json => {
            document::json(&suggestion_json(&subject, arguments.provider, &suggestion))?
        }
        Format::Yaml => {
            document::yaml(&suggestion_json(&subject, arguments.provider, &suggestion))?
        }
        _ => suggestion_human(&subject, arguments.provider, &suggestion, &context.terminal),
    };
    context.terminal.line(text.trim_end());
    Ok(ExitStatus::Success)
}

/// What flags, or else the cluster, tell.
struct Told {
    issuer: Option<IssuerUrl>,
    audience: Option<String>,
    whom: Whom,
}

impl Told {
    /// Whether flags say everything, so that no cluster need be asked.
    fn suffices(&self, arguments: &TrustSuggest) -> bool {
        let whom = match arguments.provider {
            Provider::Aws => self.whom.role_arn.is_some(),
            Provider::Gcp => arguments.native || self.whom.pool_provider.is_some(),
            Provider::Az => self.whom.client_id.is_some(),
        };
        whom && (arguments.native || self.issuer.is_some())
    }

    fn issuer(&self) -> Result<&IssuerUrl, Problem> {
        self.issuer.as_ref().ok_or_else(|| {
            Problem::new("expected the issuer of the cluster's tokens, found none")
                .help("name it with --issuer")
        })
    }

    fn role(&self) -> Result<&RoleArn, Problem> {
        self.whom.role_arn.as_ref().ok_or_else(|| {
            Problem::new("expected a role, found none in the annotations of the service account")
                .help("name it with --role-arn")
        })
    }
}

fn suggestion(
    arguments: &TrustSuggest,
    told: &Told,
    subject: &Subject,
    library: &Library,
) -> Result<Suggestion, Problem> {
    let whom = &told.whom;
    let audience = |default: &'static str| -> String {
        told.audience.clone().unwrap_or_else(|| default.to_owned())
    };
    match arguments.provider {
        Provider::Aws if arguments.native => {
            let role = told.role()?;
            let name = arguments
                .cluster_name
                .as_deref()
                .or_else(|| {
                    whom.cluster_arn
                        .as_deref()?
                        .rsplit_once('/')
                        .map(|(_, n)| n)
                })
                .ok_or_else(|| {
                    Problem::new("expected the name of the EKS cluster, found none")
                        .help("name it with --cluster-name, and better with --cluster-arn")
                })?;
            let trust = PodIdentityTrust {
                cluster_name: name,
                cluster_arn: whom.cluster_arn.as_deref(),
                role,
            };
            Ok(suggest::pod_identity(
                subject,
                &trust,
                &library.aws(Some(role)),
            ))
        }
        Provider::Aws => {
            let role = told.role()?;
            let audience = audience(default_audience(Provider::Aws).unwrap_or_default());
            let trust = WebIdentityTrust {
                issuer: told.issuer()?,
                audience: &audience,
                role,
            };
            let known: aws::Documents = library.aws(Some(role));
            Ok(suggest::web_identity(subject, &trust, &known))
        }
        Provider::Gcp if arguments.native => {
            let project = arguments.project.as_deref().ok_or_else(|| {
                Problem::new("expected the id of the cluster's project, found none")
                    .help("name it with --project")
            })?;
            let trust = GkeTrust {
                project,
                project_number: arguments.project_number.as_deref(),
                service_account: whom
                    .google_service_account
                    .as_ref()
                    .map(ServiceAccountEmail::as_str),
            };
            Ok(suggest::gke(subject, &trust))
        }
        Provider::Gcp => {
            let provider = whom.pool_provider.as_ref().ok_or_else(|| {
                Problem::new(
                    "expected a workload identity pool provider, found none in the annotations of the service account",
                )
                .help("name it with --pool-provider //iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER")
            })?;
            let trust = PoolTrust {
                issuer: told.issuer()?,
                provider,
                audience: told.audience.as_deref(),
                service_account: whom
                    .google_service_account
                    .as_ref()
                    .map(ServiceAccountEmail::as_str),
            };
            suggest::pool(subject, &trust, &library.google(None))
                .map_err(|error| Problem::new(error.to_string()))
        }
        Provider::Az => {
            let client_id = whom.client_id.as_ref().ok_or_else(|| {
                Problem::new(
                    "expected a client id, found none in the annotations of the service account",
                )
                .help("name it with --client-id")
            })?;
            let audience = audience(default_audience(Provider::Az).unwrap_or_default());
            let owner = match (&arguments.identity_name, &arguments.resource_group) {
                (Some(name), Some(resource_group)) => Some(CredentialOwner::ManagedIdentity {
                    name,
                    resource_group,
                }),
                _ => None,
            };
            let trust = FederatedTrust {
                issuer: told.issuer()?,
                audience: &audience,
                client_id,
                owner,
            };
            Ok(suggest::federated(
                subject,
                &trust,
                &library.entra(Some(client_id.as_str())),
            ))
        }
    }
}

fn suggestion_json(subject: &Subject, provider: Provider, suggestion: &Suggestion) -> Value {
    let documents: Vec<Value> = suggestion
        .documents
        .iter()
        .map(|document| {
            json!({
                "file": document.file,
                "title": document.title,
                "document": document.document,
            })
        })
        .collect();
    json!({
        "schema": { "name": "cwii.trust-suggestion", "version": "1.0" },
        "provider": provider.as_str(),
        "subject": subject.to_string(),
        "documents": documents,
        "commands": suggestion.commands,
        "terraform": suggestion.terraform,
        "notes": suggestion.notes,
    })
}

fn suggestion_human(
    subject: &Subject,
    provider: Provider,
    suggestion: &Suggestion,
    terminal: &Terminal,
) -> String {
    let heading = |text: &str| terminal.paint(Tone::Strong, text);
    let mut out = format!(
        "the least trust of {} that admits exactly {subject}\n",
        provider.display_name()
    );
    for document in &suggestion.documents {
        out.push_str(&format!("\n{}\n", heading(&printable(&document.title))));
        for line in format!("{:#}", document.document).lines() {
            out.push_str(&format!("{}\n", printable(line)));
        }
    }
    if !suggestion.commands.is_empty() {
        out.push_str(&format!("\n{}\n", heading("commands")));
        for command in &suggestion.commands {
            for line in command.lines() {
                out.push_str(&format!("{}\n", printable(line)));
            }
        }
    }
    if !suggestion.terraform.is_empty() {
        out.push_str(&format!("\n{}\n", heading("Terraform")));
        for line in suggestion.terraform.lines() {
            out.push_str(&format!("{}\n", printable(line)));
        }
    }
    for note in &suggestion.notes {
        out.push_str(&format!("\nnote: {}\n", printable(note)));
    }
    out
}

async fn store(arguments: &TrustStore, context: &mut Context) -> anyhow::Result<ExitStatus> {
    let format = context.format(&[Format::Human, Format::Json, Format::Yaml])?;
    let library = sources::trust(&arguments.trust, &mut context.terminal)?;
    if library.is_empty() {
        return Err(Problem::new("expected trust documents, found none")
            .help("name files or directories that hold them with --trust")
            .into());
    }
    let data = library
        .to_config_map_data()
        .map_err(|error| Problem::new(error.to_string()))?;
    let bytes: usize = data
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if bytes > MAX_CONFIG_MAP_BYTES {
        return Err(Problem::new(format!(
            "expected documents of at most {MAX_CONFIG_MAP_BYTES} bytes, which is what a ConfigMap takes, found {bytes}"
        ))
        .help("leave out what no workload of this cluster needs")
        .into());
    }
    let config_map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": CONFIG_MAP_NAME,
            "namespace": SYSTEM_NAMESPACE,
            "labels": { "app.kubernetes.io/part-of": "cwii" },
        },
        "data": data,
    });
    let written = if arguments.dry_run {
        config_map
    } else {
        let cluster = context.connect().await?;
        let what = format!("configmap `{SYSTEM_NAMESPACE}/{CONFIG_MAP_NAME}`");
        cluster
            .apply(CONFIG_MAP, SYSTEM_NAMESPACE, CONFIG_MAP_NAME, &config_map)
            .await
            .map_err(|failure| match failure {
                Failure::Absent => Problem::new(format!(
                    "{what} could not be written: there is no namespace `{SYSTEM_NAMESPACE}`"
                ))
                .help("install cwii, or create the namespace")
                .help(format!("  kubectl create namespace {SYSTEM_NAMESPACE}")),
                Failure::Denied(permission) => Problem::new(format!(
                    "{what} could not be written: not allowed to {permission}"
                )),
                other => Problem::new(format!("{what} could not be written: {other}")),
            })?
    };
    let text = match (format, arguments.dry_run) {
        (Format::Json, _) => document::json(&written)?,
        (Format::Yaml, _) | (_, true) => document::yaml(&written)?,
        _ => {
            let mut text = format!("configmap/{CONFIG_MAP_NAME} serverside-applied\n");
            for (file, shape) in library.files() {
                text.push_str(&format!("  {}: {shape}\n", printable(file)));
            }
            text
        }
    };
    context.terminal.line(text.trim_end());
    Ok(context.stop.or(ExitStatus::Success))
}

/// Source: Kubernetes documentation, "ConfigMaps": at most 1 MiB.
const MAX_CONFIG_MAP_BYTES: usize = 1 << 20;
const CONFIG_MAP_NAME: &str = "cwii-trust";
const SYSTEM_NAMESPACE: &str = "cwii-system";
