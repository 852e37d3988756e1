//! `compare` on a distribution: is the canary's whole distribution shifted beyond the tolerance?
//!
//! Owns the stratified rank score: per tick D = 12 (U - mn/2) / (N + 1) with variance
//! V = 12 mn / (N + 1) (van Elteren 1960; the tick is the stratum), the shape factor and the
//! design effect. U - mn/2 is sub-Gaussian with exactly this variance for every pattern of ties,
//! and between the cells of rounded values (see `stats::censored`).
//! A plan with a single look gets the exact permutation test instead. Next: `tail`.

use serde::{Deserialize, Serialize};

use crate::judge::check::{self, Detail, Evidence, LookAt, Setting};
use crate::judge::dispersion::{self, Weakening};
use crate::judge::forecast;
use crate::judge::grid::Grid;
use crate::judge::recorded::{Pair, Placed, Recorded};
use crate::judge::side::{Adjust, Look, Side};
use crate::judge::units::{self, Units};
use crate::judge::verdict::Scale;
use crate::model::{Arm, Reason};
use crate::plan::{Tolerance, Worse};
use crate::stats::rank::Sorted;
use crate::stats::special;
use crate::window::Cell;

/// Values an arm needs before the shape factor is believed.
const SHAPE_VALUES_MIN: f64 = 50.0;

/// The rank check of one metric.
#[derive(Debug, Serialize, Deserialize)]
pub struct RankCheck {
    worse: Worse,
    tolerance: Tolerance,
    sides: Vec<OneSide>,
    grid: Grid,
    recorded: Recorded,
    clustered: bool,
    negative: bool,
    infinite: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct OneSide {
    worse_is_lower: bool,
    side: Side,
    shape: [Placement; 2],
    units: [Units; 2],
    single: Option<SingleLook>,
}

/// Exact one-sided p-values of a plan's only look.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct SingleLook {
    p_worse: f64,
    p_better: f64,
}

/// Running moments of placements (the share of the other arm below a value) and their null law.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Placement {
    count: f64,
    sum: f64,
    squares: f64,
    null_variance: f64,
}

// === impl RankCheck ===

impl RankCheck {
    /// The check of a plan.
    pub fn new(setting: &Setting<'_>, plan_hash: &str, worse: Worse, tolerance: Tolerance) -> Self {
        let directions = check::directions(worse);
        let share = 1.0 / directions.len() as f64;
        let sides = directions
            .iter()
            .map(|&worse_is_lower| OneSide {
                worse_is_lower,
                side: Side::new(
                    setting.seed(plan_hash, if worse_is_lower { "lower" } else { "higher" }),
                    setting.fail_spending(share),
                    setting.pass_spending(1.0),
                ),
                shape: Default::default(),
                units: [0, 1].map(|_| Units::of_metric(setting.metric)),
                single: None,
            })
            .collect();
        RankCheck {
            worse,
            tolerance,
            sides,
            grid: grid_of(directions, &tolerance)
                .of_one_variance()
                .for_ticks(setting.looks_planned()),
            recorded: Recorded::new(setting.metric),
            clustered: setting.metric.cluster.is_some(),
            negative: false,
            infinite: false,
        }
    }

    /// Takes a closed tick.
    pub fn close(&mut self, cells: &[Cell; 2], setting: &Setting<'_>) {
        let [baseline, canary] = [sorted(&cells[0]), sorted(&cells[1])];
        if self.tolerance.relative.is_some() {
            self.negative |= baseline.values().first().is_some_and(|&v| v < 0.0)
                || canary.values().first().is_some_and(|&v| v < 0.0);
        }
        self.infinite |= [&baseline, &canary].iter().any(|arm| {
            arm.values().first().is_some_and(|v| v.is_infinite())
                || arm.values().last().is_some_and(|v| v.is_infinite())
        });
        let rounding = self.recorded.close(cells, [&baseline, &canary]);
        let pair = Pair::new(&baseline, &canary, rounding);
        let sizes = [baseline.total() as f64, canary.total() as f64];
        let single_look = setting.looks_planned() == 1;
        for side in &mut self.sides {
            let tolerance = &self.tolerance;
            side.close(cells, &pair, sizes, tolerance, self.clustered, single_look);
        }
        if setting.detail == Detail::Full {
            push_grid(&mut self.grid, &pair, sizes);
        }
    }

