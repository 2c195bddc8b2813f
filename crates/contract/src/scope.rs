//! The four scopes in which annotations stand, and the few keys of each that the contract reads.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
};

use crate::annotations;

/// Where an annotation stands, in order of precedence: the first explicit value wins.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Scope {
    /// The pod itself.
    Pod,
    /// The workload that owns it; of a Job and its CronJob, the Job comes first.
    Workload,
    /// The ServiceAccount that it runs as.
    ServiceAccount,
    /// Its namespace.
    Namespace,
}

impl Scope {
    /// All scopes, in order of precedence.
    pub const ALL: [Self; 4] = [
        Self::Pod,
        Self::Workload,
        Self::ServiceAccount,
        Self::Namespace,
    ];
}

/// The object that an annotation stands on. Prints as `Deployment apps/web`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ObjectRef {
    /// The scope it stands for.
    pub scope: Scope,
    /// Kind, as the Kubernetes API spells it.
    pub kind: Cow<'static, str>,
    /// Namespace; none for a namespace itself.
    pub namespace: Option<String>,
    /// Name; of a pod that has none yet its `generateName` and `*`.
    pub name: String,
}

impl ObjectRef {
    /// A ServiceAccount.
    #[must_use]
    pub fn service_account(namespace: &str, name: &str) -> Self {
        Self {
            scope: Scope::ServiceAccount,
            kind: Cow::Borrowed("ServiceAccount"),
            namespace: Some(namespace.to_owned()),
            name: name.to_owned(),
        }
    }

    /// A namespace.
    #[must_use]
    pub fn namespace(name: &str) -> Self {
        Self {
            scope: Scope::Namespace,
            kind: Cow::Borrowed("Namespace"),
            namespace: None,
            name: name.to_owned(),
        }
    }

    /// An owning workload.
    #[must_use]
    pub fn workload(kind: impl Into<Cow<'static, str>>, namespace: &str, name: &str) -> Self {
        Self {
            scope: Scope::Workload,
            kind: kind.into(),
            namespace: Some(namespace.to_owned()),
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}

/// The annotations of one object, reduced to those that the contract reads: keys under `cwii.dev/` that are not
/// outputs, and the native keys. Sorted by key.
///
/// A webhook keeps these for every object of a cluster, so all of it is one text: nothing is allocated where there is
/// nothing to keep, and one block otherwise.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Keys(
    /// For each key its length and its value's, in decimal and followed by a space each, then both.
    Box<str>,
);

impl Keys {
    /// Keeps what the contract reads of an object's annotations.
    pub fn from_annotations<'a>(annotations: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut keys: Vec<(&str, &str)> = annotations
            .into_iter()
            .filter(|(key, _)| annotations::is_read(key))
            .collect();
        keys.sort_unstable();
        let mut text = String::new();
        for (key, value) in keys {
            // Writing to a `String` cannot fail.
            let _ = write!(text, "{} {} {key}{value}", key.len(), value.len());
        }
        Self(text.into_boxed_str())
    }

    /// Whether the object says nothing that the contract reads.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whole keys with their values, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (key, after) = rest.split_once(' ')?;
            let (value, after) = after.split_once(' ')?;
            let (key, after) = after.split_at_checked(key.parse().ok()?)?;
            let (value, after) = after.split_at_checked(value.parse().ok()?)?;
            rest = after;
            Some((key, value))
        })
    }
}

/// One object and what it says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Layer {
    /// The object.
    pub object: ObjectRef,
    /// What it says.
    pub keys: Keys,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_the_contract_reads_are_kept() {
        let keys = Keys::from_annotations([
            ("kubectl.kubernetes.io/last-applied-configuration", "{}"),
            ("cwii.dev/injected", "aws"),
            ("cwii.dev/webhook-version", "0.1.0"),
            ("eks.amazonaws.com/role-arn", "r"),
            ("cwii.dev/aws-regoin", "x"),
            ("cwii.development/aws-region", "x"),
            ("cwii.dev/aws-inject", "true"),
        ]);
        let kept: Vec<_> = keys.iter().map(|(key, _)| key).collect();
        assert_eq!(
            kept,
            [
                "cwii.dev/aws-inject",
                "cwii.dev/aws-regoin",
                "eks.amazonaws.com/role-arn"
            ]
        );
        assert!(Keys::from_annotations([("a", "b")]).is_empty());
    }

    #[test]
    fn any_text_is_kept_as_it_was() {
        let pairs = [
            ("cwii.dev/", ""),
            ("cwii.dev/ 1 2 x", "7 7 cwii.dev/"),
            ("cwii.dev/\u{0}\u{1f600}", "\u{0}é\n"),
        ];
        let keys = Keys::from_annotations(pairs.into_iter().rev());
        let mut expected = pairs.to_vec();
        expected.sort_unstable();
        assert_eq!(keys.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn an_object_prints_as_people_name_it() {
        assert_eq!(
            ObjectRef::workload("Deployment", "apps", "web").to_string(),
            "Deployment apps/web"
        );
        assert_eq!(ObjectRef::namespace("apps").to_string(), "Namespace apps");
    }
}
