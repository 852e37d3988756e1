//! `davy audit` on the rows of a davy that is killed and started again.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use davy::cli::audit::replay::{Came, compare};
use davy::judge::ENGINE_REVISION;
use serde_json::{Value, json};

use super::{assert_whole, rows_in};
use crate::daemon::{WALK, answer, client};
use crate::restart::Davy;
use crate::support::PATIENCE;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("plans")).expect("made");
    std::fs::write(folder.path().join("plans/walk.yaml"), WALK).expect("written");
    let config = "[server]\nport = 0\n[plans]\ndirectory = \"plans\"\n[store]\npath = \"data\"\n\
                  [log]\nformat = \"json\"\n";
    std::fs::write(folder.path().join("davy.toml"), config).expect("written");
    folder
}

fn audit(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_davy"));
    let command = command.current_dir(folder).arg("audit").args(arguments);
    command.output().expect("it runs")
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), format!("{text}{error}"))
}

async fn post(davy: &Davy, path: &str, body: Value) -> Value {
    let request = client().post(format!("{}{path}", davy.url)).json(&body);
    let (status, body) = answer(request).await;
    assert!(matches!(status, 200..=202), "{path}: {body}");
    body
}

async fn send(davy: &Davy, id: &str, tick: i64) {
    let view = davy.get(&format!("/v1/analyses/{id}")).await;
    let ts = view["started_at"].as_i64().expect("a time") + tick * 100 + 50;
    let mut samples = Vec::new();
    for (arm, factor) in [("baseline", 1.0), ("canary", 1.01)] {
        let values: Vec<f64> = (0..50).map(|n| (100.0 + f64::from(n)) * factor).collect();
        samples.push(
            json!({"analysis": id, "arm": arm, "metric": "latency", "ts": ts, "values": values}),
        );
    }
    post(davy, "/v1/samples", Value::Array(samples)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_davy_wrote_is_whole_and_gives_the_same_again() {
    let folder = folder();
    let davy = Davy::start(folder.path());
    let started = post(
        &davy,
        "/v1/analyses",
        json!({"plan": "walk", "change": {"id": "c"}}),
    )
    .await;
    let id = started["id"].as_str().expect("an id").to_owned();
    let decided = json!({"decision": "rollback", "reason": "smoke", "actor": "ada"});
    post(&davy, &format!("/v1/analyses/{id}/override"), decided).await;
    send(&davy, &id, 0).await;
    drop(davy);
    let davy = Davy::start(folder.path());
    let view = davy.get(&format!("/v1/analyses/{id}")).await;
    assert_eq!(view["override"]["actor"], "ada", "it outlasts a kill");
    for tick in 1..4 {
        send(&davy, &id, tick).await;
    }
    let verdict = format!("/v1/analyses/{id}/verdict");
    let looked = async {
        while davy.get(&verdict).await["checks"][0].is_null() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let looked = tokio::time::timeout(PATIENCE, looked);
    looked.await.expect("a look");
    post(
        &davy,
        &format!("/v1/analyses/{id}/cancel"),
        json!({"actor": "bob"}),
    )
    .await;
    let promote = json!({"decision": "promote", "reason": "looked at it"});
    post(&davy, &format!("/v1/analyses/{id}/override"), promote).await;
    drop(davy);
    let davy = Davy::start(folder.path());
    post(
        &davy,
        "/v1/changes/c/outcome",
        json!({"outcome": "false_alarm"}),
    )
    .await;
    let data = folder.path().join("data");
    assert_whole(&data, &[&id]).await;
    let kinds: Vec<String> = rows_in(&data)
        .await
        .into_iter()
        .map(|row| row.entry.kind)
        .collect();
    let overridden = kinds.iter().filter(|kind| *kind == "analysis.overridden");
    assert_eq!(overridden.count(), 2, "{kinds:?}");

    let server = ["--server", davy.url.as_str()];
    for from in [&["--store", "data"][..], &server[..]] {
        let (code, text) = said(&audit(folder.path(), &[&["verify"][..], from].concat()));
        assert_eq!(code, Some(0), "{text}");
        assert!(
            text.starts_with(&format!("whole: {} rows", kinds.len())),
            "{text}"
        );
        let head = audit(folder.path(), &[&["head"][..], from].concat());
        std::fs::write(folder.path().join("head.json"), &head.stdout).expect("written");
        let export = audit(folder.path(), &[&["export"][..], from].concat());
        std::fs::write(folder.path().join("rows.ndjson"), &export.stdout).expect("written");
        let verify = ["verify", "--file", "rows.ndjson", "--head", "head.json"];
        let (code, text) = said(&audit(folder.path(), &verify));
        assert_eq!(code, Some(0), "{text}");
        let text = String::from_utf8_lossy(&export.stdout).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        let cut = lines[..lines.len() - 1].join("\n");
        std::fs::write(folder.path().join("rows.ndjson"), cut).expect("written");
        let (code, text) = said(&audit(folder.path(), &verify));
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("the tail is cut"), "{text}");
    }
    let replay = [&["replay", id.as_str()][..], &server[..]].concat();
    let (code, text) = said(&audit(folder.path(), &replay));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("equal: "), "{text}");

    see_what_differs(&davy, &data, &id).await;
}

/// The same with a recording, a row or a verdict that somebody changed, and of another engine.
async fn see_what_differs(davy: &Davy, data: &Path, id: &str) {
    let url = format!("{}/v1/analyses/{id}/recording", davy.url);
    let recording = client()
        .get(url)
        .send()
        .await
        .expect("answered")
        .text()
        .await;
    let recording = recording.expect("text");
    let verdict = davy.get(&format!("/v1/analyses/{id}/verdict")).await;
    let mut rows = rows_in(data).await;
    rows.retain(|row| row.entry.analysis.as_deref() == Some(id));
    let found = compare(&recording, &rows, &verdict).expect("it plays");
    assert_eq!(found.result, Came::Equal, "{found:?}");
    // Retention may have taken the first.
    let found = compare(&recording, &rows[1..], &verdict).expect("it plays");
    assert_eq!(found.result, Came::Equal, "{found:?}");
    let mut edited = rows.clone();
    edited[1].entry.verdict_sha256 = Some("0".repeat(64));
    let found = compare(&recording, &edited, &verdict).expect("it plays");
    assert_eq!(found.result, Came::Different);
    assert!(
        found.differences[0].contains("another verdict"),
        "{found:?}"
    );
    let mut told = verdict.clone();
    told["checks"][0]["samples"]["canary"] = json!(1);
    let found = compare(&recording, &rows, &told).expect("it plays");
    assert_eq!(found.differences.len(), 1, "{found:?}");
    assert!(
        found.differences[0].starts_with("$.checks[0].samples.canary: 1 "),
        "{found:?}"
    );
    let faster = recording.replacen("149.0", "150.0", 1);
    assert_ne!(faster, recording);
    let found = compare(&faster, &rows, &verdict).expect("it plays");
    assert_eq!(found.result, Came::Different);
    let other_inputs = found
        .differences
        .iter()
        .any(|text| text.contains("other inputs"));
    assert!(other_inputs, "{found:?}");
    let of = |revision: u32| format!("\"engine_revision\":{revision}");
    let older = recording.replacen(&of(ENGINE_REVISION), &of(ENGINE_REVISION - 1), 1);
    let found = compare(&older, &rows, &told).expect("it plays");
    assert_eq!(
        found.result,
        Came::Different,
        "it is the recording that was changed"
    );
    // Rows of another engine: equal where it judged the same, else nobody's fault.
    let mut before = rows.clone();
    for row in &mut before {
        row.entry.engine_revision -= 1;
    }
    let mut of_older = verdict.clone();
    of_older["engine_revision"] = json!(ENGINE_REVISION - 1);
    let found = compare(&recording, &before, &of_older).expect("it plays");
    assert_eq!(found.result, Came::EngineChanged, "{found:?}");
    let faster = compare(&faster, &before, &of_older).expect("it plays");
    assert_eq!(faster.result, Came::Different, "{faster:?}");
    let running = compare(&recording, &rows[..1], &verdict).expect_err("not final");
    assert!(
        running.to_string().contains("no final verdict"),
        "{running}"
    );
}
