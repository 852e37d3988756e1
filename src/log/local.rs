//! The sample log in a folder: segments that are written one after another.
//!
//! Owns the thread that writes. What is appended while it syncs is written and synced together next,
//! so that a hundred requests wait for one sync, and none for two more than it must. A segment begins
//! with a chapter of the journal; a start never appends to a segment of an earlier process. It must
//! not know what a frame says. Next: `segment`, the form of a file; `recover`, what a crash left.

mod checkpoint;
mod recover;
mod segment;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use super::frame;
use super::{Hurry, LogFailed, Progress, Ticket};
use crate::telemetry::Metrics;
pub use checkpoint::Checkpoint;
pub use recover::{Found, OpenError, clear_folder, repair, replay};
use segment::Segment;

/// Bytes that may wait for the disk; past it no samples are taken.
pub const WAITING_BYTES_MAX: usize = 64 << 20;
/// How long what nobody waits for may wait for the disk.
const UNASKED_WAIT_MAX: Duration = Duration::from_secs(1);
/// Wait before what could not be written is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// When a frame counts as taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Once it is on the disk.
    Acknowledged,
    /// At once; it is on the disk so much later at most.
    Periodic(Duration),
}

/// How the log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// When a frame counts as taken.
    pub sync: Sync,
    /// A segment that is as long as this is full; a checkpoint is made then. So much is taken again
    /// after a crash.
    pub segment_bytes: u64,
}

/// Deletes the segments that hold frames below this number only: a checkpoint that is on the disk
/// stands for them.
///
/// # Errors
/// What the system says.
pub fn keep_from(folder: &Path, number: u64) -> std::io::Result<()> {
    sync_folder(folder)?;
    segment::delete_below(folder, number)
}

/// A checkpoint that is large is made seldom: so many times its bytes are logged before the next.
const CHECKPOINT_FACTOR: u64 = 2;

/// The end that is appended to.
#[derive(Debug)]
pub struct LocalLog {
    shared: Arc<Shared>,
    settings: Settings,
    folder: PathBuf,
    head: Vec<u8>,
    /// Number of the next frame.
    next: u64,
    /// Bytes since the last checkpoint, those of earlier processes too: one that is killed again and
    /// again must not leave ever more.
    bytes: u64,
    /// Bytes of the last checkpoint.
    checkpoint_bytes: u64,
    writer: Option<JoinHandle<()>>,
    progress: watch::Receiver<Progress>,
}

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Rung when there is something to write.
    bell: Condvar,
}

/// What waits for the disk.
#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Number of the last frame in it.
    last: u64,
    /// Where segments begin in it, and the number of the frame that each begins with.
    turns: Vec<(usize, u64)>,
    /// Somebody waits for the disk now.
    is_urgent: bool,
    is_stopping: bool,
    /// The disk does not take what waits: since it was last tried.
    is_stuck: bool,
}

/// The thread that writes.
struct Writer {
    folder: PathBuf,
    head: Vec<u8>,
    shared: Arc<Shared>,
    sync: Sync,
    progress: watch::Sender<Progress>,
    segment: Segment,
    metrics: Arc<Metrics>,
}

// === impl LocalLog ===

impl LocalLog {
    /// Begins a segment after what was found in the folder. `head` says under what its frames are to
    /// be read.
    ///
    /// # Errors
    /// What the system says.
    pub fn begin(
        folder: &Path,
        head: &[u8],
        next: u64,
        settings: Settings,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<LocalLog> {
        let (sender, progress) = watch::channel(Progress::Safe(next - 1));
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            bell: Condvar::new(),
        });
        let bytes = segment::bytes_of_all(folder)?;
        let writer = Writer {
            segment: Segment::create(folder, next, head)?,
            folder: folder.to_owned(),
            head: head.to_vec(),
            shared: shared.clone(),
            sync: settings.sync,
            progress: sender,
            metrics,
        };
        let thread = std::thread::Builder::new()
            .name("davy-log".into())
            .spawn(move || writer.run())?;
        Ok(LocalLog {
            shared,
            settings,
            folder: folder.to_owned(),
            head: head.to_vec(),
            next,
            bytes,
            checkpoint_bytes: 0,
            writer: Some(thread),
            progress,
        })
    }

    /// Appends a frame.
    pub fn append(&mut self, frame: &[u8]) -> Ticket {
        let number = self.next;
        self.next += 1;
        let mut waiting = self.waiting();
        let before = waiting.bytes.len();
        waiting.bytes.extend_from_slice(&frame::head(frame));
        waiting.bytes.extend_from_slice(frame);
        waiting.last = number;
        let bytes = (waiting.bytes.len() - before) as u64;
        drop(waiting);
        self.bytes += bytes;
        Ticket::new(number, self.progress.clone(), self.shared.clone())
    }

    /// Number of the last frame appended.
    pub fn last(&self) -> u64 {
        self.next - 1
    }

    /// Whether who sent the frame is answered only once it is safe.
    pub fn is_waited_for(&self) -> bool {
        self.settings.sync == Sync::Acknowledged
    }

    /// Whether samples may be taken: the disk takes what it is given, and is not far behind.
    pub fn has_room(&self) -> bool {
        let waiting = self.waiting();
        !waiting.is_stuck && waiting.bytes.len() < WAITING_BYTES_MAX
    }

    /// Whether a sync failed, so that nobody can tell what is on the disk.
    pub fn has_failed(&self) -> bool {
        *self.progress.borrow() == Progress::Failed
    }

    /// Whether so much was logged that a checkpoint is due, and a new segment with it.
    pub fn is_full(&self) -> bool {
        let enough = CHECKPOINT_FACTOR * self.checkpoint_bytes;
        self.bytes >= self.settings.segment_bytes.max(enough)
    }

    /// Begins a segment with the next frame.
    pub fn turn(&mut self) {
        self.bytes = 0;
        let mut waiting = self.waiting();
        let place = (waiting.bytes.len(), self.next);
        waiting.turns.push(place);
    }

    /// Tells how long the checkpoint is that stands for all before.
    pub fn checkpoint_bytes(&mut self, bytes: u64) {
        self.checkpoint_bytes = bytes;
    }

    /// Tells when everything that was appended is safe.
    pub fn ticket(&self) -> Ticket {
        Ticket::new(self.last(), self.progress.clone(), self.shared.clone())
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What its frames are read under.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.shared.waiting()
    }
}

