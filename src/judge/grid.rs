//! Repeated confidence intervals by inverting the test on a fixed grid of boundaries.
//!
//! Owns the grid and the inversion. At a tick's close a check adds its score against every
//! boundary of the grid; only prefix sums are kept, so a window's interval needs no values. It
//! must not know how scores come about. Next: the check files (`rank`, `tail`, `counts`).
//!
//! An end of the interval is where the interpolated score meets the same bound that decides the
//! verdict, so an interval never contradicts it (Jennison and Turnbull 1989, repeated confidence
//! intervals, carried to sliding windows).

use serde::{Deserialize, Serialize};

use crate::judge::side::{Adjust, Look};
use crate::judge::verdict::Scale;
use crate::plan::Worse;
use crate::stats::multiscale;

/// Ratios at which scores are kept, besides the tolerance: fine near 1, coarse further out.
const RATIO_STEPS: [f64; 16] = [
    0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.45, 0.7, 1.0, 1.75, 3.0, 6.0, 15.0,
];
/// Differences at which scores are kept, in multiples of the tolerance.
const DIFFERENCE_STEPS: [f64; 16] = [
    0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 16.0, 32.0, 64.0, 128.0,
];

/// Ticks that a grid makes room for at once, unless there are fewer. It is what a check remembers
/// most of, so room that doubled would be felt in a fleet.
const ROOM_TICKS: usize = 64;

/// Scores against a ladder of boundaries, tick by tick.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Grid {
    scale: Scale,
    nodes: Vec<f64>,
    /// Prefix sums of the scores: a row a tick, a column a boundary.
    prefix_s: Rows,
    /// Prefix sums of their variances: one column where all boundaries share them.
    prefix_v: Rows,
}

/// Rows of equal length, one after the other; the first is of zeros.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Rows {
    columns: usize,
    /// Rows that room is made for at once.
    step: usize,
    cells: Vec<f64>,
}

/// Which bound stands at which end of the interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orientation {
    /// Higher is worse: the lower end decides a fail, the upper end a pass.
    Higher,
    /// Lower is worse: the upper end decides a fail, the lower end a pass.
    Lower,
}

// === impl Grid ===

impl Grid {
    /// A ladder of ratios around 1 that holds `boundaries` too.
    pub fn of_ratios(boundaries: &[f64]) -> Grid {
        let mut nodes = vec![1.0];
        for step in RATIO_STEPS {
            nodes.push(1.0 + step);
            nodes.push(1.0 / (1.0 + step));
        }
        Grid::with_nodes(Scale::Ratio, nodes, boundaries)
    }

    /// A ladder of differences around 0 in multiples of `unit`, that holds `boundaries` too.
    pub fn of_differences(unit: f64, boundaries: &[f64]) -> Grid {
        let mut nodes = vec![0.0];
        for step in DIFFERENCE_STEPS {
            nodes.push(step * unit);
            nodes.push(-step * unit);
        }
        Grid::with_nodes(Scale::Difference, nodes, boundaries)
    }

    fn with_nodes(scale: Scale, mut nodes: Vec<f64>, boundaries: &[f64]) -> Grid {
        nodes.extend_from_slice(boundaries);
        nodes.sort_by(f64::total_cmp);
        nodes.dedup();
        Grid {
            scale,
            prefix_s: Rows::new(nodes.len(), ROOM_TICKS),
            prefix_v: Rows::new(nodes.len(), ROOM_TICKS),
            nodes,
        }
    }

    /// With no more room at first than this many ticks take.
    pub fn for_ticks(mut self, ticks: usize) -> Grid {
        let step = ticks.clamp(1, ROOM_TICKS);
        self.prefix_s.step = step;
        self.prefix_v.step = step;
        self
    }

    /// For scores whose variance is the same at every boundary, which is then kept once: to be
    /// filled by [`Grid::push_alike`].
    pub fn of_one_variance(mut self) -> Grid {
        self.prefix_v = Rows::new(1, self.prefix_s.step);
        self
    }

    /// Scale of the boundaries.
    pub fn scale(&self) -> Scale {
        self.scale
    }

    /// The boundaries, ascending.
    pub fn nodes(&self) -> &[f64] {
        &self.nodes
    }

