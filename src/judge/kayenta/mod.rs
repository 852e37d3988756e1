//! Kayenta's judge `NetflixACAJudge-v1.0`, for those who come from there: same labels, same bounds,
//! same scores.
//!
//! Owns that judge and nothing of davy's own: it looks once, takes points as independent, and calls
//! what it could not tell apart a pass. What it does, where it is bit-close and where it cannot be
//! is in `docs/kayenta.md`. It must not know of JSON, which is `codec::kayenta`'s. Start at
//! [`judge_pair`]; then a file an idea, in the order in which a metric meets them.
//!
//! | module | what it answers |
//! |---|---|
//! | [`mixing`] | which series of the two sides belong together |
//! | [`summary`], [`transform`] | what is left of a side's values, and its statistics |
//! | [`interval`], [`brent`] | the Mann-Whitney interval of the shift |
//! | [`jitter`] | what stands for the noise that is put on two constant sides |
//! | [`effect`], [`classify`] | how large the effect is, and the label |
//! | [`score`] | labels to groups to one number to a verdict |
//!
//! Kayenta's `control` is the baseline here, its `experiment` the canary.

pub mod brent;
pub mod classify;
pub mod effect;
pub mod interval;
pub mod jitter;
pub mod mixing;
pub mod score;
pub mod summary;
pub mod transform;

pub use crate::plan::kayenta::{Direction, Measure, NanStrategy, Outliers, Settings};
pub use classify::{Classified, Label};

use summary::Summary;

/// The name that a configuration calls this judge by.
pub const JUDGE_NAME: &str = "NetflixACAJudge-v1.0";

/// One metric's judgement and what it rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct PairJudged {
    /// The label and its evidence.
    pub classified: Classified,
    /// The baseline's values after the transform.
    pub baseline: Summary,
    /// The canary's.
    pub canary: Summary,
}

/// Judges one metric: the values of both sides as they were fetched, NaN where there was none.
pub fn judge_pair(baseline: &[f64], canary: &[f64], settings: &Settings) -> PairJudged {
    let baseline = transform::transform(baseline, settings);
    let canary = transform::transform(canary, settings);
    PairJudged {
        classified: classify::classify(&baseline, &canary, settings),
        baseline: Summary::of(&baseline),
        canary: Summary::of(&canary),
    }
}
