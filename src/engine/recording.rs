//! The inputs of one analysis as lines of JSON, and back.
//!
//! Owns the recording's form: a header with the plan, then one line per accepted input in the
//! order the machine took them. Playing the lines into an empty machine gives the same verdicts,
//! byte for byte. Samples are in the form that the sample endpoint takes, addressed to arms. Next:
//! `batch`, how those of one input become a line.

mod batch;
mod digits;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) use batch::{Batch, Kept};
use serde::{Deserialize, Serialize};

use super::audit::Cause;
use super::messages::{Effect, Input, Refusal, RefusalCode, Start};
use super::steps::Entered;
use super::{Analysis, Limits, State, apply};
use crate::judge::ENGINE_REVISION;
use crate::judge::verdict::Override;
use crate::model::{Address, Arm, Change, Labels, Reading, Reason, Sample, Timestamp};
use crate::plan::Plan;

/// Version of the form.
pub const FORM: &str = "davy/v1";

#[derive(Serialize, Deserialize)]
struct Header {
    recording: String,
    analysis: String,
    plan_hash: String,
    engine_revision: u32,
    started_at: Timestamp,
    arms: BTreeMap<String, String>,
    change: Change,
    /// Values an open tick held: from there on they were coarsened or refused.
    tick_values_max: usize,
    plan: Plan,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Entry {
    Samples {
        at: Timestamp,
        samples: Vec<Recorded>,
    },
    Clock {
        at: Timestamp,
    },
    Resumed {
        at: Timestamp,
    },
    Step {
        at: Timestamp,
        name: String,
        weight: Option<f64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        steps_follow: Option<bool>,
    },
    End {
        at: Timestamp,
        reason: Reason,
        actor: Option<String>,
        why: Option<String>,
    },
    Override(Override),
}

#[derive(Debug, Serialize, Deserialize)]
struct Recorded {
    ts: Timestamp,
    metric: String,
    arm: Arm,
    reading: Reading,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    missing: u32,
}

/// As [`Recorded`], to be written.
#[derive(Serialize)]
struct ToRecord<'r> {
    ts: Timestamp,
    metric: &'r str,
    arm: Arm,
    reading: &'r Reading,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'r str>,
    #[serde(skip_serializing_if = "is_zero")]
    missing: u32,
}

/// Why a recording cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// A line is not of the form.
    #[error("line {line}: not a line of a davy recording, which may be cut off")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// There is no header.
    #[error("the file is empty or does not begin with a recording's header")]
    NoHeader,
    /// The form is of another version.
    #[error("the recording has the form {found:?}; this davy reads {FORM:?}")]
    WrongForm {
        /// The header's form.
        found: String,
    },
    /// The header's plan is not the one its hash names.
    #[error("the plan in the header has the hash {found}, but the header says {stated}")]
    PlanChanged {
        /// Hash of the plan in the header.
        found: String,
        /// Hash in the header.
        stated: String,
    },
    /// The plan cannot be started on this recording.
    #[error("the plan cannot be started on this recording: {}{}", .0.message, way_out(.0))]
    NotStarted(Refusal),
}

/// What a recording came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Played {
    /// Whether the verdict was final by the end of the recording.
    pub is_final: bool,
    /// Whether the plan tells the arms or the metrics apart otherwise than the recording's own
    /// did. Recorded samples are told apart already, so this changes nothing.
    pub has_other_selectors: bool,
}

// === lines ===

pub(super) fn header(
    analysis: &str,
    plan: &Plan,
    plan_hash: &str,
    arms: &BTreeMap<String, String>,
    change: &Change,
    started_at: Timestamp,
    tick_values_max: usize,
) -> String {
    to_line(&Header {
        recording: FORM.to_owned(),
        analysis: analysis.to_owned(),
        plan_hash: plan_hash.to_owned(),
        engine_revision: ENGINE_REVISION,
        started_at,
        arms: arms.clone(),
        change: change.clone(),
        tick_values_max,
        plan: plan.clone(),
    })
}

pub(super) fn clock(at: Timestamp) -> String {
    to_line(&Entry::Clock { at })
}

