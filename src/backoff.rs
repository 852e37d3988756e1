//! How long to wait before trying again: exponential, capped, jittered.
//!
//! Owns the arithmetic of one wait. It must not know what is retried, when to give up, nor where
//! the random number comes from: time and chance are arguments. Next: `webhook`, which delivers.

use std::time::Duration;

use thiserror::Error;

/// The longest wait a policy may ask for: a week, in seconds. Past it a wait is a mistyped unit.
pub const DELAY_SECS_MAX: u64 = 7 * 24 * 3_600;
/// The largest growth from one attempt to the next. At 10 five attempts span four decades.
pub const FACTOR_MAX: f64 = 10.0;

/// A checked policy: `0 < initial <= max <= DELAY_SECS_MAX`, `1 <= factor <= FACTOR_MAX`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    factor: f64,
}

/// Why a policy was refused.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum BackoffError {
    /// The first wait is zero: every attempt would follow at once.
    #[error("the first wait is zero")]
    InitialZero,
    /// The cap is below the first wait.
    #[error("the longest wait {max:?} is shorter than the first wait {initial:?}")]
    MaxBelowInitial {
        /// The first wait.
        initial: Duration,
        /// The cap asked for.
        max: Duration,
    },
    /// The cap is above [`DELAY_SECS_MAX`].
    #[error("the longest wait {max:?} is above {DELAY_SECS_MAX} seconds")]
    MaxTooLong {
        /// The cap asked for.
        max: Duration,
    },
    /// The factor shrinks the wait, is above [`FACTOR_MAX`] or is not a number.
    #[error("the factor {factor} is not between 1 and {FACTOR_MAX}")]
    Factor {
        /// The factor asked for.
        factor: f64,
    },
}

impl Backoff {
    /// A policy with full jitter: the n-th wait (from 0) is at most `initial * factor^n`, at most
    /// `max`.
    ///
    /// # Errors
    /// [`BackoffError`] when the policy would not wait, would shrink, or would wait past a week.
    pub fn new(initial: Duration, max: Duration, factor: f64) -> Result<Backoff, BackoffError> {
        if initial.is_zero() {
            return Err(BackoffError::InitialZero);
        }
        if max < initial {
            return Err(BackoffError::MaxBelowInitial { initial, max });
        }
        if max > Duration::from_secs(DELAY_SECS_MAX) {
            return Err(BackoffError::MaxTooLong { max });
        }
        if !(1.0..=FACTOR_MAX).contains(&factor) {
            return Err(BackoffError::Factor { factor });
        }
        Ok(Backoff {
            initial,
            max,
            factor,
        })
    }

    /// The longest wait before retry `attempt`: `min(max, initial * factor^attempt)`, truncated to
    /// the nanosecond. `attempt` 0 is the first retry.
    pub fn ceiling(&self, attempt: u32) -> Duration {
        // A week is 6e14 ns, below 2^53: the conversion is exact. Growth past f64 is +inf, and
        // the cap takes over.
        let grown = self.initial.as_nanos() as f64 * libm::pow(self.factor, f64::from(attempt));
        if grown >= self.max.as_nanos() as f64 {
            return self.max;
        }
        Duration::from_nanos(grown as u64)
    }
}

/// The wait before retry `attempt` (0 is the first), for one `random` number in `[0, 1)`.
///
/// It is `random * ceiling`, "full jitter", so that callers who failed together return apart (M.
/// Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015). A `random` outside
/// `[0, 1)` is pulled to the nearer end, and a NaN waits the whole ceiling: a broken source of
/// chance must not turn into a hammer.
pub fn delay(attempt: u32, policy: &Backoff, random: f64) -> Duration {
    let share = if random.is_nan() {
        1.0
    } else {
        random.clamp(0.0, 1.0)
    };
    let ceiling = policy.ceiling(attempt);
    Duration::from_nanos((ceiling.as_nanos() as f64 * share) as u64).min(ceiling)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn doubling() -> Backoff {
        Backoff::new(Duration::from_millis(500), Duration::from_secs(60), 2.0).expect("valid")
    }

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        let ceilings: Vec<u128> = (0..9).map(|n| doubling().ceiling(n).as_millis()).collect();
        assert_eq!(
            ceilings,
            [
                500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000
            ]
        );
        assert_eq!(doubling().ceiling(u32::MAX), Duration::from_secs(60));
    }

    #[test]
    fn jitter_takes_the_stated_share() {
        assert_eq!(delay(1, &doubling(), 0.0), Duration::ZERO);
        assert_eq!(delay(1, &doubling(), 0.25), Duration::from_millis(250));
    }

    #[test]
    fn a_policy_that_makes_no_sense_is_refused() {
        let (half, minute) = (Duration::from_millis(500), Duration::from_secs(60));
        let week = Duration::from_secs(DELAY_SECS_MAX);
        let past = week + Duration::from_nanos(1);
        let error = |initial, max, factor| Backoff::new(initial, max, factor).err();
        assert_eq!(
            error(Duration::ZERO, minute, 2.0),
            Some(BackoffError::InitialZero)
        );
        let (initial, max) = (minute, half);
        let below = BackoffError::MaxBelowInitial { initial, max };
        assert_eq!(error(minute, half, 2.0), Some(below));
        // At the limit, and one past it.
        assert_eq!(error(half, week, 2.0), None);
        let long = BackoffError::MaxTooLong { max: past };
        assert_eq!(error(half, past, 2.0), Some(long));
        assert_eq!(error(half, minute, 1.0), None);
        assert_eq!(error(half, minute, FACTOR_MAX), None);
        for factor in [0.999, 10.001, f64::NAN, f64::INFINITY, -2.0] {
            let refused = error(half, minute, factor);
            assert!(
                matches!(refused, Some(BackoffError::Factor { .. })),
                "{factor}"
            );
        }
    }

    #[test]
    fn a_broken_source_of_chance_never_hammers() {
        assert_eq!(delay(3, &doubling(), f64::NAN), doubling().ceiling(3));
        assert_eq!(delay(3, &doubling(), 7.0), doubling().ceiling(3));
        assert_eq!(delay(3, &doubling(), -7.0), Duration::ZERO);
    }

    fn policies() -> impl Strategy<Value = Backoff> {
        (1_u64..10_000, 0_u64..600_000, 1.0..=FACTOR_MAX).prop_map(|(initial, more, factor)| {
            let (initial, more) = (Duration::from_millis(initial), Duration::from_millis(more));
            Backoff::new(initial, initial + more, factor).expect("initial <= max, factor in range")
        })
    }

    proptest! {
        #[test]
        fn a_wait_stays_within_its_ceiling_and_the_cap(
            policy in policies(), attempt: u32, random in 0.0..1.0_f64
        ) {
            let ceiling = policy.ceiling(attempt);
            prop_assert!(ceiling >= policy.initial && ceiling <= policy.max);
            prop_assert!(delay(attempt, &policy, random) <= ceiling);
        }

        #[test]
        fn ceilings_never_shrink(policy in policies(), attempt in 0_u32..1_000) {
            prop_assert!(policy.ceiling(attempt) <= policy.ceiling(attempt + 1));
        }

        #[test]
        fn more_luck_never_waits_less(
            policy in policies(), attempt in 0_u32..64, x in 0.0..1.0_f64, y in 0.0..1.0_f64
        ) {
            let (low, high) = if x <= y { (x, y) } else { (y, x) };
            prop_assert!(delay(attempt, &policy, low) <= delay(attempt, &policy, high));
        }
    }
}
