//! Known series as they are saved.
//!
//! Owns that form: who asks for a series is written once for all that share it. Tables are filled
//! again. The seed is saved too, or the hashes of series that nobody asks for would mean nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use super::{Known, KnownSeries, Site, remember_unmatched};
use crate::engine::journal::Spelled;
use crate::engine::series::track::Track;

/// One series.
#[derive(Serialize)]
struct SavingOne<'s> {
    key: &'s [u8],
    generation: u64,
    /// Number of its sites.
    sites: usize,
    track: &'s Track,
}

#[derive(Deserialize)]
struct SavedOne {
    key: Box<[u8]>,
    generation: u64,
    sites: usize,
    track: Track,
}

/// All of them.
#[derive(Serialize)]
struct Saving<'s> {
    seed: u64,
    sites: Vec<&'s [Site]>,
    matched: Vec<SavingOne<'s>>,
    unmatched: Vec<[u8; 8]>,
    generation: u64,
}

/// As it comes back.
#[derive(Deserialize)]
pub(super) struct Saved {
    seed: u64,
    sites: Vec<Arc<[Site]>>,
    matched: Vec<SavedOne>,
    unmatched: Vec<[u8; 8]>,
    generation: u64,
}

/// Sets of sites, each once, by what they hold.
#[derive(Default)]
struct SitesOnce<'s> {
    sites: Vec<&'s [Site]>,
    /// By where they lie: most are shared.
    by_place: BTreeMap<*const Site, usize>,
    by_text: BTreeMap<String, usize>,
}

// === impl SitesOnce ===

impl<'s> SitesOnce<'s> {
    fn number_of(&mut self, sites: &'s Arc<[Site]>) -> usize {
        if let Some(number) = self.by_place.get(&sites.as_ptr()) {
            return *number;
        }
        let next = self.sites.len();
        let number = *self.by_text.entry(format!("{sites:?}")).or_insert(next);
        if number == next {
            self.sites.push(sites);
        }
        if !sites.is_empty() {
            self.by_place.insert(sites.as_ptr(), number);
        }
        number
    }
}

// === impl KnownSeries ===

impl Serialize for KnownSeries {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let KnownSeries {
            seed,
            hasher: _,
            matched,
            table: _,
            // A hint, and a memo of what may be shared: no result depends on either.
            next: _,
            shared: _,
            unmatched,
            generation,
        } = self;
        let mut once = SitesOnce::default();
        let matched = matched.iter().map(|known| {
            let Known {
                key,
                generation,
                id: _,
                sites,
                // Of a journal that ends with this process.
                spelled: _,
                track,
            } = known;
            SavingOne {
                key,
                generation: *generation,
                sites: once.number_of(sites),
                track,
            }
        });
        let matched = matched.collect();
        let mut unmatched: Vec<u64> = unmatched.iter().copied().collect();
        unmatched.sort_unstable();
        let saving = Saving {
            seed: *seed,
            sites: once.sites,
            matched,
            unmatched: unmatched.into_iter().map(u64::to_le_bytes).collect(),
            generation: *generation,
        };
        saving.serialize(serializer)
    }
}

impl TryFrom<Saved> for KnownSeries {
    type Error = &'static str;

    fn try_from(saved: Saved) -> Result<KnownSeries, &'static str> {
        let mut series = KnownSeries::new(saved.seed);
        for one in saved.matched {
            let sites = saved.sites.get(one.sites).cloned();
            series.matched.push(Known {
                id: series.hash_of(&one.key),
                key: one.key,
                generation: one.generation,
                sites: sites.ok_or("nobody asks for a series")?,
                spelled: Spelled::default(),
                track: one.track,
            });
        }
        series.find_anew();
        for hash in saved.unmatched {
            remember_unmatched(&mut series.unmatched, u64::from_le_bytes(hash));
        }
        series.generation = saved.generation;
        Ok(series)
    }
}
