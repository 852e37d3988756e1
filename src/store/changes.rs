//! What became of a change, as people said.
//!
//! Owns the words. The truth behind a verdict is known later than it, and to people only: figures of
//! failed changes and of false alarms are made of it.

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeOutcome {
    /// It was rolled out, and was well.
    Promoted,
    /// It was taken back, rightly.
    RolledBack,
    /// It did harm.
    Incident,
    /// It was taken back or held, and nothing was wrong with it.
    FalseAlarm,
}

/// What somebody said of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeTold {
    /// Id of the change.
    pub change: String,
    /// Whose it is.
    pub namespace: Option<String>,
    /// What became of it.
    pub outcome: ChangeOutcome,
    /// Who said so, as the request says.
    pub actor: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
}

// === impl ChangeOutcome ===

impl ChangeOutcome {
    /// All of them.
    pub const ALL: [ChangeOutcome; 4] = [
        ChangeOutcome::Promoted,
        ChangeOutcome::RolledBack,
        ChangeOutcome::Incident,
        ChangeOutcome::FalseAlarm,
    ];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            ChangeOutcome::Promoted => "promoted",
            ChangeOutcome::RolledBack => "rolled_back",
            ChangeOutcome::Incident => "incident",
            ChangeOutcome::FalseAlarm => "false_alarm",
        }
    }

    /// The one that is written so.
    pub fn named(text: &str) -> Option<ChangeOutcome> {
        let mut all = ChangeOutcome::ALL.into_iter();
        all.find(|outcome| outcome.as_str() == text)
    }
}
