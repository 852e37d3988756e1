//! What Kayenta's clients look up before they start: configurations, accounts, judges, metrics.
//!
//! Owns their form. A configuration is a plan by its name, or one that a client keeps here, which goes
//! after a plan of the same name. How one comes to be here is [`super::kept`]'s.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use serde_json::{Value, json};

use super::{ACCOUNT, Refused, Thresholds, iso};
use crate::http::Shared;
use crate::http::problem::Problem;
use crate::http::start::plan_not_found;
use crate::judge::kayenta::JUDGE_NAME;
use crate::judge::kayenta::score::Weights;
use crate::plan::Plan;
use crate::store::configurations::Head;

/// `GET /compat/kayenta/canaryConfig`: every plan, for each application that is asked for, and what is
/// kept for one of them.
pub async fn list(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Vec<Value>>, Refused> {
    let query = format!("/?{}", query.unwrap_or_default()).parse();
    let pairs = query.ok().and_then(|uri| {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri);
        pairs.ok()
    });
    let pairs = pairs.map(|pairs| pairs.0).unwrap_or_default();
    let asked = pairs
        .into_iter()
        .filter(|(name, value)| name == "application" && !value.is_empty());
    let applications: Vec<String> = asked.map(|(_, application)| application).collect();
    let plans = shared.plans.current();
    let row = |plan: &Arc<Plan>| summary(plan, &applications);
    let kept = shared.store.configurations().await.map_err(Problem::from)?;
    let is_asked_for = |head: &&Head| {
        let is_of = |own: &String| applications.contains(own);
        let asked = applications.is_empty() || head.applications.iter().any(is_of);
        asked && !plans.contains_key(&head.id)
    };
    let kept = kept.iter().filter(is_asked_for).map(listed);
    Ok(Json(plans.values().map(row).chain(kept).collect()))
}

fn listed(head: &Head) -> Value {
    json!({
        "id": head.id,
        "name": head.name,
        "applications": head.applications,
        "updatedTimestamp": head.updated_at.millis(),
        "updatedTimestampIso": iso(head.updated_at.millis()),
    })
}

/// What a list says of a plan. Its clients read the time as a whole number; plans have none.
fn summary(plan: &Plan, applications: &[String]) -> Value {
    let own = [plan.name.clone()];
    let applications = if applications.is_empty() {
        &own
    } else {
        applications
    };
    json!({
        "id": plan.name,
        "name": plan.name,
        "applications": applications,
        "updatedTimestamp": 0,
        "updatedTimestampIso": "1970-01-01T00:00:00Z",
    })
}

/// `GET /compat/kayenta/canaryConfig/{id}`: a plan as far as Kayenta has words for it, or what is kept
/// here as it was sent.
pub async fn read(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refused> {
    let plans = shared.plans.current();
    let Some(plan) = plans.get(&id) else {
        return Ok(Json(sent(&shared, &id).await?));
    };
    let weight: f64 = plan.checks.iter().map(|check| check.weight).sum();
    let scoring = plan.kayenta.as_ref();
    let metrics = plan.checks.iter().map(|check| {
        let groups = match scoring {
            Some(_) => check.groups.clone(),
            None => vec![check.name.clone()],
        };
        json!({
            "name": check.name,
            "scopeName": "default",
            "groups": groups,
            "query": { "type": ACCOUNT },
            "analysisConfigurations": { "canary": { "muted": !check.gating } },
        })
    });
    let shares = plan.checks.iter().map(|check| {
        let share = 100.0 * check.weight / weight;
        (check.name.clone(), share)
    });
    let weights: Weights = match scoring {
        Some(scoring) => scoring.weights.clone(),
        None => shares.collect(),
    };
    let judge = match scoring {
        Some(_) => JUDGE_NAME,
        None => super::result::JUDGE,
    };
    let usual = Thresholds::USUAL;
    let [pass, marginal] = scoring.map_or([usual.pass, usual.marginal], |scoring| {
        [scoring.pass, scoring.marginal]
    });
    let mut config = summary(plan, &[]);
    config["configVersion"] = json!("1");
    config["description"] = json!(plan.description);
    config["judge"] = json!({ "name": judge, "judgeConfigurations": {} });
    config["metrics"] = metrics.collect();
    config["templates"] = json!({});
    config["classifier"] = json!({
        "groupWeights": weights,
        "scoreThresholds": { "pass": pass, "marginal": marginal },
    });
    Ok(Json(config))
}

/// A configuration that is kept here, as it was sent, with its id and times.
async fn sent(shared: &Shared, id: &str) -> Result<Value, Problem> {
    let kept = shared.store.configuration(id).await?;
    let kept = kept.ok_or_else(|| plan_not_found(shared, id))?;
    let mut document: Value = serde_json::from_str(&kept.document).map_err(|error| {
        tracing::error!(%error, id, "a configuration that is kept is no JSON");
        Problem::new("store_failed", "the configuration cannot be read")
    })?;
    document["id"] = json!(kept.head.id);
    for (name, at) in [
        ("createdTimestamp", kept.head.created_at),
        ("updatedTimestamp", kept.head.updated_at),
    ] {
        document[name] = json!(at.millis());
        document[format!("{name}Iso")] = json!(iso(at.millis()));
    }
    Ok(document)
}

/// `GET /compat/kayenta/credentials`: one account that is of every type.
pub async fn credentials() -> Json<Value> {
    Json(json!([{
        "name": ACCOUNT,
        "type": ACCOUNT,
        "supportedTypes": ["METRICS_STORE", "OBJECT_STORE", "CONFIGURATION_STORE"],
        "locations": [],
        "recommendedLocations": [],
    }]))
}

/// `GET /compat/kayenta/judges`
pub async fn judges() -> Json<Value> {
    Json(json!([
        { "name": super::result::JUDGE, "visible": true },
        { "name": JUDGE_NAME, "visible": true },
    ]))
}

/// `GET /compat/kayenta/metricsServices`
pub async fn metrics_services() -> Json<Value> {
    Json(json!([{
        "name": ACCOUNT,
        "type": ACCOUNT,
        "locations": [],
        "recommendedLocations": [],
    }]))
}

/// `GET /compat/kayenta/metadata/metricsService`: names of the metrics of all plans.
pub async fn metadata(State(shared): State<Arc<Shared>>) -> Json<Vec<Value>> {
    let plans = shared.plans.current();
    let metrics = plans.values().flat_map(|plan| &plan.metrics);
    let mut names: Vec<&str> = metrics.map(|metric| metric.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    Json(
        names
            .into_iter()
            .map(|name| json!({ "name": name }))
            .collect(),
    )
}
