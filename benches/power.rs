//! Power and speed, simulated: davy against a fixed-horizon test and against a Kayenta-style rule.
//!
//!     cargo bench --bench power -- [runs=1000] [paths=2000] [seed=1]
//!
//! All three judge the same streams of log-normal latencies over 60 ticks. The fixed-horizon test
//! is one Mann-Whitney test of everything, at the end. The other rule is a judge of one mean a tick
//! and arm, asked at every tick from the eighth on about all ticks so far: it flags when the lower
//! end of the Mann-Whitney interval is above a quarter of the Hodges-Lehmann shift and the mean is
//! higher. Its critical value is set so that it flags 5 % of streams without a difference, as davy
//! may; so the two are compared at equal false alarm. davy runs at a tolerance of zero, for the
//! others know none. Each figure stands beside its bound.

#![expect(clippy::disallowed_methods, reason = "it measures time")]

mod common;

use std::sync::Arc;

use common::{Args, Verdicts};
use davy::config::plan_file::parse_plan;
use davy::judge::Judge;
use davy::judge::check::Detail;
use davy::judge::scratch::Scratch;
use davy::model::Outcome;
use davy::plan::{Plan, Question, Tolerance};
use davy::stats::mann_whitney::{Choice, mann_whitney, standard_deviation};
use davy::stats::rank::{self, Sorted};
use davy::stats::sampler::{Stream, seed_from};
use davy::stats::special::normal_quantile;
use davy::window::{Cell, ClosedTick};

const TICKS: usize = 60;
const ALPHA: f64 = 0.05;
const SIGMA: f64 = 0.7;
/// The tick from which the Kayenta-style rule judges, and its share of the estimated shift.
const RULE_TICKS_MIN: usize = 8;
const RULE_SHARE: f64 = 0.25;

/// One stream: how many values an arm a tick, by what factor the canary is slower, from which tick.
#[derive(Clone, Copy)]
struct Truth {
    values: usize,
    factor: f64,
    from: usize,
}

/// What was made of one stream: ticks at which it was flagged.
struct Found {
    davy: Option<usize>,
    fixed: bool,
    /// Means by tick: canary, baseline.
    means: Vec<[f64; 2]>,
}

#[derive(Clone, Copy)]
struct Summary {
    power: f64,
    stop: f64,
}

fn summary(stops: impl Iterator<Item = Option<usize>> + Clone) -> Summary {
    let count = stops.clone().count() as f64;
    Summary {
        power: stops.clone().flatten().count() as f64 / count,
        stop: stops.map(|stop| stop.unwrap_or(TICKS) as f64).sum::<f64>() / count,
    }
}

fn plan() -> Arc<Plan> {
    let text = "version: davy/v1\nplan: power\nhorizon: 60s\ntick: 1s\nmin_duration: 60s
metrics: {latency: {kind: latency}}\nchecks: [{compare: latency, tolerance: 10%}]\n";
    let parsed = parse_plan("power.yaml", text).unwrap_or_else(|p| panic!("{p}"));
    let mut plan = parsed.plan;
    if let Question::Compare { tolerance, .. } = &mut plan.checks[0].question {
        *tolerance = Tolerance {
            relative: Some(0.0),
            absolute: None,
        };
    }
    Arc::new(plan)
}

