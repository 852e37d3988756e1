//! `compare` on a gauge: paired points of a time series.
//!
//! Owns the pairing: each tick gives one number, the log-ratio (or, for an absolute tolerance,
//! the difference) of the arms' mean points, so that whatever both arms share cancels. Its
//! studentised multiscale statistic is held against thresholds simulated on autoregressive null
//! paths: independent ticks where the plan says `iid`, the worst first-order autocorrelation up
//! to 0.8 under `envelope`. A plan with a single look is `series`' business. Next: `threshold`.

use serde::{Deserialize, Serialize};

use crate::judge::check::{self, Detail, Evidence, LookAt, Setting};
use crate::judge::forecast::Ahead;
use crate::judge::scratch::{Claim, Scratch};
use crate::judge::side::{Adjust, Side, Spending};
use crate::judge::verdict::Scale;
use crate::judge::{series, statistic};
use crate::model::Reason;
use crate::plan::{Dispersion, Tolerance, Worse};
use crate::stats::ar_paths::{ArPaths, Kind};
use crate::stats::multiscale::{Peak, WHOLE_RUN_PENALTY};
use crate::stats::persistence;
use crate::stats::special;
use crate::window::Cell;

/// Null paths of a gauge check; seven autocorrelations share them under `envelope`.
const GAUGE_PATHS: usize = 4_000;
/// Largest log-ratio of one tick's points: a factor of a thousand.
const LOG_RATIO_MAX: f64 = 6.907_755_278_982_137;
/// Slack for statistics computed in double against thresholds simulated in single precision.
const THRESHOLD_SLACK: f64 = 1e-5;

/// The gauge check of one metric.
#[derive(Debug, Serialize, Deserialize)]
pub struct GaugeCheck {
    worse: Worse,
    tolerance: Tolerance,
    sides: Vec<PairedSide>,
    /// All points of the only tick, for a plan with one look.
    single: Option<[Vec<(i64, f64)>; 2]>,
    negative: bool,
    ticks: usize,
}

/// A studentised sequential test that paired numbers lie above zero, or below it.
#[derive(Debug, Serialize, Deserialize)]
pub struct PairedSide {
    seed: [u8; 32],
    kind: Kind,
    fail: Spending,
    pass: Spending,
    /// Positive is worse; ticks without a number are `None`.
    numbers: Vec<Option<f64>>,
    /// The test of numbers whose long-run deviation is known, in place of the studentised one.
    known: Option<Box<Known>>,
    failed: bool,
    /// Of paths in a scratch; who has none draws them again.
    #[serde(skip)]
    claims: [Option<Claim>; 2],
    /// Bounds at the latest tick that each claim's paths have taken.
    bounds: [f64; 2],
}

/// Numbers against their calibrated deviation: sums over ticks are roughly Gaussian with the
/// long-run variance, and so are their increments over the windows that matter.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    side: Side,
    variance: f64,
}

/// One look at paired numbers.
#[derive(Debug, Clone, Copy)]
pub struct PairedLook {
    /// A degradation is shown.
    pub fail: bool,
    /// Its absence is shown.
    pub pass: bool,
    /// The window that speaks loudest.
    pub peak: Option<Peak>,
    /// Studentised whole-run statistic (without penalty); positive is worse.
    pub z_whole: f64,
    /// Bound of the multiscale statistic where it was simulated.
    pub fail_bound: f64,
    /// Bound of the whole-run statistic.
    pub pass_bound: f64,
}

// === impl GaugeCheck ===

impl GaugeCheck {
    /// The check of a plan.
    pub fn new(
        setting: &Setting<'_>,
        plan_hash: &str,
        worse: Worse,
        tolerance: Tolerance,
        dispersion: Dispersion,
    ) -> Self {
        let directions = check::directions(worse);
        let share = 1.0 / directions.len() as f64;
        let sides = directions
            .iter()
            .map(|&lower| {
                let seed = setting.seed(plan_hash, if lower { "lower" } else { "higher" });
                PairedSide::new(
                    seed,
                    dispersion,
                    setting.fail_spending(share),
                    setting.pass_spending(1.0),
                )
            })
            .collect();
        // What was calibrated needs no estimate from the run itself.
        let is_known = matches!(dispersion, Dispersion::Sd(_));
        let single = (setting.looks_planned() == 1 && !is_known).then(Default::default);
        GaugeCheck {
            worse,
            tolerance,
            sides,
            single,
            negative: false,
            ticks: 0,
        }
    }

