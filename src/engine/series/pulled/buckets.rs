//! Whether an answer about buckets can be read at a bound.
//!
//! Owns that question alone; what buckets count for is `matching`'s.

use std::collections::BTreeSet;

use crate::engine::matching::{Role, bucket_about};
use crate::engine::pull::PulledPart;

/// Bounds of buckets that a message names.
const BOUNDS_SHOWN_MAX: usize = 8;
/// An arm that has buckets has the one at the bound, and the last: without them every observation
/// would count as bad, or none.
pub(super) fn check(answers: &[PulledPart], bound: f64) -> Result<(), String> {
    for part in answers.iter().filter(|part| !part.batch.is_empty()) {
        let mut roles = [false; 2];
        let mut bounds = BTreeSet::new();
        for series in part.batch.iter() {
            let labels = series.key.labels();
            bounds.extend(labels.get("le").map(str::to_owned));
            match bucket_about(&labels, bound) {
                Some((Role::Good, _)) => roles[0] = true,
                Some(_) => roles[1] = true,
                None => {}
            }
        }
        if roles == [true, true] {
            continue;
        }
        let missing = if roles[0] {
            "le=\"+Inf\"".to_owned()
        } else {
            format!("le=\"{bound}\"")
        };
        let shown: Vec<String> = bounds.into_iter().take(BOUNDS_SHOWN_MAX).collect();
        let shown = match shown.is_empty() {
            true => "no series of the answer has the label `le`".to_owned(),
            false => format!("the answer has {}", shown.join(", ")),
        };
        return Err(format!(
            "no bucket with {missing} in the answer about the {}: {shown}; the bound is to be that of a bucket, and the query keeps `le`",
            part.arm
        ));
    }
    Ok(())
}
