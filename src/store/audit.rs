//! The audit log: every change of state, in an order that cannot be changed unnoticed.
//!
//! Owns the form of a row, what of it is hashed, and when the oldest go. Each row holds the hash of
//! the one before it, so that an edit, an insertion or a gap breaks the chain there. There is no key:
//! who may write to the database can make a whole new chain, and only a head that was exported before
//! shows it. It must not know what the rows are about. Next: `verify`.
//!
//! The hash of a row is SHA-256, as lowercase hexadecimal digits, of a JSON array without blanks, in
//! UTF-8, whose texts escape only what JSON must:
//! `["davy-audit-1",sequence,at,kind,actor,actor_name,actor_given,analysis,change,plan_hash,reason,`
//! `detail,inputs_sha256,verdict_sha256,engine_revision,previous]`; what a row has not is `null`.

mod verify;

use std::collections::VecDeque;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use verify::{Chain, Head, Verified, Wrong};

use crate::engine::audit::Requester;
use crate::judge::ENGINE_REVISION;
use crate::model::Timestamp;

/// Names the form of what is hashed.
pub const FORM: &str = "davy-audit-1";
/// What the first row has for the hash of the one before it.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Most rows that are read at once.
pub const PAGE_MAX: usize = 1_000;
/// Most rows of a process that keeps them in memory, whatever `store.audit_rows_max` allows: with
/// about 1 kB each, 50 MB.
pub const MEMORY_ROWS_MAX: u64 = 50_000;
/// Kind of the row that tells of deleted ones.
pub const ANCHOR: &str = "retention.anchor";
/// Kind of the row that tells what became of a change.
pub const CHANGE_OUTCOME: &str = "change.outcome";
/// Kinds of the rows that tell of configurations which clients of Kayenta keep here.
pub const CONFIGURATION_CREATED: &str = "configuration.created";
/// As [`CONFIGURATION_CREATED`].
pub const CONFIGURATION_REPLACED: &str = "configuration.replaced";
/// As [`CONFIGURATION_CREATED`].
pub const CONFIGURATION_DELETED: &str = "configuration.deleted";
/// All of them.
pub const CONFIGURATION_KINDS: [&str; 3] = [
    CONFIGURATION_CREATED,
    CONFIGURATION_REPLACED,
    CONFIGURATION_DELETED,
];
/// Past the most rows, one in so many goes: an anchor for each row would be half of the log.
const RETENTION_SHARE: u64 = 10;
/// Most rows that go at once: it is done while a verdict is written.
const RETENTION_STEP: u64 = 1_000;

/// Who did it, as a row says it.
pub const BY_DAVY: &str = "davy";
/// As [`BY_DAVY`]: somebody, where nobody is asked for a token.
pub const BY_ANYONE: &str = "anyone";

/// What a row says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Entry {
    /// When, unix milliseconds.
    pub at: i64,
    /// What happened: the type of an event, `step.entered`, `change.outcome`, `configuration.created`,
    /// `configuration.replaced`, `configuration.deleted` or `retention.anchor`.
    pub kind: String,
    /// Who did it: `davy`, `token:ID`, or `anyone` where nobody is asked for a token.
    pub actor: String,
    /// The token's name.
    pub actor_name: Option<String>,
    /// Who the request said it was; nobody has checked it.
    pub actor_given: Option<String>,
    /// Id of the analysis.
    pub analysis: Option<String>,
    /// Id of the change.
    pub change: Option<String>,
    /// Version of the plan.
    pub plan_hash: Option<String>,
    /// Why: as somebody said, or the verdict's message.
    pub reason: String,
    /// What else there is to say of this kind, as a JSON object in a text.
    pub detail: String,
    /// Digest of the recording's lines by then: SHA-256 of the digest before (32 zero bytes at first)
    /// and a line, for each line.
    pub inputs_sha256: Option<String>,
    /// SHA-256 of the verdict's body as JSON.
    pub verdict_sha256: Option<String>,
    /// Revision of the engine that judged.
    pub engine_revision: u32,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Row {
    /// Its number, from 1 without gaps.
    pub sequence: u64,
    /// What it says.
    #[serde(flatten)]
    pub entry: Entry,
    /// Hash of the row before it.
    pub previous: String,
    /// Its own hash.
    pub hash: String,
}

/// What an anchor says of the rows that were deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// Number of the last one that was.
    pub deleted_through: u64,
    /// Its hash.
    pub hash: String,
}

/// The rows of a process, for a store in memory.
#[derive(Debug)]
pub struct Log {
    rows: VecDeque<Row>,
    rows_max: u64,
}

/// SHA-256 as lowercase hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(bytes) {
        // A string takes everything.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

// === impl Entry ===

