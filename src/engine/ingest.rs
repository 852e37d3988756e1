//! Samples into analyses: addresses, matches, duplicates, refusals.
//!
//! Owns what becomes of each sample of a batch, and the counts in the answer. A sample may serve
//! several analyses; it is accepted when it reached at least one. Next: `window`, which keeps it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use sha2::{Digest, Sha256};

use super::State;
use super::analysis::Analysis;
use super::matching::{Match, Place, Role};
use super::messages::*;
use super::{recording, unplaced};
use crate::model::{Arm, COUNT_MAX, Labels, Reading, Sample, Timestamp};
use crate::plan::MetricKind;
use crate::window::{NoPlace, OPEN_TICKS_MAX};

/// Largest increment of a counter in one sample.
const INCREMENT_MAX: f64 = COUNT_MAX as f64;

/// Metrics of a plan that a refusal names.
const METRICS_SHOWN_MAX: usize = 10;

/// What became of one sample at one analysis.
enum Fate {
    Accepted,
    Late,
    Duplicate,
    Refused(&'static str, String),
}

/// When a batch is taken, and how many ticks it may leave open.
#[derive(Clone, Copy)]
struct Taking {
    now: Timestamp,
    open_ticks_max: usize,
}

/// How a batch's series meet the running analyses, by name and labels.
type Memo<'a> = BTreeMap<(&'a str, &'a Labels), Vec<(String, Match)>>;

/// Takes a batch.
pub(super) fn take(
    state: &mut State,
    samples: Vec<Sample>,
    now: Timestamp,
    effects: &mut Vec<Effect>,
) {
    let mut answer = Ingested::default();
    let mut lines: BTreeMap<String, recording::Batch> = BTreeMap::new();
    let mut memo = Memo::new();
    let taking = Taking {
        now,
        open_ticks_max: state.limits.open_ticks_max,
    };
    for (index, sample) in samples.iter().enumerate() {
        let latest = now.plus(state.limits.future_skew);
        if sample.ts > latest {
            let ahead = sample.ts.since(now) as f64 / 1000.0;
            answer.refuse(index, "future", format!(
                "its time is {ahead:.0} s ahead of davy's clock; check the sender's clock, or raise limits.future_skew_secs_max"
            ));
            continue;
        }
        match &sample.address {
            Some(address) => {
                let fate = match state.analyses.get_mut(&address.analysis) {
                    Some(analysis) => addressed(analysis, sample, address.arm, taking, &mut lines),
                    None => Fate::Refused(
                        "unknown_analysis",
                        format!("no analysis has the id {:?}", address.analysis),
                    ),
                };
                answer.count(index, vec![fate]);
            }
            None => {
                let memo = &mut memo;
                matched(state, index, sample, taking, memo, &mut lines, &mut answer);
            }
        }
    }
    for (id, batch) in lines {
        effects.push(Effect::Record {
            analysis: id.clone(),
            line: batch.line(now),
        });
        let State {
            analyses, scratch, ..
        } = state;
        if let Some(analysis) = analyses.get_mut(&id) {
            analysis.touch(now);
            analysis.close_due(now, scratch, effects);
            if analysis.takes_samples() {
                effects.push(Effect::Changed(Box::new(analysis.view())));
            }
        }
    }
    if answer.unmatched > 0 {
        for analysis in state.analyses.values_mut().filter(|a| a.takes_samples()) {
            analysis.see_unmatched(answer.unmatched);
        }
    }
    effects.push(Effect::Ingested(answer));
}

fn matched<'a>(
    state: &mut State,
    index: usize,
    sample: &'a Sample,
    taking: Taking,
    memo: &mut Memo<'a>,
    lines: &mut BTreeMap<String, recording::Batch>,
    answer: &mut Ingested,
) {
    let (found, fresh) = match memo.entry((&sample.metric, &sample.labels)) {
        Entry::Occupied(entry) => (entry.into_mut(), false),
        Entry::Vacant(entry) => {
            let found = meetings(state, &sample.metric, &sample.labels);
            (entry.insert(found), true)
        }
    };
    let explain = fresh && answer.unplaced.len() < UNPLACED_SHOWN_MAX;
    if found.is_empty() {
        answer.unmatched += 1;
        if explain {
            answer
                .unplaced
                .push(unplaced::unmatched(state, index, sample));
        }
        return;
    }
    let mut fates = Vec::new();
    let mut ambiguous = None;
    for (id, found) in found.iter() {
        let Some(analysis) = state.analyses.get_mut(id) else {
            continue;
        };
        match found {
            Match::Places(places) => fates.push(placed(analysis, sample, places, taking, lines)),
            Match::Ambiguous => {
                analysis.ambiguous += 1;
                ambiguous = ambiguous.or(Some(id));
            }
            Match::None => {}
        }
    }
    if !fates.is_empty() {
        answer.count(index, fates);
        return;
    }
    let Some(analysis) = ambiguous.and_then(|id| state.analyses.get(id)) else {
        return;
    };
    answer.ambiguous += 1;
    if explain {
        let why = unplaced::ambiguous(analysis, index, sample);
        answer.unplaced.push(why);
    }
}

