//! Arguments before clap reads them: how they fall into commands, flags and values, and the secrets among them.
//!
//! A token in an argument is seen by everybody who may list processes and stays in the shell's history. It is refused
//! before anything could repeat it, clap's error messages included.

use std::ffi::OsString;

use clap::{Arg, Command};

use crate::{
    cli::{self, Program},
    problem::Problem,
};

/// Where in the command line the next word stands.
pub(crate) struct Position<'c> {
    /// The command that the words so far name.
    pub(crate) command: &'c Command,
    /// Flag whose value the next word is.
    pub(crate) pending: Option<&'c Arg>,
    /// How many positional arguments came.
    pub(crate) positionals: usize,
    /// Whether `--` came.
    pub(crate) only_positionals: bool,
}

/// What a word is.
pub(crate) enum Word<'c, 'w> {
    /// A flag by its name without dashes, and the definition if the command has it.
    Long(&'w str, Option<&'c Arg>),
    /// Anything else.
    Other,
}

impl<'c> Position<'c> {
    pub(crate) fn new(command: &'c Command) -> Self {
        Self {
            command,
            pending: None,
            positionals: 0,
            only_positionals: false,
        }
    }

    /// Moves past a word.
    pub(crate) fn pass<'w>(&mut self, word: &'w str) -> Word<'c, 'w> {
        if self.pending.take().is_some() {
            return Word::Other;
        }
        if self.only_positionals || word == "-" || !word.starts_with('-') {
            match self.command.find_subcommand(word) {
                Some(subcommand) if !self.only_positionals && self.positionals == 0 => {
                    self.command = subcommand;
                }
                _ => self.positionals += 1,
            }
            return Word::Other;
        }
        if word == "--" {
            self.only_positionals = true;
            return Word::Other;
        }
        if let Some(long) = word.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (long, None),
            };
            let flag = self.flag(|flag| flag.get_long() == Some(name));
            self.pending = flag.filter(|flag| value.is_none() && takes_next_word(flag));
            return Word::Long(name, flag);
        }
        // Short flags may stand together; the first that takes a value takes the rest.
        for (index, letter) in word.char_indices().skip(1) {
            let flag = self.flag(|flag| flag.get_short() == Some(letter));
            if let Some(flag) = flag.filter(|flag| takes_next_word(flag)) {
                if index + letter.len_utf8() == word.len() {
                    self.pending = Some(flag);
                }
                break;
            }
        }
        Word::Other
    }

    fn flag(&self, is: impl Fn(&Arg) -> bool) -> Option<&'c Arg> {
        self.command.get_arguments().find(|flag| is(flag))
    }
}

/// Refuses what nobody should put into an argument.
///
/// # Errors
///
/// There is a token, or a flag for one.
pub(crate) fn refuse_secrets(program: Program, arguments: &[OsString]) -> Result<(), Problem> {
    let words: Vec<_> = arguments
        .iter()
        .map(|word| word.to_string_lossy())
        .collect();
    if let Some(index) = words.iter().position(|word| holds_token(word)) {
        return Err(Problem::new(format!(
            "argument {} holds a token, expected a file or `-` for standard input: arguments are visible to other users \
             and stay in the shell's history",
            index + 1
        ))
        .help("name a file, or pipe the token in; treat this one as disclosed"));
    }
    let command = cli::command(program);
    let mut position = Position::new(&command);
    for word in &words {
        let refused = match position.pass(word) {
            Word::Long(name @ ("token" | "password"), None) => name,
            _ => continue,
        };
        return Err(Problem::new(format!(
            "`--{refused}` is not accepted: arguments are visible to other users and stay in the shell's history"
        ))
        .help("name a user of the kubeconfig with --user, or a kubeconfig with --kubeconfig; it may hold")
        .help("`tokenFile`, or `exec` with a program that prints credentials"));
    }
    Ok(())
}

