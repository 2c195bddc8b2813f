//! Why a command cannot do what was asked, and what helps.

use std::{fmt, io};

/// An error with its help. The message says what was expected, what was found and where; what to do stands in the help.
#[derive(Debug)]
pub(crate) struct Problem {
    message: String,
    help: Vec<String>,
}

impl Problem {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: Vec::new(),
        }
    }

    /// Adds a line of help; a command to paste begins with two blanks.
    pub(crate) fn help(mut self, line: impl Into<String>) -> Self {
        self.help.push(line.into());
        self
    }

    pub(crate) fn lines(&self) -> &[String] {
        &self.help
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

/// What the system says, without its number.
pub(crate) fn described(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" (os error ") {
        Some((text, _)) => text.to_lowercase(),
        None => text.to_lowercase(),
    }
}
