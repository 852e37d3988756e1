//! One-sided group-sequential boundaries by recursive integration.
//!
//! Owns the density of the score on the continuation region (Armitage, McPherson and Rowe 1969;
//! Lan and DeMets 1983 for spending at any information; Jennison and Turnbull 1999, chapter 19).
//! The grid is anchored at each look's boundary with a spacing that is a multiple of the previous
//! one's, so the Gaussian kernel depends on index differences alone: one exponential for each
//! offset instead of one for each pair. Information may leap by any factor: a grid that is too fine
//! for the leap is lumped first, so that a look's cost is bounded whatever the traffic does.

use serde::{Deserialize, Serialize};

use crate::stats::special::{normal_pdf, normal_quantile, normal_sf};

/// Smallest share of the information so far that a look may add: below it the grid is too coarse
/// for the step, and the look's alpha is carried over to the next.
pub const MIN_INFORMATION_STEP: f64 = 1e-3;

/// Grid points per standard deviation of the score, between this and twice as many.
const POINTS_PER_DEVIATION: f64 = 64.0;
/// Standard deviations that the grid and the kernel reach: what lies beyond is below 1.3e-12.
const REACH: f64 = 7.0;
/// Partial sums of a product, so that one addition does not wait for the last.
const LANES: usize = 8;
/// Grid points per standard deviation of a step at which the grid is fine enough; twice as many
/// are lumped in pairs, which adds less than 1e-5 of the step's variance.
const POINTS_PER_STEP: f64 = 128.0;
/// Newton steps for a boundary.
const NEWTON_STEPS: u32 = 50;

/// The recursion after some looks. The score W has mean zero and the information as variance.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LanDemets {
    information: f64,
    spacing: f64,
    boundary: f64,
    /// Density times Simpson weight at `boundary - j * spacing`.
    mass: Vec<f64>,
}

// === impl LanDemets ===

impl LanDemets {
    /// Before the first look.
    pub fn new() -> LanDemets {
        LanDemets::default()
    }

    /// The boundary, in standard deviations, of a look at this cumulative information that spends
    /// `increment`; infinite where nothing is spent. Information must grow by at least
    /// [`MIN_INFORMATION_STEP`] of it: otherwise no look is taken, the result is infinite, and
    /// the caller carries the increment over.
    pub fn next(&mut self, information: f64, increment: f64) -> f64 {
        let news = information - self.information;
        if !news.is_finite() || news <= 0.0 || news < MIN_INFORMATION_STEP * information {
            return f64::INFINITY;
        }
        if self.mass.is_empty() {
            self.first(information, increment)
        } else {
            self.later(information, increment)
        }
    }

    fn first(&mut self, information: f64, increment: f64) -> f64 {
        let deviation = information.sqrt();
        let z = if increment > 0.0 {
            (-normal_quantile(increment)).clamp(-REACH, REACH)
        } else {
            REACH
        };
        self.spacing = deviation / (2.0 * POINTS_PER_DEVIATION);
        self.boundary = z * deviation;
        self.information = information;
        let points = self.points(deviation);
        let density: Vec<f64> = (0..points)
            .map(|j| normal_pdf((self.boundary - j as f64 * self.spacing) / deviation) / deviation)
            .collect();
        self.weigh(density);
        if increment > 0.0 { z } else { f64::INFINITY }
    }

    fn later(&mut self, information: f64, increment: f64) -> f64 {
        let deviation = information.sqrt();
        let step = (information - self.information).sqrt();
        self.lump(step);
        let boundary = if increment > 0.0 {
            self.solve(step, increment, deviation)
        } else {
            REACH * deviation
        };
        let mut stride = 1;
        while self.spacing * stride as f64 * 2.0 * POINTS_PER_DEVIATION < deviation {
            stride *= 2;
        }
        let density = self.carried(boundary, step, stride, deviation);
        self.spacing *= stride as f64;
        self.boundary = boundary;
        self.information = information;
        self.weigh(density);
        if increment > 0.0 {
            boundary / deviation
        } else {
            f64::INFINITY
        }
    }

