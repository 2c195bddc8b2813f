//! Arguments: the commands, and the flags that all of them share, spelt as kubectl spells them.

use std::{ffi::OsString, fmt, path::PathBuf, time::Duration};

use clap::{
    Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum, ValueHint,
};

use crate::commands::{
    checks::Checks, completion::Completion, doctor::Doctor, explain::Explain, issuer::Issuer,
    lab::Arguments as Lab, plan::Plan, token::Token, trust::Trust, verify::Verify,
    version::Version,
};

/// Diagnose workload identity, from the API server to the cloud's trust configuration.
#[derive(Debug, Parser)]
#[command(name = "kubectl cwii", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
#[command(subcommand_help_heading = "Available Commands")]
pub(crate) enum Command {
    Doctor(Box<Doctor>),
    Token(Token),
    Trust(Trust),
    Issuer(Issuer),
    Plan(Plan),
    Verify(Verify),
    Explain(Explain),
    Checks(Checks),
    Lab(Lab),
    Completion(Completion),
    Version(Version),
    /// Print the list of flags inherited by all commands
    ///
    /// Print the list of flags inherited by all commands.
    #[command(after_help = "Examples:
  # Print flags inherited by all commands
  kubectl cwii options")]
    Options,
}

/// Flags that every command takes, before and after its name.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Globals {
    /// Username to impersonate for the operation. User could be a regular user or a service account in a namespace.
    #[arg(long = "as", value_name = "USER", global = true, hide = true)]
    pub(crate) as_user: Option<String>,

    /// Group to impersonate for the operation, this flag can be repeated to specify multiple groups.
    #[arg(long, value_name = "GROUP", global = true, hide = true)]
    pub(crate) as_group: Vec<String>,

    /// UID to impersonate for the operation.
    #[arg(long, value_name = "UID", global = true, hide = true)]
    pub(crate) as_uid: Option<String>,

    /// Path to a cert file for the certificate authority
    #[arg(long, value_name = "FILE", global = true, hide = true, value_hint = ValueHint::FilePath)]
    pub(crate) certificate_authority: Option<PathBuf>,

    /// Path to a client certificate file for TLS
    #[arg(long, value_name = "FILE", global = true, hide = true, value_hint = ValueHint::FilePath)]
    pub(crate) client_certificate: Option<PathBuf>,

    /// Path to a client key file for TLS
    #[arg(long, value_name = "FILE", global = true, hide = true, value_hint = ValueHint::FilePath)]
    pub(crate) client_key: Option<PathBuf>,

    /// The name of the kubeconfig cluster to use
    #[arg(long, value_name = "NAME", global = true, hide = true)]
    pub(crate) cluster: Option<String>,

    /// When to use colour: auto, always or never
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        global = true,
        hide = true
    )]
    pub(crate) color: Color,

    /// The name of the kubeconfig context to use
    #[arg(long, value_name = "NAME", global = true, hide = true)]
    pub(crate) context: Option<String>,

    /// If true, the server's certificate will not be checked for validity
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        global = true,
        hide = true
    )]
    pub(crate) insecure_skip_tls_verify: Option<bool>,

    /// Path to the kubeconfig file to use for CLI requests.
    #[arg(long, value_name = "FILE", global = true, hide = true, value_hint = ValueHint::FilePath)]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// If present, the namespace scope for this CLI request
    #[arg(short, long, value_name = "NAME", global = true, hide = true)]
    pub(crate) namespace: Option<String>,

    /// Output format; each command names those that it has
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        value_enum,
        hide_possible_values = true,
        global = true,
        hide = true
    )]
    pub(crate) output: Option<Format>,

    /// Nothing on standard error but errors
    #[arg(short, long, global = true, hide = true)]
    pub(crate) quiet: bool,

    /// The length of time to wait before giving up on a single server request. Non-zero values should contain a
    /// corresponding time unit (e.g. 1s, 2m, 3h). A value of zero means don't timeout requests.
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = duration,
        default_value = "30s",
        global = true,
        hide = true
    )]
    pub(crate) request_timeout: Limit,

    /// The address and port of the Kubernetes API server
    #[arg(short, long, value_name = "URL", global = true, hide = true, value_hint = ValueHint::Url)]
    pub(crate) server: Option<String>,

    /// The length of time to wait before giving up on the whole command, which then ends with what it has. Zero means
    /// no limit.
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = duration,
        default_value = "0",
        global = true,
        hide = true
    )]
    pub(crate) timeout: Limit,

    /// Server name to use for server certificate validation. If it is not provided, the hostname used to contact the
    /// server is used
    #[arg(long, value_name = "NAME", global = true, hide = true)]
    pub(crate) tls_server_name: Option<String>,

    /// The name of the kubeconfig user to use
    #[arg(long, value_name = "NAME", global = true, hide = true)]
    pub(crate) user: Option<String>,

    /// Number for the log level verbosity: 6 and more show each request to the API server
    #[arg(
        short = 'v',
        long = "v",
        value_name = "LEVEL",
        default_value_t = 0,
        global = true,
        hide = true
    )]
    pub(crate) verbosity: u8,
}

