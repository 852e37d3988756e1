//! Between-unit variance: how much less a clustered sample says than its size.
//!
//! Owns the sums by unit from which the variance of an arm's mean score is estimated, and the
//! factor that both arms' estimates make of the null law's variance. Units that live for a tick
//! (traces) are forgotten at its close but for five sums; units that live for the run (pods,
//! clients) are kept. It must not know what a score is. Next: `rank`, `tail`, `counts` and
//! `threshold`, which feed it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::judge::side::Adjust;
use crate::plan::{Lifetime, Metric};

/// Units of one arm that are kept apart over the run; beyond it whole units are hashed into
/// [`GROUPS`]: still valid, some power lost.
pub const RUN_UNITS_MAX: usize = 256;
/// Groups that units of the run are hashed into.
pub const GROUPS: u64 = 256;
/// Units of a tick an arm needs before a design effect is believed.
pub const TICK_UNITS_MIN: usize = 3;
/// Smallest degrees of freedom: an arm whose traffic nearly all went to one unit.
const DF_MIN: f64 = 0.25;

/// Counts and score sums of one arm, by unit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Units {
    lifetime: Lifetime,
    /// Units of the open tick, or of the run.
    open: BTreeMap<u64, (f64, f64)>,
    /// Whether units of the run share groups.
    grouped: bool,
    closed: ClosedUnits,
}

/// Sums over the units of closed ticks; n is a unit's count and e the sum of its scores.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct ClosedUnits {
    units: usize,
    n: f64,
    e: f64,
    nn: f64,
    ne: f64,
    ee: f64,
}

/// Variance of an arm's mean score, and the degrees of freedom of its estimate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Variance of the mean score per observation.
    pub variance: f64,
    /// Degrees of freedom.
    pub df: f64,
}

// === impl Units ===

impl Units {
    /// No unit yet; they live as long as this.
    pub fn new(lifetime: Lifetime) -> Units {
        Units {
            lifetime,
            open: BTreeMap::new(),
            grouped: false,
            closed: ClosedUnits::default(),
        }
    }

    /// The units of a metric's arm; without a cluster they stay empty.
    pub fn of_metric(metric: &Metric) -> Units {
        let lifetime = metric.cluster.as_ref().map(|cluster| cluster.lifetime);
        Units::new(lifetime.unwrap_or(Lifetime::Tick))
    }

    /// Adds `count` observations of a unit whose scores sum to `score`.
    pub fn add(&mut self, unit: u64, count: f64, score: f64) {
        let is_run = self.lifetime == Lifetime::Run;
        if is_run && !self.grouped && self.open.len() == RUN_UNITS_MAX {
            self.grouped = !self.open.contains_key(&unit);
            if self.grouped {
                for (unit, (count, score)) in std::mem::take(&mut self.open) {
                    self.add_sums(group(unit), count, score);
                }
            }
        }
        let key = if self.grouped { group(unit) } else { unit };
        self.add_sums(key, count, score);
    }

    fn add_sums(&mut self, key: u64, count: f64, score: f64) {
        let sums = self.open.entry(key).or_default();
        sums.0 += count;
        sums.1 += score;
    }

    /// Ends a tick: its units are over where they live for a tick.
    pub fn close_tick(&mut self) {
        if self.lifetime == Lifetime::Tick {
            let open = std::mem::take(&mut self.open);
            open.values().for_each(|&sums| self.closed.add(sums));
        }
    }

    /// Number of units (or groups) so far; the same name in two ticks is two units where units
    /// live for a tick.
    pub fn len(&self) -> usize {
        self.closed.units + self.open.len()
    }

    /// Whether no unit was seen.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Mean score per observation; 0 where there is none.
    pub fn mean(&self) -> f64 {
        let sums = self.sums();
        if sums.n > 0.0 { sums.e / sums.n } else { 0.0 }
    }

    /// Observations.
    pub fn count(&self) -> f64 {
        self.sums().n
    }

    fn sums(&self) -> ClosedUnits {
        let mut sums = self.closed;
        self.open.values().for_each(|&unit| sums.add(unit));
        sums
    }

