//! Values as they were recorded: exact, or each one a cell.
//!
//! Owns the resolution of a check's metric while the run goes on ([`Recorded`]) and a tick's two
//! arms at that resolution ([`Pair`]). It must not know what is made of them. Next: `rank`, `tail`.
//!
//! A resolution that the plan does not declare is found from the values of closed ticks, the one
//! just closed included: it is known before the tick is scored and depends on no order within it.
//! Each arm goes by its own values once there are enough, so a canary with a finer timer does not
//! hide that its baseline is rounded; until then both arms together tell. What closed with an
//! earlier resolution stays as it was judged.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::Arm;
use crate::plan::{Metric, Resolution};
use crate::stats::buckets::{self, Layout, WIDE_SHARE_MAX};
use crate::stats::censored::{self, Cells, Rounding};
use crate::stats::mann_whitney::{self, Choice};
use crate::stats::rank::{self, Sorted};
use crate::stats::resolution::Seen;
use crate::window::Cell;

/// Steps below this share of the median are too fine to move a verdict: values count as exact.
const RELATIVE_STEP_MIN: f64 = 1e-4;

/// The resolution of one metric's values, tick by tick.
#[derive(Debug, Serialize, Deserialize)]
pub struct Recorded {
    resolution: Resolution,
    negative: bool,
    seen: [Seen; 2],
    steps: [f64; 2],
    /// Buckets of both arms in all ticks so far, for what is kept of past ones.
    layout: Option<Arc<Layout>>,
    /// Values in buckets too wide to be moved, of all, by arm.
    wide: [(u64, u64); 2],
    /// Of those buckets the one that held the most values of an arm in a tick, and how many.
    widest: Option<([f64; 2], u64)>,
}

/// One tick's two arms at their resolution; `[baseline, canary]` throughout.
#[derive(Debug)]
pub struct Pair<'s> {
    sorted: [&'s Sorted; 2],
    rounding: [Rounding; 2],
    cells: Option<[Cells; 2]>,
}

/// One arm's values and the share of the other arm below each.
#[derive(Debug)]
pub struct Placed {
    keys: Vec<f64>,
    /// Share of the other arm below, half of what ties.
    pub shares: Vec<f64>,
    /// Weight of each value.
    pub weights: Vec<u64>,
}

// === impl Recorded ===

impl Recorded {
    /// Nothing seen yet of this metric.
    pub fn new(metric: &Metric) -> Recorded {
        Recorded {
            resolution: metric.resolution,
            negative: metric.negative,
            seen: Default::default(),
            steps: [0.0; 2],
            layout: None,
            wide: [(0, 0); 2],
            widest: None,
        }
    }

    /// Takes a closed tick; how its values were recorded, by arm.
    pub fn close(&mut self, cells: &[Cell; 2], sorted: [&Sorted; 2]) -> [Rounding; 2] {
        self.negative |= sorted
            .iter()
            .any(|arm| arm.values().first().is_some_and(|&value| value < 0.0));
        let mut tick = Layout::default();
        for &[low, high] in cells.iter().flat_map(|cell| &cell.layout) {
            tick.add(low, high);
            Arc::make_mut(self.layout.get_or_insert_default()).add(low, high);
        }
        self.note_wide(&tick, sorted);
        // Values cut to fit the tick's bounds lie on a grid that is the cut's, not the sender's.
        let is_cut = cells.iter().any(|cell| cell.coarse_bits.is_some());
        let is_whole = !is_cut && self.layout.is_none();
        if self.resolution == Resolution::Detected && is_whole {
            for (seen, arm) in self.seen.iter_mut().zip(sorted) {
                seen.add(arm);
            }
            self.steps = self.found(sorted);
        }
        if let Resolution::Step(step) = self.resolution {
            self.steps = [step; 2];
        }
        // A tick goes by its own buckets: one odd tick must not coarsen all that follow.
        let tick = (!tick.is_empty()).then(|| Arc::new(tick));
        [0, 1].map(|arm| Rounding {
            step: self.steps[arm],
            mantissa_bits: cells[arm].coarse_bits,
            negative: self.negative,
            layout: tick.clone(),
        })
    }

    fn note_wide(&mut self, layout: &Layout, sorted: [&Sorted; 2]) {
        if layout.is_empty() {
            return;
        }
        for ((wide, all), arm) in self.wide.iter_mut().zip(sorted) {
            let typical = arm.quantile(0.5).unwrap_or(0.0);
            for (value, weight) in arm.pairs() {
                let bucket = layout.bucket(value);
                let Some(bucket) = bucket.filter(|bucket| buckets::is_wide(*bucket, typical))
                else {
                    continue;
                };
                *wide = u64::saturating_add(*wide, weight);
                if self.widest.is_none_or(|(_, most)| weight > most) {
                    self.widest = Some((bucket, weight));
                }
            }
            *all = u64::saturating_add(*all, arm.total());
        }
    }

    /// A bucket too wide to be moved, where more values of an arm than is sound lie in such: the
    /// one that matters most.
    pub fn coarse(&self) -> Option<[f64; 2]> {
        let is_coarse = |&(wide, all): &(u64, u64)| wide as f64 > WIDE_SHARE_MAX * all as f64;
        let (bucket, _) = self.widest?;
        self.wide.iter().any(is_coarse).then_some(bucket)
    }

    /// The bucket of a value, where it is too wide to tell on which side of it others are.
    pub fn coarse_at(&self, value: f64) -> Option<[f64; 2]> {
        let bucket = self.layout.as_ref()?.bucket(value)?;
        buckets::is_wide(bucket, value).then_some(bucket)
    }

