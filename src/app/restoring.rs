//! What an earlier process was given and has not finished: taken again from the sample log.
//!
//! Owns when the log can be used. The machine gives the same for the same inputs, so the inputs are
//! all that is kept: analyses go on with the same ticks, the same alpha spent, the same thresholds.
//! What the store has already is not written again. Another engine would give something else, so what
//! ran under one is not gone on with. A checkpoint stands for all before it. Next: [`crate::log::local`], the log; `keeping`, which ends what
//! cannot go on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::machine::Machine;
use crate::config::daemon;
use crate::engine::journal::{Chapter, FORM, UnreadableFrame};
use crate::engine::{Input, Limits, State, checkpoint};
use crate::http::link::Perform as _;
use crate::judge::ENGINE_REVISION;
use crate::log::local::{
    Checkpoint, Found, LocalLog, OpenError, Settings, Sync, clear_folder, repair, replay,
};

/// Name of the log's folder.
const FOLDER: &str = "log";

/// Under what a segment's frames were written.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    form: u32,
    engine_revision: u32,
    limits: Limits,
}

/// Why the log cannot be read.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(
        "{0}, number {1}, and its checksum is right: this davy does not know what a newer one wrote; run that one, or move the folder `log` away: analyses that ran then end inconclusive, and nothing else is lost"
    )]
    Frame(UnreadableFrame, u64),
}

/// The machine as an earlier process left it, where it has a folder. Playing its inputs again may
/// take a while, so it has a thread of its own.
pub(super) async fn restored(
    mut machine: Machine,
    store: &daemon::Store,
    limits: Limits,
) -> anyhow::Result<Machine> {
    let Some(folder) = store.path.clone() else {
        return Ok(machine);
    };
    let sync = match store.durability {
        daemon::Durability::Acknowledged => Sync::Acknowledged,
        daemon::Durability::Periodic => {
            Sync::Periodic(Duration::from_millis(store.sync_interval_ms))
        }
    };
    let settings = Settings {
        sync,
        segment_bytes: store.segment_bytes,
    };
    let written = machine.store.position().await?;
    let (done, restored) = oneshot::channel();
    std::thread::Builder::new()
        .name("davy-restore".into())
        .spawn(move || {
            let result = restore(&mut machine, &folder, written, &limits, settings);
            // Nobody waits any more where the start was given up.
            let _ = done.send(result.map(|()| machine));
        })
        .context("cannot start a thread")?;
    restored
        .await
        .context("the sample log could not be taken again")?
}

/// What was found, and how far it was taken.
struct Taking<'m> {
    machine: &'m mut Machine,
    /// Number of the last input whose consequences the store has.
    written: u64,
    /// Number of the last input that a checkpoint stands for.
    known: Option<u64>,
    chapter: Chapter,
    inputs: u64,
    /// Why nothing can be gone on with.
    other: Option<&'static str>,
}

