//! `davy audit`: verifies, exports and replays what the audit log holds.
//!
//! Owns the arguments, where rows come from, and what is printed. Whether rows are whole is
//! [`crate::store::audit`]'s to say. Next: `replay`, which recomputes a verdict.

pub mod replay;

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::json;

use crate::cli::OutputForm;
use crate::cli::daemon::{self, DaemonArgs};
use crate::cli::exit::Exit;
use crate::store::audit::{Chain, Head, PAGE_MAX, Row, Verified, Wrong};
use crate::store::sql::{AuditFile, ReadError};

/// Arguments of `davy audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What can be done with the audit log.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// See whether every row is as it was written: exit code 1 where not, 2 where it cannot be told
    Verify(VerifyArgs),
    /// Print the last row's number and hash, to be kept elsewhere for verify --head
    Head(FromArgs),
    /// Print the rows, one JSON object a line
    Export(FromArgs),
    /// Recompute the verdicts of an analysis from its recording: exit code 1 where they differ, 2
    /// where the engine changed since
    Replay(replay::ReplayArgs),
}

/// Where the rows are.
#[derive(Debug, Clone, Args)]
pub struct FromArgs {
    /// Folder of the store (store.path), which davy may be using; a daemon is asked unless given
    #[arg(long, value_name = "FOLDER")]
    pub store: Option<PathBuf>,
    /// An export
    #[arg(long, value_name = "FILE", conflicts_with = "store")]
    pub file: Option<PathBuf>,
    /// Whom to ask.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// Arguments of `davy audit verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Where the rows are.
    #[command(flatten)]
    pub from: FromArgs,
    /// What davy audit head printed before: shows that later rows were cut off or written anew
    #[arg(long, value_name = "FILE")]
    pub head: Option<PathBuf>,
    /// Form of the answer.
    #[arg(long, value_enum, default_value_t = OutputForm::Text)]
    pub output: OutputForm,
}

/// Runs the command.
///
/// # Errors
/// When rows cannot be read. Rows that are wrong are an exit code.
pub fn run(args: &AuditArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let runtime = daemon::runtime()?;
    match &args.action {
        Action::Verify(args) => runtime.block_on(verify(args, out)),
        Action::Head(args) => runtime.block_on(head(args, out)),
        Action::Export(args) => runtime.block_on(export(args, out)),
        Action::Replay(args) => runtime.block_on(replay::run(args, out)),
    }
}

/// Rows in their order, some at a time.
enum Rows {
    Store(AuditFile),
    /// With the numbers of the first row, and of the last one so far.
    Daemon(DaemonArgs, u64, u64),
    File(Lines<BufReader<std::fs::File>>),
}

// === impl FromArgs ===

impl FromArgs {
    async fn open(&self) -> anyhow::Result<Rows> {
        Ok(match (&self.store, &self.file) {
            (Some(folder), _) => Rows::Store(AuditFile::open(folder).await?),
            (None, Some(path)) => {
                let file = std::fs::File::open(path);
                let file = file.with_context(|| format!("cannot read {}", path.display()))?;
                Rows::File(BufReader::new(file).lines())
            }
            (None, None) => Rows::Daemon(self.daemon.clone(), 0, 0),
        })
    }
}

// === impl Rows ===

impl Rows {
    /// The next ones; none at the end.
    async fn next(&mut self) -> anyhow::Result<Vec<Row>> {
        match self {
            Rows::Store(file) => file.next().await.map_err(|error| match error {
                ReadError::Wrong(wrong) => wrong.into(),
                ReadError::Store(error) => error.into(),
            }),
            Rows::Daemon(daemon, first, after) => {
                let rows = ask(daemon, *after, None).await?;
                let Some(next) = rows.first().map(|row| row.sequence) else {
                    return Ok(rows);
                };
                if *first == 0 {
                    *first = next;
                } else if next > *after + 1 {
                    // Either they are missing, or davy deletes old ones just now, the first of all.
                    let oldest = ask(daemon, 0, None).await?;
                    ensure!(
                        oldest.first().is_some_and(|row| row.sequence == *first),
                        "davy deleted old rows while they were read (store.audit_rows_max); run it again"
                    );
                }
                *after = rows.last().map_or(*after, |row| row.sequence);
                Ok(rows)
            }
            Rows::File(lines) => {
                let mut rows = Vec::new();
                for line in lines.by_ref().take(PAGE_MAX) {
                    rows.push(row_of(&line.context("the export cannot be read")?)?);
                }
                Ok(rows)
            }
        }
    }
}

