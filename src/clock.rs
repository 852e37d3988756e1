//! The one reader of the wall clock.
//!
//! Owns "now". Everything below takes time as an argument; the shell asks a [`Clock`] and passes
//! the answer down, so that a replay and a test can say what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::Timestamp;

/// Who says what time it is.
pub trait Clock: Send + Sync {
    /// The present instant.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_is_past_this_line_being_written() {
        assert!(SystemClock.now() > Timestamp(1_700_000_000_000));
    }
}
