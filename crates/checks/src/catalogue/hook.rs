//! HOOK: the admission webhook.

use super::Entry;

pub(super) const ENTRIES: &[Entry] = &[];
