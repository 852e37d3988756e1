//! What cannot be read is refused by itself, as far as it can be told apart.
//!
//! Owns bodies that no exporter writes.

use super::encode::varint;
use super::*;

fn field(number: u64, value: &[u8]) -> Vec<u8> {
    let head = [varint(number << 3 | 2), varint(value.len() as u64)];
    [head.concat(), value.to_vec()].concat()
}

/// A number data point at a good time, with these fields before it.
fn number(fields: &[u8]) -> Vec<u8> {
    let time = [&[0x19][..], &NANOS.to_le_bytes()].concat();
    let value = [&[0x31][..], &1_u64.to_le_bytes()].concat();
    [fields, &time, &value].concat()
}

fn gauge_of(name: &str, points: &[Vec<u8>]) -> Vec<u8> {
    let points: Vec<Vec<u8>> = points.iter().map(|point| field(1, point)).collect();
    [field(1, name.as_bytes()), field(5, &points.concat())].concat()
}

/// A request whose only scope holds these bytes.
fn request(scope: &[u8]) -> Vec<u8> {
    field(1, &field(2, scope))
}

fn read(body: &[u8]) -> DecodedSeries {
    decode(body, Form::Protobuf, &Limits::default()).expect("readable")
}

fn values_and_refusals(decoded: &DecodedSeries) -> (usize, Vec<(usize, &'static str)>) {
    (decoded.batch.point_count(), refusals(decoded))
}

#[test]
fn a_malformed_point_is_refused_among_good_ones() {
    const BAD: &str = "malformed_protobuf";
    for bad in [
        // A field that is longer than the point, groups, a field number of 0.
        &b"\x3a\x7f"[..],
        b"\x0b",
        b"\x00\x00",
        // Attributes that are a number; a key that is no text; a cut attribute.
        b"\x38\x01",
        &field(7, &field(1, b"\xff")),
        &field(7, b"\x0a\x05a"),
        // A time as a varint, a value as a double's eight bytes in a text.
        b"\x18\x01",
        &field(4, &[0; 8]),
    ] {
        let points = [number(b""), number(bad), number(b"")];
        let decoded = read(&request(&field(2, &gauge_of("m", &points))));
        assert_eq!(
            values_and_refusals(&decoded),
            (2, vec![(1, BAD)]),
            "{bad:?}"
        );
        assert_eq!(decoded.refused_points, 1);
        assert!(
            decoded.refusals[0]
                .message
                .starts_with("metric \"m\": a malformed data point: ")
        );
    }
}

#[test]
fn malformed_parts_are_refused_with_what_they_hold() {
    let good = field(2, &gauge_of("m", &[number(b"")]));
    for bad in [
        field(2, &field(1, b"\xff")),
        field(2, b"\x0a\x7f"),
        // Its data is a number.
        field(2, b"\x28\x01"),
        // The temporality is a text.
        field(
            2,
            &field(7, &[&field(1, &number(b""))[..], &field(2, b"2")].concat()),
        ),
    ] {
        let decoded = read(&request(&[&good[..], &bad, &good].concat()));
        let expected = (2, vec![(1, "malformed_protobuf")]);
        assert_eq!(values_and_refusals(&decoded), expected, "{bad:?}");
    }
    // Points that stood before a list breaks off live.
    let points = [field(1, &number(b"")), b"\x0a\x7f".to_vec()].concat();
    let metric = [field(1, b"m"), field(5, &points)].concat();
    let expected = (1, vec![(1, "malformed_protobuf")]);
    let decoded = read(&request(&field(2, &metric)));
    assert_eq!(values_and_refusals(&decoded), expected);
    // Where a resource or a scope may be missing, nobody knows whose the metrics are.
    for (cut, refused) in [
        (request(&[&good[..], b"\x12\x7f"].concat()), 2),
        (field(1, &[&field(2, &good)[..], b"\x12\x7f"].concat()), 2),
        (field(1, &[&b"\x08\x01"[..], &field(2, &good)].concat()), 1),
    ] {
        let decoded = read(&cut);
        assert_eq!(decoded.batch.point_count(), 0);
        assert_eq!(
            (decoded.refusals.len() as u64, decoded.refused_points),
            (refused, refused)
        );
    }
    // Nor does a broken scope or resource spoil others.
    let broken = field(1, b"\x0a\x7f");
    let scopes = [field(2, &[&broken[..], &good].concat()), field(2, &good)];
    let decoded = read(&field(1, &scopes.concat()));
    let expected = (1, vec![(0, "malformed_protobuf")]);
    assert_eq!(values_and_refusals(&decoded), expected);
}

#[test]
fn a_body_that_is_cut_off_is_refused_as_a_whole() {
    let good = request(&field(2, &gauge_of("m", &[number(b"")])));
    let limits = Limits::default();
    for end in 1..good.len() {
        let found = decode(&good[..end], Form::Protobuf, &limits);
        let code = found.map_err(|error| error.code);
        assert_eq!(code, Err(UnreadableCode::MalformedProtobuf), "{end}");
    }
    let json = Request::of(vec![gauge("m", Attributes::new())]).json(Order::Forwards);
    for end in 0..json.len() {
        let found = decode(&json[..end], Form::Json, &limits);
        let code = found.map_err(|error| error.code);
        assert_eq!(code, Err(UnreadableCode::MalformedJson), "{end}");
    }
    for body in ["[]", "1", "\"x\"", "{} {}", "{\"resourceMetrics\":[1e999]}"] {
        assert!(
            decode(body.as_bytes(), Form::Json, &limits).is_err(),
            "{body}"
        );
    }
}

#[test]
fn numbers_come_packed_alone_and_in_pieces() {
    let eights = |field: u8, bits: u64| [&[field << 3 | 1][..], &bits.to_le_bytes()].concat();
    let [a, b] = [1_u64, 2].map(|count| count.to_le_bytes());
    let point = [
        eights(3, NANOS),
        // Three counts: one alone, two packed; two bounds: each alone.
        eights(6, 4),
        field(6, &[a, b].concat()),
        eights(7, 1_f64.to_bits()),
        eights(7, 3_f64.to_bits()),
    ];
    let data = [&field(1, &point.concat())[..], b"\x10\x02"].concat();
    let metric = [field(1, b"h"), field(9, &data)].concat();
    let decoded = read(&request(&field(2, &metric)));
    let cells = &decoded.batch.histogram(0).expect("there").cells;
    let found: Vec<_> = cells.iter().map(|cell| (cell.low, cell.count)).collect();
    assert_eq!(found, [(f64::NEG_INFINITY, 4.0), (1.0, 1.0), (3.0, 2.0)]);
    // A metric whose data is written in two pieces is their sum.
    let points = field(1, &number(b""));
    let metric = [
        field(1, b"s"),
        field(7, &points),
        field(7, b"\x10\x02"),
        field(7, &points),
    ];
    let decoded = read(&request(&field(2, &metric.concat())));
    assert_eq!(values_and_refusals(&decoded), (2, vec![]));
}

/// A JSON request whose only metric has these points.
fn json_points(points: &str) -> String {
    format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"m","unit":"","gauge":{{"dataPoints":[{points}]}}}}]}}]}}]}}"#
    )
}

