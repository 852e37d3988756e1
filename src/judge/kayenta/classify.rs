//! The label of one metric, by the first rule that fits.
//!
//! Owns the rules and their order, and the words that Kayenta gives with them: other programs show
//! these. It must not know how the values came to be: they are those after the transform.

use serde::{Deserialize, Serialize};

use super::effect::{effect_size, mean_ratio};
use super::interval::{Interval, Sides};
use super::jitter;
use crate::plan::kayenta::{Direction, NanStrategy, Settings};

/// What a metric is called after it was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Label {
    /// Not shown to differ.
    Pass,
    /// The canary is above.
    High,
    /// The canary is below.
    Low,
    /// A side has no values.
    Nodata,
    /// A side has no values, and had to have some.
    NodataFailMetric,
    /// The values could not be judged.
    Error,
}

/// A label and what it rests on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Classified {
    /// The label.
    pub label: Label,
    /// Whether it fails the whole run.
    pub critical: bool,
    /// Why, where there is something to say.
    pub reason: Option<Why>,
    /// The ratio of the means, which is shown; 1 where nothing was compared, `None` of an error.
    pub deviation: Option<f64>,
    /// The interval and the effect, where the test was made.
    pub evidence: Option<Evidence>,
}

/// What the test gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// The interval of the shift.
    pub interval: Interval,
    /// The effect, by the metric's measure.
    pub effect_size: f64,
}

/// Why a metric has its label. Kayenta's sentences for it are in [`Why::sentence`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// A side is empty.
    Missing,
    /// Both sides hold the same values.
    Identical,
    /// It was found to differ.
    Differs(Label),
    /// It was found to differ by so much that all fails.
    DiffersCritically(Label),
    /// It could not be judged.
    Failed,
}

// === impl Label ===

impl Label {
    /// Kayenta's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Label::Pass => "Pass",
            Label::High => "High",
            Label::Low => "Low",
            Label::Nodata => "Nodata",
            Label::NodataFailMetric => "NodataFailMetric",
            Label::Error => "Error",
        }
    }
}

// === impl Why ===

impl Why {
    /// What Kayenta says, of the metric of this name.
    pub fn sentence(self, metric: &str) -> String {
        match self {
            Why::Missing => format!("Missing data for {metric}"),
            Why::Identical => "The Canary and Baseline data are identical".to_owned(),
            Why::Differs(label) => format!("{metric} was classified as {}", label.as_str()),
            Why::DiffersCritically(label) => {
                let label = label.as_str();
                format!("The metric {metric} was classified as {label} (Critical)")
            }
            Why::Failed => "Metric Classification Failed".to_owned(),
        }
    }
}

// === impl Classified ===

impl Classified {
    fn untested(label: Label, critical: bool, reason: Option<Why>) -> Classified {
        Classified {
            label,
            critical,
            reason,
            deviation: Some(1.0),
            evidence: None,
        }
    }
}

/// The label of transformed values.
pub fn classify(baseline: &[f64], canary: &[f64], settings: &Settings) -> Classified {
    if baseline.is_empty() || canary.is_empty() {
        return of_missing(settings);
    }
    if are_identical(baseline, canary) {
        return Classified::untested(Label::Pass, false, Some(Why::Identical));
    }
    match (constant(baseline), constant(canary)) {
        (Some(one), Some(other)) if one == other => Classified::untested(Label::Pass, false, None),
        (Some(_), Some(_)) => jitter::most_frequent(
            |draw| {
                let [baseline, canary] = jitter::with_noise(draw, baseline, canary);
                tested(&baseline, &canary, settings)
            },
            |one, other| one.label == other.label,
        ),
        _ => tested(baseline, canary, settings),
    }
}

/// Missing values that were replaced leave a side empty only where there was no point at all, and
/// that passes, whatever else is asked.
fn of_missing(settings: &Settings) -> Classified {
    if settings.nan_strategy == NanStrategy::Replace {
        return Classified::untested(Label::Pass, false, None);
    }
    let missing = Some(Why::Missing);
    if settings.must_have_data && !settings.critical {
        Classified::untested(Label::NodataFailMetric, false, missing)
    } else {
        Classified::untested(Label::Nodata, settings.critical, missing)
    }
}

fn are_identical(baseline: &[f64], canary: &[f64]) -> bool {
    if baseline.len() != canary.len() {
        return false;
    }
    let sorted = |values: &[f64]| {
        let mut values = values.to_vec();
        values.sort_unstable_by(f64::total_cmp);
        values
    };
    sorted(baseline) == sorted(canary)
}

/// The one value that all are, zeros of both signs taken as one.
fn constant(values: &[f64]) -> Option<f64> {
    let first = *values.first()?;
    values.iter().all(|&value| value == first).then_some(first)
}

/// The interval and the effect of transformed values; `None` where a side is empty, or where a shift
/// that was looked at ties all.
pub fn evidence(baseline: &[f64], canary: &[f64], settings: &Settings) -> Option<Evidence> {
    let interval = Sides::new(baseline, canary)?.interval(settings.confidence);
    Some(Evidence {
        interval: interval.ok()?,
        effect_size: effect_size(settings.measure, baseline, canary),
    })
}

fn tested(baseline: &[f64], canary: &[f64], settings: &Settings) -> Classified {
    let Some(evidence) = evidence(baseline, canary, settings) else {
        return Classified {
            label: Label::Error,
            critical: false,
            reason: Some(Why::Failed),
            deviation: None,
            evidence: None,
        };
    };
    let effect_size = evidence.effect_size;
    let label = label_of(&evidence, settings);
    let critical = settings.critical && is_critical(label, effect_size, settings);
    let reason = match (label, critical) {
        (Label::Pass, _) => None,
        (label, true) => Some(Why::DiffersCritically(label)),
        (label, false) => Some(Why::Differs(label)),
    };
    Classified {
        label,
        critical,
        reason,
        deviation: Some(mean_ratio(baseline, canary)),
        evidence: Some(evidence),
    }
}

/// An interval beyond a share of its own estimate, and an effect that is large enough; an effect
/// that has no number asks for nothing.
fn label_of(evidence: &Evidence, settings: &Settings) -> Label {
    let Evidence {
        interval,
        effect_size,
    } = *evidence;
    let bound = settings.tolerance * interval.estimate.abs();
    let is_high = settings.direction != Direction::Decrease
        && interval.low > bound
        && (effect_size.is_nan() || effect_size >= settings.allowed.increase);
    let is_low = settings.direction != Direction::Increase
        && interval.high < -bound
        && (effect_size.is_nan() || effect_size <= settings.allowed.decrease);
    if is_high {
        Label::High
    } else if is_low {
        Label::Low
    } else {
        Label::Pass
    }
}

fn is_critical(label: Label, effect_size: f64, settings: &Settings) -> bool {
    let at = settings.critical_at;
    match label {
        Label::High => effect_size.is_nan() || effect_size >= at.increase,
        Label::Low => effect_size.is_nan() || effect_size <= at.decrease,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
