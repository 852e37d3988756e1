//! Event-time ticks: samples in, closed ticks out.
//!
//! Owns which tick a sample belongs to, when a tick closes, and the bounds on what an open tick
//! may hold. It must not know what the samples are compared for. Next: `judge`, which reads
//! closed ticks.
//!
//! A tick closes when the event-time watermark passes its end plus the lateness, or when the
//! clock passes that by a further [`Window::idle_after`] without the watermark getting there.
//! The watermark is the newest event time seen, but never later than the clock: a sender whose
//! clock runs ahead cannot close a tick for the others.

mod open;
mod sampling;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Arm, Millis, Reading, Timestamp};
use crate::plan::{Cluster, Lifetime, MetricKind, Plan, Source};
pub use open::{OPEN_TICKS_MAX, lateness_max, open_ticks};

/// Samples or events in one cell: sixteen times as many, over all looks, still fit an i64.
pub const CELL_COUNT_MAX: u64 = 1 << 46;
/// Mantissa bits that survive when an overfull tick is coarsened: a relative step of 2^-11.
const COARSE_MANTISSA_BITS: u32 = 11;

/// What one arm of one metric received within one tick.
#[derive(Debug, Clone, Default)]
pub struct Cell {
    /// Values of a distribution (kind latency), in order of arrival.
    pub values: Vec<f64>,
    /// Weight of each value; empty while all are 1.
    pub weights: Vec<u64>,
    /// Unit of each value; empty for metrics without a cluster.
    pub units: Vec<u64>,
    /// Points of a time series (kind gauge) with their event times in milliseconds.
    pub points: Vec<(i64, f64)>,
    /// Bad events of total events (kind ratio), or events (kind rate, in `bad`).
    pub bad: u64,
    /// Total events (kind ratio).
    pub total: u64,
    /// Exposure (kind rate).
    pub exposure: f64,
    /// Bad and total events by unit, for clustered ratios.
    pub by_unit: BTreeMap<u64, (u64, u64)>,
    /// Samples: weights of values, totals of ratios, readings of rates, points of gauges.
    pub samples: u64,
    /// Values the sender could not measure.
    pub missing: u64,
    /// Mantissa bits left of each value, once values were coarsened to keep the cell in bounds.
    pub coarse_bits: Option<u32>,
    /// Samples of units that were not kept, because the tick has more units than its plan keeps.
    pub sampled_out: u64,
    /// Leading bits of a unit's number that must be zero for it to be kept; the same in both arms.
    pub kept_bits: u32,
    /// Units of the values, where their number is limited.
    pub seen: BTreeSet<u64>,
}

/// A closed tick: one pair of cells (baseline, canary) a metric.
#[derive(Debug)]
pub struct ClosedTick {
    /// Number of the tick, from 0.
    pub index: usize,
    /// By metric, then by arm.
    pub cells: Vec<[Cell; 2]>,
}

/// Why a sample has no place in the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlace {
    /// Its tick is closed.
    Late,
    /// It is older than the analysis.
    BeforeStart,
    /// It is past the horizon, and its extension.
    AfterHorizon,
    /// So many ticks lie between it and the oldest open one that it would hold too many open.
    TooFarAhead,
    /// Its tick holds as many clustered values as allowed.
    TickFull,
    /// The reading's form does not fit the metric's kind.
    WrongForm,
}

/// The ticks of one analysis.
#[derive(Debug, Clone)]
pub struct Window {
    origin: Timestamp,
    tick: Millis,
    lateness: Millis,
    looks: usize,
    next: usize,
    newest: Option<Timestamp>,
    kinds: Vec<(MetricKind, bool)>,
    /// Units of one arm that a tick keeps, by metric, where they live for a tick.
    units_max: Vec<Option<usize>>,
    /// Metrics whose exposure is time: a rate without an exposure counter.
    timed: Vec<bool>,
    open: BTreeMap<usize, Vec<[Cell; 2]>>,
    tick_values_max: usize,
}

// === impl Window ===

