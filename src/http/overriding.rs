//! `POST /v1/analyses/{id}/override`: a person decides otherwise than the verdict asks.
//!
//! Owns what is asked for: a decision and a reason. What it changes is the engine's.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Deserialize;

use super::Shared;
use super::analyses::{AnalysisAnswer, Visible, find, order, within};
use super::door::Caller;
use super::json;
use super::problem::Problem;
use crate::engine::Input;
use crate::judge::verdict::OverrideTo;

/// Decides otherwise than the verdict asks.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OverrideRequest {
    /// What the controller is asked to do from now on.
    pub decision: OverrideTo,
    /// Why.
    pub reason: String,
    /// Who.
    pub actor: Option<String>,
}

/// The handler. The same decision again changes nothing.
pub async fn decide(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Visible(id): Visible,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<AnalysisAnswer>, Problem> {
    let given: OverrideRequest = json::read(&shared, &headers, body, None).await?;
    within("actor", given.actor.as_deref())?;
    within("reason", Some(&given.reason))?;
    let input = Input::Override {
        analysis: id.clone(),
        to: given.decision,
        actor: given.actor,
        reason: given.reason,
        by: caller.by,
    };
    order(&shared, input).await?;
    Ok(Json(AnalysisAnswer::from(&*find(&shared, &id).await?)))
}
