//! The samples that one input brought to an analysis, as one line of its recording.
//!
//! Owns how they are written, and what is written together: requests hold hundreds of samples of a
//! few metrics and of one time, and a value with its time, metric and arm takes ten times the room
//! of the value. What is written together is the same to a replay as what came one by one.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Serialize;

use super::digits::Digits;
use super::{ToRecord, is_zero};
use crate::model::{Arm, Reading, Timestamp};
use crate::plan::{MetricKind, Plan};
use crate::stats::rank::sort_keys;
use crate::window::CELL_COUNT_MAX;

/// Values that are written together.
const TOGETHER_VALUES_MAX: usize = 10_000;
/// Events that are written together: a part of what a cell may hold.
const TOGETHER_EVENTS_MAX: u64 = 1 << 32;

/// Values of one time that are put in order; with fewer there is little to win.
const ORDERED_VALUES_MIN: usize = 32;

/// Bytes that a line has beside its samples, at the most.
const LINE_BYTES_BESIDE: usize = 64;

/// What was kept of a sample.
#[derive(Debug)]
pub(in crate::engine) struct Kept<'r> {
    pub ts: Timestamp,
    /// Borrowed where the sample is its reading: what is written together with others is not copied first.
    pub reading: Cow<'r, Reading>,
    pub unit: Option<String>,
    pub missing: u32,
}

/// Accepted samples of one analysis in one input.
#[derive(Debug)]
pub(in crate::engine) struct Batch {
    /// Those that are written, as JSON with a comma behind each.
    text: Vec<u8>,
    /// What may grow yet, by metric and arm, with the values its cell held when it was kept last.
    growing: Vec<Option<(Kept<'static>, usize)>>,
    /// Units are numbered over all metrics, by the readings that come.
    has_units: bool,
}

// === impl Batch ===

impl Batch {
    /// Nothing yet of an analysis on this plan.
    pub fn new(plan: &Plan) -> Batch {
        Batch {
            text: Vec::new(),
            growing: Vec::new(),
            has_units: plan.metrics.iter().any(|metric| metric.cluster.is_some()),
        }
    }

    /// Adds a sample that was kept. `held` is what its cell holds since: values, and events.
    pub fn add(
        &mut self,
        plan: &Plan,
        (metric, arm): (usize, Arm),
        kept: Kept<'_>,
        held: (usize, u64),
    ) {
        let place = 2 * metric + arm.index();
        if self.has_units {
            // The order tells which number a sample without a unit gets.
            return self.write(plan, place, &kept);
        }
        if self.growing.is_empty() {
            self.growing.resize_with(2 * plan.metrics.len(), || None);
        }
        let can_grow = held.1 <= CELL_COUNT_MAX / 2;
        if can_grow
            && let Some((before, held_before)) = &mut self.growing[place]
            && before.grow(plan.metrics[metric].kind, &kept, *held_before, held.0)
        {
            *held_before = held.0;
            return;
        }
        let before = self.growing[place].replace((kept.into_owned(), held.0));
        if let Some((before, _)) = before {
            self.write(plan, place, &before.in_order());
        }
    }

    /// The line.
    pub fn line(mut self, plan: &Plan, at: Timestamp) -> String {
        for (place, kept) in std::mem::take(&mut self.growing).into_iter().enumerate() {
            if let Some((kept, _)) = kept {
                self.write(plan, place, &kept.in_order());
            }
        }
        // The last comma.
        self.text.pop();
        let samples = String::from_utf8(self.text).expect("JSON is text");
        let at = at.millis();
        let mut line = String::with_capacity(samples.len() + LINE_BYTES_BESIDE);
        let _ = write!(line, "{{\"samples\":{{\"at\":{at},\"samples\":[");
        line.push_str(&samples);
        line.push_str("]}}");
        line
    }

    fn write(&mut self, plan: &Plan, place: usize, kept: &Kept<'_>) {
        let record = ToRecord {
            ts: kept.ts,
            metric: &plan.metrics[place / 2].name,
            arm: Arm::BOTH[place % 2],
            reading: &kept.reading,
            unit: kept.unit.as_deref(),
            missing: kept.missing,
        };
        let mut serializer =
            serde_json::Serializer::with_formatter(&mut self.text, Digits::default());
        let written = record.serialize(&mut serializer);
        written.expect("a recording's line is plain data");
        self.text.push(b',');
    }
}

// === impl Kept ===

impl<'r> Kept<'r> {
    fn into_owned(self) -> Kept<'static> {
        Kept {
            ts: self.ts,
            reading: Cow::Owned(self.reading.into_owned()),
            unit: self.unit,
            missing: self.missing,
        }
    }

    /// With many values of one time put in an order, that of their bits: in which they came says
    /// nothing, and their text compresses better: neighbours begin alike.
    fn in_order(mut self) -> Kept<'r> {
        if let Cow::Owned(Reading::Values { values, weights }) = &mut self.reading
            && weights.is_empty()
            && values.len() >= ORDERED_VALUES_MIN
        {
            let mut keys: Vec<u64> = values.iter().map(|value| value.to_bits()).collect();
            sort_keys(&mut keys);
            values.clear();
            values.extend(keys.into_iter().map(f64::from_bits));
        }
        self
    }

    /// Takes another sample in, where a replay finds no difference. `held_before` and `held` are
    /// the values in the cell before and after it: where they did not grow by its own, the cell
    /// was coarsened, which has to happen before the same value again.
    fn grow(&mut self, kind: MetricKind, more: &Kept<'_>, held_before: usize, held: usize) -> bool {
        let is_plain = |kept: &Kept<'_>| kept.unit.is_none() && is_zero(&kept.missing);
        if self.ts != more.ts || !is_plain(self) || !is_plain(more) {
            return false;
        }
        match (kind, self.reading.to_mut(), &*more.reading) {
            (
                MetricKind::Latency,
                Reading::Values { values, weights },
                Reading::Values {
                    values: further,
                    weights: further_weights,
                },
            ) => {
                let is_unweighted = weights.is_empty() && further_weights.is_empty();
                let fits = values.len() + further.len() <= TOGETHER_VALUES_MAX;
                let can = is_unweighted && fits && held == held_before + further.len();
                if can {
                    values.extend_from_slice(further);
                }
                can
            }
            (
                MetricKind::Ratio,
                Reading::Ratio { bad, total },
                Reading::Ratio {
                    bad: more_bad,
                    total: more_total,
                },
            ) => {
                let sums = (bad.checked_add(*more_bad), total.checked_add(*more_total));
                match sums {
                    (
                        Some(both_bad @ ..=TOGETHER_EVENTS_MAX),
                        Some(all @ ..=TOGETHER_EVENTS_MAX),
                    ) => {
                        (*bad, *total) = (both_bad, all);
                        true
                    }
                    _ => false,
                }
            }
            _ => false,
        }
    }
}
