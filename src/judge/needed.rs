//! How much more a check needs for an answer, at the present rate of samples.
//!
//! Owns the prediction. What more a check's own test needs is its evidence's; here the minimum of
//! samples and of time is added.

use crate::judge::Judge;
use crate::judge::check::{Evidence, Setting};
use crate::judge::received::Received;
use crate::judge::verdict::Needs;
use crate::plan::Question;

/// Largest prediction, in horizons; beyond it the honest answer is that nobody knows.
const NEEDS_HORIZONS_MAX: f64 = 100.0;

impl Judge {
    /// What is still missing, at the present rate of samples.
    pub(super) fn needs(
        &self,
        setting: &Setting<'_>,
        evidence: &Evidence,
        received: &Received,
    ) -> Option<Needs> {
        let ticks = self.ticks as f64;
        let tick_secs = self.plan.tick as f64 / 1000.0;
        let for_time = (self.plan.min_duration as f64 / 1000.0 - ticks * tick_secs).max(0.0);
        let per_tick = (received.samples[0] + received.samples[1]) as f64 / ticks;
        let smaller = match setting.check.question.is_of_both() {
            true => received.samples[0].min(received.samples[1]),
            false => received.samples[1],
        };
        // Kayenta's judge takes what there is at its time.
        let minimum = match setting.check.question {
            Question::Classify { .. } => 0,
            _ => setting.check.min_samples,
        };
        let wanted = minimum.saturating_sub(smaller);
        let for_minimum = if wanted == 0 {
            0.0
        } else if smaller == 0 {
            f64::INFINITY
        } else {
            wanted as f64 / (smaller as f64 / ticks)
        };
        let more = match evidence.needs_ticks {
            Some(needed) => needed,
            None if evidence.pass => 0.0,
            None => return None,
        };
        let secs = (more.max(for_minimum) * tick_secs).max(for_time);
        let horizon_secs = self.plan.horizon as f64 / 1000.0;
        let seconds =
            (secs <= NEEDS_HORIZONS_MAX * horizon_secs).then(|| rounded_up(secs, tick_secs));
        let samples = seconds
            .filter(|_| per_tick > 0.0)
            .map(|secs| (secs / tick_secs * per_tick).ceil() as u64);
        Some(Needs { samples, seconds })
    }
}

/// Time in whole ticks: a look happens only at a tick's close.
fn rounded_up(secs: f64, tick_secs: f64) -> f64 {
    (secs / tick_secs - 1e-9).ceil().max(1.0) * tick_secs
}
