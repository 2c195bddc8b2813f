//! `kubectl cwii version`.

use clap::Args;
use serde::Serialize;

use crate::{cli::Format, commands::Context, document, exit::ExitStatus};

/// Print the version of this tool.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # Print the version
  kubectl cwii version

  # Print the version in JSON
  kubectl cwii version -o json")]
pub(crate) struct Version {}

/// What the machine formats hold.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    client_version: Build,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Build {
    version: &'static str,
    platform: String,
}

pub(crate) async fn run(_: &Version, context: &mut Context) -> anyhow::Result<ExitStatus> {
    let format = context.format(&[Format::Human, Format::Json, Format::Yaml])?;
    let versions = Versions {
        client_version: Build {
            version: env!("CARGO_PKG_VERSION"),
            platform: format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
        },
    };
    let text = match format {
        Format::Json => document::json(&versions)?,
        Format::Yaml => document::yaml(&versions)?,
        _ => format!("Client Version: v{}", versions.client_version.version),
    };
    context.terminal.line(&text);
    Ok(ExitStatus::Success)
}
