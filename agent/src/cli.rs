//! Arguments. Every flag of `verify` is also a `CWII_*` variable, because the webhook sets variables.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use cwii_contract::{Provider, env, names};

/// Prove from inside a pod that its ServiceAccount token is accepted by the cloud.
#[derive(Debug, Parser)]
#[command(name = "cwii-agent", version, disable_help_subcommand = true)]
pub struct Cli {
    /// What to log to standard error beside the result
    #[arg(long, env = env::CWII_LOG, value_enum, default_value_t = LogLevel::Off, global = true)]
    pub log: LogLevel,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the agent can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Exchange the pod's token for credentials, and say who the cloud says we are or why it refuses
    Verify(Verify),
    /// Write Google's credentials document from CWII_GCP_CREDS_JSON
    WriteGcpCredentials(WriteGcpCredentials),
    /// Look at a token
    Token {
        /// What to do with it.
        #[command(subcommand)]
        command: TokenCommand,
    },
}

/// `verify`.
#[derive(Args, Clone, Debug)]
pub struct Verify {
    /// The cloud to ask
    #[arg(value_name = "aws|gcp|az", value_parser = provider)]
    pub provider: Provider,

    /// End with a failure when the check fails (10 configuration, 11 token, 20 denied, 30 unreachable, 70 internal);
    /// without it the agent always ends with 0
    #[arg(long, env = env::CWII_ENFORCE, value_parser = boolean, num_args = 0..=1, default_missing_value = "true", default_value = "false", require_equals = true)]
    pub enforce: bool,

    /// Deadline of the whole verification, 1s to 600s
    #[arg(long, env = env::CWII_TIMEOUT, value_name = "DURATION", value_parser = timeout, default_value = "30s")]
    pub timeout: Duration,

    /// With --enforce: what to do when the cloud could not be asked, as opposed to having said no
    #[arg(long, env = env::CWII_ON_UNREACHABLE, value_enum, default_value_t = OnUnreachable::Block)]
    pub on_unreachable: OnUnreachable,

    /// Also send the token to this HOST or HOST:PORT, outside the cloud's own domains (repeatable, or comma-separated)
    #[arg(long, env = env::CWII_ALLOW_ENDPOINT, value_name = "HOST", value_delimiter = ',')]
    pub allow_endpoint: Vec<String>,

    /// Output format
    #[arg(short, long, env = env::CWII_OUTPUT, value_enum, default_value_t = Format::Text)]
    pub output: Format,

    /// File for the termination message; written only where it exists
    #[arg(long, env = env::CWII_TERMINATION_LOG, value_name = "FILE", default_value = names::TERMINATION_LOG)]
    pub termination_log: PathBuf,
}

/// `write-gcp-credentials`.
#[derive(Args, Clone, Debug)]
pub struct WriteGcpCredentials {
    /// Where to write it
    #[arg(long, value_name = "FILE", default_value = names::GCP_CREDENTIALS_FILE)]
    pub output: PathBuf,
}

/// `token …`.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Show header and claims of a token, unverified and without its signature
    Decode(Decode),
}

/// `token decode`.
#[derive(Args, Clone, Debug)]
pub struct Decode {
    /// File with the token, or - for standard input
    #[arg(value_name = "FILE")]
    pub file: String,

    /// Output format
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

/// Output formats.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// `--on-unreachable`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum OnUnreachable {
    /// Fail with 30.
    Block,
    /// Say so and end with 0.
    Allow,
}

/// `--log`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What went wrong on the way.
    Warn,
    /// What is done.
    Info,
    /// How it is done.
    Debug,
    /// Everything that the agent's own code tells; never the libraries', which show headers and bodies.
    Trace,
}

fn provider(text: &str) -> Result<Provider, String> {
    text.parse()
        .map_err(|e: cwii_contract::provider::UnknownProvider| e.to_string())
}

/// A boolean as annotations spell it: `true` or `false` in any case, trimmed.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" | "" => Ok(false),
        _ => Err("expected `true` or `false`".into()),
    }
}

fn timeout(text: &str) -> Result<Duration, String> {
    let range = names::VERIFY_TIMEOUT_RANGE_SECONDS;
    let expected = || {
        format!(
            "expected {} to {} seconds, such as `30s`, `30` or `2m`",
            range.start(),
            range.end()
        )
    };
    let text = text.trim();
    let (number, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let number: u64 = number.parse().map_err(|_| expected())?;
    let seconds = match unit {
        "s" => Some(number),
        "m" => number.checked_mul(60),
        _ => None,
    };
    seconds
        .filter(|s| range.contains(s))
        .map(Duration::from_secs)
        .ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_contracts_default_timeout_is_the_flags() {
        assert_eq!(
            timeout("30s"),
            Ok(Duration::from_secs(names::VERIFY_TIMEOUT_DEFAULT_SECONDS))
        );
    }

    #[test]
    fn a_timeout_has_a_unit_and_a_range() {
        assert_eq!(timeout("45"), Ok(Duration::from_secs(45)));
        assert_eq!(timeout("2m"), Ok(Duration::from_secs(120)));
        for text in [
            "",
            "0",
            "601",
            "11m",
            "1h",
            "-1",
            "1.5s",
            "abc",
            "99999999999999999999",
            "18446744073709551615m",
        ] {
            assert!(timeout(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_boolean_is_spelled_as_in_annotations() {
        assert_eq!(boolean(" True "), Ok(true));
        assert_eq!(boolean(""), Ok(false));
        assert!(boolean("yes").is_err());
    }
}
