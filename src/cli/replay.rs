//! `davy replay`: judge a recorded interval under a plan, look by look.
//!
//! Owns the drive of the machine over a file: a CSV of samples or a recording exported from a
//! daemon. It is one of the drivers of `engine::apply`; nothing is judged here. Next: `recorded`,
//! what is told of a daemon's recording besides its looks; `pulled`, an interval that is fetched.

mod pulled;
pub(super) mod recorded;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;

use recorded::EngineChanged;

use crate::cli::OutputForm;
use crate::cli::exit::Exit;
use crate::codec::csv::{self, CsvProblem, Row};
use crate::config::plans;
use crate::config::problem::{nearest, one_of};
use crate::engine::{self, Effect, Event, EventKind, Input, Limits, Start, State};
use crate::judge::verdict::VerdictBody;
use crate::model::{Address, Change, Labels, Millis, Outcome, Reading, Sample, Timestamp};
use crate::plan::Plan;

/// Arguments of `davy replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Plan to judge under; a davy recording (.ndjson) may do without and use its own.
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// Recording: CSV with role,value[,t_rel|ts,weight,unit,metric], or the NDJSON of `davy export`.
    #[arg(required_unless_present = "prometheus", conflicts_with = "prometheus")]
    pub file: Option<PathBuf>,
    /// A past interval instead of a recording.
    #[command(flatten)]
    pub interval: pulled::IntervalArgs,
    /// Form of the output: a line a look, for people or as JSON.
    #[arg(long, value_enum, default_value_t = OutputForm::Text)]
    pub output: OutputForm,
    /// Exit 0 on a final pass, 1 on a final fail, 2 otherwise; without it, 0 whatever the verdict.
    #[arg(long)]
    pub exit_code: bool,
}

/// Runs the command.
pub fn run(args: &ReplayArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let plan = match &args.plan {
        Some(path) => Some(Arc::new(read_plan(path)?)),
        None => None,
    };
    let Some(file) = &args.file else {
        return pulled::run(args, plan, out);
    };
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let recording = match bytes.first() {
        Some(b'{') => Some(std::str::from_utf8(&bytes).context("the recording is not UTF-8")?),
        _ => None,
    };
    let engine_changed = match recording {
        Some(text) => EngineChanged::since(text).with_context(|| file.display().to_string())?,
        None => None,
    };
    if let Some(changed) = &engine_changed {
        changed.warn(file);
    }
    let mut shown = Shown::new(args, engine_changed, out);
    let mut show = |event: &Event| shown.show(event);
    let mut ending = None;
    if let Some(text) = recording {
        let told = recorded::play(text, plan, |effects| each_look(effects, &mut show))
            .with_context(|| file.display().to_string())?;
        told.warn(file);
        ending = told.ending;
    } else {
        let Some(plan) = plan else {
            bail!("a CSV recording needs a plan: name one with --plan FILE");
        };
        let rows = read_rows(file, &bytes)?;
        let left_out = replay_rows(&plan, &rows, |effects| each_look(effects, &mut show))
            .with_context(|| file.display().to_string())?;
        left_out.warn(file);
    }
    shown.finish(ending, &file.display().to_string())
}

/// The looks of a replay as they are shown.
struct Shown<'a> {
    args: &'a ReplayArgs,
    engine_changed: Option<EngineChanged>,
    out: &'a mut dyn Write,
    failed: anyhow::Result<()>,
    verdict: Outcome,
}

// === impl Shown ===

impl<'a> Shown<'a> {
    fn new(
        args: &'a ReplayArgs,
        engine_changed: Option<EngineChanged>,
        out: &'a mut dyn Write,
    ) -> Shown<'a> {
        Shown {
            args,
            engine_changed,
            out,
            failed: Ok(()),
            verdict: Outcome::Inconclusive,
        }
    }

    fn show(&mut self, event: &Event) {
        if event.body.is_final {
            self.verdict = event.body.verdict;
        }
        if self.failed.is_ok() {
            self.failed = write_look(self.args.output, event, self.engine_changed, self.out);
        }
    }

    /// Says why it ends without a final verdict, where it does; `from` names what was replayed.
    fn finish(self, ending: Option<String>, from: &str) -> anyhow::Result<Exit> {
        self.failed?;
        match ending {
            Some(ending) if self.args.output == OutputForm::Text => writeln!(self.out, "{ending}")?,
            Some(ending) => eprintln!("davy: warning: {from}: {ending}"),
            None => {}
        }
        Ok(match self.args.exit_code {
            true => Exit::of(self.verdict),
            false => Exit::Pass,
        })
    }
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

