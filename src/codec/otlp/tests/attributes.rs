//! Attributes of resources, scopes and data points as labels.
//!
//! Owns the tests of their names, values and limits; see `labels` and `values`.

use super::*;

#[test]
fn attributes_become_labels() {
    let resource = [
        ("service.name", "checkout"),
        ("service.namespace", "shop"),
        ("service.instance.id", "pod-1"),
        ("service.version", "v2"),
        ("k8s.pod.name", "checkout-1"),
        ("telemetry.sdk.language", "rust"),
        ("process.command_line", "/bin/checkout --all"),
        ("zone", "a"),
        ("empty", ""),
        ("job", "overwritten"),
    ];
    let metric = gauge(
        "m",
        texts(&[("zone", "b"), ("http.route", "/x"), ("__name__", "n")]),
    );
    let request = Request(vec![Resource {
        attributes: texts(&resource),
        scopes: vec![Scope {
            name: "lib".into(),
            version: "1.0".into(),
            attributes: texts(&[("x.y", "z"), ("name", "not this")]),
            metrics: vec![metric, gauge("a", Attributes::new())],
        }],
    }]);
    let shared = "otel_scope_name=\"lib\",otel_scope_version=\"1.0\",otel_scope_x_y=\"z\",\
                  service_version=\"v2\"";
    let first = "http_route=\"/x\",instance=\"pod-1\",job=\"shop/checkout\",\
                 k8s_pod_name=\"checkout-1\"";
    let second = "instance=\"pod-1\",job=\"shop/checkout\",k8s_pod_name=\"checkout-1\"";
    assert_eq!(
        labels(&decoded(&request)),
        [
            format!("m{{{first},{shared},zone=\"b\"}}"),
            format!("a{{{second},{shared},zone=\"a\"}}"),
        ]
    );
}

#[test]
fn a_job_needs_a_service() {
    for (pairs, expected) in [
        (&[("service.name", "s")][..], "m{job=\"s\"}"),
        (&[("service.namespace", "n")], "m{service_namespace=\"n\"}"),
        (&[("service.instance.id", "i")], "m{instance=\"i\"}"),
        (&[("service.name", ""), ("job", "j")], "m{job=\"j\"}"),
        (&[], "m{}"),
    ] {
        let mut request = Request::of(vec![gauge("m", Attributes::new())]);
        request.0[0].attributes = texts(pairs);
        assert_eq!(labels(&decoded(&request)), [expected]);
    }
}

#[test]
fn keys_with_one_name_are_joined_in_their_own_order() {
    let pairs = [("a_b", "3"), ("a.b", "2"), ("a-b", "1"), ("a", "0")];
    let request = Request::of(vec![gauge("m", texts(&pairs))]);
    assert_eq!(labels(&decoded(&request)), ["m{a=\"0\",a_b=\"1;2;3\"}"]);
    let twice = Request::of(vec![
        gauge("m", texts(&[("a", "1"), ("b", "1"), ("a", "2")])),
        gauge("n", Attributes::new()),
    ]);
    let decoded = decoded(&twice);
    assert_eq!(refusals(&decoded), [(0, "duplicate_label")]);
    assert_eq!(labels(&decoded), ["n{}"]);
}