impl Window {
    /// A window over a plan's ticks, the first of which begins at `origin`.
    pub fn new(plan: &Plan, origin: Timestamp, tick_values_max: usize) -> Window {
        Window {
            origin,
            tick: plan.tick,
            lateness: plan.lateness,
            looks: plan.looks_with_extension(),
            next: 0,
            newest: None,
            kinds: plan
                .metrics
                .iter()
                .map(|m| (m.kind, m.cluster.is_some()))
                .collect(),
            units_max: plan
                .metrics
                .iter()
                .map(|metric| {
                    let short_lived = |cluster: &&Cluster| cluster.lifetime == Lifetime::Tick;
                    let cluster = metric.cluster.as_ref().filter(short_lived)?;
                    Some(cluster.units_per_tick_max as usize)
                })
                .collect(),
            timed: plan
                .metrics
                .iter()
                .map(|m| matches!(m.source, Source::RateIncrements { exposure: None, .. }))
                .collect(),
            open: BTreeMap::new(),
            tick_values_max,
        }
    }

    /// Clock time past the lateness after which a tick closes without its watermark.
    pub fn idle_after(&self) -> Millis {
        open::idle_after(self.tick)
    }

    /// Newest event time seen.
    pub fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    /// Values that one arm of one metric may hold in an open tick.
    pub fn tick_values_max(&self) -> usize {
        self.tick_values_max
    }

    /// Gives back what open ticks hold: nobody will close them.
    pub fn forget_open(&mut self) {
        self.open = BTreeMap::new();
    }

    /// Goes on for so many ticks after those closed so far.
    pub fn go_on_for(&mut self, ticks: usize) {
        self.looks = self.next + ticks;
    }

    /// Whether every tick is closed.
    pub fn is_over(&self) -> bool {
        self.next >= self.looks
    }

    /// Number of ticks closed so far.
    pub fn closed(&self) -> usize {
        self.next
    }

    /// End of the tick with this number.
    pub fn end_of(&self, index: usize) -> Timestamp {
        self.origin.plus(self.tick * (index as i64 + 1))
    }

    /// Whether a sample of this time has a place now.
    pub fn place(&self, ts: Timestamp) -> Result<usize, NoPlace> {
        let offset = ts.since(self.origin);
        if offset < 0 {
            return Err(NoPlace::BeforeStart);
        }
        let index = (offset / self.tick) as usize;
        if index >= self.looks {
            Err(NoPlace::AfterHorizon)
        } else if index < self.next {
            Err(NoPlace::Late)
        } else {
            Ok(index)
        }
    }

    /// Puts a reading into its tick. `unit` is ignored for metrics without a cluster; a clustered
    /// sample without a unit is a unit of its own, which the caller numbers.
    pub fn insert(
        &mut self,
        metric: usize,
        arm: Arm,
        ts: Timestamp,
        reading: &Reading,
        unit: u64,
        missing: u64,
    ) -> Result<(), NoPlace> {
        let index = self.place(ts)?;
        let (kind, clustered) = self.kinds[metric];
        let metrics = self.kinds.len();
        let cells = self
            .open
            .entry(index)
            .or_insert_with(|| vec![Default::default(); metrics]);
        let pair = &mut cells[metric];
        let own = clustered.then_some(unit);
        // First of all: what is refused is not recorded, and so must leave no trace.
        pair[arm.index()].has_place(kind, reading, own, self.tick_values_max)?;
        self.newest = self.newest.max(Some(ts));
        pair[arm.index()].missing = pair[arm.index()].missing.saturating_add(missing);
        let is_kept = self.units_max[metric]
            .is_none_or(|units_max| sampling::make_room(pair, arm.index(), unit, units_max));
        let cell: &mut Cell = &mut pair[arm.index()];
        if !is_kept {
            cell.sampled_out = cell.sampled_out.saturating_add(samples_of(reading));
            return Ok(());
        }
        cell.add(kind, ts, reading, own, self.tick_values_max);
        Ok(())
    }

    /// Whether the oldest open tick is to be closed at this clock time.
    pub fn is_due(&self, now: Timestamp) -> bool {
        if self.next >= self.looks {
            return false;
        }
        let settled = self.end_of(self.next).plus(self.lateness);
        let watermark = self.newest.map(|newest| newest.min(now));
        watermark.is_some_and(|mark| mark >= settled) || now >= self.due()
    }

    /// Clock time at which the oldest open tick closes even without its watermark.
    pub fn due(&self) -> Timestamp {
        let settled = self.end_of(self.next).plus(self.lateness);
        settled.plus(self.idle_after())
    }

    /// Clock time at which the tick of the newest sample closes, whatever its watermark; `None`
    /// without a sample.
    pub fn all_closed_at(&self) -> Option<Timestamp> {
        let index = self.newest?.since(self.origin) / self.tick;
        let settled = self.end_of(index as usize).plus(self.lateness);
        Some(settled.plus(self.idle_after()))
    }

