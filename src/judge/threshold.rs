//! `threshold`: the canary's own measure against an absolute limit, by an exact sequential test.
//!
//! Owns the one-sample counts: values beyond the limit for a quantile, bad of total for a ratio,
//! events per exposure for a rate. The limit itself is the boundary: a fail shows the measure
//! beyond it, a pass shows it kept. Next: `measure`, what is shown; `breach` and `burn_rate`, the
//! alarm forms.
//!
//! A gauge gives one number a tick, the mean of its points, and neighbouring ticks depend on each
//! other. Where the plan says `dispersion: iid`, the signs of ticks against the limit are counted:
//! exact for the median of any law. Otherwise (`envelope`) the studentised mean is held against
//! thresholds for the worst first-order autocorrelation up to 0.8, which takes ticks for roughly
//! Gaussian. Signs are no way out there: sixty of them are worth nine at 0.8.

use serde::{Deserialize, Serialize};

use crate::judge::check::{self, Detail, Evidence, LookAt, Setting};
use crate::judge::forecast::Ahead;
use crate::judge::gauge::{PairedLook, PairedSide};
use crate::judge::measure::{self, Measure, Seen};
use crate::judge::side::{Adjust, Look, Side};
use crate::judge::units::{self, Units};
use crate::judge::verdict::Scale;
use crate::model::Reason;
use crate::plan::{Dispersion, Limit, LimitSide, MetricKind, Quantile};
use crate::stats::buckets::{Layout, closed, is_wide};
use crate::stats::count_law::CountLaw;
use crate::stats::multiscale::WHOLE_RUN_PENALTY;
use crate::window::Cell;

/// Share of values whose side of the limit is not known, beyond which nothing is said: a tenth of what
/// the rarest quantile asks about.
const COARSE_SHARE_MAX: f64 = 1e-4;

/// The limit check of one metric.
#[derive(Debug, Serialize, Deserialize)]
pub struct ThresholdCheck {
    kind: MetricKind,
    at: Option<Quantile>,
    limit: Limit,
    test: Test,
    measure: Measure,
    units: Units,
    clustered: bool,
    /// Buckets that values of the tick were counted in, and of all ticks.
    layout: Layout,
    past: Layout,
    /// Values in a bucket that holds the limit and is too wide to tell on which side they are.
    coarse: u64,
    /// The last such bucket.
    coarse_bucket: Option<[f64; 2]>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Test {
    Count(Box<Side>),
    Mean(Box<PairedSide>),
}

// === impl ThresholdCheck ===

impl ThresholdCheck {
    /// The check of a plan.
    pub fn new(
        setting: &Setting<'_>,
        plan_hash: &str,
        at: Option<Quantile>,
        limit: Limit,
        dispersion: Dispersion,
    ) -> ThresholdCheck {
        let (fail, pass) = (setting.fail_spending(1.0), setting.pass_spending(1.0));
        let seed = setting.seed(plan_hash, "limit");
        let kind = setting.metric.kind;
        let test = if kind == MetricKind::Gauge && dispersion != Dispersion::Iid {
            Test::Mean(Box::new(PairedSide::new(seed, dispersion, fail, pass)))
        } else {
            Test::Count(Box::new(Side::new(seed, fail, pass)))
        };
        ThresholdCheck {
            kind,
            at,
            limit,
            test,
            measure: Measure::new(kind, at, limit.side, setting.looks_planned()),
            units: Units::of_metric(setting.metric),
            clustered: setting.metric.cluster.is_some(),
            layout: Layout::default(),
            past: Layout::default(),
            coarse: 0,
            coarse_bucket: None,
        }
    }

    /// Takes a closed tick; only the canary's cell counts.
    pub fn close(&mut self, cells: &[Cell; 2], setting: &Setting<'_>) {
        let canary = &cells[1];
        let above = self.limit.side == LimitSide::Above;
        self.layout = Layout::default();
        for &[low, high] in &canary.layout {
            self.layout.add(low, high);
            self.past.add(low, high);
        }
        let seen = self.counted(canary);
        match (&mut self.test, self.kind) {
            (Test::Mean(side), _) => {
                let distance = |mean: f64| check::sign(above) * (mean - self.limit.value);
                side.push(measure::mean_point(canary).map(distance));
            }
            (Test::Count(side), MetricKind::Rate) if seen.exposure > 0.0 => {
                let law = CountLaw::poisson(self.limit.value * seen.exposure);
                push_turned(side, seen.breaching as i64, law, above);
            }
            (Test::Count(side), kind) if kind != MetricKind::Rate && seen.all > 0 => {
                let law = CountLaw::binomial(seen.all, boundary_share(kind, self.at, &self.limit));
                side.push_count(seen.breaching as i64, law);
            }
            (Test::Count(side), _) => side.push_empty(),
        }
        let shown = setting.detail == Detail::Full;
        let values = shown.then(|| measure::values_of_cell(self.kind, canary));
        self.measure.push(seen, values.flatten());
        if self.clustered {
            self.add_units(canary);
        }
    }

