//! The manifest of labelled cases: JSON that people write.
//!
//! Owns its form and its words; docs/backtest.md explains each. It must not know how a case is
//! judged. Next: `derive`, which makes a plan of a case's kind.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::problem::{nearest, one_of};
use crate::model::Outcome;

#[derive(Debug, Deserialize)]
struct Manifest {
    cases: Vec<Case>,
}

/// One labelled case.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Case {
    pub case: String,
    pub file: PathBuf,
    pub truth: Truth,
    pub metric_kind: MetricWord,
    pub direction: Direction,
    #[serde(default)]
    pub stratum: String,
    #[serde(default)]
    pub traits: Vec<String>,
    #[serde(default)]
    pub subtype: Option<String>,
    #[serde(default)]
    pub tier: Option<String>,
    #[serde(default = "yes")]
    pub scored: bool,
    #[serde(default = "yes")]
    pub concurrent: bool,
    #[serde(default)]
    acceptable_verdicts: Vec<Outcome>,
}

/// What is known of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Truth {
    Healthy,
    Degraded,
    /// Nobody said; such a case is not scored.
    Unknown,
}

/// Which direction of a case's metric is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Direction {
    HigherIsWorse,
    LowerIsWorse,
}

/// What a case's numbers are: decides the tolerance, and whether they are bad events of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum MetricWord {
    /// Durations in any unit, and throughput: whatever is compared as a ratio of values.
    Scale,
    /// Use of a resource: processor, bytes.
    Resource,
    Count,
    AvailabilityPercent,
    ErrorPercent,
    ErrorRatio,
}

/// The words of `metric_kind`.
const METRIC_WORDS: [(&str, MetricWord); 14] = [
    ("latency", MetricWord::Scale),
    ("latency_s", MetricWord::Scale),
    ("latency_ms", MetricWord::Scale),
    ("latency_us", MetricWord::Scale),
    ("latency_ns", MetricWord::Scale),
    ("histogram_latency", MetricWord::Scale),
    ("throughput", MetricWord::Scale),
    ("rps", MetricWord::Scale),
    ("cpu", MetricWord::Resource),
    ("bytes", MetricWord::Resource),
    ("count", MetricWord::Count),
    ("availability_pct", MetricWord::AvailabilityPercent),
    ("error_ratio_pct", MetricWord::ErrorPercent),
    ("error_ratio", MetricWord::ErrorRatio),
];

/// Reads a manifest.
pub(super) fn read(text: &str) -> Result<Vec<Case>, serde_json::Error> {
    serde_json::from_str::<Manifest>(text).map(|manifest| manifest.cases)
}

fn yes() -> bool {
    true
}

// === impl MetricWord ===

impl TryFrom<String> for MetricWord {
    type Error = String;

    fn try_from(word: String) -> Result<MetricWord, String> {
        let words = METRIC_WORDS.map(|(word, _)| word);
        let found = METRIC_WORDS.iter().find(|(known, _)| *known == word);
        found.map(|&(_, kind)| kind).ok_or_else(|| {
            let near = nearest(&word, words).map(|near| format!("did you mean `{near}`? "));
            format!(
                "metric_kind `{word}` is not known; {}it is one of {}",
                near.unwrap_or_default(),
                one_of(words)
            )
        })
    }
}

// === impl Truth ===

impl Truth {
    /// Whether a verdict is not wrong.
    pub fn accepts(self, verdict: Outcome) -> bool {
        match self {
            Truth::Healthy => verdict != Outcome::Fail,
            Truth::Degraded => verdict != Outcome::Pass,
            Truth::Unknown => true,
        }
    }
}

impl fmt::Display for Truth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Truth::Healthy => "healthy",
            Truth::Degraded => "degraded",
            Truth::Unknown => "unknown",
        })
    }
}

// === impl Case ===

impl Case {
    /// Whether a verdict is acceptable: as the manifest says, or else whatever is not wrong.
    pub fn accepts(&self, verdict: Outcome) -> bool {
        if !self.acceptable_verdicts.is_empty() {
            return self.acceptable_verdicts.contains(&verdict);
        }
        self.truth.accepts(verdict)
    }
}
