//! What is measured of an analysis once its verdict is final.

use davy::engine::measuring::Measured;
use davy::engine::{Effect, Input, Start};
use davy::model::Change;

use super::{feed, feed_until_final, latency_plan, send_tick};
use crate::machine::{Machine, start};

/// What was measured so far, by analysis.
fn measured(machine: &Machine) -> Vec<(String, Measured)> {
    let found = machine.effects.iter().filter_map(|effect| match effect {
        Effect::Measured { body, measured } => Some((body.analysis.clone(), *measured)),
        _ => None,
    });
    found.collect()
}

fn of_change(machine: &mut Machine, id: &str, change: &str, region: &str) {
    let change = Change {
        id: Some(change.to_owned()),
        region: Some(region.to_owned()),
        ..Change::default()
    };
    let start = Start {
        change,
        ..start(id, &latency_plan(""))
    };
    machine.start(start).expect("it starts");
}

fn cancel(machine: &mut Machine, id: &str) {
    machine.apply(Input::Cancel {
        analysis: id.to_owned(),
        actor: None,
        reason: None,
        by: None,
    });
}

/// Ids of those that were judged first of their change, and of those that failed first.
fn firsts(machine: &Machine) -> [Vec<String>; 2] {
    let all = measured(machine);
    let those = |is_one: &dyn Fn(&Measured) -> bool| {
        let found = all.iter().filter(|(_, measured)| is_one(measured));
        found.map(|(id, _)| id.clone()).collect()
    };
    [
        those(&|measured| measured.is_first_of_change),
        those(&|measured| measured.is_first_fail_of_change),
    ]
}

#[test]
fn a_fail_tells_how_long_it_took_since_the_start_and_the_step() {
    let mut machine = Machine::running("x", &latency_plan(""));
    for tick in 0..6 {
        feed(&mut machine, "x", tick, 100, 1.0);
    }
    let entered = machine.now;
    machine.apply(Input::Step {
        by: None,
        analysis: "x".to_owned(),
        name: "50%".to_owned(),
        weight: None,
        steps_follow: None,
    });
    let mut tick = 6;
    while !machine.body("x").is_final {
        feed(&mut machine, "x", tick, 300, 3.0);
        tick += 1;
    }
    let all = measured(&machine);
    let [(id, found)] = all.as_slice() else {
        panic!("once: {all:?}");
    };
    assert_eq!(id, "x");
    let ended = machine.events("x").pop().expect("its end").at;
    assert_eq!(found.since_step, Some(ended.since(entered)));
    assert_eq!(found.took, ended.since(crate::machine::at(0.0)));
    // It was bad since the seventh tick: what speaks began no earlier than a few ticks before.
    let evidence = found.evidence.expect("of a fail");
    assert!(evidence > 0 && evidence < found.took, "{found:?}");
    assert!(
        found.alpha_spent > 0.0 && found.alpha_spent <= 1.0,
        "{found:?}"
    );
    assert!(found.is_first_of_change && found.is_first_fail_of_change);
}

#[test]
fn a_pass_has_no_evidence_of_a_fail_and_no_step_where_none_was_marked() {
    let mut machine = Machine::running("x", &latency_plan(""));
    feed_until_final(&mut machine, "x", 2_000, 1.0);
    let (_, found) = measured(&machine).remove(0);
    assert_eq!((found.evidence, found.since_step), (None, None));
    assert!(found.is_first_of_change && !found.is_first_fail_of_change);
}

#[test]
fn a_change_is_judged_once_whoever_ends_first() {
    let mut machine = Machine::new();
    of_change(&mut machine, "a", "c", "east");
    of_change(&mut machine, "b", "c", "west");
    of_change(&mut machine, "gone", "c", "north");
    of_change(&mut machine, "other", "d", "east");
    cancel(&mut machine, "gone");
    assert_eq!(
        firsts(&machine),
        [Vec::<String>::new(), Vec::new()],
        "nobody judged"
    );
    // All end with the same input.
    for id in ["a", "b", "other"] {
        for tick in 0..3 {
            send_tick(&mut machine, id, tick, 2_000, 3.0);
        }
    }
    machine.clock(60.0);
    for id in ["a", "b", "other"] {
        assert!(machine.body(id).is_final, "{id}");
    }
    assert_eq!(firsts(&machine), [["a", "other"], ["a", "other"]]);
    // A later one of the change is no other change.
    of_change(&mut machine, "late", "c", "south");
    cancel(&mut machine, "late");
    assert_eq!(firsts(&machine), [["a", "other"], ["a", "other"]]);
}
