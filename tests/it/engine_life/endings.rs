//! How an analysis becomes final, and what is told on the way.

use davy::engine::{EventKind, Input, Limits, RefusalCode};
use davy::judge::verdict::Status;
use davy::model::{Arm, Change, Decision, Outcome, Reason};

use super::{TICK_SECS, feed, feed_until_final, latency_plan, send_tick};
use crate::machine::{Machine, sample, start, values};

const ROLLBACK: &str = "on_inconclusive: rollback\non_no_data: rollback\n";

/// What was told, without looks, must be a start, changes, and one final event at the very end.
fn assert_told_in_order(machine: &Machine, id: &str) {
    let events = machine.events(id);
    assert_eq!(events[0].kind, EventKind::Started);
    let count = |kind| events.iter().filter(|event| event.kind == kind).count();
    assert_eq!(count(EventKind::Started), 1);
    assert_eq!(count(EventKind::VerdictFinal), 1);
    let last = events.last().expect("there was a start");
    assert_eq!(last.kind, EventKind::VerdictFinal);
    assert!(last.body.is_final);
    let numbers: Vec<u64> = events.iter().map(|event| event.sequence).collect();
    let expected: Vec<u64> = (1..=events.len() as u64).collect();
    assert_eq!(numbers, expected, "events are numbered without gaps");
    let mut known = (Outcome::Inconclusive, Decision::Hold);
    for event in &events {
        let now = (event.body.verdict, event.body.decision);
        let changed = event.kind == EventKind::VerdictChanged;
        assert!(
            !changed || now != known,
            "a change that changes nothing: {event:?}"
        );
        if changed {
            known = now;
        }
        let is_look = event.kind == EventKind::Look;
        assert!(
            is_look || now == known,
            "a change nobody was told of: {event:?}"
        );
    }
}

#[test]
fn pending_then_running_then_final() {
    let mut machine = Machine::running("x", &latency_plan(""));
    assert_eq!(machine.body("x").status, Status::Pending);
    assert_eq!(machine.body("x").reason, Reason::NoTelemetry);
    let first = vec![sample("x", "duration", Arm::Canary, 1.0, values(vec![1.0]))];
    machine.silently(1.0).send(first);
    let body = machine.body("x");
    assert_eq!(
        (body.status, body.decision),
        (Status::Running, Decision::Hold)
    );
    feed_until_final(&mut machine, "x", 300, 1.0);
    assert_eq!(machine.body("x").status, Status::Final);
    assert_told_in_order(&machine, "x");
}

#[test]
fn a_fail_is_final_at_once_and_asks_for_a_rollback() {
    let mut machine = Machine::running("x", &latency_plan(""));
    let ticks = feed_until_final(&mut machine, "x", 300, 1.6);
    let body = machine.body("x");
    assert_eq!(
        (body.verdict, body.reason),
        (Outcome::Fail, Reason::Degraded)
    );
    assert_eq!(body.decision, Decision::Rollback);
    assert!(
        ticks <= 6,
        "a fail does not wait for the bake time, but took {ticks} ticks"
    );
    let told = ["analysis.started", "verdict.changed", "verdict.final"];
    assert_eq!(machine.told("x"), told);
    assert_told_in_order(&machine, "x");
    // Nothing changes it any more.
    let before = serde_json::to_string(&body).expect("a body is JSON");
    let late = sample("x", "duration", Arm::Canary, 500.0, values(vec![1.0]));
    assert_eq!(
        machine.silently(500.0).send(vec![late]).refused[0].code,
        "analysis_final"
    );
    machine.clock(5_000.0);
    assert_eq!(
        serde_json::to_string(&machine.body("x")).expect("JSON"),
        before
    );
    assert_eq!(machine.told("x").len(), 3);
}

#[test]
fn a_pass_is_final_at_the_first_look_after_the_bake_time() {
    let mut machine = Machine::running("x", &latency_plan(""));
    let ticks = feed_until_final(&mut machine, "x", 1_000, 1.0);
    let body = machine.body("x");
    assert_eq!(
        (body.verdict, body.decision),
        (Outcome::Pass, Decision::Promote)
    );
    assert_eq!(ticks, 12, "two minutes of ten seconds");
    assert_eq!(body.elapsed_secs, 120.0);
    assert_told_in_order(&machine, "x");
}

