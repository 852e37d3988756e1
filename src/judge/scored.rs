//! Kayenta's judge as the judge of a plan: a value a tick, a label a check, one score.
//!
//! Owns which values it is given, when it is asked, and what its score amounts to as a verdict. Its
//! rules are `judge::kayenta`'s. It promises nothing: no error rate is kept, whatever is written of
//! alpha elsewhere. Labels and scores are Kayenta's; three things of the verdict are not, which
//! `docs/kayenta.md` says too: a pass is told at the last judgement only, not where a gating check has
//! no data, and a score that nothing but missing data brought down is inconclusive.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::judge::check::{Evidence, LookAt, Setting};
use crate::judge::kayenta::score::{
    GroupScore, RunLabel, RunScore, RunThresholds, Scored, Weights, Zeroed, score,
};
use crate::judge::kayenta::{self, Label, Settings};
use crate::judge::verdict::{Classification, Finding, PerArm, Scale};
use crate::judge::{sentence, statistic};
use crate::model::{Outcome, Reason};
use crate::plan::kayenta::Scoring;
use crate::plan::{MetricKind, Plan, Quantile};
use crate::window::Cell;

/// One metric's values so far, and what was made of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClassifyCheck {
    kind: MetricKind,
    at: Option<Quantile>,
    settings: Settings,
    /// By arm; NaN for a tick without data.
    values: [Vec<f64>; 2],
    judged: Option<Judged>,
}

/// The last judgement.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Judged {
    classification: Classification,
    /// Of a label that wants data, where they are missing.
    missing: Option<Reason>,
    estimate: Option<f64>,
    interval: [Option<f64>; 2],
    tolerance: Option<f64>,
    window: usize,
}

// === impl ClassifyCheck ===

impl ClassifyCheck {
    /// Nothing seen yet.
    pub fn new(setting: &Setting<'_>, at: Option<Quantile>, settings: Settings) -> ClassifyCheck {
        ClassifyCheck {
            kind: setting.metric.kind,
            at,
            settings,
            values: [Vec::new(), Vec::new()],
            judged: None,
        }
    }

    /// Takes a closed tick: each arm's own value of it.
    pub fn close(&mut self, cells: &[Cell; 2]) {
        for (values, cell) in self.values.iter_mut().zip(cells) {
            let value = statistic::of_tick(self.kind, self.at, cell);
            values.push(value.filter(|value| value.is_finite()).unwrap_or(f64::NAN));
        }
    }

    /// The evidence of the last judgement; where one is due, it is made now.
    pub fn find(&mut self, setting: &Setting<'_>, at: &LookAt<'_>) -> Evidence {
        let (looks, tick) = (setting.plan.looks(), setting.plan.tick);
        let once = || Cow::Owned(Scoring::once(setting.plan.horizon));
        let scoring = setting.plan.kayenta.as_ref();
        let scoring = scoring.map_or_else(once, Cow::Borrowed);
        if scoring.is_due(at.look, looks, tick) {
            let lookback = scoring.lookback.map(|lookback| (lookback / tick) as usize);
            self.judge(lookback, &setting.check.groups);
        }
        let mut evidence = Evidence::none(Scale::Difference);
        evidence.needs_ticks =
            Some((scoring.next(at.look, looks, tick) - at.look) as f64).filter(|more| *more > 0.0);
        let Some(judged) = &self.judged else {
            return evidence;
        };
        evidence.estimate = judged.estimate;
        evidence.interval = judged.interval;
        evidence.tolerance = judged.tolerance;
        evidence.window = judged.window;
        evidence.wanting = judged.missing;
        evidence.classification = Some(judged.classification.clone());
        evidence
    }

