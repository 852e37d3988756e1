//! What goes into the machine and what comes out of it: plain data.
//!
//! Owns the inputs and effects of [`super::apply`]. The shell turns requests into inputs and
//! performs effects; it never changes an analysis itself.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, Serialize};

use super::audit::{Audited, Requester};
use super::measuring::Measured;
use super::pull::{Pull, PullProgress, PulledMetric, PulledView};
use crate::judge::verdict::{Override, OverrideTo, Status, VerdictBody};
use crate::model::series::SeriesBatch;
use crate::model::{Arm, Change, Decision, Millis, Outcome, Reason, Sample, Timestamp};
use crate::plan::Plan;

/// One thing that happened in the world.
#[derive(Debug, Clone)]
pub enum Input {
    /// Somebody asks for a new analysis.
    Start(Box<Start>),
    /// Decoded samples arrived, in one request.
    Samples(Vec<Sample>),
    /// Decoded series arrived, in one request.
    Series(Box<SeriesBatch>),
    /// A source was asked about a metric of one analysis.
    Pulled(Box<PulledMetric>),
    /// Time passed: closes idle ticks, finds stale and abandoned analyses.
    Tick,
    /// A controller enters a step of its rollout.
    Step {
        /// Id of the analysis.
        analysis: String,
        /// Name of the step, such as `50%`.
        name: String,
        /// Traffic weight of the canary in percent, for the record.
        weight: Option<f64>,
        /// Whether further steps follow, where that is known: as long as they do, a pass is not final
        /// before the horizon. A step that is told so and is the current one goes on.
        steps_follow: Option<bool>,
        /// Whose token it was.
        by: Option<Requester>,
    },
    /// Somebody ends an analysis.
    Cancel {
        /// Id of the analysis.
        analysis: String,
        /// Who.
        actor: Option<String>,
        /// Why.
        reason: Option<String>,
        /// Whose token it was.
        by: Option<Requester>,
    },
    /// Somebody decides otherwise than the verdict asks.
    Override {
        /// Id of the analysis.
        analysis: String,
        /// What the controller is asked to do from now on.
        to: OverrideTo,
        /// Who.
        actor: Option<String>,
        /// Why.
        reason: String,
        /// Whose token it was.
        by: Option<Requester>,
    },
    /// Somebody asked for a verdict: the analysis is not abandoned.
    Asked {
        /// Id of the analysis.
        analysis: String,
    },
    /// davy was away and is back: nobody could send meanwhile, so nobody was idle.
    Resumed,
}

/// A request for a new analysis. Id and digest come from the shell: chance is an argument.
#[derive(Debug, Clone)]
pub struct Start {
    /// Fresh unique id.
    pub id: String,
    /// The plan it runs on.
    pub plan: Arc<Plan>,
    /// Variables for the plan's arm selectors: `baseline`, `canary` and others.
    pub arms: BTreeMap<String, String>,
    /// What is being deployed.
    pub change: Change,
    /// Repeating a start with this key gives the first answer again.
    pub idempotency_key: Option<String>,
    /// Digest of the whole request: tells a repetition from a different request under one key.
    pub request_digest: String,
    /// Whose token it was.
    pub by: Option<Requester>,
}

/// One thing the shell has to do or to answer.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Answer of a start: this analysis runs (`existing`: since an earlier request).
    Started {
        /// Id of the analysis.
        analysis: String,
        /// The same request had been made before.
        existing: bool,
        /// Analyses that it ended.
        superseded: Vec<String>,
    },
    /// The input was refused as a whole.
    Refused(Refusal),
    /// Answer of samples.
    Ingested(Ingested),
    /// From now on a source is to be asked for an analysis.
    Pull(Box<Pull>),
    /// Answer of what was pulled.
    Pulled(PullProgress),
    /// Something watchers and webhooks want to know.
    Event(Event),
    /// Something that those want to know who look it up later.
    Audit(Box<Audited>),
    /// The readable state of an analysis changed: replace what readers see.
    Changed(Box<AnalysisView>),
    /// An accepted input of one analysis: append it to the analysis' recording.
    Record {
        /// Id of the analysis.
        analysis: String,
        /// One line of the recording, without a newline.
        line: String,
    },
    /// A tick was closed and evaluated.
    Looked {
        /// Clock time by which it was to be: end of the tick, lateness and the wait for an idle
        /// stream. Later than that, the engine did not keep up.
        due: Timestamp,
    },
    /// A verdict became final: for whoever counts.
    Measured {
        /// The final verdict.
        body: Arc<VerdictBody>,
        /// How long it took, and what else is measured of it.
        measured: Measured,
    },
    /// An analysis left memory by retention: forget its events and recording.
    Forgotten {
        /// Id of the analysis.
        analysis: String,
    },
}

