//! Where the buckets of exponential histograms end.
//!
//! Owns the one function that gives a boundary its number, so that histograms of any sender, at any
//! resolution and in any format, have bit-identical boundaries where they have the same. Sources:
//! "Native Histograms", Prometheus specification, section "Schema"; "Metrics Data Model",
//! OpenTelemetry specification, section "ExponentialHistogram", whose scale is the schema and whose
//! index is one less. It must not know of messages; those are read by their formats.

/// Highest schema with boundaries that doubles can tell apart.
const SCHEMA_MAX: i32 = 52;
/// From this power of two on, a boundary is beyond every double.
const EXPONENT_END: i64 = 1_024;
/// Doublings after which one step leads past all doubles, whichever way.
const DOUBLINGS_MAX: i32 = 12;

/// The boundary `2^(index / 2^schema)`: the upper end of the bucket with this index in Prometheus'
/// counting, and the lower end of the next. It is exact for schemas up to 0, and else one number
/// for one boundary: `boundary(s, i)` and `boundary(s + 1, 2 * i)` are the same bits.
///
/// The first boundary past all doubles is the greatest double, and those after it are infinite;
/// boundaries below all doubles are 0.
pub(super) fn boundary(schema: i32, index: i64) -> f64 {
    if schema <= 0 {
        let step = 1_i64 << (-schema.max(-DOUBLINGS_MAX));
        let exponent = index.saturating_mul(step);
        return match exponent {
            EXPONENT_END.. if exponent - step < EXPONENT_END => f64::MAX,
            _ => scaled(1.0, exponent),
        };
    }
    let schema = schema.min(SCHEMA_MAX);
    let steps = 1_i64 << schema;
    // Both are exact: whole numbers below 2^52, and a power of two.
    let part = (index & (steps - 1)) as f64 / steps as f64;
    match (index >> schema, part) {
        (EXPONENT_END, 0.0) => f64::MAX,
        (exponent, 0.0) => scaled(1.0, exponent),
        (exponent, part) => scaled(libm::exp2(part), exponent),
    }
}

fn scaled(number: f64, exponent: i64) -> f64 {
    // Past these the result is 0 or infinite anyway.
    libm::ldexp(number, exponent.clamp(-2_000, 2_000) as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_are_exact_at_every_schema() {
        for exponent in -1_074..1_024_i64 {
            let power = libm::ldexp(1.0, exponent as i32);
            for schema in 0..=20 {
                let found = boundary(schema, exponent << schema);
                assert_eq!(found.to_bits(), power.to_bits(), "{schema} {exponent}");
            }
            for doublings in 1..=10 {
                if exponent % (1 << doublings) == 0 {
                    let found = boundary(-doublings, exponent >> doublings);
                    assert_eq!(found.to_bits(), power.to_bits(), "-{doublings} {exponent}");
                }
            }
        }
        assert_eq!(boundary(-4, 2), 4_294_967_296.0);
    }

    #[test]
    fn the_ends_of_the_doubles_are_those_of_the_definition() {
        for schema in -4..=8 {
            let last = match schema {
                ..=0 => 1_024 >> -schema,
                _ => 1_024 << schema,
            };
            assert!(boundary(schema, last - 1) < f64::MAX);
            assert_eq!(boundary(schema, last), f64::MAX);
            assert_eq!(boundary(schema, last + 1), f64::INFINITY);
            assert_eq!(boundary(schema, i64::MAX), f64::INFINITY);
            assert_eq!(boundary(schema, i64::MIN), 0.0);
        }
        // The definition's own numbers for schema 8.
        assert_eq!(boundary(8, 262_144), f64::MAX);
        // Wider than all doubles: one bucket on each side of 1.
        assert_eq!((boundary(-11, 0), boundary(-11, 1)), (1.0, f64::MAX));
        assert_eq!((boundary(-11, -1), boundary(-11, 2)), (0.0, f64::INFINITY));
        assert_eq!((boundary(i32::MIN, 0), boundary(i32::MAX, 0)), (1.0, 1.0));
        assert_eq!(boundary(i32::MIN, 1), f64::MAX);
    }

    #[test]
    fn boundaries_rise_and_agree_between_schemas() {
        for schema in 1..=8 {
            let mut before = 0.0;
            for index in -(40 << schema)..(40 << schema) {
                let found = boundary(schema, index);
                assert!(found > before, "{schema} {index}");
                assert_eq!(found.to_bits(), boundary(schema + 1, 2 * index).to_bits());
                before = found;
            }
        }
        let ulp = f64::EPSILON;
        assert!((boundary(1, 1) - 2_f64.sqrt()).abs() <= ulp);
        assert!((boundary(2, 1) - 2_f64.sqrt().sqrt()).abs() <= ulp);
        assert!((boundary(3, 8 * 7 + 3) / 128.0 - 1.296_839_554_651_009_6).abs() <= ulp);
    }
}
