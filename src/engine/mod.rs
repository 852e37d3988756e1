//! The machine: `apply(state, input, now) -> effects`.
//!
//! Owns every change of state. It waits for nothing and performs nothing: `serve`, `replay`,
//! `backtest`, `simulate`, `demo` and the tests are drivers of this one function. Time is an
//! argument, ids come with the inputs, and the same inputs give the same bytes. Next:
//! `analysis`, the life of one analysis; `matching`, which samples are whose; `recording`, the
//! inputs of one analysis as lines of text.

pub mod audit;
pub mod checkpoint;
pub mod measuring;
pub mod messages;
pub mod pull;
pub mod recording;

mod analysis;
mod change;
mod dedupe;
mod ingest;
pub mod journal;
mod matching;
mod met;
mod overriding;
mod placing;
mod readings;
mod refusals;
mod rest;
mod series;
mod sources;
mod steps;
mod unplaced;
mod watching;

use std::collections::BTreeMap;

pub use analysis::Analysis;
pub use change::check_start;
pub use messages::*;
use serde::{Deserialize, Serialize};

use crate::judge::check::Detail;
use audit::{Cause, Requester};
use journal::{Journal, Logged};
use met::MetSeries;
use series::KnownSeries;
use steps::Entered;

use crate::judge::scratch::Scratch;
use crate::model::{Change, Millis, Reason, Timestamp};
use crate::window::OPEN_TICKS_MAX;

/// Bounds of the machine. Every one has a name in the daemon's configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Analyses that are not final.
    pub analyses_max: usize,
    /// Final analyses kept readable.
    pub retained_analyses_max: usize,
    /// Values held per arm, metric and open tick.
    pub tick_values_max: usize,
    /// Ticks of one analysis that are open at once.
    pub open_ticks_max: usize,
    /// How far ahead of the clock a sample's time may be.
    pub future_skew: Millis,
    /// Sample ids remembered per analysis.
    pub dedupe_ids_max: usize,
    /// Series of running analyses that are followed, with their totals.
    pub series_max: usize,
    /// Seed of the hashes by which series are found: chance from the shell, so that no sender can
    /// foresee which collide. No result depends on it.
    pub series_seed: u64,
    /// Whether somebody asks sources: without it what a plan pulls is waited for like any sample.
    pub pulls: bool,
    /// Steps of one analysis.
    pub steps_max: usize,
    /// Time without samples or questions after which an analysis is abandoned.
    pub abandoned_after: Millis,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            analyses_max: 1_000,
            retained_analyses_max: 1_000,
            tick_values_max: 65_536,
            open_ticks_max: OPEN_TICKS_MAX,
            future_skew: 60_000,
            dedupe_ids_max: 100_000,
            series_max: 100_000,
            series_seed: 0,
            pulls: false,
            steps_max: 100,
            abandoned_after: 30 * 60_000,
        }
    }
}

/// Everything the machine knows.
#[derive(Debug, Serialize, Deserialize)]
pub struct State {
    /// The configuration's.
    #[serde(skip)]
    limits: Limits,
    detail: Detail,
    analyses: BTreeMap<String, Analysis>,
    /// Idempotency key to id of the analysis and digest of the request.
    keys: BTreeMap<String, (String, String)>,
    /// Ids of final analyses, oldest first.
    finished: std::collections::VecDeque<String>,
    /// Series that running analyses ask for, and what is remembered of them.
    series: KnownSeries,
    /// Which running analyses ask for the series of samples: found again with each that comes.
    #[serde(skip)]
    met: MetSeries,
    /// Where inputs are written that must not be lost; `None` where nobody keeps them: who loads
    /// a state keeps one of its own.
    #[serde(skip)]
    journal: Option<Journal>,
    /// Drawn again by whoever needs it, from the same seeds.
    #[serde(skip)]
    scratch: Scratch,
}

// === impl State ===

