//! `kubectl cwii checks`: the catalogue.

use clap::Args;

use crate::{
    commands::{Context, not_built},
    exit::ExitStatus,
};

/// List every check: its code, severity and what it finds.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # List all checks
  kubectl cwii checks

  # List the checks of one group, as JSON
  kubectl cwii checks TOK -o json")]
pub(crate) struct Checks {
    /// Groups, such as POD or TOK, or codes; all if omitted
    #[arg(value_name = "GROUP|CODE")]
    pub(crate) only: Vec<String>,

    /// When using a table, don't print headers
    #[arg(long)]
    pub(crate) no_headers: bool,
}

pub(crate) async fn run(arguments: &Checks, context: &mut Context) -> anyhow::Result<ExitStatus> {
    let _ = (arguments, context);
    Err(not_built("checks"))
}
