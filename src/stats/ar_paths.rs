//! Studentised sequential statistics of one number a tick, and their thresholds.
//!
//! Owns the statistic of gauge checks and its null paths. The run's own deviation (and, under
//! `Envelope`, its own first autocorrelation) standardises the windows, and the *same* function is
//! applied to simulated Gaussian paths: so the small-sample behaviour of both estimates is in the
//! thresholds. Under `Envelope` the threshold is the largest over first-order autocorrelations up
//! to 0.8, and it is what removes paths: an autocorrelation for which the largest threshold was
//! more than careful keeps what it did not spend for later looks.

use serde::{Deserialize, Serialize};

use crate::stats::multiscale::{self, Peak, WHOLE_RUN_PENALTY};
use crate::stats::sampler::Stream;

/// Autocorrelations whose worst threshold the envelope takes.
const ENVELOPE: [f64; 7] = [0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8];
/// Largest autocorrelation that the correction assumes.
const CORRECTION_MAX: f64 = 0.95;

/// Memory of all prefix sums; longer runs get fewer paths.
const SCRATCH_BYTES_MAX: usize = 64 << 20;
/// Paths below which thresholds would be noise, whatever memory says.
const PATHS_MIN: usize = 500;

/// How dependence between ticks is allowed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Ticks are independent.
    Independent,
    /// First-order autocorrelation up to 0.8.
    Envelope,
}

/// Null paths of a studentised test.
#[derive(Debug, Clone)]
pub struct ArPaths {
    kind: Kind,
    looks_planned: usize,
    multiscale: bool,
    ticks: usize,
    paths: usize,
    stream: Stream,
    ensembles: Vec<Ensemble>,
}

/// Null paths of one autocorrelation. All ensembles are driven by the same draws.
#[derive(Debug, Clone)]
struct Ensemble {
    phi: f64,
    sums: Vec<Sums>,
    /// Prefix sums of all paths, number by number.
    prefix: Vec<Vec<f64>>,
    alive: Vec<bool>,
    killed: usize,
    /// One over the deviation of each path; and its statistic at this look.
    inverse: Vec<f64>,
    statistic: Vec<f64>,
}

/// Running sums of a series, from which its deviation follows.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    count: usize,
    sum: f64,
    squares: f64,
    products: f64,
    first: f64,
    last: f64,
}

// === impl Kind ===

impl Kind {
    /// Numbers that the first look waits for.
    pub fn first_look(self) -> usize {
        match self {
            Kind::Independent => 6,
            Kind::Envelope => 12,
        }
    }

    /// The largest first-order autocorrelation allowed for.
    pub fn worst_correlation(self) -> f64 {
        match self {
            Kind::Independent => 0.0,
            Kind::Envelope => ENVELOPE[ENVELOPE.len() - 1],
        }
    }

    /// The loudest window of a series (windows counted in numbers); `None` before the first look.
    pub fn peak(self, numbers: &[f64], looks_planned: usize) -> Option<Peak> {
        let deviation = Sums::of(numbers).deviation(self)?;
        let prefix = prefix_sums(numbers);
        let count = numbers.len();
        let mut loudest: Option<Peak> = None;
        for (window, penalty) in windows(count, looks_planned, true) {
            let sum = prefix[count] - prefix[count - window];
            let z = sum / ((window as f64).sqrt() * deviation);
            if loudest.is_none_or(|peak| z - penalty > peak.statistic) {
                loudest = Some(Peak {
                    statistic: z - penalty,
                    window,
                    z,
                });
            }
        }
        loudest
    }

    /// The whole run's studentised mean, without penalty.
    pub fn whole(self, numbers: &[f64]) -> Option<f64> {
        let sums = Sums::of(numbers);
        let deviation = sums.deviation(self)?;
        Some(sums.sum / ((sums.count as f64).sqrt() * deviation))
    }
}

// === impl ArPaths ===

impl ArPaths {
    /// `paths` null paths (or as many as memory allows) for each autocorrelation of the kind, for
    /// the multiscale statistic or for the whole run alone, which has no penalty.
    pub fn new(
        seed: [u8; 32],
        looks_planned: usize,
        kind: Kind,
        multiscale: bool,
        paths: usize,
    ) -> ArPaths {
        let phis: &[f64] = match kind {
            Kind::Independent => &[0.0],
            Kind::Envelope => &ENVELOPE,
        };
        let per_path = (looks_planned + 1) * phis.len() * std::mem::size_of::<f64>();
        let paths = paths.min(SCRATCH_BYTES_MAX / per_path).max(PATHS_MIN);
        ArPaths {
            kind,
            looks_planned,
            multiscale,
            ticks: 0,
            paths,
            stream: Stream::new(&seed, 0),
            ensembles: phis.iter().map(|&phi| Ensemble::new(phi, paths)).collect(),
        }
    }

    /// Memory of the prefix sums once all planned looks are taken.
    pub fn bytes(&self) -> usize {
        let rows = (self.looks_planned + 1) * self.ensembles.len();
        rows * self.paths * std::mem::size_of::<f64>()
    }

