//! Laws of counts, exact while they are narrow.
//!
//! Owns the choice between a law enumerated number by number and its mean and variance alone.
//! Beyond a variance of [`EXACT_VARIANCE_MAX`] the Gaussian increment is as good (the skewness of
//! a Poisson count is then below .02), and enumerating would let one sample with a total of 10^15
//! take all memory. Next: `law`, the enumerated laws.

use crate::stats::law::Lattice;
use crate::stats::recipe::{Family, Recipe};

/// Variance, in steps of the lattice, up to which a law is enumerated.
pub const EXACT_VARIANCE_MAX: f64 = 2_500.0;
/// The same where tied values make the steps sixteenths, and enumerating is quadratic.
const TIED_VARIANCE_MAX: f64 = 400.0;

/// Trials or events of one law, at most: sixteen of a run's largest cells.
const COUNT_MAX: u64 = 1 << 50;

/// The law of a count.
#[derive(Debug, Clone)]
pub enum CountLaw {
    /// Every probability.
    Exact {
        /// The law.
        lattice: Lattice,
        /// What it takes to have it again.
        recipe: Recipe,
    },
    /// Mean and variance of the score.
    Wide {
        /// Mean, in the score's own scale.
        mean: f64,
        /// Variance, in the score's own scale.
        variance: f64,
        /// What one step of the count is worth.
        unit: f64,
    },
}

// === impl CountLaw ===

impl CountLaw {
    /// Events out of `trials`, each with probability `p`.
    pub fn binomial(trials: u64, p: f64) -> CountLaw {
        let n = trials as f64;
        let variance = n * p * (1.0 - p);
        if variance <= EXACT_VARIANCE_MAX {
            CountLaw::exact(Family::Binomial { trials, p })
        } else {
            CountLaw::Wide {
                mean: n * p,
                variance,
                unit: 1.0,
            }
        }
    }

    /// Events of a Poisson law with this mean.
    pub fn poisson(mean: f64) -> CountLaw {
        if mean <= EXACT_VARIANCE_MAX {
            CountLaw::exact(Family::Poisson { mean })
        } else {
            CountLaw::Wide {
                mean,
                variance: mean,
                unit: 1.0,
            }
        }
    }

    /// The canary's share of `events` at this odds ratio; see
    /// [`Lattice::fisher_noncentral_hypergeometric`]. A wide law has Cornfield's (1956) mean, the
    /// root of odds (m - x)(t - x) = x (n - t + x), and the variance that belongs to it.
    pub fn fisher_noncentral_hypergeometric(
        canary: u64,
        baseline: u64,
        events: u64,
        odds: f64,
    ) -> CountLaw {
        let (m, n, t) = (canary as f64, baseline as f64, events as f64);
        let mean = cornfield_mean(m, n, t, odds);
        let cells = [mean, m - mean, t - mean, n - t + mean];
        let narrow = cells.iter().any(|&cell| cell <= 0.0);
        let variance = 1.0 / cells.iter().map(|cell| 1.0 / cell).sum::<f64>();
        if narrow || variance <= EXACT_VARIANCE_MAX {
            CountLaw::exact(Family::Hypergeometric {
                canary,
                baseline,
                events,
                odds,
            })
        } else {
            CountLaw::Wide {
                mean,
                variance,
                unit: 1.0,
            }
        }
    }

