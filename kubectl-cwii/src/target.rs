//! What a command looks at: pods, workloads, ServiceAccounts, manifests, spelt as kubectl users spell them.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// What to look at, as the arguments name it.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct TargetArgs {
    /// POD, TYPE/NAME or TYPE NAME; types as kubectl spells them: po, deploy, sts, ds, job, cj, sa, ns …
    #[arg(value_name = "TARGET", num_args = 0..)]
    pub(crate) target: Vec<String>,

    /// Selector (label query) to filter on, supports '=', '==', '!=', 'in', 'notin'. (e.g. -l key1=value1,key2=value2)
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub(crate) selector: Option<String>,

    /// If present, look at the requested objects across all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,

    #[command(flatten)]
    pub(crate) files: FileArgs,
}

/// Manifests.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct FileArgs {
    /// Filename, directory, or - for standard input, with the manifests to look at (repeatable)
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub(crate) filename: Vec<PathBuf>,

    /// Process the directory used in -f, --filename recursively
    #[arg(short = 'R', long, requires = "filename")]
    pub(crate) recursive: bool,
}
