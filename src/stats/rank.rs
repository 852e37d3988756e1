//! The exact counts that rank statistics are made of, over sorted weighted samples.
//!
//! Owns counting: the doubled U, tie sums and mid-placements. Everything here is exact
//! integer arithmetic. It must not know of p-values or of what a canary is judged by: that is
//! [`super::mann_whitney`] and [`super::hodges_lehmann`]. Next: [`Sorted`], the
//! samples, and [`order_key`], how doubles are sorted.

mod order;
mod sorted;

pub use order::{from_order_key, order_key, sort_keys};
pub use sorted::{NotANumber, Sorted};

/// Twice the Mann-Whitney U of the canary over `map(baseline)`: two for every pair with
/// canary above, one for every tied pair. `map` must be monotone non-decreasing. Takes one pass
/// over the distinct values.
pub fn two_u(canary: &Sorted, baseline: &Sorted, map: impl Fn(f64) -> f64) -> i128 {
    let mut sum = 0_i128;
    let mut at = 0;
    let mut below = 0_u64;
    let values = baseline.values();
    for (value, weight) in canary.pairs() {
        while at < values.len() && map(values[at]) < value {
            below = below.saturating_add(baseline.weight(at));
            at += 1;
        }
        let equal = equal_weight(baseline, at, value, &map);
        let doubled = 2 * i128::from(below) + i128::from(equal);
        sum = sum.saturating_add(i128::from(weight).saturating_mul(doubled));
    }
    sum
}

/// Twice U as [`two_u`] has it, and the sum of `t^3 - t` as [`tie_sum`] has it.
pub fn two_u_and_tie_sum(
    canary: &Sorted,
    baseline: &Sorted,
    map: impl Fn(f64) -> f64 + Copy,
) -> (i128, i128) {
    merged_untied(canary, baseline, map)
        .unwrap_or_else(|| (two_u(canary, baseline, map), tie_sum(canary, baseline, map)))
}

/// Both sums where no arm ties within itself, from one merge without branches, which on mixed arms
/// would be guessed wrongly every other time. A tie then is a pair across the arms.
fn merged_untied(
    canary: &Sorted,
    baseline: &Sorted,
    map: impl Fn(f64) -> f64,
) -> Option<(i128, i128)> {
    // All are counted, since a loop that may end early is not vectorised.
    let images_tie = || {
        let pairs = baseline.values().windows(2);
        pairs.fold(false, |tie, pair| tie | (map(pair[0]) == map(pair[1])))
    };
    if !canary.is_untied() || !baseline.is_untied() || images_tie() {
        return None;
    }
    let (canary, baseline) = (canary.values(), baseline.values());
    let (mut i, mut j) = (0, 0);
    // Pairs are counted by the canary's value, as long as the baseline has one left; a sum of
    // lengths below 2^42 fits by the contract of `Sorted`.
    let (mut below, mut equal) = (0_u64, 0_u64);
    while i < canary.len() && j < baseline.len() {
        let (value, image) = (canary[i], map(baseline[j]));
        let is_below = image < value;
        below += if is_below { 0 } else { j as u64 };
        equal += u64::from(image == value);
        j += usize::from(is_below);
        i += usize::from(!is_below);
    }
    let above_all = (canary.len() - i) as u128 * baseline.len() as u128;
    let pairs = i128::from(below) + above_all as i128;
    let equal = i128::from(equal);
    Some((2 * pairs + equal, tie_term(2) * equal))
}

/// Weight of the run of values from index `at` on whose image equals `value`.
fn equal_weight(sample: &Sorted, at: usize, value: f64, map: &impl Fn(f64) -> f64) -> u64 {
    let run = sample.values()[at..].iter().enumerate();
    run.take_while(|&(_, &other)| map(other) == value)
        .fold(0_u64, |sum, (i, _)| {
            sum.saturating_add(sample.weight(at + i))
        })
}

