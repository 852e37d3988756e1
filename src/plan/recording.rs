//! A plan about one metric, for data whose owner wrote none: a recording, a simulation.
//!
//! Owns what such a plan has besides its question: ticks of a second, no lateness, no labels, no
//! bake time, policies that never act. What to ask of the data is the caller's business.

use std::collections::BTreeMap;

use super::{
    Check, Cluster, Lifetime, Metric, MetricKind, OnInconclusive, OnNoData, Plan, Question,
    Resolution, Selector, Source, StepGate, UNITS_PER_TICK_LIMIT,
};
use crate::model::Millis;

/// Length of the tick of such a plan.
pub const TICK: Millis = 1_000;

/// Share of units seen in more than one tick from which units live for the run.
const RECURRING_SHARE: f64 = 0.1;

// === impl Lifetime ===

impl Lifetime {
    /// How long units live, by the ticks each was seen in: a few that straddle the end of a tick
    /// are short-lived all the same, units that come again are not. What comes again is one draw
    /// of a unit and not several, so taking it for short-lived would count it as evidence twice.
    pub fn seen<U: Ord>(places: impl IntoIterator<Item = (U, Millis)>) -> Lifetime {
        let mut units: BTreeMap<U, (Millis, bool)> = BTreeMap::new();
        for (unit, tick) in places {
            let (first, comes_again) = units.entry(unit).or_insert((tick, false));
            *comes_again |= *first != tick;
        }
        let recurring = units.values().filter(|(_, comes_again)| *comes_again);
        if recurring.count() as f64 > RECURRING_SHARE * units.len() as f64 {
            Lifetime::Run
        } else {
            Lifetime::Tick
        }
    }
}

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
            kayenta: None,
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
    /// A metric whose samples bear its name; clustered by the samples' own unit where units have
    /// a lifetime.
    pub fn recorded(name: &str, kind: MetricKind, units: Option<Lifetime>) -> Metric {
        Metric {
            name: name.to_owned(),
            kind,
            value_unit: None,
            resolution: Resolution::Detected,
            negative: false,
            source: Source::Values {
                select: Selector::named(name),
            },
            cluster: units.map(|lifetime| Cluster {
                by: "unit".to_owned(),
                lifetime,
                units_per_tick_max: UNITS_PER_TICK_LIMIT,
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
            groups: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_that_come_again_live_for_the_run_and_a_few_that_straddle_do_not() {
        let traces = (0..1_000).flat_map(|i| [(i, i / 10), (i, i / 10 + i64::from(i % 20 == 0))]);
        assert_eq!(Lifetime::seen(traces), Lifetime::Tick);
        let clients = (0..1_000).map(|i| (i % 70, i / 10));
        assert_eq!(Lifetime::seen(clients), Lifetime::Run);
        assert_eq!(Lifetime::seen([("alone", 0)]), Lifetime::Tick);
    }
}
