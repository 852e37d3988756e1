//! Keeps everything in this process: fast, bounded, gone at the end.
//!
//! Owns the memory behind the traits of [`super`]. How many analyses there are is the engine's to
//! say, which forgets the oldest. It must not wait while it holds its lock. Next: `room`, what is
//! kept of one analysis; `queues`, deliveries; `recordings`, the lines.

mod queues;
mod room;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use queues::Queues;
use room::{Room, Unread};

pub use super::Bounds;
use super::changes::ChangeTold;
use super::configurations::{Configuration, Head};
use super::recordings::Recordings;
use super::{
    Commit, Cursor, Delivery, EventsAfter, Filter, LetterFilter, LetterPage, Letters, Losses,
    Outbox, PAGE_MAX, Page, Pending, Recording, Redelivery, Settlement, Shelving, Store,
    StoreError, Write, audit,
};
use crate::engine::AnalysisView;
use crate::model::Timestamp;

/// A store in memory.
#[derive(Debug)]
pub struct MemoryStore {
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    rooms: HashMap<String, Room>,
    /// By start and id: the order of lists.
    order: BTreeMap<(i64, String), ()>,
    queues: Queues,
    recordings: Recordings,
    audit: audit::Log,
    /// By change and namespace.
    outcomes: BTreeMap<(String, Option<String>), ChangeTold>,
    /// By id.
    configurations: BTreeMap<String, Configuration>,
}

// === impl MemoryStore ===

impl MemoryStore {
    /// An empty store.
    pub fn new(bounds: Bounds) -> MemoryStore {
        MemoryStore {
            kept: Mutex::new(Kept {
                rooms: HashMap::new(),
                order: BTreeMap::new(),
                queues: Queues::new(bounds.outbox_max),
                recordings: Recordings::new(&bounds),
                audit: audit::Log::new(bounds.audit_rows_max),
                outcomes: BTreeMap::new(),
                configurations: BTreeMap::new(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A result that is there at once.
fn ready<'s, T: Send + 's>(value: T) -> Pending<'s, T> {
    Box::pin(std::future::ready(Ok(value)))
}

impl Store for MemoryStore {
    fn commit(&self, commit: Commit) -> Pending<'_, Losses> {
        let mut kept = self.lock();
        let mut losses = Losses::default();
        // Views first: the first events and lines of an analysis need its room.
        let (views, others): (Vec<_>, Vec<_>) = commit
            .writes
            .into_iter()
            .partition(|write| matches!(write, Write::View(_)));
        for write in views.into_iter().chain(others) {
            kept.write(write, &mut losses);
        }
        ready(losses)
    }

    fn recall(&self, _: Commit) -> Losses {
        // No earlier process has committed anything here.
        Losses::default()
    }

    fn shelve(&self) -> Option<Shelving> {
        None
    }

    fn shelved(&self, _: &Shelving) {}

    fn remember(&self, _: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }

    fn tidy(&self) {}

    fn position(&self) -> Pending<'_, u64> {
        ready(0)
    }

    fn analysis<'s>(&'s self, id: &'s str) -> Pending<'s, Option<Arc<AnalysisView>>> {
        ready(self.lock().rooms.get(id).map(|room| room.view.clone()))
    }

    fn list<'s>(
        &'s self,
        filter: &'s Filter,
        cursor: Option<&'s Cursor>,
        limit: usize,
    ) -> Pending<'s, Page> {
        ready(self.lock().page(filter, cursor, limit.clamp(1, PAGE_MAX)))
    }

    fn events_after<'s>(&'s self, id: &'s str, after: u64) -> Pending<'s, Option<EventsAfter>> {
        let found = {
            let kept = self.lock();
            kept.rooms.get(id).map(|room| room.events_after(after))
        };
        Box::pin(std::future::ready(found.map(Unread::read).transpose()))
    }

    fn audit<'s>(
        &'s self,
        analysis: Option<&'s str>,
        after: u64,
        limit: usize,
    ) -> Pending<'s, Vec<audit::Row>> {
        let limit = limit.clamp(1, audit::PAGE_MAX);
        ready(self.lock().audit.rows(analysis, after, limit))
    }

    fn audit_last(&self) -> Pending<'_, Option<audit::Row>> {
        ready(self.lock().audit.last().cloned())
    }

    fn outcomes<'s>(&'s self, change: &'s str) -> Pending<'s, Vec<ChangeTold>> {
        let kept = self.lock();
        let of_it = kept.outcomes.values().filter(|told| told.change == change);
        ready(of_it.cloned().collect())
    }

    fn configurations(&self) -> Pending<'_, Vec<Head>> {
        let kept = self.lock();
        let heads = kept.configurations.values().map(|kept| kept.head.clone());
        let mut heads: Vec<Head> = heads.collect();
        heads.sort_unstable();
        ready(heads)
    }

    fn configuration<'s>(&'s self, id: &'s str) -> Pending<'s, Option<Configuration>> {
        ready(self.lock().configurations.get(id).cloned())
    }

    fn recording<'s>(&'s self, id: &'s str) -> Pending<'s, Option<Recording>> {
        ready(self.lock().recordings.read(id))
    }
}

