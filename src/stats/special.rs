//! Special functions, from one pinned software implementation (`libm`), so that the same inputs
//! give the same bytes on every machine.

const INV_SQRT_2PI: f64 = 0.398_942_280_401_432_7;
const SQRT_2PI: f64 = 2.506_628_274_631_000_2;
/// Most terms of the continued fraction of the incomplete beta function.
const FRACTION_TERMS: u32 = 500;

/// Density of the standard normal law.
pub fn normal_pdf(z: f64) -> f64 {
    INV_SQRT_2PI * libm::exp(-0.5 * z * z)
}

/// P(Z <= z), accurate in both tails.
pub fn normal_cdf(z: f64) -> f64 {
    0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2)
}

/// P(Z > z), accurate in both tails.
pub fn normal_sf(z: f64) -> f64 {
    0.5 * libm::erfc(z * std::f64::consts::FRAC_1_SQRT_2)
}

/// The z with P(Z <= z) = p; infinite at 0 and 1. Acklam's rational start, then Halley steps.
pub fn normal_quantile(p: f64) -> f64 {
    if p.is_nan() || p <= 0.0 {
        return f64::NEG_INFINITY;
    }
    if p >= 1.0 {
        return f64::INFINITY;
    }
    if p > 0.5 {
        return -lower_quantile(1.0 - p);
    }
    lower_quantile(p)
}

fn lower_quantile(p: f64) -> f64 {
    let mut z = rational_quantile(p);
    for _ in 0..3 {
        let error = normal_cdf(z) - p;
        let step = error * SQRT_2PI * libm::exp(0.5 * z * z);
        if !step.is_finite() {
            break;
        }
        z -= step / (1.0 + 0.5 * z * step);
    }
    z
}

/// Acklam (2003): relative error 1.15e-9 for 0 < p <= 1/2.
fn rational_quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 6] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 5] = [
        7.784_695_709_041_462e-3,
        3.224_671_290_700_398e-1,
        2.445_134_137_142_996,
        3.754_408_661_907_416,
        1.0,
    ];
    let horner = |terms: &[f64], x: f64| terms.iter().fold(0.0, |sum, term| sum * x + term);
    if p < 0.024_25 {
        let q = (-2.0 * libm::log(p)).sqrt();
        horner(&C, q) / horner(&D, q)
    } else {
        let q = p - 0.5;
        horner(&A, q * q) * q / horner(&B, q * q)
    }
}

/// ln Gamma(x) for x > 0.
pub fn ln_gamma(x: f64) -> f64 {
    libm::lgamma(x)
}

/// ln of n choose k.
pub fn ln_choose(n: u64, k: u64) -> f64 {
    ln_gamma(n as f64 + 1.0) - ln_gamma(k as f64 + 1.0) - ln_gamma((n - k) as f64 + 1.0)
}

/// Regularised incomplete beta function I_x(a, b), by Lentz' continued fraction.
pub fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = libm::exp(
        ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * libm::log(x) + b * libm::log1p(-x),
    );
    if x < (a + 1.0) / (a + b + 2.0) {
        front * beta_fraction(a, b, x) / a
    } else {
        1.0 - front * beta_fraction(b, a, 1.0 - x) / b
    }
}

fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let nonzero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / nonzero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for term in 1..=FRACTION_TERMS {
        let m = f64::from(term);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / nonzero(1.0 + even * d);
        c = nonzero(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / nonzero(1.0 + odd * d);
        c = nonzero(1.0 + odd / c);
        let change = d * c;
        fraction *= change;
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    fraction
}

/// P(T > t) for Student's t with `df` degrees of freedom.
pub fn student_t_sf(t: f64, df: f64) -> f64 {
    let tail = 0.5 * incomplete_beta(0.5 * df, 0.5, df / (df + t * t));
    if t >= 0.0 { tail } else { 1.0 - tail }
}

/// Quantile of the chi-squared distribution by the cube-root transformation (Wilson and Hilferty
/// 1931): from 9 degrees of freedom on within 1 % of the exact one, near the middle within 0.3 %.
pub fn chi_squared_quantile(p: f64, df: f64) -> f64 {
    let spread = 2.0 / (9.0 * df);
    let root = (1.0 - spread + normal_quantile(p) * spread.sqrt()).max(0.0);
    df * root * root * root
}

#[cfg(test)]
mod tests {
    use super::*;
    use statrs::distribution::{ContinuousCDF, StudentsT};

    #[test]
    fn quantiles_invert_the_distribution_function_in_both_tails() {
        for exponent in 1..=300 {
            let p = libm::pow(10.0, -f64::from(exponent));
            let z = normal_quantile(p);
            assert!((normal_cdf(z) / p - 1.0).abs() < 1e-10, "p = {p}");
        }
        assert!((normal_quantile(0.975) - 1.959_963_984_540_054).abs() < 1e-14);
        assert_eq!(normal_quantile(0.5), 0.0);
    }

    #[test]
    fn chi_squared_quantiles_are_near_statrs() {
        use statrs::distribution::{ChiSquared, ContinuousCDF};
        for df in [9.0, 20.0, 47.0, 300.0] {
            for p in [0.05, 0.2, 0.5, 0.9] {
                let exact = ChiSquared::new(df).unwrap().inverse_cdf(p);
                let found = chi_squared_quantile(p, df);
                assert!(
                    (found / exact - 1.0).abs() < 0.01,
                    "{df} {p}: {found} {exact}"
                );
                let close = (found / exact - 1.0).abs() < 0.003;
                assert!(close || p != 0.2, "{df} {p}: {found} {exact}");
            }
        }
    }

    #[test]
    fn students_t_agrees_with_statrs() {
        for df in [1.0, 2.0, 3.5, 10.0, 47.0, 300.0] {
            let law = StudentsT::new(0.0, 1.0, df).unwrap();
            for t in [-6.0, -1.0, 0.0, 0.3, 1.7, 2.5, 9.0] {
                assert!(
                    (student_t_sf(t, df) - law.sf(t)).abs() < 1e-10,
                    "df {df}, t {t}"
                );
            }
        }
    }
}
