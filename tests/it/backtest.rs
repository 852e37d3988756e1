//! `davy backtest` on labelled recordings: its output contract, and the bounds on real ones.

mod past;
mod splits;

use std::io::Write as _;

use clap::Parser;
use davy::cli::backtest::{self, BacktestArgs};
use serde_json::Value;

use crate::support;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: BacktestArgs,
}

fn backtest(manifest: &std::path::Path) -> Value {
    let manifest = manifest.to_str().expect("a path in UTF-8");
    let line = Line::parse_from(["backtest", "--manifest", manifest, "--output", "json"]);
    let mut out = Vec::new();
    backtest::run(&line.args, &mut out).expect("the backtest runs");
    serde_json::from_slice(&out).expect("one JSON object")
}

fn count(summary: &Value, group: &str, name: &str, verdict: &str) -> u64 {
    summary[group][name][verdict].as_u64().unwrap_or(0)
}

#[test]
fn a_small_manifest_gives_a_case_each_and_a_summary() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, factor: f64| {
        let mut file = std::fs::File::create(folder.path().join(name)).expect("a file");
        writeln!(file, "role,value,t_rel").expect("a line");
        for i in 0..600 {
            let spread = f64::from(i * 7 % 101) / 10.0;
            let secs = f64::from(i) / 10.0;
            writeln!(file, "baseline,{},{secs}", 100.0 + spread).expect("a line");
            writeln!(file, "canary,{},{secs}", (100.0 + spread) * factor).expect("a line");
        }
    };
    write("same.csv", 1.0);
    write("slow.csv", 1.5);
    let case = |name: &str, truth: &str, verdict: &str| {
        serde_json::json!({
            "case": name, "file": format!("{name}.csv"), "truth": truth,
            "metric_kind": "latency_ms", "direction": "higher_is_worse",
            "stratum": "raw_latency", "traits": ["raw"], "acceptable_verdicts": [verdict],
        })
    };
    let manifest = folder.path().join("manifest.json");
    let cases = [
        case("same", "healthy", "pass"),
        case("slow", "degraded", "fail"),
    ];
    std::fs::write(&manifest, serde_json::json!({ "cases": cases }).to_string()).expect("a file");
    let report = backtest(&manifest);
    let verdicts: Vec<&str> = report["cases"]
        .as_array()
        .expect("cases")
        .iter()
        .map(|case| case["verdict"].as_str().expect("a verdict"))
        .collect();
    assert_eq!(verdicts, ["pass", "fail"]);
    assert!(
        report["cases"]
            .as_array()
            .expect("cases")
            .iter()
            .all(|case| case["acceptable"] == true)
    );
    let decided: Vec<f64> = report["cases"]
        .as_array()
        .expect("cases")
        .iter()
        .map(|case| case["decided_at"].as_f64().expect("seconds"))
        .collect();
    assert!(
        decided[1] < 10.0,
        "half as slow again is seen early, not after {} s",
        decided[1]
    );
    assert!(
        (decided[0] - 59.9).abs() < 1.1,
        "a pass in a backtest comes at the end"
    );
    assert_eq!(report["summary"]["false_fails"], 0);
}

#[test]
fn every_case_is_explained_when_asked() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rows: String = (0..40)
        .map(|i| format!("baseline,{i},{i}\ncanary,{i},{i}\n"))
        .collect();
    std::fs::write(
        folder.path().join("few.csv"),
        format!("role,value,t_rel\n{rows}"),
    )
    .expect("a file");
    let case = serde_json::json!({
        "case": "few", "file": "few.csv", "truth": "healthy", "metric_kind": "latency_ms",
        "direction": "higher_is_worse", "acceptable_verdicts": ["pass", "inconclusive"],
    });
    let manifest = folder.path().join("manifest.json");
    std::fs::write(
        &manifest,
        serde_json::json!({ "cases": [case] }).to_string(),
    )
    .expect("a file");
    let text = |more: &[&str]| {
        let path = manifest.to_str().expect("a path in UTF-8");
        let line = Line::parse_from(["backtest", "--manifest", path].iter().chain(more));
        let mut out = Vec::new();
        backtest::run(&line.args, &mut out).expect("the backtest runs");
        String::from_utf8(out).expect("UTF-8")
    };
    assert!(
        !text(&[]).contains("few (healthy)"),
        "an acceptable verdict needs no line"
    );
    let explained = text(&["--explain"]);
    assert!(
        explained.contains("few (healthy): inconclusive, horizon_reached"),
        "{explained}"
    );
    assert!(
        explained
            .contains("    recorded (needs_samples): recorded of the canary is 1x the baseline's"),
        "{explained}"
    );
}

#[test]
fn a_manifest_with_an_unknown_word_or_without_cases_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let manifest = folder.path().join("manifest.json");
    let refusal = |text: String| {
        std::fs::write(&manifest, text).expect("a file");
        let path = manifest.to_str().expect("a path in UTF-8");
        let line = Line::parse_from(["backtest", "--manifest", path]);
        let mut out = Vec::new();
        let error = backtest::run(&line.args, &mut out).expect_err("it is refused");
        assert!(out.is_empty());
        format!("{error:#}")
    };
    let case = |kind: &str| {
        serde_json::json!({ "cases": [{
            "case": "one", "file": "one.csv", "truth": "healthy", "metric_kind": kind,
            "direction": "higher_is_worse",
        }] })
    };
    let told = refusal(case("latncy").to_string());
    assert!(
        told.contains("metric_kind `latncy` is not known; did you mean `latency`?"),
        "{told}"
    );
    assert!(told.contains("error_ratio_pct or error_ratio"), "{told}");
    let told = refusal(case("latency").to_string());
    assert!(
        told.contains("cannot read"),
        "a known word is taken: {told}"
    );
    let told = refusal("{\"cases\": []}".to_owned());
    assert!(told.contains("the manifest has no cases"), "{told}");
}

#[test]
fn the_bounds_on_real_recordings_hold() {
    let Some(manifest) = support::shared_file("corpus/manifest.dev.json") else {
        return;
    };
    let report = backtest(&manifest);
    let summary = &report["summary"];
    let fails = |names: &[&str]| -> u64 {
        names
            .iter()
            .map(|name| count(summary, "by_subtype", &format!("healthy {name}"), "fail"))
            .sum()
    };
    assert_eq!(
        fails(&["aa_exact", "aa_interleaved", "no_change", "improved"]),
        0
    );
    assert!(fails(&["aa_replica", "aa_time"]) <= 1);
    for (tier, least_percent) in [("strong", 90), ("moderate", 80), ("tail_only", 50)] {
        let group = &summary["by_tier"][tier];
        let (found, all) = (
            group["fail"].as_u64().expect("a count"),
            group["cases"].as_u64().expect("a count"),
        );
        assert!(
            found * 100 >= all * least_percent,
            "{found} of {all} {tier} cases found"
        );
        assert_eq!(count(summary, "by_tier", tier, "pass"), 0, "{tier}");
    }
    let healthy = &summary["by_truth"]["healthy"];
    let (pass, all) = (
        healthy["pass"].as_u64().expect("a count"),
        healthy["cases"].as_u64().expect("a count"),
    );
    assert!(
        pass * 10 >= all * 6,
        "always inconclusive is no answer: {pass} of {all} healthy cases pass"
    );
}
