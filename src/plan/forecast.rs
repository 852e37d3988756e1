//! Whether a plan can reach a verdict at the traffic it expects.
//!
//! Owns the arithmetic of the forecast: the distance of a healthy and of a clearly degraded canary
//! from the boundary, over the standard error that the traffic leaves at the horizon. It is an
//! approximation for planning; `davy simulate` measures. Nothing is judged by it.

use super::traffic::{MetricTraffic, Shape, Traffic, Units};
use super::{Check, Dispersion, LimitSide, Plan, Question, Tolerance, Worse};
use crate::stats::special;

/// Power that a plan is expected to have.
pub const POWER: f64 = 0.8;
/// Degradation it is expected to find, in tolerances.
pub const DEGRADATION: f64 = 2.0;
/// Information that looking at every tick takes, over that of one look at the horizon, at 80 %
/// power: whole-run passes and multiscale fails (measured; see docs/guarantees.md).
const LOOKING_PASS: f64 = 1.21;
const LOOKING_FAIL: f64 = 1.38;
/// Worst autocorrelation of the envelope.
const ENVELOPE_AR: f64 = 0.8;
/// Values of the baseline before a tail check begins, times the tail's share.
const TAIL_WARM_UP: f64 = 2.0;

/// What a check can be expected to come to by the horizon.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forecast {
    /// Traffic needed for a healthy canary to pass with 80 % probability, over what is expected:
    /// above 1 there is too little. Infinite where no traffic suffices.
    pub pass_needs: f64,
    /// The same for a canary degraded by twice the tolerance to fail; `None` for a threshold.
    pub fail_needs: Option<f64>,
}

/// Distances from the boundary and the variance of their estimate at the horizon.
struct Evidence {
    healthy: f64,
    degraded: Option<f64>,
    variance: f64,
    /// The part of the variance that more samples of the same units do not shrink.
    floor: f64,
}

/// The forecast for a check; `None` where davy does not know how to make one.
pub fn forecast(plan: &Plan, traffic: &Traffic, check: &Check) -> Option<Forecast> {
    let own = traffic.metrics.get(check.metric)?;
    let sizes = [0, 1].map(|arm| own.per_second * traffic.share(arm) * plan.horizon as f64 / 1e3);
    let evidence = match check.question {
        Question::Compare {
            at,
            worse,
            tolerance,
            dispersion,
        } => {
            let lower = worse == Worse::Lower;
            match (own.shape, at) {
                (Shape::LogNormal { median, sigma, .. }, None) => {
                    let room = Room::of_values(&tolerance, median, lower)?;
                    ranks(own, sizes, sigma, &room)
                }
                (Shape::LogNormal { median, sigma, .. }, Some(at)) => {
                    let level = if lower { 1.0 - at.level() } else { at.level() };
                    let room = Room::of_values(&tolerance, median, lower)?;
                    tail(sizes, sigma, level, &room)?
                }
                (Shape::Errors { share }, _) => errors(sizes, share, &tolerance, lower)?,
                (Shape::Events, _) => {
                    let room = Room::of_values(&tolerance, own.per_second, lower)?;
                    room.evidence(1.0 / sizes[0] + 1.0 / sizes[1])
                }
                (Shape::Level { level, sd, ar }, _) => {
                    let room = Room::of_values(&tolerance, level, lower)?;
                    let by_ratio = tolerance.relative.is_some();
                    let variance = of_a_tick((sd, ar), dispersion, by_ratio);
                    room.evidence(variance / plan.looks() as f64)
                }
            }
        }
        Question::Threshold { at, limit, .. } if check.question.spends_alpha() => {
            let below = limit.side == LimitSide::Below;
            match (own.shape, at) {
                (Shape::Errors { share }, _) if below => under(sizes[1], share, limit.value),
                (Shape::LogNormal { median, sigma, .. }, Some(at)) if below && sigma > 0.0 => {
                    let z = libm::log(limit.value / median) / sigma;
                    under(sizes[1], special::normal_sf(z), 1.0 - at.level())
                }
                _ => return None,
            }
        }
        Question::Threshold { .. } | Question::Classify { .. } => return None,
    };
    let evidence = Evidence {
        variance: evidence.variance * dispersion_of(check),
        ..evidence
    };
    let alpha = plan.alpha_of(check);
    let needs = |distance: f64, looking: f64, risk: f64| {
        let z = special::normal_quantile(1.0 - risk) + special::normal_quantile(POWER);
        let allowed = distance * distance / (looking * z * z);
        if distance > 0.0 && allowed > evidence.floor {
            evidence.variance / (allowed - evidence.floor)
        } else {
            f64::INFINITY
        }
    };
    Some(Forecast {
        pass_needs: needs(evidence.healthy, LOOKING_PASS, plan.beta),
        fail_needs: evidence
            .degraded
            .map(|degraded| needs(degraded, LOOKING_FAIL, alpha)),
    })
}

/// Distances from the boundary on the scale of logarithms.
struct Room {
    healthy: f64,
    degraded: f64,
}

// === impl Room ===

