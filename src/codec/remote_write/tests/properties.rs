//! Round trips of generated requests, and requests with changed bytes.

use super::encode::{Frame, V2, sample, series_v1};
use super::*;
use crate::codec::exponential::boundary;
use crate::codec::series::HISTOGRAM_CELLS_MAX;
use crate::model::series::{Histogram, HistogramCell, Point, SeriesBatch};

/// Numbers by chance, the same at every run (splitmix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn number(&mut self) -> f64 {
        let number = f64::from_bits(self.next());
        if number.is_nan() { 1.5 } else { number }
    }
}

/// Buckets of one direction, as an index and a count each, ascending.
fn buckets(chance: &mut Chance) -> Vec<(i64, u64)> {
    let mut index = chance.below(60) as i64 - 30;
    let count = chance.below(8);
    let bucket = |_| {
        index += 1 + chance.below(4) as i64 * chance.below(2) as i64;
        let most = 1 << chance.below(40);
        (index, 1 + chance.below(most))
    };
    (0..count).map(bucket).collect()
}

/// Writes buckets with their spans; gaps are left out or written as empty buckets, by chance.
fn write_buckets(
    mut frame: Frame,
    first_field: u64,
    buckets: &[(i64, u64)],
    is_float: bool,
    chance: &mut Chance,
) -> Frame {
    let mut spans: Vec<(i64, u64)> = Vec::new();
    let mut counts: Vec<u64> = Vec::new();
    let mut next = 0;
    for (index, count) in buckets {
        let gap = index - next;
        match spans.last_mut() {
            Some(span) if gap == 0 || chance.below(2) == 0 => {
                span.1 += gap as u64 + 1;
                counts.extend(std::iter::repeat_n(0, gap as usize));
            }
            _ => spans.push((gap, 1)),
        }
        counts.push(*count);
        next = index + 1;
    }
    for (offset, length) in spans {
        frame = frame.span(first_field, offset, length);
    }
    if is_float {
        return frame.packed_doubles(first_field + 2, counts.iter().map(|c| *c as f64 / 4.0));
    }
    let mut before = 0;
    let deltas = counts.iter().map(|count| {
        let delta = *count as i64 - before;
        before = *count as i64;
        delta
    });
    frame.packed_sints(first_field + 1, deltas)
}

/// A histogram by chance: its frame without times, and what it must be read as.
fn histogram(chance: &mut Chance) -> (Frame, Histogram) {
    let schema = chance.below(13) as i32 - 4;
    let is_float = chance.below(3) == 0;
    let (negative, positive) = (buckets(chance), buckets(chance));
    let zero = chance.below(3);
    let scale = if is_float { 0.25 } else { 1.0 };
    let mut cells = Vec::new();
    let cell = |low, high, count: u64| HistogramCell {
        low,
        high,
        count: count as f64 * scale,
    };
    for (index, count) in negative.iter().rev() {
        let (low, high) = (boundary(schema, *index), boundary(schema, index - 1));
        cells.push(cell(-low, -high, *count));
    }
    if zero > 0 {
        cells.push(cell(0.0, 0.0, zero));
    }
    for (index, count) in &positive {
        let (low, high) = (boundary(schema, index - 1), boundary(schema, *index));
        cells.push(cell(low, high, *count));
    }
    let sum = chance.number();
    let total = zero
        + [&negative, &positive]
            .into_iter()
            .flatten()
            .map(|b| b.1)
            .sum::<u64>();
    let mut frame = match is_float {
        true => Frame::new().double(2, total as f64 / 4.0),
        false => Frame::new().varint(1, total),
    };
    frame = frame.double(3, sum).sint(4, i64::from(schema));
    frame = match is_float {
        true => frame.double(7, zero as f64 / 4.0),
        false => frame.varint(6, zero),
    };
    frame = write_buckets(frame, 8, &negative, is_float, chance);
    frame = write_buckets(frame, 11, &positive, is_float, chance);
    let histogram = Histogram {
        is_increment: false,
        cells,
        sum: Some(sum),
    };
    (frame, histogram)
}

const NAMES: [&str; 4] = ["alpha", "beta_total", "γάμμα", "d"];

