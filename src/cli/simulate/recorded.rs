//! Streams resampled from the baseline of a recording.
//!
//! Owns the bootstrap: ticks in the recorded order from a random start, and within a tick whole
//! units drawn with replacement into both arms. So the arms are alike by construction, and what
//! the recording's canary was like does not matter. It must not know what is made of the numbers.
//! Next: `run`.

use std::collections::BTreeMap;

use anyhow::bail;

use super::effect::Shift;
use crate::codec::csv::Row;
use crate::model::{Arm, Ordered, Reading};
use crate::plan::{Lifetime, MetricKind, Plan};
use crate::stats::buckets::{apart, closed};
use crate::stats::law::Lattice;
use crate::stats::sampler::Stream;
use crate::window::{Cell, ClosedTick};

/// Where the bits of an arm stand in a unit's number.
const ARM_SHIFT: u32 = 62;

/// Values that stand for those of one bucket.
const VALUES_OF_BUCKET_MAX: u64 = 16;

/// A recorded baseline, by tick.
#[derive(Debug)]
pub struct Recorded {
    tick_millis: i64,
    ticks: usize,
    /// Samples of each simulated arm for one recorded baseline sample.
    factors: [f64; 2],
    metrics: Vec<Pool>,
}

#[derive(Debug)]
struct Pool {
    kind: MetricKind,
    /// Units live for the whole run: each is drawn once, for all ticks.
    whole_run: bool,
    clustered: bool,
    shift: Option<Shift>,
    ticks: Vec<Vec<Unit>>,
    /// Numbers of all units, ascending.
    ids: Vec<u64>,
}

/// What one unit sent within a tick; a sample without a unit is one of its own.
#[derive(Debug, Clone, Default)]
struct Unit {
    id: u64,
    values: Vec<(f64, u64)>,
    bad: u64,
    total: u64,
    exposure: f64,
    /// Values up to each bound, by histogram, of classic buckets.
    up_to: BTreeMap<(u64, Ordered), u64>,
}

/// What lasts from tick to tick within one repetition.
#[derive(Debug)]
pub struct Going {
    /// Tick of the recording at which each arm's gauges begin; all else follows the first.
    starts: [usize; 2],
    /// By metric and arm: the units drawn for the whole run.
    units: Vec<[Vec<u64>; 2]>,
}

// === impl Recorded ===

impl Recorded {
    /// Streams resampled from the baseline rows of a recording, under an effect. Without a share
    /// the canary is as large against the baseline as it was recorded.
    ///
    /// # Errors
    /// Rows that say nothing under this plan, or no baseline at all.
    pub fn new(
        plan: &Plan,
        rows: &[Row],
        canary_share: Option<f64>,
        shifts: &[Option<Shift>],
    ) -> anyhow::Result<Recorded> {
        let count = |arm: Arm| rows.iter().filter(|row| row.arm == arm).count() as f64;
        let (baseline, canary) = (count(Arm::Baseline), count(Arm::Canary));
        if baseline == 0.0 {
            bail!("the recording holds no baseline to resample: rows with role baseline");
        }
        let ratio = canary / baseline;
        let factors = match canary_share {
            Some(share) => [(1.0 - share) * (1.0 + ratio), share * (1.0 + ratio)],
            None if canary == 0.0 => [0.5, 0.5],
            None => [1.0, ratio],
        };
        let origin = rows
            .iter()
            .filter_map(|row| row.secs)
            .fold(f64::INFINITY, f64::min);
        let mut metrics: Vec<Pool> = (0..plan.metrics.len())
            .map(|metric| Pool::new(plan, metric, shifts[metric]))
            .collect();
        let mut numbers: BTreeMap<&str, u64> = BTreeMap::new();
        let own = |line: u64| (1 << ARM_SHIFT) | line;
        for row in rows.iter().filter(|row| row.arm == Arm::Baseline) {
            let metric = match &row.metric {
                Some(name) => plan.metric_index(name),
                None => (plan.metrics.len() == 1).then_some(0),
            };
            let (Some(metric), Some(secs)) = (metric, row.secs) else {
                continue;
            };
            let known = numbers.len() as u64;
            let id = match &row.unit {
                Some(unit) => *numbers.entry(unit).or_insert(known),
                None => own(row.line),
            };
            let tick = ((secs - origin) * 1000.0 / plan.tick as f64) as usize;
            if let Ok(Some(reading)) = row.reading(metrics[metric].kind) {
                metrics[metric].add(tick, id, &reading);
            }
        }
        let ticks = metrics
            .iter()
            .map(|pool| pool.ticks.len())
            .max()
            .unwrap_or(0);
        if ticks == 0 {
            bail!(
                "no baseline row fits the plan: rows need a time (t_rel or ts) and, where the \
                 plan has several metrics, a column metric"
            );
        }
        for pool in &mut metrics {
            pool.ticks.resize(ticks, Vec::new());
            pool.settle();
        }
        Ok(Recorded {
            tick_millis: plan.tick,
            ticks,
            factors,
            metrics,
        })
    }

