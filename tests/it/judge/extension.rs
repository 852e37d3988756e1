//! After the horizon, where the plan extends an analysis.

use davy::model::{Decision, Outcome, Reason};
use davy::window::Cell;

use super::*;
use crate::machine::{Machine, durations, plan, sample, values};
use davy::model::Arm;

/// Twenty looks to the horizon and sixty after it.
const EXTENDED: &str = "horizon: 20s\nextend: 60s\ntick: 1s\nlateness: 0s\nmin_duration: 2s\n";

fn extended(metric: &str, check: &str) -> Arc<Plan> {
    plan(&format!(
        "{EXTENDED}metrics: {{m: {{{metric}}}}}\nchecks: [{{{check}, min_samples: 1}}]\n"
    ))
}

/// Eighty ticks of one kind, the canary at this factor: too little to tell by the horizon.
fn ticks(kind: &str, label: &str, factor: f64) -> Vec<[Cell; 2]> {
    let mut stream = stream(label, 11);
    let mut cell = |tick: usize, factor: f64| match kind {
        "latency" => of_values(durations(&mut stream, 12, 100.0 * factor)),
        "ratio" => of_ratio(count(&mut stream, 60, 0.1 * factor), 60),
        "rate" => of_rate(count(&mut stream, 100, 0.08 * factor), 1.0),
        _ => of_point(tick, 100.0 * factor * libm::exp(0.8 * stream.normal())),
    };
    (0..80)
        .map(|tick| [1.0, factor].map(|factor| cell(tick, factor)))
        .collect()
}

#[test]
fn what_the_horizon_left_open_is_decided_after_it() {
    for (kind, check, worse, better) in [
        ("latency", "compare: m, tolerance: 10%", 1.2, 1.0),
        ("ratio", "compare: m, tolerance: 10%", 1.4, 0.84),
        ("ratio", "threshold: m, limit: '< 13%'", 1.5, 1.1),
        ("rate", "threshold: m, limit: '< 10'", 1.43, 1.07),
        (
            "gauge",
            "compare: m, tolerance: 10%, dispersion: iid",
            1.8,
            0.67,
        ),
    ] {
        let plan = extended(&format!("kind: {kind}"), check);
        let mut after = [0, 0];
        for attempt in 0..12 {
            for (side, factor, verdict) in [(0, worse, Outcome::Fail), (1, better, Outcome::Pass)] {
                let label = format!("{kind} {check} {attempt}");
                let (look, finding) = decided(&plan, ticks(kind, &label, factor));
                if look > LOOKS && finding.verdict == verdict {
                    after[side] += 1;
                    let boundary = finding.tolerance.expect("a boundary");
                    let [low, high] = finding.interval;
                    let agrees = match verdict {
                        Outcome::Fail => low.is_none_or(|low| low >= boundary - 1e-9),
                        _ => high.is_none_or(|high| high <= boundary + 1e-9),
                    };
                    assert!(agrees, "{kind} {check} {verdict:?}: {finding:?}");
                }
            }
        }
        println!("{kind} {check}: {after:?} of 12 decided after the horizon");
        assert!(after[0] >= 2 && after[1] >= 2, "{kind} {check}: {after:?}");
    }
}

#[test]
fn alpha_is_kept_for_the_time_after_the_horizon_and_no_longer() {
    let plan = extended("kind: latency", "compare: m, tolerance: 10%");
    let looks = judged(&plan, ticks("latency", "spent", 1.1));
    let spent = |look: usize| looks[look - 1].spent;
    assert!((spent(20) - 0.04).abs() < 1e-12, "{}", spent(20));
    assert!((spent(21) - 0.05).abs() < 1e-12 && (spent(80) - 0.05).abs() < 1e-12);
}

#[test]
fn an_inconclusive_analysis_goes_on_to_the_end_of_its_extension() {
    let plan = extended("kind: latency", "compare: m, tolerance: 10%");
    let mut machine = Machine::running("x", &plan);
    for tick in 0..80 {
        let mut stream = stream("goes on", tick);
        let secs = tick as f64 + 0.5;
        let samples = [Arm::Baseline, Arm::Canary].map(|arm| {
            sample(
                "x",
                "m",
                arm,
                secs,
                values(durations(&mut stream, 2, 100.0)),
            )
        });
        let answer = machine.silently(secs).send(samples.to_vec());
        assert_eq!(answer.accepted, 2, "tick {tick}");
        assert!(!machine.body("x").is_final, "tick {tick}");
        machine.clock(tick as f64 + 2.0);
    }
    let body = machine.body("x");
    assert_eq!((body.verdict, body.is_final), (Outcome::Inconclusive, true));
    assert_eq!(
        (body.reason, body.decision),
        (Reason::HorizonReached, Decision::Hold)
    );
    assert_eq!(body.elapsed_secs, 80.0);
    assert_eq!(machine.told("x").last(), Some(&"verdict.final"));
}

#[test]
fn errors_after_the_horizon_stay_within_their_probability() {
    // On the boundary, four horizons long; 400 runs see 9 % for 5 % nearly always.
    let runs = 400;
    for (kind, check, size) in [
        ("latency", "compare: m, tolerance: 0%", 20_u64),
        ("ratio", "threshold: m, limit: '< 4%'", 40),
        ("ratio", "compare: m, tolerance: 0%", 60),
    ] {
        let plan = extended(&format!("kind: {kind}"), check);
        let mut wrong = [0_u32; 2];
        let mut scratch = Scratch::default();
        for run in 0..runs {
            let mut stream = stream(&format!("null {check}"), run);
            let label = format!("{check} {run}");
            let mut judge = Judge::seeded(plan.clone(), Detail::Outcome, &label);
            let mut seen = [false; 2];
            for index in 0..80 {
                let mut cell = || match kind {
                    "latency" => of_values(durations(&mut stream, size as usize, 100.0)),
                    _ => of_ratio(count(&mut stream, size, 0.04), size),
                };
                let cells = vec![[cell(), cell()]];
                let tick = ClosedTick { index, cells };
                match judge.close_and_look(&tick, &mut scratch).outcome {
                    Outcome::Fail => seen[0] = true,
                    Outcome::Pass => seen[1] = true,
                    Outcome::Inconclusive => {}
                }
            }
            wrong[0] += u32::from(seen[0]);
            wrong[1] += u32::from(seen[1]);
        }
        println!("{kind} {check}: {wrong:?} of {runs} false fails and passes");
        assert!(
            wrong.iter().all(|&count| count <= 33),
            "{kind} {check}: {wrong:?}"
        );
    }
}
