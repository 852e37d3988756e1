//! How long a source is left alone after a failure.
//!
//! Owns the count of failures in a row, shared by all who ask one source. Time and chance are
//! arguments. The arithmetic of a wait is [`crate::backoff`]'s.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::backoff::{self, Backoff};
use crate::model::{Millis, Timestamp};

/// The pace at which one source is asked.
#[derive(Debug)]
pub struct Pace {
    policy: Backoff,
    state: Mutex<State>,
}

#[derive(Debug, Default, Clone, Copy)]
struct State {
    failures: u32,
    /// Nothing is asked before.
    until: Timestamp,
    /// When the last failure that counted was seen.
    failed_at: Timestamp,
}

// === impl Pace ===

impl Pace {
    /// A source that has not failed yet.
    pub fn new(policy: Backoff) -> Pace {
        Pace {
            policy,
            state: Mutex::default(),
        }
    }

    /// When it may be asked.
    pub fn not_before(&self) -> Timestamp {
        self.state().until
    }

    /// It answered.
    pub fn succeeded(&self) {
        *self.state() = State::default();
    }

    /// It failed a query that began at `begun`, for which it asks to be left alone so long. Queries
    /// that were under way together fail together: they count once.
    pub fn failed(
        &self,
        begun: Timestamp,
        now: Timestamp,
        retry_after: Option<Duration>,
        random: f64,
    ) {
        let mut state = self.state();
        let mut until = state.until;
        if begun > state.failed_at || state.failures == 0 {
            until = now.plus(millis(backoff::delay(state.failures, &self.policy, random)));
            state.failures = state.failures.saturating_add(1);
            state.failed_at = now;
        }
        // A source that asks for a day gets the longest wait: it may be back long before.
        let asked = retry_after.unwrap_or_default();
        let asked = asked.min(self.policy.ceiling(u32::MAX));
        state.until = until.max(now.plus(millis(asked)));
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wait that `Retry-After` asks for: seconds, or an HTTP date.
pub fn retry_after(header: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(secs) = header.trim().parse() {
        return Some(Duration::from_secs(secs));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(header.trim());
    let wait: Millis = date.ok()?.as_millisecond().saturating_sub(now.millis());
    Some(Duration::from_millis(u64::try_from(wait).unwrap_or(0)))
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> Pace {
        let policy = Backoff::new(Duration::from_secs(1), Duration::from_secs(60), 2.0);
        Pace::new(policy.expect("valid"))
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp(1_000_000 + secs * 1_000)
    }

    #[test]
    fn waits_double_and_end_with_an_answer() {
        let pace = pace();
        for (failed_at, wait) in [(0, 1), (10, 2), (20, 4)] {
            pace.failed(at(failed_at - 1), at(failed_at), None, 1.0);
            assert_eq!(pace.not_before(), at(failed_at + wait));
        }
        pace.succeeded();
        assert_eq!(pace.not_before(), Timestamp(0));
        pace.failed(at(29), at(30), None, 0.5);
        assert_eq!(pace.not_before(), at(30).plus(500));
    }

    #[test]
    fn what_was_under_way_together_fails_once() {
        let pace = pace();
        for _ in 0..8 {
            pace.failed(at(0), at(5), None, 1.0);
        }
        assert_eq!(pace.not_before(), at(6));
        // One of them hears more.
        pace.failed(at(0), at(5), Some(Duration::from_secs(30)), 1.0);
        assert_eq!(pace.not_before(), at(35));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_capped() {
        let now = Timestamp(1_700_000_000_000);
        let secs = |secs| Some(Duration::from_secs(secs));
        assert_eq!(retry_after("120", now), secs(120));
        assert_eq!(retry_after(" 0 ", now), secs(0));
        // 1700000000 is 14 November 2023, 22:13:20 UTC.
        assert_eq!(retry_after("Tue, 14 Nov 2023 22:13:50 GMT", now), secs(30));
        assert_eq!(retry_after("Tue, 14 Nov 2023 22:00:00 GMT", now), secs(0));
        for text in ["soon", "-1", "", "14 Foo 2023"] {
            assert_eq!(retry_after(text, now), None, "{text}");
        }
        let pace = pace();
        pace.failed(at(0), at(5), Some(Duration::from_secs(86_400)), 0.0);
        assert_eq!(pace.not_before(), at(65));
    }
}
