//! Arguments.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Diagnose workload identity, from the API server to the cloud's trust configuration.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl cwii",
    bin_name = "kubectl cwii",
    version,
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    /// When to use colour
    #[arg(long, value_enum, default_value_t = Color::Auto, global = true)]
    pub(crate) color: Color,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Embedded issuer and clouds: see federation work, and break, with no cluster and no cloud account
    ///
    /// Without arguments it plays a tour: workloads that work and workloads that are broken the way people break them,
    /// each verified by the agent against clouds that really check signature, issuer, audience and subject.
    #[command(after_help = "Examples:
  # the tour
  kubectl cwii lab

  # one workload, with everything that the agent says
  kubectl cwii lab --scenario hello-aws

  # keep the clouds running and point any SDK at them
  kubectl cwii lab --serve")]
    Lab(Lab),
}

#[derive(Args, Debug)]
pub(crate) struct Lab {
    /// Play one scenario, with everything that the agent says
    #[arg(long, value_name = "NAME", conflicts_with_all = ["serve", "list"])]
    pub(crate) scenario: Option<String>,

    /// Name the scenarios
    #[arg(long, conflicts_with = "serve")]
    pub(crate) list: bool,

    /// Keep issuer and clouds running, and print the variables that point SDKs and CLIs at them
    #[arg(long)]
    pub(crate) serve: bool,

    /// With --serve: keep the clouds' documents in this directory; edit one and the next exchange obeys it
    #[arg(long, value_name = "DIR", requires = "serve")]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal that is not dumb, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}
