//! From a Kayenta configuration to a davy plan.
//!
//! Owns what of one means what of the other, and says beside each line where it means something
//! else: the two judges ask other questions, so a plan that only looked the same would mislead. The
//! written form of plans is [`super::plan_file`]'s, which every plan made here is read by before it is
//! given out. A file a step: [`query`] (PromQL), [`strangers`] (keys that Kayenta passes over),
//! [`metric`] (one metric and its check), [`times`] (what stood in the request), [`write`] and
//! [`scored`] (the text).

mod metric;
mod query;
mod scored;
mod strangers;
mod times;
mod write;

pub use times::{Judged, Requested};
pub use write::plan_name;

use serde_json::Value;

use super::plan_file;
use crate::codec::kayenta::analysis::Analysis;
use crate::codec::kayenta::configuration::{CanaryConfig, MetricConfig};
use crate::plan::{METRICS_MAX, Plan};
use metric::Imported;

/// A plan made of a configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Import {
    /// The plan, YAML with comments.
    pub plan: String,
    /// The same, read.
    pub parsed: Plan,
    /// What its writer should hear besides: keys that meant nothing, and what the plan's reader
    /// warns of.
    pub warnings: Vec<String>,
}

/// Makes a plan of a configuration, and of what stood in a request on it.
///
/// # Errors
/// What is no configuration, what Kayenta's judge would break on, and what no plan can hold.
pub fn import(text: &[u8], requested: &Requested) -> Result<Import, String> {
    let config = CanaryConfig::read(text)?;
    let raw: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let metrics = config.metrics();
    if metrics.is_empty() {
        return Err("the configuration has no metrics, and a plan needs one".to_owned());
    }
    if metrics.len() > METRICS_MAX {
        let count = metrics.len();
        return Err(format!(
            "{count} metrics; a plan has {METRICS_MAX} at most: split the configuration"
        ));
    }
    let analyses = metrics
        .iter()
        .map(analysis_of)
        .collect::<Result<Vec<_>, _>>()?;
    let queries: Vec<_> = metrics.iter().map(|one| query::of(one, &config)).collect();
    let arms = query::shared_arms(&queries);
    let mut imported: Vec<Imported> = Vec::new();
    for ((metric, analysis), query) in metrics.iter().zip(&analyses).zip(queries) {
        let name = metric::name_of(metric, &imported);
        let query = query.and_then(|query| query.under(arms.as_ref()));
        imported.push(metric::import(name, metric, analysis, query, &config));
    }
    if !requested.keeps_judge(&config) {
        metric::one_must_gate(&mut imported);
    }
    let mut warnings = strangers::of(&raw);
    let plan = write::plan(&config, requested, arms.as_ref(), &imported, &warnings);
    let parsed = plan_file::parse_plan("the plan made of it", &plan)
        .map_err(|problems| format!("no valid plan could be made of it: {problems}"))?;
    let told = parsed.warnings.into_iter();
    warnings.extend(told.map(|problem| format!("the plan: {}: {}", problem.path, problem.message)));
    Ok(Import {
        plan,
        parsed: parsed.plan,
        warnings,
    })
}

fn analysis_of(metric: &MetricConfig) -> Result<Analysis, String> {
    Analysis::read(metric.analysis()).map_err(|wrong| {
        format!(
            "metric {:?}: {wrong}; Kayenta's judge ends here too",
            metric.name()
        )
    })
}

#[cfg(test)]
mod tests;
