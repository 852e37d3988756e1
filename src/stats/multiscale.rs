//! The multiscale statistic: the loudest of all dyadic windows that end now.
//!
//! Owns max over windows of z_w - sqrt(2 ln(e K / L_w)), and the whole run with penalty sqrt 2
//! (Duembgen and Spokoiny 2001, on dyadic windows of ticks), together with cheap certain bounds
//! on its threshold. Next: `null_paths`, which simulates the threshold itself.

use crate::stats::special::{normal_pdf, normal_quantile, normal_sf};

/// Penalty of the whole run.
pub const WHOLE_RUN_PENALTY: f64 = std::f64::consts::SQRT_2;
/// Most steps towards the ceiling; three or four are usual.
const CEILING_STEPS: u32 = 24;
/// Share of alpha by which the ceiling aims below it, so that the last step ends on the safe side.
const CEILING_CAUTION: f64 = 1e-9;
/// A step this short ends the search for the ceiling.
const CEILING_STEP_MIN: f64 = 1e-9;

/// The window that speaks loudest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    /// Penalised standardised score.
    pub statistic: f64,
    /// Its length in ticks.
    pub window: usize,
    /// Its standardised score without the penalty.
    pub z: f64,
}

/// sqrt(2 ln(e K / L)) for a window of `window` of `looks_planned` ticks.
pub fn penalty(looks_planned: usize, window: usize) -> f64 {
    let ratio = std::f64::consts::E * looks_planned.max(window) as f64 / window as f64;
    (2.0 * libm::log(ratio)).sqrt()
}

/// Lengths of the dyadic windows in a run of `ticks`: 1, 2, 4, ...
pub fn dyadic(ticks: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(1_usize), |window| Some(window * 2))
        .take_while(move |&window| window <= ticks)
}

/// The loudest window of a run given by prefix sums (beginning with 0) of the score and its
/// variance; windows without variance are silent. `adjust` is applied to each standardised score.
pub fn peak_with(
    prefix_s: &[f64],
    prefix_v: &[f64],
    looks_planned: usize,
    adjust: impl Fn(f64) -> f64,
) -> Option<Peak> {
    let ticks = prefix_s.len() - 1;
    let mut loudest: Option<Peak> = None;
    let mut hear = |window: usize, penalty: f64| {
        let variance = prefix_v[ticks] - prefix_v[ticks - window];
        if variance <= 0.0 {
            return;
        }
        let z = adjust((prefix_s[ticks] - prefix_s[ticks - window]) / variance.sqrt());
        let statistic = z - penalty;
        if loudest.is_none_or(|peak| statistic > peak.statistic) {
            loudest = Some(Peak {
                statistic,
                window,
                z,
            });
        }
    };
    hear(ticks, WHOLE_RUN_PENALTY);
    for window in dyadic(ticks) {
        hear(window, penalty(looks_planned, window));
    }
    loudest
}

/// Whether a statistic is below its threshold for certain, for Gaussian laws. With A the alpha
/// spent up to this look, P0(statistic >= threshold) <= A, because a path at or above it is
/// removed now or was removed before; and the whole run alone exceeds s with probability
/// 1 - Phi(s + sqrt 2).
pub fn certainly_below(statistic: f64, alpha_cumulative: f64) -> bool {
    normal_sf(statistic + WHOLE_RUN_PENALTY) > alpha_cumulative
}

/// A valid, conservative ceiling of this look's threshold: the c at which the windows' tails add
/// up to the alpha this look spends. Used to show intervals where nothing was simulated.
pub fn threshold_ceiling(prefix_v: &[f64], looks_planned: usize, alpha_increment: f64) -> f64 {
    let ticks = prefix_v.len() - 1;
    if alpha_increment <= 0.0 || ticks == 0 {
        return f64::INFINITY;
    }
    let mut penalties: Vec<f64> = dyadic(ticks)
        .filter(|window| prefix_v[ticks] > prefix_v[ticks - window])
        .map(|window| penalty(looks_planned, window))
        .collect();
    penalties.push(WHOLE_RUN_PENALTY);
    where_tails_sum_to(&penalties, alpha_increment)
}

