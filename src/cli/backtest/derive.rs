//! A plan for a recording that has none: from what was measured and how much of it there is.
//!
//! Owns the defaults for recordings: tolerances by kind, number of looks by size, tail quantile by
//! the smaller arm, clustering where units repeat. The recording's clock is mapped onto ticks of a
//! second, arm by arm where the arms were not recorded at the same time, so that every plan here
//! is an ordinary plan.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Case, Direction, length_secs};
use crate::codec::csv::Row;
use crate::model::{Arm, Millis};
use crate::plan::{
    Check, Dispersion, Lifetime, Metric, MetricKind, Plan, Quantile, Question, Tolerance, Worse,
};

/// Most looks a recording gets.
const LOOKS_MAX: usize = 60;
/// Units of the smaller arm that a look should have.
const UNITS_PER_LOOK: usize = 10;
/// Units of the smaller arm below which there is one look.
const SEQUENTIAL_UNITS_MIN: usize = 50;
/// Relative tolerance of a tail quantile.
const TAIL_TOLERANCE: f64 = 0.25;
/// Tail quantiles (per mille) with the values the smaller arm needs: at several looks, at one.
const TAILS: [(u16, f64, f64); 3] = [
    (990, 1_000.0, 1_000.0),
    (950, 200.0, 200.0),
    (900, 50.0, 20.0),
];
/// Share of distinct units among rows below which units are clusters.
const CLUSTERED_SHARE: f64 = 0.9;
const METRIC: &str = "recorded";

/// A plan, and the rows on its clock.
pub(super) struct Derived {
    pub plan: Arc<Plan>,
    pub rows: Vec<Row>,
    /// Seconds of the recording per second of the plan.
    pub secs_per_plan_sec: f64,
    pub length_secs: f64,
}

/// The shape of a recording.
struct Shape {
    kind: MetricKind,
    worse: Worse,
    tolerance: Tolerance,
    clustered: bool,
    looks: usize,
    tail: Option<Quantile>,
}

/// Derives the plan of a case and puts its rows on the plan's clock.
pub(super) fn derive(case: &Case, rows: Vec<Row>) -> Derived {
    let length = length_secs(&rows);
    let lower = case.direction == Direction::LowerIsWorse;
    let (rows, lower) = turned(case, rows, lower);
    let shape = shape(case, &rows, lower);
    let looks = shape.looks;
    let rows = on_clock(rows, case.concurrent, looks);
    let plan = Arc::new(plan_of(&shape, lifetime(&rows)));
    Derived {
        plan,
        rows,
        secs_per_plan_sec: length / looks as f64,
        length_secs: length,
    }
}

/// Availability is judged as its complement in percent, a success ratio as its failures.
fn turned(case: &Case, mut rows: Vec<Row>, lower: bool) -> (Vec<Row>, bool) {
    let complement = match case.metric_kind.as_str() {
        "availability_pct" => Some(100.0),
        "error_ratio" if lower => Some(1.0),
        _ => None,
    };
    let Some(whole) = complement else {
        return (rows, lower);
    };
    for row in &mut rows {
        row.value = row.value.map(|value| whole - value);
    }
    (rows, false)
}

fn shape(case: &Case, rows: &[Row], lower: bool) -> Shape {
    let is_series = matches!(case.stratum.as_str(), "agg_series" | "count")
        && !case.traits.iter().any(|name| name == "raw");
    let arms = Arm::BOTH.map(|arm| ArmShape::of(rows, arm));
    let is_ratio = case.metric_kind == "error_ratio";
    let repeats = |arm: &ArmShape| (arm.units as f64) < CLUSTERED_SHARE * arm.rows as f64;
    let fewest_units = arms[0].units.min(arms[1].units);
    let clustered = if is_ratio {
        fewest_units >= 5 && arms.iter().any(repeats)
    } else {
        !is_series && (case.stratum == "histogram" || (repeats(&arms[0]) && fewest_units >= 3))
    };
    let units = if clustered && !is_ratio {
        fewest_units
    } else {
        arms[0].rows.min(arms[1].rows)
    };
    let looks = if is_series || units < SEQUENTIAL_UNITS_MIN {
        1
    } else {
        (units / UNITS_PER_LOOK).clamp(1, LOOKS_MAX)
    };
    let kind = match () {
        () if is_ratio => MetricKind::Ratio,
        () if is_series => MetricKind::Gauge,
        () => MetricKind::Latency,
    };
    let values = arms[0].weight.min(arms[1].weight);
    let tail = (kind == MetricKind::Latency)
        .then(|| tail_for(values, looks, lower))
        .flatten();
    Shape {
        kind,
        worse: if lower { Worse::Lower } else { Worse::Higher },
        tolerance: tolerance_for(&case.metric_kind),
        clustered,
        looks,
        tail,
    }
}

