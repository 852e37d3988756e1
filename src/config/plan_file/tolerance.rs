//! `tolerance`, `limit` and `at`: quantities in the unit of a check's metric.
//!
//! Owns which units fit which kind of metric, and the defaults where a plan is silent. Next:
//! `quantity`, the grammar of a number with its unit.

use super::ProblemCode;
use crate::config::quantity::{self, Amount};
use crate::config::reader::{Field, Reader};
use crate::plan::{Limit, Metric, MetricKind, Quantile, Tolerance, Worse};

/// Largest relative tolerance: a hundredfold. Beyond it nothing would be tested.
const RELATIVE_MAX: f64 = 100.0;

/// What a silent plan tolerates. The figures did best on labelled recordings.
pub(super) fn default_for(kind: MetricKind, at: Option<Quantile>) -> Tolerance {
    let (relative, absolute) = match (kind, at) {
        (MetricKind::Latency, None) => (0.10, None),
        // Tails are noisier than the bulk.
        (MetricKind::Latency, Some(_)) => (0.25, None),
        (MetricKind::Ratio, _) => (0.20, Some(0.001)),
        (MetricKind::Rate | MetricKind::Gauge, _) => (0.20, None),
    };
    Tolerance {
        relative: Some(relative),
        absolute,
    }
}

/// Reads `5%`, `0.1pp`, `3ms` or `{relative: .., absolute: ..}`.
pub(super) fn read(
    reader: &mut Reader<'_>,
    field: &Field<'_>,
    metric: &Metric,
    worse: Worse,
) -> Option<Tolerance> {
    if field.scalar().is_some() {
        return match part(reader, field, metric)? {
            Part::Relative(relative) => {
                let relative = Some(check_relative(reader, field, relative, worse)?);
                Some(Tolerance {
                    relative,
                    absolute: None,
                })
            }
            Part::Absolute(absolute) => Some(Tolerance {
                relative: None,
                absolute: Some(absolute),
            }),
        };
    }
    let table = reader.table(field, Some(&["relative", "absolute"]))?;
    let mut tolerance = Tolerance {
        relative: None,
        absolute: None,
    };
    if let Some(field) = table.get("relative") {
        match part(reader, &field, metric)? {
            Part::Relative(relative) => {
                tolerance.relative = Some(check_relative(reader, &field, relative, worse)?);
            }
            Part::Absolute(_) => {
                reader.bad(&field, "the relative part is a percentage", "write 20%");
                return None;
            }
        }
    }
    if let Some(field) = table.get("absolute") {
        match part(reader, &field, metric)? {
            Part::Absolute(absolute) => tolerance.absolute = Some(absolute),
            Part::Relative(_) => {
                let help = format!("write {}", absolute_example(metric));
                reader.bad(&field, "a percentage is relative, not absolute", help);
                return None;
            }
        }
    }
    if tolerance.relative.is_none() && tolerance.absolute.is_none() {
        reader.bad(
            field,
            "the tolerance has no part",
            "give relative, absolute or both",
        );
        return None;
    }
    Some(tolerance)
}

enum Part {
    Relative(f64),
    Absolute(f64),
}

fn part(reader: &mut Reader<'_>, field: &Field<'_>, metric: &Metric) -> Option<Part> {
    let text = reader.text(field)?;
    let example = format!(
        "write 20%, or {} for an absolute part",
        absolute_example(metric)
    );
    let Some(amount) = quantity::amount(text) else {
        reader.bad(field, format!("`{text}` is not a tolerance"), example);
        return None;
    };
    let part = match amount {
        Amount::Percent(relative) => Part::Relative(relative),
        Amount::PercentagePoints(points) if metric.kind == MetricKind::Ratio => {
            if points >= 1.0 {
                reader.bad(
                    field,
                    "100 percentage points allow everything",
                    "write less",
                );
                return None;
            }
            Part::Absolute(points)
        }
        Amount::PercentagePoints(_) => {
            let message = "percentage points are for ratios only";
            reader.refuse(field, ProblemCode::Conflict, message, example);
            return None;
        }
        // Nothing is nothing, in any unit.
        Amount::Plain(0.0, None) => Part::Absolute(0.0),
        Amount::Plain(..) if metric.kind == MetricKind::Ratio => {
            reader.bad(
                field,
                format!("`{text}` has no unit that fits a ratio"),
                example,
            );
            return None;
        }
        Amount::Plain(value, unit) => {
            check_unit(reader, field, metric, unit)?;
            if unit.is_none() {
                warn_of_bare(reader, field, metric, value);
            }
            Part::Absolute(value)
        }
    };
    let (Part::Relative(value) | Part::Absolute(value)) = part;
    if value < 0.0 {
        reader.bad(
            field,
            "a tolerance cannot be negative",
            "`worse` gives the direction",
        );
        return None;
    }
    Some(match part {
        // One zero: -0 and 0 mean the same and share a hash.
        Part::Relative(value) => Part::Relative(value.abs()),
        Part::Absolute(value) => Part::Absolute(value.abs()),
    })
}

/// A number alone is in the metric's unit, where a share was perhaps meant: below one it is nearly
/// always, and with a unit at hand it need not be left to guess.
fn warn_of_bare(reader: &mut Reader<'_>, field: &Field<'_>, metric: &Metric, value: f64) {
    let percent = (value.abs() < 1.0).then(|| format!("write {}%", value.abs() * 100.0));
    let (unit, help) = match (&metric.value_unit, percent) {
        (Some(unit), Some(percent)) => (
            unit.as_str(),
            format!("{percent} for a share of the baseline, or {value}{unit}"),
        ),
        (Some(unit), None) => (unit.as_str(), format!("write {value}{unit}")),
        (None, Some(percent)) => ("", format!("{percent} for a share of the baseline")),
        (None, None) => return,
    };
    let what = match unit {
        "" => format!("{value} in the metric's own unit"),
        unit => format!("{value} {unit}"),
    };
    let message = format!("`{value}` is {what}, not a share");
    reader.warn(field.at(), message, help);
}