/// Why an input was refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Stable code, snake_case.
    pub code: RefusalCode,
    /// What is wrong, lowercase, for the caller.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Stable codes of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// No analysis has this id.
    AnalysisNotFound,
    /// The analysis is final.
    AnalysisFinal,
    /// The idempotency key was used for a different request.
    IdempotencyMismatch,
    /// A required field of the change is missing.
    ChangeIncomplete,
    /// A variable of the plan's arm selectors was not given.
    ArmVariableMissing,
    /// Both arms' selectors are the same with their variables filled in.
    ArmsAlike,
    /// The limit on running analyses is reached.
    TooManyAnalyses,
    /// The limit on steps of one analysis is reached.
    TooManySteps,
}

/// What became of a batch of samples. A "value" is one measured number with its weight 1.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ingested {
    /// Samples that reached at least one analysis.
    pub accepted: u64,
    /// Samples that no running analysis asks for.
    pub unmatched: u64,
    /// Samples whose labels match both arms of an analysis, and that reached no other.
    pub ambiguous: u64,
    /// Samples for ticks that are closed.
    pub late: u64,
    /// Samples whose id was seen before.
    pub duplicate: u64,
    /// Samples kept whose time is more than [`AHEAD_MIN`] ahead of the clock.
    pub ahead: u64,
    /// Names of unmatched series, at most [`UNMATCHED_NAMES_MAX`] a batch, with their samples.
    pub unmatched_names: Vec<(String, u64)>,
    /// Samples refused, each with its reason.
    pub refused: Vec<RefusedSample>,
    /// The first series, at most [`UNPLACED_SHOWN_MAX`], that are unmatched or ambiguous.
    pub unplaced: Vec<Unplaced>,
}

/// A sender whose samples are so far ahead of the clock has another clock.
pub const AHEAD_MIN: Millis = 1_000;

/// Names of unmatched series that are counted one by one in a batch.
pub const UNMATCHED_NAMES_MAX: usize = 1_000;

/// Series of one batch of which is said why they are unmatched or ambiguous.
pub const UNPLACED_SHOWN_MAX: usize = 5;

/// A series that no running analysis asks for, or both arms of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unplaced {
    /// Position of its first sample in the batch, from 0.
    pub index: usize,
    /// `unmatched` or `ambiguous`.
    pub outcome: &'static str,
    /// Name and labels, shortened.
    pub series: String,
    /// What running analyses ask for instead.
    pub message: String,
}

/// Refused samples of one batch that say why; of those past them index and code are kept.
pub const REFUSALS_SPELLED_MAX: usize = 100;

/// One refused sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedSample {
    /// Position in the batch given to the engine, from 0.
    pub index: usize,
    /// Stable code, snake_case: `unknown_analysis`, `unknown_metric`, `wrong_form`,
    /// `before_start`, `future`, `too_far_ahead`, `after_horizon`, `analysis_final`, `tick_full`, ...
    pub code: &'static str,
    /// What is wrong and what to do, for the sender; empty past [`REFUSALS_SPELLED_MAX`].
    pub message: String,
}

/// Something watchers and webhooks want to know about one analysis.
#[derive(Debug, Clone)]
pub struct Event {
    /// Id of the analysis.
    pub analysis: String,
    /// Number of the event within the analysis, from 1.
    pub sequence: u64,
    /// When the engine saw it.
    pub at: Timestamp,
    /// What it is.
    pub kind: EventKind,
    /// The verdict at that moment.
    pub body: Arc<VerdictBody>,
}

impl Event {
    /// Whether no event of this analysis follows, unless somebody overrides its decision.
    pub fn is_last(&self) -> bool {
        match self.kind {
            EventKind::VerdictFinal => self.body.watch.is_none(),
            EventKind::WatchEnded => true,
            // Another may follow all the same, as this one did.
            EventKind::Overridden => {
                let watch = self.body.watch.as_ref();
                self.body.is_final && watch.is_none_or(|watch| watch.ended)
            }
            EventKind::Started
            | EventKind::Look
            | EventKind::VerdictChanged
            | EventKind::WatchAlarm => false,
        }
    }
}

/// Kinds of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// `analysis.started`
    Started,
    /// `look`: a tick closed and was evaluated; for watchers, never for webhooks.
    Look,
    /// `verdict.changed`
    VerdictChanged,
    /// `verdict.final`
    VerdictFinal,
    /// `watch.alarm`: a check went beyond its boundary after the pass.
    WatchAlarm,
    /// `watch.ended`: the last event of an analysis that was watched after its pass.
    WatchEnded,
    /// `analysis.overridden`: a person decided otherwise than the verdict asks, at any time.
    Overridden,
}

