//! Ranks of values that were recorded with a finite resolution.
//!
//! Owns the cell a recorded value came from ([`Rounding`]), samples of cells ([`Cells`]), and U and
//! placements between them. It must not know how a resolution is found (next: `resolution`) or
//! what is judged by it.
//!
//! A recorded value stands for a uniform law over its cell, so a pair of values counts
//! P(X > Y) + P(X = Y) / 2, an integral over the overlap of two intervals. Midranks would do while
//! nothing is stretched; but a relative tolerance moves every baseline value a little, which breaks
//! each tie the same way, and a canary exactly at the tolerance would look clearly better.
//!
//! The U of cells is the mean, given what was recorded, of the U of the values before rounding
//! (so far as the law is flat over one cell). Those are exchangeable at the boundary, and their U
//! is sub-Gaussian with variance mn(N + 1) / 12. By Jensen's inequality E exp(t U) of a conditional
//! mean is at most that of what it is the mean of, so the same variance bounds the U of cells.

use std::sync::Arc;

use super::buckets::{self, Layout};
use super::exact::ExactNull;
use super::rank::Sorted;
use super::{mann_whitney, special};

/// Steps from zero beyond which a double holds no finer digit: such a value is its own cell.
const STEPS_MAX: f64 = 4.5e15;

/// How values came to be recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Rounding {
    /// Values are multiples of this step, rounded to the nearest; zero for exact values.
    pub step: f64,
    /// Mantissa bits left of each value after they were cut towards zero, where they were.
    pub mantissa_bits: Option<u32>,
    /// Whether values below zero occur; without them the cell of zero begins at zero.
    pub negative: bool,
    /// Buckets that values were counted in, where they were; each value is the middle of its own.
    pub layout: Option<Arc<Layout>>,
}

/// A sample of cells: intervals ascending and disjoint (a point where a value is exact), each with
/// a weight.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cells {
    low: Vec<f64>,
    high: Vec<f64>,
    weights: Vec<u64>,
    total: u64,
}

// === impl Rounding ===

impl Rounding {
    /// Values as they were measured.
    pub const EXACT: Rounding = Rounding {
        step: 0.0,
        mantissa_bits: None,
        negative: false,
        layout: None,
    };

    /// Whether every value is its own cell.
    pub fn is_exact(&self) -> bool {
        self.step <= 0.0 && self.mantissa_bits.is_none() && self.layout.is_none()
    }

    /// The cell of a recorded value. Values off the step's grid belong to the nearest cell.
    pub fn cell(&self, value: f64) -> [f64; 2] {
        if !value.is_finite() {
            return [value, value];
        }
        let layout = self.layout.as_deref();
        if let Some(bucket) = layout.and_then(|layout| layout.bucket(value)) {
            return buckets::closed(bucket);
        }
        // A cut moved the value towards zero, by less than the cut's own step.
        let cut = match self.mantissa_bits {
            Some(bits) if value != 0.0 => cut_step(value, bits),
            _ => 0.0,
        };
        let steps = libm::round(value / self.step);
        let [mut low, mut high] = if self.step > 0.0 && steps.abs() <= STEPS_MAX {
            // Both edges are the same function of a whole number, so neighbours share theirs.
            [
                (2.0 * steps - 1.0) * self.step / 2.0,
                (2.0 * steps + 1.0) * self.step / 2.0,
            ]
        } else {
            [value, value]
        };
        if cut > self.step {
            let half = self.step.max(0.0) / 2.0;
            [low, high] = if value > 0.0 {
                [value - half, value + cut - half]
            } else {
                [value - cut + half, value + half]
            };
        }
        if !self.negative && value >= 0.0 {
            low = low.max(0.0);
        }
        [low, high]
    }
}

/// Distance from a cut value to the next one further from zero.
fn cut_step(value: f64, bits: u32) -> f64 {
    let dropped = 52 - bits.min(52);
    let next = f64::from_bits((value.abs().to_bits() >> dropped).saturating_add(1) << dropped);
    if next.is_finite() {
        next - value.abs()
    } else {
        0.0
    }
}

// === impl Cells ===

impl Cells {
    /// The cells of a sample; values of one cell are merged.
    pub fn new(sample: &Sorted, rounding: &Rounding) -> Cells {
        let mut cells = Cells::default();
        for (value, weight) in sample.pairs() {
            let [low, high] = rounding.cell(value);
            cells.push(low, high, weight);
        }
        cells
    }

