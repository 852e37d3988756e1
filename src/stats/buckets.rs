//! The buckets that values were counted in.
//!
//! Owns a set of disjoint intervals that grows by every bucket met ([`Layout`]), and how wide one
//! may be for what is asked of it. It must not know where buckets come from or what is judged by
//! them. Next: `censored`, which spreads a bucket's values evenly over it.
//!
//! Buckets that overlap (a client library that widened its own, pods of two versions with different
//! bounds) become one: which part of the wider one a value lies in, nobody knows.

use serde::{Deserialize, Serialize};

/// Buckets of one metric; beyond it neighbours become one. Exponential histograms of 5 % steps have
/// half as many over the whole range of a double.
pub const BUCKETS_MAX: usize = 4_096;
/// Widest bucket, as upper over lower bound, over which values may be taken as evenly spread while
/// a relative tolerance moves its bounds. At 1.19 a log-normal law of sigma 0.2 shifts the rank
/// statistic of an exact boundary by at most .0008, at 1.41 by .008 (sigma 0.5: .0001 and .0005).
pub const WIDE_FACTOR: f64 = 1.25;
/// Share of an arm's values that may lie in wider buckets: their part of the shift is its square.
pub const WIDE_SHARE_MAX: f64 = 0.05;
/// Bounds that differ by no more than this share of them are one bound, computed in two ways.
const SAME_BOUND: f64 = 1e-9;
/// Buckets narrower than this share of the median value are as good as points.
const NARROW_SHARE: f64 = 1e-4;

/// Disjoint intervals, ascending; each holds its upper end and not its lower one. A point is an
/// interval of its own.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Layout {
    buckets: Vec<[f64; 2]>,
}

// === impl Layout ===

impl Layout {
    /// Whether no bucket was met yet.
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Number of buckets.
    pub fn len(&self) -> usize {
        self.buckets.len()
    }

    /// Adds a bucket; those it overlaps with become one with it.
    pub fn add(&mut self, low: f64, high: f64) {
        let from = self
            .buckets
            .partition_point(|bucket| is_before(*bucket, [low, high]));
        let overlapping = self.buckets[from..].iter();
        let count = overlapping
            .take_while(|bucket| !is_before([low, high], **bucket))
            .count();
        match &self.buckets[from..from + count] {
            [] => self.buckets.insert(from, [low, high]),
            [one] if one[0] <= low && high <= one[1] => return,
            some => {
                let hull = [low.min(some[0][0]), high.max(some[count - 1][1])];
                self.buckets.splice(from..from + count, [hull]);
            }
        }
        if self.buckets.len() > BUCKETS_MAX {
            let pairs = self.buckets.chunks(2);
            self.buckets = pairs
                .map(|pair| [pair[0][0], pair[pair.len() - 1][1]])
                .collect();
        }
    }

    /// The bucket that holds a value, with its true ends, of which one may be infinite.
    pub fn bucket(&self, value: f64) -> Option<[f64; 2]> {
        let at = self.buckets.partition_point(|bucket| bucket[1] < value);
        let found = *self.buckets.get(at)?;
        let holds = found[0] < value || (found[0] == value && found[1] == value);
        holds.then_some(found)
    }
}

/// Whether one lies wholly below another, sharing at most an end that only one of them holds.
fn is_before(one: [f64; 2], other: [f64; 2]) -> bool {
    let is_point = |bucket: [f64; 2]| bucket[0] == bucket[1];
    if is_point(one) && is_point(other) {
        return one[1] < other[0];
    }
    if is_point(other) {
        // Only `other` is a point: the interval's upper end is its own.
        return one[1] < other[0];
    }
    one[1] <= other[0] + SAME_BOUND * other[0].abs()
}

/// What lies in each bucket, from counts up to ascending bounds. Observations are taken to start at
/// zero, unless the first bound says otherwise, and a count below the one before it to equal it.
pub fn apart(up_to: impl IntoIterator<Item = (f64, u64)>) -> Vec<([f64; 2], u64)> {
    let mut before: Option<(f64, u64)> = None;
    let bucket = |(bound, count): (f64, u64)| {
        let start = if bound > 0.0 { 0.0 } else { f64::NEG_INFINITY };
        let (low, below) = before.unwrap_or((start, 0));
        let count = count.max(below);
        before = Some((bound, count));
        ([low, bound], count - below)
    };
    up_to.into_iter().map(bucket).collect()
}

/// A bucket with finite ends: an open one reaches as far again as its only end is from zero.
pub fn closed([low, high]: [f64; 2]) -> [f64; 2] {
    let beyond = |end: f64| if end == 0.0 { 1.0 } else { end.abs() };
    match (low.is_finite(), high.is_finite()) {
        (true, true) => [low, high],
        (true, false) => [low, low + beyond(low)],
        (false, true) => [high - beyond(high), high],
        (false, false) => [-1.0, 1.0],
    }
}

/// The value that stands for all in a bucket: its middle.
pub fn middle(bucket: [f64; 2]) -> f64 {
    let [low, high] = closed(bucket);
    low + (high - low) / 2.0
}