fn read_json(body: &str) -> DecodedSeries {
    decode(body.as_bytes(), Form::Json, &Limits::default()).expect("readable")
}

#[test]
fn a_json_point_of_wrong_types_is_refused_among_good_ones() {
    let good = format!(r#"{{"timeUnixNano":{NANOS},"asInt":1}}"#);
    for bad in [
        "1",
        "[]",
        "\"x\"",
        r#"{"timeUnixNano":"soon","asInt":1}"#,
        r#"{"timeUnixNano":-1,"asInt":1}"#,
        r#"{"timeUnixNano":[1],"asInt":1}"#,
        r#"{"asInt":"1.5"}"#,
        r#"{"asDouble":"inf"}"#,
        r#"{"asDouble":{"a":[1]}}"#,
        r#"{"bucketCounts":1}"#,
        r#"{"bucketCounts":["x"]}"#,
        r#"{"positive":[]}"#,
        r#"{"positive":{"offset":"x"}}"#,
        r#"{"attributes":{"k":"v"}}"#,
        r#"{"attributes":[1]}"#,
        r#"{"attributes":[{"key":1,"value":{"stringValue":"v"}}]}"#,
        r#"{"attributes":[{"key":"k","value":"v"}]}"#,
        r#"{"attributes":[{"key":"k","value":{"stringValue":1}}]}"#,
        r#"{"attributes":[{"key":"k","value":{"intValue":"x"}}]}"#,
        r#"{"attributes":[{"key":"k","value":{"arrayValue":[]}}]}"#,
    ] {
        let decoded = read_json(&json_points(&format!("{good},{bad},{good}")));
        let expected = (2, vec![(1, "wrong_type")]);
        assert_eq!(values_and_refusals(&decoded), expected, "{bad}");
    }
}

#[test]
fn json_parts_of_wrong_types_are_refused_alone() {
    let good = format!(
        r#"{{"name":"m","gauge":{{"dataPoints":[{{"timeUnixNano":{NANOS},"asInt":1}}]}}}}"#
    );
    for bad in [
        "1",
        r#"{"name":"m","unit":"","gauge":1}"#,
        r#"{"name":"m","unit":"","gauge":{"dataPoints":{}}}"#,
        r#"{"name":1}"#,
        r#"{"gauge":{},"sum":{}}"#,
        r#"{"sum":{"isMonotonic":1}}"#,
    ] {
        let body = format!(
            r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{good},{bad},{good}]}}]}}]}}"#
        );
        let decoded = read_json(&body);
        let expected = (2, vec![(1, "wrong_type")]);
        assert_eq!(values_and_refusals(&decoded), expected, "{bad}");
    }
    for body in [
        r#"{"resourceMetrics":1}"#,
        r#"{"resourceMetrics":[1]}"#,
        r#"{"resourceMetrics":[{"scopeMetrics":{}}]}"#,
        r#"{"resourceMetrics":[{"scopeMetrics":[[]]}]}"#,
        r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":true}]}]}"#,
    ] {
        assert_eq!(refusals(&read_json(body)), [(0, "wrong_type")], "{body}");
    }
}

