//! A source of the test's own: it answers as it is told to, and keeps what it was asked.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use davy::config::sources::PrometheusSource;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What it was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    pub form: BTreeMap<String, String>,
    pub headers: HeaderMap,
}

/// How it answers a request.
pub type Answers = dyn Fn(&Asked) -> Response + Send + Sync;

/// A running source; it ends with the test.
#[derive(Clone)]
pub struct Fake {
    pub url: String,
    shared: Arc<Shared>,
    _stop: Arc<DropGuard>,
}

struct Shared {
    answers: Mutex<Arc<Answers>>,
    asked: Mutex<Vec<Asked>>,
    takes: Mutex<Duration>,
    open: AtomicUsize,
    most_open: AtomicUsize,
}

impl Fake {
    /// One that answers so.
    pub async fn start(answers: impl Fn(&Asked) -> Response + Send + Sync + 'static) -> Fake {
        let shared = Arc::new(Shared {
            answers: Mutex::new(Arc::new(answers)),
            asked: Mutex::default(),
            takes: Mutex::default(),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
        });
        let app = Router::new()
            .route("/prom/api/v1/query_range", post(answer))
            .with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a free port");
        let url = format!("http://{}/prom/", listener.local_addr().expect("bound"));
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move {
            let served = axum::serve(listener, app).with_graceful_shutdown(stopped);
            served.await.expect("served");
        });
        Fake {
            url,
            shared,
            _stop: Arc::new(stop.drop_guard()),
        }
    }

    /// From now on it answers so.
    pub fn answer(&self, answers: impl Fn(&Asked) -> Response + Send + Sync + 'static) {
        *self.shared.answers.lock().expect("sound") = Arc::new(answers);
    }

    /// From now on it takes so long.
    pub fn take(&self, time: Duration) {
        *self.shared.takes.lock().expect("sound") = time;
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().expect("sound").clone()
    }

    /// Requests that were open at one time, at the most.
    pub fn most_open(&self) -> usize {
        self.shared.most_open.load(Ordering::SeqCst)
    }

    /// Settings to ask it with.
    pub fn settings(&self) -> PrometheusSource {
        PrometheusSource::at(&self.url)
    }
}

async fn answer(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let url = format!("http://form/?{}", String::from_utf8_lossy(&body));
    let url = reqwest::Url::parse(&url).expect("a form");
    let asked = Asked {
        form: url.query_pairs().into_owned().collect(),
        headers,
    };
    let open = shared.open.fetch_add(1, Ordering::SeqCst) + 1;
    shared.most_open.fetch_max(open, Ordering::SeqCst);
    let takes = *shared.takes.lock().expect("sound");
    tokio::time::sleep(takes).await;
    let answers = shared.answers.lock().expect("sound").clone();
    let response = answers(&asked);
    shared.asked.lock().expect("sound").push(asked);
    shared.open.fetch_sub(1, Ordering::SeqCst);
    response
}

impl Asked {
    pub fn query(&self) -> &str {
        &self.form["query"]
    }

    /// The instants, in seconds.
    pub fn instants(&self) -> Vec<f64> {
        let number = |key: &str| -> f64 { self.form[key].parse().expect("a number") };
        let (start, end, step) = (number("start"), number("end"), number("step"));
        let count = ((end - start) / step).round() as usize + 1;
        (0..count)
            .map(|index| ((start + step * index as f64) * 1_000.0).round() / 1_000.0)
            .collect()
    }

    /// An answer of one series, a function of the instant.
    pub fn series(&self, value: impl Fn(f64) -> f64) -> Response {
        let point = |secs: &f64| json!([secs, value(*secs).to_string()]);
        let values: Vec<Value> = self.instants().iter().map(point).collect();
        matrix(json!([{"metric": {"__name__": "m", "pod": "a"}, "values": values}]))
    }
}

/// A whole answer.
pub fn matrix(result: Value) -> Response {
    let body = json!({"status": "success", "data": {"resultType": "matrix", "result": result}});
    axum::Json(body).into_response()
}

/// An answer of this status and text.
pub fn plain(status: u16, text: &str) -> Response {
    let status = StatusCode::from_u16(status).expect("a status");
    (status, text.to_owned()).into_response()
}
