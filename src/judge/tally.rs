//! Bad events and exposures of both arms.
//!
//! Owns what one tick (or a run) counted, and the law of the canary's events given the total. It
//! must not know tolerances. Next: `counts` and `absolute`, which test them.

use serde::{Deserialize, Serialize};

use crate::plan::MetricKind;
use crate::stats::count_law::CountLaw;

/// Bad events and exposure of both arms in one tick (or over a run).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Bad events by arm.
    pub bad: [u64; 2],
    /// Totals of a ratio by arm.
    pub total: [u64; 2],
    /// Exposures of a rate by arm.
    pub exposure: [f64; 2],
}

// === impl Tally ===

impl Tally {
    pub(super) fn add(&mut self, other: &Tally) {
        for arm in 0..2 {
            self.bad[arm] = self.bad[arm].saturating_add(other.bad[arm]);
            self.total[arm] = self.total[arm].saturating_add(other.total[arm]);
            self.exposure[arm] += other.exposure[arm];
        }
    }

    /// Whether the tick says something about the relative part: events, and both arms seen.
    pub(super) fn conditional(&self, kind: MetricKind) -> bool {
        self.bad[0] + self.bad[1] > 0 && self.seen(kind)
    }

    pub(super) fn seen(&self, kind: MetricKind) -> bool {
        match kind {
            MetricKind::Rate => self.exposure.iter().all(|&exposure| exposure > 0.0),
            _ => self.total.iter().all(|&total| total > 0),
        }
    }

    /// Law of the canary's bad events given the total, at this odds (or rate) ratio; of the
    /// baseline's where `swapped`.
    pub(super) fn law(&self, kind: MetricKind, odds: f64, swapped: bool) -> CountLaw {
        let events = self.bad[0] + self.bad[1];
        let (own, other) = if swapped { (0, 1) } else { (1, 0) };
        match kind {
            MetricKind::Rate => {
                let weighted = odds * self.exposure[own];
                CountLaw::binomial(events, weighted / (weighted + self.exposure[other]))
            }
            _ => CountLaw::fisher_noncentral_hypergeometric(
                self.total[own],
                self.total[other],
                events,
                odds,
            ),
        }
    }

    /// Arms exchanged where lower is worse: then "the baseline has more" is the degradation.
    pub(super) fn turned(&self, worse_is_lower: bool) -> Tally {
        if !worse_is_lower {
            return *self;
        }
        Tally {
            bad: [self.bad[1], self.bad[0]],
            total: [self.total[1], self.total[0]],
            exposure: [self.exposure[1], self.exposure[0]],
        }
    }

    /// Bad share of a ratio's arm; 0 where nothing was seen.
    pub fn share(&self, arm: usize) -> f64 {
        if self.total[arm] == 0 {
            0.0
        } else {
            self.bad[arm] as f64 / self.total[arm] as f64
        }
    }

    /// Events per exposure, or the bad share.
    pub fn rate(&self, arm: usize, kind: MetricKind) -> f64 {
        match kind {
            MetricKind::Rate if self.exposure[arm] > 0.0 => {
                self.bad[arm] as f64 / self.exposure[arm]
            }
            MetricKind::Rate => 0.0,
            _ => self.share(arm),
        }
    }
}