impl Entry {
    /// One of davy's own that is about nothing yet.
    pub fn new(at: Timestamp, kind: &str) -> Entry {
        Entry {
            at: at.millis(),
            kind: kind.to_owned(),
            actor: BY_DAVY.to_owned(),
            actor_name: None,
            actor_given: None,
            analysis: None,
            change: None,
            plan_hash: None,
            reason: String::new(),
            detail: "{}".to_owned(),
            inputs_sha256: None,
            verdict_sha256: None,
            engine_revision: ENGINE_REVISION,
        }
    }

    /// The same, asked for by somebody.
    pub fn by(self, by: Option<&Requester>, given: Option<&str>) -> Entry {
        Entry {
            actor: by.map_or(BY_ANYONE.to_owned(), |by| format!("token:{}", by.token)),
            actor_name: by.map(|by| by.name.clone()),
            actor_given: given.map(str::to_owned),
            ..self
        }
    }

    /// What is said before rows go.
    pub fn anchor(at: i64, anchor: &Anchor) -> Entry {
        Entry {
            reason: format!(
                "rows up to {} are deleted: store.audit_rows_max",
                anchor.deleted_through
            ),
            detail: serde_json::to_string(anchor).expect("plain data"),
            ..Entry::new(Timestamp(at), ANCHOR)
        }
    }
}

// === impl Row ===

impl Row {
    /// The row after one of this number and hash.
    pub fn after(sequence: u64, previous: &str, entry: Entry) -> Row {
        let mut row = Row {
            sequence: sequence + 1,
            entry,
            previous: previous.to_owned(),
            hash: String::new(),
        };
        row.hash = row.own_hash();
        row
    }

    /// The hash of what it says.
    pub fn own_hash(&self) -> String {
        let entry = &self.entry;
        let hashed = (
            FORM,
            self.sequence,
            entry.at,
            &entry.kind,
            &entry.actor,
            &entry.actor_name,
            &entry.actor_given,
            &entry.analysis,
            &entry.change,
            &entry.plan_hash,
            &entry.reason,
            &entry.detail,
            &entry.inputs_sha256,
            &entry.verdict_sha256,
            entry.engine_revision,
            &self.previous,
        );
        sha256(&serde_json::to_vec(&hashed).expect("plain data"))
    }
}

/// Number of the last row that is to go, where there are more than `rows_max` from `first` to `last`.
/// One more, the anchor, comes.
pub fn surplus(first: u64, last: u64, rows_max: u64) -> Option<u64> {
    let rows = (last + 1).saturating_sub(first);
    let kept = rows_max - rows_max / RETENTION_SHARE;
    let through = (last + 1).saturating_sub(kept.max(1));
    (rows > rows_max).then(|| through.min(first + RETENTION_STEP - 1))
}

// === impl Log ===

impl Log {
    /// An empty one.
    pub fn new(rows_max: u64) -> Log {
        Log {
            rows: VecDeque::new(),
            rows_max: rows_max.min(MEMORY_ROWS_MAX),
        }
    }

    /// Adds a row, and deletes the oldest where there are too many; how many.
    pub fn append(&mut self, entry: Entry) -> u64 {
        let at = entry.at;
        self.push(entry);
        let (Some(first), Some(last)) = (self.rows.front(), self.rows.back()) else {
            return 0;
        };
        let Some(through) = surplus(first.sequence, last.sequence, self.rows_max) else {
            return 0;
        };
        let first = first.sequence;
        let count = through + 1 - first;
        let place = self.place_after(through);
        let anchor = Anchor {
            deleted_through: through,
            hash: self.rows[place - 1].hash.clone(),
        };
        self.push(Entry::anchor(at, &anchor));
        self.rows.drain(..place);
        count
    }

    fn push(&mut self, entry: Entry) {
        let row = match self.rows.back() {
            Some(last) => Row::after(last.sequence, &last.hash, entry),
            None => Row::after(0, GENESIS, entry),
        };
        self.rows.push_back(row);
    }

    /// Where the first row above a number is: they have no gaps.
    fn place_after(&self, number: u64) -> usize {
        let first = self.rows.front().map_or(1, |row| row.sequence);
        let place = (number + 1).saturating_sub(first);
        usize::try_from(place).map_or(self.rows.len(), |place| place.min(self.rows.len()))
    }

    /// The last row.
    pub fn last(&self) -> Option<&Row> {
        self.rows.back()
    }

    /// Rows above a number.
    pub fn rows(&self, analysis: Option<&str>, after: u64, limit: usize) -> Vec<Row> {
        let of_it = |row: &&Row| analysis.is_none() || row.entry.analysis.as_deref() == analysis;
        self.rows
            .range(self.place_after(after)..)
            .filter(of_it)
            .take(limit)
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests;
