//! The words every other room uses: arms, times, samples, outcomes and reasons.
//!
//! Owns the vocabulary and nothing else. It must not know of plans, windows or bytes.
//! Values that would be nonsense (a NaN, a weight of zero) cannot be built here.

pub mod series;

mod labels;
mod words_for_infinities;

use std::collections::BTreeMap;
use std::fmt;

pub use labels::Labels;
use serde::{Deserialize, Serialize};

/// A duration in whole milliseconds. Never negative where a plan is concerned.
pub type Millis = i64;

/// Which side of the comparison a sample belongs to.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// What runs in production today.
    Baseline,
    /// What is being tried.
    Canary,
}

impl Arm {
    /// Both arms, baseline first.
    pub const BOTH: [Arm; 2] = [Arm::Baseline, Arm::Canary];

    /// 0 for the baseline, 1 for the canary: the index into per-arm arrays.
    pub fn index(self) -> usize {
        match self {
            Arm::Baseline => 0,
            Arm::Canary => 1,
        }
    }

    /// The word used in samples, plans and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Arm::Baseline => "baseline",
            Arm::Canary => "canary",
        }
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Largest count in one sample: a weight, a total, a number of events.
pub const COUNT_MAX: u64 = 1 << 40;

/// An instant in unix milliseconds.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Unix milliseconds.
    pub fn millis(self) -> i64 {
        self.0
    }

    /// This instant moved by a duration; saturates instead of wrapping.
    pub fn plus(self, millis: Millis) -> Timestamp {
        Timestamp(self.0.saturating_add(millis))
    }

    /// How long after `earlier` this instant is (negative when it is before it).
    pub fn since(self, earlier: Timestamp) -> Millis {
        self.0.saturating_sub(earlier.0)
    }
}

/// A number in the order of the number line, with one zero.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Ordered(f64);

impl Ordered {
    /// The number, which must not be NaN where the order is to mean something.
    pub fn new(number: f64) -> Ordered {
        // The negative zero becomes the other one.
        Ordered(number + 0.0)
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Ordered) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Ordered) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ordered {
    fn eq(&self, other: &Ordered) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ordered {}

/// What one sample measured. The metric's kind in the plan decides which form it must have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// Values with their weights (how often each was seen). `weights` is empty when every weight
    /// is 1, otherwise as long as `values`. Values are never NaN; infinities are allowed.
    Values {
        /// The measured values, in the metric's unit. JSON has no infinities, so they are written
        /// as the words `inf` and `-inf`.
        #[serde(with = "words_for_infinities")]
        values: Vec<f64>,
        /// Whole numbers from 1 up; empty means all 1.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        weights: Vec<u64>,
    },
    /// Bad events of total events, for kind `ratio`.
    Ratio {
        /// Events that went wrong; at most `total`.
        bad: u64,
        /// All events.
        total: u64,
    },
    /// Values that are known by the bucket they lie in: above its low end, up to its high one.
    Buckets {
        /// Low end of each bucket.
        #[serde(with = "words_for_infinities")]
        lows: Vec<f64>,
        /// High end of each bucket; infinite for an open one.
        #[serde(with = "words_for_infinities")]
        highs: Vec<f64>,
        /// Values in each.
        counts: Vec<u64>,
    },
    /// Observations up to each of some bounds, as classic Prometheus buckets count them: at times in
    /// different requests, for which reason they are put together at the tick's close only.
    UpTo {
        /// Whose they are: a number for each histogram. Those of several are never mixed.
        of: u64,
        /// Upper bounds, ascending; the last one of a histogram is infinite.
        #[serde(with = "words_for_infinities")]
        bounds: Vec<f64>,
        /// Observations up to each bound.
        counts: Vec<u64>,
        /// Points of its series that each count sums up.
        points: Vec<u32>,
        /// How many of these were the first after a reset: at least, and at most.
        resets: Vec<[u32; 2]>,
    },
    /// Events over an exposure (seconds, requests, ...), for kind `rate`.
    Rate {
        /// Number of events.
        events: u64,
        /// Positive, finite exposure over which they were counted.
        exposure: f64,
    },
}

impl Reading {
    /// One value of weight 1.
    pub fn value(value: f64) -> Reading {
        Reading::Values {
            values: vec![value],
            weights: Vec::new(),
        }
    }

    /// Samples it holds: weights of values, totals of ratios, one for a rate. Of counts up to
    /// bounds those up to the infinite one are all.
    pub fn samples(&self) -> u64 {
        let sum = |counts: &[u64]| {
            let counts = counts.iter();
            counts.fold(0_u64, |sum, &count| sum.saturating_add(count))
        };
        match self {
            Reading::Values { values, weights } if weights.is_empty() => values.len() as u64,
            Reading::Values { weights, .. } => sum(weights),
            Reading::Ratio { total, .. } => *total,
            Reading::Rate { .. } => 1,
            Reading::Buckets { counts, .. } => sum(counts),
            Reading::UpTo { bounds, counts, .. } => {
                let all = bounds.iter().zip(counts);
                let all = all.filter(|(bound, _)| **bound == f64::INFINITY);
                all.fold(0, |sum, (_, &count)| sum.saturating_add(count))
            }
        }
    }
}

