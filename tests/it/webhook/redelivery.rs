//! Dead letters over HTTP and from the command line.

use std::process::{Command, Output};

use serde_json::{Value, json};

use super::{Arrived, daemon_with, entry, receiver};
use crate::daemon::TestDaemon;

fn webhooks(daemon: &TestDaemon, arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_davy"))
        .arg("webhooks")
        .args(arguments)
        .args(["--server", &daemon.url])
        .output();
    output.expect("davy runs")
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// A daemon that tells `e` of starts, and so many dead letters of it.
async fn with_letters(
    count: usize,
) -> (
    TestDaemon,
    tokio::sync::mpsc::UnboundedReceiver<Arrived>,
    Vec<String>,
) {
    let (url, mut arrived) = receiver(&vec![410; count]).await;
    let toml = format!("name = \"e\"\nurl = \"{url}\"\nevents = [\"analysis.started\"]");
    let daemon = daemon_with(vec![entry(&toml)]).await;
    let mut ids = Vec::new();
    for _ in 0..count {
        daemon.begin().await;
        let request = arrived.recv().await.expect("an attempt");
        ids.push(
            request.headers["webhook-id"]
                .to_str()
                .expect("text")
                .to_owned(),
        );
    }
    while letters(&daemon, "").await.len() < count {
        tokio::task::yield_now().await;
    }
    (daemon, arrived, ids)
}

async fn letters(daemon: &TestDaemon, query: &str) -> Vec<Value> {
    let (status, page) = daemon.get(&format!("/v1/dead-letters{query}")).await;
    assert_eq!(status, 200, "{page}");
    page["dead_letters"].as_array().expect("a list").clone()
}

fn id_of(request: Option<Arrived>) -> String {
    let request = request.expect("a delivery");
    request.headers["webhook-id"]
        .to_str()
        .expect("text")
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_is_sent_again_under_its_id_and_then_there_is_none() {
    let (daemon, mut arrived, ids) = with_letters(1).await;
    assert_eq!(letters(&daemon, "?endpoint=e").await.len(), 1);
    assert_eq!(letters(&daemon, "?endpoint=f").await.len(), 0);
    let path = format!("/v1/dead-letters/{}/redeliver", ids[0]);
    let (status, told) = daemon.post(&path, &json!({})).await;
    assert_eq!(
        (status, told),
        (200, json!({"queued": 1, "waiting": 0, "refused": 0}))
    );
    assert_eq!(id_of(arrived.recv().await), ids[0]);
    assert_eq!(letters(&daemon, "").await.len(), 0);
    // Until it is settled it waits; then nothing is known of it.
    let told = loop {
        let (status, told) = daemon.post(&path, &json!({})).await;
        if status != 200 {
            break (status, told["code"].clone());
        }
        assert_eq!((&told["queued"], &told["waiting"]), (&json!(0), &json!(1)));
    };
    assert_eq!(told, (404, json!("dead_letter_not_found")));
    let redelivered = "davy_webhook_redelivered_total{endpoint=\"e\"}";
    assert_eq!(crate::door::counted(&daemon, redelivered).await, 1);
    daemon.stop().await;
    assert!(arrived.try_recv().is_err(), "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_an_endpoint_are_sent_again_and_a_name_nobody_has_is_told() {
    let (daemon, mut arrived, mut ids) = with_letters(3).await;
    let path = "/v1/dead-letters/redeliver";
    for (query, status, code) in [
        ("", 400, "invalid_parameter"),
        ("?endpoint=f", 409, "webhook_not_configured"),
        ("?endpoint=e&endpoint=e", 400, "invalid_parameter"),
    ] {
        let (found, told) = daemon.post(&format!("{path}{query}"), &json!({})).await;
        assert_eq!(
            (found, told["code"].as_str()),
            (status, Some(code)),
            "{query}"
        );
    }
    let (_, told) = daemon.post(&format!("{path}?endpoint=e"), &json!({})).await;
    assert_eq!(told["queued"], 3);
    let mut again = Vec::new();
    for _ in 0..3 {
        again.push(id_of(arrived.recv().await));
    }
    ids.sort();
    again.sort();
    assert_eq!(again, ids);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_lists_letters_and_has_them_sent_again() {
    let (daemon, mut arrived, ids) = with_letters(3).await;
    let listed = webhooks(&daemon, &["list"]);
    let listed = said(&listed.stdout);
    assert!(listed.trim_start().starts_with("id "), "{listed}");
    for id in &ids {
        let line = listed.lines().find(|line| line.contains(id.as_str()));
        assert!(
            line.expect("it is there").contains("answered 410 Gone"),
            "{listed}"
        );
    }
    let listed = webhooks(&daemon, &["list", "--output", "json", "--endpoint", "e"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert_eq!(listed["dead_letters"].as_array().map(Vec::len), Some(3));
    let one = webhooks(&daemon, &["redeliver", &ids[1]]);
    assert_eq!(
        said(&one.stdout),
        format!("{} will be sent again\n", ids[1])
    );
    assert_eq!(id_of(arrived.recv().await), ids[1]);
    let all = webhooks(&daemon, &["redeliver", "--endpoint", "e"]);
    assert_eq!(said(&all.stdout), "2 will be sent again to e\n");
    for _ in 0..2 {
        id_of(arrived.recv().await);
    }
    let unknown = webhooks(&daemon, &["redeliver", "nobody's"]);
    assert_eq!(unknown.status.code(), Some(3));
    let told = said(&unknown.stderr);
    assert!(
        told.contains("404") && told.contains("no dead letter has the id"),
        "{told}"
    );
    assert_eq!(webhooks(&daemon, &["redeliver"]).status.code(), Some(64));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_counts_what_is_held_back() {
    let (url, mut arrived) = receiver(&[500; 50]).await;
    let toml = format!("name = \"e\"\nurl = \"{url}\"\nevents = [\"analysis.started\"]");
    let daemon = TestDaemon::start_with(|config| {
        config.webhooks = vec![entry(&toml)];
        config.webhook.backoff_initial_ms = 10;
        config.webhook.failures_in_a_row_max = 2;
        config.webhook.probe_wait_max_ms = 3_600_000;
    })
    .await;
    let held_back = async || daemon.get("/readyz").await.1["webhooks_held_back"].clone();
    assert_eq!(held_back().await, 0);
    daemon.begin().await;
    for _ in 0..2 {
        arrived.recv().await.expect("an attempt");
    }
    while held_back().await != 1 {
        tokio::task::yield_now().await;
    }
    let (status, ready) = daemon.get("/readyz").await;
    assert_eq!((status, &ready["status"]), (200, &json!("ready")));
    let open = "davy_webhook_breaker_open{endpoint=\"e\"}";
    assert_eq!(crate::door::counted(&daemon, open).await, 1);
    daemon.stop().await;
}
