//! STUB until the configuration branch lands.
#![allow(missing_docs)]
use super::daemon::Config;
use super::problem::{Problem, ProblemCode, Problems};
use std::path::PathBuf;

#[derive(Debug, Clone, Default)]
pub struct Sources {
    pub file: Option<PathBuf>,
    pub environment: Vec<(String, String)>,
    pub set: Vec<String>,
}
fn merge(into: &mut toml::Table, from: toml::Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(a)), toml::Value::Table(b)) => merge(a, b),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}
impl Config {
    pub fn load(sources: &Sources) -> Result<Config, Problems> {
        let bad = |m: String| Problems {
            items: vec![Problem::of_file("config", ProblemCode::BadValue, m)],
        };
        let mut all: toml::Table = include_str!("../../config/default.toml")
            .parse()
            .expect("valid");
        if let Some(path) = &sources.file {
            let text = std::fs::read_to_string(path).map_err(|e| bad(e.to_string()))?;
            merge(
                &mut all,
                text.parse()
                    .map_err(|e: toml::de::Error| bad(e.to_string()))?,
            );
        }
        for set in &sources.set {
            let (key, value) = set.split_once('=').ok_or_else(|| bad("no =".into()))?;
            let text = if value.parse::<f64>().is_ok() || value == "true" || value == "false" {
                format!("{key} = {value}")
            } else {
                format!("{key} = {value:?}")
            };
            merge(
                &mut all,
                text.parse()
                    .map_err(|e: toml::de::Error| bad(e.to_string()))?,
            );
        }
        all.try_into()
            .map_err(|e: toml::de::Error| bad(e.to_string()))
    }
}
