//! Cells of OTLP histograms.
//!
//! Owns where the buckets of explicit and of exponential histograms lie and what is wrong with
//! some of them (OTLP metrics v1, `HistogramDataPoint` and `ExponentialHistogramDataPoint`).
//! Temporality is the business of [`super::gather`].

use super::super::exponential;
use super::super::number::Problem;
use super::super::series::HISTOGRAM_CELLS_MAX;
use crate::model::series::HistogramCell;

/// Scales an exponential histogram may have.
const SCALES: std::ops::RangeInclusive<i32> = -10..=20;

/// A list of which no more is kept than a histogram may have cells.
#[derive(Debug, Default)]
pub(super) struct Few<T> {
    kept: Vec<T>,
    is_past: bool,
}

/// The buckets of one direction of an exponential histogram that are not empty.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    /// Index of the first bucket.
    pub offset: i32,
    /// Position behind the offset, and count.
    counted: Few<(u32, u64)>,
    next: u32,
}

/// An exponential histogram at one point.
#[derive(Debug, Default)]
pub(super) struct Exponential {
    /// Each bucket is `2^(2^-scale)` times as wide as the one before.
    pub scale: i32,
    /// Observations that are too near to zero for a bucket.
    pub zero_count: u64,
    /// How near that is.
    pub zero_threshold: f64,
    /// Buckets above zero.
    pub positive: Buckets,
    /// Buckets below zero.
    pub negative: Buckets,
}

// === impl Few ===

impl<T> Few<T> {
    pub fn clear(&mut self) {
        self.kept.clear();
        self.is_past = false;
    }

    pub fn push(&mut self, item: T) {
        if self.kept.len() < HISTOGRAM_CELLS_MAX {
            self.kept.push(item);
        } else {
            self.is_past = true;
        }
    }

    fn all(&self) -> Result<&[T], Problem> {
        if self.is_past {
            return Err(too_many());
        }
        Ok(&self.kept)
    }
}

// === impl Buckets ===

impl Buckets {
    fn clear(&mut self) {
        self.offset = 0;
        self.counted.clear();
        self.next = 0;
    }

    /// Adds the count of the next bucket.
    pub fn push(&mut self, count: u64) {
        if count > 0 {
            self.counted.push((self.next, count));
        }
        self.next = self.next.saturating_add(1);
    }
}

// === impl Exponential ===

impl Exponential {
    pub fn clear(&mut self) {
        self.scale = 0;
        self.zero_count = 0;
        self.zero_threshold = 0.0;
        self.positive.clear();
        self.negative.clear();
    }

    /// Its cells, ascending.
    ///
    /// # Errors
    /// [`Problem`] where it is none.
    pub fn cells(&self) -> Result<Vec<HistogramCell>, Problem> {
        let scale = self.scale;
        if !SCALES.contains(&scale) {
            let (least, most) = (SCALES.start(), SCALES.end());
            let message = format!("the scale is {scale}; it must be from {least} to {most}");
            return Err(bad(message));
        }
        let zero = self.zero_threshold;
        if !(0.0..f64::INFINITY).contains(&zero) {
            let message = format!("zero_threshold is {zero}; it must be finite and not negative");
            return Err(bad(message));
        }
        let (negative, positive) = (&self.negative, &self.positive);
        let (below, above) = (negative.counted.all()?, positive.counted.all()?);
        if below.len() + above.len() >= HISTOGRAM_CELLS_MAX {
            return Err(too_many());
        }
        let mut cells = Vec::with_capacity(below.len() + 1 + above.len());
        let mut near_zero = self.zero_count as f64;
        // A bucket inside the zero bucket is counted there, and one that reaches out of it begins
        // at its edge: cells must not overlap.
        let mut far = |offset: i32, &(position, count): &(u32, u64)| {
            let index = i64::from(offset) + i64::from(position);
            let low = exponential::boundary(scale, index);
            let high = exponential::boundary(scale, index + 1);
            if low >= high {
                let message = format!(
                    "bucket {index} of scale {scale} lies beyond all doubles; check `offset`"
                );
                return Err(bad(message));
            }
            if high <= zero {
                near_zero += count as f64;
                return Ok(None);
            }
            Ok(Some((low.max(zero), high, count as f64)))
        };
        for bucket in below.iter().rev() {
            if let Some((low, high, count)) = far(negative.offset, bucket)? {
                // Not -0.0, where the bucket reaches down to zero.
                let (low, high) = (-high, 0.0 - low);
                cells.push(HistogramCell { low, high, count });
            }
        }
        let zero_at = cells.len();
        for bucket in above {
            if let Some((low, high, count)) = far(positive.offset, bucket)? {
                cells.push(HistogramCell { low, high, count });
            }
        }
        if near_zero > 0.0 {
            let cell = HistogramCell {
                low: 0.0 - zero,
                high: zero,
                count: near_zero,
            };
            cells.insert(zero_at, cell);
        }
        Ok(cells)
    }
}

