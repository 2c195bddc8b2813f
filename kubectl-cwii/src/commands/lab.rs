//! `kubectl cwii lab`: the tour, one scenario, or the clouds for keeps.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{Args, ValueHint};
use comfy_table::{Cell, Table, presets};
use cwii_agent::{Verification, output::printable, render};
use cwii_contract::Outcome;
use cwii_exchange::{Env, Options};
use cwii_lab::{Lab, Scenario, Workload, scenarios};
use jiff::Timestamp;

use crate::commands::{Context, lab_manifests};
use crate::exit::ExitStatus;
use crate::stop::Stop;
use crate::terminal::{Terminal, Tone, wrapped};

/// Embedded issuer and clouds: see federation work, and break, with no cluster and no cloud account.
///
/// Without arguments it plays a tour: workloads that work and workloads that are broken the way people break them,
/// each verified by the agent against clouds that really check signature, issuer, audience and subject.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # Play the tour
  kubectl cwii lab

  # Play one workload, with everything that the agent says
  kubectl cwii lab --scenario hello-aws

  # Write every workload as manifests and trust documents, and ask the doctor about one
  kubectl cwii lab --write /tmp/lab
  kubectl cwii doctor -f /tmp/lab/aws-wrong-namespace --local --trust /tmp/lab/aws-wrong-namespace/trust

  # Keep the clouds running and point any SDK at them
  kubectl cwii lab --serve")]
pub(crate) struct Arguments {
    /// Play one scenario, with everything that the agent says
    #[arg(long, value_name = "NAME", conflicts_with_all = ["serve", "list"])]
    pub(crate) scenario: Option<String>,

    /// Name the scenarios
    #[arg(long, conflicts_with = "serve")]
    pub(crate) list: bool,

    /// Write the scenarios, or with --scenario one, as manifests and trust documents into this directory, for
    /// `kubectl cwii doctor -f DIR/NAME --local --trust DIR/NAME/trust`
    #[arg(long, value_name = "DIR", conflicts_with_all = ["serve", "list"], value_hint = ValueHint::DirPath)]
    pub(crate) write: Option<PathBuf>,

    /// Keep issuer and clouds running, and print the variables that point SDKs and CLIs at them
    #[arg(long)]
    pub(crate) serve: bool,

    /// With --serve: keep the clouds' documents in this directory; edit one and the next exchange obeys it
    #[arg(long, value_name = "DIR", requires = "serve", value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
}

/// Deadline of one verification of the tour.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What a scenario came to.
struct Played {
    scenario: &'static Scenario,
    verification: Verification,
    took: Duration,
}

impl Played {
    fn outcome(&self) -> Outcome {
        Outcome::from(self.verification.diagnosis.exit)
    }

    fn code(&self) -> Option<&'static str> {
        self.verification
            .diagnosis
            .cause
            .as_ref()
            .and_then(|cause| cause.code())
    }

    /// Whether the agent found what was broken on purpose.
    fn as_expected(&self) -> bool {
        self.outcome() == self.scenario.outcome && self.code() == self.scenario.agent_check
    }
}

pub(crate) async fn run(
    arguments: &Arguments,
    context: &mut Context,
) -> anyhow::Result<ExitStatus> {
    let Context { terminal, stop, .. } = context;
    if arguments.list {
        list(terminal);
        return Ok(ExitStatus::Success);
    }
    if arguments.serve {
        return serve(arguments, terminal, stop).await;
    }
    if let Some(dir) = &arguments.write {
        let chosen: Vec<&'static Scenario> = match &arguments.scenario {
            Some(name) => vec![find(name)?],
            None => scenarios().iter().collect(),
        };
        return tokio::select! {
            written = write(&chosen, dir, terminal) => written,
            reason = stop.wait() => Ok(reason.into()),
        };
    }
    let chosen: Vec<&'static Scenario> = match &arguments.scenario {
        Some(name) => vec![find(name)?],
        None => scenarios().iter().filter(|s| s.tour).collect(),
    };
    // Whichever way the tour ends, the lab is dropped and its files with it.
    tokio::select! {
        ended = tour(&chosen, arguments.scenario.is_some(), terminal) => ended,
        reason = stop.wait() => Ok(reason.into()),
    }
}

fn find(name: &str) -> anyhow::Result<&'static Scenario> {
    if let Some(scenario) = scenarios().iter().find(|s| s.name == name) {
        return Ok(scenario);
    }
    bail!(
        "no scenario is called `{}`; `kubectl cwii lab --list` names them",
        printable(name)
    )
}

