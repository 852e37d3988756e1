//! How much longer until a verdict, if things go on as they have?
//!
//! Owns the look ahead from a score's drift so far to the look at which it would meet a bound. It
//! must not know what was measured, and nothing it says decides anything. Next: `side`, whose
//! looks it carries forward; `mod` turns ticks into seconds and samples.
//!
//! The whole-run score grows with the root of time while its drift lasts; bounds fall as more is
//! spent. Half-way to a verdict the drift is known to about 40 %, and its square decides, so a
//! forecast is a median of a wide law and not a promise. Where the drift cannot be told from none
//! there is no forecast.

use crate::judge::check::Setting;
use crate::judge::side::{Look, Spending};
use crate::stats::special;

/// Largest forecast, in multiples of the run so far: a score within 0.4 standard deviations of
/// the boundary says nothing of its drift.
const AHEAD_MAX: usize = 40;
/// How far a bound lies above that of a single look at all that was spent, after many looks.
const PASS_EXCESS: f64 = 0.5;
/// Looks after which half of that excess is there (fitted to the recursion at 10 to 300 looks).
const PASS_EXCESS_LOOKS: f64 = 3.0;
/// What the shorter windows take of a fail's bound by the horizon.
const FAIL_EXCESS: f64 = 0.3;
/// Shrinkage of a forecast longer than the run so far, as a power of their ratio. A small drift
/// measured is more often a larger one in bad luck than the reverse, for verdicts do come.
const LONGER_POWER: f64 = 0.35;
/// Shrinkage of a shorter one.
const SHORTER_POWER: f64 = 0.85;

/// Ticks until either verdict; `None` where that cannot be known.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Ahead {
    /// Until a fail.
    pub to_fail: Option<f64>,
    /// Until a pass; 0 where it is shown already.
    pub to_pass: Option<f64>,
}

// === impl Ahead ===

impl Ahead {
    /// From one look at a side that spends `fail` and `pass`, after `ticks`.
    pub fn of(look: &Look, ticks: usize, fail: &Spending, pass: &Spending) -> Ahead {
        Ahead::of_score(look.z_whole, look.pass, ticks, fail, pass)
    }

    /// From the whole-run score of a look, and whether it showed a pass.
    pub fn of_score(
        z_whole: f64,
        passes: bool,
        ticks: usize,
        fail: &Spending,
        pass: &Spending,
    ) -> Ahead {
        let to_fail = ticks_until(z_whole, ticks, |at| fail_bound(fail, at));
        let to_pass = ticks_until(-z_whole, ticks, |at| pass_bound(pass, at));
        Ahead { to_fail, to_pass }.with_pass(passes, ticks, pass)
    }

    /// As [`Ahead::of_score`] of a test whose bounds no formula tells: they are taken to stay as
    /// they stand, `[fail, pass]`, and where a look had none to be what a Gaussian score's are at
    /// the horizon.
    pub fn of_standing_bounds(
        z_whole: f64,
        passes: bool,
        ticks: usize,
        bounds: [f64; 2],
        [fail, pass]: [&Spending; 2],
    ) -> Ahead {
        let known = |bound: f64, otherwise: f64| {
            let bound = Some(bound).filter(|bound| bound.is_finite());
            bound.unwrap_or(otherwise)
        };
        let to_fail = known(bounds[0], fail_bound(fail, fail.looks_planned));
        let to_pass = known(bounds[1], pass_bound(pass, pass.looks_planned));
        let to_fail = ticks_until(z_whole, ticks, |_| to_fail);
        let to_pass = ticks_until(-z_whole, ticks, |_| to_pass);
        Ahead { to_fail, to_pass }.with_pass(passes, ticks, pass)
    }

    /// A pass that is shown needs nothing; one that is not waits for its first look.
    fn with_pass(self, passes: bool, ticks: usize, pass: &Spending) -> Ahead {
        let wait = pass.first_look.saturating_sub(ticks) as f64;
        let to_pass = if passes {
            Some(0.0)
        } else {
            self.to_pass.map(|ticks| ticks.max(wait))
        };
        Ahead { to_pass, ..self }
    }

    /// Two sides of one question: any may fail, both must pass.
    pub fn beside(self, other: Ahead) -> Ahead {
        Ahead {
            to_fail: soonest(self.to_fail, other.to_fail),
            to_pass: latest(self.to_pass, other.to_pass),
        }
    }

    /// Two parts of one tolerance: both must fail, any may pass.
    pub fn within(self, other: Ahead) -> Ahead {
        Ahead {
            to_fail: latest(self.to_fail, other.to_fail),
            to_pass: soonest(self.to_pass, other.to_pass),
        }
    }

    /// Until whichever comes first.
    pub fn ticks(self) -> Option<f64> {
        soonest(self.to_fail, self.to_pass)
    }
}

// === functions ===

/// Ticks until a verdict from the looks of a check's sides; `None` where one is reached, or where
/// it cannot be known.
pub fn of_sides(looks: &[Look], ticks: usize, setting: &Setting<'_>) -> Option<f64> {
    if looks.iter().any(|look| look.fail) || looks.iter().all(|look| look.pass) {
        return None;
    }
    let fail = setting.fail_spending(1.0 / looks.len() as f64);
    let pass = setting.pass_spending(1.0);
    looks
        .iter()
        .map(|look| Ahead::of(look, ticks, &fail, &pass))
        .reduce(Ahead::beside)?
        .ticks()
}

