//! OTLP metrics, as exporters send them over HTTP: protobuf or JSON.
//!
//! Owns the two forms of an `ExportMetricsServiceRequest` (OpenTelemetry Protocol 1.x, "OTLP/HTTP")
//! and what its data points become: series named as Prometheus names them ("Prometheus and
//! OpenMetrics Compatibility"), whose histograms keep their buckets. It must not know who asks for
//! series, nor HTTP. Next: `otlp/gather.rs`, which both readers fill; `otlp/answer.rs` for what
//! the sender is told.
//!
//! | metric | becomes |
//! |---|---|
//! | gauge, non-monotonic cumulative sum | [`PointValue::Number`] of a gauge |
//! | monotonic cumulative sum | [`PointValue::Number`] of a counter, with its start |
//! | monotonic delta sum | [`PointValue::Increment`] of a counter |
//! | non-monotonic delta sum, summary, unspecified temporality | refused |
//! | histogram, exponential histogram | [`PointValue::Histogram`] |
//! | any point flagged "no recorded value" | [`PointValue::Stale`] |
//!
//! [`PointValue::Number`]: crate::model::series::PointValue::Number
//! [`PointValue::Increment`]: crate::model::series::PointValue::Increment
//! [`PointValue::Histogram`]: crate::model::series::PointValue::Histogram
//! [`PointValue::Stale`]: crate::model::series::PointValue::Stale

mod answer;
mod cells;
mod gather;
mod json;
mod known;
mod labels;
mod metric;
mod names;
mod numbers;
mod values;
mod wire;

use super::heads::Heads;
use super::series::DecodedSeries;
use super::{Limits, Unreadable, UnreadableCode};

pub use answer::{PartialSuccess, status, success};

/// The forms a request, and so its answer, may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`.
    Json,
}

// === impl Form ===

impl Form {
    /// The form a content type names (parameters are ignored).
    ///
    /// # Errors
    /// [`Unreadable`] for any other: the protocol knows no default.
    pub fn of_content_type(content_type: Option<&str>) -> Result<Form, Unreadable> {
        let given = content_type.unwrap_or("");
        let essence = given.split(';').next().unwrap_or("").trim();
        if essence.eq_ignore_ascii_case("application/x-protobuf") {
            return Ok(Form::Protobuf);
        }
        if essence.eq_ignore_ascii_case("application/json") {
            return Ok(Form::Json);
        }
        Err(Unreadable {
            code: UnreadableCode::UnsupportedMediaType,
            message: match essence {
                "" => "the request does not say of what type it is".into(),
                _ => format!(
                    "OTLP of type {} cannot be read",
                    super::number::quoted(essence)
                ),
            },
            help: "send Content-Type: application/x-protobuf or application/json".into(),
        })
    }

    /// The content type of the answer, which is that of the request.
    pub fn content_type(self) -> &'static str {
        match self {
            Form::Protobuf => "application/x-protobuf",
            Form::Json => "application/json",
        }
    }
}

/// Decodes a request; one without data points is no error.
///
/// # Errors
/// [`Unreadable`] when it is not of the form, or holds more data points than it may.
pub fn decode(body: &[u8], form: Form, limits: &Limits) -> Result<DecodedSeries, Unreadable> {
    decode_within(body, form, &mut Heads::new(0), limits, &mut |_| true)
}

/// Decodes a request. `room` is asked, while the series grow, whether they may take so many bytes
/// of memory in all, about. `heads` knows labels from requests before. Data points are numbered through the request, from 0, in the order
/// they stand.
///
/// # Errors
/// Those of [`decode`], and [`UnreadableCode::NoRoom`] when `room` says no.
pub fn decode_within(
    body: &[u8],
    form: Form,
    heads: &mut Heads,
    limits: &Limits,
    room: &mut dyn FnMut(u64) -> bool,
) -> Result<DecodedSeries, Unreadable> {
    match form {
        Form::Protobuf => wire::read(body, heads, limits, room),
        Form::Json => json::read(body, limits, room),
    }
}

#[cfg(test)]
mod tests;
