//! What becomes of the cost as work grows: samples, series, analyses, each ten times, twice.
//!
//! Owns the bounds on growth. How a run is made is `cost`'s.

use super::common::Verdicts;
use super::cost::{Figures, PEAK_MIB_MAX, Runs, SERIES, STEP, Setting, run_davy};
use super::wire::{Form, Load};

/// Cost of a unit of work when there is ten times more of it, of what it was. Caches are left
/// behind on the way; what is more than linear is more than this.
const GROWTH_MAX: f64 = 1.5;
/// The same for memory, whatever the number of samples.
const MEMORY_GROWTH_MAX: f64 = 1.25;
/// Cost of a sample that nobody asks for, of that of one that somebody does.
const UNMATCHED_MAX: f64 = 1.0;
/// Cost of a sample beside a thousand analyses that do not ask for it, of that without them.
const OTHERS_MAX: f64 = 1.25;

fn load(series: usize, passes: usize) -> Load {
    Load {
        form: Form::Write,
        series,
        passes,
        step: STEP,
        origin: 0,
        job: "shop",
        connections: super::cost::CONNECTIONS,
    }
}

fn repeated(runs: usize, name: &str, run: impl Fn() -> Figures) -> Runs {
    let mut all = Runs::default();
    (0..runs).for_each(|_| all.push(run()));
    all.print(name);
    all
}

fn judge(what: &str, growths: &[f64], most: f64, verdicts: &mut Verdicts) {
    for growth in growths {
        println!(
            "    {what}: {growth:.2} of the one before, bound {most}: {}",
            verdicts.word(*growth <= most)
        );
    }
}

fn ratios(figures: &[f64]) -> Vec<f64> {
    figures.windows(2).map(|pair| pair[1] / pair[0]).collect()
}

/// A sample that nobody asks for.
pub fn unmatched(runs: usize, verdicts: &mut Verdicts) {
    println!("unmatched: remote-write, one sample a series, of which nobody asks for any");
    let work = load(SERIES, 2_000);
    let matched = repeated(runs, "matched", || run_davy(work, Setting::default()));
    let nobodys = Setting {
        analyses: 0,
        others: 1,
        ..Setting::default()
    };
    let unmatched = repeated(runs, "unmatched", || run_davy(work, nobodys));
    let ratio = unmatched.cpu() / matched.cpu();
    println!(
        "    unmatched / matched: {ratio:.3}, bound {UNMATCHED_MAX}: {}",
        verdicts.word(ratio <= UNMATCHED_MAX)
    );
}

/// Ten and a hundred times the samples.
pub fn samples(runs: usize, verdicts: &mut Verdicts) {
    println!("samples: 1,000 series");
    let all = [200, 2_000, 20_000].map(|passes| {
        let work = load(SERIES, passes);
        let name = format!("{} samples", work.samples());
        repeated(runs, &name, || run_davy(work, Setting::default()))
    });
    let cost = all.each_ref().map(Runs::cpu);
    judge("cost of a sample", &ratios(&cost), GROWTH_MAX, verdicts);
    let peaks = all.each_ref().map(Runs::peak_mib);
    judge("memory", &ratios(&peaks), MEMORY_GROWTH_MAX, verdicts);
    println!(
        "    peak {:.1} MiB, bound {PEAK_MIB_MAX}: {}",
        peaks[2],
        verdicts.word(peaks[2] <= PEAK_MIB_MAX)
    );
}

/// Ten and a hundred times the series, with as many samples each; what davy takes in the same time
/// without them is taken off, which is much beside few.
pub fn series(runs: usize, verdicts: &mut Verdicts) {
    const PASSES: usize = 150;
    println!("series: {PASSES} samples each");
    let setting = Setting {
        is_patient: true,
        ..Setting::default()
    };
    let run = |series: usize, passes: usize| {
        let work = load(series, passes);
        let name = format!("{series} series, {} samples", work.samples());
        let runs = repeated(runs, &name, || run_davy(work, setting));
        (runs.cpu(), work.samples() as f64)
    };
    let (alone, few) = run(1, PASSES);
    let cost = [1_000, 10_000, 100_000].map(|series| {
        let (cpu, samples) = run(series, PASSES);
        cpu - alone * few / samples
    });
    judge("cost of a sample", &ratios(&cost), GROWTH_MAX, verdicts);
    // A series is matched once, which counts for more the fewer samples it has.
    let (cpu, samples) = run(100_000, 20);
    let ratio = (cpu - alone * few / samples) / cost[2];
    println!("    with 20 samples each instead: {ratio:.2} of that a sample");
}

/// Ten and a hundred analyses that all ask for the series.
pub fn analyses(runs: usize, verdicts: &mut Verdicts) {
    println!("analyses: 200,000 samples of 1,000 series that every analysis asks for");
    let all = [1, 10, 100].map(|analyses| {
        let work = load(SERIES, 200);
        let name = format!("{analyses} analyses");
        let setting = Setting {
            analyses,
            is_patient: true,
            ..Setting::default()
        };
        let runs = repeated(runs, &name, || run_davy(work, setting));
        runs.cpu() / analyses as f64
    });
    judge(
        "cost of a sample and analysis",
        &ratios(&all),
        GROWTH_MAX,
        verdicts,
    );
}

/// A thousand analyses, one of which asks for the series.
pub fn others(runs: usize, verdicts: &mut Verdicts) {
    println!("others: 2,000,000 samples, and 999 analyses that do not ask for them");
    let work = load(SERIES, 2_000);
    let alone = repeated(runs, "alone", || run_davy(work, Setting::default()));
    let beside = Setting {
        others: 999,
        ..Setting::default()
    };
    let beside = repeated(runs, "beside 999", || run_davy(work, beside));
    let ratio = beside.cpu() / alone.cpu();
    println!(
        "    beside / alone: {ratio:.3}, bound {OTHERS_MAX}: {}",
        verdicts.word(ratio <= OTHERS_MAX)
    );
}
