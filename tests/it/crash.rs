//! davy is killed again and again while it takes samples, looks and notifies, and nothing is lost: every
//! sample that was acknowledged is counted once, no verdict is told that another one follows, each is
//! delivered under one id, and all of it is what an undisturbed davy says.
//!
//! `DAVY_KILLS=300 cargo test --test it crash::` is the long form; a few kills are in every run.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State as Held;
use axum::http::{HeaderMap, StatusCode};
use davy::clock::{Clock as _, SystemClock};
use davy::codec::heads::Heads;
use davy::codec::{self, json as codec_json};
use davy::config::plan_file::parse_plan;
use davy::engine::{Effect, EventKind, Input, Limits, Start, State, apply, recording};
use davy::model::{Change, Timestamp};
use serde_json::{Value, json};

use crate::audit::assert_whole;
use crate::daemon::{answer, client};
use crate::formats::recording::Chance;
use crate::prometheus::free_port;
use crate::restart::Davy;
use crate::support::PATIENCE;

/// Kills in a run of the tests.
const KILLS: u32 = 6;
const TICK_MILLIS: i64 = 200;
const TICKS: i64 = 30;
/// Longer than davy is ever away.
const LATENESS_MILLIS: i64 = 4_000;

const PLAN: &str = "version: davy/v1
plan: crash
horizon: 6s
tick: 200ms
lateness: 4s
min_duration: 1s
arms: {baseline: 'version=\"{{baseline}}\"', canary: 'version=\"{{canary}}\"'}
metrics:
  latency: {kind: latency, value_unit: ms, from: values}
  errors: {kind: ratio, from: counter, bad: 'requests_total{code=~\"5..\"}', total: 'requests_total'}
checks:
  - {compare: latency, tolerance: 20%}
  - {compare: errors, tolerance: 5pp}
";

/// How a canary does.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Canary {
    AsGood,
    Slower,
    /// Too little is sent to tell.
    Sparse,
}

/// What arrived at the receiver: the bodies of each id.
type Arrivals = Arc<Mutex<BTreeMap<String, Vec<Value>>>>;