impl Room {
    /// Of values around `typical`; `None` where the tolerance leaves nothing on this scale.
    fn of_values(tolerance: &Tolerance, typical: f64, lower: bool) -> Option<Room> {
        let part = tolerance
            .relative
            .unwrap_or(0.0)
            .max(tolerance.absolute.unwrap_or(0.0) / typical);
        let at = |times: f64| {
            let moved = if lower {
                1.0 - times * part
            } else {
                1.0 + times * part
            };
            (moved > 0.0).then(|| libm::log(moved).abs())
        };
        let healthy = at(1.0)?;
        // Where twice the tolerance would be below nothing, the whole of it stands in.
        let degraded = at(DEGRADATION).map_or(healthy, |far| far - healthy);
        Some(Room { healthy, degraded })
    }

    fn evidence(&self, variance: f64) -> Evidence {
        Evidence {
            healthy: self.healthy,
            degraded: Some(self.degraded),
            variance,
            floor: 0.0,
        }
    }
}

// === functions ===

/// The factor that a plan gives the variance of a check on samples.
fn dispersion_of(check: &Check) -> f64 {
    match check.question {
        Question::Compare {
            dispersion: Dispersion::Factor(factor),
            ..
        } => factor,
        _ => 1.0,
    }
}

/// Long-run variance of a tick's log-ratio of two gauges, as the check will take it.
fn of_a_tick((sd, ar): (f64, f64), dispersion: Dispersion, by_ratio: bool) -> f64 {
    let long_run = |ar: f64| 2.0 * sd * sd * (1.0 + ar) / (1.0 - ar);
    match dispersion {
        Dispersion::Envelope => long_run(ar.max(ENVELOPE_AR)),
        Dispersion::Sd(calibrated) if by_ratio => calibrated * calibrated,
        _ => long_run(ar),
    }
}

/// Shift of log-normal values by ranks: the score's information about P(canary > baseline) is
/// 12mn/(N+1) in all, and that probability grows by 1/(2 sigma sqrt(pi)) a unit of logarithm.
fn ranks(own: &MetricTraffic, [n, m]: [f64; 2], sigma: f64, room: &Room) -> Evidence {
    let slope = 1.0 / (2.0 * sigma.max(1e-6) * std::f64::consts::PI.sqrt());
    let within = (n + m) / (12.0 * m * n) / (slope * slope);
    let (factor, floor) = match own.units {
        None => (1.0, 0.0),
        // Design effect of equicorrelated samples (Kish 1965, section 5.4).
        Some(Units::Tick { size, sd }) => {
            let correlation = sd * sd / (sd * sd + sigma * sigma).max(1e-12);
            (1.0 + (size - 1.0) * correlation, 0.0)
        }
        Some(Units::Run {
            baseline,
            canary,
            sd,
        }) => {
            let units = 1.0 / f64::from(baseline) + 1.0 / f64::from(canary);
            (1.0, sd * sd * units)
        }
    };
    Evidence {
        floor,
        ..room.evidence(within * factor)
    }
}

/// Values beyond a quantile of the baseline times the tolerance: two counts, their log-ratio.
fn tail([n, m]: [f64; 2], sigma: f64, level: f64, room: &Room) -> Option<Evidence> {
    let beyond = 1.0 - level;
    let z = special::normal_quantile(level);
    let left = n - TAIL_WARM_UP / beyond;
    if left <= 0.0 || sigma <= 0.0 {
        return Some(Evidence {
            healthy: 0.0,
            degraded: Some(0.0),
            variance: 1.0,
            floor: 0.0,
        });
    }
    let healthy = special::normal_sf(z + room.healthy / sigma);
    let degraded = special::normal_sf(z - room.degraded / sigma);
    let part = left / n;
    Some(Evidence {
        healthy: libm::log(beyond / healthy),
        degraded: Some(libm::log(degraded / beyond)),
        variance: 1.0 / (n * part * beyond) + 1.0 / (m * part * beyond),
        floor: 0.0,
    })
}

/// Bad shares: the log odds, or where that is further the difference; a fail needs both parts.
fn errors([n, m]: [f64; 2], share: f64, tolerance: &Tolerance, lower: bool) -> Option<Evidence> {
    let spread = share * (1.0 - share);
    let by_odds = (1.0 / n + 1.0 / m) / spread;
    let sign = if lower { -1.0 } else { 1.0 };
    let boundary_odds = tolerance.relative.map(|relative| 1.0 + sign * relative);
    let absolute = tolerance.absolute;
    // Both on the scale of log odds: a difference d is d / (p (1 - p)) there.
    let healthy_odds = boundary_odds.map_or(0.0, |odds| libm::log(odds).abs());
    let healthy_difference = absolute.map_or(0.0, |part| part / spread);
    let healthy = healthy_odds.max(healthy_difference);
    if !healthy.is_finite() || healthy <= 0.0 {
        return None;
    }
    // The canary has more errors by then, and its count is known the worse.
    let odds = libm::exp(sign * healthy.min(20.0));
    let moved = share * odds / (1.0 - share + share * odds);
    let far = (share + DEGRADATION * (moved - share)).clamp(1e-12, 1.0 - 1e-12);
    let log_odds = |share: f64| libm::log(share / (1.0 - share));
    let degraded = (log_odds(far) - log_odds(moved)).abs();
    Some(Evidence {
        healthy,
        degraded: Some(degraded),
        variance: by_odds,
        floor: 0.0,
    })
}

/// A share of one arm under a limit.
fn under(size: f64, share: f64, limit: f64) -> Evidence {
    Evidence {
        healthy: limit - share,
        degraded: None,
        variance: limit * (1.0 - limit) / size,
        floor: 0.0,
    }
}
