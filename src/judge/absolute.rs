//! The absolute part of a ratio's or rate's tolerance: is the canary more than `a` above?
//!
//! Owns the tests of the difference p_c - p_b against `a`, in the orientation where higher is
//! worse. Next: `counts`, which joins it with the relative part.
//!
//! - **Fail over any window** (exact, half of alpha): each tick's canary events against the law at
//!   u + a, where u is the upper end of a confidence sequence of the baseline up to this tick; one
//!   half of the level goes to the sequence, the other to the canary's count, which is independent
//!   of the baseline's.
//! - **Fail over the whole run** (asymptotic, the other half of alpha): the difference of
//!   proportions as for a pass, from enough events on. Not knowing the baseline costs it nothing
//!   like what it costs the exact test, whose early ticks are held against wide ceilings.
//! - **Pass while the baseline has hardly any events** (exact): whatever the baseline, p_c <= a
//!   is enough. Zero events in n requests show it at about ln(1 / beta') / a requests.
//! - **Pass afterwards** (asymptotic): the difference of proportions with its variance at the
//!   restricted maximum likelihood (Farrington and Manning 1990), by the Lan-DeMets recursion.

use serde::{Deserialize, Serialize};

use crate::judge::check::LookAt;
use crate::judge::forecast::{Ahead, soonest};
use crate::judge::measure;
use crate::judge::side::{Adjust, Side, Spending};
use crate::judge::strata::{Strata, size, variance_of};
use crate::judge::tally::Tally;
use crate::plan::{Metric, MetricKind};
use crate::stats::count_law::CountLaw;
use crate::stats::mixture;

/// Baseline events from which the difference is tested instead of the canary alone.
const BASELINE_EVENTS_MIN: u64 = 5;
/// Events that the canary is expected to have on the boundary before the whole run's difference
/// may show a fail: with fewer its skewness costs more than its level.
const CANARY_EVENTS_MIN: f64 = 10.0;
/// Share of alpha for the exact test over windows; the rest is the whole run's.
const WINDOWS_SHARE: f64 = 0.5;
/// Trials up to which the fixed-sample bound of a plan's only look is worked out; with more of
/// them the sequence's is hardly wider.
const ONCE_TRIALS_MAX: u64 = 10_000;
/// Standard deviations above the baseline's ceiling from which a tick counts as lifted by a shock.
const LIFTED_Z: f64 = 1.6;
/// Bisection steps of the restricted maximum likelihood.
const BISECTIONS: u32 = 60;
/// Largest multiple of the run so far that a prediction is made for.
const PREDICTION_TICKS_MAX: usize = 100_000;

/// Both tests of the absolute part.
#[derive(Debug, Serialize, Deserialize)]
pub struct AbsolutePart {
    kind: MetricKind,
    once: bool,
    absolute: f64,
    fail: Spending,
    pass: Spending,
    run: Tally,
    strata: Strata,
    /// Design effect at the last look: events that come together count as fewer.
    factor: f64,
    prior_exposure: f64,
    above: Side,
    /// Canary and baseline ceiling of every tick, from which a window's interval follows.
    history: Vec<(Tally, f64)>,
    alone: Side,
    difference: Side,
    /// The mirror of `difference`: what it shows as passed is a canary beyond `a`.
    beyond: Side,
    switched: bool,
    shown_beyond: bool,
    ticks: usize,
}

/// One look at the absolute part.
#[derive(Debug, Clone, Copy)]
pub struct AbsoluteLook {
    /// Shown by a window that ends now: the canary is more than `a` above the baseline.
    pub crossing: bool,
    /// Shown: it is not.
    pub pass: bool,
    /// The window that shows it, where one does; none where only the whole run does.
    pub speaking: Option<SpeakingWindow>,
    /// Ticks until either at the present shares.
    pub ahead: Ahead,
}

