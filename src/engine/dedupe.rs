//! Sample ids seen before.
//!
//! Owns the bounded memory of ids that makes sending a sample twice harmless. Next: `ingest`.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize, Serializer};

/// Sample ids seen lately; the oldest is forgotten first.
#[derive(Debug, Deserialize)]
#[serde(from = "Saved")]
pub(super) struct Dedupe {
    order: VecDeque<u128>,
    known: BTreeSet<u128>,
    ids_max: usize,
}

/// As it is saved: which ids are known follows from their order.
#[derive(Serialize, Deserialize)]
struct Saved {
    order: Vec<[u8; 16]>,
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

impl Serialize for Dedupe {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Dedupe {
            order,
            known: _,
            ids_max,
        } = self;
        let order = order.iter().map(|id| id.to_le_bytes()).collect();
        let ids_max = *ids_max;
        Saved { order, ids_max }.serialize(serializer)
    }
}

impl From<Saved> for Dedupe {
    fn from(Saved { order, ids_max }: Saved) -> Dedupe {
        let order: VecDeque<u128> = order.into_iter().map(u128::from_le_bytes).collect();
        Dedupe {
            known: order.iter().copied().collect(),
            order,
            ids_max,
        }
    }
}
