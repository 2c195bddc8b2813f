//! What is said to the person who ran kubectl: warnings, and the one reason to refuse a pod.

use std::fmt;

use crate::{
    scope::ObjectRef,
    types::{shorten, shorten_to},
};

/// Most characters of one warning. Kubernetes API, `AdmissionResponse.warnings`: longer ones may be cut.
pub const WARNING_MAX_CHARS: usize = 256;

/// Most warnings of one answer, and most bytes of all of them: beyond 4 KiB the API server drops what is left.
const WARNINGS_MAX: usize = 16;
const WARNINGS_MAX_BYTES: usize = 4096;

/// What a warning is about.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Cause {
    /// A `cwii.dev/` key that does not exist.
    UnknownKey,
    /// A value that does not parse and therefore counts as unset, or would be refused if it took effect.
    InvalidValue,
    /// A number of seconds that was cut to its bounds.
    OutOfRange,
    /// A value without which a provider that was asked for is not injected.
    Missing,
    /// A key that changes nothing as things stand.
    Ineffective,
    /// The server's flags do not allow what was asked for.
    SwitchedOff,
    /// Something that the pod already has.
    Clash,
    /// Credentials that the cloud's SDK prefers to the injected ones.
    StaticCredentials,
    /// Something that Windows pods cannot have.
    Windows,
}

/// One line for the person who ran kubectl: at most [`WARNING_MAX_CHARS`] characters, no control characters.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Warning {
    /// What it is about.
    pub cause: Cause,
    text: String,
}

impl Warning {
    pub(crate) fn new(cause: Cause, text: &str) -> Self {
        let clean = if text.contains(char::is_control) {
            shorten_to(text, WARNING_MAX_CHARS)
        } else {
            text.to_owned()
        };
        let text = match clean.char_indices().nth(WARNING_MAX_CHARS - 1) {
            Some((cut, last)) if clean.len() > cut + last.len_utf8() => {
                format!("{}…", &clean[..cut])
            }
            _ => clean,
        };
        Self { cause, text }
    }

    /// The line.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The lines of an answer: each once, at most 16 and at most 4 KiB in all; the last one says how many were left out.
    #[must_use]
    pub fn limit(warnings: Vec<Self>) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for warning in warnings {
            if !lines.contains(&warning.text) {
                lines.push(warning.text);
            }
        }
        // Room for the last line.
        let room = WARNINGS_MAX_BYTES - 64;
        let mut bytes = 0;
        let fits = lines
            .iter()
            .take_while(|line| {
                bytes += line.len();
                bytes <= room
            })
            .count();
        let keep = if lines.len() <= WARNINGS_MAX && fits == lines.len() {
            lines.len()
        } else {
            fits.min(WARNINGS_MAX - 1)
        };
        let more = lines.len() - keep;
        if more > 0 {
            lines.truncate(keep);
            lines.push(format!("and {more} more warnings of cwii"));
        }
        lines
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a pod is refused: an explicit value that would inject something wrong.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "`{key}` of {} is `{}`: expected {allowed}",
    shorten_to(&object.to_string(), OBJECT_MAX_CHARS),
    shorten(value)
)]
pub struct Denial {
    /// The object that carries the value; boxed, since a refusal is rare and a `Result` is as large as its error.
    pub object: Box<ObjectRef>,
    /// The whole key.
    pub key: String,
    /// The value, whole.
    pub value: String,
    /// What is allowed.
    pub allowed: String,
}

/// A kind and two names of an API server's greatest length; a pod that is being created may bring longer ones.
const OBJECT_MAX_CHARS: usize = 340;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_one_line_of_at_most_256_characters() {
        let warning = |text: &str| Warning::new(Cause::Clash, text).text;
        assert_eq!(warning(&"é".repeat(256)), "é".repeat(256));
        let cut = warning(&"é".repeat(257));
        assert_eq!(cut.chars().count(), 256);
        assert!(cut.ends_with("é…"));
        assert_eq!(warning("a\nb"), "a\\nb");
        assert_eq!(warning(&"\n".repeat(300)).chars().count(), 256);
    }

    #[test]
    fn few_warnings_are_all_said() {
        let warnings: Vec<_> = (0..16)
            .map(|index| Warning::new(Cause::Clash, &index.to_string()))
            .collect();
        assert_eq!(Warning::limit(warnings.clone()).len(), 16);
        let more = [warnings, vec![Warning::new(Cause::Clash, "x")]].concat();
        let lines = Warning::limit(more);
        assert_eq!(
            (lines.len(), lines[15].as_str()),
            (16, "and 2 more warnings of cwii")
        );
        assert!(Warning::limit(Vec::new()).is_empty());
    }
}
