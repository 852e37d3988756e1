//! Rules of the format, each in both forms and with fields in either order.

mod as_json;
mod attributes;
mod encode;
mod malformed;
mod random;

use super::super::heads::Heads;
use super::super::series::DecodedSeries;
use super::super::{Limits, UnreadableCode};
use super::{Form, decode, decode_within};
use crate::model::Timestamp;
use crate::model::series::{Histogram, HistogramCell, NAME_LABEL, Point, PointValue, SeriesKind};
use encode::{Any, Attributes, Body, DataPoint, Kind, Metric, Order, Request, Resource, Scope};

/// 2025-11-24T16:00:00Z.
const MILLIS: i64 = 1_764_000_000_000;
const NANOS: u64 = MILLIS as u64 * 1_000_000;
const MINUTE_NANOS: u64 = 60_000_000_000;

const WAYS: [(Form, Order); 4] = [
    (Form::Protobuf, Order::Forwards),
    (Form::Protobuf, Order::Backwards),
    (Form::Json, Order::Forwards),
    (Form::Json, Order::Backwards),
];

fn encoded(request: &Request, (form, order): (Form, Order)) -> Vec<u8> {
    match form {
        Form::Protobuf => request.protobuf(order),
        Form::Json => request.json(order),
    }
}

/// What a request becomes, whichever way it is written.
fn decoded(request: &Request) -> DecodedSeries {
    let mut all = WAYS.map(|way| {
        let body = encoded(request, way);
        decode(&body, way.0, &Limits::default())
            .unwrap_or_else(|error| panic!("{way:?}: {error}: {}", String::from_utf8_lossy(&body)))
    });
    for (at, way) in WAYS.iter().enumerate().skip(1) {
        assert_eq!(all[at], all[0], "{way:?}");
    }
    std::mem::take(&mut all[0])
}

/// Labels as `name{a="b"}`.
fn labels(decoded: &DecodedSeries) -> Vec<String> {
    let series = decoded.batch.iter();
    series
        .map(|series| {
            let pairs = series.key.pairs().filter(|(name, _)| *name != NAME_LABEL);
            let pairs: Vec<String> = pairs.map(|(n, v)| format!("{n}={v:?}")).collect();
            format!("{}{{{}}}", series.key.name(), pairs.join(","))
        })
        .collect()
}

fn points(decoded: &DecodedSeries) -> Vec<(SeriesKind, Point)> {
    let series = decoded.batch.iter();
    series
        .flat_map(|series| series.points.iter().map(move |point| (series.kind, *point)))
        .collect()
}

fn refusals(decoded: &DecodedSeries) -> Vec<(usize, &'static str)> {
    let refusals = decoded.refusals.iter();
    refusals
        .map(|refusal| (refusal.index, refusal.code))
        .collect()
}

fn point(value: PointValue) -> Point {
    Point {
        ts: Timestamp(MILLIS),
        start: None,
        value,
    }
}

fn data_point(body: Body) -> DataPoint {
    DataPoint::new(NANOS, body)
}

fn text(text: &str) -> Any {
    Any::Text(text.into())
}

fn texts(pairs: &[(&str, &str)]) -> Attributes {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), text(value)))
        .collect()
}

fn gauge(name: &str, attributes: Attributes) -> Metric {
    let point = DataPoint {
        attributes,
        ..data_point(Body::Double(1.5))
    };
    Metric::new(name, Kind::Gauge, vec![point])
}

#[test]
fn numbers_become_what_their_kind_and_temporality_say() {
    use PointValue::{Increment, Number};
    let sum = |temporality, is_monotonic, body| {
        let mut point = data_point(body);
        point.start = NANOS - MINUTE_NANOS;
        Metric {
            temporality,
            is_monotonic,
            ..Metric::new("m", Kind::Sum, vec![point])
        }
    };
    let gauge = Metric::new("m", Kind::Gauge, vec![data_point(Body::Int(-7))]);
    let request = Request::of(vec![
        gauge,
        sum(2, true, Body::Double(7.25)),
        sum(1, true, Body::Int(i64::MAX)),
        sum(2, false, Body::Int(-3)),
        sum(1, false, Body::Int(3)),
        sum(0, true, Body::Int(3)),
        sum(3, true, Body::Int(3)),
        sum(1, true, Body::Int(-3)),
        sum(1, true, Body::Double(f64::INFINITY)),
        sum(1, true, Body::Nothing),
    ]);
    let decoded = decoded(&request);
    let since = |value| Point {
        start: Some(Timestamp(MILLIS - 60_000)),
        ..point(value)
    };
    assert_eq!(
        points(&decoded),
        [
            (SeriesKind::Gauge, point(Number(-7.0))),
            (SeriesKind::Counter, since(Number(7.25))),
            (SeriesKind::Counter, since(Increment(i64::MAX as f64))),
            (SeriesKind::Gauge, point(Number(-3.0))),
        ]
    );
    assert_eq!(labels(&decoded), ["m{}", "m_total{}", "m_total{}", "m{}"]);
    assert_eq!(
        refusals(&decoded),
        [
            (4, "bad_temporality"),
            (5, "bad_temporality"),
            (6, "bad_temporality"),
            (7, "bad_increment"),
            (8, "bad_increment"),
            (9, "missing_value"),
        ]
    );
    assert_eq!(decoded.refused_points, 6);
}