    /// Variance of the mean score as it shows between units; `None` with fewer than two.
    pub fn spread(&self) -> Option<Spread> {
        let sums = self.sums();
        let units = sums.units as f64;
        if sums.units < 2 || sums.n <= 0.0 {
            return None;
        }
        match self.lifetime {
            Lifetime::Tick => Some(Spread {
                variance: sums.linearised(),
                df: units - 1.0,
            }),
            Lifetime::Run => self.of_unit_means(),
        }
    }

    /// Units' means weighted by their shares w of the observations: with
    /// s2 = sum w (mean_i - mean)^2 / (1 - sum w^2), the variance of the weighted mean is
    /// s2 sum w^2. Unbiased when units differ, too large when only observations do; equal shares
    /// give s2 / units, Welch's term (Welch 1947; Cochran 1977, section 2.11, for the weights).
    fn of_unit_means(&self) -> Option<Spread> {
        let (count, mean) = (self.count(), self.mean());
        let (mut squares, mut shares) = (0.0, 0.0);
        for &(n, e) in self.open.values().filter(|unit| unit.0 > 0.0) {
            let (share, distance) = (n / count, e / n - mean);
            squares += share * distance * distance;
            shares += share * share;
        }
        (shares < 1.0).then(|| Spread {
            variance: squares / (1.0 - shares) * shares,
            df: (1.0 / shares - 1.0).max(DF_MIN),
        })
    }
}

// === impl ClosedUnits ===

impl ClosedUnits {
    fn add(&mut self, (n, e): (f64, f64)) {
        self.units += 1;
        self.n += n;
        self.e += e;
        self.nn += n * n;
        self.ne += n * e;
        self.ee += e * e;
    }

    /// Variance of a ratio of sums over independent units, linearised (Kish 1965, section 5).
    fn linearised(&self) -> f64 {
        let (mean, units) = (self.e / self.n, self.units as f64);
        let squares = self.ee - 2.0 * mean * self.ne + mean * mean * self.nn;
        squares.max(0.0) * units / (units - 1.0) / (self.n * self.n)
    }
}

// === functions ===

/// The adjustment that arms' units ask for, given the null variance of each arm's mean score.
/// The variance is the larger of the null law's and the one between units, with
/// Welch-Satterthwaite degrees of freedom (Satterthwaite 1946). An arm whose only unit lives for
/// the run has no variance to show: it speaks for that unit, by the null law. `None` where an arm
/// has fewer than `required` units, or too few of a tick to measure anything.
pub fn adjust(arms: &[(&Units, f64)], required: u32) -> Option<Adjust> {
    let (mut observed, mut null, mut by_df) = (0.0, 0.0, 0.0);
    for &(units, null_of_arm) in arms {
        let is_tick = units.lifetime == Lifetime::Tick;
        let minimum = if is_tick { TICK_UNITS_MIN } else { 1 };
        if units.len() < minimum.max(required as usize) {
            return None;
        }
        null += null_of_arm;
        match units.spread() {
            Some(spread) => {
                observed += spread.variance;
                by_df += spread.variance * spread.variance / spread.df;
            }
            None => observed += null_of_arm,
        }
    }
    if null <= 0.0 || by_df <= 0.0 {
        return Some(Adjust::NONE);
    }
    Some(Adjust {
        factor: (observed / null).max(1.0),
        df: (observed * observed / by_df).max(DF_MIN),
    })
}

/// The name of the factor in the evidence.
pub fn factor_name(metric: &Metric) -> &'static str {
    match metric.cluster.as_ref().map(|cluster| cluster.lifetime) {
        Some(Lifetime::Run) => "between_unit",
        _ => "design_effect",
    }
}

/// Number of units by arm, where a metric's units live for the run.
pub fn of_the_run(metric: &Metric, arms: [usize; 2]) -> Option<[usize; 2]> {
    let cluster = metric.cluster.as_ref()?;
    (cluster.lifetime == Lifetime::Run).then_some(arms)
}