/// A c, at most a hair above the smallest, with sum(P(Z > c + penalty)) <= `alpha`. The whole
/// run's penalty is the smallest of all: its tail alone bounds c from below, and as many of it as
/// there are penalties from above. Between the two, Newton steps in the logarithm of the sum,
/// which is nearly a parabola; a step that leaves the bracket halves it.
fn where_tails_sum_to(penalties: &[f64], alpha: f64) -> f64 {
    let at_tail = |tail: f64| {
        let c = -normal_quantile(tail) - WHOLE_RUN_PENALTY;
        c.max(-WHOLE_RUN_PENALTY)
    };
    let (mut low, mut high) = (at_tail(alpha), at_tail(alpha / penalties.len() as f64));
    let aim = alpha * (1.0 - CEILING_CAUTION);
    let mut c = high;
    for _ in 0..CEILING_STEPS {
        let (mut tails, mut density) = (0.0, 0.0);
        for penalty in penalties {
            tails += normal_sf(c + penalty);
            density += normal_pdf(c + penalty);
        }
        if tails > alpha {
            low = c;
        } else {
            high = c;
        }
        let step = libm::log(tails / aim) * tails / density;
        if tails <= alpha && step.abs() < CEILING_STEP_MIN {
            break;
        }
        c += step;
        if c.is_nan() || c <= low || c >= high {
            c = 0.5 * (low + high);
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_the_largest_of_all_dyadic_windows_and_the_whole_run() {
        let scores = [0.3, -1.0, 2.0, 0.5, 1.5];
        let mut prefix_s = vec![0.0];
        let mut prefix_v = vec![0.0];
        for (i, score) in scores.iter().enumerate() {
            prefix_s.push(prefix_s[i] + score);
            prefix_v.push(prefix_v[i] + 1.0 + i as f64);
        }
        let z = |window: usize| {
            (prefix_s[5] - prefix_s[5 - window]) / (prefix_v[5] - prefix_v[5 - window]).sqrt()
        };
        let expected = [1, 2, 4]
            .map(|window| z(window) - penalty(10, window))
            .into_iter()
            .fold(z(5) - WHOLE_RUN_PENALTY, f64::max);
        let peak = peak_with(&prefix_s, &prefix_v, 10, |z| z).unwrap();
        assert_eq!(peak.statistic, expected);
    }

    #[test]
    fn a_run_without_variance_is_silent() {
        assert_eq!(peak_with(&[0.0, 0.0], &[0.0, 0.0], 10, |z| z), None);
    }

    #[test]
    fn the_screen_and_the_ceiling_enclose_the_threshold_of_one_look() {
        // One look of one tick: both windows are the same, and the whole run's penalty is smaller.
        let threshold = crate::stats::special::normal_quantile(0.95) - WHOLE_RUN_PENALTY;
        assert!(certainly_below(threshold - 1e-9, 0.05));
        assert!(!certainly_below(threshold + 1e-9, 0.05));
        assert!(threshold_ceiling(&[0.0, 1.0], 1, 0.05) >= threshold);
    }
    #[test]
    fn the_ceiling_is_where_the_windows_tails_add_up_to_what_is_spent() {
        for ticks in [1_usize, 2, 60, 300, 4_000] {
            let prefix_v: Vec<f64> = (0..=ticks).map(|tick| tick as f64).collect();
            for alpha in [1e-300, 1e-12, 1e-6, 0.000_8, 0.05, 0.4, 0.9] {
                let ceiling = threshold_ceiling(&prefix_v, ticks, alpha);
                let tails = |c: f64| {
                    let windows: f64 = dyadic(ticks)
                        .map(|window| normal_sf(c + penalty(ticks, window)))
                        .sum();
                    windows + normal_sf(c + WHOLE_RUN_PENALTY)
                };
                let place = format!("{ticks} ticks, alpha {alpha}: {ceiling}");
                assert!(tails(ceiling) <= alpha * (1.0 + 1e-12), "{place}");
                assert!(ceiling < -1.4 || tails(ceiling - 1e-6) > alpha, "{place}");
            }
        }
    }
}
