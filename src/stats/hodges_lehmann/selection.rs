//! Selection among pairwise differences by counting.
//!
//! Owns the passes: how many differences are at most mu, which lie in a bracket, which comes next.
//! Differences are the rounded doubles fl(x - y); rounding is monotone, so for ascending x the
//! first admissible y only moves up, and a pass takes as many steps as there are values. Must not
//! know why a rank is wanted.

use crate::stats::rank::{Sorted, from_order_key, order_key};

/// Brackets with at most this many pairs are enumerated even where the samples are smaller.
const CANDIDATES_MIN: u128 = 4_096;
/// Otherwise at most one pair for this many values: fresh memory costs more than one more pass.
const VALUES_PER_CANDIDATE: usize = 8;
/// Size of the regular subsample of each arm that predicts where a rank lies.
const SUBSAMPLE_LEN: usize = 512;
/// Every this many probes the bracket is halved over the integer images instead of interpolated,
/// so that 64 such probes end any search, whatever the distribution.
const HALVING_EVERY: u32 = 4;
/// Independent counting chains per pass: each step of one waits on its own last comparison.
const CHAINS: usize = 4;

/// One sample as selection sees it: ascending values and the weight of everything from each on.
#[derive(Debug, Clone)]
pub struct Axis {
    values: Vec<f64>,
    /// `suffix[i]`: total weight of `values[i..]`; one longer than `values`. Empty when all
    /// weights are 1.
    suffix: Vec<u64>,
    total: u64,
}

impl Axis {
    /// The sample with its values put through a monotone `scale`; `None` when it is empty or not
    /// all finite.
    pub fn new(sample: &Sorted, scale: impl Fn(f64) -> f64) -> Option<Axis> {
        let (&first, &last) = (sample.values().first()?, sample.values().last()?);
        if !first.is_finite() || !last.is_finite() {
            return None;
        }
        let values = sample.values().iter().map(|&value| scale(value)).collect();
        let mut suffix: Vec<u64> = Vec::new();
        if !sample.is_untied() {
            suffix = vec![0; sample.values().len() + 1];
            for (i, (_, weight)) in sample.pairs().enumerate().rev() {
                suffix[i] = suffix[i + 1].saturating_add(weight);
            }
        }
        Some(Axis {
            values,
            suffix,
            total: sample.total(),
        })
    }

    /// Sum of the weights.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The smallest value.
    pub fn first(&self) -> f64 {
        self.values[0]
    }

    /// The largest value.
    pub fn last(&self) -> f64 {
        self.values[self.values.len() - 1]
    }

    fn weight_from(&self, index: usize) -> u64 {
        if self.suffix.is_empty() {
            (self.values.len() - index) as u64
        } else {
            self.suffix[index]
        }
    }

    fn weight(&self, index: usize) -> u64 {
        if self.suffix.is_empty() {
            1
        } else {
            self.suffix[index] - self.suffix[index + 1]
        }
    }

    /// At most [`SUBSAMPLE_LEN`] values at equal steps of weight, each standing for as many.
    fn subsample(&self) -> Axis {
        let mut at = 0;
        let values = (0..SUBSAMPLE_LEN).map(|i| {
            let share = (2 * i + 1) as f64 / (2 * SUBSAMPLE_LEN) as f64;
            let wanted = self.total - (share * self.total as f64) as u64;
            while at + 1 < self.values.len() && self.weight_from(at + 1) >= wanted {
                at += 1;
            }
            self.values[at]
        });
        Axis {
            values: values.collect(),
            suffix: Vec::new(),
            total: SUBSAMPLE_LEN as u64,
        }
    }
}

/// How many pairs, by weight and by number, have a difference of at most some value.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Count {
    weight: u128,
    pairs: u128,
}

/// A range of differences that holds the wanted one: `low` and `high` as integer images, both
/// inclusive, with the counts below `low` and up to `high`.
struct Bracket {
    low: u64,
    high: u64,
    below: Count,
    up_to: Count,
}

impl Bracket {
    fn new(x: &Axis, y: &Axis) -> Bracket {
        let weight = u128::from(x.total) * u128::from(y.total);
        let pairs = x.values.len() as u128 * y.values.len() as u128;
        Bracket {
            low: order_key(x.first() - y.last()),
            high: order_key(x.last() - y.first()),
            below: Count {
                weight: 0,
                pairs: 0,
            },
            up_to: Count { weight, pairs },
        }
    }

