//! Every rule of the encodings and of the log, on histograms that an encoder here writes.

mod encoder;

use encoder::{Numbers, V0, V1, V2, Written, base64, deflated, log_line};

use super::*;
use crate::codec::Limits;
use crate::model::Timestamp;
use crate::model::series::{HistogramCell, PointValue};

const ONE: NonZeroU64 = NonZeroU64::MIN;
const HEADERS: &str = "#[Histogram log format version 1.3]\n#[StartTime: 1441812279.474 (seconds \
                       since epoch), Wed Sep 09 08:24:39 PDT 2015]\n\"StartTimestamp\",\"I\"\n";

fn naming() -> Naming<'static> {
    Naming {
        metric: "latency",
        labels: &[("zone", "b"), ("app", "a")],
        divisor: ONE,
    }
}

fn read(log: &str) -> DecodedSeries {
    let found = decode(log.as_bytes(), naming(), &Limits::default(), &mut |_| true);
    found.expect("a log")
}

fn intervals(log: &str) -> Vec<Result<Interval<'_>, &'static str>> {
    let found = Intervals::new(log.as_bytes(), &Limits::default()).expect("a log");
    found
        .map(|item| item.map_err(|refusal| refusal.code))
        .collect()
}

fn code(base64: &str) -> &'static str {
    let found = read_payload(base64, &Limits::default());
    found.expect_err("refused").code
}

fn written() -> Written {
    Written {
        digits: 2,
        lowest: 1,
        highest: 100_000,
        counts: vec![(0, 2), (5, 1), (255, 7), (256, 300), (700, 4)],
    }
}

#[test]
fn every_encoding_gives_the_same_cells() {
    let expected = written().cells();
    assert_eq!(expected[3].lowest, 256);
    assert_eq!(expected[3].highest, 257);
    for (version, words) in [(V0, &[2, 4, 8][..]), (V1, &[2, 4, 8]), (V2, &[0, 1])] {
        for &word in words {
            let plain = written().encode(version, word);
            let limits = Limits::default();
            let found = read_payload(&base64(&plain), &limits);
            assert_eq!(found.as_ref(), Ok(&expected), "{version:#x} {word}");
            let found = read_payload(&base64(&deflated(version, word, &plain)), &limits);
            assert_eq!(
                found.as_ref(),
                Ok(&expected),
                "{version:#x} {word} deflated"
            );
            let unfilled = base64(&plain);
            let found = read_payload(unfilled.trim_end_matches('='), &limits);
            assert_eq!(found.as_ref(), Ok(&expected));
        }
    }
}

#[test]
fn generated_histograms_are_read_back_and_agree_with_the_crate() {
    let mut numbers = Numbers(3);
    for nth in 0..200 {
        let written = Written::generated(&mut numbers);
        let version = [V0, V1, V2][nth % 3];
        let plain = written.encode(version, 8);
        let found = read_payload(&base64(&deflated(version, 8, &plain)), &Limits::default());
        assert_eq!(found.as_ref(), Ok(&written.cells()), "{written:?}");
        let mut reader = hdrhistogram::serialization::Deserializer::new();
        let encoded = written.encode(V2, 1);
        let other = reader.deserialize::<u64, _>(&mut encoded.as_slice());
        let other = other.expect("an encoding that the crate knows");
        let total: u64 = written.counts.iter().map(|(_, count)| *count as u64).sum();
        assert_eq!(other.len(), total);
        let last = found.expect("read").last().map_or(0, |cell| cell.highest);
        assert_eq!(other.max(), last);
    }
}

