//! The shift between two samples: Hodges-Lehmann estimate and its confidence interval.
//!
//! Owns order statistics of all pairwise differences canary - baseline, found by selection: the
//! pairs are counted, never formed, so memory is of the order of the samples. Every result is one
//! of the differences, to the last bit (the estimate may be the midpoint of two). It must not know
//! of tests' p-values or of verdicts. The counting passes are in [`selection`].

mod selection;

use super::exact::ExactNull;
use super::mann_whitney::standard_deviation;
use super::rank::{Sorted, tie_term};
use super::special::normal_quantile;
use selection::Axis;

/// Which distribution of U bounds the interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The exact one without ties while both samples have at most 50 values, beyond that the
    /// normal approximation with continuity correction.
    Auto,
    /// The normal approximation at any size.
    Normal {
        /// Whether U is moved half a step towards its mean.
        continuity: bool,
    },
}

/// All pairwise differences of two samples, ready for selection.
#[derive(Debug, Clone)]
pub struct Differences {
    canary: Axis,
    baseline: Axis,
    /// Sum of `t^3 - t` over the ties within each sample; ties between them vanish under almost
    /// every shift.
    tie_sum_within: i128,
}

impl Differences {
    /// The differences canary - baseline, in the samples' unit. `None` when a sample is empty or
    /// holds an infinity, or when a difference overflows: then no shift is defined.
    pub fn new(canary: &Sorted, baseline: &Sorted) -> Option<Differences> {
        Differences::build(canary, baseline, |value| value)
    }

    /// The differences of natural logarithms: exponentials of their order statistics are order
    /// statistics of the ratios canary / baseline. `None` unless all values are positive and finite.
    pub fn of_logs(canary: &Sorted, baseline: &Sorted) -> Option<Differences> {
        let positive = |sample: &Sorted| sample.values().first().is_some_and(|&value| value > 0.0);
        if !positive(canary) || !positive(baseline) {
            return None;
        }
        Differences::build(canary, baseline, libm::log)
    }

    fn build(
        canary: &Sorted,
        baseline: &Sorted,
        scale: impl Fn(f64) -> f64,
    ) -> Option<Differences> {
        let tie_sum = |sample: &Sorted| {
            let weights = sample.pairs().map(|(_, weight)| weight);
            weights.fold(0_i128, |sum, t| sum.saturating_add(tie_term(t)))
        };
        let tie_sum_within = tie_sum(canary).saturating_add(tie_sum(baseline));
        let canary = Axis::new(canary, &scale)?;
        let baseline = Axis::new(baseline, &scale)?;
        let widest = [
            canary.last() - baseline.first(),
            canary.first() - baseline.last(),
        ];
        widest.iter().all(|d| d.is_finite()).then_some(Differences {
            canary,
            baseline,
            tie_sum_within,
        })
    }

    /// Number of pairs, weights counted.
    pub fn pairs(&self) -> u128 {
        u128::from(self.canary.total()) * u128::from(self.baseline.total())
    }

    /// The `k`-th smallest difference, `k` from 1 to [`Differences::pairs`] (clamped into it).
    pub fn kth(&self, k: u128) -> f64 {
        selection::kth(&self.canary, &self.baseline, k.clamp(1, self.pairs()))
    }

    /// The Hodges-Lehmann estimate of the shift (1963): the median of all differences. The
    /// midpoint of the middle two is the sum of their halves, so that it cannot overflow.
    pub fn median(&self) -> f64 {
        let pairs = self.pairs();
        let lower = self.kth(pairs.div_ceil(2));
        if pairs % 2 == 1 {
            return lower;
        }
        0.5 * lower + 0.5 * selection::successor(&self.canary, &self.baseline, lower, pairs / 2 + 1)
    }

    /// The interval of `confidence` (between 0 and 1) for the shift: lower and upper end, with
    /// half the error probability on each side.
    pub fn interval(&self, confidence: f64, bound: Bound) -> [f64; 2] {
        let tail = (1.0 - confidence) / 2.0;
        [self.lower_end(tail, bound), self.upper_end(tail, bound)]
    }

    /// The lower confidence limit with error probability `tail` (0 to 1/2).
    pub fn lower_end(&self, tail: f64, bound: Bound) -> f64 {
        self.kth(self.lower_rank(tail, bound))
    }

    /// The upper confidence limit with error probability `tail`: the mirror image of the lower one.
    pub fn upper_end(&self, tail: f64, bound: Bound) -> f64 {
        self.kth(self.pairs() + 1 - self.lower_rank(tail, bound))
    }

