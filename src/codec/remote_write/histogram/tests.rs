//! Native histograms as the definition lays them out, and what of them is refused.

use super::super::tests::TS;
use super::super::tests::encode::Frame;
use super::super::{Message, decode};
use super::*;
use crate::codec::Limits;
use crate::model::series::PointValue;

/// The histogram, or why it is refused.
fn read(histogram: Frame) -> Result<Histogram, (&'static str, String)> {
    let histogram = histogram.varint(15, TS as u64);
    let name = Frame::new().bytes(1, "__name__").bytes(2, "h");
    let series = Frame::new().message(1, name).message(4, histogram);
    let body = Frame::new().message(1, series);
    let decoded = decode(&body.0, Message::V1, &Limits::default()).expect("readable");
    let decoded = decoded.series;
    if let Some(refusal) = decoded.refusals.first() {
        assert_eq!((decoded.refusals.len(), decoded.refused_points), (1, 1));
        return Err((refusal.code, refusal.message.clone()));
    }
    let points = decoded.batch.iter().next().expect("a series").points;
    match points[0].value {
        PointValue::Histogram(number) => Ok(decoded.batch.histogram(number).expect("kept").clone()),
        other => panic!("{other:?}"),
    }
}

fn cells(histogram: Frame) -> Vec<(f64, f64, f64)> {
    let histogram = read(histogram).expect("good");
    let cells = histogram.cells.iter();
    cells
        .map(|cell| (cell.low, cell.high, cell.count))
        .collect()
}

fn code(histogram: Frame) -> &'static str {
    let (code, message) = read(histogram).expect_err("bad");
    assert!(!message.is_empty());
    code
}

fn whole(count: u64, schema: i64) -> Frame {
    Frame::new().varint(1, count).sint(4, schema)
}

#[test]
fn the_example_of_the_definition_is_read_in_all_its_layouts() {
    let spans = |spans: &[(i64, u64)], deltas: &[i64]| {
        let frame = whole(16, 0);
        let frame = spans.iter().fold(frame, |f, (o, l)| f.span(11, *o, *l));
        frame.packed_sints(12, deltas.to_vec())
    };
    let expected = [
        (0.125, 0.25, 3.0),
        (0.25, 0.5, 5.0),
        (2.0, 4.0, 1.0),
        (8.0, 16.0, 3.0),
        (16.0, 32.0, 2.0),
    ];
    for frame in [
        spans(&[(-2, 2), (2, 1), (1, 2)], &[3, 2, -4, 2, -1]),
        spans(&[(-2, 2), (2, 4)], &[3, 2, -4, -1, 3, -1]),
        spans(&[(-2, 8)], &[3, 2, -5, 0, 1, -1, 3, -1]),
        // Empty spans, and gaps in pieces.
        spans(
            &[(-2, 2), (1, 0), (1, 1), (1, 2), (7, 0)],
            &[3, 2, -4, 2, -1],
        ),
        spans(&[(-3, 0), (1, 2), (2, 1), (1, 2)], &[3, 2, -4, 2, -1]),
    ] {
        // The example counts 14; it is made consistent here.
        let mut frame = frame;
        frame.0[1] = 14;
        assert_eq!(cells(frame), expected);
    }
}

#[test]
fn negative_buckets_are_mirrored_and_zero_lies_between() {
    let frame = whole(17, 1)
        .span(8, 2, 2)
        .packed_sints(9, [1, 1])
        .span(11, 1, 1)
        .sint(12, 4)
        .varint(6, 10)
        .double(5, 0.5)
        .double(3, -3.5);
    let histogram = read(frame.clone()).expect("good");
    assert_eq!(histogram.sum, Some(-3.5));
    assert!(!histogram.is_increment);
    let root = crate::codec::exponential::boundary(1, 1);
    let expected = [
        (-2.0 * root, -2.0, 2.0),
        (-2.0, -root, 1.0),
        (-0.5, 0.5, 10.0),
        (1.0, root, 4.0),
    ];
    assert_eq!(cells(frame), expected);
    // Without a threshold, the zero bucket is zero itself, and not its negative.
    let zero = read(whole(1, 0).varint(6, 1)).expect("good").cells[0];
    assert_eq!(zero.low.to_bits(), 0);
    assert_eq!((zero.high, zero.count), (0.0, 1.0));
    assert_eq!(cells(whole(0, 0)), []);
}

