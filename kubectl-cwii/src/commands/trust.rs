//! `kubectl cwii trust`: would the cloud accept a token, and what should it be told.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use cwii_contract::Provider;
use jiff::Timestamp;

use crate::{
    commands::{Context, not_built},
    exit::ExitStatus,
};

/// Decide as the cloud does whether it would accept a token, and say what the cloud should be told.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # Would this role accept this token?
  kubectl cwii trust check --token token.jwt --jwks jwks.json --trust role.json

  # The smallest trust that admits exactly this service account
  kubectl cwii trust suggest checkout --provider aws -n shop")]
pub(crate) struct Trust {
    #[command(subcommand)]
    pub(crate) command: TrustCommand,
}

#[derive(Debug, Subcommand)]
#[command(subcommand_help_heading = "Available Commands")]
pub(crate) enum TrustCommand {
    Check(TrustCheck),
    Suggest(TrustSuggest),
    Store(TrustStore),
}

/// Decide whether the cloud would accept a token, and say which clause decides.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # Would this role accept this token?
  kubectl cwii trust check --token token.jwt --jwks jwks.json --trust role.json

  # Would it accept the token of this service account, minted now?
  kubectl cwii trust check --sa checkout --trust trust/ -n shop")]
pub(crate) struct TrustCheck {
    /// File with the token, or - for standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, required_unless_present = "sa")]
    pub(crate) token: Option<PathBuf>,

    /// Mint the token of this service account instead
    #[arg(long, value_name = "NAME", conflicts_with = "token")]
    pub(crate) sa: Option<String>,

    /// Cloud that the token is for: aws, az or gcp
    #[arg(long, value_name = "PROVIDER")]
    pub(crate) provider: Option<Provider>,

    /// File or URL with the keys that the issuer publishes
    #[arg(long, value_name = "FILE|URL")]
    pub(crate) jwks: Option<String>,

    /// File or directory with what the cloud was told (repeatable)
    #[arg(long, value_name = "FILE|DIR", value_hint = ValueHint::AnyPath, required = true)]
    pub(crate) trust: Vec<PathBuf>,

    /// Take this moment for now, in RFC 3339
    #[arg(long, value_name = "TIME")]
    pub(crate) now: Option<Timestamp>,

    /// Session name of the exchange with AWS STS
    #[arg(long, value_name = "NAME")]
    pub(crate) session_name: Option<String>,
}

/// Print the smallest trust that admits exactly a service account.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # For AWS: trust policy, CLI commands and Terraform
  kubectl cwii trust suggest checkout --provider aws -n shop")]
pub(crate) struct TrustSuggest {
    /// The service account
    #[arg(value_name = "SERVICEACCOUNT")]
    pub(crate) sa: String,

    /// The cloud: aws, az or gcp
    #[arg(long, value_name = "PROVIDER")]
    pub(crate) provider: Provider,
}

/// Keep trust documents in the cluster, for people without rights in the cloud.
///
/// Writes the ConfigMap cwii-trust in the namespace cwii-system, which doctor reads.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # Store the documents of a directory
  kubectl cwii trust store --trust trust/")]
pub(crate) struct TrustStore {
    /// File or directory with what the cloud was told (repeatable)
    #[arg(long, value_name = "FILE|DIR", value_hint = ValueHint::AnyPath, required = true)]
    pub(crate) trust: Vec<PathBuf>,
}

pub(crate) async fn run(arguments: &Trust, context: &mut Context) -> anyhow::Result<ExitStatus> {
    let _ = (arguments, context);
    Err(not_built("trust"))
}
