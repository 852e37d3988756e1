//! Scratch memory for null paths, shared by all checks of all analyses.
//!
//! Owns who may use which paths, and how much memory they take together. Two analyses on one plan
//! share a seed but not their data, so paths are held by a claim that is never given twice. What
//! was dropped to make room is built again from the stored laws, bit for bit. The noise behind the
//! paths depends on the seed alone, so that analyses on one plan share it. Next: `side`.

use std::collections::VecDeque;

use crate::stats::ar_paths::ArPaths;
use crate::stats::noise::Noise;
use crate::stats::null_paths::{self, NullPaths};

/// Memory of all null paths of one kind that are kept between looks, and of all noise.
pub const KEPT_BYTES_MAX: usize = 128 << 20;

/// Null paths in use.
#[derive(Debug)]
pub struct Scratch {
    /// Null paths of one test, at the most.
    paths_max: usize,
    /// Paths of scores with known laws.
    pub(super) null: Kept<NullPaths>,
    /// What they are drawn from.
    pub(super) noise: Kept<Noise>,
    /// Paths of paired numbers.
    pub(super) paired: Kept<ArPaths>,
}

/// Ownership of paths in a scratch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim(u64);

/// The paths used last, within [`KEPT_BYTES_MAX`].
#[derive(Debug)]
pub(super) struct Kept<P> {
    claims: u64,
    bytes: usize,
    /// Oldest first.
    paths: VecDeque<(Claim, usize, P)>,
}

// === impl Scratch ===

impl Default for Scratch {
    /// The scratch of the daemon: [`null_paths::PATHS`] a test.
    fn default() -> Scratch {
        Scratch::with_paths(null_paths::PATHS)
    }
}

impl Scratch {
    /// A scratch whose tests take `paths_max` null paths at the most, for simulations of many
    /// repetitions. The level is unbiased for any number of paths; fewer only make a single
    /// repetition's thresholds noisier.
    pub fn with_paths(paths_max: usize) -> Scratch {
        Scratch {
            paths_max: paths_max.max(1),
            null: Kept::default(),
            noise: Kept::default(),
            paired: Kept::default(),
        }
    }

    /// Null paths of one test, at the most.
    pub(super) fn paths_max(&self) -> usize {
        self.paths_max
    }
}

// === impl Kept ===

impl<P> Default for Kept<P> {
    fn default() -> Kept<P> {
        Kept {
            claims: 0,
            bytes: 0,
            paths: VecDeque::new(),
        }
    }
}

impl<P> Kept<P> {
    /// Whether these paths are still there.
    pub fn holds(&self, claim: Claim) -> bool {
        self.paths.iter().any(|(held, _, _)| *held == claim)
    }

    /// Keeps paths that will take `bytes`, dropping the oldest others to make room.
    pub fn keep(&mut self, bytes: usize, paths: P) -> Claim {
        while self.bytes + bytes > KEPT_BYTES_MAX
            && let Some((_, freed, _)) = self.paths.pop_front()
        {
            self.bytes -= freed;
        }
        self.claims += 1;
        self.bytes += bytes;
        let claim = Claim(self.claims);
        self.paths.push_back((claim, bytes, paths));
        claim
    }

    /// The newest claim on paths of which this is true.
    pub fn find(&self, wanted: impl Fn(&P) -> bool) -> Option<Claim> {
        let found = self.paths.iter().rev().find(|(_, _, paths)| wanted(paths));
        found.map(|(claim, _, _)| *claim)
    }

    /// The paths of a claim, which are then the newest.
    pub fn get(&mut self, claim: Claim) -> Option<&mut P> {
        let at = self.paths.iter().position(|(held, _, _)| *held == claim)?;
        let entry = self.paths.remove(at)?;
        self.paths.push_back(entry);
        self.paths.back_mut().map(|(_, _, paths)| paths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_paths_make_room_and_claims_are_never_given_twice() {
        let mut kept = Kept::default();
        let half = KEPT_BYTES_MAX / 2;
        let first = kept.keep(half, "first");
        let second = kept.keep(half, "second");
        assert_eq!(kept.get(first), Some(&mut "first"));
        // The second is now the oldest.
        let third = kept.keep(1, "third");
        assert!(kept.holds(first) && !kept.holds(second) && kept.holds(third));
        assert_eq!(kept.get(second), None);
        let again = kept.keep(1, "second");
        assert_ne!(again, second);
    }
}
