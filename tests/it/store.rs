//! The stores: what they do alike, and what only one that lasts can be asked.
//!
//! Owns how a test opens a store and what it writes into it.

mod conformance;
mod lasting;
mod outbox;
mod redelivery;
mod views;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use davy::config::plan_file::parse_plan;
use davy::engine::{AnalysisView, Effect, Input, Limits, Start, State, apply};
use davy::model::{Change, Timestamp};
use davy::plan::Plan;
use davy::store::memory::MemoryStore;
use davy::store::sql::SqlStore;
use davy::store::{Bounds, Commit, DeadLetter, Delivery, LetterFilter, Outbox, Store, Write};
use sqlx::AssertSqlSafe;
use sqlx::any::AnyPoolOptions;
use tempfile::TempDir;

/// Analyses that take no samples, kept by the store of a test.
const RETAINED_MAX: u64 = 1_000;

/// A store as the daemon uses it.
pub trait Kept: Store + Outbox {}

impl<S: Store + Outbox> Kept for S {}

/// The stores there are.
#[derive(Clone, Copy)]
pub enum Kind {
    Memory,
    Sql,
}

/// A store of a test, gone with it.
pub struct Opened {
    store: Box<dyn Kept>,
    _folder: Option<TempDir>,
}

impl Deref for Opened {
    type Target = dyn Kept;

    fn deref(&self) -> &(dyn Kept + 'static) {
        &*self.store
    }
}

impl Kind {
    /// An empty store.
    pub async fn open(self, bounds: Bounds) -> Opened {
        match self {
            Kind::Memory => Opened {
                store: Box::new(MemoryStore::new(bounds)),
                _folder: None,
            },
            Kind::Sql => {
                let folder = tempfile::tempdir().expect("a folder");
                Opened {
                    store: Box::new(open(folder.path(), bounds).await),
                    _folder: Some(folder),
                }
            }
        }
    }
}

/// Makes a test of each function, for each store.
macro_rules! on_every_store {
    ($($test:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $test() { super::$test(super::Kind::Memory).await; })+
        }
        mod sql {
            $(#[tokio::test] async fn $test() { super::$test(super::Kind::Sql).await; })+
        }
    };
}
use on_every_store;

/// The database in a folder.
pub async fn open(folder: &Path, bounds: Bounds) -> SqlStore {
    let opened = SqlStore::open(folder, &bounds, RETAINED_MAX).await;
    opened.unwrap_or_else(|error| panic!("{error}"))
}

/// Runs SQL on the database in a folder, as somebody would who may write to it.
pub async fn run(folder: &Path, sql: &str) {
    sqlx::any::install_default_drivers();
    let address = format!("sqlite:{}/davy.db", folder.display());
    let pool = AnyPoolOptions::new()
        .connect(&address)
        .await
        .expect("opens");
    let ran = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&pool)
        .await;
    ran.unwrap_or_else(|error| panic!("{sql}: {error}"));
    pool.close().await;
}

pub fn bounds(recording_bytes_max: u64, outbox_max: usize) -> Bounds {
    Bounds {
        recording_bytes_max,
        recordings_bytes_max: 1 << 30,
        outbox_max,
        audit_rows_max: 1_000_000,
        free_bytes_max: 16 << 20,
    }
}

pub fn plan() -> Arc<Plan> {
    let text = "{version: davy/v1, plan: p, horizon: 1m, tick: 1s, metrics: {m: {kind: latency, from: values}}, checks: [{compare: m, tolerance: 5%}]}";
    Arc::new(parse_plan("p", text).expect("valid").plan)
}

pub fn start(id: &str) -> Start {
    Start {
        id: id.to_string(),
        plan: plan(),
        arms: BTreeMap::new(),
        change: Change {
            service: Some(format!("service-{id}")),
            ..Change::default()
        },
        idempotency_key: None,
        request_digest: String::new(),
        by: None,
    }
}

/// What the engine says when an analysis begins at `at`.
pub fn begun(id: &str, at: i64) -> Vec<Write> {
    let mut state = State::new(Limits::default());
    writes(apply(
        &mut state,
        Input::Start(Box::new(start(id))),
        Timestamp(at),
    ))
}

/// What the daemon would write.
pub fn writes(effects: Vec<Effect>) -> Vec<Write> {
    let write = |effect| match effect {
        Effect::Changed(view) => Some(Write::View(view)),
        Effect::Event(event) => Some(Write::Event(event)),
        Effect::Record { analysis, line } => Some(Write::Record { analysis, line }),
        _ => None,
    };
    effects.into_iter().filter_map(write).collect()
}

/// Deliveries that found no room.
pub async fn commit(store: &(impl Store + ?Sized), writes: Vec<Write>) -> Vec<DeadLetter> {
    let losses = store
        .commit(Commit {
            writes,
            ..Commit::default()
        })
        .await;
    losses.expect("written").refused
}

/// Analyses whose recordings a commit cuts, and by which limit.
pub async fn cut(store: &(impl Store + ?Sized), writes: Vec<Write>) -> Vec<(String, &'static str)> {
    let losses = store
        .commit(Commit {
            writes,
            ..Commit::default()
        })
        .await;
    let cut = losses.expect("written").cut;
    cut.into_iter()
        .map(|cut| (cut.analysis, cut.limit))
        .collect()
}

/// The newest dead letters.
pub async fn letters(store: &(impl Outbox + ?Sized), limit: usize) -> Vec<DeadLetter> {
    let page = store.dead_letters(&LetterFilter::default(), limit).await;
    page.expect("works").letters
}

pub async fn view_of(store: &(impl Store + ?Sized), id: &str) -> AnalysisView {
    let view = store.analysis(id).await.expect("works");
    AnalysisView::clone(&view.expect("known"))
}

pub fn delivery(id: &str, analysis: &str, endpoint: &str) -> Delivery {
    Delivery {
        id: id.into(),
        endpoint: endpoint.into(),
        analysis: analysis.into(),
        event_type: "verdict.final",
        at: Timestamp(0),
        queued_at: Timestamp(0),
        body: "{}".into(),
        attempts: 0,
        due: Timestamp(0),
    }
}
