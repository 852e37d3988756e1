//! What one sequential test may spend, and by how much its data weigh less than they count.
//!
//! Owns the spending of an error probability over looks and the adjustment of a score for
//! dependence. It must not know what is tested. Next: `side`, which spends and adjusts.

use serde::{Deserialize, Serialize};

use crate::stats::special;
use crate::stats::spending;

/// Degrees of freedom from which a t statistic is taken as normal.
const NORMAL_DF: f64 = 2_000.0;

/// Spending of one error probability over the looks of an analysis.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Spending {
    /// The whole probability.
    pub level: f64,
    /// Planned looks.
    pub looks_planned: usize,
    /// Looks (from 1) before which nothing is spent.
    pub first_look: usize,
    /// Spent elsewhere before this test began; its own spending starts from there.
    pub elsewhere: f64,
    /// Probability kept for the time after the planned looks; 0 where the plan has no `extend`.
    pub reserve: f64,
    /// Looks after the planned ones.
    pub looks_beyond: usize,
}

impl Spending {
    /// Spent up to and including look `look` (from 1): Kim-DeMets with rho 1, in proportion to
    /// the elapsed share of the horizon.
    pub fn cumulative(&self, look: usize) -> f64 {
        if look < self.first_look {
            return 0.0;
        }
        let share = look as f64 / self.looks_planned as f64;
        (spending::kim_demets(self.level, 1.0, share) - self.elsewhere).max(0.0)
    }

    /// As [`Spending::cumulative`], and on over the looks after the planned ones, for tests that
    /// spend there as before it.
    pub fn cumulative_extended(&self, look: usize) -> f64 {
        let beyond = look.saturating_sub(self.looks_planned) as f64;
        let share = beyond / self.looks_beyond.max(1) as f64;
        self.cumulative(look) + spending::kim_demets(self.reserve, 1.0, share)
    }
}

/// How far the data are from the null law's variance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adjust {
    /// Variance of the score over that of its law, at least 1.
    pub factor: f64,
    /// Degrees of freedom of that factor's estimate; infinite when it is known.
    pub df: f64,
}

impl Adjust {
    /// Nothing to adjust.
    pub const NONE: Adjust = Adjust {
        factor: 1.0,
        df: f64::INFINITY,
    };

    /// The standardised score after the adjustment: divided by the factor's root and, where the
    /// factor was estimated from few units, carried from Student's t to the normal scale.
    pub fn apply(&self, z: f64) -> f64 {
        let t = z / self.factor.sqrt();
        if self.df >= NORMAL_DF || t == 0.0 {
            return t;
        }
        let tail = special::student_t_sf(t.abs(), self.df).max(f64::MIN_POSITIVE);
        -special::normal_quantile(tail) * t.signum()
    }

    /// Whether there is nothing to adjust.
    pub(super) fn is_none(&self) -> bool {
        self.factor <= 1.0 && self.df >= NORMAL_DF
    }
}