/// The cells of an explicit histogram: the first reaches down to minus infinity, the last up to
/// infinity. One without buckets is one cell of `total` observations.
///
/// # Errors
/// [`Problem`] where bounds and counts do not fit together.
pub(super) fn explicit(
    bounds: &Few<f64>,
    counts: &Few<u64>,
    total: u64,
) -> Result<Vec<HistogramCell>, Problem> {
    let (bounds, counts) = (bounds.all()?, counts.all()?);
    let only = [total];
    let counts = if counts.is_empty() && bounds.is_empty() {
        &only
    } else {
        counts
    };
    if counts.len() != bounds.len() + 1 {
        let (given, expected) = (counts.len(), bounds.len() + 1);
        let message = format!(
            "{given} bucket_counts for {} explicit_bounds; there must be {expected}",
            bounds.len()
        );
        return Err(bad(message));
    }
    if !bounds.is_sorted_by(|a, b| a < b) || bounds.iter().any(|bound| bound.is_nan()) {
        let message = "explicit_bounds must ascend, without any twice";
        return Err(bad(message));
    }
    let mut cells = Vec::with_capacity(counts.iter().filter(|count| **count > 0).count());
    let lows = std::iter::once(f64::NEG_INFINITY).chain(bounds.iter().copied());
    let highs = bounds.iter().copied().chain(std::iter::once(f64::INFINITY));
    for ((low, high), &count) in lows.zip(highs).zip(counts) {
        if count == 0 {
            continue;
        }
        if low == high {
            let message = format!("a bucket that begins and ends at {low} holds observations");
            return Err(bad(message));
        }
        let count = count as f64;
        cells.push(HistogramCell { low, high, count });
    }
    Ok(cells)
}

fn bad(message: impl Into<String>) -> Problem {
    Problem::new("bad_histogram", message)
}

