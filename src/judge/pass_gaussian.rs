//! The bound of a pass where scores are Gaussian.
//!
//! Owns the Lan-DeMets recursion along a run's own information, and which looks carry too little
//! of it to be looks of their own. Next: `side`, whose pass side it is.

use serde::{Deserialize, Serialize};

use crate::judge::side::Spending;
use crate::stats::lan_demets::{LanDemets, MIN_INFORMATION_STEP};

/// The recursion so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PassGaussian {
    recursion: LanDemets,
    looked: usize,
    information: f64,
    spent: f64,
    /// Standard deviations that a pass takes at the last look.
    pub bound: f64,
}

// === impl PassGaussian ===

impl PassGaussian {
    /// Takes every look up to `look`; `prefix_v` is the run's information, beginning with 0.
    pub fn advance(&mut self, prefix_v: &[f64], spending: &Spending, look: usize) {
        while self.looked < look {
            self.looked += 1;
            let spent = spending.cumulative(self.looked);
            let information = prefix_v[self.looked];
            let step = information - self.information;
            let increment = spent - self.spent;
            let too_little = step <= 0.0 || step < MIN_INFORMATION_STEP * information;
            if increment <= 0.0 || too_little {
                // Too little news for a look of its own: its share of beta is carried over. A
                // bound stays only with the very score it was made for.
                if step > 0.0 {
                    self.bound = f64::INFINITY;
                }
                continue;
            }
            self.bound = self.recursion.next(information, increment);
            self.information = information;
            self.spent = spent;
        }
        if self.information <= 0.0 {
            self.bound = f64::INFINITY;
        }
    }
}
