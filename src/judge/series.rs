//! A single look at two uncalibrated time series.
//!
//! Owns what can honestly be said of series that were never calibrated when there is only one
//! look, as in a backtest of a recording. A baseline at least four times as long as the canary
//! shows how much windows of that length differ among themselves: the canary's median log is
//! held against theirs by Student's t. Otherwise a rank comparison whose variance is inflated by
//! an AR(1) factor with bias correction and one standard error on top. Next: `gauge`.

use crate::judge::check::{self, Evidence, Setting};
use crate::judge::verdict::Scale;
use crate::model::Reason;
use crate::plan::{Tolerance, Worse};
use crate::stats::rank::{self, Sorted};
use crate::stats::special;

/// Baseline windows of the canary's length that the window comparison asks for.
const WINDOWS_MIN: usize = 4;
/// Largest autocorrelation that the correction assumes.
const AUTOCORRELATION_MAX: f64 = 0.995;
/// Share of a low quantile added before taking logs, so that zeros do not explode.
const LOG_FLOOR_SHARE: f64 = 0.1;
/// That quantile.
const LOG_FLOOR_LEVEL: f64 = 0.05;

/// One-sided p-values that the canary is beyond the boundary, or within it.
#[derive(Debug, Clone, Copy)]
struct Tails {
    worse: f64,
    better: f64,
}

/// Judges both series at once, in order of time.
pub fn judge(
    baseline: &[(i64, f64)],
    canary: &[(i64, f64)],
    worse: Worse,
    tolerance: &Tolerance,
    setting: &Setting<'_>,
) -> Evidence {
    let scale = if tolerance.relative.is_some() {
        Scale::Ratio
    } else {
        Scale::Difference
    };
    let mut evidence = Evidence::none(scale);
    evidence.tolerance = Some(crate::judge::rank::shown_boundary(worse, tolerance, scale));
    evidence.window = 1;
    let [baseline, canary] = [in_time(baseline), in_time(canary)];
    if baseline.is_empty() || canary.is_empty() {
        return evidence;
    }
    if tolerance.relative.is_some() && baseline.iter().chain(&canary).any(|&value| value < 0.0) {
        evidence.wanting = Some(Reason::BadData);
        return evidence;
    }
    let directions = check::directions(worse);
    let alpha = setting.fail_spending(1.0 / directions.len() as f64).level;
    let mut pass = true;
    let mut failed = Vec::new();
    for &lower in directions {
        let tails = one_sided(&baseline, &canary, lower, tolerance, &mut evidence);
        failed.push(tails.worse <= alpha);
        pass &= tails.better <= setting.plan.beta;
    }
    evidence.fail = failed.contains(&true);
    evidence.pass = pass && !evidence.fail;
    let speaking = check::speaking(worse, failed);
    evidence.tolerance = Some(crate::judge::rank::shown_boundary(
        speaking, tolerance, scale,
    ));
    let [of_baseline, of_canary] = [median(&baseline), median(&canary)];
    evidence.estimate = match scale {
        Scale::Ratio if of_baseline > 0.0 => Some(of_canary / of_baseline),
        Scale::Ratio => None,
        _ => Some(of_canary - of_baseline),
    };
    evidence
}

fn one_sided(
    baseline: &[f64],
    canary: &[f64],
    lower: bool,
    tolerance: &Tolerance,
    evidence: &mut Evidence,
) -> Tails {
    let sign = check::sign(lower);
    let moved: Vec<f64> = baseline
        .iter()
        .map(|&y| sign * check::boundary(sign * y, lower, tolerance))
        .collect();
    let turned = |values: &[f64]| -> Vec<f64> { values.iter().map(|v| sign * v).collect() };
    if is_constant(&moved, canary) {
        // Equal constants on both sides of a tolerance: nothing varies, nothing is shown.
        return Tails {
            worse: 1.0,
            better: 1.0,
        };
    }
    let windows = baseline.len() / canary.len();
    if windows >= WINDOWS_MIN && canary.len() != baseline.len() {
        return by_windows(&moved, canary, sign, windows);
    }
    by_ranks(&turned(&moved), &turned(canary), evidence)
}

/// The canary's median log against those of the baseline's last windows of equal length.
fn by_windows(moved: &[f64], canary: &[f64], sign: f64, windows: usize) -> Tails {
    let positive: Vec<f64> = moved
        .iter()
        .chain(canary)
        .copied()
        .filter(|&value| value > 0.0)
        .collect();
    let floor = quantile(&positive, LOG_FLOOR_LEVEL).map_or(1.0, |low| low * LOG_FLOOR_SHARE);
    let log = |value: f64| sign * libm::log(value.max(0.0) + floor);
    let logs: Vec<f64> = moved.iter().map(|&value| log(value)).collect();
    let of_canary: Vec<f64> = canary.iter().map(|&value| log(value)).collect();
    let (m, n) = (canary.len(), moved.len());
    let medians: Vec<f64> = (0..windows)
        .map(|j| median(&logs[n - (j + 1) * m..n - j * m]))
        .collect();
    let count = windows as f64;
    let mean = medians.iter().sum::<f64>() / count;
    // Windows that happen to agree must not promise more than their points allow.
    let spread = deviation(&medians)
        .max(deviation(&logs) / (m as f64).sqrt())
        .max(1e-9);
    let t = (median(&of_canary) - mean) / (spread * (1.0 + 1.0 / count).sqrt());
    let df = count - 1.0;
    Tails {
        worse: special::student_t_sf(t, df),
        better: special::student_t_sf(-t, df),
    }
}

