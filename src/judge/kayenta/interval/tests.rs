//! The merge against ranks by counting, and the interval's symmetries.

use super::*;
use crate::stats::sampler::{Stream, seed_from};
use proptest::prelude::*;

/// Ranks by counting all pairs, straight from the definition.
fn by_counting(baseline: &[f64], canary: &[f64], shift: f64) -> Result<f64, AllTied> {
    let moved: Vec<f64> = canary.iter().map(|value| value - shift).collect();
    let all: Vec<f64> = moved.iter().chain(baseline).copied().collect();
    let (m, n) = (canary.len() as f64, baseline.len() as f64);
    let rank = |value: f64| {
        let below = all.iter().filter(|&&other| other < value).count() as f64;
        let equal = all.iter().filter(|&&other| other == value).count() as f64;
        below + (equal + 1.0) / 2.0
    };
    let sum: f64 = moved.iter().map(|&value| rank(value)).sum();
    // Each value of a group of t adds t^2 - 1, the group t^3 - t.
    let ties: f64 = all
        .iter()
        .map(|&value| {
            let equal = all.iter().filter(|&&other| other == value).count() as f64;
            equal * equal - 1.0
        })
        .sum();
    let centred = sum - m * (m + 1.0) / 2.0 - m * n / 2.0;
    let scale = m * n / 12.0 * ((m + n + 1.0) - ties / ((m + n) * (m + n - 1.0)));
    if scale == 0.0 {
        return Err(AllTied);
    }
    let correction = if centred == 0.0 {
        0.0
    } else {
        0.5 * centred.signum()
    };
    Ok((centred - correction) / scale.sqrt())
}

fn interval(baseline: &[f64], canary: &[f64]) -> Result<Interval, AllTied> {
    Sides::new(baseline, canary).expect("values").interval(0.98)
}

fn coarse_values(len: usize) -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![
        (-6..6_i32).prop_map(f64::from),
        (-40..40_i32).prop_map(|i| f64::from(i) / 8.0),
        -5.0..5.0_f64,
    ];
    prop::collection::vec(value, 1..len)
}

proptest! {
    #[test]
    fn a_merge_ranks_as_counting_does(
        baseline in coarse_values(20), canary in coarse_values(20), shift in -3.0..3.0_f64,
    ) {
        for shift in [shift, shift.round(), 0.0] {
            let mut sides = Sides::new(&baseline, &canary).expect("values");
            let (merged, counted) = (sides.standardised(shift), by_counting(&baseline, &canary, shift));
            match (merged, counted) {
                (Ok(merged), Ok(counted)) => prop_assert!((merged - counted).abs() < 1e-9, "{merged} {counted}"),
                (merged, counted) => prop_assert_eq!(merged, counted),
            }
        }
    }

    #[test]
    fn the_order_of_values_says_nothing(
        baseline in coarse_values(30), canary in coarse_values(30),
    ) {
        let turned = |values: &[f64]| values.iter().rev().copied().collect::<Vec<f64>>();
        prop_assert_eq!(
            interval(&baseline, &canary),
            interval(&turned(&baseline), &turned(&canary))
        );
    }

    #[test]
    fn a_whole_shift_of_the_canary_shifts_everything(
        baseline in coarse_values(30), canary in coarse_values(30),
    ) {
        // Eighths and a shift by 64 lose no bits; -0.0 would, which ranks below 0.0.
        let eighths = |values: &[f64]| values.iter().map(|v| (v * 8.0).round() / 8.0 + 0.0).collect::<Vec<f64>>();
        let (baseline, canary) = (eighths(&baseline), eighths(&canary));
        let moved: Vec<f64> = canary.iter().map(|value| value + 64.0).collect();
        if let (Ok(here), Ok(there)) = (interval(&baseline, &canary), interval(&baseline, &moved)) {
            for (here, there) in [(here.low, there.low), (here.high, there.high), (here.estimate, there.estimate)] {
                prop_assert!((here + 64.0 - there).abs() < 1e-3, "{here} {there}");
            }
        }
    }
}

#[test]
fn exchanged_sides_give_the_mirrored_interval() {
    // Brent walks another way, so the ends agree to its tolerance, not to the bit.
    let mut stream = Stream::new(&seed_from("kayenta", "swap"), 0);
    for round in 0..40_usize {
        let mut side = |shift: f64| -> Vec<f64> {
            let len = 5 + round;
            (0..len)
                .map(|_| 100.0 + shift + 5.0 * stream.normal())
                .collect()
        };
        let (baseline, canary) = (side(0.0), side(3.0));
        let there = interval(&baseline, &canary).expect("not tied");
        let back = interval(&canary, &baseline).expect("not tied");
        assert!((there.low + back.high).abs() < 3e-4, "{there:?} {back:?}");
        assert!((there.high + back.low).abs() < 3e-4, "{there:?} {back:?}");
    }
}

#[test]
fn the_ends_lie_at_differences_of_values() {
    let mut stream = Stream::new(&seed_from("kayenta", "differences"), 0);
    let baseline: Vec<f64> = (0..40).map(|_| 10.0 * stream.normal()).collect();
    let canary: Vec<f64> = (0..30).map(|_| 4.0 + 10.0 * stream.normal()).collect();
    let found = interval(&baseline, &canary).expect("not tied");
    let nearest = |end: f64| {
        let differences = canary
            .iter()
            .flat_map(|c| baseline.iter().map(move |b| c - b));
        differences.fold(f64::INFINITY, |least, d| least.min((d - end).abs()))
    };
    assert!(nearest(found.low) < 1e-4 && nearest(found.high) < 1e-4);
    assert!(found.low < found.estimate && found.estimate < found.high);
}

#[test]
fn few_values_give_their_whole_range() {
    let found = interval(&[1.0, 2.0], &[10.0, 12.0]).expect("not tied");
    assert_eq!((found.low, found.high), (8.0, 11.0));
    assert_eq!(found.estimate, 9.5);
}

#[test]
fn one_value_a_side_ties_where_the_shift_is_exact() {
    assert_eq!(interval(&[4.0], &[5.0]), Err(AllTied));
}

#[test]
fn one_infinite_value_makes_both_ends_infinite() {
    let baseline: Vec<f64> = (0..20).map(f64::from).collect();
    let mut canary = baseline.clone();
    canary[7] = f64::INFINITY;
    let found = interval(&baseline, &canary).expect("not tied");
    assert_eq!((found.low, found.high), (f64::INFINITY, f64::INFINITY));
}

#[test]
fn zeros_of_both_signs_are_apart() {
    assert!(key(-0.0) < key(0.0) && key(-1.0) < key(-0.0) && key(0.0) < key(1e-300));
    assert!(key(f64::NEG_INFINITY) < key(-1e300) && key(1e300) < key(f64::INFINITY));
}
