//! What a sample's reading is at a place: itself, or an increment of one of a pair of counters.
//!
//! Owns which forms fit which kind of metric. Where the reading goes is `placing`'s business.

use std::borrow::Cow;

use super::analysis::Analysis;
use super::matching::{Place, Role};
use super::placing::Refused;
use crate::model::{COUNT_MAX, Reading};
use crate::plan::MetricKind;

/// Largest increment of a counter in one sample.
const INCREMENT_MAX: f64 = COUNT_MAX as f64;

/// The reading a sample gives at a place: itself, or its share of a counter pair.
pub(super) fn reading_for<'r>(
    analysis: &Analysis,
    place: &Place,
    reading: &'r Reading,
) -> Result<Cow<'r, Reading>, Refused> {
    let metric = &analysis.plan.metrics[place.metric];
    let wrong = || ("wrong_form", wrong_form(metric.kind, &metric.name));
    let fits = match (metric.kind, reading) {
        (
            MetricKind::Latency,
            Reading::Values { .. } | Reading::Buckets { .. } | Reading::UpTo { .. },
        ) => true,
        (MetricKind::Gauge, Reading::Values { values, .. }) => {
            values.iter().all(|value| value.is_finite())
        }
        (MetricKind::Ratio, Reading::Ratio { .. } | Reading::UpTo { .. }) => true,
        (MetricKind::Ratio, Reading::Values { values, .. }) if place.role == Role::Reading => {
            values.iter().all(|&value| value == 0.0 || value == 1.0)
        }
        (MetricKind::Rate, Reading::Rate { .. }) => true,
        (_, Reading::Values { .. }) => place.role != Role::Reading,
        _ => false,
    };
    if !fits {
        return Err(wrong());
    }
    if place.role == Role::Reading {
        return if is_countable(reading) {
            Ok(Cow::Borrowed(reading))
        } else {
            Err((
                "count_too_large",
                format!(
                    "weights, totals and events must be at most {COUNT_MAX} a sample, exposures finite and from 0 up"
                ),
            ))
        };
    }
    increment(metric.kind, &metric.name, place.role, reading).map(Cow::Owned)
}

/// The increment of one of a pair of counters.
fn increment(
    kind: MetricKind,
    name: &str,
    role: Role,
    reading: &Reading,
) -> Result<Reading, Refused> {
    let Reading::Values { values, weights } = reading else {
        return Err(("wrong_form", wrong_form(kind, name)));
    };
    let sum: f64 = values
        .iter()
        .enumerate()
        .map(|(i, value)| value * weights.get(i).copied().unwrap_or(1) as f64)
        .sum();
    let is_exposure = role == Role::Total && kind == MetricKind::Rate;
    if !(0.0..=INCREMENT_MAX).contains(&sum) || (!is_exposure && sum.fract() != 0.0) {
        return Err((
            "wrong_form",
            format!(
                "an increment of {} must be a whole number from 0 up, not {sum}",
                name
            ),
        ));
    }
    Ok(match (kind, role) {
        (MetricKind::Ratio, Role::Bad) => Reading::Ratio {
            bad: sum as u64,
            total: 0,
        },
        (MetricKind::Ratio, _) => Reading::Ratio {
            bad: 0,
            total: sum as u64,
        },
        (_, Role::Bad) => {
            // Without an exposure counter the window takes the tick's length.
            Reading::Rate {
                events: sum as u64,
                exposure: 0.0,
            }
        }
        _ => Reading::Rate {
            events: 0,
            exposure: sum,
        },
    })
}

/// Whether the counts of a reading can be summed without loss.
fn is_countable(reading: &Reading) -> bool {
    match reading {
        Reading::Values { weights, .. } => weights.iter().all(|&weight| weight <= COUNT_MAX),
        Reading::Buckets { counts, .. } | Reading::UpTo { counts, .. } => {
            counts.iter().all(|&count| count <= COUNT_MAX)
        }
        // An increment of bad events comes with its total in a reading of its own.
        Reading::Ratio { bad, total } => *bad.max(total) <= COUNT_MAX,
        Reading::Rate { events, exposure } => {
            *events <= COUNT_MAX && (0.0..=COUNT_MAX as f64).contains(exposure)
        }
    }
}

pub(super) fn wrong_form(kind: MetricKind, name: &str) -> String {
    let wants = match kind {
        MetricKind::Latency => "\"value\" or \"values\" with numbers",
        MetricKind::Ratio => "\"value\": 0 or 1, or \"value\": {\"bad\": b, \"total\": t}",
        MetricKind::Rate => "\"value\": {\"events\": e, \"exposure\": x}",
        MetricKind::Gauge => "\"value\" with one finite number",
    };
    format!("the metric {name:?} takes {wants}")
}
