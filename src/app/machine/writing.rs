//! What an input caused: written, counted, told to those who wait.
//!
//! Owns the order: nothing is told before it is written, and nothing that lasts is written before
//! what it followed from is safe. It must not decide anything. Next: [`crate::store`].

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use tokio::runtime::Handle;

use super::{Caused, Machine, STORE_RETRY_AFTER, auditing};
use crate::engine::{Effect, Event, EventKind, Ingested};
use crate::http::link::Answer;
use crate::judge::verdict::Status;
use crate::log::local::LocalLog;
use crate::model::Timestamp;
use crate::plan::Plan;
use crate::store::{Commit, Losses, StoreError, Write};
use crate::telemetry::counting::Tally;
use crate::telemetry::losses;
use crate::webhook::endpoint::deliveries;

/// What the effects of one input come to.
struct Gathered {
    answer: Answer,
    commit: Commit,
    /// Analyses whose readers wait.
    touched: BTreeSet<String>,
    forgotten: Vec<String>,
    /// Endpoints that have something to send.
    wake: BTreeSet<String>,
    /// What is counted once it is written; nothing that was written before.
    tally: Tally,
}

// === impl Machine ===

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
    pub(super) fn write(
        &mut self,
        effects: Vec<Effect>,
        plan: Option<Arc<Plan>>,
        caused: Caused,
        now: Timestamp,
    ) -> Answer {
        let mut gathered = Gathered {
            answer: Answer::Done,
            commit: Commit {
                writes: Vec::new(),
                position: caused.position,
                after: caused.after,
            },
            touched: BTreeSet::new(),
            forgotten: Vec::new(),
            wake: BTreeSet::new(),
            tally: Tally::default(),
        };
        for effect in effects {
            self.gather(effect, caused.is_new, &mut gathered);
        }
        let Gathered {
            answer,
            mut commit,
            touched,
            forgotten,
            wake,
            tally,
        } = gathered;
        let begins = matches!(
            answer,
            Answer::Started {
                existing: false,
                ..
            }
        );
        commit
            .writes
            .extend(plan.filter(|_| begins).map(Write::Plan));
        if commit.writes.is_empty() {
            return answer;
        }
        if !caused.is_new {
            let losses = self.store.recall(commit);
            losses::tell(losses, &self.metrics);
            return answer;
        }
        self.keep(commit, &tally, now);
        if self.is_broken {
            return Answer::NotWritten;
        }
        self.wake(&touched, &forgotten, &wake);
        answer
    }

    fn gather(&mut self, effect: Effect, is_new: bool, to: &mut Gathered) {
        match effect {
            started @ Effect::Started { .. } => to.answer = answer_of_start(started),
            Effect::Refused(refusal) => to.answer = Answer::Refused(refusal),
            Effect::Ingested(ingested) => to.answer = Answer::Ingested(ingested),
            Effect::Changed(view) => {
                to.touched.insert(view.id.clone());
                match view.status {
                    Status::Final => self.running.remove(&view.id),
                    _ => self.running.insert(view.id.clone()),
                };
                to.commit.writes.push(Write::View(view));
            }
            Effect::Event(event) => {
                if is_new {
                    to.tally.add_event(&event);
                }
                to.touched.insert(event.analysis.clone());
                for delivery in deliveries(&self.endpoints, &event) {
                    to.tally.add_delivery(&delivery, &event);
                    to.wake.insert(delivery.endpoint.clone());
                    to.commit.writes.push(Write::Deliver(delivery));
                }
                to.commit.writes.push(Write::Event(event));
            }
            Effect::Audit(audited) if is_new => {
                let entry = auditing::entry_of(&audited);
                to.tally.add_row(entry.analysis.as_deref(), &entry.kind);
                to.commit.writes.push(Write::Audit(Box::new(entry)));
            }
            // The row is there since.
            Effect::Audit(_) => {}
            Effect::Record { analysis, line } => {
                to.commit.writes.push(Write::Record { analysis, line });
            }
            Effect::Pull(pull) => self.begin_to_pull(*pull),
            Effect::Pulled(progress) => {
                let ingested = match std::mem::replace(&mut to.answer, Answer::Done) {
                    Answer::Ingested(ingested) => ingested,
                    _ => Ingested::default(),
                };
                to.answer = Answer::Pulled { progress, ingested };
            }
            Effect::Looked { due } => {
                if is_new {
                    self.count_look(due);
                }
            }
            Effect::Measured { body, measured } => {
                if is_new {
                    to.tally.add_measured(body, measured);
                }
            }
            Effect::Forgotten { analysis } => {
                self.metrics.limit("retained_analyses");
                self.running.remove(&analysis);
                to.forgotten.push(analysis.clone());
                to.commit.writes.push(Write::Forget(analysis));
            }
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "times the store for its metric; decides nothing"
    )]
    fn keep(&mut self, commit: Commit, tally: &Tally, now: Timestamp) {
        let begun = Instant::now();
        let losses = self.insist(commit, now);
        let took = begun.elapsed().as_secs_f64();
        self.metrics.commit_duration.observe(took);
        self.metrics.analyses_running.set(self.running.len() as i64);
        if !self.is_broken {
            tally.events().iter().for_each(log);
            self.metrics.count(tally, &losses.refused);
        }
        losses::tell(losses, &self.metrics);
    }

    /// Tries until it works: a disk that is full may be emptied. Meanwhile nothing else is taken, and
    /// what was written before is answered.
    fn insist(&mut self, commit: Commit, now: Timestamp) -> Losses {
        let stuck = self.metrics.store_stuck.clone();
        loop {
            match self.commit(commit.clone()) {
                Ok(losses) => {
                    if stuck.get() > 0 {
                        tracing::info!("the store can be written again");
                        stuck.set(0);
                    }
                    return losses;
                }
                Err(error) if stuck.get() == 0 => {
                    tracing::error!(%error, at = now.millis(), "the store cannot be written; nothing is taken until it can");
                    stuck.set(1);
                }
                Err(_) => {}
            }
            if self.log.as_ref().is_some_and(LocalLog::has_failed) {
                self.is_broken = true;
                return Losses::default();
            }
            std::thread::sleep(STORE_RETRY_AFTER);
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
}

/// Says in the log what happened.
fn log(event: &Event) {
    let body = &event.body;
    let (analysis, plan) = (&event.analysis, &body.plan);
    match event.kind {
        EventKind::Started => {
            let service = body.change.service.as_deref();
            tracing::info!(analysis, plan, service, "analysis started");
        }
        EventKind::Look | EventKind::VerdictChanged | EventKind::WatchEnded => {}
        EventKind::Overridden => {
            let overridden = body.overridden.as_ref();
            let reason = overridden.map(|overridden| &*overridden.reason);
            tracing::warn!(
                analysis,
                plan,
                reason,
                "somebody decided otherwise than the verdict"
            );
        }
        EventKind::WatchAlarm => {
            tracing::warn!(analysis, plan, "what had passed went beyond its bounds");
        }
        EventKind::VerdictFinal => {
            let (verdict, reason) = (body.verdict.as_str(), body.reason.as_str());
            tracing::info!(analysis, plan, verdict, reason, "analysis is final");
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