/// A request by chance: its bytes, and what it must be read as.
fn request(chance: &mut Chance, message: Message) -> (Vec<u8>, SeriesBatch) {
    let is_v2 = message == Message::V2;
    let mut batch = SeriesBatch::default();
    let (mut v1, mut v2) = (Frame::new(), V2::new());
    for number in 0..chance.below(5) {
        let value = format!("v{}", chance.below(3));
        let pod = "p".repeat(chance.below(300) as usize);
        let mut labels = vec![
            ("__name__", NAMES[chance.below(4) as usize]),
            ("instance", value.as_str()),
            ("pod", pod.as_str()),
        ];
        if chance.below(4) == 0 {
            labels.reverse();
        }
        let of_histograms = chance.below(3) == 0;
        let metric_type = chance.below(6) % 4 * u64::from(is_v2);
        let kind = [
            SeriesKind::Unknown,
            SeriesKind::Counter,
            SeriesKind::Gauge,
            SeriesKind::Histogram,
        ][metric_type as usize];
        let kind = match kind {
            SeriesKind::Unknown if of_histograms => SeriesKind::Histogram,
            kind => kind,
        };
        batch.begin(labels.iter().copied(), kind).expect("named");
        let mut rest = Frame::new();
        for at in 0..1 + chance.below(3) {
            let ts = TS + (number * 10 + at) as i64;
            let start = chance.below(2) as i64 * is_v2 as i64 * (ts - 1_000);
            let value = if of_histograms {
                let (frame, histogram) = histogram(chance);
                let frame = frame.varint(15, ts as u64);
                let frame = if start > 0 {
                    frame.varint(17, start as u64)
                } else {
                    frame
                };
                rest = rest.message(if is_v2 { 3 } else { 4 }, frame);
                batch.add_histogram(histogram)
            } else {
                let value = if chance.below(9) == 0 {
                    STALE
                } else {
                    chance.number()
                };
                rest = rest.message(2, sample(ts, value, start));
                if value.is_nan() {
                    PointValue::Stale
                } else {
                    PointValue::Number(value)
                }
            };
            let start = (start > 0).then_some(Timestamp(start));
            let ts = Timestamp(ts);
            batch.point(Point { ts, start, value });
        }
        if is_v2 {
            v2.series(
                &labels,
                rest.message(5, Frame::new().varint(1, metric_type)),
            );
        } else {
            v1 = v1.message(1, series_v1(&labels, rest));
        }
    }
    (if is_v2 { v2.finish() } else { v1.0 }, batch)
}

#[test]
fn what_is_written_is_read() {
    let mut chance = Chance(7);
    for round in 0..2_000 {
        let message = [Message::V1, Message::V2][round % 2];
        let (body, batch) = request(&mut chance, message);
        let decoded = decoded(&body, message);
        assert_eq!(decoded.series.refusals, [], "{round}");
        assert_eq!(decoded.series.batch, batch, "{round}");
        let written = decoded.written.samples + decoded.written.histograms;
        assert_eq!(written, batch.point_count() as u64);
    }
}

fn change(body: &mut Vec<u8>, chance: &mut Chance) {
    for _ in 0..=chance.below(3) {
        let at = chance.below(body.len() as u64 + 1) as usize;
        match chance.below(5) {
            0 if at < body.len() => body[at] ^= 1 << chance.below(8),
            1 if at < body.len() => body[at] = [0, 0x7f, 0x80, 0xff][chance.below(4) as usize],
            2 => body.insert(at, chance.next() as u8),
            3 if at < body.len() => drop(body.remove(at)),
            4 if chance.below(4) == 0 => body.truncate(at),
            _ => {}
        }
    }
}

