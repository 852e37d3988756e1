//! Ticks that are asked for again, and queries that give nothing: what the engine tells of them.

use davy::engine::pull::PullOutcome;
use davy::model::Arm;
use davy::plan::query::Part;

use super::taking::{DEPTH, ERRORS, Written, answered, close, hand, machine};
use crate::machine::{Machine, at};

#[test]
fn a_point_of_a_tick_that_closed_since_is_late_only_where_it_is_new() {
    let (mut machine, _) = machine(DEPTH, 10);
    let of = |arm, points| -> Written<'_> { (arm, Part::Points, &[], points) };
    let late = |machine: &Machine| {
        let analysis = machine.state.analysis("a").expect("there");
        analysis.view().received[0].late
    };
    machine.now = at(2.1);
    hand(&mut machine, PullOutcome::NotAsked);
    let first: [(i64, f64); 2] = [(0, 5.0), (1, f64::NAN)];
    hand(&mut machine, answered(&[of(Arm::Baseline, &first)]));
    // All is asked for again, and the first two ticks close before the answer is here.
    hand(&mut machine, PullOutcome::NotAsked);
    close(&mut machine, 2);
    let again: [(i64, f64); 3] = [(0, 5.0), (1, f64::NAN), (2, 5.0)];
    let series = [of(Arm::Baseline, &again), of(Arm::Canary, &again)];
    let (_, ingested) = hand(&mut machine, answered(&series));
    assert_eq!((ingested.duplicate, ingested.late), (2, 2), "{ingested:?}");
    assert_eq!(late(&machine), 2, "the canary's, which are new");
    // What closed is asked for no more, and so not remembered.
    hand(&mut machine, PullOutcome::NotAsked);
    hand(&mut machine, answered(&series));
    let (_, ingested) = hand(&mut machine, answered(&series));
    assert_eq!((ingested.duplicate, ingested.late), (2, 4), "{ingested:?}");
}

#[test]
fn queries_that_have_matched_no_series_are_told_where_the_source_answers() {
    let hint = |machine: &Machine| {
        let analysis = machine.state.analysis("a").expect("there");
        analysis.view().received[0].hint.clone().unwrap_or_default()
    };
    let (mut machine, _) = machine(ERRORS, 10);
    machine.now = at(1.1);
    hand(&mut machine, PullOutcome::Failed("answered 503".to_owned()));
    assert_eq!(hint(&machine), "", "a source that fails says so itself");
    let points: [(i64, f64); 2] = [(-1, 0.0), (0, 10.0)];
    let of = |arm| -> Written<'_> { (arm, Part::Total, &[], &points) };
    for (series, about, query) in [
        (vec![], "either arm", "all{ version=\"new\\\"\" }"),
        (
            vec![of(Arm::Canary)],
            "the baseline",
            "all{ version=\"old\" }",
        ),
    ] {
        hand(&mut machine, answered(&series));
        let told = hint(&machine);
        let about = format!("about {about} have returned no series so far");
        assert!(told.contains(&about) && told.contains(query), "{told}");
    }
    hand(&mut machine, answered(&[of(Arm::Baseline)]));
    hand(&mut machine, answered(&[]));
    let told = hint(&machine);
    assert!(told.starts_with("no series that `bad`"), "{told}");
}
