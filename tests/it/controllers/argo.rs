//! Argo Rollouts: an AnalysisRun's measurements and limits, and the steps of a rollout, a hundred
//! times as fast. What decides is as in its `metricproviders/webmetric` and `analysis` packages.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Sender, folder, manifest, start, until};
use crate::daemon::client;
use crate::restart::Davy;
use crate::support::PATIENCE;

/// How much faster than the manifests say.
const SPEED: u32 = 100;
/// Wait after a measurement that was an error, whatever the interval.
const ERROR_RETRY: Duration = Duration::from_secs(10);

/// How a measurement, a run or a rollout ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Successful,
    Failed,
    Inconclusive,
    Error,
}

/// A metric of a template with its arguments put in.
struct Metric(Value);

impl Metric {
    fn of(template: &str, url: &str, given: &[(&str, &str)]) -> Metric {
        let template = manifest(template);
        let mut args: BTreeMap<String, String> = BTreeMap::new();
        for arg in template["spec"]["args"].as_array().expect("args") {
            let name = arg["name"].as_str().expect("a name");
            if let Some(value) = arg["value"].as_str() {
                args.insert(name.to_owned(), value.to_owned());
            }
        }
        args.insert("davy-url".to_owned(), url.to_owned());
        args.insert("davy-token".to_owned(), "nobody-asks".to_owned());
        let given = given
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()));
        args.extend(given);
        let mut text = template["spec"]["metrics"][0].to_string();
        for (name, value) in args {
            text = text.replace(&format!("{{{{args.{name}}}}}"), &value);
        }
        assert!(!text.contains("{{"), "an argument is missing: {text}");
        Metric(serde_json::from_str(&text).expect("JSON"))
    }

    fn limit(&self, name: &str, default: i64) -> i64 {
        self.0[name].as_i64().unwrap_or(default)
    }

    fn interval(&self) -> Duration {
        let text = self.0["interval"].as_str().expect("an interval");
        let secs = text.strip_suffix('s').and_then(|secs| secs.parse().ok());
        Duration::from_secs(secs.expect("seconds")) / SPEED
    }

    /// One measurement: a client of its own, no retry, and what the conditions say.
    async fn measure(&self) -> (Phase, Value) {
        let web = &self.0["provider"]["web"];
        assert_eq!(
            (&web["method"], &web["jsonPath"]),
            (&json!("POST"), &json!("{$}"))
        );
        let mut request = client().post(web["url"].as_str().expect("a URL"));
        for header in web["headers"].as_array().expect("headers") {
            let [key, value] = ["key", "value"].map(|name| header[name].as_str().expect("text"));
            request = request.header(key, value);
        }
        let timeout = web["timeoutSeconds"].as_u64().expect("a timeout");
        let request = request
            .header("content-type", "application/json")
            .header("user-agent", "Go-http-client/1.1")
            .timeout(Duration::from_secs(timeout))
            .body(web["jsonBody"].to_string());
        let Ok(response) = request.send().await else {
            return (Phase::Error, Value::Null);
        };
        let status = response.status();
        let Ok(text) = response.text().await else {
            return (Phase::Error, Value::Null);
        };
        let parsed: Option<Value> = serde_json::from_str(&text).ok();
        if !status.is_success() {
            return (Phase::Error, parsed.unwrap_or_default());
        }
        // Released controllers take a 2xx that is no JSON for a success.
        let result = parsed.unwrap_or_else(|| panic!("a {status} without JSON: {text:?}"));
        assert!(
            result.to_string().len() < 2_000,
            "it is kept in etcd: {result}"
        );
        let holds = |name: &str| holds(self.0[name].as_str().expect("a condition"), &result);
        let phase = match (holds("failureCondition"), holds("successCondition")) {
            (true, _) => Phase::Failed,
            (_, true) => Phase::Successful,
            _ => Phase::Inconclusive,
        };
        (phase, result)
    }
}

/// The one form of condition that the templates use.
fn holds(condition: &str, result: &Value) -> bool {
    let words: Vec<&str> = condition.split(' ').collect();
    let ["result.verdict", operator, value] = words[..] else {
        panic!("another condition: {condition}");
    };
    let value: Value = serde_json::from_str(value).expect("a text in quotes");
    let is_equal = result["verdict"] == value;
    match operator {
        "==" => is_equal,
        "!=" => !is_equal,
        _ => panic!("another operator: {condition}"),
    }
}