    /// Closes the oldest open tick, whether or not it is due.
    pub fn close(&mut self) -> ClosedTick {
        let index = self.next;
        self.next += 1;
        let metrics = self.kinds.len();
        let mut cells = self
            .open
            .remove(&index)
            .unwrap_or_else(|| vec![Default::default(); metrics]);
        for (cells, _) in cells
            .iter_mut()
            .zip(&self.timed)
            .filter(|(_, timed)| **timed)
        {
            for cell in cells.iter_mut().filter(|cell: &&mut Cell| cell.samples > 0) {
                cell.exposure = self.tick as f64 / 1000.0;
            }
        }
        cells.iter_mut().for_each(even_out);
        for cell in cells.iter_mut().flatten() {
            cell.settle();
        }
        ClosedTick { index, cells }
    }
}

// === impl Cell ===

impl Cell {
    /// Whether the reading fits, in form and in size.
    fn has_place(
        &self,
        kind: MetricKind,
        reading: &Reading,
        unit: Option<u64>,
        values_max: usize,
    ) -> Result<(), NoPlace> {
        let (own, others) = (self.samples.max(self.bad), count_of(reading));
        let fits = match (kind, reading) {
            (MetricKind::Latency, Reading::Values { values, .. }) => {
                unit.is_none() || self.values.len() + values.len() <= values_max
            }
            (MetricKind::Ratio, Reading::Ratio { .. }) => !self.is_full_for(unit, values_max),
            (MetricKind::Ratio, Reading::Values { values, .. }) => {
                if values.iter().any(|&value| value != 0.0 && value != 1.0) {
                    return Err(NoPlace::WrongForm);
                }
                !self.is_full_for(unit, values_max)
            }
            (MetricKind::Rate, Reading::Rate { .. }) => true,
            (MetricKind::Gauge, Reading::Values { values, .. }) => {
                if values.iter().any(|value| value.is_infinite()) {
                    return Err(NoPlace::WrongForm);
                }
                self.points.len() + values.len() <= values_max
            }
            _ => return Err(NoPlace::WrongForm),
        };
        let counts = own.saturating_add(others) <= CELL_COUNT_MAX;
        (fits && counts).then_some(()).ok_or(NoPlace::TickFull)
    }

    /// Adds a reading that has a place.
    fn add(
        &mut self,
        kind: MetricKind,
        ts: Timestamp,
        reading: &Reading,
        unit: Option<u64>,
        values_max: usize,
    ) {
        match (kind, reading) {
            (MetricKind::Latency, Reading::Values { values, weights }) => {
                if self.values.len() + values.len() > values_max {
                    self.coarsen_below(values_max / 2);
                }
                self.add_values(values, weights, unit);
            }
            (MetricKind::Ratio, Reading::Ratio { bad, total }) => {
                self.add_ratio(*bad, *total, unit);
            }
            (MetricKind::Ratio, Reading::Values { values, weights }) => {
                for (i, &value) in values.iter().enumerate() {
                    let weight = weights.get(i).copied().unwrap_or(1);
                    self.add_ratio(if value == 1.0 { weight } else { 0 }, weight, unit);
                }
            }
            (MetricKind::Rate, Reading::Rate { events, exposure }) => {
                self.bad = self.bad.saturating_add(*events);
                self.exposure += exposure;
                self.samples += 1;
            }
            (MetricKind::Gauge, Reading::Values { values, .. }) => {
                self.points
                    .extend(values.iter().map(|&value| (ts.millis(), value)));
                self.samples = self.samples.saturating_add(values.len() as u64);
            }
            _ => {}
        }
    }

    /// Puts what is summed in floating point into an order that does not depend on arrival.
    fn settle(&mut self) {
        self.points
            .sort_by(|one, other| one.0.cmp(&other.0).then(one.1.total_cmp(&other.1)));
        if self.units.is_empty() {
            return;
        }
        let weight = |i: usize| self.weights.get(i).copied().unwrap_or(1);
        let mut order: Vec<usize> = (0..self.values.len()).collect();
        order.sort_by(|&i, &j| {
            let by_value = self.values[i].total_cmp(&self.values[j]);
            let by_unit = self.units[i].cmp(&self.units[j]);
            by_unit.then(by_value).then(weight(i).cmp(&weight(j)))
        });
        let weights = order.iter().map(|&i| weight(i)).collect();
        if !self.weights.is_empty() {
            self.weights = weights;
        }
        self.values = order.iter().map(|&i| self.values[i]).collect();
        self.units = order.iter().map(|&i| self.units[i]).collect();
    }

