//! A day of davy in some seconds: passes, fails, ends without an answer, people, notifications that
//! arrive and that do not, samples in several forms, good and bad.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::crash::now_millis;
use crate::daemon::TestDaemon;
use crate::prometheus::listen;
use crate::support::PATIENCE;

const PLAN: &str = "version: davy/v1
plan: checkout
horizon: 10s
tick: 200ms
lateness: 200ms
min_duration: 1s
metrics:
  errors: {kind: ratio, from: values}
checks:
  - {compare: errors, tolerance: {relative: 50%, absolute: 1pp}}
";

/// The source scrapes davy, and davy asks it about itself.
const PULLED: &str = r#"version: davy/v1
plan: pulled
horizon: 2s
tick: 200ms
lateness: 1s
arms:
  baseline: 'job=~"d.*"'
  canary: 'job="davy"'
metrics:
  running: {kind: gauge, prometheus: 'davy_analyses_running{ {{arm}} }'}
checks:
  - {compare: running, worse: higher, tolerance: 50%}
"#;

/// Samples are sent so often.
const BEAT: Duration = Duration::from_millis(100);
/// Verdicts that are final in the end.
pub const VERDICTS: u64 = 6;

/// A receiver whose first answer is an error, and one that wants nothing any more.
async fn receivers(stop: &CancellationToken) -> String {
    let has_failed = Arc::new(AtomicBool::new(false));
    let deployer = post(move || {
        let is_first = !has_failed.swap(true, Ordering::Relaxed);
        let status = if is_first {
            StatusCode::BAD_GATEWAY
        } else {
            StatusCode::NO_CONTENT
        };
        async move { status }
    });
    let gone = post(|| async { StatusCode::GONE });
    let router = Router::new()
        .route("/deployer", deployer)
        .route("/gone", gone);
    listen(router, stop.clone()).await
}

/// A davy with everything that a board asks about.
pub async fn davy(folder: &Path, source_port: u16, stop: &CancellationToken) -> TestDaemon {
    let receivers = receivers(stop).await;
    let webhook = |name: &str| {
        let entry = format!(
            "name = \"{name}\"\nurl = \"http://{receivers}/{name}\"\nevents = [\"verdict.final\"]"
        );
        toml::from_str(&entry).expect("valid")
    };
    let source = format!("url = \"http://127.0.0.1:{source_port}\"\ndelay_ms = 300");
    let source = toml::from_str(&source).expect("valid");
    TestDaemon::start_with(|config| {
        config.store.path = Some(folder.join("store"));
        config.telemetry.service_labels = vec!["checkout".to_owned(), "cart".to_owned()];
        config.webhooks = vec![webhook("deployer"), webhook("gone")];
        config.webhook.backoff_initial_ms = 50;
        config.sources.prometheus = Some(source);
    })
    .await
}

async fn start(daemon: &TestDaemon, plan: &str, change: &str, service: &str) -> String {
    // A revision of its own would end those before it.
    let change = json!({"id": change, "service": service, "revision": "r1"});
    let request = json!({"plan": plan, "change": change});
    let (status, body) = daemon.post("/v1/analyses", &request).await;
    assert_eq!(status, 201, "{body}");
    body["id"].as_str().expect("an id").to_owned()
}

/// Starts an analysis that nobody sends anything to: the plan's counters are there from now on.
pub async fn open(daemon: &TestDaemon) -> String {
    let plan = PLAN.replace("horizon: 10s", "horizon: 3s");
    start(daemon, &plan, "c-quiet", "cart").await
}

/// Sends samples until the verdict is final: of the canary so many in a thousand are bad.
async fn feed(daemon: &TestDaemon, id: &str, bad_per_mille: u64) -> Value {
    let mut beat = tokio::time::interval(BEAT);
    let path = format!("/v1/analyses/{id}/verdict");
    let fed = async {
        loop {
            beat.tick().await;
            let now = now_millis();
            let line = |arm: &str, bad: u64| {
                let value = json!({"total": 20_000, "bad": 20 * bad});
                let line = json!({"ts": now, "metric": "errors", "value": value, "analysis": id, "arm": arm});
                format!("{line}\n")
            };
            let lines = line("baseline", 5) + &line("canary", bad_per_mille);
            let (status, answer) = daemon.send(&lines).await;
            assert_eq!(status, 200, "{answer}");
            let (_, verdict) = daemon.get(&path).await;
            if verdict["final"] == true {
                return verdict;
            }
        }
    };
    tokio::time::timeout(PATIENCE, fed)
        .await
        .expect("a verdict in time")
}

