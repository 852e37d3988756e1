//! What operators and machines ask of the daemon itself: health, readiness, metrics, plans, API.
//!
//! Owns no state of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Shared;
use super::problem::Problem;
use super::query::Named;
use super::start::plan_not_found;
use crate::plan::Plan;

/// How the daemon is.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct HealthAnswer {
    /// `ok` or `ready`.
    pub status: &'static str,
    /// The running version.
    pub version: &'static str,
    /// Of readiness: webhooks that are held back after failures in a row. They do not keep davy
    /// from working.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhooks_held_back: Option<i64>,
    /// Of readiness, with auth.oidc: keys of the identity provider that are in use. With none its
    /// tokens cannot be checked yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oidc_keys: Option<i64>,
}

/// The plans the daemon has loaded.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct PlansAnswer {
    /// Sorted by name.
    pub plans: Vec<PlanSummary>,
}

/// A plan in a list.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct PlanSummary {
    /// Its name.
    pub name: String,
    /// Its version.
    pub plan_hash: String,
    /// Free text.
    pub description: String,
    /// Looks from the start to the horizon.
    pub looks: usize,
    /// Where to read on.
    pub links: BTreeMap<&'static str, String>,
}

/// `GET /healthz`: the process answers.
pub async fn healthz() -> Json<HealthAnswer> {
    Json(HealthAnswer {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        webhooks_held_back: None,
        oidc_keys: None,
    })
}

/// `GET /readyz`: the process takes work.
pub async fn readyz(State(shared): State<Arc<Shared>>) -> Result<Json<HealthAnswer>, Problem> {
    if shared.stopping.is_cancelled() {
        return Err(Problem::new("stopping", "davy is stopping"));
    }
    if shared.metrics.is_stuck() {
        let what = match shared.metrics.store_stuck.get() {
            0 => "sample log",
            _ => "database",
        };
        let why = format!(
            "the {what} below store.path cannot be written; verdicts are answered, nothing is taken"
        );
        let help = "see that the disk has room and is writable; davy tries again by itself, and its log says what the system said";
        return Err(Problem::new("store_unavailable", why).help(help));
    }
    let open = &shared.metrics.webhook.breaker_open;
    let held_back = shared.bells.keys();
    let held_back = held_back.map(|name| open.with_label_values(&[name]).get());
    Ok(Json(HealthAnswer {
        status: "ready",
        version: env!("CARGO_PKG_VERSION"),
        webhooks_held_back: Some(held_back.sum()),
        oidc_keys: shared
            .door
            .knows_an_issuer()
            .then(|| shared.metrics.oidc.keys.get()),
    }))
}

/// `GET /metrics`
pub async fn metrics(State(shared): State<Arc<Shared>>) -> Result<Response, Problem> {
    let text = shared.metrics.render().map_err(|error| {
        tracing::error!(%error, "the metrics cannot be written");
        Problem::new("internal", "the metrics cannot be written")
    })?;
    let kind = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    Ok((StatusCode::OK, kind, text).into_response())
}

/// `GET /v1/openapi.json`
pub async fn openapi() -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, super::openapi::TEXT).into_response()
}

/// `GET /v1/plans`
pub async fn plans(State(shared): State<Arc<Shared>>) -> Json<PlansAnswer> {
    let summary = |plan: &Arc<Plan>| PlanSummary {
        name: plan.name.clone(),
        plan_hash: plan.hash(),
        description: plan.description.clone(),
        looks: plan.looks(),
        links: BTreeMap::from([("self", format!("/v1/plans/{}", plan.name))]),
    };
    Json(PlansAnswer {
        plans: shared.plans.current().values().map(summary).collect(),
    })
}

/// `GET /v1/plans/{name}`: the plan with its defaults filled in, as it is hashed. That is no plan
/// file's form; docs/api.md says so.
pub async fn plan(
    State(shared): State<Arc<Shared>>,
    Named(name): Named,
) -> Result<Json<serde_json::Value>, Problem> {
    let plans = shared.plans.current();
    let plan = plans
        .get(&name)
        .ok_or_else(|| plan_not_found(&shared, &name))?;
    let spelled_out = serde_json::to_value(&**plan).expect("a plan is plain data");
    Ok(Json(
        serde_json::json!({ "plan_hash": plan.hash(), "plan": spelled_out }),
    ))
}
