//! Streams drawn from a description of traffic.
//!
//! Owns the laws the numbers come from. Both arms share the load of a tick; the canary's numbers
//! are then shifted by the effect. It must not know what is made of them. Next: `run`.

use std::collections::BTreeMap;

use super::effect::Shift;
use crate::plan::Plan;
use crate::plan::traffic::{Arrivals, Load, MetricTraffic, Shape, Traffic, Units};
use crate::stats::law::Lattice;
use crate::stats::sampler::Stream;
use crate::window::{Cell, ClosedTick};

/// Where the bits of an arm stand in a unit's number.
const ARM_SHIFT: u32 = 62;
/// Where the bits of a tick stand in the number of a unit that lives for one tick.
const TICK_SHIFT: u32 = 40;

/// What traffic described in a plan does not do, and real traffic does.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Quirk {
    /// Nothing of the kind.
    #[default]
    None,
    /// Each arm's bad share of a tick is multiplied by the mean of so many exponentials: a gamma
    /// factor of mean 1, whose variance is one over this.
    Bursts(u32),
    /// The canary's logarithms spread so many times as far.
    Spread(f64),
    /// The first unit of each arm gets so many times the traffic of the others.
    Busy(f64),
}

/// What streams are drawn from.
#[derive(Debug)]
pub struct Drawn {
    quirk: Quirk,
    tick_millis: i64,
    load: Option<Load>,
    metrics: Vec<Drawer>,
}

#[derive(Debug)]
struct Drawer {
    traffic: MetricTraffic,
    shift: Option<Shift>,
    /// Samples of a tick, by arm.
    counts: [Count; 2],
    /// Exposure of a tick, by arm (kind rate).
    exposure: [f64; 2],
}

#[derive(Debug)]
enum Count {
    Fixed(u64),
    Poisson(Lattice),
}

/// What lasts from tick to tick within one repetition.
#[derive(Debug)]
pub struct Going {
    load: f64,
    /// By metric and arm: the autoregression of a gauge.
    levels: Vec<[f64; 2]>,
    /// By metric and arm: logarithms of the factors of units that live for the whole run.
    units: Vec<[Vec<f64>; 2]>,
}

// === impl Drawn ===

impl Drawn {
    /// Streams of a plan's traffic under an effect.
    pub fn new(plan: &Plan, traffic: &Traffic, shifts: &[Option<Shift>]) -> Drawn {
        let secs = plan.tick as f64 / 1000.0;
        let drawer = |(metric, own): (usize, &MetricTraffic)| {
            let from = &plan.metrics[metric].source;
            // Without an exposure counter both arms are exposed for the whole tick.
            let timed = from.is_timed();
            let count = |arm: usize| {
                let mean = own.per_second * secs * traffic.share(arm);
                match traffic.arrivals {
                    Arrivals::Fixed => Count::Fixed(mean.round() as u64),
                    Arrivals::Poisson => Count::Poisson(Lattice::poisson(mean)),
                }
            };
            let exposure = |arm: usize| if timed { 0.5 } else { traffic.share(arm) };
            Drawer {
                traffic: *own,
                shift: shifts[metric],
                counts: [count(0), count(1)],
                exposure: [exposure(0) * secs, exposure(1) * secs],
            }
        };
        Drawn {
            quirk: Quirk::None,
            tick_millis: plan.tick,
            load: traffic.load,
            metrics: traffic.metrics.iter().enumerate().map(drawer).collect(),
        }
    }

    /// The same, with a quirk.
    pub fn with(self, quirk: Quirk) -> Drawn {
        Drawn { quirk, ..self }
    }

