//! What people and controllers ask for, as text: few and short.

use serde::{Deserialize, Serialize};

use crate::engine::audit::Requester;
use crate::engine::messages::Input;
use crate::judge::verdict::OverrideTo;

/// A start as text: plans are read as they are written in recordings.
#[derive(Serialize, Deserialize)]
pub(super) struct StartText<S> {
    pub id: String,
    pub plan: S,
    pub arms: std::collections::BTreeMap<String, String>,
    pub change: crate::model::Change,
    pub key: Option<String>,
    pub digest: String,
    pub by: Option<Requester>,
}

/// A change by a person or a controller as text.
#[derive(Serialize, Deserialize)]
pub(super) struct ChangeText {
    pub analysis: String,
    /// Name of a step; who cancelled or decided.
    pub name: Option<String>,
    pub weight: Option<f64>,
    /// Whether further steps follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow: Option<bool>,
    /// What was decided otherwise.
    pub to: Option<OverrideTo>,
    pub why: Option<String>,
    pub by: Option<Requester>,
}

// === impl ChangeText ===

impl ChangeText {
    /// What an input changes; nothing of those that have a form of their own.
    pub fn of(input: &Input) -> ChangeText {
        let none = ChangeText {
            analysis: String::new(),
            name: None,
            weight: None,
            follow: None,
            to: None,
            why: None,
            by: None,
        };
        match input.clone() {
            Input::Step {
                analysis,
                name,
                weight,
                steps_follow,
                by,
            } => ChangeText {
                analysis,
                name: Some(name),
                weight,
                follow: steps_follow,
                by,
                ..none
            },
            Input::Cancel {
                analysis,
                actor,
                reason,
                by,
            } => ChangeText {
                analysis,
                name: actor,
                why: reason,
                by,
                ..none
            },
            Input::Override {
                analysis,
                to,
                actor,
                reason,
                by,
            } => ChangeText {
                analysis,
                name: actor,
                to: Some(to),
                why: Some(reason),
                by,
                ..none
            },
            _ => none,
        }
    }
}
