//! What becomes of requests as their definitions have them, and of bad parts among good ones.

pub(super) mod encode;
mod properties;

use super::*;
use crate::model::Timestamp;
use crate::model::series::{PointValue, SeriesKind};
use encode::{Frame, V2, sample, series_v1};

pub(super) const TS: i64 = 1_764_000_000_000;
pub(super) const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

const UP: &[(&str, &str)] = &[("__name__", "up"), ("job", "a")];

fn decoded(body: &[u8], message: Message) -> DecodedWrite {
    decode(body, message, &Limits::default()).expect("readable")
}

fn error(body: &[u8], message: Message, limits: &Limits) -> Unreadable {
    decode(body, message, limits).expect_err("unreadable")
}

fn refusals(decoded: &DecodedWrite) -> Vec<(usize, &'static str)> {
    let refusals = decoded.series.refusals.iter();
    refusals
        .map(|refusal| (refusal.index, refusal.code))
        .collect()
}

fn kinds(decoded: &DecodedWrite) -> Vec<SeriesKind> {
    decoded
        .series
        .batch
        .iter()
        .map(|series| series.kind)
        .collect()
}

fn starts(decoded: &DecodedWrite) -> Vec<Option<i64>> {
    let series = decoded.series.batch.iter();
    let points = series.flat_map(|series| series.points.iter());
    points
        .map(|point| point.start.map(Timestamp::millis))
        .collect()
}

#[test]
fn a_frame_of_the_first_message_is_read() {
    // Written by hand from prompb: timeseries=1 {labels=1 {name=1, value=2}, samples=2 {value=1,
    // timestamp=2}, exemplars=3}.
    let body = b"\x0a\x34\
        \x0a\x0e\x0a\x08__name__\x12\x02up\
        \x0a\x08\x0a\x03job\x12\x01a\
        \x12\x10\x09\x00\x00\x00\x00\x00\x00\xf0\x3f\x10\x80\xd0\xdf\xb4\xab\x33\
        \x1a\x06\x0a\x04\x0a\x00\x12\x00";
    let decoded = decoded(body, Message::V1);
    let series: Vec<_> = decoded.series.batch.iter().collect();
    let labels: Vec<_> = series[0].key.pairs().collect();
    assert_eq!(labels, UP);
    assert_eq!(series[0].kind, SeriesKind::Unknown);
    assert_eq!(series[0].points.len(), 1);
    assert_eq!(series[0].points[0].ts, Timestamp(TS));
    assert_eq!(series[0].points[0].value, PointValue::Number(1.0));
    let written = Written {
        samples: 1,
        histograms: 0,
    };
    assert_eq!(decoded.written, written);
}

#[test]
fn a_frame_of_the_second_message_is_read() {
    // Written by hand from write/v2: symbols=4, timeseries=5 {labels_refs=1, samples=2 {value=1,
    // timestamp=2, start_timestamp=3}, metadata=5 {type=1, help_ref=3, unit_ref=4}}; the symbols
    // stand behind the series that refers to them.
    let body = b"\x2a\x27\
        \x0a\x04\x01\x02\x03\x04\
        \x12\x17\x09\x00\x00\x00\x00\x00\x00\xf0\x3f\x10\x80\xd0\xdf\xb4\xab\x33\x18\xff\xcf\xdf\xb4\xab\x33\
        \x2a\x06\x08\x01\x18\x00\x20\x00\
        \x22\x00\x22\x08__name__\x22\x02up\x22\x03job\x22\x01a";
    let decoded = decoded(body, Message::V2);
    let series: Vec<_> = decoded.series.batch.iter().collect();
    assert_eq!(series[0].key.pairs().collect::<Vec<_>>(), UP);
    assert_eq!(series[0].kind, SeriesKind::Counter);
    assert_eq!(series[0].points[0].start, Some(Timestamp(TS - 1)));
    assert_eq!(series[0].points[0].value, PointValue::Number(1.0));
}