    /// Whether a clustered ratio has no room for another unit.
    fn is_full_for(&self, unit: Option<u64>, units_max: usize) -> bool {
        unit.is_some_and(|unit| {
            self.by_unit.len() >= units_max && !self.by_unit.contains_key(&unit)
        })
    }

    fn add_values(&mut self, values: &[f64], weights: &[u64], unit: Option<u64>) {
        if !weights.is_empty() && self.weights.is_empty() {
            self.weights = vec![1; self.values.len()];
        }
        self.values.extend_from_slice(values);
        if weights.is_empty() {
            self.samples = self.samples.saturating_add(values.len() as u64);
            if !self.weights.is_empty() {
                self.weights.resize(self.values.len(), 1);
            }
        } else {
            let weight = weights
                .iter()
                .fold(0_u64, |sum, &weight| sum.saturating_add(weight));
            self.samples = self.samples.saturating_add(weight);
            self.weights.extend_from_slice(weights);
        }
        if let Some(unit) = unit {
            self.units.resize(self.values.len(), unit);
        }
    }

    fn add_ratio(&mut self, bad: u64, total: u64, unit: Option<u64>) {
        self.bad = self.bad.saturating_add(bad);
        self.total = self.total.saturating_add(total);
        self.samples = self.samples.saturating_add(total);
        if let Some(unit) = unit {
            let sums = self.by_unit.entry(unit).or_default();
            sums.0 = sums.0.saturating_add(bad);
            sums.1 = sums.1.saturating_add(total);
        }
    }

    /// Merges values that agree to 11 bits of mantissa, or to as many as it takes to leave at most
    /// `distinct_max` values. At the tick's close the other arm is coarsened alike.
    fn coarsen_below(&mut self, distinct_max: usize) {
        let most = self.coarse_bits.unwrap_or(COARSE_MANTISSA_BITS);
        for bits in (0..=most).rev() {
            self.coarsen(bits);
            if self.values.len() <= distinct_max {
                break;
            }
        }
    }

    fn coarsen(&mut self, mantissa_bits: u32) {
        let weights = std::mem::take(&mut self.weights);
        let mut merged: BTreeMap<u64, u64> = BTreeMap::new();
        for (i, &value) in self.values.iter().enumerate() {
            let coarse = truncated(value, mantissa_bits);
            let sum = merged.entry(coarse.to_bits()).or_default();
            *sum = sum.saturating_add(weights.get(i).copied().unwrap_or(1));
        }
        self.values = merged.keys().map(|&bits| f64::from_bits(bits)).collect();
        self.weights = merged.into_values().collect();
        self.coarse_bits = Some(mantissa_bits);
    }
}

/// Brings both arms of a metric to the coarser of their resolutions, so that neither is moved
/// against the other.
fn even_out(cells: &mut [Cell; 2]) {
    let coarsest = cells.iter().filter_map(|cell| cell.coarse_bits).min();
    if let Some(bits) = coarsest {
        for cell in cells.iter_mut() {
            cell.coarsen(bits);
        }
    }
}

/// Samples that a reading adds to a cell whose units are limited.
fn samples_of(reading: &Reading) -> u64 {
    match reading {
        Reading::Ratio { total, .. } => *total,
        other => count_of(other),
    }
}

/// What a reading adds to a cell's counts at the most.
fn count_of(reading: &Reading) -> u64 {
    match reading {
        Reading::Values { values, weights } if weights.is_empty() => values.len() as u64,
        Reading::Values { weights, .. } => weights
            .iter()
            .fold(0, |sum, &weight| sum.saturating_add(weight)),
        Reading::Ratio { bad, total } => *bad.max(total),
        Reading::Rate { events, .. } => *events,
    }
}

/// A value cut to 11 bits of mantissa: a relative step of 2^-11. Whole numbers up to 4,096 stay.
pub fn coarse(value: f64) -> f64 {
    truncated(value, COARSE_MANTISSA_BITS)
}

/// A value cut to so many bits of mantissa.
pub fn truncated(value: f64, mantissa_bits: u32) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let dropped = 52 - mantissa_bits;
    f64::from_bits(value.to_bits() >> dropped << dropped)
}
