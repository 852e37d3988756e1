//! Where the buckets of a native histogram lie.
//!
//! Owns spans, and the ends of exponential and of listed buckets. It must not know how many
//! observations a bucket holds.

use super::bad;
use crate::codec::exponential::boundary;
use crate::codec::protobuf::{Fields, Malformed, Value};
use crate::codec::remote_write::read::Trouble;

/// Consecutive buckets.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Span {
    offset: i32,
    pub length: u32,
}

impl Span {
    pub fn of(message: &[u8]) -> Result<Span, Malformed> {
        let mut span = Span::default();
        for field in Fields::new(message) {
            match field? {
                (1, offset) => span.offset = offset.sint32(1)?,
                (2, length) => span.length = length.u32(2)?,
                _ => {}
            }
        }
        Ok(span)
    }
}

/// The buckets' indices, as the spans name them.
pub(super) struct Indices<'b> {
    fields: Fields<'b>,
    spans: u32,
    is_first: bool,
    next: i64,
    left: u32,
}

impl<'b> Indices<'b> {
    pub fn new(message: &'b [u8], spans: u32) -> Indices<'b> {
        Indices {
            fields: Fields::new(message),
            spans,
            is_first: true,
            next: 0,
            left: 0,
        }
    }

    fn begin(&mut self, span: Span) -> Result<(), Trouble> {
        if !self.is_first && span.offset < 0 {
            let offset = span.offset;
            return Err(bad(format!(
                "a span goes back by {offset}; only the first may begin below 0"
            )));
        }
        self.is_first = false;
        self.next += i64::from(span.offset);
        self.left = span.length;
        Ok(())
    }
}

impl Iterator for Indices<'_> {
    type Item = Result<i64, Trouble>;

    fn next(&mut self) -> Option<Result<i64, Trouble>> {
        while self.left == 0 {
            let span = match self.fields.next()? {
                Ok((number, Value::Bytes(span))) if number == self.spans => Span::of(span),
                Ok(_) => continue,
                Err(malformed) => Err(malformed),
            };
            if let Err(trouble) = span.map_err(Trouble::from).and_then(|s| self.begin(s)) {
                return Some(Err(trouble));
            }
        }
        let index = self.next;
        (self.next, self.left) = (index + 1, self.left - 1);
        Some(Ok(index))
    }
}

/// Where exponential buckets begin and end, away from zero.
pub(super) struct Ends {
    schema: i32,
    zero_end: f64,
    /// The bucket before: its index and where it ends.
    last: (i64, f64),
}

impl Ends {
    pub fn new(schema: i32, zero_end: f64) -> Ends {
        Ends {
            schema,
            zero_end,
            last: (i64::MIN, 0.0),
        }
    }

    /// The ends of a positive bucket; a negative one is its mirror image.
    pub fn of(&mut self, index: i64) -> Result<(f64, f64), Trouble> {
        let low = match self.last {
            (last, end) if last == index - 1 => end,
            _ => boundary(self.schema, index - 1),
        };
        let high = boundary(self.schema, index);
        self.last = (index, high);
        if low >= high {
            return Err(bad(format!(
                "bucket {index} of schema {} lies beyond all numbers",
                self.schema
            )));
        }
        if high <= self.zero_end {
            return Err(bad(format!(
                "bucket {index} lies inside the zero bucket, which ends at {}",
                self.zero_end
            )));
        }
        // What a bucket that the zero bucket reaches into counts lies outside of that.
        Ok((low.max(self.zero_end), high))
    }
}

/// Where listed buckets begin and end.
pub(super) struct Listed<I> {
    values: I,
    /// Boundaries read, and the last two of them.
    read: i64,
    low: f64,
    high: f64,
}

impl<I: Iterator<Item = Result<f64, Malformed>>> Listed<I> {
    pub fn new(values: I) -> Listed<I> {
        Listed {
            values,
            read: 0,
            low: f64::NEG_INFINITY,
            high: f64::NEG_INFINITY,
        }
    }

    /// The ends of a bucket; asked for in ascending order.
    pub fn of(&mut self, index: i64) -> Result<(f64, f64), Trouble> {
        let beyond = |read: i64| {
            bad(format!(
                "bucket {index} does not exist between {read} custom values"
            ))
        };
        if index < 0 {
            return Err(beyond(self.read));
        }
        while self.read <= index {
            if !self.advance()? {
                // Past the last boundary, there is one bucket more.
                return match self.read == index {
                    true => Ok((self.high, f64::INFINITY)),
                    false => Err(beyond(self.read)),
                };
            }
        }
        Ok((self.low, self.high))
    }

    fn advance(&mut self) -> Result<bool, Trouble> {
        let Some(value) = self.values.next() else {
            return Ok(false);
        };
        let value = value?;
        if !(value > self.high && value.is_finite()) {
            return Err(bad("custom values must ascend and be finite"));
        }
        (self.low, self.high, self.read) = (self.high, value, self.read + 1);
        Ok(true)
    }

    pub fn check_rest(&mut self) -> Result<(), Trouble> {
        while self.advance()? {}
        Ok(())
    }
}
