//! Rows to be judged one by one: settings and the values of both sides.
//!
//! Owns the form that `davy judge --kayenta` reads and answers with. It is davy's own, so a word it
//! does not know is refused, with the row's index, and not passed over.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::numbers::{self, Loose, number};
use super::pairs::from_json;
use crate::judge::kayenta::classify::{classify, evidence};
use crate::judge::kayenta::transform::transform;
use crate::judge::kayenta::{Direction, Measure, NanStrategy};
use crate::plan::kayenta::{CONFIDENCE, OUTLIER_FACTOR, Outliers, Settings, TOLERANCE, Thresholds};

/// A row: what to judge, and how.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Row {
    /// How it is judged; everything has a default.
    #[serde(default)]
    pub params: Params,
    /// Values of the baseline.
    #[serde(with = "numbers")]
    pub baseline: Vec<f64>,
    /// Values of the canary.
    #[serde(with = "numbers")]
    pub canary: Vec<f64>,
}

/// How a row is judged.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Params {
    tolerance: Option<Loose>,
    conf_level: Option<Loose>,
    direction: Option<DirectionWord>,
    nan_strategy: Option<NanWord>,
    critical: bool,
    must_have_data: bool,
    effect_size_measure: Option<MeasureWord>,
    allowed_increase: Option<Loose>,
    allowed_decrease: Option<Loose>,
    critical_increase: Option<Loose>,
    critical_decrease: Option<Loose>,
    outliers: Option<OutlierParams>,
    /// Keys that are none of these.
    #[serde(flatten)]
    pub others: std::collections::BTreeMap<String, Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DirectionWord {
    Increase,
    Decrease,
    Either,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum NanWord {
    Remove,
    Replace,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum MeasureWord {
    MeanRatio,
    Cles,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StrategyWord {
    Remove,
    Keep,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OutlierParams {
    strategy: Option<StrategyWord>,
    outlier_factor: Option<Loose>,
    reduce_sensitivity: Option<bool>,
}

/// The answer to a row. What was not computed is null.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub struct Answer {
    /// The label.
    pub classification: &'static str,
    /// Lower end of the interval of the shift.
    pub ci_low: Option<Value>,
    /// Upper end.
    pub ci_high: Option<Value>,
    /// The estimated shift.
    pub estimate: Option<Value>,
    /// The effect, by the row's measure.
    #[serde(rename = "effectSize")]
    pub effect_size: Option<Value>,
    /// The ratio of the means.
    pub deviation: Option<Value>,
    /// Whether it would fail a run.
    pub critical: bool,
    /// Values of the baseline after missing values and outliers were seen to.
    pub n_baseline_used: usize,
    /// The same of the canary.
    pub n_canary_used: usize,
}

/// Reads rows.
///
/// # Errors
/// What is no array of rows, with the index of the first that is wrong and the fix.
pub fn read_rows(text: &[u8]) -> Result<Vec<Row>, String> {
    let raw: Vec<&serde_json::value::RawValue> = from_json(text).map_err(|error| {
        format!("{error}; write an array of rows: [{{\"params\": {{}}, \"baseline\": [..], \"canary\": [..]}}]")
    })?;
    let read = |(index, row): (usize, &&serde_json::value::RawValue)| {
        from_json(row.get().as_bytes())
            .and_then(checked)
            .map_err(|error| format!("row {index}: {error}"))
    };
    raw.iter().enumerate().map(read).collect()
}

fn checked(row: Row) -> Result<Row, String> {
    let settings = row.settings();
    let named = |wrong: bool, text: &str| if wrong { Err(text.to_owned()) } else { Ok(()) };
    let confidence = settings.confidence;
    named(
        !(confidence > 0.0 && confidence < 1.0),
        "params.confLevel lies between 0 and 1, such as 0.98",
    )?;
    named(
        !(0.0..f64::INFINITY).contains(&settings.tolerance),
        "params.tolerance is 0 or above, such as 0.25",
    )?;
    named(
        settings
            .outliers
            .is_some_and(|outliers| is_no_factor(outliers.factor)),
        "params.outliers.outlierFactor is above 0, such as 3",
    )?;
    Ok(row)
}

fn is_no_factor(factor: f64) -> bool {
    factor.is_nan() || factor <= 0.0
}

// === impl Row ===

impl Row {
    /// The settings that its parameters amount to.
    pub fn settings(&self) -> Settings {
        let params = &self.params;
        let given = |value: Option<Loose>, default| value.map_or(default, |Loose(value)| value);
        let measure = match params.effect_size_measure {
            Some(MeasureWord::Cles) => Measure::Cles,
            _ => Measure::MeanRatio,
        };
        let neutral = measure.neutral();
        Settings {
            direction: match params.direction {
                Some(DirectionWord::Increase) => Direction::Increase,
                Some(DirectionWord::Decrease) => Direction::Decrease,
                _ => Direction::Either,
            },
            nan_strategy: match params.nan_strategy {
                Some(NanWord::Replace) => NanStrategy::Replace,
                _ => NanStrategy::Remove,
            },
            outliers: params.outliers.as_ref().and_then(OutlierParams::outliers),
            critical: params.critical,
            must_have_data: params.must_have_data,
            measure,
            allowed: Thresholds {
                increase: given(params.allowed_increase, neutral),
                decrease: given(params.allowed_decrease, neutral),
            },
            critical_at: Thresholds {
                increase: given(params.critical_increase, neutral),
                decrease: given(params.critical_decrease, neutral),
            },
            tolerance: given(params.tolerance, TOLERANCE),
            confidence: given(params.conf_level, CONFIDENCE),
        }
    }

    /// Judges it.
    pub fn judge(&self) -> Answer {
        let settings = self.settings();
        let baseline = transform(&self.baseline, &settings);
        let canary = transform(&self.canary, &settings);
        let classified = classify(&baseline, &canary, &settings);
        // Identical values pass without a test; a row is for looking at numbers, so they are given.
        let tested = || evidence(&baseline, &canary, &settings);
        let evidence = classified.evidence.or_else(tested);
        let interval = evidence.map(|evidence| evidence.interval);
        Answer {
            classification: classified.label.as_str(),
            ci_low: interval.map(|interval| number(interval.low)),
            ci_high: interval.map(|interval| number(interval.high)),
            estimate: interval.map(|interval| number(interval.estimate)),
            effect_size: evidence.map(|evidence| number(evidence.effect_size)),
            deviation: classified.deviation.map(number),
            critical: classified.critical,
            n_baseline_used: baseline.len(),
            n_canary_used: canary.len(),
        }
    }
}

// === impl OutlierParams ===

impl OutlierParams {
    fn outliers(&self) -> Option<Outliers> {
        (self.strategy == Some(StrategyWord::Remove)).then(|| Outliers {
            factor: self
                .outlier_factor
                .map_or(OUTLIER_FACTOR, |Loose(value)| value),
            reduce_sensitivity: self.reduce_sensitivity.unwrap_or(true),
        })
    }
}
