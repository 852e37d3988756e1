//! What a plan wants to be told of a change before it is judged.
//!
//! Owns the refusal of a change that lacks it. What the fields mean is nobody's here.

use super::messages::{Refusal, RefusalCode};
use crate::model::Change;
use crate::plan::{ChangeField, Plan};

/// Whether the change has every field that the plan requires.
///
/// # Errors
/// `change_incomplete`, with the names of those it lacks.
pub(super) fn require_change(plan: &Plan, change: &Change) -> Result<(), Refusal> {
    let missing: Vec<&str> = plan
        .change_require
        .iter()
        .filter_map(|field| {
            let (name, value) = match field {
                ChangeField::Id => ("id", &change.id),
                ChangeField::Revision => ("revision", &change.revision),
                ChangeField::Owner => ("owner", &change.owner),
                ChangeField::Namespace => ("namespace", &change.namespace),
                ChangeField::Service => ("service", &change.service),
                ChangeField::Environment => ("environment", &change.environment),
                ChangeField::Region => ("region", &change.region),
            };
            value
                .as_ref()
                .is_none_or(|value| value.is_empty())
                .then_some(name)
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!("the plan requires change.{}", missing.join(", change."));
    Err(Refusal {
        code: RefusalCode::ChangeIncomplete,
        message,
        help: Some("name the missing fields under \"change\" in the request".to_owned()),
    })
}