pub(super) fn resumed(at: Timestamp) -> String {
    to_line(&Entry::Resumed { at })
}

pub(super) fn step(at: Timestamp, entered: &Entered) -> String {
    to_line(&Entry::Step {
        at,
        name: entered.name.clone(),
        weight: entered.weight,
        steps_follow: entered.steps_follow,
    })
}

pub(super) fn end(at: Timestamp, reason: Reason, actor: Option<&str>, why: Option<&str>) -> String {
    to_line(&Entry::End {
        at,
        reason,
        actor: actor.map(str::to_owned),
        why: why.map(str::to_owned),
    })
}

pub(super) fn overridden(overridden: &Override) -> String {
    to_line(&Entry::Override(overridden.clone()))
}

fn to_line(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("a recording's line is plain data")
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

// === playing ===

fn read_header(first: Option<&str>) -> Result<Header, PlayError> {
    let first = first.ok_or(PlayError::NoHeader)?;
    let header: Header = serde_json::from_str(first).map_err(|_| PlayError::NoHeader)?;
    if header.recording != FORM {
        return Err(PlayError::WrongForm {
            found: header.recording,
        });
    }
    let found = header.plan.hash();
    if found != header.plan_hash {
        return Err(PlayError::PlanChanged {
            found,
            stated: header.plan_hash,
        });
    }
    Ok(header)
}

/// Revision of the engine that made a recording: within one revision a replay gives the same bytes.
///
/// # Errors
/// As [`play`], of the header.
pub fn engine_revision<'l>(lines: impl IntoIterator<Item = &'l str>) -> Result<u32, PlayError> {
    Ok(read_header(lines.into_iter().next())?.engine_revision)
}

/// Plays a recording into an empty machine, handing over the effects of every line. With `plan`,
/// the recording is judged under that plan instead of its own; where that plan is not through by
/// the last line, the ticks that hold recorded samples are closed and looked at too.
pub fn play<'l>(
    lines: impl IntoIterator<Item = &'l str>,
    plan: Option<Arc<Plan>>,
    mut on_effects: impl FnMut(Vec<Effect>),
) -> Result<Played, PlayError> {
    let mut lines = lines.into_iter().enumerate();
    let header = read_header(lines.next().map(|(_, line)| line))?;
    let id = header.analysis;
    // What was accepted once must be accepted again: the recording is bounded, not its replay.
    let limits = Limits {
        abandoned_after: i64::MAX,
        open_ticks_max: usize::MAX,
        future_skew: i64::MAX / 4,
        steps_max: usize::MAX,
        tick_values_max: header.tick_values_max,
        ..Limits::default()
    };
    let mut state = State::new(limits);
    let is_own = plan.is_none();
    let has_other_selectors = plan
        .as_deref()
        .is_some_and(|plan| selects_otherwise(plan, &header.plan));
    let start = Start {
        id: id.clone(),
        plan: plan.unwrap_or_else(|| Arc::new(header.plan)),
        arms: header.arms,
        change: header.change,
        idempotency_key: None,
        request_digest: String::new(),
        by: None,
    };
    let effects = apply(&mut state, Input::Start(Box::new(start)), header.started_at);
    if let Some(refusal) = refused(&effects) {
        return Err(PlayError::NotStarted(refusal));
    }
    on_effects(effects);
    let mut last_at = header.started_at;
    for (index, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let entry: Entry = serde_json::from_str(line).map_err(|source| PlayError::Line {
            line: index + 1,
            source,
        })?;
        last_at = last_at.max(entry.at());
        on_effects(state.play_entry(&id, entry));
    }
    let is_final = |state: &State| state.analysis(&id).is_some_and(Analysis::is_final);
    if !is_own && !is_final(&state) {
        let all_closed = state.analysis(&id).and_then(Analysis::all_closed_at);
        if let Some(at) = all_closed {
            on_effects(apply(&mut state, Input::Tick, at.max(last_at)));
        }
    }
    Ok(Played {
        is_final: is_final(&state),
        has_other_selectors,
    })
}

fn refused(effects: &[Effect]) -> Option<Refusal> {
    effects.iter().find_map(|effect| match effect {
        Effect::Refused(refusal) => Some(refusal.clone()),
        _ => None,
    })
}

