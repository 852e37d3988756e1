//! Conditional Monte-Carlo alpha spending: thresholds from simulated null paths.
//!
//! Owns the paths. Each look extends every path by one draw from the tick's null law, computes
//! the multiscale statistic of the paths still alive, and removes the top of them so that the
//! share removed so far is the alpha spent so far. With surviving values v ascending and q to be
//! removed, the threshold is the smallest value *strictly above* v[na - q - 1]: a fresh null path
//! is then flagged with probability at most q/(na + 1), for any number of paths and any ties.
//! Chunks of paths draw from streams of their own, so a split over threads changes nothing.

use crate::stats::law::{Lattice, Law};
use crate::stats::multiscale::{self, WHOLE_RUN_PENALTY};
use crate::stats::sampler::Stream;

/// Null paths of a test: at 20,000 the realised level varies by .0014 (sd) around .05.
pub const PATHS: usize = 20_000;
/// Memory of all prefix sums; longer runs get fewer paths.
pub const SCRATCH_BYTES_MAX: usize = 64 << 20;
/// Paths that share a stream.
const CHUNK: usize = 1_024;

/// Null paths of one test, extended look by look.
#[derive(Debug, Clone)]
pub struct NullPaths {
    looks_planned: usize,
    paths: usize,
    streams: Vec<Stream>,
    /// Prefix sums of scores, look by look. Lattice scores are counted from the whole number next
    /// to their mean, so that equal sums stay equal in single precision up to 2^24 steps away
    /// from it, however large the counts are.
    prefix: Vec<Vec<f32>>,
    /// Prefix sums of what the means leave over and of the variances of the laws.
    mean: Vec<f64>,
    variance: Vec<f64>,
    alive: Vec<bool>,
    killed: usize,
    statistic: Vec<f32>,
    order: Vec<f32>,
    draws: Vec<f32>,
}

// === impl NullPaths ===

impl NullPaths {
    /// Paths of a test over `looks_planned` looks, as many as memory allows up to `paths_max`.
    pub fn new(seed: [u8; 32], looks_planned: usize, paths_max: usize) -> NullPaths {
        let per_path = (looks_planned + 1) * std::mem::size_of::<f32>();
        let paths = (SCRATCH_BYTES_MAX / per_path).max(1_000).min(paths_max);
        NullPaths::with_paths(seed, looks_planned, paths)
    }

    /// As [`NullPaths::new`] with a given number of paths.
    pub fn with_paths(seed: [u8; 32], looks_planned: usize, paths: usize) -> NullPaths {
        let chunks = paths.div_ceil(CHUNK) as u64;
        NullPaths {
            looks_planned,
            paths,
            streams: (0..chunks).map(|chunk| Stream::new(&seed, chunk)).collect(),
            prefix: vec![vec![0.0; paths]],
            mean: vec![0.0],
            variance: vec![0.0],
            alive: vec![true; paths],
            killed: 0,
            statistic: vec![0.0; paths],
            order: Vec::with_capacity(paths),
            draws: vec![0.0; CHUNK],
        }
    }

    /// Memory of the prefix sums once all planned looks are taken.
    pub fn bytes(&self) -> usize {
        (self.looks_planned + 1) * self.paths * std::mem::size_of::<f32>()
    }

    /// Looks taken so far.
    pub fn looks(&self) -> usize {
        self.prefix.len() - 1
    }

    /// Extends every path by this law and spends alpha up to `alpha_cumulative`. Returns the
    /// threshold: flag when the statistic is at or above it; infinite when nothing can be spent.
    /// A tick without information is a look only at the horizon.
    pub fn look(&mut self, law: &Law, alpha_cumulative: f64) -> f64 {
        self.extend(law);
        let look = self.looks();
        if matches!(law, Law::Empty) && look < self.looks_planned {
            return f64::INFINITY;
        }
        let quota = (alpha_cumulative * (self.paths + 1) as f64 + 1e-9).floor() as usize;
        let wanted = quota.saturating_sub(self.killed);
        if wanted == 0 || self.variance[look] <= 0.0 {
            return f64::INFINITY;
        }
        self.compute_statistics();
        self.remove(wanted)
    }