    /// The side, to be watched after a pass; a gauge's mean has none.
    pub fn side(&mut self) -> Option<&mut Side> {
        match &mut self.test {
            Test::Count(side) => Some(side),
            Test::Mean(_) => None,
        }
    }

    /// Breaching of all observations: for a ratio with a lower limit the good ones are counted
    /// against 1 - limit, so that a high count is always the bad sign.
    fn counted(&mut self, cell: &Cell) -> Seen {
        let limit = &self.limit;
        let above = limit.side == LimitSide::Above;
        let (breaching, all) = match self.kind {
            MetricKind::Latency => (self.breaching_values(cell).min(cell.samples), cell.samples),
            MetricKind::Ratio => {
                let bad = cell.bad.min(cell.total);
                (if above { cell.total - bad } else { bad }, cell.total)
            }
            MetricKind::Rate => (cell.bad, cell.samples),
            MetricKind::Gauge => {
                let mean = measure::mean_point(cell);
                let breaching = mean.is_some_and(|mean| is_beyond(mean, limit));
                (u64::from(breaching), u64::from(mean.is_some()))
            }
        };
        Seen {
            breaching,
            all,
            exposure: cell.exposure,
        }
    }

    fn breaching_values(&mut self, cell: &Cell) -> u64 {
        let mut sum = 0_u64;
        for (i, &value) in cell.values.iter().enumerate() {
            let weight = cell.weights.get(i).copied().unwrap_or(1);
            let share = self.share_beyond(value);
            let breaching = if share == 0.0 {
                0
            } else if share == 1.0 {
                weight
            } else {
                let bucket = self.layout.bucket(value);
                if let Some(bucket) = bucket.filter(|bucket| is_wide(*bucket, self.limit.value)) {
                    self.coarse = self.coarse.saturating_add(weight);
                    self.coarse_bucket = Some(bucket);
                }
                libm::round(weight as f64 * share) as u64
            };
            sum = sum.saturating_add(breaching);
        }
        sum
    }

    /// Which share of what was recorded as this value breaches the limit: none or all of it, but
    /// for a bucket with the limit inside.
    fn share_beyond(&self, value: f64) -> f64 {
        let Some(bucket) = self.layout.bucket(value) else {
            return f64::from(u8::from(is_beyond(value, &self.limit)));
        };
        let limit = self.limit.value;
        let is_inside = bucket[0] < limit && limit < bucket[1];
        let above = if is_inside {
            // Of an open bucket nobody knows; a share that is neither none nor all says so.
            let [low, high] = closed(bucket);
            ((high - limit) / (high - low)).clamp(0.01, 0.99)
        } else {
            f64::from(u8::from(bucket[0] >= limit))
        };
        match self.limit.side {
            LimitSide::Below => above,
            LimitSide::Above => 1.0 - above,
        }
    }

    fn add_units(&mut self, canary: &Cell) {
        for (i, (&value, &unit)) in canary.values.iter().zip(&canary.units).enumerate() {
            let weight = canary.weights.get(i).copied().unwrap_or(1) as f64;
            let share = self.share_beyond(value);
            self.units.add(unit, weight, weight * share);
        }
        for (&unit, &(bad, total)) in &canary.by_unit {
            let counted = if self.limit.side == LimitSide::Above {
                total - bad.min(total)
            } else {
                bad
            };
            self.units.add(unit, total as f64, counted as f64);
        }
        self.units.close_tick();
    }

    /// Looks at the run so far.
    pub fn find(&mut self, setting: &Setting<'_>, at: &mut LookAt<'_>) -> Evidence {
        let mut evidence = Evidence::none(Scale::Value);
        evidence.tolerance = Some(self.limit.value);
        evidence.window = self.measure.ticks();
        if self.coarse as f64 > COARSE_SHARE_MAX * self.measure.run().all as f64 {
            evidence.wants_narrower(self.coarse_bucket);
            return evidence;
        }
        evidence.units = units::of_the_run(setting.metric, [0, self.units.len()]);
        let Some(adjust) = self.adjust(setting.check.require_units) else {
            evidence.wanting = Some(Reason::NeedsUnits);
            return evidence;
        };
        let full = setting.detail == Detail::Full;
        if full && adjust.factor > 1.0 {
            let factors = &mut evidence.factors;
            factors.insert(units::factor_name(setting.metric).to_owned(), adjust.factor);
        }
        let ticks = self.measure.ticks();
        let ahead = match &mut self.test {
            Test::Count(side) => {
                let look = side.look(adjust, at.scratch);
                (evidence.fail, evidence.pass) = (look.fail, look.pass);
                if full {
                    self.describe_counts(&mut evidence, setting, adjust, &look);
                }
                let (fail, pass) = (setting.fail_spending(1.0), setting.pass_spending(1.0));
                Ahead::of(&look, ticks, &fail, &pass)
            }
            Test::Mean(side) => {
                let look = side.look(at.scratch);
                let ahead = side.ahead(&look);
                (evidence.fail, evidence.pass) = (look.fail, look.pass);
                if full {
                    self.describe_mean(&mut evidence, &look);
                }
                ahead
            }
        };
        if full && !evidence.fail && !evidence.pass {
            evidence.needs_ticks = ahead.ticks();
        }
        evidence
    }

