//! One bad item among good ones, in every format and over HTTP: it is refused by itself, with its
//! place and what to do, and the others are taken and counted.

use serde_json::{Value, json};

use crate::daemon::TestDaemon;
use crate::formats::encode::{Any, Body, DataPoint, Kind, Metric, Order, Request};
use crate::formats::frames::{Frame, V2, sample, series_v1};

/// A plan that takes every kind of series.
pub const PLAN: &str = r#"version: davy/v1
plan: mixed
horizon: 1m
tick: 1s
lateness: 1s
min_duration: 1s
arms: {baseline: 'version="old"', canary: 'version="new"'}
metrics:
  depth: {kind: gauge, select: 'depth'}
  slow: {kind: ratio, above: {histogram: 'duration_seconds', bound: 0.5}}
checks:
  - {compare: depth}
  - {compare: slow}
"#;

/// What a route answered.
pub struct Told {
    pub status: u16,
    pub headers: axum::http::HeaderMap,
    pub text: String,
}

impl Told {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("text"))
    }
}

/// Starts an analysis on [`PLAN`]; the daemon's time.
pub async fn begin(daemon: &TestDaemon) -> i64 {
    let request = json!({"plan": PLAN, "arms": {}});
    let (status, body) = daemon.post("/v1/analyses", &request).await;
    assert_eq!(status, 201, "{body}");
    body["started_at"].as_i64().expect("a time")
}

pub async fn send(daemon: &TestDaemon, path: &str, content_type: &str, body: Vec<u8>) -> Told {
    send_packed(daemon, path, content_type, "identity", body).await
}

pub async fn send_packed(
    daemon: &TestDaemon,
    path: &str,
    content_type: &str,
    encoding: &str,
    body: Vec<u8>,
) -> Told {
    let request = daemon.client.post(format!("{}{path}", daemon.url));
    let request = request.header("content-type", content_type);
    let (encoding, body) = match path {
        "/api/v1/write" => {
            let packed = snap::raw::Encoder::new().compress_vec(&body);
            ("snappy", packed.expect("small"))
        }
        _ => (encoding, body),
    };
    let request = request.header("content-encoding", encoding).body(body);
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.expect("a body");
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    // The protocols have errors of their own.
    if status < 400 || !body["code"].is_null() {
        crate::openapi::assert_described("POST", path, status, &body);
    }
    Told {
        status,
        headers,
        text,
    }
}