/// An AnalysisRun with one metric, from its first measurement to its end.
async fn run(metric: &Metric) -> (Phase, Vec<Value>) {
    let count = metric.limit("count", 0);
    let (mut done, mut failed, mut inconclusive) = (0, 0, 0);
    let (mut errors_in_a_row, mut successes_in_a_row) = (0, 0);
    let mut results = Vec::new();
    loop {
        let (phase, result) = metric.measure().await;
        results.push(result);
        let mut wait = metric.interval();
        match phase {
            Phase::Error => {
                errors_in_a_row += 1;
                wait = ERROR_RETRY / SPEED;
            }
            Phase::Failed => failed += 1,
            Phase::Inconclusive => inconclusive += 1,
            Phase::Successful => {}
        }
        if phase != Phase::Error {
            errors_in_a_row = 0;
            done += 1;
        }
        successes_in_a_row = match phase {
            Phase::Successful => successes_in_a_row + 1,
            _ => 0,
        };
        let wanted = metric.limit("consecutiveSuccessLimit", 0);
        let end = match () {
            () if errors_in_a_row > metric.limit("consecutiveErrorLimit", 4) => Some(Phase::Error),
            () if inconclusive > metric.limit("inconclusiveLimit", 0) => Some(Phase::Inconclusive),
            () if failed > metric.limit("failureLimit", 0) => Some(Phase::Failed),
            () if wanted > 0 && successes_in_a_row >= wanted => Some(Phase::Successful),
            () if count > 0 && done >= count && wanted > 0 => Some(Phase::Inconclusive),
            () if count > 0 && done >= count => Some(Phase::Successful),
            () => None,
        };
        if let Some(end) = end {
            return (end, results);
        }
        tokio::time::sleep(wait).await;
    }
}

/// The arguments of one of the rollout's gates: its place among the analyses, and the hashes.
fn arguments(gate: &Value, baseline: &str, revision: &str) -> Vec<(String, String)> {
    let args = gate["analysis"]["args"].as_array().expect("args");
    let value = |arg: &Value| match arg["name"].as_str().expect("a name") {
        "baseline" => {
            assert_eq!(arg["valueFrom"]["podTemplateHashValue"], "Stable");
            baseline.to_owned()
        }
        "revision" => {
            assert_eq!(arg["valueFrom"]["podTemplateHashValue"], "Latest");
            revision.to_owned()
        }
        "namespace" => "shop".to_owned(),
        "name" => "checkout".to_owned(),
        _ => arg["value"].as_str().expect("a value").to_owned(),
    };
    args.iter()
        .map(|arg| (arg["name"].as_str().expect("a name").to_owned(), value(arg)))
        .collect()
}

fn gates() -> Vec<Value> {
    let rollout = manifest("argo/rollout.yaml");
    let steps = rollout["spec"]["strategy"]["canary"]["steps"].clone();
    let steps = steps.as_array().expect("steps").clone();
    let gates = steps.into_iter().filter(|step| !step["analysis"].is_null());
    let gates: Vec<Value> = gates.collect();
    assert_eq!(gates.len(), 4);
    gates
}

fn gate(url: &str, gate: &Value, baseline: &str, revision: &str) -> Metric {
    let args = arguments(gate, baseline, revision);
    let args: Vec<(&str, &str)> = args.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    Metric::of("argo/davy-gate.yaml", url, &args)
}

fn guard(url: &str, baseline: &str, revision: &str) -> Metric {
    let args = [
        ("plan", "checkout"),
        ("namespace", "shop"),
        ("name", "checkout"),
        ("baseline", baseline),
        ("revision", revision),
    ];
    Metric::of("argo/davy-guard.yaml", url, &args)
}

/// A whole rollout: its gates one after the other, its guard all the time.
async fn roll_out(url: &str, baseline: &str, revision: &str) -> (Phase, Vec<Vec<Value>>) {
    let guarding = guard(url, baseline, revision);
    let mut seen = Vec::new();
    let stepping = async {
        for step in gates() {
            let (phase, results) = run(&gate(url, &step, baseline, revision)).await;
            seen.push(results);
            if phase != Phase::Successful {
                return phase;
            }
        }
        Phase::Successful
    };
    let phase = tokio::select! {
        phase = stepping => phase,
        (phase, _) = run(&guarding) => phase,
    };
    (phase, seen)
}