    fn push(&mut self, low: f64, high: f64, weight: u64) {
        self.total = self.total.saturating_add(weight);
        match (self.low.last(), self.high.last(), self.weights.last_mut()) {
            (Some(&before), Some(&end), Some(count)) if before == low && end == high => {
                *count = count.saturating_add(weight);
            }
            _ => {
                self.low.push(low);
                self.high.push(high);
                self.weights.push(weight);
            }
        }
    }

    /// Every cell through a monotone non-decreasing `map` of its ends; inside a cell the map is
    /// taken as linear.
    pub fn mapped(&self, map: impl Fn(f64) -> f64) -> Cells {
        let mut mapped = Cells::default();
        for ((&low, &high), &weight) in self.low.iter().zip(&self.high).zip(&self.weights) {
            mapped.push(map(low), map(high), weight);
        }
        mapped
    }

    /// The cells of the negated values.
    pub fn negated(&self) -> Cells {
        let mut negated = Cells::default();
        let ends = self.low.iter().zip(&self.high).zip(&self.weights);
        for ((&low, &high), &weight) in ends.rev() {
            negated.push(0.0 - high, 0.0 - low, weight);
        }
        negated
    }

    /// Each cell as one value, its low end: cells that are alike tie, others do not.
    pub fn at_lows(&self) -> Sorted {
        Sorted::new(self.low.clone(), Some(self.weights.clone())).unwrap_or_default()
    }

    /// Weight of each cell.
    pub fn weights(&self) -> &[u64] {
        &self.weights
    }

    /// Sum of the weights.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Lower end of each cell, ascending.
    pub fn lows(&self) -> &[f64] {
        &self.low
    }

    /// Expected weight above `threshold`; half of a point that equals it.
    pub fn beyond(&self, threshold: f64) -> f64 {
        let (mut whole, mut parts) = (0_u64, 0.0);
        for ((&low, &high), &weight) in self.low.iter().zip(&self.high).zip(&self.weights) {
            let share = chance_above([low, high], [threshold, threshold]);
            if share >= 1.0 {
                whole = whole.saturating_add(weight);
            } else if share > 0.0 {
                parts += weight as f64 * share;
            }
        }
        whole as f64 + parts
    }

    /// Calls `each` with the index of a cell of this sample and the expected weight of `among`
    /// (moved by the monotone `map`) below a value in it. One pass over both samples: disjoint
    /// intervals of two samples overlap in fewer pairs than there are intervals.
    fn sweep(&self, among: &Cells, map: impl Fn(f64) -> f64, mut each: impl FnMut(usize, f64)) {
        // Each end is looked at several times, and a map costs more than to look.
        let ends: Vec<[f64; 2]> = (among.low.iter().zip(&among.high))
            .map(|(&low, &high)| [map(low), map(high)])
            .collect();
        let (mut first, mut below) = (0, 0_u64);
        for (i, (&low, &high)) in self.low.iter().zip(&self.high).enumerate() {
            while let Some(&[start, end]) = ends.get(first) {
                let is_tie = end == low && low == high && start == end;
                if end > low || is_tie {
                    break;
                }
                below = below.saturating_add(among.weights[first]);
                first += 1;
            }
            let mut parts = 0.0;
            for (&other, &weight) in ends[first..].iter().zip(&among.weights[first..]) {
                if other[0] > high || (other[0] == high && other[0] < other[1]) {
                    break;
                }
                parts += weight as f64 * chance_above([low, high], other);
            }
            each(i, below as f64 + parts);
        }
    }
}

// === functions ===

/// P(X > Y) + P(X = Y) / 2 for X and Y uniform over two intervals, either of which may be a point.
pub fn chance_above(x: [f64; 2], y: [f64; 2]) -> f64 {
    let ([a, b], [c, d]) = (x, y);
    if a == b && c == d && a == c {
        return 0.5;
    }
    if a >= d {
        return 1.0;
    }
    if b <= c {
        return 0.0;
    }
    if a == b {
        return (a - c) / (d - c);
    }
    if c == d {
        return (b - c) / (b - a);
    }
    // X above all of Y, and X within Y, where Y's distribution function is linear.
    let (from, to) = (a.max(c), b.min(d));
    let within = (to - from) * (0.5 * (from - c) + 0.5 * (to - c)) / (d - c);
    ((b - d).max(0.0) + within) / (b - a)
}

/// Mann-Whitney U of the canary over `map(baseline)` between cells: the sum over all pairs of
/// P(X > Y) + P(X = Y) / 2. `map` must be monotone non-decreasing.
pub fn u(canary: &Cells, baseline: &Cells, map: impl Fn(f64) -> f64) -> f64 {
    let mut sum = 0.0;
    canary.sweep(baseline, map, |i, below| {
        sum += canary.weights[i] as f64 * below;
    });
    sum
}