    /// Begins a repetition.
    pub fn begin(&self, stream: &mut Stream) -> Going {
        let load = self.load.map_or(0.0, |load| load.sd * stream.normal());
        let mut levels = Vec::with_capacity(self.metrics.len());
        let mut units = Vec::with_capacity(self.metrics.len());
        for metric in &self.metrics {
            levels.push([stream.normal(), stream.normal()]);
            units.push(match metric.traffic.units {
                Some(Units::Run {
                    baseline,
                    canary,
                    sd,
                }) => [baseline, canary]
                    .map(|count| (0..count).map(|_| sd * stream.normal()).collect()),
                _ => [Vec::new(), Vec::new()],
            });
        }
        Going {
            load,
            levels,
            units,
        }
    }

    /// The next tick.
    pub fn tick(&self, index: usize, going: &mut Going, stream: &mut Stream) -> ClosedTick {
        if let Some(Load { sd, ar }) = self.load {
            going.load = next(going.load, ar, sd, stream);
        }
        let cells = self.metrics.iter().enumerate().map(|(metric, drawer)| {
            let mut arm = |arm: usize| {
                let state = State {
                    arm,
                    tick: index,
                    load: going.load,
                    units: &going.units[metric][arm],
                    quirk: self.quirk,
                };
                match drawer.traffic.shape {
                    Shape::LogNormal { .. } => drawer.values(&state, stream),
                    Shape::Errors { share } => drawer.errors(share, &state, stream),
                    Shape::Events => drawer.events(&state, stream),
                    Shape::Level { level, sd, ar } => {
                        let own = &mut going.levels[metric][arm];
                        *own = next(*own, ar, 1.0, stream);
                        let point = level * libm::exp(sd * *own + state.load);
                        let ts = self.tick_millis * index as i64;
                        Cell {
                            points: vec![(ts, drawer.shifted(arm, point))],
                            samples: 1,
                            ..Cell::default()
                        }
                    }
                }
            };
            [arm(0), arm(1)]
        });
        ClosedTick {
            index,
            cells: cells.collect(),
        }
    }
}

/// One arm at one tick.
struct State<'g> {
    arm: usize,
    tick: usize,
    load: f64,
    units: &'g [f64],
    quirk: Quirk,
}

/// The next step of a stationary first-order autoregression with this standard deviation.
fn next(now: f64, ar: f64, sd: f64, stream: &mut Stream) -> f64 {
    ar * now + sd * (1.0 - ar * ar).sqrt() * stream.normal()
}

// === impl Drawer ===

impl Drawer {
    fn count(&self, arm: usize, stream: &mut Stream) -> u64 {
        match &self.counts[arm] {
            Count::Fixed(count) => *count,
            Count::Poisson(law) => law.sample(stream.next_u32()).max(0) as u64,
        }
    }

    fn shifted(&self, arm: usize, value: f64) -> f64 {
        match &self.shift {
            Some(shift) if arm == 1 => shift.value(value),
            _ => value,
        }
    }

    fn values(&self, state: &State<'_>, stream: &mut Stream) -> Cell {
        let Shape::LogNormal {
            median,
            sigma,
            resolution,
        } = self.traffic.shape
        else {
            return Cell::default();
        };
        let count = self.count(state.arm, stream);
        let centre = libm::log(median) + state.load;
        let sigma = match state.quirk {
            Quirk::Spread(times) if state.arm == 1 => sigma * times,
            _ => sigma,
        };
        let mut values = Vec::with_capacity(count as usize);
        let mut units = Vec::new();
        let mut walk = UnitWalk::new(self.traffic.units, state);
        for _ in 0..count {
            let (unit, factor) = walk.next(stream);
            let drawn = libm::exp(centre + factor + sigma * stream.normal());
            let value = self.shifted(state.arm, drawn);
            values.push(if resolution > 0.0 {
                (value / resolution).round() * resolution
            } else {
                value
            });
            if self.traffic.units.is_some() {
                units.push(unit);
            }
        }
        Cell {
            values,
            units,
            samples: count,
            ..Cell::default()
        }
    }