async fn shown(davy: &Davy, result: &Value) -> Value {
    let id = result["analysis"].as_str().expect("an id");
    davy.get(&format!("/v1/analyses/{id}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_canary_goes_through_four_steps_on_one_analysis() {
    let folder = folder("");
    let davy = start(folder.path());
    let _sender = Sender::begin(&davy.url, "old", "new", 1.0);
    let (phase, seen) = roll_out(&davy.url, "old", "new").await;
    assert_eq!((phase, seen.len()), (Phase::Successful, 4), "{seen:?}");
    let last = seen[3].last().expect("measured");
    assert_eq!(
        (&last["verdict"], &last["final"]),
        (&json!("pass"), &json!(true))
    );
    let shown = shown(&davy, last).await;
    let steps = shown["steps"].as_array().expect("steps");
    let names: Vec<&Value> = steps.iter().map(|step| &step["name"]).collect();
    assert_eq!(names, ["5", "20", "50", "100"]);
    // Each step lasted as long as the plan asks of it.
    let began: Vec<i64> = steps
        .iter()
        .map(|step| step["began_at"].as_i64().expect("a time"))
        .collect();
    let mut ends = began[1..].to_vec();
    ends.push(shown["final_at"].as_i64().expect("it ended"));
    for (began, end) in began.iter().zip(&ends) {
        assert!(end - began >= 600, "{began} to {end}: {shown}");
    }
    let change = davy.get("/v1/changes/argo:shop:checkout:new").await;
    assert_eq!(change["verdict"], "pass");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_step_opens_on_the_evidence_of_an_earlier_one() {
    let folder = folder("");
    let davy = start(folder.path());
    let sender = Sender::begin(&davy.url, "old", "new", 1.0);
    for (number, step) in gates().iter().enumerate() {
        sender.set(|traffic| traffic.is_on = false);
        let metric = gate(&davy.url, step, "old", "new");
        for _ in 0..12 {
            let (phase, result) = metric.measure().await;
            assert_eq!(
                phase,
                Phase::Inconclusive,
                "step {number} opens on nothing: {result}"
            );
            assert!(result["waiting_for"].is_string(), "{result}");
            tokio::time::sleep(metric.interval()).await;
        }
        sender.set(|traffic| traffic.is_on = true);
        let (phase, results) = run(&metric).await;
        assert_eq!(phase, Phase::Successful, "step {number}: {results:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_canary_is_aborted_and_stays_so_until_it_is_tried_anew() {
    let folder = folder("");
    let davy = start(folder.path());
    let sender = Sender::begin(&davy.url, "old", "new", 3.0);
    let (phase, _) = roll_out(&davy.url, "old", "new").await;
    assert_eq!(phase, Phase::Failed);
    // The same revision again: the fail stands, and says why.
    let (phase, result) = gate(&davy.url, &gates()[0], "old", "new").measure().await;
    assert_eq!(phase, Phase::Failed, "{result}");
    assert_eq!(result["reason"], "degraded");
    // What was wrong was elsewhere, and a person says so.
    sender.set(|traffic| traffic.factor = 1.0);
    let mut args = arguments(&gates()[3], "old", "new");
    args.push(("attempt".to_owned(), "2".to_owned()));
    let args: Vec<(&str, &str)> = args.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let again = Metric::of("argo/davy-gate.yaml", &davy.url, &args);
    let (phase, results) = run(&again).await;
    assert_eq!(phase, Phase::Successful, "{results:?}");
    let last = results.last().expect("measured");
    assert_ne!(last["analysis"], result["analysis"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_of_which_too_little_is_known_is_paused_when_the_time_is_over() {
    let folder = folder("");
    let davy = start(folder.path());
    let mut metric = gate(&davy.url, &gates()[3], "old", "new");
    // A gate's budget of ten measurements.
    metric.0["count"] = json!(10);
    metric.0["inconclusiveLimit"] = json!(9);
    let (phase, results) = run(&metric).await;
    assert_eq!(
        (phase, results.len()),
        (Phase::Inconclusive, 10),
        "{results:?}"
    );
    assert_eq!(results[9]["reason"], "no_telemetry");
    // A person promotes it all the same: whatever is asked now is answered so.
    let id = results[9]["analysis"].as_str().expect("an id");
    let decided = json!({"decision": "promote", "reason": "seen by hand"});
    let (status, body) = davy
        .post(&format!("/v1/analyses/{id}/override"), &decided)
        .await;
    assert_eq!(status, 200, "{body}");
    let (phase, result) = metric.measure().await;
    assert_eq!(phase, Phase::Successful, "{result}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_and_a_davy_that_start_again_go_on_with_the_same_analysis() {
    let folder = folder("");
    let davy = start(folder.path());
    let sender = Sender::begin(&davy.url, "old", "new", 1.0);
    let url = davy.url.clone();
    let first = gate(&url, &gates()[0], "old", "new");
    let (_, before) = first.measure().await;
    // The controller forgets its run and begins another.
    let (phase, results) = run(&gate(&url, &gates()[0], "old", "new")).await;
    assert_eq!(phase, Phase::Successful, "{results:?}");
    // davy is killed while the next gate is asked; errors are not a verdict.
    let second = gate(&url, &gates()[1], "old", "new");
    let (phase, _) = second.measure().await;
    assert_eq!(phase, Phase::Inconclusive);
    drop(davy);
    let (phase, _) = second.measure().await;
    assert_eq!(phase, Phase::Error);
    let path = folder.path().to_owned();
    let started = tokio::task::spawn_blocking(move || start(&path));
    let davy = started.await.expect("it starts");
    let (phase, results) = run(&second).await;
    assert_eq!(phase, Phase::Successful, "{results:?}");
    let last = results.last().expect("measured");
    assert_eq!(last["analysis"], before["analysis"]);
    let (phase, results) = run(&gate(&url, &gates()[3], "old", "new")).await;
    assert_eq!(phase, Phase::Successful, "{results:?}");
    assert_eq!(
        results.last().expect("measured")["analysis"],
        before["analysis"]
    );
    drop((davy, sender));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_revision_takes_the_place_of_the_one_before() {
    let folder = folder("");
    let davy = start(folder.path());
    let (_, old) = gate(&davy.url, &gates()[0], "v1", "v2").measure().await;
    let (_, new) = gate(&davy.url, &gates()[0], "v1", "v3").measure().await;
    assert_ne!(old["analysis"], new["analysis"]);
    // A question of the rollout before was on its way: it is answered, and begins nothing.
    let (phase, late) = gate(&davy.url, &gates()[0], "v1", "v2").measure().await;
    assert_eq!(phase, Phase::Inconclusive, "{late}");
    assert_eq!(late["analysis"], old["analysis"]);
    assert_eq!(shown(&davy, &late).await["reason"], "superseded");
    assert_eq!(shown(&davy, &new).await["status"], "pending");
    // With the newer one promoted, the older one is another canary: of another baseline.
    let (_, back) = gate(&davy.url, &gates()[0], "v3", "v2").measure().await;
    assert_ne!(back["analysis"], old["analysis"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_nobody_asks_for_any_more_is_abandoned_and_may_come_back() {
    let folder = folder("abandoned_after_secs = 1");
    let davy = start(folder.path());
    let metric = gate(&davy.url, &gates()[0], "old", "new");
    let (_, first) = metric.measure().await;
    let id = first["analysis"].as_str().expect("an id").to_owned();
    until("it is abandoned", async || {
        davy.get(&format!("/v1/analyses/{id}")).await["reason"] == "abandoned"
    })
    .await;
    let (phase, again) = metric.measure().await;
    assert_eq!(phase, Phase::Inconclusive, "{again}");
    assert_ne!(again["analysis"], first["analysis"]);
    assert_eq!(again["final"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_that_ask_first_at_once_get_one_analysis() {
    let folder = folder("");
    let davy = start(folder.path());
    let asking: Vec<_> = (0..8)
        .map(|_| {
            let metric = gate(&davy.url, &gates()[0], "old", "new");
            tokio::spawn(async move { metric.measure().await.1["analysis"].clone() })
        })
        .collect();
    let mut ids = Vec::new();
    for one in asking {
        let id = tokio::time::timeout(PATIENCE, one).await;
        ids.push(id.expect("in time").expect("no panic"));
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert!(ids[0].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_is_rolled_out_again_is_judged_again() {
    let folder = folder("");
    let davy = start(folder.path());
    let sender = Sender::begin(&davy.url, "old", "new", 1.0);
    let last = gate(&davy.url, &gates()[3], "old", "new");
    let (phase, results) = run(&last).await;
    assert_eq!(phase, Phase::Successful, "{results:?}");
    let first = results.last().expect("measured")["analysis"].clone();
    // The answer was lost, and is asked for again.
    let (phase, again) = last.measure().await;
    assert_eq!((phase, &again["analysis"]), (Phase::Successful, &first));
    // A gate that the analysis did not end in is asked of another one.
    sender.set(|traffic| traffic.is_on = false);
    let (phase, step) = gate(&davy.url, &gates()[0], "old", "new").measure().await;
    assert_eq!(phase, Phase::Inconclusive, "{step}");
    assert_ne!(step["analysis"], first);
    let (_, back) = gate(&davy.url, &gates()[3], "new", "old").measure().await;
    assert_ne!(back["analysis"], first);
    // The person changed their mind again: what passed before was before.
    let (phase, once_more) = last.measure().await;
    assert_ne!(phase, Phase::Successful, "{once_more}");
}
