//! Ticks with thousands of values that repeat, which are counted while they are open.

use davy::engine::checkpoint::save;
use davy::engine::{Input, Limits};
use davy::model::Arm;
use davy::stats::sampler::{Stream, seed_from};

use super::go_on;
use super::scenario::Scenario;
use crate::machine::{Machine, START, at, durations, plan, sample, start, values};

/// Requests of a tick, and values of each arm in one.
const REQUESTS: usize = 12;
const VALUES: usize = 1_000;

/// Durations to a whole millisecond: a thousand numbers or so.
fn crowded(tick_values_max: usize) -> Scenario {
    let plan = plan(
        "horizon: 40s\ntick: 10s\nlateness: 0s\nmin_duration: 20s\n\
         metrics: {took: {kind: latency}}\n\
         checks:\n  - {compare: took, worse: higher, tolerance: 20%}\n  \
         - {threshold: took, at: p99, limit: '< 800'}\n",
    );
    let mut stream = Stream::new(&seed_from("checkpoint", "crowded"), 0);
    let mut inputs = vec![(START, Input::Start(Box::new(start("x", &plan))))];
    for tick in 0..4 {
        for request in 0..REQUESTS {
            let secs = f64::from(tick) * 10.0 + request as f64 / 2.0;
            let both = Arm::BOTH.map(|arm| {
                let rounded = durations(&mut stream, VALUES, 200.0);
                let rounded = rounded.into_iter().map(f64::round).collect();
                sample("x", "took", arm, secs, values(rounded))
            });
            inputs.push((at(secs), Input::Samples(both.to_vec())));
        }
        inputs.push((at(f64::from(tick) * 10.0 + 12.0), Input::Tick));
    }
    let limits = Limits {
        tick_values_max,
        abandoned_after: i64::MAX,
        ..Limits::default()
    };
    Scenario { limits, inputs }
}

#[test]
fn a_crowded_tick_that_was_loaded_goes_on_as_the_one_that_was_saved() {
    let total = REQUESTS * VALUES;
    for tick_values_max in [65_536, total, total - 1] {
        let seen = go_on(1, crowded(tick_values_max));
        assert!(seen.contains("cut"), "{seen:?}");
        assert!(seen.contains("verdict.final"), "{seen:?}");
    }
}

#[test]
fn a_crowded_tick_is_held_in_little_and_replays_to_the_same_verdict() {
    let Scenario { limits, inputs } = crowded(65_536);
    let mut machine = Machine::limited(limits);
    let (mut before, mut most) = (0, 0);
    for (number, (now, input)) in inputs.into_iter().enumerate() {
        machine.now = now;
        machine.apply(input);
        match number {
            0 => before = save(&machine.state).len(),
            number if number <= REQUESTS => most = most.max(save(&machine.state).len()),
            _ => {}
        }
    }
    // Up to 4,096 of each arm wait to be counted; all of them take 8 bytes each where none are.
    let held = most - before;
    assert!(held < 8 * 2 * REQUESTS * VALUES / 2, "{held} bytes");
    machine.assert_replays("x");
}