/// Gives a machine what the log of a folder holds, and opens the log for what comes next. `written`
/// is the number of the last input whose consequences the store has.
fn restore(
    machine: &mut Machine,
    folder: &Path,
    written: u64,
    limits: &Limits,
    settings: Settings,
) -> anyhow::Result<()> {
    let folder = folder.join(FOLDER);
    let unusable = || format!("cannot go on with {}", folder.display());
    let begun = machine.clock.now();
    machine.is_restoring = true;
    let mut taking = Taking {
        machine,
        written,
        known: None,
        chapter: Chapter::default(),
        inputs: 0,
        other: None,
    };
    let checkpoint = Checkpoint::newest(&folder).with_context(unusable)?;
    let known = checkpoint.as_ref().map(|checkpoint| checkpoint.number);
    let next = repair(&folder, known, written).with_context(unusable)?;
    // Before anything of it is believed: the store may know how it ended.
    let is_anything = next > 1;
    if is_anything && written >= next {
        taking.other = Some("it is older than the database beside it");
    }
    taking.begin_from(checkpoint);
    if taking.other.is_none() {
        let taken = replay(&folder, |found| taking.take(found));
        taken.with_context(unusable)?;
    }
    let (inputs, other) = (taking.inputs, taking.other);
    if let Some(why) = other {
        tracing::warn!(why, folder = %folder.display(), "the sample log cannot be gone on with");
        machine.state = State::new(limits.clone());
        machine.running.clear();
        clear_folder(&folder).with_context(unusable)?;
    }
    let next = next.max(written + 1);
    machine.state.set_limits(limits.clone());
    machine.state.keep_journal();
    let head = serde_json::to_vec(&Head::of(limits))?;
    let metrics = Arc::clone(&machine.metrics);
    let log = LocalLog::begin(&folder, &head, next, settings, metrics)
        .with_context(|| format!("cannot write to {}", folder.display()))?;
    machine.log = Some(log);
    if known.is_some() && other.is_none() {
        machine.store.tidy();
    }
    let running = machine.state.running().count();
    if running > 0 {
        machine.perform(Input::Resumed);
    }
    machine.is_restoring = false;
    if is_anything {
        let took_ms = machine.clock.now().since(begun);
        tracing::info!(inputs, running, took_ms, "the sample log was taken again");
    }
    Ok(())
}

// === impl Head ===

impl Head {
    fn of(limits: &Limits) -> Head {
        Head {
            form: FORM,
            engine_revision: ENGINE_REVISION,
            limits: limits.clone(),
        }
    }

    /// Reads one that this engine wrote.
    fn own(text: &[u8]) -> Option<Head> {
        let head: Head = serde_json::from_slice(text).ok()?;
        let is_own = (head.form, head.engine_revision) == (FORM, ENGINE_REVISION);
        is_own.then_some(head)
    }
}

// === impl Taking ===

impl Taking<'_> {
    /// Begins where a checkpoint was made.
    fn begin_from(&mut self, checkpoint: Option<Checkpoint>) {
        let Some(checkpoint) = checkpoint else {
            return;
        };
        self.known = Some(checkpoint.number);
        // Recordings are read whatever becomes of the rest.
        let remembered = self.machine.store.remember(&checkpoint.recordings);
        if self.other.is_some() {
            return;
        }
        let Some(head) = Head::own(&checkpoint.head) else {
            self.other = Some("another version of davy wrote it");
            return;
        };
        let loaded = checkpoint::load(&checkpoint.state, head.limits);
        match (loaded, remembered) {
            (Ok(state), Ok(())) => {
                let running = state.running().filter(|id| {
                    let analysis = state.analysis(id);
                    analysis.is_some_and(|analysis| !analysis.is_final())
                });
                self.machine.running = running.map(str::to_owned).collect();
                self.machine.state = state;
            }
            (loaded, remembered) => {
                let error = loaded.err().map(|error| error.to_string());
                let error = error.or(remembered.err().map(|error| error.to_string()));
                tracing::error!(error, "the checkpoint cannot be read");
                self.other = Some("its checkpoint cannot be read");
            }
        }
    }

    fn take(&mut self, found: Found<'_>) -> Result<(), Unreadable> {
        match found {
            Found::Head(text) => {
                self.chapter = Chapter::default();
                match Head::own(text) {
                    Some(head) => self.machine.state.set_limits(head.limits),
                    None => self.other = Some("another version of davy wrote it"),
                }
            }
            Found::Frame(number, frame) if self.other.is_none() => {
                let logged = self.chapter.read(frame);
                let logged = logged.map_err(|bad| Unreadable::Frame(bad, number))?;
                // Segments that a checkpoint stands for may be left over.
                if self.known.is_none_or(|known| number > known) {
                    self.machine.take_again(logged, number, self.written);
                    self.inputs += 1;
                }
            }
            Found::Frame(..) => {}
        }
        Ok(())
    }
}
