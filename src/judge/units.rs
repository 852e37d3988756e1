//! Between-unit variance: how much less a clustered sample says than its size.
//!
//! Owns the sums by unit from which the design effect is measured. A unit (trace, client, pod)
//! contributes its count and the sum of its scores; the variance of an arm's mean score is then
//! that of a ratio of sums over independent units (linearised; Kish 1965, section 5). It must not
//! know what a score is. Next: `rank`, `tail` and `counts`, which feed it.

use std::collections::BTreeMap;

/// Units an arm keeps apart; beyond it further units share the [`OVERFLOW_GROUPS`].
pub const UNITS_MAX: usize = 65_536;
/// Groups that units beyond [`UNITS_MAX`] are hashed into: still valid, some power lost.
pub const OVERFLOW_GROUPS: u64 = 256;
/// Units an arm needs before a design effect is believed.
pub const UNITS_MIN: usize = 3;

/// Counts and score sums of one arm, by unit.
#[derive(Debug, Clone, Default)]
pub struct UnitSums {
    units: BTreeMap<u64, (f64, f64)>,
}

// === impl UnitSums ===

impl UnitSums {
    /// Adds `count` observations of a unit whose scores sum to `score`.
    pub fn add(&mut self, unit: u64, count: f64, score: f64) {
        let full = self.units.len() >= UNITS_MAX && !self.units.contains_key(&unit);
        let key = if full {
            u64::MAX - unit % OVERFLOW_GROUPS
        } else {
            unit
        };
        let sums = self.units.entry(key).or_default();
        sums.0 += count;
        sums.1 += score;
    }

    /// Number of units.
    pub fn len(&self) -> usize {
        self.units.len()
    }

    /// Whether no unit was seen.
    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// Mean score per observation; 0 where there is none.
    pub fn mean(&self) -> f64 {
        let (count, score) = self.totals();
        if count > 0.0 { score / count } else { 0.0 }
    }

    /// Observations.
    pub fn count(&self) -> f64 {
        self.totals().0
    }

    /// Variance of the mean score, estimated between units; 0 with fewer than two units.
    pub fn variance_of_mean(&self) -> f64 {
        let groups = self.units.len() as f64;
        let (count, score) = self.totals();
        if groups < 2.0 || count <= 0.0 {
            return 0.0;
        }
        let mean = score / count;
        let squares: f64 = self
            .units
            .values()
            .map(|&(n, e)| {
                let residual = e - mean * n;
                residual * residual
            })
            .sum();
        squares * groups / (groups - 1.0) / (count * count)
    }

    fn totals(&self) -> (f64, f64) {
        self.units
            .values()
            .fold((0.0, 0.0), |(n, e), unit| (n + unit.0, e + unit.1))
    }
}

/// Degrees of freedom of a design effect measured on both arms: those of the smaller.
pub fn degrees_of_freedom(baseline: &UnitSums, canary: &UnitSums) -> f64 {
    (baseline.len().min(canary.len()) as f64 - 1.0).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn singletons_give_the_ordinary_variance_of_a_mean() {
        let mut sums = UnitSums::default();
        for (unit, score) in [1.0, 2.0, 4.0, 9.0].into_iter().enumerate() {
            sums.add(unit as u64, 1.0, score);
        }
        let expected = [9.0, 4.0, 0.0, 25.0].iter().sum::<f64>() / 3.0 / 4.0;
        assert!((sums.variance_of_mean() - expected).abs() < 1e-12);
    }

    #[test]
    fn repeating_every_observation_within_its_unit_leaves_the_variance_unchanged() {
        let (mut once, mut thrice) = (UnitSums::default(), UnitSums::default());
        for (unit, score) in [0.1, 0.7, 0.2, 0.9, 0.4].into_iter().enumerate() {
            once.add(unit as u64, 1.0, score);
            for _ in 0..3 {
                thrice.add(unit as u64, 1.0, score);
            }
        }
        assert!((once.variance_of_mean() - thrice.variance_of_mean()).abs() < 1e-12);
    }

    #[test]
    fn units_beyond_the_limit_share_groups_and_lose_no_observation() {
        let mut sums = UnitSums::default();
        for unit in 0..UNITS_MAX as u64 + 1_000 {
            sums.add(unit, 1.0, 1.0);
        }
        assert_eq!(sums.len(), UNITS_MAX + OVERFLOW_GROUPS as usize);
        assert_eq!(sums.count(), UNITS_MAX as f64 + 1_000.0);
    }
}
