//! Controllers that know nothing of davy, played from the manifests that people are given: what they
//! send, when, and what they make of the answers.

mod argo;
mod flagger;
mod gate;
mod kayenta;
mod kayenta_configs;
mod kayenta_kept;
mod query;
mod refusals;
mod scored;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use davy::config::node::{Kind, Node};
use davy::config::yaml;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::crash::now_millis;
use crate::daemon::client;
use crate::prometheus::free_port;
use crate::restart::Davy;
use crate::support::{PATIENCE, project_root};

/// Values of each arm in a request, and how often one is sent.
const VALUES: usize = 40;
const SENT_EVERY: Duration = Duration::from_millis(50);

const PLAN: &str = "version: davy/v1
plan: checkout
horizon: 60s
tick: 200ms
lateness: 100ms
min_duration: 600ms
step: {min_duration: 600ms, min_samples: 100}
arms: {baseline: 'version=\"{{baseline}}\"', canary: 'version=\"{{canary}}\"'}
metrics:
  latency: {kind: latency, value_unit: ms, from: values, select: latency}
checks:
  - {compare: latency, tolerance: 30%}
";

/// A folder with the plan, and a davy on it whose store lasts.
fn folder(limits: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("plans")).expect("made");
    std::fs::write(folder.path().join("plans/checkout.yaml"), PLAN).expect("written");
    let config = format!(
        "[server]\nport = {}\n[plans]\ndirectory = \"plans\"\n[store]\npath = \"data\"\n\
         [log]\nformat = \"json\"\n[limits]\n{limits}\n",
        free_port()
    );
    std::fs::write(folder.path().join("davy.toml"), config).expect("written");
    folder
}

/// A manifest of `examples/` as JSON.
fn manifest(path: &str) -> Value {
    let text = std::fs::read_to_string(project_root().join("examples").join(path));
    let mut problems = Vec::new();
    let node = yaml::parse(path, &text.expect("readable"), &mut problems);
    assert!(problems.is_empty(), "{path}: {problems:?}");
    plain(&node.expect("a document"))
}

fn plain(node: &Node) -> Value {
    match &node.kind {
        Kind::Scalar {
            text,
            quoted: false,
        } => match text.parse::<i64>() {
            Ok(number) => json!(number),
            Err(_) if text == "true" => json!(true),
            Err(_) => json!(text),
        },
        Kind::Scalar { text, .. } => json!(text),
        Kind::List(items) => items.iter().map(plain).collect(),
        Kind::Map(entries) => {
            let entries = entries
                .iter()
                .map(|(key, value)| (key.text.clone(), plain(value)));
            Value::Object(entries.collect())
        }
    }
}

/// What two versions do, and how much of it is sent.
#[derive(Debug, Clone)]
struct Traffic {
    baseline: String,
    canary: String,
    /// The canary's durations in multiples of the baseline's.
    factor: f64,
    is_on: bool,
}

/// Traffic that goes on until this is dropped.
struct Sender {
    now: Arc<Mutex<Traffic>>,
    task: JoinHandle<()>,
}

impl Sender {
    fn begin(url: &str, baseline: &str, canary: &str, factor: f64) -> Sender {
        let traffic = Traffic {
            baseline: baseline.to_owned(),
            canary: canary.to_owned(),
            factor,
            is_on: true,
        };
        let now = Arc::new(Mutex::new(traffic));
        let (url, current) = (format!("{url}/v1/samples"), now.clone());
        let task = tokio::spawn(async move {
            let client = client();
            for number in 0_usize.. {
                tokio::time::sleep(SENT_EVERY).await;
                let traffic = current.lock().expect("whole").clone();
                if !traffic.is_on {
                    continue;
                }
                let values = |factor: f64| -> Vec<f64> {
                    let value = |nth| 80.0 + ((number * VALUES + nth) * 7919 % 41) as f64;
                    (0..VALUES).map(|nth| value(nth) * factor).collect()
                };
                let line = |version: &str, factor: f64| {
                    json!({"ts": now_millis(), "metric": "latency",
                        "labels": {"version": version}, "values": values(factor)})
                };
                let lines = json!([
                    line(&traffic.baseline, 1.0),
                    line(&traffic.canary, traffic.factor)
                ]);
                // davy may be away.
                let _ = client.post(&url).json(&lines).send().await;
            }
        });
        Sender { now, task }
    }

    fn set(&self, change: impl FnOnce(&mut Traffic)) {
        change(&mut self.now.lock().expect("whole"));
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits until something holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("never: {what}"));
}

/// What another controller than davy's own clients gets: status and JSON, where it is JSON.
async fn raw(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    let text = response.text().await.expect("text");
    (status, serde_json::from_str(&text).unwrap_or_default())
}

fn start(folder: &Path) -> Davy {
    Davy::start(folder)
}

/// The pages show the manifests that the tests play, to the letter.
#[test]
fn pages_show_the_manifests_as_they_are() {
    for (page, folder) in [("argo.md", "argo"), ("flagger.md", "flagger")] {
        let page = project_root().join("docs/controllers").join(page);
        let page = std::fs::read_to_string(page).expect("readable");
        let manifests = std::fs::read_dir(project_root().join("examples").join(folder));
        let mut count = 0;
        for entry in manifests.expect("a folder") {
            let path = entry.expect("readable").path();
            let text = std::fs::read_to_string(&path).expect("readable");
            let block = format!("```yaml\n{text}```\n");
            assert!(
                page.contains(&block),
                "{} is not shown as it is",
                path.display()
            );
            count += 1;
        }
        assert!(count >= 2, "{folder}");
    }
}
