//! The machine: the one place where analyses change, and the engine's thread.
//!
//! Owns what is done with an input: apply it, write what it caused, wake who waits, answer. Nothing
//! is answered before it is written. The machine is used by one thread at a time: its own, which
//! takes what is queued and lets time pass, or one that has read a request's samples. It must not
//! decide anything: what an input means is the engine's, what a notification says is the webhooks'.

use std::collections::{BTreeSet, HashMap};
use std::pin::pin;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::engine::pull::Pull;
use crate::engine::{self, Effect, EventKind, Ingested, Input, State};
use crate::http::link::{Answer, Desk, Knock, Perform};
use crate::judge::verdict::Status;
use crate::model::Timestamp;
use crate::plan::Plan;
use crate::store::watch::Watchers;
use crate::store::{Commit, Losses, Store, StoreError, Write};
use crate::telemetry::Metrics;
use crate::webhook::Endpoint;
use crate::webhook::endpoint::deliveries;

/// How often the engine is told that time passed.
pub const TICK_EVERY: Duration = Duration::from_millis(250);

/// The analyses, and everything that is needed to change them.
pub struct Machine {
    /// The analyses.
    pub state: State,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where everything is written.
    pub store: Arc<dyn Store>,
    /// Who waits for what.
    pub watchers: Arc<Watchers>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Who is notified.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// The bells of the endpoints' workers, by name.
    pub bells: Arc<HashMap<String, Arc<Notify>>>,
    /// Where the store's futures run.
    pub runtime: Handle,
    /// Who is told of analyses whose metrics are pulled, where there is a source.
    pub pulls: Option<tokio::sync::mpsc::Sender<Pull>>,
    /// Ids of analyses that are not final, for the metric.
    pub running: BTreeSet<String>,
    /// The store failed: what is in memory is more than what is written, so nothing is answered.
    pub is_broken: bool,
}

/// Something could not be written. The log says what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the store failed, and nothing may be answered that is not written; see the log for why, and start davy again once it is put right"
)]
pub struct StoreFailed;

/// The engine's thread.
pub struct Engine {
    desk: Desk,
    inputs: Receiver<Knock>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

// === impl Engine ===

impl Engine {
    /// Puts the machine on its desk. `inputs` is the end of the queue.
    pub fn new(machine: Machine, desk: Desk, inputs: Receiver<Knock>) -> Engine {
        let (clock, metrics) = (machine.clock.clone(), machine.metrics.clone());
        *desk.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(machine));
        Engine {
            desk,
            inputs,
            clock,
            metrics,
        }
    }

    /// Runs until every sender of inputs is gone.
    ///
    /// # Errors
    /// [`StoreFailed`], as soon as something could not be written.
    ///
    /// # Panics
    /// Where the machine has: nothing can be said of the analyses any more.
    pub fn run(self) -> Result<(), StoreFailed> {
        let mut last_tick = self.clock.now();
        loop {
            match self.inputs.recv_timeout(TICK_EVERY) {
                Ok(Knock { input, reply, room }) => {
                    let answer = self.perform(input);
                    let is_broken = matches!(answer, Answer::NotWritten);
                    drop(room);
                    if let Some(reply) = reply {
                        // Who asked may have gone; what was asked is done all the same.
                        let _ = reply.send(answer);
                    }
                    if is_broken {
                        return Err(StoreFailed);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            // Inputs that never pause must not keep time from passing. A clock that was set back
            // starts the quarter second anew.
            let now = self.clock.now();
            let since = now.since(last_tick);
            if !(0..TICK_EVERY.as_millis() as i64).contains(&since) {
                last_tick = now;
                self.metrics.engine_queue_depth.inc();
                if matches!(self.perform(Input::Tick), Answer::NotWritten) {
                    return Err(StoreFailed);
                }
            }
        }
        *self.desk.lock().expect("nobody panicked") = None;
        Ok(())
    }

    fn perform(&self, input: Input) -> Answer {
        let mut desk = self.desk.lock().expect("nobody panicked");
        // It waited until now: others do not come between.
        self.metrics.engine_queue_depth.dec();
        let machine = desk.as_mut().expect("it is taken away at the end only");
        machine.perform(input)
    }
}

// === impl Machine ===

impl Perform for Machine {
    #[expect(
        clippy::disallowed_methods,
        reason = "times an input for its metric; decides nothing"
    )]
    fn perform(&mut self, input: Input) -> Answer {
        if self.is_broken {
            return Answer::NotWritten;
        }
        let now = self.clock.now();
        let kind = kind_of(&input);
        let plan = match &input {
            Input::Start(start) => Some(start.plan.clone()),
            _ => None,
        };
        let begun = Instant::now();
        let effects = engine::apply(&mut self.state, input, now);
        let took = begun.elapsed().as_secs_f64();
        self.metrics
            .engine_input_duration
            .with_label_values(&[kind])
            .observe(took);
        self.write(effects, plan, now)
    }
}

impl Machine {
    /// Whoever calls this waits for the store, be it a thread of the runtime's: it must not go on
    /// to another input before this one is written.
    fn commit(&self, commit: Commit) -> Result<Losses, StoreError> {
        let mut writing = pin!(self.store.commit(commit));
        {
            // The engine's own thread is none of the runtime's.
            let _runtime = self.runtime.enter();
            if let Some(written) = writing.as_mut().now_or_never() {
                return written;
            }
        }
        match Handle::try_current() {
            Ok(runtime) => tokio::task::block_in_place(|| runtime.block_on(writing)),
            Err(_) => self.runtime.block_on(writing),
        }
    }

