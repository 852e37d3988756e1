//! The audit log from outside: rows of a real davy and its database, tampered with as one would who
//! may write to it.

mod commands;
mod people;
mod tampering;

use std::path::Path;

use davy::store::audit::{Chain, Head, PAGE_MAX, Row, Verified, Wrong};
use davy::store::sql::AuditFile;

/// All rows in a folder.
pub async fn rows_in(folder: &Path) -> Vec<Row> {
    let file = AuditFile::open(folder).await;
    let file = file.unwrap_or_else(|error| panic!("{error}"));
    let mut rows: Vec<Row> = Vec::new();
    loop {
        let after = rows.last().map_or(0, |row| row.sequence);
        let more = file.rows(None, after).await.expect("they are read");
        let is_end = more.len() < PAGE_MAX;
        rows.extend(more);
        if is_end {
            return rows;
        }
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
