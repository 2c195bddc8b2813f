//! `kubectl cwii doctor`: why a workload's cloud identity does not work.

use std::{path::PathBuf, time::Instant};

use clap::{Args, ValueEnum, ValueHint};
use cwii_checks::{
    Severity,
    doctor::{Examination, Facts, State, Verdict, examine},
    facts::Fact,
    output::{self, Document, Policy, Report, Style, Sweep, SweepBuilder},
};
use jiff::Timestamp;

use crate::{
    cli::Format,
    cluster::resource,
    commands::Context,
    exit::ExitStatus,
    facts::{
        assemble::{Surroundings, assemble},
        gather::Request,
        live::{Probe, Source},
        manifest, rbac,
        store::Store,
        sweep::Selector,
    },
    problem::Problem,
    sources,
    target::{DOCTORED, TargetArgs, Words},
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

pub(crate) async fn run(arguments: &Doctor, context: &mut Context) -> anyhow::Result<ExitStatus> {
    let format = context.format(FORMATS)?;
    if arguments.print_rbac {
        let wanted = rbac::Wanted {
            namespace: context.globals.namespace.as_deref().unwrap_or("default"),
            all_namespaces: arguments.target.all_namespaces,
            probe: arguments.probe,
        };
        context.terminal.line(wanted.manifest().trim_end());
        return Ok(ExitStatus::Success);
    }
    let words = Words::parse(&arguments.target.target, resource::POD, DOCTORED)?;
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
    let begin = Instant::now();
    let mut surroundings = Surroundings::new(arguments.now.unwrap_or_else(Timestamp::now));
    if !arguments.trust.is_empty() {
        surroundings.trust = Fact::Known(sources::trust(&arguments.trust, &mut context.terminal)?);
    }
    let cluster = if arguments.local {
        None
    } else {
        Some(context.connect().await?)
    };
    let given = context.globals.namespace.clone();
    let mut request = Request {
        words: &words,
        namespace: String::new(),
        is_namespace_given: given.is_some(),
        all_namespaces: arguments.target.all_namespaces,
        selector: selector.as_ref(),
        labels: arguments.target.selector.as_deref().unwrap_or_default(),
    };
    request.namespace = given.unwrap_or_else(|| match &cluster {
        Some(cluster) => cluster.access().namespace.clone(),
        None => "default".to_owned(),
    });
    let mut store = Store::default();
    if !arguments.target.files.filename.is_empty() {
        let objects = manifest::read(&arguments.target.files, &mut context.terminal)?;
        store.give(objects, &request.namespace);
        surroundings.has_files = true;
    }
    let has_trust = !arguments.trust.is_empty();
    let timeout = context.globals.request_timeout;
    let mut source = cluster
        .as_ref()
        .map(|cluster| Source::new(cluster, arguments.probe, has_trust, timeout));
    if arguments.dry_run {
        if let Some(source) = &mut source {
            for call in request.calls(source, &store, surroundings.has_files) {
                context.terminal.line(&call);
            }
        }
        return Ok(ExitStatus::Success);
    }
    let chosen = match &mut source {
        Some(source) => {
            surroundings.is_live = true;
            context.terminal.progress(&format!(
                "reading from {}",
                source.cluster.access().server_text()
            ));
            request
                .in_cluster(source, &mut store, &mut surroundings)
                .await?
        }
        None => request.among_manifests(&store)?,
    };
    if let Some(source) = &source
        && context.globals.verbosity >= VERBOSITY_OF_ROUNDS
    {
        let (rounds, calls) = (source.rounds(), source.cluster.calls().len());
        context
            .terminal
            .error(&format!("{rounds} rounds of {calls} requests"));
    }
    surroundings.fill_from_documents();
    surroundings.look_behind_webhooks(&store);
    let about = output::Context {
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        kube_context: cluster
            .as_ref()
            .map(|cluster| cluster.access())
            .and_then(|access| {
                access
                    .context
                    .clone()
                    .or_else(|| access.cluster_name.clone())
            }),
        server_version: match &surroundings.version {
            Fact::Known(version) => Some(version.clone()),
            _ => None,
        },
        elapsed: None,
    };
    let policy = Policy {
        fail_on: match arguments.fail_on {
            FailOn::Error | FailOn::Never => Severity::Error,
            FailOn::Warning => Severity::Warning,
        },
        allow_unknown: arguments.allow_unknown,
    };
    let is_alone = chosen.len() == 1;
    let mut sweep = SweepBuilder::new(about.clone(), policy);
    let mut report = None;
    let mut is_open = false;
    // Of many workloads nothing is kept but what the sweep says of them.
    for workload in chosen {
        let mut facts = assemble(&store, &surroundings, &workload, is_alone);
        if let (Some(source), true) = (&source, arguments.probe) {
            let probe = Probe::of(&store, &surroundings, &workload);
            probe.run(source, &workload).await.fill(&mut facts);
        }
        let mut examination = examine(&facts);
        if let Some(name) = &arguments.container {
            keep_container(&mut examination, &facts, name, is_alone)?;
        }
        is_open |= is_inconclusive(&examination);
        if is_alone {
            report = Some((workload.target, examination));
        } else {
            let row = workload.row(&store);
            sweep.add(&row, &workload.target, &examination);
            sweep.stands_for(&row, workload.pods);
        }
    }
    // Of manifests the same is said every time.
    let elapsed = cluster.as_ref().map(|_| begin.elapsed());
    let ended = |exit_code: u8| match (context.stop.reason(), arguments.fail_on) {
        (Some(reason), _) => ExitStatus::from(reason).code(),
        (None, FailOn::Never) if exit_code == ExitStatus::Findings.code() => {
            if is_open && !arguments.allow_unknown {
                ExitStatus::Inconclusive.code()
            } else {
                ExitStatus::Success.code()
            }
        }
        _ => exit_code,
    };
    let told = match report {
        Some((target, examination)) => {
            let about = output::Context { elapsed, ..about };
            let report = Report::new(&target, &examination, &about, policy);
            let exit_code = ended(report.summary.exit_code);
            Told::Report(Box::new(report.ended_with(exit_code)))
        }
        None => {
            if let Some(elapsed) = elapsed {
                sweep.took(elapsed);
            }
            let sweep = sweep.finish();
            let exit_code = ended(sweep.summary.exit_code);
            Told::Sweep(Box::new(sweep.ended_with(exit_code)))
        }
    };
    let style = Style {
        color: context.terminal.has_color(),
        unicode: context.terminal.has_unicode(),
        headers: !arguments.no_headers,
        ..Style::default()
    };
    let document = told.document();
    let text = document.render(rendering(format), &style);
    if !text.is_empty() {
        context.terminal.line(text.trim_end_matches('\n'));
    }
    Ok(ExitStatus::of(document.exit_code()))
}

/// Whether something that was asked for could not be settled. What a failure hides was looked at.
fn is_inconclusive(examination: &Examination) -> bool {
    examination
        .verdicts
        .iter()
        .any(|verdict| matches!(verdict.state, State::Unknown { need: Some(_), .. }))
}

/// A document with what owns it.
enum Told {
    Report(Box<Report>),
    Sweep(Box<Sweep>),
}

impl Told {
    fn document(&self) -> Document<'_> {
        match self {
            Self::Report(report) => Document::Report(report),
            Self::Sweep(sweep) => Document::Sweep(sweep),
        }
    }
}

