//! `kubectl cwii doctor`: why a workload's cloud identity does not work.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};
use cwii_agent::output::printable;
use cwii_checks::doctor::{Examination, State, Target, examine};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    cli::Format,
    cluster::resource,
    commands::Context,
    document,
    exit::ExitStatus,
    facts::{
        assemble::{Surroundings, assemble},
        documents, manifest, rbac,
        store::Store,
        sweep::{self, Selector},
        workload::{Workload, workloads},
    },
    problem::Problem,
    target::{Named, TargetArgs, WORKLOADS, Words},
};

/// Say why the cloud identity of a workload does not work, with the evidence and the fix.
///
/// Looks at the pod and everything between it and the cloud: its owners, ServiceAccount and namespace, the admission
/// webhooks, the token, the cluster's issuer and, with --trust, what the cloud was told. Only reads, unless --probe is
/// given.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # Diagnose a pod
  kubectl cwii doctor pod checkout-7d9f -n shop

  # Diagnose a workload by its type and name
  kubectl cwii doctor deploy checkout -n shop

  # Diagnose every workload of the cluster, worst first
  kubectl cwii doctor -A

  # Compare with what the cloud was told as well
  aws iam get-role --role-name checkout > role.json
  kubectl cwii doctor pod checkout-7d9f -n shop --trust role.json

  # Diagnose manifests with no cluster
  kubectl cwii doctor --local -f deploy/ -R

  # Print the smallest Role with which nothing stays unknown
  kubectl cwii doctor --print-rbac")]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) target: TargetArgs,

    /// Container to look at; all containers if omitted
    #[arg(short, long, value_name = "NAME")]
    pub(crate) container: Option<String>,

    /// With -f: look at the manifests alone, and at no cluster
    #[arg(long, requires = "filename")]
    pub(crate) local: bool,

    /// Also do what is more than reading: mint a token, create a copy of the pod with server-side dry-run, ask the
    /// public issuer
    #[arg(long, conflicts_with = "local")]
    pub(crate) probe: bool,

    /// File or directory with what the cloud was told: roles, providers, pools, credentials (repeatable)
    #[arg(long, value_name = "FILE|DIR", value_hint = ValueHint::AnyPath)]
    pub(crate) trust: Vec<PathBuf>,

    /// List every call that would be made, and make none
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Print the smallest Role that the checks need, and look at nothing
    #[arg(long)]
    pub(crate) print_rbac: bool,

    /// Least severity that makes the exit code 1
    #[arg(long, value_name = "SEVERITY", value_enum, default_value_t)]
    pub(crate) fail_on: FailOn,

    /// Exit with 0 although something that was asked for could not be settled
    #[arg(long)]
    pub(crate) allow_unknown: bool,

    /// Take this moment for now, in RFC 3339
    #[arg(long, value_name = "TIME")]
    pub(crate) now: Option<Timestamp>,

    /// When using a table, don't print headers
    #[arg(long)]
    pub(crate) no_headers: bool,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum FailOn {
    /// Errors.
    #[default]
    Error,
    /// Errors and warnings.
    Warning,
    /// Nothing.
    Never,
}

/// A workload and what all rules made of it.
struct Examined {
    target: Target,
    pods: usize,
    examination: Examination,
}

