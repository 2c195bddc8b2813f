//! The figures, as tables beside what is aimed at, and what of them can be asserted.

use std::time::Duration;

use anyhow::{Result, ensure};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::{
    ECHO, WEBHOOK,
    measure::{Measurement, Pace},
    memory::Footprint,
    verify::Sizes,
};

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Server and generator have a processor each.
    pub(crate) pinned: bool,
    pub(crate) pace: Pace,
    pub(crate) kept: Vec<Measurement>,
    pub(crate) fresh: Vec<Measurement>,
    /// Or why there is no such limit here.
    pub(crate) limited: Result<Vec<Measurement>, String>,
    pub(crate) memory: Vec<Footprint>,
    pub(crate) patches: Vec<PatchSize>,
    /// Per request, of echo server and webhook.
    pub(crate) system_calls: [Option<f64>; 2],
    /// Single objects that the webhook read from the API server while it answered.
    pub(crate) steady_reads: u64,
    pub(crate) binary_bytes: u64,
    /// How many processors other processes kept busy meanwhile, on average.
    pub(crate) others: f64,
    pub(crate) took: Duration,
}

/// One case.
#[derive(Debug, Serialize)]
pub(crate) struct PatchSize {
    pub(crate) case: &'static str,
    #[serde(flatten)]
    pub(crate) sizes: Sizes,
}

impl PatchSize {
    pub(crate) fn new(case: &'static str, sizes: Sizes) -> Self {
        Self { case, sizes }
    }
}

impl Report {
    /// Prints all tables.
    pub(crate) fn print(&self) {
        let place = if self.pinned {
            "server and generator on a processor each"
        } else {
            "server and generator share the one processor: rates say little"
        };
        println!(
            "Requests per second of one server thread over TLS, {place}.\n\
             capacity: closed loop. rate: the highest that holds in an open loop of {} s: every answer right, 99 of 100\n\
             within the bound from the moment that they were due; in parentheses where none held. CPU: the server's processor\n\
             time per request.\n",
            self.pace.seconds.as_secs()
        );
        println!("{}\n", rates(&self.kept, "connections x streams", true));
        println!(
            "aim: at least 15000 at 16 connections with p99 under 3 ms; published peers on one core: 6400 (p99 7 ms), \
             2400, 2300"
        );
        if let [Some(echo), Some(webhook)] = self.system_calls {
            println!(
                "system calls per request on one connection: echo {echo:.2}, webhook {webhook:.2}"
            );
        }
        println!(
            "reads from the API server while answering: {} (expected: 0)\n",
            self.steady_reads
        );

        println!("A new TLS connection for each request, 16 at a time\n");
        println!("{}\n", rates(&self.fresh, "at a time", false));
        println!("aim: more than 2700 full handshakes per second\n");

        match &self.limited {
            Ok(limited) => {
                println!("Limited to 100m, as a container: 10 ms of every 100 ms\n");
                println!("{}\n", rates(limited, "connections x streams", false));
            }
            Err(reason) => println!("Limited to 100m: skipped, {reason}\n"),
        }

        println!("Resident memory, MB\n");
        let mut memory = table(&[
            "ServiceAccounts",
            "objects",
            "ready after s",
            "ready",
            "under load",
            "listed again",
            "peak",
            "aim",
        ]);
        for footprint in &self.memory {
            let aim = max_memory(footprint.service_accounts);
            memory.add_row([
                footprint.service_accounts.to_string(),
                footprint.objects.to_string(),
                format!("{:.2}", footprint.ready_after.as_secs_f64()),
                megabytes(footprint.ready.resident_kib),
                megabytes(footprint.loaded.resident_kib),
                megabytes(footprint.relisted.resident_kib),
                megabytes(footprint.relisted.peak_kib),
                aim.map_or_else(String::new, |aim| format!("< {}", aim / 1_000_000)),
            ]);
        }
        println!("{memory}\n");
        println!("published peers at best: 42 MB at 1000, 306 MB at 50000\n");

        println!("The patch for three containers and one init container, bytes\n");
        let mut sizes = table(&["", "operations", "patch", "as base64", "answer", "review"]);
        for PatchSize { case, sizes: s } in &self.patches {
            let figures = [
                s.operations,
                s.patch_json,
                s.patch_base64,
                s.answer,
                s.review,
            ];
            let mut row = vec![(*case).to_owned()];
            row.extend(figures.map(|figure| figure.to_string()));
            sizes.add_row(row);
        }
        println!("{sizes}\n");
        println!(
            "aim: under {MAX_PATCH} for the role ARN; published peers: 3100 at best\n\
             binary: {} bytes (aim: under {MAX_BINARY})\n\
             answers compared: {}, wrong answers and broken connections: {}",
            self.binary_bytes,
            self.compared(),
            self.errors()
        );
        if let Some(measurement) = self.measurements().find(|m| m.first_error.is_some()) {
            println!(
                "the first: {} at {}: {}",
                measurement.case,
                measurement.connections,
                measurement.first_error.as_deref().unwrap_or_default()
            );
        }
        let runs: Vec<_> = self.measurements().map(|m| &m.open).collect();
        let stalled: f64 = runs.iter().map(|run| run.stalled.as_secs_f64()).sum();
        println!(
            "during {} s of reported runs the generator itself was kept from running for {:.0} ms",
            self.pace.seconds.as_secs() * runs.len() as u64,
            stalled * 1000.0
        );
        println!(
            "took {:.0} s; other processes kept {:.2} processors busy meanwhile: more than a little disturbs every time",
            self.took.as_secs_f64(),
            self.others
        );
    }

