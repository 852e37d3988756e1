//! One question, looked at again and again: is the score's mean beyond the boundary?
//!
//! Owns the sequential test that all compare and threshold checks share. A check turns each
//! closed tick into a score with a known null law; a [`Side`] keeps their prefix sums and answers
//! at every look: is a degradation shown (some window), is its absence shown (the whole run)?
//! It must not know what was measured. Next: `grid`, which turns the same bounds into intervals.
//!
//! Fail side: the multiscale statistic against simulated thresholds at level alpha, spent in
//! proportion to the elapsed share of the horizon. Pass side: the mirrored whole-run score at
//! level beta, exact by dynamic programming for counts, by the Lan-DeMets recursion otherwise.
//! Thresholds are lazy: an exact screen tells when the statistic is certainly below its
//! threshold, and only above it the null paths are rebuilt from the stored laws, in scratch
//! memory that all checks share. Where a plan has an `extend`, `beyond` tests after the horizon.

use serde::{Deserialize, Serialize};

use crate::judge::beyond::Beyond;
use crate::judge::laws::Laws;
use crate::judge::pass_gaussian::PassGaussian;
use crate::judge::scratch::{Claim, Kept, Scratch};
use crate::stats::count_dp::{CountDp, CountTail};
use crate::stats::count_law::CountLaw;
use crate::stats::law::Law;
use crate::stats::multiscale::{self, Peak};
use crate::stats::noise::Noise;
use crate::stats::null_paths::{NullPaths, Removed};
use crate::stats::special;

pub use crate::judge::spending::{Adjust, Spending};

/// Slack when a statistic meets a threshold simulated in single precision: equal lattice points
/// must compare equal.
const THRESHOLD_SLACK: f64 = 1e-5;
/// Looks that room is made for at once. Vectors that doubled as a fleet's analyses go on side by
/// side would leave holes that nothing else fits.
const ROOM_LOOKS_MAX: usize = 256;

/// One look's answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// A degradation was shown, at this look or before.
    pub fail: bool,
    /// It is shown by a window that ends now.
    pub crossing: bool,
    /// Its absence is shown.
    pub pass: bool,
    /// The window that speaks loudest, and its statistic.
    pub peak: Option<Peak>,
    /// Adjusted whole-run score in standard deviations; positive is worse than the boundary.
    pub z_whole: f64,
    /// Bound of the multiscale statistic: exact where it was simulated, else a valid ceiling.
    pub fail_bound: f64,
    /// Bound of the whole-run score, positive; infinite while a pass is not possible.
    pub pass_bound: f64,
}

/// A one-sided sequential test of a stream of scores.
#[derive(Debug, Serialize, Deserialize)]
pub struct Side {
    seed: [u8; 32],
    fail_spending: Spending,
    pass_spending: Spending,
    laws: Laws,
    prefix_s: Vec<f64>,
    prefix_v: Vec<f64>,
    prefix_x: Vec<i64>,
    unit: Option<f64>,
    exact_counts: bool,
    fail_bounds: Vec<f64>,
    /// Of paths in a scratch; who has none draws them again.
    #[serde(skip)]
    claim: Option<Claim>,
    /// Null paths removed by the looks of which the bounds are known.
    removed: Removed,
    pass_gaussian: PassGaussian,
    pass_counts: PassCounts,
    tail: CountTail,
    tail_looked: usize,
    beyond: Beyond,
    failed_at: Option<usize>,
    /// Whether crossings matter even after the first.
    crosses_again: bool,
    passing: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct PassCounts {
    recursion: CountDp,
    looked: usize,
    bound: Option<i64>,
}

// === impl Side ===

impl Side {
    /// A test seeded by `seed`, spending `fail` on false fails and `pass` on false passes.
    pub fn new(seed: [u8; 32], fail: Spending, pass: Spending) -> Side {
        let room = fail.looks_planned.min(ROOM_LOOKS_MAX);
        Side {
            seed,
            fail_spending: fail,
            pass_spending: pass,
            laws: Laws::with_room(room),
            prefix_s: beginning_with(0.0, room),
            prefix_v: beginning_with(0.0, room),
            prefix_x: beginning_with(0, room),
            unit: None,
            exact_counts: true,
            fail_bounds: Vec::new(),
            claim: None,
            removed: Removed::default(),
            pass_gaussian: PassGaussian::default(),
            pass_counts: PassCounts {
                recursion: CountDp::lower(),
                looked: 0,
                bound: None,
            },
            tail: CountTail::default(),
            tail_looked: 0,
            beyond: Beyond::default(),
            failed_at: None,
            crosses_again: false,
            passing: false,
        }
    }

