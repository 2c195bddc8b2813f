//! `kubectl cwii plan`: what the webhook would inject.

use clap::Args;

use crate::{
    commands::{Context, not_built},
    exit::ExitStatus,
    target::FileArgs,
};

/// Show what the webhook would inject into a workload, as a diff, and which object and key decides.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # What would new pods of this deployment receive?
  kubectl cwii plan deploy checkout -n shop

  # What would these manifests receive, as if they were applied?
  kubectl cwii plan -f deploy/

  # The same with no cluster
  kubectl cwii plan --local -f deploy/")]
pub(crate) struct Plan {
    /// POD, TYPE/NAME or TYPE NAME
    #[arg(value_name = "TARGET", num_args = 0.., conflicts_with = "filename")]
    pub(crate) target: Vec<String>,

    #[command(flatten)]
    pub(crate) files: FileArgs,

    /// With -f: look at the manifests alone, and at no cluster
    #[arg(long, requires = "filename")]
    pub(crate) local: bool,
}

pub(crate) async fn run(arguments: &Plan, context: &mut Context) -> anyhow::Result<ExitStatus> {
    let _ = (arguments, context);
    Err(not_built("plan"))
}