#[test]
fn a_start_counts_only_where_it_is_known() {
    for (start, expected) in [
        (0, None),
        (NANOS - 1, Some(Timestamp(MILLIS - 1))),
        // The beginning of an unknown sum, and nonsense.
        (NANOS, None),
        (NANOS + 1, None),
    ] {
        let mut point = data_point(Body::Int(1));
        point.start = start;
        let metric = Metric {
            is_monotonic: true,
            ..Metric::new("m", Kind::Sum, vec![point])
        };
        let decoded = decoded(&Request::of(vec![metric]));
        assert_eq!(points(&decoded)[0].1.start, expected, "{start}");
    }
}

#[test]
fn flags_times_and_nan_are_looked_at() {
    let at = |nanos, flags, value| DataPoint {
        flags,
        ..DataPoint::new(nanos, value)
    };
    let metric = Metric::new(
        "m",
        Kind::Gauge,
        vec![
            at(NANOS, 1, Body::Nothing),
            at(NANOS, 3, Body::Int(1)),
            at(NANOS, 2, Body::Int(1)),
            at(0, 0, Body::Int(1)),
            at(MILLIS as u64, 0, Body::Int(1)),
            at(u64::MAX, 0, Body::Int(1)),
            at(NANOS, 0, Body::Double(f64::NAN)),
            at(NANOS + 999_999, 0, Body::Double(f64::INFINITY)),
        ],
    );
    let decoded = decoded(&Request::of(vec![metric]));
    let values: Vec<PointValue> = points(&decoded).iter().map(|p| p.1.value).collect();
    assert_eq!(
        values,
        [
            PointValue::Stale,
            PointValue::Stale,
            PointValue::Number(1.0),
            PointValue::Number(f64::INFINITY),
        ]
    );
    assert!(points(&decoded).iter().all(|p| p.1.ts == Timestamp(MILLIS)));
    let expected = [
        (3, "bad_timestamp"),
        (4, "bad_timestamp"),
        (5, "bad_timestamp"),
        (6, "nan"),
    ];
    assert_eq!(refusals(&decoded), expected);
    assert_eq!(decoded.refused_points, 4);
}

#[test]
fn histograms_keep_their_cells() {
    let explicit = Body::Explicit {
        count: 6,
        sum: Some(9.5),
        counts: vec![1, 0, 5],
        bounds: vec![0.5, 2.0],
    };
    let exponential = Body::Exponential {
        sum: None,
        scale: -1,
        zero_count: 2,
        zero_threshold: 0.25,
        positive: (0, vec![3, 0, 4]),
        negative: (-1, vec![5]),
    };
    let histogram = |kind, temporality, body| {
        let mut point = data_point(body);
        point.start = NANOS - MINUTE_NANOS;
        Metric {
            temporality,
            unit: "s".into(),
            ..Metric::new("h", kind, vec![point])
        }
    };
    let decoded = decoded(&Request::of(vec![
        histogram(Kind::Histogram, 2, explicit.clone()),
        histogram(Kind::Histogram, 1, explicit.clone()),
        histogram(Kind::Exponential, 2, exponential.clone()),
        histogram(Kind::Exponential, 1, exponential),
        histogram(Kind::Histogram, 0, explicit),
    ]));
    let start = Some(Timestamp(MILLIS - 60_000));
    let kinds_and_starts: Vec<_> = points(&decoded).iter().map(|p| (p.0, p.1.start)).collect();
    let kind = SeriesKind::Histogram;
    assert_eq!(kinds_and_starts, [(kind, start); 4]);
    let cell = |(low, high, count)| HistogramCell { low, high, count };
    for (number, is_increment) in [(0, false), (1, true)] {
        let cells = [(f64::NEG_INFINITY, 0.5, 1.0), (2.0, f64::INFINITY, 5.0)];
        let expected = Histogram {
            is_increment,
            cells: cells.map(cell).to_vec(),
            sum: Some(9.5),
        };
        assert_eq!(decoded.batch.histogram(number), Some(&expected));
        let cells = [
            (-1.0, -0.25, 5.0),
            (-0.25, 0.25, 2.0),
            (1.0, 4.0, 3.0),
            (16.0, 64.0, 4.0),
        ];
        let expected = Histogram {
            is_increment,
            cells: cells.map(cell).to_vec(),
            sum: None,
        };
        assert_eq!(decoded.batch.histogram(number + 2), Some(&expected));
    }
    assert_eq!(labels(&decoded)[0], "h_seconds{}");
    assert_eq!(refusals(&decoded), [(4, "bad_temporality")]);
}