pub(crate) async fn run(arguments: &Doctor, context: &mut Context) -> anyhow::Result<ExitStatus> {
    let format = context.format(FORMATS)?;
    if arguments.print_rbac {
        context
            .terminal
            .line(rbac::manifest("default", "cwii-system", arguments.probe).trim_end());
        return Ok(ExitStatus::Success);
    }
    let words = Words::parse(&arguments.target.target, resource::POD, WORKLOADS)?;
    if arguments.target.all_namespaces && matches!(words, Words::Objects(_)) {
        return Err(Problem::new(
            "objects are named beside --all-namespaces, expected one of both",
        )
        .into());
    }
    let selector = arguments
        .target
        .selector
        .as_deref()
        .map(str::parse::<Selector>)
        .transpose()?;
    let now = arguments.now.unwrap_or_else(Timestamp::now);
    let mut surroundings = Surroundings::new(now);
    surroundings.trust = documents::read(&arguments.trust, &mut context.terminal)?;
    let mut store = Store::default();
    if !arguments.target.files.filename.is_empty() {
        let namespace = context.globals.namespace.as_deref().unwrap_or("default");
        let objects = manifest::read(&arguments.target.files, &mut context.terminal)?;
        store.give(objects, namespace);
        surroundings.has_files = true;
    }
    let chosen = if arguments.local {
        among_manifests(&store, &words, selector.as_ref(), arguments, context)?
    } else {
        return Err(crate::commands::not_built("doctor without --local"));
    };
    surroundings.fill_from_documents();
    surroundings.look_behind_webhooks(&store);
    let is_alone = chosen.len() == 1;
    let examined: Vec<_> = chosen
        .into_iter()
        .map(|workload| Examined {
            examination: examine(&assemble(&store, &surroundings, &workload, is_alone)),
            target: workload.target,
            pods: workload.pods,
        })
        .collect();
    let status = context.stop.or(status(&examined, arguments));
    print(&examined, status, format, context)?;
    Ok(status)
}

/// The workloads that the arguments mean, of those in manifests.
fn among_manifests(
    store: &Store,
    words: &Words,
    selector: Option<&Selector>,
    arguments: &Doctor,
    context: &Context,
) -> Result<Vec<Workload>, Problem> {
    let all = workloads(store, store.given());
    let namespace = context
        .globals
        .namespace
        .as_deref()
        .filter(|_| !arguments.target.all_namespaces);
    let chosen: Vec<_> = match words {
        Words::Objects(named) => {
            let namespace = namespace.unwrap_or("default");
            let mut chosen = Vec::new();
            for named in named {
                chosen.extend(named_among(store, &all, named, namespace)?);
            }
            chosen
        }
        Words::All(_) | Words::Nothing => all
            .into_iter()
            .filter(|workload| namespace.is_none_or(|n| workload.target.namespace == n))
            .filter(|workload| match words {
                Words::All(resource) => workload.is_of(store, resource.kind),
                _ => true,
            })
            .filter(|workload| selector.is_none_or(|selector| workload.matches(selector)))
            .collect(),
    };
    if chosen.is_empty() {
        return Err(Problem::new(
            "there is no workload among the manifests, expected pods or what makes pods",
        ));
    }
    Ok(sweep::distinct(store, chosen))
}

/// The pods of one named workload, or what would be its pods.
fn named_among(
    store: &Store,
    all: &[Workload],
    named: &Named,
    namespace: &str,
) -> Result<Vec<Workload>, Problem> {
    let chosen: Vec<_> = all
        .iter()
        .filter(|workload| {
            workload.target.namespace == namespace
                && workload.belongs_to(store, named.resource.kind, &named.name)
        })
        .cloned()
        .collect();
    if chosen.is_empty() {
        let elsewhere: Vec<_> = all
            .iter()
            .filter(|workload| workload.belongs_to(store, named.resource.kind, &named.name))
            .map(|workload| workload.target.namespace.as_str())
            .collect();
        let problem = Problem::new(format!(
            "{named} in namespace {namespace} is not among the manifests"
        ));
        return Err(match elsewhere.first() {
            Some(other) => {
                problem.help(format!("there is one in namespace {other}: add -n {other}"))
            }
            None => problem,
        });
    }
    Ok(chosen)
}

/// How the command ends: a failure beats what could not be settled.
fn status(examined: &[Examined], arguments: &Doctor) -> ExitStatus {
    let any = |is: fn(&State) -> bool| {
        examined
            .iter()
            .flat_map(|one| &one.examination.verdicts)
            .any(|verdict| is(&verdict.state))
    };
    let failed = match arguments.fail_on {
        FailOn::Error => any(|state| matches!(state, State::Fail(_))),
        FailOn::Warning => any(|state| matches!(state, State::Fail(_) | State::Warn(_))),
        FailOn::Never => false,
    };
    // What a failure hides was looked at.
    let unknown =
        any(|state| matches!(state, State::Unknown { blocked_by, .. } if blocked_by.is_empty()));
    if failed {
        ExitStatus::Findings
    } else if unknown && !arguments.allow_unknown {
        ExitStatus::Inconclusive
    } else {
        ExitStatus::Success
    }
}

