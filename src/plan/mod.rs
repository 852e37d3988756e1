//! The validated analysis plan: what an SRE asked, with every default filled in.
//!
//! Owns the meaning of a plan: its types, the invariants they keep, its hash, its selectors. It
//! must not know how a plan is written (YAML, places in a file): that is `config::plan_file`,
//! which is the only way from text to a [`Plan`]. Next: `judge`, which reads a plan's checks.

mod cluster;
pub mod dispersion;
pub mod forecast;
mod invariants;
pub mod kayenta;
pub mod query;
pub mod recording;
mod saved;
pub mod selector;
mod source;
pub mod traffic;

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::model::Millis;
pub use cluster::{Cluster, Lifetime, UNITS_PER_TICK_DEFAULT, UNITS_PER_TICK_LIMIT};
pub use dispersion::Dispersion;
pub use query::Pulled;
pub use saved::SavedPlan;
pub use selector::{
    REGEXES_COMPILED_BYTES_MAX, REGEXES_HELP, Selector, SelectorError, SelectorTemplate,
};
pub use source::{Counted, Source};

/// Looks from the start to the horizon: bounds the memory of simulated null paths (64 MiB).
pub const LOOKS_MAX: i64 = 1_024;
/// Looks from the start to the end of an extension, which costs no null paths but state by tick.
pub const LOOKS_WITH_EXTENSION_MAX: i64 = 4 * LOOKS_MAX;
/// Ticks of a watch after a pass: no more than a few numbers a check are kept of each.
pub const WATCH_TICKS_MAX: i64 = 8 * LOOKS_MAX;
/// Checks in one plan.
pub const CHECKS_MAX: usize = 32;
/// Metrics in one plan.
pub const METRICS_MAX: usize = 32;

/// A named analysis configuration, immutable once an analysis runs on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Plan {
    /// Name, `[a-z0-9][a-z0-9._-]*`, at most 63 characters.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Planned longest duration; alpha is spent over it. A whole number of ticks.
    pub horizon: Millis,
    /// How long an analysis that is inconclusive at the horizon may go on after it; 0 for not at
    /// all. A whole number of ticks.
    pub extend: Millis,
    /// Event-time interval of one look.
    pub tick: Millis,
    /// How late, against the event-time watermark, a sample may be.
    pub lateness: Millis,
    /// Bake time before a pass.
    pub min_duration: Millis,
    /// Whether the first pass ends the analysis.
    pub stop_on_pass: bool,
    /// P(false fail) over the whole analysis and all gating checks; in (0, 0.5).
    pub alpha: f64,
    /// P(false pass) per check; in (0, 0.5).
    pub beta: f64,
    /// Decision of a final inconclusive verdict.
    pub on_inconclusive: OnInconclusive,
    /// Decision when there was nothing to judge.
    pub on_no_data: OnNoData,
    /// What a step's gate asks of that step's own samples.
    pub step: StepGate,
    /// Watching after a pass; `None` for not at all.
    pub watch: Option<WatchFor>,
    /// Fields of the change that must be given at start.
    pub change_require: Vec<ChangeField>,
    /// Label matchers that find each arm's series; absent when samples are addressed.
    pub arms: Option<ArmTemplates>,
    /// Metrics, sorted by name.
    pub metrics: Vec<Metric>,
    /// Checks, in the order written.
    pub checks: Vec<Check>,
    /// Set where Kayenta's judge is asked instead of davy's, of every check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kayenta: Option<kayenta::Scoring>,
    /// Traffic the plan expects; nothing is judged by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<traffic::Traffic>,
}

/// What a step's gate asks of samples that belong to the step itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepGate {
    /// How long the step must have lasted.
    pub min_duration: Millis,
    /// Samples per arm, of every gating compare check's metric, seen within the step.
    pub min_samples: u64,
}

/// How an analysis goes on watching after a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchFor {
    /// How long after the pass, a whole number of ticks.
    pub duration: Millis,
    /// Mean time until a false alarm, at least.
    pub false_alarms_every: Millis,
}

/// Matchers of both arms, with `{{name}}` variables filled from the arms given at start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArmTemplates {
    /// Matchers of the baseline.
    pub baseline: SelectorTemplate,
    /// Matchers of the canary.
    pub canary: SelectorTemplate,
}

/// Decision of a final inconclusive verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum OnInconclusive {
    Hold,
    Rollback,
    Promote,
}

/// Decision when nothing could be judged for want of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum OnNoData {
    Hold,
    Rollback,
}

/// A field of the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum ChangeField {
    Id,
    Revision,
    Owner,
    Namespace,
    Service,
    Environment,
    Region,
}

