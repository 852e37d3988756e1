//! A file system that runs full under davy, and has room again: a small one in memory, which only the
//! davy of the test sees.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::crash::now_millis;
use crate::daemon::{WALK, answer, client};
use crate::restart::Davy;
use crate::support::PATIENCE;

/// Values of a sample: more than what is left of a block of the disk.
const VALUES: usize = 1_000;

/// A davy whose `data` is a file system of 4 MiB; `None` where none can be mounted.
fn on_a_small_disk(folder: &Path) -> Option<(Davy, PathBuf)> {
    let mount = "mount -t tmpfs -o size=4m tmpfs data";
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command
            .args(["-Urm", "sh", "-c", script])
            .current_dir(folder);
        command
    };
    let probe = unshare(mount).stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        let _ = writeln!(
            std::io::stderr(),
            "left out: a full disk, since no file system can be mounted here (unshare -Urm)"
        );
        return None;
    }
    let binary = env!("CARGO_BIN_EXE_davy");
    let script = format!("{mount} && exec '{binary}' serve --config davy.toml");
    let davy = Davy::start_by(&mut unshare(&script));
    let own = format!("/proc/{}/root{}/data", davy.child.id(), folder.display());
    Some((davy, PathBuf::from(own)))
}

/// Takes all the room there is.
fn fill(data: &Path) {
    let mut filler = std::fs::File::create(data.join("filler")).expect("a file");
    let mut bytes = 1 << 16;
    while bytes > 0 {
        if filler.write_all(&vec![1; bytes]).is_err() {
            bytes /= 2;
        }
    }
}

async fn send(davy: &Davy, analysis: &str, number: i64) -> (u16, Value) {
    let lines = ["baseline", "canary"].map(|arm| {
        let line = json!({"ts": now_millis(), "metric": "latency", "analysis": analysis,
            "arm": arm, "values": vec![5.5; VALUES], "id": format!("{arm}-{number}")});
        line.to_string() + "\n"
    });
    let request = client()
        .post(format!("{}/v1/samples", davy.url))
        .header("content-type", "application/x-ndjson")
        .timeout(PATIENCE)
        .body(lines.concat());
    answer(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_takes_nothing_answers_verdicts_and_goes_on_once_there_is_room() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["plans", "data"] {
        std::fs::create_dir(folder.path().join(name)).expect("made");
    }
    let plan = WALK.replace("lateness: 100ms", "lateness: 20s");
    std::fs::write(folder.path().join("plans/walk.yaml"), plan).expect("written");
    let config = "[server]\nport = 0\n[plans]\ndirectory = \"plans\"\n[store]\npath = \"data\"\n\
                  segment_bytes = 65536\n[log]\nformat = \"json\"\n";
    std::fs::write(folder.path().join("davy.toml"), config).expect("written");
    let Some((davy, data)) = on_a_small_disk(folder.path()) else {
        return;
    };
    let id = davy.begin().await;
    let mut acknowledged = 0;
    for number in 0..5 {
        let (status, body) = send(&davy, &id, number).await;
        assert_eq!(status, 200, "{body}");
        acknowledged += 1;
    }
    fill(&data);
    // Whoever comes first waits for the disk, and is acknowledged once it takes what it is given.
    let waiting = send(&davy, &id, 100);
    let meanwhile = async {
        davy.until_ready_is(503).await;
        let (status, body) = answer(client().get(format!("{}/readyz", davy.url))).await;
        assert_eq!((status, &body["code"]), (503, &json!("store_unavailable")));
        for number in 0..3 {
            let (status, body) = send(&davy, &id, 200 + number).await;
            assert_eq!(
                (status, &body["code"]),
                (503, &json!("store_unavailable")),
                "{body}"
            );
        }
        let verdict = davy.get(&format!("/v1/analyses/{id}/verdict")).await;
        assert_eq!(verdict["final"], false, "{verdict}");
        std::fs::remove_file(data.join("filler")).expect("it is there");
        davy.until_ready_is(200).await;
    };
    let ((status, body), ()) = tokio::join!(waiting, meanwhile);
    assert_eq!(status, 200, "{body}");
    acknowledged += 1;
    let (status, body) = send(&davy, &id, 300).await;
    assert_eq!(status, 200, "{body}");
    acknowledged += 1;
    let shown = davy.get(&format!("/v1/analyses/{id}")).await;
    let received = shown["received"].as_array().expect("metrics");
    let latency = received.iter().find(|one| one["metric"] == "latency");
    let latency = latency.expect("it is there");
    let values = json!(acknowledged * VALUES);
    assert_eq!(
        [&latency["baseline"], &latency["canary"]],
        [&values, &values]
    );
    // The same again is none.
    let (_, body) = send(&davy, &id, 300).await;
    assert_eq!(
        (&body["accepted"], &body["duplicate"]),
        (&json!(0), &json!(2))
    );
}
