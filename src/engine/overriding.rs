//! A person decides otherwise than the verdict asks.
//!
//! Owns what that changes: the decision, from now on and whatever the verdict becomes; never the
//! verdict. The analysis goes on as it would have. The same decision again changes nothing.

use super::analysis::Analysis;
use super::audit::Cause;
use super::messages::{Effect, EventKind};
use super::recording;
use crate::judge::verdict::{Override, OverrideTo};
use crate::model::{Outcome, Timestamp};

/// The sentence of a verdict whose decision is a person's; `told` is davy's own.
pub(super) fn sentence(overridden: &Override, outcome: Outcome, told: &str) -> String {
    let ask = match overridden.decision {
        OverrideTo::Promote => "promote",
        OverrideTo::Rollback => "roll back",
    };
    let by = overridden.actor.as_deref().unwrap_or("a person");
    let why = &overridden.reason;
    let found = told.split_once(": ").map_or(told, |(_, found)| found);
    format!(
        "{}, {ask} as {by} decided ({why}): {found}",
        outcome.as_str()
    )
}

// === impl Analysis ===

impl Analysis {
    /// Takes a person's decision.
    pub(super) fn decide_otherwise(
        &mut self,
        to: OverrideTo,
        cause: Cause,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let before = self.overridden.as_ref();
        if before.is_some_and(|before| before.decision == to) {
            return;
        }
        let overridden = Override {
            decision: to,
            actor: cause.given().map(str::to_owned),
            reason: cause.reason().unwrap_or_default().to_owned(),
            at: now.millis(),
        };
        self.touch(now);
        self.record(recording::overridden(&overridden), effects);
        self.overridden = Some(overridden);
        // A memo of the verdict that was.
        self.shown = None;
        // Of this decision everybody is told here.
        self.reported = (self.outcome().0, self.decision());
        self.emit(EventKind::Overridden, &cause, now, effects);
        effects.push(Effect::Changed(Box::new(self.view())));
    }
}