    /// Counts at `probe` (inside the bracket, below its high end) and keeps the side with rank `k`.
    fn narrow(&mut self, x: &Axis, y: &Axis, k: u128, probe: u64) {
        let count = count_at_most(x, y, from_order_key(probe));
        if count.weight >= k {
            self.high = probe;
            self.up_to = count;
        } else {
            self.low = probe + 1;
            self.below = count;
        }
    }

    fn pairs(&self) -> u128 {
        self.up_to.pairs - self.below.pairs
    }

    fn clamp(&self, key: u64) -> u64 {
        key.clamp(self.low, self.high - 1)
    }

    /// Where rank `k` lies if the differences are spread evenly, moved by `margin` pairs towards
    /// the end with more of them: a probe just past the target cuts most of the longer side away.
    fn interpolate(&self, k: u128, margin: f64) -> u64 {
        let (low, high) = (from_order_key(self.low), from_order_key(self.high));
        let inside = (self.up_to.weight - self.below.weight) as f64;
        let before = (k - self.below.weight) as f64;
        let offset = margin * inside / self.pairs() as f64;
        let target = if 2.0 * before < inside {
            before + offset
        } else {
            before - offset
        };
        let share = (target / inside).clamp(0.0, 1.0);
        // Halves first: the width of the bracket may exceed the largest double.
        let width = high * 0.5 - low * 0.5;
        self.clamp(order_key(low + share * width + share * width))
    }

    fn halve(&self) -> u64 {
        self.low + (self.high - self.low) / 2
    }
}

/// The `k`-th smallest difference, `k` from 1 to the product of the totals.
pub fn kth(x: &Axis, y: &Axis, k: u128) -> f64 {
    let values = x.values.len() + y.values.len();
    let candidates_max = CANDIDATES_MIN.max((values / VALUES_PER_CANDIDATE) as u128);
    let mut bracket = Bracket::new(x, y);
    let large = 4 * SUBSAMPLE_LEN;
    if x.values.len() > large && y.values.len() > large && bracket.pairs() > candidates_max {
        narrow_by_subsample(x, y, k, &mut bracket);
    }
    let mut probes = 0_u32;
    while bracket.low < bracket.high {
        if bracket.pairs() <= candidates_max {
            return select(x, y, k, &bracket);
        }
        probes += 1;
        let probe = if probes.is_multiple_of(HALVING_EVERY) {
            bracket.halve()
        } else {
            bracket.interpolate(k, candidates_max as f64 / 4.0)
        };
        bracket.narrow(x, y, k, probe);
    }
    from_order_key(bracket.low)
}

/// Two probes from a small regular subsample, whose differences have nearly the same distribution.
fn narrow_by_subsample(x: &Axis, y: &Axis, k: u128, bracket: &mut Bracket) {
    let (few_x, few_y) = (x.subsample(), y.subsample());
    let few_pairs = (SUBSAMPLE_LEN * SUBSAMPLE_LEN) as f64;
    let rank = k as f64 / (x.total as f64 * y.total as f64) * few_pairs;
    for miss in [-(SUBSAMPLE_LEN as f64) / 4.0, SUBSAMPLE_LEN as f64 / 4.0] {
        let near = (rank + miss).clamp(1.0, few_pairs) as u128;
        let probe = bracket.clamp(order_key(kth(&few_x, &few_y, near)));
        if bracket.low < bracket.high {
            bracket.narrow(x, y, k, probe);
        }
    }
}

/// The difference of rank `k` where `value` is the one of rank `k - 1`: itself if it repeats,
/// otherwise the smallest one above.
pub fn successor(x: &Axis, y: &Axis, value: f64, k: u128) -> f64 {
    if count_at_most(x, y, value).weight >= k {
        return value;
    }
    let mut next = f64::INFINITY;
    let mut j = 0;
    for &from in &x.values {
        while j < y.values.len() && from - y.values[j] > value {
            j += 1;
        }
        if j > 0 {
            next = next.min(from - y.values[j - 1]);
        }
    }
    next
}

