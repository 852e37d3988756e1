//! From a request to the engine: who holds which memory how long, and what time limits end.
//!
//! The engine is this test: it takes inputs when it likes, and answers or does not.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use davy::codec;
use davy::http::budget::IngestBudget;
use davy::http::interest::Interest;
use davy::http::link::{EngineLink, Knock};
use davy::http::{Bounds, Shared, router};
use davy::store::memory::{self, MemoryStore};
use davy::telemetry::Metrics;
use futures_util::StreamExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::ingest::gzip;

const BUDGET_BYTES: u64 = 4 << 20;
/// Too short for whoever waits for nothing.
const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(60);
const LINE: &str = "{\"ts\":1764000000000,\"metric\":\"m\",\"value\":1}\n";

/// The API before an engine that is `Receiver<Knock>`.
fn api(request_timeout: Duration) -> (Arc<Shared>, Receiver<Knock>) {
    let metrics = Arc::new(Metrics::new("0").expect("names are unique"));
    let (link, knocks) = EngineLink::new(metrics.clone());
    let store = MemoryStore::new(memory::Bounds {
        recording_bytes_max: 0,
        recordings_bytes_max: 0,
        outbox_max: 0,
        audit_rows_max: 1_000_000,
        free_bytes_max: 16 << 20,
    });
    let store = Arc::new(store);
    let shared = Shared {
        door: Arc::new(davy::http::door::Door::open()),
        source: None,
        link,
        clock: Arc::new(davy::clock::SystemClock),
        bells: Arc::default(),
        store: store.clone(),
        outbox: store,
        watchers: Arc::default(),
        metrics,
        interest: Interest::new(LONG),
        unmatched: Default::default(),
        plans: Default::default(),
        bounds: Bounds {
            request_body_bytes_max: 32 << 20,
            decoded_body_bytes_max: 32 << 20,
            request_timeout,
            long_poll_max: LONG,
            abandoned_after: LONG,
            host_names: None,
            kayenta_configs_max: 1,
            codec: codec::Limits::default(),
        },
        ingest: IngestBudget::new(BUDGET_BYTES),
        request_ids: davy::http::observe::RequestIds::new(7),
        heads: codec::heads::HeadsPool::new(0),
        streams: Arc::new(tokio::sync::Semaphore::new(1)),
        recordings: Arc::new(tokio::sync::Semaphore::new(1)),
        compiling: Arc::new(tokio::sync::Semaphore::new(1)),
        judging: Arc::new(tokio::sync::Semaphore::new(1)),
        configuring: Arc::new(tokio::sync::Semaphore::new(1)),
        stopping: Default::default(),
    };
    (Arc::new(shared), knocks)
}

async fn send(shared: &Arc<Shared>, encoding: &str, body: Body) -> (u16, String) {
    let request = Request::post("/v1/samples").header("content-encoding", encoding);
    let request = request.body(body).expect("a request");
    let response = router(shared.clone()).oneshot(request).await;
    let response = response.expect("infallible");
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
    let body: Value = serde_json::from_slice(&body.expect("a body")).expect("JSON");
    (status, body["code"].as_str().unwrap_or("").to_string())
}

/// The next input, which comes in its own time.
async fn next(knocks: Receiver<Knock>) -> (Knock, Receiver<Knock>) {
    let taken = tokio::task::spawn_blocking(move || (knocks.recv(), knocks)).await;
    let (knock, knocks) = taken.expect("no panic");
    (knock.expect("the API is there"), knocks)
}

