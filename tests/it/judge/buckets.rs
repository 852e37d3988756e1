//! Values that are known by the bucket they lie in: the same verdicts as of the values themselves
//! while buckets are narrow, and a plain word where they are too wide for what is asked.

use davy::model::{Outcome, Reason};
use davy::stats::buckets::middle;
use davy::window::Cell;

use super::*;
use crate::machine::durations;

/// Upper bounds of the client libraries' classic buckets.
const CLASSIC: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// The bucket of a value, of ever wider ones.
fn exponential(value: f64, factor: f64) -> [f64; 2] {
    let number = (libm::log(value) / libm::log(factor)).ceil();
    [libm::pow(factor, number - 1.0), libm::pow(factor, number)]
}

fn classic(value: f64, bounds: &[f64]) -> [f64; 2] {
    let at = bounds.partition_point(|bound| *bound < value);
    let low = at.checked_sub(1).map_or(0.0, |below| bounds[below]);
    [low, bounds.get(at).copied().unwrap_or(f64::INFINITY)]
}

/// A tick's values as counts of buckets.
fn counted(values: &[f64], bucket: impl Fn(f64) -> [f64; 2]) -> Cell {
    let mut layout: Vec<[f64; 2]> = values.iter().map(|&value| bucket(value)).collect();
    layout.sort_by(|one, other| one[0].total_cmp(&other[0]));
    layout.dedup();
    Cell {
        values: values.iter().map(|&value| middle(bucket(value))).collect(),
        samples: values.len() as u64,
        layout,
        ..Cell::default()
    }
}

/// Ticks of log-normal values, as they are and counted in buckets.
fn ticks(
    label: &str,
    index: u64,
    medians: [f64; 2],
    count: usize,
    bucket: impl Fn(f64) -> [f64; 2] + Copy,
) -> [Vec<[Cell; 2]>; 2] {
    let mut stream = stream(label, index);
    let mut both = [Vec::new(), Vec::new()];
    for _ in 0..LOOKS {
        let arms = medians.map(|median| durations(&mut stream, count, median));
        both[0].push(arms.each_ref().map(|values| of_values(values.clone())));
        both[1].push(arms.map(|values| counted(&values, bucket)));
    }
    both
}

const RANK: &str = "compare: m, worse: higher, tolerance: 5%";
const TAIL: &str = "compare: m, at: p90, worse: higher, tolerance: 20%";
const LATENCY: &str = "kind: latency, from: histogram";

#[test]
fn narrow_buckets_judge_as_their_values_do() {
    let narrow = |value| exponential(value, libm::pow(2.0, 0.125));
    for (check, medians) in [
        (RANK, [0.1, 0.1]),
        (RANK, [0.1, 0.13]),
        (TAIL, [0.1, 0.1]),
        (TAIL, [0.1, 0.15]),
        ("threshold: m, at: p50, limit: '< 0.12'", [0.1, 0.1]),
        ("threshold: m, at: p50, limit: '< 0.12'", [0.1, 0.15]),
        ("threshold: m, at: p50, limit: '> 0.05'", [0.1, 0.1]),
    ] {
        let found = ticks("narrow", 0, medians, 2_000, narrow)
            .map(|ticks| decided(&one_check(LATENCY, check), ticks));
        let [(exact_look, exact), (look, counted)] = found;
        assert_ne!(exact.verdict, Outcome::Inconclusive, "{check}");
        assert_eq!(
            counted.verdict, exact.verdict,
            "{check}: {}",
            counted.message
        );
        assert!(
            look.abs_diff(exact_look) <= 1,
            "{check}: {look} {exact_look}"
        );
        let [one, other] = [&exact, &counted].map(|found| found.estimate.expect("an estimate"));
        assert!((one / other - 1.0).abs() < 0.05, "{check}: {one} {other}");
    }
}

