//! The agent beside the official clients of each cloud, against the lab over TLS, and beside the fewest round trips.
//!
//! Times depend on the machine, so they are printed next to what is aimed at, never asserted. Counts of connections and
//! round trips do not, and `--check` asserts them.

mod clients;
mod measure;
mod wire;

use std::{ffi::OsString, path::Path};

use anyhow::{Context, Result, ensure};
use comfy_table::{CellAlignment, Table, presets};
use cwii_lab::{Case, Lab, Mechanism, Options, Workload};
use serde::Serialize;

use crate::{agent, process};
use measure::{Invocation, Series};
use wire::Wire;

pub(crate) use measure::here as measure_here;

/// `cargo xtask bench`.
pub(crate) fn run(runs: u32, json: bool, check: bool) -> Result<()> {
    if cfg!(debug_assertions) {
        // The lab's answers are part of every time.
        return process::again_with_optimisation();
    }
    let agent = agent::build()?;
    let lab = Lab::start(Options::default())?;
    let report = Report {
        runs,
        memory_floor_kib: measure::floor()?.peak_kib,
        clouds: CLOUDS
            .iter()
            .map(|(name, mechanism)| Comparison::run(&lab, &agent, name, *mechanism, runs))
            .collect::<Result<_>>()?,
        wire: Mechanism::ALL
            .iter()
            .map(|mechanism| {
                let workload = workload(&lab, *mechanism)?;
                Wire::observe(&lab, *mechanism, &verify(&agent, &workload), runs)
                    .with_context(|| wire::name(*mechanism))
            })
            .collect::<Result<_>>()?,
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        report.print();
    }
    if check {
        report.wire.iter().try_for_each(Wire::check)?;
    }
    Ok(())
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
struct Report {
    runs: u32,
    memory_floor_kib: u64,
    clouds: Vec<Comparison>,
    wire: Vec<Wire>,
}

/// One cloud: the agent and the official clients.
#[derive(Debug, Serialize)]
struct Comparison {
    cloud: &'static str,
    agent: Series,
    official: Vec<Row>,
}

/// One official client.
#[derive(Debug, Serialize)]
struct Row {
    client: &'static str,
    measured: Option<Series>,
    /// How many times its median is the agent's.
    times_agent: Option<f64>,
    not_available: Option<String>,
}

impl Comparison {
    fn run(
        lab: &Lab,
        agent: &Path,
        cloud: &'static str,
        mechanism: Mechanism,
        runs: u32,
    ) -> Result<Self> {
        let workload = workload(lab, mechanism)?;
        let agent = verify(agent, &workload);
        warm_up(lab, &agent).context("the agent")?;
        let mut official = clients::official(lab, &workload);
        for client in &mut official {
            if let Ok(invocation) = &client.invocation
                && let Err(error) = warm_up(lab, invocation)
            {
                client.invocation = Err(error);
            }
        }
        // In turns, so that whatever else the machine does meets all alike. The lab's clouds keep an issuer's keys for
        // seconds, real ones for minutes: a run that nobody counts has them fetched before each that is.
        let warm = |invocation: &Invocation| {
            measure::once(&agent)?;
            measure::once(invocation)
        };
        let mut own = Vec::new();
        let mut others = vec![Vec::new(); official.len()];
        for _ in 0..runs {
            own.push(warm(&agent).context("the agent")?);
            for (client, samples) in official.iter_mut().zip(&mut others) {
                if let Ok(invocation) = &client.invocation {
                    match warm(invocation) {
                        Ok(sample) => samples.push(sample),
                        Err(error) => client.invocation = Err(error),
                    }
                }
            }
        }
        let agent = Series::of(&own).context("no runs, nothing to report")?;
        let official = official
            .into_iter()
            .zip(&others)
            .map(|(client, samples)| {
                let (measured, not_available) = match client.invocation {
                    Ok(_) => (Series::of(samples), None),
                    Err(error) => (None, Some(format!("{error:#}"))),
                };
                Row {
                    client: client.name,
                    times_agent: measured.as_ref().map(|m| m.median_ms / agent.median_ms),
                    measured,
                    not_available,
                }
            })
            .collect();
        Ok(Self {
            cloud,
            agent,
            official,
        })
    }

    /// The client that the agent is to beat: the command-line tool, which comes first, or without one the SDK.
    fn opponent(&self) -> Option<(&'static str, f64)> {
        self.official
            .iter()
            .find_map(|row| Some((row.client, row.times_agent?)))
    }
}

/// A workload in which everything is right.
fn workload(lab: &Lab, mechanism: Mechanism) -> Result<Workload> {
    let name = match mechanism {
        Mechanism::AwsWebIdentity => "bench-aws",
        Mechanism::AwsPodIdentity => "bench-pod-identity",
        Mechanism::GoogleDirect => "bench-google",
        Mechanism::GoogleImpersonated => "bench-impersonated",
        Mechanism::GkeMetadata => "bench-metadata",
        Mechanism::EntraFederated => "bench-entra",
    };
    Ok(lab.lay_out(&Case::new(name, mechanism))?)
}

/// The agent's command for a workload.
fn verify(agent: &Path, workload: &Workload) -> Invocation {
    let mut command: Vec<OsString> = vec![
        agent.into(),
        "verify".into(),
        workload.provider.as_str().into(),
        "--enforce".into(),
    ];
    for endpoint in &workload.allow_endpoints {
        command.extend(["--allow-endpoint".into(), endpoint.into()]);
    }
    let environment = workload
        .env
        .iter()
        .map(|(name, value)| (name.clone(), value.into()));
    Invocation {
        command,
        environment: environment.collect(),
    }
}

/// One run that is not counted, and that proves that the command got what it wants from the lab and not from a cache of
/// its own. All clouds are asked with POST.
fn warm_up(lab: &Lab, invocation: &Invocation) -> Result<()> {
    let before = lab.requests().len();
    measure::once(invocation)?;
    let requests = lab.requests();
    let exchanged = requests[before..]
        .iter()
        .any(|r| !r.internal && r.method == "POST" && r.status == Some(200));
    ensure!(exchanged, "it succeeded without an exchange with the lab");
    Ok(())
}

impl Report {
    fn print(&self) {
        println!(
            "Wall time and peak memory against the lab over TLS, {} runs each in turns, after one to warm up\n",
            self.runs
        );
        let mut table = table(&["", "min ms", "median ms", "max ms", "peak KiB", "x agent"]);
        let mut missing = Vec::new();
        for cloud in &self.clouds {
            table.add_row(row(
                &format!("cwii-agent verify {}", cloud.cloud),
                &cloud.agent,
                1.0,
            ));
            for official in &cloud.official {
                if let (Some(series), Some(times)) = (&official.measured, official.times_agent) {
                    table.add_row(row(official.client, series, times));
                } else {
                    missing.push(official);
                }
            }
        }
        println!("{table}\n");
        for row in missing {
            let reason = row.not_available.as_deref().unwrap_or("unknown reason");
            println!("{}: not available: {reason}", row.client);
        }
        for cloud in &self.clouds {
            match cloud.opponent() {
                Some((client, times)) => println!(
                    "{}: the agent is {times:.0} times as fast as {client} (aim: at least 50)",
                    cloud.cloud
                ),
                None => println!("{}: no official client to compare with", cloud.cloud),
            }
        }
        let peak = self
            .clouds
            .iter()
            .map(|c| c.agent.peak_kib)
            .max()
            .unwrap_or_default();
        println!(
            "memory: the agent needs at most {peak} KiB (aim: at most 6144); a process that does nothing seems to \
             need {} KiB",
            self.memory_floor_kib
        );

        println!(
            "\nConnections and round trips as the lab counts them, and wall time with {} ms per round trip\n",
            wire::ROUND_TRIP.as_millis()
        );
        let mut table = self::table(&[
            "",
            "connections",
            "round trips",
            "floor",
            "in sequence",
            "floor ms",
            "median ms",
            "above",
        ]);
        for wire in &self.wire {
            table.add_row([
                wire.mechanism.to_owned(),
                wire.connections.to_string(),
                wire.round_trips.to_string(),
                wire.floor.round_trips.to_string(),
                wire.floor.in_sequence.to_string(),
                format!("{:.0}", wire.distant_floor_ms),
                format!("{:.1}", wire.distant.median_ms),
                format!("{:+.1} %", wire.above_percent),
            ]);
        }
        println!("{table}\n");
        println!("aim: within 15 % of the floor");
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn row(name: &str, series: &Series, times_agent: f64) -> Vec<String> {
    vec![
        name.to_owned(),
        format!("{:.1}", series.min_ms),
        format!("{:.1}", series.median_ms),
        format!("{:.1}", series.max_ms),
        series.peak_kib.to_string(),
        format!("{times_agent:.0}"),
    ]
}

/// The mechanism that each official command-line client uses.
const CLOUDS: [(&str, Mechanism); 3] = [
    ("aws", Mechanism::AwsWebIdentity),
    ("gcp", Mechanism::GoogleDirect),
    ("az", Mechanism::EntraFederated),
];
