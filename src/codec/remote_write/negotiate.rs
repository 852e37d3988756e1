//! What a request says it is, and what it is before it is compressed.
//!
//! Owns the values of the headers `content-type` and `content-encoding` that the protocol knows, and
//! the decompression of Snappy's block format ("Snappy compressed format description"). It must not
//! know what is in a message.

use super::Message;
use crate::codec::{Unreadable, UnreadableCode};

/// The first bytes of Snappy's other format, which the protocol forbids.
const FRAMED: &[u8] = b"\xff\x06\x00\x00sNaPpY";
/// Bytes one byte may stand for: the densest element is a copy of 64 bytes that takes 3.
const EXPANSION_MAX: u64 = 22;

/// Which message a request holds, by its headers. A type without `proto`, and no type or encoding at
/// all, are what senders of 1.0 say.
///
/// # Errors
/// [`UnreadableCode::UnsupportedMediaType`] and [`UnreadableCode::UnsupportedEncoding`], which a
/// sender answers by falling back to another message.
pub fn message_of(
    content_type: Option<&str>,
    content_encoding: Option<&str>,
) -> Result<Message, Unreadable> {
    let encoding = content_encoding.unwrap_or("").trim();
    if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("snappy") {
        return Err(Unreadable {
            code: UnreadableCode::UnsupportedEncoding,
            message: format!(
                "remote-write in the encoding {} cannot be read",
                shown(encoding)
            ),
            help: "send content-encoding: snappy, in Snappy's block format".into(),
        });
    }
    let content_type = content_type.unwrap_or("").trim();
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or("");
    if !essence.is_empty() && !essence.eq_ignore_ascii_case("application/x-protobuf") {
        return Err(unsupported_type(essence));
    }
    let parameters = parts.filter_map(|part| part.split_once('='));
    let mut proto = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("proto"));
    let Some((_, name)) = proto.next() else {
        return Ok(Message::V1);
    };
    let name = name.trim();
    let unquoted = name.strip_prefix('"').and_then(|n| n.strip_suffix('"'));
    let name = unquoted.unwrap_or(name);
    let known = [Message::V1, Message::V2].into_iter();
    known
        .into_iter()
        .find(|message| message.name() == name)
        .ok_or_else(|| unsupported_type(content_type))
}

fn unsupported_type(given: &str) -> Unreadable {
    Unreadable {
        code: UnreadableCode::UnsupportedMediaType,
        message: format!("remote-write of type {} cannot be read", shown(given)),
        help: format!(
            "send application/x-protobuf;proto={} or application/x-protobuf;proto={}",
            Message::V2.name(),
            Message::V1.name()
        ),
    }
}

/// Somebody else's words, no longer than they need be.
fn shown(given: &str) -> String {
    format!("{:?}", given.chars().take(80).collect::<String>())
}

/// Bytes a body has once it is decompressed, as it claims; never more than it can.
///
/// # Errors
/// [`UnreadableCode::EmptyBody`]; [`UnreadableCode::InvalidEncoding`] for what is no Snappy block.
pub fn decompressed_len(body: &[u8]) -> Result<u64, Unreadable> {
    if body.is_empty() {
        return Err(Unreadable {
            code: UnreadableCode::EmptyBody,
            message: "the body is empty".into(),
            help: "send a protobuf message, compressed in Snappy's block format".into(),
        });
    }
    if body.starts_with(FRAMED) {
        return Err(no_block("it is in Snappy's framed format"));
    }
    let bytes = snap::raw::decompress_len(body).map_err(|bad| no_block(&bad.to_string()))?;
    if bytes as u64 > EXPANSION_MAX * body.len() as u64 {
        let given = body.len();
        return Err(no_block(&format!(
            "it claims {bytes} bytes, which do not fit into {given}"
        )));
    }
    Ok(bytes as u64)
}

