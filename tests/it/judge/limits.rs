//! What limits show, how alarm rules speak, and both directions of every compare.

use davy::judge::verdict::Scale;
use davy::model::Outcome;
use davy::plan::Question;
use davy::window::Cell;

use super::*;
use crate::machine::durations;

use Outcome::{Fail, Inconclusive, Pass};

/// The canary alone, tick by tick.
fn alone(cells: Vec<Cell>) -> Vec<[Cell; 2]> {
    cells
        .into_iter()
        .map(|canary| [Cell::default(), canary])
        .collect()
}

fn within(finding: &Finding) -> bool {
    let [low, high] = finding.interval;
    let estimate = finding.estimate.expect("an estimate");
    low.is_none_or(|low| low <= estimate) && high.is_none_or(|high| high >= estimate)
}

/// The first fail, whatever passed before it.
fn first_fail(plan: &Arc<Plan>, ticks: impl IntoIterator<Item = [Cell; 2]>) -> (usize, Finding) {
    let looks = judged(plan, ticks);
    let at = looks.iter().position(|look| look.outcome == Fail);
    let at = at.unwrap_or_else(|| panic!("no fail: {:?}", looks.last()));
    (at + 1, looks[at].findings[0].clone())
}

#[test]
fn a_short_window_that_speaks_is_the_one_that_is_shown() {
    // Clean for sixteen ticks, then beyond the limit: the run as a whole keeps the limit.
    let late = |before: &dyn Fn(usize) -> Cell, after: &dyn Fn(usize) -> Cell| {
        alone(
            (0..LOOKS)
                .map(|tick| if tick < 16 { before(tick) } else { after(tick) })
                .collect(),
        )
    };
    let slow = |tick: usize, slow: usize| {
        let mut stream = stream("late", tick as u64);
        let mut values = durations(&mut stream, 2_000, 100.0);
        values
            .iter_mut()
            .take(slow)
            .for_each(|value| *value += 2_000.0);
        of_values(values)
    };
    let errors = |bad| move |_: usize| of_ratio(bad, 1_000);
    let events = |bad| move |_: usize| of_rate(bad, 100.0);
    for (metric, check, ticks, low) in [
        (
            "kind: ratio",
            "limit: '< 2%'",
            late(&errors(5), &errors(60)),
            0.02,
        ),
        (
            "kind: rate",
            "limit: '< 2'",
            late(&events(100), &events(400)),
            2.0,
        ),
        (
            "kind: latency",
            "at: p99.9, limit: '< 1000'",
            late(&|tick| slow(tick, 0), &|tick| slow(tick, 40)),
            1_000.0,
        ),
    ] {
        let plan = one_check(metric, &format!("threshold: m, {check}"));
        let (look, finding) = first_fail(&plan, ticks);
        assert_eq!(finding.verdict, Fail, "{metric}: {}", finding.message);
        assert!(
            look > 16 && finding.window_secs <= 4.0,
            "{metric}: {finding:?}"
        );
        let estimate = finding.estimate.expect("an estimate");
        assert!(estimate > low, "{metric}: the window's own: {finding:?}");
        assert!(within(&finding), "{metric}: {finding:?}");
        assert!(
            finding.interval[0].is_some_and(|end| end >= low),
            "{metric}: {finding:?}"
        );
        // Two thousand values say nothing of what lies above their p99.9.
        let is_open = metric == "kind: latency";
        assert_eq!(
            finding.interval[1].is_none(),
            is_open,
            "{metric}: {finding:?}"
        );
    }
}

