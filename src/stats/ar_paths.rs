//! Studentised sequential statistics of one number a tick, and their thresholds.
//!
//! Owns the statistic of gauge checks and its null paths. The run's own deviation (and, under
//! `Envelope`, its own first autocorrelation) standardises the windows, and the *same* function is
//! applied to simulated Gaussian paths: so the small-sample behaviour of both estimates is in the
//! thresholds. Under `Envelope` the threshold is the largest over first-order autocorrelations up
//! to 0.8.

use crate::stats::multiscale::{self, Peak, WHOLE_RUN_PENALTY};
use crate::stats::sampler::Stream;

/// Autocorrelations whose worst threshold the envelope takes.
const ENVELOPE: [f64; 7] = [0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8];
/// Largest autocorrelation that the correction assumes.
const CORRECTION_MAX: f64 = 0.95;

/// Memory of all prefix sums; longer runs get fewer paths.
const SCRATCH_BYTES_MAX: usize = 64 << 20;

/// How dependence between ticks is allowed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    ensembles: Vec<Ensemble>,
}

#[derive(Debug, Clone)]
struct Ensemble {
    phi: f64,
    stream: Stream,
    paths: Vec<Path>,
    killed: usize,
}

#[derive(Debug, Clone)]
struct Path {
    numbers: Moments,
    alive: bool,
}

/// Running sums of a series, from which the statistic follows.
#[derive(Debug, Clone, Default)]
struct Moments {
    prefix: Vec<f64>,
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

    /// The loudest window of a series (windows counted in numbers); `None` before the first look.
    pub fn peak(self, numbers: &[f64], looks_planned: usize) -> Option<Peak> {
        Moments::of(numbers).peak(self, looks_planned)
    }

    /// The whole run's studentised mean, without penalty.
    pub fn whole(self, numbers: &[f64]) -> Option<f64> {
        let moments = Moments::of(numbers);
        let scale = moments.scale(self)?;
        let count = numbers.len();
        Some(moments.prefix[count] / ((count as f64).sqrt() * scale))
    }
}

// === impl ArPaths ===

impl ArPaths {
    /// `paths` null paths (or as many as memory allows) for each autocorrelation of the kind, for the multiscale statistic or
    /// for the whole run alone.
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
        let paths = paths.min(SCRATCH_BYTES_MAX / per_path).max(500);
        let ensembles = phis
            .iter()
            .enumerate()
            .map(|(index, &phi)| Ensemble {
                phi,
                stream: Stream::new(&seed, index as u64),
                paths: vec![
                    Path {
                        numbers: Moments::default(),
                        alive: true
                    };
                    paths
                ],
                killed: 0,
            })
            .collect();
        ArPaths {
            kind,
            looks_planned,
            multiscale,
            ticks: 0,
            ensembles,
        }
    }

    /// Memory of the prefix sums once all planned looks are taken.
    pub fn bytes(&self) -> usize {
        let paths: usize = self
            .ensembles
            .iter()
            .map(|ensemble| ensemble.paths.len())
            .sum();
        (self.looks_planned + 1) * paths * std::mem::size_of::<f64>()
    }

    /// Ticks taken so far, with or without a number.
    pub fn ticks(&self) -> usize {
        self.ticks
    }

    /// Extends every path when the tick has a number, and spends alpha up to `alpha_cumulative`.
    /// Returns the threshold: the largest over the autocorrelations.
    pub fn look(&mut self, present: bool, alpha_cumulative: f64) -> f64 {
        self.ticks += 1;
        if !present {
            return f64::INFINITY;
        }
        let (kind, planned, multiscale) = (self.kind, self.looks_planned, self.multiscale);
        self.ensembles
            .iter_mut()
            .map(|ensemble| {
                ensemble.extend();
                ensemble.spend(kind, planned, multiscale, alpha_cumulative)
            })
            .fold(f64::NEG_INFINITY, f64::max)
    }
}

// === impl Ensemble ===

impl Ensemble {
    fn extend(&mut self) {
        // Stationary from the first number on, with unit variance.
        let fresh = (1.0 - self.phi * self.phi).sqrt();
        for path in &mut self.paths {
            let draw = self.stream.normal();
            let begun = path.numbers.prefix.len() > 1;
            let number = if begun {
                self.phi * path.numbers.last + fresh * draw
            } else {
                draw
            };
            path.numbers.push(number);
        }
    }