    /// Begins a repetition.
    pub fn begin(&self, stream: &mut Stream) -> Going {
        let mut start = || (stream.uniform() * self.ticks as f64) as usize;
        let starts = [start(), start()];
        let draw = |pool: &Pool, factor: f64, stream: &mut Stream| {
            let count = (pool.ids.len() as f64 * factor).round().max(1.0) as usize;
            let whole = pool.whole_run && !pool.ids.is_empty();
            (0..if whole { count } else { 0 })
                .map(|_| pool.ids[(stream.uniform() * pool.ids.len() as f64) as usize])
                .collect::<Vec<u64>>()
        };
        let units = self
            .metrics
            .iter()
            .map(|pool| self.factors.map(|factor| draw(pool, factor, stream)))
            .collect();
        Going { starts, units }
    }

    /// The next tick.
    pub fn tick(&self, index: usize, going: &mut Going, stream: &mut Stream) -> ClosedTick {
        let cells = self.metrics.iter().enumerate().map(|(metric, pool)| {
            let mut arm = |arm: usize| {
                let is_gauge = pool.kind == MetricKind::Gauge;
                let start = going.starts[if is_gauge { arm } else { 0 }];
                let tick = &pool.ticks[(start + index) % self.ticks];
                let shift = pool.shift.filter(|_| arm == 1);
                let ts = self.tick_millis * index as i64;
                let factor = self.factors[arm];
                let drawn = pool.draw(tick, factor, &going.units[metric][arm], stream);
                pool.cell(tick, &drawn, arm, (factor, ts), shift, stream)
            };
            [arm(0), arm(1)]
        });
        ClosedTick {
            index,
            cells: cells.collect(),
        }
    }
}

// === impl Pool ===

impl Pool {
    fn new(plan: &Plan, metric: usize, shift: Option<Shift>) -> Pool {
        let cluster = plan.metrics[metric].cluster.as_ref();
        Pool {
            kind: plan.metrics[metric].kind,
            whole_run: cluster.is_some_and(|cluster| cluster.lifetime == Lifetime::Run),
            clustered: cluster.is_some(),
            shift,
            ticks: Vec::new(),
            ids: Vec::new(),
        }
    }

    fn add(&mut self, tick: usize, id: u64, reading: &Reading) {
        if self.ticks.len() <= tick {
            self.ticks.resize(tick + 1, Vec::new());
        }
        let mut unit = Unit {
            id,
            ..Unit::default()
        };
        match reading {
            Reading::Values { values, weights } => {
                let weight = |at: usize| weights.get(at).copied().unwrap_or(1);
                unit.values = values
                    .iter()
                    .enumerate()
                    .map(|(at, &v)| (v, weight(at)))
                    .collect();
            }
            Reading::Buckets {
                lows,
                highs,
                counts,
            } => {
                for ((&low, &high), &count) in lows.iter().zip(highs).zip(counts) {
                    unit.values.extend(spread([low, high], count));
                }
            }
            Reading::UpTo {
                of, bounds, counts, ..
            } => {
                for (&bound, &count) in bounds.iter().zip(counts) {
                    *unit.up_to.entry((*of, Ordered::new(bound))).or_default() += count;
                }
            }
            Reading::Ratio { bad, total } => (unit.bad, unit.total) = (*bad, *total),
            Reading::Rate { events, exposure } => (unit.bad, unit.exposure) = (*events, *exposure),
        }
        self.ticks[tick].push(unit);
    }

