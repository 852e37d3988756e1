//! Recordings of what comes in parts. Bad events and totals of counter pairs come as samples of
//! their own, and a replay must count both again; values of one time are written together, and a
//! replay must find no difference.

use davy::engine::{Effect, EventKind, Limits, recording};
use davy::model::{Arm, Labels, Reading, Sample};
use davy::stats::sampler::{Stream, seed_from};

use crate::machine::{Machine, durations, plan, sample, start, values};

const COUNTED: &str = "horizon: 1m\ntick: 1s\nlateness: 0s\nmin_duration: 5s\n\
    arms: {baseline: 'version=\"old\"', canary: 'version=\"new\"'}\n\
    metrics:\n  errors: {kind: ratio, from: increments, bad: 'requests_total{code=~\"5..\"}', total: 'requests_total'}\n\
    checks:\n  - {compare: errors, tolerance: {relative: 20%, absolute: 1pp}}\n";

fn increment(version: &str, code: &str, secs: f64, count: f64) -> Sample {
    let labels = [("version", version), ("code", code)];
    Sample {
        labels: Labels::from_iter(labels.map(|(name, value)| (name.to_owned(), value.to_owned()))),
        address: None,
        ..sample("", "requests_total", Arm::Canary, secs, values(vec![count]))
    }
}

#[test]
fn a_replay_counts_bad_increments_as_the_live_run_did() {
    let mut machine = Machine::running("x", &plan(COUNTED));
    for second in 0..20 {
        let secs = f64::from(second) + 0.5;
        machine.silently(secs).send(vec![
            increment("old", "200", secs, 999.0),
            increment("old", "500", secs, 1.0),
            increment("new", "200", secs, 900.0),
            increment("new", "503", secs, 100.0),
        ]);
    }
    machine.clock(30.0);
    let live = machine.body("x");
    assert_eq!(live.verdict, davy::model::Outcome::Fail, "{}", live.message);
    let lines = machine.recording("x");
    let mut replayed = None;
    recording::play(lines.iter().map(String::as_str), None, |effects| {
        for effect in effects {
            if let Effect::Event(event) = effect
                && event.kind == EventKind::VerdictFinal
            {
                replayed = Some(event.body);
            }
        }
    })
    .expect("the recording plays");
    let replayed = replayed.expect("the replay ends");
    let bytes =
        |body: &davy::judge::verdict::VerdictBody| serde_json::to_string(body).expect("JSON");
    assert_eq!(bytes(&replayed), bytes(&live));
}

/// The lists of values that a line of a recording holds.
fn lists(line: &str) -> Vec<Vec<f64>> {
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    let samples = line["samples"]["samples"].as_array();
    let lists = samples.into_iter().flatten().map(|sample| {
        let list = sample["reading"]["values"]["values"].clone();
        serde_json::from_value(list).unwrap_or_default()
    });
    lists.collect()
}

#[test]
fn values_of_one_time_are_recorded_together_and_coarsened_where_they_were() {
    const PLAN: &str = "horizon: 1m\ntick: 1s\nlateness: 0s\nmin_duration: 5s\n\
        metrics:\n  latency: {kind: latency}\n  errors: {kind: ratio}\n\
        checks:\n  - {compare: latency, tolerance: 5%}\n  - {compare: errors, tolerance: 1pp}\n";
    let mut stream = Stream::new(&seed_from("together", "values"), 0);
    let limits = Limits {
        tick_values_max: 40,
        ..Limits::default()
    };
    let mut machine = Machine::limited(limits);
    machine
        .start(start("x", &plan(PLAN)))
        .expect("the analysis starts");
    for second in 0..20 {
        let mut batch = Vec::new();
        // Lists and single values, of two times and both arms, far more than the tick holds.
        for number in 0..90 {
            let secs = f64::from(second) + [0.25, 0.5][number / 45];
            let arm = Arm::BOTH[number % 2];
            let count = 1 + number % 3;
            let reading = values(durations(&mut stream, count, 100.0));
            batch.push(sample("x", "latency", arm, secs, reading));
            let reading = Reading::Ratio { bad: 1, total: 50 };
            batch.push(sample("x", "errors", arm, secs, reading));
        }
        machine.silently(f64::from(second) + 0.5).send(batch);
    }
    machine.clock(30.0);
    let lines = machine.recording("x");
    let readings: usize = lines.iter().map(|l| l.matches("\"reading\"").count()).sum();
    assert!(readings < 20 * 180 / 2, "{readings} written");
    // Long lists are written in an order that compresses.
    let long = lines
        .iter()
        .flat_map(|line| lists(line))
        .filter(|list| list.len() >= 32);
    let unordered = long.clone().filter(|list| !list.is_sorted());
    assert_eq!((long.count() > 20, unordered.count()), (true, 0));
    machine.assert_replays("x");
}