    /// Sum of the canary's scores; see [`Lattice::permutation_scores`].
    pub fn permutation_scores(
        canary: u64,
        baseline: u64,
        beyond: u64,
        tied: u64,
        tied_sixteenths: u8,
    ) -> CountLaw {
        let (m, n) = (canary as f64, baseline as f64);
        let all = m + n;
        let weight = f64::from(tied_sixteenths) / 16.0;
        let (ones, ties) = (beyond as f64, tied as f64);
        let sum = ones + weight * ties;
        let squares = ones + weight * weight * ties - sum * sum / all;
        let variance = m * n / (all * (all - 1.0).max(1.0)) * squares.max(0.0);
        let limit = if tied > 0 {
            TIED_VARIANCE_MAX
        } else {
            EXACT_VARIANCE_MAX
        };
        // Tied values alone can spread over many sixteenths however small their weight.
        let spread = m * n / (all * all) * ties;
        if variance <= limit && (tied == 0 || spread <= limit) {
            return CountLaw::exact(Family::Permutation {
                canary,
                baseline,
                beyond,
                tied,
                tied_sixteenths,
            });
        }
        let unit = if tied > 0 { 1.0 / 16.0 } else { 1.0 };
        CountLaw::Wide {
            mean: m * sum / all,
            variance,
            unit,
        }
    }

    /// The law of a recipe that may be nonsense: `None` where it is.
    pub fn again(recipe: &Recipe) -> Option<CountLaw> {
        let (family, is_negated) = recipe.parts();
        let are_counts = |counts: &[u64]| counts.iter().all(|&count| count <= COUNT_MAX);
        let law = match family {
            Family::Binomial { trials, p } => {
                let holds = are_counts(&[trials]) && !p.is_nan();
                holds.then(|| CountLaw::binomial(trials, p))?
            }
            Family::Poisson { mean } => (!mean.is_nan()).then(|| CountLaw::poisson(mean))?,
            Family::Hypergeometric {
                canary,
                baseline,
                events,
                odds,
            } => {
                let holds = are_counts(&[canary, baseline])
                    && events <= canary + baseline
                    && odds.is_finite()
                    && odds >= 0.0;
                holds.then(|| {
                    CountLaw::fisher_noncentral_hypergeometric(canary, baseline, events, odds)
                })?
            }
            Family::Permutation {
                canary,
                baseline,
                beyond,
                tied,
                tied_sixteenths,
            } => {
                let holds = are_counts(&[canary, baseline, beyond, tied])
                    && beyond + tied <= canary + baseline
                    && tied_sixteenths <= 16;
                holds.then(|| {
                    CountLaw::permutation_scores(canary, baseline, beyond, tied, tied_sixteenths)
                })?
            }
        };
        Some(if is_negated { law.negated() } else { law })
    }

    fn exact(family: Family) -> CountLaw {
        let recipe = Recipe::of(family);
        CountLaw::Exact {
            lattice: recipe.lattice(),
            recipe,
        }
    }

    /// The law of the negated count.
    pub fn negated(self) -> CountLaw {
        match self {
            CountLaw::Exact { lattice, recipe } => CountLaw::Exact {
                lattice: lattice.negated(),
                recipe: recipe.negated(),
            },
            CountLaw::Wide {
                mean,
                variance,
                unit,
            } => CountLaw::Wide {
                mean: -mean,
                variance,
                unit,
            },
        }
    }

    /// Mean of the score.
    pub fn mean(&self) -> f64 {
        match self {
            CountLaw::Exact { lattice, .. } => lattice.mean(),
            CountLaw::Wide { mean, .. } => *mean,
        }
    }

    /// Variance of the score.
    pub fn variance(&self) -> f64 {
        match self {
            CountLaw::Exact { lattice, .. } => lattice.variance(),
            CountLaw::Wide { variance, .. } => *variance,
        }
    }
}