    /// Looks at the run so far.
    pub fn find(&mut self, setting: &Setting<'_>, at: &mut LookAt<'_>) -> Evidence {
        let mut evidence = Evidence::none(self.grid.scale());
        evidence.tolerance = Some(shown_boundary(
            self.worse,
            &self.tolerance,
            self.grid.scale(),
        ));
        if self.negative {
            evidence.wanting = Some(Reason::BadData);
            return evidence;
        }
        let coarse = self.recorded.coarse();
        if check::moves(&self.tolerance) && coarse.is_some() {
            evidence.wants_narrower(coarse);
            return evidence;
        }
        evidence.units = units::of_the_run(
            setting.metric,
            self.sides[0].units.each_ref().map(Units::len),
        );
        let (mut looks, mut weakenings) = (Vec::new(), Vec::new());
        for side in &mut self.sides {
            let Some(weakening) = side.weakening(self.clustered, setting) else {
                evidence.wanting = Some(Reason::NeedsUnits);
                return evidence;
            };
            looks.push(side.look(weakening.adjust(), self.clustered, setting, at));
            weakenings.push(weakening);
        }
        evidence.fail = looks.iter().any(|look| look.fail);
        let speaking = check::speaking(self.worse, looks.iter().map(|look| look.fail));
        let boundary = shown_boundary(speaking, &self.tolerance, self.grid.scale());
        evidence.tolerance = Some(boundary);
        evidence.pass = looks.iter().all(|look| look.pass);
        if setting.detail == Detail::Full {
            self.describe(&mut evidence, setting, &looks, &weakenings);
        }
        evidence
    }

    /// The sides, to be watched after a pass.
    pub fn sides(&mut self) -> Vec<&mut Side> {
        self.sides.iter_mut().map(|one| &mut one.side).collect()
    }

    fn describe(
        &self,
        evidence: &mut Evidence,
        setting: &Setting<'_>,
        looks: &[Look],
        weakenings: &[Weakening],
    ) {
        let most = Weakening::most(weakenings);
        if let Some(most) = most {
            most.record(&mut evidence.factors);
        }
        if let Some(step) = self.recorded.step() {
            evidence.factors.insert(check::RESOLUTION.to_owned(), step);
        }
        let loud = loudest(looks);
        let ticks = self.grid.ticks();
        evidence.window = if evidence.fail {
            loud.peak.map_or(ticks, |peak| peak.window)
        } else {
            ticks
        };
        if !self.infinite {
            evidence.estimate = self.grid.estimate(evidence.window);
            let adjust = most.map_or(Adjust::NONE, Weakening::adjust);
            evidence.interval = self.grid.interval_of(
                self.worse,
                looks,
                setting.looks_planned(),
                adjust,
                evidence.window,
            );
        }
        evidence.needs_ticks = forecast::of_sides(looks, ticks, setting);
    }
}

// === impl OneSide ===

impl OneSide {
    fn close(
        &mut self,
        cells: &[Cell; 2],
        pair: &Pair<'_>,
        [n, m]: [f64; 2],
        tolerance: &Tolerance,
        clustered: bool,
        single_look: bool,
    ) {
        if m == 0.0 || n == 0.0 {
            return self.side.push_empty();
        }
        let lower = self.worse_is_lower;
        let sign = check::sign(lower);
        let g = |y: f64| sign * check::boundary(sign * y, lower, tolerance);
        let u = pair.u(g);
        let score = sign * 12.0 * (u - m * n / 2.0) / (m + n + 1.0);
        self.side.push_gaussian(score, 12.0 * m * n / (m + n + 1.0));
        let placed = pair.placed(g);
        for (arm, among) in [(Arm::Baseline, m), (Arm::Canary, n)] {
            let placed = &placed[arm.index()];
            self.shape[arm.index()].add(&placed.shares, &placed.weights, among);
            if clustered {
                let key = |value: f64| match arm {
                    Arm::Baseline => pair.interval(arm, value, g)[0],
                    Arm::Canary => pair.interval(arm, value, |x| x)[0],
                };
                let units = &mut self.units[arm.index()];
                add_units(units, &cells[arm.index()], placed, key);
            }
        }
        if single_look {
            let [greater, less] = pair.p_values(g);
            let (p_worse, p_better) = if lower {
                (less, greater)
            } else {
                (greater, less)
            };
            self.single = Some(SingleLook { p_worse, p_better });
        }
    }

    /// The dispersion to allow for; `None` when a clustered arm has too few units.
    fn weakening(&self, clustered: bool, setting: &Setting<'_>) -> Option<Weakening> {
        let between = if clustered {
            let nulls = self.shape.each_ref().map(Placement::null_of_mean);
            let arms = [(&self.units[0], nulls[0]), (&self.units[1], nulls[1])];
            units::adjust(&arms, setting.check.require_units)?
        } else {
            Adjust::NONE
        };
        Some(Weakening::new(setting, between, self.shape_factor()))
    }

    /// Placement variance over its null value, at least 1: the rank score's variance where the
    /// arms differ in spread (Behrens-Fisher), once both arms have enough values.
    fn shape_factor(&self) -> f64 {
        let [baseline, canary] = &self.shape;
        if baseline.count < SHAPE_VALUES_MIN || canary.count < SHAPE_VALUES_MIN {
            return 1.0;
        }
        let observed = baseline.variance_of_mean() + canary.variance_of_mean();
        let null = baseline.null_of_mean() + canary.null_of_mean();
        (observed / null).max(1.0)
    }

