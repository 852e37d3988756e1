//! Sentences for people: what a finding and a verdict mean, with their numbers.
//!
//! Owns the wording. It decides nothing; every number in a sentence is one of the finding's.

use crate::judge::check::{self, Setting};
use crate::judge::kayenta::{Label, Measure};
use crate::judge::verdict::{Classification, Finding, Needs, Scale};
use crate::model::{Decision, Millis, Outcome, Reason};
use crate::plan::{LimitSide, MetricKind, Question, ThresholdForm, Worse};

/// One sentence about a finding, and the bucket that is too wide, where one is.
pub fn of_finding(setting: &Setting<'_>, finding: &Finding, coarse: Option<[f64; 2]>) -> String {
    let subject = subject(setting);
    match &finding.classification {
        Some(found) => return of_label(setting, finding, found),
        None if matches!(setting.check.question, Question::Classify { .. }) => {
            return format!("{subject} is not judged yet");
        }
        None => {}
    }
    let head = match finding.scale {
        Scale::OddsRatio => format!("the odds of {subject} of the canary are"),
        _ => format!("{subject} of the canary is"),
    };
    let mut text = match finding.reason {
        _ if finding.scale == Scale::BurnRate && finding.estimate.is_some() => {
            burning(setting, finding)
        }
        Reason::Degraded => format!(
            "{head} {}, beyond the tolerance of {}, over the last {}",
            measured(setting, finding),
            tolerance(setting, Some(finding)),
            span(finding.window_secs),
        ),
        Reason::WithinTolerance => format!(
            "{head} {}, shown to be within the tolerance of {}",
            measured(setting, finding),
            tolerance(setting, None),
        ),
        Reason::LimitBreached if finding.scale == Scale::Periods => format!(
            "{subject} of the canary broke {} in {} of the last {} ticks (an alarm rule, not a test)",
            limit(setting),
            count(finding.estimate),
            breach_of(setting),
        ),
        Reason::LimitBreached => format!(
            "{head} {}, shown to break {} over the last {}",
            measured(setting, finding),
            limit(setting),
            span(finding.window_secs),
        ),
        Reason::WithinLimit if finding.scale == Scale::Periods => format!(
            "{subject} of the canary broke {} in {} of the last {} ticks (an alarm rule, not a test)",
            limit(setting),
            count(finding.estimate),
            breach_of(setting),
        ),
        Reason::WithinLimit => format!(
            "{head} {}, shown to keep {}",
            measured(setting, finding),
            limit(setting),
        ),
        Reason::NeedsSamples | Reason::NeedsTime => format!(
            "{head} {} so far, which shows neither a degradation nor its absence{}",
            measured(setting, finding),
            needed(finding.needs.as_ref()),
        ),
        reason => format!(
            "{subject}: {}{}",
            in_the_way(setting, coarse),
            about(reason)
        ),
    };
    if finding.verdict != Outcome::Inconclusive {
        text.push_str(&single_unit(finding));
    }
    text.push_str(&factors(setting, finding));
    text
}

/// What Kayenta's judge found.
fn of_label(setting: &Setting<'_>, finding: &Finding, found: &Classification) -> String {
    let (subject, label) = (subject(setting), found.label.as_str());
    let word = match found.critical {
        true => format!("{label} (critical)"),
        false => label.to_owned(),
    };
    let over = span(finding.window_secs);
    match found.label {
        Label::Nodata | Label::NodataFailMetric | Label::Error => {
            format!("{word}: {subject}: {}", about(finding.reason))
        }
        _ if finding.estimate.is_none() => {
            format!("{word}: {subject} of the canary is the baseline's over the last {over}")
        }
        _ => {
            let effect = found.effect_size.map_or_else(String::new, |effect| {
                let name = match found.measure {
                    Measure::MeanRatio => "ratio of the means",
                    Measure::Cles => "chance to be above the baseline",
                };
                format!(", with a {name} of {}", short(effect))
            });
            format!(
                "{word}: {subject} of the canary is {}{effect}, over the last {over}",
                measured(setting, finding)
            )
        }
    }
}

