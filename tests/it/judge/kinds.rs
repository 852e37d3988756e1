//! A failing, a passing and an open stream for each kind of check.

use davy::model::{Outcome, Reason};
use davy::window::Cell;

use super::*;
use crate::machine::durations;

use Outcome::{Fail, Inconclusive, Pass};

/// Both arms' log-normal values of every tick, the canary's stretched.
fn latency(label: &str, count: usize, factor: f64) -> Vec<[Cell; 2]> {
    let mut stream = stream(label, 0);
    let mut arm = |median| of_values(durations(&mut stream, count, median));
    (0..LOOKS)
        .map(|_| [arm(100.0), arm(100.0 * factor)])
        .collect()
}

fn ratio(label: &str, total: u64, shares: [f64; 2]) -> Vec<[Cell; 2]> {
    let mut stream = stream(label, 1);
    let mut arm = |share| of_ratio(count(&mut stream, total, share), total);
    (0..LOOKS).map(|_| shares.map(&mut arm)).collect()
}

/// Poisson-like counts: many trials of a small share.
fn rate(label: &str, rates: [f64; 2]) -> Vec<[Cell; 2]> {
    let mut stream = stream(label, 2);
    let mut arm = |rate: f64| of_rate(count(&mut stream, 1_000, rate / 100.0), 10.0);
    (0..LOOKS).map(|_| rates.map(&mut arm)).collect()
}

fn gauge(label: &str, levels: [f64; 2], noise: f64) -> Vec<[Cell; 2]> {
    let mut stream = stream(label, 3);
    let mut arm = |tick, level: f64| of_point(tick, level * libm::exp(noise * stream.normal()));
    (0..LOOKS)
        .map(|tick| levels.map(|level| arm(tick, level)))
        .collect()
}

#[test]
fn a_canary_half_again_as_slow_fails_early_and_equal_arms_pass() {
    let plan = one_check("kind: latency", "compare: m, worse: higher, tolerance: 10%");
    let (look, finding) = decided(&plan, latency("slow", 100, 1.5));
    assert_eq!((finding.verdict, finding.reason), (Fail, Reason::Degraded));
    assert!(look <= 3, "it took {look} of {LOOKS} looks");
    let (_, finding) = decided(&plan, latency("equal", 300, 1.0));
    assert_eq!(
        (finding.verdict, finding.reason),
        (Pass, Reason::WithinTolerance)
    );
    let (look, finding) = decided(&plan, latency("few", 5, 1.1));
    assert_eq!((look, finding.verdict), (LOOKS, Inconclusive));
}

#[test]
fn a_regression_of_the_tail_alone_is_the_tail_checks_to_find() {
    let ticks = || {
        let mut stream = stream("tail", 4);
        let mut arm = |share: f64| {
            let mut values = durations(&mut stream, 1_000, 100.0);
            let slow = (share * 1_000.0) as usize;
            values
                .iter_mut()
                .take(slow)
                .for_each(|value| *value += 1_000.0);
            of_values(values)
        };
        (0..LOOKS)
            .map(|_| [arm(0.0), arm(0.025)])
            .collect::<Vec<_>>()
    };
    let body = one_check("kind: latency", "compare: m, worse: higher, tolerance: 10%");
    assert_eq!(
        decided(&body, ticks()).1.verdict,
        Pass,
        "the body has not moved by 10 %"
    );
    let tail = one_check(
        "kind: latency",
        "compare: m, at: p99, worse: higher, tolerance: 20%",
    );
    assert_eq!(decided(&tail, ticks()).1.verdict, Fail);
    assert_eq!(
        decided(&tail, latency("equal tail", 2_000, 1.0)).1.verdict,
        Pass
    );
    assert_eq!(
        decided(&tail, latency("thin tail", 30, 1.1)).1.verdict,
        Inconclusive
    );
}

#[test]
fn compared_counts_and_gauges() {
    let errors = one_check("kind: ratio", "compare: m, worse: higher, tolerance: 20%");
    let restarts = one_check("kind: rate", "compare: m, worse: higher, tolerance: 50%");
    let load = one_check(
        "kind: gauge",
        "compare: m, worse: lower, tolerance: 30%, dispersion: iid",
    );
    for (plan, verdict, ticks) in [
        (&errors, Fail, ratio("worse", 500, [0.05, 0.15])),
        (&errors, Pass, ratio("same", 2_000, [0.10, 0.08])),
        (&errors, Inconclusive, ratio("few", 10, [0.05, 0.06])),
        (&restarts, Fail, rate("worse", [1.0, 4.0])),
        (&restarts, Pass, rate("same", [5.0, 5.0])),
        (&restarts, Inconclusive, rate("open", [0.05, 0.07])),
        (&load, Fail, gauge("worse", [100.0, 40.0], 0.1)),
        (&load, Pass, gauge("same", [100.0, 100.0], 0.1)),
        (&load, Inconclusive, gauge("open", [100.0, 75.0], 1.0)),
    ] {
        let kind = plan.metrics[0].kind;
        assert_eq!(decided(plan, ticks).1.verdict, verdict, "{kind:?}");
    }
}

