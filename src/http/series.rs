//! `POST /api/v1/write`, `/v1/metrics`, `/v1/exposition` and `/v1/hdr`: series as Prometheus and
//! OpenTelemetry send them, as services expose them, and as HdrHistogram logs them.
//!
//! Owns the answers that the two protocols prescribe. A series that no analysis asks for is no
//! mistake of its sender, who sends everything it has: it is counted and not told. The codecs
//! refuse what is malformed; what the engine cannot use is told where the protocol has a place for
//! it, and stands in the analysis.

use std::num::NonZeroU64;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use super::Shared;
use super::body::Packing;
use super::budget::Reserved;
use super::link::Answer;
use super::observe::time_to_read;
use super::problem::Problem;
use super::query::Parameters;
use super::receive::receive;
use super::samples::{SamplesAnswer, count, count_limits, summary, unexpected};
use crate::codec::series::DecodedSeries;
use crate::codec::{ItemRefusal, exposition, hdr, otlp, remote_write};
use crate::engine::{Ingested, Input};
use crate::model::Labels;

/// What names a series in an address.
const SERIES_EXPECTED: &str = "a name with labels such as latency_ns{version=\"2\"}";
/// Refusals named in the answer to a remote-write, whose sender logs it in one line.
const REFUSALS_NAMED_MAX: usize = 3;

/// Prometheus remote-write, 1.0 and 2.0.
pub async fn write(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let written = write_on(shared, headers, body).await;
    written.map_err(Problem::to_remote_writer)
}

async fn write_on(
    shared: Arc<Shared>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let text = |name: HeaderName| headers.get(name).map(|v| v.to_str().unwrap_or("?"));
    let (content_type, encoding) = (text(header::CONTENT_TYPE), text(header::CONTENT_ENCODING));
    let message = remote_write::message_of(content_type, encoding)?;
    let reading = receive(
        &shared,
        &headers,
        Packing::Snappy,
        body,
        move |body, heads, limits, room| {
            remote_write::decode_within(body, message, heads, limits, room)
        },
    );
    let (mut decoded, room) = time_to_read(&shared, reading).await?;
    let format = match message {
        remote_write::Message::V1 => "remote_write_1",
        remote_write::Message::V2 => "remote_write_2",
    };
    ingest(&shared, format, &mut decoded.series, room).await?;
    let refusals = &decoded.series.refusals;
    let mut answer = if refusals.is_empty() {
        StatusCode::NO_CONTENT.into_response()
    } else {
        // What could be taken was; a sender does not send the rest again, and logs why.
        (StatusCode::BAD_REQUEST, named(refusals)).into_response()
    };
    if message == remote_write::Message::V2 {
        for (name, count) in decoded.written.headers() {
            let name = HeaderName::from_static(name);
            answer.headers_mut().insert(name, HeaderValue::from(count));
        }
    }
    Ok(answer)
}

/// The first refusals in one line.
fn named(refusals: &[ItemRefusal]) -> String {
    let shown: Vec<String> = refusals
        .iter()
        .take(REFUSALS_NAMED_MAX)
        .map(|refusal| format!("series {}: {}", refusal.index, refusal.message))
        .collect();
    let more = refusals.len().saturating_sub(REFUSALS_NAMED_MAX);
    let more = if more > 0 {
        format!("; and {more} more")
    } else {
        String::new()
    };
    format!(
        "refused, the others were taken: {}{more}\n",
        shown.join("; ")
    )
}