/// What values were taken as, and what weakened the evidence.
fn factors(setting: &Setting<'_>, finding: &Finding) -> String {
    let mut text = String::new();
    if let Some(&step) = finding.factors.get(check::RESOLUTION) {
        let step = in_unit(setting, step, true);
        text.push_str(&format!("; values taken as rounded to {step}"));
    }
    let weakening = finding
        .factors
        .iter()
        .filter(|(name, _)| *name != check::RESOLUTION);
    for (name, factor) in weakening {
        text.push_str(&format!(
            "; evidence weakened {factor:.2} times for {}",
            name.replace('_', " ")
        ));
    }
    text
}

/// The bucket that is too wide, as the beginning of what is to be said of it.
fn in_the_way(setting: &Setting<'_>, coarse: Option<[f64; 2]>) -> String {
    coarse.map_or_else(String::new, |coarse| {
        format!("{} is in the way: ", bucket(setting, coarse))
    })
}

/// A bucket by its ends, of which one may be open.
fn bucket(setting: &Setting<'_>, [low, high]: [f64; 2]) -> String {
    let end = |end: f64| match &setting.metric.value_unit {
        Some(unit) => format!("{end} {unit}"),
        None => format!("{end}"),
    };
    match (low.is_finite(), high.is_finite()) {
        (false, _) => format!("the bucket up to {}", end(high)),
        (_, false) => format!("the bucket above {}", end(low)),
        _ => format!("the bucket from {low} to {}", end(high)),
    }
}

/// What a single unit's evidence is about.
fn single_unit(finding: &Finding) -> String {
    let Some(units) = &finding.units else {
        return String::new();
    };
    let arm = match (units.baseline, units.canary) {
        (_, 1) => "canary",
        (1, _) => "baseline",
        _ => return String::new(),
    };
    format!("; the {arm} is a single unit, so this speaks for that unit and not for its version")
}

/// What a decision asks of the controller, as a verb.
pub fn ask(decision: Decision) -> &'static str {
    match decision {
        Decision::Promote => "promote",
        Decision::Rollback => "roll back",
        Decision::Hold => "hold",
    }
}

/// One sentence about a whole verdict that asks for this.
pub fn of_verdict(
    outcome: Outcome,
    reason: Reason,
    ask: &str,
    is_final: bool,
    findings: &[Finding],
) -> String {
    let gating = || findings.iter().filter(|finding| finding.gating);
    match outcome {
        Outcome::Fail => {
            let failed = gating().find(|finding| finding.verdict == Outcome::Fail);
            format!(
                "fail, {ask}: {}",
                failed.map_or("", |finding| finding.message.as_str())
            )
        }
        Outcome::Pass => {
            format!(
                "pass, {ask}: all {} gating checks are within their bounds",
                gating().count()
            )
        }
        Outcome::Inconclusive if is_final => format!("inconclusive, {ask}: {}", about(reason)),
        Outcome::Inconclusive => {
            let open = gating().find(|f| f.verdict == Outcome::Inconclusive && f.reason == reason);
            match open.filter(|finding| !finding.message.is_empty()) {
                Some(finding) => format!("inconclusive so far, {ask}: {}", finding.message),
                None => format!("inconclusive so far, {ask}: {}", about(reason)),
            }
        }
    }
}

/// One sentence about an alarm after the pass.
pub fn of_alarm(setting: &Setting<'_>, after_secs: f64, every_secs: f64) -> String {
    let subject = subject(setting);
    let beyond = match setting.check.question {
        Question::Threshold { .. } => limit(setting),
        _ => format!("the tolerance of {}", tolerance(setting, None)),
    };
    let promise = if setting.check.question.spends_alpha() {
        format!(
            "a false alarm is expected no more often than every {}",
            span(every_secs)
        )
    } else {
        "an alarm rule, not a test".to_owned()
    };
    format!(
        "{subject} of the canary went beyond {beyond} after it had passed, seen {} later ({promise})",
        span(after_secs)
    )
}

