//! Audit rows: added within the transaction of what they tell, and read.
//!
//! Owns the SQL of it, and a way to read them while davy runs. Next: [`crate::store::audit`], which
//! says what a row is and when it is whole.

use std::path::Path;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyPool, Row as _};

use super::connect::{self, OpenError};
use crate::store::StoreError;
use crate::store::audit::{Anchor, Entry, GENESIS, PAGE_MAX, Row, Wrong, surplus};

const PUT: &str = "INSERT INTO audit (sequence, at, kind, actor, actor_name, actor_given, analysis,
    change_id, plan_hash, reason, detail, inputs_sha256, verdict_sha256, engine_revision, previous,
    hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";

const LAST_THROUGH: &str =
    "SELECT sequence, hash FROM audit WHERE sequence <= $1 ORDER BY sequence DESC LIMIT 1";

const ROWS: &str = "SELECT * FROM audit WHERE sequence > $1 ORDER BY sequence LIMIT $2";
const ROWS_OF_ANALYSIS: &str =
    "SELECT * FROM audit WHERE sequence > $1 AND analysis = $3 ORDER BY sequence LIMIT $2";

/// Adds a row, and deletes the oldest where there are too many; how many.
pub(super) async fn append(
    to: &mut AnyConnection,
    entry: &Entry,
    rows_max: u64,
) -> Result<u64, StoreError> {
    let last: Option<(i64, String)> =
        sqlx::query_as("SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1")
            .fetch_optional(&mut *to)
            .await?;
    let (sequence, hash) = last.unwrap_or((0, GENESIS.to_owned()));
    let sequence = u64::try_from(sequence).unwrap_or(0);
    let row = Row::after(sequence, &hash, entry.clone());
    put(to, &row).await?;
    let first: i64 = sqlx::query_scalar("SELECT MIN(sequence) FROM audit")
        .fetch_one(&mut *to)
        .await?;
    let first = first.max(1);
    let Some(through) = surplus(first.unsigned_abs(), row.sequence, rows_max) else {
        return Ok(0);
    };
    // The anchor stands before anything goes.
    let through = through as i64;
    // Where somebody deleted that row, the one before it stands for it: verdicts go on, and the gap is
    // for those to see who verify.
    let gone: Option<(i64, String)> = sqlx::query_as(LAST_THROUGH)
        .bind(through)
        .fetch_optional(&mut *to)
        .await?;
    let Some((through, hash)) = gone else {
        return Ok(0);
    };
    let anchor = Anchor {
        deleted_through: through.unsigned_abs(),
        hash,
    };
    let anchor = Entry::anchor(entry.at, &anchor);
    put(to, &Row::after(row.sequence, &row.hash, anchor)).await?;
    sqlx::query("DELETE FROM audit WHERE sequence <= $1")
        .bind(through)
        .execute(to)
        .await?;
    Ok(u64::try_from(through + 1 - first).unwrap_or(0))
}

async fn put(to: &mut AnyConnection, row: &Row) -> Result<(), StoreError> {
    let entry = &row.entry;
    sqlx::query(PUT)
        .bind(i64::try_from(row.sequence).unwrap_or(i64::MAX))
        .bind(entry.at)
        .bind(entry.kind.as_str())
        .bind(entry.actor.as_str())
        .bind(entry.actor_name.as_deref())
        .bind(entry.actor_given.as_deref())
        .bind(entry.analysis.as_deref())
        .bind(entry.change.as_deref())
        .bind(entry.plan_hash.as_deref())
        .bind(entry.reason.as_str())
        .bind(entry.detail.as_str())
        .bind(entry.inputs_sha256.as_deref())
        .bind(entry.verdict_sha256.as_deref())
        .bind(i64::from(entry.engine_revision))
        .bind(row.previous.as_str())
        .bind(row.hash.as_str())
        .execute(to)
        .await?;
    Ok(())
}

