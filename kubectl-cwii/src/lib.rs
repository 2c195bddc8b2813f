//! `kubectl cwii`: one binary as plugin (`kubectl-cwii`), as `cwii`, and as kubectl's completer
//! (`kubectl_complete-cwii`).
//!
//! A library for one reason: man pages, the reference and the archives' completions are made from [`command`].
#![allow(
    clippy::disallowed_methods,
    reason = "the process is where environment and clock come from"
)]

mod argv;
mod cli;
mod cluster;
mod commands;
mod complete;
mod document;
mod exit;
mod facts;
mod identity;
mod problem;
mod sources;
mod stop;
mod target;
mod terminal;
mod tree;
mod workload;

use std::{ffi::OsString, process::ExitCode};

use crate::{
    cli::{Color, Program},
    commands::Context,
    exit::ExitStatus,
    problem::Problem,
    stop::Stop,
    terminal::Terminal,
};

/// The process: what it was called as and its arguments in, its exit status out.
#[must_use]
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = Program::of(arguments.next().as_ref());
    run(program, arguments.collect()).into()
}

/// What the process ends with: the code, and what it says.
pub fn exit_codes() -> impl Iterator<Item = (u8, &'static str)> {
    ExitStatus::ALL
        .into_iter()
        .map(|status| (status.code(), status.meaning()))
}

/// Commands and flags, spelt as the plugin's.
#[must_use]
pub fn command() -> clap::Command {
    cli::command(Program::Plugin)
}

/// The scripts by which shells complete the binary under its other name, `cwii`, by the names that shells look for.
#[must_use]
pub fn completion_scripts() -> Vec<(String, String)> {
    commands::completion::scripts()
}

fn run(program: Program, arguments: Vec<OsString>) -> ExitStatus {
    let mut terminal = Terminal::new(Color::Auto, false);
    if program == Program::Completer {
        complete::run(&arguments, &mut terminal);
        return ExitStatus::Success;
    }
    // Before anything could repeat them.
    if let Err(problem) = argv::refuse_secrets(program, &arguments) {
        return fail(&mut terminal, program, &problem.into());
    }
    let cli = match cli::parse(program, argv::reordered(program, arguments)) {
        Ok(cli) => cli,
        Err(error) => return terminal.clap(&error),
    };
    terminal = Terminal::new(cli.globals.color, cli.globals.quiet);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&mut terminal, program, &error.into()),
    };
    runtime.block_on(async {
        let stop = match Stop::install(cli.globals.timeout) {
            Ok(stop) => stop,
            Err(error) => return fail(&mut terminal, program, &error.into()),
        };
        let mut context = Context {
            globals: cli.globals,
            program,
            terminal,
            stop,
        };
        match commands::run(cli.command, &mut context).await {
            Ok(status) => status,
            // What was asked to end and could not finish has no other fault.
            Err(error) => {
                let status = fail(&mut context.terminal, program, &error);
                context.stop.or(status)
            }
        }
    })
}

fn fail(terminal: &mut Terminal, program: Program, error: &anyhow::Error) -> ExitStatus {
    terminal.error(&format!("error: {error:#}"));
    if let Some(problem) = error.chain().find_map(|e| e.downcast_ref::<Problem>()) {
        for (index, line) in problem.lines().iter().enumerate() {
            let line = program.spell(line);
            let lead = if index == 0 { "help: " } else { "      " };
            terminal.error(&format!("{lead}{line}"));
        }
    }
    ExitStatus::Usage
}
