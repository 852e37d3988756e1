//! The one-shot Mann-Whitney comparison of two samples: U, theta and tail probabilities.
//!
//! Owns the choice between the exact permutation distribution and the normal approximation. It
//! must not know of tolerances (a caller maps the baseline) or of verdicts. The interval that
//! goes with it is in [`super::hodges_lehmann`].

use super::exact::{EXACT_LEN_MAX, ExactNull};
use super::rank::{self, Sorted};
use super::special::normal_sf;

/// How the tail probabilities were computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Exact permutation distribution given the ties.
    Exact,
    /// Normal approximation with the variance corrected for ties.
    Normal,
}

impl Method {
    /// The word used in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Exact => "exact",
            Method::Normal => "normal",
        }
    }
}

/// Which computation to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// Exact while both samples have at most [`EXACT_LEN_MAX`] values, beyond that the normal
    /// approximation with continuity correction.
    #[default]
    Auto,
    /// The normal approximation at any size.
    Normal {
        /// Whether U is moved half a step towards its mean.
        continuity: bool,
    },
}

/// The comparison of a canary with a baseline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MannWhitney {
    /// Twice U: two for every pair with canary above baseline, one for every tied pair.
    pub two_u: i128,
    /// U as usually stated, ties counted half.
    pub u: f64,
    /// U over the number of pairs: P(canary > baseline) + P(equal) / 2.
    pub theta: f64,
    /// P of a U at least as far from its mean.
    pub p_two_sided: f64,
    /// P of a U at least as large: small when the canary's values are higher.
    pub p_greater: f64,
    /// P of a U at most as large: small when the canary's values are lower.
    pub p_less: f64,
    /// How the three were computed.
    pub method: Method,
    /// Whether a continuity correction was applied; always false for [`Method::Exact`].
    pub continuity: bool,
}

/// Compares `canary` with `map(baseline)`, where `map` is monotone non-decreasing (the identity
/// for a plain comparison). `None` when either sample is empty.
///
/// Exact: P given the ties, two-sided as P(|U - mn/2| >= |u - mn/2|). Normal: z = (U - mn/2 -+
/// 1/2) / s with s^2 = mn/12 ((N+1) - sum(t^3 - t) / (N(N-1))) (Lehmann, Nonparametrics, 1.33).
/// When all values are equal every p is 1.
pub fn mann_whitney(
    canary: &Sorted,
    baseline: &Sorted,
    map: impl Fn(f64) -> f64 + Copy,
    choice: Choice,
) -> Option<MannWhitney> {
    if canary.is_empty() || baseline.is_empty() {
        return None;
    }
    let (two_u, ties) = rank::two_u_and_tie_sum(canary, baseline, map);
    let pairs = i128::from(canary.total()).saturating_mul(i128::from(baseline.total()));
    let small = canary.total() <= EXACT_LEN_MAX && baseline.total() <= EXACT_LEN_MAX;
    let exact = match choice {
        Choice::Auto if small => exact_null(canary, baseline, map),
        _ => None,
    };
    let continuity = match choice {
        Choice::Auto => exact.is_none(),
        Choice::Normal { continuity } => continuity,
    };
    let (p_two_sided, p_greater, p_less) = match &exact {
        Some(null) => (
            null.p_two_sided(two_u),
            null.p_greater(two_u),
            null.p_less(two_u),
        ),
        None => {
            let sd = standard_deviation(canary.total(), baseline.total(), ties);
            normal_tails(two_u - pairs, sd, continuity)
        }
    };
    Some(MannWhitney {
        two_u,
        u: two_u as f64 / 2.0,
        theta: two_u as f64 / 2.0 / pairs as f64,
        p_two_sided,
        p_greater,
        p_less,
        method: if exact.is_some() {
            Method::Exact
        } else {
            Method::Normal
        },
        continuity,
    })
}

fn exact_null(
    canary: &Sorted,
    baseline: &Sorted,
    map: impl Fn(f64) -> f64 + Copy,
) -> Option<ExactNull> {
    let groups: Vec<u64> = rank::tie_groups(canary, baseline, map)
        .map(|(_, size)| size)
        .collect();
    ExactNull::tied(canary.total(), baseline.total(), &groups)
}

