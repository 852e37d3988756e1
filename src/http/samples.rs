//! `POST /v1/samples`: takes samples in.
//!
//! Owns the way from a body to the engine and back: limits, unpacking, decoding, and the answer
//! that counts what became of every item. It must not judge samples: the codec refuses what is
//! malformed, the engine what makes no sense.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use serde::Serialize;

use super::Shared;
use super::body::Packing;
use super::link::Answer;
use super::observe::time_to_read;
use super::problem::Problem;
use super::receive::receive;
use crate::codec::json::{Form, decode_within};
use crate::codec::{Decoded, ItemRefusal, Origin, REFUSALS_SPELLED_MAX};
use crate::engine::{Ingested, Input, RefusedSample};
use crate::telemetry::Metrics;
use crate::telemetry::counting::PULLED;

/// Refusals that an answer spells out; the others are counted only.
pub const REFUSALS_SHOWN_MAX: usize = REFUSALS_SPELLED_MAX;
/// Codes of refused samples behind which stands a limit, and its name.
const LIMITS_OF_SAMPLES: [(&str, &str); 8] = [
    ("too_many_labels", "label_count"),
    ("labels_too_long", "label_bytes"),
    ("too_many_values", "values_per_sample"),
    ("tick_full", "tick_values"),
    ("future", "future_skew_secs"),
    ("too_far_ahead", "open_ticks"),
    ("too_many_cells", "histogram_cells"),
    ("too_many_series", "series"),
];

/// What became of a request's samples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct SamplesAnswer {
    /// Samples that reached at least one analysis.
    pub accepted: u64,
    /// Samples that no running analysis asks for.
    pub unmatched: u64,
    /// Samples whose labels match both arms of an analysis.
    pub ambiguous: u64,
    /// Samples for ticks that are closed.
    pub late: u64,
    /// Samples whose id was seen before.
    pub duplicate: u64,
    /// Items that were refused.
    pub refused: u64,
    /// The first refused items, each with its reason.
    pub refusals: Vec<RefusalShown>,
    /// The first series that are unmatched or ambiguous, each with what is asked for instead.
    pub unplaced: Vec<UnplacedShown>,
}

/// One series that is unmatched or ambiguous.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct UnplacedShown {
    /// Number of its first item in the request, from 0.
    pub index: usize,
    /// Line of the request, from 1, where items have lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// `unmatched` or `ambiguous`.
    pub outcome: &'static str,
    /// Name and labels, shortened.
    pub series: String,
    /// What running analyses ask for instead.
    pub message: String,
}

/// One refused item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct RefusalShown {
    /// Number of the item in the request, from 0.
    pub index: usize,
    /// Line of the request, from 1, where items have lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Stable code, snake_case.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

