//! A plan as text from which the same plan comes back.
//!
//! Owns what a plan's serialised form leaves out because no verdict depends on it: how its selectors
//! were written, which senders are shown. Next: `engine::checkpoint`, which keeps such plans.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Check, Metric, MetricKind, Plan, Selector};

/// A plan as text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SavedPlan {
    json: String,
    /// The texts of its metrics' selectors, in their order.
    written: Vec<String>,
}

// === impl Plan ===

impl Plan {
    /// Stands where a plan will be once what belongs to it is loaded.
    pub fn to_come() -> Arc<Plan> {
        let metric = Metric::recorded("", MetricKind::Latency, None);
        Arc::new(Plan::about(metric, Vec::<Check>::new(), 1))
    }

    /// The same questions without the matchers that tell samples apart, compiled regexes and all.
    pub fn without_matchers(&self) -> Plan {
        let mut plan = self.clone();
        plan.arms = None;
        for metric in &mut plan.metrics {
            for selector in metric.source.selectors_mut() {
                *selector = Selector::named(&metric.name);
            }
        }
        plan
    }

    /// As text.
    pub fn saved(&self) -> SavedPlan {
        let sources = self.metrics.iter().map(|metric| &metric.source);
        let selectors = sources.flat_map(|source| source.selectors());
        SavedPlan {
            json: serde_json::to_string(self).expect("a plan is plain data"),
            written: selectors.map(|one| one.as_str().to_owned()).collect(),
        }
    }
}

// === impl SavedPlan ===

impl SavedPlan {
    /// The plan.
    ///
    /// # Errors
    /// What makes the text no plan.
    pub fn plan(self) -> Result<Plan, serde_json::Error> {
        let mut plan: Plan = serde_json::from_str(&self.json)?;
        let sources = plan.metrics.iter_mut().map(|metric| &mut metric.source);
        let selectors = sources.flat_map(|source| source.selectors_mut());
        for (selector, written) in selectors.zip(self.written) {
            selector.source = written;
        }
        Ok(plan)
    }
}
