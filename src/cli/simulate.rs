//! `davy simulate`: measure how often a verdict is wrong when the truth is known.
//!
//! Owns the calibration suite: streams whose canary sits exactly on the boundary between
//! tolerable and degraded, where both error rates are at their largest. Every repetition draws its
//! own data and its own thresholds. It is a driver of the same judge as every other command.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Args;
use comfy_table::{Table, presets};
use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::{OutputForm, progress};
use crate::judge::Judge;
use crate::judge::check::Detail;
use crate::judge::scratch::Scratch;
use crate::model::Outcome;
use crate::plan::{
    Check, Dispersion, Metric, MetricKind, OnInconclusive, OnNoData, Plan, Question, Resolution,
    Selector, Source, StepGate, Tolerance, Worse,
};
use crate::stats::law::Lattice;
use crate::stats::sampler::{self, Stream};
use crate::window::{Cell, ClosedTick};

/// Error probability of every cell, on either side.
const LEVEL: f64 = 0.05;
/// Level of the test that a cell's count does not contradict [`LEVEL`], over all cells.
const SUITE_LEVEL: f64 = 0.05;
/// Bound on the mean rate over the suite.
const SUITE_MEAN_MAX: f64 = 0.052;
/// A cell that was rejected is run once more with this many times the repetitions.
const RERUN_FACTOR: u64 = 4;

/// Arguments of `davy simulate`.
#[derive(Debug, Clone, Args)]
pub struct SimulateArgs {
    /// Repetitions of each cell.
    #[arg(long, default_value_t = 10_000)]
    pub replicates: u64,
    /// Planned looks of the cells.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 60, 300])]
    pub looks: Vec<usize>,
    /// Only scenarios whose name contains this text.
    #[arg(long, default_value = "")]
    pub only: String,
    /// Null paths behind each test's thresholds; the daemon takes 20,000. The error rates are
    /// unbiased for any number.
    #[arg(long, default_value_t = 2_000)]
    pub paths: usize,
    /// Seed of the whole suite.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Form of the output.
    #[arg(long, value_enum, default_value_t = OutputForm::Text)]
    pub output: OutputForm,
}

/// A stream on the boundary.
#[derive(Debug, Clone, Copy)]
struct Scenario {
    name: &'static str,
    /// Values or trials a tick of the baseline and of the canary.
    sizes: [u64; 2],
    data: Data,
}

#[derive(Debug, Clone, Copy)]
enum Data {
    /// Log-normal latencies; the canary is at 1 + `tolerance` times the baseline.
    LogNormal { sigma: f64, tolerance: f64 },
    /// Errors with this share in the baseline; the canary is on the boundary of the tolerance.
    Errors {
        share: f64,
        relative: Option<f64>,
        absolute: Option<f64>,
    },
}

const SCENARIOS: [Scenario; 6] = [
    Scenario {
        name: "log-normal 50/50, tolerance 5 %",
        sizes: [50, 50],
        data: Data::LogNormal {
            sigma: 0.7,
            tolerance: 0.05,
        },
    },
    Scenario {
        name: "log-normal 95/5, tolerance 5 %",
        sizes: [95, 5],
        data: Data::LogNormal {
            sigma: 0.7,
            tolerance: 0.05,
        },
    },
    Scenario {
        name: "errors .1 % 50/50, tolerance 50 %",
        sizes: [1_000, 1_000],
        data: Data::Errors {
            share: 0.001,
            relative: Some(0.5),
            absolute: None,
        },
    },
    Scenario {
        name: "errors .1 % 95/5, tolerance 50 %",
        sizes: [1_900, 100],
        data: Data::Errors {
            share: 0.001,
            relative: Some(0.5),
            absolute: None,
        },
    },
    Scenario {
        name: "errors .1 % 50/50, tolerance 20 % and .1pp",
        sizes: [1_000, 1_000],
        data: Data::Errors {
            share: 0.001,
            relative: Some(0.2),
            absolute: Some(0.001),
        },
    },
    Scenario {
        name: "errors .1 % 95/5, tolerance 20 % and .1pp",
        sizes: [1_900, 100],
        data: Data::Errors {
            share: 0.001,
            relative: Some(0.2),
            absolute: Some(0.001),
        },
    },
];