    /// Coarsens the grid until it is no finer than the step needs. Each mass is split between its
    /// two neighbours on the coarser grid, so that total and mean stay what they are.
    fn lump(&mut self, step: f64) {
        while self.spacing * 2.0 * POINTS_PER_STEP <= step {
            let mut factor = 2;
            while factor < self.mass.len()
                && self.spacing * (2 * factor) as f64 * POINTS_PER_STEP <= step
            {
                factor *= 2;
            }
            let mut coarse = vec![0.0; (self.mass.len() - 1) / factor + 2];
            for (j, &mass) in self.mass.iter().enumerate() {
                let share = (j % factor) as f64 / factor as f64;
                coarse[j / factor] += mass * (1.0 - share);
                coarse[j / factor + 1] += mass * share;
            }
            self.mass = coarse;
            self.spacing *= factor as f64;
        }
    }

    /// The boundary that the score, continuing from the region, crosses with this probability.
    fn solve(&self, step: f64, increment: f64, deviation: f64) -> f64 {
        let crossing = |c: f64| {
            let (mut probability, mut slope) = (0.0, 0.0);
            for (j, &mass) in self.mass.iter().enumerate() {
                let z = (c - self.boundary + j as f64 * self.spacing) / step;
                if z > REACH {
                    break;
                }
                probability += mass * normal_sf(z);
                slope -= mass * normal_pdf(z) / step;
            }
            (probability, slope)
        };
        let (mut low, mut high) = (-REACH * deviation, REACH * deviation);
        if crossing(high).0 >= increment {
            return high;
        }
        let mut c = self.boundary.clamp(low, high);
        for _ in 0..NEWTON_STEPS {
            let (probability, slope) = crossing(c);
            if probability > increment {
                low = c
            } else {
                high = c
            }
            let newton = c - (probability - increment) / slope;
            let next = if slope < 0.0 && newton > low && newton < high {
                newton
            } else {
                0.5 * (low + high)
            };
            let moved = (next - c).abs();
            c = next;
            if moved < 1e-10 * deviation {
                break;
            }
        }
        c
    }

    /// Density of the next score at `boundary - i * stride * spacing`.
    fn carried(&self, boundary: f64, step: f64, stride: usize, deviation: f64) -> Vec<f64> {
        let h = self.spacing;
        let lowest = boundary + REACH * deviation;
        let points = odd((lowest / (h * stride as f64)).ceil() as usize + 1);
        // Kernel at offset e = j - i * stride: difference (boundary - self.boundary) + e * h.
        let shift = boundary - self.boundary;
        let first = ((-REACH * step - shift) / h).floor() as i64;
        let last = ((REACH * step - shift) / h).ceil() as i64;
        let kernel: Vec<f64> = (first..=last)
            .map(|e| normal_pdf((shift + e as f64 * h) / step) / step)
            .collect();
        (0..points)
            .map(|i| {
                let base = (i * stride) as i64;
                let from = (base + first).max(0);
                let to = (base + last + 1).min(self.mass.len() as i64);
                if from >= to {
                    return 0.0;
                }
                let mass = &self.mass[from as usize..to as usize];
                let kernel = &kernel[(from - base - first) as usize..];
                inner_product(mass, &kernel[..mass.len()])
            })
            .collect()
    }

    fn points(&self, deviation: f64) -> usize {
        odd(((self.boundary + REACH * deviation) / self.spacing).ceil() as usize + 1)
    }

    /// Simpson's rule from the boundary down; the far end has no mass to speak of.
    fn weigh(&mut self, mut density: Vec<f64>) {
        let last = density.len() - 1;
        for (j, value) in density.iter_mut().enumerate() {
            let weight = if j == 0 || j == last {
                1.0
            } else if j % 2 == 1 {
                4.0
            } else {
                2.0
            };
            *value *= weight * self.spacing / 3.0;
        }
        self.mass = density;
    }
}

