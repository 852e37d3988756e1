//! Keeps everything in a database that outlives this process: SQLite, through SQL that PostgreSQL
//! could share.
//!
//! Owns what is written when. One commit is one transaction: views, events, deliveries and what is
//! forgotten are there together or not at all. The view of an analysis that takes samples changes
//! with every request of samples, so its newest state is kept in memory, where reads of it go too,
//! and is written only with what must last: an event, a new status, verdict, decision or step. Views
//! of all others are read from the database, those read lately from memory. Recordings never enter
//! it. Commits are asked for one after the other, as the machine does. Next: `schema`, its tables;
//! `write` and `read`; `outbox`, the notifications that wait, and `letters`, those given up; `live`,
//! what is in memory; `audit`, rows that are only ever added; `configurations`.

mod audit;
mod configurations;
mod connect;
mod letters;
mod live;
mod outbox;
mod read;
mod schema;
mod vacuum;
mod write;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::AnyPool;
use sqlx::Connection as _;

pub use audit::{AuditFile, ReadError};
pub use connect::OpenError;
use live::Live;

use super::audit::Row;
use super::changes::ChangeTold;
use super::configurations::{Configuration, Head};
use super::recordings::Recordings;
use super::shelf::Shelf;
use super::{
    Bounds, Commit, Cursor, Delivery, EventsAfter, Filter, LetterFilter, LetterPage, Letters,
    Losses, Outbox, PAGE_MAX, Page, Pending, Recording, Redelivery, Settlement, Shelving, Store,
    StoreError, Write,
};
use crate::engine::AnalysisView;
use crate::judge::verdict::Status;
use crate::log::Ticket;
use crate::model::Timestamp;
use crate::plan::Plan;

/// Name of the folder of recordings.
const RECORDINGS: &str = "recordings";

/// A store in a database.
#[derive(Debug)]
pub struct SqlStore {
    /// One connection: whoever has it writes, and nobody else.
    writer: AnyPool,
    reader: AnyPool,
    outbox_max: usize,
    audit_rows_max: u64,
    free_bytes_max: u64,
    retained_analyses_max: u64,
    live: Mutex<Live>,
    /// Number in the sample log of the last input whose consequences are written.
    position: AtomicU64,
    /// No other davy has the folder while this is open.
    _lock: connect::Held,
}

/// A commit by what its parts need.
#[derive(Debug, Default)]
struct Batch {
    plans: Vec<Arc<Plan>>,
    /// The last one of each analysis.
    views: HashMap<String, Arc<AnalysisView>>,
    /// Events, lines, deliveries and what is forgotten, in order.
    others: Vec<Write>,
    /// As in the commit.
    position: u64,
    after: Option<Ticket>,
}

/// Whether samples still change the analysis: it is not final, or watched after its pass.
fn is_live(view: &AnalysisView) -> bool {
    let is_watched = |view: &AnalysisView| {
        let watch = view.body.watch.as_ref();
        watch.is_some_and(|watch| !watch.ended)
    };
    view.status != Status::Final || is_watched(view)
}

// === impl SqlStore ===

impl SqlStore {
    /// Opens the database in a folder, which is made where it is missing, and brings its tables up
    /// to date. More than `retained_analyses_max` analyses that take no samples are not kept: the
    /// engine forgets those it knows, and after a restart it knows none.
    ///
    /// # Errors
    /// What keeps it from being opened, and what to do.
    pub async fn open(
        folder: &Path,
        bounds: &Bounds,
        retained_analyses_max: u64,
    ) -> Result<SqlStore, OpenError> {
        let (lock, path) = connect::take_folder(folder)?;
        let (writer, reader) = connect::open(&path).await?;
        let shelf = Shelf::open(folder.join(RECORDINGS)).map_err(|error| OpenError::Folder {
            folder: folder.join(RECORDINGS),
            error,
        })?;
        let unreadable = |error: StoreError| OpenError::unreadable(&path, &error.message);
        outbox::release(&writer).await.map_err(unreadable)?;
        let running = read::live(&reader).await.map_err(unreadable)?;
        let position = read::position(&reader).await.map_err(unreadable)?;
        Ok(SqlStore {
            writer,
            reader,
            outbox_max: bounds.outbox_max,
            audit_rows_max: bounds.audit_rows_max,
            free_bytes_max: bounds.free_bytes_max,
            retained_analyses_max,
            live: Mutex::new(Live::new(Recordings::on(shelf, bounds), running)),
            position: AtomicU64::new(position),
            _lock: lock,
        })
    }

