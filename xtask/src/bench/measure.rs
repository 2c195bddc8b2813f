//! Wall time and peak memory of one command.
//!
//! `getrusage` gives the largest peak of all children that were waited for, so every run has a process of its own that
//! waits for nothing else. On Linux a child's peak begins at that of the process which started it: the measuring
//! process has to stay small, and what it adds is measured with a command that does nothing ([`floor`]).

use std::{
    collections::BTreeMap,
    ffi::OsString,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::{
        resource::{UsageWho, getrusage},
        signal::{Signal, kill},
    },
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

use crate::process;

/// A command with its whole environment.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    pub(crate) command: Vec<OsString>,
    pub(crate) environment: BTreeMap<String, OsString>,
}

/// One run.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Sample {
    /// From just before it is started until it has ended.
    wall_nanoseconds: u64,
    /// Largest resident set, of it or of one of its children, KiB.
    pub(crate) peak_kib: u64,
}

impl Sample {
    /// To the microsecond: below that it is noise.
    fn milliseconds(&self) -> f64 {
        (self.wall_nanoseconds / 1000) as f64 / 1000.0
    }
}

/// Several runs of one command.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Series {
    /// Shortest wall time, milliseconds.
    pub(crate) min_ms: f64,
    /// Median wall time, milliseconds.
    pub(crate) median_ms: f64,
    /// Longest wall time, milliseconds.
    pub(crate) max_ms: f64,
    /// Largest resident set of all runs, KiB.
    pub(crate) peak_kib: u64,
}

impl Series {
    /// Sums up; none of no runs.
    pub(crate) fn of(samples: &[Sample]) -> Option<Self> {
        let mut walls: Vec<f64> = samples.iter().map(Sample::milliseconds).collect();
        walls.sort_by(f64::total_cmp);
        let middle = walls.len() / 2;
        let median = match walls.len() {
            0 => return None,
            n if n % 2 == 0 => f64::midpoint(walls[middle - 1], walls[middle]),
            _ => walls[middle],
        };
        Some(Self {
            min_ms: walls[0],
            median_ms: median,
            max_ms: walls[walls.len() - 1],
            peak_kib: samples.iter().map(|s| s.peak_kib).max()?,
        })
    }
}

/// Runs a command once.
///
/// # Errors
///
/// It fails, or takes longer than two minutes; the error holds the end of what it printed.
pub(crate) fn once(invocation: &Invocation) -> Result<Sample> {
    let output = Command::new(std::env::current_exe()?)
        .args(["measure", "--"])
        .args(&invocation.command)
        .env_clear()
        .envs(&invocation.environment)
        .stdin(Stdio::null())
        .output()
        .context("the measuring process cannot be started")?;
    if !output.status.success() {
        bail!("{}", process::complaint(&output));
    }
    serde_json::from_slice(&output.stdout).context("the measuring process gives no sample")
}

/// What a process that does nothing seems to need: the least that can be told apart.
pub(crate) fn floor() -> Result<Sample> {
    once(&Invocation {
        command: vec!["/bin/true".into()],
        environment: BTreeMap::new(),
    })
}

/// The measuring process: runs the command, prints a [`Sample`].
///
/// The command's standard output is dropped, since it may be a credential; its standard error is passed on.
pub(crate) fn here(command: &[OsString]) -> Result<()> {
    let (program, arguments) = command.split_first().context("no command is given")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let start = Instant::now();
    let mut child = command
        .spawn()
        .with_context(|| format!("`{}` cannot be started", program.to_string_lossy()))?;
    let id = Pid::from_raw(child.id().try_into()?);
    thread::spawn(move || {
        thread::sleep(LIMIT);
        eprintln!("ended after {} s", LIMIT.as_secs());
        let _ = kill(id, Signal::SIGKILL);
    });
    let status = child.wait()?;
    let wall = start.elapsed();
    if !status.success() {
        bail!("`{}` ended with {status}", program.to_string_lossy());
    }
    let sample = Sample {
        wall_nanoseconds: wall.as_nanos().try_into()?,
        peak_kib: getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss().try_into()?,
    };
    println!("{}", serde_json::to_string(&sample)?);
    Ok(())
}

/// Longest that a client may take.
const LIMIT: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    fn series(milliseconds: &[u64]) -> Option<Series> {
        let samples: Vec<Sample> = milliseconds
            .iter()
            .map(|ms| Sample {
                wall_nanoseconds: ms * 1_000_000,
                peak_kib: 1000 + ms,
            })
            .collect();
        Series::of(&samples)
    }

    #[test]
    fn a_series_is_summed_up_whatever_its_order() {
        let odd = series(&[30, 10, 20]).unwrap();
        assert_eq!((odd.min_ms, odd.median_ms, odd.max_ms), (10.0, 20.0, 30.0));
        assert_eq!(odd.peak_kib, 1030);
        assert_eq!(series(&[40, 10, 20, 30]).unwrap().median_ms, 25.0);
        assert!(series(&[]).is_none());
    }
}