/// Sum of `t^3 - t` over the groups of `t` equal values in the sample that pools the canary with
/// `map(baseline)`. `map` must be monotone non-decreasing.
pub fn tie_sum(canary: &Sorted, baseline: &Sorted, map: impl Fn(f64) -> f64) -> i128 {
    tie_groups(canary, baseline, map)
        .fold(0_i128, |sum, (_, size)| sum.saturating_add(tie_term(size)))
}

/// `t^3 - t` for one group of `t` equal values.
pub fn tie_term(size: u64) -> i128 {
    let t = i128::from(size);
    t.saturating_mul(t).saturating_mul(t).saturating_sub(t)
}

/// The pooled sample's groups of equal values, ascending: weight from the canary, weight of both.
pub fn tie_groups<'s>(
    canary: &'s Sorted,
    baseline: &'s Sorted,
    map: impl Fn(f64) -> f64 + 's,
) -> impl Iterator<Item = (u64, u64)> + 's {
    let (mut i, mut j) = (0, 0);
    std::iter::from_fn(move || {
        let next_canary = canary.values().get(i).copied();
        let next_baseline = baseline.values().get(j).map(|&value| map(value));
        let value = match (next_canary, next_baseline) {
            (None, None) => return None,
            (Some(value), None) | (None, Some(value)) => value,
            (Some(canary), Some(baseline)) => canary.min(baseline),
        };
        let mut from_canary = 0_u64;
        while i < canary.values().len() && canary.values()[i] == value {
            from_canary = from_canary.saturating_add(canary.weight(i));
            i += 1;
        }
        let mut size = from_canary;
        while j < baseline.values().len() && map(baseline.values()[j]) == value {
            size = size.saturating_add(baseline.weight(j));
            j += 1;
        }
        Some((from_canary, size))
    })
}