fn meetings(state: &State, name: &str, labels: &Labels) -> Vec<(String, Match)> {
    let running = state
        .analyses
        .values()
        .filter(|analysis| analysis.takes_samples());
    running
        .filter_map(|analysis| {
            let selectors = analysis.selectors.as_ref()?;
            let found = selectors.meet(&analysis.plan, name, labels);
            (found != Match::None).then(|| (analysis.id.clone(), found))
        })
        .collect()
}

fn addressed(
    analysis: &mut Analysis,
    sample: &Sample,
    arm: Arm,
    taking: Taking,
    lines: &mut BTreeMap<String, recording::Batch>,
) -> Fate {
    let Some(metric) = analysis.plan.metric_index(&sample.metric) else {
        let metrics = analysis.plan.metrics.iter();
        let mut known: Vec<&str> = metrics.map(|m| m.name.as_str()).collect();
        if known.len() > METRICS_SHOWN_MAX {
            known.truncate(METRICS_SHOWN_MAX);
            known.push("and more");
        }
        return Fate::Refused(
            "unknown_metric",
            format!(
                "the plan {:?} has no metric {:?}; it has {}",
                analysis.plan.name,
                sample.metric,
                known.join(", ")
            ),
        );
    };
    placed(
        analysis,
        sample,
        &[Place {
            metric,
            arm,
            role: Role::Reading,
        }],
        taking,
        lines,
    )
}

/// Puts a sample where it belongs in one analysis.
fn placed(
    analysis: &mut Analysis,
    sample: &Sample,
    places: &[Place],
    taking: Taking,
    lines: &mut BTreeMap<String, recording::Batch>,
) -> Fate {
    if !analysis.takes_samples() {
        return Fate::Refused(
            "analysis_final",
            format!("the analysis {:?} is final", analysis.id),
        );
    }
    let window = &analysis.window;
    if let Err(no_place) = window.place_at(sample.ts, taking.now, taking.open_ticks_max) {
        return no_place_fate(analysis, places, no_place);
    }
    let mut readings = Vec::with_capacity(places.len());
    for place in places {
        match reading_for(analysis, place, &sample.reading) {
            Ok(reading) => readings.push(reading),
            Err(fate) => return fate,
        }
    }
    let id = sample.id.as_ref().map(|id| digest(id.as_bytes()));
    if id.is_some_and(|id| analysis.dedupe.knows(id)) {
        return Fate::Duplicate;
    }
    for (place, reading) in places.iter().zip(readings) {
        let unit = unit_of(analysis, place.metric, sample);
        let number = match &unit {
            Some(unit) => digest(unit.as_bytes()) as u64,
            None => digest(&analysis.own_units.to_le_bytes()) as u64,
        };
        let missing = u64::from(sample.missing);
        let put = analysis.window.insert(
            place.metric,
            place.arm,
            sample.ts,
            &reading,
            number,
            missing,
        );
        if let Err(no_place) = put {
            return no_place_fate(analysis, places, no_place);
        }
        // Only what is kept, and so recorded, is numbered: a replay must number the same.
        analysis.own_units += u64::from(unit.is_none());
        let counters = &mut analysis.counters[place.metric];
        let samples = &mut counters.samples[place.arm.index()];
        *samples = samples.saturating_add(weight_of(&reading));
        counters.missing = counters.missing.saturating_add(missing);
        counters.newest = counters.newest.max(Some(sample.ts));
        let name = &analysis.plan.metrics[place.metric].name;
        lines.entry(analysis.id.clone()).or_default().add(
            name,
            place.arm,
            sample.ts,
            reading,
            unit,
            sample.missing,
        );
    }
    if let Some(id) = id {
        // Only now: what found no room is not a duplicate when it is sent again.
        analysis.dedupe.remember(id);
    }
    Fate::Accepted
}

