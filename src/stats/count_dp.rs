//! Exact thresholds for a running count, by dynamic programming over its law.
//!
//! Owns the recursion f_k = (f_{k-1} without what was flagged) * law_k, and the tail of the
//! unrestricted count. Probability that is cut off as negligible is booked as spent, so that
//! rounding errs on the careful side. A count so spread out that a look would take more than
//! [`STEPS_MAX`] is given up: its law is Gaussian by then, and the caller's to go on with.

use serde::{Deserialize, Serialize};

use crate::stats::law::Lattice;

/// Multiplications of one look, at most: some 30 ms. Whole counts never reach it, for at a variance
/// of 2,500 in each of 1,024 ticks they take 25 million. Tied ones, in sixteenths, reach it with a
/// variance of some 4,500 in all, where the skewness of a Poisson count is .015: less than the .02
/// of the widest tick that is enumerated.
pub const STEPS_MAX: usize = 1 << 26;
/// Probability at either end that is cut off, and booked as spent.
const NEGLIGIBLE: f64 = 1e-17;

/// Sequential thresholds of one side.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CountDp {
    upper: bool,
    running: Running,
    spent: f64,
    /// End of the count's range that would still be possible; what is cut off counts here too.
    edge: i64,
}

/// The law of a running count.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Running {
    lo: i64,
    pmf: Vec<f64>,
    steps_max: usize,
    /// Given up: a look would have taken more steps than allowed.
    is_too_wide: bool,
}

/// Tails of the whole-run count when nothing is flagged.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct CountTail {
    running: Running,
}

// === impl CountDp ===

impl CountDp {
    /// Flags high counts: `next` returns the smallest c with P(count >= c) within the alpha.
    pub fn upper() -> CountDp {
        CountDp {
            upper: true,
            running: Running::default(),
            spent: 0.0,
            edge: 0,
        }
    }

    /// Flags low counts: `next` returns the largest c with P(count <= c) within the alpha.
    pub fn lower() -> CountDp {
        CountDp {
            upper: false,
            running: Running::default(),
            spent: 0.0,
            edge: 0,
        }
    }

    /// Probability spent so far.
    pub fn spent(&self) -> f64 {
        self.spent
    }

    /// Adds a tick's law and spends up to `alpha_cumulative`. Where nothing can be flagged the
    /// result is one beyond the possible counts; `None` once the count is too wide.
    pub fn next(&mut self, law: &Lattice, alpha_cumulative: f64) -> Option<i64> {
        if !self.running.convolve(law) {
            return None;
        }
        self.edge += if self.upper { law.hi() } else { law.lo() };
        let bound = if self.upper {
            self.flag_high(alpha_cumulative - self.spent)
        } else {
            self.flag_low(alpha_cumulative - self.spent)
        };
        self.spent += self.running.cut_negligible();
        Some(bound)
    }

    /// As `next` for a tick without events.
    pub fn again(&mut self, alpha_cumulative: f64) -> Option<i64> {
        self.next(&Lattice::point(0), alpha_cumulative)
    }

    fn flag_high(&mut self, available: f64) -> i64 {
        let Running { lo, pmf, .. } = &mut self.running;
        let top = *lo + pmf.len() as i64 - 1;
        let (mut c, mut sum) = (self.edge.min(top) + 1, 0.0);
        while c > *lo {
            let p = pmf[(c - 1 - *lo) as usize];
            if sum + p > available {
                break;
            }
            sum += p;
            c -= 1;
        }
        self.spent += sum;
        pmf.truncate((c - *lo).max(0) as usize);
        self.edge = self.edge.min(c - 1);
        c
    }

    fn flag_low(&mut self, available: f64) -> i64 {
        let Running { lo, pmf, .. } = &mut self.running;
        let (mut c, mut sum) = (*lo - 1, 0.0);
        for &p in pmf.iter() {
            if sum + p > available {
                break;
            }
            sum += p;
            c += 1;
        }
        self.spent += sum;
        pmf.drain(..(c + 1 - *lo) as usize);
        *lo = c + 1;
        self.edge = self.edge.max(c + 1);
        c
    }
}

// === impl CountTail ===

impl CountTail {
    /// Adds a tick's law.
    pub fn push(&mut self, law: &Lattice) {
        if self.running.convolve(law) {
            self.running.cut_negligible();
        }
    }

    /// P(count >= x); what was cut off is left out, so it errs on the low side. `None` once the
    /// count is too wide.
    pub fn upper_tail(&self, x: i64) -> Option<f64> {
        if self.running.is_too_wide {
            return None;
        }
        let from = (x - self.running.lo).clamp(0, self.running.pmf.len() as i64) as usize;
        Some(self.running.pmf[from..].iter().rev().sum())
    }
}

