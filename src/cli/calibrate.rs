//! `davy calibrate`: measure how far a plan's checks vary where nothing is wrong.
//!
//! Owns the reading of healthy recordings tick by tick, the table, and the file beside the plan.
//! What is measured is `judge::calibrate`'s, the file's form `config::plan_file::calibration`'s.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;

use crate::cli::OutputForm;
use crate::cli::exit::Exit;
use crate::cli::replay;
use crate::codec::csv;
use crate::config::plan_file::calibration::{BATCHES_MIN, Calibration, MeasuredCheck, path_beside};
use crate::config::plan_file::{Measured, parse_plan_with};
use crate::config::plans;
use crate::config::quantity::duration_text;
use crate::engine::recording;
use crate::judge::calibrate::{Calibrator, Measure};
use crate::model::{Sample, Timestamp};
use crate::plan::{Dispersion, Plan, Question, dispersion};
use crate::stats::dispersion::BATCH_TICKS;
use crate::window::Window;

/// Ticks of one recording, empty ones included.
const TICKS_MAX: i64 = 1_000_000;
/// Times before this (in 1973) are taken as relative.
const EPOCH_MILLIS_MIN: i64 = 100_000_000_000;
/// Standard deviations of the whole recording from which the arms are said to differ: by chance
/// once in a thousand healthy recordings.
const DRIFT_MAX: f64 = 3.3;

/// Arguments of `davy calibrate`.
#[derive(Debug, Args)]
pub struct CalibrateArgs {
    /// Plan whose checks are measured
    #[arg(long, value_name = "FILE")]
    pub plan: PathBuf,
    /// Recordings of two healthy arms that run the same: CSV, or the NDJSON of `davy export`
    #[arg(required = true, value_name = "RECORDING")]
    pub files: Vec<PathBuf>,
    /// Form of the output: a table for people or one JSON object
    #[arg(long, value_enum, default_value_t = OutputForm::Text)]
    pub output: OutputForm,
}

/// Runs the command: measures, writes the file beside the plan, shows what was measured.
///
/// # Errors
/// A plan or a recording that cannot be read, and recordings too short for every check.
pub fn run(args: &CalibrateArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let text = plans::read_text(&args.plan).map_err(|problems| anyhow::anyhow!("{problems}"))?;
    let name = args.plan.display().to_string();
    let plan = parse_plan_with(&name, &text, Measured::Soon)
        .map_err(|problems| anyhow::anyhow!("{problems}"))?
        .plan;
    let mut calibrator = Calibrator::new(&plan);
    let mut recorded: Option<Timestamp> = None;
    for path in &args.files {
        let samples = read_samples(path, &plan)?;
        let origin = take(&mut calibrator, samples).with_context(|| path.display().to_string())?;
        recorded = Some(recorded.map_or(origin, |first| first.min(origin)));
    }
    let measures = calibrator.measures();
    let calibration = calibration(&plan, &calibrator, &measures, recorded);
    if calibration.checks.is_empty() {
        bail!(
            "the recordings hold {} ticks of {}, too few for any check: {} are needed, in stretches \
             of {BATCH_TICKS}; give longer or more recordings",
            calibrator.ticks(),
            duration_text(plan.tick),
            BATCHES_MIN as usize * BATCH_TICKS,
        );
    }
    let beside = path_beside(&args.plan);
    std::fs::write(&beside, calibration.to_text())
        .with_context(|| format!("cannot write {}", beside.display()))?;
    warn_of_drift(&plan, &measures);
    match args.output {
        OutputForm::Json => write_json(&plan, &calibration, &measures, &beside, out)?,
        OutputForm::Text => write_table(&plan, &calibration, &measures, &beside, out)?,
    }
    Ok(Exit::Pass)
}

fn read_samples(path: &Path, plan: &Plan) -> anyhow::Result<Vec<Sample>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.first() == Some(&b'{') {
        let text = std::str::from_utf8(&bytes).context("the recording is not UTF-8")?;
        let mut samples =
            recording::samples(text.lines()).with_context(|| path.display().to_string())?;
        samples.sort_by_key(|sample| sample.ts);
        return Ok(samples);
    }
    let rows = replay::read_rows(path, &bytes)?;
    let mut left_out = replay::LeftOut::default();
    let samples = replay::samples_of(plan, &rows, "calibrate", &mut left_out)?;
    left_out.warn(path);
    Ok(samples)
}

/// Closes tick by tick over the whole recording, and returns its first time.
fn take(calibrator: &mut Calibrator, samples: Vec<Sample>) -> anyhow::Result<Timestamp> {
    let plan = calibrator.plan().clone();
    let known = |sample: &Sample| plan.metric_index(&sample.metric).is_some();
    let mut samples = samples.into_iter().filter(known).peekable();
    let Some(origin) = samples.peek().map(|sample| sample.ts) else {
        bail!("the recording holds no sample of the plan's metrics");
    };
    let mut window = Window::new(&plan, origin, csv::ROWS_MAX);
    window.go_on_for(TICKS_MAX as usize);
    let mut refused = 0_u64;
    while let Some(next) = samples.peek() {
        if next.ts.since(origin) >= TICKS_MAX * plan.tick {
            bail!(
                "the recording spans more than {TICKS_MAX} ticks of {}; are its times in seconds?",
                duration_text(plan.tick)
            );
        }
        let end = window.end_of(window.closed());
        while let Some(sample) = samples.next_if(|sample| sample.ts < end) {
            let metric = plan.metric_index(&sample.metric).unwrap_or(0);
            let arm = sample.address.as_ref().map(|address| address.arm);
            let missing = u64::from(sample.missing);
            // Whose a sample is does not change a score, so units need no numbers here.
            let placed =
                arm.map(|arm| window.insert(metric, arm, sample.ts, &sample.reading, 0, missing));
            refused += u64::from(placed.is_some_and(|placed| placed.is_err()));
        }
        calibrator.close(&window.close());
    }
    calibrator.end_recording();
    if refused > 0 {
        eprintln!("davy: warning: {refused} samples do not fit their metric's kind; left out");
    }
    Ok(origin)
}

