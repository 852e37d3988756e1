//! The routes of Kayenta's REST API.

use std::sync::Arc;

use axum::routing::{MethodRouter, delete, get, post, put};

use super::{JSON, JSON_BODY, Route, Shared, list, object, schema, text};
use crate::http::compat::kayenta::canary::{self, AdHoc, CanaryRequest};
use crate::http::compat::kayenta::standalone::{self, StandaloneRequest};
use crate::http::compat::kayenta::{configs, judge, kept};
use crate::http::door::Asks;
use crate::tokens::Scope;

/// Problems of whoever starts an analysis by asking.
const STARTING: &[&str] = super::controllers::ATTENDING;

pub(super) fn routes() -> Vec<Route> {
    let read = |path, operation, summary, handler| reading(path, operation, summary, &[], handler);
    vec![
        starting(
            "/compat/kayenta/canary/{id}",
            "startCanary",
            "Kayenta: start a canary on a configuration, or find the one of the same scopes",
            schema::<CanaryRequest>,
            post(canary::start),
        ),
        starting(
            "/compat/kayenta/canary",
            "startCanaryAdHoc",
            "Kayenta: start a canary on a configuration that comes with it, or find the one of the same",
            schema::<AdHoc<CanaryRequest>>,
            post(canary::start_ad_hoc),
        ),
        read(
            "/compat/kayenta/canary/{id}",
            "readCanary",
            "Kayenta: how an execution does",
            get(canary::status),
        ),
        listing(
            "/compat/kayenta/canary/executions",
            "listCanaries",
            "Kayenta: executions of an application, newest first",
            &[
                ("application", "only of this service"),
                ("limit", "at most so many, 1 to 200; 20 unless given"),
            ],
            get(canary::executions),
        ),
        starting(
            "/compat/kayenta/standalone_canary_analysis/{id}",
            "startStandalone",
            "Kayenta: start a stand-alone analysis on a configuration",
            schema::<StandaloneRequest>,
            post(standalone::start),
        ),
        starting(
            "/compat/kayenta/standalone_canary_analysis",
            "startStandaloneAdHoc",
            "Kayenta: start a stand-alone analysis on a configuration that comes with it",
            schema::<AdHoc<StandaloneRequest>>,
            post(standalone::start_ad_hoc),
        ),
        read(
            "/compat/kayenta/standalone_canary_analysis/{id}",
            "readStandalone",
            "Kayenta: how a stand-alone analysis does",
            get(standalone::status),
        ),
        cancelling(),
        judging(),
    ]
    .into_iter()
    .chain(lookups())
    .chain(keeping())
    .collect()
}

/// What clients look up before they start.
fn lookups() -> Vec<Route> {
    let read = |path, operation, summary, handler| reading(path, operation, summary, &[], handler);
    vec![
        listing(
            "/compat/kayenta/canaryConfig",
            "listConfigs",
            "Kayenta: configurations: davy's plans, and those that clients keep here",
            &[("application", "whose configurations; every plan is of each")],
            get(configs::list),
        ),
        read(
            "/compat/kayenta/canaryConfig/{id}",
            "readConfig",
            "Kayenta: a plan as far as Kayenta has words for it, or a configuration as it was sent",
            get(configs::read),
        ),
        listing(
            "/compat/kayenta/credentials",
            "listCredentials",
            "Kayenta: the one account",
            &[],
            get(configs::credentials),
        ),
        listing(
            "/compat/kayenta/judges",
            "listJudges",
            "Kayenta: the judges",
            &[],
            get(configs::judges),
        ),
        listing(
            "/compat/kayenta/metricsServices",
            "listMetricsServices",
            "Kayenta: the one account as a source of metrics",
            &[],
            get(configs::metrics_services),
        ),
        listing(
            "/compat/kayenta/metadata/metricsService",
            "listMetricsMetadata",
            "Kayenta: names of the metrics of all plans",
            &[("filter", "taken, and means nothing")],
            get(configs::metadata),
        ),
    ]
}

