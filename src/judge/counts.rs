//! `compare` on a ratio or a rate: does the canary have more bad events than the tolerance allows?
//!
//! Owns the conditional tests of the relative part, which are exact given each tick's total: for
//! ratios the odds form (Fisher's noncentral hypergeometric law), for rates the binomial law. The
//! absolute part is `absolute`'s. A fail needs both parts of the tolerance exceeded
//! (intersection-union, no split); a pass needs one part shown, at half of beta each. Next:
//! `absolute`.

use serde::{Deserialize, Serialize};

use crate::judge::absolute::{AbsoluteLook, AbsolutePart};
use crate::judge::check::{self, Detail, Evidence, LookAt, MISSING_SHARE_MAX, Setting};
use crate::judge::dispersion::Weakening;
use crate::judge::forecast::Ahead;
use crate::judge::grid::Grid;
use crate::judge::rank;
use crate::judge::side::{Adjust, Look, Side};
use crate::judge::tally::Tally;
use crate::judge::units::{self, Units};
use crate::judge::verdict::{PartEvidence, Scale};
use crate::model::Reason;
use crate::plan::{Dispersion, MetricKind, Question, Tolerance, Worse};
use crate::window::Cell;

/// How many times the shown part the other must be before it is shown instead.
const LEAD_TO_CHANGE: f64 = 1.25;

/// The check of one ratio or rate.
#[derive(Debug, Serialize, Deserialize)]
pub struct CountCheck {
    kind: MetricKind,
    worse: Worse,
    tolerance: Tolerance,
    sides: Vec<OneSide>,
    grid: Grid,
    history: Vec<Tally>,
    run: Tally,
    units: [Units; 2],
    clustered: bool,
    inconsistent_ticks: usize,
    shown: Shown,
}