#[test]
fn thresholds_of_every_kind_on_both_sides() {
    let case = |metric: &str, check: &str| one_check(metric, &format!("threshold: m, {check}"));
    let latency_below = case("kind: latency", "at: p50, limit: '< 120'");
    let latency_above = case("kind: latency", "at: p50, limit: '> 120'");
    let ratio_below = case("kind: ratio", "limit: '< 10%'");
    let ratio_above = case("kind: ratio", "limit: '> 10%'");
    let rate_below = case("kind: rate", "limit: '< 4'");
    let rate_above = case("kind: rate", "limit: '> 4'");
    let gauge_below = case("kind: gauge", "limit: '< 100'");
    let gauge_above = case("kind: gauge", "limit: '> 100'");
    let latencies = |factor| latency("limit", 100, factor);
    let ratios = |share| ratio("limit", 200, [0.5, share]);
    let rates = |level| rate("limit", [1.0, level]);
    let gauges = |level| gauge("limit", [1.0, level], 0.05);
    for (below, above, low, high, on) in [
        (
            &latency_below,
            &latency_above,
            latencies(0.9),
            latencies(1.6),
            latency("at it", 4, 1.2),
        ),
        (
            &ratio_below,
            &ratio_above,
            ratios(0.03),
            ratios(0.25),
            ratio("on", 10, [0.5, 0.1]),
        ),
        (
            &rate_below,
            &rate_above,
            rates(2.0),
            rates(8.0),
            rate("on", [1.0, 4.0]),
        ),
        (
            &gauge_below,
            &gauge_above,
            gauges(70.0),
            gauges(140.0),
            gauge("on", [1.0, 100.0], 0.2),
        ),
    ] {
        let kind = below.metrics[0].kind;
        for (plan, ticks, verdict) in [
            (below, low.clone(), Pass),
            (below, high.clone(), Fail),
            (above, low, Fail),
            (above, high, Pass),
            (below, on.clone(), Inconclusive),
            (above, on, Inconclusive),
        ] {
            let (_, finding) = decided(plan, ticks);
            assert_eq!(finding.verdict, verdict, "{kind:?} {}", finding.message);
            let limit = finding.tolerance.expect("a limit");
            let [low, high] = finding.interval;
            let is_below = std::ptr::eq(plan, below);
            let (kept, broken) = if is_below { (high, low) } else { (low, high) };
            let beyond = |end: f64| if is_below { end - limit } else { limit - end };
            match verdict {
                Pass => assert!(kept.is_some_and(|end| beyond(end) <= 0.0), "{kind:?}"),
                Fail => assert!(broken.is_some_and(|end| beyond(end) >= 0.0), "{kind:?}"),
                Inconclusive => {}
            }
        }
    }
}

#[test]
fn the_alarm_form_counts_m_of_n_under_each_policy_for_missing_ticks() {
    // b breaches, g is good, - has no data.
    let run = |policy: &str, ticks: &str| {
        let check = format!(
            "threshold: m, limit: '< 10%', breach: {{periods: 2, of: 3}}, no_data: {policy}"
        );
        let plan = one_check("kind: ratio", &check);
        let cells = ticks.chars().map(|tick| match tick {
            'b' => [Cell::default(), of_ratio(5, 10)],
            'g' => [Cell::default(), of_ratio(0, 10)],
            _ => [Cell::default(), Cell::default()],
        });
        judged(&plan, cells)
            .last()
            .expect("there were ticks")
            .findings[0]
            .verdict
    };
    for policy in ["missing", "breaching", "ignore", "not_breaching"] {
        assert_eq!(run(policy, "gbb"), Fail, "{policy}");
        assert_eq!(run(policy, "gbgb"), Fail, "{policy}: two of the last three");
        assert_eq!(run(policy, "bggb"), Pass, "{policy}: one of the last three");
        assert_eq!(run(policy, "gg"), Inconclusive, "{policy}: too few ticks");
    }
    for (ticks, missing, breaching, ignore, not_breaching) in [
        ("ggg--", Inconclusive, Fail, Pass, Pass),
        ("gggb-", Inconclusive, Fail, Pass, Pass),
        ("gggb-b", Fail, Fail, Fail, Fail),
        ("ggg-", Pass, Pass, Pass, Pass),
        ("gb--b", Inconclusive, Fail, Fail, Inconclusive),
    ] {
        // With `not_breaching`, the last three are good, good, breaching.
        let not_breaching = if ticks == "gb--b" {
            Pass
        } else {
            not_breaching
        };
        assert_eq!(run("missing", ticks), missing, "missing {ticks}");
        assert_eq!(run("breaching", ticks), breaching, "breaching {ticks}");
        assert_eq!(run("ignore", ticks), ignore, "ignore {ticks}");
        assert_eq!(
            run("not_breaching", ticks),
            not_breaching,
            "not_breaching {ticks}"
        );
    }
}

