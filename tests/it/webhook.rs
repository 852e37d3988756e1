//! Webhooks against a receiver that misbehaves in every usual way, and in every unusual one.

mod flaky;
mod github;
mod hostile;
mod redelivery;
mod rotation;
mod workers;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use davy::config::daemon::Webhook;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::daemon::TestDaemon;
use crate::support::PATIENCE;

/// One request that arrived.
#[derive(Debug)]
struct Arrived {
    method: String,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

#[derive(Clone)]
struct Receiver {
    answers: Arc<Mutex<VecDeque<u16>>>,
    arrived: mpsc::UnboundedSender<Arrived>,
}

async fn receive(State(receiver): State<Receiver>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let arrived = Arrived {
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        headers: parts.headers,
        body: axum::body::to_bytes(body, 1 << 20).await.expect("a body"),
    };
    receiver.arrived.send(arrived).expect("the test listens");
    let next = receiver
        .answers
        .lock()
        .expect("no panic")
        .pop_front()
        .unwrap_or(204);
    let status = StatusCode::from_u16(next).expect("a status");
    match next {
        302 => (status, [("location", "/elsewhere")]).into_response(),
        _ => status.into_response(),
    }
}

/// A receiver that gives these answers, then 204; its address and what arrives.
async fn receiver(answers: &[u16]) -> (String, mpsc::UnboundedReceiver<Arrived>) {
    let (sender, arrived) = mpsc::unbounded_channel();
    let answers = Arc::new(Mutex::new(answers.iter().copied().collect()));
    let state = Receiver {
        answers,
        arrived: sender,
    };
    let router = Router::new().fallback(receive).with_state(state);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("bound");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, arrived)
}

fn entry(toml: &str) -> Webhook {
    toml::from_str(toml).expect("the test's entry is valid")
}

async fn daemon_with(entries: Vec<Webhook>) -> TestDaemon {
    TestDaemon::start_with(|config| {
        config.webhooks = entries;
        config.webhook.backoff_initial_ms = 10;
        config.webhook.backoff_max_ms = 20;
    })
    .await
}