#[test]
fn a_log_becomes_series_of_increments() {
    let histogram = base64(&deflated(V2, 1, &written().encode(V2, 1)));
    let empty = Written {
        counts: Vec::new(),
        ..written()
    };
    let empty = base64(&empty.encode(V1, 2));
    let log = format!(
        "{HEADERS}0.127,1.007,2.769,{histogram}\nTag=A,0.127,1.007,2.769,{histogram}\n\n\
         1.134,0.999,0,{empty}"
    );
    let naming = Naming {
        divisor: NonZeroU64::new(4).expect("not zero"),
        ..naming()
    };
    let found = decode(log.as_bytes(), naming, &Limits::default(), &mut |_| true);
    let decoded = found.expect("a log");
    assert_eq!((decoded.batch.len(), decoded.refusals.len()), (3, 0));
    let keys: Vec<Vec<(&str, &str)>> = decoded
        .batch
        .iter()
        .map(|s| s.key.pairs().collect())
        .collect();
    let untagged = vec![("__name__", "latency"), ("app", "a"), ("zone", "b")];
    assert_eq!(keys[0], untagged);
    assert_eq!(keys[1][2], ("tag", "A"));
    assert_eq!(keys[2], untagged);
    let first = decoded.batch.get(0).expect("three").points[0];
    assert_eq!(first.start, Some(Timestamp(1_441_812_279_601)));
    assert_eq!(first.ts, Timestamp(1_441_812_280_608));
    let PointValue::Histogram(number) = first.value else {
        panic!("a histogram");
    };
    let histogram = decoded.batch.histogram(number).expect("kept");
    assert!(histogram.is_increment && histogram.sum.is_none());
    let cell = |low, high, count| HistogramCell { low, high, count };
    let expected = [
        cell(0.0, 0.0, 2.0),
        cell(1.0, 1.25, 1.0),
        cell(63.5, 63.75, 7.0),
        cell(63.75, 64.25, 300.0),
    ];
    assert_eq!(histogram.cells[..4], expected);
    let last = decoded.batch.get(2).expect("three").points[0].value;
    let PointValue::Histogram(number) = last else {
        panic!("a histogram");
    };
    assert!(
        decoded
            .batch
            .histogram(number)
            .is_some_and(|h| h.cells.is_empty())
    );
    let lines: Vec<_> = decoded.origins.iter().map(|origin| origin.line).collect();
    assert_eq!(lines, [Some(4), Some(5), Some(7)]);
}

#[test]
fn labels_that_cannot_be_refuse_the_intervals_and_keep_nothing_of_them() {
    let naming = Naming {
        labels: &[("tag", "b")],
        ..naming()
    };
    let line = log_line("1", &written());
    let log = format!("{HEADERS}Tag=A,{line}{line}");
    let found = decode(log.as_bytes(), naming, &Limits::default(), &mut |_| true);
    let decoded = found.expect("a log");
    assert_eq!((decoded.batch.len(), decoded.refused_points), (1, 1));
    assert_eq!(decoded.refusals[0].code, "duplicate_label");
    assert!(decoded.batch.histogram(0).is_some() && decoded.batch.histogram(1).is_none());
}

#[test]
fn times_are_meant_as_the_reference_reader_means_them() {
    let line = log_line("5.5", &written());
    let absolute = log_line("1441812200.25", &written());
    for (headers, line, expected) in [
        (
            "#[StartTime: 1441812279.474 (x)]\n",
            &line,
            Some(1_441_812_284_974),
        ),
        (
            "#[StartTime: 1441812279.474]\n",
            &absolute,
            Some(1_441_812_200_250),
        ),
        (
            "#[BaseTime: 1441812200 (x)]\n",
            &line,
            Some(1_441_812_205_500),
        ),
        (
            "#[StartTime: 1441812279.474 (x)]\n#[BaseTime: 1441812100.0 (x)]\n",
            &line,
            Some(1_441_812_105_500),
        ),
        ("", &absolute, Some(1_441_812_200_250)),
        ("", &line, None),
        ("#[BaseTime: 99999999999]\n", &line, None),
    ] {
        let log = format!("{headers}{line}");
        let found = intervals(&log);
        let start = found[0]
            .as_ref()
            .map(|interval| interval.start.millis())
            .ok();
        assert_eq!((found.len(), start), (1, expected), "{headers}");
    }
    // The first interval decides for those after it.
    let log = format!("#[StartTime: 1441812279.474 (x)]\n{absolute}{line}");
    assert_eq!(intervals(&log)[1], Err("bad_timestamp"));
}

#[test]
fn only_the_column_of_maxima_is_scaled_back() {
    let line = log_line("1441812200", &written());
    let log = format!("#[MaxValueDivisor: 1000000.0]\n{line}");
    let found = intervals(&log);
    let interval = found[0].as_ref().expect("read");
    assert_eq!(
        (interval.max, interval.cells.as_slice()),
        (2.5e6, &written().cells()[..])
    );
}

