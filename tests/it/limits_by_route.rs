//! Every limit on what comes in, at it and one past it, by every route: named in the answer where
//! it bites, and counted in `davy_limit_reached_total`.

use serde_json::json;

use crate::daemon::TestDaemon;
use crate::formats::encode::{Any, Body, DataPoint, Kind, Metric, Order, Request};
use crate::formats::frames::{Frame, V2, sample, series_v1};
use crate::ingest::gzip;
use crate::limits_counted::reached;
use crate::malformed::{Told, begin, send, send_packed};

const WRITE_2: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

/// Each way in: path, content type, and how gauges of these labels are written.
type Write = fn(&[Labels], i64) -> Vec<u8>;
type Labels = Vec<(&'static str, String)>;
const ROUTES: [(&str, &str, Write); 7] = [
    ("/v1/samples", "application/x-ndjson", as_lines),
    ("/api/v1/write", "application/x-protobuf", as_write_1),
    ("/api/v1/write", WRITE_2, as_write_2),
    ("/v1/metrics", "application/x-protobuf", as_otlp),
    ("/v1/metrics", "application/json", as_otlp_json),
    ("/v1/exposition", "text/plain", as_text),
    (
        "/v1/exposition",
        "application/openmetrics-text",
        as_openmetrics,
    ),
];

fn as_lines(all: &[Labels], now: i64) -> Vec<u8> {
    let line = |labels: &Labels| {
        let labels: serde_json::Map<_, _> = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        json!({"ts": now, "metric": "depth", "labels": labels, "value": 1}).to_string() + "\n"
    };
    all.iter().map(line).collect::<String>().into_bytes()
}

fn named(labels: &Labels) -> Vec<(&str, &str)> {
    let own = labels.iter().map(|(name, value)| (*name, value.as_str()));
    std::iter::once(("__name__", "depth")).chain(own).collect()
}

fn as_write_1(all: &[Labels], now: i64) -> Vec<u8> {
    let series = |labels| series_v1(&named(labels), Frame::new().message(2, sample(now, 1.0, 0)));
    let request = all.iter().map(series);
    request
        .fold(Frame::new(), |request, series| request.message(1, series))
        .0
}

fn as_write_2(all: &[Labels], now: i64) -> Vec<u8> {
    let mut request = V2::new();
    for labels in all {
        request.series(&named(labels), Frame::new().message(2, sample(now, 1.0, 0)));
    }
    request.finish()
}

fn request(all: &[Labels], now: i64) -> Request {
    let point = |labels: &Labels| DataPoint {
        attributes: labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Any::Text(value.clone())))
            .collect(),
        ..DataPoint::new(now as u64 * 1_000_000, Body::Int(1))
    };
    Request::of(vec![Metric::new(
        "depth",
        Kind::Gauge,
        all.iter().map(point).collect(),
    )])
}

fn as_otlp(all: &[Labels], now: i64) -> Vec<u8> {
    request(all, now).protobuf(Order::Forwards)
}

fn as_otlp_json(all: &[Labels], now: i64) -> Vec<u8> {
    request(all, now).json(Order::Forwards)
}

fn as_text(all: &[Labels], now: i64) -> Vec<u8> {
    let line = |labels: &Labels| {
        let pairs = labels
            .iter()
            .map(|(name, value)| format!("{name}={value:?}"));
        format!("depth{{{}}} 1 {now}\n", pairs.collect::<Vec<_>>().join(","))
    };
    all.iter().map(line).collect::<String>().into_bytes()
}

fn as_openmetrics(all: &[Labels], now: i64) -> Vec<u8> {
    let millis = format!(" {now}\n");
    let seconds = format!(" {}.{:03}\n", now / 1_000, now % 1_000);
    let text = String::from_utf8(as_text(all, now)).expect("text");
    (text.replace(&millis, &seconds) + "# EOF\n").into_bytes()
}

fn pod(name: impl ToString) -> Labels {
    vec![("version", "old".to_owned()), ("pod", name.to_string())]
}