/// A length of time; none is no limit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Limit(pub(crate) Option<Duration>);

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal that is not dumb, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Shapes of output. No command has them all.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Human,
    /// For people, with what passed.
    Wide,
    /// For people, failures alone.
    Short,
    /// `TYPE/NAME` of what has findings.
    Name,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
    /// One JSON document per line.
    Jsonl,
    /// SARIF 2.1.0.
    Sarif,
    /// JUnit XML.
    Junit,
    /// Annotations of GitHub's workflows.
    Github,
    /// One page of HTML.
    Html,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_possible_value() {
            Some(value) => f.write_str(value.get_name()),
            None => Ok(()),
        }
    }
}

/// What the process was called as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Program {
    /// `kubectl-cwii`, which kubectl runs for `kubectl cwii`.
    Plugin,
    /// `cwii`.
    Standalone,
    /// `kubectl_complete-cwii`, which kubectl runs for completion.
    Completer,
}

impl Program {
    pub(crate) fn of(argv0: Option<&OsString>) -> Self {
        let name = argv0.map(PathBuf::from).and_then(|path| {
            path.file_stem()
                .map(|name| name.to_string_lossy().into_owned())
        });
        match name.as_deref() {
            Some("cwii") => Self::Standalone,
            Some("kubectl_complete-cwii") => Self::Completer,
            _ => Self::Plugin,
        }
    }

    /// How a person spells it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Standalone => "cwii",
            Self::Plugin | Self::Completer => "kubectl cwii",
        }
    }

    /// Text with this spelling in place of the plugin's.
    pub(crate) fn spell(self, text: &str) -> String {
        match self {
            Self::Standalone => text.replace(Self::Plugin.name(), self.name()),
            Self::Plugin | Self::Completer => text.to_owned(),
        }
    }
}

/// Reads the arguments of a process, the program's name not among them.
pub(crate) fn parse(program: Program, arguments: Vec<OsString>) -> Result<Cli, clap::Error> {
    let mut command = command(program);
    let name = OsString::from(program.name());
    let matches = command.try_get_matches_from_mut(std::iter::once(name).chain(arguments))?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// The whole command as it is spelt and laid out: kubectl's order of description, examples, options and usage.
pub(crate) fn command(program: Program) -> clap::Command {
    let mut command = laid_out(Cli::command(), program)
        .bin_name(program.name())
        .display_name(program.name());
    command.build();
    command
}

fn laid_out(command: clap::Command, program: Program) -> clap::Command {
    let mut template = String::from("{about}{after-help}\n\n{all-args}\n\nUsage:\n  {usage}\n\n");
    if command.has_subcommands() {
        template.push_str(&format!(
            "Use \"{0} <command> --help\" for more information about a given command.\n",
            program.name()
        ));
    }
    template.push_str(&format!(
        "Use \"{} options\" for a list of global command-line options (applies to all commands).\n",
        program.name()
    ));
    let respelt = |text: &clap::builder::StyledStr| program.spell(&text.to_string());
    let about = command.get_about().map(respelt);
    let long_about = command.get_long_about().map(respelt);
    let examples = command.get_after_help().map(respelt);
    let mut command = command
        .help_template(template)
        .mut_args(|mut argument| {
            if let Some(help) = argument.get_help().map(respelt) {
                argument = argument.help(help);
            }
            if let Some(help) = argument.get_long_help().map(respelt) {
                argument = argument.long_help(help);
            }
            argument
        })
        .mut_subcommands(|subcommand| laid_out(subcommand, program));
    if let Some(about) = about {
        command = command.about(about);
    }
    if let Some(about) = long_about {
        command = command.long_about(about);
    }
    if let Some(examples) = examples {
        command = command.after_help(examples);
    }
    command
}

/// A length of time as kubectl reads one: Go's spelling, or a number of seconds.
fn duration(text: &str) -> Result<Limit, String> {
    let expected = || "expected a length of time such as `10s`, `1m30s` or `0`".to_owned();
    let limit = |duration: Duration| Limit(Some(duration).filter(|d| !d.is_zero()));
    let mut rest = text.trim();
    if let Ok(seconds) = rest.parse::<u32>() {
        return Ok(limit(Duration::from_secs(seconds.into())));
    }
    if rest.is_empty() {
        return Err(expected());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(expected)?;
        let number: f64 = rest[..digits].parse().map_err(|_| expected())?;
        rest = &rest[digits..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(expected()),
        };
        total = Duration::try_from_secs_f64(number * unit)
            .ok()
            .and_then(|part| total.checked_add(part))
            .ok_or_else(expected)?;
        rest = &rest[end..];
    }
    Ok(limit(total))
}
