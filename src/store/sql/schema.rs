//! The tables, and how those of an earlier davy become those of this one.
//!
//! Owns the order of the files in `migrations/`, which are part of the binary, and the number of
//! those a database has had. What a newer davy has written is left alone.

use sqlx::AnyPool;

/// One text a schema, the first being schema 1.
const MIGRATIONS: [&str; 1] = [include_str!("../../../migrations/0001_begin.sql")];

/// The newest schema this davy knows.
pub(super) const NEWEST: i64 = MIGRATIONS.len() as i64;

/// Why tables could not be brought up to date.
#[derive(Debug)]
pub(super) enum MigrateError {
    Sql(sqlx::Error),
    Newer { found: i64 },
}

impl From<sqlx::Error> for MigrateError {
    fn from(error: sqlx::Error) -> MigrateError {
        MigrateError::Sql(error)
    }
}

/// Brings the tables up to date, all steps or none.
pub(super) async fn migrate(writer: &AnyPool) -> Result<(), MigrateError> {
    let mut changes = writer.begin_with(super::connect::BEGIN).await?;
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS davy_schema (version BIGINT NOT NULL PRIMARY KEY)")
        .execute(&mut *changes)
        .await?;
    let found: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM davy_schema")
        .fetch_one(&mut *changes)
        .await?;
    if found > NEWEST {
        return Err(MigrateError::Newer { found });
    }
    for (version, step) in (1..)
        .zip(MIGRATIONS)
        .filter(|(version, _)| *version > found)
    {
        sqlx::raw_sql(step).execute(&mut *changes).await?;
        sqlx::query("INSERT INTO davy_schema (version) VALUES ($1)")
            .bind(version)
            .execute(&mut *changes)
            .await?;
    }
    changes.commit().await?;
    Ok(())
}
