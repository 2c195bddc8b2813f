//! Commands as a shell reads them: words, line continuations, here-documents. Nothing else of a shell is known.

use std::collections::BTreeMap;

/// One command.
#[derive(Clone, Debug, Default)]
pub(crate) struct Command {
    /// The words, the program among them, flags not.
    pub(crate) words: Vec<String>,
    /// Flags without their dashes, each with its values.
    pub(crate) flags: BTreeMap<String, Vec<String>>,
    /// What a here-document feeds it.
    pub(crate) input: Option<String>,
    /// The file that its output goes to.
    pub(crate) writes: Option<String>,
    /// As it was written.
    pub(crate) text: String,
}

impl Command {
    pub(crate) fn program(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The words after the program.
    pub(crate) fn arguments(&self) -> Vec<&str> {
        self.words.iter().skip(1).map(String::as_str).collect()
    }

    /// The last value of a flag, by any of its names.
    pub(crate) fn flag(&self, names: &[&str]) -> Option<&str> {
        names
            .iter()
            .find_map(|name| self.flags.get(*name))
            .and_then(|values| values.last())
            .map(String::as_str)
    }

    pub(crate) fn need(&self, names: &[&str]) -> Result<&str, String> {
        self.flag(names)
            .ok_or_else(|| format!("no `{}` in `{}`", names[0], self.text))
    }

    /// All values of a flag: repeated, several words, or with commas.
    pub(crate) fn list(&self, names: &[&str]) -> Option<Vec<String>> {
        let values: Vec<_> = names
            .iter()
            .filter_map(|name| self.flags.get(*name))
            .collect();
        if values.is_empty() {
            return None;
        }
        Some(
            values
                .into_iter()
                .flatten()
                .flat_map(|value| value.split(','))
                .map(|value| value.trim().to_owned())
                .filter(|value| !value.is_empty())
                .collect(),
        )
    }

    /// Whether only these flags are there: a flag that is passed over might have changed what the command does.
    pub(crate) fn only(&self, names: &[&str]) -> Result<(), String> {
        match self
            .flags
            .keys()
            .find(|flag| !names.contains(&flag.as_str()))
        {
            Some(flag) => Err(format!(
                "the interpreter knows no flag `{flag}` in `{}`",
                self.text
            )),
            None => Ok(()),
        }
    }
}

/// The commands of a text.
pub(crate) fn commands(text: &str) -> Result<Vec<Command>, String> {
    let mut commands = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut whole = line.trim_end().to_owned();
        while whole.ends_with('\\') {
            whole.pop();
            whole.push_str(lines.next().unwrap_or_default().trim_end());
        }
        // A quoted text may go on on the next line.
        while shell_words::split(&whole).is_err() {
            let Some(next) = lines.next() else {
                return Err(format!("a quote without an end in `{whole}`"));
            };
            whole.push('\n');
            whole.push_str(next);
        }
        if whole.trim().is_empty() || whole.trim_start().starts_with('#') {
            continue;
        }
        let (head, input) = match whole.split_once("<<") {
            Some((head, word)) => {
                let word = word.trim().trim_start_matches('-');
                let (word, rest) = word.split_once(' ').unwrap_or((word, ""));
                let end = word.trim_matches(['\'', '"']).to_owned();
                let mut body = String::new();
                loop {
                    match lines.next() {
                        Some(line) if line.trim() == end => break,
                        Some(line) => {
                            body.push_str(line);
                            body.push('\n');
                        }
                        None => return Err(format!("no `{end}` at the end of `{text}`")),
                    }
                }
                (format!("{head} {rest}"), Some(body))
            }
            None => (whole.clone(), None),
        };
        commands.push(command(&head, input, &whole)?);
    }
    Ok(commands)
}

fn command(head: &str, input: Option<String>, text: &str) -> Result<Command, String> {
    let mut words = shell_words::split(head)
        .map_err(|error| format!("{error} in `{text}`"))?
        .into_iter()
        .peekable();
    let mut command = Command {
        input,
        text: text.to_owned(),
        ..Command::default()
    };
    while let Some(word) = words.next() {
        if matches!(word.as_str(), "|" | "&&" | "||" | ";" | "&") || word.starts_with("$(") {
            return Err(format!("the interpreter knows no `{word}` in `{text}`"));
        }
        if word == ">" {
            command.writes = words.next();
            continue;
        }
        let is_number = word[1.min(word.len())..].starts_with(|c: char| c.is_ascii_digit());
        if word == "-" || !word.starts_with('-') || is_number {
            command.words.push(word);
            continue;
        }
        let flag = word.trim_start_matches('-');
        if let Some((flag, value)) = flag.split_once('=') {
            let values = command.flags.entry(flag.to_owned()).or_default();
            values.push(value.to_owned());
            continue;
        }
        let values = command.flags.entry(flag.to_owned()).or_default();
        if SWITCHES.contains(&flag) {
            continue;
        }
        // The AWS CLI and az take several words after some flags.
        let several = SEVERAL.contains(&flag);
        while let Some(next) = words.peek() {
            if next.starts_with('-') && next.len() > 1 && !next.contains(' ') {
                break;
            }
            values.extend(words.next());
            if !several {
                break;
            }
        }
    }
    Ok(command)
}

/// Flags that stand alone.
const SWITCHES: &[&str] = &[
    "overwrite",
    "no-disabled",
    "enable-oidc-issuer",
    "enable-workload-identity",
    "wait",
    "all",
    "yes",
    "quiet",
    "y",
    "no-cli-pager",
];

/// Flags with any number of words.
const SEVERAL: &[&str] = &["client-id-list", "thumbprint-list", "audiences"];