/// A named stream of samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Name, unique in the plan.
    pub name: String,
    /// What a sample of it is.
    pub kind: MetricKind,
    /// Unit of measurement, for people (`ms`, `bytes`).
    pub value_unit: Option<String>,
    /// Where samples come from.
    pub source: Source,
    /// Clustering of samples by unit.
    pub cluster: Option<Cluster>,
    /// How finely values of a distribution are recorded.
    pub resolution: Resolution,
    /// Whether values below zero are expected: a relative tolerance has no meaning for them.
    pub negative: bool,
}

/// How finely values of a distribution (kind latency) are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// To be found from the values.
    Detected,
    /// As measured: equal values are equal.
    Exact,
    /// Rounded to the nearest multiple of this step, in the metric's unit.
    Step(f64),
}

/// The four kinds of metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricKind {
    /// A distribution of values, such as durations or sizes.
    Latency,
    /// Bad of total.
    Ratio,
    /// Events per exposure.
    Rate,
    /// Points of a time series.
    Gauge,
}

/// One question asked of a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Unique name; `<metric>[-<at>]` unless given.
    pub name: String,
    /// Index into [`Plan::metrics`].
    pub metric: usize,
    /// The question.
    pub question: Question,
    /// Whether it decides; a check that does not is computed and shown only.
    pub gating: bool,
    /// Share of alpha, relative to the other gating checks.
    pub weight: f64,
    /// Samples per arm before a pass.
    pub min_samples: u64,
    /// Units per arm before any verdict of this check; 1 asks for nothing.
    pub require_units: u32,
    /// Groups of Kayenta's score that it counts in; empty for davy's own checks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "ask")]
pub enum Question {
    /// Canary against baseline.
    Compare {
        /// A quantile (tail exceedance); `None` compares the whole distribution, ratio or rate.
        at: Option<Quantile>,
        /// Which direction is worse.
        worse: Worse,
        /// How much worse is acceptable.
        tolerance: Tolerance,
        /// How dependence beyond a cluster's is allowed for.
        dispersion: Dispersion,
    },
    /// Canary against baseline, by the rules of Kayenta's judge.
    Classify {
        /// The quantile of a tick, of kind `latency`: each tick is one value.
        at: Option<Quantile>,
        /// What is asked of the metric.
        settings: kayenta::Settings,
    },
    /// The canary against an absolute limit.
    Threshold {
        /// A quantile of kind `latency`; `None` for ratios, rates and gauges.
        at: Option<Quantile>,
        /// The limit that must hold.
        limit: Limit,
        /// How it is decided.
        form: ThresholdForm,
        /// What a tick without data counts as, in the alarm forms.
        no_data: NoData,
        /// How dependence between ticks of a gauge is allowed for, in the exact form.
        dispersion: Dispersion,
    },
}

/// A quantile level strictly between 0 and 1, kept in tenths of a percent so that it is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "u16", try_from = "u16")]
pub struct Quantile {
    per_mille: u16,
}

impl Quantile {
    /// From tenths of a percent: 990 is p99, 999 is p99.9.
    pub fn from_per_mille(per_mille: u16) -> Option<Quantile> {
        (1..1000)
            .contains(&per_mille)
            .then_some(Quantile { per_mille })
    }

    /// The level, such as 0.99.
    pub fn level(self) -> f64 {
        f64::from(self.per_mille) / 1000.0
    }
}

impl From<Quantile> for u16 {
    fn from(quantile: Quantile) -> u16 {
        quantile.per_mille
    }
}

impl TryFrom<u16> for Quantile {
    type Error = &'static str;

    fn try_from(per_mille: u16) -> Result<Quantile, Self::Error> {
        Quantile::from_per_mille(per_mille).ok_or("a quantile lies between 0 and 1000 per mille")
    }
}

impl fmt::Display for Quantile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.per_mille.is_multiple_of(10) {
            write!(f, "p{}", self.per_mille / 10)
        } else {
            write!(f, "p{}.{}", self.per_mille / 10, self.per_mille % 10)
        }
    }
}

/// Which direction is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Worse {
    Higher,
    Lower,
    Either,
}

/// How much worse is acceptable: beyond the larger of the two parts is a degradation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tolerance {
    /// Relative part as a fraction (0.05 is 5 %); `None` where only the absolute part counts.
    pub relative: Option<f64>,
    /// Absolute part in the metric's unit (a fraction for ratios: 0.001 is 0.1pp).
    pub absolute: Option<f64>,
}

/// A limit that must hold, such as `< 800`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// Whether the measure must stay below or above the value.
    pub side: LimitSide,
    /// In the metric's unit; a fraction for ratios (`< 1%` is 0.01).
    pub value: f64,
}

