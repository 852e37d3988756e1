//! Notifications that wait.
//!
//! Owns the order in which they are handed out, their leases, and how many are kept. What a
//! notification says is the webhooks'. The first of each analysis is marked and how many wait is
//! written down, so that no statement reads more rows than it is about, however many wait. Next:
//! `letters`, those that were given up.

use std::sync::Arc;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyPool, Connection as _, Row as _};

use super::connect::BEGIN;
use super::letters::bury;
use super::read::event_kind;
use crate::model::Timestamp;
use crate::store::{DeadLetter, Delivery, Settlement, StoreError};

const WAITS: &str = "SELECT COUNT(*) FROM outbox WHERE id = $1";

/// No row where there is no room.
const TAKE_ROOM: &str = "INSERT INTO outbox_counts (endpoint, waiting) VALUES ($1, 1)
    ON CONFLICT (endpoint) DO UPDATE SET waiting = outbox_counts.waiting + 1
    WHERE outbox_counts.waiting < $2
    RETURNING waiting";
const LEAVE_ROOM: &str = "UPDATE outbox_counts SET waiting = waiting - 1 WHERE endpoint = $1";

const PUT: &str = "INSERT INTO outbox
    (place, id, endpoint, analysis, event_type, at, queued_at, body, attempts, due, ready_at, head)
    SELECT COALESCE(MAX(place), 0) + 1, $1, $2, $3, $4, $5, $6, $7, $8, $9, $9,
        CASE WHEN EXISTS (SELECT 1 FROM outbox WHERE endpoint = $2 AND analysis = $3)
        THEN 0 ELSE 1 END
    FROM outbox";

/// What may be handed out. That it may is asked for again outside: on PostgreSQL two claims at a
/// time would else both take what both have read.
const CLAIM: &str = "UPDATE outbox SET ready_at = $1
    WHERE place IN (
        SELECT place FROM outbox WHERE endpoint = $2 AND head = 1 AND ready_at <= $3
        ORDER BY ready_at, place LIMIT $4)
    AND ready_at <= $3
    RETURNING place, id, endpoint, analysis, event_type, at, queued_at, body, attempts, due";

const NEXT_DUE: &str = "SELECT MIN(ready_at) AS next FROM outbox WHERE endpoint = $1 AND head = 1";

const RETRY: &str = "UPDATE outbox SET attempts = attempts + 1, due = $2, ready_at = $2
    WHERE id = $1";

const REMOVE: &str = "DELETE FROM outbox WHERE id = $1
    RETURNING place, id, endpoint, analysis, event_type, at, queued_at, body, attempts, due";

/// Once the first of an analysis is gone, the next one is the first.
const PROMOTE: &str = "UPDATE outbox SET head = 1 WHERE place = (
    SELECT MIN(place) FROM outbox WHERE endpoint = $1 AND analysis = $2)";

/// Puts a delivery into its endpoint's room; the same one twice is one. The letter of one that
/// found no room.
pub(super) async fn put(
    to: &mut AnyConnection,
    delivery: &Delivery,
    outbox_max: usize,
) -> Result<Option<DeadLetter>, StoreError> {
    if waits(to, &delivery.id).await? || append(to, delivery, outbox_max).await? {
        return Ok(None);
    }
    let letter = delivery.refused(outbox_max);
    bury(to, delivery, &letter).await?;
    Ok(Some(letter))
}

/// Whether a delivery waits.
pub(super) async fn waits(to: &mut AnyConnection, id: &str) -> Result<bool, StoreError> {
    let count: i64 = sqlx::query_scalar(WAITS).bind(id).fetch_one(to).await?;
    Ok(count > 0)
}

/// Puts a delivery that does not wait at the end of its queue, where there is room.
pub(super) async fn append(
    to: &mut AnyConnection,
    delivery: &Delivery,
    outbox_max: usize,
) -> Result<bool, StoreError> {
    let room = sqlx::query(TAKE_ROOM)
        .bind(delivery.endpoint.as_str())
        .bind(i64::try_from(outbox_max).unwrap_or(i64::MAX));
    if room.fetch_all(&mut *to).await?.is_empty() {
        return Ok(false);
    }
    sqlx::query(PUT)
        .bind(delivery.id.as_str())
        .bind(delivery.endpoint.as_str())
        .bind(delivery.analysis.as_str())
        .bind(delivery.event_type)
        .bind(delivery.at.millis())
        .bind(delivery.queued_at.millis())
        .bind(&*delivery.body)
        .bind(i64::from(delivery.attempts))
        .bind(delivery.due.millis())
        .execute(to)
        .await?;
    Ok(true)
}