/// Standard deviation of U under the null, given both sizes and the sum of `t^3 - t` over the tie
/// groups; 0 when all values are equal. The difference inside is taken in whole numbers.
pub fn standard_deviation(canary_len: u64, baseline_len: u64, tie_sum: i128) -> f64 {
    let (m, n) = (canary_len as f64, baseline_len as f64);
    let pooled = canary_len.saturating_add(baseline_len);
    if pooled < 2 {
        return 0.0;
    }
    let untied = rank::tie_term(pooled).saturating_sub(tie_sum).max(0) as f64;
    let pooled = pooled as f64;
    (m * n / 12.0 * (untied / (pooled * (pooled - 1.0)))).sqrt()
}

/// Two-sided, greater and less tail for a doubled distance of U from its mean.
fn normal_tails(two_distance: i128, sd: f64, continuity: bool) -> (f64, f64, f64) {
    if sd == 0.0 {
        return (1.0, 1.0, 1.0);
    }
    let correction = f64::from(u8::from(continuity));
    let distance = two_distance as f64;
    let z = |two: f64| two / 2.0 / sd;
    let two_sided = 2.0 * normal_sf(z(distance.abs() - correction));
    let greater = normal_sf(z(distance - correction));
    let less = normal_sf(z(-distance - correction));
    (two_sided.min(1.0), greater, less)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(values: &[f64]) -> Sorted {
        Sorted::new(values.to_vec(), None).expect("no NaN")
    }

    fn plain(canary: &[f64], baseline: &[f64], choice: Choice) -> MannWhitney {
        mann_whitney(&sorted(canary), &sorted(baseline), |y| y, choice).expect("not empty")
    }

    #[test]
    fn exact_up_to_the_limit_and_normal_one_past_it() {
        let run = |canary_len: u32, baseline_len: u32| {
            let values = |len: u32| (0..len).map(f64::from).collect::<Vec<_>>();
            plain(&values(canary_len), &values(baseline_len), Choice::Auto)
        };
        assert_eq!(
            (run(50, 50).method, run(50, 50).continuity),
            (Method::Exact, false)
        );
        assert_eq!(
            (run(51, 50).method, run(51, 50).continuity),
            (Method::Normal, true)
        );
        assert_eq!(run(50, 51).method, Method::Normal);
    }

    #[test]
    fn an_empty_arm_has_no_answer() {
        let some = sorted(&[1.0]);
        assert_eq!(
            mann_whitney(&some, &Sorted::default(), |y| y, Choice::Auto),
            None
        );
        assert_eq!(
            mann_whitney(&Sorted::default(), &some, |y| y, Choice::Auto),
            None
        );
    }

    #[test]
    fn equal_values_say_nothing_whatever_the_method() {
        for len in [1, 20, 1_000] {
            let values = vec![7.25; len];
            let choices = [
                Choice::Auto,
                Choice::Normal { continuity: true },
                Choice::Normal { continuity: false },
            ];
            for choice in choices {
                let found = plain(&values, &values, choice);
                assert_eq!(
                    (found.p_two_sided, found.p_greater, found.p_less),
                    (1.0, 1.0, 1.0)
                );
                assert_eq!(found.theta, 0.5);
            }
        }
    }

    #[test]
    fn far_tails_keep_their_digits() {
        // sf(37) from an 80-digit evaluation of the continued fraction; 1 - cdf would give 0.
        let (_, greater, less) = normal_tails(74, 1.0, false);
        assert!(
            (greater / 5.725_571_222_524_577e-300 - 1.0).abs() < 1e-10,
            "{greater:e}"
        );
        assert_eq!(less, 1.0);
    }

    #[test]
    fn the_tolerance_moves_the_baseline_only() {
        let canary = sorted(&[1.04, 1.05, 1.06, 1.07]);
        let baseline = sorted(&[1.0, 1.01, 1.02, 1.03]);
        let raw = mann_whitney(&canary, &baseline, |y| y, Choice::Auto).expect("not empty");
        let within =
            mann_whitney(&canary, &baseline, |y| y * 1.1, Choice::Auto).expect("not empty");
        assert_eq!((raw.u, within.u), (16.0, 0.0));
        assert_eq!(raw.p_greater, within.p_less);
    }
}