/// A window that shows the difference to be beyond the boundary.
#[derive(Debug, Clone, Copy)]
pub struct SpeakingWindow {
    /// Its length in ticks.
    pub ticks: usize,
    /// Standard deviations the canary's count had to be away.
    bound: f64,
    adjust: Adjust,
}

// === impl AbsolutePart ===

impl AbsolutePart {
    /// The tests of one direction of a check; `factor` is its calibrated dispersion, 1 without.
    pub fn new(
        seed: [u8; 32],
        absolute: f64,
        metric: &Metric,
        factor: f64,
        fail: Spending,
        pass: Spending,
    ) -> AbsolutePart {
        let none = |spending: Spending| Spending {
            level: 0.0,
            reserve: 0.0,
            ..spending
        };
        let part = |share: f64| Spending {
            level: share * fail.level,
            reserve: share * fail.reserve,
            ..fail
        };
        let half = part(0.5 * WINDOWS_SHARE);
        AbsolutePart {
            kind: metric.kind,
            // Events of one unit come together, and the fixed-sample bound has no slack for it.
            once: fail.looks_planned == 1 && metric.cluster.is_none() && factor <= 1.0,
            absolute,
            fail: half,
            pass,
            run: Tally::default(),
            strata: Strata::default(),
            factor: factor.max(1.0),
            prior_exposure: 0.0,
            above: Side::new(seed, half, none(pass)),
            history: Vec::new(),
            alone: Side::new(seed, none(fail), pass),
            difference: Side::new(seed, none(fail), pass),
            beyond: Side::new(seed, none(fail), part(1.0 - WINDOWS_SHARE)),
            switched: false,
            shown_beyond: false,
            ticks: 0,
        }
    }

    /// See [`Side::cross_again`].
    pub fn cross_again(&mut self, needed: bool) {
        self.above.cross_again(needed);
    }

    /// Takes a tick, turned so that the degradation is "the canary has more".
    pub fn close(&mut self, tick: &Tally) {
        self.ticks += 1;
        if self.prior_exposure == 0.0 {
            self.prior_exposure = tick.exposure[0];
        }
        self.run.add(tick);
        let bad = tick.bad[1] as i64;
        let ceiling = self.baseline_ceiling(tick);
        self.history.push((*tick, ceiling));
        match self.law(tick, ceiling + self.absolute) {
            Some(law) => self.above.push_count(bad, law),
            None => self.above.push_empty(),
        }
        // Once the difference is tested nobody looks at the canary alone any more.
        if !self.switched {
            match self.law(tick, self.absolute) {
                Some(law) => self.alone.push_count(bad, law),
                None => self.alone.push_empty(),
            }
        }
        let sizes = [0, 1].map(|arm| size(tick, arm, self.kind));
        if sizes[0] > 0.0 && sizes[1] > 0.0 {
            let weight = sizes[0] * sizes[1] / (sizes[0] + sizes[1]);
            let difference = tick.rate(1, self.kind) - tick.rate(0, self.kind) - self.absolute;
            self.strata.add(tick, weight, sizes, self.kind);
            self.difference.push_gaussian(weight * difference, weight);
            self.beyond.push_gaussian(-weight * difference, weight);
        } else {
            self.difference.push_empty();
            self.beyond.push_empty();
        }
    }

