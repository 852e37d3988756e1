//! How much each check's score varies where nothing is wrong.
//!
//! Owns the measuring: a plan's comparisons take the ticks of a healthy recording, whose two arms
//! run the same code, and the standardised sums of their scores tell how far dependence widens
//! them. It must not know where the ticks come from. Next: `stats::dispersion`, the estimate, and
//! `dispersion`, which applies it.

use std::sync::Arc;

use super::{Detail, OneCheck, setting};
use crate::plan::{Check, Dispersion, MetricKind, Plan, Question, Tolerance, Worse};
use crate::stats::dispersion::{self, LENGTHS, LongRun};
use crate::window::ClosedTick;

type ByLength = [Vec<f64>; LENGTHS.len()];

/// Measures the comparisons of a plan.
#[derive(Debug)]
pub struct Calibrator {
    plan: Arc<Plan>,
    /// By index of the check; a limit has none.
    checks: Vec<Option<OneCheck>>,
    /// Batches of the recordings that are over, by check and by their length.
    batches: Vec<ByLength>,
    ticks: usize,
}

/// What was measured of one check.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measure {
    /// Index of the check in the plan.
    pub check: usize,
    /// The estimate: of a gauge, of a tick's number; else of the variance over the law's.
    pub long_run: LongRun,
    /// Point estimate in the unit of the number that a plan takes: a factor, or a deviation.
    pub measured: f64,
    /// What the check is to take; `None` where the numbers never varied.
    pub dispersion: Option<Dispersion>,
}

// === impl Calibrator ===

impl Calibrator {
    /// Nothing measured yet.
    pub fn new(plan: &Plan) -> Calibrator {
        let mut plan = plan.clone();
        // A single look has a test of its own, which shows no score by tick.
        plan.horizon = plan.horizon.max(2 * plan.tick);
        let kinds: Vec<MetricKind> = plan.metrics.iter().map(|metric| metric.kind).collect();
        for check in &mut plan.checks {
            to_equality(check, kinds[check.metric]);
        }
        // Whose a value is does not change a score.
        plan.metrics
            .iter_mut()
            .for_each(|metric| metric.cluster = None);
        let batches = vec![ByLength::default(); plan.checks.len()];
        let mut calibrator = Calibrator {
            plan: Arc::new(plan),
            checks: Vec::new(),
            batches,
            ticks: 0,
        };
        calibrator.begin();
        calibrator
    }

    fn begin(&mut self) {
        let plan = &self.plan;
        let compare = |index: usize| {
            let is_compare = matches!(plan.checks[index].question, Question::Compare { .. });
            is_compare.then(|| OneCheck::new(&setting(plan, index, Detail::Outcome), "calibrate"))
        };
        self.checks = (0..plan.checks.len()).map(compare).collect();
    }

    /// Takes the next tick of a recording.
    pub fn close(&mut self, tick: &ClosedTick) {
        self.ticks += 1;
        for (index, check) in self.checks.iter_mut().enumerate() {
            let setting = setting(&self.plan, index, Detail::Outcome);
            if let Some(check) = check {
                check.close(&tick.cells[setting.check.metric], &setting);
            }
        }
    }

    /// Ends a recording: no batch reaches from one into the next.
    pub fn end_recording(&mut self) {
        for (check, batches) in self.checks.iter_mut().zip(&mut self.batches) {
            if let Some(check) = check {
                let scores = check.scores();
                for (of_length, length) in batches.iter_mut().zip(LENGTHS) {
                    of_length.extend(dispersion::batches(&scores, length));
                }
            }
        }
        self.begin();
    }

    /// The plan as it is measured: at equality, and without units.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Ticks taken.
    pub fn ticks(&self) -> usize {
        self.ticks
    }

    /// What the recordings that are over have shown, by comparison. Checks with fewer than two
    /// batches are left out.
    pub fn measures(&self) -> Vec<Measure> {
        let of_check = |(check, batches): (usize, &ByLength)| {
            let long_run = dispersion::widest(batches)?;
            let metric = &self.plan.metrics[self.plan.checks[check].metric];
            let is_gauge = metric.kind == MetricKind::Gauge;
            let (measured, dispersion) = if is_gauge {
                let sd = long_run.upper.sqrt();
                let varies = sd > 0.0;
                (
                    long_run.variance.sqrt(),
                    varies.then_some(Dispersion::Sd(sd)),
                )
            } else {
                let factor = Dispersion::Factor(long_run.upper.max(1.0));
                (long_run.variance, Some(factor))
            };
            Some(Measure {
                check,
                long_run,
                measured,
                dispersion,
            })
        };
        self.batches
            .iter()
            .enumerate()
            .filter_map(of_check)
            .collect()
    }
}

// === impl OneCheck ===

impl OneCheck {
    /// Each tick's score and its variance by law; of a gauge its number, with 1.
    fn scores(&mut self) -> Vec<(f64, f64)> {
        let side = match self {
            OneCheck::Gauge(check) => {
                let score = |number: &Option<f64>| number.map_or((0.0, 0.0), |n| (n, 1.0));
                return check.numbers().iter().map(score).collect();
            }
            OneCheck::Rank(check) => check.sides().into_iter().next(),
            OneCheck::Tail(check) => check.sides().into_iter().next(),
            OneCheck::Counts(check) => check.sides().into_iter().flatten().next(),
            OneCheck::Threshold(_)
            | OneCheck::Breach(_)
            | OneCheck::BurnRate(_)
            | OneCheck::Classify(_) => None,
        };
        let Some(side) = side else {
            return Vec::new();
        };
        let pairs = side.prefix_s().windows(2).zip(side.prefix_v().windows(2));
        pairs.map(|(s, v)| (s[1] - s[0], v[1] - v[0])).collect()
    }
}

// === functions ===

/// The same comparison at equality, in one direction, with nothing allowed for.
///
/// Counts are always conditioned on their totals: what the absolute part is held against learns the
/// baseline on the way, and would drift through the batches.
fn to_equality(check: &mut Check, kind: MetricKind) {
    if let Question::Compare {
        worse,
        tolerance,
        dispersion,
        ..
    } = &mut check.question
    {
        if *worse == Worse::Either {
            *worse = Worse::Higher;
        }
        let is_count = matches!(kind, MetricKind::Ratio | MetricKind::Rate);
        let by_ratio = is_count || tolerance.relative.is_some();
        *tolerance = Tolerance {
            relative: by_ratio.then_some(0.0),
            absolute: (!by_ratio).then_some(0.0),
        };
        *dispersion = Dispersion::Iid;
    }
}
