//! The difference of proportions where the split of traffic and the level of errors change.

use super::*;

const REPETITIONS: u64 = 400;

/// Fails of a canary that is `excess` above its baseline, over the ticks' (canary's share, level).
fn fails(label: &str, excess: f64, ticks: &[(f64, f64)]) -> usize {
    const REQUESTS: f64 = 2_000.0;
    let plan = plan(&format!(
        "horizon: {}s\ntick: 1s\nlateness: 0s\nmin_duration: 2s\nstop_on_pass: false\n\
         metrics: {{m: {{kind: ratio}}}}\n\
         checks: [{{compare: m, tolerance: 0.5pp, min_samples: 1}}]\n",
        ticks.len()
    ));
    let mut scratch = Scratch::with_paths(500);
    let run = |number: u64| {
        let mut stream = stream(label, number);
        let mut judge = Judge::new(plan.clone(), Detail::Outcome);
        ticks.iter().enumerate().any(|(index, &(share, level))| {
            let mut arm = |size: f64, level: f64| {
                let size = size as u64;
                of_ratio(count(&mut stream, size, level), size)
            };
            let canary = arm(REQUESTS * share, level + excess);
            let cells = vec![[arm(REQUESTS * (1.0 - share), level), canary]];
            let look = judge.close_and_look(&ClosedTick { index, cells }, &mut scratch);
            look.outcome == Outcome::Fail
        })
    };
    let mut run = run;
    (0..REPETITIONS).filter(|&number| run(number)).count()
}

#[test]
fn a_shared_incident_at_another_split_does_not_make_a_canary_worse() {
    let incident: Vec<(f64, f64)> = (0..60)
        .map(|tick| if tick < 3 { (0.5, 0.2) } else { (0.02, 0.002) })
        .collect();
    let wrong = fails("incident", 0.005, &incident);
    // Exact binomial: 33 or more of 400 have chance .004 at .05.
    assert!(wrong < 33, "{wrong} of {REPETITIONS}");
    let growing: Vec<(f64, f64)> = (0..60)
        .map(|tick| (if tick < 20 { 0.5 } else { 0.99 }, 0.0005))
        .collect();
    let wrong = fails("growing", 0.005, &growing);
    assert!(wrong < 33, "{wrong} of {REPETITIONS}");
    assert!(fails("worse", 0.02, &growing) > REPETITIONS as usize / 2);
}
