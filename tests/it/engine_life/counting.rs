//! What becomes of each sample: every one is counted once, and a bad one loses no other.

use davy::engine::{Ingested, UNPLACED_SHOWN_MAX};
use davy::model::{Arm, Labels, Reading, Sample};

use crate::machine::{Machine, at, plan, sample, start, values};

const MATCHED: &str = "horizon: 1m\ntick: 5s\nlateness: 0s\n\
    arms: {baseline: 'app=\"cart\", old=\"yes\"', canary: 'app=\"cart\", new=\"yes\"'}\n\
    metrics:\n  duration: {kind: latency}\n  errors: {kind: ratio}\n  restarts: {kind: rate}\n  load: {kind: gauge}\n\
    checks:\n  - {compare: duration, tolerance: 10%}\n  - {compare: errors, tolerance: 10%}\n  - {compare: restarts, tolerance: 10%}\n  - {compare: load, tolerance: 10%}\n";

fn labelled(metric: &str, labels: &[(&str, &str)]) -> Sample {
    let pairs = labels
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()));
    Sample {
        labels: Labels::from_iter(pairs),
        address: None,
        ..sample("", metric, Arm::Canary, 12.0, values(vec![1.0]))
    }
}

/// An engine at second 12 with the ticks before second 5 closed.
fn machine() -> Machine {
    let mut machine = Machine::running("x", &plan(MATCHED));
    machine.clock(10.0);
    machine.silently(12.0);
    machine
}

fn codes(answer: &Ingested) -> Vec<(usize, &'static str)> {
    answer.refused.iter().map(|r| (r.index, r.code)).collect()
}

#[test]
fn every_sample_is_counted_once_and_a_bad_one_loses_no_other() {
    let mut machine = machine();
    let good = |secs| sample("x", "duration", Arm::Canary, secs, values(vec![1.0]));
    let named = Sample {
        id: Some("one".to_owned()),
        ..good(11.0)
    };
    let batch = vec![
        good(12.0),
        good(2.0),
        named.clone(),
        named,
        good(72.001),
        good(-1.0),
        good(60.0),
        sample("y", "duration", Arm::Canary, 12.0, values(vec![1.0])),
        sample("x", "latency", Arm::Canary, 12.0, values(vec![1.0])),
        sample("x", "errors", Arm::Canary, 12.0, values(vec![0.5])),
        labelled(
            "duration",
            &[("app", "cart"), ("old", "yes"), ("new", "yes")],
        ),
        labelled("duration", &[("app", "cart")]),
        labelled("nothing", &[("app", "cart"), ("new", "yes")]),
        labelled("duration", &[("app", "cart"), ("new", "yes")]),
        good(11.0),
    ];
    let sent = batch.len() as u64;
    let answer = machine.send(batch);
    assert_eq!(answer.accepted, 4);
    assert_eq!((answer.late, answer.duplicate), (1, 1));
    assert_eq!((answer.ambiguous, answer.unmatched), (1, 2));
    let expected = [
        (4, "future"),
        (5, "before_start"),
        (6, "after_horizon"),
        (7, "unknown_analysis"),
        (8, "unknown_metric"),
        (9, "wrong_form"),
    ];
    assert_eq!(codes(&answer), expected);
    let counted = answer.accepted + answer.late + answer.duplicate;
    let counted = counted + answer.ambiguous + answer.unmatched + answer.refused.len() as u64;
    assert_eq!(counted, sent);
    let view = machine.state.analysis("x").expect("it runs").view();
    let received = view
        .received
        .iter()
        .find(|r| r.metric == "duration")
        .expect("the metric");
    assert_eq!(
        (received.baseline, received.canary, received.late),
        (0, 4, 1)
    );
    assert_eq!(received.newest, Some(at(12.0).millis()));
}

#[test]
fn series_that_reach_nobody_are_told_what_is_asked_for() {
    let mut machine = machine();
    let batch = vec![
        labelled("duration", &[("app", "cart")]),
        labelled("duration", &[("app", "cart")]),
        labelled("latency", &[("app", "cart"), ("new", "yes")]),
        labelled("nothing", &[]),
        labelled("load", &[("app", "cart"), ("old", "yes"), ("new", "yes")]),
    ];
    let answer = machine.send(batch);
    assert_eq!((answer.unmatched, answer.ambiguous), (4, 1));
    let told: Vec<_> = answer
        .unplaced
        .iter()
        .map(|u| (u.index, u.outcome, u.series.as_str()))
        .collect();
    let expected = [
        (0, "unmatched", "duration{app=\"cart\"}"),
        (2, "unmatched", "latency{app=\"cart\",new=\"yes\"}"),
        (3, "unmatched", "nothing"),
        (4, "ambiguous", "load{app=\"cart\",new=\"yes\",old=\"yes\"}"),
    ];
    assert_eq!(told, expected);
    for (said, must) in answer.unplaced.iter().zip([
        "neither of its arms does; baseline: {app=\"cart\",old=\"yes\"}; canary: {app=\"cart\",new=\"yes\"}",
        "no metric for this series; its metrics ask for duration, errors, load, restarts",
        "no running analysis asks for it; x (plan \"tested\"), for one",
        "both arms of x (plan \"tested\") ask for it",
    ]) {
        assert!(said.message.contains(must), "{}", said.message);
    }
    let view = machine.state.analysis("x").expect("it runs").view();
    assert_eq!((view.ambiguous, view.unmatched), (1, 4));
    // Once it gets what it asked for, what others send is not its business.
    machine.send(vec![
        labelled("load", &[("app", "cart"), ("new", "yes")]),
        labelled("nothing", &[]),
    ]);
    let view = machine.state.analysis("x").expect("it runs").view();
    assert_eq!((view.ambiguous, view.unmatched), (1, 4));
}

