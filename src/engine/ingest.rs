//! Samples into analyses: addresses, matches, duplicates, refusals.
//!
//! Owns what becomes of each sample of a batch, and the counts in the answer. A sample may serve
//! several analyses; it is accepted when it reached at least one. Next: `window`, which keeps it.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::State;
use super::analysis::Analysis;
use super::matching::{Form, Match, Place, Role};
use super::messages::*;
use super::met::Met;
use super::placing::{self, Lines, Taking, digest};
use super::readings::reading_for;
use super::series::Totals;
use super::unplaced;
use crate::model::{Arm, Labels, Reading, Sample, Timestamp};
use crate::window::NoPlace;

/// Metrics of a plan that a refusal names.
const METRICS_SHOWN_MAX: usize = 10;

/// What became of one sample at one analysis.
enum Fate {
    Accepted,
    Late,
    Duplicate,
    Refused(&'static str, String),
}

/// Takes a batch.
pub(super) fn take(
    state: &mut State,
    samples: Vec<Sample>,
    now: Timestamp,
    effects: &mut Vec<Effect>,
) {
    let mut answer = Ingested::default();
    let mut lines = Lines::new();
    let mut all_met = std::mem::take(&mut state.met);
    all_met.begin_batch();
    let mut totals = Totals::default();
    let taking = Taking::new(state, now);
    let mut journal = state.journal.take();
    for (index, sample) in samples.iter().enumerate() {
        if let Err((code, message)) = taking.check(sample.ts) {
            answer.refuse(index, code, message);
            continue;
        }
        match &sample.address {
            Some(address) => {
                let fate = match state.analyses.get_mut(&address.analysis) {
                    Some(analysis) => {
                        if let Some(journal) = &mut journal {
                            journal.sample(None, sample);
                        }
                        addressed(analysis, sample, address.arm, taking, &mut lines)
                    }
                    None => Fate::Refused(
                        "unknown_analysis",
                        format!("no analysis has the id {:?}", address.analysis),
                    ),
                };
                answer.count(index, fate);
            }
            None => {
                let (name, labels) = (&sample.metric, &sample.labels);
                let find = || meetings(state, name, labels);
                let (met, is_first) = all_met.meet(name, labels, find);
                if let Some(journal) = journal.as_mut().filter(|_| !met.found.is_empty()) {
                    journal.sample(Some(&mut met.spelled), sample);
                }
                if met.is_total {
                    totals.add(index, sample, &mut answer);
                } else {
                    let met = (&*met, is_first);
                    matched(state, index, sample, met, taking, &mut lines, &mut answer);
                }
            }
        }
    }
    state.met = all_met;
    state.journal = journal;
    totals.take(state, taking, &mut lines, &mut answer);
    placing::finish(state, lines, answer, now, effects);
}

fn matched(
    state: &mut State,
    index: usize,
    sample: &Sample,
    (met, is_first): (&Met, bool),
    taking: Taking,
    lines: &mut Lines,
    answer: &mut Ingested,
) {
    let explain = is_first && answer.unplaced.len() < UNPLACED_SHOWN_MAX;
    if met.found.is_empty() {
        answer.count_unmatched(&sample.metric, 1);
        if explain {
            let why = unplaced::unmatched(state, index, &sample.metric, &sample.labels);
            answer.unplaced.push(why);
        }
        return;
    }
    let mut best: Option<Fate> = None;
    let mut ambiguous = None;
    for (id, found) in &met.found {
        let Some(analysis) = state.analyses.get_mut(id) else {
            continue;
        };
        match found {
            Match::Places(places) => {
                for place in places.iter().filter(|_| is_first) {
                    let sources = &mut analysis.counters[place.metric].sources;
                    sources.note(place.arm, met.named(), sample.ts, taking.now);
                }
                let fate = placed(analysis, sample, places, taking, lines);
                best = Some(match best {
                    Some(before) => before.or_better(fate),
                    None => fate,
                });
            }
            Match::Ambiguous => {
                analysis.ambiguous += 1;
                ambiguous = ambiguous.or(Some(id));
            }
            Match::None => {}
        }
    }
    if let Some(fate) = best {
        answer.count(index, fate);
        return;
    }
    let Some(analysis) = ambiguous.and_then(|id| state.analyses.get(id)) else {
        return;
    };
    answer.ambiguous += 1;
    if explain {
        let why = unplaced::ambiguous(analysis, index, &sample.metric, &sample.labels);
        answer.unplaced.push(why);
    }
}

/// The running analyses that ask for a series, or whose arms both do.
pub(super) fn meetings(state: &State, name: &str, labels: &Labels) -> Vec<(String, Match)> {
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
    lines: &mut Lines,
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
            form: Form::AsIs,
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
    lines: &mut Lines,
) -> Fate {
    if !analysis.takes_samples() {
        return Fate::Refused(
            "analysis_final",
            format!("the analysis {:?} is final", analysis.id),
        );
    }
    let window = &analysis.window;
    if let Err(no_place) = window.place_at(sample.ts, taking.now, taking.open_ticks_max) {
        return fate_without_place(analysis, places, no_place);
    }
    // Mostly there is one place. Of several, none is given anything unless all can be.
    let mut readings = SmallVec::<[Cow<'_, Reading>; 1]>::new();
    for place in places {
        match reading_for(analysis, place, &sample.reading) {
            Ok(reading) => readings.push(reading),
            Err((code, message)) => return Fate::Refused(code, message),
        }
    }
    let id = sample.id.as_ref().map(|id| digest(id.as_bytes()));
    if id.is_some_and(|id| analysis.dedupe.knows(id)) {
        return Fate::Duplicate;
    }
    for (place, reading) in places.iter().zip(readings) {
        let unit = unit_of(analysis, place.metric, sample);
        let (site, missing) = ((place.metric, place.arm), sample.missing);
        let put = placing::put(analysis, site, sample.ts, reading, unit, missing, lines);
        if let Err(no_place) = put {
            return fate_without_place(analysis, places, no_place);
        }
    }
    if let Some(id) = id {
        // Only now: what found no room is not a duplicate when it is sent again.
        analysis.dedupe.remember(id);
    }
    Fate::Accepted
}

fn fate_without_place(analysis: &mut Analysis, places: &[Place], no_place: NoPlace) -> Fate {
    if no_place == NoPlace::Late {
        for place in places {
            analysis.counters[place.metric].late += 1;
        }
        return Fate::Late;
    }
    let (code, message) = placing::refusal(analysis, places[0].metric, no_place);
    Fate::Refused(code, message)
}

fn unit_of(analysis: &Analysis, metric: usize, sample: &Sample) -> Option<String> {
    let cluster = analysis.plan.metrics[metric].cluster.as_ref()?;
    sample
        .unit
        .clone()
        .or_else(|| sample.labels.get(&cluster.by).map(str::to_owned))
}

// === impl Ingested ===

impl Ingested {
    /// Counts samples of a series that no analysis asks for; series of one name mostly come together.
    pub(super) fn count_unmatched(&mut self, name: &str, samples: u64) {
        self.unmatched += samples;
        let names = &mut self.unmatched_names;
        match names.last_mut() {
            Some((last, count)) if last == name => *count += samples,
            _ => names.push((name.to_owned(), samples)),
        }
        names.truncate(UNMATCHED_NAMES_MAX);
    }

    pub(super) fn refuse(&mut self, index: usize, code: &'static str, message: String) {
        let spelled = self.refused.len() < REFUSALS_SPELLED_MAX;
        self.refused.push(RefusedSample {
            index,
            code,
            message: if spelled { message } else { String::new() },
        });
    }

    fn count(&mut self, index: usize, fate: Fate) {
        match fate {
            Fate::Accepted => self.accepted += 1,
            Fate::Duplicate => self.duplicate += 1,
            Fate::Late => self.late += 1,
            Fate::Refused(code, message) => self.refuse(index, code, message),
        }
    }
}

// === impl Fate ===

impl Fate {
    /// A sample that several analyses ask for is counted once, by the best that became of it.
    fn or_better(self, other: Fate) -> Fate {
        let rank = |fate: &Fate| match fate {
            Fate::Accepted => 3,
            Fate::Duplicate => 2,
            Fate::Late => 1,
            Fate::Refused(..) => 0,
        };
        if rank(&other) >= rank(&self) {
            other
        } else {
            self
        }
    }
}
