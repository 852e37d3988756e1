//! The routes by which people decide, and by which it is looked up later.

use axum::routing::{get, post};

use super::{JSON, JSON_BODY, Route, schema, text};
use crate::http::analyses::AnalysisAnswer;
use crate::http::audit;
use crate::http::changes::{self, ChangeAnswer, OutcomeRequest};
use crate::http::door::Asks;
use crate::http::overriding::{self, OverrideRequest};
use crate::store::audit::Head;
use crate::tokens::Scope;

pub(super) fn routes() -> Vec<Route> {
    vec![
        decide_otherwise(),
        read_change(),
        tell_outcome(),
        read_audit(),
        read_audit_head(),
    ]
}

fn decide_otherwise() -> Route {
    Route {
        path: "/v1/analyses/{id}/override",
        method: "post",
        operation: "overrideDecision",
        summary: "Decide otherwise than the verdict asks: the decision changes, never the verdict",
        asks: Asks::Within(Scope::Control),
        query: &[],
        headers: &[],
        request: Some((JSON_BODY, schema::<OverrideRequest>)),
        answers: &[(200, JSON, schema::<AnalysisAnswer>)],
        problems: &[
            "analysis_not_found",
            "empty_body",
            "invalid_request",
            "store_failed",
        ],
        timed: false,
        handler: post(overriding::decide),
    }
}

fn read_change() -> Route {
    Route {
        path: "/v1/changes/{id}",
        method: "get",
        operation: "readChange",
        summary: "Read all analyses of a change and what they come to",
        asks: Asks::Within(Scope::Read),
        query: &[],
        headers: &[],
        request: None,
        answers: &[(200, JSON, schema::<ChangeAnswer>)],
        problems: &["change_not_found", "store_failed"],
        timed: true,
        handler: get(changes::read),
    }
}

fn tell_outcome() -> Route {
    Route {
        path: "/v1/changes/{id}/outcome",
        method: "post",
        operation: "tellOutcome",
        summary: "Tell what became of a change; what was said before is replaced",
        asks: Asks::Within(Scope::Control),
        query: &[],
        headers: &[],
        request: Some((JSON_BODY, schema::<OutcomeRequest>)),
        answers: &[(200, JSON, schema::<ChangeAnswer>)],
        problems: &[
            "change_not_found",
            "empty_body",
            "invalid_request",
            "store_failed",
        ],
        timed: false,
        handler: post(changes::tell),
    }
}

fn read_audit() -> Route {
    Route {
        path: "/v1/audit",
        method: "get",
        operation: "readAudit",
        summary: "Read the audit log, one row a line; `davy audit verify` reads it",
        asks: Asks::Scope(Scope::Admin),
        query: &[
            (
                "after",
                "begin after this row; from the first one unless given",
            ),
            ("limit", "rows, 1 to 1000; 1000 unless given"),
            ("analysis", "only those of this analysis"),
        ],
        headers: &[],
        request: None,
        answers: &[(200, "application/x-ndjson", text)],
        problems: &["store_failed"],
        timed: true,
        handler: get(audit::read),
    }
}

fn read_audit_head() -> Route {
    Route {
        path: "/v1/audit/head",
        method: "get",
        operation: "readAuditHead",
        summary: "Read number and hash of the last row of the audit log, to be kept elsewhere",
        asks: Asks::Scope(Scope::Admin),
        query: &[],
        headers: &[],
        request: None,
        answers: &[(200, JSON, schema::<Head>)],
        problems: &["store_failed"],
        timed: true,
        handler: get(audit::head),
    }
}
