//! The few fields of an object's metadata that are kept, read in one pass from what the API server sends.

use std::{borrow::Cow, fmt};

use cwii_contract::{Keys, annotations::PREFIX};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

/// What is known of one object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Known {
    /// `metadata.uid`; empty for kinds that own nothing, where nobody asks for it.
    pub uid: Box<str>,
    /// The contract's annotations.
    pub keys: Keys,
    /// The controller that owns the object; kept where somebody follows it (Jobs, ReplicaSets).
    pub owner: Option<Box<Owner>>,
}

/// A controller's ownerReference.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Owner {
    /// API group, empty for the core group.
    pub group: Box<str>,
    /// Kind.
    pub kind: Box<str>,
    /// Name.
    pub name: Box<str>,
    /// `uid`.
    pub uid: Box<str>,
}

/// What is kept of an object beside its keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keep {
    /// The `uid`.
    pub(crate) identity: bool,
    /// The controller that owns it.
    pub(crate) owner: bool,
    /// The annotations of the clouds' own webhooks. Where nobody reads them, thousands of ServiceAccounts that carry one
    /// cost nothing.
    pub(crate) native: bool,
}

/// One object with its name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Object {
    /// Namespace, empty for a namespace itself.
    pub namespace: Box<str>,
    /// Name.
    pub name: Box<str>,
    /// The rest.
    pub known: Known,
}

/// A page of a list.
#[derive(Deserialize)]
pub(crate) struct Page<'a> {
    #[serde(default)]
    pub(crate) metadata: PageMetadata,
    /// An API server writes `null` where there is nothing.
    #[serde(borrow)]
    pub(crate) items: Option<Vec<RawObject<'a>>>,
}

/// `metadata` of a list.
#[derive(Default, Deserialize)]
pub(crate) struct PageMetadata {
    #[serde(default, rename = "resourceVersion")]
    pub(crate) resource_version: String,
    #[serde(default, rename = "continue")]
    pub(crate) next: String,
}

/// One line of a watch.
#[derive(Deserialize)]
pub(crate) struct Event<'a> {
    #[serde(rename = "type", borrow)]
    pub(crate) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) object: EventObject<'a>,
}

/// An object, or for `ERROR` a `Status`.
#[derive(Deserialize)]
pub(crate) struct EventObject<'a> {
    #[serde(default, borrow)]
    pub(crate) metadata: RawMetadata<'a>,
    pub(crate) code: Option<u16>,
    #[serde(borrow)]
    pub(crate) message: Option<Cow<'a, str>>,
}

/// An object as the API server sends it.
#[derive(Deserialize)]
pub(crate) struct RawObject<'a> {
    #[serde(borrow)]
    pub(crate) metadata: RawMetadata<'a>,
}

/// `metadata` of an object.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawMetadata<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    namespace: Cow<'a, str>,
    #[serde(borrow)]
    uid: Cow<'a, str>,
    #[serde(rename = "resourceVersion", borrow)]
    pub(crate) resource_version: Cow<'a, str>,
    annotations: Option<Annotations>,
    #[serde(rename = "ownerReferences", borrow)]
    owners: Option<Vec<RawOwner<'a>>>,
}

#[derive(Deserialize)]
struct RawOwner<'a> {
    #[serde(rename = "apiVersion", borrow)]
    api_version: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    uid: Cow<'a, str>,
    controller: Option<bool>,
}

impl RawMetadata<'_> {
    /// What is kept of it.
    pub(crate) fn object(self, keep: Keep) -> Object {
        let controller = |owners: Vec<RawOwner<'_>>| {
            let owner = owners.into_iter().find(|o| o.controller == Some(true))?;
            let group = owner.api_version.rsplit_once('/').map_or("", |(g, _)| g);
            Some(Box::new(Owner {
                group: group.into(),
                kind: (*owner.kind).into(),
                name: (*owner.name).into(),
                uid: (*owner.uid).into(),
            }))
        };
        Object {
            namespace: (*self.namespace).into(),
            name: (*self.name).into(),
            known: Known {
                uid: if keep.identity {
                    (*self.uid).into()
                } else {
                    "".into()
                },
                keys: match self.annotations {
                    None => Keys::default(),
                    Some(Annotations(keys)) if keep.native => keys,
                    Some(Annotations(keys)) => Keys::from_annotations(
                        keys.iter().filter(|(key, _)| key.starts_with(PREFIX)),
                    ),
                },
                owner: self.owners.filter(|_| keep.owner).and_then(controller),
            },
        }
    }

    pub(crate) fn name(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }
}

/// Annotations, of which values that nobody reads are skipped rather than copied: kubectl's last-applied-configuration
/// is often larger than all else.
struct Annotations(Keys);

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Annotations;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("annotations")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Annotations, A::Error> {
                let mut kept: Vec<(String, String)> = Vec::new();
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    // The contract says which it reads; of the others it keeps nothing.
                    if !Keys::from_annotations([(&*key.0, "")]).is_empty() {
                        kept.push((key.0.into_owned(), map.next_value()?));
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                let pairs = kept.iter().map(|(key, value)| (&**key, &**value));
                Ok(Annotations(Keys::from_annotations(pairs)))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Keep = Keep {
        identity: true,
        owner: true,
        native: true,
    };

    #[test]
    fn of_an_object_only_name_identity_controller_and_our_keys_are_kept() {
        let raw: RawObject<'_> = serde_json::from_str(
            r#"{"kind":"PartialObjectMetadata","metadata":{"name":"sync","namespace":"apps","uid":"u1","resourceVersion":"7",
            "annotations":{"cwii.dev/aws-region":"eu-\u0063entral-1","kubectl.kubernetes.io/last-applied-configuration":"{}"},
            "managedFields":[{"fieldsV1":{"f:x":{}}}],
            "ownerReferences":[{"apiVersion":"v1","kind":"Other","name":"o","uid":"u2"},
              {"apiVersion":"batch/v1","kind":"CronJob","name":"nightly","uid":"u3","controller":true}]}}"#,
        )
        .unwrap();
        let object = raw.metadata.object(ALL);
        assert_eq!((&*object.namespace, &*object.name), ("apps", "sync"));
        assert_eq!(&*object.known.uid, "u1");
        assert_eq!(
            object.known.keys.iter().collect::<Vec<_>>(),
            [("cwii.dev/aws-region", "eu-central-1")]
        );
        let owner = object.known.owner.unwrap();
        assert_eq!(
            (&*owner.group, &*owner.kind, &*owner.name, &*owner.uid),
            ("batch", "CronJob", "nightly", "u3")
        );
    }

    #[test]
    fn a_namespace_without_anything_is_read_too() {
        let raw: RawObject<'_> =
            serde_json::from_str(r#"{"metadata":{"name":"apps","annotations":null}}"#).unwrap();
        let object = raw.metadata.object(Keep {
            identity: false,
            ..ALL
        });
        assert_eq!((&*object.namespace, &*object.name), ("", "apps"));
        assert!(object.known.keys.is_empty());
    }

    #[test]
    fn native_annotations_are_kept_only_where_they_are_read() {
        let text = r#"{"metadata":{"name":"a","annotations":{"eks.amazonaws.com/role-arn":"x","cwii.dev/aws-region":"y"}}}"#;
        for native in [true, false] {
            let raw: RawObject<'_> = serde_json::from_str(text).unwrap();
            let keys = raw.metadata.object(Keep { native, ..ALL }).known.keys;
            assert_eq!(keys.iter().count(), if native { 2 } else { 1 });
        }
    }
}
