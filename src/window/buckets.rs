//! Values that are known by their bucket, until a tick closes.
//!
//! Owns what an open tick holds of them: buckets with their counts, and counts up to bounds, whose
//! differences are taken at the tick's close only since they may come in different requests. It
//! must not know what buckets are compared for. Next: `cell`, which takes the values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Ordered, Reading};

/// Counts by unit, where there are units, and bucket.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Buckets {
    apart: BTreeMap<(Option<u64>, Ordered, Ordered), u64>,
    up_to: BTreeMap<(Option<u64>, u64), BTreeMap<Ordered, UpTo>>,
    /// Bounds in `up_to`, of all histograms.
    bounds: usize,
}

/// Observations of one histogram up to one bound.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct UpTo {
    count: u64,
    /// Points that it sums up.
    points: u64,
    /// Resets among them: at least, and at most.
    resets: [u64; 2],
}

/// One histogram of an arm, at the tick's close.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Histogram {
    /// Its number.
    pub of: u64,
    pub unit: Option<u64>,
    /// Observations up to each bound, ascending.
    pub up_to: Vec<(f64, u64)>,
    /// Whether all bounds count the same points. One that lacks some, which came too late for the
    /// tick, or began anew unseen would give observations to the wrong bucket.
    pub is_whole: bool,
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
        self.apart.len() + self.bounds
    }

    pub fn add(&mut self, unit: Option<u64>, lows: &[f64], highs: &[f64], counts: &[u64]) {
        for ((&low, &high), &count) in lows.iter().zip(highs).zip(counts) {
            let key = (unit, Ordered::new(low), Ordered::new(high));
            let sum = self.apart.entry(key).or_default();
            *sum = sum.saturating_add(count);
        }
    }

    /// Adds a [`Reading::UpTo`].
    pub fn add_up_to(&mut self, unit: Option<u64>, reading: &Reading) {
        let Reading::UpTo {
            of,
            bounds,
            counts,
            points,
            resets,
        } = reading
        else {
            return;
        };
        let sums = self.up_to.entry((unit, *of)).or_default();
        let before = sums.len();
        let told = counts.iter().zip(points).zip(resets);
        for (&bound, ((&count, &points), &resets)) in bounds.iter().zip(told) {
            let sum = sums.entry(Ordered::new(bound)).or_default();
            sum.count = sum.count.saturating_add(count);
            sum.points += u64::from(points);
            for (sum, resets) in sum.resets.iter_mut().zip(resets) {
                *sum += u64::from(resets);
            }
        }
        self.bounds += sums.len() - before;
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
        let bounds = &mut self.bounds;
        self.up_to.retain(|&(unit, _), sums| {
            let kept = keeps(unit);
            if !kept {
                let all = sums.get(&Ordered::new(f64::INFINITY));
                dropped = dropped.saturating_add(all.map_or(0, |all| all.count));
                *bounds -= sums.len();
            }
            kept
        });
        dropped
    }

    /// What lies in each bucket that came as such, by unit, ascending.
    pub(super) fn apart(&mut self) -> Vec<Counted> {
        let apart = std::mem::take(&mut self.apart).into_iter();
        apart
            .map(|((unit, low, high), count)| Counted {
                unit,
                bucket: [low.get(), high.get()],
                count,
            })
            .collect()
    }

    /// Histograms whose buckets came one by one.
    pub(super) fn histograms(&mut self) -> Vec<Histogram> {
        self.bounds = 0;
        let up_to = std::mem::take(&mut self.up_to).into_iter();
        up_to
            .map(|((unit, of), sums)| Histogram {
                of,
                unit,
                is_whole: is_whole(&sums),
                up_to: sums
                    .iter()
                    .map(|(bound, sum)| (bound.get(), sum.count))
                    .collect(),
            })
            .collect()
    }
}

fn is_whole(sums: &BTreeMap<Ordered, UpTo>) -> bool {
    let points = sums.values().map(|sum| sum.points);
    let resets = sums.values().map(|sum| sum.resets[0]).max().unwrap_or(0);
    let is_last_open = sums.keys().next_back().map(|bound| bound.get()) == Some(f64::INFINITY);
    is_last_open
        && sums.len() > 1
        && points.clone().min() == points.max()
        && sums.values().all(|sum| sum.resets[1] >= resets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up_to(of: u64, bounds: &[f64], counts: &[u64], resets: [u32; 2]) -> Reading {
        Reading::UpTo {
            of,
            bounds: bounds.to_vec(),
            counts: counts.to_vec(),
            points: vec![1; bounds.len()],
            resets: vec![resets; bounds.len()],
        }
    }

    #[test]
    fn bounds_of_one_histogram_are_put_together_and_those_of_others_kept_apart() {
        let open = f64::INFINITY;
        let mut buckets = Buckets::default();
        buckets.add_up_to(None, &up_to(1, &[open], &[10], [0, 0]));
        buckets.add_up_to(None, &up_to(2, &[0.5, open], &[2, 3], [1, 1]));
        buckets.add_up_to(None, &up_to(1, &[0.1, 0.5], &[3, 4], [0, 0]));
        buckets.add_up_to(Some(7), &up_to(1, &[0.5, open], &[2, 4], [0, 1]));
        assert_eq!(buckets.len(), 7);
        let told = |histogram: Histogram| {
            (
                histogram.unit,
                histogram.of,
                histogram.is_whole,
                histogram.up_to,
            )
        };
        let found: Vec<_> = buckets.histograms().into_iter().map(told).collect();
        assert_eq!(
            found,
            [
                (None, 1, true, vec![(0.1, 3), (0.5, 4), (open, 10)]),
                (None, 2, true, vec![(0.5, 2), (open, 3)]),
                (Some(7), 1, true, vec![(0.5, 2), (open, 4)]),
            ]
        );
        assert_eq!((buckets.len(), buckets.histograms().len()), (0, 0));
    }

    #[test]
    fn a_histogram_that_lacks_points_or_resets_is_not_whole() {
        let open = f64::INFINITY;
        let is_whole = |readings: &[Reading]| {
            let mut buckets = Buckets::default();
            for reading in readings {
                buckets.add_up_to(None, reading);
            }
            buckets.histograms()[0].is_whole
        };
        let both = up_to(1, &[0.5, open], &[2, 3], [0, 0]);
        assert!(is_whole(&[both.clone(), both.clone()]));
        assert!(
            !is_whole(&[both.clone(), up_to(1, &[open], &[3], [0, 0])]),
            "one came too late"
        );
        assert!(!is_whole(&[up_to(1, &[open], &[3], [0, 0])]), "no bound");
        assert!(
            !is_whole(&[up_to(1, &[0.1, 0.5], &[3, 4], [0, 0])]),
            "not all"
        );
        let (seen, unseen, untold) = ([1, 1], [0, 0], [0, 1]);
        let began = |resets| {
            [
                up_to(1, &[0.5], &[2], resets),
                up_to(1, &[open], &[3], seen),
            ]
        };
        assert!(is_whole(&began(seen)) && is_whole(&began(untold)) && !is_whole(&began(unseen)));
    }

    #[test]
    fn units_are_dropped_with_their_values() {
        let mut buckets = Buckets::default();
        for unit in [1, 2] {
            buckets.add(Some(unit), &[0.0, 1.0], &[1.0, 2.0], &[3, 4]);
            buckets.add_up_to(
                Some(unit),
                &up_to(1, &[1.0, f64::INFINITY], &[3, 5], [0, 0]),
            );
        }
        assert_eq!((buckets.len(), buckets.retain(|unit| unit == 1)), (8, 12));
        assert_eq!(buckets.len(), 4);
    }
}