fn calibration(
    plan: &Plan,
    calibrator: &Calibrator,
    measures: &[Measure],
    recorded: Option<Timestamp>,
) -> Calibration {
    let mut checks = BTreeMap::new();
    let enough = |measure: &&Measure| measure.long_run.batches as u64 >= BATCHES_MIN;
    for measure in measures.iter().filter(enough) {
        let Some(dispersion) = measure.dispersion else {
            continue;
        };
        let check = &plan.checks[measure.check];
        let measured = MeasuredCheck {
            definition: dispersion::definition(plan, check),
            batches: measure.long_run.batches as u64,
            measured: rounded(measure.measured),
            dispersion: match dispersion {
                Dispersion::Sd(sd) => Dispersion::Sd(rounded(sd)),
                Dispersion::Factor(factor) => Dispersion::Factor(rounded(factor)),
                worded => worded,
            },
        };
        checks.insert(check.name.clone(), measured);
    }
    let dated = recorded.filter(|origin| origin.millis() >= EPOCH_MILLIS_MIN);
    Calibration {
        plan: plan.name.clone(),
        recorded: dated
            .and_then(|origin| jiff::Timestamp::from_millisecond(origin.millis()).ok())
            .map(|origin| origin.to_string()),
        tick: plan.tick,
        ticks: calibrator.ticks() as u64,
        checks,
    }
}

/// Four significant digits: the numbers are no better known, and people read the file.
fn rounded(number: f64) -> f64 {
    format!("{number:.3e}").parse().unwrap_or(number)
}

/// A difference that lasts over the whole recording is no noise, and no A/A either.
fn warn_of_drift(plan: &Plan, measures: &[Measure]) {
    for measure in measures {
        let (batches, long_run) = (measure.long_run.batches as f64, &measure.long_run);
        let drift = long_run.mean * (batches / long_run.upper).sqrt();
        if drift.abs() > DRIFT_MAX {
            eprintln!(
                "davy: warning: {}: the arms differ over the whole of the recordings ({:.1} \
                 standard deviations): do both really run the same?",
                plan.checks[measure.check].name,
                drift.abs()
            );
        }
    }
}

/// Why a comparison got no number.
fn wanting(plan: &Plan, index: usize, measures: &[Measure]) -> Option<String> {
    let Question::Compare { .. } = plan.checks[index].question else {
        return Some("a limit is not calibrated".to_owned());
    };
    let measure = measures.iter().find(|measure| measure.check == index);
    let batches = measure.map_or(0, |measure| measure.long_run.batches as u64);
    if batches < BATCHES_MIN {
        return Some(format!(
            "{batches} batches with data; {BATCHES_MIN} of {BATCH_TICKS} ticks are needed"
        ));
    }
    let varies = measure.is_some_and(|measure| measure.dispersion.is_some());
    (!varies).then(|| "its numbers never varied".to_owned())
}

fn write_table(
    plan: &Plan,
    calibration: &Calibration,
    measures: &[Measure],
    beside: &Path,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let ticks = calibration.ticks;
    let tick = duration_text(plan.tick);
    writeln!(out, "plan {}, {ticks} ticks of {tick}", plan.name)?;
    let longest = plan.checks.iter().map(|check| check.name.len()).max();
    let width = longest.unwrap_or(0).max("check".len());
    writeln!(out, "{:width$}  batches  measured  dispersion", "check")?;
    for (index, check) in plan.checks.iter().enumerate() {
        let name = &check.name;
        match (calibration.checks.get(name), wanting(plan, index, measures)) {
            (Some(found), None) => {
                let (batches, measured) = (found.batches, found.measured);
                let used = match found.dispersion {
                    Dispersion::Sd(sd) => format!("{{sd: {sd}}}"),
                    Dispersion::Factor(factor) => format!("{{factor: {factor}}}"),
                    Dispersion::Iid | Dispersion::Envelope => String::new(),
                };
                writeln!(out, "{name:width$}  {batches:>7}  {measured:>8}  {used}")?;
            }
            (_, why) => {
                writeln!(
                    out,
                    "{name:width$}  not measured: {}",
                    why.unwrap_or_default()
                )?;
            }
        }
    }
    writeln!(out, "written to {}", beside.display())?;
    Ok(())
}

fn write_json(
    plan: &Plan,
    calibration: &Calibration,
    measures: &[Measure],
    beside: &Path,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let checks = plan.checks.iter().enumerate().map(|(index, check)| {
        match calibration.checks.get(&check.name) {
            Some(found) => {
                let (factor, sd) = match found.dispersion {
                    Dispersion::Factor(factor) => (Some(factor), None),
                    Dispersion::Sd(sd) => (None, Some(sd)),
                    Dispersion::Iid | Dispersion::Envelope => (None, None),
                };
                json!({
                    "check": check.name, "definition": found.definition,
                    "batches": found.batches, "measured": found.measured,
                    "factor": factor, "sd": sd,
                })
            }
            None => json!({
                "check": check.name, "wanting": wanting(plan, index, measures),
            }),
        }
    });
    let report = json!({
        "plan": plan.name, "file": beside.display().to_string(),
        "recorded": calibration.recorded, "ticks": calibration.ticks,
        "checks": checks.collect::<Vec<_>>(),
    });
    writeln!(out, "{report}")?;
    Ok(())
}
