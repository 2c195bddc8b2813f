//! Command lines that cannot run here: whether the programs would take them.
//!
//! What stands in ```` ```sh ```` blocks speaks to clusters and clouds. Its lines that call our own programs go through
//! the very parsers of these, and the values of `helm` lines through the chart.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use clap::CommandFactory as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Checks the calls of our own programs in a script, and says how many there were.
///
/// # Errors
///
/// What each refused call is, and why.
pub(super) fn check(script: &str, helm: &Helm) -> (usize, Vec<String>) {
    let mut checked = 0;
    let mut problems = Vec::new();
    for line in commands(script) {
        let words = match shell_words::split(&line) {
            Ok(words) => words,
            Err(error) => {
                problems.push(format!("`{line}`: {error}"));
                continue;
            }
        };
        let words = called(words);
        let Some((program, arguments)) = words.split_first() else {
            continue;
        };
        let result = match (program.rsplit('/').next().unwrap_or(program), arguments) {
            ("kubectl", [cwii, rest @ ..]) if cwii == "cwii" => plugin(rest),
            ("kubectl-cwii" | "cwii", rest) => plugin(rest),
            ("cwii-agent", rest) => parse(cwii_agent::cli::Cli::command(), "cwii-agent", rest),
            ("cwii-webhook", rest) => parse(cwii_webhook::cli::command(), "cwii-webhook", rest),
            ("helm", rest) => helm.check(rest),
            _ => continue,
        };
        checked += 1;
        if let Err(problem) = result {
            problems.push(format!("`{}`: {problem}", line.trim()));
        }
    }
    (checked, problems)
}

fn plugin(arguments: &[String]) -> Result<(), String> {
    parse(kubectl_cwii::command(), "kubectl cwii", arguments)
}

fn parse(command: clap::Command, name: &str, arguments: &[String]) -> Result<(), String> {
    let words = std::iter::once(name.to_owned()).chain(arguments.iter().cloned());
    match command.try_get_matches_from(words) {
        Ok(_) => Ok(()),
        Err(error) if !error.use_stderr() => Ok(()),
        Err(error) if is_about_a_variable(&error) => Ok(()),
        Err(error) => Err(error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()),
    }
}

/// The shell would have put something else in its place.
fn is_about_a_variable(error: &clap::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation
    ) && matches!(error.get(ContextKind::InvalidValue), Some(ContextValue::String(value)) if value.contains('$'))
}

/// The chart, and Helm to ask about it; without both, only that a verb is one of Helm's.
pub(super) struct Helm<'a> {
    /// The program.
    pub(super) program: Option<&'a Path>,
    /// The chart's folder.
    pub(super) chart: &'a Path,
}

impl Helm<'_> {
    fn check(&self, arguments: &[String]) -> Result<(), String> {
        const VERBS: [&str; 14] = [
            "install",
            "upgrade",
            "uninstall",
            "template",
            "test",
            "lint",
            "show",
            "pull",
            "list",
            "status",
            "history",
            "rollback",
            "registry",
            "get",
        ];
        let verb = arguments.first().map(String::as_str).unwrap_or_default();
        if !VERBS.contains(&verb) {
            return Err(format!("`{verb}` is no verb of Helm"));
        }
        let Some(program) = self.program else {
            return Ok(());
        };
        if !["install", "upgrade", "template"].contains(&verb) || !self.chart.is_dir() {
            return Ok(());
        }
        // The values that are named on the line; a file of them is the reader's.
        let mut values = Vec::new();
        let mut rest = arguments.iter();
        while let Some(word) = rest.next() {
            if let Some((flag, value)) = word.split_once('=')
                && flag.starts_with("--set")
                && flag != "--set-file"
            {
                values.extend([flag.to_owned(), value.to_owned()]);
            } else if word == "--set-file" {
                // The file is the reader's.
                rest.next();
            } else if word.starts_with("--set") {
                values.push(word.clone());
                values.extend(rest.next().cloned());
            }
        }
        let output = Command::new(program)
            .args(["template", "cwii"])
            .arg(self.chart)
            .args(["--namespace", "cwii-system"])
            .args(values)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr)
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" "))
        }
    }
}

