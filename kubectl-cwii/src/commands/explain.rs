//! `kubectl cwii explain`: what a code, a name or a cloud's error text means.

use std::io::Read as _;

use anyhow::Context as _;
use clap::Args;
use cwii_agent::output::printable;
use cwii_checks::{
    explain::{Explanation, explain},
    output::{
        Style,
        explain::{Explained, check, meanings},
    },
};

use crate::{cli::Format, commands::Context, exit::ExitStatus, problem::Problem};

/// Most of standard input that is read, bytes: a log, not an archive.
const MAX_BYTES: u64 = 4 << 20;

/// Explain a code, the name of a check, or the error text of a cloud.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # Explain a code
  kubectl cwii explain TOK03

  # Explain what a cloud said
  kubectl cwii explain \"AADSTS700213: No matching federated identity record found\"

  # Explain what stands in a log
  kubectl logs deploy/checkout -n shop --tail=20 | kubectl cwii explain -

Output formats: human, json, yaml")]
pub(crate) struct Explain {
    /// CODE, NAME, or the text of an error; - reads it from standard input
    #[arg(value_name = "CODE|NAME|TEXT", required = true, num_args = 1..)]
    pub(crate) text: Vec<String>,
}

pub(crate) async fn run(arguments: &Explain, context: &mut Context) -> anyhow::Result<ExitStatus> {
    let format = context.format(&[Format::Human, Format::Json, Format::Yaml])?;
    let text = match arguments.text.as_slice() {
        [dash] if dash == "-" => standard_input()?,
        words => words.join(" "),
    };
    let style = Style {
        color: context.terminal.has_color(),
        unicode: context.terminal.has_unicode(),
        ..Style::default()
    };
    let (errors, checks) = match explain(&text) {
        Explanation::Errors(errors) => (errors, Vec::new()),
        Explanation::Checks(checks) => (Vec::new(), checks),
        Explanation::Unknown(near) => return Err(unknown(&text, &near).into()),
    };
    let document = Explained::new(&errors, &checks);
    let out = match format {
        Format::Json => document.json(),
        Format::Yaml => document.yaml(),
        _ if errors.is_empty() => {
            let pages: Vec<_> = checks.iter().map(|entry| check(entry, &style)).collect();
            pages.join("\n")
        }
        _ => meanings(&errors, &style),
    };
    context.terminal.line(out.trim_end());
    Ok(ExitStatus::Success)
}

/// Several codes may be meant, so none of them is explained.
fn unknown(text: &str, near: &[&cwii_checks::Entry]) -> Problem {
    const SHOWN: usize = 80;
    let line = text.trim().lines().next().unwrap_or_default();
    let cut: String = line.chars().take(SHOWN).collect();
    let more = if cut.len() < text.trim().len() {
        "…"
    } else {
        ""
    };
    let mut problem = Problem::new(format!(
        "`{}{more}` is no code, no name of a check, and no error text that is known",
        printable(&cut)
    ));
    for entry in near {
        problem = problem.help(format!(
            "nearest: {} {}: {}",
            entry.code, entry.name, entry.title
        ));
    }
    if near.is_empty() {
        problem = problem.help("`kubectl cwii checks` lists the codes");
    }
    problem
}

fn standard_input() -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .context("standard input cannot be read")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
