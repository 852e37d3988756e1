//! The traffic a plan expects: how many samples, of what shape, for simulations and forecasts.
//!
//! Owns the description only. No verdict depends on it: `davy simulate` draws streams from it and
//! `davy check` asks it whether a verdict is within reach. Next: `config::plan_file`, which reads
//! it.

use serde::{Deserialize, Serialize};

/// Expected traffic of both arms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// Share of samples that goes to the canary; in (0, 1).
    pub canary_share: f64,
    /// How the number of samples varies between ticks.
    pub arrivals: Arrivals,
    /// Load shocks that hit both arms alike.
    pub load: Option<Load>,
    /// By metric, in the order of the plan's metrics.
    pub metrics: Vec<MetricTraffic>,
}

/// How the number of samples varies between ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// A Poisson number a tick.
    Poisson,
    /// The same number in every tick, rounded to a whole one.
    Fixed,
}

/// A shock common to both arms: every value, odds, rate and level of a tick is multiplied by the
/// exponential of a Gaussian first-order autoregression over ticks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Stationary standard deviation of the logarithm.
    pub sd: f64,
    /// Autocorrelation of neighbouring ticks, in [0, 1).
    pub ar: f64,
}

/// Expected traffic of one metric.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MetricTraffic {
    /// Samples a second, both arms together: values, requests, or events of a rate. A gauge has
    /// one point a tick and ignores it.
    pub per_second: f64,
    /// What the samples look like in the baseline.
    pub shape: Shape,
    /// Clustering by unit.
    pub units: Option<Units>,
}

/// What a metric's samples look like in the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "shape")]
pub enum Shape {
    /// Log-normal values.
    LogNormal {
        /// Median, in the metric's unit.
        median: f64,
        /// Standard deviation of the logarithm.
        sigma: f64,
        /// Values are rounded to multiples of this; 0 leaves them as drawn.
        resolution: f64,
    },
    /// Bad events of total events.
    Errors {
        /// Bad share, in (0, 1).
        share: f64,
    },
    /// Events per exposure, all of it in `per_second`.
    Events,
    /// Points of a log-normal first-order autoregression.
    Level {
        /// Median level, in the metric's unit.
        level: f64,
        /// Stationary standard deviation of the logarithm, each arm's own.
        sd: f64,
        /// Autocorrelation of neighbouring ticks, in [0, 1).
        ar: f64,
    },
}

/// How samples cluster: each unit multiplies its values, or its odds, by a log-normal factor.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "lifetime")]
pub enum Units {
    /// Units that live for one tick, such as traces.
    Tick {
        /// Samples a unit, on average; at least 1.
        size: f64,
        /// Standard deviation of the factor's logarithm.
        sd: f64,
    },
    /// Units that live for the whole run, such as pods.
    Run {
        /// Units of the baseline.
        baseline: u32,
        /// Units of the canary.
        canary: u32,
        /// Standard deviation of the factor's logarithm.
        sd: f64,
    },
}

impl Traffic {
    /// Share of samples that goes to an arm, 0 being the baseline.
    pub fn share(&self, arm: usize) -> f64 {
        if arm == 0 {
            1.0 - self.canary_share
        } else {
            self.canary_share
        }
    }
}
