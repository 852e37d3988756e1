//! The door to the engine, which has a thread of its own.
//!
//! Owns the bounded queue of inputs and how an answer comes back. It must not wait for room: a
//! full queue is an answer. A request's samples are taken on the thread that read them where the
//! engine has nothing else to do: to hand them over and back takes as long as to take them. The
//! other end is in `app::machine`.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;

use super::budget::Reserved;
use crate::engine::pull::PullProgress;
use crate::engine::{Ingested, Input, Refusal};
use crate::log::Ticket;
use crate::model::{Reading, Sample};
use crate::telemetry::Metrics;

/// Inputs that may wait for the engine. One holds at most one request's samples.
pub const QUEUE_MAX: usize = 256;

/// Values, points and cells of histograms up to which an input is taken on the thread that read it: about a millisecond.
pub const INLINE_POINTS_MAX: usize = 4_096;

/// Who applies inputs.
pub trait Perform: Send {
    /// Begins, once everybody who is told of something is there.
    fn begin(&mut self);
    /// Ends: nothing comes any more.
    fn end(&mut self);
    /// Applies an input, writes everything it caused, and says what came of it.
    fn perform(&mut self, input: Input) -> Performed;
}

/// What came of an input, and when it may be told.
#[derive(Debug)]
pub struct Performed {
    /// What came of it.
    pub answer: Answer,
    /// It may be told once this is safe.
    pub ticket: Option<Ticket>,
}

impl Performed {
    /// An answer that may be told at once.
    pub fn at_once(answer: Answer) -> Performed {
        Performed {
            answer,
            ticket: None,
        }
    }
}

/// Where the engine is while nobody uses it; empty once it has stopped.
pub type Desk = Arc<Mutex<Option<Box<dyn Perform>>>>;

/// An input and who waits for its answer.
#[derive(Debug)]
pub struct Knock {
    /// What happened.
    pub input: Input,
    /// Who wants to know what came of it.
    pub reply: Option<oneshot::Sender<Performed>>,
    /// The memory the input takes, given back with it: who asked may be gone long before.
    pub room: Option<Reserved>,
}

/// What came of an input, once everything it caused is stored.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Done, with nothing more to say.
    Done,
    /// An analysis runs.
    Started {
        /// Its id.
        analysis: String,
        /// It did before.
        existing: bool,
        /// Analyses that it ended.
        superseded: Vec<String>,
    },
    /// Samples were taken.
    Ingested(Ingested),
    /// What was pulled was taken.
    Pulled {
        /// How far the analysis is.
        progress: PullProgress,
        /// What became of the points.
        ingested: Ingested,
    },
    /// The input was refused.
    Refused(Refusal),
    /// The disk does not take what it is given: nothing was taken.
    NotTaken,
    /// The store failed: what the input caused is not written, and the daemon stops.
    NotWritten,
}

/// Why an input did not reach the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The queue is full.
    #[error("the queue of inputs is full")]
    Full,
    /// What must last cannot be written.
    #[error("what must last cannot be written")]
    NotWritable,
    /// It was taken, and nobody can tell whether it is on the disk.
    #[error("the disk failed")]
    Unknown,
    /// The engine stopped.
    #[error("the engine takes no more inputs")]
    Stopped,
}

/// The sending end; cheap to clone.
#[derive(Clone)]
pub struct EngineLink {
    sender: SyncSender<Knock>,
    desk: Desk,
    metrics: Arc<Metrics>,
}

// === impl EngineLink ===

impl EngineLink {
    /// Both ends. The engine is put on the desk by who reads the queue.
    pub fn new(metrics: Arc<Metrics>) -> (EngineLink, Receiver<Knock>) {
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        let link = EngineLink {
            sender,
            desk: Desk::default(),
            metrics,
        };
        (link, receiver)
    }

    /// Where the engine is while nobody uses it.
    pub fn desk(&self) -> Desk {
        self.desk.clone()
    }

    /// Hands an input over with the room it takes, and waits for its answer.
    ///
    /// # Errors
    /// [`LinkError`]; after `Stopped` the input may or may not have been applied.
    pub async fn ask(&self, input: Input, room: Option<Reserved>) -> Result<Answer, LinkError> {
        if self.metrics.is_stuck() {
            return Err(LinkError::NotWritable);
        }
        let performed = if let Some(mut desk) = self.idle_engine(&input)
            && let Some(engine) = desk.as_mut()
        {
            engine.perform(input)
        } else {
            let (reply, answer) = oneshot::channel();
            self.push(Knock {
                input,
                reply: Some(reply),
                room,
            })?;
            answer.await.map_err(|_| LinkError::Stopped)?
        };
        if let Some(ticket) = performed.ticket {
            ticket.safe().await.map_err(|_| LinkError::Unknown)?;
        }
        match performed.answer {
            Answer::NotTaken => Err(LinkError::NotWritable),
            Answer::NotWritten => Err(LinkError::Unknown),
            answer => Ok(answer),
        }
    }

    /// The engine, for a few samples, unless it is at work or others wait for it.
    fn idle_engine(&self, input: &Input) -> Option<MutexGuard<'_, Option<Box<dyn Perform>>>> {
        let points = match input {
            Input::Samples(samples) => samples.iter().map(values_of).sum(),
            Input::Series(batch) => batch.point_count() + batch.cell_count(),
            _ => return None,
        };
        if points > INLINE_POINTS_MAX || self.metrics.engine_queue_depth.get() > 0 {
            return None;
        }
        // One that panicked has stopped; its queue says so.
        self.desk.try_lock().ok()
    }

    /// Hands an input over whose answer nobody needs. One that finds no room is dropped.
    pub fn tell(&self, input: Input) {
        // Only notes of interest come this way; the next one replaces a lost one.
        let _ = self.push(Knock {
            input,
            reply: None,
            room: None,
        });
    }

    fn push(&self, knock: Knock) -> Result<(), LinkError> {
        // Counted before it is there, or the engine could take it before it is counted.
        self.metrics.engine_queue_depth.inc();
        let pushed = self.sender.try_send(knock);
        pushed.map_err(|error| {
            self.metrics.engine_queue_depth.dec();
            match error {
                TrySendError::Full(_) => {
                    self.metrics.limit("engine_queue");
                    LinkError::Full
                }
                TrySendError::Disconnected(_) => LinkError::Stopped,
            }
        })
    }
}

/// Values of a sample; one at the least.
fn values_of(sample: &Sample) -> usize {
    match &sample.reading {
        Reading::Values { values, .. } => values.len().max(1),
        Reading::Buckets { counts, .. } | Reading::UpTo { counts, .. } => counts.len().max(1),
        Reading::Ratio { .. } | Reading::Rate { .. } => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_and_a_stopped_engine_are_told_apart() {
        let metrics = Arc::new(Metrics::new("0").expect("names are unique"));
        let (link, receiver) = EngineLink::new(metrics.clone());
        for _ in 0..QUEUE_MAX {
            link.tell(Input::Tick);
        }
        assert_eq!(metrics.engine_queue_depth.get(), QUEUE_MAX as i64);
        assert_eq!(
            link.ask(Input::Tick, None).await.err(),
            Some(LinkError::Full)
        );
        assert_eq!(
            metrics
                .limit_reached
                .with_label_values(&["engine_queue"])
                .get(),
            1
        );
        drop(receiver);
        assert_eq!(
            link.ask(Input::Tick, None).await.err(),
            Some(LinkError::Stopped)
        );
    }
}
