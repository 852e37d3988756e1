//! Numbers as JSON, with the words `inf` and `-inf` for what JSON cannot say.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Word {
    Finite(f64),
    Infinite(String),
}

pub fn serialize<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(|&value| match value {
        f64::INFINITY => Word::Infinite("inf".to_owned()),
        f64::NEG_INFINITY => Word::Infinite("-inf".to_owned()),
        finite => Word::Finite(finite),
    }))
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    let words = Vec::<Word>::deserialize(deserializer)?;
    words
        .into_iter()
        .map(|word| match word {
            Word::Finite(value) => Ok(value),
            Word::Infinite(word) => match word.as_str() {
                "inf" => Ok(f64::INFINITY),
                "-inf" => Ok(f64::NEG_INFINITY),
                other => Err(D::Error::custom(format!("{other:?} is not a number"))),
            },
        })
        .collect()
}
