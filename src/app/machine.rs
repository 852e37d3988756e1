//! The machine: the one place where analyses change, and the engine's thread.
//!
//! Owns what is done with an input: apply it, write what it caused, wake who waits, answer. Nothing
//! is answered before it is written. The machine is used by one thread at a time: its own, which
//! takes what is queued and lets time pass, or one that has read a request's samples. It must not
//! decide anything: what an input means is the engine's, what a notification says is the webhooks'.

pub(super) mod auditing;
mod checkpointing;
mod writing;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::engine::journal::Logged;
use crate::engine::pull::Pull;
use crate::engine::{self, Input, State};
use crate::http::link::{Answer, Desk, Knock, Perform, Performed};
use crate::log::Ticket;
use crate::log::local::LocalLog;
use crate::plan::Plan;
use crate::store::Store;
use crate::store::watch::Watchers;
use crate::telemetry::Metrics;
use crate::webhook::Endpoint;

/// How often the engine is told that time passed.
pub const TICK_EVERY: Duration = Duration::from_millis(250);

/// Wait before what could not be written is tried again.
const STORE_RETRY_AFTER: Duration = Duration::from_millis(500);

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
    /// Where inputs are written before they are answered; `None` where nothing lasts.
    pub log: Option<LocalLog>,
    /// Whether a checkpoint is being written.
    pub checkpoint_under_way: Arc<AtomicBool>,
    /// Inputs of an earlier process are taken again: nobody is asked for anything yet.
    pub is_restoring: bool,
    /// The sample log failed: what is in memory is more than what is on the disk, and nobody can
    /// tell by how much, so nothing is answered.
    pub is_broken: bool,
}

/// The disk may have lost what it was given. The log says what it said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the disk failed, and nothing may be answered that is not on it; see the log for why, and start davy again once it is put right"
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
        self.begin();
        loop {
            match self.inputs.recv_timeout(TICK_EVERY) {
                Ok(Knock { input, reply, room }) => {
                    let performed = self.perform(input);
                    let is_broken = matches!(performed.answer, Answer::NotWritten);
                    drop(room);
                    if let Some(reply) = reply {
                        // Who asked may have gone; what was asked is done all the same.
                        let _ = reply.send(performed);
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
                if matches!(self.perform(Input::Tick).answer, Answer::NotWritten) {
                    return Err(StoreFailed);
                }
            }
        }
        if let Some(mut machine) = self.desk.lock().expect("nobody panicked").take() {
            machine.end();
        }
        Ok(())
    }

    fn begin(&self) {
        let mut desk = self.desk.lock().expect("nobody panicked");
        desk.as_mut().expect("it is there until the end").begin();
    }

    fn perform(&self, input: Input) -> Performed {
        let mut desk = self.desk.lock().expect("nobody panicked");
        // It waited until now: others do not come between.
        self.metrics.engine_queue_depth.dec();
        let machine = desk.as_mut().expect("it is taken away at the end only");
        machine.perform(input)
    }
}

// === impl Machine ===

impl Perform for Machine {
    fn begin(&mut self) {
        self.pull_again();
    }

    fn end(&mut self) {
        self.checkpoint_at_end();
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "times an input for its metric; decides nothing"
    )]
    fn perform(&mut self, input: Input) -> Performed {
        self.is_broken |= self.log.as_ref().is_some_and(LocalLog::has_failed);
        if self.is_broken {
            return Performed::at_once(Answer::NotWritten);
        }
        if takes_room(&input) && self.log.as_ref().is_some_and(|log| !log.has_room()) {
            self.metrics.limit("sample_log");
            return Performed::at_once(Answer::NotTaken);
        }
        let now = self.clock.now();
        let kind = kind_of(&input);
        let plan = plan_of(&input);
        let begun = Instant::now();
        let effects = engine::apply(&mut self.state, input, now);
        let took = begun.elapsed().as_secs_f64();
        self.metrics
            .engine_input_duration
            .with_label_values(&[kind])
            .observe(took);
        let ticket = self.log_input();
        let caused = Caused {
            position: ticket.as_ref().map_or(0, Ticket::number),
            after: ticket.clone(),
            is_new: true,
        };
        let answer = self.write(effects, plan, caused, now);
        self.turn_segment();
        let is_waited_for = self.log.as_ref().is_some_and(LocalLog::is_waited_for);
        Performed {
            answer,
            ticket: ticket.filter(|_| is_waited_for),
        }
    }
}