    /// Looks at the run so far; `dispersion` is the design effect of the counts.
    pub fn look(&mut self, dispersion: Adjust, at: &mut LookAt<'_>) -> AbsoluteLook {
        let above = self.above.look(dispersion, at.scratch);
        self.factor = dispersion.factor.max(1.0);
        if !self.switched && self.strata.run.bad[0] >= BASELINE_EVENTS_MIN {
            self.switched = true;
            self.difference.begin_passing_after(at.look - 1);
        }
        let (mut to_beyond, mut beyond) = (None, false);
        let (pass, to_pass) = if self.switched {
            let baseline = self.restricted_baseline();
            let adjust = Adjust {
                factor: self.variance(baseline) * dispersion.factor,
                df: dispersion.df,
            };
            let look = self.difference.look(adjust, at.scratch);
            let worse = self.beyond.look(adjust, at.scratch);
            let events = self.expected_events(baseline);
            beyond = worse.pass && events >= CANARY_EVENTS_MIN;
            let spending = self.beyond.pass_spending();
            let for_events = self.ticks as f64 * (CANARY_EVENTS_MIN / events - 1.0);
            to_beyond = Ahead::of(&worse, self.ticks, &self.pass, &spending)
                .to_pass
                .map(|ticks| ticks.max(for_events));
            let ahead = Ahead::of(&look, self.ticks, &self.fail, &self.pass);
            (look.pass, ahead.to_pass)
        } else {
            let look = self.alone.look(dispersion, at.scratch);
            (look.pass, self.predict_alone())
        };
        let of_fail = Ahead::of(&above, self.ticks, &self.fail, &self.pass);
        self.shown_beyond = beyond;
        let speaking = above.peak.filter(|_| above.crossing);
        AbsoluteLook {
            crossing: above.crossing || beyond,
            pass,
            speaking: speaking.map(|peak| SpeakingWindow {
                ticks: peak.window,
                bound: above.fail_bound + peak.z - peak.statistic,
                adjust: dispersion,
            }),
            ahead: Ahead {
                to_fail: soonest(of_fail.to_fail, to_beyond),
                to_pass: if pass { Some(0.0) } else { to_pass },
            },
        }
    }

    /// The side that a fail rests on, to be watched after a pass.
    pub fn fail_side(&mut self) -> &mut Side {
        &mut self.above
    }

    /// Interval of the difference. Where a window speaks it is that window's: the canary's share
    /// by the test that spoke, less the ceiling of the baseline that it was held against.
    /// Otherwise the confidence sequence of the run, from those of both arms. An end at a
    /// boundary that a test has shown is that boundary.
    pub fn interval(
        &self,
        speaking: Option<SpeakingWindow>,
        worse_is_lower: bool,
    ) -> [Option<f64>; 2] {
        let (below, above) = match speaking {
            Some(window) => self.ends_of_window(window),
            None => {
                let [baseline, canary] =
                    [0, 1].map(|arm| self.bounds(&self.run, arm, 2.0 * self.fail.level));
                (canary[0] - baseline[1], canary[1] - baseline[0])
            }
        };
        let finite = |value: f64| value.is_finite().then_some(value);
        let (below, above) = match self.estimate_of_run().filter(|_| speaking.is_none()) {
            Some(seen) if self.shown_beyond => {
                (below.max(self.absolute).min(seen), above.max(seen))
            }
            Some(seen) => (below.min(seen), above.min(self.absolute).max(seen)),
            None if speaking.is_none() && self.shown_pass() => (below, above.min(self.absolute)),
            None => (below, above),
        };
        if worse_is_lower {
            [finite(-above), finite(-below)]
        } else {
            [finite(below), finite(above)]
        }
    }

    /// Difference over the whole run where the test of it speaks: the mean over ticks by the weight
    /// they have in the test, turned so that the canary has more. Shares over the run would not do
    /// where the split of traffic changed.
    pub fn estimate_of_run(&self) -> Option<f64> {
        let speaks = self.shown_beyond || (self.switched && self.difference.is_passing());
        let score = self.difference.prefix_s()[self.difference.ticks()];
        (speaks && self.strata.weight > 0.0).then(|| score / self.strata.weight + self.absolute)
    }