    /// Joins what one unit sent within a tick.
    fn settle(&mut self) {
        let kind = self.kind;
        for tick in &mut self.ticks {
            let mut joined: BTreeMap<u64, Unit> = BTreeMap::new();
            for unit in tick.drain(..) {
                let sum = joined.entry(unit.id).or_insert_with(|| Unit {
                    id: unit.id,
                    ..Unit::default()
                });
                sum.values.extend(unit.values);
                sum.bad += unit.bad;
                sum.total += unit.total;
                sum.exposure += unit.exposure;
                for (bound, count) in unit.up_to {
                    *sum.up_to.entry(bound).or_default() += count;
                }
            }
            tick.extend(joined.into_values().map(|mut unit| {
                unit.take_apart(kind);
                unit
            }));
        }
        self.ids = self.ticks.iter().flatten().map(|unit| unit.id).collect();
        self.ids.sort_unstable();
        self.ids.dedup();
    }

    /// Units of this tick: those of the run, or as many as the arm is large, with replacement.
    fn draw<'t>(
        &self,
        tick: &'t [Unit],
        factor: f64,
        run: &[u64],
        stream: &mut Stream,
    ) -> Vec<(u64, &'t Unit)> {
        if tick.is_empty() {
            return Vec::new();
        }
        if self.whole_run {
            let find = |(number, id): (usize, &u64)| {
                let at = tick.binary_search_by_key(id, |unit| unit.id).ok()?;
                Some((number as u64, &tick[at]))
            };
            return run.iter().enumerate().filter_map(find).collect();
        }
        let by_unit = match self.kind {
            MetricKind::Latency => true,
            MetricKind::Ratio => self.clustered,
            // Sums of a tick are thinned as sums.
            MetricKind::Rate | MetricKind::Gauge => false,
        };
        if !by_unit {
            return tick.iter().map(|unit| (0, unit)).collect();
        }
        let law = Lattice::poisson(tick.len() as f64 * factor);
        let count = law.sample(stream.next_u32()).max(0);
        let any = |stream: &mut Stream| (stream.uniform() * tick.len() as f64) as usize;
        (0..count as u64)
            .map(|number| (number, &tick[any(stream)]))
            .collect()
    }

    fn cell(
        &self,
        tick: &[Unit],
        drawn: &[(u64, &Unit)],
        arm: usize,
        (factor, ts): (f64, i64),
        shift: Option<Shift>,
        stream: &mut Stream,
    ) -> Cell {
        let moved = |value: f64| shift.map_or(value, |shift| shift.value(value));
        let id = |number: u64| ((arm as u64) << ARM_SHIFT) + number;
        let mut cell = Cell::default();
        match self.kind {
            MetricKind::Latency => {
                for &(number, unit) in drawn {
                    for &(value, weight) in &unit.values {
                        cell.values.push(moved(value));
                        cell.weights.push(weight);
                        cell.samples += weight;
                        if self.clustered {
                            cell.units.push(id(number));
                        }
                    }
                }
                if cell.weights.iter().all(|weight| *weight == 1) {
                    cell.weights.clear();
                }
            }
            MetricKind::Ratio => {
                let sums = tick.iter();
                let recorded = sums.fold((0, 0), |(b, t), unit| (b + unit.bad, t + unit.total));
                if !self.clustered {
                    return ratio_of_sums(recorded, factor, shift, stream);
                }
                for &(number, unit) in drawn {
                    let bad = turned((unit.bad, unit.total), recorded, shift, stream);
                    cell.by_unit.insert(id(number), (bad, unit.total));
                    cell.bad += bad;
                    cell.total += unit.total;
                }
                cell.samples = cell.total;
            }
            MetricKind::Rate => {
                let (events, exposure) = tick.iter().fold((0.0, 0.0), |(e, x), unit| {
                    (e + unit.bad as f64, x + unit.exposure)
                });
                if exposure > 0.0 {
                    cell.exposure = exposure * factor;
                    let law = Lattice::poisson(moved(events / exposure) * cell.exposure);
                    cell.bad = law.sample(stream.next_u32()).max(0) as u64;
                    cell.samples = 1;
                }
            }
            MetricKind::Gauge => {
                let values = tick.iter().flat_map(|unit| &unit.values);
                cell.points = values.map(|&(value, _)| (ts, moved(value))).collect();
                cell.samples = cell.points.len() as u64;
            }
        }
        cell
    }
}

