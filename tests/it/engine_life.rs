//! The life of an analysis: from its start to its last event, and what it refuses on the way.
//!
//! Owns the contract that controllers and webhooks rely on, told as tests: `decisions` for what
//! is asked of the controller, `endings` for how an analysis becomes final, `counting` for what
//! becomes of each sample, `limits` for the bounds, `measuring` for what is counted, `overriding` for people who decide otherwise, `rollout` for steps, `watching` for what comes
//! after a pass.

mod counting;
mod decisions;
mod endings;
mod limits;
mod measuring;
mod overriding;
mod rollout;
mod watching;

use std::sync::Arc;

use davy::model::Arm;
use davy::plan::Plan;
use davy::stats::sampler::{Stream, seed_from};

use crate::machine::{Machine, durations, plan, sample, values};

/// Sixty looks at one latency, ten seconds each.
const LATENCY: &str = "horizon: 10m\ntick: 10s\nlateness: 0s\nmin_duration: 2m\n\
    metrics: {duration: {kind: latency}}\n\
    checks: [{compare: duration, worse: higher, tolerance: 20%, min_samples: 50}]\n";
const TICK_SECS: f64 = 10.0;

/// [`LATENCY`] with more lines.
fn latency_plan(more: &str) -> Arc<Plan> {
    plan(&format!("{LATENCY}{more}"))
}

/// Sends a tick of equally many durations to both arms.
fn send_tick(machine: &mut Machine, id: &str, tick: usize, count: usize, canary_factor: f64) {
    let secs = tick as f64 * TICK_SECS;
    let mut stream = Stream::new(&seed_from("life", id), tick as u64);
    let baseline = durations(&mut stream, count, 100.0);
    let canary = durations(&mut stream, count, 100.0 * canary_factor);
    let samples = vec![
        sample(id, "duration", Arm::Baseline, secs + 4.0, values(baseline)),
        sample(id, "duration", Arm::Canary, secs + 5.0, values(canary)),
    ];
    machine.silently(secs + 6.0).send(samples);
}

/// Sends a tick and closes it.
fn feed(machine: &mut Machine, id: &str, tick: usize, count: usize, canary_factor: f64) {
    send_tick(machine, id, tick, count, canary_factor);
    machine.clock((tick + 2) as f64 * TICK_SECS);
}

/// Feeds ticks until the analysis is final; the number of ticks that took.
fn feed_until_final(machine: &mut Machine, id: &str, count: usize, canary_factor: f64) -> usize {
    for tick in 0..60 {
        feed(machine, id, tick, count, canary_factor);
        if machine.body(id).is_final {
            return tick + 1;
        }
    }
    panic!("the horizon passed and {id} is not final");
}
