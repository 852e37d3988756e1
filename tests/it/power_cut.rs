//! The power is cut: what was not synced is gone, or some of it is.
//!
//! A kill alone loses nothing that was written, so it cannot show a sync that is missing. Here davy
//! runs on a layer (`power_cut/layer.c`) that knows what was synced, and starts again on what a disk
//! would still hold (`book`).
//!
//! `DAVY_CUTS=100 cargo test --test it power_cut::` is the long form; a few cuts are in every run.

mod book;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use serde_json::json;

use crate::crash::{self, Outage, now_millis};
use crate::daemon::client;
use crate::formats::recording::Chance;
use crate::restart::Davy;
use crate::support::{PATIENCE, project_root};
use book::{Book, Cut};

/// Cuts in a run of the tests.
const CUTS: u32 = 6;

/// The layer, and what it noted of the davy that runs on it.
pub struct Layer {
    library: PathBuf,
    /// Made anew for each davy.
    notes: tempfile::TempDir,
    book: Book,
    chance: Chance,
}

impl Layer {
    /// Builds the layer for what lies in the folder's `data`.
    fn build(folder: &Path, seed: u64) -> Layer {
        let notes = tempfile::tempdir().expect("a folder");
        let library = folder.join("layer.so");
        let source = project_root().join("tests/it/power_cut/layer.c");
        let mut command = Command::new("cc");
        command.args([
            "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o",
        ]);
        let built = command.arg(&library).arg(source).arg("-ldl").status();
        assert!(built.expect("a C compiler").success());
        let data = folder.join("data");
        std::fs::create_dir_all(&data).expect("made");
        Layer {
            library,
            book: Book::of(&data),
            notes,
            chance: Chance(seed),
        }
    }

    /// Starts a davy on it.
    fn start(&mut self, folder: &Path) -> Davy {
        let data = folder.join("data");
        self.notes = tempfile::tempdir().expect("a folder");
        self.book = Book::of(&data);
        let mut command = Command::new(env!("CARGO_BIN_EXE_davy"));
        command.args(["serve", "--config", "davy.toml"]);
        command.env("LD_PRELOAD", &self.library);
        command.env("DAVY_LAYER_ROOT", &data);
        command.env("DAVY_LAYER_BOOK", self.notes.path());
        Davy::start_by(command.current_dir(folder))
    }

    /// Leaves of the folder what a cut leaves.
    fn cut(&mut self, folder: &Path, cut: Cut) {
        self.book.read(self.notes.path());
        self.book.cut(&folder.join("data"), cut, &mut self.chance);
    }
}

/// A cut instead of a kill, of both kinds by turns.
struct PowerCut {
    layer: Layer,
    cuts: u32,
}

impl Outage for PowerCut {
    fn begin(&mut self, folder: &Path) -> Davy {
        self.layer.start(folder)
    }

