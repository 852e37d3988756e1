//! When an endpoint that does not answer is left alone.
//!
//! Owns one decision: how many attempts may begin now. After so many failures in a row the endpoint
//! is held back, and only one attempt at a time goes out, a probe, after waits that grow. Whatever
//! shows that it is well again lets everything go on. It must not know what is sent, nor count
//! anything against a delivery: what is held back waits, and keeps its order. Time and chance are
//! arguments.

use std::time::Duration;

use crate::backoff::{self, Backoff};
use crate::model::{Millis, Timestamp};

/// What an attempt says about its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It answered as one that is well, be it that it refused this one delivery.
    Well,
    /// It did not answer, or as one that is not well. It may have asked not to be tried before so
    /// long.
    Unwell {
        /// The endpoint's wish.
        retry_after: Duration,
    },
    /// Nothing: no attempt was made.
    Unknown,
}

/// What changed by an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// From now on it is held back.
    Opened,
    /// Everything goes on.
    Closed,
}

/// The breaker of one endpoint.
#[derive(Debug)]
pub struct Breaker {
    failures_max: u32,
    probing: Backoff,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed {
        /// Failures in a row.
        failures: u32,
    },
    Open {
        /// Probes that failed.
        probes: u32,
        /// When the next one may go out.
        probe_at: Timestamp,
        /// One is under way; what else comes in began before it was held back.
        is_probing: bool,
    },
}

// === impl Breaker ===

impl Breaker {
    /// Closed; it opens with the failure of this number in a row, and probes after these waits.
    pub fn new(failures_max: u32, probing: Backoff) -> Breaker {
        Breaker {
            failures_max,
            probing,
            state: State::Closed { failures: 0 },
        }
    }

    /// Whether the endpoint is held back.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// How many attempts may begin now, with `under_way` of at most `most`.
    pub fn admits(&self, now: Timestamp, under_way: usize, most: usize) -> usize {
        match self.state {
            State::Closed { .. } => most.saturating_sub(under_way),
            State::Open { probe_at, .. } if under_way == 0 && probe_at <= now => 1,
            State::Open { .. } => 0,
        }
    }

