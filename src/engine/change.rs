//! What a plan wants to be told of a change before it is judged.
//!
//! Owns the refusal of a change that lacks it, and of a start before it is one. What the fields mean is nobody's here.

use std::collections::BTreeMap;

use super::matching::ArmSelectors;
use super::messages::{Refusal, RefusalCode};
use crate::model::Change;
use crate::plan::{ChangeField, Plan};

/// Whether an analysis of this plan could begin for these arms and this change.
///
/// # Errors
/// Why not.
pub fn check_start(
    plan: &Plan,
    arms: &BTreeMap<String, String>,
    change: &Change,
) -> Result<(), Refusal> {
    require_change(plan, change)?;
    ArmSelectors::fill(plan, arms).map(drop)
}

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
