//! Notifications that wait, and those that were given up.
//!
//! Owns the order in which they are handed out, their leases, and how many are kept. What a
//! notification says is the webhooks'.

use std::sync::Arc;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyPool, Connection as _, Row as _};

use super::connect::BEGIN;
use super::read::event_kind;
use crate::model::Timestamp;
use crate::store::{DEAD_LETTERS_MAX, DeadLetter, Delivery, Settlement, StoreError};

/// Until when what nobody has claimed is leased.
const NEVER: i64 = i64::MIN;

const WAITS: &str = "SELECT COUNT(*) FROM outbox WHERE id = $1";
const WAITING_FOR: &str = "SELECT COUNT(*) FROM outbox WHERE endpoint = $1";

const PUT: &str = "INSERT INTO outbox
    (place, id, endpoint, analysis, event_type, at, body, attempts, due, leased_until)
    SELECT COALESCE(MAX(place), 0) + 1, $1, $2, $3, $4, $5, $6, $7, $8, $9 FROM outbox";

/// The first delivery of each analysis, where it is due and nobody has it. The lease is asked for
/// again outside: on PostgreSQL two claims at a time would else both take what both have read.
const CLAIM: &str = "UPDATE outbox SET leased_until = $1
    WHERE place IN (
        SELECT head.place FROM outbox AS head
        WHERE head.endpoint = $2 AND head.due <= $3 AND head.leased_until <= $3
        AND NOT EXISTS (
            SELECT 1 FROM outbox AS earlier WHERE earlier.endpoint = head.endpoint
            AND earlier.analysis = head.analysis AND earlier.place < head.place)
        ORDER BY head.place LIMIT $4)
    AND leased_until <= $3
    RETURNING place, id, endpoint, analysis, event_type, at, body, attempts, due";

const NEXT_DUE: &str = "SELECT
    MIN(CASE WHEN head.due > head.leased_until THEN head.due ELSE head.leased_until END) AS next
    FROM outbox AS head WHERE head.endpoint = $1
    AND NOT EXISTS (
        SELECT 1 FROM outbox AS earlier WHERE earlier.endpoint = head.endpoint
        AND earlier.analysis = head.analysis AND earlier.place < head.place)";

const RETRY: &str = "UPDATE outbox SET attempts = attempts + 1, due = $2, leased_until = $3
    WHERE id = $1";

const TAKE: &str = "DELETE FROM outbox WHERE id = $1
    RETURNING place, id, endpoint, analysis, event_type, at, body, attempts, due";

const BURY: &str = "INSERT INTO dead_letters
    (place, id, endpoint, analysis, event_type, at, body, attempts, error, died_at)
    SELECT COALESCE(MAX(place), 0) + 1, $1, $2, $3, $4, $5, $6, $7, $8, $9 FROM dead_letters";

const BURIED_TOO_LONG: &str = "DELETE FROM dead_letters
    WHERE place <= (SELECT MAX(place) FROM dead_letters) - $1";

const DEAD_LETTERS: &str = "SELECT id, endpoint, analysis, event_type, attempts, error, died_at
    FROM dead_letters ORDER BY place DESC LIMIT $1";

/// Puts a delivery into its endpoint's room; the same one twice is one. The letter of one that
/// found no room.
pub(super) async fn put(
    to: &mut AnyConnection,
    delivery: &Delivery,
    outbox_max: usize,
) -> Result<Option<DeadLetter>, StoreError> {
    let mut count = async |asked: &'static str, about: &str| -> Result<i64, StoreError> {
        let count = sqlx::query_scalar(asked).bind(about).fetch_one(&mut *to);
        Ok(count.await?)
    };
    if count(WAITS, &delivery.id).await? > 0 {
        return Ok(None);
    }
    if count(WAITING_FOR, &delivery.endpoint).await? >= outbox_max as i64 {
        let letter = delivery.refused(outbox_max);
        bury(to, delivery, &letter).await?;
        return Ok(Some(letter));
    }
    sqlx::query(PUT)
        .bind(delivery.id.as_str())
        .bind(delivery.endpoint.as_str())
        .bind(delivery.analysis.as_str())
        .bind(delivery.event_type)
        .bind(delivery.at.millis())
        .bind(&*delivery.body)
        .bind(i64::from(delivery.attempts))
        .bind(delivery.due.millis())
        .bind(NEVER)
        .execute(to)
        .await?;
    Ok(None)
}