fn one_stream(plan: &Arc<Plan>, truth: Truth, label: &str, scratch: &mut Scratch) -> Found {
    let mut stream = Stream::new(&seed_from(label, "data"), 0);
    let mut judge = Judge::seeded(plan.clone(), Detail::Outcome, label);
    let (mut davy, mut means) = (None, Vec::new());
    let mut all: [Vec<f64>; 2] = Default::default();
    for index in 0..TICKS {
        let factor = if index >= truth.from {
            truth.factor
        } else {
            1.0
        };
        let cells = [1.0, factor].map(|factor| {
            let value = |_| 100.0 * factor * libm::exp(SIGMA * stream.normal());
            Cell {
                values: (0..truth.values).map(value).collect(),
                samples: truth.values as u64,
                ..Cell::default()
            }
        });
        let mean = |cell: &Cell| cell.values.iter().sum::<f64>() / truth.values as f64;
        means.push([mean(&cells[1]), mean(&cells[0])]);
        for (all, cell) in all.iter_mut().zip(&cells) {
            all.extend_from_slice(&cell.values);
        }
        let tick = ClosedTick {
            index,
            cells: vec![cells],
        };
        if davy.is_none() && judge.close_and_look(&tick, scratch).outcome == Outcome::Fail {
            davy = Some(index + 1);
        }
    }
    let [baseline, canary] = all.map(|all| Sorted::new(all, None).unwrap_or_default());
    let choice = Choice::Normal { continuity: true };
    let fixed = mann_whitney(&canary, &baseline, |y| y, choice);
    Found {
        davy,
        fixed: fixed.is_some_and(|test| test.p_greater <= ALPHA),
        means,
    }
}

