//! What a store in a database keeps over a restart, refuses, and leaves out where a part fails.

use std::path::Path;

use davy::engine::{EventKind, Input, Limits, State, apply};
use davy::judge::verdict::Status;
use davy::model::Timestamp;
use davy::store::sql::SqlStore;
use davy::store::{Bounds, Commit, Filter, Letters, Outbox as _, Settlement, Store as _, Write};
use sqlx::any::AnyPoolOptions;

use super::{begun, bounds, commit, delivery, letters, open, plan, run, start, view_of, writes};

async fn count(folder: &Path, sql: &'static str) -> i64 {
    let address = format!("sqlite:{}/davy.db", folder.display());
    let pool = AnyPoolOptions::new()
        .connect(&address)
        .await
        .expect("opens");
    let count = sqlx::query_scalar(sql).fetch_one(&pool).await;
    pool.close().await;
    count.expect("a number")
}

/// An analysis from its start to its end.
fn cancelled(id: &str, at: i64) -> Vec<Write> {
    let mut state = State::new(Limits::default());
    let mut effects = apply(&mut state, Input::Start(Box::new(start(id))), Timestamp(at));
    let cancel = Input::Cancel {
        by: None,
        analysis: id.into(),
        actor: None,
        reason: None,
    };
    effects.extend(apply(&mut state, cancel, Timestamp(at + 1)));
    writes(effects)
}

#[tokio::test]
async fn a_database_that_is_opened_again_holds_what_was_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), bounds(1 << 20, 10)).await;
    commit(&store, cancelled("an_1", 1)).await;
    commit(&store, begun("an_2", 2)).await;
    let sent = ["1", "2", "3", "4"].map(|id| Write::Deliver(delivery(id, "an_1", "e")));
    commit(&store, sent.into()).await;
    let claimed = store.claim("e", Timestamp(5), Timestamp(50), 1).await;
    assert_eq!(claimed.expect("works")[0].id, "1");
    let dead = Settlement::Dead {
        error: "gone".into(),
        at: Timestamp(6),
    };
    store.settle("2", dead).await.expect("works");
    let retry = Settlement::Retry { due: Timestamp(70) };
    store.settle("3", retry).await.expect("works");
    let dead = letters(&store, 10).await;
    let before = store
        .list(&Filter::default(), None, 10)
        .await
        .expect("works");
    let events = store
        .events_after("an_1", 0)
        .await
        .expect("works")
        .expect("known");
    drop(store);

    let store = open(folder.path(), bounds(1 << 20, 10)).await;
    let after = store
        .list(&Filter::default(), None, 10)
        .await
        .expect("works");
    let json = |page: &davy::store::Page| serde_json::to_string(&page.analyses).expect("plain");
    assert_eq!(json(&after), json(&before));
    assert_eq!(after.analyses[1].status, Status::Final);
    let again = store
        .events_after("an_1", 0)
        .await
        .expect("works")
        .expect("known");
    assert_eq!(again.events, events.events);
    assert_eq!(
        again.events.last().map(|event| event.kind),
        Some(EventKind::VerdictFinal)
    );
    assert_eq!(letters(&store, 10).await, dead);
    assert_eq!(dead[0].id, "2");
    assert_eq!(store.depth().await.expect("works"), 3);
    let claim = async |now| {
        store
            .claim("e", Timestamp(now), Timestamp(now + 1), 9)
            .await
            .expect("works")
    };
    // The lease ended with the process that had it.
    assert_eq!(claim(6).await, [delivery("1", "an_1", "e")]);
    store
        .settle("1", Settlement::Delivered)
        .await
        .expect("works");
    assert!(claim(69).await.is_empty(), "3 waits as it was told to");
    assert_eq!(claim(70).await[0].attempts, 1);
    // It had a recording, which is gone.
    let recording = store
        .recording("an_1")
        .await
        .expect("works")
        .expect("known");
    assert_eq!(
        (recording.bytes, recording.truncated_at_bytes),
        (0, Some(0))
    );
    let live: Vec<String> = store
        .live_analyses()
        .iter()
        .map(|view| view.id.clone())
        .collect();
    assert_eq!(live, ["an_2"]);
}