fn too_many() -> Problem {
    Problem::new(
        "too_many_cells",
        format!(
            "a histogram of more than {HISTOGRAM_CELLS_MAX} buckets; send fewer, or a smaller scale"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn few<T>(items: impl IntoIterator<Item = T>) -> Few<T> {
        let mut few = Few {
            kept: Vec::new(),
            is_past: false,
        };
        items.into_iter().for_each(|item| few.push(item));
        few
    }

    fn triples(cells: Vec<HistogramCell>) -> Vec<(f64, f64, f64)> {
        cells.iter().map(|c| (c.low, c.high, c.count)).collect()
    }

    #[test]
    fn explicit_cells_lie_between_their_bounds() {
        const INF: f64 = f64::INFINITY;
        let found = explicit(&few([1.0, 2.0, 5.0]), &few([3, 0, 2, 1]), 6);
        let expected = [(-INF, 1.0, 3.0), (2.0, 5.0, 2.0), (5.0, INF, 1.0)];
        assert_eq!(triples(found.expect("good")), expected);
        let found = explicit(&few([]), &few([]), 7).expect("good");
        assert_eq!(triples(found), [(-INF, INF, 7.0)]);
        let found = explicit(&few([]), &few([2]), 2).expect("good");
        assert_eq!(triples(found), [(-INF, INF, 2.0)]);
        assert_eq!(explicit(&few([]), &few([]), 0), Ok(Vec::new()));
        let found = explicit(&few([1.0, INF]), &few([1, 2, 0]), 3).expect("good");
        assert_eq!(triples(found), [(-INF, 1.0, 1.0), (1.0, INF, 2.0)]);
    }

    #[test]
    fn explicit_cells_that_do_not_fit_are_refused() {
        for (bounds, counts) in [
            (vec![1.0, 2.0], vec![1, 2]),
            (vec![1.0], vec![]),
            (vec![], vec![1, 2]),
            (vec![1.0, 1.0], vec![1, 1, 1]),
            (vec![2.0, 1.0], vec![1, 1, 1]),
            (vec![f64::NAN], vec![1, 1]),
            (vec![1.0, f64::INFINITY], vec![1, 1, 1]),
        ] {
            let found = explicit(&few(bounds.clone()), &few(counts.clone()), 3);
            let code = found.map_err(|problem| problem.code);
            assert_eq!(code, Err("bad_histogram"), "{bounds:?} {counts:?}");
        }
        let bounds = |n: usize| few((0..n).map(|i| i as f64));
        let counts = |n: usize| few(std::iter::repeat_n(1, n));
        let most = HISTOGRAM_CELLS_MAX;
        assert!(explicit(&bounds(most - 1), &counts(most), 0).is_ok());
        let found = explicit(&bounds(most), &counts(most + 1), 0);
        assert_eq!(found.map_err(|p| p.code), Err("too_many_cells"));
    }

    fn exponential(scale: i32, negative: (i32, &[u64]), positive: (i32, &[u64])) -> Exponential {
        let mut histogram = Exponential {
            scale,
            ..Exponential::default()
        };
        for (side, (offset, counts)) in [
            (&mut histogram.negative, negative),
            (&mut histogram.positive, positive),
        ] {
            side.offset = offset;
            counts.iter().for_each(|count| side.push(*count));
        }
        histogram
    }

    #[test]
    fn exponential_cells_ascend_from_negative_to_positive() {
        let mut histogram = exponential(0, (1, &[5, 0, 6]), (-1, &[1, 2, 0, 3]));
        histogram.zero_count = 4;
        let expected = [
            (-16.0, -8.0, 6.0),
            (-4.0, -2.0, 5.0),
            (0.0, 0.0, 4.0),
            (0.5, 1.0, 1.0),
            (1.0, 2.0, 2.0),
            (4.0, 8.0, 3.0),
        ];
        assert_eq!(triples(histogram.cells().expect("good")), expected);
        // The zero bucket takes what it covers.
        histogram.zero_threshold = 1.5;
        let expected = [
            (-16.0, -8.0, 6.0),
            (-4.0, -2.0, 5.0),
            (-1.5, 1.5, 5.0),
            (1.5, 2.0, 2.0),
            (4.0, 8.0, 3.0),
        ];
        assert_eq!(triples(histogram.cells().expect("good")), expected);
    }

    #[test]
    fn exponential_cells_reach_to_the_ends_of_doubles_and_not_past_them() {
        let wide = exponential(-10, (0, &[]), (-1, &[1, 2]));
        let below_one = libm::ldexp(1.0, -1024);
        let expected = [(below_one, 1.0, 1.0), (1.0, f64::MAX, 2.0)];
        assert_eq!(triples(wide.cells().expect("good")), expected);
        for (scale, offset) in [
            (-10, 2),
            (-10, -3),
            (20, i32::MAX),
            (20, i32::MIN),
            (0, 1025),
        ] {
            let found = exponential(scale, (0, &[]), (offset, &[1])).cells();
            assert_eq!(
                found.map_err(|p| p.code),
                Err("bad_histogram"),
                "{scale} {offset}"
            );
            // Where there is nothing, it does not matter where that is.
            let found = exponential(scale, (0, &[]), (offset, &[0])).cells();
            assert_eq!(found, Ok(Vec::new()));
        }
        for scale in [-11, 21, i32::MIN, i32::MAX] {
            let found = exponential(scale, (0, &[]), (0, &[1])).cells();
            assert_eq!(found.map_err(|p| p.code), Err("bad_histogram"));
        }
        for zero_threshold in [-1.0, f64::NAN, f64::INFINITY] {
            let mut histogram = exponential(0, (0, &[]), (0, &[1]));
            histogram.zero_threshold = zero_threshold;
            assert_eq!(histogram.cells().map_err(|p| p.code), Err("bad_histogram"));
        }
    }

    #[test]
    fn exponential_histograms_have_a_limit_on_what_is_not_empty() {
        let mut counts = vec![0; 5_000];
        counts[..HISTOGRAM_CELLS_MAX - 1].fill(1);
        let cells = exponential(8, (0, &[]), (0, &counts)).cells();
        assert_eq!(cells.expect("at the limit").len(), HISTOGRAM_CELLS_MAX - 1);
        counts[4_999] = 1;
        for histogram in [
            exponential(8, (0, &[]), (0, &counts)),
            exponential(8, (0, &counts), (0, &[])),
        ] {
            assert_eq!(histogram.cells().map_err(|p| p.code), Err("too_many_cells"));
        }
    }
}
