//! Brent's root finder, with the absolute tolerance that Kayenta gives it.
//!
//! Owns every step of it: the statistic jumps, so where the search stops within its tolerance of
//! 1e-4 decides the digits that are seen. The method is Brent's (1973, "Algorithms for Minimization
//! Without Derivatives", chapter 4, `zero`) in the form that R's `uniroot` takes: secant while two
//! points are known, inverse quadratic interpolation with three, halving where these would not gain.

/// Width, in the metric's own unit, at which the search ends. On metrics of a scale of 1e-3 and
/// below it is as wide as what is looked for; compatibility asks for it all the same.
pub const TOLERANCE_ABSOLUTE: f64 = 1e-4;
/// Most steps; what is reached then is the answer.
const STEPS_MAX: usize = 1_001;
/// The least distance of two doubles: a value this near 0 is 0.
const ONE_ULP_OF_ZERO: f64 = f64::from_bits(1);

/// A point and the function's value there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct At {
    /// Where.
    pub x: f64,
    /// What the function gives there.
    pub f: f64,
}

/// The root of `f` between two points of opposite signs; an end that is a root already.
///
/// # Errors
/// The first that `f` gives.
pub fn root<E>(low: At, high: At, mut f: impl FnMut(f64) -> Result<f64, E>) -> Result<f64, E> {
    if low.f == 0.0 {
        return Ok(low.x);
    }
    if high.f == 0.0 {
        return Ok(high.x);
    }
    // `best` is the estimate, `before` the one before it, `other` the far side of the bracket.
    let (mut before, mut best, mut other) = (low, high, low);
    for _ in 0..STEPS_MAX {
        let last_step = best.x - before.x;
        if other.f.abs() < best.f.abs() {
            before = best;
            best = other;
            other = before;
        }
        let tolerance = 2.0 * f64::EPSILON * best.x.abs() + TOLERANCE_ABSOLUTE / 2.0;
        let half = (other.x - best.x) / 2.0;
        // What is no number stays none, after however many steps.
        if half.is_nan() || half.abs() <= tolerance || best.f.abs() <= ONE_ULP_OF_ZERO {
            break;
        }
        let mut step = half;
        if last_step.abs() >= tolerance && before.f.abs() > best.f.abs() {
            step = interpolated([before, best, other], last_step, tolerance).unwrap_or(half);
        }
        if step.abs() < tolerance {
            step = if step > 0.0 { tolerance } else { -tolerance };
        }
        before = best;
        let x = best.x + step;
        best = At { x, f: f(x)? };
        let same_side = (best.f > 0.0 && other.f > 0.0) || (best.f < 0.0 && other.f < 0.0);
        if same_side {
            other = before;
        }
    }
    Ok(best.x)
}

/// The step by interpolation, where it stays within the bracket and gains on halving.
fn interpolated([before, best, other]: [At; 3], last_step: f64, tolerance: f64) -> Option<f64> {
    let across = other.x - best.x;
    let (mut p, mut q);
    if before.x == other.x {
        let slope = best.f / before.f;
        p = across * slope;
        q = 1.0 - slope;
    } else {
        let ratio = before.f / other.f;
        let (to_other, to_before) = (best.f / other.f, best.f / before.f);
        p = to_before
            * (across * ratio * (ratio - to_other) - (best.x - before.x) * (to_other - 1.0));
        q = (ratio - 1.0) * (to_other - 1.0) * (to_before - 1.0);
    }
    if p > 0.0 {
        q = -q;
    } else {
        p = -p;
    }
    let within = p < 0.75 * across * q - (tolerance * q).abs() / 2.0;
    let gains = p < (last_step * q / 2.0).abs();
    (within && gains).then(|| p / q)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn solved(low: f64, high: f64, f: impl Fn(f64) -> f64) -> (f64, usize) {
        let mut calls = 0;
        let at = |x| At { x, f: f(x) };
        let found = root(at(low), at(high), |x| {
            calls += 1;
            Ok::<f64, Infallible>(f(x))
        });
        (found.unwrap_or_else(|never| match never {}), calls)
    }

    #[test]
    fn smooth_roots_are_found_within_the_tolerance() {
        let (found, calls) = solved(0.0, 2.0, |x| x * x * x - 2.0);
        assert!((found - libm::cbrt(2.0)).abs() < TOLERANCE_ABSOLUTE);
        assert!(calls < 12, "{calls}");
        // A line is hit by the first secant, up to the least move.
        let (found, calls) = solved(-3.0, 10.0, |x| 4.0 - 2.0 * x);
        assert!((found - 2.0).abs() < 1e-12 && calls <= 2, "{found} {calls}");
    }

    #[test]
    fn a_jump_is_closed_in_on() {
        let (found, _) = solved(-100.0, 50.0, |x| if x < 7.25 { 3.0 } else { -1.0 });
        assert!((found - 7.25).abs() <= TOLERANCE_ABSOLUTE);
    }

    #[test]
    fn an_end_that_is_a_root_needs_no_search() {
        assert_eq!(solved(1.0, 3.0, |x| 1.0 - x), (1.0, 0));
        assert_eq!(solved(1.0, 3.0, |x| 3.0 - x), (3.0, 0));
    }

    #[test]
    fn a_bracket_narrower_than_the_tolerance_gives_its_better_end() {
        let f = |x: f64| if x < 3e-5 { 1.0 } else { -2.0 };
        assert_eq!(solved(0.0, 5e-5, f), (0.0, 0));
        assert_eq!(solved(5e-5, 0.0, f), (0.0, 0));
    }

    #[test]
    fn it_ends_where_nothing_is_a_number() {
        let at = |x| At { x, f: f64::NAN };
        let found = root(at(0.0), at(1.0), |_| Ok::<f64, Infallible>(f64::NAN));
        assert!(found.is_ok());
    }

    #[test]
    fn an_error_ends_the_search() {
        let low = At { x: 0.0, f: 1.0 };
        let high = At { x: 9.0, f: -1.0 };
        assert_eq!(root(low, high, |_| Err("tied")), Err("tied"));
    }
}
