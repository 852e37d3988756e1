//! The schema of `judge: kayenta` and of what a check asks of that judge.
//!
//! Owns these types only, which are never parsed into. Next: `plan_file::kayenta`, the reader.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::Duration;
use crate::plan::kayenta::{Measure, NanStrategy};

/// Who judges.
#[derive(JsonSchema)]
#[serde(untagged)]
pub(super) enum WrittenJudge {
    /// By name, with everything at its default.
    Word(JudgeWord),
    /// Kayenta's, with a score of one's own.
    Kayenta(KayentaJudge),
}

#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum JudgeWord {
    /// davy's sequential tests, valid at every look.
    Davy,
    /// Kayenta's NetflixACAJudge-v1.0, which promises nothing.
    Kayenta,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct KayentaJudge {
    /// Its score.
    kayenta: WrittenScoring,
}

/// How labels become a score, and when.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct WrittenScoring {
    /// Least score that passes. Default 95.
    #[schemars(range(min = 0, max = 100))]
    pass: Option<f64>,
    /// Least score that is no failure. Default 75.
    #[schemars(range(min = 0, max = 100))]
    marginal: Option<f64>,
    /// Time from one judgement to the next, a whole number of ticks. Default a single one, at the
    /// horizon.
    interval: Option<Duration>,
    /// How far back a judgement looks, a whole number of ticks. Default to the start.
    lookback: Option<Duration>,
    /// Weights of groups in percent; those that are not here share what is left.
    group_weights: Option<BTreeMap<String, f64>>,
}

/// What Kayenta's judge is asked of a metric.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct WrittenSettings {
    /// Groups whose score it counts in. Default one of its own name.
    #[schemars(length(max = 32))]
    groups: Option<Vec<String>>,
    /// Whether a difference fails the whole. Default false.
    critical: Option<bool>,
    /// Whether missing data are a failure. Default false.
    must_have_data: Option<bool>,
    /// What becomes of a tick without data. Default remove.
    nan_strategy: Option<WrittenNanStrategy>,
    /// Quartile ranges beyond the quartiles from which a value is dropped. Default: none is.
    outlier_factor: Option<f64>,
    /// How large an effect must be.
    effect_size: Option<WrittenEffect>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct WrittenEffect {
    /// How it is measured. Default mean_ratio.
    measure: Option<WrittenMeasure>,
    /// Least effect of a High. Default 1, of cles 0.5.
    allowed_increase: Option<f64>,
    /// Largest effect of a Low. Default 1, of cles 0.5.
    allowed_decrease: Option<f64>,
    /// Least effect of a critical High.
    critical_increase: Option<f64>,
    /// Largest effect of a critical Low.
    critical_decrease: Option<f64>,
}

super::words!(WrittenNanStrategy for NanStrategy { Remove, Replace });
super::words!(WrittenMeasure for Measure { MeanRatio, Cles });