#[test]
fn gauges_are_held_to_a_limit_by_signs_or_by_their_mean() {
    let limit = |rest: &str| {
        one_check(
            "kind: gauge",
            &format!("threshold: m, limit: '< 100'{rest}"),
        )
    };
    let (signs, mean) = (limit(", dispersion: iid"), limit(""));
    let constant = |value| alone((0..LOOKS).map(|tick| of_point(tick, value)).collect());
    for plan in [&signs, &mean] {
        let (_, finding) = decided(plan, constant(140.0));
        assert_eq!(finding.verdict, Fail, "{}", finding.message);
        assert_eq!(finding.estimate, Some(140.0));
        assert_eq!(decided(plan, constant(60.0)).1.verdict, Pass);
        assert_ne!(decided(plan, constant(100.0)).1.verdict, Pass);
    }
    // A tick in eight is a thousandfold: the mean is far above the limit, the median below.
    let spiky = alone(
        (0..LOOKS)
            .map(|tick| {
                of_point(
                    tick,
                    if tick % 8 == 3 {
                        50_000.0
                    } else {
                        50.0 + tick as f64
                    },
                )
            })
            .collect(),
    );
    let (_, finding) = decided(&signs, spiky.clone());
    assert_eq!(finding.verdict, Pass, "{}", finding.message);
    assert!(finding.estimate.is_some_and(|median| median < 100.0));
    assert_eq!(decided(&mean, spiky).1.verdict, Inconclusive);
}

#[test]
fn an_error_budget_that_burns_in_both_windows_fails_and_says_how_long_it_lasts() {
    let rule = "threshold: m, burn_rate: {slo: 99%, long: 10s, short: 2s, factor: 10}";
    let plan = one_check("kind: ratio", rule);
    let Question::Threshold { limit, .. } = &plan.checks[0].question else {
        panic!("a threshold")
    };
    assert!((limit.value - 0.1).abs() < 1e-12);
    let ticks = |shares: [u64; 2]| {
        let share = move |tick: usize| shares[usize::from(tick >= 12)];
        alone((0..LOOKS).map(|tick| of_ratio(share(tick), 100)).collect())
    };
    let (look, finding) = first_fail(&plan, ticks([0, 40]));
    assert_eq!((look, finding.verdict), (15, Fail), "{}", finding.message);
    assert_eq!(finding.scale, Scale::BurnRate);
    let message = "m of the canary burn their budget (objective 99%) 12x as fast as it lasts over \
        the last 10s and 40x over the last 2s, beyond 10x in both; at this rate a budget for 720h \
        lasts 60h (an alarm rule, not a test)";
    assert_eq!(finding.message, message);
    let looks = judged(&plan, ticks([0, 0]));
    assert_eq!(looks.iter().position(|look| look.outcome == Pass), Some(9));
    assert_eq!(looks[19].spent, 0.0, "a policy spends no alpha");
}

/// Twenty ticks of both arms of one kind of metric, at these factors of a common level.
fn arms(kind: &str, factors: [f64; 2]) -> Vec<[Cell; 2]> {
    let mut stream = stream(kind, 7);
    let mut cell = |tick: usize, factor: f64| match kind {
        "latency" => of_values(durations(&mut stream, 600, 100.0 * factor)),
        "ratio" => of_ratio(count(&mut stream, 3_000, 0.1 * factor), 3_000),
        "rate" => of_rate(count(&mut stream, 4_000, 0.05 * factor), 10.0),
        _ => of_point(tick, 100.0 * factor * libm::exp(0.05 * stream.normal())),
    };
    (0..LOOKS)
        .map(|tick| factors.map(|factor| cell(tick, factor)))
        .collect()
}

