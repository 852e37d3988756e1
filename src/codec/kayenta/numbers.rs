//! Numbers as Kayenta's JSON has them: words where JSON has no number.
//!
//! Owns the words, and the form of lists of such numbers for `#[serde(with = "numbers")]`.

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serializer};
use serde_json::Value;

/// A number as Kayenta writes it: a word where JSON has none.
pub fn number(value: f64) -> Value {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.into()
    } else {
        value.into()
    }
}

/// A double, or one of the words for what is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loose(pub f64);

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Loose, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Loose;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number, \"NaN\", \"Infinity\" or \"-Infinity\"")
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Loose, E> {
                Ok(Loose(value))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Loose, E> {
                Ok(Loose(value as f64))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Loose, E> {
                Ok(Loose(value as f64))
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Loose, E> {
                match word {
                    "NaN" => Ok(Loose(f64::NAN)),
                    "Infinity" => Ok(Loose(f64::INFINITY)),
                    "-Infinity" => Ok(Loose(f64::NEG_INFINITY)),
                    _ => Err(E::invalid_value(de::Unexpected::Str(word), &self)),
                }
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// Writes words for what JSON has no number for.
///
/// # Errors
/// The serializer's.
pub fn serialize<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(|&value| number(value)))
}

/// Reads numbers and words.
///
/// # Errors
/// The deserializer's, and what is neither.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    let values = Vec::<Loose>::deserialize(deserializer)?;
    Ok(values.into_iter().map(|Loose(value)| value).collect())
}
