//! Judging: closed ticks in, findings and a verdict out.
//!
//! Owns the join of a plan's checks: which file answers which question, what may hold a pass
//! back (time, samples, missing data), and the one rule from findings to a verdict: any fail
//! fails, every gating check passing passes, everything else is inconclusive. It is pure, and it
//! must not know of analyses, requests or clocks. Start at [`Judge::close_and_look`]; then `side`
//! for the sequential test that all checks share, and one file for each kind of check. `kayenta` is
//! another judge altogether, for those who come from there.

pub mod assumptions;
pub mod calibrate;
pub mod check;
pub mod grid;
pub mod kayenta;
pub mod scored;
pub mod scratch;
pub mod sentence;
pub mod side;
pub mod units;
pub mod verdict;
pub mod watch;

mod absolute;
mod beyond;
mod breach;
mod burn_rate;
mod counts;
mod cut;
mod dispersion;
mod forecast;
mod gauge;
mod laws;
mod measure;
mod needed;
mod overall;
mod pass_gaussian;
mod rank;
pub mod received;
mod recorded;
mod series;
mod spending;
mod statistic;
mod strata;
mod tail;
mod tally;
mod threshold;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{Millis, Outcome, Reason};
use crate::plan::{MetricKind, Plan, Question, ThresholdForm};
use crate::window::{Cell, ClosedTick};
pub use overall::score;

use check::{Detail, Evidence, LookAt, MISSING_SHARE_MAX, Setting};
use received::Received;
use scratch::Scratch;
use verdict::{Finding, PerArm};

/// Revision of everything that can change a verdict's bytes: raise it with every such change.
pub const ENGINE_REVISION: u32 = 4;

/// Difference of the arms' missing shares from which they count as different.
const MISSING_DIFFERENCE: f64 = 0.1;
/// Share of missing values above which a check is inconclusive in any case.
const MISSING_SHARE_HALF: f64 = 0.5;
/// Ticks without samples, after there were some, from which an arm is stale.
const STALE_TICKS: usize = 4;
/// Time without samples from which an arm is stale, however short the ticks.
const STALE_AFTER: Millis = 10_000;

/// The checks of one analysis and what they have seen.
#[derive(Debug, Serialize, Deserialize)]
pub struct Judge {
    /// Given back by [`Judge::settle`]: a saved one has none of its own.
    #[serde(skip, default = "Plan::to_come")]
    plan: Arc<Plan>,
    detail: Detail,
    checks: Vec<OneCheck>,
    received: Vec<Received>,
    ticks: usize,
}

/// The outcome of a look over all checks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// pass, fail or inconclusive.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
    /// One finding a check, in the plan's order.
    #[serde(with = "verdict::saved_findings")]
    pub findings: Vec<Finding>,
    /// Alpha spent so far, as a probability.
    pub spent: f64,
}

#[derive(Debug, Serialize, Deserialize)]
enum OneCheck {
    Rank(Box<rank::RankCheck>),
    Tail(Box<tail::TailCheck>),
    Counts(Box<counts::CountCheck>),
    Gauge(Box<gauge::GaugeCheck>),
    Threshold(Box<threshold::ThresholdCheck>),
    Breach(breach::BreachCheck),
    BurnRate(burn_rate::BurnRateCheck),
    Classify(Box<scored::ClassifyCheck>),
}

// === impl Judge ===

impl Judge {
    /// The judge of an analysis on this plan.
    pub fn new(plan: Arc<Plan>, detail: Detail) -> Judge {
        let hash = plan.hash();
        Judge::seeded(plan, detail, &hash)
    }

    /// As [`Judge::new`], but with null paths seeded by `seed` instead of the plan's hash, for
    /// simulations that need fresh thresholds in every repetition.
    pub fn seeded(plan: Arc<Plan>, detail: Detail, seed: &str) -> Judge {
        let checks = (0..plan.checks.len())
            .map(|index| OneCheck::new(&setting(&plan, index, detail), seed))
            .collect();
        let received = vec![Received::default(); plan.metrics.len()];
        Judge {
            plan,
            detail,
            checks,
            received,
            ticks: 0,
        }
    }