#[test]
fn either_direction_fails_and_a_pass_needs_both() {
    for (kind, check) in [
        ("latency", "tolerance: 20%"),
        ("latency", "at: p90, tolerance: 25%"),
        ("latency", "tolerance: 30"),
        ("ratio", "tolerance: 30%"),
        ("ratio", "tolerance: {relative: 30%, absolute: 1pp}"),
        ("ratio", "tolerance: 2pp"),
        ("rate", "tolerance: 30%"),
        ("gauge", "tolerance: 25%, dispersion: iid"),
        ("gauge", "tolerance: 20"),
    ] {
        let plan = one_check(
            &format!("kind: {kind}"),
            &format!("compare: m, worse: either, {check}"),
        );
        for (factor, verdict, word) in [
            (2.0, Fail, "higher"),
            (0.45, Fail, "lower"),
            (1.0, Pass, "either way"),
        ] {
            let (_, finding) = decided(&plan, arms(kind, [1.0, factor]));
            let told = format!("{kind} {check} at {factor}: {finding:?}");
            assert_eq!(finding.verdict, verdict, "{told}");
            assert!(finding.message.contains(word), "{told}");
            assert!(within(&finding), "{told}");
            let neutral = if finding.scale == Scale::Difference {
                0.0
            } else {
                1.0
            };
            let boundary = finding.tolerance.expect("a tolerance");
            match word {
                "higher" => {
                    assert!(boundary > neutral, "{told}");
                    assert!(
                        finding.interval[0].is_some_and(|low| low >= boundary),
                        "{told}"
                    );
                }
                "lower" => {
                    assert!(boundary < neutral, "{told}");
                    assert!(
                        finding.interval[1].is_some_and(|high| high <= boundary),
                        "{told}"
                    );
                }
                _ => assert!(
                    finding.interval[1].is_some_and(|high| high <= boundary),
                    "{told}"
                ),
            }
        }
    }
    // Half of alpha each: the two directions together spend what one would.
    let either = one_check("kind: latency", "compare: m, worse: either, tolerance: 20%");
    let spent = judged(&either, arms("latency", [1.0, 1.0]))
        .last()
        .map(|look| look.spent);
    assert!(spent.is_some_and(|spent| (spent - 0.05).abs() < 1e-12));
}

#[test]
fn of_two_parts_the_one_that_allows_more_is_shown_with_the_other_beside_it() {
    let plan = one_check(
        "kind: ratio",
        "compare: m, tolerance: {relative: 20%, absolute: 0.1pp}",
    );
    // 20 % of hardly any errors is nothing: the tenth of a point decides, over a late window.
    let rare = (0..LOOKS).map(|tick| {
        let canary = if tick < 14 { 0 } else { 40 };
        [
            of_ratio(u64::from(tick % 5 == 0), 2_000),
            of_ratio(canary, 2_000),
        ]
    });
    let (_, finding) = first_fail(&plan, rare);
    assert_eq!((finding.verdict, finding.scale), (Fail, Scale::Difference));
    assert_eq!(finding.tolerance, Some(0.001));
    assert!(finding.window_secs <= 4.0, "{finding:?}");
    assert!(
        finding.estimate.is_some_and(|d| (d - 0.02).abs() < 0.001),
        "{finding:?}"
    );
    assert!(
        within(&finding) && finding.interval[0].is_some_and(|low| low >= 0.001),
        "{finding:?}"
    );
    let other = finding.other_part.expect("the relative part");
    assert_eq!(
        (other.scale, other.tolerance),
        (Scale::OddsRatio, Some(1.2))
    );
    // 20 % of a tenth is two points: the ratio decides.
    let (_, finding) = decided(&plan, arms("ratio", [1.0, 2.0]));
    assert_eq!((finding.verdict, finding.scale), (Fail, Scale::OddsRatio));
    assert!(
        within(&finding) && finding.interval[0].is_some_and(|low| low >= 1.2),
        "{finding:?}"
    );
    let other = finding.other_part.expect("the absolute part");
    assert_eq!(
        (other.scale, other.tolerance),
        (Scale::Difference, Some(0.001))
    );
    assert!(
        other.interval[0].is_some_and(|low| low >= 0.001),
        "{other:?}"
    );
}

