//! After a pass, where the plan asks for a watch.

use std::sync::Arc;

use davy::engine::{EventKind, recording};
use davy::judge::Judge;
use davy::judge::check::Detail;
use davy::judge::scratch::Scratch;
use davy::judge::verdict::VerdictBody;
use davy::model::{Arm, Change, Decision, Outcome, Reading};
use davy::plan::Plan;
use davy::stats::sampler::{Stream, seed_from};
use davy::window::{Cell, ClosedTick};

use super::{TICK_SECS, latency_plan, send_tick};
use crate::machine::{Machine, plan, sample, start};

const WATCH: &str = "watch: {for: 10m, false_alarms_every: 30d}\n";

fn watched() -> Arc<Plan> {
    latency_plan(WATCH)
}

/// Feeds ticks at this factor; the number of the tick after them.
fn feed(machine: &mut Machine, ticks: std::ops::Range<usize>, factor: f64) -> usize {
    for tick in ticks.clone() {
        send_tick(machine, "x", tick, 600, factor);
        machine.clock((tick + 2) as f64 * TICK_SECS);
    }
    ticks.end
}

fn bodies(machine: &Machine, kind: EventKind) -> Vec<Arc<VerdictBody>> {
    let events = machine.events("x").into_iter();
    events
        .filter(|event| event.kind == kind)
        .map(|event| event.body.clone())
        .collect()
}

#[test]
fn what_turns_bad_after_its_pass_is_told_and_stays_passed() {
    let mut machine = Machine::running("x", &watched());
    let passed = feed(&mut machine, 0..12, 1.0);
    let verdict = machine.body("x");
    assert_eq!((verdict.verdict, verdict.is_final), (Outcome::Pass, true));
    let quiet = feed(&mut machine, passed..passed + 30, 1.0);
    assert_eq!(bodies(&machine, EventKind::WatchAlarm).len(), 0);
    feed(&mut machine, quiet..passed + 60, 1.4);
    let told = machine.told("x");
    let expected = [
        "analysis.started",
        "verdict.changed",
        "verdict.final",
        "watch.alarm",
        "watch.ended",
    ];
    assert_eq!(
        told, expected,
        "one alarm a check, and the end of the watch"
    );
    let body = &bodies(&machine, EventKind::WatchAlarm)[0];
    let watch = body.watch.as_ref().expect("a watch");
    assert_eq!(watch.checks, ["duration"]);
    assert_eq!((watch.for_secs, watch.ended), (600.0, false));
    let alarm = &watch.alarms[0];
    // Thirty good ticks, and a shift by a sixth of the tolerated ratio within a few more.
    assert!((310.0..360.0).contains(&alarm.after_secs), "{alarm:?}");
    assert!(
        alarm.message.contains("beyond the tolerance of 20% higher"),
        "{alarm:?}"
    );
    assert!(alarm.message.contains("every 720h"), "{alarm:?}");
    // The verdict and all it says stay what they were.
    let after = VerdictBody {
        watch: verdict.watch.clone(),
        ..machine.body("x")
    };
    assert_eq!(after, verdict);
    assert_eq!(after.decision, Decision::Promote);
    // And then it is over.
    let late = sample(
        "x",
        "duration",
        Arm::Canary,
        900.0,
        crate::machine::values(vec![1.0]),
    );
    let refused = machine.silently(900.0).send(vec![late]).refused;
    assert_eq!(refused[0].code, "analysis_final");
}

#[test]
fn a_watch_replays_as_it_was() {
    let mut machine = Machine::running("x", &watched());
    let quiet = feed(&mut machine, 0..20, 1.0);
    feed(&mut machine, quiet..30, 1.5);
    let lines = machine.recording("x");
    let mut again = Vec::new();
    recording::play(lines.iter().map(String::as_str), None, |effects| {
        again.extend(effects);
    })
    .expect("it plays");
    let told = |effects: &[davy::engine::Effect]| -> Vec<(u64, String)> {
        let events = effects.iter().filter_map(|effect| match effect {
            davy::engine::Effect::Event(event) => {
                let body = serde_json::to_string(&*event.body).expect("JSON");
                Some((event.sequence, body))
            }
            _ => None,
        });
        events.collect()
    };
    assert!(bodies(&machine, EventKind::WatchAlarm).len() == 1);
    assert_eq!(told(&machine.effects), told(&again));
}

