//! The Mann-Whitney interval of the shift between the sides, and its estimate.
//!
//! Owns the statistic as a function of the shift, and the three roots that are asked for. It is R's
//! `wilcox.test(conf.int = TRUE, exact = FALSE)` (Bauer 1972, "Constructing confidence sets using
//! rank statistics"; ties as in Hollander and Wolfe 1973, equation 4.23) with the continuity
//! correction left on for the estimate.
//!
//! Kayenta sorts both samples anew at each step of the search. Subtraction keeps the order of
//! doubles (rounding is monotone), so here both are sorted once and a step is one merge. What is
//! tied is decided by the doubles after the subtraction, as it is there: a shift may tie values
//! that were apart.

use crate::stats::special::normal_quantile;

use super::brent::{At, root};

/// The interval, in the metric's unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end. Where ties are many it may lie above the upper end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// The Hodges-Lehmann estimate of the shift, canary less baseline.
    pub estimate: f64,
}

/// At some shift that was looked at all values are tied, so the statistic has no scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllTied;

/// Both sides, sorted.
#[derive(Debug)]
pub struct Sides {
    canary: Vec<f64>,
    baseline: Vec<i64>,
    baseline_ends: [f64; 2],
    shifted: Vec<i64>,
}

// === impl Sides ===

impl Sides {
    /// Sorts both. `None` where one is empty.
    pub fn new(baseline: &[f64], canary: &[f64]) -> Option<Sides> {
        let sorted = |values: &[f64]| {
            // A NaN ranks as the largest.
            let ranked = |value: &f64| {
                if value.is_nan() {
                    f64::INFINITY
                } else {
                    *value
                }
            };
            let mut values: Vec<f64> = values.iter().map(ranked).collect();
            values.sort_unstable_by(f64::total_cmp);
            values
        };
        let (baseline, canary) = (sorted(baseline), sorted(canary));
        let ends = [*baseline.first()?, *baseline.last()?];
        if canary.is_empty() {
            return None;
        }
        Some(Sides {
            shifted: vec![0; canary.len()],
            canary,
            baseline: baseline.into_iter().map(key).collect(),
            baseline_ends: ends,
        })
    }

    /// The interval at this confidence.
    ///
    /// # Errors
    /// [`AllTied`].
    pub fn interval(&mut self, confidence: f64) -> Result<Interval, AllTied> {
        let (smallest, largest) = (self.canary[0], self.canary[self.canary.len() - 1]);
        let low = smallest - self.baseline_ends[1];
        let high = largest - self.baseline_ends[0];
        let ends = [self.at(low)?, self.at(high)?];
        let z = normal_quantile((1.0 - confidence) / 2.0);
        Ok(Interval {
            low: self.bound(ends, -z)?,
            high: self.bound(ends, z)?,
            estimate: self.crossing(ends, 0.0)?,
        })
    }

    fn at(&mut self, shift: f64) -> Result<At, AllTied> {
        let f = self.standardised(shift)?;
        Ok(At { x: shift, f })
    }

    /// Where the statistic is `quantile`; the end beyond which it lies, where it is out of reach.
    fn bound(&mut self, ends: [At; 2], quantile: f64) -> Result<f64, AllTied> {
        let [low, high] = ends;
        if low.f - quantile <= 0.0 {
            Ok(low.x)
        } else if high.f - quantile >= 0.0 {
            Ok(high.x)
        } else {
            self.crossing(ends, quantile)
        }
    }

    fn crossing(&mut self, ends: [At; 2], quantile: f64) -> Result<f64, AllTied> {
        let [low, high] = ends.map(|At { x, f }| At { x, f: f - quantile });
        root(low, high, |shift| Ok(self.standardised(shift)? - quantile))
    }

    /// The rank sum of the canary less `shift`, centred, corrected for continuity and scaled.
    ///
    /// # Errors
    /// [`AllTied`].
    pub fn standardised(&mut self, shift: f64) -> Result<f64, AllTied> {
        for (slot, value) in self.shifted.iter_mut().zip(&self.canary) {
            let moved = value - shift;
            *slot = key(if moved.is_nan() { f64::INFINITY } else { moved });
        }
        let Ranks { doubled_sum, ties } = ranks(&self.shifted, &self.baseline);
        let (m, n) = (self.canary.len() as f64, self.baseline.len() as f64);
        let centred = doubled_sum as f64 / 2.0 - m * (m + 1.0) / 2.0 - m * n / 2.0;
        let correction = if centred == 0.0 {
            0.0
        } else {
            0.5 * centred.signum()
        };
        let all = m + n;
        let variance = m * n / 12.0 * ((all + 1.0) - ties / (all * (all - 1.0)));
        let sigma = variance.sqrt();
        if sigma == 0.0 {
            return Err(AllTied);
        }
        Ok((centred - correction) / sigma)
    }
}

/// P(canary > baseline), ties counting half.
pub(super) fn probability_above(baseline: &[f64], canary: &[f64]) -> f64 {
    let keys = |values: &[f64]| {
        let mut keys: Vec<i64> = values.iter().map(|&value| key(value)).collect();
        keys.sort_unstable();
        keys
    };
    let found = ranks(&keys(canary), &keys(baseline));
    let (m, n) = (canary.len() as f64, baseline.len() as f64);
    (found.doubled_sum as f64 - m * (m + 1.0)) / (2.0 * m * n)
}

/// The image of a double among the integers that keeps the order and tells -0.0 from 0.0, which
/// Kayenta's ranking does.
fn key(value: f64) -> i64 {
    let bits = value.to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

/// What ranking both sides together gives.
struct Ranks {
    /// Twice the sum of the canary's ranks, ties averaged.
    doubled_sum: u64,
    /// Sum of `t^3 - t` over groups of `t` tied values.
    ties: f64,
}

/// One merge of both sides, sorted.
fn ranks(canary: &[i64], baseline: &[i64]) -> Ranks {
    let (mut i, mut j) = (0, 0);
    let (mut doubled_sum, mut ties) = (0_u64, 0.0);
    while i < canary.len() {
        let value = canary[i];
        // What is below the next of the canary, with its own ties.
        while j < baseline.len() && baseline[j] < value {
            let run = run_length(&baseline[j..]);
            ties += tie(run);
            j += run;
        }
        let own = run_length(&canary[i..]);
        let other = match baseline.get(j) {
            Some(&same) if same == value => run_length(&baseline[j..]),
            _ => 0,
        };
        let below = (i + j) as u64;
        let group = own + other;
        // The group's ranks run from below + 1 to below + group.
        doubled_sum += own as u64 * (2 * below + group as u64 + 1);
        ties += tie(group);
        i += own;
        j += other;
    }
    while j < baseline.len() {
        let run = run_length(&baseline[j..]);
        ties += tie(run);
        j += run;
    }
    Ranks { doubled_sum, ties }
}

/// How many values at the beginning are equal.
fn run_length(sorted: &[i64]) -> usize {
    let first = sorted[0];
    let mut length = 1;
    while length < sorted.len() && sorted[length] == first {
        length += 1;
    }
    length
}

fn tie(length: usize) -> f64 {
    if length < 2 {
        return 0.0;
    }
    let length = length as f64;
    length * length * length - length
}

#[cfg(test)]
mod tests;
