//! Configurations that clients of Kayenta keep here.
//!
//! Owns what is kept of one. What a document means, and which may be kept, is not its business.

use crate::model::Timestamp;

/// A configuration as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Head {
    /// Its name, which need not be unique.
    pub name: String,
    /// Its id, which is.
    pub id: String,
    /// Whom it is for.
    pub applications: Vec<String>,
    /// When it was first kept.
    pub created_at: Timestamp,
    /// When it was last replaced, or created.
    pub updated_at: Timestamp,
}

/// A configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// What lists show.
    pub head: Head,
    /// What was sent, as JSON.
    pub document: String,
}
