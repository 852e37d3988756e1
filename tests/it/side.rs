//! The sequential test that all checks share: what scratch memory must never do to it.

use davy::judge::scratch::Scratch;
use davy::judge::side::{Adjust, Look, Side, Spending};
use davy::stats::sampler::{Stream, seed_from};

fn side() -> Side {
    let spending = Spending {
        level: 0.05,
        looks_planned: 20,
        first_look: 1,
        elsewhere: 0.0,
        reserve: 0.0,
        looks_beyond: 0,
    };
    Side::new(seed_from("plan", "side"), spending, spending)
}

/// Scores with a drift, so that thresholds are simulated early and often.
fn scores(name: &str, variance: f64) -> Vec<(f64, f64)> {
    let mut stream = Stream::new(&seed_from("data", name), 0);
    (0..20)
        .map(|i| {
            let variance = variance * f64::from(1 + i % 3);
            (variance.sqrt() * (stream.normal() + 0.6), variance)
        })
        .collect()
}

fn alone(scores: &[(f64, f64)]) -> Vec<Look> {
    let (mut side, mut scratch) = (side(), Scratch::default());
    scores
        .iter()
        .map(|&(score, variance)| {
            side.push_gaussian(score, variance);
            side.look(Adjust::NONE, &mut scratch)
        })
        .collect()
}

#[test]
fn analyses_on_one_plan_share_a_seed_and_scratch_but_never_thresholds() {
    let data = [scores("first", 3.0), scores("second", 700.0)];
    let expected = [alone(&data[0]), alone(&data[1])];
    assert!(
        expected.iter().flatten().any(|look| look.fail),
        "the screen must be passed"
    );
    let (mut sides, mut scratch) = ([side(), side()], Scratch::default());
    for tick in 0..20 {
        for (index, side) in sides.iter_mut().enumerate() {
            let (score, variance) = data[index][tick];
            side.push_gaussian(score, variance);
            assert_eq!(side.look(Adjust::NONE, &mut scratch), expected[index][tick]);
        }
    }
}
