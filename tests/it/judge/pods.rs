//! Units that live for the run: pods differ, and few of them say little about the version.
//!
//! Owns the level of the rank check on pods that sit exactly on the boundary, and what a plan may
//! ask of the number of units.

use std::collections::BTreeMap;

use davy::model::{Outcome, Reason};
use davy::window::Cell;

use super::*;

/// A run of log-normal requests (sigma .7) whose pods' log-medians are normal around the arm's.
struct Pods {
    stream: Stream,
    /// Log-median of each pod, by arm.
    log_medians: [Vec<f64>; 2],
    requests: usize,
}

impl Pods {
    fn new(seed: u64, pods: [usize; 2], pod_sd: f64, shift: f64, requests: usize) -> Pods {
        let mut stream = stream("pods", seed);
        let mut arm = |pods: usize, shift: f64| -> Vec<f64> {
            let mut pod = |_| shift + pod_sd * stream.normal();
            (0..pods).map(&mut pod).collect()
        };
        let log_medians = [arm(pods[0], 0.0), arm(pods[1], shift)];
        Pods {
            stream,
            log_medians,
            requests,
        }
    }

    fn tick(&mut self) -> [Cell; 2] {
        let Pods {
            stream,
            log_medians,
            requests,
        } = self;
        log_medians.each_ref().map(|pods| {
            let unit = |request: usize| request % pods.len();
            let value = |request| libm::exp(pods[unit(request)] + 0.7 * stream.normal());
            Cell {
                units: (0..*requests).map(|request| unit(request) as u64).collect(),
                ..of_values((0..*requests).map(value).collect())
            }
        })
    }
}

fn pod_plan(looks: usize, more: &str) -> Arc<Plan> {
    plan(&format!(
        "horizon: {looks}s\ntick: 1s\nlateness: 0s\nmin_duration: 1s\nmetrics: {{m: {{kind: latency, \
        cluster: {{by: pod, lifetime: run}}}}}}\n\
        checks: [{{compare: m, tolerance: 10%, min_samples: 1{more}}}]\n"
    ))
}

/// Shares of runs that ever fail and that ever pass, at equality with the boundary.
fn level(pods: [usize; 2], looks: usize, runs: u64) -> [f64; 2] {
    let plan = pod_plan(looks, "");
    let mut scratch = Scratch::with_paths(1_000);
    let mut seen = [0.0; 2];
    for run in 0..runs {
        let mut judge = Judge::seeded(plan.clone(), Detail::Outcome, &format!("pods {run}"));
        let mut source = Pods::new(run, pods, 0.05, libm::log(1.1), 102);
        let mut ever = [false; 2];
        for index in 0..looks {
            let cells = vec![source.tick()];
            let tick = ClosedTick { index, cells };
            match judge.close_and_look(&tick, &mut scratch).outcome {
                Outcome::Fail => ever[0] = true,
                Outcome::Pass => ever[1] = true,
                Outcome::Inconclusive => {}
            }
        }
        seen[0] += f64::from(u8::from(ever[0])) / runs as f64;
        seen[1] += f64::from(u8::from(ever[1])) / runs as f64;
    }
    println!("{pods:?} pods, {looks} looks: {seen:?}");
    seen
}

#[test]
fn pods_that_differ_are_not_taken_for_a_degradation_nor_for_its_absence() {
    for pods in [[3, 3], [10, 3], [10, 10]] {
        let runs = 150;
        let most = 0.065 + 3.0 * (0.065_f64 * 0.935 / runs as f64).sqrt();
        for share in level(pods, 60, runs) {
            assert!(share <= most, "{share} of {pods:?}");
        }
    }
}

#[test]
fn many_pods_still_find_a_degradation() {
    let plan = pod_plan(20, "");
    let mut source = Pods::new(0, [10, 10], 0.05, libm::log(1.5), 102);
    let (_, finding) = decided(&plan, (0..20).map(|_| source.tick()));
    assert_eq!(finding.verdict, Outcome::Fail);
    let units = finding.units.expect("pods are counted");
    assert_eq!((units.baseline, units.canary), (10, 10));
}

#[test]
fn the_factor_between_pods_is_in_the_evidence() {
    let plan = pod_plan(20, "");
    let mut source = Pods::new(1, [5, 5], 0.3, 0.0, 102);
    let looks = judged(&plan, (0..20).map(|_| source.tick()));
    let finding = &looks[19].findings[0];
    let factors: &BTreeMap<String, f64> = &finding.factors;
    assert!(factors["between_unit"] > 2.0, "{factors:?}");
    assert!(finding.message.contains("for between unit"));
}

#[test]
fn a_single_pod_speaks_for_itself_and_require_units_asks_for_more() {
    let ticks = |pods| {
        let mut source = Pods::new(2, pods, 0.0, libm::log(2.0), 102);
        (0..20).map(|_| source.tick()).collect::<Vec<_>>()
    };
    let (_, finding) = decided(&pod_plan(20, ""), ticks([4, 1]));
    assert_eq!(finding.verdict, Outcome::Fail);
    let clause = "the canary is a single unit, so this speaks for that unit";
    assert!(finding.message.contains(clause), "{}", finding.message);

    let two = pod_plan(20, ", require_units: 2");
    let (_, finding) = decided(&two, ticks([4, 1]));
    assert_eq!(
        (finding.verdict, finding.reason),
        (Outcome::Inconclusive, Reason::NeedsUnits)
    );
    let four = pod_plan(20, ", require_units: 4");
    assert_eq!(
        decided(&four, ticks([4, 4])).1.verdict,
        Outcome::Fail,
        "four are enough"
    );
}
