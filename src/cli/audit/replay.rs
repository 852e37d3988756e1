//! `davy audit replay`: recomputes the verdicts of an analysis from its recording.
//!
//! Owns the comparison: every row of the analysis against what its recording gives, by the digest of
//! the verdict's body, and the verdict of now, field by field. Another engine gives other verdicts:
//! that is told apart from a recording or a row that was changed.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use clap::Args;
use reqwest::{Method, RequestBuilder};
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::OutputForm;
use crate::cli::daemon::{self, DaemonArgs};
use crate::cli::exit::Exit;
use crate::engine::audit::InputsDigest;
use crate::engine::recording;
use crate::engine::{Effect, EventKind};
use crate::http::analyses::TRUNCATED;
use crate::judge::ENGINE_REVISION;
use crate::judge::verdict::VerdictBody;
use crate::store::audit::{Row, sha256};

/// How often all is read where it changes meanwhile.
const READINGS_MAX: usize = 5;

/// Arguments of `davy audit replay`.
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// Id of the analysis
    pub analysis: String,
    /// Whom to ask.
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// Form of the answer.
    #[arg(long, value_enum, default_value_t = OutputForm::Text)]
    pub output: OutputForm,
}

/// What a replay came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Came {
    /// To the same.
    Equal,
    /// To something else, by the same engine; or other inputs than the rows tell of, by any.
    Different,
    /// To something else, by another engine.
    EngineChanged,
}

/// What a replay has to tell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// What it came to.
    pub result: Came,
    /// Revision of the engine that recorded.
    pub recorded_revision: u32,
    /// Revision of this one.
    pub replayed_revision: u32,
    /// Rows that were compared.
    pub rows: usize,
    /// What differs, each with its place: a row, or a path into the verdict.
    pub differences: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// When the daemon cannot be reached, or what it has is not enough to tell.
pub(super) async fn run(args: &ReplayArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let id = &args.analysis;
    let (text, rows, verdict) = read(args).await?;
    let compared = compare(&text, &rows, &verdict)?;
    match args.output {
        OutputForm::Json => writeln!(out, "{}", json!(compared))?,
        OutputForm::Text => {
            let (recorded, replayed) = (compared.recorded_revision, compared.replayed_revision);
            match compared.result {
                Came::Equal => writeln!(out, "equal: {} rows of {id}", compared.rows)?,
                Came::Different => writeln!(out, "different:")?,
                Came::EngineChanged => writeln!(
                    out,
                    "engine changed: recorded by revision {recorded}, replayed by {replayed}:"
                )?,
            }
            for difference in &compared.differences {
                writeln!(out, "  {difference}")?;
            }
        }
    }
    Ok(match compared.result {
        Came::Equal => Exit::Pass,
        Came::Different => Exit::Fail,
        Came::EngineChanged => Exit::Inconclusive,
    })
}

/// Recording, rows and verdict of one moment.
async fn read(args: &ReplayArgs) -> anyhow::Result<(String, Vec<Row>, Value)> {
    let id = &args.analysis;
    let request = |path: &[&str]| args.daemon.request(Method::GET, path, &[]);
    let mut rows = rows_of(&args.daemon, id).await?;
    for _ in 0..READINGS_MAX {
        let (text, verdict) = read_recorded(id, &request).await?;
        let since = rows_of(&args.daemon, id).await?;
        if since.len() == rows.len() {
            return Ok((text, rows, verdict));
        }
        rows = since;
    }
    bail!("{id} changed each time it was read; try again")
}

async fn rows_of(daemon: &DaemonArgs, id: &str) -> anyhow::Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    loop {
        let after = rows.last().map_or(0, |row| row.sequence);
        let more = super::ask(daemon, after, Some(id)).await?;
        if more.is_empty() {
            return Ok(rows);
        }
        rows.extend(more);
    }
}

async fn read_recorded(
    id: &str,
    request: &impl Fn(&[&str]) -> anyhow::Result<RequestBuilder>,
) -> anyhow::Result<(String, Value)> {
    let verdict = daemon::answer(request(&["v1", "analyses", id, "verdict"])?).await?;
    let verdict: Value = verdict.json().await.context("the verdict is no JSON")?;
    ensure!(
        verdict["watch"]["ended"] != json!(false),
        "{id} is watched still, and every tick may change its verdict; replay it when the watch has ended"
    );
    let response = daemon::answer(request(&["v1", "analyses", id, "recording"])?).await?;
    if let Some(bytes) = response.headers().get(TRUNCATED) {
        bail!(
            "the recording of {id} is cut after {} bytes, so nothing can be recomputed from it; \
             raise limits.recording_bytes_max for those to come",
            bytes.to_str().unwrap_or("0")
        );
    }
    let text = response.text().await.context("the recording broke off")?;
    Ok((text, verdict))
}

