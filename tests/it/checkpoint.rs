//! What comes back of a checkpoint goes on as what was saved would have: the same effects to the last
//! byte, whatever the state was in the middle of. `scenario` makes what happens to it.

mod crowded;
mod malformed;
mod scenario;
mod watched;

use std::collections::BTreeSet;

use davy::engine::checkpoint::{load, save};
use davy::engine::{Effect, Input, Limits, State, apply};
use davy::stats::sampler::{Stream, seed_from};
use proptest::prelude::*;

use scenario::{Scenario, scenario};
use watched::watched;

/// Cuts of a scenario, on average.
const CUTS: usize = 6;

/// The state after a crash: loaded by a process whose chance is another.
fn reloaded(state: &State, limits: &Limits, series_seed: u64) -> State {
    let bytes = save(state);
    let limits = Limits {
        series_seed,
        ..limits.clone()
    };
    let loaded = load(&bytes, limits).unwrap_or_else(|error| panic!("{error}"));
    assert!(save(&loaded) == bytes, "it is saved as it was");
    loaded
}

/// Lets a state go on beside one that is loaded anew at every cut; what was seen on the way.
fn go_on(seed: u64, Scenario { limits, inputs }: Scenario) -> BTreeSet<String> {
    let mut chance = Stream::new(&seed_from("cuts", &seed.to_string()), 0);
    let mut straight = State::new(limits.clone());
    let mut crashed = State::new(limits.clone());
    let mut seen = BTreeSet::new();
    for (number, (now, input)) in inputs.iter().enumerate() {
        if chance.next_u32() as usize % inputs.len() < CUTS {
            let from = if chance.next_u32().is_multiple_of(2) {
                &straight
            } else {
                &crashed
            };
            crashed = reloaded(from, &limits, number as u64);
            seen.insert("cut".to_owned());
        }
        let told = apply(&mut straight, input.clone(), *now);
        let told_after = apply(&mut crashed, input.clone(), *now);
        let (expected, found) = (format!("{told:?}"), format!("{told_after:?}"));
        assert!(
            expected == found,
            "seed {seed}, input {number} {input:?}:\n{}",
            first_difference(&expected, &found)
        );
        see(&told, &mut seen);
    }
    assert_eq!(straight.pulls(), crashed.pulls());
    assert!(
        save(&straight) == save(&crashed),
        "seed {seed}: what is saved at the end"
    );
    seen
}

fn first_difference(expected: &str, found: &str) -> String {
    let same = expected.bytes().zip(found.bytes());
    let at = same.take_while(|(a, b)| a == b).count();
    let part = |text: &str| {
        let bytes = text.as_bytes();
        let part = &bytes[at.saturating_sub(200)..bytes.len().min(at + 300)];
        String::from_utf8_lossy(part).into_owned()
    };
    format!("expected ..{}\nfound ..{}", part(expected), part(found))
}

/// Notes what a scenario came to.
fn see(effects: &[Effect], seen: &mut BTreeSet<String>) {
    for effect in effects {
        match effect {
            Effect::Event(event) => {
                seen.insert(event.kind.as_str().to_owned());
                seen.insert(format!(
                    "{}: {}",
                    event.body.verdict.as_str(),
                    event.body.reason
                ));
                if event
                    .body
                    .checks
                    .iter()
                    .any(|check| check.classification.is_some())
                {
                    seen.insert("kayenta: judged".to_owned());
                }
            }
            Effect::Refused(refusal) => {
                seen.insert(format!("refused: {:?}", refusal.code));
            }
            Effect::Started {
                existing,
                superseded,
                ..
            } => {
                seen.insert(format!("existing: {existing}"));
                seen.insert(format!("supersedes: {}", !superseded.is_empty()));
            }
            Effect::Ingested(answer) => {
                let codes = answer.refused.iter().map(|refused| refused.code.to_owned());
                seen.extend(codes);
                for (name, count) in [("late", answer.late), ("duplicate", answer.duplicate)] {
                    if count > 0 {
                        seen.insert(name.to_owned());
                    }
                }
            }
            Effect::Forgotten { .. } => {
                seen.insert("forgotten".to_owned());
            }
            _ => {}
        }
    }
}