    /// Ticks taken so far, with or without a number.
    pub fn ticks(&self) -> usize {
        self.ticks
    }

    /// Extends every path when the tick has a number, and spends alpha up to `alpha_cumulative`.
    /// Returns the threshold, the largest over the autocorrelations: flag when the statistic is
    /// at or above it; infinite when nothing can be spent. A tick without a number is a look only
    /// at the horizon.
    pub fn look(&mut self, present: bool, alpha_cumulative: f64) -> f64 {
        self.ticks += 1;
        if present {
            let draws: Vec<f64> = (0..self.paths).map(|_| self.stream.normal()).collect();
            for ensemble in &mut self.ensembles {
                ensemble.extend(&draws);
            }
        } else if self.ticks < self.looks_planned {
            return f64::INFINITY;
        }
        let quota = (alpha_cumulative * (self.paths + 1) as f64 + 1e-9).floor() as usize;
        let count = self.ensembles[0].prefix.len() - 1;
        let exhausted = |ensemble: &Ensemble| ensemble.killed >= quota;
        if count < self.kind.first_look() || self.ensembles.iter().any(exhausted) {
            return f64::INFINITY;
        }
        let windows: Vec<_> = windows(count, self.looks_planned, self.multiscale).collect();
        let mut bound = f64::NEG_INFINITY;
        for ensemble in &mut self.ensembles {
            ensemble.compute_statistics(self.kind, &windows);
            bound = bound.max(ensemble.threshold(quota - ensemble.killed));
        }
        for ensemble in &mut self.ensembles {
            ensemble.remove(bound);
        }
        bound
    }
}

// === impl Ensemble ===

impl Ensemble {
    fn new(phi: f64, paths: usize) -> Ensemble {
        Ensemble {
            phi,
            sums: vec![Sums::default(); paths],
            prefix: vec![vec![0.0; paths]],
            alive: vec![true; paths],
            killed: 0,
            inverse: vec![0.0; paths],
            statistic: vec![0.0; paths],
        }
    }

    fn extend(&mut self, draws: &[f64]) {
        // Stationary from the first number on, with unit variance.
        let fresh = (1.0 - self.phi * self.phi).sqrt();
        for (sums, draw) in self.sums.iter_mut().zip(draws) {
            let begun = sums.count > 0;
            sums.push(if begun {
                self.phi * sums.last + fresh * draw
            } else {
                *draw
            });
        }
        self.prefix
            .push(self.sums.iter().map(|sums| sums.sum).collect());
    }

    /// The same statistic as [`Kind::peak`] and [`Kind::whole`], for all paths at once.
    fn compute_statistics(&mut self, kind: Kind, windows: &[(usize, f64)]) {
        for (inverse, sums) in self.inverse.iter_mut().zip(&self.sums) {
            *inverse = sums
                .deviation(kind)
                .map_or(0.0, |deviation| 1.0 / deviation);
        }
        self.statistic.fill(f64::NEG_INFINITY);
        let count = self.prefix.len() - 1;
        for &(window, penalty) in windows {
            let root = 1.0 / (window as f64).sqrt();
            let ends = self.prefix[count].iter().zip(&self.prefix[count - window]);
            let paths = self.statistic.iter_mut().zip(&self.inverse);
            for ((best, inverse), (now, before)) in paths.zip(ends) {
                let value = (now - before) * (root * inverse) - penalty;
                *best = if value > *best { value } else { *best };
            }
        }
    }

    /// The smallest statistic strictly above all but the `wanted` largest of the living; see
    /// `null_paths`.
    fn threshold(&self, wanted: usize) -> f64 {
        let paths = self.alive.iter().zip(&self.statistic);
        let mut living: Vec<f64> = paths
            .filter_map(|(alive, statistic)| alive.then_some(*statistic))
            .collect();
        if living.len() <= wanted {
            return f64::INFINITY;
        }
        let at = living.len() - wanted - 1;
        let (_, pivot, above) = living.select_nth_unstable_by(at, f64::total_cmp);
        let pivot = *pivot;
        above
            .iter()
            .copied()
            .filter(|&value| value > pivot)
            .fold(f64::INFINITY, f64::min)
    }

    fn remove(&mut self, bound: f64) {
        for (alive, statistic) in self.alive.iter_mut().zip(&self.statistic) {
            if *alive && *statistic >= bound {
                *alive = false;
                self.killed += 1;
            }
        }
    }
}

// === impl Sums ===

impl Sums {
    fn of(numbers: &[f64]) -> Sums {
        let mut sums = Sums::default();
        for &number in numbers {
            sums.push(number);
        }
        sums
    }

    fn push(&mut self, number: f64) {
        if self.count == 0 {
            self.first = number;
        } else {
            self.products += number * self.last;
        }
        self.count += 1;
        self.sum += number;
        self.squares += number * number;
        self.last = number;
    }