    fn look(
        &mut self,
        adjust: Adjust,
        clustered: bool,
        setting: &Setting<'_>,
        at: &mut LookAt<'_>,
    ) -> Look {
        let look = self.side.look(adjust, at.scratch);
        match self.single {
            // One look spends everything at once, and small samples deserve the exact law.
            Some(single)
                if !clustered && dispersion::calibrated(&setting.check.question) <= 1.0 =>
            {
                let alpha = setting.fail_spending(1.0 / self.directions(setting)).level;
                let beta = setting.plan.beta;
                let fail = single.p_worse <= alpha;
                Look {
                    fail,
                    pass: single.p_better <= beta && !fail,
                    fail_bound: special::normal_quantile(1.0 - alpha)
                        - crate::stats::multiscale::WHOLE_RUN_PENALTY,
                    pass_bound: special::normal_quantile(1.0 - beta),
                    ..look
                }
            }
            _ => look,
        }
    }

    fn directions(&self, setting: &Setting<'_>) -> f64 {
        match &setting.check.question {
            crate::plan::Question::Compare { worse, .. } => check::directions(*worse).len() as f64,
            _ => 1.0,
        }
    }
}

// === impl Placement ===

impl Placement {
    fn add(&mut self, placements: &[f64], weights: &[u64], among: f64) {
        let mut count = 0.0;
        for (&placement, &weight) in placements.iter().zip(weights) {
            let weight = weight as f64;
            count += weight;
            self.sum += weight * placement;
            self.squares += weight * placement * placement;
        }
        self.count += count;
        // A placement among n values is a mean of n indicators: 1/12 for the value's own rank
        // and 1/6n for the values it is placed among.
        self.null_variance += count * (1.0 / 12.0 + 1.0 / (6.0 * among));
    }

    fn variance_of_mean(&self) -> f64 {
        if self.count == 0.0 {
            return 0.0;
        }
        let mean = self.sum / self.count;
        (self.squares / self.count - mean * mean).max(0.0) / self.count
    }

    fn null_of_mean(&self) -> f64 {
        if self.count == 0.0 {
            0.0
        } else {
            self.null_variance / (self.count * self.count)
        }
    }
}

// === functions ===

/// A cell's values in order.
pub(super) fn sorted(cell: &Cell) -> Sorted {
    let weights = (!cell.weights.is_empty()).then(|| cell.weights.clone());
    // A reading never holds a NaN (see `model::Reading`), so only an empty sample remains.
    Sorted::new(cell.values.clone(), weights).unwrap_or_default()
}

/// Adds each value's placement to its unit; `key` is where the value's cell begins.
fn add_units(sums: &mut Units, cell: &Cell, placed: &Placed, key: impl Fn(f64) -> f64) {
    for (i, &value) in cell.values.iter().enumerate() {
        let weight = cell.weights.get(i).copied().unwrap_or(1) as f64;
        let (Some(share), Some(&unit)) = (placed.share_of(key(value)), cell.units.get(i)) else {
            continue;
        };
        sums.add(unit, weight, weight * share);
    }
    sums.close_tick();
}

fn grid_of(directions: &[bool], tolerance: &Tolerance) -> Grid {
    match (tolerance.relative, tolerance.absolute) {
        (Some(relative), _) => {
            let boundaries: Vec<f64> = directions
                .iter()
                .map(|&lower| {
                    if lower {
                        1.0 - relative
                    } else {
                        1.0 + relative
                    }
                })
                .collect();
            Grid::of_ratios(&boundaries)
        }
        (None, Some(absolute)) => {
            let boundaries: Vec<f64> = directions
                .iter()
                .map(|&lower| check::sign(lower) * absolute)
                .collect();
            Grid::of_differences(absolute, &boundaries)
        }
        (None, None) => Grid::of_ratios(&[]),
    }
}

fn push_grid(grid: &mut Grid, pair: &Pair<'_>, [n, m]: [f64; 2]) {
    if m == 0.0 || n == 0.0 {
        return grid.push_empty();
    }
    let variance = 12.0 * m * n / (m + n + 1.0);
    let is_ratio = grid.scale() == Scale::Ratio;
    grid.push_alike(variance, |node| {
        let g = |y: f64| if is_ratio { y * node } else { y + node };
        let u = pair.u(g);
        12.0 * (u - m * n / 2.0) / (m + n + 1.0)
    });
}

/// The boundary as shown beside the estimate; the higher one for `either`.
pub(super) fn shown_boundary(worse: Worse, tolerance: &Tolerance, scale: Scale) -> f64 {
    let lower = worse == Worse::Lower;
    match scale {
        Scale::Ratio | Scale::OddsRatio => {
            let relative = tolerance.relative.unwrap_or(0.0);
            if lower {
                1.0 - relative
            } else {
                1.0 + relative
            }
        }
        _ => check::sign(lower) * tolerance.absolute.unwrap_or(0.0),
    }
}

/// The look of the side that is nearest to a fail.
pub(super) fn loudest(looks: &[Look]) -> Look {
    let mut loud = looks[0];
    for look in looks {
        if look.z_whole > loud.z_whole || (look.fail && !loud.fail) {
            loud = *look;
        }
    }
    loud
}
