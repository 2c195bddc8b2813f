//! From runs of the generator to one figure: the highest rate that holds.

use std::{thread, time::Duration};

use anyhow::{Result, bail};
use serde::Serialize;

use super::{
    generator::{Arrivals, Load, Outcome},
    server::{Processors, Server},
};

/// How long everything takes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Pace {
    /// Of a run in a closed loop.
    pub(crate) probe: Duration,
    /// Of a run at a constant rate.
    pub(crate) seconds: Duration,
    /// Shares of the closed loop's rate that are tried, until one holds.
    pub(crate) shares: &'static [f64],
}

/// One case.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measurement {
    pub(crate) case: String,
    pub(crate) connections: usize,
    pub(crate) streams: usize,
    /// 99 of 100 answers have to come within this, milliseconds.
    pub(crate) bound_ms: f64,
    /// Right answers per second in a closed loop: the most that the server can do, however long each waits.
    pub(crate) capacity: f64,
    /// At the highest rate that holds; if none did, at the last one that was tried.
    pub(crate) open: Outcome,
    /// Every answer right, as many as were due, and 99 of 100 within the bound.
    pub(crate) held: bool,
    /// The server's processor time per request at that rate, microseconds.
    pub(crate) processor_us: f64,
    /// The server's processor time per request in the closed loop, microseconds.
    pub(crate) saturated_us: f64,
    /// Answers that were compared, of all runs.
    pub(crate) compared: u64,
    /// Wrong answers and broken connections, of all runs.
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
}

impl Measurement {
    /// Finds the highest rate that holds for a case.
    ///
    /// First a closed loop shows where to look, then rates are tried from a little less than that downwards.
    pub(crate) fn take(
        case: &str,
        load: &Load<'_>,
        server: &mut Server,
        processors: &Processors,
        pace: Pace,
        bound: Duration,
    ) -> Result<Self> {
        let bound_ms = bound.as_secs_f64() * 1000.0;
        let mut compared = 0;
        let mut errors = 0;
        let mut first_error = None;
        let mut run = |arrivals, duration: Duration| {
            let load = Load {
                arrivals,
                duration,
                warm_up: duration / 5,
                ..load.clone()
            };
            let before = server.processor_time()?;
            let outcome = on_the_generators_processor(processors, || load.run())?;
            let spent = server.processor_time()?.saturating_sub(before);
            server.ensure_alive()?;
            compared += outcome.right;
            errors += outcome.errors;
            if first_error.is_none() {
                first_error.clone_from(&outcome.first_error);
            }
            let each = spent.as_secs_f64() * 1e6 / outcome.right.max(1) as f64;
            Ok::<_, anyhow::Error>((outcome, each))
        };
        let holds = |outcome: &Outcome| {
            outcome.errors == 0
                && !outcome.overloaded
                && outcome.answered >= outcome.offered.unwrap_or_default() * 0.99
                && outcome.latency.p99 <= bound_ms
        };

        let (mut saturated, mut saturated_us) = run(Arrivals::Saturate, pace.probe)?;
        let again = run(Arrivals::Saturate, pace.probe)?;
        if again.0.answered > saturated.answered {
            (saturated, saturated_us) = again;
        }
        let rates = pace.shares.iter().map(|share| saturated.answered * share);
        let (mut open, mut processor_us) = (Outcome::default(), 0.0);
        for rate in rates {
            (open, processor_us) = run(Arrivals::Rate(rate.max(1.0)), pace.seconds)?;
            if holds(&open) {
                break;
            }
        }
        eprintln!(
            "{case}, {} x {}: {:.0}/s in a closed loop, {} {:.0}/s with p99 {:.2} ms",
            load.connections,
            load.streams,
            saturated.answered,
            if holds(&open) {
                "holds"
            } else {
                "does not hold"
            },
            open.offered.unwrap_or_default(),
            open.latency.p99,
        );
        Ok(Self {
            case: case.to_owned(),
            connections: load.connections,
            streams: load.streams,
            bound_ms,
            capacity: saturated.answered,
            held: holds(&open),
            open,
            processor_us,
            saturated_us,
            compared,
            errors,
            first_error,
        })
    }
}

/// Runs something on a thread of its own that stays on the generator's processor.
pub(crate) fn on_the_generators_processor<T: Send>(
    processors: &Processors,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            processors.pin_generator()?;
            work()
        });
        match thread.join() {
            Ok(result) => result,
            Err(_) => bail!("the generator panicked"),
        }
    })
}
