//! `POST /v1/samples`: takes samples in.
//!
//! Owns the way from a body to the engine and back: limits, unpacking, decoding, and the answer
//! that counts what became of every item. It must not judge samples: the codec refuses what is
//! malformed, the engine what makes no sense.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use serde::Serialize;

use super::Shared;
use super::body::{self, BodyLimit, Packing};
use super::budget::Reserved;
use super::link::Answer;
use super::observe::time_to_read;
use super::problem::{BUSY_RETRY_SECS, Problem};
use crate::codec::json::{Form, decode_within};
use crate::codec::{Decoded, ItemRefusal, REFUSALS_SPELLED_MAX, UnreadableCode};
use crate::engine::{Ingested, Input};

/// Refusals that an answer spells out; the others are counted only.
pub const REFUSALS_SHOWN_MAX: usize = REFUSALS_SPELLED_MAX;
/// Bodies above this are decoded off the threads that answer requests: it takes over a millisecond.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Codes of refused samples behind which stands a limit, and its name.
const LIMITS_OF_SAMPLES: [(&str, &str); 6] = [
    ("too_many_labels", "label_count"),
    ("labels_too_long", "label_bytes"),
    ("too_many_values", "values_per_sample"),
    ("tick_full", "tick_values"),
    ("future", "future_skew_secs"),
    ("too_far_ahead", "open_ticks"),
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
    let reading = prepare(&shared, &headers, body);
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
    count_limits(&shared, &decoded, &ingested);
    let answer = summary(decoded, ingested);
    count(&shared, &answer);
    Ok(Json(answer))
}

/// Reads, unpacks and decodes a body; what it takes in memory comes with it.
async fn prepare(
    shared: &Arc<Shared>,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Decoded, Reserved), Problem> {
    let packing = Packing::of(headers)?;
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let form = Form::of_content_type(content_type)?;
    let (metrics, bounds) = (&shared.metrics, &shared.bounds);
    let mut room = shared.ingest.begin();
    let mut grow = |bytes| {
        let grown = room.grow_to(bytes);
        grown.then_some(()).ok_or_else(|| too_much_in_work(shared))
    };
    let on_wire = BodyLimit {
        bytes_max: bounds.request_body_bytes_max,
        name: "request_body_bytes",
        setting: Some("server.request_body_bytes_max"),
    };
    let packed = body::read(shared, headers, body, on_wire, &mut grow).await?;
    let wire_bytes = packed.len() as u64;
    metrics.ingest_wire_bytes.inc_by(wire_bytes);
    let mut grow_beside = |bytes| grow(wire_bytes + bytes);
    let unpacked = BodyLimit {
        bytes_max: bounds.decoded_body_bytes_max,
        name: "decoded_body_bytes",
        setting: Some("server.decoded_body_bytes_max"),
    };
    let plain = body::unpack(shared, packing, packed, unpacked, &mut grow_beside).await?;
    let plain_bytes = plain.len() as u64;
    metrics.ingest_decoded_bytes.inc_by(plain_bytes);
    // An unpacked body is still the one that came on the wire.
    let packed_bytes = match packing {
        Packing::Plain => 0,
        Packing::Gzip | Packing::Zstd => wire_bytes,
    };
    grow(packed_bytes + plain_bytes)?;
    decode_bytes(shared, plain, form, room).await
}

fn too_much_in_work(shared: &Shared) -> Problem {
    shared.metrics.limit("ingest_bytes");
    Problem::new("busy", "too many samples are in work")
        .help("send the same request again after the stated time")
        .retry_after(BUSY_RETRY_SECS)
}

/// An answer that does not belong to the question: a mistake in davy.
pub fn unexpected(answer: &Answer) -> Problem {
    tracing::error!(?answer, "the engine answered another question");
    Problem::new("internal", "this should not have happened")
}

/// Decodes on this thread or beside it. The room goes along: a request that is given up while it
/// is decoded takes its memory until that is done.
async fn decode_bytes(
    shared: &Arc<Shared>,
    body: Bytes,
    form: Form,
    room: Reserved,
) -> Result<(Decoded, Reserved), Problem> {
    if body.len() <= INLINE_BYTES_MAX {
        return decode_into(shared, &body, form, room);
    }
    let worker = shared.clone();
    let task = tokio::task::spawn_blocking(move || decode_into(&worker, &body, form, room));
    task.await.map_err(|error| {
        tracing::error!(%error, "decoding failed");
        Problem::new("internal", "this should not have happened")
    })?
}

/// Decodes into room that grows with the samples; in the end it is that of the samples alone.
fn decode_into(
    shared: &Shared,
    body: &Bytes,
    form: Form,
    mut room: Reserved,
) -> Result<(Decoded, Reserved), Problem> {
    let body_bytes = body.len() as u64;
    let mut sample_bytes = 0;
    let decoded = decode_within(body, form, &shared.bounds.codec, &mut |bytes| {
        sample_bytes = bytes;
        room.grow_to(body_bytes + bytes)
    });
    let most = shared.ingest.total_bytes();
    match decoded {
        Ok(decoded) => {
            room.shrink_to(sample_bytes);
            Ok((decoded, room))
        }
        Err(unreadable) if unreadable.code != UnreadableCode::NoRoom => Err(unreadable.into()),
        Err(_) if body_bytes + sample_bytes > most => {
            shared.metrics.limit("ingest_bytes");
            let detail = format!("its samples take more memory than {most} bytes");
            Err(Problem::new("body_too_large", detail).help("send fewer samples at once"))
        }
        Err(_) => Err(too_much_in_work(shared)),
    }
}

/// Puts the codec's refusals and the engine's together, in the order of the request.
fn summary(decoded: Decoded, ingested: Ingested) -> SamplesAnswer {
    let Decoded {
        origins, refusals, ..
    } = decoded;
    let refused = (refusals.len() + ingested.refused.len()) as u64;
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

/// Counts the limits that turned single samples away.
fn count_limits(shared: &Shared, decoded: &Decoded, ingested: &Ingested) {
    let by_codec = decoded.refusals.iter().map(|refusal| refusal.code);
    let by_engine = ingested.refused.iter().map(|refusal| refusal.code);
    for code in by_codec.chain(by_engine) {
        if let Some((_, limit)) = LIMITS_OF_SAMPLES.iter().find(|(known, _)| *known == code) {
            shared.metrics.limit(limit);
        }
    }
}

fn count(shared: &Shared, answer: &SamplesAnswer) {
    for (outcome, number) in [
        ("accepted", answer.accepted),
        ("unmatched", answer.unmatched),
        ("ambiguous", answer.ambiguous),
        ("late", answer.late),
        ("duplicate", answer.duplicate),
        ("refused", answer.refused),
    ] {
        shared
            .metrics
            .samples
            .with_label_values(&[outcome])
            .inc_by(number);
    }
}