fn no_place_fate(analysis: &mut Analysis, places: &[Place], no_place: NoPlace) -> Fate {
    match no_place {
        NoPlace::Late => {
            for place in places {
                analysis.counters[place.metric].late += 1;
            }
            Fate::Late
        }
        NoPlace::BeforeStart => Fate::Refused(
            "before_start",
            "its time is before the start of the analysis; check the sender's clock".to_owned(),
        ),
        NoPlace::AfterHorizon => Fate::Refused(
            "after_horizon",
            "its time is past the horizon of the plan".to_owned(),
        ),
        NoPlace::TooFarAhead => Fate::Refused(
            "too_far_ahead",
            format!(
                "its time is so far ahead of davy's clock that more than {OPEN_TICKS_MAX} ticks would be open; check the sender's clock, or lengthen the tick"
            ),
        ),
        NoPlace::TickFull => Fate::Refused(
            "tick_full",
            "its tick holds as many values as limits.tick_values_max allows; shorten the tick or raise the limit"
                .to_owned(),
        ),
        NoPlace::WrongForm => {
            let metric = &analysis.plan.metrics[places[0].metric];
            Fate::Refused("wrong_form", wrong_form(metric.kind, &metric.name))
        }
    }
}

/// The reading a sample gives at a place: itself, or its share of a counter pair.
fn reading_for(analysis: &Analysis, place: &Place, reading: &Reading) -> Result<Reading, Fate> {
    let metric = &analysis.plan.metrics[place.metric];
    let wrong = || Fate::Refused("wrong_form", wrong_form(metric.kind, &metric.name));
    let fits = match (metric.kind, reading) {
        (MetricKind::Latency, Reading::Values { .. }) => true,
        (MetricKind::Gauge, Reading::Values { values, .. }) => {
            values.iter().all(|value| value.is_finite())
        }
        (MetricKind::Ratio, Reading::Ratio { .. }) => true,
        (MetricKind::Ratio, Reading::Values { values, .. }) if place.role == Role::Reading => {
            values.iter().all(|&value| value == 0.0 || value == 1.0)
        }
        (MetricKind::Rate, Reading::Rate { .. }) => true,
        (_, Reading::Values { .. }) => place.role != Role::Reading,
        _ => false,
    };
    if !fits {
        return Err(wrong());
    }
    if place.role == Role::Reading {
        return if is_countable(reading) {
            Ok(reading.clone())
        } else {
            Err(Fate::Refused(
                "count_too_large",
                format!(
                    "weights, totals and events must be at most {COUNT_MAX} a sample, exposures finite and from 0 up"
                ),
            ))
        };
    }
    increment(metric.kind, &metric.name, place.role, reading)
}

