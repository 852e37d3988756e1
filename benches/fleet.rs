//! A fleet: the real engine and the memory store under many analyses at once, on a simulated clock.
//!
//!     cargo bench --bench fleet -- [analyses=1000] [ticks=60] [state=healthy|boundary] [checkpoint=0]
//!
//! Every analysis has ten checks (four rank comparisons, a tail comparison, two ratios, a rate, two
//! thresholds) at ticks of 15 s; every tick brings it 4 x (50 + 50) latencies and the counts of two
//! ratios and a rate. `healthy`: both arms are the same. `boundary`: the canary sits exactly on
//! every tolerance, where lazy thresholds help least. Printed are CPU seconds of the engine's
//! thread per simulated second, samples made elsewhere, and the largest resident memory. After the tick
//! `checkpoint` (0: never) the engine's state is saved and loaded, which takes memory of its own.

#![expect(clippy::disallowed_methods, reason = "it measures time")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use common::{Args, Verdicts};
use davy::config::plan_file::parse_plan;
use davy::engine::{Effect, Input, Limits, Start, State, apply, checkpoint};
use davy::model::{Address, Arm, Change, Labels, Reading, Sample, Timestamp};
use davy::plan::Plan;
use davy::stats::law::Lattice;
use davy::stats::sampler::{Stream, seed_from};
use davy::store::memory::{Bounds, MemoryStore};
use davy::store::{Commit, Store, Write};

const TICK: i64 = 15_000;
/// How often the daemon tells the engine that time passed.
const CLOCK_EVERY: i64 = 250;
const CORES_MAX: f64 = 0.25;
const RESIDENT_MIB_MAX: f64 = 1_024.0;
const VALUES: usize = 50;
const REQUESTS: u64 = 200;
const ERROR_SHARE: f64 = 0.01;
const LATENCIES: [&str; 4] = ["checkout", "search", "cart", "login"];
const RATIOS: [&str; 2] = ["errors", "timeouts"];

