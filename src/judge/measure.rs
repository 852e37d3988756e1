//! The canary's own measure over any window: what a threshold check shows beside its verdict.
//!
//! Owns the estimate of a quantile, share or rate over the last ticks, and its interval. While
//! nothing speaks, the interval is the whole run's confidence sequence; when a window speaks, it
//! is that window's, by inverting the very test that spoke, so that the two cannot contradict each
//! other. It decides nothing. Next: `threshold`, whose evidence it is.

use serde::{Deserialize, Serialize};

use crate::judge::rank;
use crate::judge::side::Adjust;
use crate::plan::{LimitSide, MetricKind, Quantile};
use crate::stats::mixture;
use crate::stats::rank::Sorted;
use crate::window::{Cell, coarse, truncated};

/// Distinct values kept of the whole run.
const RUN_DISTINCT_MAX: usize = 16_384;
/// Distinct values kept of all ticks apart: a megabyte with their weights.
const TICKS_DISTINCT_MAX: usize = 65_536;
/// Distinct values a tick keeps at the least, however many ticks there are.
const TICK_DISTINCT_MIN: usize = 64;
/// Mantissa bits a tick's values are first cut to when there are too many.
const TICK_BITS: u32 = 10;
/// Bisection steps of an end of an interval.
const BISECTIONS: u32 = 60;

/// What the canary itself did, tick by tick.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Measure {
    kind: Measured,
    side: LimitSide,
    ticks: Vec<Seen>,
    run: Seen,
    first_exposure: f64,
    values: Sorted,
    tick_values: Vec<Sorted>,
    tick_distinct_max: usize,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) enum Measured {
    /// A quantile of values, at this level.
    Quantile(f64),
    /// A share of all observations.
    Share,
    /// Events per exposure.
    Rate,
}

/// Breaching observations of all observations, and the exposure of a rate.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Seen {
    pub breaching: u64,
    pub all: u64,
    pub exposure: f64,
}

// === impl Measure ===

impl Measure {
    /// Nothing seen yet of a metric with this limit, over `looks_planned` ticks.
    pub fn new(
        kind: MetricKind,
        at: Option<Quantile>,
        side: LimitSide,
        looks_planned: usize,
    ) -> Measure {
        let kind = match (kind, at) {
            (MetricKind::Rate, _) => Measured::Rate,
            (MetricKind::Ratio, _) => Measured::Share,
            (_, Some(at)) => Measured::Quantile(at.level()),
            // The middle of a gauge's ticks.
            (_, None) => Measured::Quantile(0.5),
        };
        Measure {
            kind,
            side,
            ticks: Vec::new(),
            run: Seen::default(),
            first_exposure: 0.0,
            values: Sorted::default(),
            tick_values: Vec::new(),
            tick_distinct_max: (TICKS_DISTINCT_MAX / looks_planned.max(1)).max(TICK_DISTINCT_MIN),
        }
    }

    /// Adds a tick's counts, and the values behind a quantile.
    pub fn push(&mut self, seen: Seen, values: Option<Sorted>) {
        if self.first_exposure == 0.0 {
            self.first_exposure = seen.exposure;
        }
        self.ticks.push(seen);
        self.run.add(&seen);
        let Some(values) = values else { return };
        let mut run = self.values.merge(&values);
        if run.values().len() > RUN_DISTINCT_MAX {
            run = run.mapped(coarse);
        }
        self.values = run.shrunk();
        self.tick_values
            .push(thinned(values, self.tick_distinct_max).shrunk());
    }

    /// The run so far.
    pub fn run(&self) -> Seen {
        self.run
    }

    /// Ticks so far.
    pub fn ticks(&self) -> usize {
        self.ticks.len()
    }

    /// The measure over the last `window` ticks.
    pub fn estimate(&self, window: usize) -> Option<f64> {
        let seen = self.seen(window);
        match self.kind {
            Measured::Quantile(level) => {
                let values = self.values_of(window);
                values.quantile(level).filter(|value| value.is_finite())
            }
            Measured::Share if seen.all > 0 => {
                Some(self.turned(seen.breaching as f64 / seen.all as f64))
            }
            Measured::Rate if seen.exposure > 0.0 => Some(seen.breaching as f64 / seen.exposure),
            _ => None,
        }
    }

