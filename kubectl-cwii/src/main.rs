//! `kubectl cwii`: the same binary as plugin and as `cwii`.
//!
//! So far it holds the lab. The commands that look at a cluster come with the doctor.
#![allow(
    clippy::disallowed_methods,
    reason = "the process is where environment and clock come from"
)]

mod cli;
mod lab;
mod terminal;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap's own codes: 0 for help and version, 2 for usage. A closed pipe is no reason to fail.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let mut terminal = terminal::Terminal::new(cli.color);
    let result = match cli.command {
        Command::Lab(arguments) => lab::run(&arguments, &mut terminal),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            terminal.error(&format!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}
