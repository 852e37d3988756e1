//! Every route with its handler and its description, in one table.
//!
//! Owns the list from which both the router and the OpenAPI document are made, so that neither
//! can have what the other lacks. The routes that take samples are in `taking`, those of notifications
//! in `letters`, those by which people decide in `changes`, those of controllers in `controllers`.

mod changes;
mod controllers;
mod kayenta;
mod letters;
mod taking;

use std::sync::Arc;

use axum::routing::{MethodRouter, get, post};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;

use super::analyses::{AnalysesAnswer, AnalysisAnswer, CancelRequest, StepRequest};
use super::door::Asks;
use super::service::{HealthAnswer, PlansAnswer};
use super::start::StartRequest;
use super::unmatched::UnmatchedAnswer;
use super::{Shared, analyses, events, service, unmatched, verdicts};
use crate::judge::verdict::VerdictBody;
use crate::tokens::Scope;

type MakeSchema = fn(&mut SchemaGenerator) -> Schema;

/// One route.
pub struct Route {
    /// In axum's and OpenAPI's common form, such as `/v1/analyses/{id}`.
    pub path: &'static str,
    /// `get`, `post`, `put` or `delete`.
    pub method: &'static str,
    /// Unique name of the operation.
    pub operation: &'static str,
    /// One line.
    pub summary: &'static str,
    /// What it asks of who calls.
    pub asks: Asks,
    /// Name and meaning of each parameter in the query.
    pub query: &'static [(&'static str, &'static str)],
    /// Name and meaning of each header.
    pub headers: &'static [(&'static str, &'static str)],
    /// Content types and schema of the body.
    pub request: Option<(&'static [&'static str], MakeSchema)>,
    /// Status, content type and schema of each answer that is not a problem.
    pub answers: &'static [(u16, &'static str, MakeSchema)],
    /// Codes of problems it may answer beside those of its like; all are in [`Route::codes`].
    pub problems: &'static [&'static str],
    /// Whether a request that takes too long is ended; see `observe`.
    pub timed: bool,
    /// What answers.
    pub handler: MethodRouter<Arc<Shared>>,
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

fn text(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({ "type": "string" })
}

fn object(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({ "type": "object" })
}

fn list(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({ "type": "array", "items": { "type": "object" } })
}

/// A sample; written by hand because its reader is.
fn sample(_: &mut SchemaGenerator) -> Schema {
    let document: Value = serde_json::from_str(include_str!("sample.schema.json"))
        .expect("sample.schema.json is JSON, as a test sees");
    Schema::try_from(document).expect("and an object")
}

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";
const JSON_BODY: &[&str] = &[JSON];
const READING: &[&str] = &["analysis_not_found", "store_failed"];
/// Problems any route may answer.
const GENERAL: &[&str] = &[
    "cross_site",
    "internal",
    "request_timeout",
    "stopping",
    "unknown_host",
];
/// Problems of a route whose parameters are checked.
const STRICT: &[&str] = &["invalid_parameter"];
/// Problems of a route that asks for a token.
const GUARDED: &[&str] = &["unauthenticated", "forbidden", "keys_unavailable"];
/// Problems of a route that takes a body and hands it to the engine.
const HANDING_OVER: &[&str] = &[
    "malformed_json",
    "incomplete_body",
    "invalid_encoding",
    "body_too_large",
    "unsupported_media_type",
    "unsupported_encoding",
    "outcome_unknown",
    "store_unavailable",
];

// === impl Route ===

impl Route {
    /// Whether parameters it does not know are refused. Those who ask for health and metrics add
    /// what they like.
    pub fn is_strict(&self) -> bool {
        self.path.starts_with("/v1/")
    }

    /// Whether it answers senders of remote-write: see
    /// [`super::problem::Problem::to_remote_writer`].
    pub fn is_remote_write(&self) -> bool {
        self.operation == "writeSeries"
    }

    /// Forms of its problems besides the usual one: senders of OTLP are told in their own, as soon as
    /// it is known which that is, and Flagger shows people a line of text.
    pub fn problem_forms(&self) -> &'static [(&'static str, MakeSchema)] {
        match self.operation {
            "exportMetrics" => &[(JSON, object), (PROTOBUF, text)],
            _ if self.path.starts_with("/compat/kayenta/") => &[(JSON, object)],
            "answerFlagger" => &[("text/plain; charset=utf-8", text)],
            _ => &[],
        }
    }

    /// What it answers when there is no room.
    fn busy(&self) -> &'static [&'static str] {
        if self.is_remote_write() {
            &["write_busy"]
        } else {
            &["busy"]
        }
    }

    /// Codes of all problems it may answer.
    pub fn codes(&self) -> Vec<&'static str> {
        let when = |condition: bool, codes: &'static [&'static str]| {
            if condition { codes } else { &[] }
        };
        let is_guarded = self.asks != Asks::Nothing;
        let all = [
            self.problems,
            when(self.is_strict(), STRICT),
            when(is_guarded, GUARDED),
            when(self.request.is_some(), HANDING_OVER),
            when(is_guarded || self.request.is_some(), self.busy()),
            GENERAL,
        ];
        all.concat()
    }
}