    /// Confidence sequence of the whole run at level 1 - `delta`, valid at every look.
    pub fn interval_of_run(&self, delta: f64) -> [Option<f64>; 2] {
        let finite = |end: f64| Some(end).filter(|end| end.is_finite());
        match self.kind {
            Measured::Quantile(level) => {
                let values = &self.values;
                let all = values.total();
                let limit = -libm::log(delta);
                let is_out = |below: u64| {
                    mixture::beta_binomial_log_e(below as f64, all as f64, level) >= limit
                };
                let centre = level * all as f64;
                quantile_ends(
                    values,
                    |below| below as f64 <= centre && is_out(below),
                    |upto| upto as f64 >= centre && is_out(upto),
                )
            }
            Measured::Share if self.run.all > 0 => {
                let ends = mixture::proportion_bounds(self.run.breaching, self.run.all, delta);
                self.turned_ends(ends.map(Some))
            }
            Measured::Rate if self.run.exposure > 0.0 => {
                let prior = self.first_exposure.max(f64::MIN_POSITIVE);
                mixture::rate_bounds(self.run.breaching, self.run.exposure, delta, prior)
                    .map(finite)
            }
            _ => [None, None],
        }
    }

    /// The measures of the last `window` ticks from which their score is less than `bound`
    /// standard deviations away: the test of the limit, inverted.
    pub fn interval_of_window(
        &self,
        window: usize,
        adjust: Adjust,
        bound: f64,
    ) -> [Option<f64>; 2] {
        if !bound.is_finite() {
            return [None, None];
        }
        let seen = self.seen(window);
        let (events, all) = (seen.breaching as f64, seen.all as f64);
        match self.kind {
            Measured::Quantile(level) => {
                let values = self.values_of(window);
                let all = values.total() as f64;
                let deviation = (all * level * (1.0 - level)).sqrt();
                let z = |below: u64| adjust.apply((below as f64 - all * level) / deviation);
                quantile_ends(&values, |below| z(below) <= -bound, |upto| z(upto) >= bound)
            }
            Measured::Share if seen.all > 0 => {
                let z = |p: f64| (events - all * p) / (all * p * (1.0 - p)).sqrt();
                let centre = events / all;
                let ends = [
                    (centre > 0.0).then(|| last_inside(centre, 0.0, |p| adjust.apply(z(p)), bound)),
                    (centre < 1.0).then(|| last_inside(centre, 1.0, |p| adjust.apply(z(p)), bound)),
                ];
                self.turned_ends([ends[0].or(Some(0.0)), ends[1].or(Some(1.0))])
            }
            Measured::Rate if seen.exposure > 0.0 => {
                let z = |rate: f64| {
                    let mean = rate * seen.exposure;
                    adjust.apply((events - mean) / mean.sqrt())
                };
                let centre = events / seen.exposure;
                let mut far = (events + 10.0) / seen.exposure;
                while z(far) > -bound {
                    far *= 2.0;
                }
                let low = if centre > 0.0 {
                    last_inside(centre, 0.0, z, bound)
                } else {
                    0.0
                };
                let inner = centre.max(f64::MIN_POSITIVE);
                [Some(low), Some(last_inside(inner, far, z, bound))]
            }
            _ => [None, None],
        }
    }

    fn seen(&self, window: usize) -> Seen {
        if window >= self.ticks.len() {
            return self.run;
        }
        let mut sum = Seen::default();
        for tick in &self.ticks[self.ticks.len() - window..] {
            sum.add(tick);
        }
        sum
    }

    fn values_of(&self, window: usize) -> Sorted {
        if window >= self.tick_values.len() {
            return self.values.clone();
        }
        let recent = &self.tick_values[self.tick_values.len() - window..];
        recent
            .iter()
            .fold(Sorted::default(), |sum, tick| sum.merge(tick))
    }

    /// A share of breaching observations as the share the plan names: of a ratio with a lower
    /// limit the good ones are counted.
    fn turned(&self, share: f64) -> f64 {
        match self.side {
            LimitSide::Below => share,
            LimitSide::Above => 1.0 - share,
        }
    }

