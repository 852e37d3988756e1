//! `compare ... at: pXX`: are more of the canary's values beyond the baseline's quantile?
//!
//! Owns the exceedance test: the threshold T is the baseline's quantile from past ticks (pooled
//! at a plan's only look), values beyond T are counted in both arms, and the null law is the
//! exact permutation law of which values are the canary's. Values tied with T count by the
//! fraction that puts exactly 1 - p of the reference beyond it, in sixteenths; ties are never
//! broken by chance. Of rounded values, T lies inside a cell and each value counts by the fraction
//! of its cell beyond T; the null law is that of the whole counts before rounding, given their
//! expected total, whose spread is never the smaller one. Next: `counts`.

mod one_side;

use serde::{Deserialize, Serialize};

use crate::judge::check::{self, Detail, Evidence, LookAt, Setting};
use crate::judge::cut::Cut;
use crate::judge::dispersion::Weakening;
use crate::judge::forecast;
use crate::judge::grid::Grid;
use crate::judge::rank;
use crate::judge::recorded::{Pair, Recorded};
use crate::judge::side::{Adjust, Look, Side};
use crate::judge::units::{self, Units};
use crate::judge::verdict::Scale;
use crate::model::{Arm, Reason};
use crate::plan::{Quantile, Tolerance, Worse};
use crate::stats::censored::{self, Cells};
use crate::stats::rank::Sorted;
use crate::window::{Cell, coarse};
use one_side::{OneSide, uncut};

/// Baseline values beyond the quantile that the warm-up waits for.
const WARM_UP_BEYOND: f64 = 2.0;
/// Distinct values the reference holds exactly; beyond it values are coarsened to 2^-11.
const REFERENCE_DISTINCT_MAX: usize = 16_384;

/// The tail check of one metric.
#[derive(Debug, Serialize, Deserialize)]
pub struct TailCheck {
    worse: Worse,
    tolerance: Tolerance,
    sides: Vec<OneSide>,
    grid: Grid,
    /// Values of both arms in past ticks, in the metric's own orientation.
    reference: [Sorted; 2],
    recorded: Recorded,
    clustered: bool,
    negative: bool,
}

// === impl TailCheck ===

impl TailCheck {
    /// The check of a plan.
    pub fn new(
        setting: &Setting<'_>,
        plan_hash: &str,
        at: Quantile,
        worse: Worse,
        tolerance: Tolerance,
    ) -> Self {
        let directions = check::directions(worse);
        let share = 1.0 / directions.len() as f64;
        let sides = directions
            .iter()
            .map(|&worse_is_lower| OneSide {
                worse_is_lower,
                level: if worse_is_lower {
                    1.0 - at.level()
                } else {
                    at.level()
                },
                side: Side::new(
                    setting.seed(plan_hash, if worse_is_lower { "lower" } else { "higher" }),
                    setting.fail_spending(share),
                    setting.pass_spending(1.0),
                ),
                units: [0, 1].map(|_| Units::of_metric(setting.metric)),
                beyond: Default::default(),
            })
            .collect();
        let grid = match (tolerance.relative, tolerance.absolute) {
            (None, Some(absolute)) => Grid::of_differences(absolute, &[absolute, -absolute]),
            (relative, _) => {
                let relative = relative.unwrap_or(0.0);
                Grid::of_ratios(&[1.0 + relative, 1.0 - relative])
            }
        };
        TailCheck {
            worse,
            tolerance,
            sides,
            grid: grid.for_ticks(setting.looks_planned()),
            reference: Default::default(),
            recorded: Recorded::new(setting.metric),
            clustered: setting.metric.cluster.is_some(),
            negative: false,
        }
    }

    /// Takes a closed tick.
    pub fn close(&mut self, cells: &[Cell; 2], setting: &Setting<'_>) {
        let [baseline, canary] = [rank::sorted(&cells[0]), rank::sorted(&cells[1])];
        if self.tolerance.relative.is_some() {
            self.negative |= [&baseline, &canary]
                .iter()
                .any(|arm| arm.values().first().is_some_and(|&value| value < 0.0));
        }
        let rounding = self.recorded.close(cells, [&baseline, &canary]);
        let pair = Pair::new(&baseline, &canary, rounding.clone());
        let single_look = setting.looks_planned() == 1;
        let is_coarse = check::moves(&self.tolerance) && self.coarse().is_some();
        let references = &self.reference;
        for side in &mut self.sides {
            if is_coarse {
                side.side.push_empty();
                continue;
            }
            let reference = if single_look {
                side.oriented(&baseline, Some(&self.tolerance))
                    .merge(&side.oriented(&canary, None))
            } else {
                side.oriented(&references[0], Some(&self.tolerance))
            };
            let warm = single_look
                || reference.total() as f64 * (1.0 - side.level) >= WARM_UP_BEYOND - 1e-9;
            let empty = canary.is_empty() || baseline.is_empty();
            if let Some([of_baseline, of_canary]) = pair.cells().filter(|_| warm && !empty) {
                let past = Cells::new(&references[0], &uncut(&self.recorded.rounding(0)));
                let arms = [
                    side.oriented_cells(of_baseline, Some(&self.tolerance)),
                    side.oriented_cells(of_canary, None),
                ];
                let past = side.oriented_cells(&past, Some(&self.tolerance));
                let of: &[&Cells] = if single_look {
                    &[&arms[0], &arms[1]]
                } else {
                    &[&past]
                };
                match censored::quantile(of, side.level) {
                    Some(threshold) => {
                        side.close_cells(&arms, threshold);
                        if self.clustered {
                            side.add_cell_units(cells, &pair, &self.tolerance, threshold);
                        }
                    }
                    None => side.side.push_empty(),
                }
                continue;
            }
            match Cut::at(&reference, side.level).filter(|_| warm && !empty) {
                Some(cut) => side.close(
                    cells,
                    &baseline,
                    &canary,
                    &self.tolerance,
                    &cut,
                    self.clustered,
                ),
                None => side.side.push_empty(),
            }
        }
        let quantile = self.sides[0].quantile(&references[0], &self.recorded.rounding(0));
        if setting.detail == Detail::Full {
            push_grid(&mut self.grid, &baseline, &canary, pair.cells(), quantile);
        }
        let [of_baseline, of_canary] = references;
        self.reference = [of_baseline.merge(&baseline), of_canary.merge(&canary)]
            .map(|merged| bounded(merged).shrunk());
    }