/// All routes.
pub fn routes() -> Vec<Route> {
    let mut all = vec![
        start_analysis(),
        list_analyses(),
        read_analysis(),
        cancel_analysis(),
        enter_step(),
        read_verdict(),
        watch_events(),
        read_recording(),
        list_unmatched(),
    ];
    all.extend(changes::routes());
    all.extend(controllers::routes());
    all.extend(kayenta::routes());
    all.extend(letters::routes());
    all.extend(taking::routes());
    all.extend(service_routes());
    all
}

fn start_analysis() -> Route {
    Route {
        path: "/v1/analyses",
        method: "post",
        operation: "startAnalysis",
        summary: "Start an analysis of a change",
        asks: Asks::Within(Scope::Control),
        query: &[],
        headers: &[(
            "Idempotency-Key",
            "a repeated start with the same key and the same request answers 200 with the first analysis",
        )],
        request: Some((JSON_BODY, schema::<StartRequest>)),
        answers: &[
            (201, JSON, schema::<AnalysisAnswer>),
            (200, JSON, schema::<AnalysisAnswer>),
        ],
        problems: &[
            "empty_body",
            "invalid_header",
            "invalid_request",
            "invalid_plan",
            "plan_not_found",
            "change_incomplete",
            "arm_variable_missing",
            "arm_variable_unknown",
            "arms_alike",
            "source_unfit",
            "idempotency_mismatch",
            "too_many_analyses",
            "store_failed",
        ],
        timed: false,
        handler: post(analyses::create),
    }
}

fn list_analyses() -> Route {
    Route {
        path: "/v1/analyses",
        method: "get",
        operation: "listAnalyses",
        summary: "List analyses, newest first",
        asks: Asks::Within(Scope::Read),
        query: &[
            ("service", "only of this service"),
            ("plan", "only on this plan"),
            ("verdict", "pass, fail or inconclusive"),
            (
                "started_from",
                "started at or after: RFC 3339 or unix milliseconds",
            ),
            (
                "started_before",
                "started before: RFC 3339 or unix milliseconds",
            ),
            ("limit", "analyses on a page, 1 to 200; 50 unless given"),
            ("cursor", "`next` of the page before"),
        ],
        headers: &[],
        request: None,
        answers: &[(200, JSON, schema::<AnalysesAnswer>)],
        problems: &["store_failed"],
        timed: true,
        handler: get(analyses::list),
    }
}

fn read_analysis() -> Route {
    Route {
        path: "/v1/analyses/{id}",
        method: "get",
        operation: "readAnalysis",
        summary: "Read an analysis",
        asks: Asks::Within(Scope::Read),
        query: &[],
        headers: &[],
        request: None,
        answers: &[(200, JSON, schema::<AnalysisAnswer>)],
        problems: READING,
        timed: true,
        handler: get(analyses::read),
    }
}

fn cancel_analysis() -> Route {
    Route {
        path: "/v1/analyses/{id}/cancel",
        method: "post",
        operation: "cancelAnalysis",
        summary: "End an analysis: inconclusive, cancelled, hold",
        asks: Asks::Within(Scope::Control),
        query: &[],
        headers: &[],
        request: Some((JSON_BODY, schema::<CancelRequest>)),
        answers: &[(200, JSON, schema::<AnalysisAnswer>)],
        problems: &[
            "analysis_not_found",
            "analysis_final",
            "invalid_request",
            "store_failed",
        ],
        timed: false,
        handler: post(analyses::cancel),
    }
}

fn enter_step() -> Route {
    Route {
        path: "/v1/analyses/{id}/steps",
        method: "post",
        operation: "enterStep",
        summary: "Enter a step of the rollout",
        asks: Asks::Within(Scope::Control),
        query: &[],
        headers: &[],
        request: Some((JSON_BODY, schema::<StepRequest>)),
        answers: &[(200, JSON, schema::<AnalysisAnswer>)],
        problems: &[
            "analysis_not_found",
            "analysis_final",
            "too_many_steps",
            "empty_body",
            "invalid_request",
            "store_failed",
        ],
        timed: false,
        handler: post(analyses::step),
    }
}