/// For each distinct value of `of`: the share of `map_among(among)` below it, plus half the share
/// equal to it; 0 to 1, in the order of `of.values()`. Empty `among` gives NaN-free zeros.
/// `map_among` must be monotone non-decreasing.
pub fn placements(of: &Sorted, among: &Sorted, map_among: impl Fn(f64) -> f64) -> Vec<f64> {
    let doubled_total = 2.0 * among.total().max(1) as f64;
    let mut at = 0;
    let mut below = 0_u64;
    let place = |&value: &f64| {
        while at < among.values().len() && map_among(among.values()[at]) < value {
            below = below.saturating_add(among.weight(at));
            at += 1;
        }
        let equal = equal_weight(among, at, value, &map_among);
        (2.0 * below as f64 + equal as f64) / doubled_total
    };
    of.values().iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(values: &[f64]) -> Sorted {
        Sorted::new(values.to_vec(), None).expect("no NaN")
    }

    #[test]
    fn equal_values_merge_and_zeros_tie() {
        let sample = sorted(&[2.0, 0.0, -0.0, 2.0, f64::NEG_INFINITY, 1.0]);
        assert_eq!(sample.values(), [f64::NEG_INFINITY, 0.0, 1.0, 2.0]);
        let weights: Vec<u64> = sample.pairs().map(|(_, weight)| weight).collect();
        assert_eq!(weights, [1, 2, 1, 2]);
        assert_eq!(sample.total(), 6);
        assert!(sample.values()[1].is_sign_positive());
    }

    #[test]
    fn nan_is_refused_with_and_without_weights() {
        for nan in [f64::NAN, -f64::NAN] {
            for values in [vec![1.0, nan], vec![nan, f64::INFINITY, f64::NEG_INFINITY]] {
                assert_eq!(Sorted::new(values, None), Err(NotANumber));
            }
        }
        assert_eq!(Sorted::new(vec![f64::NAN], Some(vec![0])), Err(NotANumber));
    }

    #[test]
    fn weights_mean_repetition_and_zero_drops_the_value() {
        let weighted = Sorted::new(vec![3.0, 1.0, 3.0, 9.0], Some(vec![2, 4, 1, 0]));
        assert_eq!(weighted, Ok(sorted(&[1.0, 1.0, 1.0, 1.0, 3.0, 3.0, 3.0])));
    }

    #[test]
    fn u_counts_pairs_and_half_of_the_ties() {
        let canary = sorted(&[1.0, 2.0, 2.0, 5.0]);
        let baseline = sorted(&[2.0, 3.0, 1.0]);
        // Above: 2>1 twice, 5 over all three. Equal: 1=1, 2=2 twice.
        assert_eq!(two_u(&canary, &baseline, |y| y), 2 * 5 + 3);
        assert_eq!(two_u(&canary, &baseline, |y| y + 10.0), 0);
        assert_eq!(two_u(&canary, &baseline, |_| 2.0), 3 * 2 + 2 * 3);
        assert_eq!(tie_sum(&canary, &baseline, |y| y), 6 + 24);
        // All three images are 2: with the canary's two they are a group of five.
        assert_eq!(tie_sum(&canary, &baseline, |_| 2.0), 120);
    }

    #[test]
    fn the_merge_without_branches_counts_as_the_one_with_weights() {
        // Steps of a generator: interleaved arms, some values in both, none twice in one.
        let arm = |len: u64, step: u64| -> Sorted {
            let values: Vec<f64> = (0..len).map(|i| (i * step % 1_009) as f64).collect();
            sorted(&values)
        };
        for (canary, baseline) in [(1, 1), (1, 40), (40, 1), (300, 500), (1_009, 1_009)] {
            let (canary, baseline) = (arm(canary, 7), arm(baseline, 31));
            assert!(canary.is_untied() && baseline.is_untied());
            for shift in [-2_000.0, -0.5, 0.0, 3.0, 2_000.0] {
                let map = |y: f64| y + shift;
                let expected = (
                    two_u(&canary, &baseline, map),
                    tie_sum(&canary, &baseline, map),
                );
                assert_eq!(merged_untied(&canary, &baseline, map), Some(expected));
            }
            // A map that makes ties within an arm takes the other way, to the same sums.
            let floored = |y: f64| (y / 10.0).floor() * 10.0;
            let expected = (
                two_u(&canary, &baseline, floored),
                tie_sum(&canary, &baseline, floored),
            );
            assert_eq!(two_u_and_tie_sum(&canary, &baseline, floored), expected);
        }
    }

    #[test]
    fn counts_saturate_instead_of_wrapping() {
        let heavy = Sorted::new(vec![1.0, 2.0], Some(vec![u64::MAX, u64::MAX])).expect("no NaN");
        assert_eq!(heavy.total(), u64::MAX);
        assert_eq!(tie_sum(&heavy, &heavy, |y| y), i128::MAX);
        let merged = heavy.merge(&heavy);
        assert_eq!([merged.weight(0), merged.weight(1)], [u64::MAX; 2]);
        assert!(two_u(&heavy, &heavy, |y| y) > 0);
    }

    #[test]
    fn placements_are_midpoints_of_the_steps() {
        let among = sorted(&[1.0, 2.0, 2.0, 3.0]);
        let of = sorted(&[0.0, 2.0, 3.0, 4.0]);
        assert_eq!(placements(&of, &among, |y| y), [0.0, 0.5, 0.875, 1.0]);
        assert_eq!(placements(&of, &Sorted::default(), |y| y), [0.0; 4]);
    }

    #[test]
    fn quantiles_invert_the_step_function() {
        let sample = sorted(&[10.0, 20.0, 20.0, 40.0]);
        let at = |level| sample.quantile(level);
        assert_eq!(
            [at(0.0), at(0.25), at(0.26), at(0.75)],
            [10.0, 10.0, 20.0, 20.0].map(Some)
        );
        assert_eq!([at(0.76), at(1.0)], [Some(40.0), Some(40.0)]);
        assert_eq!(Sorted::default().quantile(0.5), None);
    }
}
