//! What the API refuses at the door, and what it says about it.

use serde_json::{Value, json};

use crate::daemon::{TestDaemon, answer};

fn told(body: &Value) -> (&str, &str, &str) {
    let text = |key: &str| body[key].as_str().unwrap_or("");
    (text("code"), text("detail"), text("help"))
}

/// A plan whose arms are told apart by a variable, with these metrics.
fn inline(metrics: &str) -> String {
    format!(
        "version: davy/v1\nplan: inline\nhorizon: 1m\ntick: 1s\n\
         arms: {{baseline: 'v=\"{{{{baseline}}}}\"', canary: 'v=\"{{{{canary}}}}\"'}}\n\
         metrics:\n{metrics}checks: [{{compare: m0, tolerance: 5%}}]\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_of_other_sites_and_strange_names_are_refused() {
    let daemon = TestDaemon::start().await;
    let cases = [
        ("origin", "http://elsewhere.example", 403, "cross_site"),
        ("origin", "null", 403, "cross_site"),
        ("host", "rebound.example", 403, "unknown_host"),
        ("host", "localhost", 200, ""),
    ];
    for (name, value, status, code) in cases {
        let request = daemon.client.get(format!("{}/v1/plans", daemon.url));
        let (found, body) = answer(request.header(name, value)).await;
        assert_eq!((found, told(&body).0), (status, code), "{name}: {value}");
    }
    daemon.stop().await;
    let named = TestDaemon::start_with(|config| {
        config.server.host_names = vec!["davy.example".to_owned()];
    })
    .await;
    let request = named.client.get(format!("{}/v1/plans", named.url));
    let (status, _) = answer(request.header("host", "davy.example:443")).await;
    assert_eq!(status, 200);
    named.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arms_that_cannot_be_told_apart_are_refused() {
    let daemon = TestDaemon::start().await;
    let plan = inline("  m0: {kind: latency}\n");
    let cases = [
        (json!({"baseline": "1", "canary": "1"}), 422, "arms_alike"),
        (
            json!({"baseline": "1", "canray": "2"}),
            422,
            "arm_variable_unknown",
        ),
        (json!({"baseline": "1"}), 422, "arm_variable_missing"),
        (json!({"baseline": "1", "canary": "2"}), 201, ""),
    ];
    for (arms, status, code) in cases {
        let request = json!({"plan": plan, "arms": arms});
        let (found, body) = daemon.post("/v1/analyses", &request).await;
        assert_eq!((found, told(&body).0), (status, code), "{arms}: {body}");
    }
    let request = json!({"plan": plan, "arms": {"baseline": "1", "canray": "2"}});
    let (_, body) = daemon.post("/v1/analyses", &request).await;
    assert_eq!(told(&body).2, "did you mean `canary`?");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_s_regexes_have_a_size_together() {
    let daemon = TestDaemon::start().await;
    let metrics = |count: usize| -> String {
        let metric =
            |n| format!("  m{n}: {{kind: latency, select: 'm{n}{{l=~\"[a-z]{{3000}}\"}}'}}\n");
        (0..count).map(metric).collect()
    };
    let arms = json!({"baseline": "1", "canary": "2"});
    let few = json!({"plan": inline(&metrics(2)), "arms": arms});
    assert_eq!(daemon.post("/v1/analyses", &few).await.0, 201);
    let many = json!({"plan": inline(&metrics(30)), "arms": arms});
    let (status, body) = daemon.post("/v1/analyses", &many).await;
    assert_eq!((status, told(&body).0), (422, "invalid_plan"), "{body}");
    assert!(body.to_string().contains("take more than 4 MiB"), "{body}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_says_what_is_wrong_with_it_and_what_it_ended() {
    let daemon = TestDaemon::start().await;
    let (status, body) = daemon.post("/v1/analyses", &json!(["walk", {}, {}])).await;
    assert_eq!(
        (status, told(&body)),
        (
            422,
            (
                "invalid_request",
                "the body is of the wrong type: array",
                "give an object"
            )
        )
    );
    let long = json!({"plan": "x".repeat(600_000)});
    let (status, body) = daemon.post("/v1/analyses", &long).await;
    assert_eq!(status, 413);
    assert!(told(&body).1.contains("512 KiB"), "{body}");
    assert!(!told(&body).2.contains("request_body_bytes_max"), "{body}");
    let start = async |service: &str, revision: &str| {
        let change = json!({"service": service, "revision": revision});
        let request = json!({"plan": "walk", "change": change});
        daemon.post("/v1/analyses", &request).await.1
    };
    let first = start("checkout", "1").await;
    let again = start("checkout", "1").await;
    let other = start("cart", "2").await;
    for body in [&first, &again, &other] {
        assert_eq!(body["superseded"], Value::Null, "it ended none");
    }
    let second = start("checkout", "2").await;
    let mut ended = [&first["id"], &again["id"]];
    ended.sort_by_key(|id| id.to_string());
    assert_eq!(second["superseded"], json!(ended));
    daemon.stop().await;
}
