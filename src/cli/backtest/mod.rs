//! `davy backtest`: judge a manifest of labelled recordings, and count what came out.
//!
//! Owns the drive over the cases, on every core. Without a plan, each case gets the one that
//! `derive` makes of its kind and size. Two forms need no manifest: `--splits` is `splits`' own, and
//! `--from-store`, one's own past deployments, `past`'s. Next: `manifest`, `derive`, `report`.

mod derive;
mod manifest;
mod past;
mod report;
pub mod splits;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::replay;
use crate::cli::{OutputForm, progress};
use crate::codec::csv::Row;
use crate::engine::{Effect, EventKind};
use crate::judge::verdict::VerdictBody;
use crate::model::{Outcome, Reason};
use crate::plan::Plan;
use manifest::{Case, Direction, MetricWord, Truth};

/// Arguments of `davy backtest`.
#[derive(Debug, Args)]
pub struct BacktestArgs {
    /// Labelled cases: JSON with `cases`, each with `case`, `file`, `truth`, `metric_kind`,
    /// `direction` and more; paths are relative to the manifest.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["splits", "from_store"])]
    pub manifest: Option<PathBuf>,
    /// Judge random A/A splits of one healthy recording instead, and count false verdicts: CSV
    /// with unit,ts,value and perhaps weight; rows without a unit are units of their own.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["manifest", "plan"])]
    pub splits: Option<PathBuf>,
    /// Judge the analyses that a davy has in its store, with what became of their changes as truth.
    #[arg(long, conflicts_with_all = ["manifest", "splits"])]
    pub from_store: bool,
    /// Which of them.
    #[command(flatten)]
    pub past: past::PastArgs,
    /// Print every case with its reason and what each check found, not only the unacceptable ones.
    #[arg(long, conflicts_with = "splits")]
    pub explain: bool,
    /// How to split.
    #[command(flatten)]
    pub split: splits::SplitArgs,
    /// Judge every case under this plan instead of one derived from its kind, or the one that it had.
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// Form of the output.
    #[arg(long, value_enum, default_value_t = OutputForm::Text)]
    pub output: OutputForm,
}

/// One case's result.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Judged {
    case: String,
    truth: Truth,
    #[serde(skip_serializing_if = "Option::is_none")]
    subtype: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<String>,
    scored: bool,
    verdict: Outcome,
    /// Seconds since the start of the recording.
    decided_at: f64,
    reason: Reason,
    acceptable: bool,
    /// What it was judged then.
    #[serde(skip_serializing_if = "Option::is_none")]
    then: Option<Outcome>,
    message: String,
    checks: Vec<CheckSummary>,
}

/// What one check found, in short.
#[derive(Debug, Clone, Serialize)]
pub(super) struct CheckSummary {
    check: String,
    verdict: Outcome,
    reason: Reason,
    message: String,
    estimate: Option<f64>,
    interval: [Option<f64>; 2],
    factors: std::collections::BTreeMap<String, f64>,
}

/// Runs the command.
pub fn run(args: &BacktestArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    if let Some(path) = &args.splits {
        return splits::run(path, &args.split, args.output, out);
    }
    let plan = args
        .plan
        .as_deref()
        .map(replay::read_plan)
        .transpose()?
        .map(Arc::new);
    let judged = match args.from_store {
        true => past::judge(&args.past, plan.as_ref())?,
        false => judge_manifest(args, plan.as_ref())?,
    };
    match args.output {
        OutputForm::Json => report::json(&judged, out)?,
        OutputForm::Text => report::text(&judged, args.explain, out)?,
    }
    Ok(Exit::Pass)
}

