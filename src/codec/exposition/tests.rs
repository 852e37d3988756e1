//! Every rule of the two text formats, on small bodies.

mod generated;

use super::*;
use crate::model::series::Series;

const NOW: Timestamp = Timestamp(1_764_000_000_000);

/// Reads a body, and again with its labels known: that must give the same.
fn decoded(
    body: &[u8],
    dialect: Dialect,
    limits: &Limits,
    room: &mut dyn FnMut(u64) -> bool,
) -> Result<DecodedSeries, Unreadable> {
    let mut heads = Heads::new(7);
    let found = decode(body, dialect, NOW, &mut heads, limits, room);
    heads.begin();
    let again = decode(body, dialect, NOW, &mut heads, limits, room);
    assert_eq!(found, again);
    found
}

fn read(body: &str, dialect: Dialect) -> DecodedSeries {
    let found = decoded(body.as_bytes(), dialect, &Limits::default(), &mut |_| true);
    found.expect("an exposition")
}

fn prometheus(body: &str) -> DecodedSeries {
    read(body, Dialect::Prometheus)
}

fn open_metrics(body: &str) -> DecodedSeries {
    read(&format!("{body}# EOF\n"), Dialect::OpenMetrics)
}

/// `name{label="value"} kind value@ts from start`, a line a point.
fn shown(decoded: &DecodedSeries) -> Vec<String> {
    let show = |series: Series<'_>| {
        let labels = series.key.labels();
        let labels: Vec<String> = labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let name = series.key.name().to_owned();
        let kind = series.kind;
        let points = series.points.iter().map(move |point| {
            let PointValue::Number(value) = point.value else {
                panic!("text has numbers only");
            };
            let mut line = format!("{name}{{{}}} {kind:?} {value}", labels.join(","));
            if point.ts != NOW {
                line.push_str(&format!(" @{}", point.ts.millis()));
            }
            if let Some(start) = point.start {
                line.push_str(&format!(" from {}", start.millis()));
            }
            line
        });
        points.collect::<Vec<_>>()
    };
    assert_eq!(decoded.origins.len(), decoded.batch.len());
    decoded.batch.iter().flat_map(show).collect()
}

/// `line code`, a line a refusal.
fn refused(decoded: &DecodedSeries) -> Vec<String> {
    let show = |r: &crate::codec::ItemRefusal| format!("{} {}", r.line.unwrap_or(0), r.code);
    decoded.refusals.iter().map(show).collect()
}

fn only_refusal(line: &str) -> (String, String) {
    let decoded = prometheus(&format!("good 1\n{line}\nbetter 2\n"));
    assert_eq!(
        shown(&decoded),
        ["good{} Unknown 1", "better{} Unknown 2"],
        "{line}"
    );
    assert_eq!(
        (decoded.refusals.len(), decoded.refused_points),
        (1, 1),
        "{line}"
    );
    let refusal = decoded.refusals[0].clone();
    assert_eq!((refusal.line, refusal.index), (Some(2), 1), "{line}");
    (refusal.code.to_owned(), refusal.message)
}

#[test]
fn types_decide_what_a_series_is() {
    let decoded = prometheus(
        "# HELP http_requests_total Requests, \\n by code.\n\
         # TYPE http_requests_total counter\n\
         http_requests_total{code=\"200\"} 1027 1395066363000\n\
         \n\
         # TYPE temperature gauge\n\
         temperature -1.5e1\n\
         # a comment\n\
         #\n\
         # TYPE d histogram\n\
         d_bucket{le=\"0.5\"} 3\n\
         d_bucket{le=\"+Inf\"} 4\n\
         d_sum 1.25\n\
         d_count 4\n\
         d_max 9\n\
         # TYPE rpc summary\n\
         rpc{quantile=\"0.9\"} 3\n\
         rpc_sum 17\n\
         rpc_count 2\n\
         # TYPE raw untyped\n\
         raw 1\n\
         plain 2\n",
    );
    let expected = [
        "http_requests_total{code=200} Counter 1027 @1395066363000",
        "temperature{} Gauge -15",
        "d_bucket{le=0.5} Histogram 3",
        "d_bucket{le=+Inf} Histogram 4",
        "d_sum{} Counter 1.25",
        "d_count{} Counter 4",
        "d_max{} Unknown 9",
        "rpc_sum{} Counter 17",
        "rpc_count{} Counter 2",
        "raw{} Unknown 1",
        "plain{} Unknown 2",
    ];
    assert_eq!(shown(&decoded), expected);
    assert_eq!(refused(&decoded), ["16 summary_quantile"]);
    assert_eq!(decoded.origins[0].line, Some(3));
}

