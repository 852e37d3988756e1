//! Reads analyses and their events, and the form in which a view is a text.
//!
//! Owns the SQL of lists: which analyses, in which order, from where. Each statement sees one state
//! of the database. Next: `write`.

use sqlx::AnyPool;
use sqlx::Row as _;

use crate::engine::{AnalysisView, EventKind};
use crate::model::Timestamp;
use crate::store::changes::{ChangeOutcome, ChangeTold};
use crate::store::{Cursor, EventsAfter, Filter, KeptEvent, StoreError};

/// Conditions after the first one, which an index answers; `NULL` asks for nothing.
macro_rules! list {
    ($first:literal) => {
        concat!(
            "SELECT started_at, id FROM analyses WHERE ",
            $first,
            " AND ($9 IS NULL OR namespace = $9)
            AND ($10 IS NULL OR change_id = $10)
            AND ($2 IS NULL OR plan = $2) AND ($3 IS NULL OR verdict = $3)
            AND started_at >= $4 AND started_at < $5
            AND (started_at < $6 OR (started_at = $6 AND id < $7))
            ORDER BY started_at DESC, id DESC LIMIT $8"
        )
    };
}

const LIST: &str = list!("$1 IS NULL");
const LIST_OF_NAMESPACE: &str = list!("namespace = $9 AND $1 IS NULL");
const LIST_OF_SERVICE: &str = list!("service = $1");
const LIST_OF_CHANGE: &str = list!("change_id = $10 AND ($1 IS NULL OR service = $1)");

/// Bodies are taken from the rows that are asked for; the others say where the first one is.
const EVENTS: &str = "SELECT sequence, kind, is_last,
    CASE WHEN sequence > $2 THEN body ELSE '' END AS body
    FROM events WHERE analysis = $1 ORDER BY sequence";

pub(super) fn damaged(what: &str, error: impl std::fmt::Display) -> StoreError {
    StoreError {
        message: format!("{what} cannot be read as davy writes it: {error}"),
    }
}

/// A view with both its verdicts as one JSON object.
pub(super) fn view_text(view: &AnalysisView) -> String {
    let json = |value: Result<String, serde_json::Error>| value.expect("a view is plain data");
    let mut text = json(serde_json::to_string(view));
    // The verdicts are no part of what lists show, so they are put in by hand.
    let closing = text.pop();
    debug_assert_eq!(closing, Some('}'));
    text.push_str(",\"body\":");
    text.push_str(&json(serde_json::to_string(&**view.body)));
    text.push_str(",\"step_body\":");
    text.push_str(&json(serde_json::to_string(&**view.step_body)));
    text.push('}');
    text
}

fn view_of(text: &str, id: &str) -> Result<AnalysisView, StoreError> {
    serde_json::from_str(text).map_err(|error| damaged(&format!("analysis {id}"), error))
}

pub(super) async fn view(from: &AnyPool, id: &str) -> Result<Option<AnalysisView>, StoreError> {
    let found: Option<(String,)> = sqlx::query_as("SELECT view FROM analyses WHERE id = $1")
        .bind(id)
        .fetch_optional(from)
        .await?;
    found.map(|(text,)| view_of(&text, id)).transpose()
}

/// Views of those that took samples when they were last written.
pub(super) async fn live(from: &AnyPool) -> Result<Vec<AnalysisView>, StoreError> {
    let found: Vec<(String, String)> =
        sqlx::query_as("SELECT id, view FROM analyses WHERE live = 1 ORDER BY started_at, id")
            .fetch_all(from)
            .await?;
    let views = found.iter().map(|(id, text)| view_of(text, id));
    views.collect()
}

/// Number of the last input of the sample log whose consequences are written.
pub(super) async fn position(from: &AnyPool) -> Result<u64, StoreError> {
    let position: i64 = sqlx::query_scalar("SELECT MAX(position) FROM log_position")
        .fetch_one(from)
        .await?;
    Ok(position.unsigned_abs())
}