    /// Gives a judge that was saved its plan back.
    ///
    /// # Errors
    /// What is not of that plan.
    pub fn settle(&mut self, plan: Arc<Plan>) -> Result<(), &'static str> {
        let checks = self.checks.len();
        if self.received.len() != plan.metrics.len() {
            return Err("a judge has other metrics than its plan");
        }
        if checks != 0 && checks != plan.checks.len() {
            return Err("a judge has other checks than its plan");
        }
        self.plan = plan;
        Ok(())
    }

    /// Takes a closed tick and looks.
    pub fn close_and_look(&mut self, tick: &ClosedTick, scratch: &mut Scratch) -> Judgement {
        self.ticks += 1;
        for (received, cells) in self.received.iter_mut().zip(&tick.cells) {
            received.add(cells);
        }
        let plan = self.plan.clone();
        for (index, check) in self.checks.iter_mut().enumerate() {
            let setting = setting(&plan, index, self.detail);
            check.close(&tick.cells[setting.check.metric], &setting);
        }
        self.look(scratch)
    }

    fn look(&mut self, scratch: &mut Scratch) -> Judgement {
        let plan = self.plan.clone();
        let mut findings = Vec::with_capacity(self.checks.len());
        for index in 0..self.checks.len() {
            let setting = setting(&plan, index, self.detail);
            let mut at = LookAt {
                look: self.ticks,
                scratch,
            };
            let evidence = self.checks[index].find(&setting, &mut at);
            findings.push(self.finding(&setting, evidence));
        }
        let (outcome, reason) = match &plan.kayenta {
            _ if !self.received_anything() => (Outcome::Inconclusive, Reason::NoTelemetry),
            Some(scoring) => scored::of_findings(&plan, scoring, &findings, self.ticks),
            None => overall::of_findings(&findings),
        };
        Judgement {
            outcome,
            reason,
            findings,
            spent: self.spent(),
        }
    }

    /// Gives back what the checks have seen: there is no look any more. `plan` asks the same and
    /// may have lost its matchers.
    pub fn forget_history(&mut self, plan: Arc<Plan>) {
        self.plan = plan;
        self.checks = Vec::new();
    }

    /// Looks taken so far.
    pub fn looks(&self) -> usize {
        self.ticks
    }

    /// What each metric received in closed ticks.
    pub fn received(&self) -> &[Received] {
        &self.received
    }

    /// Alpha spent by all gating checks so far.
    pub fn spent(&self) -> f64 {
        (0..self.plan.checks.len())
            .map(|index| setting(&self.plan, index, self.detail))
            .filter(|s| s.check.gating && s.check.question.spends_alpha() && self.ticks > 0)
            .map(|s| {
                let spending = s.fail_spending(1.0);
                let is_beyond = self.ticks > spending.looks_planned;
                spending.cumulative(self.ticks) + if is_beyond { spending.reserve } else { 0.0 }
            })
            // The sum of nothing would be minus zero.
            .fold(0.0, |spent, share| spent + share)
    }

    fn received_anything(&self) -> bool {
        self.received
            .iter()
            .any(|r| r.samples != [0, 0] || r.missing != [0, 0])
    }

    fn finding(&self, setting: &Setting<'_>, evidence: Evidence) -> Finding {
        let received = &self.received[setting.check.metric];
        let (verdict, reason) = self.outcome(setting, &evidence, received);
        let samples = PerArm {
            baseline: received.samples[0],
            canary: received.samples[1],
        };
        let tick_secs = self.plan.tick as f64 / 1000.0;
        let needs = (verdict == Outcome::Inconclusive && self.detail == Detail::Full)
            .then(|| self.needs(setting, &evidence, received))
            .flatten();
        let coarse = evidence.coarse.filter(|_| reason == Reason::CoarseBuckets);
        let mut finding = Finding {
            check: setting.check.name.clone(),
            metric: setting.metric.name.clone(),
            gating: setting.check.gating,
            verdict,
            reason,
            message: String::new(),
            scale: evidence.scale,
            estimate: evidence.estimate,
            interval: evidence.interval,
            tolerance: evidence.tolerance,
            window_secs: evidence.window as f64 * tick_secs,
            other_part: evidence.other_part,
            samples,
            needs,
            units: evidence.units.map(|[baseline, canary]| PerArm {
                baseline: baseline as u64,
                canary: canary as u64,
            }),
            factors: evidence.factors,
            classification: evidence.classification,
            sampled_out: (received.sampled_out != [0, 0]).then_some(PerArm {
                baseline: received.sampled_out[0],
                canary: received.sampled_out[1],
            }),
        };
        if self.detail == Detail::Full {
            finding.message = sentence::of_finding(setting, &finding, coarse);
        }
        finding
    }

    /// What the evidence amounts to once missing data, time and sample counts are weighed.
    fn outcome(
        &self,
        setting: &Setting<'_>,
        evidence: &Evidence,
        received: &Received,
    ) -> (Outcome, Reason) {
        if matches!(setting.check.question, Question::Classify { .. }) {
            return scored::of_label(evidence);
        }
        let is_threshold = !setting.check.question.is_of_both();
        let is_alarm = !setting.check.question.spends_alpha();
        let data = self.data_reason(received, is_threshold);
        // The values that arrived may be the bad ones only: a survivors' tale is no evidence.
        if evidence.fail && (is_alarm || data != Some(Reason::BadData)) {
            let reason = if is_threshold {
                Reason::LimitBreached
            } else {
                Reason::Degraded
            };
            return (Outcome::Fail, reason);
        }
        let arms: &[usize] = if is_threshold { &[1] } else { &[0, 1] };
        // An alarm rule has policies of its own for missing ticks, but silence is never a pass.
        if let Some(reason) = data.filter(|_| !is_alarm || evidence.pass) {
            return (Outcome::Inconclusive, reason);
        }
        if let Some(reason) = evidence.wanting {
            return (Outcome::Inconclusive, reason);
        }
        let few = |minimum: u64| arms.iter().any(|&arm| received.samples[arm] < minimum);
        if evidence.pass {
            let elapsed = self.plan.tick * self.ticks as i64;
            if elapsed < self.plan.min_duration {
                return (Outcome::Inconclusive, Reason::NeedsTime);
            }
            if few(setting.check.min_samples) && !is_alarm {
                return (Outcome::Inconclusive, Reason::NeedsSamples);
            }
            let reason = if is_threshold {
                Reason::WithinLimit
            } else {
                Reason::WithinTolerance
            };
            return (Outcome::Pass, reason);
        }
        let waits = self.plan.tick * (self.ticks as i64) < self.plan.min_duration
            && !few(setting.check.min_samples);
        (
            Outcome::Inconclusive,
            if waits {
                Reason::NeedsTime
            } else {
                Reason::NeedsSamples
            },
        )
    }

    /// A reason that lies in the data and not in the canary.
    fn data_reason(&self, received: &Received, is_threshold: bool) -> Option<Reason> {
        let [baseline, canary] =
            [0, 1].map(|arm| received.samples[arm].saturating_add(received.sampled_out[arm]));
        if !self.received_anything() {
            return Some(Reason::NoTelemetry);
        }
        if is_threshold && canary == 0 && received.missing[1] == 0 {
            return Some(Reason::CanaryMissing);
        }
        if !is_threshold {
            match (baseline + received.missing[0], canary + received.missing[1]) {
                (0, 0) => return Some(Reason::NoTraffic),
                (0, _) => return Some(Reason::BaselineMissing),
                (_, 0) => return Some(Reason::CanaryMissing),
                _ => {}
            }
        }
        let share = [0, 1].map(|arm| received.missing_share(arm));
        let worst = if is_threshold {
            share[1]
        } else {
            share[0].max(share[1])
        };
        let differ = is_threshold || (share[0] - share[1]).abs() >= MISSING_DIFFERENCE;
        if worst > MISSING_SHARE_HALF || (worst > MISSING_SHARE_MAX && differ) {
            return Some(Reason::BadData);
        }
        let arms: &[usize] = if is_threshold { &[1] } else { &[0, 1] };
        let ticks_min = STALE_TICKS.max((STALE_AFTER / self.plan.tick) as usize);
        let stale = self.plan.looks() > ticks_min
            && arms
                .iter()
                .any(|&arm| received.silent_ticks[arm] >= ticks_min);
        stale.then_some(Reason::Stale)
    }
}

