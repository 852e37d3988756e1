//! Clients of Kayenta: Argo Rollouts' provider, Spinnaker's Orca, and a Kayenta that asks a remote judge.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Sender, folder, manifest, raw, start, until};
use crate::daemon::client;
use crate::restart::Davy;

/// Where the API is.
const BASE: &str = "/compat/kayenta";
/// How often the provider asks, a hundred times as fast.
const POLL: Duration = Duration::from_millis(150);

/// How a measurement of the provider ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Successful,
    Failed,
    Inconclusive,
    Error,
}

/// Argo's provider, from the template that people are given.
struct Provider {
    url: String,
    spec: Value,
}

impl Provider {
    fn new(davy: &Davy, baseline: &str, revision: &str) -> Provider {
        let template = manifest("argo/davy-kayenta.yaml");
        let mut text = template["spec"]["metrics"][0]["provider"]["kayenta"].to_string();
        for (name, value) in [
            ("plan", "checkout"),
            ("namespace", "shop"),
            ("name", "checkout"),
            ("baseline", baseline),
            ("revision", revision),
            ("davy-token", "nobody-asks"),
            ("davy-host", davy.url.trim_start_matches("http://")),
        ] {
            text = text.replace(&format!("{{{{args.{name}}}}}"), value);
        }
        let spec: Value = serde_json::from_str(&text).expect("JSON");
        let address = spec["address"].as_str().expect("an address");
        assert!(address.starts_with("http://argo:nobody-asks@") && address.ends_with(BASE));
        let url = format!("{}{BASE}", davy.url);
        Provider { url, spec }
    }

    fn text(&self, name: &str) -> &str {
        self.spec[name].as_str().expect("text")
    }

    /// Looks the configuration up and starts: the execution's id.
    async fn resume(&self) -> Option<String> {
        let address = format!(
            "{}/canaryConfig?application={}&configurationAccountName={}",
            self.url,
            self.text("application"),
            self.text("storageAccountName"),
        );
        let (status, rows) = raw(client().get(address)).await;
        let row = rows.as_array().filter(|_| status == 200)?.iter();
        let row = row
            .clone()
            .find(|row| row["name"] == self.text("canaryConfigName"))?;
        assert!(
            row["updatedTimestamp"].is_i64() && row["applications"].is_array(),
            "{row}"
        );
        let id = row["id"].as_str().expect("an id");
        let scope = |name: &str| {
            let scope = &self.spec["scopes"][0][name];
            json!({"scope": scope["scope"], "location": scope["region"], "step": scope["step"],
                "start": "2026-01-01T00:00:00+02:00", "end": "2026-01-01T01:00:00+02:00"})
        };
        let body = json!({
            "scopes": {"default": {
                "controlScope": scope("controlScope"),
                "experimentScope": scope("experimentScope"),
            }},
            "thresholds": self.spec["threshold"],
        });
        let address = format!(
            "{}/canary/{id}?application={}&metricsAccountName={}&configurationAccountName={}&storageAccountName={}",
            self.url,
            self.text("application"),
            self.text("metricsAccountName"),
            self.text("configurationAccountName"),
            self.text("storageAccountName"),
        );
        let request = client()
            .post(address)
            .header("content-type", "application/json");
        let (status, answer) = raw(request.body(body.to_string())).await;
        assert_ne!(status / 100 * 100 + 1, status, "exactly 200: {status}");
        let id = answer["canaryExecutionId"]
            .as_str()
            .filter(|_| status == 200)?;
        Some(id.to_owned())
    }

    async fn poll(&self, id: &str) -> Option<Phase> {
        let (status, answer) = raw(client().get(format!("{}/canary/{id}", self.url))).await;
        if status != 200 {
            return Some(Phase::Error);
        }
        if !answer["complete"].as_bool().expect("it is there") {
            return None;
        }
        let score = answer["result"]["judgeResult"]["score"]["score"].as_f64();
        let limit = |name: &str| self.spec["threshold"][name].as_i64().expect("a number");
        Some(match score.map(|score| score as i64) {
            None => Phase::Error,
            Some(score) if score >= limit("pass") => Phase::Successful,
            Some(score) if score >= limit("marginal") => Phase::Inconclusive,
            Some(_) => Phase::Failed,
        })
    }

