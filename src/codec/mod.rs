//! From bytes to samples, or to refusals that say where and why.
//!
//! Owns the forms in which samples may arrive and the limits on them. It must not know of
//! analyses, plans or HTTP: a codec is given bytes and limits, and whether a metric wants values
//! or counts is found out later. Next: [`json`], then `engine`, which takes the samples. [`kayenta`]
//! holds no samples but the documents of another judge.

pub mod csv;
pub mod exposition;
pub mod hdr;
pub mod heads;
pub mod json;
pub mod kayenta;
pub mod otlp;
pub mod remote_write;
pub mod series;

mod bounded;
mod collect;
mod exponential;
mod foreign;
mod item;
mod lines;
mod number;
mod plain_item;
mod protobuf;
mod split;

use serde::Serialize;

use crate::model::Sample;

/// Bytes of a metric's name.
pub const METRIC_BYTES_MAX: usize = 256;
/// Bytes of a unit or of an idempotency id.
pub const UNIT_BYTES_MAX: usize = 256;
/// Refusals of one request that say why; of those past them code and place are kept.
pub const REFUSALS_SPELLED_MAX: usize = 100;
/// Earliest event time: 2000-01-01. A time below it is most often seconds taken for milliseconds.
pub const TS_MILLIS_MIN: i64 = 946_684_800_000;
/// Latest event time: 2200-01-01. A time above it is most often microseconds or nanoseconds.
pub const TS_MILLIS_MAX: i64 = 7_258_118_400_000;

/// What one request may hold; the daemon's configuration names each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Samples in one request.
    pub samples_per_request_max: usize,
    /// Values in one sample.
    pub values_per_sample_max: usize,
    /// Labels of one sample.
    pub label_count_max: usize,
    /// Bytes of one sample's label names and values together.
    pub label_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            samples_per_request_max: 100_000,
            values_per_sample_max: 10_000,
            label_count_max: 32,
            label_bytes_max: 4_096,
        }
    }
}

/// Where in a request an item stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Number of the item, from 0.
    pub index: usize,
    /// Line of the request, from 1, where the form has a line for each item.
    pub line: Option<usize>,
}

/// One item that was refused by itself; the rest of the request lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ItemRefusal {
    /// Number of the item in the request, from 0.
    pub index: usize,
    /// Line of the request, from 1, where the form has a line for each item.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Stable code, snake_case.
    pub code: &'static str,
    /// What is wrong and what to do, for the sender; empty past [`REFUSALS_SPELLED_MAX`].
    pub message: String,
}

/// What a request held.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decoded {
    /// Samples in the order they stood.
    pub samples: Vec<Sample>,
    /// Where each of `samples` stood; as long as `samples`.
    pub origins: Vec<Origin>,
    /// Items that were refused.
    pub refusals: Vec<ItemRefusal>,
}

/// Why a request could not be read at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unreadable {
    /// Stable code, snake_case.
    pub code: UnreadableCode,
    /// What is wrong, with its place.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

/// Stable codes of unreadable requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnreadableCode {
    /// The body is empty.
    EmptyBody,
    /// The body is not one of the accepted forms.
    MalformedJson,
    /// The body is not the text form it is said to be.
    MalformedText,
    /// More samples than one request may hold.
    TooManySamples,
    /// The content type names a form that is not accepted.
    UnsupportedMediaType,
    /// The content encoding is not one that the form is sent in.
    UnsupportedEncoding,
    /// The body is not what its content encoding says.
    InvalidEncoding,
    /// The body takes more bytes than it may once it is decompressed.
    BodyTooLarge,
    /// The body is not the protobuf message it is said to be.
    MalformedProtobuf,
    /// Memory for its samples was not to be had.
    NoRoom,
}

/// There is no memory for what was decoded.
fn no_room() -> Unreadable {
    Unreadable {
        code: UnreadableCode::NoRoom,
        message: "there is no room in memory for the samples".into(),
        help: "send them again later, or in several requests".into(),
    }
}