fn plan(ticks: usize) -> Arc<Plan> {
    let text = format!(
        "version: davy/v1
plan: fleet
horizon: {}s
tick: 15s
lateness: 1s
stop_on_pass: false
metrics:
  checkout: {{kind: latency}}
  search: {{kind: latency}}
  cart: {{kind: latency}}
  login: {{kind: latency}}
  errors: {{kind: ratio}}
  timeouts: {{kind: ratio}}
  restarts: {{kind: rate}}
checks:
  - {{compare: checkout, tolerance: 10%}}
  - {{compare: search, tolerance: 10%}}
  - {{compare: cart, tolerance: 10%}}
  - {{compare: login, tolerance: 10%}}
  - {{compare: checkout, at: p95, tolerance: 25%}}
  - {{compare: errors, tolerance: {{relative: 20%, absolute: 0.1pp}}}}
  - {{compare: timeouts, tolerance: {{relative: 20%, absolute: 0.1pp}}}}
  - {{compare: restarts, tolerance: 20%}}
  - {{name: error-limit, threshold: errors, limit: \"< 5%\"}}
  - {{name: search-limit, threshold: search, at: p95, limit: \"< 500\"}}
",
        ticks * 15
    );
    Arc::new(
        parse_plan("fleet.yaml", &text)
            .unwrap_or_else(|p| panic!("{p}"))
            .plan,
    )
}

/// One analysis' samples of one tick.
fn samples(id: &str, ts: Timestamp, worse: bool, stream: &mut Stream) -> Vec<Sample> {
    let mut batch = Vec::new();
    for arm in Arm::BOTH {
        let is_worse = worse && arm == Arm::Canary;
        let mut add = |metric: &str, reading| {
            batch.push(Sample {
                ts,
                metric: metric.to_owned(),
                labels: Labels::new(),
                reading,
                unit: None,
                id: None,
                address: Some(Address {
                    analysis: id.to_owned(),
                    arm,
                }),
                missing: 0,
            });
        };
        for metric in LATENCIES {
            let median = if is_worse { 110.0 } else { 100.0 };
            let values = (0..VALUES)
                .map(|_| median * libm::exp(0.5 * stream.normal()))
                .collect();
            add(
                metric,
                Reading::Values {
                    values,
                    weights: Vec::new(),
                },
            );
        }
        let share = ERROR_SHARE * if is_worse { 1.2 } else { 1.0 };
        for metric in RATIOS {
            let bad = Lattice::binomial(REQUESTS, share)
                .sample(stream.next_u32())
                .max(0) as u64;
            add(
                metric,
                Reading::Ratio {
                    bad,
                    total: REQUESTS,
                },
            );
        }
        let events = Lattice::poisson(if is_worse { 6.0 } else { 5.0 });
        let events = events.sample(stream.next_u32()).max(0) as u64;
        add(
            "restarts",
            Reading::Rate {
                events,
                exposure: 15.0,
            },
        );
    }
    batch
}

fn commit(store: &MemoryStore, runtime: &tokio::runtime::Runtime, effects: Vec<Effect>) {
    let mut commit = Commit::default();
    for effect in effects {
        match effect {
            Effect::Changed(view) => commit.writes.push(Write::View(view)),
            Effect::Event(event) => commit.writes.push(Write::Event(event)),
            Effect::Record { analysis, line } => {
                commit.writes.push(Write::Record { analysis, line });
            }
            _ => {}
        }
    }
    runtime
        .block_on(store.commit(commit))
        .unwrap_or_else(|e| panic!("{e}"));
}

fn save_and_load(state: &State, count: usize) {
    let began = Instant::now();
    let bytes = checkpoint::save(state);
    let saved = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let loaded = checkpoint::load(&bytes, Limits::default());
    let loaded_in = began.elapsed().as_secs_f64();
    let packed = zstd::bulk::compress(&bytes, 1).map_or(0, |packed| packed.len());
    let running = loaded.map_or(0, |state| state.running().count());
    println!(
        "checkpoint: {:.1} MiB ({} KiB an analysis, {:.1} MiB as zstd 1), saved in {:.0} ms, {running} loaded in {:.0} ms",
        bytes.len() as f64 / f64::from(1 << 20),
        (bytes.len() / count) >> 10,
        packed as f64 / f64::from(1 << 20),
        saved * 1e3,
        loaded_in * 1e3
    );
}

fn main() -> std::process::ExitCode {
    let args = Args::read();
    let (count, ticks) = (args.number("analyses", 1_000), args.number("ticks", 60));
    let state_name = args.text("state", "healthy");
    let worse = state_name == "boundary";
    let plan = plan(ticks);
    let began = Instant::now();
    let origin = Timestamp(1_700_000_000_000);
    let mut state = State::new(Limits {
        analyses_max: count,
        abandoned_after: i64::MAX,
        ..Limits::default()
    });
    let store = MemoryStore::new(Bounds {
        recording_bytes_max: 64 << 20,
        recordings_bytes_max: 512 << 20,
        outbox_max: 1_000,
        audit_rows_max: 1_000_000,
        free_bytes_max: 0,
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap_or_else(|e| panic!("{e}"));
    let mut stream = Stream::new(&seed_from("fleet", &state_name), 0);
    // Starts are spread over a tick, as rollouts are.
    let start_of = |i: usize| origin.plus(i as i64 * TICK / count as i64);
    let ids: Vec<String> = (0..count).map(|i| format!("a{i:05}")).collect();
    for (i, id) in ids.iter().enumerate() {
        let start = Start {
            id: id.clone(),
            plan: plan.clone(),
            arms: BTreeMap::new(),
            change: Change::default(),
            idempotency_key: None,
            request_digest: String::new(),
            by: None,
        };
        let effects = apply(&mut state, Input::Start(Box::new(start)), start_of(i));
        commit(&store, &runtime, effects);
    }
    println!("{state_name}: {count} analyses x 10 checks, {ticks} ticks of 15 s");
    println!("   tick   CPU s per s   slowest input ms   running   peak MiB");
    let (mut busy, mut worst, mut next_clock) = (0.0, 0.0_f64, origin);
    for tick in 0..=ticks {
        let mut in_tick = 0.0;
        let mut slowest = 0.0_f64;
        // Arrivals are made a hundred at a time, outside what is measured.
        for from in (0..count).step_by(100) {
            let inputs: Vec<(Timestamp, Vec<Sample>)> = (from..(from + 100).min(count))
                .map(|i| {
                    let ts = start_of(i).plus(tick as i64 * TICK + 1_500);
                    (ts, samples(&ids[i], ts, worse, &mut stream))
                })
                .collect();
            let before = common::thread_seconds(began);
            for (now, batch) in inputs {
                let one = Instant::now();
                let mut effects = apply(&mut state, Input::Samples(batch), now);
                if now >= next_clock {
                    next_clock = now.plus(CLOCK_EVERY);
                    effects.extend(apply(&mut state, Input::Tick, now));
                }
                commit(&store, &runtime, effects);
                slowest = slowest.max(one.elapsed().as_secs_f64());
            }
            in_tick += common::thread_seconds(began) - before;
        }
        if tick > 0 && tick == args.number("checkpoint", 0) {
            save_and_load(&state, count);
        }
        busy += in_tick;
        worst = worst.max(in_tick / 15.0);
        if tick % (ticks / 6).max(1) == 0 {
            println!(
                "{tick:7} {:13.4} {:18.2} {:9} {:10.0}",
                in_tick / 15.0,
                slowest * 1e3,
                state.running().count(),
                common::peak_mib()
            );
        }
    }
    let cores = busy / ((ticks + 1) as f64 * 15.0);
    let mut verdicts = Verdicts::default();
    let peak = common::peak_mib();
    println!("mean {cores:.4} of a core, worst tick {worst:.4}; peak {peak:.0} MiB");
    if !worse {
        println!(
            "bound {CORES_MAX} of a core: {}",
            verdicts.word(cores < CORES_MAX)
        );
    }
    println!(
        "bound {RESIDENT_MIB_MAX} MiB: {}",
        verdicts.word(peak < RESIDENT_MIB_MAX)
    );
    verdicts.end()
}
