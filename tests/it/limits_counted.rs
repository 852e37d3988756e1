//! Every limit that bites is seen in `davy_limit_reached_total`.

use serde_json::json;

use crate::daemon::{TestDaemon, WALK, value_line};

pub async fn reached(daemon: &TestDaemon, limit: &str) -> u64 {
    let request = daemon.client.get(format!("{}/metrics", daemon.url));
    let response = request.send().await.expect("an answer");
    let text = response.text().await.expect("text");
    let name = format!("davy_limit_reached_total{{limit=\"{limit}\"}} ");
    let count = text.lines().find_map(|line| line.strip_prefix(&name));
    count.map_or(0, |count| count.parse().expect("a count"))
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_on_samples_are_counted_by_sample() {
    let daemon = TestDaemon::start_with(|config| {
        config.limits.samples_per_request_max = 4;
        config.limits.label_count_max = 1;
        config.limits.label_bytes_max = 4;
        config.limits.tick_values_max = 1;
    })
    .await;
    let plan = WALK.replace("kind: latency, value_unit: ms", "kind: gauge");
    let (status, body) = daemon.post("/v1/analyses", &json!({ "plan": plan })).await;
    assert_eq!(status, 201, "{body}");
    let id = body["id"].as_str().expect("an id").to_string();
    let now = daemon.now(&id).await;
    let line = value_line(&id, "canary", now, 1.0);
    let labelled = |labels: &str| line.replace("\"metric\"", &format!("{labels},\"metric\""));
    let values = vec!["1"; 10_001].join(",");
    let values = line.replace("\"value\":1.0", &format!("\"values\":[{values}]"));
    let late = value_line(&id, "canary", now + 86_400_000, 1.0);
    let ahead = value_line(&id, "canary", now + 30_000, 1.0);
    for (limit, lines, times) in [
        ("samples_per_request", line.repeat(5), 1),
        (
            "label_count",
            labelled("\"labels\":{\"a\":\"\",\"b\":\"\"}").repeat(3),
            3,
        ),
        ("label_bytes", labelled("\"labels\":{\"a\":\"bbbb\"}"), 1),
        ("values_per_sample", values, 1),
        ("future_skew_secs", late, 1),
        ("open_ticks", ahead.repeat(2), 2),
        ("tick_values", line.repeat(3), 2),
    ] {
        assert_eq!(reached(&daemon, limit).await, 0, "{limit}");
        let (_, answer) = daemon.send(&lines).await;
        assert_eq!(reached(&daemon, limit).await, times, "{limit}: {answer}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_on_analyses_and_recordings_are_counted() {
    let daemon = TestDaemon::start_with(|config| {
        config.limits.analyses_max = 1;
        config.limits.retained_analyses_max = 1;
        config.limits.recording_bytes_max = 1;
    })
    .await;
    let id = daemon.begin().await;
    assert_eq!(
        reached(&daemon, "recording_bytes").await,
        1,
        "its first line"
    );
    daemon
        .send(&value_line(&id, "canary", daemon.now(&id).await, 1.0))
        .await;
    assert_eq!(
        reached(&daemon, "recording_bytes").await,
        1,
        "it was cut before"
    );
    let (status, _) = daemon.post("/v1/analyses", &json!({"plan": "walk"})).await;
    assert_eq!(status, 429);
    assert_eq!(reached(&daemon, "analyses").await, 1);
    let long = json!({"plan": "x".repeat(600_000)});
    let (status, problem) = daemon.post("/v1/analyses", &long).await;
    assert_eq!(status, 413);
    assert_eq!(
        problem["help"], "it is no setting; send less, or a plan by its name",
        "no setting helps"
    );
    assert_eq!(reached(&daemon, "request_bytes").await, 1);
    let mut step = 200;
    for _ in 0..1_000 {
        let path = format!("/v1/analyses/{id}/steps");
        (step, _) = daemon.post(&path, &json!({"name": "next"})).await;
        if step != 200 {
            break;
        }
    }
    assert_eq!(step, 422);
    assert_eq!(reached(&daemon, "steps").await, 1);
    let cancel = async |id: &str| {
        daemon
            .post(&format!("/v1/analyses/{id}/cancel"), &json!({}))
            .await
    };
    cancel(&id).await;
    assert_eq!(reached(&daemon, "retained_analyses").await, 0);
    let second = daemon.begin().await;
    cancel(&second).await;
    assert_eq!(reached(&daemon, "retained_analyses").await, 1);
    daemon.stop().await;
}
