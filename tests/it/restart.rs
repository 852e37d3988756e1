//! A davy with a store is killed, and another takes its place.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use sqlx::any::AnyPoolOptions;
use tokio::sync::mpsc;

use crate::crash::now_millis;
use crate::daemon::{WALK, answer, client, value_line};
use crate::support::PATIENCE;

/// Who is notified: what it answers, and whom it tells of the ids that it took.
#[derive(Clone)]
struct Receiver {
    answer: Arc<AtomicU16>,
    taken: mpsc::UnboundedSender<String>,
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap) -> StatusCode {
    let id = headers["webhook-id"].to_str().expect("text").to_owned();
    let answer = receiver.answer.load(Ordering::SeqCst);
    if answer == 204 {
        receiver.taken.send(id).expect("the test listens");
    }
    StatusCode::from_u16(answer).expect("a status")
}

/// A davy in a process of its own, killed with this.
pub struct Davy {
    pub child: Child,
    pub url: String,
}

impl Drop for Davy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Davy {
    pub fn start(folder: &Path) -> Davy {
        let mut command = Command::new(env!("CARGO_BIN_EXE_davy"));
        command.args(["serve", "--config", "davy.toml"]);
        Davy::start_by(command.current_dir(folder))
    }

    /// As [`Davy::start`], by a command of one's own that becomes davy.
    pub fn start_by(command: &mut Command) -> Davy {
        let child = command.stderr(Stdio::piped()).spawn();
        let mut child = child.expect("davy starts");
        let log = BufReader::new(child.stderr.take().expect("piped"));
        let mut lines = log.lines().map_while(Result::ok);
        let mut said = String::new();
        let ready = lines.by_ref().find(|line| {
            said.push_str(line);
            line.contains("\"message\":\"ready\"")
        });
        let ready = ready.unwrap_or_else(|| panic!("never ready: {said}"));
        let ready: Value = serde_json::from_str(&ready).expect("the log is JSON");
        let url = format!("http://{}", ready["address"].as_str().expect("an address"));
        // A log that nobody reads would hold it up.
        std::thread::spawn(move || lines.for_each(drop));
        Davy { child, url }
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = answer(client().get(format!("{}{path}", self.url))).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        answer(client().post(format!("{}{path}", self.url)).json(body)).await
    }

