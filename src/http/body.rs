//! Reads bodies within bounds.
//!
//! Owns the two limits of a body: bytes on the wire and bytes once decompressed. The first is
//! checked against the stated length before anything is read and again while reading; the second
//! while decompressing, so that a small body cannot become a large one in memory.

use std::time::Duration;

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::{HeaderMap, header};
use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::Shared;
use super::problem::Problem;
use crate::codec::remote_write;

/// Window of a zstd frame, log2 bytes: 8 MiB, as RFC 8878 recommends decoders to support.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Bytes of a JSON request that is not samples; a plan alone may have 256 KiB.
pub const REQUEST_BYTES_MAX: u64 = 512 * 1024;

/// Bytes of a body past its limit that are read and thrown away.
const DRAIN_BYTES_MAX: u64 = 1024 * 1024;
/// How long that may take.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(2);
/// Bytes for which room is made at first when a body is unpacked; then it doubles.
const UNPACK_STEP_BYTES: u64 = 64 * 1024;
/// Bytes for which room is made at first, at the most, when a body is read whose sender says how many
/// it has; then it doubles.
const FIRST_STEP_BYTES: u64 = 128 * 1024;
/// What room is made for at first, of what came at first: a sender that says much and sends little
/// takes little.
const FIRST_STEP_OF_SENT: usize = 8;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// gzip, RFC 1952.
    Gzip,
    /// Zstandard, RFC 8878.
    Zstd,
    /// Snappy's block format, which remote-write is always in.
    Snappy,
}

impl Packing {
    /// From the header `content-encoding`.
    ///
    /// # Errors
    /// A problem for any other encoding, or more than one.
    pub fn of(headers: &HeaderMap) -> Result<Packing, Problem> {
        let Some(given) = headers.get(header::CONTENT_ENCODING) else {
            return Ok(Packing::Plain);
        };
        match given
            .to_str()
            .unwrap_or("?")
            .trim()
            .to_ascii_lowercase()
            .as_str()
        {
            "" | "identity" => Ok(Packing::Plain),
            "gzip" | "x-gzip" => Ok(Packing::Gzip),
            "zstd" => Ok(Packing::Zstd),
            other => Err(Problem::new(
                "unsupported_encoding",
                format!("content-encoding {other:?} cannot be read"),
            )
            .help("send gzip, zstd or nothing of the kind")),
        }
    }
}

/// How long a body may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimit {
    /// Bytes, on the wire or unpacked.
    pub bytes_max: u64,
    /// As metrics call it.
    pub name: &'static str,
    /// The setting that raises it, where one does.
    pub setting: Option<&'static str>,
}

/// The limit of requests that are not samples, on the wire and unpacked.
pub const REQUEST_LIMIT: BodyLimit = BodyLimit {
    bytes_max: REQUEST_BYTES_MAX,
    name: "request_bytes",
    setting: None,
};

// === impl BodyLimit ===

impl BodyLimit {
    fn size(&self) -> String {
        match self.bytes_max {
            bytes if bytes % 1024 == 0 => format!("{} KiB", bytes / 1024),
            bytes => format!("{bytes} bytes"),
        }
    }

    /// Counts that a body went past it. `form` says which of its forms did.
    fn passed(&self, shared: &Shared, form: &str) -> Problem {
        shared.metrics.limit(self.name);
        let detail = format!("the body has more than {} {form}", self.size());
        let help = match self.setting {
            Some(setting) => format!("send less at once, or raise {setting}"),
            None => "it is no setting; send less, or a plan by its name".to_owned(),
        };
        Problem::new("body_too_large", detail).help(help)
    }
}

/// The length of the body as its sender states it.
pub fn stated_length(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(header::CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

/// Reads at most as many bytes as the limit allows. `grow` is told how many are held before they are.
///
/// # Errors
/// `body_too_large`, `incomplete_body` when the sender broke off, or what `grow` answers.
pub async fn read(
    shared: &Shared,
    headers: &HeaderMap,
    body: Body,
    limit: BodyLimit,
    grow: &mut (impl FnMut(u64) -> Result<(), Problem> + Send),
) -> Result<Bytes, Problem> {
    let (stated, bytes_max) = (stated_length(headers), limit.bytes_max);
    let mut stream = body.into_data_stream();
    if let Some(bytes) = stated.filter(|bytes| *bytes > bytes_max) {
        if bytes <= bytes_max + DRAIN_BYTES_MAX {
            drain(&mut stream).await;
        }
        return Err(limit.passed(shared, "on the wire"));
    }
    let first_step = stated.unwrap_or_default().min(FIRST_STEP_BYTES) as usize;
    let mut read: Vec<u8> = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| {
            Problem::new("incomplete_body", format!("the body broke off: {error}"))
                .help("send the whole body, as long as content-length says")
        })?;
        if read.len() as u64 + chunk.len() as u64 > bytes_max {
            drop(read);
            drain(&mut stream).await;
            return Err(limit.passed(shared, "on the wire"));
        }
        let needed = read.len() + chunk.len();
        if needed > read.capacity() {
            let first_step = first_step.min(FIRST_STEP_OF_SENT * chunk.len());
            let room = needed.max(2 * read.capacity()).max(first_step);
            if let Err(problem) = grow(room as u64) {
                drop(read);
                drain(&mut stream).await;
                return Err(problem);
            }
            read.reserve_exact(room - read.len());
        }
        read.extend_from_slice(&chunk);
    }
    Ok(read.into())
}

