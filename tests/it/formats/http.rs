//! The same recording sent to a daemon by every route.

use serde_json::{Value, json};

use super::recording::{Chance, Making};
use super::written::{FORMS, Form};
use super::{PLAN, packed, requests};
use crate::daemon::TestDaemon;
use crate::machine::plan;
use davy::http::body::Packing;

/// Time between two scrapes, which is that of a tick: all of it is sent at once.
const SCRAPE_MILLIS: i64 = 100;

/// [`PLAN`] with ticks ten times as short, and arms that are named at the start.
fn short_plan() -> String {
    let text = PLAN
        .replace("horizon: 30s", "horizon: 3s")
        .replace("tick: 1s", "tick: 100ms")
        .replace("lateness: 3s", "lateness: 300ms")
        .replace("min_duration: 5s", "min_duration: 500ms")
        .replace("\"old\"", "\"{{baseline}}\"")
        .replace("\"new\"", "\"{{canary}}\"");
    // The same text has been read here, so a mistake of it is seen here.
    plan(&text);
    format!("version: davy/v1\nplan: tested\n{text}")
}

/// Sends a recording in one form to an analysis of its own; the analysis' id.
async fn send(daemon: &TestDaemon, form: Form, seed: u64) -> String {
    let versions = ["old", "new"].map(|arm| {
        let version: &'static str = Box::leak(format!("{arm}-{form:?}").into_boxed_str());
        version
    });
    let arms = json!({"baseline": versions[0], "canary": versions[1]});
    let request = json!({"plan": short_plan(), "arms": arms});
    let (status, body) = daemon.post("/v1/analyses", &request).await;
    assert_eq!(status, 201, "{body}");
    let making = Making {
        from: body["started_at"].as_i64().expect("a time"),
        scrapes: 20,
        scrape_millis: SCRAPE_MILLIS,
        with_starts: false,
        bad: 60,
        slow: 100,
        versions,
    };
    let mut chance = Chance(seed);
    let deliveries = making.deliveries(&mut chance);
    for delivery in &deliveries {
        for part in requests(delivery, false, &mut chance) {
            let written = form.write(&part, false, &mut chance);
            let (packing, bytes) = packed(&written, &mut chance);
            let encoding = match packing {
                Packing::Plain => "identity",
                Packing::Gzip => "gzip",
                Packing::Zstd => "zstd",
                Packing::Snappy => "snappy",
            };
            let request = daemon
                .client
                .post(format!("{}{}", daemon.url, written.route));
            let request = request.header("content-type", written.content_type);
            let request = request.header("content-encoding", encoding).body(bytes);
            let response = request.send().await.expect("an answer");
            let status = response.status();
            let text = response.text().await.expect("a body");
            assert!(status.is_success(), "{form:?}: {status} {text}");
            let is_whole = !text.contains("\"code\"") && !text.contains("partialSuccess");
            assert!(is_whole, "{form:?}: {text}");
        }
    }
    body["id"].as_str().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_comes_to_the_same_verdict() {
    let daemon = TestDaemon::start().await;
    let mut sent = Vec::new();
    for form in FORMS.into_iter().filter(|form| !form.needs_starts()) {
        sent.push((form, send(&daemon, form, 11).await));
    }
    let mut first: Option<Value> = None;
    for (form, id) in sent {
        let mut verdict = Value::Null;
        while verdict["final"] != true {
            let path = format!("/v1/analyses/{id}/verdict?wait=5s");
            (_, verdict) = daemon.get(&path).await;
        }
        let kept = [
            "verdict",
            "reason",
            "checks",
            "guarantee",
            "elapsed_secs",
            "score",
        ];
        let kept = kept.map(|key| verdict[key].clone());
        let found = json!(kept);
        assert_eq!(*first.get_or_insert(found.clone()), found, "{form:?}");
    }
    daemon.stop().await;
}
