//! `davy replay` on a CSV recording: its output contract, and that nothing is left out in silence.

use clap::Parser;
use davy::cli::replay::{self, ReplayArgs};
use davy::codec::csv;
use serde_json::Value;

use crate::machine::plan;

const PLAN: &str = "horizon: 10s\ntick: 1s\nlateness: 0s\nmin_duration: 2s\nmetrics:\n  latency: {kind: latency, from: values}\nchecks:\n  - {compare: latency, tolerance: 10%}\n";

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: ReplayArgs,
}

fn recording(factor: f64, secs: u32) -> String {
    let mut text = "role,value,t_rel\n".to_owned();
    for i in 0..secs * 40 {
        let value = 100.0 + f64::from(i * 37 % 101) / 3.0;
        let at = f64::from(i) / 40.0;
        text.push_str(&format!(
            "baseline,{value},{at}\ncanary,{},{at}\n",
            value * factor
        ));
    }
    text
}

fn looks_of(text: &str) -> Vec<Value> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    std::fs::write(
        path("plan.yaml"),
        format!("version: davy/v1\nplan: p\n{PLAN}"),
    )
    .expect("a file");
    std::fs::write(path("r.csv"), text).expect("a file");
    let [plan, file] = ["plan.yaml", "r.csv"].map(|name| path(name).display().to_string());
    let line = Line::parse_from(["replay", "--plan", &plan, &file, "--output", "json"]);
    let mut out = Vec::new();
    replay::run(&line.args, &mut out).expect("the replay runs");
    let text = String::from_utf8(out).expect("UTF-8");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("one JSON object a line"))
        .collect()
}

#[test]
fn every_look_is_a_line_and_only_the_last_is_final() {
    let looks = looks_of(&recording(1.0, 10));
    assert!(looks.len() > 1);
    for look in &looks {
        assert!(
            look["verdict"].is_string() && look["checks"].is_array(),
            "{look}"
        );
        assert!(look["elapsed_secs"].as_f64().is_some_and(|secs| secs > 0.0));
    }
    let finals: Vec<bool> = looks.iter().map(|look| look["final"] == true).collect();
    let (last, others) = finals.split_last().expect("looks");
    assert!(*last && !others.contains(&true), "{finals:?}");
    assert_eq!(looks.last().expect("looks")["verdict"], "pass");
    let slow = looks_of(&recording(1.6, 10));
    assert_eq!(slow.last().expect("looks")["verdict"], "fail");
}

#[test]
fn rows_past_the_horizon_and_rows_without_meaning_are_told() {
    let mut text = recording(1.0, 1);
    // The header has no weight: a file of its own for those.
    text.push_str("canary,100,3600\n");
    let (rows, problems) = csv::parse(text.as_bytes()).expect("a recording");
    assert!(problems.is_empty());
    let plan = plan(PLAN);
    let left_out = replay::replay_rows(&plan, &rows, |_| {}).expect("the replay runs");
    let (count, message) = &left_out.refused["after_horizon"];
    assert_eq!(*count, 1, "{message}");

    let weighted =
        "role,value,t_rel,weight\nbaseline,5,0,\ncanary,5,0,0\ncanary,5,0,0.4\ncanary,5,0,1e18\n";
    let (rows, _) = csv::parse(weighted.as_bytes()).expect("a recording");
    let left_out = replay::replay_rows(&plan, &rows, |_| {}).expect("the replay runs");
    let lines: Vec<u64> = left_out.rows.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [3, 4, 5]);
}
