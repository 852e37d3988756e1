//! Room that deleted rows left in the file.
//!
//! Owns how much of it is given back to the file system, and when that is worth it. Nothing depends on
//! it: where it fails the room stays for new rows, and it is tried again after the next deletion.

use sqlx::AnyConnection;

/// Pages that are given back at once, so that no verdict waits long: 4 MiB.
const PAGES_AT_ONCE: i64 = 1_024;

/// Gives back some of what is above `kept_bytes`.
pub(super) async fn give_back(to: &mut AnyConnection, kept_bytes: u64) {
    // What fails here fails for the next commit too, which says so.
    let _ = try_to_give_back(to, kept_bytes).await;
}

async fn try_to_give_back(to: &mut AnyConnection, kept_bytes: u64) -> sqlx::Result<()> {
    let free: i64 = sqlx::query_scalar("SELECT freelist_count FROM pragma_freelist_count")
        .fetch_one(&mut *to)
        .await?;
    let page_bytes: i64 = sqlx::query_scalar("SELECT page_size FROM pragma_page_size")
        .fetch_one(&mut *to)
        .await?;
    let kept = kept_bytes / page_bytes.unsigned_abs().max(1);
    let surplus = free.saturating_sub(i64::try_from(kept).unwrap_or(i64::MAX));
    if surplus > 0 {
        let pages = surplus.min(PAGES_AT_ONCE);
        let give = format!("PRAGMA incremental_vacuum({pages})");
        // A number of our own is all that it holds.
        sqlx::raw_sql(sqlx::AssertSqlSafe(give)).execute(to).await?;
    }
    Ok(())
}
