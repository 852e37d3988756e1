//! A daemon and a source of the test's own: verdicts, outages, pace and budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::fake::{Asked, Fake, plain};
use crate::daemon::TestDaemon;
use crate::support::PATIENCE;

/// Requests a second, each arm, and their first total.
const PER_SEC: f64 = 10_000.0;
const PLAN: &str = r#"version: davy/v1
plan: pulled
horizon: 4s
tick: 200ms
lateness: 700ms
min_duration: 1s
arms:
  baseline: 'job="shop", version="{{baseline}}"'
  canary: 'job="shop", version="{{canary}}"'
metrics:
  errors:
    kind: ratio
    prometheus: {bad: 'failed{ {{arm}} }', total: 'all{ {{arm}} }'}
checks:
  - {compare: errors, tolerance: {relative: 50%, absolute: 1pp}}
"#;

/// Totals that grow evenly; of the canary so many in a thousand fail.
fn counters(canary_failing: f64) -> impl Fn(&Asked) -> Response {
    move |asked| {
        let is_canary = asked.query().contains("version=\"v2\"");
        let failing = if is_canary { canary_failing } else { 5.0 };
        let per_sec = match asked.query().starts_with("failed") {
            true => PER_SEC * failing / 1_000.0,
            false => PER_SEC,
        };
        asked.series(move |secs| ((secs - 1.7e9) * per_sec).round())
    }
}

async fn daemon(fake: &Fake, concurrent: u64) -> TestDaemon {
    let mut settings = fake.settings();
    settings.delay_ms = 50;
    settings.timeout_ms = 400;
    settings.concurrent_queries_max = concurrent;
    settings.backoff_initial_ms = 100;
    settings.backoff_max_ms = 2_000;
    TestDaemon::start_with(|config| config.sources.prometheus = Some(settings)).await
}

async fn begin(daemon: &TestDaemon, plan: &str) -> String {
    let request = json!({"plan": plan, "arms": {"baseline": "v1", "canary": "v2"}});
    let (status, body) = daemon.post("/v1/analyses", &request).await;
    assert_eq!(status, 201, "{body}");
    body["id"].as_str().expect("an id").to_owned()
}

async fn final_verdict(daemon: &TestDaemon, id: &str) -> Value {
    let verdict = daemon.final_verdict(id, PATIENCE).await;
    verdict.expect("a verdict in time")
}

