//! Jobs on GitHub that wait for davy.

use serde_json::{Value, json};

use super::{Arrived, daemon_with, entry, receiver};
use crate::daemon::TestDaemon;

async fn begin(daemon: &TestDaemon, links: Value) -> String {
    let change = json!({"id": "c-1", "environment": "production", "links": links});
    let body = json!({"plan": "walk", "change": change});
    let (status, body) = daemon.post("/v1/analyses", &body).await;
    assert_eq!(status, 201, "{body}");
    body["id"].as_str().expect("an id").to_owned()
}

async fn decide(daemon: &TestDaemon, id: &str, decision: &str) {
    let path = format!("/v1/analyses/{id}/override");
    let decided = json!({"decision": decision, "reason": "seen by hand"});
    let (status, body) = daemon.post(&path, &decided).await;
    assert_eq!(status, 200, "{body}");
}

fn told(arrived: &Arrived) -> (String, Value, String) {
    let text = |name: &str| arrived.headers[name].to_str().expect("text").to_owned();
    assert_eq!(arrived.method, "POST");
    assert_eq!(text("accept"), "application/vnd.github+json");
    assert_eq!(text("x-github-api-version"), "2022-11-28");
    let body = serde_json::from_slice(&arrived.body).expect("JSON");
    (arrived.path.clone(), body, text("authorization"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_approves_or_rejects_the_run_that_waits_with_the_token_of_now() {
    let (url, mut arrived) = receiver(&[]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    let daemon = daemon_with(vec![entry(&format!(
        "name = \"github\"\nkind = \"github-deployment\"\nurl = \"{url}/api/v3/\"\n\
         events = [\"analysis.started\", \"verdict.changed\", \"verdict.final\", \"analysis.overridden\"]\n\
         token_file = {token:?}"
    ))])
    .await;
    // Not there yet: tried again, not given up.
    let run = |number: u32| {
        let run = format!("https://github.example.com/acme/shop/actions/runs/{number}");
        json!({ "github_run": run })
    };
    let first = begin(&daemon, run(17)).await;
    decide(&daemon, &first, "promote").await;
    std::fs::write(&token, "ghs_first\n").expect("written");
    let (path, body, authorization) = told(&arrived.recv().await.expect("it comes"));
    assert_eq!(
        path,
        "/api/v3/repos/acme/shop/actions/runs/17/deployment_protection_rule"
    );
    assert_eq!(
        (&body["state"], &body["environment_name"]),
        (&json!("approved"), &json!("production"))
    );
    assert!(
        body["comment"]
            .as_str()
            .is_some_and(|text| text.starts_with("davy: "))
    );
    assert_eq!(authorization, "Bearer ghs_first");
    std::fs::write(&token, "ghs_second").expect("written");
    // Of a change that no run waits for nothing is told.
    let other = begin(&daemon, json!({})).await;
    decide(&daemon, &other, "rollback").await;
    let mut links = run(18);
    links["github_environment"] = json!("eu-production");
    let second = begin(&daemon, links).await;
    decide(&daemon, &second, "rollback").await;
    let (path, body, authorization) = told(&arrived.recv().await.expect("it comes"));
    assert!(path.contains("/runs/18/"), "{path}");
    assert_eq!(
        (&body["state"], &body["environment_name"]),
        (&json!("rejected"), &json!("eu-production"))
    );
    assert_eq!(authorization, "Bearer ghs_second");
    daemon.stop().await;
}
