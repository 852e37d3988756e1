//! Executions: start a canary on a configuration, ask how it does, cancel it, list those there are.
//!
//! Owns the request's scopes and the form of the status. Argo Rollouts sends a start anew after every
//! answer that it could not use, so the same scopes find the same analysis.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::{PlanSource, Subject};
use super::configured::{self, Asked, Lifetime, On};
use super::result::result;
use super::{ACCOUNT, ExecutionId, Refused, Thresholds, read, times};
use crate::engine::{AnalysisView, Input};
use crate::http::Shared;
use crate::http::analyses::{find, order, within};
use crate::http::door::Caller;
use crate::http::problem::Problem;
use crate::judge::verdict::Status;
use crate::model::{Change, Millis, Reason};
use crate::store::{Filter, PAGE_MAX};

/// How long an end is found by a start of the same scopes: those of an answer that was lost. They may
/// have the same names at every rollout.
const STANDS_FOR: Millis = 60_000;
/// Variable of a scope that is the change's owner.
const OWNER: &str = "owner";
/// Whose execution it is where nobody says.
const NOBODY: &str = "ad-hoc";
/// Executions of a list unless the caller says otherwise.
const LISTED: usize = 20;

/// Parameters of the address. Others are left alone.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Addressed {
    /// Whose canary it is: the service.
    #[serde(default)]
    pub application: String,
    /// Which run of a pipeline asks.
    pub parent_pipeline_execution_id: Option<String>,
    /// Executions of a list; a text that is no number is none.
    pub limit: Option<String>,
}

/// A start.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
pub struct CanaryRequest {
    /// What is compared, by names; davy takes the only one, or `default`.
    pub scopes: BTreeMap<String, ScopePair>,
    /// Where the caller's score passes.
    pub thresholds: Thresholds,
}

/// The two sides.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScopePair {
    /// The baseline.
    pub control_scope: Scope,
    /// The canary.
    pub experiment_scope: Scope,
}

/// One side. Where it is compared on a plan of davy's, its times and its step are left alone.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scope {
    /// What the version is known by: the plan's variable `baseline` or `canary`.
    pub scope: String,
    /// Where it runs: the namespace. Argo Rollouts may call it `region`.
    #[serde(default, alias = "region")]
    pub location: String,
    /// Further variables of the plan's arms.
    #[serde(default)]
    pub extended_scope_params: BTreeMap<String, String>,
    /// From when on, RFC 3339: with `end` how long.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub start: Value,
    /// Until when, RFC 3339.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub end: Value,
    /// Between two points, in seconds.
    #[serde(default)]
    #[schemars(with = "Option<f64>")]
    pub step: Value,
}

/// A start on a configuration that comes with it.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdHoc<R> {
    /// The configuration.
    pub canary_config: Map<String, Value>,
    /// What is compared on it.
    pub execution_request: R,
}

