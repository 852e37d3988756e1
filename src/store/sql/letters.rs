//! Notifications that were given up, and how they are put back.
//!
//! Owns how many are kept and in which order. Why one is given up is the webhooks'.

use std::sync::Arc;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyPool, Connection as _, Row as _};

use super::connect::BEGIN;
use super::outbox::{append, attempts, event_type, waits};
use crate::model::Timestamp;
use crate::store::{
    DEAD_LETTERS_MAX, DeadLetter, Delivery, LetterFilter, LetterPage, Letters, Redelivery,
    StoreError,
};

const BURY: &str = "INSERT INTO dead_letters
    (place, id, endpoint, analysis, event_type, at, body, attempts, error, died_at)
    SELECT COALESCE(MAX(place), 0) + 1, $1, $2, $3, $4, $5, $6, $7, $8, $9 FROM dead_letters";

/// The last one that is kept is the one after so many others; with fewer there is none, and nothing
/// goes.
const BURIED_TOO_LONG: &str = "DELETE FROM dead_letters WHERE place < (
    SELECT place FROM dead_letters ORDER BY place DESC LIMIT 1 OFFSET $1)";

const DEAD_LETTERS: &str =
    "SELECT place, id, endpoint, analysis, event_type, attempts, error, died_at
    FROM dead_letters WHERE ($1 IS NULL OR endpoint = $1) AND place < $2
    ORDER BY place DESC LIMIT $3";

const ENDPOINT_OF: &str = "SELECT endpoint FROM outbox WHERE id = $1
    UNION ALL SELECT endpoint FROM dead_letters WHERE id = $1";

const PLACES_OF_ONE: &str = "SELECT place FROM dead_letters WHERE id = $1 ORDER BY place";
const PLACES_TO: &str = "SELECT place FROM dead_letters WHERE endpoint = $1 ORDER BY place";
const WHOLE: &str = "SELECT id, endpoint, analysis, event_type, at, body FROM dead_letters
    WHERE place = $1";
const UNBURY: &str = "DELETE FROM dead_letters WHERE place = $1";

/// Keeps the letter of a delivery.
pub(super) async fn bury(
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
        .bind(DEAD_LETTERS_MAX as i64 - 1)
        .execute(to)
        .await?;
    Ok(())
}

pub(super) async fn dead_letters(
    from: &AnyPool,
    filter: &LetterFilter,
    limit: usize,
) -> Result<LetterPage, StoreError> {
    // One more than asked for tells whether others follow.
    let most = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let rows = sqlx::query(DEAD_LETTERS)
        .bind(filter.endpoint.as_deref())
        .bind(filter.before.unwrap_or(i64::MAX))
        .bind(most)
        .fetch_all(from)
        .await?;
    let mut page = LetterPage::default();
    for row in rows.iter().take(limit) {
        page.letters.push(letter_of(row)?);
    }
    if rows.len() > limit {
        let last = rows[..limit].last();
        page.next = last.map(|row| row.try_get("place")).transpose()?;
    }
    Ok(page)
}

pub(super) async fn endpoint_of(from: &AnyPool, id: &str) -> Result<Option<String>, StoreError> {
    let endpoint = sqlx::query_scalar(ENDPOINT_OF).bind(id);
    Ok(endpoint.fetch_optional(from).await?)
}

pub(super) async fn redeliver(
    to: &AnyPool,
    letters: Letters<'_>,
    now: Timestamp,
    outbox_max: usize,
) -> Result<Redelivery, StoreError> {
    let mut told = Redelivery::default();
    let mut writer = to.acquire().await?;
    let mut changes = writer.begin_with(BEGIN).await?;
    let (which, name) = match letters {
        Letters::One(id) => (PLACES_OF_ONE, id),
        Letters::To(endpoint) => (PLACES_TO, endpoint),
    };
    let places: Vec<i64> = sqlx::query_scalar(which)
        .bind(name)
        .fetch_all(&mut *changes)
        .await?;
    if let (Letters::One(id), []) = (letters, places.as_slice()) {
        told.waiting = usize::from(waits(&mut changes, id).await?);
    }
    for place in places {
        let whole = sqlx::query(WHOLE).bind(place);
        let delivery = delivery_of(&whole.fetch_one(&mut *changes).await?, now)?;
        if waits(&mut changes, &delivery.id).await? {
            told.waiting += 1;
        } else if append(&mut changes, &delivery, outbox_max).await? {
            told.queued += 1;
        } else {
            told.refused += 1;
            continue;
        }
        let unbury = sqlx::query(UNBURY).bind(place);
        unbury.execute(&mut *changes).await?;
    }
    changes.commit().await?;
    Ok(told)
}

/// What a letter was made of, as it begins anew.
fn delivery_of(row: &AnyRow, now: Timestamp) -> Result<Delivery, StoreError> {
    let body: String = row.try_get("body")?;
    let at = Timestamp(row.try_get("at")?);
    let delivery = Delivery {
        id: row.try_get("id")?,
        endpoint: row.try_get("endpoint")?,
        analysis: row.try_get("analysis")?,
        event_type: event_type(row)?,
        at,
        queued_at: at,
        body: Arc::from(body),
        attempts: 0,
        due: at,
    };
    Ok(delivery.again(now))
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
