//! `kubectl cwii doctor`: why a workload's cloud identity does not work.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};
use jiff::Timestamp;

use crate::{
    commands::{Context, not_built},
    exit::ExitStatus,
    target::TargetArgs,
};

/// Say why the cloud identity of a workload does not work, with the evidence and the fix.
///
/// Looks at the pod and everything between it and the cloud: its owners, ServiceAccount and namespace, the admission
/// webhooks, the token, the cluster's issuer and, with --trust, what the cloud was told. Only reads, unless --probe is
/// given.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # Diagnose a pod
  kubectl cwii doctor pod checkout-7d9f -n shop

  # Diagnose a workload by its type and name
  kubectl cwii doctor deploy checkout -n shop

  # Diagnose every workload of the cluster, worst first
  kubectl cwii doctor -A

  # Compare with what the cloud was told as well
  aws iam get-role --role-name checkout > role.json
  kubectl cwii doctor pod checkout-7d9f -n shop --trust role.json

  # Diagnose manifests with no cluster
  kubectl cwii doctor --local -f deploy/ -R

  # Print the smallest Role with which nothing stays unknown
  kubectl cwii doctor --print-rbac")]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) target: TargetArgs,

    /// Container to look at; all containers if omitted
    #[arg(short, long, value_name = "NAME")]
    pub(crate) container: Option<String>,

    /// With -f: look at the manifests alone, and at no cluster
    #[arg(long, requires = "filename")]
    pub(crate) local: bool,

    /// Also do what is more than reading: mint a token, create a copy of the pod with server-side dry-run, ask the
    /// public issuer
    #[arg(long, conflicts_with = "local")]
    pub(crate) probe: bool,

    /// File or directory with what the cloud was told: roles, providers, pools, credentials (repeatable)
    #[arg(long, value_name = "FILE|DIR", value_hint = ValueHint::AnyPath)]
    pub(crate) trust: Vec<PathBuf>,

    /// List every call that would be made, and make none
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Print the smallest Role that the checks need, and look at nothing
    #[arg(long)]
    pub(crate) print_rbac: bool,

    /// Least severity that makes the exit code 1
    #[arg(long, value_name = "SEVERITY", value_enum, default_value_t)]
    pub(crate) fail_on: FailOn,

    /// Exit with 0 although something that was asked for could not be settled
    #[arg(long)]
    pub(crate) allow_unknown: bool,

    /// Take this moment for now, in RFC 3339
    #[arg(long, value_name = "TIME")]
    pub(crate) now: Option<Timestamp>,

    /// When using a table, don't print headers
    #[arg(long)]
    pub(crate) no_headers: bool,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum FailOn {
    /// Errors.
    #[default]
    Error,
    /// Errors and warnings.
    Warning,
}

pub(crate) async fn run(arguments: &Doctor, context: &mut Context) -> anyhow::Result<ExitStatus> {
    let _ = (arguments, context);
    Err(not_built("doctor"))
}