    /// Writes everything, then wakes and answers.
    fn write(&mut self, effects: Vec<Effect>, plan: Option<Arc<Plan>>, now: Timestamp) -> Answer {
        let mut answer = Answer::Done;
        let mut commit = Commit::default();
        let mut touched = BTreeSet::new();
        let mut forgotten = Vec::new();
        let mut wake = BTreeSet::new();
        for effect in effects {
            match effect {
                started @ Effect::Started { .. } => answer = answer_of_start(started),
                Effect::Refused(refusal) => answer = Answer::Refused(refusal),
                Effect::Ingested(ingested) => answer = Answer::Ingested(ingested),
                Effect::Changed(view) => {
                    touched.insert(view.id.clone());
                    match view.status {
                        Status::Final => self.running.remove(&view.id),
                        _ => self.running.insert(view.id.clone()),
                    };
                    commit.writes.push(Write::View(view));
                }
                Effect::Event(event) => {
                    self.count(&event);
                    touched.insert(event.analysis.clone());
                    for delivery in deliveries(&self.endpoints, &event) {
                        wake.insert(delivery.endpoint.clone());
                        commit.writes.push(Write::Deliver(delivery));
                    }
                    commit.writes.push(Write::Event(event));
                }
                Effect::Record { analysis, line } => {
                    commit.writes.push(Write::Record { analysis, line });
                }
                Effect::Pull(pull) => self.begin_to_pull(*pull),
                Effect::Pulled(progress) => {
                    let ingested = match answer {
                        Answer::Ingested(ingested) => ingested,
                        _ => Ingested::default(),
                    };
                    answer = Answer::Pulled { progress, ingested };
                }
                Effect::Looked { due } => self.count_look(due),
                Effect::Forgotten { analysis } => {
                    self.metrics.limit("retained_analyses");
                    self.running.remove(&analysis);
                    forgotten.push(analysis.clone());
                    commit.writes.push(Write::Forget(analysis));
                }
            }
        }
        if let (
            Some(plan),
            Answer::Started {
                existing: false, ..
            },
        ) = (plan, &answer)
        {
            commit.writes.push(Write::Plan(plan));
        }
        if commit.writes.is_empty() {
            return answer;
        }
        self.keep(commit, now);
        if self.is_broken {
            return Answer::NotWritten;
        }
        self.wake(&touched, &forgotten, &wake);
        answer
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "times the store for its metric; decides nothing"
    )]
    fn keep(&mut self, commit: Commit, now: Timestamp) {
        let begun = Instant::now();
        let written = self.commit(commit);
        let took = begun.elapsed().as_secs_f64();
        self.metrics.commit_duration.observe(took);
        self.metrics.analyses_running.set(self.running.len() as i64);
        match written {
            Ok(losses) => self.tell(losses),
            Err(error) => {
                tracing::error!(%error, at = now.millis(), "nothing was written, so davy stops");
                self.is_broken = true;
            }
        }
    }

    /// Waits for room: who pulls takes each at once, and waits for nobody meanwhile.
    fn begin_to_pull(&self, pull: Pull) {
        if let Some(pulls) = &self.pulls {
            // At the end nobody pulls any more.
            let _ = pulls.blocking_send(pull);
        }
    }

    /// Counts and logs what the store had no room for.
    fn tell(&self, losses: Losses) {
        for letter in losses.refused {
            self.metrics.limit("webhook_queue");
            tracing::error!(delivery = letter.id, letter.error, "given up");
        }
        for recording in losses.cut {
            self.metrics.limit(recording.limit);
            let (analysis, limit) = (recording.analysis, recording.limit);
            tracing::warn!(analysis, limit, "its recording is no longer whole");
        }
    }

    fn wake(&self, touched: &BTreeSet<String>, forgotten: &[String], endpoints: &BTreeSet<String>) {
        for analysis in touched {
            self.watchers.ring(analysis);
        }
        for analysis in forgotten {
            self.watchers.forget(analysis);
        }
        for name in endpoints {
            if let Some(bell) = self.bells.get(name) {
                bell.notify_one();
            }
        }
    }

    /// The clock is read again: one input can close ticks of many analyses, and the last of them
    /// has waited for all the others.
    fn count_look(&self, due: Timestamp) {
        let late = self.clock.now().since(due).max(0);
        self.metrics.looks.inc();
        self.metrics.looks_late.observe(late as f64 / 1000.0);
    }