async fn bury(
    to: &mut AnyConnection,
    delivery: &Delivery,
    letter: &DeadLetter,
) -> Result<(), StoreError> {
    sqlx::query(BURY)
        .bind(letter.id.as_str())
        .bind(letter.endpoint.as_str())
        .bind(letter.analysis.as_str())
        .bind(letter.event_type)
        .bind(delivery.at.millis())
        .bind(&*delivery.body)
        .bind(i64::from(letter.attempts))
        .bind(letter.error.as_str())
        .bind(letter.at)
        .execute(&mut *to)
        .await?;
    sqlx::query(BURIED_TOO_LONG)
        .bind(DEAD_LETTERS_MAX as i64)
        .execute(to)
        .await?;
    Ok(())
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
    let release = sqlx::query("UPDATE outbox SET leased_until = $1").bind(NEVER);
    release.execute(to).await?;
    Ok(())
}

pub(super) async fn settle(
    to: &AnyPool,
    id: &str,
    settlement: Settlement,
) -> Result<(), StoreError> {
    match settlement {
        Settlement::Delivered => {
            let delivered = sqlx::query("DELETE FROM outbox WHERE id = $1").bind(id);
            delivered.execute(to).await?;
        }
        Settlement::Retry { due } => {
            let retry = sqlx::query(RETRY).bind(id).bind(due.millis()).bind(NEVER);
            retry.execute(to).await?;
        }
        Settlement::Dead { error, at } => {
            let mut writer = to.acquire().await?;
            let mut changes = writer.begin_with(BEGIN).await?;
            let rows = sqlx::query(TAKE).bind(id).fetch_all(&mut *changes).await?;
            for row in &rows {
                let mut delivery = delivery_of(row)?;
                delivery.attempts += 1;
                let letter = delivery.given_up(error.clone(), at);
                bury(&mut changes, &delivery, &letter).await?;
            }
            changes.commit().await?;
        }
    }
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
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM outbox")
        .fetch_one(from)
        .await?;
    Ok(usize::try_from(count).unwrap_or(0))
}

pub(super) async fn dead_letters(
    from: &AnyPool,
    limit: usize,
) -> Result<Vec<DeadLetter>, StoreError> {
    let rows = sqlx::query(DEAD_LETTERS)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(from)
        .await?;
    rows.iter().map(letter_of).collect()
}

fn delivery_of(row: &AnyRow) -> Result<Delivery, StoreError> {
    let body: String = row.try_get("body")?;
    Ok(Delivery {
        id: row.try_get("id")?,
        endpoint: row.try_get("endpoint")?,
        analysis: row.try_get("analysis")?,
        event_type: event_type(row)?,
        at: Timestamp(row.try_get("at")?),
        body: Arc::from(body),
        attempts: attempts(row)?,
        due: Timestamp(row.try_get("due")?),
    })
}

fn letter_of(row: &AnyRow) -> Result<DeadLetter, StoreError> {
    Ok(DeadLetter {
        id: row.try_get("id")?,
        endpoint: row.try_get("endpoint")?,
        analysis: row.try_get("analysis")?,
        event_type: event_type(row)?,
        attempts: attempts(row)?,
        error: row.try_get("error")?,
        at: row.try_get("died_at")?,
    })
}

fn event_type(row: &AnyRow) -> Result<&'static str, StoreError> {
    let name: String = row.try_get("event_type")?;
    Ok(event_kind(&name)?.as_str())
}

fn attempts(row: &AnyRow) -> Result<u32, StoreError> {
    let attempts: i64 = row.try_get("attempts")?;
    Ok(u32::try_from(attempts).unwrap_or(u32::MAX))
}
