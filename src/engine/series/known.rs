//! The series seen lately: who asks for each, and what is remembered of it.
//!
//! Owns the memo of matches. Matching a series against a thousand analyses takes far longer than
//! taking its point, and the same series come again and again; so it is done once, and again when
//! an analysis starts. Series that nobody asks for are remembered by a hash only. Next: `track`.

mod saving;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::track::Track;
use crate::engine::journal::Spelled;
use crate::engine::matching::Place;
use crate::engine::unplaced;
use crate::model::series::SeriesKey;

/// Series that nobody asks for whose hashes are kept (8 bytes each, and their table); past that
/// the memo begins anew.
pub const UNMATCHED_REMEMBERED_MAX: usize = 100_000;

/// Sets of sites that are remembered, to be shared.
const SITES_REMEMBERED_MAX: usize = 16;

/// Series by their keys.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "saving::Saved")]
pub(in crate::engine) struct KnownSeries {
    seed: u64,
    hasher: FixedState,
    /// Series that somebody asks for, in the order they were met.
    matched: Vec<Known>,
    /// Where each stands among them.
    table: HashTable<u32>,
    /// Where the one stands that was met behind the last: senders keep to an order.
    next: usize,
    unmatched: HashTable<u64>,
    /// Who asks for the series met last: most share it with others.
    shared: VecDeque<Arc<[Site]>>,
    /// Grows with every start of an analysis, after which matches are to be found anew.
    generation: u64,
}

/// A series that at least one analysis asks for.
#[derive(Debug)]
pub(super) struct Known {
    key: Box<[u8]>,
    generation: u64,
    /// Its key's hash: what tells it apart from others that are shown.
    pub id: u64,
    /// Who asks for it.
    pub sites: Arc<[Site]>,
    /// Where its key stands in the journal.
    pub spelled: Spelled,
    /// What came before.
    pub track: Track,
}

/// One analysis that asks for a series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Site {
    /// Id of the analysis.
    pub analysis: String,
    /// What for; empty where both arms ask for it.
    pub places: Vec<Place>,
    /// The unit its samples belong to, by metric of `places`.
    pub units: Vec<Option<Arc<str>>>,
    /// Number of the histogram whose bucket it is, where it is asked for as one.
    pub histogram: Option<u64>,
}

/// What is known of a series.
pub(super) enum Met<'k> {
    /// Somebody asks for it.
    Matched(&'k mut Known),
    /// Nobody does, and it was not asked about before.
    Unmatched {
        /// Whether it was met before.
        before: bool,
    },
    /// These ask for it, but there is no room for another series.
    Full(Vec<Site>),
}

// === impl Known ===

impl Known {
    /// What tells it apart, and how it is put into words.
    pub fn named(&self) -> (u64, impl Fn() -> String) {
        (self.id, || {
            let key = SeriesKey::of_sorted(&self.key);
            unplaced::series(key.name(), &key.labels())
        })
    }
}

// === impl KnownSeries ===

impl KnownSeries {
    /// Nothing known. The seed makes collisions unforeseeable to senders; no result depends on it.
    pub fn new(seed: u64) -> KnownSeries {
        KnownSeries {
            seed,
            hasher: FixedState::with_seed(seed),
            matched: Vec::new(),
            table: HashTable::new(),
            next: 0,
            unmatched: HashTable::new(),
            shared: VecDeque::new(),
            generation: 0,
        }
    }

    /// An analysis started: everything is to be matched anew, and what belonged only to analyses
    /// that ended (as `is_running` tells) is forgotten.
    pub fn match_anew(&mut self, is_running: impl Fn(&str) -> bool) {
        self.generation += 1;
        self.unmatched.clear();
        self.shared.clear();
        self.matched
            .retain(|known| known.sites.iter().any(|site| is_running(&site.analysis)));
        self.find_anew();
    }

    /// The seed of its hashes.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    fn hash_of(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Fills the table of those that are matched.
    fn find_anew(&mut self) {
        self.table.clear();
        for (number, known) in self.matched.iter().enumerate() {
            let matched = &self.matched;
            self.table.insert_unique(known.id, number as u32, |number| {
                matched[*number as usize].id
            });
        }
    }

    /// These sites, shared with other series of the same.
    fn share(shared: &mut VecDeque<Arc<[Site]>>, sites: Vec<Site>) -> Arc<[Site]> {
        if let Some(known) = shared.iter().find(|known| ***known == *sites) {
            return known.clone();
        }
        if shared.len() >= SITES_REMEMBERED_MAX {
            shared.pop_front();
        }
        let sites: Arc<[Site]> = sites.into();
        shared.push_back(sites.clone());
        sites
    }

