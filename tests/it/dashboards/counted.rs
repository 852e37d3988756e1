//! What happened counts once, by the davy that wrote it, however often davy is killed and started.

use std::path::Path;

use serde_json::{Value, json};

use crate::daemon::{WALK, client};
use crate::restart::Davy;

const CONFIG: &str = "[server]\nport = 0\n[plans]\ndirectory = \"plans\"\n[store]\npath = \"data\"\n\
    [telemetry]\nservice_labels = [\"cart\"]\n[log]\nformat = \"json\"\n";

const STARTED: &str = "davy_analyses_started_total{plan=\"walk\"}";
const CANCELLED: &str =
    "davy_verdicts_total{plan=\"walk\",reason=\"cancelled\",verdict=\"inconclusive\"}";
const ABANDONED: &str =
    "davy_verdicts_total{plan=\"walk\",reason=\"abandoned\",verdict=\"inconclusive\"}";
const HELD: &str = "davy_decisions_total{by=\"davy\",decision=\"hold\",service=\"cart\"}";
const ROWS: &str = "davy_audit_rows_total{kind=\"verdict.final\"}";
const MISSING: &str = "davy_audit_missing_total";
const PROMOTED: &str = "davy_change_outcomes_total{outcome=\"promoted\",service=\"cart\"}";
const REPLACED: &str = "davy_change_outcomes_replaced_total{outcome=\"promoted\",service=\"cart\"}";
const INCIDENT: &str = "davy_change_outcomes_total{outcome=\"incident\",service=\"cart\"}";

/// What these series are at.
async fn figures<const N: usize>(davy: &Davy, series: [&str; N]) -> [u64; N] {
    let answer = client().get(format!("{}/metrics", davy.url)).send().await;
    let text = answer.expect("answered").text().await.expect("text");
    series.map(|name| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let line = line.unwrap_or_else(|| panic!("{name} is not there: {text}"));
        line.trim().parse().expect("a number")
    })
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |path: &Path, text: &str| std::fs::write(path, text).expect("written");
    std::fs::create_dir(folder.path().join("plans")).expect("made");
    write(&folder.path().join("plans/walk.yaml"), WALK);
    write(&folder.path().join("davy.toml"), CONFIG);
    folder
}

async fn begin(davy: &Davy, change: &str) -> String {
    let change = json!({"id": change, "service": "cart"});
    let request = json!({"plan": "walk", "change": change});
    let (status, body) = davy.post("/v1/analyses", &request).await;
    assert_eq!(status, 201, "{body}");
    body["id"].as_str().expect("an id").to_owned()
}

async fn ask(davy: &Davy, path: &str, body: Value) {
    let (status, told) = davy.post(path, &body).await;
    assert_eq!(status, 200, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_counts_once_over_kills() {
    let folder = folder();
    let davy = Davy::start(folder.path());
    assert_eq!(
        figures(&davy, [STARTED, CANCELLED]).await,
        [0, 0],
        "from the start"
    );
    let (ended, running) = (begin(&davy, "c-1").await, begin(&davy, "c-2").await);
    ask(&davy, &format!("/v1/analyses/{ended}/cancel"), json!({})).await;
    ask(
        &davy,
        "/v1/changes/c-1/outcome",
        json!({"outcome": "promoted"}),
    )
    .await;
    // Nobody but davy itself told this; and the same again is no other.
    ask(
        &davy,
        "/v1/changes/c-1/outcome",
        json!({"outcome": "promoted"}),
    )
    .await;
    let all = [STARTED, CANCELLED, HELD, ROWS, PROMOTED, MISSING];
    assert_eq!(figures(&davy, all).await, [2, 1, 1, 1, 1, 0]);
    drop(davy);

    let davy = Davy::start(folder.path());
    assert_eq!(
        figures(&davy, all).await,
        [0; 6],
        "written by the one before"
    );
    ask(&davy, &format!("/v1/analyses/{running}/cancel"), json!({})).await;
    ask(
        &davy,
        "/v1/changes/c-1/outcome",
        json!({"outcome": "incident"}),
    )
    .await;
    assert_eq!(figures(&davy, all).await, [0, 1, 1, 1, 0, 0]);
    // What was said before the kill is known to be replaced.
    assert_eq!(figures(&davy, [REPLACED, INCIDENT]).await, [1, 1]);
    begin(&davy, "c-3").await;
    drop(davy);

    // Without its log what ran cannot go on: its end is new, and counts once.
    std::fs::remove_dir_all(folder.path().join("data/log")).expect("it was there");
    let davy = Davy::start(folder.path());
    let all = [STARTED, CANCELLED, ABANDONED, HELD, ROWS, MISSING];
    assert_eq!(figures(&davy, all).await, [0, 0, 1, 1, 1, 0]);
    drop(davy);
    let davy = Davy::start(folder.path());
    assert_eq!(figures(&davy, all).await, [0; 6]);
}
