//! What the points of a batch add, by analysis, metric, arm, tick and unit.
//!
//! Owns the summing over the series of one arm: a service of a hundred pods has a hundred series
//! of every counter, and its ratio is that of their sums. Sums are exact while they are whole and
//! below 2^53, so the order in which series come does not matter.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::runs::Run;
use super::track::Reset;
use crate::engine::matching::{Place, Role};
use crate::model::series::HistogramCell;
use crate::model::{Arm, COUNT_MAX, Millis, Ordered, Reading, Timestamp};
use crate::plan::{Metric, MetricKind, Source};

/// Everything a batch adds.
#[derive(Debug, Default)]
pub(super) struct Sums {
    /// Ids of the analyses that are added to, few in a batch.
    analyses: BTreeMap<String, usize>,
    /// Where the sum of a group of an analysis stands.
    places: BTreeMap<(usize, Group), usize>,
    sums: Vec<Sum>,
    /// What was last added to, by arm: series of one follow each other, or those of both alternate.
    last: [Option<Last>; 2],
}

/// Where a group's sum stands.
#[derive(Debug)]
struct Last {
    analysis: String,
    group: Group,
    at: usize,
}

/// What is summed together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    pub metric: usize,
    pub arm: Arm,
    tick: usize,
    pub unit: Option<Arc<str>>,
    /// Number of the histogram that buckets of a series each belong to.
    histogram: Option<u64>,
}

/// What one point adds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Added<'s> {
    /// To a count or an exposure.
    Count(f64),
    /// To both counts of a ratio.
    Share {
        /// Bad events.
        bad: f64,
        /// All events.
        total: f64,
    },
    /// A gauge's value.
    Value(f64),
    /// Values in each of these buckets.
    Buckets(&'s [HistogramCell]),
    /// Observations that cannot be used: they are missing.
    Nothing {
        /// How many.
        of: f64,
        /// Ends of the bucket that is in the way.
        around: [f64; 2],
    },
    /// Values up to a bound.
    UpTo {
        /// The bound.
        bound: f64,
        /// How many.
        count: f64,
        /// Whether they are counted from nought.
        reset: Reset,
    },
}

/// Observations up to one bound.
#[derive(Debug, Default)]
struct UpTo {
    count: f64,
    points: u32,
    /// At least so many of them were resets, and at most.
    resets: [u32; 2],
}

/// The sum of a group.
#[derive(Debug, Default)]
pub(super) struct Sum {
    bad: f64,
    total: f64,
    values: Vec<(Timestamp, f64)>,
    buckets: BTreeMap<(Ordered, Ordered), f64>,
    up_to: BTreeMap<Ordered, UpTo>,
    /// Longest time that one increment covers.
    span: Millis,
    /// Observations that came and cannot be used.
    pub missing: f64,
    newest: Option<Timestamp>,
    /// Number of the first series that added to it.
    pub index: usize,
    /// Points that added to it.
    pub points: u64,
}

// === impl Sums ===

impl Sums {
    /// Number of the sum that a place's points of this tick and unit belong to.
    pub fn group(
        &mut self,
        analysis: &str,
        place: &Place,
        tick: usize,
        unit: Option<&Arc<str>>,
        histogram: Option<u64>,
    ) -> usize {
        let last = &mut self.last[place.arm.index()];
        if let Some(Last {
            analysis: its,
            group,
            at,
        }) = last
            && (group.metric, group.tick) == (place.metric, tick)
            && group.histogram == histogram
            && group.unit.as_deref() == unit.map(|unit| &**unit)
            && *its == analysis
        {
            return *at;
        }
        let group = Group {
            metric: place.metric,
            arm: place.arm,
            tick,
            unit: unit.cloned(),
            histogram,
        };
        let next = self.analyses.len();
        let id = match self.analyses.get(analysis) {
            Some(id) => *id,
            None => *self.analyses.entry(analysis.to_owned()).or_insert(next),
        };
        let at = *self
            .places
            .entry((id, group.clone()))
            .or_insert(self.sums.len());
        if at == self.sums.len() {
            self.sums.push(Sum::default());
        }
        // The text's room is used again: points of a series may lie in many ticks.
        let mut its = last.take().map(|last| last.analysis).unwrap_or_default();
        analysis.clone_into(&mut its);
        *last = Some(Last {
            analysis: its,
            group,
            at,
        });
        at
    }

    /// The sum of this number.
    pub fn at(&mut self, number: usize) -> &mut Sum {
        &mut self.sums[number]
    }