#[test]
fn weights_share_alpha_and_shadow_checks_only_watch() {
    let plan = crate::machine::plan(
        "horizon: 20s\ntick: 1s\nlateness: 0s\nmin_duration: 2s\nmetrics: {m: {kind: ratio}}\nchecks:\n\
        - {compare: m, tolerance: 20%, weight: 3, min_samples: 20000}\n\
        - {name: limit, threshold: m, limit: '< 50%', min_samples: 1}\n\
        - {name: shadow, threshold: m, limit: '< 1%', gating: false, weight: 2, min_samples: 1}\n\
        - {name: alarm, threshold: m, limit: '< 50%', breach: {periods: 1, of: 2}, weight: 9}\n",
    );
    let shares: Vec<f64> = plan
        .checks
        .iter()
        .map(|check| plan.alpha_of(check))
        .collect();
    assert!((shares[0] - 0.0375).abs() < 1e-12 && (shares[1] - 0.0125).abs() < 1e-12);
    assert!(
        (shares[2] - 0.05 * 2.0 / 6.0).abs() < 1e-12,
        "as if it were gating"
    );
    // 10 % errors in both arms, fewer in the canary: the shadow fails, the others pass.
    let looks = judged(&plan, arms("ratio", [1.0, 0.8]));
    let first = looks
        .iter()
        .position(|look| look.outcome == Pass)
        .expect("a pass");
    let samples = looks[first].findings[0].samples;
    assert!(samples.baseline >= 20_000 && samples.canary >= 20_000);
    assert_eq!(first, 6, "seven ticks of 3,000 samples");
    assert_eq!(looks[first].findings[2].verdict, Fail);
    assert_eq!(davy::judge::score(&plan, &looks[first].findings), 100.0);
    let before = &looks[first - 1].findings[0];
    assert_eq!(before.verdict, Inconclusive);
    assert_eq!(before.needs.and_then(|needs| needs.seconds), Some(1.0));
    assert!((looks[19].spent - 0.05).abs() < 1e-12);
}

#[test]
fn exactly_at_the_limit_verdicts_are_wrong_no_more_often_than_they_may_be() {
    // Runs and the most wrong ones of either kind: beyond what 5 % gives once in a thousand.
    for (metric, check, runs, most) in [
        ("ratio", "limit: '< 3%'", 300, 28),
        ("ratio", "limit: '> 3%'", 300, 28),
        ("rate", "limit: '< 2'", 300, 28),
        ("latency", "at: p99, limit: '< 100'", 300, 28),
        ("gauge", "limit: '< 100', dispersion: iid", 300, 28),
        ("gauge", "limit: '< 100'", 80, 12),
    ] {
        for looks in [10, 60] {
            let plan = crate::machine::plan(&format!(
                "horizon: {looks}s\ntick: 1s\nlateness: 0s\nmin_duration: 1s\nmetrics: {{m: {{kind: {metric}}}}}\n\
                checks: [{{threshold: m, {check}, min_samples: 1}}]\n"
            ));
            let mut wrong = [0_u32; 2];
            let mut scratch = Scratch::with_paths(2_000);
            for run in 0..runs {
                let label = format!("{metric} {check} {looks}");
                let mut stream = stream(&label, run);
                let mut judge =
                    Judge::seeded(plan.clone(), Detail::Outcome, &format!("{label} {run}"));
                // A gauge's ticks depend on each other as much as `envelope` allows.
                let (mut last, phi) = (stream.normal(), 0.8);
                let mut seen = [false; 2];
                for index in 0..looks {
                    last = phi * last + f64::sqrt(1.0 - phi * phi) * stream.normal();
                    let noise = if check.contains("iid") {
                        stream.normal()
                    } else {
                        last
                    };
                    let canary = match metric {
                        "ratio" => of_ratio(count(&mut stream, 80, 0.03), 80),
                        "rate" => of_rate(count(&mut stream, 1_000, 0.01), 5.0),
                        // 1 % of the values lie at the limit or above.
                        "latency" => {
                            let value = |_| 1.0 + 100.0 * stream.uniform();
                            of_values((0..100).map(value).collect())
                        }
                        _ => of_point(index, 100.0 + noise),
                    };
                    let cells = vec![[Cell::default(), canary]];
                    match judge
                        .close_and_look(&ClosedTick { index, cells }, &mut scratch)
                        .outcome
                    {
                        Fail => seen[0] = true,
                        Pass => seen[1] = true,
                        Inconclusive => {}
                    }
                }
                wrong[0] += u32::from(seen[0]);
                wrong[1] += u32::from(seen[1]);
            }
            println!("{metric} {check} at {looks} looks: {wrong:?} of {runs}");
            assert!(
                wrong.iter().all(|&wrong| wrong <= most),
                "{metric} {check}: {wrong:?}"
            );
        }
    }
}
