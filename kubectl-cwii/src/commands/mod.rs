//! One file per command: its arguments, with their help, and what it does.

pub(crate) mod checks;
pub(crate) mod completion;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod issuer;
pub(crate) mod lab;
mod lab_manifests;
pub(crate) mod options;
pub(crate) mod plan;
pub(crate) mod token;
pub(crate) mod trust;
pub(crate) mod verify;
pub(crate) mod version;

use crate::{
    cli::{Command, Format, Globals, Program},
    cluster::{Access, Cluster, config::Environment},
    exit::ExitStatus,
    problem::Problem,
    stop::Stop,
    terminal::Terminal,
};

/// What every command works with.
pub(crate) struct Context {
    pub(crate) globals: Globals,
    pub(crate) program: Program,
    pub(crate) terminal: Terminal,
    pub(crate) stop: Stop,
}

impl Context {
    /// A client for the cluster that flags, environment and kubeconfig name. Sends nothing yet.
    ///
    /// # Errors
    ///
    /// A configuration that cannot be used.
    pub(crate) async fn connect(&self) -> Result<Cluster, Problem> {
        let access = Access::load(&self.globals, &Environment::of_process())?;
        Cluster::new(access, &self.globals, &self.stop).await
    }

    /// The output format: the first of those that the command has, unless another of them was asked for.
    ///
    /// # Errors
    ///
    /// A format that the command does not have.
    pub(crate) fn format(&self, formats: &[Format]) -> Result<Format, Problem> {
        let default = formats.first().copied().unwrap_or(Format::Human);
        let format = self.globals.output.unwrap_or(default);
        if formats.contains(&format) {
            return Ok(format);
        }
        let names: Vec<_> = formats.iter().map(|format| format!("`{format}`")).collect();
        Err(Problem::new(format!(
            "this command has no output format `{format}`, expected one of {}",
            names.join(", ")
        )))
    }
}

pub(crate) async fn run(command: Command, context: &mut Context) -> anyhow::Result<ExitStatus> {
    match command {
        Command::Doctor(arguments) => doctor::run(&arguments, context).await,
        Command::Token(arguments) => token::run(&arguments, context).await,
        Command::Trust(arguments) => trust::run(&arguments, context).await,
        Command::Issuer(arguments) => issuer::run(&arguments, context).await,
        Command::Plan(arguments) => plan::run(&arguments, context).await,
        Command::Verify(arguments) => verify::run(&arguments, context).await,
        Command::Explain(arguments) => explain::run(&arguments, context).await,
        Command::Checks(arguments) => checks::run(&arguments, context).await,
        Command::Lab(arguments) => lab::run(&arguments, context).await,
        Command::Completion(arguments) => completion::run(&arguments, context),
        Command::Version(arguments) => version::run(&arguments, context).await,
        Command::Options => options::run(context),
    }
}