struct ArmShape {
    rows: usize,
    weight: f64,
    units: usize,
}

// === impl ArmShape ===

impl ArmShape {
    fn of(rows: &[Row], arm: Arm) -> ArmShape {
        let mine: Vec<&Row> = rows
            .iter()
            .filter(|row| row.arm == arm && row.value.is_some())
            .collect();
        let named: BTreeSet<&str> = mine.iter().filter_map(|row| row.unit.as_deref()).collect();
        // Rows without a unit are independent.
        let alone = mine.iter().filter(|row| row.unit.is_none()).count();
        ArmShape {
            rows: mine.len(),
            weight: mine.iter().map(|row| row.weight).sum(),
            units: named.len() + alone,
        }
    }
}

fn tolerance_for(metric_kind: &str) -> Tolerance {
    let (relative, absolute) = match metric_kind {
        "cpu" | "bytes" => (Some(0.20), None),
        "count" => (Some(0.20), Some(1.0)),
        "availability_pct" => (None, Some(0.5)),
        "error_ratio_pct" => (Some(0.20), Some(0.1)),
        "error_ratio" => (Some(0.20), Some(0.01)),
        _ => (Some(0.10), None),
    };
    Tolerance { relative, absolute }
}

fn tail_for(values: f64, looks: usize, lower: bool) -> Option<Quantile> {
    let enough =
        |&&(_, several, one): &&(u16, f64, f64)| values >= if looks > 1 { several } else { one };
    let (per_mille, _, _) = TAILS.iter().find(enough)?;
    Quantile::from_per_mille(if lower { 1000 - per_mille } else { *per_mille })
}

/// How long units live on the plan's clock, by arm and name; rows without a unit are their own.
fn lifetime(rows: &[Row]) -> Lifetime {
    Lifetime::seen(rows.iter().filter_map(|row| {
        let unit = (row.arm.index(), row.unit.as_deref()?);
        Some((unit, row.secs.unwrap_or(0.0) as Millis))
    }))
}

fn plan_of(shape: &Shape, lifetime: Lifetime) -> Plan {
    let question = |at, tolerance| Question::Compare {
        at,
        worse: shape.worse,
        tolerance,
        dispersion: Dispersion::Envelope,
    };
    let rank = Check {
        weight: 2.0,
        ..Check::asking(METRIC, question(None, shape.tolerance))
    };
    let tail = shape.tail.map(|at| {
        let name = format!("{METRIC}-{at}");
        Check::asking(&name, question(Some(at), tail_tolerance(shape)))
    });
    let metric = Metric::recorded(METRIC, shape.kind, shape.clustered.then_some(lifetime));
    let checks = std::iter::once(rank).chain(tail).collect();
    let plan = Plan::about(metric, checks, shape.looks);
    Plan {
        name: "derived".to_owned(),
        description: "derived from the kind and size of a recording".to_owned(),
        // A pass in a backtest comes at the end only.
        min_duration: plan.horizon,
        ..plan
    }
}

/// 25 % in the tail, whichever way: a lower tail may shrink to 1/1.25.
fn tail_tolerance(shape: &Shape) -> Tolerance {
    match shape.worse {
        Worse::Lower => Tolerance {
            relative: Some(1.0 - 1.0 / (1.0 + TAIL_TOLERANCE)),
            absolute: None,
        },
        _ => Tolerance {
            relative: Some(TAIL_TOLERANCE),
            absolute: shape.tolerance.absolute,
        },
    }
}

/// Maps the recording's clock onto the plan's: arms recorded at the same time keep their common
/// clock, others are each stretched over the whole.
fn on_clock(rows: Vec<Row>, concurrent: bool, looks: usize) -> Vec<Row> {
    let range = |arm: Option<Arm>| {
        let secs = rows
            .iter()
            .filter(|row| arm.is_none_or(|arm| row.arm == arm));
        secs.filter_map(|row| row.secs)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), s| {
                (low.min(s), high.max(s))
            })
    };
    let ranges = Arm::BOTH.map(|arm| range((!concurrent).then_some(arm)));
    let plan_secs = looks as f64;
    rows.into_iter()
        .filter_map(|mut row| {
            let (low, high) = ranges[row.arm.index()];
            let share = (row.secs? - low) / (high - low).max(1e-9);
            // The last instant belongs to the last tick.
            row.secs = Some((share * plan_secs).clamp(0.0, plan_secs - 0.001));
            row.metric = None;
            Some(row)
        })
        .collect()
}
