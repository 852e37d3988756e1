//! What the points of a batch add, by analysis, metric, arm, tick and unit.
//!
//! Owns the summing over the series of one arm: a service of a hundred pods has a hundred series
//! of every counter, and its ratio is that of their sums. Sums are exact while they are whole and
//! below 2^53, so the order in which series come does not matter.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::matching::{Place, Role};
use crate::model::series::HistogramCell;
use crate::model::{Arm, COUNT_MAX, Ordered, Reading, Timestamp};
use crate::plan::MetricKind;

/// Everything a batch adds.
#[derive(Debug, Default)]
pub(super) struct Sums {
    analyses: BTreeMap<String, BTreeMap<Group, Sum>>,
    /// The sum that was last added to, taken out of its map: series of one arm follow each other.
    last: Option<(String, Group, Sum)>,
}

/// What is summed together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    pub metric: usize,
    pub arm: Arm,
    tick: usize,
    pub unit: Option<Arc<str>>,
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
    /// Values up to a bound.
    UpTo {
        /// The bound.
        bound: f64,
        /// How many.
        count: f64,
    },
}

/// The sum of a group.
#[derive(Debug, Default)]
pub(super) struct Sum {
    bad: f64,
    good: Option<f64>,
    total: f64,
    values: Vec<(Timestamp, f64)>,
    buckets: BTreeMap<(Ordered, Ordered), f64>,
    up_to: BTreeMap<Ordered, f64>,
    newest: Option<Timestamp>,
    /// Number of the first series that added to it.
    pub index: usize,
    /// Points that added to it.
    pub points: u64,
}

// === impl Sums ===

impl Sums {
    /// The sum that a place's points of this tick and unit belong to.
    pub fn group(
        &mut self,
        analysis: &str,
        place: &Place,
        tick: usize,
        unit: Option<&Arc<str>>,
    ) -> &mut Sum {
        let is_last = self.last.as_ref().is_some_and(|(id, group, _)| {
            (group.metric, group.arm, group.tick) == (place.metric, place.arm, tick)
                && group.unit.as_deref() == unit.map(|unit| &**unit)
                && id == analysis
        });
        if !is_last {
            self.put_back();
            let group = Group {
                metric: place.metric,
                arm: place.arm,
                tick,
                unit: unit.cloned(),
            };
            let groups = self.analyses.get_mut(analysis);
            let sum = groups.and_then(|groups| groups.remove(&group));
            self.last = Some((analysis.to_owned(), group, sum.unwrap_or_default()));
        }
        let (.., sum) = self.last.as_mut().expect("just put there");
        sum
    }

    fn put_back(&mut self) {
        if let Some((id, group, sum)) = self.last.take() {
            self.analyses.entry(id).or_default().insert(group, sum);
        }
    }

    /// The sums, by analysis.
    pub fn into_analyses(mut self) -> impl Iterator<Item = (String, BTreeMap<Group, Sum>)> {
        self.put_back();
        self.analyses.into_iter()
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
            (Added::Count(count), Role::Good) => *self.good.get_or_insert(0.0) += count,
            (Added::Count(count), Role::Total | Role::Reading) => self.total += count,
            (Added::Count(count), Role::TotalOfGood) => {
                self.good.get_or_insert(0.0);
                self.total += count;
            }
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
            (Added::UpTo { bound, count }, _) => {
                *self.up_to.entry(Ordered::new(bound)).or_default() += count;
            }
        }
    }

    /// The readings it makes for a metric of this kind.
    ///
    /// # Errors
    /// An amount that cannot be counted: it is not whole, negative, or too large.
    pub fn readings(&self, kind: MetricKind) -> Result<Vec<(Timestamp, Reading)>, f64> {
        let Some(newest) = self.newest else {
            return Ok(Vec::new());
        };
        let whole = |amount: f64| {
            let is_whole = (0.0..=COUNT_MAX as f64).contains(&amount) && amount.fract() == 0.0;
            is_whole.then_some(amount as u64).ok_or(amount)
        };
        let reading = match (kind, self.good) {
            (MetricKind::Ratio, Some(good)) => Reading::Good {
                good: whole(good)?,
                total: whole(self.total)?,
            },
            (MetricKind::Ratio, None) => Reading::Ratio {
                bad: whole(self.bad)?,
                total: whole(self.total)?,
            },
            (MetricKind::Rate, _) => {
                let exposure = self.total;
                if !(0.0..=COUNT_MAX as f64).contains(&exposure) {
                    return Err(exposure);
                }
                Reading::Rate {
                    events: whole(self.bad)?,
                    exposure,
                }
            }
            (MetricKind::Latency, _) => return self.distribution(newest, whole),
            (MetricKind::Gauge, _) => {
                let values = self.values.iter();
                return Ok(values
                    .map(|&(ts, value)| (ts, Reading::value(value)))
                    .collect());
            }
        };
        Ok(vec![(newest, reading)])
    }

    /// Buckets and counts up to bounds, each as a reading.
    fn distribution(
        &self,
        newest: Timestamp,
        whole: impl Fn(f64) -> Result<u64, f64>,
    ) -> Result<Vec<(Timestamp, Reading)>, f64> {
        let mut readings = Vec::new();
        if !self.buckets.is_empty() {
            let ends = self
                .buckets
                .keys()
                .map(|(low, high)| (low.get(), high.get()));
            let (lows, highs) = ends.unzip();
            let counts = self.buckets.values().map(|&count| whole(count));
            let counts = counts.collect::<Result<_, _>>()?;
            readings.push((
                newest,
                Reading::Buckets {
                    lows,
                    highs,
                    counts,
                },
            ));
        }
        if !self.up_to.is_empty() {
            let bounds = self.up_to.keys().map(|bound| bound.get()).collect();
            let counts = self.up_to.values().map(|&count| whole(count));
            let counts = counts.collect::<Result<_, _>>()?;
            readings.push((newest, Reading::UpTo { bounds, counts }));
        }
        Ok(readings)
    }
}