/// A body whose sender says something and then nothing more.
fn unfinished(text: &'static str) -> Body {
    let begun = futures_util::stream::iter([Ok::<_, std::io::Error>(text)]);
    Body::from_stream(begun.chain(futures_util::stream::pending()))
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_keep_their_room_until_the_engine_is_done_with_them() {
    for lines in [1, 3_000] {
        let (shared, knocks) = api(LONG);
        let asking = tokio::spawn({
            let shared = shared.clone();
            async move { send(&shared, "identity", LINE.repeat(lines).into()).await }
        });
        let (knock, _knocks) = next(knocks).await;
        // The client is gone; its samples are not.
        asking.abort();
        assert!(asking.await.is_err_and(|error| error.is_cancelled()));
        let taken = BUDGET_BYTES - shared.ingest.free_bytes();
        let needed = (LINE.len() * lines) as u64 * 4;
        assert!(taken >= needed, "{taken} bytes are held for {needed}");
        drop(knock);
        assert_eq!(shared.ingest.free_bytes(), BUDGET_BYTES);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packed_body_takes_room_for_what_is_in_it_and_no_more() {
    let (shared, mut knocks) = api(LONG);
    let mut held = Vec::new();
    // Each could unpack to 32 MiB, of which not one would fit.
    for _ in 0..4 {
        let packed = gzip(LINE.as_bytes()).await;
        let asking = tokio::spawn({
            let shared = shared.clone();
            async move { send(&shared, "gzip", packed.into()).await }
        });
        let knock;
        (knock, knocks) = next(knocks).await;
        held.push((knock, asking));
    }
    // What does not fit is turned away while it is unpacked, and gives back what it took.
    let free = shared.ingest.free_bytes();
    let large = gzip(LINE.repeat(100_000).as_bytes()).await;
    assert_eq!(
        send(&shared, "gzip", large.into()).await,
        (429, "busy".to_string())
    );
    assert_eq!(shared.ingest.free_bytes(), free);
    let counted = &shared.metrics.limit_reached;
    assert_eq!(counted.with_label_values(&["ingest_bytes"]).get(), 1);
    for (_, asking) in &held {
        asking.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_that_take_more_than_all_room_are_refused_for_good() {
    let (shared, _knocks) = api(LONG);
    // Their text would fit eight times.
    let packed = gzip(LINE.repeat(12_000).as_bytes()).await;
    let answer = send(&shared, "gzip", packed.into()).await;
    assert_eq!(answer, (413, "body_too_large".to_string()));
    assert_eq!(shared.ingest.free_bytes(), BUDGET_BYTES);
    let counted = &shared.metrics.limit_reached;
    assert_eq!(counted.with_label_values(&["ingest_bytes"]).get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_that_do_not_finish_take_room_for_what_they_sent() {
    let (shared, knocks) = api(LONG);
    let slow: Vec<_> = (0..20)
        .map(|_| {
            let shared = shared.clone();
            tokio::spawn(async move { send(&shared, "identity", unfinished(LINE)).await })
        })
        .collect();
    let asking = tokio::spawn({
        let shared = shared.clone();
        async move { send(&shared, "identity", LINE.into()).await }
    });
    let (knock, _knocks) = next(knocks).await;
    assert!(knock.room.is_some());
    slow.iter().for_each(|task| task.abort());
    asking.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_limit_ends_the_reading_and_never_denies_what_was_handed_over() {
    let (shared, knocks) = api(SHORT);
    let read = send(&shared, "identity", unfinished(LINE)).await;
    assert_eq!(read, (408, "request_timeout".to_string()));
    assert!(knocks.try_recv().is_err(), "nothing was taken");
    let handed = send(&shared, "identity", LINE.into()).await;
    assert_eq!(handed, (503, "outcome_unknown".to_string()));
    assert!(knocks.try_recv().is_ok(), "it was taken after all");
    let cancel = Request::post("/v1/analyses/an_1/cancel").body(Body::empty());
    let response = router(shared).oneshot(cancel.expect("a request")).await;
    assert_eq!(response.expect("infallible").status().as_u16(), 503);
    assert!(knocks.try_recv().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_every_route_says_when_to_come_again() {
    let (shared, _knocks) = api(LONG);
    let text = LINE.as_bytes().to_vec();
    let packed = snap::raw::Encoder::new()
        .compress_vec(&[0x0a, 0])
        .expect("small");
    let mut all = shared.ingest.begin();
    assert!(all.grow_to(BUDGET_BYTES));
    let routes = [
        ("/v1/samples", "application/x-ndjson", "identity", text, 429),
        (
            "/v1/exposition",
            "text/plain",
            "identity",
            b"up 1\n".to_vec(),
            429,
        ),
        (
            "/v1/metrics",
            "application/x-protobuf",
            "identity",
            vec![0x0a, 0],
            429,
        ),
        (
            "/v1/metrics",
            "application/json",
            "identity",
            b"{}".to_vec(),
            429,
        ),
        (
            "/api/v1/write",
            "application/x-protobuf",
            "snappy",
            packed,
            503,
        ),
    ];
    let mut past = 0;
    for (path, content_type, encoding, body, status) in routes {
        let send = async || {
            let request = Request::post(path).header("content-type", content_type);
            let request = request.header("content-encoding", encoding);
            let request = request.body(Body::from(body.clone())).expect("a request");
            let response = router(shared.clone())
                .oneshot(request)
                .await
                .expect("infallible");
            let after = response.headers().get("retry-after").cloned();
            (response.status().as_u16(), after.map(|secs| secs == "1"))
        };
        assert_eq!(send().await, (status, Some(true)), "{path} {content_type}");
        past += 1;
        let metrics = Request::get("/metrics")
            .body(Body::empty())
            .expect("a request");
        let metrics = router(shared.clone())
            .oneshot(metrics)
            .await
            .expect("infallible");
        let metrics = axum::body::to_bytes(metrics.into_body(), usize::MAX).await;
        let metrics = String::from_utf8(metrics.expect("a body").to_vec()).expect("text");
        let counted = format!("davy_limit_reached_total{{limit=\"ingest_bytes\"}} {past}\n");
        assert!(metrics.contains(&counted), "{path}: {metrics}");
    }
    // With room for one of them and no more, it is taken.
    all.shrink_to(BUDGET_BYTES - 1_024);
    let request = Request::post("/v1/metrics").header("content-type", "application/json");
    let request = request.body(Body::from("{}")).expect("a request");
    let response = router(shared.clone())
        .oneshot(request)
        .await
        .expect("infallible");
    assert_eq!(response.status().as_u16(), 200);
}
