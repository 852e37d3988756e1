//! The labels of series as they were written, and the keys that were made of them.
//!
//! Owns a memo. A sender writes the labels of a series with every sample, byte for byte as before,
//! and to read, sort and check them takes several times as long as all the rest. So the bytes are
//! looked up first. What is found is what reading them would have given: nothing depends on the
//! memo but time. It must not know of any form; each marks its bytes with its own [`Form`].

use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::series::KeyShape;
use crate::model::Labels;
use crate::model::series::SeriesKey;

/// Bytes that one memo takes; past that it begins anew.
pub const HEADS_BYTES_MAX: usize = 8 << 20;
/// Memos there are: as many as requests are decoded at once, as a rule. Others do without.
pub const HEADS_POOL_MAX: usize = 4;
/// Bytes of a head, and of a key, that are remembered: what is longer is no usual series, and is read
/// as if there were no memo.
const HEAD_BYTES_MAX: usize = 4_096;
/// Bytes that a head takes beside its own and its key's: its entry, and its place in the table.
const ENTRY_BYTES: usize = 2 * size_of::<Head>();
/// Requests for which a memo is left alone that was of no use, at first: its series are too many.
/// Each time it is of no use again, it is left alone for twice as many.
const REST_REQUESTS: u32 = 64;
/// And at the most.
const REST_REQUESTS_MAX: u32 = 4_096;

/// Whose bytes: the same bytes mean different things in different forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Labels of a remote-write 1.0 series.
    Write,
    /// Name and labels of a line of text.
    Text,
    /// What stands above the data points of an OTLP metric.
    OtlpContext,
    /// Labels of a sample in JSON, from behind the opening brace to the closing one.
    Json,
    /// Attributes of an OTLP data point, behind the number of its context.
    OtlpPoint,
}

/// The memo.
#[derive(Debug)]
pub struct Heads {
    hasher: FixedState,
    /// In the order they were met.
    heads: Vec<Head>,
    /// Where each stands among them.
    table: HashTable<u32>,
    /// Where the one stands that came behind the last one found, when they were met first: senders
    /// keep to an order, and then nothing needs to be looked up.
    next: usize,
    /// Heads and their keys, one after another.
    bytes: Vec<u8>,
    bytes_max: usize,
    /// There was no room for one more.
    is_full: bool,
    found: u64,
    missed: u64,
    resting: u32,
    /// For how many requests it is left alone next.
    rest: u32,
}

/// One head that is known.
#[derive(Debug, Clone, Copy)]
struct Head {
    /// Of the form and the bytes: a table that grows asks for it again.
    hash: u64,
    form: Form,
    from: u32,
    key_from: u32,
    key_end: u32,
    name_from: u32,
    shape: KeyShape,
}

/// What a head stands for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'h> {
    pub key: SeriesKey<'h>,
    pub shape: KeyShape,
    /// The series' name.
    pub name: &'h [u8],
}

/// Memos between requests.
#[derive(Debug)]
pub struct HeadsPool {
    seed: u64,
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    heads: Vec<Heads>,
    /// Memos that are here or lent.
    made: usize,
}

/// A memo that is lent; it goes back whatever happens.
struct Lent<'p> {
    pool: &'p HeadsPool,
    heads: Heads,
}

// === impl Heads ===

impl Heads {
    /// Nothing known. The seed makes collisions unforeseeable to senders; no result depends on it.
    pub fn new(seed: u64) -> Heads {
        Heads {
            hasher: FixedState::with_seed(seed),
            heads: Vec::new(),
            table: HashTable::new(),
            next: 0,
            bytes: Vec::new(),
            bytes_max: HEADS_BYTES_MAX,
            is_full: false,
            found: 0,
            missed: 0,
            resting: 0,
            rest: REST_REQUESTS,
        }
    }

    /// One that remembers nothing.
    fn none(seed: u64) -> Heads {
        Heads {
            resting: u32::MAX,
            ..Heads::new(seed)
        }
    }

