//! The bounds of the engine, at the limit and one past it.

use davy::engine::recording;
use davy::engine::{Effect, Input, Limits, RefusalCode, Start};
use davy::model::{Arm, Change, Sample};
use davy::window::OPEN_TICKS_MAX;

use super::{LATENCY, latency_plan};
use crate::machine::{Machine, plan, sample, start, values};

fn limits() -> Limits {
    Limits {
        abandoned_after: i64::MAX,
        ..Limits::default()
    }
}

#[test]
fn a_repeated_start_gives_the_first_answer_again() {
    let plan = latency_plan("");
    let mut machine = Machine::new();
    let keyed = |id: &str, key: &str, digest: &str| Start {
        idempotency_key: Some(key.to_owned()),
        request_digest: digest.to_owned(),
        by: None,
        ..start(id, &plan)
    };
    let mut begin = |id, key, digest| machine.start(keyed(id, key, digest));
    assert_eq!(begin("first", "k", "d"), Ok(("first".to_owned(), false)));
    assert_eq!(begin("second", "k", "d"), Ok(("first".to_owned(), true)));
    let other = begin("third", "k", "another").expect_err("another request under one key");
    assert_eq!(other.code, RefusalCode::IdempotencyMismatch);
    assert_eq!(begin("fourth", "l", "d"), Ok(("fourth".to_owned(), false)));
    let running: Vec<&str> = machine.state.running().collect();
    assert_eq!(running, ["first", "fourth"]);
    assert_eq!(machine.told("first"), ["analysis.started"]);
}

#[test]
fn running_analyses_are_bounded() {
    let mut machine = Machine::limited(Limits {
        analyses_max: 2,
        ..limits()
    });
    let plan = latency_plan("");
    for id in ["one", "two"] {
        machine.start(start(id, &plan)).expect("within the limit");
    }
    let refusal = machine
        .start(start("three", &plan))
        .expect_err("past the limit");
    assert_eq!(refusal.code, RefusalCode::TooManyAnalyses);
    assert!(machine.state.analysis("three").is_none());
    // A new revision of the same service ends the older one, and so makes its own place.
    let revision = |id: &str, revision: &str| Start {
        change: Change {
            service: Some("checkout".to_owned()),
            revision: Some(revision.to_owned()),
            ..Change::default()
        },
        ..start(id, &plan)
    };
    let cancel = Input::Cancel {
        by: None,
        analysis: "one".to_owned(),
        actor: None,
        reason: None,
    };
    machine.apply(cancel);
    machine
        .start(revision("three", "r1"))
        .expect("a place was made");
    machine
        .start(revision("four", "r2"))
        .expect("it takes the place of the one it supersedes");
    let running: Vec<&str> = machine.state.running().collect();
    assert_eq!(running, ["four", "two"]);
}

#[test]
fn steps_are_bounded() {
    let mut machine = Machine::limited(Limits {
        steps_max: 3,
        ..limits()
    });
    machine
        .start(start("x", &latency_plan("")))
        .expect("it starts");
    let mut enter = |name: &str| {
        machine.refused(Input::Step {
            by: None,
            analysis: "x".to_owned(),
            name: name.to_owned(),
            weight: None,
            steps_follow: None,
        })
    };
    for name in ["5%", "20%", "50%"] {
        assert_eq!(enter(name), None, "{name} is within the limit of 3");
    }
    let refusal = enter("100%").expect("past the limit");
    assert_eq!(refusal.code, RefusalCode::TooManySteps);
}

#[test]
fn remembered_sample_ids_are_bounded() {
    let mut machine = Machine::limited(Limits {
        dedupe_ids_max: 3,
        ..limits()
    });
    machine
        .start(start("x", &latency_plan("")))
        .expect("it starts");
    let mut send = |number: u32| {
        let mut sample = sample("x", "duration", Arm::Canary, 0.0, values(vec![1.0]));
        sample.id = Some(number.to_string());
        let answer = machine.send(vec![sample]);
        (answer.accepted, answer.duplicate)
    };
    for number in [1, 2, 3] {
        assert_eq!(send(number), (1, 0));
    }
    assert_eq!(send(1), (0, 1), "at the limit the oldest is still known");
    assert_eq!(send(4), (1, 0));
    assert_eq!(send(2), (0, 1), "the second-oldest stays");
    assert_eq!(
        send(1),
        (1, 0),
        "one past the limit the oldest is forgotten"
    );
}