impl State {
    /// An empty machine.
    pub fn new(limits: Limits) -> State {
        State {
            series: KnownSeries::new(limits.series_seed),
            met: MetSeries::new(limits.series_seed),
            limits,
            detail: Detail::Full,
            analyses: BTreeMap::new(),
            keys: BTreeMap::new(),
            finished: Default::default(),
            journal: None,
            scratch: Scratch::default(),
        }
    }

    /// Other bounds hold from now on; what was begun under others goes on under them.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// From now on every input that changes something is written to [`State::frame`].
    pub fn keep_journal(&mut self) {
        self.journal = Some(Journal::new());
    }

    /// The last input as a frame of a journal; empty where it changed nothing, or where no journal
    /// is kept.
    pub fn frame(&self) -> &[u8] {
        self.journal.as_ref().map_or(&[], Journal::frame)
    }

    /// Begins a chapter of the journal, which can be read without those before.
    pub fn begin_chapter(&mut self) {
        if let Some(journal) = &mut self.journal {
            journal.turn_over();
        }
    }

    /// Takes the seed that its series were found by so far.
    fn reseed(&mut self) {
        self.limits.series_seed = self.series.seed();
        self.met = MetSeries::new(self.limits.series_seed);
    }

    /// The analysis of this id, running or retained.
    pub fn analysis(&self, id: &str) -> Option<&Analysis> {
        self.analyses.get(id)
    }

    /// Ids of the analyses that take samples: not final, or watched after their pass.
    pub fn running(&self) -> impl Iterator<Item = &str> {
        self.analyses
            .iter()
            .filter(|(_, a)| a.takes_samples())
            .map(|(id, _)| id.as_str())
    }
}

/// Applies one input at clock time `now` and says what is to be done.
pub fn apply(state: &mut State, input: Input, now: Timestamp) -> Vec<Effect> {
    let mut effects = Vec::new();
    if let Some(journal) = &mut state.journal {
        journal.begin(&input, now);
    }
    let may_be_nothing = matches!(
        input,
        Input::Tick | Input::Override { .. } | Input::Step { .. }
    );
    match input {
        Input::Start(start) => begin(state, *start, now, &mut effects),
        Input::Samples(samples) => ingest::take(state, samples, now, &mut effects),
        Input::Series(batch) => series::take(state, &batch, now, &mut effects),
        Input::Pulled(pulled) => series::take_pulled(state, &pulled, now, &mut effects),
        Input::Tick => tick(state, now, &mut effects),
        Input::Step { .. } | Input::Cancel { .. } | Input::Override { .. } => {
            take_order(state, input, now, &mut effects);
        }
        Input::Asked { analysis } => {
            if let Some(analysis) = state.analyses.get_mut(&analysis) {
                analysis.touch(now);
            }
        }
        Input::Resumed => {
            let all = state.analyses.values_mut();
            for analysis in all.filter(|analysis| analysis.takes_samples()) {
                analysis.resume(now, &mut effects);
            }
        }
    }
    measuring::measure(state, &mut effects);
    retire(state, &mut effects);
    if let Some(journal) = &mut state.journal {
        let is_refused = effects.iter().any(|effect| {
            let existing = matches!(effect, Effect::Started { existing: true, .. });
            existing || matches!(effect, Effect::Refused(_))
        });
        // A tick at which nothing is due changes nothing, nor does the same decision or step again.
        if effects
            .iter()
            .any(|effect| matches!(effect, Effect::Forgotten { .. }))
        {
            journal.hold_frame();
        } else if is_refused || may_be_nothing && effects.is_empty() {
            journal.drop_frame();
        }
    }
    effects
}