/// Places of the list, newest first.
pub(super) async fn places(
    from: &AnyPool,
    filter: &Filter,
    cursor: Option<&Cursor>,
    limit: usize,
) -> Result<Vec<Cursor>, StoreError> {
    let Some(namespaces) = &filter.namespaces else {
        return places_in(from, None, filter, cursor, limit).await;
    };
    // Tokens name few, and each is answered by an index.
    let mut places = Vec::new();
    for namespace in namespaces.iter() {
        places.extend(places_in(from, Some(namespace), filter, cursor, limit).await?);
    }
    places.sort_unstable_by(|a, b| b.cmp(a));
    // One may be named twice.
    places.dedup();
    places.truncate(limit);
    Ok(places)
}

async fn places_in(
    from: &AnyPool,
    namespace: Option<&str>,
    filter: &Filter,
    cursor: Option<&Cursor>,
    limit: usize,
) -> Result<Vec<Cursor>, StoreError> {
    let list = match (&filter.change, &filter.service, namespace) {
        (Some(_), _, _) => LIST_OF_CHANGE,
        (None, Some(_), _) => LIST_OF_SERVICE,
        (None, None, Some(_)) => LIST_OF_NAMESPACE,
        (None, None, None) => LIST,
    };
    let started_from = filter.started_from.map_or(i64::MIN, Timestamp::millis);
    let started_before = filter.started_before.map_or(i64::MAX, Timestamp::millis);
    // No analysis starts at the end of time.
    let (before, id) = cursor.map_or((i64::MAX, ""), |cursor| (cursor.started_at, &*cursor.id));
    let found: Vec<(i64, String)> = sqlx::query_as(list)
        .bind(filter.service.as_deref())
        .bind(filter.plan.as_deref())
        .bind(filter.verdict.map(|verdict| verdict.as_str()))
        .bind(started_from)
        .bind(started_before)
        .bind(before)
        .bind(id)
        .bind(limit as i64)
        .bind(namespace)
        .bind(filter.change.as_deref())
        .fetch_all(from)
        .await?;
    let place = |(started_at, id)| Cursor { started_at, id };
    Ok(found.into_iter().map(place).collect())
}

/// Events after a number; `None` where the analysis has none at all.
pub(super) async fn events_after(
    from: &AnyPool,
    id: &str,
    after: u64,
) -> Result<Option<EventsAfter>, StoreError> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let rows = sqlx::query(EVENTS)
        .bind(id)
        .bind(after)
        .fetch_all(from)
        .await?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let oldest: i64 = first.try_get("sequence")?;
    let mut found = EventsAfter {
        events: Vec::new(),
        gap: oldest > after.saturating_add(1),
    };
    for row in &rows {
        let sequence: i64 = row.try_get("sequence")?;
        if sequence <= after {
            continue;
        }
        let kind: String = row.try_get("kind")?;
        let is_last: i64 = row.try_get("is_last")?;
        found.events.push(KeptEvent {
            sequence: sequence.unsigned_abs(),
            kind: event_kind(&kind)?,
            is_last: is_last != 0,
            body: row.try_get("body")?,
        });
    }
    Ok(Some(found))
}

pub(super) fn event_kind(name: &str) -> Result<EventKind, StoreError> {
    EventKind::named(name).ok_or_else(|| damaged("an event", format!("its kind is {name:?}")))
}

/// What people said of a change, in each of its namespaces.
pub(super) async fn outcomes(from: &AnyPool, change: &str) -> Result<Vec<ChangeTold>, StoreError> {
    type Found = (String, String, Option<String>, Option<String>, i64);
    let found: Vec<Found> = sqlx::query_as(
        "SELECT namespace, outcome, actor, reason, at FROM outcomes WHERE change_id = $1
        ORDER BY namespace",
    )
    .bind(change)
    .fetch_all(from)
    .await?;
    let told = |(namespace, outcome, actor, reason, at): Found| {
        let outcome = ChangeOutcome::named(&outcome)
            .ok_or_else(|| damaged("an outcome", format!("it is {outcome:?}")))?;
        Ok(ChangeTold {
            change: change.to_owned(),
            namespace: (!namespace.is_empty()).then_some(namespace),
            outcome,
            actor,
            reason,
            at: Timestamp(at),
        })
    };
    found.into_iter().map(told).collect()
}
