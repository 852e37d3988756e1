//! Real sources: Debian's Prometheus and VictoriaMetrics scrape two services, and davy asks them.
//!
//! The services are those of `prometheus`, the test of remote-write: every scrape finds another
//! thousand requests, and the canary is slow.

use std::path::Path;
use std::process::{Command, Stdio};

use davy::config::sources::PrometheusSource;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::daemon::TestDaemon;
use crate::prometheus::{Native, Running, Shop, free_port};
use crate::support::PATIENCE;

const HEAD: &str = r#"version: davy/v1
plan: NAME
horizon: 1m
tick: 1s
lateness: 5s
min_duration: 3s
arms:
  baseline: 'job="shop", version="{{baseline}}"'
  canary: 'job="shop", version="{{canary}}"'
checks:
  - {compare: errors, tolerance: {relative: 50%, absolute: 1pp}}
  - {compare: slow, tolerance: {relative: 50%, absolute: 1pp}}
"#;
const PUSHED: &str = r#"metrics:
  errors: {kind: ratio, from: counter, bad: 'http_requests_total{code=~"5.."}', total: http_requests_total}
  slow: {kind: ratio, above: {histogram: http_request_duration_seconds, bound: 0.25}}
"#;
const PULLED: &str = r#"metrics:
  errors:
    kind: ratio
    prometheus:
      bad: 'http_requests_total{code=~"5..", {{arm}} }'
      total: 'http_requests_total{ {{arm}} }'
  slow:
    kind: ratio
    above: {bound: 0.25}
    prometheus: 'http_request_duration_seconds_bucket{ {{arm}} }'
"#;

fn source(port: u16, delay_ms: u64) -> PrometheusSource {
    let mut source = PrometheusSource::at(&format!("http://127.0.0.1:{port}"));
    source.delay_ms = delay_ms;
    source.timeout_ms = 2_000;
    source.backoff_max_ms = 1_000;
    source
}

async fn shops(stop: &CancellationToken) -> Vec<String> {
    let mut targets = Vec::new();
    for (version, bad, slow) in [("v1", 5, 20), ("v2", 5, 300)] {
        targets.push(Shop::new(version, bad, slow).serve(stop.clone()).await);
    }
    targets
}

async fn begin(daemon: &TestDaemon, name: &str, metrics: &str) -> String {
    let plan = format!("{}{metrics}", HEAD.replace("NAME", name));
    let arms = json!({"baseline": "v1", "canary": "v2"});
    let (status, body) = daemon
        .post("/v1/analyses", &json!({"plan": plan, "arms": arms}))
        .await;
    assert_eq!(status, 201, "{body}");
    body["id"].as_str().expect("an id").to_owned()
}

async fn final_verdict(daemon: &TestDaemon, id: &str) -> Value {
    match daemon.final_verdict(id, PATIENCE).await {
        Some(verdict) => verdict,
        None => panic!(
            "no verdict: {}",
            daemon.get(&format!("/v1/analyses/{id}")).await.1
        ),
    }
}

fn check<'v>(verdict: &'v Value, name: &str) -> &'v Value {
    let checks = verdict["checks"].as_array().expect("checks");
    let found = checks.iter().find(|check| check["check"] == name);
    found.expect("the check is there")
}

/// The verdict that these services deserve.
fn assert_slow(verdict: &Value) {
    assert_eq!(verdict["verdict"], "fail", "{verdict}");
    assert_eq!(check(verdict, "slow")["verdict"], "fail", "{verdict}");
    assert_ne!(check(verdict, "errors")["verdict"], "fail", "{verdict}");
    for arm in ["baseline", "canary"] {
        let samples = check(verdict, "slow")["samples"][arm].as_u64();
        let samples = samples.expect("a number");
        assert!(
            samples > 0 && samples.is_multiple_of(1_000),
            "whole scrapes: {verdict}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_prometheus_is_asked_for_is_judged_as_what_it_writes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let source = source(port, 300);
    let daemon = TestDaemon::start_with(|config| config.sources.prometheus = Some(source)).await;
    let stop = CancellationToken::new();
    let targets = shops(&stop).await;
    let Some(prometheus) =
        Running::prometheus(folder.path(), port, &targets, &daemon.url, Native::LeftOut)
    else {
        return;
    };
    let pushed = begin(&daemon, "pushed", PUSHED).await;
    let pulled = begin(&daemon, "pulled", PULLED).await;
    let (pushed, pulled_verdict) = tokio::join!(
        final_verdict(&daemon, &pushed),
        final_verdict(&daemon, &pulled)
    );
    assert_slow(&pushed);
    assert_slow(&pulled_verdict);
    // The same slices of the same scrapes: shares do not depend on where a scrape fell.
    for name in ["errors", "slow"] {
        let estimates =
            [&pushed, &pulled_verdict].map(|verdict| check(verdict, name)["estimate"].clone());
        let [one, other] = estimates.map(|estimate| estimate.as_f64().expect("an estimate"));
        assert!(
            (one - other).abs() < 0.05 * one.abs().max(1.0),
            "{name}: {one} {other}"
        );
    }
    let (_, view) = daemon.get(&format!("/v1/analyses/{pulled}")).await;
    for health in view["pulled"].as_array().expect("a list") {
        assert_eq!(health["failures"], 0, "{view}");
    }
    drop(prometheus);
    stop.cancel();
    daemon.stop().await;
}

/// A VictoriaMetrics that scrapes every second; `None` where it is not installed.
fn victoria_metrics(folder: &Path, port: u16, targets: &[String]) -> Option<Running> {
    let targets: Vec<String> = targets.iter().map(|target| format!("{target:?}")).collect();
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: shop
    static_configs: [{{targets: [{}]}}]
",
        targets.join(", ")
    );
    let file = folder.join("scrape.yml");
    std::fs::write(&file, config).expect("written");
    let log = std::fs::File::create(folder.join("victoria-metrics.log")).expect("created");
    let started = Command::new("victoria-metrics")
        .arg(format!("-promscrape.config={}", file.display()))
        .arg(format!(
            "-storageDataPath={}",
            folder.join("data").display()
        ))
        .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
        // It writes earlier values over those of the last 30 s unless told otherwise.
        .arg("-search.latencyOffset=1ms")
        .stdout(Stdio::null())
        .stderr(log)
        .spawn();
    match started {
        Ok(child) => Some(Running(child)),
        Err(error) => {
            eprintln!(
                "left out: victoria-metrics cannot be started ({error}); make test installs it"
            );
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn victoria_metrics_is_a_source_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    // It makes what it scraped readable after a second or two.
    let source = source(port, 2_500);
    let daemon = TestDaemon::start_with(|config| config.sources.prometheus = Some(source)).await;
    let stop = CancellationToken::new();
    let targets = shops(&stop).await;
    let Some(victoria) = victoria_metrics(folder.path(), port, &targets) else {
        return;
    };
    let id = begin(&daemon, "pulled", PULLED).await;
    let verdict = final_verdict(&daemon, &id).await;
    assert_slow(&verdict);
    drop(victoria);
    stop.cancel();
    daemon.stop().await;
}