#[test]
fn a_malformed_line_is_refused_by_itself() {
    let good = log_line("1", &written());
    let payload = good.rsplit(',').next().expect("a histogram").trim();
    for (line, code) in [
        ("nonsense".to_owned(), "malformed_interval"),
        ("Tag=x".to_owned(), "malformed_interval"),
        (format!("x,1,2.5,{payload}"), "malformed_interval"),
        (format!("1,-1,2.5,{payload}"), "malformed_interval"),
        (format!("1,NaN,2.5,{payload}"), "malformed_interval"),
        (format!("1,1,max,{payload}"), "malformed_interval"),
        ("1,1,2.5".to_owned(), "malformed_interval"),
        ("1,1,2.5,%%%%".to_owned(), "bad_base64"),
        ("1,1,2.5,".to_owned(), "histogram_cut_off"),
        ("1,1,2.5,AAAAAAAA".to_owned(), "unknown_encoding"),
        (
            format!("1,1,2.5,{}", &payload[..payload.len() / 2]),
            "histogram_cut_off",
        ),
        ("#[StartTime: yesterday]".to_owned(), "bad_header"),
        ("#[MaxValueDivisor: 0]".to_owned(), "bad_header"),
    ] {
        let decoded = read(&format!("{HEADERS}{good}{line}\n{good}"));
        assert_eq!(decoded.batch.len(), 2, "{line}");
        let refusal = &decoded.refusals[0];
        assert_eq!(
            (refusal.code, refusal.line),
            (code, Some(5)),
            "{line}: {}",
            refusal.message
        );
        assert_eq!((refusal.index, decoded.refusals.len()), (1, 1));
    }
}

#[test]
fn hostile_histograms_are_refused_before_they_cost() {
    let encode = |written: &Written| base64(&deflated(V2, 1, &written.encode(V2, 1)));
    let header = |digits, lowest, highest| Written {
        digits,
        lowest,
        highest,
        counts: Vec::new(),
    };
    assert_eq!(code(&encode(&header(5, 1, u64::MAX / 2))), "too_many_cells");
    assert_eq!(code(&encode(&header(9, 1, 1_000))), "bad_histogram_header");
    assert_eq!(code(&encode(&header(3, 0, 1_000))), "bad_histogram_header");
    assert_eq!(
        code(&encode(&header(3, 1, u64::MAX))),
        "bad_histogram_header"
    );
    let mut length = written().encode(V2, 1);
    length[4..8].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(code(&base64(&length)), "histogram_cut_off");
    let mut outer = deflated(V2, 1, &written().encode(V2, 1));
    outer[4..8].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(code(&base64(&outer)), "histogram_cut_off");
    // A run of 2^63 zeros, and a count past the range.
    for words in [
        vec![0xff; 9],
        vec![0x02, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x02],
    ] {
        assert_eq!(code(&base64(&written().header(V2, 1, &words))), "bad_count");
    }
    let mut shifted = written().encode(V2, 1);
    shifted[11] = 1;
    assert_eq!(code(&base64(&shifted)), "histogram_of_doubles");
    assert_eq!(
        code(&base64(&0x0c72_124f_u32.to_be_bytes())),
        "histogram_of_doubles"
    );
    assert_eq!(
        code(&base64(&written().header(V1, 2, &[0xff, 0xfe]))),
        "bad_count"
    );
    assert_eq!(
        code(&base64(&written().header(V1, 2, &[0x01]))),
        "histogram_cut_off"
    );
    assert_eq!(
        code(&base64(&written().header(V1, 6, &[0; 6]))),
        "bad_histogram_header"
    );
    let huge = Written {
        counts: vec![(1, 1 << 52), (2, 1 << 53)],
        ..written()
    };
    for version in [V1, V2] {
        assert_eq!(code(&base64(&huge.encode(version, 8))), "bad_count");
    }
    // A megabyte of zeros deflates to a thousand bytes; there is an end to that.
    let zeros = deflated(V1, 8, &vec![0; 12 << 20]);
    assert_eq!(code(&base64(&zeros)), "too_many_cells");
    assert_eq!(
        code(&base64(&deflated(V1, 8, &[0; 64]))),
        "unknown_encoding"
    );
}