fn count_at_most(x: &Axis, y: &Axis, mu: f64) -> Count {
    if x.suffix.is_empty() && y.suffix.is_empty() {
        let count = u128::from(count_unweighted(&x.values, &y.values, mu));
        return Count {
            weight: count,
            pairs: count,
        };
    }
    let mut count = Count {
        weight: 0,
        pairs: 0,
    };
    let mut j = 0;
    for (i, &from) in x.values.iter().enumerate() {
        while j < y.values.len() && from - y.values[j] > mu {
            j += 1;
        }
        count.weight += u128::from(x.weight(i)) * u128::from(y.weight_from(j));
        count.pairs += (y.values.len() - j) as u128;
    }
    count
}

/// Pairs with x - y <= mu. The range of x is cut in [`CHAINS`] pieces walked in turn, without
/// branches on the data: one chain alone waits on memory and arithmetic, and a branch would be
/// guessed wrong every other time.
fn count_unweighted(x: &[f64], y: &[f64], mu: f64) -> u64 {
    let piece = x.len().div_ceil(CHAINS);
    let mut i = [0; CHAINS];
    let mut end = [0; CHAINS];
    let mut j = [0; CHAINS];
    for chain in 0..CHAINS {
        i[chain] = (chain * piece).min(x.len());
        end[chain] = ((chain + 1) * piece).min(x.len());
        if i[chain] < end[chain] {
            let from = x[i[chain]];
            j[chain] = y.partition_point(|&other| from - other > mu);
        }
    }
    let mut count = 0_u64;
    while (0..CHAINS).all(|chain| i[chain] < end[chain] && j[chain] < y.len()) {
        for chain in 0..CHAINS {
            let above = x[i[chain]] - y[j[chain]] > mu;
            count += if above {
                0
            } else {
                (y.len() - j[chain]) as u64
            };
            j[chain] += usize::from(above);
            i[chain] += usize::from(!above);
        }
    }
    for chain in 0..CHAINS {
        let mut at = j[chain];
        for &from in &x[i[chain]..end[chain]] {
            while at < y.len() && from - y[at] > mu {
                at += 1;
            }
            count += (y.len() - at) as u64;
        }
    }
    count
}

/// Forms the differences inside the bracket and picks rank `k` among them.
fn select(x: &Axis, y: &Axis, k: u128, bracket: &Bracket) -> f64 {
    let rank = k - bracket.below.weight;
    let capacity = bracket.pairs() as usize;
    if x.suffix.is_empty() && y.suffix.is_empty() {
        let mut inside: Vec<u64> = Vec::with_capacity(capacity);
        each_inside(x, y, bracket, |i, range| {
            inside.extend(
                y.values[range]
                    .iter()
                    .map(|&to| order_key(x.values[i] - to)),
            );
        });
        let (_, &mut key, _) = inside.select_nth_unstable(rank as usize - 1);
        return from_order_key(key);
    }
    let mut inside: Vec<(u64, u128)> = Vec::with_capacity(capacity);
    each_inside(x, y, bracket, |i, range| {
        let weight = u128::from(x.weight(i));
        inside.extend(range.map(|j| {
            (
                order_key(x.values[i] - y.values[j]),
                weight * u128::from(y.weight(j)),
            )
        }));
    });
    pick(&mut inside, rank)
}

/// For each x in turn, the range of y whose differences lie inside the bracket, where there is any.
fn each_inside(
    x: &Axis,
    y: &Axis,
    bracket: &Bracket,
    mut visit: impl FnMut(usize, std::ops::Range<usize>),
) {
    let (low, high) = (from_order_key(bracket.low), from_order_key(bracket.high));
    let mut first = 0;
    for (i, &from) in x.values.iter().enumerate() {
        while first < y.values.len() && from - y.values[first] > high {
            first += 1;
        }
        // Walked anew for each x: brackets hold few pairs, and the walk is over those only.
        let mut end = first;
        while end < y.values.len() && from - y.values[end] >= low {
            end += 1;
        }
        if first < end {
            visit(i, first..end);
        }
    }
}

/// The key at cumulative weight `rank`, by repeated partitioning.
fn pick(mut inside: &mut [(u64, u128)], mut rank: u128) -> f64 {
    loop {
        let middle = inside.len() / 2;
        let (lower, &mut (key, weight), higher) =
            inside.select_nth_unstable_by_key(middle, |&(key, _)| key);
        let before: u128 = lower.iter().map(|&(_, weight)| weight).sum();
        if rank <= before {
            inside = lower;
        } else if rank <= before + weight {
            return from_order_key(key);
        } else {
            rank -= before + weight;
            inside = higher;
        }
    }
}
