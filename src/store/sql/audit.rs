//! Audit rows: added within the transaction of what they tell, and read.
//!
//! Owns the SQL of it, and a way to read them while davy runs. Next: [`crate::store::audit`], which
//! says what a row is and when it is whole.

use std::path::Path;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyPool, Row as _};

use super::connect::{self, OpenError};
use crate::store::StoreError;
use crate::store::audit::{Anchor, Entry, GENESIS, PAGE_MAX, Row, surplus};

const PUT: &str = "INSERT INTO audit (sequence, at, kind, actor, actor_name, actor_given, analysis,
    change_id, plan_hash, reason, detail, inputs_sha256, verdict_sha256, engine_revision, previous,
    hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";

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
    let row = Row::after(sequence.unsigned_abs(), &hash, entry.clone());
    put(to, &row).await?;
    let first: i64 = sqlx::query_scalar("SELECT MIN(sequence) FROM audit")
        .fetch_one(&mut *to)
        .await?;
    let Some(through) = surplus(first.unsigned_abs(), row.sequence, rows_max) else {
        return Ok(0);
    };
    // The anchor stands before anything goes.
    let through = through as i64;
    let hash: String = sqlx::query_scalar("SELECT hash FROM audit WHERE sequence = $1")
        .bind(through)
        .fetch_one(&mut *to)
        .await?;
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
    Ok((through + 1 - first).unsigned_abs())
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

/// Rows above a number.
pub(super) async fn rows(
    from: &AnyPool,
    analysis: Option<&str>,
    after: u64,
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let limit = limit.clamp(1, PAGE_MAX) as i64;
    let found = match analysis {
        None => sqlx::query(ROWS).bind(after).bind(limit),
        Some(analysis) => sqlx::query(ROWS_OF_ANALYSIS)
            .bind(after)
            .bind(limit)
            .bind(analysis),
    };
    let found = found.fetch_all(from).await?;
    found.iter().map(read).collect()
}

fn read(row: &AnyRow) -> Result<Row, StoreError> {
    let sequence: i64 = row.try_get("sequence")?;
    let damaged = |column: &str, error: &dyn std::fmt::Display| StoreError {
        message: format!("row {sequence} of the audit log was edited: {column}: {error}"),
    };
    let text = |column: &str| {
        let found: Result<String, _> = row.try_get(column);
        found.map_err(|error| damaged(column, &error))
    };
    let maybe = |column: &str| {
        let found: Result<Option<String>, _> = row.try_get(column);
        found.map_err(|error| damaged(column, &error))
    };
    let number = |column: &str| {
        let found: Result<i64, _> = row.try_get(column);
        found.map_err(|error| damaged(column, &error))
    };
    let revision = number("engine_revision")?;
    Ok(Row {
        sequence: u64::try_from(sequence).map_err(|error| damaged("sequence", &error))?,
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
            engine_revision: u32::try_from(revision)
                .map_err(|error| damaged("engine_revision", &error))?,
        },
        previous: text("previous")?,
        hash: text("hash")?,
    })
}

/// The audit log in the folder of a davy, which may run meanwhile. Nothing is written.
#[derive(Debug)]
pub struct AuditFile {
    reader: AnyPool,
}

// === impl AuditFile ===

impl AuditFile {
    /// Opens the database in a folder.
    ///
    /// # Errors
    /// What keeps it from being opened, and what to do.
    pub async fn open(folder: &Path) -> Result<AuditFile, OpenError> {
        let reader = connect::open_to_read(folder).await?;
        Ok(AuditFile { reader })
    }

    /// Rows above a number, in order, at most [`PAGE_MAX`].
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn rows(&self, analysis: Option<&str>, after: u64) -> Result<Vec<Row>, StoreError> {
        rows(&self.reader, analysis, after, PAGE_MAX).await
    }

    /// The last row.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn last(&self) -> Result<Option<Row>, StoreError> {
        let last = sqlx::query("SELECT * FROM audit ORDER BY sequence DESC LIMIT 1");
        let last = last.fetch_optional(&self.reader).await?;
        last.as_ref().map(read).transpose()
    }
}
