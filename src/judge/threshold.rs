//! `threshold`: the canary's own measure against an absolute limit, by an exact sequential test.
//!
//! Owns the one-sample counts: values beyond the limit for a quantile, bad of total for a ratio,
//! events per exposure for a rate, and the studentised mean for a gauge. The limit itself is the
//! boundary: a fail shows the measure beyond it, a pass shows it kept. Next: `breach`, the alarm
//! form.

use crate::judge::check::{self, Detail, Evidence, LookAt, Setting};
use crate::judge::gauge::PairedSide;
use crate::judge::rank;
use crate::judge::side::{Adjust, Side};
use crate::judge::units::{self, Units};
use crate::judge::verdict::Scale;
use crate::model::Reason;
use crate::plan::{Dispersion, Limit, LimitSide, MetricKind, Quantile};
use crate::stats::count_law::CountLaw;
use crate::stats::mixture;
use crate::stats::multiscale::WHOLE_RUN_PENALTY;
use crate::stats::rank::Sorted;
use crate::window::{Cell, coarse};

/// Distinct values kept for the quantile that is shown.
const SHOWN_DISTINCT_MAX: usize = 16_384;

/// The limit check of one metric.
#[derive(Debug)]
pub struct ThresholdCheck {
    kind: MetricKind,
    at: Option<Quantile>,
    limit: Limit,
    test: Test,
    /// Breaching and all observations of the run.
    seen: (u64, u64),
    exposure: f64,
    first_exposure: f64,
    values: Sorted,
    units: Units,
    clustered: bool,
    ticks: usize,
}

#[derive(Debug)]
enum Test {
    Count(Box<Side>),
    Mean(PairedSide),
}

// === impl ThresholdCheck ===

impl ThresholdCheck {
    /// The check of a plan.
    pub fn new(
        setting: &Setting<'_>,
        plan_hash: &str,
        at: Option<Quantile>,
        limit: Limit,
    ) -> ThresholdCheck {
        let (fail, pass) = (setting.fail_spending(1.0), setting.pass_spending(1.0));
        let seed = setting.seed(plan_hash, "limit");
        let test = match setting.metric.kind {
            MetricKind::Gauge => {
                Test::Mean(PairedSide::new(seed, Dispersion::Envelope, fail, pass))
            }
            _ => Test::Count(Box::new(Side::new(seed, fail, pass))),
        };
        ThresholdCheck {
            kind: setting.metric.kind,
            at,
            limit,
            test,
            seen: (0, 0),
            exposure: 0.0,
            first_exposure: 0.0,
            values: Sorted::default(),
            units: Units::of_metric(setting.metric),
            clustered: setting.metric.cluster.is_some(),
            ticks: 0,
        }
    }

    /// Takes a closed tick; only the canary's cell counts.
    pub fn close(&mut self, cells: &[Cell; 2], _setting: &Setting<'_>) {
        self.ticks += 1;
        let canary = &cells[1];
        let above = self.limit.side == LimitSide::Above;
        match (&mut self.test, self.kind) {
            (Test::Mean(side), _) => {
                let points = &canary.points;
                let count = points.len() as f64;
                let mean = points.iter().map(|&(_, value)| value).sum::<f64>() / count;
                side.push((count > 0.0).then(|| check::sign(above) * (mean - self.limit.value)));
                self.seen.1 = self.seen.1.saturating_add(points.len() as u64);
            }
            (Test::Count(side), MetricKind::Rate) => {
                if canary.exposure > 0.0 {
                    let law = CountLaw::poisson(self.limit.value * canary.exposure);
                    push_turned(side, canary.bad as i64, law, above);
                } else {
                    side.push_empty();
                }
                self.seen.0 = self.seen.0.saturating_add(canary.bad);
                self.exposure += canary.exposure;
                if self.first_exposure == 0.0 {
                    self.first_exposure = canary.exposure;
                }
            }
            (Test::Count(side), _) => {
                let (bad, total) = counted(self.kind, canary, &self.limit);
                if total > 0 {
                    let law = CountLaw::binomial(total, boundary_share(self.at, &self.limit));
                    // For a ratio with a lower limit, the good are counted; see `counted`.
                    side.push_count(bad as i64, law);
                } else {
                    side.push_empty();
                }
                self.seen.0 = self.seen.0.saturating_add(bad);
                self.seen.1 = self.seen.1.saturating_add(total);
            }
        }
        self.remember(canary);
    }

