//! Where everything is written: in memory, or in the folder that the configuration names.
//!
//! Owns the choice, and the end of analyses that ran when an earlier process ended. What it had been
//! sent of them is gone, so no verdict can follow from it: they become final, inconclusive, on hold,
//! and whoever is told of verdicts is told so. Next: [`crate::store::sql`].

use std::sync::Arc;

use super::machine::auditing;
use crate::config::Config;
use crate::engine::measuring::Measured;
use crate::engine::{AnalysisView, Event, EventKind, Verdict};
use crate::judge::verdict::{Status, VerdictBody};
use crate::model::{Decision, Outcome, Reason, Timestamp};
use crate::store::memory::MemoryStore;
use crate::store::sql::SqlStore;
use crate::store::{Bounds, Commit, Outbox, Store, Write};
use crate::telemetry::counting::Tally;
use crate::telemetry::{Metrics, losses};
use crate::webhook::Endpoint;
use crate::webhook::endpoint::deliveries;

/// Bytes of all recordings together.
const RECORDINGS_BYTES_MAX: u64 = 1 << 30;

/// The words of a verdict that no sample led to.
const ENDED: &str = "inconclusive, hold: davy was started again while this analysis ran, and what it had been sent is gone; start the analysis again";

/// The store of a daemon.
pub(super) struct Keeping {
    pub(super) store: Arc<dyn Store>,
    pub(super) outbox: Arc<dyn Outbox>,
    /// Whether it outlives the process.
    pub(super) lasts: bool,
    sql: Option<Arc<SqlStore>>,
}

// === impl Keeping ===

impl Keeping {
    /// Opens what the configuration asks for.
    pub(super) async fn open(config: &Config) -> anyhow::Result<Keeping> {
        let limits = &config.limits;
        let bounds = Bounds {
            recording_bytes_max: limits.recording_bytes_max,
            recordings_bytes_max: RECORDINGS_BYTES_MAX.max(limits.recording_bytes_max),
            outbox_max: super::size(config.webhook.queue_max),
            audit_rows_max: config.store.audit_rows_max,
            free_bytes_max: config.store.free_bytes_max,
        };
        let Some(path) = &config.store.path else {
            tracing::info!(
                "no store.path is set: analyses and verdicts are kept in memory and end with davy"
            );
            let store = Arc::new(MemoryStore::new(bounds));
            return Ok(Keeping {
                store: store.clone(),
                outbox: store,
                lasts: false,
                sql: None,
            });
        };
        let store = SqlStore::open(path, &bounds, limits.retained_analyses_max).await?;
        let store = Arc::new(store);
        tracing::info!(path = %path.display(), "store opened");
        Ok(Keeping {
            store: store.clone(),
            outbox: store.clone(),
            lasts: true,
            sql: Some(store),
        })
    }

    /// Ends what an earlier process could not and this one cannot go on with, and tells whoever is
    /// told.
    pub(super) async fn end_unfinished(
        &self,
        endpoints: &[Arc<Endpoint>],
        goes_on: impl Fn(&str) -> bool,
        now: Timestamp,
        metrics: &Metrics,
    ) -> anyhow::Result<()> {
        let mut commit = Commit::default();
        let mut tally = Tally::default();
        let unfinished = self.sql.iter().flat_map(|store| store.live_analyses());
        for view in unfinished.filter(|view| !goes_on(&view.id)) {
            let events = self.store.events_after(&view.id, 0).await?;
            let last = events.and_then(|found| Some(found.events.last()?.sequence));
            let kind = match view.status {
                Status::Final => EventKind::WatchEnded,
                Status::Pending | Status::Running => EventKind::VerdictFinal,
            };
            let view = ended(&view, now);
            let event = Event {
                analysis: view.id.clone(),
                sequence: last.unwrap_or(0) + 1,
                at: now,
                kind,
                body: Arc::new(VerdictBody::clone(&view.body)),
            };
            tracing::warn!(
                analysis = view.id,
                event = kind.as_str(),
                "it ran when davy ended, and what it had been sent is gone"
            );
            tally.add_event(&event);
            if kind == EventKind::VerdictFinal {
                let took = now.since(Timestamp(view.started_at));
                tally.add_measured(event.body.clone(), Measured::of(&event.body, took));
            }
            let entry = auditing::entry_of_end(&event);
            tally.add_row(entry.analysis.as_deref(), &entry.kind);
            commit.writes.push(Write::Audit(Box::new(entry)));
            let told = deliveries(endpoints, &event).into_iter();
            commit.writes.extend(told.map(Write::Deliver));
            commit.writes.push(Write::Event(event));
            commit.writes.push(Write::View(Box::new(view)));
        }
        if !commit.writes.is_empty() {
            let losses = self.store.commit(commit).await?;
            metrics.count(&tally, &losses.refused);
            losses::tell(losses, metrics);
        }
        Ok(())
    }
}

/// The analysis as it is once nothing can follow: a verdict that is final stays what it is.
fn ended(view: &AnalysisView, now: Timestamp) -> AnalysisView {
    let mut view = view.clone();
    if view.status != Status::Final {
        view.status = Status::Final;
        view.verdict = Outcome::Inconclusive;
        view.overridden = None;
        view.decision = Decision::Hold;
        view.reason = Reason::Abandoned;
        view.final_at = Some(now.millis());
    }
    let end = |verdict: &Verdict| Arc::new(Verdict::new(ended_body(verdict)));
    (view.body, view.step_body) = (end(&view.body), end(&view.step_body));
    view
}

fn ended_body(verdict: &VerdictBody) -> VerdictBody {
    let mut body = verdict.clone();
    if let Some(watch) = &mut body.watch {
        watch.ended = true;
    }
    if !body.is_final {
        body.status = Status::Final;
        body.verdict = Outcome::Inconclusive;
        body.is_final = true;
        body.overridden = None;
        body.decision = Decision::Hold;
        body.reason = Reason::Abandoned;
        ENDED.clone_into(&mut body.message);
        body.gate.open = false;
        body.gate.waiting_for = None;
    }
    body
}