/// Ticks until a test has begun that waits for `wanted` values and has seen some in `ticks` ticks;
/// `None` where it has begun, or none came. The tick that completes them is not tested yet.
pub fn warm_up(seen: f64, wanted: f64, ticks: usize) -> Option<f64> {
    (seen > 0.0 && seen < wanted).then(|| 1.0 + (wanted - seen) * ticks as f64 / seen)
}

/// Ticks until a score that stands at `z` standard deviations after `ticks` meets `bound(look)`,
/// shrunk towards "as long again as so far"; at least one.
pub fn ticks_until(z: f64, ticks: usize, bound: impl Fn(usize) -> f64) -> Option<f64> {
    if z <= 0.0 || ticks == 0 {
        return None;
    }
    let so_far = ticks as f64;
    let is_met = |at: usize| z * (at as f64 / so_far).sqrt() >= bound(at);
    let (mut before, mut at) = (ticks, ticks.saturating_mul(1 + AHEAD_MAX));
    if !is_met(at) {
        return None;
    }
    while before + 1 < at {
        let middle = before + (at - before) / 2;
        if is_met(middle) {
            at = middle;
        } else {
            before = middle;
        }
    }
    Some(shrunk((at - ticks) as f64, so_far))
}

/// A forecast of `ahead` ticks after `so_far`, drawn towards `so_far`; at least one tick.
pub fn shrunk(ahead: f64, so_far: f64) -> f64 {
    let times = ahead / so_far;
    let power = if times > 1.0 {
        LONGER_POWER
    } else {
        SHORTER_POWER
    };
    (so_far * libm::pow(times, power)).max(1.0)
}

/// Bound of the mirrored whole-run score at look `at`: close to the Lan-DeMets boundary at equal
/// information a tick.
fn pass_bound(pass: &Spending, at: usize) -> f64 {
    let looks = at.min(pass.looks_planned) as f64 - pass.first_look as f64;
    let excess = PASS_EXCESS * looks / (looks + PASS_EXCESS_LOOKS);
    single_look_bound(pass, at) + excess.max(0.0)
}

/// Bound of the whole-run score at look `at` as a part of the multiscale statistic.
fn fail_bound(fail: &Spending, at: usize) -> f64 {
    let share = (at as f64 / fail.looks_planned as f64).min(1.0);
    pass_bound(fail, at) + FAIL_EXCESS * share
}

fn single_look_bound(spending: &Spending, at: usize) -> f64 {
    let spent = spending.cumulative(at.min(spending.looks_planned));
    if spent > 0.0 {
        special::normal_quantile(1.0 - spent)
    } else {
        f64::INFINITY
    }
}

pub(super) fn soonest(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn latest(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    one.zip(other).map(|(one, other)| one.max(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::lan_demets::LanDemets;

    fn spending(looks_planned: usize) -> Spending {
        Spending {
            level: 0.05,
            looks_planned,
            first_look: 1,
            elsewhere: 0.0,
            reserve: 0.0,
            looks_beyond: 0,
        }
    }

    #[test]
    fn the_bound_looked_ahead_to_is_near_the_one_that_decides() {
        for looks in [10, 60, 300] {
            let (pass, mut recursion) = (spending(looks), LanDemets::new());
            for look in 1..=looks {
                let increment = pass.cumulative(look) - pass.cumulative(look - 1);
                let decides = recursion.next(look as f64, increment);
                let ahead = pass_bound(&pass, look);
                assert!(
                    (decides - ahead).abs() < 0.25,
                    "{look} of {looks}: {decides}, {ahead}"
                );
            }
        }
    }

    #[test]
    fn a_larger_drift_is_sooner_there_and_none_is_never() {
        let pass = spending(60);
        let ticks = |z: f64| ticks_until(z, 10, |at| pass_bound(&pass, at));
        assert_eq!(ticks(0.0), None);
        assert_eq!(ticks(-3.0), None);
        assert_eq!(ticks(0.2), None, "that is noise");
        let (near, far) = (ticks(2.0).unwrap(), ticks(1.0).unwrap());
        assert!(1.0 <= near && near < far, "{near}, {far}");
        let met = ticks(5.0).unwrap();
        assert!(
            (1.0..2.0).contains(&met),
            "a bound that is met takes one more look"
        );
    }

    #[test]
    fn a_warm_up_lasts_until_its_values_are_there() {
        assert_eq!(warm_up(50.0, 200.0, 5), Some(16.0));
        assert_eq!(warm_up(200.0, 200.0, 5), None);
        assert_eq!(warm_up(0.0, 200.0, 5), None);
    }

    #[test]
    fn sides_and_parts_join_the_other_way_round() {
        let one = Ahead {
            to_fail: Some(4.0),
            to_pass: None,
        };
        let other = Ahead {
            to_fail: Some(9.0),
            to_pass: Some(2.0),
        };
        assert_eq!(one.beside(other).to_fail, Some(4.0));
        assert_eq!(one.beside(other).to_pass, None);
        assert_eq!(one.within(other).to_fail, Some(9.0));
        assert_eq!(one.within(other).to_pass, Some(2.0));
        assert_eq!(one.within(other).ticks(), Some(2.0));
    }
}