    fn remember(&mut self, canary: &Cell) {
        if self.kind == MetricKind::Latency {
            let values = self.values.merge(&rank::sorted(canary));
            let crowded = values.values().len() > SHOWN_DISTINCT_MAX;
            self.values = if crowded {
                values.mapped(coarse)
            } else {
                values
            };
        }
        if !self.clustered {
            return;
        }
        for (i, (&value, &unit)) in canary.values.iter().zip(&canary.units).enumerate() {
            let weight = canary.weights.get(i).copied().unwrap_or(1) as f64;
            let breaching = is_beyond(value, &self.limit);
            self.units
                .add(unit, weight, if breaching { weight } else { 0.0 });
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
        evidence.window = self.ticks;
        evidence.units = units::of_the_run(setting.metric, [0, self.units.len()]);
        let Some(adjust) = self.adjust(setting.check.require_units) else {
            evidence.wanting = Some(Reason::NeedsUnits);
            return evidence;
        };
        let (z_whole, fail_bound, pass_bound);
        match &mut self.test {
            Test::Count(side) => {
                let look = side.look(adjust, at.scratch);
                (evidence.fail, evidence.pass) = (look.fail, look.pass);
                (z_whole, fail_bound, pass_bound) =
                    (look.z_whole, look.fail_bound, look.pass_bound);
                if let Some(peak) = look.peak.filter(|_| look.fail) {
                    evidence.window = peak.window;
                }
            }
            Test::Mean(side) => {
                let look = side.look(at.scratch);
                (evidence.fail, evidence.pass) = (look.fail, look.pass);
                (z_whole, fail_bound, pass_bound) =
                    (look.z_whole, look.fail_bound, look.pass_bound);
                if let Some(peak) = look.peak.filter(|_| look.fail) {
                    evidence.window = peak.window;
                }
            }
        }
        if setting.detail == Detail::Full {
            if adjust.factor > 1.0 {
                evidence
                    .factors
                    .insert(units::factor_name(setting.metric).to_owned(), adjust.factor);
            }
            self.describe(&mut evidence, setting, fail_bound, pass_bound);
            if !evidence.fail && !evidence.pass {
                let floor = crate::stats::special::normal_quantile(1.0 - setting.plan.beta);
                let bound = if pass_bound.is_finite() {
                    pass_bound
                } else {
                    floor
                };
                evidence.needs_ticks = check::ticks_to_reach(-z_whole, bound, self.ticks);
            }
        }
        evidence
    }

    fn describe(
        &self,
        evidence: &mut Evidence,
        setting: &Setting<'_>,
        fail_bound: f64,
        pass_bound: f64,
    ) {
        let delta = setting.fail_spending(1.0).level;
        match (&self.test, self.kind) {
            (Test::Mean(side), _) => {
                let sign = check::sign(self.limit.side == LimitSide::Above);
                let Some((mean, error)) = side.moments(evidence.window) else {
                    return;
                };
                let show = |number: f64| self.limit.value + sign * number;
                evidence.estimate = Some(show(mean));
                let ends = [
                    fail_bound
                        .is_finite()
                        .then(|| show(mean - (fail_bound + WHOLE_RUN_PENALTY) * error)),
                    pass_bound
                        .is_finite()
                        .then(|| show(mean + pass_bound * error)),
                ];
                evidence.interval = if sign < 0.0 { [ends[1], ends[0]] } else { ends };
            }
            (_, MetricKind::Latency) => {
                let Some(level) = self.at.map(Quantile::level) else {
                    return;
                };
                evidence.estimate = self.values.quantile(level).filter(|v| v.is_finite());
                evidence.interval = self.quantile_interval(level, delta);
            }
            (_, MetricKind::Rate) => {
                if self.exposure > 0.0 {
                    evidence.estimate = Some(self.seen.0 as f64 / self.exposure);
                    let prior = self.first_exposure.max(f64::MIN_POSITIVE);
                    let [low, high] =
                        mixture::rate_bounds(self.seen.0, self.exposure, delta, prior);
                    evidence.interval = [Some(low), Some(high).filter(|high| high.is_finite())];
                }
            }
            _ => {
                if self.seen.1 > 0 {
                    let above = self.limit.side == LimitSide::Above;
                    let turn = |share: f64| if above { 1.0 - share } else { share };
                    evidence.estimate = Some(turn(self.seen.0 as f64 / self.seen.1 as f64));
                    let [low, high] = mixture::proportion_bounds(self.seen.0, self.seen.1, delta);
                    evidence.interval = if above {
                        [Some(turn(high)), Some(turn(low))]
                    } else {
                        [Some(low), Some(high)]
                    };
                }
            }
        }
        self.agree_with_verdict(evidence);
    }

    /// The interval and the test rest on different bounds; where the test has shown a side of the
    /// limit, the interval says so too.
    fn agree_with_verdict(&self, evidence: &mut Evidence) {
        let limit = self.limit.value;
        let above_is_shown = evidence.fail == (self.limit.side == LimitSide::Below);
        if !evidence.fail && !evidence.pass {
            return;
        }
        let end = if above_is_shown { 0 } else { 1 };
        let tightest = |shown: f64| {
            if above_is_shown {
                shown.max(limit)
            } else {
                shown.min(limit)
            }
        };
        evidence.interval[end] = Some(evidence.interval[end].map_or(limit, tightest));
    }

    fn adjust(&self, required: u32) -> Option<Adjust> {
        if !self.clustered || self.seen.1 == 0 {
            return Some(Adjust::NONE);
        }
        let share = self.units.mean();
        let null = share * (1.0 - share) / self.units.count().max(1.0);
        units::adjust(&[(&self.units, null)], required)
    }

    /// Values at which the run's distribution function cannot be told from `level`.
    fn quantile_interval(&self, level: f64, delta: f64) -> [Option<f64>; 2] {
        let all = self.values.total();
        let limit = -libm::log(delta);
        let inside =
            |below: u64| mixture::beta_binomial_log_e(below as f64, all as f64, level) < limit;
        let (mut below, mut ends) = (0_u64, [None, None]);
        let values = self.values.values().iter().zip(self.values.weights());
        for (&value, &weight) in values {
            let upto = below + weight;
            if ends[0].is_none() && (inside(upto) || upto as f64 >= level * all as f64) {
                ends[0] = Some(value).filter(|value| value.is_finite());
            }
            if below as f64 >= level * all as f64 && !inside(below) {
                ends[1] = Some(value).filter(|value| value.is_finite());
                break;
            }
            below = upto;
        }
        ends
    }
}

/// Whether a value breaches the limit; a value on it does.
pub(super) fn is_beyond(value: f64, limit: &Limit) -> bool {
    match limit.side {
        LimitSide::Below => value >= limit.value,
        LimitSide::Above => value <= limit.value,
    }
}

/// Breaching of all observations: for a ratio with a lower limit the good ones are counted
/// against 1 - limit, so that a high count is always the bad sign.
fn counted(kind: MetricKind, cell: &Cell, limit: &Limit) -> (u64, u64) {
    match kind {
        MetricKind::Latency => {
            let mut breaching = 0;
            for (i, &value) in cell.values.iter().enumerate() {
                if is_beyond(value, limit) {
                    let weight = cell.weights.get(i).copied().unwrap_or(1);
                    breaching = u64::saturating_add(breaching, weight);
                }
            }
            (breaching, cell.samples)
        }
        _ => {
            let bad = cell.bad.min(cell.total);
            (
                if limit.side == LimitSide::Above {
                    cell.total - bad
                } else {
                    bad
                },
                cell.total,
            )
        }
    }
}

/// Share of breaching observations at the limit.
fn boundary_share(at: Option<Quantile>, limit: &Limit) -> f64 {
    match (at.map(Quantile::level), limit.side) {
        (Some(level), LimitSide::Below) => 1.0 - level,
        (Some(level), LimitSide::Above) => level,
        (None, LimitSide::Below) => limit.value,
        (None, LimitSide::Above) => 1.0 - limit.value,
    }
}

fn push_turned(side: &mut Side, count: i64, law: CountLaw, turned: bool) {
    if turned {
        side.push_count(-count, law.negated());
    } else {
        side.push_count(count, law);
    }
}
