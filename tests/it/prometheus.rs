//! A real Prometheus between two services and davy: it scrapes, and writes on what it scraped.
//!
//! The services are two handlers of the test with real counters and buckets; their canary is slow.
//! Prometheus is Debian's, with a folder of its own on a free port, ended by its process id. Where
//! it is not installed (`make test` installs it) the tests say that they were left out.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use axum::Router;
use axum::routing::get;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::daemon::TestDaemon;
use crate::support::PATIENCE;

const PLAN: &str = r#"version: davy/v1
plan: scraped
horizon: 2m
tick: 1s
lateness: 1s
min_duration: 3s
arms:
  baseline: 'job="shop", version="{{baseline}}"'
  canary: 'job="shop", version="{{canary}}"'
metrics:
  errors:
    kind: ratio
    from: counter
    bad: 'http_requests_total{code=~"5.."}'
    total: 'http_requests_total'
  slow:
    kind: ratio
    above: {histogram: 'http_request_duration_seconds', bound: 0.25}
checks:
  - {compare: errors, tolerance: {relative: 50%, absolute: 1pp}}
  - {compare: slow, tolerance: {relative: 50%, absolute: 1pp}}
"#;

/// A service that has answered so many requests, more with every scrape.
pub struct Shop {
    version: &'static str,
    /// Of a thousand requests, those that fail and those that are slow.
    bad: u64,
    slow: u64,
    scrapes: AtomicU64,
}

impl Shop {
    /// One that has answered nobody.
    pub fn new(version: &'static str, bad: u64, slow: u64) -> Shop {
        Shop {
            version,
            bad,
            slow,
            scrapes: AtomicU64::new(0),
        }
    }

    /// What it exposes: every scrape finds another thousand requests.
    fn expose(&self) -> String {
        let times = self.scrapes.fetch_add(1, Ordering::Relaxed) + 1;
        let (all, bad, slow) = (1_000 * times, self.bad * times, self.slow * times);
        let fast = all - slow;
        let mut text = String::from("# TYPE http_requests_total counter\n");
        for (code, count) in [("200", all - bad), ("503", bad)] {
            let labels = format!("version=\"{}\",code=\"{code}\"", self.version);
            let _ = writeln!(text, "http_requests_total{{{labels}}} {count}");
        }
        text.push_str("# TYPE http_request_duration_seconds histogram\n");
        for (le, count) in [("0.1", fast / 2), ("0.25", fast), ("1", all), ("+Inf", all)] {
            let labels = format!("version=\"{}\",le=\"{le}\"", self.version);
            let _ = writeln!(
                text,
                "http_request_duration_seconds_bucket{{{labels}}} {count}"
            );
        }
        let labels = format!("version=\"{}\"", self.version);
        let _ = writeln!(text, "http_request_duration_seconds_sum{{{labels}}} {all}");
        let _ = writeln!(
            text,
            "http_request_duration_seconds_count{{{labels}}} {all}"
        );
        text
    }

    /// Serves `/metrics` on a free port until told to stop; its address.
    pub async fn serve(self, stop: CancellationToken) -> String {
        let shop = Arc::new(self);
        let handler = get(move || async move { shop.expose() });
        listen(Router::new().route("/metrics", handler), stop).await
    }
}

/// Whether it scrapes native histograms and writes them on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Native {
    LeftOut,
    Written,
}

/// A program of the test's own, such as a Prometheus, ended with the test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves on a free port until told to stop; its address.
pub async fn listen(app: Router, stop: CancellationToken) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move {
        let served = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned());
        served.await.expect("served");
    });
    address
}

/// A port that nobody listens on, and that no other test is given. It is below those that the system
/// hands to connections, so that it stays free while what listens on it is started again.
pub fn free_port() -> u16 {
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 20_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Test runs side by side begin at places of their own.
    let begin = std::process::id().wrapping_mul(7_919);
    let ports = (0..COUNT).map(|_| {
        let nth = begin.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        (FIRST + nth % COUNT) as u16
    });
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.into_iter().find(free).expect("a free port")
}

impl Running {
    /// A Prometheus that scrapes every second; `None` where it is not installed.
    pub fn prometheus(
        folder: &Path,
        port: u16,
        targets: &[String],
        davy: &str,
        native: Native,
    ) -> Option<Running> {
        let is_native = native == Native::Written;
        let targets: Vec<String> = targets.iter().map(|target| format!("{target:?}")).collect();
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: shop
    static_configs: [{{targets: [{}]}}]
remote_write:
  - url: {davy}/api/v1/write
    send_native_histograms: {is_native}
    queue_config: {{batch_send_deadline: 200ms, max_shards: 3, min_shards: 3}}
",
            targets.join(", ")
        );
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, config).expect("written");
        let log = std::fs::File::create(folder.join("prometheus.log")).expect("created");
        let started = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(is_native.then_some("--enable-feature=native-histograms"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        match started {
            Ok(child) => Some(Running(child)),
            Err(error) => {
                eprintln!(
                    "left out: prometheus cannot be started ({error}); make test installs it"
                );
                None
            }
        }
    }
}

/// What the Prometheus of this folder has logged.
fn log_of(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("prometheus.log")).unwrap_or_default()
}

/// The verdict, once it is final.
pub async fn final_verdict(daemon: &TestDaemon, id: &str, folder: &Path) -> Value {
    let verdict = daemon.final_verdict(id, PATIENCE).await;
    verdict.unwrap_or_else(|| panic!("no verdict in time: {}", log_of(folder)))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_prometheus_scrapes_and_writes_on_is_judged() {
    let folder = tempfile::tempdir().expect("a folder");
    let daemon = TestDaemon::start().await;
    let stop = CancellationToken::new();
    let mut targets = Vec::new();
    for (version, bad, slow) in [("v1", 5, 20), ("v2", 5, 300)] {
        let shop = Shop::new(version, bad, slow);
        targets.push(shop.serve(stop.clone()).await);
    }
    let arms = json!({"baseline": "v1", "canary": "v2"});
    let request = json!({"plan": PLAN, "arms": arms});
    let (status, body) = daemon.post("/v1/analyses", &request).await;
    assert_eq!(status, 201, "{body}");
    let id = body["id"].as_str().expect("an id").to_owned();
    let Some(prometheus) = Running::prometheus(
        folder.path(),
        free_port(),
        &targets,
        &daemon.url,
        Native::LeftOut,
    ) else {
        return;
    };
    let verdict = final_verdict(&daemon, &id, folder.path()).await;
    let check = |name: &str| -> Value {
        let checks = verdict["checks"].as_array().expect("checks");
        let found = checks.iter().find(|check| check["check"] == name);
        found.expect("the check is there").clone()
    };
    assert_eq!(verdict["verdict"], "fail", "{verdict}");
    assert_eq!(check("slow")["verdict"], "fail", "{verdict}");
    assert_ne!(check("errors")["verdict"], "fail", "{verdict}");
    let samples = check("slow")["samples"]["canary"]
        .as_u64()
        .expect("a number");
    assert_eq!(
        samples % 1_000,
        0,
        "every scrape adds a thousand: {verdict}"
    );
    let log = log_of(folder.path());
    assert!(!log.contains("non-recoverable"), "{log}");
    drop(prometheus);
    stop.cancel();
    daemon.stop().await;
}