#[test]
fn a_pass_waits_for_the_horizon_where_the_plan_says_so() {
    let mut machine = Machine::running("x", &latency_plan("stop_on_pass: false\n"));
    for tick in 0..59 {
        feed(&mut machine, "x", tick, 300, 1.0);
    }
    let body = machine.body("x");
    assert_eq!((body.verdict, body.is_final), (Outcome::Pass, false));
    assert_eq!(body.decision, Decision::Hold);
    feed(&mut machine, "x", 59, 300, 1.0);
    let body = machine.body("x");
    assert_eq!((body.verdict, body.is_final), (Outcome::Pass, true));
    assert_eq!(body.decision, Decision::Promote);
    assert_eq!(body.elapsed_secs, 600.0);
    assert_told_in_order(&machine, "x");
}

#[test]
fn a_reported_pass_may_still_become_a_fail() {
    let mut machine = Machine::running("x", &latency_plan("stop_on_pass: false\n"));
    for tick in 0..30 {
        feed(&mut machine, "x", tick, 300, 1.0);
    }
    assert_eq!(machine.body("x").verdict, Outcome::Pass);
    for tick in 30..60 {
        feed(&mut machine, "x", tick, 300, 2.0);
        if machine.body("x").is_final {
            break;
        }
    }
    let body = machine.body("x");
    assert_eq!(
        (body.verdict, body.decision),
        (Outcome::Fail, Decision::Rollback)
    );
    let window = body.checks[0].window_secs;
    assert!(
        window < body.elapsed_secs,
        "a late window speaks, not the run: {window}"
    );
    let told = [
        "analysis.started",
        "verdict.changed",
        "verdict.changed",
        "verdict.final",
    ];
    assert_eq!(machine.told("x"), told);
    assert_told_in_order(&machine, "x");
}

#[test]
fn the_horizon_ends_what_is_still_open() {
    for (policy, decision) in [
        ("hold", Decision::Hold),
        ("rollback", Decision::Rollback),
        ("promote", Decision::Promote),
    ] {
        let plan = latency_plan(&format!("on_inconclusive: {policy}\n"));
        let mut machine = Machine::running("x", &plan);
        let ticks = feed_until_final(&mut machine, "x", 3, 1.2);
        assert_eq!(ticks, 60);
        let body = machine.body("x");
        let found = (body.verdict, body.reason, body.decision);
        let expected = (Outcome::Inconclusive, Reason::HorizonReached, decision);
        assert_eq!(found, expected);
        assert_told_in_order(&machine, "x");
    }
}

/// Ends without an answer: inconclusive and hold, whatever the policies say.
fn assert_ended(machine: &Machine, id: &str, reason: Reason) {
    let body = machine.body(id);
    let found = (body.verdict, body.reason, body.decision, body.is_final);
    assert_eq!(found, (Outcome::Inconclusive, reason, Decision::Hold, true));
    assert_told_in_order(machine, id);
    assert!(!machine.told(id).contains(&"verdict.changed"));
}

#[test]
fn a_cancelled_analysis_never_asks_for_a_rollback() {
    let mut machine = Machine::running("x", &latency_plan(ROLLBACK));
    feed(&mut machine, "x", 0, 10, 1.0);
    let cancel = Input::Cancel {
        by: None,
        analysis: "x".to_owned(),
        actor: Some("controller".to_owned()),
        reason: None,
    };
    machine.apply(cancel.clone());
    assert_ended(&machine, "x", Reason::Cancelled);
    let again = machine
        .refused(cancel)
        .expect("there is nothing left to cancel");
    assert_eq!(again.code, RefusalCode::AnalysisFinal);
    let unknown = Input::Cancel {
        by: None,
        analysis: "y".to_owned(),
        actor: None,
        reason: None,
    };
    let unknown = machine.refused(unknown).expect("there is no such analysis");
    assert_eq!(unknown.code, RefusalCode::AnalysisNotFound);
}

fn change(service: &str, region: &str, revision: &str) -> Change {
    Change {
        service: Some(service.to_owned()),
        environment: Some("production".to_owned()),
        region: Some(region.to_owned()),
        revision: Some(revision.to_owned()),
        ..Change::default()
    }
}

