//! A real daemon on a port of its own, for the tests that talk to one.
//!
//! It runs inside the test's process, so that a test can end it and nothing is left behind. What
//! is asked of it goes over HTTP all the same.

use std::path::Path;
use std::time::Duration;

use davy::app;
use davy::config::{Config, Sources, plans};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// A plan with ticks of a second that judges two metrics.
pub const WALK: &str = "version: davy/v1
plan: walk
description: a plan for tests
horizon: 1m
tick: 100ms
lateness: 100ms
min_duration: 1s
metrics:
  latency: {kind: latency, value_unit: ms, from: values}
  errors: {kind: ratio, from: values}
checks:
  - compare: latency
    tolerance: 20%
  - compare: errors
    tolerance: {relative: 50%, absolute: 1pp}
";

/// A running daemon.
pub struct TestDaemon {
    /// `http://127.0.0.1:PORT`, or `https`
    pub url: String,
    /// For its requests.
    pub client: reqwest::Client,
    stop: CancellationToken,
    done: tokio::task::JoinHandle<anyhow::Result<()>>,
    _plans: tempfile::TempDir,
}

/// A configuration of nothing but defaults.
pub fn default_config() -> Config {
    Config::load(&Sources::default()).expect("the defaults are valid")
}

/// A client as scripts have it: no proxy, no redirects.
pub fn client() -> reqwest::Client {
    let builder = reqwest::Client::builder().no_proxy();
    builder
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a client")
}

impl TestDaemon {
    /// Starts one with the defaults and [`WALK`].
    pub async fn start() -> TestDaemon {
        TestDaemon::start_with(|_| ()).await
    }

    /// Starts one with a changed configuration.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> TestDaemon {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("walk.yaml"), WALK).expect("written");
        let mut config = default_config();
        config.server.port = 0;
        config.server.shutdown_deadline_secs = 5;
        config.plans.directory = folder.path().to_path_buf();
        change(&mut config);
        let loaded = plans::load_directory(Path::new(&config.plans.directory)).expect("valid");
        let daemon = app::build(&config, loaded.plans).await.expect("builds");
        let scheme = config.server.tls.as_ref().map_or("http", |_| "https");
        let url = format!("{scheme}://{}", daemon.address().expect("bound"));
        let stop = CancellationToken::new();
        let done = tokio::spawn(daemon.run(stop.clone()));
        TestDaemon {
            url,
            client: client(),
            stop,
            done,
            _plans: folder,
        }
    }

    /// Stops it and waits until it has.
    pub async fn stop(self) {
        self.begin_to_stop();
        self.ended().await;
    }

    /// Asks it to stop.
    pub fn begin_to_stop(&self) {
        self.stop.cancel();
    }

    /// Waits until it has stopped.
    pub async fn ended(self) {
        let ended = self.done.await.expect("the daemon does not panic");
        ended.expect("the daemon ends well");
    }

    /// The verdict of an analysis once it is final; `None` when it is not by then.
    pub async fn final_verdict(&self, id: &str, patience: Duration) -> Option<Value> {
        let path = format!("/v1/analyses/{id}/verdict?wait=5s");
        let verdict = async {
            loop {
                let (_, verdict) = self.get(&path).await;
                if verdict["final"] == true {
                    return verdict;
                }
            }
        };
        tokio::time::timeout(patience, verdict).await.ok()
    }

    /// GET: status and JSON (null where the body is none).
    pub async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.client.get(format!("{}{path}", self.url))).await
    }

    /// POST of JSON: status and JSON.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        answer(self.client.post(format!("{}{path}", self.url)).json(body)).await
    }

    /// POST of samples, one object a line.
    pub async fn send(&self, lines: &str) -> (u16, Value) {
        let request = self.client.post(format!("{}/v1/samples", self.url));
        let request = request.header("content-type", "application/x-ndjson");
        answer(request.body(lines.to_string())).await
    }

    /// Starts an analysis on [`WALK`]; its id.
    pub async fn begin(&self) -> String {
        let change = json!({"id": "change-7", "service": "checkout"});
        let (status, body) = self
            .post("/v1/analyses", &json!({"plan": "walk", "change": change}))
            .await;
        assert_eq!(status, 201, "{body}");
        body["id"].as_str().expect("an id").to_string()
    }

    /// The daemon's clock, in unix milliseconds, as the start of a fresh analysis tells it.
    pub async fn now(&self, analysis: &str) -> i64 {
        let (_, body) = self.get(&format!("/v1/analyses/{analysis}")).await;
        body["started_at"].as_i64().expect("a time")
    }
}

/// Sends a request: status and JSON, null where the body is none. What the OpenAPI document does
/// not say of the operation fails the test.
pub async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let (client, request) = request.build_split();
    let request = request.expect("a request");
    let (method, path) = (request.method().clone(), request.url().path().to_string());
    let response = client.execute(request).await.expect("an answer");
    let status = response.status().as_u16();
    let bytes = response.bytes().await.expect("a body");
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    crate::openapi::assert_described(method.as_str(), &path, status, &body);
    (status, body)
}

/// A line of NDJSON for one value.
pub fn value_line(analysis: &str, arm: &str, ts: i64, value: f64) -> String {
    let line =
        json!({"ts": ts, "metric": "latency", "value": value, "analysis": analysis, "arm": arm});
    format!("{line}\n")
}
