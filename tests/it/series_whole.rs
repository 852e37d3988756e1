//! What is half there must not be judged: buckets that miss their bound, pods with bounds of their own,
//! series past the limit, what a gap hid. A verdict on it would be wrong in either direction.

use davy::engine::Limits;
use davy::judge::verdict::Finding;
use davy::model::{Outcome, Reason};

use crate::machine::{Machine, plan, start};
use crate::series::{Request, SHAPE};

const OPEN: &str = "+Inf";

fn machine(metric: &str, check: &str, limits: Limits) -> Machine {
    let mut machine = Machine::limited(limits);
    let text = format!("{SHAPE}metrics:\n  took: {{{metric}}}\nchecks: [{{{check}}}]\n");
    machine.start(start("x", &plan(&text))).expect("it starts");
    machine
}

/// Buckets of one pod since the start, with a second between scrapes.
fn buckets(request: Request, version: &str, pod: &str, secs: f64, upto: &[(&str, f64)]) -> Request {
    upto.iter().fold(request, |request, &(le, count)| {
        let labels = [("version", version), ("pod", pod), ("le", le)];
        request
            .series("took_bucket", &labels)
            .since(0.0, secs, count * (secs + 0.5))
    })
}

/// Twelve seconds of what both arms send, and the finding at their end.
fn judged(mut machine: Machine, send: impl Fn(Request, f64) -> Request) -> (Outcome, Finding) {
    for second in 0..12 {
        let secs = f64::from(second) + 0.5;
        send(Request::default(), secs).to(machine.silently(secs));
    }
    machine.clock(20.0);
    let body = machine.body("x");
    (body.verdict, body.checks[0].clone())
}

const ABOVE: &str = "kind: ratio, above: {histogram: took, bound: 0.3}";
const SHARE: &str = "compare: took, tolerance: {relative: 20%, absolute: 1pp}";
const LIMIT: &str = "threshold: took, limit: '< 5%'";
const WHOLE: [(&str, f64); 3] = [("0.1", 900.0), ("0.3", 990.0), (OPEN, 1_000.0)];
const OTHER: [(&str, f64); 3] = [("0.1", 900.0), ("0.25", 990.0), (OPEN, 1_000.0)];

#[test]
fn a_histogram_without_the_bound_is_neither_bad_nor_good() {
    for (check, arms) in [
        (SHARE, [OTHER, OTHER]),
        (SHARE, [WHOLE, OTHER]),
        (SHARE, [OTHER, WHOLE]),
        (LIMIT, [WHOLE, OTHER]),
    ] {
        let machine = machine(ABOVE, check, Limits::default());
        let (verdict, finding) = judged(machine, |request, secs| {
            let request = buckets(request, "old", "a", secs, &arms[0]);
            buckets(request, "new", "a", secs, &arms[1])
        });
        assert_eq!(
            verdict,
            Outcome::Inconclusive,
            "{check}: {}",
            finding.message
        );
    }
    let machine = machine(ABOVE, SHARE, Limits::default());
    let (verdict, finding) = judged(machine, |request, secs| {
        let request = buckets(request, "old", "a", secs, &WHOLE);
        buckets(request, "new", "a", secs, &WHOLE)
    });
    assert_eq!(verdict, Outcome::Pass, "{}", finding.message);
}

#[test]
fn pods_with_bounds_of_their_own_are_taken_apart_before_they_are_summed() {
    let metric = "kind: latency, from: histogram";
    // All of 50 ms; the second pod has no bound at 0.1.
    let one = [("0.1", 1_000.0), ("1", 1_000.0), (OPEN, 1_000.0)];
    let other = [("0.5", 1_000.0), ("1", 1_000.0), (OPEN, 1_000.0)];
    let limit = |limit: &str| format!("threshold: took, at: p90, limit: '< {limit}'");
    let send = |request: Request, secs: f64| {
        let request = buckets(request, "old", "a", secs, &one);
        let request = buckets(request, "new", "a", secs, &one);
        buckets(request, "new", "b", secs, &other)
    };
    let (verdict, finding) = judged(machine(metric, &limit("1"), Limits::default()), send);
    assert_eq!(verdict, Outcome::Pass, "{}", finding.message);
    // Nobody knows which of those up to half a second took longer than a tenth.
    let (verdict, finding) = judged(machine(metric, &limit("0.1"), Limits::default()), send);
    assert_eq!(
        (verdict, finding.reason),
        (Outcome::Inconclusive, Reason::CoarseBuckets)
    );
}

#[test]
fn buckets_that_begin_anew_unseen_make_their_tick_missing() {
    let machine = machine(ABOVE, LIMIT, Limits::default());
    // Each second a new process, which counts a little more than the one before up to the bound.
    let (verdict, finding) = judged(machine, |request, secs| {
        let good = 990.0 + secs;
        let all = 1_000.0 - secs;
        let series = |request: Request, le: &str, count: f64| {
            let labels = [("version", "new"), ("le", le)];
            request.series("took_bucket", &labels).at(secs, count)
        };
        series(series(request, "0.3", good), OPEN, all)
    });
    assert_eq!(verdict, Outcome::Inconclusive, "{}", finding.message);
}

#[test]
fn past_the_limit_of_series_a_metric_is_no_longer_judged() {
    let metric = "kind: ratio, from: counter, bad: 'took_total{code=\"500\"}', total: took_total";
    for (series_max, expected) in [(4, Outcome::Fail), (3, Outcome::Inconclusive)] {
        let limits = Limits {
            series_max,
            ..Limits::default()
        };
        let machine = machine(metric, SHARE, limits);
        let (verdict, finding) = judged(machine, |request, secs| {
            let counter = |request: Request, version: &str, code: &str, count: f64| {
                let labels = [("version", version), ("code", code)];
                request
                    .series("took_total", &labels)
                    .since(0.0, secs, count * (secs + 0.5))
            };
            let request = counter(request, "old", "200", 1_000.0);
            let request = counter(request, "new", "200", 600.0);
            let request = counter(request, "old", "500", 1.0);
            // The last to come are the canary's errors.
            counter(request, "new", "500", 400.0)
        });
        assert_eq!(verdict, expected, "{series_max}: {}", finding.message);
        if expected == Outcome::Inconclusive {
            assert_eq!(finding.reason, Reason::BadData);
        }
    }
}

#[test]
fn what_a_gap_hid_counts_over_the_time_of_the_gap() {
    let metric = "kind: rate, from: counter, events: took_total";
    let machine = machine(metric, "threshold: took, limit: '< 100'", Limits::default());
    // Half as many events a second as may be, told every fourth second only.
    let (verdict, finding) = judged(machine, |request, secs| {
        let labels = [("version", "new")];
        if (secs as i64) % 4 > 0 {
            return request;
        }
        request
            .series("took_total", &labels)
            .since(0.0, secs, 50.0 * secs)
    });
    assert_ne!(verdict, Outcome::Fail, "{}", finding.message);
    let rate = finding.estimate.expect("a rate");
    assert!((rate - 50.0).abs() < 5.0, "{rate}");
}
