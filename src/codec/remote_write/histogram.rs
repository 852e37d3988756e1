//! One native histogram.
//!
//! Owns how its buckets are laid out ("Native Histograms", Prometheus specification, sections
//! "Schema" to "Special cases of observed values"): counts as deltas or as they are, the zero bucket,
//! and what of them cannot be. The field numbers are the same in both messages. It must not know
//! whose series it is of. Where buckets lie is in [`buckets`].
//!
//! The reset hint decides one thing only: whether buckets may go down, as those of a gauge. Whether
//! a counting histogram has begun anew is seen in its counts and its start.

mod buckets;

use buckets::{Ends, Indices, Listed, Span};

use super::read::Trouble;
use crate::codec::protobuf::{Fields, Malformed, doubles, sints};
use crate::codec::series::HISTOGRAM_CELLS_MAX;
use crate::model::Timestamp;
use crate::model::series::{Histogram, HistogramCell};

/// The schemas whose boundaries are powers.
const EXPONENTIAL: std::ops::RangeInclusive<i32> = -4..=8;
/// The schema whose boundaries are listed.
const CUSTOM: i32 = -53;
/// The reset hint of a gauge histogram.
const HINT_GAUGE: u64 = 3;

/// Numbers of the fields of one direction.
#[derive(Debug, Clone, Copy)]
struct Direction {
    spans: u32,
    deltas: u32,
    counts: u32,
}

const NEGATIVE: Direction = Direction {
    spans: 8,
    deltas: 9,
    counts: 10,
};
const POSITIVE: Direction = Direction {
    spans: 11,
    deltas: 12,
    counts: 13,
};
const CUSTOM_VALUES: u32 = 16;

/// A count as a whole number or as a float; which it is holds for the whole histogram.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Count {
    Whole(u64),
    Float(f64),
}

/// All of a histogram but its buckets.
#[derive(Debug)]
pub(super) struct Head {
    pub ts: Timestamp,
    /// Since when it counts, as it stands in a 2.0 request; 0 for not known.
    pub start: u64,
    pub sum: f64,
    count: Count,
    schema: i32,
    zero_threshold: f64,
    zero_count: Option<Count>,
    hint: u64,
    /// Buckets that the spans name, of both directions.
    negative: u64,
    positive: u64,
}

/// Why a gauge histogram is refused.
pub(super) fn gauge() -> Trouble {
    let message = "a gauge histogram cannot be counted; send a histogram that only grows";
    Trouble::new("gauge_histogram", message)
}

fn bad(message: impl Into<String>) -> Trouble {
    Trouble::new("bad_histogram", message)
}

// === impl Head ===

impl Head {
    /// Reads everything but the buckets, whatever the order.
    pub fn of(message: &[u8]) -> Result<Head, Malformed> {
        let mut head = Head {
            ts: Timestamp(0),
            start: 0,
            sum: 0.0,
            count: Count::Whole(0),
            schema: 0,
            zero_threshold: 0.0,
            zero_count: None,
            hint: 0,
            negative: 0,
            positive: 0,
        };
        for field in Fields::new(message) {
            let (number, value) = field?;
            match number {
                1 => head.count = Count::Whole(value.varint(1)?),
                2 => head.count = Count::Float(value.double(2)?),
                3 => head.sum = value.double(3)?,
                4 => head.schema = value.sint32(4)?,
                5 => head.zero_threshold = value.double(5)?,
                6 => head.zero_count = Some(Count::Whole(value.varint(6)?)),
                7 => head.zero_count = Some(Count::Float(value.double(7)?)),
                8 => head.negative += u64::from(Span::of(value.bytes(8)?)?.length),
                11 => head.positive += u64::from(Span::of(value.bytes(11)?)?.length),
                14 => head.hint = value.varint(14)?,
                15 => head.ts = Timestamp(value.varint(15)? as i64),
                17 => head.start = value.varint(17)?,
                _ => {}
            }
        }
        Ok(head)
    }

    /// Reads the buckets. `cells` is memory that the next histogram uses again.
    pub fn read(
        &self,
        message: &[u8],
        cells: &mut Vec<HistogramCell>,
    ) -> Result<Histogram, Trouble> {
        cells.clear();
        if self.hint == HINT_GAUGE {
            return Err(gauge());
        }
        let zero_count = self.zero_count()?;
        let buckets = self.negative + self.positive + u64::from(zero_count > 0.0);
        if buckets > HISTOGRAM_CELLS_MAX as u64 {
            return Err(Trouble::new(
                "too_many_cells",
                format!(
                    "a histogram of {buckets} buckets; at most {HISTOGRAM_CELLS_MAX} are allowed"
                ),
            ));
        }
        let total = match self.schema {
            CUSTOM => self.custom(message, zero_count, cells)?,
            schema if EXPONENTIAL.contains(&schema) => {
                self.exponential(message, zero_count, cells)?
            }
            schema => {
                return Err(bad(format!(
                    "the bucket schema {schema} is not known; send -4 to 8, or -53"
                )));
            }
        };
        self.check(total)?;
        Ok(Histogram {
            is_increment: false,
            cells: cells.to_vec(),
            // An observed NaN makes the sum one, and lies in no bucket.
            sum: (!self.sum.is_nan()).then_some(self.sum),
        })
    }

    fn is_whole(&self) -> bool {
        matches!(self.count, Count::Whole(_))
    }