/// Which side of the limit is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitSide {
    /// `< x`: above is a breach.
    Below,
    /// `> x`: below is a breach.
    Above,
}

/// How a threshold is decided.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "form")]
pub enum ThresholdForm {
    /// Exact sequential one-sample test.
    Exact,
    /// The alarm form: M breaching ticks of the last N. A policy, not a test.
    Breach {
        /// M, 1 to N.
        periods: u32,
        /// N.
        of: u32,
    },
    /// The alarm form for error budgets: burning in a long and in a short window. A policy, not a
    /// test. The check's limit is the bad share at which the budget burns that fast.
    BurnRate(BurnRate),
}

/// How fast an error budget may burn, and over which windows that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BurnRate {
    /// Share of good events that the objective asks for, such as 0.999.
    pub slo: f64,
    /// The long window, a whole number of ticks.
    pub long: Millis,
    /// The short window, shorter than the long one.
    pub short: Millis,
    /// Burn rate above which both windows must lie: 1 uses the budget up in exactly its period.
    pub factor: f64,
    /// Time the budget is meant to last.
    pub period: Millis,
}

impl BurnRate {
    /// Bad share that the objective allows.
    pub fn budget(&self) -> f64 {
        1.0 - self.slo
    }
}

/// What a tick without data counts as, in the alarm forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoData {
    /// Enough missing ticks make the check inconclusive.
    Missing,
    /// Counts as a breach.
    Breaching,
    /// The tick is left out; older ticks take its place.
    Ignore,
    /// Counts as good.
    NotBreaching,
}

// === impl Plan ===

impl Serialize for Plan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Plan::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Plan {
    /// A recorded plan is held to the invariants too: it comes with a file a person can edit.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Plan, D::Error> {
        let plan = Plan::deserialize(deserializer)?;
        invariants::check(&plan).map_err(D::Error::custom)?;
        Ok(plan)
    }
}

impl Plan {
    /// The plan's version: SHA-256, in hex, of the parsed plan with its defaults. Two files that
    /// mean the same have the same hash; comments and layout do not count.
    pub fn hash(&self) -> String {
        let canonical = serde_json::to_vec(self).expect("a plan is plain data");
        let digest = Sha256::digest(&canonical);
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Number of planned looks, to the horizon.
    pub fn looks(&self) -> usize {
        (self.horizon / self.tick).max(1) as usize
    }

    /// Number of looks to the end of the extension.
    pub fn looks_with_extension(&self) -> usize {
        self.looks() + (self.extend / self.tick) as usize
    }

    /// Most looks, extension included: gauges simulate their thresholds there too.
    pub fn looks_with_extension_max(metrics: impl IntoIterator<Item = MetricKind>) -> i64 {
        let has_gauge = metrics.into_iter().any(|kind| kind == MetricKind::Gauge);
        if has_gauge {
            LOOKS_MAX
        } else {
            LOOKS_WITH_EXTENSION_MAX
        }
    }

    /// Probabilities that a false fail over the analysis, and a false pass of a check, are held to:
    /// Kayenta's judge holds to none.
    pub fn guaranteed(&self) -> [f64; 2] {
        match self.kayenta {
            Some(_) => [1.0, 1.0],
            None => [self.alpha, self.beta],
        }
    }

    /// Index of the metric of this name.
    pub fn metric_index(&self, name: &str) -> Option<usize> {
        self.metrics.iter().position(|metric| metric.name == name)
    }

    /// A check's share of alpha: its weight among the gating checks that spend any. A shadow
    /// check is computed at the share it would have if it were gating.
    pub fn alpha_of(&self, check: &Check) -> f64 {
        let spends = |c: &&Check| c.gating && c.question.spends_alpha();
        let total: f64 = self.checks.iter().filter(spends).map(|c| c.weight).sum();
        let total = if check.gating {
            total
        } else {
            total + check.weight
        };
        self.alpha * check.weight / total
    }
}

impl Question {
    /// davy's tests spend alpha. The alarm forms are policies, and so are Kayenta's rules: they promise
    /// nothing.
    pub fn spends_alpha(&self) -> bool {
        match self {
            Question::Compare { .. } => true,
            Question::Classify { .. } => false,
            Question::Threshold { form, .. } => *form == ThresholdForm::Exact,
        }
    }

    /// Whether it is about both arms, and not about the canary alone.
    pub fn is_of_both(&self) -> bool {
        !matches!(self, Question::Threshold { .. })
    }

    /// The quantile that it is about.
    pub fn at(&self) -> Option<Quantile> {
        match *self {
            Question::Compare { at, .. }
            | Question::Classify { at, .. }
            | Question::Threshold { at, .. } => at,
        }
    }
}