#[test]
fn a_new_revision_supersedes_the_old_one_in_its_own_place_only() {
    let plan = latency_plan(ROLLBACK);
    let mut machine = Machine::new();
    for (id, change) in [
        ("old", change("cart", "north", "r1")),
        ("twin", change("cart", "north", "r2")),
        ("elsewhere", change("cart", "south", "r1")),
        ("other", change("search", "north", "r1")),
        ("nameless", Change::default()),
    ] {
        let start = start(id, &plan);
        machine
            .start(davy::engine::Start { change, ..start })
            .expect("it starts");
    }
    assert_ended(&machine, "old", Reason::Superseded);
    let same = davy::engine::Start {
        change: change("cart", "north", "r2"),
        ..start("same-revision", &plan)
    };
    machine.start(same).expect("it starts");
    let running: Vec<&str> = machine.state.running().collect();
    assert_eq!(
        running,
        ["elsewhere", "nameless", "other", "same-revision", "twin"]
    );
}

#[test]
fn an_idle_analysis_is_abandoned_and_a_question_keeps_it() {
    let limits = Limits {
        abandoned_after: 100_000,
        ..Limits::default()
    };
    let mut machine = Machine::limited(limits);
    for id in ["asked", "idle", "fed"] {
        machine
            .start(start(id, &latency_plan(ROLLBACK)))
            .expect("it starts");
    }
    machine.silently(60.0).apply(Input::Asked {
        analysis: "asked".to_owned(),
    });
    let sample = sample("fed", "duration", Arm::Canary, 60.0, values(vec![1.0]));
    machine.send(vec![sample]);
    machine.clock(99.999);
    assert!(!machine.body("idle").is_final);
    machine.clock(100.0);
    assert_ended(&machine, "idle", Reason::Abandoned);
    assert_eq!(
        machine.state.running().collect::<Vec<_>>(),
        ["asked", "fed"]
    );
    machine.clock(160.0);
    assert_ended(&machine, "asked", Reason::Abandoned);
    assert_ended(&machine, "fed", Reason::Abandoned);
}

#[test]
fn ticks_close_on_the_watermark_and_on_the_idle_clock() {
    let plan = latency_plan("");
    let mut machine = Machine::running("x", &plan);
    let at_secs = |secs| sample("x", "duration", Arm::Canary, secs, values(vec![1.0]));
    let looks = |machine: &Machine| machine.body("x").guarantee.looks;
    machine.silently(9.0).send(vec![at_secs(9.0)]);
    // The clock alone does not close a tick at its end: a sample may be on its way.
    machine.clock(10.0);
    machine.clock(19.999);
    assert_eq!(looks(&machine), 0);
    machine.clock(20.0);
    assert_eq!(looks(&machine), 1);
    // A sample of the next tick closes the one before.
    machine.silently(29.9).send(vec![at_secs(19.9)]);
    assert_eq!(looks(&machine), 1);
    machine.send(vec![at_secs(20.0)]);
    assert_eq!(looks(&machine), 2);
    // With neither samples nor watermark, the clock closes tick after tick.
    machine.clock(80.0);
    assert_eq!(looks(&machine), 7);
}

#[test]
fn a_sender_whose_clock_is_ahead_cannot_close_ticks_early() {
    let mut machine = Machine::running("x", &latency_plan(""));
    let ahead = sample("x", "duration", Arm::Canary, 50.0, values(vec![1.0]));
    assert_eq!(machine.silently(5.0).send(vec![ahead]).accepted, 1);
    assert_eq!(machine.body("x").guarantee.looks, 0);
    let on_time = sample("x", "duration", Arm::Canary, 9.0, values(vec![1.0]));
    assert_eq!(machine.silently(9.5).send(vec![on_time]).accepted, 1);
    assert_eq!(machine.body("x").guarantee.looks, 0);
}

#[test]
fn two_analyses_of_one_plan_do_not_disturb_each_other() {
    let plan = latency_plan("stop_on_pass: false\n");
    let run = |ids: &[&str]| -> Machine {
        let mut machine = Machine::new();
        for id in ids {
            machine.start(start(id, &plan)).expect("it starts");
        }
        for tick in 0..60 {
            for (id, count, factor) in [("x", 30, 1.32), ("y", 300, 1.15), ("z", 8, 1.3)] {
                if ids.contains(&id) {
                    send_tick(&mut machine, id, tick, count, factor);
                }
            }
            machine.clock((tick + 2) as f64 * TICK_SECS);
        }
        machine
    };
    let together = run(&["x", "y", "z"]);
    for id in ["x", "y", "z"] {
        let alone = run(&[id]);
        let bodies = |machine: &Machine| -> Vec<String> {
            let bodies = machine.events(id).into_iter().map(|event| event.body);
            bodies
                .map(|body| serde_json::to_string(&body).expect("JSON"))
                .collect()
        };
        assert!(bodies(&together) == bodies(&alone), "{id} was disturbed");
    }
}