    /// When the next attempt may begin, where that is not now.
    pub fn opens_at(&self) -> Option<Timestamp> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { probe_at, .. } => Some(probe_at),
        }
    }

    /// Notes that an attempt begins.
    pub fn begin(&mut self) {
        if let State::Open { is_probing, .. } = &mut self.state {
            *is_probing = true;
        }
    }

    /// Notes what came of an attempt. `random` is a number in `[0, 1)`.
    pub fn note(&mut self, health: Health, now: Timestamp, random: f64) -> Option<Change> {
        let was_open = self.is_open();
        match (health, self.state) {
            (Health::Well, _) => {
                self.state = State::Closed { failures: 0 };
                was_open.then_some(Change::Closed)
            }
            (Health::Unwell { retry_after }, State::Closed { failures }) => {
                let failures = failures.saturating_add(1);
                if failures < self.failures_max {
                    self.state = State::Closed { failures };
                    return None;
                }
                self.state = self.open(0, retry_after, now, random);
                Some(Change::Opened)
            }
            (
                Health::Unwell { retry_after },
                State::Open {
                    probes, is_probing, ..
                },
            ) => {
                if is_probing {
                    self.state = self.open(probes.saturating_add(1), retry_after, now, random);
                }
                None
            }
            (Health::Unknown, _) => {
                if let State::Open { is_probing, .. } = &mut self.state {
                    *is_probing = false;
                }
                None
            }
        }
    }

    /// Held back until the next probe. Half of the wait is by chance: a probe at once would be none.
    fn open(&self, probes: u32, retry_after: Duration, now: Timestamp, random: f64) -> State {
        let longest = self.probing.ceiling(probes);
        let drawn = longest / 2 + backoff::delay(probes, &self.probing, random) / 2;
        let asked = retry_after.min(self.probing.ceiling(u32::MAX));
        let wait = Millis::try_from(drawn.max(asked).as_millis()).unwrap_or(Millis::MAX);
        State::Open {
            probes,
            probe_at: now.plus(wait),
            is_probing: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNWELL: Health = Health::Unwell {
        retry_after: Duration::ZERO,
    };

    fn breaker(failures_max: u32) -> Breaker {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(10));
        let waits = Backoff::new(first, longest, 2.0).expect("valid");
        Breaker::new(failures_max, waits)
    }

    /// With the longest waits, at this second.
    fn note(breaker: &mut Breaker, health: Health, second: i64) -> Option<Change> {
        breaker.note(health, Timestamp(second * 1_000), f64::NAN)
    }

    fn admits(breaker: &Breaker, second: i64, under_way: usize) -> usize {
        breaker.admits(Timestamp(second * 1_000), under_way, 8)
    }

    #[test]
    fn it_opens_with_the_last_failure_in_a_row_and_not_before() {
        let mut breaker = breaker(3);
        for health in [UNWELL, UNWELL, Health::Well, UNWELL, UNWELL] {
            assert_eq!(note(&mut breaker, health, 0), None);
        }
        assert_eq!(note(&mut breaker, Health::Unknown, 0), None);
        assert_eq!((breaker.is_open(), admits(&breaker, 0, 3)), (false, 5));
        assert_eq!(note(&mut breaker, UNWELL, 0), Some(Change::Opened));
        assert_eq!((breaker.is_open(), admits(&breaker, 0, 0)), (true, 0));
    }

    #[test]
    fn probes_go_out_one_at_a_time_after_waits_that_grow_to_their_limit() {
        let mut breaker = breaker(1);
        note(&mut breaker, UNWELL, 0);
        let mut second = 0;
        for wait in [1, 2, 4, 8, 10, 10] {
            assert_eq!(admits(&breaker, second + wait - 1, 0), 0, "{wait}");
            second += wait;
            assert_eq!(admits(&breaker, second, 0), 1);
            assert_eq!(breaker.opens_at(), Some(Timestamp(second * 1_000)));
            breaker.begin();
            assert_eq!(admits(&breaker, second, 1), 0, "one at a time");
            assert_eq!(note(&mut breaker, UNWELL, second), None);
        }
        breaker.begin();
        assert_eq!(
            note(&mut breaker, Health::Well, second),
            Some(Change::Closed)
        );
        assert_eq!((admits(&breaker, second, 0), breaker.opens_at()), (8, None));
    }

    #[test]
    fn what_began_before_it_was_held_back_makes_no_wait_longer_but_may_end_it() {
        let mut breaker = breaker(1);
        note(&mut breaker, UNWELL, 0);
        for _ in 0..7 {
            note(&mut breaker, UNWELL, 0);
        }
        assert_eq!(breaker.opens_at(), Some(Timestamp(1_000)));
        assert_eq!(admits(&breaker, 1, 1), 0, "others are under way");
        assert_eq!(note(&mut breaker, Health::Well, 0), Some(Change::Closed));
    }

    #[test]
    fn a_probe_that_was_none_leaves_room_for_another() {
        let mut breaker = breaker(1);
        note(&mut breaker, UNWELL, 0);
        breaker.begin();
        note(&mut breaker, Health::Unknown, 1);
        assert_eq!((breaker.is_open(), admits(&breaker, 1, 0)), (true, 1));
    }

    #[test]
    fn the_endpoint_s_wish_is_heeded_up_to_the_longest_wait() {
        for (asked, second) in [(0, 1), (5, 5), (3_600, 10)] {
            let mut breaker = breaker(1);
            let retry_after = Duration::from_secs(asked);
            note(&mut breaker, Health::Unwell { retry_after }, 0);
            assert_eq!(breaker.opens_at(), Some(Timestamp(second * 1_000)));
        }
        let mut breaker = breaker(1);
        breaker.note(UNWELL, Timestamp(0), 0.0);
        assert_eq!(breaker.opens_at(), Some(Timestamp(500)), "never at once");
    }
}