/// `POST /compat/kayenta/canary/{id}`
pub async fn start(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(config): Path<String>,
    Query(addressed): Query<Addressed>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refused> {
    let asked: CanaryRequest = read(&shared, &headers, body).await?;
    let id = begin(&shared, &caller, On::Named(config), addressed, asked.into()).await?;
    Ok(Json(json!({ "canaryExecutionId": id })))
}

/// `POST /compat/kayenta/canary`: on a configuration that comes with it.
pub async fn start_ad_hoc(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Query(addressed): Query<Addressed>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refused> {
    let asked: AdHoc<CanaryRequest> = read(&shared, &headers, body).await?;
    let on = On::Sent(asked.canary_config);
    let asked = asked.execution_request.into();
    let id = begin(&shared, &caller, on, addressed, asked).await?;
    Ok(Json(json!({ "canaryExecutionId": id })))
}

impl From<CanaryRequest> for Asked {
    fn from(request: CanaryRequest) -> Asked {
        Asked {
            scopes: request.scopes,
            thresholds: request.thresholds,
            lifetime: Lifetime::default(),
        }
    }
}

/// Starts an analysis, or finds the one that these scopes have; the id of its execution.
pub(super) async fn begin(
    shared: &Shared,
    caller: &Caller,
    on: On,
    addressed: Addressed,
    asked: Asked,
) -> Result<String, Refused> {
    let thresholds = asked.thresholds.checked()?;
    let subject = match configured::found(shared, on).await? {
        Ok(configuration) => {
            let now = shared.clock.now();
            configuration.subject(shared, addressed, asked, now).await?
        }
        Err(plan) => {
            within("application", Some(&addressed.application))?;
            let source = PlanSource::Loaded;
            subject(plan, source, addressed, chosen(asked.scopes)?, |_| true)?
        }
    };
    let view = subject.attend(shared, caller, None).await?;
    let id = ExecutionId {
        analysis: view.id.clone(),
        thresholds: Some(thresholds),
    };
    Ok(id.text())
}

/// The only pair, or the one that is called default.
pub(super) fn chosen(mut scopes: BTreeMap<String, ScopePair>) -> Result<ScopePair, Problem> {
    if scopes.len() == 1 {
        return Ok(scopes.pop_first().expect("one").1);
    }
    scopes.remove("default").ok_or_else(|| {
        let detail = "`scopes` holds none, or several and none that is called default";
        Problem::new("invalid_request", detail).help(
            "a plan compares two versions: give one pair of scopes, or call one of them default",
        )
    })
}

/// What these scopes ask about. Of their further variables those are taken that `asks_for` names.
pub(super) fn subject(
    plan: String,
    source: PlanSource,
    addressed: Addressed,
    scopes: ScopePair,
    asks_for: impl Fn(&str) -> bool,
) -> Result<Subject, Problem> {
    let ScopePair {
        control_scope: baseline,
        experiment_scope: canary,
    } = scopes;
    let service = Some(addressed.application).filter(|name| !name.is_empty());
    for (name, text) in [
        ("application", service.as_ref()),
        ("controlScope.scope", Some(&baseline.scope)),
        ("experimentScope.scope", Some(&canary.scope)),
    ] {
        within(name, text.map(String::as_str))?;
    }
    let is_taken = |name: &String| name == OWNER || asks_for(name);
    let mut arms = canary.extended_scope_params;
    arms.retain(|name, _| is_taken(name));
    let others = baseline.extended_scope_params.into_iter();
    for (name, value) in others.filter(|(name, _)| is_taken(name)) {
        if arms.get(&name).is_some_and(|other| *other != value) {
            let detail = format!("`extendedScopeParams.{name}` is not the same on both sides");
            return Err(Problem::new("invalid_request", detail)
                .help("it is one variable of the plan's arms: put what differs into `scope`"));
        }
        arms.insert(name, value);
    }
    // Spinnaker has no word for it.
    let owner = arms.remove(OWNER);
    let application = service.as_deref().unwrap_or_default();
    let parts = [application, &canary.location, &canary.scope];
    let mut id = format!("kayenta:{}", parts.join(":"));
    let pipeline = addressed.parent_pipeline_execution_id;
    if let Some(pipeline) = pipeline.filter(|pipeline| !pipeline.is_empty()) {
        // A pipeline's scopes may have the same names at every run.
        id = format!("{id}:{pipeline}");
    }
    let change = Change {
        id: Some(id),
        revision: Some(canary.scope.clone()),
        owner,
        namespace: Some(canary.location).filter(|location| !location.is_empty()),
        service,
        ..Change::default()
    };
    arms.insert("baseline".to_owned(), baseline.scope);
    arms.insert("canary".to_owned(), canary.scope);
    Ok(Subject {
        plan,
        source,
        arms,
        change,
        stands_for: STANDS_FOR,
    })
}

/// `GET /compat/kayenta/canary/{id}`
pub async fn status(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refused> {
    let (id, view) = found(&shared, &caller, &id).await?;
    Ok(Json(described(&shared, &id, &view)))
}

/// The execution of this id, where the caller may know of it; somebody asks for it.
pub(super) async fn found(
    shared: &Shared,
    caller: &Caller,
    text: &str,
) -> Result<(ExecutionId, Arc<AnalysisView>), Refused> {
    let id = ExecutionId::read(text)?;
    let view = find(shared, &id.analysis).await?;
    if !caller.sees(view.change.namespace.as_deref()) {
        return Err(Problem::analysis_not_found(text).into());
    }
    super::super::keep_alive(shared, &view);
    Ok((id, view))
}

/// `PUT /compat/kayenta/pipelines/{id}/cancel`: whatever the body is; one that has ended stays so.
pub async fn cancel(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Refused> {
    let (id, _) = found(&shared, &caller, &id).await?;
    let input = Input::Cancel {
        analysis: id.analysis,
        actor: Some("kayenta client".to_owned()),
        reason: None,
        by: caller.by,
    };
    match order(&shared, input).await {
        Err(problem) if problem.code != "analysis_final" => Err(problem.into()),
        _ => Ok(StatusCode::ACCEPTED),
    }
}

/// `GET /compat/kayenta/canary/executions`
pub async fn executions(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Query(addressed): Query<Addressed>,
) -> Result<Json<Vec<Value>>, Refused> {
    let filter = Filter {
        service: Some(addressed.application).filter(|name| !name.is_empty()),
        namespaces: caller.namespaces,
        ..Filter::default()
    };
    let limit = addressed.limit.and_then(|limit| limit.parse().ok());
    let limit = limit.unwrap_or(LISTED).clamp(1, PAGE_MAX);
    let page = shared.store.list(&filter, None, limit).await;
    let page = page.map_err(Problem::from)?;
    let shown = page.analyses.iter().map(|view| {
        let id = ExecutionId {
            analysis: view.id.clone(),
            thresholds: None,
        };
        described(&shared, &id, view)
    });
    Ok(Json(shown.collect()))
}

/// The status of an execution.
pub(super) fn described(shared: &Shared, id: &ExecutionId, view: &AnalysisView) -> Value {
    let now = shared.clock.now();
    let is_complete = is_complete(view);
    let judging = match is_complete {
        true => "succeeded",
        false => "running",
    };
    let mut all = Map::new();
    let mut put = |name: &str, value: Value| all.insert(name.to_owned(), value);
    let application = view.change.service.as_deref();
    put("application", json!(application.unwrap_or(NOBODY)));
    put("pipelineId", json!(id.text()));
    put("canaryConfigId", json!(view.plan));
    put("complete", json!(is_complete));
    put("status", json!(status_of(view)));
    put("stageStatus", json!({ "judge": judging }));
    for account in ["storage", "metrics", "configuration"] {
        put(&format!("{account}AccountName"), json!(ACCOUNT));
    }
    if is_complete && view.reason != Reason::Cancelled {
        put("result", result(id, view, now));
    }
    let ended = view.final_at.map(|at| ("end", at));
    let begun = [("build", view.started_at), ("start", view.started_at)];
    for (name, at) in begun.into_iter().chain(ended) {
        all.extend(times(name, at));
    }
    all.into()
}

/// Whether there is nothing to wait for: it is final, or a person has decided.
fn is_complete(view: &AnalysisView) -> bool {
    view.status == Status::Final || view.overridden.is_some()
}

pub(super) fn status_of(view: &AnalysisView) -> &'static str {
    match view.reason {
        Reason::Cancelled => "canceled",
        _ if is_complete(view) => "succeeded",
        _ => "running",
    }
}
