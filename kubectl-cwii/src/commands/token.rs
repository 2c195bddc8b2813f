//! `kubectl cwii token`: what is in a token, and whether it is what the cloud expects.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use cwii_contract::Provider;
use jiff::Timestamp;

use crate::{
    commands::{Context, not_built},
    exit::ExitStatus,
};

/// Read or request service account tokens, and compare them with what the cloud expects.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # Decode the token in a file
  kubectl cwii token decode token.jwt

  # Mint a token of a service account and decode it
  kubectl cwii token request --sa checkout --audience sts.amazonaws.com")]
pub(crate) struct Token {
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
}

#[derive(Debug, Subcommand)]
#[command(subcommand_help_heading = "Available Commands")]
pub(crate) enum TokenCommand {
    Decode(TokenDecode),
    Request(TokenRequest),
}

/// Show what is in a token, and whether it is what the cloud expects.
///
/// The token comes from a file or from standard input, never from an argument; with --pod or --sa it is minted for that
/// workload. Signatures are never shown.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # Decode the token in a file
  kubectl cwii token decode token.jwt

  # Decode a token from standard input
  kubectl exec web -- cat /var/run/secrets/cwii.dev/aws/token | kubectl cwii token decode -

  # Mint the token that a pod would present to AWS and compare it with what AWS expects
  kubectl cwii token decode --pod checkout-7d9f --provider aws")]
pub(crate) struct TokenDecode {
    /// File with the token, or - for standard input
    #[arg(value_name = "FILE", conflicts_with_all = ["pod", "sa"], value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,

    /// Mint the token of this pod's service account, bound to the pod
    #[arg(long, value_name = "NAME", conflicts_with = "sa")]
    pub(crate) pod: Option<String>,

    /// Mint the token of this service account
    #[arg(long, value_name = "NAME")]
    pub(crate) sa: Option<String>,

    /// Cloud that the token is for: aws, az or gcp
    #[arg(long, value_name = "PROVIDER")]
    pub(crate) provider: Option<Provider>,

    /// File or URL with the keys to verify the signature with
    #[arg(long, value_name = "FILE|URL", conflicts_with = "verify_with_cluster")]
    pub(crate) jwks: Option<String>,

    /// Verify the signature with the keys of the cluster
    #[arg(id = "verify_with_cluster", long = "cluster-keys")]
    pub(crate) cluster_keys: bool,

    /// File or directory with what the cloud was told (repeatable)
    #[arg(long, value_name = "FILE|DIR", value_hint = ValueHint::AnyPath)]
    pub(crate) trust: Vec<PathBuf>,

    /// Take this moment for now, in RFC 3339
    #[arg(long, value_name = "TIME")]
    pub(crate) now: Option<Timestamp>,
}

/// Mint a token of a service account with the TokenRequest API and decode it.
///
/// The token itself is not shown.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # Mint a token for AWS STS and show what is in it
  kubectl cwii token request --sa checkout --audience sts.amazonaws.com -n shop")]
pub(crate) struct TokenRequest {
    /// The service account
    #[arg(long, value_name = "NAME")]
    pub(crate) sa: String,

    /// Audience of the token (repeatable)
    #[arg(long, value_name = "AUDIENCE", required = true)]
    pub(crate) audience: Vec<String>,
}

pub(crate) async fn run(arguments: &Token, context: &mut Context) -> anyhow::Result<ExitStatus> {
    let _ = (arguments, context);
    Err(not_built("token"))
}