    fn judge(&mut self, lookback: Option<usize>, groups: &[String]) {
        let window = lookback.map_or(usize::MAX, |ticks| ticks.max(1));
        let [baseline, canary] = &self.values;
        let window = window.min(canary.len());
        let [baseline, canary] = [baseline, canary].map(|all| &all[all.len() - window..]);
        let judged = kayenta::judge_pair(baseline, canary, &self.settings);
        let found = judged.classified;
        let is_missing = |values: &[f64]| values.iter().all(|value| value.is_nan());
        let missing = match (found.label, is_missing(baseline), is_missing(canary)) {
            (Label::Nodata | Label::NodataFailMetric, true, true) => Some(Reason::NoTraffic),
            (Label::Nodata | Label::NodataFailMetric, true, _) => Some(Reason::BaselineMissing),
            (Label::Nodata | Label::NodataFailMetric, ..) => Some(Reason::CanaryMissing),
            (Label::Error, ..) => Some(Reason::BadData),
            _ => None,
        };
        let finite = |value: f64| Some(value).filter(|value| value.is_finite());
        let interval = found.evidence.map(|evidence| evidence.interval);
        self.judged = Some(Judged {
            classification: Classification {
                label: found.label,
                critical: found.critical,
                groups: groups.to_vec(),
                effect_size: found.evidence.and_then(|found| finite(found.effect_size)),
                deviation: found.deviation.and_then(finite),
                measure: self.settings.measure,
                values: PerArm {
                    baseline: judged.baseline,
                    canary: judged.canary,
                },
            },
            missing,
            estimate: interval.and_then(|found| finite(found.estimate)),
            interval: [
                interval.and_then(|found| finite(found.low)),
                interval.and_then(|found| finite(found.high)),
            ],
            tolerance: interval.and_then(|found| {
                let bound = self.settings.tolerance * found.estimate.abs();
                let is_down = found.high < -bound;
                finite(if is_down { -bound } else { bound })
            }),
            window,
        });
    }
}

// === functions ===

/// What the label of a check amounts to by itself.
pub fn of_label(evidence: &Evidence) -> (Outcome, Reason) {
    let Some(found) = &evidence.classification else {
        return (Outcome::Inconclusive, Reason::NeedsTime);
    };
    let missing = evidence.wanting.unwrap_or(Reason::BadData);
    match found.label {
        Label::Pass => (Outcome::Pass, Reason::WithinTolerance),
        Label::High | Label::Low => (Outcome::Fail, Reason::Degraded),
        Label::NodataFailMetric => (Outcome::Fail, missing),
        Label::Nodata | Label::Error => (Outcome::Inconclusive, missing),
    }
}

/// The score of the last judgement, by Kayenta's arithmetic; `None` before the first one.
pub fn run_score(scoring: &Scoring, findings: &[Finding]) -> Option<RunScore> {
    run_of(findings, &scoring.weights)
}

/// The scores of the groups at the last judgement.
pub fn groups_of(findings: &[Finding]) -> Vec<GroupScore> {
    run_of(findings, &Weights::new()).map_or_else(Vec::new, |run| run.groups)
}

/// Kayenta's reason of a score that one of its rules made 0.
pub fn reason_of(findings: &[Finding]) -> Option<String> {
    run_of(findings, &Weights::new())?.reason
}

fn run_of(findings: &[Finding], weights: &Weights) -> Option<RunScore> {
    let found = findings
        .iter()
        .filter_map(|finding| Some((finding, finding.classification.as_ref()?)));
    let told: Vec<String> = found
        .clone()
        .map(|(finding, found)| found.told_of(&finding.check))
        .collect();
    let results: Vec<Scored<'_>> = found
        .zip(&told)
        .map(|((finding, found), reason)| Scored {
            label: found.label,
            critical: found.critical,
            muted: !finding.gating,
            groups: &found.groups,
            reason,
        })
        .collect();
    (!results.is_empty()).then(|| score(&results, weights))
}

/// What the findings of a look amount to: a score below marginal fails at any judgement, one that
/// passes does at the last, where nothing is missing.
pub fn of_findings(
    plan: &Plan,
    scoring: &Scoring,
    findings: &[Finding],
    look: usize,
) -> (Outcome, Reason) {
    let waits = (Outcome::Inconclusive, Reason::NeedsTime);
    let is_due = scoring.is_due(look, plan.looks(), plan.tick);
    let Some(run) = run_score(scoring, findings).filter(|_| is_due) else {
        return waits;
    };
    let is_last = look >= plan.looks();
    match (thresholds(scoring).label(run.score), is_last) {
        (RunLabel::Fail, _) => match culprit(findings, &run) {
            Some(found) if found.verdict == Outcome::Fail => (Outcome::Fail, found.reason),
            // Nothing was shown of the canary: what is missing may be the telemetry.
            Some(missing) => (Outcome::Inconclusive, missing.reason),
            None => (Outcome::Inconclusive, Reason::Marginal),
        },
        (RunLabel::Pass, true) => match missing(findings) {
            Some(missing) => (Outcome::Inconclusive, missing.reason),
            None => (Outcome::Pass, Reason::WithinTolerance),
        },
        (RunLabel::Marginal, true) => (Outcome::Inconclusive, Reason::Marginal),
        (RunLabel::Pass | RunLabel::Marginal, false) => waits,
    }
}