async fn receive(
    Held((arrivals, count)): Held<(Arrivals, Arc<AtomicU32>)>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> StatusCode {
    let id = headers["webhook-id"].to_str().expect("text").to_owned();
    let body = serde_json::from_slice(&body).expect("JSON");
    arrivals
        .lock()
        .expect("whole")
        .entry(id)
        .or_default()
        .push(body);
    // Every third is taken and not acknowledged, as by a receiver that dies.
    match count.fetch_add(1, Ordering::SeqCst) % 3 {
        2 => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::NO_CONTENT,
    }
}

/// One analysis and what its sender has sent.
struct Sending {
    id: String,
    canary: Canary,
    started_at: i64,
    chance: Chance,
    totals: BTreeMap<String, u64>,
    /// Bodies in the order they were acknowledged.
    sent: Vec<String>,
}

impl Sending {
    async fn begin(url: &str, name: &str, canary: Canary, seed: u64) -> Sending {
        let body = json!({"plan": "crash", "arms": arms(name)});
        let started = post(url, "/v1/analyses", &body.to_string()).await;
        let id = started["id"].as_str().expect("an id").to_owned();
        let shown = answer(client().get(format!("{url}/v1/analyses/{id}")))
            .await
            .1;
        Sending {
            started_at: shown["started_at"].as_i64().expect("a time"),
            id,
            canary,
            chance: Chance(seed),
            totals: BTreeMap::new(),
            sent: Vec::new(),
        }
    }

    /// The samples of a tick, in one request.
    fn body(&mut self, name: &str, tick: i64) -> String {
        let ts = self.started_at + tick * TICK_MILLIS + TICK_MILLIS / 2;
        let mut samples = Vec::new();
        for (arm, version) in ["baseline", "canary"].into_iter().zip(["old", "new"]) {
            let factor = match (self.canary, arm) {
                (Canary::Slower, "canary") => 2.0,
                _ => 1.0,
            };
            let count = if self.canary == Canary::Sparse {
                1
            } else {
                200
            };
            let chance = &mut self.chance;
            let mut value = || (80.0 + chance.below(40) as f64) * factor;
            let values: Vec<f64> = (0..count).map(|_| value()).collect();
            samples.push(json!({"analysis": self.id, "arm": arm, "metric": "latency",
                "ts": ts, "values": values, "id": format!("{arm}-{tick}")}));
            for (code, most) in [("200", 50), ("500", 2)] {
                let version = format!("{version}-{name}");
                let key = format!("{version}-{code}");
                let total = self.totals.entry(key).or_default();
                *total += self.chance.below(most);
                samples.push(
                    json!({"metric": "requests_total", "ts": ts, "value": *total,
                    "labels": {"version": version, "code": code}}),
                );
            }
        }
        Value::Array(samples).to_string()
    }
}

fn arms(name: &str) -> Value {
    json!({"baseline": format!("old-{name}"), "canary": format!("new-{name}")})
}

/// Sends until it is acknowledged.
async fn post(url: &str, path: &str, body: &str) -> Value {
    let attempt = async || {
        let request = client()
            .post(format!("{url}{path}"))
            .header("content-type", "application/json")
            .timeout(Duration::from_secs(5))
            .body(body.to_owned());
        let response = request.send().await.ok()?;
        let is_taken = response.status().is_success();
        let text = response.text().await.ok()?;
        assert!(!text.contains("\"status\":4"), "refused: {text}");
        is_taken.then(|| serde_json::from_str(&text).unwrap_or_default())
    };
    let taken = async {
        loop {
            if let Some(taken) = attempt().await {
                return taken;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let taken = tokio::time::timeout(PATIENCE, taken).await;
    taken.unwrap_or_else(|_| panic!("{path} is never taken"))
}

/// The final verdict that an engine gives which nobody disturbed.
fn undisturbed(sending: &Sending, name: &str) -> Value {
    let plan = parse_plan("crash.yaml", PLAN)
        .unwrap_or_else(|p| panic!("{p}"))
        .plan;
    let mut state = State::new(Limits::default());
    let started_at = Timestamp(sending.started_at);
    let arms = serde_json::from_value(arms(name)).expect("a map");
    let start = Start {
        id: sending.id.clone(),
        plan: Arc::new(plan),
        arms,
        change: Change::default(),
        idempotency_key: None,
        request_digest: String::new(),
        by: None,
    };
    let mut effects = apply(&mut state, Input::Start(Box::new(start)), started_at);
    for (tick, body) in (1..).zip(&sending.sent) {
        let limits = codec::Limits::default();
        let mut heads = Heads::new(0);
        let form = codec_json::Form::Document;
        let decoded =
            codec_json::decode_within(body.as_bytes(), form, &mut heads, &limits, &mut |_| true);
        let now = started_at.plus(tick * TICK_MILLIS);
        let samples = decoded.expect("as it was taken").samples;
        effects.extend(apply(&mut state, Input::Samples(samples), now));
    }
    let end = started_at.plus(TICKS * TICK_MILLIS + LATENESS_MILLIS + 60_000);
    effects.extend(apply(&mut state, Input::Tick, end));
    final_of(effects.into_iter())
}

fn final_of(effects: impl Iterator<Item = Effect>) -> Value {
    let finals = effects.filter_map(|effect| match effect {
        Effect::Event(event) if event.kind == EventKind::VerdictFinal => Some(event.body),
        _ => None,
    });
    let finals: Vec<_> = finals.collect();
    assert_eq!(finals.len(), 1, "one final verdict");
    serde_json::to_value(&*finals[0]).expect("plain data")
}

/// A folder with a configuration that notifies the receiver; `store` has more lines of its section.
pub fn folder(port: u16, receiver: &str, store: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("plans")).expect("made");
    std::fs::write(folder.path().join("plans/crash.yaml"), PLAN).expect("written");
    let config = format!(
        "[server]\nport = {port}\n[plans]\ndirectory = \"plans\"\n[store]\npath = \"data\"\nsegment_bytes = 65536\n\
         {store}[log]\nformat = \"json\"\n[webhook]\nbackoff_initial_ms = 10\nbackoff_max_ms = 100\n\
         [[webhooks]]\nname = \"hook\"\nurl = \"{receiver}\"\n\
         events = [\"analysis.started\", \"verdict.final\"]\n"
    );
    std::fs::write(folder.path().join("davy.toml"), config).expect("written");
    folder
}

/// What befalls davy.
pub trait Outage: Send {
    /// The first davy.
    fn begin(&mut self, folder: &Path) -> Davy;

    /// Ends a davy without a word; the next one.
    fn strike(&mut self, folder: &Path, davy: Davy) -> Davy;
}

/// The process alone ends: what it wrote is there, synced or not.
struct Kill;

impl Outage for Kill {
    fn begin(&mut self, folder: &Path) -> Davy {
        Davy::start(folder)
    }

    fn strike(&mut self, folder: &Path, davy: Davy) -> Davy {
        // Not a signal that it could answer.
        drop(davy);
        Davy::start(folder)
    }
}

/// A davy and what befalls it.
struct Struck {
    davy: Davy,
    outage: Box<dyn Outage>,
    count: u32,
}

/// Strikes davy at moments of chance until told to stop.
fn strike_again(folder: &Path, mut struck: Struck, seed: u64, stop: &AtomicBool) -> Struck {
    let mut chance = Chance(seed);
    while !stop.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(50 + chance.below(1_200)));
        struck.davy = struck.outage.strike(folder, struck.davy);
        struck.count += 1;
    }
    struck
}

async fn send_all(url: String, mut sending: Sending, name: String) -> (Sending, String) {
    for tick in 0..TICKS {
        let due = sending.started_at + (tick + 1) * TICK_MILLIS;
        let now = now_millis();
        let wait = u64::try_from(due - now).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(wait)).await;
        let body = sending.body(&name, tick);
        post(&url, "/v1/samples", &body).await;
        sending.sent.push(body);
    }
    (sending, name)
}

pub fn now_millis() -> i64 {
    SystemClock.now().millis()
}

