//! The one table from a verdict to what is asked of the controller.

use std::sync::Arc;

use davy::judge::verdict;
use davy::model::{Arm, Decision, Outcome, Reason};
use davy::plan::{OnInconclusive, OnNoData, Plan};

use crate::machine::{Machine, plan, sample, values};

const REASONS: [Reason; 17] = [
    Reason::Degraded,
    Reason::WithinTolerance,
    Reason::LimitBreached,
    Reason::WithinLimit,
    Reason::NeedsSamples,
    Reason::NeedsTime,
    Reason::NoTraffic,
    Reason::NoTelemetry,
    Reason::BaselineMissing,
    Reason::CanaryMissing,
    Reason::Stale,
    Reason::BadData,
    Reason::NeedsUnits,
    Reason::Cancelled,
    Reason::Superseded,
    Reason::Abandoned,
    Reason::HorizonReached,
];

const POLICIES: [(OnInconclusive, OnNoData); 6] = [
    (OnInconclusive::Hold, OnNoData::Hold),
    (OnInconclusive::Rollback, OnNoData::Hold),
    (OnInconclusive::Promote, OnNoData::Hold),
    (OnInconclusive::Hold, OnNoData::Rollback),
    (OnInconclusive::Rollback, OnNoData::Rollback),
    (OnInconclusive::Promote, OnNoData::Rollback),
];

/// Two metrics, so that one can be silent while the other is not.
const TWO_METRICS: &str = "horizon: 1m\ntick: 5s\nlateness: 0s\nmin_duration: 5s\n\
    metrics: {duration: {kind: latency}, other: {kind: latency}}\n\
    checks: [{compare: duration, worse: higher, tolerance: 20%, min_samples: 5}]\n";

fn with_policies(base: &Plan, (on_inconclusive, on_no_data): (OnInconclusive, OnNoData)) -> Plan {
    Plan {
        on_inconclusive,
        on_no_data,
        ..base.clone()
    }
}

/// Decisions of a final inconclusive verdict under each of [`POLICIES`].
fn expected(reason: Reason) -> [Decision; 6] {
    use Decision::{Hold, Promote, Rollback};
    match reason {
        Reason::Cancelled | Reason::Superseded | Reason::Abandoned => [Hold; 6],
        Reason::NoTraffic
        | Reason::NoTelemetry
        | Reason::BaselineMissing
        | Reason::CanaryMissing => [Hold, Hold, Hold, Rollback, Rollback, Rollback],
        Reason::Stale | Reason::BadData => [Hold, Rollback, Hold, Hold, Rollback, Hold],
        _ => [Hold, Rollback, Promote, Hold, Rollback, Promote],
    }
}

#[test]
fn every_verdict_asks_for_what_the_table_says() {
    let base = plan(TWO_METRICS);
    for reason in REASONS {
        for (policies, decision) in POLICIES.into_iter().zip(expected(reason)) {
            let plan = with_policies(&base, policies);
            let ask = |outcome, is_final| verdict::decision(&plan, outcome, is_final, reason);
            let what = format!("{reason} under {policies:?}");
            assert_eq!(ask(Outcome::Inconclusive, true), decision, "{what}");
            for is_final in [false, true] {
                let fail = ask(Outcome::Fail, is_final);
                assert_eq!(fail, Decision::Rollback, "a fail, {what}");
            }
            assert_eq!(ask(Outcome::Pass, true), Decision::Promote, "{what}");
            assert_eq!(ask(Outcome::Pass, false), Decision::Hold, "{what}");
            assert_eq!(ask(Outcome::Inconclusive, false), Decision::Hold, "{what}");
        }
    }
}

/// Runs to the horizon, sending at each tick what `send` says: metric, arm, value, missing.
fn to_the_horizon(
    plan: &Arc<Plan>,
    send: impl Fn(usize) -> Vec<(&'static str, Arm, f64, u32)>,
) -> (Outcome, Reason, Decision) {
    let mut machine = Machine::running("x", plan);
    for tick in 0..12 {
        let secs = tick as f64 * 5.0 + 1.0;
        let samples = send(tick).into_iter().map(|(metric, arm, value, missing)| {
            let mut sample = sample("x", metric, arm, secs, values(vec![value]));
            sample.missing = missing;
            sample
        });
        let samples = samples.collect();
        machine.silently(secs).send(samples);
    }
    machine.clock(70.0);
    let body = machine.body("x");
    assert!(body.is_final);
    (body.verdict, body.reason, body.decision)
}

#[test]
fn missing_data_of_every_sort_is_told_apart_and_never_promotes() {
    use Arm::{Baseline, Canary};
    type Sent = Vec<(&'static str, Arm, f64, u32)>;
    let both = |missing: [u32; 2]| -> Sent {
        vec![
            ("duration", Baseline, 1.0, missing[0]),
            ("duration", Canary, 1.0, missing[1]),
        ]
    };
    type Sender<'s> = Box<dyn Fn(usize) -> Sent + 's>;
    let cases: [(Reason, Sender); 7] = [
        (Reason::NoTelemetry, Box::new(|_| Vec::new())),
        (
            Reason::NoTraffic,
            Box::new(|_| vec![("other", Canary, 1.0, 0)]),
        ),
        (
            Reason::BaselineMissing,
            Box::new(|_| vec![("duration", Canary, 1.0, 0)]),
        ),
        (
            Reason::CanaryMissing,
            Box::new(|_| vec![("duration", Baseline, 1.0, 0)]),
        ),
        (
            Reason::Stale,
            Box::new(|tick| if tick < 3 { both([0, 0]) } else { Vec::new() }),
        ),
        (Reason::BadData, Box::new(|_| both([0, 1]))),
        (Reason::BadData, Box::new(|_| both([2, 2]))),
    ];
    let base = plan(TWO_METRICS);
    for (reason, send) in &cases {
        for (policies, decision) in POLICIES.into_iter().zip(expected(*reason)) {
            let found = to_the_horizon(&Arc::new(with_policies(&base, policies)), send);
            assert_eq!(
                found,
                (Outcome::Inconclusive, *reason, decision),
                "{policies:?}"
            );
            assert_ne!(found.2, Decision::Promote);
        }
    }
    // The control: a canary exactly at the tolerance is no matter of data, and the policy promotes.
    let policies = (OnInconclusive::Promote, OnNoData::Hold);
    let at_tolerance = |_| vec![("duration", Baseline, 1.0, 0), ("duration", Canary, 1.2, 0)];
    let found = to_the_horizon(&Arc::new(with_policies(&base, policies)), at_tolerance);
    let reached = (
        Outcome::Inconclusive,
        Reason::HorizonReached,
        Decision::Promote,
    );
    assert_eq!(found, reached);
}