/// What holds of every batch, whatever the bytes were.
fn check(decoded: &DecodedWrite, body_bytes: usize) {
    let series = &decoded.series;
    let batch = &series.batch;
    assert_eq!(series.origins.len(), batch.len());
    // A point or a series takes two bytes of the body at least.
    let items = batch.point_count() + series.refusals.len();
    assert!(items <= body_bytes, "{items} of {body_bytes}");
    let written = decoded.written.samples + decoded.written.histograms;
    assert_eq!(written, batch.point_count() as u64);
    for point in batch.iter().flat_map(|series| series.points) {
        match point.value {
            PointValue::Number(number) => assert!(!number.is_nan()),
            PointValue::Histogram(number) => {
                let histogram = batch.histogram(number).expect("kept");
                let cells = &histogram.cells;
                assert!(cells.len() <= HISTOGRAM_CELLS_MAX);
                assert!(cells.iter().all(|c| c.count > 0.0 && c.low <= c.high));
                assert!(cells.windows(2).all(|pair| pair[0].high <= pair[1].low));
            }
            PointValue::Stale => {}
            PointValue::Increment(_) => panic!("no increments here"),
        }
    }
}

#[test]
fn changed_bytes_are_read_or_refused() {
    let mut chance = Chance(11);
    let limits = Limits::default();
    let (mut readable, mut refused) = (0, 0);
    for round in 0..30_000 {
        let message = [Message::V1, Message::V2][round % 2];
        let (mut body, _) = request(&mut chance, message);
        change(&mut body, &mut chance);
        let mut most = 0;
        let mut room = |bytes: u64| {
            most = bytes.max(most);
            true
        };
        let found = decode_within(&body, message, &mut Heads::new(0), &limits, &mut room);
        // 64 bytes of a batch, or 128 of a refusal and its sentence, for a byte of the body.
        assert!(most <= 1_000 + 300 * body.len() as u64, "{most}");
        if let Ok(decoded) = found {
            readable += 1;
            refused += usize::from(!decoded.series.refusals.is_empty());
            check(&decoded, body.len());
        }
    }
    // Most changes lie inside of a series, and leave the others alone.
    assert!(readable > 10_000 && refused > 4_000, "{readable} {refused}");
}

#[test]
fn changed_blocks_are_decompressed_or_refused() {
    let mut chance = Chance(13);
    let mut encoder = snap::raw::Encoder::new();
    for _ in 0..5_000 {
        let (body, _) = request(&mut chance, Message::V1);
        let mut packed = encoder.compress_vec(&body).expect("small");
        change(&mut packed, &mut chance);
        if let Ok(plain) = decompress(&packed, 1 << 20) {
            assert!(plain.len() <= 1 << 20);
        }
    }
}

#[test]
fn a_plain_series_is_read_as_one_that_is_not() {
    let mut chance = Chance(17);
    let limits = Limits {
        label_count_max: 3,
        label_bytes_max: 24,
        ..Limits::default()
    };
    let texts = [
        "",
        "a",
        "b",
        "job",
        "__name__",
        "__name__x",
        "ä",
        "metric_name",
    ];
    let mut taken = 0;
    for round in 0..20_000 {
        let mut labels = vec![("__name__", "up")];
        for _ in 0..chance.below(5) {
            let mut text = || texts[chance.below(texts.len() as u64) as usize];
            labels.push((text(), text()));
        }
        if chance.below(2) == 0 {
            labels.sort_unstable();
            labels.dedup_by_key(|(name, _)| *name);
        }
        let mut rest = Frame::new();
        for number in 0..1 + chance.below(3) as i64 {
            rest = rest.message(2, sample(1_764_000_000_000 + number, number as f64, 0));
        }
        let mut series = series_v1(&labels, rest).0;
        if round % 2 == 0 {
            change(&mut series, &mut chance);
        }
        // A field that nobody knows stands before the labels of the other.
        let other = [Frame::new().varint(1_000, 1).0, series.clone()].concat();
        let [plain, other] = [series, other].map(|series| {
            let body = Frame::new().bytes(1, series).0;
            let mut heads = Heads::new(7);
            let mut room = |_| true;
            let mut decode = || decode_within(&body, Message::V1, &mut heads, &limits, &mut room);
            let found = decode();
            assert_eq!(found, decode(), "labels that are known");
            found
        });
        taken += plain.as_ref().map_or(0, |read| read.written.samples);
        assert_eq!(plain, other, "round {round}: {labels:?}");
    }
    assert!(taken > 5_000, "{taken}");
}
