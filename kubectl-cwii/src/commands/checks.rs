//! `kubectl cwii checks`: the catalogue.

use clap::Args;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use cwii_checks::{
    catalogue,
    output::reference::{Catalogue, Check},
};

use crate::{cli::Format, commands::Context, exit::ExitStatus, problem::Problem};

/// List every check: its code, severity and what it finds.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # List all checks
  kubectl cwii checks

  # List the checks of one group, as JSON
  kubectl cwii checks TOK -o json

  # List what each check looks at as well
  kubectl cwii checks AWS -o wide

Output formats: human, wide, name, json, yaml")]
pub(crate) struct Checks {
    /// Groups, such as POD or TOK, codes, or names; all if omitted
    #[arg(value_name = "GROUP|CODE|NAME")]
    pub(crate) only: Vec<String>,

    /// When using a table, don't print headers
    #[arg(long)]
    pub(crate) no_headers: bool,
}

/// Columns of a page.
const WIDTH: u16 = 100;

pub(crate) async fn run(arguments: &Checks, context: &mut Context) -> anyhow::Result<ExitStatus> {
    let format = context.format(&[
        Format::Human,
        Format::Wide,
        Format::Name,
        Format::Json,
        Format::Yaml,
    ])?;
    let catalogue = selected(&arguments.only)?;
    let out = match format {
        Format::Json => catalogue.json(),
        Format::Yaml => catalogue.yaml(),
        Format::Name => catalogue
            .checks
            .iter()
            .map(|check| format!("{}\n", check.code))
            .collect(),
        _ => table(
            &catalogue.checks,
            format == Format::Wide,
            !arguments.no_headers,
        ),
    };
    context.terminal.line(out.trim_end());
    Ok(ExitStatus::Success)
}

/// The checks that are meant; all without words.
fn selected(only: &[String]) -> Result<Catalogue, Problem> {
    let means = |word: &str, entry: &catalogue::Entry| {
        [entry.code, entry.name, entry.group()]
            .iter()
            .any(|own| own.eq_ignore_ascii_case(word))
    };
    for word in only {
        if !catalogue::entries().any(|entry| means(word, entry)) {
            let mut groups: Vec<_> = catalogue::entries().map(catalogue::Entry::group).collect();
            groups.dedup();
            return Err(Problem::new(format!(
                "`{word}` is no group, code or name of a check, expected a group such as {}",
                groups.join(", ")
            ))
            .help("`kubectl cwii checks` lists all of them"));
        }
    }
    Ok(Catalogue::of(|entry| {
        only.is_empty() || only.iter().any(|word| means(word, entry))
    }))
}

fn table(checks: &[Check], wide: bool, headers: bool) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(if wide { 2 * WIDTH } else { WIDTH });
    if headers {
        let mut header = vec!["CODE", "SEVERITY", "STAGE", "NAME", "FINDS"];
        if wide {
            header.extend(["LOOKS AT", "ASK WITH"]);
        }
        table.set_header(header);
    }
    for check in checks {
        let mut row = vec![
            check.code.to_owned(),
            check.severity.name().to_owned(),
            check.stage.name().to_owned(),
            check.name.to_owned(),
            check.title.to_owned(),
        ];
        if wide {
            row.push(match &check.settled_elsewhere {
                Some(place) => place.clone(),
                None => check.needs.join(", "),
            });
            row.push(check.flags.join(" "));
        }
        table.add_row(row);
    }
    // Codes and names are typed again, so they stay in one piece.
    for column in table.column_iter_mut().take(4) {
        column.set_constraint(ColumnConstraint::ContentWidth);
        column.set_padding((0, 2));
    }
    if let Some(column) = table.column_mut(4) {
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(24)));
        column.set_padding((0, if wide { 2 } else { 0 }));
    }
    let text = table.to_string();
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}
