//! `POST /compat/kayenta/judge`: a Kayenta asks davy as its remote judge.
//!
//! Owns nothing but the way in: a Kayenta with `kayenta.remote-judge.endpoint.baseUrl` set to davy's
//! `/compat/kayenta` sends the data it fetched and takes back what its own judge would have said.
//! What that is belongs to [`crate::codec::kayenta`].

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;

use super::{JUDGED_LIMIT, Refused};
use crate::codec::kayenta::JudgeRequest;
use crate::codec::kayenta::result::JudgeResult;
use crate::http::Shared;
use crate::http::json;
use crate::http::problem::Problem;

/// The handler. Large documents take a while, so they are judged off the threads that answer
/// everybody, and few at once.
pub async fn judge(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<JudgeResult>, Refused> {
    let room = shared.compiling.clone().acquire_owned().await;
    let room = room.map_err(|_| Problem::new("stopping", "davy judges no more"))?;
    let asked: JudgeRequest =
        json::read_within(&shared, &headers, body, None, JUDGED_LIMIT).await?;
    let judging = tokio::task::spawn_blocking(move || {
        // Also where the caller has gone meanwhile: the work goes on, so it keeps its place.
        let _room = room;
        crate::codec::kayenta::judge(
            &asked.canary_config,
            asked.score_thresholds,
            &asked.metric_set_pair_list,
        )
    });
    let judged = judging.await.map_err(|error| {
        tracing::error!(%error, "a document made the judge panic");
        Problem::new("internal", "the document could not be judged")
    })?;
    let judged = judged.map_err(|error| Problem::new("invalid_request", error.to_string()))?;
    Ok(Json(judged))
}
