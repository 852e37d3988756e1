//! A person decides otherwise: before the verdict is final, after it, again, and in a replay.

use davy::engine::audit::{Actor, Requester};
use davy::engine::{Effect, Input, Limits, RefusalCode, Start, recording};
use davy::judge::verdict::OverrideTo;
use davy::model::{Change, Decision, Outcome, Reason};

use super::{feed, feed_until_final, latency_plan};
use crate::machine::{Machine, start};

fn decide(to: OverrideTo) -> Input {
    Input::Override {
        analysis: "x".to_owned(),
        to,
        actor: Some("ada".to_owned()),
        reason: "the dashboard was down".to_owned(),
        by: None,
    }
}

/// A recording gives the verdict that the machine has.
fn assert_replayed(machine: &Machine) {
    let lines = machine.recording("x");
    let mut last = None;
    recording::play(lines.iter().map(String::as_str), None, |effects| {
        for effect in effects {
            if let Effect::Changed(view) = effect {
                last = Some(view);
            }
        }
    })
    .expect("it plays");
    let view = last.expect("a view");
    let json = |body| serde_json::to_string(body).expect("plain data");
    assert_eq!(json(&**view.body), json(&machine.body("x")));
    let shown = machine.state.analysis("x").expect("known").view();
    assert_eq!(
        serde_json::to_string(&view.overridden).expect("plain data"),
        serde_json::to_string(&shown.overridden).expect("plain data")
    );
}

#[test]
fn a_decision_before_the_end_opens_the_gates_and_outlasts_the_verdict() {
    let mut machine = Machine::running("x", &latency_plan(""));
    feed(&mut machine, "x", 0, 10, 1.0);
    assert!(!machine.step_body("x").gate.open);
    machine.apply(decide(OverrideTo::Promote));
    for body in [machine.body("x"), machine.step_body("x")] {
        let found = (body.verdict, body.is_final, body.decision, body.gate.open);
        let expected = (Outcome::Inconclusive, false, Decision::Promote, true);
        assert_eq!(found, expected);
        let message = body.message.as_str();
        assert!(
            message.contains("promote as ada decided (the dashboard was down)"),
            "{message}"
        );
        let overridden = body.overridden.expect("shown");
        assert_eq!(overridden.actor.as_deref(), Some("ada"));
    }
    assert!(
        machine.apply(decide(OverrideTo::Promote)).is_empty(),
        "the same again"
    );
    feed_until_final(&mut machine, "x", 200, 3.0);
    let body = machine.body("x");
    assert_eq!(
        (body.verdict, body.decision),
        (Outcome::Fail, Decision::Promote)
    );
    machine.apply(decide(OverrideTo::Rollback));
    let body = machine.body("x");
    assert_eq!(
        (body.verdict, body.decision),
        (Outcome::Fail, Decision::Rollback)
    );
    let told = machine.told("x");
    let overridden = told.iter().filter(|kind| **kind == "analysis.overridden");
    assert_eq!(overridden.count(), 2, "{told:?}");
    assert_eq!(told.last(), Some(&"analysis.overridden"));
    assert_replayed(&machine);
}

#[test]
fn a_decision_after_the_end_leaves_the_verdict_as_it_was() {
    let mut machine = Machine::running("x", &latency_plan(""));
    feed_until_final(&mut machine, "x", 200, 3.0);
    let before = machine.body("x");
    assert_eq!(
        (before.verdict, before.decision),
        (Outcome::Fail, Decision::Rollback)
    );
    machine.apply(decide(OverrideTo::Promote));
    let after = machine.body("x");
    assert_eq!(after.decision, Decision::Promote);
    assert_eq!(
        (after.verdict, after.reason, &after.checks, after.score),
        (before.verdict, before.reason, &before.checks, before.score)
    );
    let last = machine.events("x").pop().expect("events");
    assert_eq!(
        (last.kind.as_str(), last.is_last()),
        ("analysis.overridden", true)
    );
    assert_replayed(&machine);
}

#[test]
fn nobody_decides_of_what_is_not_there() {
    let mut machine = Machine::new();
    let refused = machine.refused(decide(OverrideTo::Promote));
    assert_eq!(
        refused.expect("refused").code,
        RefusalCode::AnalysisNotFound
    );
}

