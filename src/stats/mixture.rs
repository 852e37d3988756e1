//! Confidence sequences for a proportion and for an event rate, valid at every sample size.
//!
//! Owns the conjugate mixtures of Robbins (1970): averaging the likelihood ratio over a prior
//! gives a non-negative martingale of mean 1, so by Ville's inequality the parameters at which it
//! is below 1/delta form a confidence sequence at level 1 - delta, however often one looks. It
//! must not know what the events are.

use crate::stats::special::{incomplete_beta, ln_gamma};

/// Both shape parameters of the beta prior, and the shape of the gamma prior: Jeffreys'.
const PRIOR_SHAPE: f64 = 0.5;
/// Bisection steps of an end: beyond double precision.
const BISECTIONS: u32 = 80;

/// Log of the beta-binomial mixture e-value of `events` in `trials` against probability `p`.
///
/// ln B(1/2 + x, 1/2 + n - x) - ln B(1/2, 1/2) - x ln p - (n - x) ln(1 - p).
pub fn beta_binomial_log_e(events: f64, trials: f64, p: f64) -> f64 {
    let ln_beta = |a: f64, b: f64| ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b);
    let rest = trials - events;
    let term = |count: f64, probability: f64| {
        if count == 0.0 {
            0.0
        } else {
            count * libm::log(probability)
        }
    };
    ln_beta(PRIOR_SHAPE + events, PRIOR_SHAPE + rest)
        - ln_beta(PRIOR_SHAPE, PRIOR_SHAPE)
        - term(events, p)
        - term(rest, 1.0 - p)
}

/// Confidence sequence of a proportion at level 1 - `delta`: `[0, 1]` before any trial.
pub fn proportion_bounds(events: u64, trials: u64, delta: f64) -> [f64; 2] {
    if trials == 0 {
        return [0.0, 1.0];
    }
    let (x, n) = (events as f64, trials as f64);
    let centre = x / n;
    let limit = -libm::log(delta);
    let inside = |p: f64| beta_binomial_log_e(x, n, p) < limit;
    let lower = if events == 0 {
        0.0
    } else {
        bisect(centre, 0.0, inside)
    };
    let upper = if events == trials {
        1.0
    } else {
        bisect(centre, 1.0, inside)
    };
    [lower, upper]
}

/// Upper confidence bound of a proportion at level 1 - `delta` for data that are looked at once:
/// the p at which so few events have probability `delta` (Clopper and Pearson 1934), exact, and
/// tighter than a sequence. 1 before any trial.
pub fn proportion_upper_once(events: u64, trials: u64, delta: f64) -> f64 {
    if events >= trials {
        return 1.0;
    }
    let (x, n) = (events as f64, trials as f64);
    // P(X <= x) = 1 - I_p(x + 1, n - x) falls with p.
    let inside = |p: f64| 1.0 - incomplete_beta(x + 1.0, n - x, p) > delta;
    bisect(x / n, 1.0, inside)
}

/// Log of the gamma-Poisson mixture e-value of `events` over `exposure` against `rate`, with a
/// prior worth `prior_exposure`.
pub fn gamma_poisson_log_e(events: f64, exposure: f64, rate: f64, prior_exposure: f64) -> f64 {
    let shape = PRIOR_SHAPE;
    let of_events = if events == 0.0 {
        0.0
    } else {
        events * libm::log(rate)
    };
    ln_gamma(shape + events) - ln_gamma(shape) + shape * libm::log(prior_exposure)
        - (shape + events) * libm::log(prior_exposure + exposure)
        + rate * exposure
        - of_events
}

/// Confidence sequence of an event rate at level 1 - `delta`: `[0, inf]` without exposure.
pub fn rate_bounds(events: u64, exposure: f64, delta: f64, prior_exposure: f64) -> [f64; 2] {
    if exposure <= 0.0 {
        return [0.0, f64::INFINITY];
    }
    let x = events as f64;
    let centre = (x / exposure).max(f64::MIN_POSITIVE);
    let limit = -libm::log(delta);
    let inside = |rate: f64| gamma_poisson_log_e(x, exposure, rate, prior_exposure) < limit;
    let lower = if events == 0 {
        0.0
    } else {
        bisect(centre, 0.0, inside)
    };
    let mut far = (x + 10.0) / exposure;
    while inside(far) {
        far *= 2.0;
    }
    [lower, bisect(centre, far, inside)]
}

/// The last point inside, on the way from `inner` (inside) to `outer`; the outer side of the
/// bracket is returned, so that an end is never too tight.
fn bisect(inner: f64, outer: f64, inside: impl Fn(f64) -> bool) -> f64 {
    let (mut inner, mut outer) = (inner, outer);
    for _ in 0..BISECTIONS {
        let middle = 0.5 * (inner + outer);
        if inside(middle) {
            inner = middle;
        } else {
            outer = middle;
        }
    }
    outer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::law::Lattice;

    #[test]
    fn the_mixture_is_the_average_of_likelihood_ratios_over_the_prior() {
        // Numeric integral over the Jeffreys prior with p = sin^2(t): dt uniform on (0, pi/2).
        let (x, n, p0) = (3.0, 20.0, 0.1);
        let steps = 200_000;
        let mut sum = 0.0;
        for i in 0..steps {
            let t = (f64::from(i) + 0.5) / f64::from(steps) * std::f64::consts::FRAC_PI_2;
            let p = libm::sin(t) * libm::sin(t);
            sum += libm::exp(x * libm::log(p / p0) + (n - x) * libm::log((1.0 - p) / (1.0 - p0)));
        }
        let expected = libm::log(sum / f64::from(steps));
        assert!((beta_binomial_log_e(x, n, p0) - expected).abs() < 1e-9);
    }

    #[test]
    fn bounds_hold_the_estimate_and_shrink() {
        let [lower, upper] = proportion_bounds(10, 10_000, 0.05);
        assert!(0.0 < lower && lower < 0.001 && 0.001 < upper && upper < 0.004);
        let [wider_lower, wider_upper] = proportion_bounds(1, 1_000, 0.05);
        assert!(wider_lower < lower && wider_upper > upper);
        assert_eq!(proportion_bounds(0, 0, 0.05), [0.0, 1.0]);
        assert_eq!(proportion_bounds(0, 50, 0.05)[0], 0.0);
        assert_eq!(proportion_bounds(50, 50, 0.05)[1], 1.0);
    }

    #[test]
    fn the_bound_of_a_single_look_leaves_exactly_delta_below_and_is_tighter() {
        for (events, trials) in [(0, 40), (3, 120), (280, 466), (40, 10_000)] {
            let upper = proportion_upper_once(events, trials, 0.025);
            let below = Lattice::binomial(trials, upper).lower_tail(events as i64);
            assert!(
                (below - 0.025).abs() < 1e-9,
                "{events} of {trials}: {below}"
            );
            assert!(upper < proportion_bounds(events, trials, 0.025)[1]);
        }
        assert_eq!(proportion_upper_once(0, 0, 0.025), 1.0);
        assert_eq!(proportion_upper_once(7, 7, 0.025), 1.0);
    }

    #[test]
    fn rates_agree_with_proportions_of_rare_events() {
        let [a, b] = proportion_bounds(20, 2_000_000, 0.05);
        let [c, d] = rate_bounds(20, 2_000_000.0, 0.05, 1.0);
        assert!((a / c - 1.0).abs() < 0.05 && (b / d - 1.0).abs() < 0.05);
    }
}