#[test]
fn json_leaves_room_for_what_is_not_known_and_for_null() {
    let point = format!(
        r#"{{"timeUnixNano":{NANOS}.0,"startTimeUnixNano":null,"asDouble":2,"exemplars":[{{"traceId":"00"}}],"flags":null,
            "attributes":[{{"value":{{"stringValue":"v"}},"new":{{}},"key":"kü"}},{{"key":"n","value":null}},{{"key":"o"}}]}}"#
    );
    let decoded = read_json(&json_points(&point));
    assert_eq!(labels(&decoded), ["m{k_=\"v\"}"]);
    assert_eq!(refusals(&decoded), []);
    let sum = format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"m","sum":{{"dataPoints":[{{"timeUnixNano":"{NANOS}","asInt":"1"}}],
            "aggregationTemporality":"AGGREGATION_TEMPORALITY_DELTA","isMonotonic":true}}}}]}}]}}]}}"#
    );
    let value = points(&read_json(&sum))[0].1.value;
    assert_eq!(value, PointValue::Increment(1.0));
}

#[test]
fn what_stands_around_points_and_cannot_be_read_is_not_taken_for_what_can() {
    let metrics = field(2, &gauge_of("m", &[number(b"")]));
    let empty = field(1, b"");
    // The same fields as numbers, and as messages that are cut off.
    let unreadable = [&b"\x08\x00"[..], b"\x0a\x05"];
    let requests = |around: &dyn Fn(&[u8]) -> Vec<u8>| {
        let good = around(&empty);
        unreadable.map(|bad| (good.clone(), around(bad)))
    };
    let of_resource = requests(&|part| field(1, &[&field(2, &metrics), part].concat()));
    let of_scope = requests(&|part| request(&[&metrics, part].concat()));
    for (good, bad) in of_resource.into_iter().chain(of_scope) {
        let mut heads = Heads::new(0);
        let mut read_on = |body: &[u8]| {
            let limits = Limits::default();
            decode_within(body, Form::Protobuf, &mut heads, &limits, &mut |_| true)
        };
        for _ in 0..2 {
            let found = read_on(&good).expect("readable");
            assert_eq!(found.batch.point_count(), 1, "{good:?}");
        }
        let found = read_on(&bad);
        assert_eq!(
            found,
            decode(&bad, Form::Protobuf, &Limits::default()),
            "{bad:?}"
        );
        let taken = found.map_or(0, |found| found.batch.point_count());
        assert_eq!(taken, 0, "{bad:?}");
    }
}