    fn extend(&mut self, law: &Law) {
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
        let mut next = self.prefix[last].clone();
        match law {
            Law::Empty => {}
            Law::Gaussian { variance } => {
                let deviation = variance.sqrt() as f32;
                for (chunk, stream) in next.chunks_mut(CHUNK).zip(&mut self.streams) {
                    let draws = &mut self.draws[..chunk.len()];
                    stream.fill_normals(draws);
                    for (score, draw) in chunk.iter_mut().zip(draws) {
                        *score += deviation * *draw;
                    }
                }
            }
            Law::Lattice(lattice) => {
                let (unit, centre) = (lattice.unit() as f32, centre(lattice));
                for (chunk, stream) in next.chunks_mut(CHUNK).zip(&mut self.streams) {
                    for score in chunk {
                        *score += unit * (lattice.sample(stream.next_u32()) - centre) as f32;
                    }
                }
            }
        }
        self.prefix.push(next);
    }

    fn compute_statistics(&mut self) {
        let look = self.looks();
        let whole = (look, WHOLE_RUN_PENALTY);
        let windows = multiscale::dyadic(look)
            .map(|window| (window, multiscale::penalty(self.looks_planned, window)));
        let now = &self.prefix[look];
        self.statistic.fill(f32::NEG_INFINITY);
        for (window, penalty) in std::iter::once(whole).chain(windows) {
            let variance = self.variance[look] - self.variance[look - window];
            if variance <= 0.0 {
                continue;
            }
            let mean = (self.mean[look] - self.mean[look - window]) as f32;
            let scale = (1.0 / variance.sqrt()) as f32;
            let penalty = penalty as f32;
            let before = &self.prefix[look - window];
            for ((best, now), before) in self.statistic.iter_mut().zip(now).zip(before) {
                let value = (now - before - mean) * scale - penalty;
                *best = if value > *best { value } else { *best };
            }
        }
    }

    fn remove(&mut self, wanted: usize) -> f64 {
        self.order.clear();
        let living = self
            .alive
            .iter()
            .zip(&self.statistic)
            .filter(|(alive, _)| **alive);
        self.order.extend(living.map(|(_, statistic)| *statistic));
        let living = self.order.len();
        if living <= wanted {
            return f64::INFINITY;
        }
        let (_, pivot, above) = self
            .order
            .select_nth_unstable_by(living - wanted - 1, f32::total_cmp);
        let pivot = *pivot;
        let threshold = above
            .iter()
            .copied()
            .filter(|&value| value > pivot)
            .fold(f32::INFINITY, f32::min);
        if threshold == f32::INFINITY {
            return f64::INFINITY;
        }
        for (alive, &statistic) in self.alive.iter_mut().zip(&self.statistic) {
            if *alive && statistic >= threshold {
                *alive = false;
                self.killed += 1;
            }
        }
        f64::from(threshold)
    }
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
        let mut under_test = NullPaths::with_paths(seed_from("test", "level"), planned, paths);
        let mut fresh = NullPaths::with_paths(seed_from("test", "fresh"), planned, 20_000);
        let mut crossed = vec![false; 20_000];
        for (look, law) in laws.iter().enumerate() {
            let threshold = under_test.look(law, alpha * (look + 1) as f64 / planned as f64);
            fresh.extend(law);
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
                    Law::Lattice(Lattice::binomial(1 + i % 2, 0.2))
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
            let law = Law::Lattice(law);
            let mut paths = NullPaths::with_paths(seed_from("test", "large"), 40, 2_000);
            (1..=40)
                .map(|look| paths.look(&law, 0.05 * f64::from(look) / 40.0))
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
    fn the_same_seed_gives_the_same_thresholds() {
        let run = || {
            let mut paths = NullPaths::with_paths(seed_from("test", "same"), 5, 3_000);
            (1..=5)
                .map(|i| {
                    paths
                        .look(&Law::gaussian(f64::from(i)), 0.01 * f64::from(i))
                        .to_bits()
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(run(), run());
    }
}
