//! A worker against receivers of a test: no daemon, so that waits can be shorter than any setting.
//!
//! Owns how such a worker is made and what its receiver has seen.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use davy::backoff::Backoff;
use davy::clock::SystemClock;
use davy::model::Timestamp;
use davy::store::memory::{Bounds, MemoryStore};
use davy::store::{Commit, Delivery, LetterFilter, Outbox as _, Store as _, Write};
use davy::telemetry::Metrics;
use davy::webhook::Endpoint;
use davy::webhook::worker::{Policy, Worker, client};
use tokio_util::sync::CancellationToken;

use super::entry;
use crate::support::PATIENCE;

/// Pretty evenly spread numbers in `[0, 1)`, the same in every run (splitmix64).
pub fn chance() -> f64 {
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    let mut bits = DRAWN
        .fetch_add(1, Ordering::Relaxed)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// What a receiver has seen, and what it does.
#[derive(Default)]
pub struct Receiver {
    /// Ids by analysis, in the order they came and were taken, second ones included.
    pub taken: Mutex<BTreeMap<String, Vec<String>>>,
    /// Answers that said so, and answers in all.
    pub delivered: AtomicUsize,
    pub attempts: AtomicUsize,
    /// Requests under way, and the most of them.
    under_way: AtomicUsize,
    pub most_at_once: AtomicUsize,
    /// It answers 503 to everybody.
    pub is_down: AtomicBool,
    /// It answers 503 to this share, to half of those after it has taken the delivery.
    failing: f64,
}

impl Receiver {
    /// One that fails so often.
    pub fn failing(share: f64) -> Receiver {
        Receiver {
            failing: share,
            ..Receiver::default()
        }
    }
}

async fn receive(State(receiver): State<Arc<Receiver>>, headers: HeaderMap) -> StatusCode {
    let now = receiver.under_way.fetch_add(1, Ordering::SeqCst) + 1;
    receiver.most_at_once.fetch_max(now, Ordering::SeqCst);
    receiver.attempts.fetch_add(1, Ordering::SeqCst);
    // Room for others to begin.
    tokio::task::yield_now().await;
    let drawn = chance();
    let is_down = receiver.is_down.load(Ordering::SeqCst);
    let fails = is_down || drawn < receiver.failing;
    if !is_down && (!fails || drawn < receiver.failing / 2.0) {
        let id = headers["webhook-id"].to_str().expect("text").to_owned();
        let (analysis, _) = id.split_once('-').expect("an analysis");
        let mut taken = receiver.taken.lock().expect("no panic");
        taken.entry(analysis.to_owned()).or_default().push(id);
    }
    receiver.under_way.fetch_sub(1, Ordering::SeqCst);
    if fails {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    receiver.delivered.fetch_add(1, Ordering::SeqCst);
    StatusCode::NO_CONTENT
}

/// Lets a receiver listen; its address.
pub async fn listen(receiver: &Arc<Receiver>) -> String {
    let router = Router::new().fallback(receive).with_state(receiver.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("bound");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// A worker that has begun, and its store.
pub struct Running {
    pub store: Arc<MemoryStore>,
    pub metrics: Arc<Metrics>,
    stop: CancellationToken,
    done: tokio::task::JoinHandle<()>,
}

/// Waits of at most so many milliseconds.
pub fn waits(first: u64, longest: u64) -> Backoff {
    let (first, longest) = (Duration::from_millis(first), Duration::from_millis(longest));
    Backoff::new(first, longest, 2.0).expect("valid")
}

/// Tries again after 1 to 4 ms, for ever.
pub fn policy() -> Policy {
    Policy {
        backoff: waits(1, 4),
        age_max: Duration::from_secs(3_600),
        response_bytes_max: 1_024,
        failures_max: 1_000_000,
        probing: waits(1, 4),
    }
}

fn store() -> MemoryStore {
    MemoryStore::new(Bounds {
        recording_bytes_max: 1,
        recordings_bytes_max: 1,
        outbox_max: 1_000_000,
        audit_rows_max: 1_000_000,
        free_bytes_max: 16 << 20,
    })
}

impl Running {
    /// Starts the worker of an endpoint with these lines of configuration.
    pub fn start(url: &str, more: &str, policy: Policy) -> Running {
        Running::with_client(url, more, policy, client().expect("a client"))
    }

    pub fn with_client(url: &str, more: &str, policy: Policy, client: reqwest::Client) -> Running {
        let text = format!("name = \"e\"\nurl = \"{url}\"\nevents = [\"verdict.final\"]\n{more}");
        let endpoint = Endpoint::build(&entry(&text), |_| None).expect("valid");
        let store = Arc::new(store());
        let metrics = Arc::new(Metrics::new("0").expect("names are unique"));
        let worker = Worker {
            endpoint: Arc::new(endpoint),
            outbox: store.clone(),
            policy,
            clock: Arc::new(SystemClock),
            chance,
            metrics: metrics.clone(),
            bell: Arc::default(),
            client,
        };
        let bell = worker.bell.clone();
        let stop = CancellationToken::new();
        let done = tokio::spawn(worker.run(stop.clone()));
        // Whatever a test puts into the store later is seen within this time.
        tokio::spawn(async move {
            loop {
                bell.notify_one();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        Running {
            store,
            metrics,
            stop,
            done,
        }
    }

    /// So many deliveries of each of so many analyses, taking turns.
    pub async fn put(&self, analyses: usize, of_each: usize) {
        let mut writes = Vec::new();
        for number in 0..of_each {
            for analysis in 0..analyses {
                writes.push(Write::Deliver(delivery(analysis, number)));
            }
        }
        let losses = self
            .store
            .commit(Commit {
                writes,
                ..Commit::default()
            })
            .await;
        assert!(losses.expect("written").refused.is_empty());
    }

    /// Waits until a condition holds.
    pub async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let waiting = async {
            while !holds().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited.unwrap_or_else(|_| panic!("never: {what}"));
    }

    /// Waits until nothing waits.
    pub async fn until_empty(&self) {
        let is_empty = async || self.store.depth().await.expect("works") == 0;
        self.until("nothing waits", is_empty).await;
    }

    /// The errors of the dead letters.
    pub async fn dead(&self) -> Vec<String> {
        let filter = LetterFilter::default();
        let page = self
            .store
            .dead_letters(&filter, 1_000)
            .await
            .expect("works");
        page.letters
            .into_iter()
            .map(|letter| letter.error)
            .collect()
    }

    pub fn breaker_open(&self) -> i64 {
        let open = &self.metrics.webhook.breaker_open;
        open.with_label_values(&["e"]).get()
    }

    /// Stops it and waits until it has.
    pub async fn stop(self) {
        self.stop.cancel();
        let done = tokio::time::timeout(PATIENCE, self.done).await;
        done.expect("it ends").expect("no panic");
    }
}

/// The delivery of this number of an analysis.
pub fn delivery(analysis: usize, number: usize) -> Delivery {
    use davy::clock::Clock as _;
    let now = SystemClock.now();
    Delivery {
        id: format!("an_{analysis}-{number:06}-e"),
        endpoint: "e".into(),
        analysis: format!("an_{analysis}"),
        event_type: "verdict.final",
        at: now,
        queued_at: now,
        body: "{}".into(),
        attempts: 0,
        due: Timestamp(0),
    }
}
