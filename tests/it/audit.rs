//! The audit log from outside: rows of a real davy and its database, tampered with as one would who
//! may write to it.

mod commands;
mod people;
mod tampering;

use std::path::Path;

use davy::store::audit::{Chain, Head, Row, Verified, Wrong};
use davy::store::sql::{AuditFile, ReadError};

/// All rows in a folder.
pub async fn rows_in(folder: &Path) -> Vec<Row> {
    read_in(folder)
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

/// All rows in a folder, or why they cannot be read.
pub async fn read_in(folder: &Path) -> Result<Vec<Row>, ReadError> {
    let file = AuditFile::open(folder).await;
    let mut file = file.unwrap_or_else(|error| panic!("{error}"));
    let mut rows: Vec<Row> = Vec::new();
    loop {
        let more = file.next().await?;
        if more.is_empty() {
            return Ok(rows);
        }
        rows.extend(more);
    }
}

/// What is wrong with rows.
pub fn verify(rows: &[Row], exported: Option<Head>) -> Result<Verified, Wrong> {
    let mut chain = Chain::new(exported);
    rows.iter().try_for_each(|row| chain.take(row))?;
    chain.finish()
}

/// Fails where the rows in a folder are not whole, or an analysis has not one final verdict.
pub async fn assert_whole(folder: &Path, analyses: &[&str]) {
    let rows = rows_in(folder).await;
    let found = verify(&rows, None).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!((found.rows, found.first), (rows.len() as u64, 1));
    for analysis in analyses {
        let of_it = rows
            .iter()
            .filter(|row| row.entry.analysis.as_deref() == Some(analysis));
        for kind in ["analysis.started", "verdict.final"] {
            let count = of_it.clone().filter(|row| row.entry.kind == kind).count();
            assert_eq!(count, 1, "{kind} of {analysis}: {rows:?}");
        }
    }
}
