//! Steps of a rollout: evidence adds up, but a step's gate asks for that step's own.

use davy::engine::Input;
use davy::model::{Decision, Outcome};

use super::{feed, latency_plan};
use crate::machine::Machine;

const GATE: &str = "step: {min_duration: 30s, min_samples: 200}\nstop_on_pass: false\n";

fn enter(machine: &mut Machine, name: &str) {
    machine.apply(Input::Step {
        by: None,
        analysis: "x".to_owned(),
        name: name.to_owned(),
        weight: Some(10.0),
        steps_follow: None,
    });
}

/// Whether the current step's gate is open; it must say what it waits for when it is not.
fn is_open(machine: &Machine) -> bool {
    let body = machine.step_body("x");
    let (gate, decision) = (body.gate, body.decision);
    assert_eq!(gate.open, decision == Decision::Promote);
    assert_eq!(gate.open, gate.waiting_for.is_none());
    gate.open
}

#[test]
fn a_step_opens_on_its_own_time_and_samples_only() {
    let mut machine = Machine::running("x", &latency_plan(GATE));
    enter(&mut machine, "5%");
    assert!(!is_open(&machine));
    for tick in 0..3 {
        assert!(!is_open(&machine), "before its third tick");
        feed(&mut machine, "x", tick, 100, 1.0);
    }
    assert!(is_open(&machine));
    // The final gate asks for a pass, and does not have it: the bake time is not over.
    let body = machine.body("x");
    assert_eq!(
        (body.verdict, body.decision),
        (Outcome::Inconclusive, Decision::Hold)
    );
    assert!(!body.gate.open);

    enter(&mut machine, "50%");
    assert!(
        !is_open(&machine),
        "the samples of the first step are not the second's"
    );
    // The clock stands within the fourth tick, which the step shares with the one before it.
    feed(&mut machine, "x", 4, 1_000, 1.0);
    feed(&mut machine, "x", 5, 1_000, 1.0);
    assert!(!is_open(&machine), "enough samples, but too short a time");
    feed(&mut machine, "x", 6, 1_000, 1.0);
    assert!(is_open(&machine));
    assert_eq!(machine.step_body("x").gate.step.as_deref(), Some("50%"));

    enter(&mut machine, "100%");
    for tick in 8..14 {
        feed(&mut machine, "x", tick, 30, 1.0);
    }
    assert!(!is_open(&machine), "enough time, but too few samples");
    feed(&mut machine, "x", 14, 50, 1.0);
    assert!(is_open(&machine));
    let names: Vec<String> = machine
        .state
        .analysis("x")
        .expect("it runs")
        .view()
        .steps
        .into_iter()
        .map(|step| step.name)
        .collect();
    assert_eq!(names, ["5%", "50%", "100%"]);
}

#[test]
fn a_step_without_minimums_still_asks_for_samples_of_its_own() {
    let plan = latency_plan("step: {min_duration: 0s, min_samples: 0}\nstop_on_pass: false\n");
    let mut machine = Machine::running("x", &plan);
    feed(&mut machine, "x", 0, 100, 1.0);
    feed(&mut machine, "x", 1, 100, 1.0);
    enter(&mut machine, "50%");
    assert!(!is_open(&machine), "the samples so far are not the step's");
    // The clock stands within the third tick.
    feed(&mut machine, "x", 3, 100, 1.0);
    feed(&mut machine, "x", 4, 100, 1.0);
    assert!(is_open(&machine));
}

#[test]
fn a_fail_closes_an_open_step() {
    let mut machine = Machine::running("x", &latency_plan(GATE));
    enter(&mut machine, "5%");
    for tick in 0..4 {
        feed(&mut machine, "x", tick, 100, 1.0);
    }
    assert!(is_open(&machine));
    for tick in 4..20 {
        feed(&mut machine, "x", tick, 300, 2.0);
    }
    let body = machine.step_body("x");
    assert_eq!(
        (body.verdict, body.decision),
        (Outcome::Fail, Decision::Rollback)
    );
    assert!(!body.gate.open);
}

#[test]
fn evidence_adds_up_over_steps() {
    let stepped = |steps: &[usize]| {
        let mut machine = Machine::running("x", &latency_plan("stop_on_pass: false\n"));
        for tick in 0..20 {
            if steps.contains(&tick) {
                enter(&mut machine, "next");
            }
            feed(&mut machine, "x", tick, 60, 1.05);
        }
        machine.body("x")
    };
    let (without, with) = (stepped(&[]), stepped(&[3, 9, 15]));
    assert_eq!(without.verdict, Outcome::Pass);
    assert_eq!(
        with, without,
        "a step changes its own gate and nothing else"
    );
}

/// Enters a step of a rollout that tells whether further ones follow.
fn tell(machine: &mut Machine, name: &str, steps_follow: bool) {
    machine.apply(Input::Step {
        by: None,
        analysis: "x".to_owned(),
        name: name.to_owned(),
        weight: None,
        steps_follow: Some(steps_follow),
    });
}

#[test]
fn a_pass_is_not_final_while_steps_follow_and_then_waits_for_the_last_ones_own() {
    let plan = latency_plan("step: {min_duration: 20s, min_samples: 200}\n");
    let mut machine = Machine::running("x", &plan);
    let mut tick = 0;
    let mut more = |machine: &mut Machine, ticks: usize| {
        for _ in 0..ticks {
            feed(machine, "x", tick, 400, 1.0);
            tick += 1;
        }
    };
    for name in ["5%", "20%", "50%"] {
        tell(&mut machine, name, true);
        assert!(!is_open(&machine), "{name} opens on what came before it");
        more(&mut machine, 4);
        assert!(is_open(&machine), "{name}");
        // Told again, as by a controller that repeats itself: the same step goes on.
        tell(&mut machine, name, true);
        assert!(is_open(&machine), "{name}");
        let body = machine.body("x");
        assert!(!body.is_final && !body.gate.open, "{name}");
    }
    let body = machine.body("x");
    assert_eq!(body.verdict, Outcome::Pass, "evidence adds up over steps");
    assert_eq!(body.decision, Decision::Hold);
    let waiting_for = body.gate.waiting_for.expect("it waits");
    assert!(waiting_for.contains("last step"), "{waiting_for}");

    tell(&mut machine, "5%", true);
    assert!(!is_open(&machine), "the rollout began anew");
    tell(&mut machine, "100%", false);
    more(&mut machine, 1);
    let body = machine.body("x");
    assert!(!body.is_final, "on the evidence of other steps");
    more(&mut machine, 3);
    let body = machine.body("x");
    assert!(body.is_final && body.gate.open);
    assert_eq!(body.verdict, Outcome::Pass);
}

#[test]
fn a_rollout_that_never_tells_its_last_step_ends_at_the_horizon() {
    let mut machine = Machine::running("x", &latency_plan(""));
    tell(&mut machine, "5%", true);
    for tick in 0..70 {
        if !machine.body("x").is_final {
            feed(&mut machine, "x", tick, 100, 1.0);
        }
    }
    let body = machine.body("x");
    assert!(body.is_final);
    assert_eq!(body.verdict, Outcome::Pass);
    let looks = body.guarantee.looks as usize;
    assert_eq!(looks, latency_plan("").looks());
}