/// The expected share of `among` below a value of each cell of `of`.
pub fn placements(of: &Cells, among: &Cells) -> Vec<f64> {
    let total = among.total.max(1) as f64;
    let mut found = vec![0.0; of.low.len()];
    of.sweep(among, |end| end, |i, below| found[i] = below / total);
    found
}

/// One-sided p-values, `[greater, less]`, of one comparison of cells: U is the mean of the U of the
/// values before rounding, whose law has no ties (exact for small samples, else normal with a
/// continuity correction). What lies between two values of that law counts as the milder one.
pub fn p_values(u: f64, canary_len: u64, baseline_len: u64) -> [f64; 2] {
    if canary_len == 0 || baseline_len == 0 {
        return [1.0, 1.0];
    }
    // Sums of overlaps carry rounding errors; complete separation must stay complete.
    let (least, most) = (libm::floor(u + 1e-9), libm::ceil(u - 1e-9));
    if let Some(null) = ExactNull::untied(canary_len, baseline_len) {
        return [
            null.p_greater(2 * least as i128),
            null.p_less(2 * most as i128),
        ];
    }
    let centre = canary_len as f64 * baseline_len as f64 / 2.0;
    let sd = mann_whitney::standard_deviation(canary_len, baseline_len, 0);
    [
        special::normal_sf((u - centre - 0.5) / sd),
        special::normal_sf((centre - u - 0.5) / sd),
    ]
}