/// What controllers and people ask for.
fn take_order(state: &mut State, order: Input, now: Timestamp, effects: &mut Vec<Effect>) {
    match order {
        Input::Step {
            analysis,
            name,
            weight,
            steps_follow,
            by,
        } => {
            let entered = Entered {
                name,
                weight,
                steps_follow,
            };
            on_running(state, &analysis, effects, |analysis, state, effects| {
                // The unnamed run before the first marked step does not count.
                if !analysis.enters(&entered) {
                    analysis.mark(entered, by, now, effects);
                } else if analysis.steps().len() > state.limits.steps_max {
                    effects.push(Effect::Refused(too_many_steps(state.limits.steps_max)));
                } else {
                    analysis.enter_step(entered, by, now, effects);
                }
            });
        }
        Input::Cancel {
            analysis,
            actor,
            reason,
            by,
        } => {
            on_running(state, &analysis, effects, |analysis, _, effects| {
                let cause = Cause::asked(by, actor, reason);
                analysis.end(Reason::Cancelled, cause, now, effects);
            });
        }
        Input::Override {
            analysis,
            to,
            actor,
            reason,
            by,
        } => match state.analyses.get_mut(&analysis) {
            Some(analysis) => {
                let asked = Cause::asked(by, actor, Some(reason));
                analysis.decide_otherwise(to, asked, now, effects);
            }
            None => effects.push(Effect::Refused(not_found(&analysis))),
        },
        // Not asked for by name.
        _ => {}
    }
}

/// Applies what was read from a journal.
pub fn apply_logged(state: &mut State, logged: Logged) -> Vec<Effect> {
    let effects = apply(state, logged.input, logged.at);
    // Some were written all the same, for somebody who was final by then asked for them.
    let within = effects.iter().map(|effect| match effect {
        Effect::Ingested(answer) => answer.unmatched,
        _ => 0,
    });
    let within: u64 = within.sum();
    placing::see_unmatched(state, logged.unmatched.saturating_sub(within));
    effects
}

fn begin(state: &mut State, start: Start, now: Timestamp, effects: &mut Vec<Effect>) {
    if let Some(key) = &start.idempotency_key
        && let Some((id, digest)) = state.keys.get(key)
    {
        effects.push(if *digest == start.request_digest {
            Effect::Started {
                analysis: id.clone(),
                existing: true,
                superseded: Vec::new(),
            }
        } else {
            Effect::Refused(key_reused(key))
        });
        return;
    }
    // Those that the new one ends make room for it.
    let ended = superseded_by(state, &start.change);
    if state.running().count() - ended.len() >= state.limits.analyses_max {
        return effects.push(Effect::Refused(too_many_analyses(
            state.limits.analyses_max,
        )));
    }
    let (id, key) = (start.id.clone(), start.idempotency_key.clone());
    let digest = start.request_digest.clone();
    let by = start.by.clone();
    let mut analysis = match Analysis::begin(start, now, &state.limits, state.detail) {
        Ok(analysis) => analysis,
        Err(refusal) => return effects.push(Effect::Refused(refusal)),
    };
    effects.push(Effect::Started {
        analysis: id.clone(),
        existing: false,
        superseded: ended.clone(),
    });
    supersede(state, &ended, analysis.change(), by.as_ref(), now, effects);
    analysis.announce(by, now, effects);
    effects.extend(analysis.pull().map(|pull| Effect::Pull(Box::new(pull))));
    if let Some(key) = key {
        state.keys.insert(key, (id.clone(), digest));
    }
    state.analyses.insert(id, analysis);
    let State {
        series,
        analyses,
        met,
        ..
    } = state;
    met.forget();
    series.match_anew(|id| analyses.get(id).is_some_and(Analysis::takes_samples));
}

/// Running analyses of the same namespace, service, environment and region that judge another
/// revision.
fn superseded_by(state: &State, newer: &Change) -> Vec<String> {
    if newer.service.is_none() {
        return Vec::new();
    }
    let is_older = |analysis: &Analysis| {
        let old = analysis.change();
        let same_place = old.namespace == newer.namespace
            && old.service == newer.service
            && old.environment == newer.environment
            && old.region == newer.region;
        same_place && old.revision != newer.revision
    };
    state
        .analyses
        .iter()
        .filter(|(_, analysis)| analysis.takes_samples() && is_older(analysis))
        .map(|(id, _)| id.clone())
        .collect()
}

