//! `davy gate`, as pipelines run it, and the script of `examples/ci`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::{Sender, folder, start};
use crate::restart::Davy;
use crate::support::project_root;

fn gate(davy: &Davy, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_davy"));
    command.args(["gate", "--server", &davy.url]).args(more);
    command.stdin(Stdio::null());
    command
}

async fn ended(mut command: Command) -> Output {
    let running = tokio::task::spawn_blocking(move || command.output());
    running.await.expect("no panic").expect("it runs")
}

async fn run(davy: &Davy, more: &[&str]) -> (Option<i32>, String, String) {
    let output = ended(gate(davy, more)).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let Output {
        status,
        stdout,
        stderr,
    } = output;
    (status.code(), text(&stdout), text(&stderr))
}

const CHANGE: [&str; 8] = [
    "--plan",
    "checkout",
    "--baseline",
    "old",
    "--service",
    "checkout",
    "--wait",
    "40s",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_job_ends_as_the_analysis_does_and_its_page_says_why() {
    let folder = folder("");
    let davy = start(folder.path());
    let page = folder.path().join("summary.md");
    for (canary, factor, code, sign) in
        [("good", 1.0, 0, "✅ open"), ("bad", 3.0, 1, "❌ rollback")]
    {
        let _sender = Sender::begin(&davy.url, "old", canary, factor);
        let shown = page.display().to_string();
        let mut args = CHANGE.to_vec();
        args.extend([
            "--canary",
            canary,
            "--revision",
            canary,
            "--summary",
            &shown,
        ]);
        let (code_of_it, told, said) = run(&davy, &args).await;
        assert_eq!(code_of_it, Some(code), "{told} {said}");
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(said.contains("analysis an_"), "{said}");
        let page = std::fs::read_to_string(&page).expect("written");
        assert!(
            page.contains(sign) && page.contains("| latency |"),
            "{page}"
        );
        // The job is run again: the same analysis, at once, and for programs.
        args.extend(["--output", "json"]);
        let (code_of_it, told, _) = run(&davy, &args).await;
        let verdict: Value = serde_json::from_str(&told).expect("JSON");
        assert_eq!((code_of_it, &verdict["final"]), (Some(code), &json!(true)));
        assert!(said.contains(verdict["analysis"].as_str().expect("an id")));
    }
    let page = std::fs::read_to_string(&page).expect("written");
    assert_eq!(page.matches("### davy:").count(), 4, "appended: {page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_time_is_over_leaves_the_analysis_running() {
    let folder = folder("");
    let davy = start(folder.path());
    let (code, told, said) = run(
        &davy,
        &[
            "--plan",
            "checkout",
            "--baseline",
            "a",
            "--canary",
            "b",
            "--wait",
            "500ms",
        ],
    )
    .await;
    assert_eq!(code, Some(2), "{said}");
    assert!(
        told.starts_with("inconclusive") && said.contains("goes on"),
        "{told} {said}"
    );
    let listed = davy.get("/v1/analyses").await;
    assert_eq!(listed["analyses"][0]["status"], "pending");
    let id = listed["analyses"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    // Somebody else may follow it; a person's decision ends the waiting.
    let follower = ended(gate(&davy, &["--analysis", &id, "--wait", "40s"]));
    let deciding = async {
        let decided = json!({"decision": "rollback", "reason": "seen by hand"});
        davy.post(&format!("/v1/analyses/{id}/override"), &decided)
            .await
    };
    let (followed, decided) = tokio::join!(follower, deciding);
    assert_eq!(decided.0, 200, "{}", decided.1);
    assert_eq!(followed.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_started_is_an_error_and_no_verdict() {
    let folder = folder("");
    let davy = start(folder.path());
    let cases: [(&[&str], i32, &str); 5] = [
        (&["--plan", "chekout"], 3, "did you mean `checkout`?"),
        (&["--plan", "checkout", "--baseline", "a"], 3, "canary"),
        (&["--plan", "missing.yaml"], 3, "cannot read missing.yaml"),
        (&["--plan", "checkout", "--gate", "step"], 3, "needs --step"),
        (&["--plan", "checkout", "--wait", "soon"], 64, "45m"),
    ];
    for (args, code, words) in cases {
        let (code_of_it, told, said) = run(&davy, args).await;
        assert_eq!(code_of_it, Some(code), "{args:?}: {said}");
        assert!(told.is_empty() && said.contains(words), "{args:?}: {said}");
    }
    let nobody = Davy::start(folder_of_another().path()).url.clone();
    let mut command = Command::new(env!("CARGO_BIN_EXE_davy"));
    command.args([
        "gate",
        "--server",
        &nobody,
        "--plan",
        "checkout",
        "--patience",
        "100ms",
    ]);
    let output = ended(command).await;
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("did not answer"), "{said}");
}

/// Of a davy that is gone by the time anybody asks.
fn folder_of_another() -> tempfile::TempDir {
    folder("")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_outlives_a_daemon_that_starts_again() {
    let folder = folder("");
    let davy = start(folder.path());
    let mut args = CHANGE.to_vec();
    args.extend(["--canary", "new", "--revision", "new"]);
    let mut job = gate(&davy, &args)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut said = BufReader::new(job.stderr.take().expect("piped")).lines();
    let mut says = |words: &str| {
        let found = said.by_ref().map_while(Result::ok);
        found.into_iter().any(|line| line.contains(words))
    };
    assert!(says("analysis an_"), "it has begun");
    drop(davy);
    // Away for as long as it takes to be missed.
    assert!(says("asking again"), "it is patient");
    let davy = start(folder.path());
    let _sender = Sender::begin(&davy.url, "old", "new", 1.0);
    assert!(says("pass"), "it sees the analysis go on");
    let ended = tokio::task::spawn_blocking(move || job.wait()).await;
    let status = ended.expect("no panic").expect("it ended");
    assert_eq!(status.code(), Some(0));
}

/// Runs the script with a command that writes weights down; its exit code and the weights.
async fn roll_out(davy: &Davy, folder: &Path, canary: &str) -> (Option<i32>, String) {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_davy"));
    let beside = binary.parent().expect("a folder").display().to_string();
    let weights = folder.join(format!("weights-{canary}"));
    let shift = folder.join("shift");
    std::fs::write(&shift, "echo \"$1\" >> \"$WEIGHTS\"\n").expect("written");
    let mut command = Command::new("sh");
    command
        .arg(project_root().join("examples/ci/gate.sh"))
        .env("PATH", format!("{beside}:/usr/bin:/bin"))
        .env("DAVY_URL", &davy.url)
        .env("SERVICE", "checkout")
        .env("OLD", "old")
        .env("NEW", canary)
        .env("WAIT", "40s")
        .env("WEIGHTS", &weights)
        .env("SHIFT", format!("sh {}", shift.display()));
    let output = ended(command).await;
    let weights = std::fs::read_to_string(weights).unwrap_or_default();
    let weights: Vec<&str> = weights.lines().collect();
    (output.status.code(), weights.join(" "))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_goes_through_its_steps_and_back_again() {
    let folder = folder("");
    let davy = start(folder.path());
    let sender = Sender::begin(&davy.url, "old", "good", 1.0);
    let rolled = roll_out(&davy, folder.path(), "good").await;
    assert_eq!(rolled, (Some(0), "10 50 100".to_owned()));
    let listed = davy.get("/v1/analyses").await;
    let steps = listed["analyses"][0]["steps"].as_array().expect("steps");
    let names: Vec<&Value> = steps.iter().map(|step| &step["name"]).collect();
    assert_eq!(names, ["0", "10", "50", "100"]);
    sender.set(|traffic| {
        traffic.canary = "bad".to_owned();
        traffic.factor = 3.0;
    });
    let (code, weights) = roll_out(&davy, folder.path(), "bad").await;
    assert_eq!(code, Some(1), "{weights}");
    assert!(weights.ends_with(" 0"), "{weights}");
}