/// Decompresses a body. What it will take is checked before it is taken.
///
/// # Errors
/// Those of [`decompressed_len`]; [`UnreadableCode::BodyTooLarge`] for more than `bytes_max` bytes;
/// [`UnreadableCode::InvalidEncoding`] for what is no Snappy block.
pub fn decompress(body: &[u8], bytes_max: usize) -> Result<Vec<u8>, Unreadable> {
    let bytes = decompressed_len(body)?;
    if bytes > bytes_max as u64 {
        return Err(Unreadable {
            code: UnreadableCode::BodyTooLarge,
            message: format!("{bytes} bytes decompressed; at most {bytes_max} are allowed"),
            help: "send fewer series at once".into(),
        });
    }
    let mut decoder = snap::raw::Decoder::new();
    decoder
        .decompress_vec(body)
        .map_err(|bad| no_block(&bad.to_string()))
}

fn no_block(why: &str) -> Unreadable {
    Unreadable {
        code: UnreadableCode::InvalidEncoding,
        message: format!("the body is not a Snappy block: {why}"),
        help: "compress the message in Snappy's block format, not the framed one".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_name_the_message() {
        for (content_type, message) in [
            (None, Message::V1),
            (Some(""), Message::V1),
            (Some("application/x-protobuf"), Message::V1),
            (
                Some("application/x-protobuf;proto=prometheus.WriteRequest"),
                Message::V1,
            ),
            (
                Some("application/x-protobuf;proto=io.prometheus.write.v2.Request"),
                Message::V2,
            ),
            (
                Some(
                    "Application/X-Protobuf ; charset=x; Proto=\"io.prometheus.write.v2.Request\"",
                ),
                Message::V2,
            ),
        ] {
            for encoding in [None, Some("snappy"), Some("Snappy")] {
                assert_eq!(message_of(content_type, encoding), Ok(message));
            }
        }
    }

    #[test]
    fn other_headers_are_unsupported() {
        let long = "x".repeat(1_000);
        for content_type in [
            "application/json",
            "application/x-protobuf;proto=prometheus.ReadRequest",
            "application/x-protobuf;proto=",
            &long,
        ] {
            let error = message_of(Some(content_type), Some("snappy")).expect_err("unknown");
            assert_eq!(error.code, UnreadableCode::UnsupportedMediaType);
            assert!(error.message.len() < 200, "{error}");
        }
        for encoding in ["gzip", "zstd", "snappy, gzip", "identity"] {
            let error = message_of(None, Some(encoding)).expect_err("unknown");
            assert_eq!(error.code, UnreadableCode::UnsupportedEncoding);
        }
    }

    #[test]
    fn blocks_are_decompressed_within_their_limit() {
        let plain: Vec<u8> = (0..100_000).map(|at: u32| (at / 1_000) as u8).collect();
        let mut encoder = snap::raw::Encoder::new();
        let packed = encoder.compress_vec(&plain).expect("small");
        assert_eq!(decompress(&packed, plain.len()).as_deref(), Ok(&plain[..]));
        let code = |found: Result<Vec<u8>, Unreadable>| found.map_err(|error| error.code);
        let too_large = Err(UnreadableCode::BodyTooLarge);
        assert_eq!(code(decompress(&packed, plain.len() - 1)), too_large);
        assert_eq!(code(decompress(&[], 9)), Err(UnreadableCode::EmptyBody));
        let invalid = Err(UnreadableCode::InvalidEncoding);
        for end in 1..packed.len() {
            assert_eq!(code(decompress(&packed[..end], plain.len())), invalid);
        }
        // A claim of 1 GiB in five bytes is refused before it is believed.
        let claim = [0x80, 0x80, 0x80, 0x80, 0x04];
        assert_eq!(code(decompress(&claim, 1 << 30)), invalid);
        let framed = [FRAMED, &packed].concat();
        let error = decompress(&framed, plain.len()).expect_err("framed");
        assert!(error.message.contains("framed"), "{error}");
        // The densest block there is stays below the ratio that is believed.
        let zeros = vec![0; 1 << 20];
        let packed = encoder.compress_vec(&zeros).expect("small");
        assert!(zeros.len() as u64 <= EXPANSION_MAX * packed.len() as u64);
        assert_eq!(decompress(&packed, zeros.len()), Ok(zeros));
    }
}