/// Rows above a number, in order, at most `limit` (to [`PAGE_MAX`]).
pub(super) async fn rows(
    from: &AnyPool,
    analysis: Option<&str>,
    after: i64,
    limit: usize,
) -> Result<Vec<Row>, ReadError> {
    let limit = limit.clamp(1, PAGE_MAX) as i64;
    let found = match analysis {
        None => sqlx::query(ROWS).bind(after).bind(limit),
        Some(analysis) => sqlx::query(ROWS_OF_ANALYSIS)
            .bind(after)
            .bind(limit)
            .bind(analysis),
    };
    let found = found.fetch_all(from).await?;
    found.iter().map(|row| Ok(read(row)?)).collect()
}

fn read(row: &AnyRow) -> Result<Row, Wrong> {
    let sequence: i64 = row.try_get("sequence").unwrap_or(0);
    let damaged = |column: &'static str| Wrong::Damaged { sequence, column };
    let text = |column: &'static str| {
        let found: Result<String, _> = row.try_get(column);
        found.map_err(|_| damaged(column))
    };
    let maybe = |column: &'static str| {
        let found: Result<Option<String>, _> = row.try_get(column);
        found.map_err(|_| damaged(column))
    };
    let number = |column: &'static str| {
        let found: Result<i64, _> = row.try_get(column);
        found.map_err(|_| damaged(column))
    };
    let revision = number("engine_revision")?;
    Ok(Row {
        sequence: u64::try_from(sequence).map_err(|_| damaged("sequence"))?,
        entry: Entry {
            at: number("at")?,
            kind: text("kind")?,
            actor: text("actor")?,
            actor_name: maybe("actor_name")?,
            actor_given: maybe("actor_given")?,
            analysis: maybe("analysis")?,
            change: maybe("change_id")?,
            plan_hash: maybe("plan_hash")?,
            reason: text("reason")?,
            detail: text("detail")?,
            inputs_sha256: maybe("inputs_sha256")?,
            verdict_sha256: maybe("verdict_sha256")?,
            engine_revision: u32::try_from(revision).map_err(|_| damaged("engine_revision"))?,
        },
        previous: text("previous")?,
        hash: text("hash")?,
    })
}

/// Why rows could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database said so.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// They are not what davy writes.
    #[error(transparent)]
    Wrong(#[from] Wrong),
}

/// The audit log in the folder of a davy, which may run meanwhile: what is read is as it was when
/// the first row was. Nothing is written.
#[derive(Debug)]
pub struct AuditFile {
    reader: AnyPool,
    /// Number of the last row that was read. No row has one below 1, and one that has is seen.
    after: i64,
}

// === impl ReadError ===

impl From<sqlx::Error> for ReadError {
    fn from(error: sqlx::Error) -> ReadError {
        ReadError::Store(error.into())
    }
}

impl From<ReadError> for StoreError {
    fn from(error: ReadError) -> StoreError {
        match error {
            ReadError::Store(error) => error,
            ReadError::Wrong(wrong) => StoreError {
                message: wrong.to_string(),
            },
        }
    }
}

// === impl AuditFile ===

impl AuditFile {
    /// Opens the database in a folder.
    ///
    /// # Errors
    /// What keeps it from being opened, and what to do.
    pub async fn open(folder: &Path) -> Result<AuditFile, OpenError> {
        let reader = connect::open_to_read(folder).await?;
        Ok(AuditFile {
            reader,
            after: i64::MIN,
        })
    }

    /// The next rows in order, at most [`PAGE_MAX`]; none at the end.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn next(&mut self) -> Result<Vec<Row>, ReadError> {
        let rows = rows(&self.reader, None, self.after, PAGE_MAX).await?;
        let last = rows.last().map(|row| row.sequence);
        self.after = last.map_or(self.after, |last| i64::try_from(last).unwrap_or(i64::MAX));
        Ok(rows)
    }

    /// The last row.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn last(&self) -> Result<Option<Row>, ReadError> {
        last(&self.reader).await
    }
}

/// The last row.
pub(super) async fn last(from: &AnyPool) -> Result<Option<Row>, ReadError> {
    let last = sqlx::query("SELECT * FROM audit ORDER BY sequence DESC LIMIT 1");
    let last = last.fetch_optional(from).await?;
    Ok(last.as_ref().map(read).transpose()?)
}