#[test]
fn two_arms_without_a_single_error_pass_once_enough_requests_were_seen() {
    let (per_tick, absolute) = (100_u64, 0.001);
    let text = "horizon: 100s\ntick: 1s\nlateness: 0s\nmin_duration: 2s\nmetrics: {m: {kind: ratio}}\n\
        checks: [{compare: m, worse: higher, tolerance: {relative: 20%, absolute: 0.1pp}, min_samples: 1}]\n";
    let plan = plan(text);
    let clean = (0..100).map(|_| [of_ratio(0, per_tick), of_ratio(0, per_tick)]);
    let looks = judged(&plan, clean);
    let at = looks
        .iter()
        .position(|look| look.outcome == Pass)
        .expect("a proven pass")
        + 1;
    // Zero errors in n requests have chance (1 - a)^n at a share of a; beta is spent over time,
    // so the look at n may use half of it times the elapsed share.
    let wanted = |look: usize| -libm::log(0.5 * plan.beta * look as f64 / 100.0) / absolute;
    let requests = |look: usize| (look as u64 * per_tick) as f64;
    assert!(
        requests(at) >= 0.99 * wanted(at),
        "a pass after {at} ticks is not proven"
    );
    assert!(
        requests(at - 1) <= wanted(at - 1),
        "a pass was due before tick {at}"
    );
    for (index, look) in looks[..at - 1].iter().enumerate() {
        let needs = look.findings[0].needs.expect("the end is in sight");
        let seconds = needs.seconds.expect("it can be told");
        assert!(seconds.is_finite() && seconds >= 1.0);
        let left = (at - index - 1) as f64;
        assert!(
            (seconds - left).abs() <= 1.0,
            "{left} ticks were left, not {seconds}"
        );
    }
}

#[test]
fn traffic_that_begins_after_the_bake_time_is_judged_like_any() {
    let plan = one_check("kind: latency", "compare: m, worse: higher, tolerance: 10%");
    let silence = (0..8).map(|_| [Cell::default(), Cell::default()]);
    let (_, finding) = decided(
        &plan,
        silence
            .clone()
            .chain(latency("late", 300, 1.0).into_iter().take(12)),
    );
    assert_eq!(finding.verdict, Pass);
    let (_, finding) = decided(
        &plan,
        silence.chain(latency("late", 300, 1.5).into_iter().take(12)),
    );
    assert_eq!(finding.verdict, Fail);
}

#[test]
fn a_difference_of_twice_the_absolute_tolerance_is_found_in_the_whole_run() {
    let plan = one_check("kind: ratio", "compare: m, tolerance: 0.1pp");
    let steady =
        |canary: u64| (0..LOOKS).map(move |_| [of_ratio(3, 3_000), of_ratio(canary, 3_000)]);
    // At the end .1 % of 60,000 against .3 %: 3.9 standard deviations beyond the boundary.
    let (at, finding) = decided(&plan, steady(9));
    assert_eq!(finding.verdict, Fail, "{finding:?}");
    assert_eq!(finding.window_secs, at as f64, "the whole run speaks");
    assert!(
        finding.interval[0].is_some_and(|low| low >= 0.001),
        "{finding:?}"
    );
    assert!(
        finding
            .estimate
            .is_some_and(|seen| (seen - 0.002).abs() < 1e-12)
    );
    // On the boundary, and for all that is within it, nothing is found.
    for canary in [0, 3, 6] {
        assert!(
            judged(&plan, steady(canary))
                .iter()
                .all(|look| look.outcome != Fail)
        );
    }
}