/// The root of odds (m - x)(t - x) = x (n - t + x) between both ends of the range.
fn cornfield_mean(m: f64, n: f64, t: f64, odds: f64) -> f64 {
    let (mut low, mut high) = ((t - n).max(0.0), t.min(m));
    for _ in 0..100 {
        let x = 0.5 * (low + high);
        if odds * (m - x) * (t - x) > x * (n - t + x) {
            low = x
        } else {
            high = x
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_laws_have_the_moments_of_the_exact_ones() {
        let exact = Lattice::fisher_noncentral_hypergeometric(60_000, 90_000, 24_000, 1.2);
        let wide = CountLaw::fisher_noncentral_hypergeometric(60_000, 90_000, 24_000, 1.2);
        assert!(matches!(wide, CountLaw::Wide { .. }));
        assert!((wide.mean() - exact.mean()).abs() < 0.5);
        assert!((wide.variance() / exact.variance() - 1.0).abs() < 0.01);
        let exact = Lattice::permutation_scores(9_000, 9_000, 100, 300, 5);
        let wide = CountLaw::permutation_scores(900_000, 900_000, 10_000, 30_000, 5);
        assert!(matches!(wide, CountLaw::Wide { .. }));
        assert!((wide.mean() / exact.mean() / 100.0 - 1.0).abs() < 1e-3);
        assert!((wide.variance() / exact.variance() / 100.0 - 1.0).abs() < 0.02);
    }

    #[test]
    fn hostile_totals_take_no_memory() {
        let huge = 9_007_199_254_740_992;
        for law in [
            CountLaw::binomial(huge, 0.5),
            CountLaw::poisson(1e15),
            CountLaw::fisher_noncentral_hypergeometric(huge, huge, huge, 1.5),
            CountLaw::permutation_scores(huge, huge, huge / 2, huge / 4, 7),
            CountLaw::permutation_scores(huge, huge, 0, huge / 4, 1),
        ] {
            assert!(matches!(law, CountLaw::Wide { .. }), "{law:?}");
            assert!(law.variance().is_finite() && law.mean().is_finite());
        }
    }

    #[test]
    fn a_small_arm_beside_a_huge_one_takes_no_memory() {
        // Of the ties that could all be the canary's it is likely to hold 390.
        let (canary, baseline) = (1 << 26, 1 << 46);
        for (one, other) in [(canary, baseline), (baseline, canary)] {
            let drawn = CountLaw::permutation_scores(one, other, 0, 390 << 20, 16);
            let CountLaw::Exact { lattice: law, .. } = drawn else {
                panic!("a spread of 390 is enumerated");
            };
            assert!(law.pmf().len() < 8_000, "{} steps", law.pmf().len());
            assert!(
                (law.variance() / 390.0 - 1.0).abs() < 1e-3,
                "{}",
                law.variance()
            );
        }
    }

    #[test]
    fn a_recipe_that_came_as_bytes_gives_its_law_again_or_none() {
        for law in [
            CountLaw::binomial(900, 0.3),
            CountLaw::binomial(900, 1.0).negated(),
            CountLaw::poisson(0.0),
            CountLaw::poisson(44.0).negated(),
            CountLaw::fisher_noncentral_hypergeometric(500, 400, 30, 1.2),
            CountLaw::permutation_scores(500, 400, 30, 9, 8).negated(),
        ] {
            let CountLaw::Exact { lattice, recipe } = law else {
                panic!("it is narrow");
            };
            let Some(CountLaw::Exact { lattice: again, .. }) = CountLaw::again(&recipe) else {
                panic!("{recipe:?} is one");
            };
            let bits = |law: &Lattice| law.pmf().iter().map(|p| p.to_bits()).collect::<Vec<_>>();
            assert_eq!((again.lo(), bits(&again)), (lattice.lo(), bits(&lattice)));
        }
        let none = |family| match CountLaw::again(&Recipe::of(family)) {
            Some(CountLaw::Exact { .. }) => panic!("{family:?} is nonsense"),
            Some(CountLaw::Wide { .. }) | None => {}
        };
        none(Family::Binomial {
            trials: u64::MAX,
            p: 0.5,
        });
        none(Family::Poisson { mean: f64::NAN });
        none(Family::Poisson { mean: 1e300 });
        for (canary, events, odds) in [(u64::MAX, 3, 1.0), (5, 11, 1.0), (5, 3, f64::INFINITY)] {
            none(Family::Hypergeometric {
                canary,
                baseline: 5,
                events,
                odds,
            });
        }
        none(Family::Permutation {
            canary: 3,
            baseline: 3,
            beyond: u64::MAX,
            tied: 1,
            tied_sixteenths: 8,
        });
    }
}
