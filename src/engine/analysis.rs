//! The life of one analysis: pending, running, final.
//!
//! Owns when a verdict is final, what it asks of the controller, and the events on the way. The
//! judging itself is `judge`'s. Next: `steps`, `ingest`.

mod showing;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Limits;
use super::audit::{Cause, InputsDigest, Requester};
use super::change::require_change;
use super::checkpoint;
use super::dedupe::Dedupe;
use super::matching::ArmSelectors;
use super::messages::*;
use super::recording;
use super::refusals::Refusals;
use super::series::PulledSeries;
use super::sources::Sources;
use super::steps::{Entered, Step};
use super::watching::Watch;
use crate::judge::check::Detail;
use crate::judge::scratch::Scratch;
use crate::judge::verdict::{self, GateKind, Override, Status};
use crate::judge::{Judge, Judgement};
use crate::model::{Change, Decision, Millis, Outcome, Reason, Timestamp};
use crate::plan::Plan;
use crate::window::Window;

/// One run of a plan for one change.
#[derive(Debug, Serialize, Deserialize)]
pub struct Analysis {
    pub(super) id: String,
    /// Saved once for all analyses on it, and given back by [`Analysis::settle`].
    #[serde(skip, default = "Plan::to_come")]
    pub(super) plan: Arc<Plan>,
    plan_hash: String,
    arms: BTreeMap<String, String>,
    #[serde(with = "checkpoint::as_json")]
    change: Change,
    /// Follow from the plan and `arms`.
    #[serde(skip)]
    pub(super) selectors: Option<ArmSelectors>,
    started_at: Timestamp,
    pub(super) window: Window,
    pub(super) judge: Judge,
    pub(super) watch: Option<Watch>,
    judgement: Option<Judgement>,
    ended: Option<Ended>,
    steps: Vec<Step>,
    /// Whether the rollout has further steps, where a controller told.
    steps_follow: Option<bool>,
    sequence: u64,
    last_activity: Timestamp,
    pub(super) reported: (Outcome, Decision),
    /// What a person decided otherwise.
    pub(super) overridden: Option<Override>,
    /// Of the recording's lines so far.
    pub(super) inputs: InputsDigest,
    pub(super) dedupe: Dedupe,
    pub(super) counters: Vec<Counters>,
    pub(super) ambiguous: u64,
    unmatched: u64,
    pub(super) own_units: u64,
    pub(super) pulled: PulledSeries,
    /// A memo: what it holds is made again.
    #[serde(skip)]
    pub(super) shown: Option<showing::Shown>,
}

/// How and when the analysis became final.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Ended {
    at: Timestamp,
    outcome: Outcome,
    reason: Reason,
}

/// Arrivals of one metric.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Counters {
    pub samples: [u64; 2],
    pub late: u64,
    pub missing: u64,
    pub newest: Option<Timestamp>,
    pub sources: Sources,
    pub refusals: Refusals,
    /// A series of what is bad came, not only of what there is in all.
    pub has_bad: bool,
}

// === impl Analysis ===

impl Analysis {
    pub(super) fn begin(
        start: Start,
        now: Timestamp,
        limits: &Limits,
        detail: Detail,
    ) -> Result<Analysis, Refusal> {
        require_change(&start.plan, &start.change)?;
        let selectors = ArmSelectors::fill(&start.plan, &start.arms)?;
        let pulled = PulledSeries::begin(&start, selectors.as_ref(), limits.pulls)?;
        let plan = start.plan;
        let first_step = Step::begin(&plan, String::new(), None, now, now);
        Ok(Analysis {
            id: start.id,
            plan_hash: plan.hash(),
            arms: start.arms,
            change: start.change,
            selectors,
            started_at: now,
            window: Window::new(&plan, now, limits.tick_values_max),
            judge: Judge::new(plan.clone(), detail),
            watch: None,
            judgement: None,
            ended: None,
            steps: vec![first_step],
            steps_follow: None,
            sequence: 0,
            last_activity: now,
            reported: (Outcome::Inconclusive, Decision::Hold),
            overridden: None,
            inputs: InputsDigest::default(),
            dedupe: Dedupe::new(limits.dedupe_ids_max),
            counters: vec![Counters::default(); plan.metrics.len()],
            ambiguous: 0,
            unmatched: 0,
            own_units: 0,
            shown: None,
            pulled,
            plan,
        })
    }