    /// Fails on what does not depend on the machine.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(
            self.errors() == 0,
            "{} wrong answers or broken connections",
            self.errors()
        );
        for measurement in self.measurements() {
            ensure!(
                measurement.compared > 0,
                "{}: no answer was compared",
                measurement.case
            );
        }
        for measurement in &self.fresh {
            let (full, resumed) = measurement.open.handshakes;
            ensure!(
                resumed == 0,
                "{}: {full} full handshakes, {resumed} resumed",
                measurement.case
            );
        }
        ensure!(
            self.steady_reads == 0,
            "{} reads from the API server while answering, expected none",
            self.steady_reads
        );
        for footprint in &self.memory {
            let Some(max) = max_memory(footprint.service_accounts) else {
                continue;
            };
            for memory in [footprint.ready, footprint.loaded, footprint.relisted] {
                let bytes = memory.resident_kib * 1024;
                ensure!(
                    bytes < max,
                    "{bytes} bytes resident at {} ServiceAccounts, expected less than {max}",
                    footprint.service_accounts
                );
            }
        }
        let patch = self.patches.first().map_or(0, |p| p.sizes.patch_json);
        ensure!(
            (1..MAX_PATCH).contains(&patch),
            "the patch has {patch} bytes, expected less than {MAX_PATCH}"
        );
        ensure!(
            self.binary_bytes < MAX_BINARY,
            "the webhook has {} bytes, expected less than {MAX_BINARY}",
            self.binary_bytes
        );
        Ok(())
    }

    fn measurements(&self) -> impl Iterator<Item = &Measurement> {
        self.kept
            .iter()
            .chain(&self.fresh)
            .chain(self.limited.iter().flatten())
    }

    fn compared(&self) -> u64 {
        let loads: u64 = self.measurements().map(|m| m.compared).sum();
        loads + self.memory.iter().map(|f| f.compared).sum::<u64>()
    }

    fn errors(&self) -> u64 {
        let loads: u64 = self.measurements().map(|m| m.errors).sum();
        loads + self.memory.iter().map(|f| f.errors).sum::<u64>()
    }
}

/// One row per measurement, the echo server's first; each row's share of the echo server's rate.
fn rates(measurements: &[Measurement], connections: &str, streams: bool) -> Table {
    let mut table = table(&[
        "",
        connections,
        "capacity/s",
        "rate/s",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "bound ms",
        "CPU us",
        "of echo",
    ]);
    for m in measurements {
        let floor = measurements.iter().find(|other| {
            other.case == m.case.replacen(WEBHOOK, ECHO, 1)
                && other.connections * other.streams == m.connections * m.streams
        });
        let floor = floor.or_else(|| {
            measurements.iter().find(|other| {
                other.case == ECHO && other.connections * other.streams == m.connections * m.streams
            })
        });
        let latency = &m.open.latency;
        table.add_row([
            m.case.clone(),
            if streams {
                format!("{} x {}", m.connections, m.streams)
            } else {
                m.connections.to_string()
            },
            format!("{:.0}", m.capacity),
            if m.held {
                format!("{:.0}", m.open.answered)
            } else {
                format!("({:.0})", m.open.answered)
            },
            format!("{:.2}", latency.p50),
            format!("{:.2}", latency.p99),
            format!("{:.2}", latency.p999),
            format!("{:.0}", m.bound_ms),
            format!("{:.1}", m.processor_us),
            floor.map_or_else(String::new, |floor| {
                format!("{:.0} %", m.capacity / floor.capacity * 100.0)
            }),
        ]);
    }
    table
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn megabytes(kib: u64) -> String {
    format!("{:.1}", (kib * 1024) as f64 / 1e6)
}

/// Aim for resident memory at a size, bytes.
fn max_memory(service_accounts: usize) -> Option<u64> {
    match service_accounts {
        1000 => Some(15_000_000),
        50_000 => Some(40_000_000),
        _ => None,
    }
}

const MAX_PATCH: usize = 2500;
const MAX_BINARY: u64 = 10_000_000;
