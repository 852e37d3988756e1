//! `dispersion` of a check: a word, a number, or what was measured beside the plan.
//!
//! Owns the written form, and which of them fits which kind. Next: `calibration`, the file that
//! `dispersion: calibrated` stands for.

use super::ProblemCode;
use super::calibration::Calibration;
use crate::config::reader::{Field, Reader};
use crate::model::Millis;
use crate::plan::dispersion::{FACTOR_MAX, mark_of};
use crate::plan::{Dispersion, Metric, MetricKind, Quantile};

/// Largest deviation of a gauge's number that can be written.
pub(super) const SD_MAX: f64 = 1e15;

/// What stands for `dispersion: calibrated`.
#[derive(Debug, Clone, Copy)]
pub enum Measured<'c> {
    /// Nothing: the plan did not come from a file with a calibration beside it.
    Nowhere,
    /// It is about to be measured; until then nothing is allowed for.
    Soon,
    /// The file beside the plan.
    Beside(&'c Calibration),
}

/// The check that a dispersion is read for.
pub(super) struct Asked<'a> {
    pub tick: Option<Millis>,
    pub metric: &'a Metric,
    pub at: Option<Quantile>,
    pub by_ratio: bool,
    pub name: &'a str,
}

/// Reads a word for a limit: only gauges have a choice, and nothing is calibrated.
pub(super) fn of_limit(
    reader: &mut Reader<'_>,
    field: &Field<'_>,
    kind: MetricKind,
) -> Option<Dispersion> {
    if kind != MetricKind::Gauge {
        let message = "`dispersion` of a limit is for kind gauge only";
        let help = "remove it; dependent samples of other kinds are described by `cluster`";
        reader.refuse(field, ProblemCode::Conflict, message, help);
        return None;
    }
    if field.scalar() == Some("calibrated") {
        let message = "a limit has no calibrated dispersion";
        let help = "use envelope (the default), or iid where ticks are known to be independent";
        reader.refuse(field, ProblemCode::NotAvailable, message, help);
        return None;
    }
    reader.word(field, &WORDS_OF_GAUGE)
}

const WORDS_OF_GAUGE: [(&str, Dispersion); 2] =
    [("iid", Dispersion::Iid), ("envelope", Dispersion::Envelope)];

/// Reads a comparison's dispersion.
pub(super) fn of_compare(
    reader: &mut Reader<'_>,
    field: &Field<'_>,
    asked: &Asked<'_>,
    measured: Measured<'_>,
) -> Option<Dispersion> {
    let is_gauge = asked.metric.kind == MetricKind::Gauge;
    match field.scalar() {
        Some("calibrated") => return calibrated(reader, field, asked, measured),
        Some("envelope") if !is_gauge => {
            let message = "`envelope` is for kind gauge only";
            let help = "write iid, calibrated, or a number: dispersion: {factor: 2.5}";
            reader.refuse(field, ProblemCode::Conflict, message, help);
            return None;
        }
        Some(_) => {
            let words: &[(&str, Dispersion)] = if is_gauge {
                &WORDS_OF_GAUGE
            } else {
                &WORDS_OF_GAUGE[..1]
            };
            return reader.word(field, words);
        }
        None => {}
    }
    let (key, other) = if is_gauge {
        ("sd", "factor")
    } else {
        ("factor", "sd")
    };
    let table = reader.table(field, Some(&["factor", "sd"]))?;
    if let Some(strange) = table.get(other) {
        let message = format!("`{other}` does not fit this kind");
        let help = format!(
            "a {} takes {key}",
            if is_gauge {
                "gauge"
            } else {
                "check of samples"
            }
        );
        reader.refuse(&strange, ProblemCode::Conflict, message, help);
        return None;
    }
    let help = format!("give the number: dispersion: {{{key}: 0.5}}");
    let help = if is_gauge {
        help
    } else {
        help.replace("0.5", "2.5")
    };
    let number = reader.required(&table, key, &help)?;
    if is_gauge {
        reader
            .number(&number, f64::MIN_POSITIVE..=SD_MAX)
            .map(Dispersion::Sd)
    } else {
        reader
            .number(&number, 1.0..=FACTOR_MAX)
            .map(Dispersion::Factor)
    }
}

fn calibrated(
    reader: &mut Reader<'_>,
    field: &Field<'_>,
    asked: &Asked<'_>,
    measured: Measured<'_>,
) -> Option<Dispersion> {
    let is_gauge = asked.metric.kind == MetricKind::Gauge;
    let calibration = match measured {
        Measured::Beside(calibration) => calibration,
        Measured::Soon => return Some(Dispersion::default_for(asked.metric.kind)),
        Measured::Nowhere => {
            let message = "there is no calibration beside this plan";
            let number = if is_gauge {
                "{sd: 0.1}"
            } else {
                "{factor: 2.5}"
            };
            let help = format!(
                "run davy calibrate --plan PLAN RECORDING, or write a number: dispersion: {number}"
            );
            reader.refuse(field, ProblemCode::MissingKey, message, help);
            return None;
        }
    };
    let again = "run davy calibrate --plan PLAN RECORDING again";
    let Some(found) = calibration.checks.get(asked.name) else {
        let message = format!("the calibration has no check `{}`", asked.name);
        reader.refuse(field, ProblemCode::MissingKey, message, again);
        return None;
    };
    let mark = mark_of(asked.tick?, asked.metric, asked.at, asked.by_ratio);
    if found.definition != mark {
        let message = "the calibration was measured for another definition of this check: \
                       its metric, tick, quantile or kind of tolerance has changed";
        reader.refuse(field, ProblemCode::Conflict, message, again);
        return None;
    }
    let fits = matches!(found.dispersion, Dispersion::Sd(_)) == is_gauge;
    if !fits {
        let message = "the calibration holds the wrong number for this kind of metric";
        reader.refuse(field, ProblemCode::Conflict, message, again);
        return None;
    }
    Some(found.dispersion)
}
