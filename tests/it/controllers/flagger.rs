//! Flagger: the hooks of a Canary in the order of its loop, tick by tick.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Sender, folder, manifest, start};
use crate::daemon::client;

/// Wait between two ticks of the loop.
const TICK: Duration = Duration::from_millis(100);
/// Ticks of a canary in the tests.
const TICKS_MAX: usize = 250;

/// What a hook came to: its status and what Flagger would show.
type Answer = (u16, String);

/// A Canary as Flagger's controller holds it.
struct Canary {
    url: String,
    spec: Value,
    name: &'static str,
    checksum: String,
    phase: &'static str,
    weight: i64,
    failed_checks: i64,
    is_rolled_back: bool,
    /// Every hook that was sent, with its answer.
    sent: Vec<(String, Answer)>,
}

impl Canary {
    fn new(url: &str, checksum: &str) -> Canary {
        let spec = manifest("flagger/canary.yaml");
        Canary {
            url: url.to_owned(),
            name: "checkout",
            spec: spec["spec"]["analysis"].clone(),
            checksum: checksum.to_owned(),
            phase: "Progressing",
            weight: 0,
            failed_checks: 0,
            is_rolled_back: false,
            sent: Vec::new(),
        }
    }

    /// Sends the hooks of a type: whether all of them said yes.
    async fn hooks(&mut self, kind: &str) -> bool {
        let hooks = self.spec["webhooks"].as_array().expect("hooks").clone();
        let mut all = true;
        for hook in hooks.iter().filter(|hook| hook["type"] == kind) {
            let path = hook["url"].as_str().expect("a URL");
            let (_, path) = path.split_once("8088").expect("davy's port");
            let answer = self.post(path, &hook["metadata"]).await;
            all &= matches!(answer.0, 200..=202);
            self.sent.push((kind.to_owned(), answer));
        }
        all
    }

    async fn post(&self, path: &str, metadata: &Value) -> Answer {
        let body = json!({"name": self.name, "namespace": "shop", "phase": self.phase,
            "checksum": self.checksum, "metadata": metadata});
        let request = client()
            .post(format!("{}{path}", self.url))
            .basic_auth("flagger", Some("TOKEN"))
            .header("content-type", "application/json")
            .timeout(Duration::from_secs(5))
            .body(body.to_string());
        let Ok(response) = request.send().await else {
            return (0, String::new());
        };
        let status = response.status().as_u16();
        let text = response.text().await.unwrap_or_default();
        assert!(
            !matches!(status, 203..400),
            "Flagger takes {status} for a failure"
        );
        // It stands in an event of the cluster.
        assert!(
            !text.trim().is_empty() && text.trim_end().lines().count() == 1,
            "{text:?}"
        );
        assert!(!text.starts_with('{'), "a line for people: {text}");
        (status, text)
    }

    /// One turn of the loop.
    async fn tick(&mut self) {
        if self.hooks("rollback").await || self.failed_checks >= 10 {
            self.is_rolled_back = true;
            self.end("Failed").await;
            return;
        }
        let kind = if self.weight == 0 {
            "pre-rollout"
        } else {
            "rollout"
        };
        if !self.hooks(kind).await {
            self.failed_checks += 1;
            return;
        }
        if self.phase == "Progressing" && !self.hooks("confirm-traffic-increase").await {
            return;
        }
        let number = |name: &str| self.spec[name].as_i64().expect("a number");
        if self.weight < number("maxWeight") {
            self.weight += number("stepWeight");
            return;
        }
        if self.hooks("confirm-promotion").await {
            self.end("Succeeded").await;
        } else {
            self.phase = "WaitingPromotion";
        }
    }

    async fn end(&mut self, phase: &'static str) {
        self.phase = phase;
        assert!(self.hooks("post-rollout").await);
    }

    async fn run(&mut self) {
        for _ in 0..TICKS_MAX {
            if matches!(self.phase, "Failed" | "Succeeded") {
                return;
            }
            self.tick().await;
            tokio::time::sleep(TICK).await;
        }
        panic!(
            "it never ends: {:?}",
            self.sent.iter().rev().take(6).collect::<Vec<_>>()
        );
    }