    /// Rank of the lower end among the differences, 1 to [`Differences::pairs`].
    ///
    /// Exact: the tail quantile of U, at least 1 (Bauer 1972; R's `wilcox.test`). Normal: the
    /// statistic z(mu) of canary - mu against baseline falls at differences only, and between them
    /// U = mn - #(differences <= mu), its variance holding the ties within the samples; so z(mu)
    /// first falls to the quantile at the difference of rank ceil(mn/2 - z s - 1/2).
    fn lower_rank(&self, tail: f64, bound: Bound) -> u128 {
        let (m, n) = (self.canary.total(), self.baseline.total());
        let (exact, continuity) = match bound {
            Bound::Auto => (ExactNull::untied(m, n), true),
            Bound::Normal { continuity } => (None, continuity),
        };
        if let Some(null) = exact {
            return u128::from(null.quantile_u(tail)).max(1);
        }
        let pairs = self.pairs();
        let sd = standard_deviation(m, n, self.tie_sum_within);
        let reach = -2.0 * normal_quantile(tail) * sd + f64::from(u8::from(continuity));
        // A negative or NaN reach (a tail above 1/2) means the middle; one past all pairs means the
        // first difference. Casting saturates at both ends.
        let reach = reach.floor() as u128;
        pairs.saturating_sub(reach).div_ceil(2).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sorted(values: &[f64]) -> Sorted {
        Sorted::new(values.to_vec(), None).expect("no NaN")
    }

    fn all_differences(canary: &[f64], baseline: &[f64]) -> Vec<f64> {
        let mut all: Vec<f64> = canary
            .iter()
            .flat_map(|x| baseline.iter().map(move |y| x - y))
            .collect();
        all.sort_by(f64::total_cmp);
        all
    }

    fn median_of(all: &[f64]) -> f64 {
        let (low, high) = ((all.len() - 1) / 2, all.len() / 2);
        if low == high {
            all[low]
        } else {
            0.5 * all[low] + 0.5 * all[high]
        }
    }

    #[test]
    fn undefined_shifts_are_none() {
        let some = sorted(&[1.0, 2.0]);
        assert!(Differences::new(&some, &Sorted::default()).is_none());
        assert!(Differences::new(&sorted(&[1.0, f64::INFINITY]), &some).is_none());
        assert!(Differences::new(&sorted(&[1.7e308]), &sorted(&[-1.7e308])).is_none());
        assert!(Differences::of_logs(&sorted(&[0.0, 2.0]), &some).is_none());
        assert!(Differences::of_logs(&some, &sorted(&[-1.0])).is_none());
    }

    #[test]
    fn the_middle_of_huge_differences_does_not_overflow() {
        let found =
            Differences::new(&sorted(&[1.6e308, 1.7e308]), &sorted(&[0.0])).map(|d| d.median());
        assert_eq!(found, Some(0.5 * 1.6e308 + 0.5 * 1.7e308));
    }

    #[test]
    fn every_rank_of_a_sample_past_the_enumeration_limit_is_a_difference() {
        // 120 x 110 = 13,200 pairs: more than are ever enumerated at once at this size.
        let canary: Vec<f64> = (1..=120).map(|i| f64::from(i * i % 977) * 0.37).collect();
        let baseline: Vec<f64> = (1..=110).map(|i| f64::from(i * 31 % 251) * 1.13).collect();
        let all = all_differences(&canary, &baseline);
        let differences = Differences::new(&sorted(&canary), &sorted(&baseline)).expect("finite");
        for k in (1..=all.len()).step_by(37).chain([all.len()]) {
            assert_eq!(
                differences.kth(k as u128).to_bits(),
                all[k - 1].to_bits(),
                "rank {k}"
            );
        }
        assert_eq!(differences.median().to_bits(), median_of(&all).to_bits());
    }

    #[test]
    fn wild_ranges_and_heavy_atoms_still_end() {
        let mut canary = vec![0.0; 3_000];
        canary.extend((0..600).map(|i| libm::exp(f64::from(i) - 300.0)));
        let mut baseline = vec![1e-300; 2_500];
        baseline.extend((0..600).map(|i| -libm::exp(f64::from(i) * 1.1 - 330.0)));
        let all = all_differences(&canary, &baseline);
        let differences = Differences::new(&sorted(&canary), &sorted(&baseline)).expect("finite");
        for k in [
            1,
            2,
            all.len() / 3,
            all.len() / 2,
            all.len() / 2 + 1,
            all.len() - 7,
            all.len(),
        ] {
            assert_eq!(
                differences.kth(k as u128).to_bits(),
                all[k - 1].to_bits(),
                "rank {k}"
            );
        }
    }

    #[test]
    fn weights_and_subsamples_work_together() {
        // Past the size from which a subsample predicts, with weights, against a full list.
        let values =
            |len: i32, step: i32| (0..len).map(move |i| f64::from(i * step % 7_919) * 0.37);
        let (canary, baseline): (Vec<f64>, Vec<f64>) = (
            values(2_300, 31).collect(),
            values(2_200, 57).map(|v| v * 1.03).collect(),
        );
        let weights: Vec<u64> = (0..2_300).map(|i| 1 + i % 3).collect();
        let heavy = Sorted::new(canary.clone(), Some(weights.clone())).expect("no NaN");
        let differences = Differences::new(&heavy, &sorted(&baseline)).expect("finite");
        let mut all: Vec<(f64, u64)> = Vec::new();
        for (x, &weight) in canary.iter().zip(&weights) {
            all.extend(baseline.iter().map(|y| (x - y, weight)));
        }
        all.sort_by(|p, q| p.0.total_cmp(&q.0));
        for share in [0.025, 0.5, 0.9] {
            let k = (share * differences.pairs() as f64) as u128;
            let mut seen = 0;
            let expected = all.iter().find(|&&(_, weight)| {
                seen += u128::from(weight);
                seen >= k
            });
            assert_eq!(
                Some(differences.kth(k)),
                expected.map(|&(difference, _)| difference)
            );
        }
    }

    #[test]
    fn a_tail_beyond_the_smallest_probability_takes_the_extremes() {
        let differences = Differences::new(&sorted(&[1.0]), &sorted(&[2.0, 5.0])).expect("finite");
        assert_eq!(differences.interval(0.95, Bound::Auto), [-4.0, -1.0]);
        assert_eq!(
            differences.interval(0.95, Bound::Normal { continuity: true }),
            [-4.0, -1.0]
        );
    }

    /// Few distinct values, so that ties abound, at three scales.
    fn tied_sample() -> impl Strategy<Value = Vec<f64>> {
        let value = prop_oneof![
            (-6_i32..6).prop_map(f64::from),
            (-3_i32..3).prop_map(|i| f64::from(i) * 0.1),
            -50.0..50.0_f64,
        ];
        prop::collection::vec(value, 1..70)
    }

    proptest! {
        #[test]
        fn estimate_and_ends_equal_brute_force(canary in tied_sample(), baseline in tied_sample()) {
            let all = all_differences(&canary, &baseline);
            let differences =
                Differences::new(&sorted(&canary), &sorted(&baseline)).expect("finite");
            prop_assert_eq!(differences.median(), median_of(&all));
            for bound in [Bound::Auto, Bound::Normal { continuity: true }] {
                let k = differences.lower_rank(0.025, bound) as usize;
                let ends = [all[k - 1], all[all.len() - k]];
                prop_assert_eq!(differences.interval(0.95, bound), ends);
            }
        }

        #[test]
        fn swapping_the_arms_mirrors_the_interval(canary in tied_sample(), baseline in tied_sample()) {
            let (canary, baseline) = (sorted(&canary), sorted(&baseline));
            let there = Differences::new(&canary, &baseline).expect("finite");
            let back = Differences::new(&baseline, &canary).expect("finite");
            prop_assert_eq!(there.median(), -back.median());
            let [low, high] = back.interval(0.9, Bound::Auto);
            prop_assert_eq!(there.interval(0.9, Bound::Auto), [-high, -low]);
        }

        #[test]
        fn weights_are_repetitions(
            canary in prop::collection::vec((-9_i32..9, 1_u64..5), 1..20),
            baseline in prop::collection::vec((-9_i32..9, 1_u64..5), 1..20),
        ) {
            let repeat = |sample: &[(i32, u64)]| -> Vec<f64> {
                let each = sample.iter();
                each.flat_map(|&(v, w)| std::iter::repeat_n(f64::from(v), w as usize)).collect()
            };
            let all = all_differences(&repeat(&canary), &repeat(&baseline));
            let differences =
                Differences::new(&sorted(&repeat(&canary)), &sorted(&repeat(&baseline))).expect("finite");
            for k in 1..=all.len() {
                prop_assert_eq!(differences.kth(k as u128), all[k - 1]);
            }
        }
    }
}