#[test]
fn openmetrics_has_its_own_types_and_seconds() {
    let decoded = open_metrics(
        "# TYPE foo counter\n# UNIT foo seconds\n\
         foo_total{a=\"1\"} 17.0 1520879607.789 # {trace_id=\"x\"} 0.5 1520879607.1\n\
         foo_total{a=\"2\"} 3 # {} 1\n\
         # TYPE queue gaugehistogram\n\
         queue_bucket{le=\"1.0\"} 2\nqueue_gcount 2\nqueue_gsum 1\n\
         # TYPE state stateset\nstate{state=\"on\"} 1\n\
         # TYPE build info\nbuild_info{version=\"1\"} 1\n\
         # TYPE u unknown\nu 5 1.52e9\n",
    );
    let expected = [
        "foo_total{a=1} Counter 17 @1520879607789",
        "foo_total{a=2} Counter 3",
        "state{state=on} Gauge 1",
        "build_info{version=1} Gauge 1",
        "u{} Unknown 5 @1520000000000",
    ];
    assert_eq!(shown(&decoded), expected);
    let expected = [
        "6 gauge_histogram",
        "7 gauge_histogram",
        "8 gauge_histogram",
    ];
    assert_eq!(refused(&decoded), expected);
    assert_eq!(decoded.refused_points, 3);
}

#[test]
fn created_is_the_start_of_its_neighbours_with_the_same_labels() {
    let decoded = open_metrics(
        "# TYPE a counter\n\
         a_total{x=\"1\",b=\"2\"} 1\n\
         a_created{b=\"2\",x=\"1\"} 1520000000.5\n\
         a_total{x=\"2\"} 2\n\
         # TYPE h histogram\n\
         h_created{x=\"1\"} 1520000001\n\
         h_bucket{x=\"1\",le=\"1.0\"} 1\n\
         h_bucket{le=\"+Inf\",x=\"1\"} 1\n\
         h_count{x=\"1\"} 1\n\
         h_count{x=\"2\"} 1\n\
         h_count{x=\"1\"} 1\n\
         # TYPE s summary\n\
         s_count 4\n\
         s_sum 5\n\
         s_created 1520000002\n\
         # TYPE g gauge\n\
         g_created 1520000003\n\
         # TYPE bad counter\n\
         bad_created NaN\n\
         bad_total 1\n",
    );
    let expected = [
        "a_total{b=2,x=1} Counter 1 from 1520000000500",
        "a_total{x=2} Counter 2",
        "h_bucket{le=1.0,x=1} Histogram 1 from 1520000001000",
        "h_bucket{le=+Inf,x=1} Histogram 1 from 1520000001000",
        "h_count{x=1} Counter 1 from 1520000001000",
        "h_count{x=2} Counter 1",
        "h_count{x=1} Counter 1",
        "s_count{} Counter 4 from 1520000002000",
        "s_sum{} Counter 5 from 1520000002000",
        "g_created{} Unknown 1520000003",
        "bad_total{} Counter 1",
    ];
    assert_eq!(shown(&decoded), expected);
    assert_eq!(
        (refused(&decoded), decoded.refused_points),
        (vec!["19 bad_created".into()], 0)
    );
}

#[test]
fn a_start_does_not_reach_into_another_family() {
    let decoded = open_metrics(
        "# TYPE a counter\na_total 1\n# TYPE b counter\nb_created 1520000000\n\
         # TYPE c counter\nc_total 2\n",
    );
    assert_eq!(
        shown(&decoded),
        ["a_total{} Counter 1", "c_total{} Counter 2"]
    );
}

#[test]
fn many_starts_behind_many_series_take_no_longer_than_both() {
    let body = format!(
        "# TYPE a counter\n{}{}a_total 2\n",
        "a_total 1\n".repeat(50_000),
        "a_created 1520000000\n".repeat(50_000)
    );
    let decoded = open_metrics(&body);
    let starts = decoded.batch.iter().flat_map(|series| series.points);
    assert_eq!(starts.filter(|point| point.start.is_some()).count(), 50_001);
}

