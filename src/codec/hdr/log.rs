//! The lines of an interval log: headers, comments, `[Tag=tag,]start,length,max,histogram`.
//!
//! Owns what is a header and how times are meant, which follows the reference reader: seconds
//! behind BaseTime; without it behind StartTime, if they are more than a year below it; else unix
//! seconds. It must not know how a histogram is encoded.

use super::payload::Payloads;
use super::{BadPayload, HdrCell};
use crate::codec::lines::{Line, Lines, expect_text, millis, millis_of_seconds, number};
use crate::codec::number::quoted;
use crate::codec::{ItemRefusal, Limits, Origin, TS_MILLIS_MAX, TS_MILLIS_MIN, Unreadable};
use crate::model::Timestamp;

/// Times further below StartTime than this are behind it.
const YEAR_MILLIS: i64 = 365 * 24 * 3_600 * 1_000;

/// One interval and its histogram.
#[derive(Debug, Clone, PartialEq)]
pub struct Interval<'b> {
    /// Where it stood.
    pub origin: Origin,
    /// Its tag, where it has one.
    pub tag: Option<&'b str>,
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// The column of the highest value, times MaxValueDivisor where the log says that.
    pub max: f64,
    /// Cells that are not empty, ascending.
    pub cells: Vec<HdrCell>,
}

/// The intervals of a log, in the order they stand. A line that cannot be read is an item by
/// itself.
pub struct Intervals<'b> {
    lines: Lines<'b>,
    payloads: Payloads,
    start_time: Option<i64>,
    /// What intervals' times are behind; decided by the first of them where no header says it.
    base_time: Option<i64>,
    max_divisor: f64,
    index: usize,
    is_any_read: bool,
}

// === impl Intervals ===

impl<'b> Intervals<'b> {
    /// The intervals of `body`.
    ///
    /// # Errors
    /// [`Unreadable`] for what is certainly no log.
    pub fn new(body: &'b [u8], limits: &Limits) -> Result<Intervals<'b>, Unreadable> {
        expect_text(body, "an interval log")?;
        Ok(Intervals {
            lines: Lines::new(body),
            payloads: Payloads::new(limits),
            start_time: None,
            base_time: None,
            max_divisor: 1.0,
            index: 0,
            is_any_read: false,
        })
    }

    /// StartTime, as far as it was met.
    pub fn start_time(&self) -> Option<Timestamp> {
        self.start_time.map(Timestamp)
    }

    /// Whether any line so far was what the format knows.
    pub(super) fn is_any_read(&self) -> bool {
        self.is_any_read
    }

    /// Reads a line with `#`; only headers say anything.
    fn header(&mut self, text: &str) -> Result<(), BadPayload> {
        let bad = |name: &str, value: &str| BadPayload {
            code: "bad_header",
            message: format!("the header {name} {}; give it a number", quoted(value)),
        };
        let inside = text.trim_start_matches('#').trim_ascii_start();
        let Some((name, rest)) = inside.strip_prefix('[').and_then(|i| i.split_once(':')) else {
            self.is_any_read |= inside.starts_with('[');
            return Ok(());
        };
        let value = rest.trim_ascii_start();
        let value = value.split([' ', '\t', ']', ',']).next().unwrap_or("");
        match name.trim_ascii() {
            "StartTime" => {
                let time = millis_of_seconds(value).ok_or_else(|| bad(name, value))?;
                self.start_time = Some(time);
            }
            "BaseTime" => {
                let time = millis_of_seconds(value).ok_or_else(|| bad(name, value))?;
                self.base_time = Some(time);
            }
            "MaxValueDivisor" => {
                let divisor = number(value).filter(|d| d.is_finite() && *d > 0.0);
                self.max_divisor = divisor.ok_or_else(|| bad(name, value))?;
            }
            _ => {}
        }
        self.is_any_read = true;
        Ok(())
    }

    fn interval(&mut self, text: &'b str, origin: Origin) -> Result<Interval<'b>, BadPayload> {
        let malformed = |message: String| BadPayload {
            code: "malformed_interval",
            message,
        };
        let (tag, fields) = match text.strip_prefix("Tag=") {
            Some(rest) => match rest.split_once(',') {
                Some((tag, fields)) => (Some(tag).filter(|tag| !tag.is_empty()), fields),
                None => return Err(malformed("nothing follows the tag".into())),
            },
            None => (None, text),
        };
        let mut fields = fields.splitn(4, ',').map(str::trim_ascii);
        let mut field = |name: &str| {
            let message = || format!("the {name} is missing; a line is start,length,max,histogram");
            fields.next().ok_or_else(|| malformed(message()))
        };
        let (start, length) = (field("start")?, field("length")?);
        let (max, histogram) = (field("max")?, field("histogram")?);
        let not_a_number = |name: &str, text: &str| {
            malformed(format!(
                "the {name} {} is no number; give seconds",
                quoted(text)
            ))
        };
        let start = millis_of_seconds(start).ok_or_else(|| not_a_number("start", start))?;
        let length = number(length)
            .filter(|length| *length >= 0.0)
            .and_then(millis)
            .ok_or_else(|| not_a_number("length", length))?;
        let max = number(max).ok_or_else(|| {
            let max = quoted(max);
            malformed(format!("the max {max} is no number"))
        })?;
        self.is_any_read = true;
        let start = self.base(start).saturating_add(start);
        let end = start.saturating_add(length);
        if start < TS_MILLIS_MIN || end > TS_MILLIS_MAX {
            return Err(BadPayload {
                code: "bad_timestamp",
                message: format!(
                    "the interval begins at unix millisecond {start}, which is not between the \
                     years 2000 and 2200; give the log a header #[StartTime: unix seconds]"
                ),
            });
        }
        let (start, end) = (Timestamp(start), Timestamp(end));
        Ok(Interval {
            origin,
            tag,
            start,
            end,
            max: max * self.max_divisor,
            cells: self.payloads.read(histogram)?,
        })
    }

    /// What this time is behind, and all after it.
    fn base(&mut self, start: i64) -> i64 {
        let start_time = self.start_time.unwrap_or(start);
        let is_behind = start < start_time.saturating_sub(YEAR_MILLIS);
        *self
            .base_time
            .get_or_insert(if is_behind { start_time } else { 0 })
    }

    fn line(&mut self, line: Line<'b>) -> Option<Result<Interval<'b>, ItemRefusal>> {
        let origin = Origin {
            index: self.index,
            line: Some(line.number),
        };
        let text = line.text.map(str::trim_ascii).map_err(|at| BadPayload {
            code: "not_utf8",
            message: format!("byte {} of the line is not UTF-8; send UTF-8", at + 1),
        });
        let read = match text {
            Ok("") => return None,
            Ok(text) if text.starts_with('#') => match self.header(text) {
                Ok(()) => return None,
                Err(bad) => Err(bad),
            },
            // The legend: names of the columns in quotes.
            Ok(text) if text.starts_with('"') => {
                self.is_any_read |= text.starts_with("\"StartTimestamp\"");
                return None;
            }
            Ok(text) => self.interval(text, origin),
            Err(bad) => Err(bad),
        };
        self.index += 1;
        Some(read.map_err(|bad| ItemRefusal {
            index: origin.index,
            line: origin.line,
            code: bad.code,
            message: bad.message,
        }))
    }
}

impl<'b> Iterator for Intervals<'b> {
    type Item = Result<Interval<'b>, ItemRefusal>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = self.lines.next()?;
            if let Some(item) = self.line(line) {
                return Some(item);
            }
        }
    }
}