    /// Takes a closed tick.
    pub fn close(&mut self, cells: &[Cell; 2]) {
        self.ticks += 1;
        if let Some(single) = self.single.as_mut() {
            *single = [cells[0].points.clone(), cells[1].points.clone()];
        }
        let means = [
            statistic::mean_point(&cells[0]),
            statistic::mean_point(&cells[1]),
        ];
        let directions = check::directions(self.worse);
        for (side, &lower) in self.sides.iter_mut().zip(directions) {
            let number = match means {
                [Some(baseline), Some(canary)] => paired(baseline, canary, lower, &self.tolerance),
                _ => Ok(None),
            };
            self.negative |= number.is_err();
            side.push(number.unwrap_or(None));
        }
    }

    /// Each tick's paired number in the first direction; `None` for a tick without one.
    pub fn numbers(&self) -> &[Option<f64>] {
        self.sides.first().map_or(&[], |side| &side.numbers)
    }

    /// Looks at the run so far.
    pub fn find(&mut self, setting: &Setting<'_>, at: &mut LookAt<'_>) -> Evidence {
        if let Some([baseline, canary]) = &self.single {
            return series::judge(baseline, canary, self.worse, &self.tolerance, setting);
        }
        let scale = if self.tolerance.relative.is_some() {
            Scale::Ratio
        } else {
            Scale::Difference
        };
        let mut evidence = Evidence::none(scale);
        evidence.tolerance = Some(crate::judge::rank::shown_boundary(
            self.worse,
            &self.tolerance,
            scale,
        ));
        if self.negative {
            evidence.wanting = Some(Reason::BadData);
            return evidence;
        }
        let looks: Vec<PairedLook> = self
            .sides
            .iter_mut()
            .map(|side| side.look(at.scratch))
            .collect();
        evidence.fail = looks.iter().any(|look| look.fail);
        evidence.pass = looks.iter().all(|look| look.pass) && !evidence.fail;
        evidence.window = match looks
            .iter()
            .find(|look| look.fail)
            .and_then(|look| look.peak)
        {
            Some(peak) => peak.window,
            None => self.ticks,
        };
        if setting.detail == Detail::Full {
            self.describe(&mut evidence, &looks);
        }
        evidence
    }

    fn describe(&self, evidence: &mut Evidence, looks: &[PairedLook]) {
        let at = looks.iter().position(|look| look.fail).unwrap_or(0);
        let speaking = check::speaking(self.worse, looks.iter().map(|look| look.fail));
        let boundary =
            crate::judge::rank::shown_boundary(speaking, &self.tolerance, evidence.scale);
        evidence.tolerance = Some(boundary);
        let missing_points = self.sides[at].missing_points();
        evidence.needs_ticks = missing_points;
        let Some((estimate, interval)) = self.shown(at, &looks[at], evidence) else {
            return;
        };
        evidence.estimate = Some(estimate);
        evidence.interval = interval;
        if evidence.pass && self.worse == Worse::Either {
            // Each direction shows its own end; the second watches the lower one.
            if let Some((_, [low, _])) = self.shown(1, &looks[1], evidence) {
                evidence.interval[0] = low;
            }
        }
        if !evidence.fail && !evidence.pass {
            let sides = self.sides.iter().zip(looks);
            let ahead = sides
                .map(|(side, look)| side.ahead(look))
                .reduce(Ahead::beside);
            evidence.needs_ticks = missing_points.or(ahead.and_then(Ahead::ticks));
        }
    }

    /// Estimate and interval of one direction, on the evidence's scale.
    fn shown(
        &self,
        at: usize,
        look: &PairedLook,
        evidence: &Evidence,
    ) -> Option<(f64, [Option<f64>; 2])> {
        let lower = check::directions(self.worse)[at];
        let is_ratio = evidence.scale == Scale::Ratio;
        // Numbers are differences from the boundary, in the orientation where higher is worse.
        let offset = match (is_ratio, lower) {
            (true, false) => libm::log(1.0 + self.tolerance.relative.unwrap_or(0.0)),
            (true, true) => -libm::log(1.0 - self.tolerance.relative.unwrap_or(0.0)),
            (false, _) => self.tolerance.absolute.unwrap_or(0.0),
        };
        let show = |number: f64| {
            let turned = check::sign(lower) * (number + offset);
            if is_ratio { libm::exp(turned) } else { turned }
        };
        let (mean, error) = self.sides[at].moments(evidence.window)?;
        let end = |bound: f64, number: f64| bound.is_finite().then(|| show(number));
        let penalty = match look.peak.filter(|_| look.fail) {
            Some(peak) => peak.z - peak.statistic,
            None => WHOLE_RUN_PENALTY,
        };
        let ends = [
            end(look.fail_bound, mean - (look.fail_bound + penalty) * error),
            end(look.pass_bound, mean + look.pass_bound * error),
        ];
        let interval = if lower { [ends[1], ends[0]] } else { ends };
        Some((show(mean), interval))
    }
}