/// Which part of a two-part tolerance findings show, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Shown {
    Undecided,
    /// The part that is larger at the baseline's level.
    ByLevel {
        absolute: bool,
    },
    /// The part that a pass rested on.
    ByPass {
        absolute: bool,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct OneSide {
    worse_is_lower: bool,
    relative: Option<Side>,
    absolute: Option<AbsolutePart>,
    failed: bool,
}

// === impl CountCheck ===

impl CountCheck {
    /// The check of a plan.
    pub fn new(setting: &Setting<'_>, plan_hash: &str, worse: Worse, tolerance: Tolerance) -> Self {
        let directions = check::directions(worse);
        let share = 1.0 / directions.len() as f64;
        let both = tolerance.relative.is_some() && tolerance.absolute.is_some();
        let pass_share = if both { 0.5 } else { 1.0 };
        let dispersed = match &setting.check.question {
            Question::Compare {
                dispersion: Dispersion::Factor(factor),
                ..
            } => *factor,
            _ => 1.0,
        };
        let sides = directions
            .iter()
            .map(|&worse_is_lower| {
                let name = if worse_is_lower { "lower" } else { "higher" };
                let (fail, pass) = (
                    setting.fail_spending(share),
                    setting.pass_spending(pass_share),
                );
                OneSide {
                    worse_is_lower,
                    relative: tolerance
                        .relative
                        .map(|_| Side::new(setting.seed(plan_hash, name), fail, pass)),
                    absolute: tolerance.absolute.map(|absolute| {
                        let seed = setting.seed(plan_hash, &format!("{name}/absolute"));
                        AbsolutePart::new(seed, absolute, setting.metric, dispersed, fail, pass)
                    }),
                    failed: false,
                }
            })
            .collect();
        let relative = tolerance.relative.unwrap_or(0.0);
        CountCheck {
            kind: setting.metric.kind,
            worse,
            tolerance,
            sides,
            grid: Grid::of_ratios(&[1.0 + relative, 1.0 - relative])
                .for_ticks(setting.looks_planned()),
            history: Vec::new(),
            run: Tally::default(),
            units: [0, 1].map(|_| Units::of_metric(setting.metric)),
            clustered: setting.metric.cluster.is_some(),
            inconsistent_ticks: 0,
            shown: Shown::Undecided,
        }
    }

    /// Takes a closed tick.
    pub fn close(&mut self, cells: &[Cell; 2], setting: &Setting<'_>) {
        let tick = self.tally(cells);
        for side in &mut self.sides {
            side.close(&tick, self.kind, &self.tolerance);
        }
        if setting.detail == Detail::Full {
            match tick.conditional(self.kind) {
                true => self.grid.push(|odds| {
                    let law = tick.law(self.kind, odds, false);
                    (tick.bad[1] as f64 - law.mean(), law.variance())
                }),
                false => self.grid.push_empty(),
            }
        }
        if self.clustered {
            for (arm, cell) in cells.iter().enumerate() {
                for (&unit, &(bad, total)) in &cell.by_unit {
                    self.units[arm].add(unit, total as f64, bad as f64);
                }
                self.units[arm].close_tick();
            }
        }
        self.run.add(&tick);
        self.history.push(tick);
    }

    fn tally(&mut self, cells: &[Cell; 2]) -> Tally {
        let mut tick = Tally::default();
        for (arm, cell) in cells.iter().enumerate() {
            tick.bad[arm] = cell.bad;
            tick.total[arm] = cell.total;
            tick.exposure[arm] = cell.exposure;
            if self.kind == MetricKind::Ratio && cell.bad > cell.total {
                // Bad events whose totals are not there (lost, or in the tick beside): nothing
                // can be said of this tick.
                self.inconsistent_ticks += 1;
                return Tally::default();
            }
        }
        tick
    }

    /// The parts of each direction, all of which must degrade; to be watched after a pass.
    pub fn sides(&mut self) -> Vec<Vec<&mut Side>> {
        self.sides.iter_mut().map(OneSide::parts).collect()
    }

    /// Looks at the run so far.
    pub fn find(&mut self, setting: &Setting<'_>, at: &mut LookAt<'_>) -> Evidence {
        let mut evidence = Evidence::none(self.ratio_scale());
        let share = self.inconsistent_ticks as f64 / self.history.len().max(1) as f64;
        if share > MISSING_SHARE_MAX {
            evidence.wanting = Some(Reason::BadData);
            return evidence;
        }
        evidence.units = units::of_the_run(setting.metric, self.units.each_ref().map(Units::len));
        let Some(between) = self.adjust(setting.check.require_units) else {
            evidence.wanting = Some(Reason::NeedsUnits);
            return evidence;
        };
        let weakening = Weakening::new(setting, between, 1.0);
        let adjust = weakening.adjust();
        let mut looks = Vec::new();
        for side in &mut self.sides {
            looks.push(side.look(adjust, at));
        }
        evidence.fail = looks.iter().any(|look| look.fail);
        evidence.pass = looks.iter().all(|look| look.pass) && !evidence.fail;
        if setting.detail == Detail::Full {
            self.choose_shown(&looks);
            weakening.record(&mut evidence.factors);
            self.describe(&mut evidence, setting, &looks, adjust);
        }
        evidence
    }

    /// Between-unit variance of the bad share over the binomial one: the largest of both arms
    /// together and each arm alone, since bursts often hit one arm only.
    fn adjust(&self, required: u32) -> Option<Adjust> {
        if !self.clustered || self.history.is_empty() {
            return Some(Adjust::NONE);
        }
        let null = |arm: usize| {
            let (share, total) = (self.run.share(arm), self.run.total[arm] as f64);
            share * (1.0 - share) / total
        };
        let arms = [(&self.units[0], null(0)), (&self.units[1], null(1))];
        let mut adjust = units::adjust(&arms, required)?;
        for arm in arms {
            let alone = units::adjust(&[arm], required)?;
            if alone.factor > adjust.factor {
                adjust = alone;
            }
        }
        Some(adjust)
    }

    fn describe(
        &self,
        evidence: &mut Evidence,
        setting: &Setting<'_>,
        looks: &[PartsLook],
        adjust: Adjust,
    ) {
        let at = looks.iter().position(|look| look.fail).unwrap_or(0);
        let (Some(look), Some(side)) = (looks.get(at), self.sides.get(at)) else {
            return;
        };
        let relative = look
            .relative
            .map(|_| self.relative_part(setting, looks, at, adjust));
        let absolute = side.absolute.as_ref().zip(look.absolute);
        let absolute = absolute.map(|(part, look)| self.absolute_part(setting, part, &look, side));
        let (decides, other) = match (relative, absolute) {
            (Some(relative), Some(absolute)) if self.shown.is_absolute() => {
                (absolute, Some(relative))
            }
            (Some(relative), absolute) => (relative, absolute),
            (None, Some(absolute)) => (absolute, None),
            (None, None) => return,
        };
        let tick_secs = setting.plan.tick as f64 / 1000.0;
        evidence.window = libm::round(decides.window_secs / tick_secs) as usize;
        evidence.scale = decides.scale;
        evidence.estimate = decides.estimate;
        evidence.interval = decides.interval;
        evidence.tolerance = decides.tolerance;
        evidence.other_part = other;
        evidence.needs_ticks = looks
            .iter()
            .map(|look| look.ahead)
            .reduce(Ahead::beside)
            .and_then(Ahead::ticks)
            .filter(|_| !evidence.fail && !evidence.pass);
    }

    /// Degradation is what goes beyond the larger of the two parts, so that one is shown, unless a
    /// pass rests on the other alone. From look to look it stays, as long as neither speaks clearly
    /// for the other: numbers on two scales by turns cannot be followed.
    fn choose_shown(&mut self, looks: &[PartsLook]) {
        let (Some(relative), Some(absolute)) = (self.tolerance.relative, self.tolerance.absolute)
        else {
            return;
        };
        let at = looks.iter().position(|look| look.fail).unwrap_or(0);
        let Some(look) = looks.get(at) else { return };
        let lead = relative * self.run.rate(0, self.kind) / absolute;
        self.shown = match self.shown {
            _ if look.pass && look.relative_passes != look.absolute_passes => Shown::ByPass {
                absolute: look.absolute_passes,
            },
            Shown::ByLevel { absolute: true } if lead < LEAD_TO_CHANGE => self.shown,
            Shown::ByLevel { absolute: false } if lead > 1.0 / LEAD_TO_CHANGE => self.shown,
            Shown::ByPass { .. } => self.shown,
            _ => Shown::ByLevel {
                absolute: lead < 1.0,
            },
        };
    }

    fn relative_part(
        &self,
        setting: &Setting<'_>,
        looks: &[PartsLook],
        at: usize,
        adjust: Adjust,
    ) -> PartEvidence {
        let peak = looks[at].relative.filter(|look| look.crossing);
        let ticks = match peak.and_then(|look| look.peak) {
            Some(peak) => peak.window,
            None => self.history.len(),
        };
        let window = self.window(ticks);
        let (baseline, canary) = (window.rate(0, self.kind), window.rate(1, self.kind));
        let scale = self.ratio_scale();
        let estimate = match scale {
            _ if baseline <= 0.0 => None,
            Scale::Ratio => Some(canary / baseline),
            _ => odds(canary)
                .zip(odds(baseline))
                .map(|(canary, baseline)| canary / baseline),
        };
        let relatives: Vec<Look> = looks.iter().filter_map(|look| look.relative).collect();
        let planned = setting.looks_planned();
        let speaking = check::speaking(self.worse, looks.iter().map(|look| look.fail));
        PartEvidence {
            scale,
            estimate,
            interval: self
                .grid
                .interval_of(self.worse, &relatives, planned, adjust, ticks),
            tolerance: Some(rank::shown_boundary(speaking, &self.tolerance, scale)),
            window_secs: ticks as f64 * setting.plan.tick as f64 / 1000.0,
        }
    }

    fn absolute_part(
        &self,
        setting: &Setting<'_>,
        part: &AbsolutePart,
        look: &AbsoluteLook,
        side: &OneSide,
    ) -> PartEvidence {
        let ticks = look.speaking.map_or(self.history.len(), |w| w.ticks);
        let window = self.window(ticks);
        let of_run = part.estimate_of_run().filter(|_| look.speaking.is_none());
        let difference = match of_run {
            Some(turned) => check::sign(side.worse_is_lower) * turned,
            None => window.rate(1, self.kind) - window.rate(0, self.kind),
        };
        let mut interval = part.interval(look.speaking, side.worse_is_lower);
        if self.worse == Worse::Either && look.speaking.is_none() && !look.crossing {
            // Each direction may have shown its own end.
            let parts = self
                .sides
                .iter()
                .filter_map(|side| Some((side, side.absolute.as_ref()?)));
            for (side, part) in parts {
                let [low, high] = part.interval(None, side.worse_is_lower);
                interval = [
                    if side.worse_is_lower {
                        low
                    } else {
                        interval[0]
                    },
                    if side.worse_is_lower {
                        interval[1]
                    } else {
                        high
                    },
                ];
            }
        }
        PartEvidence {
            scale: Scale::Difference,
            estimate: window.seen(self.kind).then_some(difference),
            interval,
            tolerance: self
                .tolerance
                .absolute
                .map(|a| check::sign(side.worse_is_lower) * a),
            window_secs: ticks as f64 * setting.plan.tick as f64 / 1000.0,
        }
    }

    fn ratio_scale(&self) -> Scale {
        match self.kind {
            MetricKind::Rate => Scale::Ratio,
            _ => Scale::OddsRatio,
        }
    }

    fn window(&self, ticks: usize) -> Tally {
        let mut sum = Tally::default();
        for tick in self.history.iter().rev().take(ticks) {
            sum.add(tick);
        }
        sum
    }
}

/// Odds of a share; `None` where they are infinite.
fn odds(share: f64) -> Option<f64> {
    (share < 1.0).then(|| share / (1.0 - share))
}

/// One side's look at both parts.
#[derive(Debug, Clone)]
struct PartsLook {
    fail: bool,
    pass: bool,
    relative: Option<Look>,
    relative_passes: bool,
    absolute_passes: bool,
    ahead: Ahead,
    absolute: Option<AbsoluteLook>,
}

// === impl Shown ===

impl Shown {
    fn is_absolute(self) -> bool {
        match self {
            Shown::Undecided => false,
            Shown::ByLevel { absolute } | Shown::ByPass { absolute } => absolute,
        }
    }
}

// === impl OneSide ===

impl OneSide {
    fn parts(&mut self) -> Vec<&mut Side> {
        let absolute = self.absolute.as_mut().map(AbsolutePart::fail_side);
        self.relative.as_mut().into_iter().chain(absolute).collect()
    }

    fn close(&mut self, tick: &Tally, kind: MetricKind, tolerance: &Tolerance) {
        let lower = self.worse_is_lower;
        if let (Some(side), Some(relative)) = (self.relative.as_mut(), tolerance.relative) {
            if tick.conditional(kind) {
                let odds = if lower {
                    1.0 / (1.0 - relative)
                } else {
                    1.0 + relative
                };
                let law = tick.law(kind, odds, lower);
                side.push_count(tick.bad[usize::from(!lower)] as i64, law);
            } else {
                side.push_empty();
            }
        }
        if let Some(absolute) = self.absolute.as_mut() {
            absolute.close(&tick.turned(lower));
        }
    }

    fn look(&mut self, adjust: Adjust, at: &mut LookAt<'_>) -> PartsLook {
        let relative = self
            .relative
            .as_mut()
            .map(|side| side.look(adjust, at.scratch));
        let absolute = self.absolute.as_mut().map(|part| part.look(adjust, at));
        // Both parts at the same look: exceeding one now and the other an hour later is no
        // degradation beyond both.
        let parts = [
            relative.map(|look| look.crossing),
            absolute.map(|look| look.crossing),
        ];
        self.failed |=
            parts.iter().flatten().all(|&crossing| crossing) && parts.iter().any(Option::is_some);
        let may_yet_fail = !self.failed && parts.iter().all(Option::is_some);
        if let Some(side) = self.relative.as_mut() {
            side.cross_again(may_yet_fail);
        }
        if let Some(part) = self.absolute.as_mut() {
            part.cross_again(may_yet_fail);
        }
        let of_relative = relative.zip(self.relative.as_ref()).map(|(look, side)| {
            Ahead::of(
                &look,
                side.ticks(),
                &side.fail_spending(),
                &side.pass_spending(),
            )
        });
        let relative_passes = relative.is_some_and(|look| look.pass);
        let absolute_passes = absolute.is_some_and(|look| look.pass);
        PartsLook {
            fail: self.failed,
            pass: relative_passes || absolute_passes,
            relative,
            relative_passes,
            absolute_passes,
            ahead: match (of_relative, absolute.map(|look| look.ahead)) {
                (Some(relative), Some(absolute)) => relative.within(absolute),
                (relative, absolute) => relative.or(absolute).unwrap_or_default(),
            },
            absolute,
        }
    }
}
