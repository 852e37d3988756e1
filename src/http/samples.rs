//! `POST /v1/samples`: takes samples in.
//!
//! Owns the way from a body to the engine and back: limits, unpacking, decoding, and the answer
//! that counts what became of every item. It must not judge samples: the codec refuses what is
//! malformed, the engine what makes no sense.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Shared;
use super::body::{self, Packing};
use super::link::Answer;
use super::problem::{BUSY_RETRY_SECS, Problem};
use super::query::Parameters;
use crate::codec::json::{Form, decode};
use crate::codec::{Decoded, ItemRefusal, REFUSALS_SPELLED_MAX};
use crate::engine::{Ingested, Input};

/// Refusals that an answer spells out; the others are counted only.
pub const REFUSALS_SHOWN_MAX: usize = REFUSALS_SPELLED_MAX;
/// Bodies above this are decoded off the threads that answer requests: it takes over a millisecond.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Bytes that samples take in memory for each byte of their JSON, about: a line of 130 bytes becomes
/// a sample of 350.
const MEMORY_PER_JSON_BYTE: u64 = 3;

/// Bytes a request keeps in memory: its body as it came, unpacked, and decoded.
pub fn bytes_in_work(wire_bytes: u64, decoded_bytes: u64) -> u64 {
    wire_bytes + decoded_bytes * (1 + MEMORY_PER_JSON_BYTE)
}

/// Room for the samples of all requests in work together, so that many large requests at once are
/// answered with 503 and not with the end of the process.
#[derive(Debug, Clone)]
pub struct IngestBudget {
    kibibytes: Arc<Semaphore>,
}

/// Room that is taken, until it is dropped.
pub type Reserved = OwnedSemaphorePermit;

impl IngestBudget {
    /// Room for this many bytes.
    pub fn new(bytes: u64) -> IngestBudget {
        let kibibytes = usize::try_from(bytes.div_ceil(1024)).unwrap_or(usize::MAX);
        let kibibytes = kibibytes.min(Semaphore::MAX_PERMITS);
        IngestBudget {
            kibibytes: Arc::new(Semaphore::new(kibibytes)),
        }
    }

    /// Takes room; nobody waits for it.
    pub fn reserve(&self, bytes: u64) -> Option<Reserved> {
        let kibibytes = u32::try_from(bytes.div_ceil(1024)).ok()?;
        self.kibibytes
            .clone()
            .try_acquire_many_owned(kibibytes)
            .ok()
    }
}

fn reserve(shared: &Shared, bytes: u64) -> Result<Reserved, Problem> {
    shared.ingest.reserve(bytes).ok_or_else(|| {
        shared.metrics.limit("ingest_bytes");
        Problem::new("busy", "too many samples are in work")
            .help("send the same request again after the stated time")
            .retry_after(BUSY_RETRY_SECS)
    })
}

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
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<SamplesAnswer>, Problem> {
    Parameters::read(&uri, &[])?;
    let packing = Packing::of(&headers)?;
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let form = Form::of_content_type(content_type)?;
    let bounds = &shared.bounds;
    let wire_bytes = body::stated_length(&headers).unwrap_or(bounds.request_body_bytes_max);
    let _wire = reserve(&shared, wire_bytes.min(bounds.request_body_bytes_max))?;
    let packed = body::read(&shared, &headers, body, bounds.request_body_bytes_max).await?;
    shared.metrics.ingest_wire_bytes.inc_by(packed.len() as u64);
    let most = match packing {
        Packing::Plain => packed.len() as u64,
        Packing::Gzip | Packing::Zstd => bounds.decoded_body_bytes_max,
    };
    let unpacking = reserve(&shared, bytes_in_work(0, most))?;
    let plain = body::unpack(&shared, packing, packed, bounds.decoded_body_bytes_max).await?;
    let _decoded = match packing {
        Packing::Plain => unpacking,
        // Now that it is known, only what is needed.
        Packing::Gzip | Packing::Zstd => {
            drop(unpacking);
            reserve(&shared, bytes_in_work(0, plain.len() as u64))?
        }
    };
    shared
        .metrics
        .ingest_decoded_bytes
        .inc_by(plain.len() as u64);
    let mut decoded = decode_bytes(&shared, plain, form).await?;
    let samples = std::mem::take(&mut decoded.samples);
    let ingested = if samples.is_empty() {
        Ingested::default()
    } else {
        match shared.link.ask(Input::Samples(samples)).await? {
            Answer::Ingested(ingested) => ingested,
            Answer::Refused(refusal) => return Err(refusal.into()),
            other => return Err(unexpected(&other)),
        }
    };
    let answer = summary(decoded, ingested);
    count(&shared, &answer);
    Ok(Json(answer))
}

/// An answer that does not belong to the question: a mistake in davy.
pub fn unexpected(answer: &Answer) -> Problem {
    tracing::error!(?answer, "the engine answered another question");
    Problem::new("internal", "this should not have happened")
}

async fn decode_bytes(shared: &Arc<Shared>, body: Bytes, form: Form) -> Result<Decoded, Problem> {
    let decoded = if body.len() <= INLINE_BYTES_MAX {
        decode(&body, form, &shared.bounds.codec)
    } else {
        let limits = shared.bounds.codec.clone();
        let task = tokio::task::spawn_blocking(move || decode(&body, form, &limits));
        task.await.map_err(|error| {
            tracing::error!(%error, "decoding failed");
            Problem::new("internal", "this should not have happened")
        })?
    };
    Ok(decoded?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_kept_to_the_kibibyte_and_room_comes_back() {
        let budget = IngestBudget::new(10 * 1024);
        let first = budget.reserve(9 * 1024 + 1).expect("ten are free");
        assert!(
            budget.reserve(1).is_none(),
            "a part of a kibibyte is a whole one"
        );
        drop(first);
        assert!(budget.reserve(10 * 1024).is_some());
        assert!(
            budget.reserve(10 * 1024 + 1).is_none(),
            "more than there is"
        );
    }
}
