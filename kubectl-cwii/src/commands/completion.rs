//! `kubectl cwii completion`: scripts for shells, and the file through which kubectl completes plugins.

use clap::{Args, ValueEnum};

use crate::{
    commands::{Context, not_built},
    exit::ExitStatus,
};

/// Output shell completion code, or install completion for `kubectl cwii`.
///
/// kubectl completes plugins through a program that is called kubectl_complete-cwii and stands in PATH. `install` puts
/// it next to this binary. The scripts complete the binary under its other name, cwii.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # Let kubectl complete `kubectl cwii`
  kubectl cwii completion install

  # Let bash complete `cwii`
  source <(cwii completion bash)")]
pub(crate) struct Completion {
    /// bash, zsh, fish, powershell, or install
    #[arg(value_name = "SHELL|install", value_enum, hide_possible_values = true)]
    pub(crate) what: What,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum What {
    Bash,
    Zsh,
    Fish,
    Powershell,
    Install,
}

pub(crate) fn run(arguments: &Completion, context: &mut Context) -> anyhow::Result<ExitStatus> {
    let _ = (arguments, context);
    Err(not_built("completion"))
}
