//! Sample ids seen before.
//!
//! Owns the bounded memory of ids that makes sending a sample twice harmless. Next: `ingest`.

use std::collections::{BTreeSet, VecDeque};

/// Sample ids seen lately; the oldest is forgotten first.
#[derive(Debug)]
pub(super) struct Dedupe {
    order: VecDeque<u128>,
    known: BTreeSet<u128>,
    ids_max: usize,
}

// === impl Dedupe ===

impl Dedupe {
    /// Remembers up to `ids_max` ids.
    pub fn new(ids_max: usize) -> Dedupe {
        Dedupe {
            order: VecDeque::new(),
            known: BTreeSet::new(),
            ids_max,
        }
    }

    /// Whether the id was seen before.
    pub fn knows(&self, id: u128) -> bool {
        self.known.contains(&id)
    }

    /// Remembers the id of a sample that was kept.
    pub fn remember(&mut self, id: u128) {
        if !self.known.insert(id) {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > self.ids_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}