#[test]
fn starts_are_the_samples_own_or_else_the_series() {
    let mut request = V2::new();
    let created = |series: Frame| series.varint(6, (TS - 9) as u64);
    let points = Frame::new()
        .message(2, sample(TS, 1.0, 0))
        .message(2, sample(TS + 1, 1.0, TS - 5))
        // Said by a clock that runs ahead.
        .message(2, sample(TS + 2, 1.0, TS + 3));
    request.series(UP, created(points.clone()));
    request.series(UP, points.clone());
    let decoded = decoded(&request.finish(), Message::V2);
    let expected = [Some(TS - 9), Some(TS - 5), None, None, Some(TS - 5), None];
    assert_eq!(starts(&decoded), expected);
    // 1.0 has no such field; what others put there is skipped.
    let body = Frame::new().message(1, series_v1(UP, created(points)));
    let decoded = self::decoded(&body.0, Message::V1);
    assert_eq!(starts(&decoded), [None; 3]);
}

#[test]
fn an_ended_series_is_told_from_a_number_that_is_none() {
    let points = Frame::new()
        .message(2, sample(TS, STALE, 0))
        .message(2, sample(TS, f64::NAN, 0))
        .message(2, sample(TS, f64::NEG_INFINITY, 0))
        .message(4, Frame::new().double(3, STALE).varint(15, TS as u64));
    let body = Frame::new().message(1, series_v1(UP, points));
    let decoded = decoded(&body.0, Message::V1);
    let series = decoded.series.batch.iter().next().expect("one");
    let values: Vec<_> = series.points.iter().map(|point| point.value).collect();
    let low = PointValue::Number(f64::NEG_INFINITY);
    assert_eq!(values, [PointValue::Stale, low, PointValue::Stale]);
    assert_eq!(refusals(&decoded), [(0, "nan")]);
    let headers = [
        ("x-prometheus-remote-write-samples-written", 2),
        ("x-prometheus-remote-write-histograms-written", 1),
        ("x-prometheus-remote-write-exemplars-written", 0),
    ];
    assert_eq!(decoded.written.headers(), headers);
}

#[test]
fn kinds_come_from_metadata_in_the_request() {
    let histogram = |field| {
        let empty = Frame::new().varint(15, TS as u64);
        Frame::new().message(field, empty)
    };
    let number = || Frame::new().message(2, sample(TS, 1.0, 0));
    let mut request = V2::new();
    for metric_type in 0..=7 {
        let metadata = Frame::new().varint(1, metric_type);
        request.series(UP, number().message(5, metadata));
    }
    request.series(UP, histogram(3));
    let decoded = decoded(&request.finish(), Message::V2);
    use SeriesKind::{Counter, Gauge, Histogram, Summary, Unknown};
    let expected = [
        Unknown, Counter, Gauge, Histogram, Gauge, Summary, Gauge, Gauge, Histogram,
    ];
    assert_eq!(kinds(&decoded), expected);

    let series = |name| Frame::new().message(1, series_v1(&[("__name__", name)], number()));
    let mut body = series("lag_seconds_bucket");
    let family = Frame::new().varint(1, 3).bytes(2, "lag_seconds");
    body = body.message(3, family);
    body.0.extend(series("up").0);
    let native = series_v1(&[("__name__", "size")], histogram(4));
    let decoded = self::decoded(&body.message(1, native).0, Message::V1);
    assert_eq!(kinds(&decoded), [Histogram, Unknown, Histogram]);
    // Metadata alone, as 1.0 senders send it, is a request of nothing.
    let alone = Frame::new().message(3, Frame::new().varint(1, 3).bytes(2, "lag_seconds"));
    assert_eq!(
        self::decoded(&alone.0, Message::V1),
        DecodedWrite::default()
    );
}