    fn errors(&self, share: f64, state: &State<'_>, stream: &mut Stream) -> Cell {
        let total = self.count(state.arm, stream);
        let burst = match state.quirk {
            Quirk::Bursts(count) => exponentials(count, stream),
            _ => 1.0,
        };
        // The shift is the boundary of the share at hand, also under load.
        let share_at = |factor: f64| {
            let odds = share / (1.0 - share) * libm::exp(state.load + factor);
            let share = odds / (1.0 + odds);
            let shifted = match &self.shift {
                Some(shift) if state.arm == 1 => shift.share(share),
                _ => share,
            };
            (shifted * burst).min(1.0)
        };
        let mut cell = Cell {
            total,
            samples: total,
            ..Cell::default()
        };
        if self.traffic.units.is_none() {
            let law = Lattice::binomial(total, share_at(0.0));
            cell.bad = law.sample(stream.next_u32()).max(0) as u64;
            return cell;
        }
        let mut walk = UnitWalk::new(self.traffic.units, state);
        let mut by_unit: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for _ in 0..total {
            let (unit, factor) = walk.next(stream);
            let bad = u64::from(stream.uniform() < share_at(factor));
            let sums = by_unit.entry(unit).or_default();
            sums.0 += bad;
            sums.1 += 1;
            cell.bad += bad;
        }
        cell.by_unit = by_unit;
        cell
    }

    fn events(&self, state: &State<'_>, stream: &mut Stream) -> Cell {
        let exposure = self.exposure[state.arm];
        let rate = self.shifted(state.arm, self.traffic.per_second * libm::exp(state.load));
        let law = Lattice::poisson(rate * exposure);
        Cell {
            bad: law.sample(stream.next_u32()).max(0) as u64,
            exposure,
            samples: 1,
            ..Cell::default()
        }
    }
}

/// Mean of so many standard exponentials.
fn exponentials(count: u32, stream: &mut Stream) -> f64 {
    let one = |stream: &mut Stream| -libm::log(1.0 - stream.uniform());
    (0..count).map(|_| one(stream)).sum::<f64>() / f64::from(count.max(1))
}

/// Hands each sample of a tick to a unit.
struct UnitWalk<'g> {
    units: Option<Units>,
    /// Traffic of the first unit of the run, in that of the others.
    busy: f64,
    first: u64,
    run: &'g [f64],
    /// The unit that lives now, where units live for one tick: its number and factor.
    current: Option<(u64, f64)>,
}

impl<'g> UnitWalk<'g> {
    fn new(units: Option<Units>, state: &State<'g>) -> UnitWalk<'g> {
        let tick = match units {
            Some(Units::Tick { .. }) => (state.tick as u64) << TICK_SHIFT,
            _ => 0,
        };
        let busy = match state.quirk {
            Quirk::Busy(times) => times,
            _ => 1.0,
        };
        UnitWalk {
            units,
            busy,
            first: ((state.arm as u64) << ARM_SHIFT) + tick,
            run: state.units,
            current: None,
        }
    }

    /// The unit of the next sample, and the logarithm of its factor.
    fn next(&mut self, stream: &mut Stream) -> (u64, f64) {
        match self.units {
            None => (0, 0.0),
            Some(Units::Run { .. }) => {
                let more = self.busy - 1.0;
                let at = stream.uniform() * (self.run.len() as f64 + more) - more;
                let at = at.max(0.0) as usize;
                let at = at.min(self.run.len().saturating_sub(1));
                (
                    self.first + at as u64,
                    self.run.get(at).copied().unwrap_or(0.0),
                )
            }
            Some(Units::Tick { size, sd }) => {
                let stays = stream.uniform() * size >= 1.0;
                let (unit, factor) = match self.current {
                    Some(current) if stays => current,
                    Some((unit, _)) => (unit + 1, sd * stream.normal()),
                    None => (self.first, sd * stream.normal()),
                };
                self.current = Some((unit, factor));
                (unit, factor)
            }
        }
    }
}