/// Puts the global flags that stand before a command behind it. clap takes them in either place, but where a repeated one
/// stands in both it forgets the first.
pub(crate) fn reordered(program: Program, arguments: Vec<OsString>) -> Vec<OsString> {
    let command = cli::command(program);
    let mut position = Position::new(&command);
    let mut kinds = Vec::new();
    let mut last_command = None;
    for (index, word) in arguments.iter().enumerate() {
        let word = word.to_string_lossy();
        let (is_value, before) = (position.pending.is_some(), position.command);
        let passed = position.pass(&word);
        let is_command = !std::ptr::eq(before, position.command);
        if is_command {
            last_command = Some(index);
        }
        let is_global = match passed {
            Word::Long(_, flag) => flag.is_some_and(Arg::is_global_set),
            // A value goes where its flag goes.
            Word::Other if is_value => kinds.last() == Some(&Kind::Global),
            Word::Other => {
                word.starts_with('-')
                    && word.chars().nth(1).is_some_and(|letter| {
                        command
                            .get_arguments()
                            .any(|flag| flag.get_short() == Some(letter) && flag.is_global_set())
                    })
            }
        };
        kinds.push(match (is_command, is_global) {
            (true, _) => Kind::Command,
            (false, true) => Kind::Global,
            (false, false) => Kind::Other,
        });
    }
    let Some(last_command) = last_command else {
        return arguments;
    };
    let mut order: Vec<usize> = (0..arguments.len()).collect();
    order.sort_by_key(|index| match kinds[*index] {
        _ if *index > last_command => 2,
        Kind::Global => 1,
        Kind::Command | Kind::Other => 0,
    });
    order
        .iter()
        .map(|index| arguments[*index].clone())
        .collect()
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    Command,
    Global,
    Other,
}

/// Whether a JWT is anywhere in a text: three parts in base64url, of which the first begins as a JSON object does.
fn holds_token(text: &str) -> bool {
    let is_base64url = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    text.match_indices("ey").any(|(start, _)| {
        let mut parts = text[start..].split('.');
        let Some(header) = parts.next() else {
            return false;
        };
        let Some(payload) = parts.next() else {
            return false;
        };
        header.len() >= 10
            && header.chars().all(is_base64url)
            && payload.len() >= 10
            && payload.chars().all(is_base64url)
            && parts.next().is_some()
    })
}

fn takes_next_word(flag: &Arg) -> bool {
    flag.get_action().takes_values() && !flag.is_require_equals_set()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(arguments: &[&str]) -> Option<String> {
        let arguments: Vec<_> = arguments.iter().map(OsString::from).collect();
        refuse_secrets(Program::Plugin, &arguments)
            .err()
            .map(|problem| problem.to_string())
    }

    #[test]
    fn global_flags_move_behind_the_command_and_nothing_else_does() {
        for (arguments, expected) in [
            (
                "-n a trust --as-group=b check --token c -q",
                "trust check -n a --as-group=b --token c -q",
            ),
            ("-V doctor", "-V doctor"),
            (
                "--context trust -qv 6 doctor x",
                "doctor --context trust -qv 6 x",
            ),
            ("-n a", "-n a"),
            ("--nope x doctor", "--nope x doctor"),
        ] {
            let words = arguments.split(' ').map(OsString::from).collect();
            let moved: Vec<_> = reordered(Program::Plugin, words)
                .iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect();
            assert_eq!(moved.join(" "), expected);
        }
    }

    const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl";

    #[test]
    fn a_token_is_refused_wherever_it_stands_and_not_repeated() {
        let flag = format!("--jwks={JWT}");
        let bearer = format!("Bearer {JWT}");
        let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.";
        for arguments in [
            &[JWT][..],
            &["token", "decode", JWT],
            &["token", "decode", "--", JWT],
            &["--nope", &flag],
            &["explain", &bearer],
            &["token", "decode", unsigned],
        ] {
            let message = refused(arguments).unwrap();
            assert!(!message.contains("eyJ"), "{message}");
        }
        for fine in [
            "they.are.fine",
            "system:serviceaccount:a:b",
            "keyfile.jwt.json",
            "a.b.c",
        ] {
            assert_eq!(refused(&["explain", fine]), None, "{fine}");
        }
    }

    #[test]
    fn the_flag_for_a_token_is_refused_except_where_it_names_a_file() {
        for arguments in [
            &["--token", "x", "doctor"][..],
            &["doctor", "--token=x"],
            &["--context", "trust", "doctor", "--token", "x"],
            &["--token", "x", "trust", "check"],
            &["trust", "suggest", "--token", "x"],
            &["doctor", "--password", "x"],
        ] {
            assert!(refused(arguments).is_some(), "{arguments:?}");
        }
        for arguments in [
            &["trust", "check", "--token", "file"][..],
            &[
                "-n",
                "x",
                "trust",
                "--context",
                "c",
                "check",
                "--token=file",
            ],
            &["-nx", "trust", "check", "--token=file"],
            &["doctor", "--context", "--token"],
            &["doctor", "--", "--token"],
        ] {
            assert_eq!(refused(arguments), None, "{arguments:?}");
        }
    }
}