#[test]
fn a_stream_of_strange_series_is_explained_up_to_a_limit() {
    let mut none = Machine::new();
    let strange = |number: usize| labelled(&format!("m{number}"), &[]);
    let answer = none.send((0..20).map(strange).collect());
    assert_eq!(answer.unmatched, 20);
    assert_eq!(answer.unplaced.len(), UNPLACED_SHOWN_MAX);
    assert!(answer.unplaced[0].message.contains("no analysis runs"));
    let addressed = MATCHED
        .lines()
        .filter(|line| !line.starts_with("arms"))
        .map(|line| line.replace("kind: ", "from: values, kind: ") + "\n");
    let mut addressed = Machine::running("x", &plan(&addressed.collect::<String>()));
    let answer = addressed.silently(12.0).send(vec![strange(0)]);
    assert!(answer.unplaced[0].message.contains("give \"analysis\""));
}

#[test]
fn the_edges_of_time_belong_to_the_right_side() {
    for (secs, code) in [
        (0.0, None),
        (-0.001, Some("before_start")),
        (59.999, None),
        (60.0, Some("after_horizon")),
    ] {
        let mut machine = Machine::running("x", &plan(MATCHED));
        let one = sample("x", "duration", Arm::Canary, secs, values(vec![1.0]));
        let answer = machine.silently(0.0).send(vec![one]);
        assert_eq!(answer.refused.first().map(|r| r.code), code, "at {secs}");
        assert_eq!(answer.accepted, u64::from(code.is_none()), "at {secs}");
    }
    // Sixty seconds ahead of the clock is the limit.
    for (now, code) in [(-1.0, None), (-1.001, Some("future"))] {
        let mut machine = Machine::running("x", &plan(MATCHED));
        let one = sample("x", "duration", Arm::Canary, 59.0, values(vec![1.0]));
        let answer = machine.silently(now).send(vec![one]);
        assert_eq!(answer.refused.first().map(|r| r.code), code);
    }
    // The tick that closed last ends where the next begins.
    let mut machine = machine();
    let send = |machine: &mut Machine, secs| {
        machine.send(vec![sample(
            "x",
            "duration",
            Arm::Canary,
            secs,
            values(vec![1.0]),
        )])
    };
    assert_eq!(send(&mut machine, 4.999).late, 1);
    assert_eq!(send(&mut machine, 5.0).accepted, 1);
}

#[test]
fn every_kind_takes_its_own_forms_only() {
    let ratio = Reading::Ratio { bad: 1, total: 2 };
    let rate = Reading::Rate {
        events: 1,
        exposure: 2.0,
    };
    let forms = [
        values(vec![1.0, 0.0]),
        values(vec![0.5]),
        values(vec![f64::INFINITY]),
        ratio,
        rate,
    ];
    for (metric, taken) in [
        ("duration", [true, true, true, false, false]),
        ("errors", [true, false, false, true, false]),
        ("restarts", [false, false, false, false, true]),
        ("load", [true, true, false, false, false]),
    ] {
        for (form, taken) in forms.iter().zip(taken) {
            let answer = machine().send(vec![sample("x", metric, Arm::Canary, 12.0, form.clone())]);
            assert_eq!(answer.accepted, u64::from(taken), "{metric} of {form:?}");
            let refused = codes(&answer) == [(0, "wrong_form")];
            assert_eq!(refused, !taken, "{metric} of {form:?}");
        }
    }
}

#[test]
fn counts_too_large_to_add_up_are_refused_instead_of_wrapping() {
    let mut machine = machine();
    for (metric, reading) in [
        (
            "errors",
            Reading::Ratio {
                bad: 0,
                total: u64::MAX,
            },
        ),
        (
            "restarts",
            Reading::Rate {
                events: u64::MAX,
                exposure: 1.0,
            },
        ),
        (
            "duration",
            Reading::Values {
                values: vec![1.0],
                weights: vec![u64::MAX],
            },
        ),
        (
            "errors",
            Reading::Values {
                values: vec![1.0],
                weights: vec![u64::MAX],
            },
        ),
    ] {
        let huge = sample("x", metric, Arm::Canary, 12.0, reading);
        let answer = machine.send(vec![huge.clone(), huge]);
        assert_eq!(
            codes(&answer),
            [(0, "count_too_large"), (1, "count_too_large")],
            "{metric}"
        );
    }
}

#[test]
fn one_sample_may_serve_several_analyses_and_counts_once() {
    let plan = plan(MATCHED);
    let mut machine = Machine::new();
    for id in ["x", "y"] {
        machine.start(start(id, &plan)).expect("it starts");
    }
    machine.silently(12.0);
    let answer = machine.send(vec![labelled(
        "duration",
        &[("app", "cart"), ("new", "yes")],
    )]);
    assert_eq!(answer.accepted, 1);
    for id in ["x", "y"] {
        let view = machine.state.analysis(id).expect("it runs").view();
        let received: u64 = view.received.iter().map(|r| r.canary).sum();
        assert_eq!(received, 1, "{id}");
    }
}
