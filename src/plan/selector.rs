//! STUB until the selector branch lands.
use crate::model::Labels;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
/// s
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Selector(pub String);
/// t
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SelectorTemplate(pub String);
impl Selector {
    /// n
    pub fn named(n: &str) -> Selector {
        Selector(n.into())
    }
    /// m
    pub fn matches(&self, n: &str, _l: &Labels) -> bool {
        self.0 == n
    }
}
impl SelectorTemplate {
    /// f
    pub fn fill(&self, _v: &BTreeMap<String, String>) -> Result<Selector, String> {
        Ok(Selector(self.0.clone()))
    }
}
