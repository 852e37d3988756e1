//! What the engine takes of what was pulled: once, all of a metric or none, and within limits.

use davy::engine::pull::{Pull, PullOutcome, PullProgress, PulledMetric, PulledPart, PulledView};
use davy::engine::{Effect, Ingested, Input, Limits, RefusalCode};
use davy::judge::verdict::VerdictBody;
use davy::model::series::{Point, PointValue, SeriesBatch, SeriesKind};
use davy::model::{Arm, Outcome, Reason};
use davy::plan::query::Part;

use crate::machine::{Machine, START, at, plan, start};

const SHAPE: &str = "horizon: 1m\ntick: 1s\nlateness: 2s\nmin_duration: 5s\n\
    arms: {baseline: 'version=\"old\"', canary: 'version=\"{{canary}}\"'}\n";
pub const ERRORS: &str = "metrics:\n  errors: {kind: ratio, prometheus: {bad: 'failed{ {{arm}} }', total: 'all{ {{arm}} }'}}\n\
    checks: [{compare: errors, tolerance: {relative: 20%, absolute: 1pp}}]\n";
const SLOW: &str = "metrics:\n  slow: {kind: ratio, above: {bound: 0.25}, prometheus: 'took_bucket{ {{arm}} }'}\n\
    checks: [{compare: slow, tolerance: {relative: 20%, absolute: 1pp}}]\n";
const TOOK: &str = "metrics:\n  took: {kind: latency, from: histogram, prometheus: 'took_bucket{ {{arm}} }'}\n\
    checks: [{threshold: took, at: p90, limit: '< 0.25'}]\n";
pub const DEPTH: &str = "metrics:\n  depth: {kind: gauge, prometheus: 'depth{ {{arm}} }'}\n\
    checks: [{compare: depth, tolerance: 20%}]\n";

pub fn machine(plan_text: &str, series_max: usize) -> (Machine, Pull) {
    let mut machine = Machine::limited(Limits {
        abandoned_after: i64::MAX,
        pulls: true,
        series_max,
        ..Limits::default()
    });
    let mut begin = start("a", &plan(&format!("{SHAPE}{plan_text}")));
    begin.arms.insert("canary".to_owned(), "new\"".to_owned());
    machine.start(begin).expect("starts");
    let pulls = machine.effects.iter().find_map(|effect| match effect {
        Effect::Pull(pull) => Some((**pull).clone()),
        _ => None,
    });
    (machine, pulls.expect("it is to be pulled"))
}

/// One series: whose, for what, its labels, and points by tick (-1: just before the start).
pub type Written<'w> = (Arm, Part, &'w [(&'w str, &'w str)], &'w [(i64, f64)]);