#[test]
fn limits_hold_at_them_and_one_past() {
    let limits = |cells, samples| Limits {
        values_per_sample_max: cells,
        samples_per_request_max: samples,
        ..Limits::default()
    };
    let line = log_line("1", &written());
    let log = format!("{HEADERS}{line}{line}");
    let read = |limits: &Limits| decode(log.as_bytes(), naming(), limits, &mut |_| true);
    assert_eq!(
        read(&limits(5, 2)).map(|decoded| decoded.batch.point_count()),
        Ok(2)
    );
    let decoded = read(&limits(4, 2)).expect("a log");
    assert_eq!(
        (decoded.batch.len(), decoded.refusals[1].code),
        (0, "too_many_cells")
    );
    assert_eq!(
        read(&limits(5, 1)).expect_err("many").code,
        UnreadableCode::TooManySamples
    );
    let none = decode(log.as_bytes(), naming(), &limits(5, 2), &mut |_| false);
    assert_eq!(none.expect_err("no room").code, UnreadableCode::NoRoom);
    // More than the cells of one histogram of the other formats.
    let wide = Written {
        highest: 1 << 40,
        counts: (0..2_000).map(|cell| (cell, 1)).collect(),
        ..written()
    };
    let decoded = super::decode(
        format!("{HEADERS}{}", log_line("1", &wide)).as_bytes(),
        naming(),
        &Limits::default(),
        &mut |_| true,
    );
    assert_eq!(
        decoded.map(|d| (d.batch.point_count(), d.refusals.len())),
        Ok((1, 0))
    );
}

#[test]
fn the_work_of_a_log_has_an_end() {
    let wide = Written {
        digits: 5,
        lowest: 1,
        highest: (1 << 24) - 1,
        counts: Vec::new(),
    };
    let line = log_line("1", &wide);
    let at_most = (LOG_WORK_MAX / (SPANNED_CELLS_MAX as u64 + 40)) as usize;
    let log = format!("{HEADERS}{}", line.repeat(at_most + 2));
    let decoded = read(&log);
    assert_eq!((decoded.batch.len(), decoded.refusals.len()), (at_most, 2));
    assert_eq!(decoded.refusals[0].code, "log_too_long");
}

#[test]
fn what_is_no_log_is_unreadable_with_a_hint() {
    for body in ["<html>", "m{a=\"1\"} 1\n", "\u{1f}\u{1}\n"] {
        let error = decode(body.as_bytes(), naming(), &Limits::default(), &mut |_| true);
        assert_eq!(
            error.expect_err("no log").code,
            UnreadableCode::MalformedText,
            "{body}"
        );
    }
    let error = decode(b"\n", naming(), &Limits::default(), &mut |_| true);
    assert_eq!(error.expect_err("empty").code, UnreadableCode::EmptyBody);
    assert_eq!(read(HEADERS).batch.len(), 0);
}

#[test]
fn no_change_of_bytes_makes_it_panic_or_keep_more_than_it_may() {
    let limits = Limits {
        values_per_sample_max: 50,
        samples_per_request_max: 20,
        ..Limits::default()
    };
    let mut numbers = Numbers(5);
    let mut kept = 0;
    // The text of a log.
    let good = format!(
        "{HEADERS}{}Tag=A,{}",
        log_line("1", &written()),
        log_line("2", &written())
    );
    for _ in 0..8_000 {
        let body = numbers.changed(good.as_bytes());
        let Ok(decoded) = decode(&body, naming(), &limits, &mut |_| true) else {
            continue;
        };
        kept += decoded.batch.point_count();
        assert!(decoded.batch.point_count() + decoded.refusals.len() <= 40);
    }
    assert!(kept > 4_000, "{kept}");
    // The bytes of the histograms in it, whose changes base64 and deflate would catch.
    let mut read = 0;
    for nth in 0..24_000 {
        let version = [V0, V1, V2, V2][nth % 4];
        let bytes = numbers.changed(&written().encode(version, 2));
        let Ok(cells) = read_payload(&base64(&bytes), &limits) else {
            continue;
        };
        read += 1;
        assert!(cells.len() <= 50);
        assert!(cells.is_sorted_by(|a, b| a.highest < b.lowest));
        assert!(
            cells
                .iter()
                .all(|cell| cell.lowest <= cell.highest && cell.count > 0)
        );
    }
    assert!(read > 4_000, "{read}");
}