/// What a reason means, as a clause.
pub fn about(reason: Reason) -> &'static str {
    match reason {
        Reason::Degraded => "the canary is worse than the tolerance allows",
        Reason::WithinTolerance => "any degradation is within the tolerance",
        Reason::LimitBreached => "a limit is broken",
        Reason::WithinLimit => "the limit is kept",
        Reason::NeedsSamples => "more samples are needed",
        Reason::NeedsTime => "the minimum duration has not passed yet",
        Reason::NoTraffic => "neither arm received a sample of this metric",
        Reason::NoTelemetry => "no tick that has closed holds a sample of any metric",
        Reason::BaselineMissing => "the baseline received no sample",
        Reason::CanaryMissing => "the canary received no sample",
        Reason::Stale => "samples stopped arriving",
        Reason::BadData => {
            "too many values are missing or unusable (negative values cannot meet a relative tolerance)"
        }
        Reason::CoarseBuckets => {
            "the histogram's buckets are too wide to compare within a tolerance or to hold against a limit between two bounds; compare the share above a bucket's bound (kind: ratio, above: {histogram, bound}), put the limit at a bound, or expose native histograms"
        }
        Reason::NeedsUnits => "too few units (pods, clients, traces) to speak about the version",
        Reason::Cancelled => "the analysis was cancelled",
        Reason::Superseded => "a newer revision of the same service took its place",
        Reason::Abandoned => "nobody sent samples or asked for a verdict any more",
        Reason::HorizonReached => "the horizon was reached without proof either way",
        Reason::Marginal => "the score is neither low enough to fail nor high enough to pass",
    }
}

fn subject(setting: &Setting<'_>) -> String {
    let metric = &setting.metric.name;
    match setting.check.question.at() {
        Some(at) => format!("{at} of {metric}"),
        None => metric.clone(),
    }
}

fn measured(setting: &Setting<'_>, finding: &Finding) -> String {
    let Some(estimate) = finding.estimate else {
        return "not measurable".to_owned();
    };
    let interval = match finding.interval {
        [Some(low), Some(high)] => {
            format!(
                " (between {} and {})",
                value(setting, finding, low),
                value(setting, finding, high)
            )
        }
        [Some(low), None] => format!(" (at least {})", value(setting, finding, low)),
        [None, Some(high)] => format!(" (at most {})", value(setting, finding, high)),
        [None, None] => String::new(),
    };
    match finding.scale {
        Scale::Ratio | Scale::OddsRatio => format!(
            "{} the baseline's{interval}",
            value(setting, finding, estimate)
        ),
        Scale::Difference => {
            format!(
                "{} from the baseline's{interval}",
                value(setting, finding, estimate)
            )
        }
        _ => format!("{}{interval}", value(setting, finding, estimate)),
    }
}

fn value(setting: &Setting<'_>, finding: &Finding, value: f64) -> String {
    match finding.scale {
        Scale::Ratio | Scale::OddsRatio => format!("{}x", short(value)),
        Scale::Difference if value > 0.0 => format!("+{}", in_unit(setting, value, true)),
        Scale::Difference => in_unit(setting, value, true),
        Scale::Value => in_unit(setting, value, false),
        Scale::Periods => short(value),
        Scale::BurnRate => format!("{}x", short(value)),
    }
}

fn in_unit(setting: &Setting<'_>, value: f64, is_difference: bool) -> String {
    if setting.metric.kind == MetricKind::Ratio {
        let sign = if is_difference { "pp" } else { "%" };
        return format!("{}{sign}", short(100.0 * value));
    }
    match &setting.metric.value_unit {
        Some(unit) => format!("{} {unit}", short(value)),
        None => short(value),
    }
}

