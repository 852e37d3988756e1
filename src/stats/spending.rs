//! Alpha spending functions: how much of an error probability is spent by an elapsed share.

use crate::stats::special::{normal_quantile, normal_sf};

/// Kim and DeMets (1987): alpha t^rho for the elapsed share t, clamped to 0..=1. With rho 1 it is
/// spent in proportion to time.
pub fn kim_demets(alpha: f64, rho: f64, elapsed: f64) -> f64 {
    let elapsed = elapsed.clamp(0.0, 1.0);
    if rho == 1.0 {
        alpha * elapsed
    } else {
        alpha * libm::pow(elapsed, rho)
    }
}

/// Lan and DeMets' (1983) function of O'Brien-Fleming type, one-sided: 2 - 2 Phi(z_{a/2} / sqrt t).
pub fn obrien_fleming(alpha: f64, elapsed: f64) -> f64 {
    if elapsed <= 0.0 {
        return 0.0;
    }
    2.0 * normal_sf(normal_quantile(1.0 - alpha / 2.0) / elapsed.min(1.0).sqrt())
}

/// Lan and DeMets' (1983) function of Pocock type: a ln(1 + (e - 1) t).
pub fn pocock(alpha: f64, elapsed: f64) -> f64 {
    alpha * libm::log(1.0 + (std::f64::consts::E - 1.0) * elapsed.clamp(0.0, 1.0))
}
