//! Kayenta's judge against Kayenta, and the commands around it.
//!
//! What its own tests assert (`asserted`) and what its classes answered on made-up data
//! (`observed`) lies beside the project, and is cross-checked where it is there. What needs neither is
//! in `commands` and, rule by rule, beside the code. `reported` recomputes a table of docs/kayenta.md;
//! `imported` has plans made of configurations checked.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::shared_file;

mod asserted;
mod commands;
mod imported;
mod observed;
mod reported;

/// Rows of a file beside the project; `None` where it is not here.
fn shared_rows(name: &str) -> Option<Vec<Value>> {
    let path = shared_file(&format!("reference/{name}"))?;
    let text = fs::read_to_string(path).expect("readable");
    Some(serde_json::from_str(&text).expect("an array of rows"))
}

/// A number, or the word for what is none.
fn number(value: &Value) -> f64 {
    match value.as_str() {
        Some("NaN") => f64::NAN,
        Some(other) => panic!("unexpected text {other}"),
        None => value.as_f64().expect("a number"),
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .expect("an array")
        .iter()
        .map(number)
        .collect()
}

/// Equal as far as the reference promises: 1e-6 of the value, or 1e-9.
fn is_close(found: f64, expected: f64) -> bool {
    let difference = (found - expected).abs();
    found.is_nan() && expected.is_nan()
        || found == expected
        || difference <= 1e-9
        || difference <= 1e-6 * expected.abs()
}

/// A directory of input files, in which davy is run.
struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Files {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            fs::write(directory.path().join(name), text).expect("written");
        }
        Files(directory)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn davy(&self, arguments: &[&str]) -> Output {
        self.davy_reading(arguments, "")
    }

    /// The same with something on standard input.
    fn davy_reading(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_davy"))
            .args(arguments)
            .current_dir(self.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(input.as_bytes()).expect("taken");
        drop(stdin);
        child.wait_with_output().expect("ended")
    }
}

/// The JSON lines of a run that went well.
fn lines(output: &Output) -> Vec<Value> {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let text = String::from_utf8(output.stdout.clone()).expect("text");
    let line = |line: &str| serde_json::from_str(line).expect("a JSON line");
    text.lines().map(line).collect()
}
