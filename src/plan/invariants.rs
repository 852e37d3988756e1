//! What holds of every plan, however it came: from a file, or with a recording.
//!
//! Owns the invariants that judging relies on (a tick of zero would divide by zero). They are
//! fewer than what a file is held to: that a tolerance is odd is no reason to refuse a recording.

use super::{
    BurnRate, CHECKS_MAX, Check, Dispersion, LOOKS_MAX, METRICS_MAX, MetricKind, Plan, Question,
    Resolution, ThresholdForm, Tolerance, WATCH_TICKS_MAX, Worse, kayenta::GROUPS_MAX,
};

/// Durations in a plan, in milliseconds, at most: sums stay far from overflow.
const MILLIS_MAX: i64 = 1 << 45;

/// Checks a plan that did not come from a plan file. The error is what does not hold.
pub(super) fn check(plan: &Plan) -> Result<(), String> {
    let hold = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
    hold(plan.tick > 0, "the tick is not positive")?;
    hold(
        plan.horizon > 0 && plan.horizon <= MILLIS_MAX,
        "the horizon is out of range",
    )?;
    hold(
        plan.horizon % plan.tick == 0,
        "the horizon is not a whole number of ticks",
    )?;
    hold(plan.horizon / plan.tick <= LOOKS_MAX, "too many looks")?;
    let kinds = plan.metrics.iter().map(|metric| metric.kind);
    let fits = (0..=MILLIS_MAX).contains(&plan.extend)
        && plan.extend % plan.tick == 0
        && (plan.horizon + plan.extend) / plan.tick <= Plan::looks_with_extension_max(kinds);
    hold(fits, "the extension is out of range")?;
    if let Some(watch) = plan.watch {
        let whole = watch.duration > 0 && watch.duration % plan.tick == 0;
        let fits = whole && watch.duration / plan.tick <= WATCH_TICKS_MAX;
        let rare = (plan.tick..=MILLIS_MAX).contains(&watch.false_alarms_every);
        hold(fits && rare, "the watch is out of range")?;
    }
    for millis in [plan.lateness, plan.min_duration, plan.step.min_duration] {
        hold(
            (0..=plan.horizon).contains(&millis),
            "a duration is out of the horizon",
        )?;
    }
    for metric in &plan.metrics {
        if let Resolution::Step(step) = metric.resolution {
            hold(
                step.is_finite() && step > 0.0,
                "a resolution is not positive",
            )?;
        }
    }
    let is_risk = |risk: f64| risk > 0.0 && risk < 0.5;
    hold(
        is_risk(plan.alpha) && is_risk(plan.beta),
        "alpha and beta lie in (0, 0.5)",
    )?;
    hold(
        (1..=METRICS_MAX).contains(&plan.metrics.len()),
        "too few or too many metrics",
    )?;
    hold(
        (1..=CHECKS_MAX).contains(&plan.checks.len()),
        "too few or too many checks",
    )?;
    hold(
        plan.checks.iter().any(|check| check.gating),
        "no check is gating",
    )?;
    check_judge(plan)?;
    let ascending = plan
        .metrics
        .windows(2)
        .all(|pair| pair[0].name < pair[1].name);
    hold(ascending, "metrics are not sorted by name")?;
    for (index, question) in plan.checks.iter().enumerate() {
        let before = &plan.checks[..index];
        hold(
            before.iter().all(|known| known.name != question.name),
            "two checks of one name",
        )?;
        check_of(plan, question).map_err(|what| format!("check {}: {what}", question.name))?;
    }
    Ok(())
}