/// One cell's result.
#[derive(Debug, Clone, Serialize)]
pub struct CellResult {
    /// What was simulated.
    pub scenario: String,
    /// Planned looks.
    pub looks: usize,
    /// Repetitions.
    pub replicates: u64,
    /// Share of repetitions that failed at some look.
    pub false_fail: f64,
    /// Share that passed at some look.
    pub false_pass: f64,
    /// Monte-Carlo standard error of a rate of 5 %.
    pub standard_error: f64,
    /// Whether neither count contradicts 5 %: exact one-sided binomial test at .05 over all cells.
    pub holds: bool,
}

/// Runs the command.
pub fn run(args: &SimulateArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let results = calibration(args);
    if args.output == OutputForm::Json {
        serde_json::to_writer(&mut *out, &results)?;
        writeln!(out)?;
    } else {
        write_table(&results, out)?;
    }
    let holds = results.iter().all(|result| result.holds) && mean(&results) <= SUITE_MEAN_MAX;
    Ok(if holds { Exit::Pass } else { Exit::Fail })
}

/// Runs every cell of the suite.
pub fn calibration(args: &SimulateArgs) -> Vec<CellResult> {
    let chosen: Vec<(Scenario, usize)> = SCENARIOS
        .iter()
        .filter(|scenario| scenario.name.contains(&args.only))
        .flat_map(|&scenario| args.looks.iter().map(move |&looks| (scenario, looks)))
        .collect();
    let cells = 2 * chosen.len();
    chosen
        .iter()
        .map(|(scenario, looks)| {
            let first = simulate(scenario, *looks, args, cells);
            if first.holds {
                return first;
            }
            // One cell in twenty suites is rejected by chance; four times the repetitions decide.
            let again = SimulateArgs {
                replicates: args.replicates * RERUN_FACTOR,
                seed: args.seed.wrapping_add(1),
                ..args.clone()
            };
            simulate(scenario, *looks, &again, cells)
        })
        .collect()
}