#[test]
fn wide_buckets_are_said_to_be_too_wide_where_a_tolerance_moves_them() {
    let wide = |value| classic(value, &CLASSIC);
    let judge = |check: &str, medians| {
        let [_, ticks] = ticks("wide", 0, medians, 500, wide);
        let (_, finding) = decided(&one_check(LATENCY, check), ticks);
        (finding.verdict, finding.reason)
    };
    let refused = (Outcome::Inconclusive, Reason::CoarseBuckets);
    assert_eq!(judge(RANK, [0.1, 0.1]), refused);
    assert_eq!(judge(RANK, [0.1, 0.2]), refused, "nor is a fail made of it");
    assert_eq!(judge(TAIL, [0.1, 0.1]), refused);
    // Nothing is moved: the same buckets tie, others do not.
    let unmoved = "compare: m, worse: higher, tolerance: 0%";
    assert_eq!(
        judge(unmoved, [0.1, 0.2]),
        (Outcome::Fail, Reason::Degraded)
    );
    assert_eq!(judge(unmoved, [0.1, 0.1]).1, Reason::NeedsSamples);
    // A limit at a bound is exact, one between two bounds unknowable.
    let at =
        |limit: &str, medians| judge(&format!("threshold: m, at: p90, limit: '{limit}'"), medians);
    assert_eq!(
        at("< 0.25", [0.1, 0.08]),
        (Outcome::Pass, Reason::WithinLimit)
    );
    assert_eq!(
        at("< 0.25", [0.1, 0.3]),
        (Outcome::Fail, Reason::LimitBreached)
    );
    assert_eq!(at("< 0.2", [0.1, 0.1]), refused);
    assert_eq!(at("< 12", [0.1, 30.0]), refused, "above the last bound");
}

#[test]
fn the_bucket_that_is_too_wide_is_named() {
    let wide = |value| classic(value, &CLASSIC);
    let named = |check: &str, median: f64| {
        let [_, ticks] = ticks("named", 0, [median, median], 500, wide);
        let (_, finding) = decided(&one_check(LATENCY, check), ticks);
        assert_eq!(finding.reason, Reason::CoarseBuckets, "{finding:?}");
        let named = finding.message.split_once(": ").expect("a subject").1;
        let named = named.split_once(" is in the way: ").expect("a bucket");
        assert!(named.1.contains("put the limit at a bound"), "{named:?}");
        named.0.to_owned()
    };
    let limit = |limit: &str| format!("threshold: m, at: p90, limit: '{limit}'");
    assert_eq!(named(&limit("< 0.2"), 0.1), "the bucket from 0.1 to 0.25");
    assert_eq!(named(&limit("< 12"), 30.0), "the bucket above 10");
    // Most values lie there, and a tenth below its upper end.
    assert_eq!(named(RANK, 0.17), "the bucket from 0.1 to 0.25");
    assert_eq!(named(TAIL, 0.1), "the bucket from 0.1 to 0.25");
}

#[test]
fn a_limit_at_a_bound_counts_what_a_ratio_of_buckets_counts() {
    let mut stream = stream("bound", 0);
    let (mut buckets, mut shares) = (Vec::new(), Vec::new());
    for _ in 0..LOOKS {
        let values = durations(&mut stream, 300, 0.1);
        let slow = values.iter().filter(|value| **value > 0.25).count() as u64;
        let of_arm = || counted(&values, |value| classic(value, &CLASSIC));
        buckets.push([of_arm(), of_arm()]);
        shares.push([of_ratio(slow, 300), of_ratio(slow, 300)]);
    }
    let limit = "threshold: m, at: p90, limit: '< 0.25'";
    let (look, finding) = decided(&one_check(LATENCY, limit), buckets);
    let (as_ratio, of_ratio) = decided(
        &one_check("kind: ratio", "threshold: m, limit: '< 10%'"),
        shares,
    );
    assert_eq!((look, finding.verdict), (as_ratio, of_ratio.verdict));
    assert_ne!(finding.verdict, Outcome::Inconclusive);
}

