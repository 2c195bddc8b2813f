//! The least trust that admits exactly one ServiceAccount: as the cloud's own JSON, as commands of its command line, and as
//! Terraform.
//!
//! Each suggestion is exact in all three: this issuer, this audience, this subject, letter for letter, and nothing beside
//! it. What the documents show to be there already is left as it is.

mod aws;
mod entra;
mod google;
mod hcl;

use cwii_contract::types::Subject;
use serde_json::Value;

pub use aws::{PodIdentityTrust, WebIdentityTrust, pod_identity, web_identity};
pub use entra::{CredentialOwner, FederatedTrust, federated};
pub use google::{GkeTrust, PoolTrust, gke, pool};

/// What to set up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Suggestion {
    /// The documents, as the cloud prints them once it is done; a [`crate::Library`] reads them.
    pub documents: Vec<SuggestedDocument>,
    /// Commands to paste, in order, each complete.
    pub commands: Vec<String>,
    /// Terraform's language.
    pub terraform: String,
    /// What a person should know before doing it. Each is a sentence.
    pub notes: Vec<String>,
}

/// A document of a suggestion.
#[derive(Clone, Debug, PartialEq)]
pub struct SuggestedDocument {
    /// A name for its file; where the document does not say whose it is, the name does.
    pub file: String,
    /// What it is: `trust policy of role checkout`.
    pub title: String,
    /// The document.
    pub document: Value,
}

/// Why no trust can admit this ServiceAccount alone.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SuggestError {
    /// Google takes subjects of at most 127 bytes, and namespace and name are longer together.
    #[error(
        "a subject of at most {limit} bytes was expected, found {bytes} in `{subject}`, and {shortest} without its prefix"
    )]
    SubjectTooLong {
        /// The subject.
        subject: String,
        /// Its length.
        bytes: usize,
        /// Its length without `system:serviceaccount:`.
        shortest: usize,
        /// Google's limit.
        limit: usize,
    },
}

/// A word of a shell's command line, quoted where it must be (POSIX, "Shell Command Language", 2.2.2).
fn quoted(word: &str) -> String {
    let plain = !word.is_empty()
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_./:=@,+%".contains(&b));
    if plain {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A command over several lines, one flag each.
fn command(start: &[&str], flags: &[(&str, &str)]) -> String {
    let mut text: String = start
        .iter()
        .map(|word| quoted(word))
        .collect::<Vec<_>>()
        .join(" ");
    for (flag, value) in flags {
        text.push_str(" \\\n  ");
        text.push_str(flag);
        if !value.is_empty() {
            text.push(' ');
            text.push_str(&quoted(value));
        }
    }
    text
}

/// Namespace and name as a name of something else: `shop-checkout`, of at most `limit` of its characters.
fn name_of(subject: &Subject, limit: usize) -> String {
    let mut name: String = format!("{}-{}", subject.namespace(), subject.service_account())
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    name.truncate(limit);
    name.trim_end_matches('-').to_owned()
}