/// Whether two plans tell arms or metrics of one name apart in different ways.
fn selects_otherwise(plan: &Plan, recorded: &Plan) -> bool {
    let differs = |metric: &crate::plan::Metric| {
        let same_name = |other: &&crate::plan::Metric| other.name == metric.name;
        let other = recorded.metrics.iter().find(same_name);
        other.is_some_and(|other| other.source != metric.source)
    };
    plan.arms != recorded.arms || plan.metrics.iter().any(differs)
}

/// What to do about a plan that a recording refuses: the arms' variables and the change were given
/// when the analysis was started, and a replay cannot give others.
fn way_out(refusal: &Refusal) -> &'static str {
    match refusal.code {
        RefusalCode::ArmVariableMissing => {
            "; recorded samples are told apart already, so leave `arms` out of the plan"
        }
        RefusalCode::ChangeIncomplete => {
            "; the change was described when the analysis was started, so leave `change` out of \
             the plan"
        }
        _ => "",
    }
}

// === impl Entry ===

impl Entry {
    fn at(&self) -> Timestamp {
        match self {
            Entry::Samples { at, .. }
            | Entry::Clock { at }
            | Entry::Resumed { at }
            | Entry::Step { at, .. }
            | Entry::End { at, .. } => *at,
            Entry::Override(overridden) => Timestamp(overridden.at),
        }
    }
}

/// The samples of a recording, in the order they were taken, addressed to their arms.
///
/// # Errors
/// As [`play`].
pub fn samples<'l>(lines: impl IntoIterator<Item = &'l str>) -> Result<Vec<Sample>, PlayError> {
    let mut lines = lines.into_iter().enumerate();
    let header = read_header(lines.next().map(|(_, line)| line))?;
    let mut all = Vec::new();
    for (index, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let entry = serde_json::from_str(line).map_err(|source| PlayError::Line {
            line: index + 1,
            source,
        })?;
        if let Entry::Samples { samples, .. } = entry {
            let addressed = |sample: Recorded| sample.addressed(&header.analysis);
            all.extend(samples.into_iter().map(addressed));
        }
    }
    Ok(all)
}

// === impl Recorded ===

impl Recorded {
    fn addressed(self, analysis: &str) -> Sample {
        Sample {
            ts: self.ts,
            metric: self.metric,
            labels: Labels::new(),
            reading: self.reading,
            unit: self.unit,
            id: None,
            address: Some(Address {
                analysis: analysis.to_owned(),
                arm: self.arm,
            }),
            missing: self.missing,
        }
    }
}

// === impl State ===

impl State {
    fn play_entry(&mut self, id: &str, entry: Entry) -> Vec<Effect> {
        match entry {
            Entry::Samples { at, samples } => {
                let addressed = samples.into_iter().map(|sample| sample.addressed(id));
                apply(self, Input::Samples(addressed.collect()), at)
            }
            Entry::Clock { at } => apply(self, Input::Tick, at),
            Entry::Resumed { at } => apply(self, Input::Resumed, at),
            Entry::Step {
                at,
                name,
                weight,
                steps_follow,
            } => {
                let analysis = id.to_owned();
                let step = Input::Step {
                    by: None,
                    analysis,
                    name,
                    weight,
                    steps_follow,
                };
                apply(self, step, at)
            }
            Entry::End {
                at,
                reason,
                actor,
                why,
            } => self.play_end(id, reason, Cause::asked(None, actor, why), at),
            Entry::Override(overridden) => {
                let at = Timestamp(overridden.at);
                let again = Input::Override {
                    analysis: id.to_owned(),
                    to: overridden.decision,
                    actor: overridden.actor,
                    reason: overridden.reason,
                    by: None,
                };
                apply(self, again, at)
            }
        }
    }

    /// A recorded end: superseding and abandoning come from outside the recording.
    fn play_end(&mut self, id: &str, reason: Reason, cause: Cause, at: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some(analysis) = self
            .analyses
            .get_mut(id)
            .filter(|analysis| analysis.takes_samples())
        {
            analysis.end(reason, cause, at, &mut effects);
        }
        effects
    }
}