/// One judge for all checks, and what Kayenta's has no word for.
fn check_judge(plan: &Plan) -> Result<(), String> {
    let hold = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
    let is_classify = |check: &Check| matches!(check.question, Question::Classify { .. });
    let Some(scoring) = &plan.kayenta else {
        let none = !plan.checks.iter().any(is_classify);
        return hold(none, "a check is Kayenta's and the plan is not");
    };
    let all = plan.checks.iter().all(is_classify);
    hold(all, "a check is not Kayenta's and the plan is")?;
    let none = plan.watch.is_none() && plan.extend == 0;
    hold(none, "Kayenta's judge neither extends nor watches")?;
    let scores = 0.0 <= scoring.marginal && scoring.marginal <= scoring.pass;
    hold(
        scores && scoring.pass <= 100.0,
        "the scores are out of range",
    )?;
    let whole = |window: i64| window > 0 && window % plan.tick == 0 && window <= MILLIS_MAX;
    hold(
        whole(scoring.interval) && scoring.lookback.is_none_or(whole),
        "an interval of the judgements is no whole number of ticks",
    )?;
    let is_weight = |weight: &f64| weight.is_finite() && *weight >= 0.0;
    hold(
        scoring.weights.values().all(is_weight),
        "a weight of a group is out of range",
    )
}

fn check_of(plan: &Plan, check: &Check) -> Result<(), String> {
    let hold = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
    hold(check.metric < plan.metrics.len(), "there is no such metric")?;
    hold(
        check.weight.is_finite() && check.weight > 0.0,
        "the weight is not positive",
    )?;
    match &check.question {
        Question::Compare {
            worse,
            tolerance: Tolerance { relative, absolute },
            dispersion,
            ..
        } => {
            hold(
                dispersion.fits(plan.metrics[check.metric].kind),
                "the dispersion is out of range or not for this kind",
            )?;
            let parts = [*relative, *absolute];
            hold(
                parts.iter().any(Option::is_some),
                "the tolerance has no part",
            )?;
            // The boundary y (1 - r) of a fall must not reach zero: its inverse scales counts.
            hold(
                *worse == Worse::Higher || relative.is_none_or(|part| part < 1.0),
                "a fall of 100 % or more can never be exceeded",
            )?;
            let fits = |part: f64| part.is_finite() && part >= 0.0;
            hold(
                parts.into_iter().flatten().all(fits),
                "the tolerance is out of range",
            )
        }
        Question::Classify { at, settings } => {
            let is_values = plan.metrics[check.metric].kind == MetricKind::Latency;
            hold(
                at.is_some() == is_values,
                "a quantile is asked of values, and of nothing else",
            )?;
            hold(check.groups.len() <= GROUPS_MAX, "too many groups")?;
            let fits = settings.confidence > 0.0 && settings.confidence < 1.0;
            let factor = settings.outliers.map_or(1.0, |outliers| outliers.factor);
            hold(
                fits && settings.tolerance >= 0.0 && factor > 0.0,
                "a setting of Kayenta's judge is out of range",
            )
        }
        Question::Threshold {
            limit,
            form,
            dispersion,
            ..
        } => {
            let worded = matches!(dispersion, Dispersion::Iid | Dispersion::Envelope);
            hold(worded, "a limit has no calibrated dispersion")?;
            hold(limit.value.is_finite(), "the limit is not finite")?;
            match form {
                ThresholdForm::Exact => Ok(()),
                ThresholdForm::Breach { periods, of } => hold(
                    (1..=*of).contains(periods) && i64::from(*of) <= LOOKS_MAX,
                    "the breach is out of range",
                ),
                ThresholdForm::BurnRate(rule) => check_burn_rate(plan, check, rule),
            }
        }
    }
}

fn check_burn_rate(plan: &Plan, check: &Check, rule: &BurnRate) -> Result<(), String> {
    let hold = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
    let is_ratio = plan.metrics[check.metric].kind == MetricKind::Ratio;
    hold(is_ratio, "a burn rate is asked of a ratio")?;
    let whole = [rule.long, rule.short]
        .iter()
        .all(|window| *window > 0 && window % plan.tick == 0);
    let fits = whole && rule.short < rule.long && rule.long <= plan.horizon;
    hold(fits, "the windows of the burn rate do not fit")?;
    let is_share = rule.slo > 0.0 && rule.slo < 1.0;
    let burns = rule.factor > 0.0 && rule.factor * rule.budget() < 1.0;
    let lasts = (1..=MILLIS_MAX).contains(&rule.period);
    hold(is_share && burns && lasts, "the burn rate is out of range")
}
