//! What the watches have seen, in as few bytes as it takes.
//!
//! Per object: that it is there, and the contract's keys if it carries any; for owners also their `uid` and the
//! controller that they have in turn. "Not annotated" and "not seen yet" differ, and only the latter costs a live read.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use crate::object::{Known, Object};

/// The objects of one kind.
#[derive(Debug, Default)]
pub struct Store {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By namespace, then by name: a lookup builds no key.
    namespaces: HashMap<Box<str>, HashMap<Box<str>, Entry>>,
    /// Number of objects.
    objects: usize,
    /// Which list an object was last seen by or since.
    generation: u32,
}

#[derive(Debug)]
struct Entry {
    known: Known,
    generation: u32,
}

impl Store {
    /// What is known of an object; none where the watch has not seen it.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<Known> {
        self.read()
            .namespaces
            .get(namespace)?
            .get(name)
            .map(|entry| entry.known.clone())
    }

    /// Number of objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().objects
    }

    /// Whether nothing was seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keeps an object as it is now.
    pub fn put(&self, object: Object) {
        let mut inner = self.write();
        let generation = inner.generation;
        let entry = Entry {
            known: object.known,
            generation,
        };
        let names = inner.namespaces.entry(object.namespace).or_default();
        if names.insert(object.name, entry).is_none() {
            inner.objects += 1;
        }
    }

    /// Forgets an object.
    pub fn remove(&self, namespace: &str, name: &str) {
        let mut inner = self.write();
        let Some(names) = inner.namespaces.get_mut(namespace) else {
            return;
        };
        let removed = names.remove(name).is_some();
        if names.is_empty() {
            inner.namespaces.remove(namespace);
        }
        inner.objects -= usize::from(removed);
    }

    /// A list begins. What was known stays known until the list is complete, so a slow list or one that fails half-way
    /// takes nothing away, and there is never a second copy of everything.
    pub fn begin_list(&self) {
        let mut inner = self.write();
        inner.generation = inner.generation.wrapping_add(1);
    }

    /// The list is complete: what it did not hold is gone.
    pub fn end_list(&self) {
        let mut inner = self.write();
        let generation = inner.generation;
        let mut objects = 0;
        inner.namespaces.retain(|_, names| {
            names.retain(|_, entry| entry.generation == generation);
            names.shrink_to_fit();
            objects += names.len();
            !names.is_empty()
        });
        inner.namespaces.shrink_to_fit();
        inner.objects = objects;
    }

    // A panic while the lock is held leaves nothing half-done that matters: the next list puts it right.
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use cwii_contract::Keys;

    use super::*;

    fn object(name: &str, annotation: &str) -> Object {
        Object {
            namespace: "apps".into(),
            name: name.into(),
            known: Known {
                uid: "".into(),
                keys: Keys::from_annotations([("cwii.dev/aws-region", annotation)]),
                owner: None,
            },
        }
    }

    fn region(store: &Store, name: &str) -> Option<String> {
        let known = store.get("apps", name)?;
        known.keys.iter().next().map(|(_, value)| value.to_owned())
    }

    #[test]
    fn a_list_that_is_under_way_takes_nothing_away_and_a_complete_one_sweeps() {
        let store = Store::default();
        for name in ["a", "b", "c"] {
            store.put(object(name, "one"));
        }
        store.begin_list();
        store.put(object("a", "two"));
        assert_eq!(region(&store, "a").as_deref(), Some("two"));
        assert_eq!(region(&store, "b").as_deref(), Some("one"));
        // The list broke off, and the next one sees `c` only.
        store.begin_list();
        store.put(object("c", "three"));
        store.end_list();
        assert_eq!(store.len(), 1);
        assert_eq!(region(&store, "a"), None);
        assert_eq!(region(&store, "c").as_deref(), Some("three"));
    }

    #[test]
    fn objects_are_counted_once_and_may_be_removed_twice() {
        let store = Store::default();
        store.put(object("a", "one"));
        store.put(object("a", "two"));
        assert_eq!(store.len(), 1);
        store.remove("apps", "a");
        store.remove("apps", "a");
        store.remove("other", "a");
        assert!(store.is_empty());
    }
}