// === impl Running ===

impl Default for Running {
    fn default() -> Running {
        Running {
            lo: 0,
            pmf: vec![1.0],
            steps_max: STEPS_MAX,
            is_too_wide: false,
        }
    }
}

impl Running {
    /// Adds a law, unless that takes too many steps; from then on adds none.
    fn convolve(&mut self, law: &Lattice) -> bool {
        let other = law.pmf();
        if self.is_too_wide || self.pmf.len().saturating_mul(other.len()) > self.steps_max {
            self.is_too_wide = true;
            self.pmf = Vec::new();
            return false;
        }
        let mut sum = vec![0.0; (self.pmf.len() + other.len()).saturating_sub(1)];
        for (i, &p) in self.pmf.iter().enumerate() {
            if p > 0.0 {
                for (slot, &q) in sum[i..].iter_mut().zip(other) {
                    *slot += p * q;
                }
            }
        }
        self.lo += law.lo();
        self.pmf = sum;
        true
    }

    fn cut_negligible(&mut self) -> f64 {
        let mut lost = 0.0;
        while let Some(&p) = self.pmf.last()
            && p < NEGLIGIBLE
            && self.pmf.len() > 1
        {
            lost += p;
            self.pmf.pop();
        }
        let low = self.pmf.iter().take_while(|p| **p < NEGLIGIBLE).count();
        let low = low.min(self.pmf.len().saturating_sub(1));
        lost += self.pmf.drain(..low).sum::<f64>();
        self.lo += low as i64;
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_events_are_flagged_when_their_probability_is_small_enough() {
        let mut dp = CountDp::lower();
        let law = Lattice::binomial(100, 0.01);
        let mut looks = 0;
        while dp.next(&law, 0.05).expect("a narrow count") < 0 {
            looks += 1;
        }
        // .99^(100 n) <= .05 first at n = 3.
        assert_eq!(looks + 1, 3);
    }

    #[test]
    fn the_share_of_flagged_paths_is_what_was_spent() {
        let laws: Vec<Lattice> = [3, 0, 5, 2, 8].map(|n| Lattice::binomial(n, 0.3)).into();
        let mut dp = CountDp::upper();
        let bounds: Vec<i64> = laws
            .iter()
            .enumerate()
            .map(|(i, law)| dp.next(law, 0.01 * (i + 1) as f64).expect("narrow"))
            .collect();
        // Enumerate every path.
        let mut alive = std::collections::BTreeMap::from([(0_i64, 1.0)]);
        let mut flagged = 0.0;
        for (law, bound) in laws.iter().zip(&bounds) {
            let mut next = std::collections::BTreeMap::new();
            for (count, p) in alive {
                for (x, q) in law.pmf().iter().enumerate() {
                    let count = count + law.lo() + x as i64;
                    if count >= *bound {
                        flagged += p * q;
                    } else {
                        *next.entry(count).or_insert(0.0) += p * q;
                    }
                }
            }
            alive = next;
        }
        assert!((flagged - dp.spent()).abs() < 1e-12);
        assert!(flagged <= 0.05);
    }

    #[test]
    fn tails_of_the_unrestricted_count() {
        let mut tail = CountTail::default();
        tail.push(&Lattice::binomial(4, 0.5));
        tail.push(&Lattice::binomial(6, 0.5));
        let above = |x| tail.upper_tail(x).expect("a narrow count");
        assert!((above(10) - 1.0 / 1024.0).abs() < 1e-15);
        assert!((above(0) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_count_is_given_up_one_step_past_the_limit() {
        // The first tick leaves 5 numbers less the one that is flagged, the second has 7.
        let (first, second) = (Lattice::binomial(4, 0.5), Lattice::binomial(6, 0.5));
        for (steps_max, at_second) in [(28, true), (27, false)] {
            let mut dp = CountDp::upper();
            dp.running.steps_max = steps_max;
            assert_eq!(dp.next(&first, 0.07), Some(4));
            assert_eq!(dp.next(&second, 0.08).is_some(), at_second, "{steps_max}");
            assert_eq!(dp.again(0.09).is_some(), at_second, "{steps_max}");
        }
        for (steps_max, at_second) in [(35, true), (34, false)] {
            let mut tail = CountTail::default();
            tail.running.steps_max = steps_max;
            tail.push(&first);
            assert!(tail.upper_tail(1).is_some());
            tail.push(&second);
            tail.push(&Lattice::point(0));
            assert_eq!(tail.upper_tail(1).is_some(), at_second, "{steps_max}");
        }
    }
}
