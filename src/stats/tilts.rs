//! Evidence without a horizon: likelihood ratios of tilted laws, averaged over tilts.
//!
//! Owns the e-process of a stream of scores whose null laws are known, and the detector that
//! restarts it at every tick. For a tilt t > 0 the product of exp(t S_k - K_k(t)), with S_k the
//! centred score of tick k and K_k the cumulant function of its own law, is a non-negative
//! martingale of mean 1 whatever the law: exact for counts, and for rank scores by their
//! sub-Gaussian bound. It must not know what the scores are. Next: `judge::side`, `judge::watch`.
//!
//! - [`Mixture`]: averaged over half-normal tilts it is Robbins' one-sided normal mixture (Howard
//!   and others 2021) where scores are Gaussian; by Ville's inequality it ever reaches 1/a with
//!   chance at most a.
//! - [`Detector`]: R_k = (R_{k-1} + 1) exp(t S_k - K_k(t)), averaged over tilts, is the
//!   Shiryaev-Roberts e-detector (Shin, Ramdas and Rinaldo 2023). R_k - k is a martingale, so the
//!   mean number of ticks until it reaches A, while nothing is wrong, is at least A.

use serde::{Deserialize, Serialize};

use crate::stats::law::Law;
use crate::stats::normal_mixture::best_rho;
use crate::stats::special::normal_pdf;

/// Tilts of a grid, each this many times the one before.
const TILTS: usize = 32;
const TILT_RATIO: f64 = 1.18;
/// The smallest tilt, in units of 1 / (deviation of the score at the reference variance).
const TILT_MIN: f64 = 0.1;
/// Share of the reference variance at which a mixture's boundary is tightest.
const TIGHTEST_SHARE: f64 = 0.3;
/// Bisection steps of a bound, and its ceiling in standard deviations.
const BISECTIONS: u32 = 60;
const BOUND_MAX: f64 = 60.0;

/// A mixture of tilted likelihood ratios of the whole run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mixture {
    grid: Vec<Tilt>,
    /// Sum of the cumulants at each tilt.
    cumulants: Vec<f64>,
}

/// A detector of a change at any time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Detector {
    grid: Vec<Tilt>,
    /// ln R at each tilt; minus infinity before the first score.
    log_r: Vec<f64>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Tilt {
    tilt: f64,
    log_weight: f64,
}

// === impl Mixture ===

impl Mixture {
    /// A mixture for runs whose score has a variance of about `reference_variance` when it
    /// matters, at level `alpha`. Both must be fixed before the scores are seen.
    pub fn new(reference_variance: f64, alpha: f64) -> Mixture {
        let rho = best_rho(TIGHTEST_SHARE * reference_variance, alpha);
        // Half-normal density of tilts with variance 1 / rho, times the width of a grid cell.
        let density = |tilt: f64| tilt * normal_pdf(tilt * rho.sqrt());
        let grid = grid(reference_variance, density);
        let cumulants = vec![0.0; grid.len()];
        Mixture { grid, cumulants }
    }

    /// Adds a tick's law, or that of the negated score.
    pub fn push(&mut self, law: &Law, negated: bool) {
        let sign = if negated { -1.0 } else { 1.0 };
        for (sum, at) in self.cumulants.iter_mut().zip(&self.grid) {
            *sum += cumulant(law, sign * at.tilt);
        }
    }

    /// ln of the e-value of the run's centred score, where its variance is `factor` times that of
    /// the laws: `factor` scores that always come together make the ratio's `factor`-th root.
    pub fn log_e_value(&self, score: f64, factor: f64) -> f64 {
        let terms = self.grid.iter().zip(&self.cumulants);
        log_sum(terms.map(|(at, cumulant)| at.log_weight + (at.tilt * score - cumulant) / factor))
    }