/// The increment of one of a pair of counters.
fn increment(kind: MetricKind, name: &str, role: Role, reading: &Reading) -> Result<Reading, Fate> {
    let Reading::Values { values, weights } = reading else {
        return Err(Fate::Refused("wrong_form", wrong_form(kind, name)));
    };
    let sum: f64 = values
        .iter()
        .enumerate()
        .map(|(i, value)| value * weights.get(i).copied().unwrap_or(1) as f64)
        .sum();
    let is_exposure = role == Role::Total && kind == MetricKind::Rate;
    if !(0.0..=INCREMENT_MAX).contains(&sum) || (!is_exposure && sum.fract() != 0.0) {
        return Err(Fate::Refused(
            "wrong_form",
            format!(
                "an increment of {} must be a whole number from 0 up, not {sum}",
                name
            ),
        ));
    }
    Ok(match (kind, role) {
        (MetricKind::Ratio, Role::Bad) => Reading::Ratio {
            bad: sum as u64,
            total: 0,
        },
        (MetricKind::Ratio, _) => Reading::Ratio {
            bad: 0,
            total: sum as u64,
        },
        (_, Role::Bad) => {
            // Without an exposure counter the window takes the tick's length.
            Reading::Rate {
                events: sum as u64,
                exposure: 0.0,
            }
        }
        _ => Reading::Rate {
            events: 0,
            exposure: sum,
        },
    })
}

/// Whether the counts of a reading can be summed without loss.
fn is_countable(reading: &Reading) -> bool {
    match reading {
        Reading::Values { weights, .. } => weights.iter().all(|&weight| weight <= COUNT_MAX),
        // An increment of bad events comes with its total in a reading of its own.
        Reading::Ratio { bad, total } => *bad.max(total) <= COUNT_MAX,
        Reading::Rate { events, exposure } => {
            *events <= COUNT_MAX && (0.0..=COUNT_MAX as f64).contains(exposure)
        }
    }
}

fn unit_of(analysis: &Analysis, metric: usize, sample: &Sample) -> Option<String> {
    let cluster = analysis.plan.metrics[metric].cluster.as_ref()?;
    sample
        .unit
        .clone()
        .or_else(|| sample.labels.get(&cluster.by).cloned())
}

fn wrong_form(kind: MetricKind, name: &str) -> String {
    let wants = match kind {
        MetricKind::Latency => "\"value\" or \"values\" with numbers",
        MetricKind::Ratio => "\"value\": 0 or 1, or \"value\": {\"bad\": b, \"total\": t}",
        MetricKind::Rate => "\"value\": {\"events\": e, \"exposure\": x}",
        MetricKind::Gauge => "\"value\" with one finite number",
    };
    format!("the metric {name:?} takes {wants}")
}

fn weight_of(reading: &Reading) -> u64 {
    match reading {
        Reading::Values { values, weights } if weights.is_empty() => values.len() as u64,
        Reading::Values { weights, .. } => weights
            .iter()
            .fold(0, |sum, &weight| sum.saturating_add(weight)),
        Reading::Ratio { total, .. } => *total,
        Reading::Rate { .. } => 1,
    }
}

/// The first 128 bits of SHA-256: chance collisions are out of reach.
fn digest(bytes: &[u8]) -> u128 {
    let digest = Sha256::digest(bytes);
    digest[..16]
        .iter()
        .fold(0, |number, &byte| number << 8 | u128::from(byte))
}

// === impl Ingested ===

impl Ingested {
    fn refuse(&mut self, index: usize, code: &'static str, message: String) {
        let spelled = self.refused.len() < REFUSALS_SPELLED_MAX;
        self.refused.push(RefusedSample {
            index,
            code,
            message: if spelled { message } else { String::new() },
        });
    }

    /// Counts a sample once: the best of its fates.
    fn count(&mut self, index: usize, fates: Vec<Fate>) {
        let mut refusal = None;
        let (mut late, mut duplicate) = (false, false);
        for fate in fates {
            match fate {
                Fate::Accepted => {
                    self.accepted += 1;
                    return;
                }
                Fate::Late => late = true,
                Fate::Duplicate => duplicate = true,
                Fate::Refused(code, message) => refusal = Some((code, message)),
            }
        }
        if duplicate {
            self.duplicate += 1;
        } else if late {
            self.late += 1;
        } else if let Some((code, message)) = refusal {
            self.refuse(index, code, message);
        }
    }
}
