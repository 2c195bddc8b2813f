//! `kubectl cwii trust`: would the cloud accept a token, and what should it be told.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use cwii_agent::output::printable;
use cwii_contract::{
    Provider,
    names::default_audience,
    types::{ClientId, IssuerUrl, PoolProvider, RoleArn, ServiceAccountEmail, Subject},
};
use cwii_token::text::first_difference;
use cwii_trust::{
    Clause, JwksFact, Library, aws,
    judge::{Judgement, Missing, Question, Undecided, judge},
    suggest::{
        self, CredentialOwner, FederatedTrust, GkeTrust, PodIdentityTrust, PoolTrust, Suggestion,
        WebIdentityTrust,
    },
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    cli::Format,
    commands::{Context, not_built},
    document,
    exit::ExitStatus,
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
/// Writes the ConfigMap cwii-trust in the namespace cwii-system, which doctor reads.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # Store the documents of a directory
  kubectl cwii trust store --trust trust/")]
pub(crate) struct TrustStore {
    /// File or directory with what the cloud was told (repeatable)
    #[arg(long, value_name = "FILE|DIR", value_hint = ValueHint::AnyPath, required = true)]
    pub(crate) trust: Vec<PathBuf>,
}

pub(crate) async fn run(arguments: &Trust, context: &mut Context) -> anyhow::Result<ExitStatus> {
    match &arguments.command {
        TrustCommand::Check(arguments) => check(arguments, context).await,
        TrustCommand::Suggest(arguments) => suggest(arguments, context).await,
        TrustCommand::Store(arguments) => {
            let _ = sources::trust(&arguments.trust, &mut context.terminal)?;
            Err(not_built("trust store"))
        }
    }
}

async fn check(arguments: &TrustCheck, context: &mut Context) -> anyhow::Result<ExitStatus> {
    let format = context.format(&[Format::Human, Format::Json, Format::Yaml])?;
    let library = sources::trust(&arguments.trust, &mut context.terminal)?;
    let Some(path) = &arguments.token else {
        return Err(not_built("trust check --sa"));
    };
    let given = sources::token(path)?;
    if let Some(surroundings) = &given.surroundings {
        context.terminal.note(&format!(
            "{}: {surroundings}; the token inside is judged",
            given.source
        ));
    }
    let keys = match &arguments.jwks {
        Some(source) => Some(sources::keys(source, context.globals.request_timeout).await?),
        None => None,
    };
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
    question.provider = arguments.provider;
    question.session_name = arguments.session_name.as_deref();
    arguments.whom.ask(&mut question);
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
    let namespace = context
        .globals
        .namespace
        .clone()
        .unwrap_or_else(|| "default".to_owned());
    let subject: Subject = format!("system:serviceaccount:{namespace}:{}", arguments.sa)
        .parse()
        .map_err(|error| Problem::new(format!("{error}")))?;
    let known = Told {
        issuer: arguments.issuer.clone(),
        audience: arguments.audience.clone(),
        whom: arguments.whom.clone(),
    };
    let suggestion = suggestion(arguments, &known, &subject, &library)?;
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
        "{} that admits exactly {subject}\n",
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
