//! Every query of every board, variable and annotation, in a real Prometheus that scrapes a real davy.
//!
//! Each must be taken and give data: a panel whose healthy state is that there is no series says so
//! with a zero. With a metric renamed the check fails.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use reqwest::Url;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::queries::{Filled, Query, label_values, queries, query_of, variables};
use super::{BOARDS, board, day, folder};
use crate::crash::now_millis;
use crate::prometheus::{Running, free_port};
use crate::support::PATIENCE;

/// How often davy is scraped.
const SCRAPE_MILLIS: u64 = 500;

/// A Prometheus and the time that it was asked about.
struct Prometheus {
    url: String,
    client: reqwest::Client,
    filled: Filled,
    from: i64,
    until: i64,
    _running: Running,
}

/// Starts one that scrapes davy, reads the rules, and writes to davy what it scraped; `None` where it
/// is not installed.
fn start(within: &Path, port: u16, davy: &str) -> Option<Running> {
    let target = davy.trim_start_matches("http://");
    let rules = folder().join("alerts.yml");
    let config = format!(
        "global: {{scrape_interval: {SCRAPE_MILLIS}ms, scrape_timeout: {SCRAPE_MILLIS}ms, evaluation_interval: 1s}}
rule_files: [{rules:?}]
scrape_configs:
  - job_name: davy
    static_configs: [{{targets: [{target:?}]}}]
remote_write:
  - url: {davy}/api/v1/write
    queue_config: {{batch_send_deadline: 500ms}}
"
    );
    let file = within.join("prometheus.yml");
    std::fs::write(&file, config).expect("written");
    let log = std::fs::File::create(within.join("prometheus.log")).expect("created");
    let started = Command::new("prometheus")
        .arg(format!("--config.file={}", file.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            within.join("data").display()
        ))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn();
    match started {
        Ok(child) => Some(Running(child)),
        Err(error) => {
            eprintln!("left out: prometheus cannot be started ({error}); make test installs it");
            None
        }
    }
}

/// Whether there is a number among the values of a result.
fn has_data(result: &Value) -> bool {
    let is_number = |point: &Value| {
        let text = point[1].as_str().unwrap_or_default();
        text.parse::<f64>().is_ok_and(f64::is_finite)
    };
    let series = result.as_array().into_iter().flatten();
    let mut points = series.flat_map(|series| match series["values"].as_array() {
        Some(values) => values.iter().collect(),
        None => vec![&series["value"]],
    });
    points.any(is_number)
}

fn secs(millis: i64) -> String {
    format!("{}.{:03}", millis / 1_000, millis % 1_000)
}

// === impl Prometheus ===

impl Prometheus {
    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let url = Url::parse_with_params(&format!("{}{path}", self.url), parameters);
        let request = self.client.get(url.expect("an address"));
        let response = request.send().await.map_err(|error| error.to_string())?;
        let text = response.text().await.map_err(|error| error.to_string())?;
        let answer: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        match answer["status"] == "success" {
            true => Ok(answer["data"].clone()),
            false => Err(answer["error"].to_string()),
        }
    }

    /// What is wrong with a query; `None` where it gives data.
    async fn complaint(&self, query: &Query) -> Option<String> {
        let text = self.filled.fill(&query.text);
        let (from, until) = (secs(self.from), secs(self.until));
        let asked = match query.is_instant {
            true => {
                self.ask("/api/v1/query", &[("query", &text), ("time", &until)])
                    .await
            }
            false => {
                let step = format!("{SCRAPE_MILLIS}ms");
                let range = [
                    ("query", text.as_str()),
                    ("start", &from),
                    ("end", &until),
                    ("step", &step),
                ];
                self.ask("/api/v1/query_range", &range).await
            }
        };
        let place = &query.place;
        match asked {
            Err(error) => Some(format!("{place}: {error}: {text}")),
            Ok(data) if has_data(&data["result"]) => None,
            Ok(_) => Some(format!("{place}: no data: {text}")),
        }
    }

    /// What is wrong with a board's queries and variables.
    async fn complaints(&self, board: &Value) -> Vec<String> {
        let mut found = Vec::new();
        for query in queries(board) {
            found.extend(self.complaint(&query).await);
        }
        for variable in variables(board).filter(|it| it["type"] == "query") {
            let name = &variable["name"];
            let (selector, label) = label_values(query_of(variable)).expect("as `lint` has it");
            let selector = self.filled.fill(selector);
            let path = format!("/api/v1/label/{label}/values");
            match self.ask(&path, &[("match[]", &selector)]).await {
                Ok(values) if values.as_array().is_some_and(|list| !list.is_empty()) => {}
                other => found.push(format!("variable {name}: {other:?}")),
            }
        }
        found
    }

    /// Waits until a query gives at least so much.
    async fn until(&self, query: &str, least: f64) {
        let mut beat = tokio::time::interval(Duration::from_millis(SCRAPE_MILLIS));
        let seen = async {
            loop {
                beat.tick().await;
                let data = self.ask("/api/v1/query", &[("query", query)]).await;
                let value = data.map(|data| data["result"][0]["value"][1].clone());
                let number = value
                    .ok()
                    .and_then(|text| text.as_str()?.parse::<f64>().ok());
                if number.is_some_and(|number| number >= least) {
                    return;
                }
            }
        };
        let seen = tokio::time::timeout(PATIENCE, seen).await;
        assert!(seen.is_ok(), "{query} was not {least} in time");
    }
}