fn supersede(
    state: &mut State,
    ended: &[String],
    newer: &Change,
    by: Option<&Requester>,
    now: Timestamp,
    effects: &mut Vec<Effect>,
) {
    for id in ended {
        let revision = newer.revision.as_ref();
        let why = revision.map(|revision| format!("revision {revision} started"));
        if let Some(analysis) = state.analyses.get_mut(id) {
            let cause = Cause::asked(by.cloned(), None, why);
            analysis.end(Reason::Superseded, cause, now, effects);
        }
    }
}

fn tick(state: &mut State, now: Timestamp, effects: &mut Vec<Effect>) {
    let State {
        analyses,
        scratch,
        limits,
        ..
    } = state;
    for analysis in analyses
        .values_mut()
        .filter(|analysis| analysis.takes_samples())
    {
        analysis.on_clock(now, scratch, effects);
        if analysis.takes_samples() && analysis.idle_for(now) >= limits.abandoned_after {
            analysis.end(Reason::Abandoned, Cause::own(None), now, effects);
        }
    }
}

fn on_running(
    state: &mut State,
    id: &str,
    effects: &mut Vec<Effect>,
    change: impl FnOnce(&mut Analysis, &State, &mut Vec<Effect>),
) {
    let Some(mut analysis) = state.analyses.remove(id) else {
        return effects.push(Effect::Refused(not_found(id)));
    };
    if analysis.is_final() {
        effects.push(Effect::Refused(is_final(id)));
    } else {
        change(&mut analysis, state, effects);
    }
    state.analyses.insert(id.to_owned(), analysis);
}

/// Forgets the oldest final analyses beyond the limit.
fn retire(state: &mut State, effects: &mut Vec<Effect>) {
    for effect in effects.iter() {
        let Effect::Event(event) = effect else {
            continue;
        };
        if matches!(event.kind, EventKind::VerdictFinal | EventKind::WatchEnded) {
            // It asks for no series any more.
            state.met.forget();
        }
        if event.kind == EventKind::VerdictFinal {
            state.finished.push_back(event.analysis.clone());
        }
    }
    while state.finished.len() > state.limits.retained_analyses_max {
        let Some(id) = state.finished.pop_front() else {
            break;
        };
        state.analyses.remove(&id);
        state.keys.retain(|_, (analysis, _)| *analysis != id);
        effects.push(Effect::Forgotten { analysis: id });
    }
}

// === refusals ===

fn not_found(id: &str) -> Refusal {
    Refusal {
        code: RefusalCode::AnalysisNotFound,
        message: format!("no analysis has the id {id:?}"),
        help: Some("list analyses with GET /v1/analyses; old ones are forgotten".to_owned()),
    }
}

fn is_final(id: &str) -> Refusal {
    Refusal {
        code: RefusalCode::AnalysisFinal,
        message: format!("the analysis {id:?} is final"),
        help: Some("start a new analysis".to_owned()),
    }
}

fn key_reused(key: &str) -> Refusal {
    Refusal {
        code: RefusalCode::IdempotencyMismatch,
        message: format!("the idempotency key {key:?} was used for a different request"),
        help: Some("send the same body again, or use a new key".to_owned()),
    }
}

fn too_many_analyses(limit: usize) -> Refusal {
    Refusal {
        code: RefusalCode::TooManyAnalyses,
        message: format!("{limit} analyses are running, which is the limit"),
        help: Some("cancel some, or raise limits.analyses_max".to_owned()),
    }
}

fn too_many_steps(limit: usize) -> Refusal {
    Refusal {
        code: RefusalCode::TooManySteps,
        message: format!("the analysis has {limit} steps, which is the limit"),
        help: None,
    }
}