    /// Another request begins: here alone is anything forgotten, so that what was found stays true
    /// until the next.
    pub fn begin(&mut self) {
        if self.resting > 0 {
            self.resting -= 1;
        } else if self.is_full {
            let (resting, rest) = if self.found < self.missed {
                (self.rest, (2 * self.rest).min(REST_REQUESTS_MAX))
            } else {
                (0, REST_REQUESTS)
            };
            *self = Heads {
                hasher: self.hasher.clone(),
                bytes_max: self.bytes_max,
                resting,
                rest,
                ..Heads::new(0)
            };
        }
    }

    fn held_bytes(&self) -> usize {
        self.bytes.len() + ENTRY_BYTES * self.heads.len()
    }

    #[inline]
    fn hash(&self, form: Form, head: &[u8]) -> u64 {
        self.hasher.hash_one((form as u8, head))
    }

    #[inline]
    fn look_up(&mut self, form: Form, head: &[u8]) -> Option<Head> {
        let is_it = |known: &Head| {
            let bytes = &self.bytes[known.from as usize..known.key_from as usize];
            known.form == form && bytes == head
        };
        let number = match self.heads.get(self.next) {
            Some(known) if is_it(known) => self.next,
            _ => {
                let hash = self.hash(form, head);
                let is_it = |number: &u32| is_it(&self.heads[*number as usize]);
                *self.table.find(hash, is_it)? as usize
            }
        };
        self.next = number + 1;
        Some(self.heads[number])
    }

    #[inline]
    fn find_key(&mut self, form: Form, head: &[u8]) -> Option<Head> {
        if self.resting > 0 || head.len() > HEAD_BYTES_MAX {
            return None;
        }
        let known = self.look_up(form, head);
        self.found += u64::from(known.is_some());
        self.missed += u64::from(known.is_none());
        known
    }

    #[inline]
    fn key_of(&self, known: Head) -> &[u8] {
        &self.bytes[known.key_from as usize..known.key_end as usize]
    }

    /// The key that was made of a head.
    #[inline]
    pub(super) fn find(&mut self, form: Form, head: &[u8]) -> Option<Found<'_>> {
        let known = self.find_key(form, head)?;
        let key = self.key_of(known);
        let name = &self.bytes[known.name_from as usize..];
        Some(Found {
            key: SeriesKey::of_sorted(key),
            shape: known.shape,
            name: &name[..known.shape.name_bytes],
        })
    }

    /// Remembers the key that was made of a head, while there is room.
    pub(super) fn keep(&mut self, form: Form, head: &[u8], key: SeriesKey<'_>, shape: KeyShape) {
        let name = key.name();
        let name_at = name.as_ptr() as usize - key.as_bytes().as_ptr() as usize;
        self.put(form, head, key.as_bytes(), name_at, shape);
    }

    fn put(&mut self, form: Form, head: &[u8], key: &[u8], name_at: usize, shape: KeyShape) {
        if self.resting > 0 || head.len().max(key.len()) > HEAD_BYTES_MAX {
            return;
        }
        let next = self.next;
        if self.look_up(form, head).is_some() {
            // It was known, and its finder had another reason to read it the long way.
            return;
        }
        self.next = next;
        let needed = head.len() + key.len() + ENTRY_BYTES;
        self.is_full |= self.held_bytes() + needed > self.bytes_max;
        if self.is_full {
            return;
        }
        let from = self.bytes.len();
        let (key_from, key_end) = (from + head.len(), from + head.len() + key.len());
        let Ok(key_end_at) = u32::try_from(key_end) else {
            return;
        };
        self.bytes.extend_from_slice(head);
        self.bytes.extend_from_slice(key);
        let hash = self.hash(form, head);
        let known = Head {
            hash,
            form,
            from: from as u32,
            key_from: key_from as u32,
            key_end: key_end_at,
            name_from: (key_from + name_at) as u32,
            shape,
        };
        let (heads, number) = (&self.heads, self.heads.len() as u32);
        self.table
            .insert_unique(hash, number, |number| heads[*number as usize].hash);
        self.heads.push(known);
        self.next = self.heads.len();
    }

    /// The labels that were made of a head of JSON.
    #[inline]
    pub(super) fn labels(&mut self, head: &[u8]) -> Option<Labels> {
        let found = self.find_key(Form::Json, head)?;
        Some(Labels::of_sorted(self.key_of(found)))
    }

    /// Remembers the labels that were made of a head of JSON, while there is room.
    pub(super) fn keep_labels(&mut self, head: &[u8], labels: &Labels) {
        self.put(Form::Json, head, labels.as_bytes(), 0, KeyShape::default());
    }

    /// A number for bytes that stand above many heads: the same for the same bytes, until the next
    /// request. `None` where there is no room for another.
    pub(super) fn context(&mut self, bytes: &[u8]) -> Option<u32> {
        if let Some(known) = self.find_key(Form::OtlpContext, bytes) {
            return Some(known.from);
        }
        let from = u32::try_from(self.bytes.len()).ok()?;
        self.put(Form::OtlpContext, bytes, &[], 0, KeyShape::default());
        (self.bytes.len() > from as usize).then_some(from)
    }
}