    /// Analyses that took samples when they were last written. Right after [`SqlStore::open`] these
    /// are those that an earlier process could not bring to their end.
    pub fn live_analyses(&self) -> Vec<Arc<AnalysisView>> {
        self.live().views()
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        // A panic elsewhere leaves nothing half done that a later commit would not put right.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a batch, all of it or nothing. Memory learns of it while the writer is still held, so
    /// in the order of the transactions.
    async fn write(&self, batch: Batch) -> Result<Losses, StoreError> {
        let mut losses = Losses::default();
        let lasting = self.live().lasting(&batch);
        if let Some(ticket) = batch.after.clone() {
            // Nothing may follow from what could still be lost.
            let safe = ticket.safe().await;
            safe.map_err(|failed| StoreError {
                message: failed.to_string(),
            })?;
        }
        let mut writer = self.writer.acquire().await?;
        let mut changes = writer.begin_with(connect::BEGIN).await?;
        for plan in &batch.plans {
            write::plan(&mut changes, plan).await?;
        }
        for view in &lasting {
            write::view(&mut changes, view).await?;
        }
        for write in &batch.others {
            match write {
                Write::Event(event) => write::event(&mut changes, event).await?,
                Write::Deliver(delivery) => {
                    let refused = outbox::put(&mut changes, delivery, self.outbox_max).await?;
                    losses.refused.extend(refused);
                }
                Write::Forget(analysis) => write::forget(&mut changes, analysis).await?,
                Write::Outcome(told) => write::outcome(&mut changes, told).await?,
                Write::Configuration(kept) => configurations::put(&mut changes, kept).await?,
                Write::DropConfiguration(id) => configurations::delete(&mut changes, id).await?,
                Write::Audit(entry) => {
                    let deleted = audit::append(&mut changes, entry, self.audit_rows_max);
                    losses.audit_rows_deleted += deleted.await?;
                }
                Write::View(_) | Write::Plan(_) | Write::Record { .. } => {}
            }
        }
        let retired = if lasting.iter().any(|view| !is_live(view)) {
            write::retire(&mut changes, self.retained_analyses_max).await?
        } else {
            Vec::new()
        };
        if batch.position > 0 {
            write::position(&mut changes, batch.position).await?;
        }
        let position = batch.position;
        changes.commit().await?;
        self.position.fetch_max(position, Ordering::SeqCst);
        let is_forgotten =
            |write: &Write| matches!(write, Write::Forget(_) | Write::DropConfiguration(_));
        let has_forgotten = batch.others.iter().any(is_forgotten);
        {
            let mut live = self.live();
            live.apply(batch, &mut losses);
            for analysis in &retired {
                live.forget(analysis);
            }
        }
        if has_forgotten || losses.audit_rows_deleted > 0 || !retired.is_empty() {
            vacuum::give_back(&mut writer, self.free_bytes_max).await;
        }
        Ok(losses)
    }

    /// A view from memory, or from the database.
    async fn view(&self, id: &str) -> Result<Option<Arc<AnalysisView>>, StoreError> {
        let generation = {
            let live = self.live();
            if let Some(view) = live.view(id) {
                return Ok(Some(view));
            }
            live.generation()
        };
        let Some(view) = read::view(&self.reader, id).await? else {
            return Ok(None);
        };
        let view = Arc::new(view);
        self.live().remember(&view, generation);
        Ok(Some(view))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> StoreError {
        StoreError {
            message: error.to_string(),
        }
    }
}

// === impl Batch ===

impl Batch {
    fn of(commit: Commit) -> Batch {
        let mut batch = Batch {
            position: commit.position,
            after: commit.after,
            ..Batch::default()
        };
        for write in commit.writes {
            match write {
                Write::View(view) => {
                    batch.views.insert(view.id.clone(), Arc::new(*view));
                }
                Write::Plan(plan) => batch.plans.push(plan),
                other => batch.others.push(other),
            }
        }
        batch
    }
}

impl Store for SqlStore {
    fn commit(&self, commit: Commit) -> Pending<'_, Losses> {
        let batch = Batch::of(commit);
        {
            let mut live = self.live();
            if !live.must_last(&batch) {
                let mut losses = Losses::default();
                live.apply(batch, &mut losses);
                return Box::pin(std::future::ready(Ok(losses)));
            }
        }
        Box::pin(self.write(batch))
    }

    fn recall(&self, commit: Commit) -> Losses {
        let mut losses = Losses::default();
        self.live().recall(Batch::of(commit), &mut losses);
        losses
    }

    fn shelve(&self) -> Option<Shelving> {
        let position = self.position.load(Ordering::SeqCst);
        self.live().recordings_mut().shelve(position)
    }

    fn shelved(&self, done: &Shelving) {
        self.live().recordings_mut().shelved(done);
    }

    fn remember(&self, told: &[u8]) -> Result<(), StoreError> {
        let position = self.live().recordings_mut().remember(told)?;
        let own = self.position.load(Ordering::SeqCst);
        if own < position {
            return Err(StoreError {
                message: format!(
                    "the database is older than the sample log: it has what followed from input {own}, and had what followed from {position}"
                ),
            });
        }
        Ok(())
    }

    fn tidy(&self) {
        self.live().recordings_mut().tidy();
    }

    fn position(&self) -> Pending<'_, u64> {
        Box::pin(read::position(&self.reader))
    }