    /// Whether values are known by their buckets.
    pub fn has_buckets(&self) -> bool {
        self.layout.is_some()
    }

    fn found(&self, sorted: [&Sorted; 2]) -> [f64; 2] {
        let [baseline, canary] = &self.seen;
        let steps = if baseline.is_enough() && canary.is_enough() {
            [baseline.step(), canary.step()]
        } else {
            [baseline.with(canary).step(); 2]
        };
        let median = sorted
            .iter()
            .filter_map(|arm| arm.quantile(0.5))
            .fold(0.0_f64, |most, median| most.max(median.abs()));
        steps.map(|step| {
            step.filter(|step| *step >= RELATIVE_STEP_MIN * median)
                .unwrap_or(0.0)
        })
    }

    /// How an arm's values (by index) are recorded, as far as known.
    pub fn rounding(&self, arm: usize) -> Rounding {
        Rounding {
            step: self.steps[arm],
            mantissa_bits: None,
            negative: self.negative,
            layout: self.layout.clone(),
        }
    }

    /// Step of the coarser arm, in the metric's unit; `None` while values are taken as exact.
    pub fn step(&self) -> Option<f64> {
        let coarser = self.steps[0].max(self.steps[1]);
        (coarser > 0.0).then_some(coarser)
    }
}

// === impl Pair ===

impl<'s> Pair<'s> {
    /// Both arms of a tick.
    pub fn new(baseline: &'s Sorted, canary: &'s Sorted, rounding: [Rounding; 2]) -> Pair<'s> {
        let exact = rounding.iter().all(Rounding::is_exact);
        let cells = (!exact).then(|| {
            [
                Cells::new(baseline, &rounding[0]),
                Cells::new(canary, &rounding[1]),
            ]
        });
        Pair {
            sorted: [baseline, canary],
            rounding,
            cells,
        }
    }

    /// The cells of both arms, unless all values are exact.
    pub fn cells(&self) -> Option<&[Cells; 2]> {
        self.cells.as_ref()
    }

    /// Mann-Whitney U of the canary over `g(baseline)`.
    pub fn u(&self, g: impl Fn(f64) -> f64) -> f64 {
        let [baseline, canary] = self.sorted;
        match &self.cells {
            None => rank::two_u(canary, baseline, g) as f64 / 2.0,
            Some([baseline, canary]) => censored::u(canary, baseline, g),
        }
    }

    /// Placements of `[g(baseline), canary]`.
    pub fn placed(&self, g: impl Fn(f64) -> f64 + Copy) -> [Placed; 2] {
        let [baseline, canary] = self.sorted;
        match &self.cells {
            None => {
                let moved = baseline.mapped(g);
                let of = |arm: &Sorted, shares| Placed {
                    keys: arm.values().to_vec(),
                    shares,
                    weights: arm.pairs().map(|(_, weight)| weight).collect(),
                };
                [
                    of(&moved, rank::placements(&moved, canary, |x| x)),
                    of(canary, rank::placements(canary, baseline, g)),
                ]
            }
            Some([baseline, canary]) => {
                let moved = baseline.mapped(g);
                let of = |arm: &Cells, shares| Placed {
                    keys: arm.lows().to_vec(),
                    shares,
                    weights: arm.weights().to_vec(),
                };
                [
                    of(&moved, censored::placements(&moved, canary)),
                    of(canary, censored::placements(canary, &moved)),
                ]
            }
        }
    }

    /// Where a recorded value of an arm lies: itself or its cell, moved by `g`.
    pub fn interval(&self, arm: Arm, value: f64, g: impl Fn(f64) -> f64) -> [f64; 2] {
        self.rounding[arm.index()].cell(value).map(g)
    }

    fn has_buckets(&self) -> bool {
        self.rounding
            .iter()
            .any(|rounding| rounding.layout.is_some())
    }

    /// One-sided p-values, `[greater, less]`, of this one comparison.
    pub fn p_values(&self, g: impl Fn(f64) -> f64 + Copy) -> [f64; 2] {
        let [baseline, canary] = self.sorted;
        // Cells that nothing moved tie or do not, and ties have an exact law.
        let unmoved = self.rounding[0] == self.rounding[1]
            && baseline.values().iter().all(|&value| g(value) == value);
        if self.cells.is_some() && !unmoved {
            return censored::p_values(self.u(g), canary.total(), baseline.total());
        }
        if let Some([of_baseline, of_canary]) = self.cells.as_ref().filter(|_| self.has_buckets()) {
            // Buckets that became one tie, whatever the middle of each was.
            let [baseline, canary] = [of_baseline, of_canary].map(Cells::at_lows);
            let test = mann_whitney::mann_whitney(&canary, &baseline, |y| y, Choice::Auto);
            return test.map_or([1.0, 1.0], |test| [test.p_greater, test.p_less]);
        }
        let moved = baseline.mapped(g);
        let test = mann_whitney::mann_whitney(canary, &moved, |y| y, Choice::Auto);
        test.map_or([1.0, 1.0], |test| [test.p_greater, test.p_less])
    }
}

// === impl Placed ===

impl Placed {
    /// Share of the value or cell that begins at `key`.
    pub fn share_of(&self, key: f64) -> Option<f64> {
        let at = self.keys.partition_point(|&other| other < key);
        self.shares.get(at).copied()
    }
}

/// How the values of a tick that came in buckets were recorded; `None` without any.
pub(super) fn buckets_of(cell: &Cell) -> Option<Rounding> {
    let mut layout = Layout::default();
    for &[low, high] in &cell.layout {
        layout.add(low, high);
    }
    (!layout.is_empty()).then(|| Rounding {
        layout: Some(Arc::new(layout)),
        ..Rounding::EXACT
    })
}