#[test]
fn bad_series_and_points_are_refused_among_good_ones() {
    let good = || Frame::new().message(2, sample(TS, 1.0, 0));
    let mut cut = good();
    cut.0.extend([0x12, 9, 0]);
    let text = Frame::new().bytes(1, "__name__").bytes(2, b"\xff");
    let sample_cut = good()
        .bytes(2, [0x09, 1, 2])
        .message(2, sample(TS + 1, 2.0, 0));
    let nameless = series_v1(&[("job", "a")], good());
    let unnamed = series_v1(&[("__name__", "up"), ("", "a")], good());
    let body = Frame::new()
        .message(1, series_v1(UP, good()))
        .message(1, series_v1(UP, cut))
        .message(1, good().message(1, text))
        .message(1, series_v1(UP, sample_cut))
        .message(1, nameless)
        // Of exemplars alone, and of nothing: no points are asked for, and none are missed.
        .message(1, series_v1(UP, Frame::new().bytes(3, "")))
        .message(1, Frame::new())
        .message(1, unnamed)
        .message(
            1,
            series_v1(UP, Frame::new().message(2, sample(TS / 1_000, 1.0, 0))),
        )
        .message(
            1,
            series_v1(&[("__name__", "up"), ("__name__", "up")], good()),
        )
        .message(1, series_v1(UP, Frame::new().varint(2, 1)))
        .message(1, series_v1(UP, good()));
    let decoded = decoded(&body.0, Message::V1);
    let expected = [
        (1, "malformed"),
        (2, "malformed"),
        (3, "malformed"),
        (4, "bad_metric_name"),
        (7, "bad_label_name"),
        (8, "bad_timestamp"),
        (9, "duplicate_label"),
        (10, "malformed"),
    ];
    assert_eq!(refusals(&decoded), expected);
    let origins = decoded.series.origins.iter().map(|origin| origin.index);
    assert_eq!(origins.collect::<Vec<_>>(), [0, 3, 8, 11]);
    assert_eq!(decoded.written.samples, 4);
    assert_eq!(decoded.series.batch.point_count(), 4);
    assert_eq!(decoded.series.refused_points, 7);
}

#[test]
fn references_are_checked_and_spoil_their_own_series_only() {
    let point = || Frame::new().message(2, sample(TS, 1.0, 0));
    let refs = |refs: &[u64]| {
        let mut series = Frame::new().packed(1, refs.to_vec());
        series.0.extend(point().0);
        series
    };
    let mut body = Frame::new();
    for symbol in [&b""[..], b"__name__", b"up", b"\xff", b"job"] {
        body = body.bytes(4, symbol);
    }
    let unpacked = point().varint(1, 1).varint(1, 2);
    let body = body
        .message(5, refs(&[1, 2]))
        .message(5, refs(&[1, 5]))
        .message(5, refs(&[1, u64::MAX]))
        .message(5, refs(&[1, 2, 4]))
        .message(5, refs(&[1, 2, 4, 3]))
        .message(5, refs(&[1, 2, 4, 0]))
        .message(5, refs(&[]))
        .message(5, unpacked);
    let decoded = decoded(&body.0, Message::V2);
    let mut expected = Vec::from([1, 2, 3, 4].map(|index| (index, "malformed")));
    expected.push((6, "bad_metric_name"));
    assert_eq!(refusals(&decoded), expected);
    let keys: Vec<_> = decoded
        .series
        .batch
        .iter()
        .map(|series| series.key)
        .collect();
    assert_eq!(keys.len(), 3);
    assert!(keys.iter().all(|key| *key == keys[0]));
}

#[test]
fn a_long_symbol_named_often_is_not_written_often() {
    let limits = Limits {
        label_count_max: 4,
        ..Limits::default()
    };
    let mut request = V2::new();
    let long = "x".repeat(100_000);
    let labels: Vec<(&str, &str)> = (0..10_000).map(|_| ("__name__", long.as_str())).collect();
    let point = || Frame::new().message(2, sample(TS, 1.0, 0));
    request.series(&labels, point());
    let labels: Vec<(&str, &str)> = (0..10_000).map(|_| ("a", long.as_str())).collect();
    request.series(&labels, point());
    let mut most = 0;
    let mut room = |bytes: u64| {
        most = bytes.max(most);
        true
    };
    let decoded = decode_within(
        &request.finish(),
        Message::V2,
        &mut Heads::new(0),
        &limits,
        &mut room,
    );
    let decoded = decoded.expect("readable");
    assert_eq!(
        refusals(&decoded),
        [(0, "bad_metric_name"), (1, "too_many_labels")]
    );
    assert!(most < 2_000, "{most}");
}