fn canary(count: usize) -> Sample {
    let spread = (0..count).map(|i| 1.0 + i as f64 / 64.0).collect();
    sample("x", "duration", Arm::Canary, 0.0, values(spread))
}

#[test]
fn an_overfull_tick_is_coarsened_and_loses_nothing() {
    let bounded = Limits {
        tick_values_max: 100,
        ..limits()
    };
    for sent in [vec![100], vec![100, 1], vec![60, 60]] {
        let mut machine = Machine::limited(bounded.clone());
        machine
            .start(start("x", &latency_plan("")))
            .expect("it starts");
        for &count in &sent {
            let answer = machine.send(vec![canary(count)]);
            assert_eq!((answer.accepted, answer.refused.len()), (1, 0));
        }
        let baseline = sample("x", "duration", Arm::Baseline, 0.0, values(vec![1.0; 50]));
        machine.send(vec![baseline]);
        machine.clock(20.0);
        let finding = machine.body("x").checks[0].clone();
        assert_eq!(finding.samples.canary, sent.iter().sum::<usize>() as u64);
    }
}

#[test]
fn an_overfull_tick_of_clustered_values_refuses_what_does_not_fit() {
    let clustered = LATENCY.replace(
        "{kind: latency}",
        "{kind: latency, cluster: {by: trace, lifetime: tick}}",
    );
    let mut machine = Machine::limited(Limits {
        tick_values_max: 100,
        ..limits()
    });
    machine
        .start(start("x", &plan(&clustered)))
        .expect("it starts");
    let mut send = |count: usize, id: &str| {
        let mut sample = canary(count);
        sample.id = Some(id.to_owned());
        machine.send(vec![sample])
    };
    assert_eq!(send(100, "fits").accepted, 1);
    let refused = |answer: davy::engine::Ingested| answer.refused.first().map(|r| r.code);
    assert_eq!(refused(send(1, "late-comer")), Some("tick_full"));
    let again = send(1, "late-comer");
    assert_eq!(again.duplicate, 0, "a refused sample was not seen before");
    assert_eq!(refused(again), Some("tick_full"));
    assert_eq!(refused(send(0, "empty")), None);
}

#[test]
fn units_of_a_tick_are_bounded_for_ratios_too() {
    let text = "horizon: 10m\ntick: 10s\nlateness: 0s\n\
        metrics: {errors: {kind: ratio, cluster: {by: trace, lifetime: tick}}}\n\
        checks: [{compare: errors, tolerance: 20%}]\n";
    let mut machine = Machine::limited(Limits {
        tick_values_max: 10,
        ..limits()
    });
    machine.start(start("x", &plan(text))).expect("it starts");
    let mut send = |unit: u32| {
        let mut sample = sample("x", "errors", Arm::Canary, 0.0, values(vec![0.0]));
        sample.unit = Some(unit.to_string());
        machine.send(vec![sample])
    };
    for unit in 0..10 {
        assert_eq!(send(unit).accepted, 1);
    }
    assert_eq!(send(3).accepted, 1, "a known unit takes no room");
    assert_eq!(send(10).refused[0].code, "tick_full");
}

