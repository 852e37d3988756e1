//! The deliveries that wait for each endpoint, and those that were given up.
//!
//! Owns the order in which they are handed out and how many are kept. Only the first of each
//! analysis is ready, so that a claim looks at what it takes and at nothing else, however many wait.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::model::Timestamp;
use crate::store::{
    DEAD_LETTERS_MAX, DeadLetter, Delivery, LetterFilter, LetterPage, Letters, Redelivery,
    Settlement,
};

/// What waits, and what was given up.
#[derive(Debug)]
pub(super) struct Queues {
    /// Deliveries that wait for one endpoint, at most.
    waiting_max: usize,
    by_endpoint: HashMap<String, Queue>,
    /// Delivery id to its endpoint and its place there.
    places: HashMap<String, (String, u64)>,
    next_place: u64,
    /// By place, the newest last.
    dead: BTreeMap<u64, Dead>,
    next_dead: u64,
}

/// What waits for one endpoint.
#[derive(Debug, Default)]
struct Queue {
    /// By place, in the order they came.
    waiting: HashMap<u64, Waiting>,
    /// Places by analysis; the first of each is ready.
    by_analysis: HashMap<String, BTreeSet<u64>>,
    /// The first of each analysis, by when it may be handed out.
    ready: BTreeSet<(Timestamp, u64)>,
}

#[derive(Debug)]
struct Waiting {
    delivery: Delivery,
    /// When it may be handed out: when it is due, or when its lease ends.
    ready_at: Timestamp,
}

#[derive(Debug)]
struct Dead {
    delivery: Delivery,
    error: String,
    at: Timestamp,
}

// === impl Queues ===

impl Queues {
    /// Without anything in them.
    pub fn new(waiting_max: usize) -> Queues {
        Queues {
            waiting_max,
            by_endpoint: HashMap::new(),
            places: HashMap::new(),
            next_place: 0,
            dead: BTreeMap::new(),
            next_dead: 0,
        }
    }

    /// Puts a delivery at the end of its queue; the same one twice is one. The letter of one that
    /// found no room.
    pub fn put(&mut self, delivery: Delivery) -> Option<DeadLetter> {
        if self.places.contains_key(&delivery.id) {
            return None;
        }
        if !self.has_room(&delivery.endpoint) {
            let letter = delivery.refused(self.waiting_max);
            let at = Timestamp(letter.at);
            self.bury(delivery, letter.error.clone(), at);
            return Some(letter);
        }
        self.append(delivery);
        None
    }

    fn has_room(&self, endpoint: &str) -> bool {
        let queue = self.by_endpoint.get(endpoint);
        queue.map_or(0, |queue| queue.waiting.len()) < self.waiting_max
    }

    fn append(&mut self, delivery: Delivery) {
        let place = self.next_place;
        self.next_place += 1;
        let (id, endpoint) = (delivery.id.clone(), delivery.endpoint.clone());
        let queue = self.by_endpoint.entry(endpoint.clone()).or_default();
        queue.append(place, delivery);
        self.places.insert(id, (endpoint, place));
    }

    /// See [`crate::store::Outbox::claim`].
    pub fn claim(
        &mut self,
        endpoint: &str,
        now: Timestamp,
        lease_until: Timestamp,
        limit: usize,
    ) -> Vec<Delivery> {
        let queue = self.by_endpoint.get_mut(endpoint);
        queue.map_or_else(Vec::new, |queue| queue.claim(now, lease_until, limit))
    }

    /// When the endpoint's next delivery is due.
    pub fn next_due(&self, endpoint: &str) -> Option<Timestamp> {
        let (at, _) = self.by_endpoint.get(endpoint)?.ready.first()?;
        Some(*at)
    }

    /// Deliveries waiting, over all endpoints.
    pub fn depth(&self) -> usize {
        self.places.len()
    }

    /// Says what became of a claimed delivery.
    pub fn settle(&mut self, id: &str, settlement: Settlement) {
        let Some((endpoint, place)) = self.places.get(id) else {
            return;
        };
        let Some(queue) = self.by_endpoint.get_mut(endpoint) else {
            return;
        };
        if let Settlement::Retry { due } = settlement {
            queue.retry(*place, due);
            return;
        }
        let settled = queue.remove(*place);
        self.places.remove(id);
        if let (Some(mut delivery), Settlement::Dead { error, at }) = (settled, settlement) {
            delivery.attempts += 1;
            self.bury(delivery, error, at);
        }
    }

    fn bury(&mut self, delivery: Delivery, error: String, at: Timestamp) {
        if self.dead.len() == DEAD_LETTERS_MAX {
            self.dead.pop_first();
        }
        let dead = Dead {
            delivery,
            error,
            at,
        };
        self.dead.insert(self.next_dead, dead);
        self.next_dead += 1;
    }

