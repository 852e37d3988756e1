//! Values that are known by their bucket, until a tick closes.
//!
//! Owns what an open tick holds of them: buckets with their counts, and counts up to bounds, whose
//! differences are taken at the tick's close only since they may come in different requests. It
//! must not know what buckets are compared for. Next: `cell`, which takes the values.

use std::collections::BTreeMap;

use crate::model::Ordered;
use crate::stats::buckets::apart;

/// Counts by unit, where there are units, and bucket.
#[derive(Debug, Clone, Default)]
pub struct Buckets {
    apart: BTreeMap<(Option<u64>, Ordered, Ordered), u64>,
    up_to: BTreeMap<(Option<u64>, Ordered), u64>,
}

/// Values of one unit in one bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Counted {
    pub unit: Option<u64>,
    pub bucket: [f64; 2],
    pub count: u64,
}

// === impl Buckets ===

impl Buckets {
    /// Counts held.
    pub fn len(&self) -> usize {
        self.apart.len() + self.up_to.len()
    }

    pub fn add(&mut self, unit: Option<u64>, lows: &[f64], highs: &[f64], counts: &[u64]) {
        for ((&low, &high), &count) in lows.iter().zip(highs).zip(counts) {
            let key = (unit, Ordered::new(low), Ordered::new(high));
            let sum = self.apart.entry(key).or_default();
            *sum = sum.saturating_add(count);
        }
    }

    pub fn add_up_to(&mut self, unit: Option<u64>, bounds: &[f64], counts: &[u64]) {
        for (&bound, &count) in bounds.iter().zip(counts) {
            let sum = self.up_to.entry((unit, Ordered::new(bound))).or_default();
            *sum = sum.saturating_add(count);
        }
    }

    /// Drops units that are not to be kept; how many values that were.
    pub fn retain(&mut self, keeps: impl Fn(u64) -> bool) -> u64 {
        let keeps = |unit: Option<u64>| unit.is_none_or(&keeps);
        let mut dropped = 0_u64;
        self.apart.retain(|&(unit, ..), &mut count| {
            let kept = keeps(unit);
            dropped = dropped.saturating_add(if kept { 0 } else { count });
            kept
        });
        self.up_to.retain(|&(unit, bound), &mut count| {
            let kept = keeps(unit);
            let is_all = bound.get() == f64::INFINITY;
            dropped = dropped.saturating_add(if kept || !is_all { 0 } else { count });
            kept
        });
        dropped
    }

    /// What lies in each bucket, by unit, ascending; empty buckets too, which tell the bounds.
    pub(super) fn settle(self) -> Vec<Counted> {
        let mut counted: Vec<Counted> = self
            .apart
            .into_iter()
            .map(|((unit, low, high), count)| Counted {
                unit,
                bucket: [low.get(), high.get()],
                count,
            })
            .collect();
        let mut units: BTreeMap<Option<u64>, Vec<(f64, u64)>> = BTreeMap::new();
        for ((unit, bound), count) in self.up_to {
            units.entry(unit).or_default().push((bound.get(), count));
        }
        for (unit, up_to) in units {
            // A bound whose fellows came too late for the tick can hold more than the next one.
            let buckets = apart(up_to).into_iter();
            counted.extend(buckets.map(|(bucket, count)| Counted {
                unit,
                bucket,
                count,
            }));
        }
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_up_to_bounds_become_buckets_whatever_came_first() {
        let mut buckets = Buckets::default();
        buckets.add_up_to(None, &[f64::INFINITY], &[10]);
        buckets.add_up_to(None, &[0.1, 0.5], &[3, 4]);
        buckets.add_up_to(None, &[0.5, 2.0], &[2, 9]);
        buckets.add_up_to(Some(7), &[0.5, f64::INFINITY], &[2, 1]);
        let settled: Vec<_> = buckets
            .settle()
            .into_iter()
            .map(|counted| (counted.unit, counted.bucket, counted.count))
            .collect();
        assert_eq!(
            settled,
            [
                (None, [0.0, 0.1], 3),
                (None, [0.1, 0.5], 3),
                (None, [0.5, 2.0], 3),
                (None, [2.0, f64::INFINITY], 1),
                (Some(7), [0.0, 0.5], 2),
                (Some(7), [0.5, f64::INFINITY], 0),
            ]
        );
    }

    #[test]
    fn units_are_dropped_with_their_values() {
        let mut buckets = Buckets::default();
        for unit in [1, 2] {
            buckets.add(Some(unit), &[0.0, 1.0], &[1.0, 2.0], &[3, 4]);
            buckets.add_up_to(Some(unit), &[1.0, f64::INFINITY], &[3, 5]);
        }
        assert_eq!((buckets.len(), buckets.retain(|unit| unit == 1)), (8, 12));
        assert_eq!(buckets.len(), 4);
    }
}
