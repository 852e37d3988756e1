//! `compare` on a ratio or a rate: does the canary have more bad events than the tolerance allows?
//!
//! Owns the conditional tests of the relative part, which are exact given each tick's total: for
//! ratios the odds form (Fisher's noncentral hypergeometric law), for rates the binomial law. The
//! absolute part is `absolute`'s. A fail needs both parts of the tolerance exceeded
//! (intersection-union, no split); a pass needs one part shown, at half of beta each. Next:
//! `absolute`.

use crate::judge::absolute::AbsolutePart;
use crate::judge::check::{self, Detail, Evidence, LookAt, MISSING_SHARE_MAX, Setting};
use crate::judge::forecast::Ahead;
use crate::judge::grid::{Grid, Orientation};
use crate::judge::rank;
use crate::judge::side::{Adjust, Look, Side};
use crate::judge::units::{self, UnitSums};
use crate::judge::verdict::Scale;
use crate::model::Reason;
use crate::plan::{MetricKind, Tolerance, Worse};
use crate::stats::count_law::CountLaw;
use crate::window::Cell;

/// Bad events and exposure of both arms in one tick (or over a run).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    /// Bad events by arm.
    pub bad: [u64; 2],
    /// Totals of a ratio by arm.
    pub total: [u64; 2],
    /// Exposures of a rate by arm.
    pub exposure: [f64; 2],
}

/// The check of one ratio or rate.
#[derive(Debug)]
pub struct CountCheck {
    kind: MetricKind,
    worse: Worse,
    tolerance: Tolerance,
    sides: Vec<OneSide>,
    grid: Grid,
    history: Vec<Tally>,
    run: Tally,
    units: [UnitSums; 2],
    clustered: bool,
    inconsistent_ticks: usize,
}

#[derive(Debug)]
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
                        AbsolutePart::new(seed, absolute, setting.metric, fail, pass)
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
            grid: Grid::of_ratios(&[1.0 + relative, 1.0 - relative]),
            history: Vec::new(),
            run: Tally::default(),
            units: Default::default(),
            clustered: setting.metric.cluster.is_some(),
            inconsistent_ticks: 0,
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

    /// Looks at the run so far.
    pub fn find(&mut self, setting: &Setting<'_>, at: &mut LookAt<'_>) -> Evidence {
        let mut evidence = Evidence::none(self.ratio_scale());
        let share = self.inconsistent_ticks as f64 / self.history.len().max(1) as f64;
        if share > MISSING_SHARE_MAX {
            evidence.wanting = Some(Reason::BadData);
            return evidence;
        }
        let Some(adjust) = self.adjust() else {
            evidence.wanting = Some(Reason::NeedsUnits);
            return evidence;
        };
        let mut looks = Vec::new();
        for side in &mut self.sides {
            looks.push(side.look(adjust, at));
        }
        evidence.fail = looks.iter().any(|look| look.fail);
        evidence.pass = looks.iter().all(|look| look.pass) && !evidence.fail;
        if setting.detail == Detail::Full {
            self.describe(&mut evidence, setting, &looks, adjust);
        }
        evidence
    }

    /// Between-unit variance of the bad share over the binomial one: the largest of both arms
    /// together and each arm alone, since bursts often hit one arm only.
    fn adjust(&self) -> Option<Adjust> {
        if !self.clustered || self.history.is_empty() {
            return Some(Adjust::NONE);
        }
        let [baseline, canary] = &self.units;
        if baseline.len() < units::UNITS_MIN || canary.len() < units::UNITS_MIN {
            return None;
        }
        let observed = self.units.each_ref().map(UnitSums::variance_of_mean);
        let null = [0, 1].map(|arm| {
            let (share, total) = (self.run.share(arm), self.run.total[arm] as f64);
            share * (1.0 - share) / total
        });
        let over = |observed: f64, null: f64| if null > 0.0 { observed / null } else { 1.0 };
        let factor = over(observed[0] + observed[1], null[0] + null[1])
            .max(over(observed[0], null[0]))
            .max(over(observed[1], null[1]))
            .max(1.0);
        Some(Adjust {
            factor,
            df: units::degrees_of_freedom(baseline, canary),
        })
    }

    fn describe(
        &self,
        evidence: &mut Evidence,
        setting: &Setting<'_>,
        looks: &[PartsLook],
        adjust: Adjust,
    ) {
        if adjust.factor > 1.0 {
            evidence
                .factors
                .insert("design_effect".to_owned(), adjust.factor);
        }
        let ticks = self.history.len();
        let speaking = looks.iter().find(|look| look.fail).or(looks.first());
        let Some(speaking) = speaking else { return };
        evidence.window = match speaking.relative.as_ref().and_then(|look| look.peak) {
            Some(peak) if evidence.fail => peak.window,
            _ => ticks,
        };
        let window = self.window(evidence.window);
        let (baseline, canary) = (window.rate(0, self.kind), window.rate(1, self.kind));
        // The part that speaks gives the scale: the ratio where totals say something about it.
        let by_ratio = self.tolerance.relative.is_some()
            && baseline > 0.0
            && !(evidence.pass && speaking.absolute_passes && !speaking.relative_passes);
        let lower = self.worse == Worse::Lower;
        if by_ratio {
            evidence.scale = self.ratio_scale();
            evidence.estimate = match self.kind {
                MetricKind::Rate => Some(canary / baseline),
                _ => odds(canary)
                    .zip(odds(baseline))
                    .map(|(canary, baseline)| canary / baseline),
            };
            evidence.tolerance = Some(rank::shown_boundary(
                self.worse,
                &self.tolerance,
                evidence.scale,
            ));
            if let Some(look) = &speaking.relative {
                evidence.interval = self.grid.interval(
                    self.orientation(),
                    setting.looks_planned(),
                    adjust,
                    look.fail_bound,
                    look.pass_bound,
                    evidence.window,
                );
            }
        } else {
            evidence.scale = Scale::Difference;
            evidence.estimate = (window.seen(self.kind)).then_some(canary - baseline);
            evidence.tolerance = self.tolerance.absolute.map(|a| check::sign(lower) * a);
            if let Some(side) = self.sides.first().and_then(|side| side.absolute.as_ref()) {
                evidence.interval = side.interval(&self.run, lower);
            }
        }
        evidence.needs_ticks = looks
            .iter()
            .map(|look| look.ahead)
            .reduce(Ahead::beside)
            .and_then(Ahead::ticks)
            .filter(|_| !evidence.fail && !evidence.pass);
    }

    fn ratio_scale(&self) -> Scale {
        match self.kind {
            MetricKind::Rate => Scale::Ratio,
            _ => Scale::OddsRatio,
        }
    }

    fn orientation(&self) -> Orientation {
        match self.worse {
            Worse::Higher => Orientation::Higher,
            Worse::Lower => Orientation::Lower,
            Worse::Either => Orientation::Either,
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
}

// === impl OneSide ===

impl OneSide {
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
        }
    }
}

