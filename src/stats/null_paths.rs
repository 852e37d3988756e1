//! Conditional Monte-Carlo alpha spending: thresholds from simulated null paths.
//!
//! Owns the paths. Each look extends every path by one draw from the tick's null law, computes
//! the multiscale statistic of the paths still alive, and removes the top of them so that the
//! share removed so far is the alpha spent so far. With surviving values v ascending and q to be
//! removed, the threshold is the smallest value *strictly above* v[na - q - 1]: a fresh null path
//! is then flagged with probability at most q/(na + 1), for any number of paths and any ties.
//! Chance comes from `noise`, which other tests of the same seed share. What is kept of a test
//! between looks is small (the thresholds and the removed paths, see [`Removed`]): the prefix sums
//! can be dropped at any time and extended again from the stored laws, bit for bit.

use std::borrow::Borrow;

use serde::{Deserialize, Serialize};

use crate::stats::law::{Lattice, Law};
use crate::stats::multiscale::{self, WHOLE_RUN_PENALTY};
use crate::stats::noise::Noise;

/// Null paths of a test: at 20,000 the realised level varies by .0014 (sd) around .05.
pub const PATHS: usize = 20_000;
/// Memory of all prefix sums; longer runs get fewer paths.
pub const SCRATCH_BYTES_MAX: usize = 64 << 20;
/// Paths whose statistic is worked out together, so that it stays in the first-level cache.
const BLOCK: usize = 1_024;
/// Candidates for removal that are held before they are thinned out.
const CANDIDATES_MIN: usize = 64;

/// Null paths of one test, extended look by look.
#[derive(Debug, Clone)]
pub struct NullPaths {
    looks_planned: usize,
    paths: usize,
    /// Prefix sums of scores, look by look. Lattice scores are counted from the whole number next
    /// to their mean, so that equal sums stay equal in single precision up to 2^24 steps away
    /// from it, however large the counts are.
    prefix: Vec<Vec<f32>>,
    /// Prefix sums of what the means leave over and of the variances of the laws.
    mean: Vec<f64>,
    variance: Vec<f64>,
    removed: Removed,
    statistic: Vec<f32>,
    candidates: Vec<f32>,
}

/// Numbers of the paths that were removed so far: with the laws, all that a test's past amounts to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed(Vec<u32>);

// === impl NullPaths ===

impl NullPaths {
    /// Paths that a test over `looks_planned` looks takes: as many as memory allows up to
    /// `paths_max`.
    pub fn count(looks_planned: usize, paths_max: usize) -> usize {
        let per_path = (looks_planned + 1) * std::mem::size_of::<f32>();
        (SCRATCH_BYTES_MAX / per_path).max(1_000).min(paths_max)
    }

    /// Paths of a test over `looks_planned` looks, before the first.
    pub fn new(looks_planned: usize, paths: usize) -> NullPaths {
        NullPaths {
            looks_planned,
            paths,
            prefix: vec![vec![0.0; paths]],
            mean: vec![0.0],
            variance: vec![0.0],
            removed: Removed::default(),
            statistic: vec![0.0; paths],
            candidates: Vec::new(),
        }
    }

    /// The paths of a test that has looked after each of these laws and removed these paths: as
    /// [`NullPaths::look`] would have left them, without looking again.
    pub fn resumed(
        looks_planned: usize,
        paths: usize,
        laws: impl Iterator<Item = impl Borrow<Law>>,
        removed: Removed,
        noise: &mut Noise,
    ) -> NullPaths {
        let mut resumed = NullPaths::new(looks_planned, paths);
        for law in laws {
            resumed.extend(law.borrow(), noise);
        }
        resumed.removed = removed;
        resumed
    }

    /// Memory of the prefix sums once all planned looks are taken.
    pub fn bytes(&self) -> usize {
        (self.looks_planned + 1) * self.paths * std::mem::size_of::<f32>()
    }

    /// Looks taken so far.
    pub fn looks(&self) -> usize {
        self.prefix.len() - 1
    }

    /// The paths removed so far.
    pub fn removed(&self) -> &Removed {
        &self.removed
    }

    /// Extends every path by this law and spends alpha up to `alpha_cumulative`. Returns the
    /// threshold: flag when the statistic is at or above it; infinite when nothing can be spent.
    /// A tick without information is a look only at the horizon. `noise` must be of the test's
    /// seed and number of paths, the same at every look.
    pub fn look(&mut self, law: &Law, alpha_cumulative: f64, noise: &mut Noise) -> f64 {
        self.extend(law, noise);
        let look = self.looks();
        if matches!(law, Law::Empty) && look < self.looks_planned {
            return f64::INFINITY;
        }
        let quota = (alpha_cumulative * (self.paths + 1) as f64 + 1e-9).floor() as usize;
        let wanted = quota.saturating_sub(self.removed.0.len());
        if wanted == 0 || self.variance[look] <= 0.0 {
            return f64::INFINITY;
        }
        self.compute_statistics();
        self.remove(wanted)
    }

