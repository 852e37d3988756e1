//! Stand-alone analyses: Kayenta judges several times by itself; davy looks at every tick anyway.
//!
//! Owns the request's scopes, which are spelled otherwise than those of an execution, and the form
//! of the status. On a plan of davy's, lifetimes and intervals of a request are left alone: the plan's
//! horizon holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::canary::{self, AdHoc, Addressed, Scope, ScopePair};
use super::configured::{Asked, Lifetime, On};
use super::result::{told, warning};
use super::{ACCOUNT, Refused, Thresholds, read, times};
use crate::http::Shared;
use crate::http::door::Caller;
use crate::http::problem::Problem;

/// A start.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StandaloneRequest {
    /// What is compared: one pair.
    pub scopes: Vec<StandaloneScope>,
    /// Where the caller's score passes.
    pub thresholds: Thresholds,
    /// How long, in minutes, where the scope has no end.
    #[serde(default)]
    #[schemars(with = "Option<f64>")]
    pub lifetime_duration_mins: Value,
    /// Minutes between two judgements.
    #[serde(default)]
    #[schemars(with = "Option<f64>")]
    pub analysis_interval_mins: Value,
    /// Minutes that each judgement looks back.
    #[serde(default)]
    #[schemars(with = "Option<f64>")]
    pub lookback_mins: Value,
}

/// The two sides.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StandaloneScope {
    /// The name by which metrics of a configuration ask for it: default unless given.
    pub scope_name: Option<String>,
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
    pub extended_scope_params: BTreeMap<String, String>,
    /// From when on, RFC 3339: with the end how long.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub start_time_iso: Value,
    /// Until when, RFC 3339.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub end_time_iso: Value,
    /// Between two points, in seconds.
    #[serde(default)]
    #[schemars(with = "Option<f64>")]
    pub step: Value,
    /// How long before the canary's the baseline's time is, in minutes: only 0 can be judged.
    #[serde(default)]
    #[schemars(with = "Option<f64>")]
    pub control_offset_in_minutes: Value,
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
    let asked: StandaloneRequest = read(&shared, &headers, body).await?;
    let asked = asked.in_common()?;
    let id = canary::begin(&shared, &caller, On::Named(config), addressed, asked).await?;
    Ok(Json(json!({ "canaryAnalysisExecutionId": id })))
}

/// `POST /compat/kayenta/standalone_canary_analysis`: on a configuration that comes with it.
pub async fn start_ad_hoc(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Query(addressed): Query<Addressed>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refused> {
    let asked: AdHoc<StandaloneRequest> = read(&shared, &headers, body).await?;
    let on = On::Sent(asked.canary_config);
    let asked = asked.execution_request.in_common()?;
    let id = canary::begin(&shared, &caller, on, addressed, asked).await?;
    Ok(Json(json!({ "canaryAnalysisExecutionId": id })))
}

impl StandaloneRequest {
    /// As an execution would have asked it.
    fn in_common(mut self) -> Result<Asked, Problem> {
        let scope = match (self.scopes.pop(), self.scopes.is_empty()) {
            (Some(scope), true) => scope,
            _ => {
                let detail = "`scopes` must hold one pair: a plan compares two versions";
                return Err(Problem::new("invalid_request", detail));
            }
        };
        let name = scope.scope_name.unwrap_or_else(|| "default".to_owned());
        let pair = ScopePair {
            control_scope: Scope {
                scope: scope.control_scope,
                location: scope.control_location,
                extended_scope_params: BTreeMap::new(),
                start: scope.start_time_iso.clone(),
                end: scope.end_time_iso.clone(),
                step: scope.step.clone(),
            },
            experiment_scope: Scope {
                scope: scope.experiment_scope,
                location: scope.experiment_location,
                extended_scope_params: scope.extended_scope_params,
                start: scope.start_time_iso,
                end: scope.end_time_iso,
                step: scope.step,
            },
        };
        Ok(Asked {
            scopes: BTreeMap::from([(name, pair)]),
            thresholds: self.thresholds,
            lifetime: Lifetime {
                is_required: true,
                minutes: self.lifetime_duration_mins,
                interval_mins: self.analysis_interval_mins,
                lookback_mins: self.lookback_mins,
                control_offset_mins: scope.control_offset_in_minutes,
            },
        })
    }
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
    let told = told(&id, &view);
    let warning = warning(&view);
    let status = match canary::status_of(&view) {
        "running" => "running",
        "canceled" => "canceled",
        // What does not get above the marginal score ends the whole.
        _ if told.ends => "terminal",
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
            "warnings": warning.iter().collect::<Vec<_>>(),
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
                "didPassThresholds": told.passes,
                "hasWarnings": warning.is_some(),
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