fn judge_manifest(args: &BacktestArgs, plan: Option<&Arc<Plan>>) -> anyhow::Result<Vec<Judged>> {
    let path = args.manifest.as_deref();
    let path = path.context("name labelled cases with --manifest FILE")?;
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let cases = manifest::read(&text)
        .with_context(|| format!("{} is not a manifest of cases", path.display()))?;
    if cases.is_empty() {
        bail!(
            "{}: the manifest has no cases, so there is nothing to judge",
            path.display()
        );
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    judge_all(&cases, usize::MAX, |case| {
        judge_case(case, folder, plan).with_context(|| format!("case {}", case.case))
    })
}

/// Judges the cases on every core, so many at most; results keep their order.
fn judge_all<C: Sync, J: Send>(
    cases: &[C],
    workers_max: usize,
    judge: impl Fn(&C) -> anyhow::Result<J> + Sync,
) -> anyhow::Result<Vec<J>> {
    let bar = progress::bar(cases.len() as u64, "cases");
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, anyhow::Result<J>)>> = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = workers.min(workers_max);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(index) else { break };
                    let result = judge(case);
                    bar.inc(1);
                    if let Ok(mut results) = results.lock() {
                        results.push((index, result));
                    }
                }
            });
        }
    });
    bar.finish_and_clear();
    let mut results = results.into_inner().unwrap_or_default();
    results.sort_by_key(|&(index, _)| index);
    results.into_iter().map(|(_, result)| result).collect()
}

fn judge_case(case: &Case, folder: &Path, plan: Option<&Arc<Plan>>) -> anyhow::Result<Judged> {
    let path = folder.join(&case.file);
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let rows = replay::read_rows(&path, &bytes)?;
    let derived = match plan {
        Some(plan) => {
            let length = length_secs(&rows);
            derive::Derived {
                plan: plan.clone(),
                rows,
                secs_per_plan_sec: 1.0,
                length_secs: length,
            }
        }
        None => derive::derive(case, rows),
    };
    let body = final_verdict(&derived, &path)?;
    let (verdict, reason, checks, message) = match &body {
        Some(body) => (
            body.verdict,
            body.reason,
            body.checks.iter().map(CheckSummary::of).collect(),
            body.message.clone(),
        ),
        None => (
            Outcome::Inconclusive,
            Reason::NoTelemetry,
            Vec::new(),
            String::new(),
        ),
    };
    let elapsed = body.as_ref().map_or(0.0, |body| body.elapsed_secs);
    Ok(Judged {
        case: case.case.clone(),
        truth: case.truth,
        subtype: case.subtype.clone(),
        tier: case.tier.clone(),
        scored: case.scored && case.truth != Truth::Unknown,
        verdict,
        decided_at: (elapsed * derived.secs_per_plan_sec).min(derived.length_secs),
        reason,
        acceptable: case.accepts(verdict),
        then: None,
        message,
        checks,
    })
}

fn final_verdict(derived: &derive::Derived, path: &Path) -> anyhow::Result<Option<VerdictBody>> {
    if derived.rows.is_empty() {
        return Ok(None);
    }
    let mut last = None;
    let left_out = replay::replay_rows(&derived.plan, &derived.rows, |effects| {
        for effect in effects {
            if let Effect::Event(event) = effect
                && event.kind == EventKind::VerdictFinal
            {
                last = Some((*event.body).clone());
            }
        }
    })?;
    left_out.warn(path);
    Ok(last)
}

/// Time between the first and the last row.
pub(super) fn length_secs(rows: &[Row]) -> f64 {
    let secs = rows.iter().filter_map(|row| row.secs);
    let (low, high) = secs.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), secs| {
        (low.min(secs), high.max(secs))
    });
    (high - low).max(0.0)
}

// === impl CheckSummary ===

impl CheckSummary {
    fn of(finding: &crate::judge::verdict::Finding) -> CheckSummary {
        CheckSummary {
            check: finding.check.clone(),
            verdict: finding.verdict,
            reason: finding.reason,
            message: finding.message.clone(),
            estimate: finding.estimate,
            interval: finding.interval,
            factors: finding.factors.clone(),
        }
    }
}