// === impl PairedSide ===

impl PairedSide {
    /// A test of numbers that arrive one a tick.
    pub fn new(
        seed: [u8; 32],
        dispersion: Dispersion,
        fail: Spending,
        pass: Spending,
    ) -> PairedSide {
        let kind = match dispersion {
            Dispersion::Iid => Kind::Independent,
            _ => Kind::Envelope,
        };
        let known = match dispersion {
            Dispersion::Sd(sd) => Some(Box::new(Known {
                side: Side::new(seed, fail, pass),
                variance: sd * sd,
            })),
            _ => None,
        };
        PairedSide {
            seed,
            kind,
            fail,
            pass,
            numbers: Vec::new(),
            known,
            failed: false,
            claims: [None, None],
            bounds: [f64::INFINITY; 2],
        }
    }

    /// Adds a tick: positive is worse, `None` when the tick has no number.
    pub fn push(&mut self, number: Option<f64>) {
        self.numbers.push(number);
        if let Some(known) = self.known.as_deref_mut() {
            match number {
                Some(number) => known.side.push_gaussian(number, known.variance),
                None => known.side.push_empty(),
            }
        }
    }

    /// Looks at the numbers so far. Once a fail is shown it stays shown.
    pub fn look(&mut self, scratch: &mut Scratch) -> PairedLook {
        if let Some(known) = self.known.as_deref_mut() {
            let look = known.side.look(Adjust::NONE, scratch);
            return PairedLook {
                fail: look.fail,
                pass: look.pass && !look.fail,
                peak: look.peak,
                z_whole: look.z_whole,
                fail_bound: look.fail_bound,
                pass_bound: look.pass_bound,
            };
        }
        let present: Vec<f64> = self.numbers.iter().flatten().copied().collect();
        if let Some(value) = constant(&present) {
            return self.look_at_constant(value, present.len());
        }
        let planned = self.fail.looks_planned + self.fail.looks_beyond;
        let peak = self.kind.peak(&present, planned);
        let z_whole = self.kind.whole(&present).unwrap_or(0.0);
        let (mut fail_bound, mut pass_bound) = (f64::INFINITY, f64::INFINITY);
        let look = self.numbers.len();
        // A statistic at or below zero is below every threshold at levels under one half.
        if let Some(peak) = peak.filter(|peak| peak.statistic > 0.0) {
            fail_bound = self.threshold(self.fail, true, scratch);
            self.failed |= peak.statistic >= fail_bound - THRESHOLD_SLACK;
        }
        let spent = self.pass.cumulative_extended(look);
        let mut pass = false;
        if spent > 0.0 && -z_whole >= special::normal_quantile(1.0 - spent) {
            pass_bound = self.threshold(self.pass, false, scratch);
            pass = -z_whole >= pass_bound - THRESHOLD_SLACK;
        }
        let fail = self.failed;
        PairedLook {
            fail,
            pass: pass && !fail,
            peak,
            z_whole,
            fail_bound,
            pass_bound,
        }
    }

    /// A series that does not vary has no deviation, but it has a side: how likely is it to have
    /// stayed there from the start? A varying Gaussian series is constant with chance nought, so
    /// this costs the other test nothing.
    fn look_at_constant(&mut self, value: f64, count: usize) -> PairedLook {
        let look = self.numbers.len();
        let chance = persistence::stays_above(count, self.kind.worst_correlation());
        self.failed |= value > 0.0 && chance <= self.fail.cumulative_extended(look);
        let fail = self.failed;
        let pass = !fail && value < 0.0 && chance <= self.pass.cumulative_extended(look);
        // Whatever its bounds, the interval of a constant is that constant.
        let bound = |shown: bool| if shown { 0.0 } else { f64::INFINITY };
        PairedLook {
            fail,
            pass,
            peak: None,
            z_whole: 0.0,
            fail_bound: bound(fail),
            pass_bound: bound(pass),
        }
    }

