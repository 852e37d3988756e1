//! Values of a crowded open tick, each once with how often it came.
//!
//! Owns what an open cell holds of values that repeat, until its tick closes. Latencies are mostly
//! rounded, to a millisecond or a tenth of one, so that fifty thousand of them are a few thousand
//! numbers; held one by one they are most of what a busy davy takes. Nothing is lost by it: every
//! value comes back, to the bit. It must not know what values are compared for. Next: `cell`.

use serde::{Deserialize, Serialize};

use crate::stats::rank::sort_keys;

/// Values that wait, at the least, until they are counted: sorting fewer at once would cost more
/// than it saves.
const WAITING_MIN: usize = 4_096;
/// Where counting did not pay, it is tried again once there are so many times as many values: all
/// the tries together cost little beside sorting the values once, at the close.
const TRIED_AGAIN_AT: usize = 4;

/// Values that were counted.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Counted {
    /// Each value's bits, ascending.
    bits: Vec<u64>,
    /// How often each came; a cell has room for at most 10^8 values (`limits.tick_values_max`).
    times: Vec<u32>,
    total: usize,
    /// Values that have to wait before they are tried again.
    not_below: usize,
}

// === impl Counted ===

impl Counted {
    /// How many values these are.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Takes the values that wait, once there are many, where that takes less memory than they do.
    pub fn take(&mut self, waiting: &mut Vec<f64>) {
        // What is merged into many is many.
        let least = WAITING_MIN.max(self.not_below).max(self.bits.len() / 2);
        let total = self.total + waiting.len();
        if waiting.len() < least {
            return;
        }
        let mut merged = self.with(waiting);
        // An entry takes half as much again as a value.
        if 2 * merged.bits.len() <= total {
            merged.bits.shrink_to_fit();
            merged.times.shrink_to_fit();
            merged.not_below = 0;
            *self = merged;
            // Its room too: a tick that is open may have got all it gets.
            *waiting = Vec::new();
        } else {
            self.give_back(waiting);
            self.not_below = TRIED_AGAIN_AT * waiting.len();
        }
    }

    /// Gives all values back, ascending by their bits where there were any, with those that wait.
    pub fn give_back(&mut self, waiting: &mut Vec<f64>) {
        if self.total == 0 {
            return;
        }
        let all = std::mem::take(self).with(waiting);
        waiting.clear();
        waiting.reserve_exact(all.total);
        for (&bits, &times) in all.bits.iter().zip(&all.times) {
            waiting.extend(std::iter::repeat_n(f64::from_bits(bits), times as usize));
        }
    }

    /// These values and others.
    fn with(&self, others: &[f64]) -> Counted {
        let mut keys: Vec<u64> = others.iter().map(|value| value.to_bits()).collect();
        sort_keys(&mut keys);
        let mut merged = Counted {
            bits: Vec::with_capacity(self.bits.len()),
            times: Vec::with_capacity(self.bits.len()),
            total: 0,
            not_below: self.not_below,
        };
        let own = self.bits.iter().copied().zip(self.times.iter().copied());
        merge(own, &keys, |bits, times: u32| merged.push(bits, times));
        merged
    }

    fn push(&mut self, bits: u64, times: u32) {
        self.bits.push(bits);
        self.times.push(times);
        self.total += times as usize;
    }
}

// === functions ===

/// How often a value came.
pub(super) trait Times: Copy {
    /// So many, which are few.
    fn of(count: usize) -> Self;
    /// Both together.
    fn and(self, more: Self) -> Self;
}

impl Times for u32 {
    fn of(count: usize) -> u32 {
        count as u32
    }

    fn and(self, more: u32) -> u32 {
        self + more
    }
}

impl Times for u64 {
    fn of(count: usize) -> u64 {
        count as u64
    }

    fn and(self, more: u64) -> u64 {
        self.saturating_add(more)
    }
}

/// Calls `put` with each of the `keys`, which ascend, and of the `weighted` ones, which ascend too
/// and differ, and with how often both together have it.
pub(super) fn merge<T: Times>(
    weighted: impl Iterator<Item = (u64, T)>,
    keys: &[u64],
    mut put: impl FnMut(u64, T),
) {
    let mut weighted = weighted.peekable();
    for run in keys.chunk_by(|one, other| one == other) {
        while let Some((key, times)) = weighted.next_if(|(key, _)| *key < run[0]) {
            put(key, times);
        }
        let times = T::of(run.len());
        let before = weighted.next_if(|(key, _)| *key == run[0]);
        put(
            run[0],
            before.map_or(times, |(_, before)| before.and(times)),
        );
    }
    weighted.for_each(|(key, times)| put(key, times));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(values: &[f64]) -> Vec<u64> {
        let mut bits: Vec<u64> = values.iter().map(|value| value.to_bits()).collect();
        bits.sort_unstable();
        bits
    }

    #[test]
    fn values_that_do_not_repeat_enough_yet_do_so_later() {
        let (mut counted, mut waiting) = (Counted::default(), Vec::new());
        for i in 0..40_000_u32 {
            // Of 4,096 numbers, which as many draws do not repeat half of.
            waiting.push(f64::from(i.wrapping_mul(0x9e37_79b9) >> 20));
            counted.take(&mut waiting);
        }
        assert!(counted.total() > 0 && waiting.len() < WAITING_MIN);
        assert!(waiting.capacity() <= 2 * WAITING_MIN);
    }

    #[test]
    fn values_that_repeat_are_counted_and_others_left() {
        let rounded = |i: usize| (i % 1_000) as f64 / 10.0;
        let (mut counted, mut waiting) = (Counted::default(), Vec::new());
        for i in 0..50_000 {
            waiting.push(rounded(i));
            counted.take(&mut waiting);
            assert_eq!(counted.total() + waiting.len(), i + 1);
        }
        assert!(counted.bits.len() == 1_000 && waiting.len() < WAITING_MIN);
        assert!(waiting.capacity() <= 2 * WAITING_MIN);
        // The same cell, once its values no longer repeat.
        for i in 0..150_000 {
            waiting.push(1e3 + i as f64);
            counted.take(&mut waiting);
        }
        assert!(counted.total() == 0 && waiting.len() == 200_000);
        assert!(waiting.len() < counted.not_below);
        let mut expected: Vec<f64> = (0..50_000).map(rounded).collect();
        expected.extend((0..150_000).map(|i| 1e3 + f64::from(i)));
        assert_eq!(bits(&waiting), bits(&expected));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_value_comes_back_to_the_bit(
            distinct in proptest::collection::vec(any::<f64>(), 1..6_000),
            picks in proptest::collection::vec(any::<prop::sample::Index>(), 0..30_000),
        ) {
            let mut distinct = distinct;
            distinct.extend([0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY]);
            let all: Vec<f64> = picks.iter().map(|pick| distinct[pick.index(distinct.len())]).collect();
            let (mut counted, mut waiting) = (Counted::default(), Vec::new());
            for some in all.chunks(100) {
                waiting.extend_from_slice(some);
                counted.take(&mut waiting);
            }
            prop_assert_eq!(counted.total() + waiting.len(), all.len());
            counted.give_back(&mut waiting);
            prop_assert_eq!(counted.total(), 0);
            prop_assert_eq!(bits(&waiting), bits(&all));
        }
    }
}