fn print(
    examined: &[Examined],
    status: ExitStatus,
    format: Format,
    context: &mut Context,
) -> anyhow::Result<()> {
    let value = match examined {
        [one] => report(one, status),
        several => json!({
            "schema": {"name": "cwii.sweep", "version": "1.0"},
            "reports": several.iter().map(|one| report(one, status)).collect::<Vec<_>>(),
            "summary": {"exitCode": status.code()},
        }),
    };
    match format {
        Format::Json => context.terminal.line(&document::json(&value)?),
        Format::Yaml => context.terminal.line(&document::yaml(&value)?),
        _ => {
            for one in examined {
                let target = &one.target;
                let name = format!(
                    "{}/{}/{}",
                    target.namespace,
                    target.kind.to_lowercase(),
                    target.name
                );
                context.terminal.line(&name);
                for finding in one.examination.findings() {
                    context.terminal.line(&format!(
                        "{}: {}",
                        finding.code().unwrap_or("-"),
                        printable(&finding.message)
                    ));
                    for command in &finding.fix.commands {
                        context
                            .terminal
                            .line(&format!("        {}", printable(command)));
                    }
                }
            }
        }
    }
    Ok(())
}

fn report(one: &Examined, status: ExitStatus) -> Value {
    let results: Vec<_> = one
        .examination
        .verdicts
        .iter()
        .map(|verdict| {
            let mut result = json!({"code": verdict.entry.code, "name": verdict.entry.name});
            let mut set = |member: &str, value: Value| {
                if let Some(members) = result.as_object_mut() {
                    members.insert(member.to_owned(), value);
                }
            };
            match &verdict.state {
                State::Fail(finding) | State::Warn(finding) => {
                    set(
                        "status",
                        if matches!(verdict.state, State::Fail(_)) {
                            "fail"
                        } else {
                            "warn"
                        }
                        .into(),
                    );
                    set("message", finding.message.clone().into());
                    set(
                        "subject",
                        json!(finding.subject.as_ref().map(|subject| json!({
                        "kind": subject.kind, "namespace": subject.namespace, "name": subject.name,
                        "pointer": subject.pointer, "file": subject.file, "line": subject.line,
                    }))),
                    );
                    set(
                        "evidence",
                        finding
                            .evidence
                            .iter()
                            .map(
                                |e| json!({"label": e.label, "value": e.value, "source": e.source}),
                            )
                            .collect(),
                    );
                    set(
                        "fix",
                        json!({"summary": finding.fix.summary, "commands": finding.fix.commands}),
                    );
                }
                State::Unknown {
                    why, blocked_by, ..
                } => {
                    set("status", "unknown".into());
                    set("message", why.clone().into());
                    set("blockedBy", json!(blocked_by));
                }
                State::Skipped { why, .. } => {
                    set("status", "skipped".into());
                    set("message", why.clone().into());
                }
                State::Pass => set("status", "pass".into()),
                State::NotApplicable(why) => {
                    set("status", "notApplicable".into());
                    set("message", why.clone().into());
                }
            }
            result
        })
        .collect();
    json!({
        "schema": {"name": "cwii.report", "version": "1.0"},
        "target": {"kind": one.target.kind, "namespace": one.target.namespace, "name": one.target.name},
        "summary": {"exitCode": status.code(), "pods": one.pods},
        "results": results,
    })
}

const FORMATS: &[Format] = &[
    Format::Human,
    Format::Wide,
    Format::Short,
    Format::Name,
    Format::Json,
    Format::Yaml,
    Format::Jsonl,
    Format::Sarif,
    Format::Junit,
    Format::Github,
    Format::Html,
];