/// Three significant digits, or none beyond what the number has.
fn short(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || !size.is_finite() {
        return format!("{value}");
    }
    let digits = 2 - libm::floor(libm::log10(size)) as i64;
    let text = format!("{value:.*}", digits.clamp(0, 12) as usize);
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// The tolerance and the direction it is about: of both, the one that `failed`.
fn tolerance(setting: &Setting<'_>, failed: Option<&Finding>) -> String {
    let Question::Compare {
        worse, tolerance, ..
    } = setting.check.question
    else {
        return String::new();
    };
    let went_down = failed
        .and_then(|finding| finding.estimate.zip(finding.tolerance))
        .map(|(estimate, boundary)| estimate < boundary);
    let direction = match (worse, went_down) {
        (Worse::Higher, _) | (Worse::Either, Some(false)) => "higher",
        (Worse::Lower, _) | (Worse::Either, Some(true)) => "lower",
        (Worse::Either, None) => "either way",
    };
    let relative = tolerance.relative.map(|r| format!("{}%", short(100.0 * r)));
    let absolute = tolerance.absolute.map(|a| in_unit(setting, a, true));
    match (relative, absolute) {
        (Some(relative), Some(absolute)) => {
            format!("{relative} and {absolute} {direction}")
        }
        (Some(part), None) | (None, Some(part)) => format!("{part} {direction}"),
        (None, None) => format!("0 {direction}"),
    }
}

fn limit(setting: &Setting<'_>) -> String {
    let Question::Threshold { limit, .. } = setting.check.question else {
        return String::new();
    };
    let side = match limit.side {
        LimitSide::Below => "<",
        LimitSide::Above => ">",
    };
    format!("the limit {side} {}", in_unit(setting, limit.value, false))
}

/// How fast the budget burns in both windows, and how long it lasts at this rate.
fn burning(setting: &Setting<'_>, finding: &Finding) -> String {
    let (subject, now) = (subject(setting), finding.estimate.unwrap_or(0.0));
    let Question::Threshold {
        form: ThresholdForm::BurnRate(rule),
        ..
    } = setting.check.question
    else {
        return subject;
    };
    let mut text = format!(
        "{subject} of the canary burn their budget (objective {}%) {}x as fast as it lasts over the last {}",
        short(100.0 * rule.slo),
        short(now),
        span(finding.window_secs),
    );
    if let Some((burn, part)) = finding
        .other_part
        .as_ref()
        .and_then(|part| Some((part.estimate?, part)))
    {
        let over = span(part.window_secs);
        text.push_str(&format!(" and {}x over the last {over}", short(burn)));
    }
    let side = match finding.verdict {
        Outcome::Fail => "beyond",
        Outcome::Pass => "not beyond",
        Outcome::Inconclusive => "so far, against",
    };
    text.push_str(&format!(", {side} {}x in both", short(rule.factor)));
    if now > 0.0 {
        let lasts = span(libm::round(rule.period as f64 / 1000.0 / now));
        let period = span(rule.period as f64 / 1000.0);
        text.push_str(&format!(
            "; at this rate a budget for {period} lasts {lasts}"
        ));
    }
    text.push_str(" (an alarm rule, not a test)");
    text
}

fn breach_of(setting: &Setting<'_>) -> u32 {
    match setting.check.question {
        Question::Threshold {
            form: ThresholdForm::Breach { of, .. },
            ..
        } => of,
        _ => 0,
    }
}

fn count(estimate: Option<f64>) -> String {
    estimate.map_or_else(|| "no".to_owned(), short)
}

fn needed(needs: Option<&Needs>) -> String {
    match needs {
        Some(Needs {
            samples: Some(samples),
            seconds: Some(seconds),
        }) => format!(
            "; at the present rate about {samples} more samples ({}) are needed",
            span(*seconds)
        ),
        Some(Needs {
            seconds: Some(seconds),
            ..
        }) => {
            format!(
                "; at the present rate about {} more is needed",
                span(*seconds)
            )
        }
        _ => "; how much more it takes cannot be told yet".to_owned(),
    }
}

/// A duration in seconds for people.
pub fn span(secs: f64) -> String {
    let millis = libm::round(secs * 1000.0) as Millis;
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let seconds = millis % 60_000;
    let mut text = String::new();
    if hours > 0 {
        text.push_str(&format!("{hours}h"));
    }
    if minutes > 0 {
        text.push_str(&format!("{minutes}m"));
    }
    if seconds > 0 || text.is_empty() {
        text.push_str(&format!("{}s", short(seconds as f64 / 1000.0)));
    }
    text
}