/// Sum of products in a fixed order: `LANES` partial sums, then these from the first to the last.
fn inner_product(left: &[f64], right: &[f64]) -> f64 {
    let mut sums = [0.0; LANES];
    let (lefts, left_rest) = left.as_chunks::<LANES>();
    let (rights, right_rest) = right.as_chunks::<LANES>();
    let rest = left_rest.iter().zip(right_rest);
    let rest: f64 = rest.map(|(left, right)| left * right).sum();
    for (left, right) in lefts.iter().zip(rights) {
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum += left[lane] * right[lane];
        }
    }
    sums.iter().sum::<f64>() + rest
}

fn odd(points: usize) -> usize {
    points.max(3) | 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::spending;

    fn boundaries(spent: impl Fn(f64) -> f64, looks: usize) -> Vec<f64> {
        let mut recursion = LanDemets::new();
        let mut before = 0.0;
        (1..=looks)
            .map(|look| {
                let after = spent(look as f64 / looks as f64);
                let bound = recursion.next(look as f64, after - before);
                before = after;
                bound
            })
            .collect()
    }

    #[test]
    fn published_boundaries_come_out() {
        // Lan and DeMets 1983, one-sided .025, five looks.
        let published = [4.8769, 3.3569, 2.6803, 2.2898, 2.0310];
        let found = boundaries(|t| spending::obrien_fleming(0.025, t), 5);
        for (found, published) in found.iter().zip(published) {
            assert!(
                (found - published).abs() < 1.5e-4,
                "{found} against {published}"
            );
        }
        let published = [2.4380, 2.4268, 2.4101, 2.3966, 2.3859];
        let found = boundaries(|t| spending::pocock(0.025, t), 5);
        for (found, published) in found.iter().zip(published) {
            assert!(
                (found - published).abs() < 1.5e-4,
                "{found} against {published}"
            );
        }
    }

    #[test]
    fn a_single_look_is_the_ordinary_test() {
        assert!((boundaries(|t| 0.05 * t, 1)[0] - 1.644_853_626_951_472).abs() < 1e-9);
    }

    #[test]
    fn a_look_that_spends_nothing_changes_nothing_but_the_path() {
        let mut with = LanDemets::new();
        assert_eq!(with.next(1.0, 0.0), f64::INFINITY);
        let late = with.next(2.0, 0.05);
        assert!((late - 1.644_853_626_951_472).abs() < 1e-5, "{late}");
    }

    #[test]
    fn information_may_leap_by_any_factor() {
        // After a leap the first look is forgotten: two looks of which the first had next to no
        // information cross as two independent ones do.
        let (first, second) = (0.01, 0.02);
        let independent = -normal_quantile(second / (1.0 - first));
        for leap in [1e7, 1e12, 1e200] {
            let mut recursion = LanDemets::new();
            recursion.next(1.0, first);
            let bound = recursion.next(leap, second);
            assert!((bound - independent).abs() < 1e-3, "{bound} after {leap}");
            assert!(recursion.mass.len() < 4_000, "{}", recursion.mass.len());
            assert!(recursion.next(2.0 * leap, first).is_finite());
        }
    }

    #[test]
    fn the_probability_spent_is_the_probability_of_crossing() {
        // A step that is small against the whole is the hardest for the grid.
        let information: Vec<f64> = (0..20).map(|look| 100.0 + 0.2 * f64::from(look)).collect();
        let mut recursion = LanDemets::new();
        for &v in &information {
            recursion.next(v, 0.002);
        }
        let left: f64 = recursion.mass.iter().sum();
        assert!((1.0 - left - 20.0 * 0.002).abs() < 2e-5, "{left}");
    }

    #[test]
    fn a_step_too_small_is_no_look() {
        let mut recursion = LanDemets::new();
        let first = recursion.next(1.0, 0.01);
        assert!(first.is_finite());
        let smallest = 1.0 / (1.0 - MIN_INFORMATION_STEP);
        for information in [1.0, 0.5, smallest - 1e-9, f64::NAN, f64::INFINITY] {
            assert_eq!(recursion.next(information, 0.01), f64::INFINITY);
        }
        assert!(recursion.next(smallest + 1e-9, 0.01).is_finite());
    }
}