/// Configurations that clients keep here.
fn keeping() -> Vec<Route> {
    let all = "/compat/kayenta/canaryConfig";
    let one = "/compat/kayenta/canaryConfig/{id}";
    let problems: &[&str] = &[
        "empty_body",
        "invalid_request",
        "source_unfit",
        "plan_not_found",
        "store_failed",
    ];
    vec![
        Route {
            query: &[],
            problems,
            ..starting(
                all,
                "createConfig",
                "Kayenta: keep a configuration, under its own id or one that is made",
                object,
                post(kept::create),
            )
        },
        Route {
            method: "put",
            query: &[],
            problems,
            ..starting(
                one,
                "replaceConfig",
                "Kayenta: replace a configuration that is kept here",
                object,
                put(kept::replace),
            )
        },
        Route {
            method: "delete",
            query: &[],
            request: None,
            answers: &[(204, "", text), (400, JSON, object), (404, JSON, object)],
            problems: &["invalid_request", "plan_not_found", "store_failed"],
            ..starting(
                one,
                "deleteConfig",
                "Kayenta: forget a configuration that is kept here; analyses on it go on",
                object,
                delete(kept::delete),
            )
        },
    ]
}

fn reading(
    path: &'static str,
    operation: &'static str,
    summary: &'static str,
    query: &'static [(&'static str, &'static str)],
    handler: MethodRouter<Arc<Shared>>,
) -> Route {
    Route {
        path,
        method: "get",
        operation,
        summary,
        asks: Asks::Within(Scope::Read),
        query,
        headers: &[],
        request: None,
        answers: &[(200, JSON, object), (404, JSON, object)],
        problems: &["analysis_not_found", "plan_not_found", "store_failed"],
        timed: true,
        handler,
    }
}

/// A route whose answer is a list.
fn listing(
    path: &'static str,
    operation: &'static str,
    summary: &'static str,
    query: &'static [(&'static str, &'static str)],
    handler: MethodRouter<Arc<Shared>>,
) -> Route {
    Route {
        answers: &[(200, JSON, list), (404, JSON, object)],
        ..reading(path, operation, summary, query, handler)
    }
}

fn starting(
    path: &'static str,
    operation: &'static str,
    summary: &'static str,
    request: super::MakeSchema,
    handler: MethodRouter<Arc<Shared>>,
) -> Route {
    Route {
        path,
        method: "post",
        operation,
        summary,
        asks: Asks::Within(Scope::Control),
        query: &[("application", "whose canary it is: the service")],
        headers: &[],
        request: Some((JSON_BODY, request)),
        answers: &[
            (200, JSON, object),
            (400, JSON, object),
            (404, JSON, object),
        ],
        problems: STARTING,
        timed: false,
        handler,
    }
}

fn cancelling() -> Route {
    Route {
        path: "/compat/kayenta/pipelines/{id}/cancel",
        method: "put",
        operation: "cancelCanary",
        summary: "Kayenta: end an execution; one that has ended stays as it is",
        asks: Asks::Within(Scope::Control),
        query: &[],
        headers: &[],
        request: None,
        answers: &[(202, "", text), (404, JSON, object)],
        problems: &[
            "analysis_not_found",
            "outcome_unknown",
            "store_unavailable",
            "busy",
            "store_failed",
        ],
        timed: false,
        handler: put(canary::cancel),
    }
}

fn judging() -> Route {
    Route {
        path: "/compat/kayenta/judge",
        method: "post",
        operation: "judgeRemotely",
        summary: "Kayenta's remote judge: a configuration, thresholds and metric set pairs; the result of NetflixACAJudge-v1.0",
        asks: Asks::Within(Scope::Read),
        query: &[],
        headers: &[],
        request: Some((JSON_BODY, object)),
        answers: &[(200, JSON, object), (400, JSON, object)],
        problems: &["empty_body", "invalid_request"],
        timed: false,
        handler: post(judge::judge),
    }
}