    /// From now on the pass side spends only what accrues after this look: another test of the
    /// same hypothesis has spent the rest.
    pub fn begin_passing_after(&mut self, look: usize) {
        self.pass_spending.elsewhere = self.pass_spending.cumulative(look);
        if look >= self.pass_spending.looks_planned {
            self.pass_spending.reserve = 0.0;
        }
    }

    /// What is spent on false fails.
    pub fn fail_spending(&self) -> Spending {
        self.fail_spending
    }

    /// What is spent on false passes.
    pub fn pass_spending(&self) -> Spending {
        self.pass_spending
    }

    /// Whether the caller needs to know of crossings after the first, because another test must
    /// cross at the same look. Otherwise nothing is simulated once a degradation is shown.
    pub fn cross_again(&mut self, needed: bool) {
        self.crosses_again = needed;
    }

    /// Whether the last look showed a pass.
    pub fn is_passing(&self) -> bool {
        self.passing
    }

    /// Adds a tick without information.
    pub fn push_empty(&mut self) {
        self.add(0.0, 0, &Law::Empty);
        self.laws.push_empty();
    }

    /// Adds a tick with a Gaussian score (already centred) of this variance.
    pub fn push_gaussian(&mut self, score: f64, variance: f64) {
        if variance > 0.0 {
            self.exact_counts = false;
            self.add(score, 0, &Law::gaussian(variance));
            if self.is_simulated() {
                self.laws.push_gaussian(variance);
            } else {
                self.laws.push_empty();
            }
        } else {
            self.push_empty();
        }
    }

    /// Adds a tick whose score is the lattice count `x` under a discrete law.
    pub fn push_count(&mut self, x: i64, law: CountLaw) {
        let (lattice, recipe) = match law {
            CountLaw::Exact { lattice, recipe } => (lattice, recipe),
            CountLaw::Wide {
                mean,
                variance,
                unit,
            } => {
                return self.push_gaussian(x as f64 * unit - mean, variance);
            }
        };
        if lattice.variance() <= 0.0 {
            return self.push_empty();
        }
        if self.unit.is_some_and(|unit| unit != lattice.unit()) {
            self.exact_counts = false;
        }
        self.unit.get_or_insert(lattice.unit());
        let score = x as f64 * lattice.unit() - lattice.mean();
        let law = Law::lattice(lattice);
        self.add(score, x, &law);
        if self.is_simulated() {
            self.laws.push_count(law, recipe);
        } else {
            self.laws.push_empty();
        }
    }

    fn add(&mut self, score: f64, x: i64, law: &Law) {
        let last = self.laws.len();
        self.prefix_s.push(self.prefix_s[last] + score);
        self.prefix_v.push(self.prefix_v[last] + law.variance());
        self.prefix_x.push(self.prefix_x[last] + x);
        self.beyond
            .push(score, law, &self.fail_spending, &self.pass_spending);
    }

    /// Whether null paths are built for the next tick: after the planned looks none are any more,
    /// and no law is needed.
    fn is_simulated(&self) -> bool {
        self.laws.len() < self.fail_spending.looks_planned
    }

    /// Ticks pushed so far.
    pub fn ticks(&self) -> usize {
        self.laws.len()
    }

    /// Prefix sums of the score, beginning with 0.
    pub fn prefix_s(&self) -> &[f64] {
        &self.prefix_s
    }

    /// Prefix sums of the score's variance, beginning with 0.
    pub fn prefix_v(&self) -> &[f64] {
        &self.prefix_v
    }

    /// Information (variance of the whole-run score) so far.
    pub fn information(&self) -> f64 {
        self.prefix_v[self.laws.len()]
    }

    /// From the next tick on watches for a degradation that would show within the planned looks.
    pub fn begin_watching(&mut self) {
        let a_tick = self.information() / self.laws.len().max(1) as f64;
        self.beyond
            .begin_watching(a_tick * self.fail_spending.looks_planned as f64);
    }

    /// ln of the detector's statistic since then.
    pub fn watched(&self) -> f64 {
        self.beyond.watched()
    }

    /// The look at which a degradation was first shown, from 1.
    pub fn failed_at(&self) -> Option<usize> {
        self.failed_at
    }

