//! What people decide, over HTTP: overrides, outcomes, and who is said to have done it.

use std::time::Duration;

use davy::store::audit::Row;
use davy::tokens::Scope;
use serde_json::{Value, json};

use super::verify;
use crate::daemon::TestDaemon;
use crate::door::{Keys, ask, text};
use crate::support::PATIENCE;

/// The rows of a daemon, as one with the token 0 reads them.
async fn rows_of(daemon: &TestDaemon) -> Vec<Row> {
    let request = daemon.client.get(format!("{}/v1/audit", daemon.url));
    let answer = request.bearer_auth(text(0)).send().await.expect("answered");
    assert_eq!(answer.status().as_u16(), 200);
    let text = answer.text().await.expect("text");
    let row = |line| serde_json::from_str(line).expect("a row");
    text.lines().map(row).collect()
}

fn change(region: &str, namespace: &str) -> Value {
    json!({"id": "c/1", "service": "cart", "region": region, "namespace": namespace, "revision": region})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_and_who_its_holder_says_he_is_are_both_in_the_row() {
    let keys = Keys::new();
    keys.add(1, &[Scope::Control], |token| {
        token.name = "deployer".to_owned()
    });
    keys.add(2, &[Scope::Read], |_| ());
    let daemon = keys.daemon().await;
    let deployer = format!("Bearer {}", text(1));
    let as_deployer = async |path: &str, body: Value| {
        ask(&daemon, "post", path, Some(&deployer), Some(&body)).await
    };
    let start = json!({"plan": "walk", "change": {"id": "c", "service": "cart"}});
    let (_, started) = as_deployer("/v1/analyses", start).await;
    let id = started["id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/analyses/{id}/override");
    let decided = json!({"decision": "rollback", "reason": "smoke", "actor": "ada"});
    let reader = format!("Bearer {}", text(2));
    let (status, _) = ask(&daemon, "post", &path, Some(&reader), Some(&decided)).await;
    assert_eq!(status, 403);
    for body in [
        json!({"decision": "rollback"}),
        json!({"decision": "rollback", "reason": ""}),
        json!({"decision": "hold", "reason": "x"}),
    ] {
        let (status, told) = as_deployer(&path, body).await;
        assert_eq!(
            (status, &told["code"]),
            (422, &json!("invalid_request")),
            "{told}"
        );
    }
    // Whoever waits is told at once.
    let wait = format!("/v1/analyses/{id}/verdict?wait=60s");
    let waiting = ask(&daemon, "get", &wait, Some(&reader), None);
    let waiting = tokio::time::timeout(PATIENCE / 2, waiting);
    let deciding = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        as_deployer(&path, decided.clone()).await
    };
    let (told, (status, view)) = tokio::join!(waiting, deciding);
    let (_, verdict) = told.expect("not when its time is over");
    let found = (&verdict["verdict"], &verdict["final"], &verdict["decision"]);
    let expected = (&json!("inconclusive"), &json!(false), &json!("rollback"));
    assert_eq!(found, expected);
    assert_eq!(
        (status, &view["decision"]),
        (200, &json!("rollback")),
        "{view}"
    );
    assert_eq!(view["override"]["actor"], "ada");
    assert_eq!(as_deployer(&path, decided).await.0, 200, "twice is once");
    let (status, _) =
        as_deployer(&format!("/v1/analyses/{id}/steps"), json!({"name": "50%"})).await;
    assert_eq!(status, 200);
    let cancel = format!("/v1/analyses/{id}/cancel");
    as_deployer(&cancel, json!({"reason": "enough"})).await;
    let promote = json!({"decision": "promote", "reason": "checked by hand"});
    let (_, view) = as_deployer(&path, promote).await;
    assert_eq!(view["decision"], "promote", "after the end too");
    assert_eq!(view["reason"], "cancelled", "never the verdict");
    let events = format!("{}/v1/analyses/{id}/events", daemon.url);
    let events = daemon.client.get(events).bearer_auth(text(2)).send().await;
    let events = events.expect("answered").text().await.expect("text");
    assert_eq!(
        events.matches("event: analysis.overridden").count(),
        2,
        "{events}"
    );

    let rows = rows_of(&daemon).await;
    verify(&rows, None).unwrap_or_else(|wrong| panic!("{wrong}"));
    let told: Vec<_> = rows
        .iter()
        .map(|row| &row.entry)
        .map(|entry| {
            let (name, given) = (entry.actor_name.as_deref(), entry.actor_given.as_deref());
            (&*entry.kind, &*entry.actor, name, given, &*entry.reason)
        })
        .collect();
    let by = ("token:01010101", Some("deployer"));
    assert_eq!(
        (told[0].0, told[0].1, told[0].2),
        ("analysis.started", by.0, by.1)
    );
    assert_eq!(
        told[1..],
        [
            ("analysis.overridden", by.0, by.1, Some("ada"), "smoke"),
            ("step.entered", by.0, by.1, None, told[2].4),
            ("verdict.changed", by.0, by.1, None, "enough"),
            ("verdict.final", by.0, by.1, None, "enough"),
            ("analysis.overridden", by.0, by.1, None, "checked by hand"),
        ]
    );
    assert!(rows.iter().all(|row| row.entry.inputs_sha256.is_some()));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_what_its_analyses_come_to_and_each_sees_his_own_part() {
    for lasts in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = Keys::new();
        keys.add(1, &[Scope::Control], |token| {
            token.namespaces = Some(vec!["search".to_owned()]);
        });
        let daemon = TestDaemon::start_with(|config| {
            config.auth.tokens_file = Some(keys.path());
            config.store.path = lasts.then(|| folder.path().to_owned());
        })
        .await;
        let admin = format!("Bearer {}", text(0));
        let limited = format!("Bearer {}", text(1));
        let mut ids = Vec::new();
        for (region, namespace) in [
            ("north", "payments"),
            ("south", "payments"),
            ("south", "search"),
        ] {
            let body = json!({"plan": "walk", "change": change(region, namespace)});
            let (status, view) =
                ask(&daemon, "post", "/v1/analyses", Some(&admin), Some(&body)).await;
            assert_eq!(status, 201, "{view}");
            ids.push(view["id"].clone());
        }
        let path = "/v1/changes/c%2F1";
        let (_, all) = ask(&daemon, "get", path, Some(&admin), None).await;
        assert_eq!(all["analyses"].as_array().map(Vec::len), Some(3), "{all}");
        assert_eq!(
            (&all["verdict"], &all["final"]),
            (&json!("inconclusive"), &json!(false))
        );
        let (_, own) = ask(&daemon, "get", path, Some(&limited), None).await;
        let listed: Vec<&Value> = own["analyses"].as_array().expect("a list").iter().collect();
        assert_eq!(listed.len(), 1, "{own}");
        assert_eq!(
            (&listed[0]["id"], &listed[0]["counts"]),
            (&ids[2], &json!(true))
        );
        // The list keeps to the same.
        let (_, list) = ask(&daemon, "get", "/v1/analyses", Some(&limited), None).await;
        assert_eq!(list["analyses"].as_array().map(Vec::len), Some(1), "{list}");
        for (path, given) in [
            ("/v1/changes/other", &admin),
            ("/v1/changes/other", &limited),
        ] {
            let (status, told) = ask(&daemon, "get", path, Some(given), None).await;
            assert_eq!((status, &told["code"]), (404, &json!("change_not_found")));
        }
        let outcome = format!("{path}/outcome");
        let told = json!({"outcome": "incident", "reason": "paged", "actor": "ada"});
        for _ in 0..2 {
            let (status, own) = ask(&daemon, "post", &outcome, Some(&limited), Some(&told)).await;
            assert_eq!(
                (status, &own["outcome"]["outcome"]),
                (200, &json!("incident")),
                "{own}"
            );
        }
        let (_, other) = ask(&daemon, "get", path, Some(&admin), None).await;
        assert_eq!(other["outcome"]["reason"], "paged");
        let bad = json!({"outcome": "great"});
        let (status, _) = ask(&daemon, "post", &outcome, Some(&admin), Some(&bad)).await;
        assert_eq!(status, 422);
        for id in &ids[..2] {
            let id = id.as_str().expect("an id");
            let path = format!("/v1/analyses/{id}/override");
            let body = json!({"decision": "promote", "reason": "fine"});
            let (status, _) = ask(&daemon, "post", &path, Some(&admin), Some(&body)).await;
            assert_eq!(status, 200);
        }
        let (_, all) = ask(&daemon, "get", path, Some(&admin), None).await;
        assert_eq!(all["decision"], "hold", "one is not decided");
        let (status, told) = ask(&daemon, "get", "/v1/audit", Some(&limited), None).await;
        assert_eq!((status, &told["code"]), (403, &json!("forbidden")));
        let rows = rows_of(&daemon).await;
        verify(&rows, None).unwrap_or_else(|wrong| panic!("{wrong}"));
        let outcomes: Vec<&Row> = rows
            .iter()
            .filter(|row| row.entry.kind == "change.outcome")
            .collect();
        assert_eq!(outcomes.len(), 1, "twice is once, and of his own part");
        let detail: Value = serde_json::from_str(&outcomes[0].entry.detail).expect("JSON");
        assert_eq!(
            detail,
            json!({"outcome": "incident", "namespace": "search"})
        );
        assert_eq!(outcomes[0].entry.actor_given.as_deref(), Some("ada"));
        daemon.stop().await;
    }
}