    fn zero_count(&self) -> Result<f64, Trouble> {
        match (self.zero_count, self.count) {
            (None, _) => Ok(0.0),
            (Some(Count::Whole(zero)), Count::Whole(_)) => Ok(zero as f64),
            (Some(Count::Float(zero)), Count::Float(_)) => not_negative(zero),
            // Unset fields of the other type are sent as 0 by some.
            (Some(Count::Whole(0)), _) => Ok(0.0),
            (Some(Count::Float(0.0)), _) => Ok(0.0),
            _ => Err(bad(
                "its count and its zero count are of two types; send both whole or both as floats",
            )),
        }
    }

    /// Fills in the cells by ascending value; tells the sum of whole counts.
    fn exponential(
        &self,
        message: &[u8],
        zero_count: f64,
        cells: &mut Vec<HistogramCell>,
    ) -> Result<u64, Trouble> {
        let zero_end = self.zero_threshold;
        if !(zero_end >= 0.0 && zero_end.is_finite()) {
            return Err(bad(format!(
                "the zero threshold {zero_end} must be 0 or above and finite"
            )));
        }
        let mut ends = Ends::new(self.schema, zero_end);
        let negative = self.walk(message, NEGATIVE, self.negative, |index, count| {
            let (low, high) = ends.of(index)?;
            // From 0, so that no end is a negative zero.
            cells.push(HistogramCell {
                low: 0.0 - high,
                high: 0.0 - low,
                count,
            });
            Ok(())
        })?;
        cells.reverse();
        if zero_count > 0.0 {
            cells.push(HistogramCell {
                low: 0.0 - zero_end,
                high: zero_end,
                count: zero_count,
            });
        }
        let positive = self.walk(message, POSITIVE, self.positive, |index, count| {
            let (low, high) = ends.of(index)?;
            cells.push(HistogramCell { low, high, count });
            Ok(())
        })?;
        let zero = match self.zero_count {
            Some(Count::Whole(zero)) => zero,
            _ => 0,
        };
        let total = negative.checked_add(positive);
        total
            .and_then(|total| total.checked_add(zero))
            .ok_or_else(too_many)
    }

    /// Fills in the cells between listed boundaries; tells the sum of whole counts.
    fn custom(
        &self,
        message: &[u8],
        zero_count: f64,
        cells: &mut Vec<HistogramCell>,
    ) -> Result<u64, Trouble> {
        if self.negative > 0 || zero_count > 0.0 {
            return Err(bad(
                "custom buckets have no zero bucket and no negative ones; send them as positive",
            ));
        }
        self.walk(message, NEGATIVE, 0, |_, _| Ok(()))?;
        let mut listed = Listed::new(doubles(message, CUSTOM_VALUES));
        let total = self.walk(message, POSITIVE, self.positive, |index, count| {
            let (low, high) = listed.of(index)?;
            cells.push(HistogramCell { low, high, count });
            Ok(())
        })?;
        listed.check_rest()?;
        Ok(total)
    }

    /// Goes over the buckets of one direction that hold anything; tells the sum of whole counts.
    fn walk(
        &self,
        message: &[u8],
        direction: Direction,
        buckets: u64,
        mut bucket: impl FnMut(i64, f64) -> Result<(), Trouble>,
    ) -> Result<u64, Trouble> {
        let mut indices = Indices::new(message, direction.spans);
        let (mut total, mut walked) = (0_u64, 0_u64);
        let mut take = |count: f64| {
            walked += 1;
            // More counts than the spans name buckets for: told below.
            let Some(index) = indices.next() else {
                return Ok(());
            };
            let index = index?;
            match count {
                0.0 => Ok(()),
                count => bucket(index, count),
            }
        };
        if self.is_whole() {
            let mut count = 0_i64;
            for delta in sints(message, direction.deltas) {
                count = count.checked_add(delta?).ok_or_else(too_many)?;
                let whole = u64::try_from(count)
                    .map_err(|_| bad(format!("a bucket counts {count}; see the deltas")))?;
                total = total.checked_add(whole).ok_or_else(too_many)?;
                take(whole as f64)?;
            }
        } else {
            for count in doubles(message, direction.counts) {
                take(not_negative(count?)?)?;
            }
        }
        if walked != buckets {
            return Err(bad(format!(
                "{walked} counts for the {buckets} buckets of its spans; send one for each"
            )));
        }
        // Spans after the last bucket name none, and must be right all the same.
        indices
            .next()
            .map_or(Ok(total), |index| index.map(|_| total))
    }

    /// Whole counts add up to the count of observations, but for those of NaN.
    fn check(&self, total: u64) -> Result<(), Trouble> {
        match self.count {
            Count::Whole(count) if total > count || (total < count && !self.sum.is_nan()) => {
                Err(bad(format!(
                    "its buckets hold {total} observations and its count says {count}"
                )))
            }
            Count::Float(count) => not_negative(count).map(|_| ()),
            Count::Whole(_) => Ok(()),
        }
    }
}

fn not_negative(count: f64) -> Result<f64, Trouble> {
    match count >= 0.0 && count.is_finite() {
        true => Ok(count),
        false => Err(bad(format!(
            "a count of {count}; it must be 0 or above and finite"
        ))),
    }
}

fn too_many() -> Trouble {
    bad("its counts are past 2^63")
}

#[cfg(test)]
mod tests;