    /// Looks at the stream after the last pushed tick. Once a fail is shown it stays shown.
    pub fn look(&mut self, adjust: Adjust, scratch: &mut Scratch) -> Look {
        let look = self.laws.len();
        let whole = self.whole_z(adjust);
        self.beyond.note(adjust.factor);
        if look > self.fail_spending.looks_planned {
            return self.look_beyond(look, whole);
        }
        let has_news = look > 0 && !matches!(self.laws.newest(), Law::Empty);
        let peak = self.peak(adjust);
        let (mut fail_bound, mut crossing) = (f64::INFINITY, false);
        let spends = self.fail_spending.level > 0.0;
        if let Some(peak) = peak.filter(|_| spends && (has_news || self.is_last(look))) {
            fail_bound = self.fail_bound(look, peak.statistic, scratch);
            crossing = peak.statistic >= fail_bound - THRESHOLD_SLACK;
            if crossing && self.failed_at.is_none() {
                self.failed_at = Some(look);
            }
        }
        let (pass, pass_bound) = self.pass(look, whole, adjust);
        self.passing = pass;
        Look {
            fail: self.failed_at.is_some(),
            crossing,
            pass,
            peak,
            z_whole: whole,
            fail_bound,
            pass_bound,
        }
    }

    /// A look after the planned ones: the whole run's mixture against the reserved levels.
    fn look_beyond(&mut self, look: usize, whole: f64) -> Look {
        let score = self.prefix_s[look];
        let (fail, pass) = (self.fail_spending.reserve, self.pass_spending.reserve);
        let found = self
            .beyond
            .look(score, self.information(), whole, [fail, pass]);
        if found.worse && self.failed_at.is_none() {
            self.failed_at = Some(look);
        }
        self.passing = found.better;
        let penalty = multiscale::WHOLE_RUN_PENALTY;
        Look {
            fail: self.failed_at.is_some(),
            crossing: found.worse,
            pass: found.better,
            peak: Some(Peak {
                statistic: whole - penalty,
                window: look,
                z: whole,
            }),
            z_whole: whole,
            fail_bound: found.worse_bound - penalty,
            pass_bound: found.better_bound,
        }
    }

    fn is_last(&self, look: usize) -> bool {
        look >= self.fail_spending.looks_planned
    }

    fn whole_z(&self, adjust: Adjust) -> f64 {
        let variance = self.information();
        if variance <= 0.0 {
            return 0.0;
        }
        adjust.apply(self.prefix_s[self.laws.len()] / variance.sqrt())
    }

    fn peak(&self, adjust: Adjust) -> Option<Peak> {
        let planned = self.fail_spending.looks_planned;
        multiscale::peak_with(&self.prefix_s, &self.prefix_v, planned, |z| adjust.apply(z))
    }

    /// The bound that the statistic is held against at this look. Where the screen shows that the
    /// statistic is certainly below its threshold, or nothing depends on it any more, the valid
    /// ceiling stands in for it.
    fn fail_bound(&mut self, look: usize, statistic: f64, scratch: &mut Scratch) -> f64 {
        let alpha = self.fail_spending.cumulative(look);
        let before = self.fail_spending.cumulative(look - 1);
        let planned = self.fail_spending.looks_planned;
        if self.fail_bounds.len() < look {
            let ceiling = |v: &[f64]| multiscale::threshold_ceiling(v, planned, alpha - before);
            if self.failed_at.is_some() && !self.crosses_again {
                return ceiling(&self.prefix_v);
            }
            if self.is_certainly_below(statistic, alpha) {
                return ceiling(&self.prefix_v).max(statistic + 2.0 * THRESHOLD_SLACK);
            }
        }
        self.simulate_to(look, scratch);
        let simulated = self.fail_bounds[look - 1];
        if simulated.is_finite() || self.unit.is_some() {
            return simulated;
        }
        // Early in a long run the alpha spent is less than one path in all of them, and nothing
        // can be simulated. The union bound over windows still can tell a landslide; together
        // such looks spend less than one path's worth (1/20,001) beyond what is booked.
        multiscale::threshold_ceiling(&self.prefix_v, planned, alpha - before)
    }

    fn is_certainly_below(&mut self, statistic: f64, alpha: f64) -> bool {
        if self.unit.is_none() {
            return multiscale::certainly_below(statistic, alpha);
        }
        // For counts the same argument takes the exact tail of the whole-run count, as long as
        // all ticks share one lattice.
        let Some(unit) = self.unit.filter(|_| self.exact_counts) else {
            return false;
        };
        while self.tail_looked < self.laws.len() {
            if let Law::Lattice(law) = self.laws.at(self.tail_looked).as_ref() {
                self.tail.push(law);
            }
            self.tail_looked += 1;
        }
        let look = self.laws.len();
        let mean = unit * self.prefix_x[look] as f64 - self.prefix_s[look];
        let score = (statistic + multiscale::WHOLE_RUN_PENALTY) * self.information().sqrt();
        let count = ((mean + score) / unit - THRESHOLD_SLACK).ceil() as i64;
        match self.tail.upper_tail(count) {
            Some(tail) => tail > alpha,
            // Too wide to be enumerated, and so Gaussian. A screen can only keep a look silent:
            // the thresholds themselves take each tick's exact law.
            None => multiscale::certainly_below(statistic, alpha),
        }
    }

