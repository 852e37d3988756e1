//! A watch after a pass, which chance alone seldom brings about.

use davy::engine::{Input, Limits};
use davy::model::Arm;
use davy::stats::sampler::{Stream, seed_from};

use super::scenario::Scenario;
use crate::machine::{START, at, durations, plan, sample, start, values};

/// A pass after which the canary turns bad.
pub fn watched() -> Scenario {
    let plan = plan(
        "horizon: 10m\ntick: 10s\nlateness: 0s\nmin_duration: 1m\n\
         watch: {for: 5m, false_alarms_every: 30d}\nmetrics: {took: {kind: latency}}\n\
         checks: [{compare: took, worse: higher, tolerance: 20%, min_samples: 50}]\n",
    );
    let mut stream = Stream::new(&seed_from("checkpoint", "watched"), 0);
    let mut inputs = vec![(START, Input::Start(Box::new(start("x", &plan))))];
    for tick in 0..50 {
        let secs = f64::from(tick) * 10.0;
        let worse = if tick < 25 { 1.0 } else { 1.5 };
        let batch = [(Arm::Baseline, 1.0), (Arm::Canary, worse)].map(|(arm, factor)| {
            let values = values(durations(&mut stream, 600, 100.0 * factor));
            sample("x", "took", arm, secs + 4.0, values)
        });
        inputs.push((at(secs + 6.0), Input::Samples(batch.to_vec())));
        inputs.push((at(secs + 20.0), Input::Tick));
    }
    Scenario {
        limits: Limits::default(),
        inputs,
    }
}