#[test]
fn values_of_every_type_are_written_as_text() {
    let map = Any::Map(vec![
        ("k\"".into(), Any::Int(1)),
        ("n".into(), Any::Nothing),
    ]);
    let inner = vec![
        text("a\n\\\u{1}"),
        Any::Truth(false),
        Any::Double(0.5),
        Any::Double(f64::NAN),
        Any::List(Vec::new()),
        Any::Map(Vec::new()),
        map,
        Any::Nothing,
        Any::Bytes(vec![0xff, 0xfe], "//4="),
    ];
    for (value, expected) in [
        (text("a \"b\"\n"), "a \"b\"\n"),
        (Any::Truth(true), "true"),
        (Any::Int(i64::MIN), "-9223372036854775808"),
        (Any::Double(1.0), "1"),
        (Any::Double(1e300), "1e300"),
        (Any::Double(-2.5e-7), "-2.5e-7"),
        (Any::Double(f64::NEG_INFINITY), "-Infinity"),
        (Any::Bytes(b"abcd".to_vec(), "YWJjZA=="), "YWJjZA=="),
        (Any::Bytes(b"abc".to_vec(), "YWJj"), "YWJj"),
        (Any::List(vec![Any::Int(1), Any::Int(2)]), "[1,2]"),
        (
            Any::List(inner),
            r#"["a\n\\\u0001",false,0.5,"NaN",[],{},{"k\"":1,"n":null},null,"//4="]"#,
        ),
    ] {
        let request = Request::of(vec![gauge("m", vec![("v".into(), value)])]);
        assert_eq!(labels(&decoded(&request)), [format!("m{{v={expected:?}}}")]);
    }
    let nothing = Request::of(vec![gauge("m", vec![("v".into(), Any::Nothing)])]);
    assert_eq!(labels(&decoded(&nothing)), ["m{}"]);
}

#[test]
fn attributes_have_limits() {
    let nested = |depth| (0..depth).fold(Any::Int(1), |inner, _| Any::List(vec![inner]));
    let most = super::super::labels::VALUE_DEPTH_MAX;
    let limits = Limits::default();
    let many = |count| {
        (0..count)
            .map(|i| (format!("k{i:03}"), text("v")))
            .collect()
    };
    let long = |bytes| vec![("k".to_owned(), text(&"v".repeat(bytes - 1)))];
    let list = Any::List(vec![text("v"); limits.label_bytes_max]);
    let request = Request::of(vec![
        gauge("deep", vec![("v".into(), nested(most))]),
        gauge("deeper", vec![("v".into(), nested(most + 1))]),
        gauge("many", many(limits.label_count_max)),
        gauge("more", many(limits.label_count_max + 1)),
        gauge("long", long(limits.label_bytes_max)),
        gauge("longer", long(limits.label_bytes_max + 1)),
        gauge("list", vec![("k".into(), list)]),
        gauge("nameless", vec![(String::new(), text("v"))]),
        gauge("good", Attributes::new()),
    ]);
    let decoded = decoded(&request);
    let names: Vec<&str> = decoded
        .batch
        .iter()
        .map(|series| series.key.name())
        .collect();
    assert_eq!(names, ["deep", "many", "long", "good"]);
    let expected = [
        (1, "attribute_too_deep"),
        (3, "too_many_labels"),
        (5, "labels_too_long"),
        (6, "labels_too_long"),
        (7, "bad_label_name"),
    ];
    assert_eq!(refusals(&decoded), expected);
    // What a resource and a data point have together counts too.
    let mut request = Request::of(vec![gauge("m", many(20)), gauge("n", Attributes::new())]);
    request.0[0].attributes = (0..20).map(|i| (format!("r{i}"), text("v"))).collect();
    let together = self::decoded(&request);
    assert_eq!(refusals(&together), [(0, "too_many_labels")]);
    assert_eq!(together.batch.len(), 1);
}

#[test]
fn what_spoils_a_resource_spoils_its_metrics_and_no_others() {
    let point = data_point(Body::Int(1));
    let metrics = |name: &str| vec![Metric::new(name, Kind::Gauge, vec![point.clone(); 2])];
    let resource = |pairs: &[(&str, &str)], metrics| Resource {
        attributes: texts(pairs),
        scopes: vec![Scope {
            metrics,
            ..Scope::default()
        }],
    };
    let request = Request(vec![
        resource(&[("", "v")], metrics("a")),
        resource(&[("zone", "z")], metrics("b")),
        resource(&[], metrics("c")),
    ]);
    let decoded = decoded(&request);
    assert_eq!(refusals(&decoded), [(0, "bad_label_name")]);
    assert_eq!(decoded.refused_points, 2);
    let expected = ["b{zone=\"z\"}", "b{zone=\"z\"}", "c{}", "c{}"];
    assert_eq!(labels(&decoded), expected);
    let message = &decoded.refusals[0].message;
    assert!(message.starts_with("metric \"a\": its resource has an attribute without"));
}
