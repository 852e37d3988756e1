//! The same inputs give the same bytes: live, live again, from the recording, and in any order.
//!
//! Owns the promise of a recording, for random runs of everything an engine takes: all kinds of
//! metric, late and repeated samples, infinities, gaps, weights, units, steps and cancellations.

use std::sync::Arc;

use davy::engine::{Effect, Input, Limits, recording};
use davy::judge::verdict::OverrideTo;
use davy::model::{Arm, Reading, Sample};
use davy::plan::Plan;
use proptest::prelude::*;

use crate::machine::{Machine, plan, sample, start};

const METRICS: [&str; 5] = ["duration", "errors", "load", "restarts", "traced"];

const PLAN: &str = "horizon: 2m\ntick: 5s\nlateness: 2s\nmin_duration: 20s\nstop_on_pass: false\n\
    metrics:\n  duration: {kind: latency}\n  errors: {kind: ratio}\n  restarts: {kind: rate}\n  load: {kind: gauge}\n\
    \x20 traced: {kind: latency, cluster: {by: trace, lifetime: tick}}\n\
    checks:\n  - {compare: duration, worse: higher, tolerance: 10%, min_samples: 5}\n\
    \x20 - {compare: duration, at: p90, worse: higher, tolerance: 20%, min_samples: 5}\n\
    \x20 - {compare: errors, tolerance: {relative: 20%, absolute: 1pp}, min_samples: 5}\n\
    \x20 - {compare: restarts, tolerance: 50%, min_samples: 2}\n\
    \x20 - {compare: load, worse: either, tolerance: 30%, min_samples: 2}\n\
    \x20 - {compare: traced, worse: higher, tolerance: 10%, min_samples: 5}\n\
    \x20 - {name: alarm, threshold: duration, at: p50, limit: \"< 4\", breach: {periods: 9, of: 9}}\n\
    \x20 - {name: limit, threshold: errors, limit: \"< 90%\"}\n";

/// The same metrics before Kayenta's judge.
const SCORED: &str = "horizon: 2m\ntick: 5s\nlateness: 2s\njudge: {kayenta: {interval: 25s, group_weights: {rest: 40}}}\n\
    metrics:\n  duration: {kind: latency}\n  errors: {kind: ratio}\n  restarts: {kind: rate}\n  load: {kind: gauge}\n\
    \x20 traced: {kind: latency, cluster: {by: trace, lifetime: tick}}\n\
    checks:\n  - {compare: duration, at: p90, worse: higher}\n\
    \x20 - {compare: errors, kayenta: {groups: [rest], must_have_data: true}}\n\
    \x20 - {compare: restarts, kayenta: {groups: [rest], nan_strategy: replace}}\n\
    \x20 - {compare: load, kayenta: {effect_size: {measure: cles, allowed_increase: 0.6}, outlier_factor: 3}}\n\
    \x20 - {compare: traced, at: p50, gating: false}\n";

/// One random sample; times are relative to the clock.
#[derive(Debug, Clone)]
struct Drawn {
    metric: usize,
    canary: bool,
    age_millis: i64,
    numbers: Vec<u8>,
    weighted: bool,
    infinite: bool,
    unit: u8,
    id: Option<u8>,
    missing: u32,
}

#[derive(Debug, Clone)]
enum Act {
    Send(Vec<Drawn>),
    Wait(i64),
    Step(Option<bool>),
    /// Whether to promote.
    Override(bool),
    Cancel,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let shape = (0..METRICS.len(), any::<bool>(), -1_500_i64..9_000);
    let numbers = prop::collection::vec(any::<u8>(), 1..12);
    let rare = (
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.03),
        0_u8..6,
    );
    let id = prop::option::weighted(0.3, 0_u8..20);
    let missing = prop_oneof![9 => Just(0_u32), 1 => 1_u32..3];
    (shape, numbers, rare, id, missing).prop_map(|(shape, numbers, rare, id, missing)| Drawn {
        metric: shape.0,
        canary: shape.1,
        age_millis: shape.2,
        numbers,
        weighted: rare.0,
        infinite: rare.1,
        unit: rare.2,
        id,
        missing,
    })
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        12 => prop::collection::vec(drawn(), 1..14).prop_map(Act::Send),
        8 => (1_i64..7_000).prop_map(Act::Wait),
        1 => prop::option::of(any::<bool>()).prop_map(Act::Step),
        1 => any::<bool>().prop_map(Act::Override),
    ];
    let ending = prop_oneof![9 => Just(Act::Wait(200_000)), 1 => Just(Act::Cancel)];
    (prop::collection::vec(act, 1..50), ending).prop_map(|(mut acts, ending)| {
        acts.push(ending);
        acts
    })
}

fn reading(drawn: &Drawn) -> Reading {
    let first = u64::from(drawn.numbers[0]);
    match METRICS[drawn.metric] {
        "errors" => Reading::Ratio {
            bad: first / 16,
            total: first,
        },
        // Exposures are eighths, so that their sums are exact in every order.
        "restarts" => Reading::Rate {
            events: first / 32,
            exposure: 0.125 * (first + 1) as f64,
        },
        "load" => Reading::value(libm::exp(first as f64 / 100.0)),
        _ => {
            let value = |&number: &u8| libm::exp(f64::from(number) / 100.0);
            let mut values: Vec<f64> = drawn.numbers.iter().map(value).collect();
            if drawn.infinite {
                values[0] = f64::INFINITY;
            }
            let weight = |number: &u8| u64::from(number % 5) + 1;
            let weights = drawn.numbers.iter().map(weight).collect();
            Reading::Values {
                values,
                weights: if drawn.weighted { weights } else { Vec::new() },
            }
        }
    }
}

