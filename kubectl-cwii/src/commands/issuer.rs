//! `kubectl cwii issuer`: discovery, keys and reachability of the cluster's issuer.

use clap::{Args, Subcommand, ValueHint};

use crate::{
    commands::{Context, not_built},
    exit::ExitStatus,
};

/// Check the issuer of the cluster's tokens as clouds see it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # Compare what the cluster says of its issuer with what the issuer publishes
  kubectl cwii issuer check")]
pub(crate) struct Issuer {
    #[command(subcommand)]
    pub(crate) command: IssuerCommand,
}

#[derive(Debug, Subcommand)]
#[command(subcommand_help_heading = "Available Commands")]
pub(crate) enum IssuerCommand {
    Check(IssuerCheck),
}

/// Check discovery document, keys and reachability of an issuer, from the cluster and from outside.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # Compare what the cluster says of its issuer with what the issuer publishes
  kubectl cwii issuer check

  # Check an issuer by its URL, with no cluster
  kubectl cwii issuer check https://oidc.example.com/prod")]
pub(crate) struct IssuerCheck {
    /// The issuer; the cluster's if omitted
    #[arg(value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) url: Option<String>,
}

pub(crate) async fn run(arguments: &Issuer, context: &mut Context) -> anyhow::Result<ExitStatus> {
    let _ = (arguments, context);
    Err(not_built("issuer"))
}