// === impl OneCheck ===

impl OneCheck {
    fn new(setting: &Setting<'_>, seed: &str) -> OneCheck {
        match setting.check.question {
            Question::Compare {
                at: Some(at),
                worse,
                tolerance,
                ..
            } => OneCheck::Tail(Box::new(tail::TailCheck::new(
                setting, seed, at, worse, tolerance,
            ))),
            Question::Compare {
                at: None,
                worse,
                tolerance,
                dispersion,
            } => match setting.metric.kind {
                MetricKind::Latency => OneCheck::Rank(Box::new(rank::RankCheck::new(
                    setting, seed, worse, tolerance,
                ))),
                MetricKind::Ratio | MetricKind::Rate => OneCheck::Counts(Box::new(
                    counts::CountCheck::new(setting, seed, worse, tolerance),
                )),
                MetricKind::Gauge => OneCheck::Gauge(Box::new(gauge::GaugeCheck::new(
                    setting, seed, worse, tolerance, dispersion,
                ))),
            },
            Question::Classify { at, settings } => {
                OneCheck::Classify(Box::new(scored::ClassifyCheck::new(setting, at, settings)))
            }
            Question::Threshold {
                at,
                limit,
                form,
                no_data,
                dispersion,
            } => match form {
                ThresholdForm::Exact => OneCheck::Threshold(Box::new(
                    threshold::ThresholdCheck::new(setting, seed, at, limit, dispersion),
                )),
                ThresholdForm::Breach { periods, of } => OneCheck::Breach(
                    breach::BreachCheck::new(setting, at, limit, (periods, of), no_data),
                ),
                ThresholdForm::BurnRate(rule) => {
                    OneCheck::BurnRate(burn_rate::BurnRateCheck::new(setting, rule, no_data))
                }
            },
        }
    }