/// One round: three analyses under outages, then everything is compared.
async fn round(folder: &Path, url: &str, struck: Struck, seed: u64, arrivals: &Arrivals) -> Struck {
    let mut tasks = Vec::new();
    for (number, canary) in [Canary::AsGood, Canary::Slower, Canary::Sparse]
        .into_iter()
        .enumerate()
    {
        let name = format!("{seed}-{number}");
        let sending = Sending::begin(url, &name, canary, seed * 10 + number as u64).await;
        tasks.push(tokio::spawn(send_all(url.to_owned(), sending, name)));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let killing = {
        let (folder, stop) = (folder.to_owned(), stop.clone());
        tokio::task::spawn_blocking(move || strike_again(&folder, struck, seed, &stop))
    };
    let mut sent = Vec::new();
    for task in tasks {
        sent.push(task.await.expect("no panic"));
    }
    stop.store(true, Ordering::SeqCst);
    let struck = killing.await.expect("no panic");
    for (sending, name) in &sent {
        let path = format!("/v1/analyses/{}/verdict?wait=20s", sending.id);
        let verdict = struck.davy.get(&path).await;
        assert_eq!(verdict["final"], true, "{verdict}");
        check(&struck.davy, sending, name, &verdict, arrivals).await;
    }
    let ids: Vec<&str> = sent
        .iter()
        .map(|(sending, _)| sending.id.as_str())
        .collect();
    assert_whole(&folder.join("data"), &ids).await;
    struck
}

async fn check(davy: &Davy, sending: &Sending, name: &str, verdict: &Value, arrivals: &Arrivals) {
    let id = &sending.id;
    let expected = undisturbed(sending, name);
    let outcome = match sending.canary {
        Canary::AsGood => "pass",
        Canary::Slower => "fail",
        Canary::Sparse => "inconclusive",
    };
    assert_eq!(expected["verdict"], outcome, "{expected}");
    let told = |body: &Value| {
        let facts = [
            "verdict",
            "reason",
            "checks",
            "guarantee",
            "elapsed_secs",
            "message",
        ];
        facts.map(|key| body[key].clone())
    };
    assert_eq!(told(verdict), told(&expected), "not what nobody disturbed");
    // Its recording gives the same.
    let response = client().get(format!("{}/v1/analyses/{id}/recording", davy.url));
    let text = response.send().await.expect("an answer").text().await;
    let text = text.expect("text");
    let mut effects = Vec::new();
    recording::play(text.lines(), None, |more| effects.extend(more)).expect("it plays");
    assert_eq!(told(&final_of(effects.into_iter())), told(verdict));
    // Whoever is told was told of the start and of one end, each under one id.
    let told_of_it = async {
        loop {
            let all = arrivals.lock().expect("whole").clone();
            let all = all.into_iter();
            let of_it: BTreeMap<String, Vec<Value>> = all
                .filter(|(key, _)| key.starts_with(id.as_str()))
                .collect();
            if of_it.len() >= 2 {
                return of_it;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let of_it = tokio::time::timeout(PATIENCE, told_of_it).await;
    let of_it = of_it.expect("told in time");
    let types: Vec<&Value> = of_it.values().map(|bodies| &bodies[0]["type"]).collect();
    assert_eq!(types, ["analysis.started", "verdict.final"], "{of_it:?}");
    for (key, bodies) in &of_it {
        let differ = bodies.iter().any(|body| *body != bodies[0]);
        assert!(!differ, "{key} says two things: {bodies:?}");
    }
    let last = of_it.values().last().expect("two");
    assert_eq!(told(&last[0]["data"]), told(verdict));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_told_twice_however_often_davy_is_killed() {
    let kills_asked = std::env::var("DAVY_KILLS").ok();
    let kills_asked = kills_asked.map_or(KILLS, |kills| kills.parse().expect("a number"));
    nothing_is_lost(kills_asked, |_| Box::new(Kill)).await;
}

/// Rounds until davy was struck so often.
pub async fn nothing_is_lost(asked: u32, outage: impl FnOnce(&Path) -> Box<dyn Outage>) {
    let arrivals = Arrivals::default();
    let router = Router::new()
        .fallback(receive)
        .with_state((arrivals.clone(), Arc::new(AtomicU32::new(0))));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let receiver = format!("http://{}/", listener.local_addr().expect("bound"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let folder = folder(free_port(), &receiver, "");
    let mut outage = outage(folder.path());
    let mut struck = Struck {
        davy: outage.begin(folder.path()),
        outage,
        count: 0,
    };
    let url = struck.davy.url.clone();
    let mut seed = 0;
    while struck.count < asked {
        seed += 1;
        struck = round(folder.path(), &url, struck, seed, &arrivals).await;
    }
    let log = std::fs::read_dir(folder.path().join("data/log")).expect("a folder");
    let names = log.map(|entry| entry.expect("readable").file_name());
    let names: Vec<String> = names.map(|name| name.to_string_lossy().into()).collect();
    let is_checkpoint = |name: &String| name.ends_with(".checkpoint");
    assert!(names.iter().any(is_checkpoint), "none was made: {names:?}");
    eprintln!("{} outages, {} analyses", struck.count, seed * 3);
}