/// Series number, line and code of each refusal.
fn refused(told: &Told) -> Vec<(u64, u64, String)> {
    let body = told.json();
    let refusals = body["refusals"].as_array().expect("a list").iter();
    let place = |refusal: &Value, key: &str| refusal[key].as_u64().unwrap_or(0);
    refusals
        .map(|refusal| {
            let code = refusal["code"].as_str().expect("a code").to_owned();
            (place(refusal, "index"), place(refusal, "line"), code)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_as_json() {
    let daemon = TestDaemon::start().await;
    let now = begin(&daemon).await;
    let good = |version: &str| {
        json!({"ts": now, "metric": "depth", "labels": {"version": version}, "value": 3})
            .to_string()
    };
    let bad = format!("{{\"ts\":{now},\"metric\":\"depth\",\"value\":NaN}}");
    let items = [good("old"), bad, good("new"), good("new")];
    let lines = (items.join("\n"), "application/x-ndjson", 2);
    let array = (format!("[{}]", items.join(",")), "application/json", 0);
    let batch = (
        format!("{{\"batch\":[{}]}}", items.join(",")),
        "application/json",
        0,
    );
    for (body, content_type, line) in [lines, array, batch] {
        let told = send(&daemon, "/v1/samples", content_type, body.into_bytes()).await;
        assert_eq!(told.status, 200, "{}", told.text);
        assert_eq!(refused(&told), [(1, line, "bare_nan".to_owned())]);
        let body = told.json();
        assert_eq!(
            (&body["accepted"], &body["refused"]),
            (&json!(3), &json!(1))
        );
        let message = body["refusals"][0]["message"].as_str().expect("text");
        assert!(message.contains("write null"), "what to do: {message}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_an_exposition() {
    let daemon = TestDaemon::start().await;
    let now = begin(&daemon).await;
    let good = |version: &str, time: &str| format!("depth{{version=\"{version}\"}} 3 {time}\n");
    let text = |time: &str, end: &str| {
        let bad = format!("depth{{version=\"old\" 3 {time}\n");
        let parts = [good("old", time), bad, good("new", time)];
        format!("# TYPE depth gauge\n{}{end}", parts.concat())
    };
    let seconds = format!("{}.{:03}", now / 1_000, now % 1_000);
    for (body, content_type) in [
        (text(&now.to_string(), ""), "text/plain; version=0.0.4"),
        (
            text(&seconds, "# EOF\n"),
            "application/openmetrics-text; version=1.0.0",
        ),
    ] {
        let told = send(&daemon, "/v1/exposition", content_type, body.into_bytes()).await;
        assert_eq!(told.status, 200, "{}", told.text);
        assert_eq!(refused(&told), [(1, 3, "bad_labels".to_owned())]);
        let body = told.json();
        let counts = ["accepted", "duplicate", "refused"].map(|key| body[key].as_u64());
        // The second body holds the same points.
        assert!(
            [[Some(2), Some(0), Some(1)], [Some(0), Some(2), Some(1)]].contains(&counts),
            "{body}"
        );
        let message = body["refusals"][0]["message"].as_str().expect("text");
        assert!(message.contains("column"), "its place: {message}");
    }
    daemon.stop().await;
}

/// Native buckets of this many observations up to 0.5 and above it.
fn native(now: i64, below: i64, above: i64) -> Frame {
    Frame::new()
        .varint(1, (below + above) as u64)
        .double(3, 1.0)
        .sint(4, 0)
        .span(11, -1, 2)
        .packed_sints(12, [below, above - below])
        .varint(15, now as u64)
}

#[tokio::test(flavor = "multi_thread")]
async fn series_of_remote_write() {
    let daemon = TestDaemon::start().await;
    let now = begin(&daemon).await;
    let nan = f64::from_bits(0x7ff8_0000_0000_0001);
    let gauge = |version: &'static str| vec![("__name__", "depth"), ("version", version)];
    let histogram =
        |version: &'static str| vec![("__name__", "duration_seconds"), ("version", version)];
    let number = |value: f64| (2, sample(now, value, 0));
    let all = [
        (gauge("old"), number(3.0)),
        (gauge("new"), number(nan)),
        (histogram("old"), (3, native(now, 90, 10))),
        (histogram("new"), (3, native(now, 90, -10))),
        (vec![("version", "new")], number(4.0)),
        (gauge("new"), number(5.0)),
    ];
    let mut second = V2::new();
    let mut first = Frame::new();
    for (labels, (field, point)) in all {
        second.series(&labels, Frame::new().message(field, point.clone()));
        let field = if field == 3 { 4 } else { field };
        first = first.message(1, series_v1(&labels, Frame::new().message(field, point)));
    }
    let v2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
    for (body, content_type, written) in [
        (first.0, "application/x-protobuf", ["", "", ""]),
        (second.finish(), v2, ["2", "1", "0"]),
    ] {
        let told = send(&daemon, "/api/v1/write", content_type, body).await;
        assert_eq!(told.status, 400, "{}", told.text);
        for place in [
            "series 1: ",
            "series 3: ",
            "series 4: ",
            "the others were taken",
        ] {
            assert!(told.text.contains(place), "{place}: {}", told.text);
        }
        let of = ["samples", "histograms", "exemplars"];
        let headers = of.map(|what| format!("x-prometheus-remote-write-{what}-written"));
        let found = headers.each_ref().map(|name| told.header(name));
        assert_eq!(found, written);
    }
    let (_, analyses) = daemon.get("/v1/analyses").await;
    let id = analyses["analyses"][0]["id"].as_str().expect("an id");
    let (_, body) = daemon.get(&format!("/v1/analyses/{id}")).await;
    assert_eq!(body["received"][0]["baseline"], 1, "{body}");
    assert_eq!(body["received"][0]["canary"], 1, "{body}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_points_of_otlp() {
    let daemon = TestDaemon::start().await;
    let now = begin(&daemon).await;
    let point = |version: &str, value: f64| DataPoint {
        attributes: vec![("version".to_owned(), Any::Text(version.to_owned()))],
        ..DataPoint::new(now as u64 * 1_000_000, Body::Double(value))
    };
    let depth = vec![point("old", 1.0), point("old", f64::NAN), point("new", 3.0)];
    let summary = vec![point("old", 1.0), point("new", 1.0)];
    let request = Request::of(vec![
        Metric::new("depth", Kind::Gauge, depth),
        Metric::new("quantiles", Kind::Summary, summary),
        Metric::new("depth", Kind::Gauge, vec![point("new", 2.0)]),
    ]);
    let json = "application/json";
    let told = send(&daemon, "/v1/metrics", json, request.json(Order::Forwards)).await;
    assert_eq!(told.status, 200, "{}", told.text);
    let partial = &told.json()["partialSuccess"];
    assert_eq!(partial["rejectedDataPoints"], "3", "{partial}");
    let message = partial["errorMessage"].as_str().expect("text");
    assert!(message.contains("data point 1: "), "{message}");
    assert!(message.contains("send a histogram"), "{message}");
    let protobuf = "application/x-protobuf";
    let body = request.protobuf(Order::Backwards);
    let told = send(&daemon, "/v1/metrics", protobuf, body).await;
    assert_eq!(told.status, 200);
    assert_eq!(told.header("content-type"), protobuf);
    assert!(told.text.contains("data point 1: "), "{:?}", told.text);
    let metrics = daemon
        .client
        .get(format!("{}/metrics", daemon.url))
        .send()
        .await;
    let metrics = metrics.expect("an answer").text().await.expect("text");
    for line in [
        "davy_samples_total{outcome=\"accepted\"} 2",
        "davy_samples_total{outcome=\"duplicate\"} 4",
        "davy_samples_total{outcome=\"refused\"} 6",
    ] {
        assert!(metrics.contains(line), "{line} of {metrics}");
    }
    daemon.stop().await;
}