impl EventKind {
    /// The type as written in SSE and webhooks.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Started => "analysis.started",
            EventKind::Look => "look",
            EventKind::VerdictChanged => "verdict.changed",
            EventKind::VerdictFinal => "verdict.final",
            EventKind::WatchAlarm => "watch.alarm",
            EventKind::WatchEnded => "watch.ended",
            EventKind::Overridden => "analysis.overridden",
        }
    }

    /// The kind of this type.
    pub fn named(name: &str) -> Option<EventKind> {
        let all = [
            EventKind::Started,
            EventKind::Look,
            EventKind::VerdictChanged,
            EventKind::VerdictFinal,
            EventKind::WatchAlarm,
            EventKind::WatchEnded,
            EventKind::Overridden,
        ];
        all.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// The readable state of an analysis, for lists and pages.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AnalysisView {
    /// Id.
    pub id: String,
    /// Name of the plan.
    pub plan: String,
    /// Version of the plan.
    pub plan_hash: String,
    /// Where it is in its life.
    pub status: Status,
    /// pass, fail or inconclusive.
    pub verdict: Outcome,
    /// What the controller should do.
    pub decision: Decision,
    /// Why.
    pub reason: Reason,
    /// Start, unix milliseconds.
    pub started_at: i64,
    /// When it became final, unix milliseconds.
    pub final_at: Option<i64>,
    /// The decision of a person, where one decided otherwise than the verdict asks.
    #[serde(rename = "override", default, skip_serializing_if = "Option::is_none")]
    pub overridden: Option<Override>,
    /// What is being deployed.
    pub change: Change,
    /// Arm variables given at start.
    pub arms: BTreeMap<String, String>,
    /// Steps the controller has marked.
    pub steps: Vec<StepView>,
    /// Whether further steps follow, where the controller told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps_follow: Option<bool>,
    /// What each metric received.
    pub received: Vec<ReceivedView>,
    /// How the source answers, of each metric that is pulled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pulled: Vec<PulledView>,
    /// Samples that both arms asked for, so that neither got them.
    pub ambiguous: u64,
    /// While its arms' matchers had found nothing yet: samples that no running analysis asked for.
    pub unmatched: u64,
    /// The verdict, for the final gate.
    #[serde(skip_serializing)]
    #[schemars(skip)]
    pub body: Arc<Verdict>,
    /// The verdict, for the gate of the current step.
    #[serde(skip_serializing)]
    #[schemars(skip)]
    pub step_body: Arc<Verdict>,
}

/// A verdict as it is shown, with its text: that is made when somebody asks first, and asked for
/// much more often than it changes.
#[derive(Debug)]
pub struct Verdict {
    body: VerdictBody,
    json: OnceLock<Arc<[u8]>>,
}

// === impl Verdict ===

impl Verdict {
    /// Its text is not made yet.
    pub fn new(body: VerdictBody) -> Verdict {
        let json = OnceLock::new();
        Verdict { body, json }
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it cannot be written, which would be a mistake in davy.
    pub fn json(&self) -> Result<Arc<[u8]>, serde_json::Error> {
        if let Some(json) = self.json.get() {
            return Ok(json.clone());
        }
        let json = serde_json::to_vec(&self.body)?;
        Ok(self.json.get_or_init(|| json.into()).clone())
    }
}

impl<'de> Deserialize<'de> for Verdict {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Verdict, D::Error> {
        VerdictBody::deserialize(from).map(Verdict::new)
    }
}

impl std::ops::Deref for Verdict {
    type Target = VerdictBody;

    fn deref(&self) -> &VerdictBody {
        &self.body
    }
}

/// One step of a rollout.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StepView {
    /// Name given by the controller.
    pub name: String,
    /// Traffic weight of the canary, percent.
    pub weight: Option<f64>,
    /// When it began, unix milliseconds.
    pub began_at: i64,
}

/// What one metric received.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ReceivedView {
    /// Name of the metric.
    pub metric: String,
    /// Samples of the baseline.
    pub baseline: u64,
    /// Samples of the canary.
    pub canary: u64,
    /// Samples that came too late.
    pub late: u64,
    /// Samples of units that a crowded tick did not keep (`cluster.units_per_tick_max`).
    pub sampled_out: u64,
    /// Values the sender marked as missing.
    pub missing: u64,
    /// Event time of the newest sample, unix milliseconds.
    pub newest: Option<i64>,
    /// Samples that were refused, by reason.
    pub refused: Vec<RefusedView>,
    /// What is odd about it: a clock that runs ahead, samples that come later than the plan waits
    /// for them, queries that have matched no series, no series of bad events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The first series of each arm that sent any lately; none for samples addressed to an arm.
    pub from: Vec<SourceView>,
}

/// Samples of a metric that were refused for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RefusedView {
    /// Stable code, as in the answer to its sender.
    pub code: Cow<'static, str>,
    /// How many.
    pub samples: u64,
    /// Why the last one was, and what to do.
    pub message: String,
}

/// One series that a metric received.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SourceView {
    /// Whose it is.
    pub arm: Arm,
    /// Name and labels, shortened.
    pub series: Arc<str>,
    /// Event time of its newest sample, unix milliseconds.
    pub newest: i64,
    /// Seconds from that time to its arrival; negative where the sender's clock runs ahead.
    pub lag_secs: f64,
}
