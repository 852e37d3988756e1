//! `davy replay`: judge a recorded interval under a plan, look by look.
//!
//! Owns the drive of the machine over a file: a CSV of samples or a recording exported from a
//! daemon. It is one of the drivers of `engine::apply`; nothing is judged here.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;

use crate::cli::OutputForm;
use crate::cli::exit::Exit;
use crate::codec::csv::{self, CsvProblem, Row};
use crate::config::plans;
use crate::engine::{self, Effect, Event, EventKind, Input, Limits, Start, State, recording};
use crate::model::{Address, Change, Labels, Millis, Reading, Sample, Timestamp};
use crate::plan::Plan;

/// Arguments of `davy replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Plan to judge under; a davy recording (.ndjson) may do without and use its own.
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// Recording: CSV with role,value[,t_rel|ts,weight,unit,metric], or the NDJSON of `davy export`.
    pub file: PathBuf,
    /// Form of the output: a line a look, for people or as JSON.
    #[arg(long, value_enum, default_value_t = OutputForm::Text)]
    pub output: OutputForm,
}

/// Runs the command.
pub fn run(args: &ReplayArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let plan = match &args.plan {
        Some(path) => Some(Arc::new(read_plan(path)?)),
        None => None,
    };
    let bytes = std::fs::read(&args.file)
        .with_context(|| format!("cannot read {}", args.file.display()))?;
    let mut failed = Ok(());
    let mut show = |event: &Event| {
        if failed.is_ok() {
            failed = write_look(args.output, event, out);
        }
    };
    if bytes.first() == Some(&b'{') {
        let text = std::str::from_utf8(&bytes).context("the recording is not UTF-8")?;
        recording::play(text.lines(), plan, |effects| each_look(&effects, &mut show))
            .with_context(|| args.file.display().to_string())?;
    } else {
        let Some(plan) = plan else {
            bail!("a CSV recording needs a plan: name one with --plan FILE");
        };
        let rows = read_rows(&args.file, &bytes)?;
        let left_out = replay_rows(&plan, &rows, |effects| each_look(effects, &mut show))
            .with_context(|| args.file.display().to_string())?;
        left_out.warn(&args.file);
    }
    failed?;
    Ok(Exit::Pass)
}

/// Reads and checks a plan file; all its problems are in the error.
pub fn read_plan(path: &Path) -> anyhow::Result<Plan> {
    match plans::read_plan(path) {
        Ok(parsed) => Ok(parsed.plan),
        Err(problems) => bail!("{problems}"),
    }
}

/// Reads a CSV recording. Bad rows are reported on standard error and left out.
pub fn read_rows(path: &Path, bytes: &[u8]) -> anyhow::Result<Vec<Row>> {
    let (rows, problems) = csv::parse(bytes)
        .map_err(|p| anyhow::anyhow!("{}:{}: {}", path.display(), p.line, p.message))?;
    warn_of_rows(path, &problems);
    Ok(rows)
}

/// Reports rows that were left out, on standard error.
pub fn warn_of_rows(path: &Path, problems: &[CsvProblem]) {
    for problem in problems.iter().take(csv::PROBLEMS_MAX) {
        eprintln!(
            "davy: warning: {}:{}: {}; row left out",
            path.display(),
            problem.line,
            problem.message
        );
    }
    if problems.len() > csv::PROBLEMS_MAX {
        eprintln!(
            "davy: warning: {}: {} rows left out",
            path.display(),
            problems.len()
        );
    }
}

/// What a replay could not use of its rows.
#[derive(Debug, Default)]
pub struct LeftOut {
    /// Rows whose numbers mean nothing for their metric's kind.
    pub rows: Vec<CsvProblem>,
    /// Samples that the machine refused, by code: how many, and the first one's message.
    pub refused: BTreeMap<&'static str, (u64, String)>,
}

/// Drives the machine over the rows of a recording from its first sample to the plan's horizon.
pub fn replay_rows(
    plan: &Arc<Plan>,
    rows: &[Row],
    mut on_effects: impl FnMut(&[Effect]),
) -> anyhow::Result<LeftOut> {
    let id = "replay".to_owned();
    let limits = Limits {
        abandoned_after: i64::MAX,
        tick_values_max: csv::ROWS_MAX,
        ..Limits::default()
    };
    let mut state = State::new(limits);
    let (samples, problems) = samples_of(plan, rows, &id)?;
    let mut left_out = LeftOut {
        rows: problems,
        refused: BTreeMap::new(),
    };
    let Some(origin) = samples.iter().map(|sample| sample.ts).min() else {
        bail!("the recording holds no sample");
    };
    let start = Start {
        id,
        plan: plan.clone(),
        arms: BTreeMap::from(["baseline", "canary"].map(|arm| (arm.to_owned(), arm.to_owned()))),
        change: replayed_change(),
        idempotency_key: None,
        request_digest: String::new(),
    };
    on_effects(&engine::apply(&mut state, Input::Start(start), origin));
    for batch in by_tick(samples, origin, plan.tick) {
        let Some(now) = batch.last().map(|sample| sample.ts) else {
            continue;
        };
        let effects = engine::apply(&mut state, Input::Samples(batch), now);
        left_out.add(&effects);
        on_effects(&effects);
    }
    // The horizon is always looked at, also when the last ticks are empty.
    let watch = plan.watch.map_or(0, |watch| watch.duration);
    let longest = plan.horizon + plan.extend + watch;
    let end = origin.plus(longest + plan.lateness + plan.tick.max(1_000) + 1);
    on_effects(&engine::apply(&mut state, Input::Tick, end));
    Ok(left_out)
}