    fn turned_ends(&self, [low, high]: [Option<f64>; 2]) -> [Option<f64>; 2] {
        match self.side {
            LimitSide::Below => [low, high],
            LimitSide::Above => [high, low].map(|end| end.map(|end| 1.0 - end)),
        }
    }
}

// === impl Seen ===

impl Seen {
    fn add(&mut self, other: &Seen) {
        self.breaching = self.breaching.saturating_add(other.breaching);
        self.all = self.all.saturating_add(other.all);
        self.exposure += other.exposure;
    }
}

// === functions ===

/// The values of a cell of kind latency, or the mean of a gauge's points as the tick's one value.
pub(super) fn values_of_cell(kind: MetricKind, cell: &Cell) -> Option<Sorted> {
    match kind {
        MetricKind::Latency => Some(rank::sorted(cell)),
        MetricKind::Gauge => {
            let mean = mean_point(cell);
            Some(Sorted::new(mean.into_iter().collect(), None).unwrap_or_default())
        }
        _ => None,
    }
}

/// Mean of the points of a gauge's cell.
pub(super) fn mean_point(cell: &Cell) -> Option<f64> {
    let count = cell.points.len() as f64;
    (count > 0.0).then(|| cell.points.iter().map(|&(_, value)| value).sum::<f64>() / count)
}

/// The largest value that `below` (given what lies strictly below it) shows not to be above the
/// quantile, and the smallest that `upto` (given what does not exceed it) shows not to be below.
/// Along the values `below` holds up to a place and `upto` from a place on, so both are searched for
/// by halving: a run has thousands of values and each question takes a few logarithms.
fn quantile_ends(
    values: &Sorted,
    below: impl Fn(u64) -> bool,
    upto: impl Fn(u64) -> bool,
) -> [Option<f64>; 2] {
    let sums = values.pairs().scan(0_u64, |sum, (_, weight)| {
        let before = *sum;
        *sum = sum.saturating_add(weight);
        Some((before, *sum))
    });
    let sums: Vec<(u64, u64)> = sums.collect();
    let low = sums.partition_point(|&(before, _)| below(before));
    let high = sums.partition_point(|&(_, sum)| !upto(sum));
    let low = low.checked_sub(1).map(|last| values.values()[last]);
    let ends = [low, values.values().get(high).copied()];
    ends.map(|end| end.filter(|value| value.is_finite()))
}

/// On the way from `inner` to `outer`, where the score first is `bound` deviations away.
pub(super) fn last_inside(inner: f64, outer: f64, z: impl Fn(f64) -> f64, bound: f64) -> f64 {
    let (mut inner, mut outer) = (inner, outer);
    for _ in 0..BISECTIONS {
        let middle = 0.5 * (inner + outer);
        if z(middle).abs() < bound {
            inner = middle;
        } else {
            outer = middle;
        }
    }
    outer
}

fn thinned(values: Sorted, distinct_max: usize) -> Sorted {
    let mut thin = values;
    for bits in (0..=TICK_BITS).rev() {
        if thin.values().len() <= distinct_max {
            break;
        }
        thin = thin.mapped(|value| truncated(value, bits));
    }
    thin
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::sampler::{Stream, seed_from};

    #[test]
    fn ends_found_by_halving_are_those_of_a_walk_over_all_values() {
        let mut stream = Stream::new(&seed_from("measure", "ends"), 0);
        for size in [1_usize, 2, 3, 20, 400] {
            let values = (0..size).map(|_| libm::round(20.0 * stream.normal()));
            let values = Sorted::new(values.collect(), None).expect("numbers");
            let (all, level, limit) = (values.total() as f64, 0.8, 3.0);
            let is_out =
                |below: u64| mixture::beta_binomial_log_e(below as f64, all, level) >= limit;
            let below = |count: u64| count as f64 <= level * all && is_out(count);
            let upto = |count: u64| count as f64 >= level * all && is_out(count);
            let (mut before, mut walked) = (0, [None, None]);
            for (value, weight) in values.pairs() {
                if below(before) {
                    walked[0] = Some(value);
                }
                before += weight;
                if walked[1].is_none() && upto(before) {
                    walked[1] = Some(value);
                }
            }
            assert_eq!(quantile_ends(&values, below, upto), walked, "{size}");
            assert!(size < 400 || walked.iter().all(Option::is_some), "{size}");
        }
    }
}
