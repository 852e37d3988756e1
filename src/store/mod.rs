//! Ports: what davy keeps, and how it is asked for.
//!
//! Owns the shape of what is kept (readable analyses, their events, their recordings, the webhook
//! outbox, what people and clients told) and the traits behind which it is kept. It must not know
//! where: [`memory`] keeps it in this process, [`sql`] in a database. Everything one input caused is
//! written by one [`Store::commit`], so that a verdict and its notifications exist together or not at
//! all. Next: `outbox`, the notifications; [`memory`], [`sql`], [`watch`].

pub mod audit;
pub mod changes;
pub mod configurations;
pub mod memory;
mod outbox;
mod packed;
mod recordings;
mod shelf;
pub mod sql;
pub mod watch;

pub use recordings::Shelving;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub use outbox::{
    DEAD_LETTERS_MAX, DeadLetter, Delivery, LetterFilter, LetterPage, Letters, Outbox, Redelivery,
    Settlement,
};

use crate::engine::{AnalysisView, Event, EventKind};
use crate::log::Ticket;
use crate::model::{Outcome, Timestamp};
use crate::plan::Plan;
use configurations::{Configuration, Head};

/// Largest page of a list.
pub const PAGE_MAX: usize = 200;
/// Events kept for each analysis: who resumes from further back learns that some are gone. Each
/// holds a whole verdict, 8 kB with ten checks before it is compressed, and a thousand analyses keep
/// theirs at once.
pub const EVENTS_KEPT_MAX: usize = 24;
/// Events kept of an analysis that is final: nobody follows it any more.
pub const EVENTS_KEPT_FINAL_MAX: usize = 16;

/// Bounds of what is kept.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Bytes of one analysis' recording, as it is read.
    pub recording_bytes_max: u64,
    /// Bytes that all recordings take together, compressed as they are; past it the oldest final
    /// analyses lose theirs.
    pub recordings_bytes_max: u64,
    /// Deliveries waiting for one endpoint: an endpoint that is down fills its own room only.
    pub outbox_max: usize,
    /// Audit rows; past it the oldest go, and a row says so.
    pub audit_rows_max: u64,
    /// Bytes of a database that deleted rows left and that are kept for new ones.
    pub free_bytes_max: u64,
}

/// Something that may take a while and may fail.
pub type Pending<'s, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 's>>;

/// The store could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the store failed: {message}")]
pub struct StoreError {
    /// For the log, never for a caller.
    pub message: String,
}

/// Everything that one or several inputs caused, in the order it happened.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// What to write.
    pub writes: Vec<Write>,
    /// Number in the sample log of the input that caused it; 0 where there is none. A store that
    /// outlives its process keeps it with what it writes: what came before need not come again.
    pub position: u64,
    /// What must be safe before this may be.
    pub after: Option<Ticket>,
}

/// One thing to write.
#[derive(Debug, Clone)]
pub enum Write {
    /// The readable state of an analysis: replaces the one before.
    View(Box<AnalysisView>),
    /// The plan of an analysis that begins. A store that outlives its process keeps it by its hash
    /// for as long as an analysis ran on it.
    Plan(Arc<Plan>),
    /// An event of an analysis.
    Event(Event),
    /// A line of an analysis' recording, without its newline.
    Record {
        /// Id of the analysis.
        analysis: String,
        /// The line.
        line: String,
    },
    /// A notification to be sent.
    Deliver(Delivery),
    /// A row of the audit log, at its end.
    Audit(Box<audit::Entry>),
    /// What became of a change.
    Outcome(changes::ChangeTold),
    /// A configuration: replaces the one of the same id.
    Configuration(Box<Configuration>),
    /// Delete the configuration of this id.
    DropConfiguration(String),
    /// Forget an analysis with its events and its recording. Deliveries are kept.
    Forget(String),
}

/// Which analyses a list holds. Empty fields do not filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// `change.service`.
    pub service: Option<String>,
    /// One of these is `change.namespace`.
    pub namespaces: Option<Arc<[String]>>,
    /// `change.id`.
    pub change: Option<String>,
    /// Name of the plan.
    pub plan: Option<String>,
    /// Verdict.
    pub verdict: Option<Outcome>,
    /// Started at or after this instant.
    pub started_from: Option<Timestamp>,
    /// Started before this instant.
    pub started_before: Option<Timestamp>,
}

impl Filter {
    /// Whether an analysis is in one of its namespaces.
    fn sees(&self, view: &AnalysisView) -> bool {
        self.namespaces.as_ref().is_none_or(|names| {
            let own = view.change.namespace.as_ref();
            own.is_some_and(|own| names.contains(own))
        })
    }
}

