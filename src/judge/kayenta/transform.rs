//! What is left of a side's values: the rule for missing ones, then outliers.
//!
//! Owns the order of the two, which matters: values replaced by 0 can be outliers. Each side is
//! transformed by itself.

use super::summary::percentile;
use crate::plan::kayenta::{NanStrategy, Outliers, Settings};

/// Values of one side, in their order.
pub fn transform(values: &[f64], settings: &Settings) -> Vec<f64> {
    let known = match settings.nan_strategy {
        NanStrategy::Remove => values.iter().copied().filter(|v| !v.is_nan()).collect(),
        NanStrategy::Replace => {
            let replaced = |value: &f64| if value.is_nan() { 0.0 } else { *value };
            values.iter().map(replaced).collect()
        }
    };
    match settings.outliers {
        Some(outliers) => without_outliers(known, outliers),
        None => known,
    }
}

/// Drops what lies strictly outside the fences.
pub fn without_outliers(mut values: Vec<f64>, outliers: Outliers) -> Vec<f64> {
    if let Some((low, high)) = fences(&values, outliers) {
        // With fences that are NaN, between infinite values, nothing is outside.
        values.retain(|&value| !(value < low || value > high));
    }
    values
}

/// The fences: Tukey's, and with `reduce_sensitivity` no narrower than 98 % of the values.
fn fences(values: &[f64], outliers: Outliers) -> Option<(f64, f64)> {
    if values.is_empty() {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let at = |percent| percentile(&sorted, percent);
    let (lower, upper) = (at(25.0), at(75.0));
    let reach = outliers.factor * (upper - lower);
    let (low, high) = (lower - reach, upper + reach);
    if !outliers.reduce_sensitivity {
        return Some((low, high));
    }
    Some((least(at(1.0), low), greatest(at(99.0), high)))
}

/// The smaller; NaN where either is, unlike [`f64::min`], which would make a fence of the other.
fn least(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.min(b)
    }
}

/// The larger; NaN where either is.
fn greatest(a: f64, b: f64) -> f64 {
    -least(-a, -b)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TUKEY: Outliers = Outliers {
        factor: 1.5,
        reduce_sensitivity: false,
    };

    fn settings(nan_strategy: NanStrategy, outliers: Option<Outliers>) -> Settings {
        Settings {
            nan_strategy,
            outliers,
            ..Settings::default()
        }
    }

    #[test]
    fn missing_values_go_or_become_zero() {
        let values = [f64::NAN, 3.0, f64::NAN, 5.0];
        let with = |strategy| transform(&values, &settings(strategy, None));
        assert_eq!(with(NanStrategy::Remove), [3.0, 5.0]);
        assert_eq!(with(NanStrategy::Replace), [0.0, 3.0, 0.0, 5.0]);
    }

    #[test]
    fn a_replaced_value_can_be_an_outlier() {
        let mut values = vec![f64::NAN];
        values.extend((0..20).map(|i| 50.0 + f64::from(i)));
        let outliers = Some(TUKEY);
        let kept = transform(&values, &settings(NanStrategy::Replace, outliers));
        assert_eq!(kept.len(), 20);
    }

    #[test]
    fn values_on_a_fence_stay() {
        // Quartiles 10 and 14: fences 4 and 20.
        let values = vec![4.0, 10.0, 10.0, 12.0, 14.0, 14.0, 20.0];
        assert_eq!(without_outliers(values.clone(), TUKEY), values);
        let beyond = vec![3.9, 10.0, 10.0, 12.0, 14.0, 14.0, 20.1];
        assert_eq!(without_outliers(beyond, TUKEY).len(), 5);
    }

    #[test]
    fn reduced_sensitivity_keeps_what_percentiles_reach() {
        // Half the values are equal, so Tukey's fences have no width.
        let mut values = vec![7.0; 60];
        values.extend([1.0, 2.0, 9.0, 30.0]);
        let reduced = Outliers {
            reduce_sensitivity: true,
            ..TUKEY
        };
        assert_eq!(without_outliers(values.clone(), TUKEY).len(), 60);
        // 64 values: the percentiles lie .63 steps within the extremes.
        let kept = without_outliers(values, reduced);
        assert_eq!(kept.len(), 62);
        assert!(!kept.contains(&1.0) && !kept.contains(&30.0));
    }

    #[test]
    fn nothing_and_infinities_pass_through() {
        assert_eq!(without_outliers(Vec::new(), TUKEY), Vec::<f64>::new());
        let values = vec![1.0, f64::INFINITY, f64::INFINITY];
        assert_eq!(without_outliers(values.clone(), TUKEY), values);
    }
}
