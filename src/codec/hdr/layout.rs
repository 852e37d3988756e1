//! Which values a cell of an HdrHistogram stands for.
//!
//! Owns the arithmetic of the definition: buckets of doubling width, each halved into as many
//! sub-buckets as the digits ask for, laid out one after another. All of it is in whole numbers.
//! It must not know how counts are encoded.

use super::{BadPayload, SPANNED_CELLS_MAX};

/// Significant decimal digits that the definition allows.
const DIGITS_MAX: u32 = 5;

/// The cells of one range and number of digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Power of two that the lowest discernible value is rounded down to.
    unit_magnitude: u32,
    /// Power of two of the sub-buckets that a bucket adds: half of those of the first.
    half_count_magnitude: u32,
    /// Number of cells.
    pub cells: usize,
}

// === impl Layout ===

impl Layout {
    /// The layout that a header asks for.
    ///
    /// # Errors
    /// [`BadPayload`] for what the definition does not allow, and for more cells than
    /// [`SPANNED_CELLS_MAX`].
    pub fn new(digits: u32, lowest: u64, highest: u64) -> Result<Layout, BadPayload> {
        let bad = |message: String| {
            let code = "bad_histogram_header";
            BadPayload { code, message }
        };
        if digits > DIGITS_MAX {
            let message = format!("{digits} significant digits; there are 0 to {DIGITS_MAX}");
            return Err(bad(message));
        }
        if lowest < 1 || highest > i64::MAX as u64 || highest / 2 < lowest {
            return Err(bad(format!(
                "values from {lowest} to {highest}; the lowest is at least 1, the highest at least \
                 twice that and below 2^63"
            )));
        }
        let unit_magnitude = lowest.ilog2();
        // Single units must be told apart up to twice the power of ten.
        let sub_buckets = (2 * 10_u64.pow(digits)).next_power_of_two();
        let half_count_magnitude = sub_buckets.ilog2() - 1;
        if unit_magnitude + half_count_magnitude > 61 {
            return Err(bad(format!(
                "{digits} digits above {lowest} do not fit 64 bits; record in a coarser unit"
            )));
        }
        // The first bucket ends below this power of two, each further one a power above.
        let first_end = unit_magnitude + half_count_magnitude + 1;
        let buckets = (highest.ilog2() + 1).saturating_sub(first_end) + 1;
        let cells = (buckets as usize + 1) << half_count_magnitude;
        if cells > SPANNED_CELLS_MAX {
            return Err(BadPayload {
                code: "too_many_cells",
                message: format!(
                    "{digits} digits from {lowest} to {highest} take {cells} cells; at most \
                     {SPANNED_CELLS_MAX} are allowed; record fewer digits or a smaller range"
                ),
            });
        }
        Ok(Layout {
            unit_magnitude,
            half_count_magnitude,
            cells,
        })
    }

    /// Lowest and highest value of a cell.
    pub fn values(self, cell: usize) -> (u64, u64) {
        let half_count = 1_usize << self.half_count_magnitude;
        // The first bucket has twice the cells of the others, so it looks like two of them.
        let (bucket, sub_bucket) = match cell >> self.half_count_magnitude {
            0 | 1 => (0, cell),
            half => (half - 1, (cell & (half_count - 1)) + half_count),
        };
        let shift = bucket as u32 + self.unit_magnitude;
        let lowest = (sub_bucket as u64) << shift;
        (lowest, lowest + ((1 << shift) - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_those_of_the_reference() {
        for (digits, lowest, highest) in [
            (0, 1, 2),
            (1, 1, 1_000),
            (2, 20_000, 3_600_000_000_000),
            (3, 1, 524_287),
            (3, 1, i64::MAX as u64),
            (4, 7, 1 << 40),
        ] {
            let layout = Layout::new(digits, lowest, highest).expect("allowed");
            let reference =
                hdrhistogram::Histogram::<u64>::new_with_bounds(lowest, highest, digits as u8);
            let reference = reference.expect("allowed");
            assert_eq!(
                layout.cells,
                reference.distinct_values(),
                "{digits} {lowest}"
            );
            let (first, last) = (layout.values(0), layout.values(layout.cells - 1));
            assert_eq!(first.0, 0);
            assert!(last.1 >= highest);
            let mut above = 0;
            for cell in 0..layout.cells {
                let (low, high) = layout.values(cell);
                assert_eq!(low, above, "cells touch");
                above = high + 1;
                assert_eq!(reference.lowest_equivalent(high), low);
                assert_eq!(reference.highest_equivalent(low), high);
            }
        }
    }

    #[test]
    fn headers_that_cannot_be_are_refused() {
        for (digits, lowest, highest, code) in [
            (6, 1, 100, "bad_histogram_header"),
            (3, 0, 100, "bad_histogram_header"),
            (3, 51, 101, "bad_histogram_header"),
            (3, 1, 1 << 63, "bad_histogram_header"),
            (5, 1 << 45, 1 << 62, "bad_histogram_header"),
            (5, 1, u64::MAX / 4, "too_many_cells"),
            (5, 1, 1 << 25, "too_many_cells"),
        ] {
            let found = Layout::new(digits, lowest, highest).map_err(|bad| bad.code);
            assert_eq!(found, Err(code), "{digits} {lowest} {highest}");
        }
        assert_eq!(
            Layout::new(5, 1, (1 << 24) - 1).map(|l| l.cells),
            Ok(SPANNED_CELLS_MAX)
        );
    }
}
