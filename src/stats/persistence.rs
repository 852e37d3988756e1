//! How likely a Gaussian series stays on one side of its mean.
//!
//! Owns that probability for independent and first-order autoregressive series. It is what can be
//! said of a series that does not vary, where no deviation can be estimated: under any Gaussian
//! law such a series has probability nought, so using it besides another test costs nothing.

/// Half-width of the grid in standard deviations, and its steps.
const REACH: f64 = 8.0;
const STEPS: usize = 200;
/// Below this nobody asks for more digits.
const NEGLIGIBLE: f64 = 1e-12;

/// P(X_1 > 0, ..., X_count > 0) for a stationary series X_k = phi X_{k-1} + sqrt(1 - phi^2) Z_k of
/// standard normals, by quadrature (midpoints) of the recursion
/// f_{k+1}(y) = integral over x > 0 of f_k(x) n((y - phi x) / s) / s dx. 0 <= phi < 1.
pub fn stays_above(count: usize, phi: f64) -> f64 {
    if phi == 0.0 {
        return libm::pow(0.5, count as f64);
    }
    if count == 0 {
        return 1.0;
    }
    let step = REACH / STEPS as f64;
    let deviation = (1.0 - phi * phi).sqrt();
    let at = |i: usize| (i as f64 + 0.5) * step;
    let normal = crate::stats::special::normal_pdf;
    let kernel: Vec<f64> = (0..STEPS * STEPS)
        .map(|index| {
            let (to, from) = (at(index / STEPS), at(index % STEPS));
            step * normal((to - phi * from) / deviation) / deviation
        })
        .collect();
    let mut density: Vec<f64> = (0..STEPS).map(|i| normal(at(i))).collect();
    let mass = |density: &[f64]| density.iter().sum::<f64>() * step;
    for _ in 1..count {
        density = kernel
            .chunks(STEPS)
            .map(|row| row.iter().zip(&density).map(|(k, f)| k * f).sum())
            .collect();
        if mass(&density) < NEGLIGIBLE {
            return NEGLIGIBLE;
        }
    }
    mass(&density)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_agrees_with_the_orthant_probabilities() {
        // P(X > 0, Y > 0) = 1/4 + asin(r) / 2 pi; three: 1/8 + sum of asin / 4 pi (Sheppard 1899).
        let pi = std::f64::consts::PI;
        for phi in [0.3, 0.8] {
            let two = 0.25 + libm::asin(phi) / (2.0 * pi);
            assert!((stays_above(1, phi) - 0.5).abs() < 1e-4);
            assert!((stays_above(2, phi) - two).abs() < 1e-4);
            let sum = 2.0 * libm::asin(phi) + libm::asin(phi * phi);
            assert!((stays_above(3, phi) - 0.125 - sum / (4.0 * pi)).abs() < 1e-4);
        }
        assert_eq!(stays_above(3, 0.0), 0.125);
        assert!(stays_above(200, 0.8) <= NEGLIGIBLE);
    }
}
