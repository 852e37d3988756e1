//! What a decoder must keep, whatever bytes it is given: the checks that all fuzz targets share.
//!
//! Owns the promises: no panic; no more items than the limits allow; room is asked for before
//! memory is taken; the same bytes give the same twice, also where a form may be cut elsewhere. It
//! must not know how a format is written: seeds come from `seeds`, everything else from chance.

mod memory;
mod promises;

use std::num::NonZeroU64;
use std::sync::LazyLock;

use axum::body::Bytes;
use davy::codec::exposition::{self, Dialect};
use davy::codec::hdr::{self, Naming};
use davy::codec::heads::Heads;
use davy::codec::json;
use davy::codec::otlp;
use davy::codec::remote_write::{self, Message};
use davy::codec::{Limits, UnreadableCode, csv as rows};
use davy::http::body::{Packing, unpack_within};
use davy::http::problem::Problem;
use davy::model::Timestamp;

use memory::Measured;
use promises::{check_samples, check_series};

/// Small enough that chance reaches them.
pub const LIMITS: Limits = Limits {
    samples_per_request_max: 40,
    values_per_sample_max: 24,
    label_count_max: 5,
    label_bytes_max: 48,
};
/// The time of what says none.
const NOW: Timestamp = Timestamp(1_764_000_000_000);
/// Bytes that a body may unpack to.
const UNPACKED_BYTES_MAX: u64 = 1 << 16;
/// What all requests together have room for here.
const ROOM_BYTES_MAX: u64 = 4 << 20;
/// Bytes of memory for each byte of a body that are not asked for: tables of texts, messages of
/// refusals.
const BYTES_EACH: usize = 256;
/// And for any body.
const BYTES_ONCE: usize = 3 << 20;
/// An interval log spans at most a million cells at once, eight bytes and nine inflated each.
const HDR_BYTES: usize = 40 << 20;

/// Decodes twice, the second time measured, and once more without room.
fn decode_three_times<T: PartialEq + std::fmt::Debug>(
    body: &[u8],
    bytes_once: usize,
    code: impl Fn(&T) -> Option<UnreadableCode>,
    decode: impl Fn(&mut dyn FnMut(u64) -> bool) -> T,
) -> T {
    let first = decode(&mut |_| true);
    let mut granted = 0;
    let measured = Measured::begin();
    let second = decode(&mut |bytes| {
        granted = granted.max(bytes);
        bytes <= ROOM_BYTES_MAX
    });
    let peak = measured.peak_bytes();
    let allowed = 3 * granted as usize + BYTES_EACH * body.len() + bytes_once;
    assert!(
        peak <= allowed,
        "{peak} bytes were taken of a body of {}, and {granted} asked for",
        body.len()
    );
    if granted <= ROOM_BYTES_MAX {
        assert_eq!(first, second, "the same body gave something else");
    }
    // Where room is asked for at all, its answer counts.
    let mut is_asked = false;
    let none = decode(&mut |_| {
        is_asked = true;
        false
    });
    if is_asked {
        assert_eq!(code(&none), Some(UnreadableCode::NoRoom));
    } else {
        assert!(code(&none).is_some(), "decoded, and no room asked for");
    }
    first
}

fn code_of<T>(decoded: &Result<T, davy::codec::Unreadable>) -> Option<UnreadableCode> {
    decoded.as_ref().err().map(|unreadable| {
        assert!(!unreadable.message.is_empty() && !unreadable.help.is_empty());
        unreadable.code
    })
}

/// Decodes a body whose first half was decoded before: labels that are known change nothing.
fn with_known_labels<T: PartialEq + std::fmt::Debug>(
    body: &[u8],
    decode: impl Fn(
        &[u8],
        &mut Heads,
        &mut dyn FnMut(u64) -> bool,
    ) -> Result<T, davy::codec::Unreadable>,
) -> Result<T, davy::codec::Unreadable> {
    let fresh = decode_three_times(body, BYTES_ONCE, code_of, |room| {
        decode(body, &mut Heads::new(0), room)
    });
    let mut heads = Heads::new(0);
    for part in [&body[..body.len() / 2], body] {
        heads.begin();
        let known = decode(part, &mut heads, &mut |_| true);
        assert!(part.len() < body.len() || known == fresh, "{known:?} {fresh:?}");
    }
    fresh
}

/// Remote-write, decompressed.
pub fn remote_write(body: &[u8], message: Message) {
    let decoded = with_known_labels(body, |body, heads, room| {
        remote_write::decode_within(body, message, heads, &LIMITS, room)
    });
    if let Ok(decoded) = decoded {
        check_series(&decoded.series, &LIMITS, None);
        let written = decoded.written.samples + decoded.written.histograms;
        assert_eq!(written, decoded.series.batch.point_count() as u64);
    }
}

/// OTLP, and what its sender is told.
pub fn otlp(body: &[u8], form: otlp::Form) {
    let decoded = with_known_labels(body, |body, heads, room| {
        otlp::decode_within(body, form, heads, &LIMITS, room)
    });
    if let Ok(decoded) = decoded {
        check_series(&decoded, &LIMITS, None);
        let partial = otlp::PartialSuccess::of(&decoded);
        assert_eq!(partial.is_none(), decoded.refusals.is_empty());
        let answer = otlp::success(form, partial.as_ref());
        assert!(answer.len() < 16 << 10, "a long answer");
    }
}

/// Text exposition.
pub fn exposition(body: &[u8], dialect: Dialect) {
    let decoded = with_known_labels(body, |body, heads, room| {
        exposition::decode(body, dialect, NOW, heads, &LIMITS, room)
    });
    if let Ok(decoded) = decoded {
        let lines = body.split(|byte| *byte == b'\n').count();
        check_series(&decoded, &LIMITS, Some(lines));
    }
}

