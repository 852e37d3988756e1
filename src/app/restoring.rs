//! What an earlier process was given and has not finished: taken again from the sample log.
//!
//! Owns when the log can be used. The machine gives the same for the same inputs, so the inputs are
//! all that is kept: analyses go on with the same ticks, the same alpha spent, the same thresholds.
//! What the store has already is not written again. Another engine would give something else, so what
//! ran under one is not gone on with. Next: [`crate::log::local`], the log; `keeping`, which ends what
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
use crate::engine::{Input, Limits, State};
use crate::http::link::Perform as _;
use crate::judge::ENGINE_REVISION;
use crate::log::local::{Found, LocalLog, OpenError, Sync, open_folder};

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
    let written = machine.store.position().await?;
    let (done, restored) = oneshot::channel();
    std::thread::Builder::new()
        .name("davy-restore".into())
        .spawn(move || {
            let result = restore(&mut machine, &folder, written, &limits, sync);
            // Nobody waits any more where the start was given up.
            let _ = done.send(result.map(|()| machine));
        })
        .context("cannot start a thread")?;
    restored
        .await
        .context("the sample log could not be taken again")?
}

/// Gives a machine what the log of a folder holds, and opens the log for what comes next. `written`
/// is the number of the last input whose consequences the store has.
fn restore(
    machine: &mut Machine,
    folder: &Path,
    written: u64,
    limits: &Limits,
    sync: Sync,
) -> anyhow::Result<()> {
    let folder = folder.join(FOLDER);
    let begun = machine.clock.now();
    let mut chapter = Chapter::default();
    let mut other = None;
    let mut inputs = 0_u64;
    let found = open_folder(&folder, |found| -> Result<(), Unreadable> {
        match found {
            Found::Head(text) => {
                chapter = Chapter::default();
                let head = serde_json::from_slice(text).ok();
                match head.filter(|head: &Head| {
                    (head.form, head.engine_revision) == (FORM, ENGINE_REVISION)
                }) {
                    Some(head) => machine.state.set_limits(head.limits),
                    None => other = Some("another version of davy wrote it"),
                }
            }
            Found::Frame(number, frame) if other.is_none() => {
                let logged = chapter.read(frame);
                let logged = logged.map_err(|bad| Unreadable::Frame(bad, number))?;
                machine.take_again(logged, number, written);
                inputs += 1;
            }
            Found::Frame(..) => {}
        }
        Ok(())
    });
    let next = found.with_context(|| format!("cannot go on with {}", folder.display()))?;
    if inputs > 0 && written >= next && other.is_none() {
        other = Some("it is older than the database beside it");
    }
    if let Some(why) = other {
        tracing::warn!(why, folder = %folder.display(), "the sample log cannot be gone on with");
        machine.state = State::new(limits.clone());
        machine.running.clear();
    }
    let next = next.max(written + 1);
    machine.state.set_limits(limits.clone());
    machine.state.keep_journal();
    let head = serde_json::to_vec(&Head {
        form: FORM,
        engine_revision: ENGINE_REVISION,
        limits: limits.clone(),
    })?;
    let metrics = Arc::clone(&machine.metrics);
    let log = LocalLog::begin(&folder, &head, next, sync, metrics)
        .with_context(|| format!("cannot write to {}", folder.display()))?;
    if other.is_some() {
        log.keep_from(next);
    }
    machine.log = Some(log);
    let running = machine.state.running().count();
    if running > 0 {
        machine.perform(Input::Resumed);
    }
    if inputs > 0 {
        let took_ms = machine.clock.now().since(begun);
        tracing::info!(inputs, running, took_ms, "the sample log was taken again");
    }
    Ok(())
}
