//! A real Prometheus that scrapes native histograms, as it does over protobuf only, and writes them
//! on to davy.
//!
//! The services answer with `io.prometheus.client.MetricFamily` messages, encoded here from the
//! published definition (`io/prometheus/client/metrics.proto` of client_model).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse as _;
use axum::routing::get;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::daemon::TestDaemon;
use crate::formats::frames::{Frame, varint};
use crate::prometheus::{Native, Running, final_verdict, free_port, listen};

const PLAN: &str = r#"version: davy/v1
plan: native
horizon: 2m
tick: 1s
lateness: 1s
min_duration: 3s
arms:
  baseline: 'job="shop", version="{{baseline}}"'
  canary: 'job="shop", version="{{canary}}"'
metrics:
  slow: {kind: ratio, above: {histogram: 'request_duration_seconds', bound: 0.25}}
checks:
  - {compare: slow, tolerance: 5pp}
"#;

const DELIMITED: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
/// `MetricType.HISTOGRAM`.
const HISTOGRAM: u64 = 4;

/// One family with one native histogram: `fast` observations from an eighth to a quarter of a
/// second, and `slow` from a half to a whole one.
fn family(version: &str, fast: u64, slow: u64) -> Vec<u8> {
    let histogram = Frame::new()
        .varint(1, fast + slow)
        .double(2, 0.2 * fast as f64 + 0.7 * slow as f64)
        .sint(5, 0)
        .double(6, 1e-30)
        .varint(7, 0)
        // Buckets -2, up to 0.25, and 0, up to 1: schema 0 has one for each power of two.
        .span(12, -2, 1)
        .span(12, 1, 1)
        .packed_sints(13, [fast as i64, slow as i64 - fast as i64]);
    let label = Frame::new().bytes(1, "version").bytes(2, version);
    let metric = Frame::new().message(1, label).message(7, histogram);
    let family = Frame::new()
        .bytes(1, "request_duration_seconds")
        .bytes(2, "How long requests took.")
        .varint(3, HISTOGRAM)
        .message(4, metric);
    let mut delimited = Vec::new();
    varint(family.0.len() as u64, &mut delimited);
    delimited.extend(family.0);
    delimited
}

/// Serves a service of which so many of a thousand requests are slow; its address.
async fn serve(version: &'static str, slow: u64, stop: CancellationToken) -> String {
    let scrapes = Arc::new(AtomicU64::new(0));
    let handler = get(move |headers: HeaderMap| async move {
        let accepted = headers.get(header::ACCEPT);
        let accepted = accepted.and_then(|value| value.to_str().ok()).unwrap_or("");
        if !accepted.contains("io.prometheus.client.MetricFamily") {
            let code = axum::http::StatusCode::NOT_ACCEPTABLE;
            return (code, "protobuf only").into_response();
        }
        let times = scrapes.fetch_add(1, Ordering::Relaxed) + 1;
        let body = family(version, (1_000 - slow) * times, slow * times);
        ([(header::CONTENT_TYPE, DELIMITED)], body).into_response()
    });
    listen(Router::new().route("/metrics", handler), stop).await
}

#[tokio::test(flavor = "multi_thread")]
async fn native_histograms_that_prometheus_writes_on_are_counted_above_a_bound() {
    let folder = tempfile::tempdir().expect("a folder");
    let daemon = TestDaemon::start().await;
    let stop = CancellationToken::new();
    let mut targets = Vec::new();
    for (version, slow) in [("v1", 20), ("v2", 300)] {
        targets.push(serve(version, slow, stop.clone()).await);
    }
    let arms = json!({"baseline": "v1", "canary": "v2"});
    let request = json!({"plan": PLAN, "arms": arms});
    let (status, body) = daemon.post("/v1/analyses", &request).await;
    assert_eq!(status, 201, "{body}");
    let id = body["id"].as_str().expect("an id");
    let started = Running::prometheus(
        folder.path(),
        free_port(),
        &targets,
        &daemon.url,
        Native::Written,
    );
    let Some(prometheus) = started else {
        return;
    };
    let verdict = final_verdict(&daemon, id, folder.path()).await;
    assert_eq!(verdict["verdict"], "fail", "{verdict}");
    let slow = &verdict["checks"][0];
    for arm in ["baseline", "canary"] {
        let samples = slow["samples"][arm].as_u64().expect("a number");
        assert!(samples > 0 && samples % 1_000 == 0, "{verdict}");
    }
    let estimate = slow["estimate"].as_f64().expect("an estimate");
    assert!((estimate - 0.28).abs() < 1e-12, "{verdict}");
    drop(prometheus);
    stop.cancel();
    daemon.stop().await;
}