/// Samples in any form.
pub fn samples(body: &[u8]) {
    for form in [json::Form::Document, json::Form::Sniff] {
        let decoded = with_known_labels(body, |body, heads, room| {
            json::decode_within(body, form, heads, &LIMITS, room)
        });
        if let Ok(decoded) = decoded {
            check_samples(&decoded, &LIMITS);
        }
    }
}

/// Samples by line; a body cut between two lines holds the same.
pub fn samples_by_line(body: &[u8]) {
    let decode = |body: &[u8], heads: &mut Heads, room: &mut dyn FnMut(u64) -> bool| {
        json::decode_within(body, json::Form::Lines, heads, &LIMITS, room)
    };
    let Ok(whole) = with_known_labels(body, decode) else {
        return;
    };
    check_samples(&whole, &LIMITS);
    let middle = body.len() / 2;
    let Some(feed) = body[middle..].iter().position(|byte| *byte == b'\n') else {
        return;
    };
    let (first, second) = body.split_at(middle + feed + 1);
    let parts = [first, second].map(|part| decode(part, &mut Heads::new(0), &mut |_| true));
    // A part may be empty, or hold no object at all, which is a mistake of the whole request.
    if let [Ok(first), Ok(second)] = parts {
        let samples = [first.samples, second.samples].concat();
        assert_eq!(whole.samples, samples, "cut at byte {}", middle + feed + 1);
        let refused = first.refusals.len() + second.refusals.len();
        assert_eq!(whole.refusals.len(), refused);
    }
}

/// An encoded histogram.
pub fn hdr_payload(body: &[u8]) {
    let Ok(text) = std::str::from_utf8(body) else {
        return;
    };
    let measured = Measured::begin();
    let first = hdr::read_payload(text, &LIMITS);
    assert!(measured.peak_bytes() <= HDR_BYTES);
    assert_eq!(first, hdr::read_payload(text, &LIMITS));
    match first {
        Ok(cells) => {
            assert!(cells.len() <= LIMITS.values_per_sample_max);
            assert!(
                cells
                    .iter()
                    .all(|cell| cell.lowest <= cell.highest && cell.count > 0)
            );
            let ascend = |pair: &[hdr::HdrCell]| pair[0].highest < pair[1].lowest;
            assert!(cells.windows(2).all(ascend));
        }
        Err(bad) => assert!(!bad.message.is_empty()),
    }
}

/// An interval log.
pub fn hdr_log(body: &[u8]) {
    let naming = Naming {
        metric: "pause",
        labels: &[("host", "a")],
        divisor: NonZeroU64::new(1_000).expect("not 0"),
    };
    let decoded = decode_three_times(body, HDR_BYTES, code_of, |room| {
        hdr::decode(body, naming, &LIMITS, room)
    });
    if let Ok(decoded) = decoded {
        let lines = body.split(|byte| *byte == b'\n').count();
        check_series(&decoded, &LIMITS, Some(lines));
    }
}

/// Recordings as CSV.
pub fn csv(body: &[u8]) {
    let read = || format!("{:?}", rows::parse(body));
    assert_eq!(read(), read());
    if let Ok((found, problems)) = rows::parse(body) {
        assert!(problems.len() <= rows::PROBLEMS_MAX + 1);
        for row in found {
            assert!(row.weight >= 0.0 && row.value.is_none_or(|value| !value.is_nan()));
        }
    }
}

/// Plan files.
pub fn plan(body: &[u8]) {
    let Ok(text) = std::str::from_utf8(body) else {
        return;
    };
    let parse = || davy::config::plan_file::parse_plan("plan.yaml", text);
    let (first, second) = (parse(), parse());
    assert_eq!(format!("{first:?}"), format!("{second:?}"));
    match first {
        Ok(parsed) => assert_eq!(
            parsed.plan.hash(),
            second.expect("as the first").plan.hash()
        ),
        Err(problems) => assert!(!problems.items.is_empty()),
    }
}

/// Packed bodies, against the libraries' own way to unpack them whole.
pub fn unpack(body: &[u8], packing: Packing) {
    static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.build().expect("a runtime")
    });
    let unpack = |bytes_max: u64, room: u64| {
        let mut most = 0;
        let mut grow = |bytes: u64| {
            most = bytes.max(most);
            let full = || Problem::new("busy", "no room").help("less");
            (bytes <= room).then_some(()).ok_or_else(full)
        };
        let packed = Bytes::copy_from_slice(body);
        let unpacked = RUNTIME.block_on(unpack_within(packing, packed, bytes_max, &mut grow));
        if let Ok(Some(plain)) = &unpacked {
            assert!(plain.len() as u64 <= bytes_max && plain.len() as u64 <= most.max(room));
        }
        unpacked
    };
    let whole = unpack(UNPACKED_BYTES_MAX, u64::MAX);
    let plain = match (
        whole,
        promises::unpacked_whole(body, packing, UNPACKED_BYTES_MAX),
    ) {
        (Ok(Some(ours)), Some(theirs)) => {
            assert!(ours == theirs, "unpacked to something else");
            ours
        }
        // The libraries differ in what they forgive behind the end.
        (Ok(Some(ours)), None) => ours,
        (Ok(None), Some(theirs)) => {
            assert!(theirs.len() as u64 > UNPACKED_BYTES_MAX);
            return;
        }
        _ => return,
    };
    let length = plain.len() as u64;
    let again = unpack(length, u64::MAX);
    assert!(
        again.is_ok_and(|again| again == Some(plain)),
        "at the limit"
    );
    if length > 0 {
        let past = unpack(length - 1, u64::MAX);
        assert!(!matches!(past, Ok(Some(_))), "one past the limit");
        assert!(unpack(length, 0).is_err(), "without room");
    }
}
