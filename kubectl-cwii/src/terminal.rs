//! The one place that writes to standard output and standard error.

use std::io::{self, IsTerminal as _, Write as _};

use crate::cli::Color;

/// Writes lines, with colour where that is wanted. Once nobody reads any more it writes nothing and says so, so that
/// commands end as they should: quietly, successfully, and cleaned up.
#[derive(Debug)]
pub(crate) struct Terminal {
    color: bool,
    closed: bool,
}

/// What a piece of text is, for colour. Without colour it says the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Tone {
    Strong,
    Good,
    Bad,
    Warning,
    Faint,
}

impl Terminal {
    pub(crate) fn new(color: Color) -> Self {
        let color = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                let set = |name| std::env::var_os(name).is_some_and(|v| !v.is_empty());
                io::stdout().is_terminal()
                    && !set("NO_COLOR")
                    && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
            }
        };
        Self {
            color,
            closed: false,
        }
    }

    /// Whether nobody reads standard output any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn line(&mut self, text: &str) {
        if self.closed {
            return;
        }
        let mut out = io::stdout().lock();
        self.closed = out
            .write_all(text.as_bytes())
            .and_then(|()| out.write_all(b"\n"))
            .and_then(|()| out.flush())
            .is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
    }

    pub(crate) fn error(&mut self, text: &str) {
        let mut out = io::stderr().lock();
        let _ = out
            .write_all(text.as_bytes())
            .and_then(|()| out.write_all(b"\n"));
    }

    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.color {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Strong => "1",
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Warning => "33",
            Tone::Faint => "2",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}
