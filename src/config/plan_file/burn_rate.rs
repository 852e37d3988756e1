//! `burn_rate` of a threshold check: an objective, two windows and a factor.
//!
//! Owns their written forms and what fits together. Next: `checks`, whose key it is.

use super::{ProblemCode, Times};
use crate::config::quantity::{self, Amount, duration_text};
use crate::config::reader::{Field, Reader, Table};
use crate::model::Millis;
use crate::plan::{BurnRate, Limit, LimitSide, MetricKind};

/// Keys of `burn_rate`.
pub(in crate::config) const BURN_RATE_KEYS: &[&str] = &["slo", "long", "short", "factor", "period"];
/// Time a budget is meant to last, where the plan is silent.
const PERIOD_DEFAULT: Millis = 30 * 24 * 3_600_000;
/// Largest burn rate asked for: a year's budget within nine hours.
const FACTOR_MAX: f64 = 1_000.0;
/// What a product of two written numbers may be off by.
const ROUNDING: f64 = 1e-9;
const EXAMPLE: &str = "burn_rate: {slo: 99.9%, long: 1h, short: 5m, factor: 14.4}";

/// Reads `{slo: 99.9%, long: 1h, short: 5m, factor: 14.4, period: 30d}`.
pub(super) fn read(
    reader: &mut Reader<'_>,
    field: &Field<'_>,
    kind: MetricKind,
    times: Option<&Times>,
) -> Option<BurnRate> {
    if kind != MetricKind::Ratio {
        let message = "a budget is of bad events of all: `burn_rate` is for kind ratio only";
        let help = "use limit:, or a metric of kind ratio";
        reader.refuse(field, ProblemCode::Conflict, message, help);
        return None;
    }
    let table = reader.table(field, Some(BURN_RATE_KEYS))?;
    let slo = reader.required(&table, "slo", EXAMPLE);
    let slo = slo.and_then(|field| objective(reader, &field));
    let factor = reader.required(&table, "factor", EXAMPLE);
    let factor = factor.and_then(|field| reader.number(&field, 1.0 / FACTOR_MAX..=FACTOR_MAX));
    let long = window(reader, &table, "long", times);
    let short = window(reader, &table, "short", times);
    let period = match table.get("period") {
        Some(field) => reader.duration(&field, 1_000),
        None => Some(PERIOD_DEFAULT),
    };
    let rule = BurnRate {
        slo: slo?,
        long: long?,
        short: short?,
        factor: factor?,
        period: period?,
    };
    if rule.short >= rule.long {
        let message = "the short window is not shorter than the long one";
        let help = "a twelfth of it is usual: long: 1h, short: 5m";
        reader.refuse(field, ProblemCode::Conflict, message, help);
        return None;
    }
    // 1 - 90 % is a little less than 10 % in binary.
    if rule.factor * rule.budget() >= 1.0 - ROUNDING {
        let message = "even if everything failed, the budget could not burn that fast";
        let most = 1.0 / rule.budget();
        let help = format!("at this objective a factor lies below {most:.0}");
        reader.refuse(field, ProblemCode::Conflict, message, help);
        return None;
    }
    Some(rule)
}

/// The bad share at which the budget burns as fast as the rule forbids.
pub(super) fn limit(reader: &mut Reader<'_>, table: &Table<'_>, rule: &BurnRate) -> Option<Limit> {
    if let Some(field) = table.get("limit") {
        let message = "with `burn_rate` the limit follows from objective and factor";
        reader.refuse(&field, ProblemCode::Conflict, message, "remove limit:");
        return None;
    }
    Some(Limit {
        side: LimitSide::Below,
        value: rule.factor * rule.budget(),
    })
}

fn objective(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<f64> {
    let text = reader.text(field)?;
    match quantity::amount(text) {
        Some(Amount::Percent(share)) if share > 0.0 && share < 1.0 => Some(share),
        _ => {
            let message = format!("`{text}` is not an objective");
            reader.bad(field, message, "the share of good events, such as 99.9%");
            None
        }
    }
}

fn window(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    key: &str,
    times: Option<&Times>,
) -> Option<Millis> {
    let field = reader.required(table, key, EXAMPLE)?;
    let window = reader.duration(&field, 1)?;
    let Some(times) = times else {
        return Some(window);
    };
    if window % times.tick != 0 {
        let tick = duration_text(times.tick);
        let message = format!("`{key}` is not a whole number of ticks of {tick}");
        reader.refuse(&field, ProblemCode::Conflict, message, "round it");
        return None;
    }
    if window > times.horizon {
        let message = format!("`{key}` is longer than the horizon");
        let help = "such a window is never full: shorten it, or watch the service elsewhere";
        reader.refuse(&field, ProblemCode::Conflict, message, help);
        return None;
    }
    Some(window)
}