/// The first gating check that could not be judged.
fn missing(findings: &[Finding]) -> Option<&Finding> {
    let mut gating = findings.iter().filter(|finding| finding.gating);
    gating.find(|finding| finding.verdict == Outcome::Inconclusive)
}

/// The check that brought the score down: one that failed, or one that could not be judged where no
/// other did. `None` where the weights alone did.
fn culprit<'f>(findings: &'f [Finding], run: &RunScore) -> Option<&'f Finding> {
    let counts = |finding: &&Finding| {
        let found = finding.classification.as_ref();
        finding.gating && found.is_some_and(|found| !found.groups.is_empty())
    };
    match run.zeroed {
        Some(Zeroed::Critical(number)) => findings.get(number),
        Some(Zeroed::NoData) => missing(findings),
        Some(Zeroed::Weights) | None => {
            let mut counted = findings.iter().filter(counts);
            let failed = counted.find(|finding| finding.verdict == Outcome::Fail);
            failed.or_else(|| missing(findings))
        }
    }
}

fn thresholds(scoring: &Scoring) -> RunThresholds {
    RunThresholds {
        pass: scoring.pass,
        marginal: scoring.marginal,
    }
}

/// One sentence about a whole verdict after so many looks.
pub fn sentence_of(
    plan: &Plan,
    scoring: &Scoring,
    findings: &[Finding],
    verdict: (Outcome, Reason, bool),
    ask: &str,
    looks: usize,
) -> String {
    let (outcome, reason, is_final) = verdict;
    let Scoring { pass, marginal, .. } = scoring;
    let ticks = scoring.next(looks, plan.looks(), plan.tick) - looks;
    let left = sentence::span((plan.tick * ticks as i64) as f64 / 1000.0);
    let Some(run) = run_score(scoring, findings) else {
        return match reason {
            Reason::NeedsTime if !is_final => {
                format!("inconclusive so far, {ask}: Kayenta's judge is first asked in {left}")
            }
            _ => sentence::of_verdict(outcome, reason, ask, is_final, findings),
        };
    };
    let (score, found) = (run.score, culprit(findings, &run));
    let why = |found: Option<&Finding>| found.map_or(String::new(), |found| found.message.clone());
    match outcome {
        Outcome::Fail => {
            let why = why(found);
            format!("fail, {ask}: Kayenta's score is {score}, below {marginal}: {why}")
        }
        Outcome::Pass => format!("pass, {ask}: Kayenta's score is {score}, and {pass} passes"),
        Outcome::Inconclusive if !is_final => {
            let next = match ticks {
                0 => String::new(),
                _ => format!("; the next is in {left}"),
            };
            format!(
                "inconclusive so far, {ask}: Kayenta's score was {score} at the last judgement{next}"
            )
        }
        Outcome::Inconclusive if reason == Reason::Marginal && score < *marginal => format!(
            "inconclusive, {ask}: Kayenta's score is {score}, below {marginal}, and no check failed: the weights of the groups leave no more"
        ),
        Outcome::Inconclusive if reason == Reason::Marginal => format!(
            "inconclusive, {ask}: Kayenta's score is {score}: {marginal} is no failure, but only {pass} passes"
        ),
        Outcome::Inconclusive if reason.is_about_data() => {
            let why = why(missing(findings));
            format!("inconclusive, {ask}: Kayenta's score is {score}, but {why}")
        }
        Outcome::Inconclusive => sentence::of_verdict(outcome, reason, ask, is_final, findings),
    }
}

#[cfg(test)]
mod tests;
