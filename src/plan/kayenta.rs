//! What a plan asks of Kayenta's judge, with Kayenta's defaults: of each metric, and of the score.
//!
//! Owns the settings as values that cannot be malformed. How they are written, and what happens to
//! those that are written wrong, is `codec::kayenta`'s, and in a plan file
//! `config::plan_file::kayenta`'s. Next: `judge::kayenta`, the rules themselves; `judge::scored`,
//! which asks them of an analysis.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::Millis;

/// The share of the estimate that the interval must clear; fixed in Kayenta.
pub const TOLERANCE: f64 = 0.25;
/// The confidence of the interval; fixed in Kayenta.
pub const CONFIDENCE: f64 = 0.98;
/// Quartile ranges beyond the quartiles at which an outlier begins, where nothing else is said.
pub const OUTLIER_FACTOR: f64 = 3.0;

/// Least score that passes, where a plan does not say.
pub const PASS_DEFAULT: f64 = 95.0;
/// Least score that is no failure, where a plan does not say.
pub const MARGINAL_DEFAULT: f64 = 75.0;
/// Groups of one check.
pub const GROUPS_MAX: usize = 32;

/// How the labels of an analysis become a score, and when it is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scoring {
    /// Least score that passes, 0 to 100.
    pub pass: f64,
    /// Least score that is no failure, 0 to 100 and at most `pass`.
    pub marginal: f64,
    /// Time from one judgement to the next, a whole number of ticks; the horizon for a single one.
    /// The last is at the horizon, whatever is left of an interval then.
    pub interval: Millis,
    /// How far back a judgement looks, a whole number of ticks; `None` for back to the start.
    pub lookback: Option<Millis>,
    /// Weights of groups in percent, by name; those that are not here share what is left of 100.
    pub weights: BTreeMap<String, f64>,
}

/// Which difference counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The canary above the baseline.
    Increase,
    /// The canary below it.
    Decrease,
    /// Both.
    #[default]
    Either,
}

/// What becomes of values that are missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NanStrategy {
    /// They are dropped.
    #[default]
    Remove,
    /// They count as 0.
    Replace,
}

/// How outliers are found, where they are removed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Outliers {
    /// Quartile ranges beyond the quartiles, above 0.
    pub factor: f64,
    /// Whether the fences lie at the 1st and 99th percentile at the narrowest. The judge always asks
    /// for it.
    pub reduce_sensitivity: bool,
}

/// How the size of an effect is measured.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The canary's mean over the baseline's.
    #[default]
    MeanRatio,
    /// P(canary > baseline), ties counting half: the common language effect size.
    Cles,
}

/// Effects from which a difference counts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// From here up the canary is High.
    pub increase: f64,
    /// From here down it is Low.
    pub decrease: f64,
}

/// Everything a metric asks for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Which difference counts.
    pub direction: Direction,
    /// What becomes of missing values.
    pub nan_strategy: NanStrategy,
    /// `None` keeps outliers.
    pub outliers: Option<Outliers>,
    /// Whether a failure of this metric fails everything.
    pub critical: bool,
    /// Whether missing data are a failure of this metric.
    pub must_have_data: bool,
    /// How the effect is measured.
    pub measure: Measure,
    /// Effects that make a High or a Low.
    pub allowed: Thresholds,
    /// Effects that make it critical, of a critical metric.
    pub critical_at: Thresholds,
    /// Share of the estimate that the interval must clear.
    pub tolerance: f64,
    /// Confidence of the interval, between 0 and 1.
    pub confidence: f64,
}

// === impl Scoring ===

impl Scoring {
    /// A single judgement, at the horizon.
    pub fn once(horizon: Millis) -> Scoring {
        Scoring {
            pass: PASS_DEFAULT,
            marginal: MARGINAL_DEFAULT,
            interval: horizon,
            lookback: None,
            weights: BTreeMap::new(),
        }
    }

    /// Whether there is a judgement once so many ticks are closed, of a plan of `looks`.
    pub fn is_due(&self, closed: usize, looks: usize, tick: Millis) -> bool {
        let every = (self.interval / tick).max(1) as usize;
        closed >= looks || closed.is_multiple_of(every)
    }

    /// Ticks closed at the first judgement after this many.
    pub fn next(&self, closed: usize, looks: usize, tick: Millis) -> usize {
        let every = (self.interval / tick).max(1) as usize;
        ((closed / every + 1) * every).min(looks)
    }
}

// === impl Measure ===

impl Measure {
    /// The effect of no difference, which is where thresholds lie unless they are given.
    pub fn neutral(self) -> f64 {
        match self {
            Measure::MeanRatio => 1.0,
            Measure::Cles => 0.5,
        }
    }
}

// === impl Thresholds ===

impl Thresholds {
    /// Both at no effect.
    pub fn neutral(measure: Measure) -> Thresholds {
        Thresholds {
            increase: measure.neutral(),
            decrease: measure.neutral(),
        }
    }
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Settings {
        let measure = Measure::default();
        Settings {
            direction: Direction::default(),
            nan_strategy: NanStrategy::default(),
            outliers: None,
            critical: false,
            must_have_data: false,
            measure,
            allowed: Thresholds::neutral(measure),
            critical_at: Thresholds::neutral(measure),
            tolerance: TOLERANCE,
            confidence: CONFIDENCE,
        }
    }
}