    fn count(&self, event: &engine::Event) {
        let body = &event.body;
        let plan = self.metrics.plan_label(&body.plan);
        match event.kind {
            EventKind::Started => {
                let started = &self.metrics.analyses_started;
                started.with_label_values(&[plan]).inc();
                let service = body.change.service.as_deref();
                tracing::info!(
                    analysis = event.analysis,
                    plan = body.plan,
                    service,
                    "analysis started"
                );
            }
            EventKind::Look | EventKind::VerdictChanged | EventKind::WatchEnded => {}
            EventKind::WatchAlarm => {
                tracing::warn!(
                    analysis = event.analysis,
                    plan = body.plan,
                    "what had passed went beyond its bounds"
                );
            }
            EventKind::VerdictFinal => {
                let verdict = match body.verdict {
                    crate::model::Outcome::Pass => "pass",
                    crate::model::Outcome::Fail => "fail",
                    crate::model::Outcome::Inconclusive => "inconclusive",
                };
                let labels = [plan, verdict, body.reason.as_str()];
                self.metrics.verdicts.with_label_values(&labels).inc();
                tracing::info!(
                    analysis = event.analysis,
                    plan = body.plan,
                    verdict,
                    reason = body.reason.as_str(),
                    "analysis is final"
                );
            }
        }
    }
}

fn answer_of_start(effect: Effect) -> Answer {
    match effect {
        Effect::Started {
            analysis,
            existing,
            superseded,
        } => Answer::Started {
            analysis,
            existing,
            superseded,
        },
        _ => Answer::Done,
    }
}

fn kind_of(input: &Input) -> &'static str {
    match input {
        Input::Start(_) => "start",
        Input::Samples(_) | Input::Series(_) | Input::Pulled(_) => "samples",
        Input::Tick => "tick",
        Input::Step { .. } => "step",
        Input::Cancel { .. } => "cancel",
        Input::Asked { .. } => "asked",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::config::plan_file::parse_plan;
    use crate::engine::{Limits, Start};
    use crate::store::memory::{Bounds, MemoryStore};

    const PLAN: &str = "version: davy/v1
plan: late
horizon: 10s
tick: 1s
lateness: 1s
metrics: {latency: {kind: latency}}
checks: [{compare: latency, tolerance: 10%}]
";

    /// A clock that stands until it is moved.
    struct ManualClock {
        unix_millis: AtomicI64,
    }

    impl ManualClock {
        fn at(now: Timestamp) -> ManualClock {
            ManualClock {
                unix_millis: AtomicI64::new(now.millis()),
            }
        }

        fn advance(&self, millis: i64) {
            self.unix_millis.fetch_add(millis, Ordering::SeqCst);
        }
    }

    impl Clock for ManualClock {
        fn now(&self) -> Timestamp {
            Timestamp(self.unix_millis.load(Ordering::SeqCst))
        }
    }

    fn machine(clock: &Arc<ManualClock>, runtime: &tokio::runtime::Runtime) -> Machine {
        let bounds = Bounds {
            recording_bytes_max: 1 << 20,
            recordings_bytes_max: 1 << 20,
            outbox_max: 1,
        };
        Machine {
            state: State::new(Limits::default()),
            clock: clock.clone(),
            store: Arc::new(MemoryStore::new(bounds)),
            watchers: Arc::default(),
            metrics: Arc::new(Metrics::new("0").expect("names are unique")),
            endpoints: Vec::new(),
            bells: Arc::default(),
            runtime: runtime.handle().clone(),
            pulls: None,
            running: BTreeSet::new(),
            is_broken: false,
        }
    }

    #[test]
    fn an_engine_that_falls_behind_is_late_with_every_look_and_skips_none() {
        let clock = Arc::new(ManualClock::at(Timestamp(1_700_000_000_000)));
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let mut machine = machine(&clock, &runtime);
        let plan = parse_plan("late.yaml", PLAN)
            .unwrap_or_else(|p| panic!("{p}"))
            .plan;
        let start = Start {
            id: "one".to_owned(),
            plan: Arc::new(plan),
            arms: Default::default(),
            change: Default::default(),
            idempotency_key: None,
            request_digest: String::new(),
        };
        machine.perform(Input::Start(Box::new(start)));
        // The first tick ends after 1 s; lateness and the idle wait are 1 s each.
        clock.advance(3_000);
        machine.perform(Input::Tick);
        assert_eq!(machine.metrics.looks.get(), 1);
        assert_eq!(machine.metrics.looks_late.get_sample_sum(), 0.0);
        // Then nothing is done for four seconds, in which four more looks fall due.
        clock.advance(4_000);
        machine.perform(Input::Tick);
        assert_eq!(machine.metrics.looks.get(), 5);
        assert_eq!(machine.metrics.looks_late.get_sample_count(), 5);
        assert_eq!(machine.metrics.looks_late.get_sample_sum(), 3.0 + 2.0 + 1.0);
    }
}