/// OpenMetrics and Prometheus text, as a service exposes it.
pub async fn exposition(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<SamplesAnswer>, Problem> {
    let packing = Packing::of(&headers)?;
    let content_type = headers.get(header::CONTENT_TYPE);
    let given = content_type.map_or("", |value| value.to_str().unwrap_or("?"));
    let dialect = match given {
        // `curl --data-binary` says form-urlencoded unless told otherwise.
        "" | "application/x-www-form-urlencoded" => exposition::Dialect::Prometheus,
        _ => exposition::Dialect::of_content_type(given).ok_or_else(|| {
            let detail = format!("an exposition of type {given:?} cannot be read");
            let help = "send text/plain (Prometheus) or application/openmetrics-text";
            Problem::new("unsupported_media_type", detail).help(help)
        })?,
    };
    let taken_at = shared.clock.now();
    let reading = receive(
        &shared,
        &headers,
        packing,
        body,
        move |body, heads, limits, room| {
            exposition::decode(body, dialect, taken_at, heads, limits, room)
        },
    );
    let (mut decoded, room) = time_to_read(&shared, reading).await?;
    let format = match dialect {
        exposition::Dialect::Prometheus => "prometheus_text",
        exposition::Dialect::OpenMetrics => "openmetrics",
    };
    let ingested = ingest(&shared, format, &mut decoded, room).await?;
    let refused = decoded.refused_points + ingested.refused.len() as u64;
    let (origins, refusals) = (decoded.origins, decoded.refusals);
    Ok(Json(summary(&origins, refusals, ingested, refused)))
}

/// An HdrHistogram interval log of one series, which the address names.
pub async fn intervals(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<SamplesAnswer>, Problem> {
    let packing = Packing::of(&headers)?;
    let given = Parameters::read(&uri, &["series", "divisor"])?;
    let series = given.parse("series", SERIES_EXPECTED, |text| {
        named_series(&shared, text)
    })?;
    let (metric, labels) = series.ok_or_else(|| {
        let detail = "the parameter series is missing: a log does not say whose values it holds";
        Problem::new("invalid_parameter", detail).help(format!("give {SERIES_EXPECTED}"))
    })?;
    let divisor = given.parse("divisor", "a whole number from 1 up", |text| {
        text.parse().ok()
    })?;
    let divisor = divisor.unwrap_or(NonZeroU64::MIN);
    let reading = receive(
        &shared,
        &headers,
        packing,
        body,
        move |body, _, limits, room| {
            let labels: Vec<(&str, &str)> = labels.iter().collect();
            let (metric, labels) = (metric.as_str(), labels.as_slice());
            let naming = hdr::Naming {
                metric,
                labels,
                divisor,
            };
            hdr::decode(body, naming, limits, room)
        },
    );
    let (mut decoded, room) = time_to_read(&shared, reading).await?;
    let ingested = ingest(&shared, "hdr_log", &mut decoded, room).await?;
    let refused = decoded.refused_points + ingested.refused.len() as u64;
    let (origins, refusals) = (decoded.origins, decoded.refusals);
    Ok(Json(summary(&origins, refusals, ingested, refused)))
}

/// A series as an exposition names it.
fn named_series(shared: &Shared, text: &str) -> Option<(String, Labels)> {
    let line = format!("{text} 0\n");
    let (dialect, limits) = (exposition::Dialect::Prometheus, &shared.bounds.codec);
    let (taken_at, line) = (shared.clock.now(), line.as_bytes());
    let decoded = shared
        .heads
        .with(|heads| exposition::decode(line, dialect, taken_at, heads, limits, &mut |_| true));
    let decoded = decoded.ok()?;
    let mut all = decoded.batch.iter();
    let series = all.next().filter(|_| decoded.refusals.is_empty())?;
    let is_one = all.next().is_none();
    is_one.then(|| (series.key.name().to_owned(), series.key.labels()))
}

/// OTLP over HTTP, protobuf and JSON.
pub async fn metrics(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let content_type = headers.get(header::CONTENT_TYPE);
    let form = otlp::Form::of_content_type(content_type.and_then(|value| value.to_str().ok()))?;
    match export(&shared, &headers, body, form).await {
        Ok(answer) => Ok(([(header::CONTENT_TYPE, form.content_type())], answer).into_response()),
        Err(problem) => {
            // The protocol wants its own status message, in the form of the request.
            let message = match &problem.help {
                Some(help) => format!("{}; {help}", problem.detail),
                None => problem.detail.clone(),
            };
            let mut answer = problem.into_response();
            let of_type = HeaderValue::from_static(form.content_type());
            answer.headers_mut().insert(header::CONTENT_TYPE, of_type);
            answer.headers_mut().remove(header::CONTENT_LENGTH);
            *answer.body_mut() = Body::from(otlp::status(form, &message));
            Ok(answer)
        }
    }
}

async fn export(
    shared: &Arc<Shared>,
    headers: &HeaderMap,
    body: Body,
    form: otlp::Form,
) -> Result<Vec<u8>, Problem> {
    let packing = Packing::of(headers)?;
    let reading = receive(
        shared,
        headers,
        packing,
        body,
        move |body, heads, limits, room| otlp::decode_within(body, form, heads, limits, room),
    );
    let (mut decoded, room) = time_to_read(shared, reading).await?;
    let format = match form {
        otlp::Form::Protobuf => "otlp_protobuf",
        otlp::Form::Json => "otlp_json",
    };
    let ingested = ingest(shared, format, &mut decoded, room).await?;
    for refused in ingested.refused {
        decoded.refused_points += 1;
        decoded.refusals.push(ItemRefusal {
            index: decoded
                .origins
                .get(refused.index)
                .map_or(refused.index, |origin| origin.index),
            line: None,
            code: refused.code,
            message: refused.message,
        });
    }
    let partial = otlp::PartialSuccess::of(&decoded);
    Ok(otlp::success(form, partial.as_ref()))
}

/// Hands the batch to the engine, and counts what became of it.
async fn ingest(
    shared: &Arc<Shared>,
    format: &str,
    decoded: &mut DecodedSeries,
    room: Reserved,
) -> Result<Ingested, Problem> {
    let batch = std::mem::take(&mut decoded.batch);
    let ingested = if batch.is_empty() {
        Ingested::default()
    } else {
        let input = Input::Series(Box::new(batch));
        match shared.ask_with(input, Some(room)).await? {
            Answer::Ingested(ingested) => ingested,
            Answer::Refused(refusal) => return Err(refusal.into()),
            other => return Err(unexpected(&other)),
        }
    };
    count_limits(shared, &decoded.refusals, &ingested.refused);
    let refused = decoded.refused_points + ingested.refused.len() as u64;
    count(shared, format, &ingested, refused);
    Ok(ingested)
}
