//! What one arm of one metric received within one tick.
//!
//! Owns the sums and values of a cell, and their bounds: a cell that holds too many values keeps
//! them coarser. It must not know of other ticks or of the other arm. Next: `judge`, which reads it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::BoundsSeen;
use super::NoPlace;
use super::buckets::Buckets;
use super::counted::{Counted, merge};
use crate::model::{Reading, Timestamp};
use crate::plan::MetricKind;
use crate::stats::buckets::{apart, middle};
use crate::stats::rank::sort_keys;

/// Samples or events in one cell: sixteen times as many, over all looks, still fit an i64.
pub const CELL_COUNT_MAX: u64 = 1 << 46;

/// Values up to which a cell's room doubles as they come.
const DOUBLED_VALUES_MAX: usize = 1 << 12;

/// Mantissa bits that survive when an overfull tick is coarsened: a relative step of 2^-11.
const COARSE_MANTISSA_BITS: u32 = 11;

/// What one arm of one metric received within one tick.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Cell {
    /// Values of a distribution (kind latency), in no order. In an open tick others may be counted.
    pub values: Vec<f64>,
    /// Values that came often in an open tick; none once it is closed.
    pub counted: Counted,
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
    /// Longest exposure of one reading (kind rate).
    pub longest: f64,
    /// Bad and total events by unit, for clustered ratios.
    pub by_unit: BTreeMap<u64, (u64, u64)>,
    /// Values known by their bucket, until the tick closes.
    pub buckets: Buckets,
    /// Buckets that values were counted in; such a value is the middle of its own.
    pub layout: Vec<[f64; 2]>,
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

// === impl Cell ===

impl Cell {
    /// Values it holds, whether counted or not.
    pub(super) fn held(&self) -> usize {
        self.values.len() + self.counted.total()
    }

