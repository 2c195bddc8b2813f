//! A map that forgets what was used least recently.

use std::{collections::HashMap, hash::Hash};

/// At most so many entries; a quarter goes at once when it is full, so that one insertion in many pays for it.
#[derive(Debug)]
pub(crate) struct Bounded<K, V> {
    entries: HashMap<K, (V, u64)>,
    capacity: usize,
    tick: u64,
}

impl<K: Clone + Eq + Hash, V> Bounded<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            entries: HashMap::new(),
            capacity,
            tick: 0,
        }
    }

    pub(crate) fn get(&mut self, key: &K) -> Option<&V> {
        self.tick += 1;
        let (value, used) = self.entries.get_mut(key)?;
        *used = self.tick;
        Some(value)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.entries.len() >= self.capacity && !self.entries.contains_key(&key) {
            let mut used: Vec<u64> = self.entries.values().map(|(_, used)| *used).collect();
            let quarter = used.len() / 4;
            let (_, &mut limit, _) = used.select_nth_unstable(quarter);
            self.entries.retain(|_, (_, used)| *used > limit);
        }
        self.tick += 1;
        self.entries.insert(key, (value, self.tick));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_lately_stays() {
        let mut map = Bounded::new(8);
        for n in 0..8 {
            map.insert(n, n);
        }
        assert_eq!(map.get(&0), Some(&0));
        map.insert(8, 8);
        assert!(map.entries.len() <= 8);
        assert_eq!(map.get(&0), Some(&0));
        assert_eq!(map.get(&8), Some(&8));
        assert_eq!(map.get(&1), None);
    }

    #[test]
    fn one_entry_is_enough() {
        let mut map = Bounded::new(1);
        map.insert(1, 1);
        map.insert(2, 2);
        assert_eq!(map.get(&1), None);
        assert_eq!(map.get(&2), Some(&2));
    }
}
