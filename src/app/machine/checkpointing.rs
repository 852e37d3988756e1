//! Checkpoints: so that a crash costs no more than what came since the last one.
//!
//! Owns when one is made. The state becomes bytes at once, between two inputs; they are written on a
//! thread of their own, and only once they are on the disk the log before them goes.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Machine;
use crate::engine::checkpoint;
use crate::log::Ticket;
use crate::log::local::{Checkpoint, keep_from};
use crate::store::{Shelving, Store};
use crate::telemetry::Metrics;

/// A checkpoint that is to be written.
struct Job {
    folder: PathBuf,
    checkpoint: Checkpoint,
    shelving: Shelving,
    /// What it stands for must be on the disk before it: the log would have a gap else.
    ticket: Ticket,
    runtime: tokio::runtime::Handle,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    /// Cleared when it is done.
    is_under_way: Arc<AtomicBool>,
}

// === impl Machine ===

impl Machine {
    /// Begins a segment of the sample log once one is full, and makes a checkpoint there.
    pub(super) fn turn_segment(&mut self) {
        let Some(log) = self.log.as_mut().filter(|log| log.is_full()) else {
            return;
        };
        self.state.begin_chapter();
        log.turn();
        // One that takes longer than a segment is followed by one that stands for both.
        let Some(job) = self.checkpoint() else {
            return;
        };
        let thread = std::thread::Builder::new().name("davy-checkpoint".into());
        if let Err(error) = thread.spawn(move || job.run()) {
            tracing::error!(%error, "cannot start a thread for a checkpoint");
        }
    }

    /// The last one: the next start has nothing to take again.
    pub(super) fn checkpoint_at_end(&mut self) {
        if let Some(job) = self.checkpoint() {
            job.run();
        }
    }

    fn checkpoint(&mut self) -> Option<Job> {
        let shelving = self.store.shelve()?;
        let log = self.log.as_mut()?;
        // What is not in the store must not count as done.
        if self.is_broken || log.has_failed() {
            return None;
        }
        if self.checkpoint_under_way.swap(true, Ordering::SeqCst) {
            return None;
        }
        let state = checkpoint::save(&self.state);
        log.checkpoint_bytes(state.len() as u64);
        Some(Job {
            folder: log.folder().to_owned(),
            checkpoint: Checkpoint {
                number: log.last(),
                head: log.head().to_vec(),
                recordings: shelving.told().to_vec(),
                state,
            },
            shelving,
            ticket: log.ticket(),
            runtime: self.runtime.clone(),
            store: self.store.clone(),
            metrics: self.metrics.clone(),
            is_under_way: self.checkpoint_under_way.clone(),
        })
    }
}

// === impl Job ===

impl Job {
    #[expect(
        clippy::disallowed_methods,
        reason = "times the disk for its metric; decides nothing"
    )]
    fn run(self) {
        let begun = std::time::Instant::now();
        let safe = self.runtime.block_on(self.ticket.clone().safe());
        let safe = safe.map_err(std::io::Error::other);
        let written = safe.and_then(|()| self.shelving.write());
        let written = written.and_then(|()| self.checkpoint.write(&self.folder));
        let log = &self.metrics.log;
        match written {
            Ok(bytes) => {
                self.store.shelved(&self.shelving);
                if let Err(error) = keep_from(&self.folder, self.checkpoint.number + 1) {
                    tracing::warn!(%error, "cannot delete a segment of the sample log that nobody needs");
                }
                log.checkpoint_bytes
                    .set(i64::try_from(bytes).unwrap_or(i64::MAX));
                log.checkpoint_duration
                    .observe(begun.elapsed().as_secs_f64());
            }
            Err(error) => {
                log.checkpoint_failures.inc();
                tracing::warn!(%error, "no checkpoint could be written; the sample log is kept from the last one on");
            }
        }
    }
}

impl Drop for Job {
    /// Also where it panicked, or never ran.
    fn drop(&mut self) {
        self.is_under_way.store(false, Ordering::SeqCst);
    }
}