    /// Whether the reading fits, in form and in size.
    pub(super) fn has_place(
        &self,
        kind: MetricKind,
        reading: &Reading,
        unit: Option<u64>,
        values_max: usize,
    ) -> Result<(), NoPlace> {
        let (own, others) = (self.samples.max(self.bad), count_of(reading));
        let fits = match (kind, reading) {
            // It holds nothing but what is missing.
            (_, Reading::Values { values, .. }) if values.is_empty() => true,
            (MetricKind::Latency, Reading::Values { values, .. }) => {
                unit.is_none() || self.held() + values.len() <= values_max
            }
            (
                MetricKind::Latency,
                Reading::Buckets { counts, .. } | Reading::UpTo { counts, .. },
            ) => self.held() + self.buckets.len() + counts.len() <= values_max,
            (MetricKind::Ratio, Reading::Ratio { .. }) => !self.is_full_for(unit, values_max),
            (MetricKind::Ratio, Reading::UpTo { counts, .. }) => {
                let held = self.by_unit.len() + self.buckets.len() + counts.len();
                held <= values_max
            }
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
    pub(super) fn add(
        &mut self,
        kind: MetricKind,
        ts: Timestamp,
        reading: &Reading,
        unit: Option<u64>,
        values_max: usize,
    ) {
        match (kind, reading) {
            (MetricKind::Latency, Reading::Values { values, weights }) => {
                if self.held() + values.len() > values_max {
                    self.coarsen_below(values_max / 2);
                }
                self.add_values(values, weights, unit);
            }
            (
                MetricKind::Latency,
                Reading::Buckets {
                    lows,
                    highs,
                    counts,
                },
            ) => {
                self.buckets.add(unit, lows, highs, counts);
                self.samples = self.samples.saturating_add(count_of(reading));
            }
            (MetricKind::Latency | MetricKind::Ratio, Reading::UpTo { .. }) => {
                self.buckets.add_up_to(unit, reading);
                self.samples = self.samples.saturating_add(count_of(reading));
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
                self.longest = self.longest.max(*exposure);
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
    pub(super) fn settle(&mut self, kind: MetricKind, negative: bool, seen: &mut BoundsSeen) {
        self.counted.give_back(&mut self.values);
        self.settle_histograms(kind, seen);
        self.settle_buckets(negative);
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

    /// Takes apart what was counted up to bounds, histogram by histogram. All observations of one
    /// that is not whole are missing.
    fn settle_histograms(&mut self, kind: MetricKind, seen: &mut BoundsSeen) {
        for histogram in self.buckets.histograms() {
            let all = histogram.up_to.last().map_or(0, |&(_, count)| count);
            let most = seen.most(histogram.of, histogram.up_to.len());
            if !histogram.is_whole || histogram.up_to.len() < most {
                let is_counted = histogram
                    .up_to
                    .last()
                    .is_some_and(|last| last.0.is_infinite());
                let counted = if is_counted { all } else { 0 };
                self.samples = self.samples.saturating_sub(counted);
                self.missing = self.missing.saturating_add(all);
                continue;
            }
            let unit = histogram.unit;
            if kind == MetricKind::Ratio {
                // What went well is what lies up to the bound that is asked about.
                let good = histogram.up_to[0].1.min(all);
                self.samples = self.samples.saturating_sub(all);
                self.add_ratio(all - good, all, unit);
                continue;
            }
            for (bucket, count) in apart(histogram.up_to) {
                let [low, high] = bucket.map(|end| [end]);
                self.buckets.add(unit, &low, &high, &[count]);
            }
        }
    }

    /// Takes the values of buckets: each the middle of its own.
    fn settle_buckets(&mut self, negative: bool) {
        let samples = self.samples;
        for counted in self.buckets.apart() {
            let [mut low, high] = counted.bucket;
            // Where values below zero do not occur, a bucket from below zero begins there.
            if !negative && low < 0.0 && high >= 0.0 {
                low = 0.0;
            }
            self.layout.push([low, high]);
            if counted.count > 0 {
                let values = [middle([low, high])];
                self.add_values(&values, &[counted.count], counted.unit);
            }
        }
        self.samples = samples;
        self.layout.sort_by(|one, other| {
            let by_low = one[0].total_cmp(&other[0]);
            by_low.then(one[1].total_cmp(&other[1]))
        });
        self.layout.dedup();
    }

    /// Whether a clustered ratio has no room for another unit.
    fn is_full_for(&self, unit: Option<u64>, units_max: usize) -> bool {
        unit.is_some_and(|unit| {
            self.by_unit.len() >= units_max && !self.by_unit.contains_key(&unit)
        })
    }

    fn add_values(&mut self, values: &[f64], weights: &[u64], unit: Option<u64>) {
        if !weights.is_empty() && self.weights.is_empty() {
            self.counted.give_back(&mut self.values);
            self.weights = vec![1; self.values.len()];
        }
        make_room(&mut self.values, values.len());
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
        if self.units.is_empty() && self.weights.is_empty() {
            self.counted.take(&mut self.values);
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

    pub(super) fn coarsen(&mut self, mantissa_bits: u32) {
        self.counted.give_back(&mut self.values);
        let mut weights = std::mem::take(&mut self.weights).into_iter();
        // Values that came since a cell was coarsened last are many, and mostly weigh 1; those that
        // it held then are few, and in order.
        let (mut single, mut weighted): (Vec<u64>, Vec<(u64, u64)>) = (Vec::new(), Vec::new());
        for &value in &self.values {
            let bits = truncated(value, mantissa_bits).to_bits();
            match weights.next() {
                Some(weight) if weight != 1 => weighted.push((bits, weight)),
                _ => single.push(bits),
            }
        }
        sort_keys(&mut single);
        weighted.sort_by_key(|&(bits, _)| bits);
        weighted.dedup_by(|later, kept| {
            let is_same = later.0 == kept.0;
            if is_same {
                kept.1 = kept.1.saturating_add(later.1);
            }
            is_same
        });
        let mut values = Vec::with_capacity(weighted.len());
        merge(weighted.into_iter(), &single, |bits, weight: u64| {
            values.push(f64::from_bits(bits));
            self.weights.push(weight);
        });
        values.shrink_to_fit();
        self.weights.shrink_to_fit();
        self.values = values;
        self.coarse_bits = Some(mantissa_bits);
    }
}

/// Makes room for more values. What is large grows by a quarter instead of twofold: ticks are held
/// open by the dozen, and what they have room for and do not hold is memory all the same.
fn make_room(values: &mut Vec<f64>, more: usize) {
    if values.len() + more > values.capacity() && values.len() >= DOUBLED_VALUES_MAX {
        values.reserve_exact(more.max(values.len() / 4));
    }
}

/// What a reading adds to a cell's counts at the most.
pub(super) fn count_of(reading: &Reading) -> u64 {
    match reading {
        Reading::Ratio { bad, total } => *bad.max(total),
        Reading::Rate { events, .. } => *events,
        other => other.samples(),
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::rank::Sorted;

    /// As a cell takes values, without counting any.
    fn add_one_by_one(cell: &mut Cell, values: &[f64], values_max: usize) {
        if cell.values.len() + values.len() > values_max {
            cell.coarsen_below(values_max / 2);
        }
        cell.values.extend_from_slice(values);
        cell.samples += values.len() as u64;
        if !cell.weights.is_empty() {
            cell.weights.resize(cell.values.len(), 1);
        }
    }

    fn sorted(cell: &Cell) -> Sorted {
        let weights = (!cell.weights.is_empty()).then(|| cell.weights.clone());
        Sorted::new(cell.values.clone(), weights).expect("no NaN")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn coarsening_adds_up_the_weights_of_what_becomes_one(
            picks in proptest::collection::vec((-40_i32..400, 0_u64..4), 0..3_000),
            step in prop::sample::select(vec![0.37, 1.0, 1e-3]),
            has_weights in any::<bool>(),
            bits in proptest::collection::vec(0_u32..=COARSE_MANTISSA_BITS, 1..3),
        ) {
            let mut cell = Cell::default();
            let weight = |rare: u64| if rare == 0 { u64::MAX / 3 } else { rare };
            cell.values = picks.iter().map(|&(pick, _)| f64::from(pick) * step).collect();
            if has_weights {
                cell.weights = picks.iter().map(|&(_, rare)| weight(rare)).collect();
            }
            for bits in bits {
                let mut expected: BTreeMap<u64, u64> = BTreeMap::new();
                for (i, &value) in cell.values.iter().enumerate() {
                    let sum = expected.entry(truncated(value, bits).to_bits()).or_default();
                    *sum = sum.saturating_add(cell.weights.get(i).copied().unwrap_or(1));
                }
                cell.coarsen(bits);
                let held = cell.values.iter().map(|value| value.to_bits());
                let held: Vec<(u64, u64)> = held.zip(cell.weights.iter().copied()).collect();
                prop_assert_eq!(held, expected.into_iter().collect::<Vec<_>>());
                prop_assert_eq!(cell.weights.len(), cell.values.len());
                // As values come after it.
                cell.values.extend([3.3, 70.7, 3.3]);
                cell.weights.extend([1, 1, 1]);
            }
        }

        #[test]
        fn a_crowded_cell_holds_what_it_would_hold_without_counting(
            distinct in 1_usize..20_000,
            values_max in 4_000_usize..40_000,
            picks in proptest::collection::vec(any::<u32>(), 0..60_000),
            weighted_at in proptest::option::of(0_usize..600),
        ) {
            let value = |pick: &u32| (*pick as usize % distinct) as f64 * 0.3 - 20.0;
            let all: Vec<f64> = picks.iter().map(value).collect();
            let (mut crowded, mut plain) = (Cell::default(), Cell::default());
            let (kind, ts) = (MetricKind::Latency, Timestamp(0));
            for (nth, some) in all.chunks(100).enumerate() {
                let is_weighted = weighted_at == Some(nth);
                let weights = if is_weighted { vec![2; some.len()] } else { Vec::new() };
                let reading = Reading::Values { values: some.to_vec(), weights };
                crowded.add(kind, ts, &reading, None, values_max);
                if is_weighted {
                    plain.add(kind, ts, &reading, None, values_max);
                } else {
                    add_one_by_one(&mut plain, some, values_max);
                }
                prop_assert_eq!(crowded.held(), plain.held());
                prop_assert_eq!(crowded.coarse_bits, plain.coarse_bits);
            }
            for cell in [&mut crowded, &mut plain] {
                cell.settle(kind, true, &mut BoundsSeen::default());
            }
            prop_assert_eq!(crowded.counted.total(), 0);
            prop_assert_eq!(crowded.samples, plain.samples);
            prop_assert_eq!(crowded.weights.is_empty(), plain.weights.is_empty());
            prop_assert_eq!(sorted(&crowded), sorted(&plain));
        }
    }
}
