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

mod buckets;
mod cell;
mod counted;
mod open;
mod sampling;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Arm, Millis, Reading, Timestamp};
use crate::plan::{Cluster, Lifetime, MetricKind, Plan};
use cell::count_of;
pub use cell::{CELL_COUNT_MAX, Cell, coarse, truncated};
pub use open::{OPEN_TICKS_MAX, lateness_max, open_ticks};

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
#[derive(Debug, Clone, Serialize, Deserialize)]
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
    /// Metrics whose values may be below zero.
    negative: Vec<bool>,
    /// By metric and arm.
    bounds_seen: Vec<[BoundsSeen; 2]>,
    /// Metrics whose exposure is time: a rate without an exposure counter.
    timed: Vec<bool>,
    open: BTreeMap<usize, Vec<[Cell; 2]>>,
    tick_values_max: usize,
    /// When davy was last back from being away.
    resumed_at: Option<Timestamp>,
}

/// Histograms of an arm whose number of bounds is remembered.
const HISTOGRAMS_REMEMBERED_MAX: usize = 100_000;

/// How many bounds each histogram has had: one that has fewer is not whole.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct BoundsSeen {
    most: BTreeMap<u64, usize>,
}

// === impl BoundsSeen ===

impl BoundsSeen {
    /// The most bounds of a histogram so far, now that it has this many.
    fn most(&mut self, of: u64, bounds: usize) -> usize {
        if self.most.len() >= HISTOGRAMS_REMEMBERED_MAX && !self.most.contains_key(&of) {
            return bounds;
        }
        let most = self.most.entry(of).or_default();
        *most = bounds.max(*most);
        *most
    }
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
            negative: plan.metrics.iter().map(|metric| metric.negative).collect(),
            bounds_seen: vec![Default::default(); plan.metrics.len()],
            timed: plan.metrics.iter().map(|m| m.source.is_timed()).collect(),
            open: BTreeMap::new(),
            tick_values_max,
            resumed_at: None,
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

    /// Number of metrics it has cells for.
    pub fn metrics(&self) -> usize {
        self.kinds.len()
    }

    /// Whether every tick is closed.
    pub fn is_over(&self) -> bool {
        self.next >= self.looks
    }

    /// Number of ticks it will have closed in the end, as far as is known.
    pub fn ticks(&self) -> usize {
        self.looks
    }

    /// Number of ticks closed so far.
    pub fn closed(&self) -> usize {
        self.next
    }

    /// End of the tick with this number.
    pub fn end_of(&self, index: usize) -> Timestamp {
        self.origin.plus(self.tick * (index as i64 + 1))
    }

    /// The times of the tick with this number: from the first up to, and without, the second.
    pub fn times_of(&self, index: usize) -> [Timestamp; 2] {
        [self.end_of(index).plus(-self.tick), self.end_of(index)]
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

    /// How many values an arm of a metric holds in the open tick of this time, and how many
    /// samples or events.
    pub fn held(&self, metric: usize, arm: Arm, ts: Timestamp) -> (usize, u64) {
        let index = self.place(ts).ok();
        let cells = index.and_then(|index| self.open.get(&index));
        cells.map_or((0, 0), |cells| {
            let cell = &cells[metric][arm.index()];
            (cell.held(), cell.samples.max(cell.bad))
        })
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
        let settled = self.resumed_at.map_or(settled, |at| {
            // Senders repeat what they could not send while nobody listened.
            settled.max(at.plus(self.lateness))
        });
        settled.plus(self.idle_after())
    }

    /// davy was away until now: no tick closes by the clock before senders had their time.
    pub fn resume(&mut self, now: Timestamp) {
        self.resumed_at = Some(now);
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
                // After a gap one increment covers many ticks, and so does its time.
                cell.exposure = cell.longest.max(self.tick as f64 / 1000.0);
            }
        }
        cells.iter_mut().for_each(even_out);
        for (metric, cells) in cells.iter_mut().enumerate() {
            let (kind, negative) = (self.kinds[metric].0, self.negative[metric]);
            for (cell, seen) in cells.iter_mut().zip(&mut self.bounds_seen[metric]) {
                cell.settle(kind, negative, seen);
            }
        }
        ClosedTick { index, cells }
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
