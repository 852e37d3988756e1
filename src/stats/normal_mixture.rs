//! The one-sided normal mixture: an always-valid test without a horizon.
//!
//! Owns the log e-value of Robbins' mixture (Howard and others 2021, one-sided normal mixture) for
//! a score S with variance V, and the prior width that is best at a given variance.

use crate::stats::special::normal_cdf;

/// ln E = 1/2 ln(4 rho / (V + rho)) + S^2 / (2 (V + rho)) + ln Phi(S / sqrt(V + rho)).
pub fn log_e_value(score: f64, variance: f64, rho: f64) -> f64 {
    let total = variance + rho;
    0.5 * libm::log(4.0 * rho / total)
        + score * score / (2.0 * total)
        + libm::log(normal_cdf(score / total.sqrt()))
}

/// The rho whose boundary is tightest near variance `v` at level `alpha`:
/// v / (2 ln(1/2a) + ln(1 + 2 ln(1/2a))).
pub fn best_rho(v: f64, alpha: f64) -> f64 {
    let twice = 2.0 * libm::log(1.0 / (2.0 * alpha));
    v / (twice + libm::log(1.0 + twice))
}
