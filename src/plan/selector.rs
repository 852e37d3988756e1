//! Label matchers with Prometheus' semantics: anchored regexes, a missing label is "".

use serde::Serialize;

/// Matchers of one series selector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Selector(pub String);

/// A selector whose values may hold `{{name}}` variables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SelectorTemplate(pub String);
