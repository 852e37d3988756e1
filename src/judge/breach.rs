//! `threshold` with `breach`: M breaching ticks of the last N, as alarms are written.
//!
//! Owns the alarm form: each tick's own statistic against the limit, with four policies for
//! ticks without data. It is a policy, not a test: it spends no alpha and promises nothing, and
//! its findings say so. Next: `threshold`, the form that tests.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::judge::check::{Evidence, Setting};
use crate::judge::statistic::{self, TickQuantile};
use crate::judge::threshold;
use crate::judge::verdict::Scale;
use crate::model::Reason;
use crate::plan::{Limit, LimitSide, MetricKind, NoData, Quantile};
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
    fn known(&self, found: TickQuantile) -> Option<f64> {
        let Some([low, high]) = found.open else {
            return Some(found.value);
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
                statistic::quantile(cell, self.at?.level()).and_then(|found| self.known(found))
            }
            MetricKind::Ratio | MetricKind::Rate => statistic::of_tick(self.kind, self.at, cell),
            // Any point may break the limit.
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