/// Streams of one truth, over all cores; each has data and thresholds of its own.
fn streams(plan: &Arc<Plan>, truth: Truth, runs: usize, paths: usize, label: &str) -> Vec<Found> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers)
            .map(|worker| {
                scope.spawn(move || {
                    let mut scratch = Scratch::with_paths(paths);
                    (worker..runs)
                        .step_by(workers)
                        .map(|run| one_stream(plan, truth, &format!("{label}/{run}"), &mut scratch))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let joined = handles.into_iter().map(|handle| handle.join());
        joined
            .flat_map(|found| found.unwrap_or_else(|_| panic!("a worker panicked")))
            .collect()
    })
}

/// The rule's z against a shift of `share` of the Hodges-Lehmann estimate, no less than `floor`
/// mattering: the estimate is only worked out where the plain z is above it.
fn rule_z(means: &[[f64; 2]], floor: f64) -> f64 {
    let arm = |arm: usize| means.iter().map(|tick| tick[arm]).collect::<Vec<f64>>();
    let (canary, baseline) = (arm(0), arm(1));
    if canary.iter().sum::<f64>() < baseline.iter().sum::<f64>() {
        return f64::NEG_INFINITY;
    }
    let sort = |values: &[f64]| Sorted::new(values.to_vec(), None).unwrap_or_default();
    let (x, y) = (sort(&canary), sort(&baseline));
    let z = |shift: f64| {
        let u = rank::two_u(&x, &y, |value| value + shift) as f64 / 2.0;
        let ties = rank::tie_sum(&x, &y, |value| value + shift);
        let pairs = (canary.len() * baseline.len()) as f64;
        (u - pairs / 2.0 - 0.5) / standard_deviation(x.total(), y.total(), ties)
    };
    let plain = z(0.0);
    if plain <= floor {
        return plain;
    }
    let mut differences: Vec<f64> = canary
        .iter()
        .flat_map(|x| baseline.iter().map(move |y| x - y))
        .collect();
    let middle = differences.len() / 2;
    let (_, &mut estimate, _) = differences.select_nth_unstable_by(middle, f64::total_cmp);
    z(RULE_SHARE * estimate.abs())
}

fn rule_stop(found: &Found, critical: f64) -> Option<usize> {
    (RULE_TICKS_MIN..=TICKS).find(|&ticks| rule_z(&found.means[..ticks], critical) > critical)
}

/// The critical value that flags [`ALPHA`] of these streams.
fn equal_false_alarm(found: &[Found]) -> f64 {
    let mut largest: Vec<f64> = found
        .iter()
        .map(|found| {
            (RULE_TICKS_MIN..=TICKS).fold(f64::NEG_INFINITY, |most, ticks| {
                most.max(rule_z(&found.means[..ticks], most))
            })
        })
        .collect();
    largest.sort_by(f64::total_cmp);
    largest[((1.0 - ALPHA) * largest.len() as f64) as usize]
}

fn against_fixed_horizon(args: &Args, verdicts: &mut Verdicts) {
    const VALUES: usize = 20;
    let (plan, runs) = (plan(), args.number("runs", 1_000));
    let seed = args.number("seed", 1);
    // Noncentrality of 90 % power, and the shift of log-normal values that has it.
    let drift = normal_quantile(0.95) + normal_quantile(0.9);
    let n = (VALUES * TICKS) as f64;
    let theta = 0.5 + drift / (12.0 * n * n / (2.0 * n + 1.0)).sqrt();
    let shift = SIGMA * std::f64::consts::SQRT_2 * normal_quantile(theta);
    println!("against the fixed-horizon test, {runs} streams of {VALUES}+{VALUES} values a tick");
    println!("effect   fixed power   davy power              davy mean stop / horizon");
    for (times, power, stop) in [(1.0, 0.78, 0.62), (1.5, 0.98, 0.38), (2.0, 0.999, 0.25)] {
        let truth = Truth {
            values: VALUES,
            factor: libm::exp(shift * times),
            from: 0,
        };
        let label = format!("fixed/{seed}/{times}");
        let found = streams(&plan, truth, runs, args.number("paths", 2_000), &label);
        let davy = summary(found.iter().map(|found| found.davy));
        let fixed = found.iter().filter(|found| found.fixed).count() as f64 / runs as f64;
        let share = davy.stop / TICKS as f64;
        println!(
            "{times:5.1}x {fixed:12.3} {:12.3} (>= {power}: {}) {share:10.3} (<= {stop}: {})",
            davy.power,
            verdicts.word(davy.power >= power),
            verdicts.word(share <= stop),
        );
    }
}

fn against_rule(args: &Args, verdicts: &mut Verdicts) {
    const VALUES: usize = 100;
    let (plan, runs) = (plan(), args.number("runs", 1_000));
    let (paths, seed) = (args.number("paths", 2_000), args.number("seed", 1));
    let same = Truth {
        values: VALUES,
        factor: 1.0,
        from: 0,
    };
    let calibrating = streams(&plan, same, 2 * runs, paths, &format!("equal/{seed}"));
    let critical = equal_false_alarm(&calibrating);
    let davy = summary(calibrating.iter().map(|found| found.davy));
    println!("\nagainst a Kayenta-style rule, {runs} streams of {VALUES}+{VALUES} values a tick");
    println!("critical value at a false alarm of {ALPHA}: {critical:.2} (the rule's own: 2.33)");
    println!("false alarm of davy on the same streams: {:.3}", davy.power);
    println!("canary          power: davy   rule                 mean stop: davy   rule");
    for (percent, from) in [
        (2, 0),
        (5, 0),
        (10, 0),
        (20, 0),
        (10, 30),
        (20, 30),
        (50, 30),
    ] {
        let truth = Truth {
            values: VALUES,
            factor: 1.0 + f64::from(percent) / 100.0,
            from,
        };
        let found = streams(
            &plan,
            truth,
            runs,
            paths,
            &format!("{percent}/{from}/{seed}"),
        );
        let davy = summary(found.iter().map(|found| found.davy));
        let rule = summary(found.iter().map(|found| rule_stop(found, critical)));
        // Two standard errors of a difference between powers.
        let spread = |s: Summary| s.power * (1.0 - s.power) / runs as f64;
        let slack = 2.0 * (spread(davy) + spread(rule)).sqrt();
        let ratio = (davy.stop - from as f64) / (rule.stop - from as f64);
        let bound = match (percent, from) {
            (10.., 0) => Some(0.85),
            (20.., _) => Some(0.5),
            _ => None,
        };
        let held = bound.map_or("no bound".to_owned(), |bound| {
            format!("<= {bound}: {}", verdicts.word(ratio <= bound))
        });
        println!(
            "+{percent:2} % from {from:2} {:12.3} {:7.3} (not lower: {}) {:10.1} {:7.1}   ratio {ratio:.2} ({held})",
            davy.power,
            rule.power,
            verdicts.word(davy.power >= rule.power - slack),
            davy.stop,
            rule.stop,
        );
    }
}

fn main() -> std::process::ExitCode {
    let args = Args::read();
    let mut verdicts = Verdicts::default();
    against_fixed_horizon(&args, &mut verdicts);
    against_rule(&args, &mut verdicts);
    verdicts.end()
}