/// A place in the list, newest first: start time and id of the last analysis of a page.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// Start of the analysis.
    pub started_at: i64,
    /// Its id.
    pub id: String,
}

/// One page of a list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Newest first.
    pub analyses: Vec<Arc<AnalysisView>>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<Cursor>,
}

/// Events after a place.
#[derive(Debug, Clone, Default)]
pub struct EventsAfter {
    /// In order.
    pub events: Vec<KeptEvent>,
    /// Events between the place and the first one here are gone.
    pub gap: bool,
}

/// An event as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptEvent {
    /// Number of the event within the analysis, from 1.
    pub sequence: u64,
    /// What it is.
    pub kind: EventKind,
    /// Whether no event of this analysis follows.
    pub is_last: bool,
    /// The verdict at that moment, as JSON.
    pub body: String,
}

/// A text in order, some of it at a time: a recording may have more than is to be held at once.
pub type Pieces = Box<dyn Iterator<Item = Result<String, StoreError>> + Send>;

/// The recording of an analysis.
pub struct Recording {
    /// Its lines in order, each with its newline.
    pub text: Pieces,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Lines past this many bytes are not kept (0: none are any more); `None` when it is whole.
    pub truncated_at_bytes: Option<u64>,
}

/// What a commit found no room for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Losses {
    /// Deliveries that their endpoint's outbox had no room for; they are among the dead letters.
    pub refused: Vec<DeadLetter>,
    /// Recordings that are not whole from now on.
    pub cut: Vec<CutRecording>,
    /// Audit rows that were deleted.
    pub audit_rows_deleted: u64,
}

/// A recording that has just been cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutRecording {
    /// Id of the analysis.
    pub analysis: String,
    /// The limit: `recording_bytes` of one, or `recordings_bytes` of all.
    pub limit: &'static str,
}

/// What readers and the engine's loop ask of a store.
pub trait Store: Send + Sync {
    /// Writes everything, or nothing; events and lines may stand before the view of a new
    /// analysis. Returns what found no room.
    fn commit(&self, commit: Commit) -> Pending<'_, Losses>;
    /// Takes again what an earlier process has committed: only what is in memory learns of it.
    fn recall(&self, commit: Commit) -> Losses;
    /// What of recordings must be written for a checkpoint to hold; `None` where they end with the
    /// process.
    fn shelve(&self) -> Option<Shelving>;
    /// The checkpoint holds.
    fn shelved(&self, done: &Shelving);
    /// Takes what a checkpoint told of recordings.
    ///
    /// # Errors
    /// When it cannot be read.
    fn remember(&self, told: &[u8]) -> Result<(), StoreError>;
    /// Everything that an earlier process was given was taken again.
    fn tidy(&self);
    /// Number in the sample log of the last input whose commit is written; 0 where none is.
    fn position(&self) -> Pending<'_, u64>;
    /// One analysis.
    fn analysis<'s>(&'s self, id: &'s str) -> Pending<'s, Option<Arc<AnalysisView>>>;
    /// Analyses, newest first, after `cursor`, at most `limit` (to [`PAGE_MAX`]).
    fn list<'s>(
        &'s self,
        filter: &'s Filter,
        cursor: Option<&'s Cursor>,
        limit: usize,
    ) -> Pending<'s, Page>;
    /// Events of an analysis with a sequence number above `after`; `None` for an unknown one.
    fn events_after<'s>(&'s self, id: &'s str, after: u64) -> Pending<'s, Option<EventsAfter>>;
    /// Audit rows with a sequence number above `after`, in order, at most `limit` (to
    /// [`audit::PAGE_MAX`]); of one analysis where it is named.
    fn audit<'s>(
        &'s self,
        analysis: Option<&'s str>,
        after: u64,
        limit: usize,
    ) -> Pending<'s, Vec<audit::Row>>;
    /// The last audit row.
    fn audit_last(&self) -> Pending<'_, Option<audit::Row>>;
    /// What people said of a change, in each of its namespaces.
    fn outcomes<'s>(&'s self, change: &'s str) -> Pending<'s, Vec<changes::ChangeTold>>;
    /// All configurations, by name and id.
    fn configurations(&self) -> Pending<'_, Vec<Head>>;
    /// One configuration.
    fn configuration<'s>(&'s self, id: &'s str) -> Pending<'s, Option<Configuration>>;
    /// The recording of an analysis.
    fn recording<'s>(&'s self, id: &'s str) -> Pending<'s, Option<Recording>>;
}