/// A line of the JSON output: the verdict body as its daemon gave it, and what to know of it.
#[derive(Serialize)]
struct JsonLook<'e> {
    #[serde(flatten)]
    body: &'e VerdictBody,
    #[serde(skip_serializing_if = "Option::is_none")]
    engine_changed: Option<EngineChanged>,
}

/// What a replay could not use of its rows.
#[derive(Debug, Default)]
pub struct LeftOut {
    /// Rows whose numbers mean nothing for their metric's kind.
    pub rows: Vec<CsvProblem>,
    /// Rows of metrics that the plan does not have, by name.
    pub unknown_metrics: BTreeMap<String, u64>,
    /// Names of the plan's metrics, to guess what was meant.
    known_metrics: Vec<String>,
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
    let mut left_out = LeftOut::default();
    let samples = samples_of(plan, rows, &id, &mut left_out)?;
    let Some(origin) = samples.iter().map(|sample| sample.ts).min() else {
        match left_out.about_metrics() {
            Some(why) => bail!("the recording holds no sample for this plan: {why}"),
            None => bail!("the recording holds no sample"),
        }
    };
    let start = Start {
        id,
        plan: plan.clone(),
        arms: BTreeMap::from(["baseline", "canary"].map(|arm| (arm.to_owned(), arm.to_owned()))),
        change: replayed_change(),
        idempotency_key: None,
        request_digest: String::new(),
        by: None,
    };
    let effects = engine::apply(&mut state, Input::Start(Box::new(start)), origin);
    if let Some(Effect::Refused(refusal)) = effects.first() {
        bail!(
            "the plan cannot be started on this recording: {}",
            refusal.message
        );
    }
    on_effects(&effects);
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

    /// The sentence about rows of metrics that the plan does not have.
    pub fn about_metrics(&self) -> Option<String> {
        let name = self.unknown_metrics.keys().next()?;
        let count: u64 = self.unknown_metrics.values().sum();
        let others = match self.unknown_metrics.len() - 1 {
            0 => String::new(),
            others => format!(" and {others} more"),
        };
        let known = self.known_metrics.iter().map(String::as_str);
        let help = match nearest(name, known.clone()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("it has {}", one_of(known)),
        };
        Some(format!(
            "{count} rows left out: the plan has no metric {name:?}{others}; {help}"
        ))
    }

    /// Says on standard error what was left out.
    pub fn warn(&self, path: &Path) {
        warn_of_rows(path, &self.rows);
        if let Some(why) = self.about_metrics() {
            eprintln!("davy: warning: {}: {why}", path.display());
        }
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
        namespace: text(),
        service: text(),
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
    left_out: &mut LeftOut,
) -> anyhow::Result<Vec<Sample>> {
    let metric_of = metrics_of_rows(plan, rows);
    let mut samples = Vec::with_capacity(rows.len());
    for row in rows {
        let Some(metric) = metric_of(row)? else {
            let name = row.metric.clone().unwrap_or_default();
            *left_out.unknown_metrics.entry(name).or_default() += 1;
            continue;
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
                left_out.rows.push(problem);
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
    if !left_out.unknown_metrics.is_empty() {
        let names = plan.metrics.iter().map(|metric| metric.name.clone());
        left_out.known_metrics = names.collect();
    }
    samples.sort_by_key(|sample| sample.ts);
    Ok(samples)
}

/// The plan's metric of a row; `None` where the plan does not have it. Where plan and file have
/// one metric each, they mean the same one, whatever its names.
fn metrics_of_rows<'p>(
    plan: &'p Plan,
    rows: &[Row],
) -> impl Fn(&Row) -> anyhow::Result<Option<usize>> + 'p {
    let mut names = rows.iter().filter_map(|row| row.metric.as_deref());
    let first = names.next();
    let is_one = plan.metrics.len() == 1 && names.all(|name| Some(name) == first);
    move |row| match &row.metric {
        _ if is_one => Ok(Some(0)),
        Some(name) => Ok(plan.metric_index(name)),
        None if plan.metrics.len() == 1 => Ok(Some(0)),
        None => bail!(
            "line {} names no metric, and the plan has several: add a column \"metric\"",
            row.line
        ),
    }
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

fn write_look(
    form: OutputForm,
    event: &Event,
    engine_changed: Option<EngineChanged>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    match form {
        OutputForm::Json => {
            let look = JsonLook {
                body: &event.body,
                engine_changed,
            };
            serde_json::to_writer(&mut *out, &look)?;
            writeln!(out)?;
        }
        OutputForm::Text => {
            let elapsed = crate::judge::sentence::span(event.body.elapsed_secs);
            writeln!(out, "{elapsed:>10}  {}", event.body.message)?;
        }
    }
    Ok(())
}