#[test]
fn labels_are_read_in_every_way_they_may_be_written() {
    for (line, expected) in [
        ("m{} 1", "m{}"),
        ("m{a=\"1\",} 1", "m{a=1}"),
        ("  m\t{ a = \"1\" , b=\"2\" }\t1 \r", "m{a=1,b=2}"),
        ("m {a=\"1\"} 1", "m{a=1}"),
        ("m{b=\"2\",a=\"1\",B=\"3\"} 1", "m{B=3,a=1,b=2}"),
        ("m{a=\"\",b=\"2\"} 1", "m{b=2}"),
        (r#"m{a="x\\y\"z\nw\d"} 1"#, "m{a=x\\y\"z\nw\\d}"),
        (r#"m{a="\\"} 1"#, "m{a=\\}"),
        ("m{a=\"}, b=\"} 1", "m{a=}, b=}"),
        ("m{a=\"\u{e9}\u{4e2d} # {\"} 1", "m{a=\u{e9}\u{4e2d} # {}"),
        ("{\"my.name\",a=\"1\"} 1", "my.name{a=1}"),
        ("{a=\"1\",\"my.name\"} 1", "my.name{a=1}"),
        ("{\"my.name\"} 1", "my.name{}"),
        ("m{\"my.label\"=\"1\"} 1", "m{my.label=1}"),
        (r#"{"my \"name\"","a\\b"="1"} 1"#, "my \"name\"{a\\b=1}"),
        (":a:b_9 1", ":a:b_9{}"),
        (
            "m{a1234567890=\"2\",a12345678=\"1\"} 1",
            "m{a12345678=1,a1234567890=2}",
        ),
    ] {
        let decoded = prometheus(&format!("{line}\n"));
        assert_eq!(shown(&decoded), [format!("{expected} Unknown 1")], "{line}");
        assert_eq!(decoded.refusals, [], "{line}");
    }
    // The last line of the older format need not end.
    assert_eq!(shown(&prometheus("m 1")), ["m{} Unknown 1"]);
}

#[test]
fn lines_that_begin_as_the_one_before_are_read_as_if_alone() {
    let lines = [
        "m{a=\"1\",b=\"2\"} 1",
        "m{a=\"1\",b=\"2\"} 2",
        "m{a=\"1\",b=\"23\"} 3",
        "m{a=\"1\",b=\"2\",c=\"3\"} 4",
        "m{a=\"1\"} 5",
        "m 6",
        "mm 7",
        "mm{a=\"1\"} 8",
        "m{b=\"1\",a=\"2\"} 9",
        "m{b=\"1\",a=\"3\"} 10",
        "m{b=\"1\",\"a\"=\"4\"} 11",
        "{\"m\" ,b=\"1\"} 12",
        "{\"m\" =\"1\",\"x\"} 13",
        "{\"m\" =\"1\",\"y\"} 14",
        "m{a=\"\\n\",b=\"\\\\\"} 15",
        "m{a=\"\\n\",b=\"\\\\x\"} 16",
        "m{a=\"\\n\",c=\"1\"} 17",
        "m{a=\"\",c=\"1\"} 18",
        "m{a=\"\",c=\"2\"} 19",
        "m{c=\"2\",__name__=\"x\"} 20",
        "m{c=\"2\",c=\"3\"} 21",
        "m{c=\"2\",d=\"3\"} 22",
        "m{c=\"2\",d=\"3\"x} 23",
        "m{c=\"2\",d=\"3\"} 24",
    ];
    let apart: Vec<Vec<String>> = lines
        .iter()
        .map(|line| shown(&prometheus(&format!("# HELP x y\n{line}\n"))))
        .collect();
    for first in 0..lines.len() {
        for second in 0..lines.len() {
            let body = format!("# HELP x y\n{}\n{}\n", lines[first], lines[second]);
            let expected = [apart[first].clone(), apart[second].clone()].concat();
            assert_eq!(shown(&prometheus(&body)), expected, "{body}");
        }
    }
    assert_eq!(apart.iter().filter(|line| line.is_empty()).count(), 3);
}

#[test]
fn values_are_decimals_nan_and_infinities() {
    let decoded = prometheus("a +Inf\nb -Inf\nc 0.1\nd NaN\ne 1e-3\nf +7\n");
    let expected = [
        "a{} Unknown inf",
        "b{} Unknown -inf",
        "c{} Unknown 0.1",
        "e{} Unknown 0.001",
        "f{} Unknown 7",
    ];
    assert_eq!(shown(&decoded), expected);
    assert_eq!(refused(&decoded), ["4 nan"]);
    for value in ["0x1p3", "1_000", "1e999", "one", "1,5"] {
        let (code, message) = only_refusal(&format!("m{{a=\"\u{e9}\"}} {value}"));
        assert_eq!(code, "bad_value");
        assert!(message.ends_with("(column 10)"), "{message}");
    }
}

#[test]
fn a_malformed_line_is_refused_by_itself_with_its_place() {
    for (line, code, column) in [
        ("1m 1", "bad_metric_name", 1),
        ("my.name 1", "bad_metric_name", 3),
        ("{a=\"1\"} 1", "bad_metric_name", 1),
        ("m{\"n\"} 1", "bad_metric_name", 3),
        ("{\"\"} 1", "bad_metric_name", 2),
        ("m{a} 1", "bad_labels", 4),
        ("m{a=1} 1", "bad_labels", 5),
        ("m{a=\"1} 1", "bad_labels", 5),
        ("m{a=\"1\\", "bad_labels", 5),
        ("m{a=\"1\" b=\"2\"} 1", "bad_labels", 9),
        ("m{a=\"1\"", "bad_labels", 8),
        ("m{,} 1", "bad_labels", 3),
        ("m{a:b=\"1\"} 1", "bad_labels", 4),
        ("m{\"\"=\"1\"} 1", "bad_labels", 3),
        ("m{b=\"1\",a=\"2\",b=\"3\"} 1", "duplicate_label", 15),
        ("m", "bad_value", 2),
        ("m{a=\"1\"}", "bad_value", 9),
        ("  m{a=\"1\"} x", "bad_value", 12),
        ("m 1 2.5", "bad_timestamp", 5),
        ("m 1 soon", "bad_timestamp", 5),
        ("m 1 1764000000000 x", "trailing_text", 19),
        ("m 1 # {a=\"b\"} 1", "bad_exemplar", 5),
    ] {
        let (found, message) = only_refusal(line);
        assert_eq!(found, code, "{line}: {message}");
        assert!(
            message.ends_with(&format!("(column {column})")),
            "{line}: {message}"
        );
    }
    assert_eq!(only_refusal("m 1 1764000000").0, "bad_timestamp");
    let not_text = decoded(
        b"good 1\nm{a=\"\xff\"} 1\nbetter 2\n",
        Dialect::Prometheus,
        &Limits::default(),
        &mut |_| true,
    );
    let decoded = not_text.expect("an exposition");
    assert_eq!(
        (decoded.batch.len(), refused(&decoded)),
        (2, vec!["2 not_utf8".into()])
    );
    let decoded = open_metrics("m 1 # 5\n");
    assert_eq!(refused(&decoded), ["1 bad_exemplar"]);
}

#[test]
fn buckets_need_an_upper_end_and_types_a_word() {
    let decoded = prometheus(
        "# TYPE h histogram\nh_bucket 1\nh_bucket{le=\"x\"} 1\nh_bucket{le=\"NaN\"} 1\n\
         # TYPE g gage\ng 1\n# TYPE\n# TYPE \"my.c\" counter\n{\"my.c\"} 2\n",
    );
    let expected = ["g{} Unknown 1", "my.c{} Counter 2"];
    assert_eq!(shown(&decoded), expected);
    let expected = [
        "2 bad_bucket",
        "3 bad_bucket",
        "4 bad_bucket",
        "5 bad_type",
        "7 bad_type",
    ];
    assert_eq!(refused(&decoded), expected);
    assert_eq!(decoded.refused_points, 3);
}

#[test]
fn openmetrics_says_its_end() {
    let whole = read("a 1\n# EOF", Dialect::OpenMetrics);
    assert_eq!((shown(&whole).len(), whole.refusals.len()), (1, 0));
    let empty = read("# EOF\n", Dialect::OpenMetrics);
    assert_eq!((empty.batch.len(), empty.refusals.len()), (0, 0));
    let more = read("a 1\n# EOF\n\nb 2\n", Dialect::OpenMetrics);
    assert_eq!(
        (shown(&more).len(), refused(&more)),
        (1, vec!["4 after_eof".into()])
    );
    let cut = read("a 1\nb 12", Dialect::OpenMetrics);
    assert_eq!(shown(&cut), ["a{} Unknown 1"]);
    assert_eq!(
        (refused(&cut), cut.refused_points),
        (vec!["2 missing_eof".into()], 1)
    );
    let endless = read("a 1\nb 12\n", Dialect::OpenMetrics);
    assert_eq!(
        (shown(&endless).len(), refused(&endless)),
        (2, vec!["2 missing_eof".into()])
    );
    assert_eq!(endless.refused_points, 0);
    // Cut off within a character, or within a comment.
    for (body, lost) in [
        (&b"a 1\nb{c=\"\xc3"[..], 1),
        (b"a 1\n# HEL", 0),
        (b"a 1\n ", 0),
    ] {
        let room = &mut |_| true;
        let cut = decoded(body, Dialect::OpenMetrics, &Limits::default(), room);
        let cut = cut.expect("an exposition");
        assert_eq!(refused(&cut), ["2 missing_eof"]);
        assert_eq!((shown(&cut).len(), cut.refused_points), (1, lost));
    }
    // The older format has no such line: it is a comment.
    assert_eq!(shown(&prometheus("a 1\n# EOF\nb 2\n")).len(), 2);
}

#[test]
fn what_is_no_exposition_is_unreadable_with_a_hint() {
    for (body, message) in [
        (&b"<html>"[..], "HTML"),
        (
            b"{\"ts\":1764000000000,\"metric\":\"m\"}",
            "line 1: a comma or } is missing",
        ),
        (b"\x0a\xff\xfe\x80", "not UTF-8"),
    ] {
        let limits = Limits::default();
        let error = decoded(body, Dialect::Prometheus, &limits, &mut |_| true);
        let error = error.expect_err("no exposition");
        assert_eq!(error.code, UnreadableCode::MalformedText);
        assert!(error.message.contains(message), "{}", error.message);
    }
}

#[test]
fn limits_hold_at_them_and_one_past() {
    let limits = Limits {
        samples_per_request_max: 2,
        label_count_max: 2,
        label_bytes_max: 8,
        ..Limits::default()
    };
    let read = |body: &str| {
        let found = decoded(body.as_bytes(), Dialect::Prometheus, &limits, &mut |_| true);
        found.map(|decoded| (decoded.batch.point_count(), refused(&decoded)))
    };
    assert_eq!(read("a 1\nb 2\n"), Ok((2, vec![])));
    for body in ["a 1\nb 2\nc 3\n", "a 1\nb x\nc y\n", "a 1\nb 2\n# TYPE\n"] {
        let error = read(body).expect_err("too many");
        assert_eq!(error.code, UnreadableCode::TooManySamples, "{body}");
    }
    assert_eq!(read("a{b=\"123\",c=\"123\"} 1\n"), Ok((1, vec![])));
    let long = vec!["1 labels_too_long".to_owned()];
    assert_eq!(read("a{b=\"123\",c=\"1234\"} 1\n"), Ok((0, long.clone())));
    assert_eq!(
        read(&format!("a{{b=\"{}\"}} 1\n", "x".repeat(9_999))),
        Ok((0, long.clone()))
    );
    assert_eq!(
        read(&format!("a{{b=\"\\n{}\"}} 1\n", "x".repeat(9_999))),
        Ok((0, long))
    );
    let many = vec!["1 too_many_labels".to_owned()];
    assert_eq!(read("a{b=\"1\",c=\"1\",d=\"1\"} 1\n"), Ok((0, many)));
    let name = "n".repeat(crate::codec::METRIC_BYTES_MAX);
    assert_eq!(read(&format!("{name} 1\n")), Ok((1, vec![])));
    let bad = vec!["2 bad_metric_name".to_owned()];
    assert_eq!(read(&format!("a 1\n{name}n 1\n")), Ok((1, bad)));
    let none = decoded(b"a 1\n", Dialect::Prometheus, &limits, &mut |_| false);
    assert_eq!(
        none.map_err(|error| error.code),
        Err(UnreadableCode::NoRoom)
    );
}

#[test]
fn content_types_name_the_dialect() {
    for (content_type, expected) in [
        (
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Some(Dialect::OpenMetrics),
        ),
        ("text/plain; version=0.0.4", Some(Dialect::Prometheus)),
        ("Text/Plain", Some(Dialect::Prometheus)),
        ("application/json", None),
    ] {
        assert_eq!(Dialect::of_content_type(content_type), expected);
    }
}