#[test]
fn limits_are_watched_without_a_baseline_and_alarm_rules_go_on() {
    let plan = plan(&format!(
        "horizon: 10m\ntick: 10s\nlateness: 0s\nmin_duration: 1m\n{WATCH}\
        metrics: {{errors: {{kind: ratio}}}}\nchecks:\n\
        - {{name: limit, threshold: errors, limit: '< 5%'}}\n\
        - {{name: alarm, threshold: errors, limit: '< 20%', breach: {{periods: 2, of: 3}}}}\n\
        - {{name: shadow, threshold: errors, limit: '< 1%', gating: false}}\n"
    ));
    let mut machine = Machine::running("x", &plan);
    let mut feed = |ticks: std::ops::Range<usize>, bad: u64| {
        for tick in ticks {
            let secs = tick as f64 * TICK_SECS + 5.0;
            let reading = Reading::Ratio { bad, total: 1_000 };
            let canary = sample("x", "errors", Arm::Canary, secs, reading);
            machine.silently(secs).send(vec![canary]);
            machine.clock((tick + 2) as f64 * TICK_SECS);
        }
        machine.body("x")
    };
    let passed = feed(0..6, 10);
    assert_eq!((passed.verdict, passed.is_final), (Outcome::Pass, true));
    let watch = feed(6..20, 90).watch.expect("a watch");
    let alarms: Vec<&str> = watch
        .alarms
        .iter()
        .map(|alarm| alarm.check.as_str())
        .collect();
    assert_eq!(
        alarms,
        ["limit"],
        "the rule allows 20 %, and shadows do not speak"
    );
    let watch = feed(20..23, 250).watch.expect("a watch");
    let alarms: Vec<&str> = watch
        .alarms
        .iter()
        .map(|alarm| alarm.check.as_str())
        .collect();
    assert_eq!(alarms, ["limit", "alarm"]);
    assert!(
        watch.alarms[1]
            .message
            .contains("an alarm rule, not a test")
    );
}

#[test]
fn a_newer_revision_ends_the_watch() {
    let of = |revision: &str| Change {
        service: Some("shop".to_owned()),
        revision: Some(revision.to_owned()),
        ..Change::default()
    };
    let mut machine = Machine::new();
    let mut first = start("x", &watched());
    first.change = of("r1");
    machine.start(first).expect("it starts");
    feed(&mut machine, 0..14, 1.0);
    assert!(machine.body("x").watch.is_some_and(|watch| !watch.ended));
    let mut second = start("y", &watched());
    second.change = of("r2");
    machine.start(second).expect("it starts");
    let body = machine.body("x");
    assert!(body.watch.is_some_and(|watch| watch.ended));
    assert_eq!(body.verdict, Outcome::Pass);
    assert_eq!(machine.told("x").last(), Some(&"watch.ended"));
}

#[test]
fn false_alarms_are_as_rare_as_the_plan_says() {
    // Two checks exactly on their boundaries: the mean time to the first alarm of either, of runs
    // that are cut at six times what is promised, which only shortens it.
    let (every, runs) = (100_usize, 40_u64);
    let plan = plan(
        "horizon: 60s\ntick: 1s\nlateness: 0s\nmin_duration: 1s\nwatch: {for: 600s, false_alarms_every: 100s}\n\
        metrics: {errors: {kind: ratio}, time: {kind: latency}}\nchecks:\n\
        - {threshold: errors, limit: '< 2%'}\n- {compare: time, tolerance: 0%}\n",
    );
    let mut lengths = Vec::new();
    for run in 0..runs {
        let mut stream = Stream::new(&seed_from("watch", "null"), run);
        let mut judge = Judge::seeded(plan.clone(), Detail::Outcome, &format!("run {run}"));
        let mut scratch = Scratch::default();
        let mut tick = |index: usize| {
            let bad = (0..100).filter(|_| stream.uniform() < 0.02).count() as u64;
            let errors = Cell {
                bad,
                total: 100,
                samples: 100,
                ..Cell::default()
            };
            let mut values = || Cell {
                values: (0..20).map(|_| stream.normal()).collect(),
                samples: 20,
                ..Cell::default()
            };
            let cells = vec![[Cell::default(), errors], [values(), values()]];
            ClosedTick { index, cells }
        };
        for index in 0..10 {
            judge.close_and_look(&tick(index), &mut scratch);
        }
        judge.begin_watching();
        let cut = 6 * every;
        let alarm = (1..cut).find(|&after| {
            let closed = tick(10 + after);
            !judge
                .close_and_watch(&closed, plan.watch.expect("a watch").false_alarms_every)
                .is_empty()
        });
        lengths.push(alarm.unwrap_or(cut) as f64);
    }
    let mean = lengths.iter().sum::<f64>() / runs as f64;
    println!("mean time to a false alarm: {mean:.0} ticks, where {every} were promised");
    assert!(mean >= every as f64, "{mean}");
    assert!(
        mean < 6.0 * every as f64,
        "an alarm that never comes is no detector"
    );
}