    /// The sums, in the order of their analyses' ids and then their groups', whatever came first.
    pub fn into_sorted(self) -> Vec<(String, Group, Sum)> {
        let mut sums: Vec<Option<Sum>> = self.sums.into_iter().map(Some).collect();
        let ids: BTreeMap<usize, String> = self
            .analyses
            .into_iter()
            .map(|(name, id)| (id, name))
            .collect();
        let mut sorted: Vec<(String, Group, Sum)> = self
            .places
            .into_iter()
            .filter_map(|((id, group), at)| Some((ids.get(&id)?.clone(), group, sums[at].take()?)))
            .collect();
        // Groups are in order already; analyses are as they came.
        sorted.sort_by(|one, other| one.0.cmp(&other.0));
        sorted
    }
}

// === impl Sum ===

impl Sum {
    pub fn add(&mut self, index: usize, ts: Timestamp, role: Role, added: Added<'_>) {
        if self.points == 0 {
            self.index = index;
        }
        self.points += 1;
        self.newest = self.newest.max(Some(ts));
        match (added, role) {
            (Added::Count(count), Role::Bad) => self.bad += count,
            (Added::Count(count), _) => self.total += count,
            (Added::Share { bad, total }, _) => {
                self.bad += bad;
                self.total += total;
            }
            (Added::Value(value), _) => self.values.push((ts, value)),
            (Added::Buckets(cells), _) => {
                for cell in cells {
                    let bucket = (Ordered::new(cell.low), Ordered::new(cell.high));
                    *self.buckets.entry(bucket).or_default() += cell.count;
                }
            }
            (
                Added::UpTo {
                    bound,
                    count,
                    reset,
                },
                _,
            ) => {
                let sum = self.up_to.entry(Ordered::new(bound)).or_default();
                sum.count += count;
                sum.points += 1;
                sum.resets[0] += u32::from(reset == Reset::Seen);
                sum.resets[1] += u32::from(reset != Reset::None);
            }
            (Added::Nothing { of, .. }, _) => self.missing += of,
        }
    }

    /// Adds what several increments add to a count or an exposure.
    pub fn add_run(&mut self, index: usize, role: Role, run: &Run) {
        self.add(index, run.newest, role, Added::Count(run.amount));
        self.points += run.points - 1;
        self.cover(run.span);
    }

    /// Remembers how long an increment covers.
    pub fn cover(&mut self, span: Millis) {
        self.span = self.span.max(span);
    }

    /// The readings it makes of a group's metric, of this kind, and observations that are missing.
    ///
    /// # Errors
    /// An amount that cannot be counted: it is not whole, negative, or too large.
    pub fn readings(
        &self,
        group: &Group,
        metric: &Metric,
    ) -> Result<Vec<(Timestamp, Reading, u32)>, f64> {
        let Some(newest) = self.newest else {
            return Ok(Vec::new());
        };
        let missing = self.missing as u32;
        let reading = match metric.kind {
            MetricKind::Latency | MetricKind::Ratio if group.histogram.is_some() => {
                self.up_to(group.histogram.unwrap_or_default())?
            }
            MetricKind::Ratio => Reading::Ratio {
                bad: whole(self.bad)?,
                total: whole(self.total)?,
            },
            MetricKind::Rate => {
                let is_timed = matches!(metric.source, Source::RateCounts { exposure: None, .. });
                let span = if is_timed { self.span } else { 0 };
                let exposure = self.total + span as f64 / 1_000.0;
                if !(0.0..=COUNT_MAX as f64).contains(&exposure) {
                    return Err(exposure);
                }
                Reading::Rate {
                    events: whole(self.bad)?,
                    exposure,
                }
            }
            MetricKind::Latency => self.of_buckets()?,
            MetricKind::Gauge => {
                let values = self.values.iter();
                let points = values.map(|&(ts, value)| (ts, Reading::value(value), 0));
                return Ok(points.collect());
            }
        };
        Ok(vec![(newest, reading, missing)])
    }

    fn of_buckets(&self) -> Result<Reading, f64> {
        let ends = self.buckets.keys();
        let (lows, highs) = ends.map(|(low, high)| (low.get(), high.get())).unzip();
        let counts = self.buckets.values().map(|&count| whole(count));
        Ok(Reading::Buckets {
            lows,
            highs,
            counts: counts.collect::<Result<_, _>>()?,
        })
    }

    fn up_to(&self, of: u64) -> Result<Reading, f64> {
        let sums = || self.up_to.values();
        Ok(Reading::UpTo {
            of,
            bounds: self.up_to.keys().map(|bound| bound.get()).collect(),
            counts: sums()
                .map(|sum| whole(sum.count))
                .collect::<Result<_, _>>()?,
            points: sums().map(|sum| sum.points).collect(),
            resets: sums().map(|sum| sum.resets).collect(),
        })
    }
}

fn whole(amount: f64) -> Result<u64, f64> {
    let is_whole = (0.0..=COUNT_MAX as f64).contains(&amount) && amount.fract() == 0.0;
    is_whole.then_some(amount as u64).ok_or(amount)
}