fn check_relative(
    reader: &mut Reader<'_>,
    field: &Field<'_>,
    relative: f64,
    worse: Worse,
) -> Option<f64> {
    if worse != Worse::Higher && relative >= 1.0 {
        let message = "a fall of 100 % or more can never be exceeded";
        reader.bad(field, message, "write less than 100% where lower is worse");
        return None;
    }
    if relative > RELATIVE_MAX {
        reader.bad(
            field,
            "the tolerance is more than a hundredfold",
            "write at most 10000%",
        );
        return None;
    }
    Some(relative)
}

fn absolute_example(metric: &Metric) -> String {
    match (metric.kind, &metric.value_unit) {
        (MetricKind::Ratio, _) => "0.1pp (percentage points)".to_owned(),
        (_, Some(unit)) => format!("5{unit}"),
        (_, None) => "a plain number".to_owned(),
    }
}

/// A written unit must be the metric's own; davy converts nothing.
fn check_unit(
    reader: &mut Reader<'_>,
    field: &Field<'_>,
    metric: &Metric,
    unit: Option<&str>,
) -> Option<()> {
    let Some(unit) = unit else { return Some(()) };
    let name = &metric.name;
    let (message, help) = match &metric.value_unit {
        Some(own) if own == unit => return Some(()),
        Some(own) => (
            format!("`{unit}` is not the unit of `{name}`, which is `{own}`"),
            format!("write the value in {own}"),
        ),
        None => (
            format!("`{name}` has no value_unit, so `{unit}` cannot be checked"),
            format!("add value_unit: {unit} to the metric, or remove the unit here"),
        ),
    };
    reader.refuse(field, ProblemCode::Conflict, message, help);
    None
}

/// Reads `< 1%`, `< 800ms`, `> 100`.
pub(super) fn limit(reader: &mut Reader<'_>, field: &Field<'_>, metric: &Metric) -> Option<Limit> {
    let text = reader.text(field)?;
    let example = match (metric.kind, &metric.value_unit) {
        (MetricKind::Ratio, _) => "write \"< 1%\"".to_owned(),
        (_, Some(unit)) => format!("write \"< 800{unit}\" or \"> 100{unit}\""),
        (_, None) => "write \"< 800\" or \"> 100\"".to_owned(),
    };
    if let Some((written, strict)) = with_equals(text) {
        let rest = text.trim_start().trim_start_matches(written).trim_start();
        let help = format!("write `{strict}`: \"{strict} {rest}\"");
        reader.bad(field, format!("`{written}` is not known"), help);
        return None;
    }
    let Some((side, rest)) = quantity::limit(text) else {
        let message = format!("`{text}` does not begin with < or >");
        reader.bad(field, message, format!("the side that is good; {example}"));
        return None;
    };
    let Some(amount) = quantity::amount(rest) else {
        reader.bad(field, format!("`{rest}` is not a number"), example);
        return None;
    };
    let is_ratio = metric.kind == MetricKind::Ratio;
    let value = match amount {
        Amount::Percent(share) if is_ratio => {
            if !(share > 0.0 && share < 1.0) {
                reader.bad(field, "a ratio's limit lies between 0% and 100%", example);
                return None;
            }
            return Some(Limit { side, value: share });
        }
        Amount::PercentagePoints(_) => {
            reader.bad(
                field,
                "a limit is not a difference: pp has no meaning here",
                example,
            );
            return None;
        }
        Amount::Plain(..) if is_ratio => {
            reader.bad(
                field,
                format!("`{rest}` has no unit that fits a ratio"),
                example,
            );
            return None;
        }
        Amount::Percent(share) => {
            check_unit(reader, field, metric, Some("%"))?;
            share * 100.0
        }
        Amount::Plain(value, unit) => {
            check_unit(reader, field, metric, unit)?;
            value
        }
    };
    if metric.kind == MetricKind::Rate && value <= 0.0 {
        reader.bad(field, "a rate's limit is above zero", example);
        return None;
    }
    Some(Limit {
        side,
        value: value + 0.0,
    })
}

/// A comparison that allows equality, with the one that davy knows.
fn with_equals(text: &str) -> Option<(&'static str, &'static str)> {
    let known = [("<=", "<"), (">=", ">"), ("≤", "<"), ("≥", ">")];
    let text = text.trim_start();
    known
        .into_iter()
        .find(|(written, _)| text.starts_with(written))
}

/// Reads `p99`, `p99.9`: for kind `latency` only.
pub(super) fn at(reader: &mut Reader<'_>, field: &Field<'_>, metric: &Metric) -> Option<Quantile> {
    let text = reader.text(field)?;
    if metric.kind != MetricKind::Latency {
        let message = "`at` asks for a quantile, which only kind latency has";
        reader.refuse(field, ProblemCode::Conflict, message, "remove `at`");
        return None;
    }
    let found = quantity::quantile(text);
    if found.is_none() {
        let help = "write p50, p99 or p99.9; tenths of a percent are the finest";
        reader.bad(field, format!("`{text}` is not a quantile"), help);
    }
    found
}