/// The value with `level` (0 to 1) of all weight below it, all samples taken together; linear
/// inside a cell. `None` for no weight at all.
pub fn quantile(samples: &[&Cells], level: f64) -> Option<f64> {
    let total: f64 = samples.iter().map(|cells| cells.total as f64).sum();
    let wanted = (1.0 - level) * total;
    let mut ends: Vec<f64> = samples
        .iter()
        .flat_map(|cells| cells.low.iter().chain(&cells.high).copied())
        .collect();
    ends.sort_by(f64::total_cmp);
    ends.dedup();
    let beyond = |end: f64| -> f64 { samples.iter().map(|cells| cells.beyond(end)).sum() };
    // The weight beyond an end falls along the ends: the first with no more than wanted.
    let at = ends.partition_point(|&end| beyond(end) > wanted);
    let high = *ends.get(at).or(ends.last())?;
    let Some(&low) = at.checked_sub(1).and_then(|before| ends.get(before)) else {
        return Some(high);
    };
    let (more, less) = (beyond(low), beyond(high));
    if more <= less || !(high - low).is_finite() {
        return Some(high);
    }
    Some(low + ((more - wanted) / (more - less)).clamp(0.0, 1.0) * (high - low))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rank;
    use crate::stats::sampler::{Stream, seed_from};

    const WHOLE: Rounding = Rounding {
        step: 1.0,
        ..Rounding::EXACT
    };

    fn sorted(values: Vec<f64>) -> Sorted {
        Sorted::new(values, None).expect("no NaN")
    }

    fn brute(canary: &Cells, baseline: &Cells, map: impl Fn(f64) -> f64) -> f64 {
        let mut sum = 0.0;
        for i in 0..canary.low.len() {
            for j in 0..baseline.low.len() {
                let x = [canary.low[i], canary.high[i]];
                let y = [map(baseline.low[j]), map(baseline.high[j])];
                let weight = canary.weights[i] as f64 * baseline.weights[j] as f64;
                sum += weight * chance_above(x, y);
            }
        }
        sum
    }

    fn random(label: &str, index: u64, count: usize, scale: f64) -> Vec<f64> {
        let mut stream = Stream::new(&seed_from("censored", label), index);
        (0..count).map(|_| scale * stream.normal()).collect()
    }

    #[test]
    fn the_sweep_equals_brute_force_over_pairs() {
        let roundings = [
            WHOLE,
            Rounding {
                negative: true,
                ..WHOLE
            },
            Rounding {
                step: 0.25,
                ..WHOLE
            },
            Rounding::EXACT,
            Rounding {
                mantissa_bits: Some(3),
                ..Rounding::EXACT
            },
            Rounding {
                mantissa_bits: Some(2),
                negative: true,
                ..WHOLE
            },
        ];
        for index in 0..40 {
            for (i, one) in roundings.iter().enumerate() {
                let other = &roundings[(i + index as usize) % roundings.len()];
                let record = |values: Vec<f64>, r: &Rounding| {
                    let value = |v: f64| if r.negative { v } else { v.abs() };
                    Cells::new(&sorted(values.into_iter().map(value).collect()), r)
                };
                let canary = record(random("canary", index, 60, 4.0), one);
                let baseline = record(random("baseline", index, 50, 4.0), other);
                for ratio in [1.0, 1.05, 0.8, 3.0] {
                    let expected = brute(&canary, &baseline, |y| y * ratio);
                    let found = u(&canary, &baseline, |y| y * ratio);
                    assert!(
                        (found - expected).abs() <= 1e-12 * 3_000.0,
                        "{found} {expected}"
                    );
                    let moved = baseline.mapped(|y| y * ratio);
                    let placed = placements(&canary, &moved);
                    let sum: f64 = placed
                        .iter()
                        .zip(canary.weights())
                        .map(|(p, &w)| p * w as f64)
                        .sum();
                    assert!((50.0 * sum - expected).abs() <= 1e-12 * 3_000.0);
                    // Every pair is either above or below.
                    let turned = u(&moved, &canary, |x| x);
                    assert!((found + turned - 3_000.0).abs() <= 1e-9);
                }
            }
        }
    }

    #[test]
    fn exact_values_and_unmoved_cells_count_as_midranks() {
        let canary = sorted(vec![1.0, 2.0, 2.0, 5.0, f64::INFINITY]);
        let baseline = sorted(vec![2.0, 3.0, 1.0, f64::INFINITY, f64::NEG_INFINITY]);
        let midranks = rank::two_u(&canary, &baseline, |y| y) as f64 / 2.0;
        for rounding in [Rounding::EXACT, WHOLE] {
            let [x, y] = [&canary, &baseline].map(|arm| Cells::new(arm, &rounding));
            assert_eq!(u(&x, &y, |y| y), midranks);
        }
    }

    #[test]
    fn a_pair_of_cells_counts_its_overlap() {
        // [4.5, 5.5] against 1.05 times the same: worked out by hand.
        let p = chance_above([4.5, 5.5], [4.725, 5.775]);
        assert!((p - 0.775 * 0.775 / 2.0 / 1.05).abs() < 1e-15);
        assert_eq!(chance_above([1.0, 1.0], [0.0, 4.0]), 0.25);
        assert_eq!(chance_above([0.0, 4.0], [1.0, 1.0]), 0.75);
        assert_eq!(chance_above([0.0, 4.0], [1.0, 3.0]), 0.5);
        assert_eq!(chance_above([1.0, 3.0], [0.0, 4.0]), 0.5);
    }

    #[test]
    fn cells_of_zero_of_cut_and_of_huge_values() {
        assert_eq!(WHOLE.cell(0.0), [0.0, 0.5]);
        assert_eq!(WHOLE.cell(5.2), [4.5, 5.5]);
        let signed = Rounding {
            negative: true,
            ..WHOLE
        };
        assert_eq!(signed.cell(0.0), [-0.5, 0.5]);
        assert_eq!(signed.cell(-3.0), [-3.5, -2.5]);
        assert_eq!(Rounding::EXACT.cell(0.0), [0.0, 0.0]);
        assert_eq!(WHOLE.cell(1e300), [1e300, 1e300]);
        assert_eq!(WHOLE.cell(f64::INFINITY), [f64::INFINITY; 2]);
        let cut = Rounding {
            mantissa_bits: Some(11),
            ..Rounding::EXACT
        };
        assert_eq!(cut.cell(1.0), [1.0, 1.0 + 1.0 / 2048.0]);
        // Whole numbers cut to 4096 were 4096 or 4097, rounded from 4095.5 to 4097.5.
        let both = Rounding {
            mantissa_bits: Some(11),
            ..WHOLE
        };
        assert_eq!(both.cell(4096.0), [4095.5, 4097.5]);
        assert_eq!(both.cell(4095.0), [4094.5, 4095.5]);
    }

    #[test]
    fn a_quantile_lies_inside_its_cell() {
        let cells = Cells::new(
            &sorted(vec![1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 3.0, 3.0]),
            &WHOLE,
        );
        assert_eq!(quantile(&[&cells], 0.5), Some(2.0));
        assert_eq!(quantile(&[&cells], 0.75), Some(2.5));
        assert_eq!(quantile(&[&cells], 0.9), Some(3.1));
        assert!((cells.beyond(3.1) - 0.8).abs() < 1e-12);
        assert_eq!(quantile(&[&cells, &cells], 0.5), Some(2.0));
        assert_eq!(quantile(&[], 0.5), None);
        let point = Cells::new(&sorted(vec![7.0; 4]), &Rounding::EXACT);
        assert_eq!(quantile(&[&point], 0.9), Some(7.0));
    }
}
