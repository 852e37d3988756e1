//! How a plan allows for dependence that no cluster describes.
//!
//! Owns the words and numbers of `dispersion`, and the mark by which a measured number is known to
//! belong to a check. How it is measured is `judge::calibrate`'s, how it is written
//! `config::plan_file`'s.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Check, MetricKind, Plan, Question};

/// Largest dispersion factor: beyond it a check says nothing within any horizon.
pub const FACTOR_MAX: f64 = 1e6;
/// Hex digits of a definition's mark.
const MARK_DIGITS: usize = 16;

/// How dependence between ticks, and within them, is allowed for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dispersion {
    /// Ticks are taken as independent, and so are the samples within them but for their units.
    Iid,
    /// Thresholds for the worst first-order autocorrelation up to 0.8 (kind gauge).
    Envelope,
    /// Variance of the score over that of independent samples, from 1 up (all other kinds).
    Factor(f64),
    /// Long-run standard deviation of one tick's number: of the log-ratio of the arms' points where
    /// the tolerance has a relative part, else of their difference, in the metric's unit (gauge).
    Sd(f64),
}

impl Dispersion {
    /// What holds where a check is silent.
    pub fn default_for(kind: MetricKind) -> Dispersion {
        match kind {
            MetricKind::Gauge => Dispersion::Envelope,
            _ => Dispersion::Iid,
        }
    }

    /// Whether it can be used with this kind of metric.
    pub(super) fn fits(self, kind: MetricKind) -> bool {
        let is_gauge = kind == MetricKind::Gauge;
        match self {
            Dispersion::Iid | Dispersion::Envelope => true,
            Dispersion::Factor(factor) => !is_gauge && (1.0..=FACTOR_MAX).contains(&factor),
            Dispersion::Sd(sd) => is_gauge && sd > 0.0 && sd.is_finite(),
        }
    }
}

/// Mark of everything that a calibrated number of this check depends on: the tick, the metric, the
/// quantile, and whether points are compared by ratio or by difference. SHA-256 in hex, cut short.
pub fn definition(plan: &Plan, check: &Check) -> String {
    let Question::Compare { at, tolerance, .. } = &check.question else {
        return String::new();
    };
    let metric = &plan.metrics[check.metric];
    mark_of(plan.tick, metric, *at, tolerance.relative.is_some())
}

/// As [`definition`], of parts.
pub fn mark_of(
    tick: crate::model::Millis,
    metric: &super::Metric,
    at: Option<super::Quantile>,
    by_ratio: bool,
) -> String {
    let parts = serde_json::to_vec(&(tick, metric, at, by_ratio)).expect("a metric is plain data");
    let digest = Sha256::digest(&parts);
    let hex = digest.iter().map(|byte| format!("{byte:02x}"));
    hex.take(MARK_DIGITS / 2).collect()
}
