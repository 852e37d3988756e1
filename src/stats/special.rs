//! Stand-in until the real file is merged: the normal distribution by complementary error function.

/// P(Z > z).
pub fn normal_sf(z: f64) -> f64 {
    0.5 * libm::erfc(z / core::f64::consts::SQRT_2)
}

/// P(Z <= z).
pub fn normal_cdf(z: f64) -> f64 {
    0.5 * libm::erfc(-z / core::f64::consts::SQRT_2)
}

/// The z with P(Z <= z) = p.
pub fn normal_quantile(p: f64) -> f64 {
    use statrs::distribution::ContinuousCDF;
    let mut z = statrs::distribution::Normal::standard().inverse_cdf(p);
    for _ in 0..3 {
        let density = libm::exp(-0.5 * z * z) / libm::sqrt(2.0 * core::f64::consts::PI);
        z -= (normal_cdf(z) - p) / density;
    }
    z
}