pub fn answered(series: &[Written<'_>]) -> PullOutcome {
    let mut answers: Vec<PulledPart> = Vec::new();
    for (arm, part, labels, points) in series {
        let same = |known: &&mut PulledPart| known.arm == *arm && known.part == *part;
        let answer = match answers.iter_mut().find(same) {
            Some(answer) => answer,
            None => {
                answers.push(PulledPart {
                    arm: *arm,
                    part: *part,
                    batch: SeriesBatch::default(),
                });
                answers.last_mut().expect("just added")
            }
        };
        let labels = [("__name__", "m")]
            .into_iter()
            .chain(labels.iter().copied());
        let begun = answer.batch.begin(labels, SeriesKind::Unknown);
        begun.expect("good labels");
        for (tick, value) in *points {
            answer.batch.point(Point {
                ts: START.plus((tick + 1) * 1_000 - 1),
                start: None,
                value: if value.is_nan() {
                    PointValue::Stale
                } else {
                    PointValue::Number(*value)
                },
            });
        }
    }
    PullOutcome::Answered {
        answers,
        warning: None,
    }
}

pub fn hand(machine: &mut Machine, outcome: PullOutcome) -> (PullProgress, Ingested) {
    let effects = machine.apply(Input::Pulled(Box::new(PulledMetric {
        analysis: "a".to_owned(),
        metric: 0,
        outcome,
    })));
    let mut told = (PullProgress::default(), Ingested::default());
    for effect in effects {
        match effect {
            Effect::Pulled(progress) => told.0 = progress,
            Effect::Ingested(ingested) => told.1 = ingested,
            _ => {}
        }
    }
    told
}

pub fn close(machine: &mut Machine, ticks: i64) {
    machine.now = START.plus(ticks * 1_000 + 2_000 + 1_000);
    machine.apply(Input::Tick);
}

fn counts(body: &VerdictBody) -> [u64; 2] {
    let samples = &body.checks[0].samples;
    [samples.baseline, samples.canary]
}

fn health(machine: &Machine) -> PulledView {
    let analysis = machine.state.analysis("a").expect("it is there");
    analysis.view().pulled[0].clone()
}

#[test]
fn queries_are_filled_for_both_arms() {
    let (_, pull) = machine(ERRORS, 10);
    assert_eq!((pull.origin, pull.tick), (START, 1_000));
    let queries: Vec<(Arm, Part, &str)> = pull.metrics[0]
        .queries
        .iter()
        .map(|query| (query.arm, query.part, query.text.as_str()))
        .collect();
    let new = "{ version=\"new\\\"\" }";
    assert_eq!(
        queries,
        [
            (Arm::Baseline, Part::Bad, "failed{ version=\"old\" }"),
            (Arm::Baseline, Part::Total, "all{ version=\"old\" }"),
            (Arm::Canary, Part::Bad, &*format!("failed{new}")),
            (Arm::Canary, Part::Total, &*format!("all{new}")),
        ]
    );
}

#[test]
fn a_missing_variable_refuses_the_start_where_somebody_pulls() {
    for (pulls, refused) in [(true, Some(RefusalCode::ArmVariableMissing)), (false, None)] {
        let mut machine = Machine::limited(Limits {
            pulls,
            ..Limits::default()
        });
        let text = "arms: {baseline: 'v=\"old\"', canary: 'v=\"new\"'}\nhorizon: 1m\ntick: 1s\n\
            metrics: {depth: {kind: gauge, prometheus: 'd{ {{arm}}, x=\"{{canary}}\" }'}}\n\
            checks: [{compare: depth, tolerance: 20%}]\n";
        let mut begin = start("a", &plan(text));
        begin.arms.clear();
        let error = machine.start(begin).err();
        assert_eq!(error.map(|refusal| refusal.code), refused);
        let is_pull = |effect: &Effect| matches!(effect, Effect::Pull(_));
        assert!(!machine.effects.iter().any(is_pull));
    }
}

#[test]
fn totals_count_from_just_before_the_start_across_resets_and_once() {
    let (mut machine, _) = machine(ERRORS, 10);
    let series: [Written<'_>; 6] = [
        (
            Arm::Baseline,
            Part::Total,
            &[("pod", "a")],
            &[(-1, 100.0), (0, 150.0), (1, 180.0)],
        ),
        // Another pod, which starts anew in the second tick.
        (
            Arm::Baseline,
            Part::Total,
            &[("pod", "b")],
            &[(-1, 500.0), (0, 510.0), (1, 7.0)],
        ),
        (
            Arm::Baseline,
            Part::Bad,
            &[("pod", "a")],
            &[(-1, 3.0), (0, 4.0), (1, 4.0)],
        ),
        (
            Arm::Canary,
            Part::Total,
            &[("pod", "c")],
            &[(-1, 0.0), (0, 90.0), (1, 100.0)],
        ),
        // Came up later: what it counted before is not known.
        (
            Arm::Canary,
            Part::Total,
            &[("pod", "d")],
            &[(0, 1_000.0), (1, 1_010.0)],
        ),
        (
            Arm::Canary,
            Part::Bad,
            &[("pod", "c")],
            &[(0, 5.0), (1, 6.0)],
        ),
    ];
    machine.now = at(2.1);
    let (progress, ingested) = hand(&mut machine, answered(&series));
    assert_eq!(progress.open, Some((0, 60)));
    assert!(ingested.refused.is_empty(), "{ingested:?}");
    // The same again, as a tick that is open is asked for again: nothing is counted twice.
    let (_, again) = hand(&mut machine, answered(&series));
    assert_eq!((again.accepted, again.late), (0, 0), "{again:?}");
    assert_eq!(health(&machine).last_success, Some(at(2.1).millis()));
    close(&mut machine, 2);
    let body = machine.body("a");
    assert_eq!(counts(&body), [50 + 30 + 10 + 7, 90 + 10 + 10]);
    let recorded = machine.recording("a");
    let bad: u64 = recorded
        .iter()
        .flat_map(|line| line.match_indices("\"bad\":"))
        .count() as u64;
    assert!(bad >= 4, "readings are recorded: {recorded:?}");
}

#[test]
fn what_a_gap_hid_is_not_put_into_one_tick() {
    let (mut machine, _) = machine(ERRORS, 10);
    let of = |arm, points| -> Written<'_> { (arm, Part::Total, &[], points) };
    let first: [(i64, f64); 2] = [(-1, 0.0), (0, 10.0)];
    machine.now = at(1.1);
    hand(
        &mut machine,
        answered(&[of(Arm::Baseline, &first), of(Arm::Canary, &first)]),
    );
    // The source is down until the first six ticks are closed.
    machine.now = at(9.0);
    machine.apply(Input::Tick);
    let (progress, _) = hand(&mut machine, PullOutcome::NotAsked);
    assert_eq!(progress.open, Some((6, 60)));
    let later: [(i64, f64); 3] = [(5, 60.0), (6, 70.0), (7, 80.0)];
    let (_, ingested) = hand(
        &mut machine,
        answered(&[of(Arm::Baseline, &later), of(Arm::Canary, &later)]),
    );
    assert_eq!((ingested.late, ingested.accepted), (2, 4));
    close(&mut machine, 8);
    assert_eq!(counts(&machine.body("a")), [30, 30], "ticks 0, 6 and 7");
}

#[test]
fn points_that_are_no_numbers_are_missing_and_late_ones_find_their_tick() {
    let (mut machine, _) = machine(DEPTH, 10);
    let of = |arm, points| -> Written<'_> { (arm, Part::Points, &[], points) };
    let gap: [(i64, f64); 3] = [(0, 5.0), (2, f64::NAN), (3, f64::INFINITY)];
    machine.now = at(4.1);
    let series = [of(Arm::Baseline, &gap), of(Arm::Canary, &gap)];
    let (_, ingested) = hand(&mut machine, answered(&series));
    assert_eq!(ingested.accepted, 6, "{ingested:?}");
    hand(&mut machine, answered(&series));
    // What the source had not stored yet comes with the next answer.
    let whole: [(i64, f64); 3] = [(1, 5.0), (2, f64::NAN), (3, f64::INFINITY)];
    let (_, ingested) = hand(
        &mut machine,
        answered(&[of(Arm::Baseline, &whole), of(Arm::Canary, &whole)]),
    );
    assert_eq!(
        (ingested.accepted, ingested.duplicate),
        (2, 4),
        "{ingested:?}"
    );
    let analysis = machine.state.analysis("a").expect("there");
    let received = &analysis.view().received[0];
    assert_eq!(
        (received.baseline, received.canary, received.missing),
        (2, 2, 4)
    );
}

#[test]
fn buckets_are_taken_at_the_bound_or_not_at_all() {
    let bucket = |arm,
                  le: &'static [(&'static str, &'static str)],
                  points: &'static [(i64, f64)]|
     -> Written<'static> { (arm, Part::Buckets, le, points) };
    let (mut machine, _) = machine(SLOW, 10);
    let mut series = Vec::new();
    for arm in Arm::BOTH {
        series.push(bucket(arm, &[("le", "0.1")], &[(-1, 0.0), (0, 500.0)]));
        series.push(bucket(arm, &[("le", "0.250")], &[(-1, 0.0), (0, 900.0)]));
        series.push(bucket(arm, &[("le", "+Inf")], &[(-1, 0.0), (0, 1_000.0)]));
    }
    machine.now = at(1.1);
    let (_, ingested) = hand(&mut machine, answered(&series));
    assert_eq!(ingested.accepted, 8, "the bucket at 0.1 is not needed");
    let without: Vec<Written<'_>> = series
        .iter()
        .copied()
        .filter(|(arm, _, labels, _)| *arm == Arm::Baseline || labels[0].1 != "0.250")
        .collect();
    hand(&mut machine, answered(&without));
    let health = health(&machine);
    assert_eq!(health.failures, 1);
    let error = health.last_error.expect("told");
    assert!(
        error.contains("le=\"0.25\"") && error.contains("+Inf, 0.1"),
        "{error}"
    );
    close(&mut machine, 1);
    assert_eq!(counts(&machine.body("a")), [1_000, 1_000]);
    let recording = machine.recording("a").join("\n");
    let good = recording.matches(r#""bounds":[0.25,"inf"],"counts":[900,1000]"#);
    assert_eq!(good.count(), 2, "{recording}");
}

#[test]
fn a_distribution_is_taken_from_its_buckets() {
    let (mut machine, _) = machine(TOOK, 10);
    let mut series: Vec<Written<'_>> = Vec::new();
    for arm in Arm::BOTH {
        for (le, count) in [
            ("0.1", &[(-1, 10.0), (0, 510.0)]),
            ("0.25", &[(-1, 20.0), (0, 920.0)]),
        ] {
            let labels: &[_] = if le == "0.1" {
                &[("le", "0.1")]
            } else {
                &[("le", "0.25")]
            };
            series.push((arm, Part::Buckets, labels, count));
        }
        let all: &[_] = &[(-1, 20.0), (0, 1_020.0)];
        series.push((arm, Part::Buckets, &[("le", "+Inf")], all));
    }
    machine.now = at(1.1);
    let (_, ingested) = hand(&mut machine, answered(&series));
    assert_eq!(ingested.accepted, 12);
    close(&mut machine, 1);
    let body = machine.body("a");
    assert_eq!(counts(&body), [1_000, 1_000]);
    assert_ne!(body.checks[0].reason, Reason::CoarseBuckets);
    let recording = machine.recording("a").join("\n");
    let upto = recording.matches(r#""bounds":[0.1,0.25,"inf"],"counts":[500,900,1000]"#);
    assert_eq!(upto.count(), 2, "{recording}");
}

#[test]
fn a_failure_is_shown_and_takes_nothing() {
    let (mut machine, _) = machine(ERRORS, 10);
    for _ in 0..3 {
        hand(
            &mut machine,
            PullOutcome::Failed("answered\n 503 ".to_owned()),
        );
    }
    let shown = health(&machine);
    assert_eq!(shown.failures, 3);
    assert_eq!(shown.last_error.as_deref(), Some("answered 503"));
    close(&mut machine, 60);
    let body = machine.body("a");
    assert_eq!((body.is_final, body.verdict), (true, Outcome::Inconclusive));
    assert_eq!(body.reason, Reason::NoTelemetry);
    let (progress, _) = hand(&mut machine, PullOutcome::NotAsked);
    assert_eq!(progress.open, None, "it takes no more");
}

#[test]
fn an_outage_that_lasts_is_stale_and_decides_nothing() {
    for bad_per_tick in [0.0, 1.0] {
        let (mut machine, _) = machine(ERRORS, 10);
        for tick in 0..60_i64 {
            machine.now = START.plus((tick + 1) * 1_000 + 100);
            machine.apply(Input::Tick);
            let totals = [tick - 1, tick].map(|tick| (tick, (tick + 1) as f64 * 10.0));
            let bad = totals.map(|(tick, total)| (tick, total / 10.0 * bad_per_tick));
            let outcome = match tick {
                0..8 => answered(&[
                    (Arm::Baseline, Part::Total, &[], &totals),
                    (Arm::Canary, Part::Total, &[], &totals),
                    (Arm::Canary, Part::Bad, &[], &bad),
                ]),
                _ => PullOutcome::Failed("answered 503".to_owned()),
            };
            hand(&mut machine, outcome);
        }
        close(&mut machine, 60);
        let body = machine.body("a");
        assert_eq!((body.is_final, body.verdict), (true, Outcome::Inconclusive));
        assert_eq!(body.reason, Reason::Stale);
        assert_eq!(counts(&body), [80, 80]);
        assert_eq!(health(&machine).failures, 52);
    }
}

#[test]
fn what_is_not_whole_is_told() {
    let (mut machine, _) = machine(ERRORS, 10);
    machine.now = at(1.1);
    let points: [(i64, f64); 2] = [(-1, 0.0), (0, 1.5)];
    hand(
        &mut machine,
        answered(&[(Arm::Canary, Part::Total, &[], &points)]),
    );
    let error = health(&machine).last_error.expect("told");
    assert!(error.contains("whole number"), "{error}");
}

#[test]
fn one_series_past_the_limit_and_none_of_the_metric_is_taken() {
    for (series_max, fits) in [(2, true), (1, false)] {
        let (mut machine, _) = machine(ERRORS, series_max);
        machine.now = at(1.1);
        let points: [(i64, f64); 2] = [(-1, 0.0), (0, 10.0)];
        let series = [
            (Arm::Baseline, Part::Total, &[][..], &points[..]),
            (Arm::Canary, Part::Total, &[][..], &points[..]),
        ];
        let (_, ingested) = hand(&mut machine, answered(&series));
        let codes: Vec<&str> = ingested
            .refused
            .iter()
            .map(|refused| refused.code)
            .collect();
        if fits {
            assert!(codes.is_empty(), "{codes:?}");
        } else {
            assert_eq!(codes, ["too_many_series"; 4]);
            let error = health(&machine).last_error.expect("told");
            assert!(error.contains("limits.series_max"), "{error}");
        }
    }
}

#[test]
fn a_recording_of_what_was_pulled_plays_to_the_same_verdict() {
    let (mut machine, _) = machine(ERRORS, 10);
    for tick in 0..20_i64 {
        let points = [
            (tick - 1, (tick * 1_000) as f64),
            (tick, ((tick + 1) * 1_000) as f64),
        ];
        let bad = points.map(|(tick, total)| (tick, total / 10.0));
        let series: [Written<'_>; 3] = [
            (Arm::Baseline, Part::Total, &[], &points),
            (Arm::Canary, Part::Total, &[], &points),
            (Arm::Canary, Part::Bad, &[], &bad),
        ];
        machine.now = START.plus((tick + 1) * 1_000 + 100);
        machine.apply(Input::Tick);
        if hand(&mut machine, answered(&series)).0.open.is_none() {
            break;
        }
    }
    let body = machine.body("a");
    assert_eq!((body.is_final, body.verdict), (true, Outcome::Fail));
    let recording = machine.recording("a");
    let mut last = None;
    let lines = recording.iter().map(String::as_str);
    let played = davy::engine::recording::play(lines, None, |effects| {
        for effect in effects {
            if let Effect::Event(event) = effect {
                last = Some(event.body);
            }
        }
    });
    assert!(played.expect("plays").is_final);
    let played = serde_json::to_string(&*last.expect("a verdict")).expect("plain data");
    assert_eq!(played, serde_json::to_string(&body).expect("plain data"));
}