    /// Standard deviations at which a Gaussian score of this variance has an e-value of
    /// 1 / `alpha`.
    pub fn bound(&self, variance: f64, alpha: f64) -> f64 {
        let log_e = |z: f64| {
            let deviation = variance.sqrt();
            log_sum(self.grid.iter().map(|at| {
                let scaled = at.tilt * deviation;
                at.log_weight + scaled * z - 0.5 * scaled * scaled
            }))
        };
        let (mut low, mut high) = (0.0, BOUND_MAX);
        for _ in 0..BISECTIONS {
            let middle = 0.5 * (low + high);
            if log_e(middle) < -libm::log(alpha) {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }
}

// === impl Detector ===

impl Detector {
    /// A detector of shifts that would show within about as many ticks as have a variance of
    /// `reference_variance` together, or within a fraction of them. Fixed before the scores.
    pub fn new(reference_variance: f64) -> Detector {
        let grid = grid(reference_variance, |_| 1.0);
        let log_r = vec![f64::NEG_INFINITY; grid.len()];
        Detector { grid, log_r }
    }

    /// Adds a tick's centred score under its law; `factor` as in [`Mixture::log_e_value`].
    pub fn push(&mut self, score: f64, law: &Law, factor: f64) {
        for (log_r, at) in self.log_r.iter_mut().zip(&self.grid) {
            let gain = (at.tilt * score - cumulant(law, at.tilt)) / factor;
            *log_r = log_sum([*log_r, 0.0].into_iter()) + gain;
        }
    }

    /// ln R, averaged over the tilts.
    pub fn log_statistic(&self) -> f64 {
        let terms = self.grid.iter().zip(&self.log_r);
        log_sum(terms.map(|(at, log_r)| at.log_weight + log_r))
    }
}

// === functions ===

/// Tilts from a tenth to twenty times one over the deviation of the reference variance.
fn grid(reference_variance: f64, density: impl Fn(f64) -> f64) -> Vec<Tilt> {
    let unit = 1.0 / reference_variance.max(f64::MIN_POSITIVE).sqrt();
    let mut tilts = Vec::with_capacity(TILTS);
    let mut tilt = TILT_MIN * unit;
    for _ in 0..TILTS {
        tilts.push(tilt);
        tilt *= TILT_RATIO;
    }
    let all: f64 = tilts.iter().map(|&tilt| density(tilt)).sum();
    let weigh = |tilt: f64| Tilt {
        tilt,
        log_weight: libm::log(density(tilt) / all),
    };
    tilts.into_iter().map(weigh).collect()
}

/// ln E exp(tilt (X - E X)) under a tick's law.
fn cumulant(law: &Law, tilt: f64) -> f64 {
    match law {
        Law::Empty => 0.0,
        Law::Gaussian { variance } => 0.5 * tilt * tilt * variance,
        Law::Lattice(lattice) => {
            let (unit, mean) = (lattice.unit(), lattice.mean());
            let centred = |i: usize| unit * (lattice.lo() as f64 + i as f64) - mean;
            // Both ends, so that the largest exponent is taken out before anything overflows.
            let ends = [centred(0), centred(lattice.pmf().len().saturating_sub(1))];
            let top = (tilt * ends[0]).max(tilt * ends[1]);
            let terms = lattice.pmf().iter().enumerate();
            let sum: f64 = terms
                .map(|(i, p)| p * libm::exp(tilt * centred(i) - top))
                .sum();
            // A law is a little short of 1 where its ends were cut off, never the other way.
            top + libm::log(sum.max(f64::MIN_POSITIVE))
        }
    }
}

/// ln of the sum of exponentials.
fn log_sum(terms: impl Iterator<Item = f64> + Clone) -> f64 {
    let top = terms.clone().fold(f64::NEG_INFINITY, f64::max);
    if top == f64::NEG_INFINITY {
        return top;
    }
    top + libm::log(terms.map(|term| libm::exp(term - top)).sum::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::count_law::CountLaw;
    use crate::stats::normal_mixture::log_e_value;
    use crate::stats::sampler::{Stream, seed_from};

    fn stream(label: &str, index: u64) -> Stream {
        Stream::new(&seed_from("tilts", label), index)
    }

    fn lattice(law: CountLaw) -> Law {
        match law {
            CountLaw::Exact { lattice, .. } => Law::lattice(lattice),
            CountLaw::Wide { .. } => panic!("a narrow law"),
        }
    }

    #[test]
    fn the_grid_is_the_normal_mixture_where_scores_are_gaussian() {
        let (reference, alpha) = (60.0, 0.01);
        let rho = best_rho(TIGHTEST_SHARE * reference, alpha);
        for (variance, z) in [(20.0, 2.0), (60.0, 3.5), (240.0, 4.0), (1_000.0, 3.0)] {
            let mut mixture = Mixture::new(reference, alpha);
            mixture.push(&Law::gaussian(variance), false);
            let score = z * f64::sqrt(variance);
            let exact = log_e_value(score, variance, rho);
            let found = mixture.log_e_value(score, 1.0);
            assert!((found - exact).abs() < 0.2, "{found} for {exact}");
            let bound = mixture.bound(variance, alpha);
            let at_bound = mixture.log_e_value(bound * f64::sqrt(variance), 1.0);
            assert!((at_bound + libm::log(alpha)).abs() < 1e-9);
        }
    }

    #[test]
    fn counts_of_every_skewness_keep_a_mean_of_one() {
        for law in [CountLaw::poisson(0.05), CountLaw::binomial(40, 0.02)] {
            let law = lattice(law);
            let Law::Lattice(lattice) = &law else { return };
            for negated in [false, true] {
                let mut mixture = Mixture::new(60.0 * law.variance(), 0.01);
                mixture.push(&law, negated);
                let sign = if negated { -1.0 } else { 1.0 };
                let mean: f64 = (0..lattice.pmf().len())
                    .map(|i| {
                        let x = lattice.unit() * (lattice.lo() + i as i64) as f64;
                        let score = sign * (x - lattice.mean());
                        lattice.pmf()[i] * libm::exp(mixture.log_e_value(score, 1.0))
                    })
                    .sum();
                assert!((mean - 1.0).abs() < 1e-9, "{mean}");
            }
        }
    }

    #[test]
    fn a_detector_is_quiet_for_as_long_as_it_says_and_then_finds_a_shift() {
        // Mean run length to threshold A while nothing is wrong is at least A; runs are cut at
        // 20 A, which only shortens the mean.
        let (threshold, cut, runs) = (200.0, 4_000, 150_u64);
        let rare = lattice(CountLaw::poisson(0.3));
        for (law, name) in [(Law::gaussian(1.0), "gaussian"), (rare, "rare counts")] {
            let mut lengths = Vec::new();
            for run in 0..runs {
                let mut stream = stream(name, run);
                let mut detector = Detector::new(60.0 * law.variance());
                let alarm = (1..cut).find(|_| {
                    let score = match &law {
                        Law::Lattice(lattice) => {
                            lattice.sample(stream.next_u32()) as f64 - lattice.mean()
                        }
                        _ => stream.normal(),
                    };
                    detector.push(score, &law, 1.0);
                    detector.log_statistic() >= libm::log(threshold)
                });
                lengths.push(alarm.unwrap_or(cut) as f64);
            }
            let mean = lengths.iter().sum::<f64>() / runs as f64;
            println!("{name}: mean run length {mean:.0} at threshold {threshold}");
            let squares = lengths
                .iter()
                .map(|length| (length - mean) * (length - mean))
                .sum::<f64>();
            let error = (squares / (runs * runs) as f64).sqrt();
            assert!(mean + 2.0 * error >= threshold, "{name}: {mean} +- {error}");
        }
        let mut stream = stream("shift", 0);
        let (mut detector, law) = (Detector::new(60.0), Law::gaussian(1.0));
        for _ in 0..100 {
            detector.push(stream.normal(), &law, 1.0);
        }
        let delay = (1..100).find(|_| {
            detector.push(stream.normal() + 1.5, &law, 1.0);
            detector.log_statistic() >= libm::log(threshold)
        });
        assert!(delay.is_some_and(|ticks| ticks <= 12), "{delay:?}");
    }
}
