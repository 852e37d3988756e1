//! Writes and reads configurations that clients of Kayenta keep here.
//!
//! Owns the SQL of it. Lists leave the documents where they are.

use sqlx::{AnyConnection, AnyPool};

use crate::model::Timestamp;
use crate::store::StoreError;
use crate::store::configurations::{Configuration, Head};

const PUT: &str = "INSERT INTO configurations
    (id, name, applications, created_at, updated_at, document) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, applications = excluded.applications,
    created_at = excluded.created_at, updated_at = excluded.updated_at,
    document = excluded.document";

/// A row without its document.
type Row = (String, String, String, i64, i64);

pub(super) async fn put(to: &mut AnyConnection, kept: &Configuration) -> Result<(), StoreError> {
    let head = &kept.head;
    let applications = serde_json::to_string(&head.applications).expect("texts are plain data");
    sqlx::query(PUT)
        .bind(head.id.as_str())
        .bind(head.name.as_str())
        .bind(applications)
        .bind(head.created_at.millis())
        .bind(head.updated_at.millis())
        .bind(kept.document.as_str())
        .execute(to)
        .await?;
    Ok(())
}

pub(super) async fn delete(to: &mut AnyConnection, id: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM configurations WHERE id = $1")
        .bind(id)
        .execute(to)
        .await?;
    Ok(())
}

/// All of them, by name and id; sorted here, for databases do not sort texts alike.
pub(super) async fn heads(from: &AnyPool) -> Result<Vec<Head>, StoreError> {
    let found: Vec<Row> =
        sqlx::query_as("SELECT id, name, applications, created_at, updated_at FROM configurations")
            .fetch_all(from)
            .await?;
    let heads: Result<Vec<Head>, _> = found.into_iter().map(head).collect();
    let mut heads = heads?;
    heads.sort_unstable();
    Ok(heads)
}

pub(super) async fn one(from: &AnyPool, id: &str) -> Result<Option<Configuration>, StoreError> {
    type Whole = (String, String, String, i64, i64, String);
    let found: Option<Whole> = sqlx::query_as(
        "SELECT id, name, applications, created_at, updated_at, document FROM configurations
        WHERE id = $1",
    )
    .bind(id)
    .fetch_optional(from)
    .await?;
    let whole = |(id, name, applications, created_at, updated_at, document): Whole| {
        let head = head((id, name, applications, created_at, updated_at))?;
        Ok(Configuration { head, document })
    };
    found.map(whole).transpose()
}

fn head((id, name, applications, created_at, updated_at): Row) -> Result<Head, StoreError> {
    let applications = serde_json::from_str(&applications)
        .map_err(|error| super::read::damaged(&format!("configuration {id}"), error))?;
    Ok(Head {
        name,
        id,
        applications,
        created_at: Timestamp(created_at),
        updated_at: Timestamp(updated_at),
    })
}
