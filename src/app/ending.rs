//! The end of a daemon: one deadline for everything that is still to be done.
//!
//! Owns how the time is shared out and what is said of what was lost. It must not start anything.
//! The order of the whole is [`super::Daemon::run`]'s.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::machine::StoreFailed;
use crate::store::Outbox;
use crate::telemetry::Metrics;

/// Share of the deadline that is kept from open requests for the engine and the notifications:
/// a client that never reads must not cost somebody else's rollback.
const RESERVED_SHARE: u32 = 4;

/// The moment by which everything has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    at: Instant,
    reserved: Duration,
}

// === impl Deadline ===

impl Deadline {
    /// So long from now.
    pub(super) fn after(span: Duration) -> Deadline {
        Deadline {
            at: Instant::now() + span,
            reserved: span / RESERVED_SHARE,
        }
    }

    /// How long open requests may still take.
    pub(super) fn for_requests(&self) -> Duration {
        let left = self.at.saturating_duration_since(Instant::now());
        left.saturating_sub(self.reserved)
    }
}

/// What is left to do once nobody is served any more.
pub(super) struct Drain {
    /// Resolves when the engine's thread has ended; an error is a panic.
    pub(super) engine: oneshot::Receiver<Result<(), StoreFailed>>,
    /// The webhooks' workers.
    pub(super) delivering: TaskTracker,
    /// Tells them to send what is due, and to end.
    pub(super) workers_stop: CancellationToken,
    /// Where notifications wait.
    pub(super) outbox: Arc<dyn Outbox>,
    /// Whether they wait there for the next process, and analyses with them.
    pub(super) outbox_lasts: bool,
    /// Where the number of running analyses stands.
    pub(super) metrics: Arc<Metrics>,
}

// === impl Drain ===

impl Drain {
    /// Waits for the engine, then for the notifications it caused; never past the deadline.
    ///
    /// # Errors
    /// When the engine's thread panicked, or the store had failed.
    pub(super) async fn until(self, deadline: &Deadline) -> anyhow::Result<()> {
        // The router is gone and with it every sender, but for requests that hold their thread up,
        // so the engine's thread ends by itself. One that is busy leaves half of what is reserved to
        // the notifications.
        let engine_until = deadline.at - deadline.reserved / 2;
        let engine = timeout_at(engine_until, self.engine).await;
        self.workers_stop.cancel();
        let delivered = timeout_at(deadline.at, self.delivering.wait()).await;
        // Those that last are not lost, and where they are may not answer any more.
        let notifications_lost = match self.outbox_lasts {
            true => 0,
            false => self.outbox.depth().await?,
        };
        let running = self.metrics.analyses_running.get();
        let analyses_lost = if self.outbox_lasts { 0 } else { running };
        if engine.is_err() {
            tracing::warn!("the engine was still busy at the deadline; what was queued is lost");
        }
        if delivered.is_err() {
            tracing::warn!("webhooks were still answering at the deadline");
        }
        if notifications_lost > 0 || analyses_lost > 0 {
            tracing::warn!(
                notifications_lost,
                analyses_lost,
                "not finished, and not kept beyond this process"
            );
        }
        match engine {
            Ok(Err(_)) => bail!("the engine's thread panicked"),
            Ok(Ok(Err(failed))) => bail!(failed),
            Ok(Ok(Ok(()))) | Err(_) => {}
        }
        tracing::info!("stopped");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::{Bounds, MemoryStore};

    const SPAN: Duration = Duration::from_secs(8);

    fn drain(engine: oneshot::Receiver<Result<(), StoreFailed>>) -> Drain {
        let delivering = TaskTracker::new();
        delivering.close();
        Drain {
            engine,
            delivering,
            workers_stop: CancellationToken::new(),
            outbox: Arc::new(MemoryStore::new(Bounds {
                recording_bytes_max: 1,
                recordings_bytes_max: 1,
                outbox_max: 1,
                audit_rows_max: 1_000_000,
                free_bytes_max: 16 << 20,
            })),
            outbox_lasts: false,
            metrics: Arc::new(Metrics::new("0").expect("names are unique")),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_and_a_webhook_that_never_end_cost_one_deadline_together() {
        let begun = Instant::now();
        let deadline = Deadline::after(SPAN);
        assert_eq!(deadline.for_requests(), SPAN * 3 / 4);
        tokio::time::advance(deadline.for_requests()).await;
        let (_busy, engine) = oneshot::channel();
        let delivering = TaskTracker::new();
        delivering.spawn(std::future::pending::<()>());
        delivering.close();
        let drain = Drain {
            delivering,
            ..drain(engine)
        };
        drain
            .until(&deadline)
            .await
            .expect("being late is no error");
        assert_eq!(begun.elapsed(), SPAN);
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_ended_costs_nothing_and_one_that_panicked_is_an_error() {
        let deadline = Deadline::after(SPAN);
        let (ended, engine) = oneshot::channel();
        ended.send(Ok(())).expect("it listens");
        drain(engine).until(&deadline).await.expect("it ended well");
        let (failed, engine) = oneshot::channel();
        failed.send(Err(StoreFailed)).expect("it listens");
        drain(engine)
            .until(&deadline)
            .await
            .expect_err("a store that failed");
        let (panicked, engine) = oneshot::channel();
        drop(panicked);
        drain(engine).until(&deadline).await.expect_err("a panic");
        assert_eq!(deadline.for_requests(), SPAN * 3 / 4);
    }
}