#[test]
fn arms_with_other_bounds_are_compared_at_those_they_share() {
    // The canary's version has twice as many buckets.
    let fine = libm::pow(2.0, 0.125);
    let ticks = |medians: [f64; 2]| {
        let mut stream = stream("bounds", 0);
        let mut tick = || {
            let [baseline, canary] = medians.map(|median| durations(&mut stream, 2_000, median));
            [
                counted(&baseline, |value| exponential(value, fine * fine)),
                counted(&canary, |value| exponential(value, fine)),
            ]
        };
        (0..LOOKS).map(|_| tick()).collect::<Vec<_>>()
    };
    let verdict = |medians| decided(&one_check(LATENCY, RANK), ticks(medians)).1.verdict;
    assert_eq!(verdict([0.1, 0.1]), Outcome::Pass);
    assert_eq!(verdict([0.1, 0.13]), Outcome::Fail);
}

#[test]
fn at_the_tolerance_errors_stay_within_their_probability() {
    // 200 runs at .05: 18 or more false ones of a kind have a probability below .01.
    const RUNS: u64 = 200;
    const FALSE_MAX: usize = 18;
    for factor in [libm::pow(2.0, 0.125), libm::pow(2.0, 0.25)] {
        let mut wrong = [0; 2];
        for run in 0..RUNS {
            let bucket = |value| exponential(value, factor);
            let [_, ticks] = ticks("boundary", run, [0.1, 0.105], 400, bucket);
            match decided(&one_check(LATENCY, RANK), ticks).1.verdict {
                Outcome::Fail => wrong[0] += 1,
                Outcome::Pass => wrong[1] += 1,
                Outcome::Inconclusive => {}
            }
        }
        assert!(
            wrong.iter().all(|&wrong| wrong < FALSE_MAX),
            "{factor}: {wrong:?}"
        );
        assert!(
            wrong.iter().sum::<usize>() > 0,
            "a test that cannot err shows nothing"
        );
    }
}

#[test]
fn arms_with_unlike_buckets_tie_where_these_became_one() {
    // The canary counts in one bucket what the baseline counts in two; the middles are no evidence.
    let judge = |at_seconds: [[f64; 2]; 2], bounds: [&[f64]; 2]| {
        let plan = plan(&format!(
            "horizon: 1s\ntick: 1s\nlateness: 0s\nmin_duration: 1s\nmetrics: {{m: {{{LATENCY}}}}}\n\
            checks: [{{compare: m, worse: either, tolerance: 0%, min_samples: 1}}]\n"
        ));
        let arm = |arm: usize| {
            let values = at_seconds[arm].repeat(30);
            counted(&values, |value| classic(value, bounds[arm]))
        };
        decided(&plan, [[arm(0), arm(1)]]).1
    };
    let (two, one): (&[f64], &[f64]) = (&[1.0, 2.0, 4.0], &[2.0, 4.0]);
    for bounds in [[two, one], [one, two]] {
        // All of the baseline below one second, or all of it above: the other arm cannot say.
        for baseline in [[0.5, 0.5], [1.5, 1.5]] {
            let finding = judge([baseline, [0.5, 1.5]], bounds);
            assert_eq!(finding.verdict, Outcome::Inconclusive, "{finding:?}");
        }
        let finding = judge([[0.5, 1.5], [3.0, 3.0]], bounds);
        assert_eq!(finding.verdict, Outcome::Fail, "{finding:?}");
    }
}