/// What scenarios have to come to, or they show little.
const TO_BE_SEEN: [&str; 22] = [
    "analysis.overridden",
    "cut",
    "duplicate",
    "existing: true",
    "fail: degraded",
    "fail: limit_breached",
    "forgotten",
    "inconclusive: abandoned",
    "inconclusive: cancelled",
    "inconclusive: horizon_reached",
    "kayenta: judged",
    "inconclusive: superseded",
    "late",
    "pass: within_limit",
    "pass: within_tolerance",
    "refused: IdempotencyMismatch",
    "refused: TooManyAnalyses",
    "refused: TooManySteps",
    "too_many_series",
    "verdict.final",
    "watch.alarm",
    "watch.ended",
];

#[test]
fn a_state_that_was_loaded_goes_on_as_the_one_that_was_saved() {
    let mut seen = BTreeSet::new();
    for seed in 0..40 {
        seen.append(&mut go_on(seed, scenario(seed)));
    }
    seen.append(&mut go_on(0, watched()));
    let lacking: Vec<_> = TO_BE_SEEN
        .iter()
        .filter(|what| !seen.contains(**what))
        .collect();
    assert!(
        lacking.is_empty(),
        "nothing shows {lacking:?}; seen: {seen:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn whatever_happens_a_loaded_state_goes_on_the_same(seed in any::<u64>()) {
        go_on(seed, scenario(seed));
    }
}

/// A state after the first inputs of a scenario.
fn state_after(seed: u64, inputs: usize) -> (State, Limits) {
    let scenario = scenario(seed);
    let mut state = State::new(scenario.limits.clone());
    for (now, input) in scenario.inputs.into_iter().take(inputs) {
        apply(&mut state, input, now);
    }
    (state, scenario.limits)
}

#[test]
fn what_is_pulled_is_told_again_as_at_the_start_and_only_while_samples_count() {
    let were_told = (0..8).filter(|&seed| are_pulls_told_again(seed)).count();
    assert!(were_told > 2, "some were pulled, and some not any more");
}

/// Whether there was a time when some were pulled and some not any more.
fn are_pulls_told_again(seed: u64) -> bool {
    let Scenario { limits, inputs } = scenario(seed);
    let mut state = State::new(limits.clone());
    let (mut begun, mut were_told) = (Vec::new(), false);
    for (number, (now, input)) in inputs.into_iter().enumerate() {
        for effect in apply(&mut state, input, now) {
            if let Effect::Pull(pull) = effect {
                begun.push(*pull);
            }
        }
        if number % 10 != 0 {
            continue;
        }
        let state = reloaded(&state, &limits, number as u64);
        let running: BTreeSet<&str> = state.running().collect();
        let expected = begun
            .iter()
            .filter(|pull| running.contains(&*pull.analysis));
        let mut expected: Vec<_> = expected.cloned().collect();
        expected.sort_by(|one, other| one.analysis.cmp(&other.analysis));
        assert_eq!(state.pulls(), expected);
        were_told |= !expected.is_empty() && expected.len() < begun.len();
    }
    let nobody = Limits {
        pulls: false,
        ..limits
    };
    let state = load(&save(&state), nobody).expect("whole");
    assert!(state.pulls().is_empty());
    were_told
}

#[test]
fn an_idempotency_key_and_a_sample_id_outlast_a_crash() {
    use crate::machine::{Machine, plan, sample, start, values};
    use davy::model::Arm;
    let plan = plan(
        "horizon: 1m\ntick: 10s\nlateness: 0s\nmin_duration: 0s\n\
         metrics: {took: {kind: latency}}\nchecks: [{compare: took, tolerance: 20%}]\n",
    );
    let mut machine = Machine::new();
    let mut asked = start("x", &plan);
    asked.idempotency_key = Some("key".to_owned());
    machine.start(asked.clone()).expect("starts");
    let mut once = sample("x", "took", Arm::Canary, 1.0, values(vec![1.0]));
    once.id = Some("one".to_owned());
    assert_eq!(machine.silently(1.0).send(vec![once.clone()]).accepted, 1);
    let state = reloaded(&machine.state, &Limits::default(), 9);
    machine.go_on_with(state);
    asked.id = "y".to_owned();
    assert_eq!(machine.start(asked), Ok(("x".to_owned(), true)));
    assert_eq!(machine.send(vec![once]).duplicate, 1);
    machine.apply(Input::Tick);
}
