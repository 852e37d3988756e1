//! Clients of Kayenta that send their configuration along with a start: Deck, Referee, scripts.

use std::time::Duration;

use serde_json::{Value, json};

use super::until;
use crate::crash::now_millis;
use crate::daemon::{TestDaemon, answer};
use crate::door::{Keys, text};
use crate::pull::fake::Fake;
use davy::tokens::Scope;

/// Where the API is.
const BASE: &str = "/compat/kayenta";

/// A configuration as people write it for Kayenta, of one metric for each query.
pub fn config(name: &str, queries: &[(&str, Value)]) -> Value {
    let metric = |(name, query): &(&str, Value)| {
        json!({"name": name, "scopeName": "default", "groups": ["Golden"], "query": query,
            "analysisConfigurations": {"canary": {"direction": "increase", "nanStrategy": "remove",
                "effectSize": {"measure": "meanRatio", "allowedIncrease": 1.2}}}})
    };
    json!({
        "name": name, "description": "golden signals", "configVersion": "1",
        "applications": ["checkout"], "templates": {},
        "judge": {"name": "NetflixACAJudge-v1.0", "judgeConfigurations": {}},
        "metrics": queries.iter().map(metric).collect::<Vec<_>>(),
        "classifier": {"groupWeights": {"Golden": 100}},
    })
}

/// A query that Kayenta would send to Prometheus as it is.
pub fn promql(expression: &str) -> Value {
    json!({"type": "prometheus", "customInlineTemplate": format!("PromQL:{expression}")})
}

/// One metric whose points are sent.
pub fn sent(name: &str) -> Value {
    let query = json!({"type": "datadog", "metricName": "trace.duration"});
    config(name, &[("latency", query)])
}

/// A request for an execution, with scopes of these names.
pub fn execution(baseline: &str, canary: &str) -> Value {
    let scope = |scope: &str| {
        json!({"scope": scope, "location": "shop", "step": 60, "start": "2026-01-01T00:00:00Z",
            "end": "2026-01-01T00:30:00Z", "extendedScopeParams": {"team": "a"}})
    };
    json!({
        "scopes": {"default": {"controlScope": scope(baseline), "experimentScope": scope(canary)}},
        "thresholds": {"pass": 95, "marginal": 75}, "metadata": [{"name": "user", "value": "x"}],
    })
}

/// A request for a stand-alone analysis.
fn standalone(baseline: &str, canary: &str) -> Value {
    json!({
        "scopes": [{"scopeName": "default", "controlScope": baseline, "experimentScope": canary,
            "controlLocation": "shop", "experimentLocation": "shop", "step": 0.5,
            "controlOffsetInMinutes": 0}],
        "thresholds": {"pass": 95, "marginal": 75},
        "lifetimeDurationMins": 2, "analysisIntervalMins": 1, "lookbackMins": 0,
    })
}

pub fn with(mut value: Value, change: impl FnOnce(&mut Value)) -> Value {
    change(&mut value);
    value
}

/// POSTs to Kayenta's API.
async fn post(daemon: &TestDaemon, path: &str, body: &Value) -> (u16, Value) {
    daemon.post(&format!("{BASE}{path}"), body).await
}

async fn start(daemon: &TestDaemon, config: &Value, request: &Value) -> String {
    let body = json!({"canaryConfig": config, "executionRequest": request});
    let (status, answer) = post(daemon, "/canary?application=checkout", &body).await;
    assert_eq!(status, 200, "{answer}");
    let id = answer["canaryExecutionId"].as_str();
    id.expect("an id").to_owned()
}