impl Outbox for MemoryStore {
    fn claim<'s>(
        &'s self,
        endpoint: &'s str,
        now: Timestamp,
        lease_until: Timestamp,
        limit: usize,
    ) -> Pending<'s, Vec<Delivery>> {
        let mut kept = self.lock();
        ready(kept.queues.claim(endpoint, now, lease_until, limit))
    }

    fn settle<'s>(&'s self, id: &'s str, settlement: Settlement) -> Pending<'s, ()> {
        self.lock().queues.settle(id, settlement);
        ready(())
    }

    fn next_due<'s>(&'s self, endpoint: &'s str) -> Pending<'s, Option<Timestamp>> {
        ready(self.lock().queues.next_due(endpoint))
    }

    fn depth(&self) -> Pending<'_, usize> {
        ready(self.lock().queues.depth())
    }

    fn dead_letters<'s>(
        &'s self,
        filter: &'s LetterFilter,
        limit: usize,
    ) -> Pending<'s, LetterPage> {
        ready(self.lock().queues.dead_letters(filter, limit))
    }

    fn endpoint_of<'s>(&'s self, id: &'s str) -> Pending<'s, Option<String>> {
        ready(self.lock().queues.endpoint_of(id))
    }

    fn redeliver<'s>(&'s self, letters: Letters<'s>, now: Timestamp) -> Pending<'s, Redelivery> {
        ready(self.lock().queues.redeliver(letters, now))
    }
}

// === impl Kept ===

impl Kept {
    fn write(&mut self, write: Write, losses: &mut Losses) {
        match write {
            Write::View(view) => self.replace_view(*view),
            // It is in the header of the recording, and nothing here outlives the process.
            Write::Plan(_) => {}
            Write::Event(event) => {
                if let Some(room) = self.rooms.get_mut(&event.analysis) {
                    room.push(&event);
                    if event.is_last() {
                        self.recordings.seal(&event.analysis);
                    }
                }
            }
            Write::Record { analysis, line } => self.recordings.record(&analysis, &line, losses),
            Write::Audit(entry) => losses.audit_rows_deleted += self.audit.append(*entry),
            Write::Outcome(told) => {
                let key = (told.change.clone(), told.namespace.clone());
                self.outcomes.insert(key, told);
            }
            Write::Configuration(kept) => {
                self.configurations.insert(kept.head.id.clone(), *kept);
            }
            Write::DropConfiguration(id) => {
                self.configurations.remove(&id);
            }
            Write::Deliver(delivery) => losses.refused.extend(self.queues.put(delivery)),
            Write::Forget(analysis) => {
                self.recordings.forget(&analysis);
                if let Some(room) = self.rooms.remove(&analysis) {
                    self.order.remove(&(room.view.started_at, analysis));
                    self.forget_outcomes(room.view.change.id.as_deref());
                }
            }
        }
    }

    /// What became of a change goes with the last of its analyses.
    fn forget_outcomes(&mut self, change: Option<&str>) {
        let of_it = |room: &Room| room.view.change.id.as_deref() == change;
        if !self.outcomes.is_empty() && !self.rooms.values().any(of_it) {
            self.outcomes
                .retain(|(of, _), _| Some(of.as_str()) != change);
        }
    }

    fn replace_view(&mut self, view: AnalysisView) {
        self.recordings.note(&view);
        let view = Arc::new(view);
        match self.rooms.get_mut(&view.id) {
            Some(room) => room.view = view,
            None => {
                self.order.insert((view.started_at, view.id.clone()), ());
                let id = view.id.clone();
                self.rooms.insert(id, Room::new(view));
            }
        }
    }

    fn page(&self, filter: &Filter, cursor: Option<&Cursor>, limit: usize) -> Page {
        use std::ops::Bound;
        let end = match cursor {
            Some(cursor) => Bound::Excluded((cursor.started_at, cursor.id.clone())),
            None => Bound::Unbounded,
        };
        let newest_first = self.order.range((Bound::Unbounded, end)).rev();
        let mut page = Page::default();
        for ((started_at, id), ()) in newest_first {
            let Some(room) = self.rooms.get(id) else {
                continue;
            };
            if filter
                .started_from
                .is_some_and(|from| *started_at < from.millis())
            {
                break;
            }
            if !admits(filter, &room.view) {
                continue;
            }
            if page.analyses.len() == limit {
                page.next = page.analyses.last().map(|last| Cursor {
                    started_at: last.started_at,
                    id: last.id.clone(),
                });
                break;
            }
            page.analyses.push(room.view.clone());
        }
        page
    }
}

fn admits(filter: &Filter, view: &AnalysisView) -> bool {
    filter
        .service
        .as_ref()
        .is_none_or(|service| view.change.service.as_ref() == Some(service))
        && filter.sees(view)
        && filter
            .change
            .as_ref()
            .is_none_or(|change| view.change.id.as_ref() == Some(change))
        && filter.plan.as_ref().is_none_or(|plan| view.plan == *plan)
        && filter.verdict.is_none_or(|verdict| view.verdict == verdict)
        && filter
            .started_before
            .is_none_or(|before| view.started_at < before.millis())
}