    /// Ends of "canary minus baseline" over a window, turned so that the canary has more.
    fn ends_of_window(&self, window: SpeakingWindow) -> (f64, f64) {
        let recent = &self.history[self.history.len() - window.ticks.min(self.history.len())..];
        let (mut run, mut weighted) = (Tally::default(), 0.0);
        for (tick, ceiling) in recent {
            run.add(tick);
            // A tick without the canary says nothing, and its ceiling may be infinite.
            let weight = size(tick, 1, self.kind);
            weighted += if weight > 0.0 { weight * ceiling } else { 0.0 };
        }
        let (events, size) = (run.bad[1] as f64, size(&run, 1, self.kind));
        let z = |level: f64| {
            let variance = match self.kind {
                MetricKind::Rate => level,
                _ => level * (1.0 - level),
            };
            let score = (events - size * level) / (size * variance).sqrt();
            window.adjust.apply(score)
        };
        let ceiling = weighted / size;
        let floor = self.bounds(&self.run, 0, 2.0 * self.fail.level)[0];
        let centre = events / size;
        let far = match self.kind {
            MetricKind::Rate => 2.0 * centre + (10.0 + window.bound * window.bound) / size,
            _ => 1.0,
        };
        let low = measure::last_inside(centre, 0.0, z, window.bound);
        let high = measure::last_inside(centre, far, z, window.bound);
        // The laws of the ticks differ where the ceiling moved; the test has the last word.
        ((low - ceiling).max(self.absolute), high - floor)
    }

    fn shown_pass(&self) -> bool {
        if self.switched {
            self.difference.is_passing()
        } else {
            self.alone.is_passing()
        }
    }

    fn bounds(&self, run: &Tally, arm: usize, delta: f64) -> [f64; 2] {
        let fewer = |count: u64| match self.factor > 1.0 {
            true => libm::round(count as f64 / self.factor) as u64,
            false => count,
        };
        match self.kind {
            MetricKind::Rate => {
                let prior = self.prior_exposure.max(f64::MIN_POSITIVE);
                let exposure = run.exposure[arm] / self.factor;
                mixture::rate_bounds(fewer(run.bad[arm]), exposure, delta, prior)
            }
            _ => mixture::proportion_bounds(fewer(run.bad[arm]), fewer(run.total[arm]), delta),
        }
    }

    /// Upper end of the baseline's confidence sequence so far, at half of alpha. Both ends of the
    /// sequence share delta, and only one is used.
    ///
    /// A plan's only look needs no sequence: there the fixed-sample bound is exact and tighter.
    ///
    /// A shock that hits both arms (an outage behind them) lifts the baseline of its own ticks
    /// above that: such a tick is held against its own baseline, at a share of the level.
    fn baseline_ceiling(&self, tick: &Tally) -> f64 {
        let level = self.fail.level;
        let is_ratio = self.kind == MetricKind::Ratio;
        if self.once && is_ratio && tick.total[0] <= ONCE_TRIALS_MAX {
            return mixture::proportion_upper_once(tick.bad[0], tick.total[0], level);
        }
        let run = self.bounds(&self.run, 0, level)[1];
        if !self.is_lifted(tick, run) {
            return run;
        }
        let looks = self.pass.looks_planned.max(1) as f64;
        self.bounds(tick, 0, level / looks)[1].max(run)
    }

    /// Whether the tick's baseline lies above `ceiling` by more than its own noise. A tick that
    /// merely happens to be above it is no shock, and its own wide bound would cost power.
    fn is_lifted(&self, tick: &Tally, ceiling: f64) -> bool {
        let size = size(tick, 0, self.kind);
        let variance = match self.kind {
            MetricKind::Rate => size * ceiling,
            _ => size * ceiling * (1.0 - ceiling),
        };
        tick.bad[0] as f64 - size * ceiling > LIFTED_Z * variance.max(0.0).sqrt()
    }

    /// Law of the canary's events at this share or rate; `None` where it says nothing.
    fn law(&self, tick: &Tally, level: f64) -> Option<CountLaw> {
        match self.kind {
            MetricKind::Rate => (tick.exposure[1] > 0.0 && level.is_finite())
                .then(|| CountLaw::poisson(level * tick.exposure[1])),
            _ => {
                (tick.total[1] > 0 && level < 1.0).then(|| CountLaw::binomial(tick.total[1], level))
            }
        }
    }

