//! Cost of one look: of a window that is already held, of a sliding one, and of a whole plan.
//!
//!     cargo bench --bench looks -- [runs=200]
//!
//! A check keeps prefix sums of its score by tick, never values, so a look asks all windows that
//! end now whatever came through them. The first table is that look with nothing simulated, the
//! second a tick that arrives and slides every window; the third a plan of five checks at its last
//! ticks, both arms alike (`healthy`) and the canary exactly on every tolerance (`boundary`).

#![expect(clippy::disallowed_methods, reason = "it measures time")]

mod common;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use common::{Args, Verdicts, undisturbed};
use davy::config::plan_file::parse_plan;
use davy::judge::Judge;
use davy::judge::check::Detail;
use davy::judge::scratch::Scratch;
use davy::judge::side::{Adjust, Side, Spending};
use davy::plan::Plan;
use davy::stats::law::Lattice;
use davy::stats::mann_whitney::{Choice, mann_whitney};
use davy::stats::rank::Sorted;
use davy::stats::sampler::{Stream, seed_from};
use davy::window::{Cell, ClosedTick};

/// A look at windows that are held, whatever their size.
const HELD_LOOK_MICROS_MAX: f64 = 10.0;
/// How much dearer a sliding window of 100,000 values is than one of 100.
const SLIDING_GROWTH_MAX: f64 = 1.5;
const TICKS: usize = 60;

fn micros(runs: usize, mut work: impl FnMut()) -> f64 {
    // Many calls a reading: one is shorter than a clock can tell.
    const CALLS: usize = 20;
    let reading = |_| {
        let begun = Instant::now();
        (0..CALLS).for_each(|_| work());
        begun.elapsed().as_secs_f64() * 1e6 / CALLS as f64
    };
    undisturbed((0..runs).map(reading).collect())
}

fn side() -> Side {
    let spending = |level| Spending {
        level,
        looks_planned: TICKS,
        first_look: 1,
        elsewhere: 0.0,
        reserve: 0.0,
        looks_beyond: 0,
    };
    Side::new(seed_from("bench", "look"), spending(0.05), spending(0.05))
}

fn values(len: usize, median: f64, stream: &mut Stream) -> Vec<f64> {
    (0..len)
        .map(|_| median * libm::exp(0.5 * stream.normal()))
        .collect()
}

/// A look at windows over `per_window` values, held as a run's prefix sums.
fn held(per_window: usize, runs: usize, stream: &mut Stream) -> f64 {
    let mut side = side();
    let variance = 12.0 * (per_window as f64 / TICKS as f64) / 4.0;
    for _ in 0..TICKS - 1 {
        side.push_gaussian(
            -variance + 0.1 * variance.sqrt() * stream.normal(),
            variance,
        );
    }
    let mut scratch = Scratch::default();
    micros(runs, || {
        black_box(side.look(black_box(Adjust::NONE), &mut scratch));
    })
}

/// A tick of 100 values a side that joins a window of `per_window`: sort, score, add, look.
fn sliding(per_window: usize, runs: usize, stream: &mut Stream) -> f64 {
    const TICK_VALUES: usize = 100;
    let mut side = side();
    let ticks = (per_window / TICK_VALUES).max(1);
    let variance = 12.0 * TICK_VALUES as f64 / 4.0;
    for _ in 0..ticks {
        side.push_gaussian(-variance, variance);
    }
    let arrivals: Vec<_> = (0..64)
        .map(|_| {
            (
                values(TICK_VALUES, 100.0, stream),
                values(TICK_VALUES, 110.0, stream),
            )
        })
        .collect();
    let mut next = 0;
    micros(runs.min(50), || {
        next = (next + 1) % arrivals.len();
        let (canary, baseline) = &arrivals[next];
        let sort = |values: &[f64]| Sorted::new(values.to_vec(), None).unwrap_or_default();
        let choice = Choice::Normal { continuity: true };
        let found = mann_whitney(&sort(canary), &sort(baseline), |y| y, choice);
        side.push_gaussian(found.map_or(0.0, |test| test.theta - 1.0), variance);
    })
}

