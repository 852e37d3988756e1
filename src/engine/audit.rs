//! What is said of every change of an analysis to those who look it up later.
//!
//! Owns what is worth it (looks are not), who caused it and why, and the digest of the inputs that
//! led to it. Where it is kept, and how nobody can change it unnoticed, is [`crate::store::audit`]'s.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::analysis::Analysis;
use super::messages::{Effect, Event, EventKind};
use crate::judge::verdict::VerdictBody;
use crate::model::Timestamp;

/// The token behind a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requester {
    /// Public id of the token.
    pub token: String,
    /// What people call it.
    pub name: String,
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// davy: by its inputs, or because time passed.
    Davy,
    /// Somebody who asked for it.
    Asked {
        /// Whose token it was; `None` where nobody is asked for one.
        by: Option<Requester>,
        /// Who, as the request says: nobody has checked it.
        given: Option<String>,
    },
}

/// Who did something, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Who.
    pub actor: Actor,
    /// Why, where somebody said so.
    pub reason: Option<String>,
}

/// A change of an analysis.
#[derive(Debug, Clone)]
pub struct Audited {
    /// Id of the analysis.
    pub analysis: String,
    /// What happened: the type of an event, or `step.entered`.
    pub kind: &'static str,
    /// When the engine saw it.
    pub at: Timestamp,
    /// Who did it, and why.
    pub cause: Cause,
    /// The verdict since.
    pub body: Arc<VerdictBody>,
    /// The step that was entered: its name, and the canary's weight in percent.
    pub step: Option<(String, Option<f64>)>,
    /// What had come by then, the input that caused it among it.
    pub inputs: InputsDigest,
}

/// Digest of the lines of a recording, one after the other: SHA-256 of the digest before (32 zero
/// bytes at first) and the line without its newline. So it is kept in 32 bytes, over any number of
/// lines and over checkpoints, and whoever has the recording can find the line it stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputsDigest([u8; 32]);

/// Kind of an entered step, which is no event: only those who look it up later are told.
pub const STEP_ENTERED: &str = "step.entered";

// === impl Cause ===

impl Cause {
    /// davy itself.
    pub fn own(reason: Option<String>) -> Cause {
        Cause {
            actor: Actor::Davy,
            reason,
        }
    }

    /// Somebody who asked.
    pub fn asked(by: Option<Requester>, given: Option<String>, reason: Option<String>) -> Cause {
        Cause {
            actor: Actor::Asked { by, given },
            reason,
        }
    }

    /// Who, as the request says.
    pub(super) fn given(&self) -> Option<&str> {
        match &self.actor {
            Actor::Davy => None,
            Actor::Asked { given, .. } => given.as_deref(),
        }
    }

    /// Why.
    pub(super) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }
}

// === impl InputsDigest ===

impl InputsDigest {
    /// Takes the next line.
    pub fn add(&mut self, line: &str) {
        let mut hasher = Sha256::new();
        hasher.update(self.0);
        hasher.update(line.as_bytes());
        self.0 = hasher.finalize().into();
    }
}

impl fmt::Display for InputsDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

// === impl Analysis ===

impl Analysis {
    /// What is said of an event; nothing of a look.
    pub(super) fn audited(&self, event: &Event, cause: &Cause) -> Option<Effect> {
        let is_look = event.kind == EventKind::Look;
        (!is_look).then(|| {
            Effect::Audit(Box::new(Audited {
                analysis: self.id.clone(),
                kind: event.kind.as_str(),
                at: event.at,
                cause: cause.clone(),
                body: event.body.clone(),
                step: None,
                inputs: self.inputs,
            }))
        })
    }

    /// Says that a step was entered.
    pub(super) fn audit_step(
        &self,
        name: &str,
        weight: Option<f64>,
        by: Option<Requester>,
        at: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        effects.push(Effect::Audit(Box::new(Audited {
            analysis: self.id.clone(),
            kind: STEP_ENTERED,
            at,
            cause: Cause::asked(by, None, None),
            body: Arc::new(self.body(crate::judge::verdict::GateKind::Final)),
            step: Some((name.to_owned(), weight)),
            inputs: self.inputs,
        })));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_the_documented_one() {
        let mut inputs = InputsDigest::default();
        assert_eq!(inputs.to_string(), "0".repeat(64));
        inputs.add("a");
        inputs.add("b");
        let hash = |bytes: &[u8]| -> [u8; 32] { Sha256::digest(bytes).into() };
        let first = hash(&[&[0; 32][..], b"a"].concat());
        let second = hash(&[&first[..], b"b"].concat());
        assert_eq!(inputs, InputsDigest(second));
    }
}
