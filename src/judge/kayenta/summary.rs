//! Statistics of one side: mean, standard deviation, percentiles, as Kayenta's library gives them.
//!
//! Owns the last bits of these numbers: a mean decides by its being exactly 0, a ratio of means by
//! its being exactly 1. So sums are made in the order of the values and corrected once, which is
//! the two-pass form (Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance",
//! equation 1.7).

use serde::{Deserialize, Serialize};

/// What the result tells of a side; all 0 where it is empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Summary {
    /// How many values.
    pub count: usize,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation over `n - 1`; 0 of one value.
    pub std: f64,
}

// === impl Summary ===

impl Summary {
    /// Statistics of values without NaN.
    pub fn of(values: &[f64]) -> Summary {
        if values.is_empty() {
            return Summary::default();
        }
        Summary {
            count: values.len(),
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            mean: mean(values),
            std: standard_deviation(values),
        }
    }
}

/// The mean: a sum, then what that sum lost. NaN of no values.
pub fn mean(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let rough = values.iter().fold(0.0, |sum, value| sum + value) / count;
    let lost = values.iter().fold(0.0, |sum, value| sum + (value - rough));
    rough + lost / count
}

/// The standard deviation over `n - 1`; 0 of one value.
fn standard_deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    let (mut squares, mut sum) = (0.0, 0.0);
    for value in values {
        let off = value - mean;
        squares += off * off;
        sum += off;
    }
    let count = values.len() as f64;
    ((squares - sum * sum / count) / (count - 1.0)).sqrt()
}

/// The percentile of sorted values by linear interpolation between order statistics (type 7 of
/// Hyndman and Fan 1996, R's default). NaN of no values.
///
/// Between infinite values it is NaN, as it is in Kayenta.
pub fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let (Some(first), Some(last)) = (sorted.first(), sorted.last()) else {
        return f64::NAN;
    };
    if sorted.len() == 1 {
        return *first;
    }
    let position = 1.0 + (sorted.len() as f64 - 1.0) * (percent / 100.0);
    if position < 1.0 {
        return *first;
    }
    if position >= sorted.len() as f64 {
        return *last;
    }
    let whole = position.floor();
    let lower = sorted[whole as usize - 1];
    let upper = sorted[whole as usize];
    lower + (position - whole) * (upper - lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_r() {
        // quantile(c(1, 2, 4, 8), c(.01, .25, .5, .75, .99)) in R.
        let values = [1.0, 2.0, 4.0, 8.0];
        let found = [1.0, 25.0, 50.0, 75.0, 99.0, 100.0].map(|p| percentile(&values, p));
        for (found, expected) in found.iter().zip([1.03, 1.75, 3.0, 5.0, 7.88, 8.0]) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        assert_eq!(percentile(&[3.0], 1.0), 3.0);
        assert!(percentile(&[], 50.0).is_nan());
        assert!(percentile(&[1.0, f64::INFINITY, f64::INFINITY], 50.0).is_nan());
    }

    #[test]
    fn a_summary_of_little_is_zeros() {
        assert_eq!(Summary::of(&[]), Summary::default());
        let one = Summary::of(&[4.0]);
        assert_eq!((one.count, one.min, one.max), (1, 4.0, 4.0));
        assert_eq!((one.mean, one.std), (4.0, 0.0));
        let six = Summary::of(&[1.0, 10.0, 1.0, 10.0, 1.0, 10.0]);
        assert_eq!(six.mean, 5.5);
        assert!((six.std * six.std - 24.3).abs() < 1e-12);
    }

    #[test]
    fn a_mean_gets_back_what_its_sum_lost() {
        let tenths = [0.1; 10];
        assert_ne!(tenths.iter().sum::<f64>() / 10.0, 0.1);
        assert_eq!(mean(&tenths), 0.1);
    }
}
