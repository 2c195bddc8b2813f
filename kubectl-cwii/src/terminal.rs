//! The one place that writes to standard output and standard error.
//!
//! Standard output carries what was asked for and nothing else; what is said on the way goes to standard error.

use std::io::{self, IsTerminal as _, Write as _};

use cwii_agent::output::printable;

use crate::{cli::Color, exit::ExitStatus};

/// Writes lines, with colour where that is wanted. Once nobody reads any more it writes nothing and says so, so that
/// commands end as they should: quietly, successfully, and cleaned up.
#[derive(Debug)]
pub(crate) struct Terminal {
    color: bool,
    unicode: bool,
    quiet: bool,
    closed: bool,
    status: Status,
}

/// What the line of progress says, where there is one.
#[derive(Debug, Default)]
struct Status {
    /// Whether standard error is a terminal on which a line can be written over.
    live: bool,
    text: String,
    frame: usize,
    shown: bool,
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
    pub(crate) fn new(color: Color, quiet: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let color = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => io::stdout().is_terminal() && !is_set("NO_COLOR") && !dumb,
        };
        Self {
            color,
            unicode: !dumb && locale_is_utf8(),
            quiet,
            closed: false,
            status: Status {
                live: io::stderr().is_terminal() && !dumb,
                ..Status::default()
            },
        }
    }

    /// Whether nobody reads standard output any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether text may be coloured.
    pub(crate) fn has_color(&self) -> bool {
        self.color
    }

    /// Whether characters beyond ASCII can be expected to show.
    pub(crate) fn has_unicode(&self) -> bool {
        self.unicode
    }

    /// Writes a line, or a document of several, to standard output.
    pub(crate) fn line(&mut self, text: &str) {
        self.clear();
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

    /// Writes to standard error, also when quiet. What a terminal would obey is escaped, line ends excepted.
    pub(crate) fn error(&mut self, text: &str) {
        self.clear();
        let mut out = io::stderr().lock();
        for line in text.split('\n') {
            let _ = out
                .write_all(printable(line).as_bytes())
                .and_then(|()| out.write_all(b"\n"));
        }
    }

    /// Writes a warning or a remark to standard error, unless quiet.
    pub(crate) fn note(&mut self, text: &str) {
        if !self.quiet {
            self.error(text);
        }
    }

    /// Says what is waited for: on a terminal a line that turns and is written over, elsewhere one line per state.
    pub(crate) fn progress(&mut self, text: &str) {
        if self.quiet {
            return;
        }
        if !self.status.live {
            if self.status.text != text {
                text.clone_into(&mut self.status.text);
                self.error(text);
            }
            return;
        }
        let frames: &[&str] = if self.unicode {
            &["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"]
        } else {
            &["|", "/", "-", "\\"]
        };
        let frame = frames[self.status.frame % frames.len()];
        self.status.frame += 1;
        self.status.shown = true;
        let mut out = io::stderr().lock();
        let _ = write!(out, "\r\u{1b}[K{frame} {}", printable(text)).and_then(|()| out.flush());
    }

    /// What clap has to say: help on standard output, errors on standard error.
    pub(crate) fn clap(&mut self, error: &clap::Error) -> ExitStatus {
        // Arguments that clap repeats are escaped like anything else.
        let text = error.render().to_string();
        if error.use_stderr() {
            self.error(text.trim_end());
            ExitStatus::Usage
        } else {
            self.line(text.trim_end());
            ExitStatus::Success
        }
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

    /// Takes the line of progress away.
    fn clear(&mut self) {
        if std::mem::take(&mut self.status.shown) {
            let mut out = io::stderr().lock();
            let _ = out.write_all(b"\r\x1b[K").and_then(|()| out.flush());
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Writes a line of log to standard error, from wherever something is logged.
pub(crate) fn log(text: &str) {
    let mut out = io::stderr().lock();
    let _ = out
        .write_all(printable(text).as_bytes())
        .and_then(|()| out.write_all(b"\n"));
}

/// Text wrapped at words, each line indented. A word longer than the line stands alone.
pub(crate) fn wrapped(text: &str, indent: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines
            .last_mut()
            .map(|line| line.chars().count())
            .unwrap_or_default();
        if line > 0 && indent + line + 1 + word.chars().count() > WIDTH {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    let indent = " ".repeat(indent);
    lines
        .iter()
        .map(|line| format!("{indent}{line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// The first of these that is set decides (POSIX, "Environment Variables"). None set is the C locale, in which all the
/// same most terminals of today show UTF-8, and what is piped goes to programs that expect it.
fn locale_is_utf8() -> bool {
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .is_none_or(|locale| {
            let locale = locale.to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        })
}

/// Width that text is wrapped to, columns.
const WIDTH: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_at_words_and_long_words_are_left_whole() {
        let url = "x".repeat(120);
        let text = format!("{} {url} end", "word ".repeat(30).trim_end());
        let lines: Vec<String> = wrapped(&text, 4).lines().map(str::to_owned).collect();
        assert!(
            lines
                .iter()
                .all(|line| line.len() <= WIDTH || line.trim() == url)
        );
        assert_eq!(lines.last().unwrap(), "    end");
    }
}
