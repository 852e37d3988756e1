//! What holds whatever the data.

use davy::model::Outcome;
use davy::window::Cell;
use proptest::prelude::*;

use super::*;

const HIGHER: &str = "compare: m, worse: higher, tolerance: 10%";

fn worse_than(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Pass => 0,
        Outcome::Inconclusive => 1,
        Outcome::Fail => 2,
    }
}

fn cells(values: &[[Vec<f64>; 2]]) -> Vec<[Cell; 2]> {
    values
        .iter()
        .map(|arms| arms.clone().map(of_values))
        .collect()
}

fn outcomes(looks: &[Judgement]) -> Vec<Outcome> {
    looks.iter().map(|look| look.outcome).collect()
}

/// Ticks of values of both arms; the canary's are stretched by a random factor.
fn latencies() -> impl Strategy<Value = Vec<[Vec<f64>; 2]>> {
    let shape = (any::<u64>(), 1_usize..60, 0.7_f64..1.6, any::<bool>());
    shape.prop_map(|(seed, count, factor, rounded)| {
        let mut stream = Stream::new(&seed_from("random", "latencies"), seed);
        let mut arm = |median: f64| -> Vec<f64> {
            let values = crate::machine::durations(&mut stream, count, median);
            // Rounded values tie.
            values
                .into_iter()
                .map(|v| if rounded { (v / 10.0).round() + 1.0 } else { v })
                .collect()
        };
        (0..LOOKS)
            .map(|_| [arm(100.0), arm(100.0 * factor)])
            .collect()
    })
}

fn mapped(ticks: &[[Vec<f64>; 2]], map: impl Fn(f64) -> f64) -> Vec<[Vec<f64>; 2]> {
    let arm = |values: &Vec<f64>| values.iter().map(|&value| map(value)).collect();
    ticks
        .iter()
        .map(|arms| [arm(&arms[0]), arm(&arms[1])])
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn negated_values_where_lower_is_worse_give_the_same_outcomes(ticks in latencies()) {
        let higher = one_check("kind: latency", "compare: m, worse: higher, tolerance: 5");
        let lower = one_check("kind: latency", "compare: m, worse: lower, tolerance: 5");
        // The null paths differ, and with them thresholds by a little; scores and estimates do not.
        let straight = judged(&higher, cells(&ticks));
        let turned = judged(&lower, cells(&mapped(&ticks, |value| -value)));
        for (straight, turned) in straight.iter().zip(&turned) {
            let (one, other) = (&straight.findings[0], &turned.findings[0]);
            let opposite = |a: Outcome, b: Outcome| worse_than(a).abs_diff(worse_than(b)) == 2;
            prop_assert!(!opposite(one.verdict, other.verdict));
            if one.window_secs != other.window_secs {
                // One has failed, on a window of its own; its threshold was drawn from other paths.
                continue;
            }
            let close = |x: f64, y: f64| (x - y).abs() <= 1e-9 * x.abs().max(1.0);
            let estimates = one.estimate.zip(other.estimate);
            prop_assert!(estimates.is_none_or(|(x, y)| close(x, -y)), "{estimates:?}");
            prop_assert_eq!(one.estimate.is_some(), other.estimate.is_some());
        }
    }

    #[test]
    fn a_slower_canary_never_turns_a_fail_into_a_pass(ticks in latencies(), by in 1.0_f64..1.5) {
        let plan = one_check("kind: latency", HIGHER);
        let slower: Vec<[Vec<f64>; 2]> = ticks
            .iter()
            .map(|[b, c]| [b.clone(), c.iter().map(|value| value * by).collect()])
            .collect();
        let before = judged(&plan, cells(&ticks));
        let after = judged(&plan, cells(&slower));
        for (before, after) in before.iter().zip(&after) {
            prop_assert!(!(before.outcome == Outcome::Fail && after.outcome == Outcome::Pass));
        }
    }

    #[test]
    fn with_tolerance_zero_only_the_ranks_count(ticks in latencies()) {
        let plan = one_check("kind: latency", "compare: m, worse: higher, tolerance: 0%");
        let straight = judged(&plan, cells(&ticks));
        let bent = judged(&plan, cells(&mapped(&ticks, |value| value * value * value + 7.0)));
        prop_assert_eq!(outcomes(&straight), outcomes(&bent));
    }

    #[test]
    fn an_interval_never_contradicts_its_verdict(ticks in latencies(), lower in any::<bool>()) {
        let worse = if lower { "lower" } else { "higher" };
        let plan = one_check("kind: latency", &format!("compare: m, worse: {worse}, tolerance: 10%"));
        let looks = judged(&plan, cells(&ticks));
        // A fail ends an analysis; what a check shows after its own is not asked.
        let first_fail = looks.iter().position(|look| look.outcome == Outcome::Fail);
        for look in &looks[..first_fail.map_or(looks.len(), |at| at + 1)] {
            let finding = &look.findings[0];
            let tolerance = finding.tolerance.expect("a tolerance");
            let [low, high] = finding.interval;
            prop_assert!(low.zip(high).is_none_or(|(low, high)| low <= high), "{finding:?}");
            let (tolerable, degraded) = if lower { (low, high) } else { (high, low) };
            let beyond = |end: f64| if lower { tolerance - end } else { end - tolerance };
            let slack = 1e-9;
            match finding.verdict {
                Outcome::Fail => {
                    prop_assert!(degraded.is_some_and(|end| beyond(end) >= -slack), "{finding:?}");
                }
                Outcome::Pass => {
                    prop_assert!(tolerable.is_some_and(|end| beyond(end) <= slack), "{finding:?}");
                }
                Outcome::Inconclusive => {}
            }
        }
    }

    #[test]
    fn an_infinite_value_leaves_no_estimate_and_no_interval(ticks in latencies(), at in 0..LOOKS) {
        let plan = one_check("kind: latency", HIGHER);
        let mut ticks = ticks;
        ticks[at][1][0] = f64::INFINITY;
        for look in &judged(&plan, cells(&ticks))[at..] {
            prop_assert_eq!(look.findings[0].estimate, None);
            prop_assert_eq!(look.findings[0].interval, [None, None]);
        }
    }

    #[test]
    fn a_constant_series_never_fails(value in 0.0_f64..1e6, count in 1_usize..500) {
        for check in [HIGHER, "compare: m, worse: lower, tolerance: 10%", "compare: m, worse: either, tolerance: 0%", "compare: m, at: p90, worse: higher, tolerance: 10%"] {
            let plan = one_check("kind: latency", check);
            let arms = || [of_values(vec![value; count]), of_values(vec![value; count])];
            let looks = judged(&plan, (0..LOOKS).map(|_| arms()));
            prop_assert!(looks.iter().all(|look| look.outcome != Outcome::Fail), "{check}");
        }
        let plan = one_check("kind: gauge", "compare: m, worse: either, tolerance: 10%");
        let looks = judged(&plan, (0..LOOKS).map(|tick| [of_point(tick, value), of_point(tick, value)]));
        prop_assert!(looks.iter().all(|look| look.outcome != Outcome::Fail));
    }
}