/// The handler.
pub async fn take(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<SamplesAnswer>, Problem> {
    let packing = Packing::of(&headers)?;
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let form = Form::of_content_type(content_type)?;
    let reading = receive(
        &shared,
        &headers,
        packing,
        body,
        move |body, heads, limits, room| decode_within(body, form, heads, limits, room),
    );
    let (mut decoded, room) = time_to_read(&shared, reading).await?;
    let samples = std::mem::take(&mut decoded.samples);
    let ingested = if samples.is_empty() {
        Ingested::default()
    } else {
        let input = Input::Samples(samples);
        match shared.ask_with(input, Some(room)).await? {
            Answer::Ingested(ingested) => ingested,
            Answer::Refused(refusal) => return Err(refusal.into()),
            other => return Err(unexpected(&other)),
        }
    };
    count_limits(&shared, &decoded.refusals, &ingested.refused);
    let refused = (decoded.refusals.len() + ingested.refused.len()) as u64;
    count(&shared, "json", &ingested, refused);
    let Decoded {
        origins, refusals, ..
    } = decoded;
    Ok(Json(summary(&origins, refusals, ingested, refused)))
}

/// An answer that does not belong to the question: a mistake in davy.
pub fn unexpected(answer: &Answer) -> Problem {
    tracing::error!(?answer, "the engine answered another question");
    Problem::new("internal", "this should not have happened")
}

/// Puts the codec's refusals and the engine's together, in the order of the request; `refused` is
/// how many samples they cost.
pub(super) fn summary(
    origins: &[Origin],
    refusals: Vec<ItemRefusal>,
    ingested: Ingested,
    refused: u64,
) -> SamplesAnswer {
    let by_codec = refusals.into_iter().map(
        |ItemRefusal {
             index,
             line,
             code,
             message,
         }| {
            RefusalShown {
                index,
                line,
                code,
                message,
            }
        },
    );
    let by_engine = ingested.refused.into_iter().map(|sample| {
        let origin = origins.get(sample.index);
        RefusalShown {
            index: origin.map_or(sample.index, |origin| origin.index),
            line: origin.and_then(|origin| origin.line),
            code: sample.code,
            message: sample.message,
        }
    });
    let unplaced = ingested.unplaced.into_iter().map(|series| {
        let origin = origins.get(series.index);
        UnplacedShown {
            index: origin.map_or(series.index, |origin| origin.index),
            line: origin.and_then(|origin| origin.line),
            outcome: series.outcome,
            series: series.series,
            message: series.message,
        }
    });
    let unplaced = unplaced.collect();
    let mut shown: Vec<RefusalShown> = by_codec.chain(by_engine).collect();
    shown.sort_by_key(|refusal| refusal.index);
    shown.truncate(REFUSALS_SHOWN_MAX);
    SamplesAnswer {
        accepted: ingested.accepted,
        unmatched: ingested.unmatched,
        ambiguous: ingested.ambiguous,
        late: ingested.late,
        duplicate: ingested.duplicate,
        refused,
        refusals: shown,
        unplaced,
    }
}

/// Counts what became of points that were pulled.
pub fn count_pulled(metrics: &Metrics, ingested: &Ingested) {
    count_outcomes(metrics, PULLED, ingested, ingested.refused.len() as u64);
    for refused in &ingested.refused {
        count_limit(metrics, refused.code);
    }
}

/// Counts the limits that turned single samples away.
pub(super) fn count_limits(shared: &Shared, by_codec: &[ItemRefusal], by_engine: &[RefusedSample]) {
    let by_codec = by_codec.iter().map(|refusal| refusal.code);
    let by_engine = by_engine.iter().map(|refusal| refusal.code);
    for code in by_codec.chain(by_engine) {
        count_limit(&shared.metrics, code);
    }
}

fn count_limit(metrics: &Metrics, code: &str) {
    if let Some((_, limit)) = LIMITS_OF_SAMPLES.iter().find(|(known, _)| *known == code) {
        metrics.limit(limit);
    }
}

/// Counts what became of the samples of a request in this form, one of
/// [`FORMATS`](crate::telemetry::counting::FORMATS).
pub(super) fn count(shared: &Shared, format: &str, ingested: &Ingested, refused: u64) {
    shared.unmatched.count(ingested);
    let metrics = &shared.metrics;
    metrics.ingest.ahead.inc_by(ingested.ahead);
    metrics.ingest.requests.with_label_values(&[format]).inc();
    count_outcomes(metrics, format, ingested, refused);
}

fn count_outcomes(metrics: &Metrics, format: &str, ingested: &Ingested, refused: u64) {
    let of_format = metrics.ingest.samples.with_label_values(&[format]);
    for (outcome, number) in [
        ("accepted", ingested.accepted),
        ("unmatched", ingested.unmatched),
        ("ambiguous", ingested.ambiguous),
        ("late", ingested.late),
        ("duplicate", ingested.duplicate),
        ("refused", refused),
    ] {
        metrics.samples.with_label_values(&[outcome]).inc_by(number);
        of_format.inc_by(number);
    }
}