async fn view(daemon: &TestDaemon, id: &str) -> Value {
    daemon.get(&format!("/v1/analyses/{id}")).await.1
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pulled_is_judged_and_counted_once() {
    let fake = Fake::start(counters(50.0)).await;
    let daemon = daemon(&fake, 8).await;
    let id = begin(&daemon, PLAN).await;
    let verdict = final_verdict(&daemon, &id).await;
    assert_eq!(verdict["verdict"], "fail", "{verdict}");
    let finding = &verdict["checks"][0];
    let ticks = verdict["elapsed_secs"].as_f64().expect("a number") / 0.2;
    for arm in ["baseline", "canary"] {
        let samples = finding["samples"][arm].as_f64().expect("a number");
        assert_eq!(samples, (ticks * PER_SEC * 0.2).round(), "{verdict}");
    }
    let view = view(&daemon, &id).await;
    let pulled = &view["pulled"][0];
    assert_eq!(pulled["metric"], "errors");
    assert_eq!(pulled["failures"], 0);
    assert!(
        pulled["last_success"].as_i64() > view["started_at"].as_i64(),
        "{view}"
    );
    let from = view["received"][0]["from"].to_string();
    assert!(from.contains("m{pod=\\\"a\\\"}"), "{from}");
    // The first request begins just before the analysis, and ticks that are open are asked again.
    let asked = fake.asked();
    let first = asked[0].instants()[0];
    let start = view["started_at"].as_i64().expect("a time") as f64 / 1_000.0;
    assert!((first - (start - 0.001)).abs() < 1e-6, "{first} {start}");
    let most = asked.iter().map(|asked| asked.instants().len()).max();
    assert!(most > Some(3), "{most:?}");
    assert!(
        asked
            .iter()
            .any(|asked| asked.query() == "all{ job=\"shop\",version=\"v2\" }")
    );
    let (_, metrics) = text(&daemon, "/metrics").await;
    assert!(
        metrics.contains("davy_pull_queries_total{outcome=\"answered\"}"),
        "{metrics}"
    );
    assert!(metrics.contains("davy_pull_queries_in_flight 0"));
    daemon.stop().await;
}

async fn text(daemon: &TestDaemon, path: &str) -> (u16, String) {
    let response = daemon
        .client
        .get(format!("{}{path}", daemon.url))
        .send()
        .await;
    let response = response.expect("an answer");
    (
        response.status().as_u16(),
        response.text().await.expect("text"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_never_a_pass_nor_a_fail() {
    // The canary is as bad as can be, and would fail; the baseline alone answers after a while.
    let fake = Fake::start(|_| plain(503, "no")).await;
    let daemon = daemon(&fake, 8).await;
    let dark = begin(&daemon, PLAN).await;
    let half = Fake::start(|asked| match asked.query().contains("v2") {
        true => plain(500, ""),
        false => counters(0.0)(asked),
    })
    .await;
    let other = self::daemon(&half, 8).await;
    let one_armed = begin(&other, PLAN).await;
    let verdict = final_verdict(&daemon, &dark).await;
    assert_eq!(
        (&verdict["verdict"], &verdict["reason"]),
        (&json!("inconclusive"), &json!("no_telemetry"))
    );
    let shown = view(&daemon, &dark).await;
    let pulled = &shown["pulled"][0];
    assert_eq!(pulled["last_error"], "answered 503", "{shown}");
    assert!(pulled["failures"].as_u64() > Some(2), "{shown}");
    assert_eq!(pulled["last_success"], Value::Null);
    let verdict = final_verdict(&other, &one_armed).await;
    assert_eq!(verdict["verdict"], "inconclusive", "{verdict}");
    let shown = view(&other, &one_armed).await;
    assert_eq!(
        shown["received"][0]["baseline"], 0,
        "half a metric is none: {shown}"
    );
    daemon.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_comes_back_is_caught_up() {
    let fake = Fake::start(counters(5.0)).await;
    let daemon = daemon(&fake, 8).await;
    let plan = PLAN
        .replace("horizon: 4s", "horizon: 5s")
        .replace("min_duration: 1s", "min_duration: 5s");
    let id = begin(&daemon, &plan).await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    fake.answer(|_| plain(502, ""));
    tokio::time::sleep(Duration::from_millis(600)).await;
    fake.answer(counters(5.0));
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    let shown = view(&daemon, &id).await;
    assert_eq!(shown["pulled"][0]["failures"], 0, "{shown}");
    assert_eq!(
        shown["received"][0]["late"], 0,
        "every tick was still open: {shown}"
    );
    let verdict = final_verdict(&daemon, &id).await;
    assert_eq!(verdict["verdict"], "pass", "{verdict}");
    let ticks = verdict["elapsed_secs"].as_f64().expect("a number") / 0.2;
    let samples = verdict["checks"][0]["samples"]["canary"].as_f64();
    let expected = (ticks * PER_SEC * 0.2).round();
    assert_eq!(samples, Some(expected), "nothing is missing: {verdict}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_asks_for_time_gets_it() {
    let fake =
        Fake::start(|_| (plain(429, "").status(), [(RETRY_AFTER, "1")]).into_response()).await;
    let daemon = daemon(&fake, 8).await;
    let id = begin(&daemon, PLAN).await;
    tokio::time::sleep(Duration::from_millis(1_150)).await;
    // Bad and total of both arms at once, and nothing more for a second.
    assert!(fake.asked().len() <= 4, "{}", fake.asked().len());
    tokio::time::sleep(Duration::from_millis(700)).await;
    let asked = fake.asked().len();
    assert!(asked > 1 && asked <= 8, "{asked}");
    let shown = view(&daemon, &id).await;
    assert_eq!(shown["pulled"][0]["last_error"], "answered 429", "{shown}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_at_one_time_stay_within_the_budget() {
    for (budget, most) in [(3, 3), (4, 4)] {
        let fake = Fake::start(counters(5.0)).await;
        fake.take(Duration::from_millis(60));
        let daemon = daemon(&fake, budget).await;
        begin(&daemon, PLAN).await;
        tokio::time::sleep(Duration::from_millis(900)).await;
        assert_eq!(fake.most_open(), most);
        let (_, metrics) = text(&daemon, "/metrics").await;
        let never = "davy_limit_reached_total{limit=\"concurrent_queries\"} 0\n";
        assert_eq!(
            metrics.contains(never),
            budget >= 4,
            "four queries, room for {budget}"
        );
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_is_none_is_told_and_hinders_no_other() {
    let plan = format!(
        "{}  depth: {{kind: gauge, prometheus: 'depth{{ {{{{arm}}}} }} +'}}\nchecks:{}  - {{compare: depth, tolerance: 20%}}\n",
        PLAN.split("checks:").next().expect("before"),
        PLAN.split("checks:").nth(1).expect("after"),
    );
    let is_asked = Arc::new(AtomicBool::new(false));
    let seen = is_asked.clone();
    let fake = Fake::start(move |asked| {
        if asked.query().starts_with("depth") {
            seen.store(true, Ordering::SeqCst);
            return plain(
                400,
                r#"{"status":"error","errorType":"bad_data","error":"unexpected end of input"}"#,
            );
        }
        counters(50.0)(asked)
    })
    .await;
    let daemon = daemon(&fake, 8).await;
    let id = begin(&daemon, &plan).await;
    let verdict = final_verdict(&daemon, &id).await;
    assert!(is_asked.load(Ordering::SeqCst));
    assert_eq!(
        verdict["verdict"], "fail",
        "the other metric was pulled: {verdict}"
    );
    let shown = view(&daemon, &id).await;
    assert_eq!(shown["pulled"][0]["metric"], "depth");
    let error = shown["pulled"][0]["last_error"].as_str().expect("told");
    assert_eq!(error, "answered 400: bad_data: unexpected end of input");
    assert_eq!(shown["pulled"][1]["failures"], 0, "{shown}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_plan_that_no_source_can_serve_is_refused_at_once() {
    let without = TestDaemon::start().await;
    let request = json!({"plan": PLAN, "arms": {"baseline": "v1", "canary": "v2"}});
    let (status, body) = without.post("/v1/analyses", &request).await;
    assert_eq!(
        (status, &body["code"]),
        (422, &json!("source_unfit")),
        "{body}"
    );
    assert!(
        body["help"]
            .as_str()
            .is_some_and(|help| help.contains("sources.prometheus.url"))
    );
    without.stop().await;
    let fake = Fake::start(counters(5.0)).await;
    let settings = fake.settings();
    let slow = TestDaemon::start_with(|config| config.sources.prometheus = Some(settings)).await;
    let (status, body) = slow.post("/v1/analyses", &request).await;
    assert_eq!(
        (status, &body["code"]),
        (422, &json!("source_unfit")),
        "{body}"
    );
    assert!(
        body["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("too late")),
        "{body}"
    );
    slow.stop().await;
}
