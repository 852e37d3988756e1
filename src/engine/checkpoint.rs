//! Everything the machine knows as bytes, and back.
//!
//! Owns the form of a checkpoint: what comes back goes on exactly as what was saved would have. What
//! follows from the rest (matchers, tables, memos, null paths) is not in it but made again. It must
//! not know where the bytes are kept, nor vouch for them: who keeps them checks that they are whole.
//!
//! Each part of the state says beside its fields what is not saved and why.

pub(super) mod as_json;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::analysis::Analysis;
use super::{Limits, State};
use crate::judge::ENGINE_REVISION;
use crate::plan::{Plan, SavedPlan};

/// What every checkpoint begins with.
const MARK: &[u8; 8] = b"davyckpt";
/// Version of the form: raise it with every change of what is saved.
pub const FORM: u32 = 5;
/// The mark, the form and the engine's revision.
const HEADER_BYTES: usize = MARK.len() + 8;

/// Why bytes are not a checkpoint of this davy.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// They do not begin as one.
    #[error("not a checkpoint of davy")]
    NotOne,
    /// Its form is of another version.
    #[error("the checkpoint has the form {found}; this davy reads {FORM}")]
    WrongForm {
        /// The checkpoint's form.
        found: u32,
    },
    /// Another engine would have judged otherwise from there on.
    #[error("the checkpoint is of engine revision {found}; this davy has {ENGINE_REVISION}")]
    OtherEngine {
        /// The revision that saved it.
        found: u32,
    },
    /// It is cut off, or was changed.
    #[error("the checkpoint cannot be read: {0}")]
    Malformed(String),
}

#[derive(Serialize)]
struct Saving<'s> {
    plans: Vec<SavedPlan>,
    /// The plan's number, by analysis.
    of: Vec<usize>,
    state: &'s State,
}

#[derive(Deserialize)]
struct Saved {
    plans: Vec<SavedPlan>,
    of: Vec<usize>,
    state: State,
}

/// Plans, each once.
#[derive(Default)]
struct PlansOnce {
    /// By where they lie, and whether matchers are left out: most analyses share one.
    by_place: BTreeMap<(*const Plan, bool), usize>,
    by_text: BTreeMap<SavedPlan, usize>,
}

/// The whole state as bytes: the same state gives the same bytes.
pub fn save(state: &State) -> Vec<u8> {
    let mut bytes = MARK.to_vec();
    bytes.extend_from_slice(&FORM.to_le_bytes());
    bytes.extend_from_slice(&ENGINE_REVISION.to_le_bytes());
    let mut once = PlansOnce::default();
    let of = state.analyses.values().map(|one| once.number_of(one));
    let of = of.collect();
    let saving = Saving {
        plans: once.in_order(),
        of,
        state,
    };
    postcard::to_extend(&saving, bytes).expect("the state is plain data")
}

/// The state that [`save`] made these bytes of. Limits are those of now, but for the seed by which
/// series are found: that is saved, and what was decided at the start of an analysis stays with it.
///
/// # Errors
/// [`CheckpointError`]; there is no state then.
pub fn load(bytes: &[u8], limits: Limits) -> Result<State, CheckpointError> {
    let malformed = |what: &str| CheckpointError::Malformed(what.to_owned());
    let body = read_header(bytes)?;
    let (saved, rest) = postcard::take_from_bytes::<Saved>(body)
        .map_err(|error| CheckpointError::Malformed(error.to_string()))?;
    if !rest.is_empty() {
        return Err(malformed("bytes follow its end"));
    }
    let Saved {
        plans,
        of,
        mut state,
    } = saved;
    let plans = plans.into_iter().map(|plan| plan.plan().map(Arc::new));
    let plans: Vec<Arc<Plan>> = plans
        .collect::<Result<_, _>>()
        .map_err(|error| CheckpointError::Malformed(error.to_string()))?;
    if of.len() != state.analyses.len() {
        return Err(malformed("not every analysis has a plan"));
    }
    for ((id, analysis), number) in state.analyses.iter_mut().zip(of) {
        let plan = plans.get(number).ok_or_else(|| malformed("no such plan"))?;
        if *id != analysis.id {
            return Err(malformed("an analysis has another id"));
        }
        analysis.settle(plan.clone()).map_err(malformed)?;
    }
    state.limits = limits;
    state.reseed();
    Ok(state)
}

/// What follows the header.
fn read_header(bytes: &[u8]) -> Result<&[u8], CheckpointError> {
    let body = bytes.get(HEADER_BYTES..).ok_or(CheckpointError::NotOne)?;
    let number = |at: usize| {
        let bytes = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
        bytes.map_or(0, u32::from_le_bytes)
    };
    let (form, revision) = (number(MARK.len()), number(MARK.len() + 4));
    match () {
        () if !bytes.starts_with(MARK) => Err(CheckpointError::NotOne),
        () if form != FORM => Err(CheckpointError::WrongForm { found: form }),
        () if revision != ENGINE_REVISION => Err(CheckpointError::OtherEngine { found: revision }),
        () => Ok(body),
    }
}

// === impl PlansOnce ===

impl PlansOnce {
    fn number_of(&mut self, analysis: &Analysis) -> usize {
        let is_over = !analysis.takes_samples();
        let place = (Arc::as_ptr(&analysis.plan), is_over);
        if let Some(number) = self.by_place.get(&place) {
            return *number;
        }
        // Whether one that is over has kept its matchers depends on who else holds the plan.
        let saved = match is_over {
            true => analysis.plan.without_matchers().saved(),
            false => analysis.plan.saved(),
        };
        let next = self.by_text.len();
        let number = *self.by_text.entry(saved).or_insert(next);
        self.by_place.insert(place, number);
        number
    }

    fn in_order(self) -> Vec<SavedPlan> {
        let mut plans: Vec<_> = self.by_text.into_iter().collect();
        plans.sort_by_key(|(_, number)| *number);
        plans.into_iter().map(|(plan, _)| plan).collect()
    }
}