#[test]
fn summaries_are_refused_once_with_all_their_points() {
    let summary = Metric::new("s", Kind::Summary, vec![data_point(Body::Nothing); 3]);
    let request = Request::of(vec![
        gauge("a", Attributes::new()),
        summary,
        gauge("b", Attributes::new()),
    ]);
    let decoded = decoded(&request);
    assert_eq!(refusals(&decoded), [(1, "summary")]);
    assert_eq!(decoded.refused_points, 3);
    let indices: Vec<usize> = decoded.origins.iter().map(|origin| origin.index).collect();
    assert_eq!(indices, [0, 4]);
    let message = &decoded.refusals[0].message;
    assert!(
        message.starts_with("metric \"s\": a summary's"),
        "{message}"
    );
    // One without points has nothing to lose.
    let empty = Request::of(vec![Metric::new("s", Kind::Summary, Vec::new())]);
    assert_eq!(self::decoded(&empty), DecodedSeries::default());
}

#[test]
fn metrics_need_a_name_that_fits() {
    use super::super::METRIC_BYTES_MAX;
    let request = Request::of(vec![
        gauge("", Attributes::new()),
        gauge("..", Attributes::new()),
        gauge(&"n".repeat(METRIC_BYTES_MAX), Attributes::new()),
        gauge(&"n".repeat(METRIC_BYTES_MAX + 1), Attributes::new()),
    ]);
    let decoded = decoded(&request);
    let expected = [0, 1, 3].map(|index| (index, "bad_metric_name"));
    assert_eq!(refusals(&decoded), expected);
    assert_eq!(decoded.batch.len(), 1);
}

#[test]
fn points_and_memory_are_counted_whatever_becomes_of_them() {
    let limits = Limits {
        samples_per_request_max: 4,
        ..Limits::default()
    };
    for kind in [Kind::Gauge, Kind::Summary] {
        for (count, is_over) in [(4, false), (5, true)] {
            let points = vec![data_point(Body::Int(1)); count];
            let request = Request::of(vec![Metric::new("m", kind, points)]);
            for way in WAYS {
                let found = decode(&encoded(&request, way), way.0, &limits);
                let expected = is_over.then_some(UnreadableCode::TooManySamples);
                assert_eq!(found.err().map(|error| error.code), expected);
            }
        }
    }
    let request = Request::of(vec![gauge("m", Attributes::new())]);
    for way in WAYS {
        let body = encoded(&request, way);
        let found = decode_within(&body, way.0, &mut Heads::new(0), &limits, &mut |bytes| {
            bytes < 16
        });
        assert_eq!(
            found.err().map(|error| error.code),
            Some(UnreadableCode::NoRoom)
        );
    }
}

#[test]
fn requests_without_anything_are_taken() {
    let limits = Limits::default();
    for (body, form) in [
        (&b""[..], Form::Protobuf),
        (b"{}", Form::Json),
        (br#"{"resourceMetrics":null}"#, Form::Json),
        (
            br#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m"}]}]}]}"#,
            Form::Json,
        ),
    ] {
        assert_eq!(decode(body, form, &limits), Ok(DecodedSeries::default()));
    }
}

#[test]
fn forms_are_told_by_their_content_type() {
    for (content_type, expected) in [
        ("application/x-protobuf", Ok(Form::Protobuf)),
        ("Application/JSON; charset=utf-8", Ok(Form::Json)),
        ("text/plain", Err(UnreadableCode::UnsupportedMediaType)),
        ("", Err(UnreadableCode::UnsupportedMediaType)),
    ] {
        let found = Form::of_content_type(Some(content_type));
        assert_eq!(
            found.map_err(|error| error.code),
            expected,
            "{content_type}"
        );
    }
    assert!(Form::of_content_type(None).is_err());
}
