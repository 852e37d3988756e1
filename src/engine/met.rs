//! Which analyses ask for the series of samples, for as long as the same analyses run.
//!
//! Owns the memo of meetings: the same few series come with every request, and matching one against
//! every analysis takes far longer than taking its sample. It holds what was found and nothing of
//! what the series did; series of totals are in [`super::series`].

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

use super::journal::Spelled;
use super::matching::{Form, Match};
use super::unplaced;
use crate::model::Labels;

/// Series that are remembered, about 0.5 KB each; past that the memo begins anew. Samples may carry
/// labels that no other has.
const REMEMBERED_MAX: usize = 20_000;

/// Series by name and labels.
#[derive(Debug, Default)]
pub(super) struct MetSeries {
    hasher: FixedState,
    /// In the order they were met.
    met: Vec<Met>,
    /// Where each stands among them.
    table: HashTable<u32>,
    /// Where the one stands that was met behind the last: senders keep to an order.
    next: usize,
    batch: u64,
}

/// How one series meets the running analyses.
#[derive(Debug)]
pub(super) struct Met {
    name: Box<str>,
    labels: Labels,
    /// The analyses that ask for it, or whose arms both do.
    pub found: Vec<(String, Match)>,
    /// Whether somebody asks for what came on top of a total, not for the sample itself.
    pub is_total: bool,
    /// Where its name stands in the journal.
    pub spelled: Spelled,
    /// Its hash: what tells it apart from others that are shown.
    id: u64,
    batch: u64,
}

// === impl MetSeries ===

impl MetSeries {
    /// Nothing met. The seed makes collisions unforeseeable to senders; no result depends on it.
    pub fn new(seed: u64) -> MetSeries {
        MetSeries {
            hasher: FixedState::with_seed(seed),
            ..MetSeries::default()
        }
    }

    /// Other analyses run than before.
    pub fn forget(&mut self) {
        self.met.clear();
        self.table.clear();
    }

    /// A batch begins.
    pub fn begin_batch(&mut self) {
        self.batch += 1;
    }

    /// How a series meets the running analyses, which `find` tells, and whether it is the first
    /// time in this batch.
    pub fn meet(
        &mut self,
        name: &str,
        labels: &Labels,
        find: impl FnOnce() -> Vec<(String, Match)>,
    ) -> (&mut Met, bool) {
        let number = self.number_of(name, labels, find);
        self.next = number + 1;
        let met = &mut self.met[number];
        let is_first = std::mem::replace(&mut met.batch, self.batch) != self.batch;
        (met, is_first)
    }

    #[inline]
    fn number_of(
        &mut self,
        name: &str,
        labels: &Labels,
        find: impl FnOnce() -> Vec<(String, Match)>,
    ) -> usize {
        let is_same = |met: &Met| met.labels == *labels && *met.name == *name;
        if self.met.get(self.next).is_some_and(is_same) {
            return self.next;
        }
        let hash = self.hasher.hash_one((name, labels));
        let is_it = |number: &u32| is_same(&self.met[*number as usize]);
        if let Some(number) = self.table.find(hash, is_it) {
            return *number as usize;
        }
        if self.met.len() >= REMEMBERED_MAX {
            self.forget();
        }
        let number = self.met.len();
        self.met.push(Met::new(hash, name, labels, find()));
        let met = &self.met;
        self.table
            .insert_unique(hash, number as u32, |number| met[*number as usize].id);
        number
    }
}

// === impl Met ===

impl Met {
    /// What tells it apart, and how it is put into words.
    pub fn named(&self) -> (u64, impl Fn() -> String) {
        (self.id, || unplaced::series(&self.name, &self.labels))
    }

    fn new(id: u64, name: &str, labels: &Labels, found: Vec<(String, Match)>) -> Met {
        let places = found.iter().filter_map(|(_, found)| match found {
            Match::Places(places) => Some(places),
            Match::Ambiguous | Match::None => None,
        });
        let is_total = places.flatten().any(|place| place.form != Form::AsIs);
        Met {
            name: name.into(),
            labels: labels.clone(),
            id,
            found,
            is_total,
            spelled: Spelled::default(),
            batch: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_matched_once_until_other_analyses_run_and_is_first_once_a_batch() {
        let mut all = MetSeries::new(7);
        let labels = Labels::from_iter([("pod", "a")]);
        let mut found = 0;
        let mut firsts = Vec::new();
        for forgets in [false, true] {
            all.begin_batch();
            for _ in 0..2 {
                let (met, is_first) = all.meet("m", &labels, || {
                    found += 1;
                    vec![("one".to_owned(), Match::Ambiguous)]
                });
                assert_eq!(
                    (met.named().1(), met.is_total),
                    ("m{pod=\"a\"}".to_owned(), false)
                );
                firsts.push(is_first);
            }
            if forgets {
                all.forget();
                all.meet("m", &labels, || {
                    found += 1;
                    Vec::new()
                });
            }
        }
        assert_eq!((firsts, found), (vec![true, false, true, false], 2));
    }

    #[test]
    fn the_memo_is_bounded() {
        let mut all = MetSeries::new(7);
        all.begin_batch();
        for number in 0..=REMEMBERED_MAX {
            let labels = Labels::from_iter([("trace", number.to_string())]);
            all.meet("m", &labels, Vec::new);
        }
        assert!(all.met.len() <= REMEMBERED_MAX);
    }
}