#[test]
fn what_cannot_be_told_apart_is_refused_whole() {
    let limits = Limits::default();
    let point = || Frame::new().message(2, sample(TS, 1.0, 0));
    let v1 = Frame::new().message(1, series_v1(UP, point())).0;
    let mut request = V2::new();
    request.series(UP, point());
    let v2 = request.finish();
    for (body, message) in [(&v1, Message::V1), (&v2, Message::V2)] {
        // Cut between two fields, it is a shorter message.
        let whole = |end: usize| Fields::new(&body[..end]).all(|field| field.is_ok());
        for end in (1..body.len()).filter(|end| !whole(*end)) {
            let error = error(&body[..end], message, &limits);
            assert_eq!(error.code, UnreadableCode::MalformedProtobuf, "{end}");
        }
    }
    for (body, message) in [(&v1, Message::V2), (&v2, Message::V1)] {
        let error = error(body, message, &limits);
        assert_eq!(error.code, UnreadableCode::MalformedProtobuf);
        assert!(error.help.contains(message.other().name()), "{error:?}");
    }
    for body in [&[0x08, 1][..], &[0x0b, 0x0c]] {
        let error = error(body, Message::V1, &limits);
        assert_eq!(error.code, UnreadableCode::MalformedProtobuf);
        assert!(error.message.contains("at byte 0"), "{error}");
    }
    assert_eq!(decoded(&[], Message::V1), DecodedWrite::default());
}

#[test]
fn limits_hold_at_them_and_one_past() {
    let limits = Limits {
        samples_per_request_max: 3,
        ..Limits::default()
    };
    let request = |counts: &[usize]| {
        let mut body = Frame::new();
        for count in counts {
            let point = sample(TS, 1.0, 0);
            let points = (0..*count).fold(Frame::new(), |f, _| f.message(2, point.clone()));
            body = body.message(1, series_v1(UP, points));
        }
        body
    };
    assert!(decode(&request(&[1, 2]).0, Message::V1, &limits).is_ok());
    let too_many = error(&request(&[2, 2]).0, Message::V1, &limits);
    assert_eq!(too_many.code, UnreadableCode::TooManySamples);
    // Series that cannot be read count too, so that their refusals have an end.
    let broken = |count| (0..count).fold(Frame::new(), |body, _| body.bytes(1, [0]));
    let three = decode(&broken(3).0, Message::V1, &limits).expect("at the limit");
    assert_eq!(refusals(&three).len(), 3);
    let too_many = error(&broken(4).0, Message::V1, &limits);
    assert_eq!(too_many.code, UnreadableCode::TooManySamples);
    let symbols = |count| vec![[0x22, 0]; count].concat();
    assert!(decode(&symbols(SYMBOLS_MAX), Message::V2, &limits).is_ok());
    let past = error(&symbols(SYMBOLS_MAX + 1), Message::V2, &limits);
    assert_eq!(past.code, UnreadableCode::BodyTooLarge);
    let families = |count| [vec![0x0a, 0], vec![[0x1a, 0]; count].concat()].concat();
    assert!(decode(&families(FAMILIES_MAX), Message::V1, &limits).is_ok());
    let past = error(&families(FAMILIES_MAX + 1), Message::V1, &limits);
    assert_eq!(past.code, UnreadableCode::BodyTooLarge);
    let mut room = |bytes| bytes < 1_600;
    let full = decode_within(
        &symbols(100),
        Message::V2,
        &mut Heads::new(0),
        &limits,
        &mut room,
    );
    assert_eq!(
        full.map_err(|error| error.code),
        Err(UnreadableCode::NoRoom)
    );
    assert!(
        decode_within(
            &symbols(99),
            Message::V2,
            &mut Heads::new(0),
            &limits,
            &mut room
        )
        .is_ok()
    );
}
