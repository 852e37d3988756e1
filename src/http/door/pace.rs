//! How often one token may ask.
//!
//! Owns the buckets. Tokens of a file have one each for as long as they are known; whom an issuer vouches
//! for may be anybody, so of those only as many are kept as [`SUBJECTS_MAX`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::Timestamp;

/// Subjects of an issuer whose pace is kept, each for itself.
pub const SUBJECTS_MAX: usize = 10_000;

/// How often one token asks: a bucket of one second's requests, as the instant at which it is full
/// again.
#[derive(Debug, Default)]
pub(super) struct Pace {
    full_at_micros: Mutex<i64>,
}

// === impl Pace ===

impl Pace {
    /// Whether one more fits into `most` a second.
    pub(super) fn admits(&self, most: u32, now: Timestamp) -> bool {
        const SECOND: i64 = 1_000_000;
        let now = now.millis().saturating_mul(1_000);
        let mut full_at = self
            .full_at_micros
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Never more than a second ahead, even where the clock was set back.
        let ahead = full_at.saturating_sub(now).clamp(0, SECOND);
        let after = ahead + SECOND / i64::from(most);
        let fits = after <= SECOND;
        *full_at = now.saturating_add(if fits { after } else { ahead });
        fits
    }

    /// Whether all of its second's requests are there again.
    fn is_full(&self, now: Timestamp) -> bool {
        let full_at = *self
            .full_at_micros
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        full_at <= now.millis().saturating_mul(1_000)
    }
}

/// The paces of those whom an issuer vouches for.
#[derive(Debug, Default)]
pub(super) struct Paces {
    by_subject: Mutex<BTreeMap<String, Arc<Pace>>>,
    /// Of all that there is no room for.
    shared: Arc<Pace>,
}

// === impl Paces ===

impl Paces {
    /// That of one subject. Past the limit those go that are as if they had never asked; where none is,
    /// who is new shares one with all others that are.
    pub(super) fn of(&self, subject: &str, now: Timestamp) -> Arc<Pace> {
        let mut all = self
            .by_subject
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(subject) {
            return known.clone();
        }
        if all.len() >= SUBJECTS_MAX {
            all.retain(|_, pace| !pace.is_full(now));
        }
        if all.len() >= SUBJECTS_MAX {
            return self.shared.clone();
        }
        all.entry(subject.to_owned()).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_bounded_and_those_at_rest_make_room() {
        let paces = Paces::default();
        let at = Timestamp(1_900_000_000_000);
        for number in 0..SUBJECTS_MAX {
            assert!(
                paces.of(&format!("s{number}"), at).admits(1, at),
                "{number}"
            );
        }
        assert!(!paces.of("s0", at).admits(1, at), "it has one of its own");
        let more = paces.of("more", at);
        assert!(more.admits(1, at));
        assert!(!paces.of("yet another", at).admits(1, at), "they share one");
        let later = Timestamp(at.millis() + 1_000);
        assert!(paces.of("more", later).admits(1, later));
        assert!(
            paces.of("yet another", later).admits(1, later),
            "there is room again"
        );
        let kept = paces.by_subject.lock().expect("no panic").len();
        assert_eq!(kept, 2);
    }
}