/// The group of a unit: a mix of all its bits (the finaliser of SplitMix64).
fn group(unit: u64) -> u64 {
    let mut mixed = unit;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) % GROUPS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lifetime: Lifetime, units: impl IntoIterator<Item = (u64, f64, f64)>) -> Units {
        let mut sums = Units::new(lifetime);
        for (unit, count, score) in units {
            sums.add(unit, count, score);
        }
        sums.close_tick();
        sums
    }

    #[test]
    fn singletons_give_the_ordinary_variance_of_a_mean() {
        let expected = [9.0, 4.0, 0.0, 25.0].iter().sum::<f64>() / 3.0 / 4.0;
        for lifetime in [Lifetime::Tick, Lifetime::Run] {
            let scores = [1.0, 2.0, 4.0, 9.0].into_iter().enumerate();
            let sums = of(lifetime, scores.map(|(unit, e)| (unit as u64, 1.0, e)));
            let spread = sums.spread().unwrap();
            assert!((spread.variance - expected).abs() < 1e-12);
            assert!((spread.df - 3.0).abs() < 1e-12);
        }
    }

    #[test]
    fn repeating_every_observation_within_its_unit_leaves_the_variance_unchanged() {
        for lifetime in [Lifetime::Tick, Lifetime::Run] {
            let scores = || [0.1, 0.7, 0.2, 0.9, 0.4].into_iter().zip(0..);
            let once = of(lifetime, scores().map(|(e, unit)| (unit, 1.0, e)));
            let thrice = of(lifetime, scores().map(|(e, unit)| (unit, 3.0, 3.0 * e)));
            let [once, thrice] = [once, thrice].map(|sums| sums.spread().unwrap().variance);
            assert!((once - thrice).abs() < 1e-12);
        }
    }

    #[test]
    fn a_unit_of_the_run_is_one_unit_in_every_tick_and_a_unit_of_a_tick_is_new_in_each() {
        let (mut run, mut tick) = (Units::new(Lifetime::Run), Units::new(Lifetime::Tick));
        for _ in 0..4 {
            for sums in [&mut run, &mut tick] {
                sums.add(1, 1.0, 0.5);
                sums.add(2, 1.0, 0.3);
                sums.close_tick();
            }
        }
        assert_eq!((run.len(), tick.len()), (2, 8));
        assert_eq!((run.count(), tick.count()), (8.0, 8.0));
    }

    #[test]
    fn units_beyond_the_limit_share_groups_and_lose_no_observation() {
        let at_limit = of(
            Lifetime::Run,
            (0..RUN_UNITS_MAX as u64).map(|u| (u, 1.0, 1.0)),
        );
        assert_eq!(at_limit.len(), RUN_UNITS_MAX);
        let beyond = of(Lifetime::Run, (0..10_000).map(|u| (u, 1.0, 1.0)));
        assert!(beyond.len() <= GROUPS as usize && beyond.len() > 200);
        assert_eq!((beyond.count(), beyond.mean()), (10_000.0, 1.0));
    }

    #[test]
    fn a_unit_with_hardly_any_traffic_hardly_counts() {
        let even = |unit: u64| (unit, 1_000.0, 500.0 + 10.0 * unit as f64);
        let without = of(Lifetime::Run, (0..5).map(even)).spread().unwrap();
        let stray = of(Lifetime::Run, (0..5).map(even).chain([(9, 1.0, 1.0)]));
        let stray = stray.spread().unwrap();
        assert!((stray.variance / without.variance - 1.0).abs() < 0.5);
        assert!((stray.df - without.df).abs() < 0.1);
    }

    #[test]
    fn the_larger_variance_counts_and_a_single_unit_speaks_for_itself() {
        let pods = |pods: u64| {
            of(
                Lifetime::Run,
                (0..pods).map(|u| (u, 100.0, 50.0 + u as f64)),
            )
        };
        let (one, three) = (pods(1), pods(3));
        let alone = adjust(&[(&one, 1e-4), (&one, 1e-4)], 1).unwrap();
        assert_eq!(alone, Adjust::NONE);
        let quiet = adjust(&[(&three, 1.0), (&three, 1.0)], 1).unwrap();
        assert_eq!(quiet.factor, 1.0);
        assert!((quiet.df - 4.0).abs() < 1e-9);
        let loud = adjust(&[(&three, 1e-6), (&three, 1e-6)], 1).unwrap();
        assert!((loud.factor - 1e-4 / 3.0 / 1e-6).abs() < 1e-6);
        assert_eq!(adjust(&[(&three, 1e-6), (&one, 1e-6)], 2), None);
        assert!(adjust(&[(&three, 1e-6), (&one, 1e-6)], 1).unwrap().factor > 1.0);
    }
}
