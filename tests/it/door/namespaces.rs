//! A token that is limited to namespaces sees, starts and ends analyses in those, and no others.

use davy::http::routes::routes;
use davy::tokens::Scope;
use serde_json::{Value, json};

use super::{Keys, ask, text};
use crate::daemon::TestDaemon;

fn start_of(namespace: Option<&str>, revision: &str) -> Value {
    let mut change = json!({"id": "c", "service": "checkout", "revision": revision});
    if let Some(namespace) = namespace {
        change["namespace"] = namespace.into();
    }
    json!({"plan": "walk", "change": change})
}

/// Starts an analysis as the token of a number; status and answer.
async fn start(daemon: &TestDaemon, number: u8, request: &Value) -> (u16, Value) {
    let given = format!("Bearer {}", text(number));
    ask(daemon, "post", "/v1/analyses", Some(&given), Some(request)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn others_analyses_are_not_there() {
    let keys = Keys::new();
    keys.add(1, &[Scope::Control], |token| {
        token.namespaces = Some(vec!["payments".to_owned()]);
    });
    let daemon = keys.daemon().await;
    let limited = format!("Bearer {}", text(1));
    let (status, own) = start(&daemon, 1, &start_of(Some("payments"), "1")).await;
    assert_eq!(status, 201, "{own}");
    let mut foreign = Vec::new();
    for namespace in [Some("search"), None] {
        let refused = start(&daemon, 1, &start_of(namespace, "2")).await;
        assert_eq!((refused.0, &refused.1["code"]), (403, &json!("forbidden")));
        let (status, other) = start(&daemon, 0, &start_of(namespace, "2")).await;
        assert_eq!(
            (status, &other["superseded"]),
            (201, &Value::Null),
            "{other}"
        );
        foreign.push(other["id"].as_str().expect("an id").to_owned());
    }
    // It ends the older one of its own, and those of the same service elsewhere go on.
    let (status, newer) = start(&daemon, 1, &start_of(Some("payments"), "3")).await;
    assert_eq!((status, &newer["superseded"]), (201, &json!([own["id"]])));
    let (_, list) = ask(&daemon, "get", "/v1/analyses", Some(&limited), None).await;
    let listed = list["analyses"].as_array().expect("a list").iter();
    let listed: Vec<&Value> = listed.map(|analysis| &analysis["id"]).collect();
    assert_eq!(listed, [&newer["id"], &own["id"]]);
    let admin = format!("Bearer {}", text(0));
    let (_, list) = ask(&daemon, "get", "/v1/analyses", Some(&admin), None).await;
    assert_eq!(list["analyses"].as_array().expect("a list").len(), 4);
    let step = json!({"name": "50%"});
    let own_id = newer["id"].as_str().expect("an id");
    let of_one = routes()
        .into_iter()
        .filter(|route| route.path.starts_with("/v1/analyses/{id}"));
    let of_one: Vec<_> = of_one.map(|route| (route.method, route.path)).collect();
    assert_eq!(of_one.len(), 7, "a new one is asked as well: {of_one:?}");
    for (method, path) in of_one {
        let body = (method == "post").then(|| match path.rsplit('/').next() {
            Some("steps") => step.clone(),
            Some("override") => json!({"decision": "promote", "reason": "seen"}),
            _ => json!({}),
        });
        for id in &foreign {
            let path = path.replace("{id}", id);
            let (status, told) = ask(&daemon, method, &path, Some(&limited), body.as_ref()).await;
            let refused = (status, told["code"].as_str());
            assert_eq!(
                refused,
                (404, Some("analysis_not_found")),
                "{method} {path}"
            );
        }
        // A stream that is open does not end: its head is enough.
        if path.ends_with("events") || path.ends_with("cancel") {
            continue;
        }
        let path = path.replace("{id}", own_id);
        let (status, told) = ask(&daemon, method, &path, Some(&limited), body.as_ref()).await;
        assert_eq!(status, 200, "{method} {path}: {told}");
    }
    let url = format!("{}/v1/analyses/{own_id}/events", daemon.url);
    let stream = daemon.client.get(url).bearer_auth(text(1)).send().await;
    assert_eq!(stream.expect("answered").status().as_u16(), 200);
    for id in &foreign {
        let path = format!("/v1/analyses/{id}");
        let (_, view) = ask(&daemon, "get", &path, Some(&admin), None).await;
        assert_ne!(view["status"], "final", "nobody ended it: {view}");
    }
    for path in ["/v1/unmatched", "/v1/dead-letters", "/v1/audit", "/metrics"] {
        let (status, told) = ask(&daemon, "get", path, Some(&limited), None).await;
        assert_eq!(
            (status, &told["code"]),
            (403, &json!("forbidden")),
            "{path}"
        );
    }
    let (status, _) = ask(&daemon, "get", "/v1/plans/walk", Some(&limited), None).await;
    assert_eq!(status, 200);
    daemon.stop().await;
}
