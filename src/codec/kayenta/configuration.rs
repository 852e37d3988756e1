//! Kayenta's canary configuration.
//!
//! Owns its keys. It is read as Kayenta reads it: what it does not know is passed over, what is null
//! is not there. What is passed over is told by whoever shows the configuration to a person.

use serde::Deserialize;
use serde_json::Value;

use crate::judge::kayenta::score::Weights;

/// A canary configuration.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CanaryConfig {
    /// Its name.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Whom it is for.
    pub applications: Option<Vec<String>>,
    /// The judge it was written for.
    pub judge: Option<JudgeConfig>,
    /// Filters that queries name.
    pub templates: Option<std::collections::BTreeMap<String, String>>,
    /// What is asked of each metric.
    pub metrics: Option<Vec<MetricConfig>>,
    /// How metrics become one score.
    pub classifier: Option<Classifier>,
}

/// The judge that a configuration names.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JudgeConfig {
    /// Its name.
    pub name: Option<String>,
    /// What it is told; the judge here takes nothing of it.
    pub judge_configurations: Option<Value>,
}

/// One metric.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricConfig {
    /// Its name, unique in the configuration.
    pub name: Option<String>,
    /// Its groups, in each of which it counts.
    pub groups: Option<Vec<String>>,
    /// How it is fetched, in the words of its source.
    pub query: Option<Value>,
    /// Settings by judge; those of this one stand under `canary`. They are read when the metric is
    /// judged, and only then can they be wrong.
    pub analysis_configurations: Option<Value>,
    /// The scope of a request that it is fetched for.
    pub scope_name: Option<String>,
}

/// How metrics become one score.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Classifier {
    /// Weights of groups, in percent.
    pub group_weights: Option<Weights>,
    /// Thresholds that no judge looks at: those of the request count.
    pub score_thresholds: Option<Value>,
}

// === impl CanaryConfig ===

impl CanaryConfig {
    /// Reads a configuration.
    ///
    /// # Errors
    /// What is no JSON, or has another form, with its place.
    pub fn read(text: &[u8]) -> Result<CanaryConfig, String> {
        super::pairs::from_json(text)
    }

    /// Its metrics.
    pub fn metrics(&self) -> &[MetricConfig] {
        self.metrics.as_deref().unwrap_or_default()
    }

    /// The first metric of this name.
    pub fn metric(&self, name: &str) -> Option<&MetricConfig> {
        self.metrics().iter().find(|metric| metric.name() == name)
    }

    /// Weights of groups, where there are any.
    pub fn group_weights(&self) -> Option<&Weights> {
        self.classifier.as_ref()?.group_weights.as_ref()
    }
}

// === impl MetricConfig ===

impl MetricConfig {
    /// Its name, empty where it has none.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// Its groups.
    pub fn groups(&self) -> &[String] {
        self.groups.as_deref().unwrap_or_default()
    }

    /// What judges are told about it.
    pub fn analysis(&self) -> &Value {
        self.analysis_configurations
            .as_ref()
            .unwrap_or(&Value::Null)
    }
}
