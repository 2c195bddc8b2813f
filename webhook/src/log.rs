//! The one place that writes: log lines, to standard error.
//!
//! Lines are gathered in memory, and a thread of its own writes what has come together every few milliseconds: an
//! admission pays for no system call. Where the reader of the log is slow, lines are dropped and counted rather than
//! admissions held up. Only our own events are shown: what the HTTP libraries trace are headers and bodies.

use std::{
    io::{self, Write},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use clap::ValueEnum;
use tracing::warn;
use tracing_subscriber::{
    Layer as _, filter::Targets, fmt, fmt::MakeWriter, layer::SubscriberExt as _, registry,
};

/// `--log-level`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum LogLevel {
    /// What stops the webhook from doing its work.
    Error,
    /// What went wrong and is tried again, denied pods, requests that could not be answered.
    Warn,
    /// Injections too, and the course of the process.
    #[default]
    Info,
    /// Pods that were let through as well.
    Debug,
}

/// `--log-format`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    #[default]
    Json,
}

/// The log of the process. Dropping it writes what has come together.
#[derive(Debug)]
pub struct Log {
    lines: Lines,
    writer: Option<JoinHandle<()>>,
}

impl Log {
    /// Starts to write events of our own crates, from `level` on, to standard error.
    ///
    /// # Errors
    ///
    /// No thread could be started.
    pub fn start(level: LogLevel, format: LogFormat) -> io::Result<Self> {
        let lines = Lines::default();
        let taken = lines.clone();
        let writer = std::thread::Builder::new()
            .name("log".into())
            .spawn(move || write_lines(&taken, &mut io::stderr().lock()))?;
        let filter = Targets::new().with_target("cwii", level.as_tracing());
        let layer = fmt::layer().with_writer(lines.clone()).with_ansi(false);
        // Fails only where one is installed already, as in tests.
        let _ = match format {
            LogFormat::Text => {
                tracing::subscriber::set_global_default(registry().with(layer.with_filter(filter)))
            }
            LogFormat::Json => tracing::subscriber::set_global_default(
                registry().with(layer.json().flatten_event(true).with_filter(filter)),
            ),
        };
        Ok(Self {
            lines,
            writer: Some(writer),
        })
    }

    /// The count of lines that were dropped because nobody read them.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.lines.0.dropped.clone()
    }
}

/// A count of dropped lines that goes on.
#[derive(Clone, Debug, Default)]
pub struct Dropped(Arc<AtomicU64>);

impl Dropped {
    /// Number of lines since start.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.lines.gathered().ended = true;
        self.lines.0.wake.notify_one();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// Says on standard error why the process cannot start, before there is a log.
pub fn last_words(text: &str) {
    let mut out = io::stderr().lock();
    // Nobody is left to be told of a failure.
    let _ = out.write_all(text.as_bytes());
    if !text.ends_with('\n') {
        let _ = out.write_all(b"\n");
    }
}

/// Help and version, on standard output.
pub fn answer(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// Text from outside, safe to print: control characters, line ends and text direction marks escaped.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_printable(c) {
            out.push(c);
        } else {
            out.extend(c.escape_default());
        }
    }
    out
}

impl LogLevel {
    fn as_tracing(self) -> tracing::Level {
        match self {
            Self::Error => tracing::Level::ERROR,
            Self::Warn => tracing::Level::WARN,
            Self::Info => tracing::Level::INFO,
            Self::Debug => tracing::Level::DEBUG,
        }
    }
}

/// Lines on their way to the writer.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    gathered: Mutex<Gathered>,
    wake: Condvar,
    dropped: Dropped,
}

#[derive(Debug, Default)]
struct Gathered {
    text: Vec<u8>,
    ended: bool,
}

impl Lines {
    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.0
            .gathered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Lines {
    /// tracing-subscriber writes each event at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut gathered = self.gathered();
        if gathered.text.len() + line.len() > MAX_GATHERED {
            self.0.dropped.0.fetch_add(1, Ordering::Relaxed);
            return Ok(line.len());
        }
        let first = gathered.text.is_empty();
        gathered.text.extend_from_slice(line);
        drop(gathered);
        if first {
            self.0.wake.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn write_lines(lines: &Lines, out: &mut impl Write) {
    let mut told = 0;
    let mut text = Vec::new();
    loop {
        let mut gathered = lines.gathered();
        while gathered.text.is_empty() && !gathered.ended {
            let woken = lines.0.wake.wait(gathered);
            gathered = woken.unwrap_or_else(PoisonError::into_inner);
        }
        if !gathered.ended {
            // One line seldom comes alone. The end is waited for as well.
            let woken = lines
                .0
                .wake
                .wait_timeout_while(gathered, GATHER, |gathered| !gathered.ended);
            gathered = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::swap(&mut gathered.text, &mut text);
        let ended = gathered.ended;
        drop(gathered);
        // A closed pipe is no reason to stop admitting pods.
        let _ = out.write_all(&text);
        text.clear();
        text.shrink_to(KEPT);
        let lost = lines.0.dropped.count();
        if lost > told {
            told = lost;
            // It comes back as a line with the next round.
            warn!(dropped = lost, "log lines were dropped");
        }
        if ended {
            let _ = out.flush();
            return;
        }
    }
}

fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
}

/// All the memory that a reader who does not read can cost; some thousands of lines.
const MAX_GATHERED: usize = 1024 * 1024;
/// What stays allocated.
const KEPT: usize = 64 * 1024;
/// How long lines are gathered.
const GATHER: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(
            printable("a\u{1b}[31mb\u{202E}c\nd é"),
            "a\\u{1b}[31mb\\u{202e}c\\nd é"
        );
    }

    #[test]
    fn a_slow_reader_costs_lines_and_no_more_memory() {
        let mut lines = Lines::default();
        let line = [b'x'; MAX_GATHERED / 2];
        for _ in 0..5 {
            lines.write_all(&line).unwrap();
        }
        lines.gathered().ended = true;
        let mut out = Vec::new();
        write_lines(&lines, &mut out);
        assert_eq!(out.len(), MAX_GATHERED);
        assert_eq!(lines.0.dropped.count(), 3);
    }
}
