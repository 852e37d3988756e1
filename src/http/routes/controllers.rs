//! The routes for controllers that know nothing of davy.

use axum::routing::{get, post};
use schemars::{Schema, SchemaGenerator};

use super::{JSON, JSON_BODY, Route, object, schema, text};
use crate::http::compat::argo::{self, EvaluateAnswer, EvaluateRequest};
use crate::http::compat::flagger::{self, HookRequest};
use crate::http::compat::query::{self, QueryAnswer};
use crate::http::door::Asks;
use crate::tokens::Scope;

const TEXT: &str = "text/plain; charset=utf-8";

/// Problems of whoever starts an analysis by asking.
pub(super) const ATTENDING: &[&str] = &[
    "empty_body",
    "invalid_request",
    "plan_not_found",
    "change_incomplete",
    "arm_variable_missing",
    "arm_variable_unknown",
    "arms_alike",
    "source_unfit",
    "idempotency_mismatch",
    "too_many_analyses",
    "too_many_steps",
    "analysis_not_found",
    "store_failed",
];

pub(super) fn routes() -> Vec<Route> {
    vec![evaluate(), hook(), query_by_get(), query_by_form()]
}

fn evaluate() -> Route {
    Route {
        path: "/compat/argo/v1/evaluate",
        method: "post",
        operation: "evaluateForArgo",
        summary: "Argo Rollouts' web provider: the answer to a gate; the first question of a revision starts its analysis",
        asks: Asks::Within(Scope::Control),
        query: &[],
        headers: &[],
        request: Some((JSON_BODY, schema::<EvaluateRequest>)),
        answers: &[(200, JSON, schema::<EvaluateAnswer>)],
        problems: ATTENDING,
        timed: false,
        handler: post(argo::evaluate),
    }
}

fn hook() -> Route {
    Route {
        path: "/compat/flagger/v1/{hook}",
        method: "post",
        operation: "answerFlagger",
        summary: "Flagger's webhooks, a path for each type: 200 is a yes, 409 a no with its reason in a line",
        asks: Asks::Within(Scope::Control),
        query: &[],
        headers: &[],
        request: Some((JSON_BODY, schema::<HookRequest>)),
        answers: &[(200, TEXT, text), (409, TEXT, text)],
        problems: &[
            "route_not_found",
            "change_not_found",
            "empty_body",
            "invalid_request",
            "plan_not_found",
            "change_incomplete",
            "arm_variable_missing",
            "arm_variable_unknown",
            "arms_alike",
            "source_unfit",
            "idempotency_mismatch",
            "too_many_analyses",
            "too_many_steps",
            "analysis_not_found",
            "store_failed",
        ],
        timed: false,
        handler: post(flagger::hook),
    }
}

fn query_by_get() -> Route {
    Route {
        path: "/compat/prometheus/api/v1/query",
        method: "get",
        operation: "queryVerdict",
        summary: "As much of Prometheus' query API as asks for a verdict: davy_verdict{namespace=..,name=..} is 1, 0.5 or 0",
        asks: Asks::Within(Scope::Read),
        query: &[
            ("query", "davy_verdict{..} or vector(1)"),
            ("time", "taken, and means nothing"),
            ("timeout", "taken, and means nothing"),
        ],
        headers: &[],
        request: None,
        answers: &[
            (200, JSON, schema::<QueryAnswer>),
            (400, JSON, object),
            (422, JSON, object),
            (503, JSON, object),
        ],
        problems: &[],
        timed: true,
        handler: get(query::get),
    }
}

fn form(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({
        "type": "object",
        "properties": { "query": { "type": "string" } },
        "required": ["query"],
    })
}

fn query_by_form() -> Route {
    Route {
        method: "post",
        operation: "queryVerdictByForm",
        query: &[],
        request: Some((&["application/x-www-form-urlencoded"], form)),
        handler: post(query::post),
        ..query_by_get()
    }
}