    /// Deviation of a single number, inflated for autocorrelation; `None` before the first look
    /// and for constants, of which nothing can be said.
    ///
    /// The first autocorrelation p of the residuals, made up for its bias of -(1 + 3 p)/n (Kendall
    /// 1954), multiplies the variance of a mean by (1 + p)/(1 - p).
    fn deviation(&self, kind: Kind) -> Option<f64> {
        if self.count < kind.first_look() {
            return None;
        }
        let n = self.count as f64;
        let mean = self.sum / n;
        let spread = self.squares - n * mean * mean;
        if spread <= 1e-12 * self.squares {
            return None;
        }
        let variance = spread / (n - 1.0);
        let inflation = match kind {
            Kind::Independent => 1.0,
            Kind::Envelope => {
                let lagged = self.products - mean * (2.0 * self.sum - self.first - self.last)
                    + (n - 1.0) * mean * mean;
                let phi = lagged / spread;
                let corrected = (phi + (1.0 + 3.0 * phi) / n).clamp(0.0, CORRECTION_MAX);
                (1.0 + corrected) / (1.0 - corrected)
            }
        };
        Some((variance * inflation).sqrt())
    }
}

fn prefix_sums(numbers: &[f64]) -> Vec<f64> {
    let mut sum = 0.0;
    let sums = numbers.iter().map(|number| {
        sum += number;
        sum
    });
    std::iter::once(0.0).chain(sums).collect()
}

/// Windows of a run and their penalties: the whole run, then the dyadic ones. The whole run alone
/// has none.
fn windows(
    count: usize,
    looks_planned: usize,
    multiscale: bool,
) -> impl Iterator<Item = (usize, f64)> {
    let whole = if multiscale { WHOLE_RUN_PENALTY } else { 0.0 };
    let dyadic = multiscale::dyadic(if multiscale { count } else { 0 });
    std::iter::once((count, whole))
        .chain(dyadic.map(move |window| (window, multiscale::penalty(looks_planned, window))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::sampler::seed_from;

    /// Share of fresh AR(1) runs that cross at some look.
    fn level(kind: Kind, phi: f64, runs: usize) -> f64 {
        let looks = 30;
        let mut under_test = ArPaths::new(seed_from("test", "ar"), looks, kind, true, 2_000);
        let bounds: Vec<f64> = (1..=looks)
            .map(|look| under_test.look(true, 0.05 * look as f64 / looks as f64))
            .collect();
        let mut stream = Stream::new(&seed_from("test", "fresh ar"), 0);
        let fresh = (1.0 - phi * phi).sqrt();
        let mut crossed = 0;
        for _ in 0..runs {
            let mut numbers = Vec::new();
            let mut last = stream.normal();
            let mut flagged = false;
            for bound in &bounds {
                numbers.push(last);
                let peak = kind.peak(&numbers, looks);
                flagged |= peak.is_some_and(|peak| peak.statistic >= *bound);
                last = phi * last + fresh * stream.normal();
            }
            crossed += usize::from(flagged);
        }
        crossed as f64 / runs as f64
    }

    #[test]
    fn independent_ticks_are_flagged_at_the_level() {
        let level = level(Kind::Independent, 0.0, 4_000);
        assert!((level - 0.05).abs() < 4.0 * 0.006, "{level}");
    }

    #[test]
    fn the_envelope_holds_the_level_up_to_its_worst_case() {
        for phi in [0.0, 0.5, 0.8] {
            let level = level(Kind::Envelope, phi, 2_000);
            assert!(level < 0.05 + 4.0 * 0.007, "{level} at {phi}");
        }
    }

    #[test]
    fn the_worst_case_of_the_envelope_spends_most_of_the_level() {
        let level = level(Kind::Envelope, 0.8, 2_000);
        assert!(level > 0.05 - 4.0 * 0.007, "{level}");
    }

    #[test]
    fn paths_carry_the_statistic_of_the_series_that_they_are() {
        for kind in [Kind::Independent, Kind::Envelope] {
            for multiscale in [true, false] {
                let mut paths = ArPaths::new(seed_from("test", "same"), 20, kind, multiscale, 500);
                for look in 1..=20 {
                    paths.look(true, 0.05 * f64::from(look) / 20.0);
                }
                for ensemble in &paths.ensembles {
                    let number =
                        |tick: usize| ensemble.prefix[tick + 1][7] - ensemble.prefix[tick][7];
                    let numbers: Vec<f64> = (0..20).map(number).collect();
                    let expected = if multiscale {
                        kind.peak(&numbers, 20).map(|peak| peak.statistic)
                    } else {
                        kind.whole(&numbers)
                    };
                    assert!((ensemble.statistic[7] - expected.unwrap()).abs() < 1e-9);
                }
            }
        }
    }

    #[test]
    fn the_horizon_is_looked_at_even_without_a_number() {
        let mut paths = ArPaths::new(seed_from("test", "gap"), 10, Kind::Independent, true, 500);
        for tick in 1..10 {
            // Nothing is spent before the horizon.
            assert_eq!(paths.look(tick != 4, 0.0), f64::INFINITY);
        }
        assert!(paths.look(false, 0.05).is_finite());
    }

    #[test]
    fn constants_say_nothing() {
        assert_eq!(Kind::Independent.peak(&[0.3; 40], 60), None);
    }
}
