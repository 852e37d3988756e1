//! The API as callers see it: analyses, verdicts, events, problems.

use std::time::Duration;

use serde_json::{Value, json};

use crate::daemon::{TestDaemon, answer, value_line};

fn code(body: &Value) -> &str {
    body["code"].as_str().unwrap_or("")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analysis_is_started_read_and_listed() {
    let daemon = TestDaemon::start().await;
    let id = daemon.begin().await;
    let (status, body) = daemon.get(&format!("/v1/analyses/{id}")).await;
    assert_eq!(status, 200);
    assert_eq!(body["plan"], "walk");
    assert_eq!(body["change"]["service"], "checkout");
    assert_eq!(body["verdict"], "inconclusive");
    let (status, verdict) = daemon.get(&format!("/v1/analyses/{id}/verdict")).await;
    assert_eq!(
        (status, &verdict["decision"], &verdict["final"]),
        (200, &json!("hold"), &json!(false))
    );
    assert_eq!(verdict["gate"]["kind"], "final");
    let (_, step) = daemon
        .get(&format!("/v1/analyses/{id}/verdict?gate=step"))
        .await;
    assert_eq!(step["gate"]["kind"], "step");
    for (query, expected) in [
        ("service=checkout", 1),
        ("service=cart", 0),
        ("plan=walk&limit=1", 1),
        ("verdict=pass", 0),
        ("started_before=2001-01-01T00:00:00Z", 0),
    ] {
        let (_, page) = daemon.get(&format!("/v1/analyses?{query}")).await;
        assert_eq!(
            page["analyses"].as_array().expect("a list").len(),
            expected,
            "{query}"
        );
    }
    let (_, plans) = daemon.get("/v1/plans").await;
    assert_eq!(plans["plans"][0]["plan_hash"], body["plan_hash"]);
    let (status, plan) = daemon.get("/v1/plans/walk").await;
    assert_eq!((status, &plan["plan"]["tick"]), (200, &json!(100)));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_is_idempotent_under_its_key() {
    let daemon = TestDaemon::start().await;
    let start = async |change: &str| {
        let request = daemon.client.post(format!("{}/v1/analyses", daemon.url));
        let body = json!({"plan": "walk", "change": {"id": change}});
        answer(request.header("idempotency-key", "deploy-1").json(&body)).await
    };
    let (status, first) = start("c1").await;
    assert_eq!(status, 201);
    let (status, second) = start("c1").await;
    assert_eq!((status, &second["id"]), (200, &first["id"]));
    let (status, other) = start("c2").await;
    assert_eq!((status, code(&other)), (409, "idempotency_mismatch"));
    let (_, page) = daemon.get("/v1/analyses").await;
    assert_eq!(page["analyses"].as_array().expect("a list").len(), 1);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_may_be_spelled_out_and_all_its_problems_are_told() {
    let daemon = TestDaemon::start().await;
    let yaml = crate::daemon::WALK.replace("plan: walk", "plan: inline");
    let (status, body) = daemon.post("/v1/analyses", &json!({ "plan": yaml })).await;
    assert_eq!((status, &body["plan"]), (201, &json!("inline")));
    let object = json!({"version": "davy/v1", "plan": "object", "horizon": "1m", "tick": "1s",
        "metrics": {"m": {"kind": "latency", "from": "values"}},
        "checks": [{"compare": "m", "tolerance": "5%"}]});
    let (status, body) = daemon
        .post("/v1/analyses", &json!({ "plan": object }))
        .await;
    assert_eq!((status, &body["plan"]), (201, &json!("object")));
    let broken = yaml
        .replace("tick:", "tik:")
        .replace("compare: errors", "compare: erors");
    let (status, body) = daemon
        .post("/v1/analyses", &json!({ "plan": broken }))
        .await;
    assert_eq!((status, code(&body)), (422, "invalid_plan"));
    let problems = body["problems"].as_array().expect("a list");
    let at = |line: u64| problems.iter().find(|problem| problem["line"] == line);
    assert!(
        at(5).expect("the unknown key")["help"]
            .as_str()
            .expect("help")
            .contains("tick"),
        "{body}"
    );
    assert!(at(14).is_some(), "the unknown metric: {body}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_is_a_problem_with_a_code() {
    let daemon = TestDaemon::start().await;
    let id = daemon.begin().await;
    let one = format!("/v1/analyses/{id}");
    let gets = [
        ("/v1/nothing".to_string(), 404, "route_not_found"),
        ("/v1/analyses/an_unknown".into(), 404, "analysis_not_found"),
        (
            "/v1/analyses/an_unknown/verdict?wait=1s".into(),
            404,
            "analysis_not_found",
        ),
        (
            "/v1/analyses/an_unknown/events".into(),
            404,
            "analysis_not_found",
        ),
        (
            "/v1/analyses/an_unknown/recording".into(),
            404,
            "analysis_not_found",
        ),
        ("/v1/analyses/%ff".into(), 400, "invalid_parameter"),
        ("/v1/plans/wlak".into(), 404, "plan_not_found"),
        ("/v1/plans/walk?x=1".into(), 400, "invalid_parameter"),
        (format!("{one}/verdict?wait=-1s"), 400, "invalid_parameter"),
        (format!("{one}/verdict?gate=foo"), 400, "invalid_parameter"),
        ("/v1/analyses?plans=walk".into(), 400, "invalid_parameter"),
        (
            "/v1/analyses?verdict=maybe".into(),
            400,
            "invalid_parameter",
        ),
        ("/v1/analyses?limit=201".into(), 400, "invalid_parameter"),
        ("/v1/analyses?cursor=x".into(), 400, "invalid_parameter"),
        (format!("{one}/verdict?wait=soon"), 400, "invalid_parameter"),
        (format!("{one}/verdict?gate=last"), 400, "invalid_parameter"),
        (format!("{one}/events?after=x"), 400, "invalid_parameter"),
        ("/v1/samples".into(), 405, "method_not_allowed"),
    ];
    for (path, status, expected) in gets {
        let (found, body) = daemon.get(&path).await;
        assert_eq!((found, code(&body)), (status, expected), "{path}: {body}");
        assert_eq!(body["type"], format!("urn:davy:problem:{expected}"));
    }
    let posts = [
        (
            "/v1/analyses".to_string(),
            json!({"plan": "wlak"}),
            404,
            "plan_not_found",
        ),
        (
            "/v1/analyses".into(),
            json!({"plan": 7}),
            422,
            "invalid_request",
        ),
        (
            "/v1/analyses".into(),
            json!({"arms": {}}),
            422,
            "invalid_request",
        ),
        (
            "/v1/analyses".into(),
            json!({"plan": "walk", "chnge": {}}),
            422,
            "invalid_request",
        ),
        (
            "/v1/analyses".into(),
            json!({"plan": "walk", "change": {"sevice": "x"}}),
            422,
            "invalid_request",
        ),
        (
            format!("{one}/steps"),
            json!({"name": "", "weight": 5}),
            422,
            "invalid_request",
        ),
        (
            format!("{one}/steps"),
            json!({"name": "x", "weight": 101}),
            422,
            "invalid_request",
        ),
        (
            "/v1/analyses/an_unknown/steps".into(),
            json!({"name": "x"}),
            404,
            "analysis_not_found",
        ),
        (
            "/v1/analyses/an_unknown/cancel".into(),
            json!({}),
            404,
            "analysis_not_found",
        ),
    ];
    for (path, request, status, expected) in posts {
        let (found, body) = daemon.post(&path, &request).await;
        assert_eq!(
            (found, code(&body)),
            (status, expected),
            "{path} {request}: {body}"
        );
    }
    let raw = async |content_type: &str, body: &str| {
        let request = daemon.client.post(format!("{}/v1/analyses", daemon.url));
        answer(
            request
                .header("content-type", content_type)
                .body(body.to_string()),
        )
        .await
    };
    let (status, body) = raw("application/json", "{\"plan\": ").await;
    assert_eq!((status, code(&body)), (400, "malformed_json"));
    let (status, body) = raw("application/json", " ").await;
    assert_eq!((status, code(&body)), (400, "empty_body"));
    let (status, body) = raw("text/plain", "{\"plan\":\"walk\"}").await;
    assert_eq!((status, code(&body)), (415, "unsupported_media_type"));
    let (status, body) = raw("application/json", &format!("\"{}\"", "x".repeat(600_000))).await;
    assert_eq!((status, code(&body)), (413, "body_too_large"));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_on_running_analyses_answers_429_with_a_wait() {
    let daemon = TestDaemon::start_with(|config| config.limits.analyses_max = 1).await;
    let id = daemon.begin().await;
    let request = daemon.client.post(format!("{}/v1/analyses", daemon.url));
    let response = request
        .json(&json!({"plan": "walk"}))
        .send()
        .await
        .expect("an answer");
    assert_eq!(response.status().as_u16(), 429);
    assert!(response.headers().contains_key("retry-after"));
    let (status, _) = daemon
        .post(&format!("/v1/analyses/{id}/cancel"), &json!({}))
        .await;
    assert_eq!(status, 200);
    daemon.begin().await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_returns_at_the_change_and_not_before() {
    let daemon = TestDaemon::start().await;
    let id = daemon.begin().await;
    let path = format!("/v1/analyses/{id}/verdict?wait=60s");
    let mut waiting = Box::pin(daemon.get(&path));
    // Nothing changes by itself, so the poll outlives many ticks of the engine.
    let early = tokio::time::timeout(Duration::from_millis(600), &mut waiting).await;
    assert!(early.is_err(), "the poll returned without a change");
    let body = json!({"actor": "sre", "reason": "enough seen"});
    let (status, _) = daemon
        .post(&format!("/v1/analyses/{id}/cancel"), &body)
        .await;
    assert_eq!(status, 200);
    let (status, verdict) = waiting.await;
    assert_eq!(
        (status, &verdict["final"], &verdict["reason"]),
        (200, &json!(true), &json!("cancelled"))
    );
    assert_eq!(verdict["decision"], "hold");
    let (status, _) = daemon.get(&path).await;
    assert_eq!(status, 200, "a final verdict is answered at once");
    let (status, body) = daemon
        .post(&format!("/v1/analyses/{id}/cancel"), &json!({}))
        .await;
    assert_eq!((status, code(&body)), (409, "analysis_final"));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_ends_when_its_wait_does() {
    let daemon = TestDaemon::start_with(|config| config.server.long_poll_secs_max = 1).await;
    let id = daemon.begin().await;
    let (status, verdict) = daemon
        .get(&format!("/v1/analyses/{id}/verdict?wait=1h"))
        .await;
    assert_eq!((status, &verdict["final"]), (200, &json!(false)));
    daemon.stop().await;
}

/// Reads messages of a stream until one of this type; their ids and types.
async fn messages_until(response: &mut reqwest::Response, last: &str) -> Vec<(u64, String)> {
    let mut text = String::new();
    let mut seen: Vec<(u64, String)> = Vec::new();
    while let Some(chunk) = response.chunk().await.expect("the stream lives") {
        text.push_str(std::str::from_utf8(&chunk).expect("text"));
        while let Some(end) = text.find("\n\n") {
            let message: String = text.drain(..end + 2).collect();
            let field = |name: &str| {
                let line = message.lines().find_map(|line| line.strip_prefix(name));
                line.map(|value| value.trim().to_string())
            };
            let Some(kind) = field("event:") else {
                continue;
            };
            let data: Value = serde_json::from_str(&field("data:").expect("data")).expect("JSON");
            assert!(data["verdict"].is_string());
            seen.push((
                field("id:").expect("an id").parse().expect("a number"),
                kind.clone(),
            ));
            if kind == last {
                return seen;
            }
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn events_resume_after_the_last_one_seen() {
    let daemon = TestDaemon::start().await;
    // Ticks of ten seconds: no look comes by itself while the test runs.
    let slow = crate::daemon::WALK
        .replace("100ms", "10s")
        .replace("min_duration: 1s\n", "");
    let (status, body) = daemon.post("/v1/analyses", &json!({ "plan": slow })).await;
    assert_eq!(status, 201, "{body}");
    let id = body["id"].as_str().expect("an id").to_string();
    let url = format!("{}/v1/analyses/{id}/events", daemon.url);
    let mut stream = daemon.client.get(&url).send().await.expect("a stream");
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let first = messages_until(&mut stream, "analysis.started").await;
    assert_eq!(first, [(1, "analysis.started".to_string())]);
    let now = daemon.now(&id).await;
    // Half a minute of event time closes a tick.
    let lines: String = [0, 30_000]
        .iter()
        .map(|later| value_line(&id, "canary", now + later, 1.0))
        .collect();
    let (_, answer) = daemon.send(&lines).await;
    assert_eq!(answer["accepted"], 2);
    let looks = messages_until(&mut stream, "look").await;
    assert_eq!(looks.last(), Some(&(2, "look".to_string())));
    drop(stream);
    daemon
        .post(&format!("/v1/analyses/{id}/cancel"), &json!({}))
        .await;
    let resume = |after: &str| {
        daemon
            .client
            .get(&url)
            .header("last-event-id", after)
            .send()
    };
    let mut stream = resume("1").await.expect("a stream");
    let rest = messages_until(&mut stream, "verdict.final").await;
    let ids: Vec<u64> = rest.iter().map(|(id, _)| *id).collect();
    assert!(ids.len() >= 2, "the look again, and the end");
    let expected: Vec<u64> = (2..2 + ids.len() as u64).collect();
    assert_eq!(ids, expected, "nothing twice, nothing missing");
    assert!(
        stream.chunk().await.expect("ends well").is_none(),
        "the stream ends with the analysis"
    );
    let last = ids.last().expect("events").to_string();
    let after_all = resume(&last).await.expect("an answer");
    assert_eq!(
        after_all.status().as_u16(),
        204,
        "an EventSource stops asking"
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn event_streams_are_limited_and_their_room_comes_back() {
    let daemon = TestDaemon::start_with(|config| config.limits.sse_clients_max = 1).await;
    let id = daemon.begin().await;
    let url = format!("{}/v1/analyses/{id}/events", daemon.url);
    let mut first = daemon.client.get(&url).send().await.expect("a stream");
    messages_until(&mut first, "analysis.started").await;
    let (status, body) = daemon.get(&format!("/v1/analyses/{id}/events")).await;
    assert_eq!((status, code(&body)), (429, "too_many_streams"));
    drop(first);
    // The server learns of the closed connection when it next looks; asking again makes it.
    for _ in 0..1_000 {
        let again = daemon.client.get(&url).send().await.expect("an answer");
        if again.status().as_u16() == 200 {
            return daemon.stop().await;
        }
        tokio::task::yield_now().await;
    }
    panic!("the room did not come back");
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_are_marked_and_the_recording_replays() {
    let daemon = TestDaemon::start().await;
    let id = daemon.begin().await;
    let (status, body) = daemon
        .post(
            &format!("/v1/analyses/{id}/steps"),
            &json!({"name": "10%", "weight": 10}),
        )
        .await;
    assert_eq!((status, &body["steps"][0]["name"]), (200, &json!("10%")));
    daemon
        .post(&format!("/v1/analyses/{id}/cancel"), &json!({}))
        .await;
    let url = format!("{}/v1/analyses/{id}/recording", daemon.url);
    let response = daemon.client.get(url).send().await.expect("an answer");
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let text = response.text().await.expect("text");
    let mut finals = Vec::new();
    let each = |effects: Vec<davy::engine::Effect>| {
        for effect in effects {
            if let davy::engine::Effect::Event(event) = effect {
                finals.push(event.body.is_final);
            }
        }
    };
    davy::engine::recording::play(text.lines(), None, each).expect("the recording plays");
    assert_eq!(finals.last(), Some(&true), "{text}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites_are_not_answered() {
    let daemon = TestDaemon::start().await;
    for (site, expected) in [("cross-site", 403), ("same-site", 403), ("none", 200)] {
        let request = daemon.client.get(format!("{}/v1/plans", daemon.url));
        let (status, _) = answer(request.header("sec-fetch-site", site)).await;
        assert_eq!(status, expected, "{site}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_metrics_and_request_ids() {
    let daemon = TestDaemon::start().await;
    daemon.begin().await;
    assert_eq!(daemon.get("/healthz").await.1["status"], "ok");
    assert_eq!(daemon.get("/readyz").await.1["status"], "ready");
    let get = |id: &str| {
        daemon
            .client
            .get(format!("{}/metrics", daemon.url))
            .header("x-request-id", id)
            .send()
    };
    let response = get("abc-7").await.expect("an answer");
    assert_eq!(response.headers()["x-request-id"], "abc-7");
    let text = response.text().await.expect("text");
    assert!(
        text.contains("davy_analyses_started_total{plan=\"walk\"} 1"),
        "{text}"
    );
    assert!(text.contains("davy_analyses_running 1"));
    assert!(text.contains("route=\"/v1/analyses\""));
    assert!(!text.contains("\"an_"), "no analysis is a label");
    let response = get("not fit for a log").await.expect("an answer");
    assert_ne!(response.headers()["x-request-id"], "not fit for a log");
    daemon.stop().await;
}