/// Rows above a number, from a daemon.
async fn ask(daemon: &DaemonArgs, after: u64, analysis: Option<&str>) -> anyhow::Result<Vec<Row>> {
    let after = after.to_string();
    let mut query = vec![("after", after.as_str())];
    query.extend(analysis.map(|analysis| ("analysis", analysis)));
    let request = daemon.request(Method::GET, &["v1", "audit"], &query)?;
    let text = daemon::answer(request).await?.text().await;
    let text = text.context("the answer broke off")?;
    text.lines().map(row_of).collect()
}

fn row_of(line: &str) -> anyhow::Result<Row> {
    serde_json::from_str(line).with_context(|| {
        let shown: String = line.chars().take(80).collect();
        format!("a line is no row of the audit log: {shown:?}")
    })
}

async fn verify(args: &VerifyArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let exported = args.head.as_ref().map(|path| {
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        let head: Result<Head, _> = serde_json::from_str(&text);
        head.with_context(|| format!("{} is not what davy audit head prints", path.display()))
    });
    let mut rows = args.from.open().await?;
    let found = check(&mut rows, exported.transpose()?).await?;
    let exit = match &found {
        Ok(_) => Exit::Pass,
        Err(Wrong::OldHead { .. }) => Exit::Inconclusive,
        Err(_) => Exit::Fail,
    };
    match (args.output, &found) {
        (OutputForm::Json, Ok(found)) => writeln!(
            out,
            "{}",
            json!({"whole": true, "rows": found.rows, "first": found.first, "head": found.head})
        )?,
        (OutputForm::Json, Err(wrong)) => writeln!(
            out,
            "{}",
            json!({"whole": false, "wrong": wrong.to_string()})
        )?,
        (OutputForm::Text, Ok(found)) => writeln!(
            out,
            "whole: {} rows from row {} on; the head is row {}, {}",
            found.rows, found.first, found.head.sequence, found.head.hash
        )?,
        (OutputForm::Text, Err(wrong)) => writeln!(out, "{wrong}")?,
    }
    Ok(exit)
}

async fn check(rows: &mut Rows, exported: Option<Head>) -> anyhow::Result<Result<Verified, Wrong>> {
    let mut chain = Chain::new(exported);
    loop {
        let some = match rows.next().await {
            Ok(some) => some,
            Err(error) => return error.downcast::<Wrong>().map(Err),
        };
        if some.is_empty() {
            return Ok(chain.finish());
        }
        if let Err(wrong) = some.iter().try_for_each(|row| chain.take(row)) {
            return Ok(Err(wrong));
        }
    }
}

async fn head(args: &FromArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let head = match args.open().await? {
        Rows::Store(file) => Head::of(file.last().await?),
        Rows::Daemon(daemon, ..) => {
            let request = daemon.request(Method::GET, &["v1", "audit", "head"], &[])?;
            let head = daemon::answer(request).await?.json().await;
            head.context("the answer is not the head of an audit log")?
        }
        mut rows @ Rows::File(_) => {
            let mut last = None;
            loop {
                let mut some = rows.next().await?;
                let Some(row) = some.pop() else {
                    break Head::of(last);
                };
                last = Some(row);
            }
        }
    };
    writeln!(out, "{}", json!(head))?;
    Ok(Exit::Pass)
}

async fn export(args: &FromArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let mut rows = args.open().await?;
    loop {
        let some = rows.next().await?;
        if some.is_empty() {
            return Ok(Exit::Pass);
        }
        for row in &some {
            writeln!(out, "{}", serde_json::to_string(row)?)?;
        }
    }
}