    /// Adds a tick: `score(boundary)` gives the score of "the canary is above this boundary" and
    /// its variance.
    pub fn push(&mut self, mut score: impl FnMut(f64) -> (f64, f64)) {
        assert_eq!(self.prefix_v.columns, self.nodes.len(), "a variance each");
        self.prefix_s.make_room();
        self.prefix_v.make_room();
        for &node in &self.nodes {
            let (s, v) = score(node);
            self.prefix_s.add(s);
            self.prefix_v.add(v);
        }
    }

    /// As [`Grid::push`], where the variance is the same at every boundary.
    pub fn push_alike(&mut self, variance: f64, mut score: impl FnMut(f64) -> f64) {
        assert_eq!(self.prefix_v.columns, 1, "one variance for all");
        self.prefix_s.make_room();
        self.prefix_v.make_room();
        for &node in &self.nodes {
            self.prefix_s.add(score(node));
        }
        self.prefix_v.add(variance);
    }

    /// Adds a tick without information.
    pub fn push_empty(&mut self) {
        self.prefix_s.repeat_last();
        self.prefix_v.repeat_last();
    }

    /// Ticks pushed so far.
    pub fn ticks(&self) -> usize {
        self.prefix_s.count() - 1
    }

    /// Boundary at which the score of the last `window` ticks is zero: the point estimate.
    pub fn estimate(&self, window: usize) -> Option<f64> {
        // Few or rounded values leave a flat stretch at zero; its middle is the estimate, as with
        // an even number of differences, so that swapping the direction mirrors it.
        let last = self.crossing(|i| self.z(i, window, Adjust::NONE), 0.0)?;
        let first = self.first_crossing(|i| self.z(i, window, Adjust::NONE), 0.0)?;
        Some(0.5 * (first + last))
    }

    /// The interval: the end that decides a fail is the tightest over all windows against
    /// `fail_bound` (a bound on the penalised statistic), the other is that of the last `window`
    /// ticks (the whole run, unless a shorter window speaks) against `pass_bound` (standard
    /// deviations). An open end is `None`.
    pub fn interval(
        &self,
        orientation: Orientation,
        looks_planned: usize,
        adjust: Adjust,
        fail_bound: f64,
        pass_bound: f64,
        window: usize,
    ) -> [Option<f64>; 2] {
        let by_windows = |sign: f64| -> Option<f64> {
            if !fail_bound.is_finite() {
                return None;
            }
            self.windows(looks_planned)
                .filter_map(|(window, penalty)| {
                    self.crossing(|i| self.z(i, window, adjust), sign * (fail_bound + penalty))
                })
                .reduce(if sign > 0.0 { f64::max } else { f64::min })
        };
        let by_whole = |sign: f64| -> Option<f64> {
            pass_bound
                .is_finite()
                .then(|| self.crossing(|i| self.z(i, window, adjust), sign * pass_bound))?
        };
        match orientation {
            Orientation::Higher => [by_windows(1.0), by_whole(-1.0)],
            Orientation::Lower => [by_whole(1.0), by_windows(-1.0)],
        }
    }

    /// As [`Grid::interval`], for the looks of a check's directions (see
    /// [`directions`](crate::judge::check::directions)). Where both are worse, each end is that of
    /// its own direction: the fail's ends, or once both directions pass, the pass's.
    pub fn interval_of(
        &self,
        worse: Worse,
        looks: &[Look],
        looks_planned: usize,
        adjust: Adjust,
        window: usize,
    ) -> [Option<f64>; 2] {
        let of = |orientation: Orientation, look: &Look| {
            let (fail, pass) = (look.fail_bound, look.pass_bound);
            self.interval(orientation, looks_planned, adjust, fail, pass, window)
        };
        match (worse, looks) {
            (Worse::Higher, [look, ..]) => of(Orientation::Higher, look),
            (Worse::Lower, [look, ..]) => of(Orientation::Lower, look),
            (Worse::Either, [higher, lower, ..]) => {
                let from_higher = of(Orientation::Higher, higher);
                let from_lower = of(Orientation::Lower, lower);
                if higher.pass && lower.pass {
                    [from_lower[0], from_higher[1]]
                } else {
                    [from_higher[0], from_lower[1]]
                }
            }
            _ => [None, None],
        }
    }

