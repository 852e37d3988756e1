//! A reading into one analysis: its window, its counters, its recording.
//!
//! Owns what is done for every reading that is kept, from whatever form it came, and the words for
//! those that have no place. Next: `window`, which keeps them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::State;
use super::analysis::Analysis;
use super::messages::{AHEAD_MIN, Effect, Ingested};
use super::readings::wrong_form;
use super::recording;
use crate::model::{Arm, Reading, Timestamp};
use crate::window::{NoPlace, OPEN_TICKS_MAX};

/// What is recorded of a batch, by analysis.
pub(super) type Lines = BTreeMap<String, recording::Batch>;

/// Why something was refused: a stable code, and words for the sender.
pub(super) type Refused = (&'static str, String);

/// When a batch is taken, and how many ticks it may leave open.
#[derive(Clone, Copy)]
pub(super) struct Taking {
    pub now: Timestamp,
    pub open_ticks_max: usize,
    /// Latest event time that is taken.
    pub latest: Timestamp,
    /// Event time from which a sender's clock must be ahead.
    pub ahead_from: Timestamp,
}

// === impl Taking ===

impl Taking {
    pub fn new(state: &State, now: Timestamp) -> Taking {
        Taking {
            now,
            open_ticks_max: state.limits.open_ticks_max,
            latest: now.plus(state.limits.future_skew),
            ahead_from: now.plus(AHEAD_MIN),
        }
    }

    /// Refuses a time that is too far ahead of the clock.
    pub fn check(&self, ts: Timestamp) -> Result<(), Refused> {
        if ts <= self.latest {
            return Ok(());
        }
        let ahead = ts.since(self.now) as f64 / 1000.0;
        let message = format!(
            "its time is {ahead:.0} s ahead of davy's clock; check the sender's clock, or raise limits.future_skew_secs_max"
        );
        Err(("future", message))
    }
}

/// Puts a reading of a metric and arm where it belongs, and records it.
pub(super) fn put(
    analysis: &mut Analysis,
    (metric, arm): (usize, Arm),
    ts: Timestamp,
    reading: Cow<'_, Reading>,
    unit: Option<String>,
    missing: u32,
    lines: &mut Lines,
) -> Result<(), NoPlace> {
    // Units of others are nobody's business, and their numbers take longer than all the rest.
    let number = match (&unit, &*reading) {
        _ if analysis.plan.metrics[metric].cluster.is_none() => 0,
        (Some(unit), _) => digest(unit.as_bytes()) as u64,
        // Its buckets come one by one, and belong together all the same.
        (None, Reading::UpTo { of, .. }) => *of,
        (None, _) => digest(&analysis.own_units.to_le_bytes()) as u64,
    };
    let missed = u64::from(missing);
    let window = &mut analysis.window;
    window.insert(metric, arm, ts, &reading, number, missed)?;
    // Only what is kept, and so recorded, is numbered: a replay must number the same.
    analysis.own_units += u64::from(unit.is_none());
    let counters = &mut analysis.counters[metric];
    let samples = &mut counters.samples[arm.index()];
    *samples = samples.saturating_add(reading.samples());
    counters.missing = counters.missing.saturating_add(missed);
    counters.newest = counters.newest.max(Some(ts));
    let held = analysis.window.held(metric, arm, ts);
    let kept = recording::Kept {
        ts,
        reading,
        unit,
        missing,
    };
    let plan = &analysis.plan;
    match lines.get_mut(&analysis.id) {
        Some(batch) => batch.add(plan, (metric, arm), kept, held),
        None => {
            let mut batch = recording::Batch::new(plan);
            batch.add(plan, (metric, arm), kept, held);
            lines.insert(analysis.id.clone(), batch);
        }
    }
    Ok(())
}

/// Records what was kept, closes the ticks that are due, and answers.
pub(super) fn finish(
    state: &mut State,
    lines: Lines,
    answer: Ingested,
    now: Timestamp,
    effects: &mut Vec<Effect>,
) {
    for (id, batch) in lines {
        let State {
            analyses, scratch, ..
        } = state;
        if let Some(analysis) = analyses.get_mut(&id) {
            let line = batch.line(&analysis.plan, now);
            analysis.record(line, effects);
            analysis.touch(now);
            analysis.close_due(now, scratch, effects);
            if analysis.takes_samples() {
                effects.push(Effect::Changed(Box::new(analysis.view_of_samples())));
            }
        }
    }
    let is_noted = see_unmatched(state, answer.unmatched);
    if let Some(journal) = &mut state.journal {
        journal.end(answer.unmatched, is_noted);
    }
    effects.push(Effect::Ingested(answer));
}

/// Tells those that wait for their first sample how many came that nobody asks for; whether there
/// is one.
pub(super) fn see_unmatched(state: &mut State, samples: u64) -> bool {
    let mut is_noted = false;
    if samples > 0 {
        for analysis in state.analyses.values_mut().filter(|a| a.takes_samples()) {
            is_noted |= analysis.see_unmatched(samples);
        }
    }
    is_noted
}

/// The refusal of a sample that has no place; one that is only late is not refused but counted.
pub(super) fn refusal(analysis: &Analysis, metric: usize, no_place: NoPlace) -> Refused {
    let metric = &analysis.plan.metrics[metric];
    match no_place {
        NoPlace::Late => ("late", "its tick is closed".to_owned()),
        NoPlace::BeforeStart => (
            "before_start",
            "its time is before the start of the analysis; check the sender's clock".to_owned(),
        ),
        NoPlace::AfterHorizon => (
            "after_horizon",
            "its time is past the horizon of the plan".to_owned(),
        ),
        NoPlace::TooFarAhead => (
            "too_far_ahead",
            format!(
                "its time is so far ahead of davy's clock that more than {OPEN_TICKS_MAX} ticks would be open; check the sender's clock, or lengthen the tick"
            ),
        ),
        NoPlace::TickFull => (
            "tick_full",
            "its tick holds as many values as limits.tick_values_max allows; shorten the tick or raise the limit"
                .to_owned(),
        ),
        NoPlace::WrongForm => ("wrong_form", wrong_form(metric.kind, &metric.name)),
    }
}

/// The first 128 bits of SHA-256: chance collisions are out of reach.
pub(super) fn digest(bytes: &[u8]) -> u128 {
    let digest = Sha256::digest(bytes);
    digest[..16]
        .iter()
        .fold(0, |number, &byte| number << 8 | u128::from(byte))
}