#[test]
fn an_alarm_does_not_take_an_open_bucket_for_its_middle_or_its_end() {
    let infinity = f64::INFINITY;
    let (above_ten, below_zero) = ([10.0, infinity], [-infinity, -1.0]);
    for (bucket, limit, expected) in [
        // All are above ten, by how much nobody knows.
        (above_ten, "< 10", Outcome::Fail),
        (above_ten, "< 12", Outcome::Inconclusive),
        (above_ten, "< 1000", Outcome::Inconclusive),
        (above_ten, "> 5", Outcome::Pass),
        (above_ten, "> 12", Outcome::Inconclusive),
        (above_ten, "> 1000", Outcome::Inconclusive),
        // All are at most -1.
        (below_zero, "< 0", Outcome::Pass),
        (below_zero, "< -1.2", Outcome::Inconclusive),
        (below_zero, "< -1000", Outcome::Inconclusive),
        (below_zero, "> -0.5", Outcome::Fail),
        (below_zero, "> -1.2", Outcome::Inconclusive),
        (below_zero, "> -1000", Outcome::Inconclusive),
    ] {
        let canary = || counted(&[middle(bucket); 100], |_| bucket);
        let ticks = || (0..LOOKS).map(|_| [Cell::default(), canary()]);
        for form in ["", ", breach: {periods: 3, of: 5}"] {
            let check = format!("threshold: m, at: p90, limit: '{limit}'{form}");
            let (_, finding) = decided(&one_check(LATENCY, &check), ticks());
            assert_eq!(finding.verdict, expected, "{bucket:?} {check}: {finding:?}");
        }
    }
}

#[test]
fn a_tail_scores_nothing_while_its_quantile_lies_in_a_wide_bucket() {
    // At first a fifth of the baseline lies in a bucket from one to four, and all of the canary: where
    // in it, nobody knows. Later both arms are fast, and the canary as slow as is tolerated.
    let narrow = |value| exponential(value, libm::pow(2.0, 0.125));
    let wide = |value: f64| match value >= 1.0 {
        true => [1.0, 4.0],
        false => narrow(value),
    };
    const EARLY: usize = 8;
    let mut stream = stream("wide tail", 0);
    let mut tick = |tick: usize| {
        [(0.1, 20), (0.12, 100)].map(|(median, slow)| {
            if tick >= EARLY {
                return counted(&durations(&mut stream, 1_000, median), wide);
            }
            let mut values = durations(&mut stream, 100, median);
            values[..slow].fill(2.0);
            counted(&values, wide)
        })
    };
    let ticks: Vec<[Cell; 2]> = (0..LOOKS).map(&mut tick).collect();
    let looks = judged(&one_check(LATENCY, TAIL), ticks);
    let reason = |look: usize| looks[look - 1].findings[0].reason;
    assert_eq!(reason(EARLY), Reason::CoarseBuckets);
    assert_ne!(reason(LOOKS), Reason::CoarseBuckets);
    let failed = looks.iter().position(|look| look.outcome == Outcome::Fail);
    assert_eq!(failed, None, "{:?}", looks[LOOKS - 1].findings[0]);
}

#[test]
fn one_tick_in_wide_buckets_leaves_the_others_as_they_are() {
    let narrow = |value| exponential(value, libm::pow(2.0, 0.125));
    for (check, medians, expected) in [
        (RANK, [0.1, 0.1], Outcome::Pass),
        (RANK, [0.1, 0.13], Outcome::Fail),
        (
            "threshold: m, at: p50, limit: '< 0.12'",
            [0.1, 0.1],
            Outcome::Pass,
        ),
        (
            "threshold: m, at: p50, limit: '< 0.12'",
            [0.1, 0.15],
            Outcome::Fail,
        ),
    ] {
        let [_, mut ticks] = ticks("odd tick", 0, medians, 2_000, narrow);
        // One pod sent two observations in the buckets of another version, and no more of them.
        ticks[0] = [(); 2].map(|()| counted(&[0.1], |_| [0.0, 10.0]));
        let (look, finding) = decided(&one_check(LATENCY, check), ticks);
        assert_eq!(finding.verdict, expected, "{check}: {finding:?}");
        assert!(look < LOOKS, "{check}: {look}");
    }
}
