//! The sequential test that all checks share: what scratch memory must never do to it,
//! and what follows the exact recursion where counts grow too wide for it.

use davy::judge::scratch::Scratch;
use davy::judge::side::{Adjust, Look, Side, Spending};
use davy::stats::count_dp::CountDp;
use davy::stats::count_law::CountLaw;
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

/// Looks, all counts far below their means, with their exact and with Gaussian laws.
fn far_below(law: &CountLaw, looks: usize) -> [Vec<Look>; 2] {
    let (mut exact, mut gaussian, mut scratch) = (side(), side(), Scratch::default());
    let mut given = 0;
    let looks = (1..=looks).map(|look| {
        let (mean, variance) = (law.mean() * look as f64, law.variance() * look as f64);
        // In sixteenths.
        let x = libm::round(16.0 * (mean - 4.0 * variance.sqrt())) as i64;
        exact.push_count(x - given, law.clone());
        gaussian.push_gaussian((x - given) as f64 / 16.0 - law.mean(), law.variance());
        given = x;
        [&mut exact, &mut gaussian].map(|side| side.look(Adjust::NONE, &mut scratch))
    });
    let looks: Vec<[Look; 2]> = looks.collect();
    [0, 1].map(|of| looks.iter().map(|pair| pair[of]).collect())
}

#[test]
fn counts_too_wide_to_enumerate_go_on_as_gaussian_ones() {
    // A skewed law, both ways round: a twentieth of the traffic, 8 % of it beyond, some tied.
    let law = CountLaw::permutation_scores(5_000, 95_000, 7_800, 400, 9);
    for law in [law.clone(), law.negated()] {
        let CountLaw::Exact { lattice, .. } = &law else {
            panic!("a variance of {} is enumerated", law.variance());
        };
        let mut recursion = CountDp::lower();
        let fits = |look: &usize| {
            recursion
                .next(lattice, 0.05 * *look as f64 / 20.0)
                .is_some()
        };
        let last_exact = (1..20).take_while(fits).count();
        assert!((10..18).contains(&last_exact), "{last_exact}");
        let [exact, gaussian] = far_below(&law, last_exact + 2);
        let bound = |looks: &[Look], look: usize| looks[look - 1].pass_bound;
        // At the last look that is enumerated both bounds are the same to .03 standard
        // deviations, and from the next on there is one.
        let both = [&exact, &gaussian].map(|looks| bound(looks, last_exact));
        assert!(
            both[0] != both[1] && (both[0] - both[1]).abs() < 0.03,
            "{both:?}"
        );
        for look in [last_exact + 1, last_exact + 2] {
            assert_eq!(bound(&exact, look), bound(&gaussian, look));
            assert!(exact[look - 1].pass && !exact[look - 1].fail);
        }
    }
}
