//! `threshold` with `breach`: M breaching ticks of the last N, as alarms are written.
//!
//! Owns the alarm form: each tick's own statistic against the limit, with four policies for
//! ticks without data. It is a policy, not a test: it spends no alpha and promises nothing, and
//! its findings say so. Next: `threshold`, the form that tests.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::judge::check::{Evidence, Setting};
use crate::judge::threshold;
use crate::judge::verdict::Scale;
use crate::judge::{rank, recorded};
use crate::model::Reason;
use crate::plan::{Limit, LimitSide, MetricKind, NoData, Quantile};
use crate::stats::censored::{self, Cells, Rounding};
use crate::window::Cell;

/// The alarm check of one metric.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BreachCheck {
    kind: MetricKind,
    at: Option<Quantile>,
    limit: Limit,
    periods: usize,
    of: usize,
    no_data: NoData,
    recent: VecDeque<Period>,
    latest: Option<f64>,
    failed: bool,
    evaluated: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Period {
    Good,
    Breaching,
    Missing,
}

// === impl BreachCheck ===

impl BreachCheck {
    /// The check of a plan.
    pub fn new(
        setting: &Setting<'_>,
        at: Option<Quantile>,
        limit: Limit,
        (periods, of): (u32, u32),
        no_data: NoData,
    ) -> BreachCheck {
        BreachCheck {
            kind: setting.metric.kind,
            at,
            limit,
            periods: periods as usize,
            of: of as usize,
            no_data,
            recent: VecDeque::new(),
            latest: None,
            failed: false,
            evaluated: 0,
        }
    }

    /// Takes a closed tick; only the canary's cell counts.
    pub fn close(&mut self, cells: &[Cell; 2]) {
        let statistic = self.statistic(&cells[1]);
        if statistic.is_none() && cells[1].sampled_out > 0 {
            // Its units were not kept: that is no silence.
            return;
        }
        let period = match statistic {
            Some(value) if threshold::is_beyond(value, &self.limit) => Period::Breaching,
            Some(_) => Period::Good,
            None => match self.no_data {
                NoData::Ignore => return,
                NoData::Missing => Period::Missing,
                NoData::Breaching => Period::Breaching,
                NoData::NotBreaching => Period::Good,
            },
        };
        if statistic.is_some() {
            self.latest = statistic;
            self.evaluated += 1;
        }
        self.recent.push_back(period);
        if self.recent.len() > self.of {
            self.recent.pop_front();
        }
        self.failed |= self.count(Period::Breaching) >= self.periods;
    }

    /// The state of the alarm. It passes when the last N ticks are known and too few of them,
    /// counting every missing one as a breach, are breaching.
    pub fn find(&self) -> Evidence {
        let mut evidence = Evidence::none(Scale::Periods);
        evidence.estimate = Some(self.count(Period::Breaching) as f64);
        evidence.tolerance = Some(self.periods as f64);
        evidence.window = self.recent.len();
        evidence.fail = self.failed;
        let could_breach = self.count(Period::Breaching) + self.count(Period::Missing);
        let enough = self.recent.len() >= self.of && self.evaluated > 0;
        evidence.pass = !self.failed && enough && could_breach < self.periods;
        if !evidence.fail && !evidence.pass {
            if enough {
                evidence.wanting = Some(Reason::Stale);
            } else {
                evidence.needs_ticks = Some((self.of - self.recent.len()) as f64);
            }
        }
        evidence
    }

    fn count(&self, wanted: Period) -> usize {
        self.recent
            .iter()
            .filter(|&&period| period == wanted)
            .count()
    }

    /// A quantile in an open bucket is known to lie beyond its one end, and nothing more.
    fn beyond_open(&self, value: f64, rounding: &Rounding) -> Option<f64> {
        let bucket = rounding.layout.as_ref()?.bucket(value);
        let Some([low, high]) = bucket.filter(|bucket| bucket.iter().any(|end| end.is_infinite()))
        else {
            return Some(value);
        };
        let end = if high.is_infinite() { low } else { high };
        let is_told = match self.limit.side {
            LimitSide::Below => high.is_infinite() == threshold::is_beyond(end, &self.limit),
            LimitSide::Above => low.is_infinite() == threshold::is_beyond(end, &self.limit),
        };
        is_told.then_some(end)
    }

    fn statistic(&self, cell: &Cell) -> Option<f64> {
        match self.kind {
            MetricKind::Latency => {
                let (level, values) = (self.at?.level(), rank::sorted(cell));
                match recorded::buckets_of(cell) {
                    // Linear inside a bucket, as those who write such alarms are used to.
                    Some(rounding) => {
                        let found = censored::quantile(&[&Cells::new(&values, &rounding)], level);
                        found.and_then(|value| self.beyond_open(value, &rounding))
                    }
                    // A breach must not hinge on rounding: `< 800` at p99 asks for the value itself.
                    None => values.quantile(level),
                }
            }
            MetricKind::Ratio => {
                (cell.total > 0).then(|| cell.bad.min(cell.total) as f64 / cell.total as f64)
            }
            MetricKind::Rate => (cell.exposure > 0.0).then(|| cell.bad as f64 / cell.exposure),
            MetricKind::Gauge => {
                let worst = |a: f64, b: f64| match self.limit.side {
                    LimitSide::Below => a.max(b),
                    LimitSide::Above => a.min(b),
                };
                cell.points.iter().map(|&(_, value)| value).reduce(worst)
            }
        }
    }
}
