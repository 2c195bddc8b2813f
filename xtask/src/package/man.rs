//! Man pages, from the flags themselves.

use std::{fmt::Write as _, io::Write as _};

use anyhow::{Context as _, Result};
use clap::Command;
use clap_mangen::Man;
use jiff::Timestamp;

use super::{Program, Release};

/// A page for a program and for each of its commands, by file name.
pub(super) fn pages(program: &Program, release: &Release) -> Result<Vec<(String, Vec<u8>)>> {
    let date = Timestamp::from_second(i64::try_from(release.time)?)?
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date()
        .to_string();
    let mut command = (program.command)().disable_help_subcommand(true);
    command.build();
    // Help lists the flags of all commands apart, as kubectl does; here their place is the program's page.
    let command = command.mut_args(|arg| {
        let hide = arg.is_hide_set() && !arg.is_global_set();
        arg.hide(hide)
    });
    let mut pages = Vec::new();
    let book = Book {
        date,
        version: release.version,
    };
    book.page(&command, program.name, None, &mut pages)?;
    Ok(pages)
}

struct Book {
    date: String,
    version: &'static str,
}

impl Book {
    fn page(
        &self,
        command: &Command,
        name: &str,
        above: Option<&str>,
        pages: &mut Vec<(String, Vec<u8>)>,
    ) -> Result<()> {
        let mut see_also: Vec<String> = above.iter().map(|name| (*name).to_owned()).collect();
        for subcommand in command.get_subcommands().filter(|c| !c.is_hide_set()) {
            let below = format!("{name}-{}", subcommand.get_name());
            self.page(subcommand, &below, Some(name), pages)?;
            see_also.push(below);
        }
        let man = Man::new(command.clone().display_name(name.to_owned()))
            .title(name.to_uppercase())
            .section("1")
            .date(&self.date)
            .source(format!("cwii {}", self.version))
            .manual("cwii");
        let mut page = Vec::new();
        man.render_title(&mut page)?;
        man.render_name_section(&mut page)?;
        man.render_synopsis_section(&mut page)?;
        man.render_description_section(&mut page)?;
        if command.get_arguments().any(|arg| !arg.is_hide_set()) {
            man.render_options_section(&mut page)?;
        }
        if command.get_subcommands().any(|c| !c.is_hide_set()) {
            man.render_subcommands_section(&mut page)?;
        }
        let mut rest = String::new();
        if let Some(text) = command.get_after_help() {
            let text = text.to_string();
            let (heading, lines) = text.split_once('\n').context("one line after the help")?;
            let heading = heading.trim_end_matches(':').to_uppercase();
            writeln!(rest, ".SH {heading}\n.nf")?;
            for line in lines.lines() {
                writeln!(
                    rest,
                    "{}",
                    verbatim(line.strip_prefix("  ").unwrap_or(line))
                )?;
            }
            writeln!(rest, ".fi")?;
        }
        if !see_also.is_empty() {
            see_also.sort();
            let list: Vec<_> = see_also
                .iter()
                .map(|n| format!("{}(1)", verbatim(n)))
                .collect();
            writeln!(rest, ".SH \"SEE ALSO\"\n{}", list.join(",\n"))?;
        }
        page.write_all(rest.as_bytes())?;
        let page = without_empty_breaks(&String::from_utf8(page)?);
        pages.push((format!("{name}.1"), page.into_bytes()));
        Ok(())
    }
}

/// A line break beside vertical space does nothing, and mandoc says so.
fn without_empty_breaks(page: &str) -> String {
    let lines: Vec<_> = page.lines().collect();
    let is_space = |index: Option<usize>| {
        let line = index.and_then(|index| lines.get(index));
        line.is_some_and(|line| matches!(*line, "" | ".sp"))
    };
    lines
        .iter()
        .enumerate()
        .filter(|(index, line)| {
            **line != ".br" || !(is_space(index.checked_sub(1)) || is_space(Some(index + 1)))
        })
        .flat_map(|(_, line)| [line, "\n"])
        .collect()
}

/// A line as it stands, for roff.
fn verbatim(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-");
    if line.starts_with(['.', '\'']) {
        format!("\\&{line}")
    } else {
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaks_beside_space_go_and_others_stay() {
        assert_eq!(
            without_empty_breaks("a\n.br\nb\n.br\n\n.br\nc\n.br\n.sp\n"),
            "a\n.br\nb\n\nc\n.sp\n"
        );
    }

    #[test]
    fn what_roff_would_obey_is_escaped() {
        assert_eq!(verbatim(".. --a 'b' \\"), "\\&.. \\-\\-a 'b' \\e");
    }
}
