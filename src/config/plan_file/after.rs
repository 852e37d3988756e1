//! What comes after the horizon and after a pass: `extend` and `watch`.
//!
//! Owns their written forms and bounds. Next: `checks`.

use super::{ProblemCode, Times, metrics};
use crate::config::quantity::{DURATION_MILLIS_MAX, duration_text};
use crate::config::reader::{Field, Reader, Table};
use crate::model::Millis;
use crate::plan::{Check, MetricKind, Plan, WATCH_TICKS_MAX, WatchFor};

/// Keys of `watch`.
pub(in crate::config) const WATCH_KEYS: &[&str] = &["for", "false_alarms_every"];
/// Mean time until a false alarm, where the plan is silent.
const FALSE_ALARMS_EVERY_DEFAULT: Millis = 30 * 24 * 3_600_000;

/// How long an inconclusive analysis may go on past the horizon.
pub(super) fn extend(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    metrics: &[metrics::Written],
    times: Option<&Times>,
) -> Millis {
    let Some(field) = table.get("extend") else {
        return 0;
    };
    let (Some(extend), Some(times)) = (reader.duration(&field, 0), times) else {
        return 0;
    };
    let Some(extend) = whole_ticks(reader, &field, extend, times) else {
        return 0;
    };
    let kinds = metrics.iter().map(|written| written.metric.kind);
    let most = Plan::looks_with_extension_max(kinds) * times.tick - times.horizon;
    if extend > most {
        let message = format!("too many looks at a tick of {}", duration_text(times.tick));
        let help = format!("at most {} here, or a longer tick", duration_text(most));
        reader.refuse(&field, ProblemCode::Conflict, message, help);
        return 0;
    }
    extend
}

/// Reads `{for: 24h, false_alarms_every: 30d}`.
pub(super) fn watch(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    metrics: &[metrics::Written],
    checks: &[Check],
    times: Option<&Times>,
) -> Option<WatchFor> {
    let field = table.get("watch")?;
    let table = reader.table(&field, Some(WATCH_KEYS))?;
    let help = "say how long to watch after a pass: watch: {for: 24h}";
    let duration_field = reader.required(&table, "for", help)?;
    let duration = reader.duration(&duration_field, 1);
    let times = times?;
    let every = match table.get("false_alarms_every") {
        Some(field) => reader.duration(&field, times.tick)?,
        None => FALSE_ALARMS_EVERY_DEFAULT,
    };
    let is_gauge = |check: &Check| metrics[check.metric].metric.kind == MetricKind::Gauge;
    let watched = |check: &Check| check.gating && !is_gauge(check);
    if !checks.is_empty() && !checks.iter().any(watched) {
        let message = "there is nothing to watch: gauges are judged up to the pass only";
        let help = "remove watch:, or add a check of another kind";
        reader.refuse(&field, ProblemCode::Conflict, message, help);
    }
    let duration = whole_ticks(reader, &duration_field, duration?, times)?;
    let most = (WATCH_TICKS_MAX * times.tick).min(DURATION_MILLIS_MAX);
    if duration > most {
        let message = format!("too many ticks of {}", duration_text(times.tick));
        let help = format!("at most {} here, or a longer tick", duration_text(most));
        reader.refuse(&duration_field, ProblemCode::Conflict, message, help);
        return None;
    }
    Some(WatchFor {
        duration,
        false_alarms_every: every,
    })
}

pub(super) fn whole_ticks(
    reader: &mut Reader<'_>,
    field: &Field<'_>,
    duration: Millis,
    times: &Times,
) -> Option<Millis> {
    if duration % times.tick != 0 {
        let tick = duration_text(times.tick);
        let message = format!("this is not a whole number of ticks of {tick}");
        reader.refuse(field, ProblemCode::Conflict, message, "round it");
        return None;
    }
    Some(duration)
}
