//! The rules one by one, and the stand-in for the noise against many draws of it.

use super::*;
use crate::plan::kayenta::{Measure, Thresholds};
use crate::stats::sampler::{Stream, seed_from};

fn ramp(from: f64, len: usize) -> Vec<f64> {
    (0..len).map(|i| from + i as f64 * 0.37).collect()
}

fn settings() -> Settings {
    Settings::default()
}

fn label(baseline: &[f64], canary: &[f64], settings: &Settings) -> Label {
    classify(baseline, canary, settings).label
}

#[test]
fn a_shift_is_seen_in_the_directions_asked_for() {
    let (low, high) = (ramp(10.0, 30), ramp(30.0, 30));
    let along = |direction| Settings {
        direction,
        ..settings()
    };
    for (direction, up, down) in [
        (Direction::Either, Label::High, Label::Low),
        (Direction::Increase, Label::High, Label::Pass),
        (Direction::Decrease, Label::Pass, Label::Low),
    ] {
        assert_eq!(label(&low, &high, &along(direction)), up);
        assert_eq!(label(&high, &low, &along(direction)), down);
    }
}

#[test]
fn missing_data_fail_pass_or_neither() {
    let some = ramp(1.0, 5);
    let with = |nan_strategy, critical, must_have_data| Settings {
        nan_strategy,
        critical,
        must_have_data,
        ..settings()
    };
    for (critical, must_have, expected, flag) in [
        (false, false, Label::Nodata, false),
        (true, false, Label::Nodata, true),
        (false, true, Label::NodataFailMetric, false),
        (true, true, Label::Nodata, true),
    ] {
        for (baseline, canary) in [(&some[..], &[][..]), (&[], &some), (&[], &[])] {
            let found = classify(
                baseline,
                canary,
                &with(NanStrategy::Remove, critical, must_have),
            );
            assert_eq!((found.label, found.critical), (expected, flag));
            assert_eq!(found.deviation, Some(1.0));
            let why = found.reason.expect("a reason").sentence("errors");
            assert_eq!(why, "Missing data for errors");
            let replaced = with(NanStrategy::Replace, critical, must_have);
            let found = classify(baseline, canary, &replaced);
            assert_eq!((found.label, found.critical), (Label::Pass, false));
        }
    }
}

#[test]
fn equal_values_pass_without_a_test() {
    let found = classify(&[1.0, 2.0, 3.0], &[3.0, 1.0, 2.0], &settings());
    assert_eq!(
        (found.label, found.reason),
        (Label::Pass, Some(Why::Identical))
    );
    assert!(found.evidence.is_none());
    let found = classify(&[0.0; 3], &[0.0, -0.0], &settings());
    assert_eq!((found.label, found.reason), (Label::Pass, None));
}

#[test]
fn the_effect_must_be_large_enough() {
    let (baseline, canary) = (ramp(100.0, 40), ramp(150.0, 40));
    let asks = |increase| Settings {
        allowed: Thresholds {
            increase,
            decrease: 1.0,
        },
        ..settings()
    };
    assert_eq!(label(&baseline, &canary, &asks(1.4)), Label::High);
    assert_eq!(label(&baseline, &canary, &asks(1.5)), Label::Pass);
    // Without a mean there is no ratio to ask about.
    assert_eq!(label(&[0.0; 30], &canary, &asks(1e9)), Label::High);
    let cles = Settings {
        measure: Measure::Cles,
        ..asks(0.9)
    };
    assert_eq!(label(&baseline, &canary, &cles), Label::High);
    let overlapping = ramp(102.0, 40);
    assert_eq!(label(&baseline, &overlapping, &cles), Label::Pass);
}

#[test]
fn criticality_has_thresholds_of_its_own() {
    let (baseline, canary) = (ramp(100.0, 40), ramp(150.0, 40));
    let at = |increase| Settings {
        critical: true,
        critical_at: Thresholds {
            increase,
            decrease: 1.0,
        },
        ..settings()
    };
    let found = classify(&baseline, &canary, &at(1.3));
    assert_eq!((found.label, found.critical), (Label::High, true));
    let why = found.reason.expect("a reason").sentence("p99");
    assert_eq!(why, "The metric p99 was classified as High (Critical)");
    let found = classify(&baseline, &canary, &at(2.0));
    assert_eq!((found.label, found.critical), (Label::High, false));
    assert_eq!(found.reason, Some(Why::Differs(Label::High)));
}

#[test]
fn what_cannot_be_ranked_is_an_error_that_fails_nothing() {
    let critical = Settings {
        critical: true,
        ..settings()
    };
    let found = classify(&[4.0], &[5.0], &critical);
    assert_eq!((found.label, found.critical), (Label::Error, false));
    assert_eq!((found.deviation, found.evidence), (None, None));
}

/// Labels of the same values under noise of other seeds: what Kayenta may answer.
fn frequencies(baseline: &[f64], canary: &[f64]) -> Vec<(Label, usize)> {
    let mut counts: Vec<(Label, usize)> = Vec::new();
    for draw in 0..400 {
        let mut stream = Stream::new(&seed_from("kayenta", "other draws"), draw);
        let mut noisy = |values: &[f64]| -> Vec<f64> {
            let scale = 1e-5 * values[0];
            values.iter().map(|v| v + scale * stream.normal()).collect()
        };
        let (baseline, canary) = (noisy(baseline), noisy(canary));
        let label = tested(&baseline, &canary, &settings()).label;
        match counts.iter_mut().find(|(known, _)| *known == label) {
            Some((_, times)) => *times += 1,
            None => counts.push((label, 1)),
        }
    }
    counts.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    counts
}

#[test]
fn constant_sides_get_the_label_that_noise_gives_most_often() {
    let sides = |value: f64, len: usize| vec![value; len];
    let cases = [
        (sides(1.0, 2), sides(1.00005, 2)),
        (sides(1.0, 1), sides(10.0, 1)),
        (sides(10.0, 1), sides(1.0, 1)),
        (sides(5.0, 1), sides(6.0, 1)),
        (sides(0.0, 5), sides(10.0, 5)),
        (sides(0.0, 1), sides(10.0, 1)),
        (sides(10.0, 5), sides(1.0, 5)),
        (sides(1.0, 60), sides(1.0000001, 60)),
        (sides(1e6, 60), sides(1e6 + 0.1, 60)),
        (sides(1e6, 60), sides(1e6 + 500.0, 60)),
        (sides(-3.0, 8), sides(-9.0, 12)),
    ];
    for (baseline, canary) in cases {
        let found = frequencies(&baseline, &canary);
        let (most, times) = found[0];
        let told = label(&baseline, &canary, &settings());
        // Where noise leaves it open, either is as good.
        if times > 320 {
            assert_eq!(told, most, "{} {}: {found:?}", baseline[0], canary[0]);
        }
        assert_eq!(told, label(&baseline, &canary, &settings()));
    }
    assert_eq!(frequencies(&[1.0; 2], &[1.00005; 2])[0].0, Label::High);
    assert_eq!(label(&[1.0], &[10.0], &settings()), Label::High);
    assert_eq!(label(&[5.0], &[6.0], &settings()), Label::Error);
}