fn simulate(scenario: &Scenario, looks: usize, args: &SimulateArgs, cells: usize) -> CellResult {
    let (replicates, seed) = (args.replicates, args.seed);
    let plan = Arc::new(plan_of(scenario, looks));
    let bar = progress::bar(replicates, scenario.name);
    let (next, fails, passes) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let mut scratch = Scratch::with_paths(args.paths);
                loop {
                    let replicate = next.fetch_add(1, Ordering::Relaxed);
                    if replicate >= replicates {
                        break;
                    }
                    let label = format!("{}/{looks}/{seed}/{replicate}", scenario.name);
                    let [fail, pass] = one_run(scenario, &plan, &label, &mut scratch);
                    fails.fetch_add(u64::from(fail), Ordering::Relaxed);
                    passes.fetch_add(u64::from(pass), Ordering::Relaxed);
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    let (fails, passes) = (fails.into_inner(), passes.into_inner());
    let law = Lattice::binomial(replicates, LEVEL);
    let contradicts = |count: u64| law.upper_tail(count as i64) < SUITE_LEVEL / cells as f64;
    CellResult {
        scenario: scenario.name.to_owned(),
        looks,
        replicates,
        false_fail: fails as f64 / replicates as f64,
        false_pass: passes as f64 / replicates as f64,
        standard_error: (LEVEL * (1.0 - LEVEL) / replicates as f64).sqrt(),
        holds: !contradicts(fails) && !contradicts(passes),
    }
}

/// Whether one repetition failed, and whether it passed, at any look.
fn one_run(scenario: &Scenario, plan: &Arc<Plan>, label: &str, scratch: &mut Scratch) -> [bool; 2] {
    let mut stream = Stream::new(&sampler::seed_from(label, "data"), 0);
    let mut judge = Judge::seeded(plan.clone(), Detail::Outcome, label);
    let sources = scenario.sources();
    let mut seen = [false; 2];
    for index in 0..plan.looks() {
        let cells = [sources[0].draw(&mut stream), sources[1].draw(&mut stream)];
        let tick = ClosedTick {
            index,
            cells: vec![cells],
        };
        match judge.close_and_look(&tick, scratch).outcome {
            Outcome::Fail => {
                seen[0] = true;
                break;
            }
            Outcome::Pass => seen[1] = true,
            Outcome::Inconclusive => {}
        }
    }
    seen
}

/// What one arm's ticks are drawn from.
enum Draw {
    LogNormal {
        size: u64,
        log_median: f64,
        sigma: f64,
    },
    Errors {
        size: u64,
        law: Lattice,
    },
}

// === impl Scenario ===

impl Scenario {
    fn sources(&self) -> [Draw; 2] {
        let [n, m] = self.sizes;
        match self.data {
            Data::LogNormal { sigma, tolerance } => {
                [(n, 0.0), (m, libm::log1p(tolerance))].map(|(size, log_median)| Draw::LogNormal {
                    size,
                    log_median,
                    sigma,
                })
            }
            Data::Errors {
                share,
                relative,
                absolute,
            } => {
                // A relative tolerance of a ratio is on its odds.
                let odds = share / (1.0 - share) * (1.0 + relative.unwrap_or(0.0));
                let by_ratio = relative.map_or(0.0, |_| odds / (1.0 + odds));
                let by_difference = absolute.map_or(0.0, |absolute| share + absolute);
                [(n, share), (m, by_ratio.max(by_difference))].map(|(size, share)| Draw::Errors {
                    size,
                    law: Lattice::binomial(size, share),
                })
            }
        }
    }
}

// === impl Draw ===

impl Draw {
    fn draw(&self, stream: &mut Stream) -> Cell {
        match self {
            Draw::LogNormal {
                size,
                log_median,
                sigma,
            } => {
                let value = |_| libm::exp(log_median + sigma * stream.normal());
                Cell {
                    values: (0..*size).map(value).collect(),
                    samples: *size,
                    ..Cell::default()
                }
            }
            Draw::Errors { size, law } => Cell {
                bad: law.sample(stream.next_u32()).max(0) as u64,
                total: *size,
                samples: *size,
                ..Cell::default()
            },
        }
    }
}

fn plan_of(scenario: &Scenario, looks: usize) -> Plan {
    let (kind, tolerance) = match scenario.data {
        Data::LogNormal { tolerance, .. } => (
            MetricKind::Latency,
            Tolerance {
                relative: Some(tolerance),
                absolute: None,
            },
        ),
        Data::Errors {
            relative, absolute, ..
        } => (MetricKind::Ratio, Tolerance { relative, absolute }),
    };
    let tick = 1_000;
    Plan {
        name: "calibration".to_owned(),
        description: String::new(),
        horizon: tick * looks as i64,
        extend: 0,
        tick,
        lateness: 0,
        min_duration: tick,
        stop_on_pass: true,
        alpha: LEVEL,
        beta: LEVEL,
        on_inconclusive: OnInconclusive::Hold,
        on_no_data: OnNoData::Hold,
        step: StepGate {
            min_duration: 0,
            min_samples: 0,
        },
        watch: None,
        change_require: Vec::new(),
        arms: None,
        metrics: vec![Metric {
            name: "metric".to_owned(),
            kind,
            value_unit: None,
            resolution: Resolution::Detected,
            negative: false,
            source: Source::Values {
                select: Selector::named("metric"),
            },
            cluster: None,
        }],
        checks: vec![Check {
            name: "metric".to_owned(),
            metric: 0,
            question: Question::Compare {
                at: None,
                worse: Worse::Higher,
                tolerance,
                dispersion: Dispersion::Iid,
            },
            gating: true,
            weight: 1.0,
            min_samples: 0,
            require_units: 1,
        }],
    }
}

fn mean(results: &[CellResult]) -> f64 {
    let rates = results
        .iter()
        .flat_map(|result| [result.false_fail, result.false_pass]);
    rates.sum::<f64>() / (2 * results.len()) as f64
}

fn write_table(results: &[CellResult], out: &mut dyn Write) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "on the boundary",
        "looks",
        "runs",
        "false fail",
        "false pass",
        "+-",
        "",
    ]);
    for result in results {
        table.add_row([
            result.scenario.clone(),
            result.looks.to_string(),
            result.replicates.to_string(),
            format!("{:.4}", result.false_fail),
            format!("{:.4}", result.false_pass),
            format!("{:.4}", result.standard_error),
            if result.holds { "holds" } else { "TOO HIGH" }.to_owned(),
        ]);
    }
    writeln!(out, "{table}")?;
    writeln!(
        out,
        "mean over the suite: {:.4} (at most {SUITE_MEAN_MAX})",
        mean(results)
    )?;
    Ok(())
}