    /// What is known of a series; `find` tells who asks for it.
    pub(super) fn meet(
        &mut self,
        key: SeriesKey<'_>,
        series_max: usize,
        find: impl FnOnce() -> Vec<Site>,
    ) -> Met<'_> {
        let bytes = key.as_bytes();
        let is_next = |known: &Known| *known.key == *bytes;
        if self.matched.get(self.next).is_some_and(is_next) {
            return self.met(self.next, find);
        }
        let hash = self.hasher.hash_one(bytes);
        let is_it = |number: &u32| *self.matched[*number as usize].key == *bytes;
        if let Some(&number) = self.table.find(hash, is_it) {
            return self.met(number as usize, find);
        }
        if self.unmatched.find(hash, |known| *known == hash).is_some() {
            return Met::Unmatched { before: true };
        }
        let sites = find();
        if sites.is_empty() {
            remember_unmatched(&mut self.unmatched, hash);
            return Met::Unmatched { before: false };
        }
        if self.matched.len() >= series_max {
            return Met::Full(sites);
        }
        let known = Known {
            key: bytes.into(),
            generation: self.generation,
            id: hash,
            sites: KnownSeries::share(&mut self.shared, sites),
            spelled: Spelled::default(),
            track: Track::default(),
        };
        let (number, matched) = (self.matched.len(), &self.matched);
        self.table
            .insert_unique(hash, number as u32, |number| matched[*number as usize].id);
        self.matched.push(known);
        self.next = number + 1;
        Met::Matched(&mut self.matched[number])
    }

    /// A series that was met before; who asks for it is found anew after a start.
    #[inline]
    fn met(&mut self, number: usize, find: impl FnOnce() -> Vec<Site>) -> Met<'_> {
        self.next = number + 1;
        let known = &mut self.matched[number];
        if known.generation != self.generation {
            known.generation = self.generation;
            known.sites = KnownSeries::share(&mut self.shared, find());
        }
        Met::Matched(known)
    }
}

fn remember_unmatched(unmatched: &mut HashTable<u64>, hash: u64) {
    if unmatched.len() >= UNMATCHED_REMEMBERED_MAX {
        unmatched.clear();
    }
    unmatched.insert_unique(hash, hash, |hash| *hash);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::series::{SeriesBatch, SeriesKind};

    fn batch(count: usize) -> SeriesBatch {
        let mut batch = SeriesBatch::default();
        for number in 0..count {
            let pod = format!("pod-{number}");
            let labels = [("__name__", "m"), ("pod", pod.as_str())];
            let begun = batch.begin(labels.into_iter(), SeriesKind::Counter);
            begun.expect("named");
        }
        batch
    }

    fn site(analysis: &str) -> Site {
        Site {
            analysis: analysis.to_owned(),
            places: Vec::new(),
            units: Vec::new(),
            histogram: None,
        }
    }

    #[test]
    fn a_series_is_matched_once_and_again_after_a_start() {
        let mut known = KnownSeries::new(7);
        let batch = batch(3);
        let keys: Vec<_> = batch.iter().map(|series| series.key).collect();
        let mut found = 0;
        for _ in 0..3 {
            let met = known.meet(keys[0], 10, || {
                found += 1;
                vec![site("a")]
            });
            assert!(matches!(met, Met::Matched(known) if *known.sites == [site("a")]));
        }
        for before in [false, true] {
            let met = known.meet(keys[1], 10, Vec::new);
            assert!(matches!(met, Met::Unmatched { before: b } if b == before));
        }
        assert_eq!((found, known.matched.len()), (1, 1));
        known.match_anew(|id| id == "a");
        let met = known.meet(keys[0], 10, || vec![site("a"), site("b")]);
        assert!(matches!(met, Met::Matched(known) if known.sites.len() == 2));
        let met = known.meet(keys[1], 10, || vec![site("b")]);
        assert!(matches!(met, Met::Matched(_)));
        known.match_anew(|id| id == "c");
        assert_eq!(known.matched.len(), 0);
    }

    #[test]
    fn one_series_past_the_limit_is_refused_and_the_others_go_on() {
        let mut known = KnownSeries::new(7);
        let batch = batch(3);
        let mut outcomes = Vec::new();
        for key in batch.iter().map(|series| series.key) {
            let met = known.meet(key, 2, || vec![site("a")]);
            outcomes.push(matches!(met, Met::Matched(_)));
        }
        assert_eq!(outcomes, [true, true, false]);
        let first = batch.iter().next().expect("three").key;
        assert!(matches!(known.meet(first, 2, Vec::new), Met::Matched(_)));
    }

    #[test]
    fn the_memo_of_unmatched_series_is_bounded() {
        let mut known = KnownSeries::new(7);
        let batch = batch(UNMATCHED_REMEMBERED_MAX + 1);
        for key in batch.iter().map(|series| series.key) {
            known.meet(key, 10, Vec::new);
        }
        assert!(known.unmatched.len() <= UNMATCHED_REMEMBERED_MAX);
    }
}