    /// Looks at the run so far.
    pub fn find(&mut self, setting: &Setting<'_>, at: &mut LookAt<'_>) -> Evidence {
        let mut evidence = Evidence::none(self.grid.scale());
        evidence.tolerance = Some(rank::shown_boundary(
            self.worse,
            &self.tolerance,
            self.grid.scale(),
        ));
        if self.negative {
            evidence.wanting = Some(Reason::BadData);
            return evidence;
        }
        let coarse = self.coarse();
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
            let Some(between) = side.adjust(self.clustered, setting.check.require_units) else {
                evidence.wanting = Some(Reason::NeedsUnits);
                return evidence;
            };
            let weakening = Weakening::new(setting, between, 1.0);
            looks.push(side.side.look(weakening.adjust(), at.scratch));
            weakenings.push(weakening);
        }
        evidence.fail = looks.iter().any(|look| look.fail);
        let speaking = check::speaking(self.worse, looks.iter().map(|look| look.fail));
        let boundary = rank::shown_boundary(speaking, &self.tolerance, self.grid.scale());
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

    /// The bucket of the baseline's quantile, or of the tolerated one, where it is too wide to be moved.
    fn coarse(&self) -> Option<[f64; 2]> {
        if !self.recorded.has_buckets() {
            return None;
        }
        self.sides.iter().find_map(|side| {
            let cut = side.quantile(&self.reference[0], &self.recorded.rounding(0))?;
            let (lower, tolerance) = (side.worse_is_lower, &self.tolerance);
            let sign = check::sign(lower);
            let moved = sign * check::boundary(sign * cut, lower, tolerance);
            [cut, moved]
                .iter()
                .find_map(|&cut| self.recorded.coarse_at(cut))
        })
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
        let loud = rank::loudest(looks);
        let ticks = self.grid.ticks();
        evidence.window = if evidence.fail {
            loud.peak.map_or(ticks, |peak| peak.window)
        } else {
            ticks
        };
        let references = &self.reference;
        let [baseline, canary] = [0, 1]
            .map(|arm| self.sides[0].quantile(&references[arm], &self.recorded.rounding(arm)));
        evidence.estimate = match (baseline, canary, self.grid.scale()) {
            (Some(baseline), Some(canary), Scale::Ratio) if baseline > 0.0 => {
                Some(canary / baseline).filter(|ratio| ratio.is_finite())
            }
            (Some(baseline), Some(canary), Scale::Difference) => {
                Some(canary - baseline).filter(|difference| difference.is_finite())
            }
            _ => None,
        };
        let adjust = most.map_or(Adjust::NONE, Weakening::adjust);
        evidence.interval = self.grid.interval_of(
            self.worse,
            looks,
            setting.looks_planned(),
            adjust,
            evidence.window,
        );
        evidence.needs_ticks = forecast::of_sides(looks, ticks, setting).or_else(|| {
            let level = self.sides.iter().fold(0.0, |most, one| one.level.max(most));
            let wanted = WARM_UP_BEYOND / (1.0 - level);
            forecast::warm_up(references[0].total() as f64, wanted, ticks)
        });
    }
}

// === functions ===

fn bounded(sorted: Sorted) -> Sorted {
    if sorted.values().len() > REFERENCE_DISTINCT_MAX {
        sorted.mapped(coarse)
    } else {
        sorted
    }
}

/// Scores against a ladder of boundaries: canary values beyond `boundary(quantile)` against
/// baseline values beyond the quantile, with the permutation variance.
fn push_grid(
    grid: &mut Grid,
    baseline: &Sorted,
    canary: &Sorted,
    cells: Option<&[Cells; 2]>,
    quantile: Option<f64>,
) {
    let (m, n) = (canary.total() as f64, baseline.total() as f64);
    let Some(quantile) = quantile.filter(|_| m > 0.0 && n > 0.0) else {
        return grid.push_empty();
    };
    let above = |arm: Arm, values: &Sorted, cut: f64| -> f64 {
        if let Some(cells) = cells {
            return cells[arm.index()].beyond(cut);
        }
        let cut = Cut {
            threshold: cut,
            tied_sixteenths: 8,
        };
        cut.count(values).score(&cut)
    };
    let is_ratio = grid.scale() == Scale::Ratio;
    let in_baseline = above(Arm::Baseline, baseline, quantile);
    // "Above" counts the good part where lower is worse; a share above or below a cut carries the
    // same information, so the score keeps its sign and the ladder its order.
    grid.push(|node| {
        let cut = if is_ratio {
            quantile * node
        } else {
            quantile + node
        };
        let in_canary = above(Arm::Canary, canary, cut);
        let all = in_canary + in_baseline;
        let share = all / (m + n);
        let variance = m * n / (m + n - 1.0).max(1.0) * share * (1.0 - share);
        if variance > 0.0 {
            (in_canary - m * share, variance)
        } else {
            (0.0, 0.0)
        }
    });
}
