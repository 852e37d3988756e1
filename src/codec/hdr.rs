//! HdrHistogram: interval logs (`.hlog`) and the encoded histograms they hold.
//!
//! Written from the published definition: the encodings V0 to V2 of HdrHistogram 2.1 (cookies,
//! headers, words of fixed length or ZigZag LEB128-64b9B) and the log format 1.3 of its
//! HistogramLogWriter and HistogramLogReader. Owns what a log becomes: one histogram for each
//! interval, which holds what came since the one before. Lines are read in `log`, encoded
//! histograms in `payload`, and which values a cell stands for in `layout`. It must not know what a
//! histogram is asked for.
//!
//! - A cell of the lowest to the highest equivalent value, both whole and both in it, becomes the
//!   cell above the value below the lowest, up to the highest.
//! - Values are as recorded, divided by [`Naming::divisor`]. The header MaxValueDivisor says how
//!   the column of maxima was scaled for people, and only that column is scaled back by it.
//! - Histograms of doubles, shifted ones and those of more cells than the limits allow are refused.

mod layout;
mod log;
mod payload;

use std::num::NonZeroU64;

use super::series::{Collecting, DecodedSeries};
use super::{Limits, Origin, Unreadable, UnreadableCode};
use crate::model::series::{self, NAME_LABEL, Point, PointValue, SeriesKind};

pub use log::{Interval, Intervals};
pub use payload::read_payload;

/// Cells that one histogram's range and digits may span, recorded or not.
pub const SPANNED_CELLS_MAX: usize = 1 << 20;
/// Cells spanned and bytes inflated in all the histograms of one log. It bounds the time that a
/// small log can ask for; a day of intervals of a second with two digits stays below it.
pub const LOG_WORK_MAX: u64 = 1 << 28;
/// The label that an interval's tag becomes.
pub const TAG_LABEL: &str = "tag";

/// One cell of a histogram that is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HdrCell {
    /// Lowest value that was recorded as one of this cell.
    pub lowest: u64,
    /// Highest such value.
    pub highest: u64,
    /// How many were.
    pub count: u64,
}

/// Why an encoded histogram cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadPayload {
    /// Stable code, snake_case.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

/// What a log does not say: whose values it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Naming<'n> {
    /// Name of the series.
    pub metric: &'n str,
    /// Labels of the series; [`TAG_LABEL`] is added for intervals with a tag.
    pub labels: &'n [(&'n str, &'n str)],
    /// Values of the series are those recorded divided by it: 1,000,000 makes milliseconds of
    /// nanoseconds.
    pub divisor: NonZeroU64,
}

/// Decodes a log into series of histograms, one point at each interval's end. `room` is asked,
/// while they grow, whether they may take so many bytes of memory in all, about.
///
/// # Errors
/// [`Unreadable`] when the body is no interval log, holds too many intervals, or finds no room.
pub fn decode(
    body: &[u8],
    naming: Naming<'_>,
    limits: &Limits,
    room: &mut dyn FnMut(u64) -> bool,
) -> Result<DecodedSeries, Unreadable> {
    let mut collecting = Collecting::new(limits, room).with_cells_max(limits.values_per_sample_max);
    let mut intervals = Intervals::new(body, limits)?;
    for interval in &mut intervals {
        let interval = match interval {
            Ok(interval) => interval,
            Err(refusal) => {
                let (index, line) = (refusal.index, refusal.line);
                let origin = Origin { index, line };
                collecting.refuse_series(origin, refusal.code, refusal.message, 1)?;
                continue;
            }
        };
        let name = std::iter::once((NAME_LABEL, naming.metric));
        let tag = interval.tag.map(|tag| (TAG_LABEL, tag));
        let labels = name.chain(naming.labels.iter().copied()).chain(tag);
        collecting.begin(labels, SeriesKind::Histogram, interval.origin);
        let value = if collecting.is_refused() {
            // The point is refused with its series, whatever it holds.
            PointValue::Stale
        } else {
            collecting.histogram(interval.histogram(naming.divisor))
        };
        collecting.point(Point {
            ts: interval.end,
            start: Some(interval.start),
            value,
        })?;
    }
    let decoded = collecting.finish()?;
    match decoded.refusals.first() {
        Some(first) if !intervals.is_any_read() => Err(Unreadable {
            code: UnreadableCode::MalformedText,
            message: format!(
                "no line of the body is of an interval log; line {}: {}",
                first.line.unwrap_or(1),
                first.message
            ),
            help: "a line is `start,length,max,histogram`: seconds, seconds, a number, base64"
                .into(),
        }),
        _ => Ok(decoded),
    }
}

// === impl Interval ===

impl Interval<'_> {
    /// The interval's histogram, values divided by `divisor`.
    pub fn histogram(&self, divisor: NonZeroU64) -> series::Histogram {
        let divisor = divisor.get() as f64;
        let cells = self.cells.iter().map(|cell| series::HistogramCell {
            // Values are whole, so nothing lies between the value below and the lowest.
            low: cell.lowest.saturating_sub(1) as f64 / divisor,
            high: cell.highest as f64 / divisor,
            count: cell.count as f64,
        });
        series::Histogram {
            is_increment: true,
            cells: cells.collect(),
            sum: None,
        }
    }
}

#[cfg(test)]
mod tests;