fn list(terminal: &mut Terminal) {
    let mut table = table(["NAME", "CLOUD", "TOUR", "STORY"]);
    for scenario in scenarios() {
        table.add_row([
            scenario.name,
            scenario.provider().as_str(),
            if scenario.tour { "yes" } else { "" },
            scenario.title,
        ]);
    }
    terminal.line(&trimmed(&table));
}

async fn tour(
    chosen: &[&'static Scenario],
    whole: bool,
    terminal: &mut Terminal,
) -> anyhow::Result<ExitStatus> {
    let lab = Lab::start(cwii_lab::Options::default())
        .context("the lab could not be started on loopback")?;
    if !whole {
        terminal.line(&terminal.paint(
            Tone::Strong,
            "cwii lab: an issuer and three clouds, on this machine",
        ));
        let intro = format!(
            "The issuer at {} signs tokens as kube-apiserver does. AWS STS, Google STS and Entra ID are emulated, \
             but they verify for real: they fetch the published keys, check the signature, and decide on trust \
             documents in the clouds' own formats. Each workload below is verified by the agent that runs in pods.",
            lab.endpoints().issuer
        );
        terminal.line(&wrapped(&intro, 0));
    }
    let mut played = Vec::new();
    for (number, scenario) in chosen.iter().enumerate() {
        if terminal.is_closed() {
            break;
        }
        let workload = lab
            .workload(scenario)
            .with_context(|| format!("scenario {}", scenario.name))?;
        let start = Instant::now();
        let verification = verify(&workload).await;
        let one = Played {
            scenario,
            verification,
            took: start.elapsed(),
        };
        terminal.line("");
        tell(&one, number + 1, chosen.len(), whole, terminal);
        played.push(one);
    }
    if !whole {
        terminal.line("");
        terminal.line(&summary(&played));
        let found = played.iter().filter(|p| p.as_expected()).count();
        terminal.line("");
        terminal.line(&format!("{found} of {} as expected", played.len()));
        terminal.line(&wrapped(
            "Next: `kubectl cwii lab --scenario NAME` shows all that the agent says of one, `--list` names more, \
             `--serve` keeps the clouds running for any SDK.",
            0,
        ));
    }
    lab.shutdown().await;
    Ok(if played.iter().all(Played::as_expected) {
        ExitStatus::Success
    } else {
        ExitStatus::Findings
    })
}

async fn write(
    chosen: &[&'static Scenario],
    dir: &Path,
    terminal: &mut Terminal,
) -> anyhow::Result<ExitStatus> {
    let lab = Lab::start(cwii_lab::Options::default())
        .context("the lab could not be started on loopback")?;
    for scenario in chosen {
        let workload = lab
            .workload(scenario)
            .with_context(|| format!("scenario {}", scenario.name))?;
        let verification = verify(&workload).await;
        lab_manifests::write(&lab, scenario, &workload, &verification, dir)?;
        terminal.line(&dir.join(scenario.name).display().to_string());
    }
    lab.shutdown().await;
    Ok(ExitStatus::Success)
}

async fn verify(workload: &Workload) -> Verification {
    let env: Env = workload
        .env
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let mut options = Options::new(TIMEOUT, Timestamp::now);
    options
        .allow_endpoints
        .clone_from(&workload.allow_endpoints);
    cwii_agent::verify(workload.provider, &env, &options).await
}

fn tell(played: &Played, number: usize, of: usize, whole: bool, terminal: &mut Terminal) {
    let scenario = played.scenario;
    let head = format!("{}  {}", scenario.name, scenario.title);
    let counter = if whole {
        String::new()
    } else {
        format!("{number:>2}/{of}  ")
    };
    terminal.line(&format!(
        "{}{}",
        terminal.paint(Tone::Faint, &counter),
        terminal.paint(Tone::Strong, &head)
    ));
    terminal.line(&wrapped(scenario.story, 4));
    let milliseconds = played.took.as_secs_f64() * 1000.0;
    let outcome = played.outcome();
    let (mark, tone) = match outcome {
        Outcome::Verified => ("ok  ", Tone::Good),
        _ => ("FAIL", Tone::Bad),
    };
    let who = match &played.verification.exchange.result {
        Ok(identity) => identity
            .members
            .iter()
            .rev()
            .find(|(name, _)| matches!(*name, "Arn" | "principal" | "clientId"))
            .and_then(|(_, value)| value.as_str())
            .map_or_else(String::new, |who| format!(" as {}", printable(who))),
        Err(_) => String::new(),
    };
    terminal.line(&format!(
        "    {} {} in {milliseconds:.0} ms{who}",
        terminal.paint(tone, mark),
        outcome.as_str()
    ));
    if whole {
        if let Some(identity) = render::identity(&played.verification) {
            terminal.line(&indented(&identity));
        }
        terminal.line(&indented(render::text(&played.verification).trim_end()));
    } else if let Some(cause) = &played.verification.diagnosis.cause {
        let code = cause
            .code()
            .map_or_else(|| "note".into(), |code| format!("error[{code}]"));
        terminal.line(&wrapped(
            &format!("{}: {}", code, printable(&cause.message)),
            4,
        ));
        terminal.line(&wrapped(
            &format!("help: {}", printable(&cause.fix.summary)),
            4,
        ));
    }
    for also in &played.verification.diagnosis.also {
        if !whole && let Some(code) = also.code() {
            let line = wrapped(&format!("warning[{code}]: {}", printable(&also.message)), 4);
            terminal.line(&terminal.paint(Tone::Warning, &line));
        }
    }
    if !played.as_expected() {
        let line = format!(
            "    not as expected: {} {}",
            scenario.outcome.as_str(),
            scenario.agent_check.unwrap_or_default()
        );
        terminal.line(&terminal.paint(Tone::Bad, &line));
    }
}

fn summary(played: &[Played]) -> String {
    let mut table = table(["WORKLOAD", "CLOUD", "OUTCOME", "CLOUD SAYS", "CAUSE", "MS"]);
    // Room for the milliseconds of a slow machine.
    for column in table.column_iter_mut().take(3) {
        column.set_padding((0, 1));
    }
    for one in played {
        let result = one.verification.result();
        let says = result
            .provider_error
            .and_then(|error| error.code)
            .unwrap_or_default();
        let cause = match (&one.verification.diagnosis.cause, one.code()) {
            (Some(cause), Some(code)) => {
                format!("{code} {}", cause.entry.map_or("", |entry| entry.name))
            }
            _ => String::new(),
        };
        table.add_row([
            one.scenario.name.to_owned(),
            one.verification.exchange.provider.to_string(),
            one.outcome().as_str().to_owned(),
            printable(&says),
            cause,
            format!("{:.0}", one.took.as_secs_f64() * 1000.0),
        ]);
    }
    trimmed(&table)
}

async fn serve(
    arguments: &Arguments,
    terminal: &mut Terminal,
    stop: &Stop,
) -> anyhow::Result<ExitStatus> {
    let options = cwii_lab::Options {
        dir: arguments.dir.clone(),
        ..Default::default()
    };
    let lab = Lab::start(options).context("the lab could not be started on loopback")?;
    let endpoints = lab.endpoints();
    // Standard output carries the variables alone, so that `eval` and a file take them; the rest goes to standard error.
    terminal.error(&format!(
        "cwii lab: serving until interrupted; documents in {}",
        lab.dir().display()
    ));
    for (name, url) in [
        ("issuer", &endpoints.issuer),
        ("AWS STS", &endpoints.sts),
        ("Google STS", &endpoints.google_sts),
        ("Google IAM", &endpoints.google_iam),
        ("Entra ID", &endpoints.entra),
        ("EKS Pod Identity", &endpoints.pod_identity),
    ] {
        terminal.error(&format!("  {name:<17} {url}"));
    }
    let exports = lab
        .exports()
        .context("the healthy workloads could not be laid out")?;
    terminal.line(cwii_lab::shell_exports(&exports).trim_end());
    terminal.error("Press Ctrl-C to end; edit a document and the next exchange obeys it.");
    stop.wait().await;
    lab.shutdown().await;
    Ok(ExitStatus::Success)
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.map(Cell::new));
    table
}

/// A table without the blanks around its lines.
fn trimmed(table: &Table) -> String {
    table
        .lines()
        .map(|line| line.trim().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

fn indented(text: &str) -> String {
    text.lines()
        .map(|line| {
            if line.is_empty() {
                String::new()
            } else {
                format!("    {line}")
            }
        })
        .collect::<Vec<_>>()
        .join("\n")
}
