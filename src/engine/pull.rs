//! What is to be asked of a source, and what came of it: plain data.
//!
//! Owns the part of the machine's inputs and effects that is about pulling. Who asks, when, and
//! over what wire is [`crate::pull`]'s; what becomes of the answers is `series::pulled`'s.

use serde::{Deserialize, Serialize};

use crate::model::series::SeriesBatch;
use crate::model::{Arm, Millis, Timestamp};
use crate::plan::query::Part;

/// How long before the end of a tick its point lies: the last instant that belongs to it.
pub const BEFORE_END: Millis = 1;

/// What came of asking a source about one metric of one analysis, both arms and all parts: half of
/// it would be a wrong number.
#[derive(Debug, Clone)]
pub struct PulledMetric {
    /// Id of the analysis.
    pub analysis: String,
    /// Index of the metric in the plan.
    pub metric: usize,
    /// The answers, or why there are none.
    pub outcome: PullOutcome,
}

/// What a source said.
#[derive(Debug, Clone)]
pub enum PullOutcome {
    /// It answered every query.
    Answered {
        /// The answers.
        answers: Vec<PulledPart>,
        /// What it had to say besides.
        warning: Option<String>,
    },
    /// It did not: why, in one line, without secrets.
    Failed(String),
    /// Nothing was asked; how far the analysis is.
    NotAsked,
}

/// The answer to one query. A point that is missing or no number is [`PointValue::Stale`].
///
/// [`PointValue::Stale`]: crate::model::series::PointValue::Stale
#[derive(Debug, Clone)]
pub struct PulledPart {
    /// Which arm was asked about.
    pub arm: Arm,
    /// What the results count for.
    pub part: Part,
    /// Their series, one point a tick, 1 ms before its end.
    pub batch: SeriesBatch,
}

/// What is to be asked of a source for an analysis, from its start on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// Id of the analysis.
    pub analysis: String,
    /// Begin of its first tick.
    pub origin: Timestamp,
    /// Length of a tick.
    pub tick: Millis,
    /// Its metrics that are pulled.
    pub metrics: Vec<PullMetric>,
}

/// The queries of one metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullMetric {
    /// Index in the plan.
    pub metric: usize,
    /// Its name.
    pub name: String,
    /// Whether the tick before the first one that is open is asked for too: totals count from it.
    pub are_totals: bool,
    /// What to ask.
    pub queries: Vec<PullQuery>,
}

/// One query, filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullQuery {
    /// Which arm it asks about.
    pub arm: Arm,
    /// What its results count for.
    pub part: Part,
    /// The query.
    pub text: String,
}

/// How far an analysis is whose metrics are pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PullProgress {
    /// The first tick that is open, and the one past the last it will have; `None` once samples
    /// mean nothing to it any more.
    pub open: Option<(usize, usize)>,
}

/// How a source answers about one metric.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PulledView {
    /// Name of the metric.
    pub metric: String,
    /// When it last answered all queries, unix milliseconds.
    pub last_success: Option<i64>,
    /// Attempts that failed since then.
    pub failures: u64,
    /// Why the last attempt that failed did; kept until the next answer.
    pub last_error: Option<String>,
    /// What the source's last answer warned of.
    pub warning: Option<String>,
}
