//! The calibration suite: davy held to its promise, cell by cell.
//!
//! Owns the test of each cell's counts against its bound and the report. Every repetition draws its
//! own data and its own thresholds. Next: `cells`, which says what is run.

use std::io::Write;
use std::sync::Arc;

use comfy_table::{Table, presets};
use serde::Serialize;

use super::SimulateArgs;
use super::cells::{self, Cell, LEVEL};
use super::draw::Drawn;
use super::effect::Effect;
use super::run::{self, Effort, World};
use crate::cli::exit::Exit;
use crate::cli::{OutputForm, progress};
use crate::config::problem::one_of;
use crate::stats::law::Lattice;

/// Level of the test that a cell's count does not contradict its bound, over all cells.
const SUITE_LEVEL: f64 = 0.05;
/// Bound on the mean rate over the cells whose bound is [`LEVEL`].
const SUITE_MEAN_MAX: f64 = 0.052;
/// A cell that was rejected is run once more with this many times the repetitions.
const RERUN_FACTOR: u64 = 4;

/// One cell's result.
#[derive(Debug, Clone, Serialize)]
pub struct CellResult {
    /// What was simulated.
    pub cell: String,
    /// Planned looks.
    pub looks: usize,
    /// Repetitions.
    pub replicates: u64,
    /// Share of repetitions that failed at some look.
    pub false_fail: f64,
    /// Share that passed at some look.
    pub false_pass: f64,
    /// What either share may be.
    pub bound: f64,
    /// Largest share that does not contradict the bound: exact one-sided binomial test at .05 over
    /// all cells and both rates.
    pub accepted_max: f64,
    /// Whether neither share is above that.
    pub holds: bool,
    /// Whether the first run was rejected and this is the second, with four times the repetitions.
    pub rerun: bool,
}

/// Runs the suite, telling each cell's result as it comes.
///
/// # Errors
/// The report cannot be written.
pub(super) fn run(args: &SimulateArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    if chosen(args).is_empty() {
        eprintln!("davy: error: {}", none_meant(args));
        return Ok(Exit::Usage);
    }
    let mut failed = Ok(());
    let json = args.output == OutputForm::Json;
    let results = calibration(args, |result| {
        // A suite takes long: what is known is told at once, in case it is cut short.
        if failed.is_ok() {
            failed = tell(result, json, out);
        }
    })?;
    failed?;
    let mean = mean(&results);
    if json {
        let holds = holds(&results);
        let summary = serde_json::json!({"mean": mean, "mean_max": SUITE_MEAN_MAX, "holds": holds});
        writeln!(out, "{summary}")?;
    } else {
        write_summary(&results, mean, out)?;
    }
    Ok(if holds(&results) {
        Exit::Pass
    } else {
        Exit::Fail
    })
}

/// The cells that were asked for, at the lengths that were.
fn chosen(args: &SimulateArgs) -> Vec<(Cell, usize)> {
    cells::all()
        .into_iter()
        .filter(|cell| cell.name.contains(&args.only))
        .flat_map(|cell| cell.looks.iter().map(move |&looks| (cell.clone(), looks)))
        .filter(|(_, looks)| args.looks.is_empty() || args.looks.contains(looks))
        .collect()
}

/// What there is, where nothing of it was meant.
fn none_meant(args: &SimulateArgs) -> String {
    let cells = cells::all();
    let list = |words: Vec<String>| words.join("\n  ");
    if !cells.iter().any(|cell| cell.name.contains(&args.only)) {
        let names = list(cells.into_iter().map(|cell| cell.name).collect());
        return format!(
            "--only {:?} names no cell of the suite; there are\n  {names}",
            args.only
        );
    }
    let mut looks: Vec<usize> = cells.iter().flat_map(|cell| cell.looks).copied().collect();
    looks.sort_unstable();
    looks.dedup();
    let looks = one_of(
        looks
            .iter()
            .map(usize::to_string)
            .collect::<Vec<_>>()
            .iter()
            .map(|l| &**l),
    );
    format!("no cell named by --only has these --looks; there are {looks}")
}

/// Runs the chosen cells of the suite.
///
/// # Errors
/// A cell is not a plan.
pub fn calibration(
    args: &SimulateArgs,
    mut on_result: impl FnMut(&CellResult),
) -> anyhow::Result<Vec<CellResult>> {
    let chosen = chosen(args);
    let counts = 2 * chosen.len();
    let mut results = Vec::with_capacity(chosen.len());
    for (cell, looks) in &chosen {
        let effort = args.effort();
        let mut result = simulate(cell, *looks, effort, counts)?;
        if !result.holds {
            // One suite in twenty has a cell rejected by chance; more repetitions decide.
            let again = Effort {
                replicates: effort.replicates * RERUN_FACTOR,
                seed: effort.seed.wrapping_add(1),
                ..effort
            };
            result = simulate(cell, *looks, again, counts)?;
            result.rerun = true;
        }
        on_result(&result);
        results.push(result);
    }
    Ok(results)
}