// === impl LeftOut ===

impl LeftOut {
    fn add(&mut self, effects: &[Effect]) {
        for effect in effects {
            let Effect::Ingested(ingested) = effect else {
                continue;
            };
            // What comes after the verdict is final is not lost: nobody asks for it any more.
            let refused = ingested.refused.iter();
            for sample in refused.filter(|sample| sample.code != "analysis_final") {
                let entry = self.refused.entry(sample.code);
                entry.or_insert_with(|| (0, sample.message.clone())).0 += 1;
            }
        }
    }

    /// Says on standard error what was left out.
    pub fn warn(&self, path: &Path) {
        warn_of_rows(path, &self.rows);
        for (code, (count, message)) in &self.refused {
            let path = path.display();
            eprintln!("davy: warning: {path}: {count} samples left out ({code}): {message}");
        }
    }
}

// === functions ===

/// A change with every field, since a recording was deployed by nobody.
fn replayed_change() -> Change {
    let text = || Some("replay".to_owned());
    Change {
        id: text(),
        revision: text(),
        owner: text(),
        service: None,
        environment: text(),
        region: text(),
        links: BTreeMap::new(),
    }
}

/// The samples of a recording's rows, in the order of their times, and rows that mean nothing.
///
/// # Errors
/// A file without the columns that the plan needs.
pub fn samples_of(
    plan: &Plan,
    rows: &[Row],
    id: &str,
) -> anyhow::Result<(Vec<Sample>, Vec<CsvProblem>)> {
    let (mut samples, mut problems) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows {
        let metric = match (&row.metric, plan.metrics.as_slice()) {
            (Some(name), metrics) if metrics.iter().any(|metric| metric.name == *name) => {
                plan.metric_index(name).unwrap_or(0)
            }
            (_, [_]) => 0,
            (Some(_), _) => continue,
            (None, _) => {
                bail!("the plan has several metrics, but the file has no column \"metric\"")
            }
        };
        let metric = &plan.metrics[metric];
        let Some(secs) = row.secs else {
            bail!(
                "line {} has no time: a replay needs a column t_rel or ts",
                row.line
            );
        };
        let reading = match row.reading(metric.kind) {
            Ok(reading) => reading,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        samples.push(Sample {
            ts: Timestamp((secs * 1000.0) as i64),
            metric: metric.name.clone(),
            labels: Labels::new(),
            missing: u32::from(reading.is_none()),
            reading: reading.unwrap_or(no_reading(metric.kind)),
            unit: row.unit.clone(),
            id: None,
            address: Some(Address {
                analysis: id.to_owned(),
                arm: row.arm,
            }),
        });
    }
    samples.sort_by_key(|sample| sample.ts);
    Ok((samples, problems))
}

/// The empty reading of a kind: a missing sample is counted, and says nothing.
fn no_reading(kind: crate::plan::MetricKind) -> Reading {
    match kind {
        crate::plan::MetricKind::Ratio => Reading::Ratio { bad: 0, total: 0 },
        crate::plan::MetricKind::Rate => Reading::Rate {
            events: 0,
            exposure: 0.0,
        },
        _ => Reading::Values {
            values: Vec::new(),
            weights: Vec::new(),
        },
    }
}

fn by_tick(samples: Vec<Sample>, origin: Timestamp, tick: Millis) -> Vec<Vec<Sample>> {
    let mut batches: Vec<Vec<Sample>> = Vec::new();
    let mut current = None;
    for sample in samples {
        let index = sample.ts.since(origin) / tick;
        if current != Some(index) {
            current = Some(index);
            batches.push(Vec::new());
        }
        if let Some(batch) = batches.last_mut() {
            batch.push(sample);
        }
    }
    batches
}

/// Hands over the events that close a look: one for each look, the last one final, and what a
/// watch after a pass tells.
pub fn each_look(effects: &[Effect], show: &mut impl FnMut(&Event)) {
    for effect in effects {
        if let Effect::Event(event) = effect
            && event.kind != EventKind::Started
            && event.kind != EventKind::VerdictChanged
        {
            show(event);
        }
    }
}

fn write_look(form: OutputForm, event: &Event, out: &mut dyn Write) -> anyhow::Result<()> {
    match form {
        OutputForm::Json => {
            serde_json::to_writer(&mut *out, &*event.body)?;
            writeln!(out)?;
        }
        OutputForm::Text => {
            let elapsed = crate::judge::sentence::span(event.body.elapsed_secs);
            writeln!(out, "{elapsed:>10}  {}", event.body.message)?;
        }
    }
    Ok(())
}