// === impl HeadsPool ===

impl HeadsPool {
    /// No memos yet.
    pub fn new(seed: u64) -> HeadsPool {
        HeadsPool {
            seed,
            idle: Mutex::default(),
        }
    }

    /// Lends a memo to who decodes a request.
    pub fn with<T>(&self, decode: impl FnOnce(&mut Heads) -> T) -> T {
        match self.lend() {
            Some(mut lent) => {
                lent.heads.begin();
                decode(&mut lent.heads)
            }
            None => decode(&mut Heads::none(self.seed)),
        }
    }

    fn lend(&self) -> Option<Lent<'_>> {
        let mut idle = self.lock();
        let heads = match idle.heads.pop() {
            Some(heads) => heads,
            None if idle.made < HEADS_POOL_MAX => {
                idle.made += 1;
                Heads::new(self.seed)
            }
            None => return None,
        };
        Some(Lent { pool: self, heads })
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        // Every change to it leaves it whole.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let heads = std::mem::replace(&mut self.heads, Heads::none(0));
        let mut idle = self.pool.lock();
        if std::thread::panicking() {
            // It may have been left half-way through a change.
            idle.made -= 1;
        } else {
            idle.heads.push(heads);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: KeyShape = KeyShape {
        name_bytes: 1,
        label_count: 1,
        label_bytes: 2,
    };

    fn key(value: &str) -> Vec<u8> {
        [b"__name__\xffm\xffa\xff", value.as_bytes(), b"\xff"].concat()
    }

    #[test]
    fn a_head_is_found_in_its_own_form_only() {
        let mut heads = Heads::new(7);
        let key = key("1");
        heads.keep(Form::Text, b"m{a=\"1\"}", SeriesKey::of_sorted(&key), SHAPE);
        let found = heads.find(Form::Text, b"m{a=\"1\"}").expect("kept");
        assert_eq!(
            (found.key.as_bytes(), found.shape, found.name),
            (&*key, SHAPE, &b"m"[..])
        );
        assert!(heads.find(Form::Write, b"m{a=\"1\"}").is_none());
        assert!(heads.find(Form::Text, b"m{a=\"1\"} ").is_none());
    }

    #[test]
    fn contexts_have_a_number_each() {
        let mut heads = Heads::new(7);
        let numbers = ["a", "b", "a", ""].map(|text| heads.context(text.as_bytes()));
        assert!(numbers[0].is_some() && numbers[0] == numbers[2]);
        assert!(numbers[1].is_some() && numbers[1] != numbers[0]);
        assert_eq!(numbers[3], None, "nothing has no number of its own");
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_is_of_no_use_rests() {
        let mut heads = Heads::new(7);
        heads.bytes_max = 5_000;
        let head = |number: usize| format!("head {number}").into_bytes();
        for number in 0..1_000 {
            let key = key(&number.to_string());
            heads.keep(Form::Text, &head(number), SeriesKey::of_sorted(&key), SHAPE);
            assert!(heads.held_bytes() <= heads.bytes_max);
        }
        assert!(heads.find(Form::Text, &head(0)).is_some(), "it is in use");
        heads.begin();
        assert_eq!((heads.resting, heads.table.len()), (0, 0));
        for round in 0..2 {
            for number in 0..1_000 {
                let key = key(&number.to_string());
                assert!(heads.find(Form::Text, &head(number + round)).is_none());
                let head = format!("other {number}");
                heads.keep(
                    Form::Text,
                    head.as_bytes(),
                    SeriesKey::of_sorted(&key),
                    SHAPE,
                );
            }
            heads.begin();
            assert_eq!(heads.resting, REST_REQUESTS - round as u32);
            assert_eq!((heads.bytes.len(), heads.context(b"a")), (0, None));
        }
        // Again of no use, and so for longer.
        (1..REST_REQUESTS).for_each(|_| heads.begin());
        assert_eq!(heads.resting, 0);
        for number in 0..1_000 {
            assert!(heads.find(Form::Text, &head(number)).is_none());
            let key = key(&number.to_string());
            heads.keep(
                Form::Text,
                &head(number + 1_000),
                SeriesKey::of_sorted(&key),
                SHAPE,
            );
        }
        heads.begin();
        assert_eq!(heads.resting, 2 * REST_REQUESTS);
        // It never rests for longer than that, and begins anew once it was of use.
        heads.rest = REST_REQUESTS_MAX;
        for (found, missed, rest) in [(0, 1, REST_REQUESTS_MAX), (1, 0, REST_REQUESTS)] {
            (heads.is_full, heads.resting) = (true, 0);
            (heads.found, heads.missed) = (found, missed);
            heads.begin();
            assert_eq!(heads.rest, rest);
            assert_eq!(heads.resting, if found > 0 { 0 } else { REST_REQUESTS_MAX });
        }
    }

    #[test]
    fn a_head_is_kept_once_and_only_where_it_is_short() {
        let mut heads = Heads::new(7);
        let key = key("1");
        for _ in 0..3 {
            heads.keep(Form::Text, b"m", SeriesKey::of_sorted(&key), SHAPE);
        }
        assert_eq!((heads.heads.len(), heads.table.len()), (1, 1));
        for (length, is_kept) in [(HEAD_BYTES_MAX, true), (HEAD_BYTES_MAX + 1, false)] {
            let head = vec![b'x'; length];
            heads.keep(Form::Text, &head, SeriesKey::of_sorted(&key), SHAPE);
            assert_eq!(heads.find(Form::Text, &head).is_some(), is_kept);
            assert_eq!(heads.context(&head).is_some(), is_kept);
        }
    }

    #[test]
    fn a_memo_is_lent_to_one_request_at_a_time() {
        let pool = HeadsPool::new(7);
        let count = || pool.lock().heads.len();
        pool.with(|first| {
            first.context(b"a");
            pool.with(|second| assert!(second.table.is_empty()));
            assert_eq!(count(), 1);
        });
        assert_eq!(count(), 2);
        pool.with(|last| assert_eq!(last.table.len(), 1, "the last one given back"));
        let lent: Vec<_> = (0..HEADS_POOL_MAX).map(|_| pool.lend()).collect();
        assert!(lent.iter().all(Option::is_some));
        pool.with(|none| assert_eq!(none.context(b"a"), None, "all are lent"));
        drop(lent);
        let panicked = std::panic::catch_unwind(|| pool.with(|_| panic!("half-way")));
        assert!(panicked.is_err());
        assert_eq!(
            (count(), pool.lock().made),
            (HEADS_POOL_MAX - 1, HEADS_POOL_MAX - 1)
        );
    }
}