    fn extend(&mut self, law: &Law, noise: &mut Noise) {
        let last = self.looks();
        let (mean, variance) = match law {
            Law::Empty => (0.0, 0.0),
            Law::Gaussian { variance } => (0.0, *variance),
            // Counted from the whole step nearest to the mean, so that single precision holds
            // long sums of large counts.
            Law::Lattice(lattice) => (
                lattice.mean() - lattice.unit() * centre(lattice) as f64,
                lattice.variance(),
            ),
        };
        self.mean.push(self.mean[last] + mean);
        self.variance.push(self.variance[last] + variance);
        let before = &self.prefix[last];
        let next = match law {
            Law::Empty => before.clone(),
            Law::Gaussian { variance } => {
                let deviation = variance.sqrt() as f32;
                let draws = noise.normals(last).iter();
                let scores = before.iter().zip(draws);
                scores
                    .map(|(score, draw)| score + deviation * draw)
                    .collect()
            }
            Law::Lattice(lattice) => {
                let (unit, centre) = (lattice.unit() as f32, centre(lattice));
                let sampler = lattice.sampler();
                let mut next = before.clone();
                noise.bits(last, |path, bits| {
                    next[path] += unit * (sampler.sample(bits) - centre) as f32;
                });
                next
            }
        };
        self.prefix.push(next);
    }

    fn compute_statistics(&mut self) {
        let look = self.looks();
        let whole = (look, WHOLE_RUN_PENALTY);
        let windows = multiscale::dyadic(look)
            .map(|window| (window, multiscale::penalty(self.looks_planned, window)));
        let windows: Vec<(&[f32], f32, f32, f32)> = std::iter::once(whole)
            .chain(windows)
            .filter_map(|(window, penalty)| {
                let variance = self.variance[look] - self.variance[look - window];
                let mean = (self.mean[look] - self.mean[look - window]) as f32;
                let scale = (1.0 / variance.sqrt()) as f32;
                let before = self.prefix[look - window].as_slice();
                (variance > 0.0).then_some((before, mean, scale, penalty as f32))
            })
            .collect();
        let now = &self.prefix[look];
        for (block, statistic) in self.statistic.chunks_mut(BLOCK).enumerate() {
            let paths = block * BLOCK..block * BLOCK + statistic.len();
            let now = &now[paths.clone()];
            statistic.fill(f32::NEG_INFINITY);
            for &(before, mean, scale, penalty) in &windows {
                let before = &before[paths.clone()];
                for ((best, now), before) in statistic.iter_mut().zip(now).zip(before) {
                    let value = (now - before - mean) * scale - penalty;
                    *best = if value > *best { value } else { *best };
                }
            }
        }
        for &path in &self.removed.0 {
            self.statistic[path as usize] = f32::NEG_INFINITY;
        }
    }

    fn remove(&mut self, wanted: usize) -> f64 {
        if self.paths - self.removed.0.len() <= wanted {
            return f64::INFINITY;
        }
        let pivot = self.largest(wanted + 1);
        let threshold = self
            .candidates
            .iter()
            .copied()
            .filter(|&value| value > pivot)
            .fold(f32::INFINITY, f32::min);
        if threshold == f32::INFINITY {
            return f64::INFINITY;
        }
        for (path, &statistic) in self.statistic.iter().enumerate() {
            if statistic >= threshold {
                self.removed.0.push(path as u32);
            }
        }
        f64::from(threshold)
    }

    /// The statistic that is the `rank`-th largest, from 1; all that are larger are left in
    /// `candidates`. One pass, for few of many are wanted.
    fn largest(&mut self, rank: usize) -> f32 {
        let held_max = (4 * rank).max(CANDIDATES_MIN);
        self.candidates.clear();
        let mut floor = f32::NEG_INFINITY;
        for block in self.statistic.chunks(BLOCK) {
            // Most blocks hold nothing that matters, and that is found out without a branch each.
            let top = block.iter().fold(
                f32::NEG_INFINITY,
                |top, &value| {
                    if value > top { value } else { top }
                },
            );
            if top <= floor {
                continue;
            }
            for &value in block {
                if value > floor {
                    self.candidates.push(value);
                    if self.candidates.len() == held_max {
                        floor = thin(&mut self.candidates, rank);
                    }
                }
            }
        }
        thin(&mut self.candidates, rank)
    }
}

/// Leaves the `rank` largest and returns the smallest of them.
fn thin(candidates: &mut Vec<f32>, rank: usize) -> f32 {
    let from = candidates.len().saturating_sub(rank);
    let (_, &mut smallest, _) = candidates.select_nth_unstable_by(from, f32::total_cmp);
    candidates.drain(..from);
    smallest
}