fn read_verdict() -> Route {
    Route {
        path: "/v1/analyses/{id}/verdict",
        method: "get",
        operation: "readVerdict",
        summary: "Read the verdict, or wait for it to change",
        asks: Asks::Within(Scope::Read),
        query: &[
            (
                "wait",
                "answer when verdict, decision or gate change, at the latest after this long (such as 30s); at once when final, overridden or the gate is open",
            ),
            (
                "gate",
                "final (default): may the change be promoted; step: may the rollout go on",
            ),
        ],
        headers: &[],
        request: None,
        answers: &[(200, JSON, schema::<VerdictBody>)],
        problems: READING,
        timed: false,
        handler: get(verdicts::read),
    }
}

fn watch_events() -> Route {
    Route {
        path: "/v1/analyses/{id}/events",
        method: "get",
        operation: "watchEvents",
        summary: "Follow an analysis as server-sent events; each carries a verdict body",
        asks: Asks::Within(Scope::Read),
        query: &[("after", "begin after this event")],
        headers: &[("Last-Event-ID", "begin after this event; wins over `after`")],
        request: None,
        answers: &[(200, "text/event-stream", text), (204, "", text)],
        problems: &[
            "analysis_not_found",
            "too_many_streams",
            "invalid_header",
            "store_failed",
        ],
        timed: false,
        handler: get(events::stream),
    }
}

fn read_recording() -> Route {
    Route {
        path: "/v1/analyses/{id}/recording",
        method: "get",
        operation: "readRecording",
        summary: "Every accepted input of an analysis; `davy replay` reads it",
        asks: Asks::Within(Scope::Read),
        query: &[],
        headers: &[],
        request: None,
        answers: &[(200, "application/x-ndjson", text)],
        problems: &["analysis_not_found", "too_many_recordings"],
        timed: true,
        handler: get(analyses::recording),
    }
}

fn list_unmatched() -> Route {
    Route {
        path: "/v1/unmatched",
        method: "get",
        operation: "listUnmatched",
        summary: "List the names of series that no running analysis asked for, most samples first",
        asks: Asks::Scope(Scope::Read),
        query: &[("limit", "names, 1 to 200; 50 unless given")],
        headers: &[],
        request: None,
        answers: &[(200, JSON, schema::<UnmatchedAnswer>)],
        problems: &["invalid_parameter"],
        timed: true,
        handler: get(unmatched::list),
    }
}

/// A route that answers GET and takes no parameters.
fn plain(
    path: &'static str,
    operation: &'static str,
    asks: Asks,
    summary: &'static str,
    answers: &'static [(u16, &'static str, MakeSchema)],
    handler: MethodRouter<Arc<Shared>>,
) -> Route {
    Route {
        path,
        method: "get",
        operation,
        summary,
        asks,
        query: &[],
        headers: &[],
        request: None,
        answers,
        problems: &[],
        timed: true,
        handler,
    }
}

fn service_routes() -> Vec<Route> {
    vec![
        plain(
            "/v1/plans",
            "listPlans",
            Asks::Within(Scope::Read),
            "List the plans the daemon has loaded",
            &[(200, JSON, schema::<PlansAnswer>)],
            get(service::plans),
        ),
        Route {
            problems: &["plan_not_found"],
            ..plain(
                "/v1/plans/{name}",
                "readPlan",
                Asks::Within(Scope::Read),
                "Read a plan with its defaults filled in",
                &[(200, JSON, object)],
                get(service::plan),
            )
        },
        plain(
            "/v1/openapi.json",
            "readOpenapi",
            Asks::Nothing,
            "This document",
            &[(200, JSON, object)],
            get(service::openapi),
        ),
        plain(
            "/metrics",
            "readMetrics",
            Asks::Metrics,
            "Metrics in the Prometheus text format",
            &[(200, "text/plain", text)],
            get(service::metrics),
        ),
        plain(
            "/healthz",
            "readHealth",
            Asks::Nothing,
            "Whether the process answers",
            &[(200, JSON, schema::<HealthAnswer>)],
            get(service::healthz),
        ),
        Route {
            problems: &["stopping", "store_unavailable"],
            ..plain(
                "/readyz",
                "readReadiness",
                Asks::Nothing,
                "Whether the process takes work",
                &[(200, JSON, schema::<HealthAnswer>)],
                get(service::readyz),
            )
        },
    ]
}
