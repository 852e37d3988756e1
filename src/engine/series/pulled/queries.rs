//! The queries of one analysis, with its variables filled in.
//!
//! Owns what is to be asked from its start on, and again from where it stands after its state was
//! loaded. What the answers add is its parent's.

use std::collections::BTreeMap;

use crate::engine::State;
use crate::engine::analysis::Analysis;
use crate::engine::matching::ArmSelectors;
use crate::engine::messages::*;
use crate::engine::pull::{Pull, PullMetric, PullQuery};
use crate::model::Arm;
use crate::plan::{Plan, Pulled};

/// What is to be asked about the metrics of a plan that are pulled.
pub(super) fn of(
    plan: &Plan,
    arms: &BTreeMap<String, String>,
    selectors: Option<&ArmSelectors>,
) -> Result<Vec<PullMetric>, Refusal> {
    let mut asked = Vec::new();
    for (metric, of) in plan.metrics.iter().enumerate() {
        if let Some(source) = of.source.pulled() {
            asked.push(PullMetric {
                metric,
                name: of.name.clone(),
                are_totals: source.are_totals(),
                queries: of_metric(source, arms, selectors)?,
            });
        }
    }
    Ok(asked)
}

/// The queries of a metric about both arms.
fn of_metric(
    source: &Pulled,
    arms: &BTreeMap<String, String>,
    selectors: Option<&ArmSelectors>,
) -> Result<Vec<PullQuery>, Refusal> {
    let refuse = |message: String, help: &str| Refusal {
        code: RefusalCode::ArmVariableMissing,
        message,
        help: Some(help.to_owned()),
    };
    let Some(selectors) = selectors else {
        let message = "the plan's queries ask for {{arm}}, and the plan has no arms".to_owned();
        return Err(refuse(
            message,
            "write the plan's arms: with label matchers",
        ));
    };
    let mut queries = Vec::new();
    for arm in Arm::BOTH {
        for (part, template) in source.parts() {
            let text = template.fill(selectors.of(arm), arms);
            let text = text.map_err(|missing| {
                refuse(missing.to_string(), "name it under \"arms\" in the request")
            })?;
            queries.push(PullQuery { arm, part, text });
        }
    }
    Ok(queries)
}

// === impl State ===

impl State {
    /// What is to be asked of sources for the analyses that take samples, as it was told at their
    /// starts: for a shell that begins with a state it has loaded. Asking from the first tick that
    /// is open is enough, as [`PullProgress`](crate::engine::pull::PullProgress) tells it; what was
    /// answered before is known. Nothing where nobody pulls.
    pub fn pulls(&self) -> Vec<Pull> {
        let analyses = self.analyses.values();
        let pulled = analyses.filter(|one| self.limits.pulls && one.takes_samples());
        pulled.filter_map(pull_of).collect()
    }
}

fn pull_of(analysis: &Analysis) -> Option<Pull> {
    let selectors = analysis.selectors.as_ref();
    // They were filled at the start, of the same variables.
    let mut metrics = of(&analysis.plan, analysis.arms(), selectors).ok()?;
    // Nobody asked for an analysis that began where nobody pulled.
    metrics.retain(|asked| analysis.pulled.health.contains_key(&asked.metric));
    (!metrics.is_empty()).then(|| analysis.pull_about(metrics))
}