#[tokio::test]
async fn what_only_samples_changed_is_not_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), bounds(1 << 20, 10)).await;
    commit(&store, begun("an_1", 1)).await;
    run(
        folder.path(),
        "CREATE TRIGGER never BEFORE UPDATE ON analyses BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    .await;
    let mut view = view_of(&store, "an_1").await;
    view.received[0].canary = 7;
    commit(&store, vec![Write::View(Box::new(view.clone()))]).await;
    assert_eq!(view_of(&store, "an_1").await.received[0].canary, 7);
    view.status = Status::Running;
    let writes = vec![Write::View(Box::new(view))];
    let refused = store
        .commit(Commit {
            writes,
            ..Commit::default()
        })
        .await
        .expect_err("it must be written");
    assert!(refused.message.contains("no"), "{refused}");
}

#[tokio::test]
async fn a_commit_that_fails_half_way_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), bounds(1 << 20, 10)).await;
    commit(&store, begun("an_0", 1)).await;
    run(
        folder.path(),
        "CREATE TRIGGER full BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'full'); END",
    )
    .await;
    let mut writes = cancelled("an_1", 1);
    writes.push(Write::Plan(plan()));
    writes.push(Write::Forget("an_0".into()));
    writes.push(Write::Deliver(delivery("1", "an_1", "e")));
    store
        .commit(Commit {
            writes,
            ..Commit::default()
        })
        .await
        .expect_err("the last part fails");
    assert!(store.analysis("an_1").await.expect("works").is_none());
    assert!(store.recording("an_1").await.expect("works").is_none());
    assert!(
        store
            .events_after("an_1", 0)
            .await
            .expect("works")
            .is_none()
    );
    assert!(store.analysis("an_0").await.expect("works").is_some());
    assert!(store.recording("an_0").await.expect("works").is_some());
    assert_eq!(store.depth().await.expect("works"), 0);
    assert_eq!(count(folder.path(), "SELECT COUNT(*) FROM plans").await, 0);
    run(folder.path(), "DROP TRIGGER full").await;
    let mut writes = cancelled("an_1", 1);
    writes.push(Write::Deliver(delivery("1", "an_1", "e")));
    assert!(
        commit(&store, writes).await.is_empty(),
        "the same again, once there is room"
    );
    assert_eq!(store.depth().await.expect("works"), 1);
}

#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(open(folder.path(), bounds(0, 1)).await);
    run(
        folder.path(),
        "INSERT INTO davy_schema (version) VALUES (7)",
    )
    .await;
    let refused = SqlStore::open(folder.path(), &bounds(0, 1), 1).await;
    let message = refused.expect_err("it is newer").to_string();
    for part in [
        "davy.db has schema 7",
        "knows schemas up to 1",
        "run that version",
        "backup",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test]
async fn what_cannot_be_opened_says_where_and_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a b?c#%41ü");
    let store = open(&path, bounds(0, 1)).await;
    assert!(path.join("davy.db").is_file(), "whatever the folder's name");
    let refused = async |path: &Path| {
        let refused = SqlStore::open(path, &bounds(0, 1), 1).await;
        refused.expect_err("refused").to_string()
    };
    let message = refused(&path).await;
    assert!(
        message.contains("another davy uses the folder"),
        "{message}"
    );
    assert!(message.contains(&path.display().to_string()), "{message}");
    drop(store);
    let file = folder.path().join("file");
    std::fs::write(&file, "x").expect("written");
    let message = refused(&file).await;
    assert!(message.contains("it must be a folder"), "{message}");
    let damaged = folder.path().join("damaged");
    std::fs::create_dir(&damaged).expect("made");
    std::fs::write(damaged.join("davy.db"), "no database".repeat(1_000)).expect("written");
    let message = refused(&damaged).await;
    assert!(message.contains("damaged/davy.db"), "{message}");
    assert!(message.contains("put a backup in its place"), "{message}");
}

#[tokio::test]
async fn analyses_of_earlier_processes_are_retained_within_the_bound() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqlStore::open(folder.path(), &bounds(1 << 20, 1), 2)
        .await
        .expect("opens");
    for (id, at) in [("an_3", 3), ("an_1", 1), ("an_4", 40)] {
        let mut writes = cancelled(id, at);
        writes.push(Write::Plan(plan()));
        commit(&store, writes).await;
    }
    commit(&store, begun("an_0", 0)).await;
    drop(store);
    let store = SqlStore::open(folder.path(), &bounds(1 << 20, 1), 2)
        .await
        .expect("opens");
    commit(&store, cancelled("an_5", 50)).await;
    let page = store
        .list(&Filter::default(), None, 10)
        .await
        .expect("works");
    let ids: Vec<&str> = page.analyses.iter().map(|view| view.id.as_str()).collect();
    assert_eq!(ids, ["an_5", "an_4", "an_0"], "what runs does not count");
    assert!(store.recording("an_3").await.expect("works").is_none());
    let events = "SELECT COUNT(DISTINCT analysis) FROM events";
    assert_eq!(count(folder.path(), events).await, 3);
    let plans = "SELECT COUNT(*) FROM plans";
    assert_eq!(count(folder.path(), plans).await, 1, "others ran on it");
    for id in ["an_5", "an_4", "an_0"] {
        commit(&store, vec![Write::Forget(id.into())]).await;
    }
    assert_eq!(count(folder.path(), plans).await, 0);
}

