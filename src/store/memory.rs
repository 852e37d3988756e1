//! Keeps everything in this process: fast, bounded, gone at the end.
//!
//! Owns the memory behind the traits of [`super`] and the deliveries that wait for each endpoint. How many analyses there are is the engine's to say,
//! which forgets the oldest. It must not wait while it holds its lock. Next: `room`, what is kept of
//! one analysis; `recordings`, their lines.

mod room;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use room::{Room, Unread};

pub use super::Bounds;
use super::recordings::Recordings;
use super::{
    Commit, Cursor, DEAD_LETTERS_MAX, DeadLetter, Delivery, EventsAfter, Filter, Losses, Outbox,
    PAGE_MAX, Page, Pending, Recording, Settlement, Shelving, Store, StoreError, Write,
};
use crate::engine::AnalysisView;
use crate::model::Timestamp;

/// A store in memory.
#[derive(Debug)]
pub struct MemoryStore {
    outbox_max: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    rooms: HashMap<String, Room>,
    /// By start and id: the order of lists.
    order: BTreeMap<(i64, String), ()>,
    /// By endpoint, in the order they came.
    outbox: HashMap<String, BTreeMap<u64, Waiting>>,
    /// Delivery id to its endpoint and its place there.
    places: HashMap<String, (String, u64)>,
    next_place: u64,
    recordings: Recordings,
    dead: VecDeque<DeadLetter>,
}

#[derive(Debug)]
struct Waiting {
    delivery: Delivery,
    leased_until: Timestamp,
}

// === impl MemoryStore ===

impl MemoryStore {
    /// An empty store.
    pub fn new(bounds: Bounds) -> MemoryStore {
        MemoryStore {
            outbox_max: bounds.outbox_max,
            kept: Mutex::new(Kept {
                rooms: HashMap::new(),
                order: BTreeMap::new(),
                outbox: HashMap::new(),
                places: HashMap::new(),
                next_place: 0,
                recordings: Recordings::new(&bounds),
                dead: VecDeque::new(),
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
            kept.write(write, self.outbox_max, &mut losses);
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
        let mut claimed = Vec::new();
        for place in kept.heads(endpoint) {
            let Some(waiting) = kept.waiting(endpoint, place) else {
                continue;
            };
            if claimed.len() < limit && waiting.delivery.due <= now && waiting.leased_until <= now {
                waiting.leased_until = lease_until;
                claimed.push(waiting.delivery.clone());
            }
        }
        drop(kept);
        ready(claimed)
    }

    fn settle<'s>(&'s self, id: &'s str, settlement: Settlement) -> Pending<'s, ()> {
        self.lock().settle(id, settlement);
        ready(())
    }

    fn next_due<'s>(&'s self, endpoint: &'s str) -> Pending<'s, Option<Timestamp>> {
        let mut kept = self.lock();
        let mut due: Option<Timestamp> = None;
        for place in kept.heads(endpoint) {
            if let Some(waiting) = kept.waiting(endpoint, place) {
                let next = waiting.delivery.due.max(waiting.leased_until);
                due = Some(due.map_or(next, |earliest| earliest.min(next)));
            }
        }
        drop(kept);
        ready(due)
    }

    fn depth(&self) -> Pending<'_, usize> {
        ready(self.lock().places.len())
    }

    fn dead_letters(&self, limit: usize) -> Pending<'_, Vec<DeadLetter>> {
        ready(self.lock().dead.iter().rev().take(limit).cloned().collect())
    }
}

// === impl Kept ===

impl Kept {
    fn write(&mut self, write: Write, outbox_max: usize, losses: &mut Losses) {
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
            Write::Deliver(delivery) => self.deliver(delivery, outbox_max, losses),
            Write::Forget(analysis) => {
                self.recordings.forget(&analysis);
                if let Some(room) = self.rooms.remove(&analysis) {
                    self.order.remove(&(room.view.started_at, analysis));
                }
            }
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

    /// Puts a delivery into its endpoint's room; the same one twice is one.
    fn deliver(&mut self, delivery: Delivery, most: usize, losses: &mut Losses) {
        if self.places.contains_key(&delivery.id) {
            return;
        }
        let room = self.outbox.entry(delivery.endpoint.clone()).or_default();
        if room.len() >= most {
            let letter = delivery.refused(most);
            losses.refused.push(letter.clone());
            self.bury(letter);
            return;
        }
        let place = self.next_place;
        self.next_place += 1;
        let (id, endpoint) = (delivery.id.clone(), delivery.endpoint.clone());
        self.places.insert(id, (endpoint, place));
        let waiting = Waiting {
            delivery,
            leased_until: Timestamp(i64::MIN),
        };
        room.insert(place, waiting);
    }

    fn waiting(&mut self, endpoint: &str, place: u64) -> Option<&mut Waiting> {
        self.outbox.get_mut(endpoint)?.get_mut(&place)
    }

    /// The oldest waiting delivery of each analysis to this endpoint.
    fn heads(&self, endpoint: &str) -> Vec<u64> {
        let mut seen = std::collections::HashSet::new();
        let mut heads = Vec::new();
        for (place, waiting) in self.outbox.get(endpoint).into_iter().flatten() {
            if seen.insert(waiting.delivery.analysis.as_str()) {
                heads.push(*place);
            }
        }
        heads
    }

    fn settle(&mut self, id: &str, settlement: Settlement) {
        let Some((endpoint, place)) = self.places.get(id).cloned() else {
            return;
        };
        if let Settlement::Retry { due } = settlement {
            if let Some(waiting) = self.waiting(&endpoint, place) {
                waiting.delivery.attempts += 1;
                waiting.delivery.due = due;
                waiting.leased_until = Timestamp(i64::MIN);
            }
            return;
        }
        self.places.remove(id);
        let room = self.outbox.get_mut(&endpoint);
        let settled = room.and_then(|room| room.remove(&place));
        if let (Some(mut waiting), Settlement::Dead { error, at }) = (settled, settlement) {
            waiting.delivery.attempts += 1;
            self.bury(waiting.delivery.given_up(error, at));
        }
    }

    fn bury(&mut self, letter: DeadLetter) {
        if self.dead.len() == DEAD_LETTERS_MAX {
            self.dead.pop_front();
        }
        self.dead.push_back(letter);
    }
}

fn admits(filter: &Filter, view: &AnalysisView) -> bool {
    let in_namespace = |names: &Arc<[String]>| {
        let own = view.change.namespace.as_ref();
        own.is_some_and(|own| names.contains(own))
    };
    filter
        .service
        .as_ref()
        .is_none_or(|service| view.change.service.as_ref() == Some(service))
        && filter.namespaces.as_ref().is_none_or(in_namespace)
        && filter.plan.as_ref().is_none_or(|plan| view.plan == *plan)
        && filter.verdict.is_none_or(|verdict| view.verdict == verdict)
        && filter
            .started_before
            .is_none_or(|before| view.started_at < before.millis())
}
