//! After the horizon: what a test still may say where the plan extends an analysis.
//!
//! Owns the always-valid tests of the whole run that take over then. Four fifths of each error
//! probability are spent to the horizon; the last fifth is the level of a mixture of likelihood
//! ratios that was running since the first tick, and may be looked at for ever. It costs little
//! to the horizon (power .82 for .85 in a simulation of an effect that a single test finds nine
//! times of ten) and finds nearly all of it (.995) by four horizons. Next: `stats::tilts`.

use serde::{Deserialize, Serialize};

use crate::judge::side::Spending;
use crate::stats::law::Law;
use crate::stats::tilts::{Detector, Mixture};

/// Share of an error probability that is kept for the time after the horizon.
pub const RESERVED_SHARE: f64 = 0.2;

/// The mixtures of one side: that it is worse, and that it is not.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Beyond {
    worse: Option<Mixture>,
    better: Option<Mixture>,
    /// Variance of the score over that of its laws, at the last look.
    factor: f64,
    /// After a pass: what watches for a degradation from then on, and the factor it takes.
    detector: Option<(Detector, f64)>,
}

/// One look after the horizon.
#[derive(Debug, Clone, Copy)]
pub struct BeyondLook {
    /// The run is shown to be worse than its boundary.
    pub worse: bool,
    /// Standard deviations that takes.
    pub worse_bound: f64,
    /// It is shown not to be.
    pub better: bool,
    /// Standard deviations that takes.
    pub better_bound: f64,
}

// === impl Beyond ===

impl Beyond {
    /// Adds a tick's law. The first tick with any sets the width of the mixtures: the run is
    /// taken to go on like it until the horizon, and being wrong by a factor of twenty costs less
    /// than a tenth of the bound.
    pub fn push(&mut self, score: f64, law: &Law, fail: &Spending, pass: &Spending) {
        if let Some((detector, factor)) = &mut self.detector {
            detector.push(score, law, *factor);
        }
        let variance = law.variance();
        if variance <= 0.0 {
            return;
        }
        for (mixture, spending, negated) in [
            (&mut self.worse, fail, false),
            (&mut self.better, pass, true),
        ] {
            if spending.reserve > 0.0 {
                let whole = variance * spending.looks_planned as f64;
                mixture
                    .get_or_insert_with(|| Mixture::new(whole, spending.reserve))
                    .push(law, negated);
            }
        }
    }

    /// Remembers by how much the score's variance exceeds its laws'.
    pub fn note(&mut self, factor: f64) {
        self.factor = factor;
    }

    /// From the next tick on watches for a degradation that would show within a run of this
    /// variance.
    pub fn begin_watching(&mut self, run_variance: f64) {
        self.detector = Some((Detector::new(run_variance), self.factor.max(1.0)));
    }

    /// ln of the detector's statistic; minus infinity where nothing is watched.
    pub fn watched(&self) -> f64 {
        self.detector
            .as_ref()
            .map_or(f64::NEG_INFINITY, |(detector, _)| detector.log_statistic())
    }

    /// The whole run's centred `score`, whose laws have `variance` together and which is `whole`
    /// adjusted standard deviations from nought, at the levels of both sides.
    pub fn look(&self, score: f64, variance: f64, whole: f64, levels: [f64; 2]) -> BeyondLook {
        // What the adjustment made of the score, as one factor on its variance.
        let ratio = score / variance.sqrt() / whole;
        let factor = if whole == 0.0 { 1.0 } else { ratio * ratio };
        let (worse, worse_bound) = shown(&self.worse, score, variance, factor, levels[0]);
        let (better, better_bound) = shown(&self.better, -score, variance, factor, levels[1]);
        // The bounds are those of a Gaussian score; for counts the test has the last word.
        let agreed = |shown: bool, bound: f64, z: f64| if shown { bound.min(z) } else { bound };
        BeyondLook {
            worse,
            worse_bound: agreed(worse, worse_bound, whole),
            better,
            better_bound: agreed(better, better_bound, -whole),
        }
    }
}

// === functions ===

/// Whether a mixture shows its side at this level, and the standard deviations it takes.
fn shown(
    mixture: &Option<Mixture>,
    score: f64,
    variance: f64,
    factor: f64,
    level: f64,
) -> (bool, f64) {
    let Some(mixture) = mixture.as_ref().filter(|_| level > 0.0) else {
        return (false, f64::INFINITY);
    };
    // Below 1 the laws' variance is a weight without a scale (Gaussian scores only): the score
    // is standardised. Above it, scores come together, which their own laws must feel.
    let (log_e, variance) = if factor < 1.0 {
        (mixture.log_e_value(score / factor.sqrt(), 1.0), variance)
    } else {
        (mixture.log_e_value(score, factor), variance / factor)
    };
    (log_e >= -libm::log(level), mixture.bound(variance, level))
}
