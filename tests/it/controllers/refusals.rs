//! What is no verdict is no 2xx: wrong questions, wrong addresses, a davy that is stopping.

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