/// A ratio without units: as many events as the arm is large, with the recorded tick's share.
fn ratio_of_sums(
    recorded: (u64, u64),
    factor: f64,
    shift: Option<Shift>,
    stream: &mut Stream,
) -> Cell {
    let law = Lattice::poisson(recorded.1 as f64 * factor);
    let total = law.sample(stream.next_u32()).max(0) as u64;
    let law = Lattice::binomial(total, recorded.0 as f64 / recorded.1.max(1) as f64);
    let bad = law.sample(stream.next_u32()).max(0) as u64;
    Cell {
        bad: turned((bad, total), recorded, shift, stream),
        total,
        samples: total,
        ..Cell::default()
    }
}

/// Bad events once the effect has turned good ones bad, or bad ones good, each by itself, so that
/// the share of the recorded tick becomes the shifted one.
fn turned(
    (bad, total): (u64, u64),
    recorded: (u64, u64),
    shift: Option<Shift>,
    stream: &mut Stream,
) -> u64 {
    let Some(shift) = shift.filter(|_| recorded.1 > 0) else {
        return bad;
    };
    let share = recorded.0 as f64 / recorded.1 as f64;
    let goal = shift.share(share);
    let mut sample = |trials: u64, p: f64| {
        Lattice::binomial(trials, p)
            .sample(stream.next_u32())
            .max(0) as u64
    };
    if goal >= share && share < 1.0 {
        bad + sample(total - bad, (goal - share) / (1.0 - share))
    } else if share > 0.0 {
        sample(bad, goal / share)
    } else {
        bad
    }
}
// === impl Unit ===

impl Unit {
    /// Puts together what was counted up to bounds, histogram by histogram.
    fn take_apart(&mut self, kind: MetricKind) {
        let mut histograms: BTreeMap<u64, Vec<(f64, u64)>> = BTreeMap::new();
        for ((of, bound), count) in std::mem::take(&mut self.up_to) {
            histograms.entry(of).or_default().push((bound.get(), count));
        }
        for up_to in histograms.into_values() {
            if kind == MetricKind::Ratio {
                let all = up_to.last().map_or(0, |&(_, count)| count);
                self.total += all;
                self.bad += all.saturating_sub(up_to[0].1);
                continue;
            }
            for (bucket, count) in apart(up_to) {
                self.values.extend(spread(bucket, count));
            }
        }
    }
}

/// The values of a bucket, evenly over it: what is known of them.
fn spread(bucket: [f64; 2], count: u64) -> impl Iterator<Item = (f64, u64)> {
    let [low, high] = closed(bucket);
    let values = count.min(VALUES_OF_BUCKET_MAX);
    (0..values).map(move |i| {
        let place = (i as f64 + 0.5) / values as f64;
        // The first ones take what does not divide.
        let weight = count / values + u64::from(i < count % values);
        (low + place * (high - low), weight)
    })
}