/// The simple commands of a script: without comments and here-documents, at the shell's operators, on one line each.
fn commands(script: &str) -> Vec<String> {
    let script = without_documents(script).replace("\\\n", " ");
    let mut out = vec![String::new()];
    let mut quote: Option<char> = None;
    let mut before = '\n';
    let mut characters = script.chars().peekable();
    while let Some(c) = characters.next() {
        let last = out.len() - 1;
        let Some(line) = out.get_mut(last) else { break };
        match (quote, c) {
            (Some(q), c) if c == q => {
                quote = None;
                line.push(c);
            }
            (Some(_), c) => line.push(c),
            (None, '\\') => {
                line.push(c);
                line.extend(characters.next());
            }
            (None, '\'' | '"') => {
                quote = Some(c);
                line.push(c);
            }
            (None, '#') if before.is_whitespace() => {
                while characters.peek().is_some_and(|c| *c != '\n') {
                    characters.next();
                }
            }
            // `2>&1` and `&>` are redirections.
            (None, '&') if before == '>' || characters.peek() == Some(&'>') => line.push(c),
            (None, '\n' | ';' | '|' | '&' | '(' | ')') => out.push(String::new()),
            (None, c) => line.push(c),
        }
        before = c;
    }
    out.retain(|line| !line.trim().is_empty());
    out
}

/// A script without the lines between `<<WORD` and `WORD`.
fn without_documents(script: &str) -> String {
    let mut out = String::new();
    let mut until: Option<String> = None;
    for line in script.lines() {
        if let Some(word) = &until {
            if line.trim() == word {
                until = None;
            }
            continue;
        }
        if let Some((_, rest)) = line.split_once("<<") {
            let word: String = rest
                .trim_start_matches(['-', ' ', '\'', '"'])
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            if !word.is_empty() && !rest.starts_with('<') {
                until = Some(word);
            }
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// The program and its arguments: without the shell's words, assignments and redirections.
fn called(words: Vec<String>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next() {
        let is_lead = out.is_empty()
            && ([
                "if", "while", "until", "then", "do", "else", "!", "{", "time", "sudo", "env",
                "exec", "$",
            ]
            .contains(&word.as_str())
                || is_assignment(&word));
        if is_lead {
            continue;
        }
        let redirection = word.trim_start_matches(|c: char| c.is_ascii_digit() || c == '&');
        if let Some(target) = redirection.strip_prefix(['>', '<']) {
            if target.trim_start_matches(['>', '<', '&']).is_empty() {
                words.next();
            }
            continue;
        }
        out.push(word);
    }
    out
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(script: &str) -> (usize, Vec<String>) {
        let helm = Helm {
            program: None,
            chart: Path::new(""),
        };
        check(script, &helm)
    }

    fn problems(script: &str) -> Vec<String> {
        outcome(script).1
    }

    #[test]
    fn calls_are_found_wherever_a_shell_would_find_them() {
        let script = "# kubectl cwii nonsense\nA=1 kubectl cwii checks | head -1 && cwii version; x=$(kubectl cwii explain TOK03)\n\
                      kubectl get pods > f 2>&1\ncat <<E\ncwii nonsense\nE\nkubectl cwii doctor \\\n  pod x # why\n";
        let (checked, problems) = outcome(script);
        assert_eq!((checked, problems), (4, Vec::<String>::new()));
    }

    #[test]
    fn what_a_program_would_refuse_is_a_problem() {
        assert_eq!(problems("kubectl cwii doctor --nonsense").len(), 1);
        assert_eq!(problems("cwii nonsense").len(), 1);
        assert_eq!(problems("cwii-agent verify aws --enforced").len(), 1);
        assert_eq!(problems("cwii-webhook --aws-enabled=perhaps").len(), 1);
        assert_eq!(problems("helm instal cwii").len(), 1);
        assert!(problems("kubectl cwii doctor --now \"$NOW\"").is_empty());
        assert!(problems("kubectl cwii doctor -h").is_empty());
    }
}