pub(super) async fn claim(
    to: &AnyPool,
    endpoint: &str,
    now: Timestamp,
    lease_until: Timestamp,
    limit: usize,
) -> Result<Vec<Delivery>, StoreError> {
    let rows = sqlx::query(CLAIM)
        .bind(lease_until.millis())
        .bind(endpoint)
        .bind(now.millis())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(to)
        .await?;
    let mut claimed = Vec::new();
    for row in &rows {
        let place: i64 = row.try_get("place")?;
        claimed.push((place, delivery_of(row)?));
    }
    // What an update returns has no order.
    claimed.sort_by_key(|(place, _)| *place);
    Ok(claimed.into_iter().map(|(_, delivery)| delivery).collect())
}

/// Ends every lease: nobody but the process that opens the folder can have one, and it has none yet.
pub(super) async fn release(to: &AnyPool) -> Result<(), StoreError> {
    let release = sqlx::query("UPDATE outbox SET ready_at = due WHERE ready_at <> due");
    release.execute(to).await?;
    Ok(())
}

pub(super) async fn settle(
    to: &AnyPool,
    id: &str,
    settlement: Settlement,
) -> Result<(), StoreError> {
    if let Settlement::Retry { due } = settlement {
        let retry = sqlx::query(RETRY).bind(id).bind(due.millis());
        retry.execute(to).await?;
        return Ok(());
    }
    let mut writer = to.acquire().await?;
    let mut changes = writer.begin_with(BEGIN).await?;
    let removed = sqlx::query(REMOVE).bind(id).fetch_optional(&mut *changes);
    if let Some(row) = removed.await? {
        let mut delivery = delivery_of(&row)?;
        let leave = sqlx::query(LEAVE_ROOM).bind(delivery.endpoint.as_str());
        leave.execute(&mut *changes).await?;
        sqlx::query(PROMOTE)
            .bind(delivery.endpoint.as_str())
            .bind(delivery.analysis.as_str())
            .execute(&mut *changes)
            .await?;
        if let Settlement::Dead { error, at } = settlement {
            delivery.attempts += 1;
            let letter = delivery.given_up(error, at);
            bury(&mut changes, &delivery, &letter).await?;
        }
    }
    changes.commit().await?;
    Ok(())
}

pub(super) async fn next_due(
    from: &AnyPool,
    endpoint: &str,
) -> Result<Option<Timestamp>, StoreError> {
    let row = sqlx::query(NEXT_DUE).bind(endpoint).fetch_one(from).await?;
    let next: Option<i64> = row.try_get("next")?;
    Ok(next.map(Timestamp))
}

pub(super) async fn depth(from: &AnyPool) -> Result<usize, StoreError> {
    let count: i64 =
        sqlx::query_scalar("SELECT CAST(COALESCE(SUM(waiting), 0) AS BIGINT) FROM outbox_counts")
            .fetch_one(from)
            .await?;
    Ok(usize::try_from(count).unwrap_or(0))
}

fn delivery_of(row: &AnyRow) -> Result<Delivery, StoreError> {
    let body: String = row.try_get("body")?;
    Ok(Delivery {
        id: row.try_get("id")?,
        endpoint: row.try_get("endpoint")?,
        analysis: row.try_get("analysis")?,
        event_type: event_type(row)?,
        at: Timestamp(row.try_get("at")?),
        queued_at: Timestamp(row.try_get("queued_at")?),
        body: Arc::from(body),
        attempts: attempts(row)?,
        due: Timestamp(row.try_get("due")?),
    })
}

pub(super) fn event_type(row: &AnyRow) -> Result<&'static str, StoreError> {
    let name: String = row.try_get("event_type")?;
    Ok(event_kind(&name)?.as_str())
}

pub(super) fn attempts(row: &AnyRow) -> Result<u32, StoreError> {
    let attempts: i64 = row.try_get("attempts")?;
    Ok(u32::try_from(attempts).unwrap_or(u32::MAX))
}
