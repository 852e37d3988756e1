//! A/A splits of healthy recordings: nothing differs between the arms, so every verdict is wrong.

use clap::Parser;
use davy::cli::backtest::splits::{SplitReport, judge_splits};
use davy::codec::csv;
use davy::model::Arm;
use davy::stats::sampler::{self, Stream};

use super::Line;
use crate::support;

/// Rounds in a test; the command's default is four times as many.
const ROUNDS: &str = "250";

fn splits(text: &[u8], more: &[&str]) -> SplitReport {
    let fixed = ["backtest", "--splits", "unread", "--rounds", ROUNDS];
    let line = Line::parse_from(fixed.iter().chain(more));
    let (rows, problems) = csv::parse_arm(text, Arm::Baseline).expect("a recording");
    assert_eq!(problems, []);
    judge_splits(rows, &line.args.split).expect("it can be split")
}

/// 300 units of 1 to 12 log-normal values each, which share half of their variance.
fn clustered() -> String {
    let mut stream = Stream::new(&sampler::seed_from("splits", "clustered"), 0);
    let mut text = "unit,ts,value\n".to_owned();
    for unit in 0..300 {
        let (of_unit, begin) = (stream.normal(), 600.0 * stream.uniform());
        for value in 0..1 + stream.next_u32() % 12 {
            let log = 0.5 * (of_unit + stream.normal());
            let ts = begin + f64::from(value);
            text += &format!("{unit},{ts},{}\n", libm::exp(log));
        }
    }
    text
}

#[test]
fn units_that_depend_on_themselves_fool_a_plain_test_but_not_davy() {
    let report = splits(clustered().as_bytes(), &[]);
    assert_eq!(report.units, 300);
    let [fail, pass, end, peeking] = report.rules.as_slice() else {
        panic!("four rules: {report:?}");
    };
    assert!(fail.holds && pass.holds, "{report:?}");
    assert!(
        !end.holds && !peeking.holds,
        "the recording is too easy: {report:?}"
    );
    assert!(peeking.count > end.count);
}

#[test]
fn without_the_cluster_davy_is_fooled_too() {
    let report = splits(clustered().as_bytes(), &["--cluster", "none"]);
    let wrong = report.rules[0].count + report.rules[1].count;
    let may = 2.0 * report.alpha * report.rounds as f64;
    assert!(
        wrong as f64 > 2.0 * may,
        "so the test above says something: {report:?}"
    );
}

#[test]
fn the_same_seed_gives_the_same_counts_and_another_one_other_splits() {
    let text = clustered();
    let counts = |seed: &str| -> Vec<u64> {
        let report = splits(text.as_bytes(), &["--seed", seed]);
        report.rules.iter().map(|rule| rule.count).collect()
    };
    assert_eq!(counts("7"), counts("7"));
    assert_ne!(counts("7"), counts("8"));
}

#[test]
fn a_recording_of_few_units_is_refused_with_a_way_out() {
    let line = Line::parse_from(["backtest", "--splits", "unread"]);
    let (rows, _) = csv::parse_arm(b"unit,ts,value\na,0,1\nb,1,2\n", Arm::Baseline).expect("rows");
    let error = judge_splits(rows, &line.args.split).expect_err("two units");
    assert!(error.to_string().contains("record more units"), "{error}");
}

#[test]
fn real_recordings_split_at_random_do_not_fail() {
    let Some(pools) = support::shared_file("corpus/pools") else {
        return;
    };
    let mut files: Vec<_> = std::fs::read_dir(pools)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(files.len() >= 7);
    let (mut fooled, level) = (0, 0.05 / files.len() as f64);
    for file in &files {
        let text = std::fs::read(file).expect("a recording");
        let report = splits(&text, &[]);
        for rule in &report.rules[..2] {
            assert!(rule.p >= level, "{}: {rule:?}", file.display());
        }
        fooled += u32::from(report.rules[3].p < level);
    }
    assert!(
        fooled >= 5,
        "peeking with a plain test went unpunished: {fooled}"
    );
}
