//! Which samples are whose: label matchers of running analyses against a sample's series.
//!
//! Owns the match of one series with the arms and metrics of an analysis. Results are kept for
//! the length of a batch, in which the same few series come again and again. Next: `ingest`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::messages::{Refusal, RefusalCode};
use crate::model::{Arm, Labels};
use crate::plan::{Counted, Plan, Selector, Source};

/// The label with the upper bound of a bucket.
pub(super) const BUCKET_LABEL: &str = "le";

/// The plan's arm matchers with their variables filled in.
#[derive(Debug, Clone)]
pub(super) struct ArmSelectors {
    arms: [Selector; 2],
}

/// What a matching series counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Role {
    /// The reading itself.
    Reading,
    /// Bad events (ratio) or events (rate).
    Bad,
    /// Events that went well, those up to a bucket's bound (ratio).
    Good,
    /// All events (ratio) or exposure (rate).
    Total,
    /// All observations of a histogram, of which some went well (ratio).
    TotalOfGood,
}

/// How what a series' points hold is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) enum Form {
    /// As it is: a reading, or what came on top.
    AsIs,
    /// A total, of which what came on top counts.
    Total,
    /// A histogram, of which observations above this bound count.
    Above(f64),
    /// A histogram, of which all buckets count.
    Buckets,
    /// The total of observations up to this bound.
    UpTo(f64),
}

/// One place a series belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Place {
    pub metric: usize,
    pub arm: Arm,
    pub role: Role,
    pub form: Form,
}

/// How a series meets one analysis.
#[derive(Debug, Clone, PartialEq)]
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
        // The arms first: of a thousand analyses most are of other services, and a plan has more
        // metrics than arms.
        let of_arms = [0, 1].map(|arm| self.arms[arm].matches(name, labels));
        if of_arms == [false, false] {
            return Match::None;
        }
        let places = places(plan, name, labels);
        if places.is_empty() {
            return Match::None;
        }
        let arm = match of_arms {
            [true, true] => return Match::Ambiguous,
            [true, false] => Arm::Baseline,
            [false, _] => Arm::Canary,
        };
        Match::Places(
            places
                .into_iter()
                .map(|(metric, role, form)| Place {
                    metric,
                    arm,
                    role,
                    form,
                })
                .collect(),
        )
    }
}

fn places(plan: &Plan, name: &str, labels: &Labels) -> Vec<(usize, Role, Form)> {
    let mut found = Vec::new();
    for (metric, source) in plan.metrics.iter().map(|metric| &metric.source).enumerate() {
        let mut ask = |selector: &Selector, role, form| {
            if selector.matches(name, labels) {
                found.push((metric, role, form));
            }
        };
        match source {
            // What is pulled comes by itself, with its place.
            Source::Pulled(_) => {}
            Source::Values { select } => ask(select, Role::Reading, Form::AsIs),
            Source::RatioCounts {
                bad,
                total,
                counted,
            } => {
                ask(bad, Role::Bad, form_of(*counted));
                ask(total, Role::Total, form_of(*counted));
            }
            Source::RateCounts {
                events,
                exposure,
                counted,
            } => {
                ask(events, Role::Bad, form_of(*counted));
                if let Some(exposure) = exposure {
                    ask(exposure, Role::Total, form_of(*counted));
                }
            }
            Source::Buckets { histogram, buckets } => {
                ask(histogram, Role::Reading, Form::Buckets);
                // Not every series of the name is of a histogram.
                if let Some(bound) = bound_of_bucket(labels) {
                    ask(buckets, Role::Reading, Form::UpTo(bound));
                }
            }
            Source::Above {
                histogram,
                buckets,
                bound,
            } => {
                ask(histogram, Role::Bad, Form::Above(*bound));
                if let Some((role, form)) = bucket_about(labels, *bound) {
                    ask(buckets, role, form);
                }
            }
        }
    }
    found
}

fn form_of(counted: Counted) -> Form {
    match counted {
        Counted::Increments => Form::AsIs,
        Counted::Totals => Form::Total,
    }
}

/// The upper bound of the bucket that a series counts.
pub(super) fn bound_of_bucket(labels: &Labels) -> Option<f64> {
    // Senders write 0.5, 5e-01, 1 or 1.0.
    let upper: f64 = labels.get(BUCKET_LABEL)?.parse().ok()?;
    (!upper.is_nan()).then_some(upper)
}

/// What a bucket counts for: buckets count everything up to their bound, so the one at the bound
/// holds what went well and the last one all. The others are not needed.
pub(super) fn bucket_about(labels: &Labels, bound: f64) -> Option<(Role, Form)> {
    let upper = bound_of_bucket(labels)?;
    if upper == bound {
        Some((Role::Good, Form::UpTo(upper)))
    } else if upper == f64::INFINITY {
        Some((Role::TotalOfGood, Form::UpTo(upper)))
    } else {
        None
    }
}
