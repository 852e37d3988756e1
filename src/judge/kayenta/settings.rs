//! What a metric asks of Kayenta's judge, with Kayenta's defaults.
//!
//! Owns the settings as values that cannot be malformed. How they are written, and what happens to
//! those that are written wrong, is `codec::kayenta`'s.

/// The share of the estimate that the interval must clear; fixed in Kayenta.
pub const TOLERANCE: f64 = 0.25;
/// The confidence of the interval; fixed in Kayenta.
pub const CONFIDENCE: f64 = 0.98;
/// Quartile ranges beyond the quartiles at which an outlier begins, where nothing else is said.
pub const OUTLIER_FACTOR: f64 = 3.0;

/// Which difference counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NanStrategy {
    /// They are dropped.
    #[default]
    Remove,
    /// They count as 0.
    Replace,
}

/// How outliers are found, where they are removed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outliers {
    /// Quartile ranges beyond the quartiles, above 0.
    pub factor: f64,
    /// Whether the fences lie at the 1st and 99th percentile at the narrowest. The judge always asks
    /// for it.
    pub reduce_sensitivity: bool,
}

/// How the size of an effect is measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Measure {
    /// The canary's mean over the baseline's.
    #[default]
    MeanRatio,
    /// P(canary > baseline), ties counting half: the common language effect size.
    Cles,
}

/// Effects from which a difference counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// From here up the canary is High.
    pub increase: f64,
    /// From here down it is Low.
    pub decrease: f64,
}

/// Everything a metric asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
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
