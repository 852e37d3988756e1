//! A daemon's recording, played: its looks, and what else there is to tell.
//!
//! Owns the sentence about where the recording ends, and what of it could not be used. How the
//! lines are read and applied is `engine::recording`'s.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::LeftOut;
use crate::engine::recording::{self, PlayError};
use crate::engine::{Effect, EventKind};
use crate::judge::verdict::VerdictBody;
use crate::judge::{ENGINE_REVISION, sentence};
use crate::plan::Plan;

/// What a replay has to say besides the looks.
#[derive(Debug, Default)]
pub(in crate::cli) struct Told {
    /// Why the replay ends without a final verdict, where it does.
    pub ending: Option<String>,
    left_out: LeftOut,
    has_other_selectors: bool,
}

/// Revisions of the engine that recorded and of this one, where they are not the same.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct EngineChanged {
    recorded: u32,
    replayed: u32,
}

// === impl EngineChanged ===

impl EngineChanged {
    /// Whether another engine made this recording.
    pub fn since(text: &str) -> Result<Option<EngineChanged>, PlayError> {
        let recorded = recording::engine_revision(text.lines())?;
        let changed = EngineChanged {
            recorded,
            replayed: ENGINE_REVISION,
        };
        Ok(Some(changed).filter(|_| recorded != ENGINE_REVISION))
    }

    /// Warns on standard error that verdicts may not be those of the time.
    pub fn warn(&self, path: &Path) {
        eprintln!(
            "davy: warning: {}: recorded by engine revision {} and replayed by revision {}: the \
             engine changed, so verdicts may differ from those given then; a davy of revision {} \
             gives the same bytes",
            path.display(),
            self.recorded,
            self.replayed,
            self.recorded
        );
    }
}

// === impl Told ===

impl Told {
    /// Warns on standard error of what was not used.
    pub fn warn(&self, path: &Path) {
        if self.has_other_selectors {
            eprintln!(
                "davy: warning: {}: recorded samples are told apart by metric and arm already, so \
                 the plan's selectors, which differ from those they were recorded under, are not used",
                path.display()
            );
        }
        self.left_out.warn(path);
    }
}

// === functions ===

/// Plays a recording, under its own plan or another.
pub(in crate::cli) fn play(
    text: &str,
    plan: Option<Arc<Plan>>,
    mut on_effects: impl FnMut(&[Effect]),
) -> Result<Told, PlayError> {
    let mut left_out = LeftOut::default();
    let is_own = plan.is_none();
    let played = recording::play(text.lines(), plan, |effects| {
        left_out.add(&effects);
        on_effects(&effects);
    })?;
    let ending = match (played.is_final, is_own) {
        (true, _) => None,
        (false, true) => Some(ends_here(None)),
        (false, false) => Some(ends_here(final_verdict(text)?.as_ref())),
    };
    Ok(Told {
        ending,
        left_out,
        has_other_selectors: played.has_other_selectors,
    })
}

/// What the recording's own plan came to, if it was final: an analysis stops recording then.
fn final_verdict(text: &str) -> Result<Option<VerdictBody>, PlayError> {
    let mut last = None;
    recording::play(text.lines(), None, |effects| {
        for effect in effects {
            if let Effect::Event(event) = effect
                && event.kind == EventKind::VerdictFinal
            {
                last = Some((*event.body).clone());
            }
        }
    })?;
    Ok(last)
}

fn ends_here(original: Option<&VerdictBody>) -> String {
    match original {
        Some(body) => format!(
            "the recording ends here; the original analysis was final at {} ({}), so nothing after \
             it was recorded, and this plan's verdict is not final",
            sentence::span(body.elapsed_secs),
            body.verdict.as_str()
        ),
        None => "the recording ends here; the original analysis was not final when it was exported"
            .to_owned(),
    }
}