#[test]
fn every_change_is_audited_with_who_and_why_and_what_had_come() {
    let mut machine = Machine::running("x", &latency_plan(""));
    feed(&mut machine, "x", 0, 10, 1.0);
    machine.apply(decide(OverrideTo::Promote));
    machine.apply(Input::Cancel {
        analysis: "x".to_owned(),
        actor: Some("bob".to_owned()),
        reason: Some("too late".to_owned()),
        by: Some(davy::engine::audit::Requester {
            token: "01010101".to_owned(),
            name: "ci".to_owned(),
        }),
    });
    let audited = machine.effects.iter().filter_map(|effect| match effect {
        Effect::Audit(audited) => Some(audited.clone()),
        _ => None,
    });
    let audited: Vec<_> = audited.collect();
    let kinds: Vec<&str> = audited.iter().map(|audited| audited.kind).collect();
    assert_eq!(
        kinds,
        [
            "analysis.started",
            "analysis.overridden",
            "verdict.changed",
            "verdict.final"
        ]
    );
    let causes = format!("{:?}", audited[3].cause);
    for word in ["01010101", "ci", "bob", "too late"] {
        assert!(causes.contains(word), "{causes}");
    }
    // The digest of the last one is that of the whole recording.
    let mut inputs = davy::engine::audit::InputsDigest::default();
    machine
        .recording("x")
        .iter()
        .for_each(|line| inputs.add(line));
    assert_eq!(audited[3].inputs, inputs);
    assert_ne!(audited[1].inputs, inputs);
}

#[test]
fn a_decision_is_past_once_an_analysis_is_cancelled_or_superseded_or_abandoned() {
    let change = |revision: &str| Change {
        service: Some("cart".to_owned()),
        revision: Some(revision.to_owned()),
        ..Change::default()
    };
    for reason in [Reason::Cancelled, Reason::Superseded, Reason::Abandoned] {
        let limits = Limits {
            abandoned_after: 100_000,
            ..Limits::default()
        };
        let mut machine = Machine::limited(limits);
        let begin = |id: &str, revision: &str| Start {
            change: change(revision),
            ..start(id, &latency_plan(""))
        };
        machine.start(begin("x", "r1")).expect("it starts");
        machine.apply(decide(OverrideTo::Rollback));
        assert_eq!(machine.body("x").decision, Decision::Rollback);
        match reason {
            Reason::Cancelled => drop(machine.apply(Input::Cancel {
                analysis: "x".to_owned(),
                actor: None,
                reason: None,
                by: None,
            })),
            Reason::Superseded => drop(machine.start(begin("y", "r2"))),
            _ => machine.clock(100.0),
        }
        let body = machine.body("x");
        assert!(body.is_final && body.reason == reason, "{body:?}");
        assert_eq!(body.decision, Decision::Hold, "{reason:?}");
        assert!(body.overridden.is_none(), "{reason:?}");
        assert!(!body.message.contains("ada"), "{}", body.message);
        assert_replayed(&machine);
        // What is decided after it counts.
        machine.apply(decide(OverrideTo::Promote));
        assert_eq!(machine.body("x").decision, Decision::Promote);
    }
}

#[test]
fn who_starts_a_revision_ends_the_one_before_it() {
    let mut machine = Machine::new();
    let by = Requester {
        token: "01010101".to_owned(),
        name: "ci".to_owned(),
    };
    for (id, revision) in [("x", "r1"), ("y", "r2")] {
        let change = Change {
            service: Some("cart".to_owned()),
            revision: Some(revision.to_owned()),
            ..Change::default()
        };
        let start = Start {
            change,
            by: Some(by.clone()),
            ..start(id, &latency_plan(""))
        };
        machine.start(start).expect("it starts");
    }
    let ended = machine.effects.iter().find_map(|effect| match effect {
        Effect::Audit(audited) if audited.kind == "verdict.final" => Some(audited.cause.clone()),
        _ => None,
    });
    let ended = ended.expect("superseded");
    assert_eq!(ended.reason.as_deref(), Some("revision r2 started"));
    let (by, given) = (Some(by), None);
    assert_eq!(ended.actor, Actor::Asked { by, given });
}