impl Drop for LocalLog {
    /// Writes what waits.
    fn drop(&mut self) {
        self.waiting().is_stopping = true;
        self.shared.bell.notify_one();
        if let Some(writer) = self.writer.take() {
            // One that panicked has said so.
            let _ = writer.join();
        }
    }
}

impl Hurry for Shared {
    fn hurry(&self) {
        self.waiting().is_urgent = true;
        self.bell.notify_one();
    }
}

// === impl Shared ===

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is something to write, and takes it.
    fn take(&self, sync: Sync) -> Waiting {
        let interval = match sync {
            Sync::Acknowledged => UNASKED_WAIT_MAX,
            Sync::Periodic(interval) => interval,
        };
        let mut waiting = self.waiting();
        let mut is_late = false;
        loop {
            let is_due = !waiting.bytes.is_empty() && (waiting.is_urgent || is_late);
            if waiting.is_stopping || is_due {
                break;
            }
            let (next, timeout) = self
                .bell
                .wait_timeout(waiting, interval)
                .unwrap_or_else(PoisonError::into_inner);
            waiting = next;
            is_late = timeout.timed_out();
        }
        waiting.is_urgent = false;
        Waiting {
            bytes: std::mem::take(&mut waiting.bytes),
            turns: std::mem::take(&mut waiting.turns),
            ..*waiting
        }
    }
}

// === impl Writer ===

impl Writer {
    fn run(mut self) {
        loop {
            let taken = self.shared.take(self.sync);
            let is_last = taken.is_stopping;
            if taken.bytes.is_empty() {
                if is_last {
                    return;
                }
                continue;
            }
            if self.write_all(&taken).is_err() {
                // Nobody can tell what is on the disk.
                self.progress.send_replace(Progress::Failed);
                return;
            }
            self.progress.send_replace(Progress::Safe(taken.last));
            self.give_back(taken.bytes);
        }
    }

    /// The buffer is used again, unless it grew out of size.
    fn give_back(&self, mut bytes: Vec<u8>) {
        bytes.clear();
        let mut waiting = self.shared.waiting();
        if waiting.bytes.is_empty() && bytes.capacity() <= WAITING_BYTES_MAX / 16 {
            waiting.bytes = bytes;
        }
    }

    fn write_all(&mut self, taken: &Waiting) -> Result<(), LogFailed> {
        let mut from = 0;
        for &(place, number) in &taken.turns {
            self.write(&taken.bytes[from..place])?;
            from = place;
            self.insist(|writer| {
                writer.segment = Segment::create(&writer.folder, number, &writer.head)?;
                Ok(())
            })?;
        }
        self.write(&taken.bytes[from..])
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "times the disk for its metric; decides nothing"
    )]
    fn write(&mut self, bytes: &[u8]) -> Result<(), LogFailed> {
        if bytes.is_empty() {
            return Ok(());
        }
        let begun = std::time::Instant::now();
        self.insist(|writer| writer.segment.write(bytes))?;
        // After a sync that failed the system may have dropped what it could not write.
        self.segment.sync().map_err(|error| {
            tracing::error!(%error, "the sample log could not be synced, so davy stops");
            LogFailed
        })?;
        let log = &self.metrics.log;
        log.synced_bytes.inc_by(bytes.len() as u64);
        log.sync_duration.observe(begun.elapsed().as_secs_f64());
        Ok(())
    }

    /// Tries until it works: a disk that is full or read-only may be put right, and until then
    /// nothing is acknowledged.
    fn insist(
        &mut self,
        mut attempt: impl FnMut(&mut Writer) -> std::io::Result<()>,
    ) -> Result<(), LogFailed> {
        let mut is_told = false;
        while let Err(error) = attempt(self) {
            if !is_told {
                let folder = self.folder.display();
                tracing::error!(%error, %folder, "the sample log cannot be written; no samples are taken until it can");
                is_told = true;
            }
            self.metrics.log.stuck.set(1);
            let mut waiting = self.shared.waiting();
            waiting.is_stuck = true;
            if waiting.is_stopping {
                // What waits was never acknowledged.
                return Err(LogFailed);
            }
            drop(waiting);
            std::thread::sleep(RETRY_AFTER);
        }
        if is_told {
            tracing::info!("the sample log can be written again");
            self.metrics.log.stuck.set(0);
            self.shared.waiting().is_stuck = false;
        }
        Ok(())
    }
}

/// Syncs a folder, so that the names in it last.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests;
