//! As much of Prometheus' query API as asks for a verdict: for Flagger's MetricTemplates, Argo's
//! `prometheus` provider, and whatever else knows how to compare a number.
//!
//! Owns the two queries that are answered, `vector(1)`, by which clients see that somebody is there, and
//! `davy_verdict{..}`, and the form of the answer. A query finds what is there and begins nothing; one
//! that finds nothing is an error, since an empty answer has other meanings to each client.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::keep_alive;
use crate::engine::AnalysisView;
use crate::http::Shared;
use crate::http::door::Caller;
use crate::http::problem::Problem;
use crate::model::{Decision, Labels};
use crate::plan::selector::{SELECTOR_BYTES_MAX, Selector};
use crate::store::{Filter, PAGE_MAX};

/// Name of the series.
const VERDICT: &str = "davy_verdict";
/// Analyses that are looked through, newest first, unless a label names the service.
const LOOKED_THROUGH_MAX: usize = PAGE_MAX;

/// The parameters; those of time are taken and mean nothing: a verdict is one of now.
#[derive(Debug, Default, Deserialize)]
pub struct Asked {
    #[serde(default)]
    query: String,
}

/// The answer, in the form that Prometheus gives it.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct QueryAnswer {
    /// `success`
    pub status: &'static str,
    /// What was found.
    pub data: Found,
}

/// An instant vector.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// `vector`
    pub result_type: &'static str,
    /// One series.
    pub result: Vec<Point>,
}

/// A series with its value now.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Point {
    /// Labels.
    pub metric: BTreeMap<String, String>,
    /// Unix seconds, and the value as text.
    pub value: (f64, &'static str),
}

/// Why a query is not answered.
struct Bad {
    status: StatusCode,
    kind: &'static str,
    error: String,
}

/// `GET /compat/prometheus/api/v1/query`
pub async fn get(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> Response {
    answer(&shared, &caller, &asked.query).await
}

/// `POST /compat/prometheus/api/v1/query`: the parameters as a form.
pub async fn post(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let kind = headers.get(header::CONTENT_TYPE);
    let is_form = kind.is_some_and(|kind| {
        kind.as_bytes()
            .starts_with(b"application/x-www-form-urlencoded")
    });
    let text = std::str::from_utf8(&body).unwrap_or_default();
    let uri = format!("/?{text}").parse();
    let asked = uri
        .ok()
        .and_then(|uri| Query::<Asked>::try_from_uri(&uri).ok());
    match asked.filter(|_| is_form) {
        Some(Query(asked)) => answer(&shared, &caller, &asked.query).await,
        None => bad("the body is not a form with the parameter `query`".to_owned()).into_response(),
    }
}

async fn answer(shared: &Shared, caller: &Caller, query: &str) -> Response {
    let now = shared.clock.now().millis() as f64 / 1_000.0;
    let point = if query.replace(' ', "") == "vector(1)" {
        Ok(Point {
            metric: BTreeMap::new(),
            value: (now, "1"),
        })
    } else {
        verdict(shared, caller, query, now).await
    };
    match point {
        Ok(point) => Json(QueryAnswer {
            status: "success",
            data: Found {
                result_type: "vector",
                result: vec![point],
            },
        })
        .into_response(),
        Err(bad) => bad.into_response(),
    }
}

async fn verdict(shared: &Shared, caller: &Caller, query: &str, now: f64) -> Result<Point, Bad> {
    if query.len() > SELECTOR_BYTES_MAX {
        return Err(bad(format!(
            "the query has more than {SELECTOR_BYTES_MAX} bytes"
        )));
    }
    let selector = Selector::parse(query).map_err(|error| {
        bad(format!("at byte {}: {error}; davy answers {VERDICT}{{namespace=\"..\",name=\"..\"}} and vector(1)", error.offset))
    })?;
    let filter = Filter {
        namespaces: caller.namespaces.clone(),
        ..Filter::default()
    };
    let page = shared.store.list(&filter, None, LOOKED_THROUGH_MAX).await;
    let page = page.map_err(|error| failed(error.into()))?;
    // Newest first: the first of each rollout and plan stands for it.
    let mut newest: BTreeMap<[String; 3], &Arc<AnalysisView>> = BTreeMap::new();
    for view in &page.analyses {
        let labels = labels_of(view);
        if selector.matches(VERDICT, &labels.clone().into_iter().collect::<Labels>()) {
            let key = ["namespace", "name", "plan"].map(|name| labels[name].clone());
            newest.entry(key).or_insert(view);
        }
    }
    let mut found = newest.into_values();
    let (Some(view), None) = (found.next(), found.next()) else {
        return Err(Bad {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            kind: "execution",
            error: format!(
                "of the newest {LOOKED_THROUGH_MAX} analyses none, or more than one rollout, is {query}; name namespace, name and plan, and have another hook begin the analysis"
            ),
        });
    };
    keep_alive(shared, view);
    Ok(Point {
        metric: labels_of(view)
            .into_iter()
            .chain([("__name__".to_owned(), VERDICT.to_owned())])
            .collect(),
        value: (now, value_of(view.body.decision)),
    })
}

fn labels_of(view: &AnalysisView) -> BTreeMap<String, String> {
    let change = &view.change;
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    [
        ("namespace", text(&change.namespace)),
        ("name", text(&change.service)),
        ("environment", text(&change.environment)),
        ("region", text(&change.region)),
        ("revision", text(&change.revision)),
        ("plan", view.plan.clone()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// What is asked for, as a number to compare.
fn value_of(decision: Decision) -> &'static str {
    match decision {
        Decision::Promote => "1",
        Decision::Hold => "0.5",
        Decision::Rollback => "0",
    }
}

fn bad(error: String) -> Bad {
    Bad {
        status: StatusCode::BAD_REQUEST,
        kind: "bad_data",
        error,
    }
}

fn failed(problem: Problem) -> Bad {
    Bad {
        status: StatusCode::SERVICE_UNAVAILABLE,
        kind: "unavailable",
        error: problem.detail,
    }
}

impl IntoResponse for Bad {
    fn into_response(self) -> Response {
        let body = json!({"status": "error", "errorType": self.kind, "error": self.error});
        (self.status, Json(body)).into_response()
    }
}