async fn tell(daemon: &TestDaemon, change: &str, outcome: &str) {
    let path = format!("/v1/changes/{change}/outcome");
    let (status, body) = daemon.post(&path, &json!({"outcome": outcome})).await;
    assert_eq!(status, 200, "{body}");
}

async fn decide(daemon: &TestDaemon, id: &str, decision: &str) {
    let path = format!("/v1/analyses/{id}/override");
    let decided = json!({"decision": decision, "reason": "seen", "actor": "somebody"});
    let (status, body) = daemon.post(&path, &decided).await;
    assert_eq!(status, 200, "{body}");
}

async fn post_text(daemon: &TestDaemon, path: &str, content_type: &str, body: &str) {
    let request = daemon.client.post(format!("{}{path}", daemon.url));
    let request = request
        .header("content-type", content_type)
        .body(body.to_owned());
    let status = request.send().await.expect("an answer").status();
    assert!(status.is_success(), "{path}: {status}");
}

/// Samples in other forms, and some that are refused.
async fn forms(daemon: &TestDaemon, id: &str) {
    post_text(daemon, "/v1/exposition", "text/plain", "hits_total 1\n").await;
    let open = "application/openmetrics-text; version=1.0.0";
    post_text(
        daemon,
        "/v1/exposition",
        open,
        "# TYPE hits gauge\nhits 1\n# EOF\n",
    )
    .await;
    post_text(
        daemon,
        "/v1/metrics",
        "application/json",
        "{\"resourceMetrics\":[]}",
    )
    .await;
    let late = json!({"ts": now_millis() - 60_000, "metric": "errors", "value": 1, "analysis": id, "arm": "canary"});
    let ahead = json!({"ts": now_millis() + 1_500, "metric": "errors", "value": 0, "analysis": id, "arm": "canary"});
    let unread = "{\"metric\": \"errors\"";
    let lines = format!("{late}\n{ahead}\n{unread}\n");
    let (status, answer) = daemon.send(&lines).await;
    assert_eq!(
        (status, &answer["refused"].as_u64().is_some_and(|n| n > 0)),
        (200, &true),
        "{answer}"
    );
}

/// Plays the rest of the day; `quiet` is what [`open`] has started.
pub async fn play(daemon: &TestDaemon, quiet: &str) {
    let good = start(daemon, PLAN, "c-good", "checkout").await;
    let bad = start(daemon, PLAN, "c-bad", "checkout").await;
    let doubted = start(daemon, PLAN, "c-doubted", "cart").await;
    let ended = start(daemon, PLAN, "c-ended", "unlisted").await;
    let step = format!("/v1/analyses/{bad}/steps");
    let (status, body) = daemon
        .post(&step, &json!({"name": "50%", "weight": 50}))
        .await;
    assert_eq!(status, 200, "{body}");
    let arms = json!({"plan": PULLED, "change": {"id": "c-pulled"}});
    let (status, pulled) = daemon.post("/v1/analyses", &arms).await;
    assert_eq!(status, 201, "{pulled}");
    forms(daemon, &good).await;
    decide(daemon, &ended, "rollback").await;
    let (passes, fails, doubtful) = tokio::join!(
        feed(daemon, &good, 5),
        feed(daemon, &bad, 60),
        feed(daemon, &doubted, 60)
    );
    for (verdict, expected) in [(&passes, "pass"), (&fails, "fail"), (&doubtful, "fail")] {
        assert_eq!(verdict["verdict"], expected, "{verdict}");
    }
    decide(daemon, &doubted, "promote").await;
    let (status, body) = daemon
        .post(&format!("/v1/analyses/{ended}/cancel"), &json!({}))
        .await;
    assert_eq!(status, 200, "{body}");
    tell(daemon, "c-good", "promoted").await;
    tell(daemon, "c-bad", "rolled_back").await;
    tell(daemon, "c-doubted", "false_alarm").await;
    // It was not well after all.
    tell(daemon, "c-good", "incident").await;
    for id in [quiet, pulled["id"].as_str().expect("an id")] {
        let verdict = daemon.final_verdict(id, PATIENCE).await;
        assert!(verdict.is_some(), "{id} ends");
    }
}
