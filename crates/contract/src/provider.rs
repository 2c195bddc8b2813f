//! The three clouds, spelled as annotations, paths and arguments spell them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A cloud that a pod can federate into. The order is the one of `cwii.dev/injected`: alphabetical.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// Amazon Web Services.
    Aws,
    /// Microsoft Entra ID.
    Az,
    /// Google Cloud.
    Gcp,
}

impl Provider {
    /// All providers, in the order in which they are reported.
    pub const ALL: [Self; 3] = [Self::Aws, Self::Az, Self::Gcp];

    /// The abbreviation used in annotation keys, volume names, paths and arguments.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Az => "az",
            Self::Gcp => "gcp",
        }
    }

    /// The name to print for people.
    #[must_use]
    pub const fn display_name(self) -> &'static str {
        match self {
            Self::Aws => "AWS",
            Self::Az => "Entra ID",
            Self::Gcp => "Google Cloud",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not one of `aws`, `az` and `gcp`.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown provider `{0}`: expected `aws`, `az` or `gcp`")]
pub struct UnknownProvider(String);

impl FromStr for Provider {
    type Err = UnknownProvider;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|p| p.as_str() == s)
            .ok_or_else(|| UnknownProvider(s.to_owned()))
    }
}
