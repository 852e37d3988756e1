//! Event streams as their readers live with them.
//!
//! What a stream says and where it resumes is tested in `http`; here is what an open one does to
//! its analysis.

use serde_json::{Value, json};

use crate::daemon::{TestDaemon, WALK};

/// Reads a stream until its message of this type; that message's verdict.
async fn until(stream: &mut reqwest::Response, kind: &str) -> Value {
    let wanted = format!("event: {kind}\n");
    let mut text = String::new();
    while let Some(chunk) = stream.chunk().await.expect("the stream lives") {
        text.push_str(std::str::from_utf8(&chunk).expect("text"));
        while let Some(end) = text.find("\n\n") {
            let message: String = text.drain(..end + 2).collect();
            if message.contains(&wanted) {
                let data = message.lines().find_map(|line| line.strip_prefix("data:"));
                return serde_json::from_str(data.expect("data").trim()).expect("JSON");
            }
        }
    }
    panic!("the stream ended without {kind}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_stream_keeps_its_analysis_alive_however_many_looks_come() {
    let daemon = TestDaemon::start_with(|config| config.limits.abandoned_after_secs = 1).await;
    // Ten looks a second, for three times as long as an analysis nobody asks for lives.
    let plan = WALK.replace("horizon: 1m", "horizon: 3s");
    let (status, body) = daemon.post("/v1/analyses", &json!({ "plan": plan })).await;
    assert_eq!(status, 201, "{body}");
    let id = body["id"].as_str().expect("an id");
    let url = format!("{}/v1/analyses/{id}/events", daemon.url);
    let mut stream = daemon.client.get(&url).send().await.expect("a stream");
    let last = until(&mut stream, "verdict.final").await;
    assert_ne!(last["reason"], "abandoned", "{last}");
    assert_eq!(
        last["reason"], "no_telemetry",
        "the horizon ended it: {last}"
    );
    daemon.stop().await;
}