#[test]
fn final_analyses_are_forgotten_beyond_the_limit_oldest_first() {
    let mut machine = Machine::limited(Limits {
        retained_analyses_max: 2,
        ..limits()
    });
    let plan = latency_plan("");
    let mut end = |id: &str| {
        let keyed = Start {
            idempotency_key: Some(id.to_owned()),
            ..start(id, &plan)
        };
        machine.start(keyed).expect("it starts");
        let effects = machine.apply(Input::Cancel {
            by: None,
            analysis: id.to_owned(),
            actor: None,
            reason: None,
        });
        let forgotten = effects.into_iter().filter_map(|effect| match effect {
            Effect::Forgotten { analysis } => Some(analysis),
            _ => None,
        });
        forgotten.collect::<Vec<String>>()
    };
    assert_eq!(end("zebra"), Vec::<String>::new());
    assert_eq!(end("ant"), Vec::<String>::new());
    assert_eq!(end("bee"), ["zebra"]);
    assert_eq!(end("cow"), ["ant"]);
    assert!(machine.state.analysis("ant").is_none());
    assert!(machine.state.analysis("bee").is_some());
    // Its key is forgotten with it.
    let again = Start {
        idempotency_key: Some("zebra".to_owned()),
        ..start("zebra-again", &plan)
    };
    assert_eq!(machine.start(again), Ok(("zebra-again".to_owned(), false)));
}

#[test]
fn a_tick_with_more_units_than_it_keeps_thins_both_arms_and_says_so() {
    const UNITS: usize = 400;
    let thinned = LATENCY.replace(
        "{kind: latency}",
        "{kind: latency, cluster: {by: trace, lifetime: tick, units_per_tick_max: 50}}",
    );
    let mut machine = Machine::running("x", &plan(&thinned));
    let mut batch = Vec::new();
    for unit in 0..UNITS {
        for arm in [Arm::Baseline, Arm::Canary] {
            let value = 100.0 + unit as f64;
            let mut sample = sample("x", "duration", arm, 4.0, values(vec![value, value + 0.5]));
            sample.unit = Some(format!("{arm:?}-{unit}"));
            batch.push(sample);
        }
    }
    let answer = machine.send(batch);
    assert_eq!(answer.accepted, 2 * UNITS as u64, "none is refused");
    machine.clock(20.0);
    let finding = machine.body("x").checks[0].clone();
    let out = finding.sampled_out.expect("not all were kept");
    assert_eq!(finding.samples.baseline + out.baseline, 2 * UNITS as u64);
    assert_eq!(finding.samples.canary + out.canary, 2 * UNITS as u64);
    for kept in [finding.samples.baseline, finding.samples.canary] {
        assert!((1..=100).contains(&kept), "{kept}");
    }
}

#[test]
fn ticks_open_at_once_are_bounded() {
    let seconds = LATENCY.replace("tick: 10s", "tick: 1s");
    let mut machine = Machine::limited(Limits {
        future_skew: 3_600_000,
        ..limits()
    });
    machine
        .start(start("x", &plan(&seconds)))
        .expect("it starts");
    let send = |machine: &mut Machine, secs: f64| {
        let one = sample("x", "duration", Arm::Canary, secs, values(vec![1.0]));
        let answer = machine.send(vec![one]);
        assert_eq!(answer.accepted + answer.refused.len() as u64, 1);
        answer.refused.first().map(|refusal| refusal.code)
    };
    let most = OPEN_TICKS_MAX as f64;
    assert_eq!(send(&mut machine, most - 0.001), None);
    assert_eq!(send(&mut machine, most), Some("too_far_ahead"));
    // After a pause, before the ticks of the pause are closed: the wait for an idle stream is a
    // second, so those up to the eighth are as good as closed.
    machine.silently(10.0);
    assert_eq!(send(&mut machine, most + 9.0), Some("too_far_ahead"));
    assert_eq!(send(&mut machine, most + 8.999), None);
    machine.clock(600.0 + 2.0);
    assert!(machine.body("x").is_final);
    // What was accepted once is accepted again, also in shorter ticks, and says the same.
    let lines = machine.recording("x");
    let played = |tick: Option<&str>| {
        let plan = tick.map(|tick| plan(&LATENCY.replace("tick: 10s", tick)));
        let mut last = None;
        let lines = lines.iter().map(String::as_str);
        let end = recording::play(lines, plan, |effects| {
            for effect in effects {
                if let Effect::Event(event) = effect {
                    last = Some(event.body.clone());
                }
            }
        });
        assert!(end.expect("it can be played").is_final);
        last.expect("something is told")
    };
    assert_eq!(*played(None), machine.body("x"));
    assert_eq!(played(Some("tick: 600ms")).checks[0].samples.canary, 2);
}
