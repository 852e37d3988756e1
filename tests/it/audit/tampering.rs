//! Whatever is done to the rows of a database is found.

use davy::model::Timestamp;
use davy::store::audit::{ANCHOR, Entry, Head, PAGE_MAX, Wrong};
use davy::store::changes::{ChangeOutcome, ChangeTold};
use davy::store::sql::{AuditFile, ReadError};
use davy::store::{Bounds, Commit, Store as _, Write};

use super::{read_in, rows_in, verify};
use crate::store::{begun, bounds, commit, open, run};

fn entry(number: i64) -> Write {
    Write::Audit(Box::new(Entry {
        actor_name: Some("ci".to_owned()),
        actor_given: Some("ada".to_owned()),
        analysis: Some(format!("an_{number}")),
        change: Some("c".to_owned()),
        plan_hash: Some("p".to_owned()),
        reason: "why".to_owned(),
        inputs_sha256: Some("i".to_owned()),
        verdict_sha256: Some("v".to_owned()),
        ..Entry::new(Timestamp(number), "verdict.final")
    }))
}

/// Bounds of a store that keeps so many rows.
fn keeping(audit_rows_max: u64) -> Bounds {
    Bounds {
        audit_rows_max,
        ..bounds(1 << 20, 10)
    }
}

async fn six_rows() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), bounds(1 << 20, 10)).await;
    for number in 1..=6 {
        commit(&store, vec![entry(number)]).await;
    }
    folder
}

#[tokio::test]
async fn an_edit_of_any_column_of_any_row_is_found() {
    let folder = six_rows().await;
    assert!(verify(&rows_in(folder.path()).await, None).is_ok());
    let columns = [
        "at",
        "kind",
        "actor",
        "actor_name",
        "actor_given",
        "analysis",
        "change_id",
        "plan_hash",
        "reason",
        "detail",
        "inputs_sha256",
        "verdict_sha256",
        "engine_revision",
        "previous",
        "hash",
    ];
    for column in columns {
        for row in [1, 3, 6] {
            let is_number = matches!(column, "at" | "engine_revision");
            let (there, back) = match is_number {
                true => (format!("{column} + 1"), format!("{column} - 1")),
                false => (format!("{column} || 'x'"), format!("rtrim({column}, 'x')")),
            };
            let set = |to: &str| format!("UPDATE audit SET {column} = {to} WHERE sequence = {row}");
            run(folder.path(), &set(&there)).await;
            let found = verify(&rows_in(folder.path()).await, None);
            assert_eq!(found, Err(Wrong::Edited(row)), "{column} of row {row}");
            run(folder.path(), &set(&back)).await;
            assert!(
                verify(&rows_in(folder.path()).await, None).is_ok(),
                "{column}"
            );
        }
    }
    for column in ["actor_name", "analysis", "verdict_sha256"] {
        let folder = six_rows().await;
        let set = format!("UPDATE audit SET {column} = NULL WHERE sequence = 2");
        run(folder.path(), &set).await;
        let found = verify(&rows_in(folder.path()).await, None);
        assert_eq!(found, Err(Wrong::Edited(2)), "{column}");
    }
}

#[tokio::test]
async fn insertions_gaps_other_orders_and_a_cut_tail_are_found() {
    let whole = six_rows().await;
    let rows = rows_in(whole.path()).await;
    let last = rows.last().expect("six");
    let head = Head {
        sequence: last.sequence,
        hash: last.hash.clone(),
    };
    let shift = "UPDATE audit SET sequence = sequence + 1000 WHERE sequence > 2;
        UPDATE audit SET sequence = sequence - 999 WHERE sequence > 1000;";
    let copy = "INSERT INTO audit SELECT 3, at, kind, actor, actor_name, actor_given, analysis,
        change_id, plan_hash, reason, detail, inputs_sha256, verdict_sha256, engine_revision,
        previous, hash FROM audit WHERE sequence = 2;";
    let swap = "UPDATE audit SET sequence = 1000 WHERE sequence = 3;
        UPDATE audit SET sequence = 3 WHERE sequence = 4;
        UPDATE audit SET sequence = 4 WHERE sequence = 1000;";
    let close = "DELETE FROM audit WHERE sequence = 3;
        UPDATE audit SET sequence = sequence - 1 WHERE sequence > 3;";
    let missing = |from, to| Wrong::Missing { from, to };
    for (sql, wrong) in [
        (format!("{shift}{copy}"), Wrong::Edited(3)),
        (
            "DELETE FROM audit WHERE sequence = 3".to_owned(),
            missing(3, 3),
        ),
        (
            "DELETE FROM audit WHERE sequence IN (3, 4)".to_owned(),
            missing(3, 4),
        ),
        (
            "DELETE FROM audit WHERE sequence < 3".to_owned(),
            missing(1, 2),
        ),
        (swap.to_owned(), Wrong::Edited(3)),
        (close.to_owned(), Wrong::Edited(3)),
    ] {
        let folder = six_rows().await;
        run(folder.path(), &sql).await;
        assert_eq!(
            verify(&rows_in(folder.path()).await, None),
            Err(wrong),
            "{sql}"
        );
    }
    let folder = six_rows().await;
    run(folder.path(), "DELETE FROM audit WHERE sequence > 4").await;
    let cut = rows_in(folder.path()).await;
    assert!(verify(&cut, None).is_ok(), "only a head shows it");
    let found = verify(&cut, Some(head.clone()));
    assert_eq!(found, Err(Wrong::CutTail { head: 6, last: 4 }));
    // davy goes on where the tail was cut, and the head shows it all the same.
    let store = open(folder.path(), bounds(1 << 20, 10)).await;
    for number in 5..9 {
        commit(&store, vec![entry(number * 10)]).await;
    }
    let found = verify(&rows_in(folder.path()).await, Some(head));
    assert_eq!(found, Err(Wrong::OtherHead(6)));
}