/// Ranks with an AR(1) factor on the variance and effective degrees of freedom.
fn by_ranks(moved: &[f64], canary: &[f64], evidence: &mut Evidence) -> Tails {
    let (m, n) = (canary.len() as f64, moved.len() as f64);
    let (Ok(x), Ok(y)) = (
        Sorted::new(canary.to_vec(), None),
        Sorted::new(moved.to_vec(), None),
    ) else {
        return Tails {
            worse: 1.0,
            better: 1.0,
        };
    };
    let factor = autocorrelation_factor(canary, moved);
    if factor > 1.0 {
        evidence
            .factors
            .insert("autocorrelation".to_owned(), factor);
    }
    let u = rank::two_u(&x, &y, |value| value) as f64 / 2.0;
    let all = m + n;
    let z = (u - m * n / 2.0) / (m * n * (all + 1.0) / 12.0 * factor).sqrt();
    let df = ((all / factor).min(all) - 2.0).max(2.0);
    Tails {
        worse: special::student_t_sf(z, df),
        better: special::student_t_sf(-z, df),
    }
}

/// (1 + phi) / (1 - phi) for the first autocorrelation of ranks, centred by arm. Equal lengths
/// are taken as paired, and phi is that of the paired differences.
fn autocorrelation_factor(canary: &[f64], baseline: &[f64]) -> f64 {
    let pooled: Vec<f64> = canary.iter().chain(baseline).copied().collect();
    let ranks = mid_ranks(&pooled);
    let (of_canary, of_baseline) = ranks.split_at(canary.len());
    let (x, y) = (centred(of_canary), centred(of_baseline));
    let (phi, length) = if x.len() == y.len() {
        let differences: Vec<f64> = x.iter().zip(&y).map(|(x, y)| x - y).collect();
        (first_autocorrelation(&differences), x.len() as f64)
    } else {
        let all = (x.len() + y.len()) as f64;
        let phi = first_autocorrelation(&y) * y.len() as f64 / all
            + first_autocorrelation(&x) * x.len() as f64 / all;
        (phi, all)
    };
    let bias = (1.0 + 3.0 * phi) / length;
    let error = ((1.0 - phi * phi).max(1e-6) / length).sqrt();
    let phi = (phi + bias + error).clamp(0.0, AUTOCORRELATION_MAX);
    (1.0 + phi) / (1.0 - phi)
}

fn first_autocorrelation(values: &[f64]) -> f64 {
    let squares: f64 = values.iter().map(|value| value * value).sum();
    if values.len() < 4 || squares <= 0.0 {
        return 0.0;
    }
    values.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>() / squares
}

fn mid_ranks(values: &[f64]) -> Vec<f64> {
    let mut ascending = values.to_vec();
    ascending.sort_by(f64::total_cmp);
    values
        .iter()
        .map(|&value| {
            let below = ascending.partition_point(|&other| other < value);
            let upto = ascending.partition_point(|&other| other <= value);
            (below + upto + 1) as f64 / 2.0
        })
        .collect()
}

fn centred(values: &[f64]) -> Vec<f64> {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|value| value - mean).collect()
}

fn deviation(values: &[f64]) -> f64 {
    let squares: f64 = centred(values).iter().map(|value| value * value).sum();
    (squares / (values.len() as f64 - 1.0).max(1.0)).sqrt()
}

fn in_time(points: &[(i64, f64)]) -> Vec<f64> {
    let mut points = points.to_vec();
    points.sort_by_key(|&(ts, _)| ts);
    points.into_iter().map(|(_, value)| value).collect()
}

fn is_constant(baseline: &[f64], canary: &[f64]) -> bool {
    let first = canary[0];
    canary.iter().chain(baseline).all(|&value| value == first)
}

fn median(values: &[f64]) -> f64 {
    let mut ascending = values.to_vec();
    ascending.sort_by(f64::total_cmp);
    let middle = ascending.len() / 2;
    if ascending.len() % 2 == 1 {
        ascending[middle]
    } else {
        0.5 * (ascending[middle - 1] + ascending[middle])
    }
}

/// Linear interpolation between order statistics.
fn quantile(values: &[f64], level: f64) -> Option<f64> {
    let mut ascending = values.to_vec();
    ascending.sort_by(f64::total_cmp);
    let place = level * (ascending.len().checked_sub(1)?) as f64;
    let low = place.floor() as usize;
    let high = (low + 1).min(ascending.len() - 1);
    Some(ascending[low] + (place - low as f64) * (ascending[high] - ascending[low]))
}