    fn windows(&self, looks_planned: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let ticks = self.ticks();
        std::iter::successors(Some(1_usize), |window| Some(window * 2))
            // Past the horizon only the whole run speaks.
            .take_while(move |&window| window <= ticks && ticks <= looks_planned)
            .map(move |window| (window, multiscale::penalty(looks_planned, window)))
            .chain(std::iter::once((ticks, multiscale::WHOLE_RUN_PENALTY)))
    }

    fn z(&self, node: usize, window: usize, adjust: Adjust) -> Option<f64> {
        let end = self.ticks();
        let start = end - window.min(end);
        let variance = self.prefix_v.since(start, end, node);
        let score = || self.prefix_s.since(start, end, node) / variance.sqrt();
        (variance > 0.0).then(|| adjust.apply(score()))
    }

    /// Boundary at which `z`, which falls along the ladder, meets `level`; interpolated between
    /// nodes. `None` when the ladder does not bracket it.
    fn crossing(&self, z: impl Fn(usize) -> Option<f64>, level: f64) -> Option<f64> {
        let mut above: Option<(f64, f64)> = None;
        for (i, &node) in self.nodes.iter().enumerate() {
            let Some(value) = z(i) else { continue };
            if value >= level {
                above = Some((node, value));
            } else if let Some((left, left_value)) = above {
                let share = (left_value - level) / (left_value - value);
                return Some(left + share * (node - left));
            } else {
                return None;
            }
        }
        None
    }

    /// As [`Grid::crossing`], but where `z` stays at `level` for a stretch, its beginning.
    fn first_crossing(&self, z: impl Fn(usize) -> Option<f64>, level: f64) -> Option<f64> {
        let mut above: Option<(f64, f64)> = None;
        for (i, &node) in self.nodes.iter().enumerate() {
            let Some(value) = z(i) else { continue };
            if value > level {
                above = Some((node, value));
                continue;
            }
            let (left, left_value) = above?;
            let share = (left_value - level) / (left_value - value);
            return Some(left + share * (node - left));
        }
        None
    }
}

// === impl Rows ===

impl Rows {
    fn new(columns: usize, step: usize) -> Rows {
        Rows {
            columns,
            step,
            cells: vec![0.0; columns],
        }
    }

    fn count(&self) -> usize {
        self.cells.len() / self.columns
    }

    fn make_room(&mut self) {
        if self.cells.capacity() - self.cells.len() < self.columns {
            self.cells.reserve_exact(self.step * self.columns);
        }
    }

    /// Appends the sum of `value` and of what stands above the next cell.
    fn add(&mut self, value: f64) {
        let above = self.cells[self.cells.len() - self.columns];
        self.cells.push(above + value);
    }

    fn repeat_last(&mut self) {
        self.make_room();
        let last = self.cells.len() - self.columns;
        self.cells.extend_from_within(last..);
    }

    /// What was added after row `start` up to row `end`; the only column stands for all.
    fn since(&self, start: usize, end: usize, column: usize) -> f64 {
        let column = column.min(self.columns - 1);
        self.cells[end * self.columns + column] - self.cells[start * self.columns + column]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_variance_for_all_boundaries_is_kept_once_and_says_the_same() {
        let mut each = Grid::of_ratios(&[1.1]);
        let mut alike = Grid::of_ratios(&[1.1]).of_one_variance().for_ticks(3);
        for tick in 0..200 {
            let score = |node: f64| f64::from(tick % 7) + 10.0 - 9.0 * node;
            let variance = 1.0 + f64::from(tick % 5);
            if tick % 11 == 10 {
                each.push_empty();
                alike.push_empty();
            } else {
                each.push(|node| (score(node), variance));
                alike.push_alike(variance, score);
            }
        }
        assert_eq!((each.ticks(), alike.ticks()), (200, 200));
        for window in [1, 8, 64, 200] {
            let interval = |grid: &Grid| {
                grid.interval(Orientation::Higher, 200, Adjust::NONE, 2.0, 2.0, window)
            };
            assert_eq!(each.estimate(window), alike.estimate(window));
            assert_eq!(interval(&each), interval(&alike));
            assert!(interval(&each).iter().all(Option::is_some));
        }
        assert!(alike.prefix_v.cells.len() * 30 < each.prefix_v.cells.len());
    }
}
