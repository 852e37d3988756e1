//! Ticks as strata of a difference of proportions or rates.
//!
//! Owns the sums from which the variance of the weighted differences follows. What is tested by
//! them is `absolute`'s.

use serde::{Deserialize, Serialize};

use crate::judge::tally::Tally;
use crate::plan::MetricKind;

/// The ticks that both arms are in, and what the variance of their weighted differences is made
/// of: ticks differ in how the traffic is split and in what happens behind both arms.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Strata {
    /// Their counts.
    pub run: Tally,
    /// Sum of the ticks' weights.
    pub weight: f64,
    /// Sums of weight^2 / size, by arm.
    pub shares: [f64; 2],
    /// Variance at each tick's own shares or rates.
    pub observed: f64,
}

// === impl Strata ===

impl Strata {
    /// Takes a tick of this weight, whose arms have these sizes.
    pub fn add(&mut self, tick: &Tally, weight: f64, sizes: [f64; 2], kind: MetricKind) {
        self.run.add(tick);
        self.weight += weight;
        for (arm, size) in sizes.into_iter().enumerate() {
            let share = weight * weight / size;
            self.shares[arm] += share;
            self.observed += share * variance_of(tick.rate(arm, kind), kind);
        }
    }
}

// === functions ===

/// Variance of one trial, or of one unit of exposure.
pub(super) fn variance_of(level: f64, kind: MetricKind) -> f64 {
    match kind {
        MetricKind::Rate => level,
        _ => level * (1.0 - level),
    }
}

/// Trials of a ratio's arm, exposure of a rate's.
pub(super) fn size(tally: &Tally, arm: usize, kind: MetricKind) -> f64 {
    match kind {
        MetricKind::Rate => tally.exposure[arm],
        _ => tally.total[arm] as f64,
    }
}
