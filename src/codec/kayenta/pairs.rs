//! Kayenta's metric set pairs.
//!
//! Owns the pair's keys.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::numbers;
use crate::judge::kayenta::mixing::Pair;

/// One metric's values of both sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairDocument {
    /// The metric's name in the configuration.
    pub name: String,
    /// A name of its own, which the result repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Tags of both series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Value>,
    /// The values.
    pub values: SideValues,
    /// When each side begins, for whoever draws it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Value>,
    /// The queries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Value>,
}

/// Values of both sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SideValues {
    /// Of the baseline.
    #[serde(with = "numbers")]
    pub control: Vec<f64>,
    /// Of the canary.
    #[serde(with = "numbers")]
    pub experiment: Vec<f64>,
}

// === impl PairDocument ===

impl From<Pair> for PairDocument {
    fn from(pair: Pair) -> PairDocument {
        let Pair {
            name,
            id,
            tags,
            baseline,
            canary,
        } = pair;
        let scope = |start_iso: &Option<String>, start_millis: i64, step_millis: i64| {
            let mut scope = serde_json::Map::new();
            if let Some(iso) = start_iso {
                scope.insert("startTimeIso".to_owned(), iso.as_str().into());
            }
            scope.insert("startTimeMillis".to_owned(), start_millis.into());
            scope.insert("stepMillis".to_owned(), step_millis.into());
            Value::Object(scope)
        };
        let scopes = serde_json::json!({
            "control": scope(&baseline.start_iso, baseline.start_millis, baseline.step_millis),
            "experiment": scope(&canary.start_iso, canary.start_millis, canary.step_millis),
        });
        let attributes = serde_json::json!({
            "control": baseline.attributes,
            "experiment": canary.attributes,
        });
        PairDocument {
            name,
            id: Some(id),
            tags: Some(serde_json::json!(tags)),
            values: SideValues {
                control: baseline.values,
                experiment: canary.values,
            },
            scopes: Some(scopes),
            attributes: Some(attributes),
        }
    }
}

/// Reads a list of pairs.
///
/// # Errors
/// What is no JSON, or has another form, with its place.
pub fn read_pairs(text: &[u8]) -> Result<Vec<PairDocument>, String> {
    from_json(text)
}

/// JSON of some form; the error names the path and the line.
pub(super) fn from_json<'de, T: Deserialize<'de>>(text: &'de [u8]) -> Result<T, String> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        match path.as_str() {
            "." => error.into_inner().to_string(),
            _ => format!("{path}: {}", error.into_inner()),
        }
    })?;
    reader.end().map_err(|error| error.to_string())?;
    Ok(read)
}