    pub async fn until_ready_is(&self, expected: u16) {
        let ready = async {
            while answer(client().get(format!("{}/readyz", self.url))).await.0 != expected {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let ready = tokio::time::timeout(PATIENCE, ready).await;
        ready.expect("in time");
    }

    pub async fn begin(&self) -> String {
        let (status, body) = self.post("/v1/analyses", &json!({"plan": "walk"})).await;
        assert_eq!(status, 201, "{body}");
        body["id"].as_str().expect("an id").to_owned()
    }
}

async fn folder_with_webhook() -> (
    tempfile::TempDir,
    Arc<AtomicU16>,
    mpsc::UnboundedReceiver<String>,
) {
    let (taken, arrivals) = mpsc::unbounded_channel();
    let answer = Arc::new(AtomicU16::new(503));
    let receiver = Receiver {
        answer: answer.clone(),
        taken,
    };
    let router = Router::new().fallback(receive).with_state(receiver);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, router).await });
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("plans")).expect("made");
    std::fs::write(folder.path().join("plans/walk.yaml"), WALK).expect("written");
    let config = format!(
        "[server]\nport = 0\n[plans]\ndirectory = \"plans\"\n[store]\npath = \"data\"\n\
         [log]\nformat = \"json\"\n[webhook]\nbackoff_initial_ms = 10\nbackoff_max_ms = 50\n\
         [[webhooks]]\nname = \"hook\"\nurl = \"http://{address}/\"\n\
         events = [\"analysis.started\", \"verdict.final\"]\n"
    );
    std::fs::write(folder.path().join("davy.toml"), config).expect("written");
    (folder, answer, arrivals)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_is_still_so_after_a_kill_and_what_waited_arrives() {
    let (folder, receiver_answers, mut arrivals) = folder_with_webhook().await;
    let davy = Davy::start(folder.path());
    let ended = davy.begin().await;
    let (status, _) = davy
        .post(&format!("/v1/analyses/{ended}/cancel"), &json!({}))
        .await;
    assert_eq!(status, 200);
    let running = davy.begin().await;
    let told = davy.get(&format!("/v1/analyses/{ended}/verdict")).await;
    let shown = davy.get(&format!("/v1/analyses/{ended}")).await;
    // Not a signal that it could answer; and what it had been sent is lost.
    drop(davy);
    std::fs::remove_dir_all(folder.path().join("data/log")).expect("it was there");

    receiver_answers.store(204, Ordering::SeqCst);
    let davy = Davy::start(folder.path());
    assert_eq!(
        davy.get(&format!("/v1/analyses/{ended}/verdict")).await,
        told
    );
    assert_eq!(davy.get(&format!("/v1/analyses/{ended}")).await, shown);
    let verdict = davy
        .get(&format!("/v1/analyses/{running}/verdict?wait=20s"))
        .await;
    let facts =
        ["verdict", "final", "decision", "reason", "status"].map(|key| verdict[key].clone());
    let expected = json!(["inconclusive", true, "hold", "abandoned", "final"]);
    assert_eq!(json!(facts), expected);
    assert!(
        verdict["message"]
            .as_str()
            .expect("text")
            .contains("start the analysis again")
    );
    let list = davy.get("/v1/analyses?verdict=inconclusive").await;
    assert_eq!(list["analyses"].as_array().map(Vec::len), Some(2), "{list}");
    let mut taken = Vec::new();
    while taken.len() < 4 {
        let next = tokio::time::timeout(PATIENCE, arrivals.recv()).await;
        taken.push(next.expect("in time").expect("open"));
    }
    for analysis in [&ended, &running] {
        let of_it: Vec<&String> = taken
            .iter()
            .filter(|id| id.starts_with(analysis.as_str()))
            .collect();
        assert_eq!(
            of_it,
            [&format!("{analysis}-1-hook"), &format!("{analysis}-2-hook")]
        );
    }
    drop(davy);
    // Ended once, and not again with every start.
    let davy = Davy::start(folder.path());
    assert_eq!(
        davy.get(&format!("/v1/analyses/{running}/verdict")).await,
        verdict
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_davy_that_cannot_write_takes_nothing_until_it_can() {
    let (folder, _, _arrivals) = folder_with_webhook().await;
    let davy = Davy::start(folder.path());
    let id = davy.begin().await;
    sqlx::any::install_default_drivers();
    let address = format!("sqlite:{}/data/davy.db", folder.path().display());
    let pool = AnyPoolOptions::new()
        .connect(&address)
        .await
        .expect("opens");
    let full =
        "CREATE TRIGGER disk_full BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'full'); END";
    sqlx::raw_sql(full).execute(&pool).await.expect("runs");
    let cancel = client().post(format!("{}/v1/analyses/{id}/cancel", davy.url));
    let cancelling = tokio::spawn(answer(cancel.json(&json!({}))));
    davy.until_ready_is(503).await;
    let (status, body) = answer(client().get(format!("{}/readyz", davy.url))).await;
    assert_eq!((status, &body["code"]), (503, &json!("store_unavailable")));
    assert!(body["detail"].as_str().expect("text").contains("database"));
    let (status, body) = davy.post("/v1/analyses", &json!({"plan": "walk"})).await;
    assert_eq!((status, &body["code"]), (503, &json!("store_unavailable")));
    // What was written is still answered.
    let verdict = davy.get(&format!("/v1/analyses/{id}/verdict")).await;
    assert_eq!(verdict["status"], "pending");
    sqlx::raw_sql("DROP TRIGGER disk_full")
        .execute(&pool)
        .await
        .expect("runs");
    pool.close().await;
    let (status, body) = cancelling.await.expect("no panic");
    assert_eq!(status, 200, "{body}");
    davy.until_ready_is(200).await;
    let verdict = davy.get(&format!("/v1/analyses/{id}/verdict")).await;
    assert_eq!(verdict["reason"], "cancelled");
    davy.begin().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_davy_that_is_stopped_has_nothing_to_take_again_and_keeps_recordings() {
    let (folder, _, _arrivals) = folder_with_webhook().await;
    let mut davy = Davy::start(folder.path());
    let (ended, running) = (davy.begin().await, davy.begin().await);
    for id in [&ended, &running] {
        let line = value_line(id, "canary", now_millis(), 7.25);
        let request = client().post(format!("{}/v1/samples", davy.url));
        let request = request.header("content-type", "application/x-ndjson");
        let (status, body) = answer(request.body(line)).await;
        assert_eq!(status, 200, "{body}");
    }
    let cancel = format!("/v1/analyses/{ended}/cancel");
    assert_eq!(davy.post(&cancel, &json!({})).await.0, 200);
    let recorded = async |davy: &Davy, id: &str| {
        let request = client().get(format!("{}/v1/analyses/{id}/recording", davy.url));
        let text = request.send().await.expect("an answer").text().await;
        text.expect("text")
    };
    let before = recorded(&davy, &ended).await;
    assert!(before.contains("7.25"), "{before}");
    let pid = davy.child.id().to_string();
    let told = Command::new("kill").args(["-TERM", &pid]).status();
    assert!(told.expect("kill runs").success());
    let exit = davy.child.wait().expect("it ends");
    assert_eq!(exit.code(), Some(0));

    let davy = Davy::start(folder.path());
    assert_eq!(recorded(&davy, &ended).await, before);
    let after = recorded(&davy, &running).await;
    assert!(
        after.contains("7.25") && after.contains("resumed"),
        "{after}"
    );
    let names = std::fs::read_dir(folder.path().join("data/log")).expect("a folder");
    let names = names.map(|entry| entry.expect("readable").path());
    let checkpoints = names.filter(|path| path.extension().is_some_and(|end| end == "checkpoint"));
    assert_eq!(checkpoints.count(), 1);
    let shown = davy.get(&format!("/v1/analyses/{running}")).await;
    assert_eq!(shown["received"][1]["canary"], 1, "{shown}");
}

/// What an earlier process had is put back: files of its log.
fn copy_log(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("readable").path();
        std::fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("copied");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_older_than_its_database_changes_no_verdict() {
    let (folder, receiver_answers, mut arrivals) = folder_with_webhook().await;
    receiver_answers.store(204, Ordering::SeqCst);
    let davy = Davy::start(folder.path());
    let (ended, running) = (davy.begin().await, davy.begin().await);
    let (log, copy) = (folder.path().join("data/log"), folder.path().join("copy"));
    copy_log(&log, &copy);
    let cancel = format!("/v1/analyses/{ended}/cancel");
    assert_eq!(davy.post(&cancel, &json!({})).await.0, 200);
    let told = davy.get(&format!("/v1/analyses/{ended}/verdict")).await;
    drop(davy);
    copy_log(&copy, &log);
    let davy = Davy::start(folder.path());
    let verdict = davy.get(&format!("/v1/analyses/{ended}/verdict")).await;
    assert_eq!(verdict, told);
    let other = davy.get(&format!("/v1/analyses/{running}/verdict")).await;
    assert_eq!(other["reason"], "abandoned", "{other}");
    // It goes on from there, as often as it is started.
    let third = davy.begin().await;
    drop(davy);
    let davy = Davy::start(folder.path());
    let verdict = davy.get(&format!("/v1/analyses/{third}/verdict")).await;
    assert_eq!(verdict["status"], "pending");
    let mut taken = Vec::new();
    while taken.len() < 5 {
        let next = tokio::time::timeout(PATIENCE, arrivals.recv()).await;
        taken.push(next.expect("in time").expect("open"));
    }
    taken.sort();
    let mut expected = vec![format!("{third}-1-hook")];
    for id in [&ended, &running] {
        expected.extend([format!("{id}-1-hook"), format!("{id}-2-hook")]);
    }
    expected.sort();
    assert_eq!(taken, expected);
}