    /// Dead letters, newest first.
    pub fn dead_letters(&self, filter: &LetterFilter, limit: usize) -> LetterPage {
        let before = filter.before.map_or(u64::MAX, i64::cast_unsigned);
        let mut page = LetterPage::default();
        let mut last = None;
        for (place, dead) in self.dead.range(..before).rev() {
            let endpoint = filter.endpoint.as_ref();
            if endpoint.is_some_and(|name| *name != dead.delivery.endpoint) {
                continue;
            }
            if page.letters.len() == limit {
                page.next = last;
                break;
            }
            last = Some(place.cast_signed());
            page.letters.push(dead.letter());
        }
        page
    }

    /// The endpoint of a dead letter, or of a delivery that waits.
    pub fn endpoint_of(&self, id: &str) -> Option<String> {
        if let Some((endpoint, _)) = self.places.get(id) {
            return Some(endpoint.clone());
        }
        let mut letters = self.dead.values();
        let letter = letters.find(|dead| dead.delivery.id == id)?;
        Some(letter.delivery.endpoint.clone())
    }

    /// See [`crate::store::Outbox::redeliver`].
    pub fn redeliver(&mut self, letters: Letters<'_>, now: Timestamp) -> Redelivery {
        let is_asked = |dead: &Dead| match letters {
            Letters::One(id) => dead.delivery.id == id,
            Letters::To(endpoint) => dead.delivery.endpoint == endpoint,
        };
        let asked = self.dead.iter().filter(|(_, dead)| is_asked(dead));
        let asked: Vec<u64> = asked.map(|(place, _)| *place).collect();
        let mut told = Redelivery::default();
        if let (Letters::One(id), []) = (letters, asked.as_slice()) {
            told.waiting = usize::from(self.places.contains_key(id));
        }
        for place in asked {
            let Some(dead) = self.dead.remove(&place) else {
                continue;
            };
            if self.places.contains_key(&dead.delivery.id) {
                told.waiting += 1;
            } else if self.has_room(&dead.delivery.endpoint) {
                self.append(dead.delivery.again(now));
                told.queued += 1;
            } else {
                self.dead.insert(place, dead);
                told.refused += 1;
            }
        }
        told
    }
}

// === impl Queue ===

impl Queue {
    fn append(&mut self, place: u64, delivery: Delivery) {
        let analysis = delivery.analysis.clone();
        let ready_at = delivery.due;
        let places = self.by_analysis.entry(analysis).or_default();
        if places.is_empty() {
            self.ready.insert((ready_at, place));
        }
        places.insert(place);
        let waiting = Waiting { delivery, ready_at };
        self.waiting.insert(place, waiting);
    }

    fn claim(&mut self, now: Timestamp, lease_until: Timestamp, limit: usize) -> Vec<Delivery> {
        let due = self.ready.iter().take_while(|(at, _)| *at <= now);
        let mut taken: Vec<(Timestamp, u64)> = due.take(limit).copied().collect();
        for entry in &taken {
            self.ready.remove(entry);
            self.ready.insert((lease_until, entry.1));
        }
        taken.sort_by_key(|(_, place)| *place);
        let mut claimed = Vec::new();
        for (_, place) in taken {
            if let Some(waiting) = self.waiting.get_mut(&place) {
                waiting.ready_at = lease_until;
                claimed.push(waiting.delivery.clone());
            }
        }
        claimed
    }

    fn retry(&mut self, place: u64, due: Timestamp) {
        let Some(waiting) = self.waiting.get_mut(&place) else {
            return;
        };
        if self.ready.remove(&(waiting.ready_at, place)) {
            self.ready.insert((due, place));
        }
        waiting.delivery.attempts += 1;
        waiting.delivery.due = due;
        waiting.ready_at = due;
    }

    /// Takes one out; the next of its analysis becomes the first.
    fn remove(&mut self, place: u64) -> Option<Delivery> {
        let Waiting { delivery, ready_at } = self.waiting.remove(&place)?;
        self.ready.remove(&(ready_at, place));
        let places = self.by_analysis.get_mut(&delivery.analysis)?;
        places.remove(&place);
        match places.first() {
            None => {
                self.by_analysis.remove(&delivery.analysis);
            }
            Some(first) => {
                if let Some(next) = self.waiting.get(first) {
                    self.ready.insert((next.ready_at, *first));
                }
            }
        }
        Some(delivery)
    }
}

// === impl Dead ===

impl Dead {
    fn letter(&self) -> DeadLetter {
        self.delivery.given_up(self.error.clone(), self.at)
    }
}