    /// Gives an analysis that was saved its plan back, and what follows from it.
    ///
    /// # Errors
    /// What is not of that plan.
    pub(super) fn settle(&mut self, plan: Arc<Plan>) -> Result<(), &'static str> {
        let metrics = plan.metrics.len();
        let counted = [self.counters.len(), self.window.metrics()];
        if counted != [metrics; 2] || self.steps.is_empty() {
            return Err("an analysis has other metrics than its plan");
        }
        if self.takes_samples() {
            let filled = ArmSelectors::fill(&plan, &self.arms);
            self.selectors = filled.map_err(|_| "the arms of an analysis are not its plan's")?;
        }
        self.judge.settle(plan.clone())?;
        self.plan = plan;
        Ok(())
    }

    /// Variables of the plan's arm selectors.
    pub(super) fn arms(&self) -> &BTreeMap<String, String> {
        &self.arms
    }

    /// What is being deployed.
    pub fn change(&self) -> &Change {
        &self.change
    }

    /// When it began: what came before does not count.
    pub(super) fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// Whether the verdict does not change any more.
    pub fn is_final(&self) -> bool {
        self.ended.is_some()
    }

    /// Clock time at which every tick that holds a sample is closed; `None` without a sample.
    pub(super) fn all_closed_at(&self) -> Option<Timestamp> {
        self.window.all_closed_at()
    }

    /// The plan it runs on.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Steps so far; the first is the unnamed run before any marked step.
    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    pub(super) fn touch(&mut self, now: Timestamp) {
        self.last_activity = self.last_activity.max(now);
    }

    /// Samples came that no running analysis asks for: of interest to one that waits for its first,
    /// as is told.
    pub(super) fn see_unmatched(&mut self, samples: u64) -> bool {
        let got_any = |counters: &Counters| counters.samples != [0, 0];
        let waits = self.selectors.is_some() && !self.counters.iter().any(got_any);
        if waits {
            self.unmatched = self.unmatched.saturating_add(samples);
        }
        waits
    }

    pub(super) fn idle_for(&self, now: Timestamp) -> Millis {
        now.since(self.last_activity)
    }

    /// davy was away: what waited for the clock waits anew.
    pub(super) fn resume(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.touch(now);
        self.window.resume(now);
        self.record(recording::resumed(now), effects);
        effects.push(Effect::Changed(Box::new(self.view())));
    }

    /// First event and first line of the recording.
    pub(super) fn announce(
        &mut self,
        by: Option<Requester>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let header = recording::header(
            &self.id,
            &self.plan,
            &self.plan_hash,
            &self.arms,
            &self.change,
            self.started_at,
            self.window.tick_values_max(),
        );
        self.record(header, effects);
        self.emit(
            EventKind::Started,
            &Cause::asked(by, None, None),
            now,
            effects,
        );
        effects.push(Effect::Changed(Box::new(self.view())));
    }

    /// Whether a step begins: a controller that tells what follows asks for the current one again and
    /// again. One that comes back to an earlier one began its rollout anew.
    pub(super) fn enters(&self, entered: &Entered) -> bool {
        let current = self.steps.last();
        entered.steps_follow.is_none() || current.is_none_or(|step| step.name != entered.name)
    }

    pub(super) fn enter_step(
        &mut self,
        entered: Entered,
        by: Option<Requester>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        self.note_step(&entered, by, now, effects);
        let Entered { name, weight, .. } = entered;
        self.steps
            .push(Step::begin(&self.plan, name, weight, self.started_at, now));
        effects.push(Effect::Changed(Box::new(self.view())));
    }

    /// Takes what the current step says of those that follow, where that is new.
    pub(super) fn mark(
        &mut self,
        entered: Entered,
        by: Option<Requester>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        if entered.steps_follow == self.steps_follow {
            return;
        }
        self.note_step(&entered, by, now, effects);
        effects.push(Effect::Changed(Box::new(self.view())));
    }

    fn note_step(
        &mut self,
        entered: &Entered,
        by: Option<Requester>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        self.touch(now);
        self.record(recording::step(now, entered), effects);
        self.audit_step(&entered.name, entered.weight, by, now, effects);
        self.steps_follow = entered.steps_follow.or(self.steps_follow);
    }

    /// Ends the analysis without an answer: never a rollback.
    pub(super) fn end(
        &mut self,
        reason: Reason,
        cause: Cause,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let line = recording::end(now, reason, cause.given(), cause.reason());
        self.record(line, effects);
        if self.is_final() {
            return self.end_watch(&cause, now, effects);
        }
        // Such an end never asks for anything: what somebody decided of the rollout before is past.
        self.overridden = None;
        self.ended = Some(Ended {
            at: now,
            outcome: Outcome::Inconclusive,
            reason,
        });
        self.report(&cause, now, effects);
    }

    /// The clock moved: closes ticks that are due, and records that it did.
    pub(super) fn on_clock(
        &mut self,
        now: Timestamp,
        scratch: &mut Scratch,
        effects: &mut Vec<Effect>,
    ) {
        if self.window.is_due(now) {
            self.record(recording::clock(now), effects);
            self.close_due(now, scratch, effects);
        }
    }

    /// Closes every tick that is due and looks after each.
    pub(super) fn close_due(
        &mut self,
        now: Timestamp,
        scratch: &mut Scratch,
        effects: &mut Vec<Effect>,
    ) {
        let own = Cause::own(None);
        while self.takes_samples() && self.window.is_due(now) {
            let due = self.window.due();
            let tick = self.window.close();
            if self.is_final() {
                self.watch_tick(&tick, now, effects);
                continue;
            }
            let judgement = self.judge.close_and_look(&tick, scratch);
            for step in self.steps.iter_mut() {
                step.close(&tick);
            }
            let looks = self.window.closed();
            let ending = ending(&self.plan, &judgement, looks, self.may_pass());
            self.ended = ending.map(|(outcome, reason)| Ended {
                at: now,
                outcome,
                reason,
            });
            self.judgement = Some(judgement);
            effects.push(Effect::Looked { due });
            if self
                .ended
                .is_some_and(|ended| ended.outcome == Outcome::Pass)
            {
                self.begin_watch();
            }
            if !self.is_final() {
                self.emit(EventKind::Look, &own, now, effects);
            }
            self.report(&own, now, effects);
        }
    }

    /// Emits what changed since the last report.
    fn report(&mut self, cause: &Cause, now: Timestamp, effects: &mut Vec<Effect>) {
        let (outcome, _) = self.outcome();
        let current = (outcome, self.decision());
        if current != self.reported {
            self.reported = current;
            self.emit(EventKind::VerdictChanged, cause, now, effects);
        }
        if self.is_final() {
            self.emit(EventKind::VerdictFinal, cause, now, effects);
        }
        effects.push(Effect::Changed(Box::new(self.view())));
        self.rest();
    }

    /// Tells watchers and webhooks, and who looks it up later.
    pub(super) fn emit(
        &mut self,
        kind: EventKind,
        cause: &Cause,
        at: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        self.sequence += 1;
        let event = Event {
            analysis: self.id.clone(),
            sequence: self.sequence,
            at,
            kind,
            body: Arc::new(self.body(GateKind::Final)),
        };
        let audited = self.audited(&event, cause);
        effects.push(Effect::Event(event));
        effects.extend(audited);
    }

    /// Appends a line to the recording.
    pub(super) fn record(&mut self, line: String, effects: &mut Vec<Effect>) {
        self.inputs.add(&line);
        effects.push(Effect::Record {
            analysis: self.id.clone(),
            line,
        });
    }

    pub(super) fn outcome(&self) -> (Outcome, Reason) {
        match (&self.ended, &self.judgement) {
            (Some(ended), _) => (ended.outcome, ended.reason),
            (None, Some(judgement)) => (judgement.outcome, judgement.reason),
            (None, None) if self.has_samples() => (Outcome::Inconclusive, Reason::NeedsTime),
            (None, None) => (Outcome::Inconclusive, Reason::NoTelemetry),
        }
    }

    pub(super) fn decision(&self) -> Decision {
        if let Some(overridden) = &self.overridden {
            return overridden.decision.into();
        }
        let (outcome, reason) = self.outcome();
        verdict::decision(&self.plan, outcome, self.is_final(), reason)
    }

    /// Whether a pass may end the analysis before the horizon: not while steps follow that would then
    /// be judged by what came before them, nor on the last one before it has seen enough of its own.
    fn may_pass(&self) -> bool {
        let last = self.steps.last();
        match self.steps_follow {
            None => true,
            Some(true) => false,
            Some(false) => last.is_some_and(|step| step.waiting_for(&self.plan).is_none()),
        }
    }

    fn has_samples(&self) -> bool {
        self.counters
            .iter()
            .any(|counters| counters.samples != [0, 0] || counters.missing > 0)
    }

    fn status(&self) -> Status {
        match () {
            () if self.is_final() => Status::Final,
            () if self.has_samples() => Status::Running,
            () => Status::Pending,
        }
    }
}

// === functions ===

/// How an analysis ends at this look, if it does: at the horizon with a pass, without one at the
/// end of its extension.
fn ending(
    plan: &Plan,
    judgement: &Judgement,
    looks: usize,
    may_pass: bool,
) -> Option<(Outcome, Reason)> {
    let reason = judgement.reason;
    match judgement.outcome {
        Outcome::Fail => Some((Outcome::Fail, reason)),
        Outcome::Pass if plan.stop_on_pass && may_pass || looks >= plan.looks() => {
            Some((Outcome::Pass, reason))
        }
        Outcome::Inconclusive if looks >= plan.looks_with_extension() => {
            let reason = match reason {
                Reason::NeedsSamples | Reason::NeedsTime => Reason::HorizonReached,
                other => other,
            };
            Some((Outcome::Inconclusive, reason))
        }
        _ => None,
    }
}