/// Whether a bucket is too wide for its values to be taken as spread evenly over it, where
/// values of the metric are about as large as `typical`.
pub fn is_wide([low, high]: [f64; 2], typical: f64) -> bool {
    let width = high - low;
    if width <= NARROW_SHARE * typical.abs() {
        return false;
    }
    let inner = low.abs().min(high.abs());
    // A bucket about zero, and an open one, is wide at any size.
    low * high <= 0.0 || !width.is_finite() || width > (WIDE_FACTOR - 1.0) * inner
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(buckets: &[[f64; 2]]) -> Layout {
        let mut layout = Layout::default();
        for &[low, high] in buckets {
            layout.add(low, high);
        }
        layout
    }

    #[test]
    fn buckets_stay_apart_until_they_overlap() {
        let apart = [
            [4.0, 8.0],
            [0.0, 1.0],
            [1.0, 2.0],
            [0.0, 0.0],
            [8.0, f64::INFINITY],
        ];
        let layout_of_all = layout(&apart);
        assert_eq!(layout_of_all.len(), 5);
        for bucket in apart {
            assert_eq!(layout_of_all.bucket(middle(bucket)), Some(bucket));
        }
        assert_eq!(layout_of_all.bucket(3.0), None);
        assert_eq!(layout_of_all.bucket(2.0), Some([1.0, 2.0]));
        assert_eq!(layout_of_all.bucket(4.0), None, "a bucket has no lower end");
        let mut merged = layout_of_all.clone();
        merged.add(0.5, 4.5);
        assert_eq!(merged.bucket(1.0), Some([0.0, 8.0]));
        assert_eq!((merged.len(), merged.bucket(0.0)), (3, Some([0.0, 0.0])));
        merged.add(0.25, 7.0);
        assert_eq!(merged.len(), 3, "it lies within one");
    }

    #[test]
    fn the_order_in_which_buckets_come_does_not_matter() {
        let buckets = [
            [0.0, 1.0],
            [0.5, 2.0],
            [2.0, 4.0],
            [5.0, 6.0],
            [3.0, 5.0],
            [-1.0, 0.0],
        ];
        let wanted = layout(&buckets);
        for turn in 1..buckets.len() {
            let mut turned = buckets;
            turned.rotate_left(turn);
            assert_eq!(layout(&turned), wanted);
        }
        assert_eq!(wanted.len(), 4, "{wanted:?}");
    }

    #[test]
    fn bounds_computed_in_two_ways_are_the_same() {
        let factor = libm::pow(2.0, 0.125);
        let mut layout = Layout::default();
        let mut low = 1.0;
        for i in 0..200 {
            let power = |number: i32| libm::pow(factor, f64::from(number));
            layout.add(power(i), power(i + 1));
            layout.add(low, low * factor);
            low *= factor;
        }
        assert_eq!(layout.len(), 200);
    }

    #[test]
    fn a_layout_is_bounded() {
        let mut layout = Layout::default();
        for i in 0..BUCKETS_MAX {
            layout.add(i as f64, i as f64 + 1.0);
        }
        assert_eq!(layout.len(), BUCKETS_MAX);
        layout.add(-1.0, 0.0);
        assert_eq!(layout.len(), BUCKETS_MAX / 2 + 1);
        assert_eq!(layout.bucket(0.5), Some([-1.0, 1.0]));
    }

    #[test]
    fn counts_up_to_bounds_are_taken_apart() {
        let infinity = f64::INFINITY;
        assert_eq!(
            apart([(0.1, 3), (0.5, 2), (2.0, 9), (infinity, 10)]),
            [
                ([0.0, 0.1], 3),
                ([0.1, 0.5], 0),
                ([0.5, 2.0], 6),
                ([2.0, infinity], 1)
            ]
        );
        assert_eq!(
            apart([(-1.0, 1), (0.0, 4)]),
            [([-infinity, -1.0], 1), ([-1.0, 0.0], 3)]
        );
    }

    #[test]
    fn width_is_measured_against_the_values() {
        assert!(!is_wide([1.0, 1.25], 1.0) && is_wide([1.0, 1.26], 1.0));
        assert!(!is_wide([-1.25, -1.0], 1.0) && is_wide([-1.26, -1.0], 1.0));
        assert!(is_wide([0.0, 0.005], 0.01) && !is_wide([0.0, 1e-9], 0.01));
        assert!(is_wide([10.0, f64::INFINITY], 0.01) && is_wide([f64::NEG_INFINITY, 1.0], 1.0));
        assert!(!is_wide([2.0, 2.0], 0.0) && !is_wide([0.0, 0.0], 1.0));
        assert_eq!(
            (closed([10.0, f64::INFINITY]), middle([10.0, f64::INFINITY])),
            ([10.0, 20.0], 15.0)
        );
        assert_eq!(closed([f64::NEG_INFINITY, 0.0]), [-1.0, 0.0]);
    }
}