/// Horizon and tick, in milliseconds, of an execution's plan.
async fn times(daemon: &TestDaemon, execution: &str) -> (Value, Value) {
    let analysis = execution.split('~').next().expect("an analysis");
    let url = format!("{}/v1/analyses/{analysis}/recording", daemon.url);
    let response = daemon.client.get(url).send().await.expect("an answer");
    let text = response.text().await.expect("text");
    let header: Value = serde_json::from_str(text.lines().next().expect("a header")).expect("JSON");
    let plan = &header["plan"];
    (plan["horizon"].clone(), plan["tick"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_comes_along_is_pulled() {
    let fake = Fake::start(|asked| asked.series(|secs| 100.0 + secs % 7.0)).await;
    let mut settings = fake.settings();
    (settings.delay_ms, settings.timeout_ms) = (50, 400);
    let daemon = TestDaemon::start_with(|config| config.sources.prometheus = Some(settings)).await;
    let query = "sum(queue_depth{job='shop', region='${location}', hash='${scope}'})";
    let config = config("checkout-golden", &[("depth", promql(query))]);
    let body = json!({"canaryConfig": config, "executionRequest": standalone("old", "new")});
    let path = "/standalone_canary_analysis?application=checkout&user=ann";
    let (status, answer) = post(&daemon, path, &body).await;
    assert_eq!(status, 200, "{answer}");
    let id = answer["canaryAnalysisExecutionId"].as_str().expect("an id");
    let told = async || {
        let path = format!("{BASE}/standalone_canary_analysis/{id}");
        daemon.get(&path).await.1
    };
    assert_eq!(told().await["executionStatus"], "RUNNING");
    // Sent anew, as after an answer that was lost.
    assert_eq!(post(&daemon, path, &body).await.1, answer);
    // Both sides are asked for, each by its own scope.
    let queries = ["old", "new"]
        .map(|hash| format!("sum(queue_depth{{job='shop', hash=\"{hash}\",region=\"shop\" }})"));
    until("both sides are asked for", async || {
        let asked = fake.asked();
        let is_asked = |query: &String| asked.iter().any(|asked| asked.query() == query);
        queries.iter().all(is_asked)
    })
    .await;
    let analysis = id.split('~').next().expect("an analysis");
    until("both are taken", async || {
        let (_, view) = daemon.get(&format!("/v1/analyses/{analysis}")).await;
        view["received"]
            .as_array()
            .is_some_and(|all| !all.is_empty())
            && view["pulled"][0]["failures"] == 0
    })
    .await;
    let done = told().await;
    assert_eq!(done["canaryConfigId"], "adhoc-checkout-golden");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn points_may_be_sent_to_a_configuration_that_comes_along() {
    let daemon = TestDaemon::start().await;
    let request = with(execution("old", "new"), |request| {
        for side in ["controlScope", "experimentScope"] {
            request["scopes"]["default"][side]["step"] = json!(0.1);
            request["scopes"]["default"][side]["end"] = json!("2026-01-01T00:00:10Z");
        }
    });
    for judge in ["davy", "NetflixACAJudge-v1.0"] {
        let config = with(sent("pushed"), |config| {
            config["judge"]["name"] = json!(judge);
        });
        let done = fails(&daemon, &config, &request).await;
        let judged = &done["result"]["judgeResult"];
        assert_eq!(judged["judgeName"], judge);
        assert_eq!(judged["score"]["classification"], "Fail", "{done}");
        assert_eq!(judged["results"][0]["classification"], "High");
        let is_kayentas = judge != "davy";
        let groups = if is_kayentas {
            json!("Golden")
        } else {
            json!(null)
        };
        assert_eq!(judged["groupScores"][0]["name"], groups, "{done}");
        let ratio = &judged["results"][0]["resultMetadata"]["ratio"];
        assert_eq!(ratio.is_number(), is_kayentas, "{done}");
    }
    daemon.stop().await;
}

/// Sends a canary that is ten times as slow until the execution is complete.
async fn fails(daemon: &TestDaemon, config: &Value, request: &Value) -> Value {
    let id = start(daemon, config, request).await;
    let analysis = id.split('~').next().expect("an analysis").to_owned();
    let status = async || daemon.get(&format!("{BASE}/canary/{id}")).await.1;
    assert_eq!(status().await["status"], "running");
    let mut number = 0_u32;
    until("it is complete", async || {
        tokio::time::sleep(Duration::from_millis(20)).await;
        number += 1;
        let line = |arm: &str, factor: f64| {
            let value = (100.0 + f64::from(number * 7919 % 13)) * factor;
            json!({"ts": now_millis(), "metric": "latency", "analysis": analysis, "arm": arm,
                "value": value})
        };
        let lines = format!("{}\n{}\n", line("baseline", 1.0), line("canary", 10.0));
        let (sent, told) = daemon.send(&lines).await;
        assert_eq!(sent, 200, "{told}");
        status().await["complete"] == true
    })
    .await;
    status().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_scopes_and_configuration_are_one_execution() {
    let daemon = TestDaemon::start().await;
    let id = start(&daemon, &sent("golden"), &execution("old", "new")).await;
    let again = start(&daemon, &sent("golden"), &execution("old", "new")).await;
    assert_eq!(again, id);
    // What Kayenta would not look at changes nothing.
    let noted = with(sent("golden"), |config| config["x-note"] = json!({"by": 1}));
    assert_eq!(start(&daemon, &noted, &execution("old", "new")).await, id);
    let wider = with(sent("golden"), |config| {
        let metric = &mut config["metrics"][0]["analysisConfigurations"]["canary"];
        metric["effectSize"]["allowedIncrease"] = json!(1.5);
    });
    let mut ids = vec![id];
    ids.push(start(&daemon, &wider, &execution("old", "new")).await);
    ids.push(start(&daemon, &sent("golden"), &execution("old", "newer")).await);
    let both = async || {
        let body = json!({"canaryConfig": wider, "executionRequest": execution("old", "both")});
        post(&daemon, "/canary?application=checkout", &body).await.1
    };
    let (one, other) = tokio::join!(both(), both());
    assert_eq!(one, other, "of two at the same time one starts it");
    ids.push(one["canaryExecutionId"].as_str().expect("an id").to_owned());
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "{ids:?}");
    // Nobody's application: strangers do not end each other's.
    let nobody = json!({"canaryConfig": sent("a"), "executionRequest": execution("old", "1")});
    let (status, first) = post(&daemon, "/canary", &nobody).await;
    assert_eq!(status, 200, "{first}");
    let other = json!({"canaryConfig": sent("b"), "executionRequest": execution("old", "2")});
    assert_eq!(post(&daemon, "/canary", &other).await.0, 200);
    let first = first["canaryExecutionId"].as_str().expect("an id");
    let (_, told) = daemon.get(&format!("{BASE}/canary/{first}")).await;
    assert_eq!(
        (&told["status"], &told["application"]),
        (&json!("running"), &json!("ad-hoc"))
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn times_of_a_request_hold_for_configurations_and_not_for_plans() {
    let daemon = TestDaemon::start().await;
    let timed = |start: Value, end: Value, step: Value| {
        with(execution("old", "new"), |request| {
            for side in ["controlScope", "experimentScope"] {
                let scope = &mut request["scopes"]["default"][side];
                (scope["start"], scope["end"], scope["step"]) =
                    (start.clone(), end.clone(), step.clone());
            }
        })
    };
    let from = json!("2026-01-01T00:00:00Z");
    for (number, (end, step, expected)) in [
        (
            json!("2026-01-01T00:30:00Z"),
            json!(60),
            (1_800_000, 60_000),
        ),
        (
            json!("2026-01-01T02:30:00+02:00"),
            json!("10"),
            (1_800_000, 10_000),
        ),
        (json!("2026-01-01T00:30:00Z"), json!(0), (1_800_000, 60_000)),
        (
            json!("2026-01-02T00:00:00Z"),
            json!(1),
            (86_445_000, 85_000),
        ),
        (Value::Null, Value::Null, (3_600_000, 60_000)),
    ]
    .into_iter()
    .enumerate()
    {
        let request = timed(from.clone(), end, step);
        let id = start(&daemon, &sent(&format!("c{number}")), &request).await;
        let (horizon, tick) = times(&daemon, &id).await;
        assert_eq!(json!([horizon, tick]), json!([expected.0, expected.1]));
    }
    let body = json!({"canaryConfig": sent("alone"), "executionRequest": standalone("old", "new")});
    let (_, answer) = post(&daemon, "/standalone_canary_analysis", &body).await;
    let id = answer["canaryAnalysisExecutionId"].as_str().expect("an id");
    assert_eq!(times(&daemon, id).await, (json!(120_000), json!(500)));
    // A plan's own times hold, whatever a request says.
    for end in ["2026-01-01T00:30:00Z", "2025-01-01T00:00:00Z", "soon"] {
        let request = timed(from.clone(), json!(end), json!(-1));
        let (status, told) = post(&daemon, "/canary/walk?application=checkout", &request).await;
        assert_eq!(status, 200, "{told}");
        let id = told["canaryExecutionId"].as_str().expect("an id");
        assert_eq!(times(&daemon, id).await, (json!(60_000), json!(100)));
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_started_is_told_with_its_place_and_a_fix() {
    let daemon = TestDaemon::start().await;
    let pair = |config: Value, request: Value| json!({"canaryConfig": config, "executionRequest": request});
    let scoped =
        |change: fn(&mut Value)| pair(sent("golden"), with(execution("old", "new"), change));
    let configured =
        |change: fn(&mut Value)| pair(with(sent("golden"), change), execution("old", "new"));
    let cases = [
        (json!({}), "lacks `canaryConfig`"),
        (json!({"canaryConfig": {}}), "lacks `executionRequest`"),
        (
            json!({"canaryConfig": 3, "executionRequest": {}}),
            "`canaryConfig` is of the wrong type",
        ),
        (pair(json!({}), execution("old", "new")), "has no metrics"),
        (
            configured(|config| config["metrics"] = json!("x")),
            "metrics: invalid type",
        ),
        (
            configured(|config| {
                config["metrics"][0]["analysisConfigurations"]["canary"]["critical"] = json!("yes");
            }),
            "metric \"latency\": analysisConfigurations.canary.critical",
        ),
        (
            configured(|config| config["metrics"][0]["scopeName"] = json!("db")),
            "`metrics[0].scopeName` is \"db\", which `scopes` does not hold; give the pair",
        ),
        (
            configured(|config| {
                let other = with(config["metrics"][0].clone(), |metric| {
                    (metric["name"], metric["scopeName"]) = (json!("b"), json!("db"));
                });
                config["metrics"]
                    .as_array_mut()
                    .expect("a list")
                    .push(other);
            }),
            "several scopes by `scopeName`; davy compares two versions",
        ),
        (
            configured(|config| {
                config["metrics"][0]["query"] = promql("up{hash='${scope}'}");
            }),
            "source_unfit",
        ),
        (
            scoped(|request| request["thresholds"] = Value::Null),
            "thresholds",
        ),
        (
            scoped(|request| request["scopes"] = json!({})),
            "does not hold",
        ),
        (
            scoped(|request| {
                request["scopes"]["default"]["experimentScope"]["end"] = json!("noon")
            }),
            "the scope's end is no time; give RFC 3339",
        ),
        (
            scoped(|request| {
                request["scopes"]["default"]["experimentScope"]["end"] =
                    json!("2025-01-01T00:00:00Z");
            }),
            "its end must follow its start",
        ),
        (
            scoped(|request| request["scopes"]["default"]["experimentScope"]["step"] = json!(-60)),
            "`step` is below 0",
        ),
        (
            scoped(|request| {
                request["scopes"]["default"]["controlScope"]["start"] =
                    json!("2025-12-31T00:00:00Z")
            }),
            "the control scope is of another time",
        ),
    ];
    for (body, words) in cases {
        let (status, told) = post(&daemon, "/canary?application=checkout", &body).await;
        let message = told["message"].as_str().unwrap_or_default();
        assert_eq!(status, 400, "{words}: {told}");
        assert!(message.contains(words), "{words}: {message}");
    }
    let alone =
        |change: fn(&mut Value)| pair(sent("golden"), with(standalone("old", "new"), change));
    for (body, words) in [
        (
            alone(|request| request["lifetimeDurationMins"] = Value::Null),
            "neither `lifetimeDurationMins` nor `endTimeIso` is given",
        ),
        (
            alone(|request| request["scopes"][0]["controlOffsetInMinutes"] = json!(60)),
            "the control scope is of another time",
        ),
        (
            alone(|request| request["analysisIntervalMins"] = json!("often")),
            "`analysisIntervalMins` is no number",
        ),
        (alone(|request| request["scopes"] = json!([])), "one pair"),
    ] {
        let (status, told) = post(&daemon, "/standalone_canary_analysis", &body).await;
        let message = told["message"].as_str().unwrap_or_default();
        assert_eq!(status, 400, "{words}: {told}");
        assert!(message.contains(words), "{words}: {message}");
    }
    let (_, listed) = daemon.get("/v1/analyses").await;
    assert_eq!(listed["analyses"], json!([]), "nothing has begun");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_limited_to_namespaces_starts_in_those() {
    let keys = Keys::new();
    keys.add(1, &[Scope::Control, Scope::Read], |token| {
        token.namespaces = Some(vec!["shop".to_owned()]);
    });
    keys.add(2, &[Scope::Read], |_| ());
    let daemon = keys.daemon().await;
    let start = async |number: u8, location: &str| {
        let request = with(execution("old", "new"), |request| {
            for side in ["controlScope", "experimentScope"] {
                request["scopes"]["default"][side]["location"] = json!(location);
            }
        });
        let body = json!({"canaryConfig": sent("golden"), "executionRequest": request});
        let url = format!("{}{BASE}/canary?application=checkout", daemon.url);
        answer(
            daemon
                .client
                .post(url)
                .bearer_auth(text(number))
                .json(&body),
        )
        .await
    };
    assert_eq!(start(1, "shop").await.0, 200);
    for (number, location) in [(1, "other"), (1, ""), (2, "shop")] {
        let (status, told) = start(number, location).await;
        assert_eq!(status, 403, "{location}: {told}");
    }
    daemon.stop().await;
}
