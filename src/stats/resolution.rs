//! Which grid recorded values lie on, found from the values themselves.
//!
//! Owns the search: [`Seen`] gathers values tick by tick and answers with a step or with none. It
//! must not know what the step is used for. Next: `censored`, which gives each value its cell.
//!
//! A value has as many decimals as it takes to write it. The grid is the greatest common divisor
//! of the values written with the decimals that all but one in a hundred of them need, so a stray
//! exact value does not hide that the rest are rounded. A step must also be visible: some
//! neighbouring values are few steps apart. Sizes such as 200, 5000 and 30000 have a common
//! divisor, but were not rounded to it.

use serde::{Deserialize, Serialize};

use super::rank::Sorted;

/// Decimals looked for: nanoseconds in seconds, and some.
const DECIMALS_MAX: usize = 12;
/// One more slot, for values that no such number of decimals writes.
const SLOTS: usize = DECIMALS_MAX + 2;
/// Relative error of a value on the grid: that of single precision, which many senders use.
const VALUE_ERROR: f64 = 1.2e-7;
/// Error of a value on the grid, in units of its last decimal.
const DIGIT_ERROR_MAX: f64 = 0.01;
/// Weight of values with more decimals that is passed over: one in this many.
const STRAY_ONE_IN: u64 = 100;
/// Values before anything is said.
const VALUES_MIN: u64 = 20;
/// Distinct values before anything is said: two levels show no grid.
const DISTINCT_MIN: usize = 3;
/// Distinct values kept, to see how close neighbours lie.
const KEPT_MAX: usize = 256;
/// Distinct values of one sample that are looked at: its middle.
const LOOKED_AT_MAX: usize = 512;
/// Steps between neighbours that count as close.
const NEAR_STEPS: f64 = 4.5;
/// Of so many gaps between neighbours, one is close.
const NEAR_ONE_IN: usize = 4;

/// What the values so far look like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Weight of the values that need exactly so many decimals; the last slot for the others.
    weights: [u64; SLOTS],
    /// Greatest common divisor of those values, in units of their last decimal.
    divisors: [u64; SLOTS],
    total: u64,
    /// Some distinct values, ascending.
    kept: Vec<f64>,
}

// === impl Seen ===

impl Default for Seen {
    fn default() -> Seen {
        Seen {
            weights: [0; SLOTS],
            divisors: [0; SLOTS],
            total: 0,
            kept: Vec::new(),
        }
    }
}

impl Seen {
    /// Takes a sample. Infinities are passed over; of very many distinct values the middle ones
    /// speak for all.
    pub fn add(&mut self, sample: &Sorted) {
        let values = sample.values();
        let from = values.len().saturating_sub(LOOKED_AT_MAX) / 2;
        let to = values.len().min(from + LOOKED_AT_MAX);
        let looked_at = sample.pairs().take(to).skip(from);
        for (value, weight) in looked_at.filter(|(value, _)| value.is_finite()) {
            let (decimals, digits) = written(value);
            self.weights[decimals] = self.weights[decimals].saturating_add(weight);
            self.divisors[decimals] = gcd(self.divisors[decimals], digits);
            self.total = self.total.saturating_add(weight);
        }
        let middle = (from + to).saturating_sub(KEPT_MAX) / 2;
        let kept = &values[middle.max(from)..to.min(middle.max(from) + KEPT_MAX)];
        self.keep(kept);
    }

    fn keep(&mut self, values: &[f64]) {
        for &value in values.iter().filter(|value| value.is_finite()) {
            if self.kept.len() >= KEPT_MAX {
                return;
            }
            let at = self.kept.partition_point(|&other| other < value);
            if self.kept.get(at) != Some(&value) {
                self.kept.insert(at, value);
            }
        }
    }

    /// Both as one.
    pub fn with(&self, other: &Seen) -> Seen {
        let mut both = self.clone();
        for slot in 0..SLOTS {
            both.weights[slot] = both.weights[slot].saturating_add(other.weights[slot]);
            both.divisors[slot] = gcd(both.divisors[slot], other.divisors[slot]);
        }
        both.total = both.total.saturating_add(other.total);
        both.keep(&other.kept);
        both
    }

    /// Whether there are values enough to tell.
    pub fn is_enough(&self) -> bool {
        self.total >= VALUES_MIN && self.kept.len() >= DISTINCT_MIN
    }

    /// The step of the grid, in the values' unit; `None` where there is none or too little to
    /// tell.
    pub fn step(&self) -> Option<f64> {
        if !self.is_enough() {
            return None;
        }
        let stray = self.total / STRAY_ONE_IN;
        let mut more = self.total;
        let decimals = self.weights[..=DECIMALS_MAX].iter().position(|&weight| {
            more = more.saturating_sub(weight);
            more <= stray
        })?;
        let mut divisor = 0_u128;
        for (fewer, &own) in self.divisors[..=decimals].iter().enumerate() {
            let scaled = u128::from(own) * u128::from(ten_to(decimals - fewer));
            divisor = gcd_wide(divisor, scaled);
        }
        let step = divisor as f64 / ten_to(decimals) as f64;
        (step > 0.0 && self.is_visible(step)).then_some(step)
    }