/// A davy after its day, and the Prometheus that saw it; `None` where that is not installed.
async fn after_a_day(within: &Path, stop: &CancellationToken) -> Option<Prometheus> {
    let port = free_port();
    let daemon = day::davy(within, port, stop).await;
    let running = start(within, port, &daemon.url)?;
    let from = now_millis();
    let mut prometheus = Prometheus {
        url: format!("http://127.0.0.1:{port}"),
        client: daemon.client.clone(),
        filled: Filled {
            job: "davy",
            rate_interval_secs: 4 * SCRAPE_MILLIS / 1_000,
            range_secs: 0,
        },
        from,
        until: from,
        _running: running,
    };
    let quiet = day::open(&daemon).await;
    prometheus
        .until("count(davy_verdicts_total{plan=\"checkout\"})", 1.0)
        .await;
    day::play(&daemon, &quiet).await;
    prometheus
        .until("sum(davy_verdicts_total)", day::VERDICTS as f64)
        .await;
    let ended = "sum(davy_webhook_attempts_total{outcome=~\"delivered|dead\"})";
    prometheus.until(ended, 2.0 * day::VERDICTS as f64).await;
    prometheus
        .until(
            "sum(davy_ingest_requests_total{format=\"remote_write_1\"})",
            1.0,
        )
        .await;
    prometheus.until = now_millis();
    let range_millis = (prometheus.until - from).unsigned_abs();
    prometheus.filled.range_secs = range_millis.div_ceil(1_000) + 1;
    check_figures(&prometheus).await;
    daemon.stop().await;
    Some(prometheus)
}

/// What was counted of the day.
async fn check_figures(prometheus: &Prometheus) {
    for (query, expected) in [
        ("davy_analyses_started_total{plan=\"checkout\"}", 5),
        ("davy_verdicts_total{verdict=\"pass\"}", 1),
        ("davy_verdicts_total{verdict=\"fail\"}", 2),
        ("davy_verdicts_total{reason=\"cancelled\"}", 1),
        // Of the cancelled one davy came to no verdict of its own.
        ("davy_changes_judged_total", 5),
        ("davy_changes_judged_total{service=\"checkout\"}", 2),
        ("davy_changes_failed_total", 2),
        ("davy_changes_failed_total{service=\"cart\"}", 1),
        ("davy_detection_latency_seconds_count", 2),
        (
            "davy_detection_since_step_seconds_count{service=\"checkout\"}",
            1,
        ),
        ("davy_detection_evidence_seconds_count", 2),
        ("davy_change_outcomes_total", 4),
        (
            "davy_change_outcomes_total{service=\"checkout\",outcome=\"incident\"}",
            1,
        ),
        (
            "davy_change_outcomes_replaced_total{outcome=\"promoted\"}",
            1,
        ),
        ("davy_decisions_total", 6),
        ("davy_decisions_total{decision=\"rollback\"}", 2),
        (
            "davy_overrides_total{verdict=\"fail\",decision=\"promote\"}",
            1,
        ),
        ("davy_overrides_total", 2),
        (
            "davy_webhook_rollbacks_queued_total{endpoint=\"deployer\"}",
            2,
        ),
        (
            "davy_webhook_rollbacks_total{endpoint=\"deployer\",outcome=\"delivered\"}",
            2,
        ),
        (
            "davy_webhook_rollbacks_total{endpoint=\"gone\",outcome=\"dead\"}",
            2,
        ),
        ("davy_audit_rows_total{kind=\"verdict.final\"}", 6),
        ("davy_audit_rows_total{kind=\"change.outcome\"}", 4),
        ("davy_audit_missing_total", 0),
        ("davy_time_to_verdict_seconds_count", 6),
        ("davy_pull_source_up", 1),
    ] {
        let query = format!("sum({query})");
        let data = prometheus.ask("/api/v1/query", &[("query", &query)]).await;
        let value = data.expect("an answer")["result"][0]["value"][1].clone();
        assert_eq!(value, json!(expected.to_string()), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_gives_data_of_a_day_and_a_renamed_metric_is_found() {
    let within = tempfile::tempdir().expect("a folder");
    let stop = CancellationToken::new();
    let Some(prometheus) = after_a_day(within.path(), &stop).await else {
        return;
    };
    for name in BOARDS {
        let complaints = prometheus.complaints(&board(name)).await;
        assert_eq!(complaints, Vec::<String>::new(), "{name}");
    }
    let text = board("debug").to_string();
    let renamed = text.replace("davy_looks_total", "davy_look_total");
    assert_ne!(renamed, text);
    let renamed = serde_json::from_str(&renamed).expect("JSON");
    let complaints = prometheus.complaints(&renamed).await;
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    assert!(
        complaints[0].starts_with("panel \"Looks\" A: no data"),
        "{complaints:?}"
    );
    let broken = text.replace("sum (increase(", "sum (increase((");
    let broken = serde_json::from_str(&broken).expect("JSON");
    let complaints = prometheus.complaints(&broken).await;
    assert!(
        complaints.iter().any(|told| told.contains("parse error")),
        "{complaints:?}"
    );
    let rules = prometheus.ask("/api/v1/rules", &[]).await.expect("rules");
    let rules = rules["groups"].as_array().expect("groups").iter();
    let rules = rules.flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default());
    let rules: Vec<Value> = rules.collect();
    assert!(rules.len() > 20, "{rules:?}");
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    stop.cancel();
}