    fn analysis<'s>(&'s self, id: &'s str) -> Pending<'s, Option<Arc<AnalysisView>>> {
        Box::pin(self.view(id))
    }

    fn list<'s>(
        &'s self,
        filter: &'s Filter,
        cursor: Option<&'s Cursor>,
        limit: usize,
    ) -> Pending<'s, Page> {
        Box::pin(async move {
            let limit = limit.clamp(1, PAGE_MAX);
            let mut places = read::places(&self.reader, filter, cursor, limit + 1).await?;
            let is_end = places.len() <= limit;
            places.truncate(limit);
            let mut page = Page::default();
            for place in &places {
                // One that was forgotten meanwhile is not missed.
                page.analyses.extend(self.view(&place.id).await?);
            }
            page.next = places.pop().filter(|_| !is_end);
            Ok(page)
        })
    }

    fn events_after<'s>(&'s self, id: &'s str, after: u64) -> Pending<'s, Option<EventsAfter>> {
        Box::pin(async move {
            if let Some(found) = read::events_after(&self.reader, id, after).await? {
                return Ok(Some(found));
            }
            Ok(self.view(id).await?.map(|_| EventsAfter::default()))
        })
    }

    fn audit<'s>(
        &'s self,
        analysis: Option<&'s str>,
        after: u64,
        limit: usize,
    ) -> Pending<'s, Vec<Row>> {
        Box::pin(async move {
            let after = i64::try_from(after).unwrap_or(i64::MAX);
            Ok(audit::rows(&self.reader, analysis, after, limit).await?)
        })
    }

    fn audit_last(&self) -> Pending<'_, Option<Row>> {
        Box::pin(async move { Ok(audit::last(&self.reader).await?) })
    }

    fn outcomes<'s>(&'s self, change: &'s str) -> Pending<'s, Vec<ChangeTold>> {
        Box::pin(read::outcomes(&self.reader, change))
    }

    fn configurations(&self) -> Pending<'_, Vec<Head>> {
        Box::pin(configurations::heads(&self.reader))
    }

    fn configuration<'s>(&'s self, id: &'s str) -> Pending<'s, Option<Configuration>> {
        Box::pin(configurations::one(&self.reader, id))
    }

    fn recording<'s>(&'s self, id: &'s str) -> Pending<'s, Option<Recording>> {
        Box::pin(async move {
            if let Some(recording) = self.live().recording(id) {
                return Ok(Some(recording));
            }
            // Of an earlier process: it had lines, and they ended with it.
            let lost = Recording {
                text: Box::new(std::iter::empty()),
                bytes: 0,
                truncated_at_bytes: Some(0),
            };
            Ok(self.view(id).await?.map(|_| lost))
        })
    }
}

impl Outbox for SqlStore {
    fn claim<'s>(
        &'s self,
        endpoint: &'s str,
        now: Timestamp,
        lease_until: Timestamp,
        limit: usize,
    ) -> Pending<'s, Vec<Delivery>> {
        Box::pin(outbox::claim(
            &self.writer,
            endpoint,
            now,
            lease_until,
            limit,
        ))
    }

    fn settle<'s>(&'s self, id: &'s str, settlement: Settlement) -> Pending<'s, ()> {
        Box::pin(outbox::settle(&self.writer, id, settlement))
    }

    fn next_due<'s>(&'s self, endpoint: &'s str) -> Pending<'s, Option<Timestamp>> {
        Box::pin(outbox::next_due(&self.reader, endpoint))
    }

    fn depth(&self) -> Pending<'_, usize> {
        Box::pin(outbox::depth(&self.reader))
    }

    fn dead_letters<'s>(
        &'s self,
        filter: &'s LetterFilter,
        limit: usize,
    ) -> Pending<'s, LetterPage> {
        Box::pin(letters::dead_letters(&self.reader, filter, limit))
    }

    fn endpoint_of<'s>(&'s self, id: &'s str) -> Pending<'s, Option<String>> {
        Box::pin(letters::endpoint_of(&self.reader, id))
    }

    fn redeliver<'s>(&'s self, letters: Letters<'s>, now: Timestamp) -> Pending<'s, Redelivery> {
        let room = self.outbox_max;
        Box::pin(letters::redeliver(&self.writer, letters, now, room))
    }
}
