//! The folder of plans changes while davy runs.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::daemon::{WALK, answer, client};
use crate::restart::Davy;
use crate::support::PATIENCE;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("plans")).expect("made");
    write(folder.path(), "walk.yaml", WALK);
    let config = "[server]\nport = 0\n[plans]\ndirectory = \"plans\"\n[log]\nformat = \"json\"\n";
    std::fs::write(folder.path().join("davy.toml"), config).expect("written");
    folder
}

/// Writes a plan as editors do: beside it, and then in its place.
fn write(folder: &Path, name: &str, text: &str) {
    let beside = folder.join("plans").join(format!(".{name}"));
    std::fs::write(&beside, text).expect("written");
    std::fs::rename(&beside, folder.join("plans").join(name)).expect("renamed");
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let held = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let held = tokio::time::timeout(PATIENCE, held).await;
    held.unwrap_or_else(|_| panic!("never: {what}"));
}

async fn metric(davy: &Davy, name: &str) -> f64 {
    let text = client().get(format!("{}/metrics", davy.url)).send().await;
    let text = text.expect("answered").text().await.expect("text");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name} ")));
    let line = line.unwrap_or_else(|| panic!("no {name}"));
    line.parse().expect("a number")
}

async fn hash(davy: &Davy, plan: &str) -> Option<Value> {
    let (status, body) = answer(client().get(format!("{}/v1/plans/{plan}", davy.url))).await;
    (status == 200).then(|| body["plan_hash"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn new_analyses_begin_with_the_plans_of_now_and_running_ones_keep_theirs() {
    let folder = folder();
    let davy = Davy::start(folder.path());
    let first = hash(&davy, "walk").await.expect("a plan");
    assert_eq!(metric(&davy, "davy_plans").await, 1.0);
    let running = davy.begin().await;

    write(folder.path(), "walk.yaml", &WALK.replace("20%", "10%"));
    write(
        folder.path(),
        "other.yaml",
        &WALK.replace("plan: walk", "plan: other"),
    );
    until("the changed plan", async || {
        hash(&davy, "walk").await.as_ref() != Some(&first)
    })
    .await;
    until("the new plan", async || {
        hash(&davy, "other").await.is_some()
    })
    .await;
    assert_eq!(metric(&davy, "davy_plans").await, 2.0);
    let second = hash(&davy, "walk").await.expect("a plan");
    let begun = davy.begin().await;
    for (id, expected) in [(&running, &first), (&begun, &second)] {
        let view = davy.get(&format!("/v1/analyses/{id}")).await;
        assert_eq!(&view["plan_hash"], expected);
    }

    // One broken file keeps all plans as they were, also those that changed with it.
    write(folder.path(), "other.yaml", "plan: other\nhorizon: soon\n");
    write(folder.path(), "walk.yaml", &WALK.replace("20%", "30%"));
    until("a failure", async || {
        metric(&davy, "davy_plan_reload_failures_total").await > 0.0
    })
    .await;
    assert_eq!(hash(&davy, "walk").await, Some(second.clone()));
    assert!(hash(&davy, "other").await.is_some());
    // Told once, not every second; and again where somebody asks.
    let told = metric(&davy, "davy_plan_reload_failures_total").await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(metric(&davy, "davy_plan_reload_failures_total").await, told);
    hang_up(&davy);
    until("a second failure", async || {
        metric(&davy, "davy_plan_reload_failures_total").await > told
    })
    .await;

    // Mended by its removal.
    std::fs::remove_file(folder.path().join("plans/other.yaml")).expect("removed");
    until("the plan is gone", async || {
        hash(&davy, "other").await.is_none()
    })
    .await;
    assert_ne!(hash(&davy, "walk").await, Some(second));
    let gone = davy.post("/v1/analyses", &json!({"plan": "other"})).await;
    assert_eq!((gone.0, &gone.1["code"]), (404, &json!("plan_not_found")));
}

fn hang_up(davy: &Davy) {
    let id = davy.child.id().to_string();
    let sent = Command::new("kill").args(["-HUP", &id]).status();
    assert!(sent.expect("kill runs").success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_no_source_can_serve_is_refused_again_as_at_the_start() {
    let folder = folder();
    let davy = Davy::start(folder.path());
    let pulled = "version: davy/v1\nplan: pulled\nhorizon: 1m\ntick: 10s\nmetrics:\n  \
                  depth: {kind: gauge, prometheus: 'depth{ {{arm}} }'}\n\
                  arms: {baseline: 'pod=\"a\"', canary: 'pod=\"b\"'}\n\
                  checks: [{compare: depth, tolerance: 5%}]\n";
    write(folder.path(), "pulled.yaml", pulled);
    until("a failure", async || {
        metric(&davy, "davy_plan_reload_failures_total").await > 0.0
    })
    .await;
    assert!(hash(&davy, "pulled").await.is_none());
    assert!(hash(&davy, "walk").await.is_some());
}
