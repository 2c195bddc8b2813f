//! The one place that writes: standard output, standard error, the termination message.
//!
//! Texts from clouds and tokens are escaped before they are printed, and a token that somebody sent back to us is
//! cut out of them.

use std::io::{self, Write};
use std::path::Path;

use cwii_checks::facts::Exchange;
pub use cwii_token::text::{printable, printable_lines};

/// Standard output and standard error of the process, with errors swallowed: a closed pipe is no reason to fail a pod.
#[derive(Debug, Default)]
pub struct Output;

impl Output {
    /// Writes to standard output and ends the line.
    pub fn line(&mut self, text: &str) {
        let mut out = io::stdout().lock();
        let _ = out
            .write_all(text.as_bytes())
            .and_then(|()| out.write_all(b"\n"))
            .and_then(|()| out.flush());
    }

    /// Writes to standard error, ending the line where the text does not.
    pub fn error(&mut self, text: &str) {
        let end: &[u8] = if text.is_empty() || text.ends_with('\n') {
            b""
        } else {
            b"\n"
        };
        let mut out = io::stderr().lock();
        let _ = out
            .write_all(text.as_bytes())
            .and_then(|()| out.write_all(end));
    }

    /// Writes the termination message. The kubelet mounts the file; without one (outside a pod) nothing is written.
    /// A file that cannot be written is said on standard error and changes nothing else.
    pub fn termination_message(&mut self, path: &Path, message: &str) {
        let write = || -> io::Result<()> {
            let mut file = match std::fs::OpenOptions::new()
                .write(true)
                .truncate(true)
                .open(path)
            {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            };
            file.write_all(message.as_bytes())?;
            file.flush()
        };
        if let Err(error) = write() {
            self.error(&format!(
                "cwii: the termination message could not be written to {}: {error}",
                path.display()
            ));
        }
    }
}

/// Cuts the presented token, and its signature alone, out of a text: a server may send back what it was sent.
#[must_use]
pub fn scrub(text: &str, exchange: &Exchange) -> String {
    let mut text = text.to_owned();
    if let Some(presented) = &exchange.token {
        for token in presented
            .token
            .as_ref()
            .ok()
            .into_iter()
            .chain(presented.trimmed.as_ref())
        {
            for secret in std::iter::once(token.expose()).chain(token.expose().rsplit('.').next()) {
                if secret.len() >= 8 && text.contains(secret) {
                    text = text.replace(secret, "[token removed]");
                }
            }
        }
    }
    text
}
