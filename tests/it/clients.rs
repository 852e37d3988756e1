//! Clients that people have, in Python: OpenTelemetry's SDK exports to davy, and what
//! prometheus_client exposes is scraped and sent on.
//!
//! The services are `tests/clients/*.py`. `tools/python-packages` (which `make test` calls) installs
//! what they need; where that could not be had the tests say that they were left out.

use std::io::{BufRead, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::daemon::{TestDaemon, answer};
use crate::support::{PATIENCE, project_root};

/// A script that runs until the test ends, and the lines it has printed.
pub struct Script {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Script {
    /// Starts one of `tests/clients`; `None` where its packages are not installed.
    fn start(name: &str, arguments: &[&str]) -> Option<Script> {
        let Some(python) = python() else {
            // Straight to standard error: what a passing test prints is not shown.
            let _ = writeln!(
                std::io::stderr(),
                "left out: {name} needs Python packages that are not installed; tools/python-packages does that"
            );
            return None;
        };
        let script = project_root().join("tests/clients").join(name);
        let mut child = Command::new(python)
            .arg(script)
            .args(arguments)
            .env("NO_PROXY", "127.0.0.1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let out = child.stdout.take().expect("piped");
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                kept.lock().expect("unpoisoned").push(line);
            }
        });
        Some(Script { child, lines })
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("unpoisoned").clone()
    }

    /// Its first line, as soon as there is one.
    async fn first_line(&self) -> String {
        let line = async {
            loop {
                if let Some(line) = self.lines().first() {
                    return line.clone();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let line = tokio::time::timeout(PATIENCE, line).await;
        line.expect("the script says something")
    }
}

/// The interpreter that has the packages: in the folder above the tests' binary.
pub fn python() -> Option<PathBuf> {
    let binary = std::env::current_exe().ok()?;
    let folders = binary
        .ancestors()
        .map(|folder| folder.join("python-packages"));
    let mut whole = folders.filter(|folder| folder.join("installed").exists());
    whole.next().map(|folder| folder.join("bin/python"))
}

fn plan(requests: &str, code: &str, histograms: &[&str]) -> String {
    let metric = |(number, name): (usize, &&str)| {
        format!("  slow{number}: {{kind: ratio, above: {{histogram: '{name}', bound: 0.25}}}}\n")
    };
    let metrics: String = histograms.iter().enumerate().map(metric).collect();
    let checks = (0..histograms.len())
        .map(|number| format!("  - {{compare: slow{number}, tolerance: 10pp}}\n"));
    format!(
        "version: davy/v1\nplan: clients\nhorizon: 2m\ntick: 1s\nlateness: 1s\nmin_duration: 3s\n\
         arms: {{baseline: '{{{{baseline}}}}', canary: '{{{{canary}}}}'}}\n\
         metrics:\n  errors: {{kind: ratio, from: counter, bad: '{requests}{{{code}=~\"5..\"}}', total: '{requests}'}}\n\
         \x20 depth: {{kind: gauge, select: 'queue_depth'}}\n{metrics}\
         checks:\n  - {{compare: errors, tolerance: 10pp}}\n  - {{compare: depth, gating: false}}\n{}",
        checks.collect::<String>()
    )
}

/// Starts an analysis of versions RUN-v1 and RUN-v2 by this label; its id.
async fn begin(daemon: &TestDaemon, plan: &str, label: &str, run: &str) -> String {
    let plan = plan
        .replace("'{{baseline}}'", &format!("'{label}=\"{{{{baseline}}}}\"'"))
        .replace("'{{canary}}'", &format!("'{label}=\"{{{{canary}}}}\"'"));
    let arms = json!({"baseline": format!("{run}-v1"), "canary": format!("{run}-v2")});
    let request = json!({"plan": plan, "arms": arms});
    let (status, body) = daemon.post("/v1/analyses", &request).await;
    assert_eq!(status, 201, "{body}");
    body["id"].as_str().expect("an id").to_owned()
}

async fn verdict(daemon: &TestDaemon, id: &str) -> Value {
    let verdict = daemon.final_verdict(id, PATIENCE).await;
    verdict.expect("a verdict in time")
}

/// Every check that decides failed, by about these shares more than the baseline.
fn assert_worse(verdict: &Value, shares: &[f64]) {
    assert_eq!(verdict["verdict"], "fail", "{verdict}");
    let checks = verdict["checks"].as_array().expect("checks");
    let gating = checks.iter().filter(|check| check["gating"] == true);
    for (check, share) in gating.zip(shares) {
        let estimate = check["estimate"].as_f64().expect("an estimate");
        assert!((estimate - share).abs() < 0.02, "{share}: {check}");
    }
    let depth = checks.iter().find(|check| check["check"] == "depth");
    let points = &depth.expect("it is there")["samples"];
    assert!(points["baseline"].as_u64() > Some(0), "{verdict}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_opentelemetry_s_sdk_exports_is_judged() {
    let daemon = TestDaemon::start().await;
    let histograms = [
        "http_server_request_duration_seconds",
        "rpc_latency_seconds",
    ];
    let plan = plan(
        "http_server_requests_total",
        "http_response_status_code",
        &histograms,
    );
    let mut running = Vec::new();
    for temporality in ["cumulative", "delta"] {
        let id = begin(&daemon, &plan, "service_version", temporality).await;
        let arguments = [daemon.url.as_str(), temporality, temporality];
        let Some(script) = Script::start("otlp.py", &arguments) else {
            return;
        };
        running.push((id, script));
    }
    for (id, script) in &running {
        assert_worse(&verdict(&daemon, id).await, &[0.28, 0.36, 0.36]);
        let answers = script.lines();
        assert!(answers.len() > 3, "{answers:?}");
        // The changes of the counter that goes down are refused, all else is taken.
        let is_told = |line: &String| {
            line.starts_with("200 gzip 1 data point ") && line.contains("connections.open")
        };
        assert!(answers.iter().all(is_told), "{answers:?}");
    }
    drop(running);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_prometheus_client_exposes_is_judged() {
    let daemon = TestDaemon::start().await;
    let plan = plan(
        "http_requests_total",
        "code",
        &["http_request_duration_seconds"],
    );
    for (run, content_type) in [
        ("text", "text/plain; version=0.0.4"),
        ("open", "application/openmetrics-text; version=1.0.0"),
    ] {
        let id = begin(&daemon, &plan, "version", run).await;
        let Some(script) = Script::start("exposed.py", &[run]) else {
            return;
        };
        let port = script.first_line().await;
        let mut is_over = false;
        let scraping = async {
            while !is_over {
                let request = daemon
                    .client
                    .get(format!("http://127.0.0.1:{port}/metrics"));
                let page = request.header("accept", content_type).send().await;
                let page = page.expect("it answers");
                let given = page.headers()["content-type"].clone();
                let body = page.text().await.expect("text");
                let is_open = body.ends_with("# EOF\n");
                assert_eq!(is_open, run == "open", "{body}");
                assert!(body.contains("_created"), "{body}");
                let request = daemon.client.post(format!("{}/v1/exposition", daemon.url));
                let request = request.header("content-type", given).body(body);
                let (status, told) = answer(request).await;
                assert_eq!((status, &told["refused"]), (200, &json!(0)), "{told}");
                tokio::time::sleep(Duration::from_millis(250)).await;
                let (_, verdict) = daemon.get(&format!("/v1/analyses/{id}/verdict")).await;
                is_over = verdict["final"] == true;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, scraping).await;
        in_time.expect("a verdict in time");
        assert_worse(&verdict(&daemon, &id).await, &[0.28, 0.36]);
        drop(script);
    }
    daemon.stop().await;
}
