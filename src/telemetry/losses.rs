//! What a store found no room for: counted, and told in the log.
//!
//! Owns the words, for whoever commits. What is lost when is the store's to say.

use super::Metrics;
use crate::store::Losses;

/// Counts and logs what a commit found no room for.
pub fn tell(losses: Losses, metrics: &Metrics) {
    for letter in losses.refused {
        metrics.limit("webhook_queue");
        tracing::error!(delivery = letter.id, letter.error, "given up");
    }
    if losses.audit_rows_deleted > 0 {
        metrics.limit("audit_rows");
        let rows = losses.audit_rows_deleted;
        tracing::info!(rows, "the oldest rows of the audit log are deleted");
    }
    for recording in losses.cut {
        metrics.limit(recording.limit);
        let (analysis, limit) = (recording.analysis, recording.limit);
        tracing::warn!(analysis, limit, "its recording is no longer whole");
    }
}