#[tokio::test]
async fn what_the_database_would_not_take_is_found_too() {
    // A row before the first one, and a text where a number is.
    for (sql, column) in [
        ("sequence = -sequence WHERE sequence = 3", "sequence"),
        ("engine_revision = -1 WHERE sequence = 3", "engine_revision"),
        ("at = 'never' WHERE sequence = 3", "at"),
    ] {
        let folder = six_rows().await;
        let edit = format!("PRAGMA ignore_check_constraints = ON; UPDATE audit SET {sql}");
        run(folder.path(), &edit).await;
        let found = read_in(folder.path()).await;
        let sequence = if column == "sequence" { -3 } else { 3 };
        let Err(ReadError::Wrong(wrong)) = found else {
            panic!("{column}: {found:?}");
        };
        assert_eq!(wrong, Wrong::Damaged { sequence, column });
    }
}

#[tokio::test]
async fn what_is_read_while_rows_are_deleted_is_of_one_moment() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), keeping(2_000)).await;
    commit(&store, (1..=2_000).map(entry).collect()).await;
    let mut file = AuditFile::open(folder.path()).await.expect("opens");
    let mut rows = file.next().await.expect("read");
    assert_eq!(rows.len(), PAGE_MAX);
    let mut since = 0;
    for number in 2_001..2_005 {
        let commit = Commit {
            writes: vec![entry(number)],
            ..Commit::default()
        };
        since += store.commit(commit).await.expect("kept").audit_rows_deleted;
    }
    assert!(since > 0, "none was deleted meanwhile");
    loop {
        let more = file.next().await.expect("read");
        if more.is_empty() {
            break;
        }
        rows.extend(more);
    }
    let found = verify(&rows, None).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!((found.rows, found.first), (2_000, 1));
    drop(file);
    let found = verify(&rows_in(folder.path()).await, None);
    assert_eq!(found.map(|found| found.first), Ok(since + 1));
}

#[tokio::test]
async fn a_gap_stops_no_verdict() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), keeping(20)).await;
    commit(&store, (1..=20).map(entry).collect()).await;
    run(
        folder.path(),
        "DELETE FROM audit WHERE sequence IN (2, 3, 4)",
    )
    .await;
    for number in 21..40 {
        commit(&store, vec![entry(number)]).await;
    }
    let rows = rows_in(folder.path()).await;
    assert!(rows.len() <= 20 && rows[0].sequence > 4, "{}", rows.len());
}

#[tokio::test]
async fn the_oldest_rows_go_and_an_anchor_tells_of_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), keeping(20)).await;
    for number in 1..=45 {
        commit(&store, vec![entry(number)]).await;
        let rows = rows_in(folder.path()).await;
        assert!(rows.len() <= 20, "{number}");
        verify(&rows, None).unwrap_or_else(|wrong| panic!("{number}: {wrong}"));
    }
    let rows = rows_in(folder.path()).await;
    assert!(rows[0].sequence > 20 && rows.iter().any(|row| row.entry.kind == ANCHOR));
    let first = rows[0].sequence;
    run(
        folder.path(),
        &format!("DELETE FROM audit WHERE sequence = {first}"),
    )
    .await;
    let (from, to) = (first, first);
    let found = verify(&rows_in(folder.path()).await, None);
    assert_eq!(found, Err(Wrong::Missing { from, to }));
    // Neither anchor nor deletion without the other.
    drop(store);
    let store = open(folder.path(), keeping(20)).await;
    let before = rows_in(folder.path()).await;
    run(
        folder.path(),
        "CREATE TRIGGER kept BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    .await;
    let mut refused = 0;
    for number in 50..60 {
        let commit = Commit {
            writes: vec![entry(number)],
            ..Commit::default()
        };
        refused += u32::from(store.commit(commit).await.is_err());
    }
    assert!(refused > 0, "the bound was never reached");
    let rows = rows_in(folder.path()).await;
    let anchors = |rows: &[davy::store::audit::Row]| {
        rows.iter().filter(|row| row.entry.kind == ANCHOR).count()
    };
    assert_eq!(anchors(&rows), anchors(&before));
}

#[tokio::test]
async fn a_commit_that_fails_leaves_no_row_and_a_row_that_fails_leaves_no_commit() {
    for table in ["events", "audit", "outcomes"] {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(folder.path(), bounds(1 << 20, 10)).await;
        let never = format!(
            "CREATE TRIGGER never BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'no'); END"
        );
        run(folder.path(), &never).await;
        let mut writes = begun("an_1", 1);
        writes.push(entry(1));
        writes.push(Write::Outcome(ChangeTold {
            change: "c".to_owned(),
            namespace: None,
            outcome: ChangeOutcome::Incident,
            actor: None,
            reason: None,
            at: Timestamp(1),
        }));
        let failed = store
            .commit(Commit {
                writes: writes.clone(),
                ..Commit::default()
            })
            .await;
        assert!(failed.is_err(), "{table}");
        assert!(rows_in(folder.path()).await.is_empty(), "{table}");
        assert!(
            store.outcomes("c").await.expect("works").is_empty(),
            "{table}"
        );
        assert!(
            store.analysis("an_1").await.expect("works").is_none(),
            "{table}"
        );
        run(folder.path(), "DROP TRIGGER never").await;
        commit(&store, writes).await;
        assert_eq!(rows_in(folder.path()).await.len(), 1);
        assert_eq!(store.outcomes("c").await.expect("works").len(), 1);
    }
}
