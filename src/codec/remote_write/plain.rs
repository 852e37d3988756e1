//! Series of 1.0 as nearly all are written: sorted labels of ASCII, then samples, every field in order
//! and every length in one byte.
//!
//! Owns that one shape, read in one go: series repeat their labels with every sample, so that their
//! labels are most of a request. Whatever is otherwise, or wrong, is left to [`super::read`], which
//! reads everything and says what is wrong with it.

use std::cmp::Ordering;

use crate::codec::Limits;
use crate::codec::series::{KeyShape, is_in_range};
use crate::model::Timestamp;
use crate::model::series::{KEY_END, NAME_LABEL, Point, PointValue, SeriesKey};

/// `timeseries.labels`, and in a label its name.
const FIRST_FIELD: u8 = 1 << 3 | 2;
/// `timeseries.samples`, and in a label its value.
const SECOND_FIELD: u8 = 2 << 3 | 2;
/// `sample.value`, a double.
const VALUE: u8 = 1 << 3 | 1;
/// `sample.timestamp`, a varint.
const TIMESTAMP: u8 = 2 << 3;
/// The head of the name of the label with the series' name.
const NAME_HEAD: u64 = u64::from_be_bytes(*b"__name__");
/// Bytes of the shortest plain sample: both heads, a number and a time of one byte.
pub(super) const SAMPLE_BYTES_MIN: usize = 2 + 9 + 2;
/// Lengths from here on take two bytes.
const LENGTH_END: u8 = 0x80;

/// Reads plain series, in memory that the next one uses again.
#[derive(Debug)]
pub(super) struct Plain {
    key: Vec<u8>,
    label_count_max: usize,
    label_bytes_max: usize,
}

/// Labels of a plain series.
pub(super) struct PlainLabels<'b, 'k> {
    /// Its name, of ASCII.
    pub name: &'b [u8],
    pub key: SeriesKey<'k>,
    pub shape: KeyShape,
}

/// Cuts a series into its labels, as they are written, and its samples: fields whose lengths are
/// right and take one byte. `None` where it is not plain.
#[inline]
pub(super) fn split(series: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut left = series;
    while let [FIRST_FIELD, length @ ..LENGTH_END, rest @ ..] = left {
        left = rest.get(usize::from(*length)..)?;
    }
    let labels = &series[..series.len() - left.len()];
    (!left.is_empty() && are_samples(left)).then_some((labels, left))
}

// === impl Plain ===

impl Plain {
    pub fn new(limits: &Limits) -> Plain {
        Plain {
            key: Vec::new(),
            label_count_max: limits.label_count_max,
            label_bytes_max: limits.label_bytes_max,
        }
    }

    /// Reads labels; `None` where they are not plain, or past a limit.
    pub fn read<'b>(&mut self, labels: &'b [u8]) -> Option<PlainLabels<'b, '_>> {
        if self.key.len() < labels.len() {
            // A label takes fewer bytes in the key than in the message.
            self.key.resize(labels.len(), 0);
        }
        let (mut left, mut before, mut before_head): (_, &[u8], _) = (labels, b"", 0);
        let (mut series_name, mut shape, mut end) = (None, KeyShape::default(), 0);
        while let [FIRST_FIELD, length, rest @ ..] = left {
            let (name, value, behind) = label(*length, rest)?;
            let head = head(name);
            let is_sorted = match before_head.cmp(&head) {
                Ordering::Less => true,
                Ordering::Equal => before < name,
                Ordering::Greater => false,
            };
            if !is_sorted || value.is_empty() {
                return None;
            }
            before_head = head;
            end = self.put(end, name);
            end = self.put(end, value);
            (left, before) = (behind, name);
            if head == NAME_HEAD && name == NAME_LABEL.as_bytes() {
                series_name = Some(value);
                shape.name_bytes = value.len();
            } else {
                shape.label_count += 1;
                shape.label_bytes += name.len() + value.len();
            }
        }
        let is_within =
            shape.label_count <= self.label_count_max && shape.label_bytes <= self.label_bytes_max;
        if !labels.is_ascii() || !is_within {
            return None;
        }
        Some(PlainLabels {
            name: series_name?,
            key: SeriesKey::of_sorted(&self.key[..end]),
            shape,
        })
    }

    /// Puts a text into the key; where the next one goes.
    #[inline]
    fn put(&mut self, at: usize, text: &[u8]) -> usize {
        let end = at + text.len();
        self.key[at..end].copy_from_slice(text);
        self.key[end] = KEY_END;
        end + 1
    }
}

/// The first eight bytes as a number of the same order; a shorter text is filled up with zeros.
#[inline]
fn head(text: &[u8]) -> u64 {
    match text.first_chunk::<8>() {
        Some(eight) => u64::from_be_bytes(*eight),
        None => {
            let mut eight = [0; 8];
            for (byte, from) in eight.iter_mut().zip(text) {
                *byte = *from;
            }
            u64::from_be_bytes(eight)
        }
    }
}

/// Name and value of a label of so many bytes, and what is behind it.
#[inline]
fn label(length: u8, rest: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    if length >= LENGTH_END {
        return None;
    }
    let (label, behind) = rest.split_at_checked(usize::from(length))?;
    let [FIRST_FIELD, name_length, rest @ ..] = label else {
        return None;
    };
    let (name, rest) = rest.split_at_checked(usize::from(*name_length))?;
    let [SECOND_FIELD, value_length, value @ ..] = rest else {
        return None;
    };
    (usize::from(*value_length) == value.len()).then_some((name, value, behind))
}

/// Whether there is nothing but samples, all of whose lengths are right and take one byte.
#[inline]
fn are_samples(mut left: &[u8]) -> bool {
    while let [SECOND_FIELD, length @ ..LENGTH_END, rest @ ..] = left {
        match rest.get(usize::from(*length)..) {
            Some(behind) => left = behind,
            None => return false,
        }
    }
    left.is_empty()
}

/// Takes the next sample off, where it is plain and its time can be.
#[inline]
pub(super) fn next_plain(left: &mut &[u8]) -> Option<Point> {
    let [_, length, rest @ ..] = *left else {
        return None;
    };
    let (message, behind) = rest.split_at(usize::from(*length));
    let point = plain_sample(message).filter(|point| is_in_range(point.ts))?;
    *left = behind;
    Some(point)
}

/// A sample that holds a number and then its time; `None` where it does not.
#[inline]
pub(super) fn plain_sample(message: &[u8]) -> Option<Point> {
    let [VALUE, rest @ ..] = message else {
        return None;
    };
    let (bits, rest) = rest.split_first_chunk::<8>()?;
    let [TIMESTAMP, varint @ ..] = rest else {
        return None;
    };
    let value = f64::from_le_bytes(*bits);
    // Markers and other NaNs are told apart elsewhere.
    if value.is_nan() || varint.len() > 9 {
        return None;
    }
    let (last, groups) = varint.split_last()?;
    if *last >= LENGTH_END || groups.iter().any(|byte| *byte < LENGTH_END) {
        return None;
    }
    let ts = varint
        .iter()
        .rev()
        .fold(0_u64, |ts, byte| ts << 7 | u64::from(byte & 0x7f));
    Some(Point {
        ts: Timestamp(ts as i64),
        start: None,
        value: PointValue::Number(value),
    })
}