    /// The bound at the present tick, on paths that the scratch keeps from look to look.
    fn threshold(&mut self, spending: Spending, multiscale: bool, scratch: &mut Scratch) -> f64 {
        let index = usize::from(!multiscale);
        let claim = match self.claims[index].filter(|claim| scratch.paired.holds(*claim)) {
            Some(claim) => claim,
            None => {
                let planned = spending.looks_planned + spending.looks_beyond;
                let paths = GAUGE_PATHS.min(scratch.paths_max());
                let fresh = ArPaths::new(self.seed, planned, self.kind, multiscale, paths);
                scratch.paired.keep(fresh.bytes(), fresh)
            }
        };
        self.claims[index] = Some(claim);
        // Paths that are at this tick already gave their bound.
        let bound = &mut self.bounds[index];
        if let Some(paths) = scratch.paired.get(claim) {
            for tick in paths.ticks()..self.numbers.len() {
                let present = self.numbers[tick].is_some();
                *bound = paths.look(present, spending.cumulative_extended(tick + 1));
            }
        }
        *bound
    }

    /// Mean of the numbers within the last `window` ticks, and its standard error as the test
    /// takes it.
    pub fn moments(&self, window: usize) -> Option<(f64, f64)> {
        let present: Vec<f64> = self.numbers.iter().flatten().copied().collect();
        let start = self.numbers.len() - window.min(self.numbers.len());
        let within: Vec<f64> = self.numbers[start..].iter().flatten().copied().collect();
        let mean = within.iter().sum::<f64>() / within.len() as f64;
        if let Some(known) = &self.known {
            let error = (known.variance / within.len() as f64).sqrt();
            return (!within.is_empty()).then_some((mean, error));
        }
        if let Some(value) = constant(&present) {
            return Some((value, 0.0));
        }
        let whole = self.kind.whole(&present)?;
        if within.is_empty() || whole == 0.0 {
            return None;
        }
        let run_mean = present.iter().sum::<f64>() / present.len() as f64;
        // whole = run_mean / error of the run; a window's error grows with the root of its share.
        let share = present.len() as f64 / within.len() as f64;
        Some((mean, (run_mean / whole).abs() * share.sqrt()))
    }

    /// How long until either verdict, from this look. The bounds of a score that is studentised by
    /// its own run are simulated as far as the run goes, and no further.
    pub fn ahead(&self, look: &PairedLook) -> Ahead {
        let (z, ticks) = (look.z_whole, self.numbers.len());
        if self.known.is_some() {
            return Ahead::of_score(z, look.pass, ticks, &self.fail, &self.pass);
        }
        let bounds = [look.fail_bound + WHOLE_RUN_PENALTY, look.pass_bound];
        Ahead::of_standing_bounds(z, look.pass, ticks, bounds, [&self.fail, &self.pass])
    }

    fn missing_points(&self) -> Option<f64> {
        let present = self.numbers.iter().flatten().count();
        let first = match self.known {
            Some(_) => 1,
            None => self.kind.first_look(),
        };
        // Without a single one nothing says when there will be more.
        (1..first)
            .contains(&present)
            .then(|| (first - present) as f64)
    }
}

// === functions ===

/// The value of a series that never varied, where it has at least two numbers.
fn constant(numbers: &[f64]) -> Option<f64> {
    let first = *numbers.first()?;
    (numbers.len() > 1 && numbers.iter().all(|&number| number == first)).then_some(first)
}

/// Distance from the boundary, positive where worse. `Err` when a relative tolerance meets a
/// negative value; both parts together need both exceeded, so the smaller counts.
fn paired(
    baseline: f64,
    canary: f64,
    lower: bool,
    tolerance: &Tolerance,
) -> Result<Option<f64>, ()> {
    match (tolerance.relative, tolerance.absolute) {
        (Some(relative), absolute) => {
            if baseline < 0.0 || canary < 0.0 {
                return Err(());
            }
            let sign = check::sign(lower);
            let part = Tolerance {
                relative: Some(relative),
                absolute,
            };
            let limit = sign * check::boundary(sign * baseline, lower, &part);
            // A point at zero is as far away as a log-ratio may be: it must not silence the check.
            let ratio = if limit == canary {
                0.0
            } else if limit <= 0.0 {
                LOG_RATIO_MAX
            } else {
                libm::log(canary / limit).clamp(-LOG_RATIO_MAX, LOG_RATIO_MAX)
            };
            Ok(Some(sign * ratio))
        }
        (None, Some(absolute)) => Ok(Some(check::sign(lower) * (canary - baseline) - absolute)),
        (None, None) => Ok(None),
    }
}
