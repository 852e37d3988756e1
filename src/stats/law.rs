//! Null laws of one tick's score.
//!
//! Owns the discrete laws that conditional tests rest on, as probabilities over a range of whole
//! numbers, and the Gaussian law of rank scores. A lattice score is `unit` times a whole number.

/// Share of the largest probability below which both ends of a law are cut off.
const NEGLIGIBLE: f64 = 1e-19;
/// Buckets of the guide table for sampling.
const GUIDE: usize = 256;

/// The law of one tick's score when the canary sits exactly on the boundary.
#[derive(Debug, Clone)]
pub enum Law {
    /// The tick says nothing.
    Empty,
    /// Gaussian, centred.
    Gaussian {
        /// Variance of the score.
        variance: f64,
    },
    /// Discrete; the score is centred by the law's mean. A side keeps one law a tick, and most are
    /// Gaussian: those must not take the room of a lattice.
    Lattice(Box<Lattice>),
}

/// A discrete law on `unit` times the whole numbers from `lo`.
#[derive(Debug, Clone)]
pub struct Lattice {
    lo: i64,
    unit: f64,
    pmf: Box<[f64]>,
    mean: f64,
    variance: f64,
}

/// A law prepared for many draws. It takes more room than the law, so it is not kept with it.
#[derive(Debug)]
pub struct Sampler {
    lo: i64,
    /// Upper end of each value's share of the 32-bit range; the last is open.
    ends: Vec<u32>,
    /// First candidate for each value of the top byte.
    guide: [u32; GUIDE],
}

// === impl Law ===

impl Law {
    /// A Gaussian law; empty where the variance is not positive.
    pub fn gaussian(variance: f64) -> Law {
        if variance > 0.0 {
            Law::Gaussian { variance }
        } else {
            Law::Empty
        }
    }

    /// A discrete law.
    pub fn lattice(lattice: Lattice) -> Law {
        Law::Lattice(Box::new(lattice))
    }

    /// Variance of the score.
    pub fn variance(&self) -> f64 {
        match self {
            Law::Empty => 0.0,
            Law::Gaussian { variance } => *variance,
            Law::Lattice(lattice) => lattice.variance,
        }
    }
}

// === impl Lattice ===

impl Lattice {
    /// Events out of `trials`, each with probability `p`.
    pub fn binomial(trials: u64, p: f64) -> Lattice {
        if p <= 0.0 || trials == 0 {
            return Lattice::point(0);
        }
        if p >= 1.0 {
            return Lattice::point(trials as i64);
        }
        let (n, odds) = (trials as f64, p / (1.0 - p));
        Lattice::unimodal(0, trials as i64, |x| (n - x) / (x + 1.0) * odds)
    }

    /// Events of a Poisson law with this mean.
    pub fn poisson(mean: f64) -> Lattice {
        if mean <= 0.0 {
            return Lattice::point(0);
        }
        let far = (mean + 60.0 * (mean + 10.0).sqrt()) as i64 + 60;
        Lattice::unimodal(0, far, |x| mean / (x + 1.0))
    }

    /// The canary's share of `events` bad ones among `canary` and `baseline` trials, when its odds
    /// are `odds` times the baseline's: Fisher's noncentral hypergeometric law, P(x) proportional
    /// to C(m, x) C(n, t - x) odds^x.
    pub fn fisher_noncentral_hypergeometric(
        canary: u64,
        baseline: u64,
        events: u64,
        odds: f64,
    ) -> Lattice {
        let (m, n, t) = (canary as f64, baseline as f64, events as f64);
        let lo = events.saturating_sub(baseline) as i64;
        let hi = events.min(canary) as i64;
        Lattice::unimodal(lo, hi, |x| {
            odds * (m - x) * (t - x) / ((x + 1.0) * (n - t + x + 1.0))
        })
    }

    /// Sum of the canary's scores when `beyond` of all values score 1, `tied` of them score
    /// `tied_sixteenths`/16 and the rest 0, and every choice of the canary's values is equally
    /// likely. In sixteenths where any value is tied, in whole numbers otherwise.
    pub fn permutation_scores(
        canary: u64,
        baseline: u64,
        beyond: u64,
        tied: u64,
        tied_sixteenths: u8,
    ) -> Lattice {
        let all = canary + baseline;
        let first = Lattice::fisher_noncentral_hypergeometric(canary, baseline, beyond, 1.0);
        if tied == 0 {
            return first;
        }
        let weight = i64::from(tied_sixteenths);
        let tied_beside = |x: i64| {
            let left = canary - x as u64;
            Lattice::fisher_noncentral_hypergeometric(left, all - beyond - left, tied, 1.0)
        };
        let parts: Vec<(i64, f64, Lattice)> = (first.lo..)
            .zip(&first.pmf)
            .map(|(x, &p)| (16 * x, p, tied_beside(x)))
            .collect();
        // Where the probability is, and not where scores could be: of a million tied values a
        // small arm may hold any number and is likely to hold few.
        let ends = parts
            .iter()
            .map(|(x, _, rest)| [x + weight * rest.lo, x + weight * rest.hi()]);
        let [lo, hi] = ends.fold([i64::MAX, i64::MIN], |all, one| {
            [all[0].min(one[0]), all[1].max(one[1])]
        });
        let mut pmf = vec![0.0; (hi - lo + 1) as usize];
        for (x, p, rest) in &parts {
            for (j, q) in (rest.lo..).zip(&rest.pmf) {
                pmf[(x + weight * j - lo) as usize] += p * q;
            }
        }
        let (lo, pmf) = without_negligible(lo, pmf);
        Lattice::from_pmf(lo, 1.0 / 16.0, pmf)
    }

