//! One's own past deployments: what a daemon judged, under another plan, with outcomes as truth.

use std::time::Duration;

use clap::Parser as _;
use davy::cli::backtest;
use davy::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};

use super::Line;
use crate::daemon::{TestDaemon, value_line};

/// A plan that is through in three seconds.
fn plan(tolerance: &str) -> String {
    format!(
        "version: davy/v1\nplan: brief\nhorizon: 3s\ntick: 500ms\nlateness: 100ms\n\
         min_duration: 500ms\nmetrics: {{latency: {{kind: latency, from: values}}}}\n\
         checks: [{{compare: latency, tolerance: {tolerance}}}]\n"
    )
}

/// Begins one, of a service of its own: a new revision would end the one before.
async fn begin(daemon: &TestDaemon, change: &str, plan: &str) -> String {
    let change = json!({"id": change, "service": format!("cart-{change}"), "revision": change});
    let body = json!({"plan": plan, "change": change});
    let (status, answer) = daemon.post("/v1/analyses", &body).await;
    assert_eq!(status, 201, "{answer}");
    answer["id"].as_str().expect("an id").to_owned()
}

/// Sends what canaries give that are so many times as slow, until the analyses are final.
async fn feed(daemon: &TestDaemon, analyses: &[(String, f64)]) {
    for _ in 0..200 {
        let mut lines = String::new();
        for (id, factor) in analyses {
            let now = SystemClock.now().millis();
            for number in 0..60 {
                let value = 100.0 + f64::from(number * 7 % 31);
                lines.push_str(&value_line(id, "baseline", now, value));
                lines.push_str(&value_line(id, "canary", now, value * factor));
            }
        }
        let (status, answer) = daemon.send(&lines).await;
        assert!(status < 300, "{answer}");
        let mut are_final = true;
        for (id, _) in analyses {
            let (_, view) = daemon.get(&format!("/v1/analyses/{id}")).await;
            are_final &= view["status"] == "final";
        }
        if are_final {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("they do not end");
}

/// What the command prints, and why it failed.
async fn run(daemon: &TestDaemon, more: &[&str]) -> Result<String, String> {
    let server = daemon.url.clone();
    let first = ["backtest", "--from-store", "--server", &server];
    let line = Line::try_parse_from(first.iter().chain(more)).map_err(|error| error.to_string())?;
    let ran = tokio::task::spawn_blocking(move || {
        let mut out = Vec::new();
        backtest::run(&line.args, &mut out).map(|_| out)
    });
    let out = ran
        .await
        .expect("it ends")
        .map_err(|error| format!("{error:#}"))?;
    Ok(String::from_utf8(out).expect("UTF-8"))
}

#[tokio::test(flavor = "multi_thread")]
async fn past_analyses_are_judged_anew_and_outcomes_are_the_truth() {
    let daemon = TestDaemon::start().await;
    let told = run(&daemon, &[]).await.expect_err("nothing is there");
    assert!(told.contains("no final analysis of the last 30d"), "{told}");

    let strict = plan("10%");
    let mut analyses = Vec::new();
    for (change, factor) in [
        ("slow", 3.0),
        ("same", 1.0),
        ("flaky", 3.0),
        ("silent", 1.0),
    ] {
        analyses.push((begin(&daemon, change, &strict).await, factor));
    }
    feed(&daemon, &analyses).await;
    for (change, outcome) in [
        ("slow", "incident"),
        ("same", "promoted"),
        ("flaky", "false_alarm"),
    ] {
        let path = format!("/v1/changes/{change}/outcome");
        let (status, answer) = daemon.post(&path, &json!({"outcome": outcome})).await;
        assert_eq!(status, 200, "{answer}");
    }
    let running = begin(&daemon, "running", &strict).await;

    let report = run(&daemon, &["--output", "json"]).await.expect("it runs");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let cases = report["cases"].as_array().expect("cases");
    let found: Vec<(String, &str, &str, &str, bool)> = cases
        .iter()
        .rev()
        .map(|case| {
            let text = |key: &str| case[key].as_str().expect("a text");
            let name = text("case").rsplit(' ').next().expect("a revision");
            let acceptable = case["acceptable"].as_bool().expect("told");
            (
                name.to_owned(),
                text("truth"),
                text("verdict"),
                text("then"),
                acceptable,
            )
        })
        .collect();
    let expected = [
        ("slow", "degraded", "fail", "fail", true),
        ("same", "healthy", "pass", "pass", true),
        ("flaky", "healthy", "fail", "fail", false),
        ("silent", "unknown", "pass", "pass", true),
    ];
    let expected = expected.map(|(name, truth, verdict, then, acceptable)| {
        (name.to_owned(), truth, verdict, then, acceptable)
    });
    assert_eq!(found, expected);
    assert!(
        cases
            .iter()
            .all(|case| !case["case"].to_string().contains(&running))
    );
    let summary = &report["summary"];
    assert_eq!(
        (&summary["cases"], &summary["scored"]),
        (&json!(4), &json!(3))
    );
    assert_eq!(summary["false_fails"], 1);

    // Under a plan that tolerates it the slow one is no fail any more, and that is not acceptable
    // where it passes.
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lax.yaml");
    std::fs::write(&path, plan("500%")).expect("written");
    let lax = ["--plan", path.to_str().expect("UTF-8"), "--output", "json"];
    let report = run(&daemon, &lax).await.expect("it runs");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let summary = &report["summary"];
    assert_eq!(summary["by_truth"]["degraded"]["fail"], 0, "{summary}");
    assert_eq!(summary["by_truth_then"]["degraded"]["fail"], 1, "{summary}");
    assert_eq!(
        summary["by_truth_then"]["healthy"]["unacceptable"], 1,
        "{summary}"
    );

    let text = run(&daemon, &["--explain"]).await.expect("it runs");
    assert!(text.contains("truth, as judged then"), "{text}");
    assert!(
        text.contains("cart-flaky flaky (healthy): fail, "),
        "{text}"
    );
    assert!(text.contains("(unknown, not scored)"), "{text}");
    let only = run(&daemon, &["--service", "cart-same", "--output", "json"]).await;
    let only: Value = serde_json::from_str(&only.expect("it runs")).expect("JSON");
    assert_eq!(only["summary"]["cases"], 1);
    let none = run(&daemon, &["--judged-by", "other"])
        .await
        .expect_err("none");
    assert!(none.contains("no final analysis"), "{none}");
    let alone = Line::try_parse_from(["backtest", "--splits", "x", "--since", "1d"]);
    assert!(alone.is_err(), "--since is of --from-store");
    daemon.stop().await;
}
