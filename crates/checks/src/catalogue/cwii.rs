//! CWII: what cwii promises in a cluster.

use super::Entry;

pub(super) const ENTRIES: &[Entry] = &[];
