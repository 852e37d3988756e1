//! The one reader of the wall clock.
//!
//! Owns "now". Everything below takes time as an argument; the shell asks a [`Clock`] and passes
//! the answer down, so that a replay and a test can say what time it is.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::{Millis, Timestamp};

/// Who says what time it is.
pub trait Clock: Send + Sync {
    /// The present instant.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// A clock that stands until it is moved.
#[derive(Debug, Default)]
pub struct ManualClock {
    unix_millis: AtomicI64,
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
    fn now(&self) -> Timestamp {
        // A clock before 1970 reads as negative rather than as an error: it is only wrong.
        let millis =
            |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Timestamp(match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => millis(since),
            Err(before) => -millis(before.duration()),
        })
    }
}

impl ManualClock {
    /// A clock that stands at this instant.
    pub fn at(now: Timestamp) -> ManualClock {
        ManualClock {
            unix_millis: AtomicI64::new(now.millis()),
        }
    }

    /// Moves it on.
    pub fn advance(&self, millis: Millis) {
        self.unix_millis.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.unix_millis.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_clock_stands_until_moved() {
        let clock = ManualClock::at(Timestamp(5));
        assert_eq!((clock.now(), clock.now()), (Timestamp(5), Timestamp(5)));
        clock.advance(10);
        assert_eq!(clock.now(), Timestamp(15));
    }

    #[test]
    fn the_system_clock_is_past_this_line_being_written() {
        assert!(SystemClock.now() > Timestamp(1_700_000_000_000));
    }
}