/// The lattice step nearest to a law's mean.
fn centre(lattice: &Lattice) -> i64 {
    (lattice.mean() / lattice.unit()).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::sampler::seed_from;

    /// Share of fresh paths under the same laws that cross at some look.
    fn level(laws: &[Law], alpha: f64, paths: usize) -> f64 {
        let planned = laws.len();
        let mut noise = Noise::new(seed_from("test", "level"), planned, paths);
        let mut under_test = NullPaths::new(planned, paths);
        let mut fresh_noise = Noise::new(seed_from("test", "fresh"), planned, 20_000);
        let mut fresh = NullPaths::new(planned, 20_000);
        let mut crossed = vec![false; 20_000];
        for (look, law) in laws.iter().enumerate() {
            let threshold =
                under_test.look(law, alpha * (look + 1) as f64 / planned as f64, &mut noise);
            fresh.extend(law, &mut fresh_noise);
            fresh.compute_statistics();
            for (crossed, &statistic) in crossed.iter_mut().zip(&fresh.statistic) {
                *crossed |= f64::from(statistic) >= threshold;
            }
        }
        crossed.iter().filter(|crossed| **crossed).count() as f64 / 20_000.0
    }

    #[test]
    fn fresh_gaussian_paths_cross_with_probability_alpha() {
        let laws: Vec<Law> = (0..30)
            .map(|i| {
                if i % 7 == 3 {
                    Law::Empty
                } else {
                    Law::gaussian(1.0 + f64::from(i))
                }
            })
            .collect();
        let level = level(&laws, 0.05, 20_000);
        // Monte-Carlo errors of the thresholds (.0014) and of the fresh paths (.0015) together.
        assert!((level - 0.05).abs() < 4.0 * 0.0021, "{level}");
    }

    #[test]
    fn rare_counts_never_cross_too_often() {
        let laws: Vec<Law> = (0..40)
            .map(|i| {
                if i % 3 == 0 {
                    Law::Empty
                } else {
                    Law::lattice(Lattice::binomial(1 + i % 2, 0.2))
                }
            })
            .collect();
        let level = level(&laws, 0.05, 5_000);
        assert!(level < 0.05 + 4.0 * 0.0032, "{level}");
    }

    #[test]
    fn large_counts_keep_their_ties() {
        // The events of four requests out of two million, half of which are events, and the rest
        // of the events: the same law up to an offset of a million a tick. Summed as they are,
        // the latter would pass 2^24, where single precision tears equal scores apart.
        let (many, few, events) = (2_000_000, 4, 1_000_002);
        let thresholds = |canary: u64, baseline: u64| {
            let law = Lattice::fisher_noncentral_hypergeometric(canary, baseline, events, 1.0);
            let law = Law::lattice(law);
            let mut noise = Noise::new(seed_from("test", "large"), 40, 2_000);
            let mut paths = NullPaths::new(40, 2_000);
            (1..=40)
                .map(|look| paths.look(&law, 0.05 * f64::from(look) / 40.0, &mut noise))
                .collect::<Vec<_>>()
        };
        let pairs = thresholds(few, many).into_iter().zip(thresholds(many, few));
        for (small, large) in pairs {
            assert!(
                small == large || (small - large).abs() < 1e-5,
                "{small} {large}"
            );
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_thresholds_wherever_it_is_resumed() {
        let laws: Vec<Law> = (1..=12_u64)
            .map(|i| match i % 3 {
                0 => Law::Empty,
                1 => Law::gaussian(i as f64),
                _ => Law::lattice(Lattice::binomial(i, 0.3)),
            })
            .collect();
        let run = |resume_at: Option<usize>| {
            let mut noise = Noise::new(seed_from("test", "same"), 12, 3_000);
            let mut paths = NullPaths::new(12, 3_000);
            let mut thresholds = Vec::new();
            for (look, law) in laws.iter().enumerate() {
                if resume_at == Some(look) {
                    let removed = paths.removed().clone();
                    let mut fresh = Noise::new(seed_from("test", "same"), 12, 3_000);
                    let past = laws[..look].iter();
                    paths = NullPaths::resumed(12, 3_000, past, removed, &mut fresh);
                }
                let alpha = 0.05 * (look + 1) as f64 / 12.0;
                thresholds.push(paths.look(law, alpha, &mut noise).to_bits());
            }
            (thresholds, paths.removed().clone())
        };
        let straight = run(None);
        assert!(!straight.1.0.is_empty());
        for resume_at in [1, 5, 11] {
            assert_eq!(run(Some(resume_at)), straight);
        }
    }

    #[test]
    fn the_largest_statistics_are_those_of_a_full_sort() {
        let mut paths = NullPaths::new(1, 5_000);
        // A multiplicative generator, cut to few distinct values so that there are ties.
        for (i, statistic) in (0_u32..).zip(&mut paths.statistic) {
            *statistic = (i.wrapping_mul(2_654_435_761) >> 20) as f32;
        }
        let mut sorted = paths.statistic.clone();
        sorted.sort_by(|one, other| other.total_cmp(one));
        for rank in [1, 2, 17, 900, 4_999] {
            let pivot = paths.largest(rank);
            assert_eq!(pivot, sorted[rank - 1]);
            let mut above = paths.candidates.clone();
            above.retain(|&value| value > pivot);
            above.sort_by(|one, other| other.total_cmp(one));
            assert_eq!(above[..], sorted[..above.len()]);
            assert!(sorted[above.len()] <= pivot);
        }
    }
}