fn sample_of(drawn: &Drawn, machine: &Machine, every_unit_named: bool) -> Sample {
    let arm = Arm::BOTH[usize::from(drawn.canary)];
    let mut sample = sample("x", METRICS[drawn.metric], arm, 0.0, reading(drawn));
    sample.ts = machine.now.plus(-drawn.age_millis);
    // Units live in one arm, as a trace does.
    let unit = format!("{arm}-{}", drawn.unit);
    sample.unit = Some(unit).filter(|_| every_unit_named || drawn.unit > 0);
    sample.id = drawn.id.map(|id| id.to_string());
    sample.missing = drawn.missing;
    sample
}

/// How the samples of one request are put before they are sent.
type Order = fn(&mut Vec<Sample>);

fn run(plan: &Arc<Plan>, acts: &[Act], order: Order, every_unit_named: bool) -> Machine {
    // Small enough for ticks to fill up.
    let mut machine = Machine::limited(Limits {
        abandoned_after: i64::MAX,
        tick_values_max: 40,
        ..Limits::default()
    });
    machine.start(start("x", plan)).expect("it starts");
    for act in acts {
        match act {
            Act::Send(drawn) => {
                let samples = drawn
                    .iter()
                    .map(|d| sample_of(d, &machine, every_unit_named));
                let mut samples = samples.collect();
                order(&mut samples);
                machine.send(samples);
            }
            Act::Wait(millis) => {
                machine.now = machine.now.plus(*millis);
                machine.apply(Input::Tick);
            }
            Act::Step(steps_follow) => drop(machine.apply(Input::Step {
                by: None,
                analysis: "x".to_owned(),
                name: "next".to_owned(),
                weight: Some(50.0),
                steps_follow: *steps_follow,
            })),
            Act::Override(promotes) => drop(machine.apply(Input::Override {
                analysis: "x".to_owned(),
                to: match promotes {
                    true => OverrideTo::Promote,
                    false => OverrideTo::Rollback,
                },
                actor: None,
                reason: "seen".to_owned(),
                by: None,
            })),
            Act::Cancel => drop(machine.apply(Input::Cancel {
                by: None,
                analysis: "x".to_owned(),
                actor: Some("test".to_owned()),
                reason: None,
            })),
        }
    }
    machine
}

/// Everything that was told, as bytes, in order.
fn told<'e>(effects: impl IntoIterator<Item = &'e Effect>) -> Vec<String> {
    let events = effects.into_iter().filter_map(|effect| match effect {
        Effect::Event(event) => Some(event),
        _ => None,
    });
    let line = |event: &davy::engine::Event| {
        let body = serde_json::to_string(&*event.body).expect("a body is JSON");
        format!(
            "{} {} {:?} {body}",
            event.sequence,
            event.kind.as_str(),
            event.at
        )
    };
    events.map(line).collect()
}

fn as_sent(_: &mut Vec<Sample>) {}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_recording_gives_the_same_bytes(acts in acts(), text in prop::sample::select(&[PLAN, PLAN, SCORED][..])) {
        let plan = plan(text);
        let live = run(&plan, &acts, as_sent, false);
        let again = run(&plan, &acts, as_sent, false);
        prop_assert!(told(&live.effects) == told(&again.effects), "two runs differ");
        prop_assert!(live.body("x").is_final);
        let lines = live.recording("x");
        let mut replayed = Vec::new();
        let played = recording::play(lines.iter().map(String::as_str), None, |effects| {
            replayed.extend(effects);
        });
        prop_assert!(played.expect("the recording can be played").is_final);
        for (live, replayed) in told(&live.effects).iter().zip(told(&replayed)) {
            prop_assert_eq!(live, &replayed);
        }
        prop_assert_eq!(told(&live.effects).len(), told(&replayed).len());
        // And the recording of the replay is the recording.
        let recorded = replayed.iter().filter_map(|effect| match effect {
            Effect::Record { line, .. } => Some(line.clone()),
            _ => None,
        });
        prop_assert_eq!(recorded.collect::<Vec<String>>(), lines);
    }

    #[test]
    fn the_order_within_a_request_does_not_matter(acts in acts(), text in prop::sample::select(&[PLAN, PLAN, SCORED][..])) {
        // Without ids and full ticks, of which the first come are kept.
        let mut acts = acts;
        for act in &mut acts {
            if let Act::Send(drawn) = act {
                drawn.truncate(3);
                drawn.iter_mut().for_each(|drawn| {
                    drawn.id = None;
                    drawn.numbers.truncate(2);
                });
            }
        }
        let plan = plan(text);
        let bodies = |order: Order| {
            let machine = run(&plan, &acts, order, true);
            let bodies = machine.events("x").into_iter().map(|event| event.body);
            bodies.map(|b| serde_json::to_string(&*b).expect("JSON")).collect::<Vec<String>>()
        };
        let forwards = bodies(as_sent);
        let backwards = bodies(|samples| samples.reverse());
        let turned = bodies(|samples| { let by = samples.len() / 2; samples.rotate_left(by) });
        for (forwards, other) in forwards.iter().zip(&backwards).chain(forwards.iter().zip(&turned)) {
            prop_assert_eq!(forwards, other);
        }
        prop_assert_eq!(forwards.len(), backwards.len());
    }
}
