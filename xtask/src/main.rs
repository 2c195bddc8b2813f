//! `cargo xtask`: what a contributor or CI runs beside cargo.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task is an edge: it reads clock, environment and files, and its output is its purpose"
)]

mod agent;
mod bench;
mod book;
mod chart;
mod dns;
mod empty_root;
mod generate;
mod image;
mod load;
mod package;
mod process;
mod static_build;
mod webhook;

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
    /// Build the webhook as one static file, and say how large it is
    Webhook {
        /// Fail when it is not static or too large
        #[arg(long)]
        check: bool,
    },
    /// Render the chart with Helm over a grid of values
    Chart {
        /// Fail where something rendered breaks a promise, or Helm accepts what it should refuse
        #[arg(long)]
        check: bool,
    },
    /// Assemble the images of agent, webhook and plugin from static files, as OCI layouts in target/images
    Image(image::Arguments),
    /// Write what is generated from the sources: the pages and the catalogue of the checks, the schemas of reports, the chart's values
    Generate {
        /// Write nothing, and fail where a file differs
        #[arg(long)]
        check: bool,
    },
    /// Build the book of docs/
    Book {
        /// Follow its links, and run what stands in it, in README.md and in CONTRIBUTING.md, as printed
        #[arg(long)]
        check: bool,

        /// With --check: run the blocks of this page alone (repeatable)
        #[arg(long, value_name = "FILE", requires = "check")]
        page: Vec<String>,
    },
    /// mdBook's preprocessor that draws diagrams
    #[command(hide = true)]
    Diagrams { question: Vec<String> },
    /// Compare the agent with the official clients, and its round trips with the fewest possible
    Bench(BenchArguments),
    /// Measure the webhook under load, beside a server that only echoes, and its memory beside clusters of several sizes
    Load(LoadArguments),
    /// Make what a release hands out: archives, checksums, bills of materials, Krew's manifest
    Package(package::Options),
    /// The server that only echoes
    #[command(hide = true)]
    EchoServer { script: PathBuf },
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

#[derive(Args)]
struct LoadArguments {
    /// Length of each reported run
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,

    /// Fewer cases and shorter runs, within about a minute
    #[arg(long)]
    quick: bool,

    /// Fail on a wrong answer, a read of the API server, or too much memory, patch or binary (times are printed, never judged)
    #[arg(long)]
    check: bool,

    /// Measure this webhook instead of building one
    #[arg(long, value_name = "FILE")]
    webhook: Option<PathBuf>,

    /// Write the figures to a file as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Agent { check } => agent::run(check),
        Task::Webhook { check } => webhook::run(check),
        Task::Chart { check } => chart::run(check),
        Task::Image(arguments) => image::run(&arguments),
        Task::Generate { check } => generate::run(check),
        Task::Book { check, page } => book::run(check, &page),
        Task::Diagrams { question } => book::diagrams(&question),
        Task::Bench(arguments) => bench::run(arguments.runs, arguments.json, arguments.check),
        Task::Load(arguments) => load::run(&load::Options {
            seconds: arguments.seconds,
            check: arguments.check,
            quick: arguments.quick,
            webhook: arguments.webhook,
            json: arguments.json,
        }),
        Task::Package(options) => package::run(&options),
        Task::EchoServer { script } => load::echo_server(&script),
        Task::EmptyRoot { agent } => empty_root::inside(&agent),
        Task::Measure { command } => bench::measure_here(&command),
    }
}
