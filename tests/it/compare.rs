//! `davy compare` as a person or a script runs it: files in, answer and exit code out.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};

/// A directory of input files that is removed with the value.
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

    /// Runs `davy compare` in the directory.
    fn compare(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_davy"));
        command
            .arg("compare")
            .args(arguments)
            .current_dir(self.0.path());
        command.output().expect("started")
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.compare(&[arguments, &["--output", "json"]].concat());
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).expect("one JSON object")
    }
}

fn lines(values: impl Iterator<Item = f64>) -> String {
    values.map(|value| format!("{value}\n")).collect()
}

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn the_json_contract() {
    let files = Files::new(&[("b", "1\n2\n3\n4\n"), ("c", "10\n20\n30\n40\n")]);
    let found = files.json(&["b", "c"]);
    let mut expected = [
        "samples",
        "mann_whitney",
        "shift",
        "theta",
        "ratio",
        "verdict",
        "reason",
    ]
    .to_vec();
    expected.sort_unstable();
    assert_eq!(keys(&found), expected);
    assert_eq!(found["samples"], json!({"baseline": 4, "canary": 4}));
    let tails = json!({
        "u": 16.0, "p_two_sided": 2.0 / 70.0, "p_greater": 1.0 / 70.0, "p_less": 1.0,
        "method": "exact", "continuity": false,
    });
    assert_eq!(found["mann_whitney"], tails);
    // All sixteen differences: the median is (22 + 23) / 2; with 2/70 below the extremes are cut.
    let shift = json!({"hodges_lehmann": 22.5, "interval": [6.0, 39.0], "confidence": 0.95});
    assert_eq!(found["shift"], shift);
    assert_eq!(found["theta"], 1.0);
    assert_eq!(
        keys(&found["ratio"]),
        ["confidence", "estimate", "interval"]
    );
    assert_eq!(
        (&found["verdict"], &found["reason"]),
        (&json!("fail"), &json!("degraded"))
    );
}

#[test]
fn verdicts_follow_direction_and_tolerance() {
    let base = lines((0..200).map(|i| 100.0 + f64::from(i * 37 % 200) / 10.0));
    let same = lines((0..200).map(|i| 100.05 + f64::from(i * 41 % 200) / 10.0));
    let files = Files::new(&[("b", &base), ("c", &same)]);
    let verdict = |arguments: &[&str]| {
        let found = files.json(arguments);
        let word = |name: &str| found[name].as_str().expect("a word").to_owned();
        (word("verdict"), word("reason"))
    };
    let is = |verdict: &str, reason: &str| (verdict.to_owned(), reason.to_owned());
    assert_eq!(verdict(&["b", "c"]), is("pass", "within_tolerance"));
    assert_eq!(
        verdict(&["b", "c", "--worse", "lower"]),
        is("pass", "within_tolerance")
    );
    assert_eq!(
        verdict(&["b", "c", "--tolerance", "0%"]),
        is("inconclusive", "needs_samples")
    );
    assert_eq!(
        verdict(&["b", "c", "--tolerance", "3"]),
        is("pass", "within_tolerance")
    );
    // The same files with the arms exchanged and a shift of a tenth: worse in one direction only.
    let up = lines((0..200).map(|i| 115.0 + f64::from(i * 41 % 200) / 10.0));
    let files = Files::new(&[("b", &base), ("c", &up)]);
    let word = |arguments: &[&str]| files.json(arguments)["verdict"].clone();
    assert_eq!(word(&["b", "c"]), "fail");
    assert_eq!(word(&["c", "b"]), "pass");
    assert_eq!(word(&["b", "c", "--worse", "lower"]), "pass");
    assert_eq!(word(&["c", "b", "--worse", "lower"]), "fail");
    assert_eq!(word(&["b", "c", "--tolerance", "5%,20"]), "pass");
}

#[test]
fn unfit_data_is_inconclusive_and_says_why() {
    let many = lines((0..60).map(f64::from));
    let holes = format!("{many}{}", "NaN\n".repeat(16));
    let few_holes = format!("{many}{}", "nan\n".repeat(15));
    let negative = lines((0..60).map(|i| f64::from(i) - 1.0));
    let files = Files::new(&[
        ("many", &many),
        ("none", "# nothing\n\n"),
        ("holes", &holes),
        ("few_holes", &few_holes),
        ("negative", &negative),
    ]);
    let reason = |arguments: &[&str]| {
        let found = files.json(arguments);
        assert_eq!(found["verdict"], "inconclusive", "{arguments:?}");
        found["reason"].as_str().expect("a word").to_owned()
    };
    assert_eq!(reason(&["none", "none"]), "no_traffic");
    assert_eq!(reason(&["none", "many"]), "baseline_missing");
    assert_eq!(reason(&["many", "none"]), "canary_missing");
    assert_eq!(reason(&["many", "holes"]), "bad_data");
    assert_eq!(reason(&["many", "negative"]), "bad_data");
    let found = files.json(&["none", "many"]);
    assert!(found["mann_whitney"]["u"].is_null() && found["shift"]["interval"].is_null());
    // At the limit of a fifth the values still count, and an absolute tolerance knows no sign.
    assert_eq!(files.json(&["many", "few_holes"])["samples"]["canary"], 60);
    assert_eq!(
        files.json(&["many", "few_holes"])["reason"],
        "needs_samples"
    );
    assert_eq!(
        files.json(&["many", "negative", "--tolerance", "30"])["verdict"],
        "pass"
    );
    assert!(files.json(&["many", "negative"])["ratio"]["estimate"].is_null());
}