#[tokio::test]
async fn a_hundred_thousand_that_wait_slow_nothing_down() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(open(folder.path(), bounds(0, 1)).await);
    // Ten of each analysis, as `put` writes them.
    run(
        folder.path(),
        "WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 99999)
        INSERT INTO outbox SELECT n, 'd' || n, 'e', 'a' || (n / 10), 'verdict.final', 0, 0, '{}',
            0, 0, 0, CASE WHEN n % 10 = 0 THEN 1 ELSE 0 END FROM n;
        INSERT INTO outbox_counts VALUES ('e', 100000);",
    )
    .await;
    let store = open(folder.path(), bounds(0, 1_000_000)).await;
    let working = async {
        for round in 0..200 {
            let now = Timestamp(1 + round);
            let claimed = store.claim("e", now, Timestamp(1_000), 2).await;
            let claimed = claimed.expect("works");
            assert_eq!(claimed.len(), 2);
            let delivered = Settlement::Delivered;
            store
                .settle(&claimed[0].id, delivered)
                .await
                .expect("works");
            let due = Timestamp(2_000);
            let retry = Settlement::Retry { due };
            store.settle(&claimed[1].id, retry).await.expect("works");
            let next = store.next_due("e").await.expect("works");
            assert_eq!(next, Some(Timestamp(0)));
            let more = delivery(&format!("x{round}"), "x", "e");
            commit(&store, vec![Write::Deliver(more)]).await;
            let depth = store.depth().await.expect("works");
            assert_eq!(depth, 100_000, "one went and one came");
        }
    };
    // A fifth of a second where only what is asked for is read; half a minute where a claim or a
    // count reads all that wait.
    let limit = std::time::Duration::from_secs(10);
    tokio::time::timeout(limit, working)
        .await
        .expect("it does not depend on how many wait");
}

#[tokio::test]
async fn a_letter_that_is_put_back_outlives_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), bounds(0, 10)).await;
    commit(&store, vec![Write::Deliver(delivery("1", "x", "e"))]).await;
    let dead = Settlement::Dead {
        error: "gone".into(),
        at: Timestamp(6),
    };
    store.settle("1", dead).await.expect("works");
    drop(store);
    let store = open(folder.path(), bounds(0, 10)).await;
    let told = store.redeliver(Letters::One("1"), Timestamp(70)).await;
    assert_eq!(told.expect("works").queued, 1);
    drop(store);
    let store = open(folder.path(), bounds(0, 10)).await;
    assert!(letters(&store, 10).await.is_empty());
    let claimed = store.claim("e", Timestamp(70), Timestamp(80), 9).await;
    let claimed = claimed.expect("works");
    assert_eq!(
        (claimed[0].id.as_str(), claimed[0].queued_at),
        ("1", Timestamp(70))
    );
}

const PAGES: &str = "SELECT page_count FROM pragma_page_count";

#[tokio::test]
async fn room_of_deleted_rows_is_given_back_past_what_is_kept() {
    for (free_bytes_max, is_given_back) in [(0, true), (1 << 30, false)] {
        let folder = tempfile::tempdir().expect("a folder");
        let bounds = Bounds {
            free_bytes_max,
            ..bounds(1 << 20, 10)
        };
        let store = SqlStore::open(folder.path(), &bounds, 1_000).await;
        let store = store.expect("opens");
        for number in 0..300 {
            let mut writes = begun(&format!("an_{number}"), number);
            for write in &mut writes {
                if let Write::View(view) = write {
                    view.change.owner = Some("x".repeat(4_000));
                }
            }
            commit(&store, writes).await;
        }
        let full = count(folder.path(), PAGES).await;
        for number in 0..300 {
            commit(&store, vec![Write::Forget(format!("an_{number}"))]).await;
        }
        let left = count(folder.path(), PAGES).await;
        assert_eq!(left * 2 < full, is_given_back, "{left} of {full} pages");
    }
}
