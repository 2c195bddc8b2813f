//! Commands, their flags, variables and defaults, from the parsers that read them.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command, builder::StyledStr};

use super::{cell, prose as markdown};

/// A page on a program: what it is, its flags, its commands with theirs.
pub(super) fn page(title: &str, mut command: Command, introduction: &str) -> String {
    command.build();
    let mut out = format!("# {title}\n\n{}\n\n{introduction}\n", super::GENERATED);
    flags(&mut out, &command, "##");
    let shared: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| arg.is_global_set())
        .collect();
    for sub in command.get_subcommands() {
        section(&mut out, sub, "##");
    }
    if !shared.is_empty() {
        let _ = writeln!(
            out,
            "\n## Flags of every command\n\nBefore and after the command's name.\n"
        );
        table(&mut out, &shared);
    }
    out
}

fn section(out: &mut String, command: &Command, level: &str) {
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let name = command
        .get_bin_name()
        .unwrap_or_else(|| command.get_name())
        .to_owned();
    let _ = writeln!(out, "\n{level} {name}\n");
    if let Some(about) = command.get_long_about().or_else(|| command.get_about()) {
        let _ = writeln!(out, "{}\n", sentence(&on_one_line(about)));
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    let _ = writeln!(out, "```text\n{usage}\n```");
    flags(out, command, &format!("{level}#"));
    if let Some(examples) = command
        .get_after_help()
        .map(ToString::to_string)
        .and_then(|text| text.strip_prefix("Examples:\n").map(str::to_owned))
    {
        let (examples, rest) = match examples.split_once("\n\nOutput formats:") {
            Some((examples, formats)) => (examples.to_owned(), Some(formats.trim().to_owned())),
            None => (examples, None),
        };
        let (lines, around): (Vec<&str>, Vec<&str>) = examples
            .lines()
            .partition(|line| line.is_empty() || line.starts_with("  "));
        let lines: Vec<&str> = lines
            .iter()
            .map(|l| l.strip_prefix("  ").unwrap_or(l))
            .collect();
        let _ = writeln!(out, "\n```sh\n{}\n```", lines.join("\n").trim());
        if !around.is_empty() {
            let _ = writeln!(out, "\n{}", markdown(&around.join("\n")));
        }
        if let Some(formats) = rest {
            let _ = writeln!(out, "\nOutput formats: {}.", markdown(&formats));
        }
    }
    for sub in command.get_subcommands() {
        section(out, sub, &format!("{level}#"));
    }
}

/// Flags by the headings that the help has.
fn flags(out: &mut String, command: &Command, level: &str) {
    let mut headings: Vec<Option<&str>> = Vec::new();
    let own = |arg: &&Arg| !arg.is_global_set() && !arg.is_hide_set() && !is_common(arg);
    for arg in command.get_arguments().filter(own) {
        if !headings.contains(&arg.get_help_heading()) {
            headings.push(arg.get_help_heading());
        }
    }
    for heading in headings {
        if let Some(heading) = heading {
            let _ = writeln!(out, "\n{level} {heading}");
        }
        out.push('\n');
        let rows: Vec<&Arg> = command
            .get_arguments()
            .filter(own)
            .filter(|arg| arg.get_help_heading() == heading)
            .collect();
        table(out, &rows);
    }
}

fn table(out: &mut String, rows: &[&Arg]) {
    let has_variables = rows.iter().any(|arg| arg.get_env().is_some());
    out.push_str(if has_variables {
        "| flag | variable | default | meaning |\n|---|---|---|---|\n"
    } else {
        "| flag | default | meaning |\n|---|---|---|\n"
    });
    for arg in rows {
        let _ = write!(out, "| `{}` |", spelling(arg));
        if has_variables {
            match arg.get_env() {
                Some(variable) => {
                    let _ = write!(out, " `{}` |", variable.to_string_lossy());
                }
                None => out.push_str(" |"),
            }
        }
        let default = arg
            .get_default_values()
            .iter()
            .map(|value| value.to_string_lossy())
            .collect::<Vec<_>>()
            .join(",");
        if default.is_empty() || !arg.get_action().takes_values() {
            out.push_str(" |");
        } else {
            let _ = write!(out, " `{default}` |");
        }
        let meaning = arg
            .get_long_help()
            .or_else(|| arg.get_help())
            .map(on_one_line)
            .unwrap_or_default();
        let values: Vec<String> = arg
            .get_possible_values()
            .iter()
            .filter(|value| !value.is_hide_set())
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        let values = if values.is_empty()
            || !arg.get_action().takes_values()
            || arg.is_hide_possible_values_set()
        {
            String::new()
        } else {
            format!(" ({})", values.join(", "))
        };
        let _ = writeln!(out, " {}{values} |", cell(&meaning));
    }
}

/// `-o, --output FORMAT`, or `FILE`.
fn spelling(arg: &Arg) -> String {
    let mut names = Vec::new();
    if let Some(short) = arg.get_short() {
        names.push(format!("-{short}"));
    }
    if let Some(long) = arg.get_long() {
        names.push(format!("--{long}"));
    }
    let takes = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
        .then(|| {
            arg.get_value_names()
                .map(|names| {
                    names
                        .iter()
                        .map(|n| n.to_string())
                        .collect::<Vec<_>>()
                        .join(" ")
                })
                .unwrap_or_else(|| arg.get_id().to_string().to_uppercase())
        })
        .unwrap_or_default();
    match (names.is_empty(), takes.is_empty()) {
        (true, _) => takes.replace('|', "\\|"),
        (false, true) => names.join(", "),
        (false, false) => format!("{} {}", names.join(", "), takes.replace('|', "\\|")),
    }
}

fn is_common(arg: &Arg) -> bool {
    matches!(arg.get_id().as_str(), "help" | "version")
}

fn on_one_line(text: &StyledStr) -> String {
    text.to_string()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

fn sentence(text: &str) -> String {
    let text = markdown(text);
    if text.ends_with(['.', ':', '!', '?']) {
        text
    } else {
        format!("{text}.")
    }
}