/// Leaves out what was found in other containers of the pod than this one.
fn keep_container(
    examination: &mut Examination,
    facts: &Facts,
    name: &str,
    is_alone: bool,
) -> Result<(), Problem> {
    let Fact::Known(pod) = &facts.pod else {
        return Ok(());
    };
    if is_alone && !pod.containers().any(|container| container.name() == name) {
        let names: Vec<_> = pod.containers().map(|container| container.name()).collect();
        return Err(Problem::new(format!(
            "{} `{}` has no container `{name}`, expected one of: {}",
            facts.target.kind.to_lowercase(),
            facts.target.name,
            names.join(", ")
        )));
    }
    let others: Vec<_> = pod
        .containers()
        .filter(|container| container.name() != name)
        .map(|container| container.pointer() + "/")
        .collect();
    let is_elsewhere = |state: &State| match state {
        State::Fail(finding) | State::Warn(finding) => finding
            .subject
            .as_ref()
            .filter(|subject| subject.kind == "Pod")
            .and_then(|subject| subject.pointer.as_deref())
            .is_some_and(|pointer| {
                let pointer = format!("{pointer}/");
                others
                    .iter()
                    .any(|other| pointer.starts_with(other.as_str()))
            }),
        _ => false,
    };
    let verdicts = std::mem::take(&mut examination.verdicts);
    let (elsewhere, mut kept): (Vec<_>, Vec<_>) = verdicts
        .into_iter()
        .partition(|verdict| is_elsewhere(&verdict.state));
    for verdict in elsewhere {
        if kept.iter().all(|other| other.entry != verdict.entry) {
            let end = kept
                .iter()
                .position(|other| matches!(other.state, State::Pass | State::NotApplicable(_)))
                .unwrap_or(kept.len());
            kept.insert(
                end,
                Verdict {
                    entry: verdict.entry,
                    state: State::Pass,
                },
            );
        }
    }
    examination.verdicts = kept;
    Ok(())
}

fn rendering(format: Format) -> output::Format {
    match format {
        Format::Human => output::Format::Human,
        Format::Wide => output::Format::Wide,
        Format::Short => output::Format::Short,
        Format::Name => output::Format::Name,
        Format::Json => output::Format::Json,
        Format::Yaml => output::Format::Yaml,
        Format::Jsonl => output::Format::Jsonl,
        Format::Sarif => output::Format::Sarif,
        Format::Junit => output::Format::Junit,
        Format::Github => output::Format::Github,
        Format::Html => output::Format::Html,
    }
}

/// As that of requests.
const VERBOSITY_OF_ROUNDS: u8 = 6;

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