#[test]
fn float_histograms_count_as_they_say() {
    let frame = Frame::new()
        .double(2, 4.75)
        .sint(4, -4)
        .span(11, 0, 2)
        .packed_doubles(13, [0.25, 2.5])
        .span(8, 1, 1)
        .double(10, 1.5)
        .double(7, 0.5);
    let expected = [
        (-65_536.0, -1.0, 1.5),
        (0.0, 0.0, 0.5),
        (1.0 / 65_536.0, 1.0, 0.25),
        (1.0, 65_536.0, 2.5),
    ];
    assert_eq!(cells(frame), expected);
}

#[test]
fn custom_buckets_end_where_they_are_listed() {
    let values = || Frame::new().packed_doubles(16, [-1.0, 0.5, 7.0]);
    let with = |frame: Frame| {
        let mut frame = frame;
        frame.0.extend(values().0);
        frame
    };
    let all = whole(10, -53).span(11, 0, 4).packed_sints(12, [1, 1, 1, 1]);
    let expected = [
        (f64::NEG_INFINITY, -1.0, 1.0),
        (-1.0, 0.5, 2.0),
        (0.5, 7.0, 3.0),
        (7.0, f64::INFINITY, 4.0),
    ];
    assert_eq!(cells(with(all)), expected);
    let last = whole(2, -53).span(11, 3, 1).packed_sints(12, [2]);
    assert_eq!(
        cells(with(last)),
        expected[3..]
            .iter()
            .map(|c| (c.0, c.1, 2.0))
            .collect::<Vec<_>>()
    );
    let none = whole(2, -53).span(11, 0, 1).packed_sints(12, [2]);
    assert_eq!(cells(none), [(f64::NEG_INFINITY, f64::INFINITY, 2.0)]);
    for bad in [
        whole(1, -53).span(11, 4, 1).packed_sints(12, [1]),
        whole(1, -53).span(11, -1, 1).packed_sints(12, [1]),
        whole(1, -53).span(8, 0, 1).packed_sints(9, [1]),
        whole(0, -53).packed_sints(9, [1]),
        whole(1, -53).varint(6, 1),
    ] {
        assert_eq!(code(with(bad)), "bad_histogram");
    }
    for list in [
        [1.0, 1.0],
        [2.0, 1.0],
        [1.0, f64::INFINITY],
        [f64::NAN, 1.0],
    ] {
        let frame = whole(0, -53).packed_doubles(16, list);
        assert_eq!(code(frame), "bad_histogram");
    }
}

#[test]
fn the_first_and_last_buckets_reach_to_the_ends_of_the_doubles() {
    let one = |schema, index| whole(1, schema).span(11, index, 1).packed_sints(12, [1]);
    let last = cells(one(8, 262_144))[0];
    assert!(last.0 < f64::MAX);
    assert_eq!(last.1, f64::MAX);
    assert_eq!(cells(one(8, 262_145)), [(f64::MAX, f64::INFINITY, 1.0)]);
    assert_eq!(cells(one(-4, 65)), [(f64::MAX, f64::INFINITY, 1.0)]);
    assert_eq!(cells(one(-4, -67)), [(0.0, libm::ldexp(1.0, -1_072), 1.0)]);
    for (schema, index) in [(8, 262_146), (-4, 66), (-4, -68), (0, i64::from(i32::MIN))] {
        assert_eq!(
            code(one(schema, index)),
            "bad_histogram",
            "{schema} {index}"
        );
    }
    assert_eq!(code(one(0, i64::from(i32::MAX) + 1)), "malformed");
    let negative = whole(1, 0).span(8, 1_025, 1).packed_sints(9, [1]);
    assert_eq!(cells(negative), [(f64::NEG_INFINITY, f64::MIN, 1.0)]);
}

#[test]
fn a_zero_bucket_may_reach_into_a_bucket_and_not_over_it() {
    let frame = |threshold| {
        let frame = whole(3, 0).double(5, threshold).span(11, 1, 1);
        frame.packed_sints(12, [2]).varint(6, 1)
    };
    let reached = [(-1.5, 1.5, 1.0), (1.5, 2.0, 2.0)];
    assert_eq!(cells(frame(1.5)), reached);
    for threshold in [2.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(code(frame(threshold)), "bad_histogram", "{threshold}");
    }
}

