//! `kubectl cwii explain`: what a code, a name or a cloud's error text means.

use clap::Args;

use crate::{
    commands::{Context, not_built},
    exit::ExitStatus,
};

/// Explain a code, the name of a check, or the error text of a cloud.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # Explain a code
  kubectl cwii explain TOK03

  # Explain what a cloud said
  kubectl cwii explain \"AADSTS700213: No matching federated identity record found\"")]
pub(crate) struct Explain {
    /// CODE, NAME, or the text of an error; - reads it from standard input
    #[arg(value_name = "CODE|NAME|TEXT", required = true, num_args = 1..)]
    pub(crate) text: Vec<String>,
}

pub(crate) async fn run(arguments: &Explain, context: &mut Context) -> anyhow::Result<ExitStatus> {
    let _ = (arguments, context);
    Err(not_built("explain"))
}