// === impl Tally ===

impl Tally {
    pub(super) fn add(&mut self, other: &Tally) {
        for arm in 0..2 {
            self.bad[arm] = self.bad[arm].saturating_add(other.bad[arm]);
            self.total[arm] = self.total[arm].saturating_add(other.total[arm]);
            self.exposure[arm] += other.exposure[arm];
        }
    }

    /// Whether the tick says something about the relative part: events, and both arms seen.
    fn conditional(&self, kind: MetricKind) -> bool {
        self.bad[0] + self.bad[1] > 0 && self.seen(kind)
    }

    fn seen(&self, kind: MetricKind) -> bool {
        match kind {
            MetricKind::Rate => self.exposure.iter().all(|&exposure| exposure > 0.0),
            _ => self.total.iter().all(|&total| total > 0),
        }
    }

    /// Law of the canary's bad events given the total, at this odds (or rate) ratio; of the
    /// baseline's where `swapped`.
    fn law(&self, kind: MetricKind, odds: f64, swapped: bool) -> CountLaw {
        let events = self.bad[0] + self.bad[1];
        let (own, other) = if swapped { (0, 1) } else { (1, 0) };
        match kind {
            MetricKind::Rate => {
                let weighted = odds * self.exposure[own];
                CountLaw::binomial(events, weighted / (weighted + self.exposure[other]))
            }
            _ => CountLaw::fisher_noncentral_hypergeometric(
                self.total[own],
                self.total[other],
                events,
                odds,
            ),
        }
    }

    /// Arms exchanged where lower is worse: then "the baseline has more" is the degradation.
    fn turned(&self, worse_is_lower: bool) -> Tally {
        if !worse_is_lower {
            return *self;
        }
        Tally {
            bad: [self.bad[1], self.bad[0]],
            total: [self.total[1], self.total[0]],
            exposure: [self.exposure[1], self.exposure[0]],
        }
    }

    /// Bad share of a ratio's arm; 0 where nothing was seen.
    pub fn share(&self, arm: usize) -> f64 {
        if self.total[arm] == 0 {
            0.0
        } else {
            self.bad[arm] as f64 / self.total[arm] as f64
        }
    }

    /// Events per exposure, or the bad share.
    pub fn rate(&self, arm: usize, kind: MetricKind) -> f64 {
        match kind {
            MetricKind::Rate if self.exposure[arm] > 0.0 => {
                self.bad[arm] as f64 / self.exposure[arm]
            }
            MetricKind::Rate => 0.0,
            _ => self.share(arm),
        }
    }
}
