//! `POST /v1/samples` with everything that can be wrong about a body.

use async_compression::tokio::write::{GzipEncoder, ZstdEncoder};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::daemon::{TestDaemon, answer, value_line};

pub async fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(plain).await.expect("memory");
    encoder.shutdown().await.expect("memory");
    encoder.into_inner()
}

async fn zstd(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZstdEncoder::new(Vec::new());
    encoder.write_all(plain).await.expect("memory");
    encoder.shutdown().await.expect("memory");
    encoder.into_inner()
}

async fn send_packed(daemon: &TestDaemon, encoding: &str, body: Vec<u8>) -> (u16, Value) {
    let request = daemon.client.post(format!("{}/v1/samples", daemon.url));
    let request = request.header("content-type", "application/x-ndjson");
    answer(request.header("content-encoding", encoding).body(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_sample_is_refused_by_itself_with_its_line() {
    let daemon = TestDaemon::start().await;
    let id = daemon.begin().await;
    let now = daemon.now(&id).await;
    let year = 365 * 86_400_000_i64;
    let fields = |ts: i64, rest: &str| {
        format!("{{\"ts\":{ts},\"analysis\":\"{id}\",\"arm\":\"canary\",{rest}}}\n")
    };
    let body = [
        value_line(&id, "baseline", now, 12.5),
        "{\"ts\": 17, \n".to_string(),
        fields(now, "\"metric\":\"latency\",\"value\":NaN"),
        fields(now, "\"metric\":\"latency\",\"value\":1e999"),
        fields(now, "\"metric\":\"latency\",\"value\":\"+Inf\""),
        fields(now + year, "\"metric\":\"latency\",\"value\":1"),
        fields(now - year, "\"metric\":\"latency\",\"value\":1"),
        fields(now, "\"metric\":\"latncy\",\"value\":1"),
        value_line("an_unknown", "canary", now, 1.0),
        fields(now, "\"metric\":\"latency\",\"value\":1").replace("canary", "control"),
        fields(
            now,
            "\"metric\":\"errors\",\"value\":{\"bad\":1,\"total\":9}",
        ),
        fields(
            now,
            "\"metric\":\"latency\",\"value\":{\"bad\":1,\"total\":9}",
        ),
        format!("{{\"ts\":{now},\"metric\":\"other\",\"value\":1}}\n"),
    ];
    let (status, answer) = daemon.send(&body.concat()).await;
    assert_eq!(status, 200, "{answer}");
    let shown = answer["refusals"].as_array().expect("a list");
    let found: Vec<(u64, &str)> = shown
        .iter()
        .map(|r| {
            (
                r["line"].as_u64().expect("a line"),
                r["code"].as_str().expect("a code"),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            (2, "malformed_json"),
            (3, "bare_nan"),
            (4, "number_out_of_range"),
            (6, "future"),
            (7, "before_start"),
            (8, "unknown_metric"),
            (9, "unknown_analysis"),
            (10, "unknown_arm"),
            (12, "wrong_form"),
        ]
    );
    assert_eq!(answer["accepted"], 3);
    assert_eq!(answer["unmatched"], 1);
    assert_eq!(answer["refused"], 9);
    let why = &answer["unplaced"][0];
    assert_eq!(
        (&why["line"], &why["outcome"], &why["series"]),
        (&json!(13), &json!("unmatched"), &json!("other"))
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arrays_batches_and_duplicates() {
    let daemon = TestDaemon::start().await;
    let id = daemon.begin().await;
    let now = daemon.now(&id).await;
    let sample = json!({"ts": now, "metric": "latency", "values": [1, 2], "weights": [3, 1],
        "analysis": id, "arm": "baseline", "id": "s-1"});
    let (status, first) = daemon.post("/v1/samples", &json!([sample])).await;
    assert_eq!((status, &first["accepted"]), (200, &json!(1)), "{first}");
    let (_, again) = daemon
        .post("/v1/samples", &json!({"batch": [sample]}))
        .await;
    assert_eq!(
        (&again["accepted"], &again["duplicate"]),
        (&json!(0), &json!(1))
    );
    let broken = daemon
        .client
        .post(format!("{}/v1/samples", daemon.url))
        .body(format!("[{sample}"));
    let (status, body) = answer(broken.header("content-type", "application/json")).await;
    assert_eq!((status, &body["code"]), (400, &json!("malformed_json")));
    assert!(body["help"].as_str().expect("help").contains("NDJSON"));
    let csv = daemon
        .client
        .post(format!("{}/v1/samples", daemon.url))
        .body("a,b");
    let (status, body) = answer(csv.header("content-type", "text/csv")).await;
    assert_eq!(
        (status, &body["code"]),
        (415, &json!("unsupported_media_type"))
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packed_bodies_are_read_and_bombs_are_not() {
    let daemon = TestDaemon::start_with(|config| {
        config.server.request_body_bytes_max = 100_000;
        config.server.decoded_body_bytes_max = 200_000;
    })
    .await;
    let id = daemon.begin().await;
    let line = value_line(&id, "canary", daemon.now(&id).await, 1.0);
    for (encoding, body) in [
        ("gzip", gzip(line.as_bytes()).await),
        ("zstd", zstd(line.as_bytes()).await),
    ] {
        let (status, answer) = send_packed(&daemon, encoding, body.clone()).await;
        assert_eq!(
            (status, &answer["accepted"]),
            (200, &json!(1)),
            "{encoding}"
        );
        let (status, answer) = send_packed(&daemon, encoding, [body.clone(), body].concat()).await;
        assert_eq!(
            (status, &answer["accepted"]),
            (200, &json!(2)),
            "{encoding}, two members"
        );
    }
    let bomb = vec![b'\n'; 50_000_000];
    for (encoding, body) in [("gzip", gzip(&bomb).await), ("zstd", zstd(&bomb).await)] {
        assert!(body.len() < 100_000, "the bomb is small on the wire");
        let (status, answer) = send_packed(&daemon, encoding, body).await;
        assert_eq!(
            (status, &answer["code"]),
            (413, &json!("body_too_large")),
            "{encoding}"
        );
    }
    let whole = [b'\n'; 200_000];
    let (status, answer) = send_packed(&daemon, "gzip", gzip(&whole).await).await;
    assert_eq!(
        (status, &answer["code"]),
        (400, &json!("empty_body")),
        "at the limit"
    );
    let (status, answer) = send_packed(&daemon, "gzip", b"not packed".to_vec()).await;
    assert_eq!((status, &answer["code"]), (400, &json!("invalid_encoding")));
    let (status, answer) = send_packed(&daemon, "br", line.into_bytes()).await;
    assert_eq!(
        (status, &answer["code"]),
        (415, &json!("unsupported_encoding"))
    );
    let (_, metrics) = (
        0,
        daemon
            .client
            .get(format!("{}/metrics", daemon.url))
            .send()
            .await,
    );
    let metrics = metrics.expect("an answer").text().await.expect("text");
    assert!(
        metrics.contains("davy_limit_reached_total{limit=\"decoded_body_bytes\"} 2"),
        "{metrics}"
    );
    daemon.stop().await;
}

/// Reads an answer's head and body from a raw connection.
async fn raw_answer(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut buffer = [0_u8; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        text.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_body_is_refused_by_its_length_before_it_is_sent() {
    let daemon = TestDaemon::start().await;
    let address = daemon.url.strip_prefix("http://").expect("http");
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let head = "POST /v1/samples HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 209715200\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("sent");
    // Not one byte of the 200 MB was sent, and the answer is there.
    let text = raw_answer(&mut stream).await;
    assert!(text.starts_with("HTTP/1.1 413"), "{text}");
    assert!(text.contains("\"code\":\"body_too_large\""), "{text}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_body_without_a_length_is_cut_at_the_limit() {
    let daemon =
        TestDaemon::start_with(|config| config.server.request_body_bytes_max = 65_536).await;
    let address = daemon.url.strip_prefix("http://").expect("http");
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let head = "POST /v1/samples HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("sent");
    let chunk = format!("8000\r\n{}\r\n", " ".repeat(0x8000));
    let mut sent = 0;
    // Two chunks are the limit; the third is one too many. The kernel may take a few more.
    while sent < 6_400 && stream.write_all(chunk.as_bytes()).await.is_ok() {
        sent += 1;
    }
    assert!(sent < 6_400, "all 200 MB were taken");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_is_closed_and_surplus_ones_too() {
    let daemon = TestDaemon::start_with(|config| {
        config.server.header_read_timeout_secs = 1;
        config.server.connections_max = 2;
    })
    .await;
    let address = daemon.url.strip_prefix("http://").expect("http");
    let mut first = TcpStream::connect(address).await.expect("connects");
    let mut second = TcpStream::connect(address).await.expect("connects");
    second
        .write_all(b"GET /healthz HTTP/1.1\r\nho")
        .await
        .expect("sent");
    let mut third = TcpStream::connect(address).await.expect("connects");
    assert_eq!(raw_answer(&mut third).await, "", "closed without a word");
    assert_eq!(
        raw_answer(&mut first).await,
        "",
        "closed after the time for a head"
    );
    raw_answer(&mut second).await;
    assert_eq!(daemon.get("/healthz").await.0, 200, "there is room again");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worse_canary_fails_and_the_verdict_says_why() {
    let daemon = TestDaemon::start().await;
    let id = daemon.begin().await;
    let now = daemon.now(&id).await;
    let mut lines = String::new();
    for number in 0..1_000_i32 {
        let value = f64::from(number * 37 % 100) + 50.0;
        // Twenty pairs a tick. Event time may run ahead of the clock, within limits.
        let ts = now + i64::from(number / 20) * 100;
        lines += &value_line(&id, "baseline", ts, value);
        lines += &value_line(&id, "canary", ts, value * 3.0);
    }
    let (_, answer) = daemon.send(&lines).await;
    assert_eq!(answer["accepted"], 2_000);
    let (status, verdict) = daemon
        .get(&format!("/v1/analyses/{id}/verdict?wait=30s"))
        .await;
    assert_eq!(status, 200);
    assert_eq!(verdict["verdict"], "fail", "{verdict}");
    assert_eq!(verdict["decision"], "rollback");
    assert_eq!(verdict["checks"][0]["reason"], "degraded");
    assert_eq!(verdict["final"], true);
    daemon.stop().await;
}
