//! What a plan's guarantee rests on, in words.
//!
//! Owns the sentences under `guarantee.assumes` of a verdict. It decides nothing.

use std::collections::BTreeSet;

use crate::judge::check::RESOLUTION;
use crate::judge::verdict::Finding;
use crate::plan::{Check, Dispersion, Lifetime, Metric, MetricKind, Plan, Question};
use crate::plan::{Resolution, Source};

/// Of a plan that Kayenta's judge is asked of.
const OF_KAYENTA: &str = "nothing is promised: Kayenta's judge keeps no error rate, takes neighbouring ticks as independent, and looks again without a correction";

/// What the guarantee rests on, in words: of the plan, and of what was found of its data so far.
pub fn of(plan: &Plan, findings: &[Finding]) -> Vec<String> {
    if plan.kayenta.is_some() {
        return vec![OF_KAYENTA.to_owned()];
    }
    let mut assumes = BTreeSet::new();
    for check in plan.checks.iter().filter(|check| check.gating) {
        let metric = &plan.metrics[check.metric];
        let mut say = |text: &str| assumes.insert(format!("{}: {text}", check.name));
        say(&of_samples(check, metric));
        if !matches!(check.question, Question::Compare { .. }) {
            continue;
        }
        if metric.source.is_timed() {
            say("both arms get equal traffic, for events are counted by time alone");
        }
        let finding = findings.iter().find(|finding| finding.check == check.name);
        if matches!(metric.source, Source::Buckets { .. }) {
            say("values are spread evenly over their bucket");
        } else if metric.kind == MetricKind::Latency && is_rounded(metric, finding) {
            say("rounded values are spread evenly over their step");
        }
    }
    assumes.into_iter().collect()
}

/// How a check's samples, or its ticks, depend on each other.
fn of_samples(check: &Check, metric: &Metric) -> String {
    let dispersion = match &check.question {
        Question::Compare { dispersion, .. } | Question::Threshold { dispersion, .. }
            if check.question.spends_alpha() =>
        {
            dispersion
        }
        _ => return "an alarm rule, which promises nothing".to_owned(),
    };
    if metric.kind == MetricKind::Gauge {
        return match dispersion {
            Dispersion::Sd(sd) => format!(
                "a tick's number has a long-run standard deviation of {sd:.4}, as calibrated"
            ),
            Dispersion::Iid => "ticks are independent".to_owned(),
            Dispersion::Envelope | Dispersion::Factor(_) => {
                "first-order autocorrelation of ticks up to 0.8".to_owned()
            }
        };
    }
    let units = metric.cluster.as_ref().map(|cluster| {
        let life = match cluster.lifetime {
            Lifetime::Tick => "within a tick",
            Lifetime::Run => "over the run",
        };
        format!("units ({}) are independent {life}", cluster.by)
    });
    let calibrated = match dispersion {
        Dispersion::Factor(_) => Some("samples vary no more over time than calibrated"),
        _ => None,
    };
    match (units, calibrated) {
        (Some(units), Some(calibrated)) => format!("{units}, and {calibrated}"),
        (Some(units), None) => units,
        (None, Some(calibrated)) => calibrated.to_owned(),
        (None, None) => {
            "samples are independent and alike within a tick (not calibrated)".to_owned()
        }
    }
}

/// Whether values were declared to be rounded, or found to be.
fn is_rounded(metric: &Metric, finding: Option<&Finding>) -> bool {
    match metric.resolution {
        Resolution::Exact => false,
        Resolution::Step(_) => true,
        Resolution::Detected => {
            finding.is_some_and(|finding| finding.factors.contains_key(RESOLUTION))
        }
    }
}
