//! `kubectl cwii verify`: the real exchange, from a short-lived pod.

use clap::Args;
use cwii_contract::Provider;

use crate::{
    commands::{Context, not_built},
    exit::ExitStatus,
};

/// Run the agent in the cluster as the service account of a workload, and show its result.
///
/// Creates one short-lived pod that does the exchange with the cloud, and deletes it afterwards, also when interrupted.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # Would pods of this deployment get credentials of AWS?
  kubectl cwii verify deploy checkout --provider aws -n shop

  # The same for a service account
  kubectl cwii verify sa checkout --provider gcp -n shop")]
pub(crate) struct Verify {
    /// POD, TYPE/NAME or TYPE NAME
    #[arg(value_name = "TARGET", num_args = 1.., required = true)]
    pub(crate) target: Vec<String>,

    /// The cloud: aws, az or gcp
    #[arg(long, value_name = "PROVIDER")]
    pub(crate) provider: Provider,

    /// Image of the agent; that of the webhook if omitted
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,
}

pub(crate) async fn run(arguments: &Verify, context: &mut Context) -> anyhow::Result<ExitStatus> {
    let _ = (arguments, context);
    Err(not_built("verify"))
}
