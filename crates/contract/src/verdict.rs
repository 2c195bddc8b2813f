//! The machine-readable result of one verification, as it stands in the termination message.
//!
//! The agent writes it, `doctor` reads it back with nothing but `get pod`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Provider, VerifyExit};

/// How a verification ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The cloud accepted the token.
    Verified,
    /// The cloud said no.
    Denied,
    /// The cloud could not be asked.
    Unreachable,
    /// Configuration or token are missing or invalid: the cloud was not asked.
    Invalid,
    /// The check itself failed.
    Error,
}

impl Outcome {
    /// The word that the JSON carries.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Denied => "denied",
            Self::Unreachable => "unreachable",
            Self::Invalid => "invalid",
            Self::Error => "error",
        }
    }
}

impl From<VerifyExit> for Outcome {
    fn from(exit: VerifyExit) -> Self {
        match exit {
            VerifyExit::Verified => Self::Verified,
            VerifyExit::Configuration | VerifyExit::Token => Self::Invalid,
            VerifyExit::Denied => Self::Denied,
            VerifyExit::Unreachable => Self::Unreachable,
            VerifyExit::Internal => Self::Error,
        }
    }
}

/// What the provider answered, raw.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ProviderError {
    /// The provider's own code, such as `AccessDenied`, `invalid_grant` or `AADSTS700213`.
    pub code: Option<String>,
    /// The provider's own text.
    pub message: String,
}

/// One verification. Serialised on one line; version 1 only grows.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyResult {
    /// Version of this shape: 1.
    pub cwii: u8,
    /// The cloud that was asked.
    pub provider: Provider,
    /// How it ended.
    pub outcome: Outcome,
    /// Code of the catalogue for the cause, such as `AWS05`; none on success.
    pub code: Option<String>,
    /// The provider's answer; none on success, or when nobody was asked.
    pub provider_error: Option<ProviderError>,
    /// Who the cloud says we are, by the names the cloud uses (`Arn`, `email`, `clientId`, …). Empty unless verified.
    pub identity: BTreeMap<String, serde_json::Value>,
    /// When it ended, RFC 3339, UTC.
    pub at: String,
}

impl VerifyResult {
    /// Version of the shape that this build writes.
    pub const VERSION: u8 = 1;

    /// The result on one line of at most `limit` bytes. Only the provider's message is cut (at a character, with `…`);
    /// where even an empty message does not fit, the identity goes too, so that the line always parses.
    #[must_use]
    pub fn to_line(&self, limit: usize) -> String {
        let mut cut = self.clone();
        loop {
            let line = serde_json::to_string(&cut).unwrap_or_default();
            if line.len() <= limit {
                return line;
            }
            let over = line.len() - limit;
            match &mut cut.provider_error {
                Some(error) if !error.message.is_empty() => {
                    // Escapes make a character up to six bytes long on the line: cut at least what is over in
                    // characters of the message, and look again.
                    let keep = error
                        .message
                        .len()
                        .saturating_sub(over.div_ceil(6) + '…'.len_utf8());
                    let mut keep =
                        keep.min(error.message.trim_end_matches('…').len().saturating_sub(1));
                    while !error.message.is_char_boundary(keep) {
                        keep -= 1;
                    }
                    error.message.truncate(keep);
                    if keep > 0 {
                        error.message.push('…');
                    }
                }
                _ if !cut.identity.is_empty() => cut.identity.clear(),
                _ => return line,
            }
        }
    }

    /// Reads the result from a termination message: the last line that is one.
    #[must_use]
    pub fn from_termination_message(message: &str) -> Option<Self> {
        message
            .lines()
            .rev()
            .find_map(|line| serde_json::from_str(line.trim()).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(message: &str) -> VerifyResult {
        VerifyResult {
            cwii: VerifyResult::VERSION,
            provider: Provider::Aws,
            outcome: Outcome::Denied,
            code: Some("AWS05".into()),
            provider_error: Some(ProviderError {
                code: Some("AccessDenied".into()),
                message: message.into(),
            }),
            identity: BTreeMap::new(),
            at: "2026-01-01T00:00:00Z".into(),
        }
    }

    #[test]
    fn a_long_message_is_cut_and_the_line_still_parses() {
        for message in ["x".repeat(9000), "\u{1}".repeat(9000), "é\"\n".repeat(3000)] {
            let line = result(&message).to_line(600);
            assert!(line.len() <= 600, "{} bytes", line.len());
            let read =
                VerifyResult::from_termination_message(&format!("summary\n\n{line}")).unwrap();
            assert_eq!(read.outcome, Outcome::Denied);
            assert!(read.provider_error.unwrap().message.ends_with('…'));
        }
    }

    #[test]
    fn a_short_message_is_kept_whole() {
        let line = result("no").to_line(4096);
        assert_eq!(
            VerifyResult::from_termination_message(&line).unwrap(),
            result("no")
        );
    }

    #[test]
    fn names_of_the_json_are_those_of_the_contract() {
        let value: serde_json::Value = serde_json::from_str(&result("no").to_line(4096)).unwrap();
        let keys: Vec<&str> = value
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            keys,
            [
                "cwii",
                "provider",
                "outcome",
                "code",
                "providerError",
                "identity",
                "at"
            ]
        );
    }
}
