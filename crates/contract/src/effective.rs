//! Which value holds for each key, and where it comes from.

use std::fmt;

use crate::scope::ObjectRef;

/// A value with its provenance.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub from: Source,
}

/// Where a value comes from. Prints as the part of a sentence: `cwii.dev/aws-region of ServiceAccount apps/web`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    /// An annotation.
    Annotation {
        /// The object.
        object: ObjectRef,
        /// The whole key.
        key: String,
    },
    /// A flag of the server.
    Flag(&'static str),
    /// Nobody set it.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Annotation { object, key } => write!(f, "`{key}` of {object}"),
            Self::Flag(flag) => write!(f, "`{flag}` of the webhook"),
            Self::Default => f.write_str("the default"),
        }
    }
}

/// One key that holds for a pod, as `plan` and `doctor` print it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Effective {
    /// The whole `cwii.dev/` key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Where it comes from.
    pub from: Source,
}
