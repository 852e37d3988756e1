//! One direction of a tail check: what lies beyond the threshold, tick by tick.
//!
//! Owns the counting of a tick's two arms in this direction's orientation, in which higher is worse, and
//! the units behind it. Which threshold is asked about is its parent's. Next: `judge::side`.

use serde::{Deserialize, Serialize};

use crate::judge::check;
use crate::judge::cut::Cut;
use crate::judge::recorded::Pair;
use crate::judge::side::{Adjust, Side};
use crate::judge::units::{self, Units};
use crate::model::Arm;
use crate::plan::Tolerance;
use crate::stats::censored::{self, Cells, Rounding};
use crate::stats::count_law::CountLaw;
use crate::stats::rank::Sorted;
use crate::window::Cell;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OneSide {
    pub worse_is_lower: bool,
    /// Level in the orientation where higher is worse.
    pub level: f64,
    pub side: Side,
    pub units: [Units; 2],
    /// Beyond and all, by arm: the binomial variance the design effect is measured against.
    pub beyond: [(f64, f64); 2],
}

// === impl OneSide ===

impl OneSide {
    /// Values in the orientation where higher is worse; baseline values moved to the boundary.
    pub fn oriented(&self, values: &Sorted, tolerance: Option<&Tolerance>) -> Sorted {
        let lower = self.worse_is_lower;
        let turned = if lower {
            values.negated()
        } else {
            values.clone()
        };
        match tolerance {
            Some(tolerance) => turned.mapped(|y| check::boundary(y, lower, tolerance)),
            None => turned,
        }
    }

    pub fn oriented_cells(&self, cells: &Cells, tolerance: Option<&Tolerance>) -> Cells {
        let lower = self.worse_is_lower;
        let turned = if lower {
            cells.negated()
        } else {
            cells.clone()
        };
        match tolerance {
            Some(tolerance) => turned.mapped(|y| check::boundary(y, lower, tolerance)),
            None => turned,
        }
    }

    pub fn quantile(&self, values: &Sorted, rounding: &Rounding) -> Option<f64> {
        if !uncut(rounding).is_exact() {
            let cells = self.oriented_cells(&Cells::new(values, &uncut(rounding)), None);
            let found = censored::quantile(&[&cells], self.level);
            return found.map(|value| check::sign(self.worse_is_lower) * value);
        }
        if self.worse_is_lower {
            values.negated().quantile(self.level).map(|value| -value)
        } else {
            values.quantile(self.level)
        }
    }

    pub fn close(
        &mut self,
        cells: &[Cell; 2],
        baseline: &Sorted,
        canary: &Sorted,
        tolerance: &Tolerance,
        cut: &Cut,
        clustered: bool,
    ) {
        let arms = [
            self.oriented(baseline, Some(tolerance)),
            self.oriented(canary, None),
        ];
        let counts = [cut.count(&arms[0]), cut.count(&arms[1])];
        let (n, m) = (arms[0].total(), arms[1].total());
        let law = CountLaw::permutation_scores(
            m,
            n,
            counts[0].beyond + counts[1].beyond,
            counts[0].tied + counts[1].tied,
            cut.tied_sixteenths,
        );
        let sixteenths = if counts[0].tied + counts[1].tied > 0 {
            16
        } else {
            1
        };
        let x = counts[1].beyond as i64 * sixteenths
            + if sixteenths == 16 {
                counts[1].tied as i64 * i64::from(cut.tied_sixteenths)
            } else {
                0
            };
        self.side.push_count(x, law);
        for (arm, count) in counts.iter().enumerate() {
            self.beyond[arm].0 += count.score(cut);
            self.beyond[arm].1 += arms[arm].total() as f64;
        }
        if clustered {
            self.add_units(cells, tolerance, cut);
        }
    }

    /// Takes a tick of cells, both in this side's orientation and the baseline's at the boundary.
    pub fn close_cells(&mut self, arms: &[Cells; 2], threshold: f64) {
        let beyond = [0, 1].map(|arm| arms[arm].beyond(threshold));
        let totals = [0, 1].map(|arm| arms[arm].total());
        // In sixteenths: as many whole values beyond as expected, and one that counts by a part.
        let sixteenths = libm::round(16.0 * (beyond[0] + beyond[1])) as u64;
        let whole = (sixteenths / 16).min(totals[0].saturating_add(totals[1]).saturating_sub(1));
        let part = (sixteenths - 16 * whole).min(16) as u8;
        let law = CountLaw::permutation_scores(totals[1], totals[0], whole, 1, part);
        let x = libm::round(16.0 * beyond[1]) as i64;
        self.side.push_count(x, law);
        for arm in 0..2 {
            self.beyond[arm].0 += beyond[arm];
            self.beyond[arm].1 += totals[arm] as f64;
        }
    }

    pub fn add_cell_units(
        &mut self,
        cells: &[Cell; 2],
        pair: &Pair<'_>,
        tolerance: &Tolerance,
        threshold: f64,
    ) {
        let lower = self.worse_is_lower;
        let sign = check::sign(lower);
        for arm in [Arm::Baseline, Arm::Canary] {
            let cell = &cells[arm.index()];
            for (i, (&value, &unit)) in cell.values.iter().zip(&cell.units).enumerate() {
                let weight = cell.weights.get(i).copied().unwrap_or(1) as f64;
                let [mut low, mut high] = pair.interval(arm, value, |end| sign * end);
                if lower {
                    (low, high) = (high, low);
                }
                if arm == Arm::Baseline {
                    [low, high] = [low, high].map(|end| check::boundary(end, lower, tolerance));
                }
                let share = censored::chance_above([low, high], [threshold, threshold]);
                self.units[arm.index()].add(unit, weight, weight * share);
            }
            self.units[arm.index()].close_tick();
        }
    }

    pub fn add_units(&mut self, cells: &[Cell; 2], tolerance: &Tolerance, cut: &Cut) {
        let lower = self.worse_is_lower;
        let sign = check::sign(lower);
        for (arm, cell) in cells.iter().enumerate() {
            for (i, (&value, &unit)) in cell.values.iter().zip(&cell.units).enumerate() {
                let weight = cell.weights.get(i).copied().unwrap_or(1) as f64;
                let mut turned = sign * value;
                if arm == 0 {
                    turned = check::boundary(turned, lower, tolerance);
                }
                self.units[arm].add(unit, weight, weight * cut.score(turned));
            }
            self.units[arm].close_tick();
        }
    }

    pub fn adjust(&self, clustered: bool, required: u32) -> Option<Adjust> {
        if !clustered || self.side.information() <= 0.0 {
            return Some(Adjust::NONE);
        }
        let nulls = self.beyond.map(|(beyond, all)| {
            let share = beyond / all;
            share * (1.0 - share) / all
        });
        units::adjust(
            &[(&self.units[0], nulls[0]), (&self.units[1], nulls[1])],
            required,
        )
    }
}

/// The reference pools ticks, of which only some were cut: it goes by the step alone.
pub(super) fn uncut(rounding: &Rounding) -> Rounding {
    Rounding {
        mantissa_bits: None,
        ..rounding.clone()
    }
}
