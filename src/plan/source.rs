//! Where a metric's samples come from.
//!
//! Owns the forms a source has once a plan is valid. How it is written is `config::plan_file`'s; which
//! series meet it is `engine::matching`'s.

use serde::{Deserialize, Serialize};

use super::{Pulled, Selector};

/// Where a metric's samples come from. The selectors match a series' name (`__name__`) and labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "from")]
pub enum Source {
    /// Samples carry the reading itself. Without `select`, a series whose name is the metric's.
    Values {
        /// Series of the metric.
        select: Selector,
    },
    /// Ratio from two counters; the series of one arm are summed.
    RatioCounts {
        /// Series counting bad events.
        bad: Selector,
        /// Series counting all events.
        total: Selector,
        /// What their samples hold.
        counted: Counted,
    },
    /// Rate from an event counter and an exposure counter; the series of one arm are summed.
    RateCounts {
        /// Series counting events.
        events: Selector,
        /// Series counting exposure; without it, exposure is time (seconds, equal in both arms).
        exposure: Option<Selector>,
        /// What their samples hold.
        counted: Counted,
    },
    /// Latency from the buckets of a histogram; the series of one arm are summed.
    Buckets {
        /// Histograms that come as one series.
        histogram: Selector,
        /// Buckets that come as a series each, told apart by the label `le`.
        buckets: Selector,
    },
    /// Ratio from the buckets of a histogram: observations above a bound, of all. Exact where the
    /// bound is one of a bucket.
    Above {
        /// Histograms that come as one series.
        histogram: Selector,
        /// Buckets that come as a series each, told apart by the label `le`.
        buckets: Selector,
        /// The bound, in the metric's unit.
        bound: f64,
    },
    /// Queries of a source that is asked tick by tick.
    Pulled(Pulled),
}

// === impl Source ===

impl Source {
    /// Its selectors, in the order in which they are written above.
    pub(super) fn selectors(&self) -> Vec<&Selector> {
        match self {
            Source::Pulled(_) => Vec::new(),
            Source::Values { select } => vec![select],
            Source::RatioCounts { bad, total, .. } => vec![bad, total],
            Source::RateCounts {
                events, exposure, ..
            } => std::iter::once(events).chain(exposure).collect(),
            Source::Buckets { histogram, buckets }
            | Source::Above {
                histogram, buckets, ..
            } => vec![histogram, buckets],
        }
    }

    /// As [`Source::selectors`], to be changed.
    pub(super) fn selectors_mut(&mut self) -> Vec<&mut Selector> {
        match self {
            Source::Pulled(_) => Vec::new(),
            Source::Values { select } => vec![select],
            Source::RatioCounts { bad, total, .. } => vec![bad, total],
            Source::RateCounts {
                events, exposure, ..
            } => std::iter::once(events).chain(exposure).collect(),
            Source::Buckets { histogram, buckets }
            | Source::Above {
                histogram, buckets, ..
            } => vec![histogram, buckets],
        }
    }
}

/// What the samples of a counter hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// What came on top since the sample before.
    Increments,
    /// Everything since the process started, as Prometheus' counters do.
    Totals,
}
