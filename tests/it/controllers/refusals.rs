//! What is no verdict is no 2xx: wrong questions, wrong addresses, tokens for other namespaces.

use std::process::Command;

use serde_json::json;

use super::{folder, raw, start};
use crate::daemon::{answer, client};
use crate::restart::Davy;

async fn evaluate(davy: &Davy, body: &str) -> (u16, serde_json::Value) {
    let request = client().post(format!("{}/compat/argo/v1/evaluate", davy.url));
    answer(
        request
            .header("content-type", "application/json")
            .body(body.to_owned()),
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_question_is_told_its_field_and_begins_nothing() {
    let folder = folder("");
    let davy = start(folder.path());
    let whole = json!({"plan": "checkout", "namespace": "shop", "name": "checkout",
        "baseline": "a", "revision": "b", "gate": "step", "step": "10"});
    let with = |name: &str, value: serde_json::Value| {
        let mut body = whole.clone();
        body[name] = value;
        body.to_string()
    };
    let cases = [
        (String::new(), 400, "empty_body"),
        ("nonsense".to_owned(), 400, "malformed_json"),
        ("[]".to_owned(), 422, "invalid_request"),
        (with("step", json!("")), 422, "invalid_request"),
        (with("gate", json!("door")), 422, "invalid_request"),
        (with("revison", json!("x")), 422, "invalid_request"),
        (with("revision", json!("")), 422, "invalid_request"),
        (with("plan", json!("chekout")), 404, "plan_not_found"),
        (with("revision", json!("a")), 422, "arms_alike"),
        (
            with("arms", json!({"colour": "red"})),
            422,
            "arm_variable_unknown",
        ),
        (with("baseline", json!(null)), 422, "arm_variable_missing"),
    ];
    for (body, status, code) in cases {
        let (answered, problem) = evaluate(&davy, &body).await;
        assert_eq!(
            (answered, &problem["code"]),
            (status, &json!(code)),
            "{body}: {problem}"
        );
    }
    let listed = davy.get("/v1/analyses").await;
    assert_eq!(listed["analyses"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_not_there_says_so() {
    let folder = folder("");
    let davy = start(folder.path());
    let payload =
        json!({"name": "checkout", "namespace": "shop", "phase": "Progressing", "checksum": "a"});
    for (path, status) in [
        ("/compat/flagger/v1/rolback", 404),
        ("/compat/flagger/rollback", 404),
        ("/compat/flagger/v1/rollback/", 404),
        ("/compat/flagger/v1/rollback", 404),
        ("/compat/argo", 404),
    ] {
        let request = client().post(format!("{}{path}", davy.url)).json(&payload);
        let (answered, _) = raw(request).await;
        assert_eq!(answered, status, "{path}");
    }
    for body in [
        "",
        "{}",
        "[]",
        "{\"name\":1}",
        "{\"name\":\"a\",\"namespace\":\"b\"}",
    ] {
        let request = client().post(format!("{}/compat/flagger/v1/rollback", davy.url));
        let request = request
            .header("content-type", "application/json")
            .body(body);
        let (answered, _) = raw(request).await;
        assert!(matches!(answered, 400 | 422), "{body}: {answered}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_a_namespace_finds_nothing_of_others() {
    let folder = folder("");
    let token = |name: &str, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_davy"));
        let tokens = folder.path().join("tokens.toml");
        command
            .args(["token", "create", "--name", name, "--file"])
            .arg(tokens);
        command
            .args(["--scope", "control", "--scope", "read"])
            .args(more);
        let made = command.output().expect("it runs");
        let text = String::from_utf8(made.stdout).expect("text");
        let found = text
            .split_whitespace()
            .find(|word| word.starts_with("davy_"));
        found
            .unwrap_or_else(|| panic!("no token: {text}"))
            .to_owned()
    };
    let (all, shop) = (token("all", &[]), token("shop", &["--namespace", "shop"]));
    let config = folder.path().join("davy.toml");
    let text = std::fs::read_to_string(&config).expect("readable");
    let text = text + "[auth]\ntokens_file = \"tokens.toml\"\n";
    std::fs::write(&config, text).expect("written");
    let davy = start(folder.path());
    let evaluate = async |token: &str, namespace: &str| {
        let body = json!({"plan": "checkout", "namespace": namespace, "name": "cart",
            "baseline": "a", "revision": "b"});
        let request = client().post(format!("{}/compat/argo/v1/evaluate", davy.url));
        raw(request.bearer_auth(token).json(&body)).await
    };
    assert_eq!(evaluate("davy_none", "shop").await.0, 401);
    assert_eq!(evaluate(&shop, "other").await.0, 403);
    assert_eq!(evaluate(&shop, "shop").await.0, 200);
    let (status, theirs) = evaluate(&all, "other").await;
    assert_eq!(status, 200, "{theirs}");
    let id = theirs["analysis"].as_str().expect("an id");
    let get = async |token: &str, path: String| {
        let request = client().get(format!("{}/compat/{path}", davy.url));
        raw(request.bearer_auth(token)).await
    };
    let query = "prometheus/api/v1/query?query=davy_verdict%7Bnamespace%3D%22other%22%7D";
    for (path, seen) in [
        (format!("kayenta/canary/{id}~95~75"), 404),
        (query.to_owned(), 422),
    ] {
        assert_eq!(get(&all, path.clone()).await.0, 200, "{path}");
        assert_eq!(get(&shop, path.clone()).await.0, seen, "{path}");
    }
    let (_, listed) = get(
        &shop,
        "kayenta/canary/executions?application=cart".to_owned(),
    )
    .await;
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    let hook = json!({"name": "cart", "namespace": "other", "phase": "Progressing",
        "checksum": "b", "metadata": {"plan": "checkout"}});
    for (path, method) in [
        ("flagger/v1/rollback", "POST"),
        ("flagger/v1/rollout", "POST"),
    ] {
        let request = client().post(format!("{}/compat/{path}", davy.url));
        let (status, _) = raw(request.basic_auth("flagger", Some(&shop)).json(&hook)).await;
        assert!(matches!(status, 403 | 404), "{method} {path}: {status}");
    }
    let cancel = client().put(format!(
        "{}/compat/kayenta/pipelines/{id}~95~75/cancel",
        davy.url
    ));
    assert_eq!(raw(cancel.bearer_auth(&shop)).await.0, 404);
    let (_, shown) = get(&all, format!("kayenta/canary/{id}~95~75")).await;
    assert_eq!(shown["status"], "running");
}