    /// Every path takes each tick's own law, also where a factor weakens the statistic: so rare
    /// clustered counts are held against their own skewed tail and not against a Gaussian one.
    fn simulate_to(&mut self, look: usize, scratch: &mut Scratch) {
        let known = self.fail_bounds.len();
        if known >= look {
            return;
        }
        let planned = self.fail_spending.looks_planned;
        let count = NullPaths::count(planned, scratch.paths_max());
        let Scratch { null, noise, .. } = scratch;
        let noise = noise_of(noise, &self.seed, planned, count);
        let claim = match self.claim.filter(|claim| null.holds(*claim)) {
            Some(claim) => claim,
            None => {
                let removed = std::mem::take(&mut self.removed);
                let past = (0..known).map(|tick| self.laws.at(tick));
                let resumed = NullPaths::resumed(planned, count, past, removed, noise);
                null.keep(resumed.bytes(), resumed)
            }
        };
        self.claim = Some(claim);
        let Some(paths) = null.get(claim) else {
            return;
        };
        for next in known..look {
            let alpha = self.fail_spending.cumulative(next + 1);
            self.fail_bounds
                .push(paths.look(&self.laws.at(next), alpha, noise));
        }
        self.removed = paths.removed().clone();
    }

    fn pass(&mut self, look: usize, whole: f64, adjust: Adjust) -> (bool, f64) {
        let spent = self.pass_spending.cumulative(look);
        if spent <= 0.0 || self.information() <= 0.0 {
            return (false, f64::INFINITY);
        }
        if adjust.is_none()
            && self.exact_counts
            && self.unit.is_some()
            && let Some(found) = self.pass_by_counts(look)
        {
            return found;
        }
        // The bound is at least that of a single look at all the spent beta.
        if -whole < special::normal_quantile(1.0 - spent) {
            let floor = special::normal_quantile(1.0 - spent);
            return (false, floor.max(self.pass_gaussian.bound));
        }
        self.pass_gaussian
            .advance(&self.prefix_v, &self.pass_spending, look);
        let bound = self.pass_gaussian.bound;
        (-whole >= bound, bound)
    }

    /// The exact recursion; `None` once the count is too wide for it, and with it Gaussian.
    fn pass_by_counts(&mut self, look: usize) -> Option<(bool, f64)> {
        while self.pass_counts.looked < look {
            let next = self.pass_counts.looked;
            self.pass_counts.looked += 1;
            let spent = self.pass_spending.cumulative(next + 1);
            let bound = match self.laws.at(next).as_ref() {
                Law::Lattice(law) => self.pass_counts.recursion.next(law, spent),
                _ => self.pass_counts.recursion.again(spent),
            };
            self.pass_counts.bound = bound;
        }
        let bound = self.pass_counts.bound?;
        let count = self.prefix_x[look];
        let unit = self.unit.unwrap_or(1.0);
        // Centred score = unit * count - mean, so the mean follows from the stored score.
        let mean = unit * count as f64 - self.prefix_s[look];
        let bound_z = (mean - unit * bound as f64) / self.information().sqrt();
        let bound_z = Some(bound_z).filter(|z| *z > 0.0);
        Some((count <= bound, bound_z.unwrap_or(f64::INFINITY)))
    }
}

/// Prefix sums before the first tick.
fn beginning_with<T>(zero: T, room: usize) -> Vec<T> {
    let mut sums = Vec::with_capacity(room + 1);
    sums.push(zero);
    sums
}

/// The noise of a seed, drawn by whoever needed it first.
fn noise_of<'n>(
    kept: &'n mut Kept<Noise>,
    seed: &[u8; 32],
    looks_planned: usize,
    paths: usize,
) -> &'n mut Noise {
    let claim = kept
        .find(|noise| noise.is_of(seed, paths))
        .unwrap_or_else(|| {
            let fresh = Noise::new(*seed, looks_planned, paths);
            kept.keep(fresh.bytes(), fresh)
        });
    kept.get(claim).expect("noise just found or kept is held")
}
