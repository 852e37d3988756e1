//! `davy demo` from outside: the command as a person types it, with its processes and signals.
//!
//! What two busy processes measure of each other is chance; so a healthy canary must not fail, and
//! a bad one must not pass, whatever else runs on the machine. That both are decided as they
//! should is what the demo is run twenty times for by hand.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

fn davy(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_davy"));
    // Its own folder for temporary files, so that what is left behind can be seen; and settings
    // of somebody's own daemon, which are none of the demo's business.
    command
        .env("TMPDIR", folder)
        .env("DAVY_SERVER__PORT", "1")
        .stdin(Stdio::null());
    command
}

fn left_behind(folder: &Path) -> usize {
    std::fs::read_dir(folder).expect("readable").count()
}

#[test]
fn a_bad_canary_is_rolled_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = davy(folder.path())
        .args(["demo", "--output", "json"])
        .output()
        .expect("runs");
    let told = String::from_utf8_lossy(&output.stderr);
    let ending: Value = serde_json::from_slice(&output.stdout).expect(&told);
    let verdict = &ending["verdict"];
    assert_eq!(verdict["verdict"], "fail", "{ending}");
    assert_eq!(verdict["decision"], "rollback");
    assert_eq!(ending["as_expected"], true);
    assert_eq!(output.status.code(), Some(0));
    let last = ending["actions"].as_array().and_then(|all| all.last());
    let last = last.expect("a final webhook");
    assert_eq!(last["event"], "verdict.final");
    assert_eq!(last["signature_ok"], true);
    assert_eq!(last["canary_percent"], serde_json::json!([50, 0]));
    // The last block of ten may have been under way when the traffic was moved.
    assert!(
        ending["served_after"]["canary"].as_u64() <= Some(5),
        "{ending}"
    );
    assert!(ending["served_after"]["baseline"].as_u64() > Some(5));
    assert_eq!(left_behind(folder.path()), 0);
}

#[test]
fn a_healthy_canary_never_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = davy(folder.path())
        .args(["demo", "--healthy"])
        .output()
        .expect("runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("the canary does the same work"),
        "{text}{told}"
    );
    assert!(!text.contains("rollback"), "{text}");
    let promoted = text.contains("promote; canary traffic 50 % -> 100 %");
    assert_eq!(
        output.status.code(),
        Some(i32::from(!promoted)),
        "{text}{told}"
    );
    for part in [
        "final verdict after",
        "request_latency-p90",
        "[",
        "T tolerance",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(left_behind(folder.path()), 0);
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut demo = davy(folder.path())
        .arg("demo")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let lines = BufReader::new(demo.stdout.take().expect("piped")).lines();
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for line in lines.map_while(Result::ok) {
        addresses.extend(
            line.split_whitespace()
                .filter_map(|word| word.parse::<SocketAddr>().ok()),
        );
        if line.contains("analysis an_") {
            break;
        }
    }
    // Baseline, canary, davy, controller.
    assert_eq!(addresses.len(), 4);
    for address in &addresses {
        TcpStream::connect(address).expect("they run");
    }
    let signalled = Command::new("kill")
        .args(["-INT", &demo.id().to_string()])
        .status();
    assert!(signalled.expect("kill is there").success());
    let output = demo.wait_with_output().expect("ends");
    assert_eq!(output.status.code(), Some(3));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("davy: error: interrupted"), "{told}");
    for address in &addresses {
        assert!(TcpStream::connect(address).is_err(), "{address} still runs");
    }
    assert_eq!(left_behind(folder.path()), 0);
}
