//! Buckets as exporters send them, through the engine to what is judged: which unit they are, what is
//! missing of them, and where they lie.

use davy::judge::verdict::PerArm;
use davy::model::{Outcome, Reason};

use crate::machine::{Machine, plan};
use crate::series::{Request, SHAPE};

const OPEN: &str = "+Inf";
const ARMS: [&str; 2] = ["old", "new"];

/// An analysis that does not pass before all twelve seconds of a test are over.
fn machine(metric: &str, check: &str) -> Machine {
    let shape = SHAPE.replace("min_duration: 5s", "min_duration: 12s");
    let text = format!("{shape}metrics:\n  took: {{{metric}}}\nchecks: [{{{check}}}]\n");
    Machine::running("x", &plan(&text))
}

/// Samples that were taken and that are missing.
fn received(machine: &Machine) -> ([u64; 2], u64) {
    let view = machine.state.analysis("x").expect("it is there").view();
    let received = &view.received[0];
    ([received.baseline, received.canary], received.missing)
}

#[test]
fn buckets_without_the_label_of_their_cluster_are_a_unit_by_histogram() {
    let mut machine = machine(
        "kind: latency, from: histogram, cluster: {by: pod, lifetime: run}",
        "threshold: took, at: p90, limit: '< 1'",
    );
    for second in 0..12 {
        let secs = f64::from(second) + 0.5;
        machine.silently(secs);
        // Each bound comes in a request of its own, as senders with several shards do.
        for (le, count) in [("0.1", 90.0), ("1", 100.0), (OPEN, 100.0)] {
            let mut request = Request::default();
            for version in ARMS {
                for zone in ["a", "b"] {
                    let labels = [("version", version), ("zone", zone), ("le", le)];
                    let total = count * (secs + 0.5);
                    request = request
                        .series("took_bucket", &labels)
                        .since(0.0, secs, total);
                }
            }
            request.to(&mut machine);
        }
    }
    machine.clock(20.0);
    let body = machine.body("x");
    let finding = &body.checks[0];
    assert_eq!(body.verdict, Outcome::Pass, "{}", finding.message);
    assert_eq!(finding.samples.canary, 2_400);
    let units = finding.units.as_ref().map(|units| units.canary);
    assert_eq!(units, Some(2), "one a histogram, in all ticks");
    assert_eq!(received(&machine).1, 0);
}

#[test]
fn observations_in_a_bucket_that_holds_the_bound_are_missing() {
    let mut machine = machine(
        "kind: ratio, above: {histogram: took, bound: 0.4}",
        "compare: took, tolerance: {relative: 20%, absolute: 1pp}",
    );
    // Half of the canary's intervals, its slow ones, cannot be told apart at the bound.
    for second in 0..12 {
        let secs = f64::from(second) + 0.5;
        let request = Request::default()
            .series("took", &[("version", "old")])
            .histogram(secs, true, &[(0.25, 0.4, 1_000.0)])
            .series("took", &[("version", "new")]);
        let request = match second % 2 {
            0 => request.histogram(secs, true, &[(0.25, 0.4, 1_000.0)]),
            _ => request.histogram(secs, true, &[(0.2, 0.25, 400.0), (0.25, 0.5, 600.0)]),
        };
        let answer = request.to(machine.silently(secs));
        assert_eq!(answer.refused.len(), (second % 2) as usize, "{answer:?}");
    }
    assert_eq!(received(&machine), ([12_000, 6_000], 6_000));
    machine.clock(20.0);
    let finding = &machine.body("x").checks[0];
    let told = (finding.verdict, finding.reason);
    assert_eq!(told, (Outcome::Inconclusive, Reason::BadData));
}

#[test]
fn zeros_in_the_bucket_up_to_zero_are_zeros() {
    let mut machine = machine(
        "kind: latency, from: histogram",
        "compare: took, worse: higher, tolerance: 10%",
    );
    for second in 0..12 {
        let secs = f64::from(second) + 0.5;
        let mut request = Request::default();
        for version in ARMS {
            for (le, count) in [
                ("0", 100.0),
                ("0.100", 100.0),
                ("0.105", 1_000.0),
                (OPEN, 1_000.0),
            ] {
                let labels = [("version", version), ("le", le)];
                let total = count * (secs + 0.5);
                request = request
                    .series("took_bucket", &labels)
                    .since(0.0, secs, total);
            }
        }
        request.to(machine.silently(secs));
    }
    machine.clock(20.0);
    let finding = &machine.body("x").checks[0];
    // Below zero there is nothing: a relative tolerance has something to be relative to.
    assert_eq!(finding.verdict, Outcome::Pass, "{finding:?}");
    assert_eq!(
        finding.samples,
        PerArm {
            baseline: 12_000,
            canary: 12_000
        }
    );
}
