//! `cargo xtask`: what a contributor or CI runs beside cargo.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task is an edge: it reads clock, environment and files, and its output is its purpose"
)]

mod agent;
mod bench;
mod dns;
mod empty_root;
mod process;

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand};

/// Tasks of this repository.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the agent as one static file, and say how large it is
    Agent {
        /// Fail when it is not static or too large, or does not work in an otherwise empty root directory
        #[arg(long)]
        check: bool,
    },
    /// Compare the agent with the official clients, and its round trips with the fewest possible
    Bench(BenchArguments),
    /// The inner half of the empty-root check, inside fresh namespaces
    #[command(hide = true)]
    EmptyRoot { agent: PathBuf },
    /// Run one command and print what it took
    #[command(hide = true)]
    Measure {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
}

#[derive(Args)]
struct BenchArguments {
    /// Measured runs of each command, after one that warms up
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    /// Fail when connections or round trips are not at the floor (times are printed, never judged)
    #[arg(long)]
    check: bool,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Agent { check } => agent::run(check),
        Task::Bench(arguments) => bench::run(arguments.runs, arguments.json, arguments.check),
        Task::EmptyRoot { agent } => empty_root::inside(&agent),
        Task::Measure { command } => bench::measure_here(&command),
    }
}