fn simulate(
    cell: &Cell,
    looks: usize,
    effort: Effort,
    counts: usize,
) -> anyhow::Result<CellResult> {
    let plan = Arc::new(cell.plan(looks)?);
    let Some(traffic) = plan.traffic.clone() else {
        anyhow::bail!("the cell {} has no traffic", cell.name);
    };
    let shifts = Effect::Tolerances(1.0).shifts(&plan, &traffic, &[]);
    let run = Drawn::new(&plan, &traffic, &shifts).with(cell.quirk);
    let world = match cell.history {
        0 => World::Drawn(run),
        ticks => {
            let alike = Effect::Tolerances(0.0).shifts(&plan, &traffic, &[]);
            let history = Drawn::new(&plan, &traffic, &alike).with(cell.quirk);
            World::Calibrated {
                history,
                ticks,
                run,
            }
        }
    };
    let bar = progress::bar(effort.replicates, "repetitions");
    let label = format!("{}/{looks}", cell.name);
    let ended = run::repeat(&plan, &world, &label, effort, &|| bar.inc(1));
    bar.finish_and_clear();
    let count = |wrong: fn(&run::Ended) -> bool| ended.iter().filter(|run| wrong(run)).count();
    let fails = count(|run| run.failed_at.is_some());
    let passes = count(|run| run.passed_at.is_some());
    let accepted = accepted_max(effort.replicates, cell.bound, SUITE_LEVEL / counts as f64);
    let share = |count: usize| count as f64 / effort.replicates as f64;
    Ok(CellResult {
        cell: cell.name.clone(),
        looks,
        replicates: effort.replicates,
        false_fail: share(fails),
        false_pass: share(passes),
        bound: cell.bound,
        accepted_max: share(accepted),
        holds: fails.max(passes) <= accepted,
        rerun: false,
    })
}

/// The largest count of `trials` that a one-sided exact test at this level does not hold against
/// a probability of `bound`.
fn accepted_max(trials: u64, bound: f64, level: f64) -> usize {
    let law = Lattice::binomial(trials, bound);
    let mut count = (trials as f64 * bound) as i64;
    while count < trials as i64 && law.upper_tail(count + 1) >= level {
        count += 1;
    }
    count.max(0) as usize
}

/// Mean rate over the cells whose bound is [`LEVEL`]; 0 where there is none.
fn mean(results: &[CellResult]) -> f64 {
    let exact: Vec<&CellResult> = results.iter().filter(|one| one.bound <= LEVEL).collect();
    let rates = exact.iter().map(|one| one.false_fail + one.false_pass);
    rates.sum::<f64>() / (2 * exact.len()).max(1) as f64
}

fn holds(results: &[CellResult]) -> bool {
    results.iter().all(|result| result.holds) && mean(results) <= SUITE_MEAN_MAX
}

fn tell(result: &CellResult, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    if json {
        writeln!(out, "{}", serde_json::to_string(result)?)?;
    } else {
        writeln!(
            out,
            "{:>3} looks  fail {:.4}  pass {:.4}  at most {:.4}  {:<8}  {}",
            result.looks,
            result.false_fail,
            result.false_pass,
            result.accepted_max,
            if result.holds { "holds" } else { "TOO HIGH" },
            result.cell
        )?;
    }
    out.flush()?;
    Ok(())
}

fn write_summary(results: &[CellResult], mean: f64, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "on the boundary",
        "looks",
        "runs",
        "false fail",
        "false pass",
        "bound",
        "accepted",
        "",
    ]);
    for result in results {
        let rerun = if result.rerun { ", second run" } else { "" };
        let word = if result.holds { "holds" } else { "TOO HIGH" };
        table.add_row([
            result.cell.clone(),
            result.looks.to_string(),
            result.replicates.to_string(),
            format!("{:.4}", result.false_fail),
            format!("{:.4}", result.false_pass),
            result.bound.to_string(),
            format!("{:.4}", result.accepted_max),
            format!("{word}{rerun}"),
        ]);
    }
    writeln!(out, "\n{table}")?;
    let failed = results.iter().filter(|result| !result.holds).count();
    writeln!(
        out,
        "{} cells, {failed} above what their bound allows; mean of the cells bound by {LEVEL}: \
         {mean:.4} (at most {SUITE_MEAN_MAX})",
        results.len()
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_accepted_up_to_the_exact_tests_edge() {
        let (trials, level) = (10_000, 0.05 / 60.0);
        let edge = accepted_max(trials, 0.05, level);
        let law = Lattice::binomial(trials, 0.05);
        assert!(law.upper_tail(edge as i64) >= level);
        assert!(law.upper_tail(edge as i64 + 1) < level);
        // About .057, as the normal approximation has it: .05 + 3.14 * .00218.
        assert!((566..=572).contains(&edge), "{edge}");
    }
}