    fn close(&mut self, cells: &[Cell; 2], setting: &Setting<'_>) {
        match self {
            OneCheck::Rank(check) => check.close(cells, setting),
            OneCheck::Tail(check) => check.close(cells, setting),
            OneCheck::Counts(check) => check.close(cells, setting),
            OneCheck::Gauge(check) => check.close(cells),
            OneCheck::Threshold(check) => check.close(cells, setting),
            OneCheck::Breach(check) => check.close(cells),
            OneCheck::BurnRate(check) => check.close(cells),
            OneCheck::Classify(check) => check.close(cells),
        }
    }

    fn find(&mut self, setting: &Setting<'_>, at: &mut LookAt<'_>) -> Evidence {
        match self {
            OneCheck::Rank(check) => check.find(setting, at),
            OneCheck::Tail(check) => check.find(setting, at),
            OneCheck::Counts(check) => check.find(setting, at),
            OneCheck::Gauge(check) => check.find(setting, at),
            OneCheck::Threshold(check) => check.find(setting, at),
            OneCheck::Breach(check) => check.find(),
            OneCheck::BurnRate(check) => check.find(setting),
            OneCheck::Classify(check) => check.find(setting, at),
        }
    }
}

// === functions ===

fn setting(plan: &Plan, index: usize, detail: Detail) -> Setting<'_> {
    let check = &plan.checks[index];
    Setting {
        plan,
        check,
        metric: &plan.metrics[check.metric],
        detail,
    }
}
