//! `davy simulate`: how often a verdict is wrong, and how soon it is right, when the truth is known.
//!
//! Owns the command's arguments and which of its two works is asked for. With a plan, `power`
//! measures that plan against degradations of growing size, on traffic that was described (`draw`)
//! or recorded (`recorded`). Without one, `suite` holds davy itself to its promise, on streams
//! whose canary sits exactly on the boundary. Both drive the judge that every command shares.

pub mod cells;
pub mod draw;
pub mod effect;
pub mod plot;
pub mod power;
pub mod recorded;
pub mod run;
pub mod suite;
pub mod traffic;

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use crate::cli::OutputForm;
use crate::cli::exit::Exit;
use crate::plan::LOOKS_MAX;
use effect::Effect;

/// Repetitions of a suite's cell, unless told.
const SUITE_REPLICATES: u64 = 10_000;
/// Repetitions of an effect of a plan, unless told: rates to about one per cent.
const PLAN_REPLICATES: u64 = 1_000;

/// Fewest null paths: with fewer a threshold at 5 % would rest on less than five of them.
const PATHS_MIN: usize = 100;
/// Most null paths, of which each takes memory.
const PATHS_MAX: usize = 1_000_000;

/// Arguments of `davy simulate`.
#[derive(Debug, Clone, Default, Args)]
pub struct SimulateArgs {
    /// Measure this plan; without one, run the calibration suite.
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// Run the calibration suite: what happens without --plan.
    #[arg(long, conflicts_with = "plan")]
    pub suite: bool,
    /// Traffic and recording, for --plan.
    #[command(flatten)]
    pub traffic: traffic::TrafficArgs,
    /// Sizes of the degradation: 2x (twice the tolerance) or 10% (worse than the baseline), none
    /// of the two mixed; negative ones are improvements.
    #[arg(long, value_delimiter = ',', value_parser = Effect::parse, allow_hyphen_values = true)]
    #[arg(requires = "plan")]
    pub effects: Vec<Effect>,
    /// Degrade these metrics only; may be repeated. Without it, all of them.
    #[arg(long, value_name = "METRIC", requires = "plan")]
    pub effect_on: Vec<String>,
    /// Write the plot of power and time to verdict here.
    #[arg(long, value_name = "FILE", requires = "plan")]
    pub svg: Option<PathBuf>,
    /// Repetitions: of each effect (default 1,000), of each cell of the suite (default 10,000).
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub replicates: Option<u64>,
    /// Only cells of the suite with these planned looks.
    #[arg(long, value_delimiter = ',', conflicts_with = "plan", value_parser = looks)]
    pub looks: Vec<usize>,
    /// Only cells of the suite whose name contains this text.
    #[arg(long, default_value = "", conflicts_with = "plan", long_help = names_help())]
    pub only: String,
    /// Null paths behind each test's thresholds; the daemon takes 20,000. The error rates are
    /// unbiased for any number.
    #[arg(long, default_value_t = 2_000, value_parser = paths)]
    pub paths: usize,
    /// Seed of everything drawn.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Form of the output.
    #[arg(long, value_enum, default_value_t = OutputForm::Text)]
    pub output: OutputForm,
}

/// A number of planned looks, as a plan may have.
fn looks(text: &str) -> Result<usize, String> {
    within(text, 1, LOOKS_MAX as usize)
}

/// A number of null paths.
fn paths(text: &str) -> Result<usize, String> {
    within(text, PATHS_MIN, PATHS_MAX)
}

fn within(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let number = text.parse::<usize>().ok();
    let number = number.filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("a whole number, {least} to {most}"))
}

fn names_help() -> String {
    let names: Vec<String> = cells::all().into_iter().map(|cell| cell.name).collect();
    let names = names.join("\n  ");
    format!("Only cells of the suite whose name contains this text. They are:\n  {names}")
}

/// Runs the command.
///
/// # Errors
/// A plan, a traffic file or a recording that cannot be read or says too little.
pub fn run(args: &SimulateArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    match &args.plan {
        Some(plan) => power::run(plan, args, out),
        None => suite::run(args, out),
    }
}

impl SimulateArgs {
    /// How repetitions are to be made.
    fn effort(&self) -> run::Effort {
        let default = if self.plan.is_some() {
            PLAN_REPLICATES
        } else {
            SUITE_REPLICATES
        };
        run::Effort {
            replicates: self.replicates.unwrap_or(default).max(1),
            paths: self.paths,
            seed: self.seed,
        }
    }
}