    /// Events that the canary is expected to have on the boundary, or their opposites where those
    /// are fewer.
    fn expected_events(&self, baseline: f64) -> f64 {
        let trials = size(&self.strata.run, 1, self.kind) / self.factor;
        let canary = baseline + self.absolute;
        let rarer = match self.kind {
            MetricKind::Rate => canary,
            _ => canary.min(1.0 - canary),
        };
        (trials * rarer).max(f64::MIN_POSITIVE)
    }

    /// Variance factor of the weighted difference at the restricted maximum likelihood.
    fn variance(&self, baseline: f64) -> f64 {
        let Strata { weight, shares, .. } = self.strata;
        let restricted = shares[0] * variance_of(baseline, self.kind)
            + shares[1] * variance_of(baseline + self.absolute, self.kind);
        (restricted.max(self.strata.observed) / weight).max(f64::MIN_POSITIVE)
    }

    /// The baseline's share (or rate) of largest likelihood among those with canary = it + a.
    fn restricted_baseline(&self) -> f64 {
        let run = &self.strata.run;
        let (x, y) = (run.bad[1] as f64, run.bad[0] as f64);
        let (m, n) = (size(run, 1, self.kind), size(run, 0, self.kind));
        let a = self.absolute;
        let is_rate = self.kind == MetricKind::Rate;
        // Derivative of the log-likelihood: falls from +inf to below zero along the bracket.
        let slope = |p: f64| {
            if is_rate {
                x / (p + a) - m + y / p - n
            } else {
                x / (p + a) - (m - x) / (1.0 - p - a) + y / p - (n - y) / (1.0 - p)
            }
        };
        let (mut low, mut high) = (
            0.0_f64,
            if is_rate {
                (x + y + 1.0) / m.min(n)
            } else {
                1.0 - a
            },
        );
        for _ in 0..BISECTIONS {
            let middle = 0.5 * (low + high);
            if slope(middle) > 0.0 {
                low = middle;
            } else {
                high = middle;
            }
        }
        0.5 * (low + high)
    }

    /// Ticks until p_c <= a is shown if the canary's share stays what it is, by the Chernoff
    /// bound exp(-n KL(p, a)); for no events at all it is the exact tail (1 - a)^n.
    fn predict_alone(&self) -> Option<f64> {
        let m = size(&self.run, 1, self.kind);
        let share = self.run.rate(1, self.kind);
        if m <= 0.0 || share >= self.absolute {
            return None;
        }
        let per_tick = m / self.ticks as f64;
        let divergence = divergence(share, self.absolute, self.kind);
        let reached = |ticks: usize| {
            let spent = self.pass.cumulative(ticks);
            spent > 0.0 && per_tick * ticks as f64 * divergence >= -libm::log(spent)
        };
        let mut high = self.ticks.max(1);
        while !reached(high) {
            high *= 2;
            if high > PREDICTION_TICKS_MAX {
                return Some((-libm::log(self.pass.level) / divergence / per_tick).max(0.0));
            }
        }
        let mut low = self.ticks;
        while low + 1 < high {
            let middle = (low + high) / 2;
            if reached(middle) {
                high = middle
            } else {
                low = middle
            }
        }
        // At the present count a pass is not shown yet, so at least one more tick is needed.
        Some(((high - self.ticks) as f64).max(1.0))
    }
}

/// Kullback-Leibler divergence per trial (or per unit of exposure) of `share` from `level`.
fn divergence(share: f64, level: f64, kind: MetricKind) -> f64 {
    let part = |p: f64, q: f64| if p == 0.0 { 0.0 } else { p * libm::log(p / q) };
    match kind {
        MetricKind::Rate => part(share, level) - share + level,
        _ => part(share, level) + part(1.0 - share, 1.0 - level),
    }
}
