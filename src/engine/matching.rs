//! Which samples are whose: label matchers of running analyses against a sample's series.
//!
//! Owns the match of one series with the arms and metrics of an analysis. Results are kept for
//! the length of a batch, in which the same few series come again and again. Next: `ingest`.

use std::collections::BTreeMap;

use super::messages::{Refusal, RefusalCode};
use crate::model::{Arm, Labels};
use crate::plan::{Plan, Selector, Source};

/// The plan's arm matchers with their variables filled in.
#[derive(Debug, Clone)]
pub(super) struct ArmSelectors {
    arms: [Selector; 2],
}

/// What a matching series counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The reading itself.
    Reading,
    /// Increments of bad events (ratio) or of events (rate).
    Bad,
    /// Increments of all events (ratio) or of exposure (rate).
    Total,
}

/// One place a series belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub metric: usize,
    pub arm: Arm,
    pub role: Role,
}

/// How a series meets one analysis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Match {
    /// No metric or no arm of the analysis asks for it.
    None,
    /// Both arms ask for it, which can only be a mistake in the matchers.
    Ambiguous,
    /// It belongs here.
    Places(Vec<Place>),
}

/// How near an analysis comes to asking for a series that it does not ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nearness {
    /// A metric asks for it, no arm does.
    Metric,
    /// An arm asks for its labels, no metric for it.
    Arm,
    /// Neither.
    None,
}

// === impl ArmSelectors ===

impl ArmSelectors {
    /// Fills the plan's templates; `None` for a plan whose samples are always addressed.
    pub fn fill(
        plan: &Plan,
        variables: &BTreeMap<String, String>,
    ) -> Result<Option<ArmSelectors>, Refusal> {
        let Some(templates) = &plan.arms else {
            return Ok(None);
        };
        let fill = |template: &crate::plan::SelectorTemplate| {
            template.fill(variables).map_err(|missing| Refusal {
                code: RefusalCode::ArmVariableMissing,
                message: missing.to_string(),
                help: Some("name it under \"arms\" in the request".to_owned()),
            })
        };
        let arms = [fill(&templates.baseline)?, fill(&templates.canary)?];
        if arms[0] == arms[1] {
            let message = format!("both arms would select {}", arms[0].canonical());
            return Err(Refusal {
                code: RefusalCode::ArmsAlike,
                message,
                help: Some("give the arms different values under \"arms\"".to_owned()),
            });
        }
        Ok(Some(ArmSelectors { arms }))
    }

    /// The matchers of an arm.
    pub fn of(&self, arm: Arm) -> &Selector {
        &self.arms[arm.index()]
    }

    /// How near this analysis comes to a series that it does not ask for.
    pub fn nearness(&self, plan: &Plan, name: &str, labels: &Labels) -> Nearness {
        if !places(plan, name, labels).is_empty() {
            Nearness::Metric
        } else if self.arms.iter().any(|arm| arm.matches(name, labels)) {
            Nearness::Arm
        } else {
            Nearness::None
        }
    }

    /// How a series meets this analysis.
    pub fn meet(&self, plan: &Plan, name: &str, labels: &Labels) -> Match {
        let places = places(plan, name, labels);
        if places.is_empty() {
            return Match::None;
        }
        let arm = match [0, 1].map(|arm| self.arms[arm].matches(name, labels)) {
            [true, true] => return Match::Ambiguous,
            [true, false] => Arm::Baseline,
            [false, true] => Arm::Canary,
            [false, false] => return Match::None,
        };
        Match::Places(
            places
                .into_iter()
                .map(|(metric, role)| Place { metric, arm, role })
                .collect(),
        )
    }
}

fn places(plan: &Plan, name: &str, labels: &Labels) -> Vec<(usize, Role)> {
    let mut found = Vec::new();
    for (metric, source) in plan.metrics.iter().map(|metric| &metric.source).enumerate() {
        let mut ask = |selector: &Selector, role| {
            if selector.matches(name, labels) {
                found.push((metric, role));
            }
        };
        match source {
            Source::Values { select } => ask(select, Role::Reading),
            Source::RatioIncrements { bad, total } => {
                ask(bad, Role::Bad);
                ask(total, Role::Total);
            }
            Source::RateIncrements { events, exposure } => {
                ask(events, Role::Bad);
                if let Some(exposure) = exposure {
                    ask(exposure, Role::Total);
                }
            }
        }
    }
    found
}