/// Compares the rows of an analysis, and its verdict of now, with what its recording gives.
///
/// # Errors
/// When the recording cannot be played, or the rows are not enough.
pub fn compare(text: &str, rows: &[Row], verdict: &Value) -> anyhow::Result<Compared> {
    ensure!(
        rows.iter()
            .any(|row| row.entry.kind == EventKind::VerdictFinal.as_str()),
        "the audit log holds no final verdict of it: it is not final yet, or its rows are deleted \
         (store.audit_rows_max)"
    );
    if let Some(row) = rows.iter().find(|row| row.entry.inputs_sha256.is_none()) {
        bail!(
            "row {} tells of an end that no input led to: davy was started again without the sample \
             log, and what had been sent is gone",
            row.sequence
        );
    }
    let mut replayed = Vec::new();
    let mut last = None;
    recording::play(text.lines(), None, |effects| {
        for effect in effects {
            match effect {
                Effect::Audit(audited) => replayed.push((audited.kind, audited.body)),
                Effect::Changed(view) => last = Some(view.body.clone()),
                _ => {}
            }
        }
    })?;
    let mut tampered = other_inputs(text, rows);
    let mut differences = other_verdicts(rows, &replayed)?;
    let last = last.context("the recording holds no analysis")?;
    let mut now = VerdictBody::clone(&last);
    let recorded_revision = rows.last().map_or(0, |row| row.entry.engine_revision);
    now.engine_revision = recorded_revision;
    differ("$", verdict, &serde_json::to_value(&now)?, &mut differences);
    let by_another = |row: &Row| row.entry.engine_revision != ENGINE_REVISION;
    let result = match (tampered.is_empty(), differences.is_empty()) {
        (true, true) => Came::Equal,
        (true, false) if rows.iter().any(by_another) => Came::EngineChanged,
        _ => Came::Different,
    };
    tampered.append(&mut differences);
    Ok(Compared {
        result,
        recorded_revision,
        replayed_revision: ENGINE_REVISION,
        rows: rows.len(),
        differences: tampered,
    })
}

/// Rows that other lines led to than those of the recording: whatever engine plays it.
fn other_inputs(text: &str, rows: &[Row]) -> Vec<String> {
    let mut inputs = InputsDigest::default();
    let mut known = BTreeSet::new();
    for line in text.lines() {
        inputs.add(line);
        known.insert(inputs.to_string());
    }
    let is_other = |row: &&Row| {
        let of = row.entry.inputs_sha256.as_ref();
        !of.is_some_and(|of| known.contains(of))
    };
    rows.iter()
        .filter(is_other)
        .map(|row| format!("{}: the recording holds other inputs", place(row)))
        .collect()
}

fn place(row: &Row) -> String {
    format!("row {}, {}", row.sequence, row.entry.kind)
}

/// Rows that tell something else than the replay: of the last ones, where the first are deleted.
/// Which engine judged is no difference by itself.
fn other_verdicts(
    rows: &[Row],
    replayed: &[(&str, Arc<VerdictBody>)],
) -> serde_json::Result<Vec<String>> {
    let mut differences = Vec::new();
    if rows.len() > replayed.len() {
        let (rows, replayed) = (rows.len(), replayed.len());
        differences.push(format!("{rows} rows, and the recording gives {replayed}"));
    }
    let skipped = replayed.len().saturating_sub(rows.len());
    for (row, (kind, body)) in rows.iter().zip(&replayed[skipped..]) {
        let mut body = VerdictBody::clone(body);
        body.engine_revision = row.entry.engine_revision;
        let digest = sha256(&serde_json::to_vec(&body)?);
        let place = place(row);
        if row.entry.kind != *kind {
            differences.push(format!("{place}: the recording gives {kind}"));
        } else if row.entry.verdict_sha256.as_ref() != Some(&digest) {
            differences.push(format!("{place}: the recording gives another verdict"));
        }
    }
    Ok(differences)
}

/// What differs between two values, by its path.
fn differ(path: &str, recorded: &Value, replayed: &Value, into: &mut Vec<String>) {
    match (recorded, replayed) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let of = |fields: &serde_json::Map<String, Value>| {
                    fields.get(key).cloned().unwrap_or(Value::Null)
                };
                differ(&format!("{path}.{key}"), &of(a), &of(b), into);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differ(&format!("{path}[{index}]"), a, b, into);
            }
        }
        (a, b) if a == b => {}
        (a, b) => into.push(format!("{path}: {a} recorded, {b} replayed")),
    }
}