#[test]
fn infinities_rank_but_have_no_shift() {
    let files = Files::new(&[("b", "1\n2\n3\n"), ("c", "inf\n-inf\n5\n")]);
    let found = files.json(&["b", "c", "--tolerance", "1"]);
    assert_eq!(found["mann_whitney"]["u"], 6.0);
    assert!(found["shift"]["hodges_lehmann"].is_null() && found["ratio"]["estimate"].is_null());
}

#[test]
fn a_csv_is_the_same_as_two_files() {
    let csv = "ts,role,value,weight,unit\n1,baseline,1,,a\n1,baseline,2.5,3,b\n# note\n2,canary,4,2,\n\
               3,canary,,1,\n4,canary,NaN,,\n5,canary,3,1,x\n";
    let files = Files::new(&[
        ("all.csv", csv),
        ("b", "1\n2.5\n2.5\n2.5\n"),
        ("c", "4\n4\n3\nNaN\nNaN\n"),
    ]);
    assert_eq!(files.json(&["--csv", "all.csv"]), files.json(&["b", "c"]));
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place() {
    let files = Files::new(&[
        ("good", "1\n2\n"),
        ("bad", "1\n# 2\n3;4\n"),
        ("no_role.csv", "arm,value\nbaseline,1\n"),
        ("role.csv", "role,value\nbaseline,1\ncontrol,2\n"),
        ("weight.csv", "role,value,weight\nbaseline,1,0\n"),
        (
            "two.csv",
            "role,metric,value\nbaseline,latency,1\ncanary,bytes,9\n",
        ),
    ]);
    let refusal = |arguments: &[&str]| {
        let output = files.compare(arguments);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        String::from_utf8(output.stderr).expect("text")
    };
    assert!(refusal(&["good", "bad"]).contains("bad:3: `3;4` is not a number"));
    assert!(refusal(&["good", "absent"]).contains("cannot read absent"));
    assert!(refusal(&["--csv", "no_role.csv"]).contains("no_role.csv:1: the header lacks role"));
    assert!(refusal(&["--csv", "role.csv"]).contains("role.csv:3: role `control` is neither"));
    assert!(refusal(&["--csv", "two.csv"]).contains("two.csv:3: metric `bytes` after `latency`"));
    assert!(refusal(&["--csv", "weight.csv"]).contains("weight.csv:2: weight `0`"));
}

#[test]
fn exit_codes_for_scripts() {
    let files = Files::new(&[("low", "1\n2\n3\n4\n"), ("high", "10\n20\n30\n40\n")]);
    let code = |arguments: &[&str]| files.compare(arguments).status.code();
    assert_eq!(code(&["low", "high"]), Some(0));
    assert_eq!(code(&["low", "high", "--exit-code"]), Some(1));
    assert_eq!(code(&["high", "low", "--exit-code"]), Some(0));
    assert_eq!(code(&["low", "low", "--exit-code"]), Some(2));
    for wrong in [
        &["low"][..],
        &["low", "high", "--csv", "x"],
        &["low", "high", "--alpha", "0.6"],
        &["low", "high", "--confidence", "95"],
        &["low", "high", "--tolerance", "much"],
        &["low", "high", "--tolerence", "5%"],
    ] {
        assert_eq!(code(wrong), Some(64), "{wrong:?}");
    }
}

#[test]
fn text_ends_with_a_sentence() {
    let files = Files::new(&[
        ("low", "1\n2\n3\n4\n"),
        ("high", "10\n20\n30\n40\n"),
        ("holes", "1\nnan\n"),
    ]);
    let text =
        |arguments: &[&str]| String::from_utf8(files.compare(arguments).stdout).expect("text");
    let last = |text: &str| text.lines().last().expect("a line").to_owned();
    assert_eq!(
        last(&text(&["low", "high"])),
        "fail: the canary is worse than the baseline by more than 5 %."
    );
    assert!(last(&text(&["low", "holes"])).ends_with("values of the canary are missing."));
    let shown = text(&["low", "high"]);
    assert!(shown.contains("22.5 [6, 39]"));
    // Each p stands beside the hypothesis that it speaks against.
    let p_beside = |label: &str| -> f64 {
        let line = shown
            .lines()
            .find(|line| line.contains(label))
            .expect(label);
        line.split_whitespace()
            .last()
            .expect("a p")
            .parse()
            .expect("a number")
    };
    assert!(
        p_beside("if worse by at most") < p_beside("if worse by at least"),
        "{shown}"
    );
    assert!(last(&text(&["low", "low"])).starts_with("inconclusive: "));
    assert!(files.path("low").exists());
}
