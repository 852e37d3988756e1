//! A plan that asks Kayenta's judge, through davy's own API and through Kayenta's.

use serde_json::{Value, json};

use super::{Sender, folder, raw, start, until};
use crate::daemon::client;
use crate::restart::Davy;

const PLAN: &str = "version: davy/v1
plan: scored
horizon: 4s
tick: 200ms
lateness: 100ms
judge: {kayenta: {pass: 90, marginal: 50, interval: 2s, group_weights: {speed: 60}}}
step: {min_duration: 200ms, min_samples: 1}
arms: {baseline: 'version=\"{{baseline}}\"', canary: 'version=\"{{canary}}\"'}
metrics:
  latency: {kind: latency, value_unit: ms, from: values, select: latency}
checks:
  - {compare: latency, at: p50, worse: higher, kayenta: {groups: [speed], effect_size: {allowed_increase: 1.2}}}
  - {compare: latency, at: p90, kayenta: {groups: [tail]}}
  - {compare: latency, at: p99, gating: false}
";

async fn ended(davy: &Davy, id: &str) -> Value {
    let path = format!("/v1/analyses/{id}/verdict");
    until("it ends", async || davy.get(&path).await["final"] == true).await;
    davy.get(&path).await
}

async fn started(davy: &Davy, canary: &str) -> String {
    let asked = json!({"plan": "scored", "arms": {"baseline": "old", "canary": canary}});
    let (status, begun) = davy.post("/v1/analyses", &asked).await;
    assert_eq!(status, 201, "{begun}");
    begun["id"].as_str().expect("an id").to_owned()
}

/// What a client of Kayenta is told of an execution with these thresholds.
async fn told(davy: &Davy, id: &str, pass: u32, marginal: u32) -> Value {
    let url = format!("{}/compat/kayenta/canary/{id}~{pass}~{marginal}", davy.url);
    let (status, answer) = raw(client().get(url)).await;
    assert_eq!(status, 200, "{answer}");
    answer["result"]["judgeResult"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_score_is_kayentas_and_promises_nothing() {
    let folder = folder("");
    std::fs::write(folder.path().join("plans/scored.yaml"), PLAN).expect("written");
    let davy = start(folder.path());
    let sender = Sender::begin(&davy.url, "old", "good", 1.0);
    let id = started(&davy, "good").await;
    // A step's gate waits for a judgement, and says so.
    let step = format!("/v1/analyses/{id}/verdict?gate=step");
    until("a first tick", async || {
        let waits = davy.get(&step).await["gate"]["waiting_for"].clone();
        waits
            .as_str()
            .is_some_and(|text| text.starts_with("a judgement"))
    })
    .await;
    until("a judgement", async || {
        davy.get(&step).await["gate"]["open"] == true
    })
    .await;
    assert_eq!(davy.get(&step).await["final"], false);
    let verdict = ended(&davy, &id).await;
    assert_eq!(
        (&verdict["verdict"], &verdict["score"]),
        (&json!("pass"), &json!(100.0)),
        "{verdict}"
    );
    assert_eq!(verdict["guarantee"]["alpha"], 1.0);
    let assumes = verdict["guarantee"]["assumes"][0].as_str().expect("text");
    assert!(assumes.starts_with("nothing is promised"), "{assumes}");
    assert_eq!(verdict["checks"][0]["kayenta"]["label"], "Pass");
    assert_eq!(
        told(&davy, &id, 95, 75).await["score"]["classification"],
        "Pass"
    );

    sender.set(|traffic| {
        traffic.canary = "bad".to_owned();
        traffic.factor = 1.5;
    });
    let id = started(&davy, "bad").await;
    let verdict = ended(&davy, &id).await;
    assert_eq!(
        (&verdict["verdict"], &verdict["score"]),
        (&json!("fail"), &json!(0.0)),
        "{verdict}"
    );
    assert!(
        verdict["elapsed_secs"].as_f64().expect("a number") < 4.0,
        "at the first judgement: {verdict}"
    );
    let message = verdict["message"].as_str().expect("text");
    assert!(
        message
            .starts_with("fail, roll back: Kayenta's score is 0, below 50: High: p50 of latency"),
        "{message}"
    );
    let judged = told(&davy, &id, 95, 75).await;
    assert_eq!(judged["judgeName"], "NetflixACAJudge-v1.0");
    assert_eq!(judged["score"]["classification"], "Fail");
    assert_eq!(judged["groupScores"][0]["name"], "speed");
    assert_eq!(judged["results"][2]["muted"], true);
    let counted = &judged["results"][0]["controlMetadata"]["stats"];
    assert_eq!(counted["count"], 10, "a value a tick: {judged}");
    assert!(counted["mean"].as_f64().expect("a mean") > 90.0, "{judged}");
    let ratio = &judged["results"][0]["resultMetadata"]["ratio"];
    assert!(
        (ratio.as_f64().expect("a ratio") - 1.5).abs() < 0.1,
        "{judged}"
    );
    // The caller's thresholds hold for that score, also where the marginal one itself ends it.
    let standalone = async |pass: u32, marginal: u32| {
        let path = format!("standalone_canary_analysis/{id}~{pass}~{marginal}");
        let url = format!("{}/compat/kayenta/{path}", davy.url);
        raw(client().get(url)).await.1
    };
    for (pass, marginal, passes, status) in [(95, 75, false, "TERMINAL"), (0, 0, false, "TERMINAL")]
    {
        let told = standalone(pass, marginal).await;
        let whole = &told["canaryAnalysisExecutionResult"];
        assert_eq!(whole["didPassThresholds"], passes, "{told}");
        assert_eq!(told["executionStatus"], status, "{told}");
        assert_eq!(whole["hasWarnings"], true, "ten values are few: {told}");
    }
    // In a list nobody's thresholds are known: the plan's own hold.
    let url = format!("{}/compat/kayenta/canary/executions", davy.url);
    let listed = raw(client().get(url)).await.1;
    let labels = listed.as_array().expect("a list").iter();
    let labels: Vec<&Value> = labels
        .map(|one| &one["result"]["judgeResult"]["score"]["classification"])
        .collect();
    assert_eq!(labels, ["Fail", "Pass"], "{listed}");
}