    async fn measure(&self) -> (Phase, String) {
        let Some(id) = self.resume().await else {
            return (Phase::Error, String::new());
        };
        loop {
            if let Some(phase) = self.poll(&id).await {
                return (phase, id);
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn argo_takes_each_verdict_for_what_it_is() {
    let folder = folder("");
    let davy = start(folder.path());
    for (canary, factor, expected) in [
        ("good", 1.0, Phase::Successful),
        ("bad", 3.0, Phase::Failed),
    ] {
        let _sender = Sender::begin(&davy.url, "old", canary, factor);
        let provider = Provider::new(&davy, "old", canary);
        let (phase, id) = provider.measure().await;
        assert_eq!(phase, expected, "{canary}");
        // Started anew, as after an answer that was lost: the same execution.
        assert_eq!(provider.resume().await.as_deref(), Some(id.as_str()));
    }
    let provider = Provider::new(&davy, "old", "slow");
    let id = provider.resume().await.expect("it starts");
    assert_eq!(provider.poll(&id).await, None, "nothing is known yet");
    let analysis = id.split('~').next().expect("an analysis");
    let cancelled = davy
        .post(&format!("/v1/analyses/{analysis}/cancel"), &json!({}))
        .await;
    assert_eq!(cancelled.0, 200);
    // No score is no verdict; Argo takes it for an error and tries anew.
    assert_eq!(provider.poll(&id).await, Some(Phase::Error));
    let provider = Provider::new(&davy, "old", "seen-by-hand");
    let id = provider.resume().await.expect("it starts");
    let analysis = id.split('~').next().expect("an analysis").to_owned();
    let decided = json!({"decision": "promote", "reason": "seen by hand"});
    let path = format!("/v1/analyses/{analysis}/override");
    assert_eq!(davy.post(&path, &decided).await.0, 200);
    assert_eq!(provider.poll(&id).await, Some(Phase::Successful));
}

#[tokio::test(flavor = "multi_thread")]
async fn argo_pauses_where_the_horizon_ends_without_an_answer() {
    let folder = folder("");
    let plan = super::PLAN.replace("horizon: 60s", "horizon: 1s");
    std::fs::write(folder.path().join("plans/checkout.yaml"), plan).expect("written");
    let davy = start(folder.path());
    let (phase, _) = Provider::new(&davy, "old", "new").measure().await;
    assert_eq!(phase, Phase::Inconclusive);
}

/// What Orca sends.
fn orca_request(baseline: &str, canary: &str) -> Value {
    let scope = |scope: &str| {
        json!({"scope": scope, "location": "eu-1", "start": "2026-01-01T00:00:00Z",
            "end": "2026-01-01T01:00:00Z", "step": 60, "extendedScopeParams": {}})
    };
    json!({
        "scopes": {"default": {"controlScope": scope(baseline), "experimentScope": scope(canary)}},
        "thresholds": {"pass": 95, "marginal": 75},
        "siteLocal": {},
    })
}

/// What Orca's decoder throws at, where it is not there.
fn decoded(status: &Value) -> String {
    assert!(
        status["application"].is_string() && status["complete"].is_boolean(),
        "{status}"
    );
    assert!(status.get("canaryExecutionRequest").is_none() && status.get("exception").is_none());
    if let Some(result) = status.get("result") {
        let judged = &result["judgeResult"];
        for name in ["classification", "classificationReason"] {
            assert!(judged["score"][name].is_string(), "{name}: {status}");
        }
        assert!(judged["score"]["score"].is_number());
        let results = judged["results"].as_array().expect("results");
        assert!(!results.is_empty());
        for one in results {
            assert!(one["controlMetadata"]["stats"]["count"].is_u64(), "{one}");
        }
    }
    let status = status["status"].as_str().expect("a status").to_uppercase();
    assert!(["RUNNING", "SUCCEEDED", "CANCELED", "TERMINAL"].contains(&status.as_str()));
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn orca_starts_asks_and_cancels() {
    let folder = folder("");
    let davy = start(folder.path());
    let base = format!("{}{BASE}", davy.url);
    let (_, accounts) = raw(client().get(format!("{base}/credentials"))).await;
    let account = accounts[0]["name"].as_str().expect("a name");
    assert!(accounts[0]["type"].is_string());
    let (_, configs) = raw(client().get(format!("{base}/canaryConfig?application=checkout"))).await;
    let configs = configs.as_array().expect("a list");
    let named = configs.iter().filter(|row| row["name"] == "checkout");
    let named: Vec<&Value> = named.collect();
    assert_eq!(named.len(), 1, "a name is one configuration");
    assert_eq!(named[0]["applications"], json!(["checkout"]));
    let begin = async |canary: &str| {
        let address = format!(
            "{base}/canary/checkout?application=checkout&parentPipelineExecutionId=01H&metricsAccountName={account}&storageAccountName={account}"
        );
        let (status, answer) = raw(client().post(address).json(&orca_request("old", canary))).await;
        assert_eq!(status, 200, "{answer}");
        answer["canaryExecutionId"]
            .as_str()
            .expect("an id")
            .to_owned()
    };
    let status = async |id: &str| {
        let address = format!("{base}/canary/{id}?storageAccountName={account}");
        raw(client().get(address)).await.1
    };
    let id = begin("new").await;
    assert_eq!(decoded(&status(&id).await), "RUNNING");
    let _sender = Sender::begin(&davy.url, "old", "new", 1.0);
    until("it is complete", async || {
        status(&id).await["complete"] == true
    })
    .await;
    let done = status(&id).await;
    assert_eq!(decoded(&done), "SUCCEEDED");
    let score = &done["result"]["judgeResult"]["score"];
    assert_eq!(
        (&score["score"], &score["classification"]),
        (&json!(100.0), &json!("Pass"))
    );
    let other = begin("other").await;
    let cancel = || {
        client()
            .put(format!("{base}/pipelines/{other}/cancel"))
            .body("\"\"")
    };
    for _ in 0..2 {
        let cancel = cancel().header("content-type", "application/json");
        assert_eq!(raw(cancel).await.0, 202);
    }
    assert_eq!(decoded(&status(&other).await), "CANCELED");
    let (_, listed) =
        raw(client().get(format!("{base}/canary/executions?application=checkout"))).await;
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stand_alone_analysis_is_told_with_what_became_of_it() {
    let folder = folder("");
    let davy = start(folder.path());
    let base = format!("{}{BASE}/standalone_canary_analysis", davy.url);
    let body = json!({
        "scopes": [{"controlScope": "old", "experimentScope": "new", "controlLocation": "eu-1",
            "experimentLocation": "eu-1", "step": 60}],
        "thresholds": {"pass": 95, "marginal": 75}, "lifetimeDurationMins": 60,
    });
    let request = client()
        .post(format!("{base}/checkout?application=checkout"))
        .json(&body);
    let (status, answer) = raw(request).await;
    assert_eq!(status, 200, "{answer}");
    let id = answer["canaryAnalysisExecutionId"]
        .as_str()
        .expect("an id")
        .to_owned();
    let status = async || raw(client().get(format!("{base}/{id}"))).await.1;
    assert_eq!(status().await["executionStatus"], "RUNNING");
    let _sender = Sender::begin(&davy.url, "old", "new", 3.0);
    until("it is complete", async || {
        status().await["complete"] == true
    })
    .await;
    let done = status().await;
    assert_eq!(done["executionStatus"], "TERMINAL");
    let result = &done["canaryAnalysisExecutionResult"];
    assert_eq!(result["didPassThresholds"], false);
    assert_eq!(result["canaryScores"], json!([0.0]));
    assert!(
        result["canaryScoreMessage"]
            .as_str()
            .is_some_and(|text| text.starts_with("fail"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kayenta_asks_davy_as_its_remote_judge() {
    let folder = folder("");
    let davy = start(folder.path());
    let pair = |name: &str, control: Value, experiment: Value| {
        json!({"name": name, "id": "p-1", "tags": {},
            "values": {"control": control, "experiment": experiment},
            "scopes": {}, "attributes": {}})
    };
    let spread = |factor: f64| -> Value {
        (0..60)
            .map(|nth| json!((100.0 + (nth * 7 % 13) as f64) * factor))
            .collect()
    };
    let metric = |name: &str| {
        json!({"name": name, "groups": ["Latency"], "query": {"type": "prometheus"},
            "scopeName": "default", "analysisConfigurations": {"canary": {"direction": "increase"}}})
    };
    let body = json!({
        "canaryConfig": {"name": "golden", "applications": ["checkout"],
            "judge": {"name": "RemoteJudge-v1.0", "judgeConfigurations": {}},
            "metrics": [metric("p50"), metric("p99")],
            "classifier": {"groupWeights": {"Latency": 100}}},
        "scoreThresholds": {"pass": 95, "marginal": 75},
        "metricSetPairList": [
            pair("p50", spread(1.0), spread(1.0)),
            pair("p99", json!(["NaN", 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), json!([11, 12, 13, 14, 15, 16, 17])),
        ],
    });
    let judge = |body: String| {
        let request = client().post(format!("{}{BASE}/judge", davy.url));
        raw(request
            .header("content-type", "application/json")
            .body(body))
    };
    let (status, judged) = judge(body.to_string()).await;
    assert_eq!(status, 200, "{judged}");
    assert_eq!(judged["judgeName"], "NetflixACAJudge-v1.0");
    let labels: Vec<&Value> = judged["results"]
        .as_array()
        .expect("results")
        .iter()
        .map(|one| &one["classification"])
        .collect();
    assert_eq!(labels, ["Pass", "High"]);
    assert_eq!(judged["score"]["score"], 50.0);
    assert_eq!(judged["results"][1]["controlMetadata"]["stats"]["count"], 6);
    // Refused in its form.
    for (body, status) in [("{}", 400), ("", 400), ("nonsense", 400)] {
        let (answered, told) = judge(body.to_owned()).await;
        assert_eq!(answered, status, "{told}");
        assert!(
            told["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{told}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_started_is_told_in_kayentas_form() {
    let folder = folder("");
    let davy = start(folder.path());
    let base = format!("{}{BASE}", davy.url);
    let whole = orca_request("old", "new");
    let with = |change: fn(&mut Value)| {
        let mut body = whole.clone();
        change(&mut body);
        body
    };
    let cases = [
        ("chekout", whole.clone(), 404, "did you mean `checkout`"),
        (
            "checkout",
            with(|body| body["thresholds"] = json!({"pass": 75, "marginal": 95})),
            400,
            "marginal <= pass",
        ),
        (
            "checkout",
            with(|body| body["thresholds"] = Value::Null),
            400,
            "thresholds",
        ),
        (
            "checkout",
            with(|body| body["scopes"] = json!({})),
            400,
            "one pair",
        ),
        (
            "checkout",
            with(|body| body["scopes"]["default"]["controlScope"]["scope"] = json!("new")),
            400,
            "both arms",
        ),
    ];
    for (config, body, expected, words) in cases {
        let address = format!("{base}/canary/{config}?application=checkout");
        let (status, told) = raw(client().post(address).json(&body)).await;
        let message = told["message"].as_str().unwrap_or_default();
        assert_eq!(status, expected, "{told}");
        assert!(message.contains(words), "{message}");
    }
    for path in [
        "canary/an_none",
        "canary/an_none~95~75",
        "canaryConfig/none",
        "standalone_canary_analysis/x",
    ] {
        let (status, told) = raw(client().get(format!("{base}/{path}"))).await;
        assert_eq!(status, 404, "{path}: {told}");
        assert!(told["message"].is_string(), "{path}: {told}");
    }
}
