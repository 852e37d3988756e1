//! A plan about one metric, for data whose owner wrote none: a recording, a simulation.
//!
//! Owns what such a plan has besides its question: ticks of a second, no lateness, no labels, no
//! bake time, policies that never act. What to ask of the data is the caller's business.

use super::{
    Check, Cluster, Lifetime, Metric, MetricKind, OnInconclusive, OnNoData, Plan, Question,
    Resolution, Selector, Source, StepGate,
};
use crate::model::Millis;

/// Length of the tick of such a plan.
pub const TICK: Millis = 1_000;

// === impl Plan ===

impl Plan {
    /// A plan of `looks` ticks about one metric, with alpha and beta 5 % and a pass possible from
    /// the first look. Fields that a caller wants otherwise are set afterwards.
    pub fn about(metric: Metric, checks: Vec<Check>, looks: usize) -> Plan {
        Plan {
            name: metric.name.clone(),
            description: String::new(),
            horizon: TICK * looks as Millis,
            extend: 0,
            tick: TICK,
            lateness: 0,
            min_duration: TICK,
            stop_on_pass: true,
            alpha: 0.05,
            beta: 0.05,
            on_inconclusive: OnInconclusive::Hold,
            on_no_data: OnNoData::Hold,
            step: StepGate {
                min_duration: 0,
                min_samples: 0,
            },
            watch: None,
            traffic: None,
            change_require: Vec::new(),
            arms: None,
            metrics: vec![metric],
            checks,
        }
    }
}

// === impl Metric ===

impl Metric {
    /// A metric whose samples bear its name; `clustered` by the samples' own unit.
    pub fn recorded(name: &str, kind: MetricKind, clustered: bool) -> Metric {
        Metric {
            name: name.to_owned(),
            kind,
            value_unit: None,
            resolution: Resolution::Detected,
            negative: false,
            source: Source::Values {
                select: Selector::named(name),
            },
            cluster: clustered.then(|| Cluster {
                by: "unit".to_owned(),
                lifetime: Lifetime::Tick,
            }),
        }
    }
}

// === impl Check ===

impl Check {
    /// A gating check of the plan's first metric, without minimum.
    pub fn asking(name: &str, question: Question) -> Check {
        Check {
            name: name.to_owned(),
            metric: 0,
            question,
            gating: true,
            weight: 1.0,
            min_samples: 0,
            require_units: 1,
        }
    }
}
