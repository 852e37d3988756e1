//! Boards, rules and metrics: that they fit each other, and that every query of a board answers.
//!
//! `lint` holds a board to the rules of Grafana's dashboard-linter and some of our own, `broken` shows
//! that each rule has teeth, `names` compares what is named with what there is, `live` runs every
//! query in a real Prometheus that scrapes a real davy, which plays `day`, and `counted` starts davy again
//! and again. No Grafana is started:
//! what is not checked here is how a board looks.

mod broken;
mod counted;
mod day;
mod lint;
mod live;
mod names;
mod queries;
mod rules;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::project_root;

/// The boards, by the names of their files.
const BOARDS: [&str; 3] = ["executive", "on_call", "debug"];

fn folder() -> PathBuf {
    project_root().join("dashboards")
}

fn board(name: &str) -> Value {
    let text = std::fs::read_to_string(folder().join(format!("{name}.json")));
    serde_json::from_str(&text.expect("the board is there")).expect("JSON")
}

/// Runs promtool; `None` where it is not installed.
fn promtool(arguments: &[&str], within: &Path) -> Option<Output> {
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(within)
        .output();
    output
        .inspect_err(|error| {
            eprintln!("left out: promtool cannot be started ({error}); make test installs it");
        })
        .ok()
}

/// What a command said, where it failed.
fn complaint(output: &Output) -> Option<String> {
    let said = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    (!output.status.success()).then(|| said.concat())
}

#[test]
fn the_boards_are_what_their_script_writes() {
    let copy = tempfile::tempdir().expect("a folder");
    let script = "make_boards.py";
    std::fs::copy(folder().join(script), copy.path().join(script)).expect("copied");
    let made = Command::new("python3")
        .arg(script)
        .current_dir(copy.path())
        .output();
    let Ok(made) = made else {
        eprintln!("left out: python3 cannot be started; make test installs it");
        return;
    };
    assert_eq!(complaint(&made), None);
    for name in BOARDS {
        let text = std::fs::read_to_string(copy.path().join(format!("{name}.json")));
        let fresh: Value = serde_json::from_str(&text.expect("written")).expect("JSON");
        assert!(fresh == board(name), "{name}.json: run dashboards/{script}");
    }
}