    fn strike(&mut self, folder: &Path, davy: Davy) -> Davy {
        drop(davy);
        self.cuts += 1;
        let cut = match self.cuts % 2 {
            0 => Cut::Torn,
            _ => Cut::Strict,
        };
        self.layer.cut(folder, cut);
        self.layer.start(folder)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_acknowledged_is_lost_when_the_power_is_cut() {
    let asked = std::env::var("DAVY_CUTS").ok();
    let asked = asked.map_or(CUTS, |cuts| cuts.parse().expect("a number"));
    crash::nothing_is_lost(asked, |folder| {
        let layer = Layer::build(folder, 7);
        Box::new(PowerCut { layer, cuts: 0 })
    })
    .await;
}

/// A davy on the layer whose analysis takes samples by address.
async fn begun(folder: &Path, layer: &mut Layer) -> (Davy, String) {
    let davy = layer.start(folder);
    let body = json!({"plan": "crash", "arms": {"baseline": "old", "canary": "new"}});
    let (status, started) = davy.post("/v1/analyses", &body).await;
    assert_eq!(status, 201, "{started}");
    let id = started["id"].as_str().expect("an id").to_owned();
    (davy, id)
}

async fn send(davy: &Davy, analysis: &str, number: i64) -> Option<u16> {
    let sample = json!({"ts": now_millis(), "metric": "latency", "analysis": analysis,
        "arm": "canary", "value": 5.5, "id": format!("{number}")});
    let request = client().post(format!("{}/v1/samples", davy.url));
    let request = request.json(&sample).timeout(PATIENCE);
    Some(request.send().await.ok()?.status().as_u16())
}

/// Values of the canary's latency that the analysis has.
async fn received(davy: &Davy, analysis: &str) -> u64 {
    let shown = davy.get(&format!("/v1/analyses/{analysis}")).await;
    let received = shown["received"].as_array().expect("metrics");
    let latency = received.iter().find(|one| one["metric"] == "latency");
    let count = &latency.expect("it is there")["canary"];
    count.as_u64().unwrap_or_else(|| panic!("{shown}"))
}

fn ended(mut davy: Davy) -> ExitStatus {
    davy.child.wait().expect("it ends")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_fails_ends_davy_and_what_it_acknowledged_before_is_there() {
    let folder = crash::folder(0, "http://127.0.0.1:9/", "");
    let mut layer = Layer::build(folder.path(), 1);
    let (davy, id) = begun(folder.path(), &mut layer).await;
    for number in 0..3 {
        assert_eq!(send(&davy, &id, number).await, Some(200));
    }
    let refuse = layer.notes.path().join("refuse-sync");
    std::fs::write(&refuse, "").expect("written");
    let answered = send(&davy, &id, 3).await;
    assert_ne!(answered, Some(200), "acknowledged what is on no disk");
    assert_eq!(ended(davy).code(), Some(3));
    std::fs::remove_file(refuse).expect("removed");
    layer.cut(folder.path(), Cut::Strict);
    let davy = layer.start(folder.path());
    assert_eq!(received(&davy, &id).await, 3);
    assert_eq!(send(&davy, &id, 4).await, Some(200));
    assert_eq!(received(&davy, &id).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_received_longer_ago_than_the_interval_is_safe_where_syncs_are_periodic() {
    let periodic = "durability = \"periodic\"\nsync_interval_ms = 200\n";
    let folder = crash::folder(0, "http://127.0.0.1:9/", periodic);
    let mut layer = Layer::build(folder.path(), 1);
    let (davy, id) = begun(folder.path(), &mut layer).await;
    let synced = async |davy: &Davy| {
        let text = answer_text(&format!("{}/metrics", davy.url)).await;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("davy_sample_log_synced_bytes_total "));
        line.expect("a metric").parse::<u64>().expect("a number")
    };
    // The start itself is waited for.
    let before = synced(&davy).await;
    assert_eq!(send(&davy, &id, 0).await, Some(200));
    let on_disk = async {
        while synced(&davy).await == before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let on_disk = tokio::time::timeout(PATIENCE, on_disk).await;
    on_disk.expect("synced within the interval");
    drop(davy);
    layer.cut(folder.path(), Cut::Strict);
    let davy = layer.start(folder.path());
    assert_eq!(received(&davy, &id).await, 1);
}

/// That the test above has teeth: on a disk that forgets what it is told to sync, what was
/// acknowledged is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_forgets_its_syncs_is_found_out() {
    let folder = crash::folder(0, "http://127.0.0.1:9/", "");
    let mut layer = Layer::build(folder.path(), 1);
    let (davy, id) = begun(folder.path(), &mut layer).await;
    assert_eq!(send(&davy, &id, 0).await, Some(200));
    std::fs::write(layer.notes.path().join("forget-sync"), "").expect("written");
    assert_eq!(send(&davy, &id, 1).await, Some(200));
    drop(davy);
    layer.cut(folder.path(), Cut::Strict);
    let davy = layer.start(folder.path());
    assert_eq!(received(&davy, &id).await, 1);
}

async fn answer_text(url: &str) -> String {
    let response = client().get(url).send().await.expect("an answer");
    response.text().await.expect("text")
}

/// That the layer has teeth: without syncs nothing is left.
#[test]
fn a_cut_leaves_what_was_synced_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut layer = Layer::build(folder.path(), 3);
    let data = folder.path().join("data");
    std::fs::write(data.join("old"), "old").expect("written");
    let run = |layer: &mut Layer, script: &str| {
        layer.notes = tempfile::tempdir().expect("a folder");
        layer.book = Book::of(&data);
        let mut command = Command::new("python3");
        command.args(["-c", script]).current_dir(&data);
        command.env("LD_PRELOAD", &layer.library);
        command.env("DAVY_LAYER_ROOT", &data);
        command.env("DAVY_LAYER_BOOK", layer.notes.path());
        assert!(command.status().expect("python3").success());
        layer.cut(folder.path(), Cut::Strict);
        let mut left: Vec<(String, String)> = Vec::new();
        for entry in std::fs::read_dir(&data).expect("readable") {
            let path = entry.expect("readable").path();
            let name = path.file_name().expect("a name").to_string_lossy().into();
            left.push((name, std::fs::read_to_string(path).expect("text")));
        }
        left.sort();
        left
    };
    let pair = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let left = run(
        &mut layer,
        "import os
f = open('new', 'w'); f.write('new'); f.flush(); os.fsync(f.fileno())
o = open('old', 'a'); o.write(' unsynced'); o.flush()",
    );
    assert_eq!(left, [pair("old", "old")], "no name of it was synced");
    let left = run(
        &mut layer,
        "import os
f = open('new', 'w'); f.write('new'); f.flush(); os.fsync(f.fileno()); f.write(' more'); f.flush()
o = open('old', 'a'); o.write(' synced'); o.flush(); os.fdatasync(o.fileno())
os.rename('old', 'older')
os.fsync(os.open('.', os.O_RDONLY)); os.unlink('older')",
    );
    assert_eq!(left, [pair("new", "new"), pair("older", "old synced")]);
}
