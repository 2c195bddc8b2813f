//! `kubectl cwii checks`: the catalogue.

use clap::Args;
use cwii_checks::{
    catalogue::{self, Entry, Severity},
    output::reference::Catalogue,
};

use crate::{cli::Format, commands::Context, exit::ExitStatus, problem::Problem, target::nearest};

/// List every check: its code, severity and what it finds.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # List all checks
  kubectl cwii checks

  # List the checks of one group, with what they say
  kubectl cwii checks TOK -o wide

  # List all checks as JSON
  kubectl cwii checks -o json")]
pub(crate) struct Checks {
    /// Groups, such as POD or TOK, codes or names; all if omitted
    #[arg(value_name = "GROUP|CODE|NAME")]
    pub(crate) only: Vec<String>,

    /// When using a table, don't print headers
    #[arg(long)]
    pub(crate) no_headers: bool,
}

pub(crate) async fn run(arguments: &Checks, context: &mut Context) -> anyhow::Result<ExitStatus> {
    let formats = [
        Format::Human,
        Format::Wide,
        Format::Name,
        Format::Json,
        Format::Yaml,
    ];
    let format = context.format(&formats)?;
    let chosen = choose(&arguments.only)?;
    // The same document as docs/src/reference/checks.json.
    let catalogue = || Catalogue::of(|entry| chosen.contains(&entry));
    let text = match format {
        Format::Json => catalogue().json(),
        Format::Yaml => catalogue().yaml(),
        Format::Name => {
            let codes: Vec<_> = chosen.iter().map(|entry| entry.code).collect();
            codes.join("\n")
        }
        _ => table(&chosen, format == Format::Wide, !arguments.no_headers),
    };
    context.terminal.line(text.trim_end());
    Ok(ExitStatus::Success)
}

fn choose(only: &[String]) -> Result<Vec<&'static Entry>, Problem> {
    let is_chosen = |entry: &Entry, what: &str| {
        [entry.group(), entry.code, entry.name]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(what))
    };
    for what in only {
        if catalogue::entries().any(|entry| is_chosen(entry, what)) {
            continue;
        }
        let problem = Problem::new(format!("`{what}` is no group, code or name of a check"));
        let upper = what.to_ascii_uppercase();
        let lower = what.to_ascii_lowercase();
        let name = nearest(&lower, catalogue::entries().map(|entry| entry.name));
        let code = nearest(&upper, catalogue::entries().map(|entry| entry.code));
        return Err(match name.or(code) {
            Some(nearest) => problem.help(format!("did you mean `{nearest}`?")),
            None => problem.help("list them with").help("  kubectl cwii checks"),
        });
    }
    Ok(catalogue::entries()
        .filter(|entry| only.is_empty() || only.iter().any(|what| is_chosen(entry, what)))
        .collect())
}

/// As kubectl lays tables out: columns as wide as their widest cell, three blanks between them.
fn table(entries: &[&Entry], wide: bool, headers: bool) -> String {
    let header = vec!["CODE", "SEVERITY", "NAME", "TITLE"];
    let mut rows = vec![header];
    rows.extend(
        entries
            .iter()
            .map(|entry| vec![entry.code, severity(entry), entry.name, entry.title]),
    );
    let columns = if wide { 4 } else { 3 };
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0))
        .collect();
    let lines: Vec<String> = rows
        .iter()
        .skip(usize::from(!headers))
        .map(|row| {
            let cells: Vec<String> = widths
                .iter()
                .zip(row)
                .map(|(width, cell)| format!("{cell:width$}"))
                .collect();
            cells.join("   ").trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

const fn severity(entry: &Entry) -> &'static str {
    match entry.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}
