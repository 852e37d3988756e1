//! What findings tell from look to look: one scale, and what is still missing.

use davy::judge::assumptions;
use davy::judge::verdict::Scale;
use davy::model::Outcome;

use super::{judged, of_point, of_ratio, of_values, one_check, stream};
use crate::machine::durations;

#[test]
fn a_two_part_tolerance_keeps_its_scale_while_the_level_wavers() {
    let plan = one_check(
        "kind: ratio",
        "compare: m, tolerance: {relative: 20%, absolute: 0.1pp}",
    );
    // At half a per cent both parts are equally large; the run's level crosses it again and again.
    let ticks =
        [6, 3, 6, 5, 4, 6, 4, 7, 3, 6, 4, 6, 4].map(|bad| [bad, bad].map(|b| of_ratio(b, 1_000)));
    let looks = judged(&plan, ticks);
    let scales: Vec<Scale> = looks.iter().map(|look| look.findings[0].scale).collect();
    assert_eq!(scales, vec![scales[0]; scales.len()]);
    assert_eq!(scales[0], Scale::OddsRatio);
    for look in &looks {
        assert_eq!(
            look.outcome,
            Outcome::Inconclusive,
            "too few to say anything"
        );
        let other = look.findings[0]
            .other_part
            .as_ref()
            .expect("the absolute part");
        assert_eq!(other.scale, Scale::Difference);
    }
    // A level that leaves the other part behind is another matter.
    let rising = (0..20_u64).map(|tick| [tick, tick].map(|bad| of_ratio(bad, 1_000)));
    let looks = judged(&plan, rising);
    let scales: Vec<Scale> = looks.iter().map(|look| look.findings[0].scale).collect();
    let changes = scales.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert_eq!((scales[1], changes), (Scale::Difference, 1), "{scales:?}");
}

#[test]
fn what_cannot_be_measured_yet_says_when_it_can() {
    let gauge = one_check("kind: gauge", "compare: m, tolerance: 20%");
    let points = |tick: usize| {
        let value = 100.0 + (tick * 7 % 5) as f64;
        [of_point(tick, value), of_point(tick, value + 1.0)]
    };
    for look in &judged(&gauge, (0..3).map(points)) {
        let finding = &look.findings[0];
        let needs = finding.needs.as_ref().expect("what is missing");
        assert!(needs.seconds.is_some_and(|secs| secs > 0.0), "{finding:?}");
        assert!(
            finding.message.contains("at the present rate"),
            "{}",
            finding.message
        );
    }

    // A p99 waits for 200 values of the baseline; 40 a look are five looks, and one to be tested.
    let tail = one_check("kind: latency", "compare: m, at: p99, tolerance: 25%");
    let mut stream = super::stream("warm up", 0);
    let ticks: Vec<_> = (0..3)
        .map(|_| [0, 1].map(|_| of_values(durations(&mut stream, 40, 50.0))))
        .collect();
    let looks = judged(&tail, ticks);
    let needs: Vec<Option<f64>> = looks
        .iter()
        .map(|look| {
            look.findings[0]
                .needs
                .as_ref()
                .and_then(|needs| needs.seconds)
        })
        .collect();
    assert_eq!(needs, [Some(5.0), Some(4.0), Some(3.0)]);
}

#[test]
fn where_nothing_can_be_told_the_message_says_so() {
    let plan = one_check("kind: ratio", "compare: m, tolerance: {absolute: 1pp}");
    // Exactly on the boundary there is no drift in either direction.
    let ticks = (0..5).map(|_| [of_ratio(10, 1_000), of_ratio(20, 1_000)]);
    let looks = judged(&plan, ticks);
    let finding = &looks[4].findings[0];
    assert_eq!(finding.needs, None, "{finding:?}");
    assert!(
        finding
            .message
            .ends_with("how much more it takes cannot be told yet"),
        "{}",
        finding.message
    );
}

#[test]
fn rounding_is_assumed_of_nobody_who_does_not_round() {
    const SPREAD: &str = "m: rounded values are spread evenly over their step";
    for (metric, step, is_assumed) in [
        ("kind: latency", 1.0, true),
        ("kind: latency", 1e-9, false),
        ("kind: latency, resolution: exact", 1.0, false),
        ("kind: latency, resolution: 2", 1.0, true),
    ] {
        let plan = one_check(metric, "compare: m, tolerance: 5%");
        let mut stream = stream("assumed", 0);
        let ticks = (0..3).map(|_| {
            [100.0, 100.0].map(|median| {
                let values = durations(&mut stream, 200, median).into_iter();
                of_values(values.map(|value| (value / step).round() * step).collect())
            })
        });
        let looks = judged(&plan, ticks);
        let findings = &looks.last().expect("a look").findings;
        let assumes = assumptions::of(&plan, findings);
        let says = assumes.iter().any(|text| text == SPREAD);
        assert_eq!(says, is_assumed, "{metric}, {step}: {assumes:?}");
    }
    // Before anything came, only what was declared is known.
    let plan = one_check("kind: latency", "compare: m, tolerance: 5%");
    assert_eq!(assumptions::of(&plan, &[]).len(), 1);
}

#[test]
fn units_and_calibration_are_assumed_together() {
    let both = one_check(
        "kind: ratio, cluster: {by: trace, lifetime: tick}",
        "compare: m, tolerance: 5%, dispersion: {factor: 2}",
    );
    let units = "m: units (trace) are independent within a tick";
    let calibrated = "samples vary no more over time than calibrated";
    assert_eq!(
        assumptions::of(&both, &[]),
        [format!("{units}, and {calibrated}")]
    );
    let alone = |metric, check| assumptions::of(&one_check(metric, check), &[]);
    let cluster = "kind: ratio, cluster: {by: trace, lifetime: tick}";
    assert_eq!(alone(cluster, "compare: m, tolerance: 5%"), [units]);
    let factor = "compare: m, tolerance: 5%, dispersion: {factor: 2}";
    assert_eq!(alone("kind: ratio", factor), [format!("m: {calibrated}")]);
}
