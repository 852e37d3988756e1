//! Stand-alone analyses: Kayenta judges several times by itself; davy looks at every tick anyway.
//!
//! Owns the request's scopes, which are spelled otherwise than those of an execution, and the form
//! of the status. Lifetimes and intervals of a request are left alone: the plan's horizon holds.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::canary::{self, Addressed, Scope, ScopePair};
use super::{ACCOUNT, Refused, Thresholds, read, times};
use crate::http::Shared;
use crate::http::door::Caller;
use crate::http::problem::Problem;
use crate::model::Decision;

/// A start.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
pub struct StandaloneRequest {
    /// What is compared: one pair.
    pub scopes: Vec<StandaloneScope>,
    /// Where the caller's score passes.
    pub thresholds: Thresholds,
}

/// The two sides.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StandaloneScope {
    /// The baseline: the plan's variable `baseline`.
    pub control_scope: String,
    /// Where it runs.
    #[serde(default)]
    pub control_location: String,
    /// The canary: the plan's variable `canary`.
    pub experiment_scope: String,
    /// Where it runs: the namespace.
    #[serde(default)]
    pub experiment_location: String,
    /// Further variables of the plan's arms.
    #[serde(default)]
    pub extended_scope_params: std::collections::BTreeMap<String, String>,
}

/// `POST /compat/kayenta/standalone_canary_analysis/{id}`
pub async fn start(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(config): Path<String>,
    Query(addressed): Query<Addressed>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refused> {
    let mut asked: StandaloneRequest = read(&shared, &headers, body).await?;
    let scope = match (asked.scopes.pop(), asked.scopes.is_empty()) {
        (Some(scope), true) => scope,
        _ => {
            let detail = "`scopes` must hold one pair: a plan compares two versions";
            return Err(Problem::new("invalid_request", detail).into());
        }
    };
    let scopes = ScopePair {
        control_scope: Scope {
            scope: scope.control_scope,
            location: scope.control_location,
            extended_scope_params: Default::default(),
        },
        experiment_scope: Scope {
            scope: scope.experiment_scope,
            location: scope.experiment_location,
            extended_scope_params: scope.extended_scope_params,
        },
    };
    let id = canary::begin(
        &shared,
        &caller,
        config,
        addressed,
        scopes,
        asked.thresholds,
    )
    .await?;
    Ok(Json(json!({ "canaryAnalysisExecutionId": id })))
}

/// `GET /compat/kayenta/standalone_canary_analysis/{id}`
pub async fn status(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refused> {
    let (id, view) = canary::found(&shared, &caller, &id).await?;
    let execution = canary::described(&shared, &id, &view);
    let is_complete = execution["complete"] == true;
    let passed = view.body.decision == Decision::Promote;
    let status = match canary::status_of(&view) {
        "running" => "running",
        "canceled" => "canceled",
        // What does not get above the marginal score ends the whole.
        _ if id.thresholds.classification(view.body.decision) == "Fail" => "terminal",
        _ => "succeeded",
    };
    let mut all = Map::new();
    let mut put = |name: &str, value: Value| all.insert(name.to_owned(), value);
    put("application", execution["application"].clone());
    put("pipelineId", execution["pipelineId"].clone());
    put("stageStatus", json!([]));
    put("complete", json!(is_complete));
    put("executionStatus", json!(status.to_uppercase()));
    put("status", json!(status));
    put("canaryConfigId", json!(view.plan));
    for account in ["storage", "metrics", "configuration"] {
        put(&format!("{account}AccountName"), json!(ACCOUNT));
    }
    if let Some(result) = execution.get("result") {
        let score = result["judgeResult"]["score"]["score"].clone();
        let mut one = json!({
            "executionId": execution["pipelineId"],
            "executionStatus": "SUCCEEDED",
            "result": result,
            "warnings": [],
        });
        for name in ["start", "end"] {
            for kind in ["TimeIso", "TimeMillis"] {
                let key = format!("{name}{kind}");
                one[key.as_str()] = execution[key.as_str()].clone();
            }
        }
        put(
            "canaryAnalysisExecutionResult",
            json!({
                "didPassThresholds": passed,
                "hasWarnings": false,
                "canaryScoreMessage": view.body.message,
                "canaryScores": [score],
                "canaryExecutionResults": [one],
            }),
        );
    }
    let ended = view.final_at.map(|at| ("end", at));
    let begun = [("build", view.started_at), ("start", view.started_at)];
    for (name, at) in begun.into_iter().chain(ended) {
        all.extend(times(name, at));
    }
    Ok(Json(all.into()))
}
