//! `GET /v1/audit`: the rows of the audit log, as they are, and `GET /v1/audit/head`, the last one's hash.
//!
//! Owns the form: one row a line, so that what is read is an export that `davy audit verify` takes.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};

use super::Shared;
use super::problem::Problem;
use super::query::Parameters;
use crate::store::audit::{Head, PAGE_MAX};

/// `GET /v1/audit/head`
pub async fn head(State(shared): State<Arc<Shared>>) -> Result<Json<Head>, Problem> {
    Ok(Json(Head::of(shared.store.audit_last().await?)))
}

/// `GET /v1/audit`
pub async fn read(State(shared): State<Arc<Shared>>, uri: Uri) -> Result<Response, Problem> {
    let given = Parameters::read(&uri, &["after", "limit", "analysis"])?;
    let number = "the number of a row";
    let after = given.parse("after", number, |text| text.parse().ok())?;
    let limit = given.parse("limit", &format!("a number from 1 to {PAGE_MAX}"), |text| {
        let limit: Option<usize> = text.parse().ok();
        limit.filter(|limit| (1..=PAGE_MAX).contains(limit))
    })?;
    let rows = shared
        .store
        .audit(
            given.text("analysis"),
            after.unwrap_or(0),
            limit.unwrap_or(PAGE_MAX),
        )
        .await?;
    let mut text = String::new();
    for row in &rows {
        let line = serde_json::to_string(row).map_err(|error| {
            tracing::error!(%error, "an audit row cannot be written");
            Problem::new("internal", "this should not have happened")
        })?;
        text.push_str(&line);
        text.push('\n');
    }
    let kind = HeaderValue::from_static("application/x-ndjson");
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