    /// The window that speaks, with the interval of the test that spoke; otherwise the whole run,
    /// with its confidence sequence.
    fn describe_counts(
        &self,
        evidence: &mut Evidence,
        setting: &Setting<'_>,
        adjust: Adjust,
        look: &Look,
    ) {
        evidence.interval = match look.peak.filter(|_| look.crossing) {
            Some(peak) => {
                evidence.window = peak.window;
                let bound = look.fail_bound + peak.z - peak.statistic;
                self.measure.interval_of_window(peak.window, adjust, bound)
            }
            // Nobody knows what a confidence sequence becomes under a design effect.
            None if adjust.factor > 1.0 => {
                let bound = look.fail_bound + WHOLE_RUN_PENALTY;
                self.measure
                    .interval_of_window(evidence.window, adjust, bound)
            }
            None => {
                let delta = setting.fail_spending(1.0).level;
                self.measure.interval_of_run(delta)
            }
        };
        evidence.estimate = self.measure.estimate(evidence.window);
        // What is recorded as the middle of its bucket may be anywhere in it.
        for (end, value) in evidence.interval.iter_mut().enumerate() {
            let bucket = value.and_then(|value| self.past.bucket(value));
            if let Some(bucket) = bucket {
                *value = Some(bucket[end]).filter(|value| value.is_finite());
            }
        }
        let shown = match (look.crossing, look.pass) {
            (true, _) => Some(self.limit.side == LimitSide::Below),
            (false, true) => Some(self.limit.side == LimitSide::Above),
            _ => None,
        };
        if let Some(above_is_shown) = shown {
            agree(&mut evidence.interval, self.limit.value, above_is_shown);
        }
    }

    fn describe_mean(&self, evidence: &mut Evidence, look: &PairedLook) {
        let Test::Mean(side) = &self.test else { return };
        let sign = check::sign(self.limit.side == LimitSide::Above);
        let mut penalty = WHOLE_RUN_PENALTY;
        if let Some(peak) = look.peak.filter(|_| look.fail) {
            evidence.window = peak.window;
            penalty = peak.z - peak.statistic;
        }
        let Some((mean, error)) = side.moments(evidence.window) else {
            return;
        };
        let show = |number: f64| self.limit.value + sign * number;
        let end = |bound: f64, number: f64| bound.is_finite().then(|| show(number));
        evidence.estimate = Some(show(mean));
        let ends = [
            end(look.fail_bound, mean - (look.fail_bound + penalty) * error),
            end(look.pass_bound, mean + look.pass_bound * error),
        ];
        evidence.interval = if sign < 0.0 { [ends[1], ends[0]] } else { ends };
    }

    fn adjust(&self, required: u32) -> Option<Adjust> {
        if !self.clustered || self.measure.run().all == 0 {
            return Some(Adjust::NONE);
        }
        let share = self.units.mean();
        let null = share * (1.0 - share) / self.units.count().max(1.0);
        units::adjust(&[(&self.units, null)], required)
    }
}

// === functions ===

/// A confidence sequence and the exact test rest on different bounds; where the test has shown a
/// side of the limit, the interval says so too.
fn agree(interval: &mut [Option<f64>; 2], limit: f64, above_is_shown: bool) {
    let end = usize::from(!above_is_shown);
    let tightest = |shown: f64| {
        if above_is_shown {
            shown.max(limit)
        } else {
            shown.min(limit)
        }
    };
    interval[end] = Some(interval[end].map_or(limit, tightest));
}

/// Whether a value breaches the limit; a value on it does.
pub(super) fn is_beyond(value: f64, limit: &Limit) -> bool {
    match limit.side {
        LimitSide::Below => value >= limit.value,
        LimitSide::Above => value <= limit.value,
    }
}

/// Share of breaching observations at the limit: half of a gauge's ticks where it is the median.
fn boundary_share(kind: MetricKind, at: Option<Quantile>, limit: &Limit) -> f64 {
    match (kind, at.map(Quantile::level), limit.side) {
        (MetricKind::Gauge, ..) => 0.5,
        (_, Some(level), LimitSide::Below) => 1.0 - level,
        (_, Some(level), LimitSide::Above) => level,
        (_, None, LimitSide::Below) => limit.value,
        (_, None, LimitSide::Above) => 1.0 - limit.value,
    }
}

fn push_turned(side: &mut Side, count: i64, law: CountLaw, turned: bool) {
    if turned {
        side.push_count(-count, law.negated());
    } else {
        side.push_count(count, law);
    }
}