/// Where the effects come from.
struct Caused {
    /// Number of the input in the sample log; 0 where there is none.
    position: u64,
    /// What must be safe before they may be.
    after: Option<Ticket>,
    /// Whether they are not written yet.
    is_new: bool,
}

/// Whether an input is turned away where the disk does not take it.
fn takes_room(input: &Input) -> bool {
    match input {
        Input::Start(_) | Input::Samples(_) | Input::Series(_) | Input::Pulled(_) => true,
        // Few and short, and they must not be lost.
        Input::Step { .. } | Input::Cancel { .. } | Input::Override { .. } => false,
        Input::Asked { .. } => false,
        Input::Tick | Input::Resumed => false,
    }
}

impl Machine {
    /// One that has nothing to do yet, and notifies nobody.
    pub fn idle(
        clock: &Arc<dyn Clock>,
        store: &Arc<dyn Store>,
        watchers: &Arc<Watchers>,
        metrics: &Arc<Metrics>,
    ) -> Machine {
        Machine {
            state: State::new(engine::Limits::default()),
            clock: clock.clone(),
            store: store.clone(),
            watchers: watchers.clone(),
            metrics: metrics.clone(),
            endpoints: Vec::new(),
            bells: Arc::default(),
            runtime: Handle::current(),
            pulls: None,
            running: BTreeSet::new(),
            log: None,
            checkpoint_under_way: Arc::default(),
            is_restoring: false,
            is_broken: false,
        }
    }

    /// Appends the last input to the sample log, where it changed something.
    fn log_input(&mut self) -> Option<Ticket> {
        let frame = self.state.frame();
        let log = self.log.as_mut().filter(|_| !frame.is_empty())?;
        Some(log.append(frame))
    }

    /// Takes an input again that an earlier process took. Up to `written` its consequences are in
    /// the store.
    pub(super) fn take_again(&mut self, logged: Logged, position: u64, written: u64) {
        let now = logged.at;
        let plan = plan_of(&logged.input);
        let effects = engine::apply_logged(&mut self.state, logged);
        let caused = Caused {
            position,
            after: None,
            is_new: position > written,
        };
        self.write(effects, plan, caused, now);
    }

    /// Waits for room: who pulls takes each at once, and waits for nobody meanwhile.
    fn begin_to_pull(&self, pull: Pull) {
        if let Some(pulls) = self.pulls.as_ref().filter(|_| !self.is_restoring) {
            // At the end nobody pulls any more.
            let _ = pulls.blocking_send(pull);
        }
    }

    /// Has asked what an earlier process asked, as far as it still means something.
    fn pull_again(&self) {
        if self.pulls.is_some() {
            for pull in self.state.pulls() {
                self.begin_to_pull(pull);
            }
        }
    }
}

fn plan_of(input: &Input) -> Option<Arc<Plan>> {
    match input {
        Input::Start(start) => Some(start.plan.clone()),
        _ => None,
    }
}

fn kind_of(input: &Input) -> &'static str {
    match input {
        Input::Start(_) => "start",
        Input::Samples(_) | Input::Series(_) | Input::Pulled(_) => "samples",
        Input::Tick => "tick",
        Input::Step { .. } => "step",
        Input::Cancel { .. } => "cancel",
        Input::Override { .. } => "override",
        Input::Asked { .. } => "asked",
        Input::Resumed => "resumed",
    }
}

#[cfg(test)]
mod tests;
