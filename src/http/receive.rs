//! A body of samples, in whatever form, to what a codec makes of it.
//!
//! Owns what all forms share: both limits of a body, unpacking, the room it takes in memory, and
//! where decoding happens. It must not know of any form: the codec comes as a function.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;

use super::Shared;
use super::body::{self, BodyLimit, Packing};
use super::budget::Reserved;
use super::problem::{BUSY_RETRY_SECS, Problem};
use crate::codec::heads::Heads;
use crate::codec::{Limits, Unreadable, UnreadableCode};

/// Bodies above this are decoded off the threads that answer requests: half of it takes about a tenth
/// of a millisecond where its labels are known, and about one where they are not.
const INLINE_BYTES_MAX: usize = 256 * 1024;

/// Asked while a result grows, whether it may take so many bytes in all.
pub type Room<'r> = &'r mut dyn FnMut(u64) -> bool;

/// Reads, unpacks and decodes a body; what it takes in memory comes with it.
///
/// # Errors
/// A body past one of its limits, one that cannot be unpacked or decoded, or no room for it.
pub async fn receive<T: Send + 'static>(
    shared: &Arc<Shared>,
    headers: &HeaderMap,
    packing: Packing,
    body: Body,
    decode: impl FnOnce(&[u8], &mut Heads, &Limits, Room<'_>) -> Result<T, Unreadable> + Send + 'static,
) -> Result<(T, Reserved), Problem> {
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
    metrics.ingest.wire_bytes.inc_by(wire_bytes);
    let mut grow_beside = |bytes| grow(wire_bytes + bytes);
    let unpacked = BodyLimit {
        bytes_max: bounds.decoded_body_bytes_max,
        name: "decoded_body_bytes",
        setting: Some("server.decoded_body_bytes_max"),
    };
    let plain = body::unpack(shared, packing, packed, unpacked, &mut grow_beside).await?;
    let plain_bytes = plain.len() as u64;
    metrics.ingest.decoded_bytes.inc_by(plain_bytes);
    // An unpacked body is still the one that came on the wire.
    let packed_bytes = match packing {
        Packing::Plain => 0,
        Packing::Gzip | Packing::Zstd | Packing::Snappy => wire_bytes,
    };
    grow(packed_bytes + plain_bytes)?;
    decode_bytes(shared, plain, room, decode).await
}

fn too_much_in_work(shared: &Shared) -> Problem {
    shared.metrics.limit("ingest_bytes");
    Problem::new("busy", "too many samples are in work")
        .help("send the same request again after the stated time")
        .retry_after(BUSY_RETRY_SECS)
}

/// Decodes on this thread or beside it. The room goes along: a request that is given up while it
/// is decoded takes its memory until that is done.
async fn decode_bytes<T: Send + 'static>(
    shared: &Arc<Shared>,
    body: Bytes,
    room: Reserved,
    decode: impl FnOnce(&[u8], &mut Heads, &Limits, Room<'_>) -> Result<T, Unreadable> + Send + 'static,
) -> Result<(T, Reserved), Problem> {
    if body.len() <= INLINE_BYTES_MAX {
        return decode_into(shared, &body, room, decode);
    }
    let worker = shared.clone();
    let task = tokio::task::spawn_blocking(move || decode_into(&worker, &body, room, decode));
    task.await.map_err(|error| {
        tracing::error!(%error, "decoding failed");
        Problem::new("internal", "this should not have happened")
    })?
}

/// Decodes into room that grows with the samples; in the end it is that of the samples alone.
fn decode_into<T>(
    shared: &Shared,
    body: &Bytes,
    mut room: Reserved,
    decode: impl FnOnce(&[u8], &mut Heads, &Limits, Room<'_>) -> Result<T, Unreadable>,
) -> Result<(T, Reserved), Problem> {
    let body_bytes = body.len() as u64;
    let mut sample_bytes = 0;
    let mut grow = |bytes| {
        sample_bytes = bytes;
        room.grow_to(body_bytes + bytes)
    };
    let limits = &shared.bounds.codec;
    let decoded = shared
        .heads
        .with(|heads| decode(body, heads, limits, &mut grow));
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