fn plan(ticks: usize) -> Arc<Plan> {
    let text = format!(
        "version: davy/v1
plan: looks
horizon: {}s
tick: 15s
stop_on_pass: false
metrics:
  one: {{kind: latency}}
  two: {{kind: latency}}
  errors: {{kind: ratio}}
checks:
  - {{compare: one, tolerance: 10%}}
  - {{compare: two, tolerance: 10%}}
  - {{compare: one, at: p95, tolerance: 25%}}
  - {{compare: errors, tolerance: {{relative: 20%, absolute: 0.1pp}}}}
  - {{name: limit, threshold: errors, limit: \"< 5%\"}}
",
        ticks * 15
    );
    let parsed = parse_plan("looks.yaml", &text).unwrap_or_else(|p| panic!("{p}"));
    Arc::new(parsed.plan)
}

fn tick(index: usize, worse: bool, stream: &mut Stream) -> ClosedTick {
    let latency = |median: f64, stream: &mut Stream| Cell {
        values: values(50, median, stream),
        samples: 50,
        ..Cell::default()
    };
    let errors = |share: f64, stream: &mut Stream| Cell {
        bad: Lattice::binomial(200, share)
            .sample(stream.next_u32())
            .max(0) as u64,
        total: 200,
        samples: 200,
        ..Cell::default()
    };
    let (median, share) = if worse { (110.0, 0.012) } else { (100.0, 0.01) };
    let mut pair = || [latency(100.0, stream), latency(median, stream)];
    let (one, two) = (pair(), pair());
    ClosedTick {
        index,
        cells: vec![one, two, [errors(0.01, stream), errors(share, stream)]],
    }
}

/// Mean and largest milliseconds of a look over all looks of some runs.
fn whole_plan(ticks: usize, worse: bool, runs: usize, stream: &mut Stream) -> (f64, f64) {
    let plan = plan(ticks);
    let mut scratch = Scratch::default();
    let (mut sum, mut most) = (0.0, 0.0_f64);
    for _ in 0..runs {
        let mut judge = Judge::new(plan.clone(), Detail::Full);
        for index in 0..ticks {
            let tick = tick(index, worse, stream);
            let begun = Instant::now();
            black_box(judge.close_and_look(&tick, &mut scratch));
            let took = begun.elapsed().as_secs_f64() * 1e3;
            sum += took;
            most = most.max(took);
        }
    }
    (sum / (runs * ticks) as f64, most)
}

fn main() -> std::process::ExitCode {
    let runs = Args::read().number("runs", 200);
    let mut stream = Stream::new(&seed_from("bench", "looks"), 0);
    let mut verdicts = Verdicts::default();
    println!("values in the window   look us   arriving tick us");
    let mut slides = Vec::new();
    for per_window in [100, 1_000, 10_000, 100_000] {
        let look = held(per_window, runs, &mut stream);
        let slide = sliding(per_window, runs, &mut stream);
        slides.push(slide);
        let word = verdicts.word(look <= HELD_LOOK_MICROS_MAX);
        println!("{per_window:20} {look:9.2} {word} {slide:11.2}");
    }
    let growth = slides[slides.len() - 1] / slides[0];
    println!(
        "an arriving tick at 100,000 values costs {growth:.2} of one at 100 (at most {SLIDING_GROWTH_MAX}): {}",
        verdicts.word(growth <= SLIDING_GROWTH_MAX)
    );
    println!("\na plan of five checks      looks   mean ms a look   slowest ms");
    for ticks in [60, 300] {
        for (name, worse) in [("healthy", false), ("boundary", true)] {
            let (mean, most) = whole_plan(ticks, worse, (runs / 20).max(1), &mut stream);
            println!("{name:25} {ticks:6} {mean:16.3} {most:12.2}");
        }
    }
    verdicts.end()
}