    fn spend(&mut self, kind: Kind, planned: usize, multiscale: bool, alpha: f64) -> f64 {
        let quota = (alpha * (self.paths.len() + 1) as f64 + 1e-9).floor() as usize;
        let wanted = quota.saturating_sub(self.killed);
        let statistics: Vec<Option<f64>> = self
            .paths
            .iter()
            .map(|path| {
                if path.alive {
                    path.numbers.statistic(kind, planned, multiscale)
                } else {
                    None
                }
            })
            .collect();
        let mut living: Vec<f64> = statistics.iter().flatten().copied().collect();
        if wanted == 0 || living.len() <= wanted {
            return f64::INFINITY;
        }
        let at = living.len() - wanted - 1;
        let (_, pivot, above) = living.select_nth_unstable_by(at, f64::total_cmp);
        let pivot = *pivot;
        let threshold = above
            .iter()
            .copied()
            .filter(|&value| value > pivot)
            .fold(f64::INFINITY, f64::min);
        for (path, statistic) in self.paths.iter_mut().zip(&statistics) {
            if statistic.is_some_and(|statistic| statistic >= threshold) {
                path.alive = false;
                self.killed += 1;
            }
        }
        threshold
    }
}

// === impl Moments ===

impl Moments {
    fn of(numbers: &[f64]) -> Moments {
        let mut moments = Moments::default();
        for &number in numbers {
            moments.push(number);
        }
        moments
    }

    fn push(&mut self, number: f64) {
        if self.prefix.is_empty() {
            self.prefix.push(0.0);
            self.first = number;
        } else {
            self.products += number * self.last;
        }
        let sum = self.prefix[self.prefix.len() - 1];
        self.prefix.push(sum + number);
        self.squares += number * number;
        self.last = number;
    }

    /// Deviation of a single number, inflated for autocorrelation; `None` before the first look
    /// and for constants, of which nothing can be said.
    fn scale(&self, kind: Kind) -> Option<f64> {
        let count = self.prefix.len().saturating_sub(1);
        if count < kind.first_look() {
            return None;
        }
        let n = count as f64;
        let mean = self.prefix[count] / n;
        let spread = self.squares - n * mean * mean;
        if spread <= 1e-12 * self.squares {
            return None;
        }
        let variance = spread / (n - 1.0);
        let inflation = match kind {
            Kind::Independent => 1.0,
            Kind::Envelope => {
                let lagged = self.products
                    - mean * (2.0 * self.prefix[count] - self.first - self.last)
                    + (n - 1.0) * mean * mean;
                let phi = lagged / spread;
                let corrected = (phi + (1.0 + 3.0 * phi) / n).clamp(0.0, CORRECTION_MAX);
                (1.0 + corrected) / (1.0 - corrected)
            }
        };
        Some((variance * inflation).sqrt())
    }

    fn statistic(&self, kind: Kind, planned: usize, multiscale: bool) -> Option<f64> {
        if multiscale {
            self.peak(kind, planned).map(|peak| peak.statistic)
        } else {
            let count = self.prefix.len().saturating_sub(1);
            let scale = self.scale(kind)?;
            Some(self.prefix[count] / ((count as f64).sqrt() * scale))
        }
    }

    fn peak(&self, kind: Kind, planned: usize) -> Option<Peak> {
        let scale = self.scale(kind)?;
        let count = self.prefix.len() - 1;
        let mut loudest: Option<Peak> = None;
        let mut hear = |window: usize, penalty: f64| {
            let sum = self.prefix[count] - self.prefix[count - window];
            let z = sum / ((window as f64).sqrt() * scale);
            if loudest.is_none_or(|peak| z - penalty > peak.statistic) {
                loudest = Some(Peak {
                    statistic: z - penalty,
                    window,
                    z,
                });
            }
        };
        hear(count, WHOLE_RUN_PENALTY);
        for window in multiscale::dyadic(count) {
            hear(window, multiscale::penalty(planned, window));
        }
        loudest
    }
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
            let mut moments = Moments::default();
            let mut last = stream.normal();
            let mut flagged = false;
            for bound in &bounds {
                moments.push(last);
                let peak = moments.peak(kind, looks);
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
    fn constants_say_nothing() {
        assert_eq!(Kind::Independent.peak(&[0.3; 40], 60), None);
    }
}
