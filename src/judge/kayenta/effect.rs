//! How large the effect is: a ratio of means, or the probability of a larger value.
//!
//! Owns both measures. They stand beside the rank test and are not part of it: a mean that is 0
//! gives NaN, which asks for nothing.

use super::interval::probability_above;
use super::summary::mean;
use crate::plan::kayenta::Measure;

/// The canary's mean over the baseline's; NaN where either is exactly 0.
pub fn mean_ratio(baseline: &[f64], canary: &[f64]) -> f64 {
    let (baseline, canary) = (mean(baseline), mean(canary));
    if baseline == 0.0 || canary == 0.0 {
        f64::NAN
    } else {
        canary / baseline
    }
}

/// The effect by this measure.
pub fn effect_size(measure: Measure, baseline: &[f64], canary: &[f64]) -> f64 {
    match measure {
        Measure::MeanRatio => mean_ratio(baseline, canary),
        Measure::Cles => probability_above(baseline, canary),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_of_zero_has_no_ratio() {
        assert_eq!(mean_ratio(&[2.0, 4.0], &[6.0]), 2.0);
        assert!(mean_ratio(&[0.0, 0.0], &[6.0]).is_nan());
        assert!(mean_ratio(&[1.0, 2.0], &[-1.0, 1.0]).is_nan());
    }

    #[test]
    fn the_probability_counts_ties_half() {
        let cles = |baseline: &[f64], canary: &[f64]| effect_size(Measure::Cles, baseline, canary);
        assert_eq!(cles(&[1.0, 2.0], &[3.0]), 1.0);
        assert_eq!(cles(&[1.0, 2.0], &[2.0]), 0.75);
        assert_eq!(cles(&[5.0, 1.0, 3.0], &[3.0, 5.0, 1.0]), 0.5);
        assert_eq!(cles(&[9.0, 8.0], &[1.0, 0.0, 2.0]), 0.0);
    }
}