    /// All the probability at one number.
    pub fn point(x: i64) -> Lattice {
        Lattice::from_pmf(x, 1.0, vec![1.0])
    }

    /// The law of the negated number.
    pub fn negated(&self) -> Lattice {
        let pmf = self.pmf.iter().rev().copied().collect();
        Lattice::from_pmf(-self.hi(), self.unit, pmf)
    }

    /// A law from the ratio of successive probabilities, which must fall along the range.
    fn unimodal(lo: i64, hi: i64, ratio: impl Fn(f64) -> f64) -> Lattice {
        // The mode is the first number whose successor is not likelier.
        let (mut low, mut high) = (lo, hi);
        while low < high {
            let middle = low + (high - low) / 2;
            if ratio(middle as f64) > 1.0 {
                low = middle + 1
            } else {
                high = middle
            }
        }
        let mode = low;
        let mut below = Vec::new();
        let mut weight = 1.0;
        let mut x = mode;
        while x > lo {
            x -= 1;
            weight /= ratio(x as f64);
            if weight < NEGLIGIBLE {
                break;
            }
            below.push(weight);
        }
        let first = mode - below.len() as i64;
        let mut pmf: Vec<f64> = below.into_iter().rev().collect();
        pmf.push(1.0);
        weight = 1.0;
        x = mode;
        while x < hi {
            weight *= ratio(x as f64);
            x += 1;
            if weight < NEGLIGIBLE {
                break;
            }
            pmf.push(weight);
        }
        let sum: f64 = pmf.iter().sum();
        for p in &mut pmf {
            *p /= sum;
        }
        Lattice::from_pmf(first, 1.0, pmf)
    }

    fn from_pmf(lo: i64, unit: f64, pmf: Vec<f64>) -> Lattice {
        let mean: f64 = pmf
            .iter()
            .enumerate()
            .map(|(i, p)| p * (lo + i as i64) as f64)
            .sum();
        let variance: f64 = pmf
            .iter()
            .enumerate()
            .map(|(i, p)| {
                let off = (lo + i as i64) as f64 - mean;
                p * off * off
            })
            .sum();
        // A law on one number has no variance, whatever rounding says.
        let variance = if pmf.len() == 1 { 0.0 } else { variance };
        Lattice {
            lo,
            unit,
            pmf: pmf.into_boxed_slice(),
            mean: mean * unit,
            variance: variance * unit * unit,
        }
    }

    /// Smallest number of the range.
    pub fn lo(&self) -> i64 {
        self.lo
    }

    /// Largest number of the range.
    pub fn hi(&self) -> i64 {
        self.lo + self.pmf.len() as i64 - 1
    }

    /// Probabilities from `lo` up.
    pub fn pmf(&self) -> &[f64] {
        &self.pmf
    }

    /// What one step of the lattice is worth.
    pub fn unit(&self) -> f64 {
        self.unit
    }

    /// Mean of the score, in its own scale.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Variance of the score, in its own scale.
    pub fn variance(&self) -> f64 {
        self.variance
    }

    /// P(X >= x).
    pub fn upper_tail(&self, x: i64) -> f64 {
        let from = (x - self.lo).clamp(0, self.pmf.len() as i64) as usize;
        self.pmf[from..].iter().rev().sum::<f64>().min(1.0)
    }

    /// P(X <= x).
    pub fn lower_tail(&self, x: i64) -> f64 {
        let to = (x - self.lo + 1).clamp(0, self.pmf.len() as i64) as usize;
        self.pmf[..to].iter().sum::<f64>().min(1.0)
    }

    /// The number that 32 random bits stand for, by inverting the distribution function.
    pub fn sample(&self, bits: u32) -> i64 {
        let below = ends(&self.pmf).take(self.pmf.len().saturating_sub(1));
        self.lo + below.take_while(|end| bits >= *end).count() as i64
    }

    /// The law prepared for many draws: gives the numbers of [`Lattice::sample`].
    pub fn sampler(&self) -> Sampler {
        let ends: Vec<u32> = ends(&self.pmf).collect();
        let mut guide = [0_u32; GUIDE];
        let mut index = 0;
        for (top, slot) in guide.iter_mut().enumerate() {
            let bits = (top as u32) << 24;
            while index + 1 < ends.len() && bits >= ends[index] {
                index += 1;
            }
            *slot = index as u32;
        }
        Sampler {
            lo: self.lo,
            ends,
            guide,
        }
    }
}