const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_delivery_is_retried_with_its_id_and_signed_each_time() {
    let (url, mut arrived) = receiver(&[500, 500]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).expect("written");
    let daemon = daemon_with(vec![entry(&format!(
        "name = \"deployer\"\nurl = \"{url}/hook\"\nevents = [\"verdict.final\"]\nsecret_file = {secret:?}"
    ))])
    .await;
    let id = daemon.begin().await;
    daemon
        .post(&format!("/v1/analyses/{id}/cancel"), &json!({}))
        .await;
    let verifier = standardwebhooks::Webhook::new(SECRET).expect("valid");
    let mut ids = Vec::new();
    for _ in 0..3 {
        let request = arrived.recv().await.expect("an attempt");
        verifier
            .verify(&request.body, &request.headers)
            .expect("the signature is right");
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        assert_eq!(body["type"], "verdict.final");
        assert_eq!(body["data"]["analysis"], id);
        assert_eq!(body["data"]["decision"], "hold");
        assert!(body["timestamp"].is_string());
        ids.push(request.headers["webhook-id"].clone());
    }
    assert!(ids.iter().all(|other| *other == ids[0]), "{ids:?}");
    daemon.stop().await;
    assert!(arrived.try_recv().is_err(), "delivered once");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_analysis_arrives_in_order_though_the_first_attempt_fails() {
    let (url, mut arrived) = receiver(&[503]).await;
    let daemon = daemon_with(vec![entry(&format!(
        "name = \"deployer\"\nurl = \"{url}\"\nevents = [\"analysis.started\", \"verdict.final\"]"
    ))])
    .await;
    let id = daemon.begin().await;
    daemon
        .post(&format!("/v1/analyses/{id}/cancel"), &json!({}))
        .await;
    let mut types = Vec::new();
    for _ in 0..3 {
        let request = arrived.recv().await.expect("an attempt");
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        types.push(body["type"].as_str().expect("a type").to_string());
    }
    assert_eq!(
        types,
        ["analysis.started", "analysis.started", "verdict.final"]
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed_and_gone_is_final() {
    let (url, mut arrived) = receiver(&[302, 410]).await;
    let daemon = daemon_with(vec![entry(&format!(
        "name = \"deployer\"\nurl = \"{url}/hook\"\nevents = [\"verdict.final\"]"
    ))])
    .await;
    let id = daemon.begin().await;
    daemon
        .post(&format!("/v1/analyses/{id}/cancel"), &json!({}))
        .await;
    for _ in 0..2 {
        assert_eq!(arrived.recv().await.expect("an attempt").path, "/hook");
    }
    let metrics = daemon.client.get(format!("{}/metrics", daemon.url));
    let url = daemon.url.clone();
    daemon.stop().await;
    // The worker drains before the daemon ends, so whatever was to be sent was sent.
    assert!(arrived.try_recv().is_err(), "given up after 410");
    assert!(metrics.send().await.is_err(), "{url} is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_calls_a_deployment_controller_in_its_own_words() {
    let (url, mut arrived) = receiver(&[]).await;
    let toml = format!(
        r#"
name = "controller"
url = "{url}/deployments/{{{{change.id}}}}/{{{{decision}}}}"
events = ["verdict.final"]
decisions = ["hold"]
services = ["checkout"]
method = "PUT"
headers = {{ "Authorization" = "Bearer t" }}
body_template = '{{"service": "{{{{change.service}}}}", "why": "{{{{message}}}}", "score": {{{{json score}}}}}}'
"#
    );
    let other = toml
        .replace("controller", "other")
        .replace("checkout\"]", "cart\"]");
    let daemon = daemon_with(vec![entry(&toml), entry(&other)]).await;
    let id = daemon.begin().await;
    daemon
        .post(&format!("/v1/analyses/{id}/cancel"), &json!({}))
        .await;
    let request = arrived.recv().await.expect("a call");
    assert_eq!(
        (request.method.as_str(), request.path.as_str()),
        ("PUT", "/deployments/change-7/hold")
    );
    assert_eq!(request.headers["authorization"], "Bearer t");
    let body: Value = serde_json::from_slice(&request.body).expect("the template gives JSON");
    assert_eq!(body["service"], "checkout");
    assert!(body["score"].is_number());
    daemon.stop().await;
    assert!(
        arrived.try_recv().is_err(),
        "the other endpoint wanted another service"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_right_is_refused_before_anything_listens() {
    let config = |toml: &str| {
        let mut config = crate::daemon::default_config();
        config.server.port = 0;
        config.webhooks = vec![entry(toml)];
        config
    };
    let bad =
        config("name = \"x\"\nurl = \"http://169.254.169.254/\"\nevents = [\"verdict.final\"]");
    let error = davy::app::build(&bad, Default::default())
        .await
        .err()
        .expect("refused");
    assert!(error.to_string().contains("metadata service"), "{error}");
    let mut open = crate::daemon::default_config();
    open.server.listen_address = "0.0.0.0".into();
    open.server.port = 0;
    let error = davy::app::build(&open, Default::default())
        .await
        .err()
        .expect("refused");
    assert!(
        error.to_string().contains("allow_unauthenticated"),
        "{error}"
    );
    open.server.allow_unauthenticated = true;
    assert!(davy::app::build(&open, Default::default()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_is_given_up_and_counted() {
    let (url, mut arrived) = receiver(&[500; 64]).await;
    let toml = format!("name = \"e\"\nurl = \"{url}\"\nevents = [\"analysis.started\"]");
    let daemon = TestDaemon::start_with(|config| {
        config.webhooks = vec![entry(&toml)];
        config.webhook.backoff_initial_ms = 3_000;
        config.webhook.backoff_max_ms = 3_000;
        config.webhook.attempts_age_secs_max = 1;
    })
    .await;
    daemon.begin().await;
    arrived.recv().await.expect("an attempt");
    let dead = "davy_webhook_attempts_total{endpoint=\"e\",outcome=\"dead\"} 1";
    let counted = async {
        loop {
            let metrics = daemon
                .client
                .get(format!("{}/metrics", daemon.url))
                .send()
                .await;
            let text = metrics.expect("an answer").text().await.expect("text");
            if text.contains(dead) && text.contains("davy_outbox_depth 0") {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, counted)
        .await
        .expect("it is given up");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_be_sent_is_a_dead_letter_at_once_and_can_be_read() {
    let (url, _arrived) = receiver(&[]).await;
    let daemon = daemon_with(vec![entry(&format!(
        "name = \"deployer\"\nurl = \"{url}/hooks/{{{{change.id}}}}/done\"\nevents = [\"analysis.started\"]"
    ))])
    .await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let request = json!({"plan": "walk", "change": {"id": ".."}});
        let (_, body) = daemon.post("/v1/analyses", &request).await;
        ids.push(body["id"].clone());
    }
    // The worker runs beside; the list is asked until it has both.
    let page = loop {
        let (status, page) = daemon.get("/v1/dead-letters").await;
        assert_eq!(status, 200, "{page}");
        if page["dead_letters"].as_array().expect("a list").len() == 2 {
            break page;
        }
        tokio::task::yield_now().await;
    };
    let letter = &page["dead_letters"][0];
    assert_eq!(
        (&letter["endpoint"], &letter["attempts"]),
        (&json!("deployer"), &json!(1))
    );
    assert!(
        letter["error"]
            .as_str()
            .expect("a text")
            .contains("leave its folder")
    );
    let (_, first) = daemon.get("/v1/dead-letters?limit=1").await;
    assert_eq!(first["dead_letters"], json!([letter]));
    let cursor = first["next"].as_str().expect("there is another page");
    let (_, last) = daemon
        .get(&format!("/v1/dead-letters?limit=1&cursor={cursor}"))
        .await;
    assert_eq!(
        (&last["dead_letters"][0], &last["next"]),
        (&page["dead_letters"][1], &Value::Null)
    );
    daemon.stop().await;
}