    fn last(&self, kind: &str) -> &Answer {
        let sent = self.sent.iter().rev().find(|(sent, _)| sent == kind);
        &sent.expect("it was sent").1
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_canary_gains_weight_step_by_step_and_is_promoted() {
    let folder = folder("");
    let davy = start(folder.path());
    let _sender = Sender::begin(&davy.url, "checkout-primary", "checkout", 1.0);
    let mut canary = Canary::new(&davy.url, "77c9");
    canary.run().await;
    assert_eq!((canary.phase, canary.failed_checks), ("Succeeded", 0));
    let kinds: Vec<&str> = canary.sent.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(
        kinds[..3],
        ["rollback", "pre-rollout", "confirm-traffic-increase"]
    );
    let change = davy.get("/v1/changes/flagger:shop:checkout:77c9").await;
    assert_eq!(
        (&change["verdict"], &change["outcome"]["outcome"]),
        (&json!("pass"), &json!("promoted"))
    );
    let steps = change["analyses"][0]["steps"]
        .as_array()
        .expect("steps")
        .clone();
    let names: Vec<&Value> = steps.iter().map(|step| &step["name"]).collect();
    assert_eq!(
        names,
        [
            "before traffic",
            "increase 1",
            "increase 2",
            "increase 3",
            "increase 4",
            "increase 5",
            "increase 6"
        ]
    );
    let began: Vec<i64> = steps
        .iter()
        .map(|step| step["began_at"].as_i64().expect("a time"))
        .collect();
    for pair in began[1..].windows(2) {
        assert!(
            pair[1] - pair[0] >= 600,
            "a step opened on what came before it: {began:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_canary_is_rolled_back_by_its_own_hook() {
    let folder = folder("");
    let davy = start(folder.path());
    let _sender = Sender::begin(&davy.url, "checkout-primary", "checkout", 3.0);
    let mut canary = Canary::new(&davy.url, "bad1");
    canary.run().await;
    assert!(canary.is_rolled_back);
    let (status, text) = canary.last("rollback");
    assert_eq!(*status, 200);
    assert!(text.contains("fail"), "{text}");
    let change = davy.get("/v1/changes/flagger:shop:checkout:bad1").await;
    assert_eq!(change["outcome"]["outcome"], "rolled_back");
    // Nobody else is rolled back by it: another revision, name, namespace, plan.
    let rollback = "/compat/flagger/v1/rollback";
    for change in ["checksum", "name", "plan"] {
        let mut other = Canary::new(&davy.url, "bad1");
        let mut metadata = json!({"plan": "checkout"});
        match change {
            "checksum" => other.checksum = "good".to_owned(),
            "name" => other.name = "cart",
            _ => metadata = json!({"plan": "other"}),
        }
        let (status, text) = other.post(rollback, &metadata).await;
        assert_eq!(status, 404, "another {change}: {text}");
    }
    // The same revision again does not get far.
    let mut again = Canary::new(&davy.url, "bad1");
    again.tick().await;
    assert!(again.is_rolled_back);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_samples_the_first_weight_is_given_and_the_next_ones_wait() {
    let folder = folder("");
    let davy = start(folder.path());
    let mut canary = Canary::new(&davy.url, "77c9");
    for _ in 0..15 {
        canary.tick().await;
        tokio::time::sleep(TICK).await;
    }
    // Held, not failed: the rollout waits for ever, and a person sees why.
    assert_eq!(
        (canary.weight, canary.failed_checks, canary.phase),
        (10, 0, "Progressing")
    );
    let (status, text) = canary.last("confirm-traffic-increase");
    assert_eq!(*status, 409);
    assert!(
        text.starts_with("inconclusive: increase 1 needs "),
        "{text}"
    );
    // A hook that is sent twice is not two steps.
    let _sender = Sender::begin(&davy.url, "checkout-primary", "checkout", 1.0);
    while canary.weight < 20 {
        canary.tick().await;
        tokio::time::sleep(TICK).await;
    }
    assert!(
        !canary.hooks("confirm-traffic-increase").await,
        "at once again"
    );
    canary.run().await;
    assert_eq!(canary.phase, "Succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_without_weights_asks_for_its_promotion_alone() {
    let folder = folder("");
    let davy = start(folder.path());
    let _sender = Sender::begin(&davy.url, "checkout-primary", "checkout", 1.0);
    let mut canary = Canary::new(&davy.url, "b1ue");
    assert!(canary.hooks("pre-rollout").await);
    while !canary.hooks("confirm-promotion").await {
        let (status, text) = canary.last("confirm-promotion");
        assert_eq!(*status, 409, "{text}");
        canary.phase = "WaitingPromotion";
        assert!(!canary.hooks("rollback").await);
        tokio::time::sleep(TICK).await;
    }
    let change = davy.get("/v1/changes/flagger:shop:checkout:b1ue").await;
    assert_eq!(change["verdict"], "pass");
    let steps = change["analyses"][0]["steps"].as_array().expect("steps");
    let names: Vec<&Value> = steps.iter().map(|step| &step["name"]).collect();
    assert_eq!(names, ["before traffic"], "no weight was asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_is_confirmed_before_its_revision_is_known_and_begins_nothing() {
    let folder = folder("");
    let davy = start(folder.path());
    let mut canary = Canary::new(&davy.url, "the-one-before");
    canary.phase = "Waiting";
    assert!(canary.hooks("confirm-rollout").await);
    let listed = davy.get("/v1/analyses").await;
    assert_eq!(listed["analyses"], json!([]));
    // A plan that is not there is found before anything is rolled out.
    let path = "/compat/flagger/v1/confirm-rollout";
    let (status, text) = canary.post(path, &json!({"plan": "chekout"})).await;
    assert_eq!(status, 404, "{text}");
    assert!(text.contains("did you mean `checkout`?"), "{text}");
    // Events are taken, whatever they say.
    let metadata = json!({"eventMessage": "New revision detected! Scaling up checkout.shop",
        "eventType": "Normal", "timestamp": "1764000000000"});
    let (status, _) = canary.post("/compat/flagger/v1/event", &metadata).await;
    assert_eq!(status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_revision_begins_anew_and_a_davy_that_is_away_rolls_nothing_back() {
    let folder = folder("");
    let davy = start(folder.path());
    let _sender = Sender::begin(&davy.url, "checkout-primary", "checkout", 1.0);
    let mut canary = Canary::new(&davy.url, "r1");
    while canary.weight < 20 {
        canary.tick().await;
        tokio::time::sleep(TICK).await;
    }
    canary.checksum = "r2".to_owned();
    canary.weight = 0;
    canary.tick().await;
    let first = davy.get("/v1/changes/flagger:shop:checkout:r1").await;
    assert_eq!(first["analyses"][0]["reason"], "superseded");
    drop(davy);
    assert!(!canary.hooks("rollback").await);
    assert_eq!(canary.last("rollback").0, 0);
    let davy = start(folder.path());
    canary.run().await;
    assert_eq!(canary.phase, "Succeeded");
    let second = davy.get("/v1/changes/flagger:shop:checkout:r2").await;
    assert_eq!(
        second["analyses"].as_array().map(Vec::len),
        Some(1),
        "one analysis"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checksum_that_is_applied_again_is_judged_again() {
    let folder = folder("");
    let davy = start(folder.path());
    let sender = Sender::begin(&davy.url, "checkout-primary", "checkout", 1.0);
    let mut canary = Canary::new(&davy.url, "77c9");
    canary.run().await;
    assert_eq!(canary.phase, "Succeeded");
    sender.set(|traffic| traffic.is_on = false);
    let mut again = Canary::new(&davy.url, "77c9");
    for _ in 0..10 {
        again.tick().await;
        tokio::time::sleep(TICK).await;
    }
    assert_eq!((again.weight, again.phase), (10, "Progressing"));
    let change = davy.get("/v1/changes/flagger:shop:checkout:77c9").await;
    assert_eq!(change["analyses"].as_array().map(Vec::len), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_before_the_first_weight_is_given_again() {
    let folder = folder("");
    let davy = start(folder.path());
    let mut canary = Canary::new(&davy.url, "77c9");
    for _ in 0..3 {
        // Flagger never hears the yes, so that the weight stays 0.
        canary.tick().await;
        assert_eq!(canary.last("confirm-traffic-increase").0, 200);
        canary.weight = 0;
    }
}