/// A law without the ends that a law from ratios would not have either.
fn without_negligible(lo: i64, mut pmf: Vec<f64>) -> (i64, Vec<f64>) {
    let most = pmf.iter().fold(0.0_f64, |most, &p| most.max(p));
    let counts = |p: &f64| *p >= NEGLIGIBLE * most;
    let first = pmf.iter().position(counts).unwrap_or(0);
    let end = pmf
        .iter()
        .rposition(counts)
        .map_or(pmf.len(), |last| last + 1);
    pmf.truncate(end);
    pmf.drain(..first);
    (lo + first as i64, pmf)
}

// === impl Sampler ===

impl Sampler {
    /// The number that 32 random bits stand for.
    pub fn sample(&self, bits: u32) -> i64 {
        let mut index = self.guide[(bits >> 24) as usize] as usize;
        while index + 1 < self.ends.len() && bits >= self.ends[index] {
            index += 1;
        }
        self.lo + index as i64
    }
}

/// Upper end of each number's share of the 32-bit range.
fn ends(pmf: &[f64]) -> impl Iterator<Item = u32> {
    let scale = 4_294_967_296.0;
    pmf.iter().scan(0.0, move |below, p| {
        *below += p;
        Some((*below * scale).min(scale - 1.0) as u32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::special::ln_choose;

    fn assert_law(law: &Lattice, expected: impl Fn(i64) -> f64) {
        for x in law.lo()..=law.hi() {
            let p = law.pmf()[(x - law.lo()) as usize];
            assert!(
                (p - expected(x)).abs() < 1e-12,
                "P({x}) = {p}, not {}",
                expected(x)
            );
        }
        assert!((law.pmf().iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn laws_have_their_textbook_probabilities() {
        let p: f64 = 0.3;
        assert_law(&Lattice::binomial(20, p), |x| {
            libm::exp(
                ln_choose(20, x as u64)
                    + x as f64 * libm::log(p)
                    + (20 - x) as f64 * libm::log(1.0 - p),
            )
        });
        let (m, n, t, odds) = (7_u64, 9_u64, 5_u64, 1.7_f64);
        let weight = |x: i64| {
            libm::exp(
                ln_choose(m, x as u64) + ln_choose(n, t - x as u64) + x as f64 * libm::log(odds),
            )
        };
        let sum: f64 = (0..=5).map(weight).sum();
        assert_law(
            &Lattice::fisher_noncentral_hypergeometric(m, n, t, odds),
            |x| weight(x) / sum,
        );
        assert_law(&Lattice::poisson(3.5), |x| {
            libm::exp(x as f64 * libm::log(3.5) - 3.5 - libm::lgamma(x as f64 + 1.0))
        });
    }

    #[test]
    fn permutation_scores_equal_the_enumeration_of_all_choices() {
        // 3 canary and 4 baseline values: 2 score 1, 2 score 5/16, 3 score 0.
        let scores = [16_i64, 16, 5, 5, 0, 0, 0];
        let mut counts = std::collections::BTreeMap::new();
        let mut all = 0.0;
        for mask in 0_u32..128 {
            if mask.count_ones() == 3 {
                let sum: i64 = (0..7)
                    .filter(|i| mask >> i & 1 == 1)
                    .map(|i| scores[i])
                    .sum();
                *counts.entry(sum).or_insert(0.0) += 1.0;
                all += 1.0;
            }
        }
        let law = Lattice::permutation_scores(3, 4, 2, 2, 5);
        assert_law(&law, |x| counts.get(&x).copied().unwrap_or(0.0) / all);
        assert_eq!(law.unit(), 1.0 / 16.0);
    }

    #[test]
    fn sampling_inverts_the_distribution_function() {
        let law = Lattice::binomial(6, 0.35);
        let steps = 1 << 20;
        let sampler = law.sampler();
        let mut counts = vec![0.0; law.pmf().len()];
        for i in 0_u32..steps {
            let number = sampler.sample(i << 12);
            assert_eq!(number, law.sample(i << 12));
            counts[(number - law.lo()) as usize] += 1.0;
        }
        for (count, p) in counts.iter().zip(law.pmf()) {
            assert!((count / f64::from(steps) - p).abs() < 4e-6);
        }
    }

    #[test]
    fn degenerate_laws_have_no_variance() {
        assert_eq!(Lattice::binomial(0, 0.5).variance(), 0.0);
        assert_eq!(
            Lattice::fisher_noncentral_hypergeometric(3, 0, 2, 1.0).variance(),
            0.0
        );
        assert_eq!(Lattice::binomial(5, 0.5).negated().mean(), -2.5);
    }
}