/// Reads on and throws away, within bounds: a sender that is still writing when the connection
/// closes sees a broken pipe instead of the answer.
async fn drain(stream: &mut BodyDataStream) {
    let rest = async {
        let mut bytes = 0;
        while let Some(Ok(chunk)) = stream.next().await {
            bytes += chunk.len() as u64;
            if bytes > DRAIN_BYTES_MAX {
                return;
            }
        }
    };
    // What does not come in time does not matter any more.
    let _ = tokio::time::timeout(DRAIN_TIME_MAX, rest).await;
}

/// Unpacks to at most as many bytes as the limit allows. `grow` is told how many are held before they are; nothing
/// where nothing is unpacked.
///
/// # Errors
/// `body_too_large`, `invalid_encoding` for bytes that cannot be unpacked, or what `grow` answers.
pub async fn unpack(
    shared: &Shared,
    packing: Packing,
    packed: Bytes,
    limit: BodyLimit,
    grow: &mut (impl FnMut(u64) -> Result<(), Problem> + Send),
) -> Result<Bytes, Problem> {
    let unpacked = unpack_within(packing, packed, limit.bytes_max, grow).await?;
    unpacked.ok_or_else(|| limit.passed(shared, "unpacked"))
}

/// As [`unpack`], `None` for a body that has more than `bytes_max` bytes; it counts nothing.
///
/// # Errors
/// `invalid_encoding` for bytes that cannot be unpacked, or what `grow` answers.
pub async fn unpack_within(
    packing: Packing,
    packed: Bytes,
    bytes_max: u64,
    grow: &mut (impl FnMut(u64) -> Result<(), Problem> + Send),
) -> Result<Option<Bytes>, Problem> {
    let unpacked = match packing {
        Packing::Snappy => {
            let bytes = remote_write::decompressed_len(&packed)?;
            if bytes > bytes_max {
                return Ok(None);
            }
            grow(bytes)?;
            Some(remote_write::decompress(&packed, bytes_max as usize)?)
        }
        Packing::Plain if packed.len() as u64 > bytes_max => None,
        Packing::Plain => return Ok(Some(packed)),
        Packing::Gzip => {
            let mut decoder = GzipDecoder::new(packed.as_ref());
            decoder.multiple_members(true);
            bounded(decoder, bytes_max, grow).await?
        }
        Packing::Zstd => {
            let window = [DParameter::window_log_max(ZSTD_WINDOW_LOG_MAX)];
            let mut decoder = ZstdDecoder::with_params(packed.as_ref(), &window);
            decoder.multiple_members(true);
            bounded(decoder, bytes_max, grow).await?
        }
    };
    Ok(unpacked.map(Bytes::from))
}

/// Everything `from` gives, or `None` when that is more than `bytes_max`.
async fn bounded(
    from: impl AsyncRead + Unpin,
    bytes_max: u64,
    grow: &mut (impl FnMut(u64) -> Result<(), Problem> + Send),
) -> Result<Option<Vec<u8>>, Problem> {
    // One more is read: what ends at the limit and what goes past it are told apart.
    let most = bytes_max.saturating_add(1);
    let mut from = from.take(most);
    let mut out: Vec<u8> = Vec::new();
    loop {
        if out.len() == out.capacity() {
            let room = (2 * out.len() as u64).clamp(UNPACK_STEP_BYTES, most.max(UNPACK_STEP_BYTES));
            grow(room)?;
            out.reserve_exact(usize::try_from(room).unwrap_or(usize::MAX) - out.len());
            // Unpacking never waits by itself, so that others and the time limit get their turn.
            tokio::task::yield_now().await;
        }
        let read = from.read_buf(&mut out).await;
        let read = read.map_err(|error| {
            Problem::new(
                "invalid_encoding",
                format!("the body cannot be unpacked: {error}"),
            )
            .help("check that content-encoding names what the body is")
        })?;
        if read == 0 {
            return Ok((out.len() as u64 <= bytes_max).then_some(out));
        }
    }
}