/// Sends what is at a limit, then what is one past it; the second answer.
async fn at_and_past(daemon: &TestDaemon, route: usize, limit: &str, bodies: [Vec<u8>; 2]) -> Told {
    let (path, content_type, _) = ROUTES[route];
    let [within, past] = bodies;
    let before = reached(daemon, limit).await;
    let told = send(daemon, path, content_type, within).await;
    assert!(
        told.status < 300,
        "{path} {content_type} at {limit}: {}",
        told.text
    );
    let is_partial = told.text.contains("partialSuccess") || told.text.contains("\"code\"");
    assert!(!is_partial, "{path} at {limit}: {}", told.text);
    assert_eq!(reached(daemon, limit).await, before, "{path} at {limit}");
    let told = send(daemon, path, content_type, past).await;
    let after = reached(daemon, limit).await;
    assert_eq!(
        after,
        before + 1,
        "{path} {content_type} past {limit}: {}",
        told.text
    );
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_are_limited_one_by_one() {
    let daemon = TestDaemon::start_with(|config| {
        config.limits.label_count_max = 3;
        config.limits.label_bytes_max = 40;
    })
    .await;
    let now = begin(&daemon).await;
    let more = |route: usize, names: &[&'static str], value: &str| {
        let mut labels = pod(format!("p{route}"));
        labels.extend(names.iter().map(|name| (*name, value.to_owned())));
        labels
    };
    for (route, (path, _, write)) in ROUTES.into_iter().enumerate() {
        let counts = [more(route, &["a"], "1"), more(route, &["a", "b"], "1")];
        let bodies = counts.map(|labels| write(&[labels], now));
        let told = at_and_past(&daemon, route, "label_count", bodies).await;
        assert!(told.text.contains(" 3 "), "{path}: {}", told.text);
        // "version", "old", "pod" and a name of two are 15 bytes, and "l" is one.
        let long = ["x".repeat(24), "x".repeat(25)];
        let bodies = long.map(|value| write(&[more(route, &["l"], &value)], now));
        let told = at_and_past(&daemon, route, "label_bytes", bodies).await;
        assert!(told.text.contains("40"), "{path}: {}", told.text);
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_in_a_request_and_series_in_all_are_limited() {
    for (route, (path, _, write)) in ROUTES.into_iter().enumerate() {
        let daemon = TestDaemon::start_with(|config| {
            config.limits.samples_per_request_max = 3;
            config.limits.series_max = 3;
        })
        .await;
        let now = begin(&daemon).await;
        let many = |count: usize| write(&(0..count).map(pod).collect::<Vec<_>>(), now);
        let told = at_and_past(&daemon, route, "samples_per_request", [many(3), many(4)]).await;
        assert_eq!(told.status, 413, "{path}: {}", told.text);
        assert!(told.text.contains("more than 3 "), "{path}: {}", told.text);
        // Gauges as samples are not followed: nothing is remembered of their series.
        if path != "/v1/samples" {
            let bodies = [write(&[pod(2)], now + 1), write(&[pod(3)], now + 1)];
            let told = at_and_past(&daemon, route, "series", bodies).await;
            let is_named = told.text.contains("limits.series_max");
            // Remote-write has no place for what the engine cannot use; the analysis has.
            assert!(is_named || path == "/api/v1/write", "{path}: {}", told.text);
        }
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_limited_on_the_wire_and_unpacked() {
    let daemon = TestDaemon::start_with(|config| {
        config.server.request_body_bytes_max = 4_096;
        config.server.decoded_body_bytes_max = 8_192;
    })
    .await;
    let now = begin(&daemon).await;
    // Blank lines are nothing.
    let padded = |text: Vec<u8>, bytes: usize| [vec![b'\n'; bytes - text.len()], text].concat();
    for (route, (path, content_type, write)) in ROUTES.into_iter().enumerate() {
        if !matches!(path, "/v1/samples" | "/v1/exposition") {
            continue;
        }
        let body = |bytes| padded(write(&[pod(route)], now), bytes);
        let bodies = [body(4_096), body(4_097)];
        let told = at_and_past(&daemon, route, "request_body_bytes", bodies).await;
        assert_eq!(told.status, 413, "{path}");
        assert!(
            told.text.contains("server.request_body_bytes_max"),
            "{}",
            told.text
        );
        for (bytes, status, times) in [(8_192, 200, 0), (8_193, 413, 1)] {
            let before = reached(&daemon, "decoded_body_bytes").await;
            let packed = gzip(&body(bytes)).await;
            let told = send_packed(&daemon, path, content_type, "gzip", packed).await;
            assert_eq!(told.status, status, "{path} {bytes}: {}", told.text);
            let is_named = told.text.contains("server.decoded_body_bytes_max");
            assert_eq!(is_named, times == 1, "{}", told.text);
            let after = reached(&daemon, "decoded_body_bytes").await;
            assert_eq!(after, before + times, "{path} {bytes}");
        }
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn protobuf_bodies_are_limited_on_the_wire_and_unpacked() {
    for (path, content_type, write) in ROUTES {
        if matches!(path, "/v1/samples" | "/v1/exposition") {
            continue;
        }
        let all: Vec<Labels> = (0..40).map(pod).collect();
        let body = write(&all, 1_764_000_000_000);
        let plain = body.len() as u64;
        let wire = match path {
            "/api/v1/write" => {
                let packed = snap::raw::Encoder::new().compress_vec(&body);
                packed.expect("small").len() as u64
            }
            _ => plain,
        };
        for (limit, bytes) in [("request_body_bytes", wire), ("decoded_body_bytes", plain)] {
            for past in [0, 1] {
                let daemon = TestDaemon::start_with(|config| {
                    let server = &mut config.server;
                    let max = match limit {
                        "request_body_bytes" => &mut server.request_body_bytes_max,
                        _ => &mut server.decoded_body_bytes_max,
                    };
                    *max = bytes - past;
                })
                .await;
                let told = send(&daemon, path, content_type, body.clone()).await;
                let (status, text) = (told.status, &told.text);
                assert_eq!(
                    status == 413,
                    past == 1,
                    "{path} at {limit}: {status} {text}"
                );
                let is_named = text.contains(&format!("server.{limit}_max"));
                assert_eq!(is_named, past == 1, "{path}: {text}");
                assert_eq!(reached(&daemon, limit).await, past);
                daemon.stop().await;
            }
        }
    }
}
