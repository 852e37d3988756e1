//! Scalars of the JSON form.
//!
//! Owns how numbers are written there (OpenTelemetry Protocol 1.x, "JSON Protobuf Encoding", and
//! the JSON mapping of protobuf beneath it): 64-bit ones as decimal text or as numbers, doubles that
//! JSON has no digits for as words, enums as numbers. A value that cannot be taken is data here;
//! the reader decides what it spoils.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// One value that is neither object nor list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scalar {
    /// `null`, which is the same as nothing.
    Null,
    /// `true` or `false`.
    Truth(bool),
    /// A number without fraction, in quotes or not.
    Whole(i128),
    /// Any other number, in quotes or not.
    Double(f64),
    /// Something else.
    Other,
}

// === impl Scalar ===

impl Scalar {
    /// A double; whole numbers are rounded to one.
    pub fn double(self) -> Option<f64> {
        match self {
            Scalar::Whole(whole) => Some(whole as f64),
            Scalar::Double(double) => Some(double),
            _ => None,
        }
    }

    /// A whole number of this type; `1e3` is one too.
    pub fn whole<T: TryFrom<i128>>(self) -> Option<T> {
        let whole = match self {
            Scalar::Whole(whole) => whole,
            // All types there are end before this.
            Scalar::Double(double) if double.abs() < 1e20 && double.floor() == double => {
                double as i128
            }
            _ => return None,
        };
        T::try_from(whole).ok()
    }

    fn of_text(text: &str) -> Scalar {
        if let Ok(whole) = text.parse::<i64>() {
            return Scalar::Whole(whole.into());
        }
        if let Ok(whole) = text.parse::<u64>() {
            return Scalar::Whole(whole.into());
        }
        match text {
            "NaN" => Scalar::Double(f64::NAN),
            "Infinity" => Scalar::Double(f64::INFINITY),
            "-Infinity" => Scalar::Double(f64::NEG_INFINITY),
            // The reader of doubles knows words too, and those are not of this form.
            _ if text
                .bytes()
                .all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b)) =>
            {
                text.parse().map_or(Scalar::Other, Scalar::Double)
            }
            _ => Scalar::Other,
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Scalar, D::Error> {
        from.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Scalar, E> {
        Ok(Scalar::Truth(truth))
    }

    fn visit_u64<E>(self, whole: u64) -> Result<Scalar, E> {
        Ok(Scalar::Whole(whole.into()))
    }

    fn visit_i64<E>(self, whole: i64) -> Result<Scalar, E> {
        Ok(Scalar::Whole(whole.into()))
    }

    fn visit_f64<E>(self, double: f64) -> Result<Scalar, E> {
        Ok(Scalar::Double(double))
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::of_text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

/// `AggregationTemporality`: a number as the protocol asks, or the name that some senders write.
pub(super) struct Temporality(pub i64);

impl<'de> Deserialize<'de> for Temporality {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Temporality, D::Error> {
        from.deserialize_any(TemporalityVisitor)
    }
}

struct TemporalityVisitor;

impl<'de> Visitor<'de> for TemporalityVisitor {
    type Value = Temporality;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a temporality")
    }

    fn visit_unit<E>(self) -> Result<Temporality, E> {
        Ok(Temporality(0))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Temporality, E> {
        Ok(Temporality(0))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Temporality, E> {
        Ok(Temporality(i64::try_from(number).unwrap_or(0)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Temporality, E> {
        Ok(Temporality(number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Temporality, E> {
        Ok(Temporality(0))
    }

    fn visit_str<E>(self, name: &str) -> Result<Temporality, E> {
        Ok(Temporality(match name {
            "AGGREGATION_TEMPORALITY_DELTA" => 1,
            "AGGREGATION_TEMPORALITY_CUMULATIVE" => 2,
            _ => 0,
        }))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Temporality, A::Error> {
        ScalarVisitor.visit_seq(seq).map(|_| Temporality(0))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Temporality, A::Error> {
        ScalarVisitor.visit_map(map).map(|_| Temporality(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(text: &str) -> Scalar {
        serde_json::from_str(text).expect("JSON")
    }

    #[test]
    fn numbers_come_bare_quoted_and_in_words() {
        for (text, whole, double) in [
            ("12", Some(12), Some(12.0)),
            (r#""12""#, Some(12), Some(12.0)),
            (r#""-3""#, Some(-3), Some(-3.0)),
            (
                r#""9223372036854775807""#,
                Some(i64::MAX),
                Some(i64::MAX as f64),
            ),
            ("1e3", Some(1_000), Some(1_000.0)),
            ("1.5", None, Some(1.5)),
            (r#""1.5""#, None, Some(1.5)),
            (r#""Infinity""#, None, Some(f64::INFINITY)),
            (r#""-Infinity""#, None, Some(f64::NEG_INFINITY)),
            (r#""inf""#, None, None),
            (r#""""#, None, None),
            (r#""-""#, None, None),
            ("true", None, None),
            ("null", None, None),
            ("[1,[2]]", None, None),
            (r#"{"a":{"b":1}}"#, None, None),
        ] {
            let found = scalar(text);
            assert_eq!((found.whole(), found.double()), (whole, double), "{text}");
        }
        assert!(scalar(r#""NaN""#).double().is_some_and(f64::is_nan));
        assert_eq!(scalar("18446744073709551615").whole(), Some(u64::MAX));
        assert_eq!(scalar(r#""18446744073709551615""#).whole(), Some(u64::MAX));
        assert_eq!(scalar("-1").whole::<u64>(), None);
        assert_eq!(scalar("2147483648").whole::<i32>(), None);
    }

    #[test]
    fn a_temporality_is_a_number_or_its_name() {
        for (text, expected) in [
            ("1", 1),
            ("2", 2),
            ("7", 7),
            ("null", 0),
            ("1.5", 0),
            ("[]", 0),
            (r#""AGGREGATION_TEMPORALITY_DELTA""#, 1),
            (r#""AGGREGATION_TEMPORALITY_CUMULATIVE""#, 2),
            (r#""delta""#, 0),
        ] {
            let found: Temporality = serde_json::from_str(text).expect("JSON");
            assert_eq!(found.0, expected, "{text}");
        }
    }
}
