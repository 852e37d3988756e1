//! Configurations that clients of Kayenta keep here: Deck's editor through Gate, and scripts.

use reqwest::Method;
use serde_json::{Value, json};

use super::kayenta_configs::{config, execution, promql, sent, with};
use super::{folder, raw, until};
use crate::daemon::{TestDaemon, answer, client};
use crate::door::{Keys, text};
use crate::limits_counted::reached;
use crate::restart::Davy;
use davy::tokens::Scope;

/// Where they are.
const CONFIGS: &str = "/compat/kayenta/canaryConfig";

/// Asks a davy at this address.
async fn ask(url: &str, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
    let request = client().request(method, format!("{url}{path}"));
    match body {
        Some(body) => answer(request.json(body)).await,
        None => answer(request).await,
    }
}

async fn create(url: &str, document: &Value) -> String {
    let path = format!("{CONFIGS}?configurationAccountName=davy");
    let (status, told) = ask(url, Method::POST, &path, Some(document)).await;
    assert_eq!(status, 200, "{told}");
    told["canaryConfigId"].as_str().expect("an id").to_owned()
}

/// Name and id of each that is listed for an application.
async fn listed(url: &str, application: &str) -> Vec<(String, String)> {
    let path = format!("{CONFIGS}?application={application}");
    let (_, rows) = ask(url, Method::GET, &path, None).await;
    let rows = rows.as_array().expect("a list").iter();
    let row = |row: &Value| {
        assert!(row["updatedTimestamp"].is_i64() && row["updatedTimestampIso"].is_string());
        assert!(row["applications"].is_array(), "{row}");
        let text = |key: &str| row[key].as_str().expect("text").to_owned();
        (text("name"), text("id"))
    };
    rows.map(row).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_found_started_on_replaced_and_deleted() {
    let folder = folder("");
    let davy = Davy::start(folder.path());
    let url = davy.url.clone();
    let document = with(sent("Golden_Signals"), |config| {
        config["x-team"] = json!({"of": "a"})
    });
    let id = create(&url, &document).await;
    let path = format!("{CONFIGS}/{id}");
    let kept = ask(&url, Method::GET, &path, None).await.1;
    let sent_back = |kept: &Value| {
        with(kept.clone(), |kept| {
            let kept = kept.as_object_mut().expect("an object");
            assert!(
                kept.remove("createdTimestamp")
                    .is_some_and(|at| at.is_i64())
            );
            assert!(
                kept.remove("updatedTimestampIso")
                    .is_some_and(|at| at.is_string())
            );
            for key in ["createdTimestampIso", "updatedTimestamp", "id"] {
                assert!(kept.remove(key).is_some(), "{key}");
            }
        })
    };
    assert_eq!(sent_back(&kept), document, "as it was sent");
    let both = [("checkout", "checkout"), ("Golden_Signals", &*id)]
        .map(|(name, id)| (name.to_owned(), id.to_owned()));
    assert_eq!(listed(&url, "checkout").await, both);
    assert_eq!(listed(&url, "cart").await, both[..1]);
    let start = async |davy: &Davy, canary: &str| {
        let path = format!("/compat/kayenta/canary/{id}?application=checkout");
        let (status, told) = davy.post(&path, &execution("old", canary)).await;
        assert_eq!(status, 200, "{told}");
        told["canaryExecutionId"]
            .as_str()
            .expect("an id")
            .to_owned()
    };
    let run = start(&davy, "new").await;
    assert_eq!(start(&davy, "new").await, run, "an answer that was lost");
    let shown = davy.get(&format!("/compat/kayenta/canary/{run}")).await;
    assert_eq!(shown["canaryConfigId"], json!(id));
    // Killed: what was told is still so.
    drop(davy);
    let davy = Davy::start(folder.path());
    let url = davy.url.clone();
    assert_eq!(ask(&url, Method::GET, &path, None).await.1, kept);
    assert_eq!(start(&davy, "new").await, run);
    let other = with(kept.clone(), |config| {
        config["applications"] = json!(["checkout", "cart"]);
        config["metrics"][0]["name"] = json!("p99");
    });
    let (status, told) = ask(&url, Method::PUT, &path, Some(&other)).await;
    assert_eq!((status, &told["canaryConfigId"]), (200, &json!(id)));
    let replaced = ask(&url, Method::GET, &path, None).await.1;
    assert_eq!(replaced["metrics"][0]["name"], "p99");
    assert_eq!(replaced["createdTimestamp"], kept["createdTimestamp"]);
    assert!(replaced["updatedTimestamp"].as_i64() > kept["updatedTimestamp"].as_i64());
    assert_eq!(listed(&url, "cart").await, both);
    assert_eq!(start(&davy, "new").await, run, "the question is the same");
    let newer = start(&davy, "newer").await;
    let analysis = newer.split('~').next().expect("an analysis");
    let recording = format!("{url}/v1/analyses/{analysis}/recording");
    let recording = client().get(recording).send().await.expect("an answer");
    let recording = recording.text().await.expect("text");
    assert!(recording.contains("\"name\":\"p99\""), "{recording}");
    assert_eq!(
        ask(&url, Method::DELETE, &path, None).await,
        (204, Value::Null)
    );
    for method in [Method::GET, Method::DELETE] {
        let (status, told) = ask(&url, method, &path, None).await;
        assert_eq!(status, 404);
        assert!(
            told["message"]
                .as_str()
                .is_some_and(|text| text.contains(&id)),
            "{told}"
        );
    }
    assert_eq!(listed(&url, "checkout").await, both[..1]);
    let shown = davy.get(&format!("/compat/kayenta/canary/{newer}")).await;
    assert_eq!(shown["status"], "running", "it goes on");
    let path = format!("/compat/kayenta/canary/{id}?application=checkout");
    let (status, _) = davy.post(&path, &execution("old", "newest")).await;
    assert_eq!(status, 404, "none begins on it");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_is_in_the_audit_log() {
    let keys = Keys::new();
    keys.add(1, &[Scope::Control], |_| ());
    let daemon = keys.daemon().await;
    let ask = async |number: u8, method: Method, path: &str, body: Option<&Value>| {
        let request = daemon
            .client
            .request(method, format!("{}{path}", daemon.url));
        let request = request.bearer_auth(text(number));
        match body {
            Some(body) => answer(request.json(body)).await,
            None => answer(request).await,
        }
    };
    let document = with(sent("golden"), |config| config["id"] = json!("golden-1"));
    let path = format!("{CONFIGS}/golden-1");
    assert_eq!(ask(1, Method::POST, CONFIGS, Some(&document)).await.0, 200);
    assert_eq!(
        ask(1, Method::PUT, &path, Some(&sent("silver"))).await.0,
        200
    );
    assert_eq!(ask(1, Method::DELETE, &path, None).await.0, 204);
    let log = daemon.client.get(format!("{}/v1/audit", daemon.url));
    let log = log.bearer_auth(text(0)).send().await.expect("an answer");
    let log = log.text().await.expect("text");
    let rows = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let rows: Vec<Value> = rows.collect();
    let rows = rows.iter();
    let kinds: Vec<&Value> = rows.clone().map(|row| &row["kind"]).collect();
    assert_eq!(
        kinds,
        [
            "configuration.created",
            "configuration.replaced",
            "configuration.deleted"
        ]
    );
    let detail = |row: &Value| -> Value {
        assert_eq!(row["actor_name"], "t1", "{row}");
        assert!(row["at"].is_i64());
        serde_json::from_str(row["detail"].as_str().expect("text")).expect("JSON")
    };
    let told: Vec<Value> = rows.map(detail).collect();
    assert!(
        told.iter().all(|told| told["configuration"] == "golden-1"),
        "{told:?}"
    );
    let digest = davy::store::audit::sha256(document.to_string().as_bytes());
    assert_eq!(told[0]["sha256"], json!(digest));
    assert_eq!(told[1]["sha256_before"], told[0]["sha256"]);
    assert_eq!(told[2]["sha256_before"], told[1]["sha256"]);
    assert_eq!(
        (&told[0]["name"], &told[2]["name"]),
        (&json!("golden"), &json!("silver"))
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_are_kept_and_none_is_too_long() {
    let daemon = TestDaemon::start_with(|config| config.limits.kayenta_configs_max = 2).await;
    let url = &daemon.url;
    let first = create(url, &sent("a")).await;
    create(url, &sent("b")).await;
    assert_eq!(reached(&daemon, "kayenta_configs").await, 0);
    let (status, told) = ask(url, Method::POST, CONFIGS, Some(&sent("c"))).await;
    assert_eq!(status, 400, "{told}");
    let message = told["message"].as_str().expect("text");
    assert!(
        message.contains("raise limits.kayenta_configs_max"),
        "{message}"
    );
    assert_eq!(reached(&daemon, "kayenta_configs").await, 1);
    let path = format!("{CONFIGS}/{first}");
    assert_eq!(
        ask(url, Method::PUT, &path, Some(&sent("d"))).await.0,
        200,
        "no more than before"
    );
    assert_eq!(ask(url, Method::DELETE, &path, None).await.0, 204);
    // The longest, and one byte more.
    for (bytes, expected, times) in [(512 * 1024, 200, 0), (512 * 1024 + 1, 400, 1)] {
        let name = format!("long-{times}");
        let own = with(sent(&name), |config| config["x-padding"] = json!(""))
            .to_string()
            .len();
        let document = with(sent(&name), |config| {
            config["x-padding"] = json!("x".repeat(bytes - own));
        });
        let (status, told) = ask(url, Method::POST, CONFIGS, Some(&document)).await;
        assert_eq!(status, expected, "{bytes}: {told}");
        assert_eq!(reached(&daemon, "request_bytes").await, times);
    }
    assert_eq!(reached(&daemon, "kayenta_configs").await, 1);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_kept_is_told_with_its_place_and_a_fix() {
    let daemon = TestDaemon::start().await;
    let url = &daemon.url;
    let taken = with(sent("taken"), |config| config["id"] = json!("taken-1"));
    create(url, &taken).await;
    let bad = |change: fn(&mut Value)| with(sent("golden"), change);
    let cases = [
        (json!([]), "object"),
        (
            json!({}),
            "`name` is missing, or cannot be a name; a name has letters",
        ),
        (
            bad(|config| config["name"] = json!("two words")),
            "cannot be a name",
        ),
        (
            bad(|config| config["name"] = json!(7)),
            "name: invalid type",
        ),
        (
            bad(|config| config["name"] = json!("walk")),
            "so is a plan of davy's; give another",
        ),
        (
            bad(|config| config["name"] = json!("taken")),
            "\"taken-1\" of the application \"checkout\"",
        ),
        (
            bad(|config| config["id"] = json!("walk")),
            "which is a plan of davy's",
        ),
        (
            bad(|config| config["id"] = json!("taken-1")),
            "replace it with PUT",
        ),
        (
            bad(|config| config["id"] = json!("Golden")),
            "`id` cannot be an id; an id has",
        ),
        (
            bad(|config| config["id"] = json!("adhoc-x")),
            "`id` cannot be an id",
        ),
        (
            bad(|config| config["applications"] = json!([])),
            "`applications` names none; say whom",
        ),
        (
            bad(|config| config["applications"] = json!([""])),
            "`applications[0]` must have",
        ),
        (
            bad(|config| config["metrics"] = json!([])),
            "has no metrics",
        ),
        (
            bad(|config| config["metrics"][0]["name"] = json!("")),
            "`metrics[0].name` is missing",
        ),
        (
            bad(|config| {
                let metric = config["metrics"][0].clone();
                config["metrics"]
                    .as_array_mut()
                    .expect("a list")
                    .push(metric);
            }),
            "`metrics[1].name` is \"latency\", as of another metric; give each",
        ),
        (
            bad(|config| {
                config["metrics"][0]["analysisConfigurations"] = json!({"canary": {"critical": 3}})
            }),
            "analysisConfigurations.canary.critical",
        ),
        (
            config("golden", &[("up", promql("up{hash='${scope}'}"))]),
            "source_unfit",
        ),
    ];
    for (document, words) in cases {
        let (status, told) = ask(url, Method::POST, CONFIGS, Some(&document)).await;
        let message = told["message"].as_str().unwrap_or_default();
        assert_eq!(status, 400, "{words}: {told}");
        assert!(message.contains(words), "{words}: {message}");
    }
    // The same of a replacement, but for its own name.
    let path = format!("{CONFIGS}/taken-1");
    assert_eq!(
        ask(url, Method::PUT, &path, Some(&sent("taken"))).await.0,
        200
    );
    assert_eq!(ask(url, Method::PUT, &path, Some(&json!({}))).await.0, 400);
    let (status, told) = ask(
        url,
        Method::PUT,
        &format!("{CONFIGS}/none"),
        Some(&sent("x")),
    )
    .await;
    assert_eq!(status, 404, "{told}");
    for method in [Method::PUT, Method::DELETE] {
        let body = (method == Method::PUT).then(|| sent("x"));
        let path = format!("{CONFIGS}/walk");
        let (status, told) = ask(url, method, &path, body.as_ref()).await;
        let message = told["message"].as_str().unwrap_or_default();
        assert_eq!(status, 400, "{told}");
        assert!(message.contains("change its file"), "{message}");
    }
    // The same name elsewhere is another's.
    let elsewhere = with(sent("taken"), |config| {
        config["applications"] = json!(["cart"])
    });
    create(url, &elsewhere).await;
    let names: Vec<_> = listed(url, "cart")
        .await
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["walk", "taken"]);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_limited_to_namespaces_reads_and_changes_none() {
    let keys = Keys::new();
    keys.add(1, &[Scope::Control, Scope::Read], |token| {
        token.namespaces = Some(vec!["shop".to_owned()]);
    });
    keys.add(2, &[Scope::Read], |_| ());
    let daemon = keys.daemon().await;
    let ask = async |number: u8, method: Method, path: &str, body: Option<&Value>| {
        let request = daemon
            .client
            .request(method, format!("{}{path}", daemon.url));
        let request = request.bearer_auth(text(number));
        match body {
            Some(body) => raw(request.json(body)).await,
            None => raw(request).await,
        }
    };
    let document = with(sent("golden"), |config| config["id"] = json!("golden-1"));
    let path = format!("{CONFIGS}/golden-1");
    assert_eq!(ask(0, Method::POST, CONFIGS, Some(&document)).await.0, 200);
    for number in [1, 2] {
        for (method, path) in [
            (Method::POST, CONFIGS),
            (Method::PUT, &path),
            (Method::DELETE, &path),
        ] {
            let body = (method != Method::DELETE).then(|| sent("other"));
            let (status, told) = ask(number, method.clone(), path, body.as_ref()).await;
            assert_eq!(status, 403, "{number} {method}: {told}");
        }
        let (status, kept) = ask(number, Method::GET, &path, None).await;
        assert_eq!((status, &kept["name"]), (200, &json!("golden")));
        let (_, rows) = ask(number, Method::GET, CONFIGS, None).await;
        assert_eq!(rows.as_array().map(Vec::len), Some(2), "{rows}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_goes_before_a_configuration_of_its_name() {
    let folder = folder("");
    let davy = Davy::start(folder.path());
    let document = with(sent("later-plan"), |config| config["id"] = json!("later"));
    let id = create(&davy.url, &document).await;
    let plan = super::PLAN.replace("plan: checkout", "plan: later");
    std::fs::write(folder.path().join("plans/later.yaml"), plan).expect("written");
    let path = format!("{CONFIGS}/{id}");
    until("the plan is read", async || {
        ask(&davy.url, Method::GET, &path, None).await.1["judge"]["name"] == "davy"
    })
    .await;
    let ids: Vec<_> = listed(&davy.url, "checkout")
        .await
        .into_iter()
        .map(|(_, id)| id)
        .collect();
    assert_eq!(ids, ["checkout", "later"], "once");
}