/// One sample as it arrived, decoded but not yet assigned to an analysis.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Event time.
    pub ts: Timestamp,
    /// Metric name: the plan's metric name for addressed samples, a series name otherwise.
    pub metric: String,
    /// Labels, without the metric name. Empty for most addressed samples.
    pub labels: Labels,
    /// What was measured.
    pub reading: Reading,
    /// What was randomised or is clustered: trace, client, pod.
    pub unit: Option<String>,
    /// Idempotency id: a second sample with this id in one analysis is a duplicate.
    pub id: Option<String>,
    /// Explicit address; without one, the labels decide.
    pub address: Option<Address>,
    /// Values the sender could not measure (`null`): counted as missing for the arm.
    pub missing: u32,
}

/// The explicit address of a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Id of the analysis.
    pub analysis: String,
    /// Which arm the sample belongs to.
    pub arm: Arm,
}

/// The outcome of a check or of an analysis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Shown: any degradation is within tolerance.
    Pass,
    /// Shown: the canary is worse than the tolerance allows.
    Fail,
    /// Neither was shown yet.
    Inconclusive,
}

impl Outcome {
    /// The word, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::Inconclusive => "inconclusive",
        }
    }
}

/// What a verdict asks of the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Go on with the rollout.
    Promote,
    /// Take the canary out.
    Rollback,
    /// Stay where you are.
    Hold,
}

/// Why a check or an analysis is where it is: stable codes for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Evidence of degradation beyond the tolerance.
    Degraded,
    /// Evidence that any degradation is within the tolerance.
    WithinTolerance,
    /// The limit of a threshold check is broken.
    LimitBreached,
    /// The limit of a threshold check is kept.
    WithinLimit,
    /// More samples are needed.
    NeedsSamples,
    /// The minimum duration has not passed yet, or more time is needed.
    NeedsTime,
    /// Neither arm received anything on this metric.
    NoTraffic,
    /// Not one sample of any metric arrived: the telemetry is missing.
    NoTelemetry,
    /// The baseline received nothing to compare with.
    BaselineMissing,
    /// The canary received nothing.
    CanaryMissing,
    /// Samples came, then stopped.
    Stale,
    /// Too many values are missing or unusable.
    BadData,
    /// The buckets that values were counted in are too wide for what is asked.
    CoarseBuckets,
    /// Too few units (pods, clients, ...) to speak about the version.
    NeedsUnits,
    /// A person or a controller ended the analysis.
    Cancelled,
    /// A newer revision of the same service took its place.
    Superseded,
    /// Nobody sent samples or asked for a verdict any more.
    Abandoned,
    /// The horizon was reached without proof either way.
    HorizonReached,
    /// Kayenta's score lies between the marginal and the passing one.
    Marginal,
}

impl Reason {
    /// The code as it appears in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Degraded => "degraded",
            Reason::WithinTolerance => "within_tolerance",
            Reason::LimitBreached => "limit_breached",
            Reason::WithinLimit => "within_limit",
            Reason::NeedsSamples => "needs_samples",
            Reason::NeedsTime => "needs_time",
            Reason::NoTraffic => "no_traffic",
            Reason::NoTelemetry => "no_telemetry",
            Reason::BaselineMissing => "baseline_missing",
            Reason::CanaryMissing => "canary_missing",
            Reason::Stale => "stale",
            Reason::BadData => "bad_data",
            Reason::CoarseBuckets => "coarse_buckets",
            Reason::NeedsUnits => "needs_units",
            Reason::Cancelled => "cancelled",
            Reason::Superseded => "superseded",
            Reason::Abandoned => "abandoned",
            Reason::HorizonReached => "horizon_reached",
            Reason::Marginal => "marginal",
        }
    }

    /// Reasons that mean the data, not the canary, is at fault: a final inconclusive verdict with
    /// one of these never promotes, whatever the plan's policy says.
    pub fn is_about_data(self) -> bool {
        matches!(
            self,
            Reason::NoTraffic
                | Reason::NoTelemetry
                | Reason::BaselineMissing
                | Reason::CanaryMissing
                | Reason::Stale
                | Reason::BadData
                | Reason::CoarseBuckets
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is being deployed. Every field is optional unless a plan requires it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Change {
    /// The deploying system's id of the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What is rolled out: image tag, commit, config hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Who answers for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Whose it is, where several share a davy: tokens may be limited to some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Service name; with namespace, environment and region it says which analyses supersede each
    /// other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Environment, such as `production`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Region or cell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Named links: pull request, pipeline, runbook.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, String>,
}