#[test]
fn neighbours_share_their_boundary_bit_for_bit() {
    for schema in -4..=8 {
        let frame = whole(200, schema)
            .span(8, -20, 50)
            .packed_sints(9, std::iter::once(2).chain([0; 49]))
            .span(11, -20, 50)
            .packed_sints(12, std::iter::once(2).chain([0; 49]));
        let cells = cells(frame);
        assert_eq!(cells.len(), 100);
        for pair in cells.windows(2).filter(|pair| pair[0].1 != -pair[1].0) {
            assert_eq!(pair[0].1.to_bits(), pair[1].0.to_bits());
        }
        // A bucket that stands alone has the same ends.
        for (at, cell) in cells[50..].iter().enumerate() {
            let alone = whole(1, schema).span(11, at as i64 - 20, 1);
            let alone = self::cells(alone.packed_sints(12, [1]))[0];
            assert_eq!(
                (alone.0.to_bits(), alone.1.to_bits()),
                (cell.0.to_bits(), cell.1.to_bits())
            );
        }
    }
}

#[test]
fn gauges_and_what_does_not_add_up_are_refused() {
    let good = || whole(3, 0).span(11, 0, 2).packed_sints(12, [1, 1]);
    assert_eq!(cells(good()).len(), 2);
    for hint in [0, 1, 2] {
        assert_eq!(cells(good().varint(14, hint)).len(), 2);
    }
    assert_eq!(code(good().varint(14, 3)), "gauge_histogram");
    let float = || Frame::new().double(2, 3.0).span(11, 0, 2);
    assert_eq!(cells(float().packed_doubles(13, [1.0, 2.0])).len(), 2);
    for bad in [
        // More or fewer observations than it says.
        good().varint(1, 4),
        good().varint(1, 2),
        good().varint(1, 2).double(3, f64::NAN),
        // More or fewer counts than buckets.
        good().sint(12, 0),
        good().span(11, 0, 1),
        good().sint(9, 1),
        float().packed_doubles(13, [1.0]),
        // Counts below 0, or past all bounds.
        whole(0, 0).span(11, 0, 1).packed_sints(12, [-1]),
        whole(0, 0).span(11, 0, 2).packed_sints(12, [i64::MAX, 1]),
        whole(0, 0)
            .span(11, 0, 3)
            .packed_sints(12, [i64::MAX, 0, 0]),
        float().packed_doubles(13, [1.0, -1.0]),
        float().packed_doubles(13, [1.0, f64::NAN]),
        float().packed_doubles(13, [1.0, f64::INFINITY]),
        Frame::new().double(2, f64::NAN),
        // Two types of counts.
        good().double(7, 1.0),
        float().packed_doubles(13, [1.0, 2.0]).varint(6, 1),
        // A span that goes back, a schema nobody knows.
        good().span(11, -1, 0),
        good().sint(4, 9),
        good().sint(4, -5),
        good().sint(4, -54),
    ] {
        assert_eq!(code(bad.clone()), "bad_histogram", "{bad:?}");
    }
    // An observed NaN is counted, and lies in no bucket.
    let histogram = read(good().varint(1, 4).double(3, f64::NAN)).expect("good");
    assert_eq!((histogram.sum, histogram.cells.len()), (None, 2));
    for bad in [
        good().bytes(11, [9]),
        good().bytes(12, [0x80]),
        good().varint(3, 1),
    ] {
        assert_eq!(code(bad), "malformed");
    }
}

#[test]
fn buckets_are_limited_before_they_are_read() {
    let most = HISTOGRAM_CELLS_MAX as u64;
    let full = |buckets: u64| {
        let deltas = std::iter::once(1).chain(std::iter::repeat_n(0, buckets as usize - 1));
        whole(buckets, 8)
            .span(11, 0, buckets)
            .packed_sints(12, deltas)
    };
    assert_eq!(cells(full(most)).len(), HISTOGRAM_CELLS_MAX);
    assert_eq!(code(full(most + 1)), "too_many_cells");
    assert_eq!(code(full(most).varint(6, 1)), "too_many_cells");
    let claims = whole(0, 8)
        .span(8, 0, u64::from(u32::MAX))
        .span(11, 0, u64::from(u32::MAX));
    assert_eq!(code(claims), "too_many_cells");
    let past = whole(0, 8).span(11, 0, u64::from(u32::MAX) + 1);
    assert_eq!(code(past), "malformed");
}