    fn is_visible(&self, step: f64) -> bool {
        let near = |pair: &&[f64]| pair[1] - pair[0] <= NEAR_STEPS * step;
        let close = self.kept.windows(2).filter(near).count();
        close > 0 && close * NEAR_ONE_IN >= self.kept.len() - 1
    }
}

// === functions ===

/// Decimals that a value needs and its digits without the point; the last slot where there are
/// too many.
fn written(value: f64) -> (usize, u64) {
    let size = value.abs();
    for decimals in 0..=DECIMALS_MAX {
        let shifted = size * ten_to(decimals) as f64;
        let digits = libm::round(shifted);
        let error_max = (VALUE_ERROR * digits).clamp(1e-9, DIGIT_ERROR_MAX);
        if (shifted - digits).abs() <= error_max && (digits > 0.0 || size == 0.0) {
            return (decimals, digits as u64);
        }
    }
    (SLOTS - 1, 0)
}

fn ten_to(power: usize) -> u64 {
    10_u64.pow(power as u32)
}

fn gcd(one: u64, other: u64) -> u64 {
    gcd_wide(u128::from(one), u128::from(other)) as u64
}

fn gcd_wide(mut one: u128, mut other: u128) -> u128 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::sampler::{Stream, seed_from};

    fn values(count: usize, median: f64, sigma: f64) -> Vec<f64> {
        let mut stream = Stream::new(&seed_from("resolution", "values"), count as u64);
        let mut value = || median * libm::exp(sigma * stream.normal());
        (0..count).map(|_| value()).collect()
    }

    fn step_of(values: Vec<f64>) -> Option<f64> {
        let mut seen = Seen::default();
        seen.add(&Sorted::new(values, None).expect("no NaN"));
        seen.step()
    }

    fn rounded(values: &[f64], step: f64) -> Vec<f64> {
        values.iter().map(|v| (v / step).round() * step).collect()
    }

    #[test]
    fn steps_are_found_in_every_unit_and_precision() {
        for count in [20, 100, 5_000] {
            let values = values(count, 6.0, 0.5);
            assert_eq!(step_of(values.clone()), None, "{count} exact values");
            for step in [1.0, 0.5, 2.0, 0.1, 0.25, 0.2] {
                let found = step_of(rounded(&values, step)).expect("rounded values");
                assert!((found - step).abs() < 1e-12, "{count}: {found} for {step}");
                // The same in seconds, in nanoseconds, and in single precision.
                let scaled = |factor: f64| -> Vec<f64> {
                    rounded(&values, step).iter().map(|v| v * factor).collect()
                };
                assert_eq!(step_of(scaled(1e-3)), Some(step / 1e3));
                assert_eq!(step_of(scaled(1e6)), Some(step * 1e6));
                let single = rounded(&values, step)
                    .iter()
                    .map(|&v| f64::from(v as f32))
                    .collect();
                assert_eq!(step_of(single), Some(found));
            }
        }
    }

    #[test]
    fn a_stray_value_hides_no_grid_and_many_make_a_finer_one() {
        let mut mixed = rounded(&values(1_000, 6.0, 0.5), 1.0);
        mixed.extend([7.123, 8.000_017, 1.0 / 3.0]);
        assert_eq!(step_of(mixed.clone()), Some(1.0));
        mixed.extend(rounded(&values(200, 6.0, 0.5), 0.5));
        assert_eq!(step_of(mixed.clone()), Some(0.5));
        mixed.extend(values(200, 6.0, 0.5));
        assert_eq!(step_of(mixed), None);
    }

    #[test]
    fn constants_levels_and_few_values_show_no_grid() {
        assert_eq!(step_of(vec![5.0; 1_000]), None);
        assert_eq!(step_of([5.0, 6.0].repeat(500)), None);
        assert_eq!(step_of([200.0, 5_000.0, 30_000.0].repeat(50)), None);
        assert_eq!(step_of((1..VALUES_MIN).map(|v| v as f64).collect()), None);
        assert_eq!(
            step_of((1..=VALUES_MIN).map(|v| v as f64).collect()),
            Some(1.0)
        );
        assert_eq!(step_of(vec![0.0; 100]), None);
        assert_eq!(step_of(vec![f64::INFINITY; 100]), None);
    }

    #[test]
    fn ticks_add_up_whatever_their_order() {
        let all = rounded(&values(90, 4.0, 0.5), 1.0);
        let mut seen = [Seen::default(), Seen::default()];
        for (i, chunk) in all.chunks(3).enumerate() {
            seen[i % 2].add(&Sorted::new(chunk.to_vec(), None).expect("no NaN"));
        }
        assert_eq!(seen[0].with(&seen[1]).step(), Some(1.0));
        assert_eq!(seen[0].with(&seen[1]).step(), seen[1].with(&seen[0]).step());
    }
}
