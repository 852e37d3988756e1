//! Who asks for a verdict keeps its analysis from being abandoned.
//!
//! Owns how often the engine is told so: a controller may ask a thousand times a second, and the
//! engine wants to know about once in a while.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::model::Timestamp;

/// Least often, however long an analysis may go unasked.
pub const INTEREST_EVERY_MAX: Duration = Duration::from_secs(60);
/// Analyses whose last note is remembered; past that, all are told anew.
const REMEMBERED_MAX: usize = 4_096;

/// When the engine was last told of each analysis.
#[derive(Debug)]
pub struct Interest {
    every: Duration,
    told: Mutex<HashMap<String, Timestamp>>,
}

/// Twice within the time after which the engine gives an analysis up, so that one note of interest
/// may be lost.
pub fn interest_every(abandoned_after: Duration) -> Duration {
    const SHORTEST: Duration = Duration::from_millis(1);
    (abandoned_after / 2).clamp(SHORTEST, INTEREST_EVERY_MAX)
}

// === impl Interest ===

impl Interest {
    /// Nobody was told anything yet.
    pub fn new(abandoned_after: Duration) -> Interest {
        Interest {
            // Notes of polls are few where polls are: four fit where two must.
            every: interest_every(abandoned_after) / 2,
            told: Mutex::default(),
        }
    }

    /// Whether somebody was noted under this name at the given time or later.
    pub fn was_noted(&self, name: &str, since: Timestamp) -> bool {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.get(name).is_some_and(|last| *last >= since)
    }

    /// Whether the engine is to be told now that somebody asks for this analysis.
    pub fn is_due(&self, analysis: &str, now: Timestamp) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = told.get_mut(analysis) {
            // A clock that was set back is no reason to keep silent.
            let since = now.since(*last);
            if (0..self.every.as_millis() as i64).contains(&since) {
                return false;
            }
            *last = now;
            return true;
        }
        if told.len() >= REMEMBERED_MAX {
            told.clear();
        }
        told.insert(analysis.to_owned(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_told_at_once_and_then_once_in_a_while() {
        let interest = Interest::new(Duration::from_secs(40));
        let due = |analysis: &str, secs: i64| interest.is_due(analysis, Timestamp(secs * 1_000));
        assert!(due("a", 0) && !due("a", 9) && due("b", 9));
        assert!(due("a", 10) && !due("a", 19));
        assert!(due("a", 5), "the clock was set back");
        for number in 0..REMEMBERED_MAX {
            assert!(due(&format!("an_{number}"), 19));
        }
        assert!(interest.told.lock().expect("unpoisoned").len() <= REMEMBERED_MAX);
    }
}
