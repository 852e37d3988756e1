//! Notifications that were given up.
//!
//! Owns how an operator reads them. When a delivery is given up is [`crate::webhook`]'s.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;

use super::Shared;
use super::analyses::PAGE_DEFAULT;
use super::problem::Problem;
use super::query::{self, Parameters};
use crate::store::{Cursor, DEAD_LETTERS_MAX, DeadLetter};

/// A page of dead letters, newest first.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct DeadLettersAnswer {
    /// At most as many as asked for.
    pub dead_letters: Vec<DeadLetter>,
    /// The `cursor` of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// `GET /v1/dead-letters`
pub async fn list(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
) -> Result<Json<DeadLettersAnswer>, Problem> {
    let given = Parameters::read(&uri, &["limit", "cursor"])?;
    let limit = query::limit(&given)?.unwrap_or(PAGE_DEFAULT);
    let cursor = given.parse("cursor", "the `next` of an earlier page", query::cursor)?;
    let letters = shared.outbox.dead_letters(DEAD_LETTERS_MAX).await?;
    let begin = match &cursor {
        None => 0,
        // One that has meanwhile been forgotten was the oldest: nothing comes after it.
        Some(cursor) => letters
            .iter()
            .position(|letter| letter.id == cursor.id)
            .map_or(letters.len(), |place| place + 1),
    };
    let end = letters.len().min(begin + limit);
    let next = (end < letters.len()).then(|| {
        let last = &letters[end - 1];
        query::cursor_text(&Cursor {
            started_at: last.at,
            id: last.id.clone(),
        })
    });
    Ok(Json(DeadLettersAnswer {
        dead_letters: letters[begin..end].to_vec(),
        next,
    }))
}
