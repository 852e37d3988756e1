//! A recording of counter pairs: bad events and totals come as samples of their own, and a replay
//! must count both again.

use davy::engine::{Effect, EventKind, recording};
use davy::model::{Arm, Labels, Sample};

use crate::machine::{Machine, plan, sample, values};

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
